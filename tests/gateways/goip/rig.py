"""A GoIP gateway in memory, with boxes that a test plays by hand or lets the simulator play."""

from __future__ import annotations

from collections.abc import Callable
from random import Random
from typing import Any

import attrs

from smsbridge.core.directory import Directory, World
from smsbridge.core.message import Delivery, Direction, Kind, Status
from smsbridge.gateways.goip.config import GoipGateway, GoipLine
from smsbridge.gateways.goip.gateway import GoipService
from smsbridge.gateways.goip.simulator.box import Box
from smsbridge.gateways.goip.simulator.settings import (
    INSTANT,
    BoxSettings,
    numbered_lines,
)
from tests.fakes import Address, MemoryReactor, StubInbox, StubLanes

SERVER: Address = ("127.0.0.1", 44444)
BOX_HOST = "192.0.2.10"
PASSWORD = "not-a-secret"
NUMBER = "+12025550123"
OWN_NUMBER = "+12025550100"


def line(label: str = "l1", id: str = "goip01", **keys: Any) -> GoipLine:
    """Make a line's configuration."""
    return GoipLine(label=label, gateway="box", id=id, **{"password": PASSWORD, **keys})


def delivery(
    name: str = "d1",
    body: str = "hello",
    number: str = NUMBER,
    label: str = "l1",
    **changes: Any,
) -> Delivery:
    """Make a delivery to the network."""
    made = Delivery(
        name,
        f"message-{name}",
        Kind.MESSAGE,
        "box",
        f"box/{label}",
        label,
        "",
        number,
        f"{label} {number}",
        Status.SENDING,
        1,
        0,
        10**13,
        body,
        recipients=(number,),
        direction=Direction.OUT,
    )
    return attrs.evolve(made, **changes)


class Rig:
    """A started gateway named ``box``, with its inbox, its lanes and a clock."""

    def __init__(self, *lines: GoipLine, config: GoipGateway | None = None) -> None:
        self.reactor = MemoryReactor()
        self.inbox = StubInbox()
        self.lanes = StubLanes()
        self.config = config if config is not None else GoipGateway()
        self.lines = {each.label: each for each in (lines or (line(),))}
        self.gateway = GoipService(
            self.reactor,
            "box",
            self.config,
            self.lines,
            self.inbox,
            self.lanes,
            World(directory=Directory(lines=self.lines, country="US")),
            random_bits=Random(1).getrandbits,
        )
        self.gateway.privilegedStartService()
        self.gateway.startService()

    def run(self, seconds: float = 0.0) -> None:
        """Let time pass."""
        self.reactor.run(seconds)

    def device(self, id: str = "goip01", port: int = 10991, host: str = BOX_HOST) -> Device:
        """Put a device played by hand on the network."""
        return Device(self, id, (host, port))

    def box(self, *ids: str, **settings: Any) -> Box:
        """Put a simulated box on the network and switch it on."""
        timing = settings.pop("timing", attrs.evolve(INSTANT, keepalive_s=30.0))
        made = Box(
            self.reactor,
            BoxSettings(
                **{
                    "server": SERVER,
                    "lines": numbered_lines(ids or ("goip01",), PASSWORD),
                    "timing": timing,
                    "seed": 1,
                    **settings,
                }
            ),
            self._open_link,
        )
        made.power_on()
        self.run(0.1)
        return made

    def _open_link(self, index: int, port: int, receive: Callable[..., None]) -> Link:
        network = self.reactor.network
        port = port or 10991
        while (BOX_HOST, port) in network.receivers:
            port += 1
        network.receivers[BOX_HOST, port] = receive
        return Link(self, (BOX_HOST, port))

    def status(self, label: str = "l1") -> Any:
        """Return what the gateway says of a line."""
        return next(each for each in self.gateway.line_status() if each.line == label)


@attrs.define
class Link:
    """A simulated channel's way to the network in memory."""

    rig: Rig
    address: Address

    @property
    def port(self) -> int:
        """The local port."""
        return self.address[1]

    def send(self, datagram: bytes, addr: Address) -> None:
        """Send a datagram."""
        self.rig.reactor.network.send(self.address, addr, datagram)

    def close(self) -> None:
        """Leave the network."""
        self.rig.reactor.network.receivers.pop(self.address, None)


class Device:
    """
    A channel played by hand: says what the test says, and keeps what it hears.

    :ivar answers: called with each command it hears; what it returns is said at once.
    """

    def __init__(self, rig: Rig, id: str, address: Address) -> None:
        self._rig = rig
        self._network = rig.reactor.network
        self.id = id
        self.address = address
        self.inbox: list[bytes] = []
        self.answers: Callable[[bytes], list[bytes]] = lambda datagram: []
        self._network.receivers[address] = self._hear
        self._keepalives = 0

    def _hear(self, datagram: bytes, source: Address) -> None:
        self.inbox.append(datagram)
        if datagram.startswith(b"reg:") or datagram.endswith((b" OK", b" refused")):
            return
        for answer in self.answers(datagram):
            self._network.send(self.address, source, answer)

    def say(self, datagram: bytes) -> list[bytes]:
        """Send a datagram; returns what it hears in turn."""
        self._network.send(self.address, SERVER, datagram)
        return self.heard()

    def heard(self) -> list[bytes]:
        """Return what came since the last time."""
        self._rig.reactor.network.pump()
        heard, self.inbox = self.inbox, []
        return heard

    def keepalive(self, password: str = PASSWORD, **fields: str) -> list[bytes]:
        """Send a keepalive of a line that is registered in the network."""
        self._keepalives += 1
        told = {"num": OWN_NUMBER, "signal": "21", "gsm_status": "LOGIN", **fields}
        body = "".join(f"{name}:{value};" for name, value in told.items())
        number = self._keepalives
        return self.say(f"req:{number};id:{self.id};pass:{password};{body}".encode())

    def push(self, verb: str, recvid: int, rest: str = "", password: str = PASSWORD) -> list[bytes]:
        """Send a push."""
        tail = f";{rest}" if rest else ""
        return self.say(f"{verb}:{recvid};id:{self.id};password:{password}{tail}".encode())

    def receive(self, recvid: int, text: str, sender: str = NUMBER) -> list[bytes]:
        """Send a text that the network brought."""
        return self.push("RECEIVE", recvid, f"srcnum:{sender};msg:{text}")
