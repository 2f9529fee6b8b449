"""Tests that the manual's pages on commands and operations say what is so."""

from __future__ import annotations

import runpy

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli.program import COMMANDS
from smsbridge.logs import FIELDS
from smsbridge.media.store import MediaStatistics
from smsbridge.metrics import Counts, Exposition
from smsbridge.store.writer import WriterStatistics
from tests.cli.daemon import ROOT


class CommandsPageTests(SynchronousTestCase):
    """docs/commands.rst."""

    def test_page_is_up_to_date(self) -> None:
        """Every command is on the page as it explains itself."""
        generator = ROOT / "docs" / "generate_commands.py"

        for path, text in runpy.run_path(str(generator))["generated"]().items():
            self.assertEqual(
                path.read_text(encoding="utf-8"),
                text,
                f"{path.name} is out of date; run: python docs/generate_commands.py",
            )

    def test_every_command_has_a_heading(self) -> None:
        """No command is left out."""
        page = (ROOT / "docs" / "commands.rst").read_text(encoding="utf-8")

        for commands in COMMANDS.values():
            for name in commands:
                self.assertIn(f"\nsmsbridge {name}\n~~~~", page)


class OperationsPageTests(SynchronousTestCase):
    """docs/operations.rst."""

    page = (ROOT / "docs" / "operations.rst").read_text(encoding="utf-8")

    def test_every_metric_is_explained(self) -> None:
        """Each number that Prometheus reads is in the table, and nothing else."""
        exposition = Exposition(Counts(), WriterStatistics)
        exposition.files = MediaStatistics
        families = exposition.collect()
        names = {
            family.name + ("_total" if family.type == "counter" else "") for family in families
        }
        explained = {
            line.split("``")[1]
            for line in self.page.splitlines()
            if line.startswith("``smsbridge_")
        }

        self.assertEqual(explained, names)

    def test_every_field_of_the_log_is_named(self) -> None:
        """Whoever reads the log as JSON knows what may be in it."""
        for field in FIELDS:
            self.assertIn(f"``{field}``", self.page)
