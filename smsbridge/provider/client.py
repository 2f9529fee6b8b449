"""
Asks a provider by HTTP: a `Request` in, a `Response` or the reason why there is none out.

What money depends on is whether a request may have been heard, so it is always known: a failure is
`NotSent` where provably no byte of the request went out (the connection, its TLS included, was
never there), and `NoAnswer` in every other case.  A request is therefore not written before the
handshake of TLS is finished, and nothing is ever repeated here, not even a GET: some providers send
texts by GET.  Redirects are not followed, so that credentials stay where they belong.

Connections are kept for a few seconds only.  A provider that closes one in the moment in which it
is used again makes a `NoAnswer`, since it might have read the request.
"""

from __future__ import annotations

from typing import Any, Final
from typing import Protocol as TypingProtocol
from urllib.parse import urlsplit

from attrs import define
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.defer import TimeoutError as TooSlow
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import (
    IAddress,
    IHandshakeListener,
    IProtocol,
    IProtocolFactory,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import optionsForClientTLS
from twisted.python.failure import Failure
from twisted.web._newclient import RequestNotSent
from twisted.web.client import URI, Agent, HTTPConnectionPool, ResponseDone
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from smsbridge import __version__
from smsbridge.post import Body
from smsbridge.provider.dialect import Request, Response

__all__ = ["Ask", "Client", "NoAnswer", "NotSent"]

_CONNECT_WITHIN_S: Final = 10.0
_KEPT_S: Final = 4  # servers that close idle connections do it after 5 s at the earliest
_MOST_KEPT_PER_HOST: Final = 8
_MOST_BYTES: Final = 4 * 1024 * 1024
_AGENT: Final = f"smsbridge/{__version__}".encode("ascii")


class NotSent(Exception):
    """Nothing of the request went out; the text is a sentence that says why."""


class NoAnswer(Exception):
    """The request may have been heard, and there is no answer; the text is a sentence."""


class Ask(TypingProtocol):
    """Asks; `Client.ask` is the real one."""

    def __call__(self, request: Request, timeout_s: float) -> Deferred[Response]:
        """See `Client.ask`."""


@define
class _Attempt:
    """How far one request came."""

    connecting: bool = False
    connected: bool = False

    @property
    def left(self) -> bool:
        """Whether something of it may have gone out; a kept connection is written to at once."""
        return self.connected or not self.connecting


class Client:
    """
    Speaks HTTP/1.1 with one provider.

    :param trust_root: whose certificates are believed; by default the system's.
    """

    def __init__(self, reactor: Any, trust_root: Any = None) -> None:
        self._reactor = reactor
        self._trust_root = trust_root
        self._pool = HTTPConnectionPool(reactor, persistent=True)
        self._pool.retryAutomatically = False
        self._pool.cachedConnectionTimeout = _KEPT_S
        self._pool.maxPersistentPerHost = _MOST_KEPT_PER_HOST

    def ask(self, request: Request, timeout_s: float) -> Deferred[Response]:
        """
        Ask once; fires with the whole answer, whatever its status.

        :param timeout_s: for all of it.
        :raises NotSent: nothing went out.
        :raises NoAnswer: nothing or nothing whole came back. Cancelled, it fails like this, too.
        """
        asking = Deferred.fromCoroutine(self._ask(request))
        host = _host(request.url)

        def too_slow(result: Any, seconds: float) -> Any:
            if isinstance(result, Failure) and result.check(NoAnswer):
                raise NoAnswer(f"{host} did not answer within {seconds:.0f} s.") from None
            if isinstance(result, Failure) and result.check(NotSent):
                raise NotSent(f"{host} cannot be reached within {seconds:.0f} s.") from None
            return result

        return asking.addTimeout(timeout_s, self._reactor, too_slow)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept; fires when they are closed."""
        closing: Deferred[Any] = self._pool.closeCachedConnections()
        return closing.addCallback(lambda _: None)

    async def _ask(self, request: Request) -> Response:
        host = _host(request.url)
        attempt = _Attempt()
        try:
            url = request.url.encode("ascii")
            headers = Headers({b"user-agent": [_AGENT]})
            for name, value in request.headers.items():
                headers.setRawHeaders(name, [value])
            agent = Agent.usingEndpointFactory(
                self._reactor, _Endpoints(self, attempt), pool=self._pool
            )
            asking = agent.request(
                request.method.encode("ascii"),
                url,
                headers,
                Body(request.body) if request.body or request.method != "GET" else None,
            )
        except ValueError:
            # Not in the error's words: they may have the address, and that may have a password.
            raise NotSent(f"The address on {host} cannot be used.") from None
        try:
            response = await asking
            return Response(
                status=response.code,
                headers={
                    name.decode("latin-1").lower(): values[0].decode("latin-1")
                    for name, values in response.headers.getAllRawHeaders()
                },
                body=await _whole(response),
                asked=request,
            )
        except (Exception, CancelledError) as e:
            # Which of the many errors it is does not matter, only how far the request came.
            if attempt.left and not isinstance(e, RequestNotSent):
                raise NoAnswer(f"{host} did not answer: {_words(e)}") from None
            raise NotSent(f"{host} cannot be reached: {_words(e)}") from None

    def endpoint(self, uri: URI, attempt: _Attempt) -> IStreamClientEndpoint:
        """Return what connects for one request."""
        host = uri.host.decode("ascii").strip("[]")
        endpoint: IStreamClientEndpoint = HostnameEndpoint(
            self._reactor, host, uri.port, timeout=_CONNECT_WITHIN_S
        )
        if uri.scheme == b"https":
            options = optionsForClientTLS(host, trustRoot=self._trust_root)
            endpoint = wrapClientTLS(options, endpoint)
        return _Watched(self._reactor, endpoint, uri.scheme == b"https", attempt)


@implementer(IAgentEndpointFactory)
@define
class _Endpoints:
    client: Client
    attempt: _Attempt

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return an endpoint for an address."""
        if uri.scheme not in (b"http", b"https"):
            raise ValueError("it does not begin with https://")
        return self.client.endpoint(uri, self.attempt)


@implementer(IStreamClientEndpoint)
@define
class _Watched:
    """Connects, and is not connected before TLS is."""

    reactor: Any
    endpoint: IStreamClientEndpoint
    secured: bool
    attempt: _Attempt

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        """Connect; fires when a request may be written."""
        self.attempt.connecting = True
        connecting = Deferred.fromCoroutine(self._connect(protocolFactory))
        return connecting.addTimeout(_CONNECT_WITHIN_S, self.reactor)

    async def _connect(self, factory: IProtocolFactory) -> IProtocol:
        if self.secured:
            shaking = _Handshake(factory)
            await self.endpoint.connect(Factory.forProtocol(lambda: shaking))
            protocol = await shaking.done
        else:
            protocol = await self.endpoint.connect(factory)
        self.attempt.connected = True
        return protocol


@implementer(IHandshakeListener)
class _Handshake(Protocol):
    """Waits for the handshake of TLS, then hands everything on to the protocol proper."""

    def __init__(self, factory: IProtocolFactory) -> None:
        self._factory = factory
        self._inner: Any = None
        self.done: Deferred[IProtocol] = Deferred(lambda _: self._give_up())

    def handshakeCompleted(self) -> None:
        """Begin."""
        if self.done.called:
            return
        transport: Any = self.transport
        address: IAddress = transport.getPeer()
        self._inner = self._factory.buildProtocol(address)
        self._inner.makeConnection(transport)
        self.done.callback(self._inner)

    def dataReceived(self, data: bytes) -> None:
        """Hand on."""
        if self._inner is not None:
            self._inner.dataReceived(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Hand on, or tell that there is no handshake."""
        if self._inner is not None:
            self._inner.connectionLost(reason)
        elif not self.done.called:
            self.done.errback(reason)

    def _give_up(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.abortConnection()


class _TooLarge(Exception):
    """An answer that no provider gives."""


class _Reader(Protocol):
    """Keeps a whole body, up to a limit."""

    def __init__(self) -> None:
        self._parts: list[bytes] = []
        self._size = 0
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self._size += len(data)
        if self._size <= _MOST_BYTES:
            self._parts.append(data)
        elif not self.done.called:
            self.done.errback(_TooLarge(f"the answer has more than {_MOST_BYTES} bytes"))
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give what came, if that is all."""
        if self.done.called:
            return
        if reason.check(ResponseDone, PotentialDataLoss):
            self.done.callback(b"".join(self._parts))
        else:
            self.done.errback(reason)

    def _stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


async def _whole(response: IResponse) -> bytes:
    reader = _Reader()
    response.deliverBody(reader)
    return await reader.done


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "nowhere"
    except ValueError:
        return "nowhere"


def _words(error: BaseException) -> str:
    """Say what happened in the words of the innermost error."""
    while reasons := getattr(error, "reasons", None):
        error = reasons[0].value
    if isinstance(error, CancelledError):
        return "it was given up."
    if isinstance(error, TooSlow):
        return f"no connection within {_CONNECT_WITHIN_S:.0f} s."
    if isinstance(error, ConnectionDone):
        return "it closed the connection."
    text = " ".join(str(error).split())[:200] or type(error).__name__
    return text if text.endswith(".") else f"{text}."
