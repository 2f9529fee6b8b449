"""Telnyx: SMS, MMS and group MMS through its Messaging API, version 2."""

from smsbridge.gateways.telnyx.config import TelnyxGateway, TelnyxLine
from smsbridge.gateways.telnyx.payload import TelnyxDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="telnyx",
    title="Telnyx",
    config_class=TelnyxGateway,
    line_class=TelnyxLine,
    dialect=TelnyxDialect,
)
