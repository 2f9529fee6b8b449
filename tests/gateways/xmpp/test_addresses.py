"""Numbers, short codes and names as JIDs, and back."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.jid import JID

from smsbridge.gateways.xmpp import addresses
from smsbridge.gateways.xmpp.addresses import (
    AddressError,
    Bridge,
    Contact,
    Group,
    Name,
    Number,
    Person,
    ShortCode,
    Withheld,
    jid_of,
    jid_of_sender,
    parse,
    parse_jid,
)

DOMAIN = "sms.example.org"

#: Each peer and line with its canonical JID.
CANONICAL = [
    (Number("+12025550123"), "", "+12025550123@sms.example.org"),
    (Number("+12025550123"), "work-main", "+12025550123%work-main@sms.example.org"),
    (ShortCode("12345"), "", "12345;phone-context=sms.example.org@sms.example.org"),
    (ShortCode("12345"), "2001", "12345;phone-context=sms.example.org%2001@sms.example.org"),
    (Name("my bank"), "", "my\\20bank;phone-context=alpha.sms.example.org@sms.example.org"),
    (
        Name("50% off"),
        "2001",
        "50%\\20off;phone-context=alpha.sms.example.org%2001@sms.example.org",
    ),
    (
        Name("joe@mail.example"),
        "",
        "joe\\40mail.example;phone-context=alpha.sms.example.org@" + DOMAIN,
    ),
    (Withheld(), "", "anonymous;phone-context=anon.sms.example.org@sms.example.org"),
    (Group(("+12025550124", "+12025550123")), "", "+12025550123,+12025550124@sms.example.org"),
    (Person("john"), "", "john@sms.example.org"),
    (Bridge(), "", "sms.example.org"),
]


class AddressTests(SynchronousTestCase):
    """JIDs of contacts."""

    def test_canonical_jids_both_ways(self) -> None:
        """What is written is read back as the same, and servers accept it."""
        for peer, line, jid in CANONICAL:
            self.assertEqual(jid_of(peer, DOMAIN, line), jid)
            self.assertEqual(parse_jid(jid, "US"), Contact(peer=peer, line=line), jid)
            self.assertEqual(JID(jid).full(), jid)

    def test_typed_variants_mean_the_canonical_number(self) -> None:
        """What people type reaches the number; they can be told which JID answers."""
        for local in (
            "2025550123",
            "12025550123",
            "0012025550123",
            "+1-202-555-0123",
            "+1\\20(202)\\20555.0123",
            "tel:+12025550123",
        ):
            contact = parse(local, DOMAIN, "US")
            self.assertEqual((contact.peer, contact.is_canonical), (Number("+12025550123"), False))

    def test_national_number_needs_a_country(self) -> None:
        """Without a country only E.164 is understood, and the error says so."""
        with self.assertRaises(AddressError) as caught:
            parse("2025550123", DOMAIN, "")

        self.assertIn("+1", str(caught.exception))

    def test_short_code_in_any_spelling(self) -> None:
        """Bare digits and foreign contexts mean the short code."""
        for local in ("12345", "12345;phone-context=us.sms.example.org"):
            contact = parse(local, DOMAIN, "US")
            self.assertEqual((contact.peer, contact.is_canonical), (ShortCode("12345"), False))
            self.assertEqual(contact.recipients, ("12345",))

    def test_configured_context_is_canonical(self) -> None:
        """An operator may name the context."""
        jid = jid_of(ShortCode("12345"), DOMAIN, context="us.example")

        self.assertEqual(jid, "12345;phone-context=us.example@sms.example.org")
        self.assertTrue(
            parse("12345;phone-context=us.example", DOMAIN, "US", "us.example").is_canonical
        )

    def test_local_number_with_a_global_context_is_a_number(self) -> None:
        """RFC 3966 writes a national number so."""
        contact = parse("2025550123;phone-context=+1", DOMAIN, "")

        self.assertEqual(contact.peer, Number("+12025550123"))

    def test_group_is_sorted_unique_and_normalized(self) -> None:
        """However a group is typed, it is one conversation."""
        contact = parse("2025550124,+12025550123,+12025550123", DOMAIN, "US")

        self.assertEqual(contact.peer, Group(("+12025550123", "+12025550124")))
        self.assertEqual(contact.recipients, ("+12025550123", "+12025550124"))
        self.assertFalse(contact.is_canonical)

    def test_group_of_one_is_a_number(self) -> None:
        """Somebody alone is no group."""
        self.assertEqual(parse("+12025550123,", DOMAIN, "US").peer, Number("+12025550123"))

    def test_numbers_and_persons_are_recipients(self) -> None:
        """The core is told whom to send to as it wants it."""
        self.assertEqual(parse("+12025550123", DOMAIN, "").recipients, ("+12025550123",))
        self.assertEqual(parse("John", DOMAIN, "").recipients, ("john",))

    def test_names_that_servers_refuse_keep_a_jid_of_their_own(self) -> None:
        """Emoji, and letters that run from right to left, do not fall together or get lost."""
        names = ["\u05d0\u05d1", "\u05d0\u05d2", "bank \u2615", "bank \U0001f4b6"]

        jids = [jid_of_sender(name, DOMAIN) for name in names]

        self.assertEqual(len(set(jids)), len(names))
        self.assertEqual(jids[0], "xn--4dbc;phone-context=alpha.sms.example.org@sms.example.org")
        for name, jid in zip(names, jids, strict=True):
            self.assertEqual(JID(jid).full(), jid)
            contact = parse_jid(jid, "US")
            self.assertEqual(contact.peer, Name(name))
            self.assertTrue(contact.is_canonical)

    def test_control_characters_in_a_name_are_replaced(self) -> None:
        """No server takes them in any spelling."""
        contact = parse_jid(jid_of_sender("a\x07\ud800", DOMAIN), "US")

        self.assertEqual(contact.peer, Name("a_?"))

    def test_punycode_of_nobody_is_a_name_like_any(self) -> None:
        """What only looks like Punycode does no harm."""
        for local in ("xn--\u00e9;phone-context=alpha.x", "xn--99999999;phone-context=alpha.x"):
            self.assertIsInstance(parse(local, DOMAIN, "US").peer, Name)

    def test_senders_that_cannot_be_answered_have_no_recipients(self) -> None:
        """Names and withheld numbers are one-way."""
        for sender in ("My Bank", ""):
            contact = parse_jid(jid_of_sender(sender, DOMAIN), "US")
            self.assertEqual(contact.recipients, ())

    def test_sender_as_the_network_shows_it(self) -> None:
        """Numbers, short codes, names and nothing at all."""
        self.assertEqual(jid_of_sender("+12025550123", DOMAIN), "+12025550123@sms.example.org")
        self.assertEqual(addresses.peer_of_sender("12345"), ShortCode("12345"))
        self.assertEqual(addresses.peer_of_sender(" INFO "), Name("INFO"))
        self.assertEqual(addresses.peer_of_sender("  "), Withheld())

    def test_name_is_folded_as_servers_do(self) -> None:
        """INFO and info are one contact, as the server would have it."""
        self.assertEqual(jid_of_sender("INFO", DOMAIN), jid_of_sender("info", DOMAIN))

    def test_line_is_compared_without_case(self) -> None:
        """Servers fold the line's name; the label in the file may have capitals."""
        jid = jid_of(Number("+12025550123"), DOMAIN, "Work Main")

        contact = parse_jid(jid, "US")

        self.assertEqual(contact.line, "work main")
        self.assertTrue(addresses.same_line("Work Main", contact.line))
        self.assertFalse(addresses.same_line("work", contact.line))

    def test_nonsense_is_refused_with_an_example(self) -> None:
        """What is no address at all is answered by a sentence that helps."""
        for local in (
            "+999",
            "+1",
            "*100#",
            "two words",
            "+12025550123%",
            "%2001",
            ",",
            "x;phone-context=sms.example.org",
            "1,2,3",
            "+" + "1" * 1100,
            ",".join(f"+1202555{n:04}" for n in range(100, 160)),
            ",".join(f"+1202555{n:04}" for n in range(100, 199)),
        ):
            with self.assertRaises(AddressError, msg=local) as caught:
                parse(local, DOMAIN, "US")
            self.assertTrue(str(caught.exception).endswith("."), str(caught.exception))

    def test_escapes_of_xep_0106(self) -> None:
        """A backslash is escaped only where it would be read as an escape."""
        for text, escaped in (
            ("my bank", "my\\20bank"),
            ("d'artagnan", "d\\27artagnan"),
            ("c:\\net", "c\\3a\\net"),
            ("c:\\5commas", "c\\3a\\5c5commas"),
            ('a"&/<>@', "a\\22\\26\\2f\\3c\\3e\\40"),
        ):
            self.assertEqual(addresses.escape(text), escaped)
            self.assertEqual(addresses.unescape(escaped), text)
        self.assertEqual(addresses.escape("  x "), "x")

    def test_parts_of_a_jid(self) -> None:
        """Localpart, domain, bare and resource are cut at the right places."""
        jid = "Alice@Example.org/a@b/c"

        self.assertEqual(addresses.bare(jid), "alice@example.org")
        self.assertEqual(addresses.domain_of(jid), "example.org")
        self.assertEqual(addresses.local_of(jid), "Alice")
        self.assertEqual(addresses.resource_of(jid), "a@b/c")
        self.assertEqual(addresses.local_of("sms.example.org/x"), "")

    @given(st.text(st.characters(), max_size=40))
    def test_any_sender_has_a_jid_that_servers_accept(self, sender: str) -> None:
        """Whatever a network shows, the stanza's sender is a valid JID of our domain, read back."""
        jid = jid_of_sender(sender, DOMAIN)

        self.assertEqual(JID(jid).full(), jid)
        self.assertEqual(addresses.domain_of(jid), DOMAIN)
        self.assertLessEqual(len(addresses.local_of(jid).encode()), addresses.MAX_PART_BYTES)
        contact = parse_jid(jid, "US")
        self.assertEqual(
            isinstance(contact.peer, ShortCode),
            isinstance(addresses.peer_of_sender(sender), ShortCode),
        )

    @given(st.text(st.characters(), max_size=60), st.sampled_from(["US", "EE", ""]))
    def test_reading_raises_nothing_but_its_own_error(self, local: str, country: str) -> None:
        """No localpart that a user can type stops the gateway."""
        try:
            contact = parse(local, DOMAIN, country)
        except AddressError:
            return
        self.assertIsInstance(contact, Contact)
