"""
Commits what came in: a message with its deliveries and the key by which a repeat is recognized.
"""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import Connection, Dialect, bindparam, delete, select, update

from smsbridge.core.entries import Entry, NewMessage
from smsbridge.core.message import Accepted, Delivery, Direction, Kind, Status
from smsbridge.store import schema
from smsbridge.store.bulk import BulkInsert, Prepared
from smsbridge.store.index import WordRows
from smsbridge.store.rows import padded
from smsbridge.store.talks import ConversationRows

__all__ = ["Accept", "DeliveryRows", "is_known_txn"]

_KEY_LENGTH: Final = 190

_find_repeats = Prepared(
    lambda keys: select(
        schema.dedup.c.gateway,
        schema.dedup.c.dedup_key,
        schema.dedup.c.message_id,
        schema.dedup.c.expires_at_ms,
    ).where(schema.dedup.c.dedup_key.in_(keys))
)

_find_repeat = select(schema.dedup.c.expires_at_ms).where(
    schema.dedup.c.dedup_key == bindparam("key"), schema.dedup.c.gateway == bindparam("of")
)
# Group texts are few: that nearly all messages are none is left to the column's default.
_mark_grouped = Prepared(
    lambda ids: (
        update(schema.messages).where(schema.messages.c.message_id.in_(ids)).values(grouped=True)
    )
)

_forget = delete(schema.dedup).where(
    schema.dedup.c.dedup_key == bindparam("key"), schema.dedup.c.gateway == bindparam("of")
)

_find_committed = select(schema.messages.c.message_id).where(
    schema.messages.c.message_id.in_(bindparam("ids", expanding=True))
)
_find_committed_deliveries = select(schema.deliveries.c.delivery_id).where(
    schema.deliveries.c.delivery_id.in_(bindparam("ids", expanding=True))
)


class DeliveryRows:
    """Inserts deliveries."""

    _COLUMNS: Final = (
        "delivery_id",
        "message_id",
        "kind",
        "gateway",
        "lane",
        "line",
        "person",
        "destination",
        "order_key",
        "status",
        "attempts",
        "due_at_ms",
        "expires_at_ms",
        "created_at_ms",
        "sending_at_ms",
        "owner",
        "reason",
        "detail",
        "note",
        "ref",
        "reported",
        "told",
    )

    def __init__(self, dialect: Dialect, node: str) -> None:
        self._node = node
        self._insert = BulkInsert(schema.deliveries, self._COLUMNS, dialect)

    def row(
        self, delivery: Delivery, now_ms: int, due_at_ms: int, lease_until_ms: int
    ) -> tuple[Any, ...]:
        """Make the row of a delivery that is new: queued, or born `sending`."""
        claimed = delivery.status is Status.SENDING
        own_text = delivery.kind is not Kind.MESSAGE
        return (
            delivery.delivery_id,
            delivery.message_id or None,
            delivery.kind,
            delivery.gateway,
            delivery.lane,
            delivery.line,
            delivery.person,
            delivery.destination,
            delivery.order_key,
            delivery.status,
            delivery.attempts,
            lease_until_ms if claimed else due_at_ms,
            delivery.expires_at_ms,
            delivery.created_at_ms,
            now_ms if claimed else None,
            self._node if claimed else None,
            delivery.reason,
            "",
            delivery.body if own_text else None,
            delivery.ref or None,
            delivery.reported or None,
            False,
        )

    def insert(self, connection: Connection, rows: Sequence[tuple[Any, ...]]) -> None:
        """Insert rows made by `row`."""
        if rows:
            self._insert.run(connection, rows)


class Accept:
    """The operation behind ``IMessageStore.accept``; items are `Entry`, results `Accepted`."""

    rank = 0

    def __init__(self, dialect: Dialect, deliveries: DeliveryRows) -> None:
        self._deliveries = deliveries
        self._conversations = ConversationRows(dialect)
        self._words = WordRows(dialect)
        self._messages = BulkInsert(
            schema.messages,
            (
                "message_id",
                "direction",
                "line",
                "sender",
                "recipients",
                "author",
                "body",
                "conversation",
                "segments",
                "created_at_ms",
                "sent_at_ms",
                "origin_gateway",
                "origin_lane",
                "origin_address",
                "origin_ref",
                "wants_report",
            ),
            dialect,
        )
        self._media = BulkInsert(
            schema.media,
            ("message_id", "position", "url", "content_type", "size", "name", "digest"),
            dialect,
        )
        self._dedup = BulkInsert(
            schema.dedup, ("dedup_key", "gateway", "message_id", "expires_at_ms"), dialect
        )
        self._ussd = BulkInsert(schema.ussd_log, ("line", "at_ms", "body"), dialect)

    def __call__(
        self, connection: Connection, entries: Sequence[Entry], again: bool
    ) -> Sequence[Accepted]:
        """Commit the entries that are no repeats."""
        repeats = self._repeats(connection, entries)
        committed = self._committed(connection, entries) if again else set()
        results: list[Accepted] = []
        messages: list[tuple[Any, ...]] = []
        media: list[tuple[Any, ...]] = []
        deliveries: list[tuple[Any, ...]] = []
        dedup: list[tuple[Any, ...]] = []
        ussd: list[tuple[Any, ...]] = []
        grouped: list[str] = []
        fresh: list[NewMessage] = []
        newest: dict[str, NewMessage] = {}  # by conversation
        newest_in: dict[str, str] = {}
        for entry in entries:
            entry_id = entry.entry_id
            if entry.dedup_key:
                key = (_short(entry.dedup_key), entry.gateway)
                first = repeats.get(key)
                if first is not None:
                    results.append(Accepted(message_id=first, duplicate=first != entry_id))
                    continue
                repeats[key] = entry_id
                dedup.append((*key, entry_id, entry.dedup_until_ms))
            results.append(Accepted(message_id=entry_id, entry=entry))
            if entry_id in committed:
                continue
            now_ms = entry.now_ms
            message = entry.message
            if message is not None:
                origin = message.origin
                fresh.append(message)
                conversation = message.conversation
                before = newest.get(conversation)
                if before is None or before.message_id < message.message_id:
                    newest[conversation] = message
                    if message.direction != Direction.OUT:
                        newest_in[conversation] = message.message_id
                messages.append(
                    (
                        message.message_id,
                        message.direction,
                        message.line,
                        message.sender,
                        "\n".join(message.recipients),
                        message.author,
                        message.body,
                        conversation,
                        message.segments,
                        message.created_at_ms,
                        message.sent_at_ms,
                        origin and origin.gateway,
                        origin and message.origin_lane,
                        origin and origin.address,
                        origin and origin.ref,
                        origin is not None and origin.wants_report,
                    )
                )
                if message.grouped:
                    grouped.append(message.message_id)
                for position, medium in enumerate(message.media):
                    media.append(
                        (
                            message.message_id,
                            position,
                            medium.url,
                            medium.content_type,
                            medium.size,
                            medium.name,
                            medium.digest or None,
                        )
                    )
            for delivery in entry.deliveries:
                deliveries.append(
                    self._deliveries.row(delivery, now_ms, entry.due_at_ms, entry.lease_until_ms)
                )
            if entry.ussd_line:
                ussd.append((entry.ussd_line, now_ms, entry.ussd_body))
        for insert, rows in (
            (self._messages.run, messages),
            (self._media.run, media),
            (self._deliveries.insert, deliveries),
            (self._dedup.run, dedup),
            (self._ussd.run, ussd),
        ):
            if rows:
                insert(connection, rows)
        if grouped:
            _mark_grouped.run(connection, grouped)
        if fresh:
            self._words.insert(connection, fresh)
            self._conversations.upsert(connection, newest, newest_in)
        return results

    def _repeats(
        self, connection: Connection, entries: Sequence[Entry]
    ) -> dict[tuple[str, str], str]:
        """Find the keys that are known and still alive; forget those that are not."""
        now_of = {_short(entry.dedup_key): entry.now_ms for entry in entries if entry.dedup_key}
        if not now_of:
            return {}
        known: dict[tuple[str, str], str] = {}
        for row in _find_repeats.run(connection, list(now_of)).all():
            if row.expires_at_ms > now_of[row.dedup_key]:
                known[row.dedup_key, row.gateway] = row.message_id
            else:
                connection.execute(_forget, {"key": row.dedup_key, "of": row.gateway})
        return known

    def _committed(self, connection: Connection, entries: Sequence[Entry]) -> set[str]:
        """
        Find what an earlier commit of the same entries, broken off before its answer, has stored.
        """
        messages = [entry.entry_id for entry in entries if entry.message is not None]
        notices = [
            e.deliveries[0].delivery_id for e in entries if e.message is None and e.deliveries
        ]
        found: set[str] = set()
        if messages:
            found.update(connection.execute(_find_committed, {"ids": padded(messages)}).scalars())
        if notices:
            rows = connection.execute(
                _find_committed_deliveries, {"ids": padded(notices)}
            ).scalars()
            found.update(delivery_id.partition(".")[0] for delivery_id in rows)
        return found


def is_known_txn(connection: Connection, gateway: str, dedup_key: str, now_ms: int) -> bool:
    """Tell whether an entry with that key would be a repeat."""
    row = connection.execute(_find_repeat, {"key": _short(dedup_key), "of": gateway}).first()
    return row is not None and row.expires_at_ms > now_ms


def _short(key: str) -> str:
    """Return a key that fits the column; a longer one is replaced by its digest."""
    if len(key) <= _KEY_LENGTH:
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()
