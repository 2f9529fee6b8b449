"""
Cut a text into the parts that a GoIP would send over the air; a device's rule, not a network's.

The vendor's firmware uses the 7-bit alphabet of 3GPP TS 23.038 only for plain ASCII, and UCS-2 for
everything else: 160 or 70 units in a single part, 153 or 67 in each of several.
"""

from __future__ import annotations

_EXTENDED = frozenset("^{}\\[~]|")


def split(text: str) -> list[str]:
    """Return the parts of a text; an empty text is one empty part."""
    if text.isascii():
        sizes = [2 if character in _EXTENDED else 1 for character in text]
        single, joined = 160, 153
    else:
        sizes = [2 if ord(character) > 0xFFFF else 1 for character in text]
        single, joined = 70, 67
    if sum(sizes) <= single:
        return [text]
    parts = []
    start = used = 0
    for index, size in enumerate(sizes):
        # Neither an escape sequence nor a surrogate pair may straddle two parts.
        if used + size > joined:
            parts.append(text[start:index])
            start, used = index, 0
        used += size
    parts.append(text[start:])
    return parts


def count(text: str) -> int:
    """Return how many parts a text takes."""
    # No character counts more than twice, so most texts need not be measured.
    if len(text) <= (80 if text.isascii() else 35):
        return 1
    return len(split(text))
