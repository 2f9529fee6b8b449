"""Tiny runs of the benchmarks that need no other server, so that they do not rot."""

from __future__ import annotations

import json
import socket
import tempfile
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import __main__ as command
from benchmarks import ceilings, codec, history, http_send, inbox, lines, rig, store, webhooks
from benchmarks.child import Child, ChildFailed, python
from benchmarks.figures import Section, latencies, percentile, table, write_json
from benchmarks.rig import Setup


class FiguresTests(SynchronousTestCase):
    """What is made of the numbers."""

    def test_percentile_is_a_value_that_occurred(self) -> None:
        """The median and the 99th percentile are values of the list; an empty list has zero."""
        ordered = [float(n) for n in range(1, 101)]

        self.assertEqual(percentile(ordered, 0.5), 51)
        self.assertEqual(percentile(ordered, 0.99), 100)
        self.assertEqual(percentile([], 0.5), 0)

    def test_latencies_are_in_milliseconds(self) -> None:
        """Seconds go in, in any order, and milliseconds come out."""
        self.assertEqual(
            latencies([0.003, 0.001, 0.002]), {"p50_ms": 2.0, "p99_ms": 3.0, "max_ms": 3.0}
        )

    def test_row_must_fit_its_columns(self) -> None:
        """A row with a cell too few is an error, not a shifted table."""
        section = Section("Speed", ("what", "a second"))

        self.assertRaises(ValueError, section.add, "only this")

    def test_table_and_json_hold_the_same(self) -> None:
        """What is printed is written for programs too, beside the machine's description."""
        section = Section("Speed", ("what", "a second"), notes=["as seen"])
        section.add("texts", 12345.6)
        section.add("none", None)
        folder = Path(self.mktemp())
        folder.mkdir()

        written = json.loads(write_json(folder, "speed", [section]).read_text())

        self.assertEqual(
            table(section),
            "Speed\n\n"
            "what   a second\n"
            "-----  --------\n"
            "texts    12,346\n"
            "none          -\n"
            "\n"
            "as seen\n",
        )
        self.assertEqual(written["sections"][0]["rows"][0], {"what": "texts", "a second": 12345.6})
        self.assertIn("cores", written["machine"])


class ChildTests(SynchronousTestCase):
    """Processes of a measurement."""

    def test_child_that_ends_is_told_with_its_log(self) -> None:
        """A load generator that cannot start fails the benchmark at once, and says why."""
        log = Path(self.mktemp())
        with Child("phones", python("benchmarks.phones", "dance"), log, talks=True) as child:
            error = self.assertRaises(ChildFailed, child.hear, 30)

        self.assertIn("phones ended", str(error))
        self.assertIn("invalid choice: 'dance'", str(error))

    def test_unknown_name_is_refused(self) -> None:
        """A benchmark that there is not ends the command with the names of those that there are."""
        self.assertRaises(SystemExit, command.main, ["speed"])


class SmokeTests(SynchronousTestCase):
    """Each benchmark runs, and loses nothing."""

    def run_tiny(self, module: ModuleType, scale: float = 0.001, **options: str) -> list[Section]:
        """Run a benchmark for a moment; the folder's path is short enough for a unix socket."""
        folder = tempfile.TemporaryDirectory(prefix="smsb-")
        self.addCleanup(folder.cleanup)
        setup = Setup(folder=Path(folder.name), scale=scale, seconds=2, options=options)
        sections: list[Section] = module.run(setup)
        return sections

    def column(self, sections: list[Section], name: str) -> list[object]:
        """Return the values of one column."""
        (section,) = sections
        return [row[section.columns.index(name)] for row in section.rows]

    def test_codec(self) -> None:
        """Every codec has its cost."""
        costs = self.column(self.run_tiny(codec), "us")

        self.assertTrue(all(isinstance(cost, float) and 0 < cost < 100_000 for cost in costs))

    def test_udp_ceiling(self) -> None:
        """All that was pushed to the bare server is acknowledged."""
        folder = Path(self.mktemp())
        folder.mkdir()
        section = Section("Ceilings", ceilings._COLUMNS)

        ceilings.udp(Setup(folder=folder, scale=0.001), section)

        self.assertEqual(len(section.rows), 2)

    def test_store(self) -> None:
        """SQLite accepts, claims and settles all."""
        rates = self.column(self.run_tiny(store, databases="sqlite"), "settle/s")

        self.assertEqual(len(rates), 3)

    def test_http_send(self) -> None:
        """Every text that was posted, to the control socket or the API, leaves a channel, once."""
        sections = self.run_tiny(http_send)

        self.assertEqual(self.column(sections, "to"), ["control", "control", "API", "API"])
        for column in ("refused", "missing", "twice"):
            self.assertEqual(self.column(sections, column), [0, 0, 0, 0], column)

    def test_webhooks(self) -> None:
        """Every call is answered with success, and every text that was answered is kept."""
        sections = self.run_tiny(webhooks)

        self.assertEqual(len(self.column(sections, "what")), 5)
        for column in ("refused", "missing"):
            self.assertEqual(self.column(sections, column), [0] * 5, column)
        self.assertEqual(sections[0].details["lost"], 0)

    def test_lines(self) -> None:
        """Every line sends what falls due, whether it is posted or was queued before."""
        sections = self.run_tiny(lines, lines="5")

        self.assertEqual(self.column(sections, "feed"), ["control", "store"])
        self.assertEqual(self.column(sections, "missing"), [0, 0])

    def test_history(self) -> None:
        """A database written past the daemon is one that the daemon can read."""
        sections = self.run_tiny(history, lines="3")

        self.assertEqual(self.column(sections, "value")[0], 1000)

    def test_inbox(self) -> None:
        """Every question has its time."""
        times = self.column(self.run_tiny(inbox), "median ms")

        self.assertGreater(len(times), 50)
        self.assertTrue(all(isinstance(each, float) and each > 0 for each in times))

    def test_null_bridge_takes_what_phones_push(self) -> None:
        """The comparison speaks the protocol of what it is compared with."""
        folder = Path(self.mktemp())
        folder.mkdir()
        setup = Setup(folder=folder)
        port = rig.free_port(socket.SOCK_DGRAM)
        command = python("benchmarks.null_bridge", "--udp", port)
        with Child("null bridge", command, folder / "null.log", talks=True) as bridge:
            bridge.hear()
            with rig.phones(setup, "push", port, "push", count=50, rate=1000) as push:
                push.hear()
                push.tell()
                told = push.hear(30)

        self.assertEqual((told["acked"], told["repeats"], told["lost"]), (50, 0, 0))
