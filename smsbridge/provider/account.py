"""
One account of a provider as it is configured now.

The parts of a gateway keep the `Account` and ask it at the time of use; a reload puts the new
values into it.
"""

from __future__ import annotations

from collections.abc import Mapping
from urllib.parse import quote

from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import Dialect, ProviderLine

__all__ = ["Account", "hook_url", "with_password"]


class Account:
    """
    The values of one ``[gateway:NAME]``.

    :ivar config: its section.
    :ivar dialect: made from that.
    :ivar lines: by label.
    """

    def __init__(
        self,
        label: str,
        config: ProviderGateway,
        dialect: Dialect,
        lines: Mapping[str, ProviderLine],
    ) -> None:
        self.label = label
        self.replace(config, dialect, lines)

    def replace(
        self, config: ProviderGateway, dialect: Dialect, lines: Mapping[str, ProviderLine]
    ) -> None:
        """Take new values, all at once."""
        self.config = config
        self.dialect = dialect
        self.lines = dict(lines)
        self._by_number = {line.number: line for line in lines.values() if line.number}

    def line_of(self, number: str) -> ProviderLine | None:
        """Return the line with this number (E.164)."""
        return self._by_number.get(number)


def hook_url(public_url: str, label: str, path: str = "") -> str:
    """
    Return the address of a gateway's webhook, without a password; empty without a `public_url`.

    :param path: ``status``, or nothing.
    """
    if not public_url:
        return ""
    return f"{public_url.rstrip('/')}/hook/{label}" + (f"/{path}" if path else "")


def with_password(url: str, password: str) -> str:
    """Put a password (with the user ``smsbridge``) into an address; without one it stays as is."""
    scheme, separator, rest = url.partition("://")
    return f"{scheme}{separator}smsbridge:{quote(password, safe='')}@{rest}" if password else url
