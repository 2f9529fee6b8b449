"""Plain integers about what happened; cheap on the hot path, shown by `smsbridge.metrics`."""

from __future__ import annotations

from collections import defaultdict
from typing import Final

from attrs import define, field

__all__ = ["COMMIT_SECONDS_EDGES", "COMMIT_SIZE_EDGES", "Counts"]

#: Up to how many pieces the commits of each bucket have; one more bucket holds the rest.
COMMIT_SIZE_EDGES: Final = (1, 4, 16, 64, 256, 1024, 4096)
#: Up to how many seconds they take.
COMMIT_SECONDS_EDGES: Final = (0.001, 0.002, 0.005, 0.01, 0.05, 0.1, 1.0)


def _zeros() -> defaultdict[str, int]:
    return defaultdict(int)


def _pairs() -> defaultdict[tuple[str, str], int]:
    return defaultdict(int)


@define
class Counts:
    """
    What happened since the start, written where it happens: ``counts.accepted[gateway] += 1``.

    The keys are labels of gateways (an empty one is the operator), reasons and statuses.
    """

    accepted: defaultdict[str, int] = field(factory=_zeros)
    repeated: defaultdict[str, int] = field(factory=_zeros)  # the peer sent it again
    refused: defaultdict[tuple[str, str], int] = field(factory=_pairs)  # (gateway, reason)
    settled: defaultdict[tuple[str, str], int] = field(factory=_pairs)  # (gateway, status)
    retried: defaultdict[tuple[str, str], int] = field(factory=_pairs)  # (gateway, reason)
