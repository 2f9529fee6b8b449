"""
Posts a body to an address by HTTP: webhooks of persons and push services of browsers.

Where the address was given by a client of the API or by a browser, the name is resolved first and
every address that it has is judged, as for fetched media: nobody makes us a tool against our own
network.  Redirects are not followed, cookies and proxies not used, and of the answer only the
beginning is read.  Connections are kept for the next post to the same host.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import frozen
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.defer import TimeoutError as DeferredTimeout
from twisted.internet.error import ConnectError, ConnectionLost, DNSLookupError
from twisted.internet.error import ConnectionDone as Done
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.interfaces import IConsumer, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.protocol import Protocol as TwistedProtocol
from twisted.internet.protocol import connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    HTTPConnectionPool,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IBodyProducer, IResponse
from zope.interface import implementer

from smsbridge.outside import NotAllowed, Outside, Resolve, is_allowed

__all__ = ["Answer", "Body", "Forbidden", "NoAnswer", "Post", "Poster", "Resolve"]

_CONNECT_TIMEOUT_S: Final = 10.0
_MOST_ANSWER_BYTES: Final = 4096
_IDLE_S: Final = 30  # how long a connection is kept without use
_AGENT: Final = b"smsbridge"


class NoAnswer(Exception):
    """
    There is no answer; the text is a sentence.

    :ivar refused: nobody listens there, or the name leads nowhere: nothing has left.
    """

    def __init__(self, text: str, *, refused: bool) -> None:
        super().__init__(text)
        self.refused = refused


class Forbidden(Exception):
    """The address is none to post to; the text is a sentence."""


@frozen
class Answer:
    """What came back."""

    status: int
    headers: Mapping[str, str]  # names in lower case; the first value of each
    body: bytes  # the beginning


class Post(Protocol):
    """Posts; `Poster.post` is the real one."""

    def __call__(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        private_too: bool = False,
        timeout_s: float = 30.0,
    ) -> Deferred[Answer]:
        """See `Poster.post`."""


class Poster:
    """
    Posts by HTTP/1.1.

    :param resolve: by default the system's resolver, asked in a thread.
    :param trust_root: whose certificates are believed; by default the system's.
    """

    def __init__(
        self, reactor: Any, resolve: Resolve | None = None, trust_root: Any = None
    ) -> None:
        self._reactor = reactor
        self._outside = Outside(reactor, resolve, trust_root)
        self._agents: dict[bool, tuple[Agent, HTTPConnectionPool]] = {}

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        private_too: bool = False,
        timeout_s: float = 30.0,
    ) -> Deferred[Answer]:
        """
        Post once; fires with the answer, whatever its status.

        :param private_too: the operator named the address, so it may be in a private network.
        :raises Forbidden: the address is not http(s), or in a private network.
        :raises NoAnswer: nothing or nothing whole came back.
        """
        host = urlsplit(url).hostname or url[:60]
        posting: Deferred[Answer] = Deferred.fromCoroutine(
            self._post(url, body, headers, private_too, host)
        )

        def too_slow(result: Any, seconds: float) -> Any:
            if isinstance(result, Failure) and result.check(CancelledError, NoAnswer):
                raise NoAnswer(f"{host} did not answer within {seconds:.0f} s.", refused=False)
            return result

        return posting.addTimeout(timeout_s, self._reactor, too_slow)

    def close(self) -> Deferred[None]:
        """Close the connections that are kept; fires when they are closed."""
        agents, self._agents = self._agents, {}
        return Deferred.fromCoroutine(_closed([pool for _, pool in agents.values()]))

    async def _post(
        self, url: str, body: bytes, headers: Mapping[str, str], private_too: bool, host: str
    ) -> Answer:
        if not url.startswith(("https://", "http://")) or not url.isascii() or " " in url:
            raise Forbidden("This is not an address that begins with https://.")
        sent = Headers({b"user-agent": [_AGENT]})
        for name, value in headers.items():
            sent.setRawHeaders(name, [value])
        try:
            response = await self._agent(private_too).request(
                b"POST", url.encode("ascii"), sent, Body(body)
            )
            return Answer(
                response.code,
                {
                    name.decode("latin-1").lower(): values[0].decode("latin-1")
                    for name, values in response.headers.getAllRawHeaders()
                },
                await _beginning(response),
            )
        except (ConnectError, ConnectTimeout, DNSLookupError) as e:
            raise NoAnswer(f"{host} cannot be reached: {_words(e)}", refused=True) from None
        except (ConnectionLost, Done, ResponseFailed, ResponseNeverReceived) as e:
            raise NoAnswer(f"{host} ended the connection: {_words(e)}", refused=False) from None
        except ValueError as e:
            raise Forbidden(f"The address cannot be used: {e}") from None

    def _agent(self, private_too: bool) -> Agent:
        if private_too not in self._agents:
            pool = HTTPConnectionPool(self._reactor, persistent=True)
            pool.cachedConnectionTimeout = _IDLE_S
            agent = Agent.usingEndpointFactory(
                self._reactor, _Endpoints(self, private_too), pool=pool
            )
            self._agents[private_too] = (agent, pool)
        return self._agents[private_too][0]

    def endpoint(self, uri: URI, private_too: bool) -> IStreamClientEndpoint:
        """Return an endpoint that resolves, judges and then connects."""
        return _Judged(self, uri, private_too)

    async def connect(self, uri: URI, private_too: bool, factory: Any) -> Any:
        """Connect to a host, to one of the addresses that were judged."""
        host = uri.host.decode("ascii").strip("[]")

        def allowed(address: str) -> bool:
            return private_too or is_allowed(address, False)

        try:
            address = await self._outside.address(host, allowed)
        except NotAllowed:
            raise Forbidden(f"{host} is in a private network; nothing is posted there.") from None
        return await self._outside.endpoint(uri, address, _CONNECT_TIMEOUT_S).connect(factory)


@implementer(IAgentEndpointFactory)
@frozen
class _Endpoints:
    poster: Poster
    private_too: bool

    def endpointForURI(self, uri: URI) -> IStreamClientEndpoint:
        """Return an endpoint for an address."""
        return self.poster.endpoint(uri, self.private_too)


@implementer(IStreamClientEndpoint)
@frozen
class _Judged:
    poster: Poster
    uri: URI
    private_too: bool

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[Any]:
        """Resolve, judge, connect."""
        return Deferred.fromCoroutine(
            self.poster.connect(self.uri, self.private_too, protocolFactory)
        )


@implementer(IBodyProducer)
class Body:
    """A body that is in memory and written at once."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.length = len(data)

    def startProducing(self, consumer: IConsumer) -> Deferred[None]:
        """Write everything."""
        consumer.write(self._data)
        return succeed(None)

    def pauseProducing(self) -> None:
        """Do nothing: everything is written already."""

    def resumeProducing(self) -> None:
        """Do nothing: everything is written already."""

    def stopProducing(self) -> None:
        """Do nothing: everything is written already."""


class _Beginning(TwistedProtocol):
    """Keeps the beginning of a body and passes over the rest."""

    def __init__(self) -> None:
        self.done: Deferred[bytes] = Deferred(lambda _: self._stop())
        self._kept = bytearray()

    def dataReceived(self, data: bytes) -> None:
        """Keep what there is room for."""
        self._kept += data[: _MOST_ANSWER_BYTES - len(self._kept)]
        if len(self._kept) >= _MOST_ANSWER_BYTES and not self.done.called:
            self.done.callback(bytes(self._kept))
            self._stop()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Give what came: the status is what counts."""
        if not self.done.called:
            self.done.callback(bytes(self._kept))

    def _stop(self) -> None:
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


async def _beginning(response: IResponse) -> bytes:
    reader = _Beginning()
    response.deliverBody(reader)
    return await reader.done


async def _closed(pools: list[HTTPConnectionPool]) -> None:
    for pool in pools:
        await pool.closeCachedConnections()


def _words(error: Exception) -> str:
    """Say what happened in the words of the innermost error."""
    reasons = getattr(error, "reasons", None)
    if reasons:
        error = reasons[0].value
    if isinstance(error, DeferredTimeout):
        return "no answer in time."
    return str(error).strip() or type(error).__name__
