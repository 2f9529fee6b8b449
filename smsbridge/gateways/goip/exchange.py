"""
The conversations that we begin with a channel: sending a text, USSD, control commands.

Each is a machine whose states say what is *known*.  What decides is whether the network may have
the text: before ``SEND`` (or the one-shot ``SMS``) has been written it surely does not, afterwards
only the device can tell.  Nothing here knows a socket or a store; time comes through `Exchanges`.

Source: the vendor's "GOIP SMS Interface", and what its own daemon and users of many boxes found
(noted where it matters).
"""

from __future__ import annotations

import heapq
from collections.abc import Callable
from typing import Any, Protocol

from attrs import define, field
from automat import TypeMachineBuilder

from smsbridge.core.message import Outcome, Sent
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.codes import errorstatus_failure
from smsbridge.gateways.goip.protocol import Address

__all__ = ["Channel", "Clock", "Exchange", "Exchanges", "Request", "Sending", "unanswered"]

#: How often a step is written in all before the device counts as unreachable.
TRIES = 4
#: How often a control command is written.
COMMAND_TRIES = 3
#: With `resend_send`: how long nothing at all must have come before SEND is written again.
RESEND_AFTER_S = 10.0
#: How long we still listen for the answer to a text whose outcome was given up as unknown.
LINGER_S = 90.0
#: The only text of its session, so one number does for all.
TELID = 1

NEVER = float("inf")


class Clock(Protocol):
    """The part of IReactorTime that is wanted here."""

    def seconds(self) -> float:
        """Return the time in seconds."""


class Channel(Protocol):
    """What an exchange wants of its line."""

    address: Address | None

    @property
    def password(self) -> str:
        """The channel's password."""

    def write(self, datagram: bytes) -> None:
        """Send a datagram to the address that authenticated last; drop it when there is none."""


class Exchange(Protocol):
    """What `Exchanges` wants of a conversation."""

    channel: Channel
    sendid: int
    wake_at_s: float  # when `alarm` is wanted
    queued_at_s: float  # when `Exchanges` will look at it; its own
    over: bool

    def answer(self, event: Any) -> None:
        """Take what the device said to our sendid."""

    def alarm(self, now_s: float) -> None:
        """Take note that `wake_at_s` has come."""

    def abandon(self) -> None:
        """End now; nobody waits for the device any longer."""


class Exchanges:
    """
    All live conversations of a gateway: finds the one that an answer belongs to, keeps its time.

    One heap of deadlines, looked at by one coarse timer, instead of a timer for every step: at
    1,500 texts a second steps would make and cancel more than 10,000 timers a second.
    """

    def __init__(self, clock: Clock, random_bits: Callable[[int], int]) -> None:
        self.clock = clock
        self._random_bits = random_bits
        self._live: dict[int, Exchange] = {}
        # Ids and not the conversations themselves: most are over long before their first alarm.
        self._alarms: list[tuple[float, int]] = []
        self.strays = 0  # answers that nobody waits for

    def __len__(self) -> int:
        return len(self._live)

    def new_sendid(self) -> int:
        """Return an unguessable id that no live conversation has; devices take 31 bits."""
        while True:
            sendid = self._random_bits(31)
            if sendid and sendid not in self._live:
                return sendid

    def enter(self, exchange: Exchange) -> None:
        """Make a conversation known, under its present sendid."""
        self._live[exchange.sendid] = exchange
        exchange.queued_at_s = NEVER
        self.watch(exchange)

    def leave(self, sendid: int) -> None:
        """Forget a sendid; what still comes for it is a stray."""
        self._live.pop(sendid, None)

    def watch(self, exchange: Exchange) -> None:
        """Take note of a changed `wake_at_s`; costs nothing when it moved to later."""
        if exchange.wake_at_s < exchange.queued_at_s:
            exchange.queued_at_s = exchange.wake_at_s
            heapq.heappush(self._alarms, (exchange.wake_at_s, exchange.sendid))

    def answer(self, event: Any, address: Address) -> bool:
        """
        Hand an answer to its conversation; False if there is none.

        Only the address that the commands go to may answer them: a sendid is hard to guess, and
        a stranger who guesses one still cannot make a text look sent.
        """
        exchange = self._live.get(event.sendid)
        if exchange is None or exchange.channel.address != address:
            self.strays += 1
            return False
        exchange.answer(event)
        self._after(exchange)
        return True

    def sweep(self, now_s: float) -> None:
        """Wake every conversation whose time has come."""
        alarms = self._alarms
        due = []
        while alarms and alarms[0][0] <= now_s:
            due.append(heapq.heappop(alarms))
        for at_s, sendid in due:
            exchange = self._live.get(sendid)
            if exchange is None or exchange.queued_at_s != at_s:
                continue  # over, or watched at another time by now
            exchange.queued_at_s = NEVER
            if exchange.wake_at_s <= now_s:
                exchange.alarm(now_s)
            self._after(exchange)

    def abandon(self, channel: Channel | None = None) -> None:
        """End the conversations with one channel, or all."""
        for exchange in list(self._live.values()):
            if channel is None or exchange.channel is channel:
                exchange.abandon()
                self._after(exchange)

    def _after(self, exchange: Exchange) -> None:
        if exchange.over:
            self.leave(exchange.sendid)
        else:
            self.watch(exchange)


# Sending a text.


class SendingInputs(Protocol):
    """What happens to a text on its way; the first five come from the device."""

    def password_asked(self) -> None:
        """PASSWORD: the device has the text and wants the password."""

    def send_asked(self) -> None:
        """SEND: the password was right, the device wants the number."""

    def waiting(self) -> None:
        """WAIT: the device has text and number in its queue."""

    def taken(self, outcome: Sent) -> None:
        """OK: the network took the text."""

    def failed(self, failure: Outcome) -> None:
        """ERROR with our telid: the device says what became of this very text."""

    def refused(self, failure: Outcome) -> None:
        """ERROR without a telid: the device refuses what we wrote last."""

    def session_lost(self) -> None:
        """ERROR SENDID, the first time: the device does not know the session (any more)."""

    def done(self) -> None:
        """DONE: the device closed the session."""

    def begin(self) -> None:
        """From us: go."""

    def repeat_due(self) -> None:
        """From the clock: the last step has not been answered, and may be written again."""

    def give_up(self) -> None:
        """From the clock or the gateway: nobody waits any longer."""


@define
class _Core:
    """The effects of one sending, and the only ones: write, settle, set the next alarm."""

    sending: Sending
    tries: int = 0

    @property
    def sendid(self) -> int:
        return self.sending.sendid

    def write(self, datagram: bytes) -> None:
        # Always the last thing that an output does: the answer may come while we write.
        self.sending.channel.write(datagram)

    def step(self, datagram: bytes) -> None:
        """Write the first copy of a step and wait for its answer."""
        self.tries = 1
        self.sending.wait(self.sending.answer_timeout_s)
        self.write(datagram)

    def repeat(self, datagram: bytes) -> None:
        """Write another copy."""
        self.tries += 1
        self.sending.wait(self.sending.answer_timeout_s)
        self.write(datagram)

    def msg(self) -> bytes:
        return codec.encode_msg(self.sendid, self.sending.text)

    def password(self) -> bytes:
        return codec.encode_password(self.sendid, self.sending.channel.password)

    def send(self) -> bytes:
        return codec.encode_send(self.sendid, TELID, self.sending.number)

    def sms(self) -> bytes:
        sending = self.sending
        password = sending.channel.password
        return codec.encode_sms(self.sendid, TELID, password, sending.number, sending.text)

    def hand_over(self, datagram: bytes) -> None:
        """Write what may make the device send; from now on only the device knows."""
        if self.sending.resend:
            self.tries = 1
            self.sending.wait(RESEND_AFTER_S)
        else:
            self.sending.wait_for_the_end()
        self.write(datagram)

    def hand_over_again(self, datagram: bytes) -> None:
        """Write it a second and last time."""
        self.sending.wait_for_the_end()
        self.write(datagram)

    def close(self, outcome: Outcome) -> None:
        """Close the session and tell the outcome."""
        self.tries = 1
        self.sending.wait(self.sending.answer_timeout_s, beyond_the_end=True)
        self.write(codec.encode_done(self.sendid))
        self.sending.settle(outcome)

    def unknown(self) -> UnknownOutcome:
        return UnknownOutcome(detail="the GoIP did not say what became of it")

    def linger(self) -> None:
        """Listen on for a while; no step is repeated meanwhile."""
        self.tries = TRIES
        self.sending.wait(LINGER_S, beyond_the_end=True)


_Machine = Callable[[_Core], SendingInputs]
_I = SendingInputs


def _ignore(state: Any, *inputs: Any) -> None:
    """Let inputs pass that a late, repeated or misplaced datagram may cause."""
    for each in inputs:
        state.upon(each).loop().returns(None)


def _build_bulk() -> _Machine:
    machine = TypeMachineBuilder(SendingInputs, _Core)
    idle = machine.state("idle")  # nothing was written
    offered = machine.state("offered")  # MSG was written; the network cannot have the text
    authorizing = machine.state("authorizing")  # PASSWORD was written; nor here
    sending = machine.state("sending")  # SEND was written once; no answer yet
    repeated = machine.state("repeated")  # SEND was written twice; no answer yet
    waiting = machine.state("waiting")  # the device has it and works on it
    closing = machine.state("closing")  # the outcome has been told; DONE was written
    doubtful = machine.state("doubtful")  # told as unknown; a late answer still counts
    over = machine.state("over")

    @idle.upon(_I.begin).to(offered)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.step(core.msg())

    @offered.upon(_I.password_asked).to(authorizing)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.step(core.password())

    @offered.upon(_I.repeat_due).loop()
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.repeat(core.msg())

    @offered.upon(_I.refused).to(over)
    def _(inputs: SendingInputs, core: _Core, failure: Outcome) -> None:
        core.sending.end(failure)

    @offered.upon(_I.give_up).to(over)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.sending.end(unanswered())

    @authorizing.upon(_I.send_asked).to(sending)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.hand_over(core.send())

    @authorizing.upon(_I.repeat_due).loop()
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.repeat(core.password())

    @authorizing.upon(_I.give_up).to(closing)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.close(unanswered())

    for state in (authorizing, sending):
        # Nothing but our last step can be meant: it was written once, or writing it is harmless.
        @state.upon(_I.refused).to(closing)
        def _(inputs: SendingInputs, core: _Core, failure: Outcome) -> None:
            core.close(failure)

        @state.upon(_I.session_lost).to(offered)
        def _(inputs: SendingInputs, core: _Core) -> None:
            core.sending.renew()
            core.step(core.msg())

    @sending.upon(_I.repeat_due).to(repeated)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.hand_over_again(core.send())

    for state in (sending, repeated):
        # From here on SEND is never written again: there are devices that send once per SEND.
        @state.upon(_I.waiting).to(waiting)
        def _(inputs: SendingInputs, core: _Core) -> None:
            core.sending.wait_for_the_end()

    for state in (sending, repeated, waiting):

        @state.upon(_I.taken).to(closing)
        def _(inputs: SendingInputs, core: _Core, outcome: Sent) -> None:
            core.close(outcome)

        @state.upon(_I.failed).to(closing)
        def _(inputs: SendingInputs, core: _Core, failure: Outcome) -> None:
            core.close(failure)

        @state.upon(_I.give_up).to(doubtful)
        def _(inputs: SendingInputs, core: _Core) -> None:
            core.close(core.unknown())
            core.linger()

    @closing.upon(_I.done).to(over)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.sending.end(None)

    @closing.upon(_I.repeat_due).loop()
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.repeat(codec.encode_done(core.sendid))

    @closing.upon(_I.give_up).to(over)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.sending.end(None)

    _doubt(doubtful, over)
    _ignore(idle, _I.give_up)
    _ignore(offered, _I.send_asked, _I.waiting, _I.taken, _I.failed, _I.session_lost, _I.done)
    _ignore(authorizing, _I.password_asked, _I.waiting, _I.taken, _I.failed, _I.done)
    _ignore(sending, _I.password_asked, _I.send_asked, _I.done)
    # A refusal may mean the second copy only, while the first is on its way.
    _ignore(repeated, _I.password_asked, _I.send_asked, _I.refused, _I.session_lost, _I.done)
    _ignore(repeated, _I.repeat_due)
    _ignore(waiting, _I.password_asked, _I.send_asked, _I.waiting, _I.refused, _I.session_lost)
    _ignore(waiting, _I.done, _I.repeat_due)
    _ignore(closing, _I.password_asked, _I.send_asked, _I.waiting, _I.taken, _I.failed)
    _ignore(closing, _I.refused, _I.session_lost)
    _ignore_all(over)
    return machine.build()


def _build_one_shot() -> _Machine:
    machine = TypeMachineBuilder(SendingInputs, _Core)
    idle = machine.state("idle")  # nothing was written
    sending = machine.state("sending")  # SMS was written once; no answer yet
    repeated = machine.state("repeated")  # SMS was written twice; no answer yet
    waiting = machine.state("waiting")  # the device has it and works on it
    doubtful = machine.state("doubtful")  # told as unknown; a late answer still counts
    over = machine.state("over")

    @idle.upon(_I.begin).to(sending)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.hand_over(core.sms())

    @sending.upon(_I.refused).to(over)
    def _(inputs: SendingInputs, core: _Core, failure: Outcome) -> None:
        core.sending.end(failure)

    @sending.upon(_I.session_lost).to(over)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.sending.end(TemporaryFailure("network", detail="SENDID"))

    @sending.upon(_I.repeat_due).to(repeated)
    def _(inputs: SendingInputs, core: _Core) -> None:
        core.hand_over_again(core.sms())

    for state in (sending, repeated):

        @state.upon(_I.waiting).to(waiting)
        def _(inputs: SendingInputs, core: _Core) -> None:
            core.sending.wait_for_the_end()

    for state in (sending, repeated, waiting):

        @state.upon(_I.taken).to(over)
        def _(inputs: SendingInputs, core: _Core, outcome: Sent) -> None:
            core.sending.end(outcome)

        @state.upon(_I.failed).to(over)
        def _(inputs: SendingInputs, core: _Core, failure: Outcome) -> None:
            core.sending.end(failure)

        @state.upon(_I.give_up).to(doubtful)
        def _(inputs: SendingInputs, core: _Core) -> None:
            core.sending.settle(core.unknown())
            core.linger()

    _doubt(doubtful, over)
    _ignore(idle, _I.give_up)
    for state in (sending, repeated, waiting):
        _ignore(state, _I.password_asked, _I.send_asked, _I.done)
    for state in (repeated, waiting):
        _ignore(state, _I.refused, _I.session_lost, _I.repeat_due)
    _ignore(waiting, _I.waiting)
    _ignore_all(over)
    return machine.build()


def _late_word(inputs: SendingInputs, core: _Core, outcome: Outcome) -> None:
    core.sending.end_late(outcome)


def _nothing_more(inputs: SendingInputs, core: _Core) -> None:
    core.sending.end(None)


def _doubt(doubtful: Any, over: Any) -> None:
    """Let a late word of the device still count."""
    doubtful.upon(_I.taken).to(over)(_late_word)
    doubtful.upon(_I.failed).to(over)(_late_word)
    doubtful.upon(_I.give_up).to(over)(_nothing_more)
    _ignore(doubtful, _I.password_asked, _I.send_asked, _I.waiting, _I.refused, _I.session_lost)
    _ignore(doubtful, _I.done, _I.repeat_due)


def _ignore_all(over: Any) -> None:
    _ignore(over, _I.password_asked, _I.send_asked, _I.waiting, _I.taken, _I.failed, _I.refused)
    _ignore(over, _I.session_lost, _I.done, _I.repeat_due, _I.give_up)


def _indexed(machine: Any) -> Any:
    """
    Let a machine find its transitions in a table.

    Automat compares state and input with one transition after another, which took half of the time
    that a text costs here.
    """
    automaton = machine.__automat_automaton__
    search = automaton.outputForInput
    # By identity: states are values whose hash is made of all that they hold.
    table = {
        (id(state), symbol): search(state, symbol)
        for state, symbol, _, _ in automaton.allTransitions()
    }

    def look_up(state: Any, symbol: str) -> Any:
        found = table.get((id(state), symbol))
        return search(state, symbol) if found is None else found

    automaton.outputForInput = look_up
    return machine


_bulk: _Machine = _indexed(_build_bulk())
_one_shot: _Machine = _indexed(_build_one_shot())


def unanswered() -> TemporaryFailure:
    """Return the failure of a step before which nothing can have been sent."""
    return TemporaryFailure("peer-down", "The GoIP does not answer; nothing was sent.")


class Sending:
    """
    One text on its way through one channel, from `begin` until `over`.

    :param settled: called once with the outcome; the line is free then, though the session may
        still be closing.
    :param amended: called at most once, after an `UnknownOutcome`, when the device speaks yet.
    """

    __slots__ = (
        "_amended",
        "_core",
        "_end_at_s",
        "_exchanges",
        "_machine",
        "_restarted",
        "_settled",
        "answer_timeout_s",
        "channel",
        "heard",
        "number",
        "over",
        "queued_at_s",
        "resend",
        "sendid",
        "text",
        "wake_at_s",
    )

    def __init__(
        self,
        exchanges: Exchanges,
        channel: Channel,
        number: str,
        text: str,
        settled: Callable[[Outcome], None],
        amended: Callable[[Outcome], None],
        *,
        one_shot: bool,
        resend: bool,
        answer_timeout_s: float,
        send_timeout_s: float,
    ) -> None:
        self._exchanges = exchanges
        self.channel = channel
        self.number = number
        self.text = text
        self.resend = resend
        self.answer_timeout_s = answer_timeout_s
        self.over = False
        self.heard = False  # the device answered anything at all
        self._restarted = False
        self._settled: Callable[[Outcome], None] | None = settled
        self._amended = amended
        now_s = exchanges.clock.seconds()
        self._end_at_s = now_s + send_timeout_s
        self.wake_at_s = now_s + answer_timeout_s
        self.queued_at_s = NEVER
        self.sendid = exchanges.new_sendid()  # changes when the device lost the session
        self._core = _Core(self)
        self._machine = (_one_shot if one_shot else _bulk)(self._core)

    def begin(self) -> None:
        """Write the first datagram."""
        # Entered first: in tests, and on one machine, the answer may come while we write.
        self._exchanges.enter(self)
        self._machine.begin()
        if not self.over:
            self._exchanges.watch(self)

    # Inputs.

    def answer(self, event: Any) -> None:
        """Take what the device said to our sendid."""
        self.heard = True
        take = _ANSWERS.get(type(event))
        if take is not None:
            take(self, event)

    def alarm(self, now_s: float) -> None:
        """Repeat the step, or give it up."""
        if self._settled is not None and now_s >= self._end_at_s:
            self._machine.give_up()
        elif self._core.tries < TRIES:
            self._machine.repeat_due()
        else:
            self._machine.give_up()

    def abandon(self) -> None:
        """End now: what may have been sent is unknown, the rest is a temporary failure."""
        for _ in range(2):  # the first may lead to a state that still wants to close the session
            if not self.over:
                self._machine.give_up()

    def _password_asked(self, event: codec.PasswordAsked) -> None:
        self._machine.password_asked()

    def _send_asked(self, event: codec.SendAsked) -> None:
        self._machine.send_asked()

    def _wait(self, event: codec.Wait) -> None:
        if event.telid == TELID:
            self._machine.waiting()

    def _ok(self, event: codec.Ok) -> None:
        if event.telid == TELID:
            # Firmware before the second edition has no sms_no.
            self._machine.taken(Sent("" if event.sms_no is None else str(event.sms_no)))

    def _error(self, event: codec.SendError) -> None:
        if event.telid == TELID:
            self._machine.failed(errorstatus_failure(event.errorstatus, event.text))
        elif event.telid is not None:
            return
        elif event.text == "SENDID" and not self._restarted:
            self._restarted = True
            self._machine.session_lost()
        else:
            self._machine.refused(_refusal(event.text))

    def _done(self, event: codec.Done) -> None:
        self._machine.done()

    # Effects.

    def renew(self) -> None:
        """Take another sendid, so that a late answer to the old one is a stray."""
        exchanges = self._exchanges
        exchanges.leave(self.sendid)
        self.sendid = exchanges.new_sendid()
        exchanges.enter(self)

    def wait(self, span_s: float, *, beyond_the_end: bool = False) -> None:
        """Want an alarm after a while."""
        at_s = self._exchanges.clock.seconds() + span_s
        if self._settled is not None and not beyond_the_end:
            at_s = min(at_s, self._end_at_s)
        self.wake_at_s = at_s

    def wait_for_the_end(self) -> None:
        """Want no alarm before the whole time is over."""
        self._core.tries = TRIES
        self.wake_at_s = self._end_at_s

    def settle(self, outcome: Outcome) -> None:
        """Tell the outcome."""
        settled, self._settled = self._settled, None
        if settled is not None:
            settled(outcome)

    def end(self, outcome: Outcome | None) -> None:
        """Be over; tell the outcome if there is one to tell."""
        self.over = True
        self._exchanges.leave(self.sendid)
        if outcome is not None:
            self.settle(outcome)

    def end_late(self, outcome: Outcome) -> None:
        """Be over; the outcome that was unknown is known now."""
        self.end(None)
        self._amended(outcome)


_ANSWERS: dict[type, Callable[[Sending, Any], None]] = {
    codec.PasswordAsked: Sending._password_asked,
    codec.SendAsked: Sending._send_asked,
    codec.Wait: Sending._wait,
    codec.Ok: Sending._ok,
    codec.SendError: Sending._error,
    codec.Done: Sending._done,
}


def _refusal(text: str) -> TemporaryFailure:
    """Return what ``ERROR sendid text`` means when nothing was sent."""
    if text == "PASSWORD":
        return TemporaryFailure(
            "credentials", "The GoIP refuses the password of this line.", detail=text
        )
    if text == "GSM_LOGOUT":
        return TemporaryFailure("line-down", detail=text)
    if text == "SENDID":
        return TemporaryFailure("peer-down", "The GoIP lost the session twice.", detail=text)
    # Free text: too many sessions, says the vendor's document; its own server tries again later.
    return TemporaryFailure("throttled", "The GoIP has too much to do.", detail=text)


# USSD and control commands.


class RequestInputs(Protocol):
    """What happens to a request that has one answer."""

    def begin(self) -> None:
        """From us: go."""

    def answered(self, text: str) -> None:
        """From the device: the answer."""

    def refused(self, failure: Failure) -> None:
        """From the device: no."""

    def promised(self) -> None:
        """From the device: yes, and the answer comes by itself later."""

    def repeat_due(self) -> None:
        """From the clock: write it again."""

    def give_up(self) -> None:
        """From the clock or the gateway: nobody waits any longer."""


@define
class _RequestCore:
    request: Request
    tries: int = 0

    def write(self) -> None:
        self.tries += 1
        request = self.request
        request.wait()
        request.channel.write(request.datagram)


def _build_request() -> Callable[[_RequestCore], RequestInputs]:
    machine = TypeMachineBuilder(RequestInputs, _RequestCore)
    idle = machine.state("idle")
    asked = machine.state("asked")  # written; the device may be working on it
    promised = machine.state("promised")  # taken; the answer comes as a push
    over = machine.state("over")

    @idle.upon(RequestInputs.begin).to(asked)
    def _(inputs: RequestInputs, core: _RequestCore) -> None:
        core.write()

    @asked.upon(RequestInputs.repeat_due).loop()
    def _(inputs: RequestInputs, core: _RequestCore) -> None:
        core.write()

    @asked.upon(RequestInputs.promised).to(promised)
    def _(inputs: RequestInputs, core: _RequestCore) -> None:
        core.request.wait_for_the_end()

    for state in (asked, promised):

        @state.upon(RequestInputs.answered).to(over)
        def _(inputs: RequestInputs, core: _RequestCore, text: str) -> None:
            core.request.end(text)

        @state.upon(RequestInputs.refused).to(over)
        def _(inputs: RequestInputs, core: _RequestCore, failure: Failure) -> None:
            core.request.end(failure)

        @state.upon(RequestInputs.give_up).to(over)
        def _(inputs: RequestInputs, core: _RequestCore) -> None:
            core.request.end(core.request.unanswered)

    _ignore(promised, RequestInputs.repeat_due, RequestInputs.promised)
    for each in (RequestInputs.answered, RequestInputs.refused, RequestInputs.promised):
        _ignore(over, each)
    _ignore(over, RequestInputs.repeat_due, RequestInputs.give_up)
    return machine.build()


_request: Callable[[_RequestCore], RequestInputs] = _build_request()


@define(eq=False)
class Request:
    """
    One command to a channel that has one answer: USSD, a control command, call forwarding.

    Made with all that differs between those: how often it may be written, when, and what an answer
    means.
    """

    exchanges: Exchanges
    channel: Channel
    sendid: int
    datagram: bytes = field(repr=False)
    read: Callable[[Any], str | Failure | None]  # None: the answer comes later, as a push
    settled: Callable[[str | Failure], None]
    tries: int
    repeat_after_s: float
    timeout_s: float
    unanswered: TemporaryFailure
    closes_session: bool = False
    over: bool = False
    wake_at_s: float = NEVER
    queued_at_s: float = NEVER
    _end_at_s: float = NEVER
    _core: _RequestCore = field(init=False)
    _machine: RequestInputs = field(init=False)

    def begin(self) -> None:
        """Write the command."""
        self._core = _RequestCore(self)
        self._machine = _request(self._core)
        self._end_at_s = self.exchanges.clock.seconds() + self.timeout_s
        self.wake_at_s = self._end_at_s
        self.exchanges.enter(self)
        self._machine.begin()
        if not self.over:
            self.exchanges.watch(self)

    def answer(self, event: Any) -> None:
        """Take what the device said to our sendid."""
        meaning = self.read(event)
        if meaning is None:
            self._machine.promised()
        elif isinstance(meaning, str):
            self._machine.answered(meaning)
        else:
            self._machine.refused(meaning)

    def fulfil(self, text: str) -> None:
        """Take the answer that came as a push."""
        self._machine.answered(text)

    def alarm(self, now_s: float) -> None:
        """Repeat the command, or give it up."""
        if now_s < self._end_at_s and self._core.tries < self.tries:
            self._machine.repeat_due()
        elif now_s < self._end_at_s:
            self.wait_for_the_end()
        else:
            self._machine.give_up()

    def abandon(self) -> None:
        """End now."""
        self._machine.give_up()

    def wait(self) -> None:
        """Want an alarm when it may be repeated."""
        at_s = self.exchanges.clock.seconds() + self.repeat_after_s
        self.wake_at_s = min(at_s, self._end_at_s)

    def wait_for_the_end(self) -> None:
        """Want no alarm before the whole time is over."""
        self.wake_at_s = self._end_at_s

    def end(self, outcome: str | Failure) -> None:
        """Be over, and tell the outcome."""
        self.over = True
        self.exchanges.leave(self.sendid)
        if self.closes_session:
            self.channel.write(codec.encode_done(self.sendid))
        self.settled(outcome)


def read_ussd(event: Any) -> str | Failure | None:
    """Return what an answer to a USSD code means."""
    if isinstance(event, codec.UssdAnswer):
        return event.text
    if isinstance(event, codec.UssdError):
        if event.text == "PASSWORD":
            return _refusal(event.text)
        said = f": {event.text}" if event.text else "."
        return PermanentFailure(
            "network", f"The network or the GoIP refused the code{said}", detail=event.text
        )
    if isinstance(event, codec.UssdExit):
        return PermanentFailure("network", "The network ended the dialogue without an answer.")
    return PermanentFailure("rejected", "The GoIP refused the code.", detail=_words(event))


def read_control(event: Any) -> str | Failure | None:
    """Return what an answer to a control command means."""
    if isinstance(event, codec.ControlAnswer):
        return event.value or "ok"
    if isinstance(event, codec.GsmReply):
        return "\n".join(f"{name}: {value}" for name, value in event.fields.items())
    if isinstance(event, codec.ServiceAnswer):
        if event.outcome == "ERROR":
            return PermanentFailure(
                "rejected", "The network refused the setting.", detail=_words(event)
            )
        if event.outcome == "OK":
            return "ok"
        state = {True: "on", False: "off", None: "unknown"}[event.enabled]
        return f"{state} {event.num}".strip()
    said = _words(event)
    if said == "PASSWORD":
        return _refusal(said)
    if said == "GSM_LOGOUT":
        return TemporaryFailure("line-down", detail=said)
    return PermanentFailure(
        "rejected", f"The GoIP refused the command{': ' + said if said else '.'}", detail=said
    )


def read_promise(event: Any) -> str | Failure | None:
    """Return what the answer to a command means whose result comes as a push."""
    if isinstance(event, codec.ControlAnswer) and event.accepted:
        return None
    return read_control(event)


def _words(event: Any) -> str:
    text: str = getattr(event, "text", "") or getattr(event, "num", "")
    return text
