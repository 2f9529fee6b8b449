"""Tests of what an operator writes for webhooks: a person's keys, and no section."""

from __future__ import annotations

from pathlib import Path

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.config import Config, ConfigErrors, load
from smsbridge.gateways.webhook.config import WebhookGateway

HOOK = "https://app.example.org/texts"


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

    def test_webhook_needs_no_section(self) -> None:
        """A person with a webhook is enough: the gateway is there with its defaults."""
        config = self.read(f"[person:app]\nwebhook = {HOOK}\nwebhook_secret = s3cr3t\n")

        self.assertEqual(config.gateways["webhook"], ("webhook", WebhookGateway()))
        self.assertEqual(config.directory.serving, {"webhook": "webhook"})
        self.assertEqual(config.warnings, ())
        self.assertNotIn("s3cr3t", repr(config.persons["app"]))

    def test_nobody_with_a_webhook_needs_no_gateway(self) -> None:
        """Without a webhook there is nothing to see of the kind."""
        config = self.read("[person:john]\n")

        self.assertEqual(dict(config.gateways), {})

    def test_section_takes_its_place(self) -> None:
        """Who wants other values writes the section, under any name."""
        config = self.read(
            f"[person:app]\nwebhook = {HOOK}\n[gateway:apps]\nkind = webhook\ntimeout = 5s\n"
        )

        self.assertEqual(list(config.gateways), ["apps"])
        self.assertEqual(config.gateways["apps"].config.timeout, 5.0)

    def test_taken_name_is_left_alone(self) -> None:
        """A gateway of another kind that is called webhook keeps its name."""
        config = self.read(
            f"[person:app]\nwebhook = {HOOK}\n[gateway:webhook]\nkind = goip\nlisten = udp:44444\n"
        )

        self.assertEqual(
            {label: kind for label, (kind, _) in config.gateways.items()},
            {"webhook": "goip", "webhook-2": "webhook"},
        )

    def test_reports_alone_need_it_too(self) -> None:
        """A person who receives texts elsewhere may still want reports by HTTP."""
        config = self.read(
            f"[person:app]\nwebhook = {HOOK}\nxmpp = a@example.com\nreceive = xmpp\n"
        )

        self.assertIn("webhook", config.gateways)

    def test_persons_may_share_a_webhook(self) -> None:
        """One program may work for several persons."""
        config = self.read(f"[person:a]\nwebhook = {HOOK}\n[person:b]\nwebhook = {HOOK}\n")

        self.assertEqual(config.persons["b"].webhook, (HOOK,))

    def test_wrong_address_names_the_key(self) -> None:
        """The operator reads where it is and what is wanted."""
        error = self.assertRaises(ConfigErrors, self.read, "[person:a]\nwebhook = example.org\n")

        self.assertIn("key 'webhook': 'example.org' is not an address such as", str(error))
