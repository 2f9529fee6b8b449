"""
Keeps the link to the XMPP server as an external component (XEP-0114) and says what became of it.

The protocol, in short: TCP, ``<stream:stream xmlns='jabber:component:accept' to=DOMAIN>``, the
server's header with a stream id, ``<handshake>`` holding the hexadecimal SHA-1 of id and secret,
an empty ``<handshake/>`` back, then stanzas both ways; each must carry ``from`` (in our domain)
and ``to``.  There is no TLS of its own, no acknowledgement (XEP-0198) and no resumption: what was
handed to the socket when a link breaks is delivered, lost or half delivered, and nobody tells
which.  Hence the *fence*: a batch of stanzas is followed by an iq ping to the server in the same
write.  A server takes the stanzas of one stream in order, so the answer to the ping proves that it
took the batch; what it does with it when it is killed a moment later is its own affair.

How servers end a stream, as seen with Prosody 0.12 and ejabberd 23.01 (RFC 6120, 4.9):

- ``not-authorized``, ``host-unknown``, ``invalid-namespace``: secret or domain differ from the
  server's;
- ``conflict``: another instance holds the domain (ejabberd lets both stay and splits the traffic);
- ``not-well-formed``, ``invalid-from``, ``improper-addressing`` and the like: a stanza of ours was
  bad, and sending it again would end the next stream too;
- ``system-shutdown``, ``reset`` or a bare end: the server went away, as servers do.

Built on wokkel's StreamManager, so that handlers of wokkel can be attached to the link; messages
and the fence do not take its road, which costs a tree of XPath observers for each stanza.  This
module knows nothing of numbers, users or the store, and keeps nothing that could not be sent.
"""

from __future__ import annotations

import random
import re
import secrets
from collections import deque
from collections.abc import Callable
from enum import StrEnum
from ipaddress import ip_address
from typing import Any, Final

from attrs import define, field, frozen
from twisted.application.internet import ClientService
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.endpoints import HostnameEndpoint, wrapClientTLS
from twisted.internet.interfaces import (
    IDelayedCall,
    IProtocol,
    IProtocolFactory,
    IReactorTime,
    IStreamClientEndpoint,
)
from twisted.internet.protocol import Factory
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import error as jabber_error
from twisted.words.protocols.jabber.component import ConnectComponentAuthenticator
from twisted.words.protocols.jabber.xmlstream import NS_STREAMS, STREAM_ERROR_EVENT, XmlStream
from twisted.words.xish import domish
from twisted.words.xish.xmlstream import XmlStreamFactoryMixin
from zope.interface import implementer

from smsbridge.gateways.xmpp import stanzas
from smsbridge.gateways.xmpp import wokkel_shim as wokkel_shim  # before any module of wokkel
from smsbridge.gateways.xmpp.conditions import Condition

from wokkel.subprotocols import StreamManager  # isort: skip

__all__ = [
    "BackOff",
    "BatchTooLarge",
    "ComponentStream",
    "Down",
    "InsecureServer",
    "IqFailed",
    "LinkDown",
    "endpoint_for",
    "is_loopback",
    "parent_domain",
]


class Down(StrEnum):
    """Why the link is down; the kind decides how soon it is tried again."""

    UNREACHABLE = "unreachable"  # no TCP or TLS connection
    LOST = "lost"  # the connection ended
    SILENT = "silent"  # the server did not answer in time
    RESTART = "restart"  # the server said that it goes away
    CONFIGURATION = "configuration"  # secret or domain differ from the server's
    CONFLICT = "conflict"  # another instance holds our domain
    REJECTED = "rejected"  # a stanza of ours was bad
    STOPPED = "stopped"  # we were told to stop


class LinkDown(Exception):
    """
    The link went down, or was down, before the server's answer.

    :param kind: with `Down.REJECTED` one of the stanzas in flight was bad; send them one by one.
    """

    def __init__(self, kind: Down, text: str) -> None:
        super().__init__(text)
        self.kind = kind
        self.text = text


class BatchTooLarge(Exception):
    """More bytes than the window of unanswered batches may hold; nothing was written."""


class InsecureServer(ValueError):
    """The server is not on this machine and the link to it is not encrypted."""


class IqFailed(Exception):
    """Our iq was answered with an error, or not in time (`condition` is then empty)."""

    def __init__(self, type: str, condition: str, text: str = "") -> None:
        super().__init__(text or condition or "no answer in time")
        self.type = type
        self.condition = condition
        self.text = text


_CONFIGURATION_ERRORS = {
    "not-authorized",
    "host-unknown",
    "host-gone",
    "invalid-namespace",
    "unsupported-version",
    "policy-violation",
}
_OUR_ERRORS = {
    "bad-format",
    "bad-namespace-prefix",
    "improper-addressing",
    "invalid-from",
    "invalid-xml",
    "not-well-formed",
    "restricted-xml",
    "unsupported-encoding",
    "unsupported-stanza-type",
    "xml-not-well-formed",  # RFC 3920
}


def classify(condition: str) -> Down:
    """Say what kind of end a stream error (RFC 6120, 4.9.3) is."""
    if condition in _CONFIGURATION_ERRORS:
        return Down.CONFIGURATION
    if condition == "conflict":
        return Down.CONFLICT
    if condition in _OUR_ERRORS:
        return Down.REJECTED
    return Down.RESTART


_EXPLAINED = {
    "not-authorized": "the server refuses the domain {domain} or its secret; compare both with the "
    "component's section in the server's configuration",
    "host-unknown": "the server has no component {domain}; add it to the server's configuration",
    "conflict": "another program is connected to the server as {domain}; stop that one",
}

# First delay and longest delay in seconds.
_DELAYS: Final[dict[Down, tuple[float, float]]] = {
    Down.CONFIGURATION: (15.0, 60.0),
    Down.CONFLICT: (30.0, 300.0),
    Down.REJECTED: (1.0, 60.0),
}
_USUAL_DELAYS: Final = (1.0, 60.0)
#: After this time a link counts as sound, and the next bad stanza or conflict starts from the
#: first delay.
_SOUND_AFTER_S: Final = 60.0


@define
class BackOff:
    """
    Decides how long to wait before the next connection.

    Delays double from 1 s to 60 s (longer for a wrong secret and a conflict).  A handshake starts
    them afresh, except where each handshake is followed by the same end: two instances that kick
    each other out, or a bad stanza that is sent again.
    """

    jitter: Callable[[], float]  # 0 to 1
    _kind: Down = Down.LOST
    _failures: int = 0

    def failed(self, kind: Down, up_for_s: float | None) -> None:
        """
        Count one end of a link or attempt.

        :param up_for_s: how long the link had been up; None if there was no handshake.
        """
        stubborn = kind in (Down.CONFLICT, Down.REJECTED)
        proved_sound = up_for_s is not None and (not stubborn or up_for_s >= _SOUND_AFTER_S)
        if proved_sound or (kind is not self._kind and kind in _DELAYS):
            self._failures = 0
        self._kind = kind
        self._failures += 1

    def delay_s(self) -> float:
        """Return the time to wait, in seconds; a quarter of it is chance."""
        first, longest = _DELAYS.get(self._kind, _USUAL_DELAYS)
        delay = min(longest, first * 2.0 ** min(max(self._failures - 1, 0), 16))
        return delay * (0.75 + 0.25 * self.jitter())


def is_loopback(host: str) -> bool:
    """Tell whether a host name or address is surely this machine."""
    name = host.strip("[]").lower().rstrip(".")
    if name == "localhost" or name.endswith(".localhost"):
        return True
    try:
        return ip_address(name).is_loopback
    except ValueError:
        return False


def endpoint_for(
    reactor: Any,
    host: str,
    port: int,
    *,
    tls: bool = False,
    insecure: bool = False,
    trust_root: Any = None,
    tls_name: str = "",
    timeout_s: float = 20.0,
) -> IStreamClientEndpoint:
    """
    Return the endpoint of the server's component port; the name is resolved at each connection.

    :param tls: speak TLS from the first byte (ejabberd's ``tls: true``, or a proxy before Prosody).
    :param insecure: allow an unencrypted link to another machine.
    :param trust_root: what to check the certificate against; the platform's own by default.
    :param tls_name: the name in the certificate, if it is not `host`.
    :raises InsecureServer: not loopback, not TLS, and `insecure` was not said.
    """
    if not tls and not insecure and not is_loopback(host):
        raise InsecureServer(
            f"the link to {host} would carry the secret and all texts unencrypted; "
            f"set 'tls = yes', reach the server through a tunnel on 127.0.0.1, "
            f"or say 'insecure = yes'"
        )
    endpoint = HostnameEndpoint(reactor, host, port, timeout=timeout_s)
    if not tls:
        return endpoint
    options = optionsForClientTLS(tls_name or host, trustRoot=trust_root)
    wrapped: IStreamClientEndpoint = wrapClientTLS(options, endpoint)
    return wrapped


_HANDSHAKE = re.compile(rb"(<handshake[^>]*>)[^<]+")


class _Stream(XmlStream):
    """One connection; after the handshake all stanzas go straight to the owner."""

    owner: ComponentStream
    authenticated = False

    def connectionMade(self) -> None:
        # A fence is a small write after a large one: Nagle's algorithm would hold it back.
        no_delay = getattr(self.transport, "setTcpNoDelay", None)
        if no_delay is not None:
            no_delay(True)
        super().connectionMade()

    def dataReceived(self, data: bytes) -> None:
        if self.stream is None:  # a late read of a connection that we have dropped
            return
        super().dataReceived(data)

    def onElement(self, element: domish.Element) -> None:
        if not self.authenticated or element.uri == NS_STREAMS:
            super().onElement(element)
        else:
            self.owner._element_received(self, element)


class _StreamFactory(XmlStreamFactoryMixin, Factory):
    """Builds one `_Stream` for each connection."""

    protocol = _Stream
    noisy = False

    def __init__(self, domain: str, secret: str, owner: ComponentStream) -> None:
        XmlStreamFactoryMixin.__init__(self)
        self.domain = domain
        self.secret = secret
        self.owner = owner

    def buildProtocol(self, addr: object) -> _Stream:
        stream = _Stream(ConnectComponentAuthenticator(self.domain, self.secret))
        stream.owner = self.owner
        stream.factory = self
        self.installBootstraps(stream)
        return stream


@implementer(IStreamClientEndpoint)
@frozen
class _WatchedEndpoint:
    """Tells the owner of each failed attempt to connect; ClientService keeps it to itself."""

    endpoint: IStreamClientEndpoint
    failed: Callable[[Failure], Failure]

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        connected: Deferred[IProtocol] = self.endpoint.connect(protocolFactory)
        return connected.addErrback(self.failed)

    def __repr__(self) -> str:
        return repr(self.endpoint)


@define(eq=False)
class _Request:
    """An iq of ours that waits for its answer."""

    expected_from: str
    answer: Deferred[domish.Element]
    timer: IDelayedCall
    in_flight_bytes: int = 0  # of the batch that it fences
    is_probe: bool = False  # no answer means that the link is dead
    sent_at_s: float = field(default=0.0)


def parent_domain(domain: str) -> str:
    """Return the domain that most likely hosts a component's users: its own without a label."""
    _host, _, parent = domain.partition(".")
    return parent if "." in parent or parent == "localhost" else domain


def _same_address(given: str, expected: str) -> bool:
    return given == expected or given.lower() == expected.lower()


class ComponentStream(StreamManager, Service):
    """
    The link of one component to its server, as a Service that connects and reconnects for ever.

    All callables are called on the reactor's thread and may raise: that is logged as a bug and
    goes no further.  The clock and the reactor are one object, as Twisted's endpoints want it.

    :param reactor: provides IReactorTime.
    :param endpoint: where to connect, see `endpoint_for`.
    :param domain: our domain, the name of the component.
    :param secret: what the server's configuration holds for it.
    :param on_up: called after each handshake: announce presence, then release what waits.
    :param on_down: called with kind and sentence at each end of a link and each failed attempt.
    :param on_stanza: called with each element of the server that is no answer to an iq of ours.
        For an iq get or set it sets ``element.handled = True``, now or never, if it answers it
        itself; otherwise the stream refuses it, for every iq must be answered.
    :param on_rejected: called before `on_down` with the sentence and the stanzas given to `send`
        last, when the server ended the stream because of one; batches hear of it by `LinkDown`.
    :param ping_target: whom to ping; by default the parent domain, which the same server hosts.
    :param jitter: 0 to 1, spreads reconnections.
    :param random_id: makes ids that strangers cannot guess.
    :param window_bytes: how many bytes of batches may be unanswered.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        endpoint: IStreamClientEndpoint,
        domain: str,
        secret: str,
        *,
        on_up: Callable[[], object] = lambda: None,
        on_down: Callable[[Down, str], object] = lambda kind, text: None,
        on_stanza: Callable[[domish.Element], object] = lambda element: None,
        on_rejected: Callable[[str, list[str]], object] = lambda text, recent: None,
        ping_target: str = "",
        jitter: Callable[[], float] = random.random,
        random_id: Callable[[], str] = lambda: secrets.token_urlsafe(12),
        keep_alive_s: float = 60.0,
        ping_every_s: float = 180.0,
        answer_timeout_s: float = 30.0,
        handshake_timeout_s: float = 20.0,
        stop_timeout_s: float = 5.0,
        window_bytes: int = 512 * 1024,
        log_traffic: bool = False,
    ) -> None:
        factory = _StreamFactory(domain, secret, self)
        StreamManager.__init__(self, factory, reactor)
        factory.addBootstrap(STREAM_ERROR_EVENT, self._stream_failed)
        self.domain = domain
        self.ping_target = ping_target or parent_domain(domain)
        self.on_up = on_up
        self.on_down = on_down
        self.on_stanza = on_stanza
        self.on_rejected = on_rejected
        self._clock = reactor
        self._random_id = random_id
        self._keep_alive_s = keep_alive_s
        self._ping_every_s = ping_every_s
        self._answer_timeout_s = answer_timeout_s
        self._handshake_timeout_s = handshake_timeout_s
        self._stop_timeout_s = stop_timeout_s
        self._window_bytes = window_bytes
        self._log_traffic = log_traffic
        self._back_off = BackOff(jitter)
        self._requests: dict[str, _Request] = {}
        self._in_flight_bytes = 0
        self._recent: deque[str] = deque(maxlen=8)
        self._up_since_s: float | None = None
        self._answered_at_s = 0.0
        self._end: tuple[Down, str] | None = None  # why the present link is about to end
        self._reported: tuple[Down, str] | None = None
        self._handshake_timer: IDelayedCall | None = None
        self._stop_timer: IDelayedCall | None = None
        self._space_loop = self._loop(self._send_space)
        self._ping_loop = self._loop(self._check_alive)
        self._client = ClientService(
            _WatchedEndpoint(endpoint, self._connect_failed),
            factory,
            retryPolicy=lambda attempt: self._back_off.delay_s(),
            clock=reactor,
        )

    # -- Service

    def startService(self) -> None:
        """Start connecting; returns at once."""
        Service.startService(self)
        self._client.startService()

    def stopService(self) -> Deferred[None]:
        """Close the link; fires when it is closed, at the latest after the stop time-out."""
        Service.stopService(self)
        stream = self.xmlstream
        if stream is not None:
            self._ending(Down.STOPPED, "the gateway was stopped")
            if self._initialized:
                stream.sendFooter()
            # A frozen server never reads what is still buffered, so it never lets us close in
            # peace.
            self._stop_timer = self._clock.callLater(
                self._stop_timeout_s, stream.transport.abortConnection
            )
        stopped: Deferred[None] = self._client.stopService()
        return stopped

    # -- what callers use

    @property
    def is_up(self) -> bool:
        """Tell whether stanzas can be sent now."""
        return bool(self._initialized)

    @property
    def in_flight_bytes(self) -> int:
        """How many bytes of batches the server has not yet confirmed."""
        return self._in_flight_bytes

    def send(self, obj: domish.Element | str) -> bool:
        """
        Write one stanza without a fence: presence, answers, what may be lost.

        Nothing is kept for later while the link is down.

        :returns: whether it was written.
        """
        stream = self.xmlstream
        if stream is None or not self._initialized:
            self.log.debug("{domain}: not sent, the link is down", domain=self.domain)
            return False
        if isinstance(obj, str):
            xml = obj
        else:
            if not obj.getAttribute("from"):
                obj["from"] = self.domain
            xml = obj.toXml(
                prefixes=stream.prefixes,
                defaultUri=stream.namespace,
                prefixesInScope=list(stream.prefixes.values()),
            )
        # Whatever was built elsewhere: a control character must not end the stream for everybody.
        xml = stanzas.scrub(xml)
        self._recent.append(xml)
        stream.send(xml)
        return True

    def send_batch(self, xml: bytes) -> Deferred[None]:
        """
        Write stanzas in one go, followed by a ping; fires when the server has taken them all.

        The caller normally waits for one batch before it sends the next; more may be under way as
        long as they fit the window.

        :param xml: stanzas in UTF-8, well formed, with `from` and `to`.
        :raises LinkDown: as a failure: they may or may not have been taken; send them again with
            the same ids.
        :raises BatchTooLarge: as a failure: nothing was written.
        """
        stream = self.xmlstream
        if stream is None or not self._initialized:
            return fail(LinkDown(Down.LOST, "the link to the XMPP server is down"))
        if self._in_flight_bytes + len(xml) > self._window_bytes:
            return fail(
                BatchTooLarge(
                    f"{len(xml)} bytes with {self._in_flight_bytes} unanswered exceed the window "
                    f"of {self._window_bytes}"
                )
            )
        iq_id, request = self._new_request(
            self.ping_target, self._answer_timeout_s, is_probe=True, in_flight_bytes=len(xml)
        )
        stream.send(xml + self._ping(iq_id).encode("utf-8"))
        return request.answer.addCallback(lambda _: None)

    def ask(
        self,
        kind: str,
        to: str,
        payload: str,
        *,
        sender: str = "",
        timeout_s: float | None = None,
    ) -> Deferred[domish.Element]:
        """
        Send an iq get or set and wait for its answer.

        :param payload: XML that is well formed already.
        :param sender: our address that asks; the domain by default.
        :raises IqFailed: as a failure: the answer was an error, or did not come in time.
        :raises LinkDown: as a failure: the link is or went down.
        """
        stream = self.xmlstream
        if stream is None or not self._initialized:
            return fail(LinkDown(Down.LOST, "the link to the XMPP server is down"))
        iq_id, request = self._new_request(to, timeout_s or self._answer_timeout_s)
        stream.send(stanzas.iq(kind, to, sender or self.domain, iq_id, payload))
        return request.answer.addCallback(_checked_answer)

    def request(self, request: Any) -> Deferred[domish.Element]:
        """Send an iq of one of wokkel's handlers, with the guarantees of `ask`."""
        element = request.toElement()
        return self.ask(
            element["type"],
            element["to"],
            "".join(child.toXml() for child in element.elements()),
            sender=element.getAttribute("from", ""),
            timeout_s=request.timeout,
        )

    def pause_reading(self) -> None:
        """Let the server keep what it has for us, until `resume_reading`."""
        if self.xmlstream is not None:
            self.xmlstream.transport.pauseProducing()

    def resume_reading(self) -> None:
        """Read again."""
        if self.xmlstream is not None:
            self.xmlstream.transport.resumeProducing()

    def drop(self, kind: Down, text: str) -> None:
        """End the present link at once, for a reason that the caller knows; it is made again."""
        stream = self.xmlstream
        if stream is not None:
            self._ending(kind, text)
            stream.transport.abortConnection()

    # -- life of a connection; the names are wokkel's

    def _connected(self, xs: _Stream) -> None:
        if self._log_traffic:
            xs.rawDataInFn = self._log_in
            xs.rawDataOutFn = self._log_out
        self._end = None
        self._recent.clear()
        self._handshake_timer = self._clock.callLater(
            self._handshake_timeout_s,
            self.drop,
            Down.SILENT,
            "the server did not answer the handshake",
        )
        super()._connected(xs)

    def _authd(self, xs: _Stream) -> None:
        # Not wokkel's own method: it would install observers that match results by id alone.
        xs.authenticated = True
        self._initialized = True
        self._cancel_handshake_timer()
        self._up_since_s = self._answered_at_s = self._clock.seconds()
        self._reported = None
        self.log.info("{domain}: connected to the XMPP server", domain=self.domain)
        self._space_loop.start(self._keep_alive_s, now=False)
        self._ping_loop.start(self._ping_every_s, now=False)
        for child in list(self):
            self._guarded("attached handler", child.connectionInitialized)
        self._guarded("on_up", self.on_up)

    def initializationFailed(self, reason: Failure) -> None:
        """Drop a connection whose handshake could not be made; wokkel's own gives up for ever."""
        self.log.failure("{domain}: the handshake failed", failure=reason, domain=self.domain)
        self.drop(Down.LOST, "the handshake could not be made")

    def _stream_failed(self, reason: Failure) -> None:
        stream_error = reason.value
        if not isinstance(stream_error, jabber_error.StreamError):
            # The server's side is not XML; that is no fault of a stanza of ours.
            self._ending(Down.RESTART, f"the server sent something unreadable: {stream_error}")
            return
        condition = str(stream_error.condition)
        kind = classify(condition)
        own_words = f" ({stanzas.scrub(stream_error.text)})" if stream_error.text else ""
        explained = _EXPLAINED.get(condition, "the server ended the stream: {condition}")
        text = explained.format(domain=self.domain, condition=condition) + own_words
        self._ending(kind, text)

    def _disconnected(self, reason: Failure) -> None:
        stream, was_up = self.xmlstream, self._initialized
        if stream is None:
            return
        kind, text = self._end or (Down.LOST, f"the connection ended: {reason.getErrorMessage()}")
        now_s = self._clock.seconds()
        up_for_s = None if self._up_since_s is None else now_s - self._up_since_s
        self._up_since_s = None
        self._cancel_handshake_timer()
        if self._stop_timer is not None:
            if self._stop_timer.active():
                self._stop_timer.cancel()
            self._stop_timer = None
        for loop in (self._space_loop, self._ping_loop):
            if loop.running:
                loop.stop()
        self._back_off.failed(kind, up_for_s)
        super()._disconnected(reason)
        recent = list(self._recent)
        self._recent.clear()
        requests, self._requests = self._requests, {}
        self._in_flight_bytes = 0
        for request in requests.values():
            if request.timer.active():
                request.timer.cancel()
            request.answer.errback(LinkDown(kind, text))
        if kind is Down.REJECTED and was_up:
            self._guarded("on_rejected", self.on_rejected, text, recent)
        self._report(kind, text)

    def _connect_failed(self, failure: Failure) -> Failure:
        if self.running:
            self._back_off.failed(Down.UNREACHABLE, None)
            self._report(
                Down.UNREACHABLE,
                f"the XMPP server cannot be reached: {failure.getErrorMessage()}",
            )
        return failure

    def _report(self, kind: Down, text: str) -> None:
        if (kind, text) == self._reported:
            level = self.log.debug
        elif kind in (Down.CONFIGURATION, Down.CONFLICT, Down.REJECTED):
            level = self.log.error
        elif kind is Down.STOPPED:
            level = self.log.info
        else:
            level = self.log.warn
        self._reported = (kind, text)
        level("{domain}: {text} ({kind})", domain=self.domain, text=text, kind=str(kind))
        self._guarded("on_down", self.on_down, kind, text)

    def _ending(self, kind: Down, text: str) -> None:
        """Remember why the link ends; the first reason is the true one."""
        if self._end is None:
            self._end = (kind, text)

    def _cancel_handshake_timer(self) -> None:
        if self._handshake_timer is not None and self._handshake_timer.active():
            self._handshake_timer.cancel()
        self._handshake_timer = None

    # -- stanzas in

    def _element_received(self, stream: _Stream, element: domish.Element) -> None:
        # Called by the parser; whatever one stanza does, the next ones must still be heard.
        if stream is not self.xmlstream:
            return
        try:
            if element.name == "iq":
                self._iq_received(stream, element)
            else:
                self.on_stanza(element)
        except Exception:  # one stanza that we cannot cope with must not end the stream
            self.log.failure("{domain}: a received stanza was not handled", domain=self.domain)
            if _asks(element) and not _is_handled(element):
                self.send(stanzas.iq_error(element, _INTERNAL))

    def _iq_received(self, stream: _Stream, element: domish.Element) -> None:
        if element.getAttribute("type") in ("result", "error"):
            self._answer_received(element)
            return
        element.handled = False  # type: ignore[attr-defined]  # Twisted's convention
        if any(True for _ in self):  # handlers of wokkel are attached
            stream.dispatch(element)
            if _is_handled(element):
                return
        self.on_stanza(element)
        if not _is_handled(element) and _asks(element):
            self.send(stanzas.iq_error(element, _UNAVAILABLE))

    def _answer_received(self, element: domish.Element) -> None:
        request = self._requests.get(element.getAttribute("id", ""))
        # The id alone proves nothing: anybody may send us a result with any id.
        if request is None or not _same_address(
            element.getAttribute("from", ""), request.expected_from
        ):
            self.log.debug("{domain}: an answer that nobody waits for", domain=self.domain)
            return
        del self._requests[element["id"]]
        request.timer.cancel()
        self._in_flight_bytes -= request.in_flight_bytes
        self._answered_at_s = self._clock.seconds()
        request.answer.callback(element)

    # -- iqs out

    def _new_request(
        self, to: str, timeout_s: float, *, is_probe: bool = False, in_flight_bytes: int = 0
    ) -> tuple[str, _Request]:
        iq_id = self._random_id()
        request = _Request(
            to,
            Deferred(),
            self._clock.callLater(timeout_s, self._request_timed_out, iq_id),
            in_flight_bytes,
            is_probe,
            self._clock.seconds(),
        )
        self._requests[iq_id] = request
        self._in_flight_bytes += in_flight_bytes
        return iq_id, request

    def _request_timed_out(self, iq_id: str) -> None:
        request = self._requests[iq_id]
        if request.is_probe:
            # The server is what we probe: without an answer the link is dead, whatever TCP
            # believes.
            self.drop(Down.SILENT, "the XMPP server does not answer")
            return
        del self._requests[iq_id]
        request.answer.errback(IqFailed("wait", "", "no answer in time"))

    def _ping(self, iq_id: str) -> str:
        return stanzas.iq(
            "get", self.ping_target, self.domain, iq_id, "<ping xmlns='urn:xmpp:ping'/>"
        )

    # -- timers

    def _loop(self, call: Callable[[], None]) -> LoopingCall:
        loop = LoopingCall(self._guarded, call.__name__, call)
        loop.clock = self._clock
        return loop

    def _send_space(self) -> None:
        if self.xmlstream is not None:
            self.xmlstream.transport.write(b" ")

    def _check_alive(self) -> None:
        if self.xmlstream is None or self._in_flight_bytes:
            return  # a fence under way is a ping as well
        if self._clock.seconds() - self._answered_at_s < self._ping_every_s / 2:
            return
        iq_id, request = self._new_request(self.ping_target, self._answer_timeout_s, is_probe=True)
        request.answer.addErrback(lambda failure: failure.trap(LinkDown) and None)
        self.xmlstream.send(self._ping(iq_id))

    # -- small things

    def _guarded(self, what: str, call: Callable[..., object], *arguments: object) -> None:
        try:
            call(*arguments)
        except Exception:  # a caller's mistake must stop neither the stream nor its timers
            self.log.failure("{domain}: {what} failed", domain=self.domain, what=what)

    def _log_in(self, data: bytes) -> None:
        self.log.debug("{domain}: received {data}", domain=self.domain, data=data)

    def _log_out(self, data: bytes) -> None:
        masked = _HANDSHAKE.sub(rb"\1(hidden)", data)
        self.log.debug("{domain}: sent {data}", domain=self.domain, data=masked)


_UNAVAILABLE = Condition("cancel", "service-unavailable")
_INTERNAL = Condition("cancel", "internal-server-error")


def _asks(element: domish.Element) -> bool:
    return element.name == "iq" and element.getAttribute("type") in ("get", "set")


def _is_handled(element: domish.Element) -> bool:
    return getattr(element, "handled", False) is True


def _checked_answer(element: domish.Element) -> domish.Element:
    if element.getAttribute("type") == "error":
        bounce = stanzas.decode_bounce(element)
        raise IqFailed(bounce.type, bounce.condition, bounce.text)
    return element
