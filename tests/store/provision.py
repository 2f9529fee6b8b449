"""What keeps the notes of gateways and the numbers that are out, whatever database it is on."""

from __future__ import annotations

from typing import Any

from twisted.internet.defer import gatherResults

from smsbridge.core.optouts import OptOut
from smsbridge.core.pending import Kept
from smsbridge.store import pending as pending_module
from smsbridge.store.optouts import StoredOptOuts
from smsbridge.store.pending import PendingNotes
from tests.store.contract import NOW

LINE, NUMBER, OTHER = "work", "+12025550123", "+12025550124"
BYTES = bytes(range(256))


class ProvisionContract:
    """Bind with `MessageStoreContract`, which opens the store."""

    store: Any
    now = NOW

    def now_ms(self) -> int:
        """Tell a time that passes."""
        self.now += 1
        return self.now

    def notes(self) -> PendingNotes:
        """Return the notes of gateways."""
        return PendingNotes(self.store, self.now_ms)

    def opt_outs(self) -> StoredOptOuts:
        """Return the numbers that are out, as a new process sees them."""
        made = StoredOptOuts(self.store, self.now_ms)
        made.startService()
        return made

    async def test_notes_are_kept_until_they_are_dropped(self) -> None:
        """Any bytes come back, oldest first, and each gateway sees its own."""
        case: Any = self
        notes = self.notes()
        large = BYTES * 1000  # more than an ordinary BLOB of MariaDB holds
        await gatherResults(
            [
                notes.keep("work", "second key, that is the first", BYTES),
                notes.keep("work", "first", large),
                notes.keep("other", "first", b""),
            ]
        )
        case.assertEqual(
            await notes.of("work"),
            [
                Kept("second key, that is the first", BYTES, NOW + 1),
                Kept("first", large, NOW + 2),
            ],
        )

        await notes.drop("work", ["first", "never there"])
        await notes.drop("work", [])

        case.assertEqual([kept.key for kept in await notes.of("work")][1:], [])
        case.assertEqual(await notes.of("other"), [Kept("first", b"", NOW + 3)])
        case.assertEqual(await notes.of("unheard"), [])

    async def test_what_is_noted_stays_as_it_is(self) -> None:
        """A second value of one key is told from a new one, in one commit as well."""
        case: Any = self
        notes = self.notes()
        together = await gatherResults(
            [notes.keep("work", "k", b"1"), notes.keep("work", "k", b"2")]
        )
        later = await notes.keep("work", "k", b"3")
        same_moment = await PendingNotes(self.store, lambda: NOW + 1).keep("work", "k", b"4")

        case.assertEqual((together, later, same_moment), ([True, False], False, False))
        case.assertEqual([kept.value for kept in await notes.of("work")], [b"1"])

    async def test_a_key_can_be_used_again(self) -> None:
        """What is dropped and kept again is kept, also in one commit."""
        case: Any = self
        notes = self.notes()
        await notes.keep("work", "k", b"1")

        await gatherResults([notes.drop("work", ["k"]), notes.keep("work", "k", b"2")])

        case.assertEqual([kept.value for kept in await notes.of("work")], [b"2"])

    async def test_any_key_will_do(self) -> None:
        """Peers name things as they like; what fits no column is found again all the same."""
        case: Any = self
        notes = self.notes()
        keys = ["x" * 10_000, "x" * 9_999, "\x00", "\ud800", "", "Grüße \U0001f600", "'; --"]
        for key in keys:
            case.assertTrue(await notes.keep("work", key, b""))
            case.assertFalse(await notes.keep("work", key, b""))
        case.assertEqual(len(await notes.of("work")), len(keys))

        await notes.drop("work", keys[:2])
        await notes.drop("work", [kept.key for kept in await notes.of("work")])

        case.assertEqual(await notes.of("work"), [])

    async def test_large_notes_are_written_in_portions(self) -> None:
        """A server takes statements of a few megabytes at most."""
        case: Any = self
        case.patch(pending_module, "_LARGEST", 1000)
        notes = self.notes()

        fresh = await gatherResults([notes.keep("work", str(n), BYTES) for n in range(100)])

        case.assertEqual(fresh, [True] * 100)
        case.assertEqual(len(await notes.of("work")), 100)

    async def test_a_note_of_a_commit_without_an_answer_is_new(self) -> None:
        """Who kept something hears so, although the database was away before it could answer."""
        case: Any = self
        keep = pending_module._Keep()
        note, repeat = (pending_module._Note("work", "k", b"1", NOW + n) for n in range(2))
        case.assertEqual(await self.store.write(_Again(keep, False), [note, repeat]), [True, False])

        again = await self.store.write(_Again(keep, True), [note, repeat])
        foreign = await self.store.write(_Again(keep, True), [repeat])

        case.assertEqual((again, foreign), ([True, False], [False]))

    async def test_a_number_is_out_until_it_comes_back(self) -> None:
        """It is out for one line, from the commit on and after a restart."""
        case: Any = self
        out = self.opt_outs()
        case.assertFalse(out.is_out(LINE, NUMBER))

        case.assertTrue(await out.opt_out(LINE, NUMBER, "words"))
        case.assertFalse(await out.opt_out(LINE, NUMBER, "provider"))
        await out.opt_out(LINE, OTHER, "operator")

        for each in (out, self.opt_outs()):
            case.assertTrue(each.is_out(LINE, NUMBER))
            case.assertFalse(each.is_out("home", NUMBER))
            case.assertEqual(
                each.listed(),
                [
                    OptOut(line=LINE, number=NUMBER, source="words", since_ms=NOW + 1),
                    OptOut(line=LINE, number=OTHER, source="operator", since_ms=NOW + 3),
                ],
            )
        case.assertTrue(await out.opt_in(LINE, NUMBER))
        case.assertFalse(await out.opt_in(LINE, NUMBER))
        for each in (out, self.opt_outs()):
            case.assertFalse(each.is_out(LINE, NUMBER))
            case.assertEqual(len(each.listed()), 1)

    async def test_out_and_in_keep_their_order(self) -> None:
        """Who changes his mind within one commit gets what he said last."""
        case: Any = self
        out = self.opt_outs()

        changed = await gatherResults(
            [
                out.opt_out(LINE, NUMBER, "words"),
                out.opt_in(LINE, NUMBER),
                out.opt_out(LINE, NUMBER, "words"),
            ]
        )

        case.assertEqual(changed, [True, True, True])
        case.assertTrue(out.is_out(LINE, NUMBER))
        case.assertTrue(self.opt_outs().is_out(LINE, NUMBER))


class _Again:
    """Runs an operation on a list of items as if (or not) an earlier commit had broken off."""

    rank = 5

    def __init__(self, operation: Any, again: bool) -> None:
        self._operation = operation
        self._again = again

    def __call__(self, connection: Any, lists: Any, again: bool) -> Any:
        """Run it."""
        return [self._operation(connection, items, self._again) for items in lists]
