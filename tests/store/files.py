"""What the rows about files must do, whatever database they stand on; bound to each elsewhere."""

from __future__ import annotations

from pathlib import Path

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults

from smsbridge.core.files import FileRecord
from smsbridge.core.message import Media
from smsbridge.store.files import FileLedger
from smsbridge.store.service import MessageStore, StateFolder
from tests.store.contract import DAY, NOW, entry, message

DIGEST = "0123456789abcdef" * 4


def record(digest: str = DIGEST, at_ms: int = NOW, size: int = 10) -> FileRecord:
    """Make the row of a picture."""
    return FileRecord(
        digest=digest,
        content_type="image/png",
        size=size,
        width=640,
        height=480,
        stored_at_ms=at_ms,
    )


class FilesContract:
    """Bind with `database_url` and a trial TestCase that has a reactor."""

    def database_url(self) -> str:
        """Return the address of an empty database."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Open a store on an empty database."""
        folder = Path(self.mktemp())  # type: ignore[attr-defined]
        self.store = MessageStore(reactor, StateFolder(folder), self.database_url(), "here")  # type: ignore[arg-type]
        self.store.startService()
        self.ledger = FileLedger(self.store)

    def tearDown(self) -> Deferred[None]:
        """Close it."""
        return self.store.stopService()

    async def test_a_row_is_found_by_the_beginning_of_its_digest(self) -> None:
        """A link carries half of it."""
        self.assertTrue(await self.ledger.add(record()))  # type: ignore[attr-defined]
        await self.ledger.add(record("f" * 64))

        for start in (DIGEST, DIGEST[:32]):
            self.assertEqual(await self.ledger.find(start), record())  # type: ignore[attr-defined]
        self.assertIsNone(await self.ledger.find(DIGEST[:31] + "0"))  # type: ignore[attr-defined]

    async def test_adding_again_renews_the_time(self) -> None:
        """The same content is one row, in one commit as well, and begins a new day."""
        first, second = await gatherResults(
            [self.ledger.add(record()), self.ledger.add(record(at_ms=NOW + 1))]
        )

        self.assertEqual((first, second), (True, False))  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.find(DIGEST), record(at_ms=NOW + 1))  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.totals(), (1, 10))  # type: ignore[attr-defined]

    async def test_lists_and_counts(self) -> None:
        """The newest come first; a sum is a number, also of nothing."""
        self.assertEqual(await self.ledger.totals(), (0, 0))  # type: ignore[attr-defined]
        old, new = record("a" * 64, NOW, 5_000_000_000), record("b" * 64, NOW + 5, 7)
        await gatherResults([self.ledger.add(old), self.ledger.add(new)])

        self.assertEqual(await self.ledger.newest(1), [new])  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.totals(), (2, 5_000_000_007))  # type: ignore[attr-defined]
        known = await self.ledger.known(["a" * 64, "c" * 64])
        self.assertEqual(known, {"a" * 64})  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.known([]), set())  # type: ignore[attr-defined]

    async def test_what_no_message_names_is_forgotten_when_it_is_old(self) -> None:
        """Until then it may be an upload on its way into a message."""
        used, unused, late = record("a" * 64), record("b" * 64), record("c" * 64, NOW + DAY)
        await gatherResults([self.ledger.add(each) for each in (used, unused, late)])
        await self.store.accept(entry(message(media=(Media(digest="a" * 64),))))

        gone = await self.ledger.forget_unused(NOW + 1, 10)

        self.assertEqual(gone, {"b" * 64: 10})  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.forget_unused(NOW + 1, 10), {})  # type: ignore[attr-defined]
        self.assertEqual(await self.ledger.totals(), (2, 20))  # type: ignore[attr-defined]

    async def test_purged_messages_free_their_files(self) -> None:
        """Files live as long as the messages that have them."""
        await self.ledger.add(record())
        await self.store.accept(entry(message(media=(Media(digest=DIGEST),)), deliveries=()))
        await self.store.purge_some(NOW + DAY, NOW + DAY, "")

        self.assertEqual(await self.ledger.forget_unused(NOW + 1, 10), {DIGEST: 10})  # type: ignore[attr-defined]

    async def test_few_are_forgotten_at_once(self) -> None:
        """A large clean-up must not hold up the messages."""
        rows = [record(f"{number:064x}") for number in range(5)]
        await gatherResults([self.ledger.add(each) for each in rows])

        self.assertEqual(len(await self.ledger.forget_unused(NOW + 1, 3)), 3)  # type: ignore[attr-defined]
        self.assertEqual(len(await self.ledger.forget_unused(NOW + 1, 3)), 2)  # type: ignore[attr-defined]
