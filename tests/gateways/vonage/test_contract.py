"""Vonage's dialect against its mirror, with each way of calling a webhook."""

from __future__ import annotations

from pathlib import Path
from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.gateways.vonage import FACTORY
from smsbridge.gateways.vonage.mirror import MIRROR
from smsbridge.provider.simulator.mirror import AskedDids, Call, DoubleText, Fault
from smsbridge.provider.simulator.texts import configured
from tests.openapi_facts import Described
from tests.provider.contract import DialectContract


class _GetMirror(MIRROR):
    transport = "get"


class _JsonMirror(MIRROR):
    transport = "json"


class VonageContractTests(DialectContract, SynchronousTestCase):
    """What every provider's dialect must do; webhooks are forms."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "api_secret"
    lacks: ClassVar[frozenset[Fault]] = frozenset({"quota", "opted-out"})
    signs_url = False
    can_look_up = False
    can_list = False


class VonageGetContractTests(VonageContractTests):
    """The same with webhooks that have everything in the address, and an HMAC."""

    mirror_class = _GetMirror
    section: ClassVar[dict[str, str]] = {"signature_method": "sha256"}


class VonageJsonContractTests(VonageContractTests):
    """The same with webhooks that are JSON."""

    mirror_class = _JsonMirror
    section: ClassVar[dict[str, str]] = {"signature_method": "sha512"}


class MirrorTests(SynchronousTestCase):
    """What the mirror writes, held against the published description of the SMS API."""

    def setUp(self) -> None:
        """Make texts."""
        values = {**_JsonMirror.sample, "base_url": "http://127.0.0.1:8090"}
        self.mirror = _JsonMirror(configured(FACTORY.config_class, values))
        self.described = Described(Path(__file__).with_name("openapi.json"))

    def text(self, **changes: Any) -> DoubleText:
        """Return a text that the double keeps."""
        values: dict[str, Any] = {
            "remote_id": self.mirror.new_id(1, False),
            "outbound": True,
            "sender": "+12025550100",
            "recipients": ("+12025550123",),
            "body": "hello",
            "reference": "0198c0de-0000-7000-8000-00000000abcd.1",
            "created_at_ms": 1_767_268_800_000,
        }
        return DoubleText(**{**values, **changes})

    def test_answers_are_described(self) -> None:
        """A text that was taken in two parts, every refusal, and the numbers."""
        url = "http://127.0.0.1:8090/sms/json"
        call = Call(method="POST", path="/sms/json")
        faults: tuple[Fault, ...] = ("bad-number", "not-ours", "credentials", "throttled")
        answers = [self.mirror.taken([self.text(), self.text()])]
        answers += [self.mirror.refusal(fault, call) for fault in faults]

        for answer in answers:
            wrong = [
                each
                for each in self.described.wrong_answer("POST", url, answer)
                # The description says one of two shapes, and has nothing that tells them apart.
                if "valid under more than one" not in each
            ]
            self.assertEqual(wrong, [])
        numbers = self.mirror.dids(AskedDids(), ["+12025550100"])
        url = "http://127.0.0.1:8090/account/numbers"
        self.assertEqual(self.described.wrong_answer("GET", url, numbers), [])

    def test_webhooks_are_described(self) -> None:
        """Texts, parts of longer ones, and receipts."""
        calls = []
        for part in (None, ("17", 1, 2)):
            text = self.text(outbound=False, reference="", part=part)
            calls += self.mirror.arrival(text, "https://sms.example.org/inbound-sms")
        for status in (Status.SENT, Status.DELIVERED, Status.FAILED, Status.EXPIRED):
            text = self.text(callback="https://sms.example.org/delivery-receipt")
            calls += self.mirror.report(text, status, "https://sms.example.org/hook/work")

        for call in calls:
            wrong = [
                each
                for each in self.described.wrong_request(call)
                # The description forgets it in texts, and has it in receipts.
                if each != "body: sig is not described"
            ]
            self.assertEqual(wrong, [])
