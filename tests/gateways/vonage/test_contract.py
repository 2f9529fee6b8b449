"""Vonage's dialect against its mirror, with each way of calling a webhook."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.vonage import FACTORY
from smsbridge.gateways.vonage.mirror import MIRROR
from smsbridge.provider.simulator.mirror import Fault
from tests.provider.contract import DialectContract


class _GetMirror(MIRROR):
    transport = "get"


class _JsonMirror(MIRROR):
    transport = "json"


class VonageContractTests(DialectContract, SynchronousTestCase):
    """What every provider's dialect must do; webhooks are forms."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "api_secret"
    lacks: ClassVar[frozenset[Fault]] = frozenset({"quota", "opted-out"})
    signs_url = False
    can_look_up = False
    can_list = False


class VonageGetContractTests(VonageContractTests):
    """The same with webhooks that have everything in the address, and an HMAC."""

    mirror_class = _GetMirror
    section: ClassVar[dict[str, str]] = {"signature_method": "sha256"}


class VonageJsonContractTests(VonageContractTests):
    """The same with webhooks that are JSON."""

    mirror_class = _JsonMirror
    section: ClassVar[dict[str, str]] = {"signature_method": "sha512"}
