"""
Turns what changes in the bridge into events for the browsers and programs that listen.

Changes are gathered for a moment and read once for all listeners; who sees what is decided in
memory.  One round ends before the next begins, and each reads what is committed by then, so that a
status never goes backwards for anybody.

Every event has an id ``TIME-BOOT-NUMBER``.  A listener that comes back with one gets what has
changed since: from the list of the last changes where that is long enough, and otherwise, after a
restart of the daemon too, from the store, by the time in the id.  It may get something twice and
misses nothing; where too much has changed it is told to read anew.  Events are told to the
listeners of this process alone: what another node accepts is seen at the next reading.
"""

from __future__ import annotations

import itertools
import re
from collections import OrderedDict
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import define, evolve, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.server import Request

from smsbridge.core.directory import World
from smsbridge.core.hiding import Hidden, Hiding
from smsbridge.core.message import Direction
from smsbridge.core.records import LineStatus, MessageRecord
from smsbridge.core.threads import ConversationQuery, ConversationRecord, Threads, Viewer
from smsbridge.errors import TemporaryFailure
from smsbridge.web import shapes
from smsbridge.web.access.caller import Caller
from smsbridge.web.api.operation import ApiError
from smsbridge.web.bridge import IBridge, MessageFilter
from smsbridge.web.eventstream import EventStream, event

__all__ = ["KINDS", "EventId", "LiveHub", "Shaping", "sees"]

#: What can be listened for; ``hello`` and ``reset`` come to everybody.
KINDS: Final = ("message", "conversation", "contacts", "lines")

_GATHER_S: Final = 0.02
_AFTER_FAILURE_S: Final = 1.0
_AT_ONCE: Final = 100  # changes told in one round; the reactor must not stand still for long
_READ_AT_ONCE: Final = 500
_REST: Final = 3.0  # times the work of a round: under a flood listeners get a quarter of the time
_MOST_PENDING: Final = 20_000
_RING: Final = 2000
_LINGER_S: Final = 60.0  # how long changes are noted for listeners that went away
_LOOK_EVERY_S: Final = 5.0
_KEEP_ALIVE_EVERY: Final = 4  # of these looks
#: How long a stream lasts.  A listener comes back without a loss, and is asked again who it is: its
#: session may have ended on another node.
_LIFE_S: Final = 3600.0
_HELLO_AGAIN_AFTER: Final = _RING // 4  # changes that did not concern a listener
_MARGIN_MS: Final = 5000  # between a time in the store and its commit
_LONGEST_GAP_MS: Final = 86_400_000
_MOST_CAUGHT_UP: Final = 1000
_WINDOW_MS: Final = 60_000
_NEW_MS: Final = 60_000
_KNOWN: Final = 20_000


class Shaping(Protocol):
    """How what is told looks as JSON: the same as in the API's answers."""

    def message(self, record: MessageRecord, viewer: Viewer) -> Mapping[str, object]:
        """Shape a message as its viewer sees it."""

    def conversation(self, record: ConversationRecord, viewer: Viewer) -> Mapping[str, object]:
        """Shape a conversation as its viewer sees it."""

    def line(self, status: LineStatus) -> Mapping[str, object]:
        """Shape the state of a line."""


@frozen
class EventId:
    """The id of an event: until when, in which run of the daemon, and which change."""

    at_ms: int
    boot: str
    number: int

    def __str__(self) -> str:
        return f"{self.at_ms}-{self.boot}-{self.number}"

    @classmethod
    def parse(cls, text: str) -> EventId | None:
        """Read an id; None for what is none of ours."""
        found = re.fullmatch(r"([0-9]{1,15})-([0-9a-z]{1,32})-([0-9]{1,15})", text.strip())
        return cls(int(found[1]), found[2], int(found[3])) if found is not None else None


def sees(viewer: Viewer, record: MessageRecord) -> bool:
    """Tell whether a message is in a conversation that the viewer may see; see `Viewer`."""
    if record.line:
        return record.line in viewer.lines
    return viewer.takes_part((record.author, *record.recipients))


@define(eq=False)
class _Listener:
    """One stream, and up to where it has been told."""

    stream: EventStream
    caller: Caller
    kinds: frozenset[str]
    told: EventId
    began_s: float

    def has_ended(self, now_ms: int) -> bool:
        """Tell whether the token that it came with is worth nothing any more."""
        return self.caller.until_ms is not None and self.caller.until_ms <= now_ms

    @property
    def audience(self) -> tuple[str, tuple[str, ...]]:
        return self.caller.label, self.caller.only_lines


@frozen
class _Happening:
    """One event without its id."""

    kind: str
    data: bytes


# What the list of changes is keyed by: a kind, what changed, and for whom (empty: who may see it).
_Key = tuple[str, str, str]


class LiveHub(Service):
    """
    Tells everybody who listens.

    :param boot: names this run of the daemon: a few random letters and digits.
    :param version: of smsbridge, for a page to know when it is out of date.
    """

    log = Logger()
    name = "live"

    def __init__(
        self,
        reactor: Any,
        now_ms: Callable[[], int],
        bridge: IBridge,
        threads: Threads,
        hiding: Hiding,
        world: World,
        shaping: Shaping,
        boot: str,
        version: str = "",
        *,
        most_listeners: int = 1000,
        most_per_person: int = 20,
    ) -> None:
        self._reactor = reactor
        self._now_ms = now_ms
        self._bridge = bridge
        self._threads = threads
        self._hiding = hiding
        self._world = world
        self._shaping = shaping
        self._boot = boot
        self._version = version
        self._most_listeners = most_listeners
        self._most_per_person = most_per_person
        self._listeners: dict[_Listener, None] = {}
        self._arriving: list[_Listener] = []
        self._observers: list[Callable[[MessageRecord], None]] = []
        self._unfollow: Callable[[], None] | None = None
        self._number = 0
        self._drained_ms = now_ms()  # everything up to then has been told
        self._floor = 0  # changes up to this one are not in the list any more
        self._ring: OrderedDict[_Key, int] = OrderedDict()
        self._pending: dict[_Key, None] = {}
        self._known: OrderedDict[str, None] = OrderedDict()  # messages that were new once
        self._newest: OrderedDict[str, str] = OrderedDict()  # conversation -> message, as far known
        self._working = False
        self._timer: Any = None
        self._looker = LoopingCall(self._look)
        self._looks = 0
        self._left_at_s: float | None = None
        self._line_states: dict[str, LineStatus] = {}

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin; costs nothing while nobody listens."""
        Service.startService(self)
        self._looker.clock = self._reactor
        if self._observers:
            self._follow()

    def stopService(self) -> None:
        """End all streams."""
        Service.stopService(self)
        if self._looker.running:
            self._looker.stop()
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self._forget()
        for listener in [*self._listeners, *self._arriving]:
            listener.stream.close()

    @property
    def _hello(self) -> bytes:
        return shapes.encode({"version": self._version})

    # -- who listens -----------------------------------------------------------------------------

    def __len__(self) -> int:
        return len(self._listeners) + len(self._arriving)

    def listen(
        self, request: Request, caller: Caller, kinds: Iterable[str] = (), last_id: str = ""
    ) -> Deferred[None]:
        """
        Answer a request with events from now on; fires when the stream is over.

        :param kinds: of `KINDS`; none means all.
        :param last_id: of the last event that the listener got before a break.
        :raises ApiError: there are too many listeners, or the daemon is stopping.
        """
        self._check_room(caller)
        now = EventId(self._now_ms(), self._boot, self._number)
        came_with = EventId.parse(last_id)
        listener: _Listener
        stream = EventStream(request, lambda: self._left(listener))
        listener = _Listener(
            stream,
            caller,
            frozenset(kinds) or frozenset(KINDS),
            came_with or now,
            self._reactor.seconds(),
        )
        if not stream.is_open:  # it left while it was found out who it is
            return stream.ended
        stream.send(event("hello", self._hello, str(listener.told)))
        self._left_at_s = None
        self._follow()
        if not self._looker.running:
            self._line_states = {status.line: _lasting(status) for status in self._bridge.lines()}
            self._looker.start(_LOOK_EVERY_S, now=False).addErrback(self._bug)
        if came_with is None:
            if last_id.strip():
                stream.send(event("reset", b"{}", str(now)))
            self._listeners[listener] = None
        else:
            self._arriving.append(listener)
            self._wake()
        return stream.ended

    def _check_room(self, caller: Caller) -> None:
        if not self.running:
            raise ApiError(
                503, "internal", "The bridge is stopping; try again.", headers={"Retry-After": "5"}
            )
        if len(self) >= self._most_listeners:
            raise ApiError(
                429,
                "throttled",
                f"{self._most_listeners} windows and programs listen already; try again later.",
                headers={"Retry-After": "60"},
            )
        own = sum(
            listener.caller.label == caller.label
            for listener in itertools.chain(self._listeners, self._arriving)
        )
        if own >= self._most_per_person:
            raise ApiError(
                429,
                "throttled",
                f"{own} windows and programs of {caller.label} listen already; close some of them.",
                headers={"Retry-After": "60"},
            )

    def _left(self, listener: _Listener) -> None:
        self._listeners.pop(listener, None)
        if listener in self._arriving:
            self._arriving.remove(listener)
        if not len(self):
            self._left_at_s = self._reactor.seconds()

    def caller_ended(self, name: str) -> None:
        """End the streams of a session that logged out, or of a token that was removed."""
        for listener in [*self._listeners, *self._arriving]:
            if listener.caller.name == name:
                listener.stream.close()

    def observe(self, observer: Callable[[MessageRecord], None]) -> Callable[[], None]:
        """
        Call back with every message that is new, as it was when it was read.

        Returns what ends it.  It costs a read for each round of new messages.
        """
        self._observers.append(observer)
        if self.running:
            self._follow()

        def stop() -> None:
            if observer in self._observers:
                self._observers.remove(observer)

        return stop

    # -- what happens ----------------------------------------------------------------------------

    def conversation_changed(self, person: str, conversation: str) -> None:
        """See `backend.Live`."""
        self._note([("conversation", conversation, person)])

    def contacts_changed(self, person: str) -> None:
        """See `backend.Live`."""
        self._note([("contacts", "", person)])

    def _follow(self) -> None:
        if self._unfollow is None:
            # What happened before is not in the list.
            self._number += 1
            self._floor = self._number
            self._unfollow = self._bridge.follow(self._changed)

    def _forget(self) -> None:
        if self._unfollow is not None:
            self._unfollow()
            self._unfollow = None
        self._ring.clear()
        self._pending.clear()
        self._floor = self._number

    def _changed(self, message_ids: Collection[str]) -> None:
        if len(self) or self._left_at_s is not None:
            self._note([("message", message_id, "") for message_id in message_ids])
            return
        # Only observers: what they know already is not read again, and the list has gaps.
        self._note([("message", each, "") for each in message_ids if self._may_be_new(each)])
        self._ring.clear()
        self._number += 1
        self._floor = self._number

    def _note(self, keys: Iterable[_Key]) -> None:
        if self._unfollow is None:
            return  # nobody listens, or has listened a moment ago
        ring = self._ring
        for key in keys:
            self._number += 1
            ring[key] = self._number
            ring.move_to_end(key)
            self._pending[key] = None
        while len(ring) > _RING:
            self._floor = ring.popitem(last=False)[1]
        if len(self._pending) > _MOST_PENDING:
            self._pending.clear()
            self._all_reset()
        self._wake()

    def _all_reset(self) -> None:
        now = EventId(self._now_ms(), self._boot, self._number)
        for listener in list(self._listeners):
            self._reset(listener, now)

    def _reset(self, listener: _Listener, now: EventId) -> None:
        listener.told = now
        listener.stream.send(event("reset", b"{}", str(now)))

    def _may_be_new(self, message_id: str) -> bool:
        """Tell by the time in its id (RFC 9562, UUID version 7) whether a message is new."""
        if message_id in self._known:
            return False
        try:
            made_ms = int(message_id[:8] + message_id[9:13], 16)
        except ValueError:
            return True
        return made_ms > self._now_ms() - _NEW_MS

    # -- rounds ----------------------------------------------------------------------------------

    def _wake(self, delay_s: float = _GATHER_S) -> None:
        if self._timer is None and not self._working and self.running:
            self._timer = self._reactor.callLater(delay_s, self._begin)

    def _begin(self) -> None:
        self._timer = None
        self._working = True
        began_s = self._reactor.seconds()
        Deferred.fromCoroutine(self._round()).addErrback(self._round_failed).addCallback(
            self._round_ended, began_s
        ).addErrback(self._bug)

    def _round_failed(self, failure: Failure) -> float:
        if not failure.check(TemporaryFailure):
            # A mistake of ours: nobody may miss anything for it.
            self.log.failure("events could not be told", failure=failure)
            self._all_reset()
        return _AFTER_FAILURE_S

    def _round_ended(self, rest_s: float | None, began_s: float) -> None:
        self._working = False
        if self._pending or self._arriving:
            took_s = self._reactor.seconds() - began_s
            self._wake(rest_s if rest_s is not None else max(_GATHER_S, min(_REST * took_s, 1.0)))

    async def _round(self) -> None:
        pending = list(itertools.islice(self._pending, _AT_ONCE))
        for key in pending:
            del self._pending[key]
        now_ms = self._now_ms()
        if self._pending:
            # What is left for the next round has not been told by the end of this one.
            number = min(self._ring.get(key, 1) for key in self._pending) - 1
            now = EventId(self._drained_ms, self._boot, number)
        else:
            now = EventId(now_ms, self._boot, self._number)
        arriving, self._arriving = self._arriving, []
        try:
            await self._tell(pending, arriving, now)
        except TemporaryFailure:
            self._pending = dict.fromkeys([*pending, *self._pending])
            still = [listener for listener in arriving if listener.stream.is_open]
            self._arriving = [*still, *self._arriving]
            raise
        except BaseException:
            self._listeners.update(
                (listener, None) for listener in arriving if listener.stream.is_open
            )
            raise
        if now.number == self._number:
            self._drained_ms = now_ms

    async def _tell(
        self, pending: Sequence[_Key], arriving: Sequence[_Listener], now: EventId
    ) -> None:
        missed = await self._missed(arriving)
        wanted = {key[1] for key in pending if key[0] == "message"}
        from_store: dict[str, MessageRecord] = {}
        for each in missed.values():
            wanted.update(key[1] for key in each.keys if key[0] == "message")
            from_store.update({record.message_id: record for record in each.records})
        # What the store said of the past may be older than what is read now.
        records = {**from_store, **await self._read(wanted)}
        present = list(self._listeners)
        for listener in [*present, *arriving]:
            if listener.has_ended(self._now_ms()):
                listener.stream.close()
        changed = [records[key[1]] for key in pending if key[0] == "message" and key[1] in records]
        fresh = self._take_note(changed)
        moving = fresh | self._last_ones(changed)
        old = [
            (record.message_id, record.conversation)
            for record in records.values()
            if record.message_id not in fresh
        ]
        persons = {listener.caller.label for listener in (*present, *arriving)}
        hidden = Hidden()
        if old and persons:
            hidden = await self._hiding.hidden(old, sorted(persons))
        round_ = _Round(self, records, moving, hidden)
        for listener in (*present, *arriving):
            if listener.stream.is_open:
                found = missed.get(listener)
                await round_.prepare(listener, *_told(pending, found))
        # From here on nothing waits, so that nobody is told half.
        for listener in (*present, *arriving):
            found = missed.get(listener)
            if not listener.stream.is_open:
                continue
            self._listeners[listener] = None
            if found is not None and found.too_much:
                self._reset(listener, now)
            else:
                happenings = round_.of(listener, *_told(pending, found))
                self._send(listener, happenings, now)

    def _send(self, listener: _Listener, happenings: Sequence[_Happening], now: EventId) -> None:
        """Write events; only the last of them has an id that says that all were told."""
        if not happenings:
            if now.number - listener.told.number > _HELLO_AGAIN_AFTER or (
                listener.told.boot != now.boot
            ):
                happenings = [_Happening("hello", self._hello)]
            else:
                return
        before = str(listener.told)
        *first, last = happenings
        listener.told = now
        listener.stream.send(
            b"".join(event(each.kind, each.data, before) for each in first)
            + event(last.kind, last.data, str(now))
        )

    async def _read(self, message_ids: Collection[str]) -> dict[str, MessageRecord]:
        found: dict[str, MessageRecord] = {}
        ids = sorted(message_ids)
        for start in range(0, len(ids), _READ_AT_ONCE):
            which = MessageFilter(message_ids=tuple(ids[start : start + _READ_AT_ONCE]))
            for record in await self._bridge.messages(which, None):
                found[record.message_id] = record
        return found

    def _take_note(self, records: Iterable[MessageRecord]) -> set[str]:
        """Return the ids of those that are new, and let the observers know them."""
        since_ms = self._now_ms() - _NEW_MS
        fresh: set[str] = set()
        for record in records:
            if record.message_id in self._known or record.created_at_ms < since_ms:
                continue
            self._known[record.message_id] = None
            fresh.add(record.message_id)
            for observer in list(self._observers):
                try:
                    observer(record)
                except Exception:
                    # One observer's mistake must not keep the news from everybody else.
                    self.log.failure("an observer of new messages failed")
        while len(self._known) > _KNOWN:
            self._known.popitem(last=False)
        return fresh

    def _last_ones(self, records: Iterable[MessageRecord]) -> set[str]:
        """
        Return the ids of those that a list of conversations shows with their tick: sent by one of
        us, and the newest of their conversation as far as is known.
        """
        records = list(records)
        newest = self._newest
        for record in records:
            if record.message_id >= newest.get(record.conversation, ""):
                newest[record.conversation] = record.message_id
                newest.move_to_end(record.conversation)
        while len(newest) > _KNOWN:
            newest.popitem(last=False)
        return {
            record.message_id
            for record in records
            if record.direction != Direction.IN
            and newest.get(record.conversation) == record.message_id
        }

    # -- what a listener missed ------------------------------------------------------------------

    async def _missed(self, arriving: Sequence[_Listener]) -> dict[_Listener, _Missed]:
        found: dict[_Listener, _Missed] = {}
        windows: dict[int, list[_Listener]] = {}
        now_ms = self._now_ms()
        for listener in arriving:
            told = listener.told
            if told.boot == self._boot and self._floor <= told.number <= self._number:
                keys = [key for key, number in self._ring.items() if number > told.number]
                found[listener] = _Missed(keys)
            elif not now_ms - _LONGEST_GAP_MS < told.at_ms <= now_ms + _MARGIN_MS:
                found[listener] = _Missed(too_much=True)
            else:
                windows.setdefault(told.at_ms // _WINDOW_MS, []).append(listener)
        for listeners in windows.values():
            since_ms = min(listener.told.at_ms for listener in listeners) - _MARGIN_MS
            records = await self._threads.changed_since(since_ms, "", _MOST_CAUGHT_UP + 1)
            missed = (
                _Missed(too_much=True)
                if len(records) > _MOST_CAUGHT_UP
                else _Missed(
                    [
                        *(("message", record.message_id, "") for record in records),
                        *(
                            ("conversation", conversation, "")
                            for conversation in {record.conversation for record in records}
                        ),
                        ("contacts", "", ""),
                        ("lines", "", ""),
                    ],
                    records,
                )
            )
            found.update(dict.fromkeys(listeners, missed))
        return found

    # -- lines and upkeep ------------------------------------------------------------------------

    def _look(self) -> None:
        """Find lines that changed and listeners that have no business here any more."""
        if not len(self):
            left_at_s = self._left_at_s
            if left_at_s is not None and self._reactor.seconds() - left_at_s > _LINGER_S:
                self._left_at_s = None
                self._looker.stop()
                if not self._observers:
                    self._forget()
            return
        self._looks += 1
        persons = self._world.directory.persons
        for listener in [*self._listeners, *self._arriving]:
            person = persons.get(listener.caller.label)
            if (
                person is None
                or listener.has_ended(self._now_ms())
                or self._reactor.seconds() - listener.began_s >= _LIFE_S
            ):
                listener.stream.close()
            elif person is not listener.caller.person:
                listener.caller = evolve(listener.caller, person=person)
            if self._looks % _KEEP_ALIVE_EVERY == 0:
                listener.stream.keep_alive()
        try:
            states = {status.line: _lasting(status) for status in self._bridge.lines()}
        except Exception:
            # A timer that raises would never come again.
            self.log.failure("the lines could not be asked for their state")
            return
        before, self._line_states = self._line_states, states
        changed = [
            label
            for label in before.keys() | states.keys()
            if before.get(label) != states.get(label)
        ]
        if changed:
            self._note([("lines", label, "") for label in changed])

    def _bug(self, failure: Failure) -> None:
        self.log.failure("the live events failed", failure=failure)

    # -- for a round -----------------------------------------------------------------------------

    def viewer_of(self, caller: Caller) -> Viewer | None:
        """Return what a listener may see now; None for somebody who is gone."""
        person = self._world.directory.persons.get(caller.label)
        if person is None:
            return None
        if person is not caller.person:
            caller = evolve(caller, person=person)
        return caller.viewer(self._world)

    def conversations(
        self, viewer: Viewer, names: Collection[str]
    ) -> Deferred[list[ConversationRecord]]:
        """Read conversations as one viewer sees them."""
        return self._threads.conversations(
            ConversationQuery(
                viewer=viewer, folder="all", conversations=tuple(sorted(names)), limit=len(names)
            )
        )

    def shape(self, kind: str, thing: Any, viewer: Viewer) -> bytes | None:
        """Write a thing as JSON; None where that fails."""
        try:
            return shapes.encode(getattr(self._shaping, kind)(thing, viewer))
        except Exception:
            # One thing that cannot be shown must not keep all others from being shown.
            self.log.failure("a {kind} could not be shaped", kind=kind)
            return None

    def lines_of(self, viewer: Viewer) -> bytes:
        """Write the state of a viewer's lines."""
        return shapes.encode(
            [
                self._shaping.line(status)
                for status in self._bridge.lines()
                if status.line in viewer.lines
            ]
        )


@frozen
class _Missed:
    """What happened while a listener was away."""

    keys: Sequence[_Key] = ()
    records: Sequence[MessageRecord] = field(factory=list)
    too_much: bool = False


def _told(pending: Sequence[_Key], missed: _Missed | None) -> tuple[Sequence[_Key], bool]:
    """Return what a listener is told of, and whether it was away."""
    return (pending, False) if missed is None else (missed.keys, True)


class _Round:
    """What is told in one round; each audience's part is read and written once."""

    def __init__(
        self,
        hub: LiveHub,
        records: Mapping[str, MessageRecord],
        moving: Collection[str],
        hidden: Hidden,
    ) -> None:
        self._hub = hub
        self._records = records
        self._moving = moving  # ids of messages that change how their conversation is listed
        self._hidden = hidden
        self._viewers: dict[tuple[str, tuple[str, ...]], Viewer | None] = {}
        self._conversations: dict[
            tuple[str, tuple[str, ...]], dict[str, ConversationRecord | None]
        ] = {}
        self._written: dict[tuple[tuple[str, tuple[str, ...]], str, str], bytes | None] = {}

    async def prepare(self, listener: _Listener, keys: Sequence[_Key], was_away: bool) -> None:
        """Read what must be read for a listener and was not for another of the audience."""
        audience = listener.audience
        if audience not in self._viewers:
            self._viewers[audience] = self._hub.viewer_of(listener.caller)
        viewer = self._viewers[audience]
        if viewer is None or "conversation" not in listener.kinds:
            return
        known = self._conversations.setdefault(audience, {})
        names = [name for name in self._names(viewer, keys, was_away) if name not in known]
        if names:
            known.update(dict.fromkeys(names))
            for record in await self._hub.conversations(viewer, names):
                known[record.conversation] = record

    def _names(self, viewer: Viewer, keys: Sequence[_Key], was_away: bool) -> list[str]:
        """Name the conversations that a viewer is told of."""
        names: dict[str, None] = {}
        for kind, what, person in keys:
            if kind == "conversation" and person in ("", viewer.person):
                if _may_see(viewer, what):
                    names[what] = None
            elif kind == "message" and (was_away or what in self._moving):
                record = self._records.get(what)
                if record is not None and sees(viewer, record):
                    names[record.conversation] = None
        return list(names)

    def of(self, listener: _Listener, keys: Sequence[_Key], was_away: bool) -> list[_Happening]:
        """Return a listener's events: messages first, then the conversations that they are in."""
        viewer = self._viewers.get(listener.audience)
        if viewer is None:
            return []
        found: list[_Happening] = []
        for kind, what in self._things(listener, viewer, keys, was_away):
            key = (listener.audience, kind, what)
            if key not in self._written:
                self._written[key] = self._write(listener, viewer, kind, what, keys)
            data = self._written[key]
            if data is not None:
                found.append(_Happening(kind, data))
        return found

    def _things(
        self, listener: _Listener, viewer: Viewer, keys: Sequence[_Key], was_away: bool
    ) -> Iterator[tuple[str, str]]:
        kinds = listener.kinds
        if "message" in kinds:
            yield from ((kind, what) for kind, what, _ in keys if kind == "message")
        if "conversation" in kinds:
            yield from (("conversation", name) for name in self._names(viewer, keys, was_away))
        if "contacts" in kinds and any(
            kind == "contacts" and person in ("", viewer.person) for kind, _, person in keys
        ):
            yield "contacts", ""
        if "lines" in kinds and any(
            kind == "lines" and (not what or what in viewer.lines) for kind, what, _ in keys
        ):
            yield "lines", ""

    def _write(
        self, listener: _Listener, viewer: Viewer, kind: str, what: str, keys: Sequence[_Key]
    ) -> bytes | None:
        """Write one thing for an audience; None for what it must not see."""
        if kind == "message":
            record = self._records.get(what)
            if record is None or not self._shows(viewer, record):
                return None
            return self._hub.shape("message", record, viewer)
        if kind == "conversation":
            conversation = self._conversations.get(listener.audience, {}).get(what)
            if conversation is None:
                if (kind, what, viewer.person) not in keys:
                    return None
                conversation = _emptied(what)
            return self._hub.shape("conversation", conversation, viewer)
        return b"{}" if kind == "contacts" else self._hub.lines_of(viewer)

    def _shows(self, viewer: Viewer, record: MessageRecord) -> bool:
        return sees(viewer, record) and not self._hidden.hides(
            viewer.person, record.conversation, record.message_id
        )


def _may_see(viewer: Viewer, conversation: str) -> bool:
    """Tell by its name whether a conversation may be the viewer's; the store has the last word."""
    line, _, parties = conversation.partition("|")
    if line:
        return line in viewer.lines
    return viewer.takes_part(parties.split(",")) or (
        viewer.internal and parties.startswith("sha256:")
    )


def _emptied(conversation: str) -> ConversationRecord:
    """Return a conversation of which its viewer deleted everything."""
    line, _, parties = conversation.partition("|")
    return ConversationRecord(
        conversation=conversation,
        line=line,
        parties=() if parties.startswith("sha256:") else tuple(parties.split(",")),
        last=None,
        unread=0,
        read_id="",
        archived=False,
        muted=False,
        draft="",
    )


def _lasting(status: LineStatus) -> LineStatus:
    """Leave out what changes with every sign of life."""
    return evolve(status, last_seen_ms=None)
