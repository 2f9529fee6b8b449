"""Plain integers about what happened; cheap on the hot path, shown by `smsbridge.metrics`."""

from __future__ import annotations

from collections import defaultdict

from attrs import define, field

__all__ = ["Counts"]


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
