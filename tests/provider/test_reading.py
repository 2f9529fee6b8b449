"""What providers write is read without trust."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.provider import reading
from smsbridge.provider.dialect import Malformed, Response


class ValueTests(SynchronousTestCase):
    """JSON whose types nobody can rely on."""

    def test_only_a_document_that_is_none_is_malformed(self) -> None:
        """Anything that is JSON is read, however odd; the rest has its own error."""
        self.assertEqual(reading.document(b'{"a": [1, null]}'), {"a": [1, None]})
        for body in (b"", b"<html>", b"\xff", b"[" * 100_000, b'{"a":' + b"1" * 10_000 + b"}"):
            with self.assertRaises(Malformed):
                reading.document(body)

    def test_a_value_of_the_wrong_type_is_missing(self) -> None:
        """Numbers and texts stand for each other, nothing else does."""
        self.assertEqual([reading.text(each) for each in ("a", 5, "5")], ["a", "5", "5"])
        for value in (None, True, 1.5, [], {}, 10**40):
            self.assertEqual(reading.text(value), "")
        self.assertEqual(reading.text("a\x00\ud800"), "a\ufffd\ufffd")
        self.assertEqual(
            [reading.whole(each) for each in (7, " 7 ", "x", None)], [7, 7, None, None]
        )
        self.assertEqual((reading.record([1]), reading.items({"a": 1})), ({}, []))

    def test_only_whole_numbers_get_a_plus(self) -> None:
        """Ten digits are a number of North America, a short code is not."""
        for written, meant in (
            ("2025550123", "+12025550123"),
            ("12025550123", "+12025550123"),
            ("+12025550123", "+12025550123"),
            ("72975", "72975"),
            ("447700900123", "447700900123"),
            ("1025550123", "1025550123"),
            ("Web.de 24", "Web.de 24"),
        ):
            self.assertEqual(reading.plus_us(written), meant)

    def test_times_are_in_utc_where_no_zone_is_told(self) -> None:
        """A time is read with its fraction and zone; nonsense is none."""
        self.assertEqual(reading.instant_ms("2026-01-01T12:00:00.5Z"), 1_767_268_800_500)
        self.assertEqual(reading.instant_ms("2026-01-01 12:00:00"), 1_767_268_800_000)
        self.assertEqual(reading.instant_ms("2026-01-01T07:00:00-05:00"), 1_767_268_800_000)
        for value in ("", "soon", None, "0001-01-01T00:00:00+23:59", 5):
            self.assertIs(reading.instant_ms(value), None)
        self.assertEqual(reading.iso(1_767_268_800_500), "2026-01-01T12:00:00.500Z")


class PauseTests(SynchronousTestCase):
    """``Retry-After`` in both of its forms."""

    def pause(self, **headers: str) -> float | None:
        """Return the pause of an answer with these headers."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return reading.retry_after_s(Response(status=429, headers=named))

    def test_seconds_and_dates_are_read(self) -> None:
        """A date counts from the answer's own."""
        self.assertEqual(self.pause(retry_after="30"), 30)
        self.assertEqual(
            self.pause(
                retry_after="Thu, 01 Jan 2026 12:00:30 GMT", date="Thu, 01 Jan 2026 12:00:00 GMT"
            ),
            30,
        )

    def test_nonsense_is_no_pause(self) -> None:
        """What cannot be a pause leaves it to our own delays."""
        for value in ("", "nan", "-1", "1e999", "tomorrow", "Thu, 01 Jan 2026 12:00:30 GMT"):
            self.assertIs(self.pause(retry_after=value), None)
        self.assertEqual(self.pause(retry_after="999999999"), 7 * 86400)


class CredentialTests(SynchronousTestCase):
    """Who gets a password, and where one stands in an address."""

    def test_only_the_same_host_is_the_same(self) -> None:
        """Scheme, host and port count, and a user in front of another host deceives nobody."""
        base = "https://api.example.org/v2"
        self.assertTrue(reading.same_host("https://API.example.org:443/x", base))
        for url in (
            "http://api.example.org/x",
            "https://api.example.org:444/x",
            "https://api.example.org.evil.test/x",
            "https://api.example.org@evil.test/x",
            "https://me@api.example.org/x",
            "https://[::1/x",
            "https://api.example.org:http/",
            "",
        ):
            self.assertFalse(reading.same_host(url, base), url)

    def test_credentials_of_an_address_become_a_header(self) -> None:
        """They are decoded, and the address is without them."""
        url, headers = reading.without_credentials("https://me:a%40b@sms.example.org/hook/work?x=1")

        self.assertEqual(url, "https://sms.example.org/hook/work?x=1")
        self.assertEqual(headers, {"Authorization": "Basic bWU6YUBi"})
        self.assertEqual(reading.without_credentials("https://a.test/"), ("https://a.test/", {}))
