"""Tiny runs of the benchmarks that need a real Prosody."""

from __future__ import annotations

import tempfile
from pathlib import Path
from types import ModuleType

from twisted.trial.unittest import SynchronousTestCase

from benchmarks import backlog, hook_xmpp, inbound, outbound
from benchmarks.figures import Section
from benchmarks.rig import Setup


class SmokeTests(SynchronousTestCase):
    """Each benchmark runs, and loses and doubles nothing."""

    def run_tiny(self, module: ModuleType, **options: str) -> Section:
        """Run a benchmark for a moment."""
        folder = tempfile.TemporaryDirectory(prefix="smsb-")
        self.addCleanup(folder.cleanup)
        setup = Setup(folder=Path(folder.name), scale=0.001, options=options)
        section: Section
        (section,) = module.run(setup)
        return section

    def total(self, section: Section, name: str) -> float:
        """Add up one column."""
        return sum(float(str(row[section.columns.index(name)])) for row in section.rows)

    def test_inbound(self) -> None:
        """Every text that was pushed reaches its user, once."""
        section = self.run_tiny(inbound, windows="16")

        self.assertEqual(len(section.rows), 4)
        self.assertEqual(self.total(section, "missing"), 0)
        self.assertEqual(self.total(section, "doubles"), 0)
        self.assertEqual(section.details["left_open"], 0)

    def test_hook_xmpp(self) -> None:
        """Every text of a webhook reaches its user, once."""
        section = self.run_tiny(hook_xmpp)

        for column in ("refused", "missing", "doubles"):
            self.assertEqual(self.total(section, column), 0, column)
        self.assertEqual(section.details["left_open"], 0)

    def test_outbound(self) -> None:
        """Every chat message leaves a channel, once, in both modes."""
        section = self.run_tiny(outbound, channels="4")

        self.assertEqual(len(section.rows), 4)
        self.assertEqual(self.total(section, "missing"), 0)
        self.assertEqual(self.total(section, "twice"), 0)
        self.assertEqual(self.total(section, "errors"), 0)

    def test_backlog(self) -> None:
        """Texts that came while Prosody was away reach the users afterwards."""
        section = self.run_tiny(backlog)

        self.assertEqual(self.total(section, "missing"), 0)
        self.assertEqual(self.total(section, "doubles"), 0)
