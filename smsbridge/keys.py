"""
How a section of the ini file is declared: a frozen attrs class whose fields are made by `key`.

The configuration reader, `smsbridge sample-config` and the reference in the documentation are all
made from these declarations, so that a key is described in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from typing import Any

import attrs

__all__ = ["REQUIRED", "boolean", "duration", "key", "one_of", "pattern", "whole", "words"]

#: Marks a key without a default.
REQUIRED: Any = attrs.NOTHING


def key(
    doc: str,
    *,
    default: Any = REQUIRED,
    convert: Callable[[str], Any] = str,
    secret: bool = False,
    example: str = "",
    name: str = "",
) -> Any:
    """
    Declare one key of a section.

    :param doc: what it is for, in sentences for an operator.
    :param default: the value when the key is absent (already converted); `REQUIRED` if there is none.
    :param convert: text of the file to value; raises ValueError with a sentence that says what is wanted.
    :param secret: kept out of ``repr``; the file may say ``NAME_file = PATH`` instead.
    :param example: what the sample configuration shows.
    :param name: the key's name in the file when it is not the attribute's.
    """
    return attrs.field(
        default=default,
        repr=not secret,
        kw_only=True,
        metadata={"doc": doc, "convert": convert, "secret": secret, "example": example, "name": name},
    )


def boolean(text: str) -> bool:
    """Read yes or no."""
    word = text.strip().lower()
    if word in ("yes", "true", "on", "1"):
        return True
    if word in ("no", "false", "off", "0"):
        return False
    raise ValueError(f"{text!r} is neither 'yes' nor 'no'")


def words(text: str) -> tuple[str, ...]:
    """Read words separated by blanks or line ends."""
    return tuple(text.split())


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Make a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"{value} is not between {minimum} and {maximum}")
        return value

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a reader that takes one of a few words."""

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in choices:
            raise ValueError(f"{text!r} is none of: {', '.join(choices)}")
        return word

    return read


_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def duration(text: str) -> float:
    """Read a time span such as ``90``, ``90s``, ``15m``, ``48h`` or ``7d``; gives seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time span; write for example 90s, 15m, 48h or 7d")
    return float(match.group(1)) * _UNITS[match.group(2)]


def pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression."""
    try:
        return re.compile(text.strip())
    except re.error as e:
        raise ValueError(f"{text!r} is not a regular expression: {e}") from None
