"""STOP and START in a real daemon, with the command ``opt-out``, through a power cut."""

from __future__ import annotations

import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from tests.end_to_end.daemon import ROOT, DaemonProcess

CONFIGURATION = """
[gateway:demo]
kind = demo
delay = 50ms

[line:shop]
gateway = demo
number = +12025550101
opt_out = bridge
opt_out_help = Jane's garden shop.
"""
NUMBER = "+12025550144"
_PROGRAM = "from smsbridge.cli import main; main()"


class OptOutTests(TestCase):
    """A shop and somebody who has read enough."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        """Start a daemon."""
        self.daemon = DaemonProcess(reactor, CONFIGURATION)
        self.addCleanup(self.daemon.remove)
        await self.daemon.start()

    async def command(self, *arguments: str) -> tuple[int, str]:
        """Run the command as an operator does; returns its exit code and what it said."""
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-c", _PROGRAM, "--config", str(self.daemon.config), *arguments],
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            path=str(ROOT),
        )
        return code, (out + err).decode()

    async def hear(self, text: str) -> None:
        """Let a text arrive."""
        await self.daemon.ask(
            "POST",
            "/commands",
            {"line": "shop", "command": "receive", "arguments": [NUMBER, text]},
        )

    async def until(self, body: str) -> None:
        """Wait until a text that begins so was delivered."""
        for _ in range(200):
            for message in await self.daemon.listing("/messages"):
                deliveries: list[Any] = message["deliveries"]
                if message["body"].startswith(body) and deliveries[0]["status"] == "delivered":
                    return
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.fail(f"no text begins with {body!r}")

    async def test_stop_holds_until_start(self) -> None:
        """Who wrote STOP is out, also after a power cut, until START or the operator says so."""
        await self.hear("Stop.")
        await self.until("You will get no more texts from +12025550101.")
        await self.daemon.kill()
        await self.daemon.start()

        code, said = await self.command("send", "--line", "shop", NUMBER, "Roses are in")
        self.assertEqual(code, 1)
        self.assertIn("asked to get no more texts from line shop", said)
        self.assertIn("wrote STOP", (await self.command("opt-out", "list"))[1])

        await self.hear("START")
        await self.until("You will get texts from +12025550101 again.")
        self.assertEqual((await self.command("opt-out", "list", "shop"))[1], "Nobody is out.\n")
        code, said = await self.command("send", "--line", "shop", NUMBER, "Roses are in")
        self.assertEqual(code, 0, said)

        self.assertEqual((await self.command("opt-out", "add", "shop", "202 555 0144"))[0], 0)
        self.assertEqual((await self.command("send", "--line", "shop", NUMBER, "again"))[0], 1)
        await self.hear("help")
        await self.until("Jane's garden shop.")
