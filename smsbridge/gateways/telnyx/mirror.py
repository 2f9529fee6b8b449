"""
Telnyx as its far side: reads what `payload` writes and writes what it reads; see there.

Webhooks are signed with a key that everybody has, the one that `TelnyxMirror.sample` names the
public half of.
"""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import unquote

from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from smsbridge.core.message import Status
from smsbridge.gateways.telnyx.config import TelnyxGateway
from smsbridge.provider.dialect import Malformed, Request, Response
from smsbridge.provider.reading import document, listed, mapping, words
from smsbridge.provider.simulator.mirror import (
    Asked,
    AskedDids,
    AskedList,
    AskedMedia,
    AskedOne,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)

__all__ = ["MIRROR", "TelnyxMirror"]

_SIGNING: Final = Ed25519PrivateKey.from_private_bytes(
    hashlib.sha256(b"a key for trying things out, known to everybody").digest()
)
_PUBLIC: Final = base64.b64encode(
    _SIGNING.public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)
).decode()

_ADDRESS: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
_MOST_IN_GROUP: Final = 8

#: fault -> status, code, title, what is pointed at
_REFUSALS: Final[Mapping[Fault, tuple[int, str, str, str]]] = {
    "bad-number": (400, "40310", "Invalid 'to' address", "/to"),
    "opted-out": (400, "40300", "Blocked due to STOP message", "/to"),
    "not-ours": (400, "40305", "Invalid 'from' address", "/from"),
    "credentials": (401, "10009", "Authentication failed", ""),
    "no-credit": (402, "20100", "Insufficient funds", ""),
    "throttled": (429, "10011", "Too many requests", ""),
    "quota": (429, "40318", "Message queue full", ""),
    "too-long": (400, "40302", "Message too large", "/text"),
    "bad-media": (400, "40317", "Invalid MMS content", "/media_urls"),
    "broken": (500, "10007", "Unexpected error", ""),
}

_WORDS: Final[Mapping[Status, str]] = {
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.FAILED: "delivery_failed",
    Status.EXPIRED: "expired",
}

_FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "unroutable": ("40001", "Not routable"),
    "filtered": ("40002", "Blocked as spam - temporary"),
    "unreachable": ("40006", "Recipient server unavailable"),
    "invalid-number": ("40012", "Invalid messaging destination number"),
    "opted-out": ("40300", "Blocked due to STOP message"),
}


class TelnyxMirror:
    """Plays one account; see `smsbridge.provider.simulator.mirror.Mirror`."""

    kind: ClassVar[str] = "telnyx"
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]] = {
        "api_key": "KEY0000000000-for-trying-out",
        "public_key": _PUBLIC,
    }

    def __init__(self, config: TelnyxGateway) -> None:
        self._config = config
        self._base = config.base_url

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`."""
        return f"40385f64-5717-4562-b3fc-{number:012x}"

    # -- requests

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        path = call.path.partition("?")[0]
        media = re.fullmatch(r"/media/([^/]{1,64})/([0-9]{1,3})", path)
        if call.method in ("GET", "HEAD") and media is not None:
            return AskedMedia(remote_id=unquote(media.group(1)), number=int(media.group(2)))
        if call.headers.get("authorization", "") != f"Bearer {self._config.api_key}":
            raise Wrong(self.refusal("credentials", call))
        match call.method, path:
            case "POST", "/v2/messages":
                return self._send(call, group=False)
            case "POST", "/v2/messages/group_mms":
                return self._send(call, group=True)
            case "GET", "/v2/phone_numbers/messaging":
                return AskedDids()
        one = re.fullmatch(r"/v2/messages/([^/]{1,64})", path)
        if call.method == "GET" and one is not None:
            return AskedOne(remote_id=unquote(one.group(1)))
        raise Wrong(_error(404, "10005", "Resource not found"))

    def _send(self, call: Call, *, group: bool) -> AskedSend:
        try:
            values = mapping(document(call.body))
        except Malformed:
            raise Wrong(_error(400, "10023", "Invalid JSON")) from None
        if call.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Wrong(_error(415, "10014", "Unsupported Media Type"))
        sender = words(values.get("from"))
        to = [words(each) for each in listed(values.get("to"))] if group else []
        if not group:
            to = [words(values.get("to"))]
        urls = [words(each) for each in listed(values.get("media_urls"))]
        text = words(values.get("text"))
        if not sender:
            raise Wrong(_error(400, "10004", "Missing required parameter", "/from"))
        if not to or not all(_ADDRESS.fullmatch(each) for each in to):
            raise Wrong(self.refusal("bad-number", call))
        if len(to) > _MOST_IN_GROUP:
            raise Wrong(_error(400, "10015", "Bad Request", "/to"))
        if not text and not urls:
            raise Wrong(_error(400, "10004", "Missing required parameter", "/text"))
        return AskedSend(
            texts=(
                DoubleText(
                    remote_id="",
                    outbound=True,
                    sender=sender,
                    recipients=tuple(to),
                    body=text,
                    media=tuple(DoubleMedia(url=url) for url in urls),
                    mms=group or bool(urls),
                    callback=words(values.get("webhook_url")),
                ),
            )
        )

    # -- answers

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        status, code, title, pointer = _REFUSALS[fault]
        headers = (
            {"retry-after": "1", "x-ratelimit-limit": "50", "x-ratelimit-reset": "1"}
            if fault in ("throttled", "quota")
            else {}
        )
        return _error(status, code, title, pointer, headers)

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        return _json(200, {"data": self._outbound(texts[0], "queued")})

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`; Telnyx has no such list."""
        return _error(404, "10005", "Resource not found")

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`."""
        if text is None:
            return _error(404, "10005", "Resource not found")
        return _json(200, {"data": self._outbound(text, _WORDS.get(text.status, "queued"))})

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`; Telnyx has no such list."""
        return _error(404, "10005", "Resource not found")

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`."""
        feature = {
            "domestic_two_way": True,
            "international_inbound": True,
            "international_outbound": True,
        }
        return _json(
            200,
            {
                "data": [
                    {
                        "record_type": "messaging_settings",
                        "id": str(1_000_000 + index),
                        "phone_number": number,
                        "messaging_profile_id": "400174af-0a13-4e28-b4f5-000000000001",
                        "country_code": "US",
                        "type": "longcode",
                        "features": {"sms": feature, "mms": feature},
                    }
                    for index, number in enumerate(numbers)
                ],
                "meta": {
                    "total_pages": 1,
                    "total_results": len(numbers),
                    "page_number": 1,
                    "page_size": 250,
                },
            },
        )

    # -- webhooks

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`."""
        to, *more = text.recipients
        payload = {
            "record_type": "message",
            "direction": "inbound",
            "id": text.remote_id,
            "type": "MMS" if text.mms or text.media else "SMS",
            "messaging_profile_id": "400174af-0a13-4e28-b4f5-000000000001",
            "from": {"phone_number": text.sender, "carrier": "", "line_type": "Wireless"},
            "to": [{"phone_number": to, "carrier": "", "status": "webhook_delivered"}],
            "cc": [{"phone_number": each, "carrier": ""} for each in more],
            "text": text.body,
            "subject": "",
            "media": [self._media(text, number) for number in range(len(text.media))],
            "encoding": "GSM-7",
            "parts": 1,
            "received_at": _iso(text.created_at_ms),
            "tags": [],
            "errors": [],
        }
        return [self._call("message.received", payload, text.created_at_ms, hook)]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`."""
        payload = self._outbound(text, _WORDS.get(status, "queued"))
        if status is Status.FAILED:
            code, title = _FAILURES.get(text.reason, ("40008", "Undeliverable"))
            payload["errors"] = [{"code": code, "title": title, "detail": f"{title}."}]
        kind = "message.sent" if status is Status.SENT else "message.finalized"
        return [self._call(kind, payload, text.created_at_ms, text.callback or hook)]

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        return 200 <= response.status < 300

    def _call(self, kind: str, payload: Mapping[str, Any], at: int, url: str) -> Request:
        event = {
            "data": {
                "record_type": "event",
                "id": hashlib.sha256(f"{kind} {payload['id']}".encode()).hexdigest()[:32],
                "event_type": kind,
                "occurred_at": _iso(at),
                "payload": payload,
            },
            "meta": {"attempt": 1, "delivered_to": url},
        }
        body = json.dumps(event).encode()
        stamp = str(at // 1000)
        signature = _SIGNING.sign(stamp.encode() + b"|" + body)
        return Request(
            method="POST",
            url=url,
            headers={
                "Content-Type": "application/json",
                "telnyx-timestamp": stamp,
                "telnyx-signature-ed25519": base64.b64encode(signature).decode(),
            },
            body=body,
        )

    def _outbound(self, text: DoubleText, word: str) -> dict[str, Any]:
        return {
            "record_type": "message",
            "direction": "outbound",
            "id": text.remote_id,
            "type": "MMS" if text.mms else "SMS",
            "messaging_profile_id": "400174af-0a13-4e28-b4f5-000000000001",
            "from": {"phone_number": text.sender, "carrier": "TELNYX LLC", "line_type": "VoIP"},
            "to": [
                {"phone_number": each, "status": word, "carrier": "", "line_type": "Wireless"}
                for each in text.recipients
            ],
            "text": text.body,
            "media": [{"url": each.url} for each in text.media],
            "webhook_url": text.callback,
            "encoding": "GSM-7",
            "parts": 1,
            "tags": [],
            "cost": {"amount": "0.0051", "currency": "USD"},
            "received_at": _iso(text.created_at_ms),
            "sent_at": None,
            "completed_at": None,
            "valid_until": None,
            "errors": [],
        }

    def _media(self, text: DoubleText, number: int) -> dict[str, Any]:
        medium = text.media[number]
        return {
            "url": f"{self._base}/media/{text.remote_id}/{number}",
            "content_type": medium.content_type,
            "hash_sha256": hashlib.sha256(medium.data).hexdigest(),
            "size": len(medium.data),
        }


def _iso(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).isoformat(timespec="milliseconds")


def _json(status: int, value: Any, headers: Mapping[str, str] | None = None) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json", **(headers or {})},
        body=json.dumps(value).encode(),
    )


def _error(
    status: int, code: str, title: str, pointer: str = "", headers: Mapping[str, str] | None = None
) -> Response:
    error: dict[str, Any] = {"code": code, "title": title, "detail": f"{title}."}
    if pointer:
        error["source"] = {"pointer": pointer}
    error["meta"] = {"url": f"https://developers.telnyx.com/docs/overview/errors/{code}"}
    return _json(status, {"errors": [error]}, headers)


MIRROR = TelnyxMirror
