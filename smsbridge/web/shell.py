"""
Turns the service worker's source and the page's files into the service worker that is served.

The worker keeps the page's files for times without the network.  It has to know their names, and
its own text has to change whenever one of them does, or browsers would stay with the old page.
Nothing here reads a file or serves one.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping

__all__ = ["WORKER_NAME", "stamped"]

#: The name of the service worker below the static folder; it is served as ``/sw.js``.
WORKER_NAME = "sw.js"

# Small bitmaps that a page or a notification shows; the large ones only an installer asks for.
_BITMAPS = frozenset({"icons/icon-192.png", "icons/badge-96.png"})
_SUFFIXES = (".js", ".css", ".svg")
_PLACEHOLDER = re.compile(rb"^const SHELL = .*;$", re.MULTILINE)


def stamped(worker: bytes, files: Mapping[str, bytes]) -> bytes:
    """
    Return the service worker with the addresses of the page's files and a hash of their content.

    :param worker: the source, with one line ``const SHELL = ...;``.
    :param files: the static folder: names below it with slashes, and contents.
    """
    content = hashlib.sha256(worker)
    addresses = ["/", "/manifest.webmanifest"]
    for name in sorted(files):
        if not _belongs(name):
            continue
        content.update(name.encode() + b"\0")
        content.update(hashlib.sha256(files[name]).digest())
        if name.endswith((".html", ".webmanifest")):
            continue
        addresses.append(f"/static/{name}")
    shell = {"version": content.hexdigest()[:16], "files": addresses}
    line = b"const SHELL = " + json.dumps(shell).encode() + b";"
    return _PLACEHOLDER.sub(lambda _: line, worker, count=1)


def _belongs(name: str) -> bool:
    if name == WORKER_NAME:
        return False
    if name in {"index.html", "manifest.webmanifest"} or name in _BITMAPS:
        return True
    return name.endswith(_SUFFIXES)
