"""
Hands due deliveries to gateways and records what became of them.

Everything is done by *lane*: a line, a stream, an address of record, whatever takes one thing after
another.  An open lane has a short queue in memory.  It is *complete* when that queue is all that
the store holds for the lane; then what is newly accepted is appended without asking the store, and
where the next hop recognizes repeats, or the lane has nothing else to do, it is even born
``sending`` in the transaction that accepts it.  As soon as anything disturbs this (too much at
once, a retry, a closed lane), the queue is given back and filled again from the store, in order.

Between asking whether a delivery may be born ``sending`` and its commit, a lane may change.  Each
change that matters gives the lane a new *epoch*; what was reserved in an older one is released when
it arrives, and what the store was asked for in an older one is thrown away.
"""

from __future__ import annotations

import itertools
from collections import deque
from collections.abc import Callable, Iterable, Sequence
from typing import Any, Final

from attrs import define, evolve, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, TimeoutError
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smsbridge.core import retry
from smsbridge.core.changes import Changes
from smsbridge.core.counts import Counts
from smsbridge.core.directory import World
from smsbridge.core.entries import Settlement
from smsbridge.core.message import (
    Delivery,
    Kind,
    NotTried,
    Outcome,
    Sent,
    Settled,
    Status,
    storable,
)
from smsbridge.core.textlog import TextLog
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.interfaces import IGateway, ILanes, ILookUp, IMessageStore

__all__ = ["Dispatcher"]

# Deliveries of one lane; the store is the queue.  As long as more is under way than this, a lane
# goes the long way of claims and looks into the store, which costs half as much again.
_IN_MEMORY: Final = 2000
_REFILL: Final = 1000
_SWEEP_EVERY_S: Final = 1.0
_SWEEP_OVERLAP_MS: Final = 10_000  # other nodes' clocks and long commits
_LOOK_AFTER_EVERY_S: Final = 15.0
_LEASE_MARGIN_MS: Final = 60_000  # an attempt is begun within this, or not at all
_AFTER_FAILURE_S: Final = 1.0  # how long a lane rests when the store or a gateway broke down
_LONGEST_REMOTE_ID: Final = 255
_LONGEST_WORDS: Final = 2000
_FAST_S: Final = 0.05  # a lane that settles a batch within this gets a larger one
_SLOW_S: Final = 0.2
# After these pauses the peer is asked about interrupted attempts; then what is unknown stays so.
_ASK_AFTER_S: Final = (0.0, 30.0, 120.0)
_ASK_AT_ONCE: Final = 4  # lines
_ASK_ABOUT: Final = 1000  # deliveries
_ASK_AGAIN_S: Final = 1.0  # when the gateway or the store was not ready


_Held = tuple[int, Delivery]


@define(eq=False)
class _Lane:
    name: str
    gateway: IGateway
    epoch: int
    is_open: bool = False
    complete: bool = False
    busy: bool = False
    refilling: bool = False
    reserved: int = 0  # born `sending` in this epoch, commit under way
    coming: int = 0  # found no place, commit under way: what is reserved now would be behind them
    size: int = 1
    resume_at: float = 0.0
    wake: IDelayedCall | None = None
    pumping: bool = False  # will be looked at when the answers of this commit have been given
    # Until when a delivery that is ours may be begun (0: it is not claimed yet), and the delivery.
    ready: deque[_Held] = field(factory=deque)
    in_hand: list[str] = field(factory=list)  # ids of what is being sent
    closed_for: tuple[str, str] = ("peer-down", "")


@implementer(ILanes)
class Dispatcher(Service):
    """
    Claims, sends, records.

    :param clock: seconds for pace and timers.
    :param now_ms: the time of day in milliseconds since 1970 UTC.
    :param chance: random numbers of [0, 1).
    :param notify_after_s: after this long a sender hears that the text still waits.
    """

    log = Logger()
    name = "dispatcher"

    def __init__(
        self,
        clock: IReactorTime,
        now_ms: Callable[[], int],
        chance: Callable[[], float],
        store: IMessageStore,
        world: World,
        changes: Changes,
        counts: Counts,
        notify_after_s: float = 120.0,
    ) -> None:
        self._clock = clock
        self._now_ms = now_ms
        self._chance = chance
        self._store = store
        self._world = world
        self._changes = changes
        self.notify_after_s = notify_after_s
        self._texts = TextLog(self.log, clock.seconds)
        self._gateways: dict[str, IGateway] = {}
        self._known: dict[str, IGateway] = {}  # also those that are gone: they still name lanes
        self._epochs = itertools.count(1)  # never used twice, so that a reservation fits one lane
        self.revision = 0  # changes when `lane_of` may answer otherwise
        self._lanes: dict[str, _Lane] = {}
        self._recovering: set[str] = set()  # gateways whose interrupted attempts are not decided on
        # Gateways whose peers are asked about such attempts, and whether there may be more by now.
        self._asking: dict[str, bool] = {}
        self._pauses: dict[Deferred[None], IDelayedCall] = {}
        self.counts = counts
        self._swept_until_ms = 0
        self._sweeper = LoopingCall(self._sweep)
        self._caretaker = LoopingCall(self._look_after)
        self._idle: list[Deferred[None]] = []
        self._ending = False

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Decide on what an earlier process left behind, then begin."""
        Service.startService(self)
        self._swept_until_ms = self._now_ms()
        for gateway in self._gateways.values():
            self._recover(gateway, own_too=True)
        for loop, interval in (
            (self._sweeper, _SWEEP_EVERY_S),
            (self._caretaker, _LOOK_AFTER_EVERY_S),
        ):
            loop.clock = self._clock
            loop.start(interval, now=False).addErrback(self._bug)

    def begin_nothing_more(self) -> None:
        """Leave what waits in the store from now on; the program is about to stop."""
        self._ending = True
        for lane in self._lanes.values():
            self._give_back(lane)

    def stopService(self) -> Deferred[None]:
        """
        Begin nothing more; fires when what is under way is recorded, after 10 s at the latest.
        """
        Service.stopService(self)
        for loop in (self._sweeper, self._caretaker):
            if loop.running:
                loop.stop()
        self.begin_nothing_more()
        for lane in self._lanes.values():
            self._sleep_on(lane)
        for pause, call in list(self._pauses.items()):
            call.cancel()
            pause.callback(None)
        done: Deferred[None] = Deferred()
        if not any(lane.busy for lane in self._lanes.values()):
            done.callback(None)
            return done
        self._idle.append(done)
        done.addTimeout(10.0, self._clock)
        return done.addErrback(lambda failure: failure.trap(TimeoutError) and None)

    def add_gateway(self, gateway: IGateway) -> None:
        """Make a gateway known; its lanes begin closed."""
        self._gateways[gateway.label] = self._known[gateway.label] = gateway
        self.revision += 1
        if self.running:
            # What this process began is in its hands; only what others left is to be decided.
            self._recover(gateway, own_too=False)

    def remove_gateway(self, label: str) -> None:
        """Forget a gateway that has stopped; what waits for it stays in the store."""
        self._gateways.pop(label, None)
        self._recovering.discard(label)
        for name in [name for name, lane in self._lanes.items() if lane.gateway.label == label]:
            lane = self._lanes.pop(name)
            lane.is_open = False
            self._give_back(lane)
            self._sleep_on(lane)

    def _recover(self, gateway: IGateway, own_too: bool) -> None:
        label = gateway.label
        self._recovering.add(label)
        mine = [label] if gateway.recognizes_repeats else []
        others = [] if gateway.recognizes_repeats else [label]

        def recovered(found: tuple[int, int, list[str]]) -> None:
            again, uncertain, lanes = found
            if again or uncertain:
                self.log.warn(
                    "{gateway}: of the attempts that were interrupted, {again} are made again, "
                    "{uncertain} may or may not have been sent",
                    gateway=label,
                    again=again,
                    uncertain=uncertain,
                )
            self.poke(lanes)
            if self._gateways.get(label) is not gateway:
                return  # the one in its place waits for a recovery of its own
            self._recovering.discard(label)
            for lane in list(self._lanes.values()):
                if lane.gateway is gateway:
                    self._pump(lane)
            self._ask_about_interrupted(label)

        def failed(failure: Failure) -> None:
            self._store_failed(failure)
            self._clock.callLater(_AFTER_FAILURE_S, try_again)

        def try_again() -> None:
            if self.running and self._gateways.get(label) is gateway:
                self._recover(gateway, own_too)

        self._store.recover(
            mine, others, self._now_ms(), own_too, _that_can_be_asked([gateway])
        ).addCallbacks(recovered, failed).addErrback(self._bug)

    # -- asking ----------------------------------------------------------------------------------

    def _ask_about_interrupted(self, label: str) -> None:
        """Find out from a gateway's peer what became of attempts that were interrupted."""
        gateway = self._gateways.get(label)
        if gateway is None or not ILookUp.providedBy(gateway) or self._ending:
            return
        if label in self._asking:
            self._asking[label] = True
            return
        self._asking[label] = False

        def asked(_: None) -> None:
            if self._asking.pop(label):
                self._ask_about_interrupted(label)

        Deferred.fromCoroutine(self._ask(gateway)).addErrback(self._bug).addCallback(asked)

    async def _ask(self, gateway: IGateway) -> None:
        asked = 0
        pause_s = _ASK_AFTER_S[0]
        while True:
            await self._pause(pause_s)
            if self._ending or self._gateways.get(gateway.label) is not gateway:
                return
            if not gateway.running:
                pause_s = _ASK_AGAIN_S  # it is about to start
                continue
            try:
                waiting = await self._store.interrupted(gateway.label, _ASK_ABOUT)
                if not waiting:
                    return
                asked += 1
                await self._ask_about(gateway, waiting, asked >= len(_ASK_AFTER_S))
            except TemporaryFailure as e:
                self.log.warn(
                    "{gateway}: could not decide on interrupted attempts: {reason}",
                    gateway=gateway.label,
                    reason=e.text,
                )
            pause_s = _ASK_AFTER_S[asked] if asked < len(_ASK_AFTER_S) else _ASK_AGAIN_S

    async def _ask_about(
        self, gateway: IGateway, waiting: Sequence[Delivery], is_last: bool
    ) -> None:
        """Ask line by line, a few lines at once; the deliveries of one group text are one."""
        lines: dict[str, dict[str, list[Delivery]]] = {}
        for delivery in waiting:
            name = delivery.message_id if delivery.group else delivery.delivery_id
            lines.setdefault(delivery.line, {}).setdefault(name, []).append(delivery)
        left = list(lines.values())
        trouble: list[TemporaryFailure] = []

        async def ask_about_lines() -> None:
            while left and not trouble and not self._ending:
                for same in left.pop().values():
                    try:
                        await self._ask_about_one(gateway, same, is_last)
                    except TemporaryFailure as e:
                        trouble.append(e)
                        return

        asking = [
            Deferred.fromCoroutine(ask_about_lines()) for _ in range(min(_ASK_AT_ONCE, len(left)))
        ]
        for each in asking:
            await each
        if trouble:
            raise trouble[0]

    async def _ask_about_one(
        self, gateway: IGateway, same: Sequence[Delivery], is_last: bool
    ) -> None:
        if self._ending:
            return
        outcome = await self._look_up(gateway, same[0])
        if isinstance(outcome, UnknownOutcome) and (self._ending or not is_last):
            return
        now_ms = self._now_ms()
        settlements = [
            Settlement(delivery, outcome, now_ms, None, self._tells_sent(delivery))
            for delivery in same
        ]
        lanes = await self._store.conclude(settlements)
        self.log.info(
            "{gateway}: {message_id} was interrupted; its next hop says: {status}",
            gateway=gateway.label,
            message_id=same[0].message_id,
            status=_SAID.get(type(outcome), "unknown"),
        )
        if self._changes:
            self._changes.tell([same[0].message_id])
        self.poke(lanes)

    async def _look_up(self, gateway: IGateway, delivery: Delivery) -> Outcome:
        try:
            asking: Deferred[Outcome] = ILookUp(gateway).look_up(delivery)
            if not asking.called:
                asking.addTimeout(gateway.settle_within_s, self._clock)
            outcome = _fit(await asking, UnknownOutcome())
        except (TimeoutError, TemporaryFailure, PermanentFailure):
            return UnknownOutcome()
        except Exception:
            # Whatever a gateway does, the others are asked, and this one again.
            self.log.failure("{gateway} failed to look up a text", gateway=gateway.label)
            return UnknownOutcome()
        return outcome if isinstance(outcome, Sent | NotTried) else UnknownOutcome()

    def _pause(self, seconds: float) -> Deferred[None]:
        """Fire after that time, or when the dispatcher stops."""
        done: Deferred[None] = Deferred()
        if seconds <= 0 or self._ending:
            done.callback(None)
            return done

        def over(result: None) -> None:
            del self._pauses[done]

        self._pauses[done] = self._clock.callLater(seconds, done.callback, None)
        return done.addCallback(over)

    # -- what gateways say -----------------------------------------------------------------------

    def lane_of(self, gateway: str, line: str, destination: str) -> str:
        """Name the lane of a delivery; for a gateway of another node, its label."""
        known = self._known.get(gateway)
        return known.lane(line, destination) if known is not None else gateway

    def recognizes_repeats(self, gateway: str) -> bool:
        """Whether the next hop behind a gateway takes a repeat for the same."""
        known = self._gateways.get(gateway)
        return known is not None and known.recognizes_repeats

    def open(self, gateway: str, lane: str) -> None:
        """See `ILanes.open`."""
        known = self._lane(gateway, lane)
        if known is not None and not known.is_open:
            known.is_open = True
            known.complete = False
            known.size = 1
            self._pump(known)

    def close(self, gateway: str, lane: str, reason: str, text: str = "") -> None:
        """See `ILanes.close`."""
        known = self._lane(gateway, lane)
        if known is None:
            return
        known.closed_for = (reason, text)
        if known.is_open:
            known.is_open = False
            self._give_back(known)

    def _lane(self, gateway: str, name: str) -> _Lane | None:
        lane = self._lanes.get(name)
        if lane is None:
            owner = self._gateways.get(gateway)
            if owner is not None:
                lane = self._lanes[name] = _Lane(name, owner, next(self._epochs))
        return lane

    def lane_states(self) -> dict[tuple[str, str], int]:
        """Count the lanes by gateway and by ``open`` or ``closed``."""
        found: dict[tuple[str, str], int] = {}
        for lane in self._lanes.values():
            key = (lane.gateway.label, "open" if lane.is_open else "closed")
            found[key] = found.get(key, 0) + 1
        return found

    def why_closed(self, lane: str) -> tuple[str, str] | None:
        """Return the reason and sentence for which a lane is closed, None if it is open."""
        known = self._lanes.get(lane)
        if known is None:
            return ("peer-down", "")
        return None if known.is_open else known.closed_for

    # -- what the inbox says ---------------------------------------------------------------------

    def reserve(self, lane: str, group: bool = False) -> int | None:
        """
        Ask whether a delivery about to be committed may be born ``sending``.

        Where the next hop recognizes no repeats, this is for the one that is begun as soon as it
        is committed: a crash makes it uncertain as it would between a claim and the first byte.

        :param group: it is one of several that are claimed together, so that no crash parts them.

        Returns what `arrived` wants to hear again, or None: it is born queued.
        """
        known = self._lanes.get(lane)
        if known is None:
            return None
        if (
            group
            or not known.is_open
            or not known.complete
            or not (known.gateway.recognizes_repeats or self._is_idle(known))
            or len(known.ready) + known.reserved >= _IN_MEMORY
            or known.gateway.label in self._recovering
            or self._ending
        ):
            known.coming += 1
            return None
        known.reserved += 1
        return known.epoch

    def _is_idle(self, lane: _Lane) -> bool:
        return not (
            lane.busy
            or lane.ready
            or lane.reserved
            or lane.coming
            or lane.resume_at > self._clock.seconds()
        )

    def lease_ms(self, gateway: str) -> int:
        """Return for how long an attempt of a gateway is ours."""
        known = self._gateways.get(gateway)
        seconds = known.settle_within_s if known is not None else 0.0
        return int(seconds * 1000) + _LEASE_MARGIN_MS

    def arrived(self, delivery: Delivery, reservation: int | None) -> None:
        """Take note of a delivery that was committed just now."""
        lane = self._lanes.get(delivery.lane)
        if reservation is not None:
            if lane is None or lane.epoch != reservation or not self._begins_now(lane):
                self._record([(delivery, NotTried())])
            else:
                lane.reserved -= 1
                lane.ready.append((delivery.created_at_ms + _LEASE_MARGIN_MS, delivery))
        elif lane is not None:
            lane.coming = max(0, lane.coming - 1)  # notices ask for no place
            if lane.complete and (
                len(lane.ready) < _IN_MEMORY or _belong_together(lane.ready[-1][1], delivery)
            ):
                lane.ready.append((0, delivery))
            else:
                lane.complete = False
                if lane.reserved:
                    self._turn(lane)  # what was reserved after it must not overtake it
        if lane is not None and not lane.busy and not lane.pumping:
            # What was committed together is sent together.
            lane.pumping = True
            self._store.after_answers(lambda: self._pump_arrivals(lane))

    def _begins_now(self, lane: _Lane) -> bool:
        """Tell whether what arrives is sent at once, or the next hop recognizes a repeat of it."""
        return lane.gateway.recognizes_repeats or not (lane.busy or lane.ready)

    def _pump_arrivals(self, lane: _Lane) -> None:
        lane.pumping = False
        self._pump(lane)

    def not_arrived(self, lane: str, reservation: int | None) -> None:
        """Take a reservation back: the commit failed, or it was a repeat."""
        known = self._lanes.get(lane)
        if known is None:
            return
        if reservation is None:
            known.coming = max(0, known.coming - 1)
        elif known.epoch == reservation:
            known.reserved -= 1

    def poke(self, lanes: Iterable[str]) -> None:
        """Look into the store for these lanes: it got something that memory does not have."""
        for name in dict.fromkeys(lanes):
            lane = self._lanes.get(name)
            if lane is not None:
                lane.complete = False
                self._pump(lane)

    # -- sending ---------------------------------------------------------------------------------

    def _pump(self, lane: _Lane) -> None:
        """Begin with what the lane has, or look for more."""
        if (
            lane.busy
            or not lane.is_open
            or not self.running
            or self._ending
            or lane.gateway.label in self._recovering
        ):
            return
        if not lane.ready:
            if not lane.complete:
                self._refill(lane)
            return
        lane.busy = True
        Deferred.fromCoroutine(self._work(lane)).addErrback(self._bug)

    def _refill(self, lane: _Lane) -> None:
        if lane.refilling:
            return
        lane.refilling = True
        epoch = lane.epoch
        now_ms = self._now_ms()
        # Where repeats are harmless, what is read is claimed at once: one commit instead of two.
        lease_until_ms = 0
        if lane.gateway.recognizes_repeats:
            lease_until_ms = now_ms + self.lease_ms(lane.gateway.label)
        until_ms = now_ms + _LEASE_MARGIN_MS if lease_until_ms else 0

        def filled(found: tuple[list[Delivery], bool]) -> None:
            lane.refilling = False
            deliveries, complete = found
            if lane.epoch != epoch or not lane.is_open:
                if lease_until_ms and deliveries:
                    self._record([(delivery, NotTried()) for delivery in deliveries])
                self._pump(lane)
                return
            lane.ready.extend((until_ms, delivery) for delivery in deliveries)
            lane.complete = complete
            if deliveries:
                self._pump(lane)

        def failed(failure: Failure) -> None:
            lane.refilling = False
            self._store_failed(failure)
            self._wake_after(lane, _AFTER_FAILURE_S)

        self._store.refill(lane.name, now_ms, _REFILL, lease_until_ms, lane.in_hand).addCallbacks(
            filled, failed
        ).addErrback(self._bug)

    async def _work(self, lane: _Lane) -> None:
        """Send what is ready, batch after batch."""
        try:
            while lane.ready and lane.is_open and not self._ending:
                pause = lane.resume_at - self._clock.seconds()
                if pause > 0:
                    self._wake_after(lane, pause)
                    return
                held = self._take(lane)
                lane.in_hand = [delivery.delivery_id for _, delivery in held]
                if not lane.ready and not lane.complete:
                    self._refill(lane)  # meanwhile
                await self._send(lane, held)
        except Exception:
            # Whatever broke, the lane goes on after a rest, with what the store has of it.
            self.log.failure("{lane} broke down", lane=lane.name)
            self._give_back(lane)
            lane.resume_at = self._clock.seconds() + _AFTER_FAILURE_S
        finally:
            lane.in_hand = []
            lane.busy = False
            if self._ending:
                self._note_idle()
        self._pump(lane)

    def _take(self, lane: _Lane) -> list[_Held]:
        gateway = lane.gateway
        # Where a crash makes texts uncertain for good, a slow peer is not handed more than one.
        is_harmless = gateway.recognizes_repeats or ILookUp.providedBy(gateway)
        size = gateway.batch_size if is_harmless else lane.size
        ready = lane.ready
        first = ready[0][1]
        if self._pace(first) > 0:
            size = 1
        elif first.status is Status.SENDING and not gateway.recognizes_repeats:
            size = 1  # it must not wait for a claim of those behind it
        taken = [ready.popleft() for _ in range(min(size, len(ready)))]
        while ready and _belong_together(taken[-1][1], ready[0][1]):
            taken.append(ready.popleft())
        return taken

    def _pace(self, delivery: Delivery) -> float:
        if not delivery.line or delivery.person:
            return 0.0
        line = self._world.directory.lines.get(delivery.line)
        return line.pace if line is not None else 0.0

    async def _send(self, lane: _Lane, held: list[_Held]) -> None:
        now_ms = self._now_ms()
        # The lease of the first of them ends long after this.
        until_ms = min(
            (until_ms for until_ms, _ in held if until_ms), default=now_ms + _LEASE_MARGIN_MS
        )
        batch = [delivery for _, delivery in held]
        late = [delivery for delivery in batch if delivery.expires_at_ms <= now_ms]
        if late:
            self._record([(delivery, TemporaryFailure("expired")) for delivery in late])
            batch = [delivery for delivery in batch if delivery.expires_at_ms > now_ms]
        unclaimed = [delivery for delivery in batch if delivery.status is Status.QUEUED]
        if unclaimed:
            until_ms = min(until_ms, now_ms + _LEASE_MARGIN_MS)
            claimed = await self._claim(lane, unclaimed, now_ms)
            if claimed is None:
                born = [delivery for delivery in batch if delivery.status is Status.SENDING]
                self._record([(delivery, NotTried()) for delivery in born])
                return
            batch = [
                evolve(delivery, status=Status.SENDING, attempts=delivery.attempts + 1)
                if delivery.status is Status.QUEUED
                else delivery
                for delivery in batch
                if delivery.status is not Status.QUEUED or delivery.delivery_id in claimed
            ]
            batch = self._whole(batch, unclaimed, claimed)
        if not batch:
            return
        overdue = self._now_ms() >= until_ms
        if not lane.is_open or self._ending or overdue:
            self._record([(delivery, NotTried()) for delivery in batch])
            return
        began = self._clock.seconds()
        outcomes = await self._deliver(lane, batch)
        took = self._clock.seconds() - began
        if took < _FAST_S and len(batch) >= lane.size:
            lane.size = min(lane.size * 2, lane.gateway.batch_size)
        elif took > _SLOW_S:
            lane.size = max(1, lane.size // 2)
        pace = self._pace(batch[0])
        if pace > 0:
            lane.resume_at = began + pace
        self._record(
            [
                (delivery, outcome)
                for delivery, outcome in zip(batch, outcomes, strict=True)
                if not isinstance(outcome, Deferred)
            ],
            lane,
        )
        self._wait_for(lane, batch, outcomes)

    def _wait_for(
        self, lane: _Lane, batch: Sequence[Delivery], outcomes: Sequence[Settled]
    ) -> None:
        """Record later what is still being found out; the store holds back what comes after it."""
        finding: dict[int, tuple[Deferred[Outcome], list[Delivery]]] = {}
        for delivery, outcome in zip(batch, outcomes, strict=True):
            if isinstance(outcome, Deferred):
                finding.setdefault(id(outcome), (outcome, []))[1].append(delivery)
        if not finding:
            return
        self._give_back(lane)
        for found, same in finding.values():
            found.addTimeout(lane.gateway.settle_within_s, self._clock)
            found.addBoth(self._found, lane, same).addErrback(self._bug)

    def _found(self, result: Any, lane: _Lane, same: Sequence[Delivery]) -> None:
        unknown = UnknownOutcome()
        if isinstance(result, Failure):
            if not result.check(TimeoutError):
                self.log.failure(
                    "{gateway} failed to find a text", failure=result, gateway=lane.gateway.label
                )
            result = unknown
        outcome = _fit(result, unknown)
        self._record([(delivery, outcome) for delivery in same], lane, wakes=True)

    def _whole(
        self, batch: list[Delivery], unclaimed: Sequence[Delivery], claimed: set[str]
    ) -> list[Delivery]:
        """Leave out group texts of which a part was dropped meanwhile, or is another node's."""
        parted = {
            delivery.message_id
            for delivery in unclaimed
            if delivery.group and delivery.delivery_id not in claimed
        }
        if not parted:
            return batch
        out = [each for each in batch if each.group and each.message_id in parted]
        self._record([(delivery, NotTried()) for delivery in out])
        return [each for each in batch if not (each.group and each.message_id in parted)]

    async def _claim(
        self, lane: _Lane, unclaimed: Sequence[Delivery], now_ms: int
    ) -> set[str] | None:
        """Return the ids that are ours now; None if the store could not be asked."""
        lease = now_ms + self.lease_ms(lane.gateway.label)
        try:
            claimed: set[str] = await self._store.claim(
                [delivery.delivery_id for delivery in unclaimed], now_ms, lease
            )
        except TemporaryFailure as e:
            self.log.warn("could not claim for {lane}: {reason}", lane=lane.name, reason=e.text)
            self._give_back(lane)
            lane.resume_at = self._clock.seconds() + _AFTER_FAILURE_S
            return None
        if self._changes:
            self._changes.tell(delivery.message_id for delivery in unclaimed)
        return claimed

    async def _deliver(self, lane: _Lane, batch: list[Delivery]) -> Sequence[Settled]:
        gateway = lane.gateway
        lost: Outcome = (
            TemporaryFailure("internal") if gateway.recognizes_repeats else UnknownOutcome()
        )
        try:
            attempt: Deferred[Any] = gateway.deliver(lane.name, batch)
            if not attempt.called:
                attempt.addTimeout(gateway.settle_within_s, self._clock)
            outcomes = await attempt
            if len(outcomes) == len(batch):
                return [
                    outcome if isinstance(outcome, Deferred) else _fit(outcome, lost)
                    for outcome in outcomes
                ]
            self.log.error(
                "{gateway} settled {settled} of {given} deliveries",
                gateway=gateway.label,
                settled=len(outcomes),
                given=len(batch),
            )
        except TimeoutError:
            self.log.warn(
                "{gateway} did not settle a delivery of {lane} in time",
                gateway=gateway.label,
                lane=lane.name,
            )
        except Exception:
            # Whatever a gateway does must not end the lane; nobody knows what left.
            self.log.failure("{gateway} failed to deliver", gateway=gateway.label)
        return [lost] * len(batch)

    # -- recording -------------------------------------------------------------------------------

    def _record(
        self,
        results: Sequence[tuple[Delivery, Outcome]],
        lane: _Lane | None = None,
        *,
        wakes: bool = False,
    ) -> None:
        """
        Settle attempts; a lane in which one must be made again is filled anew, in order.

        :param wakes: what they held back in their lanes may go on.
        """
        now_ms = self._now_ms()
        settlements: list[Settlement] = []
        disturbed = False
        together: dict[str, int | None] = {}  # when a group text is sent again
        for delivery, outcome in results:
            retry_at_ms = None
            if isinstance(outcome, TemporaryFailure):
                retry_at_ms = self._retry_at(delivery, outcome, lane, now_ms)
                if delivery.group:
                    retry_at_ms = together.setdefault(delivery.message_id, retry_at_ms)
                disturbed = True
            elif isinstance(outcome, NotTried):
                disturbed = True
            settlements.append(
                Settlement(delivery, outcome, now_ms, retry_at_ms, self._tells_sent(delivery))
            )
        self._count(settlements)
        settlements = [each for each in settlements if not self._is_for_later(each)]
        if disturbed:
            for name in {delivery.lane for delivery, _ in results}:
                known = self._lanes.get(name)
                if known is not None:
                    self._give_back(known)

        def settled(lanes: list[str]) -> None:
            if lanes:
                self.poke(lanes)
            if wakes:
                self.poke(delivery.lane for delivery, _ in results)
            if self._changes:
                self._changes.tell(s.delivery.message_id for s in settlements)

        if settlements:
            self._store.settle(settlements).addCallbacks(settled, self._store_failed)

    def _is_for_later(self, settlement: Settlement) -> bool:
        """
        Tell whether an attempt was interrupted by our own end and its peer can be asked.

        It stays as it is, so that the next process asks.
        """
        gateway = self._known.get(settlement.delivery.gateway)
        return (
            self._ending
            and isinstance(settlement.outcome, UnknownOutcome)
            and gateway is not None
            and bool(_that_can_be_asked([gateway]))
        )

    def _retry_at(
        self, delivery: Delivery, failure: TemporaryFailure, lane: _Lane | None, now_ms: int
    ) -> int | None:
        if failure.reason == "expired":
            return None
        if lane is not None and not lane.is_open and failure.retry_after_s is None:
            return now_ms  # the closed lane holds it back
        delay = retry.delay_s(delivery.attempts, self._chance(), failure.retry_after_s)
        at_ms = now_ms + int(delay * 1000)
        return at_ms if at_ms < delivery.expires_at_ms else None

    def _tells_sent(self, delivery: Delivery) -> bool:
        if delivery.kind is not Kind.MESSAGE or delivery.person or not delivery.line:
            return False
        line = self._world.directory.lines.get(delivery.line)
        return line is not None and line.receipts == "submitted"

    def _give_back(self, lane: _Lane) -> None:
        """Empty the queue in memory; what was born ``sending`` becomes queued again."""
        self._turn(lane)
        lane.complete = False
        born = [
            (delivery, NotTried())
            for _, delivery in lane.ready
            if delivery.status is Status.SENDING
        ]
        lane.ready.clear()
        if born:
            now_ms = self._now_ms()
            self._store.settle(
                [Settlement(delivery, outcome, now_ms) for delivery, outcome in born]
            ).addErrback(self._store_failed)

    def _turn(self, lane: _Lane) -> None:
        """Begin a new epoch: reservations and refills that are under way do not count any more."""
        lane.epoch = next(self._epochs)
        lane.reserved = 0

    def _count(self, settlements: Sequence[Settlement]) -> None:
        for settlement in settlements:
            delivery, outcome = settlement.delivery, settlement.outcome
            counts = self.counts
            if isinstance(outcome, Sent):
                status = Status.DELIVERED if outcome.delivered else Status.SENT
                counts.settled[delivery.gateway, status] += 1
                if delivery.kind is Kind.MESSAGE:
                    self._texts.info(
                        "{gateway}: {message_id} is {status}",
                        gateway=delivery.gateway,
                        message_id=delivery.message_id,
                        remote_id=outcome.remote_id,
                        status=status.value,
                        attempt=delivery.attempts,
                    )
                continue
            if isinstance(outcome, NotTried):
                continue
            if isinstance(outcome, UnknownOutcome):
                counts.settled[delivery.gateway, Status.UNCERTAIN] += 1
            elif isinstance(outcome, PermanentFailure):
                counts.settled[delivery.gateway, Status.FAILED] += 1
            elif settlement.retry_at_ms is None:
                counts.settled[delivery.gateway, Status.EXPIRED] += 1
            else:
                counts.retried[delivery.gateway, outcome.reason] += 1
            self.log.info(
                "{gateway}: {message_id} attempt {attempt}: {reason} {detail}",
                gateway=delivery.gateway,
                message_id=delivery.message_id,
                attempt=delivery.attempts,
                reason=outcome.reason,
                detail=outcome.detail,
            )

    # -- looking after ---------------------------------------------------------------------------

    def retry_at_ms(self, attempts: int = 1) -> int:
        """Return when a delivery that the next hop gave back may be sent again."""
        return self._now_ms() + int(retry.delay_s(attempts, self._chance()) * 1000)

    def _wake_after(self, lane: _Lane, seconds: float) -> None:
        if lane.wake is not None:
            return

        def wake() -> None:
            lane.wake = None
            self._pump(lane)

        lane.wake = self._clock.callLater(seconds, wake)

    def _sleep_on(self, lane: _Lane) -> None:
        if lane.wake is not None:
            lane.wake.cancel()
            lane.wake = None

    def _sweep(self) -> Any:
        """Find lanes in which something has become due: a retry, or the work of another node."""
        until_ms = self._now_ms()
        after_ms = self._swept_until_ms - _SWEEP_OVERLAP_MS

        def due(lanes: list[str]) -> None:
            self._swept_until_ms = until_ms
            self.poke(lanes)

        return (
            self._store.lanes_due(after_ms, until_ms)
            .addCallbacks(due, self._store_failed)
            .addErrback(self._bug)
        )

    def _look_after(self) -> Any:
        """Tell senders what waits, expire what waited too long, take over what a dead node left."""
        now_ms = self._now_ms()
        # Without a time nobody is told; what waited too long is given up all the same.
        patience_ms = int(self.notify_after_s * 1000) if self.notify_after_s > 0 else now_ms
        closed = {lane.name: lane.closed_for for lane in self._lanes.values() if not lane.is_open}
        self._store.tell_waiting(now_ms - patience_ms, now_ms, closed).addCallbacks(
            self.poke, self._store_failed
        ).addErrback(self._bug)
        repeatable = [g.label for g in self._gateways.values() if g.recognizes_repeats]
        others = [g.label for g in self._gateways.values() if not g.recognizes_repeats]

        asked = _that_can_be_asked(self._gateways.values())

        def taken_over(found: tuple[int, int, list[str]]) -> None:
            _, uncertain, lanes = found
            self.poke(lanes)
            if uncertain:
                for label in asked:
                    self._ask_about_interrupted(label)

        return (
            self._store.recover(repeatable, others, now_ms, False, asked)
            .addCallbacks(taken_over, self._store_failed)
            .addErrback(self._bug)
        )

    def _note_idle(self) -> None:
        if self._idle and not any(lane.busy for lane in self._lanes.values()):
            waiting, self._idle = self._idle, []
            for done in waiting:
                done.callback(None)

    def _store_failed(self, failure: Failure) -> None:
        if failure.check(TemporaryFailure):
            self.log.error("the store did not take a record: {reason}", reason=str(failure.value))
        else:
            self.log.failure("the store failed", failure=failure)

    def _bug(self, failure: Failure) -> None:
        self.log.failure("the dispatcher failed", failure=failure)


_SAID: Final = {Sent: "sent", NotTried: "never heard of it"}


def _that_can_be_asked(gateways: Iterable[IGateway]) -> list[str]:
    return [
        gateway.label
        for gateway in gateways
        if ILookUp.providedBy(gateway) and not gateway.recognizes_repeats
    ]


def _belong_together(one: Delivery, other: Delivery) -> bool:
    """Tell whether two deliveries are of one group text, which is handed over whole."""
    return one.group and other.group and one.message_id == other.message_id


def _fit(outcome: Outcome, lost: Outcome) -> Outcome:
    """
    Make an outcome that the store can take, whatever the peer's words are.

    One that it cannot take would spoil the record of the whole batch.
    """
    if isinstance(outcome, Sent):
        remote_id = storable(outcome.remote_id)[:_LONGEST_REMOTE_ID]
        return outcome if remote_id == outcome.remote_id else evolve(outcome, remote_id=remote_id)
    if isinstance(outcome, TemporaryFailure | PermanentFailure | UnknownOutcome):
        outcome.text = storable(outcome.text)[:_LONGEST_WORDS]
        outcome.detail = storable(outcome.detail)[:_LONGEST_WORDS]
        return outcome
    return outcome if isinstance(outcome, NotTried) else lost
