"""
Attachments as the core and the gateways see them: kept by content, handed on as links that expire.

`World.media` provides `Files` while the daemon runs.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

from smsbridge.core.message import Media

__all__ = ["FileRecord", "Files", "Ledger", "OpenedFile"]


@frozen(kw_only=True)
class FileRecord:
    """What is known of a file that we keep."""

    digest: str
    content_type: str
    size: int
    width: int | None = None  # pixels, as it is shown upright; None where it is no picture
    height: int | None = None
    stored_at_ms: int = 0


@frozen(kw_only=True)
class OpenedFile:
    """
    A file for which somebody showed a good link.

    :ivar content_type: what may be said to a browser, which is less than what the file may be.
    :ivar inline: whether a browser may show it; otherwise it is only to be saved.
    """

    path: Path
    content_type: str
    size: int
    name: str
    inline: bool
    etag: str
    max_age_s: int


class Ledger(Protocol):
    """The rows about the files that we keep; every Deferred fires after the commit or read."""

    def add(self, record: FileRecord) -> Deferred[bool]:
        """Add a file or, where it is there, renew its time; fires with whether it is new."""

    def find(self, digest: str) -> Deferred[FileRecord | None]:
        """Read the row of the file whose digest begins so."""

    def newest(self, limit: int) -> Deferred[list[FileRecord]]:
        """Read the rows that were added last."""

    def totals(self) -> Deferred[tuple[int, int]]:
        """Count the files and their bytes."""

    def known(self, digests: Sequence[str]) -> Deferred[set[str]]:
        """Tell which of these have a row."""

    def forget_unused(self, before_ms: int, limit: int) -> Deferred[Mapping[str, int]]:
        """
        Remove rows older than that which no message names; fires with digest and size of each.
        """


class Files(Protocol):
    """The media store of the running daemon; a file is named by the SHA-256 of its bytes."""

    def upload_path(self) -> Path:
        """Name a new file in the store's folder for uploads, for `keep`."""

    def keep(
        self,
        data: bytes | Path,
        name: str = "",
        content_type: str = "",
        *,
        received: bool = False,
    ) -> Deferred[Media]:
        """
        Keep a file; fires when it is on disk, with the type that its content shows.

        :param data: the bytes, or a file in the store's own folder for uploads, which is moved.
        :param content_type: what the peer said; used only where the content tells nothing.
        :param received: it came from the phone network and would be lost otherwise: the limits for
            what persons send do not hold, only the disk's.
        :raises Refused: it is empty, too large, a decompression bomb, or the store is full.
        """

    def find(self, digest: str) -> Deferred[Media | None]:
        """
        Look up a file that was kept (an upload), to send it; None if it is not kept any more.

        It stays for another day even if no message names it.
        """

    def opened(self, segments: Sequence[str]) -> Deferred[OpenedFile]:
        """
        Find what a link means, given the parts of its path behind ``/media/``.

        :raises Refused: ``file-gone`` where it expired or the file is gone, ``bad-file`` where it
            is no link of ours (or what it asks for cannot be made).
        :raises TemporaryFailure: there is too much to do.
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

    def fetch(
        self,
        url: str,
        most_bytes: int = 0,
        *,
        headers: Mapping[str, str] | None = None,
        name: str = "",
        received: bool = False,
        trusted: str = "",
    ) -> Deferred[Media]:
        """
        Fetch a file from outside and keep it; our own links are not fetched but recognized.

        :param most_bytes: at most this much; 0 means what the store allows.
        :param headers: credentials for the host of this address; not told to any other host.
        :param received: as for `keep`.
        :param trusted: scheme, host and port of a host that the operator named; it may be in a
            private network.
        :raises Refused: the address is not allowed (private networks), or what is there is not.
        :raises TemporaryFailure: it does not answer.
        """
