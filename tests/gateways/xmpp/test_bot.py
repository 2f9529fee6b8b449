"""Commands as chat texts."""

from __future__ import annotations

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.directory import World
from smsbridge.core.message import FromPerson, Status
from smsbridge.core.records import CallRecord
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure
from smsbridge.gateways.xmpp.bot import Bot
from smsbridge.gateways.xmpp.menu import COMMANDS, Menu
from smsbridge.gateways.xmpp.outbound import unpack_ref
from smsbridge.interfaces import IDesk
from tests.fakes import StubInbox
from tests.gateways.xmpp.desk import (
    ALICE,
    DOMAIN,
    NOW_MS,
    PHONE,
    StubDesk,
    a_delivery,
    a_message,
    a_world,
)


class BotTests(SynchronousTestCase):
    """What a person hears for a chat text."""

    def setUp(self) -> None:
        self.world, self.desk = a_world()
        self.inbox = StubInbox()
        self.bot = Bot(Menu(self.world, self.inbox, "xmpp", DOMAIN, lambda: NOW_MS))

    def ask(self, text: str, line: str = "", person: str = "alice", stanza_id: str = "") -> str:
        """Return the answer to a text."""
        known = self.world.directory.persons[person]
        return self.successResultOf(
            self.bot.answer(known, ALICE, PHONE, text, line, stanza_id=stanza_id)
        )

    def test_desk_is_a_desk(self) -> None:
        """The stand-in has the methods of the real one."""
        verifyObject(IDesk, self.desk)

    # -- words

    def test_help_lists_what_a_person_may_send(self) -> None:
        """Everybody's commands are listed, and the operators' to operators alone."""
        said, to_operator = self.ask("Help"), self.ask("?", person="root")

        self.assertIn("status", said)
        self.assertIn("send NUMBER TEXT", said)
        self.assertNotIn("announce", said)
        self.assertIn("announce", to_operator)

    def test_help_for_one_command(self) -> None:
        """Help with a word explains that word."""
        self.assertIn("send NUMBER TEXT", self.ask("help send"))
        self.assertIn("no command", self.ask("help dance"))
        self.assertIn("no command", self.ask("help queue"))

    def test_unknown_word_says_how_to_get_help(self) -> None:
        """A word that is no command is named, with the way to help."""
        said = self.ask("frobnicate now")

        self.assertEqual(
            said, "I do not know the word 'frobnicate'. Send help for what you can send here."
        )

    def test_empty_text_points_to_help(self) -> None:
        """Blanks alone get a hint."""
        self.assertIn("help", self.ask("  "))

    def test_surplus_words_are_told(self) -> None:
        """What cannot be understood is not ignored."""
        self.assertEqual(self.ask("log 5 please"), "That has a word too many; send log [N]")
        self.assertEqual(self.ask("whoami now"), "That has a word too many; send whoami")

    # -- status

    def test_status_shows_own_lines_with_state_count_cap_and_queue(self) -> None:
        """Each own line is one sentence or two; lines of others do not appear."""
        self.desk.deliveries = [
            a_delivery("a1"),
            a_delivery("a2", person="bob", gateway="xmpp"),
            a_delivery("a3", kind="report"),
        ]

        said = self.ask("status")

        self.assertEqual(
            said.splitlines(),
            [
                "2001 (+12025550100): ready, signal -71 dBm, Example Mobile. Sent today: 3 of 100; "
                "1 waits.",
                "work (+12025550101): not registered in the network. Sent today: 0; nothing waits.",
            ],
        )

    def test_status_at_a_number_is_of_that_line(self) -> None:
        """Written to one's own number, only that line is meant."""
        self.assertTrue(self.ask("status", line="work").startswith("work "))
        self.assertNotIn("2001", self.ask("status", line="work"))

    def test_status_of_a_line_that_no_gateway_knows(self) -> None:
        """A line that is switched off is said to be."""
        directory = self.world.directory
        off = attrs.evolve(directory.lines["work"], enabled=False)
        self.world.directory = attrs.evolve(directory, lines={**directory.lines, "work": off})
        self.desk.line_states = []

        self.assertIn("work (+12025550101): switched off.", self.ask("status %work"))

    def test_line_of_somebody_else_is_unknown(self) -> None:
        """A line that exists and one that does not give the same answer."""
        other, none = self.ask("status %secret"), self.ask("status %nowhere")

        self.assertEqual(other.replace("secret", "nowhere"), none)
        self.assertIn("yours: 2001, work", none)

    def test_person_without_lines(self) -> None:
        """Who has no line is told so, for every command that needs one."""
        for text in ("status", "lines", "log", "*100#"):
            self.assertIn("You have no line", self.ask(text, person="root"))

    def test_status_before_the_daemon_runs(self) -> None:
        """Without a desk there is a sentence, not an error."""
        self.world.desk = None

        self.assertIn("still starting", self.ask("status"))

    def test_lines_shows_numbers_and_the_default(self) -> None:
        """Own lines are listed in order."""
        self.assertEqual(
            self.ask("lines").splitlines(),
            ["2001: +12025550100, up, your default", "work: +12025550101, down"],
        )

    # -- log and history

    def test_log_has_calls_and_texts_newest_last(self) -> None:
        """Calls and texts stand in one list, in order of time, no longer than asked for."""
        self.desk.call_records = [
            CallRecord(
                line="2001",
                incoming=True,
                number="+12025550124",
                started_at_ms=NOW_MS - 120_000,
                duration_s=None,
                cause="",
            ),
            CallRecord(
                line="2001",
                incoming=False,
                number="+12025550125",
                started_at_ms=NOW_MS - 86_400_000,
                duration_s=20,
                cause="",
            ),
        ]
        self.desk.messages = [
            a_message("m1", "see you\nat 8"),
            a_message("m2", "ok", author="alice", at_ms=NOW_MS - 30_000),
            a_message("m3", "not for alice", author="bob"),
        ]

        self.assertEqual(
            self.ask("log").splitlines(),
            [
                "Nov 20 06:10 call to +12025550125, 20 s",
                "06:08 missed call from +12025550124",
                "06:09 from +12025550123: see you at 8",
                "06:09 to +12025550123 (delivered): ok",
            ],
        )
        self.assertEqual(len(self.ask("log 2").splitlines()), 2)

    def test_log_count_must_be_a_count(self) -> None:
        """Zero, words and digits of other scripts are refused with the range."""
        for count in ("0", "-1", "ten", "٣"):
            self.assertIn("number from 1 to 50", self.ask(f"log {count}"))

    def test_log_of_a_quiet_line(self) -> None:
        """An empty log is said to be empty."""
        self.assertEqual(
            self.ask("log", line="work"), "There are no calls and texts on line work yet."
        )

    def test_history_shows_the_person_s_own_texts_alone(self) -> None:
        """Texts of others on a shared line are not shown."""
        self.desk.messages = [
            a_message("m1", "mine", author="alice", status=Status.FAILED),
            a_message("m2", "of bob", author="bob"),
        ]

        said = self.ask("history 5")

        self.assertEqual(said, "06:09 to +12025550123 (failed): mine")

    # -- send

    def test_send_goes_to_the_inbox_as_typed(self) -> None:
        """Number and text are taken apart; blanks and line breaks within the text stay."""
        said = self.ask("send +12025550123 hello  there\nfriend")

        message = self.inbox.messages[0]
        assert isinstance(message, FromPerson)
        self.assertEqual(
            (message.person, message.recipients, message.body, message.line),
            ("alice", ("+12025550123",), "hello  there\nfriend", "2001"),
        )
        assert message.origin is not None
        self.assertEqual(message.origin.address, PHONE)
        self.assertEqual(unpack_ref(message.origin.ref), ("+12025550123", ""))
        self.assertEqual(said, "Your text to +12025550123 is on its way on line 2001.")

    def test_send_on_another_line(self) -> None:
        """The line stands behind the number or the command, or is the one written to."""
        self.ask("send +12025550123%work a")
        self.ask("send %work +12025550123 b")
        self.ask("send +12025550123 c", line="work")

        messages = [m for m in self.inbox.messages if isinstance(m, FromPerson) and m.origin]
        self.assertEqual([message.line for message in messages], ["work"] * 3)
        self.assertEqual(
            [message.origin and message.origin.ref for message in messages],
            ["+12025550123%work/"] * 3,
        )

    def test_send_without_a_text(self) -> None:
        """What is missing is said with an example."""
        self.assertIn("send +1", self.ask("send +12025550123"))
        self.assertIn("send +1", self.ask("send"))
        self.assertIn("one number at a time", self.ask("send +12025550123,+12025550124 hi"))
        self.assertEqual(self.inbox.messages, [])

    def test_repeated_stanza_is_sent_once(self) -> None:
        """A client that repeats its message after a broken link does not send a second text."""
        self.ask("send +12025550123 hi", stanza_id="s1")
        said = self.ask("send +12025550123 hi", stanza_id="s1")
        self.ask("send +12025550123 other", stanza_id="s1")

        self.assertIn("taken already", said)
        self.assertEqual(len(self.inbox.messages), 2)

    def test_refusal_is_a_sentence(self) -> None:
        """What the inbox says is passed on."""
        self.inbox.failure = Refused("invalid-number", "'12' is not a telephone number.")

        self.assertEqual(self.ask("send 12 hi"), "'12' is not a telephone number.")

    # -- USSD

    def test_bare_code_is_a_ussd_code(self) -> None:
        """A code alone goes to the default line, or to the one that was written to."""
        said = self.ask(" *100# ")
        self.ask("*100*2#", line="work")
        self.ask("%work #31#")

        self.assertEqual(said, "[USSD] Your balance is 5.00")
        self.assertEqual(
            self.desk.codes, [("2001", "*100#"), ("work", "*100*2#"), ("work", "#31#")]
        )

    def test_ussd_command_takes_codes_and_answers(self) -> None:
        """An answer to the network's question is sent with the word."""
        self.ask("ussd *100#")
        self.ask("ussd 1")

        self.assertEqual(self.desk.codes, [("2001", "*100#"), ("2001", "1")])

    def test_ussd_failures_are_sentences(self) -> None:
        """The network's refusal is told with its own words."""
        self.desk.failure = PermanentFailure("network", "The network refused.", detail="code 7")
        self.assertEqual(self.ask("*100#"), "The network refused. (code 7)")

        self.desk.failure = TemporaryFailure("line-down")
        self.assertIn("not registered", self.ask("*100#"))

    def test_ussd_answer_may_take_its_time(self) -> None:
        """The answer comes when the network's does."""
        self.desk.held = Deferred()
        answer = self.bot.answer(self.world.directory.persons["alice"], ALICE, PHONE, "*100#", "")
        self.assertNoResult(answer)

        self.desk.held.callback(None)

        self.assertEqual(self.successResultOf(answer), "[USSD] Your balance is 5.00")

    # -- cancel

    def test_cancel_takes_back_the_only_waiting_text(self) -> None:
        """With one text of one's own there is nothing to choose."""
        self.desk.deliveries = [a_delivery("aaaaaa1"), a_delivery("bbbbbb2")]
        self.desk.messages = [
            a_message("aaaaaa1", "mine", author="alice"),
            a_message("bbbbbb2", "of bob", author="bob"),
        ]

        said = self.ask("cancel")

        self.assertEqual(self.desk.dropped, [("aaaaaa1.0",)])
        self.assertEqual(said, "Your text to +12025550123 will not be sent.")

    def test_cancel_lists_several_and_takes_one(self) -> None:
        """With several the person says which, by the end of its id."""
        self.desk.deliveries = [a_delivery("0001aaaaaa"), a_delivery("0002bbbbbb")]
        self.desk.messages = [
            a_message("0001aaaaaa", "first", author="alice"),
            a_message("0002bbbbbb", "second", author="alice"),
        ]

        listed = self.ask("cancel")
        self.assertIn("#aaaaaa to +12025550123: first", listed)
        self.assertEqual(self.desk.dropped, [])
        self.ask("cancel #bbbbbb")

        self.assertEqual(self.desk.dropped, [("0002bbbbbb.0",)])

    def test_cancel_does_not_touch_what_is_not_the_person_s(self) -> None:
        """The id of somebody else's text is as unknown as one that does not exist."""
        self.desk.deliveries = [a_delivery("0001aaaaaa"), a_delivery("0002bbbbbb")]
        self.desk.messages = [
            a_message("0001aaaaaa", "mine", author="alice"),
            a_message("0002bbbbbb", "of bob", author="bob"),
        ]

        said = self.ask("cancel bbbbbb")

        self.assertIn("None of your waiting texts is #bbbbbb", said)
        self.assertEqual(self.desk.dropped, [])

    def test_cancel_with_nothing_waiting(self) -> None:
        """What has left cannot be taken back, and that is said."""
        self.assertIn("None of your texts is waiting", self.ask("cancel"))

    # -- who

    def test_whoami(self) -> None:
        """The person hears name, addresses and lines, and nothing of others."""
        said = self.ask("whoami")

        self.assertIn("You are alice, writing from alice@example.org.", said)
        self.assertIn("Your lines: 2001, work.", said)
        self.assertNotIn("secret", said)

    # -- operators

    def test_commands_of_operators_are_unknown_to_others(self) -> None:
        """Who is no operator cannot use them, nor learn that they are there."""
        for command in COMMANDS:
            if command.admin:
                self.assertIn("I do not know the word", self.ask(f"{command.name} x"))
        self.assertEqual((self.desk.reloads, self.inbox.told), (0, []))

    def test_queue_list_masks_numbers(self) -> None:
        """Operators see what waits, without the whole numbers of others."""
        self.desk.deliveries = [a_delivery("0001aaaaaa"), a_delivery("0002", kind="report")]

        said = self.ask("queue", person="root")

        self.assertEqual(said, "#aaaaaa.0 06:09 queued on box to …0123, tried 1 time, line-down")
        self.assertEqual(self.ask("queue list", person="root"), said)

    def test_queue_retry_and_drop_by_short_id(self) -> None:
        """An id is written as the list shows it; all leaves out what is uncertain."""
        self.desk.deliveries = [
            a_delivery("0001aaaaaa"),
            a_delivery("0002bbbbbb", status=Status.UNCERTAIN),
        ]

        self.ask("queue retry #bbbbbb.0", person="root")
        self.ask("queue drop aaaaaa", person="root")
        self.ask("queue retry all", person="root")

        self.assertEqual(self.desk.retried, [("0002bbbbbb.0",), ("0001aaaaaa.0",)])
        self.assertEqual(self.desk.dropped, [("0001aaaaaa.0",)])

    def test_queue_names_what_it_does_not_understand(self) -> None:
        """Unknown ids, short ones and unknown words change nothing."""
        self.desk.deliveries = [a_delivery("0001aaaaaa"), a_delivery("0002aaaaaa")]

        self.assertIn(
            "Nothing in the queue is #zzzzzz", self.ask("queue drop zzzzzz", person="root")
        )
        self.assertIn("Nothing in the queue is #aaa", self.ask("queue drop aaa", person="root"))
        self.assertIn("means several", self.ask("queue drop aaaaaa", person="root"))
        self.assertIn("queue retry ID", self.ask("queue eat", person="root"))
        self.assertIn("Say which", self.ask("queue retry", person="root"))
        self.assertEqual((self.desk.retried, self.desk.dropped), ([], []))

    def test_reload_and_links(self) -> None:
        """The configuration is read again and the changes are told."""
        self.assertEqual(self.ask("reload", person="root"), "line 2001 was added")
        self.assertEqual(self.ask("links", person="root"), "box (goip): up since 06:09. 3 lines")

    def test_announce_tells_everybody(self) -> None:
        """Every person gets the sentence."""
        said = self.ask("announce Down at noon", person="root")

        self.assertEqual(said, "Announced to 3 persons.")
        self.assertEqual(
            self.inbox.told,
            [(p, "Announcement: Down at noon", "") for p in ("alice", "bob", "root")],
        )

    # -- never raises

    def test_bug_is_a_sentence_and_a_logged_failure(self) -> None:
        """Whatever goes wrong inside, the person gets an answer."""
        self.desk.failure = ZeroDivisionError("bug")

        self.assertIn("inside the bridge", self.ask("log"))
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    @given(st.text(st.characters(), max_size=60))
    def test_any_text_gets_an_answer(self, text: str) -> None:
        """No text of a user raises, stays without an answer or gets a long one."""
        world, _ = a_world()
        bot = Bot(Menu(world, StubInbox(), "xmpp", DOMAIN, lambda: NOW_MS))

        said = self.successResultOf(
            bot.answer(world.directory.persons["alice"], ALICE, PHONE, text, "")
        )

        self.assertTrue(0 < len(said) < 2000)

    @given(
        st.sampled_from([command.name for command in COMMANDS]),
        st.text(st.sampled_from("0123456789+%*# aZ\n\x00é\ud800"), max_size=30),
    )
    def test_any_arguments_get_an_answer(self, word: str, rest: str) -> None:
        """No arguments of any command raise."""
        world, _ = a_world()
        bot = Bot(Menu(world, StubInbox(), "xmpp", DOMAIN, lambda: NOW_MS))

        said = self.successResultOf(
            bot.answer(world.directory.persons["root"], ALICE, PHONE, f"{word} {rest}", "")
        )

        self.assertTrue(said)
        self.assertEqual(self.flushLoggedErrors(), [])


class WorldlessTests(SynchronousTestCase):
    """The smallest world."""

    def test_person_of_nothing(self) -> None:
        """Commands work for somebody who has neither lines nor addresses."""
        world, _ = a_world()
        bare_world = World(directory=world.directory, desk=StubDesk())
        bot = Bot(Menu(bare_world, StubInbox(), "xmpp", DOMAIN, lambda: NOW_MS))
        root = world.directory.persons["root"]

        for command in COMMANDS:
            said = self.successResultOf(bot.answer(root, ALICE, PHONE, command.name, ""))
            self.assertTrue(said, command.name)
