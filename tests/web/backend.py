"""
The parts behind the API for tests: the real core and the real store on SQLite, committed by hand.

Two persons share a line; each has one more; gateways are scripted.  Files are kept in a dictionary.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Collection, Mapping
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, fail, maybeDeferred, succeed
from zope.interface import implementer

from smsbridge.core.contacts import Shelf
from smsbridge.core.directory import Directory, Line, Person
from smsbridge.core.entries import MessageQuery, QueueQuery
from smsbridge.core.files import FileRecord, OpenedFile
from smsbridge.core.message import Media
from smsbridge.core.records import DeliveryRecord, MessageRecord, QueueDepth
from smsbridge.errors import Refused
from smsbridge.store.contacts import StoredContacts
from smsbridge.store.listing import MessageListing
from smsbridge.store.threads import StoredThreads
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.bridge import IBridge, MessageFilter, QueueFilter
from tests.core.gateways import ScriptedGateway
from tests.core.rig import Rig
from tests.web.bridge import FakeBridge

NUMBER = "+12025550123"
OTHER = "+12025550124"


def directory() -> Directory:
    """Make a directory: John and Jane share line one; John has two, Jane three; Joe is new."""
    return Directory(
        lines={
            label: Line(label=label, gateway="box", number=number, carries_media=label == "two")
            for label, number in (
                ("one", "+12025550100"),
                ("two", "+12025550101"),
                ("three", "+12025550102"),
            )
        },
        persons={
            "john": Person(
                label="john", xmpp=("john@example.org",), lines=("one", "two"), rate=0, admin=True
            ),
            "jane": Person(
                label="jane", xmpp=("jane@example.org",), lines=("one", "three"), rate=0
            ),
            "joe": Person(label="joe", xmpp=("joe@example.org",), rate=0),
        },
        serving={"xmpp": "chat"},
    )


@implementer(IBridge)
class StoreBridge(FakeBridge):
    """The bridge in memory, with what it says about messages from the real store."""

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self._rig = rig

    def messages(self, which: MessageFilter, limit: int | None) -> Deferred[list[MessageRecord]]:
        """See `IBridge`."""
        return self._rig.store.messages(
            MessageQuery(message_ids=which.message_ids, line=which.line, limit=limit)
        )

    def follow(self, changed: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """See `IBridge`."""
        return self._rig.changes.watch(changed)

    def trace(self, message_id: str) -> Deferred[MessageRecord | None]:
        """See `IBridge`."""
        return self._rig.store.trace(message_id)

    def lines(self) -> list[Any]:
        """Return the lines of the directory, named as there."""
        one, two = super().lines()
        return [evolve(one, line="one"), evolve(two, line="two")]

    def queue(
        self, which: QueueFilter, after_id: str, limit: int
    ) -> Deferred[list[DeliveryRecord]]:
        """See `IBridge`."""
        return self._rig.store.queue(
            QueueQuery(
                gateway=which.gateway,
                line=which.line,
                statuses=which.statuses,
                delivery_ids=which.delivery_ids,
                message_id=which.message_id,
                after_id=after_id,
                limit=limit,
            )
        )

    def depths(self) -> Deferred[list[QueueDepth]]:
        """See `IBridge`."""
        return self._rig.store.depths()

    def retry(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge`."""
        now_ms = self._rig.now_ms()
        return self._rig.store.resend(delivery_ids, now_ms, now_ms + 86_400_000).addCallback(
            lambda result: result[0]
        )

    def drop(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge`."""
        return self._rig.store.drop(delivery_ids, self._rig.now_ms()).addCallback(
            lambda result: result[0]
        )

    def has_ussd(self, line: str) -> bool:
        """See `IBridge`."""
        return line == "one"

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """Answer on all lines."""
        return super().ussd("demo1", code)

    def line_commands(self, line: str) -> Mapping[str, tuple[str, str]]:
        """See `IBridge`."""
        return super().line_commands("demo1")

    def calls(self, line: str, limit: int) -> Deferred[list[Any]]:
        """Return the calls of the lines one and two."""
        names = {"demo1": "one", "demo2": "two"}
        return (
            super()
            .calls("", 1000)
            .addCallback(
                lambda found: [
                    renamed
                    for each in found
                    if line in ("", (renamed := evolve(each, line=names[each.line])).line)
                ][:limit]
            )
        )


@define
class DictFiles:
    """Keeps files in a dictionary; `web` is what there is to be fetched, `refusal` ends that."""

    folder: Path
    web: dict[str, tuple[bytes, str]] = field(factory=dict)
    kept: dict[str, Media] = field(factory=dict)
    refusal: Refused | None = None

    def upload_path(self) -> Path:
        """See `Files`."""
        return self.folder / f"upload-{len(self.kept)}"

    def keep(
        self,
        data: bytes | Path,
        name: str = "",
        content_type: str = "",
        *,
        received: bool = False,
    ) -> Deferred[Media]:
        """See `Files`."""
        content = data if isinstance(data, bytes) else data.read_bytes()
        if self.refusal is not None:
            return fail(self.refusal)
        if not content:
            return fail(Refused("bad-file", "This file is empty."))
        digest = hashlib.sha256(content).hexdigest()
        media = Media(
            content_type=content_type or "application/octet-stream",
            size=len(content),
            name=name,
            digest=digest,
        )
        self.kept[digest] = media
        (self.folder / digest).write_bytes(content)
        return succeed(media)

    def find(self, digest: str) -> Deferred[Media | None]:
        """See `Files`."""
        return succeed(self.kept.get(digest))

    def record(self, media: Media) -> FileRecord | None:
        """See `Files`."""
        return None

    def opened(self, segments: Any) -> Deferred[OpenedFile]:
        """See `Files`."""
        return fail(Refused("bad-file"))

    def path(self, media: Media) -> Path | None:
        """See `Files`."""
        return self.folder / media.digest if media.digest in self.kept else None

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """See `Files`."""
        return f"https://sms.example.org/media/{media.digest}"

    def thumbnail_link(self, media: Media) -> str:
        """See `Files`."""
        return f"/media/{media.digest}/small" if media.content_type.startswith("image/") else ""

    def size_px(self, media: Media) -> tuple[int, int] | None:
        """See `Files`."""
        return (4, 3) if media.content_type.startswith("image/") else None

    def fit(self, media: Media, limit_bytes: int) -> Deferred[Media]:
        """See `Files`."""
        if (media.size or 0) <= limit_bytes:
            return succeed(media)
        return self.keep(b"small", media.name, media.content_type)

    def fetch(
        self,
        url: str,
        most_bytes: int = 0,
        *,
        headers: Mapping[str, str] | None = None,
        name: str = "",
        received: bool = False,
        trusted: str = "",
    ) -> Deferred[Media]:
        """See `Files`."""
        known = url.rpartition("/")[2]
        if known in self.kept:
            return succeed(self.kept[known])
        if url not in self.web:
            return fail(Refused("bad-file", f"There is nothing at {url}."))
        data, content_type = self.web[url]
        return self.keep(data, name, content_type)


class StubLive:
    """Notes what the windows of a person are told."""

    def __init__(self) -> None:
        self.told: list[tuple[str, ...]] = []

    def conversation_changed(self, person: str, conversation: str) -> None:
        """See `Live`."""
        self.told.append((person, conversation))

    def contacts_changed(self, person: str) -> None:
        """See `Live`."""
        self.told.append((person,))


class Setting:
    """
    Everything behind the API.

    :param folder: a name that no other test uses.
    """

    def __init__(self, folder: str) -> None:
        self.rig = Rig(
            folder, ScriptedGateway("chat"), ScriptedGateway("box", per_line=True), directory()
        )
        rig = self.rig
        store: Any = rig.store
        store.read = self._read
        self.reads = 0
        self.files = DictFiles(Path(folder))
        rig.world.media = self.files
        rig.world.inbox = True
        self.live = StubLive()
        self.bridge = StoreBridge(rig)
        self.threads = StoredThreads(rig.store)
        self.listing = MessageListing(rig.store)
        self.shelf = Shelf(rig.world.book)
        self.contacts = StoredContacts(
            rig.clock, rig.store, rig.world, self.shelf, rig.now_ms, maybeDeferred
        )
        self.backend = Backend(
            reactor=rig.clock,
            now_ms=rig.now_ms,
            bridge=self.bridge,
            inbox=rig.inbox,
            world=rig.world,
            threads=self.threads,
            contacts=self.contacts,
            live=self.live,
            public_url=lambda: "https://sms.example.org",
        )
        rig.start("chat:stream", "box/one", "box/two", "box/three")

    def _read(self, read: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Read at once, where the store would use a thread."""
        self.reads += 1
        readers: Any = self.rig.store._readers

        def run() -> Any:
            with readers.connect() as connection:
                return read(connection, *arguments)

        return maybeDeferred(run)

    def caller(self, person: str, *scopes: Scope, **more: Any) -> Caller:
        """Make a caller; without scopes one that may all."""
        values: dict[str, Any] = {
            "person": self.rig.world.directory.persons[person],
            "name": "t",
            "scopes": frozenset(scopes or Scope),
        }
        values.update(more)
        return Caller(**values)

    def turn(self) -> None:
        """Let everything happen that is to happen now."""
        for _ in range(20):
            self.rig.clock.advance(0)
            self.rig.settle()

    def close(self) -> None:
        """Close the store."""
        self.rig.close()
