"""Which conversations and texts a person may see, and which that person has hidden."""

from __future__ import annotations

from typing import Any

from sqlalchemy import ColumnElement, and_, exists

from smsbridge.core.threads import Viewer
from smsbridge.store.schema import conversation_states, hidden_messages, messages

__all__ = ["may_see", "not_hidden", "parties_in"]

_m = messages.c
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
    return bool(viewer.person) and viewer.person in parties.split("\n")


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
