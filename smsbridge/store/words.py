"""
Cuts texts into the words by which they are found; pure.

Words are runs of letters and digits without case and accents; characters of scripts that are
written without blanks are words by themselves.  Beside its words a text has two marks, of its line
and of its conversation, so that the index itself leaves out what is elsewhere.  A mark begins with
an underscore, which no word does.
"""

from __future__ import annotations

import re
import unicodedata
import zlib
from collections.abc import Iterable
from typing import Final

__all__ = [
    "LONGEST_WORD",
    "conversation_mark",
    "folded",
    "holds",
    "index_text",
    "index_words",
    "line_mark",
    "spaced",
    "words_of",
]

#: Of a longer word, only the beginning is indexed and looked for.
LONGEST_WORD: Final = 64
_MOST_WORDS: Final = 10  # that are looked for at once
_MOST_INDEXED: Final = 3000  # of one text; PostgreSQL takes a megabyte of them

_WORD: Final = re.compile(r"[^\W_]+")
# Han, kana and what goes with them, Thai, Lao, Khmer, Burmese, Tibetan.
_UNSPACED: Final = re.compile(
    "([\u0e00-\u0fff\u1000-\u109f\u1780-\u17ff\u2e80-\ua4cf\uf900-\ufaff\U00020000-\U0003ffff])"
)


def folded(text: str) -> str:
    """Take case and accents off, and set characters apart that are words by themselves."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text).casefold()
    bare = "".join(letter for letter in apart if not unicodedata.combining(letter))
    return _UNSPACED.sub(r" \1 ", bare)


def words_of(text: str) -> tuple[str, ...]:
    """Cut what was typed into the beginnings of words to look for."""
    found = dict.fromkeys(word[:LONGEST_WORD] for word in _WORD.findall(folded(text)))
    return tuple(found)[:_MOST_WORDS]


def holds(body: str, words: tuple[str, ...]) -> bool:
    """Tell whether each of the words is the beginning of a word of the text."""
    text = folded(body)
    for word in words:
        if word not in text:
            return False
    own = set(_WORD.findall(text))
    return all(any(each.startswith(word) for each in own) for word in words)


def line_mark(line: str) -> str:
    """Name a line in the index; two lines may have one mark."""
    return f"_l{zlib.crc32(line.encode()):08x}"


def conversation_mark(conversation: str) -> str:
    """Name a conversation in the index; two conversations may have one mark."""
    return f"_c{zlib.crc32(conversation.encode()):08x}"


def index_words(line: str, conversation: str, body: str) -> list[str]:
    """List the words of a text and its marks, each once."""
    found = {word[:LONGEST_WORD] for word in _WORD.findall(folded(body))}
    if len(found) > _MOST_INDEXED:
        found = set(sorted(found)[:_MOST_INDEXED])
    return [line_mark(line), conversation_mark(conversation), *found]


def spaced(words: Iterable[str]) -> str:
    """Write words down for MariaDB, which indexes those of three characters and more."""
    return " ".join(word if len(word) > 2 else word.ljust(3, "_") for word in words)


def index_text(line: str, conversation: str, body: str) -> str:
    """Write the same down for an index that cuts ASCII into words in the same way."""
    if body.isascii():
        words = body.replace("_", " ") if "_" in body else body
    else:
        words = " ".join(_WORD.findall(folded(body)))
    return f"{line_mark(line)} {conversation_mark(conversation)} {words}"
