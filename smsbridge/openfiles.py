"""
Raises how many files and connections this process may have open.

A shell mostly gives 1024, of which thousands of browsers that listen for events would leave none
for the database; a service manager gives what its unit says.  The hard limit is not touched.
"""

from __future__ import annotations

from collections.abc import Callable
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit, setrlimit
from typing import Final

from twisted.logger import Logger

__all__ = ["MOST_OPEN_FILES", "raise_open_files"]

#: More than that is of no use here, and some systems give a million.
MOST_OPEN_FILES: Final = 65_536

_log = Logger()


def raise_open_files(
    get_limits: Callable[[int], tuple[int, int]] = getrlimit,
    set_limits: Callable[[int, tuple[int, int]], None] = setrlimit,
) -> None:
    """Raise the limit to the hard one, at most `MOST_OPEN_FILES`; never lower it."""
    soft, hard = get_limits(RLIMIT_NOFILE)
    wanted = MOST_OPEN_FILES if hard == RLIM_INFINITY else min(hard, MOST_OPEN_FILES)
    if soft == RLIM_INFINITY or soft >= wanted:
        return
    try:
        set_limits(RLIMIT_NOFILE, (wanted, hard))
    except (OSError, ValueError) as e:
        # Some systems have a lower limit of their own; what there is may be enough.
        _log.warn(
            "the limit of open files stays at {soft}, it could not be raised to {wanted}: {reason}",
            soft=soft,
            wanted=wanted,
            reason=str(e),
        )
