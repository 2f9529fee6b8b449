"""
Reads what a lane has to send, in order, leaving out what must wait for an earlier one of its kind.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, Integer, bindparam, select

from smsbridge.core.message import Delivery, Kind, Status
from smsbridge.store.bulk import Prepared
from smsbridge.store.progress import Claim, ClaimRequest
from smsbridge.store.rows import delivery_of, is_group, media_of, with_message
from smsbridge.store.schema import deliveries

__all__ = ["LanesDue", "Refill", "RefillRequest"]

_PAGES: Final = 20  # of waiting deliveries that one refill looks through

_c = deliveries.c


@frozen
class RefillRequest:
    """A lane that has room."""

    lane: str
    now_ms: int
    limit: int
    lease_until_ms: int = 0  # 0: they are only read
    in_hand: frozenset[str] = frozenset()  # ids of what the lane is sending


class Refill:
    """
    Items are `RefillRequest`, results pairs of a list of `Delivery` and whether that is all that is
    open.
    """

    rank = 9  # after everything that could add to a lane in the same transaction

    def __init__(self, claim: Claim) -> None:
        self._claim = claim
        self._page = Prepared(
            lambda _: (
                with_message.where(
                    _c.lane == bindparam("of"),
                    _c.due_at_ms.is_not(None),
                    _c.delivery_id > bindparam("after"),
                )
                .order_by(_c.delivery_id)
                .limit(bindparam("most", type_=Integer))
            )
        )

    def __call__(
        self, connection: Connection, requests: Sequence[RefillRequest], again: bool
    ) -> Sequence[tuple[list[Delivery], bool]]:
        """Read the lanes."""
        return [self._one(connection, request, again) for request in requests]

    def _one(
        self, connection: Connection, request: RefillRequest, again: bool
    ) -> tuple[list[Delivery], bool]:
        chosen: list[Any] = []
        held: set[str] = set()  # order keys whose earlier delivery waits
        parted: set[str] = set()  # group texts of which a part waits
        last: Any = None  # the row behind which it was not looked
        passed_over = False
        after = ""
        for _ in range(_PAGES):
            rows = self._page.run(
                connection, of=request.lane, after=after, most=request.limit
            ).all()
            for row in rows:
                if row.status == Status.SENDING:
                    # The rest is another node's, or on its way back to the queue.
                    if row.delivery_id in request.in_hand:
                        continue  # it is settled before anything that is read now
                elif (
                    row.status == Status.QUEUED  # the next hop is asked about uncertain ones
                    and row.due_at_ms <= request.now_ms
                    and row.order_key not in held
                ):
                    chosen.append(row)
                    continue
                held.add(row.order_key)
                passed_over = True
                if is_group(row):
                    parted.add(row.message_id)
            last = rows[-1] if len(rows) >= request.limit else None
            if last is None or len(chosen) >= request.limit // 2:
                break
            after = last.delivery_id
        if last is not None:
            passed_over = True  # there may be more
            if is_group(last):
                before = [row for row in chosen if row.message_id != last.message_id]
                chosen = before or chosen
        if parted:
            chosen = [row for row in chosen if not (is_group(row) and row.message_id in parted)]
        claimed = bool(chosen and request.lease_until_ms)
        if claimed:
            ids = tuple(row.delivery_id for row in chosen)
            wanted = ClaimRequest(ids, request.now_ms, request.lease_until_ms)
            (ours,) = self._claim(connection, [wanted], again)
            if len(ours) < len(chosen):
                passed_over = True  # another node was faster
                chosen = [row for row in chosen if row.delivery_id in ours]
        attachments = media_of(
            connection,
            [row.message_id for row in chosen if row.kind == Kind.MESSAGE and row.message_id],
        )
        return [delivery_of(row, attachments, claimed) for row in chosen], not passed_over


class LanesDue:
    """Names the lanes that have something due within a time; items are (after_ms, until_ms)."""

    rank = 9

    _find = (
        select(_c.lane)
        .where(
            _c.due_at_ms > bindparam("after"),
            _c.due_at_ms <= bindparam("until"),
            _c.status == Status.QUEUED,
        )
        .distinct()
    )

    def __call__(
        self, connection: Connection, items: Sequence[tuple[int, int]], again: bool
    ) -> Sequence[list[str]]:
        """Look them up."""
        return [
            list(connection.execute(self._find, {"after": after, "until": until}).scalars())
            for after, until in items
        ]
