"""The XMPP gateway between a real Prosody or ejabberd and an inbox that only remembers."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Coroutine, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import treq
from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.message import Delivery, Direction, FromPerson, Kind, Outcome, Sent, Status
from smsbridge.errors import PermanentFailure, Refused
from smsbridge.gateways.xmpp import FACTORY
from smsbridge.gateways.xmpp.config import XmppGateway, server_address
from smsbridge.gateways.xmpp.gateway import XmppService
from smsbridge.gateways.xmpp.stream import ComponentStream
from tests.end_to_end.xmpp_client import XmppClient, body_of, error_of
from tests.end_to_end.xmpp_servers import (
    COMPONENT,
    EjabberdServer,
    ProsodyServer,
    XmppServer,
    password_of,
)
from tests.fakes import StubInbox, StubLanes
from tests.gateways.xmpp.desk import StubDesk
from tests.gateways.xmpp.rig import line_status, record
from tests.gateways.xmpp.test_upload import KEPT, StoredFiles

if TYPE_CHECKING:
    Mixin = TestCase
else:
    # Not a test case by itself: trial would run it without a server.
    Mixin = object

ALICE = "alice@example.org"
E164 = "+12025550123"
NUMBER = f"{E164}@{COMPONENT}"

DIRECTORY = Directory(
    lines={
        "first": Line(label="first", gateway="box", number="+12025550100"),
        "second": Line(label="second", gateway="box", number="+12025550101"),
    },
    persons={
        "alice": Person(label="alice", xmpp=(ALICE,), lines=("first", "second")),
        "Bob": Person(label="Bob", xmpp=("nobody@example.org",)),
    },
    serving={"xmpp": "chat"},
)


def asynchronous(
    test: Callable[[Any], Coroutine[Any, Any, None]],
) -> Callable[[Any], Deferred[None]]:
    """Let trial run a test that is a coroutine."""

    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def delivery(name: str, body: str, **more: Any) -> Delivery:
    """Return a text from the network to Alice."""
    given: dict[str, Any] = {
        "delivery_id": f"{name}.0",
        "message_id": name,
        "kind": Kind.MESSAGE,
        "gateway": "chat",
        "lane": "chat",
        "line": "first",
        "person": "alice",
        "destination": ALICE,
        "order_key": f"first|{E164} {ALICE}",
        "status": Status.SENDING,
        "attempts": 1,
        "created_at_ms": int(reactor.seconds() * 1000),
        "expires_at_ms": 10**15,
        "body": body,
        "sender": E164,
        "recipients": ("+12025550100",),
        "direction": Direction.IN,
    }
    return Delivery(**{**given, **more})


def report(text: FromPerson, reported: Status, **more: Any) -> Delivery:
    """Return the report about a text that the inbox got, as the core makes it."""
    assert text.origin is not None
    return delivery(
        f"report-{reported}",
        more.pop("body", ""),
        kind=Kind.REPORT,
        lane="chat/reports",
        destination=text.origin.address,
        ref=text.origin.ref,
        author="alice",
        recipients=text.recipients,
        direction=Direction.OUT,
        reported=reported,
        **more,
    )


class Spoiler:
    """A link on which the text ``bad`` comes from a domain that is not ours."""

    def __init__(self, stream: ComponentStream) -> None:
        self.stream = stream
        self.ask = stream.ask

    @property
    def is_up(self) -> bool:
        """See `outbound.Link`."""
        return self.stream.is_up

    def send_batch(self, xml: bytes) -> Deferred[None]:
        """See `outbound.Link`."""
        good, bad = f"from='{NUMBER}'".encode(), b"from='x@elsewhere.example'"
        stanzas = xml.split(b"</message>")
        return self.stream.send_batch(
            b"</message>".join(
                each.replace(good, bad) if b"<body>bad</body>" in each else each for each in stanzas
            )
        )


class Scenarios(Mixin):
    """What must hold with each server."""

    timeout = 120
    build: type[XmppServer]

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.server = self.build(reactor, folder)
        self.addCleanup(self.server.kill)
        await self.server.start()
        self.inbox = StubInbox()
        self.lanes = StubLanes()
        self.desk = StubDesk()
        self.world = World(directory=DIRECTORY, desk=self.desk)
        self.gateway = self.make()
        await self.up()

    def make(self, **more: Any) -> XmppService:
        """Build and start a gateway, as the daemon does."""
        config = XmppGateway(
            server=server_address(f"127.0.0.1:{self.server.component_port}"),
            domain=COMPONENT,
            secret=self.server.secret,
            **more,
        )
        gateway: XmppService = FACTORY.build(
            reactor, "chat", config, {}, self.inbox, self.lanes, self.world
        )
        gateway.startService()
        self.addCleanup(gateway.stopService)
        return gateway

    async def up(self) -> None:
        """Wait for the link."""
        await self.until(lambda: self.gateway.link_status().up, 45)

    async def until(self, condition: Callable[[], object], timeout_s: float = 15) -> None:
        """Wait until something is so."""
        for _ in range(int(timeout_s / 0.05)):
            if condition():
                return
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.fail("it did not come to that in time")

    async def client(self, user: str = "alice", **more: Any) -> XmppClient:
        """Log a user in until the end of the test."""
        client = XmppClient(
            reactor,
            f"{user}@example.org/{more.pop('device', 'phone')}",
            password_of(user),
            self.server.client_port,
            **more,
        )
        await client.connect()
        self.addCleanup(client.close)
        return client

    async def deliver(self, *batch: Delivery) -> list[Outcome]:
        """Deliver a batch and return the outcomes."""
        return list(await self.gateway.deliver(batch[0].lane, list(batch)))

    async def deliver_all(self, deliveries: Sequence[Delivery], size: int = 100) -> int:
        """Deliver until all are sent, as the dispatcher would; return how many attempts failed."""
        waiting, failed = list(deliveries), 0
        while waiting:
            await self.up()
            outcomes = await self.deliver(*waiting[:size])
            sent = [isinstance(outcome, Sent) for outcome in outcomes]
            failed += sent.count(False)
            waiting = [
                d for d, is_sent in zip(waiting, sent, strict=False) if not is_sent
            ] + waiting[size:]
        return failed

    def written(self) -> list[FromPerson]:
        """Return the texts of users that the inbox has."""
        return [m for m in self.inbox.messages if isinstance(m, FromPerson)]

    @asynchronous
    async def test_text_reaches_the_user_and_the_receipt_comes_back(self) -> None:
        """A text is sent when the server has it, delivered when the client says so."""
        alice = await self.client()

        (outcome,) = await self.deliver(delivery("t1", "see you at 8 <&> \U0001f600"))

        self.assertIsInstance(outcome, Sent)
        got = await alice.wait_for_body("see you at 8 <&> \U0001f600")
        self.assertEqual((got["from"], got["type"]), (NUMBER, "chat"))
        assert isinstance(outcome, Sent)
        if not outcome.delivered:
            await self.until(lambda: self.inbox.reports)
            self.assertEqual(
                (self.inbox.reports[0].delivery_id, self.inbox.reports[0].status),
                ("t1.0", Status.DELIVERED),
            )

    @asynchronous
    async def test_text_of_the_user_reaches_the_inbox_and_hears_what_became_of_it(self) -> None:
        """The second tick when the network reports, a red mark with the reason when it fails."""
        alice = await self.client()
        alice.say(NUMBER, "hello", stanza_id="m1")
        alice.say(f"{E164}%second@{COMPONENT}", "other line", stanza_id="m2")
        await self.until(lambda: len(self.written()) == 2)
        first, second = self.written()
        self.assertEqual((first.person, first.recipients, first.line), ("alice", (E164,), ""))
        self.assertEqual((second.body, second.line), ("other line", "second"))

        await self.deliver(
            report(first, Status.DELIVERED),
            report(
                second,
                Status.FAILED,
                reason="unknown-subscriber",
                body="No such number.",
                line="second",
            ),
        )

        receipt = await alice.wait_for_receipt("m1")
        self.assertEqual(receipt["from"], NUMBER)
        error = await alice.wait_for_error("m2")
        self.assertEqual(error["from"], f"{E164}%second@{COMPONENT}")
        self.assertEqual(error_of(error), ("cancel", "item-not-found", "No such number."))

    @asynchronous
    async def test_repeated_text_is_one_and_refusals_are_told(self) -> None:
        """A resend is no second SMS; who may not, and what is no text, is told."""
        alice = await self.client()
        bob = await self.client("bob")
        for _ in range(2):
            alice.say(NUMBER, "hello", stanza_id="m1")
        await self.until(lambda: self.inbox.repeated_reports)
        self.assertEqual(len(self.written()), 1)

        self.inbox.failure = Refused("destination-not-allowed")
        for user, stanza_id, body, condition in (
            (alice, "m2", "hello", "forbidden"),
            (alice, "m3", "  ", "policy-violation"),
            (bob, "m4", "hello", "registration-required"),
        ):
            user.say(NUMBER, body, stanza_id=stanza_id)
            error = await user.wait_for_error(stanza_id)
            self.assertEqual(error_of(error)[1], condition)

    @asynchronous
    async def test_failure_reaches_an_absent_user_as_a_text(self) -> None:
        """Servers keep no errors for later; when the user comes back, a sentence is there."""
        alice = await self.client()
        alice.say(NUMBER, "hello", stanza_id="m1")
        await self.until(self.written)
        await alice.close()
        self.gateway.presences.forget()  # as after some minutes

        await self.deliver(report(self.written()[0], Status.FAILED, reason="blocked"))

        again = await self.client(device="tablet")
        got = await again.wait_for(lambda e: body_of(e).startswith("[Not delivered]"))
        self.assertEqual(got["from"], NUMBER)
        self.assertEqual(again.errors, [])

    @asynchronous
    async def test_device_that_is_there_gets_the_error_without_any_presence(self) -> None:
        """A user who never added the gateway still sees the red mark where it belongs."""
        alice = await self.client()
        alice.say(NUMBER, "hello", stanza_id="m1")
        await self.until(self.written)
        self.gateway.presences.forget()

        await self.deliver(report(self.written()[0], Status.FAILED, reason="blocked"))

        await alice.wait_for_error("m1")

    @asynchronous
    async def test_texts_wait_at_the_server_for_an_absent_user(self) -> None:
        """What was fenced while the user was away is there when the user comes."""
        outcomes = await self.deliver(delivery("t1", "while you were out"))
        self.assertEqual(outcomes, [Sent()])

        alice = await self.client()

        await alice.wait_for_body("while you were out")
        await self.until(lambda: self.inbox.reports)

    @asynchronous
    async def test_user_that_the_server_does_not_know_is_a_failure(self) -> None:
        """The server's bounce is the proof, before the fence or after it."""
        (outcome,) = await self.deliver(
            delivery("t1", "x", person="Bob", destination="nobody@example.org")
        )

        if not isinstance(outcome, PermanentFailure):
            await self.until(lambda: self.inbox.reports)
            self.assertEqual(self.inbox.reports[0].status, Status.FAILED)

    @asynchronous
    async def test_contact_is_added_and_the_gateway_shows_the_lines(self) -> None:
        """Subscription both ways, presence with capabilities, trouble on the gateway alone."""
        alice = await self.client()
        for contact in (NUMBER, COMPONENT):
            alice.send(f"<presence to='{contact}' type='subscribe'/>")
            await alice.wait_for_presence(contact, "subscribed")
            await alice.wait_for_presence(contact, "subscribe")
            alice.send(f"<presence to='{contact}' type='subscribed'/>")
        number = await alice.wait_for_presence(f"{NUMBER}/sms")
        (caps,) = [child for child in number.elements() if child.name == "c"]

        info = await alice.ask(
            "get",
            f"{NUMBER}/sms",
            "<query xmlns='http://jabber.org/protocol/disco#info' "
            f"node='{caps['node']}#{caps['ver']}'/>",
        )
        self.assertIn("urn:xmpp:receipts", info.toXml())
        await self.until(lambda: self.gateway.presences.is_online(f"{ALICE}/phone"))

        self.desk.line_states = [line_status("first", False), line_status("second", False)]
        self.gateway.presences.refresh()
        await alice.wait_for(
            lambda e: e.name == "presence" and e["from"] == COMPONENT and "dnd" in e.toXml()
        )
        await alice.close()
        await self.until(lambda: self.gateway.presences.is_online(f"{ALICE}/phone") is False)

    @asynchronous
    async def test_stranger_cannot_add_a_number(self) -> None:
        """Nothing is accepted first."""
        bob = await self.client("bob")

        bob.send(f"<presence to='{NUMBER}' type='subscribe'/>")

        await bob.wait_for_presence(NUMBER, "error")

    @asynchronous
    async def test_discovery_prompt_and_card_are_answered(self) -> None:
        """Clients learn what the gateway is, ask for a number and for a name."""
        self.world.book.put("alice", PersonalBook(names={E164: "Ann"}))
        alice = await self.client()

        info = await alice.ask(
            "get", COMPONENT, "<query xmlns='http://jabber.org/protocol/disco#info'/>"
        )
        jid = await alice.ask(
            "set",
            COMPONENT,
            "<query xmlns='jabber:iq:gateway'><prompt>(202) 555-0123</prompt></query>",
        )
        card = await alice.ask("get", NUMBER, "<vCard xmlns='vcard-temp'/>")
        unknown = await alice.ask("get", NUMBER, "<query xmlns='urn:unknown'/>")

        self.assertIn("jabber:iq:gateway", info.toXml())
        self.assertIn(NUMBER, jid.toXml())
        self.assertIn("Ann", card.toXml())
        self.assertEqual(error_of(unknown)[1], "service-unavailable")

    @asynchronous
    async def test_correction_of_a_waiting_text_replaces_it(self) -> None:
        """A real client's correction takes the first text out of the queue."""
        alice = await self.client()
        alice.say(NUMBER, "helo", stanza_id="m1")
        await self.until(self.written)
        self.desk.deliveries.append(record("message-1", Status.QUEUED))

        alice.say(
            NUMBER,
            "hello",
            stanza_id="m2",
            extra="<replace xmlns='urn:xmpp:message-correct:0' id='m1'/>",
        )

        await self.until(lambda: len(self.written()) == 2)
        self.assertEqual(self.desk.dropped, [("message-1.0",)])

    @asynchronous
    async def test_restarted_gateway_repeats_with_the_same_ids(self) -> None:
        """What a new process sends again can be told from something new."""
        alice = await self.client(answer_receipts=False)
        await self.deliver(delivery("t1", "first"))
        before = await alice.wait_for_body("first")
        await self.gateway.stopService()
        self.assertFalse(self.lanes.is_open("chat"))

        self.gateway = self.make()
        await self.up()
        await self.deliver(delivery("t1", "first", attempts=2), delivery("t2", "second"))

        await alice.wait_for_body("second")
        self.assertEqual(
            [message["id"] for message in alice.messages if body_of(message) == "first"],
            [before["id"]] * 2,
        )

    @asynchronous
    async def test_no_text_is_lost_when_the_server_restarts_mid_batch(self) -> None:
        """Every text arrives; those that come twice carry one id."""
        count = 600
        deliveries = [delivery(f"t{n}", f"text {n}") for n in range(count)]
        delivering = Deferred.fromCoroutine(self.deliver_all(deliveries, 50))
        await self.until(lambda: self.gateway.outbound._in_flight)

        await self.server.kill()
        await self.server.start()

        failed = await delivering
        self.assertGreater(failed, 0)
        alice = await self.client(answer_receipts=False)
        await alice.wait_for_body(f"text {count - 1}", 30)
        ids: dict[str, set[str]] = {}
        for message in alice.messages:
            ids.setdefault(body_of(message), set()).add(message["id"])
        self.assertEqual([n for n in range(count) if f"text {n}" not in ids], [])
        self.assertEqual([body for body, found in ids.items() if len(found) > 1], [])

    @asynchronous
    async def test_stanza_that_the_server_cannot_bear_is_given_up_alone(self) -> None:
        """A text that ends the stream is found; its neighbors arrive once it is gone."""
        alice = await self.client(answer_receipts=False)
        self.gateway.outbound.link = Spoiler(self.gateway.stream)
        waiting = [delivery(f"t{n}", body) for n, body in enumerate(("one", "bad", "three"))]
        given_up: list[str] = []

        for _ in range(8):
            await self.up()
            outcomes = await self.deliver(*waiting)
            given_up += [
                d.body
                for d, outcome in zip(waiting, outcomes, strict=True)
                if isinstance(outcome, PermanentFailure)
            ]
            waiting = [
                d
                for d, outcome in zip(waiting, outcomes, strict=True)
                if not isinstance(outcome, Sent | PermanentFailure)
            ]
            if not waiting:
                break

        self.assertEqual((given_up, waiting), (["bad"], []))
        await alice.wait_for_body("three")
        bodies = Counter(alice.bodies)
        self.assertGreaterEqual(bodies["one"], 1)


class ProsodyGatewayTests(Scenarios, TestCase):
    """With Prosody."""

    build = ProsodyServer

    @asynchronous
    async def test_alias_of_the_server_reaches_the_number(self) -> None:
        """A number at the user's own domain is read as ours, and answers come from ours."""
        alice = await self.client()

        alice.say(f"{E164}@example.org", "hello", stanza_id="m1")

        await self.until(self.written)
        self.assertEqual(self.written()[0].recipients, (E164,))


class EjabberdGatewayTests(Scenarios, TestCase):
    """With ejabberd."""

    build = EjabberdServer

    @asynchronous
    async def test_file_is_put_into_the_upload_service(self) -> None:
        """The user gets the file from the server itself, the same one for every text with it."""
        folder = Path(self.mktemp())
        folder.mkdir()
        data = bytes(range(256)) * 300
        (folder / KEPT.digest).write_bytes(data)
        self.world.media = StoredFiles(folder)  # type: ignore[assignment]
        config = evolve(self.gateway.component.config, upload="upload.example.org")
        self.assertTrue(self.gateway.update(config, {}))
        alice = await self.client()

        await self.deliver(
            delivery("t1", "", media=(evolve(KEPT, size=len(data)),)), delivery("t2", "behind it")
        )
        await self.deliver(delivery("t3", "", media=(KEPT,)))

        await self.until(lambda: len(alice.bodies) == 3)
        url, text, again = alice.bodies
        self.assertEqual((text, again), ("behind it", url))
        self.assertTrue(url.startswith(f"http://127.0.0.1:{self.server.http_port}/upload/"), url)
        response = await treq.get(url, persistent=False)
        self.assertEqual(await response.content(), data)
