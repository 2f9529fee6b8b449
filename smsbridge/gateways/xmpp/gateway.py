"""
An XMPP component as a gateway: its life, and which part hears which stanza.

Texts to users go by `outbound`, texts of users by `inbound`; `presence` and `queries` answer the
rest.  The link itself is `stream`'s.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, succeed
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.interfaces import IStreamClientEndpoint
from twisted.internet.ssl import Certificate, trustRootFromCertificates
from twisted.internet.task import LoopingCall
from twisted.logger import Logger
from twisted.web.client import Agent
from twisted.web.iweb import IAgent
from twisted.words.xish import domish
from zope.interface import implementer

from smsbridge.core.directory import World
from smsbridge.core.message import Delivery, Outcome
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import REASONS
from smsbridge.gateways.xmpp.bot import Bot
from smsbridge.gateways.xmpp.commands import Commands
from smsbridge.gateways.xmpp.component import Component
from smsbridge.gateways.xmpp.config import XmppGateway
from smsbridge.gateways.xmpp.hooks import BotHook, CommandsHook
from smsbridge.gateways.xmpp.inbound import Inbound
from smsbridge.gateways.xmpp.menu import Menu
from smsbridge.gateways.xmpp.outbound import Outbound
from smsbridge.gateways.xmpp.presence import Presences
from smsbridge.gateways.xmpp.queries import Queries
from smsbridge.gateways.xmpp.registration import Registration
from smsbridge.gateways.xmpp.stream import ComponentStream, Down, endpoint_for
from smsbridge.gateways.xmpp.upload import Uploads
from smsbridge.interfaces import IGateway, IGatewayFactory, IInbox, ILanes
from smsbridge.keys import ConfigError

__all__ = ["XmppFactory", "XmppService"]

_REFRESH_EVERY_S: Final = 10.0
_WINDOW_BYTES: Final = 1024 * 1024
_REPORTS: Final = "reports"
_CONNECT_TIMEOUT_S: Final = 10.0

#: What a change of cannot be taken over while the link is up.
_FIXED: Final = (
    "server",
    "domain",
    "secret",
    "server_domain",
    "tls",
    "tls_name",
    "tls_ca",
    "phone_context",
    "log_traffic",
)


@implementer(IGateway)
class XmppService(Service):
    """
    One ``[gateway:NAME]`` of kind ``xmpp``.

    :param endpoint: where the server is, by default what the configuration says.
    :param random_id: makes ids that strangers cannot guess.
    :param agent: puts files into the server's upload service, by default over the network.
    """

    log = Logger()
    kind = "xmpp"
    recognizes_repeats = True
    batch_size = 500
    settle_within_s = 120.0

    def __init__(
        self,
        reactor: Any,
        label: str,
        config: XmppGateway,
        inbox: IInbox,
        lanes: ILanes,
        world: World,
        *,
        endpoint: IStreamClientEndpoint | None = None,
        random_id: Callable[[], str] = lambda: secrets.token_urlsafe(12),
        agent: IAgent | None = None,
        **stream_options: Any,
    ) -> None:
        self.label = label
        self._reactor = reactor
        self._lanes = lanes
        self.registration: Registration | None = None
        self._since_ms: int | None = None
        self._state = "not started"
        self.stream = ComponentStream(
            reactor,
            endpoint if endpoint is not None else _endpoint(reactor, config),
            config.domain,
            config.secret,
            on_up=self._up,
            on_down=self._down,
            on_stanza=self._received,
            ping_target=config.users_domain,
            random_id=random_id,
            window_bytes=_WINDOW_BYTES,
            log_traffic=config.log_traffic,
            **stream_options,
        )
        self.component = Component(label, config, world, reactor, self.stream.send, random_id)
        self.queries = Queries(self.component, self.stream.send)
        self.presences = Presences(self.component, self.queries.gateway_entity, self._user_left)
        uploads = Uploads(
            self.component,
            self.stream,
            agent if agent is not None else Agent(reactor, connectTimeout=_CONNECT_TIMEOUT_S),
        )
        self.outbound = Outbound(self.component, self.stream, self.presences, inbox, uploads)
        self.inbound = Inbound(
            self.component,
            inbox,
            self.outbound,
            self.presences,
            self.stream.pause_reading,
            self.stream.resume_reading,
        )
        self._refresher = LoopingCall(self._refresh)
        self._refresher.clock = reactor

    def attend(self, bot: BotHook | None, commands: CommandsHook | None) -> None:
        """Say who answers commands written as texts, and ad-hoc commands and registration."""
        self.inbound.bot = bot
        self.queries.commands = commands

    # -- life

    def startService(self) -> None:
        """Start connecting; returns at once."""
        Service.startService(self)
        self.queries.started_at_s = self._reactor.seconds()
        self._state = "connecting"
        for lane in self._own_lanes():
            self._lanes.close(self.label, lane, "peer-down", "The XMPP server is not there yet.")
        self.stream.startService()
        self._refresher.start(_REFRESH_EVERY_S, now=False)

    def stopService(self) -> Deferred[None]:
        """Say good-bye to users and close the link; fires when it is closed."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        if self._refresher.running:
            self._refresher.stop()
        for lane in self._own_lanes():
            self._lanes.close(self.label, lane, "peer-down", "The gateway was stopped.")
        if self.stream.is_up:
            self.presences.leave()
        return self.stream.stopService()

    def update(self, config: XmppGateway, lines: Mapping[str, Any]) -> bool:
        """See `IGateway.update`."""
        old = self.component.config
        if any(getattr(old, name) != getattr(config, name) for name in _FIXED):
            return False
        self.component.config = config
        if self.registration is not None:
            self.registration.is_open = config.registration == "code"
        return True

    def _own_lanes(self) -> tuple[str, str]:
        return self.label, f"{self.label}/{_REPORTS}"

    def _up(self) -> None:
        self._since_ms = self.component.now_ms()
        self._state = "connected"
        self.presences.announce()
        for lane in self._own_lanes():
            self._lanes.open(self.label, lane)

    def _down(self, kind: Down, text: str) -> None:
        self._since_ms = self.component.now_ms()
        self._state = text
        self.presences.forget()
        self.inbound.link_lost()
        for lane in self._own_lanes():
            self._lanes.close(self.label, lane, "peer-down", REASONS["peer-down"])

    # -- the core's side

    def lane(self, line: str, destination: str) -> str:
        """
        See `IGateway.lane`.

        Reports go to full JIDs.  They have a lane of their own, because finding out whether a
        device is there may take seconds, and no text must wait for that.
        """
        return self._own_lanes()["/" in destination]

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """See `IGateway.deliver`."""
        return Deferred.fromCoroutine(self.outbound.deliver(batch))

    def line_status(self) -> list[LineStatus]:
        """See `IGateway.line_status`; there are no lines here."""
        return []

    def link_status(self) -> LinkStatus:
        """See `IGateway.link_status`."""
        return LinkStatus(
            gateway=self.label,
            kind=self.kind,
            up=self.stream.is_up,
            state=self._state,
            since_ms=self._since_ms,
        )

    # -- the server's side

    def _received(self, element: domish.Element) -> None:
        # The stream logs what raises here, answers an iq, and goes on with the next stanza.
        match element.name:
            case "message":
                self.inbound.received(element)
            case "presence":
                self.presences.received(element)
            case "iq":
                self.queries.received(element)
            case _:
                pass

    # -- what registration may ask

    def welcome(self, bare_jid: str, text: str) -> None:
        """See `hooks.Hall.welcome`."""
        self.presences.welcome(bare_jid, text)

    def dismiss(self, bare_jid: str) -> None:
        """See `hooks.Hall.dismiss`."""
        self.presences.dismiss(bare_jid)

    def _user_left(self, bare_jid: str) -> None:
        """Removing the bridge from the contacts ends a registration, too (XEP-0100, 4.3)."""
        desk = self.component.world.desk
        if desk is None or self.component.config.registration != "code":
            return
        desk.unbind("xmpp", bare_jid).addErrback(
            lambda failure: self.log.failure(
                "{gateway}: a registration could not be ended", failure=failure, gateway=self.label
            )
        )

    # -- timers

    def _refresh(self) -> None:
        if not self.stream.is_up:
            return
        try:
            self.presences.refresh()
        except Exception:  # a timer that raises would never come again
            self.log.failure("{gateway}: presence was not renewed", gateway=self.label)


def _endpoint(reactor: Any, config: XmppGateway) -> IStreamClientEndpoint:
    """
    Return the endpoint that a configuration names.

    :raises ConfigError: its file of certificates cannot be read.
    """
    if config.server.path:
        return UNIXClientEndpoint(reactor, config.server.path)
    trust_root = None
    if config.tls and config.tls_ca is not None:
        try:
            trust_root = _authorities(config.tls_ca)
        except (OSError, ValueError) as e:
            raise ConfigError(f"{config.tls_ca} cannot be read: {e}", key="tls_ca") from None
    return endpoint_for(
        reactor,
        config.server.host,
        config.server.port,
        tls=config.tls,
        insecure=config.insecure,
        trust_root=trust_root,
        tls_name=config.tls_name,
    )


def _authorities(path: Path) -> Any:
    end = b"-----END CERTIFICATE-----"
    parts = [part + end for part in path.read_bytes().split(end)[:-1]]
    if not parts:
        raise ValueError("it holds no certificate in PEM")
    return trustRootFromCertificates([Certificate.loadPEM(part) for part in parts])


@implementer(IGatewayFactory)
class XmppFactory:
    """Makes XMPP gateways."""

    kind = "xmpp"
    config_class = XmppGateway
    line_class = None
    address_kind = "xmpp"

    def build(
        self,
        reactor: Any,
        label: str,
        config: XmppGateway,
        lines: Mapping[str, Any],
        inbox: Any,
        lanes: Any,
        world: World,
    ) -> XmppService:
        """See `IGatewayFactory.build`."""
        service = XmppService(reactor, label, config, inbox, lanes, world)
        menu = Menu(world, inbox, label, config.domain, service.component.now_ms)
        service.registration = Registration(
            world, inbox, reactor, service, is_open=config.registration == "code"
        )
        service.attend(Bot(menu), Commands(menu, reactor, config.domain, service.registration))
        return service

    def advice(
        self, label: str, config: XmppGateway, lines: Mapping[str, Any], public_url: str
    ) -> list[str]:
        """Say what the XMPP server must be told."""
        return [
            f"The XMPP server must know the component {config.domain} with the same secret: in "
            f'Prosody Component "{config.domain}", in ejabberd an ejabberd_service.'
        ]
