"""
Stand-ins for what a unit under test talks to; each is verified against the interface it provides.

They keep what they were told in plain attributes, for a test to look at.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, gatherResults, succeed
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorTime,
    IReactorUDP,
    IUDPTransport,
)
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock
from zope.interface import implementer

from smsbridge.core.message import (
    Accepted,
    Call,
    DeliveryReport,
    FromNetwork,
    FromPerson,
    UssdNotice,
)
from smsbridge.core.records import Preview, PreviewRecipient
from smsbridge.interfaces import IInbox, ILanes

Address = tuple[str, int]


@implementer(IInbox)
class StubInbox:
    """
    An inbox that commits at once, or when the test says so.

    Repeats by `dedup_key` are recognized as the real one does: acknowledged, and not kept again.

    :ivar held: with True, nothing is committed before `commit`.
    :ivar failure: what every method fails with, None for success.
    """

    def __init__(self) -> None:
        self.messages: list[FromNetwork | FromPerson] = []
        self.reports: list[DeliveryReport] = []
        self.repeated_reports: list[str] = []
        self.notices: list[UssdNotice] = []
        self.calls: list[Call] = []
        self.told: list[tuple[str, str, str]] = []
        self.learned: list[tuple[str, dict[str, str]]] = []
        self.asked = 0  # how often `accept` was called
        self.held = False
        self.failure: Exception | None = None
        self._known: dict[str, str] = {}
        self._waiting: deque[Callable[[], None]] = deque()

    def commit(self) -> None:
        """Commit everything that waits, in its order."""
        while self._waiting:
            self._waiting.popleft()()

    def _do(self, action: Callable[[], Any]) -> Deferred[Any]:
        if not self.held:
            return succeed(action()) if self.failure is None else fail(self.failure)
        done: Deferred[Any] = Deferred()

        def commit() -> None:
            if self.failure is None:
                done.callback(action())
            else:
                done.errback(self.failure)

        self._waiting.append(commit)
        return done

    def accept(self, incoming: FromNetwork | FromPerson) -> Deferred[Accepted]:
        """See `IInbox.accept`."""
        self.asked += 1

        def keep() -> Accepted:
            line = incoming.line
            key = f"{line} {incoming.dedup_key}"
            if incoming.dedup_key and key in self._known:
                return Accepted(message_id=self._known[key], duplicate=True)
            message_id = f"message-{len(self.messages) + 1}"
            self._known[key] = message_id
            self.messages.append(incoming)
            return Accepted(message_id=message_id)

        return self._do(keep)

    def is_known(self, line: str, dedup_key: str) -> Deferred[bool]:
        """See `IInbox.is_known`."""
        if self.failure is not None:
            return fail(self.failure)
        return succeed(f"{line} {dedup_key}" in self._known)

    def accept_each(self, incoming: FromPerson) -> Deferred[list[Accepted]]:
        """See `IInbox.accept_each`."""
        return gatherResults(
            [
                self.accept(attrs.evolve(incoming, recipients=(recipient,), dedup_key=""))
                for recipient in incoming.recipients
            ]
        )

    def preview(self, incoming: FromPerson) -> Preview:
        """See `IInbox.preview`."""
        if self.failure is not None:
            raise self.failure
        return Preview(
            line=incoming.line,
            sender=incoming.sender,
            recipients=tuple(PreviewRecipient(number) for number in incoming.recipients),
            segments=1,
            encoding="gsm",
            characters=len(incoming.body),
            carried_as="sms",
            body=incoming.body,
            media=incoming.media,
        )

    def report(self, report: DeliveryReport) -> Deferred[bool]:
        """See `IInbox.report`."""

        def keep() -> bool:
            self.reports.append(report)
            return True

        return self._do(keep)

    def repeat_reports(self, message_id: str) -> Deferred[None]:
        """See `IInbox.repeat_reports`."""
        return self._do(lambda: self.repeated_reports.append(message_id))

    def ussd_notice(self, notice: UssdNotice) -> Deferred[None]:
        """See `IInbox.ussd_notice`."""

        def keep() -> None:
            key = f"{notice.line} ussd {notice.dedup_key}"
            if not notice.dedup_key or key not in self._known:
                self._known[key] = ""
                self.notices.append(notice)

        return self._do(keep)

    def call(self, call: Call) -> Deferred[None]:
        """See `IInbox.call`."""
        return self._do(lambda: self.calls.append(call))

    def notify(self, person: str, text: str, line: str = "") -> Deferred[None]:
        """See `IInbox.notify`."""
        return self._do(lambda: self.told.append((person, text, line)))

    def learn(self, line: str, facts: dict[str, str]) -> Deferred[None]:
        """See `IInbox.learn`."""
        return self._do(lambda: self.learned.append((line, dict(facts))))


@implementer(ILanes)
class StubLanes:
    """
    Lanes that only remember.

    :ivar closed: lane -> (reason, text), None for an open one.
    :ivar history: every change, in order: ``("open", lane)`` or ``("close", lane, reason)``.
    """

    def __init__(self) -> None:
        self.closed: dict[str, tuple[str, str] | None] = {}
        self.history: list[tuple[str, ...]] = []

    def open(self, gateway: str, lane: str) -> None:
        """See `ILanes.open`."""
        self.closed[lane] = None
        self.history.append(("open", lane))

    def close(self, gateway: str, lane: str, reason: str, text: str = "") -> None:
        """See `ILanes.close`."""
        self.closed[lane] = (reason, text)
        self.history.append(("close", lane, reason))

    def is_open(self, lane: str) -> bool:
        """Tell whether a lane was opened last."""
        return lane in self.closed and self.closed[lane] is None


@attrs.define
class MemoryNetwork:
    """
    Datagrams on their way between addresses in memory.

    Nothing arrives before `pump`, so that no answer comes within the call that asked.

    :ivar seen: everything that was sent: source, destination, bytes.
    """

    receivers: dict[Address, Callable[[bytes, Address], None]] = attrs.field(factory=dict)
    seen: list[tuple[Address, Address, bytes]] = attrs.field(factory=list)
    _way: deque[tuple[Address, Address, bytes]] = attrs.field(factory=deque)

    def send(self, source: Address, destination: Address, datagram: bytes) -> None:
        """Put a datagram on its way."""
        self.seen.append((source, destination, datagram))
        self._way.append((source, destination, datagram))

    def pump(self) -> None:
        """Deliver what is on its way, and what that causes; what nobody listens for is lost."""
        while self._way:
            source, destination, datagram = self._way.popleft()
            receiver = self.receivers.get(destination)
            if receiver is not None:
                receiver(datagram, source)

    def sent_from(self, source: Address) -> list[bytes]:
        """Return what an address sent."""
        return [datagram for origin, _, datagram in self.seen if origin == source]


@implementer(IUDPTransport, IListeningPort)
class FakeUDPTransport:
    """A UDP port on a `MemoryNetwork`; Twisted's own fake does not provide the interface."""

    def __init__(
        self, network: MemoryNetwork, address: Address, protocol: DatagramProtocol
    ) -> None:
        self.network = network
        self.address = address
        self.protocol = protocol
        self.listening = False

    def startListening(self) -> None:
        """Take the port."""
        if self.address in self.network.receivers:
            raise CannotListenError(self.address[0], self.address[1], OSError("in use"))
        self.network.receivers[self.address] = self.protocol.datagramReceived
        self.listening = True
        self.protocol.makeConnection(self)

    def stopListening(self) -> Deferred[None]:
        """Give the port back."""
        if self.listening:
            self.listening = False
            del self.network.receivers[self.address]
            self.protocol.doStop()
        return succeed(None)

    def write(self, packet: bytes, addr: Address | None = None) -> None:
        """Send a datagram."""
        assert addr is not None, "this port is not connected"
        assert isinstance(packet, bytes)
        if not self.listening:
            raise OSError("the port is closed")
        self.network.send(self.address, addr, packet)

    def connect(self, host: str, port: int) -> None:
        """Refuse: no code of ours connects a UDP port."""
        raise NotImplementedError

    def getHost(self) -> IPv4Address:
        """Return where it listens."""
        return IPv4Address("UDP", *self.address)

    def setBroadcastAllowed(self, enabled: bool) -> None:
        """Refuse: no code of ours broadcasts."""
        raise NotImplementedError

    def getBroadcastAllowed(self) -> bool:
        """Return False."""
        return False


@implementer(IReactorUDP, IReactorTime)
class MemoryReactor(Clock):
    """
    A clock with UDP ports on a `MemoryNetwork`.

    `advance` delivers datagrams as it goes, in steps short enough for every timer of ours.
    """

    step_s = 0.05

    def __init__(self, network: MemoryNetwork | None = None) -> None:
        super().__init__()
        self.network = network if network is not None else MemoryNetwork()
        self._next_port = 50000

    def listenUDP(
        self,
        port: int,
        protocol: DatagramProtocol,
        interface: str = "",
        maxPacketSize: int = 8192,
    ) -> FakeUDPTransport:
        """Open a port; 0 takes the next free one."""
        if port == 0:
            self._next_port += 1
            port = self._next_port
        transport = FakeUDPTransport(self.network, (interface or "127.0.0.1", port), protocol)
        transport.startListening()
        return transport

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass and datagrams arrive."""
        until = self.seconds() + seconds
        self.network.pump()
        while self.seconds() < until - 1e-9:
            self.advance(min(self.step_s, until - self.seconds()))
            self.network.pump()
        self.advance(0)
        self.network.pump()
