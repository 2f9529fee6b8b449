"""Tests of `smsbridge.store.listing` on SQLite."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.store.listing import ListingContract


class SqliteListingTests(ListingContract, TestCase):
    """The contract on SQLite."""

    def database_url(self) -> str:
        """Use the file in the state folder."""
        return "sqlite"
