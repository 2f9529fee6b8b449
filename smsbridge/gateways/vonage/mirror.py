"""Vonage as its far side: reads what `payload` writes and writes what it reads; see there."""

from __future__ import annotations

import base64
import hashlib
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, unquote, urlencode

import jwt

from smsbridge.core.message import Status
from smsbridge.core.segments import foreign, split
from smsbridge.gateways.vonage.config import VonageGateway, read_private_key
from smsbridge.gateways.vonage.payload import bare, message_type, plus, signature
from smsbridge.provider.dialect import Malformed, Request, Response
from smsbridge.provider.reading import document, mapping, words
from smsbridge.provider.simulator.mirror import (
    Asked,
    AskedDids,
    AskedList,
    AskedMedia,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)

__all__ = ["MIRROR", "VonageMirror"]

_NUMBER: Final = re.compile(r"[1-9][0-9]{6,14}")
_LONGEST_TEXT: Final = 3200
_MEDIA_TYPES: Final = ("image", "video", "audio", "vcard", "file")

#: fault -> status and words of the SMS API
_REFUSALS: Final[Mapping[Fault, tuple[str, str]]] = {
    "bad-number": ("6", "Unroutable message - rejected"),
    "opted-out": ("7", "Number barred"),
    "not-ours": ("15", "Illegal Sender Address - rejected"),
    "credentials": ("4", "Bad Credentials"),
    "no-credit": ("9", "Quota Exceeded - rejected"),
    "throttled": ("1", "Throughput Rate Exceeded - please wait [ 1000 ] and retry"),
    "quota": ("1", "Throughput Rate Exceeded - please wait [ 1000 ] and retry"),
    "too-long": ("12", "Message too long"),
    "bad-media": ("3", "Invalid value for parameter: type"),
    "broken": ("5", "Internal Error"),
}

#: fault -> status, code and words of the Messages API
_PROBLEMS: Final[Mapping[Fault, tuple[int, str, str]]] = {
    "bad-number": (422, "1040", "Invalid message"),
    "opted-out": (422, "1050", "Number barred"),
    "not-ours": (422, "1120", "Illegal Sender Address - rejected"),
    "credentials": (401, "", "You did not provide correct credentials."),
    "no-credit": (402, "1070", "Partner quota exceeded"),
    "throttled": (429, "1000", "Throttled"),
    "quota": (429, "1000", "Throttled"),
    "too-long": (422, "1090", "Message too long"),
    "bad-media": (422, "1020", "Invalid params"),
    "broken": (500, "1030", "Internal error"),
}

_RECEIPTS: Final[Mapping[Status, str]] = {
    Status.SENT: "buffered",
    Status.DELIVERED: "delivered",
    Status.FAILED: "failed",
    Status.EXPIRED: "expired",
}
_STATUSES: Final[Mapping[Status, str]] = {
    Status.SENT: "submitted",
    Status.DELIVERED: "delivered",
    Status.FAILED: "rejected",
    Status.EXPIRED: "rejected",
}

#: reason -> err-code of a receipt, code of the Messages API
_FAILURES: Final[Mapping[str, tuple[str, str]]] = {
    "unreachable": ("2", "1180"),
    "unknown-subscriber": ("3", "1190"),
    "blocked": ("14", "1280"),
    "filtered": ("6", "1220"),
    "opted-out": ("9", "1240"),
    "invalid-number": ("10", "1170"),
    "unroutable": ("11", "1250"),
}


class VonageMirror:
    """
    Plays one account; see `smsbridge.provider.simulator.mirror.Mirror`.

    :cvar transport: how the account has its webhooks: ``get``, ``form`` or ``json``.
    """

    kind: ClassVar[str] = "vonage"
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]] = {
        "api_key": "abcd1234",
        "api_secret": "for-trying-out-0",
        "signature_secret": "for-trying-out-and-known-to-everybody",
    }
    transport: ClassVar[str] = "form"

    def __init__(self, config: VonageGateway) -> None:
        self._config = config
        self._base = config.base_url
        self._public_key = (
            read_private_key(config.private_key).public_key() if config.private_key else None
        )

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`."""
        if mms:
            return f"aaaaaaaa-bbbb-4ccc-8ddd-{number:012x}"
        return f"0A0000000{number:07X}"

    # -- requests

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        path = call.path.partition("?")[0]
        media = re.fullmatch(r"/v3/media/([^/]{1,64})/([0-9]{1,3})", path)
        if call.method in ("GET", "HEAD") and media is not None:
            return AskedMedia(remote_id=unquote(media.group(1)), number=int(media.group(2)))
        match call.method, path:
            case "POST", "/sms/json":
                return self._sms(call)
            case "POST", "/v1/messages":
                if not (self._has_pair(call) or self._has_token(call, now_ms)):
                    raise Wrong(self.refusal("credentials", call))
                return self._mms(call)
            case "GET", "/account/numbers":
                if not self._has_pair(call):
                    raise Wrong(_problem(401, "", "authentication failed"))
                return AskedDids()
        raise Wrong(_problem(404, "", "Not found"))

    def _has_pair(self, call: Call) -> bool:
        pair = f"{self._config.api_key}:{self._config.api_secret}".encode()
        return call.headers.get("authorization", "") == f"Basic {base64.b64encode(pair).decode()}"

    def _has_token(self, call: Call, now_ms: int) -> bool:
        token = call.headers.get("authorization", "").removeprefix("Bearer ")
        if self._public_key is None:
            return False
        try:
            claims = jwt.decode(
                token,
                self._public_key,
                algorithms=["RS256"],
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "require": ["application_id", "iat", "exp", "jti"],
                },
            )
        except (jwt.PyJWTError, ValueError):
            return False
        times = claims["iat"], claims["exp"]
        return (
            claims["application_id"] == self._config.application_id
            and all(isinstance(each, int) for each in times)
            and times[0] * 1000 - 60_000 <= now_ms < times[1] * 1000
        )

    def _sms(self, call: Call) -> AskedSend:
        try:
            values = dict(parse_qsl(call.body.decode(), keep_blank_values=True))
        except ValueError:
            raise Wrong(_refused("2", "Missing api_key")) from None
        pair = (values.get("api_key"), values.get("api_secret"))
        if pair != (self._config.api_key, self._config.api_secret):
            raise Wrong(self.refusal("credentials", call))
        for name in ("from", "to", "text"):
            if not values.get(name):
                raise Wrong(_refused("2", f"Missing {name}"))
        if not _NUMBER.fullmatch(values["to"]):
            raise Wrong(_refused("3", "Invalid value for parameter: to"))
        if len(values.get("callback", "")) > 100:
            raise Wrong(_refused("23", "Invalid Callback URL"))
        if len(values.get("client-ref", "")) > 100:
            raise Wrong(_refused("3", "Invalid value for parameter: client-ref"))
        text = values["text"]
        if len(text) > _LONGEST_TEXT:
            raise Wrong(self.refusal("too-long", call))
        if values.get("type", "text") != "unicode":
            text = text.translate({ord(each): "?" for each in foreign(text)})
        return AskedSend(
            texts=tuple(
                DoubleText(
                    remote_id="",
                    outbound=True,
                    sender=plus(values["from"]),
                    recipients=(plus(values["to"]),),
                    body=part,
                    callback=values.get("callback", ""),
                    reference=values.get("client-ref", ""),
                )
                for part in split(text)
            )
        )

    def _mms(self, call: Call) -> AskedSend:
        try:
            values = mapping(document(call.body))
        except Malformed:
            raise Wrong(_problem(422, "1020", "Invalid params")) from None
        kind = words(values.get("message_type"))
        item = mapping(values.get(kind))
        if (
            values.get("channel") != "mms"
            or not _NUMBER.fullmatch(words(values.get("to")))
            or not words(values.get("from"))
            or kind not in _MEDIA_TYPES
            or not words(item.get("url"))
            or len(words(item.get("caption"))) > 2000
            or len(words(values.get("client_ref"))) > 100
        ):
            raise Wrong(_problem(422, "1020", "Invalid params"))
        return AskedSend(
            texts=(
                DoubleText(
                    remote_id="",
                    outbound=True,
                    sender=plus(words(values.get("from"))),
                    recipients=(plus(words(values.get("to"))),),
                    body=words(item.get("caption")),
                    media=(DoubleMedia(url=words(item.get("url"))),),
                    mms=True,
                    callback=words(values.get("webhook_url")),
                    reference=words(values.get("client_ref")),
                ),
            )
        )

    # -- answers

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        if call.path.startswith("/v1/messages"):
            status, code, said = _PROBLEMS[fault]
            return _problem(status, code, said)
        return _refused(*_REFUSALS[fault])

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        if texts[0].mms:
            return _json(202, {"message_uuid": texts[0].remote_id})
        messages = []
        for text in texts:
            message = {
                "to": bare(text.recipients[0]),
                "message-id": text.remote_id,
                "status": "0",
                "remaining-balance": "3.14159265",
                "message-price": "0.03330000",
                "network": "310090",
            }
            if text.reference:
                message["client-ref"] = text.reference
            messages.append(message)
        return _json(200, {"message-count": str(len(messages)), "messages": messages})

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`; the account has no such list."""
        return _problem(404, "", "Not found")

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`; the account has no such look-up."""
        return _problem(404, "", "Not found")

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`; there is no such list."""
        return _problem(404, "", "Not found")

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`."""
        return _json(
            200,
            {
                "count": len(numbers),
                "numbers": [
                    {
                        "country": "US",
                        "msisdn": bare(number),
                        "moHttpUrl": "https://sms.example.org/hook/work",
                        "type": "mobile-lvn",
                        "features": ["SMS", "MMS", "VOICE"],
                    }
                    for number in numbers
                ],
            },
        )

    # -- webhooks

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`."""
        if text.mms or text.media:
            return [self._message(text, hook)]
        values = {
            "api-key": self._config.api_key,
            "msisdn": bare(text.sender),
            "to": bare(text.recipients[0]),
            "messageId": text.remote_id,
            "text": text.body,
            "type": "unicode" if foreign(text.body) else "text",
            "keyword": (text.body.split() or [""])[0].upper(),
            "message-timestamp": _stamp(text.created_at_ms),
        }
        if text.part is not None:
            reference, number, total = text.part
            values["concat"] = "true"
            values["concat-ref"] = reference
            values["concat-part"] = str(number)
            values["concat-total"] = str(total)
        return [self._call(values, text.created_at_ms, hook)]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`."""
        url = text.callback or _status_url(hook)
        if text.mms:
            return [self._message_status(text, status, url)]
        code = "0"
        if status is Status.FAILED:
            code = _FAILURES.get(text.reason, ("99", ""))[0]
        values = {
            "api-key": self._config.api_key,
            "msisdn": bare(text.recipients[0]),
            "to": bare(text.sender),
            "messageId": text.remote_id,
            "status": _RECEIPTS.get(status, "unknown"),
            "err-code": code,
            "network-code": "310090",
            "price": "0.03330000",
            "scts": datetime.fromtimestamp(text.created_at_ms / 1000, UTC).strftime("%y%m%d%H%M"),
            "message-timestamp": _stamp(text.created_at_ms),
        }
        if text.reference:
            values["client-ref"] = text.reference
        return [self._call(values, text.created_at_ms, url)]

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        return response.status in (200, 204)

    def _call(self, values: dict[str, str], at: int, url: str) -> Request:
        """Sign values as the SMS API does, and write them as the account wants them."""
        secret = self._config.signature_secret
        if secret:
            values["timestamp"] = str(at // 1000)
            values["nonce"] = hashlib.sha256(values["messageId"].encode()).hexdigest()[:32]
            method = self._config.signature_method
            values["sig"] = signature(values, secret, method).upper()
        if self.transport == "get":
            return Request(url=f"{url}{'&' if '?' in url else '?'}{urlencode(values)}")
        if self.transport == "json":
            return Request(
                method="POST",
                url=url,
                headers={"Content-Type": "application/json"},
                body=json.dumps(values).encode(),
            )
        return Request(
            method="POST",
            url=url,
            headers={"Content-Type": "application/x-www-form-urlencoded"},
            body=urlencode(values).encode(),
        )

    def _message(self, text: DoubleText, hook: str) -> Request:
        items: list[dict[str, str]] = []
        for number, medium in enumerate(text.media):
            url = f"{self._base}/v3/media/{text.remote_id}/{number}"
            items.append({"type": message_type(medium.content_type), "url": url})
            if medium.name:
                items[-1]["name"] = medium.name
        values: dict[str, Any] = {
            "channel": "mms",
            "message_uuid": text.remote_id,
            "to": bare(text.recipients[0]),
            "from": bare(text.sender),
            "timestamp": _iso(text.created_at_ms),
            "message_type": items[0]["type"] if items else "text",
        }
        if items:
            if text.body:
                items[0]["caption"] = text.body
            values[items[0]["type"]] = {
                name: value for name, value in items[0].items() if name != "type"
            }
            if len(items) > 1:
                values["content"] = items[1:]
        else:
            values["text"] = text.body
        return self._posted(values, text.created_at_ms, hook)

    def _message_status(self, text: DoubleText, status: Status, url: str) -> Request:
        values: dict[str, Any] = {
            "message_uuid": text.remote_id,
            "to": bare(text.recipients[0]),
            "from": bare(text.sender),
            "timestamp": _iso(text.created_at_ms),
            "status": _STATUSES.get(status, "submitted"),
            "channel": "mms",
        }
        if text.reference:
            values["client_ref"] = text.reference
        if values["status"] == "rejected":
            code = _FAILURES.get(text.reason, ("", "1260"))[1]
            values["error"] = {
                "type": f"https://developer.vonage.com/api-errors/messages#{code}",
                "title": code,
                "detail": "The text was rejected.",
                "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
            }
        return self._posted(values, text.created_at_ms, url)

    def _posted(self, values: Mapping[str, Any], at: int, url: str) -> Request:
        """Sign a document as the Messages API does."""
        body = json.dumps(values).encode()
        headers = {"Content-Type": "application/json"}
        if self._config.signature_secret:
            token = jwt.encode(
                {
                    "iat": at // 1000,
                    "jti": hashlib.sha256(body).hexdigest()[:32],
                    "iss": "Vonage",
                    "payload_hash": hashlib.sha256(body).hexdigest(),
                    "api_key": self._config.api_key,
                    "application_id": self._config.application_id or "none",
                },
                self._config.signature_secret,
                algorithm="HS256",
            )
            headers["Authorization"] = f"Bearer {token}"
        return Request(method="POST", url=url, headers=headers, body=body)


def _status_url(hook: str) -> str:
    address, separator, query = hook.partition("?")
    return f"{address.rstrip('/')}/status{separator}{query}"


def _stamp(at: int) -> str:
    return datetime.fromtimestamp(at / 1000, UTC).strftime("%Y-%m-%d %H:%M:%S")


def _iso(at: int) -> str:
    when = datetime.fromtimestamp(at / 1000, UTC)
    return when.isoformat(timespec="milliseconds").replace("+00:00", "Z")


def _json(status: int, value: Any, content_type: str = "application/json") -> Response:
    return Response(
        status=status,
        headers={"content-type": content_type},
        body=json.dumps(value).encode(),
    )


def _refused(status: str, said: str) -> Response:
    return _json(200, {"message-count": "1", "messages": [{"status": status, "error-text": said}]})


def _problem(status: int, code: str, said: str) -> Response:
    page = f"/messages#{code}" if code else ""
    value = {
        "type": f"https://developer.vonage.com/api-errors{page}",
        "title": said,
        "detail": said,
        "instance": "bf0ca0bf927b3b52e3cb03217e1a1ddf",
    }
    response = _json(status, value, "application/problem+json")
    if status != 429:
        return response
    return Response(
        status=status,
        headers={**response.headers, "retry-after": "1"},
        body=response.body,
    )


MIRROR = VonageMirror
