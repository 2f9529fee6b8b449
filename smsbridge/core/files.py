"""
Attachments as the core and the gateways see them: kept by content, handed on as links that expire.

`World.media` provides `Files` while the daemon runs.
"""

from __future__ import annotations

from pathlib import Path
from typing import Protocol

from twisted.internet.defer import Deferred

from smsbridge.core.message import Media

__all__ = ["Files"]


class Files(Protocol):
    """The media store of the running daemon; a file is named by the SHA-256 of its bytes."""

    def keep(self, data: bytes | Path, name: str = "", content_type: str = "") -> Deferred[Media]:
        """
        Keep a file; fires when it is on disk, with the type that its content shows.

        :param data: the bytes, or a file in the store's own folder for uploads, which is moved.
        :param content_type: what the peer said; used only where the content tells nothing.
        :raises Refused: it is empty, too large, a decompression bomb, or the store is full.
        """

    def path(self, media: Media) -> Path | None:
        """Return where the bytes are, or None if they are not kept (any more)."""

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """
        Return an unguessable address from which the file is fetched without a login.

        It begins with ``[http] public_url``, or with ``/`` where none is set.

        :param lifetime_s: how long it works; 0 means as long as the store's default.
        """

    def thumbnail_link(self, media: Media) -> str:
        """Return the address of a small picture of it; empty where there is none."""

    def size_px(self, media: Media) -> tuple[int, int] | None:
        """Return width and height of a picture, without reading it; None where not known."""

    def fit(self, media: Media, limit_bytes: int) -> Deferred[Media]:
        """
        Make a picture small enough for a line; what fits already is given back unchanged.

        :raises Refused: it is no picture, or cannot be made so small.
        """

    def fetch(self, url: str, most_bytes: int) -> Deferred[Media]:
        """
        Fetch a file from outside and keep it; our own links are not fetched but recognized.

        :raises Refused: the address is not allowed (private networks), or what is there is not.
        :raises TemporaryFailure: it does not answer.
        """
