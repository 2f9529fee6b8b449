"""
Keeps the list of conversations up to date: every accept names each of its conversations once.

Who takes part is read from the conversation's name, or from the message where the name is only a
digest.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Final

from sqlalchemy import Connection, Dialect

from smsbridge.core.entries import NewMessage
from smsbridge.core.message import Direction
from smsbridge.core.routing import conversation
from smsbridge.store.bulk import BulkInsert
from smsbridge.store.schema import conversation_parties, conversations

__all__ = ["LONGEST_PARTY", "ConversationRows", "parties_of"]

#: What is kept of a party's name.
LONGEST_PARTY: Final = 255


def parties_of(
    name: str, direction: str, line: str, sender: str, recipients: Sequence[str], author: str
) -> tuple[str, ...]:
    """
    Name who takes part in a conversation besides our line, sorted; a withheld number is nobody.

    :param name: of the conversation; the rest is of a message in it.
    """
    if direction == Direction.IN:
        # Our own number stands first among several recipients, if the line knows it.
        parties = {sender, *recipients[1:]} if len(recipients) > 1 else {sender}
        if len(recipients) > 1 and conversation(line, parties) != name:
            every = {sender, *recipients}
            if conversation(line, every) == name:
                parties = every
            elif "|sha256:" not in name:
                parties = set(name.partition("|")[2].split(","))
    elif direction == Direction.INTERNAL:
        parties = {author or sender, *recipients}
    else:
        parties = set(recipients)
    parties.discard("")
    return tuple(sorted(parties))


class ConversationRows:
    """Upserts conversations with what was said in them last."""

    def __init__(self, dialect: Dialect) -> None:
        if dialect.name == "sqlite":
            newest = "{0} = max({0}, excluded.{0})"
            upsert = "ON CONFLICT (conversation) DO UPDATE SET "
            ignore = "ON CONFLICT DO NOTHING"
        elif dialect.name == "postgresql":
            newest = "{0} = greatest(conversations.{0}, excluded.{0})"
            upsert = "ON CONFLICT (conversation) DO UPDATE SET "
            ignore = "ON CONFLICT DO NOTHING"
        else:
            newest = "{0} = greatest({0}, VALUES({0}))"
            upsert = "ON DUPLICATE KEY UPDATE "
            ignore = "ON DUPLICATE KEY UPDATE party = VALUES(party)"
        self._conversations = BulkInsert(
            conversations,
            ("conversation", "line", "parties", "last_message_id", "last_in_id"),
            dialect,
            upsert + ", ".join(newest.format(name) for name in ("last_message_id", "last_in_id")),
        )
        self._parties = BulkInsert(conversation_parties, ("party", "conversation"), dialect, ignore)

    def upsert(
        self,
        connection: Connection,
        newest: Mapping[str, NewMessage],
        newest_in: Mapping[str, str],
    ) -> None:
        """
        Write conversations down, each by its name.

        :param newest: the newest message in each.
        :param newest_in: the id of the newest that somebody may have to read, where there is one.
        """
        rows = []
        parties = []
        # Two nodes that write the same ones take them in one order, so that they do not lock each
        # other out.
        for name in sorted(newest) if len(newest) > 1 else newest:
            message = newest[name]
            others = parties_of(
                name,
                message.direction,
                message.line,
                message.sender,
                message.recipients,
                message.author,
            )
            rows.append(
                (
                    name,
                    message.line,
                    "\n".join(others),
                    message.message_id,
                    newest_in.get(name, ""),
                )
            )
            for party in others:
                parties.append((party[:LONGEST_PARTY], name))
        self._conversations.run(connection, rows)
        if parties:
            self._parties.run(connection, parties)
