"""
Received texts as bytes for `core.pending`, and back; pure.

JSON with the names of the fields, so that a later version reads what an earlier one kept.
"""

from __future__ import annotations

import hashlib
import json
import re
from typing import Any, Final

from attrs import asdict, frozen

from smsbridge.core.message import Media
from smsbridge.provider.dialect import Part, Received, RemoteMedia

__all__ = ["Ahead", "Unreadable", "decode", "decode_ahead", "encode", "encode_ahead", "name"]

_PLAIN: Final = re.compile(r"[0-9A-Za-z_.:-]{1,200}")


class Unreadable(ValueError):
    """What was kept is not what this version writes."""


@frozen(kw_only=True)
class Ahead:
    """What of a text has gone ahead, while some of its attachments were still to come."""

    body: str
    media: tuple[Media, ...]
    places: tuple[int, ...]  # of the attachments that are in it, text parts included


def name(kind: str, remote_id: str) -> str:
    """Return the key under which something is kept; a strange id is replaced by its digest."""
    if _PLAIN.fullmatch(remote_id):
        return f"{kind} {remote_id}"
    digest = hashlib.sha256(remote_id.encode("utf-8", "surrogatepass")).hexdigest()
    return f"{kind} sha256:{digest}"


def encode(received: Received) -> bytes:
    """Write a text."""
    return _bytes(asdict(received))


def decode(value: bytes) -> Received:
    """
    Read a text.

    :raises Unreadable: it is none.
    """
    found = _read(value)
    try:
        found["media"] = tuple(RemoteMedia(**each) for each in found["media"])
        found["recipients"] = tuple(found["recipients"])
        if found["part"] is not None:
            found["part"] = Part(**found["part"])
        return Received(**found)
    except (KeyError, TypeError) as e:
        raise Unreadable(f"a received text was expected: {e!r}") from None


def encode_ahead(ahead: Ahead) -> bytes:
    """Write what has gone ahead."""
    return _bytes(asdict(ahead))


def decode_ahead(value: bytes) -> Ahead:
    """
    Read what has gone ahead.

    :raises Unreadable: it is no such thing.
    """
    found = _read(value)
    try:
        return Ahead(
            body=found["body"],
            media=tuple(Media(**each) for each in found["media"]),
            places=tuple(found["places"]),
        )
    except (KeyError, TypeError) as e:
        raise Unreadable(f"a part of a text was expected: {e!r}") from None


def _bytes(value: Any) -> bytes:
    return json.dumps(value, separators=(",", ":")).encode("ascii")


def _read(value: bytes) -> dict[str, Any]:
    try:
        found = json.loads(value)
    except ValueError:
        found = None
    if not isinstance(found, dict):
        raise Unreadable("JSON with an object was expected")
    return found
