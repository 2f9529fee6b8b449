"""
Stand-ins for what the inbound half of a provider talks to: the notes of promises, and the files.
"""

from __future__ import annotations

import hashlib
from collections import deque
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock

from smsbridge.core.directory import Directory, Person, World
from smsbridge.core.message import Media
from smsbridge.core.pending import Kept
from smsbridge.errors import TemporaryFailure
from smsbridge.provider.account import Account
from smsbridge.provider.arrivals import Arrivals
from smsbridge.provider.client import NoAnswer
from smsbridge.provider.dialect import ProviderLine, Request, Response
from smsbridge.provider.early import Early
from tests.core.optouts import FakeOptOuts
from tests.fakes import StubInbox
from tests.provider.fakes import OURS, FakeDialect, FakeGateway

NOW_S = 1_800_000_000.0
LABEL = "work"


@define
class MemoryPending:
    """
    Notes in a dictionary; see `core.pending.Pending`.

    :ivar failure: what every method fails with, None for success.
    :ivar refused: the beginning of keys that are not kept.
    """

    clock: Clock
    notes: dict[tuple[str, str], Kept] = field(factory=dict)
    failure: Exception | None = None
    refused: str = "nothing"
    read: int = 0

    @property
    def keys(self) -> list[str]:
        """The keys that are kept."""
        return [key for _, key in self.notes]

    def keep(self, gateway: str, key: str, value: bytes) -> Deferred[bool]:
        """See `Pending.keep`."""
        assert len(key) <= 255
        if self.failure is not None:
            return fail(self.failure)
        if key.startswith(self.refused):
            return fail(TemporaryFailure("internal"))
        if (gateway, key) in self.notes:
            return succeed(False)
        self.notes[gateway, key] = Kept(key, value, int(self.clock.seconds() * 1000))
        return succeed(True)

    def drop(self, gateway: str, keys: Sequence[str]) -> Deferred[None]:
        """See `Pending.drop`."""
        if self.failure is not None:
            return fail(self.failure)
        for key in keys:
            self.notes.pop((gateway, key), None)
        return succeed(None)

    def of(self, gateway: str) -> Deferred[list[Kept]]:
        """See `Pending.of`."""
        self.read += 1
        if self.failure is not None:
            return fail(self.failure)
        return succeed([note for (of, _), note in self.notes.items() if of == gateway])


@frozen(kw_only=True)
class Fetch:
    """One try to fetch a file."""

    url: str
    headers: Mapping[str, str]
    name: str
    received: bool
    trusted: str


@define
class StubFiles:
    """
    The part of `core.files.Files` that fetches.

    :ivar web: address to what a try brings, one after another, the last for ever: bytes with a
        type, or an exception; an address that is not there waits in `waiting`.
    """

    folder: Path
    web: dict[str, list[tuple[bytes, str] | Exception]] = field(factory=dict)
    fetched: list[Fetch] = field(factory=list)
    waiting: deque[tuple[str, Deferred[Media]]] = field(factory=deque)
    at_once: int = 0

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
        """See `Files.fetch`."""
        self.fetched.append(
            Fetch(
                url=url, headers=dict(headers or {}), name=name, received=received, trusted=trusted
            )
        )
        if url not in self.web:
            waiting: Deferred[Media] = Deferred()
            self.waiting.append((url, waiting))
            self.at_once = max(self.at_once, sum(not d.called for _, d in self.waiting))
            return waiting
        answers = self.web[url]
        answer = answers[0] if len(answers) == 1 else answers.pop(0)
        if isinstance(answer, Exception):
            return fail(answer)
        return succeed(self.kept(*answer, name))

    def kept(self, data: bytes, content_type: str, name: str = "") -> Media:
        """Keep bytes."""
        digest = hashlib.sha256(data).hexdigest()
        self.folder.mkdir(parents=True, exist_ok=True)
        (self.folder / digest).write_bytes(data)
        return Media(content_type=content_type, size=len(data), name=name, digest=digest)

    def path(self, media: Media) -> Path | None:
        """See `Files.path`."""
        return self.folder / media.digest


class Inbound:
    """The inbound half of one gateway on a clock, with everything around it made up."""

    def __init__(self, folder: Path, **config: Any) -> None:
        self.clock = Clock()
        self.clock.advance(NOW_S)
        self.config = FakeGateway(**config)
        self.lines = {"main": ProviderLine(label="main", gateway=LABEL, number=OURS)}
        self.account = Account(LABEL, self.config, FakeDialect(self.config), self.lines)
        self.inbox = StubInbox()
        self.pending = MemoryPending(self.clock)
        self.files = StubFiles(folder)
        self.opt_outs = FakeOptOuts()
        john = Person(label="john", lines=("main",))
        jane = Person(label="jane", lines=("other",))
        files: Any = self.files
        self.world = World(
            directory=Directory(
                lines=dict(self.lines), persons={"john": john, "jane": jane}, country="US"
            ),
            media=files,
            pending=self.pending,
            opt_outs=self.opt_outs,
            public_url="https://sms.example.org",
        )
        self.early = Early(self.clock)
        self.asked: list[Request] = []
        self.answers: list[Response | Exception] = []
        self.arrivals = self.make()

    def make(self) -> Arrivals:
        """Make what a process makes at its start."""
        return Arrivals(self.clock, self.account, self.inbox, self.world, self.early, self.ask)

    def restart(self) -> Arrivals:
        """Let the process die and another one begin."""
        self.arrivals.stop()
        self.files.waiting.clear()
        self.arrivals = self.make()
        self.arrivals.start()
        return self.arrivals

    def ask(self, request: Request, timeout_s: float) -> Deferred[Response]:
        """Answer as the test says."""
        self.asked.append(request)
        answer = self.answers.pop(0) if self.answers else NoAnswer("There is no answer.")
        return fail(answer) if isinstance(answer, Exception) else succeed(answer)

    def away(self) -> None:
        """Let the store be out of reach."""
        self.inbox.failure = self.pending.failure = TemporaryFailure("internal")

    def back(self) -> None:
        """Let it be there again."""
        self.inbox.failure = self.pending.failure = None

    def pass_time(self, seconds: float, step: Callable[[], float] = lambda: 1.0) -> None:
        """Let time pass, second by second."""
        until_s = self.clock.seconds() + seconds
        while self.clock.seconds() < until_s - 1e-6:
            self.clock.advance(min(step(), until_s - self.clock.seconds()))
