"""Texts are cut into SMS between what people see as characters."""

from __future__ import annotations

import os

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.voipms.graphemes import cut

EXAMPLES = 1_000 if os.environ.get("CI") == "true" else 300
FAMILY = "\U0001f468\u200d\U0001f469\u200d\U0001f467"  # 18 bytes
WAVE = "\U0001f44b\U0001f3fd"  # 8 bytes
FLAG = "\U0001f1ea\U0001f1ea"  # 8 bytes
ACCENT = "e\u0301"  # 3 bytes


class CutTests(SynchronousTestCase):
    """`cut` counts bytes and sees characters."""

    def test_short_text_is_one_piece(self) -> None:
        """Exactly as many bytes as there may be still fit."""
        self.assertEqual(cut("x" * 160, 160), ["x" * 160])
        self.assertEqual(cut("", 160), [""])

    def test_cuts_behind_a_blank_where_one_is_near(self) -> None:
        """Words stay whole, and the blank stays with the word before."""
        self.assertEqual(cut("one two three", 10), ["one two ", "three"])
        self.assertEqual(cut("a bcdefghijk", 10), ["a bcdefghi", "jk"])

    def test_keeps_what_people_see_as_one_character(self) -> None:
        """Families, skin colors, flags and accents are not taken apart."""
        for character in (FAMILY, WAVE, FLAG, ACCENT):
            size = len(character.encode())
            pieces = cut(character * 5, size * 2 + 1)
            self.assertEqual(pieces, [character * 2, character * 2, character])

    def test_character_that_is_too_long_alone_is_cut_inside(self) -> None:
        """A letter with a hundred accents does not stop the text."""
        text = "a" + "\u0301" * 100
        pieces = cut(text, 160)

        self.assertEqual("".join(pieces), text)
        self.assertEqual(len(pieces), 2)

    def test_nothing_is_lost_and_no_piece_is_too_long(self) -> None:
        """Whatever the text, its pieces joined are the text, and each fits."""

        @settings(max_examples=EXAMPLES, deadline=None, database=None)
        @given(
            st.text(
                alphabet=st.sampled_from([*"ab \n\r\u00e9\u0301\u200d", *FAMILY, *WAVE, *FLAG])
                | st.characters(exclude_categories=["Cs"]),
                max_size=120,
            ),
            st.integers(4, 60),
        )
        def check(text: str, most: int) -> None:
            pieces = cut(text, most)
            self.assertEqual("".join(pieces), text)
            self.assertTrue(all(len(piece.encode()) <= most for piece in pieces))
            self.assertTrue(text == "" or all(pieces))

        check()
