"""Tests of what is SignalWire's own: addresses, codes that differ from Twilio's, media."""

from __future__ import annotations

import base64
import json
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.signalwire.config import SignalwireGateway, SignalwireLine
from smsbridge.gateways.signalwire.payload import SignalwireDialect
from smsbridge.provider.dialect import (
    Hook,
    Outgoing,
    OutgoingMedia,
    Received,
    Response,
    StatusUpdate,
)

PROJECT = "b3877c40-0000-4000-8000-000000000000"
SID = "7c1a5a52-11aa-4c0e-9a55-5d0c33f20002"
OURS, THEIRS = "+12025550100", "+12025550123"
LINE = SignalwireLine(label="main", gateway="work", number=OURS)
NOW_MS = 1_767_268_800_000  # Thu, 01 Jan 2026 12:00:00 +0000
SPACE = "https://example.signalwire.com"
API = f"{SPACE}/api/laml/2010-04-01/Accounts/{PROJECT}"
LOGIN = "Basic " + base64.b64encode(f"{PROJECT}:PT-token".encode()).decode()
FORM = "application/x-www-form-urlencoded"


def dialect(**values: Any) -> SignalwireDialect:
    """Return the dialect of a project."""
    return SignalwireDialect(
        SignalwireGateway(
            **{
                "domain": "example.signalwire.com",
                "project_id": PROJECT,
                "auth_token": "PT-token",
                "signing_key": ("key",),
                **values,
            }
        )
    )


def outgoing(body: str = "See you at 8", **changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": "0198c0de.1",
        "line": LINE,
        "sender": OURS,
        "recipients": (THEIRS,),
        "body": body,
        **changes,
    }
    return Outgoing(**values)


def answer(status: int, /, **values: Any) -> Response:
    """Return an answer in JSON."""
    return Response(status=status, body=json.dumps(values).encode())


def hook(path: str = "", **fields: str) -> Hook:
    """Return a webhook with those values."""
    return Hook(
        method="POST",
        url="https://sms.example.org/hook/work",
        path=path,
        headers={"content-type": FORM},
        body=urlencode(fields).encode(),
    )


class SendingTests(SynchronousTestCase):
    """Requests, and what their answers mean."""

    def test_goes_to_the_space(self) -> None:
        """The address has the space's host and the project, and no suffix."""
        (request,) = dialect().requests(outgoing())

        self.assertEqual((request.method, request.url), ("POST", f"{API}/Messages"))
        self.assertEqual(request.headers["Authorization"], LOGIN)
        self.assertEqual(request.body, b"To=%2B12025550123&From=%2B12025550100&Body=See+you+at+8")

    def test_ids_and_counts_have_their_own_form(self) -> None:
        """Ids are UUIDs, and a text may be initiated."""
        for status in ("queued", "initiated", "sent"):
            verdict = dialect().answered(
                outgoing(), 0, answer(201, sid=SID, status=status, num_segments=1)
            )

            self.assertEqual(verdict.outcome, Sent(SID))

    def test_eight_attachments_are_the_most(self) -> None:
        """One more is not asked for."""
        medium = OutgoingMedia(url="https://sms.example.org/media/1", content_type="image/png")

        self.assertTrue(dialect().requests(outgoing(media=(medium,) * 8)))
        caught = self.assertRaises(
            PermanentFailure, dialect().requests, outgoing(media=(medium,) * 9)
        )
        self.assertEqual(caught.reason, "media-unsupported")

    def test_codes_mean_what_signalwire_means(self) -> None:
        """Several differ from Twilio's codes of the same number."""
        for status, code, kind, reason, rests in (
            (401, 20003, PermanentFailure, "credentials", "gateway"),
            (429, 20429, TemporaryFailure, "throttled", "gateway"),
            (422, 21210, PermanentFailure, "not-permitted", "line"),
            (422, 21212, PermanentFailure, "not-permitted", "line"),
            (422, 21603, PermanentFailure, "not-permitted", "line"),
            (422, 21211, PermanentFailure, "invalid-number", ""),
            (422, 21604, PermanentFailure, "invalid-number", ""),
            (422, 21219, PermanentFailure, "not-permitted", ""),
            (422, 21408, PermanentFailure, "rejected", "gateway"),
            (422, 21601, PermanentFailure, "not-permitted", "line"),
            (422, 21602, PermanentFailure, "empty", ""),
            (422, 21606, PermanentFailure, "invalid-number", ""),
            (422, 21614, PermanentFailure, "invalid-number", ""),
            (422, 21610, PermanentFailure, "opted-out", ""),
            (422, 21611, TemporaryFailure, "throttled", "line"),
            (422, 21612, PermanentFailure, "media-unsupported", ""),
            (422, 21617, PermanentFailure, "too-long", ""),
            (422, 21620, PermanentFailure, "bad-file", ""),
            (422, 21623, PermanentFailure, "media-unsupported", ""),
            (422, 21705, PermanentFailure, "not-permitted", "line"),
            (422, 21717, PermanentFailure, "not-permitted", "line"),
            (422, 30001, PermanentFailure, "expired", ""),
            (422, 30002, PermanentFailure, "no-credit", "gateway"),
            (422, 30010, PermanentFailure, "rejected", ""),
            (422, 30011, PermanentFailure, "media-unsupported", ""),
            (422, 30012, PermanentFailure, "media-unsupported", ""),
            (422, 30022, TemporaryFailure, "throttled", "line"),
            (422, 30027, TemporaryFailure, "throttled", "line"),
            (422, 35125, TemporaryFailure, "no-credit", "gateway"),
            (422, 11751, PermanentFailure, "too-large", ""),
            (422, 12300, PermanentFailure, "media-unsupported", ""),
            (422, 77777, PermanentFailure, "rejected", ""),
            (500, 20504, UnknownOutcome, "outcome-unknown", ""),
        ):
            response = answer(status, code=code, message="words", status=status)

            verdict = dialect().answered(outgoing(), 0, response)

            outcome: Any = verdict.outcome
            self.assertIsInstance(outcome, kind, code)
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), code)
            self.assertIn(str(code), outcome.detail)

    def test_other_shape_of_errors_is_read(self) -> None:
        """Some answers have a list of errors, as words or with codes."""
        for errors, reason, detail in (
            (["To is invalid"], "rejected", "SignalWire: status 422 To is invalid"),
            ([{"code": "21610", "message": "no"}], "opted-out", "SignalWire 21610: no"),
        ):
            outcome = dialect().answered(outgoing(), 0, answer(422, errors=errors)).outcome

            assert isinstance(outcome, PermanentFailure)
            self.assertEqual((outcome.reason, outcome.detail), (reason, detail))


class HookTests(SynchronousTestCase):
    """Webhooks."""

    def received(self, url: str, **values: Any) -> Received:
        """Return what is read of an MMS with an attachment there."""
        (event,) = dialect(**values).events(
            hook(
                MessageSid=SID,
                From=THEIRS,
                To=OURS,
                NumMedia="1",
                MediaUrl0=url,
                MediaContentType0="image/png",
            )
        )
        assert isinstance(event, Received)
        return event

    def test_attachments_are_tried_without_credentials_first(self) -> None:
        """Only protected ones want them: basic, and where the files are kept, the token."""
        for url, kinds in (
            (f"{API}/Messages/{SID}/Media/1", ["", LOGIN]),
            ("https://files.signalwire.com/x/1.png", ["", LOGIN, "Bearer PT-token"]),
            ("https://files.signalwire.com@evil.example/1.png", [""]),
            ("http://files.signalwire.com/1.png", [""]),
            ("https://other.signalwire.com/1.png", [""]),
            ("https://evil.example/files.signalwire.com/1.png", [""]),
        ):
            found = [each.get("Authorization", "") for each in dialect().media_headers(url)]

            self.assertEqual(found, kinds, url)

    def test_attachments_come_from_where_the_operator_says(self) -> None:
        """Another host in base_url stands for the space and for its files; a space does not."""
        base = "http://127.0.0.1:8090"
        for url in ("https://files.signalwire.com/x/1.png", f"{SPACE}/x/1.png"):
            event = self.received(url, base_url=base)

            self.assertEqual(event.media[0].url, f"{base}/x/1.png")
            tries = dialect(base_url=base).media_headers(event.media[0].url)
            self.assertEqual([bool(each) for each in tries], [False, True, True])
            self.assertEqual(self.received(url).media[0].url, url)
            self.assertEqual(self.received(url, base_url=SPACE).media[0].url, url)

    def test_nothing_is_opted_out_by_signalwire(self) -> None:
        """It does not look after STOP; the bridge may."""
        (event,) = dialect().events(hook(MessageSid=SID, From=THEIRS, To=OURS, Body="STOP"))

        assert isinstance(event, Received)
        self.assertEqual((event.body, event.opt_out), ("STOP", ""))

    def test_statuses_are_read(self) -> None:
        """Words of the resource and of the callback, and codes that are texts."""
        for word, code, status, reason in (
            ("queued", "", Status.SENT, ""),
            ("initiated", "", Status.SENT, ""),
            ("sending", "", Status.SENT, ""),
            ("sent", "", Status.SENT, ""),
            ("delivered", "", Status.DELIVERED, ""),
            ("undelivered", "30003", Status.FAILED, "unreachable"),
            ("failed", "30001", Status.EXPIRED, "expired"),
            ("failed", "30002", Status.FAILED, "no-credit"),
            ("failed", "30007", Status.FAILED, "filtered"),
            ("failed", "", Status.FAILED, "rejected"),
        ):
            (event,) = dialect().events(
                hook("status", MessageSid=SID, MessageStatus=word, ErrorCode=code, From=OURS)
            )

            assert isinstance(event, StatusUpdate)
            self.assertEqual((event.status, event.reason), (status, reason), word)
            self.assertIn(code, event.text)

    def test_answer_is_the_document(self) -> None:
        """A document is mandatory, in the spelling that is known to work."""
        answered = dialect().answer(hook())

        self.assertEqual((answered.status, answered.content_type), (200, "text/xml"))
        self.assertEqual(
            answered.body, b'<?xml version="1.0" encoding="UTF-8"?>\n<Response></Response>'
        )


class ListingTests(SynchronousTestCase):
    """What SignalWire keeps."""

    def test_days_are_asked_for(self) -> None:
        """The description wants a day alone."""
        request = dialect().listing(LINE, NOW_MS, NOW_MS)

        assert request is not None
        self.assertTrue(request.url.startswith(f"{API}/Messages?"))
        query = dict(parse_qsl(urlsplit(request.url).query))
        self.assertEqual((query["To"], query["DateSent>"]), (OURS, "2026-01-01"))

    def test_pages_may_have_whole_addresses(self) -> None:
        """The next page is a path or an address of the space."""
        first = dialect().listing(LINE, NOW_MS, NOW_MS)
        assert first is not None
        for uri in ("/api/laml/2010-04-01/x?Page=1", f"{SPACE}/api/laml/2010-04-01/x?Page=1"):
            page = dialect().listed(
                LINE, evolve(answer(200, messages=[], next_page_uri=uri), asked=first)
            )

            assert page.more is not None
            self.assertEqual(page.more.url, f"{SPACE}/api/laml/2010-04-01/x?Page=1")

    def test_attachments_are_listed(self) -> None:
        """The file is asked for, not its description, however the list spells its address."""
        for uri in ("/api/laml/x/Media/1", "/api/laml/x/Media/1.json"):
            (found,) = dialect().media_listed(
                answer(200, media_list=[{"uri": uri, "content_type": "image/png"}])
            )

            self.assertEqual(found.url, f"{SPACE}/api/laml/x/Media/1")
