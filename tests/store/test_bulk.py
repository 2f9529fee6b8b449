"""Tests of statements for many rows, run on SQLite and read for the other databases."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from sqlalchemy import (
    Column,
    Integer,
    MetaData,
    String,
    Table,
    bindparam,
    create_engine,
    literal,
    select,
    update,
)
from sqlalchemy.dialects.mysql import pymysql
from sqlalchemy.dialects.postgresql import psycopg
from sqlalchemy.pool import StaticPool
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.store.bulk import BulkInsert, BulkUpdate, Prepared, sizes

metadata = MetaData()
things = Table(
    "things",
    metadata,
    Column("name", String(10), primary_key=True),
    Column("status", String(10)),
    Column("remote_id", String(10)),
    Column("at_ms", Integer),
)
notes = Table("notes", metadata, Column("words", String(10)))


class SizesTests(SynchronousTestCase):
    """How many rows the statements take."""

    @given(st.integers(0, 5000), st.sampled_from((64, 256)))
    def test_few_sizes_that_make_up_the_whole(self, count: int, largest: int) -> None:
        """None is above the largest, large ones are powers of two, and a small rest is one."""
        found = list(sizes(count, largest))

        self.assertEqual(sum(found), count)
        self.assertTrue(all(size & (size - 1) == 0 and size <= largest for size in found[:-1]))
        self.assertTrue(all(size <= 64 or size & (size - 1) == 0 for size in found))
        self.assertEqual(found, sorted(found, reverse=True))

    def test_a_small_number_is_one_statement(self) -> None:
        """Each statement costs a turn of the interpreter, which a busy program gives late."""
        self.assertEqual(
            [list(sizes(count)) for count in (1, 37, 64, 65)], [[1], [37], [64], [64, 1]]
        )


class TableCase(SynchronousTestCase):
    """A table on SQLite."""

    def setUp(self) -> None:
        """Make an empty table."""
        self.engine = create_engine("sqlite://", poolclass=StaticPool)
        metadata.create_all(self.engine)
        self.addCleanup(self.engine.dispose)

    def insert(self, *rows: tuple[Any, ...]) -> None:
        """Insert rows of a name and a status."""
        with self.engine.begin() as connection:
            BulkInsert(things, ("name", "status"), self.engine.dialect).run(connection, rows)

    def rows(self) -> list[tuple[Any, ...]]:
        """Read everything."""
        with self.engine.connect() as connection:
            return [tuple(row) for row in connection.execute(select(things))]


class BulkTests(TableCase):
    """Inserting and updating."""

    def test_inserts_any_number_of_rows(self) -> None:
        """None, one, and more than one statement takes."""
        rows = [(f"n{number:04}", f"s{number}") for number in range(700)]

        self.insert()
        self.insert(rows[0])
        self.insert(*rows[1:])

        self.assertEqual([(name, status) for name, status, _, _ in self.rows()], rows)

    def test_leaves_out_columns_that_are_not_given(self) -> None:
        """The others get their default."""
        self.insert(("a", "new"))

        self.assertEqual(self.rows(), [("a", "new", None, None)])

    def test_columns_in_another_order_are_refused(self) -> None:
        """Values would land in the wrong columns."""
        for columns in (("status", "name"), ("name", "nothing")):
            self.assertRaises(ValueError, BulkInsert, things, columns, self.engine.dialect)
        self.assertRaises(ValueError, BulkInsert, notes, (), self.engine.dialect)

    def test_updates_each_row_with_its_own_value(self) -> None:
        """One column differs, the others are shared, and the condition is kept."""
        names = [f"n{number:04}" for number in range(200)]
        self.insert(*((name, "done" if name == "n0007" else "open") for name in names))
        update = BulkUpdate(
            "things",
            "name",
            "remote_id",
            "status = 'sent', at_ms = ?",
            "status = ?",
            self.engine.dialect,
        )

        with self.engine.begin() as connection:
            update.run(connection, [(name, name[1:]) for name in names[:150]], (5,), ("open",))

        rows = {name: rest for name, *rest in self.rows()}
        self.assertEqual(rows["n0149"], ["sent", "0149", 5])
        self.assertEqual(rows["n0007"], ["done", None, None])
        self.assertEqual(rows["n0150"], ["open", None, None])

    def test_speaks_the_dialect_of_the_database(self) -> None:
        """MariaDB and PostgreSQL mark parameters otherwise than SQLite."""
        for dialect in (pymysql.dialect(), psycopg.dialect()):
            insert = BulkInsert(things, ("name", "status"), dialect)._statement(2)
            update = BulkUpdate("t", "k", "c", "a = ?", "b = ?", dialect)._statement(2)

            self.assertTrue(insert.endswith("VALUES (%s, %s), (%s, %s)"), insert)
            self.assertEqual((update.count("%s"), update.count("?")), (8, 0))

    def test_statements_are_made_once(self) -> None:
        """A driver's statement cache finds the same text again."""
        insert = BulkInsert(things, ("name", "status"), self.engine.dialect)
        update = BulkUpdate("t", "k", "c", "a = 1", "b = 2", self.engine.dialect)

        self.assertIs(insert._statement(4), insert._statement(4))
        self.assertIs(update._statement(4), update._statement(4))


class PreparedTests(TableCase):
    """Statements that are written once."""

    def setUp(self) -> None:
        """Make a table with some rows."""
        super().setUp()
        self.made: list[int] = []
        self.insert(*((f"n{number:04}", "new") for number in range(40)))

    def make(self, names: Any) -> Any:
        """Make a statement that changes the listed rows, as long as they are new."""
        self.made.append(len(names))
        return (
            update(things)
            .where(things.c.name.in_(names), things.c.status.in_([literal("new"), literal("old")]))
            .values(status=Status.SENT, at_ms=bindparam("at"))
        )

    def test_changes_any_number_of_rows(self) -> None:
        """What is listed is changed, and nothing else; the rest of a size is made up."""
        prepared = Prepared(self.make)
        names = [name for name, *_ in self.rows()]
        with self.engine.begin() as connection:
            counts = [
                prepared.run(connection, names[:1], at=1).rowcount,
                prepared.run(connection, names[1:4], at=2).rowcount,
                prepared.run(connection, names[:21], at=3).rowcount,
            ]

        self.assertEqual(counts, [1, 3, 17])
        found = {name: (status, at_ms) for name, status, _, at_ms in self.rows()}
        self.assertEqual(found["n0000"], ("sent", 1))
        self.assertEqual(found["n0003"], ("sent", 2))
        self.assertEqual(found["n0020"], ("sent", 3))
        self.assertEqual(found["n0021"], ("new", None))

    def test_is_written_once_for_a_size(self) -> None:
        """Powers of two are enough for all."""
        prepared = Prepared(self.make)
        with self.engine.begin() as connection:
            for count in (1, 2, 3, 4, 3, 2, 1, 4):
                prepared.run(connection, ["n"] * count, at=1)

        self.assertEqual(self.made, [1, 2, 4])

    def test_rows_have_names(self) -> None:
        """They are read like all others, also without a list."""
        prepared = Prepared(
            lambda _: select(things.c.name, things.c.status).where(things.c.name == bindparam("of"))
        )
        with self.engine.connect() as connection:
            row = prepared.run(connection, of="n0007").one()

        self.assertEqual((row.name, row.status), ("n0007", "new"))

    def test_is_written_for_each_database(self) -> None:
        """Each driver has its own markers, and takes values by place or by name."""
        prepared = Prepared(self.make)

        maria = prepared._write(pymysql.dialect(), 2)
        postgres = prepared._write(psycopg.dialect(), 2)

        self.assertIn("IN (%s, %s)", maria.sql)
        self.assertEqual(
            maria.order, ("status", "at", "listed_0", "listed_1", "param_1", "param_2")
        )
        self.assertIn("%(listed_1)s", postgres.sql)
        self.assertIsNone(postgres.order)
        self.assertEqual(postgres.given["status"], "sent")
        self.assertIs(type(postgres.given["status"]), str)
