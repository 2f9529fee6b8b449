"""The far side of the made-up provider of `fakes`."""

from __future__ import annotations

import json
from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import parse_qsl, urlsplit

from smsbridge.core.message import Status
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
from tests.provider.fakes import FakeGateway, sign

__all__ = ["MIRROR", "FakeMirror"]

_REFUSALS: dict[str, tuple[int, str]] = {
    "bad-number": (404, "bad-number"),
    "opted-out": (400, "opted-out"),
    "not-ours": (403, "not-ours"),
    "credentials": (401, "key"),
    "no-credit": (402, "no-credit"),
    "throttled": (429, "slow"),
    "quota": (403, "quota"),
    "too-long": (400, "too-long"),
    "bad-media": (400, "bad-media"),
    "broken": (500, "broken"),
}


class FakeMirror:
    """Plays the made-up provider."""

    kind: ClassVar[str] = "fake"
    statuses: ClassVar[Sequence[Status]] = (Status.SENT, Status.DELIVERED)
    sample: ClassVar[Mapping[str, str]] = {
        "api_key": "not-a-real-key",
        "signing_key": "not-a-real-secret",
    }

    def __init__(self, config: FakeGateway) -> None:
        self._config = config

    def new_id(self, number: int, mms: bool) -> str:
        """Number them."""
        return f"{'m' if mms else 's'}{number:06d}"

    def asked(self, call: Call, now_ms: int) -> Asked:
        """Read a request."""
        if call.headers.get("authorization") != f"Bearer {self._config.api_key}":
            raise Wrong(self._refused("credentials"))
        parts = urlsplit(call.path)
        query = dict(parse_qsl(parts.query))
        match call.method, parts.path.strip("/").split("/"):
            case "POST", ["texts"]:
                return self._sent(call)
            case "GET", ["texts"]:
                page = int(query.get("page", "1"))
                return AskedList(
                    ours=query.get("line", ""),
                    since_ms=int(query.get("since", "0")),
                    until_ms=int(query.get("until", "0")),
                    offset=(page - 1) * 50,
                )
            case "GET", ["numbers"]:
                return AskedDids()
            case "GET", ["media", remote_id]:
                return AskedMediaList(remote_id=remote_id)
            case "GET", ["media", remote_id, number]:
                return AskedMedia(remote_id=remote_id, number=int(number))
        raise Wrong(Response(status=404))

    def _sent(self, call: Call) -> AskedSend:
        found = json.loads(call.body)
        return AskedSend(
            texts=(
                DoubleText(
                    remote_id="",
                    outbound=True,
                    sender=found["from"],
                    recipients=tuple(found["to"]),
                    body=found["text"],
                    media=tuple(DoubleMedia(url=url) for url in found["media"]),
                    mms=bool(found["media"]),
                    callback=found["callback"],
                    reference=found["reference"],
                ),
            )
        )

    def _refused(self, fault: Fault) -> Response:
        status, code = _REFUSALS[fault]
        headers = {"retry-after": "1"} if fault == "throttled" else {}
        return Response(status=status, headers=headers, body=_json({"code": code}))

    def refusal(self, fault: Fault, call: Call) -> Response:
        """Name the fault."""
        return self._refused(fault)

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """Tell the id."""
        return Response(status=201, body=_json({"id": texts[0].remote_id}))

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """Write them as webhooks."""
        found: dict[str, Any] = {
            "texts": [
                self._status(text, text.status) if text.outbound else self._text(text)
                for text in texts
            ]
        }
        if more:
            found["next"] = asked.offset // 50 + 2
        return Response(status=200, body=_json(found))

    def one(self, text: DoubleText | None) -> Response:
        """There is no such request."""
        return Response(status=404)

    def media_list(self, text: DoubleText | None) -> Response:
        """Write the addresses."""
        if text is None:
            return Response(status=404)
        return Response(status=200, body=_json(self._media(text)))

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """Write a list."""
        return Response(status=200, body=_json(list(numbers)))

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """Write an object."""
        return [self._signed(hook, self._text(text))]

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """Write an object for each recipient."""
        return [self._signed(text.callback or f"{hook}/status", self._status(text, status))]

    def is_heard(self, response: Response) -> bool:
        """Take the word alone."""
        return response.status == 200 and response.body == b"ok"

    def _signed(self, url: str, found: dict[str, Any]) -> Request:
        body = _json(found)
        signature = sign(self._config.signing_key, url, body)
        return Request(
            method="POST",
            url=url,
            headers={"Content-Type": "application/json", "X-Signature": signature},
            body=body,
        )

    def _media(self, text: DoubleText) -> list[dict[str, str]]:
        return [
            {"url": f"{self._config.base_url}/media/{text.remote_id}/{number}"}
            for number in range(len(text.media))
        ]

    def _text(self, text: DoubleText) -> dict[str, Any]:
        found: dict[str, Any] = {
            "type": "text",
            "id": text.remote_id,
            "to": text.recipients[0],
            "from": text.sender,
            "text": text.body,
            "media": self._media(text),
        }
        if len(text.recipients) > 1:
            found["recipients"] = list(text.recipients)
        return found

    def _status(self, text: DoubleText, status: Status) -> dict[str, Any]:
        found = {
            "type": "status",
            "id": text.remote_id,
            "status": str(status),
            "reference": text.reference,
            "to": text.recipients[0],
            "from": text.sender,
        }
        if status is Status.FAILED:
            reason = text.reason or "network"
            found.update(reason=reason, words=f"code 7: {reason}")
        return found


MIRROR = FakeMirror


def _json(value: Any) -> bytes:
    return json.dumps(value).encode()
