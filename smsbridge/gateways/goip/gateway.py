"""
GoIP boxes as a gateway: its sockets, its lines and their life, and who may say anything.

It checks where a datagram comes from and hands it on: keepalives it reads itself, pushes go to
`incoming`, answers to the conversation that waits for them.  What goes to the boxes is `outgoing`.

Every datagram comes through `GoipService.event`: plain calls and dictionaries, no coroutine, no
timer of its own, since this is the busiest function of the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hmac import compare_digest
from random import SystemRandom
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import failure as python_failure
from zope.interface import implementer

from smsbridge.core.address import InvalidNumber, mask, parse_number
from smsbridge.core.directory import World
from smsbridge.core.message import Delivery, Outcome
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.commands import COMMANDS
from smsbridge.gateways.goip.config import GoipGateway, GoipLine, check, is_within, udp_address
from smsbridge.gateways.goip.demo import simulated_box
from smsbridge.gateways.goip.exchange import Exchanges
from smsbridge.gateways.goip.incoming import Incoming
from smsbridge.gateways.goip.line import AFTER, LiveLine, Presence, Signal, Submitted
from smsbridge.gateways.goip.outgoing import BATCH_S, STOPPING, Outgoing
from smsbridge.gateways.goip.protocol import Address, GoipProtocol
from smsbridge.gateways.goip.simulator import SimulatedBox
from smsbridge.gateways.goip.strangers import Strangers
from smsbridge.interfaces import IGateway, IGatewayFactory, IInbox, ILanes, ILineControl, IUssd

__all__ = ["GoipFactory", "GoipService"]

_SWEEP_EVERY_S: Final = 0.25
_LIVENESS_EVERY_S: Final = 1.0
_DRAIN_S: Final = 10.0
_MOST_HOSTS: Final = 4096

_RANDOM: Final = SystemRandom()


@implementer(IGateway, IUssd, ILineControl)
class GoipService(Service):
    """
    One ``[gateway:NAME]`` of kind ``goip``.

    :param random_bits: makes session ids; must be unguessable.
    """

    log = Logger()
    kind = "goip"
    recognizes_repeats = False
    batch_size = 64
    commands: Mapping[str, tuple[str, str]] = {
        name: (command.arguments, command.sentence) for name, command in COMMANDS.items()
    } | {"signal": ("", "Show the strength of the signal, as of the last keepalive.")}

    def __init__(
        self,
        reactor: Any,
        label: str,
        config: GoipGateway,
        lines: Mapping[str, GoipLine],
        inbox: Any,
        lanes: Any,
        world: World,
        random_bits: Callable[[int], int] = _RANDOM.getrandbits,
    ) -> None:
        check(lines)
        self.label = label
        self._reactor = reactor
        self._config = config
        self._inbox = IInbox(inbox)
        self._lanes = ILanes(lanes)
        self._world = world
        self._seconds: Callable[[], float] = reactor.seconds
        self._lines = {name: self._live(line) for name, line in lines.items()}
        self._by_id = {line.config.id: line for line in self._lines.values()}
        self._by_lane = {line.lane: line for line in self._lines.values()}
        self.settle_within_s = self._settle_within_s()
        self._exchanges = Exchanges(reactor, random_bits)
        self.strangers = Strangers(label)
        texts = Submitted()
        self._incoming = Incoming(label, self._inbox, self._seconds, self.strangers, texts)
        self._outgoing = Outgoing(
            label, self._inbox, self._exchanges, texts, self._signal, self._incoming.submitted
        )
        self._hosts: dict[str, bool] = {}  # whether `sources` allows them
        self._sockets: list[GoipProtocol] = []
        self._ports: list[Any] = []
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = reactor
        self._alive_checked_at_s = 0.0
        self._since_ms: int | None = None
        self._simulated: SimulatedBox | None = None
        self._waiting_for_stop: list[Deferred[None]] = []
        self._drain_until_s = 0.0

    def _live(self, line: GoipLine) -> LiveLine:
        return LiveLine(line, f"{self.label}/{line.label}", line.password.encode())

    # -- life ------------------------------------------------------------------------------------

    def privilegedStartService(self) -> None:
        """Open the ports; nothing is answered before `startService`."""
        super().privilegedStartService()
        self._listen()

    def _listen(self) -> None:
        if self._ports:
            return
        for endpoint in self._config.listen:
            port, interface = udp_address(endpoint)
            protocol = GoipProtocol(self)
            # The largest datagram there is: a long text in UTF-8 comes as IP fragments.
            self._ports.append(
                self._reactor.listenUDP(
                    port, protocol, interface=interface, maxPacketSize=codec.MAX_DATAGRAM_BYTES
                )
            )
            self._sockets.append(protocol)

    def startService(self) -> None:
        """Serve; every lane is closed until its device reports."""
        self._listen()
        super().startService()
        self._since_ms = int(self._seconds() * 1000)
        self._incoming.accepting = self._outgoing.open = True
        for line in self._lines.values():
            self._announce(line)
        self._sweeper.start(_SWEEP_EVERY_S, now=False).addErrback(
            lambda f: self.log.failure("the timer of a GoIP gateway failed", failure=f)
        )
        if self._config.simulate and self._lines:
            host = self._ports[0].getHost()
            server = ("127.0.0.1" if host.host in ("0.0.0.0", "::") else host.host, host.port)
            configs = [line.config for line in self._lines.values()]
            self._simulated = simulated_box(self._reactor, server, configs)
            self._simulated.startService()

    def stopService(self) -> Deferred[None]:
        """
        Begin nothing more, let what is under way end, and close.

        Fires after 10 s at the latest; texts without an answer by then are of unknown outcome.
        """
        stopped: Deferred[None] = Deferred()
        self._waiting_for_stop.append(stopped)
        if self.running:
            super().stopService()
            self._drain_until_s = self._seconds() + _DRAIN_S
            for line in self._lines.values():
                self._lanes.close(self.label, line.lane, "peer-down", "The bridge is stopping.")
            self._outgoing.open = False
            self._incoming.flush()
            self._incoming.accepting = False
        self._look_whether_drained(self._seconds())
        return stopped

    def _look_whether_drained(self, now_s: float) -> None:
        if not self._waiting_for_stop or self.running:
            return
        busy = self._incoming.pending or any(line.busy for line in self._lines.values())
        if busy and now_s < self._drain_until_s:
            return
        waiting, self._waiting_for_stop = self._waiting_for_stop, []
        self._exchanges.abandon()

        def closed(result: Any) -> None:
            for stopped in waiting:
                stopped.callback(None)
            if isinstance(result, python_failure.Failure):
                self.log.failure("could not close a port", failure=result)

        self._close().addBoth(closed)

    def _close(self) -> Deferred[None]:
        if self._sweeper.running:
            self._sweeper.stop()
        ports, self._ports, self._sockets = self._ports, [], []
        simulated, self._simulated = self._simulated, None
        return Deferred.fromCoroutine(_close_all(ports, simulated))

    def update(self, config: GoipGateway, lines: Mapping[str, GoipLine]) -> bool:
        """
        Take a changed configuration; see `IGateway.update`.

        :raises ConfigError: two lines have the same id; nothing has changed then.
        """
        check(lines)
        if config.listen != self._config.listen or config.simulate or self._config.simulate:
            return False
        self._config = config
        self._hosts.clear()
        for label in list(self._lines):
            if label not in lines:
                self._remove(self._lines.pop(label))
        for label, new in lines.items():
            line = self._lines.get(label)
            if line is None:
                line = self._lines[label] = self._live(new)
                if self.running:
                    self._announce(line)
            elif new != line.config:
                self._change(line, new)
        self._by_id = {line.config.id: line for line in self._lines.values()}
        self._by_lane = {line.lane: line for line in self._lines.values()}
        self.settle_within_s = self._settle_within_s()
        return True

    def _remove(self, line: LiveLine) -> None:
        line.presence = Presence.UNSEEN
        self._exchanges.abandon(line)
        self._lanes.close(
            self.label, line.lane, "unknown-line", "The line is not in the configuration any more."
        )

    def _change(self, line: LiveLine, new: GoipLine) -> None:
        old, line.config = line.config, new
        if (old.id, old.password, old.sources, old.pin_address) != (
            new.id,
            new.password,
            new.sources,
            new.pin_address,
        ):
            # Whoever is at that address has to prove again that it is the device.
            line.secret = new.password.encode()
            line.address = None
            line.pinned_host = ""
            self._signal(line, Signal.FORGET)
            self._exchanges.abandon(line)
        if old.mode != new.mode:
            line.one_shot_works = None
        self._announce(line)

    def _settle_within_s(self) -> float:
        """The time for a batch, its last text, a USSD dialogue in front of it, and some air."""
        configs = [line.config for line in self._lines.values()]
        send_s = max((config.send_timeout for config in configs), default=60.0)
        ussd_s = max((config.ussd_timeout for config in configs), default=120.0)
        return BATCH_S + send_s + ussd_s + 15.0

    # -- state -----------------------------------------------------------------------------------

    def lane(self, line: str, destination: str) -> str:
        """Name the lane: everything of one line goes one after another."""
        return f"{self.label}/{line}"

    def line_status(self) -> list[LineStatus]:
        """Return what is known of each line."""
        found = []
        for label, line in self._lines.items():
            enabled = line.config.enabled
            found.append(
                LineStatus(
                    line=label,
                    gateway=self.label,
                    up=line.ready,
                    state=line.presence.value if enabled else "switched off in the configuration",
                    number=line.config.number or line.number,
                    signal_dbm=line.signal_dbm,
                    operator=line.operator,
                    imei=line.imei,
                    imsi=line.imsi,
                    iccid=line.iccid,
                    model="GoIP",
                    call_state=line.call_state,
                    address=_shown(line.address),
                    last_seen_ms=None if line.last_seen_s is None else int(line.last_seen_s * 1000),
                    daily_cap=line.config.daily_cap,
                )
            )
        return found

    def link_status(self) -> LinkStatus:
        """Return whether the gateway listens."""
        up = bool(self._ports) and bool(self.running)
        state = f"listening on {' '.join(self._config.listen)}" if up else "stopped"
        return LinkStatus(
            gateway=self.label, kind=self.kind, up=up, state=state, since_ms=self._since_ms
        )

    def _signal(self, line: LiveLine, signal: Signal) -> None:
        presence = AFTER[signal].get(line.presence, line.presence)
        if presence is line.presence:
            return
        line.presence = presence
        self.log.info(
            "{gateway}: line {line} at {peer}: {state}",
            gateway=self.label,
            line=line.label,
            peer=_shown(line.address) or "nowhere",
            state=presence.value,
        )
        self._announce(line)

    def _announce(self, line: LiveLine) -> None:
        """Tell the dispatcher whether the line can take a text."""
        if not self.running:
            return
        closed_for = line.closed_for()
        if closed_for is None:
            self._lanes.open(self.label, line.lane)
        else:
            self._lanes.close(self.label, line.lane, *closed_for)

    # -- what arrives ----------------------------------------------------------------------------

    def malformed(self, address: Address, error: codec.MalformedDatagram) -> None:
        """See `protocol.Receiver`."""
        self.strangers.note("malformed", address, error.expected)

    def event(self, event: codec.Event, address: Address, socket: GoipProtocol) -> None:
        """See `protocol.Receiver`."""
        if self._config.trace:
            self.log.debug(
                "{gateway}: {peer} says {event}", gateway=self.label, peer=address, event=event
            )
        if not self.running and not self._waiting_for_stop:
            return  # the port is open, but the daemon is not up yet
        kind = type(event)
        take = self._incoming.takers.get(kind)
        if take is not None:
            line = self._authentic(event, address, socket)  # type: ignore[arg-type]
            if line is not None:
                take(line, event, address, socket)
        elif kind is codec.Keepalive:
            self._keepalive(event, address, socket)  # type: ignore[arg-type]
        elif not self._exchanges.answer(event, address) and kind is not codec.Done:
            # An answer must come from where the command went.  DONE is but an echo: conversations
            # that are over are not kept to hear it.
            self.strangers.note("stray", address)

    def _authentic(
        self, event: codec.Keepalive | codec.Push, address: Address, socket: GoipProtocol
    ) -> LiveLine | None:
        """Return the line that a report comes from; refuse it and return None if it is none."""
        if self._config.sources and not self._is_allowed(address[0]):
            self.strangers.note("source", address)
            return None  # not a word to whoever cannot be a box of ours
        line = self._by_id.get(event.id)
        if line is None:
            self.strangers.note("unknown-id", address, event.id)
        elif not compare_digest(line.secret, event.password.encode()):
            self.strangers.note("wrong-password", address, f"line {line.label}")
        elif address != line.address and not line.allows(address[0]):
            self.strangers.note("source", address, f"for line {line.label}")
            return None
        else:
            return line
        if not self._config.silent and self.strangers.may_answer(address[0]):
            if isinstance(event, codec.Keepalive):
                socket.send(codec.encode_reg(event.number, codec.STATUS_UNKNOWN), address)
            elif event.verb not in codec.NO_ACK_VERBS:
                socket.send(codec.encode_refusal(event.verb, event.recvid, event.id), address)
        return None

    def _is_allowed(self, host: str) -> bool:
        allowed = self._hosts.get(host)
        if allowed is None:
            allowed = is_within(host, self._config.sources)
            if len(self._hosts) < _MOST_HOSTS:
                self._hosts[host] = allowed
        return allowed

    def _keepalive(self, event: codec.Keepalive, address: Address, socket: GoipProtocol) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return
        socket.send(codec.encode_reg(event.number), address)
        if not self.running:
            return
        if address != line.address:
            if line.address is not None:
                self.log.info(
                    "{gateway}: line {line} moved from {old} to {peer}",
                    gateway=self.label,
                    line=line.label,
                    old=_shown(line.address),
                    peer=_shown(address),
                )
            line.address = address
            if line.config.pin_address:
                line.pinned_host = address[0]
        line.socket = socket
        line.last_seen_s = self._seconds()
        if event.number < line.keepalive_number:
            line.restarted()
            self._signal(line, Signal.UNLOCK)
        line.keepalive_number = event.number
        self._signal(line, Signal.LOGIN if event.gsm_login else Signal.LOGOUT)
        self._learn(line, event)

    def _learn(self, line: LiveLine, event: codec.Keepalive) -> None:
        """Keep what a keepalive tells; the store hears of changes."""
        line.signal_dbm = event.signal_dbm
        if event.voip_state:
            line.call_state = event.voip_state
        facts: dict[str, str] = {}
        other_sim = False
        for name, value in (
            ("imei", event.imei),
            ("imsi", event.imsi),
            ("iccid", event.iccid),
            ("operator", event.carrier),
        ):
            known: str = getattr(line, name)
            if value and value != known:
                facts[name] = value
                setattr(line, name, value)
                if known and name in ("imsi", "iccid"):
                    other_sim = True
                elif known and name == "imei":
                    self.log.warn(
                        "{gateway}: line {line} has another module: IMEI {imei}",
                        gateway=self.label,
                        line=line.label,
                        imei=mask(value),
                    )
        if other_sim:
            self.log.warn(
                "{gateway}: line {line} has another SIM: ICCID {iccid}",
                gateway=self.label,
                line=line.label,
                iccid=mask(line.iccid),
            )
            line.asked_number = False
            line.number = ""
        if event.num != line.raw_number or (other_sim and event.num):
            line.raw_number = event.num
            number = self._own_number(event.num)
            if number and number != line.number:
                facts["number"] = line.number = number
        if facts:
            self._inbox.learn(line.label, facts).addErrback(self._not_learned, line)
        if not (line.config.number or line.number or line.asked_number) and line.ready:
            line.asked_number = True
            self._outgoing.ask_number(line, lambda answer: self._number_told(line, answer))

    def _own_number(self, text: str) -> str:
        if not text:
            return ""
        try:
            return parse_number(text, self._world.directory.country)
        except InvalidNumber:
            return ""  # the box shows whatever somebody typed into it

    def _number_told(self, line: LiveLine, answer: str) -> None:
        number = self._own_number(answer)
        if number:
            line.number = number
            learning = self._inbox.learn(line.label, {"number": number})
            learning.addErrback(self._not_learned, line)

    def _not_learned(self, failure: python_failure.Failure, line: LiveLine) -> None:
        """Forget what the store did not take, so that the next keepalive tells it again."""
        line.imei = line.imsi = line.iccid = line.operator = line.raw_number = line.number = ""
        if not failure.check(TemporaryFailure):
            self.log.failure("could not keep what a line told", failure=failure)

    # -- time ------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Do everything that is due; the one timer of the gateway."""
        try:
            now_s = self._seconds()
            self._exchanges.sweep(now_s)
            self._incoming.sweep(now_s)
            if now_s - self._alive_checked_at_s >= _LIVENESS_EVERY_S:
                self._alive_checked_at_s = now_s
                self._check_liveness(now_s)
                self.strangers.sweep(now_s)
            self._look_whether_drained(now_s)
        except Exception:
            # A timer that raises once would never be called again.
            self.log.failure("the timer of {gateway} failed", gateway=self.label)

    def _check_liveness(self, now_s: float) -> None:
        for line in self._lines.values():
            seen_s = line.last_seen_s
            if seen_s is not None and now_s - seen_s > line.config.liveness and line.reachable:
                self._signal(line, Signal.SILENCE)

    # -- what leaves -----------------------------------------------------------------------------

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """See `IGateway.deliver`."""
        line = self._by_lane.get(lane)
        if not self.running or line is None:
            if not self.running:
                refusal = TemporaryFailure("peer-down", STOPPING)
            else:
                refusal = TemporaryFailure("unknown-line")
            return succeed([refusal] * len(batch))
        return self._outgoing.deliver(line, batch)

    def _reachable(self, label: str) -> LiveLine:
        """Return a line that a command can be written to; raises `errors.Failure`."""
        line = self._lines.get(label)
        if line is None:
            raise PermanentFailure("unknown-line")
        if not self.running:
            raise TemporaryFailure("peer-down", STOPPING)
        if not line.reachable:
            raise TemporaryFailure(
                "peer-down", f"Line {label} cannot be reached: {line.presence.value}."
            )
        return line

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """See `IUssd.ussd`."""
        try:
            return self._outgoing.ussd(self._reachable(line), code)
        except Failure as e:
            return fail(e)

    def control(self, line: str, command: str, arguments: Sequence[str]) -> Deferred[str]:
        """See `ILineControl.control`."""
        try:
            return self._outgoing.control(self._reachable(line), command, arguments)
        except Failure as e:
            return fail(e)


def _shown(address: Address | None) -> str:
    return "" if address is None else f"{address[0]}:{address[1]}"


async def _close_all(ports: Sequence[Any], simulated: SimulatedBox | None) -> None:
    if simulated is not None:
        await simulated.stopService()
    for port in ports:
        await port.stopListening()


@implementer(IGatewayFactory)
class GoipFactory:
    """Makes GoIP gateways."""

    kind = "goip"
    config_class = GoipGateway
    line_class = GoipLine
    address_kind = ""

    def build(
        self,
        reactor: Any,
        label: str,
        config: GoipGateway,
        lines: Mapping[str, GoipLine],
        inbox: Any,
        lanes: Any,
        world: World,
    ) -> GoipService:
        """See `IGatewayFactory.build`."""
        return GoipService(reactor, label, config, lines, inbox, lanes, world)

    def check(self, config: GoipGateway, lines: Mapping[str, GoipLine]) -> None:
        """
        Refuse lines that contradict each other, when the configuration is read.

        :raises ConfigError: two lines have the same id.
        """
        check(lines)

    def advice(
        self, label: str, config: GoipGateway, lines: Mapping[str, GoipLine], public_url: str
    ) -> list[str]:
        """Return what an operator should do next, for ``smsbridge check``."""
        ports = ", ".join(str(udp_address(endpoint)[0]) for endpoint in config.listen)
        found = [
            f"set the 'SMS Server' of each channel to this machine's address and port {ports}, "
            "with the id and password of its line."
        ]
        local = all(udp_address(each)[1].startswith("127.") for each in config.listen)
        if not local and not config.sources and not all(line.sources for line in lines.values()):
            found.append(
                "passwords cross the network unprotected; set 'sources' to the network of the "
                "boxes, and keep it apart from others."
            )
        return found
