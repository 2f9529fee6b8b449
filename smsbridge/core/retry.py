"""
When a refused attempt is made again: growing delays with jitter, until the delivery's time is over.
"""

from __future__ import annotations

from typing import Final

__all__ = ["delay_s"]

_FIRST_S: Final = 10.0
_LONGEST_S: Final = 1800.0


def delay_s(attempt: int, chance: float, asked_s: float | None = None) -> float:
    """
    Return how many seconds to wait after a failed attempt.

    The delay doubles from 10 s up to half an hour; a random quarter of it is taken off, so that
    what failed together does not come back together.

    :param attempt: how many attempts there have been, from 1.
    :param chance: a random number of [0, 1).
    :param asked_s: what the peer asked for; it is never undercut.
    """
    delay = min(_FIRST_S * 2.0 ** min(max(attempt, 1) - 1, 20), _LONGEST_S)
    delay *= 1.0 - 0.25 * chance
    return max(delay, asked_s) if asked_s is not None else delay
