"""
Address books as people carry them about (vCard: RFC 2426, RFC 6350), and the shelf of all books.

Cards are read tolerantly: one that is broken, and a number that is none, hide nothing else.
Reading a large file takes seconds: call `read_cards`, `write_cards` and `CardFiles.refresh` in a
thread.  No file is written here, and what persons enter is kept by the store.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from itertools import islice
from pathlib import Path
from typing import Any, Final

import vobject  # type: ignore[import-untyped]
from attrs import define, evolve, field, frozen
from twisted.logger import Logger

from smsbridge.core.address import InvalidNumber, parse_destination, parse_number
from smsbridge.core.book import Book, Contact, PersonalBook
from smsbridge.core.message import storable
from smsbridge.errors import Refused

__all__ = [
    "LONGEST_NAME",
    "LONGEST_NOTE",
    "MOST_GROUPS",
    "MOST_NUMBERS",
    "CardFiles",
    "Cards",
    "Shelf",
    "Wanted",
    "checked",
    "groups_of",
    "names_of",
    "read_cards",
    "write_cards",
]

LONGEST_NAME: Final = 100
LONGEST_NOTE: Final = 2000
_LONGEST_LABEL: Final = 32
MOST_NUMBERS: Final = 20
MOST_GROUPS: Final = 20
_LARGEST_FILE: Final = 32 * 1024 * 1024
_MOST_COMPLAINTS: Final = 100

_EDGE = re.compile(r"^(BEGIN|END):VCARD[ \t]*$", re.MULTILINE | re.IGNORECASE)
_BEGIN = re.compile(r"^BEGIN:VCARD[ \t\r]*$", re.MULTILINE | re.IGNORECASE)
_LARGEST_CARD: Final = 64 * 1024  # without pictures
_LARGEST_WITH_PICTURES: Final = 2 * 1024 * 1024
_MOST_LINES: Final = 2000  # of a card without pictures; each costs as much time as a whole card
# Pictures are most of a file and of the time that it takes to read it; nobody asks for them.
_PICTURE = re.compile(
    r"^(?:[\w-]+\.)?(?:PHOTO|LOGO|SOUND|KEY)[;:].*\n(?:[ \t].*\n)*", re.MULTILINE | re.IGNORECASE
)
_HANDLE = re.compile(r"\w[\w.-]{0,63}")
#: How vCards name the common kinds of telephone, and how we do.
_LABELS: Final = {"cell": "mobile", "home": "home", "work": "work", "main": "main"}
#: What Google's export puts every contact into.
_NO_GROUPS: Final = frozenset({"mycontacts", "starred"})


@frozen
class Cards:
    """What a vCard file holds; `skipped` has a sentence for each card that is of no use."""

    contacts: tuple[Contact, ...]
    skipped: tuple[str, ...] = ()


def read_cards(text: str, country: str, most: int = 0) -> Cards:
    """
    Return the contacts in the text of a vCard file, in its order.

    :param country: two letters, for numbers without a country code.
    :param most: how many cards the file may have; 0 is no bound.
    :raises Refused: it has more.
    """
    if most and sum(1 for _ in islice(_BEGIN.finditer(text), most + 1)) > most:
        raise Refused("too-long", f"The file has more than {most} cards; import a part of them.")
    contacts: list[Contact] = []
    skipped: list[str] = []
    for place, card in enumerate(_cards(text), start=1):
        if card is None:
            skipped.append(f"Card {place} cannot be read.")
            continue
        name = _name_of(card)
        numbers = tuple(dict(_numbers_of(card, country)).items())[:MOST_NUMBERS]
        if not name or not numbers:
            lacks = "number that can be texted" if name else "name"
            shown = f" ({name})" if name else ""
            skipped.append(f"Card {place}{shown} has no {lacks}.")
            continue
        contacts.append(
            Contact(name=name, numbers=numbers, groups=_groups_in(card), note=_note_of(card))
        )
    if len(skipped) > _MOST_COMPLAINTS:
        more = len(skipped) - _MOST_COMPLAINTS
        skipped[_MOST_COMPLAINTS:] = [f"{more} more cards are of no use either."]
    return Cards(tuple(contacts), tuple(skipped))


def _cards(text: str) -> Iterator[Any]:
    # One card at a time: a fault in one must not hide the others.
    text = text.replace("\r\n", "\n")
    begin = None
    for edge in _EDGE.finditer(text):
        if edge[1].upper() == "BEGIN":
            begin = edge.start()
        elif begin is not None:
            yield _read(text[begin : edge.end()])
            begin = None


def _read(card: str) -> Any:
    if len(card) > _LARGEST_WITH_PICTURES:
        return None
    card = _PICTURE.sub("", card)
    if len(card) > _LARGEST_CARD or len(card.splitlines()) > _MOST_LINES:
        return None
    try:
        return vobject.readOne(card, allowQP=True)
    except Exception:  # the library raises whatever a broken card provokes
        return None


def _values(card: Any, name: str) -> Iterator[str]:
    for each in card.contents.get(name, ()):
        value = each.value
        yield storable(" ".join(map(str, value)) if isinstance(value, list) else str(value))


def _name_of(card: Any) -> str:
    for attribute in ("fn", "nickname", "org"):
        for value in _values(card, attribute):
            text = " ".join(value.split())[:LONGEST_NAME]
            if text:
                return text
    return ""


def _note_of(card: Any) -> str:
    return "\n".join(value.strip() for value in _values(card, "note")).strip()[:LONGEST_NOTE]


def _groups_in(card: Any) -> tuple[str, ...]:
    found: dict[str, None] = {}
    for each in card.contents.get("categories", ()):
        for value in each.value if isinstance(each.value, list) else [each.value]:
            handle = _handle(storable(str(value)))
            if handle and handle not in _NO_GROUPS:
                found[handle] = None
    return tuple(found)[:MOST_GROUPS]


def _handle(text: str) -> str:
    """Return a handle as it is kept, without the @; empty if it cannot be one."""
    handle = "-".join(text.strip().removeprefix("@").lower().split())
    return handle if _HANDLE.fullmatch(handle) else ""


def _numbers_of(card: Any, country: str) -> Iterator[tuple[str, str]]:
    labels = {each.group: str(each.value) for each in card.contents.get("x-ablabel", ())}
    for each in card.contents.get("tel", ()):
        # An extension behind a switchboard sends no texts; its number may belong to many.
        text = str(each.value).strip()
        if ";ext=" in text.lower():
            continue
        try:
            number = parse_number(text, country)
        except InvalidNumber:
            continue
        # Of a label that an address book of Apple's made, the words are between marks.
        label = labels.get(each.group, "").strip().removeprefix("_$!<").removesuffix(">!$_")
        kinds = [str(kind).lower() for kind in each.params.get("TYPE", [])]
        kinds.extend(name.lower() for name in each.params)  # version 2.1 writes TEL;CELL:
        kind = next((_LABELS[kind] for kind in kinds if kind in _LABELS), "")
        yield number, storable(label.lower() or kind)[:_LONGEST_LABEL]


def write_cards(contacts: Iterable[Contact]) -> str:
    """Return contacts as vCards of version 3.0 (RFC 2426), which all address books read."""
    return "".join(map(_card, contacts))


def _card(contact: Contact) -> str:
    card = vobject.vCard()
    card.add("fn").value = contact.name
    given, _, family = contact.name.rpartition(" ")
    card.add("n").value = vobject.vcard.Name(family=family if given else "", given=given or family)
    kinds = {label: kind.upper() for kind, label in _LABELS.items()}
    for place, (number, label) in enumerate(contact.numbers, start=1):
        tel = card.add("tel")
        tel.value = number
        if label in kinds:
            tel.type_param = kinds[label]
        elif label:
            tel.group = f"item{place}"
            told = card.add("x-ablabel")
            told.value, told.group = label, tel.group
    if contact.groups:
        card.add("categories").value = list(contact.groups)
    if contact.note:
        card.add("note").value = contact.note
    text: str = card.serialize()
    return text


def names_of(contacts: Iterable[Contact]) -> dict[str, str]:
    """
    Return the names by number.

    Several contacts may have one number; the shortest name wins, then the first in the alphabet, so
    that the answer does not depend on the order.
    """
    found: dict[str, str] = {}
    for contact in contacts:
        name = contact.name
        for number, _ in contact.numbers:
            known = found.get(number)
            if known is None or (len(name), name) < (len(known), known):
                found[number] = name
    return found


def groups_of(contacts: Iterable[Contact]) -> dict[str, tuple[str, ...]]:
    """Return the first number of each contact by handle, in the order of the contacts."""
    found: dict[str, dict[str, None]] = {}
    for contact in contacts:
        for handle in contact.groups:
            if contact.numbers:
                found.setdefault(handle, {})[contact.numbers[0][0]] = None
    return {handle: tuple(numbers) for handle, numbers in found.items()}


def checked(contact: Contact, country: str) -> Contact:
    """
    Return a contact that a person entered as it is kept.

    :param country: two letters, for numbers without a country code.
    :raises Refused: something of it cannot be kept.
    """
    name = " ".join(storable(contact.name).split())
    if not name:
        raise Refused("empty", "Give the contact a name.")
    if len(name) > LONGEST_NAME:
        raise Refused("too-long", f"A name has {LONGEST_NAME} characters at most.")
    note = storable(contact.note).strip()
    if len(note) > LONGEST_NOTE:
        raise Refused("too-long", f"A note has {LONGEST_NOTE} characters at most.")
    numbers: dict[str, str] = {}
    for text, label in contact.numbers:
        try:
            number = parse_destination(storable(text), country)
        except InvalidNumber as e:
            raise Refused("invalid-number", str(e)) from None
        numbers.setdefault(number, " ".join(storable(label).split())[:_LONGEST_LABEL])
    if not numbers:
        raise Refused("invalid-number", "Give the contact a number.")
    if len(numbers) > MOST_NUMBERS:
        raise Refused("unsupported", f"A contact has {MOST_NUMBERS} numbers at most.")
    groups: dict[str, None] = {}
    for group in contact.groups:
        handle = _handle(storable(group))
        if not handle:
            raise Refused(
                "unsupported",
                f"{group!r} cannot be a group; write letters, digits, dots and hyphens, such as "
                "@family.",
            )
        groups[handle] = None
    if len(groups) > MOST_GROUPS:
        raise Refused("unsupported", f"A contact is in {MOST_GROUPS} groups at most.")
    return evolve(
        contact, name=name, numbers=tuple(numbers.items()), groups=tuple(groups), note=note
    )


@define
class _Sources:
    """What one person's book is made of."""

    own_names: Mapping[str, str] = field(factory=dict)
    own_groups: Mapping[str, tuple[str, ...]] = field(factory=dict)
    card_names: Mapping[str, str] = field(factory=dict)
    card_groups: Mapping[str, tuple[str, ...]] = field(factory=dict)
    cards: tuple[Contact, ...] = ()
    blocked: frozenset[str] = frozenset()

    def book(self) -> PersonalBook:
        groups = dict(self.card_groups)
        for handle, numbers in self.own_groups.items():
            groups[handle] = tuple(dict.fromkeys((*numbers, *groups.get(handle, ()))))
        return PersonalBook({**self.card_names, **self.own_names}, groups, self.blocked)


class Shelf:
    """
    Makes each person's book of what the person entered and of the vCard file in the configuration.

    :ivar changed: told the person whose contacts or blocked numbers are others now.
    """

    def __init__(self, book: Book) -> None:
        self._book = book
        self._sources: dict[str, _Sources] = {}
        self.changed: Callable[[str], None] = lambda person: None

    def cards(self, person: str) -> tuple[Contact, ...]:
        """Return the contacts of the person's vCard file, by name."""
        sources = self._sources.get(person)
        return sources.cards if sources is not None else ()

    def put_own(self, person: str, contacts: Sequence[Contact]) -> None:
        """Take over what a person entered, all of it."""
        sources = self._of(person)
        sources.own_names, sources.own_groups = names_of(contacts), groups_of(contacts)
        self._take(person, sources)

    def put_cards(self, cards: Mapping[str, tuple[Contact, ...]]) -> None:
        """Take over the contacts of all persons' files, by person."""
        for person in {*cards, *(each for each, known in self._sources.items() if known.cards)}:
            sources = self._of(person)
            contacts = cards.get(person, ())
            if contacts is not sources.cards:
                sources.cards = contacts
                sources.card_names, sources.card_groups = names_of(contacts), groups_of(contacts)
                self._take(person, sources)

    def put_blocked(self, person: str, blocked: frozenset[str]) -> None:
        """Take over the numbers that a person blocks, all of them."""
        sources = self._of(person)
        sources.blocked = blocked
        self._take(person, sources)

    def _of(self, person: str) -> _Sources:
        return self._sources.setdefault(person, _Sources())

    def _take(self, person: str, sources: _Sources) -> None:
        self._book.put(person, sources.book())
        self.changed(person)


@frozen
class Wanted:
    """Whose file to read, and how its national numbers are read."""

    person: str
    path: Path
    country: str


class CardFiles:
    """The contacts in all persons' files, kept as long as their files do not change."""

    log = Logger()

    def __init__(self) -> None:
        self._known: dict[Wanted, tuple[tuple[int, int], tuple[Contact, ...]]] = {}
        self._complained: set[Path] = set()

    def refresh(self, wanted: Iterable[Wanted]) -> dict[str, tuple[Contact, ...]]:
        """
        Return the contacts by person, in the order of their names; blocks while it reads.

        A file that cannot be read is told in the log once; what was read from it before stays.
        """
        found: dict[str, tuple[Contact, ...]] = {}
        kept: dict[Wanted, tuple[tuple[int, int], tuple[Contact, ...]]] = {}
        for each in wanted:
            known = self._known.get(each)
            try:
                status = each.path.stat()
                version = (status.st_mtime_ns, status.st_size)
                if known is None or known[0] != version:
                    known = (version, self._read(each, status.st_size))
                self._complained.discard(each.path)
            except (OSError, ValueError) as e:
                if each.path not in self._complained:
                    self._complained.add(each.path)
                    self.log.warn(
                        "the contacts of {person} cannot be read from {path}: {reason}",
                        person=each.person,
                        path=str(each.path),
                        reason=str(e),
                    )
            if known is not None:
                kept[each] = known
                found[each.person] = known[1]
        self._known = kept
        return found

    def _read(self, wanted: Wanted, size: int) -> tuple[Contact, ...]:
        if size > _LARGEST_FILE:
            raise ValueError("the file is too large for an address book")
        text = wanted.path.read_bytes().decode("utf-8-sig", "replace")
        contacts = read_cards(text, wanted.country).contacts
        self.log.info(
            "{count} contacts of {person} read", count=len(contacts), person=wanted.person
        )
        return tuple(
            evolve(contact, contact_id=f"file:{place}")
            for place, contact in enumerate(
                sorted(contacts, key=lambda contact: contact.name.casefold()), start=1
            )
        )
