"""The parts of the door put together, and what the daemon says about it when it starts."""

from __future__ import annotations

import secrets
from collections.abc import Callable, Sequence
from typing import Any, Final

from attrs import frozen

from smsbridge.core.accounts import Accounts
from smsbridge.core.directory import World
from smsbridge.keys import split_endpoint
from smsbridge.web.access.access import Access
from smsbridge.web.access.logins import Logins
from smsbridge.web.access.passwords import Passwords, PasswordThreads
from smsbridge.web.access.tokens import Tokens

__all__ = ["Door", "first_login", "login_url"]

_CONSONANTS: Final = "bdfghjklmnprstvz"
_VOWELS: Final = "aeiou"


@frozen(kw_only=True)
class Door:
    """
    Everything about who may; the daemon has one.

    :ivar threads: a service that has to be started.
    """

    threads: PasswordThreads
    logins: Logins
    tokens: Tokens
    access: Access

    @classmethod
    def build(
        cls,
        reactor: Any,
        accounts: Accounts,
        world: World,
        now_ms: Callable[[], int],
        public_url: Callable[[], str],
        trusted_proxies: Callable[[], tuple[str, ...]],
        random: Callable[[int], bytes] = secrets.token_bytes,
    ) -> Door:
        """Build it; nothing is opened or read."""
        threads = PasswordThreads(reactor)
        logins = Logins(accounts, Passwords(threads.run), world, now_ms, reactor.seconds, random)
        tokens = Tokens(accounts, world, now_ms, reactor.seconds, random)
        access = Access(world, logins, tokens, reactor.seconds, public_url, trusted_proxies)
        return cls(threads=threads, logins=logins, tokens=tokens, access=access)


def login_url(public_url: str, listen: Sequence[str]) -> str:
    """
    Return the address of the inbox, as far as it can be told.

    :param listen: ``[http] listen``; the first address of it is taken where there is no public one.
    """
    if public_url:
        return public_url + "/"
    for word in listen:
        protocol, arguments, named = split_endpoint(word)
        port = named.get("port", arguments[0] if arguments else "")
        if protocol not in ("tcp", "tcp6", "ssl", "tls") or not port:
            continue
        host = named.get("interface", "")
        if host in ("", "0.0.0.0"):
            host = "127.0.0.1"
        elif host == "::":
            host = "::1"
        scheme = "https" if protocol in ("ssl", "tls") else "http"
        return f"{scheme}://{f'[{host}]' if ':' in host else host}:{port}/"
    return ""


async def first_login(
    logins: Logins,
    accounts: Accounts,
    world: World,
    *,
    wanted: bool,
    url: str,
    choose: Callable[[str], str] = secrets.choice,
) -> str:
    """
    Let the first person in, if nobody can log in yet; returns what to print or log.

    :param wanted: ``[http] first_login``; without it nothing is made and the answer says how.
    :param choose: takes one character of a text by chance.
    :raises TemporaryFailure: the database is away.
    """
    persons = world.directory.persons
    if not persons:
        return "Nobody can log in to the inbox: the configuration has no [person:NAME]."
    states = {state.person: state for state in await accounts.states()}
    able = [label for label in persons if label in states and states[label].has_password]
    operators = [label for label, person in persons.items() if person.admin]
    first = (operators or list(persons))[0]
    if able:
        shown = ", ".join(able[:5]) + (" and others" if len(able) > 5 else "")
        return (
            f"The inbox is at {url} (log in as {shown}); "
            f"a new password is set with: smsbridge passwd {able[0]}"
        )
    if not wanted:
        return (
            f"The inbox is at {url}, but nobody can log in yet; "
            f"set a password with: smsbridge passwd {first}"
        )
    password = _readable(choose)
    await logins.set_password(first, password)
    return (
        f"The inbox is at {url}\n"
        f"First login:  name {first}  password {password}\n"
        f"Change it in the settings, or with: smsbridge passwd {first}"
    )


def _readable(choose: Callable[[str], str]) -> str:
    """Make a password of 50 bits that can be read out and typed on a telephone."""
    words = []
    for _ in range(4):
        words.append("".join(choose(each) for each in (_CONSONANTS, _VOWELS) * 2))
    return "-".join(words)
