"""The component's link to a real Prosody and a real ejabberd."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from typing import Any

from twisted.internet import reactor, ssl
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from smsbridge.gateways.xmpp import addresses, disco, stanzas
from smsbridge.gateways.xmpp.conditions import BY_REASON
from smsbridge.gateways.xmpp.stream import ComponentStream, Down, LinkDown, endpoint_for
from tests.end_to_end.xmpp_client import XmppClient, error_of
from tests.end_to_end.xmpp_servers import (
    COMPONENT,
    EjabberdServer,
    ProsodyServer,
    XmppServer,
    password_of,
)

ALICE = "alice@example.org"
BOB = "bob@example.org"
NUMBER = f"+12025550123@{COMPONENT}"


class Component:
    """A component that records, and answers discovery as the gateway would."""

    def __init__(self, server: XmppServer, **more: Any) -> None:
        self.events: list[stanzas.Event] = []
        self.elements: list[domish.Element] = []
        self.ends: list[Down] = []
        self.texts: list[str] = []
        self.rejected: list[list[str]] = []
        self._waiting: list[tuple[Callable[[], bool], Deferred[None]]] = []
        endpoint = more.pop("endpoint", None) or endpoint_for(
            reactor, "127.0.0.1", server.component_port
        )
        options: dict[str, Any] = {
            "on_up": self._changed,
            "on_down": self._down,
            "on_stanza": self._received,
            "on_rejected": lambda text, recent: self.rejected.append(recent),
        }
        self.stream = ComponentStream(
            reactor, endpoint, COMPONENT, more.pop("secret", server.secret), **{**options, **more}
        )

    def _down(self, kind: Down, text: str) -> None:
        self.ends.append(kind)
        self.texts.append(text)
        self._changed()

    def _received(self, element: domish.Element) -> None:
        self.elements.append(element)
        if element.name == "message":
            self.events.append(stanzas.decode_message(element))
        elif element.name == "iq":
            of_number = bool(addresses.local_of(element["to"]))
            entity = disco.NUMBER if of_number else disco.gateway("Texts")
            answer = disco.answer(element, entity, software="smsbridge", version="1", at_ms=0)
            if answer is not None:
                element.handled = True
                self.stream.send(answer)
        self._changed()

    def _changed(self) -> None:
        for waiting in list(self._waiting):
            condition, done = waiting
            if condition():
                self._waiting.remove(waiting)
                done.callback(None)

    async def until(self, condition: Callable[[], bool], timeout_s: float = 15) -> None:
        """Wait until something is so."""
        if not condition():
            done: Deferred[None] = Deferred()
            self._waiting.append((condition, done))
            await done.addTimeout(timeout_s, reactor)

    async def up(self, timeout_s: float = 15) -> None:
        """Start, and wait for the handshake."""
        if not self.stream.running:
            self.stream.startService()
        await self.until(lambda: self.stream.is_up, timeout_s)

    def of_type(self, kind: type) -> list[Any]:
        """Return the decoded messages of one type."""
        return [event for event in self.events if isinstance(event, kind)]


def asynchronous(
    test: Callable[[Any], Coroutine[Any, Any, None]],
) -> Callable[[Any], Deferred[None]]:
    """Let trial run a test that is a coroutine."""

    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


class ServerTests:
    """What must hold with each server."""

    timeout = 120
    build: type[XmppServer]

    def setUp(self) -> Deferred[None]:
        self.server = self.build(reactor, self.mktemp())  # type: ignore[attr-defined]
        self.addCleanup(self.server.kill)  # type: ignore[attr-defined]
        return self.server.start()

    def component(self, **more: Any) -> Component:
        """Build a component that ends with the test."""
        component = Component(self.server, **more)
        self.addCleanup(component.stream.stopService)  # type: ignore[attr-defined]
        return component

    async def client(self, user: str = "alice", **more: Any) -> XmppClient:
        """Log a user in until the end of the test."""
        client = XmppClient(
            reactor, f"{user}@example.org/phone", password_of(user), self.server.client_port, **more
        )
        await client.connect()
        self.addCleanup(client.close)  # type: ignore[attr-defined]
        return client

    @asynchronous
    async def test_texts_both_ways_with_receipts_and_errors(self) -> None:
        """Text in, receipt from the client; text out, receipt or error from us."""
        component = self.component()
        await component.up()
        alice = await self.client()
        odd = "bell \x07, <&> ]]>, \ud800, \U0001f600 and\nlines"

        await component.stream.send_batch(
            stanzas.chat_message(ALICE, NUMBER, "in-1", odd, nick="Ann").encode()
        )
        got = await alice.wait_for_body("bell \ufffd, <&> ]]>, \ufffd, \U0001f600 and\nlines")
        self.assertEqual((got["from"], got["type"], got["id"]), (NUMBER, "chat", "in-1"))
        await component.until(lambda: bool(component.of_type(stanzas.Receipt)))
        self.assertEqual(component.of_type(stanzas.Receipt)[0].received_id, "in-1")

        alice.say(NUMBER, "good one", stanza_id="m1")
        alice.say(NUMBER, "bad one", stanza_id="m2")
        await component.until(lambda: len(component.of_type(stanzas.Text)) == 2)
        good, bad = component.of_type(stanzas.Text)
        self.assertEqual((good.body, good.wants_receipt), ("good one", True))
        component.stream.send(stanzas.receipt(ALICE, NUMBER, "r1", good.id))
        component.stream.send(
            stanzas.error_reply(
                bad.sender, NUMBER, bad.id, BY_REASON["unknown-subscriber"], body=bad.body
            )
        )

        await alice.wait_for_receipt("m1")
        error = await alice.wait_for_error("m2")
        self.assertEqual(
            error_of(error),
            ("cancel", "item-not-found", "The network says that this number does not exist."),
        )

    @asynchronous
    async def test_discovery_is_answered_and_listed(self) -> None:
        """Clients find the gateway at the server, and learn what it and its numbers can do."""
        component = self.component()
        await component.up()
        alice = await self.client()
        query = "<query xmlns='http://jabber.org/protocol/disco#{}'/>"

        items = await alice.ask("get", "example.org", query.format("items"))
        gateway = await alice.ask("get", COMPONENT, query.format("info"))
        number = await alice.ask("get", NUMBER, query.format("info"))
        ping = await alice.ask("get", NUMBER, "<ping xmlns='urn:xmpp:ping'/>")
        odd = await alice.ask("get", COMPONENT, "<query xmlns='urn:example:odd'/>")

        self.assertIn(COMPONENT, [e["jid"] for e in items.query.elements()])
        self.assertEqual(gateway.query.identity["type"], "sms")
        self.assertEqual(number.query.identity["category"], "client")
        self.assertEqual((ping["type"], odd["type"]), ("result", "error"))
        self.assertEqual(error_of(odd)[:2], ("cancel", "service-unavailable"))

    @asynchronous
    async def test_contact_can_be_added_and_shows_itself(self) -> None:
        """Subscription, presence with capabilities, and the end of the subscription."""
        component = self.component()
        await component.up()
        alice = await self.client()

        alice.send(f"<presence to='{NUMBER}' type='subscribe'/>")
        await component.until(
            lambda: any(e.getAttribute("type") == "subscribe" for e in component.elements)
        )
        component.stream.send(stanzas.presence(ALICE, NUMBER, "subscribed"))
        component.stream.send(stanzas.presence(ALICE, f"{NUMBER}/sms", caps=disco.NUMBER.caps))

        await alice.wait_for_presence(NUMBER, "subscribed")
        available = await alice.wait_for_presence(f"{NUMBER}/sms")
        caps = [e for e in available.elements() if e.name == "c"]
        self.assertEqual(caps[0]["ver"], disco.NUMBER.version)

    @asynchronous
    async def test_every_kind_of_sender_passes(self) -> None:
        """Short codes, names, groups and lines are addresses that the server takes."""
        component = self.component()
        await component.up()
        alice = await self.client(answer_receipts=False)
        senders = [
            addresses.jid_of_sender(sender, COMPONENT, line)
            for sender, line in (
                ("+12025550123", "work-main"),
                ("12345", ""),
                ("My Bank & Söhne", ""),
                ("50% off", "2001"),
                ("☕", ""),
                ("בנק", "2001"),
                ("joe@mail.example", ""),
                ("", ""),
            )
        ]
        senders.append(
            addresses.jid_of(addresses.Group(("+12025550124", "+12025550123")), COMPONENT)
        )
        batch = [
            stanzas.chat_message(ALICE, sender, f"in-{n}", f"text {n}")
            for n, sender in enumerate(senders)
        ]

        await component.stream.send_batch("".join(batch).encode())

        for n, sender in enumerate(senders):
            got = await alice.wait_for_body(f"text {n}")
            self.assertEqual(got["from"], sender)
            alice.say(got["from"], f"answer {n}")
        await component.until(lambda: len(component.of_type(stanzas.Text)) == len(senders))
        self.assertEqual([text.recipient for text in component.of_type(stanzas.Text)], senders)

    @asynchronous
    async def test_texts_wait_for_an_absent_user(self) -> None:
        """What is fenced while the user is away arrives when the user comes, marked as late."""
        component = self.component()
        await component.up()
        await component.stream.send_batch(
            (
                stanzas.chat_message(BOB, NUMBER, "in-1", "while you were out")
                + stanzas.receipt(BOB, NUMBER, "r1", "m1")
            ).encode()
        )

        bob = await self.client("bob")

        got = await bob.wait_for_body("while you were out")
        self.assertIn("delay", [e.name for e in got.elements()])
        await bob.wait_for_receipt("m1")

    @asynchronous
    async def test_unknown_user_bounces_with_the_id(self) -> None:
        """The proof that a text did not arrive names the text."""
        component = self.component()
        await component.up()
        await component.stream.send_batch(
            stanzas.chat_message("nobody@example.org", NUMBER, "in-9", "x").encode()
        )
        await component.until(lambda: bool(component.of_type(stanzas.ErrorBounce)))

        bounce = component.of_type(stanzas.ErrorBounce)[0]
        self.assertEqual((bounce.id, bounce.condition), ("in-9", "service-unavailable"))

    @asynchronous
    async def test_fence_against_our_own_domain_works_too(self) -> None:
        """Where the parent domain is elsewhere, the ping may go round to ourselves."""
        component = self.component(ping_target=COMPONENT)

        def pong(element: domish.Element) -> None:
            component._received(element)

        component.stream.on_stanza = pong
        await component.up()

        await component.stream.send_batch(stanzas.note(ALICE, COMPONENT, "n1", "hello").encode())

    @asynchronous
    async def test_wrong_secret_is_a_matter_of_configuration(self) -> None:
        """The operator is told, and the server is not bothered every second."""
        component = self.component(secret="wrong")
        component.stream.startService()
        await component.until(lambda: bool(component.ends))
        await deferLater(reactor, 2)

        self.assertEqual(component.ends, [Down.CONFIGURATION])
        self.assertIn("secret", component.texts[0])

    @asynchronous
    async def test_bad_stanza_is_found_by_sending_one_by_one(self) -> None:
        """A batch with a bad stanza is rejected as a whole; alone, only the bad one is."""
        component = self.component()
        await component.up()
        good = stanzas.chat_message(ALICE, NUMBER, "in-1", "good").encode()
        bad = good.replace(b"good", b"bad \x07")

        with self.assertRaises(LinkDown) as caught:  # type: ignore[attr-defined]
            await component.stream.send_batch(good + bad)
        self.assertEqual(caught.exception.kind, Down.REJECTED)
        await component.up()
        await component.stream.send_batch(good)
        with self.assertRaises(LinkDown) as caught:  # type: ignore[attr-defined]
            await component.stream.send_batch(bad)
        self.assertEqual(caught.exception.kind, Down.REJECTED)
        await component.up()

    @asynchronous
    async def test_foreign_sender_is_rejected_and_shown(self) -> None:
        """A stanza from outside our domain is our bug; the link comes back by itself."""
        component = self.component()
        await component.up()
        component.stream.send("<message from='a@elsewhere.example' to='bob@example.org'/>")
        await component.until(lambda: bool(component.ends))

        self.assertEqual(component.ends, [Down.REJECTED])
        self.assertIn("elsewhere.example", component.rejected[0][0])
        await component.up()

    @asynchronous
    async def test_killed_server_is_found_again(self) -> None:
        """After kill -9 and a new start the link is back within seconds."""
        component = self.component()
        await component.up()
        await self.server.kill()
        await component.until(lambda: bool(component.ends))
        await self.server.start()

        await component.up(timeout_s=10)

        self.assertIn(component.ends[0], (Down.LOST, Down.RESTART))
        await component.stream.send_batch(stanzas.note(BOB, COMPONENT, "n1", "back").encode())

    @asynchronous
    async def test_orderly_restart_is_found_again(self) -> None:
        """A server that says goodbye is found again as well."""
        component = self.component()
        await component.up()
        await self.server.restart()
        await component.until(lambda: bool(component.ends) and component.stream.is_up, 15)

        self.assertIn(component.ends[0], (Down.LOST, Down.RESTART))

    @asynchronous
    async def test_frozen_server_is_left(self) -> None:
        """A server that stands still is noticed by the fence, and found again when it goes on."""
        component = self.component(answer_timeout_s=1)
        await component.up()
        self.server.pause()
        try:
            with self.assertRaises(LinkDown) as caught:  # type: ignore[attr-defined]
                await component.stream.send_batch(stanzas.note(BOB, COMPONENT, "n", "x").encode())
        finally:
            self.server.resume()

        self.assertEqual(caught.exception.kind, Down.SILENT)
        await component.up()

    @asynchronous
    async def test_nothing_fenced_is_lost_when_the_server_ends(self) -> None:
        """Every text whose fence was answered reaches the user, wherever in a burst the end was."""
        component = self.component()
        await component.up()
        fenced: list[str] = []
        killing: list[Deferred[None]] = []
        for batch in range(1000):
            ids = [f"b{batch}-{n}" for n in range(10)]
            xml = "".join(stanzas.chat_message(BOB, NUMBER, i, i) for i in ids)
            sent = component.stream.send_batch(xml.encode())
            if batch == 20:
                killing.append(deferLater(reactor, 0.004, self.end_server))
            try:
                await sent
            except LinkDown:
                break
            fenced += ids
        await killing[0]
        await self.server.start()

        bob = await self.client("bob", answer_receipts=False)
        await bob.wait_for_body(fenced[-1], 30)

        self.assertGreaterEqual(len(fenced), 200)
        self.assertEqual(set(fenced) - set(bob.bodies), set())

    @asynchronous
    async def test_burst_arrives_whole_and_in_order(self) -> None:
        """A thousand texts in batches come out as they went in."""
        component = self.component()
        await component.up()
        alice = await self.client(answer_receipts=False)
        alice.count_raw()
        for batch in range(10):
            xml = "".join(
                stanzas.chat_message(ALICE, NUMBER, f"i{n}", str(n))
                for n in range(batch * 100, batch * 100 + 100)
            )
            await component.stream.send_batch(xml.encode())

        await alice.wait_for_count(1000)

        self.assertEqual(alice.counted, [b"%d" % n for n in range(1000)])

    def end_server(self) -> Deferred[None]:
        """End the server in the hardest way that it promises to survive."""
        raise NotImplementedError

    assertEqual: Any
    assertIn: Any
    assertGreaterEqual: Any
    mktemp: Any
    addCleanup: Any


class ProsodyTests(ServerTests, TestCase):
    """With Prosody."""

    build = ProsodyServer

    def end_server(self) -> Deferred[None]:
        """End it the hard way: Prosody has written what it has taken."""
        return self.server.kill()

    @asynchronous
    async def test_second_instance_is_told_and_waits(self) -> None:
        """Prosody refuses the second instance; it says so and does not insist."""
        first, second = self.component(), self.component()
        await first.up()
        second.stream.startService()
        await second.until(lambda: bool(second.ends))

        self.assertEqual(second.ends, [Down.CONFLICT])
        self.assertTrue(first.stream.is_up)

    @asynchronous
    async def test_alias_reaches_the_component(self) -> None:
        """A number at the user's own domain is the number at the gateway; accounts win."""
        component = self.component()
        await component.up()
        alice, bob = await self.client(), await self.client("bob")
        alice.say("+12025550123@example.org", "one")
        alice.say("0012025550123@example.org", "two")
        alice.say("bob@example.org", "three")
        await bob.wait_for_body("three")
        alice.send("<presence to='+12025550123@example.org' type='subscribe'/>")
        await component.until(
            lambda: any(e.getAttribute("type") == "subscribe" for e in component.elements)
        )
        version = await alice.ask(
            "get", "+12025550123@example.org", "<query xmlns='jabber:iq:version'/>"
        )

        texts = component.of_type(stanzas.Text)
        self.assertEqual(
            [(text.recipient, text.body) for text in texts], [(NUMBER, "one"), (NUMBER, "two")]
        )
        self.assertEqual(version["type"], "result")

    @asynchronous
    async def test_alias_leaves_what_is_no_number(self) -> None:
        """Too few digits, letters and the like stay with the server."""
        component = self.component()
        await component.up()
        alice = await self.client()
        ids = [
            alice.say(f"{local}@example.org", "x")
            for local in ("+123", "+1202555012x", "0012", "nobody", "+0123456789")
        ]
        for stanza_id in ids:
            await alice.wait_for_error(stanza_id)

        self.assertEqual(component.of_type(stanzas.Text), [])


class EjabberdTests(ServerTests, TestCase):
    """With ejabberd."""

    build = EjabberdServer

    def end_server(self) -> Deferred[None]:
        """
        End it in order.

        With Mnesia, ejabberd keeps texts for absent users in memory for a while, so kill -9 loses
        what it has taken, and the fence with it; only receipts or its SQL storage help there.
        """
        return self.server.stop()

    @asynchronous
    async def test_tls_with_a_checked_certificate(self) -> None:
        """The link may be encrypted; a certificate that nobody vouches for is refused."""
        trusted = ssl.trustRootFromCertificates([ssl.Certificate.loadPEM(self.server.certificate)])
        port = self.server.tls_component_port
        good = self.component(
            endpoint=endpoint_for(reactor, "127.0.0.1", port, tls=True, trust_root=trusted)
        )
        bad = self.component(endpoint=endpoint_for(reactor, "127.0.0.1", port, tls=True))

        await good.up()
        await good.stream.send_batch(stanzas.note(BOB, COMPONENT, "n1", "secret").encode())
        bad.stream.startService()
        await bad.until(lambda: bool(bad.ends))

        self.assertFalse(bad.stream.is_up)
        self.assertIn("certificate", bad.texts[0])
