"""What passwords, sessions and tokens promise on every database."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import attrs
from sqlalchemy import insert, select
from twisted.internet import reactor
from twisted.internet.defer import Deferred

from smsbridge.core.accounts import AccountState, Session, Token
from smsbridge.store.accounts import AccountTables
from smsbridge.store.schema import push_subscriptions
from smsbridge.store.service import MessageStore, StateFolder

NOW = 1_800_000_000_000
HOUR_MS = 3_600_000


def session(number: int = 1, person: str = "john", seen_ms: int = 0) -> Session:
    """Make a session that was last used at a time after `NOW`."""
    return Session(
        session_id=f"{number:064x}",
        person=person,
        created_at_ms=NOW,
        seen_at_ms=NOW + seen_ms,
        expires_at_ms=NOW + HOUR_MS,
        agent="Browser \N{PARTY POPPER}",
        address="2001:db8::1",
    )


def token(name: str = "work", person: str = "john", number: int = 1) -> Token:
    """Make a token."""
    return Token(
        name=name,
        person=person,
        digest=f"{number:064x}",
        scopes=("read", "send"),
        lines=("one", "two"),
        created_at_ms=NOW,
        expires_at_ms=NOW + HOUR_MS,
    )


class AccountsContract:
    """Bind with `database_url` and a trial TestCase that has a reactor."""

    case: Any

    def database_url(self) -> str:
        """Return the address of an empty database."""
        raise NotImplementedError

    def setUp(self) -> None:
        """Open a store on an empty database."""
        self.case = self
        folder = StateFolder(Path(self.case.mktemp()))
        clock: Any = reactor
        self.store = MessageStore(clock, folder, self.database_url(), "here")
        self.store.startService()
        self.accounts = AccountTables(self.store)

    def tearDown(self) -> Deferred[None]:
        """Close it."""
        return self.store.stopService()

    async def test_password_is_kept_replaced_and_taken_away(self) -> None:
        """There is one hash for a person, and an empty one means none."""
        accounts = self.accounts
        self.case.assertEqual(await accounts.password_hash("john"), "")

        for known in ("$argon2id$first", "$argon2id$second"):
            await accounts.set_password_hash("john", known, NOW)
            self.case.assertEqual(await accounts.password_hash("john"), known)
        self.case.assertEqual(await accounts.password_hash("John"), "")

        await accounts.set_password_hash("john", "", NOW)
        self.case.assertEqual(await accounts.password_hash("john"), "")

    async def test_hash_is_replaced_only_if_it_is_the_same(self) -> None:
        """A new password is not undone by a login that began before."""
        accounts = self.accounts
        await accounts.set_password_hash("john", "old", NOW)

        self.case.assertTrue(await accounts.replace_hash("john", "old", "new"))
        self.case.assertFalse(await accounts.replace_hash("john", "old", "newer"))

        self.case.assertEqual(await accounts.password_hash("john"), "new")

    async def test_new_password_ends_sessions_but_one(self) -> None:
        """The others are named, and those of other persons stay."""
        accounts = self.accounts
        for one in (session(1), session(2), session(3), session(4, "mary")):
            await accounts.add_session(one, 10)

        ended = await accounts.set_password_hash("john", "hash", NOW, f"{2:064x}")

        self.case.assertEqual(sorted(ended), [f"{1:064x}", f"{3:064x}"])
        self.case.assertEqual(await accounts.sessions("john"), [session(2)])
        self.case.assertEqual(await accounts.sessions("mary"), [session(4, "mary")])

    async def test_sessions_are_read_back_exactly(self) -> None:
        """One by its id, all of a person by their last use."""
        accounts = self.accounts
        old, young = session(1, seen_ms=1), session(2, seen_ms=2)
        for one in (young, old):
            self.case.assertEqual(await accounts.add_session(one, 10), [])

        self.case.assertEqual(await accounts.session(old.session_id), old)
        self.case.assertIsNone(await accounts.session("f" * 64))
        self.case.assertEqual(await accounts.sessions("john"), [young, old])
        self.case.assertEqual(await accounts.sessions("mary"), [])

    async def test_too_many_sessions_end_the_longest_unused(self) -> None:
        """The new one always stays, even if its clock is behind."""
        accounts = self.accounts
        for number in range(1, 5):
            await accounts.add_session(session(number, seen_ms=number), 10)

        ended = await accounts.add_session(session(9, seen_ms=0), 3)

        self.case.assertEqual(sorted(ended), [f"{1:064x}", f"{2:064x}"])
        left = [one.session_id for one in await accounts.sessions("john")]
        self.case.assertEqual(left, [f"{each:064x}" for each in (4, 3, 9)])

    async def test_expired_sessions_go_with_the_next_login(self) -> None:
        """Whoever it is that logs in."""
        accounts = self.accounts
        for number in range(1, 4):
            await accounts.add_session(session(number), 10)

        late = attrs.evolve(session(9, "mary"), created_at_ms=NOW + 2 * HOUR_MS)
        await accounts.add_session(late, 10)

        self.case.assertEqual(await accounts.sessions("john"), [])

    async def test_long_names_of_browsers_are_cut(self) -> None:
        """What does not fit into the table is no error."""
        one = attrs.evolve(session(), agent="x" * 1000, address="y" * 100)

        await self.accounts.add_session(one, 10)

        kept = await self.accounts.session(one.session_id)
        assert kept is not None
        self.case.assertEqual((kept.agent, kept.address), ("x" * 255, "y" * 64))

    async def test_touch_moves_forward_only(self) -> None:
        """Notes that arrive late do not shorten a life."""
        accounts = self.accounts
        one = session()
        await accounts.add_session(one, 10)
        await accounts.touch_session(one.session_id, NOW + 20, NOW + 2 * HOUR_MS)
        await accounts.touch_session(one.session_id, NOW + 10, NOW + HOUR_MS)

        kept = await accounts.session(one.session_id)

        assert kept is not None
        self.case.assertEqual((kept.seen_at_ms, kept.expires_at_ms), (NOW + 20, NOW + 2 * HOUR_MS))

    async def test_session_takes_its_subscription_along(self) -> None:
        """A browser that is logged out is not woken any more."""
        for number in (1, 2):
            await self.accounts.add_session(session(number), 10)
            await self.store.write(_Subscribe(), session(number).session_id)

        ended = await self.accounts.end_sessions("john", session(1).session_id)

        self.case.assertEqual(ended, [session(1).session_id])
        left = await self.store.read(_subscribed)
        self.case.assertEqual(left, [session(2).session_id])

    async def test_sessions_end_for_their_person_alone(self) -> None:
        """With an id one, without all; what is not there is not named."""
        accounts = self.accounts
        for one in (session(1), session(2), session(3, "mary")):
            await accounts.add_session(one, 10)

        self.case.assertEqual(await accounts.end_sessions("mary", session(1).session_id), [])
        self.case.assertEqual(len(await accounts.end_sessions("john")), 2)
        self.case.assertEqual(await accounts.end_sessions("john"), [])
        self.case.assertEqual(len(await accounts.sessions("mary")), 1)

    async def test_tokens_are_read_back_exactly(self) -> None:
        """By digest, by person, and all by name."""
        accounts = self.accounts
        work, ops = token(), attrs.evolve(token("ops", "mary", 2), lines=(), expires_at_ms=None)
        for one in (work, ops):
            self.case.assertTrue(await accounts.add_token(one))

        self.case.assertEqual(await accounts.token(work.digest), work)
        self.case.assertIsNone(await accounts.token("f" * 64))
        self.case.assertEqual(await accounts.tokens(), [ops, work])
        self.case.assertEqual(await accounts.tokens("john"), [work])

    async def test_names_of_tokens_are_unique(self) -> None:
        """The same token twice is one; another of that name is refused."""
        accounts = self.accounts
        self.case.assertTrue(await accounts.add_token(token()))
        self.case.assertTrue(await accounts.add_token(token()))

        self.case.assertFalse(await accounts.add_token(token(number=2)))

        self.case.assertEqual(await accounts.tokens(), [token()])

    async def test_token_is_removed_for_its_person_alone(self) -> None:
        """To others there is no such token."""
        accounts = self.accounts
        await accounts.add_token(token())
        await accounts.touch_token("work", NOW + 5)

        self.case.assertIsNone(await accounts.remove_token("work", "mary"))
        removed = await accounts.remove_token("work", "john")

        self.case.assertEqual(removed, attrs.evolve(token(), used_at_ms=NOW + 5))
        self.case.assertIsNone(await accounts.remove_token("work"))

    async def test_states_of_all_persons(self) -> None:
        """Who has a password, and who was here when."""
        accounts = self.accounts
        await accounts.set_password_hash("john", "hash", NOW)
        await accounts.add_session(session(), 10)
        await accounts.set_password_hash("mary", "hash", NOW)
        await accounts.add_session(session(2, "zoe"), 10)

        self.case.assertEqual(
            await accounts.states(),
            [
                AccountState(person="john", has_password=True, last_login_at_ms=NOW),
                AccountState(person="mary", has_password=True),
                AccountState(person="zoe", has_password=False, last_login_at_ms=NOW),
            ],
        )


class _Subscribe:
    rank = 5

    def __call__(self, connection: Any, items: Any, again: bool) -> list[None]:
        for session_id in items:
            connection.execute(
                insert(push_subscriptions).values(
                    endpoint_digest=session_id,
                    person="john",
                    endpoint="https://push.example.org/x",
                    p256dh="",
                    auth="",
                    session_id=session_id,
                    created_at_ms=NOW,
                    failures=0,
                )
            )
        return [None] * len(items)


def _subscribed(connection: Any) -> list[str]:
    return list(connection.execute(select(push_subscriptions.c.session_id)).scalars())
