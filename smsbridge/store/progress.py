"""
Moves deliveries from status to status as `core.lifecycle` allows, and queues the reports that
senders get.

Everything here runs inside the writer's transactions.  A report is a delivery of its own, made in
the transaction that changes the status, so that a sender hears of it even when the bridge dies in
between.
"""

from __future__ import annotations

import itertools
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import (
    BigInteger,
    Boolean,
    ColumnElement,
    Connection,
    Dialect,
    Integer,
    String,
    and_,
    bindparam,
    func,
    insert,
    literal,
    or_,
    select,
    update,
)

from smsbridge.core.entries import Settlement
from smsbridge.core.lifecycle import Event, IllegalTransition, advance, sources
from smsbridge.core.message import (
    Delivery,
    DeliveryReport,
    Kind,
    NotTried,
    Outcome,
    Sent,
    Status,
)
from smsbridge.errors import REASONS, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.store.accept import DeliveryRows
from smsbridge.store.bulk import BulkUpdate, Prepared
from smsbridge.store.rows import delivery_of, media_of, padded, with_message
from smsbridge.store.schema import deliveries, delivery_events, messages

__all__ = [
    "Claim",
    "ClaimRequest",
    "Conclude",
    "Drop",
    "Intervention",
    "Recover",
    "Recovery",
    "RepeatReports",
    "Report",
    "Resend",
    "Settle",
    "TellWaiting",
    "interrupted_txn",
]

_REPORT_LIFE_MS: Final = 7 * 86_400_000
_LONGEST_DETAIL: Final = 2000

_c = deliveries.c
_ids = _c.delivery_id.in_(bindparam("ids", expanding=True))

_EVENT_OF_REPORT: Final = {
    Status.DELIVERED: Event.DELIVERED,
    Status.FAILED: Event.FAIL,
    Status.EXPIRED: Event.EXPIRE,
    Status.SENT: Event.TAKEN,
    Status.QUEUED: Event.RETRY,
}


def _statuses_of(event: Event) -> list[ColumnElement[str]]:
    """Return the statuses in which an event may come, as they stand in a prepared statement."""
    return [literal(status, String) for status in sources(event)]


#: What the sender is told even without having asked.
_ALWAYS_TOLD: Final = frozenset({Status.FAILED, Status.EXPIRED, Status.UNCERTAIN, Status.DROPPED})


@frozen
class _Change:
    """A status reached, about to be reported."""

    delivery_id: str
    message_id: str
    status: Status
    reason: str
    text: str
    unasked: bool = False  # told although the sender did not ask for the receipt


class Reports:
    """Queues the reports that follow from changes of status."""

    _origins = Prepared(
        lambda ids: select(
            messages.c.message_id,
            messages.c.recipients,
            messages.c.author,
            messages.c.origin_gateway,
            messages.c.origin_lane,
            messages.c.origin_address,
            messages.c.origin_ref,
            messages.c.wants_report,
            messages.c.line,
        ).where(messages.c.message_id.in_(ids), messages.c.origin_gateway.is_not(None))
    )
    _undelivered = select(func.count()).where(
        _c.message_id == bindparam("of"), _c.kind == Kind.MESSAGE, _c.status != Status.DELIVERED
    )

    def __init__(self, rows: DeliveryRows) -> None:
        self._rows = rows
        self._serials = itertools.count()

    def queue(self, connection: Connection, changes: Sequence[_Change], now_ms: int) -> list[str]:
        """Insert the reports of these changes; returns the lanes that have something new."""
        if not changes:
            return []
        ids = list({change.message_id for change in changes})
        origins = {row.message_id: row for row in self._origins.run(connection, ids)}
        rows: dict[str, tuple[Any, ...]] = {}
        lanes: list[str] = []
        for change in changes:
            origin = origins.get(change.message_id)
            if origin is None or not (
                origin.wants_report or change.unasked or change.status in _ALWAYS_TOLD
            ):
                continue
            # One receipt for a text to several, once the last of them has it.
            if (
                change.status is Status.DELIVERED
                and "\n" in origin.recipients
                and connection.execute(self._undelivered, {"of": change.message_id}).scalar_one()
            ):
                continue
            serial = f"{now_ms:x}{next(self._serials) & 0xFFF:03x}"
            report = Delivery(
                delivery_id=f"{change.delivery_id[:40]}r{serial}",
                message_id=change.message_id,
                kind=Kind.REPORT,
                gateway=origin.origin_gateway,
                lane=origin.origin_lane,
                line=origin.line,
                person=origin.author,
                destination=origin.origin_address,
                order_key=f"report {origin.origin_address}"[:600],
                status=Status.QUEUED,
                attempts=0,
                created_at_ms=now_ms,
                expires_at_ms=now_ms + _REPORT_LIFE_MS,
                body=change.text or (REASONS[change.reason] if change.reason else ""),
                ref=origin.origin_ref or "",
                reported=change.status,
                reason=change.reason,
            )
            rows[report.delivery_id] = self._rows.row(report, now_ms, now_ms, 0)
            lanes.append(report.lane)
        self._rows.insert(connection, list(rows.values()))
        return lanes


def _note_events(
    connection: Connection, events: Iterable[tuple[str, int, Status, int, str, str]]
) -> None:
    """Write rows of the history: (delivery_id, at_ms, status, attempt, reason, detail)."""
    rows = [
        {
            "delivery_id": delivery_id,
            "at_ms": at_ms,
            "status": status,
            "attempt": attempt,
            "reason": reason,
            "detail": detail[:_LONGEST_DETAIL],
        }
        for delivery_id, at_ms, status, attempt, reason, detail in events
    ]
    if rows:
        connection.execute(insert(delivery_events), rows)


@frozen
class ClaimRequest:
    """Deliveries that the dispatcher wants to begin with."""

    delivery_ids: tuple[str, ...]
    now_ms: int
    lease_until_ms: int


class Claim:
    """Marks queued deliveries as `sending`; items are `ClaimRequest`, results sets of ids."""

    rank = 1

    def __init__(self, dialect: Dialect, node: str) -> None:
        self._node = node
        mine = and_(
            _c.status == Status.SENDING,
            _c.owner == node,
            _c.sending_at_ms == bindparam("now"),
            bindparam("again", type_=Boolean),
        )
        queued = _c.status.in_(_statuses_of(Event.CLAIM))

        def find(ids: Any) -> Any:
            found = select(_c.delivery_id).where(_c.delivery_id.in_(ids), or_(queued, mine))
            # SQLite has one writer and no such clause; elsewhere another node may claim the same.
            return found if dialect.name == "sqlite" else found.with_for_update(skip_locked=True)

        self._find = Prepared(find)
        self._mark = Prepared(
            lambda ids: (
                update(deliveries)
                .where(_c.delivery_id.in_(ids))
                .values(
                    status=Status.SENDING,
                    attempts=_c.attempts + 1,
                    owner=node,
                    sending_at_ms=bindparam("now"),
                    due_at_ms=bindparam("lease"),
                )
            )
        )

    def __call__(
        self, connection: Connection, requests: Sequence[ClaimRequest], again: bool
    ) -> Sequence[set[str]]:
        """Claim what is still queued."""
        wanted = [delivery_id for request in requests for delivery_id in request.delivery_ids]
        now = requests[0].now_ms
        lease = max(request.lease_until_ms for request in requests)
        found = set(self._find.run(connection, wanted, now=now, again=again).scalars())
        if found:
            self._mark.run(connection, list(found), now=now, lease=lease)
        return [found.intersection(request.delivery_ids) for request in requests]


class Settle:
    """Records what became of attempts; items are lists of `Settlement`, results lists of lanes."""

    rank = 2

    def __init__(self, dialect: Dialect, node: str, reports: Reports) -> None:
        self._reports = reports
        self._taken = Prepared(
            lambda ids: (
                update(deliveries)
                .where(_c.delivery_id.in_(ids), _c.status.in_(_statuses_of(Event.TAKEN)))
                .values(
                    status=Status.SENT,
                    due_at_ms=None,
                    sent_at_ms=bindparam("at"),
                    reason="",
                    detail="",
                )
            )
        )
        self._delivered = Prepared(
            lambda ids: (
                update(deliveries)
                .where(_c.delivery_id.in_(ids), _c.status.in_(_statuses_of(Event.DELIVERED)))
                .values(
                    status=Status.DELIVERED,
                    due_at_ms=None,
                    sent_at_ms=func.coalesce(_c.sent_at_ms, bindparam("at")),
                    finished_at_ms=bindparam("at"),
                    reason="",
                    detail="",
                )
            )
        )
        self._released = Prepared(
            lambda ids: (
                update(deliveries)
                .where(
                    _c.delivery_id.in_(ids),
                    _c.status.in_(_statuses_of(Event.RELEASE)),
                    _c.owner == node,
                )
                .values(status=Status.QUEUED, due_at_ms=bindparam("at"), attempts=_c.attempts - 1)
            )
        )
        quoted = ", ".join(f"'{status}'" for status in sources(Event.TAKEN))
        self._named = BulkUpdate(
            "deliveries",
            "delivery_id",
            "remote_id",
            f"status = '{Status.SENT}', due_at_ms = NULL, sent_at_ms = ?, reason = '', detail = ''",
            f"status IN ({quoted})",
            dialect,
        )
        self._status_now = select(_c.delivery_id, _c.status).where(_ids)
        self._end = (
            update(deliveries)
            .where(_c.delivery_id == bindparam("of"))
            .values(
                status=bindparam("to"),
                due_at_ms=bindparam("due"),
                finished_at_ms=bindparam("finished"),
                reason=bindparam("why"),
                detail=bindparam("words"),
            )
        )

    def __call__(
        self, connection: Connection, lists: Sequence[Sequence[Settlement]], again: bool
    ) -> Sequence[list[str]]:
        """Record the outcomes; the first result carries the lanes that got reports."""
        taken: list[str] = []
        named: list[tuple[str, str]] = []
        delivered: list[str] = []
        released: list[str] = []
        told: list[_Change] = []
        failures: list[Settlement] = []
        at_ms = 0
        for settlements in lists:
            for settlement in settlements:
                outcome, delivery = settlement.outcome, settlement.delivery
                at_ms = max(at_ms, settlement.at_ms)
                if isinstance(outcome, Sent):
                    if outcome.delivered:
                        delivered.append(delivery.delivery_id)
                        # Of a report or notice nobody is told.
                        if delivery.kind is Kind.MESSAGE:
                            told.append(
                                _Change(
                                    delivery.delivery_id,
                                    delivery.message_id,
                                    Status.DELIVERED,
                                    "",
                                    "",
                                )
                            )
                    elif outcome.remote_id:
                        named.append((delivery.delivery_id, outcome.remote_id))
                    else:
                        taken.append(delivery.delivery_id)
                    if settlement.tell_sent:
                        told.append(
                            _Change(delivery.delivery_id, delivery.message_id, Status.SENT, "", "")
                        )
                elif isinstance(outcome, NotTried):
                    released.append(delivery.delivery_id)
                else:
                    failures.append(settlement)
        for statement, ids in (
            (self._taken, taken),
            (self._delivered, delivered),
            (self._released, released),
        ):
            if ids:
                statement.run(connection, ids, at=at_ms)
        if named:
            self._named.run(connection, named, (at_ms,))
        told.extend(self._fail(connection, failures))
        lanes = self._reports.queue(connection, told, at_ms)
        return [lanes, *([] for _ in lists[1:])]

    def _fail(self, connection: Connection, failures: Sequence[Settlement]) -> list[_Change]:
        if not failures:
            return []
        ids = padded([settlement.delivery.delivery_id for settlement in failures])
        status_of = {
            row.delivery_id: row.status
            for row in connection.execute(self._status_now, {"ids": ids})
        }
        changes: list[_Change] = []
        events: list[tuple[str, int, Status, int, str, str]] = []
        for settlement in failures:
            delivery, outcome = settlement.delivery, settlement.outcome
            assert isinstance(outcome, TemporaryFailure | PermanentFailure | UnknownOutcome)
            event = _event_of(outcome, settlement.retry_at_ms)
            # A report may have overtaken the answer, or the operator dropped it.
            if status_of.get(delivery.delivery_id) != Status.SENDING:
                continue
            status = advance(Status.SENDING, event)
            finished = status is not Status.QUEUED
            connection.execute(
                self._end,
                {
                    "of": delivery.delivery_id,
                    "to": status,
                    "due": None if finished else settlement.retry_at_ms,
                    "finished": settlement.at_ms if finished else None,
                    "why": outcome.reason,
                    "words": _words(outcome.text, outcome.detail),
                },
            )
            events.append(
                (
                    delivery.delivery_id,
                    settlement.at_ms,
                    status,
                    delivery.attempts,
                    outcome.reason,
                    _words(outcome.text, outcome.detail),
                )
            )
            if finished and delivery.kind is Kind.MESSAGE:
                changes.append(
                    _Change(
                        delivery.delivery_id,
                        delivery.message_id,
                        status,
                        outcome.reason,
                        outcome.text,
                    )
                )
        _note_events(connection, events)
        return changes


def _event_of(outcome: Exception, retry_at_ms: int | None) -> Event:
    if isinstance(outcome, UnknownOutcome):
        return Event.LOSE
    if isinstance(outcome, PermanentFailure):
        return Event.FAIL
    return Event.RETRY if retry_at_ms is not None else Event.EXPIRE


def _words(text: str, detail: str) -> str:
    return f"{text} ({detail})" if detail and detail not in text else text


class Report:
    """
    Records what peers say later; items are (`DeliveryReport`, now_ms, retry_at_ms), results
    (id of the delivery that was changed, lanes).
    """

    rank = 3

    _what = (
        _c.delivery_id,
        _c.message_id,
        _c.kind,
        _c.status,
        _c.attempts,
        _c.remote_id,
        _c.line,
        _c.lane,
        _c.destination,
        _c.sent_at_ms,
    )

    def __init__(self, reports: Reports) -> None:
        self._reports = reports
        self._by_id = Prepared(lambda ids: select(*self._what).where(_c.delivery_id.in_(ids)))
        self._by_remote_id = Prepared(
            lambda names: select(*self._what).where(
                _c.gateway == bindparam("of"),
                _c.remote_id.in_(names),
                _c.sent_at_ms >= bindparam("since"),
            )
        )
        self._sibling = select(*self._what).where(
            _c.message_id == bindparam("of"),
            _c.gateway == bindparam("by"),
            _c.kind == Kind.MESSAGE,
            _c.destination == bindparam("to"),
        )
        self._set = Prepared(
            lambda ids: (
                update(deliveries)
                .where(_c.delivery_id.in_(ids))
                .values(
                    status=bindparam("to"),
                    due_at_ms=bindparam("due"),
                    finished_at_ms=bindparam("finished"),
                    sent_at_ms=func.coalesce(_c.sent_at_ms, bindparam("now")),
                    remote_id=func.coalesce(bindparam("named", type_=String), _c.remote_id),
                    reason=bindparam("why"),
                    detail=bindparam("words"),
                )
            )
        )

    def __call__(
        self, connection: Connection, items: Sequence[tuple[DeliveryReport, int, int]], again: bool
    ) -> Sequence[tuple[str, list[str]]]:
        """Record the reports."""
        rows = self._rows(connection, items)
        status_of: dict[str, Status] = {}
        groups: dict[tuple[Any, ...], list[str]] = defaultdict(list)
        changes: list[_Change] = []
        events: list[tuple[str, int, Status, int, str, str]] = []
        results: list[tuple[str, list[str]]] = []
        freed: list[str] = []  # lanes in which something may have waited for what is known now
        last_ms = 0
        for (report, now_ms, retry_at_ms), row in zip(items, rows, strict=True):
            last_ms = max(last_ms, now_ms)
            if row is None:
                results.append(("", []))
                continue
            status = status_of.get(row.delivery_id, Status(row.status))
            try:
                reached = advance(status, _EVENT_OF_REPORT[report.status])
            except IllegalTransition:
                # An interim report of what was sent already is history, all else comes too late.
                if report.status is Status.SENT and status is Status.SENT and report.text:
                    events.append(
                        (row.delivery_id, now_ms, status, row.attempts, report.reason, report.text)
                    )
                results.append(("", []))
                continue
            status_of[row.delivery_id] = reached
            if status is Status.UNCERTAIN:
                freed.append(row.lane)
            finished = now_ms if reached not in (Status.QUEUED, Status.SENT) else None
            due = retry_at_ms if reached is Status.QUEUED else None
            # A report that overtook the answer, or came instead of it, brings the next hop's id.
            without = status in (Status.SENDING, Status.UNCERTAIN)
            remote_id = report.remote_id if without else ""
            groups[reached, due, finished, report.reason, report.text, remote_id].append(
                row.delivery_id
            )
            if reached is not Status.DELIVERED:
                events.append(
                    (row.delivery_id, now_ms, reached, row.attempts, report.reason, report.text)
                )
            if row.kind == Kind.MESSAGE and reached not in (Status.QUEUED, Status.SENT):
                text = REASONS.get(report.reason, "")
                if report.text:
                    text = f"{text} ({report.text})" if text else report.text
                changes.append(
                    _Change(row.delivery_id, row.message_id, reached, report.reason, text)
                )
            results.append((row.delivery_id, []))
        for (reached, due, finished, reason, text, remote_id), ids in groups.items():
            self._set.run(
                connection,
                ids,
                to=reached.value,
                due=due,
                finished=finished,
                now=last_ms,
                named=remote_id or None,
                why=reason,
                words=text[:_LONGEST_DETAIL],
            )
        _note_events(connection, events)
        lanes = self._reports.queue(connection, changes, last_ms)
        if results:
            results[0] = (results[0][0], [*lanes, *freed])
        return results

    def _rows(
        self, connection: Connection, items: Sequence[tuple[DeliveryReport, int, int]]
    ) -> list[Any]:
        """Find the delivery of each report; None where there is none."""
        ids: list[str] = []
        names: dict[str, list[str]] = {}  # by gateway
        since_of: dict[str, int] = {}
        for report, now_ms, _ in items:
            gateway = report.gateway
            if report.delivery_id:
                ids.append(report.delivery_id)
            elif report.remote_id:
                names.setdefault(gateway, []).append(report.remote_id)
                since_ms = now_ms - int(report.within_s * 1000)
                since_of[gateway] = min(since_ms, since_of.get(gateway, since_ms))
        by_id: dict[str, Any] = {}
        if ids:
            by_id = {row.delivery_id: row for row in self._by_id.run(connection, ids)}
        by_name: dict[tuple[str, str], list[Any]] = {}
        for gateway, wanted in names.items():
            for row in self._by_remote_id.run(
                connection, wanted, of=gateway, since=since_of[gateway]
            ):
                by_name.setdefault((gateway, row.remote_id), []).append(row)
        found: list[Any] = []
        for report, now_ms, _ in items:
            if report.delivery_id:
                found.append(self._meant(connection, report, by_id.get(report.delivery_id)))
            else:
                since_ms = now_ms - int(report.within_s * 1000)
                rows = by_name.get((report.gateway, report.remote_id), ())
                found.append(_newest_of(report, [r for r in rows if r.sent_at_ms >= since_ms]))
        return found

    def _meant(self, connection: Connection, report: DeliveryReport, row: Any) -> Any:
        """Return the delivery itself, or the one of the same message to the destination named."""
        if row is None or not report.destination or report.destination == row.destination:
            return row
        sibling = connection.execute(
            self._sibling,
            {"of": row.message_id, "by": report.gateway, "to": report.destination},
        ).first()
        return row if sibling is None else sibling


def _newest_of(report: DeliveryReport, rows: Sequence[Any]) -> Any:
    """Choose among the deliveries that have the report's remote id; None if none is meant."""
    rows = [row for row in rows if not report.line or row.line == report.line]
    if len(rows) > 1 and report.destination:
        rows = [row for row in rows if row.destination == report.destination]
    return max(rows, key=lambda row: row.delivery_id, default=None)


@frozen
class Recovery:
    """What to do about attempts whose process died."""

    repeatable: tuple[str, ...]  # labels of gateways whose next hop recognizes repeats
    others: tuple[str, ...]  # labels of the other gateways of this node
    now_ms: int
    own_too: bool  # at the start: also what this node claimed and has not settled
    asked: tuple[str, ...] = ()  # those of the others whose next hop can be asked


_INTERRUPTED: Final = "The bridge stopped before the answer came."
_ASKED: Final = f"{_INTERRUPTED} The next hop is asked whether it has the text."


class Recover:
    """
    Decides on interrupted attempts; items are `Recovery`, results (queued again, uncertain, lanes).

    What the next hop can be asked about is uncertain with a due time, and its sender is not told,
    until `Conclude` decides: who is told sends it again himself, and then it must not go out by
    itself as well.
    """

    rank = 4

    def __init__(self, node: str, reports: Reports) -> None:
        self._node = node
        self._reports = reports
        interrupted = and_(
            _c.status == Status.SENDING,
            _c.due_at_ms.is_not(None),
            _c.gateway.in_(bindparam("gateways", expanding=True)),
            or_(
                _c.due_at_ms <= bindparam("now"),
                and_(_c.owner == node, bindparam("own", type_=Boolean)),
            ),
        )
        self._find = select(_c.delivery_id, _c.message_id, _c.kind, _c.attempts, _c.gateway).where(
            interrupted
        )
        self._again = (
            update(deliveries)
            .where(interrupted)
            .values(status=Status.QUEUED, due_at_ms=bindparam("now"))
        )
        self._lost = (
            update(deliveries)
            .where(_ids)
            .values(
                status=Status.UNCERTAIN,
                due_at_ms=bindparam("due"),
                finished_at_ms=bindparam("now"),
                reason="outcome-unknown",
                detail=bindparam("words"),
            )
        )

    def __call__(
        self, connection: Connection, items: Sequence[Recovery], again: bool
    ) -> Sequence[tuple[int, int, list[str]]]:
        """Queue again what may be repeated; mark the rest."""
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, item: Recovery) -> tuple[int, int, list[str]]:
        condition = {"now": item.now_ms, "own": item.own_too}
        queued = 0
        if item.repeatable:
            queued = connection.execute(
                self._again, {**condition, "gateways": item.repeatable}
            ).rowcount
        if not item.others:
            return queued, 0, []
        lost = connection.execute(self._find, {**condition, "gateways": item.others}).all()
        if not lost:
            return queued, 0, []
        # A report or notice that was not settled is told again: better twice than never.
        asked = [row for row in lost if row.gateway in item.asked and row.kind == Kind.MESSAGE]
        ids = {row.delivery_id for row in asked}
        told = [row for row in lost if row.delivery_id not in ids]
        for rows, words, due_at_ms in ((asked, _ASKED, item.now_ms), (told, _INTERRUPTED, None)):
            if rows:
                connection.execute(
                    self._lost,
                    {
                        "ids": padded([row.delivery_id for row in rows]),
                        "now": item.now_ms,
                        "words": words,
                        "due": due_at_ms,
                    },
                )
            _note_events(
                connection,
                (
                    (
                        row.delivery_id,
                        item.now_ms,
                        Status.UNCERTAIN,
                        row.attempts,
                        "outcome-unknown",
                        words,
                    )
                    for row in rows
                ),
            )
        lanes = self._reports.queue(
            connection,
            [
                _Change(row.delivery_id, row.message_id, Status.UNCERTAIN, "outcome-unknown", "")
                for row in told
                if row.kind == Kind.MESSAGE
            ],
            item.now_ms,
        )
        return queued, len(lost), lanes


_waits_for_answer = and_(_c.status == Status.UNCERTAIN, _c.due_at_ms.is_not(None))
_interrupted = (
    with_message.where(_c.gateway == bindparam("of"), _waits_for_answer)
    .order_by(_c.delivery_id.desc())
    .limit(bindparam("most", type_=Integer))
)


def interrupted_txn(connection: Connection, gateway: str, limit: int) -> list[Delivery]:
    """Read the deliveries about which the next hop is to be asked, newest first."""
    rows = connection.execute(_interrupted, {"of": gateway, "most": limit}).all()
    attachments = media_of(connection, [row.message_id for row in rows])
    return [delivery_of(row, attachments) for row in rows]


class Conclude:
    """
    Records what the next hop said about interrupted attempts; items are lists of `Settlement`,
    results lists of lanes.

    What came meanwhile, a late report or the operator's hand, stands.
    """

    rank = 4

    _find = (
        select(_c.delivery_id, _c.message_id, _c.attempts, _c.lane)
        .where(_ids, _waits_for_answer)
        .order_by(_c.delivery_id)
    )
    _set = (
        update(deliveries)
        .where(_ids)
        .values(
            status=bindparam("to"),
            due_at_ms=bindparam("due"),
            sent_at_ms=func.coalesce(bindparam("sent", type_=BigInteger), _c.sent_at_ms),
            finished_at_ms=bindparam("finished"),
            remote_id=func.coalesce(bindparam("named", type_=String), _c.remote_id),
            reason=bindparam("why"),
            detail=bindparam("words"),
        )
    )

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def __call__(
        self, connection: Connection, lists: Sequence[Sequence[Settlement]], again: bool
    ) -> Sequence[list[str]]:
        """Record them; there are few."""
        return [
            [
                lane
                for settlement in settlements
                for lane in self._one(connection, settlement, settlement.outcome)
            ]
            for settlements in lists
        ]

    def _one(self, connection: Connection, settlement: Settlement, outcome: Outcome) -> list[str]:
        delivery, at_ms = settlement.delivery, settlement.at_ms
        row = connection.execute(self._find, {"ids": [delivery.delivery_id]}).first()
        if row is None:
            return []
        due_at_ms = sent_at_ms = None
        finished_at_ms: int | None = at_ms
        reason = named = ""
        told = True
        if isinstance(outcome, Sent):
            event = Event.DELIVERED if outcome.delivered else Event.TAKEN
            status = advance(Status.UNCERTAIN, event)
            words, named, sent_at_ms = "The next hop has it.", outcome.remote_id, at_ms
            finished_at_ms = at_ms if outcome.delivered else None
            told = outcome.delivered or settlement.tell_sent
        elif isinstance(outcome, NotTried):
            status = advance(Status.UNCERTAIN, Event.RESEND)
            due_at_ms, finished_at_ms = at_ms, None
            words, told = "The next hop does not have it; it is sent again.", False
        else:
            status, reason = Status.UNCERTAIN, "outcome-unknown"
            words = _INTERRUPTED
        connection.execute(
            self._set,
            {
                "ids": [delivery.delivery_id],
                "to": status,
                "due": due_at_ms,
                "sent": sent_at_ms,
                "finished": finished_at_ms,
                "named": named or None,
                "why": reason,
                "words": words if status is Status.UNCERTAIN else "",
            },
        )
        if status is not Status.UNCERTAIN:
            _note_events(
                connection,
                [(delivery.delivery_id, at_ms, status, row.attempts, reason, words)],
            )
        changes = [_Change(delivery.delivery_id, row.message_id, status, reason, "")]
        # What waited for it to keep the order can go on.
        return [row.lane, *self._reports.queue(connection, changes if told else [], at_ms)]


@frozen
class Intervention:
    """What an operator wants done with deliveries."""

    delivery_ids: tuple[str, ...]
    now_ms: int
    expires_at_ms: int = 0


class Resend:
    """Queues deliveries again; items are `Intervention`, results (count, lanes)."""

    rank = 4

    _find = select(_c.delivery_id, _c.lane, _c.attempts, _c.status).where(
        _ids, _c.status.in_((*sources(Event.RESEND), Status.QUEUED))
    )
    _queue = (
        update(deliveries)
        .where(_ids)
        .values(
            status=Status.QUEUED,
            due_at_ms=bindparam("now"),
            expires_at_ms=bindparam("expires"),
            finished_at_ms=None,
            told=False,
        )
    )

    def __call__(
        self, connection: Connection, items: Sequence[Intervention], again: bool
    ) -> Sequence[tuple[int, list[str]]]:
        """Queue them again, also those that wait for a later attempt."""
        results = []
        for item in items:
            rows = connection.execute(self._find, {"ids": padded(item.delivery_ids)}).all()
            if rows:
                ids = [row.delivery_id for row in rows]
                connection.execute(
                    self._queue,
                    {"ids": padded(ids), "now": item.now_ms, "expires": item.expires_at_ms},
                )
                _note_events(
                    connection,
                    (
                        (
                            row.delivery_id,
                            item.now_ms,
                            Status.QUEUED,
                            row.attempts,
                            "",
                            "The operator sent it again.",
                        )
                        for row in rows
                    ),
                )
            results.append((len(rows), [row.lane for row in rows]))
        return results


class Drop:
    """Gives deliveries up; items are `Intervention`, results (count, lanes)."""

    rank = 4

    _find = select(_c.delivery_id, _c.message_id, _c.kind, _c.attempts, _c.lane).where(
        _ids, _c.status.in_(sources(Event.DROP))
    )
    _set = (
        update(deliveries)
        .where(_ids)
        .values(
            status=Status.DROPPED,
            due_at_ms=None,
            finished_at_ms=bindparam("now"),
            reason="dropped",
            detail="",
        )
    )

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def __call__(
        self, connection: Connection, items: Sequence[Intervention], again: bool
    ) -> Sequence[tuple[int, list[str]]]:
        """Drop what has not been sent."""
        results = []
        for item in items:
            rows = connection.execute(self._find, {"ids": padded(item.delivery_ids)}).all()
            lanes: list[str] = []
            if rows:
                ids = [row.delivery_id for row in rows]
                connection.execute(self._set, {"ids": padded(ids), "now": item.now_ms})
                _note_events(
                    connection,
                    (
                        (row.delivery_id, item.now_ms, Status.DROPPED, row.attempts, "dropped", "")
                        for row in rows
                    ),
                )
                lanes = self._reports.queue(
                    connection,
                    [
                        _Change(row.delivery_id, row.message_id, Status.DROPPED, "dropped", "")
                        for row in rows
                        if row.kind == Kind.MESSAGE
                    ],
                    item.now_ms,
                )
                # What had to wait for one of them need not any more.
                lanes.extend(row.lane for row in rows)
            results.append((len(rows), lanes))
        return results


class RepeatReports:
    """
    Queues the last report of messages again; items are (message_id, now_ms), results lists of
    lanes.
    """

    rank = 4

    _find = select(_c.delivery_id, _c.message_id, _c.status, _c.reason, _c.detail).where(
        _c.message_id == bindparam("of"),
        _c.kind == Kind.MESSAGE,
        _c.status.in_((Status.DELIVERED, *_ALWAYS_TOLD)),
    )

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def __call__(
        self, connection: Connection, items: Sequence[tuple[str, int]], again: bool
    ) -> Sequence[list[str]]:
        """Queue them."""
        results = []
        for message_id, now_ms in items:
            changes = [
                _Change(row.delivery_id, row.message_id, Status(row.status), row.reason, row.detail)
                for row in connection.execute(self._find, {"of": message_id})
            ]
            results.append(self._reports.queue(connection, changes, now_ms))
        return results


class TellWaiting:
    """
    Tells senders that their texts still wait, and gives up what waited too long.

    Items are (created before, now_ms, {lane: (reason, sentence)}), results lists of lanes.
    """

    rank = 4

    _waiting = (
        select(_c.delivery_id, _c.message_id, _c.lane, _c.reason, _c.detail)
        .where(
            _c.status == Status.QUEUED,
            _c.due_at_ms.is_not(None),
            _c.told.is_(False),
            _c.kind == Kind.MESSAGE,
            _c.created_at_ms <= bindparam("before"),
            # A scheduled text does not wait; one that is to be tried again does.
            or_(_c.attempts > 0, _c.due_at_ms <= bindparam("now")),
            _c.expires_at_ms > bindparam("now"),
        )
        .limit(500)
    )
    _mark = update(deliveries).where(_ids).values(told=True)
    _late = (
        select(_c.delivery_id, _c.message_id, _c.kind, _c.attempts, _c.reason, _c.detail)
        .where(
            _c.status == Status.QUEUED,
            _c.due_at_ms.is_not(None),
            _c.expires_at_ms <= bindparam("now"),
        )
        .limit(500)
    )
    _end = (
        update(deliveries)
        .where(_ids)
        .values(
            status=Status.EXPIRED,
            due_at_ms=None,
            finished_at_ms=bindparam("now"),
            reason=bindparam("why"),
            detail=bindparam("words"),
        )
    )

    def __init__(self, reports: Reports) -> None:
        self._reports = reports

    def __call__(
        self,
        connection: Connection,
        items: Sequence[tuple[int, int, dict[str, tuple[str, str]]]],
        again: bool,
    ) -> Sequence[list[str]]:
        """Look through what waits."""
        return [self._one(connection, *item) for item in items]

    def _one(
        self,
        connection: Connection,
        before_ms: int,
        now_ms: int,
        closed: dict[str, tuple[str, str]],
    ) -> list[str]:
        changes: list[_Change] = []
        waiting = connection.execute(self._waiting, {"before": before_ms, "now": now_ms}).all()
        for row in waiting:
            reason, text = closed.get(row.lane, (row.reason, row.detail))
            changes.append(
                _Change(row.delivery_id, row.message_id, Status.QUEUED, reason, text, unasked=True)
            )
        if waiting:
            connection.execute(self._mark, {"ids": padded([row.delivery_id for row in waiting])})
        late = connection.execute(self._late, {"now": now_ms}).all()
        groups: dict[tuple[str, str], list[str]] = defaultdict(list)
        for old in late:
            groups[old.reason or "expired", old.detail or REASONS["expired"]].append(
                old.delivery_id
            )
            if old.kind == Kind.MESSAGE:
                changes.append(
                    _Change(
                        old.delivery_id,
                        old.message_id,
                        Status.EXPIRED,
                        old.reason or "expired",
                        old.detail,
                    )
                )
        for (reason, words), ids in groups.items():
            connection.execute(
                self._end, {"ids": padded(ids), "now": now_ms, "why": reason, "words": words}
            )
        _note_events(
            connection,
            (
                (row.delivery_id, now_ms, Status.EXPIRED, row.attempts, row.reason or "expired", "")
                for row in late
            ),
        )
        return self._reports.queue(connection, changes, now_ms)
