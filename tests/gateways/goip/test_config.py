"""The keys of a GoIP gateway and its lines."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.segments import Charset
from smsbridge.gateways.goip.config import (
    GoipGateway,
    GoipLine,
    check,
    is_within,
    networks,
    udp_address,
)
from smsbridge.keys import ConfigError, declared
from tests.gateways.goip.rig import PASSWORD, line


def read(section_class: type, name: str, text: str) -> Any:
    """Convert a key's text as the configuration reader does."""
    (key,) = (key for key in declared(section_class) if key.name == name)
    return key.convert(text)


class KeysTests(SynchronousTestCase):
    """What the operator may write."""

    def test_defaults_are_the_vendors(self) -> None:
        """Port 44444, 92 seconds, bulk sessions."""
        self.assertEqual(GoipGateway().listen, ("udp:44444",))
        self.assertEqual((line().liveness, line().mode, line().dialect), (92.0, "bulk", "standard"))
        self.assertEqual(line().charset, Charset.ASCII)

    def test_id_and_password_must_fit_the_protocol(self) -> None:
        """A space or a semicolon would be read as something else by the box."""
        for text in ("", "a b", "a;b", "x" * 65):
            with self.assertRaises(ValueError):
                read(GoipLine, "id", text)
            with self.assertRaises(ValueError) as caught:
                read(GoipLine, "password", text)
            if len(text) > 1:
                self.assertNotIn(text, str(caught.exception))
        self.assertEqual(read(GoipLine, "id", "+380960000000"), "+380960000000")

    def test_password_is_not_shown(self) -> None:
        """A log of the configuration has no secret in it."""
        self.assertNotIn(PASSWORD, repr(line()))

    def test_networks(self) -> None:
        """Addresses and networks, by blanks; anything else names itself."""
        found = networks("192.0.2.10 198.51.100.7/24 2001:db8::/32")

        self.assertEqual(
            [str(each) for each in found], ["192.0.2.10/32", "198.51.100.0/24", "2001:db8::/32"]
        )
        with self.assertRaisesRegex(ValueError, "'box.local' is neither"):
            networks("192.0.2.1 box.local")

    def test_membership(self) -> None:
        """IPv4 mapped into IPv6 counts as IPv4; what is no address is nowhere."""
        allowed = networks("192.0.2.0/24 fe80::/10")

        self.assertTrue(is_within("192.0.2.77", allowed))
        self.assertTrue(is_within("::ffff:192.0.2.77", allowed))
        self.assertTrue(is_within("fe80::1%eth0", allowed))
        self.assertFalse(is_within("198.51.100.1", allowed))
        self.assertFalse(is_within("nowhere", allowed))

    def test_spans_have_bounds(self) -> None:
        """The box gives up after 90 s and a push after 12; longer waits make no sense."""
        for name, text in (("send_timeout", "2m"), ("join_within", "30s"), ("liveness", "1s")):
            with self.assertRaisesRegex(ValueError, "is not between"):
                read(GoipLine, name, text)
        self.assertEqual(read(GoipLine, "send_timeout", "45s"), 45.0)

    def test_words_that_choose(self) -> None:
        """A misspelled mode is refused with those that exist."""
        with self.assertRaisesRegex(ValueError, "bulk, one-shot"):
            read(GoipLine, "mode", "oneshot")

    def test_listening_addresses(self) -> None:
        """UDP only; the interface is optional."""
        self.assertEqual(udp_address("udp:44444"), (44444, ""))
        self.assertEqual(udp_address("udp:port=5:interface=192.0.2.1"), (5, "192.0.2.1"))
        with self.assertRaises(ValueError):
            read(GoipGateway, "listen", "tcp:44444")

    def test_ids_are_unique_within_a_gateway(self) -> None:
        """Nothing else tells two channels apart."""
        check({"a": line("a", "x"), "b": line("b", "y")})
        with self.assertRaises(ConfigError) as caught:
            check({"a": line("a", "x"), "b": line("b", "x")})

        self.assertEqual(caught.exception.key, "id")
