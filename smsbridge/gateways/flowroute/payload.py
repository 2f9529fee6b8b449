"""
Turn texts into calls of Flowroute's Messaging API v2.2 and back, and read its callbacks.

Source: Flowroute's developer pages ("Send an SMS", "Send an MMS", "Receive an SMS or MMS",
"Receive a DLR", "Look up a set of messages", Numbers v2 "List account phone numbers").

- JSON:API (``application/vnd.api+json``), basic authentication with access key and secret key.
  Numbers are digits without ``+``; ``to`` is one text, so there are no group texts.
- A send is answered with 202 and an id ``mdr2-...``; an error has ``errors`` with ``status``,
  ``title`` and ``detail``. ``is_mms`` and other values come as JSON's own types or as texts.
- Typographic quotation marks make requests fail; straight ones are sent in their place.
- A received text is posted in the same shape, attachments under ``included``; the older v2 posts
  the flat ``{"to", "from", "body", "id"}``. Any answer but 200 is repeated four times, half a
  minute apart.
- A delivery receipt has a level: 1 is Flowroute's hand-over to the carrier, 2 what is beyond. Only
  level 2 can mean that the telephone has the text. The words of ``status`` are not documented, so
  that only plain ones are understood; the rest stays "sent".
- Nothing is signed. Nothing is known of opting out but the words of an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import parse_qsl, urlencode, urlsplit

from smsbridge.core.directory import Line
from smsbridge.core.message import Status
from smsbridge.core.records import FoundLine
from smsbridge.errors import PermanentFailure
from smsbridge.gateways.flowroute.config import MOST_MMS_BYTES, FlowrouteGateway
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
from smsbridge.provider.spelling import basic, detail_of, iso, made_id, plus_us, shown_name

__all__ = ["API", "MESSAGES", "NUMBERS", "FlowrouteDialect"]

API: Final = "https://api.flowroute.com"
MESSAGES: Final = "/v2.2/messages"
NUMBERS: Final = "/v2/numbers"

_JSON_API: Final = "application/vnd.api+json"
_ROWS: Final = 250
_SLACK_MS: Final = 120_000  # between our clock and Flowroute's

#: Single and double quotation marks, low and reversed ones included.
_STRAIGHT: Final = str.maketrans("\u2018\u2019\u201a\u201b\u201c\u201d\u201e\u201f", "''''\"\"\"\"")

#: What the words of a receipt mean, the first that fits; a failure is looked for first because
#: "not delivered" has the other word in it.
_STATUSES: Final = (
    (re.compile(r"expir"), Status.EXPIRED),
    (
        re.compile(
            r"undeliv|not[ _]delivered|non[ _-]?deliver|fail|reject|error|invalid|blocked|"
            r"deleted|cancel|spam|opted[ -]out|unsubscrib|black-?list"
        ),
        Status.FAILED,
    ),
    (re.compile(r"\bdelivered\b|\bdelivrd\b|_delivered\b"), Status.DELIVERED),
)
_REASONS: Final = (
    (re.compile(r"opt(ed)?[ -]?out|unsubscrib|\bstop\b"), "opted-out"),
    (re.compile(r"spam|filter|content"), "filtered"),
    (re.compile(r"block|black-?list"), "blocked"),
    (re.compile(r"unreachable|absent|switched off|unavailable"), "unreachable"),
    (
        re.compile(r"unknown subscriber|invalid (destination|number|to)|no such"),
        "unknown-subscriber",
    ),
    (re.compile(r"reject"), "rejected"),
)
_WORDS_OF_ERRORS: Final = (
    (re.compile(r"opt(ed)?[ -]?out|unsubscrib|black-?list"), "opted-out"),
    (re.compile(r"byte limit|too large|file size|size limit"), "too-large"),
    (re.compile(r"media|file at"), "bad-file"),
    (re.compile(r"\b(body|message|text)\b.*(too long|length|exceed)"), "too-long"),
    (
        re.compile(r"""['"/]to\b|\bto (number|must|is|address|field)|destination|recipient"""),
        "invalid-number",
    ),
)
_OURS: Final = re.compile(
    r"""['"/]from\b|\bfrom (number|must|is|address|field)|"""
    r"not owned|does not belong|not provisioned"
)
_SENTENCES: Final = {
    "opted-out": "The recipient asked not to be texted from this number.",
    "too-large": f"The attachments are too large; Flowroute takes {MOST_MMS_BYTES:,} bytes.",
    "bad-file": "Flowroute could not use the attachment; send another file.",
    "too-long": "The text is too long for Flowroute; send it in several texts.",
    "invalid-number": "Flowroute takes this for no number that it can text.",
}


class FlowrouteDialect:
    """Speaks with one Flowroute account."""

    kind: ClassVar[str] = "flowroute"
    hook_timeout_s: ClassVar[float] = 10.0
    status_path: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(self, config: FlowrouteGateway) -> None:
        self._config = config
        self._base = config.base_url or API

    def _headers(self) -> dict[str, str]:
        return {
            **basic(self._config.access_key, self._config.secret_key),
            "Accept": _JSON_API,
        }

    def _ask(self, path: str, note: str = "", **query: object) -> Request:
        text = f"?{urlencode(query)}" if query else ""
        return Request(url=f"{self._base}{path}{text}", headers=self._headers(), note=note)

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `Dialect.requests`: always one."""
        if len(outgoing.recipients) != 1:
            raise PermanentFailure("unsupported", "Flowroute has no group texts.")
        body = _straight(outgoing.body)
        if not body.strip() and not outgoing.media:
            raise PermanentFailure("empty")
        attributes: dict[str, Any] = {
            "to": _digits(outgoing.recipients[0]),
            "from": _digits(outgoing.sender),
            "body": body,
        }
        if outgoing.media:
            size = len(body.encode("utf-8", "replace"))
            size += sum(medium.size or 0 for medium in outgoing.media)
            if size > MOST_MMS_BYTES:
                raise PermanentFailure("too-large", _SENTENCES["too-large"])
            attributes["is_mms"] = True
            attributes["media_urls"] = [medium.url for medium in outgoing.media]
        if outgoing.callback:
            attributes["dlr_callback"] = outgoing.callback
        shape = {"data": {"type": "message", "attributes": attributes}}
        return [
            Request(
                method="POST",
                url=f"{self._base}{MESSAGES}",
                headers={"Content-Type": _JSON_API, **self._headers()},
                body=json.dumps(shape, ensure_ascii=False).encode("utf-8", "replace"),
            )
        ]

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `Dialect.answered`."""
        found = object_in(response)
        if 200 <= response.status < 300:
            remote_id = words(mapping(found.get("data")).get("id"))
            if remote_id:
                return verdicts.accepted(remote_id)
            return verdicts.unknown(detail=detail_of(f"HTTP {response.status}", "without an id"))
        detail = _error(response, found)
        if response.status in (401, 403):
            return verdicts.misconfigured(
                "credentials" if response.status == 401 else "not-permitted",
                "Flowroute refuses 'access_key' and 'secret_key', or they may not send texts; "
                f"look at Preferences, API Control. ({detail})",
                detail=detail,
            )
        if response.status == 402:
            return verdicts.misconfigured(
                "no-credit", f"The Flowroute account has no money left. ({detail})", detail=detail
            )
        if response.status == 429:
            return verdicts.throttled(pause_s(response.headers), detail=detail)
        if response.status == 503:
            return verdicts.unavailable(pause_s(response.headers), detail=detail)
        if 400 <= response.status < 500 and response.status != 408:
            return _refusal(outgoing, detail)
        return verdicts.unknown(detail=detail)

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """See `Dialect.look_up`: the list cannot be asked for one recipient."""
        since = iso(sent_at_ms - _SLACK_MS)
        return self._ask(MESSAGES, start_date=since, limit=_ROWS, offset=0)

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """
        See `Dialect.looked_up`.

        A row that is nearly our text may be ours, spoiled on the way; then nobody can tell.
        """
        rows = _rows(response)
        if rows is None or len(rows) >= _ROWS:
            return UNSURE
        doubtful = False
        for row in rows:
            attributes = mapping(row.get("attributes"))
            remote_id = words(row.get("id"))
            ends = (_plus(words(attributes.get("from"))), _plus(words(attributes.get("to"))))
            if (
                remote_id in known
                or words(attributes.get("direction")) == "inbound"
                or ends != (outgoing.sender, outgoing.recipients[0])
            ):
                continue
            at_ms = read_at_ms(words(attributes.get("timestamp")))
            if at_ms is not None and at_ms < sent_at_ms - _SLACK_MS:
                continue
            body, mine = words(attributes.get("body")), _straight(outgoing.body)
            if at_ms is not None and body.strip() == mine.strip():
                return remote_id
            doubtful = doubtful or _skeleton(body) == _skeleton(mine)
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
        """See `Dialect.events`: texts and receipts, at either address."""
        if hook.method != "POST" or not hook.body.strip():
            return []
        found = mapping(document(hook.body))
        if "data" not in found:
            return [_flat(found, hook.now_ms)]
        data = mapping(found.get("data"))
        attributes = mapping(data.get("attributes"))
        if words(data.get("type")) == "delivery_receipt" or "level" in attributes:
            return [_receipt(data, attributes)]
        if words(data.get("type")) not in ("", "message"):
            return [Ignored(why=f"an event of type {words(data.get('type'))[:64]}")]
        if words(attributes.get("direction")) == "outbound":
            return [Ignored(why="a text of our own")]
        return [_message(data, _included(found), hook.now_ms)]

    def answer(self, hook: Hook) -> Answer:
        """See `Dialect.answer`."""
        return Answer(status=200)

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """The addresses of attachments are signed themselves."""
        return [{}]

    def media_list(self, received: Received) -> Request | None:
        """See `Dialect.media_list`: the text itself, by its id."""
        if not re.fullmatch(r"[A-Za-z0-9-]{1,128}", received.remote_id):
            return None
        return self._ask(f"{MESSAGES}/{received.remote_id}")

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """See `Dialect.media_listed`."""
        found = object_in(response)
        if response.status != 200 or "data" not in found:
            raise Malformed(f"Flowroute does not list the attachments: {_error(response, found)}")
        return _media(mapping(found.get("data")), _included(found))[0]

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """See `Dialect.listing`: the texts of the whole account, of which the line's are taken."""
        return self._page(iso(since_ms), iso(until_ms), 0)

    def _page(self, since: str, until: str, offset: int) -> Request:
        return self._ask(MESSAGES, start_date=since, end_date=until, limit=_ROWS, offset=offset)

    def listed(self, line: Line, response: Response) -> Page:
        """See `Dialect.listed`."""
        rows = _rows(response)
        if rows is None:
            raise Malformed(
                f"Flowroute does not list its texts: {_error(response, object_in(response))}"
            )
        included = _included(object_in(response))
        events = tuple(event for row in rows for event in _row(line, row, included))
        more = None
        if response.asked is not None and len(rows) >= _ROWS:
            query = dict(parse_qsl(urlsplit(response.asked.url).query))
            offset = int(query.get("offset", "0")) + len(rows)
            more = self._page(query.get("start_date", ""), query.get("end_date", ""), offset)
        return Page(events=events, more=more)

    def discover(self) -> Sequence[Request]:
        """See `Dialect.discover`: as many numbers as one page has."""
        return [self._ask(NUMBERS, limit=200, offset=0)]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """See `Dialect.discovered`."""
        numbers = []
        for response in responses:
            found = object_in(response)
            if response.status != 200 or not isinstance(found.get("data"), list):
                raise Malformed(f"Flowroute does not list the numbers: {_error(response, found)}")
            numbers += [mapping(each) for each in listed(found.get("data"))]
        return [line for number in numbers if (line := _number(number)) is not None]


# -- answers ---------------------------------------------------------------------------------------


def _rows(response: Response) -> list[Mapping[str, Any]] | None:
    """Return the resources of a list; None where the answer is no list."""
    data = object_in(response).get("data")
    if response.status != 200 or not isinstance(data, list):
        return None
    return [mapping(row) for row in data]


def _error(response: Response, found: Mapping[str, Any]) -> str:
    """Return the code and the words of an error."""
    errors = [mapping(error) for error in listed(found.get("errors"))]
    told = [
        detail_of(
            error.get("title"),
            error.get("detail"),
            mapping(error.get("source")).get("pointer"),
        )
        for error in errors
    ]
    ids = [words(error.get("id")) for error in errors if words(error.get("id"))]
    return detail_of(f"HTTP {response.status}", "; ".join(filter(None, told)), *ids)


def _refusal(outgoing: Outgoing, detail: str) -> Verdict:
    """Find out what is wrong from the words of an error, which are its only code."""
    said = detail.lower()
    if _OURS.search(said) and not outgoing.media:
        return verdicts.misconfigured(
            "not-permitted",
            f"Flowroute does not take {outgoing.line.label!r}'s number as a sender; is it a number "
            f"of the account with messaging switched on? ({detail})",
            detail=detail,
            rests="line",
        )
    for pattern, reason in _WORDS_OF_ERRORS:
        if pattern.search(said):
            return verdicts.refused(reason, _SENTENCES[reason], detail=detail)
    return verdicts.refused("rejected", f"Flowroute refused the text ({detail}).", detail=detail)


# -- callbacks and rows ----------------------------------------------------------------------------


def _flat(found: Mapping[str, Any], now_ms: int) -> Event:
    """Read the webhook of the older v2."""
    sender, ours = _plus(words(found.get("from"))), _plus(words(found.get("to")))
    if not sender or not ours:
        raise Malformed("a text with 'from' and 'to' was expected")
    body = words(found.get("body"))
    # Without an id nothing tells a repeat from a second text; to lose none, none is a repeat.
    remote_id = words(found.get("id")) or made_id(sender, ours, str(now_ms), body)
    return Received(remote_id=remote_id, ours=ours, sender=sender, body=body)


def _message(
    data: Mapping[str, Any], included: Mapping[str, Mapping[str, Any]], now_ms: int = 0
) -> Event:
    attributes = mapping(data.get("attributes"))
    to = attributes.get("to")
    recipients = tuple(
        _plus(words(each)) for each in (to if isinstance(to, list) else [to]) if words(each)
    )
    sender = _plus(words(attributes.get("from")))
    if not sender or not recipients:
        raise Malformed("a text with 'from' and 'to' was expected")
    media, unlisted = _media(data, included)
    body, at = words(attributes.get("body")), words(attributes.get("timestamp"))
    made = made_id(sender, *recipients, at or str(now_ms), body)
    return Received(
        remote_id=words(data.get("id")) or made,
        ours=recipients[0],
        sender=sender,
        body=body,
        recipients=recipients if len(recipients) > 1 else (),
        media=media,
        unlisted_media=unlisted,
        sent_at_ms=read_at_ms(at),
    )


def _included(found: Mapping[str, Any]) -> dict[str, Mapping[str, Any]]:
    """Return the attributes of the attachments of a document, by id; those without one by place."""
    included: dict[str, Mapping[str, Any]] = {}
    for place, each in enumerate(listed(found.get("included"))):
        resource = mapping(each)
        if words(resource.get("type")) in ("", "media"):
            included[words(resource.get("id")) or f"#{place}"] = mapping(resource.get("attributes"))
    return included


def _media(
    data: Mapping[str, Any], included: Mapping[str, Mapping[str, Any]]
) -> tuple[tuple[RemoteMedia, ...], bool]:
    """Return the attachments of a text, and whether it has some that are not told."""
    relation = mapping(mapping(data.get("relationships")).get("media")).get("data")
    wanted = [words(mapping(each).get("id")) for each in listed(relation)]
    names = wanted if isinstance(relation, list) else list(included)
    found = []
    for name in names:
        attributes = included.get(name, {})
        url = words(attributes.get("url"))
        if not url.startswith(("http://", "https://")):
            continue
        size = attributes.get("file_size")
        found.append(
            RemoteMedia(
                url=url,
                content_type=words(attributes.get("mime_type")),
                name=words(attributes.get("file_name")) or shown_name(url),
                size=size if isinstance(size, int) and size > 0 else None,
            )
        )
    return tuple(found), len(found) < len(wanted) and not found


def _receipt(data: Mapping[str, Any], attributes: Mapping[str, Any]) -> Event:
    remote_id = words(data.get("id"))
    if not remote_id:
        raise Malformed("a receipt with the text's id was expected")
    return _update(remote_id, attributes)


def _update(remote_id: str, attributes: Mapping[str, Any]) -> StatusUpdate:
    code = words(attributes.get("status_code"))
    said = words(attributes.get("status")).lower()
    about = words(attributes.get("status_code_description"))
    status = _meaning(said) or _meaning(about.lower()) or Status.SENT
    if words(attributes.get("level")) == "1" and status is Status.DELIVERED:
        status = Status.SENT  # the carrier has it, which is not the telephone
    told = f"{said} {about}".lower()
    reason = ""
    if status in (Status.FAILED, Status.EXPIRED):
        reason = next((each for pattern, each in _REASONS if pattern.search(told)), "network")
        reason = "expired" if status is Status.EXPIRED else reason
    return StatusUpdate(
        remote_id=remote_id,
        status=status,
        ours=_plus(words(attributes.get("from"))),
        recipient=_plus(words(attributes.get("to"))),
        reason=reason,
        text=detail_of(code, attributes.get("status"), about),
        opted_out=reason == "opted-out",
    )


def _meaning(said: str) -> Status | None:
    return next((status for pattern, status in _STATUSES if pattern.search(said)), None)


def _row(
    line: Line, row: Mapping[str, Any], included: Mapping[str, Mapping[str, Any]]
) -> list[Event]:
    """Return what a row of the list tells of a line; nothing where it is about another."""
    attributes = mapping(row.get("attributes"))
    remote_id = words(row.get("id"))
    if not remote_id:
        return []
    if words(attributes.get("direction")) == "inbound":
        to = attributes.get("to")
        ours = [_plus(words(each)) for each in (to if isinstance(to, list) else [to])]
        try:
            return [_message(row, included)] if line.number in ours else []
        except Malformed as e:
            return [Ignored(why=str(e))]
    if _plus(words(attributes.get("from"))) != line.number:
        return []
    receipts = [mapping(each) for each in listed(attributes.get("delivery_receipts"))]
    receipts.sort(key=lambda each: words(each.get("level")))
    latest = receipts[-1] if receipts else {"status": attributes.get("status"), "level": 2}
    ends = {"from": attributes.get("from"), "to": attributes.get("to")}
    return [_update(remote_id, {**latest, **ends})]


def _number(resource: Mapping[str, Any]) -> FoundLine | None:
    attributes = mapping(resource.get("attributes"))
    number = words(attributes.get("value")) or words(resource.get("id"))
    if not number:
        return None
    place = " ".join(
        filter(None, (words(attributes.get("rate_center")), words(attributes.get("state"))))
    )
    about = [words(attributes.get("alias")), place]
    return FoundLine(
        number=_plus(number), sms=True, mms=True, description="; ".join(filter(None, about))
    )


# -- numbers and texts -----------------------------------------------------------------------------


def _plus(number: str) -> str:
    """Return a number in E.164; Flowroute leaves out the plus sign of every long one."""
    bare = number.strip()
    return f"+{bare}" if re.fullmatch(r"[2-9][0-9]{10,14}", bare) else plus_us(number)


def _digits(number: str) -> str:
    return number.removeprefix("+")


def _straight(body: str) -> str:
    """Replace the typographic quotation marks, on which Flowroute fails."""
    return body.translate(_STRAIGHT)


def _skeleton(body: str) -> str:
    """Return what is left of a text when everything that may be spoiled is taken out."""
    return re.sub(r"[^a-z0-9]", "", body.lower())
