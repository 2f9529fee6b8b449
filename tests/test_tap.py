"""What the daemon is made of; nothing is opened here."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from twisted.internet.testing import MemoryReactorClock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge import tap
from smsbridge.config import load
from smsbridge.core.directory import World

TEXT = """
[smsbridge]
state = {state}
[http]
listen = tcp:0:interface=127.0.0.1
public_url = {public_url}
"""


class BuildTests(SynchronousTestCase):
    """`tap.build`."""

    def configuration(self, public_url: str) -> Any:
        """Read a configuration with that address."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "smsbridge.ini"
        path.write_text(TEXT.format(state=folder / "state", public_url=public_url))
        return load(path)

    def build(self, public_url: str) -> tuple[Any, World]:
        """Build a daemon; returns its front and what everybody sees."""
        root = tap.build(MemoryReactorClock(), self.configuration(public_url))
        front: Any = root.getServiceNamed("web")
        return front, front._world

    def test_gateways_find_what_they_may_need(self) -> None:
        """Notes, opt-outs, files and the public address are there before a gateway starts."""
        _, world = self.build("https://sms.example.org/")

        self.assertEqual(world.public_url, "https://sms.example.org")
        for part in (world.pending, world.opt_outs, world.media):
            self.assertIsNotNone(part)

    def test_the_public_address_follows_the_configuration(self) -> None:
        """Links and callbacks made after a reload have the new address."""
        front, world = self.build("https://old.example.org")

        front.use(self.configuration("https://new.example.org"))

        self.assertEqual(world.public_url, "https://new.example.org")

    def test_who_is_out_is_read_before_anything_is_sent(self) -> None:
        """The numbers that want no texts are known when the dispatcher starts."""
        root = tap.build(MemoryReactorClock(), self.configuration(""))
        names = [service.name for service in root]

        self.assertEqual(names[:2], ["store", "opt-outs"])
        self.assertIn("dispatcher", names[2:])
