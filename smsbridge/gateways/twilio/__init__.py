"""Numbers at Twilio: texts and MMS by its Programmable Messaging API."""

from __future__ import annotations

from smsbridge.gateways.twilio.config import TwilioGateway, TwilioLine
from smsbridge.gateways.twilio.payload import TwilioDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="twilio",
    title="Twilio",
    config_class=TwilioGateway,
    line_class=TwilioLine,
    dialect=TwilioDialect,
    fragment="#rc=3&rp=all",  # without it a call that met an error is not made again
)
