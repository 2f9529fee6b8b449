"""
The pages that machines look at: ``/healthz``, ``/readyz`` and ``/metrics``.

They are open to everyone who reaches the listener and hold no number of a telephone, no name of a
person and no text.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar

from klein import Klein
from prometheus_client import CONTENT_TYPE_LATEST
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource

from smsbridge.errors import TemporaryFailure
from smsbridge.metrics import Exposition, Snapshot
from smsbridge.web.bridge import IBridge

__all__ = ["Alive", "Metrics", "Ready", "health_mounts"]

_log = Logger()


class Alive:
    """``/healthz``: answers, which is the proof."""

    app: ClassVar[Klein] = Klein()

    @app.route("/", strict_slashes=False)
    def page(self, request: IRequest) -> bytes:
        """Answer."""
        return _text(request, 200, "ok")


class Ready:
    """
    ``/readyz``: says whether the daemon is ready.

    Readiness is about ourselves (store and listeners), not about the links to peers: a load
    balancer that took us out because an XMPP server restarts would make things worse.
    """

    app: ClassVar[Klein] = Klein()

    def __init__(self, bridge: IBridge) -> None:
        self._bridge = bridge

    @app.route("/", strict_slashes=False)
    def page(self, request: IRequest) -> bytes:
        """Say what is not open yet."""
        unready = self._bridge.unready()
        return _text(request, 503, unready) if unready else _text(request, 200, "ready")


class Metrics:
    """``/metrics`` for Prometheus."""

    app: ClassVar[Klein] = Klein()

    def __init__(self, bridge: IBridge, exposition: Exposition, clock: IReactorTime) -> None:
        self._bridge = bridge
        self._exposition = exposition
        self._clock = clock

    @app.route("/", strict_slashes=False)
    async def page(self, request: IRequest) -> bytes:
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
        page = self._exposition.render(
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
    mounts: dict[str, IResource] = {
        "healthz": Alive().app.resource(),
        "readyz": Ready(bridge).app.resource(),
    }
    if exposition is not None:
        mounts["metrics"] = Metrics(bridge, exposition, clock).app.resource()
    return mounts
