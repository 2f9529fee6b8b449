"""
Turn texts into calls of VoIP.ms's REST API and back, and read both of its webhooks.

Sources: VoIP.ms's API documentation (functions ``sendSMS``, ``sendMMS``, ``getMMS``,
``getMediaMMS``, ``getDIDsInfo``, ``getSubAccounts`` and the list of statuses), its wiki (SMS/MMS,
SMS-MMS URL Callback), and what clients that run in production found out.

- One address, ``/api/v1/rest.php``; the function stands in ``method``. POST keeps the password out
  of addresses and logs. ``www.voip.ms`` answers with a redirect, so the bare host is used.
- The answer has status 200 and ``{"status": "success"}`` or a code. Its ``Content-Type`` cannot be
  relied on; a page that is no JSON may come from what stands in front of the API.
- ``sendSMS`` takes 160 bytes of UTF-8 (the documentation says characters) and does not split;
  ``sendMMS`` takes 2048 and works without attachments. Both go to one number.
- ``getMMS`` with ``all_messages=1`` lists SMS and MMS; the list stands under ``sms``, an empty one
  is the status ``no_sms``. Its days are asked for by date, at most 92 of them. Times have no zone;
  ``timezone=0`` should make them UTC, and may be taken for "none given", which is US Eastern.
- Webhook A ("SMS/MMS Webhook URL") posts JSON in the form of Telnyx's events, numbers without
  ``+``; webhook B ("URL Callback") is a GET of an address in which VoIP.ms fills in ``{FROM}``,
  ``{TO}``, ``{MESSAGE}``, ``{MEDIA}``, ``{ID}`` and ``{TIMESTAMP}``. Both are repeated every half
  hour without an end until the answer is exactly ``ok``, where that is switched on.
- Nothing is signed, and nothing tells what became of a text.
"""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping, Sequence
from datetime import UTC, date, datetime, timedelta, timezone, tzinfo
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final
from urllib.parse import unquote_plus, urlencode, urlsplit
from zoneinfo import ZoneInfo

from smsbridge.core.directory import Line
from smsbridge.core.message import Status, storable
from smsbridge.core.records import FoundLine
from smsbridge.errors import PermanentFailure
from smsbridge.gateways.voipms.config import (
    MOST_MMS_BYTES,
    MOST_SMS_BYTES,
    VoipmsGateway,
    VoipmsLine,
)
from smsbridge.gateways.voipms.graphemes import cut
from smsbridge.provider import verdicts
from smsbridge.provider.dialect import (
    NOTHING_THERE,
    UNSURE,
    Answer,
    Event,
    Hook,
    Ignored,
    LookedUp,
    Malformed,
    Outgoing,
    Page,
    Received,
    RemoteMedia,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.reading import at_ms as read_at_ms
from smsbridge.provider.reading import document, listed, mapping, object_in, pause_s, words
from smsbridge.provider.spelling import detail_of, made_id, plus_us, same_host, shown_name

__all__ = ["API", "PATH", "VoipmsDialect"]

API: Final = "https://voip.ms"
PATH: Final = "/api/v1/rest.php"

_MOST_FILE_BYTES: Final = 1_258_291  # 1.2 MB
_MOST_DAYS: Final = 90  # of one list; 92 are allowed
_ROWS: Final = 200
_MOST_ROWS: Final = 50_000
_SLACK_MS: Final = 120_000  # between our clock and VoIP.ms's
_OTHER_CLOCKS_MS: Final = 12 * 3_600_000  # how far behind UTC its times may be all the same
_MEDIA_KEYS: Final = ("col_media1", "col_media2", "col_media3")
_EMPTY: Final = frozenset(["no_sms", "no_mms", "no_did", "no_account", "no_media", "no_messages"])

#: The values of webhook B, as VoIP.ms's wiki and the clients name them.
_NAMES: Final = {
    "from": "from",
    "to": "to",
    "message": "message",
    "media": "media",
    "files": "media",
    "id": "id",
    "date": "timestamp",
    "timestamp": "timestamp",
}
_SEMICOLON: Final = re.compile(rf";(?=(?:{'|'.join(_NAMES)})=)", re.IGNORECASE)

#: Codes that end a text: reason, and the sentence for its sender.
_REFUSED: Final = {
    "invalid_dst": ("invalid-number", "VoIP.ms takes this for no number that it can text."),
    "missing_dst": ("invalid-number", "VoIP.ms takes this for no number that it can text."),
    "invalid_contact": ("invalid-number", "VoIP.ms takes this for no number that it can text."),
    "message_empty": ("empty", ""),
    "missing_sms": ("empty", ""),
    "invalid_sms": ("rejected", "VoIP.ms does not take this text; write it differently."),
    "sms_toolong": ("too-long", "The text is too long for VoIP.ms; send it in several texts."),
    "exceeds_file_size": ("too-large", "The file is too large; VoIP.ms takes 1.2 MB."),
    "invalid_media": ("bad-file", "VoIP.ms does not take this file."),
    "sms_failed": (
        "network",
        "VoIP.ms could not send the text; send it again later. For two days after a number was "
        "moved to VoIP.ms this is usual.",
    ),
}
#: Codes that the operator must look after: reason, sentence, how far it reaches.
_CONFIGURATION: Final = {
    "invalid_credentials": (
        "credentials",
        "VoIP.ms refuses 'api_username' and 'api_password'; the password is the one of the API, "
        "which is set under Main Menu, SOAP & REST/JSON API.",
        "gateway",
    ),
    "missing_credentials": ("credentials", "Set 'api_username' and 'api_password'.", "gateway"),
    "api_not_enabled": (
        "not-permitted",
        "VoIP.ms's API is switched off for this account; enable it under Main Menu, SOAP & "
        "REST/JSON API.",
        "gateway",
    ),
    "ip_not_enabled": (
        "not-permitted",
        "VoIP.ms does not know the address of this machine; enter it under Main Menu, SOAP & "
        "REST/JSON API, Enable IP Address.",
        "gateway",
    ),
    "non_sufficient_funds": ("no-credit", "The VoIP.ms account has no money left.", "gateway"),
    "invalid_did": (
        "not-permitted",
        "VoIP.ms says that the line's number is none of the account's with SMS switched on; look "
        "at Manage DIDs.",
        "line",
    ),
    "missing_did": ("not-permitted", "The line's number is not one of VoIP.ms's.", "line"),
    "sms_apply_regulations": (
        "not-permitted",
        "VoIP.ms wants the line's number to be registered before it sends texts; ask its support.",
        "line",
    ),
    "invalid_method": ("not-permitted", "VoIP.ms does not have this function.", "gateway"),
    "missing_method": (
        "not-permitted",
        "VoIP.ms got a request without its contents; is 'base_url' an address that redirects?",
        "gateway",
    ),
}
_CONFIGURATION_AS: Final = {"ip_not_authorized": "ip_not_enabled"}


class VoipmsDialect:
    """Speaks with one VoIP.ms account."""

    kind: ClassVar[str] = "voipms"
    hook_timeout_s: ClassVar[float] = 10.0
    status_path: ClassVar[bool] = False
    reports: ClassVar[bool] = False

    def __init__(self, config: VoipmsGateway) -> None:
        self._config = config
        self._base = config.base_url or API

    def _ask(self, method: str, note: str = "", **values: str) -> Request:
        form = {
            "api_username": self._config.api_username,
            "api_password": self._config.api_password,
            "method": method,
            "content_type": "json",
            **values,
        }
        return Request(
            method="POST",
            url=f"{self._base}{PATH}",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(form, errors="replace").encode("ascii"),
            note=note,
        )

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `Dialect.requests`: one SMS, one MMS, or several SMS."""
        if len(outgoing.recipients) != 1:
            raise PermanentFailure("unsupported", "VoIP.ms has no group texts.")
        ends = {
            "did": _ten(outgoing.sender, "The line's number"),
            "dst": _ten(outgoing.recipients[0], "This number"),
        }
        if outgoing.media:
            return [self._mms(outgoing, ends)]
        if not outgoing.body.strip():
            raise PermanentFailure("empty")
        if _splits(outgoing):
            return [self._ask("sendSMS", message=piece, **ends) for piece in _pieces(outgoing)]
        if _bytes(outgoing.body) > MOST_SMS_BYTES:
            return [self._mms(outgoing, ends)]
        return [self._ask("sendSMS", message=outgoing.body, **ends)]

    def _mms(self, outgoing: Outgoing, ends: Mapping[str, str]) -> Request:
        if _bytes(outgoing.body) > MOST_MMS_BYTES:
            raise PermanentFailure(
                "too-long",
                f"The text has {_bytes(outgoing.body)} bytes; VoIP.ms takes {MOST_MMS_BYTES}.",
            )
        if len(outgoing.media) > 3:
            raise PermanentFailure(
                "unsupported", "VoIP.ms takes three files in one message; send several messages."
            )
        if any((medium.size or 0) > _MOST_FILE_BYTES for medium in outgoing.media):
            raise PermanentFailure("too-large", "The file is too large; VoIP.ms takes 1.2 MB.")
        media = {f"media{number}": each.url for number, each in enumerate(outgoing.media, start=1)}
        return self._ask("sendMMS", message=outgoing.body, **ends, **media)

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `Dialect.answered`."""
        found = object_in(response)
        status = words(found.get("status")).strip().lower()
        if status == "success":
            remote_id = words(found.get("sms")) or words(found.get("mms"))
            if remote_id:
                return verdicts.accepted(remote_id)
            return verdicts.unknown(detail="success without an id")
        if not status:
            return _not_json(response)
        return self._refusal(outgoing, status, response)

    def _refusal(self, outgoing: Outgoing, status: str, response: Response) -> Verdict:
        detail = detail_of(status)
        if status == "limit_reached":
            return verdicts.quota_used(
                "The VoIP.ms account has sent as many texts as it may in one day; what waits is "
                "sent after midnight. VoIP.ms's support can raise the limit.",
                until_s=self._day_ends_in_s(outgoing, response),
                detail=detail,
            )
        if status == "api_limit_exceeded":
            return verdicts.throttled(pause_s(response.headers) or 60.0, detail=detail)
        if status == "method_maintenance":
            return verdicts.unavailable(detail=detail)
        if status in _REFUSED:
            reason, sentence = _REFUSED[status]
            return verdicts.refused(reason, sentence and f"{sentence} ({status})", detail=detail)
        status = _CONFIGURATION_AS.get(status, status)
        if status in _CONFIGURATION:
            reason, sentence, rests = _CONFIGURATION[status]
            return verdicts.misconfigured(
                reason,
                f"{sentence} ({detail})",
                detail=detail,
                rests="line" if rests == "line" else "gateway",
            )
        return verdicts.refused("rejected", f"VoIP.ms refused the text ({detail}).", detail=detail)

    def _day_ends_in_s(self, outgoing: Outgoing, response: Response) -> float:
        """Return the seconds until a minute after the next midnight of the quota's clock."""
        now_ms = outgoing.now_ms or _date_ms(response)
        if not now_ms:
            return 3600.0
        zone = _zone(self._config.quota_timezone)
        now = datetime.fromtimestamp(now_ms / 1000, UTC).astimezone(zone)
        tomorrow = datetime.combine(now.date() + timedelta(days=1), datetime.min.time(), zone)
        return (tomorrow.astimezone(UTC) - now.astimezone(UTC)).total_seconds() + 60.0

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """See `Dialect.look_up`; several SMS for one text are not looked for."""
        if _splits(outgoing):
            return None
        day = _day(sent_at_ms)
        return self._ask(
            "getMMS",
            type="0",
            all_messages="1",
            did=_digits(outgoing.sender),
            contact=_digits(outgoing.recipients[0]),
            limit=str(_ROWS),
            timezone="0",
            **{"from": str(day - timedelta(days=1)), "to": str(day + timedelta(days=7))},
        )

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """
        See `Dialect.looked_up`.

        A row with our text counts from when the text was made. One that seems up to half a day
        older may be ours on another clock, and one that is nearly our text may be ours spoiled on
        the way; then nobody can tell.
        """
        rows = _rows(response)
        if rows is None or len(rows) >= _ROWS:
            return UNSURE
        ends = (outgoing.sender, outgoing.recipients[0])
        doubtful = False
        for row in reversed(rows):
            remote_id, body = words(row.get("id")), words(row.get("message"))
            if (
                not remote_id
                or remote_id in known
                or words(row.get("type")) == "1"
                or (plus_us(words(row.get("did"))), plus_us(words(row.get("contact")))) != ends
                or _skeleton(body) != _skeleton(outgoing.body)
            ):
                continue
            at_ms = read_at_ms(words(row.get("date")))
            if at_ms is None or at_ms >= sent_at_ms - _SLACK_MS:
                if at_ms is not None and body.strip() == outgoing.body.strip():
                    return remote_id
                doubtful = True
            elif at_ms >= sent_at_ms - _SLACK_MS - _OTHER_CLOCKS_MS:
                doubtful = True
        return UNSURE if doubtful else NOTHING_THERE

    # -- webhooks

    @property
    def signs(self) -> bool:
        """Nothing is signed."""
        return False

    def authentic(self, hook: Hook) -> bool:
        """Nothing is signed."""
        return False

    def events(self, hook: Hook) -> Sequence[Event]:
        """See `Dialect.events`: webhook A, or webhook B by GET or as a form."""
        if hook.method == "POST" and hook.body.strip():
            if hook.body.lstrip()[:1] in (b"{", b"["):
                return [self._posted(document(hook.body), hook.now_ms)]
            try:
                values = _called(hook.body.decode("utf-8"))
            except UnicodeDecodeError:
                raise Malformed("neither JSON nor a form in UTF-8") from None
        else:
            values = _called(hook.query)
        if not values.get("from") and not values.get("to"):
            return []  # somebody looks whether the address is right
        return [self._called(values, hook.now_ms)]

    def _posted(self, found: Any, now_ms: int) -> Event:
        data = mapping(mapping(found).get("data"))
        payload = mapping(data.get("payload"))
        event_type = words(data.get("event_type")) or "message.received"
        if event_type != "message.received":
            return Ignored(why=f"an event of type {event_type[:64]}")
        if words(payload.get("direction")) == "outbound":
            return Ignored(why="a text of our own")
        sender = _number(payload.get("from"))
        recipients = tuple(
            number for each in listed(payload.get("to")) if (number := _number(each))
        ) or tuple(filter(None, [_number(payload.get("to"))]))
        if not sender or not recipients:
            raise Malformed("a text with 'from' and 'to' was expected")
        media = self._media(_media_urls(payload.get("media")))
        is_mms = words(payload.get("type")).strip().upper() == "MMS"
        body = words(payload.get("text"))
        remote_id = words(payload.get("id")) or words(data.get("id"))
        return Received(
            remote_id=remote_id or made_id(sender, *recipients, str(now_ms), body),
            ours=recipients[0],
            sender=sender,
            body=body,
            recipients=recipients if len(recipients) > 1 else (),
            media=media,
            unlisted_media=is_mms and not media and not listed(payload.get("media")),
            sent_at_ms=read_at_ms(words(payload.get("received_at"))),
        )

    def _called(self, values: Mapping[str, str], now_ms: int) -> Event:
        sender = plus_us(_plus(values.get("from", "")))
        ours = tuple(
            plus_us(_plus(each)) for each in re.split(r"[,;]", values.get("to", "")) if each.strip()
        )
        if not sender or not ours:
            raise Malformed("a text with 'from' and 'to' was expected")
        body = values.get("message", "")
        urls = [
            each.strip()
            for each in re.split(r"[,;\s](?=\s*https?://)", values.get("media", ""))
            if each.strip()
        ]
        # Without an id in the address a repeat is known by VoIP.ms's time; without that nothing
        # tells it from a second text, and to lose none, none is taken for a repeat.
        at = values.get("timestamp", "") or str(now_ms)
        remote_id = values.get("id", "") or made_id(sender, *ours, at, body)
        return Received(
            remote_id=remote_id,
            ours=ours[0],
            sender=sender,
            body=body,
            recipients=ours if len(ours) > 1 else (),
            media=self._media(urls),
        )

    def answer(self, hook: Hook) -> Answer:
        """Exactly ``ok``; anything else is taken for a failure."""
        return Answer(content_type="text/plain", body=b"ok")

    # -- what the provider keeps

    def _media(self, urls: Sequence[str]) -> tuple[RemoteMedia, ...]:
        """Return attachments; an address of VoIP.ms's own is asked for where `base_url` says."""
        found = []
        for url in dict.fromkeys(urls):
            name = shown_name(url)
            if name.lower().endswith(".smil"):
                continue
            if self._config.base_url and same_host(url, API):
                parts = urlsplit(url)
                url = f"{self._base}{parts.path}" + (f"?{parts.query}" if parts.query else "")
            found.append(RemoteMedia(url=url, name="" if name == "media.php" else name))
        return tuple(found)

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """Attachments are fetched without credentials."""
        return [{}]

    def media_list(self, received: Received) -> Request | None:
        """See `Dialect.media_list`."""
        if not received.remote_id.isdigit():
            return None
        # An MMS without words must have something; shortly after its arrival the list may be empty.
        note = "" if received.body.strip() else "wanted"
        return self._ask("getMediaMMS", note=note, id=received.remote_id, media_as_array="1")

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """See `Dialect.media_listed`."""
        found = object_in(response)
        status = words(found.get("status"))
        if status != "success" and status not in _EMPTY:
            raise Malformed(f"VoIP.ms does not list the attachments: {_why(status, response)}")
        media = self._media(_media_urls(found.get("media"), found))
        if not media and response.asked is not None and response.asked.note:
            raise Malformed("VoIP.ms does not list the attachments yet")
        return media

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """
        See `Dialect.listing`: received texts, from the newest to the oldest, 90 days at a time.

        Of sent ones nothing is told that is not known.
        """
        # Days are those of an unknown zone, so that one more at each end is asked for.
        first, last = _day(since_ms) - timedelta(days=1), _day(until_ms) + timedelta(days=1)
        return self._list(line, first, last, _ROWS)

    def _list(self, line: Line, first: date, last: date, most: int) -> Request:
        begin = max(first, last - timedelta(days=_MOST_DAYS))
        return self._ask(
            "getMMS",
            note=f"{first} {begin} {last} {most}",
            type="1",
            all_messages="1",
            did=_digits(line.number),
            limit=str(most),
            timezone="0",
            **{"from": str(begin), "to": str(last)},
        )

    def listed(self, line: Line, response: Response) -> Page:
        """See `Dialect.listed`."""
        rows = _rows(response)
        if rows is None:
            status = words(object_in(response).get("status"))
            raise Malformed(f"VoIP.ms does not list its texts: {_why(status, response)}")
        events = tuple(self._row(row) for row in rows)
        return Page(events=events, more=self._more(line, response, rows))

    def _more(
        self, line: Line, response: Response, rows: Sequence[Mapping[str, Any]]
    ) -> Request | None:
        """Return the request for what a list left out: it was too long, or older days remain."""
        if response.asked is None or not response.asked.note:
            return None
        first_day, begin_day, last_day, most_rows = response.asked.note.split()
        first, begin, last = map(date.fromisoformat, (first_day, begin_day, last_day))
        most = int(most_rows)
        if len(rows) >= most:
            days = [_day(at_ms) for row in rows if (at_ms := read_at_ms(words(row.get("date"))))]
            oldest = min(days, default=last)
            newest_first = days[:1] >= days[-1:]
            if newest_first and begin <= oldest < last:
                return self._list(line, first, oldest, most)
            if most < _MOST_ROWS:
                return self._list(line, first, last, min(most * 4, _MOST_ROWS))
        return self._list(line, first, begin, _ROWS) if begin > first else None

    def _row(self, row: Mapping[str, Any]) -> Event:
        remote_id = words(row.get("id"))
        ours, other = plus_us(words(row.get("did"))), plus_us(words(row.get("contact")))
        if not remote_id or not ours or not other:
            return Ignored(why="a row without its id or numbers")
        if words(row.get("type")) == "0":
            return StatusUpdate(
                remote_id=remote_id,
                status=Status.SENT,
                ours=ours,
                recipient=other,
                text=detail_of(row.get("carrier_status")),
            )
        body = words(row.get("message"))
        media = self._media(_media_urls(row.get("media"), row))
        return Received(
            remote_id=remote_id,
            ours=ours,
            sender=other,
            body=body,
            media=media,
            unlisted_media=not media and not body,
            sent_at_ms=read_at_ms(words(row.get("date"))),
        )

    def discover(self) -> Sequence[Request]:
        """See `Dialect.discover`: the numbers, and the sub accounts that use them."""
        return [self._ask("getDIDsInfo"), self._ask("getSubAccounts")]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """See `Dialect.discovered`; the sub accounts' passwords are left where they are."""
        answers = []
        for response in responses:
            found = object_in(response)
            status = words(found.get("status"))
            if status != "success" and status not in _EMPTY:
                raise Malformed(f"VoIP.ms does not list the numbers: {_why(status, response)}")
            answers.append(found)
        users: dict[str, list[str]] = {}
        for found in answers:
            for account in map(mapping, listed(found.get("accounts"))):
                number = words(account.get("callerid_number"))
                users.setdefault(plus_us(number), []).append(words(account.get("account")))
        return [
            _found(did, users)
            for found in answers
            for did in map(mapping, listed(found.get("dids")))
            if words(did.get("did"))
        ]


# -- answers ---------------------------------------------------------------------------------------


def _rows(response: Response) -> list[Mapping[str, Any]] | None:
    """Return the rows of a list; None where the answer is no list."""
    found = object_in(response)
    status = words(found.get("status"))
    if status in _EMPTY:
        return []
    if status != "success" or not isinstance(found.get("sms"), list):
        return None
    return [mapping(row) for row in listed(found.get("sms"))]


def _not_json(response: Response) -> Verdict:
    """Judge what is none of VoIP.ms's own answers."""
    detail = detail_of(f"HTTP {response.status}")
    if response.headers.get("cf-mitigated"):
        return verdicts.unavailable(detail=detail_of(detail, "challenge of the network in front"))
    if response.status in (401, 403, 404, 405):
        return verdicts.misconfigured(
            "not-permitted",
            f"VoIP.ms, or what stands before it, does not let us in ({detail}); look at 'base_url' "
            "and at the addresses that the account allows.",
            detail=detail,
        )
    if response.status == 429:
        return verdicts.throttled(pause_s(response.headers), detail=detail)
    if 400 <= response.status < 500 and response.status != 408:
        return verdicts.refused("rejected", f"VoIP.ms refused the text ({detail}).", detail=detail)
    return verdicts.unknown(detail=detail_of(detail, "not VoIP.ms's answer"))


def _why(status: str, response: Response) -> str:
    known = _CONFIGURATION.get(_CONFIGURATION_AS.get(status, status))
    if known is not None:
        return f"{known[1]} ({status})"
    return status[:64] or f"the answer with HTTP status {response.status} is not VoIP.ms's"


def _media_urls(media: Any, columns: Mapping[str, Any] | None = None) -> list[str]:
    """
    Return the addresses of attachments, each once, in order.

    They are a list of texts or objects, or an object with numbered keys; in the rows of a list the
    columns ``col_media1`` to ``col_media3`` have them, too.
    """
    values = list(mapping(media).values()) if isinstance(media, dict) else listed(media)
    values = values or [media]
    values += [mapping(columns).get(name) for name in _MEDIA_KEYS]
    found = []
    for value in values:
        url = words(mapping(value).get("url")) if isinstance(value, dict) else words(value)
        # The documentation's own example has quotation marks within the text.
        url = url.strip().strip("\"'")
        if url.startswith(("http://", "https://")):
            found.append(url)
    return list(dict.fromkeys(found))


def _found(did: Mapping[str, Any], users: Mapping[str, list[str]]) -> FoundLine:
    number = plus_us(words(did.get("did")))
    about = [words(did.get("description")), words(did.get("note"))]
    about += [f"sub account {name}" for name in users.get(number, []) if name]
    hook = words(did.get("webhook")) or words(did.get("sms_url_callback"))
    return FoundLine(
        number=number,
        sms=_is_on(did.get("sms_enabled")),
        mms=_is_on(did.get("sms_enabled")) and _is_on(did.get("mms_available")),
        description="; ".join(dict.fromkeys(each for each in about if each)),
        hook=re.sub(r"//[^/@]*@", "//", hook),  # the password in it is nobody's business
    )


def _is_on(value: Any) -> bool:
    return value is True or words(value).strip().lower() in ("1", "yes", "true", "on")


# -- numbers, texts, times -------------------------------------------------------------------------


def _number(value: Any) -> str:
    """Return the number of an end of webhook A: an object, or the number itself."""
    shown = words(mapping(value).get("phone_number")) if isinstance(value, dict) else words(value)
    return plus_us(shown.strip())


def _ten(number: str, what: str) -> str:
    """
    Return a number as VoIP.ms writes it.

    :raises PermanentFailure: it is not North American.
    """
    digits = _digits(number)
    if number.startswith("+") and len(digits) != 10:
        raise PermanentFailure(
            "unroutable", f"{what} is not in North America; VoIP.ms texts no other country."
        )
    return digits


def _digits(number: str) -> str:
    return number[2:] if re.fullmatch(r"\+1[0-9]{10}", number) else number.removeprefix("+")


def _plus(number: str) -> str:
    """Put back the plus sign of a number in a query that nobody encoded."""
    bare = number.strip()
    return f"+{bare}" if number[:1] == " " and re.fullmatch(r"[0-9]{11,15}", bare) else bare


def _bytes(body: str) -> int:
    return len(body.encode("utf-8", "replace"))


def _splits(outgoing: Outgoing) -> bool:
    """Tell whether a text goes out as several SMS."""
    line = outgoing.line
    return (
        isinstance(line, VoipmsLine)
        and line.long_texts == "split"
        and not outgoing.media
        and _bytes(outgoing.body) > MOST_SMS_BYTES
    )


def _pieces(outgoing: Outgoing) -> list[str]:
    return [piece for piece in cut(outgoing.body, MOST_SMS_BYTES) if piece.strip()]


def _skeleton(body: str) -> str:
    """Return what is left of a text when everything that may be spoiled is taken out."""
    return re.sub(r"[^a-z0-9]", "", body.lower())


def _called(query: str) -> dict[str, str]:
    """Read the values of webhook B, separated by ``&`` or ``;``; what is not filled in is empty."""
    found: dict[str, str] = {}
    for pair in query.split("&"):
        for each in _SEMICOLON.split(pair):
            name, separator, value = each.partition("=")
            meaning = _NAMES.get(unquote_plus(name).lower())
            if not separator or meaning is None or meaning in found:
                continue
            shown = storable(unquote_plus(value))
            found[meaning] = "" if shown == f"{{{meaning.upper()}}}" else shown
    return found


def _day(at_ms: int) -> date:
    bounded = max(0, min(at_ms, 4_102_444_800_000))
    return datetime.fromtimestamp(bounded / 1000, UTC).date()


def _date_ms(response: Response) -> int:
    try:
        return int(parsedate_to_datetime(response.headers.get("date", "")).timestamp() * 1000)
    except (TypeError, ValueError, OverflowError, IndexError):
        return 0


def _zone(name: str) -> tzinfo:
    try:
        return ZoneInfo(name)
    except (KeyError, ValueError, OSError):
        # A machine without time zones; an hour too late in summer is better than an hour too soon.
        return timezone(timedelta(hours=-5))
