"""VoIP.ms (North America): SMS and MMS by its REST API, and both of its webhooks."""

from smsbridge.gateways.voipms.config import VoipmsGateway, VoipmsLine
from smsbridge.gateways.voipms.payload import VoipmsDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="voipms",
    title="VoIP.ms",
    config_class=VoipmsGateway,
    line_class=VoipmsLine,
    dialect=VoipmsDialect,
)
