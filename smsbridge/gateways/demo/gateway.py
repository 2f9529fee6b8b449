"""
A gateway whose phone network is made up: texts are delivered and answered by nobody.

It does what the best of lines do (pictures, group texts, reports, USSD) and, for certain numbers,
what the worst do (see `config.BEHAVIORS`), so that everything can be seen without hardware or an
account.  Nothing leaves the machine.  What it still had to say when it stops is forgotten.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Mapping, Sequence
from typing import Any, ClassVar, Final

from attrs import define
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.task import deferLater
from twisted.logger import Logger
from zope.interface import implementer

from smsbridge.core.directory import World
from smsbridge.core.message import (
    Call,
    Delivery,
    DeliveryReport,
    FromNetwork,
    Media,
    NotTried,
    Outcome,
    Sent,
    UssdNotice,
)
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.demo.config import (
    DEMO_HELP,
    Behavior,
    DemoGateway,
    DemoLine,
    behavior_of,
)
from smsbridge.gateways.demo.picture import draw
from smsbridge.interfaces import (
    IGateway,
    IGatewayFactory,
    IInbox,
    ILanes,
    ILineControl,
    IUssd,
)

__all__ = ["DemoFactory", "DemoService"]

_BATCH_SIZE: Final = 50
_SETTLE_WITHIN_S: Final = 60.0
_TIMEOUT_S: Final = 3.0  # of an attempt that gets no answer
_RETRY_S: Final = 2.0
_TRIES: Final = 30
_LONGEST_QUOTE: Final = 120
_MOST_REMEMBERED: Final = 1000
_SUBSCRIBER: Final = "+12025550123"

_USSD: Final = {
    "*100#": "Your balance is 12.34 USD. It is made up, as everything here.",
    "*111#": "1 Balance\n2 Data left\n0 End",
}
_MENU: Final = {"1": "Balance: 12.34 USD", "2": "Data left: 3.2 GB", "0": "Good-bye."}


@define(eq=False)
class _Live:
    """What is known of a line."""

    config: DemoLine
    up: bool = True
    in_menu: bool = False


@implementer(IGateway, IUssd, ILineControl)
class DemoService(Service):
    """
    The gateway.

    :param reactor: its clock alone is used.
    """

    log = Logger()
    kind = "demo"
    batch_size = _BATCH_SIZE
    settle_within_s = _SETTLE_WITHIN_S
    # There is nobody who could get a text twice.
    recognizes_repeats = True
    commands: ClassVar[Mapping[str, tuple[str, str]]] = {
        "receive": ("[NUMBER [TEXT]]", "let a text arrive"),
        "picture": ("[NUMBER [TEXT]]", "let a picture arrive"),
        "call": ("[NUMBER]", "let a call come in that nobody answers"),
        "notice": ("[TEXT]", "let the network say something by USSD"),
        "down": ("", "take the line out of the network"),
        "up": ("", "bring it back"),
        "numbers": ("", "tell what becomes of texts to which numbers"),
    }

    def __init__(
        self,
        reactor: Any,
        label: str,
        config: DemoGateway,
        lines: Mapping[str, DemoLine],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
    ) -> None:
        self._clock = reactor
        self.label = label
        self._config = config
        self._inbox = inbox
        self._lanes = lanes
        self._world = world
        self._lines = {name: _Live(line) for name, line in lines.items()}
        self._since_ms: int | None = None
        self._tried_once: dict[str, None] = {}
        self._working: set[Deferred[Any]] = set()
        self._drawn = 0

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the lines."""
        super().startService()
        self._since_ms = self._now_ms()
        for line in self._lines.values():
            self._announce(line)

    def stopService(self) -> None:
        """Close the lines; what is under way ends unsent, what was to come is forgotten."""
        super().stopService()
        for line in self._lines.values():
            self._lanes.close(self.label, self._lane_of(line), "peer-down")
        for work in list(self._working):
            work.cancel()

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)

    def _lane_of(self, line: _Live) -> str:
        return f"{self.label}/{line.config.label}"

    def _announce(self, line: _Live) -> None:
        if not line.config.enabled:
            self._lanes.close(self.label, self._lane_of(line), "line-disabled")
        elif not line.up:
            self._lanes.close(self.label, self._lane_of(line), "line-down")
        else:
            self._lanes.open(self.label, self._lane_of(line))

    def update(self, config: DemoGateway, lines: Mapping[str, DemoLine]) -> bool:
        """Take a changed configuration."""
        self._config = config
        for name in list(self._lines):
            if name not in lines:
                gone = self._lines.pop(name)
                self._lanes.close(self.label, self._lane_of(gone), "unknown-line")
        for name, new in lines.items():
            live = self._lines.get(name)
            if live is not None and live.config == new:
                continue
            if live is None:
                live = self._lines[name] = _Live(new)
            live.config = new
            if self.running:
                self._announce(live)
        return True

    def lane(self, line: str, destination: str) -> str:
        """Name the lane: everything of one line goes one after another."""
        return f"{self.label}/{line}"

    def line_status(self) -> list[LineStatus]:
        """Return what is made up of each line."""
        return [self._status(name, live) for name, live in self._lines.items()]

    def _status(self, name: str, live: _Live) -> LineStatus:
        up = bool(self.running) and live.up and live.config.enabled
        state = "ready" if up else "not registered in the network"
        if not live.config.enabled:
            state = "switched off in the configuration"
        return LineStatus(
            line=name,
            gateway=self.label,
            up=up,
            state=state,
            number=live.config.number,
            signal_dbm=-71 if up else None,
            operator="Demo network" if up else "",
            model="Demo line",
            last_seen_ms=self._now_ms() if up else None,
            daily_cap=live.config.daily_cap,
        )

    def link_status(self) -> LinkStatus:
        """Return that all is well, as long as it runs."""
        return LinkStatus(
            gateway=self.label,
            kind=self.kind,
            up=bool(self.running),
            state="made up" if self.running else "stopped",
            since_ms=self._since_ms,
        )

    # -- out -------------------------------------------------------------------------------------

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """Pretend to send; see `IGateway.deliver`."""
        return Deferred.fromCoroutine(self._deliver(lane, batch))

    async def _deliver(self, lane: str, batch: Sequence[Delivery]) -> Sequence[Outcome]:
        outcomes: list[Outcome] = []
        held: set[str] = set()  # what must not be overtaken
        for delivery in batch:
            if not self.running:
                outcomes.append(TemporaryFailure("peer-down"))
                continue
            if delivery.order_key in held:
                outcomes.append(NotTried())
                continue
            outcome = await self._attempt(delivery)
            if isinstance(outcome, TemporaryFailure):
                held.add(delivery.order_key)
            outcomes.append(outcome)
        return outcomes

    async def _attempt(self, delivery: Delivery) -> Outcome:
        live = self._lines.get(delivery.line)
        if live is None or not live.config.enabled or not live.up:
            return TemporaryFailure("line-down")
        behavior = behavior_of(delivery.destination)
        try:
            if behavior.refused:
                return PermanentFailure(behavior.refused)
            if behavior.late and delivery.delivery_id not in self._tried_once:
                self._tried_once[delivery.delivery_id] = None
                if len(self._tried_once) > _MOST_REMEMBERED:
                    del self._tried_once[next(iter(self._tried_once))]
                await self._pause(_TIMEOUT_S)
                return TemporaryFailure("peer-down", retry_after_s=_RETRY_S)
            if behavior.lost:
                await self._pause(_TIMEOUT_S)
                return UnknownOutcome()
        except CancelledError:
            return TemporaryFailure("peer-down")  # the gateway stops
        self._go_on(self._afterwards(delivery, behavior))
        return Sent()

    async def _pause(self, seconds: float) -> None:
        pause: Deferred[None] = deferLater(self._clock, seconds)
        self._working.add(pause)
        try:
            await pause
        finally:
            self._working.discard(pause)

    # -- what the made-up network does later -------------------------------------------------------

    def _go_on(self, work: Coroutine[Any, Any, None]) -> None:
        def failed(failure: Any) -> None:
            failure.trap(CancelledError)

        Deferred.fromCoroutine(work).addErrback(failed).addErrback(
            lambda failure: self.log.failure("a demo text went wrong", failure=failure)
        )

    async def _afterwards(self, delivery: Delivery, behavior: Behavior) -> None:
        await self._pause(self._config.delay)
        if behavior.report is not None:
            report = DeliveryReport(
                gateway=self.label,
                status=behavior.report,
                delivery_id=delivery.delivery_id,
                reason=behavior.reason,
            )
            await self._insist(lambda: self._inbox.report(report))
        if not self._config.answers or not self._is_first(delivery):
            return
        for number in range(behavior.answers):
            await self._pause(self._config.delay)
            await self._answer(delivery, behavior, number)

    @staticmethod
    def _is_first(delivery: Delivery) -> bool:
        """Of a group only one answers, to all."""
        others = [number for number in delivery.recipients if behavior_of(number).answers]
        return len(delivery.recipients) < 2 or delivery.destination == min(others, default="")

    async def _answer(self, delivery: Delivery, behavior: Behavior, number: int) -> None:
        pictures = [each for each in delivery.media if not each.linked]
        body = delivery.body.strip()
        if number:
            text = ("And another thing.", "That was all.")[number - 1]
        elif body.lower() in ("help", "?"):
            text = f"{DEMO_HELP}."
        elif pictures and not body:
            text = "Thank you for the picture. Here is one for you."
        else:
            short = body if len(body) <= _LONGEST_QUOTE else f"{body[:_LONGEST_QUOTE]}..."
            text = f'You wrote: "{short}"'
        media = await self._picture(body) if (pictures or behavior.picture) and not number else ()
        others = tuple(each for each in delivery.recipients if each != delivery.destination)
        await self._arrive(delivery.line, delivery.destination, text, media, others)

    async def _arrive(
        self,
        line: str,
        sender: str,
        body: str,
        media: tuple[Media, ...] = (),
        others: tuple[str, ...] = (),
    ) -> None:
        live = self._lines.get(line)
        if live is None:
            return
        own = live.config.number or line
        text = FromNetwork(
            line=line,
            sender=sender,
            body=body,
            recipients=(own, *others) if others else (),
            media=media,
        )
        await self._insist(lambda: self._inbox.accept(text))

    async def _picture(self, title: str) -> tuple[Media, ...]:
        files = self._world.media
        if files is None:
            return ()
        self._drawn += 1
        try:
            return (await files.keep(draw(title, self._drawn), "picture.jpg", received=True),)
        except (Refused, TemporaryFailure) as e:
            self.log.warn("{gateway}: no picture: {reason}", gateway=self.label, reason=e.text)
            return ()

    async def _insist(self, say: Callable[[], Deferred[Any]]) -> None:
        """Say something to the core, again while the database is away."""
        for _ in range(_TRIES):
            try:
                await say()
                return
            except TemporaryFailure:
                await self._pause(_RETRY_S)
            except Refused as e:
                self.log.warn("{gateway}: {reason}", gateway=self.label, reason=e.text)
                return

    # -- USSD and commands -------------------------------------------------------------------------

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """See `IUssd.ussd`."""
        return Deferred.fromCoroutine(self._ussd(line, code.strip()))

    async def _ussd(self, line: str, code: str) -> str:
        live = self._lines.get(line)
        if live is None or not live.up or not live.config.enabled or not self.running:
            raise TemporaryFailure("line-down")
        try:
            await self._pause(self._config.delay)
        except CancelledError:
            raise TemporaryFailure("line-down") from None
        if live.in_menu and code in _MENU:
            live.in_menu = False
            return _MENU[code]
        live.in_menu = code == "*111#"
        if code not in _USSD:
            known = " and ".join(_USSD)
            raise PermanentFailure(
                "network", f"The network does not know {code}; this one knows {known}."
            )
        return _USSD[code]

    def control(self, line: str, command: str, arguments: Sequence[str]) -> Deferred[str]:
        """See `ILineControl.control`."""
        return Deferred.fromCoroutine(self._control(line, command, arguments))

    async def _control(self, line: str, command: str, arguments: Sequence[str]) -> str:
        live = self._lines.get(line)
        if live is None:
            raise PermanentFailure("unknown-line")
        number = arguments[0] if arguments else _SUBSCRIBER
        text = " ".join(arguments[1:])
        match command:
            case "receive":
                await self._arrive(line, number, text or "Hello from the demo network.")
            case "picture":
                await self._arrive(line, number, text, await self._picture(text))
            case "call":
                await self._inbox.call(
                    Call(
                        line=line,
                        incoming=True,
                        number=number,
                        started_at_ms=self._now_ms(),
                        duration_s=0,
                        cause="no answer",
                    )
                )
            case "notice":
                words = " ".join(arguments) or "Your bill is ready."
                await self._inbox.ussd_notice(UssdNotice(line=line, body=words))
            case "down" | "up":
                live.up = command == "up"
                self._announce(live)
            case "numbers":
                return f"{DEMO_HELP}."
            case _:
                known = ", ".join(self.commands)
                raise PermanentFailure("unsupported", f"Demo lines have these commands: {known}.")
        return "Done."


@implementer(IGatewayFactory)
class DemoFactory:
    """Builds demo gateways."""

    kind = "demo"
    config_class: Any = DemoGateway
    line_class: Any = DemoLine
    address_kind = ""

    def build(
        self,
        reactor: Any,
        label: str,
        config: DemoGateway,
        lines: Mapping[str, DemoLine],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
    ) -> DemoService:
        """See `IGatewayFactory.build`."""
        return DemoService(reactor, label, config, lines, inbox, lanes, world)
