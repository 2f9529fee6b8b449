"""Tests of what an operator writes for Twilio."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.config import Config, ConfigErrors, load
from smsbridge.gateways.twilio import FACTORY

SECTION = "[gateway:work]\nkind = twilio\naccount_sid = AC00\n"
LINE = "[line:main]\ngateway = work\nnumber = +12025550100\n"
TOKEN = "auth_token = t0ken n3w\n"


class ConfigurationTests(SynchronousTestCase):
    """Ini files."""

    def read(self, text: str) -> Config:
        """Read a configuration."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path = folder / "smsbridge.ini"
        path.write_text(f"[smsbridge]\nstate = {folder}\n{text}")
        path.chmod(0o600)
        return load(path)

    def assert_refused(self, text: str, *words: str) -> None:
        """Fail unless a configuration is refused with a sentence that has these words."""
        caught = self.assertRaises(ConfigErrors, self.read, text)
        for word in words:
            self.assertIn(word, str(caught))

    def test_token_or_key_is_what_is_sent_with(self) -> None:
        """Either is enough; a key comes first; secrets are not shown."""
        config = self.read(SECTION + TOKEN + LINE).gateways["work"].config
        self.assertEqual(config.login, ("AC00", "t0ken"))
        self.assertEqual(config.auth_token, ("t0ken", "n3w"))
        keyed = self.read(SECTION + TOKEN + "key_sid = SK00\nkey_secret = s3cret\n" + LINE)
        config = keyed.gateways["work"].config
        self.assertEqual(config.login, ("SK00", "s3cret"))
        for secret in ("t0ken", "n3w", "s3cret"):
            self.assertNotIn(secret, repr(config))

    def test_half_of_a_credential_is_refused(self) -> None:
        """The sentence names the key that is missing, or the one that is wrong."""
        self.assert_refused(SECTION + LINE, "auth_token", "key_sid")
        self.assert_refused(SECTION + TOKEN + "key_sid = SK00\n" + LINE, "key_secret")
        self.assert_refused(SECTION + TOKEN + "key_secret = s3cret\n" + LINE, "key_sid")
        self.assert_refused(SECTION.replace("AC00", "SK00") + TOKEN + LINE, "account_sid", "AC")
        self.assert_refused(SECTION + TOKEN + "key_sid = AC0\nkey_secret = s\n" + LINE, "SK")

    def test_line_has_twilios_limits(self) -> None:
        """Ten attachments, 500 kB unless the operator knows better."""
        line = self.read(SECTION + TOKEN + LINE).lines["main"]

        self.assertTrue(line.carries_media)
        self.assertEqual((line.most_media, line.media_limit), (10, 500 * 1024))
        self.assertIn("image/gif", line.media_types)
        larger = self.read(SECTION + TOKEN + LINE + "media_limit = 5M\n").lines["main"]
        self.assertEqual(larger.media_limit, 5 * 1024**2)

    def test_webhooks_have_their_addresses(self) -> None:
        """The operator is told what to paste into the console."""
        config = self.read(SECTION + TOKEN + LINE)

        advice = " ".join(
            FACTORY.advice(
                "work", config.gateways["work"].config, config.lines, "https://sms.example.org"
            )
        )

        self.assertIn("https://sms.example.org/hook/work#rc=3&rp=all about texts", advice)
        self.assertIn("https://sms.example.org/hook/work/status", advice)
