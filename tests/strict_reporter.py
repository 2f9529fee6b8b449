"""
A trial reporter for whole runs: trial's verbose one, but a skipped end-to-end test fails the run.

A test with a real peer must not be passed over because the peer is not installed: the run would
look whole and prove nothing. It also prints the notes of an exception, where hypothesis puts the
example that failed, and where the time went. Used by ``make test``; plain trial reports skips as
usual.
"""

from __future__ import annotations

import time
from collections import Counter
from typing import Any

from twisted.trial.reporter import TreeReporter

#: Tests of this package need real peers, which `make test` has just installed.
END_TO_END = "tests.end_to_end."

#: How many modules are named as those that took longest.
_SLOWEST = 15
_TOLD_S = 0.1


class StrictReporter(TreeReporter):
    """Count a skipped end-to-end test as a failure of the run."""

    def __init__(self, *arguments: Any, **more: Any) -> None:
        super().__init__(*arguments, **more)
        self._seconds: Counter[str] = Counter()  # by module
        self._began_s = 0.0

    def startTest(self, test: Any) -> None:
        """Look at the clock."""
        super().startTest(test)
        self._began_s = time.monotonic()

    def stopTest(self, test: Any) -> None:
        """Look at the clock again."""
        super().stopTest(test)
        self._seconds[type(test).__module__] += time.monotonic() - self._began_s

    def skipped_end_to_end(self) -> list[str]:
        """Return the names of the end-to-end tests that were skipped."""
        ids = [test.id() for test, _ in self.skips]
        return [each for each in ids if each.startswith(END_TO_END)]

    def wasSuccessful(self) -> bool:
        """Tell whether every test passed and none that needs a peer was skipped."""
        return bool(super().wasSuccessful()) and not self.skipped_end_to_end()

    def _formatFailureTraceback(self, fail: Any) -> str:
        notes = getattr(getattr(fail, "value", None), "__notes__", [])
        return "\n".join([super()._formatFailureTraceback(fail).rstrip("\n"), *notes, ""])

    def _printSummary(self) -> None:
        # Where other processes run the tests, the clock here tells nothing.
        slowest = [each for each in self._seconds.most_common(_SLOWEST) if each[1] >= _TOLD_S]
        if slowest:
            self._writeln("the modules that took longest:")
        for module, seconds in slowest:
            self._writeln("%7.1f s  %s", seconds, module)
        skipped = self.skipped_end_to_end()
        if skipped:
            self._writeln(
                "%d end-to-end tests were skipped, which a whole run does not allow: %s",
                len(skipped),
                ", ".join(skipped),
            )
        super()._printSummary()
