"""The command line of the simulated box: options, their errors, and a run as a process."""

from __future__ import annotations

import json
import os
import shutil
import sys
import tempfile
from typing import Any

import click
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import clientFromString, connectProtocol
from twisted.internet.protocol import ProcessProtocol, Protocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.gateways.goip.simulator import Span
from smsbridge.gateways.goip.simulator.cli import Invocation, _invocation, goip
from smsbridge.gateways.goip.simulator.settings import INSTANT
from tests.gateways.goip.test_simulator_box import AckingServer


def invocation(*arguments: str) -> Invocation:
    """Read a command line without running it."""
    with goip.make_context("goip", list(arguments)) as context:
        return _invocation(context.params)


class OptionTests(SynchronousTestCase):
    """Options become settings."""

    def test_ids(self) -> None:
        """A prefix with a number of channels, or one id a line."""
        for arguments, ids in (
            ((), ["demo1", "demo2"]),
            (("--channels", "3"), ["demo1", "demo2", "demo3"]),
            (("--channels", "2", "--id", "x"), ["x1", "x2"]),
            (("--id", "goippy_2001"), ["goippy_2001"]),
            (("--id", "a", "--id", "b"), ["a", "b"]),
            (("--id", "a", "--id", "b", "--channels", "2"), ["a", "b"]),
        ):
            self.assertEqual([line.id for line in invocation(*arguments).settings.lines], ids)

    def test_lines_differ(self) -> None:
        """Every line has a fictional number and a SIM of its own."""
        lines = invocation("--channels", "150").settings.lines
        for values in zip(
            *((line.num, line.imei, line.imsi, line.iccid) for line in lines), strict=True
        ):
            self.assertEqual(len(set(values)), 150)
        self.assertEqual((lines[0].num, lines[149].num), ("+12025550101", "+12035550150"))

    def test_timing_and_profile(self) -> None:
        """A pace sets all times, single options change some."""
        settings = invocation(
            *("--pace", "instant", "--sms-duration", "1-2", "--keepalive", "5"),
            *("--profile", "v1", "--resend-dup", "--no-dlr", "--seed", "4"),
            *("--server", "192.0.2.1:5000", "--first-recvid", "-3", "--answer"),
        ).settings
        self.assertEqual(settings.timing.sms, Span(1, 2))
        self.assertEqual(settings.timing.keepalive_s, 5)
        self.assertEqual(settings.timing.delivery_report, INSTANT.delivery_report)
        self.assertTrue(settings.profile.resend_dup)
        self.assertFalse(settings.profile.one_shot)
        self.assertFalse(settings.delivery_reports)
        self.assertTrue(settings.answer)
        self.assertEqual(settings.server, ("192.0.2.1", 5000))
        self.assertEqual((settings.first_recvid, settings.seed), (-3, 4))

    def test_menu(self) -> None:
        """USSD answers and menus come from the command line."""
        menu = invocation("--ussd", "*1#=a\\nb", "--ussd", "*1#/1=c").settings.menu
        self.assertEqual((menu["*1#"].text, menu["*1#"].choices["1"].text), ("a\nb", "c"))

    def test_bad_options(self) -> None:
        """Each wrong option is one sentence that names it."""
        script = self.mktemp()
        with open(script, "w") as file:
            file.write("status\nfly\n")
        for arguments, words in (
            (("--server", "here"), "HOST:PORT"),
            (("--server", "127.0.0.1:99999"), "HOST:PORT"),
            (("--channels", "0"), "--channels"),
            (("--channels", "3", "--id", "a", "--id", "b"), "2 ids for 3 channels"),
            (("--id", "a", "--id", "a"), "given twice: a"),
            (("--id", "a b"), "the id must have no space"),
            (("--password", "a b"), "the password must have no space"),
            (("--sms-duration", "soon"), "not a duration"),
            (("--keepalive", "-1"), "must not be negative"),
            (("--ussd", "*100#"), "CODE=TEXT"),
            (("--ussd", "*1#/1=x"), "must be given before"),
            (("--control", "pigeon"), "unix:PATH"),
            (("--control", "tcp:99999"), "unix:PATH"),
            (("--base-port", "65530", "--channels", "9"), "base port"),
            (("--script", "/nonexistent"), "No such file"),
            (("--script", script), "line 2: there is no command 'fly'"),
            (("--profile", "v9"), "v9"),
        ):
            error = self.assertRaises(click.UsageError, invocation, *arguments)
            self.assertIn(words, error.format_message(), arguments)

    def test_help(self) -> None:
        """Help says what the command is for."""
        result = CliRunner().invoke(goip, ["--help"])
        self.assertEqual(result.exit_code, 0)
        self.assertIn("Simulate a GoIP GSM gateway", result.output)


class Running(ProcessProtocol):
    """A simulator in a process of its own."""

    def __init__(self) -> None:
        self.output = ""
        self.errors = ""
        self.ended: Deferred[int | None] = Deferred()

    def outReceived(self, data: bytes) -> None:
        self.output += data.decode()

    def errReceived(self, data: bytes) -> None:
        self.errors += data.decode()

    def processEnded(self, reason: Failure) -> None:
        self.ended.callback(reason.value.exitCode)  # type: ignore[union-attr]


class Lines(Protocol):
    """Keeps what a control port says."""

    def __init__(self) -> None:
        self.received = b""

    def dataReceived(self, data: bytes) -> None:
        self.received += data


class ProcessTests(TestCase):
    """The command runs without a terminal."""

    timeout = 60

    def setUp(self) -> None:
        self.server = AckingServer()
        self.port = reactor.listenUDP(0, self.server, "127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)

    def run_simulator(self, *arguments: str) -> Running:
        """Start the command in a process, ended after the test if it still runs."""
        running = Running()
        command = [sys.executable, "-m", "smsbridge.gateways.goip.simulator.cli"]
        server = f"127.0.0.1:{self.port.getHost().port}"
        process = reactor.spawnProcess(
            running,
            sys.executable,
            [*command, "--server", server, *arguments],
            env={**os.environ, "PYTHONPATH": os.pathsep.join(filter(None, sys.path))},
        )

        def end() -> Deferred[int | None] | None:
            if running.ended.called:
                return None
            process.signalProcess("TERM")
            return running.ended

        self.addCleanup(end)
        return running

    async def until_output(self, running: Any, attribute: str, text: str) -> None:
        """Wait until something was said."""
        for _ in range(3000):
            said = getattr(running, attribute)
            if (text if isinstance(said, str) else text.encode()) in said:
                return
            await deferLater(reactor, 0.01)
        self.fail(f"waited in vain for {text}; {running.__dict__}")

    async def test_script(self) -> None:
        """A script runs, its expectations hold, and the process ends with 0."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("until registered 20\nin 1 +12025550123 hello\nuntil accepted 1\nquit\n")
        running = self.run_simulator("--script", path)

        self.assertEqual(await running.ended, 0)

        self.assertEqual(self.server.texts, ["hello"])
        self.assertIn("simulated GoIP with demo1, demo2", running.output)
        self.assertIn("the server took text", running.output)

    async def test_failed_expectation(self) -> None:
        """An expectation that is not met is told, and the process ends with 1."""
        path = self.mktemp()
        with open(path, "w") as file:
            file.write("expect radiated 5\n")
        running = self.run_simulator("--script", path, "--quiet")

        self.assertEqual(await running.ended, 1)

        self.assertIn("script: line 1: expected radiated 5, found 0", running.errors)
        self.assertNotIn("Traceback", running.errors)

    async def test_control_port(self) -> None:
        """A program finds the control port in the output and drives the box."""
        running = self.run_simulator("--control", "tcp:0", "--quiet")
        await self.until_output(running, "output", "\n")
        address = running.output.split()[1]
        endpoint = clientFromString(reactor, address)
        client = await connectProtocol(endpoint, Lines())

        client.transport.write(
            json.dumps({"do": "in", "line": 1, "number": "ACME", "text": "hi"}).encode() + b"\n"
        )
        await self.until_output(client, "received", '"ok": true')
        client.transport.write(b'{"do": "quit"}\n')

        self.assertEqual(await running.ended, 0)
        self.assertEqual(self.server.texts, ["hi"])

    async def test_control_on_a_unix_socket(self) -> None:
        """The socket is for its owner alone."""
        # The path of a socket may have some hundred characters only, and mktemp's are long.
        folder = tempfile.mkdtemp()
        self.addCleanup(shutil.rmtree, folder)
        path = os.path.join(folder, "box.sock")
        running = self.run_simulator("--control", f"unix:{path}")
        await self.until_output(running, "output", "control unix:")
        self.assertEqual(os.stat(path).st_mode & 0o777, 0o600)

    async def test_taken_ports(self) -> None:
        """A taken port is one sentence and a failure."""
        taken = self.port.getHost().port
        running = self.run_simulator("--base-port", str(taken - 1))
        self.assertEqual(await running.ended, 1)
        self.assertIn("choose another --base-port", running.errors)
        self.assertNotIn("Traceback", running.errors)
