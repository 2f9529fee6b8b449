"""A desk that answers from plain attributes, and a small world with two persons and two lines."""

from __future__ import annotations

from typing import Any

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.entries import MessageQuery, QueueQuery
from smsbridge.core.message import Status
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    LineStatus,
    LinkStatus,
    MessageRecord,
)
from smsbridge.interfaces import IDesk

#: 2026-11-21, 06:10 UTC.
NOW_MS = 1_795_241_400_000
ALICE = "alice@example.org"
PHONE = "alice@example.org/phone"
DOMAIN = "sms.example.org"


@implementer(IDesk)
class StubDesk:
    """
    A desk that remembers what it was asked for.

    :ivar failure: what every method that gives a Deferred fails with, None for success.
    :ivar held: a Deferred that USSD answers wait for.
    """

    def __init__(self, world: World | None = None) -> None:
        self.world = world
        self.line_states: list[LineStatus] = []
        self.link_states: list[LinkStatus] = []
        self.call_records: list[CallRecord] = []
        self.messages: list[MessageRecord] = []
        self.deliveries: list[DeliveryRecord] = []
        self.codes: list[tuple[str, str]] = []
        self.ussd_answer = "Your balance is 5.00"
        self.retried: list[tuple[str, ...]] = []
        self.dropped: list[tuple[str, ...]] = []
        self.reloads = 0
        self.bound: list[tuple[str, str, str]] = []
        self.unbound: list[tuple[str, str]] = []
        self.failure: Exception | None = None
        self.held: Deferred[None] | None = None

    def _give(self, value: Any) -> Deferred[Any]:
        return succeed(value) if self.failure is None else fail(self.failure)

    def lines(self) -> list[LineStatus]:
        """See `IDesk.lines`."""
        return self.line_states

    def links(self) -> list[LinkStatus]:
        """See `IDesk.links`."""
        return self.link_states

    def calls(self, line: str, limit: int) -> Deferred[list[CallRecord]]:
        """See `IDesk.calls`."""
        found = [call for call in self.call_records if call.line == line]
        found.sort(key=lambda call: -call.started_at_ms)
        return self._give(found[:limit])

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """See `IDesk.ussd`."""
        self.codes.append((line, code))
        if self.held is not None:
            return self.held.addCallback(lambda _: self.ussd_answer)
        return self._give(self.ussd_answer)

    def history(self, query: MessageQuery) -> Deferred[list[MessageRecord]]:
        """See `IDesk.history`."""
        found = [
            record
            for record in self.messages
            if (not query.line or record.line == query.line)
            and (not query.message_ids or record.message_id in query.message_ids)
            and (
                not query.person
                or query.person == record.author
                or any(d.person == query.person for d in record.deliveries)
            )
        ]
        return self._give(found[-(query.limit or 1000) :])

    def waiting(self, query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
        """See `IDesk.waiting`."""
        found = [
            record
            for record in self.deliveries
            if record.status in query.statuses
            and (not query.gateway or record.gateway == query.gateway)
            and (not query.line or record.line == query.line)
            and (not query.delivery_ids or record.delivery_id in query.delivery_ids)
            and record.delivery_id > query.after_id
        ]
        return self._give(found[: query.limit])

    def retry(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IDesk.retry`."""
        self.retried.append(delivery_ids)
        return self._give(len(delivery_ids))

    def drop(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IDesk.drop`."""
        self.dropped.append(delivery_ids)
        return self._give(len(delivery_ids))

    def reload_configuration(self) -> Deferred[list[str]]:
        """See `IDesk.reload_configuration`."""
        self.reloads += 1
        return self._give(["line 2001 was added"])

    def bind(self, person: str, kind: str, address: str) -> Deferred[None]:
        """See `IDesk.bind`."""
        if self.failure is None:
            self.bound.append((person, kind, address))
            if self.world is not None:
                self.world.directory = self.world.directory.with_addresses(
                    [(kind, address, person)]
                )
        return self._give(None)

    def unbind(self, kind: str, address: str) -> Deferred[bool]:
        """See `IDesk.unbind`."""
        self.unbound.append((kind, address))
        was_bound = [each for each in self.bound if each[1:] == (kind, address)]
        for each in was_bound:
            self.bound.remove(each)
            assert self.world is not None
            person = self.world.directory.persons[each[0]]
            left = tuple(jid for jid in person.xmpp if jid != address)
            persons = {**self.world.directory.persons, each[0]: attrs.evolve(person, xmpp=left)}
            self.world.directory = attrs.evolve(self.world.directory, persons=persons)
        return self._give(bool(was_bound))


def a_world() -> tuple[World, StubDesk]:
    """Return a world with alice (two lines), bob (one line of his own, a mobile) and root."""
    lines = (
        Line(label="2001", gateway="box", number="+12025550100", daily_cap=100),
        Line(label="work", gateway="box", number="+12025550101"),
        Line(label="secret", gateway="box", number="+12025550102"),
    )
    persons = (
        Person(label="alice", xmpp=(ALICE,), lines=("2001", "work")),
        Person(label="bob", lines=("secret",), mobile="202 555 0188"),
        Person(label="root", xmpp=("root@example.org",), admin=True),
    )
    world = World(
        directory=Directory(
            lines={line.label: line for line in lines},
            persons={person.label: person for person in persons},
            serving={"xmpp": "xmpp"},
        )
    )
    desk = StubDesk(world)
    desk.line_states = [
        LineStatus(
            line="2001",
            gateway="box",
            up=True,
            state="ready",
            signal_dbm=-71,
            operator="Example Mobile",
            sent_today=3,
            daily_cap=100,
        ),
        LineStatus(line="work", gateway="box", up=False, state="not registered in the network"),
        LineStatus(line="secret", gateway="box", up=True, state="ready"),
    ]
    desk.link_states = [
        LinkStatus(gateway="box", kind="goip", up=True, state="3 lines", since_ms=NOW_MS - 60_000)
    ]
    world.desk = desk
    return world, desk


def a_message(
    message_id: str,
    body: str,
    *,
    author: str = "",
    sender: str = "+12025550123",
    line: str = "2001",
    at_ms: int = NOW_MS - 60_000,
    status: Status = Status.DELIVERED,
    direction: str = "",
) -> MessageRecord:
    """Return a message to alice, or from `author` to +12025550123."""
    outgoing = bool(author)
    delivery = a_delivery(
        message_id,
        to="+12025550123" if outgoing else ALICE,
        person="" if outgoing else "alice",
        gateway="box" if outgoing else "xmpp",
        line=line,
        status=status,
    )
    return MessageRecord(
        message_id=message_id,
        direction=direction or ("out" if outgoing else "in"),
        line=line,
        sender="+12025550100" if outgoing else sender,
        recipients=("+12025550123",) if outgoing else ("+12025550100",),
        author=author,
        body=body,
        media=(),
        conversation="",
        created_at_ms=at_ms,
        sent_at_ms=None,
        deliveries=(delivery,),
    )


def a_delivery(
    message_id: str,
    *,
    to: str = "+12025550123",
    person: str = "",
    gateway: str = "box",
    line: str = "2001",
    kind: str = "message",
    status: Status = Status.QUEUED,
) -> DeliveryRecord:
    """Return the first delivery of a message, to the phone network unless told otherwise."""
    return DeliveryRecord(
        delivery_id=f"{message_id}.0",
        message_id=message_id,
        kind=kind,
        to=to,
        gateway=gateway,
        line=line,
        person=person,
        status=status,
        attempts=1,
        reason="line-down",
        text="",
        remote_id="",
        created_at_ms=NOW_MS - 60_000,
        due_at_ms=NOW_MS,
    )
