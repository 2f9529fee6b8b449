"""Flowroute's dialect does what every dialect must."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.flowroute import FACTORY
from smsbridge.gateways.flowroute.mirror import MIRROR
from smsbridge.provider.simulator.mirror import Fault
from tests.provider.contract import DialectContract


class FlowrouteContractTests(DialectContract, SynchronousTestCase):
    """Nothing is signed, and there is neither a quota nor a code for an empty account."""

    factory: ClassVar[Any] = FACTORY
    mirror_class: ClassVar[Any] = MIRROR
    credential = "secret_key"
    lacks: ClassVar[frozenset[Fault]] = frozenset(["no-credit", "quota"])
    signs = False
