"""Turns rows of deliveries, joined with their messages, into the core's `Delivery`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from sqlalchemy import Connection, bindparam, select

from smsbridge.core.message import Delivery, Direction, Kind, Media, Status
from smsbridge.store.schema import deliveries, media, messages

__all__ = ["DELIVERY_COLUMNS", "delivery_of", "is_group", "media_of", "padded", "with_message"]

DELIVERY_COLUMNS: Final = (
    deliveries.c.delivery_id,
    deliveries.c.message_id,
    deliveries.c.kind,
    deliveries.c.gateway,
    deliveries.c.lane,
    deliveries.c.line,
    deliveries.c.person,
    deliveries.c.destination,
    deliveries.c.order_key,
    deliveries.c.status,
    deliveries.c.attempts,
    deliveries.c.created_at_ms,
    deliveries.c.expires_at_ms,
    deliveries.c.note,
    deliveries.c.ref,
    deliveries.c.reported,
    deliveries.c.reason,
    deliveries.c.remote_id,
    deliveries.c.due_at_ms,
    deliveries.c.owner,
    messages.c.body,
    messages.c.sender,
    messages.c.author,
    messages.c.recipients,
    messages.c.direction,
    messages.c.grouped,
    messages.c.created_at_ms.label("message_created_at_ms"),
)

#: Deliveries with the message that each concerns.
with_message = select(*DELIVERY_COLUMNS).select_from(
    deliveries.outerjoin(messages, deliveries.c.message_id == messages.c.message_id)
)

_media_of = (
    select(media)
    .where(media.c.message_id.in_(bindparam("ids", expanding=True)))
    .order_by(media.c.message_id, media.c.position)
)


def padded(values: Sequence[str]) -> list[str]:
    """Repeat the last value up to a power of two, so that statements come in few sizes."""
    missing = (1 << (len(values) - 1).bit_length()) - len(values)
    return [*values, *[values[-1]] * missing]


def media_of(connection: Connection, message_ids: Sequence[str]) -> dict[str, tuple[Media, ...]]:
    """Read the attachments of messages."""
    found: dict[str, tuple[Media, ...]] = {}
    if message_ids:
        for row in connection.execute(_media_of, {"ids": padded(message_ids)}):
            medium = Media(
                url=row.url,
                content_type=row.content_type,
                size=row.size,
                name=row.name,
                digest=row.digest or "",
            )
            found[row.message_id] = (*found.get(row.message_id, ()), medium)
    return found


def is_group(row: Any) -> bool:
    """Tell whether a row of `with_message` is part of a group text on a line."""
    return bool(row.grouped and row.kind == Kind.MESSAGE and not row.person)


def delivery_of(
    row: Any, attachments: Mapping[str, tuple[Media, ...]], claimed: bool = False
) -> Delivery:
    """
    Make the value from a row of `with_message`.

    :param claimed: it was claimed after it had been read.
    """
    kind = Kind(row.kind)
    return Delivery(
        delivery_id=row.delivery_id,
        message_id=row.message_id or "",
        kind=kind,
        gateway=row.gateway,
        lane=row.lane,
        line=row.line,
        person=row.person,
        destination=row.destination,
        order_key=row.order_key,
        status=Status.SENDING if claimed else Status(row.status),
        attempts=row.attempts + claimed,
        created_at_ms=row.message_created_at_ms if kind is Kind.MESSAGE else row.created_at_ms,
        expires_at_ms=row.expires_at_ms,
        body=row.body if kind is Kind.MESSAGE else row.note or "",
        sender=row.sender or "",
        author=row.author or "",
        recipients=tuple(row.recipients.split("\n")) if row.recipients else (),
        direction=row.direction or Direction.IN,
        media=attachments.get(row.message_id or "", ()) if kind is Kind.MESSAGE else (),
        ref=row.ref or "",
        reported=row.reported or "",
        reason=row.reason,
        remote_id=row.remote_id or "",
        about=row.body or "" if kind is Kind.REPORT else "",
        group=is_group(row),
    )
