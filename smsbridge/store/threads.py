"""
Conversations as their viewers see them: reads that follow the indexes, and what viewers change.

A list is read line by line, each newest first, and put together here: no database finds the newest
fifty of several lines by an index in one statement.  What a person hid is left out in SQL.  Bounds
keep a read short however long the history is: unread texts are counted among the newest of a
conversation, and conversations with unread texts among the newest of a line.
"""

from __future__ import annotations

import heapq
from collections.abc import Iterable, Iterator, Sequence
from typing import Any, Final, TypeVar

from attrs import AttrsInstance, asdict, evolve, frozen
from sqlalchemy import (
    ColumnElement,
    Connection,
    Select,
    and_,
    bindparam,
    delete,
    exists,
    func,
    insert,
    literal,
    or_,
    select,
    union_all,
    update,
)
from twisted.internet.defer import Deferred

from smsbridge.core.entries import MessageQuery
from smsbridge.core.message import Direction, storable
from smsbridge.core.records import MessageRecord
from smsbridge.core.threads import (
    MOST_UNREAD,
    ConversationChange,
    ConversationQuery,
    ConversationRecord,
    SearchQuery,
    ThreadPage,
    ThreadQuery,
    Viewer,
)
from smsbridge.store.history import first_id_at, messages_txn
from smsbridge.store.rows import padded
from smsbridge.store.schema import (
    conversation_parties,
    conversation_states,
    conversations,
    deliveries,
    delivery_events,
    hidden_messages,
    messages,
)
from smsbridge.store.search import search_txn
from smsbridge.store.service import MessageStore
from smsbridge.store.sight import may_see, names_with, not_hidden, parties_in

__all__ = [
    "StoredThreads",
    "changed_since_txn",
    "conversations_txn",
    "seen_by_txn",
    "thread_txn",
    "unread_txn",
]

_DAY_MS: Final = 86_400_000
_LAST: Final = "g"  # above every id: they are hexadecimal
_LOOKED_AT: Final = 300  # newest texts of a conversation among which unread ones are counted
_LISTED: Final = 2000  # newest conversations of the lines among which unread ones are counted
_AT_ONCE: Final = 16  # conversations or lines that one statement asks for
_CHANGED_WITHIN_MS: Final = 7 * _DAY_MS  # age of texts whose finished deliveries are looked at
_EVENTS_LOOKED_AT: Final = 20_000

_c = conversations.c
_m = messages.c
_d = deliveries.c
_p = conversation_parties.c
_s = conversation_states.c
_h = hidden_messages.c

_person = bindparam("person", type_=_s.person.type)

_with_state = select(
    _c.conversation,
    _c.line,
    _c.parties,
    _c.last_message_id,
    _c.last_in_id,
    func.coalesce(_s.read_id, "").label("read_id"),
    func.coalesce(_s.hidden_id, "").label("hidden_id"),
    func.coalesce(_s.archived_id, "").label("archived_id"),
    func.coalesce(_s.tail_id, "").label("tail_id"),
    func.coalesce(_s.shown_id, "").label("shown_id"),
    _s.muted,
    func.coalesce(_s.draft, "").label("draft"),
)
_all = conversations.outerjoin(
    conversation_states, and_(_s.conversation == _c.conversation, _s.person == _person)
)
_by_name = _with_state.select_from(_all).where(
    _c.conversation.in_(bindparam("names", expanding=True))
)
_one = _with_state.select_from(_all).where(_c.conversation == bindparam("name"))

# A conversation's place is that of its newest text; where the viewer hid that one by itself, the
# conversation is found by its state.
_in_place = and_(
    _c.last_message_id < bindparam("before"),
    or_(
        _s.person.is_(None),
        and_(_s.hidden_id < _c.last_message_id, _s.tail_id != _c.last_message_id),
    ),
)
_of_line = (
    _with_state.select_from(_all)
    .where(_c.line == bindparam("line"), _in_place)
    .order_by(_c.last_message_id.desc())
    .limit(bindparam("most"))
)
_between_persons = (
    _with_state.select_from(
        conversation_parties.join(conversations, _c.conversation == _p.conversation).outerjoin(
            conversation_states, and_(_s.conversation == _c.conversation, _s.person == _person)
        )
    )
    .where(_p.party == _person, _c.line == "", _in_place)
    .order_by(_c.last_message_id.desc())
    .limit(bindparam("most"))
)
_out_of_place = _with_state.select_from(
    conversation_states.join(conversations, _c.conversation == _s.conversation)
).where(
    _s.person == _person,
    _s.tail_id != "",
    _s.tail_id == _c.last_message_id,
    _s.shown_id != "",
    _s.shown_id < bindparam("before"),
)
# Archiving notes the newest text, so the order of the index is the order of the list.
_archived = (
    _with_state.select_from(
        conversation_states.join(conversations, _c.conversation == _s.conversation)
    )
    .where(
        _s.person == _person,
        _s.archived_id != "",
        _s.archived_id < bindparam("below"),
        _s.archived_id >= _c.last_message_id,
    )
    .order_by(_s.archived_id.desc())
    .limit(bindparam("most"))
)
_not_archived = or_(_s.person.is_(None), _s.archived_id < _c.last_message_id)
_maybe_unread = and_(
    _c.last_in_id > func.coalesce(_s.read_id, ""), _c.last_in_id > func.coalesce(_s.hidden_id, "")
)

#: The newest conversation of each of several lines.
_newest_of_lines = union_all(
    *(
        select(
            literal(number).label("number"),
            select(_c.last_message_id)
            .where(_c.line == bindparam(f"line{number}"), _c.last_message_id < bindparam("before"))
            .order_by(_c.last_message_id.desc())
            .limit(1)
            .scalar_subquery()
            .label("newest"),
        )
        for number in range(_AT_ONCE)
    )
)


def _unread_of(number: int) -> Select[int, int]:
    newest = (
        select(_m.message_id, _m.direction, _m.author)
        .where(
            _m.conversation == bindparam(f"name{number}"),
            _m.message_id > bindparam(f"after{number}"),
        )
        .order_by(_m.message_id.desc())
        .limit(_LOOKED_AT)
        .subquery()
    )
    found = (
        select(newest.c.message_id)
        .where(
            or_(
                newest.c.direction == Direction.IN,
                and_(newest.c.direction == Direction.INTERNAL, newest.c.author != _person),
            ),
            ~exists().where(_h.person == _person, _h.message_id == newest.c.message_id),
        )
        .limit(bindparam("most"))
        .subquery()
    )
    return select(literal(number).label("number"), func.count().label("unread")).select_from(found)


_unread = union_all(*(_unread_of(number) for number in range(_AT_ONCE)))


# -- the list of conversations -------------------------------------------------------------------


def conversations_txn(connection: Connection, query: ConversationQuery) -> list[ConversationRecord]:
    """List conversations, newest first."""
    viewer = query.viewer
    before = query.before_id or _LAST
    if query.conversations:
        rows = _named(connection, viewer, query.conversations)
    elif query.parties or query.part:
        rows = _with_party(connection, query)
    elif query.folder == "blocked":
        names = names_with(connection, tuple(viewer.blocked), "")
        rows = _named(connection, viewer, names or ())
    elif query.folder == "archived":
        rows = _put_away(connection, query)
    else:
        rows = _newest(connection, query)
    unread: dict[str, int] | None = None
    chosen = [
        row
        for row in rows
        if _shown_id(row)
        and _shown_id(row) < before
        and may_see(viewer, row.line, row.parties)
        and (not query.line or row.line == query.line)
        and _belongs(row, query)
    ]
    chosen.sort(key=_shown_id, reverse=True)
    if query.folder == "unread":
        unread = {}
        for start in range(0, len(chosen), _AT_ONCE):
            if len(unread) >= query.limit:
                break
            part = chosen[start : start + _AT_ONCE]
            unread.update(_count_unread(connection, viewer.person, part))
        chosen = [row for row in chosen if row.conversation in unread]
    chosen = chosen[: query.limit]
    if unread is None:
        unread = _count_unread(connection, viewer.person, chosen)
    last = {
        record.message_id: record
        for record in _records(connection, [_shown_id(row) for row in chosen])
    }
    return [
        ConversationRecord(
            conversation=row.conversation,
            line=row.line,
            parties=parties_in(row.parties),
            last=last[_shown_id(row)],
            unread=unread.get(row.conversation, 0),
            read_id=row.read_id,
            archived=row.archived_id >= row.last_message_id,
            muted=bool(row.muted),
            draft=row.draft,
        )
        for row in chosen
        if _shown_id(row) in last
    ]


def _shown_id(row: Any) -> str:
    """Return the newest text that the viewer has not hidden; empty if there is none."""
    if row.hidden_id >= row.last_message_id:
        return ""
    shown: str = row.shown_id if row.tail_id == row.last_message_id else row.last_message_id
    return shown if shown > row.hidden_id else ""


def _belongs(row: Any, query: ConversationQuery) -> bool:
    """Tell whether a conversation is in the folder that is asked for."""
    folder = query.folder
    archived = row.archived_id >= row.last_message_id
    blocked = bool(row.line) and row.parties in query.viewer.blocked
    if folder == "archived":
        return bool(archived)
    if folder == "blocked":
        return blocked
    if folder == "unread":
        seen = max(row.read_id, row.hidden_id)
        return not archived and not blocked and bool(row.last_in_id > seen)
    return bool(folder == "all" or not (archived or blocked))


def _newest(connection: Connection, query: ConversationQuery) -> list[Any]:
    """Read what can be in the first page, in no order."""
    viewer = query.viewer
    conditions: list[ColumnElement[bool]] = []
    limit = query.limit
    if query.folder != "all":
        conditions.append(_not_archived)
        if viewer.blocked:
            conditions.append(_c.parties.not_in(padded(sorted(viewer.blocked))))
    if query.folder == "unread":
        conditions.append(_maybe_unread)
        limit = 2 * limit  # of some the unread ones turn out to be hidden
    return list(_walk(connection, viewer, query.line, query.before_id or _LAST, limit, conditions))


def _walk(
    connection: Connection,
    viewer: Viewer,
    line: str,
    before: str,
    limit: int,
    conditions: Sequence[ColumnElement[bool]],
) -> Iterator[Any]:
    """Read the newest conversations of the lines, and all that have another place than theirs."""
    values: dict[str, Any] = {"person": viewer.person, "before": before, "most": limit}
    yield from connection.execute(_out_of_place, values)
    if not line and "" in viewer.places:
        yield from connection.execute(_between_persons.where(*conditions), values)
    lines = tuple(each for each in viewer.lines if each == line) if line else viewer.lines
    best: list[str] = []  # the newest so far, smallest first
    statement = _of_line.where(*conditions)
    for each, newest in _lines_by_newest(connection, lines, before):
        if len(best) == limit and newest < best[0]:
            return  # no line that follows has a newer one
        for row in connection.execute(statement, {**values, "line": each}):
            yield row
            if len(best) < limit:
                heapq.heappush(best, row.last_message_id)
            elif row.last_message_id > best[0]:
                heapq.heapreplace(best, row.last_message_id)
            else:
                break


def _lines_by_newest(
    connection: Connection, lines: Sequence[str], before: str
) -> list[tuple[str, str]]:
    """Order lines by their newest conversation; those without any are left out."""
    if len(lines) == 1:
        return [(lines[0], _LAST)]
    found: list[tuple[str, str]] = []
    for start in range(0, len(lines), _AT_ONCE):
        part = lines[start : start + _AT_ONCE]
        values = {f"line{n}": part[n] if n < len(part) else "" for n in range(_AT_ONCE)}
        for row in connection.execute(_newest_of_lines, {**values, "before": before}):
            if row.newest is not None and row.number < len(part):
                found.append((part[row.number], row.newest))
    found.sort(key=lambda pair: pair[1], reverse=True)
    return found


def _put_away(connection: Connection, query: ConversationQuery) -> list[Any]:
    """Read archived conversations until there are enough."""
    rows: list[Any] = []
    viewer = query.viewer
    lines = [line for line in viewer.places if query.line in ("", line)]
    if not lines:
        return rows
    statement = _archived.where(_c.line.in_(padded(lines)))
    below = query.before_id or _LAST
    most = max(query.limit, 50)
    while len(rows) < query.limit:
        values = {"person": viewer.person, "below": below, "most": most}
        page = connection.execute(statement, values).all()
        rows.extend(
            row for row in page if may_see(viewer, row.line, row.parties) and _shown_id(row)
        )
        if len(page) < most:
            break
        below = page[-1].archived_id
    return rows


def _named(connection: Connection, viewer: Viewer, names: Sequence[str]) -> list[Any]:
    rows: list[Any] = []
    unique = list(dict.fromkeys(names))
    for start in range(0, len(unique), 500):
        values = {"person": viewer.person, "names": padded(unique[start : start + 500])}
        rows.extend(connection.execute(_by_name, values))
    return rows


def _with_party(connection: Connection, query: ConversationQuery) -> list[Any]:
    names = names_with(connection, query.parties, query.part)
    if names is not None:
        return _named(connection, query.viewer, names)
    # Too many for reading each: look through the newest of the viewer's lines.
    found: list[ColumnElement[bool]] = []
    if query.parties:
        found.append(_c.parties.in_(padded(query.parties)))
    if query.part:
        found.append(_c.parties.contains(query.part, autoescape=True))
    conditions: list[ColumnElement[bool]] = [or_(*found)]
    return list(
        _walk(
            connection,
            query.viewer,
            query.line,
            query.before_id or _LAST,
            query.limit,
            conditions,
        )
    )


def _count_unread(
    connection: Connection, person: str, rows: Sequence[Any], most: int = MOST_UNREAD
) -> dict[str, int]:
    """Count the unread texts of conversations, up to `most`; those without are left out."""
    after = {
        row.conversation: max(row.read_id, row.hidden_id)
        for row in rows
        if row.last_in_id > max(row.read_id, row.hidden_id)
    }
    names = list(after)
    found: dict[str, int] = {}
    for start in range(0, len(names), _AT_ONCE):
        part = names[start : start + _AT_ONCE]
        values: dict[str, Any] = {"person": person, "most": most}
        for number in range(_AT_ONCE):
            name = part[number] if number < len(part) else ""
            values[f"name{number}"] = name
            values[f"after{number}"] = after.get(name, _LAST)
        for row in connection.execute(_unread, values):
            if row.unread:
                found[part[row.number]] = row.unread
    return found


def unread_txn(connection: Connection, viewer: Viewer) -> int:
    """Count the conversations with unread texts, up to `MOST_UNREAD`."""
    lines = viewer.places
    each = max(MOST_UNREAD, _LISTED // max(1, len(lines)))
    values = {"person": viewer.person, "before": _LAST, "most": each}
    rows: list[Any] = []
    for line in lines:
        # The newest of the line are taken first and sifted then: when nothing is unread, the whole
        # line would be looked through otherwise.
        newest = _between_persons if not line else _of_line
        every = newest.subquery()
        found = connection.execute(
            select(every)
            .where(
                every.c.last_in_id > every.c.read_id,
                every.c.last_in_id > every.c.hidden_id,
                every.c.archived_id < every.c.last_message_id,
                func.coalesce(every.c.muted, False).is_(False),
            )
            .limit(MOST_UNREAD + len(viewer.blocked)),
            {**values, "line": line},
        )
        rows.extend(row for row in found if not line or row.parties not in viewer.blocked)
        if len(rows) >= 2 * MOST_UNREAD:
            break
    rows.extend(
        row
        for row in connection.execute(_out_of_place, values)
        if may_see(viewer, row.line, row.parties)
        and row.last_in_id > max(row.read_id, row.hidden_id)
        and row.archived_id < row.last_message_id
        and not row.muted
        and not (row.line and row.parties in viewer.blocked)
    )
    return min(MOST_UNREAD, len(_count_unread(connection, viewer.person, rows, 1)))


# -- texts ---------------------------------------------------------------------------------------


def _records(connection: Connection, message_ids: Iterable[str]) -> list[MessageRecord]:
    """Read messages, oldest first."""
    wanted = tuple(dict.fromkeys(message_ids))
    if not wanted:
        return []
    return messages_txn(connection, MessageQuery(message_ids=tuple(padded(wanted))))


_older = (
    select(_m.message_id)
    .where(
        _m.conversation == bindparam("name"),
        _m.message_id < bindparam("before"),
        _m.message_id > bindparam("after"),
        ~exists().where(_h.person == _person, _h.message_id == _m.message_id),
    )
    .order_by(_m.message_id.desc())
    .limit(bindparam("most"))
)
_newer = _older.order_by(None).order_by(_m.message_id)


def thread_txn(connection: Connection, query: ThreadQuery) -> ThreadPage:
    """Read texts of a conversation, oldest first."""
    viewer = query.viewer
    row = _conversation(connection, viewer, query.conversation)
    if row is None:
        return ThreadPage(messages=(), has_older=False, has_newer=False)
    limit = max(1, query.limit)

    def older(before: str, most: int) -> tuple[list[str], bool]:
        values = {"before": before, "after": row.hidden_id, "most": most + 1}
        found = _ids(connection, _older, viewer, query.conversation, values)
        return found[:most][::-1], len(found) > most

    def newer(after: str, most: int) -> tuple[list[str], bool]:
        values = {"before": _LAST, "after": max(after, row.hidden_id), "most": most + 1}
        found = _ids(connection, _newer, viewer, query.conversation, values)
        return found[:most], len(found) > most

    if query.around_id:
        before, has_older = older(query.around_id + "0", limit - limit // 2)
        after, has_newer = newer(query.around_id, limit // 2)
        ids = before + after
    elif query.after_id:
        ids, has_newer = newer(query.after_id, limit)
        has_older = bool(older(ids[0] if ids else query.after_id + "0", 1)[0])
    else:
        ids, has_older = older(query.before_id or _LAST, limit)
        has_newer = bool(query.before_id) and bool(newer(ids[-1] if ids else query.before_id, 1)[0])
    return ThreadPage(
        messages=tuple(_records(connection, ids)), has_older=has_older, has_newer=has_newer
    )


def _ids(
    connection: Connection, statement: Any, viewer: Viewer, name: str, values: dict[str, Any]
) -> list[str]:
    return list(
        connection.execute(statement, {"person": viewer.person, "name": name, **values}).scalars()
    )


def _conversation(connection: Connection, viewer: Viewer, name: str) -> Any | None:
    """Read a conversation with the viewer's state of it; None if the viewer may not see it."""
    row = connection.execute(_one, {"person": viewer.person, "name": name}).first()
    if row is None or not may_see(viewer, row.line, row.parties):
        return None
    return row


def seen_by_txn(
    connection: Connection, viewer: Viewer, message_ids: Sequence[str]
) -> list[MessageRecord]:
    """Read those of the messages that the viewer may see, oldest first."""
    return _records(connection, _visible(connection, viewer, message_ids))


_for_visibility = select(
    _m.message_id, _m.line, _m.conversation, _m.author, _m.recipients, _m.sender
).where(_m.message_id.in_(bindparam("ids", expanding=True)))


def _visible(
    connection: Connection, viewer: Viewer, message_ids: Sequence[str], hidden: bool = False
) -> dict[str, str]:
    """
    Name the conversation of each of the messages that the viewer may see.

    :param hidden: those that the viewer hid, too.
    """
    found: dict[str, str] = {}
    unique = list(dict.fromkeys(message_ids))
    for start in range(0, len(unique), 500):
        statement = _for_visibility if hidden else _for_visibility.where(not_hidden(_person))
        values = {"person": viewer.person, "ids": padded(unique[start : start + 500])}
        for row in connection.execute(statement, values):
            if row.line in viewer.lines or (
                not row.line and viewer.takes_part((row.author, *row.recipients.split("\n")))
            ):
                found[row.message_id] = row.conversation
    return found


def changed_since_txn(
    connection: Connection, since_ms: int, after_id: str, limit: int
) -> list[MessageRecord]:
    """Read messages that were made or changed since a time, oldest first."""
    made = first_id_at(since_ms)
    ids: set[str] = set(
        connection.execute(
            select(_m.message_id)
            .where(_m.message_id >= made, _m.message_id > after_id)
            .order_by(_m.message_id)
            .limit(limit)
        ).scalars()
    )
    touched = or_(
        _d.sending_at_ms >= since_ms, _d.sent_at_ms >= since_ms, _d.finished_at_ms >= since_ms
    )
    for changed in (
        and_(
            _d.message_id >= first_id_at(since_ms - _CHANGED_WITHIN_MS),
            _d.message_id < made,
            touched,
        ),
        and_(_d.due_at_ms.is_not(None), _d.message_id.is_not(None), touched),
        _d.delivery_id.in_(
            select(delivery_events.c.delivery_id).where(
                delivery_events.c.event_id
                > select(
                    func.coalesce(func.max(delivery_events.c.event_id), 0) - _EVENTS_LOOKED_AT
                ).scalar_subquery(),
                delivery_events.c.at_ms >= since_ms,
            )
        ),
    ):
        ids.update(
            connection.execute(
                select(_d.message_id)
                .where(changed, _d.message_id > after_id)
                .order_by(_d.message_id)
                .distinct()
                .limit(limit)
            ).scalars()
        )
    return _records(connection, sorted(ids)[:limit])


# -- what viewers change -------------------------------------------------------------------------


@frozen
class _Wish:
    viewer: Viewer
    conversation: str
    change: ConversationChange
    now_ms: int


@frozen
class _Single:
    viewer: Viewer
    message_ids: tuple[str, ...]
    now_ms: int | None  # None shows them again


@frozen
class _Whole:
    viewer: Viewer
    conversation: str
    now_ms: int
    undo: str | None = None  # what `hide_conversation` gave; None hides


def _write_state(
    connection: Connection, person: str, name: str, now_ms: int, values: dict[str, Any]
) -> None:
    """Update what a person did with a conversation; the row is made if need be."""
    if not values:
        return
    values = {**values, "changed_at_ms": now_ms}
    known = connection.execute(
        update(conversation_states)
        .where(_s.person == person, _s.conversation == name)
        .values(**values)
    ).rowcount
    if known == 0:
        nothing: dict[str, Any] = dict.fromkeys(
            ("read_id", "hidden_id", "archived_id", "tail_id", "shown_id", "draft"), ""
        )
        connection.execute(
            insert(conversation_states).values(
                **{"person": person, "conversation": name, "muted": False, **nothing, **values}
            )
        )


def _place(connection: Connection, viewer: Viewer, name: str, now_ms: int) -> None:
    """Note which text of a conversation is the newest that the viewer sees."""
    row = connection.execute(_one, {"person": viewer.person, "name": name}).first()
    if row is None:
        return
    values = {"before": _LAST, "after": row.hidden_id, "most": 1}
    newest = _ids(connection, _older, viewer, name, values)
    if newest == [row.last_message_id]:
        if row.tail_id:
            _write_state(connection, viewer.person, name, now_ms, {"tail_id": "", "shown_id": ""})
    else:
        _write_state(
            connection,
            viewer.person,
            name,
            now_ms,
            {"tail_id": row.last_message_id, "shown_id": newest[0] if newest else ""},
        )


class _Change:
    """Items are `_Wish`; results tell whether there is such a conversation for the viewer."""

    rank = 6

    def __call__(
        self, connection: Connection, items: Sequence[_Wish], again: bool
    ) -> Sequence[bool]:
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, wish: _Wish) -> bool:
        row = _conversation(connection, wish.viewer, wish.conversation)
        if row is None:
            return False
        change = wish.change
        values: dict[str, Any] = {}
        if change.read_id is not None:
            values["read_id"] = min(change.read_id, row.last_message_id)
        if change.archived is not None:
            values["archived_id"] = row.last_message_id if change.archived else ""
        if change.muted is not None:
            values["muted"] = change.muted
        if change.draft is not None:
            values["draft"] = change.draft
        _write_state(connection, wish.viewer.person, wish.conversation, wish.now_ms, values)
        return True


class _HideMessages:
    """Items are `_Single`; results count the texts that were hidden or shown by it."""

    rank = 6

    def __call__(
        self, connection: Connection, items: Sequence[_Single], again: bool
    ) -> Sequence[int]:
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, item: _Single) -> int:
        viewer, person = item.viewer, item.viewer.person
        shows = item.now_ms is None
        of = _visible(connection, viewer, item.message_ids, hidden=shows)
        if not of:
            return 0
        ids = list(of)
        if item.now_ms is None:
            count = 0
            for start in range(0, len(ids), 500):
                count += connection.execute(
                    delete(hidden_messages).where(
                        _h.person == person, _h.message_id.in_(padded(ids[start : start + 500]))
                    )
                ).rowcount
        else:
            count = len(ids)
            connection.execute(
                insert(hidden_messages),
                [
                    {"person": person, "message_id": message_id, "hidden_at_ms": item.now_ms}
                    for message_id in ids
                ],
            )
        for name in dict.fromkeys(of.values()):
            _place(connection, viewer, name, item.now_ms or 0)
        return count


class _HideConversation:
    """Items are `_Whole`; results are what undoes it, or whether it was undone."""

    rank = 6

    def __call__(
        self, connection: Connection, items: Sequence[_Whole], again: bool
    ) -> Sequence[str | bool]:
        return [
            self._hide(connection, item)
            if item.undo is None
            else self._show(connection, item, item.undo)
            for item in items
        ]

    def _hide(self, connection: Connection, item: _Whole) -> str:
        row = _conversation(connection, item.viewer, item.conversation)
        if row is None or not _shown_id(row):
            return ""
        _write_state(
            connection,
            item.viewer.person,
            item.conversation,
            item.now_ms,
            {"hidden_id": row.last_message_id},
        )
        return f"{row.last_message_id}/{row.hidden_id}"

    def _show(self, connection: Connection, item: _Whole, undo: str) -> bool:
        row = _conversation(connection, item.viewer, item.conversation)
        hidden, _, before = undo.partition("/")
        if row is None or not hidden or row.hidden_id != hidden or before >= hidden:
            return False
        _write_state(
            connection,
            item.viewer.person,
            item.conversation,
            item.now_ms,
            {"hidden_id": before[:36]},
        )
        _place(connection, item.viewer, item.conversation, item.now_ms)
        return True


_Q = TypeVar("_Q", bound=AttrsInstance)


def _storable(query: _Q) -> _Q:
    """Replace what no database takes (NUL, lone surrogates) in what came from outside."""
    changed: dict[str, Any] = {}
    made: Any = query
    for name, value in asdict(query, recurse=False).items():
        if isinstance(value, str):
            kept: Any = storable(value)
        elif isinstance(value, tuple):
            kept = tuple(map(storable, value))
        else:
            continue
        if kept != value:
            changed[name] = kept
    return evolve(made, **changed) if changed else query


class StoredThreads:
    """
    See `core.threads.Threads`.

    :param store: where the conversations are.
    """

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._change = _Change()
        self._hide_messages = _HideMessages()
        self._hide_conversation = _HideConversation()

    def conversations(self, query: ConversationQuery) -> Deferred[list[ConversationRecord]]:
        """List conversations; see `ConversationQuery`."""
        return self._store.read(conversations_txn, _storable(query))

    def thread(self, query: ThreadQuery) -> Deferred[ThreadPage]:
        """Read texts of one conversation; empty if it is not the viewer's."""
        return self._store.read(thread_txn, _storable(query))

    def search(self, query: SearchQuery) -> Deferred[list[MessageRecord]]:
        """Find texts, newest first."""
        return self._store.read(search_txn, _storable(query))

    def seen_by(self, viewer: Viewer, message_ids: Sequence[str]) -> Deferred[list[MessageRecord]]:
        """Read those of the messages that the viewer may see and has not hidden, oldest first."""
        return self._store.read(seen_by_txn, viewer, tuple(map(storable, message_ids)))

    def change(
        self, viewer: Viewer, conversation: str, change: ConversationChange, now_ms: int
    ) -> Deferred[bool]:
        """Record what the viewer does; False if there is no such conversation for the viewer."""
        return self._store.write(
            self._change, _Wish(viewer, storable(conversation), _storable(change), now_ms)
        )

    def hide_messages(
        self, viewer: Viewer, message_ids: Sequence[str], now_ms: int
    ) -> Deferred[int]:
        """Hide texts from this viewer; fires with how many were there to be hidden."""
        return self._store.write(
            self._hide_messages, _Single(viewer, tuple(map(storable, message_ids)), now_ms)
        )

    def show_messages(self, viewer: Viewer, message_ids: Sequence[str]) -> Deferred[int]:
        """Undo `hide_messages`."""
        return self._store.write(
            self._hide_messages, _Single(viewer, tuple(map(storable, message_ids)), None)
        )

    def hide_conversation(self, viewer: Viewer, conversation: str, now_ms: int) -> Deferred[str]:
        """Hide all texts that a conversation has now from this viewer."""
        return self._store.write(
            self._hide_conversation, _Whole(viewer, storable(conversation), now_ms)
        )

    def show_conversation(self, viewer: Viewer, conversation: str, undo: str) -> Deferred[bool]:
        """Undo `hide_conversation`."""
        return self._store.write(
            self._hide_conversation, _Whole(viewer, storable(conversation), 0, storable(undo))
        )

    def unread(self, viewer: Viewer) -> Deferred[int]:
        """Count the conversations with unread texts, the muted ones left out, up to a bound."""
        return self._store.read(unread_txn, viewer)

    def changed_since(
        self, since_ms: int, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """Read messages that were made or changed since a time, oldest first."""
        return self._store.read(changed_since_txn, since_ms, after_id, limit)
