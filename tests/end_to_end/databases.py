"""
Private MariaDB and PostgreSQL servers for the tests, made from Debian's packages.

Each server lives in a temporary folder, listens on a free port of the loopback interface, keeps its
own defaults for durability, and ends with the test process. Starting one costs seconds, so a
process shares them: `mariadb()` and `postgresql()` start on first use. A test takes a database of
its own by `create_database()` and may do to the server what a bad day does: `kill()` is
``kill -9``, `pause()` is SIGSTOP; `start()` and `resume()` mend it.

Signals go only to processes that were started here. A missing program is an error that names the
Debian package, never a skipped test.
"""

from __future__ import annotations

import atexit
import glob
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from pathlib import Path
from typing import Any, Protocol

import attrs
import psycopg
import pymysql

from tests.end_to_end.ports import free_port

__all__ = ["DatabaseServer", "MariaDB", "PostgreSQL", "ServerError", "mariadb", "postgresql"]

USER = "smsbridge"
PASSWORD = "not-a-secret"

START_TIMEOUT_S = 60.0
STOP_TIMEOUT_S = 30.0
POLL_S = 0.05


class ServerError(Exception):
    """A database server is not installed, or did not do as it was told."""


def program(name: str, package: str, folder: str = "") -> str:
    """
    Return the path of a program; in the newest folder that a pattern gives, if there is one.

    :raises ServerError: it is not installed; names the Debian package.
    """
    if folder:
        found = sorted(glob.glob(f"{folder}/{name}"), key=_version_in)
        path = found[-1] if found else None
    else:
        # Debian keeps servers in folders that a user's PATH may lack.
        path = shutil.which(name, path=os.environ.get("PATH", "") + ":/usr/local/sbin:/usr/sbin")
    if path is None:
        raise ServerError(
            f"{name} is not installed, and these tests need it: "
            f"install the Debian package {package} (scripts/install-test-packages does)."
        )
    return path


def _version_in(path: str) -> list[int]:
    return [int(part) for part in path.split("/") if part.isdigit()]


def is_stopped(pid: int) -> bool:
    """Tell whether a process is stopped, or gone."""
    try:
        state = Path(f"/proc/{pid}/stat").read_text(encoding="ascii", errors="replace")
    except OSError:
        return True
    return state.rpartition(")")[2].split()[0] in "TZX"


def children_of(pid: int) -> list[int]:
    """Return the direct children of a process that have not ended."""
    found = []
    for stat in glob.glob("/proc/[0-9]*/stat"):
        try:
            # The name, in brackets, may hold blanks and brackets itself.
            state, parent = Path(stat).read_text().rpartition(")")[2].split()[:2]
        except (FileNotFoundError, ProcessLookupError):
            continue
        if int(parent) == pid and state != "Z":
            found.append(int(stat.split("/")[2]))
    return found


def is_running(pid: int) -> bool:
    """Tell whether a process exists and has not ended."""
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] not in "ZX"
    except (FileNotFoundError, ProcessLookupError):
        return False


def send(pid: int, number: signal.Signals) -> None:
    """Signal a process, which may have ended meanwhile."""
    try:
        os.kill(pid, number)
    except ProcessLookupError:
        pass  # what was asked for has happened already


@attrs.frozen
class Place:
    """Where a server has its files and its port."""

    folder: Path
    port: int

    @property
    def data(self) -> str:
        """The folder that the server itself makes and keeps."""
        return str(self.folder / "data")

    @property
    def socket(self) -> str:
        """The unix socket of a server that wants a file name rather than a folder."""
        return str(self.folder / "sock")


class Flavor(Protocol):
    """What one database server needs that another does not."""

    #: the scheme of its addresses, as an operator writes them
    scheme: str
    #: what asks the server to end soon, without waiting for its clients
    stop_signal: signal.Signals

    def account(self) -> str | None:
        """Return the user that the server must run as, or None for our own."""

    def initialize(self, place: Place) -> list[str]:
        """Return the command that makes the server's files, once."""

    def serve(self, place: Place) -> list[str]:
        """Return the command of the server in the foreground, with its defaults for commits."""

    def administer(self, place: Place, *statements: str) -> None:
        """Execute statements as the administrator, on the unix socket."""

    def add_user(self) -> str:
        """Return the statement that makes `USER`."""

    def add_database(self, name: str) -> tuple[str, ...]:
        """Return the statements that make an empty database in which `USER` may do everything."""


class MariaDB:
    """MariaDB as it comes, in utf8mb4."""

    scheme = "mysql"
    stop_signal = signal.SIGTERM

    def account(self) -> str | None:
        """Return None: MariaDB serves root as well, if it is told that this is meant."""
        return None

    def _as_root(self) -> list[str]:
        return ["--user=root"] if os.geteuid() == 0 else []

    def initialize(self, place: Place) -> list[str]:
        """Make the system tables, with an administrator who needs no password on the socket."""
        return [
            program("mariadb-install-db", "mariadb-server"),
            "--no-defaults",
            f"--datadir={place.data}",
            "--auth-root-authentication-method=normal",
            "--skip-test-db",
            *self._as_root(),
        ]

    def serve(self, place: Place) -> list[str]:
        """Listen on the loopback interface and on the socket."""
        return [
            program("mariadbd", "mariadb-server"),
            "--no-defaults",
            f"--datadir={place.data}",
            f"--socket={place.socket}",
            f"--pid-file={place.folder / 'pid'}",
            "--bind-address=127.0.0.1",
            f"--port={place.port}",
            "--skip-name-resolve",
            "--character-set-server=utf8mb4",
            *self._as_root(),
        ]

    def administer(self, place: Place, *statements: str) -> None:
        """Execute statements as root."""
        connection = pymysql.connect(
            unix_socket=place.socket, user="root", autocommit=True, connect_timeout=5
        )
        with connection, connection.cursor() as cursor:
            for statement in statements:
                cursor.execute(statement)

    def add_user(self) -> str:
        """Make a user who comes from the loopback interface."""
        return f"CREATE USER '{USER}'@'127.0.0.1' IDENTIFIED BY '{PASSWORD}'"

    def add_database(self, name: str) -> tuple[str, ...]:
        """Make it in utf8mb4, whatever the default."""
        # In a grant, a bare underscore stands for any character.
        pattern = name.replace("_", "\\_")
        return (
            f"CREATE DATABASE `{name}` CHARACTER SET utf8mb4",
            f"GRANT ALL ON `{pattern}`.* TO '{USER}'@'127.0.0.1'",
        )


class PostgreSQL:
    """PostgreSQL as it comes, in UTF-8."""

    scheme = "postgresql"
    # SIGTERM would wait until the last client has gone.
    stop_signal = signal.SIGINT

    def account(self) -> str | None:
        """Return somebody other than root, whom PostgreSQL refuses to serve."""
        if os.geteuid() != 0:
            return None
        try:
            return pwd.getpwnam("postgres").pw_name
        except KeyError:
            return "nobody"

    def _program(self, name: str) -> str:
        return program(name, "postgresql", "/usr/lib/postgresql/*/bin")

    def initialize(self, place: Place) -> list[str]:
        """Make the cluster, with an administrator who needs no password on the socket."""
        return [
            self._program("initdb"),
            f"--pgdata={place.data}",
            "--username=postgres",
            "--auth-local=trust",
            "--auth-host=scram-sha-256",
            "--encoding=UTF8",
            "--locale=C.UTF-8",
        ]

    def serve(self, place: Place) -> list[str]:
        """Listen on the loopback interface and on the socket."""
        listen = ["-k", str(place.folder), "-h", "127.0.0.1", "-p", str(place.port)]
        return [self._program("postgres"), "-D", place.data, *listen]

    def administer(self, place: Place, *statements: str) -> None:
        """Execute statements as postgres."""
        with psycopg.connect(
            host=str(place.folder),
            port=place.port,
            user="postgres",
            dbname="postgres",
            autocommit=True,
            connect_timeout=5,
        ) as connection:
            for statement in statements:
                connection.execute(statement.encode())

    def add_user(self) -> str:
        """Make a role that may log in."""
        return f"CREATE ROLE {USER} LOGIN PASSWORD '{PASSWORD}'"

    def add_database(self, name: str) -> tuple[str, ...]:
        """Make it the user's own."""
        return (f'CREATE DATABASE "{name}" OWNER {USER}',)


class DatabaseServer:
    """
    One private server; not started by being made.

    All methods block until they have done what they say, which is what a test wants before and
    after its work. A test that must go on meanwhile calls them by `deferToThread`.
    """

    def __init__(self, flavor: Flavor) -> None:
        self._flavor = flavor
        self._process: subprocess.Popen[bytes] | None = None
        self._place: Place | None = None
        self._paused: list[int] = []
        self._databases = 0

    @property
    def place(self) -> Place:
        """Where the server lives, from its first start on."""
        if self._place is None:
            raise ServerError(f"the {self._flavor.scheme} server was never started")
        return self._place

    @property
    def pid(self) -> int:
        """The server's main process."""
        if self._process is None:
            raise ServerError(f"the {self._flavor.scheme} server is not running")
        return self._process.pid

    @property
    def running(self) -> bool:
        """Whether the server's main process exists, paused or not."""
        return self._process is not None and self._process.poll() is None

    @property
    def url(self) -> str:
        """The address of the first database, as it stands in an ini file."""
        return self._url_of(USER)

    def create_database(self) -> str:
        """Make an empty database that nobody else uses, and return its address."""
        self._databases += 1
        name = f"{USER}_{self._databases}"
        self.administer(*self._flavor.add_database(name))
        return self._url_of(name)

    def administer(self, *statements: str) -> None:
        """Execute statements as the server's administrator."""
        self._flavor.administer(self.place, *statements)

    def start(self) -> None:
        """
        Start the server and wait until it answers; nothing happens if it runs.

        The port stays the same for the life of this object, so that clients can come back.

        :raises ServerError: a program is missing, or the server ends or stays silent.
        """
        if self.running:
            return
        if self._place is not None:
            self._serve()
            return
        prefix = f"smsbridge-{self._flavor.scheme}-"
        self._place = Place(Path(tempfile.mkdtemp(prefix=prefix)), free_port())
        atexit.register(self.remove)
        try:
            account = self._flavor.account()
            if account is not None:
                shutil.chown(self._place.folder, account)
            self._run(self._flavor.initialize(self._place))
            self._serve()
            self.administer(self._flavor.add_user(), *self._flavor.add_database(USER))
        except BaseException:
            # Half a server would be taken for a whole one by the next start.
            self.remove()
            raise

    def stop(self) -> None:
        """Stop the server in good order; nothing happens if it does not run."""
        self.resume()
        self._end(self._flavor.stop_signal)

    def kill(self) -> None:
        """End the server at once, as a crash or ``kill -9`` does; its files stay."""
        self._end(signal.SIGKILL)

    def restart(self) -> None:
        """Stop the server if it runs, start it again and wait until it answers."""
        self.stop()
        self.start()

    def pause(self) -> None:
        """Stop the server's processes in their tracks: connections stay open and silent."""
        # The main process first: it cannot make new ones after that.
        self._paused = [self.pid]
        send(self.pid, signal.SIGSTOP)
        for child in children_of(self.pid):
            send(child, signal.SIGSTOP)
            self._paused.append(child)
        # A process that runs on the other processor stops a moment after it was told to.
        deadline_s = time.monotonic() + 5.0
        while not all(is_stopped(pid) for pid in self._paused) and time.monotonic() < deadline_s:
            time.sleep(0.001)

    def resume(self) -> None:
        """Let a paused server go on; nothing happens to one that is not paused."""
        for pid in reversed(self._paused):
            send(pid, signal.SIGCONT)
        self._paused = []

    def remove(self) -> None:
        """Kill the server and remove its folder; the object is as new."""
        self.kill()
        if self._place is not None:
            shutil.rmtree(self._place.folder, ignore_errors=True)
            atexit.unregister(self.remove)
        self._place = None
        self._databases = 0

    def _url_of(self, database: str) -> str:
        address = f"127.0.0.1:{self.place.port}"
        return f"{self._flavor.scheme}://{USER}:{PASSWORD}@{address}/{database}"

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(
            command,
            cwd=self.place.folder,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            check=False,
            **self._identity(),
        )
        if done.returncode != 0:
            said = done.stdout.decode(errors="replace")[-2000:]
            raise ServerError(f"{command[0]} failed with status {done.returncode}:\n{said}")

    def _identity(self) -> dict[str, Any]:
        """Return what makes subprocess start a program as the server's user."""
        name = self._flavor.account()
        if name is None:
            return {}
        entry = pwd.getpwnam(name)
        environment = {**os.environ, "HOME": str(self.place.folder)}
        return {
            "user": entry.pw_uid,
            "group": entry.pw_gid,
            "extra_groups": [],
            "env": environment,
        }

    def _serve(self) -> None:
        """Start the server's process and wait until it answers."""
        command = self._flavor.serve(self.place)
        # Should the tests be killed themselves, the server must not stay behind. The signal comes
        # when the *thread* that started it ends, so it is for the main one only.
        if threading.current_thread() is threading.main_thread():
            name = self._flavor.stop_signal.name.removeprefix("SIG")
            command = [program("setpriv", "util-linux"), "--pdeathsig", name, *command]
        log_file = self.place.folder / "server.log"
        with log_file.open("ab") as log:
            self._process = subprocess.Popen(
                command,
                cwd=self.place.folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                # Ctrl-C at the terminal is for the tests, which then stop the server themselves.
                start_new_session=True,
                **self._identity(),
            )
        deadline = time.monotonic() + START_TIMEOUT_S
        while True:
            try:
                self.administer("SELECT 1")
                return
            except (pymysql.MySQLError, psycopg.Error) as e:
                reason = e
            if not self.running:
                problem = "ended while starting"
            elif time.monotonic() > deadline:
                problem = f"did not answer within {START_TIMEOUT_S:.0f} s ({reason})"
            else:
                time.sleep(POLL_S)
                continue
            self.kill()
            said = log_file.read_text(errors="replace")[-2000:]
            raise ServerError(f"the {self._flavor.scheme} server {problem}; its log ends:\n{said}")

    def _end(self, number: signal.Signals) -> None:
        """Send a signal that ends the server, and wait until all of it has gone."""
        process = self._process
        if process is None:
            return
        family = children_of(process.pid) if process.poll() is None else []
        process.send_signal(number)
        if number is signal.SIGKILL:
            for child in family:
                send(child, signal.SIGKILL)
        try:
            process.wait(STOP_TIMEOUT_S)
        except subprocess.TimeoutExpired:
            process.kill()
            process.wait()
            raise ServerError(
                f"the {self._flavor.scheme} server did not stop within {STOP_TIMEOUT_S:.0f} s "
                "and was killed"
            ) from None
        finally:
            self._process = None
            self._paused = []
        # PostgreSQL refuses to start again while a child of the last run still lives.
        deadline = time.monotonic() + STOP_TIMEOUT_S
        while any(is_running(child) for child in family) and time.monotonic() < deadline:
            time.sleep(POLL_S)


_MARIADB = DatabaseServer(MariaDB())
_POSTGRESQL = DatabaseServer(PostgreSQL())


def mariadb() -> DatabaseServer:
    """Return this process's MariaDB, running; the first call starts it."""
    return _ready(_MARIADB)


def postgresql() -> DatabaseServer:
    """Return this process's PostgreSQL, running; the first call starts it."""
    return _ready(_POSTGRESQL)


def _ready(server: DatabaseServer) -> DatabaseServer:
    # A test may have failed between pause and resume; the next one is not to blame.
    server.resume()
    server.start()
    return server
