"""
Which texts went out lately, and the statuses that overtake the answer to the send.

A provider may call about a text before its answer with the id has arrived, or before the store has
recorded that answer.  Such a call finds no delivery there; here it does, or it is kept for a while,
and the answer that brings the id takes it out.  It is memory only: what is lost with the process, a
look at the provider's list finds again.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from typing import Final

from attrs import evolve
from twisted.internet.interfaces import IReactorTime

from smsbridge.provider.dialect import StatusUpdate

__all__ = ["Early", "group_reference"]

_KEPT_S: Final = 300.0
_MOST_KEPT: Final = 2000
_MOST_REMEMBERED: Final = 5000
_GROUP: Final = ".-"


def group_reference(message_id: str) -> str:
    """
    Return what a group text is called at the provider.

    It is none of its deliveries, since each status of it is about one of them.
    """
    return message_id + _GROUP


class Early:
    """The memory of one gateway."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under_way = 0
        self._kept: OrderedDict[int, tuple[float, StatusUpdate]] = OrderedDict()
        self._number = 0
        self._answered: OrderedDict[str, Mapping[str, str]] = OrderedDict()
        self._lines: dict[str, str] = {}

    # -- who sends ---------------------------------------------------------------------------------

    def send_began(self) -> None:
        """Take note that a send is under way; pairs with `send_ended`."""
        self._under_way += 1

    def send_ended(self) -> None:
        """Take note that a send has been answered or given up."""
        self._under_way -= 1

    def answered(
        self, remote_id: str, delivery_ids: Mapping[str, str], line: str = ""
    ) -> list[StatusUpdate]:
        """
        Remember the id of a text; give out what was kept about it, complete and in its order.

        :param delivery_ids: our deliveries by recipient (E.164); several only for a group text.
        :param line: the label of the line on which it was sent.
        """
        self._answered[remote_id] = dict(delivery_ids)
        self._lines[remote_id] = line
        if len(self._answered) > _MOST_REMEMBERED:
            oldest, _ = self._answered.popitem(last=False)
            self._lines.pop(oldest, None)
        self._forget(self._clock.seconds())
        numbers = [n for n, (_, update) in self._kept.items() if update.remote_id == remote_id]
        found = [self._kept.pop(number)[1] for number in numbers]
        return [
            evolve(update, delivery_id=delivery_id)
            for update in found
            if (delivery_id := self.delivery_of(update))
        ]

    def known(self, other_than: Iterable[str]) -> set[str]:
        """Return the ids of texts that belong to other deliveries than these."""
        own = set(other_than)
        return {
            remote_id
            for remote_id, delivery_ids in self._answered.items()
            if own.isdisjoint(delivery_ids.values())
        }

    # -- who is called -----------------------------------------------------------------------------

    def delivery_of(self, update: StatusUpdate) -> str:
        """Return the id of the delivery that a status is about; empty if it is not known here."""
        if update.delivery_id and not update.delivery_id.endswith(_GROUP):
            return update.delivery_id
        delivery_ids = self._answered.get(update.remote_id, {})
        if len(delivery_ids) == 1:
            return next(iter(delivery_ids.values()))
        return delivery_ids.get(update.recipient, "")

    def parties(self, update: StatusUpdate) -> tuple[str, str]:
        """
        Return the line and the recipient of the text that a status is about.

        What is not known here is empty; so is the recipient of a group text.
        """
        delivery_ids = self._answered.get(update.remote_id, {})
        recipient = next(iter(delivery_ids)) if len(delivery_ids) == 1 else ""
        return self._lines.get(update.remote_id, ""), recipient

    def keep(self, update: StatusUpdate) -> bool:
        """
        Keep a status for which no delivery was found; False where no send can be meant.

        What is kept goes its way once the answer is there.
        """
        now_s = self._clock.seconds()
        self._forget(now_s)
        if not self._under_way:
            return False
        self._number += 1
        self._kept[self._number] = (now_s, update)
        if len(self._kept) > _MOST_KEPT:
            self._kept.popitem(last=False)
        return True

    def _forget(self, now_s: float) -> None:
        while self._kept:
            kept_at_s, _ = next(iter(self._kept.values()))
            if now_s - kept_at_s < _KEPT_S:
                return
            self._kept.popitem(last=False)
