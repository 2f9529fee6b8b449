"""
GoIP boxes as a gateway: what their datagrams mean for the core, and the core's deliveries for them.

A push is acknowledged when the store has it and not before; the boxes repeat what was not
acknowledged three times, 3 s apart, so that a short outage of the store loses nothing.  Texts go
out one after another on each line.  The conversations themselves are in `exchange`, the state of a
line in `line`.

Every datagram comes through `GoipService.event`: plain calls and dictionaries, no coroutine, no
timer of its own, since this is the busiest function of the daemon.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from hashlib import blake2b
from hmac import compare_digest
from random import SystemRandom
from typing import Any, Final

from attrs import define, field
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.python import failure as python_failure
from zope.interface import implementer

from smsbridge.core.address import InvalidNumber, mask, parse_number
from smsbridge.core.directory import World
from smsbridge.core.message import (
    Delivery,
    DeliveryReport,
    FromNetwork,
    Kind,
    NotTried,
    Outcome,
    Sent,
    Status,
    UssdNotice,
)
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import (
    Failure,
    PermanentFailure,
    Refused,
    TemporaryFailure,
    UnknownOutcome,
)
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.codes import tp_status
from smsbridge.gateways.goip.commands import COMMANDS
from smsbridge.gateways.goip.config import GoipGateway, GoipLine, check, is_within, udp_address
from smsbridge.gateways.goip.exchange import (
    COMMAND_TRIES,
    Exchanges,
    Request,
    Sending,
    read_control,
    read_promise,
    read_ussd,
)
from smsbridge.gateways.goip.joining import Joined, Joiner, Part
from smsbridge.gateways.goip.line import (
    AFTER,
    EarlyReport,
    LiveLine,
    OpenCall,
    Presence,
    Signal,
    Submission,
    Submitted,
)
from smsbridge.gateways.goip.protocol import Address, GoipProtocol
from smsbridge.gateways.goip.strangers import Strangers
from smsbridge.interfaces import IGateway, IGatewayFactory, IInbox, ILanes, ILineControl, IUssd

__all__ = ["GoipFactory", "GoipService"]

_SWEEP_EVERY_S: Final = 0.25
_LIVENESS_EVERY_S: Final = 1.0
#: For how long a push with the same number and the same text counts as a repeat.
_DEDUP_S: Final = 600.0
#: Pushes whose commit is under way.  More are dropped without an answer, and repeated by the boxes.
_MOST_PENDING: Final = 20_000
#: How long a delivery report waits for the answer to the text that it is about.
_EARLY_S: Final = 5.0
_MOST_EARLY: Final = 16
#: How long an ended call waits for its duration or cause; a push is repeated after 3 s.
_CALL_ENDS_WITHIN_S: Final = 1.5
#: A batch begins no further text after this; the rest goes back untried.
_BATCH_S: Final = 60.0
_DRAIN_S: Final = 10.0
_COMMAND_TIMEOUT_S: Final = 30.0
_MOST_HOSTS: Final = 4096

_RANDOM: Final = SystemRandom()


@define(eq=False)
class _Batch:
    """Deliveries of one lane on their way, one after another."""

    line: LiveLine
    deliveries: Sequence[Delivery]
    began_s: float
    done: Deferred[Sequence[Outcome]]
    outcomes: list[Outcome] = field(factory=list)
    held: set[str] = field(factory=set)  # order keys of which one must be tried again
    running: bool = False  # its loop is on the stack


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
        self._exchanges = Exchanges(reactor, random_bits)
        self._submitted = Submitted()
        self.strangers = Strangers(label)
        self._pending: set[str] = set()
        self._joiners: dict[LiveLine, Joiner] = {}
        self._unfinished: set[LiveLine] = set()  # with an ended call or an early report
        self._hosts: dict[str, bool] = {}  # whether `sources` allows them
        self._sockets: list[GoipProtocol] = []
        self._ports: list[Any] = []
        self._sweeper = LoopingCall(self._sweep)
        self._sweeper.clock = reactor
        self._alive_checked_at_s = 0.0
        self._since_ms: int | None = None
        self._waiting_for_stop: list[Deferred[None]] = []
        self._drain_until_s = 0.0
        self._takers: dict[type, Callable[[Any, Address, GoipProtocol], None]] = {
            codec.Keepalive: self._keepalive,
            codec.Received: self._received,
            codec.DeliveryReport: self._delivery_report,
            codec.UssdPush: self._ussd_push,
            codec.LineState: self._call_push,
            codec.CallRecord: self._call_push,
            codec.Hangup: self._call_push,
            codec.CallExpiry: self._call_push,
            codec.Cells: self._cells,
            codec.Remain: self._other_push,
            codec.CellInfo: self._other_push,
            codec.OtherPush: self._other_push,
            codec.AtOutput: self._ignored,
        }

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
        for line in self._lines.values():
            self._announce(line)
        self._sweeper.start(_SWEEP_EVERY_S, now=False).addErrback(
            lambda f: self.log.failure("the timer of a GoIP gateway failed", failure=f)
        )

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
            for line, joiner in self._joiners.items():
                for joined in joiner.due(float("inf")):
                    self._store_joined(line, joined)
        self._look_whether_drained(self._seconds())
        return stopped

    def _look_whether_drained(self, now_s: float) -> None:
        if not self._waiting_for_stop or self.running:
            return
        busy = self._pending or any(line.busy for line in self._lines.values())
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
        return Deferred.fromCoroutine(_close_all(ports))

    def update(self, config: GoipGateway, lines: Mapping[str, GoipLine]) -> bool:
        """
        Take a changed configuration; see `IGateway.update`.

        :raises ConfigError: two lines have the same id; nothing has changed then.
        """
        check(lines)
        if config.listen != self._config.listen:
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

    @property
    def settle_within_s(self) -> float:
        """The time for a batch, its last text, a USSD dialogue in front of it, and some air."""
        configs = [line.config for line in self._lines.values()]
        send_s = max((config.send_timeout for config in configs), default=60.0)
        ussd_s = max((config.ussd_timeout for config in configs), default=120.0)
        return _BATCH_S + send_s + ussd_s + 15.0

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
                    address="" if line.address is None else f"{line.address[0]}:{line.address[1]}",
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
            peer=line.address,
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
        take = self._takers.get(type(event))
        if take is None:
            # An answer to a command of ours; it must come from where the command went.
            # DONE is its echo: a conversation that is over is not kept to hear it.
            if not self._exchanges.answer(event, address) and type(event) is not codec.Done:
                self.strangers.note("stray", address)
        elif self.running or self._waiting_for_stop:
            take(event, address, socket)

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
                    old=line.address,
                    peer=address,
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
            self._ask_number(line)

    def _own_number(self, text: str) -> str:
        if not text:
            return ""
        try:
            return parse_number(text, self._world.directory.country)
        except InvalidNumber:
            return ""  # the box shows whatever somebody typed into it

    def _not_learned(self, failure: python_failure.Failure, line: LiveLine) -> None:
        """Forget what the store did not take, so that the next keepalive tells it again."""
        line.imei = line.imsi = line.iccid = line.operator = line.raw_number = line.number = ""
        if not failure.check(TemporaryFailure):
            self.log.failure("could not keep what a line told", failure=failure)

    def _ask_number(self, line: LiveLine) -> None:
        def told(answer: str | Failure) -> None:
            number = self._own_number(answer) if isinstance(answer, str) else ""
            if number:
                line.number = number
                self._inbox.learn(line.label, {"number": number}).addErrback(
                    self._not_learned, line
                )

        sendid = self._exchanges.new_sendid()
        self._request(
            line,
            sendid,
            codec.encode_control("get_gsm_num", sendid, line.password),
            read_control,
            told,
        )

    # -- texts that arrive -----------------------------------------------------------------------

    def _received(self, event: codec.Received, address: Address, socket: GoipProtocol) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return
        if line.config.join_parts:
            self._received_part(line, event, address, socket)
            return
        text = event.text
        key = _repeat_key("RECEIVE", event.recvid, event.sender, text)
        pending_key = f"{line.label}|{key}"
        if not self._may_commit(pending_key, address):
            return
        committing = self._inbox.accept(
            FromNetwork(
                line=line.label,
                sender=event.sender,
                body=text,
                dedup_key=key,
                dedup_for_s=_DEDUP_S,
            )
        )
        self._pending.add(pending_key)
        if line.config.dialect == "goippy":
            ack = codec.encode_goippy_ack(event.recvid, event.id)
        else:
            ack = codec.encode_ack("RECEIVE", event.recvid)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    def _may_commit(self, pending_key: str, address: Address) -> bool:
        """Tell whether to store a push; not while an earlier copy of it is under way."""
        if not self.running or pending_key in self._pending:
            return False
        if len(self._pending) >= _MOST_PENDING:
            self.strangers.note("overflow", address)
            return False
        return True

    def _acknowledge(
        self,
        committing: Deferred[Any],
        pending_key: str,
        ack: bytes,
        event: codec.Push,
        address: Address,
        socket: GoipProtocol,
    ) -> None:
        """Answer a push once it is stored."""

        def stored(_: Any) -> None:
            self._pending.discard(pending_key)
            socket.send(ack, address)

        def not_stored(failure: python_failure.Failure) -> None:
            self._pending.discard(pending_key)
            self._not_stored(failure, event, address, socket)

        committing.addCallbacks(stored, not_stored)

    def _not_stored(
        self,
        failure: python_failure.Failure,
        event: codec.Push,
        address: Address,
        socket: GoipProtocol,
    ) -> None:
        if failure.check(TemporaryFailure):
            return  # no answer, so that the device repeats it
        if failure.check(Refused):
            self.log.warn(
                "{gateway}: a {verb} of {id} was refused: {reason}",
                gateway=self.label,
                verb=event.verb,
                id=event.id,
                reason=str(failure.value),
            )
            socket.send(codec.encode_failure(event.verb, event.recvid, "refused"), address)
            return
        self.log.failure("could not store a {verb}", failure=failure, verb=event.verb)

    # Texts in parts.

    def _received_part(
        self, line: LiveLine, event: codec.Received, address: Address, socket: GoipProtocol
    ) -> None:
        if line.config.dialect == "goippy":
            datagram = codec.encode_goippy_ack(event.recvid, event.id)
        else:
            datagram = codec.encode_ack("RECEIVE", event.recvid)

        def ack() -> None:
            socket.send(datagram, address)

        if line.has_stored(event.recvid, event.sender, event.text):
            ack()
            return
        if not self.running:
            return
        joiner = self._joiners.get(line)
        if joiner is None:
            joiner = self._joiners[line] = Joiner()
        part = Part(event.recvid, event.text, ack)
        joined = joiner.take(event.sender, part, self._seconds(), line.config.join_within)
        if joined is not None:
            self._store_joined(line, joined)

    def _store_joined(self, line: LiveLine, joined: Joined) -> None:
        text = joined.text
        key = _repeat_key("RECEIVE", joined.first_recvid, joined.sender, text)
        pending_key = f"{line.label}|{key}"
        if pending_key in self._pending:
            return
        self._pending.add(pending_key)

        def stored(_: Any) -> None:
            self._pending.discard(pending_key)
            for part in joined.parts:
                line.note_stored(part.recvid, joined.sender, part.text)
                part.ack()

        def not_stored(failure: python_failure.Failure) -> None:
            self._pending.discard(pending_key)
            if failure.check(TemporaryFailure):
                # The box may have given the first part up by now, so we try ourselves.
                self._joiners.setdefault(line, Joiner()).put_back(joined, self._seconds() + 1.0)
            elif failure.check(Refused):
                for part in joined.parts:
                    part.ack()
            else:
                self.log.failure("could not store a text", failure=failure)

        self._inbox.accept(
            FromNetwork(
                line=line.label,
                sender=joined.sender,
                body=text,
                dedup_key=key,
                dedup_for_s=_DEDUP_S,
            )
        ).addCallbacks(stored, not_stored)

    # -- reports and notices ---------------------------------------------------------------------

    def _delivery_report(
        self, event: codec.DeliveryReport, address: Address, socket: GoipProtocol
    ) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return
        now_s = self._seconds()
        delivery_id = self._submitted.find(line.label, event.sms_no, event.num, now_s)
        if not delivery_id and line.sending is not None:
            # It may have overtaken the OK that tells us the number of the text.
            early = line.early
            if early is None:
                early = line.early = {}
            if event.sms_no in early or len(early) < _MOST_EARLY:
                since_s = early[event.sms_no].since_s if event.sms_no in early else now_s
                early[event.sms_no] = EarlyReport(event, address, socket, since_s)
                self._unfinished.add(line)
                return
        self._report(line, event, delivery_id, address, socket)

    def _report(
        self,
        line: LiveLine,
        event: codec.DeliveryReport,
        delivery_id: str,
        address: Address,
        socket: GoipProtocol,
    ) -> None:
        pending_key = f"{line.label}|DELIVER|{event.recvid}|{event.sms_no}|{event.state}"
        if not self._may_commit(pending_key, address):
            return
        status, reason = tp_status(event.state)
        committing = self._inbox.report(
            DeliveryReport(
                gateway=self.label,
                status=status,
                delivery_id=delivery_id,
                remote_id=str(event.sms_no),
                line=line.label,
                reason=reason,
                text=f"TP-Status {event.state}",
            )
        )
        self._pending.add(pending_key)
        ack = codec.encode_ack("DELIVER", event.recvid)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    def _ussd_push(self, event: codec.UssdPush, address: Address, socket: GoipProtocol) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return
        key = _repeat_key(event.verb, event.recvid, "", event.text)
        pending_key = f"{line.label}|{key}"
        if not self._may_commit(pending_key, address):
            return
        committing = self._inbox.ussd_notice(
            UssdNotice(line=line.label, body=event.text, dedup_key=key, dedup_for_s=_DEDUP_S)
        )
        self._pending.add(pending_key)
        ack = codec.encode_ack(event.verb, event.recvid)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    def _cells(self, event: codec.Cells, address: Address, socket: GoipProtocol) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return
        socket.send(codec.encode_ack(event.verb, event.recvid), address)
        if line.cells is not None:
            line.cells.fulfil(" ".join(event.cells) or "no cells")

    def _other_push(self, event: codec.Push, address: Address, socket: GoipProtocol) -> None:
        """Acknowledge what we have no use for; the device would repeat it."""
        if self._authentic(event, address, socket) is not None:
            socket.send(codec.encode_ack(event.verb, event.recvid), address)

    def _ignored(self, event: codec.Push, address: Address, socket: GoipProtocol) -> None:
        """Output of an AT console, which we never open and which wants no ack."""

    # -- the call log ----------------------------------------------------------------------------

    def _call_push(
        self,
        event: codec.LineState | codec.CallRecord | codec.Hangup | codec.CallExpiry,
        address: Address,
        socket: GoipProtocol,
    ) -> None:
        line = self._authentic(event, address, socket)
        if line is None:
            return

        def ack() -> None:
            socket.send(codec.encode_ack(event.verb, event.recvid), address)

        call = line.call
        push = (event.verb, event.recvid)
        if call is not None and push in call.acks:
            return  # a repeat of what waits for its commit
        if line.is_repeat(*push):
            ack()
            return
        now_s = self._seconds()
        if isinstance(event, codec.LineState):
            self._call_state(line, event, now_s)
            ack()
        elif isinstance(event, codec.CallRecord):
            self._call_began(line, event.incoming, event.num, now_s)
            ack()
        elif call is None:
            ack()
        else:
            if isinstance(event, codec.Hangup):
                call.number = call.number or event.num
                call.cause = event.cause
            else:
                call.duration_s = max(0, event.duration_s)
            call.ended_s = call.ended_s or now_s
            call.acks[push] = ack
            self._call_ended(line, call)

    def _call_state(self, line: LiveLine, event: codec.LineState, now_s: float) -> None:
        line.call_state = event.state
        call = line.call
        if event.state == "INCOMING":
            self._call_began(line, True, event.num, now_s)
        elif event.state in ("DIALING", "ALERTING"):
            self._call_began(line, False, event.num, now_s)
        elif call is None or call.ended_s is not None:
            return
        elif event.state in ("CONNECTED", "ACTIVE"):
            call.connected_s = call.connected_s or now_s
            call.number = call.number or event.num
        elif event.state == "IDLE":
            call.ended_s = now_s
            self._call_ended(line, call)

    def _call_began(self, line: LiveLine, incoming: bool, number: str, now_s: float) -> None:
        call = line.call
        if (
            call is not None
            and call.ended_s is None
            and call.incoming is incoming
            and (not number or call.number in ("", number))
        ):
            # STATE and RECORD tell of the same call, in either order.
            call.number = call.number or number
            return
        if call is not None:
            call.ended_s = call.ended_s or now_s
            self._log_call(line, call)
        line.call = OpenCall(incoming, number, now_s)

    def _call_ended(self, line: LiveLine, call: OpenCall) -> None:
        if call.complete:
            self._log_call(line, call)
        else:
            self._unfinished.add(line)

    def _log_call(self, line: LiveLine, call: OpenCall) -> None:
        """Store a call that has ended; what told of its end is acknowledged afterwards."""
        if line.call is call:
            line.call = None

        def stored(_: Any) -> None:
            for ack in call.acks.values():
                ack()

        def not_stored(failure: python_failure.Failure) -> None:
            if not failure.check(TemporaryFailure):
                self.log.failure("could not store a call", failure=failure)
                stored(None)
            elif line.call is None:
                call.ended_s = self._seconds()
                line.call = call
                self._unfinished.add(line)

        self._inbox.call(call.logged(line.label)).addCallbacks(stored, not_stored)

    # -- time ------------------------------------------------------------------------------------

    def _sweep(self) -> None:
        """Do everything that is due; the one timer of the gateway."""
        try:
            now_s = self._seconds()
            self._exchanges.sweep(now_s)
            if self._unfinished:
                self._finish(now_s)
            for line, joiner in list(self._joiners.items()):
                for joined in joiner.due(now_s):
                    self._store_joined(line, joined)
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

    def _finish(self, now_s: float) -> None:
        """End the calls and hand on the early reports that have waited long enough."""
        for line in list(self._unfinished):
            call, early = line.call, line.early
            if (
                call is not None
                and call.ended_s is not None
                and now_s - call.ended_s >= _CALL_ENDS_WITHIN_S
            ):
                self._log_call(line, call)
            for sms_no, held in list(early.items()) if early else ():
                if now_s - held.since_s >= _EARLY_S or line.sending is None:
                    assert early is not None
                    del early[sms_no]
                    self._report(line, held.event, "", held.address, held.socket)
            if not line.early and (line.call is None or line.call.ended_s is None):
                self._unfinished.discard(line)

    # -- texts that leave ------------------------------------------------------------------------

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """See `IGateway.deliver`."""
        line = self._by_lane.get(lane)
        if not self.running:
            stopped = TemporaryFailure("peer-down", "The bridge is stopping.")
            return succeed([stopped] * len(batch))
        if line is None:
            return succeed([TemporaryFailure("unknown-line")] * len(batch))
        done: Deferred[Sequence[Outcome]] = Deferred()
        work = _Batch(line, batch, self._seconds(), done)
        line.acquire(lambda: self._go_on(work))
        return done

    def _go_on(self, batch: _Batch) -> None:
        """
        Send one after another.

        A loop and not a chain of calls: where the answers come at once, a chain would be as deep as
        the batch is long.
        """
        if batch.running:
            return
        batch.running = True
        line, outcomes = batch.line, batch.outcomes
        while len(outcomes) < len(batch.deliveries):
            number = len(outcomes)
            delivery = batch.deliveries[number]
            if delivery.order_key in batch.held:
                outcomes.append(NotTried())
                continue
            closed_for = line.closed_for() or ("peer-down", "") if not line.ready else None
            if not self.running or closed_for is not None or self._is_late(batch):
                if number == 0 and closed_for is not None:
                    outcomes.append(TemporaryFailure(*closed_for))
                outcomes.extend(NotTried() for _ in range(len(batch.deliveries) - len(outcomes)))
                break
            failure = _unsendable(line, delivery)
            if failure is not None:
                outcomes.append(failure)
                continue
            self._send(batch, delivery)
            if len(outcomes) == number:
                batch.running = False
                return  # `_settled` comes back here
        batch.running = False
        line.release()
        batch.done.callback(outcomes)

    def _is_late(self, batch: _Batch) -> bool:
        return bool(batch.outcomes) and self._seconds() - batch.began_s > _BATCH_S

    def _send(self, batch: _Batch, delivery: Delivery) -> None:
        line, config = batch.line, batch.line.config
        one_shot = config.mode == "one-shot" and line.one_shot_works is not False

        def settled(outcome: Outcome) -> None:
            self._settled(batch, delivery, sending, one_shot, outcome)

        def amended(outcome: Outcome) -> None:
            self._amended(line, delivery, outcome)

        sending = Sending(
            self._exchanges,
            line,
            delivery.destination,
            delivery.body,
            settled,
            amended,
            one_shot=one_shot,
            resend=config.resend_send,
            answer_timeout_s=config.answer_timeout,
            send_timeout_s=config.send_timeout,
        )
        line.sending = sending
        sending.begin()

    def _settled(
        self,
        batch: _Batch,
        delivery: Delivery,
        sending: Sending,
        one_shot: bool,
        outcome: Outcome,
    ) -> None:
        line = batch.line
        if isinstance(outcome, Sent):
            if one_shot:
                line.one_shot_works = True
            if outcome.remote_id:
                self._remember(line, delivery, int(outcome.remote_id))
        elif isinstance(outcome, UnknownOutcome):
            if one_shot and not sending.heard and line.one_shot_works is None:
                line.one_shot_works = False
                self.log.warn(
                    "{gateway}: line {line} does not answer one-shot texts, so bulk sessions are "
                    "used until the daemon restarts; set 'mode = bulk' for it",
                    gateway=self.label,
                    line=line.label,
                )
        elif isinstance(outcome, TemporaryFailure):
            batch.held.add(delivery.order_key)
            self._consider(line, outcome)
        line.sending = None
        batch.outcomes.append(outcome)
        if isinstance(outcome, UnknownOutcome) or (
            isinstance(outcome, TemporaryFailure) and outcome.reason in ("throttled", "peer-down")
        ):
            # The device has trouble; what follows waits in the store and not in its way.
            left = len(batch.deliveries) - len(batch.outcomes)
            batch.outcomes.extend(NotTried() for _ in range(left))
        self._go_on(batch)

    def _consider(self, line: LiveLine, failure: TemporaryFailure) -> None:
        """Draw from a failure what it says of the line."""
        if failure.reason == "credentials":
            self.log.error(
                "{gateway}: line {line} refuses the password of the configuration; nothing is sent "
                "on it until the configuration is corrected or the box restarts",
                gateway=self.label,
                line=line.label,
            )
            self._signal(line, Signal.WRONG_PASSWORD)
        elif failure.reason == "line-down":
            self._signal(line, Signal.NETWORK_GONE)
        elif failure.reason == "peer-down":
            self._signal(line, Signal.NO_ANSWER)

    def _remember(self, line: LiveLine, delivery: Delivery, sms_no: int) -> None:
        submission = Submission(delivery.delivery_id, delivery.destination, self._seconds())
        self._submitted.remember(line.label, sms_no, submission)
        held = line.early.pop(sms_no, None) if line.early else None
        if held is not None:
            self._report(line, held.event, delivery.delivery_id, held.address, held.socket)

    def _amended(self, line: LiveLine, delivery: Delivery, outcome: Outcome) -> None:
        """Report what the device said about a text that was given up as unknown."""
        if isinstance(outcome, Sent):
            status, reason, text = Status.SENT, "", ""
            if outcome.remote_id:
                self._remember(line, delivery, int(outcome.remote_id))
        elif isinstance(outcome, Failure):
            status, reason, text = Status.FAILED, outcome.reason, outcome.detail
        else:
            return
        self._inbox.report(
            DeliveryReport(
                gateway=self.label,
                status=status,
                delivery_id=delivery.delivery_id,
                line=line.label,
                reason=reason,
                text=text,
            )
        ).addErrback(lambda f: self.log.failure("could not record a late answer", failure=f))

    # -- USSD and control ------------------------------------------------------------------------

    def _request(
        self,
        line: LiveLine,
        sendid: int,
        datagram: bytes,
        read: Callable[[Any], str | Failure | None],
        settled: Callable[[str | Failure], None],
        *,
        tries: int = COMMAND_TRIES,
        repeat_after_s: float | None = None,
        timeout_s: float | None = None,
        closes_session: bool = False,
    ) -> Request:
        step_s = line.config.answer_timeout if repeat_after_s is None else repeat_after_s
        request = Request(
            self._exchanges,
            line,
            sendid,
            datagram,
            read,
            settled,
            tries,
            step_s,
            step_s * tries if timeout_s is None else timeout_s,
            TemporaryFailure("peer-down", "The GoIP does not answer."),
            closes_session,
        )
        request.begin()
        return request

    def _line_or_failure(self, label: str) -> LiveLine | Failure:
        line = self._lines.get(label)
        if line is None:
            return PermanentFailure("unknown-line")
        if not self.running:
            return TemporaryFailure("peer-down", "The bridge is stopping.")
        if not line.reachable:
            return TemporaryFailure(
                "peer-down", f"Line {label} cannot be reached: {line.presence.value}."
            )
        return line

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """See `IUssd.ussd`."""
        live = self._line_or_failure(line)
        if isinstance(live, Failure):
            return fail(live)
        try:
            codec.check_ussd_code(code)
        except codec.InvalidCommand as e:
            return fail(PermanentFailure("unsupported", f"{_sentence(str(e))}"))
        closed_for = live.closed_for()
        if closed_for is not None and live.presence is not Presence.DEAF:
            return fail(TemporaryFailure(*closed_for))
        if live.ussd_waits:
            return fail(
                TemporaryFailure(
                    "throttled", f"Line {line} still waits for the answer to another USSD code."
                )
            )
        live.ussd_waits = True
        done: Deferred[str] = Deferred()

        def settled(answer: str | Failure) -> None:
            live.ussd_waits = False
            live.release()
            _fire(done, answer)

        def begin() -> None:
            if not self.running:
                settled(TemporaryFailure("peer-down", "The bridge is stopping."))
                return
            sendid = self._exchanges.new_sendid()
            self._request(
                live,
                sendid,
                codec.encode_ussd(sendid, live.password, code),
                read_ussd,
                settled,
                tries=2,
                repeat_after_s=live.config.ussd_repeat,
                timeout_s=live.config.ussd_timeout,
            )

        live.acquire(begin)
        return done

    def control(self, line: str, command: str, arguments: Sequence[str]) -> Deferred[str]:
        """See `ILineControl.control`."""
        live = self._line_or_failure(line)
        if isinstance(live, Failure):
            return fail(live)
        if command == "signal":
            dbm = live.signal_dbm
            return succeed("unknown" if dbm is None else f"{dbm} dBm")
        known = COMMANDS.get(command)
        if known is None:
            return fail(PermanentFailure("unsupported", f"A GoIP line has no command {command!r}."))
        try:
            wire = known.make(arguments)
            sendid = self._exchanges.new_sendid()
            datagram = wire.encode(sendid, live.password)
        except codec.InvalidCommand as e:
            return fail(PermanentFailure("unsupported", _sentence(str(e))))
        promise = wire.read is read_promise
        if promise and live.cells is not None:
            return fail(TemporaryFailure("throttled", f"Line {line} is looking for cells already."))
        done: Deferred[str] = Deferred()

        def settled(answer: str | Failure) -> None:
            if promise:
                live.cells = None
            _fire(done, answer)

        request = self._request(
            live,
            sendid,
            datagram,
            wire.read,
            settled,
            tries=1 if wire.once else COMMAND_TRIES,
            timeout_s=_COMMAND_TIMEOUT_S if promise else None,
            closes_session=wire.closes_session,
        )
        if promise and not request.over:
            live.cells = request
        return done


def _repeat_key(verb: str, recvid: int, sender: str, text: str) -> str:
    """
    Return what tells a push from all others of its line.

    The number alone would not do: devices without a clock count from the same number again after
    every restart.
    """
    content = f"{sender}\0{text}".encode("utf-8", "surrogatepass")
    return f"{verb}|{recvid}|{blake2b(content, digest_size=9).hexdigest()}"


def _unsendable(line: LiveLine, delivery: Delivery) -> PermanentFailure | None:
    """Return why a delivery can never go out on this line, if so."""
    if delivery.kind is not Kind.MESSAGE:
        return PermanentFailure("unsupported")
    if delivery.media:
        return PermanentFailure("media-unsupported")
    allow = line.config.allow
    if allow is not None and allow.search(delivery.destination) is None:
        return PermanentFailure("destination-not-allowed")
    try:
        codec.check_number(delivery.destination)
    except codec.InvalidCommand as e:
        return PermanentFailure("invalid-number", _sentence(str(e)))
    if not delivery.body:
        return PermanentFailure("empty")
    try:
        codec.encode_msg(1, delivery.body)
    except codec.InvalidCommand as e:
        size = len(delivery.body.encode("utf-8", "surrogatepass"))
        reason = "too-long" if size > codec.MAX_TEXT_BYTES else "unsupported"
        return PermanentFailure(reason, _sentence(str(e)))
    return None


def _sentence(text: str) -> str:
    return f"{text[:1].upper()}{text[1:]}."


def _fire(done: Deferred[str], answer: str | Failure) -> None:
    if isinstance(answer, str):
        done.callback(answer)
    else:
        done.errback(answer)


async def _close_all(ports: Sequence[Any]) -> None:
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
