"""
The frozen values that travel through the bridge: what came in, what goes out, what became of it.

Times are milliseconds since 1970 UTC, numbers are E.164 with ``+`` (or the short code or name that
the network showed), persons and lines are the labels of their ini sections.
"""

from __future__ import annotations

import re
from enum import StrEnum
from typing import TYPE_CHECKING, Final

from attrs import field, frozen
from twisted.internet.defer import Deferred

from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome

if TYPE_CHECKING:
    from smsbridge.core.entries import Entry

__all__ = [
    "Accepted",
    "Call",
    "Delivery",
    "DeliveryReport",
    "Direction",
    "FromNetwork",
    "FromPerson",
    "Kind",
    "Media",
    "NotTried",
    "Origin",
    "Outcome",
    "Sent",
    "Settled",
    "Status",
    "UssdNotice",
    "storable",
]

# What no database and no wire can carry; everything else is stored as it came.
_UNSTORABLE: Final = re.compile("[\x00\ud800-\udfff]")


def storable(text: str) -> str:
    """Replace what no database can hold (NUL) and no wire can carry (lone surrogates)."""
    if text.isascii() and "\x00" not in text:
        return text
    return _UNSTORABLE.sub("\ufffd", text)


class Status(StrEnum):
    """What is known of a delivery; the values are what users and programs see."""

    QUEUED = "queued"
    SENDING = "sending"
    SENT = "sent"
    DELIVERED = "delivered"
    FAILED = "failed"
    EXPIRED = "expired"
    UNCERTAIN = "uncertain"
    DROPPED = "dropped"


class Direction(StrEnum):
    """Which way a message crosses the bridge."""

    IN = "in"  # from the phone network to persons
    OUT = "out"  # from a person, a program or the operator to the phone network
    INTERNAL = "internal"  # from person to person


class Kind(StrEnum):
    """What a delivery carries."""

    MESSAGE = "message"
    REPORT = "report"  # what became of a message, on its way to the sender
    NOTICE = "notice"  # a sentence of the bridge or the network (USSD) to a person


@frozen(kw_only=True)
class Media:
    """
    One attachment of a message: a file that we keep, or a link to one that is elsewhere.

    A file that we keep and that goes out as a link in the text has both `digest` and `url`.
    """

    url: str = ""  # elsewhere; empty for a file that we keep: ask `Files.link`
    content_type: str = ""
    size: int | None = None
    name: str = ""
    digest: str = ""  # SHA-256 (hexadecimal) of a file in our media store

    @property
    def linked(self) -> bool:
        """Tell whether the text itself carries the link, so that a line has nothing to attach."""
        return bool(self.digest and self.url)


@frozen(kw_only=True)
class Origin:
    """Where reports about a message go, in the originating gateway's own terms."""

    gateway: str
    address: str  # whom to tell: a full JID, a SIP contact, an extension
    ref: str = ""  # what the sender calls the message: stanza id, Call-ID
    wants_report: bool = False  # the sender asked to hear of delivery; failures are always told


@frozen(kw_only=True)
class FromNetwork:
    """A text that arrived on one of our lines."""

    line: str
    sender: str
    body: str
    recipients: tuple[str, ...] = ()  # ours included; empty means our number alone
    dedup_key: str = ""  # what the gateway recognizes a repeat by; empty: never a repeat
    dedup_for_s: float = 600.0
    sent_at_ms: int | None = None  # the network's time, where it tells one
    media: tuple[Media, ...] = ()
    word_handled: bool = False  # the provider dealt with the STOP, START or HELP that this is


@frozen(kw_only=True)
class FromPerson:
    """A text that a person (or the operator, with an empty person) wants sent."""

    person: str
    recipients: tuple[str, ...]  # as typed: numbers, short codes or names of persons
    body: str
    line: str = ""  # empty: the person's first line
    sender: str = ""  # how the sender is shown to other persons; default: the person's name
    origin: Origin | None = None
    dedup_key: str = ""
    dedup_for_s: float = 7 * 86400.0
    media: tuple[Media, ...] = ()
    group: bool = False  # one conversation of several, not copies to each
    not_before_ms: int | None = None  # scheduled sending


@frozen(kw_only=True)
class UssdNotice:
    """A text that the network pushed on the USSD channel of a line."""

    line: str
    body: str
    dedup_key: str = ""
    dedup_for_s: float = 600.0


@frozen(kw_only=True)
class Call:
    """One line of the call log."""

    line: str
    incoming: bool
    number: str
    started_at_ms: int
    duration_s: int | None = None
    cause: str = ""


@frozen(kw_only=True)
class Accepted:
    """The committed answer to an accept: which message it is, and whether it was known already."""

    message_id: str
    duplicate: bool = False
    entry: Entry | None = field(default=None, eq=False, repr=False)  # what was committed just now


@frozen
class Delivery:
    """One message, report or notice on its way to one destination through one gateway."""

    delivery_id: str
    message_id: str  # empty for a notice that concerns no message
    kind: Kind
    gateway: str
    lane: str  # what is sent one after another: a line, a stream; see `ILanes`
    line: str
    person: str  # to whom it goes, empty towards the phone network
    destination: str  # in the gateway's own terms: +E164, bare JID, extension
    order_key: str  # deliveries of one key keep their order
    status: Status
    attempts: int
    created_at_ms: int
    expires_at_ms: int
    body: str  # the text; of a report or notice: the sentence for people
    sender: str = ""  # of the message: who speaks, as shown outside
    author: str = ""  # of the message: the person who wrote it, if one did
    recipients: tuple[str, ...] = ()
    direction: str = Direction.IN
    media: tuple[Media, ...] = ()
    ref: str = ""  # of a report: what the sender calls the message
    reported: str = ""  # of a report: the `Status` that is reported
    reason: str = ""  # of a report: why, one of `errors.REASONS`
    remote_id: str = ""  # what the next hop called it when it took it
    about: str = ""  # of a report: the text that it is about
    group: bool = False  # one text with its siblings to all `recipients`, who see each other

    @property
    def parties(self) -> tuple[str, ...]:
        """The numbers of a group text other than our own, sorted; one number otherwise."""
        if self.direction == Direction.IN:
            others = (
                {self.sender, *self.recipients[1:]} if len(self.recipients) > 1 else {self.sender}
            )
            return tuple(sorted(others))
        return tuple(sorted(self.recipients))


@frozen
class Sent:
    """The next hop has it; `delivered` where its answer proves that the person's device has it."""

    remote_id: str = ""
    delivered: bool = False


@frozen
class NotTried:
    """Provably nothing of it left: it goes back to the queue and the attempt does not count."""


#: What became of one attempt.  Failures are exceptions used as values.
Outcome = Sent | NotTried | TemporaryFailure | PermanentFailure | UnknownOutcome

#: An outcome, or one that is still being found out: the lane goes on, the conversation waits.
Settled = Outcome | Deferred[Outcome]


@frozen(kw_only=True)
class DeliveryReport:
    """
    What a peer says later about a delivery that it took.

    Either `delivery_id` is known (the gateway put it into the remote id), or `remote_id` with a
    time window finds the newest match, on `line` if one is named.  `destination` picks one of
    several deliveries that share an id: those of a group text.
    """

    gateway: str
    # DELIVERED, FAILED, EXPIRED, SENT (interim), or QUEUED (the hop wants it again later)
    status: Status
    delivery_id: str = ""
    remote_id: str = ""
    line: str = ""
    within_s: float = 3600.0
    reason: str = ""
    text: str = ""  # the peer's words or code
    destination: str = ""
    at_ms: int | None = field(default=None)
