"""Tests of what is posted to programs, and of the signature."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Direction, Kind, Media
from smsbridge.gateways.webhook import payload
from tests.gateways.webhook.rig import ALICE, BOB, OURS, SECRET, Rig


def link(media: Media) -> str:
    """Return from where a file is fetched."""
    return f"https://sms.example.org/media/{media.digest}"


class MessageTests(SynchronousTestCase):
    """Texts in Flowroute's shape."""

    def setUp(self) -> None:
        """Take a text."""
        self.text = Rig().delivery(body="again")

    def data(self, compat: bool = False, **changes: Any) -> Any:
        """Shape the text, changed."""
        return payload.post_of(evolve(self.text, **changes), link, compat)["data"]

    def test_text_has_flowroutes_shape(self) -> None:
        """A program that was written for Flowroute finds everything where it looks for it."""
        data = self.data()

        attributes = data["attributes"]
        self.assertEqual((data["type"], data["id"]), ("message", "message-a"))
        self.assertEqual(attributes["body"], "again")
        self.assertEqual((attributes["from"], attributes["to"]), (ALICE, OURS))
        self.assertEqual(attributes["recipients"], [OURS])
        self.assertEqual((attributes["direction"], attributes["is_mms"]), ("inbound", False))
        self.assertEqual((attributes["message_encoding"], attributes["line"]), (0, "2001"))
        self.assertRegex(attributes["timestamp"], r"^2026-11-21T\d\d:\d\d:\d\d\.\d{3}Z$")
        self.assertEqual(data["relationships"], {"media": {"data": []}})

    def test_group_text_names_all_recipients(self) -> None:
        """`to` is ours; in MobileMessaging's spelling it is all numbers in one word."""
        data = self.data(recipients=(OURS, BOB))
        self.assertEqual(data["attributes"]["to"], OURS)
        self.assertEqual(data["attributes"]["recipients"], [OURS, BOB])
        self.assertTrue(data["attributes"]["is_mms"])

        data = self.data(compat=True, recipients=(OURS, BOB))
        self.assertEqual(data["attributes"]["to"], OURS + BOB)

    def test_files_are_included_as_links(self) -> None:
        """Each attachment is named in the relationships and described below `included`."""
        media = Media(content_type="image/png", size=7, name="a.png", digest="d" * 64)

        shape = payload.post_of(evolve(self.text, media=(media,)), link)

        (included,) = shape["included"]
        self.assertEqual(
            included["attributes"],
            {
                "url": link(media),
                "file_name": "a.png",
                "mime_type": "image/png",
                "file_size": 7,
            },
        )
        related = shape["data"]["relationships"]["media"]["data"]
        self.assertEqual(related, [{"type": "media", "id": included["id"]}])
        self.assertTrue(shape["data"]["attributes"]["is_mms"])

    def test_text_of_a_person_tells_who_wrote_it(self) -> None:
        """A text from person to person has names in the place of numbers."""
        attributes = self.data(
            direction=Direction.INTERNAL,
            sender="john",
            author="john",
            recipients=("app",),
            line="",
            body="\u4f60\u597d",
        )["attributes"]

        self.assertEqual(
            (attributes["from"], attributes["to"], attributes["person"]), ("john", "app", "john")
        )
        self.assertEqual(attributes["message_encoding"], 8)

    @given(st.text(max_size=200))
    def test_any_text_is_valid_json(self, body: str) -> None:
        """Quotes, line ends and every other character arrive as they are."""
        written = payload.encode(payload.post_of(evolve(self.text, body=body), link))

        read = json.loads(written)["data"]["attributes"]["body"]
        self.assertEqual(read, body.encode("utf-8", "replace").decode())


class ReportTests(SynchronousTestCase):
    """Reports and notices."""

    def test_report_is_a_delivery_receipt(self) -> None:
        """What became of a text is told with its id, the status and the reason."""
        report = Rig().delivery(
            kind=Kind.REPORT,
            reported="failed",
            reason="unreachable",
            body="The telephone is switched off.",
            ref="order-7",
            about="see you",
            recipients=(ALICE,),
        )

        data = payload.post_of(report, link)["data"]

        self.assertEqual((data["type"], data["id"]), ("delivery_receipt", "message-a"))
        attributes = data["attributes"]
        self.assertEqual((attributes["status"], attributes["level"]), ("failed", 2))
        self.assertEqual(attributes["status_code"], "unreachable")
        self.assertEqual(attributes["status_code_description"], "The telephone is switched off.")
        self.assertEqual((attributes["reference"], attributes["to"]), ("order-7", [ALICE]))
        sent = payload.post_of(evolve(report, reported="sent"), link)["data"]
        self.assertEqual(sent["attributes"]["level"], 1)

    def test_notice_is_of_a_type_of_its_own(self) -> None:
        """A sentence of the bridge is no text of anybody."""
        notice = Rig().delivery(kind=Kind.NOTICE, body="[USSD] 3 EUR")

        data = payload.post_of(notice, link)["data"]

        self.assertEqual((data["type"], data["attributes"]["body"]), ("notice", "[USSD] 3 EUR"))


class SignatureTests(SynchronousTestCase):
    """The header that proves who posts."""

    def test_signature_is_the_hmac_over_time_and_body(self) -> None:
        """The value is the one that any HMAC of the described form gives."""
        self.assertEqual(
            payload.sign("key", 1700000000, b'{"a":1}'),
            "t=1700000000,v1=a438e398bfafc57e4396bb7fc2304422f0f768e965d073ca313cb52e22e6ad03",
        )

    def test_only_the_right_secret_body_and_time_verify(self) -> None:
        """A changed body, another secret, an old time and a header of another form are wrong."""
        header = payload.sign(SECRET, 1000, b"body")

        self.assertTrue(payload.verifies(SECRET, header, b"body", 1000))
        self.assertTrue(payload.verifies(SECRET, header, b"body", 1299))
        self.assertFalse(payload.verifies(SECRET, header, b"body", 1400))
        self.assertFalse(payload.verifies(SECRET, header, b"other", 1000))
        self.assertFalse(payload.verifies("other", header, b"body", 1000))
        self.assertFalse(payload.verifies(SECRET, header.replace("t=", "s="), b"body", 1000))

    @given(st.text(max_size=100))
    def test_any_header_is_answered(self, header: str) -> None:
        """Whatever a header says, it is right or wrong."""
        self.assertFalse(payload.verifies(SECRET, header, b"body", 1000))
