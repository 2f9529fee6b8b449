"""Tests of `smsbridge.provider.parts`: long texts that come in parts."""

from __future__ import annotations

from typing import Any

from hypothesis import given
from hypothesis import strategies as st

from smsbridge.provider import kept
from smsbridge.provider.dialect import Part, Received, RemoteMedia
from tests.provider.test_arrivals import OTHER, ArrivalsTestCase, text


def part(number: int, total: int = 3, reference: str = "7", **changes: Any) -> Received:
    """Return a part; its text is its letter."""
    values: dict[str, Any] = {
        "remote_id": f"{reference}-{number}",
        "body": "-abcdefghij"[number],
        "part": Part(reference=reference, number=number, total=total),
    }
    return text(**(values | changes))


class PartsTests(ArrivalsTestCase):
    """Joining."""

    @property
    def bodies(self) -> list[str]:
        """The texts that were accepted."""
        return [message.body for message in self.inbox.messages]

    def test_parts_in_any_order_are_one_text(self) -> None:
        """The persons see the whole, when the last part is there."""
        for number in (3, 1):
            self.assertTrue(self.take(part(number)))
        self.assertEqual(self.bodies, [])

        self.assertTrue(self.take(part(2)))

        self.assertEqual(self.bodies, ["abc"])
        self.inbound.pass_time(200)
        self.assertEqual(self.bodies, ["abc"])

    def test_a_part_twice_is_one(self) -> None:
        """Repeats count neither before nor after the text was joined, nor after a restart."""
        for number in (1, 1, 2, 2, 3, 3, 1):
            self.take(part(number))
        self.assertFalse(self.take(part(2)))
        self.inbound.restart()
        self.assertFalse(self.take(part(3)))
        self.inbound.pass_time(600)

        self.assertEqual(self.bodies, ["abc"])

    def test_texts_are_kept_apart(self) -> None:
        """Sender, number and reference tell which part belongs where."""
        self.take(part(1, 2))
        self.take(part(2, 2, "8"))
        self.take(part(2, 2, sender=OTHER, remote_id="x"))
        self.assertEqual(self.bodies, [])

        self.take(part(2, 2))

        self.assertEqual(self.bodies, ["ab"])

    def test_what_is_missing_is_not_waited_for_forever(self) -> None:
        """After three minutes the text goes on with the gap left out, and the log says so."""
        self.take(part(1))
        self.inbound.pass_time(100)
        self.take(part(3))
        self.inbound.pass_time(79)
        self.assertEqual(self.bodies, [])

        self.inbound.pass_time(2)

        self.assertEqual(self.bodies, ["ac"])
        self.assertEqual(self.warnings()[0]["missing"], 1)

    def test_a_late_part_goes_on_by_itself(self) -> None:
        """Nothing that was received is lost."""
        self.take(part(1))
        self.take(part(3))
        self.inbound.pass_time(200)
        self.take(part(2))
        self.inbound.restart()
        self.inbound.pass_time(200)

        self.assertEqual(self.bodies, ["ac", "b"])

    def test_parts_outlive_the_process(self) -> None:
        """What was answered is joined by the next process, within the same three minutes."""
        self.take(part(1))
        self.take(part(2))
        self.inbound.pass_time(100)
        self.inbound.restart()
        self.take(part(3))
        self.take(part(1, reference="8"))
        self.inbound.pass_time(100)
        self.inbound.restart()
        self.inbound.pass_time(81)

        self.assertEqual(self.bodies, ["abc", "a"])

    def test_an_old_rest_is_released_at_the_start(self) -> None:
        """A process that was away for long does not wait for another three minutes."""
        self.take(part(1))
        self.inbound.arrivals.stop()
        self.inbound.clock.advance(3600)

        self.inbound.restart()
        self.inbound.pass_time(1)

        self.assertEqual(self.bodies, ["a"])

    def test_a_crash_between_text_and_note_doubles_nothing(self) -> None:
        """The joined text is recognized when it is joined again."""
        self.inbound.pending.refused = "joined"
        for number in (1, 2, 3):
            self.take(part(number))
        self.inbound.pending.refused = "nothing"
        self.inbound.restart()
        self.inbound.pass_time(300)

        self.assertEqual(self.bodies, ["abc"])
        self.assertEqual(sum(key.startswith("joined") for key in self.inbound.pending.keys), 1)

    def test_a_store_that_goes_away_is_waited_for(self) -> None:
        """The parts are safe, so the text is handed on when the store is back."""
        self.take(part(1))
        self.inbound.away()
        self.inbound.pass_time(190)
        self.assertEqual(self.bodies, [])

        self.inbound.back()
        self.inbound.pass_time(60)

        self.assertEqual(self.bodies, ["a"])

    def test_a_reference_is_used_again(self) -> None:
        """Another first part with the reference of an unfinished text begins another text."""
        self.take(part(1))
        self.take(part(1, remote_id="again", body="x"))
        self.assertEqual(self.bodies, ["a"])

        self.take(part(2, remote_id="again 2", body="y"))
        self.take(part(3, remote_id="again 3", body="z"))

        self.assertEqual(self.bodies, ["a", "xyz"])

    def test_strange_numbers_make_a_whole_text(self) -> None:
        """A part of one, or one beyond the last, is handed on as it is."""
        for number, total in ((1, 1), (0, 2), (3, 2), (1, 0), (1, 256)):
            self.take(
                part(
                    min(number, 3),
                    total,
                    f"r{number}{total}",
                    part=Part(reference="r", number=number, total=total),
                )
            )

        self.assertEqual(len(self.bodies), 5)
        self.assertEqual(self.inbound.pending.keys, [])

    def test_attachments_of_parts_are_not_forgotten(self) -> None:
        """The joined text has those of all its parts."""
        self.inbound.files.web["https://m.test/1"] = [(b"data", "image/png")]
        self.take(part(1, 2, media=(RemoteMedia(url="https://m.test/1"),)))
        self.take(part(2, 2))

        (message,) = self.inbox.messages
        self.assertEqual((message.body, len(message.media)), ("ab", 1))

    def test_what_is_too_old_to_be_repeated_is_forgotten(self) -> None:
        """The notes of joined texts do not stay for ever; unfinished ones stay."""
        for number in (1, 2, 3):
            self.take(part(number))
        self.inbound.pass_time(20 * 3600, lambda: 600)
        self.assertEqual(len(self.inbound.pending.keys), 4)

        self.inbound.pass_time(7 * 3600, lambda: 600)

        self.assertEqual(self.inbound.pending.keys, [])

    def test_what_cannot_be_read_stays_where_it_is(self) -> None:
        """A newer version may have written it; the others go on."""
        self.take(part(1, 2))
        self.inbound.pending.keep("work", "part new", b'{"spoken": true}')
        self.inbound.restart()
        self.take(part(2, 2))

        self.assertEqual(self.bodies, ["ab"])
        self.assertIn("part new", self.inbound.pending.keys)

    def test_old_and_new_parts_of_one_reference_are_two_texts(self) -> None:
        """What an earlier process left is not joined with what used the reference again."""
        self.inbound.pending.keep("work", "part old", kept.encode(part(1, 2)))
        self.inbound.pass_time(700)
        self.inbound.pending.keep("work", "part new", kept.encode(part(2, 2)))

        self.inbound.restart()
        self.inbound.pass_time(200)

        self.assertEqual(self.bodies, ["a", "b"])

    def test_a_line_that_is_gone_keeps_its_parts(self) -> None:
        """The text comes when the line is in the configuration again."""
        self.take(part(1))
        account = self.inbound.account
        lines = dict(account.lines)
        account.replace(account.config, account.dialect, {})
        self.inbound.pass_time(200)
        self.inbound.pass_time(30 * 3600, lambda: 600)
        self.assertEqual(self.bodies, [])
        account.replace(account.config, account.dialect, lines)

        self.inbound.restart()
        self.inbound.pass_time(1)

        self.assertEqual(self.bodies, ["a"])

    def test_a_start_without_the_store_is_repeated(self) -> None:
        """The kept parts are read once it is there."""
        self.take(part(1))
        self.inbound.away()
        self.inbound.restart()
        self.inbound.back()
        self.inbound.pass_time(190)

        self.assertEqual(self.bodies, ["a"])


class KeptTests(ArrivalsTestCase):
    """Texts as bytes."""

    @given(
        st.builds(
            Received,
            remote_id=st.text(max_size=300),
            ours=st.text(max_size=20),
            sender=st.text(st.characters(), max_size=20),
            body=st.text(st.characters()),
            recipients=st.lists(st.text(max_size=20), max_size=3).map(tuple),
            media=st.lists(
                st.builds(RemoteMedia, url=st.text(max_size=30), size=st.none() | st.integers()),
                max_size=3,
            ).map(tuple),
            unlisted_media=st.booleans(),
            sent_at_ms=st.none() | st.integers(),
            part=st.none()
            | st.builds(Part, reference=st.text(), number=st.integers(), total=st.integers()),
        )
    )
    def test_a_text_comes_back_as_it_was(self, received: Received) -> None:
        """Whatever characters are in it."""
        self.assertEqual(kept.decode(kept.encode(received)), received)
        self.assertLessEqual(len(kept.name("media", received.remote_id)), 255)

    @given(
        st.binary() | st.sampled_from([b"{}", b"[]", b"null", b'{"media": 1}', b'{"media": [1]}'])
    )
    def test_other_bytes_are_unreadable(self, value: bytes) -> None:
        """And nothing worse."""
        for read in (kept.decode, kept.decode_ahead):
            with self.assertRaises(kept.Unreadable):
                read(value)

    def test_keys_of_strange_ids_differ(self) -> None:
        """An id that a key cannot hold is replaced by its digest."""
        names = {kept.name("part", each) for each in ("a", "a ", "é", "x" * 300, "x" * 301, "")}

        self.assertEqual(len(names), 6)
        for name in names:
            self.assertTrue(name.isascii() and len(name) <= 255)
