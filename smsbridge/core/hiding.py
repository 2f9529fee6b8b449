"""What persons deleted for themselves, asked for many messages and persons at once."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

__all__ = ["Hidden", "Hiding"]


@frozen
class Hidden:
    """Who deleted which of the messages that were asked for."""

    messages: frozenset[tuple[str, str]] = frozenset()  # (person, message id)
    up_to: Mapping[tuple[str, str], str] = field(factory=dict)  # (person, conversation) -> id

    def hides(self, person: str, conversation: str, message_id: str) -> bool:
        """Tell whether a person deleted a message, alone or with its conversation."""
        return (person, message_id) in self.messages or message_id <= self.up_to.get(
            (person, conversation), ""
        )


class Hiding(Protocol):
    """Reads what was deleted; fires after the read."""

    def hidden(
        self, messages: Sequence[tuple[str, str]], persons: Sequence[str]
    ) -> Deferred[Hidden]:
        """Look up messages, given as (id, conversation), for some persons."""
