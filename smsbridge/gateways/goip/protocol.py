"""
The UDP socket of a GoIP gateway: datagrams in become events, answers leave as datagrams.

It decides nothing: what an event means is the gateway's business.
"""

from __future__ import annotations

import socket
from collections.abc import Callable
from typing import Any, Protocol

from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from smsbridge.gateways.goip import codec

__all__ = ["Address", "GoipProtocol", "Receiver"]

#: Host and port of a peer.
Address = tuple[str, int]

#: A thousand channels that all report at once must fit while the reactor is busy elsewhere.
RECEIVE_BUFFER_BYTES = 8 * 1024 * 1024


class Receiver(Protocol):
    """Who takes what arrives."""

    def event(self, event: codec.Event, address: Address, socket: GoipProtocol) -> None:
        """Take one datagram that was understood."""

    def malformed(self, address: Address, error: codec.MalformedDatagram) -> None:
        """Take note of one that was not; called for every one of a flood, so it must be cheap."""


class GoipProtocol(DatagramProtocol):
    """Read and write datagrams; nothing raises out of it."""

    log = Logger()
    noisy = False  # the gateway says itself where it listens

    def __init__(self, receiver: Receiver) -> None:
        self._event = receiver.event
        self._malformed = receiver.malformed
        self._decode: Callable[[bytes], codec.Event] = codec.decode
        self.lost = 0  # datagrams that the system would not take
        self._write: Callable[[bytes, Address], Any] | None = None

    def startProtocol(self) -> None:
        """Raise the receive buffer as far as the system allows."""
        transport: Any = self.transport
        self._write = transport.write
        handle: Any = getattr(transport, "getHandle", lambda: None)()
        if handle is None:
            return
        # The transport looks at every address anew, to tell names from numbers; ours came from
        # the socket.
        self._write = handle.sendto
        # The forced variant passes the system's limit and is for root alone.
        for option in (getattr(socket, "SO_RCVBUFFORCE", None), socket.SO_RCVBUF):
            if option is None:
                continue
            try:
                handle.setsockopt(socket.SOL_SOCKET, option, RECEIVE_BUFFER_BYTES)
                return
            except OSError:
                continue

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        """Decode a datagram and hand it on."""
        try:
            event = self._decode(datagram)
        except codec.MalformedDatagram as e:
            self._malformed(addr, e)
            return
        try:
            self._event(event, addr, self)
        except Exception:
            # One datagram must not close the socket for all the others.
            self.log.failure("could not handle a datagram from {peer}", peer=addr)

    def send(self, datagram: bytes, address: Address) -> None:
        """
        Write a datagram if there is a socket and the system takes it.

        UDP may lose datagrams anyway, and every conversation has its repeats; so a full buffer or
        an unreachable network is counted and otherwise passed over.
        """
        if self.transport is None or self._write is None:
            self.lost += 1
            return
        try:
            self._write(datagram, address)
        except OSError:
            self.lost += 1
