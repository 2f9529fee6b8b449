"""
Answers chat texts to the bridge itself, or to a person's own number, as commands.

``help``, ``status``, ``log 5``, ``send +12025550123 hello``, ``*100#`` and so on; see `menu`.  A
word that begins with ``%`` before or behind the command's name says which line is meant.  Who may
write here was decided before; errors are sentences, never exceptions.
"""

from __future__ import annotations

from twisted.internet.defer import Deferred
from twisted.logger import Logger

from smsbridge.core.directory import Person
from smsbridge.errors import REASONS, Failure
from smsbridge.gateways.xmpp.menu import (
    Argument,
    Asker,
    Command,
    Kinds,
    Menu,
    Unfit,
    Values,
    command_named,
    is_ussd,
    said_of,
)

__all__ = ["Bot"]

_LONGEST_COMMAND = 20_000


class Bot:
    """Speaks with persons."""

    log = Logger()

    def __init__(self, menu: Menu) -> None:
        self._menu = menu

    def answer(
        self,
        person: Person,
        bare_jid: str,
        full_jid: str,
        text: str,
        line: str,
        stanza_id: str = "",
    ) -> Deferred[str]:
        """
        Do what a chat text says; fires with the answer, and never fails.

        :param line: the label of the line whose number was written to; empty for the bridge itself.
        :param stanza_id: the id of the message, so that its repeat does not send a text twice.
        """
        asker = Asker(person=person, bare_jid=bare_jid, full_jid=full_jid, line=line, ref=stanza_id)
        return Deferred.fromCoroutine(self._answer(asker, text))

    async def _answer(self, asker: Asker, text: str) -> str:
        try:
            command, values = _read(asker.person, text)
            return await command.run(self._menu, asker, values)
        except Unfit as e:
            return str(e)
        except Failure as e:
            return said_of(e)
        except Exception:
            # One command that fails must not leave its sender without an answer.
            self.log.failure("a command of {person} failed", person=asker.person.label)
            return REASONS["internal"]


def _read(person: Person, text: str) -> tuple[Command, Values]:
    """Return the command that a text means, with its arguments."""
    rest = text.strip()
    if len(rest) > _LONGEST_COMMAND:
        raise Unfit("That is too long for a command. Send help for what you can send here.")
    line, rest = _line_first(rest)
    word, _, behind = _split(rest)
    if is_ussd("".join(rest.split())):
        word, behind = "ussd", "".join(rest.split())
    if not word:
        raise Unfit("Send help for what you can send here.")
    command = command_named(word.lower().rstrip(".!?") or word, person)
    if command is None:
        raise Unfit(f"I do not know the word {word[:40]!r}. Send help for what you can send here.")
    if not line:
        line, behind = _line_first(behind)
    values: dict[str, tuple[str, ...]] = {"line": (line,)} if line else {}
    for argument in command.arguments:
        if argument.kind != Kinds.LINE:
            behind = _take(argument, behind, values)
    if behind:
        raise Unfit(f"That has a word too many; send {command.usage}")
    return command, values


def _split(text: str) -> tuple[str, str, str]:
    """Return the first word, what stands between, and the rest as it was typed."""
    parts = text.split(maxsplit=1)
    if not parts:
        return "", "", ""
    return parts[0], " ", parts[1] if len(parts) > 1 else ""


def _line_first(text: str) -> tuple[str, str]:
    """Take a word such as ``%work`` from the front."""
    word, _, rest = _split(text)
    if word.startswith("%") and len(word) > 1:
        return word[1:], rest
    return "", text


def _take(argument: Argument, text: str, values: dict[str, tuple[str, ...]]) -> str:
    """Take an argument from the front of a text; returns what is left."""
    if not text:
        return ""
    if argument.kind == Kinds.TEXT:
        values[argument.name] = (text,)
        return ""
    if argument.kind == Kinds.CHOICES:
        values[argument.name] = tuple(text.split())
        return ""
    word, _, rest = _split(text)
    values[argument.name] = (word,)
    return rest
