"""Tests of `smsbridge.web.api.media`."""

from __future__ import annotations

from typing import Any

from smsbridge.errors import Refused
from smsbridge.web.api.unsent import Unsent
from tests.web.api.setting import BASE, ApiTestCase
from tests.web.backend import NUMBER

NOBODYS = "0" * 64


class UploadTests(ApiTestCase):
    """``POST /media``."""

    def upload(self, data: bytes, code: int) -> Any:
        """Upload a file."""
        return self.ask("POST", f"{BASE}/media", data, code, content_type="image/png")

    def test_answers_with_the_file(self) -> None:
        """What `media` of a message takes, and how to fetch it."""
        resource = self.upload(b"picture", 201)["data"]

        self.assertEqual((resource["type"], len(resource["id"])), ("media", 64))
        self.assertEqual(resource["attributes"]["size"], 7)

    def test_what_cannot_be_kept_has_a_status_of_its_own(self) -> None:
        """Too large, no room, and unusable are told apart, with the store's own sentence."""
        for reason, code in (("too-large", 413), ("storage-full", 507), ("bad-file", 422)):
            self.setting.files.refusal = Refused(reason, "Not this one.")
            (error,) = self.upload(b"picture", code)["errors"]
            self.assertEqual((error["code"], error["detail"]), (reason, "Not this one."))


class UnsentTests(ApiTestCase):
    """Uploads that were not sent."""

    def setUp(self) -> None:
        """Let nobody have much."""
        super().setUp()
        self.setting.backend.unsent = Unsent(least_bytes=1000)

    def upload(self, letter: bytes, code: int = 201, size: int = 600) -> Any:
        """Upload a file."""
        answer = self.ask("POST", f"{BASE}/media", letter * size, code, content_type="image/png")
        return answer["data"]["id"] if code == 201 else answer["errors"][0]

    def test_too_much_is_refused_until_some_is_sent(self) -> None:
        """What a message names counts no more, whether by its id or by its address."""
        first = self.upload(b"a")
        self.assertEqual(self.upload(b"b", 507)["code"], "storage-full")

        self.send(NUMBER, line="two", media=[first])

        second = self.upload(b"b")
        self.upload(b"c", 507)
        url = f"https://sms.example.org/media/{second}"
        self.send(NUMBER, line="two", media_urls=[url])
        self.upload(b"c")

    def test_what_was_made_smaller_is_sent_with_it(self) -> None:
        """The large picture, which no message names, does not count then either."""
        large = self.upload(b"x", size=2_000_000)
        small = self.post(f"/media/{large}/fit?line=two")["data"]["id"]
        self.assertNotEqual(small, large)
        self.upload(b"b", 507)

        self.send(NUMBER, line="two", media=[small])

        self.upload(b"b")

    def test_what_is_not_kept_does_not_count(self) -> None:
        """A file that the store refuses leaves the room as it was."""
        self.setting.files.refusal = Refused("bad-file")
        for _ in range(3):
            self.upload(b"a", 422)
        self.setting.files.refusal = None

        self.upload(b"a")

    def test_tried_texts_send_nothing(self) -> None:
        """A preview does not give room."""
        first = self.upload(b"a")
        self.post("/messages?test=true", {"to": NUMBER, "line": "two", "media": [first]})

        self.upload(b"b", 507)


class FitTests(ApiTestCase):
    """``POST /media/<digest>/fit``."""

    def test_gone_file_is_410(self) -> None:
        """Whoever asks too late is told to upload again."""
        error = self.refused("POST", f"/media/{NOBODYS}/fit", 410)

        self.assertEqual(error["code"], "file-gone")
        self.assertIn("upload it again", error["detail"])

    def test_what_cannot_be_made_small_is_413(self) -> None:
        """A file that no line carries is too large, not wrong."""
        file = self.ask("POST", f"{BASE}/media", b"x" * 2_000_000, 201, content_type="image/png")
        self.setting.files.refusal = Refused("too-large")

        self.refused("POST", f"/media/{file['data']['id']}/fit?line=two", 413)
