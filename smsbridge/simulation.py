"""
How people drive what ``smsbridge simulate`` plays: at a prompt, or from a file.

Both take lines and show lines; what a line does is the matter of whoever is played.  In a script
there are four words more than at the prompt::

    # a comment
    wait 2.5                let seconds pass
    until sent 1 30         wait until something was counted so often, at most 30 s
    expect lost 0           stop with an error unless it was counted so often
    quit                    end; without it what is played goes on
"""

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final, Protocol

import click
from attrs import frozen
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

__all__ = ["CommandError", "Prompt", "ScriptError", "Stage", "Step", "parse", "perform", "steps_in"]

GREETING: Final = "Type help for what you can do, quit to stop."
_WORDS: Final = ("wait", "until", "expect", "quit")
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 60.0


class CommandError(Exception):
    """A line that cannot be carried out; the text tells a person what to do."""


class ScriptError(Exception):
    """A line of a script that is wrong or was not met; the text names the line."""


# -- at a terminal ---------------------------------------------------------------------------------


class Prompt(LineOnlyReceiver):
    """
    Read commands and show what happens, until ``quit`` or the end of the input.

    :param run_line: carries out a line and returns what to show, or raises `CommandError`.
    :param on_quit: called once.
    """

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self, run_line: Callable[[str], Sequence[str]], on_quit: Callable[[], None]):
        self._run_line = run_line
        self._on_quit = on_quit
        self._over = False

    def connectionMade(self) -> None:
        """Greet."""
        self._show([GREETING])

    def lineReceived(self, line: bytes) -> None:
        """Carry out a line."""
        text = line.decode("utf-8", "replace").strip()
        if text in ("quit", "exit"):
            self._quit()
            return
        try:
            self._show(self._run_line(text) if text else [])
        except CommandError as error:
            self._show([str(error)])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End with the input."""
        self._quit()

    def tell(self, sentence: str) -> None:
        """Show what happened by itself, above what is being typed."""
        if self.transport is not None and not self._over:
            self.transport.write(f"\r{sentence}\n> ".encode("utf-8", "replace"))

    def _show(self, lines: Sequence[str]) -> None:
        if self.transport is not None:
            text = "".join(f"{line}\n" for line in lines)
            self.transport.write(f"{text}> ".encode("utf-8", "replace"))

    def _quit(self) -> None:
        if not self._over:
            self._over = True
            self._on_quit()


# -- from a file -----------------------------------------------------------------------------------


@frozen
class Step:
    """A line of a script that does something."""

    number: int
    text: str


class Stage(Protocol):
    """What a script is performed on."""

    def run_line(self, line: str) -> Sequence[str]:
        """
        Carry out a line of the prompt's.

        :raises CommandError: it cannot be.
        """

    def count(self, name: str) -> int:
        """
        Return how often something happened.

        :raises CommandError: nothing is called so.
        """

    def moments(self) -> Mapping[str, Callable[[], bool]]:
        """Return what ``until`` can wait for by name alone, and whether it has come."""


def parse(source: str, commands: Collection[str]) -> list[Step]:
    """
    Read a script, so that a wrong word is found before anything runs.

    :raises ScriptError: a line starts with no known word.
    """
    steps = []
    for number, raw in enumerate(source.splitlines(), 1):
        text = raw.strip()
        if not text or text.startswith("#"):
            continue
        word = text.split()[0]
        if word not in commands and word not in _WORDS:
            raise ScriptError(f"line {number}: there is no command {word!r}")
        steps.append(Step(number, text))
    return steps


def steps_in(path: str, commands: Collection[str]) -> list[Step]:
    """
    Read the file that ``--script`` names; ``-`` is the standard input.

    :raises click.BadParameter: it cannot be read, or is wrong.
    """
    try:
        with click.open_file(path, encoding="utf-8") as file:
            return parse(file.read(), commands)
    except OSError as error:
        raise click.BadParameter(f"{path}: {error.strerror}", param_hint="--script") from None
    except UnicodeDecodeError:
        raise click.BadParameter(f"{path} is not UTF-8 text", param_hint="--script") from None
    except ScriptError as error:
        raise click.BadParameter(f"{path}: {error}", param_hint="--script") from None


async def perform(
    clock: Any, stage: Stage, steps: Sequence[Step], show: Callable[[str], None]
) -> bool:
    """
    Perform a script; returns whether it ended with ``quit``.

    :raises ScriptError: a line cannot be performed, or an expectation is not met.
    """
    for step in steps:
        word, *words = step.text.split()
        try:
            if word == "quit":
                return True
            if word == "wait":
                await deferLater(clock, _seconds(words))
            elif word == "until":
                await _until(clock, stage, words)
            elif word == "expect":
                name, count = _counted(stage, words, word)
                if stage.count(name) != count:
                    raise CommandError(f"expected {name} {count}, found {stage.count(name)}")
            else:
                for line in stage.run_line(step.text):
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


def _counted(stage: Stage, words: Sequence[str], verb: str) -> tuple[str, int]:
    if len(words) != 2 or not words[1].isdecimal():
        raise CommandError(f"give what is counted and how often, for example: {verb} sent 1")
    stage.count(words[0])
    return words[0], int(words[1])


async def _until(clock: Any, stage: Stage, words: Sequence[str]) -> None:
    come = stage.moments().get(words[0]) if words else None
    rest = words[1:]
    if come is None:
        name, count = _counted(stage, words[:2], "until")
        rest = words[2:]

        def enough() -> bool:
            return stage.count(name) >= count

        come = enough

    patience_s = _seconds(rest) if rest else _PATIENCE_S
    deadline_s = clock.seconds() + patience_s
    while not come():
        if clock.seconds() >= deadline_s:
            raise CommandError(f"waited {patience_s:g} s in vain until {' '.join(words)}")
        await deferLater(clock, _POLL_S)
