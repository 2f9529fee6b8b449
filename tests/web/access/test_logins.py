"""Tests of `smsbridge.web.access.logins`: logging in, sessions, and the brakes on guessing."""

from __future__ import annotations

import attrs
from argon2 import PasswordHasher
from twisted.internet.defer import Deferred

from smsbridge.core.directory import Directory
from smsbridge.errors import TemporaryFailure
from smsbridge.web.access.brakes import Braked
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.logins import KEPT_MS, SHORT_MS, LoggedIn
from smsbridge.web.access.passwords import Busy
from tests.web.access.rig import AWAY, GOOD, HASHER, HOME, DoorTestCase

DAY_S = 86_400
OTHER = "another good password"


class LoginsTestCase(DoorTestCase):
    """John has a password."""

    def setUp(self) -> None:
        """Set it."""
        super().setUp()
        self.result(self.logins.set_password("john", GOOD))

    def log_in(
        self, person: str = "john", password: str = GOOD, keep: bool = False, address: str = HOME
    ) -> LoggedIn:
        """Log in."""
        return self.result(
            self.logins.log_in(person, password, keep=keep, agent="Browser", address=address)
        )

    def guess(self, person: str = "john", address: str = AWAY) -> Exception:
        """Log in with a wrong password; returns what it led to."""
        error: Exception = self.error(
            self.logins.log_in(person, "wrong password", keep=False, address=address), Exception
        )
        return error

    def is_in(self, logged_in: LoggedIn) -> bool:
        """Tell whether a session lives."""
        return self.result(self.logins.session(logged_in.cookie)) is not None


class LogInTests(LoginsTestCase):
    """Getting in."""

    def test_right_password_begins_a_session(self) -> None:
        """Name and password lead to a cookie that nobody can guess, kept as its hash."""
        logged_in = self.log_in()

        self.assertRegex(logged_in.cookie, r"^[A-Za-z0-9_-]{43}$")
        session = logged_in.session
        self.assertEqual(
            (session.person, session.agent, session.address), ("john", "Browser", HOME)
        )
        self.assertNotIn(logged_in.cookie, session.session_id)
        self.assertNotIn(logged_in.cookie, repr(logged_in))
        self.assertTrue(self.is_in(logged_in))

    def test_wrong_password_and_unknown_person_are_the_same(self) -> None:
        """Nobody learns from the answer, or from what is done for it, who there is."""
        wrong = self.guess()
        reads = self.tables.reads
        unknown = self.guess("nobody")
        cost = self.tables.reads - reads
        reads = self.tables.reads
        unset = self.guess("mary")

        for each in (wrong, unknown, unset):
            self.assertIsInstance(each, AccountError)
            self.assertEqual(str(each), str(wrong))
        self.assertEqual(self.tables.reads - reads, cost)

    def test_everybody_waits_for_a_hash(self) -> None:
        """For somebody unknown a hash is checked as well."""
        self.held = True
        for person in ("john", "nobody", "mary"):
            attempt = Deferred.fromCoroutine(
                self.logins.log_in(person, "wrong password", keep=False)
            )
            self.assertNoResult(attempt)
            self.work()
            self.failureResultOf(attempt, AccountError)

    def test_name_may_be_typed_as_telephones_do(self) -> None:
        """A capital letter and a blank behind are no reason to be refused."""
        self.assertEqual(self.log_in("John ").session.person, "john")

    def test_case_matters_where_names_differ_by_it(self) -> None:
        """Two persons whose names differ by case are two."""
        john = self.world.directory.persons["john"]
        self.world.directory = Directory(
            persons={"john": john, "JOHN": attrs.evolve(john, label="JOHN")}
        )

        self.assertEqual(self.log_in("john").session.person, "john")
        self.assertIsInstance(self.guess("JOHN"), AccountError)
        self.assertIsInstance(self.guess("John"), AccountError)

    def test_strange_input_is_only_wrong(self) -> None:
        """NUL, surrogates and lengths beyond reason lead to the ordinary answer."""
        for person in ("", "\0", "\ud800", "x" * 10_000, "john\0"):
            error = self.error(
                self.logins.log_in(person, "\ud800\0" * 500, keep=False, agent="\0\ud800\n"),
                AccountError,
            )
            self.assertEqual(error.code, "credentials")

    def test_agent_is_kept_without_what_hurts(self) -> None:
        """What a browser calls itself is shown to people and kept in databases."""
        agent = "Mozilla\0\x1b[31m" + "x" * 1000
        logged_in = self.result(self.logins.log_in("john", GOOD, keep=False, agent=agent))

        self.assertEqual(logged_in.session.agent, ("Mozilla[31m" + "x" * 1000)[:255])

    def test_older_hash_is_replaced(self) -> None:
        """After the parameters have changed, the next login brings the hash up to date."""
        self.passwords.hasher = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1)
        self.result(self.logins.set_password("john", GOOD))
        self.passwords.hasher = HASHER
        old = self.successResultOf(self.accounts.password_hash("john"))

        logged_in = self.log_in()

        new = self.successResultOf(self.accounts.password_hash("john"))
        self.assertTrue(HASHER.check_needs_rehash(old))
        self.assertFalse(HASHER.check_needs_rehash(new))
        self.assertTrue(self.is_in(logged_in))
        self.log_in()

    def test_too_many_at_once_are_told_so(self) -> None:
        """When all threads are taken the answer comes at once and is no failed attempt."""
        self.held = True
        attempts = [
            Deferred.fromCoroutine(
                self.logins.log_in("john", GOOD, keep=False, address=f"192.0.2.{number}")
            )
            for number in range(22)
        ]

        error = self.error(self.logins.log_in("john", GOOD, keep=False, address=AWAY), Busy)

        self.assertIn("try again", str(error))
        self.assertEqual(self.logins.by_pair.wait_s(("john", AWAY)), 0)
        self.work()
        for attempt in attempts:
            self.successResultOf(attempt)

    def test_database_that_is_away_is_no_failed_attempt(self) -> None:
        """Nobody waits for what is our fault."""
        self.tables.read = lambda *_: Deferred.fromCoroutine(_away())  # type: ignore[method-assign]

        for _ in range(20):
            self.assertIsInstance(self.guess(), TemporaryFailure)


async def _away() -> None:
    raise TemporaryFailure("internal", "The database is away.")


class SessionTests(LoginsTestCase):
    """The life of sessions."""

    def test_short_session_lives_twelve_hours_after_its_last_use(self) -> None:
        """Without being kept, a session ends half a day after it was last used."""
        logged_in = self.log_in()
        for _ in range(3):
            self.clock.advance(11.9 * 3600)
            self.assertTrue(self.is_in(logged_in))

        self.clock.advance(12 * 3600)

        self.assertFalse(self.is_in(logged_in))

    def test_looking_whether_a_session_lives_prolongs_nothing(self) -> None:
        """It is no use of it, and tells of its end however it came."""
        session = self.log_in().session
        ended = self.log_in().session
        self.clock.advance(11 * 3600)
        self.assertTrue(self.result(self.logins.lives(session.session_id)))
        self.result(self.logins.end("john", ended.session_id))
        self.assertFalse(self.result(self.logins.lives(ended.session_id)))
        self.reopen()
        self.assertTrue(self.result(self.logins.lives(session.session_id)))

        self.clock.advance(3600)

        self.assertFalse(self.result(self.logins.lives(session.session_id)))

    def test_kept_session_lives_thirty_days_after_its_last_use(self) -> None:
        """A kept session slides by each use, also over a start of the daemon."""
        logged_in = self.log_in(keep=True)
        for _ in range(3):
            self.clock.advance(29 * DAY_S)
            self.assertTrue(self.is_in(logged_in))
            self.reopen()

        self.clock.advance(30 * DAY_S)

        self.assertFalse(self.is_in(logged_in))

    def test_session_outlives_the_daemon(self) -> None:
        """After a start everybody is still logged in."""
        logged_in = self.log_in()
        self.reopen()

        self.assertTrue(self.is_in(logged_in))

    def test_a_request_costs_no_read(self) -> None:
        """A session in use is taken from memory, and looked at again every few minutes."""
        logged_in = self.log_in()
        reads, writes = self.tables.reads, self.tables.writes
        for _ in range(100):
            self.assertTrue(self.is_in(logged_in))
        self.assertEqual((self.tables.reads, self.tables.writes), (reads, writes))

        self.clock.advance(301)
        self.assertTrue(self.is_in(logged_in))

        self.assertEqual(self.tables.reads, reads + 1)

    def test_use_is_noted_every_ten_minutes(self) -> None:
        """The time of the last use costs a write now and then, not with each request."""
        logged_in = self.log_in()
        writes = self.tables.writes
        for _ in range(30):
            self.clock.advance(60)
            self.is_in(logged_in)

        self.assertEqual(self.tables.writes, writes + 3)
        (session,) = self.result(self.logins.sessions("john"))
        self.assertEqual(session.seen_at_ms, self.now_ms())
        self.assertEqual(session.expires_at_ms, self.now_ms() + SHORT_MS)

    def test_another_node_may_end_it(self) -> None:
        """What somebody else deletes from the database ends within minutes."""
        logged_in = self.log_in()
        self.successResultOf(self.accounts.end_sessions("john"))
        self.clock.advance(301)

        self.assertFalse(self.is_in(logged_in))

    def test_logout_ends_at_once(self) -> None:
        """An ended session is worth nothing, in memory or out of it, and watchers hear of it."""
        heard: list[tuple[str, str]] = []
        self.logins.watch(lambda person, session: heard.append((person, session)))
        logged_in, other = self.log_in(), self.log_in()

        self.assertTrue(self.result(self.logins.end("john", logged_in.session.session_id)))

        self.assertFalse(self.is_in(logged_in))
        self.assertTrue(self.is_in(other))
        self.reopen()
        self.assertFalse(self.is_in(logged_in))
        self.assertEqual(heard, [("john", logged_in.session.session_id)])

    def test_nobody_ends_a_session_of_somebody_else(self) -> None:
        """The id alone is not enough."""
        logged_in = self.log_in()

        self.assertFalse(self.result(self.logins.end("mary", logged_in.session.session_id)))
        self.assertFalse(self.result(self.logins.end("john", "")))

        self.assertTrue(self.is_in(logged_in))
        self.reopen()
        self.assertTrue(self.is_in(logged_in))

    def test_read_under_way_does_not_revive_it(self) -> None:
        """A session that ends while it is read from the database stays ended."""
        logged_in = self.log_in()
        self.reopen()
        session = self.successResultOf(self.accounts.session(logged_in.session.session_id))
        reading: Deferred[object] = Deferred()
        self.logins._accounts.store.read = lambda *_: reading  # type: ignore[attr-defined]
        asked = Deferred.fromCoroutine(self.logins.session(logged_in.cookie))
        self.result(self.logins.end("john", logged_in.session.session_id))

        reading.callback(session)

        self.assertIsNone(self.successResultOf(asked))
        self.assertFalse(self.is_in(logged_in))

    def test_new_password_ends_the_other_sessions(self) -> None:
        """Who changes a password stays logged in and is alone."""
        mine, other = self.log_in(), self.log_in()

        self.result(self.logins.set_password("john", OTHER, mine.session.session_id))

        self.assertTrue(self.is_in(mine))
        self.assertFalse(self.is_in(other))
        self.reopen()
        self.assertTrue(self.is_in(mine))
        self.assertFalse(self.is_in(other))
        self.assertIsInstance(self.error_of_login(), AccountError)
        self.log_in(password=OTHER)

    def error_of_login(self) -> Exception:
        """Log in with the old password."""
        error: Exception = self.error(self.logins.log_in("john", GOOD, keep=False), Exception)
        return error

    def test_login_under_way_does_not_outlive_a_new_password(self) -> None:
        """Who logs in with the old password while it is changed is not in."""
        self.held = True
        attempt = Deferred.fromCoroutine(self.logins.log_in("john", GOOD, keep=True))
        changing = Deferred.fromCoroutine(self.logins.set_password("john", OTHER))
        first, second = self.waiting
        self.waiting = [second]
        self.work()
        self.successResultOf(changing)
        self.waiting = [first]
        self.work()

        self.failureResultOf(attempt, AccountError)

        self.assertEqual(self.result(self.logins.sessions("john")), [])

    def test_person_without_password_cannot_log_in(self) -> None:
        """A password taken away lets nobody in."""
        logged_in = self.log_in()

        self.result(self.logins.set_password("john", ""))

        self.assertFalse(self.is_in(logged_in))
        self.assertIsInstance(self.error_of_login(), AccountError)
        self.assertFalse(self.result(self.logins.has_password("john")))

    def test_removed_person_is_out(self) -> None:
        """Who is no longer configured has no session, cannot log in, and comes back to none."""
        logged_in = self.log_in(keep=True)
        before = self.world.directory
        self.without("john")

        self.assertFalse(self.is_in(logged_in))
        self.assertIsInstance(self.error_of_login(), AccountError)
        self.result(self.logins.persons_changed())
        self.world.directory = before
        self.result(self.logins.persons_changed())

        self.assertFalse(self.is_in(logged_in))
        self.log_in()

    def test_number_of_sessions_is_bounded(self) -> None:
        """Of too many sessions the one longest unused ends."""
        first = self.log_in()
        second = self.log_in()
        self.clock.advance(700)
        self.assertTrue(self.is_in(first))
        for _ in range(49):
            self.clock.advance(1)
            self.log_in()

        self.assertEqual(len(self.result(self.logins.sessions("john"))), 50)
        self.assertTrue(self.is_in(first))
        self.assertFalse(self.is_in(second))

    def test_expired_sessions_are_deleted(self) -> None:
        """The table does not grow for ever."""
        for _ in range(5):
            self.log_in()
        self.clock.advance(13 * 3600)

        self.log_in()

        self.assertEqual(len(self.successResultOf(self.accounts.sessions("john"))), 1)

    def test_nonsense_is_no_session(self) -> None:
        """A cookie that cannot be ours costs no read."""
        reads = self.tables.reads
        for cookie in ("", "x", "a" * 44, "a" * 42 + "\n", "ä" * 43):
            self.assertIsNone(self.result(self.logins.session(cookie)))

        self.assertEqual(self.tables.reads, reads)

    def test_kept_means_thirty_days(self) -> None:
        """The two spans are the documented ones."""
        self.assertEqual((KEPT_MS, SHORT_MS), (30 * 86_400_000, 12 * 3_600_000))


class PasswordTests(LoginsTestCase):
    """Setting passwords."""

    def test_unknown_person_is_told_who_there_is(self) -> None:
        """The sentence names the persons."""
        error = self.error(self.logins.set_password("jon", GOOD), AccountError)

        self.assertEqual(error.text, "There is no person jon; persons: john, mary.")

    def test_bad_password_changes_nothing(self) -> None:
        """A refusal leaves the old password and all sessions."""
        logged_in = self.log_in()

        self.error(self.logins.set_password("john", "short"), AccountError)

        self.assertTrue(self.is_in(logged_in))
        self.log_in()


class GuessingTests(LoginsTestCase):
    """Brute force, played with a clock."""

    def guesses_in(self, seconds: float, step_s: float, address: str = AWAY) -> int:
        """Guess as often as possible; returns how many guesses were listened to."""
        count = 0
        end = self.clock.seconds() + seconds
        while self.clock.seconds() < end:
            if not isinstance(self.guess(address=address), Braked):
                count += 1
            self.clock.advance(step_s)
        return count

    def test_one_address_gets_few_guesses(self) -> None:
        """A day of guessing from one address is some hundred guesses."""
        self.assertLess(self.guesses_in(DAY_S, 60), 130)

    def test_a_few_mistakes_cost_nothing(self) -> None:
        """Who mistypes five times can go on at once."""
        for _ in range(5):
            self.assertIsInstance(self.guess(address=HOME), AccountError)

        self.log_in()

    def test_braked_attempt_is_not_even_listened_to(self) -> None:
        """The right password is no exception, or guessing would go on behind the brake."""
        for _ in range(7):
            self.guess(address=HOME)

        error = self.error(self.logins.log_in("john", GOOD, keep=False, address=HOME), Braked)
        self.assertGreater(error.retry_after_s, 0)
        self.clock.advance(error.retry_after_s)
        self.log_in()

    def test_waiting_during_the_brake_makes_it_no_longer(self) -> None:
        """An impatient person is not punished for clicking again."""
        for _ in range(7):
            self.guess()
        first = self.guess()
        for _ in range(50):
            again = self.guess()

        assert isinstance(first, Braked) and isinstance(again, Braked)
        self.assertEqual(first.retry_after_s, again.retry_after_s)

    def test_attempts_at_once_do_not_slip_through(self) -> None:
        """A hundred attempts that come together are no more than the free ones."""
        self.held = True
        attempts = [
            Deferred.fromCoroutine(
                self.logins.log_in("john", f"wrong password {n}", keep=False, address=AWAY)
            )
            for n in range(100)
        ]

        self.assertEqual(len(self.waiting), 6)
        self.work()
        for attempt in attempts:
            self.failureResultOf(attempt, AccountError, Braked)

    def test_many_names_from_one_address_are_braked(self) -> None:
        """Trying one password with every name runs into the brake of the address."""
        listened = sum(
            not isinstance(self.guess(f"person{number}"), Braked) for number in range(200)
        )

        self.assertLessEqual(listened, 31)

    def test_own_success_does_not_loosen_the_address(self) -> None:
        """Who has an account cannot use it to go on guessing others."""
        self.result(self.logins.set_password("mary", OTHER))
        listened = 0
        for number in range(100):
            listened += not isinstance(self.guess(f"person{number}"), Braked)
            try:
                self.log_in("mary", OTHER, address=AWAY)
            except self.failureException:
                pass

        self.assertLessEqual(listened, 40)

    def test_botnet_gets_few_guesses(self) -> None:
        """Thousands of addresses get, in an hour, no more than a guess a minute or so."""
        listened = 0
        for number in range(1800):
            address = f"10.0.{number >> 8}.{number & 255}"
            listened += not isinstance(self.guess(address=address), Braked)
            self.clock.advance(2)

        self.assertLess(listened, 50 + 7 + 61)

    def test_flood_of_guesses_costs_no_reads(self) -> None:
        """What is not listened to does not reach the database."""
        for number in range(60):
            self.guess(address=f"10.0.0.{number}")
        reads = self.tables.reads

        for number in range(100):
            self.assertIsInstance(self.guess(address=f"10.0.1.{number}"), Braked)

        self.assertLessEqual(self.tables.reads - reads, 1)

    def test_botnet_does_not_lock_the_person_out(self) -> None:
        """Sessions go on, the person can log in from home, and from elsewhere soon after."""
        at_home = self.log_in()
        for number in range(1000):
            self.guess(address=f"10.0.{number >> 8}.{number & 255}")

        self.assertTrue(self.is_in(at_home))
        self.log_in(address=HOME)
        error = self.error(self.logins.log_in("john", GOOD, keep=False, address=AWAY), Braked)
        self.assertLessEqual(error.retry_after_s, 60)
        self.clock.advance(error.retry_after_s)
        self.log_in(address=AWAY)

    def test_one_customer_with_many_addresses_is_one(self) -> None:
        """An IPv6 network counts as one address."""
        listened = sum(
            not isinstance(self.guess(address=f"2001:db8::{number:x}"), Braked)
            for number in range(1, 100)
        )

        self.assertLessEqual(listened, 6)

    def test_everything_is_forgotten_after_a_time(self) -> None:
        """An hour of peace makes all good."""
        for number in range(100):
            self.guess(address=f"10.0.0.{number}")
        self.clock.advance(3601)

        for _ in range(5):
            self.assertIsInstance(self.guess(), AccountError)
