"""
The pages that machines look at: ``/healthz``, ``/readyz`` and ``/metrics``.

They are open to everyone who reaches the listener and hold no number of a telephone, no name of a
person and no text.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping

from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request

from smsbridge.errors import TemporaryFailure
from smsbridge.metrics import Exposition, Snapshot
from smsbridge.web.bridge import IBridge

__all__ = ["Health", "Page", "health_mounts"]

_log = Logger()


class Page(Resource):
    """
    One page without anything below it.

    A plain resource rather than Klein, which answers a mount without a closing slash by a redirect:
    load balancers take that for an error.
    """

    def __init__(self, write: Callable[[IRequest], Awaitable[bytes]]) -> None:
        super().__init__()
        self._write = write

    def render_GET(self, request: Request) -> int:
        """Answer; the page may have to wait for the store."""
        gone: list[Failure] = []
        request.notifyFinish().addErrback(lambda failure: gone.append(failure))

        async def answer() -> None:
            try:
                page = await self._write(request)
            except Exception:
                # What scrapes us must get an answer, whatever went wrong.
                _log.failure("could not write a page")
                page = _text(request, 500, "Something went wrong; the log has the details.")
            if not gone:
                request.write(page)
                request.finish()

        Deferred.fromCoroutine(answer())
        return NOT_DONE_YET


class Health:
    """
    The three pages.

    Readiness is about ourselves (store and listeners), not about the links to peers: a load
    balancer that took us out because an XMPP server restarts would make things worse.
    """

    def __init__(self, bridge: IBridge, clock: IReactorTime) -> None:
        self._bridge = bridge
        self._clock = clock

    async def alive(self, request: IRequest) -> bytes:
        """Answer, which is the proof."""
        return _text(request, 200, "ok")

    async def ready(self, request: IRequest) -> bytes:
        """Say what is not open yet."""
        unready = self._bridge.unready()
        return _text(request, 503, unready) if unready else _text(request, 200, "ready")

    async def metrics(self, request: IRequest, exposition: Exposition) -> bytes:
        """Show all numbers; without the queue's when the store does not answer."""
        depths = None
        unready = self._bridge.unready()
        try:
            depths = await self._bridge.depths()
        except TemporaryFailure:
            pass  # `smsbridge_store_up` says so
        except Exception:
            # A scrape must still show the rest: this is when somebody wants to see it.
            _log.failure("could not read the queue's depth for the metrics")
        page = exposition.render(
            Snapshot(
                ready=not unready,
                now_ms=int(self._clock.seconds() * 1000),
                lines=self._bridge.lines(),
                links=self._bridge.links(),
                lanes=self._bridge.lanes(),
                depths=depths,
            )
        )
        request.setHeader(b"Content-Type", CONTENT_TYPE_LATEST.encode("ascii"))
        return page


def _text(request: IRequest, code: int, text: str) -> bytes:
    request.setResponseCode(code)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Cache-Control", b"no-store")
    return text.encode("utf-8") + b"\n"


def health_mounts(
    bridge: IBridge, clock: IReactorTime, exposition: Exposition | None
) -> Mapping[str, IResource]:
    """
    Return what `site.http_site` mounts for health.

    :param exposition: None leaves ``/metrics`` out.
    """
    health = Health(bridge, clock)
    mounts: dict[str, IResource] = {"healthz": Page(health.alive), "readyz": Page(health.ready)}
    if exposition is not None:
        mounts["metrics"] = Page(lambda request: health.metrics(request, exposition))
    return mounts
