"""Numbers at SignalWire: texts and MMS by its Compatibility API."""

from __future__ import annotations

from smsbridge.gateways.signalwire.config import SignalwireGateway, SignalwireLine
from smsbridge.gateways.signalwire.payload import SignalwireDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="signalwire",
    title="SignalWire",
    config_class=SignalwireGateway,
    line_class=SignalwireLine,
    dialect=SignalwireDialect,
)
