"""Names of contacts from vCard files."""

from __future__ import annotations

import os
import time
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.book import Book, Contact, PersonalBook
from smsbridge.core.contacts import (
    CardFiles,
    Shelf,
    Wanted,
    checked,
    groups_of,
    names_of,
    read_cards,
    write_cards,
)
from smsbridge.errors import Refused


def card(name: str, *lines: str) -> str:
    """Return a card with a name and more lines."""
    return "\r\n".join(["BEGIN:VCARD", "VERSION:3.0", f"FN:{name}", *lines, "END:VCARD", ""])


def read_contacts(text: str, country: str) -> dict[str, str]:
    """Return the names in the text of a file."""
    return names_of(read_cards(text, country).contacts)


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

    def test_monstrous_cards_are_passed_over(self) -> None:
        """One of very many lines, or with a very large picture, takes no time and hides none."""
        ann = "BEGIN:VCARD\nFN:Ann\nTEL:+12025550123\nEND:VCARD\n"
        for inner in (
            "A:\n" * 10_000,
            "PHOTO:" + "x" * 3_000_000 + "\n",
            "FN:B" + "\n b" * 900_000,
        ):
            text = f"BEGIN:VCARD\n{inner}TEL:+12025550124\nEND:VCARD\n{ann}"
            began_s = time.process_time()

            self.assertEqual(read_contacts(text, "US"), {"+12025550123": "Ann"})
            self.assertLess(time.process_time() - began_s, 0.5)

    @given(st.text(max_size=200))
    def test_no_text_raises(self, inner: str) -> None:
        """Whatever stands in a card."""
        read_contacts(f"BEGIN:VCARD\nFN:A\nTEL:{inner}\nEND:VCARD\n", "US")
        read_contacts(f"BEGIN:VCARD\n{inner}\nEND:VCARD\n", "US")

    def test_labels_groups_and_notes_are_read(self) -> None:
        """What a page shows besides name and number."""
        text = card(
            "Ann",
            "TEL;TYPE=CELL,VOICE:+12025550123",
            "TEL;TYPE=FAX:+12025550124",
            "item1.TEL:+12025550125",
            "item1.X-ABLabel:_$!<Other>!$_",
            "CATEGORIES:Family,myContacts,Old Friends,!",
            "NOTE:first\\nsecond",
        )

        (found,) = read_cards(text, "US").contacts

        self.assertEqual(
            found.numbers,
            (("+12025550123", "mobile"), ("+12025550124", ""), ("+12025550125", "other")),
        )
        self.assertEqual(found.groups, ("family", "old-friends"))
        self.assertEqual(found.note, "first\nsecond")

    def test_pictures_are_passed_over(self) -> None:
        """They are most of a file, and a large one hides no card."""
        picture = "PHOTO;ENCODING=b;TYPE=JPEG:" + "\r\n ".join(["A" * 70] * 2000)
        text = card("Ann", picture, "TEL:+12025550123")

        self.assertEqual(read_contacts(text, "US"), {"+12025550123": "Ann"})

    def test_what_is_of_no_use_is_said(self) -> None:
        """By place and name, in a bounded number of sentences."""
        text = (
            card("Ann", "TEL:none")
            + card("", "TEL:+12025550123")
            + "BEGIN:VCARD\nno colon here\nEND:VCARD\n"
        )

        self.assertEqual(
            read_cards(text, "US").skipped,
            (
                "Card 1 (Ann) has no number that can be texted.",
                "Card 2 has no name.",
                "Card 3 cannot be read.",
            ),
        )
        many = read_cards(card("Ann") * 150, "US").skipped
        self.assertEqual((len(many), many[-1]), (101, "50 more cards are of no use either."))

    def test_a_hostile_file_takes_no_time(self) -> None:
        """Beginnings without an end, and one endless card."""
        for text in ("BEGIN:VCARD\n" * 100_000, card("Ann", "NOTE:" + "x" * 1_000_000)):
            self.assertEqual(read_cards(text, "US").contacts, ())


class WriteTests(SynchronousTestCase):
    """Contacts as cards."""

    ANN = Contact(
        name="Ann Lee; Jr, \\",
        numbers=(("+12025550123", "mobile"), ("+12025550124", "boat"), ("12345", "")),
        groups=("family", "work"),
        note="two\nlines; and, more",
    )

    def test_what_was_written_is_read_again(self) -> None:
        """Nothing gets lost on the way to another program and back."""
        ann = Contact(
            name=self.ANN.name,
            numbers=self.ANN.numbers[:2],
            groups=self.ANN.groups,
            note=self.ANN.note,
        )

        text = write_cards([ann, Contact(name="Bob", numbers=(("+12025550125", ""),))])

        found = read_cards(text, "US").contacts
        self.assertEqual(found, (ann, Contact(name="Bob", numbers=(("+12025550125", ""),))))

    @given(
        st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=100),
        st.text(st.characters(blacklist_categories=("Cs", "Cc", "Zl", "Zp")), max_size=300),
    )
    def test_any_name_and_note_survive(self, name: str, note: str) -> None:
        """Whatever people call each other."""
        try:
            ann = checked(Contact(name=name, numbers=(("+12025550123", ""),), note=note), "US")
        except Refused:
            return

        (found,) = read_cards(write_cards([ann]), "US").contacts

        self.assertEqual((found.name, found.note), (ann.name, ann.note))


class CheckedTests(SynchronousTestCase):
    """What persons enter."""

    def test_is_kept_in_one_form(self) -> None:
        """Numbers become E.164, handles small letters, blanks are single."""
        given_ = Contact(
            name="  Ann \n Lee ",
            numbers=(("(202) 555-0123", " my  cell "), ("+12025550123", "again"), ("12345", "")),
            groups=("@Family", "Old Friends", "family"),
            note=" hi ",
        )

        self.assertEqual(
            checked(given_, "US"),
            Contact(
                name="Ann Lee",
                numbers=(("+12025550123", "my cell"), ("12345", "")),
                groups=("family", "old-friends"),
                note="hi",
            ),
        )

    def test_what_cannot_be_kept_is_refused(self) -> None:
        """Each with its reason and a sentence."""
        number = (("+12025550123", ""),)
        many = tuple((f"+1202555{n:04}", "") for n in range(21))
        for contact, reason, words in (
            (Contact(name=" ", numbers=number), "empty", "a name"),
            (Contact(name="x" * 101, numbers=number), "too-long", "100 characters"),
            (Contact(name="x", numbers=number, note="x" * 2001), "too-long", "2000 characters"),
            (Contact(name="x"), "invalid-number", "a number"),
            (Contact(name="x", numbers=(("none", ""),)), "invalid-number", "'none'"),
            (Contact(name="x", numbers=many), "unsupported", "20 numbers"),
            (Contact(name="x", numbers=number, groups=("!",)), "unsupported", "'!'"),
            (
                Contact(name="x", numbers=number, groups=tuple(f"g{n}" for n in range(21))),
                "unsupported",
                "20 groups",
            ),
        ):
            error = self.assertRaises(Refused, checked, contact, "US")
            self.assertEqual(error.reason, reason)
            self.assertIn(words, str(error))


class ShelfTests(SynchronousTestCase):
    """Each person's book, made of what was entered and of the file."""

    def setUp(self) -> None:
        """Make a shelf that tells who changed."""
        self.book = Book()
        self.shelf = Shelf(self.book)
        self.told: list[str] = []
        self.shelf.changed = self.told.append
        self.ann = Contact(
            name="Ann", numbers=(("+12025550123", ""), ("+12025550124", "")), groups=("family",)
        )
        self.bob = Contact(name="Bob", numbers=(("+12025550125", ""),), groups=("family",))

    def test_what_was_entered_goes_before_the_file(self) -> None:
        """Names and groups of both are known."""
        annie = Contact(name="Annie from the file", numbers=self.ann.numbers, groups=("work",))
        self.shelf.put_cards({"john": (annie, self.bob)})
        self.shelf.put_own("john", [self.ann])

        self.assertEqual(
            self.book.of("john"),
            PersonalBook(
                names={"+12025550123": "Ann", "+12025550124": "Ann", "+12025550125": "Bob"},
                groups={"family": ("+12025550123", "+12025550125"), "work": ("+12025550123",)},
            ),
        )

        self.shelf.put_own("john", [])
        self.assertEqual(self.book.name("john", "+12025550123"), "Annie from the file")

    def test_tells_who_changed(self) -> None:
        """A file that is the same as before changes nobody."""
        cards = {"john": (self.ann,)}
        self.shelf.put_cards(cards)
        self.shelf.put_cards(dict(cards))
        self.assertEqual(self.told, ["john"])

        self.shelf.put_blocked("jane", frozenset({"+12025550123"}))
        self.shelf.put_cards({})

        self.assertEqual(self.told, ["john", "jane", "john"])
        self.assertEqual(self.book.blockers, {"+12025550123": {"jane"}})
        self.assertEqual(self.shelf.cards("john"), ())

    def test_a_group_has_each_contacts_first_number(self) -> None:
        """Who has two telephones gets one text."""
        self.assertEqual(
            groups_of([self.ann, self.bob]), {"family": ("+12025550123", "+12025550125")}
        )


class CardFilesTests(SynchronousTestCase):
    """Files that change."""

    def setUp(self) -> None:
        self.path = Path(self.mktemp())
        self.files = CardFiles()
        self.wanted = [Wanted("alice", self.path, "US")]

    def names(self) -> list[str]:
        """Return the names in Alice's file."""
        return [contact.name for contact in self.files.refresh(self.wanted).get("alice", ())]

    def test_file_is_read_once_until_it_changes(self) -> None:
        """The contacts are the same object as long as the file is the same."""
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        first = self.files.refresh(self.wanted)
        self.assertIs(self.files.refresh(self.wanted)["alice"], first["alice"])

        self.path.write_text(card("Bob", "TEL:+12025550123"), "utf-8")
        os.utime(self.path, ns=(1, 1))

        self.assertEqual(self.names(), ["Bob"])

    def test_contacts_have_ids_in_the_order_of_names(self) -> None:
        """They cannot be changed, and their ids say why."""
        cards = card("bob", "TEL:+12025550123") + card("Ann", "TEL:+12025550124")
        self.path.write_text(cards, "utf-8")

        found = self.files.refresh(self.wanted)["alice"]

        self.assertEqual(
            [(each.contact_id, each.name) for each in found], [("file:1", "Ann"), ("file:2", "bob")]
        )

    def test_file_that_vanished_leaves_what_was_read(self) -> None:
        """A program that writes the file anew takes it away for a moment."""
        self.assertEqual(self.names(), [])
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        self.names()
        self.path.unlink()

        self.assertEqual(self.names(), ["Ann"])

    def test_person_without_a_file_any_more_is_forgotten(self) -> None:
        """What the configuration no longer names is not kept."""
        self.path.write_text(card("Ann", "TEL:+12025550123"), "utf-8")
        self.names()

        self.assertEqual(self.files.refresh([]), {})
