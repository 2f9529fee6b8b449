"""What the numbers of the network mean."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.errors import REASONS, PermanentFailure, TemporaryFailure
from smsbridge.gateways.goip.codes import errorstatus_failure, tp_status


class ErrorstatusTests(SynchronousTestCase):
    """The +CMS ERROR codes."""

    def test_every_number_has_a_meaning(self) -> None:
        """Known or not, it is a failure of one kind with the device's words kept."""
        for code in [None, *range(-1, 1000)]:
            failure = errorstatus_failure(code, f"errorstatus:{code}")
            self.assertIn(type(failure), (TemporaryFailure, PermanentFailure))
            self.assertIn(failure.reason, REASONS)
            self.assertEqual(failure.detail, f"errorstatus:{code}")

    def test_one_means_nothing_in_particular(self) -> None:
        """Many boxes say 1 for everything, so it must not end a text."""
        self.assertIsInstance(errorstatus_failure(1, ""), TemporaryFailure)

    def test_faults_of_the_sim_are_faults_of_the_line(self) -> None:
        """No SIM, a PIN, no service: the text waits for the line."""
        for code in (300, 310, 311, 313, 316, 330, 331):
            failure = errorstatus_failure(code, "")
            self.assertEqual((type(failure), failure.reason), (TemporaryFailure, "line-down"))


class TpStatusTests(SynchronousTestCase):
    """The status octet of delivery reports."""

    def test_every_octet_has_a_meaning(self) -> None:
        """One of the statuses that a report may have, with a reason for a bad end."""
        for state in range(-1, 300):
            status, reason = tp_status(state)
            self.assertIn(
                status, (Status.SENT, Status.DELIVERED, Status.FAILED, Status.EXPIRED), state
            )
            if status in (Status.FAILED, Status.EXPIRED):
                self.assertIn(reason, REASONS)
            else:
                self.assertEqual(reason, "")

    def test_only_zero_is_delivered(self) -> None:
        """The vendor promises no more."""
        self.assertEqual(
            [state for state in range(256) if tp_status(state)[0] is Status.DELIVERED], [0]
        )

    def test_a_network_that_still_tries_is_no_end(self) -> None:
        """The range 32 to 63 is interim, 96 and up means that it gave up."""
        self.assertEqual({tp_status(state)[0] for state in range(32, 64)}, {Status.SENT})
        self.assertEqual({tp_status(state)[0] for state in range(96, 128)}, {Status.FAILED})
