"""The commands ``check``, ``sample-config`` and ``line``, as an operator sees them."""

from __future__ import annotations

import json
from pathlib import Path

from attrs import define, field
from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli.configuration import check, line, sample_config
from tests import kinds
from tests.test_confd import MAIN


@define
class StubCaller:
    """The main command: knows the file, and counts how often the daemon was to reload."""

    config_path: Path
    kinds = staticmethod(kinds.load)
    answer: str | None = "Reloaded."
    reloads: int = field(default=0, init=False)

    def reload(self) -> str | None:
        """Answer as told."""
        self.reloads += 1
        return self.answer


class CommandTestCase(SynchronousTestCase):
    """A configuration in a folder, and commands on it."""

    def setUp(self) -> None:
        self.folder = Path(self.mktemp())
        (self.folder / "conf.d").mkdir(parents=True)
        self.main = self.folder / "smsbridge.ini"
        self.main.write_text(MAIN)
        self.main.chmod(0o600)
        self.caller = StubCaller(self.main)

    def run_line(self, *arguments: str, typed: str = "") -> Result:
        """Run ``smsbridge line ...``."""
        return CliRunner().invoke(line, arguments, obj=self.caller, input=typed)

    def run_check(self, *arguments: str) -> Result:
        """Run ``smsbridge check ...``."""
        return CliRunner().invoke(check, arguments, obj=self.caller)


class CheckTests(CommandTestCase):
    """``check`` says what it understood, or all that is wrong."""

    def test_shows_what_was_understood(self) -> None:
        """Gateways, lines and persons stand in tables, with what is worth knowing below."""
        self.main.write_text(
            MAIN
            + "[gateway:chat]\nkind = chat\ndomain = sms.example.org\nsecret = fake\n"
            + "[person:x]\nsip = x\n"
        )

        result = self.run_check()

        self.assertEqual(result.exit_code, 0)
        for wanted in (
            f"The configuration is right: {self.main}.\n",
            "Gateways\n  box   box   udp:44444  2 lines\n  chat  chat\n",
            "Lines\n  one  box  number not set  john mary\n",
            "Persons\n  john         one two\n",
            "  No gateway delivers to sip addresses yet; such are those of x.\n",
            "  [gateway:chat] Tell the server about sms.example.org.\n",
        ):
            self.assertIn(wanted, result.output)

    def test_hides_the_password_of_the_database(self) -> None:
        """The overview may be shown to others."""
        self.main.write_text("[smsbridge]\ndatabase = mysql://u:hunter2@127.0.0.1/x\n")

        result = self.run_check()

        self.assertIn("mysql://u:***@127.0.0.1/x", result.output)
        self.assertNotIn("hunter2", result.output)

    def test_all_faults_and_exit_code_1(self) -> None:
        """Every fault is a line on stderr."""
        self.main.write_text("[smsbrige]\n[http]\nlisten = 1\n")

        result = self.run_check()

        self.assertEqual(result.exit_code, 1)
        self.assertEqual(result.stdout, "")
        self.assertEqual(len(result.stderr.splitlines()), 3)
        self.assertTrue(result.stderr.endswith("2 faults found.\n"))

    def test_json(self) -> None:
        """Programs get one object, right or wrong, without secrets."""
        right = self.run_check("--json")
        self.assertNotIn("obviously-fake", right.stdout)
        found = json.loads(right.stdout)
        self.assertTrue(found["ok"])
        self.assertEqual(found["gateways"], [{"gateway": "box", "kind": "box"}])
        self.assertEqual(found["lines"][1]["persons"], ["john", "mary"])
        self.assertEqual(found["persons"][0]["lines"], ["one", "two"])

        self.main.write_text("[http]\nlisten = 1\n")
        wrong = self.run_check("--json")
        self.assertEqual(wrong.exit_code, 1)
        error = json.loads(wrong.stdout)["errors"][0]
        self.assertEqual((error["section"], error["key"], error["line"]), ("http", "listen", 2))


class SampleConfigTests(CommandTestCase):
    """``sample-config`` prints without needing a configuration."""

    def test_prints_sample_and_reference(self) -> None:
        """The sample is an ini file, the reference a page of the manual."""
        sample = CliRunner().invoke(sample_config)
        self.assertTrue(sample.output.startswith("# Sample configuration of smsbridge"))
        self.assertIn("\n[smsbridge]\n", sample.output)

        self.assertIn("``retention_days``\n", CliRunner().invoke(sample_config, ["--rst"]).output)


class LineTests(CommandTestCase):
    """``line`` edits the files and has the daemon reload."""

    def test_add(self) -> None:
        """A line is added with its keys, one of them typed unseen, and the daemon is told."""
        result = self.run_line(
            "add", "three", "--gateway", "box", "--set", "id=box3", "--ask", "password",
            "--person", "john", typed="fake\n",
        )  # fmt: skip

        self.assertEqual(result.exit_code, 0, result.output)
        self.assertEqual(
            result.stdout,
            "Added the line 'three' to the gateway 'box'; john may use it.\nReloaded.\n",
        )
        self.assertIn("password = fake", (self.folder / "conf.d/line-three.ini").read_text())
        self.assertEqual(self.caller.reloads, 1)

    def test_new_warnings_are_shown(self) -> None:
        """What the change makes questionable is said at once, older things are not repeated."""
        self.main.chmod(0o644)

        result = self.run_line(
            "add", "three", "--gateway", "box", "--set", "id=box3", "--set", "password=fake"
        )

        self.assertEqual(result.exit_code, 0, result.output)
        self.assertIn("Nobody gets the texts that arrive on three;", result.stdout)
        self.assertIn("chmod o-r", result.stdout)
        self.assertNotIn(f"chmod o-r {self.main}", result.stdout)

    def test_no_daemon(self) -> None:
        """Without a daemon the change is written all the same."""
        self.caller.answer = None

        result = self.run_line("disable", "one")

        self.assertEqual(
            result.stdout,
            "The line 'one' is disabled.\n"
            "No daemon runs with this configuration; it will know at its next start.\n",
        )

    def test_faults_are_named_and_nothing_is_done(self) -> None:
        """What would be wrong is said, with exit code 1, and the daemon is left alone."""
        result = self.run_line("add", "three", "--gateway", "box", "--set", "password=change-me")

        self.assertEqual(result.exit_code, 1)
        self.assertIn("[line:three] key 'id' is missing", result.stderr)
        self.assertIn("still has the placeholder", result.stderr)
        self.assertIn("2 faults in the configuration; nothing was changed.", result.stderr)
        self.assertEqual(list((self.folder / "conf.d").iterdir()), [])
        self.assertEqual(self.caller.reloads, 0)

    def test_wrong_use(self) -> None:
        """A pair that is none, or twice, is a matter of usage: exit code 2."""
        for pairs in (["--set", "id"], ["--set", "id=1", "--set", "id=2"]):
            result = self.run_line("add", "three", "--gateway", "box", *pairs)
            self.assertEqual(result.exit_code, 2)

    def test_remove_enable_and_unknown(self) -> None:
        """The other commands do what they say; a wrong name is one sentence."""
        self.assertEqual(self.run_line("disable", "two").exit_code, 0)
        self.assertIn("enabled = no", self.main.read_text())
        self.assertEqual(self.run_line("enable", "two").exit_code, 0)
        self.assertIn("Removed the line 'one'.", self.run_line("remove", "one").output)
        self.assertNotIn("[line:one]", self.main.read_text())

        result = self.run_line("remove", "one")
        self.assertEqual(result.exit_code, 1)
        self.assertEqual(result.stderr, "Error: There is no line 'one'; known lines: two.\n")

    def test_dry_run_writes_nothing(self) -> None:
        """The files are shown as they would be."""
        result = self.run_line("disable", "one", "--dry-run")

        self.assertIn("enabled = no", result.stdout)
        self.assertEqual(self.main.read_text(), MAIN)
        self.assertEqual(self.caller.reloads, 0)

    def test_list(self) -> None:
        """Lines stand in a table, or as objects for programs."""
        self.run_line("disable", "two")

        self.assertEqual(
            self.run_line("list").stdout,
            "one  box  number not set  john mary\ntwo  box  number not set  john mary  disabled\n",
        )
        rows = [json.loads(row) for row in self.run_line("list", "--json").stdout.splitlines()]
        self.assertEqual([row["enabled"] for row in rows], [True, False])

    def test_list_of_none(self) -> None:
        """An empty list says how to begin."""
        self.main.write_text("")

        self.assertIn("'smsbridge line add' makes one", self.run_line("list").stdout)
