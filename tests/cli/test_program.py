"""Tests of `smsbridge.cli.program`: the main command, its help, and what it does not import."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
from click.testing import CliRunner
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli import main, program
from smsbridge.cli.program import COMMANDS, Call, find_config
from tests.cli.daemon import ROOT


class ProgramTests(SynchronousTestCase):
    """The main command."""

    def test_every_command_can_be_loaded(self) -> None:
        """Each command of the list exists, under its name, with a help text."""
        context = click.Context(main)
        for commands in COMMANDS.values():
            for name, (_, sentence) in commands.items():
                command = main.get_command(context, name)
                self.assertIsInstance(command, click.Command, name)
                self.assertEqual(command.name, name)
                self.assertTrue(command.help, name)
                self.assertTrue(sentence.endswith("."), name)

    def test_help_lists_all_commands(self) -> None:
        """The help names every command under its heading."""
        said = CliRunner().invoke(main, ["--help"]).stdout

        for heading, commands in COMMANDS.items():
            self.assertIn(heading + ":", said)
            for name in commands:
                self.assertIn(f"\n  {name} ", said)

    def test_every_help_has_no_overlong_line(self) -> None:
        """Help fits into 80 columns, also where examples are not wrapped."""
        context = click.Context(main)
        for name in main.list_commands(context):
            said = CliRunner().invoke(main, [name, "--help"]).stdout
            self.assertLessEqual(max(map(len, said.splitlines())), 100, said)

    def test_wrong_command_is_corrected(self) -> None:
        """A slip of the pen is answered with the command that was meant."""
        result = CliRunner().invoke(main, ["mesages"])

        self.assertEqual(result.exit_code, 2)
        self.assertIn("Did you mean 'messages'?", result.stderr)

    def test_imports_nothing_of_twisted(self) -> None:
        """Commands that only ask the daemon do not wait for Twisted or the database."""
        code = (
            "import sys; from smsbridge.cli import main\n"
            "for name in ('send', 'messages', 'trace', 'queue', 'lines', 'line', 'status'):\n"
            "    main.get_command(None, name)\n"
            "import smsbridge.cli.client\n"
            "heavy = {'twisted', 'sqlalchemy', 'wokkel', 'klein', 'phonenumbers', 'attr'}\n"
            "sys.exit(', '.join(heavy.intersection(sys.modules)) or 0)\n"
        )

        done = subprocess.run([sys.executable, "-c", code], cwd=ROOT, capture_output=True)

        self.assertEqual((done.returncode, done.stderr), (0, b""))


class FindConfigTests(SynchronousTestCase):
    """Which configuration is meant."""

    def setUp(self) -> None:
        """Make files to choose from, and an installed program."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.own = self.folder / "own.ini"
        self.own.touch()
        self.patch(program, "_ETC", self.folder / "etc.ini")

    def test_option_comes_before_the_environment(self) -> None:
        """What is typed wins."""
        other = self.folder / "other.ini"
        other.touch()
        environ = {"SMSBRIDGE_CONFIG": str(other)}

        self.assertEqual(find_config(str(self.own), environ, self.folder), self.own)
        self.assertEqual(find_config(None, environ, self.folder), other)

    def test_missing_file_is_named_with_its_source(self) -> None:
        """The message tells whether option or environment was wrong."""
        for named, environ, word in (
            ("/nope.ini", {}, "--config names /nope.ini"),
            (None, {"SMSBRIDGE_CONFIG": "/nope.ini"}, "SMSBRIDGE_CONFIG names /nope.ini"),
        ):
            with self.assertRaisesRegex(click.UsageError, word):
                find_config(named, environ, self.folder)

    def test_inside_its_checkout_the_quickstart_is_meant(self) -> None:
        """After `make run` the commands work in the checkout without an option."""
        quickstart = ROOT / "conf" / "quickstart.ini"

        for folder in (ROOT, ROOT / "docs"):
            self.assertEqual(find_config(None, {}, folder), quickstart)

    def test_elsewhere_the_systems_is_meant(self) -> None:
        """Outside of the checkout the system's configuration is used, if there is one."""
        elsewhere = Path("/")
        with self.assertRaisesRegex(click.UsageError, "sample-config"):
            find_config(None, {}, elsewhere)

        program._ETC.touch()

        self.assertEqual(find_config(None, {}, elsewhere), program._ETC)

    def test_configuration_is_searched_when_it_is_needed(self) -> None:
        """A command that needs none works without."""
        self.patch(program, "find_config", lambda *_: self.fail("searched too early"))

        Call(None)


class ReloadTests(SynchronousTestCase):
    """What the commands that change the configuration do afterwards."""

    def test_without_a_daemon_there_is_nothing_to_say(self) -> None:
        """A change made while no daemon runs is no error."""
        folder = Path(self.mktemp())
        folder.mkdir()
        config = folder / "own.ini"
        config.write_text("[smsbridge]\nstate = .\n")

        self.assertIsNone(Call(str(config)).reload())
