"""
Keeps senders within what they may send: token buckets, daily caps and a stop for endless echoes.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable
from typing import Final

from attrs import define

__all__ = ["DailyCount", "EchoGuard", "TokenBuckets"]

_DAY_MS: Final = 86_400_000
_MOST_PAIRS: Final = 10_000


@define
class _Bucket:
    tokens: float
    filled_at: float


class TokenBuckets:
    """
    One token bucket for each key.

    :param seconds: a clock that never goes back.
    """

    def __init__(self, seconds: Callable[[], float]) -> None:
        self._seconds = seconds
        self._buckets: dict[str, _Bucket] = {}

    def wait_s(
        self, key: str, rate: float, burst: int, amount: int = 1, take: bool = True
    ) -> float:
        """
        Take `amount` tokens, or return how many seconds until they are there (and take none).

        :param rate: tokens a second; 0 means no limit.
        :param burst: the most tokens that can be saved; a larger `amount` may take a full bucket.
        :param take: False only asks.
        """
        if rate <= 0:
            return 0.0
        now = self._seconds()
        bucket = self._buckets.get(key)
        if bucket is None:
            bucket = self._buckets[key] = _Bucket(float(burst), now)
        bucket.tokens = min(float(burst), bucket.tokens + (now - bucket.filled_at) * rate)
        bucket.filled_at = now
        needed = min(amount, burst)
        if bucket.tokens >= needed:
            if take:
                bucket.tokens -= amount
            return 0.0
        return (needed - bucket.tokens) / rate


class DailyCount:
    """Counts the segments that each line sent today (UTC)."""

    def __init__(self) -> None:
        self._day = -1
        self._counts: dict[str, int] = {}

    def load(self, now_ms: int, counts: dict[str, int]) -> None:
        """Take the counts of the day of `now_ms` from the store."""
        for line, count in counts.items():
            self.add(line, count, now_ms)

    def of(self, line: str, now_ms: int) -> int:
        """Return how many segments the line sent today."""
        self._turn(now_ms)
        return self._counts.get(line, 0)

    def add(self, line: str, segments: int, now_ms: int) -> None:
        """Count segments; a negative number takes back what was counted at that time."""
        if self._turn(now_ms):
            self._counts[line] = self._counts.get(line, 0) + segments

    def _turn(self, now_ms: int) -> bool:
        """Begin a new day if it is one; False for a time before the day that has begun."""
        day = now_ms // _DAY_MS
        if day > self._day:
            self._day = day
            self._counts.clear()
        return day == self._day


class EchoGuard:
    """
    Stops two automatic senders that keep answering each other with the same text.

    :param most: how many times a minute the same text may go the same way.
    """

    def __init__(self, seconds: Callable[[], float], most: int = 10) -> None:
        self._seconds = seconds
        self._most = most
        self._seen: OrderedDict[tuple[str, str, int], tuple[float, int]] = OrderedDict()

    def times_lately(self, sender: str, recipient: str, body: str) -> int:
        """Return how often this text went this way within the minute."""
        began, count = self._seen.get((sender, recipient, hash(body)), (0.0, 0))
        return count if self._seconds() - began <= 60.0 else 0

    def is_too_often(self, times: int) -> bool:
        """Tell whether a text that went the same way so many times may not go again."""
        return times >= self._most

    def goes_round(self, sender: str, recipient: str, body: str) -> bool:
        """Count one text; True when it went the same way too often within a minute."""
        key = (sender, recipient, hash(body))
        now = self._seconds()
        began, count = self._seen.get(key, (now, 0))
        if now - began > 60.0:
            began, count = now, 0
        self._seen[key] = (began, count + 1)
        self._seen.move_to_end(key)
        if len(self._seen) > _MOST_PAIRS:
            self._seen.popitem(last=False)
        return count + 1 > self._most
