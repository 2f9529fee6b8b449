"""Reads who deleted which message: one read for all persons, so that live events stay cheap."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from sqlalchemy import Connection, bindparam, select
from twisted.internet.defer import Deferred

from smsbridge.core.hiding import Hidden
from smsbridge.store.rows import padded
from smsbridge.store.schema import conversation_states, hidden_messages
from smsbridge.store.service import MessageStore

__all__ = ["StoredHiding", "hidden_txn"]

_AT_ONCE: Final = 500

_s = conversation_states.c
_single = select(hidden_messages.c.person, hidden_messages.c.message_id).where(
    hidden_messages.c.message_id.in_(bindparam("ids", expanding=True))
)
_whole = select(_s.person, _s.conversation, _s.hidden_id).where(
    _s.person.in_(bindparam("persons", expanding=True)),
    _s.conversation.in_(bindparam("conversations", expanding=True)),
    _s.hidden_id != "",
)


def hidden_txn(
    connection: Connection, messages: Sequence[tuple[str, str]], persons: Sequence[str]
) -> Hidden:
    """
    Look up who of these persons deleted which of the messages, given as (id, conversation).

    The persons are asked for because the table of states begins with them.
    """
    single: set[tuple[str, str]] = set()
    whole: dict[tuple[str, str], str] = {}
    ids = list({message_id for message_id, _ in messages})
    conversations = list({conversation for _, conversation in messages})
    for start in range(0, len(ids), _AT_ONCE):
        rows = connection.execute(_single, {"ids": padded(ids[start : start + _AT_ONCE])})
        single.update((row.person, row.message_id) for row in rows)
    if persons:
        known = padded(list(persons))
        for start in range(0, len(conversations), _AT_ONCE):
            part = padded(conversations[start : start + _AT_ONCE])
            for row in connection.execute(_whole, {"persons": known, "conversations": part}):
                whole[row.person, row.conversation] = row.hidden_id
    return Hidden(frozenset(single), whole)


class StoredHiding:
    """Provides `core.hiding.Hiding` on the message store."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store

    def hidden(
        self, messages: Sequence[tuple[str, str]], persons: Sequence[str]
    ) -> Deferred[Hidden]:
        """Look up messages for some persons."""
        return self._store.read(hidden_txn, tuple(messages), tuple(persons))
