"""Tests of the index of words on SQLite: what it keeps, and when it is brought up to date."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from sqlalchemy import text
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.threads import SearchQuery, Viewer
from smsbridge.errors import TemporaryFailure
from smsbridge.store import database
from smsbridge.store.accept import Accept, DeliveryRows
from smsbridge.store.index import Indexer, SearchIndex, document_of, id_begins, indexed_upto
from smsbridge.store.search import search_txn
from smsbridge.store.upkeep import Purge
from tests.store.contract import DAY, NOW, entry, new_id
from tests.store.inbox_contract import received

#: With so many lines only the newest hundred texts of each are looked through before the index.
JOHN = Viewer("john", ("demo1", *(f"none{n}" for n in range(40))))


class DocumentTests(SynchronousTestCase):
    """The key of a message in the index."""

    def test_key_leads_back_to_the_message(self) -> None:
        """A key has the time of the id in it, and sorts as ids do."""
        early, late = new_id(NOW), new_id(NOW + 1)

        self.assertLess(document_of(early), document_of(late))
        self.assertTrue(early.startswith(id_begins(document_of(early))))
        self.assertLess(document_of(late), 1 << 63)

    def test_what_is_no_id_is_younger_than_all(self) -> None:
        """A cursor that is no id at all cuts nothing off."""
        for cursor in ("g", "", "ffffffff-ffff-7fff-8fff-ffffffffffff"):
            self.assertEqual(document_of(cursor), (1 << 63) - 1)


class SearchIndexTests(SynchronousTestCase):
    """The table of words."""

    def setUp(self) -> None:
        """Open an empty database."""
        folder = Path(self.mktemp())
        folder.mkdir()
        self.writer, self.reader = database.open_engines(database.url_of("sqlite", folder))
        database.prepare(self.writer)
        self.accept = Accept(self.writer.dialect, DeliveryRows(self.writer.dialect, "here"))
        self.index = SearchIndex()
        self.addCleanup(self.writer.dispose)
        self.addCleanup(self.reader.dispose)

    def write(self, operation: Any, *items: Any) -> Any:
        """Run an operation in a transaction."""
        with self.writer.connect() as connection, connection.begin():
            return operation(connection, items, False)

    def take(self, *bodies: str, **more: Any) -> list[str]:
        """Accept texts without deliveries."""
        of = [received(body=body, **more) for body in bodies]
        self.write(self.accept, *(entry(each, deliveries=()) for each in of))
        return [each.message_id for each in of]

    def hits(self, words: str) -> int:
        """Count what the table of words itself finds."""
        with self.reader.connect() as connection:
            return len(
                connection.execute(
                    text("SELECT rowid FROM message_words WHERE message_words MATCH :words"),
                    {"words": words},
                ).all()
            )

    def found(self, words: str) -> list[str]:
        """Return the bodies of what a search finds."""
        with self.reader.connect() as connection:
            query = SearchQuery(viewer=JOHN, words=words, limit=5)
            return [each.body for each in search_txn(connection, query)]

    def test_indexes_the_next_ones(self) -> None:
        """Each run takes what is new, some at a time, until nothing is left."""
        self.take(*(f"hello {n}" for n in range(700)))

        counts = [self.write(self.index, None)[0] for _ in range(3)]

        self.assertEqual(counts, [500, 200, 0])
        self.assertEqual(self.hits("hello"), 700)
        self.take("hello again")
        self.assertEqual(self.write(SearchIndex(), None, None), [1, 0])
        self.assertEqual(self.hits("hello"), 701)

    def test_what_is_not_indexed_yet_is_found_too(self) -> None:
        """A text is found at once, before the index has it, however many came after it."""
        self.take("needle one")
        self.write(self.index, None)
        self.take("needle two", *(f"hay {n}" for n in range(150)))

        self.assertEqual(self.found("needle"), ["needle two", "needle one"])

    def test_without_fts5_the_newest_are_searched(self) -> None:
        """Without an index the texts themselves are looked through, as far as that is bearable."""
        self.take("needle one", *(f"hay {n}" for n in range(150)), "needle two")

        self.assertEqual(self.found("needle"), ["needle two", "needle one"])

    def test_survives_a_vacuum(self) -> None:
        """Numbering the rows anew neither loses nor doubles a text."""
        first = self.take(*(f"hay {n}" for n in range(20)))
        self.take("needle one", *(f"hay {n}" for n in range(150)))
        self.write(self.index, None)
        with self.writer.connect() as connection:
            driver: Any = connection.connection.driver_connection
            for message_id in first:
                driver.execute("DELETE FROM messages WHERE message_id = ?", (message_id,))
            driver.execute("VACUUM")
        self.take("needle two", *(f"hay {n}" for n in range(150)))

        self.assertEqual(self.write(self.index, None), [151])
        self.assertEqual(self.found("needle"), ["needle two", "needle one"])
        self.assertEqual(self.hits("needle"), 2)

    def test_purge_takes_the_words_along(self) -> None:
        """What is deleted is out of the index, what is not indexed yet is no fault."""
        self.take("zürich needle", "needle foo_bar")
        self.write(self.index, None)
        self.take("needle three")

        ((count, _, _),) = self.write(Purge(), (NOW + DAY, NOW, ""))

        self.assertEqual(count, 3)
        self.assertEqual([self.hits(word) for word in ("needle", "zurich", "foo")], [0, 0, 0])
        self.take("needle four")
        self.assertEqual(self.write(self.index, None), [1])
        with self.reader.connect() as connection:
            self.assertEqual(indexed_upto(connection), 1)
        self.assertEqual(self.hits("needle"), 1)

    @settings(max_examples=300)  # each asks the database dozens of times
    @given(st.text(max_size=40))
    def test_any_input_is_a_search(self, typed: str) -> None:
        """Nothing that is typed is an error of the database."""
        if self.hits_none():
            self.take(*(f"hello {n}" for n in range(120)))
            self.write(self.index, None)

        with self.reader.connect() as connection:
            search_txn(connection, SearchQuery(viewer=JOHN, words=typed))

    def hits_none(self) -> bool:
        """Tell whether nothing was accepted yet."""
        with self.reader.connect() as connection:
            return connection.execute(text("SELECT 1 FROM messages")).first() is None


class IndexerTests(SynchronousTestCase):
    """When the index is brought up to date."""

    def setUp(self) -> None:
        """Make an indexer whose runs are answered by the test."""
        self.clock = Clock()
        self.runs: list[Deferred[int]] = []
        self.busy = False
        self.indexer = Indexer(self.clock, self.run_once, lambda: self.busy)

    def run_once(self) -> Deferred[int]:
        """Begin a run."""
        self.runs.append(Deferred())
        return self.runs[-1]

    def test_a_moment_after_a_text_and_once_for_many(self) -> None:
        """Texts that come together are indexed together."""
        for _ in range(3):
            self.indexer.texts_came()
        self.clock.advance(0.9)
        self.assertEqual(self.runs, [])

        self.clock.advance(0.2)

        self.assertEqual(len(self.runs), 1)
        self.runs[0].callback(3)
        self.clock.advance(60)
        self.assertEqual(len(self.runs), 1)

    def test_what_comes_meanwhile_is_indexed_next(self) -> None:
        """A text that came during a run is not forgotten."""
        self.indexer.texts_came()
        self.clock.advance(1)
        self.indexer.texts_came()
        self.runs[0].callback(1)

        self.clock.advance(1)

        self.assertEqual(len(self.runs), 2)

    def test_goes_on_while_there_is_more_and_gives_way(self) -> None:
        """A long history is indexed piece after piece, slowly while texts come in."""
        self.indexer.texts_came()
        self.clock.advance(1)
        self.runs[0].callback(500)
        self.clock.advance(0.05)
        self.assertEqual(len(self.runs), 2)

        self.busy = True
        self.runs[1].callback(500)
        self.clock.advance(0.9)
        self.assertEqual(len(self.runs), 2)
        self.clock.advance(0.1)
        self.assertEqual(len(self.runs), 3)

    def test_stops(self) -> None:
        """After the stop nothing is begun, whatever was under way."""
        self.indexer.texts_came()
        self.clock.advance(1)
        self.indexer.stop()
        self.runs[0].callback(500)
        self.indexer.texts_came()
        self.indexer.stop()

        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_a_closed_store_is_no_fault_and_a_bug_is_told(self) -> None:
        """The next text tries again after a failure."""
        self.indexer.texts_came()
        self.clock.advance(1)
        self.runs[0].errback(TemporaryFailure("internal"))
        self.indexer.texts_came()
        self.clock.advance(1)
        self.runs[1].errback(ValueError("a bug"))

        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.indexer.texts_came()
        self.clock.advance(1)
        self.assertEqual(len(self.runs), 3)
