"""A bridge in memory: behaves towards the control API as the daemon does."""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

import attrs
from twisted.internet.defer import Deferred, fail, succeed
from zope.interface import implementer

from smsbridge.core.message import Direction, Kind, Media, Status
from smsbridge.core.optouts import OptOut
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    FoundLine,
    LineStatus,
    LinkStatus,
    MessageRecord,
    QueueDepth,
    Reconciled,
    Transition,
)
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure
from smsbridge.web.bridge import Attachment, IBridge, MessageFilter, QueueFilter, Reloaded

OUR_NUMBER = "+12025550100"
#: When the first message was made: 2026-11-21T10:00:00Z.
START_MS = 1_795_255_200_000


def message_id(number: int) -> str:
    """Return the id of the message made as the given one."""
    return f"01900000-0000-7000-8000-{number:012d}"


def delivery_id(number: int) -> str:
    """Return the id of the delivery of the message made as the given one."""
    return f"01900000-0000-7000-9000-{number:012d}"


@implementer(IBridge)
class FakeBridge:
    """
    Holds messages in a dict and makes one delivery for each.

    `sent` has what was asked to be sent, `broken` is raised by everything that reads the store.
    """

    started_at_ms = START_MS

    def __init__(self) -> None:
        self.records: dict[str, MessageRecord] = {}
        self.sent: list[tuple[str, tuple[str, ...], str, tuple[Attachment, ...]]] = []
        self.followers: list[Callable[[Collection[str]], None]] = []
        self.broken: Exception | None = None
        self.refusal: Exception | None = None
        self.reloaded = Reloaded(changes=("line demo3 added",))
        self.purged_before_ms: list[int] = []
        self.not_ready = ""
        self.pages_read = 0
        self.out: dict[tuple[str, str], OptOut] = {}
        self.asked_since_ms: list[int] = []
        self.able = ["work", "other"]

    def add(
        self,
        body: str,
        *,
        number: str = "+12025550123",
        incoming: bool = False,
        line: str = "demo1",
        status: Status = Status.QUEUED,
        reason: str = "",
    ) -> str:
        """Make a message with one delivery, and tell followers."""
        count = len(self.records) + 1
        at_ms = START_MS + 1000 * (count - 1)
        delivery = DeliveryRecord(
            delivery_id=delivery_id(count),
            message_id=message_id(count),
            kind=Kind.MESSAGE,
            to="john@example.com" if incoming else number,
            gateway="xmpp" if incoming else "box",
            line=line,
            person="john" if incoming else "",
            status=status,
            attempts=0 if status is Status.QUEUED else 1,
            reason=reason,
            text="",
            remote_id="",
            created_at_ms=at_ms,
            due_at_ms=at_ms if status is Status.QUEUED else None,
        )
        record = MessageRecord(
            message_id=message_id(count),
            direction=Direction.IN if incoming else Direction.OUT,
            line=line,
            sender=number if incoming else OUR_NUMBER,
            recipients=(OUR_NUMBER,) if incoming else (number,),
            author="",
            body=body,
            media=(),
            conversation=f"{line} {number}",
            created_at_ms=at_ms,
            sent_at_ms=None,
            deliveries=(delivery,),
        )
        self._keep(record)
        return record.message_id

    def settle(self, message: str, status: Status, reason: str = "") -> None:
        """Let the delivery of a message reach a status, and tell followers."""
        record = self.records[message]
        (delivery,) = record.deliveries
        step = Transition(
            at_ms=delivery.created_at_ms + 500, status=status, attempt=1, reason=reason
        )
        changed = attrs.evolve(
            delivery,
            status=status,
            attempts=1,
            reason=reason,
            due_at_ms=None,
            history=(*delivery.history, step),
        )
        self._keep(attrs.evolve(record, deliveries=(changed,)))

    def _keep(self, record: MessageRecord) -> None:
        self.records[record.message_id] = record
        for changed in list(self.followers):
            changed([record.message_id])

    def _read(self, value: object) -> Deferred[object]:
        return succeed(value) if self.broken is None else fail(self.broken)

    def _matching(self, which: MessageFilter) -> list[MessageRecord]:
        return [
            record
            for _, record in sorted(self.records.items())
            if (not which.line or record.line == which.line)
            and (not which.person or record.author == which.person)
            and (not which.number or which.number in (record.sender, *record.recipients))
            and (not which.message_ids or record.message_id in which.message_ids)
            and (which.since_ms is None or record.created_at_ms >= which.since_ms)
        ]

    # --- IBridge ---------------------------------------------------------------------------------

    def unready(self) -> str:
        """See `IBridge`."""
        return self.not_ready

    def send(
        self, line: str, recipients: tuple[str, ...], text: str, media: tuple[Attachment, ...]
    ) -> Deferred[str]:
        """Refuse what cannot be a number, otherwise make one message."""
        if self.refusal is not None:
            return fail(self.refusal)
        if line and line not in ("demo1", "demo2"):
            return fail(Refused("unknown-line", f"There is no line {line}; lines: demo1, demo2."))
        if not recipients[0].startswith("+"):
            return fail(
                Refused(
                    "invalid-number",
                    f"{recipients[0]} is not a telephone number; write for example +12025550123.",
                )
            )
        self.sent.append((line, recipients, text, media))
        return succeed(self.add(text, number=recipients[0], line=line or "demo1"))

    def messages(self, which: MessageFilter, limit: int | None) -> Deferred[list[MessageRecord]]:
        """See `IBridge`."""
        found = self._matching(which)
        return self._read(found if limit is None else found[max(0, len(found) - limit) :])

    def messages_after(
        self, which: MessageFilter, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """See `IBridge`."""
        self.pages_read += 1
        found = [each for each in self._matching(which) if each.message_id > after_id]
        return self._read(found[:limit])

    def follow(self, changed: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """See `IBridge`."""
        self.followers.append(changed)
        return lambda: self.followers.remove(changed)

    def trace(self, message_id: str) -> Deferred[MessageRecord | None]:
        """See `IBridge`."""
        return self._read(self.records.get(message_id))

    def lines(self) -> list[LineStatus]:
        """Return a line that is up and one that was never seen."""
        return [
            LineStatus(
                line="demo1",
                gateway="box",
                up=True,
                state="ready",
                number=OUR_NUMBER,
                signal_dbm=-73,
                operator="Simulated",
                imei="350000000000001",
                last_seen_ms=START_MS,
                sent_today=2,
                daily_cap=100,
            ),
            LineStatus(line="demo2", gateway="box", up=False, state="never seen"),
        ]

    def links(self) -> list[LinkStatus]:
        """Return a link that is up and one that is down."""
        return [
            LinkStatus(gateway="box", kind="goip", up=True, state="listening", since_ms=START_MS),
            LinkStatus(gateway="xmpp", kind="xmpp", up=False, state="connection refused"),
        ]

    def lanes(self) -> Mapping[tuple[str, str], int]:
        """See `IBridge`."""
        return {("box", "open"): 1, ("box", "closed"): 1, ("xmpp", "closed"): 1}

    def _deliveries(self, which: QueueFilter) -> list[DeliveryRecord]:
        return [
            each
            for record in self._matching(MessageFilter(line=which.line))
            for each in record.deliveries
            if each.status in which.statuses
            and (not which.gateway or each.gateway == which.gateway)
            and (not which.message_id or each.message_id == which.message_id)
            and (not which.delivery_ids or each.delivery_id in which.delivery_ids)
        ]

    def queue(
        self, which: QueueFilter, after_id: str, limit: int
    ) -> Deferred[list[DeliveryRecord]]:
        """See `IBridge`."""
        found = [each for each in self._deliveries(which) if each.delivery_id > after_id]
        return self._read(found[:limit])

    def depths(self) -> Deferred[list[QueueDepth]]:
        """See `IBridge`."""
        waiting = self._deliveries(QueueFilter(statuses=(Status.QUEUED,)))
        return self._read(
            [
                QueueDepth(
                    gateway=gateway,
                    status=Status.QUEUED,
                    count=len(of_gateway),
                    oldest_at_ms=of_gateway[0].created_at_ms,
                )
                for gateway in ("box", "xmpp")
                if (of_gateway := [each for each in waiting if each.gateway == gateway])
            ]
        )

    def _change(
        self, delivery_ids: tuple[str, ...], sources: tuple[Status, ...], status: Status
    ) -> Deferred[int]:
        count = 0
        for record in list(self.records.values()):
            (delivery,) = record.deliveries
            if delivery.delivery_id in delivery_ids and delivery.status in sources:
                self.settle(record.message_id, status)
                count += 1
        return self._read(count)

    def retry(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge`."""
        ended = (Status.FAILED, Status.EXPIRED, Status.UNCERTAIN, Status.DROPPED, Status.QUEUED)
        return self._change(delivery_ids, ended, Status.QUEUED)

    def drop(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge`."""
        return self._change(delivery_ids, (Status.QUEUED, Status.UNCERTAIN), Status.DROPPED)

    def link(self, media: Media) -> str:
        """Return an address that tells the file."""
        return f"/media/{media.digest}" if media.digest else media.url

    def calls(self, line: str, limit: int) -> Deferred[list[CallRecord]]:
        """Return two calls, of which the second was not answered."""
        found = [
            CallRecord(
                line="demo1",
                incoming=True,
                number="+12025550123",
                started_at_ms=START_MS + 60_000,
                duration_s=75,
                cause="",
            ),
            CallRecord(
                line="demo2",
                incoming=False,
                number="+12025550124",
                started_at_ms=START_MS,
                duration_s=None,
                cause="busy",
            ),
        ]
        return self._read([each for each in found if not line or each.line == line][:limit])

    def _known(self, line: str) -> None:
        if line not in ("demo1", "demo2"):
            raise Refused("unknown-line", f"There is no line {line}; lines: demo1, demo2.")

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """Answer on demo1, be away on demo2, and let the network refuse *999#."""
        try:
            self._known(line)
        except Refused as e:
            return fail(e)
        if line == "demo2":
            return fail(TemporaryFailure("line-down", "demo2 is not registered in the network."))
        if code == "*999#":
            return fail(PermanentFailure("network", "The network refused this code."))
        return succeed(f"Balance: 5.00\nCode was {code}")

    def try_out(self, person: str) -> Deferred[list[str]]:
        """Post to the one webhook that John has."""
        if person != "john":
            return fail(Refused("unknown-person", f"There is no [person:{person}]."))
        return succeed(["https://app.example.org/texts: taken, status 200"])

    def has_ussd(self, line: str) -> bool:
        """See `IBridge`."""
        return line == "demo1"

    def line_commands(self, line: str) -> Mapping[str, tuple[str, str]]:
        """See `IBridge`."""
        self._known(line)
        return {
            "signal": ("", "Ask for the signal."),
            "forward": ("REASON NUMBER", "Forward calls."),
        }

    def line_command(self, line: str, command: str, arguments: tuple[str, ...]) -> Deferred[str]:
        """See `IBridge`."""
        self._known(line)
        if command not in self.line_commands(line):
            return fail(Refused("unsupported", f"{line} has no command {command}."))
        return succeed(" ".join(("done:", command, *arguments)))

    def reconciling(self) -> list[str]:
        """See `IBridge`."""
        return self.able

    def reconcile(
        self, gateway: str, since_ms: int, told: Callable[[str], None]
    ) -> Deferred[Reconciled]:
        """Bring two texts from work; let the provider of the other refuse."""
        if gateway not in ("work", "other"):
            return fail(Refused("unsupported", f"The gateway {gateway} cannot be asked."))
        self.asked_since_ms.append(since_ms)
        told("work-main: 100 texts looked through")
        if gateway == "other":
            return fail(PermanentFailure("credentials", "The key is wrong.", detail="401"))
        return succeed(
            Reconciled(seen=120, missed=2, statuses=3, problems=("One picture is gone.",))
        )

    def discovering(self) -> list[str]:
        """See `IBridge`."""
        return self.able

    def discover(self, gateway: str) -> Deferred[list[FoundLine]]:
        """List one number with a line and two without at work; the other does not answer."""
        if gateway == "other":
            return fail(TemporaryFailure("peer-down", "The provider does not answer."))
        if gateway != "work":
            return fail(Refused("unsupported", f"The gateway {gateway} cannot be asked."))
        return succeed(
            [
                FoundLine(number=OUR_NUMBER, mms=True, line="demo1", description="Main"),
                FoundLine(
                    number="+12025550177",
                    mms=True,
                    hook="https://smsbridge:s3cret@sms.example.org/hook/work",
                ),
                FoundLine(number="+13025550177"),
                FoundLine(number="+12025550179", sms=False),
            ]
        )

    def opt_outs(self, line: str) -> list[OptOut]:
        """See `IBridge`."""
        if line:
            self._known(line)
        return [each for each in self.out.values() if line in ("", each.line)]

    def opt_out(self, line: str, number: str) -> Deferred[bool]:
        """See `IBridge`."""
        try:
            self._known(line)
        except Refused as e:
            return fail(e)
        if (line, number) in self.out:
            return succeed(False)
        self.out[line, number] = OptOut(
            line=line, number=number, source="operator", since_ms=START_MS
        )
        return succeed(True)

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """See `IBridge`."""
        return succeed(self.out.pop((line, number), None) is not None)

    def reload(self) -> Deferred[Reloaded]:
        """See `IBridge`."""
        return succeed(self.reloaded)

    def purge(self, before_ms: int) -> Deferred[int]:
        """Delete messages older than that."""
        self.purged_before_ms.append(before_ms)
        old = [each for each, r in self.records.items() if r.created_at_ms < before_ms]
        for each in old:
            del self.records[each]
        return self._read(len(old))
