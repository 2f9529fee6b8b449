"""
Opens the database: connection settings for each kind, the schema's version, and its upgrade.

A SQLite file is copied before an upgrade.  A version that this program does not know is refused: it
was made by a newer one.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any, Final

from sqlalchemy import Connection, Engine, create_engine, event, inspect, text
from sqlalchemy.engine import URL, make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError
from sqlalchemy.pool import NullPool, QueuePool

__all__ = ["HEAD", "DatabaseError", "open_engines", "prepare", "url_of"]

#: The newest step in `migrations.versions`; a test holds it equal.  Knowing it here spares a start
#: that has nothing to upgrade the loading of Alembic.
HEAD: Final = "0003"

_DRIVERS: Final = {
    "mysql": ("mysql+pymysql", "pymysql", "mariadb"),
    "mariadb": ("mysql+pymysql", "pymysql", "mariadb"),
    "postgresql": ("postgresql+psycopg", "psycopg", "postgresql"),
    "postgres": ("postgresql+psycopg", "psycopg", "postgresql"),
}


class DatabaseError(Exception):
    """The database cannot be used as it is; the text says what to do."""


def url_of(database: str, state: Path) -> URL:
    """
    Read the configuration's ``database``.

    :param database: ``sqlite``, or a URL such as ``postgresql://user:password@host/name``.
    :raises DatabaseError: it is neither.
    """
    if database == "sqlite":
        return URL.create("sqlite", database=str(state / "smsbridge.sqlite3"))
    try:
        url = make_url(database)
    except ArgumentError:
        raise DatabaseError(
            "the database must be 'sqlite' or a URL such as postgresql://user:password@host/name"
        ) from None
    backend = url.drivername.partition("+")[0]
    if backend == "sqlite":
        return url
    if backend not in _DRIVERS:
        raise DatabaseError(
            f"no such kind of database: {backend}; known: sqlite, mysql, postgresql"
        )
    return url.set(drivername=_DRIVERS[backend][0])


def open_engines(url: URL, readers: int = 4) -> tuple[Engine, Engine]:
    """
    Make the engines for the writer and for readers; connects to nothing yet.

    :param readers: how many connections for reading there may be at once.
    :raises DatabaseError: the driver is not installed.
    """
    backend = url.get_backend_name()
    if backend == "sqlite":
        return _sqlite(url, readers)
    arguments: dict[str, Any]
    if backend == "mysql":
        arguments = {
            "charset": "utf8mb4",
            "connect_timeout": 10,
            "read_timeout": 60,
            "write_timeout": 60,
            # Strict: a value that does not fit is an error, never cut off.
            "init_command": "SET SESSION sql_mode='STRICT_ALL_TABLES,NO_ENGINE_SUBSTITUTION',"
            " SESSION innodb_lock_wait_timeout=10",
        }
        isolation = "READ COMMITTED"
    else:
        arguments = {
            "connect_timeout": 10,
            "application_name": "smsbridge",
            "tcp_user_timeout": 30000,
        }
        isolation = "READ COMMITTED"
    try:
        writer = create_engine(
            url,
            poolclass=NullPool,
            hide_parameters=True,
            connect_args=arguments,
            isolation_level=isolation,
        )
        reader = create_engine(
            url,
            poolclass=QueuePool,
            pool_size=readers,
            max_overflow=0,
            pool_pre_ping=True,
            hide_parameters=True,
            connect_args=arguments,
            isolation_level=isolation,
        )
    except (ImportError, NoSuchModuleError):
        extra = _DRIVERS[backend][2]
        raise DatabaseError(
            f"the driver is missing; install it with: pip install 'smsbridge[{extra}]'"
        ) from None
    return writer, reader


def _sqlite(url: URL, readers: int) -> tuple[Engine, Engine]:
    writer = create_engine(
        url,
        poolclass=NullPool,
        hide_parameters=True,  # errors are logged; texts and numbers are not
        connect_args={"timeout": 10, "cached_statements": 1024},
    )
    reader = create_engine(
        url,
        poolclass=QueuePool,
        pool_size=readers,
        max_overflow=0,
        hide_parameters=True,
        connect_args={"timeout": 10},
    )

    @event.listens_for(writer, "connect")
    def set_up(connection: Any, _record: Any) -> None:
        connection.isolation_level = None  # transactions begin where we say so
        # Power loss too: the log reaches the disk before a commit returns.
        for pragma in (
            "wal_autocheckpoint = 8000",  # pages: rewritten ones reach the file once, not often
            "journal_mode = WAL",
            "synchronous = FULL",
            "foreign_keys = ON",
            "cache_size = -16000",
        ):
            connection.execute(f"PRAGMA {pragma}")

    @event.listens_for(writer, "begin")
    def begin(connection: Connection) -> None:
        connection.exec_driver_sql("BEGIN IMMEDIATE")

    @event.listens_for(reader, "connect")
    def set_up_reader(connection: Any, _record: Any) -> None:
        connection.execute("PRAGMA query_only = ON")
        connection.execute("PRAGMA cache_size = -4000")

    return writer, reader


def prepare(engine: Engine) -> None:
    """
    Bring the schema up to date.

    :raises DatabaseError: the database is newer than this program, is something else, or is out of
        reach.
    """
    try:
        with engine.connect() as connection:
            version = _version(connection)
            if version == HEAD:
                return
            if version is not None and version not in _steps():
                raise DatabaseError(
                    f"the database has version {version}, which this program does not know; it was "
                    "made by a newer smsbridge: install that one, or restore the copy made before "
                    "its upgrade"
                )
            if version is None and inspect(connection).has_table("messages"):
                raise DatabaseError(
                    "the database has a table 'messages' that is not ours; give smsbridge a "
                    "database of its own"
                )
            if version is not None and engine.dialect.name == "sqlite":
                _copy(engine, version)
        _upgrade(engine)
    except DBAPIError as e:
        raise DatabaseError(f"the database cannot be opened: {e.orig}") from e


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table("alembic_version"):
        return None
    version: str | None = connection.execute(
        text("SELECT version_num FROM alembic_version")
    ).scalar()
    return version


def _copy(engine: Engine, version: str) -> None:
    path = Path(str(engine.url.database))
    with engine.connect() as connection:
        connection.connection.driver_connection.execute(  # type: ignore[union-attr]
            "PRAGMA wal_checkpoint(TRUNCATE)"
        )
    shutil.copy2(path, path.with_name(f"{path.name}.before-{version}"))


def _config() -> Any:
    from alembic.config import Config

    config = Config()
    config.set_main_option("script_location", "smsbridge.store:migrations")
    return config


def _steps() -> set[str]:
    """Return the versions that this program knows."""
    from alembic.script import ScriptDirectory

    return {script.revision for script in ScriptDirectory.from_config(_config()).walk_revisions()}


def _upgrade(engine: Engine) -> None:
    from alembic import command

    with engine.connect() as connection, connection.begin():
        config = _config()
        config.attributes["connection"] = connection
        command.upgrade(config, "head")
