"""
Logging in with a password, and the sessions of browsers that follow from it.

A session is a random cookie of which the store keeps the SHA-256.  Sessions in use are held in
memory, so that a request costs no read; they are read again every few minutes, because another node
may have ended them.
"""

from __future__ import annotations

import hashlib
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable
from typing import Any, Final

import attrs
from attrs import frozen
from twisted.logger import Logger

from smsbridge.core.accounts import Accounts, Session
from smsbridge.core.directory import World
from smsbridge.web.access.brakes import Brake, Braked, network_of
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.kept import FRESH_S, Kept
from smsbridge.web.access.passwords import Passwords, check_password

__all__ = ["KEPT_MS", "SHORT_MS", "LoggedIn", "Logins"]

#: How long a session lives after its last use: with and without "keep me logged in".
KEPT_MS: Final = 30 * 86_400_000
SHORT_MS: Final = 12 * 3_600_000

_TOUCH_MS: Final = 600_000  # how exactly the last use is known
_MOST_SESSIONS: Final = 50  # of one person
_COOKIE: Final = re.compile(r"[A-Za-z0-9_-]{43}")

_WRONG: Final = "The name or the password is wrong."


@frozen
class LoggedIn:
    """A session that has just begun, with the cookie that nobody else will ever see."""

    cookie: str = attrs.field(repr=False)
    session: Session


class Logins:
    """
    Lets persons in and out.

    Guessing is slowed down for a person at one address, for an address, and, with a lower bound on
    what it can cost, for a person from anywhere: addresses from which that person is logged in
    already are not concerned by what the rest of the world tries.

    :param seconds: a clock that never goes back.
    :param random: gives so many random bytes.
    """

    log = Logger()

    def __init__(
        self,
        accounts: Accounts,
        passwords: Passwords,
        world: World,
        now_ms: Callable[[], int],
        seconds: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._accounts = accounts
        self._passwords = passwords
        self._world = world
        self._now_ms = now_ms
        self._seconds = seconds
        self._random = random
        self._kept: Kept[Session] = Kept(seconds, accounts.session)
        self._changes: dict[str, int] = {}  # how often a person's password was set
        self._homes: dict[str, tuple[float, frozenset[str]]] = {}
        self._watchers: list[Callable[[str, str], None]] = []
        self._persons = frozenset(world.directory.persons)
        self.by_pair = Brake(seconds, free=5)
        self.by_address = Brake(seconds, free=30, longest_s=300.0)
        self.by_person = Brake(seconds, free=50, longest_s=60.0)

    def watch(self, ended: Callable[[str, str], None]) -> Callable[[], None]:
        """
        Call ``ended(person, session_id)`` for each session that ends before its time.

        Returns a function without arguments that ends the watching.
        """
        self._watchers.append(ended)
        return lambda: self._watchers.remove(ended)

    # -- in ----------------------------------------------------------------------------------------

    async def log_in(
        self, person: str, password: str, *, keep: bool, agent: str = "", address: str = ""
    ) -> LoggedIn:
        """
        Begin a session.

        :param keep: the session lives on when the browser is closed.
        :raises AccountError: (credentials) there is no such person, or it is the wrong password.
        :raises Braked: too many attempts failed.
        :raises Busy: too many log in at once.
        """
        label = self._label(person)
        changes = self._changes.get(label, 0)
        await self._check(label, password, address)
        now_ms = self._now_ms()
        cookie = urlsafe_b64encode(self._random(32)).decode("ascii").rstrip("=")
        session = Session(
            session_id=_digest(cookie),
            person=label,
            created_at_ms=now_ms,
            seen_at_ms=now_ms,
            expires_at_ms=now_ms + (KEPT_MS if keep else SHORT_MS),
            agent=_harmless(agent, 255),
            address=_harmless(address, 64),
        )
        self._forget(label, await self._accounts.add_session(session, _MOST_SESSIONS))
        if self._changes.get(label, 0) != changes:
            # The password was changed meanwhile, and with it all sessions ended but this one.
            self._forget(label, await self._accounts.end_sessions(label, session.session_id))
            raise AccountError("credentials", _WRONG, "password")
        self._kept.keep(session.session_id, session)
        self._homes.pop(label, None)
        self.log.info("{person} logged in", person=label)
        return LoggedIn(cookie, session)

    async def check(self, person: str, password: str, address: str = "") -> None:
        """Let somebody prove again to be a person; raises what `log_in` raises."""
        await self._check(self._label(person), password, address)

    async def _check(self, person: str, password: str, address: str) -> None:
        network = network_of(address)
        stops: list[tuple[Brake, Any]] = [
            (self.by_pair, (person, network)),
            (self.by_address, network),
        ]
        if not (self.by_person.wait_s(person) and await self._is_at_home(person, network)):
            stops.append((self.by_person, person))
        wait_s = max(brake.wait_s(key) for brake, key in stops)
        if wait_s > 0:
            raise Braked(wait_s)
        begun = [(brake, key, brake.begin(key)) for brake, key in stops]
        try:
            right = await self._is_right(person, password)
        except BaseException:
            # Nobody knows whether it was right: it was no failed attempt.
            for brake, key, before in begun:
                brake.forgive(key, before)
            raise
        if not right:
            self.log.warn(
                "a login as {person} from {address} failed",
                person=person if person in self._world.directory.persons else "somebody unknown",
                address=address,
            )
            raise AccountError("credentials", _WRONG, "password")
        for brake, key, before in begun:
            brake.forgive(key, before)
        self.by_pair.forget((person, network))

    async def _is_right(self, person: str, password: str) -> bool:
        known = person in self._world.directory.persons
        # Somebody unknown goes the same way, for the same time.
        password_hash = await self._accounts.password_hash(person if known else "")
        verdict = await self._passwords.verify(password_hash if known else "", password)
        if verdict.right and verdict.new_hash:
            await self._accounts.replace_hash(person, password_hash, verdict.new_hash)
        return verdict.right

    async def _is_at_home(self, person: str, network: str) -> bool:
        """Tell whether a person is logged in from there already."""
        if person not in self._world.directory.persons:
            return False
        checked_s, networks = self._homes.get(person, (-FRESH_S, frozenset()))
        if self._seconds() - checked_s >= FRESH_S:
            # Kept for a while: who guesses must not cost a read each time.
            networks = frozenset(
                network_of(session.address) for session in await self.sessions(person)
            )
            self._homes[person] = (self._seconds(), networks)
        return network in networks

    def _label(self, typed: str) -> str:
        """Return the person whose name was typed; telephones begin names with a capital letter."""
        name = typed.strip()[:64]
        persons = self._world.directory.persons
        if name in persons:
            return name
        folded = [label for label in persons if label.casefold() == name.casefold()]
        return folded[0] if len(folded) == 1 else name

    # -- meanwhile ---------------------------------------------------------------------------------

    def knows(self, cookie: str) -> bool:
        """Tell whether a cookie is that of a session in memory, fresh or not."""
        return _digest(cookie) in self._kept

    async def session(self, cookie: str) -> tuple[Session, bool] | None:
        """
        Return the living session of a cookie, and whether its life has just been prolonged.
        """
        if not _COOKIE.fullmatch(cookie):
            return None
        session_id = _digest(cookie)
        known = await self._kept.find(session_id)
        if known is None:
            return None
        session = known.value
        now_ms = self._now_ms()
        if session.expires_at_ms <= now_ms:
            self._kept.drop(session_id)
            return None
        if session.person not in self._world.directory.persons:
            return None
        if now_ms - session.seen_at_ms < _TOUCH_MS:
            return session, False
        life_ms = session.expires_at_ms - session.seen_at_ms
        session = attrs.evolve(session, seen_at_ms=now_ms, expires_at_ms=now_ms + life_ms)
        known.value = session
        self._accounts.touch_session(session_id, now_ms, session.expires_at_ms).addErrback(
            lambda failure: self.log.warn(
                "could not note the use of a session: {reason}", reason=failure.getErrorMessage()
            )
        )
        return session, True

    async def lives(self, session_id: str) -> bool:
        """Tell whether a session has neither ended nor expired; that is no use of it."""
        now_ms = self._now_ms()
        known = self._kept.peek(session_id)
        if known is not None and known.expires_at_ms > now_ms:
            return True
        session = await self._accounts.session(session_id)
        return session is not None and session.expires_at_ms > now_ms

    async def sessions(self, person: str) -> list[Session]:
        """List a person's living sessions, the last used first."""
        now_ms = self._now_ms()
        return [
            session
            for session in await self._accounts.sessions(person)
            if session.expires_at_ms > now_ms
        ]

    # -- out ---------------------------------------------------------------------------------------

    async def end(self, person: str, session_id: str) -> bool:
        """End one session of a person; fires with whether there was one."""
        if not session_id:
            return False  # which would mean all of them
        ended = await self._accounts.end_sessions(person, session_id)
        self._forget(person, ended)
        return bool(ended)

    async def set_password(self, person: str, password: str, kept_session: str = "") -> None:
        """
        Give a person a password and end the sessions, all but the kept one.

        :param password: empty to take the password away.
        :raises AccountError: there is no such person, or this may not be a password.
        :raises Busy: too many log in at once.
        """
        persons = self._world.directory.persons
        if person not in persons:
            known = ", ".join(persons) or "none"
            raise AccountError(
                "unknown-person", f"There is no person {person}; persons: {known}.", "person"
            )
        password_hash = ""
        if password:
            check_password(person, password)
            password_hash = await self._passwords.hash(password)
        self._changes[person] = self._changes.get(person, 0) + 1
        ended = await self._accounts.set_password_hash(
            person, password_hash, self._now_ms(), kept_session
        )
        self._forget(person, ended)
        self.log.info(
            "the password of {person} was {verb}",
            person=person,
            verb="set" if password else "removed",
        )

    async def has_password(self, person: str) -> bool:
        """Tell whether a person can log in."""
        return bool(await self._accounts.password_hash(person))

    async def persons_changed(self) -> None:
        """End the sessions of persons who are no longer configured; called after a reload."""
        before, self._persons = self._persons, frozenset(self._world.directory.persons)
        for person in sorted(before - self._persons):
            self._forget(person, await self._accounts.end_sessions(person))

    def _forget(self, person: str, session_ids: list[str]) -> None:
        for session_id in session_ids:
            self._kept.end(session_id)
            for ended in list(self._watchers):
                ended(person, session_id)


def _digest(cookie: str) -> str:
    return hashlib.sha256(cookie.encode("utf-8", "replace")).hexdigest()


def _harmless(text: str, length: int) -> str:
    """Return a text of a stranger without what a database or a terminal stumbles over."""
    return "".join(each for each in text if each.isprintable())[:length]
