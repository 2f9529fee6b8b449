"""What a dialect says whose provider lists nothing: neither texts nor attachments; pure."""

from __future__ import annotations

from collections.abc import Collection, Sequence

from smsbridge.core.directory import Line
from smsbridge.provider.dialect import (
    UNSURE,
    LookedUp,
    Malformed,
    Outgoing,
    Page,
    Received,
    RemoteMedia,
    Request,
    Response,
)

__all__ = ["Unlisted"]


class Unlisted:
    """
    The part of a `Dialect` that asks for lists, where there are none to ask for.

    A text whose answer was lost is not looked up then, and what webhooks missed is not fetched.
    """

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """See `Dialect.look_up`."""
        return None

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """See `Dialect.looked_up`."""
        return UNSURE

    def media_list(self, received: Received) -> Request | None:
        """See `Dialect.media_list`; the webhook always says where."""
        return None

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """See `Dialect.media_listed`."""
        raise Malformed("the provider has no list of attachments")

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """See `Dialect.listing`."""
        return None

    def listed(self, line: Line, response: Response) -> Page:
        """See `Dialect.listed`."""
        raise Malformed("the provider has no list of texts")
