"""Numbers, times, addresses and credentials as providers spell them."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.provider import spelling


class SpellingTests(SynchronousTestCase):
    """What several dialects write and read in the same way."""

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
            self.assertEqual(spelling.plus_us(written), meant)

    def test_times_have_milliseconds_and_a_z(self) -> None:
        """A time that no calendar has is the nearest that one has."""
        self.assertEqual(spelling.iso(1_767_268_800_500), "2026-01-01T12:00:00.500Z")
        self.assertEqual(spelling.iso(-5), "1970-01-01T00:00:00.000Z")
        self.assertEqual(spelling.iso(10**18), "2100-01-01T00:00:00.000Z")

    def test_details_are_one_short_line(self) -> None:
        """Codes and words of any type fit into the trace."""
        self.assertEqual(
            spelling.detail_of(4720, None, "no\nsuch  number", []), "4720 no such number"
        )
        self.assertEqual(len(spelling.detail_of("x" * 9999)), 300)

    def test_only_the_same_host_is_the_same(self) -> None:
        """Scheme, host and port count, and a user in front of another host deceives nobody."""
        base = "https://api.example.org/v2"
        self.assertTrue(spelling.same_host("https://API.example.org:443/x", base))
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
            self.assertFalse(spelling.same_host(url, base), url)

    def test_files_are_named_by_the_end_of_their_address(self) -> None:
        """The name is decoded and has no query."""
        self.assertEqual(spelling.shown_name("https://a.test/x/a%20b.png?key=/c"), "a b.png")
        self.assertEqual(spelling.shown_name("https://[::1/x"), "")

    def test_credentials_of_an_address_become_a_header(self) -> None:
        """They are decoded, and the address is without them."""
        url, headers = spelling.without_credentials("https://me:a%40b@sms.test/hook/work?x=1")

        self.assertEqual(url, "https://sms.test/hook/work?x=1")
        self.assertEqual(headers, {"Authorization": "Basic bWU6YUBi"})
        self.assertEqual(spelling.without_credentials("https://a.test/"), ("https://a.test/", {}))
