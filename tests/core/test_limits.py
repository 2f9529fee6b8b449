"""Tests of token buckets, daily counts and the stop for echoes."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core import limits
from smsbridge.core.limits import DailyCount, EchoGuard, TokenBuckets

DAY = 86_400_000


class TokenBucketsTests(SynchronousTestCase):
    """So many at once, so many in the long run."""

    def setUp(self) -> None:
        """Make buckets on a clock."""
        self.clock = Clock()
        self.buckets = TokenBuckets(self.clock.seconds)

    def test_a_burst_then_the_rate(self) -> None:
        """A full bucket may be spent at once; then each token takes its time."""
        waits = [self.buckets.wait_s("john", 2.0, 3) for _ in range(4)]
        self.assertEqual(waits, [0.0, 0.0, 0.0, 0.5])

        self.clock.advance(0.5)

        self.assertEqual(self.buckets.wait_s("john", 2.0, 3), 0.0)
        self.assertEqual(self.buckets.wait_s("john", 2.0, 3), 0.5)

    def test_asking_takes_nothing(self) -> None:
        """A preview costs nothing, and says what the text itself would hear."""
        for _ in range(5):
            self.assertEqual(self.buckets.wait_s("john", 1.0, 1, take=False), 0.0)
        self.assertEqual(self.buckets.wait_s("john", 1.0, 1), 0.0)

        self.assertEqual(self.buckets.wait_s("john", 1.0, 1, take=False), 1.0)

    def test_waiting_takes_nothing(self) -> None:
        """Who is refused does not pay."""
        self.buckets.wait_s("john", 1.0, 1)
        for _ in range(5):
            self.assertEqual(self.buckets.wait_s("john", 1.0, 1), 1.0)

    def test_a_bucket_does_not_overflow(self) -> None:
        """A week of silence saves no more than one burst."""
        self.buckets.wait_s("john", 1.0, 2)
        self.clock.advance(7 * 86400)

        waits = [self.buckets.wait_s("john", 1.0, 2) for _ in range(3)]

        self.assertEqual(waits, [0.0, 0.0, 1.0])

    def test_keys_are_apart(self) -> None:
        """One sender does not use up another's."""
        self.buckets.wait_s("john", 1.0, 1)

        self.assertEqual(self.buckets.wait_s("jane", 1.0, 1), 0.0)

    def test_no_rate_is_no_limit(self) -> None:
        """A rate of 0 means that nobody counts."""
        self.assertEqual([self.buckets.wait_s("john", 0.0, 1) for _ in range(9)], [0.0] * 9)

    def test_a_large_amount_takes_a_full_bucket_and_a_debt(self) -> None:
        """A text to many is possible, and paid for afterwards."""
        self.assertEqual(self.buckets.wait_s("john", 1.0, 2, 5), 0.0)
        self.assertEqual(self.buckets.wait_s("john", 1.0, 2, 1), 4.0)

    @given(st.lists(st.floats(0, 3, allow_nan=False), max_size=60))
    def test_never_more_than_burst_and_rate_allow(self, pauses: list[float]) -> None:
        """Over any time the sum is bounded."""
        clock = Clock()
        buckets = TokenBuckets(clock.seconds)
        taken = 0
        for pause in pauses:
            clock.advance(pause)
            taken += buckets.wait_s("john", 0.7, 4) == 0.0
            self.assertLessEqual(taken, 4 + clock.seconds() * 0.7 + 1e-6)


class DailyCountTests(SynchronousTestCase):
    """Segments by line and day."""

    def test_counts_until_midnight(self) -> None:
        """A new day of UTC begins with nothing."""
        count = DailyCount()
        count.add("one", 2, DAY - 2)
        count.add("one", 1, DAY - 1)
        count.add("two", 5, DAY - 1)

        self.assertEqual((count.of("one", DAY - 1), count.of("two", DAY - 1)), (3, 5))
        self.assertEqual(count.of("one", DAY), 0)

    def test_takes_over_what_the_store_counted(self) -> None:
        """After a restart the day goes on where it was."""
        count = DailyCount()
        count.add("one", 1, DAY)
        count.load(DAY, {"one": 3, "two": 4})

        self.assertEqual((count.of("one", DAY), count.of("two", DAY)), (4, 4))

    def test_what_comes_late_does_not_turn_back_the_day(self) -> None:
        """What is taken back after midnight belongs to yesterday, and today's count stays."""
        count = DailyCount()
        count.add("one", 5, DAY - 1)
        count.add("one", 2, DAY)
        count.add("one", -5, DAY - 1)
        count.load(DAY - 1, {"one": 9})

        self.assertEqual(count.of("one", DAY), 2)


class EchoGuardTests(SynchronousTestCase):
    """The same text, the same way, again and again."""

    def setUp(self) -> None:
        """Make a guard on a clock."""
        self.clock = Clock()
        self.guard = EchoGuard(self.clock.seconds, most=3)

    def test_stops_the_same_text_within_a_minute(self) -> None:
        """After so many it goes round."""
        found = [self.guard.goes_round("john", "+1", "away") for _ in range(5)]

        self.assertEqual(found, [False, False, False, True, True])

    def test_looking_does_not_count(self) -> None:
        """How often a text went lately can be asked without sending it."""
        for _ in range(3):
            self.guard.goes_round("john", "+1", "away")

        self.assertEqual(self.guard.times_lately("john", "+1", "away"), 3)
        self.assertTrue(self.guard.is_too_often(3))
        self.assertFalse(self.guard.is_too_often(2))
        self.clock.advance(61.0)
        self.assertEqual(self.guard.times_lately("john", "+1", "away"), 0)

    def test_other_texts_and_ways_are_apart(self) -> None:
        """Only what is the same in everything counts together."""
        for sender, recipient, body in (("a", "b", "x"), ("a", "b", "y"), ("a", "c", "x")):
            for _ in range(3):
                self.assertFalse(self.guard.goes_round(sender, recipient, body))

    def test_a_minute_later_it_may_go_again(self) -> None:
        """The count begins anew."""
        for _ in range(4):
            self.guard.goes_round("john", "+1", "away")
        self.clock.advance(61.0)

        self.assertFalse(self.guard.goes_round("john", "+1", "away"))

    def test_remembers_a_bounded_number(self) -> None:
        """What was said longest ago is forgotten first."""
        self.patch(limits, "_MOST_PAIRS", 2)
        for body in ("x", "y", "x", "z"):
            self.guard.goes_round("a", "b", body)

        self.assertEqual(len(self.guard._seen), 2)
        self.assertEqual([key[2] for key in self.guard._seen], [hash("x"), hash("z")])
