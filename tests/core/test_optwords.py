"""Tests of the words STOP, START and HELP: how they are read, and what the inbox makes of them."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.directory import Line
from smsbridge.core.optwords import HELP, START, STOP, parse, sentence
from smsbridge.core.segments import count
from smsbridge.errors import Refused, TemporaryFailure
from tests.core.optouts import FakeOptOuts
from tests.core.rig import NOW, NUMBER, OTHER, Rig


class ParseTests(SynchronousTestCase):
    """Which texts are words."""

    def test_words_alone_are_understood(self) -> None:
        """All the usual words are read, however they are written."""
        for body, word in (
            ("STOP", STOP),
            ("stop", STOP),
            (" Stop.\n", STOP),
            ("\u201cSTOP\u201d", STOP),
            ("Stop!!", STOP),
            ("STOPALL", STOP),
            ("stop  all", STOP),
            ("Unsubscribe", STOP),
            ("CANCEL", STOP),
            ("end", STOP),
            ("quit", STOP),
            ("revoke", STOP),
            ("opt-out", STOP),
            ("Opt out", STOP),
            ("optout", STOP),
            ("START", START),
            ("unstop", START),
            ("Help?", HELP),
            ("info", HELP),
        ):
            self.assertEqual(parse(body), word, body)

    def test_a_word_within_a_text_is_no_word(self) -> None:
        """Who writes about stopping something is not put out."""
        for body in ("", "stop it", "please STOP", "non stop", "starts", "the end", "STOP\nJohn"):
            self.assertIsNone(parse(body), body)

    def test_yes_is_a_word_only_of_those_who_are_out(self) -> None:
        """YES answers a thousand questions; it means START for who gets no texts."""
        self.assertIsNone(parse("yes"))
        self.assertEqual(parse("Yes.", is_out=True), START)

    def test_with_a_prefix_only_prefixed_words_count(self) -> None:
        """With #! a friend who writes just "stop" is not put out."""
        self.assertIsNone(parse("stop", "#!"))
        self.assertIsNone(parse("help", "#!"))
        self.assertEqual(parse("#!STOP", "#!"), STOP)
        self.assertEqual(parse(" #!start.", "#!"), START)
        self.assertEqual(parse("#!Help", "#!"), HELP)
        self.assertEqual(parse("bot stop", "BOT"), STOP)
        self.assertIsNone(parse("#!STOP"))

    @given(st.text(), st.sampled_from(["", "#!"]), st.booleans())
    def test_any_text_is_a_word_or_none(self, body: str, prefix: str, is_out: bool) -> None:
        """Whatever people write, nothing is raised."""
        self.assertIn(parse(body, prefix, is_out), (STOP, START, HELP, None))


class SentenceTests(SynchronousTestCase):
    """What the words are answered with."""

    def test_sentences_are_one_text_each_and_tell_the_way_back(self) -> None:
        """Each names the number and the word that undoes it, within one text."""
        line = Line(label="one", gateway="box", number="+12025550100", opt_out_prefix="#!")

        said = {word: sentence(word, line) for word in (STOP, START, HELP)}

        self.assertIn("Write #!START", said[STOP])
        self.assertIn("Write #!STOP", said[START])
        for each in said.values():
            self.assertIn("+12025550100", each)
            self.assertEqual(count(each).segments, 1)

    def test_help_is_the_operators_own_sentence(self) -> None:
        """Who runs the line says who it is."""
        line = Line(label="one", gateway="box", opt_out_help="Jane's garden shop.")

        self.assertEqual(sentence(HELP, line), "Jane's garden shop.")


class WordsTests(SynchronousTestCase):
    """The words as texts that arrive."""

    def setUp(self) -> None:
        """Let the bridge look after the words on line two."""
        self.rig = Rig(self.mktemp())
        self.addCleanup(self.rig.close)
        self.rig.start()
        self.out = FakeOptOuts()
        self.rig.world.opt_outs = self.out
        self.with_line(opt_out="bridge")

    def with_line(self, **changes: Any) -> None:
        """Change line two."""
        directory = self.rig.world.directory
        lines = {**directory.lines, "two": evolve(directory.lines["two"], **changes)}
        self.rig.world.directory = evolve(directory, lines=lines)

    def hear(self, body: str, sender: str = NUMBER, **more: Any) -> None:
        """Let a text arrive and be committed, with all that follows."""
        accepting = self.rig.text(body, sender, **more)
        self.rig.settle()
        self.successResultOf(accepting)

    def answers(self) -> list[tuple[tuple[str, ...], str]]:
        """Return what was sent by nobody: to whom, and what."""
        return [
            (record.recipients, record.body)
            for record in self.rig.store.records()
            if record.direction == "out" and not record.author
        ]

    def test_stop_puts_out_and_is_confirmed_once(self) -> None:
        """Who writes STOP is out, is told so once, and John reads the text all the same."""
        self.hear("STOP")
        self.hear("stop")

        (out,) = self.out.listed()
        self.assertEqual((out.line, out.number, out.source), ("two", NUMBER, "words"))
        self.assertEqual(
            self.answers(),
            [
                (
                    (NUMBER,),
                    "You will get no more texts from +12025550101. Write START to get them again.",
                )
            ],
        )
        self.assertEqual([r.body for r in self.rig.store.records()][::2], ["STOP", "stop"])

    def test_a_text_to_who_is_out_is_refused_and_an_answer_is_not(self) -> None:
        """Only the answer to a word passes; persons and the operator are told the way back."""
        self.hear("STOP")

        for more in ({}, {"person": ""}):
            refused = self.failureResultOf(
                self.rig.send("hello", NUMBER, line="two", **more), Refused
            ).value
            self.assertEqual(refused.reason, "opted-out")
            self.assertIn("smsbridge opt-out remove two +12025550123", refused.text)
        self.rig.send("hello", OTHER, line="two")
        self.rig.send("hello", NUMBER, line="one")
        self.rig.settle()
        self.assertEqual(len(self.rig.store.records()), 4)

    def test_start_takes_back_in(self) -> None:
        """START, or YES of who is out, is confirmed, and texts pass again."""
        for number, word in enumerate(("START", "yes")):
            sender = (NUMBER, OTHER)[number]
            self.hear("STOP", sender)
            self.hear(word, sender)

            self.assertFalse(self.out.is_out("two", sender))
            self.assertEqual(
                self.answers()[-1],
                (
                    (sender,),
                    "You will get texts from +12025550101 again. Write STOP to end them.",
                ),
            )
        self.successResultOf(self.later(self.rig.send("hello", NUMBER, line="two")))

    def later(self, accepting: Deferred[Any]) -> Deferred[Any]:
        """Commit what waits."""
        self.rig.settle()
        return accepting

    def test_start_of_who_is_not_out_is_just_a_text(self) -> None:
        """There is nothing to confirm."""
        self.hear("START")
        self.hear("YES")

        self.assertEqual(self.answers(), [])

    def test_help_is_answered_once_an_hour(self) -> None:
        """A number that keeps asking gets one answer an hour, also when it is out."""
        self.hear("STOP")
        for _ in range(3):
            self.hear("HELP")
        self.assertEqual(len(self.answers()), 2)
        self.rig.clock.advance(3601)
        self.hear("HELP")

        self.assertEqual(len(self.answers()), 3)
        self.assertIn("This is +12025550101.", self.answers()[-1][1])

    def test_machines_and_own_lines_get_no_answer(self) -> None:
        """Short codes, names and our own lines would answer the answer."""
        for sender in ("12345", "ACME", "+12025550100"):
            self.hear("STOP", sender)
            self.assertTrue(self.out.is_out("two", sender))

        self.assertEqual(self.answers(), [])

    def test_a_withheld_number_cannot_be_out(self) -> None:
        """There is nobody to put out."""
        self.hear("STOP", "")

        self.assertEqual((self.out.listed(), self.answers()), ([], []))

    def test_what_the_provider_dealt_with_is_left_alone(self) -> None:
        """Two answers to one STOP would be one too many."""
        self.hear("HELP", word_handled=True)
        self.hear("STOP", word_handled=True)

        self.assertEqual((self.out.listed(), self.answers()), ([], []))

    def test_a_group_text_is_no_word(self) -> None:
        """In a group STOP is said to the others."""
        self.hear("STOP", recipients=("+12025550101", OTHER))

        self.assertEqual(self.out.listed(), [])

    def test_lines_that_leave_it_to_the_provider_hear_nothing(self) -> None:
        """The default and 'no' change nothing."""
        for setting in ("provider", "no"):
            self.with_line(opt_out=setting)
            self.hear("STOP")

        self.assertEqual((self.out.listed(), self.answers()), ([], []))

    def test_what_waits_for_who_is_out_is_given_up(self) -> None:
        """What was accepted before the STOP is not sent after it; the confirmation is."""
        for more in (
            {"line": "two"},
            {"line": "two", "not_before_ms": NOW + 3_600_000},
            {"line": "one"},
        ):
            self.rig.send(f"to {more}", NUMBER, **more)
        self.rig.send("to another", OTHER, line="two")
        self.rig.settle()
        self.hear("STOP")

        statuses = {
            record.body: record.deliveries[0].status
            for record in self.rig.store.records()
            if record.direction == "out"
        }
        self.assertEqual(
            list(statuses.values()), ["dropped", "dropped", "queued", "queued", "queued"]
        )
        self.assertIn("You will get no more texts", list(statuses)[-1])

    def test_accept_fires_when_the_wish_is_kept(self) -> None:
        """The peer is acknowledged after both commits: a crash in between loses no STOP."""
        self.out.waiting = committing = Deferred()
        accepting = self.rig.text("STOP", dedup_key="1")
        self.rig.settle()

        self.assertNoResult(accepting)
        committing.errback(TemporaryFailure("internal"))
        self.failureResultOf(accepting, TemporaryFailure)
        self.assertFalse(self.out.is_out("two", NUMBER))
        self.hear("STOP", dedup_key="1")

        self.assertTrue(self.out.is_out("two", NUMBER))
        self.assertEqual(self.answers(), [])  # a repeat is not answered

    def test_a_late_repeat_does_not_undo_what_came_after_it(self) -> None:
        """A provider may repeat a STOP after the START that followed."""
        self.hear("STOP", dedup_key="1")
        self.hear("START", dedup_key="2")
        self.hear("STOP", dedup_key="1")

        self.assertFalse(self.out.is_out("two", NUMBER))
        self.assertEqual(len(self.answers()), 2)

    def test_an_answer_that_may_not_go_out_is_one_line_in_the_log(self) -> None:
        """A line that may not text the number keeps the wish and says why it is silent."""
        self.with_line(allow=re.compile(r"^\+44"))
        observer = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

        self.hear("STOP")

        self.assertTrue(self.out.is_out("two", NUMBER))
        said = [formatEvent(event) for event in observer if event["log_level"].name == "warn"]
        self.assertEqual(len(said), 1)
        self.assertIn("…0123 gets no answer to STOP", said[0])
        self.assertEqual(self.flushLoggedErrors(), [])

    def test_without_opt_outs_nothing_is_promised(self) -> None:
        """Where nothing keeps the wish, it is not confirmed."""
        self.rig.world.opt_outs = None
        self.hear("STOP")

        self.assertEqual(self.answers(), [])
