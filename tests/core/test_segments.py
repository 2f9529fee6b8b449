"""How texts are measured and cut into segments."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.segments import Charset, Encoding, count, foreign, split

#: text, encoding, units, segments, left
TABLE = [
    ("", Encoding.GSM7, 0, 1, 160),
    ("hello", Encoding.GSM7, 5, 1, 155),
    ("a" * 160, Encoding.GSM7, 160, 1, 0),
    ("a" * 161, Encoding.GSM7, 161, 2, 145),
    ("a" * 306, Encoding.GSM7, 306, 2, 0),
    ("a" * 307, Encoding.GSM7, 307, 3, 152),
    ("€" * 80, Encoding.GSM7, 160, 1, 0),
    ("€" * 81, Encoding.GSM7, 162, 2, 143),  # 76 pairs in 153 septets, five in the second
    ("a" * 152 + "€" + "b" * 8, Encoding.GSM7, 162, 2, 143),  # the pair moves as a whole
    ("é" * 160, Encoding.GSM7, 160, 1, 0),
    ("^{}\\[~]|€\f", Encoding.GSM7, 20, 1, 140),
    ("line\r\nline", Encoding.GSM7, 10, 1, 150),
    ("`", Encoding.UCS2, 1, 1, 69),
    ("ç", Encoding.UCS2, 1, 1, 69),  # the alphabet has the capital letter alone
    ("\t", Encoding.UCS2, 1, 1, 69),
    ("\x1b", Encoding.UCS2, 1, 1, 69),
    ("я" * 70, Encoding.UCS2, 70, 1, 0),
    ("я" * 71, Encoding.UCS2, 71, 2, 63),
    ("я" * 134, Encoding.UCS2, 134, 2, 0),
    ("я" * 135, Encoding.UCS2, 135, 3, 66),
    ("😀" * 35, Encoding.UCS2, 70, 1, 0),
    ("😀" * 36, Encoding.UCS2, 72, 2, 61),  # 33 pairs in 67 units, three in the second
    ("я" * 66 + "😀" + "я" * 3, Encoding.UCS2, 71, 2, 62),
    ("\ud800", Encoding.UCS2, 1, 1, 69),  # a lone surrogate counts as it would be sent
]

TEXTS = st.text(
    alphabet=st.one_of(st.sampled_from("ab €{}|é\nя😀`"), st.characters()), max_size=500
)


def units(text: str, encoding: Encoding) -> int:
    """Count the units of a text one character at a time."""
    if encoding is Encoding.GSM7:
        return sum(2 if each in "\f^{}\\[~]|€" else 1 for each in text)
    return len(text.encode("utf-16-be", "surrogatepass")) // 2


class CountTests(SynchronousTestCase):
    """The size of a text."""

    def test_table(self) -> None:
        """Each text has the encoding, units, segments and free units of the table."""
        for text, *expected in TABLE:
            self.assertEqual(list(count(text)), expected, repr(text[:20]))

    def test_alphabet_has_its_size(self) -> None:
        """The GSM alphabet holds 127 characters beside the escape, and 10 in the extension."""
        narrow = [c for c in map(chr, range(0x3000)) if count(c).encoding is Encoding.GSM7]

        self.assertEqual(len(narrow), 137)
        self.assertEqual(len([c for c in narrow if count(c).units == 2]), 10)

    def test_device_that_knows_ascii_alone(self) -> None:
        """Such a device takes UCS-2 for every other text; what costs two septets still does."""
        self.assertEqual(count("café", Charset.ASCII).encoding, Encoding.UCS2)
        self.assertEqual(count("cafe [1]", Charset.ASCII).units, 10)
        self.assertEqual(count("`\t", Charset.ASCII).encoding, Encoding.GSM7)


class ForeignTests(SynchronousTestCase):
    """The characters that cost the GSM alphabet."""

    @given(st.text(max_size=50), st.sampled_from(Charset))
    def test_without_them_a_text_is_narrow(self, text: str, charset: Charset) -> None:
        """A text has some exactly when it is counted as UCS-2."""
        found = foreign(text, charset)

        self.assertEqual(bool(found), count(text, charset).encoding is Encoding.UCS2)
        rest = "".join(each for each in text if each not in found)
        self.assertIs(count(rest, charset).encoding, Encoding.GSM7)

    def test_each_is_named_once_in_order(self) -> None:
        """For a sentence to the sender."""
        self.assertEqual(foreign("łążł ok €"), "łąż")
        self.assertEqual(foreign("é", Charset.ASCII), "é")


class SplitTests(SynchronousTestCase):
    """Where segments end."""

    def test_pairs_are_not_cut(self) -> None:
        """An extension character or surrogate pair at the border begins the next segment."""
        self.assertEqual([len(part) for part in split("a" * 152 + "€" + "b" * 8)], [152, 9])
        self.assertEqual([len(part) for part in split("я" * 66 + "😀" + "я" * 3)], [66, 4])

    def test_short_text_is_one_part(self) -> None:
        """What fits into a segment is not cut, nor is nothing."""
        self.assertEqual(split("a" * 160), ["a" * 160])
        self.assertEqual(split(""), [""])

    @given(TEXTS, st.sampled_from(Charset))
    def test_parts_are_the_text_and_as_many_as_counted(self, text: str, charset: Charset) -> None:
        """Parts join to the text, fit, are as full as they can be, and agree with the count."""
        parts = split(text, charset)
        size = count(text, charset)
        limit = size.encoding.value[0 if len(parts) == 1 else 1]
        lengths = [units(part, size.encoding) for part in parts]

        self.assertEqual("".join(parts), text)
        self.assertEqual(len(parts), size.segments)
        self.assertEqual(sum(lengths), size.units)
        self.assertEqual(limit - lengths[-1], size.left)
        self.assertTrue(all(length <= limit for length in lengths))
        for length, following in zip(lengths, parts[1:], strict=False):
            self.assertGreater(length + units(following[0], size.encoding), limit)
