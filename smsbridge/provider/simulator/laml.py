"""
The far side of `smsbridge.provider.laml`: Twilio, or what speaks like it, as a `mirror.Mirror`.

What differs between the two (ids, the types of counts, codes, signatures) is in a `Nature`, which
the folder of each provides.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import format_datetime
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, quote, unquote, urlencode

from attrs import frozen

from smsbridge.core.message import Status
from smsbridge.provider.dialect import Request, Response
from smsbridge.provider.laml import FORM, LONGEST_BODY
from smsbridge.provider.simulator.mirror import (
    Asked,
    AskedDids,
    AskedList,
    AskedMedia,
    AskedMediaList,
    AskedOne,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)
from smsbridge.provider.spelling import basic, without_credentials

__all__ = ["LamlMirror", "Nature"]

#: status, code and words of each refusal.
Refusals = Mapping[Fault, tuple[int, int, str]]

_MOST: Final = 1000
_PHONE: Final = re.compile(r"\+[1-9][0-9]{6,14}|[0-9]{3,8}")
#: A document of orders; what orders it has does not matter here.
_TWIML: Final = re.compile(rb"(<\?xml[^<>]*\?>)?\s*<Response\s*(/>|>.*</Response>)\s*", re.DOTALL)
_WORDS: Final = {
    Status.QUEUED: "queued",
    Status.SENDING: "sending",
    Status.SENT: "sent",
    Status.DELIVERED: "delivered",
    Status.FAILED: "undelivered",
    Status.EXPIRED: "undelivered",
}


@frozen(kw_only=True)
class Nature:
    """
    How one provider differs from the other.

    :ivar logins: users and passwords that are taken.
    :ivar shown: writes one text as JSON, given the fields that both have.
    :ivar number_shown: likewise one number of the account.
    :ivar sign: makes the headers of a webhook from the address and the form.
    :ivar codes: `errors.REASONS` to the code of a text that failed.
    :ivar other_code: the code of a failure for any other reason.
    """

    account_sid: str
    base: str
    account: str
    suffix: str
    more_info: str
    logins: frozenset[tuple[str, str]]
    refusals: Refusals
    not_found: tuple[int, int, str]
    wrong_to: tuple[int, int, str]
    wrong_from: tuple[int, int, str]
    empty: tuple[int, int, str]
    too_many_media: tuple[int, int, str]
    bad_url: tuple[int, int, str]
    codes: Mapping[str, int]
    other_code: int
    most_media: int
    known_fields: frozenset[str]
    shown: Callable[[dict[str, Any]], dict[str, Any]]
    number_shown: Callable[[dict[str, Any]], dict[str, Any]]
    sign: Callable[[str, Sequence[tuple[str, str]]], Mapping[str, str]]
    new_id: Callable[[int, bool], str]
    number_sid: Callable[[int], str]
    media_sid: Callable[[str, int], str]


class LamlMirror:
    """A `mirror.Mirror` without a provider's nature."""

    kind: ClassVar[str]
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]]

    def __init__(self, nature: Nature) -> None:
        self.nature = nature

    def new_id(self, number: int, mms: bool) -> str:
        """See `Mirror.new_id`."""
        return self.nature.new_id(number, mms)

    # -- requests

    def asked(self, call: Call, now_ms: int) -> Asked:
        """See `Mirror.asked`."""
        path, _, query = call.path.partition("?")
        if not path.startswith(f"{self.nature.account}/"):
            self._check_login(call)
            raise Wrong(self._error(self.nature.not_found))
        parts = [unquote(part) for part in path[len(self.nature.account) + 1 :].split("/")]
        is_file = len(parts) == 4 and parts[0] == "Messages" and parts[2] == "Media"
        self._check_login(call)
        if not is_file and self.nature.suffix:
            if not parts[-1].endswith(self.nature.suffix):
                raise Wrong(self._error(self.nature.not_found))
            parts[-1] = parts[-1].removesuffix(self.nature.suffix)
        values = dict(self._pairs(query))
        match call.method, parts:
            case "POST", ["Messages"]:
                return self._send(call)
            case "GET", ["Messages"]:
                return self._list(values)
            case "GET", ["Messages", sid]:
                return AskedOne(remote_id=sid)
            case "GET", ["Messages", sid, "Media"]:
                return AskedMediaList(remote_id=sid)
            case "GET" | "HEAD", ["Messages", sid, "Media", media_sid]:
                number = next(
                    (
                        n
                        for n in range(self.nature.most_media + 2)
                        if self.nature.media_sid(sid, n) == media_sid
                    ),
                    None,
                )
                if number is not None:
                    return AskedMedia(remote_id=sid, number=number)
            case "GET", ["IncomingPhoneNumbers"]:
                return AskedDids()
        raise Wrong(self._error(self.nature.not_found))

    def _check_login(self, call: Call) -> None:
        given = call.headers.get("authorization", "")
        if given not in [basic(*login)["Authorization"] for login in self.nature.logins]:
            raise Wrong(self._error(self.nature.refusals["credentials"]))

    def _pairs(self, text: str) -> list[tuple[str, str]]:
        try:
            return parse_qsl(text, keep_blank_values=True, max_num_fields=1000)
        except ValueError:
            raise Wrong(self._error(self.nature.not_found)) from None

    def _send(self, call: Call) -> AskedSend:
        nature = self.nature
        kind = call.headers.get("content-type", "").partition(";")[0].strip().lower()
        if kind != FORM:
            raise Wrong(self._error(nature.wrong_to))
        try:
            pairs = self._pairs(call.body.decode("utf-8"))
        except UnicodeDecodeError:
            raise Wrong(self._error(nature.wrong_to)) from None
        values = {name: value for name, value in pairs if name in nature.known_fields}
        urls = [value for name, value in pairs if name == "MediaUrl"]
        body, recipient, sender = (values.get(name, "") for name in ("Body", "To", "From"))
        for is_wrong, refusal in (
            (not _PHONE.fullmatch(recipient), nature.wrong_to),
            (not _PHONE.fullmatch(sender), nature.wrong_from),
            (not body and not urls, nature.empty),
            (len(body) > LONGEST_BODY, nature.refusals["too-long"]),
            (len(urls) > nature.most_media, nature.too_many_media),
            (not all(url.startswith(("http://", "https://")) for url in urls), nature.bad_url),
        ):
            if is_wrong:
                raise Wrong(self._error(refusal))
        text = DoubleText(
            remote_id="",
            outbound=True,
            sender=sender,
            recipients=(recipient,),
            body=body,
            media=tuple(DoubleMedia(url=url) for url in urls),
            mms=bool(urls) or values.get("SendAsMms") == "true",
            callback=values.get("StatusCallback", ""),
        )
        return AskedSend(texts=(text,))

    def _list(self, values: Mapping[str, str]) -> AskedList:
        size = min(max(_whole(values.get("PageSize", "50"), 50), 1), _MOST)
        to, sender = values.get("To", ""), values.get("From", "")
        return AskedList(
            ours=sender or to,
            other=to if sender else "",
            outbound=bool(sender) if sender or to else None,
            since_ms=_day_ms(values.get("DateSent>", "")),
            until_ms=_day_ms(values.get("DateSent<", "")),
            most=size,
            offset=_whole(values.get("Page", "0"), 0) * size,
        )

    # -- answers

    def refusal(self, fault: Fault, call: Call) -> Response:
        """See `Mirror.refusal`."""
        if fault == "broken":
            return Response(
                status=500, headers={"content-type": "text/html"}, body=b"<h1>Oops</h1>"
            )
        response = self._error(self.nature.refusals[fault])
        if fault == "throttled":
            headers = {**response.headers, "retry-after": "1"}
            return Response(status=response.status, headers=headers, body=response.body)
        return response

    def _error(self, error: tuple[int, int, str]) -> Response:
        status, code, message = error
        return _json(
            status,
            {
                "code": code,
                "message": message,
                "more_info": self.nature.more_info.format(code=code),
                "status": status,
            },
        )

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """See `Mirror.taken`."""
        return _json(201, self._text(texts[0], "queued"))

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """See `Mirror.listed`."""
        query = {}
        if asked.outbound is False:
            query["To"] = asked.ours
        elif asked.ours:
            query["From"] = asked.ours
            if asked.other:
                query["To"] = asked.other
        for name, at_ms in (("DateSent>", asked.since_ms), ("DateSent<", asked.until_ms)):
            if at_ms:
                query[name] = datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%d")
        query["PageSize"] = str(asked.most)
        return self._page(
            "Messages",
            "messages",
            [self._text(text) for text in texts],
            query,
            asked.offset // asked.most,
            more,
        )

    def _page(
        self,
        resource: str,
        name: str,
        items: list[dict[str, Any]],
        query: Mapping[str, str],
        page: int,
        more: bool,
    ) -> Response:
        path = f"{self.nature.account}/{resource}{self.nature.suffix}"

        def uri(number: int) -> str:
            return f"{path}?{urlencode({**query, 'Page': str(number)})}"

        return _json(
            200,
            {
                name: items,
                "uri": uri(page),
                "first_page_uri": uri(0),
                "next_page_uri": uri(page + 1) if more else None,
                "previous_page_uri": uri(page - 1) if page else None,
                "page": page,
                "page_size": int(query.get("PageSize", "50")),
            },
        )

    def one(self, text: DoubleText | None) -> Response:
        """See `Mirror.one`."""
        if text is None:
            return self._error(self.nature.not_found)
        return _json(200, self._text(text))

    def media_list(self, text: DoubleText | None) -> Response:
        """See `Mirror.media_list`."""
        if text is None:
            return self._error(self.nature.not_found)
        items = []
        for number, medium in enumerate(text.media):
            sid = self.nature.media_sid(text.remote_id, number)
            items.append(
                {
                    "sid": sid,
                    "account_sid": self.nature.account_sid,
                    "parent_sid": text.remote_id,
                    "content_type": medium.content_type,
                    "date_created": _date(text.created_at_ms),
                    "date_updated": _date(text.created_at_ms),
                    "uri": f"{self._media_path(text, number)}{self.nature.suffix}",
                }
            )
        resource = f"Messages/{text.remote_id}/Media"
        return self._page(resource, "media_list", items, {}, 0, False)

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """See `Mirror.dids`."""
        items = []
        for place, number in enumerate(numbers):
            sid = self.nature.number_sid(place)
            uri = f"{self.nature.account}/IncomingPhoneNumbers/{sid}{self.nature.suffix}"
            items.append(
                self.nature.number_shown(
                    {
                        "sid": sid,
                        "account_sid": self.nature.account_sid,
                        "phone_number": number,
                        "friendly_name": number,
                        "capabilities": {"sms": True, "mms": True, "voice": True, "fax": False},
                        "sms_url": "",
                        "sms_method": "POST",
                        "api_version": "2010-04-01",
                        "date_created": _date(0),
                        "date_updated": _date(0),
                        "uri": uri,
                    }
                )
            )
        return self._page("IncomingPhoneNumbers", "incoming_phone_numbers", items, {}, 0, False)

    def _text(self, text: DoubleText, status: str = "") -> dict[str, Any]:
        nature = self.nature
        uri = f"{nature.account}/Messages/{text.remote_id}"
        word = status or (_word(text) if text.outbound else "received")
        is_failed = word == "undelivered"
        return nature.shown(
            {
                "sid": text.remote_id,
                "account_sid": nature.account_sid,
                "status": word,
                "to": text.recipients[0],
                "from": text.sender,
                "body": text.body,
                "direction": "outbound-api" if text.outbound else "inbound",
                "num_segments": max(1, -(-len(text.body) // 153)),
                "num_media": len(text.media),
                "error_code": self._code(text) if is_failed else None,
                "error_message": None,
                "price": None,
                "price_unit": "USD",
                "messaging_service_sid": None,
                "api_version": "2010-04-01",
                "date_created": _date(text.created_at_ms),
                "date_updated": _date(text.created_at_ms),
                "date_sent": None if status == "queued" else _date(text.created_at_ms),
                "uri": f"{uri}{nature.suffix}",
                "subresource_uris": {"media": f"{uri}/Media{nature.suffix}"},
            }
        )

    def _code(self, text: DoubleText) -> int:
        return self.nature.codes.get(text.reason, self.nature.other_code)

    def _media_path(self, text: DoubleText, number: int) -> str:
        sid = self.nature.media_sid(text.remote_id, number)
        return f"{self.nature.account}/Messages/{quote(text.remote_id)}/Media/{sid}"

    # -- webhooks

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """See `Mirror.arrival`."""
        form = [
            ("ToCountry", "US"),
            ("SmsMessageSid", text.remote_id),
            ("NumMedia", str(len(text.media))),
            ("FromCity", ""),
            ("SmsSid", text.remote_id),
            ("SmsStatus", "received"),
            ("Body", text.body),
            ("To", text.recipients[0]),
            ("NumSegments", "1"),
            ("MessageSid", text.remote_id),
            ("AccountSid", self.nature.account_sid),
            ("From", text.sender),
            ("ApiVersion", "2010-04-01"),
        ]
        for number, medium in enumerate(text.media):
            form.append((f"MediaContentType{number}", medium.content_type))
            form.append((f"MediaUrl{number}", self.nature.base + self._media_path(text, number)))
        return [self._call(hook, form)]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`."""
        word = _WORDS[status]
        form = [
            ("SmsSid", text.remote_id),
            ("SmsStatus", word),
            ("MessageStatus", word),
            ("To", text.recipients[0]),
            ("MessageSid", text.remote_id),
            ("AccountSid", self.nature.account_sid),
            ("From", text.sender),
            ("ApiVersion", "2010-04-01"),
        ]
        if word == "undelivered":
            form.append(("ErrorCode", str(self._code(text))))
        bare, _, query = hook.partition("#")[0].partition("?")
        behind = f"{bare}/status" + (f"?{query}" if query else "")
        return [self._call(text.callback or behind, form)]

    def _call(self, url: str, form: list[tuple[str, str]]) -> Request:
        """Write a form to an address, whose fragment is for the provider alone."""
        address = url.partition("#")[0]
        # Credentials of an address are sent as a header and are not part of what is signed here.
        bare, login = without_credentials(address)
        headers = {"Content-Type": f"{FORM}; charset=UTF-8", **login}
        headers.update(self.nature.sign(bare, form))
        return Request(method="POST", url=address, headers=headers, body=urlencode(form).encode())

    def is_heard(self, response: Response) -> bool:
        """See `Mirror.is_heard`."""
        if not 200 <= response.status < 300:
            return False
        if not response.body:
            return True
        kind = response.headers.get("content-type", "").partition(";")[0].strip().lower()
        is_xml = kind in ("text/xml", "application/xml")
        return is_xml and _TWIML.fullmatch(response.body) is not None


def _word(text: DoubleText) -> str:
    return _WORDS.get(text.status, "sent")


def _whole(text: str, default: int) -> int:
    return int(text) if re.fullmatch("[0-9]{1,6}", text) else default


def _day_ms(text: str) -> int:
    """Read the day of a filter, with or without a time of day."""
    try:
        day = datetime.fromisoformat(text[:10]).replace(tzinfo=UTC)
    except ValueError:
        return 0
    return max(int(day.timestamp() * 1000), 0)


def _date(at_ms: int) -> str:
    return format_datetime(datetime.fromtimestamp(at_ms // 1000, UTC))


def _json(status: int, value: Mapping[str, Any]) -> Response:
    return Response(
        status=status,
        headers={"content-type": "application/json"},
        body=json.dumps(value).encode(),
    )
