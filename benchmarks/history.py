"""
Start, memory and queries of a daemon that has a long history, many lines and a backlog.

The history is written straight into SQLite by this module; ``python -m benchmarks.history FILE
--messages N`` does only that, into a database that the daemon has made.
"""

from __future__ import annotations

import argparse
import random
import sqlite3
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from sqlalchemy import insert
from sqlalchemy.dialects import sqlite

from benchmarks import rig
from benchmarks.child import Child
from benchmarks.figures import Section, percentile
from benchmarks.phones import TEXT, number_of_line
from benchmarks.rig import Bridge, Setup
from smsbridge.core.message import Direction, Kind, Status
from smsbridge.core.routing import conversation
from smsbridge.store import database, schema
from smsbridge.store.index import SearchIndex

DESCRIPTION = "start, memory and queries with 1,000,000 messages, 1,000 lines, 50,000 waiting"

_DAY_MS = 86_400_000
_BATCH = 20_000
_WORDS = (
    *("train", "station", "ticket", "morning", "evening", "coffee", "market", "office", "doctor"),
    *("garden", "window", "letter", "bridge", "number", "answer", "meeting", "school", "street"),
)


def run(setup: Setup) -> list[Section]:
    """Measure."""
    messages = setup.count(1_000_000)
    waiting = setup.count(50_000)
    lines = int(setup.options.get("lines", "1000"))
    section = Section("History", ("what", "value", "unit"))
    daemon = Bridge(setup.folder / "bridge", lines=lines, users=4, component_port=rig.free_port())
    daemon.start().stop()  # makes the tables
    path = daemon.state / "smsbridge.sqlite3"
    began_s = time.monotonic()
    write(path, messages, waiting, lines)
    section.add("messages in the history", messages, "")
    section.add("texts that wait for XMPP users", waiting, "")
    section.add("time to write them", time.monotonic() - began_s, "s")
    section.add("size of the database", path.stat().st_size / 1e6, "MB")
    began_s = time.monotonic()
    bridge = daemon.start(wait=False)
    with bridge:
        daemon.wait_until_ready(bridge)
        section.add("start to ready", time.monotonic() - began_s, "s")
        section.add("start to ready, CPU", bridge.cpu_s(), "s")
        section.add("memory when ready", bridge.memory_mb(), "MB")
        with rig.phones(
            setup, "take", daemon.udp_port, "idle", count=1, lines=lines, seconds=20
        ) as phones:
            phones.hear(60)
            section.add(f"memory with {lines} lines registered", _settled_memory_mb(bridge), "MB")
            _queries(section, daemon)
            section.add("memory after the queries", bridge.memory_mb(), "MB")
    return [section]


def _settled_memory_mb(bridge: Child) -> float:
    time.sleep(3)
    return bridge.memory_mb()


def _queries(section: Section, daemon: Bridge) -> None:
    """Ask as the commands and the inbox do, and note the median and the worst of some."""
    number = number_of_peer(17).replace("+", "%2B")
    for title, path in (
        ("messages --limit 50", "/messages?limit=50"),
        ("messages of a line, 50", "/messages?limit=50&line=line17"),
        ("conversation with a number, 50", f"/messages?limit=50&number={number}"),
        ("conversation on a line, 50", f"/messages?limit=50&line=line17&number={number}"),
        ("queue, 100", "/queue?limit=100"),
        ("status", "/status"),
    ):
        taken_s = []
        for _ in range(7):
            began_s = time.monotonic()
            daemon.control.ask("GET", path)
            taken_s.append(time.monotonic() - began_s)
        section.add(f"{title}: median", percentile(sorted(taken_s), 0.5) * 1000, "ms")
        section.add(f"{title}: slowest", max(taken_s) * 1000, "ms")


def number_of_peer(index: int) -> str:
    """Return one of 9,700 fictional numbers of other people."""
    return f"+1{303 + index // 97:03d}555{100 + index % 97:04d}"


def write(path: Path, messages: int, waiting: int, lines: int) -> None:
    """
    Write a history of finished texts, and texts from phones that wait for users.

    The durability of the file is switched off meanwhile; nothing else may have it open.
    """
    connection = sqlite3.connect(path, isolation_level=None)
    for pragma in ("synchronous = OFF", "cache_size = -200000", "foreign_keys = OFF"):
        connection.execute(f"PRAGMA {pragma}")
    now_ms = time.time_ns() // 1_000_000
    rng = random.Random(17)
    oldest_ms = now_ms - 365 * _DAY_MS
    step_ms = max(1, (now_ms - oldest_ms - _DAY_MS) // max(1, messages))
    rows = _texts(rng, messages, lines, oldest_ms, step_ms, None)
    _insert(connection, rows)
    _insert(connection, _texts(rng, waiting, lines, now_ms - 60_000, 1, now_ms))
    for statement in _CONVERSATIONS:
        connection.execute(statement)
    connection.execute("ANALYZE")
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()
    _index(path)


_CONVERSATIONS = (
    "INSERT OR REPLACE INTO conversations (conversation, line, parties, last_message_id,"
    " last_in_id) SELECT conversation, line, substr(conversation, length(line) + 2),"
    " max(message_id), max(CASE direction WHEN 'in' THEN message_id ELSE '' END)"
    " FROM messages GROUP BY conversation, line",
    "INSERT OR IGNORE INTO conversation_parties (party, conversation)"
    " SELECT parties, conversation FROM conversations",
)


def _index(path: Path) -> None:
    """Index the words, which a daemon that wrote the texts itself would have done long ago."""
    writer, reader = database.open_engines(database.url_of(f"sqlite:///{path}", path.parent))
    reader.dispose()
    index = SearchIndex()
    with writer.connect() as connection:
        while True:
            with connection.begin():
                if index(connection, [None], False) == [0]:
                    break
    writer.dispose()


def queue_texts(path: Path, lines: int, count: int) -> None:
    """Queue texts for GoIP lines, in turn."""
    connection = sqlite3.connect(path, isolation_level=None)
    connection.execute("PRAGMA synchronous = OFF")
    now_ms = time.time_ns() // 1_000_000

    def rows() -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
        for number in range(count):
            index = number % lines
            to = f"+1303555{100 + number // lines % 97:04d}"
            yield _text(
                number,
                uuid7(now_ms, number),
                now_ms,
                f"line{index + 1}",
                index,
                to,
                TEXT % number,
                incoming=False,
                status=Status.QUEUED,
            )

    _insert(connection, rows())
    connection.execute("PRAGMA wal_checkpoint(TRUNCATE)")
    connection.close()


def uuid7(at_ms: int, number: int) -> str:
    """Make an id that sorts by time and then by number."""
    low, high = number & 0xFFF, number >> 12 & 0xFFF
    text = f"{at_ms & 0xFFFFFFFFFFFF:012x}7{high:03x}8{low:03x}{number:012x}"
    return f"{text[:8]}-{text[8:12]}-{text[12:16]}-{text[16:20]}-{text[20:32]}"


def _texts(
    rng: random.Random, count: int, lines: int, first_ms: int, step_ms: int, queued_ms: int | None
) -> Iterator[tuple[dict[str, Any], dict[str, Any]]]:
    for number in range(count):
        at_ms = first_ms + number * step_ms
        index = rng.randrange(lines)
        peer = number_of_peer(rng.randrange(9700))
        body = " ".join(rng.choices(_WORDS, k=8))
        incoming = queued_ms is not None or number % 3 > 0
        yield _text(
            number,
            uuid7(at_ms, number),
            at_ms,
            f"line{index + 1}",
            index,
            peer,
            body,
            incoming=incoming,
            status=Status.QUEUED if queued_ms is not None else Status.DELIVERED,
        )


def _text(
    number: int,
    message_id: str,
    at_ms: int,
    line: str,
    index: int,
    peer: str,
    body: str,
    *,
    incoming: bool,
    status: Status,
) -> tuple[dict[str, Any], dict[str, Any]]:
    """Make the rows of a text and of its delivery."""
    own = number_of_line(index)
    person = f"user{index % 4 + 1}"
    name = conversation(line, (peer,))
    destination = f"{person}@example.org" if incoming else peer
    waits = status is Status.QUEUED
    message = {
        "message_id": message_id,
        "direction": str(Direction.IN if incoming else Direction.OUT),
        "line": line,
        "sender": peer if incoming else own,
        "recipients": own if incoming else peer,
        "author": "" if incoming else person,
        "body": body,
        "conversation": name,
        "segments": 0 if incoming else 1,
        "created_at_ms": at_ms,
        "sent_at_ms": None,
        "origin_gateway": None,
        "origin_lane": None,
        "origin_address": None,
        "origin_ref": None,
        "wants_report": False,
    }
    delivery = {
        "delivery_id": f"{message_id}.0",
        "message_id": message_id,
        "kind": str(Kind.MESSAGE),
        "gateway": "xmpp" if incoming else "box",
        "lane": "xmpp" if incoming else f"box/{line}",
        "line": line,
        "person": person if incoming else "",
        "destination": destination,
        "order_key": f"{name} {destination}",
        "status": str(status),
        "attempts": 0 if waits else 1,
        "due_at_ms": at_ms if waits else None,
        "expires_at_ms": at_ms + 30 * _DAY_MS,
        "created_at_ms": at_ms,
        "sending_at_ms": None if waits else at_ms + 5,
        "sent_at_ms": None if waits else at_ms + 20,
        "finished_at_ms": None if waits else at_ms + 4000,
        "owner": None if waits else "bench",
        "remote_id": None if waits or incoming else str(number % 256),
        "reason": "",
        "detail": "",
        "note": None,
        "ref": None,
        "reported": None,
        "told": False,
    }
    return message, delivery


def _insert(
    connection: sqlite3.Connection, rows: Iterator[tuple[dict[str, Any], dict[str, Any]]]
) -> None:
    dialect = sqlite.dialect(paramstyle="named")
    statements = None
    while True:
        batch = [pair for pair, _ in zip(rows, range(_BATCH), strict=False)]
        if not batch:
            return
        if statements is None:
            statements = [
                str(insert(each).compile(dialect=dialect, column_keys=list(columns)))
                for each, columns in (
                    (schema.messages, batch[0][0]),
                    (schema.deliveries, batch[0][1]),
                )
            ]
        connection.execute("BEGIN")
        for which, statement in enumerate(statements):
            connection.executemany(statement, [pair[which] for pair in batch])
        connection.execute("COMMIT")


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.history", description=__doc__)
    options.add_argument("file", type=Path, help="smsbridge.sqlite3 of a daemon that is stopped")
    options.add_argument("--messages", type=int, default=1_000_000)
    options.add_argument("--waiting", type=int, default=0)
    options.add_argument("--lines", type=int, default=1000)
    given = options.parse_args()
    began_s = time.monotonic()
    write(given.file, given.messages, given.waiting, given.lines)
    print(f"{given.messages + given.waiting} messages in {time.monotonic() - began_s:.0f} s")


if __name__ == "__main__":
    _main()
