"""Decides where a message goes; pure: the directory and the message in, destinations out."""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from typing import Final

from attrs import frozen

from smsbridge.core.address import InvalidNumber, parse_destination
from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Directory, Line, Person
from smsbridge.core.message import FromPerson
from smsbridge.errors import Refused

__all__ = [
    "Outbound",
    "Target",
    "conversation",
    "is_group_text",
    "persons_of",
    "route_outbound",
    "targets_of",
]

_LONGEST_CONVERSATION: Final = 400
_MOST_RECIPIENTS: Final = 1000  # of one message; who has more to tell sends several
_MOST_NAMED: Final = 10  # groups that a refusal lists


@frozen
class Target:
    """One destination on the people's side."""

    person: str
    gateway: str
    destination: str


@frozen
class Outbound:
    """Where a person's message goes."""

    line: Line | None  # None when it goes to persons only
    numbers: tuple[str, ...]  # E.164 or short codes
    persons: tuple[Person, ...]


def conversation(line: str, parties: Iterable[str]) -> str:
    """
    Name a conversation: a line and the set of the other parties.

    A name too long for the column ends in a digest of the parties.
    """
    joined = ",".join(sorted(set(parties)))
    name = f"{line}|{joined}"
    if len(name) <= _LONGEST_CONVERSATION:
        return name
    return f"{line}|sha256:{hashlib.sha256(joined.encode()).hexdigest()}"


def targets_of(directory: Directory, person: Person) -> tuple[Target, ...]:
    """Name the addresses at which a person gets texts, each once however often it is written."""
    return tuple(
        dict.fromkeys(
            Target(person.label, gateway, address)
            for kind in person.receives
            if (gateway := directory.serving.get(kind)) is not None
            for address in person.addresses(kind)
        )
    )


def persons_of(directory: Directory, line: str) -> tuple[Person, ...]:
    """Name the persons who get what arrives on a line; the fallbacks where nobody has it."""
    return directory.persons_of_line.get(line) or directory.fallbacks


def route_outbound(
    directory: Directory, incoming: FromPerson, book: PersonalBook | None = None
) -> Outbound:
    """
    Find the line and the recipients of a person's message.

    :param book: the sender's; it says whom a handle such as ``@family`` means.
    :raises Refused: the person, the line or a recipient is not known or not allowed.
    """
    person = None
    if incoming.person:
        person = directory.persons.get(incoming.person)
        if person is None:
            raise Refused("unknown-person")
    country = (person.country if person is not None else "") or directory.country
    persons: list[Person] = []
    numbers: list[str] = []
    for recipient in incoming.recipients:
        known = directory.persons.get(recipient)
        if known is not None:
            persons.append(known)
        elif recipient.lstrip().startswith("@"):
            numbers.extend(_members(recipient, incoming.person, book))
        else:
            numbers.append(_number(recipient, country))
    if not persons and not numbers:
        raise Refused("empty", "There is no recipient.")
    numbers = list(dict.fromkeys(numbers))
    persons = list(dict.fromkeys(persons))
    if len(numbers) + len(persons) > _MOST_RECIPIENTS:
        raise Refused(
            "unsupported",
            f"One message goes to {_MOST_RECIPIENTS} recipients at most; send it in several parts.",
        )
    line = _line(directory, incoming.line, person) if numbers else None
    if line is not None:
        for number in numbers:
            if line.allow is not None and not line.allow.search(number):
                raise Refused(
                    "destination-not-allowed",
                    f"Line {line.label} may not text {number}; the configuration allows "
                    f"{line.allow.pattern} only.",
                )
        if (
            len(numbers) > 1
            and incoming.group
            and line.groups == "refuse"
            and not line.carries_groups
        ):
            raise Refused(
                "unsupported",
                f"Line {line.label} has no group texts; write to each number, or set "
                "'groups = separate' for the line.",
            )
        if is_group_text(line, incoming, numbers) and len(numbers) > line.most_in_group:
            raise Refused(
                "unsupported",
                f"A group text on line {line.label} goes to {line.most_in_group} numbers at most, "
                f"this one to {len(numbers)}; write to fewer, or set 'groups = separate' for the "
                "line.",
            )
    return Outbound(line, tuple(numbers), tuple(persons))


def is_group_text(line: Line, incoming: FromPerson, numbers: Sequence[str]) -> bool:
    """Tell whether a text is one to all numbers, who see each other, and not copies to each."""
    return incoming.group and len(numbers) > 1 and line.carries_groups and line.groups != "separate"


def _line(directory: Directory, label: str, person: Person | None) -> Line:
    if not label:
        if person is None or not person.lines:
            raise Refused(
                "not-permitted",
                "No line is configured for this person." if person else "Say which line to use.",
            )
        label = person.lines[0]
    line = directory.lines.get(label)
    if line is None or (person is not None and label not in person.lines):
        # One answer for both, so that nobody learns which lines there are.
        raise Refused("unknown-line", f"There is no line {label} for you.")
    if not line.enabled:
        raise Refused("line-disabled", f"Line {label} is switched off in the configuration.")
    return line


def _members(handle: str, person: str, book: PersonalBook | None) -> tuple[str, ...]:
    """Return the numbers of the contacts that a handle means."""
    if not person:
        raise Refused(
            "invalid-number",
            f"{handle.strip()} is a group of somebody's contacts; the operator's texts go to "
            "numbers and persons.",
        )
    groups = book.groups if book is not None else {}
    numbers = groups.get(handle.strip().removeprefix("@").lower())
    if numbers:
        return numbers
    known = [f"@{name}" for name in sorted(groups)]
    if not known:
        there = "you have no groups yet: put contacts into one first."
    elif len(known) > _MOST_NAMED:
        there = f"your groups are {', '.join(known[:_MOST_NAMED])} and others."
    else:
        there = f"your groups are {', '.join(known)}."
    raise Refused("invalid-number", f"There is no group {handle.strip()[:64]}; {there}")


def _number(text: str, country: str) -> str:
    try:
        return parse_destination(text, country)
    except InvalidNumber as e:
        raise Refused("invalid-number", str(e)) from None
