"""What the operations of the API work with: the running daemon's parts, by interface."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field

from smsbridge.core.book import Contacts
from smsbridge.core.directory import World
from smsbridge.core.files import Files
from smsbridge.core.threads import Threads
from smsbridge.interfaces import IInbox
from smsbridge.web.api.unsent import Unsent
from smsbridge.web.bridge import IBridge

__all__ = ["Backend", "Live"]


class Live(Protocol):
    """Tells the browsers and programs that listen what is no message."""

    def conversation_changed(self, person: str, conversation: str) -> None:
        """A person read, archived, muted, hid or wrote a draft: the other windows show it too."""

    def contacts_changed(self, person: str) -> None:
        """A person's names, groups or blocked numbers are others now."""


@define(kw_only=True)
class Backend:
    """The parts; `World` has the directory, the book of names and the media store."""

    reactor: Any
    now_ms: Callable[[], int]
    bridge: IBridge
    inbox: IInbox
    world: World
    threads: Threads
    contacts: Contacts
    live: Live
    public_url: Callable[[], str]  # [http] public_url without a slash at the end; may be empty
    unsent: Unsent = field(factory=Unsent)

    @property
    def files(self) -> Files:
        """Return the media store."""
        assert self.world.media is not None, "the media store is not open"
        return self.world.media
