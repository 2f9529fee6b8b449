"""Who is in a conversation, who may see it, and what a person has hidden."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from sqlalchemy import ColumnElement, Connection, and_, exists, select

from smsbridge.core.threads import Viewer
from smsbridge.store.rows import padded
from smsbridge.store.schema import (
    conversation_parties,
    conversation_states,
    hidden_messages,
    messages,
)

__all__ = ["may_see", "names_with", "not_hidden", "parties_in"]

_MOST_NAMES: Final = 1000  # conversations that are read by name

_m = messages.c
_p = conversation_parties.c
_s = conversation_states.c
_h = hidden_messages.c


def parties_in(column: str) -> tuple[str, ...]:
    """Read the column ``parties`` of a conversation."""
    return tuple(column.split("\n")) if column else ()


def may_see(viewer: Viewer, line: str, parties: str) -> bool:
    """
    Tell whether a conversation is the viewer's.

    :param parties: the column of that name.
    """
    if line:
        return line in viewer.lines
    return viewer.takes_part(parties.split("\n"))


def not_hidden(person: Any) -> ColumnElement[bool]:
    """Make the condition that a person has hidden a row of `messages` in neither way."""
    return and_(
        ~exists().where(_h.person == person, _h.message_id == _m.message_id),
        ~exists().where(
            _s.person == person,
            _s.conversation == _m.conversation,
            _s.hidden_id >= _m.message_id,
        ),
    )


def names_with(connection: Connection, parties: Sequence[str], part: str) -> Sequence[str] | None:
    """Name the conversations with a party, or with one whose name holds a part; None: too many."""
    names: set[str] = set()
    wanted = list(dict.fromkeys(parties))
    for start in range(0, len(wanted), 500):
        names.update(
            connection.execute(
                select(_p.conversation)
                .where(_p.party.in_(padded(wanted[start : start + 500])))
                .limit(_MOST_NAMES + 1)
            ).scalars()
        )
    if part:
        names.update(
            connection.execute(
                select(_p.conversation)
                .where(_p.party.contains(part, autoescape=True))
                .limit(_MOST_NAMES + 1)
            ).scalars()
        )
    return None if len(names) > _MOST_NAMES else sorted(names)
