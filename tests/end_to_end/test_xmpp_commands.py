"""Commands and registration through a real Prosody, as a user's client sees them."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from smsbridge.core.message import FromPerson
from smsbridge.gateways.xmpp import FACTORY
from smsbridge.gateways.xmpp.config import XmppGateway, server_address
from smsbridge.gateways.xmpp.disco import NS_COMMANDS, NS_DISCO_INFO, NS_DISCO_ITEMS
from tests.end_to_end.xmpp_client import XmppClient, body_of, error_of
from tests.end_to_end.xmpp_servers import COMPONENT, ProsodyServer, password_of
from tests.fakes import StubInbox, StubLanes
from tests.gateways.xmpp.desk import a_world

ALICE = "alice@example.org"
BOB = "bob@example.org"
MOBILE = "+12025550188"
OWN = f"+12025550100@{COMPONENT}"


def asynchronous(
    test: Callable[[Any], Coroutine[Any, Any, None]],
) -> Callable[[Any], Deferred[None]]:
    """Let trial run a test that is a coroutine."""

    def run(self: Any) -> Deferred[None]:
        return Deferred.fromCoroutine(test(self))

    run.__name__, run.__doc__ = test.__name__, test.__doc__
    return run


def child(element: domish.Element, name: str) -> domish.Element:
    """Return the first child with this name."""
    return next(e for e in element.elements() if e.name == name)


def submit(**values: str) -> str:
    """Return a filled form."""
    fields = "".join(
        f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items()
    )
    return f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>"


class ProsodyCommandsTests(TestCase):
    """One Prosody, our gateway, and two users: alice is known, bob is not."""

    timeout = 90

    def setUp(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._set_up())

    async def _set_up(self) -> None:
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        self.server = ProsodyServer(reactor, folder, archive=False)
        self.addCleanup(self.server.stop)
        await self.server.start()
        self.world, self.desk = a_world()
        self.inbox = StubInbox()
        lanes = StubLanes()
        config = XmppGateway(
            server=server_address(f"127.0.0.1:{self.server.component_port}"),
            domain=COMPONENT,
            secret=self.server.secret,
            registration="code",
        )
        self.gateway = FACTORY.build(reactor, "xmpp", config, {}, self.inbox, lanes, self.world)
        self.gateway.startService()
        self.addCleanup(self.gateway.stopService)
        await self.until(lambda: self.gateway.link_status().up)

    async def until(self, condition: Callable[[], object], timeout_s: float = 15) -> None:
        """Wait until something is so."""
        for _ in range(int(timeout_s / 0.05)):
            if condition():
                return
            await deferLater(reactor, 0.05)
        self.fail("it did not come to that in time")

    async def client(self, user: str) -> XmppClient:
        """Log a user in."""
        client = XmppClient(
            reactor, f"{user}@example.org/phone", password_of(user), self.server.client_port
        )
        await client.connect()
        self.addCleanup(client.close)
        return client

    def command(self, node: str, inner: str = "", attributes: str = "") -> str:
        """Return the payload of one page of a command."""
        return f"<command xmlns='{NS_COMMANDS}' node='{node}' {attributes}>{inner}</command>"

    # -- ad-hoc commands

    @asynchronous
    async def test_client_finds_and_runs_status(self) -> None:
        """The commands are listed, described and run, with a page where there is a choice."""
        alice = await self.client("alice")
        listed = await alice.ask(
            "get", COMPONENT, f"<query xmlns='{NS_DISCO_ITEMS}' node='{NS_COMMANDS}'/>"
        )
        nodes = [e["node"] for e in child(listed, "query").elements()]
        self.assertIn("status", nodes)
        self.assertNotIn("reload", nodes)
        info = await alice.ask("get", COMPONENT, f"<query xmlns='{NS_DISCO_INFO}' node='status'/>")
        self.assertEqual(child(child(info, "query"), "identity")["type"], "command-node")

        page = child(
            await alice.ask("set", COMPONENT, self.command("status", "", "action='execute'")),
            "command",
        )
        self.assertEqual(page["status"], "executing")
        done = child(
            await alice.ask(
                "set",
                COMPONENT,
                self.command("status", submit(line="2001"), f"sessionid='{page['sessionid']}'"),
            ),
            "command",
        )

        self.assertEqual(done["status"], "completed")
        self.assertIn("2001 (+12025550100): ready, signal -71 dBm", str(child(done, "note")))

    @asynchronous
    async def test_stranger_runs_nothing(self) -> None:
        """Somebody who is not known is asked to register."""
        bob = await self.client("bob")
        answer = await bob.ask("set", COMPONENT, self.command("status"))

        self.assertEqual(error_of(answer)[:2], ("auth", "registration-required"))

    # -- chat

    @asynchronous
    async def test_chat_with_the_bridge(self) -> None:
        """Words to the bridge are answered by it."""
        alice = await self.client("alice")
        alice.say(COMPONENT, "status")
        answer = await alice.wait_for(lambda e: "signal -71" in body_of(e))

        self.assertEqual(answer["from"].partition("/")[0], COMPONENT)
        self.assertEqual(len(body_of(answer).splitlines()), 2)

    @asynchronous
    async def test_ussd_code_to_the_own_number(self) -> None:
        """A code to one's own number is answered from there with the network's words."""
        alice = await self.client("alice")
        alice.say(OWN, "*100#")
        answer = await alice.wait_for_body("[USSD] Your balance is 5.00")

        self.assertEqual(answer["from"].partition("/")[0], OWN)
        self.assertEqual(self.desk.codes, [("2001", "*100#")])
        self.assertEqual(self.inbox.messages, [])

    @asynchronous
    async def test_text_by_command_goes_out(self) -> None:
        """A text sent by a command is accepted like one from a conversation."""
        alice = await self.client("alice")
        alice.say(COMPONENT, "send +12025550123 hello there")
        await alice.wait_for(lambda e: "is on its way" in body_of(e))

        (message,) = self.inbox.messages
        assert isinstance(message, FromPerson)
        self.assertEqual((message.recipients, message.body), (("+12025550123",), "hello there"))

    # -- registration

    @asynchronous
    async def test_register_by_code_and_leave(self) -> None:
        """A stranger proves a mobile number, is welcomed, uses the bridge, and leaves it."""
        bob = await self.client("bob")
        info = await bob.ask("get", COMPONENT, f"<query xmlns='{NS_DISCO_INFO}'/>")
        self.assertIn("jabber:iq:register", info.toXml())
        form = await bob.ask("get", COMPONENT, "<query xmlns='jabber:iq:register'/>")
        self.assertIn("jabber:x:data", form.toXml())

        asked = await bob.ask(
            "set", COMPONENT, f"<query xmlns='jabber:iq:register'>{submit(phone=MOBILE)}</query>"
        )
        self.assertEqual(error_of(asked)[:2], ("modify", "not-acceptable"))
        await self.until(lambda: self.inbox.messages)
        (text,) = self.inbox.messages
        assert isinstance(text, FromPerson)
        self.assertEqual((text.recipients, text.line), ((MOBILE,), "secret"))
        filled = submit(phone=MOBILE, code=text.body[:6])
        answer = await bob.ask(
            "set", COMPONENT, f"<query xmlns='jabber:iq:register'>{filled}</query>"
        )

        self.assertEqual(answer["type"], "result")
        self.assertEqual(self.desk.bound, [("bob", "xmpp", BOB)])
        await bob.wait_for(lambda e: body_of(e).startswith("Welcome, bob."))
        await bob.wait_for_presence(COMPONENT, "subscribe")
        bob.say(COMPONENT, "whoami")
        await bob.wait_for(lambda e: "You are bob, writing from bob@example.org." in body_of(e))

        gone = await bob.ask(
            "set", COMPONENT, "<query xmlns='jabber:iq:register'><remove/></query>"
        )
        self.assertEqual(gone["type"], "result")
        self.assertEqual(self.desk.unbound, [("xmpp", BOB)])
        self.assertEqual(self.desk.bound, [])

    @asynchronous
    async def test_closed_registration_says_whom_to_ask(self) -> None:
        """After the operator closes it, nobody registers and nobody is told that they could."""
        closed = attrs.evolve(self.gateway.component.config, registration="closed")
        self.assertTrue(self.gateway.update(closed, {}))
        bob = await self.client("bob")
        info = await bob.ask("get", COMPONENT, f"<query xmlns='{NS_DISCO_INFO}'/>")
        answer = await bob.ask("get", COMPONENT, "<query xmlns='jabber:iq:register'/>")

        self.assertNotIn("jabber:iq:register", info.toXml())
        self.assertEqual(error_of(answer)[:2], ("cancel", "service-unavailable"))
        self.assertIn("operator", error_of(answer)[2])
