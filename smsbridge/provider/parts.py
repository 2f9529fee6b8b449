"""
Joins long texts that a provider hands over in parts, each in a call of its own.

A part is kept in the store before its call is answered, and stays there for longer than a provider
repeats its calls: so a repeat is recognized, also after the text was joined, and no part is lost
when the process ends.  Parts come in any order.  When some are missing after a while, the text goes
on without them, and what comes later goes on by itself.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, evolve, field
from twisted.internet.defer import Deferred, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger

from smsbridge.core.pending import Kept, Pending
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.provider import kept
from smsbridge.provider.account import Account
from smsbridge.provider.dialect import Received

__all__ = ["JOINED", "PART", "Parts"]

#: What the keys of parts, and of the notes which of them are joined, begin with.
PART: Final = "part"
JOINED: Final = "joined"

_MOST_PARTS: Final = 255  # the count is one byte in GSM 03.40, 9.2.3.24.1
_RELEASE_S: Final = 180.0
#: References are small numbers that phones use again.
_REUSED_MS: Final = 600_000
#: Providers repeat calls for a day at the longest.
_REMEMBERED_MS: Final = 25 * 3_600_000
_SWEEP_EVERY_S: Final = 3600.0
_MOST_SETS: Final = 2000
_RETRY_S: Final = 5.0
_LONGEST_RETRY_S: Final = 60.0

_SetName = tuple[str, str, str]


@define
class _Set:
    """The parts of one text that are there."""

    total: int
    oldest_at_ms: int
    parts: dict[int, Received] = field(factory=dict)
    keys: list[str] = field(factory=list)
    timer: IDelayedCall | None = None


class Parts:
    """
    The parts of one gateway's texts.

    :param joined: takes a whole text; fires after the commit.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        account: Account,
        pending: Callable[[], Pending],
        joined: Callable[[Received], Deferred[bool]],
    ) -> None:
        self._clock = clock
        self._account = account
        self._pending = pending
        self._joined = joined
        self._sets: dict[_SetName, _Set] = {}
        self._handing_on: set[Deferred[Any]] = set()
        self._stopped = False
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = clock

    def start(self) -> None:
        """Begin to forget what is too old to be repeated."""
        self._stopped = False
        self._sweeper.start(_SWEEP_EVERY_S, now=False).addErrback(
            lambda failure: self.log.failure("the sweeper of parts failed", failure=failure)
        )

    def stop(self) -> None:
        """Leave everything as it is in the store."""
        self._stopped = True
        if self._sweeper.running:
            self._sweeper.stop()
        for each in self._sets.values():
            _cancel(each.timer)
        self._sets.clear()
        for handing_on in list(self._handing_on):
            handing_on.cancel()

    # -- what comes ------------------------------------------------------------------------------

    def is_part(self, received: Received) -> bool:
        """Tell whether a text is a part of a longer one; strange numbers make it a whole one."""
        part = received.part
        return part is not None and 1 < part.total <= _MOST_PARTS and 1 <= part.number <= part.total

    def take(self, received: Received) -> Deferred[bool]:
        """
        Keep a part; fires after the commit with False for a repeat.

        :raises TemporaryFailure: the store is out of reach.
        """
        key = kept.name(PART, received.remote_id or repr(received))
        keeping = self._pending().keep(self._account.label, key, kept.encode(received))

        def is_kept(new: bool) -> bool:
            if new and not self._stopped:
                self._add(key, received, self._now_ms())
            return new

        return keeping.addCallback(is_kept)

    def resume(self, found: Sequence[Kept]) -> None:
        """Go on with what an earlier process kept, oldest first."""
        over: set[str] = set()
        for each in found:
            if each.key.startswith(JOINED + " "):
                over.update(_keys(each.value))
        waiting = {key for each in self._sets.values() for key in each.keys}
        for each in found:
            if not each.key.startswith(PART + " ") or each.key in over or each.key in waiting:
                continue
            try:
                received = kept.decode(each.value)
            except kept.Unreadable as e:
                self.log.warn(
                    "{gateway}: a kept part of a text is left where it is: {reason}",
                    gateway=self._account.label,
                    reason=str(e),
                )
                continue
            self._add(each.key, received, each.kept_at_ms)

    def _add(self, key: str, received: Received, at_ms: int) -> None:
        part = received.part
        assert part is not None
        name = (received.sender, received.ours, part.reference)
        found = self._sets.get(name)
        if found is not None and (
            part.number in found.parts
            or part.total != found.total
            or at_ms - found.oldest_at_ms > _REUSED_MS
        ):
            # The reference is used again, for another text.
            self._release(name)
            found = None
        if found is None:
            if len(self._sets) >= _MOST_SETS:
                self._release(next(iter(self._sets)))
            found = self._sets[name] = _Set(part.total, at_ms)
            age_s = (self._now_ms() - at_ms) / 1000
            found.timer = self._clock.callLater(
                min(max(_RELEASE_S - age_s, 0.0), _RELEASE_S), self._give_up, name
            )
        found.parts[part.number] = received
        found.keys.append(key)
        if len(found.parts) == found.total:
            self._release(name)

    # -- what goes on ----------------------------------------------------------------------------

    def _give_up(self, name: _SetName) -> None:
        found = self._sets[name]
        self.log.warn(
            "{gateway}: {missing} of {count} parts of a text did not come; it goes on without them",
            gateway=self._account.label,
            missing=found.total - len(found.parts),
            count=found.total,
        )
        self._release(name)

    def _release(self, name: _SetName) -> None:
        found = self._sets.pop(name)
        _cancel(found.timer)
        handing_on = Deferred.fromCoroutine(self._hand_on(found))
        if handing_on.called:
            return
        self._handing_on.add(handing_on)

        def over(result: Any) -> None:
            self._handing_on.discard(handing_on)

        handing_on.addBoth(over)

    async def _hand_on(self, found: _Set) -> None:
        wait_s = _RETRY_S
        while not self._stopped:
            try:
                await self._joined(_join(found))
                note = kept.name(JOINED, found.keys[0].partition(" ")[2])
                await self._pending().keep(
                    self._account.label, note, json.dumps(found.keys).encode("ascii")
                )
                return
            except TemporaryFailure:
                # The store is away; the parts are in it, and the repeats of this are recognized.
                await deferLater(self._clock, wait_s)
                wait_s = min(wait_s * 2, _LONGEST_RETRY_S)
            except Refused as e:
                self.log.warn(
                    "{gateway}: a text stays among what is kept until the next start: {reason}",
                    gateway=self._account.label,
                    reason=str(e),
                )
                return
            except Exception:
                # The parts stay in the store; the next start tries again.
                if not self._stopped:
                    self.log.failure(
                        "{gateway}: a text could not be joined", gateway=self._account.label
                    )
                return

    def _sweep(self) -> Deferred[None]:
        """Forget joined parts that no provider repeats any more."""
        try:
            reading = self._pending().of(self._account.label)
        except TemporaryFailure:
            return succeed(None)

        def forget(found: list[Kept]) -> Deferred[None]:
            before_ms = self._now_ms() - _REMEMBERED_MS
            keys: list[str] = []
            for each in found:
                if each.key.startswith(JOINED + " ") and each.kept_at_ms < before_ms:
                    # The note goes last: without it the parts would be joined again.
                    keys += [*_keys(each.value), each.key]
            return self._pending().drop(self._account.label, keys) if keys else succeed(None)

        sweeping: Deferred[Any] = reading.addCallback(forget)
        return sweeping.addErrback(lambda failure: failure.trap(TemporaryFailure) and None)

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)


def _join(found: _Set) -> Received:
    parts = [found.parts[number] for number in sorted(found.parts)]
    return evolve(
        parts[0],
        body="".join(each.body for each in parts),
        media=tuple(medium for each in parts for medium in each.media),
        part=None,
    )


def _keys(value: bytes) -> list[str]:
    try:
        found = json.loads(value)
    except ValueError:
        return []
    return [each for each in found if isinstance(each, str)] if isinstance(found, list) else []


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()
