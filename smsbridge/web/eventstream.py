"""
Server-sent events on one open request, in the format of the WHATWG's HTML standard, section 9.2.

A stream is ``retry: 2000`` and then events: lines ``event:``, ``id:`` and ``data:`` (one line of
JSON), each event ended by an empty line.  A line that begins with a colon is a comment, which keeps
the connection from being closed by what is in between.  What to send is `api.live`'s decision.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Final

from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IPushProducer
from twisted.python.failure import Failure
from twisted.web.server import Request
from zope.interface import implementer

__all__ = ["EventStream", "event"]

_RETRY_MS: Final = 2000
#: What waits for a slow reader at most, beside what the transport holds.
_MOST_WAITING_BYTES: Final = 256 * 1024


def event(name: str, data: bytes, event_id: str) -> bytes:
    """Write one event; `data` is one line of JSON."""
    return b"event: %s\nid: %s\ndata: %s\n\n" % (name.encode(), event_id.encode(), data)


@implementer(IPushProducer)
class EventStream:
    """
    The answer to one listener.

    A reader that takes nothing is cut off when too much waits for it: it comes back with the id of
    the last event that it got.

    :ivar ended: fires with None when the stream is over, whoever ended it.
    """

    def __init__(
        self,
        request: Request,
        on_end: Callable[[], None],
        most_waiting_bytes: int = _MOST_WAITING_BYTES,
    ) -> None:
        self._request = request
        self._on_end = on_end
        self._most_waiting_bytes = most_waiting_bytes
        self._waiting: deque[bytes] = deque()
        self._waiting_bytes = 0
        self._paused = False
        self._open = True
        self.ended: Deferred[None] = Deferred(lambda _: self._over())
        if getattr(request, "channel", self) is None:  # the reader is gone already
            self._open = False
            self.ended.callback(None)
            return
        request.notifyFinish().addBoth(self._gone)
        request.setHeader(b"Content-Type", b"text/event-stream; charset=utf-8")
        request.setHeader(b"Cache-Control", b"no-store")
        # Proxies such as nginx hold back what they take for the beginning of a page.
        request.setHeader(b"X-Accel-Buffering", b"no")
        request.registerProducer(self, True)
        request.write(b"retry: %d\n\n" % _RETRY_MS)

    @property
    def is_open(self) -> bool:
        """Whether anybody reads."""
        return self._open

    def send(self, data: bytes) -> None:
        """Write whole events."""
        if not self._open:
            return
        if not self._paused:
            self._request.write(data)
            return
        self._waiting.append(data)
        self._waiting_bytes += len(data)
        if self._waiting_bytes > self._most_waiting_bytes:
            self.cut()

    def keep_alive(self) -> None:
        """Write a comment, unless the reader has more than enough already."""
        if self._open and not self._paused:
            self._request.write(b":\n\n")

    def close(self) -> None:
        """End the answer; the reader comes back if it wants to."""
        if self._open:
            request = self._request
            self._over()
            request.unregisterProducer()
            request.finish()

    def cut(self) -> None:
        """End the connection at once, with what waits in it."""
        if self._open:
            self._over()
            channel = getattr(self._request, "channel", None)  # None once the reader is gone
            if channel is not None:
                channel.transport.abortConnection()

    def pauseProducing(self) -> None:
        """Take note that the reader has enough for now."""
        self._paused = True

    def resumeProducing(self) -> None:
        """Write what waits."""
        self._paused = False
        while self._waiting and not self._paused and self._open:
            data = self._waiting.popleft()
            self._waiting_bytes -= len(data)
            self._request.write(data)

    def stopProducing(self) -> None:
        """Take note that the reader is gone."""
        self._over()

    def _gone(self, _: Failure | None) -> None:
        self._over()

    def _over(self) -> None:
        if self._open:
            self._open = False
            self._waiting.clear()
            self._on_end()
            if not self.ended.called:
                self.ended.callback(None)
