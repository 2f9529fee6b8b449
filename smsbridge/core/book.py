"""
What persons call the numbers they know: contacts, groups of them as handles, and blocked numbers.

The book is held in memory for all persons; the store keeps what persons entered themselves, and
vCard files named in the configuration add names.  What a person entered goes before the file.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Protocol

from attrs import define, field, frozen
from twisted.internet.defer import Deferred

__all__ = ["Book", "Contact", "Contacts", "PersonalBook"]


@frozen(kw_only=True)
class Contact:
    """One entry of a person's address book."""

    contact_id: str = ""  # empty for a new one; "file:..." for one of the person's vCard file
    name: str
    numbers: tuple[tuple[str, str], ...] = ()  # (E.164 or short code, label such as "mobile")
    groups: tuple[str, ...] = ()  # handles, without the @
    note: str = ""


@frozen
class PersonalBook:
    """What one person calls whom."""

    names: Mapping[str, str] = field(factory=dict)  # number -> name
    groups: Mapping[str, tuple[str, ...]] = field(factory=dict)  # handle -> numbers
    blocked: frozenset[str] = frozenset()


@define
class Book:
    """
    All persons' books; read by everybody, written through `put` when something changes.

    :ivar blockers: number -> the persons who want nothing from it; mostly empty, so that the way of
        a text from the network looks no further.
    """

    persons: dict[str, PersonalBook] = field(factory=dict)
    blockers: dict[str, frozenset[str]] = field(init=False, factory=dict)

    def __attrs_post_init__(self) -> None:
        """Find who blocks whom."""
        self._find_blockers()

    def put(self, person: str, book: PersonalBook) -> bool:
        """Replace one person's book; tells whether it was another before."""
        known = self.of(person)
        if book == known:
            return False
        if book == _EMPTY:
            self.persons.pop(person, None)
        else:
            self.persons[person] = book
        if book.blocked != known.blocked:
            self._find_blockers()
        return True

    def _find_blockers(self) -> None:
        found: dict[str, set[str]] = {}
        for person, book in self.persons.items():
            for number in book.blocked:
                found.setdefault(number, set()).add(person)
        self.blockers = {number: frozenset(persons) for number, persons in found.items()}

    def of(self, person: str) -> PersonalBook:
        """Return one person's book; an empty one for somebody without."""
        return self.persons.get(person, _EMPTY)

    def name(self, person: str, number: str) -> str:
        """Return what a person calls a number; empty if nothing."""
        return self.of(person).names.get(number, "")


_EMPTY = PersonalBook()


class Contacts(Protocol):
    """
    Keeps what persons enter; the `Book` in memory is up to date when a Deferred fires.

    :raises Refused: a number cannot be understood, or there is no such entry of this person.
    """

    def all(self, person: str) -> Deferred[list[Contact]]:
        """List a person's contacts by name, those of the vCard file included."""

    def put(self, person: str, contact: Contact) -> Deferred[Contact]:
        """Add or replace a contact; fires with it as it is kept now."""

    def remove(self, person: str, contact_id: str) -> Deferred[bool]:
        """Remove a contact; False if there was none."""

    def import_vcards(self, person: str, text: str) -> Deferred[tuple[int, int, list[str]]]:
        """
        Take the cards of a vCard file over.

        Fires with how many were new, how many were known (and brought up to date), and a sentence
        for each that could not be taken.
        """

    def export_vcards(self, person: str) -> Deferred[str]:
        """Write a person's contacts as vCards (RFC 6350)."""

    def blocked(self, person: str) -> Deferred[Sequence[tuple[str, int]]]:
        """List the numbers that a person blocked, with the time of it (ms)."""

    def block(self, person: str, number: str, blocked: bool) -> Deferred[bool]:
        """Block a number, or no longer; fires with whether that changed anything."""
