"""
A small XMPP client for tests, on Twisted's own streams, that shares the reactor with the test.

It records what it gets, answers receipt requests when told to, and has a raw mode for bursts in
which stanzas are counted without being parsed.  It knows nothing of gateways.
"""

from __future__ import annotations

import re
import secrets
from collections.abc import Callable
from typing import Any

from attrs import define
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import HostnameEndpoint
from twisted.internet.error import ConnectionDone
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import Factory
from twisted.python.failure import Failure
from twisted.words.protocols.jabber import client, sasl, xmlstream
from twisted.words.protocols.jabber.jid import JID
from twisted.words.xish import domish
from twisted.words.xish.xmlstream import STREAM_END_EVENT, STREAM_ERROR_EVENT, XmlStreamFactoryMixin

NS_RECEIPTS = "urn:xmpp:receipts"


class _Authenticator(xmlstream.ConnectAuthenticator):
    """Logs in over a loopback link without TLS."""

    namespace = "jabber:client"

    def __init__(self, jid: JID, password: str) -> None:
        xmlstream.ConnectAuthenticator.__init__(self, jid.host)
        self.jid = jid
        self.password = password

    def associateWithStream(self, xs: xmlstream.XmlStream) -> None:
        xmlstream.ConnectAuthenticator.associateWithStream(self, xs)
        xs.initializers = [
            client.CheckVersionInitializer(xs),
            xmlstream.TLSInitiatingInitializer(xs, required=False),
            sasl.SASLInitiatingInitializer(xs, required=True),
            client.BindInitializer(xs, required=True),
            client.SessionInitializer(xs, required=False),
        ]
        xs.initializers[1].wanted = False


class _ClientFactory(XmlStreamFactoryMixin, Factory):
    protocol = xmlstream.XmlStream
    noisy = False


@define(eq=False)
class _Waiter:
    matches: Callable[[domish.Element], bool]
    found: Deferred[domish.Element]
    timer: IDelayedCall


class TimedOut(Exception):
    """What was waited for did not come; the text says what came instead."""


class XmppClient:
    """
    One user on one device.

    :param answer_receipts: whether a receipt is sent for each message that asks for one.
    """

    def __init__(
        self,
        reactor: Any,
        jid: str,
        password: str,
        port: int,
        *,
        host: str = "127.0.0.1",
        answer_receipts: bool = True,
    ) -> None:
        self.jid = JID(jid)
        self.answer_receipts = answer_receipts
        self.stanzas: list[domish.Element] = []
        self.is_connected = False
        self._reactor = reactor
        self._password = password
        self._endpoint = HostnameEndpoint(reactor, host, port)
        self._stream: xmlstream.XmlStream | None = None
        self._waiters: list[_Waiter] = []
        self._closed: Deferred[None] | None = None
        self._raw_tail = b""
        self._raw_pattern: re.Pattern[bytes] | None = None
        self._raw_target: tuple[int, Deferred[None], IDelayedCall] | None = None
        self.counted: list[bytes] = []

    # -- link

    def connect(self, *, presence: bool = True) -> Deferred[None]:
        """Log in; fires when stanzas can be sent, after initial presence unless told otherwise."""
        return Deferred.fromCoroutine(self._connect(presence))

    async def _connect(self, presence: bool) -> None:
        ready: Deferred[xmlstream.XmlStream] = Deferred()
        factory = _ClientFactory(_Authenticator(self.jid, self._password))
        factory.addBootstrap(xmlstream.STREAM_AUTHD_EVENT, lambda xs: _fire(ready, xs))
        factory.addBootstrap(xmlstream.INIT_FAILED_EVENT, lambda f: _fire(ready, f))
        factory.addBootstrap(STREAM_ERROR_EVENT, lambda f: _fire(ready, f))
        factory.addBootstrap(STREAM_END_EVENT, self._ended)
        factory.addBootstrap(
            STREAM_END_EVENT, lambda f: _fire(ready, Failure(ConnectionDone("ended")))
        )
        await self._endpoint.connect(factory)
        self._stream = stream = await ready.addTimeout(20, self._reactor)
        self.jid = stream.authenticator.jid
        self._closed = Deferred()
        self.is_connected = True
        stream.setDispatchFn(self._received)
        # Servers tell of subscriptions only those devices that asked for the roster.
        await self.ask("get", str(self.jid.userhost()), "<query xmlns='jabber:iq:roster'/>")
        if presence:
            self.send("<presence/>")
            # Our own presence comes back when the server has taken it; a text sent to us a moment
            # earlier would be kept for the next login.
            await self.wait_for_presence(self.jid.full())

    def close(self) -> Deferred[None]:
        """Log out; fires when the connection is closed."""
        if not self.is_connected or self._stream is None or self._closed is None:
            done: Deferred[None] = Deferred()
            done.callback(None)
            return done
        closed = self._closed
        if self._raw_pattern is None:
            self._stream.sendFooter()
        self._stream.transport.loseConnection()
        self._reactor.callLater(0, lambda: None)
        abort = self._reactor.callLater(3, self._stream.transport.abortConnection)

        def finished(result: None) -> None:
            if abort.active():
                abort.cancel()

        return closed.addCallback(finished)

    def abort(self) -> None:
        """Vanish without a word."""
        if self._stream is not None:
            self._stream.transport.abortConnection()

    def _ended(self, reason: object) -> None:
        if self.is_connected and self._closed is not None:
            self.is_connected = False
            self._closed.callback(None)

    # -- sending

    def send(self, xml: str) -> None:
        """Write XML as it stands."""
        assert self._stream is not None
        self._stream.send(xml)

    def say(
        self,
        to: str,
        body: str,
        *,
        stanza_id: str = "",
        kind: str = "chat",
        want_receipt: bool = True,
        extra: str = "",
    ) -> str:
        """Send a message; returns its id."""
        stanza_id = stanza_id or secrets.token_hex(6)
        element = domish.Element((None, "message"))
        element["to"], element["id"] = to, stanza_id
        if kind:
            element["type"] = kind
        element.addElement("body", content=body)
        if want_receipt:
            element.addElement((NS_RECEIPTS, "request"))
        if extra:
            element.addRawXml(extra)
        assert self._stream is not None
        self._stream.send(element)
        return stanza_id

    def ask(
        self, kind: str, to: str, payload: str, *, timeout_s: float = 10
    ) -> Deferred[domish.Element]:
        """Send an iq; fires with the result or the error stanza."""
        iq_id = secrets.token_hex(6)
        answer = self.wait_for(
            lambda e: (
                e.name == "iq"
                and e.getAttribute("id") == iq_id
                and e["type"] in ("result", "error")
            ),
            timeout_s,
        )
        self.send(f"<iq type='{kind}' to='{to}' id='{iq_id}'>{payload}</iq>")
        return answer

    # -- receiving

    def _received(self, element: domish.Element) -> None:
        self.stanzas.append(element)
        if (
            self.answer_receipts
            and element.name == "message"
            and element.getAttribute("type") != "error"
            and element.getAttribute("id")
            and _child(element, NS_RECEIPTS, "request") is not None
        ):
            self.send(
                f"<message to='{element['from']}' type='chat' id='{secrets.token_hex(6)}'>"
                f"<received xmlns='{NS_RECEIPTS}' id='{element['id']}'/></message>"
            )
        if element.name == "iq" and element.getAttribute("type") == "get":
            self.send(
                f"<iq type='result' to='{element.getAttribute('from', '')}' id='{element['id']}'/>"
            )
        for waiter in list(self._waiters):
            if waiter.matches(element):
                self._waiters.remove(waiter)
                waiter.timer.cancel()
                waiter.found.callback(element)

    @property
    def messages(self) -> list[domish.Element]:
        """All messages with a body that are no errors, in order."""
        return [e for e in self.stanzas if _is_text(e)]

    @property
    def bodies(self) -> list[str]:
        """The bodies of `messages`."""
        return [body_of(e) for e in self.messages]

    @property
    def receipts(self) -> list[str]:
        """The ids of our messages for which receipts came."""
        found = (_child(e, NS_RECEIPTS, "received") for e in self.stanzas if e.name == "message")
        return [e.getAttribute("id", "") for e in found if e is not None]

    @property
    def errors(self) -> list[domish.Element]:
        """All messages of type error."""
        messages = (e for e in self.stanzas if e.name == "message")
        return [e for e in messages if e.getAttribute("type") == "error"]

    @property
    def presences(self) -> list[domish.Element]:
        """All presences, those of our own devices included."""
        return [e for e in self.stanzas if e.name == "presence"]

    def wait_for(
        self, matches: Callable[[domish.Element], bool], timeout_s: float = 10
    ) -> Deferred[domish.Element]:
        """Fire with the first stanza that matches, among those that came already or will come."""
        found: Deferred[domish.Element] = Deferred()
        for element in self.stanzas:
            if matches(element):
                found.callback(element)
                return found
        waiter = _Waiter(matches, found, self._reactor.callLater(timeout_s, self._give_up, found))
        self._waiters.append(waiter)
        return found

    def _give_up(self, found: Deferred[domish.Element]) -> None:
        self._waiters = [w for w in self._waiters if w.found is not found]
        came = "\n".join(e.toXml()[:400] for e in self.stanzas[-10:])
        found.errback(TimedOut(f"{self.jid.full()} waited in vain; the last stanzas were:\n{came}"))

    def wait_for_body(self, body: str, timeout_s: float = 10) -> Deferred[domish.Element]:
        """Fire with a message that has this body."""
        return self.wait_for(lambda e: _is_text(e) and body_of(e) == body, timeout_s)

    def wait_for_receipt(self, stanza_id: str, timeout_s: float = 10) -> Deferred[domish.Element]:
        """Fire with the receipt for a message of ours."""

        def matches(element: domish.Element) -> bool:
            received = _child(element, NS_RECEIPTS, "received")
            return received is not None and received.getAttribute("id") == stanza_id

        return self.wait_for(matches, timeout_s)

    def wait_for_error(self, stanza_id: str, timeout_s: float = 10) -> Deferred[domish.Element]:
        """Fire with the error for a message of ours."""
        return self.wait_for(
            lambda e: (
                e.name == "message"
                and e.getAttribute("type") == "error"
                and e.getAttribute("id") == stanza_id
            ),
            timeout_s,
        )

    def wait_for_presence(
        self, sender: str, kind: str = "", timeout_s: float = 10
    ) -> Deferred[domish.Element]:
        """Fire with a presence of this bare or full JID and type."""
        return self.wait_for(
            lambda e: (
                e.name == "presence"
                and e.getAttribute("type", "") == kind
                and sender in (e.getAttribute("from", ""), e.getAttribute("from", "").split("/")[0])
            ),
            timeout_s,
        )

    # -- raw mode

    def count_raw(self, pattern: bytes = rb"<body>([^<]*)</body>") -> None:
        """
        From now on, parse nothing: append the first group of each match to `counted`.

        Nothing else works afterwards; log in anew for that.
        """
        assert self._stream is not None
        self._raw_pattern = re.compile(pattern)
        self._raw_tail = b""
        self._stream.dataReceived = self._raw_received
        # The transport may have kept the bound method of the protocol or of a wrapper.
        self._stream.transport.protocol = _RawProtocol(self, self._stream)

    def _raw_received(self, data: bytes) -> None:
        data = self._raw_tail + data
        end = data.rfind(b"</message>")
        if end < 0:
            self._raw_tail = data
            return
        end += len(b"</message>")
        assert self._raw_pattern is not None
        self.counted += self._raw_pattern.findall(data, 0, end)
        self._raw_tail = data[end:]
        if self._raw_target is not None and len(self.counted) >= self._raw_target[0]:
            _, done, timer = self._raw_target
            self._raw_target = None
            timer.cancel()
            done.callback(None)

    def wait_for_count(self, count: int, timeout_s: float = 60) -> Deferred[None]:
        """Fire when `count_raw` has counted that many."""
        done: Deferred[None] = Deferred()
        if len(self.counted) >= count:
            done.callback(None)
            return done

        def give_up() -> None:
            self._raw_target = None
            done.errback(TimedOut(f"{len(self.counted)} of {count} came"))

        self._raw_target = (count, done, self._reactor.callLater(timeout_s, give_up))
        return done


class _RawProtocol:
    """Takes the place of the stream on its transport, for raw mode."""

    def __init__(self, owner: XmppClient, stream: xmlstream.XmlStream) -> None:
        self.dataReceived = owner._raw_received
        self.connectionLost = stream.connectionLost
        self.factory = stream.factory


def _fire(deferred: Deferred[Any], result: object) -> None:
    if not deferred.called:
        deferred.callback(result)


def _child(element: domish.Element, uri: str, name: str) -> domish.Element | None:
    for child in element.elements():
        if (child.uri, child.name) == (uri, name):
            return child
    return None


def body_of(element: domish.Element) -> str:
    """Return the text of the body."""
    for child in element.elements():
        if child.name == "body":
            return str(child)
    return ""


def error_of(element: domish.Element) -> tuple[str, str, str]:
    """Return type, condition and text of an error stanza."""
    for child in element.elements():
        if child.name == "error":
            conditions = [c.name for c in child.elements() if c.name != "text"]
            texts = [str(c) for c in child.elements() if c.name == "text"]
            return child.getAttribute("type", ""), (conditions or [""])[0], "".join(texts)
    return "", "", ""


def _is_text(element: domish.Element) -> bool:
    return (
        element.name == "message"
        and element.getAttribute("type") != "error"
        and any(child.name == "body" for child in element.elements())
    )
