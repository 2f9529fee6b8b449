"""
Run a simulated box from a file: the prompt's commands, and words that wait and check.

::

    # a comment
    until registered            wait until every line is registered (at most 60 s, or N seconds)
    in 1 +12025550123 hello     any command of the prompt
    until radiated 1 30         wait until a text was sent, at most 30 s
    wait 2.5                    let seconds pass
    expect lost 0               stop with an error unless this counter has this value
    quit                        switch the box off; without it the box runs on
"""

from __future__ import annotations

from collections.abc import Callable, Sequence

import attrs
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import deferLater

from smsbridge.gateways.goip.simulator.box import Box
from smsbridge.gateways.goip.simulator.commands import COMMANDS, CommandError, run_line

_POLL_S = 0.05
_PATIENCE_S = 60.0


class ScriptError(Exception):
    """A line of a script that is wrong or was not met; the text names the line."""


@attrs.frozen
class Step:
    """A line of a script that does something."""

    number: int
    text: str


def parse(source: str) -> list[Step]:
    """
    Read a script, so that a wrong word is found before anything runs.

    :raises ScriptError: for a line that starts with no known word.
    """
    steps = []
    for number, raw in enumerate(source.splitlines(), 1):
        text = raw.strip()
        if not text or text.startswith("#"):
            continue
        word = text.split()[0]
        if word not in COMMANDS and word not in ("wait", "until", "expect", "quit"):
            raise ScriptError(f"line {number}: there is no command {word!r}")
        steps.append(Step(number, text))
    return steps


async def perform(
    clock: IReactorTime, box: Box, steps: Sequence[Step], show: Callable[[str], None]
) -> bool:
    """
    Perform a script; returns whether it ended with ``quit``.

    :raises ScriptError: when a line cannot be performed or an expectation is not met.
    """
    for step in steps:
        words = step.text.split()
        try:
            if words[0] == "quit":
                return True
            if words[0] == "wait":
                await deferLater(clock, _seconds(words[1:]))
            elif words[0] == "until":
                await _until(clock, box, words[1:])
            elif words[0] == "expect":
                _expect(box, words[1:])
            else:
                for line in run_line(box, step.text):
                    show(line)
        except CommandError as error:
            raise ScriptError(f"line {step.number}: {error}") from None
    return False


def _seconds(words: Sequence[str]) -> float:
    try:
        (word,) = words
        seconds = float(word)
    except ValueError:
        raise CommandError("give the seconds, for example: wait 2.5") from None
    if not 0 <= seconds < 1e9:
        raise CommandError("give the seconds, for example: wait 2.5")
    return seconds


async def _until(clock: IReactorTime, box: Box, words: Sequence[str]) -> None:
    if words and words[0] == "registered":
        rest = words[1:]

        def reached() -> bool:
            return all(channel.registered for channel in box.channels)

    elif words and words[0] == "burst":
        rest = words[1:]

        def reached() -> bool:
            return box.burst is not None and box.burst.finished_at_s is not None

    else:
        name, value = _counter(box, words[:2], "until")
        rest = words[2:]

        def reached() -> bool:
            return box.journal.counters()[name] >= value

    patience_s = _seconds(rest) if rest else _PATIENCE_S
    deadline_s = clock.seconds() + patience_s
    while not reached():
        if clock.seconds() >= deadline_s:
            raise CommandError(f"waited {patience_s:g} s in vain until {' '.join(words)}")
        await deferLater(clock, _POLL_S)


def _expect(box: Box, words: Sequence[str]) -> None:
    name, value = _counter(box, words, "expect")
    found = box.journal.counters()[name]
    if found != value:
        raise CommandError(f"expected {name} {value}, found {found}")


def _counter(box: Box, words: Sequence[str], verb: str) -> tuple[str, int]:
    counters = box.journal.counters()
    if len(words) != 2 or words[0] not in counters or not words[1].isdecimal():
        raise CommandError(
            f"give a counter and a number, such as {verb} radiated 1; "
            f"counters: {', '.join(counters)}"
        )
    return words[0], int(words[1])
