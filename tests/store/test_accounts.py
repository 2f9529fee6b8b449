"""Tests of `smsbridge.store.accounts` on SQLite."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.store.accounts import AccountsContract


class SqliteAccountsTests(AccountsContract, TestCase):
    """The contract on SQLite."""

    def database_url(self) -> str:
        """Use the file in the state folder."""
        return "sqlite"
