"""
Numbers about the daemon for Prometheus.

The hot path adds plain integers in `Counts`, which one thread writes, so that a message costs a
fraction of a microsecond; everything else is read when somebody asks.  Numbers of telephones and
persons are no labels: there may be many of them, and they are private.
"""

from __future__ import annotations

import platform
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import accumulate
from typing import Protocol

from attrs import field, frozen
from prometheus_client import CollectorRegistry, GCCollector, ProcessCollector, generate_latest
from prometheus_client.core import CounterMetricFamily, GaugeMetricFamily, HistogramMetricFamily
from prometheus_client.metrics_core import Metric
from prometheus_client.registry import Collector

from smsbridge import __version__
from smsbridge.core.counts import COMMIT_SECONDS_EDGES, COMMIT_SIZE_EDGES, Counts
from smsbridge.core.records import LineStatus, LinkStatus, QueueDepth

__all__ = [
    "COMMIT_SECONDS_EDGES",
    "COMMIT_SIZE_EDGES",
    "CommitStatistics",
    "Exposition",
    "FileStatistics",
    "Snapshot",
]


class CommitStatistics(Protocol):
    """What the store's writer tells of its commits."""

    @property
    def items(self) -> int:
        """How many pieces were committed."""

    @property
    def seconds(self) -> float:
        """How long all commits together took."""

    @property
    def outages(self) -> int:
        """How often the database was out of reach."""

    @property
    def size_buckets(self) -> Sequence[int]:
        """How many commits had up to so many pieces, each counted once."""

    @property
    def time_buckets(self) -> Sequence[int]:
        """How many commits took up to so long, each counted once."""


class FileStatistics(Protocol):
    """What the media store tells of its files."""

    @property
    def files(self) -> int:
        """How many there are."""

    @property
    def bytes(self) -> int:
        """How much room they take."""

    @property
    def cap(self) -> int:
        """How much they may take."""


@frozen(kw_only=True)
class Snapshot:
    """What is so at the time of asking; `depths` is None when the store does not answer."""

    ready: bool
    now_ms: int
    lines: Sequence[LineStatus] = ()
    links: Sequence[LinkStatus] = ()
    lanes: Mapping[tuple[str, str], int] = field(factory=dict)
    depths: Sequence[QueueDepth] | None = None


class Exposition(Collector):
    """
    Turns counts and a snapshot into Prometheus' text format.

    :param commits: returns the statistics of the store's writer, which may be another after a
        reconnection.
    :ivar files: returns the statistics of the media store, once there is one.
    """

    def __init__(self, counts: Counts, commits: Callable[[], CommitStatistics]) -> None:
        self._counts = counts
        self._commits = commits
        self.files: Callable[[], FileStatistics] | None = None
        self._snapshot = Snapshot(ready=False, now_ms=0)
        self._registry = CollectorRegistry()
        ProcessCollector(registry=self._registry)
        GCCollector(registry=self._registry)
        self._registry.register(self)

    def describe(self) -> Iterable[Metric]:
        """Return nothing, so that registering does not collect."""
        return ()

    def render(self, snapshot: Snapshot) -> bytes:
        """Return the page that Prometheus reads."""
        self._snapshot = snapshot
        return generate_latest(self._registry)

    def collect(self) -> Iterator[Metric]:
        """Yield every family of numbers; called by the registry."""
        yield _gauge(
            "smsbridge_build_info",
            "The version that runs; always 1.",
            ("version", "python"),
            [((__version__, platform.python_version()), 1)],
        )
        yield _gauge(
            "smsbridge_ready",
            "Whether the store and all listeners are open.",
            (),
            [((), int(self._snapshot.ready))],
        )
        yield from self._counted()
        yield from self._committed()
        yield from self._waiting()
        yield from self._peers()
        if self.files is not None:
            yield from self._kept(self.files())

    @staticmethod
    def _kept(files: FileStatistics) -> Iterator[Metric]:
        for name, text, value in (
            ("smsbridge_media_files", "Files of attachments that are kept.", files.files),
            ("smsbridge_media_bytes", "Bytes that they take.", files.bytes),
            ("smsbridge_media_cap_bytes", "Bytes that they may take.", files.cap),
        ):
            yield _gauge(name, text, (), [((), value)])

    def _counted(self) -> Iterator[Metric]:
        counts = self._counts
        yield _counter(
            "smsbridge_messages_accepted",
            "Messages stored, by the gateway they came from; the operator's have none.",
            ("gateway",),
            (((gateway,), count) for gateway, count in counts.accepted.items()),
        )
        yield _counter(
            "smsbridge_messages_repeated",
            "Messages that a peer sent again and that were known already.",
            ("gateway",),
            (((gateway,), count) for gateway, count in counts.repeated.items()),
        )
        yield _counter(
            "smsbridge_messages_refused",
            "Messages refused at the door, by reason.",
            ("gateway", "reason"),
            counts.refused.items(),
        )
        yield _counter(
            "smsbridge_deliveries",
            "Deliveries that reached a status (sent, delivered, failed and so on).",
            ("gateway", "status"),
            counts.settled.items(),
        )
        yield _counter(
            "smsbridge_retries",
            "Attempts that failed and will be made again, by reason.",
            ("gateway", "reason"),
            counts.retried.items(),
        )

    def _committed(self) -> Iterator[Metric]:
        commits = self._commits()
        yield _histogram(
            "smsbridge_commit_pieces",
            "How many pieces one commit of the store had.",
            COMMIT_SIZE_EDGES,
            commits.size_buckets,
            commits.items,
        )
        yield _histogram(
            "smsbridge_commit_seconds",
            "How long one commit of the store took.",
            COMMIT_SECONDS_EDGES,
            commits.time_buckets,
            commits.seconds,
        )
        yield _counter(
            "smsbridge_store_outages",
            "How often the database was out of reach.",
            (),
            [((), commits.outages)],
        )

    def _waiting(self) -> Iterator[Metric]:
        snapshot = self._snapshot
        yield _gauge(
            "smsbridge_store_up",
            "Whether the store answers.",
            (),
            [((), int(snapshot.depths is not None))],
        )
        depths = snapshot.depths or ()
        yield _gauge(
            "smsbridge_queue_deliveries",
            "Deliveries that wait or are on their way, by status.",
            ("gateway", "status"),
            (((each.gateway, str(each.status)), each.count) for each in depths),
        )
        yield _gauge(
            "smsbridge_queue_oldest_seconds",
            "Age of the oldest delivery of a gateway in a status.",
            ("gateway", "status"),
            (
                (
                    (each.gateway, str(each.status)),
                    max(0, snapshot.now_ms - each.oldest_at_ms) / 1000,
                )
                for each in depths
                if each.oldest_at_ms is not None
            ),
        )
        yield _gauge(
            "smsbridge_lanes",
            "How many lanes of a gateway are open or closed.",
            ("gateway", "state"),
            snapshot.lanes.items(),
        )

    def _peers(self) -> Iterator[Metric]:
        lines, links = self._snapshot.lines, self._snapshot.links
        yield _gauge(
            "smsbridge_link_up",
            "Whether a gateway's link works.",
            ("gateway", "kind"),
            (((each.gateway, each.kind), int(each.up)) for each in links),
        )
        labels = ("gateway", "line")
        yield _gauge(
            "smsbridge_line_up",
            "Whether a line can send and receive.",
            labels,
            (((each.gateway, each.line), int(each.up)) for each in lines),
        )
        yield _gauge(
            "smsbridge_line_signal_dbm",
            "A line's signal.",
            labels,
            (
                ((each.gateway, each.line), each.signal_dbm)
                for each in lines
                if each.signal_dbm is not None
            ),
        )
        yield _gauge(
            "smsbridge_line_sent_today",
            "Text segments that a line sent today (in UTC).",
            labels,
            (((each.gateway, each.line), each.sent_today) for each in lines),
        )
        yield _gauge(
            "smsbridge_line_daily_cap",
            "Text segments that a line may send a day; lines without a cap are left out.",
            labels,
            (((each.gateway, each.line), each.daily_cap) for each in lines if each.daily_cap),
        )


_Samples = Iterable[tuple[tuple[str, ...], float]]


def _counter(name: str, text: str, labels: Sequence[str], samples: _Samples) -> Metric:
    family = CounterMetricFamily(name, text, labels=labels)
    for values, value in list(samples):
        family.add_metric(values, value)
    return family


def _gauge(name: str, text: str, labels: Sequence[str], samples: _Samples) -> Metric:
    family = GaugeMetricFamily(name, text, labels=labels)
    for values, value in list(samples):
        family.add_metric(values, value)
    return family


def _histogram(
    name: str, text: str, edges: Sequence[float], buckets: Sequence[int], total: float
) -> Metric:
    """Make a family from buckets that each count for themselves; Prometheus wants running sums."""
    family = HistogramMetricFamily(name, text)
    sums = list(accumulate(buckets))
    names = [*(str(float(edge)) for edge in edges), "+Inf"]
    family.add_metric((), list(zip(names, sums, strict=True)), sum_value=total)
    return family
