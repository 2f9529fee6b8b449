"""What a file is, by its bytes."""

from __future__ import annotations

import string

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.media.content import (
    HEAD_BYTES,
    content_type_of,
    is_picture,
    is_shown_inline,
    safe_name,
    served,
)
from tests.media.files import picture

VCARD = b"BEGIN:VCARD\r\nVERSION:3.0\r\nFN:John\r\nEND:VCARD\r\n"


class ContentTypeTests(SynchronousTestCase):
    """`content_type_of`."""

    def test_content_tells_the_type(self) -> None:
        """What phones, handsets and browsers send is known by its first bytes."""
        for head, expected in (
            (picture(kind="JPEG"), "image/jpeg"),
            (picture(), "image/png"),
            (picture(kind="GIF", mode="P"), "image/gif"),
            (picture(kind="WEBP"), "image/webp"),
            (picture(kind="BMP"), "image/bmp"),
            (b"\0\0\0\x18ftypheic\0\0\0\0", "image/heic"),
            (b"\0\0\0\x18ftypmp42\0\0\0\0", "video/mp4"),
            (b"\0\0\0\x18ftyp3gp5\0\0\0\0", "video/3gpp"),
            (b"\0\0\0\x18ftypM4A \0\0\0\0", "audio/mp4"),
            (b"#!AMR\n" + bytes(40), "audio/amr"),
            (b"ID3\x03\0\0\0" + bytes(40), "audio/mpeg"),
            (b"RIFF\0\0\0\0WAVEfmt ", "audio/wav"),
            (b"OggS" + bytes(40), "audio/ogg"),
            (b"%PDF-1.7\n%\xe2\xe3", "application/pdf"),
            (b"PK\x03\x04" + bytes(40), "application/zip"),
            (VCARD, "text/vcard"),
            (b"BEGIN:VCALENDAR\r\n", "text/calendar"),
            (b"<smil><head/></smil>", "application/smil"),
            ("Grüße".encode(), "text/plain"),
            (b"\x80\x81\x00\x02", "application/octet-stream"),
        ):
            self.assertEqual(content_type_of(head[:HEAD_BYTES]), expected, head[:12])

    def test_a_lie_about_the_type_is_not_believed(self) -> None:
        """A page that calls itself a picture is a page, and the other way round."""
        page = b"<!DOCTYPE html><script>alert(1)</script>"

        self.assertEqual(content_type_of(page, "image/jpeg"), "text/html")
        self.assertEqual(content_type_of(picture(), "text/html"), "image/png")
        self.assertEqual(content_type_of(b"\x80\x81\0", "image/png"), "application/octet-stream")
        self.assertEqual(content_type_of(b"\x80\x81\0", "text/html"), "application/octet-stream")
        self.assertEqual(content_type_of(b"hello <script>", "text/plain"), "text/html")
        svg = b"<?xml version='1.0'?><!-- x --><svg onload='alert(1)'/>"
        self.assertEqual(content_type_of(svg, "image/png"), "image/svg+xml")

    def test_a_claim_counts_where_the_content_tells_nothing(self) -> None:
        """Rare types keep their names, and texts may be of a certain kind."""
        self.assertEqual(
            content_type_of(b"\x80\x81\0", "Application/Vnd.Sample; q=1"), "application/vnd.sample"
        )
        self.assertEqual(content_type_of(b"a,b\n1,2\n", "text/csv"), "text/csv")
        self.assertEqual(content_type_of(b"a,b\n1,2\n", "nonsense"), "text/plain")

    def test_text_may_be_cut_within_a_character(self) -> None:
        """The head of a long text ends anywhere."""
        text = ("ä" * HEAD_BYTES).encode()

        self.assertEqual(content_type_of(b"x" + text[: HEAD_BYTES - 1]), "text/plain")

    @given(st.binary(max_size=200), st.text(max_size=40))
    def test_any_bytes_have_a_type(self, head: bytes, claimed: str) -> None:
        """Nothing that is sent makes it raise, and nothing but a type comes out."""
        self.assertRegex(content_type_of(head, claimed), r"^[a-z0-9.+-]+/[a-z0-9.+_-]+$")


class ServedTests(SynchronousTestCase):
    """What a browser is told."""

    def test_nothing_that_runs_is_shown(self) -> None:
        """Pages, drawings with scripts and the like are only saved."""
        for media_type, told in (
            ("text/html", "text/plain; charset=utf-8"),
            ("image/svg+xml", "application/octet-stream"),
            ("application/xhtml+xml", "application/octet-stream"),
            ("application/xml", "application/octet-stream"),
            ("application/javascript", "application/octet-stream"),
            ("multipart/related", "application/octet-stream"),
            ("application/pdf", "application/pdf"),
        ):
            self.assertEqual(served(media_type), told)
            self.assertFalse(is_shown_inline(media_type))

    def test_pictures_are_shown(self) -> None:
        """Pictures, sounds and films open in the browser."""
        for media_type in ("image/jpeg", "audio/mpeg", "video/mp4"):
            self.assertTrue(is_shown_inline(media_type))
            self.assertEqual(served(media_type), media_type)
        self.assertTrue(is_picture("image/webp"))
        self.assertFalse(is_picture("image/heic"))


class SafeNameTests(SynchronousTestCase):
    """`safe_name`."""

    def test_names_are_made_harmless(self) -> None:
        """No folder, no control, and an ending that tells the type."""
        for name, media_type, expected in (
            ("photo.jpg", "image/jpeg", "photo.jpg"),
            ("Photo.JPEG", "image/jpeg", "Photo.JPEG"),
            ("../../etc/passwd", "text/plain", "passwd.txt"),
            ("C:\\temp\\a.png", "image/png", "a.png"),
            ("invoice.exe", "image/png", "invoice.exe.png"),
            ("cat\u202egpj.png", "image/png", "catgpj.png"),
            ("a\r\nb.txt", "text/plain", "ab.txt"),
            ("", "image/gif", "file.gif"),
            ("...", "application/octet-stream", "file"),
            ("Grüße 1.pdf", "application/pdf", "Grüße 1.pdf"),
            ('a"b?.jpg', "image/jpeg", "a_b_.jpg"),
            (".jpg", "image/jpeg", "jpg.jpg"),
        ):
            self.assertEqual(safe_name(name, media_type), expected)

    @given(
        st.text(max_size=400),
        st.sampled_from(["image/jpeg", "application/octet-stream", "text/plain"]),
    )
    def test_any_name_becomes_a_name(self, name: str, media_type: str) -> None:
        """Whatever a peer calls its file, it can be saved."""
        safe = safe_name(name, media_type)

        self.assertTrue(safe)
        self.assertLessEqual(len(safe.encode()), 120)
        self.assertFalse(set(safe) & set('/\\\r\n\0<>:"|?*'))
        self.assertNotIn(safe[0], string.whitespace + ".")
