"""
How many segments a text takes on the phone network, and where they end.

A text in the GSM alphabet (3GPP TS 23.038, 6.2.1, with the default extension table) has 160
septets in one segment and 153 in each of several; any other text is UCS-2 with 70 or 67 units of
16 bits (3GPP TS 23.040, 9.2.3.24.1: the header that joins segments takes six octets). A character
of the extension table takes two septets, one above U+FFFF two units; neither pair is cut in two.
National language tables are not used: no device of ours chooses them.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from enum import Enum
from typing import Final, NamedTuple

__all__ = ["Charset", "Encoding", "Segments", "count", "foreign", "split"]

_BASIC: Final = (
    "@£$¥èéùìòÇ\nØø\rÅåΔ_ΦΓΛΩΠΨΣΘΞÆæßÉ !\"#¤%&'()*+,-./0123456789:;<=>?"
    "¡ABCDEFGHIJKLMNOPQRSTUVWXYZÄÖÑÜ§¿abcdefghijklmnopqrstuvwxyzäöñüà"
)
_EXTENSION: Final = "\f^{}\\[~]|€"

#: Finds the first character that the GSM alphabet lacks; much faster than asking for each.
_OUTSIDE = re.compile(f"[^{re.escape(_BASIC + _EXTENSION)}]")
_EXTENDED = re.compile(f"[{re.escape(_EXTENSION)}]")
_ASTRAL = re.compile("[\U00010000-\U0010ffff]")


class Encoding(Enum):
    """How a text goes over the air; the value is (units in a single segment, in one of several)."""

    GSM7 = (160, 153)
    UCS2 = (70, 67)


class Charset(Enum):
    """When a device chooses the GSM alphabet: for all that it holds, or for ASCII alone."""

    GSM = "gsm"
    ASCII = "ascii"


class Segments(NamedTuple):
    """The size of a text in septets or 16-bit units; `left` are free in the last segment."""

    encoding: Encoding
    units: int
    segments: int
    left: int


def count(text: str, charset: Charset = Charset.GSM) -> Segments:
    """Measure a text; an empty one is one empty segment."""
    encoding, doubled = _encoding(text, charset)
    single, joined = encoding.value
    extra = len(doubled.findall(text))
    units = len(text) + extra
    if units <= single:
        return Segments(encoding, units, 1, single - units)
    if not extra:
        whole, rest = divmod(units, joined)
        segments = whole + (rest > 0)
        return Segments(encoding, units, segments, segments * joined - units)
    segments, used = 0, 0
    for segments, (start, end) in enumerate(_cuts(text, doubled, joined), start=1):  # noqa: B007
        used = end - start + len(doubled.findall(text, start, end))
    return Segments(encoding, units, segments, joined - used)


def split(text: str, charset: Charset = Charset.GSM) -> list[str]:
    """Cut a text into its segments, in order; joined again they are the text."""
    encoding, doubled = _encoding(text, charset)
    single, joined = encoding.value
    if len(text) + len(doubled.findall(text)) <= single:
        return [text]
    return [text[start:end] for start, end in _cuts(text, doubled, joined)]


def foreign(text: str, charset: Charset = Charset.GSM) -> str:
    """Return the characters for which a text cannot have the GSM alphabet, each once, in order."""
    found = (
        (each for each in text if not each.isascii())
        if charset is Charset.ASCII
        else _OUTSIDE.findall(text)
    )
    return "".join(dict.fromkeys(found))


def _encoding(text: str, charset: Charset) -> tuple[Encoding, re.Pattern[str]]:
    """Return the encoding that a text gets, and what finds the characters that count twice."""
    narrow = text.isascii() if charset is Charset.ASCII else _OUTSIDE.search(text) is None
    return (Encoding.GSM7, _EXTENDED) if narrow else (Encoding.UCS2, _ASTRAL)


def _cuts(text: str, doubled: re.Pattern[str], size: int) -> Iterator[tuple[int, int]]:
    """Yield start and end of each segment of at most `size` units."""
    start = 0
    while start < len(text):
        end = min(start + size, len(text))
        # Every character that counts twice takes the place of one at the end, which may in turn
        # have counted twice; a few rounds settle it.
        while (excess := end - start + len(doubled.findall(text, start, end)) - size) > 0:
            end -= (excess + 1) // 2
        yield start, end
        start = end
