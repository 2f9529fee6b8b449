"""
The brakes on guessing: who fails waits longer each time, and is not even listened to meanwhile.

An attempt counts as failed from its beginning, until it is known to have succeeded; otherwise a
hundred attempts at once would all pass.  What is remembered is bounded, and forgotten after a time.
"""

from __future__ import annotations

import ipaddress
from collections import OrderedDict
from collections.abc import Callable, Hashable
from typing import Final

from attrs import define, field

__all__ = ["Brake", "Braked", "network_of"]

_MOST_REMEMBERED: Final = 20_000


class Braked(Exception):
    """
    Not now: too many attempts failed.

    :ivar retry_after_s: when the next one is listened to.
    """

    def __init__(self, retry_after_s: float) -> None:
        super().__init__(f"too many failed attempts; the next is possible in {retry_after_s:.0f} s")
        self.retry_after_s = retry_after_s


@define
class _Count:
    failures: int = 0
    last_s: float = 0.0
    until_s: float = 0.0


@define
class Brake:
    """
    Delays that double with each failure beyond the free ones, for each key apart.

    :param seconds: a clock that never goes back.
    :param free: how many failures cost nothing.
    :param longest_s: the delay grows up to this.
    :param forget_s: a key is forgotten when nothing failed for so long.
    """

    seconds: Callable[[], float]
    free: int
    first_s: float = 1.0
    longest_s: float = 900.0
    forget_s: float = 3600.0
    most: int = _MOST_REMEMBERED
    _counts: OrderedDict[Hashable, _Count] = field(factory=OrderedDict, init=False)

    def wait_s(self, key: Hashable) -> float:
        """Return how long the next attempt has to wait; 0 if it need not."""
        count = self._counts.get(key)
        if count is None:
            return 0.0
        now_s = self.seconds()
        if now_s - count.last_s > self.forget_s:
            del self._counts[key]
            return 0.0
        return max(0.0, count.until_s - now_s)

    def begin(self, key: Hashable) -> float:
        """Count an attempt as failed; returns what `forgive` wants."""
        now_s = self.seconds()
        count = self._counts.setdefault(key, _Count())
        before_s = count.until_s
        self._counts.move_to_end(key)
        count.failures += 1
        count.last_s = now_s
        beyond = count.failures - self.free
        if beyond > 0:
            # The exponent is bounded: floats overflow, and nobody waits longer than the longest.
            delay_s = min(self.longest_s, self.first_s * 2.0 ** min(beyond - 1, 30))
            count.until_s = now_s + delay_s
        while len(self._counts) > self.most:
            self._counts.popitem(last=False)
        return before_s

    def forgive(self, key: Hashable, begun: float) -> None:
        """Take back an attempt that succeeded after all; the failures before it still count."""
        count = self._counts.get(key)
        if count is None:
            return
        count.failures -= 1
        count.until_s = begun
        if count.failures <= 0:
            del self._counts[key]

    def forget(self, key: Hashable) -> None:
        """Forget all failures of a key."""
        self._counts.pop(key, None)

    def __len__(self) -> int:
        return len(self._counts)


def network_of(address: str) -> str:
    """
    Return what stands for an address at a brake: an IPv6 customer has 2**64 of them or more.

    :param address: as text; anything else than an IPv6 address is returned as it is.
    """
    try:
        parsed = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address
    if parsed.version == 4:
        return str(parsed)
    if parsed.ipv4_mapped is not None:
        return str(parsed.ipv4_mapped)
    return str(ipaddress.ip_network((parsed, 64), strict=False))
