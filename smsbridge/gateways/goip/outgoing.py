"""
What goes to boxes: the core's deliveries, one after another on each line, USSD and commands.

It decides what an outcome says of the line and of the deliveries behind it; how a single text is
handed over is in `exchange`.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred, fail, succeed
from twisted.logger import Logger

from smsbridge.core.attachments import attached
from smsbridge.core.message import Delivery, DeliveryReport, Kind, NotTried, Outcome, Sent, Status
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.commands import COMMANDS
from smsbridge.gateways.goip.exchange import (
    COMMAND_TRIES,
    Exchanges,
    Request,
    Sending,
    read_control,
    read_promise,
    read_ussd,
)
from smsbridge.gateways.goip.line import LiveLine, Presence, Signal, Submission, Submitted
from smsbridge.interfaces import IInbox

__all__ = ["BATCH_S", "Outgoing"]

#: A batch begins no further text after this; the rest goes back untried.
BATCH_S: Final = 60.0
#: How long a command may take whose result comes as a push.
_PROMISE_TIMEOUT_S: Final = 30.0

STOPPING: Final = "The bridge is stopping."


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


class Outgoing:
    """
    Serves all lines of a gateway.

    :param signal: tells the gateway what an outcome says of a line.
    :param submitted: tells that the network took a text, under which number.
    :ivar open: while it is False nothing new begins.
    """

    log = Logger()

    def __init__(
        self,
        gateway: str,
        inbox: IInbox,
        exchanges: Exchanges,
        texts: Submitted,
        signal: Callable[[LiveLine, Signal], None],
        submitted: Callable[[LiveLine, int, str], None],
    ) -> None:
        self._gateway = gateway
        self._inbox = inbox
        self._exchanges = exchanges
        self._seconds = exchanges.clock.seconds
        self._texts = texts
        self._signal = signal
        self._submitted = submitted
        self.open = False

    # Texts.

    def deliver(self, line: LiveLine, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """Send deliveries; see `IGateway.deliver`."""
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
            closed_for = line.closed_for()
            if not self.open or closed_for is not None or self._is_late(batch):
                if number == 0 and closed_for is not None:
                    outcomes.append(TemporaryFailure(*closed_for))
                self._leave_the_rest(batch)
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
        return bool(batch.outcomes) and self._seconds() - batch.began_s > BATCH_S

    def _leave_the_rest(self, batch: _Batch) -> None:
        left = len(batch.deliveries) - len(batch.outcomes)
        batch.outcomes.extend(NotTried() for _ in range(left))

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
        line.sending = None
        batch.outcomes.append(outcome)
        if isinstance(outcome, Sent):
            if one_shot:
                line.one_shot_works = True
            self._note(line, delivery, outcome)
        elif isinstance(outcome, UnknownOutcome):
            if one_shot and not sending.heard and line.one_shot_works is None:
                line.one_shot_works = False
                self.log.warn(
                    "{gateway}: line {line} does not answer one-shot texts, so bulk sessions are "
                    "used until the daemon restarts; set 'mode = bulk' for it",
                    gateway=self._gateway,
                    line=line.label,
                )
            self._leave_the_rest(batch)
        elif isinstance(outcome, TemporaryFailure):
            batch.held.add(delivery.order_key)
            self._consider(line, outcome)
            if outcome.reason in ("throttled", "peer-down"):
                # The device has trouble; what follows waits in the store and not in its way.
                self._leave_the_rest(batch)
        self._go_on(batch)

    def _consider(self, line: LiveLine, failure: TemporaryFailure) -> None:
        """Draw from a failure what it says of the line."""
        if failure.reason == "credentials":
            self.log.error(
                "{gateway}: line {line} refuses the password of the configuration; nothing is sent "
                "on it until the configuration is corrected or the box restarts",
                gateway=self._gateway,
                line=line.label,
            )
            self._signal(line, Signal.WRONG_PASSWORD)
        elif failure.reason == "line-down":
            self._signal(line, Signal.NETWORK_GONE)
        elif failure.reason == "peer-down":
            self._signal(line, Signal.NO_ANSWER)

    def _note(self, line: LiveLine, delivery: Delivery, sent: Sent) -> None:
        """Keep under which number the device will report on a text."""
        if not sent.remote_id:
            return
        sms_no = int(sent.remote_id)
        submission = Submission(delivery.delivery_id, delivery.destination, self._seconds())
        self._texts.remember(line.label, sms_no, submission)
        self._submitted(line, sms_no, delivery.delivery_id)

    def _amended(self, line: LiveLine, delivery: Delivery, outcome: Outcome) -> None:
        """Report what the device said about a text that was given up as unknown."""
        if isinstance(outcome, Sent):
            status, reason, text = Status.SENT, "", ""
        elif isinstance(outcome, Failure):
            status, reason, text = Status.FAILED, outcome.reason, outcome.detail
        else:
            return
        self._inbox.report(
            DeliveryReport(
                gateway=self._gateway,
                status=status,
                delivery_id=delivery.delivery_id,
                line=line.label,
                reason=reason,
                text=text,
            )
        ).addErrback(lambda f: self.log.failure("could not record a late answer", failure=f))
        if isinstance(outcome, Sent):
            self._note(line, delivery, outcome)

    # USSD and commands.

    def ask_number(self, line: LiveLine, told: Callable[[str], None]) -> None:
        """Ask a line for its SIM's own number; nothing is told if it does not say."""

        def settled(answer: str | Failure) -> None:
            if isinstance(answer, str):
                told(answer)

        sendid = self._exchanges.new_sendid()
        datagram = codec.encode_control("get_gsm_num", sendid, line.password)
        self._request(line, sendid, datagram, read_control, settled)

    def ussd(self, line: LiveLine, code: str) -> Deferred[str]:
        """Send a USSD code or choice; see `IUssd.ussd`."""
        try:
            codec.check_ussd_code(code)
        except codec.InvalidCommand as e:
            return fail(PermanentFailure("unsupported", _sentence(str(e))))
        closed_for = line.closed_for()
        if closed_for is not None and line.presence is not Presence.DEAF:
            return fail(TemporaryFailure(*closed_for))
        if line.ussd_waits:
            text = f"Line {line.label} still waits for the answer to another USSD code."
            return fail(TemporaryFailure("throttled", text))
        line.ussd_waits = True
        done: Deferred[str] = Deferred()

        def settled(answer: str | Failure) -> None:
            line.ussd_waits = False
            line.release()
            _fire(done, answer)

        def begin() -> None:
            if not self.open:
                settled(TemporaryFailure("peer-down", STOPPING))
                return
            sendid = self._exchanges.new_sendid()
            self._request(
                line,
                sendid,
                codec.encode_ussd(sendid, line.password, code),
                read_ussd,
                settled,
                # An early repeat breaks the dialogue; users of many boxes found a minute right.
                tries=2,
                repeat_after_s=line.config.ussd_repeat,
                timeout_s=line.config.ussd_timeout,
            )

        line.acquire(begin)
        return done

    def control(self, line: LiveLine, command: str, arguments: Sequence[str]) -> Deferred[str]:
        """Run a command; see `ILineControl.control`."""
        if command == "signal":
            dbm = line.signal_dbm
            return succeed("unknown" if dbm is None else f"{dbm} dBm")
        known = COMMANDS.get(command)
        if known is None:
            return fail(PermanentFailure("unsupported", f"A GoIP line has no command {command!r}."))
        try:
            wire = known.make(arguments)
            sendid = self._exchanges.new_sendid()
            datagram = wire.encode(sendid, line.password)
        except codec.InvalidCommand as e:
            return fail(PermanentFailure("unsupported", _sentence(str(e))))
        promise = wire.read is read_promise
        if promise and line.cells is not None:
            text = f"Line {line.label} is looking for cells already."
            return fail(TemporaryFailure("throttled", text))
        done: Deferred[str] = Deferred()

        def settled(answer: str | Failure) -> None:
            if promise:
                line.cells = None
            _fire(done, answer)

        request = self._request(
            line,
            sendid,
            datagram,
            wire.read,
            settled,
            tries=1 if wire.once else COMMAND_TRIES,
            timeout_s=_PROMISE_TIMEOUT_S if promise else None,
            closes_session=wire.closes_session,
        )
        if promise and not request.over:
            line.cells = request
        return done

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


def _unsendable(line: LiveLine, delivery: Delivery) -> PermanentFailure | None:
    """Return why a delivery can never go out on this line, if so."""
    if delivery.kind is not Kind.MESSAGE:
        return PermanentFailure("unsupported")
    if attached(delivery.media):
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
