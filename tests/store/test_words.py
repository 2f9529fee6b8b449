"""Tests of how texts are cut into words."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.store.words import (
    LONGEST_WORD,
    conversation_mark,
    folded,
    holds,
    index_text,
    index_words,
    line_mark,
    spaced,
    words_of,
)


class WordsTests(SynchronousTestCase):
    """Words of texts and of what is typed."""

    def test_cuts_what_was_typed(self) -> None:
        """Words lose case, accents and what is between them; each is looked for once."""
        for typed, words in (
            ("", ()),
            ("  ,;-_ ", ()),
            ("Hello, hello WORLD!", ("hello", "world")),
            ("Zürich straße", ("zurich", "strasse")),
            ("snake_case 8:15", ("snake", "case", "8", "15")),
            ('"quoted* AND NOT (x)', ("quoted", "and", "not", "x")),
            ("你好", ("你", "好")),
            ("Привет ёлка", ("привет", "елка")),
            ("\u0130stanbul", ("istanbul",)),
            ("x" * 100, ("x" * LONGEST_WORD,)),
        ):
            self.assertEqual(words_of(typed), words, typed)

    def test_only_so_many_words_are_looked_for(self) -> None:
        """A whole book pasted into the search is cut to its beginning."""
        self.assertEqual(len(words_of(" ".join(f"w{n}" for n in range(99)))), 10)

    def test_every_word_must_begin_one_of_the_text(self) -> None:
        """All that was typed must be there, at the beginnings of words."""
        for body, typed, found in (
            ("Train to Zürich", "zur tra", True),
            ("Train to Zürich", "rain", False),
            ("Train to Zürich", "train bus", False),
            ("foo_bar", "bar", True),
            ("我们明天见", "明天", True),
            ("", "x", False),
        ):
            self.assertEqual(holds(body, words_of(typed)), found, (body, typed))

    def test_index_holds_words_and_marks(self) -> None:
        """What is indexed are the words, each once, and the marks of line and conversation."""
        self.assertEqual(
            sorted(index_words("demo1", "demo1|+1", "Ok ok Zürich")),
            sorted([line_mark("demo1"), conversation_mark("demo1|+1"), "ok", "zurich"]),
        )
        marks = f"{line_mark('demo1')} {conversation_mark('c')}"
        self.assertEqual(index_text("demo1", "c", "Foo_bar ok"), f"{marks} Foo bar ok")
        self.assertEqual(index_text("demo1", "c", "Zürich!"), f"{marks} zurich")

    def test_short_words_are_made_longer(self) -> None:
        """MariaDB leaves words of one or two characters out, but finds these by their beginning."""
        self.assertEqual(spaced(["a", "to", "the", "明"]), "a__ to_ the 明__")

    def test_long_texts_are_indexed_in_part(self) -> None:
        """A database takes only so many words of one text."""
        body = " ".join(f"w{number}" for number in range(9000)) + " " + "y" * 5000

        words = index_words("demo1", "c", body)

        self.assertEqual(len(words), 3002)
        self.assertLessEqual(max(map(len, words)), LONGEST_WORD)

    @given(st.text())
    def test_every_word_of_a_text_is_found_in_it(self, body: str) -> None:
        """Whatever the script, a text is found by its own words and by their beginnings."""
        for word in words_of(body):
            self.assertTrue(holds(body, (word,)))
            self.assertTrue(holds(body, (word[:1],)))
            self.assertTrue(word.isalnum())

    @given(st.text())
    def test_marks_are_no_words(self, typed: str) -> None:
        """Nothing that is typed finds a mark."""
        self.assertFalse(any(word.startswith("_") for word in words_of(typed)))
        self.assertEqual(words_of(folded(typed)), words_of(typed))
