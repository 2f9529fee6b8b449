"""Tests of telling watchers."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.changes import Changes


class ChangesTests(SynchronousTestCase):
    """Who watches hears."""

    def setUp(self) -> None:
        """Nobody watches."""
        self.changes = Changes()
        self.seen: list[list[str]] = []

    def test_costs_nothing_while_nobody_watches(self) -> None:
        """The ids are not even looked at."""
        self.assertFalse(self.changes)
        self.changes.tell(str(1 // 0) for _ in "x")

    def test_tells_each_id_once(self) -> None:
        """Ids come in their order, without repeats and without empty ones."""
        self.changes.watch(self.seen.append)

        self.assertTrue(self.changes)
        self.changes.tell(["b", "a", "b", ""])

        self.assertEqual(self.seen, [["b", "a"]])

    def test_says_nothing_about_nothing(self) -> None:
        """Notices concern no message; nobody is woken up for them."""
        self.changes.watch(self.seen.append)

        self.changes.tell(["", ""])

        self.assertEqual(self.seen, [])

    def test_watching_ends(self) -> None:
        """Who stopped hears no more, and may stop twice."""
        stop = self.changes.watch(self.seen.append)
        stop()
        stop()
        self.changes.tell(["a"])

        self.assertEqual(self.seen, [])
        self.assertFalse(self.changes)

    def test_a_watcher_that_stops_another_is_obeyed(self) -> None:
        """Who is stopped while the news is told does not hear it."""
        stops = [self.changes.watch(lambda ids: stops.pop()())]
        stops.append(self.changes.watch(self.seen.append))

        self.changes.tell(["a"])

        self.assertEqual(self.seen, [])

    def test_two_watchers_with_one_callable_are_two(self) -> None:
        """Each ends its own watching, however often it says so."""
        stop = self.changes.watch(self.seen.append)
        self.changes.watch(self.seen.append)
        stop()
        stop()

        self.changes.tell(["a"])

        self.assertEqual(self.seen, [["a"]])

    def test_one_that_fails_does_not_stop_the_others(self) -> None:
        """A mistake is logged, and the message goes on."""

        def fail(ids: list[str]) -> None:
            raise ZeroDivisionError("a bug")

        self.changes.watch(fail)
        self.changes.watch(self.seen.append)

        self.changes.tell(["a"])

        self.assertEqual(self.seen, [["a"]])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
