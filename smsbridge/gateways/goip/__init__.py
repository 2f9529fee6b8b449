"""GoIP GSM gateways (DBL, Hybertone): the vendor's "SMS Server" protocol over UDP."""

from smsbridge.gateways.goip.gateway import GoipFactory

__all__ = ["FACTORY"]

FACTORY = GoipFactory()
