"""
What the gateway asks of its chat bot and its commands, and what those may ask of the gateway.

The gateway finds out who writes and hands over; it knows none of the commands.
"""

from __future__ import annotations

from typing import Protocol

from twisted.internet.defer import Deferred
from twisted.words.xish import domish

from smsbridge.core.directory import Person

__all__ = ["BotHook", "CommandsHook", "Hall"]


class BotHook(Protocol):
    """Answers what is written to the bridge itself, or to the person's own number."""

    def answer(
        self, person: Person, bare_jid: str, full_jid: str, text: str, line: str
    ) -> Deferred[str]:
        """
        Fire with the answer, empty for none.

        :param line: empty for what was written to the bridge; the label of the line whose number it
            was written to otherwise.
        """


class CommandsHook(Protocol):
    """Answers the iqs of ad-hoc commands (XEP-0050) and registration (XEP-0077)."""

    def handle(self, iq: domish.Element, person: Person | None) -> Deferred[domish.Element | None]:
        """
        Fire with the answering iq, None if this iq is somebody else's.

        It gets every iq get or set to the bridge's own JID whose payload is a disco query with a
        node, a command, or of ``jabber:iq:register``.

        :param person: who asks; None for a stranger.
        """

    def features(self) -> tuple[str, ...]:
        """Return what discovery of the bridge shall announce beyond the usual."""


class Hall(Protocol):
    """What registration may ask of the gateway."""

    def welcome(self, bare_jid: str, text: str) -> None:
        """Ask for the subscription of a new user and say something, from the bridge's own JID."""

    def dismiss(self, bare_jid: str) -> None:
        """End the subscriptions of somebody who is no user any more."""
