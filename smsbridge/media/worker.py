"""
Makes small pictures in a process of its own: ``python -m smsbridge.media.worker``.

Pillow keeps the interpreter to itself while it decodes and encodes, so that in a thread of the
daemon one large picture would hold up all texts for a second.  Here it holds up nobody, and what it
takes of memory is given back with the process; a picture that makes a decoder crash or grow beyond
its bounds takes this process along and nothing else.

One JSON object a line comes in: ``do`` (``thumbnail`` or ``fit``), ``path``, ``to`` (a file to be
made) and ``limit``.  One goes out for each: ``made`` (whether there is a picture) or ``error``.  It
ends with its input.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from contextlib import suppress
from pathlib import Path
from typing import Any, Final

from smsbridge.media import pictures

__all__ = ["answer", "main"]

_MOST_MEMORY_BYTES: Final = 1536 * 1024**2
_NICER: Final = 5


def answer(request: dict[str, Any]) -> dict[str, Any]:
    """Do what a request says and return what is answered."""
    path = Path(request["path"])
    try:
        if request["do"] == "thumbnail":
            data = pictures.thumbnail(path)
        else:
            made = pictures.fitted(path, int(request["limit"]))
            if made is None:
                return {"made": False}
            data = made[0]
    except pictures.TooManyPixels as e:
        return {"error": "pixels", "text": str(e)}
    except pictures.BadPicture as e:
        return {"error": "bad", "text": str(e)}
    descriptor = os.open(request["to"], os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    with open(descriptor, "wb") as file:
        file.write(data)
    return {"made": True}


def main() -> None:
    """Answer until the input ends."""
    # Where the system forbids one of these, pictures are made all the same.
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_AS, (_MOST_MEMORY_BYTES, _MOST_MEMORY_BYTES))
    with suppress(OSError, ValueError):
        resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    with suppress(OSError):
        os.nice(_NICER)
    for line in sys.stdin.buffer:
        sys.stdout.buffer.write(json.dumps(answer(json.loads(line))).encode("ascii") + b"\n")
        sys.stdout.buffer.flush()


if __name__ == "__main__":
    main()
