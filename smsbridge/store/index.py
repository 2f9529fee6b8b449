"""
Keeps the index of words that `search` asks.

On SQLite it is a table of FTS5 that holds no text, only which words are in which message, and is
brought up to date by an operation of its own, some texts at a time, in the order of their rows.  On
PostgreSQL and MariaDB every accept writes the words beside the message.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from sqlalchemy import Column, Connection, Dialect, MetaData, String, Table, Text, text
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger

from smsbridge.core.entries import NewMessage
from smsbridge.errors import TemporaryFailure
from smsbridge.store.bulk import BulkInsert
from smsbridge.store.words import index_text, index_words, spaced

__all__ = [
    "Indexer",
    "SearchIndex",
    "WordRows",
    "document_of",
    "forget_words_txn",
    "has_index",
    "id_begins",
    "indexed_upto",
]

_AT_ONCE: Final = 500  # texts that one transaction indexes
_SOON_S: Final = 1.0  # after a text came
_NEXT_S: Final = 0.05  # between two transactions when there is more
_TAIL_BITS: Final = 22
_LARGEST: Final = (1 << 63) - 1  # that SQLite counts
_WORTH_A_LINE: Final = 20  # transactions


# -- SQLite --------------------------------------------------------------------------------------


def document_of(message_id: str) -> int:
    """
    Make the key of a message in the index: its time in milliseconds and the last bits of its id.

    Two messages may have one, which then finds both.  What is no id is younger than all.
    """
    bare = message_id.replace("-", "")
    try:
        time, tail = int(bare[:12], 16), int(bare[-6:], 16) & (1 << _TAIL_BITS) - 1
    except ValueError:
        return _LARGEST
    return min(time << _TAIL_BITS | tail, _LARGEST)


def id_begins(document: int) -> str:
    """Return what the ids of messages of a document's time begin with."""
    time = f"{document >> _TAIL_BITS:012x}"
    return f"{time[:8]}-{time[8:]}"


_has_fts5 = text("SELECT 1 FROM pragma_module_list WHERE name = 'fts5'")
_has_table = text("SELECT 1 FROM sqlite_master WHERE name = 'message_words_upto'")
_make = (
    # No columns and no positions in it: one word is enough to be found, and it is a third smaller.
    "CREATE VIRTUAL TABLE message_words USING fts5(words, content='', detail=none, columnsize=0,"
    " tokenize=\"unicode61 remove_diacritics 2 tokenchars '_'\")",
    "CREATE TABLE message_words_upto (upto INTEGER NOT NULL, message_id TEXT NOT NULL)",
    "INSERT INTO message_words_upto VALUES (0, '')",
)
_get_upto = text("SELECT upto, message_id FROM message_words_upto")
_set_upto = text("UPDATE message_words_upto SET upto = :upto, message_id = :message_id")
_id_at = text("SELECT message_id FROM messages WHERE rowid = :upto")
# The rows were numbered anew (by VACUUM), or the newest ones were purged.
_row_of = text("SELECT coalesce(max(rowid), 0) FROM messages WHERE message_id <= :message_id")
_next = text(
    "SELECT rowid, message_id, line, conversation, body FROM messages WHERE rowid > :upto"
    " ORDER BY rowid LIMIT :most"
)
_bodies = (
    "SELECT rowid, message_id, line, conversation, body FROM messages WHERE message_id IN ({})"
)


def has_index(connection: Connection) -> bool:
    """Tell whether a SQLite database has an index of words that this SQLite can use."""
    return bool(connection.execute(_has_fts5).scalar() and connection.execute(_has_table).scalar())


def indexed_upto(connection: Connection) -> int:
    """Return the row of `messages` up to which a SQLite database is indexed."""
    upto: int = connection.execute(_get_upto).scalar_one()
    return upto


class SearchIndex:
    """
    Indexes the next texts of a SQLite database; items are ignored.

    Results are how many there were to index, at most `_AT_ONCE`.  Without FTS5 that is none.
    """

    rank = 9

    def __init__(self) -> None:
        self._usable: bool | None = None

    def __call__(
        self, connection: Connection, items: Sequence[object], again: bool
    ) -> Sequence[int]:
        """Index them."""
        return [self._one(connection)] + [0] * (len(items) - 1)

    def _one(self, connection: Connection) -> int:
        if self._usable is None:
            self._usable = self._begin(connection)
        if not self._usable:
            return 0
        upto, message_id = connection.execute(_get_upto).one()
        if upto and connection.execute(_id_at, {"upto": upto}).scalar() != message_id:
            upto = connection.execute(_row_of, {"message_id": message_id}).scalar_one()
        rows = connection.execute(_next, {"upto": upto, "most": _AT_ONCE}).all()
        if rows:
            _write(connection, "INSERT INTO message_words (rowid, words) VALUES ", rows)
            last = rows[-1]
            connection.execute(_set_upto, {"upto": last.rowid, "message_id": last.message_id})
        return len(rows)

    def _begin(self, connection: Connection) -> bool:
        if not connection.execute(_has_fts5).scalar():
            return False
        if not connection.execute(_has_table).scalar():
            for statement in _make:
                connection.exec_driver_sql(statement)
        return True


def _write(connection: Connection, head: str, rows: Sequence[Any], row: str = "(?, ?)") -> None:
    values = tuple(
        value
        for each in rows
        for value in (
            document_of(each.message_id),
            index_text(each.line, each.conversation, each.body),
        )
    )
    connection.exec_driver_sql(head + ", ".join([row] * len(rows)), values)


def forget_words_txn(connection: Connection, message_ids: Sequence[str]) -> None:
    """Take messages that are about to be deleted out of the index."""
    if connection.dialect.name != "sqlite" or not has_index(connection):
        return  # elsewhere the words go with the message
    upto = indexed_upto(connection)
    rows = [
        row
        for row in connection.exec_driver_sql(
            _bodies.format(", ".join("?" * len(message_ids))), tuple(message_ids)
        )
        if row.rowid <= upto
    ]
    if rows:
        # An index without the texts must be told the words that it is to forget.
        _write(
            connection,
            "INSERT INTO message_words (message_words, rowid, words) VALUES ",
            rows,
            "('delete', ?, ?)",
        )


class Indexer:
    """
    Has a SQLite database indexed a moment after texts came, and the rest after a start.

    :param index: writes the next texts; fires with how many there were.
    :param is_busy: whether the writer has something more urgent.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorTime,
        index: Callable[[], Deferred[int]],
        is_busy: Callable[[], bool],
    ) -> None:
        self._reactor = reactor
        self._index = index
        self._is_busy = is_busy
        self._call: IDelayedCall | None = None
        self._indexing = False
        self._missed = False
        self._in_a_row = 0
        self._stopped = False

    def texts_came(self) -> None:
        """Index soon."""
        if self._call is None and not self._indexing:
            self._call_in(_SOON_S)
        else:
            self._missed = self._indexing

    def stop(self) -> None:
        """Index no more."""
        self._stopped = True
        if self._call is not None:
            self._call.cancel()
            self._call = None

    def _call_in(self, seconds: float) -> None:
        if not self._stopped:
            self._call = self._reactor.callLater(seconds, self._go)

    def _go(self) -> None:
        self._call = None
        self._indexing, self._missed = True, False
        self._index().addCallbacks(self._indexed, self._failed)

    def _indexed(self, count: int) -> None:
        self._indexing = False
        if count == _AT_ONCE:
            self._in_a_row += 1
            if self._in_a_row == _WORTH_A_LINE:
                self.log.info("indexing the texts for the search; older ones are found already")
            self._call_in(_SOON_S if self._is_busy() else _NEXT_S)
            return
        if self._in_a_row >= _WORTH_A_LINE:
            self.log.info("all texts are indexed for the search")
        self._in_a_row = 0
        if self._missed:
            self._call_in(_SOON_S)

    def _failed(self, failure: Any) -> None:
        self._indexing = False
        if failure.check(TemporaryFailure):
            return  # the store is closing; the next start goes on
        self.log.failure("texts could not be indexed for the search", failure=failure)


# -- PostgreSQL and MariaDB ----------------------------------------------------------------------

_words = Table("message_words", MetaData(), Column("message_id", String), Column("words", Text))


class WordRows:
    """Writes the words of messages beside them, where the database indexes inline."""

    def __init__(self, dialect: Dialect) -> None:
        self._insert: BulkInsert | None = None
        self._as_array = dialect.name == "postgresql"
        if dialect.name != "sqlite":
            row = "(%s, array_to_tsvector(%s))" if self._as_array else ""
            self._insert = BulkInsert(_words, ("message_id", "words"), dialect, row=row)

    def insert(self, connection: Connection, of: Iterable[NewMessage]) -> None:
        """Write the words of messages that were inserted just now."""
        if self._insert is None:
            return
        rows: list[tuple[str, Any]] = []
        for message in of:
            words = index_words(message.line, message.conversation, message.body)
            rows.append((message.message_id, words if self._as_array else spaced(words)))
        self._insert.run(connection, rows)
