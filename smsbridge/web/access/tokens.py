"""
Tokens: what programs log in with.

A token is random and shown once; the store keeps its SHA-256.  Tokens in use are held in memory as
sessions are (see `logins`).
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import urlsafe_b64encode
from collections.abc import Callable, Sequence
from typing import Final

import attrs
from twisted.logger import Logger

from smsbridge.core.accounts import Accounts, Token
from smsbridge.core.directory import World
from smsbridge.web.access.caller import Scope
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.kept import Kept, Known

__all__ = ["DEFAULT_SCOPES", "PREFIX", "Tokens"]

#: What every token begins with, so that one that got somewhere by mistake is recognized.
PREFIX: Final = "smsb_"
#: What a token allows when nothing is said.
DEFAULT_SCOPES: Final = (Scope.READ, Scope.SEND)

_NAME: Final = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_TOKEN: Final = re.compile(PREFIX + r"[A-Za-z0-9_-]{43}")
_TOUCH_MS: Final = 3_600_000
_MOST_OF_PERSON: Final = 200


class Tokens:
    """
    Makes tokens and recognizes them.

    :param seconds: a clock that never goes back.
    :param random: gives so many random bytes.
    """

    log = Logger()

    def __init__(
        self,
        accounts: Accounts,
        world: World,
        now_ms: Callable[[], int],
        seconds: Callable[[], float],
        random: Callable[[int], bytes],
    ) -> None:
        self._accounts = accounts
        self._world = world
        self._now_ms = now_ms
        self._random = random
        self._kept: Kept[Token] = Kept(seconds, accounts.token)
        self._watchers: list[Callable[[str, str], None]] = []

    def watch(self, removed: Callable[[str, str], None]) -> Callable[[], None]:
        """
        Call ``removed(person, name)`` for each token that is removed.

        Returns a function without arguments that ends the watching.
        """
        self._watchers.append(removed)
        return lambda: self._watchers.remove(removed)

    async def add(
        self,
        name: str,
        person: str,
        *,
        scopes: Sequence[str] = (),
        lines: Sequence[str] = (),
        expires_at_ms: int | None = None,
    ) -> tuple[str, Token]:
        """
        Make a token; returns it as it is shown this once, and what is kept of it.

        :param scopes: none means `DEFAULT_SCOPES`.
        :param lines: to which it is bound; none means all that the person has, now and later.
        :raises AccountError: says in a sentence what is wrong.
        """
        self._check(name, person, scopes, lines, expires_at_ms)
        if len(await self._accounts.tokens(person)) >= _MOST_OF_PERSON:
            raise AccountError(
                "taken", f"{person} has {_MOST_OF_PERSON} tokens; remove one that is not used."
            )
        secret = PREFIX + urlsafe_b64encode(self._random(32)).decode("ascii").rstrip("=")
        token = Token(
            name=name,
            person=person,
            digest=_digest(secret),
            scopes=tuple(dict.fromkeys(str(Scope(each)) for each in scopes or DEFAULT_SCOPES)),
            lines=tuple(dict.fromkeys(lines)),
            created_at_ms=self._now_ms(),
            expires_at_ms=expires_at_ms,
        )
        if not await self._accounts.add_token(token):
            raise AccountError(
                "taken", f"There is a token {name} already; choose another name.", "name"
            )
        self._kept.keep(token.digest, token)
        self.log.info("token {name} made for {person}", name=name, person=person)
        return secret, token

    def _check(
        self,
        name: str,
        person: str,
        scopes: Sequence[str],
        lines: Sequence[str],
        expires_at_ms: int | None,
    ) -> None:
        persons = self._world.directory.persons
        if not _NAME.fullmatch(name):
            raise AccountError(
                "name",
                "A token's name has letters, digits, dots, dashes and underscores, 64 at most.",
                "name",
            )
        if person not in persons:
            known = ", ".join(persons) or "none"
            raise AccountError(
                "unknown-person", f"There is no person {person}; persons: {known}.", "person"
            )
        for scope in scopes:
            if scope not in list(Scope):
                raise AccountError(
                    "scope", f"There is no scope {scope}; scopes: {', '.join(Scope)}.", "scopes"
                )
        if Scope.ADMIN in scopes and not persons[person].admin:
            raise AccountError(
                "scope",
                f"{person} is no operator, so no token can be one; see 'admin = yes' in "
                "[person:...].",
                "scopes",
            )
        for line in lines:
            if line not in persons[person].lines:
                own = ", ".join(persons[person].lines) or "none"
                raise AccountError(
                    "unknown-line", f"{person} has no line {line}; lines: {own}.", "lines"
                )
        if expires_at_ms is not None and expires_at_ms <= self._now_ms():
            raise AccountError("expiry", "The token would have expired already.", "expires_at")

    async def all(self, person: str = "") -> list[Token]:
        """List the tokens of a person, or all, by name."""
        return await self._accounts.tokens(person)

    async def remove(self, name: str, person: str = "") -> None:
        """
        Remove a token, of that person if one is named; it is worth nothing from now on.

        :raises AccountError: there is none.
        """
        token = await self._accounts.remove_token(name, person)
        if token is None:
            raise AccountError("not-found", f"There is no token {name}.", "name")
        self._kept.end(token.digest)
        self.log.info("token {name} of {person} removed", name=name, person=token.person)
        for removed in list(self._watchers):
            removed(token.person, name)

    def knows(self, secret: str) -> bool:
        """Tell whether a token is in memory, fresh or not."""
        return _digest(secret) in self._kept

    async def find(self, secret: str, name: str | None = None) -> Token | None:
        """
        Return the token that this is, if it is one that is worth something.

        :param name: must be the token's, if it is given.
        """
        if not _TOKEN.fullmatch(secret):
            return None
        digest = _digest(secret)
        known = await self._kept.find(digest)
        if known is None:
            return None
        token = known.value
        now_ms = self._now_ms()
        if (
            not hmac.compare_digest(token.digest, digest)
            or (name is not None and not hmac.compare_digest(name.encode(), token.name.encode()))
            or token.person not in self._world.directory.persons
            or (token.expires_at_ms is not None and token.expires_at_ms <= now_ms)
        ):
            return None
        if token.used_at_ms is None or now_ms - token.used_at_ms >= _TOUCH_MS:
            self._touch(known, now_ms)
        return token

    def _touch(self, known: Known[Token], now_ms: int) -> None:
        hour_ms = now_ms - now_ms % _TOUCH_MS
        known.value = attrs.evolve(known.value, used_at_ms=hour_ms)
        self._accounts.touch_token(known.value.name, hour_ms).addErrback(
            lambda failure: self.log.warn(
                "could not note the use of a token: {reason}", reason=failure.getErrorMessage()
            )
        )


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode("utf-8", "replace")).hexdigest()
