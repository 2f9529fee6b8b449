"""Tests of the message store on SQLite, and of its state folder and files."""

from __future__ import annotations

import os
import shutil
import sqlite3
import stat
import subprocess
import sys
from pathlib import Path
from typing import Any

from sqlalchemy import create_engine, text
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.store import database
from smsbridge.store.database import DatabaseError
from smsbridge.store.schema import metadata
from smsbridge.store.service import StateFolder, StateFolderTaken
from tests.store.contract import MessageStoreContract, entry
from tests.store.inbox_contract import InboxContract
from tests.store.provision import ProvisionContract
from tests.store.subscriptions import SubscriptionsContract


class SqliteStoreTests(
    ProvisionContract, SubscriptionsContract, InboxContract, MessageStoreContract, TestCase
):
    """The contract on SQLite, which is the default."""

    def database_url(self) -> str:
        """Use the file in the state folder."""
        return "sqlite"

    def test_a_second_start_is_refused(self) -> None:
        """Two daemons on one folder would take each other's messages."""
        error = self.assertRaises(StateFolderTaken, self.open_store)

        self.assertIn(f"process {os.getpid()}", str(error))
        self.assertIn("state =", str(error))

    def test_the_folder_is_private(self) -> None:
        """Only the daemon's user may read the state folder."""
        self.assertEqual(stat.S_IMODE((self.folder / "state").stat().st_mode), 0o700)

    async def test_every_commit_reaches_the_disk(self) -> None:
        """The writer's connection is as durable as SQLite can be."""
        await self.store.accept(entry())
        settings = await self.store.write(_Pragmas(), None)

        self.assertEqual(settings, ("wal", 2, 1))


class _Pragmas:
    rank = 0

    def __call__(self, connection, items, again):  # type: ignore[no-untyped-def]
        return [
            tuple(
                connection.exec_driver_sql(f"PRAGMA {name}").scalar()
                for name in ("journal_mode", "synchronous", "foreign_keys")
            )
        ]


class StateFolderTests(SynchronousTestCase):
    """The lock of the state folder."""

    def test_a_dead_owner_does_not_hold_it(self) -> None:
        """The lock goes with its process, however that ends."""
        path = Path(self.mktemp())
        subprocess.run(
            [
                sys.executable,
                "-c",
                "import sys, os; from pathlib import Path;"
                "from smsbridge.store.service import StateFolder;"
                "StateFolder(Path(sys.argv[1])).take(); os.kill(os.getpid(), 9)",
                str(path),
            ],
            check=False,
        )

        folder = StateFolder(path)
        folder.take()

        self.assertEqual((path / "lock").read_text(), f"{os.getpid()}\n")
        folder.leave()

    def test_can_be_taken_again_after_leaving(self) -> None:
        """Leaving frees it for the next."""
        first, second = StateFolder(Path(self.mktemp())), None
        first.take()
        second = StateFolder(first.path)
        self.assertRaises(StateFolderTaken, second.take)

        first.leave()
        second.take()

        second.leave()


class DatabaseTests(SynchronousTestCase):
    """Opening and upgrading."""

    def setUp(self) -> None:
        """Make a folder."""
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.path = self.folder / "smsbridge.sqlite3"
        self.engine, _ = database.open_engines(database.url_of("sqlite", self.folder))

    def test_the_steps_lead_to_the_declared_tables(self) -> None:
        """What the migrations make is what the schema declares, index by index."""
        database.prepare(self.engine)
        declared = create_engine("sqlite://")
        metadata.create_all(declared)

        def shape(connection: sqlite3.Connection) -> dict[str, Any]:
            found: dict[str, Any] = {}
            for kind, name, sql in connection.execute(
                "SELECT type, name, sql FROM sqlite_master WHERE name NOT LIKE 'alembic%'"
                " AND name NOT LIKE 'sqlite_%'"
            ):
                if kind == "table":
                    # A column added later stands elsewhere in the text, and last in the list.
                    found[name] = (
                        sorted(row[1:] for row in connection.execute(f"PRAGMA table_info({name})")),
                        sorted(
                            row[2:]
                            for row in connection.execute(f"PRAGMA foreign_key_list({name})")
                        ),
                        "WITHOUT ROWID" in sql,
                    )
                else:
                    found[name] = " ".join(sql.split())
            return found

        made = shape(sqlite3.connect(self.path))
        wanted = shape(declared.raw_connection().driver_connection)
        self.assertEqual(made, wanted)

    def test_knows_its_newest_step(self) -> None:
        """The constant that spares a start the loading of Alembic is true."""
        from alembic.script import ScriptDirectory

        script = ScriptDirectory.from_config(database._config())

        self.assertEqual(script.get_current_head(), database.HEAD)

    def test_an_up_to_date_database_is_left_alone(self) -> None:
        """A second start changes nothing and copies nothing."""
        database.prepare(self.engine)
        before = self.path.read_bytes()

        database.prepare(self.engine)

        self.assertEqual(self.path.read_bytes(), before)
        self.assertEqual([p.name for p in self.folder.iterdir() if ".before" in p.name], [])

    def test_refuses_a_newer_database(self) -> None:
        """A database of a newer program is not touched."""
        database.prepare(self.engine)
        with self.engine.connect() as connection, connection.begin():
            connection.execute(text("UPDATE alembic_version SET version_num = '9999'"))

        error = self.assertRaises(DatabaseError, database.prepare, self.engine)

        self.assertIn("newer", str(error))

    def test_refuses_somebody_elses_database(self) -> None:
        """A database with other people's tables is not ours to change."""
        with self.engine.connect() as connection, connection.begin():
            connection.execute(text("CREATE TABLE messages (id INTEGER)"))

        error = self.assertRaises(DatabaseError, database.prepare, self.engine)

        self.assertIn("of its own", str(error))

    def test_says_when_a_file_is_no_database(self) -> None:
        """A file full of something else is named as such."""
        self.path.write_bytes(b"this is not a database" * 100)

        error = self.assertRaises(DatabaseError, database.prepare, self.engine)

        self.assertIn("cannot be opened", str(error))

    def test_names_kinds_that_it_knows(self) -> None:
        """An unknown kind of database is refused with the known ones."""
        error = self.assertRaises(DatabaseError, database.url_of, "oracle://h/db", self.folder)

        self.assertIn("sqlite, mysql, postgresql", str(error))

    def tearDown(self) -> None:
        """Remove the folder."""
        self.engine.dispose()
        shutil.rmtree(self.folder)
