"""The socket of a GoIP gateway."""

from __future__ import annotations

import socket
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.protocol import Address, GoipProtocol


class Ear:
    """A receiver that only listens."""

    def __init__(self) -> None:
        self.events: list[Any] = []
        self.malformed_count = 0
        self.heard: Deferred[None] = Deferred()

    def event(self, event: codec.Event, address: Address, socket: GoipProtocol) -> None:
        """See `protocol.Receiver`."""
        self.events.append(event)
        if not self.heard.called:
            self.heard.callback(None)

    def malformed(self, address: Address, error: codec.MalformedDatagram) -> None:
        """See `protocol.Receiver`."""
        self.malformed_count += 1


class FullTransport:
    """A transport whose system takes nothing."""

    def write(self, datagram: bytes, address: Address) -> None:
        """Fail as a full buffer does."""
        raise BlockingIOError(11, "Resource temporarily unavailable")


class GoipProtocolTests(SynchronousTestCase):
    """Datagrams to events and back."""

    def test_good_and_bad_datagrams_are_told_apart(self) -> None:
        """Neither raises."""
        ear = Ear()
        protocol = GoipProtocol(ear)

        for datagram in (b"DONE 1\n", b"\xff", b""):
            protocol.datagramReceived(datagram, ("192.0.2.10", 1))

        self.assertEqual((len(ear.events), ear.malformed_count), (1, 2))

    def test_what_the_system_does_not_take_is_counted(self) -> None:
        """A lost datagram is nothing special with UDP."""
        protocol = GoipProtocol(Ear())
        protocol.send(b"x", ("192.0.2.10", 1))
        protocol.transport = FullTransport()
        protocol.send(b"x", ("192.0.2.10", 1))

        self.assertEqual(protocol.lost, 2)


class SocketTests(TestCase):
    """On a real socket."""

    def test_receive_buffer_is_raised(self) -> None:
        """A burst of a thousand channels must fit; and a large text arrives whole."""
        ear = Ear()
        protocol = GoipProtocol(ear)
        listening = reactor.listenUDP(  # type: ignore[attr-defined]
            0, protocol, interface="127.0.0.1", maxPacketSize=codec.MAX_DATAGRAM_BYTES
        )
        self.addCleanup(listening.stopListening)
        plain = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
        self.addCleanup(plain.close)

        raised = listening.getHandle().getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF)
        plain.sendto(
            b"RECEIVE:1;id:a;password:b;srcnum:1;msg:" + b"x" * 20000,
            ("127.0.0.1", listening.getHost().port),
        )

        self.assertGreater(raised, plain.getsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF))
        return ear.heard.addCallback(lambda _: self.assertEqual(len(ear.events[0].text), 20000))
