"""The operation for changes that are too rare to be done many at once."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from sqlalchemy import Connection

__all__ = ["CHANGE"]


class _Change:
    """Items are functions of a connection; results are what they return."""

    rank = 5

    def __call__(
        self, connection: Connection, items: Sequence[Callable[[Connection], Any]], again: bool
    ) -> Sequence[Any]:
        """Call each; all of them can be repeated after a commit of which nothing is known."""
        return [item(connection) for item in items]


CHANGE: Final = _Change()
