"""
The media store of the running daemon; provides `core.files.Files`.

Bytes lie in a folder (`folder`), rows about them in the database (`core.files.Ledger`).  A file is
on the disk and its row committed before anybody hears that it is kept.  The same content is kept
once.  What blocks runs in a few threads, the work on pictures in processes (`painter`).

A file goes when no message has named it for a day: uploads that were never sent, and what messages
had that were purged.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final, TypeVar
from urllib.parse import unquote

from attrs import define, evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool

from smsbridge.core.attachments import shown_bytes
from smsbridge.core.files import FileRecord, Ledger, OpenedFile
from smsbridge.core.message import Media
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.media import pictures
from smsbridge.media.content import (
    HEAD_BYTES,
    content_type_of,
    is_picture,
    is_shown_inline,
    safe_name,
    served,
)
from smsbridge.media.fetch import Fetcher
from smsbridge.media.folder import Folder, Measured
from smsbridge.media.links import Expired, NoLink, Signer, load_key, split
from smsbridge.media.painter import Painter
from smsbridge.outside import Resolve

__all__ = ["MediaSettings", "MediaStatistics", "MediaStore"]

_T = TypeVar("_T")

#: How long the links on people's own pages work.
_LIFETIME_S: Final = 7 * 86400.0
_DAY_MS: Final = 86_400_000
_SWEEP_EVERY_S: Final = 3600.0
_SWEPT_AT_ONCE: Final = 500
_MOST_SWEEPS: Final = 20
_PARTS: Final = 256  # of the folder; one is compared with the rows at each sweep
_THREADS: Final = 3
_FETCHES_AT_ONCE: Final = 16
_MOST_WAITING: Final = 100
_MOST_REMEMBERED: Final = 20_000
_MOST_NAMES: Final = 5000
_ALARM: Final = 0.9
_DIGITS: Final = re.compile(r"[\d.]+ (bytes|[kMG]B)")


@frozen(kw_only=True)
class MediaSettings:
    """What of the configuration concerns files."""

    cap_bytes: int
    max_bytes: int
    public_url: str = ""  # without a slash at the end
    allow_private: bool = False
    # What must stay free on the disk: the database needs room to go on.
    reserve_bytes: int = 256 * 1024**2


@define
class MediaStatistics:
    """How much is kept; for the status page and the metrics."""

    files: int = 0
    bytes: int = 0
    cap: int = 0
    alarm: str = ""  # a sentence while something must be done


class MediaStore(Service):
    """
    Keeps files.

    :param folder: the store's own, made when it is missing.
    :param settings: asked at every use, because a reload may change them.
    :param resolve: names to addresses; by default the system's.
    """

    log = Logger()
    name = "media"

    def __init__(
        self,
        reactor: Any,
        folder: Path,
        ledger: Ledger,
        settings: Callable[[], MediaSettings],
        now_ms: Callable[[], int],
        resolve: Resolve | None = None,
    ) -> None:
        self._reactor = reactor
        self._folder = Folder(folder)
        self._ledger = ledger
        self._settings = settings
        self._now_ms = now_ms
        self._fetcher = Fetcher(reactor, lambda: settings().allow_private, resolve)
        self._signer: Signer | None = None
        self._threads: ThreadPool | None = None
        self._painter = Painter(reactor)
        self._fetches = DeferredSemaphore(_FETCHES_AT_ONCE)
        self._thumbnails: dict[str, Deferred[Path]] = {}  # being made
        self._sizes: OrderedDict[str, tuple[int, int]] = OrderedDict()
        # What uploads were called, until they are part of a message, which keeps its own names.
        self._names: OrderedDict[str, str] = OrderedDict()
        self._sweeper = LoopingCall(self._sweep_now)
        self._sweeper.clock = reactor
        self._part = 0
        self.statistics = MediaStatistics()

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """
        Open the folder.

        :raises OSError: it cannot be made or written.
        """
        self._folder.open()
        self._signer = Signer(load_key(self._folder.path / "key"))
        self._threads = ThreadPool(0, _THREADS, "smsbridge-media")
        self._threads.start()
        self._painter.start()
        super().startService()
        self.statistics.cap = self._settings().cap_bytes
        self._ledger.newest(_MOST_REMEMBERED).addCallbacks(
            self._remember_all,
            lambda failure: self.log.failure("could not read the list of files", failure=failure),
        )
        self._sweeper.start(_SWEEP_EVERY_S, now=True).addErrback(
            lambda failure: self.log.failure("the sweeper failed", failure=failure)
        )

    def stopService(self) -> Deferred[None]:
        """Finish what is being written; fires when no thread is left."""
        super().stopService()
        if self._sweeper.running:
            self._sweeper.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await self._painter.stop()
        threads, self._threads = self._threads, None
        if threads is not None:
            # Its last answers come through the reactor, so the wait must not be there.
            done: Deferred[None] = Deferred()
            self._reactor.callInThread(self._join, threads, done)
            await done

    def _join(self, threads: ThreadPool, done: Deferred[None]) -> None:
        threads.stop()
        self._reactor.callFromThread(done.callback, None)

    def _in_thread(self, do: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        if self._threads is None:
            raise TemporaryFailure("internal", "The media store is closed.")
        doing: Deferred[_T] = deferToThreadPool(self._reactor, self._threads, do, *arguments)
        return doing.addErrback(self._disk_failed)

    def _disk_failed(self, failure: Failure) -> Any:
        error = failure.value
        if not isinstance(error, OSError) or isinstance(error, FileNotFoundError):
            return failure
        self.log.error("the media folder cannot be used: {reason}", reason=str(error))
        raise TemporaryFailure("storage-full", "Files cannot be kept just now; try again later.")

    def _remember_all(self, records: Sequence[FileRecord]) -> None:
        for record in reversed(records):
            self._remember(record)

    def _remember(self, record: FileRecord) -> None:
        if record.width and record.height:
            self._sizes[record.digest] = (record.width, record.height)
            if len(self._sizes) > _MOST_REMEMBERED:
                self._sizes.popitem(last=False)

    # -- keeping ---------------------------------------------------------------------------------

    def upload_path(self) -> Path:
        """See `Files.upload_path`."""
        return self._folder.upload_path()

    def keep(
        self,
        data: bytes | Path,
        name: str = "",
        content_type: str = "",
        *,
        received: bool = False,
    ) -> Deferred[Media]:
        """See `Files.keep`."""
        return Deferred.fromCoroutine(self._keep(data, name, content_type, received))

    async def _keep(
        self, data: bytes | Path, name: str, content_type: str, received: bool
    ) -> Media:
        if isinstance(data, bytes):
            self._check_size(len(data), received)
            path = await self._in_thread(self._folder.write, data)
        elif self._folder.is_upload(data):
            path = data
        else:
            raise ValueError("only what is in the folder for uploads is moved")
        try:
            measured = await self._in_thread(self._folder.measure, path, HEAD_BYTES)
            self._check_size(measured.size, received)
            return await self._place(measured, name, content_type, received)
        finally:
            path.unlink(missing_ok=True)

    def _check_size(self, size: int, received: bool) -> None:
        settings = self._settings()
        if not size:
            raise Refused("empty", "The file is empty.")
        if received:
            return
        if size > settings.max_bytes:
            raise Refused(
                "too-large",
                f"The file has {shown_bytes(size)}; files may have "
                f"{shown_bytes(settings.max_bytes)} here.",
            )
        if self.statistics.bytes + size > settings.cap_bytes:
            raise Refused(
                "storage-full",
                "There is no room left for files; the operator must raise media_cap or remove old "
                "messages.",
            )

    async def _place(
        self, measured: Measured, name: str, content_type: str, received: bool
    ) -> Media:
        free = await self._in_thread(self._folder.free_bytes)
        if free < measured.size + self._settings().reserve_bytes:
            self._alarm("The disk is nearly full; files cannot be kept.")
            raise (TemporaryFailure if received else Refused)(
                "storage-full", "The disk of the bridge is nearly full; tell the operator."
            )
        found_type = content_type_of(measured.head, content_type)
        size_px = await self._measure_picture(measured, found_type, received)
        await self._in_thread(self._folder.place, measured.path, measured.digest)
        record = FileRecord(
            digest=measured.digest,
            content_type=found_type,
            size=measured.size,
            width=size_px[0] if size_px else None,
            height=size_px[1] if size_px else None,
            stored_at_ms=self._now_ms(),
        )
        if await self._ledger.add(record):
            self.statistics.files += 1
            self.statistics.bytes += record.size
            self._check_room()
        self._remember(record)
        name = safe_name(name, found_type)
        self._names[measured.digest] = name
        if len(self._names) > _MOST_NAMES:
            self._names.popitem(last=False)
        return Media(content_type=found_type, size=measured.size, name=name, digest=measured.digest)

    async def _measure_picture(
        self, measured: Measured, found_type: str, received: bool
    ) -> tuple[int, int] | None:
        if not is_picture(found_type):
            return None
        try:
            return await self._in_thread(pictures.size_px, measured.path)
        except pictures.TooManyPixels:
            # What the network brought is kept as it is; it only has no small picture.
            if received:
                return None
            raise Refused("bad-file", "The picture has too many pixels to be shown.") from None
        except pictures.BadPicture:
            return None

    # -- finding ---------------------------------------------------------------------------------

    def find(self, digest: str) -> Deferred[Media | None]:
        """See `Files.find`."""
        return Deferred.fromCoroutine(self._find(digest))

    async def _find(self, digest: str) -> Media | None:
        if len(digest) != 64 or any(character not in "0123456789abcdef" for character in digest):
            return None
        record = await self._ledger.find(digest)
        if record is None or not self._folder.file(digest).exists():
            return None
        now_ms = self._now_ms()
        if now_ms - record.stored_at_ms > _DAY_MS // 24:
            await self._ledger.add(
                FileRecord(
                    digest=digest,
                    content_type=record.content_type,
                    size=record.size,
                    width=record.width,
                    height=record.height,
                    stored_at_ms=now_ms,
                )
            )
        self._remember(record)
        return Media(
            content_type=record.content_type,
            size=record.size,
            name=self._names.get(digest) or safe_name("", record.content_type),
            digest=digest,
        )

    def path(self, media: Media) -> Path | None:
        """See `Files.path`."""
        if not media.digest:
            return None
        path = self._folder.file(media.digest)
        return path if path.exists() else None

    def size_px(self, media: Media) -> tuple[int, int] | None:
        """See `Files.size_px`."""
        return self._sizes.get(media.digest)

    # -- links -----------------------------------------------------------------------------------

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """See `Files.link`."""
        if not media.digest:
            return media.url
        name = safe_name(media.name, media.content_type) if media.name else ""
        return self._signed(media.digest, lifetime_s, name, False)

    def thumbnail_link(self, media: Media) -> str:
        """See `Files.thumbnail_link`."""
        if not media.digest or not is_picture(media.content_type):
            return ""
        return self._signed(media.digest, 0.0, "", True)

    def _signed(self, digest: str, lifetime_s: float, name: str, thumbnail: bool) -> str:
        assert self._signer is not None, "the media store is not open"
        path = self._signer.path(digest, self._now_ms(), lifetime_s or _LIFETIME_S, name, thumbnail)
        return self._settings().public_url + path

    def opened(self, segments: Sequence[str]) -> Deferred[OpenedFile]:
        """See `Files.opened`."""
        return Deferred.fromCoroutine(self._open(segments))

    async def _open(self, segments: Sequence[str]) -> OpenedFile:
        assert self._signer is not None, "the media store is not open"
        now_ms = self._now_ms()
        try:
            link = self._signer.check(segments, now_ms)
        except NoLink:
            raise Refused("bad-file", "There is no file at this address.") from None
        except Expired:
            raise Refused("file-gone", "This link has expired; ask for a new one.") from None
        record = await self._ledger.find(link.digest_start)
        path = self._folder.file(record.digest) if record is not None else None
        if record is None or path is None or not path.exists():
            raise Refused("file-gone", "This file is not kept any more.")
        max_age_s = (link.expires_at_ms - now_ms) // 1000
        if link.thumbnail:
            path = await self._thumbnail(record)
            return OpenedFile(
                path=path,
                content_type="image/jpeg",
                size=path.stat().st_size,
                name="thumbnail.jpg",
                inline=True,
                etag=f"{record.digest[:32]}-t",
                max_age_s=max_age_s,
            )
        return OpenedFile(
            path=path,
            content_type=served(record.content_type),
            size=record.size,
            name=link.name or safe_name("", record.content_type),
            inline=is_shown_inline(record.content_type),
            etag=record.digest[:32],
            max_age_s=max_age_s,
        )

    # -- pictures --------------------------------------------------------------------------------

    async def _thumbnail(self, record: FileRecord) -> Path:
        path = self._folder.thumbnail(record.digest)
        if path.exists():
            return path
        if not is_picture(record.content_type):
            raise Refused("bad-file", "There is no small picture of this file.")
        making = self._thumbnails.get(record.digest)
        if making is None:
            making = Deferred.fromCoroutine(self._make_thumbnail(record.digest))
            self._thumbnails[record.digest] = making
            making.addBoth(self._made, record.digest)
        waiting: Deferred[Path] = Deferred()
        making.addBoth(_relay, waiting)
        try:
            return await waiting
        except pictures.BadPicture:
            raise Refused("bad-file", "There is no small picture of this file.") from None
        except FileNotFoundError:
            raise Refused("file-gone", "This file is not kept any more.") from None

    def _made(self, result: _T, digest: str) -> _T:
        del self._thumbnails[digest]
        return result

    async def _make_thumbnail(self, digest: str) -> Path:
        made = self._folder.upload_path()
        try:
            await self._painter.thumbnail(self._folder.file(digest), made)
            return await self._in_thread(self._folder.place_thumbnail, made, digest)
        finally:
            made.unlink(missing_ok=True)

    def fit(self, media: Media, limit_bytes: int) -> Deferred[Media]:
        """See `Files.fit`."""
        return Deferred.fromCoroutine(self._fit(media, limit_bytes))

    async def _fit(self, media: Media, limit_bytes: int) -> Media:
        if media.size is not None and media.size <= limit_bytes:
            return media
        path = self.path(media)
        if path is None:
            raise Refused("file-gone")
        size = path.stat().st_size
        if size <= limit_bytes:
            return media
        too_large = f"it has {shown_bytes(size)}, and {shown_bytes(limit_bytes)} can be sent"
        if media.content_type in ("image/heic", "image/heif", "image/avif"):
            raise Refused(
                "too-large",
                f"This kind of picture cannot be made smaller here ({too_large}); send it as JPEG.",
            )
        if not is_picture(media.content_type):
            raise Refused("too-large", f"The file is too large: {too_large}.")
        made = self._folder.upload_path()
        try:
            if not await self._painter.fit(path, made, limit_bytes):
                raise Refused("too-large", f"The picture cannot be made so small: {too_large}.")
            # It is a JPEG now, and called so.
            name = media.name.rpartition(".")[0] or media.name
            return await self._keep(made, name, "image/jpeg", False)
        except pictures.BadPicture:
            raise Refused(
                "too-large", f"The picture is too large: {too_large}. It cannot be made smaller."
            ) from None
        finally:
            made.unlink(missing_ok=True)

    # -- fetching --------------------------------------------------------------------------------

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
        """See `Files.fetch`."""
        return Deferred.fromCoroutine(
            self._fetch(url, most_bytes, headers, name, received, trusted)
        )

    async def _fetch(
        self,
        url: str,
        most_bytes: int,
        headers: Mapping[str, str] | None,
        name: str,
        received: bool,
        trusted: str,
    ) -> Media:
        own = await self._own(url)
        if own is not None:
            return own
        settings = self._settings()
        most_bytes = min(most_bytes or settings.max_bytes, settings.max_bytes)
        self._check_size(1, received)
        if len(self._fetches.waiting) >= _MOST_WAITING:
            raise TemporaryFailure(
                "throttled", "There are many files to fetch; try again in a moment."
            )
        path = self._folder.upload_path()
        fetched = await self._fetches.run(
            lambda: Deferred.fromCoroutine(
                self._fetcher.fetch(url, most_bytes, path, headers, trusted)
            )
        )
        return await self._keep(fetched.path, name or fetched.name, fetched.content_type, received)

    async def _own(self, url: str) -> Media | None:
        """
        Return what one of our own links means; None for an address elsewhere.

        :raises Refused: it looks like ours and is not, or not any more.
        """
        base = self._settings().public_url
        path = url.removeprefix(base) if base and url.startswith(base + "/") else url
        segments = split(path.partition("?")[0].partition("#")[0])
        if segments is None:
            return None
        assert self._signer is not None, "the media store is not open"
        try:
            link = self._signer.check([unquote(segment) for segment in segments], self._now_ms())
        except NoLink:
            raise Refused("bad-file", "There is no file at this address.") from None
        except Expired:
            raise Refused("file-gone", "This link has expired; upload the file again.") from None
        record = await self._ledger.find(link.digest_start)
        found = await self._find(record.digest) if record is not None else None
        if found is None:
            raise Refused("file-gone")
        return evolve(found, name=link.name)

    # -- forgetting ------------------------------------------------------------------------------

    def _sweep_now(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self.sweep()).addErrback(self._not_swept)

    def _not_swept(self, failure: Failure) -> None:
        if not failure.check(TemporaryFailure):
            self.log.failure("files that nobody needs could not be removed", failure=failure)

    async def sweep(self) -> None:
        """Remove some of what nobody needs; done every hour."""
        before_ms = self._now_ms() - _DAY_MS
        gone = 0
        for _ in range(_MOST_SWEEPS):
            forgotten = await self._ledger.forget_unused(before_ms, _SWEPT_AT_ONCE)
            for digest in forgotten:
                gone += await self._in_thread(self._folder.remove_old, digest, before_ms / 1000)
                self._sizes.pop(digest, None)
            if len(forgotten) < _SWEPT_AT_ONCE or not self.running:
                break
        gone += await self._sweep_part(before_ms)
        await self._in_thread(self._folder.remove_uploads, before_ms / 1000)
        self.statistics.files, self.statistics.bytes = await self._ledger.totals()
        if gone:
            self.log.info("{count} files that nobody needs were removed", count=gone)
        self._check_room()

    async def _sweep_part(self, before_ms: int) -> int:
        """Remove files whose row was never committed, or is gone: a crash came in between."""
        part, self._part = self._part, (self._part + 1) % _PARTS
        found = await self._in_thread(self._folder.old_files, part, before_ms / 1000)
        gone = 0
        for start in range(0, len(found), _SWEPT_AT_ONCE):
            some = found[start : start + _SWEPT_AT_ONCE]
            known = await self._ledger.known(some)
            for digest in some:
                if digest not in known:
                    gone += await self._in_thread(self._folder.remove_old, digest, before_ms / 1000)
        return gone

    def _check_room(self) -> None:
        cap = self.statistics.cap = self._settings().cap_bytes
        used = self.statistics.bytes
        if used < cap * _ALARM:
            self.statistics.alarm = ""
        elif used < cap:
            self._alarm(
                f"Files take {shown_bytes(used)} of the {shown_bytes(cap)} that media_cap allows."
            )
        else:
            self._alarm(
                f"Files take all of the {shown_bytes(cap)} that media_cap allows; nobody can send "
                "files until it is raised or old messages are purged."
            )

    def _alarm(self, sentence: str) -> None:
        # Once for each state, not for each file: the numbers in it change all the time.
        if _DIGITS.sub("", self.statistics.alarm) != _DIGITS.sub("", sentence):
            self.log.warn("{reason}", reason=sentence)
        self.statistics.alarm = sentence


def _relay(result: _T, to: Deferred[Any]) -> _T | None:
    """Give a result to one more waiter."""
    to.callback(result)
    return None if isinstance(result, Failure) else result
