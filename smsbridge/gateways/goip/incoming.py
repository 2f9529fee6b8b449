"""
What boxes report, handed to the inbox: texts, delivery reports, USSD notices and calls.

A push is acknowledged when the store has it and not before; the boxes repeat what was not
acknowledged three times, 3 s apart, so that a short outage of the store loses nothing.  Who sent a
push has been checked before it comes here.
"""

from __future__ import annotations

from collections.abc import Callable
from hashlib import blake2b
from typing import Any, Final

from twisted.internet.defer import Deferred
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.core.message import DeliveryReport, FromNetwork, UssdNotice
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.calls import CallLog, CallPush
from smsbridge.gateways.goip.codes import tp_status
from smsbridge.gateways.goip.joining import Joined, Joiner, Part
from smsbridge.gateways.goip.line import EarlyReport, LiveLine, Submitted
from smsbridge.gateways.goip.protocol import Address, GoipProtocol
from smsbridge.gateways.goip.strangers import Strangers
from smsbridge.interfaces import IInbox

__all__ = ["Incoming"]

#: For how long a push with the same number and the same text counts as a repeat.
_DEDUP_S: Final = 600.0
#: Pushes whose commit is under way.  More are dropped without an answer, and the boxes repeat them.
_MOST_PENDING: Final = 20_000
#: How long a delivery report waits for the answer to the text that it is about.
_EARLY_S: Final = 5.0
_MOST_EARLY: Final = 16

Taker = Callable[[LiveLine, Any, Address, GoipProtocol], None]


class Incoming:
    """
    Takes the pushes of all lines of a gateway.

    :ivar accepting: while it is False nothing is stored, and so nothing of weight acknowledged.
    :ivar takers: what takes each kind of push.
    """

    log = Logger()

    def __init__(
        self,
        gateway: str,
        inbox: IInbox,
        seconds: Callable[[], float],
        strangers: Strangers,
        submitted: Submitted,
    ) -> None:
        self._gateway = gateway
        self._inbox = inbox
        self._seconds = seconds
        self._strangers = strangers
        self._submitted = submitted
        self.accepting = False
        self.pending: set[str] = set()  # whose commit is under way
        self._joiners: dict[LiveLine, Joiner] = {}
        self._early: set[LiveLine] = set()  # lines with an early report
        self._calls = CallLog(inbox, seconds)
        self.takers: dict[type, Taker] = {
            codec.Received: self._received,
            codec.DeliveryReport: self._delivery_report,
            codec.UssdPush: self._ussd_push,
            codec.LineState: self._call_push,
            codec.CallRecord: self._call_push,
            codec.Hangup: self._call_push,
            codec.CallExpiry: self._call_push,
            codec.Cells: self._cells,
            codec.Remain: _acknowledge_only,
            codec.CellInfo: _acknowledge_only,
            codec.OtherPush: _acknowledge_only,
            # Output of an AT console, which we never open and which wants no acknowledgement.
            codec.AtOutput: _ignore,
        }

    def sweep(self, now_s: float) -> None:
        """Hand on what has waited long enough for something that did not come."""
        self._calls.sweep(now_s)
        for line, joiner in self._joiners.items():
            for joined in joiner.due(now_s):
                self._store_joined(line, joined)
        for line in list(self._early):
            self._hand_on_early(line, now_s)

    def flush(self) -> None:
        """Store the parts that wait for more; for the end of the service."""
        for line, joiner in self._joiners.items():
            for joined in joiner.due(float("inf")):
                self._store_joined(line, joined)

    # Texts.

    def _received(
        self, line: LiveLine, event: codec.Received, address: Address, socket: GoipProtocol
    ) -> None:
        if line.config.join_parts:
            self._received_part(line, event, address, socket)
            return
        key = _repeat_key("RECEIVE", event.recvid, event.sender, event.text)
        pending_key = f"{line.label}|{key}"
        if not self._may_commit(pending_key, address):
            return
        committing = self._inbox.accept(
            FromNetwork(
                line=line.label,
                sender=event.sender,
                body=event.text,
                dedup_key=key,
                dedup_for_s=_DEDUP_S,
            )
        )
        ack = _text_ack(line, event)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    def _may_commit(self, pending_key: str, address: Address) -> bool:
        """Tell whether to store a push; not while an earlier copy of it is under way."""
        if not self.accepting or pending_key in self.pending:
            return False
        if len(self.pending) >= _MOST_PENDING:
            self._strangers.note("overflow", address)
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
        self.pending.add(pending_key)

        def stored(_: Any) -> None:
            self.pending.discard(pending_key)
            socket.send(ack, address)

        def not_stored(failure: Failure) -> None:
            self.pending.discard(pending_key)
            self._not_stored(failure, event, address, socket)

        committing.addCallbacks(stored, not_stored)

    def _not_stored(
        self, failure: Failure, event: codec.Push, address: Address, socket: GoipProtocol
    ) -> None:
        if failure.check(TemporaryFailure):
            return  # no answer, so that the device repeats it
        if failure.check(Refused):
            # A repeat would be refused as well; ERROR ends it.
            self.log.warn(
                "{gateway}: a {verb} of {id} was refused: {reason}",
                gateway=self._gateway,
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
        datagram = _text_ack(line, event)

        def ack() -> None:
            socket.send(datagram, address)

        if line.has_stored(event.recvid, event.sender, event.text):
            ack()
            return
        if not self.accepting:
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
        if pending_key in self.pending:
            return

        def stored(_: Any) -> None:
            self.pending.discard(pending_key)
            for part in joined.parts:
                line.note_stored(part.recvid, joined.sender, part.text)
                part.ack()

        def not_stored(failure: Failure) -> None:
            self.pending.discard(pending_key)
            if failure.check(TemporaryFailure):
                # The box may have given the first part up by now, so we try ourselves.
                self._joiners.setdefault(line, Joiner()).put_back(joined, self._seconds() + 1.0)
            elif failure.check(Refused):
                for part in joined.parts:
                    part.ack()
            else:
                self.log.failure("could not store a text", failure=failure)

        committing = self._inbox.accept(
            FromNetwork(
                line=line.label,
                sender=joined.sender,
                body=text,
                dedup_key=key,
                dedup_for_s=_DEDUP_S,
            )
        )
        self.pending.add(pending_key)
        committing.addCallbacks(stored, not_stored)

    # Delivery reports.

    def _delivery_report(
        self, line: LiveLine, event: codec.DeliveryReport, address: Address, socket: GoipProtocol
    ) -> None:
        now_s = self._seconds()
        delivery_id = self._submitted.find(line.label, event.sms_no, event.num, now_s)
        if not delivery_id and line.sending is not None:
            # It may have overtaken the OK that tells us the number of the text.
            early = line.early
            if early is None:
                early = line.early = {}
            known = early.get(event.sms_no)
            if known is not None or len(early) < _MOST_EARLY:
                since_s = now_s if known is None else known.since_s
                early[event.sms_no] = EarlyReport(event, address, socket, since_s)
                self._early.add(line)
                return
        self._report(line, event, delivery_id, address, socket)

    def submitted(self, line: LiveLine, sms_no: int, delivery_id: str) -> None:
        """Hand on the report that came before we knew what it is about."""
        held = line.early.pop(sms_no, None) if line.early else None
        if held is not None:
            self._report(line, held.event, delivery_id, held.address, held.socket)

    def _hand_on_early(self, line: LiveLine, now_s: float) -> None:
        early = line.early or {}
        for sms_no, held in list(early.items()):
            if now_s - held.since_s >= _EARLY_S or line.sending is None:
                del early[sms_no]
                self._report(line, held.event, "", held.address, held.socket)
        if not early:
            line.early = None
            self._early.discard(line)

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
                gateway=self._gateway,
                status=status,
                delivery_id=delivery_id,
                remote_id=str(event.sms_no),
                line=line.label,
                reason=reason,
                text=f"TP-Status {event.state}" if event.state else "",
            )
        )
        ack = codec.encode_ack("DELIVER", event.recvid)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    # The rest.

    def _ussd_push(
        self, line: LiveLine, event: codec.UssdPush, address: Address, socket: GoipProtocol
    ) -> None:
        key = _repeat_key(event.verb, event.recvid, "", event.text)
        pending_key = f"{line.label}|{key}"
        if not self._may_commit(pending_key, address):
            return
        committing = self._inbox.ussd_notice(
            UssdNotice(line=line.label, body=event.text, dedup_key=key, dedup_for_s=_DEDUP_S)
        )
        ack = codec.encode_ack(event.verb, event.recvid)
        self._acknowledge(committing, pending_key, ack, event, address, socket)

    def _call_push(
        self, line: LiveLine, event: CallPush, address: Address, socket: GoipProtocol
    ) -> None:
        if self.accepting:
            datagram = codec.encode_ack(event.verb, event.recvid)
            self._calls.take(line, event, lambda: socket.send(datagram, address))

    def _cells(
        self, line: LiveLine, event: codec.Cells, address: Address, socket: GoipProtocol
    ) -> None:
        _acknowledge_only(line, event, address, socket)
        if line.cells is not None:
            line.cells.fulfil(" ".join(event.cells) or "no cells")


def _acknowledge_only(
    line: LiveLine, event: codec.Push, address: Address, socket: GoipProtocol
) -> None:
    """Acknowledge what we have no use for; the device would repeat it."""
    socket.send(codec.encode_ack(event.verb, event.recvid), address)


def _ignore(line: LiveLine, event: codec.Push, address: Address, socket: GoipProtocol) -> None:
    """Do nothing."""


def _text_ack(line: LiveLine, event: codec.Received) -> bytes:
    """Return the acknowledgement of a text in the dialect of its line."""
    if line.config.dialect == "goippy":
        return codec.encode_goippy_ack(event.recvid, event.id)
    return codec.encode_ack("RECEIVE", event.recvid)


def _repeat_key(verb: str, recvid: int, sender: str, text: str) -> str:
    """
    Return what tells a push from all others of its line.

    The number alone would not do: devices without a clock count from the same number again after
    every restart.
    """
    content = f"{sender}\0{text}".encode("utf-8", "surrogatepass")
    return f"{verb}|{recvid}|{blake2b(content, digest_size=9).hexdigest()}"
