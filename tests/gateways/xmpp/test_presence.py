"""Presence and subscriptions: who may add whom, and what the bridge shows."""

from __future__ import annotations

from attrs import evolve
from twisted.words.xish import domish

from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Person
from smsbridge.gateways.xmpp import disco
from tests.gateways.xmpp.rig import (
    ALICE,
    CONFIG,
    DIRECTORY,
    DOMAIN,
    NUMBER,
    PHONE,
    GatewayTestCase,
    child_of,
    line_status,
)

BOB = "bob@example.org"
STRANGER = "mallory@example.org"


def shown(element: domish.Element) -> tuple[str, str]:
    """Return show and status of a presence."""
    show, status = child_of(element, "show"), child_of(element, "status")
    return str(show) if show else "", str(status) if status else ""


class PresenceTestCase(GatewayTestCase):
    """Says what users send, and sums up what they get."""

    def present(self, kind: str, to: str = f"{NUMBER}@{DOMAIN}", sender: str = ALICE) -> None:
        """Let a user send a presence."""
        kind = f" type='{kind}'" if kind else ""
        self.say(f"<presence from='{sender}' to='{to}' id='p1'{kind}/>")

    def kinds(self) -> list[tuple[str, str, str]]:
        """Return type, sender and recipient of the presences that were sent."""
        return [(e.getAttribute("type", ""), e["from"], e["to"]) for e in self.heard()]


class SubscriptionTests(PresenceTestCase):
    """Adding a number to the contacts."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def test_number_accepts_shows_itself_and_asks_back(self) -> None:
        """Pictures load only from mutual contacts, and only then do we see who is there."""
        self.world.book.put("alice", PersonalBook(names={NUMBER: "Ann"}))

        self.present("subscribe")

        subscribed, available, subscribe = self.heard()
        jid = f"{NUMBER}@{DOMAIN}"
        self.assertEqual((subscribed["type"], subscribed["from"]), ("subscribed", jid))
        self.assertEqual(available["from"], f"{jid}/sms")
        caps = child_of(available, "c")
        assert caps is not None
        self.assertEqual(caps["ver"], disco.NUMBER.version)
        self.assertEqual((subscribe["type"], subscribe["to"]), ("subscribe", ALICE))
        self.assertEqual(str(child_of(subscribe, "nick")), "Ann")

    def test_gateway_person_and_typed_number_accept(self) -> None:
        """Everything that can be written to can be a contact."""
        for local in ("", "bob@", "2025550123@", f"{NUMBER}%second@", "12345@"):
            self.present("subscribe", to=f"{local}{DOMAIN}")

            self.assertEqual(
                [kind for kind, _, _ in self.kinds()], ["subscribed", "", "subscribe"], local
            )

    def test_name_accepts_and_says_that_it_cannot_be_answered(self) -> None:
        """The user sees it before writing."""
        self.present("subscribe", to=f"info;phone-context=alpha.{DOMAIN}@{DOMAIN}")

        _, available, _ = self.heard()
        self.assertEqual(shown(available), ("xa", "Cannot receive replies."))

    def test_what_is_no_contact_is_refused_with_the_reason(self) -> None:
        """Nothing is accepted first and an error later."""
        for local in ("12+34", f"{NUMBER}%foreign", "nobody"):
            self.present("subscribe", to=f"{local}@{DOMAIN}")

            (refusal,) = self.heard()
            self.assertEqual(refusal["type"], "unsubscribed")
            self.assertTrue(shown(refusal)[1])

    def test_stranger_is_told_to_register(self) -> None:
        """A stranger learns nothing about numbers."""
        self.present("subscribe", sender=STRANGER)

        (refusal,) = self.heard()
        self.assertEqual((refusal["type"], refusal["id"]), ("error", "p1"))
        self.assertIn("registration-required", refusal.toXml())

    def test_probe_is_answered_for_users_alone(self) -> None:
        """The user's server asks on behalf of a device that has come online."""
        self.present("probe", sender=PHONE)
        (available,) = self.heard()
        self.assertEqual((available["from"], available["to"]), (f"{NUMBER}@{DOMAIN}/sms", PHONE))

        self.present("probe", sender=STRANGER)
        self.present("probe", to=f"12+34@{DOMAIN}")
        self.assertEqual([kind for kind, _, _ in self.kinds()], ["unsubscribed"] * 2)

    def test_end_of_a_subscription_is_confirmed(self) -> None:
        """The contact goes offline for who removed it."""
        self.present("unsubscribe")

        self.assertEqual([kind for kind, _, _ in self.kinds()], ["unsubscribed", "unavailable"])
        self.assertEqual(self.desk.unbound, [])

    def test_removing_the_gateway_ends_a_registration(self) -> None:
        """XEP-0100: who removes the gateway from the contacts wants to leave."""
        self.present("unsubscribe", to=DOMAIN)
        self.assertEqual(self.desk.unbound, [])
        self.gateway.update(evolve(CONFIG, registration="code"), {})

        self.present("unsubscribe", to=DOMAIN)

        self.assertEqual(self.desk.unbound, [("xmpp", ALICE)])

    def test_answers_rooms_errors_and_ourselves_are_ignored(self) -> None:
        """An answer to an answer would go round for ever."""
        for kind in ("subscribed", "unsubscribed", "error"):
            self.present(kind)
        self.present("subscribe", sender=f"{NUMBER}@{DOMAIN}")
        self.present("unavailable", sender=STRANGER)
        self.say(
            f"<presence from='room@conference.example.org/x' to='{DOMAIN}' type='subscribe'>"
            "<x xmlns='http://jabber.org/protocol/muc#user'/></presence>"
        )

        self.assertEqual(self.heard(), [])


class OnlineTests(PresenceTestCase):
    """Which devices are known to be there."""

    def setUp(self) -> None:
        super().setUp()
        self.online = self.gateway.presences.is_online

    def test_presence_tells_who_is_there(self) -> None:
        """Available and unavailable are believed; without either, nothing is known."""
        self.assertIsNone(self.online(PHONE))
        self.present("", sender=PHONE)
        self.assertIs(self.online(PHONE), True)
        self.assertIsNone(self.online(f"{ALICE}/tablet"))
        self.present("unavailable", sender=PHONE)
        self.assertIs(self.online(PHONE), False)
        self.present("", sender=PHONE)
        self.assertIs(self.online(PHONE), True)

    def test_who_wrote_just_now_is_there(self) -> None:
        """For some seconds a text counts as presence."""
        self.write()
        self.assertIs(self.online(PHONE), True)
        self.clock.advance(61)
        self.assertIsNone(self.online(PHONE))

    def test_strangers_are_not_kept_track_of(self) -> None:
        """Nobody can fill our memory with presences."""
        self.present("", sender=f"{STRANGER}/x")

        self.assertIsNone(self.online(f"{STRANGER}/x"))

    def test_everything_is_forgotten_with_the_link(self) -> None:
        """While we are away, nobody tells us who comes and goes."""
        self.present("", sender=PHONE)

        self.server.transport.lose()

        self.assertIsNone(self.online(PHONE))


class StateTests(PresenceTestCase):
    """What the bridge's own presence shows."""

    def states(self) -> dict[str, tuple[str, str]]:
        """Return what was shown to whom since the last look."""
        return {
            e["to"]: shown(e)
            for e in self.heard()
            if e.name == "presence" and not e.getAttribute("type")
        }

    def restart(self) -> list[domish.Element]:
        """Let the link break and come back; return what is sent then."""
        self.server.transport.lose()
        self.clock.advance(1)
        self.server.says(
            "<stream:stream xmlns='jabber:component:accept' "
            "xmlns:stream='http://etherx.jabber.org/streams' from='sms.example.org' id='a'>"
        )
        self.server.heard()
        self.server.says("<handshake/>")
        return self.heard()

    def test_users_are_told_and_asked_after_each_handshake(self) -> None:
        """Clients show an error until the gateway announces itself; probes tell who is there."""
        sent = [(e.getAttribute("type", ""), e["from"], e["to"]) for e in self.restart()]

        for bare_jid in (ALICE, BOB):
            self.assertIn(("", DOMAIN, bare_jid), sent)
            self.assertIn(("probe", DOMAIN, bare_jid), sent)

    def test_own_lines_are_shown_and_nobody_elses(self) -> None:
        """Away when some of the own lines are down, dnd when all are, and why."""
        self.desk.line_states = [line_status("first", True), line_status("second", False)]
        self.clock.advance(10)
        self.assertEqual(self.states(), {ALICE: ("away", "second: not registered in the network")})

        self.desk.line_states = [
            line_status("first", False, "never seen"),
            line_status("second", False),
            line_status("foreign", True),
        ]
        self.clock.advance(10)
        self.assertEqual(
            self.states(),
            {ALICE: ("dnd", "first: never seen; second: not registered in the network")},
        )

        self.desk.line_states = [line_status("foreign", False)]
        self.clock.advance(10)
        self.assertEqual(
            self.states(),
            {ALICE: ("", ""), BOB: ("dnd", "foreign: not registered in the network")},
        )

    def test_nothing_is_sent_while_nothing_changes(self) -> None:
        """A presence wakes up phones."""
        self.server.heard()

        self.clock.advance(50)

        self.assertEqual(self.states(), {})

    def test_who_leaves_the_configuration_sees_it(self) -> None:
        """A person who was removed is told good-bye, one who was added is greeted."""
        self.server.heard()
        new = Person(label="carol", xmpp=("carol@example.org",))
        self.world.directory = evolve(
            DIRECTORY, persons={"alice": DIRECTORY.persons["alice"], "carol": new}
        )

        self.clock.advance(10)

        self.assertEqual(
            sorted((kind, to) for kind, _, to in self.kinds() if kind != "get"),
            [("", "carol@example.org"), ("unavailable", BOB)],
        )

    def test_fault_of_the_desk_does_not_end_the_timer(self) -> None:
        """The next look finds what changed."""
        self.server.heard()

        def broken() -> list[object]:
            raise ValueError("bug")

        self.desk.lines = broken  # type: ignore[method-assign,assignment]
        self.clock.advance(10)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        del self.desk.lines
        self.desk.line_states = [line_status("foreign", False)]
        self.clock.advance(10)
        self.assertIn(BOB, self.states())

    def test_good_bye_is_said_at_the_stop(self) -> None:
        """Users see that the gateway is gone, from its own JID alone."""
        self.server.heard()

        self.gateway.stopService()

        heard = self.server.heard()
        self.assertEqual(heard.count("type='unavailable'"), 2)
        self.assertNotIn(NUMBER, heard)

    def test_new_user_is_welcomed_and_left_one_dismissed(self) -> None:
        """What registration asks for."""
        self.server.heard()

        self.gateway.welcome("carol@example.org", "Welcome.")
        self.gateway.dismiss("carol@example.org")

        kinds = [e.getAttribute("type", "") for e in self.heard()]
        self.assertEqual(
            kinds, ["subscribe", "", "chat", "unavailable", "unsubscribe", "unsubscribed"]
        )
