"""Browsers that want to be woken when a text comes (Web Push, RFC 8030), and what keeps them."""

from __future__ import annotations

from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

__all__ = ["Subscription", "Subscriptions"]


@frozen(kw_only=True)
class Subscription:
    """One browser of a person, and how its push service is told."""

    person: str
    endpoint: str = field(repr=False)  # an address that is secret to the browser and us
    p256dh: str = field(repr=False)  # the browser's public key, base64url
    auth: str = field(repr=False)  # the browser's secret, base64url
    session_id: str = ""  # ends with that login
    created_at_ms: int = 0
    failures: int = 0  # in a row


class Subscriptions(Protocol):
    """Keeps subscriptions; every Deferred fires after the read or the commit."""

    def all(self) -> Deferred[list[Subscription]]:
        """Read all subscriptions of all persons, oldest first."""

    def put(self, subscription: Subscription) -> Deferred[None]:
        """Add a subscription, or replace the one of the same endpoint."""

    def remove(self, endpoint: str) -> Deferred[bool]:
        """Remove a subscription; False if there was none."""

    def count_failures(self, endpoint: str, failures: int) -> Deferred[None]:
        """Keep how many notifications in a row failed."""
