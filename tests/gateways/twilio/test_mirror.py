"""Tests of the played Twilio, where it must be as strict as the real one."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import urlencode

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.gateways.twilio.config import TwilioGateway
from smsbridge.gateways.twilio.mirror import TwilioMirror
from smsbridge.provider.dialect import Response
from smsbridge.provider.simulator.mirror import (
    AskedList,
    AskedMedia,
    AskedOne,
    AskedSend,
    Call,
    DoubleText,
    Wrong,
)
from smsbridge.provider.spelling import basic

SID = "AC00000000000000000000000000000000"
ACCOUNT = f"/2010-04-01/Accounts/{SID}"
LOGIN = {"authorization": basic(SID, "first")["Authorization"]}
FORM = {"content-type": "application/x-www-form-urlencoded"}
GOOD = {"To": "+12025550123", "From": "+12025550100", "Body": "hi"}


class MirrorTests(SynchronousTestCase):
    """Requests that the real one would refuse, and questions."""

    def setUp(self) -> None:
        """Make the account."""
        self.mirror = TwilioMirror(TwilioGateway(account_sid=SID, auth_token=("first", "second")))

    def send(self, body: bytes, **headers: str) -> Call:
        """Return a send with a body."""
        return Call(
            method="POST",
            path=f"{ACCOUNT}/Messages.json",
            headers={**LOGIN, **FORM, **headers},
            body=body,
        )

    def refusal(self, call: Call) -> tuple[int, int]:
        """Return status and code of the refusal of a request."""
        response = self.assertRaises(Wrong, self.mirror.asked, call, 0).response
        return response.status, json.loads(response.body)["code"]

    def test_mistakes_have_twilios_codes(self) -> None:
        """Each as the real one would answer it."""
        urls = [("MediaUrl", f"https://sms.example.org/{n}") for n in range(11)]
        for form, refused in (
            ({**GOOD, "To": "hello"}, (400, 21211)),
            ({**GOOD, "From": ""}, (400, 21212)),
            ({**GOOD, "Body": ""}, (400, 21619)),
            ({**GOOD, "Body": "x" * 1601}, (400, 21617)),
            ({**GOOD, "body": "names count", "Body": ""}, (400, 21619)),
            ({**GOOD, "MediaUrl": "ftp://sms.example.org/1"}, (400, 21620)),
            ([*GOOD.items(), *urls], (400, 21623)),
        ):
            self.assertEqual(self.refusal(self.send(urlencode(form).encode())), refused)
        for call, refused in (
            (self.send(b"\xff"), (400, 21211)),
            (self.send(b"{}", **{"content-type": "application/json"}), (400, 21211)),
            (self.send(b"To=1" + b"&x=1" * 1001), (404, 20404)),
            (self.send(b"", authorization="Basic bm86bm8="), (401, 20003)),
            (Call(method="GET", path=f"{ACCOUNT}/Messages", headers=LOGIN), (404, 20404)),
            (Call(method="GET", path="/2010-04-01/Accounts/ACx/Messages.json"), (401, 20003)),
            (Call(method="PUT", path=f"{ACCOUNT}/Messages.json", headers=LOGIN), (404, 20404)),
            (
                Call(method="GET", path="/2010-04-01/Accounts/ACx/x.json", headers=LOGIN),
                (404, 20404),
            ),
        ):
            self.assertEqual(self.refusal(call), refused)

    def test_good_text_is_taken_with_either_token(self) -> None:
        """While the token is being changed, both work."""
        for token in ("first", "second"):
            call = self.send(urlencode(GOOD).encode(), authorization=_login(token))

            self.assertIsInstance(self.mirror.asked(call, 0), AskedSend)

    def test_questions_are_understood(self) -> None:
        """One text, a page of a list, the bytes of an attachment."""
        text = DoubleText(
            remote_id=self.mirror.new_id(1, True),
            outbound=True,
            sender="+12025550100",
            recipients=("+12025550123",),
            body="",
            status=Status.FAILED,
            reason="unreachable",
        )
        sid, media = text.remote_id, f"ME{'0' * 23}100000001"
        for path, asked in (
            (f"Messages/{sid}.json", AskedOne(remote_id=sid)),
            (f"Messages/{sid}/Media/{media}", AskedMedia(remote_id=sid, number=1)),
            (
                "Messages.json?To=%2B12025550100&PageSize=2&Page=3&DateSent%3C=2026-01-02&x",
                AskedList(
                    ours="+12025550100",
                    outbound=False,
                    until_ms=1_767_312_000_000,
                    most=2,
                    offset=6,
                ),
            ),
        ):
            call = Call(method="GET", path=f"{ACCOUNT}/{path}", headers=LOGIN)
            self.assertEqual(self.mirror.asked(call, 0), asked)
        shown: dict[str, Any] = json.loads(self.mirror.one(text).body)
        self.assertEqual((shown["status"], shown["error_code"]), ("undelivered", 30003))
        for missing in (self.mirror.one(None), self.mirror.media_list(None)):
            self.assertEqual(missing.status, 404)

    def test_only_a_document_is_heard(self) -> None:
        """Plain words would be texted back, and another type is an error there."""
        document = Response(
            status=200, headers={"content-type": "text/xml"}, body=b"<Response></Response>"
        )
        self.assertTrue(self.mirror.is_heard(document))
        self.assertTrue(self.mirror.is_heard(Response(status=204)))
        for wrong in (
            evolve(document, status=500),
            evolve(document, body=b"ok"),
            evolve(document, headers={"content-type": "text/plain"}),
            evolve(document, headers={}),
        ):
            self.assertFalse(self.mirror.is_heard(wrong))


def _login(token: str) -> str:
    return basic(SID, token)["Authorization"]
