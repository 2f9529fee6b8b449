"""
Makes one row of the call log out of the four kinds of push that tell of a call.

STATE and RECORD tell of its beginning in either order, STATE, EXPIRY and HANGUP of its end; which
of them a box sends depends on its firmware.  What tells of the end is acknowledged when the row is
stored; a call that is in progress while the daemon restarts is not logged.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.errors import TemporaryFailure
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.line import LiveLine, OpenCall
from smsbridge.interfaces import IInbox

__all__ = ["CallLog", "CallPush"]

CallPush = codec.LineState | codec.CallRecord | codec.Hangup | codec.CallExpiry

#: How long an ended call waits for its duration or cause; a push is repeated after 3 s.
_ENDS_WITHIN_S: Final = 1.5
_RETRY_EVERY_S: Final = 2.0
_MOST_UNSTORED: Final = 1000


class CallLog:
    """Follows the calls of all lines of a gateway."""

    log = Logger()

    def __init__(self, inbox: IInbox, seconds: Callable[[], float]) -> None:
        self._inbox = inbox
        self._seconds = seconds
        self._ended: set[LiveLine] = set()  # whose call waits for its duration or cause
        self._storing: set[tuple[str, str, int]] = set()  # pushes to be acknowledged by a commit
        self._unstored: list[tuple[LiveLine, OpenCall]] = []  # to be tried again
        self._retried_at_s = 0.0

    def take(self, line: LiveLine, event: CallPush, ack: Callable[[], None]) -> None:
        """Take a push; `ack` is called when it may be forgotten by the device."""
        call = line.call
        push = (event.verb, event.recvid)
        if (call is not None and push in call.acks) or (line.label, *push) in self._storing:
            return  # a repeat of what waits for its commit
        if line.is_repeat(*push):
            ack()
            return
        now_s = self._seconds()
        if isinstance(event, codec.LineState):
            self._state(line, event, now_s)
            ack()
        elif isinstance(event, codec.CallRecord):
            self._began(line, event.incoming, event.num, now_s)
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
            self._over(line, call)

    def sweep(self, now_s: float) -> None:
        """Store the calls of which nothing more is told."""
        for line in list(self._ended):
            call = line.call
            if call is None or call.ended_s is None:
                self._ended.discard(line)
            elif now_s - call.ended_s >= _ENDS_WITHIN_S:
                self._ended.discard(line)
                self._store(line, call)
        if self._unstored and now_s - self._retried_at_s >= _RETRY_EVERY_S:
            self._retried_at_s = now_s
            unstored, self._unstored = self._unstored, []
            for line, call in unstored:
                self._store(line, call)

    def _state(self, line: LiveLine, event: codec.LineState, now_s: float) -> None:
        line.call_state = event.state
        call = line.call
        if event.state == "INCOMING":
            self._began(line, True, event.num, now_s)
        elif event.state in ("DIALING", "ALERTING"):
            self._began(line, False, event.num, now_s)
        elif call is None or call.ended_s is not None:
            return
        elif event.state in ("CONNECTED", "ACTIVE"):
            call.connected_s = call.connected_s or now_s
            call.number = call.number or event.num
        elif event.state == "IDLE":
            call.ended_s = now_s
            self._over(line, call)

    def _began(self, line: LiveLine, incoming: bool, number: str, now_s: float) -> None:
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
            self._store(line, call)
        line.call = OpenCall(incoming, number, now_s)

    def _over(self, line: LiveLine, call: OpenCall) -> None:
        if call.complete:
            self._store(line, call)
        else:
            self._ended.add(line)

    def _store(self, line: LiveLine, call: OpenCall) -> None:
        if line.call is call:
            line.call = None
        pushes = {(line.label, *push) for push in call.acks}
        self._storing |= pushes

        def stored(_: Any) -> None:
            self._storing -= pushes
            for ack in call.acks.values():
                ack()

        def not_stored(failure: Failure) -> None:
            if failure.check(TemporaryFailure) and len(self._unstored) < _MOST_UNSTORED:
                self._unstored.append((line, call))
                return
            self.log.failure("could not store a call", failure=failure)
            stored(None)

        self._inbox.call(call.logged(line.label)).addCallbacks(stored, not_stored)
