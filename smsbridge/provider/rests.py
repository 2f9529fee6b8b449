"""
When a line or a whole account must not be used for a while, and who is told why.

A verdict of the provider's ends here: what it says about the texts to come closes lanes, so that
they wait in the queue and use up no attempt.  After a rest the lanes open again, and one text goes
first: only when its answer is there do the others follow.  A fault that the operator must mend is
said once, in the log and to the persons who are operators, and shown until a text goes out again.
"""

from __future__ import annotations

from typing import Any, Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger

from smsbridge.core.directory import World
from smsbridge.core.message import Outcome, Sent
from smsbridge.errors import (
    REASONS,
    Failure,
    PermanentFailure,
    TemporaryFailure,
    UnknownOutcome,
)
from smsbridge.interfaces import IInbox, ILanes
from smsbridge.provider.account import Account
from smsbridge.provider.dialect import Verdict

__all__ = ["Rests"]

_FIRST_REST_S: Final = 5.0
_SHORTEST_REST_S: Final = 0.25
_LONGEST_REST_S: Final = 60.0
_MISCONFIGURED_REST_S: Final = 300.0
_TRIED_S: Final = 330.0  # of a text that tried in vain: another one shall try after the next rest
_LONGEST_ASKED_S: Final = 86_400.0
_ALARM_AGAIN_S: Final = 86_400.0
_MOST_ALARMS: Final = 100
_WHOLE: Final = ""  # the scope of what is about all lines; other scopes are labels of lines


@define(eq=False)
class _Rest:
    """One line, or all of them, that must not be used."""

    scope: str
    since_ms: int
    reason: str = ""
    text: str = ""
    silent: bool = False  # nobody knows what became of the text before
    streak: int = 0
    timer: IDelayedCall | None = None  # None: it is over, and one text tries
    trying: bool = False
    waiting: list[Deferred[None]] = field(factory=list)  # who wants to know how that text fared


@define
class _Alarm:
    """A fault that was told."""

    scope: str | None  # None: it is about single texts
    text: str
    since_ms: int


class Rests:
    """What rests in one gateway; it alone opens and closes its lanes."""

    log = Logger()

    def __init__(
        self, reactor: Any, account: Account, inbox: IInbox, lanes: ILanes, world: World
    ) -> None:
        self._reactor = reactor
        self._account = account
        self._inbox = inbox
        self._lanes = lanes
        self._world = world
        self._running = False
        self._open: set[str] = set()
        self._rests: dict[str, _Rest] = {}
        self._alarms: dict[tuple[str | None, str], _Alarm] = {}
        self._worked_at_ms: int | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Open the lanes."""
        self._running = True
        self._show()

    def stop(self) -> None:
        """Close them."""
        self._running = False
        self._end_all()
        for line in sorted(self._open):
            self._close(line, "peer-down", "The gateway was stopped.")
        self._open.clear()

    def renew(self, before: set[str]) -> None:
        """
        Begin anew with the account as it is now: whatever kept lines resting may be mended.

        :param before: the labels of the lines that there were.
        """
        self._end_all()
        for line in sorted(before - set(self._account.lines)):
            self._open.discard(line)
            self._close(line, "unknown-line", "The line is not in the configuration any more.")
        if self._running:
            self._show()

    def _end_all(self) -> None:
        for scope in list(self._rests):
            self._end(scope)

    # -- one text --------------------------------------------------------------------------------

    async def admit(self, line: str) -> bool:
        """
        Fires with whether a text of a line may go out now.

        After a rest only one does, and the others wait here for what becomes of it. Whoever is
        admitted calls `judged` or `given_up` afterwards.
        """
        while True:
            if not self.is_open(line):
                return False
            rest = self._rests.get(_WHOLE) or self._rests.get(line)
            if rest is None:
                return True
            if not rest.trying:
                rest.trying = True
                return True
            waiting: Deferred[None] = Deferred()
            rest.waiting.append(waiting)
            await waiting

    def judged(self, line: str, verdict: Verdict) -> Outcome:
        """
        Take note of what the provider said to a text of a line; returns what becomes of the text.

        A fault of the account or the line fails the text that found it, and no other: while it
        is known, the texts that try whether it is mended go back to the queue.
        """
        outcome = verdict.outcome
        if verdict.rests and isinstance(outcome, TemporaryFailure):
            # The lane is closed for as long as the provider asked. With a delay of its own the
            # text would wait longer, because the core's delays begin with ten seconds.
            outcome = TemporaryFailure(outcome.reason, outcome.text, detail=outcome.detail)
        if verdict.alarm:
            if isinstance(outcome, PermanentFailure) and self._is_known(line, verdict):
                outcome = TemporaryFailure(
                    outcome.reason, outcome.text, detail=outcome.detail, retry_after_s=_TRIED_S
                )
            self._alarm(line, verdict)
        if not verdict.rests:
            if isinstance(verdict.outcome, Sent):
                self._works(line)
            # The provider answers, and says nothing against the texts to come.
            for scope in (_WHOLE, line):
                rest = self._rests.get(scope)
                if rest is not None and rest.timer is None:
                    self._end(scope)
            return outcome
        self._rest(_WHOLE if verdict.rests == "gateway" else line, verdict)
        return outcome

    def given_up(self, line: str) -> None:
        """Take note that a text that was admitted was not judged; the next one tries."""
        for scope in (_WHOLE, line):
            rest = self._rests.get(scope)
            if rest is not None and rest.timer is None:
                rest.trying = False
                _fire(rest)

    def found(self, line: str) -> None:
        """Take note that a text whose answer was lost has arrived: the provider is there."""
        for scope in (_WHOLE, line):
            rest = self._rests.get(scope)
            if rest is not None and rest.silent:
                self._end(scope)
        self._show()

    # -- resting ---------------------------------------------------------------------------------

    def _rest(self, scope: str, verdict: Verdict) -> None:
        if not self._running:
            return
        outcome = verdict.outcome
        assert isinstance(outcome, Failure)
        rest = self._rests.get(scope)
        if rest is None:
            rest = self._rests[scope] = _Rest(scope, self._now_ms())
        elif rest.timer is not None and verdict.rest_s is None and not verdict.alarm:
            return  # it went out together with the one that began the rest, and says the same
        seconds = verdict.rest_s
        if seconds is not None:
            # A provider that asks for no time, again and again, is not called in a loop.
            seconds = max(seconds, _growing(_SHORTEST_REST_S, rest.streak))
            rest.streak += rest.timer is None
        elif verdict.alarm:
            seconds = _MISCONFIGURED_REST_S
        else:
            seconds = _growing(_FIRST_REST_S, rest.streak)
            rest.streak += 1
        seconds = min(max(seconds, 0.0), _LONGEST_ASKED_S)
        if rest.timer is not None:
            if rest.timer.getTime() > self._reactor.seconds() + seconds:
                return
            rest.timer.cancel()
        rest.silent = isinstance(outcome, UnknownOutcome)
        rest.reason = "peer-down" if rest.silent else outcome.reason
        rest.text = outcome.text
        if rest.silent and outcome.text == REASONS[outcome.reason]:
            rest.text = f"The provider's last answer cannot be understood: {outcome.detail}."
        rest.timer = self._reactor.callLater(seconds, self._over, rest)
        rest.trying = False
        self.log.info(
            "{gateway}: {scope} rests for {seconds:.0f} s: {reason}",
            gateway=self._account.label,
            scope=f"line {scope}" if scope else "everything",
            seconds=seconds,
            reason=rest.text,
        )
        self._show()
        _fire(rest)

    def _over(self, rest: _Rest) -> None:
        rest.timer = None
        self._show()

    def _end(self, scope: str) -> None:
        rest = self._rests.pop(scope)
        if rest.timer is not None:
            rest.timer.cancel()
            rest.timer = None
        _fire(rest)

    # -- lanes -----------------------------------------------------------------------------------

    def is_open(self, line: str) -> bool:
        """Tell whether texts of a line may go out."""
        return line in self._open

    def _show(self) -> None:
        """Open and close lanes as they should be now."""
        if not self._running:
            return
        for label, line in self._account.lines.items():
            rest = self._resting(label)
            if not line.enabled:
                self._open.discard(label)
                self._close(label, "line-disabled")
            elif rest is not None:
                self._open.discard(label)
                self._close(label, rest.reason, rest.text)
            elif label not in self._open:
                self._open.add(label)
                self._lanes.open(self._account.label, f"{self._account.label}/{label}")

    def _resting(self, line: str) -> _Rest | None:
        for scope in (_WHOLE, line):
            rest = self._rests.get(scope)
            if rest is not None and rest.timer is not None:
                return rest
        return None

    def _close(self, line: str, reason: str, text: str = "") -> None:
        self._lanes.close(self._account.label, f"{self._account.label}/{line}", reason, text)

    # -- faults ----------------------------------------------------------------------------------

    def _is_known(self, line: str, verdict: Verdict) -> bool:
        scope = {"gateway": _WHOLE, "line": line}.get(verdict.rests)
        return scope is not None and any(alarm.scope == scope for alarm in self._alarms.values())

    def _alarm(self, line: str, verdict: Verdict) -> None:
        outcome = verdict.outcome
        assert isinstance(outcome, Failure)
        scopes: dict[str, str | None] = {"gateway": _WHOLE, "line": line, "": None}
        scope = scopes[verdict.rests]
        now_ms = self._now_ms()
        known = self._alarms.get((scope, outcome.text))
        if known is not None and (
            scope is not None or now_ms - known.since_ms < _ALARM_AGAIN_S * 1000
        ):
            return
        if len(self._alarms) >= _MOST_ALARMS:
            del self._alarms[next(iter(self._alarms))]
        self._alarms[scope, outcome.text] = _Alarm(scope, outcome.text, now_ms)
        self.log.error(
            "{gateway}: {reason} ({detail})",
            gateway=self._account.label,
            reason=outcome.text,
            detail=outcome.detail,
        )
        where = f"{self._account.label}, line {line}" if scope else self._account.label
        for person in self._world.directory.persons.values():
            if person.admin:
                self._inbox.notify(person.label, f"{where}: {outcome.text}").addErrback(
                    lambda failure: self.log.warn(
                        "{gateway}: an operator could not be told: {reason}",
                        gateway=self._account.label,
                        reason=failure.getErrorMessage(),
                    )
                )

    def _works(self, line: str) -> None:
        self._worked_at_ms = self._now_ms()
        mended = [key for key in self._alarms if key[0] in (_WHOLE, line)]
        for key in mended:
            del self._alarms[key]
        if mended:
            self.log.info(
                "{gateway}: texts of line {line} go out again",
                gateway=self._account.label,
                line=line,
            )

    # -- what is shown ---------------------------------------------------------------------------

    def trouble(self, line: str = "") -> tuple[str, int] | None:
        """
        Return what keeps texts from going out and since when, as a sentence; None if nothing does.

        :param line: of this line alone; by default of all.
        """
        for alarm in self._alarms.values():
            if alarm.scope == line:
                return alarm.text, alarm.since_ms
        rest = self._rests.get(line)
        if rest is not None and rest.reason != "throttled":
            return rest.text, rest.since_ms
        return None

    def pause(self, line: str) -> str:
        """Return why a line rests just now, as a sentence; empty if it does not."""
        rest = self._resting(line)
        return rest.text if rest is not None else ""

    @property
    def worked_at_ms(self) -> int | None:
        """When a text went out last."""
        return self._worked_at_ms

    def _now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)


def _growing(first_s: float, streak: int) -> float:
    return min(first_s * 2.0 ** min(streak, 10), _LONGEST_REST_S)


def _fire(rest: _Rest) -> None:
    waiting, rest.waiting = rest.waiting, []
    for each in waiting:
        if not each.called:
            each.callback(None)
