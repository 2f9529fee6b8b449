"""Tests of the addresses of programs, and of where reports to them go."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.callbacks import report_origin
from smsbridge.core.directory import Directory, Person
from smsbridge.core.webhooks import read_webhooks, web_address
from smsbridge.errors import Refused

HOOK = "https://app.example.org/texts"


class AddressTests(SynchronousTestCase):
    """What can be posted to."""

    def test_http_addresses_are_taken(self) -> None:
        """Blanks separate several; a fragment means nothing to a server."""
        self.assertEqual(
            read_webhooks(f" {HOOK}  http://127.0.0.1:8000/?a=b#top "),
            (HOOK, "http://127.0.0.1:8000/?a=b"),
        )

    def test_everything_else_is_refused_in_a_sentence(self) -> None:
        """An operator reads what an address looks like."""
        for text in (
            "",
            "app.example.org",
            "ftp://app.example.org/",
            "https://",
            "https://user:pw@app.example.org/",
            "https://app.example.org:99999/",
            "https://app.example.org/\u00e4",
            "https://[::1/",
            f"https://app.example.org/{'a' * 600}",
        ):
            with self.assertRaises(ValueError, msg=text) as caught:
                web_address(text)
            self.assertIn("address", str(caught.exception))

    @given(st.text(max_size=60))
    def test_any_text_is_read_or_refused(self, text: str) -> None:
        """Nothing but a ValueError comes of it."""
        for prefix in ("", "https://"):
            try:
                web_address(prefix + text)
            except ValueError:
                pass


class OriginTests(SynchronousTestCase):
    """Where reports go."""

    def setUp(self) -> None:
        """Let a gateway serve webhooks."""
        self.person = Person(label="app", webhook=(HOOK,))
        self.directory = Directory(serving={"webhook": "hooks"})

    def test_callback_goes_before_the_webhook(self) -> None:
        """What a program names with a message is told of it, and the person's webhook otherwise."""
        origin = report_origin(self.directory, self.person, "https://x.example.net/dlr", "r1")
        assert origin is not None
        self.assertEqual(
            (origin.gateway, origin.address, origin.ref, origin.wants_report),
            ("hooks", "https://x.example.net/dlr", "r1", True),
        )
        origin = report_origin(self.directory, self.person)
        assert origin is not None
        self.assertEqual(origin.address, HOOK)

    def test_nobody_is_told_without_either(self) -> None:
        """A person without a webhook wants no reports by HTTP."""
        self.assertIsNone(report_origin(self.directory, Person(label="john")))
        self.assertIsNone(report_origin(Directory(), self.person))

    def test_callback_that_cannot_be_told_is_refused(self) -> None:
        """A program learns at once that its address is wrong, or that nothing posts here."""
        for directory, callback in (
            (self.directory, "javascript:alert(1)"),
            (Directory(), "https://x.example.net/"),
        ):
            error = self.assertRaises(Refused, report_origin, directory, self.person, callback)
            self.assertIn("dlr_callback", error.text)
