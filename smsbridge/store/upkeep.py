"""The writer's smaller operations: the call log, facts about lines, and forgetting what is old."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from smsbridge.core.message import Call
from smsbridge.store.history import first_id_at
from smsbridge.store.index import forget_words_txn
from smsbridge.store.rows import padded
from smsbridge.store.schema import (
    bindings,
    calls,
    conversation_parties,
    conversation_states,
    conversations,
    dedup,
    deliveries,
    line_facts,
    messages,
    ussd_log,
)
from smsbridge.store.talks import LONGEST_PARTY

__all__ = ["Bind", "Binding", "Facts", "Learn", "LogCalls", "Purge"]

_AT_ONCE: Final = 500  # messages that one purge deletes; keeps its transaction short


class LogCalls:
    """Items are `Call`; results None."""

    rank = 5

    def __call__(
        self, connection: Connection, items: Sequence[Call], again: bool
    ) -> Sequence[None]:
        """Insert the calls, or finish those whose beginning is known already."""
        for call in items:
            known = connection.execute(
                select(calls.c.call_id).where(
                    calls.c.line == call.line, calls.c.started_at_ms == call.started_at_ms
                )
            ).scalar()
            values: dict[str, Any] = {
                "number": call.number,
                "duration_s": call.duration_s,
                "cause": call.cause[:255],
            }
            if known is None:
                connection.execute(
                    insert(calls).values(
                        line=call.line,
                        incoming=call.incoming,
                        started_at_ms=call.started_at_ms,
                        **values,
                    )
                )
            else:
                connection.execute(update(calls).where(calls.c.call_id == known).values(**values))
        return [None] * len(items)


@frozen
class Facts:
    """What a device told about its line."""

    line: str
    facts: Mapping[str, str]
    now_ms: int


class Learn:
    """Items are `Facts`; results None."""

    rank = 5

    def __call__(
        self, connection: Connection, items: Sequence[Facts], again: bool
    ) -> Sequence[None]:
        """Replace the facts."""
        for item in items:
            for fact, value in item.facts.items():
                connection.execute(
                    delete(line_facts).where(
                        line_facts.c.line == item.line, line_facts.c.fact == fact
                    )
                )
                connection.execute(
                    insert(line_facts).values(
                        line=item.line, fact=fact, value=value[:255], changed_at_ms=item.now_ms
                    )
                )
        return [None] * len(items)


@frozen
class Binding:
    """An address that a person adds, or that is taken away (without a person)."""

    kind: str
    address: str
    person: str
    now_ms: int


class Bind:
    """Items are `Binding`; results tell whether anything changed."""

    rank = 5

    def __call__(
        self, connection: Connection, items: Sequence[Binding], again: bool
    ) -> Sequence[bool]:
        """Replace or delete the address."""
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, item: Binding) -> bool:
        gone = connection.execute(
            delete(bindings).where(bindings.c.kind == item.kind, bindings.c.address == item.address)
        ).rowcount
        if not item.person:
            return gone > 0
        connection.execute(
            insert(bindings).values(
                kind=item.kind, address=item.address, person=item.person, bound_at_ms=item.now_ms
            )
        )
        return True


class Purge:
    """
    Deletes a bounded amount of old history; items are (before_ms, now_ms, after_id).

    Results are (messages deleted, last id looked at, whether there is more).  Messages with an open
    delivery stay.
    """

    rank = 8

    _next = (
        select(messages.c.message_id)
        .where(
            messages.c.message_id < bindparam("before"), messages.c.message_id > bindparam("after")
        )
        .order_by(messages.c.message_id)
        .limit(_AT_ONCE)
    )
    _open = select(deliveries.c.message_id).where(
        deliveries.c.message_id.in_(bindparam("ids", expanding=True)),
        deliveries.c.due_at_ms.is_not(None),
    )
    _messages = delete(messages).where(messages.c.message_id.in_(bindparam("ids", expanding=True)))
    _small = (
        (delete(calls).where(calls.c.started_at_ms < bindparam("before"))),
        (delete(ussd_log).where(ussd_log.c.at_ms < bindparam("before"))),
        (
            delete(deliveries).where(
                deliveries.c.message_id.is_(None),
                deliveries.c.due_at_ms.is_(None),
                deliveries.c.created_at_ms < bindparam("before"),
            )
        ),
    )
    _ended = select(conversations.c.conversation, conversations.c.parties).where(
        conversations.c.conversation.in_(bindparam("names", expanding=True)),
        conversations.c.last_message_id.in_(bindparam("ids", expanding=True)),
    )
    _of = (
        select(messages.c.conversation)
        .distinct()
        .where(messages.c.message_id.in_(bindparam("ids", expanding=True)))
    )
    _left = (
        select(messages.c.conversation, func.max(messages.c.message_id).label("newest"))
        .where(messages.c.conversation.in_(bindparam("names", expanding=True)))
        .group_by(messages.c.conversation)
    )
    _conversations = tuple(
        delete(table).where(table.c.conversation.in_(bindparam("names", expanding=True)))
        for table in (conversations, conversation_states)
    )
    _parties = delete(conversation_parties).where(
        conversation_parties.c.party.in_(bindparam("parties", expanding=True)),
        conversation_parties.c.conversation == bindparam("name"),
    )
    _newest = (
        update(conversations)
        .where(conversations.c.conversation == bindparam("name"))
        .values(last_message_id=bindparam("newest"))
    )
    _dedup = delete(dedup).where(dedup.c.expires_at_ms < bindparam("now"))

    def __call__(
        self, connection: Connection, items: Sequence[tuple[int, int, str]], again: bool
    ) -> Sequence[tuple[int, str, bool]]:
        """Delete the next few."""
        return [self._one(connection, *item) for item in items]

    def _one(
        self, connection: Connection, before_ms: int, now_ms: int, after: str
    ) -> tuple[int, str, bool]:
        if not after:
            connection.execute(self._dedup, {"now": now_ms})
            for statement in self._small:
                connection.execute(statement, {"before": before_ms})
        ids = list(
            connection.execute(
                self._next, {"before": first_id_at(before_ms), "after": after}
            ).scalars()
        )
        if not ids:
            return 0, after, False
        still_open = set(connection.execute(self._open, {"ids": padded(ids)}).scalars())
        gone = [message_id for message_id in ids if message_id not in still_open]
        if gone:
            names = list(connection.execute(self._of, {"ids": padded(gone)}).scalars())
            forget_words_txn(connection, gone)
            connection.execute(self._messages, {"ids": padded(gone)})
            self._end_conversations(connection, names, gone)
        return len(gone), ids[-1], len(ids) == _AT_ONCE

    def _end_conversations(
        self, connection: Connection, names: Sequence[str], gone: Sequence[str]
    ) -> None:
        """Delete conversations whose last text is gone, with all that was noted about them."""
        found = connection.execute(self._ended, {"names": padded(names), "ids": padded(gone)})
        ended = {row.conversation: row.parties for row in found}
        if not ended:
            return
        # An older text may be there still, because it waits to be sent.
        for row in connection.execute(self._left, {"names": padded(list(ended))}).all():
            del ended[row.conversation]
            connection.execute(self._newest, {"name": row.conversation, "newest": row.newest})
        for name, parties in ended.items():
            if parties:
                # Found by its key: by the conversation alone, all parties would be looked through.
                shortened = [party[:LONGEST_PARTY] for party in parties.split("\n")]
                connection.execute(self._parties, {"name": name, "parties": padded(shortened)})
        if ended:
            for statement in self._conversations:
                connection.execute(statement, {"names": padded(list(ended))})
