"""The gateway's life: link and lanes, changes of the configuration, stanzas that mean trouble."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.directory import World
from smsbridge.core.message import Delivery
from smsbridge.errors import TemporaryFailure
from smsbridge.gateways.xmpp import FACTORY
from smsbridge.gateways.xmpp.config import Address
from smsbridge.gateways.xmpp.gateway import XmppService
from smsbridge.interfaces import IDesk, IGateway
from smsbridge.keys import ConfigError
from tests.contracts import GatewayContract
from tests.fakes import StubInbox, StubLanes
from tests.gateways.xmpp.rig import (
    ALICE,
    CONFIG,
    DIRECTORY,
    DOMAIN,
    NUMBER,
    PHONE,
    GatewayTestCase,
    text_to,
)
from tests.gateways.xmpp.test_stream import STREAM_ERROR, Server


class LifeTests(GatewayTestCase):
    """Link and lanes."""

    def test_fakes_keep_their_interfaces(self) -> None:
        """What the tests lean on is what the daemon has."""
        self.assertTrue(verifyObject(IDesk, self.desk))
        self.assertTrue(verifyObject(IGateway, self.gateway))

    def test_lanes_are_open_while_the_link_is_up(self) -> None:
        """What waits is handed over after the handshake, and kept while the server is away."""
        self.assertTrue(self.lanes.is_open("chat"))
        self.assertTrue(self.lanes.is_open("chat/reports"))

        self.server.transport.lose()

        self.assertEqual(self.lanes.closed["chat"], ("peer-down", "The next hop does not answer."))
        self.assertFalse(self.lanes.is_open("chat/reports"))
        self.clock.advance(1)
        self.server.accepts()
        self.assertTrue(self.lanes.is_open("chat"))

    def test_users_are_greeted_before_anything_is_handed_over(self) -> None:
        """Texts come from contacts that are there."""
        self.server.transport.lose()
        self.clock.advance(1)
        opened: list[str] = []
        self.lanes.open = lambda gateway, lane: opened.append(  # type: ignore[method-assign]
            self.server.transport.value().decode()
        )

        self.server.accepts()

        self.assertIn("<presence", opened[0])

    def test_reports_do_not_hold_up_texts(self) -> None:
        """Looking for a device may take seconds; reports have a lane of their own."""
        self.assertEqual(self.gateway.lane("first", ALICE), "chat")
        self.assertEqual(self.gateway.lane("", PHONE), "chat/reports")

    def test_state_of_the_link_is_told(self) -> None:
        """The operator reads whether it is up, since when, and why not."""
        self.assertTrue(self.gateway.link_status().up)
        self.assertEqual(self.gateway.link_status().state, "connected")
        self.clock.advance(5)

        self.server.says(STREAM_ERROR.format("conflict"))
        self.server.transport.lose()

        status = self.gateway.link_status()
        self.assertEqual((status.up, status.since_ms), (False, 5000))
        self.assertIn("another program is connected", status.state)

    def test_stop_closes_lanes_and_link(self) -> None:
        """Nothing is handed over any more, and a second stop is harmless."""
        stopping = self.gateway.stopService()
        self.clock.advance(10)

        self.successResultOf(stopping)
        self.assertFalse(self.lanes.is_open("chat"))
        self.assertEqual(self.clock.getDelayedCalls(), [])
        self.successResultOf(self.gateway.stopService())

    def test_stop_before_the_handshake_is_clean(self) -> None:
        """A server that never came must not keep us."""
        server = Server(self.clock)
        server.refuses = True
        gateway = XmppService(
            self.clock, "x", CONFIG, self.inbox, self.lanes, self.world, endpoint=server
        )
        gateway.startService()
        self.clock.advance(3)

        self.successResultOf(gateway.stopService())

    def test_changes_that_touch_the_link_need_a_new_gateway(self) -> None:
        """The rest is taken over while the link stays."""
        self.assertFalse(self.gateway.update(evolve(CONFIG, secret="another-secret"), {}))
        self.assertFalse(self.gateway.update(evolve(CONFIG, domain="x.example.org"), {}))
        self.assertTrue(self.gateway.update(evolve(CONFIG, name="Texts"), {}))
        self.assertEqual(self.gateway.component.config.name, "Texts")
        self.assertIn("Texts", self.gateway.queries.gateway_entity().info())


class TroubleTests(GatewayTestCase):
    """No stanza raises out of its receiver."""

    @given(
        st.sampled_from(["message", "presence", "iq", "other"]),
        st.sampled_from(["", "chat", "get", "set", "result", "error", "subscribe", "probe", "x"]),
        st.sampled_from(["", PHONE, DOMAIN, "mallory@elsewhere.example", "@", "/", "a@b@c/d"]),
        st.sampled_from(
            ["", DOMAIN, f"{NUMBER}@{DOMAIN}", f"%@{DOMAIN}", f",@{DOMAIN}", "@", f"bob@{DOMAIN}"]
        ),
        st.sampled_from(
            [
                "",
                "<body/>",
                "<body>x</body>",
                "<x xmlns='jabber:x:oob'/>",
                "<query xmlns='jabber:iq:gateway'><prompt/></query>",
                "<query xmlns='jabber:iq:register'/>",
                "<vCard xmlns='vcard-temp'/>",
                "<received xmlns='urn:xmpp:receipts'/>",
                "<addresses xmlns='http://jabber.org/protocol/address'><address type='to'/>"
                "</addresses><body>x</body>",
                "<retract xmlns='urn:xmpp:message-retract:1'/>",
                "<error/>",
            ]
        ),
        st.booleans(),
    )
    def test_any_stanza_is_survived(
        self, name: str, kind: str, sender: str, to: str, inner: str, has_id: bool
    ) -> None:
        """Whatever users send, nothing is a bug of ours, and every query is answered."""
        attributes = "".join(
            f" {key}='{value}'"
            for key, value in (("type", kind), ("from", sender), ("to", to), ("id", "i" * has_id))
            if value
        )
        self.server.heard()

        self.say(f"<{name}{attributes}>{inner}</{name}>")

        self.assertEqual(self.flushLoggedErrors(), [])
        if name == "iq" and kind in ("get", "set"):
            self.assertEqual(self.server.heard().count("<iq "), 1)
        self.assertTrue(self.gateway.stream.is_up)


class FactoryTests(SynchronousTestCase):
    """How gateways are made."""

    def build(self, config: Any) -> XmppService:
        """Build one as the daemon does."""
        return FACTORY.build(Clock(), "chat", config, {}, StubInbox(), StubLanes(), World())

    def test_gateway_comes_with_bot_and_commands(self) -> None:
        """Nothing has to be added by hand."""
        gateway = self.build(CONFIG)

        self.assertIsNotNone(gateway.inbound.bot)
        self.assertIsNotNone(gateway.queries.commands)

    def test_registration_follows_the_configuration(self) -> None:
        """It is closed unless the operator opened it, also after a reload."""
        gateway = self.build(CONFIG)
        assert gateway.registration is not None
        self.assertFalse(gateway.registration.is_open)

        gateway.update(evolve(CONFIG, registration="code"), {})

        self.assertTrue(gateway.registration.is_open)

    def test_server_may_be_a_socket_file_or_speak_tls(self) -> None:
        """Nothing is opened by building."""
        self.build(evolve(CONFIG, server=Address(path="/run/prosody/sms.sock")))
        self.build(evolve(CONFIG, server=Address("xmpp.example.org", 5347), tls=True))

    def test_certificates_that_cannot_be_read_end_the_start(self) -> None:
        """The operator reads which file it is."""
        path = Path(self.mktemp())
        for _ in range(2):
            config = evolve(CONFIG, tls=True, tls_ca=path)
            with self.assertRaises(ConfigError) as caught:
                self.build(config)
            self.assertIn(str(path), str(caught.exception))
            path.write_text("nothing", "utf-8")

    def test_operator_is_told_about_the_server(self) -> None:
        """`smsbridge check` says what the other end must know."""
        (sentence,) = FACTORY.advice("chat", CONFIG, {}, "")
        self.assertIn(DOMAIN, sentence)


class ContractTests(GatewayContract, SynchronousTestCase):
    """What every gateway must do."""

    factory = FACTORY

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.mode = "takes"
        self.bodies: list[str] = []

    def start_gateway(self) -> XmppService:
        """See `GatewayContract`."""
        gateway = XmppService(
            self.clock,
            "chat",
            CONFIG,
            StubInbox(),
            StubLanes(),
            World(directory=DIRECTORY),
            endpoint=self.server,
            jitter=lambda: 1.0,
        )
        gateway.startService()
        self.server.accepts()
        return gateway

    def lane(self) -> str:
        """See `GatewayContract`."""
        return "chat"

    def configuration(self) -> tuple[Any, Any]:
        """See `GatewayContract`."""
        return CONFIG, {}

    def delivery(self, name: str, body: str = "hello") -> Delivery:
        """See `GatewayContract`."""
        return text_to(name, body)

    def bodies_at_peer(self) -> list[str]:
        """See `GatewayContract`."""
        return self.bodies

    def peer_takes(self) -> None:
        """See `GatewayContract`."""
        self.mode = "takes"

    def peer_refuses(self) -> None:
        """See `GatewayContract`."""
        self.mode = "refuses"

    def peer_takes_and_is_silent(self) -> None:
        """See `GatewayContract`; what is repeated has the same id, so it is sent again."""
        self.mode = "silent"

    peer_is_gone = peer_takes_and_is_silent

    def pass_time(self, seconds: float) -> None:
        """See `GatewayContract`."""
        for _ in range(int(seconds) + 1):
            self._answer()
            self.clock.advance(1 if seconds else 0)
        self._answer()

    def _answer(self) -> None:
        transport = self.server.transport
        if transport.is_lost or self.mode == "silent" or b"urn:xmpp:ping" not in transport.value():
            return
        heard = transport.value().decode()
        self.bodies += re.findall(r"<body>([^<]*)</body>", heard)
        if self.mode == "refuses":
            stanza_id = heard.split("type='chat' id='")[1].split("'")[0]
            self.server.says(
                f"<message type='error' from='{ALICE}' to='{NUMBER}@{DOMAIN}' id='{stanza_id}'>"
                "<error type='cancel'><service-unavailable "
                "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></message>"
            )
        self.server.answers_ping()

    def test_link_that_breaks_leaves_it_queued(self) -> None:
        """The store is the queue."""
        gateway = self.start_gateway()
        delivering = gateway.deliver("chat", [self.delivery("a")])

        self.server.transport.lose()

        (outcome,) = self.successResultOf(delivering)
        self.assertIsInstance(outcome, TemporaryFailure)
