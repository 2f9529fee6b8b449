"""
Telephone numbers and the other addresses of people: read as typed or as received, in one form each.

A number becomes E.164 with ``+``; a short code stays as it is; what a network shows as a name stays
as received. Whether a number may be texted, and by whom, is not decided here.
"""

from __future__ import annotations

import re
from functools import cache, lru_cache
from typing import Final

import phonenumbers
from phonenumbers import PhoneMetadata, ValidationResult
from twisted.words.protocols.jabber.jid import JID, InvalidFormat

__all__ = [
    "InvalidNumber",
    "example_number",
    "is_e164",
    "is_short_code",
    "mask",
    "parse_destination",
    "parse_number",
    "parse_sender",
    "read_country",
    "read_extensions",
    "read_jids",
    "read_sip_users",
]

#: The longest text that is looked at as a number; a tel URI with parameters fits.
_LONGEST = 64

#: What people write between the digits: blanks of all kinds, hyphens and dashes, dots, slashes,
#: brackets, and the invisible marks that come along when a number is copied from a page.
_FILLERS: Final = re.compile(
    "[\\s\\-./()\\[\\]\u00ad\u2010-\u2015\u2212\u200b-\u200f\u202a-\u202e\u2060\u2066-\u2069\ufeff\uff0d]"
)

_E164 = re.compile(r"\+[1-9][0-9]{6,14}")
_SHORT_CODE = re.compile(r"[0-9]{3,6}")

_REASONS: Final = {
    ValidationResult.INVALID_COUNTRY_CODE: "has no country code that exists",
    ValidationResult.TOO_SHORT: "is too short for a telephone number",
    ValidationResult.TOO_LONG: "is too long for a telephone number",
    ValidationResult.INVALID_LENGTH: "has a length that telephone numbers there do not have",
    ValidationResult.IS_POSSIBLE_LOCAL_ONLY: "lacks its area code",
}


class InvalidNumber(ValueError):
    """What was given is not a telephone number; the text says why, with an example."""


@cache
def example_number(country: str) -> str:
    """Return a number of a country in E.164, for sentences; an American one if it has none."""
    found = phonenumbers.example_number(country) if country else None
    if found is None:
        return "+12025550123"
    return phonenumbers.format_number(found, phonenumbers.PhoneNumberFormat.E164)


def is_e164(text: str) -> bool:
    """Tell whether a text has the form of E.164 with ``+``; the number need not exist."""
    return _E164.fullmatch(text) is not None


def is_short_code(text: str) -> bool:
    """Tell whether a text has the form of a short code: three to six digits and nothing else."""
    return _SHORT_CODE.fullmatch(text) is not None


@cache
def _plan(prefix: str) -> tuple[frozenset[int], re.Pattern[str]] | None:
    """
    Return the possible lengths behind a calling code, and what finds the slow cases there.

    A national part that begins with a trunk prefix may be a habit of writing (``+44 0...``); what
    to make of it is left to the library. None if the calling code does not exist.
    """
    regions = phonenumbers.COUNTRY_CODE_TO_REGION_CODE.get(int(prefix))
    if not regions:
        return None
    if regions[0] == phonenumbers.REGION_CODE_FOR_NON_GEO_ENTITY:
        metadata = PhoneMetadata.metadata_for_nongeo_region(int(prefix))
    else:
        metadata = PhoneMetadata.metadata_for_region(regions[0])
    assert metadata is not None and metadata.general_desc is not None
    trunk = metadata.national_prefix_for_parsing
    return (
        frozenset(metadata.general_desc.possible_length),
        re.compile(f"0|(?:{trunk})" if trunk else "0"),
    )


def _is_canonical(text: str) -> bool:
    """Tell whether a text is E.164 already and possible, without the library's full parse."""
    if len(text) > 16 or not text.startswith("+"):
        return False
    digits = text[1:]
    if not (digits.isascii() and digits.isdigit()) or digits[0] == "0":
        return False
    # Calling codes are prefix-free: at most one of these exists.
    for size in (1, 2, 3):
        plan = _plan(digits[:size])
        if plan is not None:
            lengths, slow = plan
            return len(digits) - size in lengths and slow.match(digits, size) is None
    return False


def parse_number(text: str, country: str) -> str:
    """
    Return the E.164 form of a number as people type it.

    Taken are E.164, national numbers of `country`, international prefixes (``00`` everywhere, and
    the country's own), ``tel:`` URIs, and blanks, dashes, dots, slashes and brackets in between.
    A number need only be possible (its length), not assigned: numbering plans change before
    libraries do.

    :param country: two letters (ISO 3166-1); empty takes international forms alone.
    :raises InvalidNumber: it is none; the text is a sentence with an example.
    """
    if _is_canonical(text):
        return text
    if len(text) > _LONGEST:
        raise InvalidNumber(f"That is too long for a telephone number; {_advice(country)}")
    found = _parse(text, country)
    if found.startswith("+"):
        return found
    raise InvalidNumber(found)


@lru_cache(maxsize=8192)
def _parse(text: str, country: str) -> str:
    """Return the E.164 form, or the sentence that says why there is none."""
    bare = text.strip()
    if bare[:4].lower() == "tel:":
        bare = _from_uri(bare[4:])
    digits = _FILLERS.sub("", bare.replace("\uff0b", "+"))
    if not digits:
        return f"There is no telephone number; {_advice(country)}"
    if not digits.removeprefix("+").isdecimal():
        return f"{text!r} is not a telephone number; {_advice(country)}"
    digits = _ascii(digits)
    tries = [(digits, country)]
    if digits.startswith("00"):
        tries.insert(0, ("+" + digits[2:], ""))
    reason = ""
    for attempt, region in tries:
        number, why = _look_up(attempt, region)
        # The library may strip a trunk prefix and leave another. The one form of a number must be
        # read as itself, or one person would get two conversations.
        if number and _look_up(number, "")[0] == number:
            return number
        reason = reason or why or "has a zero too many"
    return f"{text!r} {reason}; {_advice(country)}"


def _ascii(digits: str) -> str:
    """Write the digits of any script as ASCII."""
    return "".join(each if each == "+" else str(int(each)) for each in digits)


def _from_uri(rest: str) -> str:
    """Return the number of a tel URI (RFC 3966) with its global context, without parameters."""
    number, *parameters = rest.split(";")
    for parameter in parameters:
        name, _, value = parameter.partition("=")
        if name.lower() == "phone-context" and value.startswith("+") and not number.startswith("+"):
            return value + number
    return number


def _look_up(digits: str, country: str) -> tuple[str, str]:
    """Return the E.164 form or an empty text, and why it is none."""
    if not country and not digits.startswith("+"):
        return "", "lacks its country code"
    try:
        number = phonenumbers.parse(digits, country or None)
    except phonenumbers.NumberParseException as e:
        if e.error_type == phonenumbers.NumberParseException.INVALID_COUNTRY_CODE:
            return "", _REASONS[ValidationResult.INVALID_COUNTRY_CODE]
        if e.error_type == phonenumbers.NumberParseException.TOO_LONG:
            return "", _REASONS[ValidationResult.TOO_LONG]
        return "", _REASONS[ValidationResult.TOO_SHORT]
    result = phonenumbers.is_possible_number_with_reason(number)
    if result != ValidationResult.IS_POSSIBLE:
        return "", _REASONS[result]
    return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164), ""


def _advice(country: str) -> str:
    return f"write it like {example_number(country)}."


def parse_destination(text: str, country: str) -> str:
    """
    Return the E.164 form of a number as people type it, or a short code without fillers.

    :raises InvalidNumber: it is neither.
    """
    bare = _FILLERS.sub("", text)
    return bare if is_short_code(bare) else parse_number(text, country)


@lru_cache(maxsize=8192)
def _parse_sender(text: str, country: str) -> str:
    shown = text.strip()
    if not shown.isascii() or not _FILLERS.sub("", shown).removeprefix("+").isdigit():
        return shown
    if shown.startswith(("+", "00")):
        found = _parse(shown, country)
        return found if found.startswith("+") else shown
    digits = _FILLERS.sub("", shown)
    # Only digits that are a number beyond doubt are taken for one: the rest are short codes, or
    # numbers that only the network understands.
    attempts = [(digits, country)] if country else []
    if len(digits) >= 11:
        attempts.append(("+" + digits, ""))
    for attempt, region in attempts:
        try:
            number = phonenumbers.parse(attempt, region or None)
        except phonenumbers.NumberParseException:
            continue
        if phonenumbers.is_valid_number(number):
            return phonenumbers.format_number(number, phonenumbers.PhoneNumberFormat.E164)
    return digits if is_short_code(digits) else shown


def parse_sender(text: str, country: str) -> str:
    """
    Return what a network shows as the sender, in the form in which we store it.

    E.164 stays; a national number becomes E.164 where the numbering plan of `country` knows it, and
    so do eleven and more digits that are a valid number once a ``+`` is put in front (some networks
    drop it); short codes and names stay as received, without blanks around them; a withheld
    number is an empty text. Never raises.
    """
    if _is_canonical(text):
        return text
    if len(text) > _LONGEST:
        return text.strip()
    return _parse_sender(text, country)


def mask(number: str) -> str:
    """Return a number as logs show it: its last four digits; short codes and names are whole."""
    if len(number) <= 6 or not any(each.isdigit() for each in number):
        return number
    return "…" + number[-4:]


def read_country(text: str) -> str:
    """Read a country as two letters (ISO 3166-1), for a configuration key."""
    country = text.strip().upper()
    if country == "UK":
        raise ValueError("the two letters of the United Kingdom are GB")
    if country not in phonenumbers.SUPPORTED_REGIONS:
        raise ValueError(f"{text!r} is not a country; write its two letters, for example US")
    return country


def read_jids(text: str) -> tuple[str, ...]:
    """Read bare JIDs separated by blanks, for a configuration key; gives their prepared form."""
    found = []
    for word in text.split():
        try:
            jid = JID(word.removeprefix("xmpp:"))
        except InvalidFormat as e:
            raise ValueError(f"{word!r} is not a JID such as john@example.com: {e}") from None
        if not jid.user:
            raise ValueError(f"{word!r} has no part before the @; write john@example.com")
        if jid.resource:
            raise ValueError(f"{word!r} names a device; write {jid.userhost()} for all of them")
        found.append(jid.userhost())
    return tuple(found)


def read_sip_users(text: str) -> tuple[str, ...]:
    """Read SIP user names separated by blanks, for a configuration key."""
    for word in text.split():
        if re.search(r"[@:;<>\"]", word):
            raise ValueError(f"{word!r} is not a SIP user name; write what stands before the @")
    return tuple(text.split())


def read_extensions(text: str) -> tuple[str, ...]:
    """Read DECT extensions separated by blanks, for a configuration key."""
    for word in text.split():
        if re.search(r"[@:;<>\"]", word):
            raise ValueError(f"{word!r} is not an extension; write it as the handset has it, 101")
    return tuple(text.split())
