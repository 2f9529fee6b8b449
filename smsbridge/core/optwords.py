"""
The words by which people end texts from a number, and the one text that each is answered with.

`parse` reads a body; `Words` acts on it for lines with ``opt_out = bridge``.  The text itself goes
to its persons like any other: nothing is swallowed here.  What a provider dealt with itself never
comes here, and the words of its country's rules are the same: STOP, START and HELP, as CTIA's
messaging principles list them, with their usual synonyms.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable
from typing import Any, Final

from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

from smsbridge.core.address import is_e164, mask
from smsbridge.core.directory import Line, World
from smsbridge.core.message import Accepted, FromPerson
from smsbridge.errors import Refused, TemporaryFailure

__all__ = ["HELP", "START", "STOP", "Words", "parse", "refusal", "sentence"]

STOP: Final = "stop"
START: Final = "start"
HELP: Final = "help"

_WORDS: Final = {
    **dict.fromkeys(
        ("stop", "stopall", "unsubscribe", "cancel", "end", "quit", "revoke", "optout"), STOP
    ),
    **dict.fromkeys(("stop all", "opt out", "opt-out"), STOP),
    **dict.fromkeys(("start", "unstop"), START),
    **dict.fromkeys(("help", "info"), HELP),
}
#: Longer texts hold no word alone, whatever stands around it.
_LONGEST: Final = 40
#: What people and their keyboards put around a word.
_BEFORE: Final = re.compile(r"^[\s\"'\u2018\u2019\u201c\u201d]+")
_AFTER: Final = re.compile(r"[\s\"'\u2018\u2019\u201c\u201d.,;:!?\u2026]+$")
_BLANKS: Final = re.compile(r"\s+")

_PAUSE_S: Final = 3600.0
_MOST_REMEMBERED: Final = 10_000


def parse(body: str, prefix: str = "", is_out: bool = False) -> str | None:
    """
    Return `STOP`, `START` or `HELP` if a text is such a word and nothing else, or None.

    Capitals, quotation marks around it and punctuation behind it do not matter.

    :param prefix: what must stand before the word.
    :param is_out: whether the sender is out; only then YES means `START`, because it is the answer
        to many other things.
    """
    body = body.strip()
    if len(body) > _LONGEST + len(prefix):
        return None
    said = _AFTER.sub("", _BEFORE.sub("", body)).casefold()
    if prefix:
        wanted = prefix.casefold()
        if not said.startswith(wanted):
            return None
        said = said[len(wanted) :].lstrip()
    said = _BLANKS.sub(" ", said)
    if is_out and said == "yes":
        return START
    return _WORDS.get(said)


def sentence(word: str, line: Line) -> str:
    """Return what a word is answered with."""
    number = line.number or "this number"
    prefix = line.opt_out_prefix
    match word:
        case "stop":
            return (
                f"You will get no more texts from {number}. Write {prefix}START to get them again."
            )
        case "start":
            return f"You will get texts from {number} again. Write {prefix}STOP to end them."
        case _:
            return line.opt_out_help or (
                f"This is {number}. Write {prefix}STOP to get no more texts from this number, "
                f"{prefix}START to get them again."
            )


def refusal(line: Line, number: str) -> Refused:
    """Return what whoever writes to a number that is out is told."""
    return Refused(
        "opted-out",
        f"{number} asked to get no more texts from line {line.label}. It gets them again when "
        f"somebody there writes {line.opt_out_prefix}START, or when the operator says 'smsbridge "
        f"opt-out remove {line.label} {number}'.",
    )


class Words:
    """
    Deals with the words that arrive on lines with ``opt_out = bridge``.

    :param answer: queues an answer past the check that its recipient is out.
    :param withdraw: gives up what still waits to be sent from a line to a number.
    :param seconds: a clock that never goes back.
    """

    log = Logger()

    def __init__(
        self,
        world: World,
        answer: Callable[[FromPerson], Deferred[Accepted]],
        withdraw: Callable[[str, str], Deferred[int]],
        seconds: Callable[[], float],
    ) -> None:
        self._world = world
        self._answer = answer
        self._withdraw = withdraw
        self._seconds = seconds
        # When which word was answered last, and the last word of each number.
        self._answered: OrderedDict[tuple[str, str, str], float] = OrderedDict()
        self._last: OrderedDict[tuple[str, str], str] = OrderedDict()

    def heard(
        self, line: Line, sender: str, body: str, accepting: Deferred[Accepted]
    ) -> Deferred[Accepted]:
        """
        Do what a text asks for once it is committed; returns what its gateway shall wait for.

        The gateway's peer is acknowledged only when the wish is kept, too; so a repeat of the text
        after a crash in between does the rest. Repeats are not answered.

        :param sender: as it was stored.
        """
        opt_outs = self._world.opt_outs
        out = opt_outs is not None and opt_outs.is_out(line.label, sender)
        word = parse(body, line.opt_out_prefix, out)
        if word is None or not sender:
            return accepting
        acting: Deferred[Accepted] = accepting.addCallback(
            lambda accepted: Deferred.fromCoroutine(self._act(accepted, line, sender, word))
        )
        return acting

    async def _act(self, accepted: Accepted, line: Line, sender: str, word: str) -> Accepted:
        key = (line.label, sender)
        if accepted.duplicate and self._last.get(key, word) != word:
            return accepted  # a late repeat must not undo what was written after it
        self._note(self._last, key, word)
        if not await self._changed(line.label, sender, word, accepted.duplicate):
            return accepted
        if word != HELP:
            self.log.info(
                "line {line}: {peer} wrote {word} and is {state}",
                line=line.label,
                peer=mask(sender),
                word=word.upper(),
                state="out" if word == STOP else "back in",
            )
        if not accepted.duplicate:
            self._tell(line, sender, word, accepted.message_id)
        return accepted

    async def _changed(self, line: str, sender: str, word: str, is_repeat: bool) -> bool:
        """Do what a word says; tells whether there is something to answer."""
        opt_outs = self._world.opt_outs
        if opt_outs is None or word == HELP:
            return word == HELP
        if word == START:
            return await opt_outs.opt_in(line, sender)
        is_new = await opt_outs.opt_out(line, sender, "words")
        if is_new or is_repeat:
            # A repeat may be here because a crash kept the first one from doing this.
            await self._withdraw(line, sender)
        return is_new

    def _tell(self, line: Line, sender: str, word: str, message_id: str) -> None:
        """Send the answer, unless the sender is a machine or had it within the hour."""
        # A short code or a name is a machine or cannot be written to, and two lines of ours would
        # answer each other.
        if not is_e164(sender) or sender in self._world.directory.line_by_number:
            return
        key = (line.label, sender, word)
        now_s = self._seconds()
        if now_s - self._answered.get(key, -_PAUSE_S) < _PAUSE_S:
            return
        self._note(self._answered, key, now_s)
        answer = FromPerson(
            person="",
            recipients=(sender,),
            body=sentence(word, line),
            line=line.label,
            dedup_key=f"answer to {message_id}",
        )
        maybeDeferred(self._answer, answer).addErrback(self._not_answered, line, sender, word)

    def _not_answered(self, failure: Any, line: Line, sender: str, word: str) -> None:
        # The wish itself is kept; whether the confirmation can go out is a matter of its own.
        if failure.check(Refused, TemporaryFailure):
            self.log.warn(
                "line {line}: {peer} gets no answer to {word}: {reason}",
                line=line.label,
                peer=mask(sender),
                word=word.upper(),
                reason=failure.value.text,
            )
            return
        self.log.failure("an answer to {word} was not stored", failure, word=word.upper())

    @staticmethod
    def _note(noted: OrderedDict[Any, Any], key: Any, value: Any) -> None:
        noted[key] = value
        noted.move_to_end(key)
        if len(noted) > _MOST_REMEMBERED:
            noted.popitem(last=False)
