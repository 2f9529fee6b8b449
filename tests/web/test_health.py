"""Tests of `smsbridge.web.health`."""

from __future__ import annotations

from treq.testing import StubTreq
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.counts import Counts
from smsbridge.errors import TemporaryFailure
from smsbridge.metrics import Exposition
from smsbridge.store.writer import WriterStatistics
from smsbridge.web.health import health_mounts
from smsbridge.web.site import http_site
from tests.web.bridge import START_MS, FakeBridge


class HealthTests(SynchronousTestCase):
    """What machines look at."""

    def setUp(self) -> None:
        """Serve the pages of a bridge in memory."""
        self.bridge = FakeBridge()
        clock = Clock()
        clock.advance(START_MS / 1000 + 60)
        exposition = Exposition(Counts(), WriterStatistics)
        mounts = health_mounts(self.bridge, clock, exposition)
        self.treq = StubTreq(http_site(mounts).resource)
        self.without = StubTreq(http_site(health_mounts(self.bridge, clock, None)).resource)

    def get(self, path: str, treq: StubTreq | None = None) -> tuple[int, str]:
        """Return status and text of a page."""
        treq = treq or self.treq
        response = self.successResultOf(
            treq.get("http://bridge.test" + path, allow_redirects=False)
        )
        return response.code, self.successResultOf(treq.content(response)).decode()

    def test_healthz_answers_while_the_process_does(self) -> None:
        """Health does not depend on anything."""
        self.bridge.not_ready = "The database is not open."

        self.assertEqual(self.get("/healthz"), (200, "ok\n"))

    def test_readyz_says_what_is_missing(self) -> None:
        """Readiness is refused with the reason, and granted without."""
        self.bridge.not_ready = "The database is not open."
        self.assertEqual(self.get("/readyz"), (503, "The database is not open.\n"))

        self.bridge.not_ready = ""
        self.assertEqual(self.get("/readyz"), (200, "ready\n"))

    def test_metrics_show_what_waits(self) -> None:
        """The queue's depth and age come from the store."""
        self.bridge.add("hello")

        code, page = self.get("/metrics")

        self.assertEqual(code, 200)
        self.assertIn('smsbridge_queue_deliveries{gateway="box",status="queued"} 1.0', page)
        self.assertIn('smsbridge_queue_oldest_seconds{gateway="box",status="queued"} 60.0', page)
        self.assertIn("smsbridge_ready 1.0", page)

    def test_metrics_survive_a_store_that_is_away(self) -> None:
        """Without the store the other numbers are still shown."""
        for error in (TemporaryFailure("peer-down"), ZeroDivisionError()):
            self.bridge.broken = error

            code, page = self.get("/metrics")

            self.assertEqual(code, 200)
            self.assertIn("smsbridge_store_up 0.0", page)
            self.assertIn('smsbridge_link_up{gateway="box",kind="goip"} 1.0', page)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_metrics_can_be_left_out(self) -> None:
        """Without an exposition there is no such page."""
        self.assertEqual(self.get("/metrics", self.without)[0], 404)
        self.assertEqual(self.get("/healthz", self.without)[0], 200)

    def test_other_paths_are_404(self) -> None:
        """Nothing lies below these pages."""
        for path in ("/healthz/x", "/metrics/x", "/"):
            self.assertEqual(self.get(path)[0], 404, path)
