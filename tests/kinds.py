"""Made-up kinds of gateway, so that the configuration is tested without the real ones."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from attrs import frozen
from zope.interface import implementer

from smsbridge.core.directory import Line
from smsbridge.gateways import KindError
from smsbridge.interfaces import IGatewayFactory
from smsbridge.keys import ConfigError, boolean, duration, endpoints, key


@frozen(kw_only=True)
class BoxConfig:
    """A gateway with lines, as GoIP boxes are."""

    listen: tuple[str, ...] = key(
        "Where the boxes reach us.", convert=endpoints("udp"), example="udp:44444"
    )
    silent: bool = key("Whether strangers get no answer.", default=False, convert=boolean)
    wait: float = key("How long to wait.", default=90.0, convert=duration)
    low: int = key("The lower end.", default=1, convert=int)
    high: int = key("The upper end.", default=2, convert=int)

    def __attrs_post_init__(self) -> None:
        if self.low > self.high:
            raise ConfigError("key 'low' is above 'high'", key="low")


@frozen(kw_only=True)
class BoxLine(Line):
    """A line of such a box."""

    id: str = key("The id that the box sends.", example="box1")
    password: str = key("The password that the box sends.", secret=True)
    pin: str = key("The PIN of the card.", default="", secret=True)


@frozen(kw_only=True)
class ChatConfig:
    """A gateway to people, as an XMPP server is."""

    domain: str = key("The domain of the component.", example="sms.example.org")
    secret: str = key("The secret shared with the server.", secret=True)


class _Factory:
    def __init__(self, kind: str, config_class: type, line_class: Any, address_kind: str) -> None:
        self.kind = kind
        self.config_class = config_class
        self.line_class = line_class
        self.address_kind = address_kind

    def build(
        self,
        reactor: Any,
        label: str,
        config: Any,
        lines: Any,
        inbox: Any,
        lanes: Any,
        world: Any,
    ) -> Any:
        """Build nothing; the configuration reader must not ask."""
        raise AssertionError("nothing is built to read a configuration")


@implementer(IGatewayFactory)
class BoxFactory(_Factory):
    """The kind ``box``."""

    def __init__(self) -> None:
        super().__init__("box", BoxConfig, BoxLine, "")

    def check(self, config: BoxConfig, lines: Mapping[str, BoxLine]) -> None:
        """Refuse two lines with one id."""
        seen: set[str] = set()
        for label, line in lines.items():
            if line.id in seen:
                raise ConfigError(
                    f"the id {line.id!r} is there twice", key="id", section=f"line:{label}"
                )
            seen.add(line.id)


@implementer(IGatewayFactory)
class ChatFactory(_Factory):
    """The kind ``chat``, which delivers to JIDs."""

    def __init__(self) -> None:
        super().__init__("chat", ChatConfig, None, "xmpp")

    def advice(self, label: str, config: ChatConfig, lines: Any, public_url: str) -> list[str]:
        """Say what the other end must be told."""
        return [f"Tell the server about {config.domain}."]


FACTORIES = {"box": BoxFactory(), "chat": ChatFactory()}


def load(kind: str) -> IGatewayFactory:
    """Return a made-up factory, as `smsbridge.gateways.load` returns a real one."""
    if kind not in FACTORIES:
        raise KindError(f"unknown kind {kind!r}. Known kinds: {', '.join(FACTORIES)}.")
    return FACTORIES[kind]
