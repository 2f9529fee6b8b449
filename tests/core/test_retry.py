"""Tests of the delays between attempts."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.retry import delay_s


class DelayTests(SynchronousTestCase):
    """How long to wait."""

    def test_doubles_up_to_half_an_hour(self) -> None:
        """Ten seconds, twenty, forty, and never more than 1,800."""
        self.assertEqual(
            [delay_s(attempt, 0.0) for attempt in (1, 2, 3, 8, 9, 100)],
            [10.0, 20.0, 40.0, 1280.0, 1800.0, 1800.0],
        )

    def test_chance_takes_off_up_to_a_quarter(self) -> None:
        """What failed together does not come back together."""
        self.assertEqual(delay_s(1, 0.5), 8.75)

    def test_what_the_peer_asked_for_is_not_undercut(self) -> None:
        """A shorter wish changes nothing, a longer one is granted."""
        self.assertEqual(delay_s(1, 0.0, 3.0), 10.0)
        self.assertEqual(delay_s(1, 0.9, 3600.0), 3600.0)

    @given(st.integers(-5, 10_000), st.floats(0, 1, exclude_max=True))
    def test_stays_in_bounds(self, attempt: int, chance: float) -> None:
        """Whatever the number of attempts, the delay is one that helps."""
        self.assertTrue(7.5 <= delay_s(attempt, chance) <= 1800.0)
