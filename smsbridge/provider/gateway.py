"""
Every telephony provider as a gateway: what is pure about one is its `dialect.Dialect`, the rest is
put together here.

Texts go out through `sending`, webhooks come in through `hook` and `arrivals`, and `listing` asks
the provider for what webhooks missed.  Nothing here knows a provider by name.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any
from urllib.parse import quote

from attrs import frozen
from zope.interface import implementer

from smsbridge.core.directory import World
from smsbridge.interfaces import IGateway, IGatewayFactory, IInbox, ILanes
from smsbridge.keys import ConfigError
from smsbridge.provider.account import hook_url
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import Dialect, ProviderLine

__all__ = ["ProviderFactory"]

_SHORTEST_TIMEOUT_S = 1.0
_LONGEST_TIMEOUT_S = 60.0


@implementer(IGatewayFactory)
@frozen(kw_only=True)
class ProviderFactory:
    """
    Makes the gateways of one provider; ``FACTORY`` of a provider's folder is one.

    :ivar title: the provider's name as people write it.
    :ivar config_class: the section, a subclass of `ProviderGateway`.
    :ivar line_class: the line's section, `ProviderLine` or a subclass.
    :ivar dialect: makes the dialect from the section.
    """

    kind: str
    title: str
    config_class: type[ProviderGateway]
    line_class: type[ProviderLine] = ProviderLine
    dialect: Callable[[Any], Dialect]
    address_kind: str = ""

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
        raise ConfigError(f"{self.title} cannot be used yet")

    def check(self, config: ProviderGateway, lines: Mapping[str, ProviderLine]) -> None:
        """
        Refuse what cannot work; see `smsbridge.gateways`.

        :raises ConfigError: a line has no number, or the time limit is of no use.
        """
        if not _SHORTEST_TIMEOUT_S <= config.timeout <= _LONGEST_TIMEOUT_S:
            raise ConfigError(
                f"key 'timeout': write a time from {_SHORTEST_TIMEOUT_S:g}s to "
                f"{_LONGEST_TIMEOUT_S:g}s",
                key="timeout",
            )
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
            texts = with_credentials(hook_url(public_url, label), lock)
            if dialect.status_path:
                status = with_credentials(hook_url(public_url, label, "status"), lock)
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


def with_credentials(url: str, credentials: str) -> str:
    """Put ``user:password@`` into an address; what is empty stays as it is."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}{credentials}{rest}" if url else ""


def credentials_of(config: ProviderGateway) -> str:
    """Return ``user:password@`` as the provider must send them; empty without a password."""
    password = config.http_password
    return f"smsbridge:{quote(password, safe='')}@" if password else ""
