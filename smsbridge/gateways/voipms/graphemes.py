"""
Cut a text into pieces of so many bytes of UTF-8, between what people see as characters.

An accent stays with its letter, an emoji with its skin color and the parts of its family, a flag is
whole; a piece ends behind a blank where one is near.  Joined again the pieces are the text.
"""

from __future__ import annotations

import re
import unicodedata
from collections.abc import Iterator
from typing import Final

__all__ = ["cut"]

#: What belongs to the character before it besides combining marks: joiners, variation selectors,
#: skin colors, and the tags that make the flags of regions.
_EXTENDING: Final = re.compile(
    "[\u200d\ufe00-\ufe0f\U0001f3fb-\U0001f3ff\U000e0020-\U000e007f\U000e0100-\U000e01ef]"
)
_REGIONAL: Final = re.compile("[\U0001f1e6-\U0001f1ff]")


def cut(text: str, most_bytes: int) -> list[str]:
    """Cut a text; no piece has more bytes, and a character that is longer alone is cut inside."""
    if len(text.encode("utf-8", "replace")) <= most_bytes:
        return [text]
    pieces: list[str] = []
    piece, size, blank = "", 0, 0  # `blank`: where the piece may end behind a blank
    for character in _bounded(text, most_bytes):
        more = len(character.encode("utf-8", "replace"))
        while size + more > most_bytes:
            end = blank if blank > len(piece) // 2 else len(piece)
            pieces.append(piece[:end])
            piece = piece[end:]
            size, blank = len(piece.encode("utf-8", "replace")), 0
        piece += character
        size += more
        if character.isspace():
            blank = len(piece)
    return [*pieces, piece]


def _bounded(text: str, most_bytes: int) -> Iterator[str]:
    """Yield the characters as people see them; one that is too long in its code points."""
    for character in _characters(text):
        if len(character.encode("utf-8", "replace")) > most_bytes:
            yield from character
        else:
            yield character


def _characters(text: str) -> Iterator[str]:
    start, flags = 0, 0
    for place, each in enumerate(text):
        regional = _REGIONAL.match(each) is not None
        joined = place > 0 and (
            unicodedata.category(each) in ("Mn", "Me", "Mc")
            or _EXTENDING.match(each) is not None
            or text[place - 1] == "\u200d"
            or text[place - 1 : place + 1] == "\r\n"
            or (regional and flags % 2 == 1)
        )
        if not joined and place > start:
            yield text[start:place]
            start = place
        flags = flags + 1 if regional else 0
    if start < len(text):
        yield text[start:]
