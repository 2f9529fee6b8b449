"""A ledger in memory, pictures to keep, and a media store on both, for the tests."""

from __future__ import annotations

import io
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from PIL import Image
from twisted.internet.defer import Deferred, succeed

from smsbridge.core.files import FileRecord
from smsbridge.media.store import MediaSettings, MediaStore

NOW = 1_800_000_000_000
DAY_MS = 86_400_000


def picture(
    width: int = 64,
    height: int = 48,
    kind: str = "PNG",
    mode: str = "RGB",
    noise: bool = False,
    **more: Any,
) -> bytes:
    """Make a picture; one with noise in it is hard to compress."""
    if noise:
        image = Image.effect_noise((width, height), 90).convert(mode)
    else:
        image = Image.new(mode, (width, height), (200, 30, 40, 128) if mode == "RGBA" else 0)
    to = io.BytesIO()
    image.save(to, kind, **more)
    return to.getvalue()


def opened(data: bytes) -> Image.Image:
    """Open a picture."""
    return Image.open(io.BytesIO(data))


@define
class StubLedger:
    """The rows in a dictionary; see `core.files.Ledger`."""

    rows: dict[str, FileRecord] = field(factory=dict)
    used: set[str] = field(factory=set)  # digests that messages name

    def add(self, record: FileRecord) -> Deferred[bool]:
        """Add or renew a row."""
        known = self.rows.get(record.digest)
        self.rows[record.digest] = (
            record if known is None else evolve(known, stored_at_ms=record.stored_at_ms)
        )
        return succeed(known is None)

    def find(self, digest: str) -> Deferred[FileRecord | None]:
        """Find a row by the beginning of its digest."""
        found = [row for each, row in sorted(self.rows.items()) if each.startswith(digest)]
        return succeed(found[0] if found else None)

    def newest(self, limit: int) -> Deferred[list[FileRecord]]:
        """List the newest rows."""
        rows = sorted(self.rows.values(), key=lambda row: -row.stored_at_ms)
        return succeed(rows[:limit])

    def totals(self) -> Deferred[tuple[int, int]]:
        """Count."""
        return succeed((len(self.rows), sum(row.size for row in self.rows.values())))

    def known(self, digests: Sequence[str]) -> Deferred[set[str]]:
        """Tell which are there."""
        return succeed({each for each in digests if each in self.rows})

    def forget_unused(self, before_ms: int, limit: int) -> Deferred[Mapping[str, int]]:
        """Remove old rows that no message names."""
        gone = [
            row
            for row in self.rows.values()
            if row.stored_at_ms < before_ms and row.digest not in self.used
        ][:limit]
        for row in gone:
            del self.rows[row.digest]
        return succeed({row.digest: row.size for row in gone})


class Rig:
    """A started media store on the real reactor, with time and settings in the test's hand."""

    def __init__(self, reactor: Any, folder: Path, **settings: Any) -> None:
        self.ledger = StubLedger()
        # Files on the disk have the real time, with which ages are compared.
        self.now_ms = time.time_ns() // 1_000_000
        values: dict[str, Any] = {"cap_bytes": 10_000_000, "max_bytes": 4_000_000}
        self.settings = MediaSettings(**(values | settings))
        self.folder = folder / "media"
        self.addresses: dict[str, list[str]] = {}
        self.store = MediaStore(
            reactor,
            self.folder,
            self.ledger,
            lambda: self.settings,
            lambda: self.now_ms,
            self._resolve,
        )
        self.store.startService()

    def _resolve(self, host: str) -> Deferred[list[str]]:
        return succeed(self.addresses[host])

    def change(self, **settings: Any) -> None:
        """Change the settings as a reload does."""
        self.settings = evolve(self.settings, **settings)
