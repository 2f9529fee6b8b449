"""An XMPP gateway in memory: its server is a script, its inbox and lanes only remember."""

from __future__ import annotations

import itertools
import re
from typing import Any

from attrs import evolve
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.message import Delivery, Direction, Kind, Status
from smsbridge.core.records import DeliveryRecord, LineStatus
from smsbridge.gateways.xmpp.config import XmppGateway
from smsbridge.gateways.xmpp.gateway import XmppService
from tests.fakes import StubInbox, StubLanes
from tests.gateways.xmpp.desk import StubDesk
from tests.gateways.xmpp.test_stream import Server

DOMAIN = "sms.example.org"
ALICE = "alice@example.org"
PHONE = "alice@example.org/phone"
NUMBER = "+12025550123"
OTHER = "+12025550124"
CONFIG = XmppGateway(domain=DOMAIN, secret="not-a-secret")

DIRECTORY = Directory(
    lines={
        "first": Line(label="first", gateway="box", number="+12025550100"),
        "second": Line(label="second", gateway="box", number="+12025550101"),
        "foreign": Line(label="foreign", gateway="box", number="+12025550102"),
    },
    persons={
        "alice": Person(label="alice", xmpp=(ALICE,), lines=("first", "second")),
        "Bob": Person(label="Bob", xmpp=("bob@example.org",), lines=("foreign",)),
    },
    serving={"xmpp": "chat"},
)


def line_status(line: str, up: bool, state: str = "not registered in the network") -> LineStatus:
    """Return the state of a line."""
    return LineStatus(line=line, gateway="box", up=up, state="ready" if up else state)


def record(message_id: str, status: Status) -> DeliveryRecord:
    """Return a delivery of a message in this status, as the queue shows it."""
    return DeliveryRecord(
        delivery_id=f"{message_id}.0",
        message_id=message_id,
        kind="message",
        to=NUMBER,
        gateway="box",
        line="first",
        person="",
        status=status,
        attempts=0,
        reason="",
        text="",
        remote_id="",
        created_at_ms=0,
        due_at_ms=0,
    )


def text_to(name: str, body: str = "hello", **more: Any) -> Delivery:
    """Return a text from the network to Alice, with ids made from the name."""
    given: dict[str, Any] = {
        "delivery_id": f"{name}.0",
        "message_id": name,
        "kind": Kind.MESSAGE,
        "gateway": "chat",
        "lane": "chat",
        "line": "first",
        "person": "alice",
        "destination": ALICE,
        "order_key": f"first|{NUMBER} {ALICE}",
        "status": Status.SENDING,
        "attempts": 1,
        "created_at_ms": 0,
        "expires_at_ms": 10**12,
        "body": body,
        "sender": NUMBER,
        "recipients": ("+12025550100",),
        "direction": Direction.IN,
    }
    return Delivery(**{**given, **more})


def report_to(name: str, reported: Status, **more: Any) -> Delivery:
    """Return a report to Alice's phone about her text ``m1`` to `NUMBER`."""
    delivery = text_to(name, more.pop("body", ""))
    given: dict[str, Any] = {
        "kind": Kind.REPORT,
        "lane": "chat/reports",
        "destination": PHONE,
        "author": "alice",
        "sender": "+12025550100",
        "recipients": (NUMBER,),
        "direction": Direction.OUT,
        "ref": f"{NUMBER}/m1",
        "reported": reported,
    }
    return evolve(delivery, **{**given, **more})


def parse_all(xml: str) -> list[domish.Element]:
    """Read stanzas as a server would."""
    found: list[domish.Element] = []
    stream = domish.elementStream()
    stream.DocumentStartEvent = lambda root: None
    stream.ElementEvent = found.append
    stream.DocumentEndEvent = lambda: None
    stream.parse(b"<stream xmlns='jabber:component:accept'>" + xml.encode("utf-8"))
    return found


class GatewayTestCase(SynchronousTestCase):
    """A gateway named ``chat`` whose server accepted the handshake."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.inbox = StubInbox()
        self.lanes = StubLanes()
        self.desk = StubDesk()
        self.world = World(directory=DIRECTORY, desk=self.desk)
        self.gateway = self.make()
        self.gateway.startService()
        self.clock.advance(0)
        self.server.accepts()

    def make(self, config: XmppGateway = CONFIG, **more: Any) -> XmppService:
        """Build a gateway on the scripted server."""
        ids = (f"id{n}" for n in itertools.count())
        return XmppService(
            self.clock,
            "chat",
            config,
            self.inbox,
            self.lanes,
            self.world,
            endpoint=self.server,
            random_id=lambda: next(ids),
            jitter=lambda: 1.0,
            **more,
        )

    # -- what goes over the stream

    def say(self, xml: str) -> None:
        """Let the server send a stanza."""
        self.server.says(xml)

    def write(
        self,
        body: str = "hi",
        to: str = f"{NUMBER}@{DOMAIN}",
        sender: str = PHONE,
        stanza_id: str = "m1",
        extra: str = "<request xmlns='urn:xmpp:receipts'/>",
    ) -> None:
        """Let a user write a text."""
        self.say(
            f"<message from='{sender}' to='{to}' id='{stanza_id}' type='chat'>"
            f"<body>{body}</body>{extra}</message>"
        )

    def heard(self) -> list[domish.Element]:
        """Return and forget the stanzas that the gateway sent."""
        return parse_all(self.server.heard())

    def confirm(self) -> list[domish.Element]:
        """Let the server take what was sent, and return that."""
        heard = self.server.heard()
        found = re.search(r"<iq type='get'[^>]*id='([^']+)'><ping", heard)
        assert found, heard
        self.say(f"<iq type='result' from='example.org' to='{DOMAIN}' id='{found.group(1)}'/>")
        return parse_all(heard[: found.start()])

    def deliver(self, *batch: Delivery) -> tuple[list[Any], list[domish.Element]]:
        """Deliver a batch that the server takes; return outcomes and stanzas."""
        delivering = self.gateway.deliver(batch[0].lane, list(batch))
        stanzas = self.confirm()
        return list(self.successResultOf(delivering)), stanzas

    def error(self) -> tuple[str, str, str, str]:
        """Return id, type, condition and text of the one error that the gateway sent."""
        (element,) = self.heard()
        self.assertEqual(element["type"], "error")
        (error,) = [child for child in element.elements() if child.name == "error"]
        conditions = [child.name for child in error.elements() if child.uri.endswith("stanzas")]
        texts = [str(child) for child in error.elements() if child.name == "text"]
        return element.getAttribute("id", ""), error["type"], conditions[0], "".join(texts)


def body_of(element: domish.Element) -> str:
    """Return the body of a message."""
    return "".join(str(child) for child in element.elements() if child.name == "body")


def child_of(element: domish.Element, name: str) -> domish.Element | None:
    """Return the first child of that name."""
    return next((child for child in element.elements() if child.name == name), None)
