"""The table of browsers that want to be woken, as `core.subscriptions.Subscriptions`."""

from __future__ import annotations

import hashlib
from functools import partial

from attrs import frozen
from sqlalchemy import Connection, delete, insert, select, update
from twisted.internet.defer import Deferred

from smsbridge.core.subscriptions import Subscription
from smsbridge.store.change import CHANGE
from smsbridge.store.schema import push_subscriptions
from smsbridge.store.service import MessageStore

__all__ = ["SubscriptionTable"]

_c = push_subscriptions.c


@frozen
class SubscriptionTable:
    """See `core.subscriptions.Subscriptions`, which this provides."""

    store: MessageStore

    def all(self) -> Deferred[list[Subscription]]:
        """See `Subscriptions.all`."""
        return self.store.read(_all_txn)

    def put(self, subscription: Subscription) -> Deferred[None]:
        """See `Subscriptions.put`."""
        return self.store.write(CHANGE, partial(_put_txn, subscription=subscription))

    def remove(self, endpoint: str) -> Deferred[bool]:
        """See `Subscriptions.remove`."""
        return self.store.write(CHANGE, partial(_remove_txn, endpoint=endpoint))

    def count_failures(self, endpoint: str, failures: int) -> Deferred[None]:
        """See `Subscriptions.count_failures`."""
        return self.store.write(
            CHANGE, partial(_failures_txn, endpoint=endpoint, failures=failures)
        )


def _digest(endpoint: str) -> str:
    return hashlib.sha256(endpoint.encode()).hexdigest()


def _all_txn(connection: Connection) -> list[Subscription]:
    rows = connection.execute(
        select(push_subscriptions).order_by(_c.created_at_ms, _c.endpoint_digest)
    )
    return [
        Subscription(
            person=row.person,
            endpoint=row.endpoint,
            p256dh=row.p256dh,
            auth=row.auth,
            session_id=row.session_id,
            created_at_ms=row.created_at_ms,
            failures=row.failures,
        )
        for row in rows
    ]


def _put_txn(connection: Connection, subscription: Subscription) -> None:
    _remove_txn(connection, subscription.endpoint)
    connection.execute(
        insert(push_subscriptions).values(
            endpoint_digest=_digest(subscription.endpoint),
            person=subscription.person,
            endpoint=subscription.endpoint,
            p256dh=subscription.p256dh,
            auth=subscription.auth,
            session_id=subscription.session_id,
            created_at_ms=subscription.created_at_ms,
            failures=subscription.failures,
        )
    )


def _remove_txn(connection: Connection, endpoint: str) -> bool:
    gone = connection.execute(
        delete(push_subscriptions).where(_c.endpoint_digest == _digest(endpoint))
    )
    return gone.rowcount > 0


def _failures_txn(connection: Connection, endpoint: str, failures: int) -> None:
    connection.execute(
        update(push_subscriptions)
        .where(_c.endpoint_digest == _digest(endpoint))
        .values(failures=failures)
    )
