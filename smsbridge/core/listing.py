"""The messages that one person may see, as a list: the question, and who answers it."""

from __future__ import annotations

from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from smsbridge.core.records import MessageRecord
from smsbridge.core.threads import Viewer

__all__ = ["ListQuery", "Listing"]


@frozen(kw_only=True)
class ListQuery:
    """
    Which messages to list, newest first; an empty field says nothing.

    :ivar number: of the other party, or one of several.
    :ivar person: who wrote it, or to whom it went.
    :ivar direction: one of `core.message.Direction`.
    :ivar since_ms: made then or later.
    :ivar until_ms: made before.
    :ivar before_id: older than this message; a cursor.
    :ivar offset: so many of them are passed over.
    """

    viewer: Viewer
    line: str = ""
    number: str = ""
    person: str = ""
    direction: str = ""
    since_ms: int | None = None
    until_ms: int | None = None
    before_id: str = ""
    offset: int = 0
    limit: int = 50


class Listing(Protocol):
    """Answers `ListQuery`."""

    def listed(self, query: ListQuery) -> Deferred[list[MessageRecord]]:
        """Read messages that the viewer may see and has not hidden; fires after the read."""
