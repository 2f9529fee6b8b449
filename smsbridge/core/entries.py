"""The plain values that the core hands to the store and asks it with; no SQL and no logic."""

from __future__ import annotations

from attrs import field, frozen

from smsbridge.core.message import Delivery, Media, Origin, Outcome, Status
from smsbridge.core.records import DeliveryRecord, MessageRecord

__all__ = ["Entry", "MessageQuery", "NewMessage", "QueueQuery", "Settlement"]


@frozen
class NewMessage:
    """
    A message about to be committed; see `store.schema.messages` for the meaning of each field.
    """

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
    origin_lane: str = ""
    media: tuple[Media, ...] = ()
    grouped: bool = False


@frozen
class Entry:
    """One accept: a message with its deliveries, or deliveries alone (reports, notices)."""

    message: NewMessage | None
    deliveries: tuple[Delivery, ...]
    now_ms: int
    due_at_ms: int  # when queued deliveries may first be sent
    lease_until_ms: int = 0  # until when deliveries that are born `sending` are ours
    gateway: str = ""  # where it came from; with `dedup_key` it names the repeat
    dedup_key: str = ""
    dedup_until_ms: int = 0
    ussd_line: str = ""  # a USSD text of this line, kept in its own log
    ussd_body: str = ""

    @property
    def entry_id(self) -> str:
        """Return the id that a repeat is answered with."""
        if self.message is not None:
            return self.message.message_id
        return self.deliveries[0].delivery_id.partition(".")[0] if self.deliveries else ""

    def record(self) -> MessageRecord | None:
        """Return the message as it is read back after the commit; None where there is none."""
        message = self.message
        if message is None:
            return None
        return MessageRecord(
            message_id=message.message_id,
            direction=message.direction,
            line=message.line,
            sender=message.sender,
            recipients=message.recipients,
            author=message.author,
            body=message.body,
            media=message.media,
            conversation=message.conversation,
            created_at_ms=message.created_at_ms,
            sent_at_ms=message.sent_at_ms,
            deliveries=tuple(
                DeliveryRecord(
                    delivery_id=each.delivery_id,
                    message_id=each.message_id,
                    kind=each.kind.value,
                    to=each.destination,
                    gateway=each.gateway,
                    line=each.line,
                    person=each.person,
                    status=each.status,
                    attempts=each.attempts,
                    reason=each.reason,
                    text="",
                    remote_id="",
                    created_at_ms=each.created_at_ms,
                    due_at_ms=self.due_at_ms
                    if each.status is Status.QUEUED
                    else self.lease_until_ms,
                )
                for each in self.deliveries
            ),
        )


@frozen
class Settlement:
    """What became of one attempt."""

    delivery: Delivery
    outcome: Outcome
    at_ms: int
    retry_at_ms: int | None = None  # for a temporary failure: when to try again; None gives up
    tell_sent: bool = False  # the sender wants to hear that the next hop took it


@frozen(kw_only=True)
class MessageQuery:
    """
    Which messages to list, oldest first.

    Without `after_id` the newest `limit` are meant, with it the oldest ones after it; "0" begins
    with the very first.
    """

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
    destination: str = ""
    after_id: str = ""  # only deliveries younger than this one
    limit: int = 100
