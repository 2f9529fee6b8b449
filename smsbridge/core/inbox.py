"""
Where everything that comes in goes: checks it, routes it, commits it, and lets the dispatcher know.

The way of a text from the network is the hot path: plain functions and one Deferred, no coroutine.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from typing import Any, Final

from attrs import evolve, frozen
from twisted.internet.defer import Deferred, FirstError, fail, gatherResults, succeed
from twisted.logger import Logger
from twisted.python.failure import Failure
from zope.interface import implementer

from smsbridge.core.address import mask, parse_sender
from smsbridge.core.attachments import LINK_LIFETIME_S, arrange, attached
from smsbridge.core.changes import Changes
from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.dispatcher import Dispatcher
from smsbridge.core.entries import Entry, NewMessage, QueueQuery
from smsbridge.core.limits import DailyCount, EchoGuard, TokenBuckets
from smsbridge.core.message import (
    Accepted,
    Call,
    Delivery,
    DeliveryReport,
    Direction,
    FromNetwork,
    FromPerson,
    Kind,
    Media,
    Status,
    UssdNotice,
    storable,
)
from smsbridge.core.optwords import Words, refusal
from smsbridge.core.records import Preview, PreviewRecipient
from smsbridge.core.routing import (
    Outbound,
    Target,
    conversation,
    is_group_text,
    persons_of,
    route_outbound,
    targets_of,
)
from smsbridge.core.segments import Charset, Encoding, Segments, count, foreign
from smsbridge.core.textlog import TextLog
from smsbridge.errors import REASONS, Refused, TemporaryFailure
from smsbridge.interfaces import IInbox, IMessageStore

__all__ = ["Inbox"]

_PERSON_LIFE_MS: Final = 30 * 86_400_000  # how long a text waits for a person's side to come back
_NOTICE_LIFE_MS: Final = 2 * 86_400_000
_MOST_REMEMBERED: Final = 10_000
_LONGEST_BODY: Final = 200_000
_LONGEST_ADDRESS: Final = 255
_LONGEST_ORIGIN: Final = 600  # an address of the sender
_LONGEST_REF: Final = 400
_LONGEST_WORDS: Final = 2000
_MOST_WITHDRAWN: Final = 1000  # texts that wait for one number
_MOST_SHOWN: Final = 5  # characters that a warning names


@frozen
class _Plan:
    """How a person's text goes out."""

    outbound: Outbound
    targets: tuple[tuple[Person, tuple[Target, ...]], ...]
    sender: str
    body: str
    media: tuple[Media, ...]
    counted: Segments | None  # None without a line
    due_at_ms: int
    group: bool = False  # to all numbers as one text

    @property
    def line(self) -> Line | None:
        """The line that it uses."""
        return self.outbound.line

    @property
    def segments(self) -> int:
        """The segments that each number gets."""
        return self.counted.segments if self.counted is not None else 0

    def apart(self, incoming: FromPerson) -> Iterator[tuple[str, _Plan]]:
        """Yield each recipient with the plan of a message to it alone."""
        line = self.outbound.line
        for number in self.outbound.numbers:
            alone = Outbound(line, (number,), ())
            yield number, evolve(self, outbound=alone, targets=(), group=False)
        for person, addresses in self.targets:
            yield (
                person.label,
                evolve(
                    self,
                    outbound=Outbound(None, (), (person,)),
                    targets=((person, addresses),),
                    sender=incoming.sender or incoming.person,
                    counted=None,
                    group=False,
                ),
            )


@implementer(IInbox)
class Inbox:
    """
    Accepts messages and reports.

    :param now_ms: the time of day in milliseconds since 1970 UTC.
    :param seconds: a clock that never goes back, for rates.
    :param new_id: makes message ids: UUID version 7 as text.
    """

    log = Logger()

    def __init__(
        self,
        store: IMessageStore,
        dispatcher: Dispatcher,
        world: World,
        changes: Changes,
        now_ms: Callable[[], int],
        seconds: Callable[[], float],
        new_id: Callable[[], str],
    ) -> None:
        self._store = store
        self._dispatcher = dispatcher
        self._world = world
        self._changes = changes
        self._now_ms = now_ms
        self._new_id = new_id
        self._counts = dispatcher.counts
        self.daily = DailyCount()
        self._rates = TokenBuckets(seconds)
        self._echoes = EchoGuard(seconds)
        self._words = Words(
            world,
            lambda answer: self._accept_person(answer, also_out=True),
            self.withdraw,
            seconds,
        )
        #: Told of facts about a line that were stored just now.
        self.learned: Callable[[str, dict[str, str]], None] = lambda line, facts: None
        # What was accepted lately from persons, and until when it counts as a repeat.
        self._texts = TextLog(self.log, seconds)
        self._recent: OrderedDict[tuple[str, str], tuple[str, int]] = OrderedDict()
        # What is being committed right now, with the repeats of it that wait for the outcome.
        self._committing: dict[tuple[str, str], list[Deferred[Accepted]]] = {}
        # Routes of texts from the network, by line; made anew for every directory and when a
        # gateway comes or goes, since only a gateway knows the names of its lanes.
        self._routes: dict[str, tuple[Line, tuple[tuple[str, str, str, str], ...]]] = {}
        self._routes_of: tuple[Directory | None, int] = (None, 0)

    # -- messages --------------------------------------------------------------------------------

    def accept(self, incoming: FromNetwork | FromPerson) -> Deferred[Accepted]:
        """See `IInbox.accept`."""
        try:
            if isinstance(incoming, FromNetwork):
                return self._accept_network(incoming)
            return self._accept_person(incoming)
        except Refused as e:
            self._counts.refused[_gateway_of(incoming, self._world), e.reason] += 1
            return fail(e)

    def is_known(self, line: str, dedup_key: str) -> Deferred[bool]:
        """See `IInbox.is_known`."""
        found = self._world.directory.lines.get(line)
        if found is None or not dedup_key:
            return succeed(False)
        key = _network_key(found, dedup_key)
        return self._store.is_known(found.gateway, key, self._now_ms())

    def _accept_network(self, incoming: FromNetwork) -> Deferred[Accepted]:
        directory = self._world.directory
        known, revision = self._routes_of
        if directory is not known or self._dispatcher.revision != revision:
            self._routes.clear()
            self._routes_of = (directory, self._dispatcher.revision)
        route = self._routes.get(incoming.line)
        if route is None:
            route = self._route_network(directory, incoming.line)
        line, targets = route
        now_ms = self._now_ms()
        sender = parse_sender(storable(incoming.sender), directory.country)[:_LONGEST_ADDRESS]
        body = storable(incoming.body)
        recipients: tuple[str, ...] = (line.number or line.label,)
        parties: tuple[str, ...] = (sender,)
        if incoming.recipients:
            recipients = _ours_first(incoming.recipients, line)
            if len(recipients) > 1:
                parties = tuple({sender, *recipients} - {line.number, line.label})
        conversation_name = conversation(line.label, parties)
        blockers = self._world.book.blockers
        if blockers and sender in blockers:
            # It is kept, so that who unblocks the number finds what was written.
            targets = tuple(each for each in targets if each[0] not in blockers[sender])
        message_id = self._new_id()
        dispatcher = self._dispatcher
        deliveries: list[Delivery] = []
        reservations: list[int | None] = []
        lease_ms = 0
        for number, (person, gateway, destination, lane) in enumerate(targets):
            reservation = dispatcher.reserve(lane)
            if reservation is not None:
                lease_ms = max(lease_ms, dispatcher.lease_ms(gateway))
            reservations.append(reservation)
            deliveries.append(
                Delivery(
                    f"{message_id}.{number}",
                    message_id,
                    Kind.MESSAGE,
                    gateway,
                    lane,
                    line.label,
                    person,
                    destination,
                    f"{conversation_name} {destination}"[:600],
                    Status.QUEUED if reservation is None else Status.SENDING,
                    0 if reservation is None else 1,
                    now_ms,
                    now_ms + _PERSON_LIFE_MS,
                    body,
                    sender,
                    "",
                    recipients,
                    Direction.IN,
                    incoming.media,
                )
            )
        message = NewMessage(
            message_id,
            Direction.IN,
            line.label,
            sender,
            recipients,
            "",
            body,
            conversation_name,
            0,
            now_ms,
            incoming.sent_at_ms,
            None,
            "",
            incoming.media,
        )
        if incoming.dedup_key:
            entry = Entry(
                message,
                tuple(deliveries),
                now_ms,
                now_ms,
                now_ms + lease_ms,
                line.gateway,
                _network_key(line, incoming.dedup_key),
                now_ms + int(incoming.dedup_for_s * 1000),
            )
        else:
            entry = Entry(message, tuple(deliveries), now_ms, now_ms, now_ms + lease_ms)
        accepting = self._commit(entry, reservations, line.gateway)
        if line.opt_out == "bridge" and not incoming.word_handled and len(recipients) == 1:
            accepting = self._words.heard(line, sender, body, accepting)
        return accepting

    def _route_network(
        self, directory: Directory, label: str
    ) -> tuple[Line, tuple[tuple[str, str, str, str], ...]]:
        line = directory.lines.get(label)
        if line is None:
            raise Refused("unknown-line", f"There is no line {label} in the configuration.")
        persons = persons_of(directory, label)
        targets = tuple(
            (
                target.person,
                target.gateway,
                target.destination,
                self._dispatcher.lane_of(target.gateway, label, target.destination),
            )
            for person in persons
            for target in targets_of(directory, person)
        )
        if not persons:
            self.log.warn(
                "nobody gets the texts of line {line}: give a person 'lines = {line}' or "
                "'fallback = yes'; they are kept in the history",
                line=label,
            )
        self._routes[label] = (line, targets)
        return line, targets

    def _accept_person(self, incoming: FromPerson, also_out: bool = False) -> Deferred[Accepted]:
        origin = incoming.origin
        gateway = origin.gateway if origin is not None else ""
        now_ms = self._now_ms()
        repeated = self._repeated((gateway, incoming.dedup_key), now_ms)
        if repeated is not None:
            return repeated
        if origin is not None and (
            len(origin.address) > _LONGEST_ORIGIN or len(origin.ref) > _LONGEST_REF
        ):
            raise Refused("unsupported", "The id of this message is too long to report on it.")
        plan = self._plan(incoming, now_ms, also_out)
        if plan.line is not None:
            self._check_rates(incoming.person, plan.line, plan, now_ms)
        return self._accept_plan(incoming, plan, now_ms)

    def accept_each(self, incoming: FromPerson) -> Deferred[list[Accepted]]:
        """See `IInbox.accept_each`."""
        now_ms = self._now_ms()
        gateway = _gateway_of(incoming, self._world)
        try:
            plan = self._plan(incoming, now_ms)
            key = incoming.dedup_key
            parts = {f"{key} {name}" if key else name: part for name, part in plan.apart(incoming)}
            if key and all(self._is_repeat((gateway, each), now_ms) for each in parts):
                repeats = [self._repeated((gateway, each), now_ms) for each in parts]
                waited = gatherResults(
                    [each for each in repeats if each is not None], consumeErrors=True
                )
                return waited.addErrback(_first_error)
            if plan.line is not None:
                self._check_rates(incoming.person, plan.line, plan, now_ms)
        except Refused as e:
            self._counts.refused[gateway, e.reason] += 1
            return fail(e)
        accepting = [
            self._accept_plan(evolve(incoming, dedup_key=name if key else ""), part, now_ms)
            for name, part in parts.items()
        ]
        return gatherResults(accepting, consumeErrors=True).addErrback(_first_error)

    def _accept_plan(self, incoming: FromPerson, plan: _Plan, now_ms: int) -> Deferred[Accepted]:
        """Store what was decided, within all limits, and queue its deliveries."""
        origin = incoming.origin
        gateway = origin.gateway if origin is not None else ""
        outbound, line, body, due_at_ms = plan.outbound, plan.line, plan.body, plan.due_at_ms
        segments = plan.segments
        # What is sent later must not hold up what is written meanwhile.
        apart = f" at {due_at_ms}" if due_at_ms > now_ms else ""
        message_id = self._new_id()
        recipients = (*outbound.numbers, *(person.label for person in outbound.persons))
        sender = plan.sender
        conversation_name = (
            conversation(line.label, recipients)
            if line is not None
            else conversation("", (incoming.person, *recipients))
        )
        dispatcher = self._dispatcher
        deliveries: list[Delivery] = []
        reservations: list[int | None] = []
        lease_ms = 0

        def add(gateway: str, person: str, destination: str, life_ms: int) -> None:
            nonlocal lease_ms
            label = line.label if line is not None else ""
            lane = dispatcher.lane_of(gateway, label, destination)
            group = plan.group and not person
            reservation = dispatcher.reserve(lane, group) if due_at_ms <= now_ms else None
            if reservation is not None:
                lease_ms = max(lease_ms, dispatcher.lease_ms(gateway))
            reservations.append(reservation)
            deliveries.append(
                Delivery(
                    f"{message_id}.{len(deliveries)}",
                    message_id,
                    Kind.MESSAGE,
                    gateway,
                    lane,
                    label,
                    person,
                    destination,
                    # A group text goes to all of them or waits for all of them.
                    f"{conversation_name} {'' if group else destination}"[:570] + apart,
                    Status.QUEUED if reservation is None else Status.SENDING,
                    0 if reservation is None else 1,
                    now_ms,
                    due_at_ms + life_ms,
                    body,
                    sender,
                    incoming.person,
                    recipients,
                    Direction.OUT if line is not None else Direction.INTERNAL,
                    plan.media,
                    group=group,
                )
            )

        if line is not None:
            for number in outbound.numbers:
                add(line.gateway, "", number, int(line.expire * 1000))
        for person, addresses in plan.targets:
            for target in addresses:
                add(target.gateway, person.label, target.destination, _PERSON_LIFE_MS)
        message = NewMessage(
            message_id,
            Direction.OUT if line is not None else Direction.INTERNAL,
            line.label if line is not None else "",
            sender,
            recipients,
            incoming.person,
            body,
            conversation_name,
            segments * len(outbound.numbers),
            now_ms,
            None,
            origin,
            self._dispatcher.lane_of(origin.gateway, "", origin.address)
            if origin is not None
            else "",
            plan.media,
            plan.group,
        )
        until_ms = now_ms + int(incoming.dedup_for_s * 1000)
        entry = Entry(
            message,
            tuple(deliveries),
            now_ms,
            due_at_ms,
            now_ms + lease_ms,
            gateway,
            storable(incoming.dedup_key),
            until_ms,
        )
        if line is not None:
            self.daily.add(line.label, segments * len(outbound.numbers), now_ms)
        committed = self._commit(entry, reservations, gateway, due_at_ms > now_ms)
        if line is not None:
            committed.addBoth(self._count_back, line.label, message.segments, now_ms)
        if incoming.dedup_key:
            key = (gateway, incoming.dedup_key)
            self._committing.setdefault(key, [])
            committed.addCallback(self._remember, key, until_ms)
            committed.addBoth(self._tell_repeats, key)
        return committed

    def _is_repeat(self, key: tuple[str, str], now_ms: int) -> bool:
        """Tell whether something with this key was accepted lately, or is being accepted."""
        known = self._recent.get(key)
        return key in self._committing or (known is not None and known[1] > now_ms)

    def _repeated(self, key: tuple[str, str], now_ms: int) -> Deferred[Accepted] | None:
        """
        Return the outcome of what has this key already, so that no limit is asked for a repeat;
        None for something new.
        """
        gateway, dedup_key = key
        if not dedup_key or not self._is_repeat(key, now_ms):
            return None
        self._counts.repeated[gateway] += 1
        waiting = self._committing.get(key)
        if waiting is None:
            message_id, _ = self._recent[key]
            return succeed(Accepted(message_id=message_id, duplicate=True))
        outcome: Deferred[Accepted] = Deferred()
        waiting.append(outcome)
        return outcome

    def _tell_repeats(self, result: Any, key: tuple[str, str]) -> Any:
        """Let repeats that came meanwhile have the outcome of the first."""
        for waiting in self._committing.pop(key, ()):
            if isinstance(result, Failure):
                waiting.errback(result)
            else:
                waiting.callback(Accepted(message_id=result.message_id, duplicate=True))
        return result

    def _count_back(self, result: Any, line: str, segments: int, now_ms: int) -> Any:
        """What was not stored, or was there already, takes nothing from the line's day."""
        if isinstance(result, Failure) or result.duplicate:
            self.daily.add(line, -segments, now_ms)
        return result

    def _plan(self, incoming: FromPerson, now_ms: int, also_out: bool = False) -> _Plan:
        """
        Decide how a person's text goes out; nothing is counted.

        :param also_out: also to numbers that want no texts: an answer to their own STOP.
        :raises Refused: it cannot.
        """
        directory = self._world.directory
        body = storable(incoming.body)
        if not body.strip() and not incoming.media:
            raise Refused("empty")
        if len(body) > _LONGEST_BODY:
            raise Refused("too-long", f"The text has {len(body)} characters.")
        outbound = route_outbound(directory, incoming, self._world.book.of(incoming.person))
        line = outbound.line
        if line is not None and not also_out:
            self._refuse_opted_out(line, outbound.numbers)
        targets = tuple((person, targets_of(directory, person)) for person in outbound.persons)
        for person, addresses in targets:
            # In a browser everybody can read, so there it is enough that the text is kept.
            if not addresses and not self._world.inbox:
                raise Refused("unroutable", f"{person.label} has no address at which texts arrive.")
        sender = incoming.sender
        if not sender:
            sender = (line.number or line.label) if line is not None else incoming.person
        media = incoming.media
        counted = None
        if line is not None:
            arranged = arrange(line, body, media, self._link)
            body, media = arranged.body, arranged.media
            size = len(body.encode())
            if line.longest_bytes and size > line.longest_bytes:
                raise Refused(
                    "too-long",
                    f"This text has {size} bytes; line {line.label} sends at most "
                    f"{line.longest_bytes}.",
                )
            counted = count(body, line.charset)
            if arranged.carried_as == "mms":
                counted = counted._replace(segments=1)  # whatever its text, the network bills one
            elif counted.segments > line.max_segments:
                raise Refused(
                    "too-long",
                    f"This text would need {counted.segments} texts; line {line.label} sends at "
                    f"most {line.max_segments} for one message.",
                )
        return _Plan(
            outbound,
            targets,
            sender,
            body,
            media,
            counted,
            max(now_ms, incoming.not_before_ms or 0),
            line is not None and is_group_text(line, incoming, outbound.numbers),
        )

    def _refuse_opted_out(self, line: Line, numbers: tuple[str, ...]) -> None:
        opt_outs = self._world.opt_outs
        if opt_outs is None or line.opt_out == "no":
            return
        for number in numbers:
            if opt_outs.is_out(line.label, number):
                raise refusal(line, number)

    def _link(self, medium: Media) -> str:
        files = self._world.media
        return files.link(medium, LINK_LIFETIME_S) if files is not None else ""

    def _check_rates(
        self, author: str, line: Line, plan: _Plan, now_ms: int, take: bool = True
    ) -> None:
        """
        Count a text against what may be sent.

        :param take: False only looks.
        :raises Refused: it is too much.
        """
        numbers = plan.outbound.numbers
        total = plan.segments * len(numbers)
        if line.daily_cap and self.daily.of(line.label, now_ms) + total > line.daily_cap:
            raise Refused(
                "daily-cap",
                f"Line {line.label} may send {line.daily_cap} text segments a day and has sent "
                f"{self.daily.of(line.label, now_ms)}; it goes on at midnight UTC.",
            )
        person = self._world.directory.persons.get(author)
        if person is None:
            return
        for number in numbers:
            way = f"{person.label} {line.label}"
            if (
                self._echoes.goes_round(way, number, plan.body)
                if take
                else self._echoes.is_too_often(self._echoes.times_lately(way, number, plan.body))
            ):
                raise Refused("loop")
        wait_s = self._rates.wait_s(person.label, person.rate, person.burst, len(numbers), take)
        if wait_s > 0:
            raise Refused(
                "throttled",
                f"Too many texts in a short time; try again in {max(1, round(wait_s))} seconds.",
            )

    # -- what would happen -----------------------------------------------------------------------

    def preview(self, incoming: FromPerson) -> Preview:
        """See `IInbox.preview`."""
        now_ms = self._now_ms()
        plan = self._plan(incoming, now_ms)
        line = plan.line
        warnings: list[str] = []
        if plan.due_at_ms > now_ms:
            at = datetime.fromtimestamp(plan.due_at_ms / 1000, UTC)
            warnings.append(f"It waits until {at:%Y-%m-%d %H:%M} UTC.")
        if line is not None:
            self._check_rates(incoming.person, line, plan, now_ms, take=False)
            warnings.extend(self._warnings(incoming, line, plan, now_ms))
        book = self._world.book.of(incoming.person)
        counted = plan.counted or count(plan.body)
        if line is None:
            carried_as = "internal"
        elif attached(plan.media):
            carried_as = "mms"
        else:
            carried_as = "link" if incoming.media else "sms"
        return Preview(
            line=line.label if line is not None else "",
            sender=plan.sender,
            recipients=(
                *(
                    PreviewRecipient(number, book.names.get(number, ""))
                    for number in plan.outbound.numbers
                ),
                *(
                    PreviewRecipient("", person.label, person.label)
                    for person in plan.outbound.persons
                ),
            ),
            segments=plan.segments,
            encoding="gsm" if counted.encoding is Encoding.GSM7 else "unicode",
            characters=len(plan.body),
            carried_as=carried_as,
            body=plan.body,
            media=plan.media,
            warnings=tuple(warnings),
        )

    def _warnings(
        self, incoming: FromPerson, line: Line, plan: _Plan, now_ms: int
    ) -> Iterator[str]:
        """Yield what the sender should know before sending, in sentences."""
        numbers = plan.outbound.numbers
        counted = plan.counted
        if counted is not None and counted.encoding is Encoding.UCS2 and counted.segments > 1:
            narrow = _without(plan.body, line.charset)
            if narrow < counted.segments:
                shown = " ".join(foreign(plan.body, line.charset)[:_MOST_SHOWN])
                yield (
                    f"Characters such as {shown} make it {counted.segments} texts to each number; "
                    f"without them it would be {narrow}."
                )
        lane = self._dispatcher.lane_of(line.gateway, line.label, numbers[0])
        closed = self._dispatcher.why_closed(lane)
        if closed is not None:
            why = _sentence(closed[1] or REASONS[closed[0]])
            yield f"Line {line.label} cannot send at the moment, so it waits: {why}"
        if line.daily_cap:
            left = line.daily_cap - self.daily.of(line.label, now_ms) - plan.segments * len(numbers)
            if left < line.daily_cap / 10:
                yield f"After this, line {line.label} may send {left} more today (UTC)."
        if len(numbers) > 1 and not plan.group:
            yield f"Each of the {len(numbers)} numbers gets a text of its own and sees no others."
        blocked = self._world.book.of(incoming.person).blocked
        for number in numbers:
            if number in blocked:
                yield f"You have blocked {number}; you will not see an answer."
            if number == line.number:
                yield f"{number} is the line's own number."
        way = f"{incoming.person} {line.label}"
        if any(self._echoes.times_lately(way, number, plan.body) for number in numbers):
            yield "The same text went to the same number less than a minute ago."

    def _remember(self, accepted: Accepted, key: tuple[str, str], until_ms: int) -> Accepted:
        """Keep what was accepted lately, so that a repeat is answered before any limit is asked."""
        if not accepted.duplicate:  # how long the store remembers a duplicate, only the store knows
            self._recent[key] = (accepted.message_id, until_ms)
        if len(self._recent) > _MOST_REMEMBERED:
            self._recent.popitem(last=False)
        return accepted

    # -- the commit ------------------------------------------------------------------------------

    def _commit(
        self,
        entry: Entry,
        reservations: list[int | None],
        gateway: str,
        later: bool = False,
    ) -> Deferred[Any]:
        dispatcher = self._dispatcher
        deliveries = entry.deliveries

        def committed(accepted: Accepted) -> Accepted:
            if accepted.duplicate:
                self._counts.repeated[gateway] += 1
                for delivery, reservation in zip(deliveries, reservations, strict=True):
                    dispatcher.not_arrived(delivery.lane, reservation)
                return accepted
            if entry.message is not None:
                self._counts.accepted[gateway] += 1
                self._say(entry.message)
            for delivery, reservation in zip(deliveries, reservations, strict=True):
                if later:
                    dispatcher.poke((delivery.lane,))
                else:
                    dispatcher.arrived(delivery, reservation)
            if self._changes:
                self._changes.tell((accepted.message_id,))
            return accepted

        def failed(failure: Failure) -> Failure:
            for delivery, reservation in zip(deliveries, reservations, strict=True):
                dispatcher.not_arrived(delivery.lane, reservation)
            if not failure.check(TemporaryFailure):
                self.log.failure("a message could not be stored", failure=failure)
                return Failure(TemporaryFailure("internal"))
            return failure

        return self._store.accept(entry).addCallbacks(committed, failed)

    def _say(self, message: NewMessage) -> None:
        if message.direction == Direction.IN:
            self._texts.info(
                "line {line}: {message_id} from {peer}",
                line=message.line,
                message_id=message.message_id,
                peer=mask(message.sender) or "a withheld number",
            )
        else:
            self._texts.info(
                "line {line}: {message_id} from {person} to {peer}",
                line=message.line or "none",
                message_id=message.message_id,
                person=message.author or "the operator",
                peer=" ".join(mask(recipient) for recipient in message.recipients),
            )

    def withdraw(self, line: str, number: str) -> Deferred[int]:
        """
        Give up what still waits to be sent from a line to a number that wants no more texts.

        Fires with how much that was, after the commit; what is being sent already goes on.
        """
        return Deferred.fromCoroutine(self._withdraw(line, number))

    async def _withdraw(self, line: str, number: str) -> int:
        waiting = await self._store.queue(
            QueueQuery(
                line=line, statuses=(Status.QUEUED,), destination=number, limit=_MOST_WITHDRAWN
            )
        )
        ids = [each.delivery_id for each in waiting]
        if not ids:
            return 0
        count, lanes = await self._store.drop(ids, self._now_ms())
        self._dispatcher.poke(lanes)
        if self._changes:
            self._changes.tell(each.partition(".")[0] for each in ids)
        return count

    # -- reports, notices, calls -----------------------------------------------------------------

    def report(self, report: DeliveryReport) -> Deferred[bool]:
        """See `IInbox.report`."""
        report = evolve(
            report,
            delivery_id=storable(report.delivery_id)[:_LONGEST_ADDRESS],
            remote_id=storable(report.remote_id)[:_LONGEST_ADDRESS],
            destination=storable(report.destination)[:_LONGEST_ADDRESS],
            text=storable(report.text)[:_LONGEST_WORDS],
        )

        def recorded(result: tuple[str, list[str]]) -> bool:
            delivery_id, lanes = result
            message_id = delivery_id.partition(".")[0]
            if delivery_id:
                self._counts.settled[report.gateway, report.status] += 1
                self._texts.info(
                    "{gateway}: {message_id} is reported as {status} {reason}",
                    gateway=report.gateway,
                    message_id=message_id,
                    remote_id=report.remote_id,
                    status=report.status.value,
                    reason=report.reason,
                )
            self._dispatcher.poke(lanes)
            if delivery_id and self._changes:
                self._changes.tell((message_id,))
            return bool(delivery_id)

        return self._store.report(
            report, report.at_ms or self._now_ms(), self._dispatcher.retry_at_ms(3)
        ).addCallback(recorded)

    def repeat_reports(self, message_id: str) -> Deferred[None]:
        """See `IInbox.repeat_reports`."""
        return self._store.repeat_reports(message_id, self._now_ms()).addCallback(
            self._dispatcher.poke
        )

    def ussd_notice(self, notice: UssdNotice) -> Deferred[None]:
        """See `IInbox.ussd_notice`."""
        directory = self._world.directory
        line = directory.lines.get(notice.line)
        if line is None:
            return fail(Refused("unknown-line"))
        body = storable(notice.body)
        deliveries = [
            delivery
            for person in persons_of(directory, line.label)
            for delivery in self._notices(directory, person.label, f"[USSD] {body}", line.label)
        ]
        now_ms = self._now_ms()
        entry = Entry(
            None,
            tuple(deliveries),
            now_ms,
            now_ms,
            gateway=line.gateway,
            dedup_key=f"{line.label} ussd {storable(notice.dedup_key)}" if notice.dedup_key else "",
            dedup_until_ms=now_ms + int(notice.dedup_for_s * 1000),
            ussd_line=line.label,
            ussd_body=body,
        )
        return self._commit(entry, [None] * len(deliveries), line.gateway).addCallback(_nothing)

    def notify(self, person: str, text: str, line: str = "") -> Deferred[None]:
        """See `IInbox.notify`."""
        deliveries = self._notices(self._world.directory, person, storable(text), line)
        if not deliveries:
            return succeed(None)
        now_ms = self._now_ms()
        entry = Entry(None, tuple(deliveries), now_ms, now_ms)
        return self._commit(entry, [None] * len(deliveries), "").addCallback(_nothing)

    def _notices(
        self, directory: Directory, person: str, text: str, line: str
    ) -> tuple[Delivery, ...]:
        known = directory.persons.get(person)
        if known is None:
            return ()
        now_ms = self._now_ms()
        notice_id = self._new_id()
        return tuple(
            Delivery(
                f"{notice_id}.{number}",
                "",
                Kind.NOTICE,
                target.gateway,
                self._dispatcher.lane_of(target.gateway, line, target.destination),
                line,
                person,
                target.destination,
                f"notice {target.destination}"[:600],
                Status.QUEUED,
                0,
                now_ms,
                now_ms + _NOTICE_LIFE_MS,
                text,
            )
            for number, target in enumerate(targets_of(directory, known))
        )

    def call(self, call: Call) -> Deferred[None]:
        """See `IInbox.call`."""
        return self._store.log_call(
            evolve(
                call,
                number=storable(call.number)[:_LONGEST_ADDRESS],
                cause=storable(call.cause)[:_LONGEST_ADDRESS],
            )
        )

    def learn(self, line: str, facts: dict[str, str]) -> Deferred[None]:
        """See `IInbox.learn`."""

        known = {fact: storable(value)[:_LONGEST_ADDRESS] for fact, value in facts.items()}

        def learned(_: None) -> None:
            self.learned(line, known)

        return self._store.learn(line, known, self._now_ms()).addCallback(learned)


def _network_key(line: Line, dedup_key: str) -> str:
    """Return the key by which a text from the network is known: two lines may count alike."""
    return f"{line.label} {storable(dedup_key)}"


def _gateway_of(incoming: FromNetwork | FromPerson, world: World) -> str:
    if isinstance(incoming, FromNetwork):
        line = world.directory.lines.get(incoming.line)
        return line.gateway if line is not None else ""
    return incoming.origin.gateway if incoming.origin is not None else ""


def _ours_first(recipients: tuple[str, ...], line: Line) -> tuple[str, ...]:
    """Order the recipients of a text as `Delivery.parties` expects them."""
    known = [storable(recipient).replace("\n", " ") for recipient in recipients]
    known.sort(key=lambda recipient: recipient not in (line.number, line.label))
    return tuple(known)


def _without(body: str, charset: Charset) -> int:
    """Return how many segments a text would have without the characters that GSM lacks."""
    return count(body.translate(dict.fromkeys(map(ord, foreign(body, charset)))), charset).segments


def _sentence(text: str) -> str:
    text = text.strip()
    return text if text.endswith(".") else f"{text}."


def _first_error(failure: Failure) -> Failure:
    """Unwrap what `gatherResults` failed with."""
    failure.trap(FirstError)
    error = failure.value
    assert isinstance(error, FirstError)
    return error.subFailure


def _nothing(_: Any) -> None:
    return None
