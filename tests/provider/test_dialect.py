"""Tests of `smsbridge.provider.dialect`: what is common to all calls of providers."""

from __future__ import annotations

from urllib.parse import parse_qsl, urlencode

from hypothesis import example, given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.provider.dialect import Hook, Malformed

FORMS = st.lists(
    st.tuples(st.text(st.characters(codec="utf-8")), st.text(st.characters(codec="utf-8")))
)


class HookTests(SynchronousTestCase):
    """Queries and forms."""

    @given(FORMS)
    def test_pairs_come_back_as_they_were(self, pairs: list[tuple[str, str]]) -> None:
        """Order, repeats, blanks and blank values stay."""
        pairs = [(name, value) for name, value in pairs if name or value]
        written = urlencode(pairs)

        self.assertEqual(Hook(method="POST", url="", body=written.encode()).form, pairs)
        self.assertEqual(Hook(method="GET", url="", query=written).arguments, pairs)

    @given(st.text(alphabet="ab=&+%4é0cf ;\x00") | st.text())
    @example("%ff")
    @example("a=%C3%A9&&=&b&c==d")
    def test_reads_what_the_library_reads(self, text: str) -> None:
        """It differs from Python's own in nothing but its speed."""
        hook = Hook(method="GET", url="", query=text)
        try:
            wanted = parse_qsl(text, keep_blank_values=True, errors="strict")
        except ValueError:
            with self.assertRaises(Malformed):
                _ = hook.arguments
        else:
            self.assertEqual(hook.arguments, wanted)

    @given(st.binary())
    def test_a_form_is_read_or_malformed(self, body: bytes) -> None:
        """Nothing else is raised on any bytes."""
        try:
            self.assertIsInstance(Hook(method="POST", url="", body=body).form, list)
        except Malformed:
            pass

    def test_too_many_fields_are_malformed(self) -> None:
        """Nobody has us take apart more than any provider says."""
        with self.assertRaises(Malformed):
            _ = Hook(method="POST", url="", body=b"a&" * 1000).form
        self.assertEqual(len(Hook(method="POST", url="", body=b"&a" * 999).form), 999)
