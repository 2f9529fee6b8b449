"""The plain values that the core hands to the store and asks it with; no SQL and no logic."""

from __future__ import annotations

from attrs import field, frozen

from smsbridge.core.message import Delivery, Media, Origin, Outcome

__all__ = ["Entry", "MessageQuery", "NewMessage", "QueueQuery", "Settlement"]


@frozen
class NewMessage:
    """A message about to be committed; see `store.schema.messages` for the meaning of each field."""

    message_id: str
    direction: str
    line: str
    sender: str
    recipients: tuple[str, ...]
    author: str
    body: str
    conversation: str
    segments: int
    created_at_ms: int
    sent_at_ms: int | None
    origin: Origin | None
    media: tuple[Media, ...] = ()


@frozen
class Entry:
    """One accept: a message with its deliveries, or deliveries alone (reports, notices)."""

    message: NewMessage | None
    deliveries: tuple[Delivery, ...]
    gateway: str = ""  # where it came from; with `dedup_key` it names the repeat
    dedup_key: str = ""
    dedup_until_ms: int = 0
    due_at_ms: int = 0  # when its deliveries may first be sent


@frozen
class Settlement:
    """What became of one attempt."""

    delivery: Delivery
    outcome: Outcome
    at_ms: int
    retry_at_ms: int | None = None  # for a temporary failure: when to try again; None gives up


@frozen(kw_only=True)
class MessageQuery:
    """Which messages to list, oldest first (the newest `limit` of them)."""

    line: str = ""
    person: str = ""
    number: str = ""
    message_ids: tuple[str, ...] = ()
    after_id: str = ""  # only messages younger than this one
    since_ms: int | None = None
    limit: int | None = None


@frozen(kw_only=True)
class QueueQuery:
    """Which deliveries to list, oldest first."""

    gateway: str = ""
    line: str = ""
    statuses: tuple[str, ...] = field(default=("queued", "sending", "uncertain"))
    delivery_ids: tuple[str, ...] = ()
    message_id: str = ""
    limit: int = 100
