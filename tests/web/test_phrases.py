"""Tests of `smsbridge.web.phrases`."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.web.test.requesthelper import DummyRequest

from smsbridge.web.phrases import answer_with, phrase


class PhraseTests(SynchronousTestCase):
    """The words of a status."""

    def test_every_status_that_is_answered_has_words(self) -> None:
        """No client reads that a status is unknown."""
        for status, words in (
            (200, "OK"),
            (404, "Not Found"),
            (413, "Content Too Large"),
            (422, "Unprocessable Content"),
            (429, "Too Many Requests"),
            (507, "Insufficient Storage"),
            (599, "Error"),
        ):
            self.assertEqual(phrase(status), words)

    def test_answer_carries_the_words(self) -> None:
        """A request gets the status together with its words."""
        request = DummyRequest([b""])

        answer_with(request, 429)  # type: ignore[arg-type]

        self.assertEqual(
            (request.responseCode, request.responseMessage), (429, b"Too Many Requests")
        )
