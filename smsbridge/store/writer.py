"""
Group commit: one thread with one connection takes all that waits and commits it as one transaction.

An operation is a function of a connection and a list of items; the waiting items of one operation
are given to it at once.  Every Deferred fires after the commit, in the reactor's thread and in the
order in which the items ran.  When one item spoils a transaction, it is rolled back and its halves
are run apart, down to the bad one, which fails alone.  When the database is away, what waits is
kept and tried again until it is back; only a full queue refuses more.
"""

from __future__ import annotations

import queue
import threading
import time
from collections.abc import Callable, Sequence
from typing import Any, Final, Protocol

from attrs import define, field
from sqlalchemy import Connection, Engine
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InterfaceError,
    NotSupportedError,
    OperationalError,
    ProgrammingError,
)
from twisted.internet.defer import Deferred, fail
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.core.counts import COMMIT_SECONDS_EDGES as _TIME_EDGES
from smsbridge.core.counts import COMMIT_SIZE_EDGES as _SIZE_EDGES
from smsbridge.errors import TemporaryFailure

__all__ = ["Operation", "Writer", "WriterStatistics", "is_outage"]

_MOST_AT_ONCE: Final = 2000  # items of one transaction
_MOST_WAITING: Final = 100_000  # items in memory while the database is away

# In a rush more is let gather before the next commit: every commit has a cost of its own of about
# a millisecond, whatever is in it, and 2 ms more are not felt. (5 ms cost a tenth less a text, and
# let 50 callers who wait for their answers make a tenth fewer calls.)
_RUSH: Final = 8  # items in the last commit
_GATHER_S: Final = 0.002

# SQLite's primary result codes for "not now": BUSY, LOCKED, NOMEM, READONLY, IOERR, FULL, CANTOPEN,
# PROTOCOL (too many raced for the lock of the log).
_SQLITE_OUTAGE: Final = {5, 6, 7, 8, 10, 13, 14, 15}
# MariaDB: table and disk full, too many connections, shutdown, lock wait, deadlock, read only, gone
# away.
_MYSQL_OUTAGE: Final = {
    1021,
    1040,
    1053,
    1114,
    1205,
    1213,
    1290,
    1927,
    2002,
    2003,
    2006,
    2013,
    2014,
    2055,
}
# PostgreSQL classes: connection, transaction rollback, resources, operator intervention, system,
# read only.
_POSTGRES_OUTAGE: Final = ("08", "40", "53", "57", "58", "25006")

#: Errors that are the statement's fault and leave the connection as good as it was.
_OF_THE_STATEMENT: Final = (DataError, IntegrityError, NotSupportedError, ProgrammingError)


def is_outage(error: DBAPIError) -> bool:
    """Tell whether the database is away or overloaded, as opposed to a statement being wrong."""
    if error.connection_invalidated:
        return True
    original: Any = error.orig
    sqlite_code = getattr(original, "sqlite_errorcode", None)
    if sqlite_code is not None:
        return (sqlite_code & 0xFF) in _SQLITE_OUTAGE
    state = getattr(original, "sqlstate", None)
    if state is not None:
        return str(state).startswith(_POSTGRES_OUTAGE)
    if hasattr(original, "pgconn"):
        # Without a state psycopg speaks for itself: the connection failed, or it refused a value
        # (a DataError) before the server saw it.
        return isinstance(error, (InterfaceError, OperationalError))
    arguments: Sequence[Any] = getattr(original, "args", ())
    return bool(arguments) and arguments[0] in _MYSQL_OUTAGE


class Operation(Protocol):
    """What a writer runs: all waiting items of one kind at once."""

    rank: int  # operations of one transaction run in this order

    def __call__(self, connection: Connection, items: Sequence[Any], again: bool) -> Sequence[Any]:
        """
        Return one result for each item; an exception as a result fails that item alone.

        :param again: a commit of these items broke off before and may have taken effect.
        """


class _Away(Exception):
    """The database is out of reach; no item is to blame."""

    def __init__(self, reason: DBAPIError) -> None:
        super().__init__(str(reason))
        self.reason = reason


@define(eq=False)
class _Job:
    operation: Operation
    item: Any
    done: Deferred[Any]


@define
class WriterStatistics:
    """What the writer did, for the metrics; written by its thread, read by any."""

    commits: int = 0
    items: int = 0
    seconds: float = 0.0
    largest: int = 0
    outages: int = 0
    away_since: float | None = None
    size_buckets: list[int] = field(
        factory=lambda: [0] * 8
    )  # up to 1, 4, 16, 64, 256, 1024, 4096, more
    time_buckets: list[int] = field(
        factory=lambda: [0] * 8
    )  # up to 1, 2, 5, 10, 50, 100, 1000 ms, more


def _bucket(edges: Sequence[float], value: float) -> int:
    for index, edge in enumerate(edges):
        if value <= edge:
            return index
    return len(edges)


class Writer:
    """
    Owns the writing connection and its thread.

    :param engine: made for one connection; the connection is opened in the writer's thread.
    :param call_in_reactor: the reactor's ``callFromThread``.
    :param seconds: a clock that never goes back, for the statistics.
    """

    log = Logger()

    def __init__(
        self,
        engine: Engine,
        call_in_reactor: Callable[..., Any],
        seconds: Callable[[], float],
        retry_after_s: float = 0.5,
    ) -> None:
        self.statistics = WriterStatistics()
        self._engine = engine
        self._call_in_reactor = call_in_reactor
        self._seconds = seconds
        self._retry_after_s = retry_after_s
        self._jobs: queue.SimpleQueue[_Job | None] = queue.SimpleQueue()
        self._stopping = threading.Event()
        self._door = threading.Lock()  # nothing comes in behind the last item
        self._answering = False
        self._afterwards: list[Callable[[], None]] = []
        self._connection: Connection | None = None
        self._thread: threading.Thread | None = None

    def start(self) -> None:
        """Start the thread."""
        self._thread = threading.Thread(target=self._run, name="smsbridge-writer", daemon=True)
        self._thread.start()

    def stop(self, patience_s: float = 10.0) -> None:
        """Commit what waits, then end the thread; blocks until then, `patience_s` at most."""
        thread = self._thread
        with self._door:
            if thread is None or self._stopping.is_set():
                return
            self._stopping.set()
            self._jobs.put(None)
        thread.join(patience_s)
        self._thread = None

    @property
    def waiting(self) -> int:
        """How many items wait."""
        return self._jobs.qsize()

    def submit(self, operation: Operation, item: Any) -> Deferred[Any]:
        """
        Commit one item; fires with its result after the commit.

        :raises TemporaryFailure: (as the Deferred's failure) too much waits already, or the store
            is closed.
        """
        # Room is left for what follows from what was accepted: an outcome that is refused is an
        # attempt made twice.
        limit = _MOST_WAITING if operation.rank == 0 else 2 * _MOST_WAITING
        with self._door:
            if self._thread is None or self._stopping.is_set():
                return fail(TemporaryFailure("internal", "The message store is closed."))
            if self._jobs.qsize() >= limit:
                return fail(
                    TemporaryFailure("internal", "The database does not keep up; try again later.")
                )
            done: Deferred[Any] = Deferred()
            self._jobs.put(_Job(operation, item, done))
        return done

    # -- in the writer's thread ------------------------------------------------------------------

    def _run(self) -> None:
        last = False
        rush = False
        while not last:
            jobs: list[_Job] = []
            job = self._jobs.get()
            if rush and job is not None:
                time.sleep(_GATHER_S)
            while True:
                if job is None:
                    last = True
                    break
                jobs.append(job)
                if len(jobs) >= _MOST_AT_ONCE:
                    break
                try:
                    job = self._jobs.get_nowait()
                except queue.Empty:
                    break
            rush = len(jobs) >= _RUSH
            if jobs:
                try:
                    self._commit(jobs)
                except Exception:
                    # A bug in here must not end the thread: everything waiting would wait for ever.
                    self.log.failure("the writer failed")
                    self._fire(jobs, [TemporaryFailure("internal")] * len(jobs))
        self._drop_connection()

    def _commit(self, jobs: list[_Job]) -> None:
        # Stable: items of one kind keep their order.
        jobs.sort(key=lambda job: job.operation.rank)
        began = self._seconds()
        results = self._until_committed(jobs)
        took = self._seconds() - began
        statistics = self.statistics
        statistics.commits += 1
        statistics.items += len(jobs)
        statistics.seconds += took
        statistics.largest = max(statistics.largest, len(jobs))
        statistics.size_buckets[_bucket(_SIZE_EDGES, len(jobs))] += 1
        statistics.time_buckets[_bucket(_TIME_EDGES, took)] += 1
        self._fire(jobs, results)

    def _until_committed(self, jobs: list[_Job], again: bool = False) -> list[Any]:
        """Run the jobs as one transaction; waits while the database is away."""
        while True:
            try:
                results = self._transaction(jobs, again)
            except _Away as e:
                if not self._wait_for_database(e.reason):
                    return [TemporaryFailure("internal", "The database is away.")] * len(jobs)
                again = True
            except Exception as e:
                # A bad item, or a bug met by one: it must not take the others with it.
                return self._halves(jobs, again, e)
            else:
                if self.statistics.away_since is not None:
                    self.log.info("the database is back")
                    self.statistics.away_since = None
                return results

    def _halves(self, jobs: list[_Job], again: bool, error: Exception) -> list[Any]:
        if len(jobs) == 1:
            return [error]
        middle = len(jobs) // 2
        first = self._until_committed(jobs[:middle], again)
        return first + self._until_committed(jobs[middle:], again)

    def _transaction(self, jobs: Sequence[_Job], again: bool) -> list[Any]:
        """
        Run the jobs once.

        :raises _Away: the database is away; the commit may have taken effect all the same.
        """
        connection = self._connection
        if connection is None:
            try:
                connection = self._connection = self._engine.connect()
            except DBAPIError as e:
                # No item can be to blame for this, whatever the error says.
                raise _Away(e) from e
        try:
            results: list[Any] = []
            with connection.begin():
                start = 0
                while start < len(jobs):
                    operation = jobs[start].operation
                    end = start + 1
                    while end < len(jobs) and jobs[end].operation is operation:
                        end += 1
                    found = operation(connection, [job.item for job in jobs[start:end]], again)
                    if len(found) != end - start:
                        raise RuntimeError(f"{len(found)} results for {end - start} items")
                    results.extend(found)
                    start = end
        except DBAPIError as e:
            if is_outage(e):
                self._drop_connection()
                raise _Away(e) from e
            if not isinstance(e, _OF_THE_STATEMENT):
                # Who knows in what state the connection is; the next transaction gets a fresh one.
                self._drop_connection()
            raise
        return results

    def _drop_connection(self) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            try:
                connection.invalidate()
                connection.close()
            except DBAPIError:
                pass  # it was broken, which is why it is dropped

    def _wait_for_database(self, error: DBAPIError) -> bool:
        """Wait a little; False when the program is stopping and cannot wait longer."""
        if self.statistics.away_since is None:
            self.statistics.away_since = self._seconds()
            self.statistics.outages += 1
            self.log.error(
                "the database is away, trying again until it is back: {reason}",
                reason=str(error.orig),
            )
        return not self._stopping.wait(self._retry_after_s)

    def _fire(self, jobs: Sequence[_Job], results: Sequence[Any]) -> None:
        self._call_in_reactor(self._fire_all, [job.done for job in jobs], results)

    # -- in the reactor's thread -----------------------------------------------------------------

    def _fire_all(self, waiting: Sequence[Deferred[Any]], results: Sequence[Any]) -> None:
        self._answering = True
        try:
            for done, result in zip(waiting, results, strict=True):
                if isinstance(result, Exception):
                    done.errback(Failure(result))
                else:
                    done.callback(result)
        finally:
            self._answering = False
        calls, self._afterwards = self._afterwards, []
        for call in calls:
            call()

    def after_answers(self, call: Callable[[], None]) -> None:
        """Call back when the Deferreds of the commit at hand have all fired; at once if none is."""
        if self._answering:
            self._afterwards.append(call)
        else:
            call()
