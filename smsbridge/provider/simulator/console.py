"""
What a person or a script can tell a played provider to do: lines in, lines out.

Prompt and scripts themselves are in `smsbridge.simulation`.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Final, get_args

from attrs import frozen

from smsbridge.core.message import Status
from smsbridge.errors import REASONS
from smsbridge.provider.simulator.behaviors import BEHAVIORS
from smsbridge.provider.simulator.mirror import DoubleText, Fault
from smsbridge.provider.simulator.pictures import picture
from smsbridge.provider.simulator.server import ORDERS, ProviderDouble
from smsbridge.simulation import CommandError, Prompt

__all__ = ["COMMANDS", "DoubleStage", "prompt_of", "run_line"]

_FAULTS: Final[tuple[str, ...]] = (*get_args(Fault), *ORDERS, "media")


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
    media = [picture(double.counts["arrived"])]
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
    double.begin(double.report(text, status))
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


# -- who drives it ---------------------------------------------------------------------------------


def prompt_of(double: ProviderDouble, on_quit: Callable[[], None]) -> Prompt:
    """Return the prompt of a played provider, which tells what happens."""
    prompt = Prompt(lambda line: run_line(double, line), on_quit)
    double.told = prompt.tell
    return prompt


@frozen
class DoubleStage:
    """What a script is performed on; see `smsbridge.simulation.Stage`."""

    double: ProviderDouble

    def run_line(self, line: str) -> list[str]:
        """See `Stage.run_line`."""
        return run_line(self.double, line)

    def count(self, name: str) -> int:
        """See `Stage.count`; what never happened was counted nought times."""
        return self.double.counts[name]

    def moments(self) -> Mapping[str, Callable[[], bool]]:
        """See `Stage.moments`."""
        return {}
