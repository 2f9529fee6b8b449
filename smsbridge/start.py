"""
What twistd loads: `smsbridge.tap`, after two settings of the process that must come first.

The garbage collector is off until everything stands: what is imported and built at the start stays
for good, and looking through it again and again took a fifth of the time.  The root service
switches it on.  And glibc's allocator gives memory back: threads that read large answers would
otherwise each keep what the largest one took (20 MB of 165 with a long history).
"""

import ctypes
import gc

_M_TRIM_THRESHOLD = -1
_M_ARENA_MAX = -8

gc.disable()
mallopt = getattr(ctypes.CDLL(None), "mallopt", None)  # other C libraries have none
if mallopt is not None:
    mallopt(_M_ARENA_MAX, 1)
    mallopt(_M_TRIM_THRESHOLD, 256 * 1024)

from smsbridge.tap import Options, makeService  # noqa: E402

__all__ = ["Options", "makeService"]
