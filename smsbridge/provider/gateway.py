"""
Every telephony provider as a gateway: what is pure about one is its `dialect.Dialect`, the rest is
put together here.

Texts go out through `sending`, webhooks come in through `hook` and `arrivals`, and `listing` asks
the provider for what webhooks missed.  Nothing here knows a provider by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred, maybeDeferred, succeed
from twisted.logger import Logger
from twisted.web.resource import IResource
from zope.interface import implementer

from smsbridge.core.directory import World
from smsbridge.core.message import Delivery, Outcome, Settled
from smsbridge.core.records import FoundLine, LineStatus, LinkStatus, Reconciled
from smsbridge.errors import TemporaryFailure
from smsbridge.interfaces import (
    IDiscover,
    IGateway,
    IGatewayFactory,
    IInbox,
    ILanes,
    ILookUp,
    IReconcile,
    IWebhook,
)
from smsbridge.keys import ConfigError
from smsbridge.provider.account import Account, hook_url
from smsbridge.provider.arrivals import Arrivals
from smsbridge.provider.client import Ask, Client
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import Dialect, ProviderLine
from smsbridge.provider.early import Early
from smsbridge.provider.hook import HookResource
from smsbridge.provider.listing import Listing
from smsbridge.provider.rests import Rests
from smsbridge.provider.sending import CONVERSATIONS_AT_ONCE, SETTLE_WITHIN_S, Sending

__all__ = ["ProviderFactory", "ProviderService"]

_SHORTEST_TIMEOUT_S: Final = 1.0
_LONGEST_TIMEOUT_S: Final = 60.0


@implementer(IGateway, IWebhook, ILookUp, IReconcile, IDiscover)
class ProviderService(Service):
    """
    One ``[gateway:NAME]`` of a provider.

    :param ask: asks the provider; by default a `Client` of its own.
    """

    log = Logger()
    recognizes_repeats = False
    batch_size = CONVERSATIONS_AT_ONCE  # none is claimed that is not begun
    settle_within_s = SETTLE_WITHIN_S

    def __init__(
        self,
        reactor: Any,
        factory: ProviderFactory,
        label: str,
        config: ProviderGateway,
        lines: Mapping[str, ProviderLine],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
        *,
        ask: Ask | None = None,
    ) -> None:
        self.label = label
        self.kind = factory.kind
        self._reactor = reactor
        self._factory = factory
        self._client = Client(reactor) if ask is None else None
        asking: Ask = ask if ask is not None else self._client.ask  # type: ignore[union-attr]
        self._account = Account(label, config, factory.dialect(config), lines)
        early = Early(reactor)
        self._arrivals = Arrivals(reactor, self._account, inbox, world, early, asking)
        self._rests = Rests(reactor, self._account, inbox, lanes, world)
        self._sending = Sending(
            reactor, self._account, asking, early, self._rests, world, self._arrivals.take
        )
        self._listing = Listing(
            reactor, factory.title, self._account, asking, self._arrivals.take, world
        )
        self._hook = HookResource(reactor, self._account, self._arrivals, world)
        self._since_ms: int | None = None

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Take what is kept up again, then send."""
        super().startService()
        self._since_ms = int(self._reactor.seconds() * 1000)
        self._arrivals.start()
        self._sending.start()
        self._rests.start()
        self._listing.start()

    def stopService(self) -> Deferred[None]:
        """Give up what is under way after a moment; it is looked up after the next start."""
        if not self.running:
            return succeed(None)
        super().stopService()
        self._rests.stop()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        for stop in (self._listing.stop, self._sending.stop, self._arrivals.stop):
            try:
                await maybeDeferred(stop)
            except Exception:
                # One part that cannot stop must not keep the others running.
                self.log.failure("{gateway} could not stop", gateway=self.label)
        if self._client is not None:
            await self._client.close()

    def update(self, config: ProviderGateway, lines: Mapping[str, Any]) -> bool:
        """
        Take a changed configuration; see `IGateway.update`.

        :raises ConfigError: it cannot be used; nothing has changed then.
        """
        self._factory.check(config, lines)
        before = set(self._account.lines)
        self._account.replace(config, self._factory.dialect(config), lines)
        self._rests.renew(before)
        self._listing.renew()
        return True

    # -- texts -----------------------------------------------------------------------------------

    def lane(self, line: str, destination: str) -> str:
        """See `IGateway.lane`."""
        return f"{self.label}/{line}"

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Settled]]:
        """See `IGateway.deliver`."""
        return Deferred.fromCoroutine(self._sending.deliver(lane.partition("/")[2], batch))

    def look_up(self, delivery: Delivery) -> Deferred[Outcome]:
        """See `ILookUp.look_up`."""
        return Deferred.fromCoroutine(self._sending.look_up(delivery))

    def reconcile(self, since_ms: int, told: Callable[[str], None]) -> Deferred[Reconciled]:
        """See `IReconcile.reconcile`."""
        return maybeDeferred(self._reconcile, since_ms, told)

    def _reconcile(self, since_ms: int, told: Callable[[str], None]) -> Deferred[Reconciled]:
        if not self.running:
            raise TemporaryFailure("peer-down", "The gateway was stopped.")
        return self._listing.reconcile(since_ms, told)

    def discover(self) -> Deferred[list[FoundLine]]:
        """See `IDiscover.discover`."""
        return Deferred.fromCoroutine(self._listing.discover())

    def resource(self) -> IResource:
        """See `IWebhook.resource`."""
        return self._hook

    # -- what is shown ---------------------------------------------------------------------------

    def line_status(self) -> list[LineStatus]:
        """See `IGateway.line_status`."""
        return [self._line_status(line) for line in self._account.lines.values()]

    def _line_status(self, line: ProviderLine) -> LineStatus:
        trouble = self._rests.trouble(line.label) or self._rests.trouble()
        state = self._rests.pause(line.label) or "ready"
        if not line.enabled:
            state = "switched off in the configuration"
        elif not self.running:
            state = "not started"
        elif trouble is not None:
            state = trouble[0]
        return LineStatus(
            line=line.label,
            gateway=self.label,
            up=bool(self.running) and line.enabled and trouble is None,
            state=state,
            number=line.number,
            last_seen_ms=self._rests.worked_at_ms,
            daily_cap=line.daily_cap,
        )

    def link_status(self) -> LinkStatus:
        """See `IGateway.link_status`."""
        trouble = self._rests.trouble()
        state = "works" if self._rests.worked_at_ms is not None else "ready; not asked yet"
        if not self.running:
            state = "not started"
        elif trouble is not None:
            state = trouble[0]
        return LinkStatus(
            gateway=self.label,
            kind=self.kind,
            up=bool(self.running) and trouble is None,
            state=state,
            since_ms=trouble[1] if trouble is not None else self._since_ms,
        )


@implementer(IGatewayFactory)
@frozen(kw_only=True)
class ProviderFactory:
    """
    Makes the gateways of one provider; ``FACTORY`` of a provider's folder is one.

    :ivar title: the provider's name as people write it.
    :ivar config_class: the section, a subclass of `ProviderGateway`.
    :ivar line_class: the line's section, `ProviderLine` or a subclass.
    :ivar dialect: makes the dialect from the section.
    :ivar fragment: what is to stand behind the address of the webhook in the provider's console.
    """

    kind: str
    title: str
    config_class: type[ProviderGateway]
    line_class: type[ProviderLine] = ProviderLine
    dialect: Callable[[Any], Dialect]
    address_kind: str = ""
    fragment: str = ""

    def build(
        self,
        reactor: Any,
        label: str,
        config: ProviderGateway,
        lines: Mapping[str, Any],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
    ) -> IGateway:
        """See `IGatewayFactory.build`."""
        self.check(config, lines)
        return ProviderService(reactor, self, label, config, lines, inbox, lanes, world)

    def check(self, config: ProviderGateway, lines: Mapping[str, ProviderLine]) -> None:
        """
        Refuse what cannot work; see `smsbridge.gateways`.

        :raises ConfigError: a line has no number, the time limit is of no use, or a secret is none.
        """
        if not _SHORTEST_TIMEOUT_S <= config.timeout <= _LONGEST_TIMEOUT_S:
            raise ConfigError(
                f"key 'timeout': write a time from {_SHORTEST_TIMEOUT_S:g}s to "
                f"{_LONGEST_TIMEOUT_S:g}s",
                key="timeout",
            )
        try:
            self.dialect(config)
        except ValueError as e:
            raise ConfigError(f"the section cannot be used: {e}") from None
        for label, line in lines.items():
            if not line.number:
                raise ConfigError(
                    f"the key 'number' is missing; {self.title} knows the line by nothing else",
                    key="number",
                    section=f"line:{label}",
                )

    def advice(
        self,
        label: str,
        config: ProviderGateway,
        lines: Mapping[str, ProviderLine],
        public_url: str,
    ) -> list[str]:
        """Tell what to paste into the provider's console; see `smsbridge.gateways`."""
        dialect = self.dialect(config)
        found = []
        if public_url:
            lock = "smsbridge:PASSWORD@" if config.http_password else ""
            texts = _locked(hook_url(public_url, label), lock) + self.fragment
            if dialect.status_path:
                status = _locked(hook_url(public_url, label, "status"), lock)
                found.append(
                    f"Tell {self.title} to call {texts} about texts and {status} about what "
                    "became of them."
                )
            else:
                found.append(f"Tell {self.title} to call {texts}.")
            if lock:
                found.append("PASSWORD in the address stands for the value of 'http_password'.")
        else:
            found.append(
                f"There is no 'public_url' in [http], so {self.title} cannot be told where to "
                "call, attachments cannot be sent, and signatures cannot be checked; set it to "
                "the address under which the provider reaches this machine."
            )
        if not dialect.signs and not config.http_password:
            found.append(
                "Webhooks are refused until the secret of their signature or 'http_password' "
                "is set."
            )
        return found


def _locked(url: str, lock: str) -> str:
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{lock}{rest}"
