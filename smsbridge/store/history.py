"""
Reads for people and programs: lists of messages, one message's trace, the queue, calls and facts.
"""

from __future__ import annotations

import uuid
from collections import defaultdict
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, bindparam, exists, func, or_, select

from smsbridge.core.entries import MessageQuery, QueueQuery
from smsbridge.core.message import Direction, Kind, Status
from smsbridge.core.records import CallRecord, DeliveryRecord, MessageRecord, QueueDepth, Transition
from smsbridge.store.rows import media_of, padded
from smsbridge.store.schema import (
    bindings,
    calls,
    conversation_parties,
    deliveries,
    delivery_events,
    line_facts,
    messages,
)

__all__ = [
    "bindings_txn",
    "calls_txn",
    "depths_txn",
    "facts_txn",
    "first_id_at",
    "messages_txn",
    "queue_txn",
    "sent_since_txn",
    "trace_txn",
]

_MOST_NAMES: Final = 200  # conversations that are read one by one

_c = deliveries.c
_m = messages.c

_with_number = select(conversation_parties.c.conversation).where(
    conversation_parties.c.party == bindparam("number")
)
_of_messages = (
    select(deliveries)
    .where(_c.message_id.in_(bindparam("ids", expanding=True)), _c.kind == Kind.MESSAGE)
    .order_by(_c.message_id, _c.delivery_id)
)
_all_of_message = (
    select(deliveries)
    .where(_c.message_id == bindparam("of"))
    .order_by(_c.created_at_ms, _c.delivery_id)
)
_events_of = (
    select(delivery_events)
    .where(delivery_events.c.delivery_id.in_(bindparam("ids", expanding=True)))
    .order_by(delivery_events.c.event_id)
)


def first_id_at(at_ms: int) -> str:
    """Return the smallest id that a message of this time can have (RFC 9562 section 5.7)."""
    return str(uuid.UUID(int=(max(at_ms, 0) & 0xFFFF_FFFF_FFFF) << 80 | 0x7000 << 64))


def messages_txn(connection: Connection, query: MessageQuery) -> list[MessageRecord]:
    """List messages with their deliveries, oldest first."""
    conditions: list[ColumnElement[bool]] = []
    of_line = _m.line == query.line
    if query.line:
        conditions.append(of_line)
    if query.person:
        conditions.append(
            or_(
                _m.author == query.person,
                exists().where(_c.message_id == _m.message_id, _c.person == query.person),
            )
        )
    if query.message_ids:
        conditions.append(_m.message_id.in_(query.message_ids))
    if query.since_ms is not None:
        conditions.append(_m.message_id >= first_id_at(query.since_ms))
    if query.after_id:
        conditions.append(_m.message_id > query.after_id)
    order = _m.message_id if query.after_id else _m.message_id.desc()
    if query.number:
        names = list(connection.execute(_with_number, {"number": query.number}).scalars())
        if query.line:
            names = [name for name in names if name.startswith(f"{query.line}|")]
        if query.limit is None or len(names) > _MOST_NAMES:
            conditions.append(_m.conversation.in_(_with_number))
        else:
            # Each conversation by its index: together they would be read whole, or all messages.
            # The line is in their names; asked for too, its index may be taken instead.
            others = [each for each in conditions if each is not of_line]
            wanted = select(_m.message_id).where(*others).order_by(order).limit(query.limit)
            found: list[str] = []
            for name in names:
                found.extend(connection.execute(wanted.where(_m.conversation == name)).scalars())
            found.sort(reverse=not query.after_id)
            found = found[: query.limit]
            if not found:
                return []
            conditions = [_m.message_id.in_(padded(found))]
    rows = connection.execute(
        select(messages).where(*conditions).order_by(order).limit(query.limit),
        {"number": query.number} if query.number else {},
    ).all()
    if not query.after_id:
        rows = rows[::-1]
    ids = [row.message_id for row in rows]
    if not ids:
        return []
    of_message: dict[str, list[DeliveryRecord]] = defaultdict(list)
    attachments = {}
    for start in range(0, len(ids), 1024):
        part = padded(ids[start : start + 1024])
        for row in connection.execute(_of_messages, {"ids": part}):
            of_message[row.message_id].append(_delivery(row))
        attachments.update(media_of(connection, part))
    return [
        _message(row, tuple(of_message[row.message_id]), attachments.get(row.message_id, ()))
        for row in rows
    ]


def trace_txn(connection: Connection, message_id: str) -> MessageRecord | None:
    """Read one message with deliveries of every kind and their history."""
    row = connection.execute(select(messages).where(_m.message_id == message_id)).first()
    if row is None:
        return None
    rows = connection.execute(_all_of_message, {"of": message_id}).all()
    events: dict[str, list[Any]] = defaultdict(list)
    if rows:
        ids = padded([delivery.delivery_id for delivery in rows])
        for event in connection.execute(_events_of, {"ids": ids}):
            events[event.delivery_id].append(event)
    return _message(
        row,
        tuple(
            _delivery(delivery, _history(delivery, events[delivery.delivery_id]))
            for delivery in rows
        ),
        media_of(connection, [message_id]).get(message_id, ()),
    )


def _message(
    row: Any, records: tuple[DeliveryRecord, ...], attachments: tuple[Any, ...]
) -> MessageRecord:
    return MessageRecord(
        message_id=row.message_id,
        direction=row.direction,
        line=row.line,
        sender=row.sender,
        recipients=tuple(row.recipients.split("\n")) if row.recipients else (),
        author=row.author,
        body=row.body,
        media=attachments,
        conversation=row.conversation,
        created_at_ms=row.created_at_ms,
        sent_at_ms=row.sent_at_ms,
        deliveries=records,
    )


def _delivery(row: Any, history: tuple[Transition, ...] = ()) -> DeliveryRecord:
    return DeliveryRecord(
        delivery_id=row.delivery_id,
        message_id=row.message_id or "",
        kind=row.kind,
        to=row.destination,
        gateway=row.gateway,
        line=row.line,
        person=row.person,
        status=Status(row.status),
        attempts=row.attempts,
        reason=row.reason,
        text=row.detail,
        remote_id=row.remote_id or (row.delivery_id if row.sent_at_ms is not None else ""),
        created_at_ms=row.created_at_ms,
        due_at_ms=row.due_at_ms,
        history=history,
    )


def _history(row: Any, events: Sequence[Any]) -> tuple[Transition, ...]:
    """Put the times kept in the row and the events together, in the order of time."""
    steps = [Transition(at_ms=row.created_at_ms, status=Status.QUEUED)]
    steps.extend(
        Transition(
            at_ms=event.at_ms,
            status=Status(event.status),
            attempt=event.attempt,
            reason=event.reason,
            text=event.detail,
        )
        for event in events
    )
    if row.sending_at_ms is not None:
        steps.append(
            Transition(at_ms=row.sending_at_ms, status=Status.SENDING, attempt=row.attempts)
        )
    if row.sent_at_ms is not None:
        steps.append(Transition(at_ms=row.sent_at_ms, status=Status.SENT, attempt=row.attempts))
    if row.finished_at_ms is not None and not any(e.at_ms == row.finished_at_ms for e in events):
        steps.append(
            Transition(at_ms=row.finished_at_ms, status=Status(row.status), reason=row.reason)
        )
    order = list(Status)
    return tuple(sorted(steps, key=lambda step: (step.at_ms, order.index(step.status))))


def queue_txn(connection: Connection, query: QueueQuery) -> list[DeliveryRecord]:
    """List deliveries by status, oldest first."""
    statement = select(deliveries).where(_c.status.in_(query.statuses))
    if set(query.statuses) <= {Status.QUEUED, Status.SENDING}:
        statement = statement.where(_c.due_at_ms.is_not(None))  # the index of open deliveries
    if query.gateway:
        statement = statement.where(_c.gateway == query.gateway)
    if query.line:
        statement = statement.where(_c.line == query.line)
    if query.delivery_ids:
        statement = statement.where(
            or_(_c.delivery_id.in_(query.delivery_ids), _c.message_id.in_(query.delivery_ids))
        )
    if query.message_id:
        statement = statement.where(_c.message_id == query.message_id)
    if query.destination:
        statement = statement.where(_c.destination == query.destination)
    if query.after_id:
        statement = statement.where(_c.delivery_id > query.after_id)
    rows = connection.execute(statement.order_by(_c.delivery_id).limit(query.limit))
    return [_delivery(row) for row in rows]


def depths_txn(connection: Connection) -> list[QueueDepth]:
    """Count what is open, by gateway and status."""
    rows = connection.execute(
        select(
            _c.gateway,
            _c.status,
            func.count().label("open"),
            func.min(_c.created_at_ms).label("oldest"),
        )
        .where(_c.due_at_ms.is_not(None))
        .group_by(_c.gateway, _c.status)
    )
    return [
        QueueDepth(
            gateway=row.gateway, status=Status(row.status), count=row.open, oldest_at_ms=row.oldest
        )
        for row in rows
    ]


def calls_txn(connection: Connection, line: str, limit: int) -> list[CallRecord]:
    """List calls, newest first."""
    statement = (
        select(calls).order_by(calls.c.started_at_ms.desc(), calls.c.call_id.desc()).limit(limit)
    )
    if line:
        statement = statement.where(calls.c.line == line)
    return [
        CallRecord(
            line=row.line,
            incoming=row.incoming,
            number=row.number,
            started_at_ms=row.started_at_ms,
            duration_s=row.duration_s,
            cause=row.cause,
        )
        for row in connection.execute(statement)
    ]


def facts_txn(connection: Connection) -> dict[str, dict[str, str]]:
    """Read what the devices told about all lines."""
    found: dict[str, dict[str, str]] = defaultdict(dict)
    for row in connection.execute(select(line_facts)):
        found[row.line][row.fact] = row.value
    return dict(found)


def bindings_txn(connection: Connection) -> list[tuple[str, str, str]]:
    """List (kind, address, person) of the addresses that persons added, oldest first."""
    rows = connection.execute(
        select(bindings.c.kind, bindings.c.address, bindings.c.person).order_by(
            bindings.c.bound_at_ms, bindings.c.address
        )
    )
    return [(row.kind, row.address, row.person) for row in rows]


def sent_since_txn(connection: Connection, since_ms: int) -> dict[str, int]:
    """Count the segments accepted for each line since a time, for the daily caps."""
    rows = connection.execute(
        select(_m.line, func.sum(_m.segments).label("segments"))
        .where(_m.message_id >= first_id_at(since_ms), _m.direction == Direction.OUT)
        .group_by(_m.line)
    )
    return {row.line: int(row.segments) for row in rows}
