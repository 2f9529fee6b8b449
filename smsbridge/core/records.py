"""
What people and programs read of the store: messages with their deliveries, and the state of lines.
"""

from __future__ import annotations

from attrs import frozen

from smsbridge.core.message import Media, Status

__all__ = [
    "CallRecord",
    "DeliveryRecord",
    "FoundLine",
    "LineStatus",
    "LinkStatus",
    "MessageRecord",
    "Preview",
    "PreviewRecipient",
    "QueueDepth",
    "Reconciled",
    "Transition",
]


@frozen(kw_only=True)
class Transition:
    """One row of a delivery's history."""

    at_ms: int
    status: Status
    attempt: int = 0
    reason: str = ""
    text: str = ""


@frozen(kw_only=True)
class DeliveryRecord:
    """One delivery as `messages --json`, `queue list` and `trace` show it."""

    delivery_id: str
    message_id: str
    kind: str
    to: str
    gateway: str
    line: str
    person: str
    status: Status
    attempts: int
    reason: str
    text: str
    remote_id: str
    created_at_ms: int
    due_at_ms: int | None
    history: tuple[Transition, ...] = ()


@frozen(kw_only=True)
class MessageRecord:
    """One message as `messages --json` and the API show it."""

    message_id: str
    direction: str
    line: str
    sender: str  # shown as `from`
    recipients: tuple[str, ...]  # shown as `to`
    author: str
    body: str
    media: tuple[Media, ...]
    conversation: str
    created_at_ms: int
    sent_at_ms: int | None
    deliveries: tuple[DeliveryRecord, ...] = ()


@frozen
class PreviewRecipient:
    """To whom a text would go: a number with the sender's own name for it, or a person."""

    number: str = ""
    name: str = ""
    person: str = ""


@frozen(kw_only=True)
class Preview:
    """What would become of a text of a person; nothing of it is kept or counted."""

    line: str  # empty when it goes to persons only
    sender: str  # shown as `from`
    recipients: tuple[PreviewRecipient, ...]
    segments: int  # to each number; 0 without any
    encoding: str  # gsm or unicode
    characters: int
    carried_as: str  # sms, mms, link (the attachments' addresses in the text) or internal
    body: str  # as it would go out
    media: tuple[Media, ...]
    warnings: tuple[str, ...] = ()  # sentences for the sender

    @property
    def texts(self) -> int:
        """How many texts the network would count."""
        return self.segments * sum(1 for each in self.recipients if each.number)


@frozen(kw_only=True)
class CallRecord:
    """One line of the call log, as read back."""

    line: str
    incoming: bool
    number: str
    started_at_ms: int
    duration_s: int | None
    cause: str


@frozen(kw_only=True)
class QueueDepth:
    """How many deliveries of a gateway wait, and since when the oldest does."""

    gateway: str
    status: Status
    count: int
    oldest_at_ms: int | None


@frozen(kw_only=True)
class LineStatus:
    """What a gateway knows of one of its lines right now."""

    line: str
    gateway: str
    up: bool
    state: str  # a short sentence: "ready", "not registered in the network", "never seen"
    number: str = ""
    signal_dbm: int | None = None
    operator: str = ""
    imei: str = ""
    imsi: str = ""
    iccid: str = ""
    model: str = ""
    call_state: str = ""
    address: str = ""  # where the device is on our network
    last_seen_ms: int | None = None
    sent_today: int = 0
    daily_cap: int = 0


@frozen(kw_only=True)
class LinkStatus:
    """Whether a gateway's own link (a stream, a listener, an account) works."""

    gateway: str
    kind: str
    up: bool
    state: str
    since_ms: int | None = None


@frozen(kw_only=True)
class FoundLine:
    """A number of an account, as its provider lists it."""

    number: str  # E.164
    sms: bool = True
    mms: bool = False
    description: str = ""
    hook: str = ""  # the webhook that is set there now
    line: str = ""  # the line that has this number in the configuration


@frozen(kw_only=True)
class Reconciled:
    """What a look at a peer's own list brought."""

    seen: int  # texts that the peer listed
    missed: int  # received texts that were not known and are now
    statuses: int  # deliveries whose status changed
    problems: tuple[str, ...] = ()  # sentences, for what could not be asked
