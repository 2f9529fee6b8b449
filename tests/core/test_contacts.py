"""Names of contacts from vCard files."""

from __future__ import annotations

import os
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.contacts import ContactBook, Wanted, read_contacts


def card(name: str, *lines: str) -> str:
    """Return a card with a name and more lines."""
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", *lines, "END:VCARD", ""])


class ReadTests(SynchronousTestCase):
    """The text of a file."""

    def test_numbers_are_read_as_people_write_them(self) -> None:
        """National, international, as a link, and grouped with a label."""
        text = card(
            "Ann Lee",
            "TEL;TYPE=CELL:(202) 555-0123",
            "TEL;TYPE=HOME:+1 202 555 0124",
            "TEL;VALUE=uri:tel:+1-202-555-0125",
            "item1.TEL:0012025550126",
            "item1.X-ABLABEL:Ship",
        )

        found = read_contacts(text, "US")

        self.assertEqual(found, {f"+120255501{n}": "Ann Lee" for n in (23, 24, 25, 26)})

    def test_what_is_no_number_of_a_phone_is_passed_over(self) -> None:
        """Extensions share one number, and words are no numbers."""
        text = card("Ann", "TEL:ask me", "TEL;VALUE=uri:tel:+12025550123;ext=5", "TEL:")

        self.assertEqual(read_contacts(text, "US"), {})

    def test_one_number_on_several_cards_has_one_name(self) -> None:
        """The shortest name wins, whatever the order."""
        cards = [card(name, "TEL:+12025550123") for name in ("Ann Lee", "Ann", "Bob")]

        for text in ("".join(cards), "".join(reversed(cards))):
            self.assertEqual(read_contacts(text, "US"), {"+12025550123": "Ann"})

    def test_broken_card_hides_no_other(self) -> None:
        """A file from elsewhere is seldom without fault."""
        text = (
            "garbage\nBEGIN:VCARD\nno colon here\nEND:VCARD\n"
            + card("Ann", "TEL:+12025550123")
            + "BEGIN:VCARD\nFN:Unfinished\n"
        )

        self.assertEqual(read_contacts(text, "US"), {"+12025550123": "Ann"})

    def test_name_is_found_where_there_is_one(self) -> None:
        """Nickname or firm stand in; a card without any name is of no use."""
        for lines, name in (
            (("NICKNAME:Annie",), "Annie"),
            (("ORG:Taxi;Night",), "Taxi Night"),
            ((), None),
        ):
            text = card("", *lines, "TEL:+12025550123")

            self.assertEqual(read_contacts(text, "US").get("+12025550123"), name)

    def test_old_cards_with_quoted_letters_are_read(self) -> None:
        """Version 2.1, as old telephones export it."""
        text = (
            "BEGIN:VCARD\nVERSION:2.1\nFN;ENCODING=QUOTED-PRINTABLE;CHARSET=UTF-8:J=C3=BCrg\n"
            "TEL;CELL:+372 5555 0001\nEND:VCARD\n"
        )

        self.assertEqual(read_contacts(text, ""), {"+37255550001": "Jürg"})

    @given(st.text(max_size=200))
    def test_no_text_raises(self, inner: str) -> None:
        """Whatever stands in a card."""
        read_contacts(f"BEGIN:VCARD\nFN:A\nTEL:{inner}\nEND:VCARD\n", "US")
        read_contacts(f"BEGIN:VCARD\n{inner}\nEND:VCARD\n", "US")


class ContactBookTests(SynchronousTestCase):
    """Files that change."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.book = ContactBook()
        self.wanted = [Wanted("alice", self.path, "US")]

    def test_file_is_read_once_until_it_changes(self) -> None:
        """The names are the same object as long as the file is the same."""
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        first = self.book.refresh(self.wanted)
        self.assertIs(self.book.refresh(self.wanted)["alice"], first["alice"])

        self.path.write_text(card("Bob", "TEL:+12025550123"), "utf-8")
        os.utime(self.path, ns=(1, 1))

        self.assertEqual(self.book.refresh(self.wanted), {"alice": {"+12025550123": "Bob"}})

    def test_file_that_vanished_leaves_what_was_read(self) -> None:
        """A program that writes the file anew takes it away for a moment."""
        self.assertEqual(self.book.refresh(self.wanted), {})
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        self.book.refresh(self.wanted)
        self.path.unlink()

        self.assertEqual(self.book.refresh(self.wanted), {"alice": {"+12025550123": "Ann"}})

    def test_person_without_a_file_any_more_is_forgotten(self) -> None:
        """What the configuration no longer names is not kept."""
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        self.book.refresh(self.wanted)

        self.assertEqual(self.book.refresh([]), {})
