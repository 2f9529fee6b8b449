"""
How several providers spell numbers, times, addresses and credentials; the counterpart of `reading`.
"""

from __future__ import annotations

import base64
import hashlib
import re
from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any, Final
from urllib.parse import unquote, urlsplit

from smsbridge.core.message import storable
from smsbridge.provider.reading import words

__all__ = [
    "basic",
    "detail_of",
    "iso",
    "made_id",
    "plus_us",
    "same_host",
    "shown_name",
    "without_credentials",
]

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_LAST_MS: Final = 4_102_444_800_000  # 2100
_PORTS: Final = {"http": 80, "https": 443}


def plus_us(number: str) -> str:
    """
    Return a number in E.164 that a provider in North America writes without its ``+``.

    Ten digits get ``+1``, eleven that begin with a 1 get ``+``; short codes, names and all else
    stay as they are.
    """
    bare = number.strip()
    if re.fullmatch(r"[2-9][0-9]{9}", bare):
        return f"+1{bare}"
    return f"+{bare}" if re.fullmatch(r"1[2-9][0-9]{9}", bare) else number


def iso(at_ms: int) -> str:
    """Write a time as ISO 8601 with milliseconds and a Z."""
    at = _EPOCH + timedelta(milliseconds=max(0, min(at_ms, _LAST_MS)))
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def detail_of(*parts: Any) -> str:
    """Put a provider's codes and words together for the trace: one line, of bounded length."""
    shown = " ".join(words(part) for part in parts)
    return " ".join(shown.split())[:300]


def made_id(*told: str) -> str:
    """Return what a text is known by whose provider gave it no id: all that was told of it."""
    digest = hashlib.sha256("\n".join(told).encode("utf-8", "replace")).hexdigest()
    return f"made-{digest[:40]}"


def basic(user: str, password: str) -> Mapping[str, str]:
    """Return the header of HTTP basic authentication (RFC 7617, in UTF-8)."""
    pair = f"{user}:{password}".encode("utf-8", "replace")
    return {"Authorization": f"Basic {base64.b64encode(pair).decode('ascii')}"}


def same_host(url: str, base: str) -> bool:
    """Tell whether an address has the scheme, host and port of another, and no user in it."""
    try:
        one, other = urlsplit(url), urlsplit(base)
        origins = [
            (each.scheme, each.hostname, each.port or _PORTS.get(each.scheme, 0))
            for each in (one, other)
        ]
    except ValueError:
        return False
    return bool(origins[0][1]) and origins[0] == origins[1] and "@" not in one.netloc


def shown_name(url: str) -> str:
    """Return the name of the file that an address ends with, without its query."""
    try:
        path = urlsplit(url).path
    except ValueError:
        return ""
    return storable(unquote(path.rpartition("/")[2], errors="replace"))[:128]


def without_credentials(url: str) -> tuple[str, Mapping[str, str]]:
    """Take ``user:password@`` out of an address; the second value is the header in its place."""
    parts = urlsplit(url)
    credentials, separator, host = parts.netloc.rpartition("@")
    if not separator:
        return url, {}
    user, _, password = credentials.partition(":")
    return parts._replace(netloc=host).geturl(), basic(unquote(user), unquote(password))
