"""
What twistd loads: `smsbridge.tap`, with the garbage collector off until everything stands.

What is imported and built at the start stays for good; looking through it again and again for
garbage took a fifth of the time to start.  The root service switches the collector on.
"""

import gc

gc.disable()

from smsbridge.tap import Options, makeService  # noqa: E402

__all__ = ["Options", "makeService"]
