"""
The notes of what gateways promised to remember; `core.pending.Pending` on the database.

A provider's call waits for the commit of its note, so notes are written in the writer's commits,
many at once.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from twisted.internet.defer import Deferred
from twisted.python.failure import Failure

from smsbridge.core.message import storable
from smsbridge.core.pending import Kept
from smsbridge.store.bulk import BulkInsert, Prepared
from smsbridge.store.schema import pending
from smsbridge.store.service import MessageStore

__all__ = ["PendingNotes"]

_LONGEST_KEY: Final = 255
_LARGEST: Final = 1_000_000  # bytes of values in one statement; a server's limit may be 4 MiB

_c = pending.c


@frozen
class _Note:
    gateway: str
    key: str
    value: bytes
    kept_at_ms: int


class _Keep:
    """Items are `_Note`; results tell whether it is new."""

    rank = 5  # after `_Drop`, so that a key that was dropped can be kept again in the same commit

    _there = Prepared(
        lambda keys: select(_c.pending_key, _c.kept_at_ms).where(
            _c.gateway == bindparam("of"), _c.pending_key.in_(keys)
        )
    )

    def __init__(self) -> None:
        self._inserts: dict[str, BulkInsert] = {}

    def __call__(
        self, connection: Connection, notes: Sequence[_Note], again: bool
    ) -> Sequence[bool]:
        """Insert those whose keys are not there."""
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for note in notes:
            keys[note.gateway].append(note.key)
        there = {
            (gateway, row.pending_key): row.kept_at_ms
            for gateway, wanted in keys.items()
            for row in self._there.run(connection, wanted, of=gateway)
        }
        results: list[bool] = []
        rows: list[tuple[str, str, bytes, int]] = []
        taken: set[tuple[str, str]] = set()
        for note in notes:
            name = (note.gateway, note.key)
            kept_at_ms = there.get(name)
            if name in taken or kept_at_ms is not None:
                # It may be this very note, of a commit that broke off before its answer.
                mine = again and name not in taken and kept_at_ms == note.kept_at_ms
                results.append(mine)
            else:
                rows.append((*name, note.value, note.kept_at_ms))
                results.append(True)
            taken.add(name)
        for some in _portions(rows):
            self._insert(connection).run(connection, some)
        return results

    def _insert(self, connection: Connection) -> BulkInsert:
        dialect = connection.dialect
        found = self._inserts.get(dialect.name)
        if found is None:
            found = self._inserts[dialect.name] = BulkInsert(
                pending, ("gateway", "pending_key", "value", "kept_at_ms"), dialect
            )
        return found


def _portions(rows: Sequence[tuple[str, str, bytes, int]]) -> Iterator[Sequence[Any]]:
    """Cut rows into parts that are not too large for one statement."""
    some: list[tuple[str, str, bytes, int]] = []
    size = 0
    for row in rows:
        if some and size + len(row[2]) > _LARGEST:
            yield some
            some, size = [], 0
        some.append(row)
        size += len(row[2])
    if some:
        yield some


class _Drop:
    """Items are pairs of a gateway and keys; results None."""

    rank = 4

    _delete = Prepared(
        lambda keys: delete(pending).where(_c.gateway == bindparam("of"), _c.pending_key.in_(keys))
    )

    def __call__(
        self, connection: Connection, items: Sequence[tuple[str, Sequence[str]]], again: bool
    ) -> Sequence[None]:
        """Delete them."""
        keys: defaultdict[str, list[str]] = defaultdict(list)
        for gateway, dropped in items:
            keys[gateway].extend(dropped)
        for gateway, wanted in keys.items():
            for start in range(0, len(wanted), 500):
                self._delete.run(connection, wanted[start : start + 500], of=gateway)
        return [None] * len(items)


_of = select(_c.pending_key, _c.value, _c.kept_at_ms).where(_c.gateway == bindparam("of"))


def of_txn(connection: Connection, gateway: str) -> list[Kept]:
    """Read all notes of a gateway, oldest first."""
    rows = connection.execute(_of.order_by(_c.kept_at_ms, _c.pending_key), {"of": gateway})
    return [Kept(row.pending_key, bytes(row.value), row.kept_at_ms) for row in rows]


class PendingNotes:
    """
    See `core.pending.Pending`, which this provides.

    :param now_ms: the time of day in milliseconds since 1970 UTC.
    """

    def __init__(self, store: MessageStore, now_ms: Callable[[], int]) -> None:
        self._store = store
        self._now_ms = now_ms
        self._keep = _Keep()
        self._drop = _Drop()

    def keep(self, gateway: str, key: str, value: bytes) -> Deferred[bool]:
        """See `Pending.keep`."""
        note = _Note(gateway, _short(key), value, self._now_ms())
        return self._store.write(self._keep, note).addErrback(_is_there)

    def drop(self, gateway: str, keys: Sequence[str]) -> Deferred[None]:
        """See `Pending.drop`."""
        return self._store.write(self._drop, (gateway, [_short(key) for key in keys]))

    def of(self, gateway: str) -> Deferred[list[Kept]]:
        """See `Pending.of`."""
        return self._store.read(of_txn, gateway)


def _short(key: str) -> str:
    """Return a key that the column can hold; any other is replaced by its digest."""
    if len(key) <= _LONGEST_KEY and storable(key) == key:
        return key
    return "sha256:" + hashlib.sha256(key.encode("utf-8", "surrogatepass")).hexdigest()


def _is_there(failure: Failure) -> bool:
    """Another node that shares the database kept the same in this moment."""
    failure.trap(IntegrityError)
    return False
