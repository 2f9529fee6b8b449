"""The contract of the rows about files on a real MariaDB and a real PostgreSQL."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.end_to_end import databases
from tests.store.files import FilesContract


class MariaDBFilesTests(FilesContract, TestCase):
    """On MariaDB."""

    def database_url(self) -> str:
        """Make an empty database."""
        return databases.mariadb().create_database()


class PostgreSQLFilesTests(FilesContract, TestCase):
    """On PostgreSQL."""

    def database_url(self) -> str:
        """Make an empty database."""
        return databases.postgresql().create_database()
