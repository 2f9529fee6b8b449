"""What webhooks missed, fetched by the command from every provider that lets one look."""

from __future__ import annotations

import json
import sys
from typing import Any

from twisted.internet import reactor
from twisted.internet.utils import getProcessOutputAndValue
from twisted.trial.unittest import TestCase

from smsbridge import gateways
from smsbridge.provider.simulator import cli
from smsbridge.provider.simulator.server import ProviderDouble
from smsbridge.provider.simulator.texts import configured
from tests.end_to_end.daemon import ROOT, DaemonProcess
from tests.end_to_end.ports import free_port

#: Their lists have the words of what arrived.
LISTS_ARRIVALS = {"flowroute", "signalwire", "twilio", "voipms"}
_PROGRAM = "from smsbridge.cli import main; main()"


class ReconcileTests(TestCase):
    """One account at each provider, none of which knows where to call."""

    timeout = 120

    async def setUp(self) -> None:  # type: ignore[override]
        """Play the providers and start a daemon."""
        sections = []
        self.doubles: dict[str, ProviderDouble] = {}
        for number, kind in enumerate(cli.PROVIDERS):
            port = free_port()
            section = cli.sample_values(kind, f"http://127.0.0.1:{port}")
            factory: Any = gateways.load(kind)
            double = self.doubles[kind] = ProviderDouble(
                reactor,
                cli.mirror_of(kind, configured(factory.config_class, section)),
                [f"+120255501{number:02d}", f"+120255502{number:02d}"],
                port=port,
            )
            double.startService()
            self.addCleanup(double.stopService)
            keys = "".join(f"{name} = {value}\n" for name, value in section.items())
            sections.append(
                f"[gateway:{kind}]\nkind = {kind}\n{keys}reconcile_every = 0\n"
                f"[line:{kind}]\ngateway = {kind}\nnumber = {double.numbers[0]}\n"
            )
        self.daemon = DaemonProcess(reactor, "\n".join(sections))
        self.addCleanup(self.daemon.remove)
        await self.daemon.start()

    async def command(self, *arguments: str) -> tuple[int, list[Any], str]:
        """Run a command that prints JSON lines; returns exit code, rows, and its sentences."""
        out, err, code = await getProcessOutputAndValue(
            sys.executable,
            ["-c", _PROGRAM, "--config", str(self.daemon.config), *arguments, "--json"],
            env={"PYTHONPATH": str(ROOT), "PATH": ""},
            path=str(ROOT),
        )
        return code, [json.loads(line) for line in out.splitlines()], err.decode()

    async def test_what_webhooks_missed_is_fetched_once(self) -> None:
        """Texts come in by the list, a second look brings nothing, and who has no list says so."""
        for double in self.doubles.values():
            double.receive("+12025550177", double.numbers[0], "nobody heard me")

        code, rows, said = await self.command("reconcile")

        self.assertEqual(code, 0, f"{rows} {said}")
        missed = {row["gateway"]: row.get("missed", 0) for row in rows}
        self.assertEqual(missed, {kind: int(kind in LISTS_ARRIVALS) for kind in self.doubles})
        texts = await self.daemon.listing("/messages")
        self.assertEqual(
            sorted((each["line"], each["from"], each["body"]) for each in texts),
            [(kind, "+12025550177", "nobody heard me") for kind in sorted(LISTS_ARRIVALS)],
        )
        code, rows, _ = await self.command("reconcile", "twilio", "--since", "1d")
        self.assertEqual((code, rows[0]["missed"]), (0, 0))
        code, _, said = await self.command("reconcile", "telnyx")
        self.assertEqual((code, said), (1, "Error: Telnyx cannot be asked for past texts.\n"))

    async def test_numbers_without_a_line_are_found(self) -> None:
        """Each account lists both of its numbers, one with its line."""
        code, rows, said = await self.command("lines", "discover")

        self.assertEqual(code, 0, said)
        lines = {(row["gateway"], row["number"]): row["line"] for row in rows}
        wanted = {
            (kind, number): kind if number == double.numbers[0] else ""
            for kind, double in self.doubles.items()
            for number in double.numbers
        }
        self.assertEqual(lines, {key: wanted[key] for key in wanted if key in lines})
        self.assertGreaterEqual(len(lines), 10)
