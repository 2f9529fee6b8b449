"""How numbers and other addresses are read."""

from __future__ import annotations

import phonenumbers
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.address import (
    InvalidNumber,
    _is_canonical,
    is_e164,
    is_short_code,
    mask,
    parse_number,
    parse_sender,
    read_country,
    read_extensions,
    read_jids,
    read_sip_users,
)

#: as typed, country, E.164
TYPED = [
    ("+12025550123", "", "+12025550123"),
    ("+12025550123", "EE", "+12025550123"),
    ("2025550123", "US", "+12025550123"),
    ("(202) 555-0123", "US", "+12025550123"),
    ("1 202 555 0123", "US", "+12025550123"),
    ("202.555.0123", "US", "+12025550123"),
    ("+1 (202) 555\u20110123", "", "+12025550123"),
    ("\u202a+1\u00a0202\u00a0555\u00a00123\u202c", "", "+12025550123"),
    (" +1/202/555/0123\n", "", "+12025550123"),
    (
        "\uff0b\uff11\uff12\uff10\uff12\uff15\uff15\uff15\uff10\uff11\uff12\uff13",
        "",
        "+12025550123",
    ),
    ("0037255500001", "US", "+37255500001"),
    ("0037255500001", "", "+37255500001"),
    ("01137255500001", "US", "+37255500001"),
    ("55500001", "EE", "+37255500001"),
    ("37255500001", "EE", "+37255500001"),
    ("07700 900123", "GB", "+447700900123"),
    ("+44 (0)7700 900123", "", "+447700900123"),
    ("+4407700900123", "", "+447700900123"),
    ("tel:+1-202-555-0123", "", "+12025550123"),
    ("TEL:+12025550123;ext=5", "", "+12025550123"),
    ("tel:5550123;phone-context=+1202", "", "+12025550123"),
    ("+80012345678", "", "+80012345678"),
]

#: as typed, country, what the sentence says
WRONG = [
    ("", "US", "There is no telephone number"),
    ("()", "US", "There is no telephone number"),
    ("hello", "US", "is not a telephone number"),
    ("1-800-FLOWERS", "US", "is not a telephone number"),
    ("++12025550123", "US", "is not a telephone number"),
    ("+1202555012", "US", "is too short"),
    ("+120255501234", "US", "is too long"),
    ("+1" + "2" * 20, "US", "is too long"),
    ("+310000000", "US", "has a zero too many"),
    ("5550123", "US", "lacks its area code"),
    ("12", "US", "is too short"),
    ("+999123456789", "US", "has no country code that exists"),
    ("2025550123", "", "lacks its country code"),
    ("*100#", "US", "is not a telephone number"),
    ("1" * 100, "US", "too long"),
]


class ParseNumberTests(SynchronousTestCase):
    """Numbers as people type them."""

    def test_typed_variants(self) -> None:
        """Every usual way to write a number gives the one form."""
        for text, country, expected in TYPED:
            self.assertEqual(parse_number(text, country), expected, repr(text))

    def test_wrong_numbers_are_explained(self) -> None:
        """What is no number is answered with the reason and an example."""
        for text, country, sentence in WRONG:
            error = self.assertRaises(InvalidNumber, parse_number, text, country)
            self.assertIn(sentence, str(error), repr(text))
            self.assertRegex(str(error), r"; write it like \+1[0-9]{10}\.$")

    def test_example_is_of_the_country(self) -> None:
        """The example has the country code that the reader knows."""
        error = self.assertRaises(InvalidNumber, parse_number, "1", "EE")

        self.assertIn("write it like +372", str(error))

    def test_short_way_agrees_with_the_library(self) -> None:
        """What is taken for canonical without the full parse is what the library makes of it."""
        taken = 0
        for region in phonenumbers.SUPPORTED_REGIONS:
            for sort in range(11):
                number = phonenumbers.example_number_for_type(region, sort)
                if number is None:
                    continue
                code = str(number.country_code)
                national = phonenumbers.national_significant_number(number)
                for text in (
                    national,
                    "0" + national,
                    "1" + national,
                    "8" + national,
                    national[:-1],
                ):
                    text = f"+{code}{text}"
                    if _is_canonical(text):
                        taken += 1
                        parsed = phonenumbers.parse(text, None)
                        self.assertEqual(
                            phonenumbers.format_number(parsed, phonenumbers.PhoneNumberFormat.E164),
                            text,
                        )
                        self.assertEqual(phonenumbers.is_possible_number_with_reason(parsed), 0)
        self.assertGreater(taken, 1000)

    def test_every_calling_code_is_known(self) -> None:
        """The short way has a plan for each calling code that the library knows."""
        for code in phonenumbers.COUNTRY_CODE_TO_REGION_CODE:
            self.assertFalse(_is_canonical(f"+{code}0"))

    def test_tel_uri_with_a_local_context(self) -> None:
        """A context that is no number is left out, and the country decides."""
        self.assertEqual(
            parse_number("tel:2025550123;phone-context=example.com", "US"), "+12025550123"
        )

    @given(st.text(max_size=80), st.sampled_from(["", "US", "EE", "GB"]))
    def test_any_text_is_a_number_or_refused(self, text: str, country: str) -> None:
        """Whatever is typed, the outcome is E.164 or InvalidNumber."""
        try:
            number = parse_number(text, country)
        except InvalidNumber:
            return
        self.assertTrue(is_e164(number), number)

    @given(st.from_regex(r"\A\+?[0-9 ()./-]{1,20}\Z"), st.sampled_from(["", "US", "EE", "GB"]))
    def test_what_was_parsed_parses_to_itself(self, text: str, country: str) -> None:
        """The one form stays as it is, whatever the country."""
        try:
            number = parse_number(text, country)
        except InvalidNumber:
            return
        self.assertEqual(parse_number(number, "US"), number)


class ParseSenderTests(SynchronousTestCase):
    """What a network shows as the sender."""

    def test_table(self) -> None:
        """Numbers become E.164; everything else stays as it was received."""
        for text, country, expected in (
            ("+12025550123", "EE", "+12025550123"),
            ("2025550123", "US", "+12025550123"),
            ("12025550123", "US", "+12025550123"),
            ("37255500001", "US", "+37255500001"),
            ("447700900123", "US", "447700900123"),
            ("12025550123", "EE", "+12025550123"),
            ("12025550123", "", "+12025550123"),
            ("2025550123", "", "2025550123"),
            ("1" * 65, "US", "1" * 65),
            ("1", "US", "1"),
            ("0037251234567", "US", "+37251234567"),
            ("55500001", "US", "55500001"),
            ("12345", "US", "12345"),
            ("100", "EE", "100"),
            ("ACME", "US", "ACME"),
            (" My Bank ", "US", "My Bank"),
            ("1-800-FLOWERS", "US", "1-800-FLOWERS"),
            ("Банк", "US", "Банк"),
            ("joe@mail.example", "US", "joe@mail.example"),
            ("", "US", ""),
            ("  ", "US", ""),
            ("+123", "US", "+123"),
        ):
            self.assertEqual(parse_sender(text, country), expected, repr(text))

    @given(st.text(max_size=80), st.sampled_from(["", "US", "EE", "GB"]))
    def test_never_raises(self, text: str, country: str) -> None:
        """Whatever the network shows can be stored, and reading it again changes nothing."""
        shown = parse_sender(text, country)

        self.assertEqual(parse_sender(shown, country), shown)


class FormTests(SynchronousTestCase):
    """Small questions about a text."""

    def test_short_codes(self) -> None:
        """Three to six ASCII digits are a short code."""
        self.assertTrue(all(map(is_short_code, ("123", "12345", "123456"))))
        self.assertFalse(any(map(is_short_code, ("12", "1234567", "+123", "12a", "", "١٢٣"))))

    def test_e164(self) -> None:
        """A plus and seven to fifteen digits, the first not zero."""
        self.assertTrue(is_e164("+12025550123"))
        self.assertFalse(any(map(is_e164, ("12025550123", "+0123456789", "+1234567890123456", ""))))

    def test_mask_leaves_four_digits(self) -> None:
        """A log shows the end of a number; codes and names identify nobody."""
        self.assertEqual(mask("+12025550123"), "…0123")
        self.assertEqual(mask("12345"), "12345")
        self.assertEqual(mask("ACME Bank"), "ACME Bank")
        self.assertEqual(mask(""), "")


class ReaderTests(SynchronousTestCase):
    """The readers of configuration keys."""

    def test_country(self) -> None:
        """Two letters in any case; a usual slip is named."""
        self.assertEqual(read_country(" us "), "US")
        self.assertIn("GB", str(self.assertRaises(ValueError, read_country, "uk")))
        self.assertRaises(ValueError, read_country, "Estonia")

    def test_jids(self) -> None:
        """JIDs are prepared; one with a resource, without a user, or malformed is refused."""
        self.assertEqual(
            read_jids("John@EXAMPLE.com xmpp:jane@example.com"),
            ("john@example.com", "jane@example.com"),
        )
        for wrong in ("example.com", "john@example.com/phone", "@example.com", "a@b@c d\x00@e"):
            self.assertRaises(ValueError, read_jids, wrong)

    def test_sip_users_and_extensions(self) -> None:
        """Bare names are wanted, not addresses."""
        self.assertEqual(read_sip_users("john  jane"), ("john", "jane"))
        self.assertRaises(ValueError, read_sip_users, "sip:john@example.com")
        self.assertEqual(read_extensions("101 102"), ("101", "102"))
        self.assertRaises(ValueError, read_extensions, "101@base")
