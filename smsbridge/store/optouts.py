"""
The numbers that do not want texts from a line; `core.optouts.OptOuts` in memory and database.

All of them are in memory, because every text that goes out asks.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

from sqlalchemy import Connection, delete, insert, select
from twisted.application.service import Service
from twisted.internet.defer import Deferred

from smsbridge.core.optouts import OptOut
from smsbridge.store.change import CHANGE
from smsbridge.store.schema import opt_outs
from smsbridge.store.service import MessageStore

__all__ = ["StoredOptOuts"]

_c = opt_outs.c


class StoredOptOuts(Service):
    """
    See `core.optouts.OptOuts`, which this provides; starts right after the store.

    :param now_ms: the time of day in milliseconds since 1970 UTC.
    """

    name = "opt-outs"

    def __init__(self, store: MessageStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._out: dict[tuple[str, str], OptOut] = {}

    def startService(self) -> None:
        """Read who is out, before anything can be sent."""
        Service.startService(self)
        self._out = {
            (each.line, each.number): each for each in self._store.read_at_start(_listed_txn)
        }

    def is_out(self, line: str, number: str) -> bool:
        """See `OptOuts.is_out`."""
        return (line, number) in self._out

    def opt_out(self, line: str, number: str, source: str) -> Deferred[bool]:
        """See `OptOuts.opt_out`."""
        wanted = OptOut(line=line, number=number, source=source, since_ms=self._now_ms())

        def kept(found: OptOut) -> bool:
            self._out[line, number] = found
            return found == wanted

        return self._store.write(CHANGE, partial(_opt_out_txn, wanted=wanted)).addCallback(kept)

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """See `OptOuts.opt_in`."""

        def removed(_: None) -> bool:
            return self._out.pop((line, number), None) is not None

        return self._store.write(
            CHANGE, partial(_opt_in_txn, line=line, number=number)
        ).addCallback(removed)

    def listed(self) -> list[OptOut]:
        """See `OptOuts.listed`."""
        return sorted(self._out.values(), key=lambda each: (each.since_ms, each.line, each.number))


def _listed_txn(connection: Connection) -> list[OptOut]:
    return [
        OptOut(line=row.line, number=row.number, source=row.source, since_ms=row.since_ms)
        for row in connection.execute(select(opt_outs))
    ]


def _opt_out_txn(connection: Connection, wanted: OptOut) -> OptOut:
    """Put a number out; returns since when it is, which another node may have done."""
    row = connection.execute(
        select(opt_outs).where(_c.line == wanted.line, _c.number == wanted.number)
    ).first()
    if row is not None:
        return OptOut(line=row.line, number=row.number, source=row.source, since_ms=row.since_ms)
    connection.execute(
        insert(opt_outs).values(
            line=wanted.line,
            number=wanted.number,
            source=wanted.source,
            since_ms=wanted.since_ms,
        )
    )
    return wanted


def _opt_in_txn(connection: Connection, line: str, number: str) -> None:
    connection.execute(delete(opt_outs).where(_c.line == line, _c.number == number))
