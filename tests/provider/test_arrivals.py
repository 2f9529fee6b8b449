"""Tests of `smsbridge.provider.arrivals`: the door for texts and statuses of a provider."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import succeed
from twisted.internet.testing import EventLoggingObserver
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.provider.dialect import Ignored, ProviderLine, Received, StatusUpdate
from tests.provider.fakes import OURS, THEIRS
from tests.provider.keeping import Inbound

OTHER = "+12025550101"


def text(remote_id: str = "t1", **changes: Any) -> Received:
    """Return a text that came."""
    values: dict[str, Any] = {
        "remote_id": remote_id,
        "ours": OURS,
        "sender": THEIRS,
        "body": " hello ",
    }
    return Received(**(values | changes))


class ArrivalsTestCase(SynchronousTestCase):
    """Has the inbound half of a gateway."""

    def setUp(self) -> None:
        """Make it."""
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.inbound = Inbound(Path(self.mktemp()))
        self.inbox = self.inbound.inbox
        self.inbound.arrivals.start()
        self.addCleanup(lambda: self.inbound.arrivals.stop())

    def take(self, event: Any) -> bool:
        """Let something come, and return whether it was news."""
        return bool(self.successResultOf(self.inbound.arrivals.take(event)))

    def warnings(self) -> list[dict[str, Any]]:
        """Return what the log warns of."""
        return [event for event in self.logged if event["log_level"] is LogLevel.warn]


class TextTests(ArrivalsTestCase):
    """Texts without attachments."""

    def test_a_text_goes_to_its_line_unchanged(self) -> None:
        """Sender, body and the provider's time are as they came."""
        self.assertTrue(self.take(text(sent_at_ms=5)))

        (message,) = self.inbox.messages
        self.assertEqual(
            (message.line, message.sender, message.body, message.sent_at_ms, message.recipients),
            ("main", THEIRS, " hello ", 5, ()),
        )

    def test_all_of_a_group_are_named(self) -> None:
        """The recipients of a group text go along."""
        self.take(text(recipients=(OTHER, OURS)))

        self.assertEqual(self.inbox.messages[0].recipients, (OTHER, OURS))

    def test_any_of_a_group_may_be_ours(self) -> None:
        """Where the provider does not tell which one is, the line is found among all."""
        self.take(text(ours=OTHER, recipients=(OTHER, OURS)))

        (message,) = self.inbox.messages
        self.assertEqual((message.line, message.recipients), ("main", (OTHER, OURS)))
        self.assertFalse(self.take(text("t2", ours=OTHER, recipients=(OTHER, THEIRS))))

    def test_a_repeat_is_no_news(self) -> None:
        """The provider's id is known for longer than a provider lists its texts."""
        self.assertEqual([self.take(text()), self.take(text())], [True, False])
        self.assertEqual(len(self.inbox.messages), 1)
        self.assertGreaterEqual(self.inbox.messages[0].dedup_for_s, 35 * 86400)

    def test_fires_after_the_commit(self) -> None:
        """Nobody is told that we have it before we have it."""
        self.inbox.held = True
        taking = self.inbound.arrivals.take(text())
        self.assertNoResult(taking)

        self.inbox.commit()

        self.assertTrue(self.successResultOf(taking))

    def test_a_store_out_of_reach_is_told(self) -> None:
        """Whoever called hears that it must be said again."""
        self.inbound.away()

        for event in (
            text(),
            StatusUpdate(remote_id="r1", status=Status.SENT),
            text(unlisted_media=True),
        ):
            self.failureResultOf(self.inbound.arrivals.take(event), TemporaryFailure)

    def test_a_store_that_is_not_open_is_out_of_reach(self) -> None:
        """A call that comes before the daemon is up is asked for again."""
        self.inbound.world.pending = None

        event = text(unlisted_media=True)
        self.failureResultOf(self.inbound.arrivals.take(event), TemporaryFailure)

    def test_a_number_of_no_line_is_named_once(self) -> None:
        """The operator learns what to add to the ini; the provider is not to repeat it."""
        for _ in range(3):
            self.assertFalse(self.take(text(ours=OTHER)))

        (warning,) = self.warnings()
        said = warning["log_format"].format(**warning)
        self.assertIn("[line:NAME]", said)
        self.assertIn("0101", said)
        self.assertNotIn(OTHER, said)
        self.assertEqual(self.inbox.messages, [])

    def test_a_line_that_is_added_gets_its_texts(self) -> None:
        """What counts is the configuration now."""
        account = self.inbound.account
        lines = {**account.lines, "new": ProviderLine(label="new", gateway="work", number=OTHER)}
        account.replace(account.config, account.dialect, lines)

        self.take(text(ours=OTHER))

        self.assertEqual(self.inbox.messages[0].line, "new")

    def test_a_text_that_is_refused_is_answered(self) -> None:
        """What the inbox will never take is not asked for again and again."""
        self.inbox.failure = Refused("unknown-line")

        self.assertFalse(self.take(text()))
        self.assertEqual(len(self.warnings()), 1)

    def test_what_is_of_no_use_is_passed_over(self) -> None:
        """It is not even news."""
        self.assertFalse(self.take(Ignored(why="an event of type billing")))


class OptOutTests(ArrivalsTestCase):
    """What the provider took for a wish to hear no more."""

    def test_a_stop_is_remembered_and_delivered(self) -> None:
        """The persons see the text, too."""
        self.take(text(opt_out="stop"))

        self.assertTrue(self.inbound.opt_outs.is_out("main", THEIRS))
        self.assertEqual(self.inbound.opt_outs.listed()[0].source, "provider")
        self.assertEqual(len(self.inbox.messages), 1)

    def test_the_bridge_does_not_answer_for_the_provider(self) -> None:
        """A word that the provider dealt with is no word for us, on no line."""
        self.take(text("t1", opt_out="help"))
        self.take(text("t2"))

        handled = [message.word_handled for message in self.inbox.messages]
        self.assertEqual(handled, [True, False])

    def test_a_start_takes_it_back(self) -> None:
        """Afterwards texts may go out again; a question for help changes nothing."""
        self.take(text("t1", opt_out="stop"))
        self.take(text("t2", opt_out="help"))
        self.assertTrue(self.inbound.opt_outs.is_out("main", THEIRS))

        self.take(text("t3", opt_out="start"))

        self.assertFalse(self.inbound.opt_outs.is_out("main", THEIRS))

    def test_a_repeat_is_older_than_a_change_of_mind(self) -> None:
        """The list of the provider still has the stop that came before the start."""
        self.take(text("t1", opt_out="stop"))
        self.take(text("t2", opt_out="start"))
        self.take(text("t1", opt_out="stop"))

        self.assertFalse(self.inbound.opt_outs.is_out("main", THEIRS))

    def test_a_line_may_not_care(self) -> None:
        """With ``opt_out = no`` nobody is put out."""
        account = self.inbound.account
        lines = {"main": evolve(account.lines["main"], opt_out="no")}
        account.replace(account.config, account.dialect, lines)

        self.take(text(opt_out="stop"))
        self.take(
            StatusUpdate(
                remote_id="r", status=Status.FAILED, ours=OURS, recipient=THEIRS, opted_out=True
            )
        )

        self.assertEqual(self.inbound.opt_outs.listed(), [])

    def test_a_failed_text_may_tell_it(self) -> None:
        """Some providers say so only when we text the number."""
        self.take(
            StatusUpdate(
                remote_id="r1", status=Status.FAILED, ours=OURS, recipient=THEIRS, opted_out=True
            )
        )

        self.assertTrue(self.inbound.opt_outs.is_out("main", THEIRS))

    def test_a_failed_text_that_names_nobody_is_known_here(self) -> None:
        """Where the status has no numbers, what went out lately tells line and recipient."""
        account = self.inbound.account
        other = evolve(account.lines["main"], label="other", number=OTHER)
        account.replace(account.config, account.dialect, {**account.lines, "other": other})
        self.inbound.early.answered("r1", {THEIRS: "d.0"}, "other")
        self.inbound.early.answered("r2", {THEIRS: "g.0", OURS: "g.1"}, "main")

        for remote_id in ("r1", "r2", "r3"):
            self.take(StatusUpdate(remote_id=remote_id, status=Status.FAILED, opted_out=True))

        listed = [(each.line, each.number) for each in self.inbound.opt_outs.listed()]
        self.assertEqual(listed, [("other", THEIRS)])


class StatusTests(ArrivalsTestCase):
    """What became of texts of ours."""

    def test_is_reported_with_all_that_is_told(self) -> None:
        """The core finds the delivery by our id, or by the provider's on the line."""
        self.take(
            StatusUpdate(
                remote_id="r1",
                status=Status.FAILED,
                delivery_id="d.0",
                ours=OURS,
                recipient=THEIRS,
                reason="unreachable",
                text="30003",
            )
        )

        (report,) = self.inbox.reports
        self.assertEqual(
            (report.gateway, report.status, report.delivery_id, report.remote_id, report.line),
            ("work", Status.FAILED, "d.0", "r1", "main"),
        )
        self.assertEqual(
            (report.reason, report.text, report.destination), ("unreachable", "30003", THEIRS)
        )
        self.assertGreaterEqual(report.within_s, 30 * 86400)

    def test_a_single_line_need_not_be_named(self) -> None:
        """Where the provider does not say which number, there may be only one."""
        self.take(StatusUpdate(remote_id="r1", status=Status.SENT))

        self.assertEqual(self.inbox.reports[0].line, "main")

    def test_a_status_before_the_answer_is_kept(self) -> None:
        """While a send is under way, what nobody knows may be about it."""
        self.inbox.report = lambda report: succeed(False)  # type: ignore[method-assign]
        update = StatusUpdate(remote_id="r1", status=Status.SENT, ours=OURS)

        self.assertFalse(self.take(update))
        self.inbound.early.send_began()
        self.take(update)
        self.take(evolve(update, delivery_id="d.0"))

        found = self.inbound.early.answered("r1", {THEIRS: "d.0"})
        self.assertEqual(found, [evolve(update, delivery_id="d.0")])

    def test_a_status_right_after_the_answer_finds_its_text(self) -> None:
        """What the store does not know yet is known here; in a group the recipient tells which."""
        self.inbound.early.answered("r1", {THEIRS: "d.0", OTHER: "d.1"})

        self.take(
            StatusUpdate(
                remote_id="r1", status=Status.SENT, ours=OURS, recipient=OTHER, delivery_id="d.-"
            )
        )

        self.assertEqual(self.inbox.reports[0].delivery_id, "d.1")
