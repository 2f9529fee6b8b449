"""Tests of the service that reads persons' vCard files."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.contacts import CardReader
from smsbridge.core.contacts import Shelf
from smsbridge.core.directory import Directory, Person, World

NUMBER = "+12025550123"
CARD = "BEGIN:VCARD\nVERSION:3.0\nFN:{}\nTEL:" + NUMBER + "\nEND:VCARD\n"


def at_once(function: Any, *arguments: Any) -> Deferred[Any]:
    """Call in no thread."""
    return succeed(function(*arguments))


class CardReaderTests(SynchronousTestCase):
    """Names from the files that the configuration names."""

    def setUp(self) -> None:
        """Make a person with a file."""
        self.path = Path(self.mktemp())
        self.path.write_text(CARD.format("Ann"), "utf-8")
        person = Person(label="alice", contacts=self.path)
        self.world = World(Directory(persons={"alice": person}))
        self.clock = Clock()

    def reader(self, **options: Any) -> CardReader:
        """Start a reader."""
        reader = CardReader(self.clock, self.world, Shelf(self.world.book), **options)
        reader.startService()
        self.addCleanup(reader.stopService)
        return reader

    def test_files_are_read_and_read_again(self) -> None:
        """A change is known without a restart."""
        self.reader(in_thread=at_once)
        self.assertEqual(self.world.book.name("alice", NUMBER), "Ann")

        self.path.write_text(CARD.format("Anna Lee"), "utf-8")
        self.clock.advance(30)

        self.assertEqual(self.world.book.name("alice", NUMBER), "Anna Lee")

    def test_a_file_that_is_no_longer_named_is_forgotten(self) -> None:
        """After a reload of the configuration."""
        self.reader(in_thread=at_once)
        persons = {"alice": Person(label="alice")}
        self.world.directory = evolve(self.world.directory, persons=persons)

        self.clock.advance(30)

        self.assertEqual(self.world.book.name("alice", NUMBER), "")

    def test_a_reader_at_work_is_waited_for(self) -> None:
        """It reads one time after the other, and its thread ends before the service."""
        working: list[Deferred[Any]] = []

        def later(function: Any, *arguments: Any) -> Deferred[Any]:
            working.append(Deferred())
            return working[-1]

        reader = self.reader(in_thread=later)
        self.clock.advance(60)
        self.assertEqual(len(working), 1)

        stopped = reader.stopService()
        assert stopped is not None
        self.assertNoResult(stopped)
        working[0].callback({})

        self.successResultOf(stopped)

    def test_reactor_without_threads_harms_nothing(self) -> None:
        """Names stay unread, and that is logged."""
        self.reader()

        self.assertEqual(len(self.flushLoggedErrors()), 1)
