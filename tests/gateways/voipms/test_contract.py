"""VoIP.ms's dialect does what every dialect must."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.voipms import FACTORY
from smsbridge.gateways.voipms.mirror import MIRROR
from smsbridge.provider.simulator.mirror import Fault
from tests.provider.contract import DialectContract


class VoipmsContractTests(DialectContract, SynchronousTestCase):
    """Nothing is signed, opting out is unknown, and nobody hears what became of a text."""

    factory: ClassVar[Any] = FACTORY
    mirror_class: ClassVar[Any] = MIRROR
    credential = "api_password"
    lacks: ClassVar[frozenset[Fault]] = frozenset(["opted-out"])
    signs = False
    group_in = True
