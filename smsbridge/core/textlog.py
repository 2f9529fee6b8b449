"""
Says in the log that a text changed hands, for as long as anybody could read it.

In a rush a line for every text would cost more than the text itself and fill the disk; the history
of each is in the store all the same.  So a rush is summed up.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from twisted.logger import Logger

__all__ = ["TextLog"]


class TextLog:
    """
    A log with a limit.

    :param seconds: a clock that never goes back.
    :param most: how many lines a second are written.
    """

    def __init__(self, log: Logger, seconds: Callable[[], float], most: int = 25) -> None:
        self._log = log
        self._seconds = seconds
        self._most = most
        self._second = -1
        self._written = 0
        self._left_out = 0

    def info(self, template: str, **fields: Any) -> None:
        """Write a line, or count it."""
        second = int(self._seconds())
        if second != self._second:
            if self._left_out:
                self._log.info(
                    "{count} more texts changed hands in a second; they are not listed here",
                    count=self._left_out,
                )
            self._second, self._written, self._left_out = second, 0, 0
        if self._written >= self._most:
            self._left_out += 1
            return
        self._written += 1
        self._log.info(template, **fields)
