"""What is sent to SignalWire, and what its mirror answers, against its published description."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.signalwire import FACTORY
from smsbridge.gateways.signalwire.mirror import MIRROR
from tests.openapi_facts import Described
from tests.provider.laml_published import Published


class RequestsTests(Published, SynchronousTestCase):
    """SignalWire's own description."""

    described = Described(Path(__file__).parent / "openapi.json")
    factory = FACTORY
    mirror_class = MIRROR
    most_media = 8
