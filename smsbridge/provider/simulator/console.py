"""
What a person or a script can tell a played provider to do: lines in, lines out.

In a script there are four words more::

    # a comment
    wait 2.5                    let seconds pass
    until sent 1 30             wait until something happened so often, at most 30 s
    expect refused 0            stop with an error unless it happened so often
    quit                        end; without it the provider plays on
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final, get_args

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.protocol import connectionDone
from twisted.internet.task import deferLater
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from smsbridge.core.message import Status
from smsbridge.errors import REASONS
from smsbridge.provider.simulator.behaviors import BEHAVIORS
from smsbridge.provider.simulator.mirror import DoubleText, Fault
from smsbridge.provider.simulator.pictures import picture
from smsbridge.provider.simulator.server import ORDERS, ProviderDouble

__all__ = ["CommandError", "Prompt", "ScriptError", "Step", "parse", "perform", "run_line"]

GREETING: Final = "Type help for what you can do, quit to stop."
_FAULTS: Final[tuple[str, ...]] = (*get_args(Fault), *ORDERS, "media")
_POLL_S: Final = 0.05
_PATIENCE_S: Final = 60.0


class CommandError(Exception):
    """A line that cannot be carried out; the text tells a person what to do."""


class ScriptError(Exception):
    """A line of a script that is wrong or was not met; the text names the line."""


@frozen
class Command:
    """One thing that can be typed."""

    usage: str
    summary: str
    run: Callable[[ProviderDouble, str], list[str]]


# -- the commands ----------------------------------------------------------------------------------


def _cut(text: str, count: int, usage: str) -> list[str]:
    """Cut so many words off the beginning; the rest comes last, and may be empty."""
    words: list[str] = []
    rest = text.strip()
    while len(words) < count:
        word, _, rest = rest.partition(" ")
        if not word:
            raise CommandError(f"usage: {usage}")
        words.append(word)
        rest = rest.lstrip()
    return [*words, rest.replace("\\n", "\n")]


def _ours(double: ProviderDouble, number: str) -> str:
    if number not in double.numbers:
        raise CommandError(
            f"{number} is not a number of the account; there are {', '.join(double.numbers)}"
        )
    return number


def _known(double: ProviderDouble, remote_id: str) -> DoubleText:
    text = double.texts.find(remote_id)
    if text is None:
        raise CommandError(f"there is no text {remote_id!r}; type texts for a list")
    return text


def _receive(double: ProviderDouble, rest: str) -> list[str]:
    sender, ours, body = _cut(rest, 2, COMMANDS["receive"].usage)
    return [double.receive(sender, _ours(double, ours), body).remote_id]


def _picture(double: ProviderDouble, rest: str) -> list[str]:
    sender, ours, body = _cut(rest, 2, COMMANDS["picture"].usage)
    media = [picture(double.counts["arrived"], kind="jpeg")]
    return [double.receive(sender, _ours(double, ours), body, media).remote_id]


def _group(double: ProviderDouble, rest: str) -> list[str]:
    sender, all_of_them, body = _cut(rest, 2, COMMANDS["group"].usage)
    ours, *others = all_of_them.split(",")
    return [double.receive(sender, _ours(double, ours), body, others=others).remote_id]


def _parts(double: ProviderDouble, rest: str) -> list[str]:
    sender, ours, body = _cut(rest, 2, COMMANDS["parts"].usage)
    pieces = [body[start : start + 67] for start in range(0, len(body), 67)] or [""]
    reference = str(double.counts["arrived"] % 256)
    return [
        double.receive(
            sender, _ours(double, ours), piece, part=(reference, number, len(pieces))
        ).remote_id
        for number, piece in enumerate(pieces, 1)
    ]


def _texts(double: ProviderDouble, rest: str) -> list[str]:
    count = int(rest) if rest.strip().isdecimal() else 20
    return [described(text) for text in list(double.texts)[-count:]] or ["there are none"]


def _status(double: ProviderDouble, rest: str) -> list[str]:
    remote_id, word, reason = _cut(rest, 2, COMMANDS["status"].usage)
    text = _known(double, remote_id)
    try:
        status = Status(word)
    except ValueError:
        raise CommandError("a status is sent, delivered, failed or expired") from None
    if reason and reason not in REASONS:
        raise CommandError(f"a reason is one of {', '.join(REASONS)}")
    if not double.mirror.statuses:
        raise CommandError("this provider does not tell what becomes of texts")
    text.status, text.reason = status, reason
    Deferred.fromCoroutine(double.report(text, status))
    return []


def _again(double: ProviderDouble, rest: str) -> list[str]:
    text = _known(double, rest.strip())
    if text.outbound:
        raise CommandError("this text did not arrive, it was sent; use status")
    double.tell(text)
    return []


def _fault(double: ProviderDouble, rest: str) -> list[str]:
    name, count = _cut(rest, 1, COMMANDS["fault"].usage)
    if name not in _FAULTS:
        raise CommandError(f"a fault is one of {', '.join(_FAULTS)}")
    if count and not count.isdecimal():
        raise CommandError(f"{count!r} is not a number of texts")
    if name == "media":
        double.media_failures = int(count or 1)
    else:
        double.fail(name, int(count or 1))
    return []


def _answer(double: ProviderDouble, rest: str) -> list[str]:
    if rest.strip() not in ("on", "off"):
        raise CommandError("usage: answer on|off")
    double.answers = rest.strip() == "on"
    return []


def _numbers(double: ProviderDouble, rest: str) -> list[str]:
    return [
        f"Ours: {', '.join(double.numbers)}",
        "The last two digits of theirs decide:",
        *(f"  {ending}  {each.sentence}" for ending, each in BEHAVIORS.items()),
    ]


def _counts(double: ProviderDouble, rest: str) -> list[str]:
    found = sorted(double.counts.items())
    return [f"{name} {count}" for name, count in found] or ["nothing happened yet"]


COMMANDS: Final[Mapping[str, Command]] = {
    "receive": Command("receive FROM TO TEXT", "a text arrives (\\n is a line break)", _receive),
    "picture": Command("picture FROM TO [TEXT]", "a text with a picture arrives", _picture),
    "group": Command("group FROM TO,OTHER,... TEXT", "a text to several arrives", _group),
    "parts": Command("parts FROM TO TEXT", "a text arrives in its parts (Vonage)", _parts),
    "again": Command("again ID", "the webhook about a text is repeated", _again),
    "texts": Command("texts [N]", "the last texts, both ways", _texts),
    "status": Command("status ID failed [REASON]", "tell what became of a text", _status),
    "fault": Command("fault NAME [COUNT]", "let the next texts fail", _fault),
    "answer": Command("answer on|off", "whether recipients answer", _answer),
    "numbers": Command("numbers", "which numbers do what", _numbers),
    "counts": Command("counts", "what happened how often", _counts),
}


def described(text: DoubleText) -> str:
    """Write a text in one line."""
    way = "to us" if not text.outbound else str(text.status)
    files = "".join(f" [{each.content_type or '?'} {len(each.data)} bytes]" for each in text.media)
    return (
        f"{text.remote_id}  {text.sender} > {','.join(text.recipients)}  ({way}) "
        f"{text.body!r}{files}"
    )


def run_line(double: ProviderDouble, line: str) -> list[str]:
    """
    Carry out a typed line; returns the lines to show.

    :raises CommandError: it cannot be.
    """
    name, _, rest = line.strip().partition(" ")
    if name in ("help", "?"):
        return _help(rest.strip())
    command = COMMANDS.get(name)
    if command is None:
        raise CommandError(f"there is no command {name!r}; type help for a list")
    return command.run(double, rest)


def _help(name: str) -> list[str]:
    if name in COMMANDS:
        lines = [COMMANDS[name].usage, f"  {COMMANDS[name].summary}"]
        if name == "fault":
            lines.append(f"  NAME is one of {', '.join(_FAULTS)}")
            lines.append("  media: the next attachments that smsbridge fetches are not there yet")
        return lines
    width = max(len(command.usage) for command in COMMANDS.values()) + 2
    return [
        *(f"  {command.usage:<{width}}{command.summary}" for command in COMMANDS.values()),
        f"  {'quit':<{width}}stop",
    ]


# -- at a terminal ---------------------------------------------------------------------------------


class Prompt(LineOnlyReceiver):
    """
    Read commands and show what happens, until ``quit`` or the end of the input.

    :param on_quit: called once.
    """

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self, double: ProviderDouble, on_quit: Callable[[], None]) -> None:
        self._double = double
        self._on_quit = on_quit
        self._over = False

    def connectionMade(self) -> None:
        """Greet."""
        self._double.told = self._happened
        self._show([GREETING])

    def lineReceived(self, line: bytes) -> None:
        """Carry out a line."""
        text = line.decode("utf-8", "replace").strip()
        if text in ("quit", "exit"):
            self._quit()
            return
        try:
            self._show(run_line(self._double, text) if text else [])
        except CommandError as error:
            self._show([str(error)])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """End with the input."""
        self._quit()

    def _happened(self, sentence: str) -> None:
        if self.transport is not None:
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


def parse(source: str) -> list[Step]:
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
        if word not in COMMANDS and word not in ("wait", "until", "expect", "quit"):
            raise ScriptError(f"line {number}: there is no command {word!r}")
        steps.append(Step(number, text))
    return steps


async def perform(
    clock: Any, double: ProviderDouble, steps: Sequence[Step], show: Callable[[str], None]
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
                await _until(clock, double, words)
            elif word == "expect":
                name, count = _counter(words)
                if double.counts[name] != count:
                    raise CommandError(f"expected {name} {count}, found {double.counts[name]}")
            else:
                for line in run_line(double, step.text):
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


def _counter(words: Sequence[str]) -> tuple[str, int]:
    if len(words) != 2 or not words[1].isdecimal():
        raise CommandError("give what happens and how often, for example: expect sent 1")
    return words[0], int(words[1])


async def _until(clock: Any, double: ProviderDouble, words: Sequence[str]) -> None:
    name, count = _counter(words[:2])
    patience_s = _seconds(words[2:]) if words[2:] else _PATIENCE_S
    deadline_s = clock.seconds() + patience_s
    while double.counts[name] < count:
        if clock.seconds() >= deadline_s:
            raise CommandError(f"waited {patience_s:g} s in vain until {name} {count}")
        await deferLater(clock, _POLL_S)
