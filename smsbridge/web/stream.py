"""Answers of any length as JSON lines: written as fast as the reader takes them, and no faster."""

from __future__ import annotations

from collections.abc import Iterable

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.web.server import Request
from zope.interface import implementer

from smsbridge.web import shapes

__all__ = ["JSON_LINES", "LineStream"]

JSON_LINES = b"application/jsonl"


@implementer(IPushProducer)
class LineStream:
    """
    The open answer of one request.

    `write` returns when the reader has room again, so that a listing of a million messages holds
    one page in memory.  When the reader goes away, whoever waits in `write` is cancelled by Klein.
    """

    def __init__(self, request: Request, content_type: bytes = JSON_LINES) -> None:
        self._request = request
        self._room: Deferred[None] | None = None
        request.setHeader(b"Content-Type", content_type)
        request.registerProducer(self, True)
        # The headers go out now: a reader that follows may wait long for the first line.
        request.write(b"")

    async def write(self, values: Iterable[object]) -> None:
        """Write each value as a line; returns when the reader has room for more."""
        self.put(values)
        if self._room is not None:
            await self._room

    def put(self, values: Iterable[object]) -> None:
        """Write each value as a line without asking for room; for a few words in between."""
        self._request.write(b"".join(shapes.encode(value) + b"\n" for value in values))

    def close(self) -> None:
        """End the answer; the request itself is finished by Klein."""
        if getattr(self._request, "channel", None) is not None:  # None once the reader is gone
            self._request.unregisterProducer()

    def pauseProducing(self) -> None:
        """Take note that the reader has enough for now."""
        if self._room is None:
            self._room = Deferred()

    def resumeProducing(self) -> None:
        """Let the writer go on."""
        room, self._room = self._room, None
        if room is not None:
            room.callback(None)

    def stopProducing(self) -> None:
        """Do nothing: Klein cancels the writer when the reader is gone."""
