"""
Conversations as one person sees them: the values, and what the store answers about them.

A conversation is a line and the set of the other parties (`core.routing.conversation`).  What each
person did with it (read, archived, muted, hidden, half-written) belongs to that person alone.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from smsbridge.core.records import MessageRecord

__all__ = [
    "MOST_UNREAD",
    "ConversationChange",
    "ConversationQuery",
    "ConversationRecord",
    "SearchQuery",
    "ThreadPage",
    "ThreadQuery",
    "Threads",
    "Viewer",
]

#: Unread texts are counted up to this; more than 99 is shown as "99+".
MOST_UNREAD = 100


@frozen
class Viewer:
    """
    Who looks, and what may be seen: the conversations of these lines, and those between persons
    in which this person takes part.

    :ivar blocked: numbers whose conversations stand apart.
    :ivar internal: whether those between persons may be seen; not by a token for certain lines.
    """

    person: str
    lines: tuple[str, ...]
    blocked: frozenset[str] = frozenset()
    internal: bool = True

    @property
    def places(self) -> tuple[str, ...]:
        """Name the lines whose conversations may be seen; the empty one is between persons."""
        return ("", *self.lines) if self.internal and self.person else self.lines

    def takes_part(self, persons: Sequence[str]) -> bool:
        """Tell whether what is between these persons may be seen."""
        return self.internal and bool(self.person) and self.person in persons


@frozen(kw_only=True)
class ConversationRecord:
    """One conversation as its viewer sees it."""

    conversation: str
    line: str  # empty between persons
    parties: tuple[str, ...]  # numbers, short codes, names of persons; sorted
    last: MessageRecord | None  # the newest text that the viewer has not hidden
    unread: int  # at most MOST_UNREAD
    read_id: str  # the youngest message that the viewer has seen
    archived: bool
    muted: bool
    draft: str


@frozen(kw_only=True)
class ConversationQuery:
    """
    Which conversations to list, those with the newest text first.

    :ivar folder: ``inbox`` (neither archived nor blocked), ``unread``, ``archived``, ``blocked`` or
        ``all``.
    :ivar before_id: only those whose newest text is older than this message; a cursor.
    :ivar conversations: only these.
    :ivar parties: only those with one of these parties (numbers, names of persons).
    :ivar part: only those with a party whose number or name holds this; what `parties` finds is
        found too.
    """

    viewer: Viewer
    line: str = ""
    folder: str = "inbox"
    before_id: str = ""
    conversations: tuple[str, ...] = ()
    parties: tuple[str, ...] = ()
    part: str = ""
    limit: int = 50


@frozen(kw_only=True)
class ThreadQuery:
    """
    Which texts of one conversation to read.

    At most one of the three ids is given; without any, the newest are meant.
    """

    viewer: Viewer
    conversation: str
    before_id: str = ""  # the ones next older than this
    after_id: str = ""  # the ones next younger than this
    around_id: str = ""  # this one with its neighbors on both sides
    limit: int = 50


@frozen(kw_only=True)
class ThreadPage:
    """Texts of one conversation, oldest first."""

    messages: tuple[MessageRecord, ...]
    has_older: bool
    has_newer: bool


@frozen(kw_only=True)
class SearchQuery:
    """
    Which texts hold these words (each as the beginning of a word), newest first.

    :ivar parties: texts of conversations with one of these parties are found too, whatever they
        say; the caller found the words in the names of contacts.
    """

    viewer: Viewer
    words: str
    line: str = ""
    conversation: str = ""
    parties: tuple[str, ...] = ()
    before_id: str = ""
    limit: int = 50


@frozen(kw_only=True)
class ConversationChange:
    """What a viewer does with a conversation; None leaves a thing as it is."""

    read_id: str | None = None  # seen up to this message; an older one than before marks as unread
    archived: bool | None = None  # until the next text comes
    muted: bool | None = None
    draft: str | None = None


class Threads(Protocol):
    """Answers about conversations; every Deferred fires after the read or the commit."""

    def conversations(self, query: ConversationQuery) -> Deferred[list[ConversationRecord]]:
        """List conversations; see `ConversationQuery`."""

    def thread(self, query: ThreadQuery) -> Deferred[ThreadPage]:
        """Read texts of one conversation; empty if it is not the viewer's."""

    def search(self, query: SearchQuery) -> Deferred[list[MessageRecord]]:
        """Find texts."""

    def seen_by(self, viewer: Viewer, message_ids: Sequence[str]) -> Deferred[list[MessageRecord]]:
        """Read those of the messages that the viewer may see and has not hidden, oldest first."""

    def change(
        self, viewer: Viewer, conversation: str, change: ConversationChange, now_ms: int
    ) -> Deferred[bool]:
        """Record what the viewer does; False if there is no such conversation for the viewer."""

    def hide_messages(
        self, viewer: Viewer, message_ids: Sequence[str], now_ms: int
    ) -> Deferred[int]:
        """Hide texts from this viewer; fires with how many were there to be hidden."""

    def show_messages(self, viewer: Viewer, message_ids: Sequence[str]) -> Deferred[int]:
        """Undo `hide_messages`."""

    def hide_conversation(self, viewer: Viewer, conversation: str, now_ms: int) -> Deferred[str]:
        """
        Hide all texts that a conversation has now from this viewer.

        Fires with what `show_conversation` needs to undo it; empty if there is no such
        conversation.
        """

    def show_conversation(self, viewer: Viewer, conversation: str, undo: str) -> Deferred[bool]:
        """Undo `hide_conversation`."""

    def unread(self, viewer: Viewer) -> Deferred[int]:
        """Count the conversations with unread texts, the muted ones left out."""

    def changed_since(
        self, since_ms: int, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """
        Read messages that were made, or whose deliveries changed, since a time, oldest first.

        For followers that lost the thread: reads the last days' deliveries, so it is not for
        every day's use.
        """
