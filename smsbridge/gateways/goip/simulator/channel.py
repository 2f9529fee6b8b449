"""
One SIM channel of a simulated GoIP: commands and acks in, keepalives, pushes and answers out.

It knows no socket: datagrams leave through ``send(bytes, address)`` and arrive at
`Channel.datagram_received`.  Time comes from ``clock``, chance from ``rng``.

Power and network::

    OFF --power_on--> INIT --gsm_init--> LOGIN <--log_out / log_in--> LOGOUT
     ^                  \\-- power_off, reboot: everything that was under way is forgotten --/

Bulk sessions, keyed by the server's sendid, are the table `_SESSION_TABLE`; they end with DONE, or
silently 90 s after MSG.  Bulk texts, one-shot texts and USSD share one queue, because the module
does one thing at a time.

Pushes are repeated, byte by byte the same, until any address sends ``VERB recvid`` and a verdict;
after the last repetition they are lost, as on real boxes.
"""

from __future__ import annotations

import enum
import random
from collections import OrderedDict, deque
from collections.abc import Callable
from typing import Any, Protocol

import attrs
from twisted.internet.interfaces import IDelayedCall, IReactorTime

from smsbridge.gateways.goip import device_codec as wire
from smsbridge.gateways.goip.codec import MalformedDatagram
from smsbridge.gateways.goip.simulator import parts
from smsbridge.gateways.goip.simulator.journal import (
    Accepted,
    GsmChanged,
    Journal,
    Lost,
    Radiated,
    Refused,
    Registered,
    SendFailed,
    UssdAsked,
)
from smsbridge.gateways.goip.simulator.settings import (
    DEFAULT_MENU,
    LineSettings,
    Menu,
    Profile,
    Span,
    Timing,
)

Address = tuple[str, int]

DEFAULT_ERRORSTATUS = 38
NO_NETWORK_ERRORSTATUS = 331
LOST_POWER_ERRORSTATUS = 500
UNANSWERED_BEFORE_LOGOUT = 3
RING_SIZE = 5
EPOCH_RECVID = 446
DISABLING_VERBS = frozenset({"STATE", "RECORD", "EXPIRY", "REMAIN", "CELLINFO", "CGATT", "BCCH"})
_REMEMBERED_ONE_SHOTS = 64
_USSD_FAILED = b"USSD send failed!"


class Settled(Protocol):
    """Hears what became of a push: ``accepted``, ``refused``, ``lost`` or ``forgotten``."""

    def __call__(self, push: PendingPush, outcome: str) -> None: ...


class Gsm(enum.Enum):
    """Power and network registration of a channel."""

    OFF = "off"
    INIT = "starting"
    LOGIN = "login"
    LOGOUT = "logout"


class SessionState(enum.Enum):
    """What is known of a bulk session."""

    NONE = "no such session"
    AUTH = "text taken, password not yet seen"
    READY = "password was right, numbers may come"


@attrs.define(eq=False)
class PendingPush:
    """A push on its way: its bytes, and how often they went out."""

    verb: str
    recvid: int
    datagram: bytes
    on_settled: Settled | None
    sends: int = 0
    first_sent_s: float = 0.0
    due_s: float = 0.0


@attrs.define(eq=False)
class Job:
    """Something for the radio module to do, and what the server was told of it last."""

    sendid: int
    telid: int
    num: str
    text: str
    addr: Address
    asked_at_s: float
    parts: int = 1
    answer: bytes = b""


@attrs.define(eq=False)
class UssdJob:
    """A USSD request for the radio module."""

    sendid: int
    code: str
    addr: Address


@attrs.define(eq=False)
class Session:
    """A bulk session: one text, any numbers."""

    sendid: int
    text: str
    parts: int
    expires_s: float
    state: SessionState = SessionState.AUTH
    jobs: OrderedDict[int, Job] = attrs.field(factory=OrderedDict)


@attrs.define
class SendRefusal:
    """The network's refusal of texts: to one number or to all ('any'), some times or for ever."""

    num: str
    errorstatus: int
    left: int | None


@attrs.define
class Switches:
    """Misbehavior of one channel, all off at first."""

    no_acks: bool = False
    no_answers: bool = False
    invalid_utf8: bool = False
    missing_part: int = 0


class Channel:
    """
    Simulate one channel.

    ``send`` may be replaced at any time.  Public methods that stand for events of the phone network
    (`receive_sms`, `push_ussd`, `call_in`) may be called in any state.
    """

    def __init__(
        self,
        clock: IReactorTime,
        send: Callable[[bytes, Address], None],
        settings: LineSettings,
        server: Address,
        *,
        timing: Timing | None = None,
        profile: Profile | None = None,
        journal: Journal | None = None,
        rng: random.Random | None = None,
        recvid_clock: str = "real",
        first_recvid: int | None = None,
        delivery_reports: bool = True,
        menu: dict[str, Menu] | None = None,
    ) -> None:
        self.send = send
        self.server = server
        self.settings = settings
        self.id = settings.id
        self.password = settings.password
        self.num = settings.num
        self.imei = settings.imei
        self.imsi = settings.imsi
        self.iccid = settings.iccid
        self.carrier = settings.carrier
        self.timing = timing if timing is not None else Timing()
        self.profile = profile if profile is not None else Profile()
        self.journal = journal if journal is not None else Journal()
        self.switches = Switches()
        self.delivery_reports = delivery_reports
        self.report_states: tuple[int, ...] = (0,)
        self.menu = menu if menu is not None else dict(DEFAULT_MENU)
        self.refusals: list[SendRefusal] = []
        self.ring: deque[tuple[str, str]] = deque(maxlen=RING_SIZE)
        self.on_reboot_box: Callable[[], None] = lambda: self.reboot(
            self.timing.reboot_box.draw(self._rng)
        )
        self.on_module_ctl: Callable[[str], None] = lambda digits: None
        self._clock = clock
        self._rng = rng if rng is not None else random.Random()
        self._recvid_clock = recvid_clock
        self._first_recvid = first_recvid
        self._timers: set[IDelayedCall] = set()
        self._at_network: deque[tuple[str, str | bytes, str, Settled | None]] = deque()
        self.signal = 21
        self.gsm = Gsm.OFF
        self.exp_time_min = -1
        self.call_interval_s = 0
        self.base_cell = "0"
        self.cells = ("689", "638", "783")
        self.forwards: dict[int, str] = {}
        self.call_waiting = False
        self._reset()
        self._reactions: dict[type[Any], Callable[[Any, Address], None]] = {
            wire.Reg: self._on_reg,
            wire.Ack: self._on_ack,
            wire.GoippyAck: self._on_goippy_ack,
            wire.Msg: self._on_session,
            wire.Password: self._on_session,
            wire.Send: self._on_session,
            wire.DoneAsked: self._on_session,
            wire.Sms: self._on_sms,
            wire.Ussd: self._on_ussd,
            wire.UssdLeave: self._on_ussd_leave,
            wire.Control: self._on_control,
            wire.CallForward: self._on_call_forward,
            wire.CallWaiting: self._on_call_waiting,
        }

    def _reset(self) -> None:
        """Forget what a reboot forgets."""
        self.req = 0
        self.unanswered = 0
        self.registered = False
        self.sessions: dict[int, Session] = {}
        self.sms_no = 1
        self.call_state = "IDLE"
        self.reports_disabled = False
        self.disabled_verbs: set[str] = set()
        self.outstanding: dict[int, PendingPush] = {}
        self._held: deque[PendingPush] = deque()
        self._next_recvid = 0
        self._resend_timer: IDelayedCall | None = None
        self._queue: deque[Job | UssdJob] = deque()
        self._busy: Job | UssdJob | None = None
        self._pumping = False
        self._modem_timer: IDelayedCall | None = None
        self._gsm_timer: IDelayedCall | None = None
        self._call_timers: list[IDelayedCall] = []
        self._call_began_s: float | None = None
        self._one_shots: OrderedDict[tuple[int, int], Job] = OrderedDict()
        self._dialogue: dict[str, Menu] | None = None
        self._dialogue_timer: IDelayedCall | None = None

    # Power and network.

    def power_on(self, keepalive_after_s: float = 0.0) -> None:
        """Start from nothing: count from 1, look for a network, report to the server."""
        if self.gsm is not Gsm.OFF:
            return
        self._cancel_timers()
        if self._first_recvid is not None:
            self._next_recvid = self._first_recvid
        elif self._recvid_clock == "epoch":
            self._next_recvid = EPOCH_RECVID
        else:
            self._next_recvid = int(self._clock.seconds())
        self._set_gsm(Gsm.INIT)
        self._search_network(self.timing.gsm_init)
        if keepalive_after_s > 0:
            self._later(keepalive_after_s, self._keepalive)
        else:
            self._keepalive()

    def power_off(self) -> None:
        """Forget everything under way, silently."""
        self._cancel_timers()
        forgotten = [*self.outstanding.values(), *self._held]
        self._reset()
        self._set_gsm(Gsm.OFF)
        for push in forgotten:
            if push.on_settled is not None:
                push.on_settled(push, "forgotten")

    def reboot(self, after_s: float | None = None) -> None:
        """Lose power, and start again after some seconds."""
        self.power_off()
        delay_s = self.timing.reboot_box.draw(self._rng) if after_s is None else after_s
        self._later(delay_s, self.power_on)

    def reboot_module(self) -> None:
        """Restart the radio module alone: the network goes, the server's side stays."""
        self.log_out()
        self._fail_modem_work(LOST_POWER_ERRORSTATUS)
        self.sms_no = 1
        self._search_network(self.timing.reboot_module)

    def log_out(self) -> None:
        """Lose the mobile network."""
        if self.gsm is not Gsm.OFF:
            self._stop(self._gsm_timer)
            self._set_gsm(Gsm.LOGOUT)

    def log_in(self) -> None:
        """Find the mobile network; texts that waited there arrive."""
        if self.gsm in (Gsm.OFF, Gsm.LOGIN):
            return
        self._stop(self._gsm_timer)
        self._set_gsm(Gsm.LOGIN)
        waiting, self._at_network = self._at_network, deque()
        for sender, text, smsc, on_settled in waiting:
            self.receive_sms(sender, text, smsc=smsc, on_settled=on_settled)

    def swap_sim(self, imsi: str, iccid: str, num: str = "") -> None:
        """Put another SIM into the channel, which restarts its module."""
        self.imsi, self.iccid, self.num = imsi, iccid, num
        self.reboot_module()

    def _search_network(self, span: Span) -> None:
        delay_s = span.draw(self._rng)
        if delay_s <= 0:
            self.log_in()
        else:
            self._gsm_timer = self._later(delay_s, self.log_in)

    def _set_gsm(self, state: Gsm) -> None:
        if state is not self.gsm:
            self.gsm = state
            self.journal.tell(GsmChanged(self.id, state.value))

    # Keepalives.

    def announce(self) -> None:
        """Send a keepalive now, beside the regular ones."""
        if self.gsm is Gsm.OFF:
            return
        if self.unanswered >= UNANSWERED_BEFORE_LOGOUT:
            self._set_registered(False)
        self.unanswered += 1
        self.req += 1
        datagram = wire.encode_keepalive(self.req, self.id, self.password, self._keepalive_fields())
        self.send(datagram, self.server)

    def _keepalive(self) -> None:
        if self.timing.keepalive_s > 0:
            self._later(self.timing.keepalive_s, self._keepalive)
        self.announce()

    def _keepalive_fields(self) -> bytes:
        in_network = self.gsm is Gsm.LOGIN
        status = "LOGIN" if in_network else "LOGOUT"
        fields: list[tuple[str, str | bytes]] = [
            ("num", self.num),
            ("signal", str(self.signal) if in_network else ""),
            ("gsm_status", status),
            ("voip_status", "LOGOUT"),
        ]
        if self.profile.keepalive >= 2:
            fields += [
                ("voip_state", self.call_state),
                ("remain_time", str(self.exp_time_min)),
                ("imei", self.imei),
                ("imsi", self.imsi),
                ("iccid", self.iccid),
                ("pro", self.carrier if in_network else ""),
            ]
        if self.profile.keepalive >= 3:
            fields += [
                ("idle", "0"),
                ("disable_status", "1" if self.reports_disabled else "0"),
                ("SMS_LOGIN", "Y" if self.registered else "N"),
                ("SMB_LOGIN", ""),
                ("CELLINFO", "LAC:7E5,CELL ID:5E5B" if in_network else ""),
                ("CGATT", "Y" if in_network else "N"),
            ]
        return wire.encode_fields(fields)

    def _on_reg(self, reg: wire.Reg, addr: Address) -> None:
        if reg.accepted and 0 < reg.number <= self.req:
            self.unanswered = 0
            self._set_registered(True)

    def _set_registered(self, registered: bool) -> None:
        if registered is not self.registered:
            self.registered = registered
            self.journal.tell(Registered(self.id, registered))

    # Datagrams.

    def datagram_received(self, datagram: bytes, addr: Address) -> None:
        """Take a datagram from a server; raises nothing for its content."""
        if self.gsm is Gsm.OFF:
            return
        try:
            event = wire.decode(datagram)
        except MalformedDatagram:
            self.journal.malformed += 1
            return
        self._reactions[type(event)](event, addr)

    def _answer(self, datagram: bytes, addr: Address) -> None:
        if not self.switches.no_answers:
            self.send(datagram, addr)

    # Pushes.

    @property
    def next_recvid(self) -> int:
        """The number of the next push; may be set, below zero too."""
        return self._next_recvid

    @next_recvid.setter
    def next_recvid(self, recvid: int) -> None:
        self._next_recvid = recvid

    def receive_sms(
        self,
        sender: str,
        text: str | bytes,
        *,
        smsc: str = "",
        on_settled: Settled | None = None,
    ) -> list[PendingPush]:
        """
        Receive a text from the phone network and push it to the server.

        A channel without a network gets it when it logs in again, and returns no push now.  A text
        given as bytes goes out unchanged.  Old profiles push each part by itself.
        """
        if self.gsm is not Gsm.LOGIN:
            self._at_network.append((sender, text, smsc, on_settled))
            return []
        if isinstance(text, bytes):
            return [self._push_sms(sender, text, smsc, on_settled)]
        pieces = [text]
        if (len(text) > 70 or not self.profile.reassembles) and (
            not self.profile.reassembles or self.switches.missing_part
        ):
            pieces = parts.split(text)
        missing, self.switches.missing_part = self.switches.missing_part, 0
        if not 0 < missing <= len(pieces) or len(pieces) == 1:
            missing = 0
        if self.profile.reassembles:
            if missing:
                pieces[missing - 1] = f" [SMS{missing} missed] "
                text = "".join(pieces)
            return [self._push_sms(sender, text.encode("utf-8", "replace"), smsc, on_settled)]
        if missing:
            del pieces[missing - 1]
        pushes = []
        delay_s = 0.0
        for piece in pieces:
            raw = piece.encode("utf-8", "replace")
            if delay_s > 0:
                self._later(delay_s, self._push_sms, sender, raw, smsc, on_settled)
            else:
                pushes.append(self._push_sms(sender, raw, smsc, on_settled))
            delay_s += self.timing.part_gap.draw(self._rng)
        return pushes

    def _push_sms(
        self, sender: str, raw: bytes, smsc: str, on_settled: Settled | None
    ) -> PendingPush:
        if self.switches.invalid_utf8:
            middle = len(raw) // 2
            raw = raw[:middle] + b"\xff\xfe" + raw[middle:]
        self.ring.append((sender, raw.decode("utf-8", "replace")))
        center = smsc or (self.settings.smsc if self.profile.sends_smsc else "")
        recvid = self._take_recvid()
        datagram = wire.encode_received(recvid, self.id, self.password, sender, raw, center)
        return self._push("RECEIVE", recvid, datagram, on_settled)

    def push(
        self,
        verb: str,
        fields: list[tuple[str, str | bytes]],
        on_settled: Settled | None = None,
    ) -> PendingPush | None:
        """Push any report; None when the server has switched that kind off."""
        if verb in self.disabled_verbs or (self.reports_disabled and verb in DISABLING_VERBS):
            return None
        recvid = self._take_recvid()
        datagram = wire.encode_push(
            verb, recvid, self.id, self.password, wire.encode_fields(fields)
        )
        return self._push(verb, recvid, datagram, on_settled)

    def push_ussd(self, text: str) -> PendingPush | None:
        """Push a notice that the network sent by itself."""
        return self.push("USSN", [("msg", text)])

    def push_cells(self) -> PendingPush | None:
        """Push the list of cells in sight."""
        return self.push("CELLS", [("lists", "".join(f"{cell}," for cell in self.cells))])

    def push_cell_info(self, info: str = "LAC:7E5,CELL ID:5E5B") -> PendingPush | None:
        """Push the serving cell."""
        return self.push("CELLINFO", [("info", f'"{info}"')])

    def report_delivery(self, sms_no: int, num: str, state: int) -> PendingPush | None:
        """Push a delivery report."""
        if self.gsm is Gsm.OFF:
            return None
        recvid = self._take_recvid()
        datagram = wire.encode_delivery_report(
            recvid,
            self.id,
            self.password,
            sms_no,
            state,
            num if self.profile.report_has_num else None,
        )
        return self._push("DELIVER", recvid, datagram, None)

    def _take_recvid(self) -> int:
        recvid = self._next_recvid
        self._next_recvid = recvid - 1
        return recvid

    def _push(
        self, verb: str, recvid: int, datagram: bytes, on_settled: Settled | None
    ) -> PendingPush:
        push = PendingPush(verb, recvid, datagram, on_settled)
        self.journal.pushed += 1
        if self.profile.serial_pushes and self.outstanding:
            self._held.append(push)
        else:
            self._transmit(push)
        return push

    def _transmit(self, push: PendingPush) -> None:
        now_s = self._clock.seconds()
        push.sends += 1
        if push.sends == 1:
            push.first_sent_s = now_s
        push.due_s = now_s + self.timing.resend_s
        self.outstanding[push.recvid] = push
        if self._resend_timer is None:
            self._resend_timer = self._later(self.timing.resend_s, self._resend_due)
        self.send(push.datagram, self.server)

    def _resend_due(self) -> None:
        # All pushes wait equally long and each transmission goes to the end of the dictionary, so
        # its first entry is always the next one due, and one timer serves all.  The spent timer
        # stays in its place until the end, lest a transmission from here start another one.
        limit_s = self._clock.seconds() + 0.001
        try:
            while self.outstanding:
                push = next(iter(self.outstanding.values()))
                if push.due_s > limit_s:
                    break
                del self.outstanding[push.recvid]
                if push.sends <= self.timing.resends:
                    self.journal.repeated += 1
                    self._transmit(push)
                else:
                    self.journal.note_lost(Lost(self.id, push.verb, push.recvid, push.datagram))
                    self._settle(push, "lost")
        finally:
            self._resend_timer = None
            if self.outstanding:
                push = next(iter(self.outstanding.values()))
                delay_s = max(0.0, push.due_s - self._clock.seconds())
                self._resend_timer = self._later(delay_s, self._resend_due)

    def _settle(self, push: PendingPush, outcome: str) -> None:
        if push.on_settled is not None:
            push.on_settled(push, outcome)
        if self._held and not self.outstanding:
            self._transmit(self._held.popleft())

    def _on_ack(self, ack: wire.Ack, addr: Address) -> None:
        if self.switches.no_acks:
            return
        push = self.outstanding.get(ack.recvid)
        if push is None or push.verb != ack.verb:
            self.journal.stray_acks += 1
            return
        del self.outstanding[ack.recvid]
        if ack.verdict == "ERROR":
            self.journal.refused += 1
            self.journal.tell(Refused(self.id, ack.verb, ack.recvid, ack.text))
            self._settle(push, "refused")
            return
        if ack.verdict == "DISABLE" and ack.verb in DISABLING_VERBS:
            self.disabled_verbs.add(ack.verb)
        self._accepted(push)

    def _on_goippy_ack(self, ack: wire.GoippyAck, addr: Address) -> None:
        if self.profile.lenient_ack:
            self._on_ack(wire.Ack("RECEIVE", ack.recvid, "OK", ""), addr)
        else:
            self.journal.stray_acks += 1

    def _accepted(self, push: PendingPush) -> None:
        journal = self.journal
        journal.accepted += 1
        if journal.observers:
            took_s = self._clock.seconds() - push.first_sent_s
            journal.tell(Accepted(self.id, push.verb, push.recvid, push.sends, took_s))
        self._settle(push, "accepted")

    # Bulk sessions.

    def _on_session(self, command: wire.Command, addr: Address) -> None:
        session = self.sessions.get(command.sendid)
        if session is not None and session.expires_s <= self._clock.seconds():
            del self.sessions[command.sendid]
            session = None
        state = SessionState.NONE if session is None else session.state
        _SESSION_TABLE[state, type(command)](self, session, command, addr)

    def _open_session(self, session: Any, msg: wire.Msg, addr: Address) -> None:
        now_s = self._clock.seconds()
        if len(self.sessions) >= self.profile.max_sessions:
            expired = [key for key, each in self.sessions.items() if each.expires_s <= now_s]
            for key in expired:
                del self.sessions[key]
            if not expired:
                self._answer(wire.encode_error(msg.sendid, "too many sessions"), addr)
                return
        raw = msg.text(by_length=self.profile.cuts_by_length)
        text = raw.decode("utf-8", "replace")
        self.sessions[msg.sendid] = Session(
            msg.sendid, text, parts.count(text), now_s + self.timing.session_s
        )
        self._answer(wire.encode_password_asked(msg.sendid), addr)

    def _ask_password(self, session: Session, command: wire.Command, addr: Address) -> None:
        self._answer(wire.encode_password_asked(command.sendid), addr)

    def _ask_number(self, session: Session, command: wire.Command, addr: Address) -> None:
        self._answer(wire.encode_send_asked(command.sendid), addr)

    def _authenticate(self, session: Session, command: wire.Password, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
            return
        session.state = SessionState.READY
        self._answer(wire.encode_send_asked(command.sendid), addr)

    def _unknown_session(self, session: Any, command: wire.Command, addr: Address) -> None:
        self._answer(wire.encode_error(command.sendid, "SENDID"), addr)

    def _close_session(self, session: Any, command: wire.DoneAsked, addr: Address) -> None:
        self.sessions.pop(command.sendid, None)
        self._answer(wire.encode_done(command.sendid), addr)

    def _submit(self, session: Session, command: wire.Send, addr: Address) -> None:
        known = session.jobs.get(command.telid)
        if known is not None:
            self._repeat(known, addr)
            return
        if self.gsm is not Gsm.LOGIN:
            self._answer(wire.encode_error(command.sendid, "GSM_LOGOUT"), addr)
            return
        job = Job(
            command.sendid,
            command.telid,
            command.num,
            session.text,
            addr,
            self._clock.seconds(),
            session.parts,
        )
        session.jobs[command.telid] = job
        while len(session.jobs) > self.profile.remembered_telids:
            session.jobs.popitem(last=False)
        self._enqueue(job)

    # One-shot texts.

    def _on_sms(self, command: wire.Sms, addr: Address) -> None:
        if not self.profile.one_shot:
            return
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
            return
        known = self._one_shots.get((command.sendid, command.telid))
        if known is not None:
            self._repeat(known, addr)
            return
        if self.gsm is not Gsm.LOGIN:
            self._answer(wire.encode_error(command.sendid, "GSM_LOGOUT"), addr)
            return
        text = command.text.decode("utf-8", "replace")
        job = Job(
            command.sendid,
            command.telid,
            command.num,
            text,
            addr,
            self._clock.seconds(),
            parts.count(text),
        )
        self._one_shots[command.sendid, command.telid] = job
        if len(self._one_shots) > _REMEMBERED_ONE_SHOTS:
            self._one_shots.popitem(last=False)
        self._enqueue(job)

    # The radio module: one queue for all.

    def _repeat(self, job: Job, addr: Address) -> None:
        """React to a command for a text that is known already."""
        self.journal.repeated_commands += 1
        job.addr = addr
        self._answer(job.answer or wire.encode_wait(job.sendid, job.telid), addr)
        if self.profile.resend_dup:
            again = Job(
                job.sendid, job.telid, job.num, job.text, addr, self._clock.seconds(), job.parts
            )
            self._queue.append(again)
            self._pump()

    def _enqueue(self, job: Job) -> None:
        self._queue.append(job)
        wait_share = self.profile.wait_share
        if wait_share >= 1 or (wait_share > 0 and self._rng.random() < wait_share):
            job.answer = wire.encode_wait(job.sendid, job.telid)
            self._answer(job.answer, job.addr)
        self._pump()

    def _pump(self) -> None:
        """Let the module work until something takes time."""
        if self._pumping or self._busy is not None:
            return
        self._pumping = True
        try:
            while self._queue and self._busy is None:
                job = self._queue.popleft()
                self._busy = job
                if isinstance(job, Job):
                    duration_s = self.timing.sms.draw(self._rng)
                    duration_s += self.timing.part_s * (job.parts - 1)
                else:
                    duration_s = self.timing.ussd.draw(self._rng)
                if duration_s > 0:
                    self._modem_timer = self._later(duration_s, self._modem_done)
                else:
                    self._finish()
        finally:
            self._pumping = False

    def _modem_done(self) -> None:
        self._modem_timer = None
        self._finish()
        self._pump()

    def _finish(self) -> None:
        job, self._busy = self._busy, None
        if isinstance(job, Job):
            self._radiate(job)
        elif job is not None:
            self._ask_network(job)

    def _radiate(self, job: Job) -> None:
        errorstatus = self._refusal(job.num)
        if errorstatus:
            self._fail(job, errorstatus)
            return
        sms_no = self.sms_no
        self.sms_no = (sms_no + 1) % self.profile.sms_no_wrap
        has_sms_no = self.profile.ok_has_sms_no
        job.answer = wire.encode_ok(job.sendid, job.telid, sms_no if has_sms_no else None)
        # What is in the air stays there, so it is on record before anyone hears of it.
        self.journal.note_radiated(
            Radiated(
                self.id,
                job.num,
                job.text,
                job.parts,
                sms_no,
                job.sendid,
                job.telid,
                job.asked_at_s,
                self._clock.seconds(),
            )
        )
        self._answer(job.answer, job.addr)
        if self.delivery_reports:
            self._schedule_reports(sms_no, job.num, job.parts)

    def _schedule_reports(self, sms_no: int, num: str, part_count: int) -> None:
        delay_s = 0.0
        for _ in range(part_count if self.profile.report_per_part else 1):
            for state in self.report_states:
                delay_s += self.timing.delivery_report.draw(self._rng)
                if delay_s > 0:
                    self._later(delay_s, self.report_delivery, sms_no, num, state)
                else:
                    self.report_delivery(sms_no, num, state)

    def _refusal(self, num: str) -> int:
        if self.gsm is not Gsm.LOGIN:
            return NO_NETWORK_ERRORSTATUS
        for refusal in self.refusals:
            if refusal.num in ("any", num):
                if refusal.left is not None:
                    refusal.left -= 1
                    if refusal.left <= 0:
                        self.refusals.remove(refusal)
                return refusal.errorstatus
        return 0

    def _fail(self, job: Job, errorstatus: int) -> None:
        self.journal.send_failures += 1
        self.journal.tell(SendFailed(self.id, job.num, errorstatus))
        job.answer = wire.encode_send_error(job.sendid, job.telid, errorstatus)
        self._answer(job.answer, job.addr)

    def _fail_modem_work(self, errorstatus: int) -> None:
        self._stop(self._modem_timer)
        self._modem_timer = None
        work = [self._busy, *self._queue]
        self._busy = None
        self._queue.clear()
        for job in work:
            if isinstance(job, Job):
                self._fail(job, errorstatus)
            elif job is not None:
                self._fail_ussd(job.sendid, "module restarted", job.addr)
        self._close_dialogue()

    def refuse_sends(self, num: str, errorstatus: int, times: int | None = None) -> None:
        """Let the network refuse texts to ``num`` ('any' for all), so many times or for ever."""
        self.refusals.append(SendRefusal(num, errorstatus, times))

    # USSD.

    def _on_ussd(self, command: wire.Ussd, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_ussd_error(command.sendid, "PASSWORD"), addr)
            return
        if self.gsm is not Gsm.LOGIN:
            self._fail_ussd(command.sendid, "GSM_LOGOUT", addr)
            return
        pending = [job for job in (self._busy, *self._queue) if isinstance(job, UssdJob)]
        if pending:
            self._repeat_ussd(command, addr, pending)
            return
        self._queue.append(UssdJob(command.sendid, command.code, addr))
        self._pump()

    def _repeat_ussd(self, command: wire.Ussd, addr: Address, pending: list[UssdJob]) -> None:
        """React to a request while another waits for its answer."""
        self.journal.repeated_commands += 1
        if not self.profile.ussd_repeat_cancels:
            if all(job.sendid != command.sendid for job in pending):
                self._fail_ussd(command.sendid, "busy", addr)
            return
        for job in pending:
            if job is self._busy:
                self._stop(self._modem_timer)
                self._busy = None
            else:
                self._queue.remove(job)
        self._close_dialogue()
        self._fail_ussd(command.sendid, "canceled", addr)
        self._pump()

    def _ask_network(self, job: UssdJob) -> None:
        menus = self.menu if self._dialogue is None else self._dialogue
        self._close_dialogue()
        menu = menus.get(job.code) if self.gsm is Gsm.LOGIN else None
        asked = UssdAsked(self.id, job.code, None if menu is None else menu.text)
        self.journal.ussd.append(asked)
        self.journal.tell(asked)
        if menu is None:
            self._fail_ussd(job.sendid, "not recognized", job.addr)
            return
        if menu.choices:
            self._dialogue = dict(menu.choices)
            self._dialogue_timer = self._later(
                self.timing.ussd_menu_s, self._dialogue_expired, job.sendid, job.addr
            )
        padding = b"@" if self.profile.ussd_padding else b""
        self._answer(
            wire.encode_ussd_answer(job.sendid, menu.text.encode("utf-8", "replace") + padding),
            job.addr,
        )

    def _fail_ussd(self, sendid: int, text: str, addr: Address) -> None:
        if self.profile.ussd_failure_as_answer:
            self._answer(wire.encode_ussd_answer(sendid, _USSD_FAILED), addr)
        else:
            self._answer(wire.encode_ussd_error(sendid, text), addr)

    def _on_ussd_leave(self, command: wire.UssdLeave, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
            return
        self._close_dialogue()
        self._answer(wire.encode_ussd_exit(command.sendid), addr)

    def _dialogue_expired(self, sendid: int, addr: Address) -> None:
        self._close_dialogue()
        self._answer(wire.encode_ussd_exit(sendid), addr)

    def _close_dialogue(self) -> None:
        self._dialogue = None
        self._stop(self._dialogue_timer)
        self._dialogue_timer = None

    # Calls.

    def call_in(self, num: str, ring_s: float = 3.0, talk_s: float = 10.0) -> None:
        """Receive a call; with ``talk_s`` zero nobody answers it."""
        self._call(num, "INCOMING", "1", ring_s, talk_s)

    def call_out(self, num: str, ring_s: float = 3.0, talk_s: float = 10.0) -> None:
        """Make a call; with ``talk_s`` zero nobody answers it."""
        self._call(num, "DIALING", "2", ring_s, talk_s)

    def _call(self, num: str, state: str, direction: str, ring_s: float, talk_s: float) -> None:
        if self.gsm is not Gsm.LOGIN or self.call_state != "IDLE":
            return
        self._set_call_state(f"{state}:{num}")
        self.push("RECORD", [("dir", direction), ("num", num)])
        if direction == "2":
            self._call_timers.append(
                self._later(ring_s / 2, self._set_call_state, f"ALERTING:{num}")
            )
        if talk_s > 0:
            self._call_timers.append(self._later(ring_s, self._connect, num))
        self._call_timers.append(self._later(ring_s + talk_s, self.drop_call))

    def _connect(self, num: str) -> None:
        self._call_began_s = self._clock.seconds()
        self._set_call_state(f"CONNECTED:{num}")

    def drop_call(self) -> None:
        """End the call in progress, if there is one."""
        if self.call_state == "IDLE":
            return
        for timer in self._call_timers:
            self._stop(timer)
        self._call_timers.clear()
        began_s, self._call_began_s = self._call_began_s, None
        if began_s is not None:
            self.push("EXPIRY", [("exp", str(int(self._clock.seconds() - began_s)))])
        self._set_call_state("IDLE")
        cause = "Normal call clearing" if began_s is not None else "No answer"
        self.push("HANGUP", [("num", f",cause:{cause}")])
        if began_s is not None:
            self.push("REMAIN", [("gsm_remain_time", str(self.exp_time_min))])

    def _set_call_state(self, state: str) -> None:
        self.call_state = state
        self.push("STATE", [("gsm_remain_state", state)])

    # Control commands.

    def _on_control(self, command: wire.Control, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
            return
        if command.command == "GSM":
            self._answer(wire.encode_gsm_reply(command.sendid, self._gsm_fields()), addr)
            return
        control = _CONTROLS.get(command.command)
        value = None if control is None else control(self, command.value)
        if value is None:
            self._answer(wire.encode_error(command.sendid, "not supported"), addr)
            return
        answer = wire.encode_control_answer(command.command, command.sendid, value)
        self._answer(answer, addr)
        # What restarts the device comes after the answer: a restarting device says nothing.
        effect = _CONTROL_EFFECTS.get(command.command)
        if effect is not None:
            effect(self, command.value)

    def _gsm_fields(self) -> bytes:
        return wire.encode_fields(
            [
                ("get_gsm_num", self.num),
                ("get_exp_time", str(self.exp_time_min)),
                ("get_remain_time", str(self.exp_time_min)),
                ("get_gsm_state", self.call_state.partition(":")[0]),
                ("imei", self.imei),
                ("out_call_interval", str(self.call_interval_s)),
                ("module_down", "0" if self.gsm is not Gsm.LOGOUT else "1"),
            ]
        )

    def switch_module(self, on: bool) -> None:
        """Switch the radio module of this channel on or off."""
        if on:
            self.log_in()
        else:
            self._fail_modem_work(LOST_POWER_ERRORSTATUS)
            self.log_out()

    def _on_call_forward(self, command: wire.CallForward, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
            return
        sendid, reason = command.sendid, command.reason
        if self.gsm is not Gsm.LOGIN or not 0 <= reason <= 5 or not 0 <= command.mode <= 4:
            self._answer(wire.encode_service_answer("CF", "ERROR", sendid), addr)
        elif command.mode == 2:
            num = self.forwards.get(reason, "")
            text = f"1 {num}" if num else "0"
            self._answer(wire.encode_service_answer("CF", "STATE", sendid, text), addr)
        else:
            if command.mode in (1, 3):
                self.forwards[reason] = command.num
            else:
                self.forwards.pop(reason, None)
            self._answer(wire.encode_service_answer("CF", "OK", sendid), addr)

    def _on_call_waiting(self, command: wire.CallWaiting, addr: Address) -> None:
        if command.password != self.password:
            self._answer(wire.encode_error(command.sendid, "PASSWORD"), addr)
        elif self.gsm is not Gsm.LOGIN or command.mode not in (0, 1, 2):
            self._answer(wire.encode_service_answer("CW", "ERROR", command.sendid), addr)
        elif command.mode == 2:
            state = "1" if self.call_waiting else "0"
            self._answer(wire.encode_service_answer("CW", "STATE", command.sendid, state), addr)
        else:
            self.call_waiting = command.mode == 1
            self._answer(wire.encode_service_answer("CW", "OK", command.sendid), addr)

    # Timers.

    def _later(self, delay_s: float, function: Callable[..., Any], *args: Any) -> IDelayedCall:
        timers = self._timers

        def fire() -> None:
            timers.discard(timer)
            function(*args)

        timer = self._clock.callLater(delay_s, fire)
        timers.add(timer)
        return timer

    def _stop(self, timer: IDelayedCall | None) -> None:
        if timer is not None and timer.active():
            self._timers.discard(timer)
            timer.cancel()

    def _cancel_timers(self) -> None:
        for timer in self._timers:
            if timer.active():
                timer.cancel()
        self._timers.clear()


# (what is known of the session, what the server says) -> what the device does.  A device that has
# the text but not the password asks for the password, whatever it hears; one that has both asks for
# a number.
_SESSION_TABLE: dict[
    tuple[SessionState, type[wire.Command]], Callable[[Channel, Any, Any, Address], None]
] = {
    (SessionState.NONE, wire.Msg): Channel._open_session,
    (SessionState.NONE, wire.Password): Channel._unknown_session,
    (SessionState.NONE, wire.Send): Channel._unknown_session,
    (SessionState.NONE, wire.DoneAsked): Channel._close_session,
    (SessionState.AUTH, wire.Msg): Channel._ask_password,
    (SessionState.AUTH, wire.Password): Channel._authenticate,
    (SessionState.AUTH, wire.Send): Channel._ask_password,
    (SessionState.AUTH, wire.DoneAsked): Channel._close_session,
    (SessionState.READY, wire.Msg): Channel._ask_number,
    (SessionState.READY, wire.Password): Channel._ask_number,
    (SessionState.READY, wire.Send): Channel._submit,
    (SessionState.READY, wire.DoneAsked): Channel._close_session,
}


def _set_num(channel: Channel, value: str) -> str:
    channel.num = value
    return f"{value} ok"


def _set_exp_time(channel: Channel, value: str) -> str | None:
    try:
        channel.exp_time_min = int(value)
    except ValueError:
        return None
    return "ok"


def _set_imei(channel: Channel, value: str) -> str:
    channel.imei = value
    return "ok"


def _set_call_interval(channel: Channel, value: str) -> str | None:
    try:
        channel.call_interval_s = int(value)
    except ValueError:
        return None
    return "ok"


def _set_base_cell(channel: Channel, value: str) -> str:
    channel.base_cell = value or "0"
    return f"{value} ok"


def _status_flag(channel: Channel, value: str) -> str:
    channel.reports_disabled = value == "1"
    return "ok"


def _ok(channel: Channel, value: str) -> str:
    return "ok"


_CONTROLS: dict[str, Callable[[Channel, str], str | None]] = {
    "get_gsm_num": lambda channel, value: channel.num,
    "set_gsm_num": _set_num,
    "get_exp_time": lambda channel, value: str(channel.exp_time_min),
    "set_exp_time": _set_exp_time,
    "get_remain_time": lambda channel, value: str(channel.exp_time_min),
    "reset_remain_time": _ok,
    "get_gsm_state": lambda channel, value: channel.call_state.partition(":")[0],
    "get_imei": lambda channel, value: channel.imei,
    "set_imei": _set_imei,
    "get_out_call_interval": lambda channel, value: str(channel.call_interval_s),
    "set_out_call_interval": _set_call_interval,
    "svr_drop_call": _ok,
    "svr_reboot_module": _ok,
    "svr_reboot_dev": _ok,
    "module_ctl_i": _ok,
    "module_ctl": _ok,
    "set_base_cell": _set_base_cell,
    "get_cells_list": _ok,
    "CURCELL": lambda channel, value: channel.cells[0] if channel.cells else "",
    "status_flag": _status_flag,
}


def _push_cells_later(channel: Channel, value: str) -> None:
    channel._later(channel.timing.cells_s, channel.push_cells)


_CONTROL_EFFECTS: dict[str, Callable[[Channel, str], None]] = {
    "svr_drop_call": lambda channel, value: channel.drop_call(),
    "svr_reboot_module": lambda channel, value: channel.reboot_module(),
    "svr_reboot_dev": lambda channel, value: channel.on_reboot_box(),
    # The vendor's document switches off with 2, its own web pages with 0.
    "module_ctl_i": lambda channel, value: channel.switch_module(value == "1"),
    "module_ctl": lambda channel, value: channel.on_module_ctl(value),
    "get_cells_list": _push_cells_later,
}
