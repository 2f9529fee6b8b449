"""
Finds texts by their words.

Each word that is asked for is the beginning of a word of the text; letters are compared without
case and accents.
"""

from __future__ import annotations

import heapq
import re
import unicodedata
from typing import Final

from sqlalchemy import Connection, and_, select

from smsbridge.core.entries import MessageQuery
from smsbridge.core.records import MessageRecord
from smsbridge.core.threads import SearchQuery
from smsbridge.store.history import messages_txn
from smsbridge.store.rows import padded
from smsbridge.store.schema import conversation_parties, messages
from smsbridge.store.sight import not_hidden

__all__ = ["folded", "search_txn", "words_of"]

_MOST_WORDS: Final = 10
_LONGEST_WORD: Final = 64
_RECENT: Final = 4000
_LAST: Final = "g"

_m = messages.c
_WORD: Final = re.compile(r"[^\W_]+")


def folded(text: str) -> str:
    """Take case and accents off."""
    if text.isascii():
        return text.lower()
    apart = unicodedata.normalize("NFKD", text.casefold())
    return "".join(letter for letter in apart if not unicodedata.combining(letter))


def words_of(text: str) -> tuple[str, ...]:
    """Cut what was typed into words to look for."""
    found = dict.fromkeys(word[:_LONGEST_WORD] for word in _WORD.findall(folded(text)))
    return tuple(found)[:_MOST_WORDS]


def holds(body: str, words: tuple[str, ...]) -> bool:
    """Tell whether each of the words is the beginning of a word of the text."""
    text = folded(body)
    if not all(word in text for word in words):
        return False
    own = set(_WORD.findall(text))
    return all(any(each.startswith(word) for each in own) for word in words)


def search_txn(connection: Connection, query: SearchQuery) -> list[MessageRecord]:
    """Find texts, newest first."""
    words = words_of(query.words)
    if not words:
        return []
    viewer = query.viewer
    conditions = [_m.message_id < (query.before_id or _LAST), not_hidden(viewer.person)]
    if query.conversation:
        conditions.append(_m.conversation == query.conversation)
    statement = select(_m.message_id, _m.body).where(*conditions)
    statement = statement.order_by(_m.message_id.desc()).limit(_RECENT)
    sources = [_m.line == line for line in viewer.lines if query.line in ("", line)]
    if not query.line:
        own = select(conversation_parties.c.conversation).where(
            conversation_parties.c.party == viewer.person
        )
        sources.append(and_(_m.line == "", _m.conversation.in_(own)))
    found: list[str] = []
    for source in sources:
        found.extend(
            row.message_id
            for row in connection.execute(statement.where(source))
            if holds(row.body, words)
        )
    best = heapq.nlargest(query.limit, found)
    if not best:
        return []
    return messages_txn(connection, MessageQuery(message_ids=tuple(padded(best))))[::-1]
