"""Tests of `smsbridge.web.access.brakes`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.web.access.brakes import Brake, network_of


class BrakeTests(SynchronousTestCase):
    """Delays that grow."""

    def setUp(self) -> None:
        """Make a brake with two free failures."""
        self.clock = Clock()
        self.brake = Brake(self.clock.seconds, free=2, longest_s=60.0, forget_s=600.0)

    def fail(self, count: int = 1, key: str = "a") -> None:  # type: ignore[override]
        """Let attempts fail."""
        for _ in range(count):
            self.brake.begin(key)

    def test_first_failures_are_free(self) -> None:
        """Everybody mistypes."""
        self.fail(2)

        self.assertEqual(self.brake.wait_s("a"), 0)

    def test_delay_doubles_up_to_the_longest(self) -> None:
        """Each failure costs more, and there is an end to it."""
        self.fail(2)
        waits = []
        for _ in range(8):
            self.fail()
            waits.append(self.brake.wait_s("a"))

        self.assertEqual(waits, [1, 2, 4, 8, 16, 32, 60, 60])
        self.fail(5000)
        self.assertEqual(self.brake.wait_s("a"), 60)

    def test_time_passes(self) -> None:
        """Who has waited is listened to, and the next failure costs more than the last."""
        self.fail(4)
        self.clock.advance(1.5)
        self.assertEqual(self.brake.wait_s("a"), 0.5)
        self.clock.advance(0.5)
        self.assertEqual(self.brake.wait_s("a"), 0)

        self.fail()

        self.assertEqual(self.brake.wait_s("a"), 4)

    def test_keys_are_apart(self) -> None:
        """One who fails holds up nobody else."""
        self.fail(10)

        self.assertEqual(self.brake.wait_s("b"), 0)

    def test_failures_are_forgotten(self) -> None:
        """After a quiet time everything is as at the beginning."""
        self.fail(10)
        self.clock.advance(601)

        self.assertEqual(self.brake.wait_s("a"), 0)
        self.assertEqual(len(self.brake), 0)

    def test_success_is_no_failure_and_clears_nothing_else(self) -> None:
        """An attempt taken back leaves the wait of those that failed before."""
        self.fail(5)
        before = self.brake.wait_s("a")
        begun = self.brake.begin("a")

        self.brake.forgive("a", begun)

        self.assertEqual(self.brake.wait_s("a"), before)
        self.fail()
        self.assertEqual(self.brake.wait_s("a"), 8)

    def test_success_alone_leaves_nothing(self) -> None:
        """Who never fails is not remembered."""
        self.brake.forgive("a", self.brake.begin("a"))
        self.brake.forgive("b", 0.0)

        self.assertEqual(len(self.brake), 0)

    def test_memory_is_bounded(self) -> None:
        """A flood of names pushes out the ones longest quiet."""
        self.brake.most = 100
        self.fail(5)
        for number in range(99):
            self.fail(key=str(number))
        self.assertGreater(self.brake.wait_s("a"), 0)

        self.fail(key="one more")

        self.assertEqual(len(self.brake), 100)
        self.assertEqual(self.brake.wait_s("a"), 0)


class NetworkTests(SynchronousTestCase):
    """What stands for an address."""

    def test_addresses(self) -> None:
        """IPv4 stands for itself, IPv6 for its network, the rest for itself."""
        for address, network in (
            ("192.0.2.1", "192.0.2.1"),
            ("2001:db8::1", "2001:db8::/64"),
            ("2001:db8::ffff:2", "2001:db8::/64"),
            ("2001:db8:0:1::2", "2001:db8:0:1::/64"),
            ("::ffff:192.0.2.1", "192.0.2.1"),
            ("fe80::1%eth0", "fe80::/64"),
            ("local", "local"),
            ("", ""),
        ):
            self.assertEqual(network_of(address), network, address)
