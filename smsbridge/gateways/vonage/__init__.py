"""Vonage: SMS through its SMS API, MMS through its Messages API."""

from smsbridge.gateways.vonage.config import VonageGateway
from smsbridge.gateways.vonage.payload import VonageDialect
from smsbridge.provider.dialect import ProviderLine
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="vonage",
    title="Vonage",
    config_class=VonageGateway,
    line_class=ProviderLine,
    dialect=VonageDialect,
)
