r"""
Turns numbers, short codes and names of the phone network into JIDs of our domain, and back.

===============================================  =======================================
``+12025550123@DOMAIN``                          a number (E.164)
``12345;phone-context=DOMAIN@DOMAIN``            a short code (RFC 3966: a local number)
``my\20bank;phone-context=alpha.DOMAIN@DOMAIN``  a name as sender; cannot be answered
``xn--4dbc;phone-context=alpha.DOMAIN@DOMAIN``   a name in letters that servers refuse
``anonymous;phone-context=anon.DOMAIN@DOMAIN``   a withheld number; cannot be answered
``+12025550123,+12025550124@DOMAIN``             a group, sorted
``john@DOMAIN``                                  a person of the bridge
``DOMAIN``                                       the bridge itself
===============================================  =======================================

A part before the ``@`` may end in ``%LINE``: the line that the conversation uses, when it is not
the user's default.  Names are escaped by XEP-0106 and in lower case, as servers fold them anyway
(RFC 6122, appendix A).  What users type (national numbers, ``00``, dashes) is read as well; the
canonical JID is the one that answers come from.  Which lines and persons exist is not known here.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from functools import lru_cache
from typing import Final

from attrs import field, frozen
from twisted.words.protocols.jabber.xmpp_stringprep import nodeprep

from smsbridge.core.address import (
    InvalidNumber,
    example_number,
    is_e164,
    is_short_code,
    parse_number,
)

__all__ = [
    "AddressError",
    "Bridge",
    "Contact",
    "Group",
    "Name",
    "Number",
    "Peer",
    "Person",
    "ShortCode",
    "Withheld",
    "bare",
    "domain_of",
    "escape",
    "jid_of",
    "jid_of_sender",
    "local_of",
    "parse",
    "parse_jid",
    "peer_of_sender",
    "resource_of",
    "same_line",
    "unescape",
]

#: RFC 6122, 2.3: no part of a JID is longer, in bytes.
MAX_PART_BYTES: Final = 1023
_MAX_NAME_BYTES: Final = 255
_MAX_GROUP: Final = 50


class AddressError(ValueError):
    """Not an address that can be texted; the text is a sentence with an example for the user."""


def _sorted_once(numbers: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(numbers)))


@frozen
class Number:
    """A telephone number in E.164."""

    e164: str


@frozen
class ShortCode:
    """A few digits that mean something in one network only."""

    digits: str


@frozen
class Name:
    """A sender that shows as a name; it cannot be answered."""

    text: str


@frozen
class Withheld:
    """A sender that the network does not tell; it cannot be answered."""


@frozen
class Person:
    """Somebody who uses the bridge, by the label in the configuration, in lower case."""

    label: str


@frozen
class Group:
    """Two or more numbers in one conversation."""

    numbers: tuple[str, ...] = field(converter=_sorted_once)


@frozen
class Bridge:
    """The bridge itself: commands and registration."""


Peer = Number | ShortCode | Name | Withheld | Person | Group | Bridge


@frozen(kw_only=True)
class Contact:
    """
    Whom a user means by a JID.

    :ivar line: the line after ``%``, in lower case; empty for the user's default.  See `same_line`.
    :ivar is_canonical: whether answers come from the very same JID.
    """

    peer: Peer
    line: str = ""
    is_canonical: bool = True

    @property
    def recipients(self) -> tuple[str, ...]:
        """Whom to send to, as the core wants it; nobody if the contact cannot be answered."""
        match self.peer:
            case Number(e164):
                return (e164,)
            case ShortCode(digits):
                return (digits,)
            case Person(label):
                return (label,)
            case Group(numbers):
                return numbers
            case _:
                return ()


# ------------------------------------------------------------------ XEP-0106

_CONTEXT: Final = ";phone-context="
_ESCAPES: Final = {
    " ": "\\20",
    '"': "\\22",
    "&": "\\26",
    "'": "\\27",
    "/": "\\2f",
    ":": "\\3a",
    "<": "\\3c",
    ">": "\\3e",
    "@": "\\40",
    "\\": "\\5c",
}
_UNESCAPES: Final = {code: character for character, code in _ESCAPES.items()}
_TO_ESCAPE = re.compile(r"[ \"&'/:<>@]|\\(?=20|22|26|27|2f|3a|3c|3e|40|5c)")
_TO_UNESCAPE = re.compile(r"\\(?:20|22|26|27|2f|3a|3c|3e|40|5c)")


def escape(text: str) -> str:
    """Write text so that it may stand before the ``@``; blanks at its ends are dropped."""
    return _TO_ESCAPE.sub(lambda found: _ESCAPES[found.group()], text.strip())


def unescape(text: str) -> str:
    """Undo `escape`."""
    return _TO_UNESCAPE.sub(lambda found: _UNESCAPES[found.group()], text)


_PUNYCODE: Final = "xn--"
_NOT_PRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\ud800-\udfff]")


@lru_cache(maxsize=4096)  # nodeprep takes 60 us; lines and persons are few
def _prepared(text: str) -> str:
    """
    Return text as a server keeps it before the ``@``.

    What servers refuse there, such as emoji, or Hebrew and Arabic beside the Latin letters of the
    context (RFC 3454, 6), is written in Punycode (RFC 3492), so that each name keeps its own JID.
    """
    try:
        # The rule on directions is for the whole part, which goes on with Latin letters.
        found = str(nodeprep.prepare(escape(text) + _CONTEXT)).removesuffix(_CONTEXT)
    except UnicodeError:
        printable = _NOT_PRINTABLE.sub("_", text.strip().lower())
        found = escape(_PUNYCODE + printable.encode("punycode").decode("ascii"))
    return found or "_"


def _shown(part: str) -> str:
    """Undo `_prepared`, but for the case of letters."""
    text = unescape(part)
    if text.startswith(_PUNYCODE):
        try:
            return text.removeprefix(_PUNYCODE).encode("ascii").decode("punycode")
        except (UnicodeError, ValueError, OverflowError):
            pass  # somebody's idea of a name
    return text


def _cut(text: str, max_bytes: int) -> str:
    return text.encode("utf-8", "replace")[:max_bytes].decode("utf-8", "ignore")


# ------------------------------------------------------------------ JIDs as text


def bare(jid: str) -> str:
    """Return a JID without its resource, in lower case as servers compare it."""
    return jid.partition("/")[0].lower()


def resource_of(jid: str) -> str:
    """Return the device of a JID, empty if there is none."""
    return jid.partition("/")[2]


def domain_of(jid: str) -> str:
    """Return the domain of a JID."""
    return bare(jid).rpartition("@")[2]


def local_of(jid: str) -> str:
    """Return what stands before the ``@``, empty for a domain."""
    return jid.partition("/")[0].rpartition("@")[0]


# ------------------------------------------------------------------ writing


@lru_cache(maxsize=65536)
def jid_of(peer: Peer, domain: str, line: str = "", context: str = "") -> str:
    """
    Return the canonical JID of a peer.

    :param line: the label of the line, if it is not the user's default.
    :param context: the phone-context of short codes and names; our domain by default.
    """
    context = context or domain
    match peer:
        case Bridge():
            return domain
        case Number(e164):
            local = e164
        case ShortCode(digits):
            local = f"{digits};phone-context={context}"
        case Name(text):
            shown = _prepared(_cut(text.strip(), _MAX_NAME_BYTES))
            local = f"{shown};phone-context=alpha.{context}"
        case Withheld():
            local = f"anonymous;phone-context=anon.{context}"
        case Person(label):
            local = _prepared(label)
        case Group(numbers):
            local = ",".join(numbers)
    if line:
        local = f"{local}%{_prepared(line)}"
    return f"{local}@{domain}"


def peer_of_sender(sender: str) -> Peer:
    """Return the peer for what the phone network showed as the sender (empty: withheld)."""
    if is_e164(sender):
        return Number(sender)
    shown = sender.strip()
    if not shown:
        return Withheld()
    if shown.isascii() and shown.isdigit() and len(shown) <= 15:
        return ShortCode(shown)
    return Name(shown)


@lru_cache(maxsize=65536)
def jid_of_sender(sender: str, domain: str, line: str = "", context: str = "") -> str:
    """Return the JID that a text from this sender comes from; see `peer_of_sender` and `jid_of`."""
    return jid_of(peer_of_sender(sender), domain, line, context)


def same_line(label: str, given: str) -> bool:
    """Tell whether what stood after ``%`` means the line with this label."""
    return _prepared(label) == _prepared(given)


# ------------------------------------------------------------------ reading

_PERSON = re.compile(r"[^\s\d+@%,;=*#][^\s@%,;=*#+]{0,254}")


def parse_jid(jid: str, country: str) -> Contact:
    """
    Return whom a JID of our domain means.

    :param country: how national numbers are read, two letters; empty for E.164 alone.
    :raises AddressError: no number, no short code, no name.
    """
    local = local_of(jid)
    if not local:
        return Contact(peer=Bridge())
    return parse(local, domain_of(jid), country)


def parse(local: str, domain: str, country: str, context: str = "") -> Contact:
    """
    Return whom the part before the ``@`` means; also for what is typed into a form.

    :param context: the phone-context that is canonical here; our domain by default.
    :raises AddressError: no number, no short code, no name.
    """
    try:
        return _parse(local, domain, country, context)
    except AddressError:
        raise
    except InvalidNumber as e:
        raise AddressError(str(e)) from None


@lru_cache(maxsize=8192)
def _parse(local: str, domain: str, country: str, context: str) -> Contact:
    if len(local.encode("utf-8", "replace")) > MAX_PART_BYTES:
        raise AddressError("That address is too long.")
    number, in_context, rest = local.rpartition(_CONTEXT)
    if in_context:
        # A name may hold a % of its own; that of a line stands behind the context.
        rest, mark, line = rest.partition("%")
    else:
        number, mark, line = local.rpartition("%") if "%" in local else (local, "", "")
    if mark and not line:
        raise AddressError("The name of a line is missing after the % sign.")
    line = _shown(line).lower()
    peer = _in_context(number, rest, country) if in_context else _bare_peer(number, country)
    return Contact(
        peer=peer,
        line=line,
        is_canonical=jid_of(peer, domain, line, context) == f"{local}@{domain}",
    )


def _bare_peer(typed: str, country: str) -> Peer:
    text = _shown(typed).strip()
    if is_e164(text):
        return Number(parse_number(text, ""))
    if "," in text:
        return _group(text.split(","), country)
    if is_short_code(text):
        return ShortCode(text)
    if _PERSON.fullmatch(text) and not text.lower().startswith("tel:"):
        return Person(text.lower())
    return Number(parse_number(text, country))


def _in_context(number: str, context: str, country: str) -> Peer:
    if context.startswith("anon."):
        return Withheld()
    if context.startswith("alpha."):
        return Name(_shown(number))
    if context.startswith("+"):
        return Number(parse_number(f"tel:{number};phone-context={context}", country))
    digits = unescape(number).strip()
    if digits.isascii() and digits.isdigit() and 0 < len(digits) <= 15:
        return ShortCode(digits)
    raise AddressError(
        f"{number!r} is not a short code; write its digits alone, or a number like "
        f"{example_number(country)}."
    )


def _group(parts: Iterable[str], country: str) -> Peer:
    typed = [part for part in parts if part.strip()]
    if len(typed) > _MAX_GROUP:
        raise AddressError(f"A group has at most {_MAX_GROUP} numbers.")
    numbers = {parse_number(part, country) for part in typed}
    if not numbers:
        raise AddressError(
            f"There is no telephone number; write it like {example_number(country)}."
        )
    if len(numbers) == 1:
        return Number(numbers.pop())
    return Group(tuple(numbers))
