"""Tests of `smsbridge.metrics`."""

from __future__ import annotations

from prometheus_client.parser import text_string_to_metric_families
from twisted.trial.unittest import SynchronousTestCase

from smsbridge import metrics
from smsbridge.core.counts import Counts
from smsbridge.core.message import Status
from smsbridge.core.records import LineStatus, LinkStatus, QueueDepth
from smsbridge.media.store import MediaStatistics
from smsbridge.metrics import Exposition, Snapshot
from smsbridge.store import writer
from smsbridge.store.writer import WriterStatistics


def values(page: bytes) -> dict[str, float]:
    """Read a page as Prometheus would: sample with its labels to value."""
    found = {}
    for family in text_string_to_metric_families(page.decode("utf-8")):
        for sample in family.samples:
            labels = ",".join(f"{name}={value}" for name, value in sorted(sample.labels.items()))
            found[f"{sample.name}{{{labels}}}" if labels else sample.name] = sample.value
    return found


class ExpositionTests(SynchronousTestCase):
    """The page that Prometheus reads."""

    def setUp(self) -> None:
        """Make an exposition of made-up numbers."""
        self.counts = Counts()
        self.commits = WriterStatistics()
        self.exposition = Exposition(self.counts, lambda: self.commits)

    def test_files_are_shown_where_there_is_a_media_store(self) -> None:
        """How many, how much, and how much there may be."""
        self.assertNotIn("smsbridge_media_files", self.read())
        self.exposition.files = lambda: MediaStatistics(files=3, bytes=500, cap=1000)

        found = self.read()

        self.assertEqual(
            [found[f"smsbridge_media_{name}"] for name in ("files", "bytes", "cap_bytes")],
            [3, 500, 1000],
        )

    def read(self, snapshot: Snapshot | None = None) -> dict[str, float]:
        """Return the values of the page."""
        return values(self.exposition.render(snapshot or Snapshot(ready=True, now_ms=0)))

    def test_counts_are_shown_by_gateway(self) -> None:
        """What the core counted appears with its labels."""
        self.counts.accepted["box"] += 3
        self.counts.repeated["box"] += 1
        self.counts.refused["xmpp", "throttled"] += 2
        self.counts.settled["box", "delivered"] += 4
        self.counts.retried["box", "line-down"] += 5

        found = self.read()

        self.assertEqual(found["smsbridge_messages_accepted_total{gateway=box}"], 3)
        self.assertEqual(found["smsbridge_messages_repeated_total{gateway=box}"], 1)
        self.assertEqual(
            found["smsbridge_messages_refused_total{gateway=xmpp,reason=throttled}"], 2
        )
        self.assertEqual(found["smsbridge_deliveries_total{gateway=box,status=delivered}"], 4)
        self.assertEqual(found["smsbridge_retries_total{gateway=box,reason=line-down}"], 5)

    def test_histograms_are_running_sums(self) -> None:
        """Each bucket of a histogram contains the smaller ones, the last one all."""
        self.commits.items = 30
        self.commits.seconds = 0.25
        self.commits.size_buckets[0] = 2
        self.commits.size_buckets[2] = 3
        self.commits.size_buckets[7] = 1
        self.commits.time_buckets[1] = 6

        found = self.read()

        self.assertEqual(found["smsbridge_commit_pieces_bucket{le=1.0}"], 2)
        self.assertEqual(found["smsbridge_commit_pieces_bucket{le=16.0}"], 5)
        self.assertEqual(found["smsbridge_commit_pieces_bucket{le=+Inf}"], 6)
        self.assertEqual(found["smsbridge_commit_pieces_count"], 6)
        self.assertEqual(found["smsbridge_commit_pieces_sum"], 30)
        self.assertEqual(found["smsbridge_commit_seconds_bucket{le=0.001}"], 0)
        self.assertEqual(found["smsbridge_commit_seconds_bucket{le=0.002}"], 6)
        self.assertEqual(found["smsbridge_commit_seconds_sum"], 0.25)

    def test_edges_are_those_of_the_writer(self) -> None:
        """The buckets that the store's writer fills have the edges that are shown."""
        self.assertEqual(metrics.COMMIT_SIZE_EDGES, writer._SIZE_EDGES)
        self.assertEqual(metrics.COMMIT_SECONDS_EDGES, writer._TIME_EDGES)

    def test_snapshot_is_shown(self) -> None:
        """Queue, lanes, links and lines are those of the moment."""
        found = self.read(
            Snapshot(
                ready=True,
                now_ms=90_000,
                depths=[
                    QueueDepth(gateway="box", status=Status.QUEUED, count=7, oldest_at_ms=30_000),
                    QueueDepth(gateway="box", status=Status.SENDING, count=0, oldest_at_ms=None),
                ],
                lanes={("box", "open"): 2},
                links=[LinkStatus(gateway="xmpp", kind="xmpp", up=False, state="refused")],
                lines=[
                    LineStatus(
                        line="2001",
                        gateway="box",
                        up=True,
                        state="ready",
                        number="+12025550100",
                        signal_dbm=-71,
                        sent_today=5,
                        daily_cap=10,
                    ),
                    LineStatus(line="2002", gateway="box", up=False, state="never seen"),
                ],
            )
        )

        for name, value in {
            "smsbridge_queue_deliveries{gateway=box,status=queued}": 7,
            "smsbridge_queue_deliveries{gateway=box,status=sending}": 0,
            "smsbridge_queue_oldest_seconds{gateway=box,status=queued}": 60,
            "smsbridge_lanes{gateway=box,state=open}": 2,
            "smsbridge_link_up{gateway=xmpp,kind=xmpp}": 0,
            "smsbridge_line_up{gateway=box,line=2001}": 1,
            "smsbridge_line_up{gateway=box,line=2002}": 0,
            "smsbridge_line_signal_dbm{gateway=box,line=2001}": -71,
            "smsbridge_line_sent_today{gateway=box,line=2001}": 5,
            "smsbridge_line_daily_cap{gateway=box,line=2001}": 10,
            "smsbridge_store_up": 1,
            "smsbridge_ready": 1,
        }.items():
            self.assertEqual(found[name], value, name)
        self.assertNotIn("smsbridge_line_signal_dbm{gateway=box,line=2002}", found)
        self.assertNotIn("smsbridge_queue_oldest_seconds{gateway=box,status=sending}", found)

    def test_no_number_of_a_telephone_is_shown(self) -> None:
        """The page is open to whoever reaches it, so it holds nothing private."""
        line = LineStatus(
            line="2001",
            gateway="box",
            up=True,
            state="ready",
            number="+12025550100",
            imsi="310150123456789",
        )

        page = self.exposition.render(Snapshot(ready=True, now_ms=0, lines=[line]))

        self.assertNotIn(b"2025550100", page)
        self.assertNotIn(b"310150123456789", page)

    def test_process_is_measured(self) -> None:
        """Memory and processor time of the process are there."""
        self.assertGreater(self.read()["process_resident_memory_bytes"], 1_000_000)
