"""Programs that are called by HTTP: each text of a person is posted to the person's webhook."""

from smsbridge.gateways.webhook.gateway import WebhookFactory

__all__ = ["FACTORY"]

FACTORY = WebhookFactory()
