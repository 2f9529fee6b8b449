"""Telnyx's dialect against its mirror."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any, ClassVar

import jsonschema_rs
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.gateways.telnyx import FACTORY
from smsbridge.gateways.telnyx.mirror import MIRROR
from smsbridge.provider.simulator.mirror import DoubleMedia, DoubleText, Fault
from smsbridge.provider.simulator.texts import configured
from tests.provider.contract import DialectContract

FACTS = json.loads(Path(__file__).with_name("sdk_facts.json").read_text(encoding="utf-8"))


class TelnyxContractTests(DialectContract, SynchronousTestCase):
    """What every provider's dialect must do."""

    factory = FACTORY
    mirror_class = MIRROR
    credential = "api_key"
    lacks: ClassVar[frozenset[Fault]] = frozenset({"quota"})
    signs_url = False
    can_look_up = False
    can_list = False
    group_in = True


class MirrorTests(SynchronousTestCase):
    """What the mirror writes, held against what Telnyx's own package reads."""

    def setUp(self) -> None:
        """Make texts."""
        values = {**MIRROR.sample, "base_url": "http://127.0.0.1:8090"}
        self.mirror = MIRROR(configured(FACTORY.config_class, values))

    def text(self, **changes: Any) -> DoubleText:
        """Return a text that the double keeps."""
        values: dict[str, Any] = {
            "remote_id": self.mirror.new_id(1, False),
            "outbound": True,
            "sender": "+12025550100",
            "recipients": ("+12025550123",),
            "body": "hello",
            "created_at_ms": 1_767_268_800_000,
        }
        return DoubleText(**{**values, **changes})

    def assert_described(self, schema: str, payload: Any) -> None:
        """Fail unless every name and value is one that the package knows."""
        errors = jsonschema_rs.validator_for(FACTS["schemas"][schema]).iter_errors(payload)
        self.assertEqual([error.message for error in errors], [])

    def test_answers_and_status_calls_are_described(self) -> None:
        """The answer to a send, and each status, of one recipient and of several."""
        media = (DoubleMedia(url="https://sms.example.org/media/a.jpg"),)
        for text in (
            self.text(),
            self.text(recipients=("+12025550123", "+12025550124"), mms=True, media=media),
        ):
            self.assert_described("sent", json.loads(self.mirror.taken([text]).body)["data"])
            for status in (Status.SENT, Status.DELIVERED, Status.FAILED, Status.EXPIRED):
                (call,) = self.mirror.report(text, status, "https://sms.example.org/hook/work")
                self.assert_described("sent", json.loads(call.body)["data"]["payload"])

    def test_received_texts_are_described(self) -> None:
        """SMS, MMS and a group text."""
        media = (DoubleMedia(content_type="image/png", data=b"png"),)
        for text in (
            self.text(outbound=False),
            self.text(outbound=False, media=media, mms=True),
            self.text(outbound=False, recipients=("+12025550100", "+12025550124"), mms=True),
        ):
            (call,) = self.mirror.arrival(text, "https://sms.example.org/hook/work")
            self.assert_described("received", json.loads(call.body)["data"]["payload"])
