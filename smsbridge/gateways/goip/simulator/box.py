"""
A simulated GoIP: channels, each with a UDP port of its own, and the weather on the way to a server.

`Box` has no sockets: it asks ``open_link`` for them, so that tests can give it links in memory and
a clock of theirs.  `SimulatedBox` is the Twisted service that runs a box on a reactor.
"""

from __future__ import annotations

import random
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.application.service import Service
from twisted.internet.abstract import isIPAddress
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import IReactorTime
from twisted.internet.protocol import DatagramProtocol
from twisted.logger import Logger

from smsbridge.gateways.goip.simulator.burst import Burst
from smsbridge.gateways.goip.simulator.channel import Address, Channel
from smsbridge.gateways.goip.simulator.journal import Happening, Journal, Radiated
from smsbridge.gateways.goip.simulator.settings import BoxSettings
from smsbridge.gateways.goip.simulator.weather import Path, Weather

Receive = Callable[[bytes, Address], None]


class Link(Protocol):
    """One channel's way to the network."""

    def send(self, datagram: bytes, addr: Address) -> None:
        """Send a datagram; must not raise."""

    def close(self) -> Any:
        """Stop receiving; may return a Deferred."""

    @property
    def port(self) -> int:
        """The local port, 0 when there is none."""


class OpenLink(Protocol):
    """Opens the link of channel ``index`` (from 0) on a port, 0 for any."""

    def __call__(self, index: int, port: int, receive: Receive) -> Link: ...


class UnknownLine(LookupError):
    """A line that the box does not have; the text lists those that it has."""


class Box:
    """
    Simulate a box.

    Lines are named by id, or by their number from 1.
    """

    log = Logger()

    def __init__(self, clock: IReactorTime, settings: BoxSettings, open_link: OpenLink) -> None:
        self.settings = settings
        self.server = settings.server
        self.journal = Journal(settings.kept)
        self.rng = random.Random(settings.seed)
        self.outgoing = Path(clock, self.rng)
        self.incoming = Path(clock, self.rng)
        self.answers = settings.answer
        self.burst: Burst | None = None
        self._clock = clock
        self._open_link = open_link
        self._links: dict[str, Link] = {}
        self._pending: set[Any] = set()
        self.channels = [
            Channel(
                clock,
                self._unplugged,
                line,
                settings.server,
                timing=settings.timing,
                profile=settings.profile,
                journal=self.journal,
                rng=self.rng,
                recvid_clock=settings.recvid_clock,
                first_recvid=settings.first_recvid,
                delivery_reports=settings.delivery_reports,
                menu=dict(settings.menu),
            )
            for line in settings.lines
        ]
        self._by_id = {channel.id: channel for channel in self.channels}
        for channel in self.channels:
            channel.on_reboot_box = self.reboot
            channel.on_module_ctl = self._module_ctl
        self.journal.observers.append(self._answer)

    def line(self, name: str | int) -> Channel:
        """
        Return the channel with this id, or this number counted from 1.

        :raises UnknownLine: when there is none.
        """
        channel = self._by_id.get(str(name))
        if channel is not None:
            return channel
        if str(name).isascii() and str(name).isdigit() and 0 < int(name) <= len(self.channels):
            return self.channels[int(name) - 1]
        ids = [channel.id for channel in self.channels[:10]]
        more = ", ..." if len(self.channels) > 10 else ""
        raise UnknownLine(f"there is no line {name!r}; lines: {', '.join(ids)}{more}")

    def port(self, name: str | int) -> int:
        """Return the local UDP port of a line."""
        return self._links[self.line(name).id].port

    # Life.

    def power_on(self) -> None:
        """
        Open every link and start every channel.

        :raises CannotListenError: when a port is taken; nothing stays open then.
        """
        try:
            for index in range(len(self.channels)):
                self._plug(index)
        except CannotListenError:
            self._unplug_all()
            raise
        spread_s = self.settings.start_spread_s
        for index, channel in enumerate(self.channels):
            channel.power_on(spread_s * index / len(self.channels))

    def power_off(self) -> list[Any]:
        """Stop everything; returns what the links' ``close`` returned."""
        if self.burst is not None:
            self.burst.stop()
        for timer in self._pending:
            if timer.active():
                timer.cancel()
        self._pending.clear()
        for channel in self.channels:
            channel.power_off()
        self.outgoing.close()
        self.incoming.close()
        return self._unplug_all()

    def reboot(self, after_s: float | None = None) -> None:
        """Restart the whole box: sessions, pushes and counters are forgotten."""
        delay_s = self.settings.timing.reboot_box.draw(self.rng) if after_s is None else after_s
        for channel in self.channels:
            channel.reboot(delay_s)

    def rebind(self, name: str | int) -> None:
        """Give a line another local port, as a NAT does that forgot it."""
        channel = self.line(name)
        index = self.channels.index(channel)
        old = self._links.pop(channel.id, None)
        self._plug(index, anywhere=True)
        if old is not None:
            old.close()

    def _plug(self, index: int, anywhere: bool = False) -> None:
        channel = self.channels[index]
        port = self.settings.base_port + index + 1 if self.settings.base_port else 0
        link = self._open_link(index, 0 if anywhere else port, self._receiver(channel))
        self._links[channel.id] = link
        channel.send = self._sender(link)

    def _unplug_all(self) -> list[Any]:
        closing = [link.close() for link in self._links.values()]
        self._links.clear()
        for channel in self.channels:
            channel.send = self._unplugged
        return closing

    def _unplugged(self, datagram: bytes, addr: Address) -> None:
        """Lose what is sent without a link."""

    def _sender(self, link: Link) -> Callable[[bytes, Address], None]:
        outgoing, send = self.outgoing, link.send

        def forward(datagram: bytes, addr: Address) -> None:
            if outgoing.fair:
                send(datagram, addr)
            else:
                outgoing.carry(send, datagram, addr)

        return forward

    def _receiver(self, channel: Channel) -> Receive:
        incoming, log = self.incoming, self.log

        def take(datagram: bytes, addr: Address) -> None:
            try:
                channel.datagram_received(datagram, addr)
            except Exception:
                # One datagram that the simulator cannot handle must not stop the other lines.
                log.failure("simulated line {line} failed on a datagram", line=channel.id)

        def receive(datagram: bytes, addr: Address) -> None:
            if incoming.fair:
                take(datagram, addr)
            else:
                incoming.carry(take, datagram, addr)

        return receive

    def _module_ctl(self, digits: str) -> None:
        for channel, digit in zip(self.channels, digits, strict=False):
            if digit in "01":
                channel.switch_module(digit == "1")

    # Faults and observation.

    def set_weather(self, weather: Weather, direction: str = "both") -> None:
        """
        Apply faults to datagrams: ``out`` (to the server), ``in`` (from it), or ``both``.

        :raises ValueError: for another direction.
        """
        if direction not in ("out", "in", "both"):
            raise ValueError(f"{direction!r} is no direction; use out, in or both")
        if direction in ("out", "both"):
            self.outgoing.change(weather)
        if direction in ("in", "both"):
            self.incoming.change(weather)

    def start_burst(self, names: list[str], count: int, **options: Any) -> Burst:
        """
        Let lines (all, when none is named) receive many texts; the options are those of `Burst`.

        :raises UnknownLine: for a line that is not there.
        """
        channels = [self.line(name) for name in names] or self.channels
        if self.burst is not None:
            self.burst.stop()
        self.burst = Burst(self._clock, channels, count, **options)
        self.burst.start()
        return self.burst

    def _answer(self, happening: Happening) -> None:
        """Text back to whoever was texted, when the box is told to."""
        if not self.answers or not isinstance(happening, Radiated):
            return
        channel = self._by_id[happening.line]

        def answer() -> None:
            self._pending.discard(timer)
            channel.receive_sms(happening.num, f"You said: {happening.text}")

        timer = self._clock.callLater(self.settings.answer_delay.draw(self.rng), answer)
        self._pending.add(timer)


class _Datagrams(DatagramProtocol):
    """Hands datagrams on."""

    noisy = False

    def __init__(self, receive: Receive) -> None:
        self._receive = receive

    def datagramReceived(self, datagram: bytes, addr: Address) -> None:
        self._receive(datagram, addr)


@attrs.define
class UdpLink:
    """A UDP port on a reactor."""

    listening: Any

    @property
    def port(self) -> int:
        """The local port."""
        return int(self.listening.getHost().port)

    def send(self, datagram: bytes, addr: Address) -> None:
        """Send a datagram; one that the kernel refuses counts as lost, as on any network."""
        try:
            self.listening.write(datagram, addr)
        except OSError:
            pass  # no buffer, no route: the protocol repeats what matters

    def close(self) -> Any:
        """Stop listening; fires when the port is closed."""
        return self.listening.stopListening()


def udp_links(reactor: Any, interface: str) -> OpenLink:
    """Return a function that opens UDP ports of ``reactor`` on an interface ('' for all)."""

    def open_link(index: int, port: int, receive: Receive) -> UdpLink:
        protocol = _Datagrams(receive)
        return UdpLink(reactor.listenUDP(port, protocol, interface, maxPacketSize=16384))

    return open_link


class SimulatedBox(Service):
    """
    Run a simulated box on a reactor, for as long as the service runs.

    The server may be given by name; it is looked up at the start.
    """

    log = Logger()

    def __init__(self, reactor: Any, settings: BoxSettings) -> None:
        self._reactor = reactor
        interface = settings.interface
        if not interface and settings.server[0].startswith("127."):
            interface = "127.0.0.1"
        self.box = Box(reactor, settings, udp_links(reactor, interface))

    def startService(self) -> None:
        super().startService()
        host, port = self.box.server
        if isIPAddress(host):
            self.box.power_on()
        else:
            looked_up: Deferred[str] = self._reactor.resolve(host)
            looked_up.addCallbacks(self._resolved, self._not_resolved, callbackArgs=(port,))
            looked_up.addErrback(lambda f: self.log.failure("simulated box failed", failure=f))

    def _resolved(self, address: str, port: int) -> None:
        if not self.running:
            return
        for channel in self.box.channels:
            channel.server = (address, port)
        self.box.power_on()

    def _not_resolved(self, failure: Any) -> None:
        self.log.error(
            "simulated box: there is no address for {host}; give --server an address that resolves",
            host=self.box.server[0],
        )

    def stopService(self) -> Deferred[None]:
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        await maybeDeferred(super().stopService)
        for closing in self.box.power_off():
            if isinstance(closing, Deferred):
                await closing
