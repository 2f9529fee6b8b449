"""The box that a gateway simulates for itself."""

from __future__ import annotations

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from smsbridge.core.directory import World
from smsbridge.gateways.goip import FACTORY
from smsbridge.gateways.goip.config import GoipGateway, GoipLine
from tests.fakes import StubInbox, StubLanes


class DemoTests(TestCase):
    """``simulate = yes``."""

    timeout = 30

    async def test_lines_register_by_themselves(self) -> None:
        """All lines of the gateway come up, each with its own id, password and number."""
        lines = {
            label: GoipLine(
                label=label, gateway="box", id=label, password=f"of-{label}", number=number
            )
            for label, number in (("demo1", "+12025550101"), ("demo2", "+12025550102"))
        }
        gateway = FACTORY.build(
            reactor,
            "box",
            GoipGateway(listen=("udp:0:interface=127.0.0.1",), simulate=True),
            lines,
            StubInbox(),
            StubLanes(),
            World(),
        )
        gateway.privilegedStartService()
        gateway.startService()
        try:
            while not all(status.up for status in gateway.line_status()):
                await deferLater(reactor, 0.05)

            numbers = {status.line: status.number for status in gateway.line_status()}
        finally:
            await gateway.stopService()

        self.assertEqual(numbers, {"demo1": "+12025550101", "demo2": "+12025550102"})
