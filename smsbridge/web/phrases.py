"""
The words of HTTP statuses, for status lines and as titles of errors.

Twisted has none for the statuses of RFC 6585 and for 422, and would say "Unknown".
"""

from __future__ import annotations

from typing import Final

from twisted.web.http import RESPONSES
from twisted.web.iweb import IRequest

__all__ = ["answer_with", "phrase"]

#: RFC 9110 section 15, RFC 6585 section 4, RFC 4918 section 11.5.
_PHRASES: Final = {
    413: "Content Too Large",
    422: "Unprocessable Content",
    429: "Too Many Requests",
    504: "Gateway Timeout",
    507: "Insufficient Storage",
}


def phrase(status: int) -> str:
    """Return the words of a status."""
    known = _PHRASES.get(status)
    return known if known is not None else RESPONSES.get(status, b"Error").decode("ascii")


def answer_with(request: IRequest, status: int) -> None:
    """Set the status of an answer, with its words."""
    request.setResponseCode(status, phrase(status).encode("ascii"))
