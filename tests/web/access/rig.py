"""The door on a real SQLite file, with a clock, chance and threads that the test plays."""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable, Coroutine
from pathlib import Path
from typing import Any, TypeVar

from argon2 import PasswordHasher
from sqlalchemy import delete
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, execute, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request
from twisted.web.test.requesthelper import DummyChannel

from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.store import database
from smsbridge.store.accounts import AccountTables
from smsbridge.store.schema import passwords, sessions, tokens
from smsbridge.web.access.access import Access
from smsbridge.web.access.logins import Logins
from smsbridge.web.access.passwords import Passwords
from smsbridge.web.access.start import Door
from smsbridge.web.access.tokens import Tokens
from tests.core.rig import empty_database

T = TypeVar("T")

NOW = 1_800_000_000_000
HOME = "192.0.2.1"
AWAY = "198.51.100.7"
GOOD = "correct horse battery"
#: Quick, and otherwise as the real one.
HASHER = PasswordHasher(time_cost=1, memory_cost=8, parallelism=1)


class Tables:
    """Stands for the `MessageStore`: each change is a transaction of its own, at once."""

    def __init__(self, folder: Path) -> None:
        (folder / "smsbridge.sqlite3").write_bytes(empty_database())
        self._engine, self._reading = database.open_engines(database.url_of("sqlite", folder))
        self.reads = 0
        self.writes = 0

    def write(self, operation: Any, item: Any) -> Deferred[Any]:
        """Run an operation on one item."""
        self.writes += 1

        def run() -> Any:
            with self._engine.begin() as connection:
                return operation(connection, [item], False)[0]

        return execute(run)

    def read(self, read: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        """Call with a connection."""
        self.reads += 1

        def run() -> Any:
            with self._engine.connect() as connection:
                return read(connection, *arguments)

        return execute(run)

    def empty(self) -> None:
        """Forget everybody."""
        with self._engine.begin() as connection:
            for table in (passwords, sessions, tokens):
                connection.execute(delete(table))

    def close(self) -> None:
        """Close the file."""
        self._engine.dispose()
        self._reading.dispose()


class Chance:
    """Gives random bytes that are other ones each time, and the same in every run."""

    def __init__(self) -> None:
        self._count = 0

    def __call__(self, size: int) -> bytes:
        self._count += 1
        return self._count.to_bytes(4, "big").rjust(size, b"\x5a")


def persons() -> dict[str, Person]:
    """Return an operator, and a person with two lines."""
    return {
        "john": Person(label="john", lines=("one", "two")),
        "mary": Person(label="mary", lines=("two",), admin=True),
    }


def door(
    tables: Tables,
    world: World,
    now_ms: Callable[[], int],
    seconds: Callable[[], float],
    random: Callable[[int], bytes],
    run: Callable[[Callable[[], Any]], Deferred[Any]] = execute,
) -> Door:
    """Build a door with quick hashes, and without threads."""
    accounts = AccountTables(tables)  # type: ignore[arg-type]
    logins = Logins(accounts, Passwords(run, HASHER), world, now_ms, seconds, random)
    made = Tokens(accounts, world, now_ms, seconds, random)
    nothing: Any = None
    return Door(
        threads=nothing,
        logins=logins,
        tokens=made,
        access=Access(world, logins, made, seconds, str),
    )


class DoorTestCase(SynchronousTestCase):
    """Has a door; `reopen` is what a start of the daemon does to it."""

    def setUp(self) -> None:
        """Build a door on an empty database."""
        folder = Path(tempfile.mkdtemp(prefix="smsbridge-door-"))
        self.addCleanup(shutil.rmtree, folder)
        self.tables = Tables(folder)
        self.addCleanup(self.tables.close)
        self.clock = Clock()
        self.world = World(
            Directory(
                lines={each: Line(label=each, gateway="box") for each in ("one", "two")},
                persons=persons(),
            )
        )
        self.public_url = ""
        self.trusted: tuple[str, ...] = ()
        self.chance = Chance()
        self.waiting: list[tuple[Deferred[Any], Callable[[], Any]]] = []
        self.held = False  # whether passwords wait for `work`
        self.reopen()

    def reopen(self) -> None:
        """Build the door anew on the same tables."""
        self.accounts = AccountTables(self.tables)  # type: ignore[arg-type]
        self.passwords = Passwords(self._hashing, HASHER)
        self.logins = Logins(
            self.accounts, self.passwords, self.world, self.now_ms, self.clock.seconds, self.chance
        )
        self.tokens = Tokens(
            self.accounts, self.world, self.now_ms, self.clock.seconds, self.chance
        )
        self.access = Access(
            self.world,
            self.logins,
            self.tokens,
            self.clock.seconds,
            lambda: self.public_url,
            lambda: self.trusted,
        )

    def _hashing(self, call: Callable[[], Any]) -> Deferred[Any]:
        if not self.held:
            return succeed(call())
        done: Deferred[Any] = Deferred()
        self.waiting.append((done, call))
        return done

    def work(self) -> None:
        """Let the passwords that wait be hashed."""
        waiting, self.waiting = self.waiting, []
        for done, call in waiting:
            done.callback(call())

    def now_ms(self) -> int:
        """Return the time of day."""
        return NOW + int(self.clock.seconds() * 1000)

    def result(self, working: Coroutine[Any, Any, T]) -> T:
        """Return what a coroutine returns without waiting."""
        return self.successResultOf(Deferred.fromCoroutine(working))  # type: ignore[no-any-return]

    def error(self, working: Coroutine[Any, Any, Any], kind: type[Exception]) -> Any:
        """Return the exception that a coroutine raises without waiting."""
        return self.failureResultOf(Deferred.fromCoroutine(working), kind).value

    def without(self, *labels: str) -> None:
        """Let persons be gone from the configuration."""
        self.world.directory = Directory(
            lines=self.world.directory.lines,
            persons={
                label: person
                for label, person in self.world.directory.persons.items()
                if label not in labels
            },
        )


def request(
    method: str = "GET",
    *,
    headers: dict[str, str] | None = None,
    cookie: str = "",
    address: str = HOME,
) -> Request:
    """Make a request as it is when its headers have arrived."""
    channel = DummyChannel()
    made = Request(channel)
    made.client = IPv4Address("TCP", address, 40_000)
    made.method = method.encode()
    made.clientproto = b"HTTP/1.1"
    made.requestHeaders.setRawHeaders("host", ["sms.example.org"])
    for name, value in (headers or {}).items():
        made.requestHeaders.setRawHeaders(name, [value])
    if cookie:
        made.requestHeaders.setRawHeaders("cookie", [f"theme=dark; smsbridge={cookie}"])
    made.parseCookies()
    return made
