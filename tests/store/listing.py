"""What the store lists for one person, whatever database it stands on; bound elsewhere."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from smsbridge.core.listing import ListQuery
from smsbridge.core.message import Direction
from smsbridge.store.listing import MessageListing
from smsbridge.store.threads import StoredThreads
from tests.store.contract import NOW, MessageStoreContract, entry
from tests.store.inbox_contract import (
    JOHN,
    MARY,
    OTHER,
    OUTWARD,
    PEER,
    ZOE,
    between,
    received,
    wrote,
)


class ListingContract:
    """Bind with `database_url` and a trial TestCase that has a reactor."""

    store: Any
    folder: Any
    url: str
    database_url: Any
    setUp: Any = MessageStoreContract.setUp
    tearDown: Any = MessageStoreContract.tearDown
    open_store: Any = MessageStoreContract.open_store
    accept: Any = MessageStoreContract.accept

    async def take(self, *of: Any) -> list[str]:
        """Accept messages, each in a transaction of its own; returns their ids."""
        for each in of:
            await self.accept(entry(each))
        return [each.message_id for each in of]

    async def bodies(self, viewer: Any = JOHN, **more: Any) -> list[str]:
        """Return the texts of a list."""
        query = ListQuery(viewer=viewer, **more)
        return [each.body for each in await MessageListing(self.store).listed(query)]

    async def test_lists_what_the_viewer_may_see(self) -> None:
        """Newest first, of the viewer's lines, and what was written between persons."""
        test: Any = self
        await self.take(
            received(body="1"),
            received(body="2", line="demo2"),
            wrote(body="3"),
            between("john", "zoe", body="4"),
        )

        test.assertEqual(await self.bodies(JOHN), ["4", "3", "1"])
        test.assertEqual(await self.bodies(MARY), ["3", "2", "1"])
        test.assertEqual(await self.bodies(ZOE), ["4"])
        test.assertEqual(await self.bodies(OUTWARD), ["3", "1"])
        test.assertEqual(await self.bodies(OUTWARD, number="zoe"), [])

    async def test_narrows_the_list(self) -> None:
        """By line, number, person, direction, time and place."""
        test: Any = self
        first, second, *_ = await self.take(
            received(body="1"),
            received(OTHER, body="2"),
            wrote(OTHER, body="3"),
            between("john", "mary", body="4"),
        )
        for more, bodies in (
            ({"line": "demo1"}, ["3", "2", "1"]),
            ({"line": "demo2"}, []),
            ({"number": OTHER}, ["3", "2"]),
            ({"number": OTHER, "line": "demo2"}, []),
            ({"number": "mary"}, ["4"]),
            ({"number": "+12025550199"}, []),
            ({"direction": Direction.IN}, ["2", "1"]),
            ({"before_id": second}, ["1"]),
            ({"before_id": first}, []),
            ({"offset": 1, "limit": 2}, ["3", "2"]),
            ({"since_ms": NOW + 10**12}, []),
            ({"until_ms": 0}, []),
            ({"person": "nobody"}, []),
        ):
            test.assertEqual(await self.bodies(**more), bodies, str(more))

    async def test_other_persons_conversations_are_not_there(self) -> None:
        """A number says nothing about lines that the viewer has not, nor a name about others."""
        test: Any = self
        await self.take(received(line="demo2", body="1"), between("mary", "zoe", body="2"))

        test.assertEqual(await self.bodies(JOHN, number=PEER), [])
        test.assertEqual(await self.bodies(JOHN, number="mary"), [])
        test.assertEqual(await self.bodies(JOHN, person="mary"), [])

    async def test_hidden_texts_are_left_out(self) -> None:
        """What a person deleted, alone or with its conversation, is in no list of that person."""
        test: Any = self
        threads = StoredThreads(self.store)
        one, *_ = await self.take(received(body="1"), received(body="2"), received(OTHER, body="3"))
        await threads.hide_messages(JOHN, [one], NOW)
        test.assertEqual(await self.bodies(JOHN), ["3", "2"])
        await threads.hide_conversation(JOHN, f"demo1|{OTHER}", NOW)

        test.assertEqual(await self.bodies(JOHN), ["2"])
        test.assertEqual(await self.bodies(MARY), ["3", "2", "1"])
        test.assertEqual(await self.bodies(evolve(JOHN, lines=())), [])
