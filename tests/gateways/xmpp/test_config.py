"""What an operator may write into ``[gateway:NAME] kind = xmpp``."""

from __future__ import annotations

from pathlib import Path

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.config import ConfigErrors, load
from smsbridge.gateways.xmpp.config import Address, XmppGateway, read_domains, server_address
from smsbridge.keys import ConfigError

CONFIG = XmppGateway(domain="sms.example.org", secret="not-a-secret")


class ServerTests(SynchronousTestCase):
    """Where the server is."""

    def test_address_is_read_and_printed(self) -> None:
        """A port may be left out; a socket file is named by its whole path."""
        for text, address in (
            ("127.0.0.1:5348", Address("127.0.0.1", 5348)),
            (" localhost ", Address("localhost", 5347)),
            ("[::1]:5347", Address("::1", 5347)),
            ("[::1]", Address("::1", 5347)),
            ("unix:/run/sms.sock", Address(path="/run/sms.sock")),
            ("/run/sms.sock", Address(path="/run/sms.sock")),
        ):
            self.assertEqual(server_address(text), address)
            self.assertEqual(server_address(str(address)), address)

    def test_what_is_no_address_is_refused(self) -> None:
        """With the two forms that there are."""
        for text in ("", "::1", "host:0", "host:65536", "host:999999", "a b", "unix:sock", ":1"):
            with self.assertRaises(ValueError, msg=text):
                server_address(text)


class GatewayTests(SynchronousTestCase):
    """The section as a whole."""

    def test_other_machine_needs_tls_or_the_operators_word(self) -> None:
        """Texts and the secret do not cross a network in clear by accident."""
        far = Address("xmpp.example.org", 5347)
        with self.assertRaises(ConfigError) as caught:
            evolve(CONFIG, server=far)
        self.assertIn("tls = yes", str(caught.exception))

        evolve(CONFIG, server=far, tls=True)
        evolve(CONFIG, server=far, insecure=True)
        evolve(CONFIG, server=Address("localhost", 5347))

    def test_contradictions_are_refused(self) -> None:
        """TLS on a socket file, and a secret that is none."""
        with self.assertRaises(ConfigError):
            evolve(CONFIG, server=Address(path="/run/sms.sock"), tls=True)
        with self.assertRaises(ConfigError):
            evolve(CONFIG, secret="")

    def test_domains_have_sensible_defaults(self) -> None:
        """The users' domain is the one above the component's."""
        self.assertEqual(CONFIG.users_domain, "example.org")
        self.assertEqual(CONFIG.allowed, ("example.org",))
        other = evolve(CONFIG, server_domain="example.net", allowed_domains=("a.example",))
        self.assertEqual((other.users_domain, other.allowed), ("example.net", ("a.example",)))

    def test_domains_are_read_as_servers_write_them(self) -> None:
        """Case does not count; a JID is no domain."""
        self.assertEqual(read_domains("Example.ORG a.example"), ("example.org", "a.example"))
        for text in ("john@example.org", "example.org/x", "exa mple@"):
            with self.assertRaises(ValueError, msg=text):
                read_domains(text)

    def test_section_of_an_ini_file_is_read(self) -> None:
        """The example of the manual, and what an operator gets wrong most."""
        path = Path(self.mktemp())
        section = "[smsbridge]\nstate = {}\n[gateway:xmpp]\nkind = xmpp\n{}"
        state = Path(self.mktemp()).resolve()
        path.write_text(
            section.format(
                state, "server = 127.0.0.1:5347\ndomain = sms.example.org\nsecret = from-prosody\n"
            ),
            "utf-8",
        )

        config = load(path)

        self.assertEqual(config.gateways["xmpp"].config.domain, "sms.example.org")
        path.write_text(section.format(state, "domain = a@b\nsecret = x\n"), "utf-8")
        with self.assertRaises(ConfigErrors) as caught:
            load(path)
        self.assertIn("[gateway:xmpp] key 'domain'", str(caught.exception))
