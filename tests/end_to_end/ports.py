"""Ports for servers that must be told theirs before they listen."""

from __future__ import annotations

import random
import socket
from typing import Final

__all__ = ["free_port"]

# Below the range from which Linux takes the ports of outgoing connections: one of those could get
# the port before the server does. None is given out twice.
_PORTS: Final = iter(random.sample(range(20_000, 32_000), 12_000))


def free_port() -> int:
    """Return a TCP port of the loopback interface that nobody listens on now."""
    for port in _PORTS:
        with socket.socket() as probe:
            try:
                probe.bind(("127.0.0.1", port))
            except OSError:
                continue
            return port
    raise OSError("no port is left")
