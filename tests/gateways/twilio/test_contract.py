"""Twilio's dialect against its mirror."""

from __future__ import annotations

from typing import ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.twilio import FACTORY
from smsbridge.gateways.twilio.mirror import MIRROR
from tests.provider.contract import DialectContract


class TwilioContractTests(DialectContract, SynchronousTestCase):
    """What every provider must do, with the auth token."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "auth_token"


class SharedKeyContractTests(DialectContract, SynchronousTestCase):
    """The same with an API key, a shared key for webhooks, and credentials in the address."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "key_secret"
    section: ClassVar[dict[str, str]] = {
        "auth_token": "",
        "key_sid": "SK00000000000000000000000000000000",
        "key_secret": "not-a-real-secret",
        "shared_key": "not-a-real-shared-key",
    }
    hook = "https://smsbridge:pass%20word@sms.example.org/hook/work"
