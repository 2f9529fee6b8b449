"""
What the web inbox asks the store, with a long history: lists, threads, searches.

The history is written straight into the database by this module: one busy line, some others and a
quiet one, a conversation with a tenth of all texts, words of every frequency.  Each question is
asked as a viewer with all lines, with the busy and the quiet one, and with the quiet one alone.
``--set databases="sqlite postgresql mariadb"`` names the databases (sqlite).
"""

from __future__ import annotations

import itertools
import random
import time
from collections.abc import Callable, Iterator, Sequence
from types import SimpleNamespace
from typing import Any

from sqlalchemy import Connection, Engine, Table, insert

from benchmarks.figures import Section
from benchmarks.history import number_of_peer, uuid7
from benchmarks.phones import number_of_line
from benchmarks.rig import Setup
from smsbridge.core.entries import MessageQuery
from smsbridge.core.message import Direction, Kind, Status
from smsbridge.core.routing import conversation
from smsbridge.core.threads import ConversationQuery, SearchQuery, ThreadQuery, Viewer
from smsbridge.store import database, schema, threads
from smsbridge.store.history import messages_txn
from smsbridge.store.index import SearchIndex, WordRows
from smsbridge.store.search import search_txn

DESCRIPTION = "conversation list, threads and search with 1,000,000 messages"

_DAY_MS = 86_400_000
_BATCH = 10_000
_LINES = 30
_RUNS = 7
_VOCABULARY = tuple(f"word{number:05d}" for number in range(40_000))
_WEIGHTS = tuple(itertools.accumulate(1 / (number + 5) for number in range(len(_VOCABULARY))))
_BUSY = "line1"
_QUIET = f"line{_LINES}"


def run(setup: Setup) -> list[Section]:
    """Measure."""
    sections = []
    for name in setup.options.get("databases", "sqlite").split():
        server = None if name == "sqlite" else _server(name)
        url = name if server is None else server.create_database()
        section = Section(f"Inbox on {name}", ("what", "first ms", "median ms", "slowest ms"))
        writer, reader = database.open_engines(database.url_of(url, setup.folder))
        try:
            database.prepare(writer)
            _measure(section, writer, reader, setup.count(1_000_000))
        finally:
            writer.dispose()
            reader.dispose()
            if server is not None:
                server.stop()
        sections.append(section)
    return sections


def _server(name: str) -> Any:
    # Its servers end with the process; importing it here keeps the drivers out of the other parts.
    from tests.end_to_end import databases

    return databases.mariadb() if name == "mariadb" else databases.postgresql()


def _measure(section: Section, writer: Engine, reader: Engine, count: int) -> None:
    began_s = time.monotonic()
    history = History(count)
    with writer.connect() as connection:
        history.write(connection)
        section.notes.append(
            f"{count:,} texts in {history.conversations:,} conversations, written in "
            f"{time.monotonic() - began_s:.0f} s"
        )
        began_s = time.monotonic()
        index = SearchIndex()
        while connection.dialect.name == "sqlite":
            with connection.begin():
                if not index(connection, [None], False)[0]:
                    break
        section.notes.append(f"words indexed in {time.monotonic() - began_s:.0f} s more")
    with reader.connect() as connection:
        for title, ask in history.questions():
            _time(section, connection, title, ask)


def _time(
    section: Section, connection: Connection, title: str, ask: Callable[[Connection], object]
) -> None:
    taken_ms = []
    for _ in range(_RUNS):
        began_s = time.monotonic()
        ask(connection)
        taken_ms.append((time.monotonic() - began_s) * 1000)
        connection.rollback()
    section.add(title, taken_ms[0], sorted(taken_ms)[_RUNS // 2], max(taken_ms[1:]))


class History:
    """
    A year of texts.

    :ivar conversations: how many there are.
    """

    def __init__(self, count: int) -> None:
        self.count = count
        self.conversations = max(20, count // 10)
        self._rng = random.Random(17)
        now_ms = time.time_ns() // 1_000_000
        self._step_ms = max(1, 365 * _DAY_MS // count)
        self._first_ms = now_ms - count * self._step_ms
        self._last: dict[int, tuple[str, str]] = {}  # by conversation: newest, newest that came in
        self.ids_of_first: list[str] = []  # of the largest conversation

    def _party(self, number: int) -> tuple[str, str]:
        """Return the line and the number of a conversation."""
        if number < 20:
            return (_QUIET if number else _BUSY), number_of_peer(number)
        line = _BUSY if number % 10 < 7 else f"line{2 + number % (_LINES - 2)}"
        return line, f"+1{303 + number // 10_000}5{number % 10_000:04d}01"

    def _conversation(self, number: int) -> int:
        if number % 10 == 0:
            return 0
        if number % 5000 == 1:
            return 1 + self._rng.randrange(19)
        return 20 + int((self.conversations - 20) * self._rng.random() ** 2)

    def _body(self, number: int) -> str:
        words = self._rng.choices(_VOCABULARY, cum_weights=_WEIGHTS, k=8)
        if number % 3 == 0:
            words.append("Hello")
        if number % 100_000 == 7:
            words.append("zebra")
        if number % 50 == 1 and number < self.count // 2:
            words.append("Müller")
        if number == 500:
            words.append("quagga")
        return " ".join(words)

    def write(self, connection: Connection) -> None:
        """Fill the tables."""
        if connection.dialect.name == "sqlite":
            driver: Any = connection.connection.driver_connection
            for pragma in ("foreign_keys = OFF", "synchronous = OFF", "cache_size = -200000"):
                driver.execute(f"PRAGMA {pragma}")
        words = WordRows(connection.dialect)
        texts = self._texts()
        while batch := list(itertools.islice(texts, _BATCH)):
            _insert(connection, schema.messages, [message for message, _ in batch])
            _insert(connection, schema.deliveries, [delivery for _, delivery in batch])
            with connection.begin():
                of: list[Any] = [SimpleNamespace(**message) for message, _ in batch]
                words.insert(connection, of)
        rows = list(self._conversations())
        for start in range(0, len(rows), _BATCH):
            part = rows[start : start + _BATCH]
            _insert(connection, schema.conversations, part)
            _insert(
                connection,
                schema.conversation_parties,
                [{"party": row["parties"], "conversation": row["conversation"]} for row in part],
            )
            # A person who has read every second conversation, and put every tenth away.
            _insert(
                connection,
                schema.conversation_states,
                [
                    {
                        "person": "user1",
                        "conversation": row["conversation"],
                        "read_id": row["last_message_id"],
                        "hidden_id": "",
                        "archived_id": row["last_message_id"] if number % 10 == 0 else "",
                        "tail_id": "",
                        "shown_id": "",
                        "muted": False,
                        "draft": "",
                        "changed_at_ms": 0,
                    }
                    for number, row in enumerate(part)
                    if number % 2 == 0
                ],
            )
        # A daemon asks SQLite for no statistics; the servers collect theirs by themselves.
        analyze = _ANALYZE.get(connection.dialect.name)
        if analyze is not None:
            outside = connection.execution_options(isolation_level="AUTOCOMMIT")
            outside.exec_driver_sql(analyze)
            outside.rollback()

    def _texts(self) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for number in range(self.count):
            at_ms = self._first_ms + number * self._step_ms
            which = self._conversation(number)
            line, peer = self._party(which)
            own = number_of_line(int(line[4:]))
            incoming = number % 3 != 1
            message_id = uuid7(at_ms, number)
            newest_in = message_id if incoming else self._last.get(which, ("", ""))[1]
            self._last[which] = (message_id, newest_in)
            if which == 0:
                self.ids_of_first.append(message_id)
            message = {
                "message_id": message_id,
                "direction": str(Direction.IN if incoming else Direction.OUT),
                "line": line,
                "sender": peer if incoming else own,
                "recipients": own if incoming else peer,
                "author": "" if incoming else "user1",
                "body": self._body(number),
                "conversation": conversation(line, (peer,)),
                "segments": 0 if incoming else 1,
                "created_at_ms": at_ms,
                "wants_report": False,
            }
            delivery = {
                "delivery_id": f"{message_id}.0",
                "message_id": message_id,
                "kind": str(Kind.MESSAGE),
                "gateway": "xmpp" if incoming else "box",
                "lane": "xmpp" if incoming else f"box/{line}",
                "line": line,
                "person": "user1" if incoming else "",
                "destination": "user1@example.org" if incoming else peer,
                "order_key": f"{line}|{peer}",
                "status": str(Status.DELIVERED),
                "attempts": 1,
                "expires_at_ms": at_ms + _DAY_MS,
                "created_at_ms": at_ms,
                "sending_at_ms": at_ms + 5,
                "sent_at_ms": at_ms + 20,
                "finished_at_ms": at_ms + 4000,
                "reason": "",
                "detail": "",
                "told": False,
            }
            yield message, delivery

    def _conversations(self) -> Iterator[dict[str, Any]]:
        for which, (newest, newest_in) in self._last.items():
            line, peer = self._party(which)
            yield {
                "conversation": conversation(line, (peer,)),
                "line": line,
                "parties": peer,
                "last_message_id": newest,
                "last_in_id": newest_in,
            }

    def questions(self) -> Iterator[tuple[str, Callable[[Connection], object]]]:
        """Name what is asked, and ask it."""
        every = tuple(f"line{number}" for number in range(1, _LINES + 1))
        viewers = (
            ("all lines", Viewer("user1", every)),
            ("busy and quiet line", Viewer("user1", (_BUSY, _QUIET))),
            ("quiet line", Viewer("user1", (_QUIET,))),
            ("all lines, nothing read yet", Viewer("user2", every)),
        )
        middle = self.ids_of_first[len(self.ids_of_first) // 2]
        for who, viewer in viewers:
            for folder in ("inbox", "unread", "archived", "all"):
                query = ConversationQuery(viewer=viewer, folder=folder)
                yield f"conversations, {folder}, {who}", _asks(threads.conversations_txn, query)
            query = ConversationQuery(viewer=viewer, before_id=middle)
            yield f"conversations, half a year ago, {who}", _asks(threads.conversations_txn, query)
            yield f"count of unread conversations, {who}", _asks(threads.unread_txn, viewer)
            for words in (
                *("hello", "hello word00", "müller", "zebra", "quagga", "absent", "h", "word0"),
                *("müller hello", "müller word00001", "5550", self._party(300)[1]),
            ):
                search = SearchQuery(viewer=viewer, words=words)
                yield f"search '{words}', {who}", _asks(search_txn, search)
        viewer = viewers[0][1]
        query = ConversationQuery(viewer=viewer, part="5550")
        yield "conversations with a part of a number", _asks(threads.conversations_txn, query)
        first = conversation(*_one(self._party(0)))
        places: tuple[tuple[str, dict[str, Any]], ...] = (
            ("newest", {}),
            ("before one in the middle", {"before_id": middle}),
            ("after one in the middle", {"after_id": middle}),
            ("around one in the middle", {"around_id": middle}),
            ("the very first", {"after_id": "0"}),
        )
        for title, which in places:
            thread = ThreadQuery(viewer=viewer, conversation=first, **which)
            yield (
                f"thread of {len(self.ids_of_first):,} texts, {title}",
                _asks(threads.thread_txn, thread),
            )
        search = SearchQuery(viewer=viewer, words="zebra", conversation=first)
        yield "search 'zebra' in that thread", _asks(search_txn, search)
        for title, messages in (
            ("number of that thread", MessageQuery(number=self._party(0)[1], limit=50)),
            ("number with few texts", MessageQuery(number=self._party(300)[1], limit=50)),
            ("busy line", MessageQuery(line=_BUSY, limit=50)),
            ("quiet line", MessageQuery(line=_QUIET, limit=50)),
        ):
            yield f"messages, {title}", _asks(messages_txn, messages)


_ANALYZE = {
    "postgresql": "VACUUM ANALYZE",
    "mysql": "ANALYZE TABLE messages, conversations, conversation_states",
}


def _one(party: tuple[str, str]) -> tuple[str, tuple[str]]:
    line, number = party
    return line, (number,)


def _asks(ask: Callable[[Connection, Any], object], query: Any) -> Callable[[Connection], object]:
    return lambda connection: ask(connection, query)


def _insert(connection: Connection, table: Table, rows: Sequence[dict[str, Any]]) -> None:
    if not rows:
        return
    columns = list(rows[0])
    with connection.begin():
        if connection.dialect.name == "postgresql":
            driver: Any = connection.connection.driver_connection
            head = f"COPY {table.name} ({', '.join(columns)}) FROM STDIN"
            with driver.cursor() as cursor, cursor.copy(head) as copy:
                for row in rows:
                    copy.write_row(list(row.values()))
            return
        statement = str(insert(table).compile(dialect=connection.dialect, column_keys=columns))
        values = [
            tuple(row[column.name] for column in table.columns if column.name in row)
            for row in rows
        ]
        connection.exec_driver_sql(statement, values)
