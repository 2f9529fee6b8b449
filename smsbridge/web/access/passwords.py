"""
Passwords: what may be one, and their hashes (argon2id, RFC 9106).

Hashing is slow on purpose, so it is done in threads of its own, two at once, and only a few may
wait: logging in must not take the machine from the texts.
"""

from __future__ import annotations

import unicodedata
from collections.abc import Callable
from functools import cache
from typing import Any, Final

from argon2 import PasswordHasher
from argon2.exceptions import InvalidHashError, VerificationError
from attrs import define, field, frozen
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorFromThreads
from twisted.internet.threads import deferToThreadPool
from twisted.python.threadpool import ThreadPool

from smsbridge.web.access.errors import AccountError

__all__ = [
    "HASHER",
    "LEAST_LENGTH",
    "MOST_LENGTH",
    "Busy",
    "PasswordThreads",
    "Passwords",
    "Verdict",
    "check_password",
]

#: All parameters of the hash.  A check takes some 60 ms of one core and 32 MiB, above what OWASP's
#: Password Storage Cheat Sheet asks for.  Older hashes are replaced at the next login.
HASHER: Final = PasswordHasher(time_cost=3, memory_cost=32 * 1024, parallelism=1)

LEAST_LENGTH: Final = 10
MOST_LENGTH: Final = 200
_LEAST_DIFFERENT: Final = 4  # characters
_AT_ONCE: Final = 2
_MOST_WAITING: Final = 20


class Busy(Exception):
    """Too many passwords wait to be checked already."""

    def __init__(self) -> None:
        super().__init__("Too many people log in at this moment; try again in a few seconds.")


def check_password(person: str, password: str) -> None:
    """
    Let a new password pass.

    :raises AccountError: it is too easy to guess, or cannot be one.
    """
    plain = _written(password)
    folded = plain.casefold()
    if len(plain) < LEAST_LENGTH:
        problem = (
            f"A password needs at least {LEAST_LENGTH} characters; a few words make a good one."
        )
    elif len(plain) > MOST_LENGTH:
        problem = f"A password may have at most {MOST_LENGTH} characters."
    elif any(unicodedata.category(each) in ("Cc", "Cs") for each in plain):
        problem = "A password must not contain control characters, such as line ends."
    elif not folded.replace(person.casefold(), "").strip():
        problem = "The password must not be the name; choose something else."
    elif len(set(folded)) < _LEAST_DIFFERENT:
        problem = "This password repeats a few characters only; take a few words instead."
    else:
        return
    raise AccountError("password", problem, "password")


def _written(password: str) -> str:
    """Return the one spelling of a password: keyboards compose accents in different ways."""
    return unicodedata.normalize("NFC", password)


def _bytes(password: str) -> bytes:
    return _written(password).encode("utf-8", "surrogatepass")


@frozen
class Verdict:
    """Whether a password was right, and what its hash should be replaced by, if by anything."""

    right: bool
    new_hash: str = field(default="", repr=False)


class PasswordThreads(Service):
    """The threads in which passwords are hashed; they are made when they are needed."""

    name = "passwords"

    def __init__(self, reactor: IReactorFromThreads) -> None:
        self._reactor = reactor
        self._threads = ThreadPool(0, _AT_ONCE, "smsbridge-passwords")

    def startService(self) -> None:
        """Let threads be made."""
        super().startService()
        self._threads.start()

    def stopService(self) -> None:
        """End the threads."""
        super().stopService()
        self._threads.stop()

    def run(self, call: Callable[[], Any]) -> Deferred[Any]:
        """Call in a thread."""
        return deferToThreadPool(self._reactor, self._threads, call)


@define
class Passwords:
    """
    Makes and checks hashes.

    :param run: calls in a thread.
    """

    run: Callable[[Callable[[], Any]], Deferred[Any]]
    hasher: PasswordHasher = HASHER
    _running: int = field(default=0, init=False)

    async def hash(self, password: str) -> str:
        """
        Return the hash of a password.

        :raises Busy: too many wait.
        """
        return str(await self._in_thread(lambda: self.hasher.hash(_bytes(password))))

    async def verify(self, known: str, password: str) -> Verdict:
        """
        Tell whether a password is the one of a hash.

        Without a hash the answer is no, and takes as long: nobody learns from the time it takes who
        there is.

        :raises Busy: too many wait.
        """
        verdict: Verdict = await self._in_thread(lambda: self._verdict(known, password))
        return verdict

    def _verdict(self, known: str, password: str) -> Verdict:
        plain = _bytes(password[: MOST_LENGTH + 1])
        nothing = _hash_of_nothing(self.hasher)
        try:
            self.hasher.verify(known or nothing, plain)
        except (VerificationError, InvalidHashError):
            return Verdict(False)
        if not known:
            return Verdict(False)
        if self.hasher.check_needs_rehash(known):
            return Verdict(True, self.hasher.hash(plain))
        return Verdict(True)

    async def _in_thread(self, call: Callable[[], Any]) -> Any:
        if self._running >= _AT_ONCE + _MOST_WAITING:
            raise Busy
        self._running += 1
        try:
            return await self.run(call)
        finally:
            self._running -= 1


@cache
def _hash_of_nothing(hasher: PasswordHasher) -> str:
    """Return a hash made with the parameters of today, which no password is checked against."""
    return hasher.hash("nobody has this one")
