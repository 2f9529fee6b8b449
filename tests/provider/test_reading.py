"""Tests of what the dialects of several providers read in the same way."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.provider.dialect import Malformed, Response
from smsbridge.provider.reading import (
    at_ms,
    document,
    listed,
    mapping,
    object_in,
    pause_s,
    whole,
    words,
)


class DocumentTests(SynchronousTestCase):
    """JSON of any shape."""

    def test_what_is_no_json_is_malformed(self) -> None:
        """Nonsense, bytes that are no UTF-8 and endless nesting are told from documents."""
        self.assertEqual(document(b'{"a": [1]}'), {"a": [1]})
        for body in (b"", b"<html>", b"\xff{", b"[" * 60_000, b"1" * 5000):
            with self.assertRaises(Malformed):
                document(body)

    def test_shapes_that_are_not_there_are_empty(self) -> None:
        """What should be an object or a list and is none has nothing in it."""
        self.assertEqual(mapping({"a": 1}), {"a": 1})
        self.assertEqual(listed([1]), [1])
        for value in (None, "text", 1):
            self.assertEqual((mapping(value), listed(value)), ({}, []))

    def test_an_answer_without_an_object_has_an_empty_one(self) -> None:
        """A page of a proxy or a list tells nothing, and fails nothing."""
        self.assertEqual(object_in(Response(status=200, body=b'{"a": 1}')), {"a": 1})
        for body in (b"", b"<html>", b"[1]", b"\xff"):
            self.assertEqual(object_in(Response(status=502, body=body)), {})

    def test_counts_and_codes_are_numbers_or_texts(self) -> None:
        """What is too long, negative or no number is none."""
        for value, number in ((21610, 21610), (" 4470 ", 4470), ("0", 0), (3.0, 3)):
            self.assertEqual(whole(value), number)
        for value in (None, "", "-1", "1.5", "1234567890", "\u0663", True, [1]):
            self.assertIs(whole(value), None)

    def test_numbers_are_texts_and_texts_can_be_stored(self) -> None:
        """Providers mix the two; what no database holds is replaced."""
        for value, text in (
            ("a b ", "a b "),
            (12025550123, "12025550123"),
            (10.0, "10"),
            (0.5, "0.5"),
            (True, ""),
            (None, ""),
            (["a"], ""),
            (float("nan"), ""),
            ("a\x00\ud800", "a\ufffd\ufffd"),
        ):
            self.assertEqual(words(value), text)


class TimeTests(SynchronousTestCase):
    """Times and pauses."""

    def test_times_of_iso_8601(self) -> None:
        """A time without a zone is in UTC; what is no time is none."""
        for text in (
            "2026-01-01T12:00:00Z",
            "2026-01-01 12:00:00",
            "2026-01-01T12:00:00.000+00:00",
            "2026-01-01T13:00:00+01:00",
        ):
            self.assertEqual(at_ms(text), 1_767_268_800_000)
        for text in ("", "yesterday", "2026-13-01", "1900-01-01T00:00:00Z", "0001-01-01"):
            self.assertEqual(at_ms(text), None)

    def test_pause_in_seconds_or_until_a_date(self) -> None:
        """A date counts from the answer's own, and nothing pauses for longer than a day."""
        date = {"date": "Thu, 01 Jan 2026 12:00:00 GMT"}
        for headers, seconds in (
            ({"retry-after": "7"}, 7),
            ({"retry-after": "0.5"}, 0.5),
            ({"retry-after": "999999"}, 86400),
            ({**date, "retry-after": "Thu, 01 Jan 2026 12:01:30 GMT"}, 90),
            ({**date, "retry-after": "Thu, 01 Jan 2026 11:00:00 GMT"}, 0),
            ({"x-reset": "3"}, 3),
            ({"retry-after": "soon", "x-reset": "3"}, 3),
            ({"retry-after": "5", "x-reset": "3"}, 5),
            ({"retry-after": "Thu, 01 Jan 2026 12:01:30 GMT"}, None),
            ({"retry-after": "-1"}, None),
            ({"retry-after": "1e9"}, None),
            ({}, None),
        ):
            self.assertEqual(pause_s(headers, "x-reset"), seconds, headers)

    @given(st.text(max_size=40), st.text(max_size=40))
    def test_anything_is_read_without_an_error(self, first: str, second: str) -> None:
        """Whatever stands in a header or a time, there is a number or nothing."""
        self.assertIn(type(pause_s({"retry-after": first, "date": second})), (float, type(None)))
        self.assertIn(type(at_ms(first)), (int, type(None)))
