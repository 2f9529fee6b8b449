"""What the tests of the shared side have in common: the made-up provider's API in memory."""

from __future__ import annotations

import json
from collections.abc import Callable, Mapping, Sequence
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smsbridge.core.directory import Directory, Person, World
from smsbridge.core.message import Delivery, Direction, Kind, Media, Status
from smsbridge.core.optouts import OptOut
from smsbridge.core.pending import Kept
from smsbridge.provider.client import NoAnswer
from smsbridge.provider.dialect import ProviderLine, Request, Response
from smsbridge.provider.gateway import ProviderService
from tests.fakes import StubInbox, StubLanes
from tests.provider.fakes import FACTORY, OURS, THEIRS, FakeGateway

__all__ = [
    "OTHER",
    "START_MS",
    "THIRD",
    "Api",
    "MemoryFiles",
    "MemoryOptOuts",
    "MemoryPending",
    "Rig",
    "answer",
]

START_MS = 1_795_255_200_000
PUBLIC_URL = "https://sms.example.org"
OTHER, THIRD = "+12025550124", "+12025550125"
SECOND_LINE = "+12025550101"

#: What the API does with a request instead of what it does by itself: an answer, a failure, or
#: silence (None). A callable may do something first.
Behavior = Response | Exception | None


def answer(status: int, code: str = "", **headers: str) -> Response:
    """Return an answer with a code."""
    return Response(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=json.dumps({"code": code}).encode() if code else b"",
    )


@define
class Api:
    """
    The provider's API.

    :ivar texts: what it took, as the dialect wrote it, with an ``id``.
    :ivar sends: what it does with sends: first these, one after another, then `always`.
    :ivar keeps: whether it keeps a text although `sends` or `always` gives no good answer.
    :ivar looks: what it does with look-ups and lists, one after another.
    :ivar always_asks: decides on every request before all these; True leaves it to them.
    :ivar listed: the pages of the list, by number of the line.
    """

    clock: Clock
    texts: list[dict[str, Any]] = field(factory=list)
    asked: list[Request] = field(factory=list)
    sends: list[Behavior | Callable[[dict[str, Any]], Behavior]] = field(factory=list)
    always: Behavior = Response(status=201)
    keeps: bool = False
    looks: list[Behavior] = field(factory=list)
    listed: dict[str, list[list[dict[str, Any]]]] = field(factory=dict)
    numbers: list[str] = field(factory=list)
    held: list[Deferred[Response]] = field(factory=list)
    holds: bool = False
    most_at_once: int = 0
    always_asks: Callable[[Request], Any] | None = None

    def ask(self, request: Request, timeout_s: float) -> Deferred[Response]:
        """See `client.Client.ask`."""
        self.asked.append(request)
        behavior: Any = True if self.always_asks is None else self.always_asks(request)
        if behavior is True:
            behavior = self._send(request) if request.method == "POST" else self._look(request)
        if isinstance(behavior, Exception):
            return fail(behavior)
        if behavior is None:
            silent: Deferred[Response] = Deferred()

            def too_slow(result: Any, seconds: float) -> Any:
                assert isinstance(result, Failure) and result.check(CancelledError)
                raise NoAnswer(f"api.provider.test did not answer within {seconds:.0f} s.")

            return silent.addTimeout(timeout_s, self.clock, too_slow)
        if self.holds:
            held: Deferred[Response] = Deferred()
            self.held.append(held)
            self.most_at_once = max(self.most_at_once, len(self.held))
            return held.addCallback(lambda _: evolve(behavior, asked=request))
        return succeed(evolve(behavior, asked=request))

    def answer_held(self, count: int = 1) -> None:
        """Answer requests that are held, the oldest first."""
        for _ in range(count):
            self.held.pop(0).callback(answer(200))

    def keep(self, request: Request) -> None:
        """Keep a text, whatever is answered."""
        self.texts.append({**json.loads(request.body), "id": f"T{len(self.texts) + 1}"})

    def _send(self, request: Request) -> Behavior:
        said = json.loads(request.body)
        text = {**said, "id": f"T{len(self.texts) + 1}"}
        behavior = self.sends.pop(0) if self.sends else self.always
        if callable(behavior):
            behavior = behavior(text)
        if isinstance(behavior, Response) and behavior.status == 201:
            self.texts.append(text)
            return evolve(behavior, body=json.dumps({"id": text["id"]}).encode())
        if self.keeps:
            self.texts.append(text)
        return behavior

    def _look(self, request: Request) -> Behavior:
        if self.looks:
            return self.looks.pop(0)
        parts = urlsplit(request.url)
        query = {name: values[0] for name, values in parse_qs(parts.query).items()}
        if parts.path == "/numbers":
            return Response(status=200, body=json.dumps(self.numbers).encode())
        if "reference" in query:
            found = [text for text in self.texts if text["reference"] == query["reference"]]
            return Response(status=200, body=json.dumps({"texts": found}).encode())
        pages = self.listed.get(query["line"], [[]])
        page = int(query["page"])
        more = page + 1 if page < len(pages) else None
        found = {"texts": pages[page - 1], "next": more}  # type: ignore[assignment]
        return Response(status=200, body=json.dumps(found).encode())

    @property
    def bodies(self) -> list[str]:
        """The texts that it took."""
        return [text["text"] for text in self.texts]


class MemoryOptOuts:
    """Opt-outs in memory; see `core.optouts.OptOuts`."""

    def __init__(self) -> None:
        self.out: dict[tuple[str, str], str] = {}

    def is_out(self, line: str, number: str) -> bool:
        """Look it up."""
        return (line, number) in self.out

    def opt_out(self, line: str, number: str, source: str) -> Deferred[bool]:
        """Put it in."""
        new = not self.is_out(line, number)
        self.out.setdefault((line, number), source)
        return succeed(new)

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """Take it out."""
        return succeed(self.out.pop((line, number), None) is not None)

    def listed(self) -> list[OptOut]:
        """List them."""
        return [
            OptOut(line=line, number=number, source=source, since_ms=START_MS)
            for (line, number), source in self.out.items()
        ]


class MemoryPending:
    """Notes in memory; see `core.pending.Pending`."""

    def __init__(self) -> None:
        self.kept: dict[tuple[str, str], Kept] = {}

    def keep(self, gateway: str, key: str, value: bytes) -> Deferred[bool]:
        """Keep it."""
        new = (gateway, key) not in self.kept
        self.kept.setdefault((gateway, key), Kept(key, value, START_MS))
        return succeed(new)

    def drop(self, gateway: str, keys: Sequence[str]) -> Deferred[None]:
        """Forget them."""
        for key in keys:
            self.kept.pop((gateway, key), None)
        return succeed(None)

    def of(self, gateway: str) -> Deferred[list[Kept]]:
        """Read them."""
        return succeed([kept for (owner, _), kept in self.kept.items() if owner == gateway])


class MemoryFiles:
    """The part of `core.files.Files` that makes links."""

    def __init__(self, public_url: str) -> None:
        self.public_url = public_url
        self.lifetimes_s: list[float] = []

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """Make a link."""
        self.lifetimes_s.append(lifetime_s)
        return f"{self.public_url}/media/{media.digest[:8]}"


class Rig:
    """A gateway of the made-up provider on a clock."""

    def __init__(
        self,
        config: FakeGateway | None = None,
        lines: Mapping[str, ProviderLine] | None = None,
        public_url: str = PUBLIC_URL,
    ) -> None:
        self.clock = Clock()
        self.clock.advance(START_MS / 1000)
        self.inbox = StubInbox()
        self.lanes = StubLanes()
        self.api = Api(self.clock)
        self.opt_outs = MemoryOptOuts()
        self.pending = MemoryPending()
        self.files = MemoryFiles(public_url)
        self.config = config or FakeGateway(signing_key="not-a-real-key", reconcile_every=0.0)
        self.lines = lines if lines is not None else {"main": line("main")}
        files: Any = self.files
        self.world = World(
            Directory(
                lines=dict(self.lines),
                persons={
                    "boss": Person(label="boss", admin=True),
                    "john": Person(label="john", lines=("main",)),
                },
            ),
            media=files,
            pending=self.pending,
            opt_outs=self.opt_outs,
            public_url=public_url,
        )
        self.gateway = self.build()
        self.gateway.startService()

    def build(self) -> ProviderService:
        """Build another gateway, as after a restart."""
        return ProviderService(
            self.clock,
            FACTORY,
            "work",
            self.config,
            self.lines,
            self.inbox,
            self.lanes,
            self.world,
            ask=self.api.ask,
        )

    def delivery(
        self, name: str = "a", body: str = "hello", to: str = THEIRS, **changes: Any
    ) -> Delivery:
        """Return a text of the first line."""
        now_ms = int(self.clock.seconds() * 1000)
        delivery = Delivery(
            f"{name}.0",
            name,
            Kind.MESSAGE,
            "work",
            "work/main",
            "main",
            "",
            to,
            f"main|{to}",
            Status.SENDING,
            1,
            now_ms,
            now_ms + 86_400_000,
            body,
            OURS,
            "john",
            (to,),
            Direction.OUT,
        )
        return evolve(delivery, **changes)

    def pass_time(self, seconds: float) -> None:
        """Let time pass in small steps."""
        self.clock.advance(0)
        for _ in range(int(seconds * 2)):
            self.clock.advance(0.5)


def line(label: str = "main", number: str = OURS, **changes: Any) -> ProviderLine:
    """Return a line of the made-up provider."""
    return ProviderLine(label=label, gateway="work", number=number, **changes)
