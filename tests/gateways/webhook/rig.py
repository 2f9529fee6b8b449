"""What the tests of webhooks share: a program in memory, and deliveries to it."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.python.failure import Failure

from smsbridge.core.directory import Directory, Person, World
from smsbridge.core.message import Delivery, Direction, Kind, Status
from smsbridge.gateways.webhook.config import WebhookGateway
from smsbridge.gateways.webhook.gateway import WebhookService
from smsbridge.post import Answer, NoAnswer
from tests.fakes import StubLanes

URL = "https://app.example.org/texts"
OTHER_URL = "https://other.example.org/in"
SECRET = "not-a-real-secret"
ALICE, BOB, OURS = "+12025550123", "+12025550124", "+12025550100"
START_MS = 1_795_255_200_000

PERSONS = {
    "app": Person(label="app", webhook=(URL,), webhook_secret=SECRET, lines=("2001",)),
    "bot": Person(label="bot", webhook=(OTHER_URL,)),
    "john": Person(label="john"),
}


@define
class Came:
    """One post."""

    url: str
    body: bytes
    headers: Mapping[str, str]
    private_too: bool

    @property
    def data(self) -> Any:
        """Return what is under ``data``."""
        return json.loads(self.body)["data"]


@define
class Program:
    """Plays all programs; `answers` are given one after another, then `always`."""

    clock: Clock
    always: Answer | Exception | None = Answer(200, {}, b"ok")  # None: silence
    answers: list[Answer | Exception | None] = field(factory=list)
    came: list[Came] = field(factory=list)

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        private_too: bool = False,
        timeout_s: float = 30.0,
    ) -> Deferred[Answer]:
        """See `post.Post`."""
        self.came.append(Came(url, body, headers, private_too))
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, Exception):
            return fail(answer)
        if answer is not None:
            return succeed(answer)

        def too_slow(result: Any, seconds: float) -> Any:
            assert isinstance(result, Failure) and result.check(CancelledError)
            raise NoAnswer("app.example.org did not answer.", refused=False)

        silent: Deferred[Answer] = Deferred()
        return silent.addTimeout(timeout_s, self.clock, too_slow)


class Rig:
    """A gateway on a clock."""

    def __init__(self, config: WebhookGateway | None = None) -> None:
        self.clock = Clock()
        self.clock.advance(START_MS / 1000)
        self.lanes = StubLanes()
        self.program = Program(self.clock)
        self.config = config or WebhookGateway()
        self.world = World(Directory(persons=dict(PERSONS), serving={"webhook": "webhook"}))
        self.gateway = WebhookService(
            self.clock, "webhook", self.config, self.lanes, self.world, post=self.program.post
        )
        self.gateway.startService()

    @property
    def lane(self) -> str:
        """Return the lane of the app's webhook."""
        return self.gateway.lane("2001", URL)

    def delivery(self, name: str = "a", body: str = "hello", **changes: Any) -> Delivery:
        """Return a text to the app."""
        delivery = Delivery(
            f"message-{name}.0",
            f"message-{name}",
            Kind.MESSAGE,
            "webhook",
            self.lane,
            "2001",
            "app",
            URL,
            f"2001|{ALICE} {URL}",
            Status.SENDING,
            1,
            int(self.clock.seconds() * 1000),
            int(self.clock.seconds() * 1000) + 30 * 86_400_000,
            body,
            ALICE,
            "",
            (OURS,),
            Direction.IN,
        )
        return evolve(delivery, **changes)
