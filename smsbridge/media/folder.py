"""
The files on the disk, named by the SHA-256 of their bytes.

Everything here blocks and is called in threads.  A file appears under its name only whole: it is
written beside, flushed, renamed, and the folder is flushed too, before anybody is told that it is
kept.

- ``ab/cd/abcd...``: the files
- ``thumbs/ab/abcd....jpg``: small pictures, which can be made again
- ``uploads/``: what is being written
- ``key``: see `links`
"""

from __future__ import annotations

import hashlib
import os
import re
import secrets
import shutil
import threading
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from attrs import frozen

__all__ = ["Folder", "Measured"]

_CHUNK_BYTES: Final = 1024 * 1024
_DIGEST: Final = re.compile(r"[0-9a-f]{64}")


@frozen
class Measured:
    """A file that is about to be kept."""

    path: Path
    digest: str
    size: int
    head: bytes  # its beginning


class Folder:
    """
    One folder of files.

    :param path: made by `open`, readable for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._uploads = path / "uploads"
        self._thumbs = path / "thumbs"
        # Between the look at a file's age and its removal nobody may put it there anew.
        self._changing = threading.Lock()

    def open(self) -> None:
        """
        Make the folders.

        :raises OSError: they cannot be made.
        """
        for folder in (self.path, self._uploads, self._thumbs):
            folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    def upload_path(self) -> Path:
        """Name a new file for what is being written."""
        return self._uploads / secrets.token_hex(16)

    def is_upload(self, path: Path) -> bool:
        """Tell whether a file is one of `upload_path`."""
        return path.parent == self._uploads

    def write(self, data: bytes) -> Path:
        """Write bytes to a new file of `upload_path`."""
        path = self.upload_path()
        with open(path, "xb", opener=_private) as file:
            file.write(data)
        return path

    def measure(self, path: Path, head_bytes: int) -> Measured:
        """Read a file for its digest, size and beginning."""
        digest = hashlib.sha256()
        size = 0
        head = b""
        with open(path, "rb") as file:
            while chunk := file.read(_CHUNK_BYTES):
                if not head:
                    head = chunk[:head_bytes]
                size += len(chunk)
                digest.update(chunk)
        return Measured(path, digest.hexdigest(), size, head)

    def place(self, path: Path, digest: str) -> Path:
        """
        Give a written file its name for good; it is on the disk when this returns.

        A file that is there already is replaced by the same bytes: so it is new for `remove_old`.
        """
        with open(path, "rb") as file:
            os.fsync(file.fileno())
        final = self.file(digest)
        made = _make_folder(final.parent)
        with self._changing:
            os.utime(path)
            os.chmod(path, 0o600)
            os.replace(path, final)
        for folder in (final.parent, *made):
            _flush_folder(folder)
        return final

    def file(self, digest: str) -> Path:
        """Return where a file is, if it is kept."""
        return self.path / digest[:2] / digest[2:4] / digest

    def thumbnail(self, digest: str) -> Path:
        """Return where a file's small picture is, if it was made."""
        return self._thumbs / digest[:2] / f"{digest}.jpg"

    def place_thumbnail(self, path: Path, digest: str) -> Path:
        """Keep a small picture; it can be made again, so nothing is flushed."""
        final = self.thumbnail(digest)
        final.parent.mkdir(mode=0o700, exist_ok=True)
        os.replace(path, final)
        return final

    def remove_old(self, digest: str, before_s: float) -> bool:
        """Remove a file with its small picture, unless it was put there since a time."""
        self.thumbnail(digest).unlink(missing_ok=True)
        path = self.file(digest)
        with self._changing:
            try:
                if path.stat().st_mtime >= before_s:
                    return False
                path.unlink()
            except FileNotFoundError:
                return False
        return True

    def remove_uploads(self, before_s: float) -> int:
        """Remove what was begun before a time and never kept; returns how many."""
        return sum(_remove_if_old(path, before_s) for path in list(_files(self._uploads)))

    def old_files(self, part: int, before_s: float) -> list[str]:
        """Name the files of one of 256 parts of the folder that are older than a time."""
        found = []
        top = self.path / f"{part:02x}"
        for middle in _folders(top):
            for path in _files(middle):
                if _DIGEST.fullmatch(path.name) and path.stat().st_mtime < before_s:
                    found.append(path.name)
        return found

    def free_bytes(self) -> int:
        """Return how much room the disk has."""
        return shutil.disk_usage(self.path).free


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, 0o600)


def _make_folder(folder: Path) -> list[Path]:
    """Make a folder and the one above it; returns the folders that got a new entry by that."""
    changed = []
    for each in (folder.parent, folder):
        try:
            each.mkdir(mode=0o700)
        except FileExistsError:
            continue
        changed.append(each.parent)
    return changed


def _flush_folder(folder: Path) -> None:
    descriptor = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _remove_if_old(path: Path, before_s: float) -> bool:
    try:
        if path.stat().st_mtime >= before_s:
            return False
        path.unlink()
    except FileNotFoundError:
        return False
    return True


def _files(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_file() and not path.is_symlink())


def _folders(folder: Path) -> Iterator[Path]:
    if folder.is_dir():
        yield from (path for path in folder.iterdir() if path.is_dir() and not path.is_symlink())
