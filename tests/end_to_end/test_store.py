"""
The store's contract on a real MariaDB and a real PostgreSQL, and what happens while they are away.
"""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from smsbridge.core.entries import MessageQuery
from tests.end_to_end import databases
from tests.end_to_end.databases import DatabaseServer
from tests.store.contract import MessageStoreContract, entry
from tests.store.inbox_contract import InboxContract
from tests.store.provision import ProvisionContract
from tests.store.subscriptions import SubscriptionsContract


class ServerContract(ProvisionContract, SubscriptionsContract, InboxContract, MessageStoreContract):
    """What a database server adds to the contract."""

    timeout = 180

    def server(self) -> DatabaseServer:
        """Return the running server that the tests share."""
        raise NotImplementedError

    def database_url(self) -> str:
        """Make an empty database."""
        return self.server().create_database()

    async def test_waits_while_the_server_is_gone(self) -> None:
        """
        What was accepted before, during and after an outage is stored once; nothing is refused.
        """
        before = [entry() for _ in range(20)]
        await self.accept(*before)
        during = [entry() for _ in range(50)]
        server = self.server()
        try:
            await deferToThread(server.kill)
            waiting = [self.store.accept(one) for one in during]
            await _pause(3)
            answered = [d for d in waiting if d.called]
            self.assertFalse(self.store.is_open)
        finally:
            await deferToThread(server.start)
        for one in waiting:
            await one

        self.assertEqual(answered, [])
        self.assertTrue(self.store.is_open)
        stored = [m.message_id for m in await self.store.messages(MessageQuery(limit=None))]
        self.assertEqual(stored, [one.message.message_id for one in (*before, *during)])

    async def test_two_nodes_share_the_work(self) -> None:
        """Two daemons on one database never claim the same delivery."""
        entries = [entry() for _ in range(200)]
        await self.accept(*entries)
        ids = [one.deliveries[0].delivery_id for one in entries]
        other = self.open_store("there", "state-of-the-other")
        try:
            claims = [
                store.claim(ids[start : start + 20], 1, 2)
                for start in range(0, 200, 20)
                for store in (self.store, other)
            ]
            sets = [await claim for claim in claims]
        finally:
            await other.stopService()

        claimed = [delivery_id for found in sets for delivery_id in found]
        self.assertEqual(sorted(claimed), sorted(ids))


class MariaDBStoreTests(ServerContract, TestCase):
    """The contract on MariaDB."""

    def server(self) -> DatabaseServer:
        """Return the shared MariaDB."""
        return databases.mariadb()


class PostgreSQLStoreTests(ServerContract, TestCase):
    """The contract on PostgreSQL."""

    def server(self) -> DatabaseServer:
        """Return the shared PostgreSQL."""
        return databases.postgresql()


def _pause(seconds: float) -> Deferred[Any]:
    clock: Any = reactor
    return deferLater(clock, seconds)
