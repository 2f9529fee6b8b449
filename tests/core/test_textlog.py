"""Tests of `smsbridge.core.textlog`."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.logger import Logger, formatEvent
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.textlog import TextLog


class TextLogTests(SynchronousTestCase):
    """One line a text, unless there are too many."""

    def setUp(self) -> None:
        """Collect what is written."""
        self.lines: list[str] = []
        self.clock = Clock()
        log = Logger("test", observer=lambda event: self.lines.append(formatEvent(event)))
        self.texts = TextLog(log, self.clock.seconds, most=2)

    def test_says_each_text(self) -> None:
        """In quiet times every text has its line."""
        for number in range(4):
            self.texts.info("text {number}", number=number)
            self.clock.advance(0.6)

        self.assertEqual(self.lines, ["text 0", "text 1", "text 2", "text 3"])

    def test_sums_up_a_rush(self) -> None:
        """Beyond the limit texts are counted, and the count is told when the second is over."""
        for number in range(5):
            self.texts.info("text {number}", number=number)
        self.clock.advance(1)
        self.texts.info("text {number}", number=5)
        self.clock.advance(1)
        self.texts.info("text {number}", number=6)

        self.assertEqual(
            self.lines,
            [
                "text 0",
                "text 1",
                "3 more texts changed hands in a second; they are not listed here",
                "text 5",
                "text 6",
            ],
        )
