"""Tests of `smsbridge.cli.accounts`, against a control socket in another process."""

from __future__ import annotations

import fcntl
import os
import pty
import re
import subprocess
import sys
import termios

from tests.cli.daemon import ROOT
from tests.cli.test_commands import CommandTestCase

GOOD = "correct horse battery"


class PasswdTests(CommandTestCase):
    """``passwd``."""

    def test_reads_one_line(self) -> None:
        """A script gives the password by the standard input, with or without the line's end."""
        for stdin in (GOOD, f"{GOOD}\n", f"{GOOD}\r\nmore\n", "Grüße aus Åbo\n"):
            said = self.out("passwd", "john", "--stdin", stdin=stdin)
            self.assertEqual(said, "john can log in with the new password.\n")

    def test_unknown_person_is_told_who_there_is(self) -> None:
        """One sentence names the persons."""
        result = self.call("passwd", "jon", "--stdin", stdin=GOOD, code=1)

        self.assertEqual(result.stderr, "Error: There is no person jon; persons: john, mary.\n")

    def test_bad_password_is_refused_in_words(self) -> None:
        """Too short, empty, or no text at all."""
        for stdin, said in (
            ("short", "at least 10 characters"),
            ("\n", "is empty"),
            ("", "is empty"),
            (b"\xff\xfe long enough", "not UTF-8"),
            ("johnjohnjohn", "must not be the name"),
        ):
            result = self.call("passwd", "john", "--stdin", stdin=stdin, code=1)
            self.assertIn(said, result.stderr)
            self.assertEqual(result.stdout, "")

    def test_nobody_to_ask_is_wrong_usage(self) -> None:
        """In a script without ``--stdin`` nothing hangs."""
        self.assertIn("--stdin", self.call("passwd", "john", stdin=GOOD, code=2).stderr)

    def test_password_can_be_taken_away(self) -> None:
        """With ``--remove`` nobody can log in as that person any more."""
        self.assertIn("no password any more", self.out("passwd", "john", "--remove"))
        self.assertIn("either", self.call("passwd", "john", "--remove", "--stdin", code=2).stderr)

    def test_asks_twice_on_a_terminal_and_shows_nothing(self) -> None:
        """Who sits at a terminal is asked until both are the same; nothing typed appears."""
        ours, theirs = pty.openpty()
        self.addCleanup(os.close, ours)
        asking = subprocess.Popen(
            [sys.executable, "-m", "tests.cli", "--config", self.served.config, "passwd", "john"],
            cwd=ROOT,
            stdin=theirs,
            stdout=theirs,
            stderr=theirs,
            start_new_session=True,
            preexec_fn=lambda: fcntl.ioctl(0, termios.TIOCSCTTY, 0),
        )
        os.close(theirs)
        shown = b""
        for answer in (GOOD, "something else", GOOD, GOOD):
            while not shown.endswith((b"john: ", b"again: ")):
                shown += os.read(ours, 1000)
            shown += b"|"
            os.write(ours, answer.encode() + b"\n")
        while True:
            try:
                shown += os.read(ours, 1000)
            except OSError:  # Linux: the other end is closed
                break

        self.assertEqual(asking.wait(), 0, shown)
        self.assertIn(b"can log in", shown)
        self.assertIn(b"do not match", shown)
        self.assertNotIn(GOOD.encode(), shown)


class TokenTests(CommandTestCase):
    """``token``."""

    def test_add_prints_the_token_alone(self) -> None:
        """A script can use what is printed as it is."""
        said = self.out("token", "add", "work", "--person", "john")

        self.assertRegex(said, r"^smsb_[A-Za-z0-9_-]{43}\n$")

    def test_list_shows_what_was_given(self) -> None:
        """Scopes, lines and expiry are as asked for; the token itself is not there."""
        secret = self.out(
            *("token", "add", "work", "--person", "john", "--scope", "read"),
            *("--scope", "manage", "--line", "two", "--expires", "90d"),
        ).strip()
        self.out("token", "add", "ops", "--person", "mary", "--scope", "admin")

        rows = self.rows("token", "list", "--json")

        self.assertEqual([row["name"] for row in rows], ["ops", "work"])
        work = rows[1]
        self.assertEqual((work["scopes"], work["lines"]), (["read", "manage"], ["two"]))
        self.assertRegex(str(work["expires_at"]), r"^\d{4}-\d\d-\d\dT")
        self.assertNotIn(secret, str(rows))
        table = self.out("token", "list", "--person", "mary")
        self.assertIn("ops", table)
        self.assertNotIn("work", table)
        self.assertTrue(re.search(r"ops +mary +admin +all +never +never", table), table)

    def test_remove(self) -> None:
        """A removed token is gone, and its name is free; another time it is an error."""
        self.out("token", "add", "work", "--person", "john")

        self.assertEqual(self.out("token", "remove", "work"), "Token work removed.\n")

        result = self.call("token", "remove", "work", code=1)
        self.assertEqual(result.stderr, "Error: There is no token work.\n")
        self.out("token", "add", "work", "--person", "mary")

    def test_refusals_are_sentences(self) -> None:
        """Each says what there is to choose from."""
        self.out("token", "add", "work", "--person", "john")
        for arguments, code, said in (
            (("work", "--person", "john"), 1, "There is a token work already"),
            (("x", "--person", "jon"), 1, "persons: john, mary"),
            (("x", "--person", "john", "--line", "three"), 1, "lines: one, two"),
            (("x", "--person", "john", "--scope", "admin"), 1, "john is no operator"),
            (("a b", "--person", "john"), 1, "letters, digits"),
            (("x", "--person", "john", "--scope", "write"), 2, "'write' is not one of"),
            (("x", "--person", "john", "--expires", "soon"), 2, "not a time span"),
            (("x",), 2, "--person"),
        ):
            self.assertIn(said, self.call("token", "add", *arguments, code=code).stderr)
