"""The far side of `payload`: Bandwidth's Messaging API v2 and its callbacks, played."""

from __future__ import annotations

import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from smsbridge.core.message import Status
from smsbridge.gateways.bandwidth.config import MOST_IN_GROUP, MOST_TEXT, BandwidthGateway
from smsbridge.provider.dialect import Malformed, Request, Response
from smsbridge.provider.reading import at_ms, document, mapping, words
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
from smsbridge.provider.spelling import basic, iso, without_credentials

__all__ = ["MIRROR", "BandwidthMirror"]

_API: Final = "https://messaging.bandwidth.com"
_SAID: Final = "Your request could not be accepted."

#: The field that an error names, and what it says of it.
_FIELDS: Final[Mapping[Fault, tuple[str, str]]] = {
    "bad-number": ("to", "'+1202555' must be replaced with a valid E164 formatted number"),
    "not-ours": ("from", "The number is not assigned to the application"),
    "too-long": ("text", "The text must be at most 2048 characters"),
    "bad-media": ("media", "The media is not available"),
}
_TYPES: Final = {
    Status.SENT: "message-sending",
    Status.DELIVERED: "message-delivered",
    Status.FAILED: "message-failed",
    Status.EXPIRED: "message-failed",
}
#: Codes for the reasons of a failure.
_CODES: Final = {
    "opted-out": (4775, "destination-opted-out"),
    "filtered": (4770, "destination-spam-detected"),
    "unknown-subscriber": (4720, "invalid-destination-address"),
    "unreachable": (5620, "destination-carrier-error"),
    "rejected": (4750, "destination-rejected-message"),
    "bad-file": (4410, "media-unable-to-access"),
}
_LISTED: Final = {
    Status.SENT: "SENDING",
    Status.DELIVERED: "DELIVERED",
    Status.FAILED: "FAILED",
    Status.EXPIRED: "UNDELIVERED",
}


class BandwidthMirror:
    """Plays Bandwidth for one account."""

    kind: ClassVar[str] = "bandwidth"
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]] = {
        "account_id": "9900000",
        "api_token": "smsbridge",
        "api_secret": "not-a-secret",
        "application_id": "93de2206-9669-4e07-948d-329f4b722ee2",
        "http_password": "not-a-secret-either",
    }

    def __init__(self, config: BandwidthGateway) -> None:
        self._config = config
        self._base = config.base_url or _API
        self._user = f"/api/v2/users/{quote(config.account_id, safe='')}"

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`."""
        return f"{1_476_207_046_829 + number}kw2fuqty55yp2b2"

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        wanted = basic(self._config.api_token, self._config.api_secret)["Authorization"]
        if call.headers.get("authorization", "") != wanted:
            raise Wrong(_error(401, "unauthorized", "Unauthorized"))
        parts = urlsplit(call.path)
        media = re.fullmatch(
            rf"{re.escape(self._user)}/media/([^/]+)/([0-9]{{1,3}})/[^/]*", parts.path
        )
        if media is not None and call.method == "GET":
            return AskedMedia(remote_id=unquote(media[1]), number=int(media[2]))
        if parts.path == f"{self._user}/messages" and call.method == "POST":
            return self._send(call)
        if parts.path == f"{self._user}/messages" and call.method == "GET":
            return _list(parts.query)
        raise Wrong(_error(404, "resource-not-found", "There is nothing at this address."))

    def _send(self, call: Call) -> AskedSend:
        if call.headers.get("content-type", "").partition(";")[0] != "application/json":
            raise Wrong(_error(415, "unsupported-media-type", "Content-Type is wrong."))
        try:
            found = mapping(document(call.body))
        except Malformed:
            raise Wrong(_error(400, "bad-request", "The body is no JSON.")) from None
        if found.get("applicationId") != self._config.application_id:
            raise _wrong("applicationId", "The application is not known")
        to = found.get("to")
        if isinstance(to, str):
            to = [to]
        if not isinstance(to, list) or not 1 <= len(to) <= MOST_IN_GROUP:
            raise _wrong("to", "There must be 1 to 10 recipients")
        for name, numbers in (("from", [found.get("from")]), ("to", to)):
            for number in numbers:
                if not re.fullmatch(r"\+[1-9][0-9]{6,14}|[0-9]{5,6}", words(number)):
                    raise _wrong(name, f"'{words(number)}' must be a valid E164 formatted number")
        body, urls = found.get("text", ""), found.get("media", [])
        if not isinstance(body, str) or len(body) > MOST_TEXT:
            raise _wrong(*_FIELDS["too-long"])
        if not isinstance(urls, list) or not all(isinstance(url, str) for url in urls):
            raise _wrong(*_FIELDS["bad-media"])
        if not body and not urls:
            raise _wrong("text", "Either text or media must be there")
        recipients = tuple(words(number) for number in to)
        text = DoubleText(
            remote_id="",
            outbound=True,
            sender=words(found.get("from")),
            recipients=recipients,
            body=body,
            media=tuple(DoubleMedia(url=url) for url in urls),
            mms=bool(urls) or len(recipients) > 1,
            reference=words(found.get("tag")),
        )
        return AskedSend(texts=(text,))

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        if fault in _FIELDS:
            return _wrong(*_FIELDS[fault]).response
        if fault == "credentials":
            return _error(401, "unauthorized", "Unauthorized")
        if fault == "throttled":
            said = "The queue of the account is full."
            found = _error(429, "max-message-queue-size-exceeded", said)
            return Response(
                status=429, headers={**found.headers, "retry-after": "1"}, body=found.body
            )
        return _error(500, "internal-server-error", "Something went wrong.")

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        return _answer(202, {**self._message(texts[0]), "priority": "default"})

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`; no words are kept."""
        rows = [
            {
                "messageId": text.remote_id,
                "accountId": self._config.account_id,
                "sourceTn": text.sender,
                "destinationTn": recipient,
                "messageStatus": _LISTED.get(text.status, "SENDING")
                if text.outbound
                else "RECEIVED",
                "messageDirection": "OUTBOUND" if text.outbound else "INBOUND",
                "messageType": "mms" if text.mms else "sms",
                "segmentCount": 1,
                "errorCode": _CODES.get(text.reason, (9999, ""))[0]
                if text.status is Status.FAILED
                else 0,
                "receiveTime": iso(text.created_at_ms),
                "messageLength": len(text.body),
                "attachmentCount": len(text.media),
                "recipientCount": len(text.recipients),
            }
            for text in texts
            for recipient in text.recipients
        ]
        page = {"nextPageToken": str(asked.offset + len(texts))} if more else {}
        return _answer(200, {"totalCount": len(rows), "pageInfo": page, "messages": rows})

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`; there is no such function."""
        return _error(404, "resource-not-found", "There is nothing at this address.")

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`; there is no such function."""
        return _error(404, "resource-not-found", "There is nothing at this address.")

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`; they are in another API."""
        return _error(404, "resource-not-found", "There is nothing at this address.")

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`."""
        event = {
            "type": "message-received",
            "time": iso(text.created_at_ms),
            "description": "Incoming message received",
            "to": text.recipients[0],
            "message": self._message(text),
        }
        return [_post(hook, [event])]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`: one call for each recipient."""
        if status not in _TYPES:
            return []
        calls = []
        for recipient in text.recipients:
            event: dict[str, Any] = {
                "type": _TYPES[status],
                "time": iso(text.created_at_ms),
                "description": "ok",
                "to": recipient,
                # The words of a sent text are not told.
                "message": {**self._message(text), "text": ""},
            }
            if _TYPES[status] == "message-failed":
                code, said = _CODES.get(text.reason, (9999, "unknown-error"))
                event.update(errorCode=code, description=said)
            calls.append(_post(hook, [event]))
        return calls

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        return 200 <= response.status < 300

    def _message(self, text: DoubleText) -> dict[str, Any]:
        found: dict[str, Any] = {
            "id": text.remote_id,
            "owner": text.sender if text.outbound else text.recipients[0],
            "applicationId": self._config.application_id,
            "time": iso(text.created_at_ms),
            "segmentCount": 1,
            "direction": "out" if text.outbound else "in",
            "to": list(text.recipients),
            "from": text.sender,
            "text": text.body,
        }
        if text.media:
            found["media"] = [
                medium.url or self._url(text, number) for number, medium in enumerate(text.media)
            ]
        if text.outbound:
            found["tag"] = text.reference
        return found

    def _url(self, text: DoubleText, number: int) -> str:
        name = quote(text.media[number].name or "file", safe="")
        return f"{self._base}{self._user}/media/{text.remote_id}/{number}/{name}"


MIRROR = BandwidthMirror


def _list(query: str) -> AskedList:
    values = dict(parse_qsl(query))
    limit, offset = values.get("limit", "100"), values.get("pageToken", "0")
    if not limit.isdigit() or not offset.isdigit():
        raise _wrong("limit", "limit must be a number")
    times = [at_ms(values.get(name, "")) or 0 for name in ("fromDateTime", "toDateTime")]
    outbound = {"OUTBOUND": True, "INBOUND": False}.get(values.get("messageDirection", ""))
    source, destination = values.get("sourceTn", ""), values.get("destinationTn", "")
    return AskedList(
        ours=destination if outbound is False else source,
        other=source if outbound is False else destination,
        outbound=outbound,
        since_ms=times[0],
        until_ms=times[1],
        most=int(limit),
        offset=int(offset),
    )


def _post(url: str, shape: Any) -> Request:
    address, headers = without_credentials(url)
    return Request(
        method="POST",
        url=address,
        headers={"Content-Type": "application/json; charset=utf-8", **headers},
        body=json.dumps(shape).encode(),
    )


def _answer(status: int, shape: Mapping[str, Any]) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json"},
        body=json.dumps(shape).encode(),
    )


def _error(status: int, kind: str, description: str) -> Response:
    return _answer(status, {"type": kind, "description": description})


def _wrong(field: str, description: str) -> Wrong:
    shape = {
        "type": "request-validation",
        "description": _SAID,
        "fieldErrors": [{"fieldName": field, "description": description}],
    }
    return Wrong(_answer(400, shape))
