"""
How messages, conversations, contacts and lines look as resources of the API.

The one place that knows the names of their attributes; the answers of the operations and the events
have the same.  The types stand beside the functions, so that the document of the API is made from
them.  What one person must not know of another (addresses, devices) is left out here.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import lru_cache
from typing import Any, Final, Generic, Literal, NotRequired, TypeVar

import phonenumbers
from attrs import define
from typing_extensions import TypedDict

from smsbridge.core.book import Contact, PersonalBook
from smsbridge.core.directory import World
from smsbridge.core.message import Direction, Kind, Media, Status
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    LineStatus,
    LinkStatus,
    MessageRecord,
    Preview,
)
from smsbridge.core.threads import MOST_UNREAD, ConversationRecord, Viewer
from smsbridge.errors import REASONS, Refused
from smsbridge.web.api.operation import BASE
from smsbridge.web.bridge import IBridge
from smsbridge.web.shapes import instant

__all__ = [
    "Many",
    "MessageReference",
    "MessageResource",
    "One",
    "Page",
    "Shapes",
    "bars",
    "contact",
    "conversation_id",
    "conversation_of",
    "detail",
    "link",
    "pretty",
]

T = TypeVar("T")
Shape = dict[str, Any]

DeliveryStatus = Literal[
    "queued", "sending", "sent", "delivered", "failed", "expired", "uncertain", "dropped"
]
MessageStatus = Literal["received", "scheduled", DeliveryStatus]

#: The worst first: what a message to several is said to be.
_WORST_FIRST: Final = (
    Status.FAILED,
    Status.EXPIRED,
    Status.UNCERTAIN,
    Status.DROPPED,
    Status.QUEUED,
    Status.SENDING,
    Status.SENT,
    Status.DELIVERED,
)
#: Of a person's several devices the one that got furthest counts.
_FURTHEST: Final = (
    Status.DELIVERED,
    Status.SENT,
    Status.SENDING,
    Status.QUEUED,
    Status.UNCERTAIN,
    Status.EXPIRED,
    Status.FAILED,
    Status.DROPPED,
)
#: The weakest signal for each number of bars.
_BARS_DBM: Final = ((-75, 4), (-87, 3), (-97, 2), (-109, 1))


# -- the documents -------------------------------------------------------------------------------


class Links(TypedDict):
    """Where there is more; null at the end."""

    next: str | None


class Self(TypedDict):
    """Where a resource itself is."""

    self: str


class One(TypedDict, Generic[T]):
    """A document with one resource."""

    data: T


class Many(TypedDict, Generic[T]):
    """A document with a list of resources, all of them."""

    data: list[T]


class Page(TypedDict, Generic[T]):
    """A document with a page of a list."""

    data: list[T]
    links: Links


class MediaShape(TypedDict):
    """An attachment; `in_text` is its link as it stands in the text, where it went out so."""

    url: str
    content_type: str
    size: int | None
    name: str
    width: int | None
    height: int | None
    thumbnail: str
    in_text: str


class Step(TypedDict):
    """One step of a delivery's history."""

    at: str
    status: DeliveryStatus
    attempt: int
    reason: str
    text: str


class DeliveryShape(TypedDict):
    """A message on its way to one number or device."""

    id: str
    to: str
    gateway: str
    person: str
    status: DeliveryStatus
    attempts: int
    reason: str
    detail: str
    remote_id: str
    history: NotRequired[list[Step]]


MessageAttributes = TypedDict(
    "MessageAttributes",
    {
        "direction": Literal["inbound", "outbound", "internal"],
        "from": str,
        "to": list[str],
        "body": str,
        "is_mms": bool,
        "line": str,
        "person": str,
        "conversation": str,
        "created_at": str,
        "timestamp": str,
        "network_at": str | None,
        "scheduled_at": str | None,
        "status": MessageStatus,
        "reason": str,
        "detail": str,
        "media": list[MediaShape],
        "media_urls": list[str],
        "deliveries": list[DeliveryShape],
    },
)


class MessageReference(TypedDict):
    """A text, without its attributes."""

    type: Literal["message"]
    id: str
    links: Self


class MessageResource(MessageReference):
    """A text."""

    attributes: MessageAttributes


class PreviewRecipientShape(TypedDict):
    """To whom a text would go."""

    number: str
    name: str
    person: str


PreviewAttributes = TypedDict(
    "PreviewAttributes",
    {
        "line": str,
        "from": str,
        "recipients": list[PreviewRecipientShape],
        "parts": int,
        "texts": int,
        "encoding": Literal["gsm", "unicode"],
        "characters": int,
        "as": Literal["sms", "mms", "link", "internal"],
        "body": str,
        "media": list[MediaShape],
        "warnings": list[str],
    },
)


class PreviewResource(TypedDict):
    """What would become of a text."""

    type: Literal["preview"]
    id: str
    attributes: PreviewAttributes


class Party(TypedDict):
    """One of the others in a conversation; either `number` or `person` is set."""

    number: str
    name: str
    person: str


class LastMessage(TypedDict):
    """The newest text of a conversation."""

    id: str
    attributes: MessageAttributes


class ConversationAttributes(TypedDict):
    """What its viewer sees of a conversation."""

    line: str
    parties: list[Party]
    title: str
    group: bool
    internal: bool
    last_message: LastMessage | None
    unread: int
    read_to: str
    archived: bool
    muted: bool
    blocked: bool
    draft: str
    updated_at: str | None


class ConversationResource(TypedDict):
    """A line and the set of the other parties."""

    type: Literal["conversation"]
    id: str
    attributes: ConversationAttributes


class NumberShape(TypedDict):
    """A number of a contact."""

    number: str
    label: str


class ContactAttributes(TypedDict):
    """An entry of an address book."""

    name: str
    numbers: list[NumberShape]
    groups: list[str]
    note: str
    source: Literal["own", "file"]


class ContactResource(TypedDict):
    """Somebody whom the person knows."""

    type: Literal["contact"]
    id: str
    attributes: ContactAttributes


class Command(TypedDict):
    """What a line can be asked."""

    arguments: str
    help: str


class LineAttributes(TypedDict):
    """What is known of a line now."""

    gateway: str
    number: str
    enabled: bool
    up: bool
    state: str
    signal_dbm: int | None
    signal: int | None
    operator: str
    model: str
    imei: str
    last_seen_at: str | None
    sent_today: int
    daily_cap: int
    ussd: bool
    commands: dict[str, Command]


class LineResource(TypedDict):
    """A number of ours on the phone network."""

    type: Literal["line"]
    id: str
    attributes: LineAttributes


class LinkAttributes(TypedDict):
    """Whether a gateway's own link works."""

    kind: str
    up: bool
    state: str
    since: str | None


class LinkResource(TypedDict):
    """The link of a gateway; its id is the gateway's name."""

    type: Literal["link"]
    id: str
    attributes: LinkAttributes


class Depth(TypedDict):
    """How much of a gateway waits."""

    gateway: str
    status: DeliveryStatus
    count: int
    oldest_at: str | None


class CallAttributes(TypedDict):
    """A call that a line saw."""

    line: str
    incoming: bool
    number: str
    name: str
    started_at: str
    duration_s: int | None
    cause: str


class CallResource(TypedDict):
    """One line of the call log."""

    type: Literal["call"]
    id: str
    attributes: CallAttributes


# -- ids -----------------------------------------------------------------------------------------


def conversation_id(conversation: str) -> str:
    """Return the id by which the API calls a conversation."""
    return base64.urlsafe_b64encode(conversation.encode("utf-8")).rstrip(b"=").decode("ascii")


def conversation_of(given_id: str) -> str:
    """Return the conversation of an id; empty if it is none of ours."""
    try:
        raw = given_id.encode("ascii")
        name = base64.b64decode(raw + b"=" * (-len(raw) % 4), b"-_", validate=True).decode("utf-8")
    except (UnicodeError, binascii.Error):
        return ""
    # Only the one form that we gave out, so that no two ids mean the same.
    return name if conversation_id(name) == given_id and "\0" not in name else ""


@lru_cache(maxsize=8192)
def pretty(number: str, country: str) -> str:
    """Write a number as people of a country do; what is no number stays as it is."""
    if not number.startswith("+"):
        return number
    try:
        known = phonenumbers.parse(number)
    except phonenumbers.NumberParseException:
        return number
    national = known.country_code == phonenumbers.country_code_for_region(country)
    return phonenumbers.format_number(
        known,
        phonenumbers.PhoneNumberFormat.NATIONAL
        if national
        else phonenumbers.PhoneNumberFormat.INTERNATIONAL,
    )


# -- the shapes ----------------------------------------------------------------------------------


@define
class Shapes:
    """
    Makes resources as their viewers see them.

    :param now_ms: tells whether a text still waits for its time.
    :param public_url: what links to resources begin with; may be empty.
    """

    world: World
    bridge: IBridge
    now_ms: Callable[[], int]
    public_url: Callable[[], str]

    def book(self, viewer: Viewer) -> PersonalBook:
        """Return what a viewer calls whom."""
        return self.world.book.of(viewer.person)

    def message(self, record: MessageRecord, viewer: Viewer, *, history: bool = False) -> Shape:
        """
        Shape a message.

        :param history: with all that became of each delivery.
        """
        shape = self.reference(record.message_id)
        shape["attributes"] = self.message_attributes(record, viewer, history=history)
        return shape

    def reference(self, message_id: str) -> Shape:
        """Shape a message without its attributes."""
        return {
            "type": "message",
            "id": message_id,
            "links": {"self": f"{self.public_url()}{BASE}/messages/{message_id}"},
        }

    def message_attributes(
        self, record: MessageRecord, viewer: Viewer, *, history: bool = False
    ) -> Shape:
        """Shape a message's attributes."""
        deliveries = [each for each in record.deliveries if each.kind == Kind.MESSAGE.value]
        status, decisive, scheduled_at_ms = self._status(record, viewer, deliveries)
        created_at = instant(record.created_at_ms)
        media = [self.media(each) for each in record.media]
        direction = _DIRECTIONS[Direction(record.direction)]
        if direction == "inbound":
            # To which devices of whom a text went is of no concern to who shares the line.
            deliveries = [each for each in deliveries if each.person == viewer.person]
        return {
            "direction": direction,
            "from": record.sender,
            "to": list(record.recipients),
            "body": record.body,
            "is_mms": any(not each.linked for each in record.media),
            "line": record.line,
            "person": record.author,
            "conversation": conversation_id(record.conversation),
            "created_at": created_at,
            "timestamp": created_at,
            "network_at": instant(record.sent_at_ms),
            "scheduled_at": instant(scheduled_at_ms),
            "status": status,
            "reason": decisive.reason if decisive is not None else "",
            "detail": detail(decisive) if decisive is not None else "",
            "media": media,
            "media_urls": [each["url"] for each in media],
            "deliveries": [self._delivery(each, viewer, history) for each in deliveries],
        }

    def _status(
        self, record: MessageRecord, viewer: Viewer, deliveries: Sequence[DeliveryRecord]
    ) -> tuple[str, DeliveryRecord | None, int | None]:
        """Return a message's status, the delivery that decides on it, and until when it waits."""
        if record.direction == Direction.IN:
            return "received", None, None
        if record.direction == Direction.INTERNAL and viewer.person != record.author:
            return "received", None, None
        if not deliveries:
            return Status.DELIVERED.value, None, None
        by_person: dict[str, DeliveryRecord] = {}
        counting = []
        for each in deliveries:
            if not each.person:
                counting.append(each)
                continue
            known = by_person.get(each.person)
            if known is None or _FURTHEST.index(each.status) < _FURTHEST.index(known.status):
                by_person[each.person] = each
        counting.extend(by_person.values())
        decisive = min(counting, key=lambda each: _WORST_FIRST.index(each.status))
        if (
            decisive.status is Status.QUEUED
            and not decisive.attempts
            and decisive.due_at_ms is not None
            and decisive.due_at_ms > max(self.now_ms(), decisive.created_at_ms)
        ):
            return "scheduled", decisive, decisive.due_at_ms
        return decisive.status.value, decisive, None

    def _delivery(self, record: DeliveryRecord, viewer: Viewer, history: bool) -> Shape:
        others = bool(record.person) and record.person != viewer.person
        shape: Shape = {
            "id": record.delivery_id,
            "to": record.person if others else record.to,
            "gateway": record.gateway,
            "person": record.person,
            "status": record.status.value,
            "attempts": record.attempts,
            "reason": record.reason,
            "detail": detail(record),
            "remote_id": "" if others else record.remote_id,
        }
        if history:
            shape["history"] = [
                {
                    "at": instant(step.at_ms),
                    "status": step.status.value,
                    "attempt": step.attempt,
                    "reason": step.reason,
                    "text": step.text,
                }
                for step in record.history
            ]
        return shape

    def media(self, media: Media) -> Shape:
        """Shape an attachment, with links that work for a while."""
        files = self.world.media
        url, thumbnail, size_px = media.url, "", None
        if media.digest and files is not None:
            url = files.link(media)
            thumbnail = files.thumbnail_link(media)
            size_px = files.size_px(media)
        return {
            "url": url,
            "content_type": media.content_type,
            "size": media.size,
            "name": media.name,
            "width": size_px[0] if size_px is not None else None,
            "height": size_px[1] if size_px is not None else None,
            "thumbnail": thumbnail,
            "in_text": media.url if media.linked else "",
        }

    def preview(self, preview: Preview) -> Shape:
        """Shape what would become of a text."""
        return {
            "type": "preview",
            "id": "preview",
            "attributes": {
                "line": preview.line,
                "from": preview.sender,
                "recipients": [
                    {"number": each.number, "name": each.name, "person": each.person}
                    for each in preview.recipients
                ],
                "parts": preview.segments,
                "texts": preview.texts,
                "encoding": preview.encoding,
                "characters": preview.characters,
                "as": preview.carried_as,
                "body": preview.body,
                "media": [self.media(each) for each in preview.media],
                "warnings": list(preview.warnings),
            },
        }

    def conversation(self, record: ConversationRecord, viewer: Viewer) -> Shape:
        """Shape a conversation."""
        parties = self.parties(record.parties, viewer)
        country = self.country(viewer)
        last = record.last
        return {
            "type": "conversation",
            "id": conversation_id(record.conversation),
            "attributes": {
                "line": record.line,
                "parties": parties,
                "title": ", ".join(
                    each["name"] or pretty(each["number"], country) or "Number withheld"
                    for each in parties
                ),
                "group": len(parties) > 1,
                "internal": not record.line,
                "last_message": {
                    "id": last.message_id,
                    "attributes": self.message_attributes(last, viewer),
                }
                if last is not None
                else None,
                "unread": min(record.unread, MOST_UNREAD),
                "read_to": record.read_id,
                "archived": record.archived,
                "muted": record.muted,
                "blocked": len(parties) == 1 and parties[0]["number"] in viewer.blocked,
                "draft": record.draft,
                "updated_at": instant(last.created_at_ms) if last is not None else None,
            },
        }

    def parties(self, parties: Iterable[str], viewer: Viewer) -> list[Shape]:
        """Shape the others of a conversation: who looks is none of them."""
        known = list(parties)
        others = [each for each in known if each != viewer.person] or known
        persons = self.world.directory.persons
        names = self.book(viewer).names
        return [
            {"number": "", "name": each, "person": each}
            if each in persons
            else {"number": each, "name": names.get(each, ""), "person": ""}
            for each in others
        ]

    def country(self, viewer: Viewer) -> str:
        """Return the country whose way of writing numbers a viewer knows."""
        person = self.world.directory.persons.get(viewer.person)
        return (person.country if person is not None else "") or self.world.directory.country

    def line(self, status: LineStatus) -> Shape:
        """Shape what is known of a line now."""
        line = self.world.directory.lines.get(status.line)
        return {
            "type": "line",
            "id": status.line,
            "attributes": {
                "gateway": status.gateway,
                "number": status.number or (line.number if line is not None else ""),
                "enabled": line.enabled if line is not None else True,
                "up": status.up,
                "state": status.state,
                "signal_dbm": status.signal_dbm,
                "signal": bars(status.signal_dbm),
                "operator": status.operator,
                "model": status.model,
                "imei": status.imei,
                "last_seen_at": instant(status.last_seen_ms),
                "sent_today": status.sent_today,
                "daily_cap": status.daily_cap,
                "ussd": self.bridge.has_ussd(status.line),
                "commands": self._commands(status.line),
            },
        }

    def _commands(self, line: str) -> Shape:
        try:
            commands = self.bridge.line_commands(line)
        except Refused:  # its gateway went away just now
            return {}
        return {
            name: {"arguments": arguments, "help": sentence}
            for name, (arguments, sentence) in sorted(commands.items())
        }

    def call(self, record: CallRecord, names: Mapping[str, str]) -> Shape:
        """Shape one line of the call log."""
        return {
            "type": "call",
            "id": f"{record.line}-{record.started_at_ms}",
            "attributes": {
                "line": record.line,
                "incoming": record.incoming,
                "number": record.number,
                "name": names.get(record.number, ""),
                "started_at": instant(record.started_at_ms),
                "duration_s": record.duration_s,
                "cause": record.cause,
            },
        }


def contact(entry: Contact) -> Shape:
    """Shape an entry of an address book."""
    return {
        "type": "contact",
        "id": entry.contact_id,
        "attributes": {
            "name": entry.name,
            "numbers": [{"number": number, "label": label} for number, label in entry.numbers],
            "groups": list(entry.groups),
            "note": entry.note,
            "source": "file" if entry.contact_id.startswith("file:") else "own",
        },
    }


def bars(signal_dbm: int | None) -> int | None:
    """Return a signal's strength as telephones show it, 0 to 4."""
    if signal_dbm is None:
        return None
    return next((count for least, count in _BARS_DBM if signal_dbm >= least), 0)


def link(status: LinkStatus) -> Shape:
    """Shape the state of a gateway's own link."""
    return {
        "type": "link",
        "id": status.gateway,
        "attributes": {
            "kind": status.kind,
            "up": status.up,
            "state": status.state,
            "since": instant(status.since_ms),
        },
    }


_DIRECTIONS: Final = {
    Direction.IN: "inbound",
    Direction.OUT: "outbound",
    Direction.INTERNAL: "internal",
}


def detail(record: DeliveryRecord) -> str:
    """Say in a sentence why a delivery is as it is; empty where nothing is to be said."""
    return record.text or REASONS.get(record.reason, "")
