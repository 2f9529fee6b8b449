"""
Vonage as values: texts to requests, answers to verdicts, webhooks to events.

Two protocols.  The SMS API (Vonage, "SMS API", version 1.0.10 of its OpenAPI description; "Signing
messages")::

    POST /sms/json   form: api_key, api_secret, from, to, text, type, client-ref, callback
      200 {"message-count": "2", "messages": [{"message-id", "status": "0"}, {"status": "1",
           "error-text": "Throughput Rate Exceeded - please wait [ 250 ] and retry"}]}

    webhooks by GET, form or JSON, as the account is set: msisdn, to, messageId, text, type,
    concat-ref/-part/-total for a part of a longer text; with a status it is a receipt, in which
    msisdn is the recipient and `to` is ours.
    sig: all other values sorted by name, each as "&name=value" with & and = in the value replaced
    by _, then MD5 over that and the secret, or an HMAC.

- Success is in `status`, never in the status of HTTP, and each part of a long text has its own.
- Texts with a character outside the GSM alphabet need ``type=unicode``, else it becomes ``?``.
- A call without any values is Vonage trying the address.

The Messages API (Vonage, "Messages API", and the package ``vonage-messages`` 1.8) for MMS::

    POST /v1/messages   basic (key and secret) or JWT of an application (RS256); JSON: channel,
    message_type, from, to, image | video | audio | vcard | file {url, caption}, client_ref
      202 {"message_uuid": UUID}
      4xx problem+json {"type": "https://developer.vonage.com/api-errors/messages#1020", ...}

    webhooks: POST, JSON, `message_uuid`; with a status it is about a text of ours.  Authorization:
    Bearer JWT, HS256 with the signature secret; `payload_hash` is the SHA-256 of the body.

A message has one attachment, so several attachments are several messages; the words go with the
first.

A signature is good for five minutes; that a call comes twice within that time is noticed by the id
of its text, not here.
"""

from __future__ import annotations

import hashlib
import hmac
import json
import re
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, ClassVar, Final
from urllib.parse import urlencode

import jwt

from smsbridge.core.records import FoundLine
from smsbridge.core.segments import foreign
from smsbridge.errors import PermanentFailure
from smsbridge.gateways.vonage import codes
from smsbridge.gateways.vonage.config import VonageGateway, read_private_key
from smsbridge.provider import verdicts
from smsbridge.provider.dialect import (
    Answer,
    Event,
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    Part,
    Received,
    RemoteMedia,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.reading import at_ms, document, listed, mapping, object_in, words
from smsbridge.provider.spelling import basic
from smsbridge.provider.unlisted import Unlisted

__all__ = ["VonageDialect", "bare", "message_type", "plus", "signature"]

_SMS_API: Final = "https://rest.nexmo.com"
_MESSAGES_API: Final = "https://api.nexmo.com"
_FRESH_MS: Final = 300_000
_TOKEN_S: Final = 900
_LONGEST_CALLBACK: Final = 100
_LONGEST_CAPTION: Final = 2000
_MOST_NUMBERS: Final = 100
_MOST_FOREIGN_PAIRS: Final = 16
_SHORTEST_NUMBER: Final = 9  # short codes have eight digits at most

#: Names that only a call with something in it has.
_TELLING: Final = frozenset(["msisdn", "to", "messageId", "message_uuid", "status", "text", "sig"])
_MEDIA_NAMES: Final = ("image", "video", "audio", "vcard", "file")
_OURS: Final = re.compile(r"[0-9a-f.-]{1,64}")


class VonageDialect(Unlisted):
    """
    Speaks with one account at Vonage; see `smsbridge.provider.dialect.Dialect`.

    Nothing is looked up or reconciled: its reports cost money for each text and come much later.
    The receipt with our reference tells by itself what became of a text whose answer was lost.
    """

    kind: ClassVar[str] = "vonage"
    hook_timeout_s: ClassVar[float] = 10.0
    status_path: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(self, config: VonageGateway) -> None:
        self._config = config
        self._sms_api = config.base_url or _SMS_API
        self._messages_api = config.base_url or _MESSAGES_API
        self._private_key = read_private_key(config.private_key) if config.private_key else None
        self._basic = basic(config.api_key, config.api_secret)

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """See `Dialect.requests`; one for each attachment."""
        if len(outgoing.recipients) != 1:
            raise PermanentFailure("unsupported", "Vonage has no group texts.")
        if outgoing.media:
            if len(outgoing.body) > _LONGEST_CAPTION:
                raise PermanentFailure(
                    "too-long",
                    f"The words of an MMS may have {_LONGEST_CAPTION} characters at Vonage; send "
                    "the text and the files one after the other.",
                )
            return [self._mms(outgoing, step) for step in range(len(outgoing.media))]
        if not outgoing.body:
            raise PermanentFailure("empty")
        return [self._sms(outgoing)]

    def _sms(self, outgoing: Outgoing) -> Request:
        values = {
            "api_key": self._config.api_key,
            "api_secret": self._config.api_secret,
            "from": bare(outgoing.sender),
            "to": bare(outgoing.recipients[0]),
            "text": outgoing.body,
            "type": "unicode" if foreign(outgoing.body) else "text",
            "client-ref": outgoing.delivery_id,
            "status-report-req": "1",
        }
        # A longer one would be refused; the receipt then goes to the address in the account's
        # settings and is known by the reference.
        if outgoing.callback and len(outgoing.callback) <= _LONGEST_CALLBACK:
            values["callback"] = outgoing.callback
        return Request(
            method="POST",
            url=f"{self._sms_api}/sms/json",
            headers={
                "Content-Type": "application/x-www-form-urlencoded",
                "Accept": "application/json",
            },
            body=urlencode(values).encode("ascii"),
        )

    def _mms(self, outgoing: Outgoing, step: int) -> Request:
        medium = outgoing.media[step]
        kind = message_type(medium.content_type)
        item = {"url": medium.url}
        if outgoing.body and step == 0:
            item["caption"] = outgoing.body
        values: dict[str, Any] = {
            "channel": "mms",
            "message_type": kind,
            "from": bare(outgoing.sender),
            "to": bare(outgoing.recipients[0]),
            kind: item,
            "client_ref": outgoing.delivery_id,
        }
        if outgoing.callback:
            values["webhook_url"] = outgoing.callback
            values["webhook_version"] = "v1"
        return Request(
            method="POST",
            url=f"{self._messages_api}/v1/messages",
            headers={
                **self._credentials(outgoing, step),
                "Content-Type": "application/json",
                "Accept": "application/json",
            },
            body=json.dumps(values).encode(),
        )

    def _credentials(self, outgoing: Outgoing, step: int) -> Mapping[str, str]:
        """Return the application's token, or key and secret where there is none."""
        if self._private_key is None or not outgoing.now_ms:
            return self._basic
        now_s = outgoing.now_ms // 1000
        token = jwt.encode(
            {
                "application_id": self._config.application_id,
                "iat": now_s,
                "exp": now_s + _TOKEN_S,
                "jti": f"{outgoing.delivery_id}-{outgoing.now_ms}-{step}",
            },
            self._private_key,
            algorithm="RS256",
        )
        return {"Authorization": f"Bearer {token}"}

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """See `Dialect.answered`."""
        found = object_in(response)
        if not 200 <= response.status < 300:
            return codes.problem(response, found)
        if outgoing.media:
            remote_id = words(found.get("message_uuid"))
            if remote_id:
                return verdicts.accepted(remote_id)
        elif listed(found.get("messages")):
            return codes.parts([mapping(each) for each in found["messages"]])
        return verdicts.unknown(
            "Vonage took it with an answer that has no id.",
            detail=f"status {response.status} without an id",
        )

    # -- webhooks

    @property
    def signs(self) -> bool:
        """See `Dialect.signs`."""
        return bool(self._config.signature_secret)

    def authentic(self, hook: Hook) -> bool:
        """See `Dialect.authentic`; a call that tries the address has nothing to be signed."""
        if _bearer(hook):
            return self._has_token(hook)
        try:
            return self._signed(hook) is not None
        except Malformed:
            return False

    def _has_token(self, hook: Hook) -> bool:
        """Tell whether a call has a good token that was made for this very body."""
        try:
            claims = jwt.decode(
                _bearer(hook),
                self._config.signature_secret,
                algorithms=["HS256"],
                # Times are compared with when the call came, below.
                options={
                    "verify_exp": False,
                    "verify_iat": False,
                    "verify_nbf": False,
                    "verify_aud": False,
                    "verify_iss": False,
                    "verify_sub": False,
                    "verify_jti": False,
                },
            )
        except (jwt.PyJWTError, ValueError, RecursionError):
            return False
        made_at_s = claims.get("iat")
        if not isinstance(made_at_s, int | float) or isinstance(made_at_s, bool):
            return False
        if not abs(hook.now_ms - made_at_s * 1000) <= _FRESH_MS:
            return False
        wanted = hashlib.sha256(hook.body).hexdigest()
        given = words(claims.get("payload_hash")).lower()
        return hmac.compare_digest(wanted.encode(), given.encode())

    def _signed(self, hook: Hook) -> Mapping[str, Any] | None:
        """
        Return the values that a good signature covers; none where there is no such signature.

        :raises Malformed: the values cannot be read.
        """
        for values in _candidates(hook):
            if self._has_signature(values, hook.now_ms):
                return values
        return {} if _tries_address(hook) else None

    def _has_signature(self, values: Mapping[str, Any], now_ms: int) -> bool:
        stamp = words(values.get("timestamp"))
        given = words(values.get("sig"))
        if not given or not re.fullmatch(r"[0-9]{1,12}", stamp):
            return False
        if abs(now_ms - int(stamp) * 1000) > _FRESH_MS:
            return False
        wanted = signature(values, self._config.signature_secret, self._config.signature_method)
        return hmac.compare_digest(wanted.encode(), given.lower().encode())

    def events(self, hook: Hook) -> Sequence[Event]:
        """See `Dialect.events`; what a signature does not cover is not read."""
        if not self.signs:
            values = _values(hook)
        elif _bearer(hook):
            values = _body(hook)
        else:
            values = self._signed(hook) or {}
        if not _TELLING & values.keys():
            return []
        if "message_uuid" in values:
            return [_message_status(values) if "status" in values else _message(values)]
        return [_receipt(values) if "status" in values else _sms_received(values)]

    def answer(self, hook: Hook) -> Answer:
        """See `Dialect.answer`."""
        return Answer()

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """See `Dialect.media_headers`; attachments are open to everybody who knows where."""
        return [{}]

    def discover(self) -> Sequence[Request]:
        """See `Dialect.discover`; the first hundred numbers."""
        return [
            Request(
                url=f"{self._sms_api}/account/numbers?size={_MOST_NUMBERS}",
                headers={**self._basic, "Accept": "application/json"},
            )
        ]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """See `Dialect.discovered`."""
        found = []
        for response in responses:
            if response.status != 200:
                raise Malformed(f"Vonage answered with status {response.status}")
            numbers = document(response.body)
            if not isinstance(numbers, dict):
                raise Malformed("an object with 'numbers' was expected")
            found += [_found(mapping(each)) for each in listed(numbers.get("numbers"))]
        return [each for each in found if each.number]


# -- words -----------------------------------------------------------------------------------------


def bare(number: str) -> str:
    """Write a number as Vonage does: without its plus."""
    return number.removeprefix("+")


def plus(text: str) -> str:
    """Read a number as Vonage writes it; short codes and names stay as they are."""
    if text.isascii() and text.isdigit() and len(text) >= _SHORTEST_NUMBER and text[0] != "0":
        return f"+{text}"
    return text


def message_type(content_type: str) -> str:
    """Return what Vonage calls a kind of file."""
    if content_type.startswith(("text/vcard", "text/x-vcard")):
        return "vcard"
    kind = content_type.partition("/")[0]
    return kind if kind in ("image", "video", "audio") else "file"


def signature(values: Mapping[str, Any], secret: str, method: str) -> str:
    """
    Sign values as the SMS API does (Vonage, "Signing messages"); gives lower hexadecimal digits.

    :param method: one of `config.SIGNATURE_METHODS`.
    """
    text = "".join(
        f"&{name}={_plain(values[name])}" for name in sorted(values) if name != "sig"
    ).encode("utf-8", "surrogatepass")
    if method == "md5hash":
        return hashlib.md5(text + secret.encode(), usedforsecurity=False).hexdigest()
    return hmac.new(secret.encode(), text, method).hexdigest()


def _plain(value: Any) -> str:
    text = value if isinstance(value, str) else json.dumps(value)
    return text.replace("&", "_").replace("=", "_")


# -- what a call has in it -------------------------------------------------------------------------


def _bearer(hook: Hook) -> str:
    scheme, _, token = hook.headers.get("authorization", "").partition(" ")
    return token.strip() if scheme.lower() == "bearer" else ""


def _body(hook: Hook) -> Mapping[str, Any]:
    """Return the values in the body: JSON or a form."""
    text = hook.body.strip()
    if text[:1] in (b"{", b"["):
        values = document(text)
        if not isinstance(values, dict):
            raise Malformed("an object was expected")
        return values
    return dict(hook.form) if text else {}


def _values(hook: Hook) -> Mapping[str, Any]:
    """Return all values of a call that need not be signed."""
    return _body(hook) or dict(hook.arguments)


def _candidates(hook: Hook) -> Iterator[Mapping[str, Any]]:
    """
    Yield what may have been signed.

    Vonage appends its values to what the operator has in the address and signs its own; whether it
    signs the others as well, its documentation does not say.
    """
    arguments = hook.arguments
    if hook.body.strip():
        body = _body(hook)
        yield body
        if arguments:
            yield {**dict(arguments), **body}
        return
    for start in range(min(len(arguments), _MOST_FOREIGN_PAIRS)):
        yield dict(arguments[start:])


def _tries_address(hook: Hook) -> bool:
    return not hook.body.strip() and not _TELLING & dict(hook.arguments).keys()


# -- events of the SMS API -------------------------------------------------------------------------


def _sms_received(values: Mapping[str, Any]) -> Event:
    remote_id, ours = words(values.get("messageId")), plus(words(values.get("to")))
    if not remote_id or not ours:
        raise Malformed("a text with 'messageId' and 'to' was expected")
    body = words(values.get("text"))
    if words(values.get("type")) == "binary" and not body:
        return Ignored(why=f"the binary message {remote_id[:40]}")
    return Received(
        remote_id=remote_id,
        ours=ours,
        sender=plus(words(values.get("msisdn"))),
        body=body,
        sent_at_ms=at_ms(words(values.get("message-timestamp"))),
        part=_part(values),
    )


def _part(values: Mapping[str, Any]) -> Part | None:
    if (
        words(values.get("concat")).lower() not in ("true", "1")
        and values.get("concat") is not True
    ):
        return None
    reference = words(values.get("concat-ref"))
    number, total = words(values.get("concat-part")), words(values.get("concat-total"))
    if not all(re.fullmatch(r"[0-9]{1,3}", each) for each in (number, total)):
        return None
    if not reference or not 1 <= int(number) <= int(total) <= 255:
        return None
    return Part(reference=reference[:40], number=int(number), total=int(total))


def _receipt(values: Mapping[str, Any]) -> Event:
    remote_id = words(values.get("messageId"))
    if not remote_id:
        raise Malformed("a receipt with 'messageId' was expected")
    word, code = words(values.get("status")), words(values.get("err-code"))
    status = codes.RECEIPTS.get(word)
    if status is None:
        return Ignored(why=f"a receipt {word[:40]!r} of {remote_id[:40]}")
    reason, text = codes.receipt(status, word, code)
    return StatusUpdate(
        remote_id=remote_id,
        status=status,
        delivery_id=_reference(values.get("client-ref")),
        ours=plus(words(values.get("to"))),
        recipient=plus(words(values.get("msisdn"))),
        reason=reason,
        text=text,
    )


def _reference(value: Any) -> str:
    """Return a reference that can be ours; other programs may use the account as well."""
    text = words(value)
    return text if _OURS.fullmatch(text) else ""


# -- events of the Messages API --------------------------------------------------------------------


def _party(value: Any) -> str:
    """Return a number; in the API's version 0.1 it is an object."""
    return plus(words(mapping(value).get("number")) or words(value))


def _message(values: Mapping[str, Any]) -> Event:
    remote_id, ours = words(values.get("message_uuid")), _party(values.get("to"))
    channel = words(values.get("channel"))
    if channel not in ("", "sms", "mms"):
        return Ignored(why=f"a text through {channel[:20]!r}")
    if not remote_id or not ours:
        raise Malformed("a text with 'message_uuid' and 'to' was expected")
    media, captions = _media(values)
    text = words(values.get("text"))
    return Received(
        remote_id=remote_id,
        ours=ours,
        sender=_party(values.get("from")),
        body="\n".join(dict.fromkeys(each for each in (text, *captions) if each)),
        media=tuple(media),
        sent_at_ms=at_ms(words(values.get("timestamp"))),
    )


def _media(values: Mapping[str, Any]) -> tuple[list[RemoteMedia], list[str]]:
    """Return the attachments, each once, and what is written below them."""
    media: dict[str, RemoteMedia] = {}
    captions = []
    for name in (*_MEDIA_NAMES, "content"):
        value = values.get(name)
        for item in map(mapping, value if isinstance(value, list) else [value]):
            # An item of a list may have its file one level deeper.
            inner = (mapping(item.get(each)) for each in _MEDIA_NAMES)
            for each in (item, *inner):
                url = words(each.get("url"))
                if url and url not in media:
                    media[url] = RemoteMedia(url=url, name=words(each.get("name")))
                captions.append(words(each.get("caption")))
    return list(media.values()), captions


def _message_status(values: Mapping[str, Any]) -> Event:
    remote_id = words(values.get("message_uuid"))
    if not remote_id:
        raise Malformed("a status with 'message_uuid' was expected")
    word = words(values.get("status"))
    status = codes.MESSAGE_STATUSES.get(word)
    if status is None:
        return Ignored(why=f"a status {word[:40]!r} of {remote_id[:40]}")
    reason, text = codes.message_failure(status, word, mapping(values.get("error")))
    return StatusUpdate(
        remote_id=remote_id,
        status=status,
        delivery_id=_reference(values.get("client_ref")),
        ours=_party(values.get("from")),
        recipient=_party(values.get("to")),
        reason=reason,
        text=text,
    )


def _found(value: Mapping[str, Any]) -> FoundLine:
    features = [words(each).upper() for each in listed(value.get("features"))]
    country, kind = words(value.get("country")), words(value.get("type"))
    return FoundLine(
        number=plus(words(value.get("msisdn"))),
        sms="SMS" in features or not features,
        mms="MMS" in features,
        description=" ".join(each for each in (country, kind) if each),
        hook=words(value.get("moHttpUrl")),
    )
