"""
Many rows in one statement, in the dialect of the database at hand.

SQLAlchemy writes the statement's beginning; the values follow as one flat list of parameters.  One
statement instead of one for each row matters twice: MariaDB and PostgreSQL answer once, and
Python's sqlite3 gives the interpreter away once; against a busy reactor each return of the
interpreter costs a switch interval, which made an ``executemany`` of 300 rows take 1.6 s where this
takes 0.03 s.

Statements come in few sizes, so that a driver's statement cache serves them all.  Those that list
many values are written by SQLAlchemy once for each size and go to the driver as they are.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from enum import Enum
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    BindParameter,
    ClauseElement,
    Connection,
    CursorResult,
    Dialect,
    Table,
    bindparam,
    insert,
)

__all__ = ["BulkInsert", "BulkUpdate", "Prepared", "sizes"]

_LARGEST: Final = 256  # times 25 columns stays under SQLite's 32,766 parameters
_SMALL: Final = 64  # up to here any number of rows is one statement
_LARGEST_CASE: Final = 64  # a CASE is searched from its beginning for every row


def sizes(count: int, largest: int = _LARGEST) -> Iterator[int]:
    """Cut `count` into powers of two, `largest` at most, greatest first, and a small rest."""
    size = largest
    while count > _SMALL:
        while size > count:
            size >>= 1
        yield size
        count -= size
    if count:
        yield count


class BulkInsert:
    """
    Inserts rows given as sequences in the order of `columns`.

    :param columns: names of the columns that every row gives.
    :param tail: SQL after the values, such as what to do with a row that is there already.
    :param row: SQL of one row with the dialect's markers, where the values are not taken as given.
    """

    def __init__(
        self,
        table: Table,
        columns: Sequence[str],
        dialect: Dialect,
        tail: str = "",
        row: str = "",
    ) -> None:
        self._tail = f" {tail}" if tail else ""
        compiled = str(insert(table).compile(dialect=dialect, column_keys=list(columns)))
        self._head, _, values = compiled.partition(" VALUES ")
        marker = "?" if dialect.paramstyle == "qmark" else "%s"
        order = [column.name for column in table.columns if column.name in columns]
        if order != list(columns) or not values:
            raise ValueError(f"columns of {table.name} must be named in the table's order")
        self._row = row or "(" + ", ".join([marker] * len(columns)) + ")"
        # psycopg sends many rows without waiting in between, but takes long to read a statement
        # with thousands of parameters: 35 against 195 us of CPU a text.
        self._pipelined = dialect.driver == "psycopg"
        self._statements: dict[int, str] = {}

    def _statement(self, size: int) -> str:
        statement = self._statements.get(size)
        if statement is None:
            statement = f"{self._head} VALUES {', '.join([self._row] * size)}{self._tail}"
            self._statements[size] = statement
        return statement

    def run(self, connection: Connection, rows: Sequence[Sequence[Any]]) -> None:
        """Insert the rows."""
        if self._pipelined:
            connection.exec_driver_sql(self._statement(1), [tuple(row) for row in rows])
            return
        start = 0
        for size in sizes(len(rows)):
            flat = tuple([value for row in rows[start : start + size] for value in row])
            connection.exec_driver_sql(self._statement(size), flat)
            start += size


class BulkUpdate:
    """
    Sets one column to a value of its own in each of many rows, and others to the same in all.

    :param assignments: SQL after ``SET`` for the columns that all rows share, with the dialect's
        markers.
    :param condition: SQL that a row must meet besides its key, with the dialect's markers.
    """

    def __init__(
        self, table: str, key: str, column: str, assignments: str, condition: str, dialect: Dialect
    ) -> None:
        self._marker = "?" if dialect.paramstyle == "qmark" else "%s"
        self._table, self._key, self._column = table, key, column
        self._assignments = assignments.replace("?", self._marker)
        self._condition = condition.replace("?", self._marker)
        self._statements: dict[int, str] = {}

    def _statement(self, size: int) -> str:
        statement = self._statements.get(size)
        if statement is None:
            m = self._marker
            cases = f" WHEN {m} THEN {m}" * size
            statement = (
                f"UPDATE {self._table} SET {self._column} = CASE {self._key}{cases} END, "
                f"{self._assignments} WHERE {self._key} IN ({', '.join([m] * size)}) "
                f"AND {self._condition}"
            )
            self._statements[size] = statement
        return statement

    def run(
        self,
        connection: Connection,
        pairs: Sequence[tuple[Any, Any]],
        shared: tuple[Any, ...],
        condition: tuple[Any, ...] = (),
    ) -> None:
        """Update the rows; `pairs` are (key, value)."""
        start = 0
        for size in sizes(len(pairs), _LARGEST_CASE):
            part = pairs[start : start + size]
            flat = [value for pair in part for value in pair]
            connection.exec_driver_sql(
                self._statement(size), (*flat, *shared, *(key for key, _ in part), *condition)
            )
            start += size


@frozen
class _Written:
    """A statement as the driver takes it."""

    sql: str
    listed: tuple[str, ...]  # names of the list's parameters
    given: Mapping[str, Any]  # what is the same in every call
    order: tuple[str, ...] | None  # None: the driver takes them by name


class Prepared:
    """
    A statement about a list of values, written once for each power of two of their number.

    SQLAlchemy would look it up by its parts and write the list anew for each call, which costs
    some 40 us where the driver itself takes 5.  Rows come with the names of their columns, and with
    the driver's own types.

    :param make: returns the statement, given the parameters to be listed in it; the others are
        ``bindparam`` with a name.
    """

    def __init__(self, make: Callable[[Sequence[BindParameter[Any]]], ClauseElement]) -> None:
        self._make = make
        self._written: dict[tuple[str, str, int], _Written] = {}

    def _write(self, dialect: Dialect, size: int) -> _Written:
        names = tuple(f"listed_{number}" for number in range(size))
        compiled: Any = self._make([bindparam(name) for name in names]).compile(dialect=dialect)
        order = compiled.positiontup if compiled.positional else None
        given = {
            name: value.value if isinstance(value, Enum) else value
            for name, value in compiled.params.items()
        }
        return _Written(str(compiled), names, given, None if order is None else tuple(order))

    def run(
        self, connection: Connection, values: Sequence[str] = (), **more: Any
    ) -> CursorResult[Any]:
        """
        Run it.

        :param values: what is listed; repeated to fill a statement, so their order and number must
            not matter.
        :param more: the other parameters.
        """
        count = len(values)
        size = 1 << (count - 1).bit_length() if count else 0
        dialect = connection.dialect
        key = (dialect.name, dialect.driver, size)
        written = self._written.get(key)
        if written is None:
            written = self._written[key] = self._write(dialect, size)
        parameters = {**written.given, **more}
        if count:
            parameters.update(zip(written.listed, values, strict=False))
            if count < size:
                parameters.update(dict.fromkeys(written.listed[count:], values[-1]))
        if written.order is None:
            return connection.exec_driver_sql(written.sql, parameters)
        return connection.exec_driver_sql(
            written.sql, tuple([parameters[name] for name in written.order])
        )
