"""
Finds texts by their words, and by numbers, newest first.

A search first looks through the newest texts of the viewer, where words that are common are found
at once, and asks the index for what is older:

- SQLite: a table of FTS5 without the texts, keyed by a number made of the message's id.  It is
  filled a moment after the texts (`index.SearchIndex`), many at a time: inline it would make every
  accept a fifth dearer.  What is not indexed yet is looked through.  Where SQLite has no FTS5, only
  the newest texts are searched.
- PostgreSQL: ``tsvector`` with a GIN index; MariaDB: ``FULLTEXT``.  Both are filled with the
  message.

Whatever the index says is checked with `words.holds`, so that all databases find the same.
"""

from __future__ import annotations

import heapq
import re
from collections.abc import Iterator, Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, bindparam, or_, select, text

from smsbridge.core.entries import MessageQuery
from smsbridge.core.records import MessageRecord
from smsbridge.core.threads import SearchQuery, Viewer
from smsbridge.store.history import messages_txn
from smsbridge.store.index import document_of, has_index, id_begins, indexed_upto
from smsbridge.store.rows import padded
from smsbridge.store.schema import conversation_parties, conversations, messages
from smsbridge.store.sight import may_see, names_with, not_hidden
from smsbridge.store.words import conversation_mark, holds, line_mark, words_of

__all__ = ["search_txn"]

_LAST: Final = "g"  # above every id
_RECENT: Final = 4000  # newest texts that are looked through before the index is asked
_FEWEST: Final = 100  # of them for each line
_UNINDEXED: Final = 50_000  # texts that are looked through because they are not indexed yet
_PAGE: Final = 500  # texts that the index is asked for at once
_PAGES: Final = 20
_MOST_CONVERSATIONS: Final = 1000  # with a party, whose texts are found
_MOST_MARKS: Final = 20  # lines that the index is asked for
_NUMBER: Final = re.compile(r"\s*\+?[\d\s()./-]+")
_FEWEST_DIGITS: Final = 3

_m = messages.c
_c = conversations.c
_p = conversation_parties.c


def search_txn(connection: Connection, query: SearchQuery) -> list[MessageRecord]:
    """Find texts, newest first."""
    words = words_of(query.words)
    found = set(_with_parties(connection, query))
    if words:
        found.update(_with_words(connection, query, words))
    best = heapq.nlargest(query.limit, found)
    if not best:
        return []
    return messages_txn(connection, MessageQuery(message_ids=tuple(padded(best))))[::-1]


# -- words ---------------------------------------------------------------------------------------


def _with_words(connection: Connection, query: SearchQuery, words: tuple[str, ...]) -> list[str]:
    viewer, before = query.viewer, query.before_id or _LAST
    sources = _sources(viewer, query.line, query.conversation)
    each = max(_FEWEST, _RECENT // max(1, len(sources)))
    found: list[str] = []
    looked_to = ""  # all texts younger than this, and this one, have been looked through
    for source in sources:
        rows = connection.execute(
            select(_m.message_id, _m.body)
            .where(source, _m.message_id < before, not_hidden(viewer.person))
            .order_by(_m.message_id.desc())
            .limit(each)
        ).all()
        found.extend(row.message_id for row in rows if holds(row.body, words))
        if len(rows) == each:
            looked_to = max(looked_to, rows[-1].message_id)
    if looked_to:
        sure = [message_id for message_id in found if message_id >= looked_to]
        if len(sure) >= query.limit:
            return sure
        limit = query.limit - len(sure)
        found = sure + _indexed(connection, query, words, looked_to, limit)
    if query.conversation:
        # It was read by its name; whether the viewer may see it is in its row.
        row = connection.execute(
            select(_c.line, _c.parties).where(_c.conversation == query.conversation)
        ).first()
        if row is None or query.line not in ("", row.line):
            return []
        if not may_see(viewer, row.line, row.parties):
            return []
    return found


def _sources(viewer: Viewer, line: str, conversation: str) -> list[ColumnElement[bool]]:
    """Make a condition for each part of what the viewer may see that an index puts in order."""
    if conversation:
        return [_m.conversation == conversation]
    sources: list[ColumnElement[bool]] = [
        _m.line == each for each in viewer.lines if line in ("", each)
    ]
    if not line and "" in viewer.places:
        sources.append(_between_persons(viewer))
    return sources


def _between_persons(viewer: Viewer) -> ColumnElement[bool]:
    own = select(_p.conversation).where(_p.party == viewer.person)
    return and_(_m.line == "", _m.conversation.in_(own))


def _indexed(
    connection: Connection, query: SearchQuery, words: tuple[str, ...], before: str, limit: int
) -> list[str]:
    """Find texts older than one by the index."""
    dialect = connection.dialect.name
    if dialect == "sqlite":
        pages = _sqlite_pages(connection, query, words, before)
    elif dialect == "postgresql":
        terms = [f"'{word}':*" for word in words] + _marks(query, " | ", "'{}'")
        matches = "words @@ cast(:asked AS tsquery)"
        pages = _server_pages(connection, query, before, matches, " & ".join(terms))
    else:
        terms = [f"+{word}*" for word in words]
        terms += [f"+{mark}" for mark in _marks(query, " ", "{}")]
        matches = "match(words) against (:asked IN BOOLEAN MODE)"
        pages = _server_pages(connection, query, before, matches, " ".join(terms))
    found: list[str] = []
    for page in pages:
        found.extend(
            row.message_id
            for row in page
            if row.message_id < before and _is_asked_for(query, row) and holds(row.body, words)
        )
        if len(found) >= limit:
            break
    return found


# What is read by its id is sifted here: given the line too, SQLite may read all of the line.
_texts = select(
    *(_m.message_id, _m.line, _m.conversation, _m.author, _m.recipients, _m.body)
).where(not_hidden(bindparam("person")))
_texts_by_id = _texts.where(_m.message_id.in_(bindparam("ids", expanding=True)))


def _is_asked_for(query: SearchQuery, row: Any) -> bool:
    """Tell whether a text is the viewer's, and where it is searched."""
    if query.line not in ("", row.line) or query.conversation not in ("", row.conversation):
        return False
    if row.line:
        return row.line in query.viewer.lines
    return query.viewer.takes_part((row.author, *row.recipients.split("\n")))


def _marks(query: SearchQuery, between: str, each: str) -> list[str]:
    """Name what the index can leave out by itself; empty if that would be too long."""
    if query.conversation:
        return [each.format(conversation_mark(query.conversation))]
    lines = [line for line in query.viewer.places if query.line in ("", line)]
    if len(lines) > _MOST_MARKS:
        return []
    marks = [each.format(line_mark(line)) for line in lines]
    return [f"({between.join(marks)})"] if len(marks) > 1 else marks


def _server_pages(
    connection: Connection, query: SearchQuery, before: str, matches: str, asked: str
) -> Iterator[Sequence[Any]]:
    # A query of its own, in two parts for PostgreSQL: otherwise the planner may walk all messages
    # by their id.
    offset = "OFFSET 0" if connection.dialect.name == "postgresql" else ""
    hits = text(
        f"SELECT message_id FROM (SELECT message_id FROM message_words WHERE {matches}"
        f" AND message_id < :below {offset}) AS hits ORDER BY message_id DESC LIMIT :most"
    )
    for _ in range(_PAGES):
        ids = list(
            connection.execute(hits, {"asked": asked, "below": before, "most": _PAGE}).scalars()
        )
        if ids:
            values = {"person": query.viewer.person, "ids": padded(ids)}
            yield connection.execute(_texts_by_id, values).all()
        if len(ids) < _PAGE:
            return
        before = ids[-1]


# -- SQLite --------------------------------------------------------------------------------------


def _sqlite_pages(
    connection: Connection, query: SearchQuery, words: tuple[str, ...], before: str
) -> Iterator[Sequence[Any]]:
    person = query.viewer.person
    usable = has_index(connection)
    newest = connection.execute(_newest_row).scalar() or 0
    # What is not indexed yet; without an index as many of the newest as can be looked through.
    upto = max(indexed_upto(connection) if usable else 0, newest - _UNINDEXED)
    if upto < newest:
        yield connection.execute(_not_indexed, {"person": person, "upto": upto}).all()
    if not usable:
        return
    asked = " AND ".join([*(f'"{word}"*' for word in words), *_marks(query, " OR ", '"{}"')])
    below = document_of(before)
    for _ in range(_PAGES):
        documents = list(
            connection.execute(
                _documents, {"asked": asked, "below": below, "most": _PAGE}
            ).scalars()
        )
        if documents:
            ids = _ids_of(connection, documents)
            if ids:
                values = {"person": person, "ids": padded(ids)}
                yield connection.execute(_texts_by_id, values).all()
        if len(documents) < _PAGE:
            return
        below = documents[-1] - 1


_not_indexed = _texts.where(text("messages.rowid > :upto")).with_hint(
    messages, "NOT INDEXED", "sqlite"
)
_newest_row = text("SELECT max(rowid) FROM messages")
_documents = text(
    "SELECT rowid FROM message_words WHERE message_words MATCH :asked AND rowid <= :below"
    " ORDER BY rowid DESC LIMIT :most"
)


def _ids_of(connection: Connection, documents: Sequence[int]) -> list[str]:
    """Find the messages of documents: those of their milliseconds whose ids end alike."""
    times = padded(list(dict.fromkeys(id_begins(document) for document in documents)))
    values = ", ".join(["(?, ?)"] * len(times))
    rows = connection.exec_driver_sql(
        f"WITH times (low, high) AS (VALUES {values}) SELECT message_id FROM times"
        " CROSS JOIN messages WHERE message_id > low AND message_id < high",
        tuple(edge for begin in times for edge in (begin, begin + ".")),
    )
    wanted = set(documents)
    return [row.message_id for row in rows if document_of(row.message_id) in wanted]


# -- parties -------------------------------------------------------------------------------------


def _with_parties(connection: Connection, query: SearchQuery) -> list[str]:
    """Find the newest texts of the conversations with a party."""
    part = ""
    if _NUMBER.fullmatch(query.words):
        part = "".join(letter for letter in query.words if letter.isdigit())
    if len(part) < _FEWEST_DIGITS:
        part = ""
    if not (part or query.parties):
        return []
    viewer = query.viewer
    names = names_with(connection, query.parties, part)
    conditions: list[ColumnElement[bool]] = []
    if names is not None:
        conditions.append(_c.conversation.in_(padded(names or [""])))
    else:
        matches: list[ColumnElement[bool]] = []
        if query.parties:
            matches.append(_c.parties.in_(padded(query.parties)))
        if part:
            matches.append(_c.parties.contains(part, autoescape=True))
        conditions.append(or_(*matches))
    if query.conversation:
        conditions.append(_c.conversation == query.conversation)
    elif names is None:
        conditions.append(_c.line == query.line if query.line else _c.line.in_(viewer.places))
    before = query.before_id or _LAST
    statement = (
        select(_c.conversation, _c.line, _c.parties, _c.last_message_id)
        .where(*conditions)
        .order_by(_c.last_message_id.desc())
        .limit(_MOST_CONVERSATIONS)
    )
    newest: list[str] = []  # smallest first
    for row in connection.execute(statement).all():
        if len(newest) == query.limit and row.last_message_id < newest[0]:
            break  # none that follows has a newer one
        if query.line not in ("", row.line) or not may_see(viewer, row.line, row.parties):
            continue
        for message_id in connection.execute(
            select(_m.message_id)
            .where(
                _m.conversation == row.conversation,
                _m.message_id < before,
                not_hidden(viewer.person),
            )
            .order_by(_m.message_id.desc())
            .limit(query.limit)
        ).scalars():
            if len(newest) < query.limit:
                heapq.heappush(newest, message_id)
            elif message_id > newest[0]:
                heapq.heapreplace(newest, message_id)
            else:
                break
    return newest
