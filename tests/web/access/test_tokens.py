"""Tests of `smsbridge.web.access.tokens`."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import Deferred

from smsbridge.core.accounts import Token
from smsbridge.web.access.errors import AccountError
from tests.web.access.rig import DoorTestCase

HOUR_MS = 3_600_000


class TokensTests(DoorTestCase):
    """Making, recognizing and removing tokens."""

    def add(self, name: str = "work", person: str = "john", **more: Any) -> tuple[str, Token]:
        """Make a token."""
        return self.result(self.tokens.add(name, person, **more))

    def refusal(self, name: str = "work", person: str = "john", **more: Any) -> AccountError:
        """Fail to make a token; returns why."""
        error: AccountError = self.error(self.tokens.add(name, person, **more), AccountError)
        return error

    def find(self, secret: str, name: str | None = None) -> Token | None:
        """Look a token up."""
        return self.result(self.tokens.find(secret, name))

    def test_is_random_and_kept_as_a_hash(self) -> None:
        """The token is told from other secrets by how it begins, and is nowhere in the store."""
        secret, token = self.add()
        other, _ = self.add("other")

        self.assertRegex(secret, r"^smsb_[A-Za-z0-9_-]{43}$")
        self.assertNotEqual(secret, other)
        self.assertNotIn(secret, repr(token) + token.digest)
        self.assertNotIn(token.digest, repr(token))
        kept = self.result(self.tokens.all("john"))
        self.assertEqual([each.name for each in kept], ["other", "work"])

    def test_reads_and_sends_unless_more_is_said(self) -> None:
        """A token of which nothing is said is for texting."""
        _, token = self.add()
        _, more = self.add("more", scopes=["manage", "read", "manage"], lines=["two", "two"])

        self.assertEqual((token.scopes, token.lines), (("read", "send"), ()))
        self.assertEqual((more.scopes, more.lines), (("manage", "read"), ("two",)))

    def test_is_found(self) -> None:
        """By itself, or with its name, also after a start of the daemon."""
        secret, _ = self.add(scopes=["read"], lines=["one"])
        for _ in range(2):
            for name in (None, "work"):
                found = self.find(secret, name)
                assert found is not None
                self.assertEqual(
                    (found.name, found.person, found.scopes, found.lines),
                    ("work", "john", ("read",), ("one",)),
                )
            self.reopen()

    def test_nothing_else_is_found(self) -> None:
        """Not with another name, and nothing that only resembles it."""
        secret, token = self.add()

        self.assertIsNone(self.find(secret, "other"))
        self.assertIsNone(self.find(secret, "wörk"))
        self.assertIsNone(self.find(secret, ""))
        for wrong in ("", "smsb_", secret[:-1], secret + "x", secret.upper(), token.digest):
            self.assertIsNone(self.find(wrong), wrong)

    def test_costs_no_read(self) -> None:
        """A token in use is taken from memory, and its use is noted to the hour."""
        secret, _ = self.add()
        self.find(secret)
        reads, writes = self.tables.reads, self.tables.writes
        for _ in range(100):
            self.find(secret)
        self.assertEqual((self.tables.reads, self.tables.writes), (reads, writes))

        self.clock.advance(7200)
        self.find(secret)

        (token,) = self.result(self.tokens.all())
        now_ms = self.now_ms()
        self.assertEqual(token.used_at_ms, now_ms - now_ms % HOUR_MS)

    def test_expires(self) -> None:
        """After its time it is worth nothing, in memory or out of it."""
        secret, _ = self.add(expires_at_ms=self.now_ms() + 1000)
        self.assertIsNotNone(self.find(secret))

        self.clock.advance(1)

        self.assertIsNone(self.find(secret))
        self.reopen()
        self.assertIsNone(self.find(secret))

    def test_removed_is_worth_nothing_at_once(self) -> None:
        """Also a look-up that is under way does not revive it."""
        secret, token = self.add()
        self.reopen()
        reading: Deferred[object] = Deferred()
        read, self.tables.read = self.tables.read, lambda *_: reading  # type: ignore[method-assign]
        asked = Deferred.fromCoroutine(self.tokens.find(secret))
        self.tables.read = read  # type: ignore[method-assign]
        self.result(self.tokens.remove("work", "john"))

        reading.callback(token)

        self.assertIsNone(self.successResultOf(asked))
        self.assertIsNone(self.find(secret))
        self.add("work")

    def test_watchers_hear_of_a_removal(self) -> None:
        """Whoever serves a stream to the program can end it."""
        heard: list[tuple[str, str]] = []
        end = self.tokens.watch(lambda person, name: heard.append((person, name)))
        for name in ("work", "other"):
            self.add(name)
        self.result(self.tokens.remove("work"))
        end()

        self.result(self.tokens.remove("other"))

        self.assertEqual(heard, [("john", "work")])

    def test_somebody_else_cannot_remove_it(self) -> None:
        """To another person there is no such token."""
        secret, _ = self.add()

        error = self.error(self.tokens.remove("work", "mary"), AccountError)

        self.assertEqual(error.code, "not-found")
        self.assertIsNotNone(self.find(secret))

    def test_another_node_may_remove_it(self) -> None:
        """What somebody else deletes from the database is worth nothing within minutes."""
        secret, _ = self.add()
        self.successResultOf(self.accounts.remove_token("work"))
        self.clock.advance(301)

        self.assertIsNone(self.find(secret))

    def test_person_who_is_gone_has_none(self) -> None:
        """The token of somebody who is no longer configured is worth nothing."""
        secret, _ = self.add()
        self.without("john")

        self.assertIsNone(self.find(secret))

    def test_refusals_are_sentences(self) -> None:
        """Each says what to do, and which input is wrong."""
        self.add()
        for error, said, field in (
            (self.refusal("work"), "There is a token work already", "name"),
            (self.refusal("work", "mary"), "There is a token work already", "name"),
            (self.refusal("a b"), "letters, digits", "name"),
            (self.refusal("a:b"), "letters, digits", "name"),
            (self.refusal("x" * 65), "64 at most", "name"),
            (self.refusal("x", "jon"), "persons: john, mary", "person"),
            (self.refusal("x", scopes=["write"]), "scopes: read, send, manage, admin", "scopes"),
            (self.refusal("x", scopes=["admin"]), "john is no operator", "scopes"),
            (self.refusal("x", lines=["three"]), "lines: one, two", "lines"),
            (self.refusal("x", expires_at_ms=self.now_ms()), "expired already", "expires_at"),
        ):
            self.assertIn(said, error.text)
            self.assertEqual(error.field, field)
        self.assertEqual(len(self.result(self.tokens.all())), 1)

    def test_operator_may_have_an_operators_token(self) -> None:
        """With ``admin = yes`` a token can have the scope."""
        _, token = self.add(person="mary", scopes=["admin"])

        self.assertEqual(token.scopes, ("admin",))

    def test_number_is_bounded(self) -> None:
        """One person cannot fill the table."""
        for number in range(200):
            self.add(f"t{number}")

        self.assertEqual(self.refusal("one-more").code, "taken")
        self.add("other", "mary")
