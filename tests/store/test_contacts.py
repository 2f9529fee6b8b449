"""Tests of contacts and blocked numbers on SQLite."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.store.contacts import ContactsContract


class SqliteContactsTests(ContactsContract, TestCase):
    """The contract on SQLite, which is the default."""

    def database_url(self) -> str:
        """Use the file in the state folder."""
        return "sqlite"
