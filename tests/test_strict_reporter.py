"""Tests of the reporter that `make test` uses."""

from __future__ import annotations

import io

from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase

from tests.strict_reporter import StrictReporter


class _Sample(SynchronousTestCase):
    """A test that can be given any name."""

    def __init__(self, name: str) -> None:
        super().__init__("runTest")
        self._name = name

    def runTest(self) -> None:
        """Do nothing; the tests below say what became of it."""

    def id(self) -> str:
        """Return the name that this test pretends to have."""
        return self._name


def summary(*skipped: str) -> tuple[bool, str]:
    """Report these tests as skipped; return the verdict and what was printed."""
    stream = io.StringIO()
    reporter = StrictReporter(stream)
    for name in skipped:
        test = _Sample(name)
        reporter.startTest(test)
        reporter.addSkip(test, "no such program")
        reporter.stopTest(test)
    reporter.done()
    return reporter.wasSuccessful(), stream.getvalue()


class StrictReporterTests(SynchronousTestCase):
    """What a whole run makes of skipped tests."""

    def test_skipped_end_to_end_test_fails_the_run(self) -> None:
        """A test with a real peer that was skipped makes the closing line say FAILED."""
        passed, printed = summary("tests.end_to_end.test_databases.MariaDBTests.test_starts")

        self.assertFalse(passed)
        self.assertIn("FAILED (skips=1)", printed.splitlines()[-1])
        self.assertIn("test_databases.MariaDBTests.test_starts", printed)

    def test_other_skips_are_allowed(self) -> None:
        """A unit test may be skipped, as under plain trial."""
        passed, printed = summary("tests.core.test_routing.RoutingTests.test_something")

        self.assertTrue(passed)
        self.assertIn("PASSED (skips=1)", printed.splitlines()[-1])

    def test_tells_which_modules_took_longest(self) -> None:
        """Whoever wants a shorter run sees where to look."""
        stream = io.StringIO()
        reporter = StrictReporter(stream)
        reporter._seconds["tests.test_quick"] = 0.01
        reporter._seconds["tests.test_slow"] = 2.5
        reporter.done()

        self.assertIn("    2.5 s  tests.test_slow", stream.getvalue())
        self.assertNotIn("test_quick", stream.getvalue())

    def test_notes_of_an_exception_are_printed(self) -> None:
        """The reader of a failed test sees the example that hypothesis noted."""
        error = ValueError("too long")
        error.add_note("Falsifying example: text='xyz'")
        stream = io.StringIO()
        reporter = StrictReporter(stream)
        test = _Sample("tests.core.test_segments.SegmentsTests.test_something")

        reporter.startTest(test)
        reporter.addError(test, Failure(error))
        reporter.stopTest(test)
        reporter.done()

        self.assertIn("Falsifying example: text='xyz'\n", stream.getvalue())
        self.flushLoggedErrors(ValueError)
