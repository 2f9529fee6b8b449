"""
A made-up provider, so that the shared side is tested without a real one: JSON both ways.

Its API: ``POST /texts`` takes one text, ``GET /texts`` lists them (by ``reference`` or by ``line``,
``since``, ``until`` and ``page``), ``GET /numbers`` lists the numbers, ``GET /media/ID`` the
attachments of a text.  A body with ``//`` in it goes out in several requests.  Its webhooks have an
object or a list of objects, signed in ``X-Signature`` with HMAC-SHA1 over address and body.
"""

from __future__ import annotations

import hashlib
import hmac
import json
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from attrs import frozen

from smsbridge.core.directory import Line
from smsbridge.core.message import Status
from smsbridge.core.records import FoundLine
from smsbridge.errors import PermanentFailure
from smsbridge.keys import key
from smsbridge.provider import verdicts
from smsbridge.provider.config import ProviderGateway
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
    Part,
    ProviderLine,
    Received,
    RemoteMedia,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY", "FakeDialect", "FakeGateway", "sign", "text_event"]

OURS = "+12025550100"
THEIRS = "+12025550123"


@frozen(kw_only=True)
class FakeGateway(ProviderGateway):
    """The section of the made-up provider."""

    api_key: str = key("What requests carry.", default="not-a-key", secret=True)
    signing_key: str = key("What webhooks are signed with.", default="", secret=True)
    mute: bool = key("Whether texts cannot be looked up or listed.", default=False, convert=bool)


class FakeDialect:
    """Speaks with the made-up provider."""

    kind: ClassVar[str] = "fake"
    hook_timeout_s: ClassVar[float] = 5.0
    status_path: ClassVar[bool] = True
    reports: ClassVar[bool] = True

    def __init__(self, config: FakeGateway) -> None:
        self._config = config
        self._api = config.base_url or "https://api.provider.test"

    def _ask(self, path: str, **query: object) -> Request:
        text = "?" + urlencode(query) if query else ""
        return Request(url=f"{self._api}{path}{text}", headers=self._headers())

    def _headers(self) -> Mapping[str, str]:
        return {"Authorization": f"Bearer {self._config.api_key}"}

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """One request for each part between slashes."""
        if outgoing.body == "unsendable":
            raise PermanentFailure("unsupported", "This provider does not take such a text.")
        return [
            Request(
                method="POST",
                url=f"{self._api}/texts",
                headers={"Content-Type": "application/json", **self._headers()},
                body=json.dumps(
                    {
                        "from": outgoing.sender,
                        "to": list(outgoing.recipients),
                        "text": part,
                        "media": [medium.url for medium in outgoing.media],
                        "reference": outgoing.delivery_id,
                        "callback": outgoing.callback,
                    }
                ).encode(),
            )
            for part in outgoing.body.split("//")
        ]

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """A 201 has the id, everything else a code."""
        found = _read(response.body)
        detail = f"{response.status} {found.get('code', '')}".strip()
        if response.status == 201 and "id" in found:
            return verdicts.accepted(str(found["id"]))
        if response.status == 401:
            return verdicts.misconfigured(
                "credentials", "The provider refuses 'api_key'; set the right one.", detail=detail
            )
        if response.status == 429:
            after = response.headers.get("retry-after", "")
            return verdicts.throttled(float(after) if after else None, detail=detail)
        if response.status == 503:
            return verdicts.unavailable(detail=detail)
        code = found.get("code")
        if code == "quota":
            return verdicts.quota_used("The day's quota is used up.", until_s=3600, detail=detail)
        if code == "opted-out":
            return verdicts.refused("opted-out", detail=detail)
        if code == "not-ours":
            return verdicts.misconfigured(
                "not-permitted", "The number is not the account's.", detail=detail, rests="line"
            )
        if code == "country":
            return verdicts.misconfigured(
                "not-permitted", "The country is not enabled.", detail=detail, rests=""
            )
        if 400 <= response.status < 500:
            return verdicts.refused("rejected", detail=detail)
        return verdicts.unknown(detail=detail)

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """Ask by our reference."""
        if self._config.mute:
            return None
        return self._ask("/texts", reference=outgoing.delivery_id, since=sent_at_ms)

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """The first text with that reference is it."""
        if response.status != 200:
            return UNSURE
        for text in _read(response.body).get("texts", []):
            if text["id"] not in known:
                return str(text["id"])
        return NOTHING_THERE

    # -- webhooks

    @property
    def signs(self) -> bool:
        """Whether there is a key."""
        return bool(self._config.signing_key)

    def authentic(self, hook: Hook) -> bool:
        """Compare the signature."""
        wanted = sign(self._config.signing_key, hook.url, hook.body)
        return hmac.compare_digest(wanted, hook.headers.get("x-signature", ""))

    def events(self, hook: Hook) -> Sequence[Event]:
        """Read one object or a list of them."""
        if hook.method == "GET":
            return []
        return _events(_parsed(hook.body))

    def answer(self, hook: Hook) -> Answer:
        """The provider wants a word."""
        return Answer(body=b"ok")

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """Without, then with the key, for its own host."""
        return [{}, self._headers()] if url.startswith(self._api + "/") else [{}]

    def media_list(self, received: Received) -> Request | None:
        """Ask by the text's id."""
        return self._ask(f"/media/{received.remote_id}")

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """Read a list of addresses."""
        if response.status != 200:
            raise Malformed(f"the list of attachments has status {response.status}")
        return [RemoteMedia(**each) for each in _parsed(response.body)]

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """Ask for the first page."""
        if self._config.mute:
            return None
        return self._ask("/texts", line=line.number, since=since_ms, until=until_ms, page=1)

    def listed(self, line: Line, response: Response) -> Page:
        """Read the texts, and the number of the next page."""
        if response.status != 200:
            raise Malformed(f"the provider answered with status {response.status}")
        found = _parsed(response.body)
        more = found.get("next")
        return Page(
            events=tuple(_events(found["texts"])),
            more=self._ask("/texts", line=line.number, page=more) if more else None,
        )

    def discover(self) -> Sequence[Request]:
        """Ask for the numbers."""
        return [] if self._config.mute else [self._ask("/numbers")]

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """Read them."""
        if responses[0].status != 200:
            raise Malformed(f"the provider answered with status {responses[0].status}")
        return [FoundLine(number=number) for number in _parsed(responses[0].body)]


def sign(secret: str, url: str, body: bytes) -> str:
    """Sign a webhook."""
    return hmac.new(secret.encode(), url.encode() + body, hashlib.sha1).hexdigest()


def text_event(remote_id: str = "t1", **changes: Any) -> dict[str, Any]:
    """Return a received text as the provider writes it."""
    return {
        "type": "text",
        "id": remote_id,
        "to": OURS,
        "from": THEIRS,
        "text": "hello",
        **changes,
    }


def _events(found: Any) -> list[Event]:
    return [_event(each) for each in (found if isinstance(found, list) else [found])]


def _event(found: Any) -> Event:
    try:
        if found["type"] == "text":
            return Received(
                remote_id=found["id"],
                ours=found["to"],
                sender=found["from"],
                body=found["text"],
                recipients=tuple(found.get("recipients", ())),
                media=tuple(RemoteMedia(**each) for each in found.get("media", ())),
                unlisted_media=found.get("unlisted_media", False),
                part=Part(**found["part"]) if "part" in found else None,
                opt_out=found.get("opt_out", ""),
            )
        if found["type"] == "status":
            return StatusUpdate(
                remote_id=found["id"],
                status=Status(found["status"]),
                delivery_id=found.get("reference", ""),
                ours=found.get("from", ""),
                recipient=found.get("to", ""),
                reason=found.get("reason", ""),
                text=found.get("words", ""),
                opted_out=found.get("opted_out", False),
            )
        return Ignored(why=f"an event of type {found['type']}")
    except (KeyError, TypeError, ValueError) as e:
        raise Malformed(f"a text or a status was expected: {e!r}") from None


def _parsed(body: bytes) -> Any:
    try:
        return json.loads(body)
    except ValueError as e:
        raise Malformed(f"JSON was expected: {e}") from None


def _read(body: bytes) -> dict[str, Any]:
    try:
        found = json.loads(body)
    except ValueError:
        return {}
    return found if isinstance(found, dict) else {}


FACTORY = ProviderFactory(
    kind="fake",
    title="Fake",
    config_class=FakeGateway,
    line_class=ProviderLine,
    dialect=FakeDialect,
)
