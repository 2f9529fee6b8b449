"""
Sends texts to a provider: deliveries in, outcomes out.

A text must never go out twice by itself.  So every request whose answer did not come is looked up
at the provider, and only when the provider said three times that it has no such text does the core
send it again; where nothing can be asked, nobody may.  Texts of one conversation go one after
another, others a few at a time.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen
from twisted.internet.defer import (
    CancelledError,
    Deferred,
    DeferredSemaphore,
    gatherResults,
    succeed,
)
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smsbridge.core.attachments import attached
from smsbridge.core.directory import World
from smsbridge.core.entries import MessageQuery
from smsbridge.core.message import Delivery, Direction, NotTried, Outcome, Sent, Settled
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.provider import verdicts
from smsbridge.provider.account import Account, hook_url, with_password
from smsbridge.provider.client import Ask, NoAnswer, NotSent
from smsbridge.provider.dialect import (
    NOTHING_THERE,
    UNSURE,
    LookedUp,
    Outgoing,
    OutgoingMedia,
    ProviderLine,
    Request,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.early import Early, group_reference
from smsbridge.provider.rests import Rests

__all__ = ["CONVERSATIONS_AT_ONCE", "SETTLE_WITHIN_S", "Sending"]

#: Within what time `Sending.deliver` is done.
SETTLE_WITHIN_S: Final = 120.0

#: How many texts of one line are on their way to the provider at once.
CONVERSATIONS_AT_ONCE: Final = 4

_SPARE_S: Final = 5.0
_AT_ONCE: Final = 32  # of the whole account
_LOOK_UP_AFTER_S: Final = (1.0, 5.0, 15.0)
_LOOK_UP_WITHIN_S: Final = 10.0
_SHORTEST_S: Final = 1.0  # less time than this is none
_STEP_TRIES: Final = 3
_STEP_PAUSE_S: Final = 2.0
_LONGEST_STEP_PAUSE_S: Final = 10.0
_STOP_WITHIN_S: Final = 3.0
_LINK_LIFE_S: Final = 2 * 86_400.0
_MOST_NEIGHBORS: Final = 500
_MOVED: Final = frozenset({301, 302, 307, 308})

#: The door for what became of a text.
StatusDoor = Callable[[StatusUpdate], Deferred[bool]]


@frozen
class _Text:
    """What goes out as one: deliveries with their places in the batch, several of a group text."""

    places: tuple[int, ...]
    deliveries: tuple[Delivery, ...]

    @property
    def order_key(self) -> str:
        return self.deliveries[0].order_key


@frozen
class _Lost:
    """A text that may have gone out: its answer did not come."""

    line: ProviderLine
    outgoing: Outgoing
    deliveries: Sequence[Delivery]
    sent_at_ms: int
    unknown: UnknownOutcome


class Sending:
    """
    The outbound half of one gateway.

    :param statuses: what became of texts whose status came before the answer goes there.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        account: Account,
        ask: Ask,
        early: Early,
        rests: Rests,
        world: World,
        statuses: StatusDoor,
    ) -> None:
        self._reactor = reactor
        self._account = account
        self._ask = ask
        self._early = early
        self._rests = rests
        self._world = world
        self._statuses = statuses
        self._running = False
        self._slots = DeferredSemaphore(_AT_ONCE)
        self._under_way: set[Deferred[Any]] = set()

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin."""
        self._running = True

    def stop(self) -> Deferred[None]:
        """Begin nothing more; what is under way is given up after a moment."""
        self._running = False
        return Deferred.fromCoroutine(self._stop()) if self._under_way else succeed(None)

    async def _stop(self) -> None:
        def give_up() -> None:
            for sending in list(self._under_way):
                sending.cancel()

        giving_up = self._reactor.callLater(_STOP_WITHIN_S, give_up)
        await gatherResults([_ended(each) for each in self._under_way], consumeErrors=True)
        if giving_up.active():
            giving_up.cancel()

    def _track(self, sending: Deferred[Any]) -> Deferred[Any]:
        self._under_way.add(sending)

        def over(result: Any) -> Any:
            self._under_way.discard(sending)
            return result

        return sending.addBoth(over)

    # -- a batch ---------------------------------------------------------------------------------

    async def deliver(self, label: str, batch: Sequence[Delivery]) -> Sequence[Settled]:
        """
        Send a batch; see `IGateway.deliver`.

        :param label: of the line.
        """
        if not self._running:
            return [TemporaryFailure("peer-down", "The gateway was stopped.") for _ in batch]
        line = self._account.lines.get(label)
        if line is None:
            return [NotTried() for _ in batch]
        until_s = self._reactor.seconds() + SETTLE_WITHIN_S - _SPARE_S
        outcomes: list[Settled] = [NotTried()] * len(batch)
        conversations: dict[str, list[_Text]] = {}
        for text in _texts(batch, line):
            conversations.setdefault(text.order_key, []).append(text)
        waiting = iter(list(conversations.values()))

        async def work() -> None:
            for texts in waiting:
                for text in texts:
                    outcome = await self._in_turn(line, text, until_s)
                    for place in text.places:
                        outcomes[place] = outcome
                    if isinstance(outcome, TemporaryFailure | NotTried | Deferred):
                        break

        at_once = min(CONVERSATIONS_AT_ONCE, len(conversations))
        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(at_once)])
        return outcomes

    async def _in_turn(self, line: ProviderLine, text: _Text, until_s: float) -> Settled:
        """Send one text when the account has room for it."""
        await self._slots.acquire()
        try:
            if not self._running or not self._has_time(until_s):
                return NotTried()
            sent = await self._track(
                Deferred.fromCoroutine(self._one(line, text.deliveries, until_s))
            )
            # Others need not wait until it is found out what became of this one.
            if isinstance(sent, _Lost):
                return self._track(Deferred.fromCoroutine(self._found(sent, until_s)))
            outcome: Outcome = sent
            return outcome
        finally:
            self._slots.release()

    def _has_time(self, until_s: float) -> bool:
        """Tell whether one whole text, looked up if must be, can be dealt with until then."""
        needed_s = self._account.config.timeout + _LOOK_UP_AFTER_S[-1] + _SPARE_S
        return bool(self._reactor.seconds() + needed_s <= until_s)

    # -- one text --------------------------------------------------------------------------------

    async def _one(
        self, line: ProviderLine, deliveries: Sequence[Delivery], until_s: float
    ) -> Outcome | _Lost:
        dialect = self._account.dialect
        try:
            outgoing = self._outgoing(line, deliveries)
            requests = dialect.requests(outgoing)
        except (PermanentFailure, TemporaryFailure) as e:
            return e
        except Exception:
            # Nothing of it left, and the texts behind it must not wait for a bug of ours.
            self.log.failure(
                "{gateway}: {message_id} cannot be written",
                gateway=self._account.label,
                message_id=deliveries[0].message_id,
            )
            return PermanentFailure("internal", detail="no request")
        try:
            if not await self._rests.admit(line.label):
                return NotTried()
        except CancelledError:
            return NotTried()
        if not self._running or not self._has_time(until_s):
            self._rests.given_up(line.label)  # it waited too long for the one that tried
            return NotTried()
        self._early.send_began()
        judged = False
        try:
            sent_at_ms = self._now_ms()
            verdict = await self._steps(line, outgoing, deliveries, requests, until_s)
            outcome = self._rests.judged(line.label, verdict)
            judged = True
            if isinstance(outcome, UnknownOutcome) and len(requests) == 1:
                self._early.send_began()  # `_found` ends it
                return _Lost(line, outgoing, deliveries, sent_at_ms, outcome)
            if isinstance(outcome, PermanentFailure) and outcome.reason == "opted-out":
                self._opted_out(line, outgoing)
            return outcome
        except Exception:
            # Something went out, and nobody knows what became of it.
            self.log.failure(
                "{gateway}: the answer about {message_id} is lost",
                gateway=self._account.label,
                message_id=deliveries[0].message_id,
            )
            return UnknownOutcome(detail="internal")
        finally:
            if not judged:
                self._rests.given_up(line.label)
            self._early.send_ended()

    async def _found(self, lost: _Lost, until_s: float) -> Outcome:
        """Look a text up whose answer did not come."""
        try:
            return await self._find(
                lost.line,
                lost.outgoing,
                lost.deliveries,
                lost.sent_at_ms,
                lost.unknown,
                _LOOK_UP_AFTER_S,
                until_s,
            )
        finally:
            self._early.send_ended()

    def _outgoing(self, line: ProviderLine, deliveries: Sequence[Delivery]) -> Outgoing:
        first = deliveries[0]
        group = len(deliveries) > 1
        return Outgoing(
            delivery_id=group_reference(first.message_id) if group else first.delivery_id,
            line=line,
            sender=line.number,
            recipients=tuple(delivery.destination for delivery in deliveries),
            body=first.body,
            media=self._media(first),
            callback=self._callback("" if group else first.delivery_id),
            now_ms=self._now_ms(),
        )

    def _callback(self, delivery_id: str) -> str:
        path = "status" if self._account.dialect.status_path else ""
        url = hook_url(self._world.public_url, self._account.label, path)
        if not url:
            return ""
        url = with_password(url, self._account.config.http_password)
        return f"{url}?delivery={delivery_id}" if delivery_id else url

    def _media(self, delivery: Delivery) -> tuple[OutgoingMedia, ...]:
        found = []
        for medium in attached(delivery.media):
            url = medium.url
            if medium.digest and self._world.media is not None:
                url = self._world.media.link(medium, _LINK_LIFE_S)
                if url.startswith("/"):
                    url = self._world.public_url + url
            if "://" not in url:
                raise PermanentFailure(
                    "media-unsupported",
                    "The provider cannot fetch the attachment; the operator must set 'public_url' "
                    "in [http].",
                    detail="no public_url",
                )
            found.append(
                OutgoingMedia(
                    url=url,
                    content_type=medium.content_type,
                    size=medium.size,
                    name=medium.name,
                )
            )
        return tuple(found)

    async def _steps(
        self,
        line: ProviderLine,
        outgoing: Outgoing,
        deliveries: Sequence[Delivery],
        requests: Sequence[Request],
        until_s: float,
    ) -> Verdict:
        """Make the requests of one text, one after another; its verdict is that of all of them."""
        first: Verdict | None = None
        for step, request in enumerate(requests):
            verdict = await self._step(outgoing, step, request, until_s)
            if not isinstance(verdict.outcome, Sent):
                if first is None:
                    return verdict
                return evolve(verdict, outcome=_partly(step, len(requests), verdict.outcome))
            self._remember(verdict.outcome.remote_id, deliveries)
            first = first or verdict
        if first is None:
            return verdicts.refused("empty", detail="no request")
        return first

    async def _step(
        self, outgoing: Outgoing, step: int, request: Request, until_s: float
    ) -> Verdict:
        verdict = await self._try_step(outgoing, step, request, until_s)
        tries = 1
        # A part that surely was not taken is repeated here: its text cannot be sent again as a
        # whole, because parts of it are out.
        while step and tries < _STEP_TRIES and isinstance(verdict.outcome, TemporaryFailure):
            pause_s = min(verdict.outcome.retry_after_s or _STEP_PAUSE_S, _LONGEST_STEP_PAUSE_S)
            if self._reactor.seconds() + pause_s >= until_s:
                break
            try:
                await deferLater(self._reactor, pause_s)
            except CancelledError:
                break
            verdict = await self._try_step(outgoing, step, request, until_s)
            tries += 1
        return verdict

    async def _try_step(
        self, outgoing: Outgoing, step: int, request: Request, until_s: float
    ) -> Verdict:
        timeout_s = min(self._account.config.timeout, until_s - self._reactor.seconds())
        if timeout_s < _SHORTEST_S:
            return Verdict(outcome=TemporaryFailure("peer-down", "The time was over."))
        try:
            response = await self._ask(request, timeout_s)
        except NotSent as e:
            return Verdict(
                outcome=TemporaryFailure("peer-down", str(e), detail="not sent"), rests="gateway"
            )
        except NoAnswer as e:
            # What comes after it would fare the same, and nobody could tell what became of it.
            return Verdict(outcome=UnknownOutcome(str(e), detail="no answer"), rests="gateway")
        except CancelledError:
            return Verdict(outcome=UnknownOutcome(detail="given up"))
        if response.status in _MOVED:
            return verdicts.misconfigured(
                "rejected",
                f"{_host(request.url)} sends us to another address; set 'base_url' to the one that "
                "is right.",
                detail=f"status {response.status}",
            )
        verdict = self._account.dialect.answered(outgoing, step, response)
        if isinstance(verdict.outcome, UnknownOutcome) and not verdict.rests:
            return evolve(verdict, rests="gateway")
        return verdict

    def _remember(self, remote_id: str, deliveries: Sequence[Delivery]) -> None:
        """Keep the id of a text; what came about it before goes its way now."""
        if not remote_id:
            return
        ours = {delivery.destination: delivery.delivery_id for delivery in deliveries}
        if deliveries[0].group:
            ours[""] = ""  # so that what is about another of them is not taken for this one
        for update in self._early.answered(remote_id, ours, deliveries[0].line):
            self._statuses(update).addErrback(
                lambda failure: self.log.warn(
                    "{gateway}: a status could not be recorded: {reason}",
                    gateway=self._account.label,
                    reason=failure.getErrorMessage(),
                )
            )

    def _opted_out(self, line: ProviderLine, outgoing: Outgoing) -> None:
        """Remember who does not want texts; of a group nobody knows which of them it is."""
        opt_outs = self._world.opt_outs
        if opt_outs is None or len(outgoing.recipients) != 1 or line.opt_out == "no":
            return
        opt_outs.opt_out(line.label, outgoing.recipients[0], "provider").addErrback(
            lambda failure: self.log.warn(
                "{gateway}: an opt-out could not be kept: {reason}",
                gateway=self._account.label,
                reason=failure.getErrorMessage(),
            )
        )

    # -- what became of a text whose answer was lost ---------------------------------------------

    async def look_up(self, delivery: Delivery) -> Outcome:
        """Find out what became of an attempt that nobody answered for; see `ILookUp`."""
        line = self._account.lines.get(delivery.line)
        unknown = UnknownOutcome()
        if not self._running or line is None:
            return unknown
        try:
            outgoing = self._outgoing(line, [delivery])
            if delivery.group:
                outgoing = evolve(
                    outgoing,
                    delivery_id=group_reference(delivery.message_id),
                    recipients=delivery.recipients,
                )
            if len(self._account.dialect.requests(outgoing)) != 1:
                return unknown
        except Failure:
            return unknown
        except Exception:
            # It stays as unknown as it is.
            self.log.failure("{gateway}: a text cannot be looked up", gateway=self._account.label)
            return unknown
        until_s = self._reactor.seconds() + SETTLE_WITHIN_S
        finding = Deferred.fromCoroutine(
            self._find(
                line,
                outgoing,
                [delivery],
                delivery.created_at_ms,
                unknown,
                (0.0, *_LOOK_UP_AFTER_S[1:]),
                until_s,
            )
        )
        outcome: Outcome = await self._track(finding)
        return NotTried() if isinstance(outcome, TemporaryFailure) else outcome

    async def _find(
        self,
        line: ProviderLine,
        outgoing: Outgoing,
        deliveries: Sequence[Delivery],
        sent_at_ms: int,
        unknown: UnknownOutcome,
        after_s: Sequence[float],
        until_s: float,
    ) -> Outcome:
        """Ask the provider a few times; returns `unknown` where that does not help."""
        request = self._question(outgoing, sent_at_ms)
        if request is None:
            return unknown
        denied = 0
        began_s = self._reactor.seconds()
        for each_s in after_s:
            pause_s = began_s + each_s - self._reactor.seconds()
            if not self._running or self._reactor.seconds() + pause_s >= until_s:
                return unknown
            try:
                await deferLater(self._reactor, max(pause_s, 0.0))
                found = await self._look(line, outgoing, deliveries, sent_at_ms, request, until_s)
            except CancelledError:
                return unknown
            if isinstance(found, str):
                self._remember(found, deliveries)
                self._rests.found(line.label)
                self.log.info(
                    "{gateway}: {message_id} was looked up: the provider has it",
                    gateway=self._account.label,
                    message_id=deliveries[0].message_id,
                    remote_id=found,
                )
                return Sent(found)
            denied += found is NOTHING_THERE
        if denied < len(after_s):
            return unknown
        return TemporaryFailure(
            "peer-down",
            "The provider's answer was lost. It says that it does not have the text, which is sent "
            "again.",
            detail=unknown.detail,
        )

    def _question(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        try:
            return self._account.dialect.look_up(outgoing, sent_at_ms)
        except Exception:
            # It stays as unknown as it is.
            self.log.failure("{gateway}: a text cannot be looked up", gateway=self._account.label)
            return None

    async def _look(
        self,
        line: ProviderLine,
        outgoing: Outgoing,
        deliveries: Sequence[Delivery],
        sent_at_ms: int,
        request: Request,
        until_s: float,
    ) -> LookedUp:
        """Ask once."""
        try:
            stored = await self._neighbors(line, deliveries, sent_at_ms)
            timeout_s = min(_LOOK_UP_WITHIN_S, until_s - self._reactor.seconds())
            if timeout_s < _SHORTEST_S:
                return UNSURE
            response = await self._ask(request, timeout_s)
            # No turn of the reactor between this and `_remember`: two equal texts that were lost
            # together must not be taken for each other.
            known = stored | self._early.known(each.delivery_id for each in deliveries)
            return self._account.dialect.looked_up(outgoing, sent_at_ms, response, known)
        except CancelledError:
            raise
        except (NotSent, NoAnswer, TemporaryFailure) as e:
            self.log.info(
                "{gateway}: {message_id} could not be looked up: {reason}",
                gateway=self._account.label,
                message_id=deliveries[0].message_id,
                reason=str(e),
            )
        except Exception:
            # It stays as unknown as it is.
            self.log.failure(
                "{gateway}: {message_id} could not be looked up",
                gateway=self._account.label,
                message_id=deliveries[0].message_id,
            )
        return UNSURE

    async def _neighbors(
        self, line: ProviderLine, deliveries: Sequence[Delivery], sent_at_ms: int
    ) -> set[str]:
        """Return the ids that the store knows to belong to other texts of the conversation."""
        desk = self._world.desk
        if desk is None:
            return set()
        messages = await desk.history(
            MessageQuery(
                line=line.label,
                number=deliveries[0].destination,
                since_ms=sent_at_ms - 86_400_000,
                limit=_MOST_NEIGHBORS,
            )
        )
        own = {delivery.delivery_id for delivery in deliveries}
        return {
            each.remote_id
            for message in messages
            for each in message.deliveries
            if each.remote_id and each.delivery_id not in own
        }

    # -- small things ----------------------------------------------------------------------------

    def _now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)


def _texts(batch: Sequence[Delivery], line: ProviderLine) -> list[_Text]:
    """Put the deliveries of group texts together, if all of them are there."""
    groups: dict[str, list[int]] = {}
    for place, delivery in enumerate(batch):
        if delivery.group and delivery.direction == Direction.OUT and line.carries_groups:
            groups.setdefault(delivery.message_id, []).append(place)
    whole = {
        message_id: places
        for message_id, places in groups.items()
        if len(places) > 1
        and {batch[place].destination for place in places} == set(batch[places[0]].recipients)
    }
    texts = []
    for place, delivery in enumerate(batch):
        places = whole.get(delivery.message_id, [place]) if delivery.group else [place]
        if places[0] == place:
            texts.append(_Text(tuple(places), tuple(batch[each] for each in places)))
    return texts


def _partly(step: int, steps: int, outcome: Outcome) -> UnknownOutcome:
    assert isinstance(outcome, Failure)
    part = "the first part" if step == 1 else f"the first {step} parts"
    return UnknownOutcome(
        f"Of this text only {part} of {steps} surely went out: {outcome.text}",
        detail=outcome.detail,
    )


def _host(url: str) -> str:
    return urlsplit(url).hostname or "The provider"


def _ended(sending: Deferred[Any]) -> Deferred[None]:
    """Return what fires when this is over, however it ends."""
    ended: Deferred[None] = Deferred()

    def over(result: Any) -> Any:
        ended.callback(None)
        return result

    sending.addBoth(over)
    return ended
