"""
Who does not want texts from a line any more, as the core asks it.

A number is put here by the words that it sent (`Line.opt_out`), by a provider that refuses texts to
it, or by the operator; from then on a text to it is refused at the door, with a sentence.
"""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

__all__ = ["OptOut", "OptOuts"]


@frozen(kw_only=True)
class OptOut:
    """One number that is out."""

    line: str
    number: str
    source: str  # "words", "provider" or "operator"
    since_ms: int


class OptOuts(Protocol):
    """All numbers that are out, in memory, kept in the store."""

    def is_out(self, line: str, number: str) -> bool:
        """Tell whether a number does not want texts from a line; cheap."""

    def opt_out(self, line: str, number: str, source: str) -> Deferred[bool]:
        """Put a number out; fires after the commit with False if it was out already."""

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """Take it back in; fires after the commit with False if it was not out."""

    def listed(self) -> list[OptOut]:
        """Return all of them, oldest first."""
