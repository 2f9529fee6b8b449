"""Tests of `smsbridge.web.api.media`."""

from __future__ import annotations

from typing import Any

from smsbridge.errors import Refused
from tests.web.api.setting import BASE, ApiTestCase

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
