"""What keeps browsers' subscriptions and tells what is hidden, whatever database it stands on."""

from __future__ import annotations

from typing import Any

from attrs import evolve

from smsbridge.core.subscriptions import Subscription
from smsbridge.store.hiding import StoredHiding
from smsbridge.store.subscriptions import SubscriptionTable
from smsbridge.store.threads import StoredThreads
from tests.store.contract import NOW
from tests.store.inbox_contract import JOHN, MARY, OTHER, PEER, received

ONE = Subscription(
    person="john",
    endpoint="https://push.example.com/send/" + "a" * 500,
    p256dh="p" * 87,
    auth="a" * 22,
    session_id="s" * 64,
    created_at_ms=NOW,
)


class SubscriptionsContract:
    """Bind with `MessageStoreContract` and `InboxContract`, which open the store."""

    store: Any
    take: Any

    async def test_subscription_is_kept_replaced_and_removed(self) -> None:
        """A browser has one subscription; a second one of the same endpoint takes its place."""
        case: Any = self
        table = SubscriptionTable(self.store)
        await table.put(ONE)
        two = evolve(ONE, endpoint="https://push.example.com/send/b", created_at_ms=NOW + 1)
        await table.put(two)
        renewed = evolve(ONE, person="mary", auth="b" * 22, created_at_ms=NOW + 2)

        await table.put(renewed)
        await table.count_failures(two.endpoint, 3)

        case.assertEqual(await table.all(), [evolve(two, failures=3), renewed])
        case.assertTrue(await table.remove(two.endpoint))
        case.assertFalse(await table.remove(two.endpoint))
        case.assertEqual(await table.all(), [renewed])

    async def test_tells_who_deleted_what(self) -> None:
        """Single texts and whole conversations are told for each person in one reading."""
        case: Any = self
        first, second, other = await self.take(received(), received(), received(OTHER))
        name = received().conversation
        other_name = received(OTHER).conversation
        threads = StoredThreads(self.store)
        await threads.hide_messages(JOHN, [first], NOW)
        await threads.hide_conversation(MARY, other_name, NOW)

        found = await StoredHiding(self.store).hidden(
            [(first, name), (second, name), (other, other_name)], ["john", "mary"]
        )

        case.assertTrue(found.hides("john", name, first))
        case.assertFalse(found.hides("john", name, second))
        case.assertFalse(found.hides("mary", name, first))
        case.assertTrue(found.hides("mary", other_name, other))
        case.assertFalse(found.hides("john", other_name, other))

    async def test_deleted_conversation_shows_what_comes_later(self) -> None:
        """A text that comes after the conversation was deleted is not hidden."""
        case: Any = self
        (first,) = await self.take(received(PEER))
        name = received(PEER).conversation
        await StoredThreads(self.store).hide_conversation(JOHN, name, NOW)
        (later,) = await self.take(received(PEER))

        found = await StoredHiding(self.store).hidden([(first, name), (later, name)], ["john"])

        case.assertTrue(found.hides("john", name, first))
        case.assertFalse(found.hides("john", name, later))

    async def test_nothing_asked_is_nothing_hidden(self) -> None:
        """Without messages or persons there is nothing to read."""
        case: Any = self

        found = await StoredHiding(self.store).hidden([], [])

        case.assertFalse(found.hides("john", "demo1|x", "0"))
