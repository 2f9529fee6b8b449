"""
The commands that persons and operators give: one table for chat texts and for ad-hoc commands.

A command has a name, arguments and a function that returns what is said, in plain sentences of the
size of a phone.  How it was asked for, and who may, is for `bot` and `commands`; here a person gets
to see nothing but their own lines, texts and addresses.  Operators see the queue of everybody, with
masked numbers.  All times are shown in UTC.
"""

from __future__ import annotations

import hashlib
import re
from collections.abc import Awaitable, Callable, Mapping, Sequence
from datetime import UTC, datetime
from typing import Final

from attrs import evolve, frozen
from twisted.logger import Logger

from smsbridge.core.address import example_number, mask
from smsbridge.core.directory import Person, World
from smsbridge.core.entries import MessageQuery, QueueQuery
from smsbridge.core.message import Direction, FromPerson, Kind, Origin, Status
from smsbridge.core.records import CallRecord, DeliveryRecord, LineStatus, MessageRecord
from smsbridge.errors import REASONS, Failure
from smsbridge.gateways.xmpp.addresses import AddressError, Number, jid_of, parse, same_line
from smsbridge.gateways.xmpp.outbound import pack_ref
from smsbridge.interfaces import IDesk, IInbox

__all__ = [
    "COMMANDS",
    "Argument",
    "Asker",
    "Command",
    "Kinds",
    "Menu",
    "Unfit",
    "Values",
    "command_named",
    "is_ussd",
    "said_of",
]

NS_ADMIN: Final = "http://jabber.org/protocol/admin"

_MOST_LINES: Final = 50  # of a list that is asked for by count
_USUAL_LINES: Final = 10
_PAGE: Final = 100
_MOST_PAGES: Final = 10
_SHORT_ID: Final = 6  # characters of an id that are shown; random ones, see RFC 9562, 5.7
_USSD = re.compile(r"[*#][0-9*#]{0,180}#|[*#][0-9*#]{1,181}")
_USSD_ANSWER = re.compile(r"[^\x00-\x1f]{1,160}")

Values = Mapping[str, tuple[str, ...]]


class Unfit(Exception):
    """An argument that does not fit; the text is a sentence for who typed it."""


@frozen(kw_only=True)
class Asker:
    """
    Who gives a command, and from where.

    :ivar line: the label of the line that was written to, empty for the bridge itself.
    :ivar ref: what tells a repeat of the same command: a stanza's id, a session's; empty if
        nothing does.
    """

    person: Person
    bare_jid: str
    full_jid: str
    line: str = ""
    ref: str = ""


class Kinds:
    """How an argument is written."""

    LINE = "line"
    COUNT = "count"
    WORD = "word"
    TEXT = "text"  # in chat, all that is left
    CHOICE = "choice"
    CHOICES = "choices"


def _always(values: Values) -> bool:
    return True


@frozen(kw_only=True)
class Argument:
    """
    One argument of a command.

    :ivar options: what may be chosen, as (value, label); asked for when the form is shown.
    :ivar stage: on which page of the form it stands; a page may depend on those before it.
    :ivar applies: whether it is asked for at all, given what was filled in before.
    """

    name: str
    label: str
    kind: str = Kinds.WORD
    required: bool = False
    default: str = ""
    hint: str = ""
    stage: int = 0
    options: Callable[[Menu, Asker, Values], Awaitable[tuple[tuple[str, str], ...]]] | None = None
    applies: Callable[[Values], bool] = _always


@frozen(kw_only=True)
class Command:
    """
    One command.

    :ivar usage: how it is typed.
    :ivar sentence: what it does, for lists.
    :ivar run: does it; returns what is said.
    :ivar node: its name for ad-hoc commands, where that differs.
    :ivar chat_only: it makes no sense as an ad-hoc command.
    """

    name: str
    usage: str
    sentence: str
    run: Callable[[Menu, Asker, Values], Awaitable[str]]
    arguments: tuple[Argument, ...] = ()
    admin: bool = False
    node: str = ""
    form_type: str = ""
    chat_only: bool = False
    aliases: tuple[str, ...] = ()

    @property
    def address(self) -> str:
        """The node of the ad-hoc command."""
        return self.node or self.name

    def is_for(self, person: Person) -> bool:
        """Tell whether a person may give it."""
        return person.admin or not self.admin


def is_ussd(text: str) -> bool:
    """Tell whether a text is a USSD code such as ``*100#`` and nothing else."""
    return _USSD.fullmatch(text) is not None


def said_of(failure: Failure) -> str:
    """Return the sentence for a failure, with the peer's own words where they add something."""
    if failure.detail and failure.detail not in failure.text and failure.reason != "credentials":
        return f"{failure.text} ({failure.detail})"
    if failure.reason == "credentials":  # which secret is wrong is the operator's business
        return REASONS["internal"]
    return failure.text


def _one(values: Values, name: str) -> str:
    found = values.get(name, ())
    return found[0].strip() if found else ""


def _count(values: Values) -> int:
    text = _one(values, "count")
    if not text:
        return _USUAL_LINES
    if not (text.isascii() and text.isdigit() and len(text) < 10 and int(text)):
        raise Unfit(f"{text[:40]!r} is not a count; write a number from 1 to {_MOST_LINES}.")
    return min(int(text), _MOST_LINES)


def _cut(text: str, most: int) -> str:
    joined = " ".join(text.split())
    return joined if len(joined) <= most else joined[: most - 1] + "…"


def _number_of(count: int, one: str, several: str) -> str:
    return f"{count} {one if count == 1 else several}"


def _party(text: str) -> str:
    return text or "a withheld number"


class Menu:
    """
    Does what the commands say.

    :param gateway: our own label, to which reports about sent texts come.
    :param now_ms: the time of day in milliseconds since 1970 UTC.
    """

    log = Logger()

    def __init__(
        self, world: World, inbox: IInbox, gateway: str, domain: str, now_ms: Callable[[], int]
    ) -> None:
        self._world = world
        self._inbox = inbox
        self._gateway = gateway
        self._domain = domain
        self._now_ms = now_ms

    @property
    def _desk(self) -> IDesk:
        desk: IDesk | None = self._world.desk
        if desk is None:
            raise Unfit("The bridge is still starting; try again in a moment.")
        return desk

    # -- lines of a person -------------------------------------------------------------------------

    def own_lines(self, person: Person) -> tuple[str, ...]:
        """Return the labels of a person's lines that exist, the default first."""
        return tuple(label for label in person.lines if label in self._world.directory.lines)

    def line_of(self, asker: Asker, values: Values) -> str:
        """
        Return the line that a command means: the named one, the one written to, or the default.

        :raises Unfit: it is not the person's, or there is none.
        """
        own = self.own_lines(asker.person)
        if not own:
            raise Unfit("You have no line; ask the operator for one.")
        named = _one(values, "line")
        if named:
            for label in own:
                if label == named or same_line(label, named):
                    return label
            raise Unfit(f"You have no line {named[:40]}; yours: {', '.join(own)}.")
        return asker.line if asker.line in own else own[0]

    def _lines_meant(self, asker: Asker, values: Values) -> tuple[str, ...]:
        if _one(values, "line") or asker.line in self.own_lines(asker.person):
            return (self.line_of(asker, values),)
        return self.own_lines(asker.person)

    async def line_options(self, asker: Asker, values: Values) -> tuple[tuple[str, str], ...]:
        """Return the person's lines to choose from."""
        numbers = {line.label: line.number for line in self._world.directory.lines.values()}
        return tuple(
            (label, f"{label} ({numbers[label]})" if numbers[label] else label)
            for label in self.own_lines(asker.person)
        )

    # -- commands of persons -----------------------------------------------------------------------

    async def help(self, asker: Asker, values: Values) -> str:
        """Say what can be typed, or how one command is."""
        named = _one(values, "command").lower()
        if named:
            command = command_named(named, asker.person)
            if command is None:
                raise Unfit(f"There is no command {named[:40]!r}. Send help for the list.")
            return f"{command.usage}\n{command.sentence}"
        shown = [c for c in COMMANDS if c.is_for(asker.person)]
        lines = ["You can send these words:"]
        lines += [f"{command.usage} - {command.sentence}" for command in shown]
        if len(self.own_lines(asker.person)) > 1:
            lines.append("For another line than the first, put %LINE behind the command's name.")
        country = asker.person.country or self._world.directory.country
        example = example_number(country)
        lines.append(f"To text a number, write to its address: {example}@{self._domain}")
        return "\n".join(lines)

    async def status(self, asker: Asker, values: Values) -> str:
        """Say how the lines are."""
        wanted = self._lines_meant(asker, values)
        if not wanted:
            return "You have no line; you can write to the other users of the bridge."
        desk = self._desk
        found = {status.line: status for status in desk.lines()}
        said = []
        for label in wanted:
            waiting = await self._leaving(label, ("queued", "sending"))
            said.append(self._status_of(label, found.get(label), len(waiting)))
        return "\n".join(said)

    def _status_of(self, label: str, status: LineStatus | None, waiting: int) -> str:
        line = self._world.directory.lines[label]
        if status is None:
            state = "switched off" if not line.enabled else "not in use"
            status = LineStatus(line=label, gateway=line.gateway, up=False, state=state)
        number = status.number or line.number
        parts = [status.state]
        if status.signal_dbm is not None:
            parts.append(f"signal {status.signal_dbm} dBm")
        if status.operator:
            parts.append(status.operator)
        if status.call_state:
            parts.append(status.call_state)
        cap = f" of {status.daily_cap}" if status.daily_cap else ""
        name = f"{label} ({number})" if number else label
        if not waiting:
            queue = "nothing waits"
        elif waiting >= _PAGE * _MOST_PAGES:
            queue = f"{waiting} or more wait"
        else:
            queue = f"{waiting} {'waits' if waiting == 1 else 'wait'}"
        return f"{name}: {', '.join(parts)}. Sent today: {status.sent_today}{cap}; {queue}."

    async def lines(self, asker: Asker, values: Values) -> str:
        """Say which lines the person has."""
        own = self.own_lines(asker.person)
        if not own:
            return "You have no line; you can write to the other users of the bridge."
        found = {status.line: status for status in self._desk.lines()}
        said = []
        for position, label in enumerate(own):
            status = found.get(label)
            number = (status.number if status else "") or self._world.directory.lines[label].number
            up = "up" if status is not None and status.up else "down"
            shown = f"{label}: {number or 'number not known'}, {up}"
            said.append(f"{shown}, your default" if position == 0 else shown)
        return "\n".join(said)

    async def log_of_line(self, asker: Asker, values: Values) -> str:
        """Say which calls and texts there were on a line, the newest last."""
        line, count = self.line_of(asker, values), _count(values)
        desk = self._desk
        calls = await desk.calls(line, count)
        texts = await desk.history(MessageQuery(line=line, person=asker.person.label, limit=count))
        entries = [(call.started_at_ms, _call_said(call)) for call in calls]
        entries += [(record.created_at_ms, _text_said(record, 100)) for record in texts]
        return self._listed(entries, count, f"There are no calls and texts on line {line} yet.")

    async def history(self, asker: Asker, values: Values) -> str:
        """Say which texts there were with the person, the newest last."""
        count = _count(values)
        line = self.line_of(asker, values) if _one(values, "line") or asker.line else ""
        texts = await self._desk.history(
            MessageQuery(line=line, person=asker.person.label, limit=count)
        )
        entries = [(record.created_at_ms, _text_said(record, 300)) for record in texts]
        return self._listed(entries, count, "There are no texts yet.")

    def _listed(self, entries: list[tuple[int, str]], count: int, nothing: str) -> str:
        newest = sorted(entries, key=lambda entry: entry[0])[-count:]
        if not newest:
            return nothing
        return "\n".join(f"{self._at(at_ms)} {said}" for at_ms, said in newest)

    def _at(self, at_ms: int) -> str:
        at, now = (datetime.fromtimestamp(ms / 1000, UTC) for ms in (at_ms, self._now_ms()))
        if at.date() == now.date():
            return f"{at:%H:%M}"
        return f"{at:%b} {at.day} {at:%H:%M}" if at.year == now.year else f"{at:%Y-%m-%d %H:%M}"

    async def send(self, asker: Asker, values: Values) -> str:
        """Send a text."""
        number, text = _one(values, "number"), values.get("text", ("",))[0]
        if "%" in number:
            number, _, line = number.rpartition("%")
            values = {**values, "line": (line,)}
        country = asker.person.country or self._world.directory.country
        if not number or not text.strip():
            raise Unfit(f"Write the number and then the text: send {example_number(country)} hello")
        if "," in number:
            raise Unfit("Send to one number at a time.")
        label = ""
        if self.own_lines(asker.person) or _one(values, "line"):
            label = self.line_of(asker, values)
        accepted = await self._inbox.accept(
            FromPerson(
                person=asker.person.label,
                recipients=(number,),
                body=text,
                line=label,
                origin=Origin(
                    gateway=self._gateway,
                    address=asker.full_jid,
                    ref=self._ref(asker, number, label, country),
                ),
                dedup_key=_key_of(asker, label, number, text),
            )
        )
        if accepted.duplicate:
            return "That text was taken already; it is not sent twice."
        behind = f" on line {label}" if len(self.own_lines(asker.person)) > 1 else ""
        return f"Your text to {number} is on its way{behind}."

    def _ref(self, asker: Asker, number: str, line: str, country: str) -> str:
        """
        Return what reports about a text refer to: the address of the number, and no stanza.

        No chat message to the number can turn red, so what becomes of the text is told as a
        sentence in the conversation with the number.
        """
        try:
            peer = parse(number, self._domain, country).peer
        except AddressError:
            return ""
        if not isinstance(peer, Number):
            return ""
        behind = line if (line,) != asker.person.lines[:1] else ""
        return pack_ref(jid_of(peer, self._domain, behind), "")

    async def ussd(self, asker: Asker, values: Values) -> str:
        """Send a USSD code and say what the network answers."""
        code = _one(values, "code")
        if not _USSD_ANSWER.fullmatch(code):
            raise Unfit(
                "Write a USSD code, such as *100#, or the answer to the network's question."
            )
        answer = await self._desk.ussd(self.line_of(asker, values), code)
        return f"[USSD] {answer.strip() or 'The network answered with an empty text.'}"

    async def cancel(self, asker: Asker, values: Values) -> str:
        """Take back a text that waits to be sent."""
        own = await self._own_waiting(asker)
        wanted = _one(values, "id").lower().lstrip("#")
        if not own:
            return "None of your texts is waiting; what has left cannot be taken back."
        if wanted:
            meant = [record for record in own if _is_meant(record.message_id, wanted)]
            if not meant:
                raise Unfit(
                    f"None of your waiting texts is #{wanted[:40]}. Send cancel for a list."
                )
        else:
            meant = own
        if len({record.message_id for record in meant}) > 1:
            listed = [f"#{_short(r.message_id)} to {r.to}: {_cut(r.text, 60)}" for r in meant]
            return "\n".join(["Several texts wait; send cancel and the number of one:", *listed])
        dropped = await self._desk.drop(tuple(record.delivery_id for record in meant))
        if not dropped:
            return "It has just left and cannot be taken back."
        return f"Your text to {', '.join(record.to for record in meant)} will not be sent."

    async def _own_waiting(self, asker: Asker) -> list[DeliveryRecord]:
        """Return the person's queued deliveries, with the message's body as `text`."""
        records: dict[str, DeliveryRecord] = {}
        for line in self.own_lines(asker.person):
            for record in await self._leaving(line, ("queued",)):
                records[record.delivery_id] = record
        ids = sorted({record.message_id for record in records.values()})
        bodies: dict[str, str] = {}
        for start in range(0, len(ids), _PAGE):
            part = tuple(ids[start : start + _PAGE])
            for message in await self._desk.history(MessageQuery(message_ids=part)):
                if message.author == asker.person.label:
                    bodies[message.message_id] = message.body
        return [
            evolve(record, text=bodies[record.message_id])
            for record in records.values()
            if record.message_id in bodies
        ]

    async def cancel_options(self, asker: Asker, values: Values) -> tuple[tuple[str, str], ...]:
        """Return the person's waiting texts to choose from."""
        found = {
            record.message_id: f"{record.to}: {_cut(record.text, 60)}"
            for record in await self._own_waiting(asker)
        }
        return tuple(found.items())

    async def whoami(self, asker: Asker, values: Values) -> str:
        """Say as whom the bridge knows the person."""
        person = asker.person
        said = [f"You are {person.label}, writing from {asker.bare_jid}."]
        others = [jid for jid in person.xmpp if jid != asker.bare_jid]
        addresses = [*others, *(f"SIP {user}" for user in person.sip)]
        addresses += [f"extension {extension}" for extension in person.dect]
        if addresses:
            said.append(f"Your other addresses: {', '.join(addresses)}.")
        own = self.own_lines(person)
        said.append(f"Your lines: {', '.join(own)}." if own else "You have no line.")
        if person.rate:
            said.append(
                f"You may send {_number_of(person.burst, 'text', 'texts')} at once and then "
                f"{person.rate:g} a second."
            )
        if person.admin:
            said.append("You may use the commands of operators.")
        return "\n".join(said)

    # -- commands of operators ---------------------------------------------------------------------

    async def links(self, asker: Asker, values: Values) -> str:
        """Say how the gateways are."""
        said = []
        for link in self._desk.links():
            up = "up" if link.up else "down"
            since = f" since {self._at(link.since_ms)}" if link.since_ms is not None else ""
            said.append(f"{link.gateway} ({link.kind}): {up}{since}. {link.state}".rstrip())
        return "\n".join(said) or "There is no gateway."

    async def queue(self, asker: Asker, values: Values) -> str:
        """List, try again, or give up what waits."""
        action = _one(values, "action").lower() or "list"
        if action == "list":
            records = await self._waiting(QueueQuery())
            if not records:
                return "Nothing waits."
            shown = [self._queued_said(record) for record in records[-_USUAL_LINES:]]
            if len(records) > len(shown):
                shown.insert(0, f"The last {len(shown)} of {len(records)}:")
            return "\n".join(shown)
        if action not in ("retry", "drop"):
            raise Unfit("Send queue list, queue retry ID or queue drop ID.")
        typed = [word for value in values.get("ids", ()) for word in value.split()]
        if not typed:
            raise Unfit(f"Say which: queue {action} ID, with the IDs that queue list shows.")
        ids = await self._queued_ids(action, typed)
        if action == "retry":
            count = await self._desk.retry(ids)
            return f"{_number_of(count, 'delivery is', 'deliveries are')} tried again."
        count = await self._desk.drop(ids)
        return f"{_number_of(count, 'delivery was', 'deliveries were')} given up."

    def _queued_said(self, record: DeliveryRecord) -> str:
        why = f", {record.reason}" if record.reason else ""
        tries = f", tried {_number_of(record.attempts, 'time', 'times')}" if record.attempts else ""
        return (
            f"#{_short(record.delivery_id)} {self._at(record.created_at_ms)} {record.status} on "
            f"{record.gateway} to {mask(record.to)}{tries}{why}"
        )

    async def _queued_ids(self, action: str, typed: Sequence[str]) -> tuple[str, ...]:
        records = await self._waiting(QueueQuery(statuses=("queued", "uncertain")))
        found: list[str] = []
        for word in typed:
            wanted = word.lower().lstrip("#")
            if wanted == "all":
                # What is uncertain may have been sent, so each of those must be named.
                found += [r.delivery_id for r in records if r.status == Status.QUEUED]
                continue
            meant = [r.delivery_id for r in records if _is_meant(r.delivery_id, wanted)]
            if not meant and action == "retry" and len(wanted) > 30:
                # An ID in full, from the log or a trace, also names what has ended badly.
                query = QueueQuery(
                    statuses=("failed", "expired", "dropped"), delivery_ids=(wanted,)
                )
                meant = [record.delivery_id for record in await self._desk.waiting(query)]
            if not meant:
                raise Unfit(f"Nothing in the queue is #{wanted[:60]}. Send queue list for the IDs.")
            if len(meant) > 1:
                raise Unfit(f"#{wanted[:60]} means several; write more of its ID.")
            found += meant
        if not found:
            raise Unfit("Nothing is queued.")
        return tuple(dict.fromkeys(found))

    async def queue_options(self, asker: Asker, values: Values) -> tuple[tuple[str, str], ...]:
        """Return what waits, to choose from."""
        records = await self._waiting(QueueQuery(statuses=("queued", "uncertain")))
        return tuple((r.delivery_id, self._queued_said(r)) for r in records[-_PAGE:])

    async def _leaving(self, line: str, statuses: tuple[str, ...]) -> list[DeliveryRecord]:
        """Return what is on its way from a line to the phone network."""
        gateway = self._world.directory.lines[line].gateway
        return await self._waiting(QueueQuery(gateway=gateway, line=line, statuses=statuses))

    async def _waiting(self, query: QueueQuery) -> list[DeliveryRecord]:
        """Return texts of the queue, page by page; reports and notices are left out."""
        found: list[DeliveryRecord] = []
        query = evolve(query, limit=_PAGE)
        for _ in range(_MOST_PAGES):
            page = await self._desk.waiting(query)
            found += [record for record in page if record.kind == Kind.MESSAGE]
            if len(page) < _PAGE:
                break
            query = evolve(query, after_id=page[-1].delivery_id)
        return found

    async def reload(self, asker: Asker, values: Values) -> str:
        """Read the configuration again."""
        self.log.info("{person} reloads the configuration by chat", person=asker.person.label)
        return "\n".join(await self._desk.reload_configuration())

    async def announce(self, asker: Asker, values: Values) -> str:
        """Tell everybody something."""
        text = "\n".join(values.get("announcement", ())).strip()
        if not text:
            raise Unfit("Write what is announced: announce TEXT")
        persons = list(self._world.directory.persons)
        failed = 0
        for label in persons:
            try:
                await self._inbox.notify(label, f"Announcement: {text}")
            except Failure as e:
                failed += 1
                self.log.warn("not announced to {person}: {reason}", person=label, reason=e.text)
        told = f"Announced to {_number_of(len(persons) - failed, 'person', 'persons')}."
        return f"{told} {failed} could not be told; the log says why." if failed else told


def _key_of(asker: Asker, line: str, number: str, text: str) -> str:
    """Return what a repeat of the same text by the same command is recognized by."""
    if not asker.ref:
        return ""
    # Ids alone do not do: some clients count theirs from 1 at every start.
    parts = "\0".join((asker.bare_jid, asker.ref, line, number, text))
    return f"command {hashlib.sha256(parts.encode('utf-8', 'replace')).hexdigest()}"


def _short(an_id: str) -> str:
    """Return the end of an id, with the number of the delivery if it is one's."""
    message_id, dot, number = an_id.partition(".")
    return message_id[-_SHORT_ID:] + dot + number


def _is_meant(an_id: str, typed: str) -> bool:
    """Tell whether what was typed is an id or its end; a delivery's number may be left out."""
    message_id, _, number = an_id.lower().partition(".")
    wanted, dot, wanted_number = typed.partition(".")
    return (
        (len(wanted) >= _SHORT_ID or wanted == message_id)
        and message_id.endswith(wanted)
        and (not dot or number == wanted_number)
    )


def _call_said(call: CallRecord) -> str:
    party = _party(call.number)
    if call.duration_s is None or (call.incoming and not call.duration_s):
        said = f"missed call from {party}" if call.incoming else f"call to {party}"
    else:
        direction = "call from" if call.incoming else "call to"
        said = f"{direction} {party}, {call.duration_s} s"
    return f"{said} ({call.cause})" if call.cause else said


def _text_said(record: MessageRecord, most: int) -> str:
    body = _cut(record.body, most)
    if record.media:
        files = _number_of(len(record.media), "attachment", "attachments")
        body = f"{body} [{files}]".lstrip()
    if record.direction == Direction.IN:
        return f"from {_party(record.sender)}: {body}"
    statuses = dict.fromkeys(delivery.status for delivery in record.deliveries)
    state = f" ({', '.join(statuses)})" if statuses else ""
    sender = f"{record.author} " if record.direction == Direction.INTERNAL else ""
    return f"{sender}to {', '.join(record.recipients)}{state}: {body}"


_LINE = Argument(
    name="line", label="Line", kind=Kinds.LINE, options=Menu.line_options, hint="Empty: the first."
)
_COUNT = Argument(name="count", label="How many", kind=Kinds.COUNT, default=str(_USUAL_LINES))


async def _queue_actions(menu: Menu, asker: Asker, values: Values) -> tuple[tuple[str, str], ...]:
    return (("list", "Show it"), ("retry", "Try again"), ("drop", "Give up"))


def _names_deliveries(values: Values) -> bool:
    return _one(values, "action").lower() in ("retry", "drop")


COMMANDS: Final[tuple[Command, ...]] = (
    Command(
        name="help",
        usage="help [COMMAND]",
        sentence="What you can send here.",
        arguments=(Argument(name="command", label="Command"),),
        run=Menu.help,
        aliases=("?", "hello", "hi", "menu"),
        chat_only=True,
    ),
    Command(
        name="status",
        usage="status",
        sentence="How your lines are.",
        arguments=(_LINE,),
        run=Menu.status,
    ),
    Command(
        name="log",
        usage="log [N]",
        sentence="The last calls and texts of your line (times in UTC).",
        arguments=(_LINE, _COUNT),
        run=Menu.log_of_line,
    ),
    Command(
        name="history",
        usage="history [N]",
        sentence="Your last texts, and what became of them.",
        arguments=(_LINE, _COUNT),
        run=Menu.history,
    ),
    Command(
        name="send",
        usage="send NUMBER TEXT",
        sentence="Send a text.",
        arguments=(
            Argument(name="number", label="Number", required=True, hint="With country code."),
            Argument(name="text", label="Text", kind=Kinds.TEXT, required=True),
            _LINE,
        ),
        run=Menu.send,
    ),
    Command(
        name="ussd",
        usage="ussd CODE",
        sentence="Send a USSD code to the network; the code alone, such as *100#, does as well.",
        arguments=(Argument(name="code", label="Code", kind=Kinds.TEXT, required=True), _LINE),
        run=Menu.ussd,
    ),
    Command(name="lines", usage="lines", sentence="Your lines and numbers.", run=Menu.lines),
    Command(
        name="cancel",
        usage="cancel [ID]",
        sentence="Take back a text that still waits.",
        arguments=(
            Argument(
                name="id",
                label="Waiting text",
                kind=Kinds.CHOICE,
                options=Menu.cancel_options,
            ),
        ),
        run=Menu.cancel,
    ),
    Command(name="whoami", usage="whoami", sentence="Who you are here.", run=Menu.whoami),
    Command(
        name="links",
        usage="links",
        sentence="How the gateways are.",
        run=Menu.links,
        admin=True,
    ),
    Command(
        name="queue",
        usage="queue [list | retry ID | drop ID]",
        sentence="What waits to be sent.",
        arguments=(
            Argument(
                name="action",
                label="What to do",
                kind=Kinds.CHOICE,
                default="list",
                options=_queue_actions,
            ),
            Argument(
                name="ids",
                label="Which",
                kind=Kinds.CHOICES,
                required=True,
                stage=1,
                options=Menu.queue_options,
                applies=_names_deliveries,
            ),
        ),
        run=Menu.queue,
        admin=True,
    ),
    Command(
        name="reload",
        usage="reload",
        sentence="Read the configuration again.",
        run=Menu.reload,
        admin=True,
    ),
    Command(
        name="announce",
        usage="announce TEXT",
        sentence="Tell everybody something.",
        arguments=(
            Argument(name="announcement", label="Announcement", kind=Kinds.TEXT, required=True),
        ),
        run=Menu.announce,
        admin=True,
        node=f"{NS_ADMIN}#announce",  # XEP-0133, 4.23
        form_type=NS_ADMIN,
    ),
)


def command_named(word: str, person: Person) -> Command | None:
    """Return the command with this name or alias, if the person may give it."""
    for command in COMMANDS:
        if word in (command.name, *command.aliases) and command.is_for(person):
            return command
    return None
