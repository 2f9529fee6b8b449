"""
Where a name leads, whether we go there, and the connection to exactly the address that was judged.

Whoever sends a text, a webhook's address or a subscription names hosts that we then connect to.  So
every address that a name has is judged, and the connection goes to the one that was: a second look
into the DNS could answer otherwise.
"""

from __future__ import annotations

import ipaddress
import socket
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import TCP4ClientEndpoint, TCP6ClientEndpoint, wrapClientTLS
from twisted.internet.error import DNSLookupError
from twisted.internet.ssl import optionsForClientTLS
from twisted.internet.threads import deferToThreadPool
from twisted.web.client import URI

__all__ = ["NotAllowed", "Outside", "Resolve", "is_allowed"]

#: Names a host: returns its addresses.
Resolve = Callable[[str], Deferred[list[str]]]

_Address = ipaddress.IPv4Address | ipaddress.IPv6Address
_NAT64: Final = ipaddress.ip_network("64:ff9b::/96")
_NAT64_LOCAL: Final = ipaddress.ip_network("64:ff9b:1::/48")
_COMPATIBLE: Final = ipaddress.ip_network("::/96")


def is_allowed(address: str, private_too: bool) -> bool:
    """
    Tell whether an address that a stranger named may be connected to.

    :param private_too: as ``allow_private_media`` says. Link-local addresses stay out all the same:
        at 169.254.169.254 clouds tell their secrets.
    """
    try:
        found: _Address = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return False
    if isinstance(found, ipaddress.IPv6Address):
        inner = _inner(found)
        if inner is not None:
            found = inner
    if found.is_multicast or found.is_unspecified or found.is_link_local:
        return False
    if private_too:
        return True
    return found.is_global and not found.is_private and not found.is_reserved


def _inner(address: ipaddress.IPv6Address) -> ipaddress.IPv4Address | None:
    """Return the IPv4 address to which an IPv6 address leads, where it does."""
    for inner in (address.ipv4_mapped, address.sixtofour):
        if inner is not None:
            return inner
    if address.teredo is not None:
        return address.teredo[1]
    if address in _NAT64 or address in _NAT64_LOCAL:
        return ipaddress.IPv4Address(int(address) & 0xFFFFFFFF)
    if address in _COMPATIBLE and int(address) > 1:
        return ipaddress.IPv4Address(int(address))
    return None


class NotAllowed(Exception):
    """A name leads to an address that must not be connected to."""


class Outside:
    """
    Finds addresses and connects to them.

    :param resolve: by default the system's resolver, asked in a thread.
    :param trust_root: whose certificates are believed; by default the system's.
    """

    def __init__(
        self, reactor: Any, resolve: Resolve | None = None, trust_root: Any = None
    ) -> None:
        self._reactor = reactor
        self._resolve = resolve or self._ask_system
        self._trust_root = trust_root

    async def address(self, host: str, allowed: Callable[[str], bool]) -> str:
        """
        Return the address to connect to.

        :param allowed: judges an address, such as `is_allowed`.
        :raises DNSLookupError: there is no such host.
        :raises NotAllowed: one of its addresses is not allowed; an honest name has none.
        """
        try:
            ipaddress.ip_address(host)
            found = [host]
        except ValueError:
            try:
                found = await self._resolve(host)
            except (OSError, DNSLookupError, UnicodeError) as e:
                raise DNSLookupError(f"there is no host {host} ({e})") from None
        if not found:
            raise DNSLookupError(f"there is no host {host}")
        if not all(map(allowed, found)):
            raise NotAllowed(host)
        # Few machines have IPv6 that works and no IPv4.
        return min(found, key=lambda address: ":" in address)

    def endpoint(self, uri: URI, address: str, timeout_s: float) -> Any:
        """Return an endpoint of that address; TLS still asks for the name's certificate."""
        kind = TCP6ClientEndpoint if ":" in address else TCP4ClientEndpoint
        endpoint: Any = kind(self._reactor, address, uri.port, timeout=timeout_s)
        if uri.scheme != b"https":
            return endpoint
        name = uri.host.decode("ascii").strip("[]")
        return wrapClientTLS(optionsForClientTLS(name, trustRoot=self._trust_root), endpoint)

    def _ask_system(self, host: str) -> Deferred[list[str]]:
        def look_up() -> list[str]:
            found = socket.getaddrinfo(host, None, type=socket.SOCK_STREAM)
            return [str(entry[4][0]) for entry in found]

        pool = self._reactor.getThreadPool()
        asking: Deferred[list[str]] = deferToThreadPool(self._reactor, pool, look_up)
        return asking
