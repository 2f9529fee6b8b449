"""
How records look as JSON: the one place that knows the names which programs read.

The shape of a message is a promise (see the manual's page on commands): ``id line from to body
media created_at deliveries``.  Times are ISO 8601 in UTC with milliseconds.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from datetime import UTC, datetime, timedelta
from typing import Final

from smsbridge.core.accounts import Token
from smsbridge.core.message import Kind, Media
from smsbridge.core.optouts import OptOut
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    FoundLine,
    LineStatus,
    LinkStatus,
    MessageRecord,
    QueueDepth,
    Reconciled,
)

__all__ = [
    "call",
    "depth",
    "encode",
    "found",
    "instant",
    "line",
    "link",
    "message",
    "opt_out",
    "problem",
    "queued",
    "reconciled",
    "token",
    "traced",
]

Shape = dict[str, object]

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)
_CREDENTIALS = re.compile(r"(?<=://)([^/@\s:]*):[^/@\s]*@")
# Valid in JSON as they stand, but a terminal obeys the C1 controls and many programs take the
# others for the end of a line, where we promise one object a line.  Lone surrogates have no UTF-8.
_AWKWARD = re.compile("[\x7f-\x9f\u2028\u2029\ud800-\udfff]")


def instant(at_ms: int | None) -> str | None:
    """Write a time as ISO 8601 in UTC."""
    if at_ms is None:
        return None
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")


_encoder: Final = json.JSONEncoder(ensure_ascii=False, separators=(", ", ": "))


def encode(value: object) -> bytes:
    """Write a value as one line of JSON in UTF-8, without the line's end."""
    text = _encoder.encode(value)
    return _AWKWARD.sub(lambda found: f"\\u{ord(found[0]):04x}", text).encode("utf-8")


def message(
    record: MessageRecord, *, detail: bool = False, link: Callable[[Media], str] | None = None
) -> Shape:
    """
    Shape a message as the commands promise it.

    :param detail: with direction, author and the network's own time as well.
    :param link: gives the address of an attachment.
    """
    shape: Shape = {
        "id": record.message_id,
        "line": record.line,
        "from": record.sender,
        "to": list(record.recipients),
        "body": record.body,
        "media": [
            {
                "url": link(each) if link is not None else each.url,
                "content_type": each.content_type,
                "size": each.size,
            }
            for each in record.media
        ],
        "created_at": instant(record.created_at_ms),
        "deliveries": [
            {**_delivery(each), "reason": _explained(each)}
            for each in record.deliveries
            if each.kind == Kind.MESSAGE.value
        ],
    }
    if detail:
        shape["direction"] = str(record.direction)
        shape["author"] = record.author
        shape["sent_at"] = instant(record.sent_at_ms)
    return shape


def _delivery(record: DeliveryRecord) -> Shape:
    return {
        "to": record.to,
        "gateway": record.gateway,
        "status": str(record.status),
        "attempts": record.attempts,
        "reason": record.reason,
        "remote_id": record.remote_id,
    }


def _explained(record: DeliveryRecord) -> str:
    """Return the reason with the words and the code of whoever gave it."""
    return ": ".join(each for each in (record.reason, record.text) if each)


def queued(record: DeliveryRecord) -> Shape:
    """Shape a delivery of the queue."""
    return {
        "id": record.delivery_id,
        "message_id": record.message_id,
        "kind": str(record.kind),
        "line": record.line,
        "person": record.person,
        **_delivery(record),
        "text": record.text,
        "created_at": instant(record.created_at_ms),
        "due_at": instant(record.due_at_ms),
    }


def traced(record: MessageRecord, link: Callable[[Media], str] | None = None) -> Shape:
    """Shape a message with all that is known of it: deliveries of every kind with their history."""
    return {
        **message(record, detail=True, link=link),
        "conversation": record.conversation,
        "deliveries": [
            {
                **queued(each),
                "history": [
                    {
                        "at": instant(step.at_ms),
                        "status": str(step.status),
                        "attempt": step.attempt,
                        "reason": step.reason,
                        "text": step.text,
                    }
                    for step in each.history
                ],
            }
            for each in record.deliveries
        ],
    }


def line(status: LineStatus) -> Shape:
    """Shape what is known of a line now."""
    return {
        "line": status.line,
        "gateway": status.gateway,
        "up": status.up,
        "state": status.state,
        "number": status.number,
        "signal_dbm": status.signal_dbm,
        "operator": status.operator,
        "imei": status.imei,
        "imsi": status.imsi,
        "iccid": status.iccid,
        "model": status.model,
        "call_state": status.call_state,
        "address": status.address,
        "last_seen_at": instant(status.last_seen_ms),
        "sent_today": status.sent_today,
        "daily_cap": status.daily_cap,
    }


def link(status: LinkStatus) -> Shape:
    """Shape the state of a gateway's own link."""
    return {
        "gateway": status.gateway,
        "kind": status.kind,
        "up": status.up,
        "state": status.state,
        "since": instant(status.since_ms),
    }


def depth(record: QueueDepth) -> Shape:
    """Shape how much of a gateway waits."""
    return {
        "gateway": record.gateway,
        "status": str(record.status),
        "count": record.count,
        "oldest_at": instant(record.oldest_at_ms),
    }


def call(record: CallRecord) -> Shape:
    """Shape one line of the call log."""
    return {
        "line": record.line,
        "direction": "in" if record.incoming else "out",
        "number": record.number,
        "started_at": instant(record.started_at_ms),
        "duration_s": record.duration_s,
        "cause": record.cause,
    }


def reconciled(gateway: str, result: Reconciled) -> Shape:
    """Shape what a look at a provider's own list brought."""
    return {
        "gateway": gateway,
        "seen": result.seen,
        "missed": result.missed,
        "statuses": result.statuses,
        "problems": list(result.problems),
    }


def found(gateway: str, record: FoundLine) -> Shape:
    """Shape a number of an account; a password in its webhook's address is left out."""
    return {
        "gateway": gateway,
        "number": record.number,
        "sms": record.sms,
        "mms": record.mms,
        "description": record.description,
        "hook": _CREDENTIALS.sub(r"\1:***@", record.hook),
        "line": record.line,
    }


def opt_out(record: OptOut) -> Shape:
    """Shape a number that wants no texts."""
    return {
        "line": record.line,
        "number": record.number,
        "source": record.source,
        "since": instant(record.since_ms),
    }


def token(record: Token) -> Shape:
    """Shape what is known of a token."""
    return {
        "name": record.name,
        "person": record.person,
        "scopes": list(record.scopes),
        "lines": list(record.lines),
        "created_at": instant(record.created_at_ms),
        "used_at": instant(record.used_at_ms),
        "expires_at": instant(record.expires_at_ms),
    }


def problem(reason: str, sentence: str, **more: object) -> Mapping[str, object]:
    """Shape an error: `error` for programs, `message` for people."""
    return {"error": reason, "message": sentence, **more}
