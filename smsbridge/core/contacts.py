"""
Reads the names of a person's contacts from a vCard file (RFC 2426, RFC 6350).

Several cards may hold one number; the shortest name wins, then the first in the alphabet, so that
the answer does not depend on the order in the file.  Files are read again when they have changed.
Reading a large file takes seconds: call `ContactBook.refresh` in a thread.  Nothing is written.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any, Final

import vobject  # type: ignore[import-untyped]
from attrs import frozen
from twisted.logger import Logger

from smsbridge.core.address import InvalidNumber, parse_number

__all__ = ["ContactBook", "Wanted", "read_contacts"]

_LARGEST_FILE: Final = 32 * 1024 * 1024
_LONGEST_NAME: Final = 100
_CARD = re.compile(r"^BEGIN:VCARD\s*$.*?^END:VCARD\s*$", re.MULTILINE | re.DOTALL | re.IGNORECASE)


@frozen
class Wanted:
    """Whose file to read, and how its national numbers are read."""

    person: str
    path: Path
    country: str


def read_contacts(text: str, country: str) -> dict[str, str]:
    """
    Return the names by number (E.164) in the text of a vCard file.

    Cards that cannot be read, and numbers that are none, are passed over.

    :param country: two letters, for numbers without a country code.
    """
    found: dict[str, str] = {}
    for card in _cards(text):
        name = _name_of(card)
        if not name:
            continue
        for number in _numbers_of(card, country):
            known = found.get(number)
            if known is None or (len(name), name) < (len(known), known):
                found[number] = name
    return found


def _cards(text: str) -> Iterator[Any]:
    # One card at a time: a fault in one must not hide the others.
    for match in _CARD.finditer(text.replace("\r\n", "\n")):
        try:
            yield vobject.readOne(match.group(), allowQP=True)
        except Exception:  # the library raises whatever a broken card provokes
            continue


def _name_of(card: Any) -> str:
    for attribute in ("fn", "nickname", "org"):
        for each in card.contents.get(attribute, ()):
            value = each.value
            text = " ".join(value) if isinstance(value, list) else str(value)
            text = " ".join(text.split())[:_LONGEST_NAME]
            if text:
                return text
    return ""


def _numbers_of(card: Any, country: str) -> Iterator[str]:
    for each in card.contents.get("tel", ()):
        # An extension behind a switchboard sends no texts; its number may belong to many.
        text = str(each.value).strip()
        if ";ext=" in text.lower():
            continue
        try:
            yield parse_number(text, country)
        except InvalidNumber:
            continue


class ContactBook:
    """The names of all persons' contacts, kept as long as their files do not change."""

    log = Logger()

    def __init__(self) -> None:
        self._known: dict[Wanted, tuple[tuple[int, int], Mapping[str, str]]] = {}
        self._complained: set[Path] = set()

    def refresh(self, wanted: Iterable[Wanted]) -> dict[str, Mapping[str, str]]:
        """
        Return the names by person; blocks while it reads.

        A file that cannot be read is told in the log once; the names read from it before stay.
        """
        names: dict[str, Mapping[str, str]] = {}
        kept: dict[Wanted, tuple[tuple[int, int], Mapping[str, str]]] = {}
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
                names[each.person] = known[1]
        self._known = kept
        return names

    def _read(self, wanted: Wanted, size: int) -> Mapping[str, str]:
        if size > _LARGEST_FILE:
            raise ValueError("the file is too large for an address book")
        text = wanted.path.read_bytes().decode("utf-8-sig", "replace")
        found = read_contacts(text, wanted.country)
        self.log.info(
            "{count} names of contacts of {person} read", count=len(found), person=wanted.person
        )
        return found
