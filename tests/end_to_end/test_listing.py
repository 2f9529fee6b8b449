"""Lists of messages on a real MariaDB and a real PostgreSQL."""

from __future__ import annotations

from twisted.trial.unittest import TestCase

from tests.end_to_end import databases
from tests.store.listing import ListingContract


class MariaDBListingTests(ListingContract, TestCase):
    """The contract on MariaDB."""

    timeout = 180

    def database_url(self) -> str:
        """Make an empty database."""
        return databases.mariadb().create_database()


class PostgreSQLListingTests(ListingContract, TestCase):
    """The contract on PostgreSQL."""

    timeout = 180

    def database_url(self) -> str:
        """Make an empty database."""
        return databases.postgresql().create_database()
