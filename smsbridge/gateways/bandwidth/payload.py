"""
Turn texts into calls of Bandwidth's Messaging API v2 and back, and read its callbacks.

Sources: Bandwidth's OpenAPI description (``bandwidth.yml`` of its SDKs), its pages on message
callbacks, error codes and MMS, and what clients that run in production found out.

- ``POST /api/v2/users/{account}/messages`` takes JSON with all recipients of a text; more than one
  makes it a group MMS, at most ten. The answer is 202 with the text's id. ``tag`` comes back in
  every callback and has our delivery's id.
- Attachments are named by address when sending. A received one is fetched with the API's
  credentials within 48 hours; its id has slashes.
- Callbacks are a list of events. The ``to`` beside ``message`` is the number that an event is
  about; ``message.owner`` is ours. A group text in which several of our numbers are comes once for
  each. ``message.direction`` tells a received text from an echo of a sent one. They are repeated
  for 24 hours until they are answered with a 2xx, and may come more than once anyway.
- Callbacks are not signed; the application has basic authentication for them.
- Texts are not kept: the list of messages has numbers, times and statuses, and no words. It cannot
  be told how soon a text stands in it, so that an empty list does not say that a text is missing.
- Error 9902 (no receipt in time) is not a failure.
"""

from __future__ import annotations

import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import quote, urlencode, urlsplit

from smsbridge.core.directory import Line
from smsbridge.core.message import Status
from smsbridge.core.records import FoundLine
from smsbridge.errors import PermanentFailure
from smsbridge.gateways.bandwidth.config import (
    MOST_IN_GROUP,
    MOST_MMS_BYTES,
    MOST_TEXT,
    BandwidthGateway,
)
from smsbridge.provider import verdicts
from smsbridge.provider.dialect import (
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
from smsbridge.provider.reading import (
    document,
    listed,
    mapping,
    object_in,
    pause_s,
    whole,
    words,
)
from smsbridge.provider.spelling import (
    basic,
    detail_of,
    iso,
    made_id,
    plus_us,
    same_host,
    shown_name,
)

__all__ = ["API", "BandwidthDialect"]

API: Final = "https://messaging.bandwidth.com"

_ROWS: Final = 200
_SLACK_MS: Final = 60_000  # between our clock and Bandwidth's
_LISTED_FOR_MS: Final = 14 * 86_400_000  # how far back the list can be asked
_NO_RECEIPT: Final = 9902

_STATUSES: Final = {
    "message-sending": Status.SENT,
    "message-sent": Status.SENT,
    "message-delivered": Status.DELIVERED,
    "message-read": Status.DELIVERED,
    "message-failed": Status.FAILED,
}
_LISTED: Final = {
    "QUEUED": Status.SENT,
    "SENDING": Status.SENT,
    "SENT": Status.SENT,
    "ACCEPTED": Status.SENT,
    "DELIVERED": Status.DELIVERED,
    "UNDELIVERED": Status.FAILED,
    "FAILED": Status.FAILED,
}
#: Reasons for codes of failed texts, those of single ones first; the rest goes by its range.
_REASONS: Final = {
    4403: "not-permitted",
    4404: "unroutable",
    4405: "not-permitted",
    4406: "unroutable",
    4407: "not-permitted",
    4408: "unroutable",
    4410: "bad-file",
    4411: "too-large",
    4412: "media-unsupported",
    4435: "unsupported",
    4470: "filtered",
    4720: "unknown-subscriber",
    4721: "unknown-subscriber",
    4750: "rejected",
    4753: "rejected",
    4770: "filtered",
    4775: "opted-out",
    4780: "throttled",
    4781: "throttled",
    4785: "throttled",
    4795: "not-permitted",
}
#: First and last code of a range, and its reason.
_RANGES: Final = (
    (4420, 4434, "unroutable"),
    (4480, 4489, "blocked"),
    (4300, 4399, "rejected"),
    (4400, 4499, "rejected"),
    (4700, 4799, "rejected"),
    (4000, 4299, "rejected"),
)
_FIELDS: Final = {
    "to": ("invalid-number", "Bandwidth takes this for no number that it can text."),
    "text": ("too-long", f"Bandwidth takes texts of {MOST_TEXT} characters."),
    "media": ("bad-file", "Bandwidth could not use the attachment; send another file."),
}


class BandwidthDialect:
    """Speaks with one messaging application of a Bandwidth account."""

    kind: ClassVar[str] = "bandwidth"
    hook_timeout_s: ClassVar[float] = 10.0
    status_path: ClassVar[bool] = False
    reports: ClassVar[bool] = True

    def __init__(self, config: BandwidthGateway) -> None:
        self._config = config
        self._base = config.base_url or API
        account = quote(config.account_id, safe="")
        self._messages = f"{self._base}/api/v2/users/{account}/messages"

    def _headers(self) -> dict[str, str]:
        return {
            **basic(self._config.api_token, self._config.api_secret),
            "Accept": "application/json",
        }

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `Dialect.requests`: always one, for a group text, too."""
        if len(outgoing.recipients) > MOST_IN_GROUP:
            raise PermanentFailure(
                "unsupported", f"A group text of Bandwidth has {MOST_IN_GROUP} recipients at most."
            )
        if not outgoing.body.strip() and not outgoing.media:
            raise PermanentFailure("empty")
        if len(outgoing.body) > MOST_TEXT:
            raise PermanentFailure("too-long", _FIELDS["text"][1])
        if sum(medium.size or 0 for medium in outgoing.media) > MOST_MMS_BYTES:
            raise PermanentFailure(
                "too-large", "The attachments are too large; Bandwidth takes 3.75 MB in all."
            )
        shape: dict[str, Any] = {
            "applicationId": self._config.application_id,
            "to": list(dict.fromkeys(outgoing.recipients)),
            "from": outgoing.sender,
            "tag": outgoing.delivery_id,
        }
        if outgoing.body:
            shape["text"] = outgoing.body
        if outgoing.media:
            shape["media"] = [medium.url for medium in outgoing.media]
        return [
            Request(
                method="POST",
                url=self._messages,
                headers={"Content-Type": "application/json", **self._headers()},
                body=json.dumps(shape, ensure_ascii=False).encode("utf-8", "replace"),
            )
        ]

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `Dialect.answered`."""
        found = object_in(response)
        if 200 <= response.status < 300:
            remote_id = words(found.get("id"))
            if remote_id:
                return verdicts.accepted(remote_id)
            return verdicts.unknown(detail=detail_of(f"HTTP {response.status}", "without an id"))
        detail = _error(response, found)
        if response.status == 401:
            return verdicts.misconfigured(
                "credentials",
                f"Bandwidth refuses 'api_token' and 'api_secret'. ({detail})",
                detail=detail,
            )
        if response.status == 403:
            return verdicts.misconfigured(
                "not-permitted",
                "Bandwidth does not let these credentials send texts for the account in "
                f"'account_id'. ({detail})",
                detail=detail,
            )
        if response.status == 402:
            return verdicts.misconfigured(
                "no-credit", f"The Bandwidth account has no money left. ({detail})", detail=detail
            )
        if response.status == 429:
            return verdicts.throttled(pause_s(response.headers), detail=detail)
        if 400 <= response.status < 500 and response.status != 408:
            return _refusal(outgoing, found, detail)
        return verdicts.unknown(detail=detail)

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """See `Dialect.look_up`: by numbers and time alone."""
        query = {
            "sourceTn": outgoing.sender,
            "destinationTn": outgoing.recipients[0],
            "messageDirection": "OUTBOUND",
            "fromDateTime": iso(sent_at_ms - _SLACK_MS),
            "limit": _ROWS,
        }
        return self._list(query)

    def _list(self, query: Mapping[str, object]) -> Request:
        return Request(url=f"{self._messages}?{urlencode(query)}", headers=self._headers())

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """
        See `Dialect.looked_up`.

        A text is found where one alone fits in numbers, time and length. It is never said to be
        missing: the list has no words, and may be late. A callback with our tag tells later on.
        """
        rows = _rows(response)
        if rows is None or len(rows) >= _ROWS:
            return UNSURE
        found = {
            words(row.get("messageId")): row
            for row in rows
            if _is_sent(row, outgoing, sent_at_ms) and words(row.get("messageId"))
        }
        left = [(name, row) for name, row in found.items() if name not in known]
        if len(left) != 1:
            return UNSURE
        ((remote_id, row),) = left
        length = row.get("messageLength")
        if isinstance(length, int) and outgoing.body and length not in _lengths(outgoing.body):
            return UNSURE
        return remote_id

    # -- webhooks

    @property
    def signs(self) -> bool:
        """Nothing is signed; the password of the webhook is asked for by the shared side."""
        return False

    def authentic(self, hook: Hook) -> bool:
        """Nothing is signed."""
        return False

    def events(self, hook: Hook) -> Sequence[Event]:
        """See `Dialect.events`; an event that cannot be read does not keep back the others."""
        if hook.method != "POST" or not hook.body.strip():
            return []
        found = document(hook.body)
        if not isinstance(found, list | dict):
            raise Malformed("a list of events was expected")
        events = found if isinstance(found, list) else [found]
        return [self._event(mapping(each), hook.now_ms) for each in events]

    def _event(self, found: Mapping[str, Any], now_ms: int) -> Event:
        kind = words(found.get("type"))
        message = mapping(found.get("message"))
        inbound = words(message.get("direction")).lower() != "out"
        if kind == "message-received":
            if not inbound:
                return Ignored(why="a text of our own")
            return self._received(found, message, now_ms)
        if kind in _STATUSES:
            if inbound and "direction" in message:
                return Ignored(why=f"{kind} of a received text")
            return _update(found, message, _STATUSES[kind])
        return Ignored(why=f"an event of type {kind[:64]}")

    def _received(self, found: Mapping[str, Any], message: Mapping[str, Any], now_ms: int) -> Event:
        recipients = tuple(plus_us(words(each)) for each in listed(message.get("to")) if each)
        owner = plus_us(words(found.get("to")) or words(message.get("owner")))
        ours = owner or (recipients[0] if recipients else "")
        sender = plus_us(words(message.get("from")))
        if not ours or not sender:
            return Ignored(why="a text without its numbers")
        body = words(message.get("text"))
        at = words(message.get("time")) or words(found.get("time"))
        return Received(
            remote_id=words(message.get("id")) or made_id(sender, ours, at or str(now_ms), body),
            ours=ours,
            sender=sender,
            body=body,
            recipients=recipients if len(recipients) > 1 else (),
            media=self._media(message.get("media")),
            sent_at_ms=read_at_ms(at),
        )

    def _media(self, urls: Any) -> tuple[RemoteMedia, ...]:
        """Return attachments; Bandwidth's own addresses are asked for where `base_url` says."""
        found = []
        for url in dict.fromkeys(words(each) for each in listed(urls)):
            name = shown_name(url)
            if not url.startswith(("http://", "https://")) or name.lower().endswith(".smil"):
                continue
            if self._config.base_url and same_host(url, API):
                parts = urlsplit(url)
                url = f"{self._base}{parts.path}" + (f"?{parts.query}" if parts.query else "")
            found.append(RemoteMedia(url=url, name=name))
        return tuple(found)

    def answer(self, hook: Hook) -> Answer:
        """See `Dialect.answer`: any 2xx will do."""
        return Answer(status=200)

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """Attachments on the API's own host need its credentials."""
        if same_host(url, self._base):
            return [basic(self._config.api_token, self._config.api_secret)]
        return [{}]

    def media_list(self, received: Received) -> Request | None:
        """Attachments are always told."""
        return None

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """Attachments are always told."""
        return ()

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """
        See `Dialect.listing`: what became of sent texts, of the last fourteen days.

        Received ones are left out, because the list does not have their words.
        """
        query = {
            "sourceTn": line.number,
            "messageDirection": "OUTBOUND",
            "fromDateTime": iso(max(since_ms, until_ms - _LISTED_FOR_MS)),
            "toDateTime": iso(until_ms),
            "limit": _ROWS,
        }
        return self._list(query)

    def listed(self, line: Line, response: Response) -> Page:
        """See `Dialect.listed`."""
        rows = _rows(response)
        if rows is None:
            raise Malformed(
                f"Bandwidth does not list its texts: {_error(response, object_in(response))}"
            )
        events = tuple(_row(row) for row in rows)
        return Page(events=events, more=self._next(response))

    def _next(self, response: Response) -> Request | None:
        """Return the request for the page behind: the same with its token."""
        token = words(mapping(object_in(response).get("pageInfo")).get("nextPageToken"))
        if not token or response.asked is None:
            return None
        parts = urlsplit(response.asked.url)
        kept = [each for each in parts.query.split("&") if not each.startswith("pageToken=")]
        query = "&".join([*kept, urlencode({"pageToken": token})])
        url = parts._replace(query=query).geturl()
        return Request(url=url, headers=self._headers()) if url != response.asked.url else None

    def discover(self) -> Sequence[Request]:
        """The numbers are in another API, with other credentials."""
        return []

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """Nothing was asked."""
        return []


# -- sending ---------------------------------------------------------------------------------------


def _error(response: Response, found: Mapping[str, Any]) -> str:
    """Return the code and the words of an error."""
    fields = [
        detail_of(f"{words(error.get('fieldName'))}:", error.get("description"))
        for error in map(mapping, listed(found.get("fieldErrors")))
    ]
    return detail_of(
        f"HTTP {response.status}", found.get("type"), found.get("description"), "; ".join(fields)
    )


def _refusal(outgoing: Outgoing, found: Mapping[str, Any], detail: str) -> Verdict:
    """Judge a 4xx by the fields that it names."""
    errors = map(mapping, listed(found.get("fieldErrors")))
    names = [words(error.get("fieldName")).partition("[")[0] for error in errors]
    if "from" in names:
        return verdicts.misconfigured(
            "not-permitted",
            f"Bandwidth does not take {outgoing.line.label!r}'s number as a sender; is it assigned "
            f"to the application in 'application_id'? ({detail})",
            detail=detail,
            rests="line",
        )
    if "applicationId" in names:
        return verdicts.misconfigured(
            "not-permitted",
            f"Bandwidth does not know 'application_id' in this account. ({detail})",
            detail=detail,
        )
    for name in names:
        if name in _FIELDS:
            reason, sentence = _FIELDS[name]
            return verdicts.refused(reason, sentence, detail=detail)
    return verdicts.refused("rejected", f"Bandwidth refused the text ({detail}).", detail=detail)


# -- what became of a text -------------------------------------------------------------------------


def _update(found: Mapping[str, Any], message: Mapping[str, Any], status: Status) -> Event:
    remote_id = words(message.get("id"))
    if not remote_id:
        return Ignored(why="a status without the text's id")
    recipients = [plus_us(words(each)) for each in listed(message.get("to")) if each]
    about = plus_us(words(found.get("to")))
    sender = plus_us(words(message.get("from")))
    if about == sender or (recipients and about not in recipients):
        # In some of the documentation's examples it is our own number.
        about = recipients[0] if len(recipients) == 1 else ""
    return _judged(
        StatusUpdate(
            remote_id=remote_id,
            status=status,
            delivery_id=words(message.get("tag")),
            ours=sender,
            recipient=about,
        ),
        whole(found.get("errorCode")) or 0,
        words(found.get("description")),
    )


def _judged(update: StatusUpdate, code: int, said: str) -> StatusUpdate:
    """Return a status with its reason."""
    if code == _NO_RECEIPT and update.status is Status.FAILED:
        # The carrier never told; the text may well be there.
        status, reason = Status.SENT, ""
    elif update.status is Status.FAILED:
        status, reason = Status.FAILED, _reason(code)
    else:
        status, reason, code = update.status, "", 0
    return StatusUpdate(
        remote_id=update.remote_id,
        status=status,
        delivery_id=update.delivery_id,
        ours=update.ours,
        recipient=update.recipient,
        reason=reason,
        text=detail_of(code or "", said),
        opted_out=reason == "opted-out",
    )


def _reason(code: int) -> str:
    if code in _REASONS:
        return _REASONS[code]
    for first, last, reason in _RANGES:
        if first <= code <= last:
            return reason
    return "network"


# -- the list --------------------------------------------------------------------------------------


def _rows(response: Response) -> list[Mapping[str, Any]] | None:
    """Return the rows of a list; None where the answer is no list."""
    messages = object_in(response).get("messages")
    if response.status != 200 or not isinstance(messages, list):
        return None
    return [mapping(row) for row in messages]


def _is_sent(row: Mapping[str, Any], outgoing: Outgoing, sent_at_ms: int) -> bool:
    """Tell whether a row is about a text of ours to these numbers, sent since then."""
    at_ms = read_at_ms(words(row.get("receiveTime")))
    return (
        words(row.get("messageDirection")).upper() != "INBOUND"
        and plus_us(words(row.get("sourceTn"))) == outgoing.sender
        and plus_us(words(row.get("destinationTn"))) in outgoing.recipients
        and at_ms is not None
        and at_ms >= sent_at_ms - _SLACK_MS
    )


def _lengths(body: str) -> set[int]:
    """Return what the length of a text may be, counted in each of the usual ways."""
    utf8, utf16 = body.encode("utf-8", "replace"), body.encode("utf-16-le", "replace")
    return {len(body), len(utf8), len(utf16), len(utf16) // 2}


def _row(row: Mapping[str, Any]) -> Event:
    remote_id = words(row.get("messageId"))
    shown = words(row.get("messageStatus")).upper()
    if not remote_id or words(row.get("messageDirection")).upper() == "INBOUND":
        return Ignored(why="a received text, of which the list has no words")
    update = StatusUpdate(
        remote_id=remote_id,
        status=_LISTED.get(shown, Status.SENT),
        ours=plus_us(words(row.get("sourceTn"))),
        recipient=plus_us(words(row.get("destinationTn"))),
    )
    return _judged(update, whole(row.get("errorCode")) or 0, shown.lower())
