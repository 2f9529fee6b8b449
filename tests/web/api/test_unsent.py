"""Tests of `smsbridge.web.api.unsent`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.errors import Refused
from smsbridge.web.api.unsent import Unsent

MB = 1024**2
DAY_MS = 86_400_000


class UnsentTests(SynchronousTestCase):
    """What persons have uploaded and not sent."""

    def setUp(self) -> None:
        """Count against a store that gives everybody 300 MB."""
        self.cap = 3000 * MB
        self.unsent = Unsent(lambda: self.cap)

    def upload(self, digest: str, size: int, person: str = "john", now_ms: int = 0) -> None:
        """Let somebody upload a file."""
        self.unsent.reserve(person, size, now_ms)()
        self.unsent.uploaded(person, digest, size, now_ms)

    def refused(self, size: int, person: str = "john", now_ms: int = 0) -> str:
        """Return what somebody hears who uploads too much."""
        refused = self.assertRaises(Refused, self.unsent.reserve, person, size, now_ms)
        self.assertEqual(refused.reason, "storage-full")
        return refused.text

    def test_a_tenth_of_the_store_is_a_persons(self) -> None:
        """The next file is refused with a sentence that says what to do; others go on."""
        self.upload("a", 200 * MB)
        self.upload("b", 100 * MB)

        sentence = self.refused(1)

        self.assertIn("You have uploaded 300 MB in 2 files that were not sent", sentence)
        self.assertIn("Send some of them, or wait", sentence)
        self.upload("a", 300 * MB, "jane")

    def test_a_small_store_leaves_room_to_work(self) -> None:
        """However small the store, a person has 256 MB."""
        self.cap = 100 * MB
        self.upload("a", 255 * MB)

        self.assertIn("256 MB", self.refused(2 * MB))
        self.upload("b", MB)

    def test_one_large_file_is_always_taken(self) -> None:
        """A file that the store takes is not refused to somebody who has nothing there."""
        self.upload("a", 2000 * MB)

        self.refused(1)

    def test_what_is_sent_counts_no_more(self) -> None:
        """With what a smaller picture was made of."""
        self.upload("large", 200 * MB)
        self.unsent.uploaded("john", "small", MB, 0, source="large")
        self.upload("other", 90 * MB)

        self.unsent.sent("john", ["small", "unknown"])

        self.upload("more", 210 * MB)
        self.refused(MB)
        self.unsent.sent("jane", ["more"])
        self.refused(MB)

    def test_a_day_later_it_is_removed_and_counts_no_more(self) -> None:
        """A file that was uploaded again counts from then on, and once."""
        self.upload("a", 200 * MB)
        self.upload("b", 100 * MB)
        self.unsent.uploaded("john", "a", 200 * MB, 9)

        self.refused(MB, now_ms=DAY_MS)
        self.upload("c", 100 * MB, now_ms=DAY_MS + 1)
        self.refused(MB, now_ms=DAY_MS + 9)
        self.upload("d", 200 * MB, now_ms=DAY_MS + 10)

    def test_uploads_at_once_count_together(self) -> None:
        """What is being kept has its room, until it is given back."""
        first = self.unsent.reserve("john", 200 * MB, 0)
        second = self.unsent.reserve("john", 100 * MB, 0)
        self.refused(1)

        first()

        self.upload("a", 200 * MB)
        self.refused(1)
        second()
        self.upload("b", 100 * MB)

    def test_many_small_files_are_too_much_too(self) -> None:
        """Each takes a row and a little memory."""
        self.unsent = Unsent(most_files=3)
        for digest in "abc":
            self.upload(digest, 1)

        self.assertIn("in 3 files", self.refused(1))
