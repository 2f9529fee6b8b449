"""The store as the rest of the program sees it: a Service whose methods return Deferreds."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable, Sequence
from pathlib import Path
from typing import IO, Any, TypeVar

from sqlalchemy import Engine
from sqlalchemy.exc import DBAPIError
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorThreads
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.python.threadpool import ThreadPool
from zope.interface import implementer

from smsbridge.core.entries import Entry, MessageQuery, QueueQuery, Settlement
from smsbridge.core.message import Accepted, Call, Delivery, DeliveryReport
from smsbridge.core.records import CallRecord, DeliveryRecord, MessageRecord, QueueDepth
from smsbridge.errors import TemporaryFailure
from smsbridge.interfaces import IMessageStore
from smsbridge.store import database, history
from smsbridge.store.accept import Accept, DeliveryRows, is_known_txn
from smsbridge.store.index import Indexer, SearchIndex
from smsbridge.store.progress import (
    Claim,
    ClaimRequest,
    Conclude,
    Drop,
    Intervention,
    Recover,
    Recovery,
    RepeatReports,
    Report,
    Reports,
    Resend,
    Settle,
    TellWaiting,
    interrupted_txn,
)
from smsbridge.store.refill import LanesDue, Refill, RefillRequest
from smsbridge.store.upkeep import Bind, Binding, Facts, Learn, LogCalls, Purge
from smsbridge.store.writer import Writer, WriterStatistics, is_outage

__all__ = ["MessageStore", "StateFolder", "StateFolderTaken"]

_T = TypeVar("_T")


class StateFolderTaken(Exception):
    """Another process uses the state folder."""


class StateFolder:
    """
    The folder with everything that the program keeps, locked for one process.

    :param path: made if it is not there, readable for its owner alone.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._lock: IO[str] | None = None

    def take(self) -> None:
        """
        Lock the folder.

        :raises StateFolderTaken: another process has it.
        :raises OSError: it cannot be made or written.
        """
        self.path.mkdir(mode=0o700, parents=True, exist_ok=True)
        lock = open(self.path / "lock", "a+", encoding="ascii")  # noqa: SIM115 (kept open: it is the lock)
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except OSError:
            lock.seek(0)
            owner = lock.read().strip() or "unknown"
            lock.close()
            raise StateFolderTaken(
                f"another smsbridge (process {owner}) uses the state folder {self.path}; stop it, "
                "or give this one a folder of its own with 'state =' in [smsbridge]"
            ) from None
        lock.truncate(0)
        lock.write(f"{os.getpid()}\n")
        lock.flush()
        self._lock = lock

    def leave(self) -> None:
        """Unlock the folder."""
        if self._lock is not None:
            self._lock.close()
            self._lock = None


@implementer(IMessageStore)
class MessageStore(Service):
    """
    Messages and deliveries in a database.

    :param reactor: for its threads and its clock.
    :param folder: locked while the store runs.
    :param database_url: as the configuration's ``database`` says.
    :param node: the name of this process among those that share the database.
    :param readers: how many reads run at once.
    """

    log = Logger()
    name = "store"

    def __init__(
        self,
        reactor: IReactorThreads,
        folder: StateFolder,
        database_url: str,
        node: str,
        readers: int = 4,
    ) -> None:
        self._reactor = reactor
        self._folder = folder
        self._database_url = database_url
        self._node = node
        self._readers_at_once = readers
        self._threads: ThreadPool | None = None
        self._readers: Engine | None = None
        self._writer: Writer | None = None
        self._indexer: Indexer | None = None

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """
        Lock the folder, bring the schema up to date and open the database.

        :raises StateFolderTaken: another process uses the folder.
        :raises DatabaseError: the database cannot be used.
        """
        self._folder.take()
        writing, reading = database.open_engines(
            database.url_of(self._database_url, self._folder.path), self._readers_at_once
        )
        database.prepare(writing)
        dialect = writing.dialect
        rows = DeliveryRows(dialect, self._node)
        reports = Reports(rows)
        self._accept = Accept(dialect, rows)
        self._claim = Claim(dialect, self._node)
        self._settle = Settle(dialect, self._node, reports)
        self._report = Report(reports)
        self._recover = Recover(self._node, reports)
        self._conclude = Conclude(reports)
        self._resend = Resend()
        self._drop = Drop(reports)
        self._repeat = RepeatReports(reports)
        self._tell_waiting = TellWaiting(reports)
        self._refill = Refill(self._claim)
        self._lanes_due = LanesDue()
        self._log_calls = LogCalls()
        self._learn = Learn()
        self._bind = Bind()
        self._purge = Purge()
        clock: Any = self._reactor
        self._writer = Writer(writing, self._reactor.callFromThread, clock.seconds)
        self._writer.start()
        if dialect.name == "sqlite":
            index = SearchIndex()
            self._indexer = Indexer(
                clock, lambda: self.write(index, None), lambda: self._waiting > 0
            )
            self._indexer.texts_came()
        self._readers = reading
        self._threads = ThreadPool(0, self._readers_at_once, "smsbridge-readers")
        self._threads.start()
        Service.startService(self)

    def stopService(self) -> Deferred[None]:
        """Commit what waits, then close; fires when the database is closed."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._close())

    async def _close(self) -> None:
        if self._indexer is not None:
            self._indexer.stop()
            self._indexer = None
        threads, writer = self._threads, self._writer
        if threads is not None and writer is not None:
            # The writer's last Deferreds fire in the reactor, so the wait must not be there.
            await deferToThreadPool(self._reactor, threads, writer.stop)
            threads.stop()
            self._threads = None
        if self._readers is not None:
            self._readers.dispose()
            self._readers = None
        self._folder.leave()

    @property
    def statistics(self) -> WriterStatistics:
        """What the writer did, for the metrics."""
        return self._writer.statistics if self._writer is not None else WriterStatistics()

    @property
    def is_open(self) -> bool:
        """Whether the database is open and was there at the last commit."""
        return bool(self.running) and self.statistics.away_since is None

    # -- writing ---------------------------------------------------------------------------------

    def write(self, operation: Any, item: Any) -> Deferred[Any]:
        """
        Give one item to a `writer.Operation` in the writer's next commit; fires with its result.

        The parts of the store that stand in files of their own (`accounts`, `threads`, ...) write
        and read through this and `read`.
        """
        assert self._writer is not None, "the store is not started"
        return self._writer.submit(operation, item)

    @property
    def _waiting(self) -> int:
        return self._writer.waiting if self._writer is not None else 0

    def accept(self, entry: Entry) -> Deferred[Accepted]:
        """Commit an entry."""
        if self._indexer is not None:
            self._indexer.texts_came()
        return self.write(self._accept, entry)

    def claim(
        self, delivery_ids: Sequence[str], now_ms: int, lease_until_ms: int
    ) -> Deferred[set[str]]:
        """Mark queued deliveries as sending; fires with the ids that are ours now."""
        return self.write(self._claim, ClaimRequest(tuple(delivery_ids), now_ms, lease_until_ms))

    def after_answers(self, call: Callable[[], None]) -> None:
        """Call back when the Deferreds of the commit at hand have all fired."""
        if self._writer is None:
            call()
        else:
            self._writer.after_answers(call)

    def refill(
        self,
        lane: str,
        now_ms: int,
        limit: int,
        lease_until_ms: int = 0,
        in_hand: Iterable[str] = (),
    ) -> Deferred[tuple[list[Delivery], bool]]:
        """Read what a lane has to send, and claim it if there is a lease."""
        request = RefillRequest(lane, now_ms, limit, lease_until_ms, frozenset(in_hand))
        return self.write(self._refill, request)

    def settle(self, results: Sequence[Settlement]) -> Deferred[list[str]]:
        """Record outcomes; fires with the lanes that have something new."""
        return self.write(self._settle, results)

    def report(
        self, report: DeliveryReport, now_ms: int, retry_at_ms: int
    ) -> Deferred[tuple[str, list[str]]]:
        """
        Record a report; fires with the id of what it changed and the lanes with something new.
        """
        return self.write(self._report, (report, now_ms, retry_at_ms))

    def recover(
        self,
        repeatable: Sequence[str],
        others: Sequence[str],
        now_ms: int,
        own_too: bool,
        asked: Sequence[str] = (),
    ) -> Deferred[tuple[int, int, list[str]]]:
        """Decide on interrupted attempts."""
        return self.write(
            self._recover,
            Recovery(tuple(repeatable), tuple(others), now_ms, own_too, tuple(asked)),
        )

    def conclude(self, results: Sequence[Settlement]) -> Deferred[list[str]]:
        """Record what was found out about interrupted attempts; fires with lanes to look into."""
        return self.write(self._conclude, results)

    def lanes_due(self, after_ms: int, until_ms: int) -> Deferred[list[str]]:
        """Name the lanes with something due within a time."""
        return self.write(self._lanes_due, (after_ms, until_ms))

    def tell_waiting(
        self, before_ms: int, now_ms: int, closed: dict[str, tuple[str, str]]
    ) -> Deferred[list[str]]:
        """Queue reports to those whose texts wait since before; expire what waited too long."""
        return self.write(self._tell_waiting, (before_ms, now_ms, closed))

    def repeat_reports(self, message_id: str, now_ms: int) -> Deferred[list[str]]:
        """Queue the last reports of a message again."""
        return self.write(self._repeat, (message_id, now_ms))

    def resend(
        self, delivery_ids: Sequence[str], now_ms: int, expires_at_ms: int
    ) -> Deferred[tuple[int, list[str]]]:
        """Queue deliveries again."""
        return self.write(self._resend, Intervention(tuple(delivery_ids), now_ms, expires_at_ms))

    def drop(self, delivery_ids: Sequence[str], now_ms: int) -> Deferred[tuple[int, list[str]]]:
        """Give deliveries up."""
        return self.write(self._drop, Intervention(tuple(delivery_ids), now_ms))

    def log_call(self, call: Call) -> Deferred[None]:
        """Put a call into the log, or finish it."""
        return self.write(self._log_calls, call)

    def learn(self, line: str, facts: dict[str, str], now_ms: int) -> Deferred[None]:
        """Keep what a device told about its line."""
        return self.write(self._learn, Facts(line, facts, now_ms))

    def bind(self, kind: str, address: str, person: str, now_ms: int) -> Deferred[bool]:
        """Keep an address that a person added; without a person it is taken away."""
        return self.write(self._bind, Binding(kind, address, person, now_ms))

    def purge_some(
        self, before_ms: int, now_ms: int, after_id: str
    ) -> Deferred[tuple[int, str, bool]]:
        """Delete a bounded amount of history older than that; see `upkeep.Purge`."""
        return self.write(self._purge, (before_ms, now_ms, after_id))

    # -- reading ---------------------------------------------------------------------------------

    def read(self, read: Callable[..., _T], *arguments: Any) -> Deferred[_T]:
        """Call ``read(connection, *arguments)`` in a reader's thread; fires with its result."""
        assert self._threads is not None and self._readers is not None, "the store is not started"

        def run(engine: Engine) -> _T:
            with engine.connect() as connection:
                return read(connection, *arguments)

        reading: Deferred[_T] = deferToThreadPool(self._reactor, self._threads, run, self._readers)
        return reading.addErrback(_reading_failed)

    def is_known(self, gateway: str, dedup_key: str, now_ms: int) -> Deferred[bool]:
        """See `IMessageStore.is_known`."""
        return self.read(is_known_txn, gateway, dedup_key, now_ms)

    def read_at_start(self, read: Callable[..., _T], *arguments: Any) -> _T:
        """
        Call ``read(connection, *arguments)`` and wait for it.

        Only for what must be in memory before the first message is taken.
        """
        assert self._readers is not None, "the store is not started"
        with self._readers.connect() as connection:
            return read(connection, *arguments)

    def interrupted(self, gateway: str, limit: int) -> Deferred[list[Delivery]]:
        """Read the attempts about which the next hop of a gateway is to be asked."""
        return self.read(interrupted_txn, gateway, limit)

    def messages(self, query: MessageQuery) -> Deferred[list[MessageRecord]]:
        """List messages."""
        return self.read(history.messages_txn, query)

    def trace(self, message_id: str) -> Deferred[MessageRecord | None]:
        """Read one message with everything that became of it."""
        return self.read(history.trace_txn, message_id)

    def queue(self, query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
        """List deliveries."""
        return self.read(history.queue_txn, query)

    def depths(self) -> Deferred[list[QueueDepth]]:
        """Count what is open."""
        return self.read(history.depths_txn)

    def calls(self, line: str, limit: int) -> Deferred[list[CallRecord]]:
        """List calls, newest first."""
        return self.read(history.calls_txn, line, limit)

    def facts(self) -> Deferred[dict[str, dict[str, str]]]:
        """Read what the devices told about their lines."""
        return self.read(history.facts_txn)

    def bindings(self) -> Deferred[list[tuple[str, str, str]]]:
        """List the addresses that persons added: (kind, address, person)."""
        return self.read(history.bindings_txn)

    def sent_since(self, since_ms: int) -> Deferred[dict[str, int]]:
        """Count the segments accepted for each line since a time."""
        return self.read(history.sent_since_txn, since_ms)


def _reading_failed(failure: Failure) -> Any:
    failure.trap(DBAPIError)
    error = failure.value
    if isinstance(error, DBAPIError) and is_outage(error):
        raise TemporaryFailure("internal", "The database is away; try again in a moment.")
    return failure
