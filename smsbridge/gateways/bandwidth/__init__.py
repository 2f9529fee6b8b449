"""Bandwidth (North America): SMS, MMS and group texts by its Messaging API v2."""

from smsbridge.gateways.bandwidth.config import BandwidthGateway, BandwidthLine
from smsbridge.gateways.bandwidth.payload import BandwidthDialect
from smsbridge.provider.gateway import ProviderFactory

__all__ = ["FACTORY"]

FACTORY = ProviderFactory(
    kind="bandwidth",
    title="Bandwidth",
    config_class=BandwidthGateway,
    line_class=BandwidthLine,
    dialect=BandwidthDialect,
)
