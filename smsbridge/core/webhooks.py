"""Reads the addresses of programs that are called by HTTP."""

from __future__ import annotations

import re
from typing import Final
from urllib.parse import urlsplit

__all__ = ["read_webhooks", "web_address"]

_LONGEST: Final = 600  # of an address in the store
_ADDRESS: Final = re.compile(r"https?://[!-~]+")


def web_address(text: str) -> str:
    """
    Read an http or https address that can be posted to.

    :raises ValueError: it is none, with a sentence.
    """
    url = text.strip()
    try:
        parts = urlsplit(url)
        right = bool(_ADDRESS.fullmatch(url) and parts.hostname) and parts.port != 0
    except ValueError:
        right = False
    if not right:
        raise ValueError(f"{text.strip()[:100]!r} is not an address such as https://example.org/in")
    if parts.username is not None:
        raise ValueError(
            "an address with a name and password in it would show them in lists; put a secret word "
            "into the path, or use webhook_secret"
        )
    if len(url) > _LONGEST:
        raise ValueError(f"an address may have {_LONGEST} characters")
    return url.partition("#")[0]


def read_webhooks(text: str) -> tuple[str, ...]:
    """Read addresses separated by blanks."""
    return tuple(web_address(word) for word in text.split())
