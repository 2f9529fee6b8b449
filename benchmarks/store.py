"""
The store alone, in a process of its own: accept, claim and settle on each kind of database.

At most a window of accepts is under way, as the gateways have it; claims and settlements come in
batches of 64.  MariaDB and PostgreSQL keep Debian's defaults, so every commit reaches the disk.
"""

from __future__ import annotations

import argparse
import json
import sys
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import uuid_utils
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import react

from benchmarks.child import Child, python
from benchmarks.figures import Section, latencies
from benchmarks.phones import TEXT
from benchmarks.rig import Setup
from smsbridge.core.entries import Entry, MessageQuery, NewMessage, Settlement
from smsbridge.core.message import Delivery, Direction, Kind, Sent, Status
from smsbridge.store.service import MessageStore, StateFolder

DESCRIPTION = "accept, claim and settle on SQLite, MariaDB and PostgreSQL alone"

_BATCH = 64
_LIFE_MS = 86_400_000


def run(setup: Setup) -> list[Section]:
    """Measure each database."""
    section = Section(
        "Store alone, each text in its message and one delivery",
        (
            "database",
            "window",
            "accept/s",
            "p50 ms",
            "p99 ms",
            "claim/s",
            "settle/s",
            "CPU us",
        ),
    )
    wanted = setup.options.get("databases", "sqlite mariadb postgresql").split()
    for name in wanted:
        server = None if name == "sqlite" else _server(name)
        for window in (1, 64, 1000):
            count = setup.count(30_000 if window > 1 else 1500)
            state = setup.folder / f"{name}-{window}"
            url = name if server is None else server.create_database()
            command = python("benchmarks.store", url, state, "--count", count, "--window", window)
            with Child(name, command, setup.folder / f"{name}.log", talks=True) as child:
                told = child.hear(300)
            section.add(
                name,
                window,
                told["accept_per_s"],
                told["p50_ms"],
                told["p99_ms"],
                told["claim_per_s"],
                told["settle_per_s"],
                told["cpu_us"],
            )
        if server is not None:
            server.stop()
    return [section]


def _server(name: str) -> Any:
    # Its servers end with the process; importing it here keeps the drivers out of the other parts.
    from tests.end_to_end import databases

    return databases.mariadb() if name == "mariadb" else databases.postgresql()


def entry(number: int, now_ms: int) -> Entry:
    """Make what a text to a line looks like to the store."""
    message_id = str(uuid_utils.uuid7())
    delivery = Delivery(
        f"{message_id}.0",
        message_id,
        Kind.MESSAGE,
        "xmpp",
        "xmpp",
        "line1",
        "user1",
        "user1@example.org",
        "line1 +12025550123 user1@example.org",
        Status.QUEUED,
        0,
        now_ms,
        now_ms + _LIFE_MS,
        TEXT % number,
        "+12025550123",
        "",
        ("+12025550100",),
        Direction.IN,
    )
    message = NewMessage(
        message_id,
        Direction.IN,
        "line1",
        "+12025550123",
        ("+12025550100",),
        "",
        TEXT % number,
        "line1 +12025550123",
        0,
        now_ms,
        None,
        None,
    )
    return Entry(
        message,
        (delivery,),
        now_ms,
        now_ms,
        gateway="box",
        dedup_key=f"line1 RECEIVE|{number}|0123456789abcdef01",
        dedup_until_ms=now_ms + 600_000,
    )


async def _measure(reactor: Any, url: str, state: Path, count: int, window: int) -> None:
    store = MessageStore(reactor, StateFolder(state), url, "bench")
    store.startService()
    try:
        await store.messages(MessageQuery(limit=1))  # the connections are open
        now_ms = time.time_ns() // 1_000_000
        entries = [entry(number, now_ms) for number in range(count)]
        deliveries = [one.deliveries[0] for one in entries]
        cpu_s, began_s = time.process_time(), time.monotonic()
        waits_s = await _accept_all(store, entries, window)
        accept_s = time.monotonic() - began_s
        cpu_s = time.process_time() - cpu_s
        batches = [deliveries[start : start + _BATCH] for start in range(0, count, _BATCH)]
        began_s = time.monotonic()
        async for batch in _each(batches):
            await store.claim([d.delivery_id for d in batch], now_ms, now_ms + _LIFE_MS)
        claim_s = time.monotonic() - began_s
        began_s = time.monotonic()
        async for batch in _each(batches):
            await store.settle([Settlement(d, Sent(), now_ms) for d in batch])
        settle_s = time.monotonic() - began_s
    finally:
        await store.stopService()
    told = {
        "accept_per_s": count / accept_s,
        "claim_per_s": count / claim_s,
        "settle_per_s": count / settle_s,
        "cpu_us": cpu_s / count * 1e6,
        **latencies(waits_s),
    }
    print(json.dumps(told), flush=True)


async def _each(batches: list[Any]) -> AsyncIterator[Any]:
    for batch in batches:
        yield batch


def _accept_all(store: MessageStore, entries: list[Entry], window: int) -> Deferred[list[float]]:
    """Accept entries with at most a window under way; fires with the seconds that each took."""
    waits_s: list[float] = []
    waiting = iter(entries)
    done: list[Deferred[None]] = []

    def next_one(finished: Deferred[None]) -> None:
        one = next(waiting, None)
        if one is None:
            finished.callback(None)
            return
        began_s = time.monotonic()

        def accepted(_: object) -> None:
            waits_s.append(time.monotonic() - began_s)
            next_one(finished)

        store.accept(one).addCallbacks(accepted, finished.errback)

    for _ in range(window):
        finished: Deferred[None] = Deferred()
        done.append(finished)
        next_one(finished)
    return gatherResults(done).addCallback(lambda _: waits_s)


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.store", description=__doc__)
    options.add_argument("url")
    options.add_argument("state", type=Path)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--window", type=int, required=True)
    given = options.parse_args()
    sys.setswitchinterval(0.001)  # as the daemon does
    react(
        lambda reactor: Deferred.fromCoroutine(
            _measure(reactor, given.url, given.state, given.count, given.window)
        )
    )


if __name__ == "__main__":
    _main()
