"""The far side of `payload`: Flowroute's Messaging API v2.2 and its callbacks, played."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from smsbridge.core.message import Status
from smsbridge.gateways.flowroute.config import FlowrouteGateway
from smsbridge.provider.dialect import Malformed, Request, Response
from smsbridge.provider.reading import at_ms, document, mapping, words
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
from smsbridge.provider.spelling import basic, iso, plus_us, without_credentials

__all__ = ["MIRROR", "FlowrouteMirror"]

_API: Final = "https://api.flowroute.com"
_MESSAGES: Final = "/v2.2/messages"
_JSON_API: Final = "application/vnd.api+json"

_FAULTS: Final[Mapping[Fault, tuple[int, str, str]]] = {
    "bad-number": (422, "Unprocessable Entity", "The 'to' number is not a valid phone number."),
    "opted-out": (422, "Unprocessable Entity", "The recipient has opted out of this number."),
    "not-ours": (422, "Unprocessable Entity", "The 'from' number is not owned by the account."),
    "credentials": (401, "Unauthorized", "The access key or the secret key is wrong."),
    "throttled": (429, "Too Many Requests", "Too many messages in a short time."),
    "too-long": (422, "Unprocessable Entity", "The body is too long."),
    "bad-media": (
        422,
        "Unprocessable Entity",
        'Error fetching media: File at "https://sms.example.org/a" is over 767840 byte limit.',
    ),
}
#: What a receipt says: level, status, code, description.
_RECEIPTS: Final[Mapping[Status, tuple[int, str, str, str]]] = {
    Status.SENT: (1, "message buffered", "0", "Accepted by the carrier"),
    Status.DELIVERED: (2, "delivered", "0", "Message delivered"),
    Status.FAILED: (2, "failed", "8", "Message not delivered"),
    Status.EXPIRED: (2, "expired", "5", "Message expired"),
}
_DESCRIPTIONS: Final = {
    "unreachable": "Handset unreachable",
    "filtered": "Filtered as spam",
    "opted-out": "Recipient has opted out",
    "unknown-subscriber": "Unknown subscriber",
}


class FlowrouteMirror:
    """Plays Flowroute for one account."""

    kind: ClassVar[str] = "flowroute"
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]] = {
        "access_key": "12345678",
        "secret_key": "not-a-secret",
        "http_password": "not-a-secret-either",
    }

    def __init__(self, config: FlowrouteGateway) -> None:
        self._config = config
        self._base = config.base_url or _API

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`."""
        return f"mdr2-{number:032x}"

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        parts = urlsplit(call.path)
        media = re.fullmatch(r"/mms/([^/]+)/([0-9]{1,3})/[^/]*", parts.path)
        if media is not None and call.method == "GET":
            return AskedMedia(remote_id=unquote(media[1]), number=int(media[2]))
        wanted = basic(self._config.access_key, self._config.secret_key)["Authorization"]
        if call.headers.get("authorization", "") != wanted:
            raise Wrong(_error(*_FAULTS["credentials"]))
        one = re.fullmatch(rf"{re.escape(_MESSAGES)}/([^/]+)", parts.path)
        if one is not None and call.method == "GET":
            return AskedOne(remote_id=unquote(one[1]))
        match call.method, parts.path:
            case "POST", "/v2.2/messages":
                return _send(call)
            case "GET", "/v2.2/messages":
                return _list(parts.query)
            case "GET", "/v2/numbers":
                return AskedDids()
            case _:
                raise Wrong(_error(404, "Not Found", "There is nothing at this address."))

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        if fault == "broken" or fault not in _FAULTS:
            return Response(status=500, headers={"content-type": "text/html"}, body=b"<html>oops")
        status, title, detail = _FAULTS[fault]
        more = {"retry-after": "1"} if fault == "throttled" else {}
        return _error(status, title, detail, **more)

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        remote_id = texts[0].remote_id
        link = f"{self._base}{_MESSAGES}/{remote_id}"
        return _answer(202, {"data": {"id": remote_id, "type": "message", "links": {"self": link}}})

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`."""
        included = [each for text in texts for each in self._included(text)]
        return _answer(200, {"data": [self._data(text) for text in texts], "included": included})

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`."""
        if text is None:
            return _error(404, "Not Found", "There is no such message.")
        return _answer(200, {"data": self._data(text), "included": self._included(text)})

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`; the message itself has them."""
        return self.one(text)

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`."""
        data = [
            {
                "id": _digits(number),
                "type": "number",
                "attributes": {
                    "value": _digits(number),
                    "alias": None,
                    "number_type": "standard",
                    "rate_center": "washington",
                    "state": "dc",
                },
            }
            for number in numbers
        ]
        return _answer(200, {"data": data, "links": {}})

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`."""
        return [_post(hook, {"data": self._data(text), "included": self._included(text)})]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`: level 1 for the carrier, level 2 for what is beyond."""
        if status not in _RECEIPTS:
            return []
        level, said, code, about = _RECEIPTS[status]
        if status is Status.FAILED:
            about = _DESCRIPTIONS.get(text.reason, about)
        attributes = {
            "body": "" if text.mms else text.body,
            "level": level,
            "status": said,
            "status_code": code,
            "status_code_description": about,
            "timestamp": iso(text.created_at_ms),
        }
        link = f"{self._base}{_MESSAGES}/{text.remote_id}"
        shape = {
            "data": {
                "id": text.remote_id,
                "type": "delivery_receipt",
                "attributes": attributes,
                "links": {"related": link},
            }
        }
        return [_post(text.callback or _status_of(hook), shape)]

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        return response.status == 200

    def _data(self, text: DoubleText) -> dict[str, Any]:
        ids = [self._media_id(text, number) for number in range(len(text.media))]
        receipts = []
        if text.outbound and text.status in _RECEIPTS:
            level, said, code, about = _RECEIPTS[text.status]
            receipts.append(
                {
                    "level": level,
                    "status": said,
                    "status_code": int(code),
                    "status_code_description": about,
                    "timestamp": iso(text.created_at_ms),
                }
            )
        return {
            "id": text.remote_id,
            "type": "message",
            "attributes": {
                "body": text.body,
                "direction": "outbound" if text.outbound else "inbound",
                "from": _digits(text.sender),
                "to": _digits(text.recipients[0]),
                "is_mms": text.mms,
                "message_encoding": 0,
                "message_type": "longcode",
                "status": "",
                "timestamp": iso(text.created_at_ms),
                "amount_display": "$0.0040",
                "amount_nanodollars": 4_000_000,
                "delivery_receipts": receipts,
            },
            "relationships": {"media": {"data": [{"type": "media", "id": each} for each in ids]}},
        }

    def _included(self, text: DoubleText) -> list[dict[str, Any]]:
        return [
            {
                "id": self._media_id(text, number),
                "type": "media",
                "attributes": {
                    "url": medium.url or self._url(text, number),
                    "file_name": medium.name,
                    "mime_type": medium.content_type,
                    "file_size": len(medium.data),
                },
                "links": {"self": f"{self._base}/v2.1/media/{self._media_id(text, number)}"},
            }
            for number, medium in enumerate(text.media)
        ]

    def _media_id(self, text: DoubleText, number: int) -> str:
        return f"{text.remote_id}-{number}-{text.media[number].name or 'file'}"

    def _url(self, text: DoubleText, number: int) -> str:
        name = quote(text.media[number].name or "file", safe="")
        return f"{self._base}/mms/{text.remote_id}/{number}/{name}?Signature=made-up"


MIRROR = FlowrouteMirror


def _send(call: Call) -> AskedSend:
    if call.headers.get("content-type", "").partition(";")[0] != _JSON_API:
        raise Wrong(_error(415, "Unsupported Media Type", f"Content-Type must be {_JSON_API}."))
    try:
        found = document(call.body)
    except Malformed:
        raise Wrong(_error(400, "Bad Request", "The body is no JSON.")) from None
    attributes = mapping(mapping(mapping(found).get("data")).get("attributes"))
    ends = {}
    for name in ("from", "to"):
        shown = attributes.get(name)
        if not isinstance(shown, str) or not re.fullmatch(r"\+?[0-9]{3,15}", shown):
            raise Wrong(
                _error(422, "Unprocessable Entity", f"The '{name}' number is not a valid one.")
            )
        ends[name] = plus_us(shown)
    body = attributes.get("body")
    urls = attributes.get("media_urls") or []
    if not isinstance(body, str) or not isinstance(urls, list) or not (body or urls):
        raise Wrong(_error(422, "Unprocessable Entity", "There is no body."))
    if any(each in body for each in "\u2018\u2019\u201c\u201d"):
        raise Wrong(_error(422, "Unprocessable Entity", "The body has characters that fail."))
    is_mms = attributes.get("is_mms") in (True, "true")
    if urls and not is_mms:
        raise Wrong(_error(422, "Unprocessable Entity", "media_urls wants is_mms."))
    text = DoubleText(
        remote_id="",
        outbound=True,
        sender=ends["from"],
        recipients=(ends["to"],),
        body=body,
        media=tuple(DoubleMedia(url=words(url)) for url in urls),
        mms=is_mms,
        callback=words(attributes.get("dlr_callback")),
    )
    return AskedSend(texts=(text,))


def _list(query: str) -> AskedList:
    values = dict(parse_qsl(query))
    times = {name: at_ms(values.get(name, "")) for name in ("start_date", "end_date")}
    if times["start_date"] is None:
        raise Wrong(_error(400, "Bad Request", "start_date is wanted."))
    limit, offset = values.get("limit", "100"), values.get("offset", "0")
    if not (limit.isdigit() and offset.isdigit() and int(limit)):
        raise Wrong(_error(400, "Bad Request", "limit and offset must be numbers."))
    return AskedList(
        since_ms=times["start_date"],
        until_ms=times["end_date"] or 0,
        most=int(limit),
        offset=int(offset),
    )


def _status_of(hook: str) -> str:
    """Return the address for receipts that belongs to the one for texts."""
    parts = urlsplit(hook)
    return parts._replace(path=parts.path.rstrip("/") + "/status").geturl()


def _post(url: str, shape: Mapping[str, Any]) -> Request:
    address, headers = without_credentials(url)
    return Request(
        method="POST",
        url=address,
        headers={"Content-Type": "application/json", **headers},
        body=json.dumps(shape).encode(),
    )


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _answer(status: int, shape: Mapping[str, Any], **headers: str) -> Response:
    return Response(
        status=status,
        headers={"content-type": _JSON_API, **headers},
        body=json.dumps(shape).encode(),
    )


def _error(status: int, title: str, detail: str, **headers: str) -> Response:
    error = {
        "id": "5f1c2a52-0000-4000-8000-00000000abcd",
        "status": status,
        "title": title,
        "detail": detail,
    }
    return _answer(status, {"errors": [error]}, **headers)
