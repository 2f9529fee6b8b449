"""What the tests of live events share: a bridge in memory, and a listener without a socket."""

from __future__ import annotations

import json
from collections.abc import Callable, Collection, Sequence
from typing import Any

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock

from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.hiding import Hidden
from smsbridge.core.message import Direction, Kind, Status
from smsbridge.core.records import DeliveryRecord, LineStatus, MessageRecord
from smsbridge.core.routing import conversation
from smsbridge.core.threads import ConversationQuery, ConversationRecord, Viewer
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.live import LiveHub
from smsbridge.web.bridge import MessageFilter

START_MS = 1_795_255_200_000
ALICE, BOB = "+12025550123", "+12025550124"


@define(eq=False)
class Request:
    """A request whose answer is kept; `slow` lets it take nothing from the transport."""

    written: list[bytes] = field(factory=list)
    headers: dict[bytes, bytes] = field(factory=dict)
    finished: bool = False
    aborted: bool = False
    producer: Any = None
    gone: Deferred[None] = field(factory=Deferred)

    @property
    def channel(self) -> Request:
        """Return itself: it is its own channel and transport."""
        return self

    transport = channel

    def notifyFinish(self) -> Deferred[None]:
        """See `twisted.web.server.Request`."""
        return self.gone

    def setHeader(self, name: bytes, value: bytes) -> None:
        """See `twisted.web.server.Request`."""
        self.headers[name] = value

    def registerProducer(self, producer: Any, streaming: bool) -> None:
        """See `twisted.web.server.Request`."""
        self.producer = producer

    def unregisterProducer(self) -> None:
        """See `twisted.web.server.Request`."""
        self.producer = None

    def write(self, data: bytes) -> None:
        """See `twisted.web.server.Request`."""
        self.written.append(data)

    def finish(self) -> None:
        """See `twisted.web.server.Request`."""
        self.finished = True

    def abortConnection(self) -> None:
        """See `twisted.internet.interfaces.ITCPTransport`."""
        self.aborted = True

    def events(self) -> list[tuple[str, str, Any]]:
        """Return what was written as (kind, id, data)."""
        found = []
        for block in b"".join(self.written).decode().split("\n\n"):
            fields = dict(line.split(": ", 1) for line in block.splitlines() if ": " in line)
            if "data" in fields:
                found.append((fields["event"], fields["id"], json.loads(fields["data"])))
        return found

    def told(self, kind: str) -> list[Any]:
        """Return the data of the events of one kind."""
        return [data for name, _, data in self.events() if name == kind]


class Shaping:
    """Shapes just enough to see what a listener is told."""

    def message(self, record: MessageRecord, viewer: Viewer) -> dict[str, object]:
        """See `live.Shaping`."""
        status = record.deliveries[0].status if record.deliveries else "received"
        return {"id": record.message_id, "status": str(status), "viewer": viewer.person}

    def conversation(self, record: ConversationRecord, viewer: Viewer) -> dict[str, object]:
        """See `live.Shaping`."""
        last = record.last.message_id if record.last is not None else None
        return {"id": record.conversation, "last": last, "unread": record.unread}

    def line(self, status: LineStatus) -> dict[str, object]:
        """See `live.Shaping`."""
        return {"id": status.line, "up": status.up}


class Memory:
    """Plays bridge, threads and the table of what is hidden."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.records: dict[str, MessageRecord] = {}
        self.changed_at_ms: dict[str, int] = {}
        self.followers: list[Callable[[Collection[str]], None]] = []
        self.states = [LineStatus(line="2001", gateway="box", up=True, state="ready")]
        self.hidden_ids: set[tuple[str, str]] = set()
        self.hidden_up_to: dict[tuple[str, str], str] = {}
        self.reads = 0
        self.failure: Exception | None = None

    def now_ms(self) -> int:
        """Return the time of day."""
        return START_MS + int(self.clock.seconds() * 1000)

    def add(
        self,
        sender: str = ALICE,
        line: str = "2001",
        status: Status | None = None,
        author: str = "",
        recipients: tuple[str, ...] = (),
        body: str = "hello",
    ) -> str:
        """Make a message and tell the followers."""
        now_ms = self.now_ms()
        value = f"{now_ms:012x}"
        count = len(self.records) + 1
        message_id = f"{value[:8]}-{value[8:]}-7000-8000-{count:012d}"
        deliveries = ()
        if status is not None:
            deliveries = (
                DeliveryRecord(
                    delivery_id=f"{message_id}.0",
                    message_id=message_id,
                    kind=Kind.MESSAGE,
                    to=sender,
                    gateway="box",
                    line=line,
                    person="",
                    status=status,
                    attempts=0,
                    reason="",
                    text="",
                    remote_id="",
                    created_at_ms=now_ms,
                    due_at_ms=None,
                ),
            )
        parties = (sender,) if line else (author, *recipients)
        self.records[message_id] = MessageRecord(
            message_id=message_id,
            direction=Direction.IN if line and not author else Direction.OUT,
            line=line,
            sender=sender,
            recipients=recipients or ("+12025550100",),
            author=author,
            body=body,
            media=(),
            conversation=conversation(line, parties),
            created_at_ms=now_ms,
            sent_at_ms=None,
            deliveries=deliveries,
        )
        self.tell(message_id)
        return message_id

    def settle(self, message_id: str, status: Status) -> None:
        """Let a message reach a status and tell the followers."""
        record = self.records[message_id]
        deliveries = tuple(evolve(each, status=status) for each in record.deliveries)
        self.records[message_id] = evolve(record, deliveries=deliveries)
        self.tell(message_id)

    def tell(self, message_id: str) -> None:
        """Tell the followers of a change."""
        self.changed_at_ms[message_id] = self.now_ms()
        for follower in list(self.followers):
            follower([message_id])

    # The bridge.

    def follow(self, changed: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """See `IBridge.follow`."""
        self.followers.append(changed)
        return lambda: self.followers.remove(changed)

    def messages(self, which: MessageFilter, limit: int | None) -> Deferred[list[MessageRecord]]:
        """See `IBridge.messages`."""
        self.reads += 1
        if self.failure is not None:
            raise self.failure
        return succeed([self.records[each] for each in which.message_ids if each in self.records])

    def lines(self) -> list[LineStatus]:
        """See `IBridge.lines`."""
        return self.states

    # The threads.

    def conversations(self, query: ConversationQuery) -> Deferred[list[ConversationRecord]]:
        """See `Threads.conversations`."""
        self.reads += 1
        found = []
        for name in query.conversations:
            records = [
                record
                for record in self.records.values()
                if record.conversation == name
                and not self._hides(query.viewer.person, record)
                and (
                    record.line in query.viewer.lines
                    or query.viewer.person in (record.author, *record.recipients)
                )
            ]
            if records:
                found.append(
                    ConversationRecord(
                        conversation=name,
                        line=records[-1].line,
                        parties=(),
                        last=records[-1],
                        unread=len(records),
                        read_id="",
                        archived=False,
                        muted=False,
                        draft="",
                    )
                )
        return succeed(found)

    def unread(self, viewer: Viewer) -> Deferred[int]:
        """See `Threads.unread`."""
        return succeed(1)

    def changed_since(
        self, since_ms: int, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """See `Threads.changed_since`."""
        self.reads += 1
        found = [
            self.records[each] for each, at_ms in self.changed_at_ms.items() if at_ms >= since_ms
        ]
        return succeed(sorted(found, key=lambda record: record.message_id)[:limit])

    def _hides(self, person: str, record: MessageRecord) -> bool:
        return Hidden(frozenset(self.hidden_ids), self.hidden_up_to).hides(
            person, record.conversation, record.message_id
        )

    # What is hidden.

    def hidden(
        self, messages: Sequence[tuple[str, str]], persons: Sequence[str]
    ) -> Deferred[Hidden]:
        """See `core.hiding.Hiding`."""
        self.reads += 1
        return succeed(Hidden(frozenset(self.hidden_ids), self.hidden_up_to))


PERSONS = {
    "john": Person(label="john", lines=("2001", "2002")),
    "mary": Person(label="mary", lines=("2001",)),
    "eve": Person(label="eve", lines=("2003",)),
}


class Rig:
    """A hub with everything around it in memory."""

    def __init__(self, **options: Any) -> None:
        self.clock = Clock()
        self.memory = Memory(self.clock)
        lines = {label: Line(label=label, gateway="box") for label in ("2001", "2002", "2003")}
        self.world = World(Directory(lines=lines, persons=dict(PERSONS)))
        self.hub = self.build("boot1", **options)

    def build(self, boot: str, **options: Any) -> LiveHub:
        """Make a hub, as a start of the daemon does."""
        memory: Any = self.memory
        hub = LiveHub(
            self.clock,
            self.memory.now_ms,
            memory,
            memory,
            memory,
            self.world,
            Shaping(),
            boot,
            "1.0",
            **options,
        )
        hub.startService()
        return hub

    def restart(self, boot: str = "boot2") -> None:
        """Stop the hub and start another, as a restart of the daemon does."""
        self.hub.stopService()
        self.hub = self.build(boot)

    def caller(
        self,
        person: str,
        name: str = "session-1",
        lines: tuple[str, ...] = (),
        until_ms: int | None = None,
    ) -> Caller:
        """Return one who proved to be a person."""
        return Caller(
            person=self.world.directory.persons[person],
            name=name,
            scopes=frozenset(Scope),
            only_lines=lines,
            until_ms=until_ms,
        )

    def listen(
        self,
        person: str = "john",
        *kinds: str,
        last_id: str = "",
        lines: tuple[str, ...] = (),
        name: str = "session-1",
        until_ms: int | None = None,
    ) -> Request:
        """Listen as a person."""
        request = Request()
        caller = self.caller(person, name, lines, until_ms)
        self.hub.listen(request, caller, kinds, last_id)  # type: ignore[arg-type]
        return request

    def run(self, seconds: float = 0.1) -> None:
        """Let rounds happen."""
        for _ in range(10):
            self.clock.advance(seconds / 10)
