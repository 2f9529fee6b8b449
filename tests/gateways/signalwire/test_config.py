"""Tests of what an operator writes for SignalWire."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.config import Config, ConfigErrors, load

SECTION = (
    "[gateway:work]\nkind = signalwire\ndomain = example.signalwire.com\n"
    "project_id = b3877c40-0000\nauth_token = t0ken\nsigning_key = k3y n3w\n"
)
LINE = "[line:main]\ngateway = work\nnumber = +12025550100\n"


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

    def test_section_is_read(self) -> None:
        """With both keys while one is being changed; secrets are not shown."""
        config = self.read(SECTION + LINE).gateways["work"].config

        self.assertEqual(config.domain, "example.signalwire.com")
        self.assertEqual(config.signing_key, ("k3y", "n3w"))
        for secret in ("t0ken", "k3y", "n3w"):
            self.assertNotIn(secret, repr(config))

    def test_space_is_a_host(self) -> None:
        """An address is cut down to its host; a mere name or a path is refused."""
        for text in ("https://Example.signalwire.com/", "example.signalwire.com"):
            config = self.read(SECTION.replace("example.signalwire.com", text) + LINE)

            self.assertEqual(config.gateways["work"].config.domain, "example.signalwire.com")
        for text in ("example", "example.signalwire.com/api", "a b.signalwire.com"):
            self.assert_refused(
                SECTION.replace("example.signalwire.com", text) + LINE, "domain", "signalwire.com"
            )

    def test_credentials_are_needed(self) -> None:
        """The sentence names the key."""
        for key in ("domain", "project_id", "auth_token"):
            lines = [line for line in SECTION.splitlines(True) if not line.startswith(key)]
            self.assert_refused("".join(lines) + LINE, key)
        self.assertTrue(self.read(SECTION.replace("signing_key", ";") + LINE))

    def test_line_has_signalwires_limits(self) -> None:
        """Eight attachments, 500 kB, and no WebP."""
        line = self.read(SECTION + LINE).lines["main"]

        self.assertEqual((line.most_media, line.media_limit), (8, 500 * 1024))
        self.assertIn("video/3gp", line.media_types)
        self.assertNotIn("image/webp", line.media_types)
