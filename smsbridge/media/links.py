"""
Links to kept files: unguessable, expiring, checked without a look into the database.

A link is ``/media/ID/EXPIRY.PROOF[/NAME]``.  ID is the first 128 bits of the file's SHA-256 in
base64url, EXPIRY the hour of its end in base 36 (with ``t`` before it for the small picture of the
file), PROOF the first 96 bits of an HMAC-SHA256 over all the rest.  It is kept this short because
it goes into texts that are paid by length.

The expiry is rounded, so that the same file has the same address for a good while and a browser
shows it from its cache.
"""

from __future__ import annotations

import hashlib
import hmac
import os
import re
import secrets
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections.abc import Sequence
from pathlib import Path
from typing import Final
from urllib.parse import quote

from attrs import frozen

__all__ = ["PREFIX", "Expired", "Link", "NoLink", "Signer", "load_key", "split"]

PREFIX: Final = "/media/"
_HOUR_MS: Final = 3_600_000
_ID_BYTES: Final = 16
_PROOF_BYTES: Final = 12
_KEY_BYTES: Final = 32
_DIGITS: Final = "0123456789abcdefghijklmnopqrstuvwxyz"
_TOKEN: Final = re.compile(r"(t\.)?([0-9a-z]{1,8})\.([A-Za-z0-9_-]{16})")
_ID: Final = re.compile(r"[A-Za-z0-9_-]{22}")


class NoLink(Exception):
    """It was not made by us, or was changed."""


class Expired(Exception):
    """It was made by us and works no longer."""


@frozen
class Link:
    """What a good link means."""

    digest_start: str  # the first 32 hexadecimal digits
    thumbnail: bool
    name: str
    expires_at_ms: int


class Signer:
    """
    Makes and checks links.

    :param key: secret; who has it makes links to everything.
    """

    def __init__(self, key: bytes) -> None:
        self._key = key

    def path(
        self,
        digest: str,
        now_ms: int,
        lifetime_s: float,
        name: str = "",
        thumbnail: bool = False,
    ) -> str:
        """Return a path that works for at least that long, and at most a sixth longer."""
        lifetime_h = max(1, round(lifetime_s / 3600))
        step_h = max(1, lifetime_h // 6)
        expires_h = (now_ms // _HOUR_MS // step_h + 1) * step_h + lifetime_h
        file_id = urlsafe_b64encode(bytes.fromhex(digest)[:_ID_BYTES]).decode().rstrip("=")
        expiry = ("t." if thumbnail else "") + _base36(expires_h)
        path = f"{PREFIX}{file_id}/{expiry}.{self._proof(file_id, expiry, name)}"
        return f"{path}/{quote(name, safe='')}" if name else path

    def check(self, segments: Sequence[str], now_ms: int) -> Link:
        """
        Return what a link means.

        :param segments: the parts of its path behind ``/media/``, unquoted.
        :raises NoLink: it is not one of ours.
        :raises Expired: its time is over.
        """
        if len(segments) not in (2, 3) or not _ID.fullmatch(segments[0]):
            raise NoLink
        token = _TOKEN.fullmatch(segments[1])
        if token is None:
            raise NoLink
        name = segments[2] if len(segments) == 3 else ""
        expiry = (token[1] or "") + token[2]
        proof = self._proof(segments[0], expiry, name)
        if not hmac.compare_digest(proof.encode(), token[3].encode()):
            raise NoLink
        expires_at_ms = int(token[2], 36) * _HOUR_MS
        if expires_at_ms <= now_ms:
            raise Expired
        start = urlsafe_b64decode(segments[0] + "==").hex()
        return Link(start, bool(token[1]), name, expires_at_ms)

    def _proof(self, file_id: str, expiry: str, name: str) -> str:
        said = f"{file_id}/{expiry}/{name}".encode("utf-8", "surrogatepass")
        digest = hmac.new(self._key, said, hashlib.sha256).digest()
        return urlsafe_b64encode(digest[:_PROOF_BYTES]).decode()


def _base36(number: int) -> str:
    digits = ""
    while number:
        number, digit = divmod(number, 36)
        digits = _DIGITS[digit] + digits
    return digits or "0"


def split(path: str) -> list[str] | None:
    """Return the quoted parts behind ``/media/`` of a path; None for another path."""
    if not path.startswith(PREFIX):
        return None
    return path.removeprefix(PREFIX).split("/")


def load_key(path: Path) -> bytes:
    """
    Read the key, or make one that only our user can read; blocks.

    :raises OSError: it cannot be read or made.
    """
    while True:
        try:
            with open(path, "rb") as file:
                key = file.read(_KEY_BYTES + 1)
            if len(key) == _KEY_BYTES:
                return key
            path.unlink()  # cut off by a power failure, before any link was made with it
        except FileNotFoundError:
            pass
        made = path.with_name(f"{path.name}.{os.getpid()}")
        descriptor = os.open(made, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        try:
            os.write(descriptor, secrets.token_bytes(_KEY_BYTES))
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        try:
            os.link(made, path)  # of two daemons that share the folder, the first one wins
        except FileExistsError:
            pass
        finally:
            made.unlink()
