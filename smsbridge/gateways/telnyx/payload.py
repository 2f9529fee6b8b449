"""
Telnyx as values: texts to requests, answers to verdicts, webhooks to events.

The protocol (Telnyx, "Messaging API v2", "Receiving webhooks", "Messaging error codes", and the
package ``telnyx`` 4.189 for the signature)::

    POST /v2/messages             Authorization: Bearer KEY, JSON: from, to, text, media_urls,
    POST /v2/messages/group_mms   webhook_url, use_profile_webhooks; `to` is a list for a group
      200 {"data": {"id": UUID, "to": [{"phone_number", "status": "queued"}], "errors": []}}
      4xx {"errors": [{"code": "40300", "title", "detail", "source": {"pointer": "/to"}}]}

    webhook: POST, JSON {"data": {"event_type", "payload": {...}}, "meta": {...}}
      message.received   a text; a group text has its members in `to` and `cc`
      message.sent       interim
      message.finalized  the last word; `to[].status` for each recipient, `errors[]`
      telnyx-signature-ed25519 = base64(Ed25519(private key, "TIMESTAMP|BODY")), telnyx-timestamp

A webhook is answered with any 2xx within two seconds; it comes up to three times.  STOP and START
are obeyed by Telnyx itself, for each messaging profile; the text still comes.  There is no list of
texts and no search by content, so a lost answer cannot be looked up and missed texts cannot be
fetched.
"""

from __future__ import annotations

import base64
import binascii
import json
import re
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar, Final, Literal

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PublicKey

from smsbridge.core.message import Status
from smsbridge.core.records import FoundLine
from smsbridge.errors import PermanentFailure
from smsbridge.gateways.telnyx.config import TelnyxGateway
from smsbridge.provider import verdicts
from smsbridge.provider.dialect import (
    Answer,
    Event,
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    Received,
    RemoteMedia,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.reading import at_ms, document, listed, mapping, object_in, pause_s, words
from smsbridge.provider.unlisted import Unlisted

__all__ = ["TelnyxDialect"]

_API: Final = "https://api.telnyx.com"
_FRESH_MS: Final = 300_000
_MOST_IN_GROUP: Final = 8
_PAGE: Final = 250

_STATUSES: Final[Mapping[str, Status]] = {
    "queued": Status.SENT,
    "sending": Status.SENT,
    "sent": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.DELIVERED,
    # The carrier took it and never said more; Telnyx calls that final.
    "delivery_unconfirmed": Status.SENT,
    "sending_failed": Status.FAILED,
    "delivery_failed": Status.FAILED,
    "expired": Status.EXPIRED,
}

#: What a text failed for on its way, by the code in `errors`.
_FAILURES: Final[Mapping[str, str]] = {
    "40001": "unroutable",
    "40002": "filtered",
    "40003": "filtered",
    "40004": "rejected",
    "40005": "expired",
    "40006": "unreachable",
    "40008": "network",
    "40009": "rejected",
    "40010": "not-permitted",  # the number is in no 10DLC campaign
    "40011": "throttled",
    "40012": "invalid-number",
    "40013": "not-permitted",  # the carrier refuses our number
    "40014": "expired",
    "40015": "filtered",
    "40300": "opted-out",
}

#: What a send is refused for; the rest of the codes is in `_judged`.
_REFUSALS: Final[Mapping[str, str]] = {
    "10001": "invalid-number",
    "10002": "invalid-number",
    "10016": "invalid-number",
    "40001": "unroutable",
    "40012": "invalid-number",
    "40300": "opted-out",
    "40302": "too-long",
    "40309": "destination-not-allowed",
    "40310": "invalid-number",
    "40317": "bad-file",
}

#: Whose fault is that of our own number.
_OUR_NUMBER: Final = frozenset(["40010", "40013", "40305", "40308", "40315", "40319"])
_UNKNOWN: Final = frozenset(["10007", "10008"])
_STOP_WORDS: Final = frozenset(
    ["STOP", "STOPALL", "STOP ALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"]
)
_START_WORDS: Final = frozenset(["START", "UNSTOP"])


class TelnyxDialect(Unlisted):
    """
    Speaks with one account at Telnyx; see `smsbridge.provider.dialect.Dialect`.

    Telnyx finds texts by their id alone, and its detail records have no words: nothing is looked up
    or reconciled.
    """

    kind: ClassVar[str] = "telnyx"
    hook_timeout_s: ClassVar[float] = 2.0
    status_path: ClassVar[bool] = False
    reports: ClassVar[bool] = True

    def __init__(self, config: TelnyxGateway) -> None:
        self._api = config.base_url or _API
        self._headers = {"Authorization": f"Bearer {config.api_key}", "Accept": "application/json"}
        self._profile = config.messaging_profile_id
        self._public_key = (
            Ed25519PublicKey.from_public_bytes(base64.b64decode(config.public_key))
            if config.public_key
            else None
        )

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `Dialect.requests`; always one."""
        group = len(outgoing.recipients) > 1
        if len(outgoing.recipients) > _MOST_IN_GROUP:
            raise PermanentFailure(
                "unsupported", f"Telnyx carries group texts to at most {_MOST_IN_GROUP} numbers."
            )
        if not outgoing.body and not outgoing.media:
            raise PermanentFailure("empty")
        values: dict[str, Any] = {
            "from": outgoing.sender,
            "to": list(outgoing.recipients) if group else outgoing.recipients[0],
        }
        if outgoing.body:
            values["text"] = outgoing.body
        if outgoing.media:
            values["media_urls"] = [medium.url for medium in outgoing.media]
        if outgoing.callback:
            values["webhook_url"] = outgoing.callback
            values["use_profile_webhooks"] = False
        if not group:
            # A group text knows neither; how the text is encoded is left to the profile, whose
            # default is "auto".
            values["type"] = "MMS" if outgoing.media else "SMS"
            if self._profile:
                values["messaging_profile_id"] = self._profile
        return [
            Request(
                method="POST",
                url=f"{self._api}/v2/messages{'/group_mms' if group else ''}",
                headers={**self._headers, "Content-Type": "application/json"},
                body=json.dumps(values).encode(),
            )
        ]

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `Dialect.answered`."""
        found = object_in(response)
        if 200 <= response.status < 300:
            remote_id = words(mapping(found.get("data")).get("id"))
            if remote_id:
                return verdicts.accepted(remote_id)
            return verdicts.unknown(
                "Telnyx took it with an answer that has no id.",
                detail=f"status {response.status} without an id",
            )
        return _judged(response, found)

    # -- webhooks

    @property
    def signs(self) -> bool:
        """See `Dialect.signs`."""
        return self._public_key is not None

    def authentic(self, hook: Hook) -> bool:
        """See `Dialect.authentic`; the time may differ by five minutes."""
        stamp = hook.headers.get("telnyx-timestamp", "")
        if self._public_key is None or not re.fullmatch(r"[0-9]{1,12}", stamp):
            return False
        if abs(hook.now_ms - int(stamp) * 1000) > _FRESH_MS:
            return False
        try:
            signature = base64.b64decode(
                hook.headers.get("telnyx-signature-ed25519", ""), validate=True
            )
            self._public_key.verify(signature, stamp.encode("ascii") + b"|" + hook.body)
        except (binascii.Error, ValueError, InvalidSignature):
            return False
        return True

    def events(self, hook: Hook) -> Sequence[Event]:
        """See `Dialect.events`."""
        event = mapping(mapping(document(hook.body)).get("data"))
        kind = words(event.get("event_type"))
        if not kind:
            raise Malformed("an object 'data' with an 'event_type' was expected")
        payload = mapping(event.get("payload"))
        if kind == "message.received":
            if words(payload.get("direction")) == "outbound":
                return [Ignored(why="a text of our own")]  # which must not come back as one to us
            return [_received(payload, words(event.get("occurred_at")))]
        if kind in ("message.sent", "message.finalized"):
            return _statuses(payload)
        return [Ignored(why=f"an event of type {kind[:60]!r}")]

    def answer(self, hook: Hook) -> Answer:
        """See `Dialect.answer`."""
        return Answer()

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """See `Dialect.media_headers`; attachments are open to everybody who knows where."""
        return [{}]

    def discover(self) -> Sequence[Request]:
        """See `Dialect.discover`; the first 250 numbers."""
        return [
            Request(
                url=f"{self._api}/v2/phone_numbers/messaging?page%5Bsize%5D={_PAGE}",
                headers=self._headers,
            )
        ]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """See `Dialect.discovered`."""
        found = []
        for response in responses:
            if response.status != 200:
                raise Malformed(_complaint(response))
            numbers = mapping(document(response.body)).get("data")
            if not isinstance(numbers, list):
                raise Malformed("a list of numbers was expected")
            found += [_found(mapping(each)) for each in numbers]
        return [each for each in found if each.number]


# -- answers ---------------------------------------------------------------------------------------


def _judged(response: Response, found: Mapping[str, Any]) -> Verdict:
    """Judge an answer that is no success."""
    error = mapping(next(iter(listed(found.get("errors"))), None))
    code = words(error.get("code"))
    detail = _quoted(error) or f"status {response.status}"
    about_us = "from" in words(mapping(error.get("source")).get("pointer"))
    if code in _UNKNOWN or not 400 <= response.status < 500 or response.status == 408:
        return verdicts.unknown(detail=detail)
    if response.status == 401 or code == "10009":
        return verdicts.misconfigured(
            "credentials",
            "Telnyx refuses the key; put the account's API key (version 2) into 'api_key'.",
            detail=detail,
        )
    if code == "40318":
        return verdicts.throttled(_pause(response), detail=detail, rests="line")
    if response.status == 429 or code == "10011":
        return verdicts.throttled(_pause(response), detail=detail)
    if response.status == 402 or code == "20100":
        return verdicts.misconfigured(
            "no-credit", "The account at Telnyx has no credit left; top it up.", detail=detail
        )
    if code in _OUR_NUMBER or (about_us and _REFUSALS.get(code) == "invalid-number"):
        return verdicts.misconfigured(
            "not-permitted",
            "Telnyx does not send from this number; look at its messaging profile and campaign in "
            "the portal.",
            detail=detail,
            rests="line",
        )
    if code == "40312":
        return verdicts.misconfigured(
            "not-permitted",
            "The messaging profile is switched off at Telnyx; switch it on in the portal.",
            detail=detail,
        )
    if code == "10039":
        return verdicts.misconfigured(
            "destination-not-allowed",
            "The account at Telnyx may only text numbers that were verified; upgrade it.",
            detail=detail,
            rests="",
        )
    if code in _REFUSALS:
        return verdicts.refused(_REFUSALS[code], detail=detail)
    if response.status == 403 or code == "10010":
        return verdicts.misconfigured(
            "not-permitted",
            "Telnyx does not let this key send texts; look at the key and the account in the "
            "portal.",
            detail=detail,
        )
    return verdicts.refused("rejected", _sentence(error), detail=detail)


def _pause(response: Response) -> float | None:
    return pause_s(response.headers, "x-ratelimit-reset")


def _quoted(error: Mapping[str, Any]) -> str:
    """Return the code and the words of an error."""
    parts = [words(error.get(name)) for name in ("code", "title", "detail")]
    code, title, detail = parts
    same = title.rstrip(".") == detail.rstrip(".")
    said = f"{title}: {detail}" if title and detail and not same else title or detail
    return f"{code} {said}".strip()[:300]


def _sentence(error: Mapping[str, Any]) -> str:
    said = words(error.get("detail")) or words(error.get("title"))
    return f"Telnyx refused the text: {said[:200]}" if said else ""


def _complaint(response: Response) -> str:
    errors = listed(object_in(response).get("errors"))
    said = _quoted(mapping(next(iter(errors), None)))
    return f"Telnyx answered with status {response.status}" + (f": {said}" if said else "")


def _found(value: Mapping[str, Any]) -> FoundLine:
    features = mapping(value.get("features"))
    kind = words(value.get("type"))
    profile = words(value.get("messaging_profile_id"))
    return FoundLine(
        number=words(value.get("phone_number")),
        sms=bool(features.get("sms")) if features else True,
        mms=bool(features.get("mms")),
        description=", ".join(
            each for each in (kind, f"messaging profile {profile}" if profile else "") if each
        ),
    )


# -- events ----------------------------------------------------------------------------------------


def _received(payload: Mapping[str, Any], occurred_at: str) -> Event:
    channel = words(payload.get("type"))
    if channel not in ("", "SMS", "MMS"):
        return Ignored(why=f"a text through {channel[:20]!r}")
    remote_id = words(payload.get("id"))
    to = [mapping(each) for each in listed(payload.get("to"))]
    sender = _number(payload.get("from"))
    # In a group our number is the one for which the webhook is.
    first = next((each for each in to if each.get("status") == "webhook_delivered"), None)
    ours = _number(first if first is not None else next(iter(to), None))
    if not remote_id or not ours:
        raise Malformed("a text with an 'id' and a number in 'to' was expected")
    everybody = [ours]
    everybody += [_number(each) for each in [*to, *listed(payload.get("cc"))]]
    recipients = tuple(dict.fromkeys(each for each in everybody if each and each != sender))
    body = words(payload.get("text"))
    return Received(
        remote_id=remote_id,
        ours=ours,
        sender=sender,
        body=body,
        recipients=recipients if len(recipients) > 1 else (),
        media=tuple(_media(payload)),
        sent_at_ms=at_ms(words(payload.get("received_at")) or occurred_at),
        opt_out=_opt_out(words(payload.get("autoresponse_type")), body),
    )


def _media(payload: Mapping[str, Any]) -> list[RemoteMedia]:
    found = []
    for each in map(mapping, listed(payload.get("media"))):
        url = words(each.get("url"))
        size = each.get("size")
        if url:
            found.append(
                RemoteMedia(
                    url=url,
                    content_type=words(each.get("content_type")),
                    size=size if type(size) is int and size >= 0 else None,
                    sha256=_digest(words(each.get("hash_sha256"))),
                )
            )
    return found


def _digest(text: str) -> str:
    """Return a SHA-256 in lower hexadecimal digits; what is none tells nothing."""
    return text.lower() if re.fullmatch(r"[0-9a-fA-F]{64}", text) else ""


def _opt_out(told: str, body: str) -> Literal["", "stop", "start", "help"]:
    """Return what Telnyx did; where it does not tell, what it does for the word."""
    word = (told or body).strip().upper()
    if word in _STOP_WORDS:
        return "stop"
    if word in _START_WORDS:
        return "start"
    return "help" if told and word == "HELP" else ""


def _statuses(payload: Mapping[str, Any]) -> list[Event]:
    remote_id = words(payload.get("id"))
    to = [mapping(each) for each in listed(payload.get("to"))]
    if not remote_id or not to:
        raise Malformed("a text with an 'id' and a list 'to' was expected")
    ours = _number(payload.get("from"))
    errors = [mapping(each) for each in listed(payload.get("errors"))]
    found: list[Event] = []
    for index, each in enumerate(to):
        word = words(each.get("status"))
        status = _STATUSES.get(word)
        if status is None:
            found.append(Ignored(why=f"a status {word[:40]!r} of {remote_id[:40]}"))
            continue
        failed = status in (Status.FAILED, Status.EXPIRED)
        error = _error_of(errors, index) if failed else {}
        code = words(error.get("code"))
        reason = "expired" if status is Status.EXPIRED else _FAILURES.get(code, "network")
        found.append(
            StatusUpdate(
                remote_id=remote_id,
                status=status,
                ours=ours,
                recipient=_number(each),
                reason=reason if failed else "",
                text=f"{word} {_quoted(error)}".strip() if failed else _remark(word),
                opted_out=failed and code == "40300",
            )
        )
    return found


def _remark(word: str) -> str:
    """Return what is worth telling of a text that did not fail."""
    return word if word == "delivery_unconfirmed" else ""


def _error_of(errors: Sequence[Mapping[str, Any]], index: int) -> Mapping[str, Any]:
    """Return the error that points at one recipient, or the first that points at none."""
    for error in errors:
        if re.search(rf"/to/{index}(/|$)", words(mapping(error.get("source")).get("pointer"))):
            return error
    for error in errors:
        if not re.search(r"/to/[0-9]", words(mapping(error.get("source")).get("pointer"))):
            return error
    return {}


def _number(value: Any) -> str:
    """Return a number as Telnyx writes it: E.164, a short code or a name."""
    return words(mapping(value).get("phone_number")).strip()
