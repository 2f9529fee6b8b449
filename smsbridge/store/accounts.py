"""The tables of passwords, sessions and tokens, as `core.accounts.Accounts`."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, Final

from attrs import frozen
from sqlalchemy import Connection, Row, delete, func, insert, select, update
from twisted.internet.defer import Deferred

from smsbridge.core.accounts import AccountState, Session, Token
from smsbridge.store.change import CHANGE
from smsbridge.store.schema import passwords, push_subscriptions, sessions, tokens
from smsbridge.store.service import MessageStore

__all__ = ["AccountTables"]

_AGENT_LENGTH: Final = 255
_ADDRESS_LENGTH: Final = 64


@frozen
class AccountTables:
    """
    See `core.accounts.Accounts`, which this provides.

    A session that ends takes the wish of its browser to be woken with it.
    """

    store: MessageStore

    def _write(self, change: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return self.store.write(CHANGE, partial(_called, change, arguments))

    def states(self) -> Deferred[list[AccountState]]:
        """See `Accounts.states`."""
        return self.store.read(_states_txn)

    def password_hash(self, person: str) -> Deferred[str]:
        """See `Accounts.password_hash`."""
        return self.store.read(_password_hash_txn, person)

    def set_password_hash(
        self, person: str, password_hash: str, now_ms: int, kept_session: str = ""
    ) -> Deferred[list[str]]:
        """See `Accounts.set_password_hash`."""
        return self._write(_set_password_txn, person, password_hash, now_ms, kept_session)

    def replace_hash(self, person: str, old: str, new: str) -> Deferred[bool]:
        """See `Accounts.replace_hash`."""
        return self._write(_replace_hash_txn, person, old, new)

    def add_session(self, session: Session, most: int) -> Deferred[list[str]]:
        """See `Accounts.add_session`."""
        return self._write(_add_session_txn, session, most)

    def session(self, session_id: str) -> Deferred[Session | None]:
        """See `Accounts.session`."""
        return self.store.read(_session_txn, session_id)

    def sessions(self, person: str) -> Deferred[list[Session]]:
        """See `Accounts.sessions`."""
        return self.store.read(_sessions_txn, person)

    def touch_session(self, session_id: str, seen_at_ms: int, expires_at_ms: int) -> Deferred[None]:
        """See `Accounts.touch_session`."""
        return self._write(_touch_session_txn, session_id, seen_at_ms, expires_at_ms)

    def end_sessions(self, person: str, session_id: str = "") -> Deferred[list[str]]:
        """See `Accounts.end_sessions`."""
        return self._write(_end_sessions_txn, person, session_id)

    def add_token(self, token: Token) -> Deferred[bool]:
        """See `Accounts.add_token`."""
        return self._write(_add_token_txn, token)

    def token(self, digest: str) -> Deferred[Token | None]:
        """See `Accounts.token`."""
        return self.store.read(_token_txn, digest)

    def tokens(self, person: str = "") -> Deferred[list[Token]]:
        """See `Accounts.tokens`."""
        return self.store.read(_tokens_txn, person)

    def touch_token(self, name: str, used_at_ms: int) -> Deferred[None]:
        """See `Accounts.touch_token`."""
        return self._write(_touch_token_txn, name, used_at_ms)

    def remove_token(self, name: str, person: str = "") -> Deferred[Token | None]:
        """See `Accounts.remove_token`."""
        return self._write(_remove_token_txn, name, person)


def _called(change: Callable[..., Any], arguments: tuple[Any, ...], connection: Connection) -> Any:
    return change(connection, *arguments)


# --- passwords -----------------------------------------------------------------------------------


def _states_txn(connection: Connection) -> list[AccountState]:
    known = set(connection.execute(select(passwords.c.person)).scalars())
    newest = select(sessions.c.person, func.max(sessions.c.created_at_ms)).group_by(
        sessions.c.person
    )
    logins = {row[0]: int(row[1]) for row in connection.execute(newest)}
    return [
        AccountState(
            person=person, has_password=person in known, last_login_at_ms=logins.get(person)
        )
        for person in sorted(known | logins.keys())
    ]


def _password_hash_txn(connection: Connection, person: str) -> str:
    return (
        connection.execute(
            select(passwords.c.password_hash).where(passwords.c.person == person)
        ).scalar()
        or ""
    )


def _set_password_txn(
    connection: Connection, person: str, password_hash: str, now_ms: int, kept_session: str
) -> list[str]:
    connection.execute(delete(passwords).where(passwords.c.person == person))
    if password_hash:
        connection.execute(
            insert(passwords).values(
                person=person, password_hash=password_hash, changed_at_ms=now_ms
            )
        )
    ended = [
        session_id for session_id in _session_ids(connection, person) if session_id != kept_session
    ]
    _end(connection, ended)
    return ended


def _replace_hash_txn(connection: Connection, person: str, old: str, new: str) -> bool:
    done = connection.execute(
        update(passwords)
        .where(passwords.c.person == person, passwords.c.password_hash == old)
        .values(password_hash=new)
    )
    return done.rowcount > 0


# --- sessions ------------------------------------------------------------------------------------


def _session_ids(connection: Connection, person: str) -> list[str]:
    """Name a person's sessions, the last used first."""
    return list(
        connection.execute(
            select(sessions.c.session_id)
            .where(sessions.c.person == person)
            .order_by(sessions.c.seen_at_ms.desc(), sessions.c.session_id)
        ).scalars()
    )


def _end(connection: Connection, session_ids: Sequence[str]) -> None:
    if session_ids:
        connection.execute(delete(sessions).where(sessions.c.session_id.in_(session_ids)))
        connection.execute(
            delete(push_subscriptions).where(push_subscriptions.c.session_id.in_(session_ids))
        )


def _add_session_txn(connection: Connection, session: Session, most: int) -> list[str]:
    expired = list(
        connection.execute(
            select(sessions.c.session_id).where(sessions.c.expires_at_ms < session.created_at_ms)
        ).scalars()
    )
    # In pieces: a database takes only so many values in one statement.
    for start in range(0, len(expired), 500):
        _end(connection, expired[start : start + 500])
    connection.execute(delete(sessions).where(sessions.c.session_id == session.session_id))
    connection.execute(
        insert(sessions).values(
            session_id=session.session_id,
            person=session.person,
            created_at_ms=session.created_at_ms,
            seen_at_ms=session.seen_at_ms,
            expires_at_ms=session.expires_at_ms,
            agent=session.agent[:_AGENT_LENGTH],
            address=session.address[:_ADDRESS_LENGTH],
        )
    )
    others = _session_ids(connection, session.person)
    others.remove(session.session_id)
    ended = others[max(0, most - 1) :]
    _end(connection, ended)
    return ended


def _session_txn(connection: Connection, session_id: str) -> Session | None:
    row = connection.execute(select(sessions).where(sessions.c.session_id == session_id)).first()
    return None if row is None else _session(row)


def _sessions_txn(connection: Connection, person: str) -> list[Session]:
    rows = connection.execute(
        select(sessions)
        .where(sessions.c.person == person)
        .order_by(sessions.c.seen_at_ms.desc(), sessions.c.session_id)
    )
    return [_session(row) for row in rows]


def _session(row: Row[Any]) -> Session:
    return Session(
        session_id=row.session_id,
        person=row.person,
        created_at_ms=row.created_at_ms,
        seen_at_ms=row.seen_at_ms,
        expires_at_ms=row.expires_at_ms,
        agent=row.agent,
        address=row.address,
    )


def _touch_session_txn(
    connection: Connection, session_id: str, seen_at_ms: int, expires_at_ms: int
) -> None:
    connection.execute(
        update(sessions)
        .where(sessions.c.session_id == session_id, sessions.c.seen_at_ms < seen_at_ms)
        .values(seen_at_ms=seen_at_ms, expires_at_ms=expires_at_ms)
    )


def _end_sessions_txn(connection: Connection, person: str, session_id: str) -> list[str]:
    ended = [
        each for each in _session_ids(connection, person) if not session_id or each == session_id
    ]
    _end(connection, ended)
    return ended


# --- tokens --------------------------------------------------------------------------------------


def _add_token_txn(connection: Connection, token: Token) -> bool:
    known = connection.execute(select(tokens.c.digest).where(tokens.c.name == token.name)).scalar()
    if known is not None:
        return bool(known == token.digest)  # ours, from a commit of which nothing was known
    connection.execute(
        insert(tokens).values(
            name=token.name,
            person=token.person,
            digest=token.digest,
            scopes=" ".join(token.scopes),
            lines=" ".join(token.lines),
            created_at_ms=token.created_at_ms,
            used_at_ms=token.used_at_ms,
            expires_at_ms=token.expires_at_ms,
        )
    )
    return True


def _token_txn(connection: Connection, digest: str) -> Token | None:
    row = connection.execute(select(tokens).where(tokens.c.digest == digest)).first()
    return None if row is None else _token(row)


def _tokens_txn(connection: Connection, person: str) -> list[Token]:
    wanted = select(tokens).order_by(tokens.c.name)
    if person:
        wanted = wanted.where(tokens.c.person == person)
    return [_token(row) for row in connection.execute(wanted)]


def _token(row: Row[Any]) -> Token:
    return Token(
        name=row.name,
        person=row.person,
        digest=row.digest,
        scopes=tuple(row.scopes.split()),
        lines=tuple(row.lines.split()),
        created_at_ms=row.created_at_ms,
        used_at_ms=row.used_at_ms,
        expires_at_ms=row.expires_at_ms,
    )


def _touch_token_txn(connection: Connection, name: str, used_at_ms: int) -> None:
    connection.execute(update(tokens).where(tokens.c.name == name).values(used_at_ms=used_at_ms))


def _remove_token_txn(connection: Connection, name: str, person: str) -> Token | None:
    row = connection.execute(select(tokens).where(tokens.c.name == name)).first()
    if row is None or (person and row.person != person):
        return None
    connection.execute(delete(tokens).where(tokens.c.name == name))
    return _token(row)
