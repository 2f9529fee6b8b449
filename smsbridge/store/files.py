"""
The rows about the files of the media store; `core.files.Ledger` on the database.

The bytes are in the state folder (`smsbridge.media.folder`).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from sqlalchemy import Connection, bindparam, delete, exists, func, insert, select, update
from twisted.internet.defer import Deferred

from smsbridge.core.files import FileRecord
from smsbridge.store.rows import padded
from smsbridge.store.schema import files, media
from smsbridge.store.service import MessageStore

__all__ = ["FileLedger"]

_COLUMNS = (
    files.c.digest,
    files.c.content_type,
    files.c.size,
    files.c.width,
    files.c.height,
    files.c.stored_at_ms,
)


class _Add:
    """Items are `FileRecord`; results tell whether the file is new."""

    rank = 4

    _renew = (
        update(files)
        .where(files.c.digest == bindparam("of"))
        .values(stored_at_ms=bindparam("at_ms"))
    )
    _insert = insert(files)

    def __call__(
        self, connection: Connection, items: Sequence[FileRecord], again: bool
    ) -> Sequence[bool]:
        """Insert the rows, or renew the time of those that are there."""
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, item: FileRecord) -> bool:
        renewed = connection.execute(
            self._renew, {"of": item.digest, "at_ms": item.stored_at_ms}
        ).rowcount
        if renewed:
            return False
        connection.execute(
            self._insert,
            {
                "digest": item.digest,
                "content_type": item.content_type[:255],
                "size": item.size,
                "width": item.width,
                "height": item.height,
                "stored_at_ms": item.stored_at_ms,
            },
        )
        return True


class _Forget:
    """Items are (before_ms, limit); results map the digests of the removed rows to sizes."""

    rank = 8

    _unused = (
        select(files.c.digest, files.c.size)
        .where(
            files.c.stored_at_ms < bindparam("before"),
            ~exists(select(media.c.message_id).where(media.c.digest == files.c.digest)),
        )
        .limit(bindparam("most"))
    )
    _delete = delete(files).where(files.c.digest.in_(bindparam("digests", expanding=True)))

    def __call__(
        self, connection: Connection, items: Sequence[tuple[int, int]], again: bool
    ) -> Sequence[Mapping[str, int]]:
        """Remove rows that no message names."""
        return [self._one(connection, *item) for item in items]

    def _one(self, connection: Connection, before_ms: int, limit: int) -> Mapping[str, int]:
        rows = connection.execute(self._unused, {"before": before_ms, "most": limit}).all()
        found = {row.digest: row.size for row in rows}
        if found:
            connection.execute(self._delete, {"digests": padded(list(found))})
        return found


_find = (
    select(*_COLUMNS)
    .where(files.c.digest >= bindparam("start"), files.c.digest <= bindparam("end"))
    .limit(1)
)
_newest = select(*_COLUMNS).order_by(files.c.stored_at_ms.desc()).limit(bindparam("most"))
_totals = select(func.count(), func.coalesce(func.sum(files.c.size), 0)).select_from(files)
_known = select(files.c.digest).where(files.c.digest.in_(bindparam("digests", expanding=True)))


def _record(row: Any) -> FileRecord:
    return FileRecord(
        digest=row.digest,
        content_type=row.content_type,
        size=row.size,
        width=row.width,
        height=row.height,
        stored_at_ms=row.stored_at_ms,
    )


def find_txn(connection: Connection, digest: str) -> FileRecord | None:
    """Read the row of the file whose digest begins so."""
    row = connection.execute(
        _find, {"start": digest.ljust(64, "0"), "end": digest.ljust(64, "f")}
    ).first()
    return None if row is None else _record(row)


def newest_txn(connection: Connection, limit: int) -> list[FileRecord]:
    """Read the rows that were added last."""
    return [_record(row) for row in connection.execute(_newest, {"most": limit})]


def totals_txn(connection: Connection) -> tuple[int, int]:
    """Count the files and their bytes."""
    count, size = connection.execute(_totals).one()
    return int(count), int(size)  # MariaDB sums to a Decimal


def known_txn(connection: Connection, digests: Sequence[str]) -> set[str]:
    """Tell which of these digests have a row."""
    if not digests:
        return set()
    return set(connection.execute(_known, {"digests": padded(list(digests))}).scalars())


class FileLedger:
    """Keeps the rows; see `core.files.Ledger`."""

    def __init__(self, store: MessageStore) -> None:
        self._store = store
        self._add = _Add()
        self._forget = _Forget()

    def add(self, record: FileRecord) -> Deferred[bool]:
        """See `Ledger.add`."""
        return self._store.write(self._add, record)

    def find(self, digest: str) -> Deferred[FileRecord | None]:
        """See `Ledger.find`."""
        return self._store.read(find_txn, digest)

    def newest(self, limit: int) -> Deferred[list[FileRecord]]:
        """See `Ledger.newest`."""
        return self._store.read(newest_txn, limit)

    def totals(self) -> Deferred[tuple[int, int]]:
        """See `Ledger.totals`."""
        return self._store.read(totals_txn)

    def known(self, digests: Sequence[str]) -> Deferred[set[str]]:
        """See `Ledger.known`."""
        return self._store.read(known_txn, digests)

    def forget_unused(self, before_ms: int, limit: int) -> Deferred[Mapping[str, int]]:
        """See `Ledger.forget_unused`."""
        return self._store.write(self._forget, (before_ms, limit))
