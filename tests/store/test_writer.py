"""Tests of the group commit: what runs together, what fails alone, and what an outage does."""

from __future__ import annotations

import itertools
import sqlite3
import threading
from collections.abc import Callable, Sequence
from typing import Any

import psycopg
import pymysql
from sqlalchemy import Connection, create_engine, text
from sqlalchemy.exc import (
    DataError,
    DBAPIError,
    IntegrityError,
    InternalError,
    OperationalError,
)
from sqlalchemy.pool import NullPool
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.logger import LogLevel, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.errors import TemporaryFailure
from smsbridge.store import writer as module
from smsbridge.store.writer import Writer, WriterStatistics, is_outage
from tests.core.rig import HandWriter


class _Refused(Exception):
    """What an operation of a test fails with."""


def database_away() -> OperationalError:
    """Make the error that SQLAlchemy raises when a MariaDB has gone away."""
    return OperationalError("COMMIT", {}, pymysql.err.OperationalError(2006, "gone away"))


class Operation:
    """
    Keeps its items in a table; an exception as an item is raised.

    :ivar calls: the items of every call, and whether it was told `again`.
    """

    def __init__(self, rank: int = 0) -> None:
        self.rank = rank
        self.calls: list[tuple[list[Any], bool]] = []
        self.before: Callable[[], None] = lambda: None

    def __call__(self, connection: Connection, items: Sequence[Any], again: bool) -> Sequence[Any]:
        """Insert the items."""
        self.calls.append((list(items), again))
        self.before()
        for item in items:
            if isinstance(item, Exception):
                raise item
            connection.execute(text("INSERT INTO kept VALUES (:item)"), {"item": item})
        return [f"kept {item}" for item in items]


class Doors:
    """
    Stands for an engine; its connections can be had only when it is open.

    :ivar refusals: errors that the next attempts to connect meet.
    """

    def __init__(self, path: str) -> None:
        self.engine = create_engine(f"sqlite:///{path}", poolclass=NullPool)
        self.refusals: list[DBAPIError] = []
        self.connected = 0
        with self.engine.begin() as connection:
            connection.execute(text("CREATE TABLE kept (item)"))

    def connect(self) -> Connection:
        """Connect, or not."""
        if self.refusals:
            raise self.refusals.pop(0)
        self.connected += 1
        return self.engine.connect()

    def kept(self) -> list[Any]:
        """Return what is in the table."""
        with self.engine.connect() as connection:
            return list(connection.execute(text("SELECT item FROM kept")).scalars())


class WriterTests(SynchronousTestCase):
    """What runs in one transaction, and what becomes of it."""

    def setUp(self) -> None:
        """Make a writer whose transactions run in the test's thread."""
        self.doors = Doors(self.mktemp())
        self.times = itertools.count(0, 2)
        self.writer = HandWriter(self.doors, lambda: float(next(self.times)))  # type: ignore[arg-type]
        self.writer._retry_after_s = 0.0
        self.writer.start()
        self.addCleanup(self.writer.stop)
        self.addCleanup(self.doors.engine.dispose)

    def logged(self) -> list[dict[str, Any]]:
        """Return a list that collects what the writer logs from now on."""
        events: list[dict[str, Any]] = []
        globalLogPublisher.addObserver(events.append)
        self.addCleanup(globalLogPublisher.removeObserver, events.append)
        return events

    def test_what_waits_is_one_transaction(self) -> None:
        """Items of one operation are given to it at once, and fire after the commit."""
        keep = Operation()
        results = [self.writer.submit(keep, number) for number in range(5)]

        self.assertNoResult(results[0])
        self.assertEqual(self.writer.waiting, 5)
        self.writer.commit()

        self.assertEqual(keep.calls, [([0, 1, 2, 3, 4], False)])
        self.assertEqual(self.successResultOf(results[4]), "kept 4")
        self.assertEqual(self.doors.kept(), [0, 1, 2, 3, 4])
        self.assertEqual(self.writer.statistics.commits, 1)

    def test_ranks_give_the_order(self) -> None:
        """What adds comes before what reads, each in its own order, and so they fire."""
        read, add = Operation(rank=9), Operation(rank=0)
        fired: list[str] = []
        for operation, item in ((read, "r1"), (add, "a1"), (read, "r2"), (add, "a2")):
            self.writer.submit(operation, item).addCallback(fired.append)

        self.writer.commit()

        self.assertEqual(fired, ["kept a1", "kept a2", "kept r1", "kept r2"])

    def test_a_bad_item_fails_alone(self) -> None:
        """One item that the database refuses takes none of a thousand others with it."""
        keep = Operation()
        items: list[Any] = list(range(1000))
        items[617] = IntegrityError("INSERT", {}, sqlite3.IntegrityError("twice"))
        results = [self.writer.submit(keep, item) for item in items]

        self.writer.commit()

        self.failureResultOf(results.pop(617), IntegrityError)
        self.assertEqual([self.successResultOf(r) for r in results[:2]], ["kept 0", "kept 1"])
        self.assertEqual(self.doors.kept(), items[:617] + items[618:])
        # Halves, not one by one: a commit waits for the disk.
        self.assertLess(len(keep.calls), 25)

    def test_a_bug_in_an_operation_fails_its_items(self) -> None:
        """An operation that forgets results is found out before anything is committed."""

        class Forgetful(Operation):
            def __call__(
                self, connection: Connection, items: Sequence[Any], again: bool
            ) -> Sequence[Any]:
                return super().__call__(connection, items, again)[1:]

        keep = Operation()
        good = self.writer.submit(keep, 1)
        bad = [self.writer.submit(Forgetful(), item) for item in (2, 3)]

        self.writer.commit()

        self.assertEqual(self.successResultOf(good), "kept 1")
        for result in bad:
            self.failureResultOf(result, RuntimeError)
        self.assertEqual(self.doors.kept(), [1])

    def test_an_exception_as_a_result_fails_that_item(self) -> None:
        """An operation may refuse one item and have the others committed."""

        class Choosy(Operation):
            def __call__(
                self, connection: Connection, items: Sequence[Any], again: bool
            ) -> Sequence[Any]:
                super().__call__(connection, items, again)
                return [_Refused() if item == 2 else item for item in items]

        choosy = Choosy()
        results = [self.writer.submit(choosy, item) for item in (1, 2)]

        self.writer.commit()

        self.assertEqual(self.successResultOf(results[0]), 1)
        self.failureResultOf(results[1], _Refused)
        self.assertEqual(self.doors.kept(), [1, 2])

    def test_waits_while_the_database_is_away(self) -> None:
        """What was under way is tried again, told so, until the database is back."""
        events = self.logged()
        keep = Operation()
        troubles: list[Exception] = [database_away(), database_away()]

        def trouble() -> None:
            if troubles:
                raise troubles.pop()

        keep.before = trouble
        result = self.writer.submit(keep, 1)

        self.writer.commit()

        self.assertEqual(self.successResultOf(result), "kept 1")
        self.assertEqual([again for _, again in keep.calls], [False, True, True])
        self.assertEqual(self.doors.connected, 3)
        self.assertEqual(self.writer.statistics.outages, 1)
        self.assertIsNone(self.writer.statistics.away_since)
        said = [(e["log_level"], e.get("reason")) for e in events if "away" in e["log_format"]]
        self.assertEqual(said, [(LogLevel.error, "(2006, 'gone away')")])
        self.assertIn("the database is back", [e["log_format"] for e in events])

    def test_no_item_is_to_blame_for_a_database_that_lets_nobody_in(self) -> None:
        """Whatever a server says when we connect, we knock again."""
        denied = OperationalError("", {}, pymysql.err.OperationalError(1045, "Access denied"))
        self.doors.refusals = [denied, denied]
        result = self.writer.submit(Operation(), 1)

        self.writer.commit()

        self.assertEqual(self.successResultOf(result), "kept 1")

    def test_the_rest_survives_an_outage_after_a_bad_item(self) -> None:
        """Each half waits for the database by itself."""
        keep = Operation()
        bad = DataError("INSERT", {}, psycopg.DataError("no NUL"))
        results = [self.writer.submit(keep, item) for item in (1, bad, 3)]
        troubles: list[Exception | None] = [database_away(), None, database_away()]

        def trouble() -> None:
            error = troubles.pop() if troubles else None
            if error is not None:
                raise error

        keep.before = trouble

        self.writer.commit()

        self.assertEqual(self.successResultOf(results[0]), "kept 1")
        self.failureResultOf(results[1], DataError)
        self.assertEqual(self.successResultOf(results[2]), "kept 3")
        self.assertEqual(self.doors.kept(), [1, 3])

    def test_a_connection_in_doubt_is_replaced(self) -> None:
        """A driver that lost count of its packets gets a fresh connection; a bad value does not."""
        keep = Operation()
        for error in (
            DataError("INSERT", {}, pymysql.err.DataError(1406, "too long")),
            InternalError("INSERT", {}, pymysql.err.InternalError("Packet sequence number wrong")),
        ):
            self.failureResultOf(self._committed(keep, error), DBAPIError)
            self.assertEqual(self.successResultOf(self._committed(keep, 1)), "kept 1")

        self.assertEqual(self.doors.connected, 2)

    def _committed(self, operation: Operation, item: Any) -> Deferred[Any]:
        result = self.writer.submit(operation, item)
        self.writer.commit()
        return result

    def test_a_connection_that_cannot_be_closed_is_forgotten(self) -> None:
        """What is broken may break on the way out, too."""
        keep = Operation()
        self._committed(keep, 1)
        assert self.writer._connection is not None

        class Stuck:
            def invalidate(self) -> None:
                raise database_away()

        self.writer._connection.close()
        self.writer._connection = Stuck()  # type: ignore[assignment]
        self.writer._drop_connection()

        self.assertEqual(self.successResultOf(self._committed(keep, 2)), "kept 2")

    def test_full_refuses_what_comes_in_and_takes_what_follows(self) -> None:
        """With too much waiting nothing new is accepted, but outcomes are still recorded."""
        self.patch(module, "_MOST_WAITING", 2)
        accept, settle = Operation(rank=0), Operation(rank=2)
        results = [self.writer.submit(accept, number) for number in range(2)]

        refused = self.writer.submit(accept, 2)
        results += [self.writer.submit(settle, number) for number in (3, 4)]
        too_much = self.writer.submit(settle, 5)

        for result in (refused, too_much):
            error = self.failureResultOf(result, TemporaryFailure).value
            self.assertIn("does not keep up", str(error))
        self.writer.commit()
        self.assertEqual(self.doors.kept(), [0, 1, 3, 4])
        for result in results:
            self.successResultOf(result)

    def test_counts_sizes_and_times(self) -> None:
        """The metrics see how large the transactions are and how long they take."""
        keep = Operation()
        for size in (1, 5):
            for number in range(size):
                self.writer.submit(keep, number)
            self.writer.commit()
        statistics = self.writer.statistics

        self.assertEqual((statistics.items, statistics.largest, statistics.seconds), (6, 5, 4.0))
        self.assertEqual(statistics.size_buckets, [1, 0, 1, 0, 0, 0, 0, 0])
        self.assertEqual(statistics.time_buckets, [0, 0, 0, 0, 0, 0, 0, 2])
        self.assertEqual(WriterStatistics().size_buckets, [0] * 8)


class WriterThreadTests(TestCase):
    """The thread: its start, its end, and what comes too late."""

    def setUp(self) -> None:
        """Make a writer with a thread of its own."""
        self.doors = Doors(self.mktemp())
        self.broken = False
        self.writer = self.make_writer()
        self.go_on = threading.Event()
        self.began = threading.Event()
        self.addCleanup(self.doors.engine.dispose)
        self.addCleanup(self.writer.stop)
        self.addCleanup(self.go_on.set)

    def make_writer(self, retry_after_s: float = 0.01) -> Writer:
        """Make it."""
        engine: Any = self.doors
        calls: Any = reactor
        return Writer(engine, calls.callFromThread, self.seconds, retry_after_s)

    def seconds(self) -> float:
        """Return some time, or fail."""
        if self.broken:
            self.broken = False
            raise ZeroDivisionError("a broken clock")
        return 0.0

    def slow(self) -> Operation:
        """Return an operation that holds the thread until `go_on`."""

        def wait() -> None:
            self.began.set()
            self.go_on.wait(10)

        slow = Operation()
        slow.before = wait
        return slow

    async def test_commits_and_fires_in_the_reactor(self) -> None:
        """A result arrives in the reactor's thread."""
        self.writer.start()
        result = self.writer.submit(Operation(), 1)
        result.addCallback(lambda value: (value, threading.current_thread()))

        self.assertEqual(await result, ("kept 1", threading.main_thread()))

    async def test_takes_nothing_before_the_start(self) -> None:
        """A store that is not open says so."""
        with self.assertRaises(TemporaryFailure) as caught:
            await self.writer.submit(Operation(), 1)
        self.assertIn("closed", str(caught.exception))
        self.writer.stop()

    async def test_gathers_while_it_commits(self) -> None:
        """What comes during a transaction is the next one, up to a limit."""
        self.patch(module, "_MOST_AT_ONCE", 3)
        self.writer.start()
        slow = self.slow()
        first = self.writer.submit(slow, 0)
        await deferToThread(self.began.wait, 10)
        keep = Operation()
        rest = [self.writer.submit(keep, number) for number in range(1, 6)]
        self.go_on.set()

        await first
        for result in rest:
            await result

        self.assertEqual([items for items, _ in keep.calls], [[1, 2, 3], [4, 5]])

    async def test_commits_what_waits_when_it_stops(self) -> None:
        """Stopping loses nothing that came before, and takes nothing that comes after."""
        self.writer.start()
        slow = self.slow()
        results = [self.writer.submit(slow, 1)]
        await deferToThread(self.began.wait, 10)
        results.append(self.writer.submit(slow, 2))
        stopping = deferToThread(self.writer.stop)
        await deferToThread(self.writer._stopping.wait, 10)

        with self.assertRaises(TemporaryFailure):
            await self.writer.submit(slow, 3)
        await deferToThread(self.writer.stop)  # a second stop does no harm
        self.go_on.set()
        await stopping

        self.assertEqual([await result for result in results], ["kept 1", "kept 2"])
        with self.assertRaises(TemporaryFailure):
            await self.writer.submit(slow, 4)

    async def test_does_not_wait_for_a_database_when_it_stops(self) -> None:
        """What cannot be committed at the end fails, so that nobody acknowledges it."""
        self.doors.refusals = [database_away()] * 10_000
        self.writer.start()
        result = self.writer.submit(Operation(), 1)

        await deferToThread(self.writer.stop)

        with self.assertRaises(TemporaryFailure) as caught:
            await result
        self.assertIn("away", str(caught.exception))

    async def test_a_bug_does_not_end_the_thread(self) -> None:
        """What breaks the writer itself fails what waited, and the next is committed."""
        self.writer.start()
        self.broken = True

        with self.assertRaises(TemporaryFailure):
            await self.writer.submit(Operation(), 1)

        self.assertEqual(await self.writer.submit(Operation(), 2), "kept 2")
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)


class OutageTests(SynchronousTestCase):
    """Which errors mean that the database is away, and which that a statement is wrong."""

    def raised(self, error: Exception, kind: type[DBAPIError] = OperationalError) -> bool:
        """Ask about an error of a driver."""
        return is_outage(kind("SELECT 1", {}, error))

    def test_sqlite(self) -> None:
        """A locked or full disk passes; a wrong statement stays wrong."""
        for code, away in (
            (sqlite3.SQLITE_BUSY, True),
            (sqlite3.SQLITE_BUSY_SNAPSHOT, True),
            (sqlite3.SQLITE_FULL, True),
            (sqlite3.SQLITE_IOERR_FSYNC, True),
            (sqlite3.SQLITE_READONLY, True),
            (sqlite3.SQLITE_PROTOCOL, True),
            (sqlite3.SQLITE_CONSTRAINT_UNIQUE, False),
            (sqlite3.SQLITE_CORRUPT, False),
        ):
            error = sqlite3.OperationalError("x")
            error.sqlite_errorcode = code
            self.assertIs(self.raised(error), away, code)

    def test_mariadb(self) -> None:
        """A server that stops, is full or found a deadlock passes."""
        for code, away in ((2013, True), (1213, True), (1053, True), (1406, False), (1062, False)):
            self.assertIs(self.raised(pymysql.err.OperationalError(code, "x")), away, code)
        self.assertFalse(self.raised(pymysql.err.OperationalError()))

    def test_postgresql(self) -> None:
        """The class of the state decides; without one the driver speaks for itself."""
        for error, away in (
            (psycopg.errors.AdminShutdown("x"), True),
            (psycopg.errors.DeadlockDetected("x"), True),
            (psycopg.errors.DiskFull("x"), True),
            (psycopg.errors.ReadOnlySqlTransaction("x"), True),
            (psycopg.errors.UniqueViolation("x"), False),
            (psycopg.OperationalError("the connection is closed"), True),
        ):
            self.assertIs(self.raised(error), away, repr(error))

    def test_a_value_that_psycopg_refuses_is_no_outage(self) -> None:
        """A NUL in a text is refused before the server sees it; waiting would not help."""
        error = psycopg.DataError("PostgreSQL text fields cannot contain NUL (0x00) bytes")

        self.assertFalse(self.raised(error, DataError))

    def test_a_connection_that_broke(self) -> None:
        """What SQLAlchemy recognizes as a lost connection is one."""
        error = OperationalError("x", {}, Exception("x"), connection_invalidated=True)

        self.assertTrue(is_outage(error))
