"""
The far side of `payload`: VoIP.ms's REST API and webhooks, played for tests and for trying out.

It is as strict as the real one: texts are counted in bytes, days are at most 92, an empty list is
an error, and the webhook comes again until it is answered with exactly ``ok``.
"""

from __future__ import annotations

import base64
import json
import re
from collections.abc import Mapping, Sequence
from datetime import UTC, date, datetime, timedelta
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, quote, unquote, urlsplit

from smsbridge.core.message import Status
from smsbridge.gateways.voipms.config import MOST_MMS_BYTES, MOST_SMS_BYTES, VoipmsGateway
from smsbridge.provider.dialect import Request, Response
from smsbridge.provider.simulator.mirror import (
    Asked,
    AskedDids,
    AskedList,
    AskedMedia,
    AskedMediaList,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)
from smsbridge.provider.spelling import plus_us, without_credentials

__all__ = ["MIRROR", "VoipmsMirror"]

_API: Final = "https://voip.ms"
_PATH: Final = "/api/v1/rest.php"
_DAY_MS: Final = 86_400_000

_FAULTS: Final[Mapping[Fault, str]] = {
    "bad-number": "invalid_dst",
    "opted-out": "sms_failed",  # it has no such thing
    "not-ours": "invalid_did",
    "credentials": "invalid_credentials",
    "no-credit": "non_sufficient_funds",
    "throttled": "api_limit_exceeded",
    "quota": "limit_reached",
    "too-long": "sms_toolong",
    "bad-media": "exceeds_file_size",
}


class VoipmsMirror:
    """Plays VoIP.ms for one account."""

    kind: ClassVar[str] = "voipms"
    statuses: ClassVar[Sequence[Status]] = ()
    sample: ClassVar[Mapping[str, str]] = {
        "api_username": "ops@example.com",
        "api_password": "not-a-secret",
        "http_password": "not-a-secret-either",
    }

    def __init__(self, config: VoipmsGateway) -> None:
        self._config = config
        self._base = config.base_url or _API

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`: SMS and MMS share their numbers."""
        return str(272_000_000 + number)

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        parts = urlsplit(call.path)
        if call.method == "GET" and parts.path == "/media.php":
            return _media_asked(parts.query)
        if parts.path != _PATH or call.method not in ("GET", "POST"):
            raise Wrong(Response(status=404, headers={"content-type": "text/html"}, body=b"<html>"))
        # GET and POST have the same fields.
        fields = parts.query.encode() if call.method == "GET" else call.body
        try:
            values = dict(parse_qsl(fields.decode("utf-8"), keep_blank_values=True))
        except ValueError:
            raise _wrong("missing_method") from None
        self._check(values)
        return self._function(values, now_ms)

    def _check(self, values: Mapping[str, str]) -> None:
        if not values.get("method"):
            raise _wrong("missing_method")
        if not values.get("api_username") or not values.get("api_password"):
            raise _wrong("missing_credentials")
        given = (values["api_username"], values["api_password"])
        if given != (self._config.api_username, self._config.api_password):
            raise _wrong("invalid_credentials")

    def _function(self, values: Mapping[str, str], now_ms: int) -> Asked:
        match values["method"]:
            case "sendSMS" | "sendMMS" as method:
                return _send(values, method == "sendMMS")
            case "getSMS" | "getMMS":
                return _list(values, now_ms)
            case "getMediaMMS":
                return AskedMediaList(remote_id=values.get("id", ""))
            case "getDIDsInfo" | "getSubAccounts" as method:
                return AskedDids(which=method)
            case _:
                raise _wrong("invalid_method")

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        if fault == "broken":
            return Response(
                status=500, headers={"content-type": "text/html"}, body=b"<html>oops</html>"
            )
        return _answer({"status": _FAULTS[fault]})

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        text = texts[0]
        return _answer({"status": "success", "mms" if text.mms else "sms": int(text.remote_id)})

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`."""
        if not texts:
            return _answer({"status": "no_sms"})
        return _answer({"status": "success", "sms": [self._row(text) for text in texts]})

    def _row(self, text: DoubleText) -> dict[str, Any]:
        urls = self._urls(text)
        ours, other = (
            (text.sender, text.recipients[0])
            if text.outbound
            else (text.recipients[0], text.sender)
        )
        at = datetime.fromtimestamp(text.created_at_ms / 1000, UTC)
        return {
            "id": text.remote_id,
            "date": f"{at:%Y-%m-%d %H:%M:%S}",
            "type": "0" if text.outbound else "1",
            "did": _ten(ours),
            "contact": _ten(other),
            "message": text.body,
            "carrier_status": "Information not available",
            **{f"col_media{n}": url for n, url in enumerate([*urls, "", "", ""][:3], start=1)},
            "media": urls or "",
        }

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`; there is no such function."""
        return _answer({"status": "invalid_method"})

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`: an object with numbered keys."""
        if text is None:
            return _answer({"status": "invalid_id"})
        urls = dict(enumerate(self._urls(text)))
        return _answer({"status": "success", "id": text.remote_id, "media": urls})

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`; the first number belongs to a sub account."""
        if asked.which == "getSubAccounts":
            account = {
                "id": "99785",
                "account": "100000_reception",
                "username": "reception",
                "password": "not-a-secret",
                "callerid_number": _ten(numbers[0]) if numbers else "",
            }
            return _answer({"status": "success", "accounts": [account]})
        if not numbers:
            return _answer({"status": "no_did"})
        dids = [
            {
                "did": _ten(number),
                "description": "WASHINGTON, DC",
                "sms_available": "1",
                "sms_enabled": 1,
                "mms_available": "1",
                "webhook": "",
                "webhook_enabled": "0",
            }
            for number in numbers
        ]
        return _answer({"status": "success", "dids": dids})

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`: webhook A."""
        url, headers = without_credentials(hook)
        payload = {
            "id": text.remote_id,
            "record_type": "message",
            "type": "MMS" if text.mms else "SMS",
            "from": {"phone_number": _ten(text.sender)},
            "to": [{"phone_number": _ten(number)} for number in text.recipients],
            "text": text.body,
            "media": [{"url": each} for each in self._urls(text)],
        }
        event = {
            "id": text.remote_id,
            "event_type": "message.received",
            "record_type": "event",
            "payload": payload,
        }
        return [
            Request(
                method="POST",
                url=url,
                headers={"Content-Type": "application/json", **headers},
                body=json.dumps({"data": event}).encode(),
            )
        ]

    def called(self, text: DoubleText, hook: str, separator: str = "&") -> Request:
        """Write webhook B: the filled in address of a GET."""
        url, headers = without_credentials(hook)
        values = {
            "from": _ten(text.sender),
            "to": _ten(text.recipients[0]),
            "message": text.body,
            "media": ",".join(self._urls(text)) or "{MEDIA}",
            "id": text.remote_id,
        }
        query = separator.join(f"{name}={quote(value, safe='')}" for name, value in values.items())
        mark = "&" if "?" in url else "?"
        return Request(url=f"{url}{mark}{query}", headers=headers)

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`: it never tells."""
        return []

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        return response.status == 200 and response.body == b"ok"

    def _urls(self, text: DoubleText) -> list[str]:
        return [
            medium.url or self._url(text.remote_id, number)
            for number, medium in enumerate(text.media)
        ]

    def _url(self, remote_id: str, number: int) -> str:
        key = base64.urlsafe_b64encode(f"{remote_id}/{number}".encode()).decode("ascii")
        return f"{self._base}/media.php?map={quote(key)}"


MIRROR = VoipmsMirror


def _send(values: Mapping[str, str], mms: bool) -> AskedSend:
    for name in ("did", "dst"):
        if not values.get(name):
            raise _wrong(f"missing_{name}")
        if not re.fullmatch(r"[0-9]{3,10}", values[name]):
            raise _wrong(f"invalid_{name}")
    body = values.get("message", "")
    urls = [values[name] for name in ("media1", "media2", "media3") if values.get(name)]
    if not body and not urls:
        raise _wrong("message_empty")
    if len(body.encode()) > (MOST_MMS_BYTES if mms else MOST_SMS_BYTES):
        raise _wrong("sms_toolong")
    if not mms and urls:
        raise _wrong("invalid_sms")
    text = DoubleText(
        remote_id="",
        outbound=True,
        sender=plus_us(values["did"]),
        recipients=(plus_us(values["dst"]),),
        body=body,
        media=tuple(DoubleMedia(url=url) for url in urls),
        mms=mms,
    )
    return AskedSend(texts=(text,))


def _list(values: Mapping[str, str], now_ms: int) -> AskedList:
    today = datetime.fromtimestamp(now_ms / 1000, UTC).date()
    first = _date(values.get("from"), today)
    last = _date(values.get("to"), today)
    if first > last:
        raise _wrong("invalid_date_from")
    if (last - first).days > 92:
        raise _wrong("invalid_daterange")
    if values.get("type", "") not in ("", "0", "1"):
        raise _wrong("invalid_type")
    limit = values.get("limit", "") or "50"
    if not limit.isdigit():
        raise _wrong("invalid_limit")
    return AskedList(
        ours=plus_us(values.get("did", "")),
        other=plus_us(values.get("contact", "")),
        outbound={"0": True, "1": False}.get(values.get("type", "")),
        since_ms=_start_ms(first),
        until_ms=_start_ms(last) + _DAY_MS - 1,
        most=int(limit),
    )


def _date(shown: str | None, today: date) -> date:
    if not shown:
        return today
    try:
        return date.fromisoformat(shown)
    except ValueError:
        raise _wrong("invalid_date") from None


def _start_ms(day: date) -> int:
    return (day - date(1970, 1, 1)) // timedelta(days=1) * _DAY_MS


def _media_asked(query: str) -> AskedMedia:
    key = dict(parse_qsl(query)).get("map", "")
    try:
        remote_id, _, number = base64.urlsafe_b64decode(unquote(key)).decode().partition("/")
        return AskedMedia(remote_id=remote_id, number=int(number))
    except ValueError:
        raise Wrong(Response(status=404)) from None


def _ten(number: str) -> str:
    return number[2:] if re.fullmatch(r"\+1[0-9]{10}", number) else number.removeprefix("+")


def _answer(document: Mapping[str, Any]) -> Response:
    return Response(
        status=200,
        headers={"content-type": "application/json"},
        body=json.dumps(document).encode(),
    )


def _wrong(status: str) -> Wrong:
    return Wrong(_answer({"status": status}))
