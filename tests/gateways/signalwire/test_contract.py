"""SignalWire's dialect against its mirror."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.signalwire import FACTORY
from smsbridge.gateways.signalwire.mirror import MIRROR
from tests.provider.contract import DialectContract


class SignalwireContractTests(DialectContract, SynchronousTestCase):
    """What every provider must do."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "auth_token"
