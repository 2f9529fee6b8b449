"""The browsers that want to be woken: operations of the tag ``push``."""

from __future__ import annotations

import ipaddress
from collections.abc import Callable
from hashlib import sha256
from urllib.parse import urlsplit

from pydantic import BaseModel, Field
from typing_extensions import TypedDict

from smsbridge.core.subscriptions import Subscription
from smsbridge.outside import is_allowed
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.operation import ApiError, Body, Call, operation
from smsbridge.web.push import PushSender, decode_key

__all__ = ["PushAnswer", "PushOperations"]


class PushKeys(BaseModel):
    """The keys of a subscription, as a browser gives them."""

    p256dh: str = Field(max_length=255, description="The browser's public key, base64url.")
    auth: str = Field(max_length=64, description="The browser's secret, base64url.")


class NewSubscription(Body):
    """A subscription, as ``PushSubscription.toJSON()`` gives it."""

    endpoint: str = Field(max_length=2000, description="Where the push service takes it.")
    keys: PushKeys


class OldSubscription(Body):
    """A subscription that ends."""

    endpoint: str = Field(max_length=2000)


class PushAttributes(TypedDict):
    """What is kept of a subscription that others may know."""

    service: str


class PushResource(TypedDict):
    """A browser that is woken."""

    type: str
    id: str
    attributes: PushAttributes


class PushAnswer(TypedDict):
    """The answer with it."""

    data: PushResource


class PushOperations:
    """Subscribes the browser that is logged in."""

    def __init__(
        self, sender: PushSender, now_ms: Callable[[], int], *, private_too: bool = False
    ) -> None:
        self._sender = sender
        self._now_ms = now_ms
        self._private_too = private_too

    @operation(
        "POST",
        "/push",
        scope=Scope.MANAGE,
        tag="push",
        body=NewSubscription,
        answer=PushAnswer,
        status=201,
        statuses=(403, 422),
    )
    async def subscribe(self, call: Call[NewSubscription]) -> PushAnswer:
        """Wake this browser when a text comes.

        It ends with the log in that it was made with. The key to subscribe with is push_key of
        /me.
        """
        caller = _of_browser(call.caller)
        if not self._sender.public_key:
            raise ApiError(
                422,
                "unsupported",
                "This bridge cannot send notifications; its log says why.",
                pointer="/data/attributes/endpoint",
            )
        body = call.body
        service = self._service(body.endpoint)
        for name, text, length in (("p256dh", body.keys.p256dh, 65), ("auth", body.keys.auth, 16)):
            try:
                decode_key(text, length)
            except ValueError:
                raise ApiError(
                    422,
                    "invalid",
                    f"This is not a key of a browser: it must have {length} bytes in base64url.",
                    pointer=f"/data/attributes/keys/{name}",
                ) from None
        await self._sender.subscribe(
            Subscription(
                person=caller.label,
                endpoint=body.endpoint,
                p256dh=body.keys.p256dh,
                auth=body.keys.auth,
                session_id=caller.name,
                created_at_ms=self._now_ms(),
            )
        )
        return {
            "data": {
                "type": "push",
                "id": sha256(body.endpoint.encode()).hexdigest(),
                "attributes": {"service": service},
            }
        }

    @operation(
        "DELETE", "/push", scope=Scope.MANAGE, tag="push", body=OldSubscription, statuses=(403,)
    )
    async def unsubscribe(self, call: Call[OldSubscription]) -> None:
        """Wake this browser no longer.

        The answer is the same for a browser that was not woken anyway.
        """
        await self._sender.unsubscribe(_of_browser(call.caller).label, call.body.endpoint)

    def _service(self, endpoint: str) -> str:
        """Return the host of a push service."""
        try:
            parts = urlsplit(endpoint)
            host = parts.hostname or ""
            usable = bool(host) and endpoint.isascii() and not parts.username and parts.port != 0
        except ValueError:
            usable, host = False, ""
        wanted = ("https", "http") if self._private_too else ("https",)
        if not usable or parts.scheme not in wanted or any(char <= " " for char in endpoint):
            raise ApiError(
                422,
                "invalid",
                "The address of a push service begins with https://.",
                pointer="/data/attributes/endpoint",
            )
        try:
            literal = ipaddress.ip_address(host)
        except ValueError:
            return host
        if not self._private_too and not is_allowed(str(literal), False):
            raise ApiError(
                422,
                "not-permitted",
                "This address is in a private network; no push service is there.",
                pointer="/data/attributes/endpoint",
            )
        return host


def _of_browser(caller: Caller) -> Caller:
    if not caller.by_session:
        raise ApiError(
            403, "not-permitted", "Notifications are for browsers; log in with a password."
        )
    return caller
