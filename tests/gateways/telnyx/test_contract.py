"""Telnyx's dialect against its mirror."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.telnyx import FACTORY
from smsbridge.gateways.telnyx.mirror import MIRROR
from smsbridge.provider.simulator.mirror import Fault
from tests.provider.contract import DialectContract


class TelnyxContractTests(DialectContract, SynchronousTestCase):
    """What every provider's dialect must do."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "api_key"
    lacks: ClassVar[frozenset[Fault]] = frozenset({"quota"})
    signs_url = False
    can_look_up = False
    can_list = False
    group_in = True
