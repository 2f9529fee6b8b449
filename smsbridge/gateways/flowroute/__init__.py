"""Flowroute (United States): SMS and MMS by its Messaging API v2.2, with delivery receipts."""

from smsbridge.gateways.flowroute.config import FlowrouteGateway, FlowrouteLine
from smsbridge.gateways.flowroute.payload import FlowrouteDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="flowroute",
    title="Flowroute",
    config_class=FlowrouteGateway,
    line_class=FlowrouteLine,
    dialect=FlowrouteDialect,
)
