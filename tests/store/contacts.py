"""What the keeper of contacts must do, whatever database it stands on; bound to each elsewhere."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults, succeed

from smsbridge.core.book import Contact
from smsbridge.core.contacts import Shelf
from smsbridge.core.directory import Directory, Person, World
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.store import contacts as contacts_module
from smsbridge.store.contacts import StoredContacts
from smsbridge.store.service import MessageStore, StateFolder

NOW = 1_800_000_000_000
NUMBER = "+12025550123"
OTHER = "+12025550124"
ANN = Contact(
    name="Ann Lee \U0001f600",
    numbers=((NUMBER, "mobile"), (OTHER, "home")),
    groups=("family", "work"),
    note="two\nlines",
)


def card(name: str, *numbers: str) -> str:
    """Return a vCard."""
    lines = "".join(f"TEL:{number}\n" for number in numbers)
    return f"BEGIN:VCARD\nVERSION:3.0\nFN:{name}\n{lines}END:VCARD\n"


class ContactsContract:
    """Bind with `database_url` and a trial TestCase that has a reactor."""

    store: MessageStore

    def database_url(self) -> str:
        """Return the address of an empty database."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Open a store on an empty database, with two persons."""
        case: Any = self
        self.now_ms = NOW
        folder = StateFolder(Path(case.mktemp()))
        self.store = MessageStore(reactor, folder, self.database_url(), "here")  # type: ignore[arg-type]
        self.store.startService()
        persons = {
            "john": Person(label="john"),
            "mari": Person(label="mari", country="EE"),
        }
        self.world = World(Directory(persons=persons))
        self.open_contacts()

    def open_contacts(self) -> None:
        """Begin with an empty memory, as after a restart."""
        self.world.book.persons.clear()
        self.shelf = Shelf(self.world.book)
        self.told: list[str] = []
        self.shelf.changed = self.told.append
        self.contacts = StoredContacts(
            reactor,
            self.store,
            self.world,
            self.shelf,
            lambda: self.now_ms,
            lambda function, *arguments: succeed(function(*arguments)),
        )

    def tearDown(self) -> Deferred[None]:
        """Close it."""
        return self.store.stopService()

    async def refusal(self, asked: Deferred[Any]) -> Refused:
        """Return why something was refused."""
        case: Any = self
        error: Refused = await case.assertFailure(asked, Refused)
        return error

    async def test_a_contact_is_kept_as_it_was_entered(self) -> None:
        """With all its numbers in their order, also after a restart."""
        case: Any = self
        kept = await self.contacts.put("john", ANN)

        case.assertTrue(kept.contact_id)
        case.assertEqual(await self.contacts.all("john"), [kept])
        case.assertEqual(
            (kept.name, kept.numbers, kept.groups, kept.note),
            (ANN.name, ANN.numbers, ANN.groups, ANN.note),
        )
        case.assertEqual(self.world.book.name("john", OTHER), ANN.name)
        case.assertEqual(self.told, ["john"])

        self.open_contacts()
        case.assertEqual(self.world.book.name("john", OTHER), "")
        await self.contacts.load()

        case.assertEqual(self.world.book.name("john", OTHER), ANN.name)
        case.assertEqual(
            self.world.book.of("john").groups, {"family": (NUMBER,), "work": (NUMBER,)}
        )

    async def test_numbers_are_read_as_the_person_types_them(self) -> None:
        """Each in the country of the person."""
        case: Any = self
        kept = await self.contacts.put("mari", Contact(name="Jüri", numbers=(("5123 4567", ""),)))

        case.assertEqual(kept.numbers, (("+37251234567", ""),))
        error = await self.refusal(
            self.contacts.put("mari", Contact(name="Jüri", numbers=(("x", ""),)))
        )
        case.assertEqual(error.reason, "invalid-number")

    async def test_a_contact_is_replaced_as_a_whole(self) -> None:
        """What is left out is gone; the same again is no error."""
        case: Any = self
        kept = await self.contacts.put("john", ANN)
        short = Contact(contact_id=kept.contact_id, name="Ann", numbers=((OTHER, ""),))
        for _ in range(2):
            await self.contacts.put("john", short)

        case.assertEqual(await self.contacts.all("john"), [short])
        case.assertEqual(self.world.book.of("john").names, {OTHER: "Ann"})
        case.assertEqual(self.world.book.of("john").groups, {})

    async def test_what_is_another_persons_is_out_of_reach(self) -> None:
        """Neither seen, nor changed, nor removed."""
        case: Any = self
        kept = await self.contacts.put("john", ANN)
        taken = Contact(contact_id=kept.contact_id, name="Mine", numbers=((NUMBER, ""),))

        await self.refusal(self.contacts.put("mari", taken))
        case.assertFalse(await self.contacts.remove("mari", kept.contact_id))

        case.assertEqual(await self.contacts.all("mari"), [])
        case.assertEqual(await self.contacts.all("john"), [kept])

    async def test_a_removed_contact_is_gone(self) -> None:
        """Its names and groups too; a second time there is nothing to remove."""
        case: Any = self
        kept = await self.contacts.put("john", ANN)

        case.assertTrue(await self.contacts.remove("john", kept.contact_id))
        case.assertFalse(await self.contacts.remove("john", kept.contact_id))

        case.assertEqual(await self.contacts.all("john"), [])
        case.assertEqual(self.world.book.of("john").names, {})
        error = await self.refusal(self.contacts.put("john", kept))
        case.assertIn("not there any more", str(error))

    async def test_an_id_that_is_none_is_no_contact(self) -> None:
        """Whatever a program sends."""
        case: Any = self
        for contact_id in ("x", "-1", "²", "9" * 30, "0"):
            case.assertFalse(await self.contacts.remove("john", contact_id))
            wrong = Contact(contact_id=contact_id, name="x", numbers=((NUMBER, ""),))
            await self.refusal(self.contacts.put("john", wrong))

    async def test_contacts_of_the_file_can_only_be_read(self) -> None:
        """They are listed among the others, unless they are there already."""
        case: Any = self
        ann = await self.contacts.put("john", Contact(name="Ann", numbers=((NUMBER, ""),)))
        bob = Contact(contact_id="file:1", name="Bob", numbers=((OTHER, ""),))
        again = Contact(contact_id="file:2", name="Ann", numbers=((NUMBER, ""),))
        self.shelf.put_cards({"john": (bob, again)})

        case.assertEqual(await self.contacts.all("john"), [ann, bob])
        for asked in (self.contacts.put("john", bob), self.contacts.remove("john", "file:1")):
            case.assertIn("vCard file", str(await self.refusal(asked)))

    async def test_cards_are_taken_over(self) -> None:
        """New ones, ones that add something, ones that are known, and ones of no use."""
        case: Any = self
        ann = await self.contacts.put("john", Contact(name="Ann", numbers=((NUMBER, "mobile"),)))
        await self.contacts.put("john", Contact(name="Bob", numbers=((OTHER, ""),)))
        text = (
            card("Ann", NUMBER, "202 555 0125")
            + card("Bob", OTHER)
            + card("Carl", OTHER)
            + card("Carl", OTHER, "+12025550126")
            + card("Dora")
        )

        added, known, skipped = await self.contacts.import_vcards("john", text)

        case.assertEqual(
            (added, known, skipped), (1, 3, ["Card 5 (Dora) has no number that can be texted."])
        )
        found = {each.name: each for each in await self.contacts.all("john")}
        case.assertEqual(found["Ann"].contact_id, ann.contact_id)
        case.assertEqual(found["Ann"].numbers, ((NUMBER, "mobile"), ("+12025550125", "")))
        case.assertEqual(found["Carl"].numbers, ((OTHER, ""), ("+12025550126", "")))
        case.assertEqual(len(found), 3)
        case.assertEqual(await self.contacts.import_vcards("john", text), (0, 4, skipped))
        case.assertEqual(len(await self.contacts.all("john")), 3)

    async def test_a_file_that_cannot_be_taken_over_changes_nothing(self) -> None:
        """It is no vCard file, too large, or there is no room."""
        case: Any = self
        case.patch(contacts_module, "MOST_CONTACTS", 3)
        await self.contacts.put("john", ANN)
        many = "".join(card(f"Person {n}", f"+120255501{n:02}") for n in range(3))
        for text, reason in (
            ("hello", "empty"),
            ("", "empty"),
            ("x" * (8 * 1024 * 1024 + 1), "too-long"),
            (many, "unsupported"),
            (many + card("One more", OTHER), "too-long"),
        ):
            error = await self.refusal(self.contacts.import_vcards("john", text))
            case.assertEqual(error.reason, reason)
        case.assertEqual(len(await self.contacts.all("john")), 1)

        await self.contacts.import_vcards("john", card("A", NUMBER) + card("B", NUMBER))
        error = await self.refusal(self.contacts.put("john", ANN))

        case.assertIn("3 contacts at most", str(error))

    async def test_many_of_one_name_are_compared_quickly(self) -> None:
        """The daemon must not stand still for a file that somebody made up."""
        case: Any = self
        cards = [Contact(name="x", numbers=((f"+1{n:010}", ""),)) for n in range(10_000)]
        began_s = time.process_time()

        added, known, changed = contacts_module._compared(cards, [*cards, *cards])

        case.assertEqual((added, known, changed), ([], 20_000, []))
        case.assertLess(time.process_time() - began_s, 5.0)

    async def test_one_file_at_a_time(self) -> None:
        """What waits would have to be held in memory."""
        case: Any = self
        running: Deferred[Any] = Deferred()
        self.contacts._in_thread = lambda function, *arguments: running
        first = self.contacts.import_vcards("john", card("Ann", NUMBER))
        case.failureResultOf(
            self.contacts.import_vcards("john", card("Bob", OTHER)), TemporaryFailure
        )
        running.errback(Refused("empty"))
        await self.refusal(first)
        self.contacts._in_thread = lambda function, *arguments: succeed(function(*arguments))

        case.assertEqual(await self.contacts.import_vcards("john", card("Bob", OTHER)), (1, 0, []))

    async def test_a_large_file_leaves_room_for_texts(self) -> None:
        """Many cards are written in several transactions, and all are there."""
        case: Any = self
        text = "".join(card(f"Person {n}", f"+1202555{n:04}") for n in range(450))

        case.assertEqual(await self.contacts.import_vcards("john", text), (450, 0, []))

        case.assertEqual(len(await self.contacts.all("john")), 450)
        case.assertEqual(self.world.book.name("john", "+12025550449"), "Person 449")

    async def test_the_book_goes_out_as_cards(self) -> None:
        """Somebody else's program, or another person, reads the same."""
        case: Any = self
        await self.contacts.put("john", ANN)
        bob = Contact(contact_id="file:1", name="Bob", numbers=((OTHER, ""),))
        self.shelf.put_cards({"john": (bob,)})

        text = await self.contacts.export_vcards("john")

        case.assertEqual(await self.contacts.import_vcards("mari", text), (2, 0, []))
        found = [(c.name, c.numbers, c.groups, c.note) for c in await self.contacts.all("mari")]
        case.assertEqual(
            found, [(ANN.name, ANN.numbers, ANN.groups, ANN.note), ("Bob", bob.numbers, (), "")]
        )

    async def test_numbers_are_blocked_and_freed(self) -> None:
        """Names of senders as well; what is so already changes nothing."""
        case: Any = self
        case.assertTrue(await self.contacts.block("john", "(202) 555-0123", True))
        case.assertFalse(await self.contacts.block("john", NUMBER, True))
        self.now_ms += 1
        case.assertTrue(await self.contacts.block("john", "SHOP", True))

        case.assertEqual(await self.contacts.blocked("john"), [("SHOP", NOW + 1), (NUMBER, NOW)])
        case.assertEqual(await self.contacts.blocked("mari"), [])
        case.assertEqual(self.world.book.blockers, {NUMBER: {"john"}, "SHOP": {"john"}})

        self.open_contacts()
        await self.contacts.load()
        case.assertEqual(self.world.book.of("john").blocked, {NUMBER, "SHOP"})
        case.assertTrue(await self.contacts.block("john", NUMBER, False))
        case.assertFalse(await self.contacts.block("john", NUMBER, False))
        case.assertEqual(self.world.book.of("john").blocked, {"SHOP"})

    async def test_what_cannot_be_blocked_is_refused(self) -> None:
        """Nobody, and more than there is room for."""
        case: Any = self
        case.patch(contacts_module, "_MOST_BLOCKED", 1)
        await self.contacts.block("john", NUMBER, True)
        for number, reason in (
            (" ", "invalid-number"),
            ("x" * 256, "invalid-number"),
            (OTHER, "unsupported"),
        ):
            error = await self.refusal(self.contacts.block("john", number, True))
            case.assertEqual(error.reason, reason)

    async def test_changes_at_once_leave_the_last(self) -> None:
        """The book in memory is what the store has, however the answers overtake each other."""
        case: Any = self
        kept = await self.contacts.put("john", ANN)
        renamed = [
            Contact(contact_id=kept.contact_id, name=f"Ann {n}", numbers=((NUMBER, ""),))
            for n in range(20)
        ]
        await gatherResults([self.contacts.put("john", each) for each in renamed])

        case.assertEqual(await self.contacts.all("john"), [renamed[-1]])
        case.assertEqual(self.world.book.of("john").names, {NUMBER: "Ann 19"})

    async def test_a_commit_whose_answer_was_lost_is_not_doubled(self) -> None:
        """The writer runs a transaction again; contacts of one name stay two."""
        case: Any = self
        change = contacts_module._Change("john", (ANN, ANN), (), NOW)
        once = _Again(contacts_module._ChangeContacts())
        first = await self.store.write(once, change)
        second = await self.store.write(once, change)

        case.assertEqual(first, second)
        case.assertEqual(len(await self.contacts.all("john")), 2)


class _Again:
    """Runs an operation as the writer does after a commit whose answer was lost."""

    rank = 5

    def __init__(self, operation: Any) -> None:
        self._operation = operation

    def __call__(self, connection: Any, items: Any, again: bool) -> Any:
        return self._operation(connection, items, True)
