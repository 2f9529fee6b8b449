"""Tests of `smsbridge.web.access.passwords`."""

from __future__ import annotations

from typing import Any

from argon2 import PasswordHasher
from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.web.access import passwords
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.passwords import Busy, Passwords, PasswordThreads, check_password
from tests.web.access.rig import GOOD, HASHER


class CheckTests(SynchronousTestCase):
    """What may be a password."""

    def test_good_ones_pass(self) -> None:
        """A few words, another script, and blanks are all right."""
        for password in (GOOD, "Grüße aus Åbo", "пароль длинный", "a b c d e f", "x" * 100 + "abc"):
            check_password("john", password)

    def test_bad_ones_are_refused_with_a_sentence(self) -> None:
        """Each refusal says what to do."""
        for password, said in (
            ("", "at least 10 characters"),
            ("short 123", "at least 10 characters"),
            ("a" * 201 + "bcd", "at most 200"),
            ("johnjohnjohn", "must not be the name"),
            ("JOHN john john", "must not be the name"),
            ("aaaaaaaaaaaa", "repeats"),
            ("abcabcabcabc", "repeats"),
            ("line\nend of it", "control characters"),
            ("half a \ud800 pair", "control characters"),
        ):
            with self.assertRaises(AccountError) as caught:
                check_password("john", password)
            self.assertIn(said, caught.exception.text, password)
            self.assertEqual(caught.exception.field, "password")


class PasswordsTests(SynchronousTestCase):
    """Hashes, with threads that the test plays."""

    def setUp(self) -> None:
        """Hash at once."""
        self.calls = 0

        def run(call: Any) -> Deferred[Any]:
            self.calls += 1
            return succeed(call())

        self.passwords = Passwords(run, HASHER)

    def hash(self, password: str) -> str:
        """Return the hash of a password."""
        return str(self.successResultOf(Deferred.fromCoroutine(self.passwords.hash(password))))

    def verdict(self, known: str, password: str) -> passwords.Verdict:
        """Return whether a password is the one of a hash."""
        return self.successResultOf(  # type: ignore[no-any-return]
            Deferred.fromCoroutine(self.passwords.verify(known, password))
        )

    def test_right_and_wrong(self) -> None:
        """The password of a hash is right, every other one is wrong."""
        known = self.hash(GOOD)

        self.assertTrue(known.startswith("$argon2id$"))
        self.assertTrue(self.verdict(known, GOOD).right)
        for wrong in ("", GOOD + " ", GOOD.upper(), "\0", "\ud800", GOOD * 100):
            self.assertFalse(self.verdict(known, wrong).right, wrong)

    def test_accents_may_be_composed_in_either_way(self) -> None:
        """What two keyboards write for the same password is the same password."""
        self.assertTrue(
            self.verdict(self.hash("Gru\u0308\u00dfe 1234"), "Gr\u00fc\u00dfe 1234").right
        )

    def test_nobody_costs_what_somebody_costs(self) -> None:
        """Without a hash a real hash is checked all the same, and the answer is no."""
        known = self.hash(GOOD)
        checked: list[str] = []

        class Spy(PasswordHasher):
            def verify(self, hash: Any, password: Any) -> Any:
                checked.append(str(hash).rsplit("$", 2)[0])
                return super().verify(hash, password)

        spying = Passwords(lambda call: succeed(call()), Spy(1, 8, 1))
        for each in (known, ""):
            self.successResultOf(Deferred.fromCoroutine(spying.verify(each, "nobody has this one")))

        self.assertEqual(len(checked), 2)
        self.assertEqual(checked[0], checked[1])
        self.assertFalse(self.verdict("", "nobody has this one").right)

    def test_other_parameters_lead_to_another_hash(self) -> None:
        """A right password whose hash has older parameters comes with the hash of today."""
        old = PasswordHasher(time_cost=2, memory_cost=8, parallelism=1).hash(GOOD)

        verdict = self.verdict(old, GOOD)

        self.assertTrue(verdict.right)
        self.assertFalse(HASHER.check_needs_rehash(verdict.new_hash))
        self.assertTrue(self.verdict(verdict.new_hash, GOOD).right)
        self.assertEqual(self.verdict(verdict.new_hash, GOOD).new_hash, "")
        self.assertEqual(self.verdict(old, "wrong").new_hash, "")

    def test_damaged_hash_lets_nobody_in(self) -> None:
        """Whatever stands in the table, a password is never right by accident."""
        for known in ("x", "$argon2id$", "$argon2id$v=19$m=8,t=1,p=1$AAAA"):
            self.assertFalse(self.verdict(known, "x").right)

    def test_only_a_few_may_wait(self) -> None:
        """Beyond what is bearable the answer comes at once, and room comes back."""
        held: list[Deferred[Any]] = []

        def hold(call: Any) -> Deferred[Any]:
            held.append(Deferred())
            return held[-1]

        waiting = Passwords(hold, HASHER)
        for _ in range(22):
            self.assertNoResult(Deferred.fromCoroutine(waiting.hash(GOOD)))
        self.failureResultOf(Deferred.fromCoroutine(waiting.hash(GOOD)), Busy)

        held[0].callback("hash")

        self.assertNoResult(Deferred.fromCoroutine(waiting.hash(GOOD)))

    def test_real_parameters_are_no_weaker_than_recommended(self) -> None:
        """The Password Storage Cheat Sheet's least is 19 MiB with two passes."""
        self.assertGreaterEqual(passwords.HASHER.memory_cost, 19 * 1024)
        self.assertGreaterEqual(passwords.HASHER.time_cost, 2)


class ThreadsTests(TestCase):
    """The threads, on the real reactor."""

    async def test_hashes_in_a_thread(self) -> None:
        """The reactor is not held up, and the threads end with the service."""
        threads = PasswordThreads(reactor)
        threads.startService()
        self.addCleanup(threads.stopService)
        checked = Passwords(threads.run)

        known = await checked.hash(GOOD)
        verdict = await checked.verify(known, GOOD)

        self.assertTrue(verdict.right)
