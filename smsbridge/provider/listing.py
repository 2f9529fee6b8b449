"""
Asks a provider what it has: the texts of a line, so that what webhooks missed is found, and the
numbers of the account.

What is listed goes through the same door as what webhooks tell, which knows repeats.  A look
happens soon after the start, then regularly, and whenever an operator asks; two at a time are one.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, evolve, field
from twisted.internet.defer import CancelledError, Deferred, gatherResults, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure as Failed

from smsbridge.core.directory import World
from smsbridge.core.entries import MessageQuery
from smsbridge.core.records import FoundLine, Reconciled
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure
from smsbridge.provider import reading
from smsbridge.provider.account import Account
from smsbridge.provider.client import Ask, NoAnswer, NotSent
from smsbridge.provider.dialect import (
    Event,
    Malformed,
    Page,
    ProviderLine,
    Received,
    Request,
    Response,
    StatusUpdate,
)

__all__ = ["Listing"]

_FIRST_AFTER_S: Final = 10.0
_AGAIN_AFTER_FAILURE_S: Final = 300.0
_LOOK_BACK_MS: Final = 2 * 86_400_000
_LONGEST_LOOK_BACK_MS: Final = 30 * 86_400_000
_OVERLAP_MS: Final = 3_600_000
_MOST_PAGES: Final = 1000
_TELL_EVERY_PAGES: Final = 10
_TOGETHER: Final = 100  # events of a page that are committed at once
_TRIES: Final = 3
_PAUSE_S: Final = 5.0
_LONGEST_PAUSE_S: Final = 60.0
_PASSING: Final = frozenset({429, 500, 502, 503, 504})

#: The door for what the provider has; see `arrivals.Arrivals.take`.
Take = Callable[[Event], Deferred[bool]]
Told = Callable[[str], None]


@define(eq=False)
class _Look:
    """One look at the list, and who waits for it."""

    since_ms: int
    told: list[Told] = field(factory=list)
    waiting: list[Deferred[Reconciled]] = field(factory=list)

    def tell(self, sentence: str) -> None:
        for told in self.told:
            told(sentence)


@define
class _Count:
    seen: int = 0
    missed: int = 0
    statuses: int = 0
    problems: list[str] = field(factory=list)
    lines: int = 0  # that could be asked for
    failed: int = 0


class Listing:
    """
    The looks of one gateway.

    :param title: the provider's name.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        title: str,
        account: Account,
        ask: Ask,
        take: Take,
        world: World,
    ) -> None:
        self._reactor = reactor
        self._title = title
        self._account = account
        self._ask = ask
        self._take = take
        self._world = world
        self._running = False
        self._timer: IDelayedCall | None = None
        self._succeeded_at_ms: int | None = None
        self._look: _Look | None = None
        self._looking: Deferred[None] | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Look soon, and regularly from then on."""
        self._running = True
        self._look_in(_FIRST_AFTER_S)

    def stop(self) -> Deferred[None]:
        """Leave off."""
        self._running = False
        self._forget_timer()
        looking = self._looking
        if looking is None:
            return succeed(None)
        ended: Deferred[None] = Deferred()
        looking.addBoth(lambda _: ended.callback(None))
        looking.cancel()
        return ended

    def renew(self) -> None:
        """Take note that the configuration has changed."""
        if self._running:
            self._look_in(_FIRST_AFTER_S)

    def _forget_timer(self) -> None:
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        self._timer = None

    def _look_in(self, seconds: float) -> None:
        self._forget_timer()
        if self._running and self._account.config.reconcile_every > 0 and self._can_list():
            self._timer = self._reactor.callLater(seconds, self._look_now)

    def _can_list(self) -> bool:
        """Tell whether there is anything to ask."""
        now_ms = self._now_ms()
        try:
            return any(
                self._account.dialect.listing(line, now_ms, now_ms) is not None
                for line in self._account.lines.values()
            )
        except Exception:
            # A dialect that stumbles here stumbles at the look as well, where it is said.
            return True

    def _look_now(self) -> None:
        looking = Deferred.fromCoroutine(self._regular())
        looking.addErrback(
            lambda failure: self.log.failure(
                "{gateway}: the regular look at the provider's list failed",
                failure=failure,
                gateway=self._account.label,
            )
        )

    async def _regular(self) -> None:
        every_s = self._account.config.reconcile_every
        try:
            since_ms = await self._since()
            began_at_ms = self._now_ms()
            found = await self.reconcile(since_ms, _silent)
        except CancelledError:
            return
        except Failure as e:
            self.log.warn(
                "{gateway}: could not look for texts that webhooks missed: {reason}",
                gateway=self._account.label,
                reason=e.text,
                detail=e.detail,
            )
            self._look_in(min(every_s, _AGAIN_AFTER_FAILURE_S))
            return
        for problem in found.problems:
            self.log.warn("{gateway}: {reason}", gateway=self._account.label, reason=problem)
        if not found.problems:
            self._succeeded_at_ms = began_at_ms
        if found.missed or found.statuses:
            self.log.info(
                "{gateway}: the provider's list had {missed} texts and {statuses} statuses that "
                "webhooks missed",
                gateway=self._account.label,
                missed=found.missed,
                statuses=found.statuses,
            )
        self._look_in(every_s)

    async def _since(self) -> int:
        """
        Return how far to look back: to the last look, or to the last text that there is.

        The last text shows how long nobody may have listened before this start.
        """
        now_ms = self._now_ms()
        since_ms = now_ms - _LOOK_BACK_MS
        if self._succeeded_at_ms is not None:
            return min(since_ms, self._succeeded_at_ms - _OVERLAP_MS)
        desk = self._world.desk
        last_ms = 0
        for line in self._account.lines.values():
            if desk is None:
                return since_ms
            for message in await desk.history(MessageQuery(line=line.label, limit=1)):
                last_ms = max(last_ms, message.created_at_ms)
        if not last_ms:
            return since_ms
        return max(min(since_ms, last_ms - _OVERLAP_MS), now_ms - _LONGEST_LOOK_BACK_MS)

    # -- texts -----------------------------------------------------------------------------------

    def reconcile(self, since_ms: int, told: Told) -> Deferred[Reconciled]:
        """See `interfaces.IReconcile.reconcile`."""
        running = self._look
        if running is not None and running.since_ms <= since_ms:
            return self._join(running, told)
        if running is not None:
            # It looks less far back; wait for its end and look again.
            told("Waits for the look that is under way.")
            first: Deferred[Any] = Deferred()
            running.waiting.append(first)
            first.addErrback(lambda _: None)
            return first.addCallback(lambda _: self.reconcile(since_ms, told))
        look = self._look = _Look(since_ms)
        joined = self._join(look, told)
        self._looking = Deferred.fromCoroutine(self._all(look))
        self._looking.addErrback(
            lambda failure: self.log.failure(
                "{gateway}: the look failed", failure=failure, gateway=self._account.label
            )
        )
        return joined

    @staticmethod
    def _join(look: _Look, told: Told) -> Deferred[Reconciled]:
        waiting: Deferred[Reconciled] = Deferred()
        look.told.append(told)
        look.waiting.append(waiting)
        return waiting

    async def _all(self, look: _Look) -> None:
        result: Reconciled | Failed
        try:
            result = await self._lines(look)
        except CancelledError:
            result = Failed(TemporaryFailure("peer-down", "The gateway was stopped."))
        except Exception as e:
            # Whoever waits must hear of it, whatever it is.
            result = Failed()
            if not isinstance(e, Failure):
                self.log.failure("{gateway}: the look failed", gateway=self._account.label)
                result = Failed(PermanentFailure("internal"))
        self._look = self._looking = None
        for waiting in look.waiting:
            if waiting.called:
                continue
            if isinstance(result, Failed):
                waiting.errback(result)
            else:
                waiting.callback(result)

    async def _lines(self, look: _Look) -> Reconciled:
        count = _Count()
        until_ms = self._now_ms()
        for line in list(self._account.lines.values()):
            request = self._account.dialect.listing(line, look.since_ms, until_ms)
            if request is None:
                continue
            count.lines += 1
            before = count.seen, count.missed
            try:
                await self._pages(look, count, line, request)
            except Malformed as e:
                count.failed += 1
                count.problems.append(f"Line {line.label}: {e}")
                continue
            look.tell(
                f"Line {line.label}: listed {count.seen - before[0]}, of which "
                f"{count.missed - before[1]} had been missed."
            )
        if not count.lines:
            raise PermanentFailure("unsupported", f"{self._title} cannot be asked for past texts.")
        if count.failed == count.lines:
            raise PermanentFailure("rejected", " ".join(count.problems))
        return Reconciled(
            seen=count.seen,
            missed=count.missed,
            statuses=count.statuses,
            problems=tuple(count.problems),
        )

    async def _pages(
        self, look: _Look, count: _Count, line: ProviderLine, request: Request
    ) -> None:
        asked: set[tuple[str, bytes]] = set()
        more: Request | None = request
        while more is not None:
            if len(asked) >= _MOST_PAGES or (more.url, more.body) in asked:
                count.problems.append(
                    f"Line {line.label}: the provider's list has no end; ask for a shorter time."
                )
                return
            asked.add((more.url, more.body))
            response = await self._patiently(
                more, lambda sentence: look.tell(f"Line {line.label}: {sentence}")
            )
            page: Page = self._account.dialect.listed(line, response)
            await self._accept(count, page)
            more = page.more
            if len(asked) % _TELL_EVERY_PAGES == 0:
                look.tell(f"Line {line.label}: {count.seen} texts so far.")

    async def _accept(self, count: _Count, page: Page) -> None:
        events = [each for each in page.events if isinstance(each, Received | StatusUpdate)]
        for start in range(0, len(events), _TOGETHER):
            together = events[start : start + _TOGETHER]
            taking = [self._take(event) for event in together]
            try:
                news = await gatherResults(taking, consumeErrors=True)
            except Exception as e:
                reason: Any = getattr(e, "subFailure", None)
                if reason is not None:
                    reason.raiseException()
                raise
            for event, new in zip(together, news, strict=True):
                count.seen += 1
                if isinstance(event, Received):
                    count.missed += bool(new)
                else:
                    count.statuses += bool(new)

    # -- numbers ---------------------------------------------------------------------------------

    async def discover(self) -> list[FoundLine]:
        """See `interfaces.IDiscover.discover`."""
        dialect = self._account.dialect
        requests = dialect.discover()
        if not requests:
            raise PermanentFailure("unsupported", f"{self._title} cannot be asked for its numbers.")
        responses = [await self._patiently(request, _silent) for request in requests]
        try:
            found = dialect.discovered(responses)
        except Malformed as e:
            raise PermanentFailure("rejected", str(e)) from None
        numbered = []
        for each in found:
            line = self._account.line_of(each.number)
            numbered.append(evolve(each, line=line.label) if line is not None else each)
        return numbered

    # -- asking ----------------------------------------------------------------------------------

    async def _patiently(self, request: Request, told: Told) -> Response:
        """
        Ask again where that may help; what only reads does no harm twice.

        :param told: called with a sentence before each pause.

        :raises TemporaryFailure: there is no answer.
        """
        for tried in range(1, _TRIES + 1):
            last = tried == _TRIES
            pause_s = _PAUSE_S
            try:
                response = await self._ask(request, self._account.config.timeout)
            except (NotSent, NoAnswer) as e:
                if last:
                    raise TemporaryFailure("peer-down", str(e)) from None
                why = str(e)
            else:
                if response.status not in _PASSING or last:
                    return response
                why = f"{self._title} answered with status {response.status}."
                asked_s = reading.pause_s(response.headers)
                pause_s = _PAUSE_S if asked_s is None else min(asked_s, _LONGEST_PAUSE_S)
            told(f"{why} Asked again in {pause_s:.0f} s.")
            await deferLater(self._reactor, pause_s)
        raise AssertionError("unreachable")

    def _now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)


def _silent(_: str) -> None:
    """Tell nobody."""
