"""Joining the parts of long texts."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.goip.joining import Joined, Joiner, Part, is_full
from smsbridge.gateways.goip.simulator import parts


def part(recvid: int, text: str) -> Part:
    """Make a part that nobody acknowledges."""
    return Part(recvid, text, lambda: None)


class FullnessTests(SynchronousTestCase):
    """Whether a text fills a part."""

    def test_lengths(self) -> None:
        """153 septets or 67 units; one less where the next character takes two."""
        cases = {
            "a" * 153: True,
            "a" * 152: True,
            "a" * 151: False,
            "a" * 160: False,
            "€" * 76: True,
            "я" * 67: True,
            "я" * 66: True,
            "я" * 65: False,
            "я" * 70: False,
            "🎉" * 33 + "я": True,
            "a" * 67: True,
            "": False,
        }
        for text, expected in cases.items():
            self.assertEqual(is_full(text), expected, (text[:3], len(text)))

    def test_every_part_but_the_last_of_a_long_text_is_full(self) -> None:
        """As phones and boxes split them."""
        for text in ("hello world, " * 40, "привет, мир " * 40, "€uro " * 60, "🎉 party " * 30):
            *first, _ = parts.split(text)
            self.assertTrue(first)
            self.assertTrue(all(is_full(each) for each in first), text[:5])


class JoinerTests(SynchronousTestCase):
    """Holding unfinished texts."""

    def test_waits_for_no_more_senders_than_it_can_hold(self) -> None:
        """Memory is bounded; what is too much is handed on as it is."""
        joiner = Joiner()
        for number in range(16):
            self.assertIsNone(joiner.take(str(number), part(1, "a" * 153), 0.0, 8.0))

        self.assertIsNotNone(joiner.take("one more", part(1, "a" * 153), 0.0, 8.0))

    def test_a_text_has_an_end(self) -> None:
        """Twenty full parts are a text, whatever may follow."""
        joiner = Joiner()
        found: Joined | None = None
        for number in range(20):
            self.assertIsNone(found)
            found = joiner.take("x", part(100 - number, "a" * 153), 0.0, 8.0)

        assert found is not None
        self.assertEqual(len(found.text), 20 * 153)

    def test_what_is_put_back_keeps_its_place(self) -> None:
        """Parts that came meanwhile stand behind it."""
        joiner = Joiner()
        joiner.take("x", part(5, "b" * 153), 0.0, 8.0)
        joiner.put_back(Joined("x", 0.0, [part(6, "a" * 153)]), 3.0)

        self.assertEqual(list(joiner.due(2.0)), [])
        (joined,) = joiner.due(3.0)
        self.assertEqual(joined.text, "a" * 153 + "b" * 153)
        self.assertFalse(joiner)
