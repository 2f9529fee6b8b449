"""What can be typed at a played provider, and how it is started."""

from __future__ import annotations

import tempfile
from pathlib import Path
from typing import Any

import click
from click.testing import CliRunner
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Factory
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge import gateways
from smsbridge.cli.simulate import simulate
from smsbridge.core.message import Status
from smsbridge.provider.dialect import Response
from smsbridge.provider.simulator import cli
from smsbridge.provider.simulator.console import (
    COMMANDS,
    DoubleStage,
    prompt_of,
    run_line,
)
from smsbridge.provider.simulator.mirror import DoubleText
from smsbridge.provider.simulator.server import ProviderDouble
from smsbridge.provider.simulator.texts import configured
from smsbridge.simulation import CommandError, ScriptError, parse, perform
from tests.provider.fake_mirror import FakeMirror
from tests.provider.fakes import FACTORY, OURS, THEIRS

PERSON = "[person:jane]\nlines = work-main\n"


class ConsoleTests(SynchronousTestCase):
    """Typed lines."""

    def setUp(self) -> None:
        """Build a double whose calls are heard."""
        self.clock = Clock()
        self.urls: list[str] = []

        def ask(request: Any, timeout_s: float) -> Deferred[Response]:
            self.urls.append(request.url)
            return succeed(Response(status=200, body=b"ok"))

        section = configured(
            FACTORY.config_class, {**FakeMirror.sample, "base_url": "http://127.0.0.1:8090"}
        )
        hook = "http://127.0.0.1:8080/hook/work"
        self.double = ProviderDouble(self.clock, FakeMirror(section), [OURS], hook, ask=ask)

    def arrived(self) -> DoubleText:
        """Return the text that arrived last."""
        return list(self.double.texts)[-1]

    def test_texts_arrive(self) -> None:
        """Sender, our number and the rest of the line make a text, a picture, or a group's."""
        (remote_id,) = run_line(self.double, f"receive {THEIRS} {OURS} hello  there\\nyou")
        self.assertEqual(self.arrived().body, "hello  there\nyou")
        self.assertEqual(self.arrived().remote_id, remote_id)

        run_line(self.double, f"picture {THEIRS} {OURS}")
        self.assertEqual(self.arrived().media[0].content_type, "image/jpeg")
        self.assertEqual(self.arrived().body, "")

        run_line(self.double, f"group {THEIRS} {OURS},+12025550124 all")
        self.assertEqual(self.arrived().recipients, (OURS, "+12025550124"))

        run_line(self.double, f"parts {THEIRS} {OURS} " + "x" * 100)
        assert self.arrived().part is not None
        self.assertEqual(self.arrived().part[1:], (2, 2))
        self.assertEqual(len(self.urls), 5)

    def test_text_is_told_again_and_listed(self) -> None:
        """The webhook about a text can be repeated, and all texts be shown."""
        (remote_id,) = run_line(self.double, f"receive {THEIRS} {OURS} hello")
        run_line(self.double, f"again {remote_id}")

        self.assertEqual(len(self.urls), 2)
        (shown,) = run_line(self.double, "texts")
        self.assertIn(f"{THEIRS} > {OURS}", shown)
        self.assertIn("arrived 1", run_line(self.double, "counts"))

    def test_status_of_a_text_is_told(self) -> None:
        """An operator says what became of a text, with a reason."""
        text = DoubleText(
            remote_id="", outbound=True, sender=OURS, recipients=(THEIRS,), body="hello"
        )
        self.double.texts.name(text, 0)
        self.double.texts.keep(text)

        run_line(self.double, f"status {text.remote_id} failed unreachable")

        self.assertEqual((text.status, text.reason), (Status.FAILED, "unreachable"))
        self.assertEqual(self.urls, ["http://127.0.0.1:8080/hook/work/status"])

    def test_wrong_lines_say_what_to_do(self) -> None:
        """Every mistake is one sentence."""
        run_line(self.double, f"receive {THEIRS} {OURS} hello")
        arrived = self.arrived().remote_id
        for line, words in (
            ("fly", "type help"),
            ("receive", "usage: receive"),
            (f"receive {THEIRS} +12025550199 hello", "not a number of the account"),
            ("status nothing failed", "type texts"),
            (f"status {arrived} eaten", "sent, delivered, failed or expired"),
            (f"status {arrived} failed hunger", "a reason is one of"),
            ("again nothing", "type texts"),
            ("fault rain", "a fault is one of"),
            ("fault broken often", "not a number of texts"),
            ("answer maybe", "on|off"),
        ):
            with self.assertRaises(CommandError) as caught:
                run_line(self.double, line)
            self.assertIn(words, str(caught.exception))

    def test_help_names_every_command(self) -> None:
        """Also one by one."""
        shown = "\n".join(run_line(self.double, "help"))

        for name, command in COMMANDS.items():
            self.assertIn(command.usage, shown)
            self.assertIn(command.usage, run_line(self.double, f"help {name}"))
        self.assertIn("throttled", run_line(self.double, "help fault")[-2])

    def test_faults_are_ordered(self) -> None:
        """For texts that are sent, or for attachments that are fetched."""
        run_line(self.double, "fault throttled 2")
        run_line(self.double, "fault media")

        self.assertEqual(self.double.ordered, ("throttled", "throttled"))
        self.assertEqual(self.double.media_failures, 1)

    def test_prompt_carries_lines_out_until_quit(self) -> None:
        """What is typed is done, what happens is shown, and quit ends it once."""
        over: list[bool] = []
        prompt = prompt_of(self.double, lambda: over.append(True))
        transport = StringTransport()
        prompt.makeConnection(transport)

        prompt.dataReceived(f"receive {THEIRS} {OURS} hello\nfly\n\nquit\n".encode())

        shown = transport.value().decode()
        self.assertIn("type help for a list", shown)
        self.assertIn(f"from {THEIRS}: heard", shown)
        self.assertEqual(over, [True])

    def test_script_waits_and_checks(self) -> None:
        """A script goes on when something happened, and ends with quit."""
        steps = parse(
            f"# a comment\nreceive {THEIRS} {OURS} hi\nuntil heard 1\nwait 2\nexpect arrived 1\n"
            "quit\nexpect arrived 9\n",
            COMMANDS,
        )
        shown: list[str] = []

        running = Deferred.fromCoroutine(
            perform(self.clock, DoubleStage(self.double), steps, shown.append)
        )
        self.assertNoResult(running)
        self.clock.advance(2)

        self.assertTrue(self.successResultOf(running))
        self.assertEqual(len(shown), 1)

    def test_script_that_is_not_met_names_the_line(self) -> None:
        """What was expected and what was found are told."""
        for source, words in (
            ("\nexpect sent 1\n", "line 2: expected sent 1, found 0"),
            ("until sent 1 1\n", "line 1: waited 1 s in vain"),
            ("wait long\n", "line 1: give the seconds"),
            ("expect sent\n", "line 1: give what is counted"),
        ):
            running = Deferred.fromCoroutine(
                perform(
                    self.clock,
                    DoubleStage(self.double),
                    parse(source, COMMANDS),
                    lambda line: None,
                )
            )
            self.clock.pump([0.05] * 30)
            failure = self.failureResultOf(running, ScriptError)
            self.assertIn(words, str(failure.value))
        with self.assertRaises(ScriptError):
            parse("fly\n", COMMANDS)


class AccountTests(SynchronousTestCase):
    """Which account is played."""

    def test_every_provider_can_be_played_and_fits_what_it_prints(self) -> None:
        """The sections that are printed make a configuration from which the same is played."""
        for kind in cli.PROVIDERS:
            account = cli.sample_account(kind, (OURS, "+12025550101"), "", 8090)
            values = cli.sample_values(kind, "http://127.0.0.1:8090")
            folder = Path(tempfile.mkdtemp(dir=self.mktemp_folder()))
            path = folder / "smsbridge.ini"
            path.write_text(
                f"[smsbridge]\nstate = {folder}\n{cli.section(account, values)}\n"
                "[person:jane]\nlines = work-1\n",
                encoding="utf-8",
            )
            path.chmod(0o600)

            found = cli.account_of(path, "", kind)

            self.assertEqual(found, account, kind)
            mirror = cli.mirror_of(kind, account.config)
            self.assertEqual(mirror.kind, kind)
            dialect = gateways.load(kind).dialect(account.config)  # type: ignore[attr-defined]
            self.assertTrue(dialect.signs or account.config.http_password, kind)

    def mktemp_folder(self) -> str:
        """Make a folder for one configuration."""
        folder = Path(self.mktemp())
        folder.mkdir(parents=True)
        return str(folder)

    def written(self, text: str) -> Path:
        """Write a configuration."""
        path = Path(self.mktemp_folder()) / "smsbridge.ini"
        path.write_text(text, encoding="utf-8")
        return path

    def test_configuration_that_cannot_be_played_says_why(self) -> None:
        """A wrong file, another kind, or no address of the simulator."""
        account = cli.sample_account("telnyx", (OURS,), "", 8090)
        values = cli.sample_values("telnyx", "http://127.0.0.1:8090")
        text = f"[smsbridge]\nstate = {self.mktemp_folder()}\n{cli.section(account, values)}\n"
        real = text.replace("base_url = http://127.0.0.1:8090\n", "")
        for path, label, kind, words in (
            (self.written("[nothing]\n"), "", "telnyx", "nothing"),
            (self.written(text + PERSON), "", "twilio", "there are: none"),
            (self.written(text + PERSON), "home", "telnyx", "there are: work"),
            (self.written(real + PERSON), "work", "telnyx", "set base_url"),
        ):
            with self.assertRaises(click.ClickException) as caught:
                cli.account_of(path, label, kind)
            self.assertIn(words, caught.exception.message)

    def test_password_stands_in_the_address(self) -> None:
        """What the provider must send is quoted."""
        found = cli.hook_address("https://sms.example.org", "work", "not it/@")

        self.assertEqual(found, "https://smsbridge:not%20it%2F%40@sms.example.org/hook/work")

    def test_command_refuses_what_it_does_not_know(self) -> None:
        """An unknown provider and a wrong script are told before anything starts."""
        runner = CliRunner()

        unknown = runner.invoke(simulate, ["provider", "pigeon"])
        wrong = runner.invoke(simulate, ["provider", "telnyx", "--script", "-"], input="fly\n")

        self.assertEqual((unknown.exit_code, wrong.exit_code), (2, 2))
        self.assertIn("twilio", unknown.output)
        self.assertIn("there is no command 'fly'", wrong.output)


class ServeTests(TestCase):
    """The command as it runs."""

    def setUp(self) -> Any:
        """Find a port that nobody uses just now, and one that somebody does."""
        clock: Any = reactor
        self.taken = clock.listenTCP(0, Factory(), interface="127.0.0.1")
        self.addCleanup(self.taken.stopListening)
        free = clock.listenTCP(0, Factory(), interface="127.0.0.1")
        self.port = free.getHost().port
        return free.stopListening()

    async def run_script(self, source: str, port: int) -> None:
        """Play a provider until the script is over."""
        account = cli.sample_account("telnyx", (OURS,), "", port)
        await cli.serve(reactor, account, parse(source, COMMANDS), quiet=True)

    async def test_script_is_performed_and_ends_it(self) -> None:
        """A script that quits leaves nothing behind."""
        await self.run_script("expect sent 0\nquit\n", self.port)

    async def test_script_that_is_not_met_ends_with_a_sentence(self) -> None:
        """The command's exit says which line it was."""
        with self.assertRaises(SystemExit) as caught:
            await self.run_script("expect sent 1\n", self.port)

        self.assertEqual(str(caught.exception), "script: line 1: expected sent 1, found 0")

    async def test_port_that_is_taken_is_told(self) -> None:
        """With what to do about it."""
        with self.assertRaises(SystemExit) as caught:
            await self.run_script("quit\n", self.taken.getHost().port)

        self.assertIn("choose another --port", str(caught.exception))
