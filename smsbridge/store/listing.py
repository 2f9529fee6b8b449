"""
Lists the messages that one person may see, newest first.

Each line (or, for a number, each conversation) is read by itself along its index and the results
are merged, so that a quiet line beside a busy one costs no more than the busy one alone.
"""

from __future__ import annotations

import heapq

from sqlalchemy import ColumnElement, Connection, and_, exists, or_, select
from twisted.internet.defer import Deferred

from smsbridge.core.entries import MessageQuery
from smsbridge.core.listing import ListQuery
from smsbridge.core.records import MessageRecord
from smsbridge.store.history import first_id_at, messages_txn
from smsbridge.store.schema import conversation_parties, conversations, deliveries, messages
from smsbridge.store.service import MessageStore
from smsbridge.store.sight import may_see, not_hidden

__all__ = ["MessageListing", "listed_txn"]

_m = messages.c
_p = conversation_parties.c
_c = conversations.c
_d = deliveries.c

_with_party = (
    select(_c.conversation, _c.line, _c.parties)
    .join(conversation_parties, _p.conversation == _c.conversation)
    .order_by(_c.last_message_id.desc())
)


class MessageListing:
    """`core.listing.Listing` on the store."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    def listed(self, query: ListQuery) -> Deferred[list[MessageRecord]]:
        """See `Listing.listed`."""
        return self._store.read(listed_txn, query)


def listed_txn(connection: Connection, query: ListQuery) -> list[MessageRecord]:
    """List messages, newest first."""
    wanted = query.offset + query.limit
    statement = (
        select(_m.message_id)
        .where(*_conditions(query))
        .order_by(_m.message_id.desc())
        .limit(wanted)
    )
    newest: list[str] = []
    for source in _sources(connection, query):
        newest.extend(connection.execute(statement.where(source)).scalars())
        newest = heapq.nlargest(wanted, newest)
    found = tuple(newest[query.offset :])
    if not found:
        return []
    return messages_txn(connection, MessageQuery(message_ids=found))[::-1]


def _conditions(query: ListQuery) -> list[ColumnElement[bool]]:
    conditions = [not_hidden(query.viewer.person)]
    if query.person:
        conditions.append(
            or_(
                _m.author == query.person,
                exists().where(_d.message_id == _m.message_id, _d.person == query.person),
            )
        )
    if query.direction:
        conditions.append(_m.direction == query.direction)
    if query.since_ms is not None:
        conditions.append(_m.message_id >= first_id_at(query.since_ms))
    if query.until_ms is not None:
        conditions.append(_m.message_id < first_id_at(query.until_ms))
    if query.before_id:
        conditions.append(_m.message_id < query.before_id)
    return conditions


def _sources(connection: Connection, query: ListQuery) -> list[ColumnElement[bool]]:
    """Return what is read by itself: conversations with a number, or lines."""
    viewer = query.viewer
    if query.number:
        rows = connection.execute(_with_party.where(_p.party == query.number)).all()
        return [
            _m.conversation == row.conversation
            for row in rows
            if may_see(viewer, row.line, row.parties) and query.line in ("", row.line)
        ]
    sources = [_m.line == line for line in viewer.lines if query.line in ("", line)]
    if not query.line and "" in viewer.places:
        own = select(_p.conversation).where(_p.party == viewer.person)
        sources.append(and_(_m.line == "", _m.conversation.in_(own)))
    return sources
