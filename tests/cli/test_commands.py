"""Tests of the commands that talk to the daemon, against a control socket in another process."""

from __future__ import annotations

import csv
import io
import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

from click.testing import CliRunner, Result
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli import main
from smsbridge.cli.reconcile import _problems, _row
from tests.cli.daemon import ROOT, Served, served
from tests.web.bridge import delivery_id, message_id


class CommandTestCase(SynchronousTestCase):
    """Runs commands against one daemon in memory that forgets between tests."""

    def setUp(self) -> None:
        """Let the daemon begin anew."""
        self.served = served()
        self.served.begin_anew()

    def call(self, *arguments: str, stdin: str | bytes | None = None, code: int = 0) -> Result:
        """Run a command; fail unless it exits with this code."""
        config = str(self.served.config)
        result = CliRunner().invoke(main, ["--config", config, *arguments], input=stdin)
        self.assertEqual(result.exit_code, code, result.output)
        return result

    def out(self, *arguments: str, stdin: str | bytes | None = None) -> str:
        """Run a command that succeeds; return what it printed."""
        return str(self.call(*arguments, stdin=stdin).stdout)

    def rows(self, *arguments: str) -> list[dict[str, object]]:
        """Run a command that prints JSON lines; return the values."""
        return [json.loads(line) for line in self.out(*arguments).split("\n") if line]


class SendTests(CommandTestCase):
    """``send``."""

    def last(self) -> dict[str, object]:
        """Return the newest message."""
        return self.rows("messages", "--json", "--limit", "1")[0]

    def test_prints_the_id_alone(self) -> None:
        """A script can use what is printed as it is."""
        said = self.out("send", "--line", "demo2", "+12025550123", "hello")

        self.assertEqual(said, message_id(6) + "\n")
        message = self.last()
        self.assertEqual([message["line"], message["body"]], ["demo2", "hello"])

    def test_dash_reads_the_text(self) -> None:
        """A text from another program comes by the standard input, without its last line end."""
        self.out("send", "+12025550123", "-", stdin="one\ntwo ü\n")

        self.assertEqual(self.last()["body"], "one\ntwo ü")

    def test_text_with_a_dash_goes_after_two(self) -> None:
        """What looks like an option is a text after two dashes."""
        self.out("send", "+12025550123", "--", "--line")

        self.assertEqual(self.last()["body"], "--line")

    def test_refusal_is_one_sentence_and_code_1(self) -> None:
        """What the daemon refuses is said in one line on the error output."""
        result = self.call("send", "twelve", "hello", code=1)

        self.assertEqual(result.stdout, "")
        self.assertEqual(
            result.stderr,
            "Error: twelve is not a telephone number; write for example +12025550123.\n",
        )

    def test_nothing_to_send_is_wrong_usage(self) -> None:
        """Neither text nor file is a mistake of the call."""
        self.assertIn("nothing to send", self.call("send", "+12025550123", code=2).stderr)

    def test_file_is_sent_along(self) -> None:
        """With a file no text is needed."""
        photo = self.served.folder / "photo.jpg"
        photo.write_bytes(bytes(range(256)))

        self.out("send", "--media", str(photo), "+12025550123")

        self.assertEqual(self.last()["body"], "")

    def test_missing_file_is_wrong_usage(self) -> None:
        """A file that is not there is named."""
        result = self.call("send", "--media", "/nope.jpg", "+12025550123", code=2)

        self.assertIn("/nope.jpg", result.stderr)


class MessagesTests(CommandTestCase):
    """``messages``."""

    def test_json_has_all_with_exact_bodies(self) -> None:
        """Programs get every message, oldest first, in the promised shape."""
        rows = self.rows("messages", "--json")

        self.assertEqual([row["id"] for row in rows], [message_id(n) for n in range(1, 6)])
        self.assertEqual(rows[1]["body"], "Grüße \N{PARTY POPPER}\nsecond line \x1b[31mred")
        self.assertEqual(
            list(rows[0]),
            ["id", "line", "from", "to", "body", "media", "created_at", "deliveries"],
        )

    def test_table_is_aligned_and_harmless(self) -> None:
        """People get columns, in which no text can command their terminal."""
        lines = self.out("messages").splitlines()

        self.assertEqual(len(lines), 6)
        column = lines[0].index("STATUS")
        self.assertEqual(
            [line[column:].split()[0] for line in lines[1:]],
            ["delivered", "delivered", "failed", "uncertain", "queued"],
        )
        self.assertIn("failed (unreachable)", lines[3])
        self.assertIn("<-  +12025550123", lines[2])
        self.assertNotIn("\x1b", "".join(lines))

    def test_filters(self) -> None:
        """Line, number, time and limit choose."""
        for arguments, bodies in (
            (("--line", "demo2"), ["perhaps"]),
            (("--number", "+12025550125"), ["waits"]),
            (("--since", "2026-11-21T10:00:03Z"), ["perhaps", "waits"]),
            (("--limit", "1"), ["waits"]),
            (("--limit", "0", "--line", "demo2"), ["perhaps"]),
        ):
            rows = self.rows("messages", "--json", *arguments)
            self.assertEqual([row["body"] for row in rows], bodies, arguments)

    def test_limit_is_told(self) -> None:
        """Whoever sees a part knows that it is one."""
        self.assertIn("newest 2", self.call("messages", "--limit", "2").stderr)
        self.assertEqual(self.call("messages", "--limit", "0").stderr, "")

    def test_nothing_is_a_sentence(self) -> None:
        """An empty table is said in words, not on the standard output."""
        result = self.call("messages", "--line", "nope")

        self.assertIn("no messages", result.stderr)

    def test_ids_can_be_shown(self) -> None:
        """The table shows ids on demand."""
        self.assertIn(message_id(3), self.out("messages", "--ids"))
        self.assertNotIn(message_id(3), self.out("messages"))

    def test_wrong_time_is_wrong_usage(self) -> None:
        """A time that cannot be read is answered with examples."""
        self.assertIn("2h", self.call("messages", "--since", "tomorrow", code=2).stderr)

    def test_follow_shows_changes_at_once(self) -> None:
        """A follower reads what another command sends, while it is still running."""
        for arguments, seen in ((("--json",), b'"body": "news"'), ((), b"queued")):
            follower = subprocess.Popen(
                [sys.executable, "-m", "tests.cli", "messages", "--follow", *arguments],
                env={**os.environ, "SMSBRIDGE_CONFIG": str(self.served.config)},
                cwd=ROOT,
                stdout=subprocess.PIPE,
            )
            assert follower.stdout is not None
            with follower, follower.stdout as stdout:
                try:
                    while b"waits" not in stdout.readline():
                        pass
                    self.out("send", "+12025550123", "news")
                    line = stdout.readline()
                finally:
                    follower.terminate()
            self.assertIn(b"news", line)
            self.assertIn(seen, line)

    def test_follower_hears_that_the_daemon_stops(self) -> None:
        """Whoever follows is told when nothing more can come, with exit code 3."""
        with tempfile.TemporaryDirectory(prefix="smsbridge-cli-") as folder:
            daemon = Served(Path(folder))
            for arguments in ((), ("--json",)):
                follower = subprocess.Popen(
                    [sys.executable, "-m", "tests.cli", "messages", "--follow", *arguments],
                    env={**os.environ, "SMSBRIDGE_CONFIG": str(daemon.config)},
                    cwd=ROOT,
                    stdout=subprocess.PIPE,
                    stderr=subprocess.PIPE,
                )
                assert follower.stdout is not None
                follower.stdout.readline()
                daemon.stop()

                _, said = follower.communicate(timeout=20)

                self.assertEqual(said, b"Error: The daemon has stopped.\n")
                self.assertEqual(follower.returncode, 3)
                daemon = Served(Path(folder))
            daemon.stop()


class TraceTests(CommandTestCase):
    """``trace``."""

    def test_tells_the_whole_story(self) -> None:
        """Numbers, deliveries, attempts and reasons are there."""
        said = self.out("trace", message_id(3))

        self.assertIn("+12025550124", said)
        self.assertIn("through box: failed after 1 attempt\n", said)
        self.assertIn("attempt 1  unreachable", said)

    def test_json_has_the_history(self) -> None:
        """Programs get one object."""
        message = json.loads(self.out("trace", "--json", message_id(3)))

        self.assertEqual(message["deliveries"][0]["history"][0]["reason"], "unreachable")

    def test_text_cannot_command_the_terminal(self) -> None:
        """The text is shown on one line, with control characters visible."""
        self.assertNotIn("\x1b", self.out("trace", message_id(2)))

    def test_unknown_id(self) -> None:
        """An id that does not exist, or is no id, is refused in a sentence."""
        for wrong in ("nope", "../status", "a b?c=d"):
            self.assertIn("no message", self.call("trace", wrong, code=1).stderr)


class LinesTests(CommandTestCase):
    """``lines``, ``ussd``, ``calls`` and ``line command``."""

    def test_lines_for_people_and_programs(self) -> None:
        """Both see what is up and what is not."""
        said = self.out("lines")
        self.assertIn("demo1  up    box      +12025550100  -73 dBm", said)
        self.assertIn("never seen", said)

        rows = self.rows("lines", "--json")
        self.assertEqual([row["signal_dbm"] for row in rows], [-73, None])

    def test_webhook_test_prints_what_came_back(self) -> None:
        """The operator sees whether a program takes what is posted to it."""
        self.assertEqual(
            self.out("webhook", "test", "john"),
            "https://app.example.org/texts: taken, status 200\n",
        )
        self.assertIn("no [person:x]", self.call("webhook", "test", "x", code=1).stderr)

    def test_ussd_prints_the_answer(self) -> None:
        """The network's text is printed with its line ends."""
        self.assertEqual(self.out("ussd", "demo1", "*100#"), "Balance: 5.00\nCode was *100#\n")

    def test_ussd_refusals_are_sentences(self) -> None:
        """Each refusal is one sentence and exit code 1."""
        for line, code, word in (
            ("demo1", "*999#", "network refused"),
            ("demo2", "*100#", "not registered"),
            ("no/pe", "*100#", "no line no/pe"),
        ):
            result = self.call("ussd", line, code, code=1)
            self.assertIn(word, result.stderr)
            self.assertEqual(result.stderr.count("\n"), 1)

    def test_calls(self) -> None:
        """The call log tells when, with whom and how long."""
        said = self.out("calls")
        self.assertIn("1:15", said)
        self.assertIn("busy", said)

        self.assertEqual(len(self.rows("calls", "demo2", "--json")), 1)
        self.assertEqual(len(self.rows("calls", "--json", "--limit", "1")), 1)
        self.assertEqual(len(self.rows("calls", "--json", "--limit", "0")), 2)
        self.assertIn("no calls", self.call("calls", "nope").stderr)

    def test_line_commands_are_listed_and_run(self) -> None:
        """Without a command the list, with one the answer."""
        self.assertIn("forward REASON NUMBER  Forward calls.", self.out("line", "command", "demo1"))
        self.assertEqual(
            self.out("line", "command", "demo1", "forward", "busy", "+12025550124"),
            "done: forward busy +12025550124\n",
        )
        self.assertIn("no command", self.call("line", "command", "demo1", "fly", code=1).stderr)

    def test_line_has_the_configurations_commands_too(self) -> None:
        """Setting up and commanding lines are one group."""
        said = self.out("line", "--help")

        for name in ("add", "remove", "enable", "disable", "list", "command"):
            self.assertIn(f"\n  {name} ", said)


class DiscoverTests(CommandTestCase):
    """``lines discover``."""

    def test_shows_the_numbers_and_what_to_write(self) -> None:
        """Who pastes the lines has a line for each number that has none yet."""
        said = self.out("lines", "discover", "work")

        self.assertIn("work     +12025550100  demo1  yes  yes  Main         not set", said)
        self.assertIn("https://smsbridge:***@sms.example.org/hook/work", said)
        self.assertIn("[line:work-0177]\ngateway = work\nnumber = +12025550177\n\n", said)
        self.assertIn(
            "[line:work-50177]\ngateway = work\nnumber = +13025550177\nmms = link\n", said
        )
        self.assertNotIn("number = +12025550179", said)  # it has no SMS
        self.assertNotIn("s3cret", said)

    def test_one_account_that_does_not_answer_hides_no_other(self) -> None:
        """What could be read is shown; the exit code tells that something could not."""
        result = self.call("lines", "discover", code=1)

        self.assertIn("+12025550100", result.stdout)
        self.assertIn("other: The provider does not answer.", result.stderr)

    def test_json_has_one_object_a_number(self) -> None:
        """Programs read the same."""
        rows = self.rows("lines", "discover", "work", "--json")

        self.assertEqual([row["line"] for row in rows], ["demo1", "", "", ""])

    def test_a_gateway_that_cannot_is_a_sentence(self) -> None:
        """The exit code is 1."""
        result = self.call("lines", "discover", "box", code=1)

        self.assertIn("The gateway box cannot be asked.", result.stderr)


class ReconcileTests(CommandTestCase):
    """``reconcile``."""

    def test_a_provider_without_a_list_is_no_failure_of_the_others(self) -> None:
        """It is named, and the exit code is that of the rest."""
        row = {"gateway": "v", "error": "unsupported", "message": "It has no list."}

        self.assertEqual(_row(row)[-1], "cannot be asked")
        self.assertEqual(_problems(row), ["It has no list."])

    def test_shows_a_table_and_names_every_problem(self) -> None:
        """A provider that refuses keeps the others from nothing, and the exit code is 1."""
        result = self.call("reconcile", code=1)

        self.assertIn("GATEWAY  SEEN  MISSED  STATUSES  PROBLEMS", result.stdout)
        self.assertIn("work     120   2       3         1", result.stdout)
        self.assertIn("other    -     -       -         failed", result.stdout)
        self.assertIn("work: One picture is gone.\n", result.stderr)
        self.assertIn("other: The key is wrong. (401)\n", result.stderr)

    def test_json_has_one_object_a_gateway(self) -> None:
        """Progress is not for programs."""
        result = self.call("reconcile", "work", "--since", "2d", "--json", code=1)

        self.assertEqual(
            json.loads(result.stdout),
            {
                "gateway": "work",
                "seen": 120,
                "missed": 2,
                "statuses": 3,
                "problems": ["One picture is gone."],
            },
        )

    def test_a_gateway_that_cannot_is_a_sentence(self) -> None:
        """The exit code is 1."""
        for name, words in (("box", "The gateway box cannot be asked."), ("other", "key is wrong")):
            self.assertIn(words, self.call("reconcile", name, code=1).stderr)

    def test_longer_than_providers_keep_it_is_wrong_usage(self) -> None:
        """Thirty days are the most."""
        self.assertIn("at most 30d", self.call("reconcile", "--since", "31d", code=2).stderr)


class OptOutTests(CommandTestCase):
    """``opt-out``."""

    def test_add_list_and_remove(self) -> None:
        """The operator puts a number out, sees it, and takes it back in."""
        self.assertIn("Nobody is out.", self.call("opt-out", "list").stderr)
        self.assertEqual(
            self.out("opt-out", "add", "demo1", "+12025550123"),
            "+12025550123 gets no more texts from demo1.\n",
        )
        self.assertIn("out already", self.out("opt-out", "add", "demo1", "+12025550123"))

        self.assertIn("the operator said so", self.out("opt-out", "list"))
        (row,) = self.rows("opt-out", "list", "demo1", "--json")
        self.assertEqual((row["number"], row["source"]), ("+12025550123", "operator"))

        self.assertIn("again", self.out("opt-out", "remove", "demo1", "+12025550123"))
        self.assertIn("not out", self.out("opt-out", "remove", "demo1", "+12025550123"))

    def test_unknown_line_is_a_sentence(self) -> None:
        """The exit code is 1."""
        for arguments in (("add", "nope", "+12025550123"), ("list", "nope")):
            self.assertIn("no line nope", self.call("opt-out", *arguments, code=1).stderr)


class QueueTests(CommandTestCase):
    """``queue``."""

    def statuses(self) -> list[str]:
        """Return the status of every message's delivery."""
        return [row["deliveries"][0]["status"] for row in self.rows("messages", "--json")]

    def test_list(self) -> None:
        """What waits or is uncertain is listed with its ids."""
        said = self.out("queue", "list")
        self.assertIn(delivery_id(5), said)
        self.assertIn("uncertain", said)

        rows = self.rows("queue", "list", "--json", "--status", "failed")
        self.assertEqual([row["reason"] for row in rows], ["unreachable"])
        self.assertIn("Nothing waits", self.call("queue", "list", "--line", "nope").stderr)

    def test_retry_by_id(self) -> None:
        """A message is sent again by its id."""
        self.assertEqual(self.out("queue", "retry", message_id(3)), "1 queued again.\n")
        self.assertEqual(self.statuses()[2], "queued")

    def test_unknown_id_is_refused(self) -> None:
        """An id that nobody knows changes nothing."""
        self.assertIn("nope", self.call("queue", "retry", "nope", code=1).stderr)

    def test_filter_takes_what_ended(self) -> None:
        """Without a status, retry means what failed or is uncertain, and not what waits."""
        self.assertEqual(self.out("queue", "retry", "--line", "demo1"), "1 queued again.\n")

    def test_all_asks_with_what_it_would_do(self) -> None:
        """Before everything is sent again the operator sees how much and in which status."""
        result = self.call("queue", "retry", "--all", stdin="n\n", code=1)

        self.assertIn("Send 2 again (1 failed, 1 uncertain)?", result.stderr)
        self.assertEqual(self.statuses().count("queued"), 1)

        self.assertEqual(self.out("queue", "retry", "--all", stdin="y\n"), "2 queued again.\n")

    def test_all_without_an_answer_does_nothing(self) -> None:
        """A script that cannot answer changes nothing, unless it says yes."""
        self.call("queue", "drop", "--all", code=1)
        self.assertEqual(self.statuses().count("dropped"), 0)

        self.assertEqual(self.out("queue", "drop", "--all", "--yes"), "2 dropped.\n")

    def test_everything_must_be_meant(self) -> None:
        """Neither ids nor a filter, or both, is wrong usage."""
        self.assertIn("--all", self.call("queue", "drop", code=2).stderr)
        self.call("queue", "drop", "--all", delivery_id(1), code=2)


class OperationsTests(CommandTestCase):
    """``status``, ``reload``, ``export`` and ``purge``."""

    def test_status(self) -> None:
        """One page has version, links, lines that are down and what waits."""
        said = self.out("status")

        for word in ("1.2.3", "; ready", "1 of 2 up", "connection refused", "demo2", "queued"):
            self.assertIn(word, said)
        self.assertEqual(json.loads(self.out("status", "--json"))["version"], "1.2.3")

    def test_reload_tells_what_changed(self) -> None:
        """What was applied is said in a line."""
        self.assertEqual(self.out("reload"), "Reloaded: line demo3 added.\n")

    def test_reload_prints_every_error(self) -> None:
        """Each error of the configuration is a line, and the exit code is 1."""
        (self.served.folder / "reload-errors").touch()
        self.addCleanup((self.served.folder / "reload-errors").unlink)
        self.served.begin_anew()

        result = self.call("reload", code=1)

        self.assertEqual(
            result.stderr.splitlines(),
            [
                "a.ini: [x] one",
                "a.ini: [y] two",
                "Error: The configuration has 2 errors; nothing was changed.",
            ],
        )

    def test_export_as_json_lines(self) -> None:
        """The export has what the listing has, and direction and author."""
        rows = self.rows("export")

        self.assertEqual(len(rows), 5)
        self.assertEqual(rows[1]["direction"], "in")

    def test_export_as_csv(self) -> None:
        """The table has one row for each delivery, and exact texts."""
        rows = list(csv.DictReader(io.StringIO(self.out("export", "--format", "csv"), newline="")))

        self.assertEqual(len(rows), 5)
        self.assertEqual(rows[1]["body"], "Grüße \N{PARTY POPPER}\nsecond line \x1b[31mred")
        self.assertEqual((rows[2]["status"], rows[2]["reason"]), ("failed", "unreachable"))

    def test_export_to_a_file_is_whole_and_private(self) -> None:
        """A file appears under its name when it is complete, closed to other users."""
        target = self.served.folder / "out.jsonl"

        self.call("export", "--output", str(target))

        self.assertEqual(len(target.read_text("utf-8").splitlines()), 5)
        self.assertEqual(target.stat().st_mode & 0o777, 0o600)
        self.assertFalse(target.with_name("out.jsonl.part").exists())

    def test_purge_says_how_many(self) -> None:
        """Without a terminal it does not ask, and says how many are gone."""
        self.assertEqual(self.out("purge", "--older-than", "0s"), "5 messages deleted.\n")
        self.assertEqual(self.rows("messages", "--json"), [])

    def test_purge_needs_an_age(self) -> None:
        """Without an age, or with one that cannot be read, nothing is deleted."""
        self.call("purge", code=2)
        self.assertIn("7d", self.call("purge", "--older-than", "long", code=2).stderr)


class NoDaemonTests(SynchronousTestCase):
    """What commands say when nobody answers."""

    def setUp(self) -> None:
        """Make a configuration without a daemon."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.config = self.folder / "own.ini"
        self.config.write_text("[smsbridge]\nstate = state\n")

    def call(self, *arguments: str) -> Result:
        """Run a command."""
        return CliRunner().invoke(main, ["--config", str(self.config), *arguments])

    def test_says_where_and_how_to_start(self) -> None:
        """One sentence names the socket and the command that starts a daemon; exit code 3."""
        for command in (("messages",), ("send", "+12025550123", "x"), ("status",), ("reload",)):
            result = self.call(*command)

            self.assertEqual(result.exit_code, 3)
            self.assertEqual(result.stderr.count("\n"), 1)
            self.assertIn(f"{self.folder.absolute()}/state/control.sock", result.stderr)
            self.assertIn(f"twistd -n smsbridge --config {self.config}", result.stderr)

    def test_stale_socket_is_no_daemon(self) -> None:
        """A socket that a killed daemon left is not taken for a daemon."""
        state = self.folder / "state"
        state.mkdir()
        bind = "import socket,os; os.chdir(__import__('sys').argv[1]); " + (
            "socket.socket(socket.AF_UNIX).bind('control.sock')"
        )
        subprocess.run([sys.executable, "-c", bind, str(state)], check=True)

        self.assertEqual(self.call("messages").exit_code, 3)

    def test_configuration_that_cannot_be_read(self) -> None:
        """A file that is no ini file is named."""
        self.config.write_text("this is no ini file")

        result = self.call("messages")

        self.assertEqual(result.exit_code, 1)
        self.assertIn("own.ini", result.stderr)
