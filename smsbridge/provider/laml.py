"""
Twilio's Programmable Messaging API and what speaks like it: texts to forms, their answers and
webhooks to verdicts and events.

Sources: Twilio, "Messages resource" and "Messaging webhooks" (API version 2010-04-01); SignalWire,
"Compatibility API".  One request sends one text::

    POST {base}{account}/Messages[.json]     To= From= Body= MediaUrl=... StatusCallback=
    201  {"sid": "SM...", "status": "queued", "error_code": null, ...}
    400  {"code": 21211, "message": "...", "more_info": "...", "status": 400}

A list is ``{"messages": [...], "next_page_uri": "/..." or null}``, asked for with ``To``, ``From``
and ``DateSent>``.  Webhooks are forms (or queries) with ``MessageSid``, ``From``, ``To``, ``Body``,
``NumMedia`` and ``MediaUrl0``..., or with ``MessageStatus`` and ``ErrorCode``.  Counts are numbers
or texts, ids have no form that could be relied on.

What differs (addresses, credentials, codes, signatures) is in the folders of the two providers.
Nothing here waits, connects or reads a clock.
"""

from __future__ import annotations

import base64
import re
import unicodedata
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime
from typing import Any, ClassVar, Final, Literal
from urllib.parse import parse_qsl, quote, urlencode

from attrs import evolve, frozen

from smsbridge.core.directory import Line
from smsbridge.core.message import Status, storable
from smsbridge.core.records import FoundLine
from smsbridge.errors import REASONS, PermanentFailure
from smsbridge.provider import reading, verdicts
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
from smsbridge.provider.reading import document, mapping, object_in, pause_s, whole, words

__all__ = [
    "FORM",
    "LONGEST_BODY",
    "TWIML",
    "Fault",
    "LamlDialect",
    "Profile",
    "addresses",
    "joined",
    "mend",
    "quota",
    "refuse",
    "slower",
    "unclear",
]

FORM: Final = "application/x-www-form-urlencoded"
#: Both providers count so many characters, whatever the alphabet.
LONGEST_BODY: Final = 1600
#: A document without orders. A body is executed, and plain text would be texted to the sender;
#: this spelling is the one that both providers take.
TWIML: Final = b'<?xml version="1.0" encoding="UTF-8"?>\n<Response></Response>'
#: How many texts a page has; the most that both give.
_PAGE: Final = 1000
#: How much of the conversation is looked through for a text whose answer was lost.
_LOOK_UP_PAGE: Final = 200
#: How far our clock and the provider's may be apart.
_SKEW_MS: Final = 600_000
_MOST_MEDIA: Final = 50
_DAILY_REST_S: Final = 3600.0

_STATUSES: Final = {
    "accepted": Status.SENT,
    "scheduled": Status.SENT,
    "queued": Status.SENT,
    "initiated": Status.SENT,
    "sending": Status.SENT,
    "sent": Status.SENT,
    "partially_delivered": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.DELIVERED,
    "undelivered": Status.FAILED,
    "failed": Status.FAILED,
    "canceled": Status.FAILED,
}
_RECEIVED: Final = ("received", "receiving")
_SID: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
#: What is put in front of the texts of accounts that are not paid for.
_TRIAL: Final = re.compile(r"sent from (your|a) \w+ trial account", re.IGNORECASE)


# -- codes -----------------------------------------------------------------------------------------


@frozen
class Fault:
    """
    What a code of the provider's means, for an answer and for a status call alike.

    :ivar outcome: which function of `verdicts` it is.
    :ivar reason: one of `errors.REASONS`.
    :ivar text: the sentence for the sender, or for the operator; by default that of `reason`.
    :ivar rests: what must not be used for a while.
    :ivar rest_s: for how long, where the answer does not tell.
    """

    outcome: Literal["refused", "misconfigured", "throttled", "quota", "unknown"]
    reason: str
    text: str = ""
    rests: Literal["", "line", "gateway"] = ""
    rest_s: float | None = None

    @property
    def sentence(self) -> str:
        """What people read."""
        return self.text or REASONS[self.reason]


def refuse(reason: str, text: str = "") -> Fault:
    """This text cannot be sent; the sender is told."""
    return Fault("refused", reason, text)


def mend(reason: str, text: str, rests: Literal["", "line", "gateway"] = "gateway") -> Fault:
    """The operator must mend something."""
    return Fault("misconfigured", reason, text, rests)


def slower(
    rests: Literal["line", "gateway"], rest_s: float | None = None, reason: str = "throttled"
) -> Fault:
    """The text was not taken because there were too many."""
    return Fault("throttled", reason, "", rests, rest_s)


def quota(text: str) -> Fault:
    """The account has sent what it may today; it is asked again after an hour."""
    return Fault("quota", "daily-cap", text, "gateway", _DAILY_REST_S)


def unclear() -> Fault:
    """The provider's own trouble; the text may be on its way."""
    return Fault("unknown", "outcome-unknown")


def _judged(fault: Fault, detail: str, pause: float | None) -> Verdict:
    match fault.outcome:
        case "refused":
            return verdicts.refused(fault.reason, fault.text, detail=detail)
        case "misconfigured":
            return verdicts.misconfigured(
                fault.reason, fault.sentence, detail=detail, rests=fault.rests
            )
        case "throttled":
            rests: Literal["line", "gateway"] = "line" if fault.rests == "line" else "gateway"
            rest_s = fault.rest_s if pause is None else pause
            return verdicts.throttled(rest_s, detail=detail, rests=rests)
        case "quota":
            return verdicts.quota_used(
                fault.sentence, until_s=fault.rest_s or _DAILY_REST_S, detail=detail
            )
        case "unknown":
            return verdicts.unknown(detail=detail)


# -- what is signed --------------------------------------------------------------------------------


def addresses(hook: Hook, *, any_port: bool) -> list[str]:
    """
    Return how the provider may have written the address that it signed, likeliest first.

    Senders are not consistent about the default port, and whether the user and password of the
    address stay in it is not documented; so all spellings are tried.

    :param any_port: another port than the default one may be left out as well.
    """
    scheme, separator, rest = hook.url.partition("://")
    if not separator:
        return []
    end = re.search("[/?#]|$", rest)
    place = end.start() if end is not None else len(rest)
    host, tail = rest[:place].rpartition("@")[2], rest[place:].partition("#")[0]
    match = re.fullmatch(r"(.*?)(?::([0-9]+))?", host, re.DOTALL)
    bare, port = (match[1], match[2]) if match is not None else (host, None)
    default = {"https": "443", "http": "80"}.get(scheme.lower(), "")
    hosts = [host]
    if port is None and default:
        hosts.append(f"{bare}:{default}")
    elif port is not None and (any_port or port == default):
        hosts.append(bare)
    return [
        f"{scheme}://{login}{each}{tail}"
        for login in _logins(hook.headers.get("authorization", ""))
        for each in hosts
    ]


def _logins(authorization: str) -> list[str]:
    """Return the user and password of an address that make this header, and none."""
    kind, _, text = authorization.partition(" ")
    found = [""]
    if kind.lower() == "basic":
        try:
            user, colon, password = base64.b64decode(text, validate=True).decode().partition(":")
        except ValueError:
            return found
        for login in (
            f"{quote(user, safe='')}{colon}{quote(password, safe='')}@",
            f"{user}{colon}{password}@",
        ):
            if login not in found:
                found.append(login)
    return found


def joined(pairs: Iterable[tuple[str, str]], *, distinct: bool) -> str:
    """
    Write the values of a form as they are signed: sorted by name, each name before its value.

    :param distinct: equal values of one name count once and are sorted, as Twilio does it;
        otherwise they stay in their order.
    """
    if distinct:
        return "".join(f"{name}{value}" for name, value in sorted(set(pairs)))
    return "".join(f"{name}{value}" for name, value in sorted(pairs, key=lambda each: each[0]))


# -- the dialect -----------------------------------------------------------------------------------


@frozen(kw_only=True)
class Profile:
    """
    How one provider's account differs from another's.

    :ivar title: the provider's name as people write it.
    :ivar base: scheme and host, without a slash at the end.
    :ivar account: the path of the account.
    :ivar suffix: what stands behind the names of resources.
    :ivar login: the header with the credentials.
    :ivar is_own: tells whether an address (scheme and host) is the provider's.
    :ivar faults: what its codes mean.
    :ivar no_account: what a path that does not exist means.
    :ivar most_media: how many attachments one text may have.
    :ivar date: writes a day, given its first millisecond, as lists are asked for it.
    """

    title: str
    base: str
    account: str
    suffix: str
    login: Mapping[str, str]
    is_own: Callable[[str], bool]
    faults: Mapping[int, Fault]
    wrong_credentials: Fault
    no_account: Fault
    most_media: int
    date: str


class LamlDialect:
    """
    A `dialect.Dialect` without signatures and credentials for media, which each provider adds.

    :ivar profile: what differs.
    """

    kind: ClassVar[str]
    hook_timeout_s: ClassVar[float]
    status_path: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(self, profile: Profile) -> None:
        self.profile = profile
        self._messages = f"{profile.base}{profile.account}/Messages"

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `dialect.Dialect.requests`."""
        title = self.profile.title
        if len(outgoing.recipients) != 1:
            raise PermanentFailure("unsupported", f"{title} has no group texts.")
        if not outgoing.body and not outgoing.media:
            raise PermanentFailure("empty")
        if len(outgoing.body) > LONGEST_BODY:
            raise PermanentFailure(
                "too-long",
                f"The text has {len(outgoing.body)} characters; {title} takes {LONGEST_BODY}.",
            )
        if len(outgoing.media) > self.profile.most_media:
            raise PermanentFailure(
                "media-unsupported",
                f"One message has {self.profile.most_media} files at most; send several messages.",
            )
        form = [("To", outgoing.recipients[0]), ("From", outgoing.sender)]
        if outgoing.body:
            form.append(("Body", outgoing.body))
        form.extend(("MediaUrl", medium.url) for medium in outgoing.media)
        if outgoing.callback:
            form.append(("StatusCallback", outgoing.callback))
        return [
            Request(
                method="POST",
                url=f"{self._messages}{self.profile.suffix}",
                headers={**self._headers(), "Content-Type": FORM},
                body=urlencode(form).encode(),
            )
        ]

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `dialect.Dialect.answered`."""
        if 200 <= response.status < 300:
            return self._taken(response)
        code, detail = self._complaint(response)
        pause = pause_s(response.headers)
        fault = self.profile.faults.get(code) if code is not None else None
        if response.status == 429 and (
            fault is None or fault.outcome not in ("throttled", "quota")
        ):
            fault = slower("gateway")
        if fault is None:
            fault = self._unlisted(response.status, code)
        elif response.status >= 500 and fault.outcome != "throttled":
            # Whatever it complains of, the text may have got through before that.
            fault = unclear()
        return _judged(fault, detail, pause)

    def _taken(self, response: Response) -> Verdict:
        """Judge an answer that means success."""
        answer = object_in(response)
        sid = words(answer.get("sid"))
        if not _SID.fullmatch(sid):
            return verdicts.unknown(
                detail=f"{self.profile.title}: status {response.status} without an id"
            )
        status = words(answer.get("status"))
        if _STATUSES.get(status) is not Status.FAILED:
            return verdicts.accepted(sid)
        # No status call follows for the first status of a text.
        code = whole(answer.get("error_code"))
        fault = self.profile.faults.get(code) if code is not None else None
        text = words(answer.get("error_message")) or status
        if fault is None or fault.outcome == "unknown":
            fault = refuse("rejected")
        return _judged(fault, self._detail(code, text), None)

    def _unlisted(self, status: int, code: int | None) -> Fault:
        """Judge an answer without a code, or with one that is not known."""
        title = self.profile.title
        if status == 401:
            return self.profile.wrong_credentials
        if status == 404:
            return self.profile.no_account
        if status == 402:
            return mend("no-credit", f"{title} wants to be paid; look at the account's balance.")
        if status == 403 and code is None:
            return mend("not-permitted", f"{title} does not allow this; look into its console.")
        if status == 408 or not 400 <= status < 500:
            return unclear()
        return refuse("rejected")

    def _complaint(self, response: Response) -> tuple[int | None, str]:
        """Return the code and the words of an answer that is no success."""
        answer = object_in(response)
        code, text = whole(answer.get("code")), words(answer.get("message"))
        for error in reading.listed(answer.get("errors")):
            if isinstance(error, dict):
                code = code if code is not None else whole(error.get("code"))
                text = text or words(error.get("message")) or words(error.get("detail"))
            else:
                text = text or words(error)
        if code is None:
            return None, self._detail(None, f"status {response.status} {text}".strip())
        return code, self._detail(code, text)

    def _detail(self, code: int | None, text: str) -> str:
        """Write the provider's code and words, for the trace."""
        name = self.profile.title if code is None else f"{self.profile.title} {code}"
        return f"{name}: {text[:300]}" if text else name

    def _headers(self) -> dict[str, str]:
        return {**self.profile.login, "Accept": "application/json"}

    # -- what became of a text whose answer was lost

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """See `dialect.Dialect.look_up`."""
        # No DateSent: a text that is still queued there has none, and must be found all the same.
        query = {
            "To": outgoing.recipients[0],
            "From": outgoing.sender,
            "PageSize": str(_LOOK_UP_PAGE),
        }
        return self._asking("Messages", query)

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """See `dialect.Dialect.looked_up`."""
        try:
            page = self._listing_of(response, "messages")
        except Malformed:
            return UNSURE
        since_ms = sent_at_ms - _SKEW_MS
        found: list[tuple[int, str]] = []
        is_doubtful = False
        is_complete = not words(page.get("next_page_uri"))
        for message in map(mapping, reading.listed(page.get("messages"))):
            at = _date_ms(message.get("date_created")) or _date_ms(message.get("date_sent"))
            if at is not None and at < since_ms:
                is_complete = True  # the newest stand first
                continue
            sid = words(message.get("sid"))
            if sid in known or words(message.get("direction")).startswith("inbound"):
                continue
            if not _is_between(message, outgoing):
                continue
            likeness = _likeness(message, outgoing)
            if likeness == "all" and at is not None and _SID.fullmatch(sid):
                found.append((at, sid))
            elif likeness != "none":
                is_doubtful = True
        if found:
            # The earliest: what was sent after it has its own.
            return min(found)[1]
        return NOTHING_THERE if is_complete and not is_doubtful else UNSURE

    # -- webhooks

    @property
    def signs(self) -> bool:
        """See `dialect.Dialect.signs`."""
        return False

    def authentic(self, hook: Hook) -> bool:
        """See `dialect.Dialect.authentic`."""
        return False

    def events(self, hook: Hook) -> Sequence[Event]:
        """See `dialect.Dialect.events`."""
        if hook.method == "POST" and not _is_form(hook):
            return [Ignored(why="a call that is no form")]
        pairs = hook.form if hook.method == "POST" else hook.arguments
        fields: dict[str, str] = {}
        for name, value in pairs:
            fields.setdefault(name, value)
        sid = next(
            (
                fields[name]
                for name in ("MessageSid", "SmsSid", "SmsMessageSid")
                if fields.get(name)
            ),
            "",
        )
        if not sid and hook.method != "POST":
            return []  # somebody tries the address in a browser
        if not _SID.fullmatch(sid):
            raise Malformed("a MessageSid was expected")
        status = fields.get("MessageStatus") or fields.get("SmsStatus") or "received"
        if status not in _RECEIVED:
            return [self._status(sid, status, fields)]
        if hook.path == "status":
            return [Ignored(why=f"status {status!r} of a text that was received")]
        return [self._received(sid, fields)]

    def _received(self, sid: str, fields: Mapping[str, str]) -> Received:
        if not fields.get("To"):
            raise Malformed("the number that was texted was expected in To")
        media = []
        for number in range(_MOST_MEDIA):
            url = fields.get(f"MediaUrl{number}")
            if not url:
                break
            kind = fields.get(f"MediaContentType{number}", "")
            media.append(RemoteMedia(url=self._reachable(url), content_type=storable(kind)))
        count = whole(fields.get("NumMedia")) or 0
        ours, body = _number(fields["To"]), storable(fields.get("Body", ""))
        return Received(
            remote_id=sid,
            ours=ours,
            sender=_number(fields.get("From", "")),
            body=body,
            media=tuple(media) if count <= len(media) else (),
            unlisted_media=count > len(media),
            opt_out=self.opt_out(ours, body, fields),
        )

    def opt_out(
        self, ours: str, body: str, fields: Mapping[str, str]
    ) -> Literal["", "stop", "start", "help"]:
        """Return what the provider itself did about a text; nothing where it does nothing."""
        return ""

    def _status(self, sid: str, word: str, fields: Mapping[str, str]) -> Event:
        return self._update(
            sid,
            word,
            ours=_number(fields.get("From", "")),
            recipient=_number(fields.get("To", "")),
            code=whole(fields.get("ErrorCode")),
            text=storable(fields.get("ErrorMessage", "")),
        )

    def _update(
        self, sid: str, word: str, *, ours: str, recipient: str, code: int | None, text: str
    ) -> Event:
        status = _STATUSES.get(word)
        if status is None:
            return Ignored(why=f"unknown status {word[:40]!r}")
        if status is not Status.FAILED:
            return StatusUpdate(remote_id=sid, status=status, ours=ours, recipient=recipient)
        fault = self.profile.faults.get(code) if code is not None else None
        if fault is None or fault.outcome == "unknown":
            fault = refuse("network" if word == "undelivered" else "rejected")
        return StatusUpdate(
            remote_id=sid,
            status=Status.EXPIRED if fault.reason == "expired" else Status.FAILED,
            ours=ours,
            recipient=recipient,
            reason=fault.reason,
            text=f"{fault.sentence} ({self._detail(code, text or word)})",
            opted_out=fault.reason == "opted-out",
        )

    def answer(self, hook: Hook) -> Answer:
        """See `dialect.Dialect.answer`."""
        return Answer(status=200, content_type="text/xml", body=TWIML)

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """See `dialect.Dialect.media_headers`."""
        return [{}]

    def media_list(self, received: Received) -> Request | None:
        """See `dialect.Dialect.media_list`."""
        return self._asking(f"Messages/{quote(received.remote_id, safe='')}/Media", {})

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """See `dialect.Dialect.media_listed`."""
        page = self._listing_of(response, "media_list")
        found = []
        for each in map(mapping, reading.listed(page.get("media_list"))):
            url = self._url_of(words(each.get("uri")))
            if not url:
                raise Malformed("the address of an attachment was expected in uri")
            # With the suffix it is a description of the attachment. SignalWire's own addresses have
            # none, but there as well the spelling of Twilio's clients is answered.
            url = url.removesuffix(".json")
            found.append(RemoteMedia(url=url, content_type=words(each.get("content_type"))))
        return found

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """
        See `dialect.Dialect.listing`.

        Whole days are asked for, and what came after `until_ms` is listed as well.
        """
        day = datetime.fromtimestamp(max(since_ms, 0) / 1000, UTC)
        return self._asking_for("To", line, day.strftime(self.profile.date))

    def _asking_for(self, side: Literal["To", "From"], line: Line, since: str) -> Request:
        query = {side: line.number, "DateSent>": since, "PageSize": str(_PAGE)}
        return evolve(self._asking("Messages", query), note=urlencode(query))

    def listed(self, line: Line, response: Response) -> Page:
        """See `dialect.Dialect.listed`."""
        page = self._listing_of(response, "messages")
        events = [
            event
            for message in map(mapping, reading.listed(page.get("messages")))
            if (event := self._listed(line, message)) is not None
        ]
        # First all that has our number as To, then all that has it as From. What was asked stands
        # in the request or, as the provider repeats it, in the page.
        uri = words(page.get("uri")).partition("?")[2]
        note = response.asked.note if response.asked is not None else uri
        query = dict(_pairs(note))
        following = self._url_of(words(page.get("next_page_uri")))
        more: Request | None = None
        if following and (response.asked is None or following != response.asked.url):
            more = Request(url=following, headers=self._headers(), note=note)
        elif query.get("To") == line.number and "DateSent>" in query:
            more = self._asking_for("From", line, query["DateSent>"])
        return Page(events=tuple(events), more=more)

    def _listed(self, line: Line, message: Mapping[str, Any]) -> Event | None:
        sid = words(message.get("sid"))
        if not _SID.fullmatch(sid):
            return None
        sender, recipient = words(message.get("from")), words(message.get("to"))
        if not words(message.get("direction")).startswith("inbound"):
            if sender != line.number:
                return None
            return self._update(
                sid,
                words(message.get("status")),
                ours=sender,
                recipient=recipient,
                code=whole(message.get("error_code")),
                text=words(message.get("error_message")),
            )
        if recipient != line.number:
            return None
        body = words(message.get("body"))
        return Received(
            remote_id=sid,
            ours=recipient,
            sender=sender,
            body=body,
            unlisted_media=bool(whole(message.get("num_media"))),
            sent_at_ms=_date_ms(message.get("date_sent")) or _date_ms(message.get("date_created")),
            opt_out=self.opt_out(recipient, body, {}),
        )

    def discover(self) -> Sequence[Request]:
        """See `dialect.Dialect.discover`."""
        return [self._asking("IncomingPhoneNumbers", {"PageSize": str(_PAGE)})]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """See `dialect.Dialect.discovered`."""
        found = []
        for response in responses:
            page = self._listing_of(response, "incoming_phone_numbers")
            for each in map(mapping, reading.listed(page.get("incoming_phone_numbers"))):
                number = words(each.get("phone_number"))
                can = {
                    str(name).lower(): value
                    for name, value in mapping(each.get("capabilities")).items()
                }
                if number:
                    found.append(
                        FoundLine(
                            number=number,
                            sms=can.get("sms") is not False,
                            mms=can.get("mms") is True,
                            description=words(each.get("friendly_name")),
                            hook=words(each.get("sms_url")),
                        )
                    )
        return found

    # -- addresses

    def _asking(self, resource: str, query: Mapping[str, str]) -> Request:
        profile = self.profile
        url = f"{profile.base}{profile.account}/{resource}{profile.suffix}"
        return Request(url=f"{url}?{urlencode(query)}" if query else url, headers=self._headers())

    def _listing_of(self, response: Response, name: str) -> dict[str, Any]:
        """
        Read an answer that must have a list of that name.

        :raises Malformed: it is an error, or something else.
        """
        if response.status != 200:
            code, detail = self._complaint(response)
            fault = self.profile.faults.get(code) if code is not None else None
            if fault is None and response.status in (401, 404):
                fault = self._unlisted(response.status, code)
            sentence = f"{fault.sentence} " if fault is not None and fault.text else ""
            raise Malformed(f"{sentence}({detail})" if sentence else detail)
        page = document(response.body)
        if not isinstance(page, dict) or not isinstance(page.get(name), list):
            raise Malformed(f"{self.profile.title} did not answer with a list of {name}")
        return page

    def _url_of(self, uri: str) -> str:
        """Return where a path that the provider wrote is; empty if it is not the provider's."""
        if uri.startswith("/") and not uri.startswith("//"):
            return f"{self.profile.base}{uri}"
        return self._reachable(uri) if self.is_own(uri) else ""

    def is_own(self, url: str) -> bool:
        """Tell whether an address is the provider's, so that it may see the credentials."""
        origin, _ = _split(url)
        return origin == _split(self.profile.base)[0] or self.profile.is_own(origin)

    def _reachable(self, url: str) -> str:
        """Return an address with the host where the operator says that the provider is."""
        origin, path = _split(url)
        is_moved = not self.profile.is_own(_split(self.profile.base)[0])
        if is_moved and self.profile.is_own(origin):
            return f"{self.profile.base}{path}"
        return storable(url)


def _split(url: str) -> tuple[str, str]:
    """Cut an address into scheme and host, in lower case, and the rest without its fragment."""
    # What looks like the provider's host must be the whole of it: no user before another host.
    match = re.match(r"(https?)://([^/?#@\\\s]+)(?=[/?#]|\Z)", url, re.IGNORECASE)
    if match is None:
        return "", url
    scheme, host = match[1].lower(), match[2].lower()
    host = host.removesuffix({"https": ":443", "http": ":80"}[scheme])
    return f"{scheme}://{host}", url[match.end() :].partition("#")[0]


def _pairs(query: str) -> list[tuple[str, str]]:
    try:
        return parse_qsl(query, keep_blank_values=True, max_num_fields=100)
    except ValueError:
        return []


def _is_form(hook: Hook) -> bool:
    kind = hook.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    return kind in (FORM, "")


def _number(text: str) -> str:
    """Give a number back its plus sign where a query has lost it; all else stays as it is."""
    if re.fullmatch(" [1-9][0-9]{6,14}", text):
        return f"+{text[1:]}"
    return storable(text)


def _date_ms(value: Any) -> int | None:
    """Read a date of RFC 2822 or, as it is tolerated, of ISO 8601."""
    text = words(value)
    try:
        found = parsedate_to_datetime(text)
        return max(int(found.replace(tzinfo=found.tzinfo or UTC).timestamp() * 1000), 0)
    except (ValueError, TypeError, IndexError, OverflowError):
        return reading.at_ms(text)


def _is_between(message: Mapping[str, Any], outgoing: Outgoing) -> bool:
    """Tell whether a listed text is from that sender to that recipient."""
    sender, recipient = words(message.get("from")), words(message.get("to"))
    return sender in ("", outgoing.sender) and recipient in ("", outgoing.recipients[0])


def _likeness(message: Mapping[str, Any], outgoing: Outgoing) -> Literal["all", "some", "none"]:
    """
    Tell whether a listed text is the one that was sent.

    Providers cut blanks off and may replace marks (curly quotes); an account may have the words
    forgotten. What might be the text and is not surely it, is it to some extent.
    """
    count = whole(message.get("num_media"))
    body, wanted = _plain(words(message.get("body"))), _plain(outgoing.body)
    if count is not None and bool(count) != bool(outgoing.media):
        # An MMS that the recipient's network does not take may be made a text with a link.
        return "some" if outgoing.media and body.startswith(wanted) else "none"
    if _TRIAL.match(body) and wanted and body.endswith(wanted):
        return "all"
    if body == wanted:
        return "all"
    if not body:
        return "some"
    return "some" if _letters(body) == _letters(wanted) != "" else "none"


def _plain(text: str) -> str:
    return " ".join(unicodedata.normalize("NFC", storable(text)).split())


def _letters(text: str) -> str:
    return "".join(each for each in unicodedata.normalize("NFKD", text) if each.isalnum())
