"""Tests of the books of all persons."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.book import Book, PersonalBook
from tests.core.rig import NUMBER, OTHER


class BookTests(SynchronousTestCase):
    """What persons call whom, and whom they do not want to hear."""

    def test_names_belong_to_one_person(self) -> None:
        """Nobody sees what somebody else calls a number."""
        book = Book({"john": PersonalBook(names={NUMBER: "Ann"})})

        self.assertEqual(book.name("john", NUMBER), "Ann")
        self.assertEqual(book.name("john", OTHER), "")
        self.assertEqual(book.name("jane", NUMBER), "")

    def test_blockers_follow_the_persons(self) -> None:
        """By number, everybody who blocks it at the moment."""
        book = Book({"john": PersonalBook(blocked=frozenset({NUMBER}))})
        self.assertEqual(book.blockers, {NUMBER: {"john"}})

        book.put("jane", PersonalBook(blocked=frozenset({NUMBER, OTHER})))
        self.assertEqual(book.blockers, {NUMBER: {"john", "jane"}, OTHER: {"jane"}})

        book.put("john", PersonalBook(names={NUMBER: "Ann"}))
        book.put("jane", PersonalBook())
        self.assertEqual(book.blockers, {})
        self.assertNotIn("jane", book.persons)

    def test_put_tells_whether_anything_changed(self) -> None:
        """Only what is new is worth telling browsers of."""
        book = Book()
        ann = PersonalBook(names={NUMBER: "Ann"})

        self.assertEqual(
            [book.put("john", each) for each in (PersonalBook(), ann, ann, PersonalBook())],
            [False, True, False, True],
        )
