"""
What a person at a terminal or a script can do to a simulated box; see `smsbridge.simulation`.

A script can wait for two things more: ``until registered`` (every line is) and ``until burst`` (it
is over).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping

from attrs import frozen

from smsbridge.gateways.goip.simulator.box import Box
from smsbridge.gateways.goip.simulator.commands import describe, help_text, run_line
from smsbridge.gateways.goip.simulator.journal import Happening
from smsbridge.simulation import CommandError, Prompt

__all__ = ["BoxStage", "prompt_of"]


def prompt_of(box: Box, on_quit: Callable[[], None], *, quiet: bool = False) -> Prompt:
    """
    Return the prompt of a box.

    :param quiet: nothing is told that was not asked for.
    """

    def carry_out(line: str) -> list[str]:
        word, *words = line.split()
        return help_text(words) if word in ("help", "?") else run_line(box, line)

    def tell(happening: Happening) -> None:
        sentence = describe(happening)
        if sentence is not None:
            prompt.tell(sentence)

    prompt = Prompt(carry_out, on_quit)
    if not quiet:
        box.journal.observers.append(tell)
    return prompt


@frozen
class BoxStage:
    """What a script is performed on; see `smsbridge.simulation.Stage`."""

    box: Box

    def run_line(self, line: str) -> list[str]:
        """See `Stage.run_line`."""
        return run_line(self.box, line)

    def count(self, name: str) -> int:
        """See `Stage.count`."""
        counters = self.box.journal.counters()
        if name not in counters:
            raise CommandError(f"there is no counter {name!r}; counters: {', '.join(counters)}")
        return counters[name]

    def moments(self) -> Mapping[str, Callable[[], bool]]:
        """See `Stage.moments`."""
        return {"registered": self._registered, "burst": self._burst_over}

    def _registered(self) -> bool:
        return all(channel.registered for channel in self.box.channels)

    def _burst_over(self) -> bool:
        return self.box.burst is not None and self.box.burst.finished_at_s is not None
