"""The rows about files on SQLite."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.store.files import FilesContract


class SqliteFilesTests(FilesContract, TestCase):
    """The contract on SQLite."""

    def database_url(self) -> str:
        """Use the file in the state folder."""
        return "sqlite"
