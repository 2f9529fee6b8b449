"""Tests of the private MariaDB and PostgreSQL servers that other end-to-end tests rely on."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any
from urllib.parse import urlsplit

import psycopg
import pymysql
from twisted.trial.unittest import SynchronousTestCase

from tests.end_to_end import databases
from tests.end_to_end.databases import DatabaseServer, ServerError, is_running

ROOT = Path(__file__).parent.parent.parent

#: Holds every script: a text in it needs four bytes for some characters.
TEXT = "ärger Привет 你好 \U0001f600"

#: How long another process may take to start or to end.
PATIENCE_S = 60.0


def connect_mariadb(url: str) -> Any:
    """Connect to MariaDB by pymysql."""
    parts = urlsplit(url)
    return pymysql.connect(
        host=parts.hostname,
        port=parts.port or 0,
        user=parts.username,
        password=parts.password or "",
        database=parts.path[1:],
        charset="utf8mb4",
        read_timeout=1,
    )


def connect_postgresql(url: str) -> Any:
    """Connect to PostgreSQL by psycopg."""
    return psycopg.connect(url, connect_timeout=2)


class ServerTestsMixin:
    """What each server must do; bound to a server and its driver below."""

    server: Callable[[], DatabaseServer]
    connect: Callable[[str], Any]
    driver_errors: tuple[type[Exception], ...]
    scheme: str
    #: (statement, answer) for settings that decide whether a commit survives a power cut
    durable: tuple[tuple[str, str], ...]

    def execute(self: Any, url: str, *statements: str) -> list[Any]:
        """Execute statements in one transaction; return the rows of the last."""
        connection = self.connect(url)
        try:
            cursor = connection.cursor()
            for statement in statements:
                cursor.execute(statement)
            rows = list(cursor.fetchall()) if cursor.description else []
            connection.commit()
            return rows
        finally:
            connection.close()

    def test_url_is_what_an_operator_writes(self: Any) -> None:
        """The address has the scheme, the loopback interface and the database's name."""
        parts = urlsplit(self.server().url)

        self.assertEqual(parts.scheme, self.scheme)
        self.assertEqual((parts.hostname, parts.path), ("127.0.0.1", "/smsbridge"))
        self.assertEqual(self.execute(self.server().url, "SELECT 1"), [(1,)])

    def test_databases_are_apart(self: Any) -> None:
        """Each test gets an empty database of its own, in which it may make tables."""
        first, second = self.server().create_database(), self.server().create_database()

        self.execute(first, "CREATE TABLE t (x INTEGER)")
        self.execute(second, "CREATE TABLE t (x INTEGER)")
        self.assertEqual(self.execute(second, "SELECT x FROM t"), [])

    def test_keeps_texts_in_every_script(self: Any) -> None:
        """A text comes back as it went in, characters beyond the basic plane included."""
        url = self.server().create_database()

        self.execute(url, "CREATE TABLE t (x VARCHAR(99))", f"INSERT INTO t VALUES ('{TEXT}')")

        self.assertEqual(self.execute(url, "SELECT x FROM t"), [(TEXT,)])

    def test_commits_reach_the_disk(self: Any) -> None:
        """The server syncs every commit, as it does where it is installed."""
        for statement, answer in self.durable:
            self.assertEqual(self.execute(self.server().url, statement)[0][-1], answer)

    def test_restart_keeps_address_and_data(self: Any) -> None:
        """After a restart the same address leads to the same rows, in a new process."""
        server = self.server()
        url = server.create_database()
        self.execute(url, "CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (7)")
        before = server.pid

        server.restart()

        self.assertNotEqual(server.pid, before)
        self.assertEqual(self.execute(url, "SELECT x FROM t"), [(7,)])

    def test_killed_server_is_gone_and_comes_back_with_what_was_committed(self: Any) -> None:
        """After ``kill -9`` nobody answers; after the next start the committed rows are there."""
        server = self.server()
        url = server.create_database()
        self.execute(url, "CREATE TABLE t (x INTEGER)", "INSERT INTO t VALUES (7)")
        # An open connection keeps a process of PostgreSQL's busy.
        connection = self.connect(url)
        self.addCleanup(connection.close)

        server.kill()
        self.assertFalse(server.running)
        self.assertRaises(self.driver_errors, self.connect, url)
        server.start()

        self.assertEqual(self.execute(url, "SELECT x FROM t"), [(7,)])

    def test_stop_twice_is_harmless(self: Any) -> None:
        """Stopping waits until the server has ended, and a second time does nothing."""
        server = self.server()
        pid = server.pid

        server.stop()
        server.stop()

        self.assertFalse(is_running(pid))

    def test_paused_server_is_silent_until_resumed(self: Any) -> None:
        """A paused server answers nobody on an open connection, and goes on afterwards."""
        server = self.server()
        connection = self.connect(server.create_database())
        self.addCleanup(connection.close)
        cursor = connection.cursor()
        cursor.execute("SELECT 1")
        cursor.fetchall()

        server.pause()
        self.addCleanup(server.resume)
        states = {
            Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0]
            for pid in [server.pid, *databases.children_of(server.pid)]
        }
        server.resume()
        cursor.execute("SELECT 2")

        self.assertEqual(states, {"T"})
        self.assertEqual(list(cursor.fetchall()), [(2,)])

    def test_next_test_finds_the_server_well(self: Any) -> None:
        """Asking for the server again mends what a failed test left: paused or stopped."""
        self.server().pause()
        self.assertEqual(self.execute(self.server().url, "SELECT 1"), [(1,)])
        self.server().stop()
        self.assertEqual(self.execute(self.server().url, "SELECT 1"), [(1,)])

    def test_server_ends_with_the_process_that_started_it(self: Any) -> None:
        """Killed tests leave no server behind."""
        start = f"from tests.end_to_end import databases as d; s = d.{self.server.__name__}()"
        code = f"{start}; print(s.pid, s.place.folder, flush=True); input()"
        with subprocess.Popen(
            [sys.executable, "-c", code],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        ) as tests:
            assert tests.stdout is not None
            pid, folder = tests.stdout.readline().split()
            self.addCleanup(subprocess.run, ["rm", "-rf", folder], check=True)
            self.assertTrue(is_running(int(pid)))
            tests.send_signal(signal.SIGKILL)

        deadline = time.monotonic() + PATIENCE_S
        while is_running(int(pid)) and time.monotonic() < deadline:
            time.sleep(0.05)
        self.assertFalse(is_running(int(pid)))


class MariaDBTests(ServerTestsMixin, SynchronousTestCase):
    """The private MariaDB."""

    server = staticmethod(databases.mariadb)
    connect = staticmethod(connect_mariadb)
    driver_errors = (pymysql.MySQLError,)
    scheme = "mysql"
    durable = (("SHOW VARIABLES LIKE 'innodb_flush_log_at_trx_commit'", "1"),)


class PostgreSQLTests(ServerTestsMixin, SynchronousTestCase):
    """The private PostgreSQL."""

    server = staticmethod(databases.postgresql)
    connect = staticmethod(connect_postgresql)
    driver_errors = (psycopg.Error,)
    scheme = "postgresql"
    durable = (("SHOW fsync", "on"), ("SHOW synchronous_commit", "on"))


class ProgramTests(SynchronousTestCase):
    """Where the servers' programs are looked for."""

    def test_missing_program_names_the_package(self) -> None:
        """Who lacks a server is told what to install; the test fails and is not skipped."""
        error = self.assertRaises(
            ServerError, databases.program, "no-such-server", "no-such-package"
        )

        self.assertIn("no-such-server is not installed", str(error))
        self.assertIn("Debian package no-such-package", str(error))

    def test_newest_version_is_taken(self) -> None:
        """Of several installed versions the newest serves, by number and not by letter."""
        with tempfile.TemporaryDirectory() as folder:
            for version in ("9", "15", "16"):
                path = Path(folder, version, "bin")
                path.mkdir(parents=True)
                (path / "postgres").touch()

            found = databases.program("postgres", "postgresql", f"{folder}/*/bin")

        self.assertEqual(found, os.path.join(folder, "16", "bin", "postgres"))

    def test_failed_start_leaves_nothing(self) -> None:
        """A server that cannot start says why, and its folder and process are gone."""

        class Broken(databases.MariaDB):
            def serve(self, place: databases.Place) -> list[str]:
                return ["/bin/sh", "-c", "echo the disk is full; exit 3"]

        server = DatabaseServer(Broken())
        error = self.assertRaises(ServerError, server.start)

        self.assertIn("ended while starting", str(error))
        self.assertIn("the disk is full", str(error))
        self.assertRaises(ServerError, lambda: server.place)
        self.assertFalse(server.running)
