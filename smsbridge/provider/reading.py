"""
What the dialects of several providers read in the same way: JSON of any shape, times, pauses.

Providers write numbers as strings and strings as numbers, leave fields out and add others without
notice; these functions take what is there and never raise anything but `Malformed`.
"""

from __future__ import annotations

import json
import math
import re
from collections.abc import Mapping
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, Final

from smsbridge.core.message import storable
from smsbridge.provider.dialect import Malformed, Response

__all__ = ["at_ms", "document", "listed", "mapping", "object_in", "pause_s", "whole", "words"]

_LONGEST_PAUSE_S: Final = 86400.0


def document(body: bytes) -> Any:
    """
    Read JSON.

    :raises Malformed: it is none, or is nested too deeply.
    """
    try:
        return json.loads(body)
    except ValueError:
        raise Malformed("JSON was expected") from None
    except RecursionError:
        raise Malformed("JSON that is nested less deeply was expected") from None


def mapping(value: Any) -> dict[str, Any]:
    """Return an object of JSON, or an empty one."""
    return value if isinstance(value, dict) else {}


def listed(value: Any) -> list[Any]:
    """Return a list of JSON, or an empty one."""
    return value if isinstance(value, list) else []


def object_in(response: Response) -> dict[str, Any]:
    """Return the object of JSON that an answer has, or an empty one, whatever came instead."""
    try:
        return mapping(document(response.body))
    except Malformed:
        return {}


def words(value: Any) -> str:
    """Return a text of JSON, or a number as text; empty for anything else."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value):
        return f"{value:.0f}" if isinstance(value, float) and value.is_integer() else repr(value)
    return ""


def whole(value: Any) -> int | None:
    """Return a count or a code of up to nine digits, written as a number or as a text, or None."""
    text = words(value).strip()
    return int(text) if re.fullmatch(r"[0-9]{1,9}", text) else None


def at_ms(text: str) -> int | None:
    """Return a time of ISO 8601 (UTC where it names no zone); None where it is none."""
    try:
        found = datetime.fromisoformat(text)
    except ValueError:
        return None
    if found.tzinfo is None:
        found = found.replace(tzinfo=UTC)
    try:
        at = int(found.timestamp() * 1000)
    except (OverflowError, ValueError):
        return None
    return at if at >= 0 else None


def pause_s(headers: Mapping[str, str], *more: str) -> float | None:
    """
    Return how many seconds the provider asks to wait: ``Retry-After`` (RFC 9110, 10.2.3).

    A date is taken relative to the answer's own ``Date``, so that clocks need not agree. More than
    a day is a day.

    :param more: names (lower case) of headers that have seconds as well, asked after that one.
    """
    for name in ("retry-after", *more):
        text = headers.get(name, "").strip()
        if re.fullmatch(r"[0-9]{1,9}(\.[0-9]{1,9})?", text):
            return min(float(text), _LONGEST_PAUSE_S)
    try:
        until = parsedate_to_datetime(headers.get("retry-after", ""))
        since = parsedate_to_datetime(headers.get("date", ""))
        pause = (until - since).total_seconds()
    except (ValueError, TypeError, IndexError, OverflowError):
        return None
    return min(max(pause, 0.0), _LONGEST_PAUSE_S)
