"""
What a gateway has promised a peer to remember and cannot accept yet.

A provider that was told "I have it" never says it again.  Parts of a text whose others are still to
come, and texts whose pictures are still to be fetched, are kept here until they can be accepted; so
they outlive the process.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from attrs import frozen
from twisted.internet.defer import Deferred

__all__ = ["Kept", "Pending"]


@frozen
class Kept:
    """One thing that waits."""

    key: str
    value: bytes
    kept_at_ms: int


class Pending(Protocol):
    """The durable notes of all gateways; each sees its own."""

    def keep(self, gateway: str, key: str, value: bytes) -> Deferred[bool]:
        """
        Keep a value; fires after the commit with False if there was one under this key, which
        stays as it is.

        :param key: at most 255 characters.
        :raises TemporaryFailure: the store is out of reach; do not acknowledge.
        """

    def drop(self, gateway: str, keys: Sequence[str]) -> Deferred[None]:
        """Forget values; fires after the commit. Unknown keys are passed over."""

    def of(self, gateway: str) -> Deferred[list[Kept]]:
        """Read all that is kept for a gateway, oldest first."""
