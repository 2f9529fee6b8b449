"""
Cursors: where a list goes on, as a text that its reader hands back without looking into it.

A cursor says after which id the next page begins and nothing about what may be seen, so a forged
one shows nothing new.
"""

from __future__ import annotations

import base64
import binascii
import re
from collections.abc import Sequence
from typing import Any, Final
from urllib.parse import urlencode

from twisted.web.server import Request

from smsbridge.web.api.operation import BASE, ApiError, Arguments

__all__ = ["links", "place_of"]

#: Ids of messages, deliveries and calls.
_PLACE: Final = re.compile(r"[0-9A-Za-z.:_-]{1,64}")


def place_of(cursor: str) -> str:
    """
    Return the id that a cursor holds; empty for an empty cursor.

    :raises ApiError: it is no cursor of ours.
    """
    if not cursor:
        return ""
    try:
        raw = cursor.encode("ascii")
        place = base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True).decode("ascii")
    except (UnicodeError, binascii.Error):
        place = ""
    if not _PLACE.fullmatch(place):
        raise ApiError(
            400,
            "bad-cursor",
            "This is no cursor of ours; take the one in links.next of the page before.",
            parameter="cursor",
        )
    return place


def links(request: Request, query: Arguments, place: str) -> dict[str, str | None]:
    """
    Return where a list goes on: the same question from another place.

    :param place: the id that ends this page; empty at the end of the list.
    """
    if not place:
        return {"next": None}
    asked: dict[str, Any] = query.model_dump(exclude_unset=True, by_alias=True, mode="json")
    asked.pop("offset", None)
    asked["cursor"] = base64.urlsafe_b64encode(place.encode("ascii")).rstrip(b"=").decode("ascii")
    # What stands before it is not ours: a proxy may have added to it or taken from it.
    _, _, path = request.path.decode("ascii", "replace").partition("/v2.2")
    return {"next": f"{BASE}{path}?{urlencode(_plain(asked))}"}


def _plain(asked: dict[str, Any]) -> Sequence[tuple[str, str]]:
    return [
        (name, str(value).lower() if isinstance(value, bool) else str(value))
        for name, value in asked.items()
        if value is not None
    ]
