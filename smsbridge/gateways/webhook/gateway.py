"""
Programs that are called by HTTP, as a gateway: each text of a person is one post.

A 2xx is the program's word that it has the text.  Any other answer is tried again, later and later,
for a day: a program that is set up wrong must not lose texts.  Only 410 says that it does not want
them.  Posts of one conversation keep their order.  A program that nobody answers for at all parks:
its lane closes, no attempt is used up, and now and then one post tries whether it is back.

Addresses that persons have in the configuration are the operator's word and may be anywhere; what a
client of the API gave for reports is never in a private network.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from hashlib import sha256
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, gatherResults, maybeDeferred, succeed
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from zope.interface import implementer

from smsbridge.core.directory import Directory, Person, World
from smsbridge.core.message import Delivery, Kind, Media, NotTried, Outcome, Sent, Status
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure
from smsbridge.gateways.webhook import payload
from smsbridge.gateways.webhook.config import WebhookGateway
from smsbridge.interfaces import IGateway, IGatewayFactory, IInbox, ILanes, ITryOut
from smsbridge.post import Answer, Forbidden, NoAnswer, Post, Poster

__all__ = ["WebhookFactory", "WebhookService"]

_CALLBACK_LANES: Final = 8
_LOOK_EVERY_S: Final = 2.0
_FIRST_REST_S: Final = 5.0
_LONGEST_REST_S: Final = 300.0
_BATCH_WITHIN_S: Final = 50.0  # what was not begun by then goes back to the queue
_STOP_WITHIN_S: Final = 0.5
_LINK_LIFE_S: Final = 30 * 86400.0
_LONGEST_RETRY_AFTER_S: Final = 6 * 3600.0
_QUOTED: Final = 200  # characters of an answer that are kept


@define
class _Parked:
    """A program for which nobody answers."""

    host: str
    why: str
    since_ms: int
    rest_s: float = _FIRST_REST_S
    timer: IDelayedCall | None = None


@implementer(IGateway, ITryOut)
class WebhookService(Service):
    """
    One ``[gateway:NAME]`` of kind ``webhook``, or the one that is there without a section.

    :param post: see `post.Poster.post`; by default a poster of its own.
    """

    log = Logger()
    kind = "webhook"
    recognizes_repeats = True  # every post of a text has its id
    batch_size = 50
    settle_within_s = 120.0

    def __init__(
        self,
        reactor: Any,
        label: str,
        config: WebhookGateway,
        lanes: ILanes,
        world: World,
        *,
        post: Post | None = None,
    ) -> None:
        self.label = label
        self._reactor = reactor
        self._config = config
        self._lanes = lanes
        self._world = world
        self._poster = Poster(reactor) if post is None else None
        self._post: Post = post if post is not None else self._poster.post  # type: ignore[union-attr]
        self._known: Directory | None = None
        self._webhooks_of: tuple[Directory | None, frozenset[str]] = (None, frozenset())
        self._opened: set[str] = set()
        self._parked: dict[str, _Parked] = {}
        self._under_way: set[Deferred[Answer]] = set()
        self._since_ms: int | None = None
        self._looker = LoopingCall(self._look)

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin to post."""
        Service.startService(self)
        self._since_ms = self._now_ms()
        self._looker.clock = self._reactor
        self._looker.start(_LOOK_EVERY_S, now=True)

    def stopService(self) -> Deferred[None]:
        """Give up what is under way after a moment; it is posted again after the next start."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        if self._looker.running:
            self._looker.stop()
        for lane in self._opened:
            self._lanes.close(self.label, lane, "peer-down", "The gateway was stopped.")
        self._opened.clear()
        self._known = None
        for parked in self._parked.values():
            _cancel(parked.timer)
        self._parked.clear()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._under_way:
            giving_up = self._reactor.callLater(_STOP_WITHIN_S, self._give_up)
            await gatherResults(
                [_ended(posting) for posting in self._under_way], consumeErrors=True
            )
            _cancel(giving_up)
        if self._poster is not None:
            await self._poster.close()

    def _give_up(self) -> None:
        for posting in list(self._under_way):
            posting.cancel()

    def update(self, config: WebhookGateway, lines: Mapping[str, Any]) -> bool:
        """See `IGateway.update`."""
        self._config = config
        return True

    def _look(self) -> None:
        """Open the lanes of webhooks that are new since the configuration was read again."""
        directory = self._world.directory
        if directory is self._known or not self.running:
            return
        self._known = directory
        wanted = {self.lane("", url) for url in self._webhooks()}
        wanted.update(f"{self.label}/callbacks-{number}" for number in range(_CALLBACK_LANES))
        for lane in sorted(wanted - self._opened):
            self._opened.add(lane)
            self._lanes.open(self.label, lane)

    # -- the core's side -------------------------------------------------------------------------

    def lane(self, line: str, destination: str) -> str:
        """
        See `IGateway.lane`: each program of a person has its own, what clients of the API want to
        be told shares a few.
        """
        name = sha256(destination.encode("utf-8", "replace")).hexdigest()
        if destination in self._webhooks():
            return f"{self.label}/{name[:16]}"
        return f"{self.label}/callbacks-{int(name[:8], 16) % _CALLBACK_LANES}"

    def _webhooks(self) -> frozenset[str]:
        """Return the addresses of all persons' programs."""
        directory = self._world.directory
        if self._webhooks_of[0] is not directory:
            found = (url for person in directory.persons.values() for url in person.webhook)
            self._webhooks_of = (directory, frozenset(found))
        return self._webhooks_of[1]

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """See `IGateway.deliver`."""
        return Deferred.fromCoroutine(self._deliver(lane, batch))

    async def _deliver(self, lane: str, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        if not self.running:
            return [TemporaryFailure("peer-down", "The gateway was stopped.") for _ in batch]
        if not batch:
            return []
        until_s = self._reactor.seconds() + _BATCH_WITHIN_S
        outcomes: list[Outcome] = [NotTried()] * len(batch)
        conversations: dict[str, list[int]] = {}
        for number, delivery in enumerate(batch):
            conversations.setdefault(delivery.order_key, []).append(number)
        waiting = iter(list(conversations.values()))

        async def work() -> None:
            for numbers in waiting:
                for number in numbers:
                    late = self._reactor.seconds() > until_s
                    if late or lane in self._parked or not self.running:
                        return
                    outcome = await self._one(lane, batch[number])
                    outcomes[number] = outcome
                    if isinstance(outcome, TemporaryFailure):
                        break

        if lane in self._parked:
            _cancel(self._parked[lane].timer)
            # One post tries whether the program is back.
            first = next(waiting)
            waiting = iter([first[1:], *waiting] if first[1:] else list(waiting))
            parked = self._parked.pop(lane)
            outcomes[first[0]] = await self._one(lane, batch[first[0]], parked)
            if isinstance(outcomes[first[0]], TemporaryFailure):
                return outcomes
        at_once = min(self._config.at_once, len(conversations))
        await gatherResults([Deferred.fromCoroutine(work()) for _ in range(at_once)])
        return outcomes

    async def _one(self, lane: str, delivery: Delivery, parked: _Parked | None = None) -> Outcome:
        person = self._world.directory.persons.get(delivery.person)
        own = person is not None and delivery.destination in person.webhook
        if not own and delivery.kind is not Kind.REPORT:
            return PermanentFailure(
                "unroutable", "The person does not have this webhook any more.", detail="removed"
            )
        try:
            body = payload.encode(
                payload.post_of(delivery, self._link, person is not None and person.webhook_compat)
            )
            answer = await self._ask(person, delivery.destination, delivery.delivery_id, body, own)
        except Forbidden as e:
            return PermanentFailure("not-permitted", str(e))
        except NoAnswer as e:
            if e.refused and own:
                self._park(lane, delivery, str(e), parked)
            return self._later(delivery, TemporaryFailure("peer-down", str(e)), e.refused)
        except CancelledError:
            return TemporaryFailure("peer-down", "The gateway was stopped.")
        if 200 <= answer.status < 300:
            return Sent(delivered=True)
        host = urlsplit(delivery.destination).hostname
        detail = f"{answer.status} {_quoted(answer.body)}".strip()
        if answer.status == 410:
            return PermanentFailure("rejected", f"{host} does not want this.", detail=detail)
        failure = TemporaryFailure(
            "rejected",
            f"{host} answered with status {answer.status}.",
            detail=detail,
            retry_after_s=_asked_s(answer),
        )
        return self._later(delivery, failure, False)

    def _later(
        self, delivery: Delivery, failure: TemporaryFailure, nobody_there: bool
    ) -> TemporaryFailure:
        """Return a failure, or that the time is over; who does not listen is waited for longer."""
        age_ms = self._now_ms() - delivery.created_at_ms
        if nobody_there or age_ms < self._config.give_up_after * 1000:
            return failure
        return TemporaryFailure("expired", failure.text, detail=failure.detail)

    def _ask(
        self, person: Person | None, url: str, delivery_id: str, body: bytes, own: bool
    ) -> Deferred[Answer]:
        headers = {"Content-Type": "application/vnd.api+json", "X-Smsbridge-Delivery": delivery_id}
        if person is not None and person.webhook_secret:
            at_s = self._now_ms() // 1000
            headers[payload.SIGNATURE] = payload.sign(person.webhook_secret, at_s, body)
        posting = self._post(url, body, headers, private_too=own, timeout_s=self._config.timeout)
        if not posting.called:
            self._under_way.add(posting)

            def over(result: Any) -> Any:
                self._under_way.discard(posting)
                return result

            posting.addBoth(over)
        return posting

    def _link(self, media: Media) -> str:
        files = self._world.media
        if not media.digest or files is None:
            return media.url
        return files.link(media, _LINK_LIFE_S)

    # -- programs that are away ------------------------------------------------------------------

    def _park(self, lane: str, delivery: Delivery, why: str, before: _Parked | None) -> None:
        """Close a lane until something may have changed."""
        if lane in self._parked or not self.running:
            return
        if before is None:
            host = urlsplit(delivery.destination).hostname or ""
            parked = _Parked(host, why, self._now_ms())
            self.log.warn("{gateway}: {reason}; its texts wait", gateway=self.label, reason=why)
        else:
            parked = before
            parked.rest_s = min(parked.rest_s * 2, _LONGEST_REST_S)
        self._parked[lane] = parked
        self._opened.discard(lane)
        self._lanes.close(self.label, lane, "peer-down", why)
        parked.timer = self._reactor.callLater(parked.rest_s, self._try_again, lane)

    def _try_again(self, lane: str) -> None:
        self._opened.add(lane)
        self._lanes.open(self.label, lane)

    # -- what is shown ---------------------------------------------------------------------------

    def line_status(self) -> list[LineStatus]:
        """See `IGateway.line_status`; there are no lines here."""
        return []

    def link_status(self) -> LinkStatus:
        """See `IGateway.link_status`."""
        count = len(self._webhooks())
        state = f"{count} webhook" + ("" if count == 1 else "s")
        away = sorted(self._parked.values(), key=lambda parked: parked.since_ms)
        if away:
            state = "; ".join(dict.fromkeys(parked.why for parked in away))
        return LinkStatus(
            gateway=self.label,
            kind=self.kind,
            up=bool(self.running) and not away,
            state=state if self.running else "not started",
            since_ms=away[0].since_ms if away else self._since_ms,
        )

    def try_out(self, person: str) -> Deferred[list[str]]:
        """See `ITryOut`."""
        return maybeDeferred(self._try_out, person)

    def _try_out(self, label: str) -> Deferred[list[str]]:
        person = self._world.directory.persons.get(label)
        if person is None or not person.webhook:
            raise Refused("unknown-person", f"{label} has no key 'webhook' in the configuration.")
        return Deferred.fromCoroutine(self._try_each(person))

    async def _try_each(self, person: Person) -> list[str]:
        now_ms = self._now_ms()
        found = []
        for number, url in enumerate(person.webhook):
            sample = _sample(person, url, f"test-{now_ms}.{number}", now_ms)
            body = payload.encode(payload.post_of(sample, self._link, person.webhook_compat))
            try:
                answer = await self._ask(person, url, sample.delivery_id, body, True)
            except (Forbidden, NoAnswer) as e:
                found.append(f"{url}: {e}")
                continue
            word = "taken" if 200 <= answer.status < 300 else "not taken"
            quoted = _quoted(answer.body)
            found.append(
                f"{url}: {word}, status {answer.status}" + (f", {quoted!r}" if quoted else "")
            )
        return found

    def _now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)


def _sample(person: Person, url: str, delivery_id: str, now_ms: int) -> Delivery:
    """Make a text that nobody wrote."""
    return Delivery(
        delivery_id,
        delivery_id.partition(".")[0],
        Kind.MESSAGE,
        "",
        "",
        person.lines[0] if person.lines else "",
        person.label,
        url,
        "test",
        Status.SENDING,
        1,
        now_ms,
        now_ms,
        "This is a test of the webhook.",
        "+12025550123",
        "",
        ("+12025550100",),
    )


def _asked_s(answer: Answer) -> float | None:
    """Return what a Retry-After in seconds asks for, within reason."""
    text = answer.headers.get("retry-after", "").strip()
    return min(float(text), _LONGEST_RETRY_AFTER_S) if text.isascii() and text.isdigit() else None


def _quoted(body: bytes) -> str:
    text = " ".join(body.decode("utf-8", "replace").split())
    return "".join(char for char in text if char.isprintable())[:_QUOTED]


def _ended(posting: Deferred[Answer]) -> Deferred[None]:
    """Return what fires when a post is over, however it ends."""
    ended: Deferred[None] = Deferred()

    def over(result: Any) -> Any:
        ended.callback(None)
        return result

    posting.addBoth(over)
    return ended


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()


@implementer(IGatewayFactory)
class WebhookFactory:
    """Makes the gateway of all webhooks."""

    kind = "webhook"
    config_class = WebhookGateway
    line_class = None
    address_kind = "webhook"
    implicit = True  # see `smsbridge.gateways`

    def build(
        self,
        reactor: Any,
        label: str,
        config: WebhookGateway,
        lines: Mapping[str, Any],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
    ) -> WebhookService:
        """See `IGatewayFactory.build`."""
        return WebhookService(reactor, label, config, lanes, world)
