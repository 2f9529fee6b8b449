"""The stand-ins keep the interfaces of what they stand for, and refuse what that refuses."""

from __future__ import annotations

from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core.message import FromNetwork
from smsbridge.errors import TemporaryFailure
from smsbridge.interfaces import IInbox, ILanes
from tests.fakes import MemoryReactor, StubInbox, StubLanes


class InterfacesTests(SynchronousTestCase):
    """Each fake against its interface."""

    def test_fakes_keep_their_interfaces(self) -> None:
        """`verifyObject` finds every method with its arguments."""
        reactor = MemoryReactor()
        transport = reactor.listenUDP(0, DatagramProtocol())

        for interface, fake in (
            (IInbox, StubInbox()),
            (ILanes, StubLanes()),
            (IReactorTime, reactor),
            (IReactorUDP, reactor),
            (IUDPTransport, transport),
            (IListeningPort, transport),
        ):
            self.assertTrue(verifyObject(interface, fake))


class StubInboxTests(SynchronousTestCase):
    """The inbox that only remembers."""

    def test_commits_when_told(self) -> None:
        """Held back, nothing is there and nothing has fired."""
        inbox = StubInbox()
        inbox.held = True
        accepting = inbox.accept(FromNetwork(line="l1", sender="a", body="b"))

        self.assertNoResult(accepting)
        self.assertEqual(inbox.messages, [])
        inbox.commit()

        self.assertFalse(self.successResultOf(accepting).duplicate)
        self.assertEqual(len(inbox.messages), 1)

    def test_recognizes_repeats(self) -> None:
        """As the real one: the first message's id again, and nothing kept."""
        inbox = StubInbox()
        message = FromNetwork(line="l1", sender="a", body="b", dedup_key="k")

        first = self.successResultOf(inbox.accept(message))
        second = self.successResultOf(inbox.accept(message))

        self.assertEqual((second.message_id, second.duplicate), (first.message_id, True))
        self.assertEqual(len(inbox.messages), 1)

    def test_fails_when_told(self) -> None:
        """Every method fails with the given failure."""
        inbox = StubInbox()
        inbox.failure = TemporaryFailure("internal")

        self.failureResultOf(
            inbox.accept(FromNetwork(line="l1", sender="a", body="b")), TemporaryFailure
        )
        self.failureResultOf(inbox.learn("l1", {}), TemporaryFailure)


class MemoryReactorTests(SynchronousTestCase):
    """Datagrams in memory."""

    def test_datagrams_arrive_when_time_passes(self) -> None:
        """Never within the call that sends them."""
        heard: list[tuple[bytes, tuple[str, int]]] = []

        class Listener(DatagramProtocol):
            noisy = False

            def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
                heard.append((datagram, addr))

        reactor = MemoryReactor()
        reactor.listenUDP(5, Listener())
        sender = reactor.listenUDP(6, Listener())

        sender.write(b"x", ("127.0.0.1", 5))
        self.assertEqual(heard, [])
        reactor.run()

        self.assertEqual(heard, [(b"x", ("127.0.0.1", 6))])

    def test_a_port_is_taken_once(self) -> None:
        """And free again when it is closed."""
        reactor = MemoryReactor()
        first = reactor.listenUDP(5, DatagramProtocol())
        with self.assertRaises(CannotListenError):
            reactor.listenUDP(5, DatagramProtocol())

        self.successResultOf(first.stopListening())

        reactor.listenUDP(5, DatagramProtocol())
