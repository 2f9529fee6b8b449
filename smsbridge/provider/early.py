"""
Statuses that overtake the answer to the send they are about.

A provider may call about a text before its answer with the id has arrived.  Such a call finds no
delivery; as long as a send is under way it is kept here for a while, and the answer that brings the
id takes it out.  It is memory only: what is lost with the process, a look at the provider's list
finds again.
"""

from __future__ import annotations

from collections import OrderedDict
from typing import Final

from twisted.internet.interfaces import IReactorTime

from smsbridge.provider.dialect import StatusUpdate

__all__ = ["Early"]

_KEPT_S: Final = 300.0
_MOST_KEPT: Final = 2000


class Early:
    """The statuses of one gateway for which no text is known yet."""

    def __init__(self, clock: IReactorTime) -> None:
        self._clock = clock
        self._under_way = 0
        self._kept: OrderedDict[int, tuple[float, StatusUpdate]] = OrderedDict()
        self._number = 0

    def send_began(self) -> None:
        """Take note that a send is under way; pairs with `send_ended`."""
        self._under_way += 1

    def send_ended(self) -> None:
        """Take note that a send has been answered or given up."""
        self._under_way -= 1

    def keep(self, update: StatusUpdate) -> bool:
        """
        Keep a status for which no delivery was found; False where no send can be meant.

        What is kept is given out by `taken` once the text is known.
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

    def taken(self, remote_id: str) -> list[StatusUpdate]:
        """Give out what was kept about a text, in the order in which it came."""
        if not self._kept:
            return []
        self._forget(self._clock.seconds())
        numbers = [n for n, (_, update) in self._kept.items() if update.remote_id == remote_id]
        return [self._kept.pop(number)[1] for number in numbers]

    def _forget(self, now_s: float) -> None:
        while self._kept:
            kept_at_s, _ = next(iter(self._kept.values()))
            if now_s - kept_at_s < _KEPT_S:
                return
            self._kept.popitem(last=False)
