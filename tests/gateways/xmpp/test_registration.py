"""Registration by a texted code."""

from __future__ import annotations

from itertools import count

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from smsbridge.core.message import FromPerson
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.gateways.xmpp.commands import Commands
from smsbridge.gateways.xmpp.disco import NS_COMMANDS, NS_DISCO_ITEMS
from smsbridge.gateways.xmpp.menu import Menu
from smsbridge.gateways.xmpp.registration import Registration
from tests.fakes import StubInbox
from tests.gateways.xmpp.desk import DOMAIN, NOW_MS, a_world
from tests.gateways.xmpp.test_commands import SilentHall, child, error_of
from tests.gateways.xmpp.test_stanzas import parse

BOB = "bob@example.org"
MOBILE = "+12025550188"
NOBODYS = "+12025550199"


class RegistrationTests(SynchronousTestCase):
    """What a stranger and a user hear."""

    def setUp(self) -> None:
        self.world, self.desk = a_world()
        self.inbox = StubInbox()
        self.clock = Clock()
        self.hall = SilentHall()
        codes = count(111111, 111111)
        self.registration = Registration(
            self.world,
            self.inbox,
            self.clock,
            self.hall,
            is_open=True,
            new_code=lambda: f"{next(codes) % 1000000:06d}",
        )
        menu = Menu(self.world, self.inbox, "xmpp", DOMAIN, lambda: NOW_MS)
        self.commands = Commands(menu, self.clock, DOMAIN, self.registration)

    def ask(self, inner: str, kind: str = "set", sender: str = f"{BOB}/phone") -> domish.Element:
        """Send an iq; return the answer as the client reads it."""
        person = self.world.directory.person_at("xmpp", sender.partition("/")[0])
        query = f"<query xmlns='jabber:iq:register'>{inner}</query>"
        iq = parse(f"<iq type='{kind}' id='1' from='{sender}' to='{DOMAIN}'>{query}</iq>")
        answer = self.successResultOf(self.commands.handle(iq, person))
        assert answer is not None
        self.clock.advance(0)
        return parse(answer.toXml())

    def fill(self, phone: str = "", code: str = "", sender: str = f"{BOB}/phone") -> domish.Element:
        """Send the filled form."""
        fields = "".join(
            f"<field var='{name}'><value>{value}</value></field>"
            for name, value in (("phone", phone), ("code", code))
            if value
        )
        return self.ask(f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>", sender=sender)

    def sent_codes(self) -> list[tuple[str, str, tuple[str, ...]]]:
        """Return code, line and recipients of the texts sent."""
        messages = [m for m in self.inbox.messages if isinstance(m, FromPerson)]
        return [(m.body[:6], m.line, m.recipients) for m in messages]

    # -- closed

    def test_closed_unless_opened(self) -> None:
        """By default strangers are told to ask the operator, and nothing is sent."""
        closed = Registration(self.world, self.inbox, self.clock, self.hall)
        self.assertFalse(closed.is_open)

        self.registration.is_open = False
        for answer in (self.ask("", "get"), self.fill(MOBILE), self.fill(MOBILE, "111111")):
            self.assertEqual(error_of(answer), ["cancel", "service-unavailable"])
            self.assertIn("ask them", answer.toXml())
        self.assertEqual(self.inbox.messages, [])

    # -- the form

    def test_stranger_gets_a_form(self) -> None:
        """The form asks for number and code, in both spellings of the protocol."""
        query = child(self.ask("", "get"), "query")

        self.assertEqual(
            [e.name for e in query.elements()], ["instructions", "phone", "password", "x"]
        )
        names = [e["var"] for e in child(query, "x").elements() if e.name == "field"]
        self.assertEqual(names, ["FORM_TYPE", "phone", "code"])

    def test_user_gets_the_state(self) -> None:
        """Who is registered hears as whom."""
        query = child(self.ask("", "get", "alice@example.org/phone"), "query")

        self.assertEqual([e.name for e in query.elements()], ["registered", "instructions"])
        self.assertIn("alice", str(query.instructions))

    # -- the two steps

    def test_code_is_texted_and_binds_the_address(self) -> None:
        """The owner of the mobile number becomes a user of the bridge under that person."""
        answer = self.fill("(202) 555-0188")
        self.assertEqual(error_of(answer), ["modify", "not-acceptable"])
        self.assertEqual(self.sent_codes(), [("111111", "secret", (MOBILE,))])
        form = child(child(self.ask("", "get"), "query"), "x")
        self.assertIn(MOBILE, form.toXml())

        answer = self.fill(MOBILE, "111 111")

        self.assertEqual(answer["type"], "result")
        self.assertEqual(self.desk.bound, [("bob", "xmpp", BOB)])
        self.assertEqual(self.hall.welcomed[0][0], BOB)
        self.assertIn("+12025550102", self.hall.welcomed[0][1])
        person = self.world.directory.person_at("xmpp", BOB)
        assert person is not None
        self.assertEqual(person.label, "bob")

    def test_repeat_of_the_last_step_is_harmless(self) -> None:
        """A client that did not get the answer hears success again; nothing is bound twice."""
        self.fill(MOBILE)
        self.fill(MOBILE, "111111")
        again = self.fill(MOBILE, "111111")

        self.assertEqual(again["type"], "result")
        self.assertEqual(len(self.desk.bound), 1)

    def test_old_clients_give_the_code_as_a_password(self) -> None:
        """Without forms, the elements of the protocol's first days do."""
        self.ask(f"<phone>{MOBILE}</phone>")
        answer = self.ask("<password>111111</password>")

        self.assertEqual(answer["type"], "result")
        self.assertEqual(len(self.desk.bound), 1)

    def test_other_addresses_of_the_person_are_told(self) -> None:
        """A stolen code does not stay unnoticed."""
        persons = dict(self.world.directory.persons)
        persons["bob"] = attrs.evolve(persons["bob"], xmpp=("old@example.org",))
        self.world.directory = attrs.evolve(self.world.directory, persons=persons)
        self.fill(MOBILE)
        self.fill(MOBILE, "111111")

        ((person, text, _),) = self.inbox.told
        self.assertEqual(person, "bob")
        self.assertIn(f"{BOB} was added", text)

    def test_unknown_number_gets_the_same_answers(self) -> None:
        """Nobody learns whose number is known: every step answers alike, to the letter."""
        known = [
            self.fill(MOBILE),
            self.ask("", "get"),
            *(self.fill(MOBILE, "000000") for _ in range(3)),
            self.fill(MOBILE, "000000"),
            self.fill(MOBILE),
            self.fill(MOBILE),
            self.fill(MOBILE),
        ]
        other = "eve@example.org/phone"
        unknown = [
            self.fill(NOBODYS, sender=other),
            self.ask("", "get", other),
            *(self.fill(NOBODYS, "000000", sender=other) for _ in range(3)),
            self.fill(NOBODYS, "000000", sender=other),
            self.fill(NOBODYS, sender=other),
            self.fill(NOBODYS, sender=other),
            self.fill(NOBODYS, sender=other),
        ]

        self.assertEqual(
            [e.toXml() for e in known],
            [e.toXml().replace(NOBODYS, MOBILE).replace("eve@", "bob@") for e in unknown],
        )
        self.assertEqual(len(self.sent_codes()), 3)

    def test_code_of_an_unknown_number_is_right_for_nobody(self) -> None:
        """Guessing the code that was made for nobody does not help."""
        self.fill(NOBODYS)
        answer = self.fill(NOBODYS, "111111")

        self.assertEqual(error_of(answer), ["auth", "not-authorized"])
        self.assertEqual(self.desk.bound, [])

    def test_code_is_good_for_the_address_that_asked(self) -> None:
        """Another address cannot use it."""
        self.fill(MOBILE)
        answer = self.fill(MOBILE, "111111", sender="eve@example.org/x")

        self.assertEqual(error_of(answer), ["auth", "not-authorized"])

    def test_code_is_good_for_its_number(self) -> None:
        """A right code with another number is wrong."""
        self.fill(MOBILE)

        self.assertEqual(error_of(self.fill(NOBODYS, "111111")), ["auth", "not-authorized"])

    def test_code_expires(self) -> None:
        """After five minutes it is too old."""
        self.fill(MOBILE)
        self.clock.advance(300)

        self.assertEqual(error_of(self.fill(MOBILE, "111111")), ["auth", "not-authorized"])

    def test_three_tries(self) -> None:
        """After three wrong codes the right one does not help any more."""
        self.fill(MOBILE)
        wrong = [error_of(self.fill(MOBILE, "999999")) for _ in range(3)]
        right = self.fill(MOBILE, "111111")

        self.assertEqual(wrong[:2], [["auth", "not-authorized"]] * 2)
        self.assertEqual(wrong[2], ["wait", "resource-constraint"])
        self.assertEqual(error_of(right), ["auth", "not-authorized"])
        self.assertEqual(self.desk.bound, [])

    def test_three_codes_an_hour_for_a_number(self) -> None:
        """However many addresses ask, a number gets three texts an hour."""
        answers = [error_of(self.fill(MOBILE, sender=f"user{n}@example.org/x")) for n in range(5)]

        self.assertEqual(answers[:3], [["modify", "not-acceptable"]] * 3)
        self.assertEqual(answers[3:], [["wait", "resource-constraint"]] * 2)
        self.assertEqual(len(self.sent_codes()), 3)
        self.clock.advance(3601)
        self.fill(MOBILE, sender="user9@example.org/x")
        self.assertEqual(len(self.sent_codes()), 4)

    def test_three_codes_an_hour_for_an_address(self) -> None:
        """However many numbers it tries, an address gets three codes an hour."""
        answers = [error_of(self.fill(f"+1202555010{n}")) for n in range(4)]

        self.assertEqual(answers[3], ["wait", "resource-constraint"])
        self.clock.advance(1800)
        self.assertEqual(error_of(self.fill(MOBILE)), ["wait", "resource-constraint"])
        self.clock.advance(1801)
        self.assertEqual(error_of(self.fill(MOBILE)), ["modify", "not-acceptable"])

    def test_memory_is_bounded_and_fails_closed(self) -> None:
        """A flood of addresses cannot push out what is counted; it ends in no codes for anybody."""
        for n in range(10_000):
            self.registration._by_jid.count(f"user{n}@example.org", self.clock.seconds())

        self.assertEqual(error_of(self.fill(MOBILE)), ["wait", "resource-constraint"])
        self.clock.advance(3601)
        self.assertEqual(error_of(self.fill(MOBILE)), ["modify", "not-acceptable"])

    def test_number_that_is_none(self) -> None:
        """What is no number is refused with an example, and is not counted."""
        for _ in range(5):
            answer = self.fill("12")
            self.assertEqual(error_of(answer), ["modify", "not-acceptable"])
            self.assertIn("write it like", answer.toXml())
        self.assertEqual(error_of(self.fill()), ["modify", "bad-request"])

    def test_text_that_cannot_be_sent_is_the_operator_s_business(self) -> None:
        """The answer stays the same when the line refuses the code."""
        self.inbox.failure = Refused("daily-cap")

        self.assertEqual(error_of(self.fill(MOBILE)), ["modify", "not-acceptable"])

    def test_store_away_keeps_the_code(self) -> None:
        """If the address cannot be kept just now, the code can be given again."""
        self.fill(MOBILE)
        self.desk.failure = TemporaryFailure("peer-down")
        away = self.fill(MOBILE, "111111")
        self.desk.failure = None
        answer = self.fill(MOBILE, "111111")

        self.assertEqual(error_of(away), ["wait", "remote-server-timeout"])
        self.assertEqual(answer["type"], "result")

    def test_number_of_two_persons_is_nobody_s(self) -> None:
        """Where it is not clear who is meant, nobody gets in."""
        persons = dict(self.world.directory.persons)
        persons["alice"] = attrs.evolve(persons["alice"], mobile=MOBILE)
        self.world.directory = attrs.evolve(self.world.directory, persons=persons)
        self.fill(MOBILE)

        self.assertEqual(self.sent_codes(), [])

    def test_user_cannot_become_somebody_else(self) -> None:
        """A registered address stays who it is until it is removed."""
        answer = self.fill(MOBILE, sender="alice@example.org/phone")

        self.assertEqual(error_of(answer), ["cancel", "conflict"])
        self.assertEqual(self.inbox.messages, [])

    # -- as a command

    def run_command(
        self, action: str = "execute", sender: str = f"{BOB}/phone", **values: str
    ) -> domish.Element:
        """Run a page of the command; returns its element."""
        fields = "".join(
            f"<field var='{name}'><value>{value}</value></field>" for name, value in values.items()
        )
        form = f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>" if values else ""
        iq = parse(
            f"<iq type='set' id='1' from='{sender}' to='{DOMAIN}'><command xmlns='{NS_COMMANDS}' "
            f"node='jabber:iq:register' action='{action}'>{form}</command></iq>"
        )
        answer = self.successResultOf(self.commands.handle(iq, None))
        assert answer is not None
        self.clock.advance(0)
        return next(parse(answer.toXml()).elements())

    def test_stranger_registers_by_a_command(self) -> None:
        """Clients without a form for registration run a command of two pages."""
        first = self.run_command()
        self.assertIn("phone", first.toXml())
        again = self.run_command("next", phone="12")
        self.assertEqual((again["status"], child(again, "note")["type"]), ("executing", "error"))
        second = self.run_command("next", phone=MOBILE)
        self.assertIn("'code'", second.toXml())
        wrong = self.run_command("complete", code="000000")
        self.assertEqual(child(wrong, "note")["type"], "error")
        done = self.run_command("complete", code="111111")

        self.assertEqual(done["status"], "completed")
        self.assertEqual(self.desk.bound, [("bob", "xmpp", BOB)])

    def test_command_ends_when_the_tries_do(self) -> None:
        """After three wrong codes there is no page any more."""
        self.run_command("next", phone=MOBILE)
        states = [self.run_command("complete", code="000000")["status"] for _ in range(3)]

        self.assertEqual(states, ["executing", "executing", "completed"])

    def test_command_is_there_for_strangers_where_registration_is_open(self) -> None:
        """It is listed for strangers alone, and not at all where registration is closed."""

        def listed() -> list[str]:
            iq = parse(
                f"<iq type='get' id='1' from='{BOB}/x' to='{DOMAIN}'>"
                f"<query xmlns='{NS_DISCO_ITEMS}' node='{NS_COMMANDS}'/></iq>"
            )
            answer = self.successResultOf(self.commands.handle(iq, None))
            assert answer is not None
            return [e["node"] for e in child(answer, "query").elements()]

        self.assertEqual(listed(), ["jabber:iq:register"])
        self.registration.is_open = False
        self.assertEqual(listed(), [])
        self.assertEqual(self.run_command().name, "error")

    # -- removal

    def test_remove_takes_the_address_away(self) -> None:
        """Who added an address can take it away."""
        self.fill(MOBILE)
        self.fill(MOBILE, "111111")
        answer = self.ask("<remove/>")

        self.assertEqual(answer["type"], "result")
        self.assertEqual(self.hall.dismissed, [BOB])
        self.assertIsNone(self.world.directory.person_at("xmpp", BOB))

    def test_configured_address_is_not_removed(self) -> None:
        """What stands in the ini files is the operator's."""
        answer = self.ask("<remove/>", sender="alice@example.org/phone")

        self.assertEqual(error_of(answer), ["cancel", "not-allowed"])
        self.assertEqual(self.hall.dismissed, [])

    def test_stranger_has_nothing_to_remove(self) -> None:
        """A stranger is told to be one."""
        self.assertEqual(error_of(self.ask("<remove/>")), ["auth", "registration-required"])

    # -- anything

    def test_codes_are_six_digits(self) -> None:
        """The real codes have six digits, and are not all the same."""
        made = Registration(self.world, self.inbox, self.clock, self.hall)
        codes = {made.new_code() for _ in range(50)}

        self.assertTrue(all(len(code) == 6 and code.isdigit() for code in codes))
        self.assertGreater(len(codes), 10)

    @given(
        st.sampled_from(["get", "set"]),
        st.lists(
            st.sampled_from(
                [
                    "<remove/>",
                    "<phone>+12025550188</phone>",
                    "<password>é1</password>",
                    "<password/>",
                    "<x xmlns='jabber:x:data' type='form'/>",
                    "<x xmlns='jabber:x:data' type='cancel'/>",
                    "<x xmlns='jabber:x:data' type='submit'><field var='code'/></x>",
                    "text",
                ]
            ),
            max_size=3,
        ),
        st.sampled_from([BOB, "alice@example.org/phone", "root@example.org"]),
    )
    def test_any_query_gets_an_answer(self, kind: str, inner: list[str], sender: str) -> None:
        """No query raises or stays without an answer."""
        self.assertIn(self.ask("".join(inner), kind, sender)["type"], ("result", "error"))
        self.assertEqual(self.flushLoggedErrors(), [])
