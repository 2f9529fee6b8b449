"""
What is posted to a program, and how it is signed; pure.

A text has the shape of Flowroute's inbound message (Messaging API v2.2)::

  {"data": {"id": MESSAGE, "type": "message",
            "attributes": {"body", "direction": "inbound", "from", "to", "is_mms", ...},
            "relationships": {"media": {"data": [{"type": "media", "id": ID}]}}},
   "included": [{"type": "media", "id": ID,
                 "attributes": {"url", "file_name", "mime_type", "file_size"}}]}

and more attributes than Flowroute has: ``recipients`` (all of them), ``line``, ``person``.  Numbers
have their ``+``; ``to`` is the one that is ours.  MobileMessaging, whose web client reads the same
shape, writes all numbers of a group into ``to`` one after another (``+12025550100+12025550124``);
that is done where it is wanted.  A report has the shape of Flowroute's delivery receipt, of type
``delivery_receipt``; a sentence of the bridge is of type ``notice``.

The signature is that of many providers: ``t=SECONDS,v1=HEX``, the HMAC-SHA256 with the shared
secret over the seconds, a full stop and the body.  A receiver compares it, and refuses times long
past.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Callable
from datetime import UTC, datetime, timedelta
from typing import Any, Final

from smsbridge.core.message import Delivery, Kind, Media, Status
from smsbridge.core.segments import foreign

__all__ = ["SIGNATURE", "encode", "post_of", "sign", "verifies"]

#: The header with the signature.
SIGNATURE: Final = "X-Smsbridge-Signature"

_EPOCH: Final = datetime(1970, 1, 1, tzinfo=UTC)
_NUMBER: Final = re.compile(r"\+[0-9]{7,15}")
#: Flowroute tells 1 for what the next hop said and 2 for what is beyond it.
_LEVEL: Final = {Status.SENT.value: 1, Status.QUEUED.value: 1, Status.SENDING.value: 1}

Shape = dict[str, Any]


def post_of(delivery: Delivery, link: Callable[[Media], str], compat: bool = False) -> Shape:
    """
    Shape what a delivery carries.

    :param link: says from where an attachment is fetched.
    :param compat: write the numbers of a group as MobileMessaging does.
    """
    if delivery.kind is Kind.REPORT:
        return _receipt(delivery)
    if delivery.kind is Kind.NOTICE:
        return _notice(delivery)
    return _message(delivery, link, compat)


def _message(delivery: Delivery, link: Callable[[Media], str], compat: bool) -> Shape:
    recipients = delivery.recipients or (delivery.person,)
    included = [
        _attachment(f"{delivery.message_id}-{number}", media, link(media))
        for number, media in enumerate(delivery.media)
    ]
    many = len(recipients) > 1
    shape: Shape = {
        "data": {
            "id": delivery.message_id,
            "type": "message",
            "attributes": {
                "body": delivery.body,
                "direction": "inbound",
                "from": delivery.sender,
                "to": "".join(recipients) if compat and many else recipients[0],
                "recipients": list(recipients),
                "is_mms": bool(included) or (many and bool(delivery.line)),
                "message_encoding": 8 if foreign(delivery.body) else 0,
                "message_type": "longcode" if _NUMBER.fullmatch(delivery.sender) else "shortcode",
                "status": "",
                "timestamp": _instant(delivery.created_at_ms),
                "amount_display": "$0.0000",
                "amount_nanodollars": 0,
                "delivery_receipts": [],
                "line": delivery.line,
                "person": delivery.author,
            },
            "relationships": {
                "media": {"data": [{"type": "media", "id": each["id"]} for each in included]}
            },
        },
        "included": included,
    }
    return shape


def _attachment(media_id: str, media: Media, url: str) -> Shape:
    return {
        "type": "media",
        "id": media_id,
        "attributes": {
            "url": url,
            "file_name": media.name,
            "mime_type": media.content_type,
            "file_size": media.size,
        },
        "links": {"self": url},
    }


def _receipt(delivery: Delivery) -> Shape:
    return {
        "data": {
            "id": delivery.message_id,
            "type": "delivery_receipt",
            "attributes": {
                "body": delivery.about,
                "level": _LEVEL.get(delivery.reported, 2),
                "status": delivery.reported,
                "status_code": delivery.reason,
                "status_code_description": delivery.body,
                "timestamp": _instant(delivery.created_at_ms),
                "to": list(delivery.recipients),
                "line": delivery.line,
                "reference": delivery.ref,
            },
        }
    }


def _notice(delivery: Delivery) -> Shape:
    return {
        "data": {
            "id": delivery.delivery_id,
            "type": "notice",
            "attributes": {
                "body": delivery.body,
                "line": delivery.line,
                "timestamp": _instant(delivery.created_at_ms),
            },
        }
    }


def encode(shape: Shape) -> bytes:
    """Write a post as JSON in UTF-8."""
    return json.dumps(shape, ensure_ascii=False, separators=(",", ":")).encode("utf-8", "replace")


def sign(secret: str, at_s: int, body: bytes) -> str:
    """Return the value of the signature's header."""
    digest = hmac.new(secret.encode(), b"%d.%s" % (at_s, body), hashlib.sha256).hexdigest()
    return f"t={at_s},v1={digest}"


def verifies(secret: str, header: str, body: bytes, now_s: float, within_s: float = 300.0) -> bool:
    """Tell whether a signature is right and young; any header is answered."""
    found = re.fullmatch(r"t=([0-9]{1,15}),v1=([0-9a-f]{64})", header)
    if found is None or abs(now_s - int(found[1])) > within_s:
        return False
    return hmac.compare_digest(sign(secret, int(found[1]), body), header)


def _instant(at_ms: int) -> str:
    at = _EPOCH + timedelta(milliseconds=at_ms)
    return at.isoformat(timespec="milliseconds").replace("+00:00", "Z")
