"""Tests of `smsbridge.cli.output`: what commands print for people."""

from __future__ import annotations

import io
import os
import sys
from datetime import UTC, datetime, timedelta

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli import output


class Terminal(io.StringIO):
    """A standard output that is a terminal."""

    def isatty(self) -> bool:
        """Say yes."""
        return True


class HarmlessTests(SynchronousTestCase):
    """Texts that somebody sent, shown on the operator's terminal."""

    def test_controls_become_visible(self) -> None:
        """What a terminal would obey is shown as a picture of itself."""
        self.assertEqual(
            output.harmless("a\x1b[2Jb\nc\r\nd\te\x9bf\u202eg"),
            "a\N{SYMBOL FOR ESCAPE}[2Jb\N{RETURN SYMBOL}c\N{RETURN SYMBOL}d"
            "\N{SYMBOL FOR HORIZONTAL TABULATION}e\ufffdf\ufffdg",
        )

    def test_scripts_and_emoji_stay(self) -> None:
        """Ordinary texts of any script are not touched."""
        text = "Grüße, Ελλάδα, 日本, \N{PARTY POPPER}, שלום"

        self.assertEqual(output.harmless(text), text)

    @given(st.text(st.characters()))
    @settings(max_examples=300)
    def test_any_text_is_one_printable_line(self, text: str) -> None:
        """Whatever is sent, it is one line and can be encoded."""
        shown = output.harmless(text)

        self.assertLessEqual(len(shown.splitlines()), 1)
        shown.encode("utf-8")


class TableTests(SynchronousTestCase):
    """Tables."""

    def terminal(self, columns: int) -> None:
        """Let the standard output be a terminal of that width."""
        self.patch(sys, "stdout", Terminal())
        self.patch(output, "terminal_width", lambda: columns)

    def test_columns_are_aligned_by_what_is_seen(self) -> None:
        """Wide and combining characters do not shift the next column."""
        rows = [("日本", "x"), ("e\u0301a", "x"), ("abcdef", "x")]

        lines = list(output.rows_of(rows, ("NAME", "VALUE")))

        self.assertEqual(
            {output.width_of(line[: line.rindex("x" if "x" in line else "V")]) for line in lines},
            {8},
        )

    def test_last_column_fits_the_terminal(self) -> None:
        """A long text is cut with a mark; elsewhere it is whole."""
        rows = [("a", "x" * 100)]
        whole = list(output.rows_of(rows, ("N", "TEXT")))
        self.assertIn("x" * 100, whole[1])

        self.terminal(40)
        cut = list(output.rows_of(rows, ("N", "TEXT")))

        self.assertEqual(output.width_of(cut[1]), 40)
        self.assertTrue(cut[1].endswith("\N{HORIZONTAL ELLIPSIS}"))

    def test_sentences_fit_the_terminal_and_addresses_stay_whole(self) -> None:
        """An address that is to be copied into a console must not be cut; elsewhere nothing is."""
        url = "https://sms.example.org/hook/a-gateway-with-a-long-name/status"
        self.assertEqual(output.paragraph(f"call {url} now"), f"  call {url} now")

        self.terminal(50)

        self.assertEqual(output.paragraph(f"call {url} now"), f"  call\n    {url}\n    now")

    def test_wide_characters_are_cut_by_width(self) -> None:
        """A text of wide characters fits as well."""
        self.terminal(40)

        cut = list(output.rows_of([("a", "日" * 50)], ("N", "TEXT")))

        self.assertLessEqual(output.width_of(cut[1]), 40)

    def test_colors_on_a_terminal_alone(self) -> None:
        """Statuses are colored for eyes, not for pipes, and not against NO_COLOR."""
        rows = [("failed", "x")]
        self.assertNotIn("\x1b", "".join(output.rows_of(rows, ("STATUS", "TEXT"))))

        self.terminal(80)
        environ = dict(os.environ)
        environ.pop("NO_COLOR", None)
        self.patch(os, "environ", environ)
        self.assertIn("\x1b[31mfailed", "".join(output.rows_of(rows, ("STATUS", "TEXT"))))

        environ["NO_COLOR"] = "1"
        self.assertNotIn("\x1b", "".join(output.rows_of(rows, ("STATUS", "TEXT"))))

    def test_long_tables_are_printed_as_they_come(self) -> None:
        """Only the first rows are waited for."""
        asked = []

        def rows() -> object:
            for number in range(1000):
                asked.append(number)
                yield (str(number), "x")

        next(iter(output.rows_of(rows(), ("N", "TEXT"), look_ahead=10)))  # type: ignore[arg-type]

        self.assertLess(len(asked), 20)


class TimeTests(SynchronousTestCase):
    """Times."""

    def test_year_is_shown_when_it_is_another(self) -> None:
        """This year's times are short, others have their year."""
        now = datetime.now(tz=UTC).replace(month=6, day=15, hour=12)
        this = now.isoformat(timespec="milliseconds").replace("+00:00", "Z")
        other = now.replace(year=now.year - 1).isoformat().replace("+00:00", "Z")

        self.assertRegex(output.local_time(this), r"^06-1[456] \d\d:\d\d:\d\d$")
        self.assertRegex(output.local_time(this, milliseconds=True), r"\.\d{3}$")
        self.assertRegex(output.local_time(other), r"^\d{4}-06-1[456] ")
        self.assertEqual(output.local_time(None), "")

    def test_age_is_rough(self) -> None:
        """An age is one number with its unit."""
        for gone, said in (
            (timedelta(seconds=5), "5 s"),
            (timedelta(minutes=61), "1 h"),
            (timedelta(days=3, hours=20), "3 d"),
            (timedelta(seconds=-30), "0 s"),
        ):
            at = (datetime.now(tz=UTC) - gone - timedelta(milliseconds=100)).isoformat()
            self.assertEqual(output.age(at), said)
        self.assertEqual(output.age(None), "never")
