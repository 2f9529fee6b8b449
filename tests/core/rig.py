"""
The core on a real SQLite store whose commits happen when a test says so, in the test's thread.

So every order of commits, answers and timers can be played, and plays the same each time.
"""

from __future__ import annotations

import itertools
import shutil
import tempfile
import threading
from collections.abc import Callable, Sequence
from functools import cache
from pathlib import Path
from typing import Any

from attrs import define
from sqlalchemy import Engine, text
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from smsbridge.core.changes import Changes
from smsbridge.core.counts import Counts
from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.dispatcher import Dispatcher
from smsbridge.core.entries import MessageQuery
from smsbridge.core.inbox import Inbox
from smsbridge.core.message import Accepted, FromNetwork, FromPerson
from smsbridge.core.records import MessageRecord
from smsbridge.store import database, history
from smsbridge.store.service import MessageStore, StateFolder
from smsbridge.store.writer import Writer
from tests.core.gateways import ScriptedGateway

NOW = 1_800_000_000_000
JOHN = "john@example.org"
JANE = "jane@example.org"
NUMBER = "+12025550123"
OTHER = "+12025550124"
ALL = 1_000_000  # more than ever waits


@cache
def empty_database() -> bytes:
    """Return the file of a database that was just made."""
    with tempfile.TemporaryDirectory() as folder:
        engine, _ = database.open_engines(database.url_of("sqlite", Path(folder)))
        database.prepare(engine)
        engine.dispose()
        return (Path(folder) / "smsbridge.sqlite3").read_bytes()


class HandWriter(Writer):
    """
    A writer without a thread: a transaction runs when `commit` is called.

    :ivar fails: what submitting an operation of a class (by its name) fails with, instead of
        waiting for the next commit.
    """

    def __init__(self, engine: Engine, seconds: Callable[[], float]) -> None:
        super().__init__(engine, lambda call, *arguments: call(*arguments), seconds)
        self.fails: dict[str, Exception] = {}

    def start(self) -> None:
        """Take items from now on."""
        self._thread = threading.current_thread()

    def stop(self, patience_s: float = 10.0) -> None:
        """Commit what waits and take no more."""
        while self.commit():
            pass
        self._thread = None
        self._drop_connection()

    def submit(self, operation: Any, item: Any) -> Deferred[Any]:
        """Keep an item until `commit`."""
        error = self.fails.get(type(operation).__name__)
        return fail(error) if error is not None else super().submit(operation, item)

    def commit(self, most: int = ALL) -> int:
        """Run what waits, `most` items at most, as one transaction; returns their number."""
        jobs = [self._jobs.get() for _ in range(min(most, self.waiting))]
        if jobs:
            self._commit(jobs)  # type: ignore[arg-type]
        return len(jobs)

    def run(self, read: Callable[..., Any], *arguments: Any) -> Any:
        """Read in a transaction of its own."""
        if self._connection is None:
            self._connection = self._engine.connect()
        with self._connection.begin():
            return read(self._connection, *arguments)


@define(frozen=True)
class Row:
    """What a test looks at in a delivery."""

    delivery_id: str
    status: str
    attempts: int
    due_at_ms: int | None
    lane: str
    kind: str
    person: str
    reason: str


class HandStore(MessageStore):
    """The store on SQLite with a `HandWriter`."""

    def __init__(self, clock: Clock, folder: Path) -> None:
        folder.mkdir(parents=True)
        (folder / "smsbridge.sqlite3").write_bytes(empty_database())
        self._clock = clock
        super().__init__(self, StateFolder(folder), "sqlite", "here")  # type: ignore[arg-type]
        self.folder = folder

    # What the store asks of its reactor.

    def callFromThread(self, call: Callable[..., Any], *arguments: Any) -> None:
        """Call at once."""
        call(*arguments)

    def seconds(self) -> float:
        """Return the clock's time."""
        return self._clock.seconds()

    def callLater(self, seconds: float, call: Callable[..., Any], *arguments: Any) -> Any:
        """Never call: the index of words is no matter of these tests."""
        return Clock().callLater(seconds, call, *arguments)

    @property
    def writer(self) -> HandWriter:
        """The writer."""
        assert isinstance(self._writer, HandWriter)
        return self._writer

    def read(self, read: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Read what is committed, at once and in the test's thread."""
        return succeed(self.writer.run(read, *arguments))

    def startService(self) -> None:
        """Open the store and put the writer in the test's hand."""
        super().startService()
        assert self._writer is not None and self._threads is not None
        self._writer.stop()
        self._threads.stop()
        self._writer = HandWriter(self._writer._engine, self._clock.seconds)
        self._writer.start()
        # What a test makes need not outlive a power cut.
        self._writer.run(lambda connection: None)
        connection: Any = self._writer._connection
        connection.connection.driver_connection.execute("PRAGMA synchronous = OFF")

    def close(self) -> None:
        """Commit what waits, close, and remove the file."""
        self.writer.stop()
        if self._readers is not None:
            self._readers.dispose()
        self._folder.leave()
        shutil.rmtree(self.folder)

    def rows(self) -> list[Row]:
        """Return all deliveries in the order of their ids."""
        found = self.writer.run(
            lambda connection: connection.execute(
                text(
                    "SELECT delivery_id, status, attempts, due_at_ms, lane, kind, person, reason"
                    " FROM deliveries ORDER BY delivery_id"
                )
            ).all()
        )
        return [Row(*row) for row in found]

    def records(self) -> list[MessageRecord]:
        """Return all messages, oldest first."""
        found: list[MessageRecord] = self.writer.run(history.messages_txn, MessageQuery())
        return found


def directory(**changes: Any) -> Directory:
    """Make a directory: two lines of a box, John and Jane on a stream, who share line one."""
    values: dict[str, Any] = {
        "lines": {
            "one": Line(label="one", gateway="box", number="+12025550100"),
            "two": Line(label="two", gateway="box", number="+12025550101"),
        },
        "persons": {
            "john": Person(label="john", xmpp=(JOHN,), lines=("one", "two"), rate=0.0),
            "jane": Person(label="jane", xmpp=(JANE,), lines=("one",), rate=0.0),
        },
        "serving": {"xmpp": "chat"},
    }
    values.update(changes)
    return Directory(**values)


class Rig:
    """
    Inbox, dispatcher and store, a box with a lane for each line and a stream for all persons.

    Nothing is committed before `commit` or `settle`.
    """

    def __init__(
        self,
        folder: str,
        chat: ScriptedGateway | None = None,
        box: ScriptedGateway | None = None,
        world: Directory | None = None,
    ) -> None:
        self.clock = Clock()
        self.store = HandStore(self.clock, Path(folder))
        self.store.startService()
        self.chat = chat or ScriptedGateway("chat")
        self.box = box or ScriptedGateway(
            "box", recognizes_repeats=False, batch_size=4, settle_within_s=60.0, per_line=True
        )
        self.world = World(world or directory())
        self.changes = Changes()
        self.chance = 0.0
        self.counts = Counts()
        self.dispatcher = Dispatcher(
            self.clock,
            self.now_ms,
            lambda: self.chance,
            self.store,
            self.world,
            self.changes,
            self.counts,
        )
        self._serial = itertools.count()
        self.inbox = Inbox(
            self.store,
            self.dispatcher,
            self.world,
            self.changes,
            self.now_ms,
            self.clock.seconds,
            self.new_id,
        )
        for gateway in (self.chat, self.box):
            gateway.startService()
            self.dispatcher.add_gateway(gateway)

    def now_ms(self) -> int:
        """Return the time of day."""
        return NOW + round(self.clock.seconds() * 1000)

    def new_id(self) -> str:
        """Make ids that sort by their making."""
        return history.first_id_at(self.now_ms())[:18] + f"-8000-{next(self._serial):012x}"

    def start(self, *open_lanes: str) -> None:
        """Start the dispatcher and open lanes (gateway and lane are told apart by the name)."""
        self.dispatcher.startService()
        self.settle()
        for lane in open_lanes:
            self.open(lane)
        self.settle()

    def open(self, lane: str) -> None:
        """Open a lane."""
        self.dispatcher.open(self._gateway_of(lane), lane)

    def shut(self, lane: str, reason: str = "peer-down", words: str = "") -> None:
        """Close a lane."""
        self.dispatcher.close(self._gateway_of(lane), lane, reason, words)

    def _gateway_of(self, lane: str) -> str:
        return lane.replace(":", "/").partition("/")[0]

    def commit(self, most: int = ALL) -> int:
        """Run one transaction."""
        return self.store.writer.commit(most)

    def settle(self) -> None:
        """Commit until nothing waits."""
        for _ in range(10_000):
            if not self.commit():
                return
        raise AssertionError("the store never comes to rest")

    def pass_time(self, seconds: float, step_s: float = 1.0) -> None:
        """Let time pass in steps, with all commits that this brings."""
        until = self.clock.seconds() + seconds
        while (left := until - self.clock.seconds()) > 1e-9:
            self.clock.advance(min(step_s, left))
            self.settle()

    def text(self, body: str, sender: str = NUMBER, **more: Any) -> Deferred[Accepted]:
        """Let a text arrive on line two, which only John has."""
        values: dict[str, Any] = {"line": "two", "sender": sender, "body": body}
        values.update(more)
        return self.inbox.accept(FromNetwork(**values))

    def send(self, body: str, *recipients: str, **more: Any) -> Deferred[Accepted]:
        """Let John send a text on line one."""
        values: dict[str, Any] = {
            "person": "john",
            "recipients": recipients or (NUMBER,),
            "body": body,
        }
        values.update(more)
        return self.inbox.accept(FromPerson(**values))

    def send_claimed(self, body: str, *recipients: str) -> Deferred[Accepted]:
        """Let John send a text that finds another one before it, so that it must be claimed."""
        lane = self.dispatcher._lanes["box/one"]
        lane.reserved += 1
        accepted = self.send(body, *recipients)
        lane.reserved -= 1
        return accepted

    def statuses(self) -> list[str]:
        """Return the status of every delivery, oldest first."""
        return [row.status for row in self.store.rows()]

    def close(self) -> None:
        """Stop and clean up."""
        self.store.close()


def accepted_ids(results: Sequence[Deferred[Accepted]]) -> list[str]:
    """Return the ids that committed accepts fired with."""
    ids: list[str] = []
    for result in results:
        result.addCallback(lambda accepted: ids.append(accepted.message_id))
    return ids
