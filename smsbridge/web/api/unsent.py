"""
Counts what each person has uploaded and not sent, so that one cannot fill the media store alone.

A file that no message names is removed after a day; so long it counts here.  The counts are in
memory: a restart forgives, and the store's own cap holds whatever is counted here.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterable
from typing import Final

from attrs import define, field

from smsbridge.core.attachments import shown_bytes
from smsbridge.errors import Refused

__all__ = ["Unsent"]

_DAY_MS: Final = 86_400_000
#: A person's part of the store's cap.
_PART: Final = 10
_LEAST_BYTES: Final = 256 * 1024**2
_MOST_FILES: Final = 5000


@define
class _Upload:
    size: int
    at_ms: int
    source: str  # the digest of the larger picture that it was made of; empty if of none


@define
class _Uploads:
    """One person's, by digest, oldest first."""

    bytes: int = 0
    files: OrderedDict[str, _Upload] = field(factory=OrderedDict)

    def add(self, digest: str, upload: _Upload) -> None:
        self.remove(digest)
        self.files[digest] = upload
        self.bytes += upload.size

    def remove(self, digest: str) -> str:
        upload = self.files.pop(digest, None)
        if upload is None:
            return ""
        self.bytes -= upload.size
        return upload.source

    def forget(self, before_ms: int) -> None:
        while self.files:
            digest, oldest = next(iter(self.files.items()))
            if oldest.at_ms >= before_ms:
                break
            self.remove(digest)


class Unsent:
    """
    The uploads of all persons that no message names yet.

    :param cap_bytes: of the media store; asked at every use, because a reload may change it.
    :param least_bytes: what everybody may have, however small the store is.
    """

    def __init__(
        self,
        cap_bytes: Callable[[], int] = lambda: 0,
        least_bytes: int = _LEAST_BYTES,
        most_files: int = _MOST_FILES,
    ) -> None:
        self._cap_bytes = cap_bytes
        self._least_bytes = least_bytes
        self._most_files = most_files
        self._of: dict[str, _Uploads] = {}

    def reserve(self, person: str, size: int, now_ms: int) -> Callable[[], None]:
        """
        Take room for a file that is about to be kept; what is returned gives the room back.

        :raises Refused: ``storage-full``: the person has too much that was not sent.
        """
        uploads = self._of.setdefault(person, _Uploads())
        uploads.forget(now_ms - _DAY_MS)
        most = max(self._least_bytes, self._cap_bytes() // _PART)
        # One file may always be there, as large as the store takes any.
        too_much = bool(uploads.bytes) and uploads.bytes + size > most
        if too_much or len(uploads.files) >= self._most_files:
            raise Refused(
                "storage-full",
                f"You have uploaded {shown_bytes(uploads.bytes)} in {len(uploads.files)} files "
                f"that were not sent; {shown_bytes(most)} in {self._most_files} files are the "
                "most. Send some of them, or wait: what is not sent is removed after a day.",
            )
        uploads.bytes += size

        def give_back() -> None:
            uploads.bytes -= size

        return give_back

    def uploaded(self, person: str, digest: str, size: int, now_ms: int, source: str = "") -> None:
        """
        Count a file that is kept now.

        :param source: the digest of the file of which this is a smaller one; both are sent when
            this one is.
        """
        uploads = self._of.setdefault(person, _Uploads())
        uploads.add(digest, _Upload(size, now_ms, source))

    def sent(self, person: str, digests: Iterable[str]) -> None:
        """Count files no more, because a message names them."""
        uploads = self._of.get(person)
        if uploads is None:
            return
        for digest in digests:
            while digest:
                digest = uploads.remove(digest)
        if not uploads.files and not uploads.bytes:
            del self._of[person]
