"""
How persons and programs prove who they are, as the store keeps it: passwords, sessions, tokens.

No secret is among these values.  Of a password there is a hash that is slow to make, of a session's
cookie and a token the SHA-256: they are long and random, so that nobody guesses them from it.
"""

from __future__ import annotations

from typing import Protocol

from attrs import field, frozen
from twisted.internet.defer import Deferred

__all__ = ["AccountState", "Accounts", "Session", "Token"]


@frozen(kw_only=True)
class Session:
    """
    A browser that is logged in.

    How long it lives after its last use is what lies between `seen_at_ms` and `expires_at_ms`.
    """

    session_id: str  # SHA-256 of the cookie, hexadecimal
    person: str
    created_at_ms: int
    seen_at_ms: int
    expires_at_ms: int
    agent: str = ""  # what the browser calls itself
    address: str = ""  # from where it logged in


@frozen(kw_only=True)
class Token:
    """What a program logs in with."""

    name: str
    person: str
    digest: str = field(repr=False)  # SHA-256 of the token, hexadecimal
    scopes: tuple[str, ...]
    lines: tuple[str, ...] = ()  # empty: all of the person
    created_at_ms: int
    used_at_ms: int | None = None  # to the hour
    expires_at_ms: int | None = None


@frozen(kw_only=True)
class AccountState:
    """Whether somebody can log in, and when that was last done by a session that still lives."""

    person: str
    has_password: bool
    last_login_at_ms: int | None = None


class Accounts(Protocol):
    """Keeps them; every Deferred fires after the read or the commit."""

    def states(self) -> Deferred[list[AccountState]]:
        """List all persons that have a password or a session."""

    def password_hash(self, person: str) -> Deferred[str]:
        """Read the hash of a person's password; empty if there is none."""

    def set_password_hash(
        self, person: str, password_hash: str, now_ms: int, kept_session: str = ""
    ) -> Deferred[list[str]]:
        """
        Give a person a password (an empty hash takes it away), and end the person's sessions.

        Fires with the ids of the sessions that ended: all but the kept one.
        """

    def replace_hash(self, person: str, old: str, new: str) -> Deferred[bool]:
        """Keep the same password as another hash, unless it has changed; fires with whether."""

    def add_session(self, session: Session, most: int) -> Deferred[list[str]]:
        """
        Keep a session and forget expired ones.

        Of a person's sessions the ones longest unused end when there are more than `most`; fires
        with their ids.
        """

    def session(self, session_id: str) -> Deferred[Session | None]:
        """Read a session, expired or not."""

    def sessions(self, person: str) -> Deferred[list[Session]]:
        """List a person's sessions, the last used first."""

    def touch_session(self, session_id: str, seen_at_ms: int, expires_at_ms: int) -> Deferred[None]:
        """Note that a session was used."""

    def end_sessions(self, person: str, session_id: str = "") -> Deferred[list[str]]:
        """End one session of a person, or all; fires with the ids of those that there were."""

    def add_token(self, token: Token) -> Deferred[bool]:
        """Keep a token; fires with False if there is one of that name."""

    def token(self, digest: str) -> Deferred[Token | None]:
        """Read a token, expired or not."""

    def tokens(self, person: str = "") -> Deferred[list[Token]]:
        """List the tokens of a person, or all, by name."""

    def touch_token(self, name: str, used_at_ms: int) -> Deferred[None]:
        """Note that a token was used."""

    def remove_token(self, name: str, person: str = "") -> Deferred[Token | None]:
        """Remove a token, of that person if one is named; fires with what there was."""
