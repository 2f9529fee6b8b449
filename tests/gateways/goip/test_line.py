"""The state of a line."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.errors import REASONS
from smsbridge.gateways.goip.line import (
    AFTER,
    CLOSED_FOR,
    LiveLine,
    Presence,
    Signal,
    Submission,
    Submitted,
)
from tests.gateways.goip.rig import PASSWORD, line


def live() -> LiveLine:
    """Make a line that was never seen."""
    return LiveLine(line(), "box/l1", PASSWORD.encode())


class PresenceTests(SynchronousTestCase):
    """The table of what changes a line's presence."""

    def test_every_signal_has_its_row(self) -> None:
        """And every presence but the good one says why it is closed."""
        self.assertEqual(set(AFTER), set(Signal))
        self.assertEqual(set(CLOSED_FOR), set(Presence) - {Presence.UP})
        for reason, _ in CLOSED_FOR.values():
            self.assertIn(reason, REASONS)

    def test_only_a_login_opens(self) -> None:
        """No other signal makes a line ready."""
        openers = {signal for signal, rows in AFTER.items() if Presence.UP in rows.values()}

        self.assertEqual(openers, {Signal.LOGIN})

    def test_keepalives_do_not_unlock(self) -> None:
        """A device that refused our password keeps refusing until something changed."""
        for signal in (Signal.LOGIN, Signal.LOGOUT, Signal.NO_ANSWER, Signal.NETWORK_GONE):
            self.assertNotIn(Presence.LOCKED, AFTER[signal])


class WorkTests(SynchronousTestCase):
    """One thing at a time."""

    def test_work_is_done_in_order(self) -> None:
        """Each begins when the one before has released the line."""
        one, done = live(), []
        one.acquire(lambda: done.append("a"))
        one.acquire(lambda: done.append("b"))
        one.acquire(lambda: done.append("c"))

        self.assertEqual(done, ["a"])
        one.release()
        self.assertEqual(done, ["a", "b"])
        one.release()
        one.release()
        self.assertEqual(done, ["a", "b", "c"])
        self.assertFalse(one.busy)

    def test_nothing_is_written_before_the_device_is_known(self) -> None:
        """There is no address that has authenticated."""
        one = live()

        one.write(b"MSG 1 1 x\n")

        self.assertFalse(one.reachable)


class SubmittedTests(SynchronousTestCase):
    """Which text a report is about."""

    def test_newest_counts_and_old_ones_are_forgotten(self) -> None:
        """By age and by number."""
        texts = Submitted(most=2, for_s=3600)
        texts.remember("l1", 1, Submission("old", "+12025550123", 0.0))
        texts.remember("l1", 1, Submission("new", "+12025550123", 10.0))
        texts.remember("l2", 1, Submission("other", "+12025550124", 10.0))

        self.assertEqual(texts.find("l1", 1, "", 20.0), "new")
        self.assertEqual(texts.find("l1", 1, "", 4000.0), "")
        texts.remember("l2", 2, Submission("third", "+12025550124", 10.0))
        self.assertEqual(texts.find("l1", 1, "", 20.0), "")
        self.assertEqual(len(texts), 2)
