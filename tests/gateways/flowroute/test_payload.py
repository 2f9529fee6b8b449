"""Flowroute's wire, as its developer pages show it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.flowroute.config import FlowrouteGateway, FlowrouteLine
from smsbridge.gateways.flowroute.mirror import MIRROR
from smsbridge.gateways.flowroute.payload import FlowrouteDialect
from smsbridge.keys import ConfigError
from smsbridge.provider.dialect import (
    NOTHING_THERE,
    UNSURE,
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    OutgoingMedia,
    Received,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.simulator.mirror import Call, DoubleText, Wrong

NOW_MS = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
ID = "mdr2-ec9f7b30dc7f11e786688e76b030dee9"


def config(**changes: str) -> FlowrouteGateway:
    """Return a section."""
    values: dict[str, Any] = {"access_key": "12345678", "secret_key": "not-a-secret", **changes}
    return FlowrouteGateway(**values)


def line() -> FlowrouteLine:
    """Return a line."""
    return FlowrouteLine(label="main", gateway="work", number="+12025550100")


def outgoing(body: str = "See you at 8", **changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": "0198.1",
        "line": line(),
        "sender": "+12025550100",
        "recipients": ("+12025550123",),
        "body": body,
        "callback": "https://sms.example.org/hook/work/status?delivery=0198.1",
        **changes,
    }
    return Outgoing(**values)


def picture(size: int | None = 1000) -> OutgoingMedia:
    """Return an attachment."""
    return OutgoingMedia(
        url="https://sms.example.org/media/9f2c.jpg", content_type="image/jpeg", size=size
    )


def answered(status: int, found: Any, **headers: str) -> Response:
    """Return an answer of Flowroute's."""
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    return Response(status=status, headers=named, body=json.dumps(found).encode())


def row(**changes: Any) -> dict[str, Any]:
    """Return a text as the list has it."""
    attributes = {
        "body": "See you at 8",
        "direction": "outbound",
        "from": "12025550100",
        "to": "12025550123",
        "is_mms": False,
        "timestamp": "2026-01-01T12:00:00.00Z",
        "status": "",
        **changes,
    }
    return {"id": ID, "type": "message", "attributes": attributes}


class SendingTests(SynchronousTestCase):
    """Texts as Flowroute wants them."""

    def attributes(self, text: Outgoing) -> dict[str, Any]:
        """Return the attributes of a text."""
        (request,) = FlowrouteDialect(config()).requests(text)
        found: dict[str, Any] = json.loads(request.body)["data"]["attributes"]
        return found

    def test_sms_is_one_json_api_document(self) -> None:
        """Numbers are digits, and the receipt goes to an address of its own."""
        (request,) = FlowrouteDialect(config()).requests(outgoing("tom\u00e9 \U0001f600"))

        self.assertEqual(request.method, "POST")
        self.assertEqual(request.url, "https://api.flowroute.com/v2.2/messages")
        self.assertEqual(request.headers["Content-Type"], "application/vnd.api+json")
        self.assertEqual(request.headers["Authorization"], "Basic MTIzNDU2Nzg6bm90LWEtc2VjcmV0")
        self.assertNotIn("not-a-secret", repr(request))
        self.assertEqual(
            json.loads(request.body),
            {
                "data": {
                    "type": "message",
                    "attributes": {
                        "to": "12025550123",
                        "from": "12025550100",
                        "body": "tom\u00e9 \U0001f600",
                        "dlr_callback": "https://sms.example.org/hook/work/status?delivery=0198.1",
                    },
                }
            },
        )

    def test_mms_says_so(self) -> None:
        """Attachments are addresses, beside a word that it is one; words may be missing."""
        attributes = self.attributes(outgoing("", media=(picture(),), callback=""))

        self.assertEqual(
            attributes,
            {
                "to": "12025550123",
                "from": "12025550100",
                "body": "",
                "is_mms": True,
                "media_urls": ["https://sms.example.org/media/9f2c.jpg"],
            },
        )

    def test_typographic_quotation_marks_become_straight(self) -> None:
        """They make requests fail; everything else stays as it was written."""
        body = "\u201cDon\u2019t\u201d \u2014 \u00abno\u00bb \u2018\u201a\u201b\u201e\u201f\u2026"

        self.assertEqual(
            self.attributes(outgoing(body))["body"],
            "\"Don't\" \u2014 \u00abno\u00bb '''\"\"\u2026",
        )

    def test_what_flowroute_does_not_take_is_not_asked(self) -> None:
        """Too large, several recipients and nothing at all are refused at once."""
        for text, reason in (
            (outgoing("x", media=(picture(767_840),)), "too-large"),
            (outgoing(recipients=("+12025550123", "+12025550124")), "unsupported"),
            (outgoing(" "), "empty"),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                FlowrouteDialect(config()).requests(text)
            self.assertEqual(caught.exception.reason, reason)
        with self.assertRaises(ConfigError):
            FlowrouteLine(label="main", gateway="work", media_limit=750 * 1024)


class AnswerTests(SynchronousTestCase):
    """What answers mean."""

    def judged(self, status: int, detail: str = "", **headers: str) -> Verdict:
        """Return the verdict on an error with these words."""
        error = {"id": "5f1c", "status": status, "title": "No", "detail": detail}
        response = answered(status, {"errors": [error]}, **headers)
        return FlowrouteDialect(config()).answered(outgoing(), 0, response)

    def test_only_an_answer_with_an_id_is_a_success(self) -> None:
        """A 202 without one may have been sent."""
        dialect = FlowrouteDialect(config())
        taken = answered(202, {"data": {"id": ID, "type": "message"}})

        self.assertEqual(dialect.answered(outgoing(), 0, taken).outcome, Sent(ID))
        outcome = dialect.answered(outgoing(), 0, answered(202, {"data": {}})).outcome
        self.assertIsInstance(outcome, UnknownOutcome)

    def test_statuses_have_their_class(self) -> None:
        """What is the account's stops the account; 503 took nothing, 500 may have."""
        for status, kind, rests, alarm in (
            (400, PermanentFailure, "", False),
            (401, PermanentFailure, "gateway", True),
            (402, PermanentFailure, "gateway", True),
            (403, PermanentFailure, "gateway", True),
            (404, PermanentFailure, "", False),
            (415, PermanentFailure, "", False),
            (422, PermanentFailure, "", False),
            (429, TemporaryFailure, "gateway", False),
            (503, TemporaryFailure, "gateway", False),
            (408, UnknownOutcome, "", False),
            (500, UnknownOutcome, "", False),
        ):
            verdict = self.judged(status)
            self.assertIsInstance(verdict.outcome, kind, status)
            self.assertEqual((verdict.rests, verdict.alarm), (rests, alarm), status)

    def test_words_are_the_only_codes(self) -> None:
        """What the sender can mend has its reason; other words are passed on."""
        for detail, reason, rests in (
            (
                'Error fetching media: File at "https://a" is over 767840 byte limit.',
                "too-large",
                "",
            ),
            ("Error fetching media: 404", "bad-file", ""),
            ("The 'to' number is not valid", "invalid-number", ""),
            ("The recipient has opted out", "opted-out", ""),
            ("The body must not exceed 1000 characters", "too-long", ""),
            ("The 'from' number is not owned by you", "not-permitted", "line"),
            ("Unable to send your message from here to there", "rejected", ""),
            ("", "rejected", ""),
        ):
            verdict = self.judged(422, detail)
            outcome = verdict.outcome
            assert isinstance(outcome, PermanentFailure)
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), detail)
            self.assertIn("HTTP 422", outcome.detail)
            self.assertIn("5f1c", outcome.detail)

    def test_pause_is_flowroutes(self) -> None:
        """Too many requests are waited for as long as asked."""
        self.assertEqual(self.judged(429, retry_after="11").rest_s, 11)


class LookUpTests(SynchronousTestCase):
    """A text whose answer was lost."""

    def found(self, *rows: dict[str, Any], body: str = "See you at 8", known: Any = ()) -> Any:
        """Return what the look-up tells of these rows."""
        response = answered(200, {"data": list(rows)})
        return FlowrouteDialect(config()).looked_up(outgoing(body), NOW_MS, response, known)

    def test_asks_from_shortly_before(self) -> None:
        """The list cannot be asked for one recipient, so that all since then are asked for."""
        request = FlowrouteDialect(config()).look_up(outgoing(), NOW_MS)

        assert request is not None
        self.assertEqual(
            parse_qs(urlsplit(request.url).query),
            {"start_date": ["2026-01-01T11:58:00.000Z"], "limit": ["250"], "offset": ["0"]},
        )

    def test_our_text_since_then_is_it(self) -> None:
        """Other texts, older ones, received ones and known ones are not."""
        self.assertEqual(self.found(row()), ID)
        self.assertEqual(self.found(row(**{"from": "+12025550100"})), ID)
        self.assertEqual(self.found(row(body="it's"), body="it\u2019s"), ID)
        self.assertIs(self.found(row(), known={ID}), NOTHING_THERE)
        self.assertIs(self.found(row(body="another text")), NOTHING_THERE)
        self.assertIs(self.found(row(to="12025550124")), NOTHING_THERE)
        self.assertIs(self.found(row(direction="inbound")), NOTHING_THERE)
        self.assertIs(self.found(row(timestamp="2026-01-01T11:00:00Z")), NOTHING_THERE)

    def test_doubt_is_no_proof(self) -> None:
        """A spoiled text, one without a time and a full page leave it open."""
        self.assertIs(self.found(row(body="See you at 8?")), UNSURE)
        self.assertIs(self.found(row(timestamp=None)), UNSURE)
        self.assertIs(self.found(*[row(to="12025550124")] * 250), UNSURE)


class CallbackTests(SynchronousTestCase):
    """Texts and receipts as Flowroute posts them."""

    def read(self, found: Any) -> Any:
        """Return what is read of a callback."""
        hook = Hook(method="POST", url="", body=json.dumps(found).encode(), now_ms=NOW_MS)
        (event,) = FlowrouteDialect(config()).events(hook)
        return event

    def message(self, **changes: Any) -> dict[str, Any]:
        """Return a received MMS in the form of the developer pages, with made-up numbers."""
        attributes = {
            "body": "again",
            "direction": "inbound",
            "from": "12025550123",
            "to": "12025550100",
            "is_mms": True,
            "timestamp": "2026-01-01T12:00:00.00Z",
            "delivery_receipts": [],
            **changes,
        }
        media = {"type": "media", "id": "9393-IMG_6692.jpg"}
        return {
            "data": {
                "id": ID,
                "type": "message",
                "attributes": attributes,
                "relationships": {"media": {"data": [media]}},
            },
            "included": [
                {
                    **media,
                    "attributes": {
                        "url": "https://files.example.net/IMG_6692.jpg?Signature=x",
                        "file_name": "IMG_6692.jpg",
                        "mime_type": "image/jpeg",
                        "file_size": 662315,
                    },
                }
            ],
        }

    def test_mms_arrives(self) -> None:
        """Its id, numbers, words, time and attachment are told."""
        found = self.read(self.message())

        assert isinstance(found, Received)
        self.assertEqual(
            (found.remote_id, found.ours, found.sender, found.body, found.sent_at_ms),
            (ID, "+12025550100", "+12025550123", "again", NOW_MS),
        )
        (medium,) = found.media
        self.assertEqual(medium.url, "https://files.example.net/IMG_6692.jpg?Signature=x")
        self.assertEqual(
            (medium.name, medium.content_type, medium.size), ("IMG_6692.jpg", "image/jpeg", 662315)
        )
        self.assertFalse(found.unlisted_media)

    def test_attachments_without_relations_or_types_are_taken_too(self) -> None:
        """Programs that post Flowroute's form leave out one or the other."""
        shape = self.message()
        del shape["data"]["relationships"]
        del shape["included"][0]["type"], shape["included"][0]["id"]

        self.assertEqual(len(self.read(shape).media), 1)

    def test_attachments_that_are_only_named_are_asked_for(self) -> None:
        """The text itself, asked for by its id, has them."""
        shape = self.message()
        included = shape.pop("included")
        found = self.read(shape)
        dialect = FlowrouteDialect(config())

        self.assertTrue(found.unlisted_media)
        request = dialect.media_list(found)
        assert request is not None
        self.assertEqual(request.url, f"https://api.flowroute.com/v2.2/messages/{ID}")
        answer = answered(200, {**shape, "included": included})
        self.assertEqual(len(dialect.media_listed(answer)), 1)
        with self.assertRaises(Malformed):
            dialect.media_listed(answered(404, {"errors": [{"detail": "gone"}]}))

    def test_older_form_is_flat(self) -> None:
        """Version 2 posts four values and no more."""
        flat = {"to": "12025550100", "from": "12025550123", "body": " hi ", "id": "mdr1-5"}

        found = self.read(flat)

        self.assertEqual(
            (found.remote_id, found.ours, found.sender, found.body),
            ("mdr1-5", "+12025550100", "+12025550123", " hi "),
        )

    def test_short_codes_have_no_plus_sign(self) -> None:
        """Long numbers get theirs back, of other countries, too."""
        for shown, meant in (
            ("72975", "72975"),
            ("447700900123", "+447700900123"),
            ("+12025550123", "+12025550123"),
            ("AMAZON", "AMAZON"),
        ):
            self.assertEqual(self.read(self.message(**{"from": shown})).sender, meant)

    def test_text_without_an_id_is_not_lost(self) -> None:
        """A repeat of it is known by its time, another text is another one."""
        shape = self.message()
        shape["data"]["id"] = None
        other = json.loads(json.dumps(shape).replace("again", "more"))

        ids = [self.read(each).remote_id for each in (shape, shape, other)]

        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_own_texts_and_strangers_are_passed_over(self) -> None:
        """A sent text is none that came; without numbers it is none at all."""
        self.assertIsInstance(self.read(self.message(direction="outbound")), Ignored)
        self.assertIsInstance(self.read({"data": {"type": "number"}}), Ignored)
        for shape in ({}, {"data": {"type": "message"}}, {"data": {"type": "delivery_receipt"}}):
            with self.assertRaises(Malformed):
                self.read(shape)
        look = Hook(method="GET", url="")
        self.assertEqual(list(FlowrouteDialect(config()).events(look)), [])

    def receipt(self, level: Any, status: str, about: str = "", code: Any = "0") -> StatusUpdate:
        """Return what is read of a receipt."""
        found = self.read(
            {
                "data": {
                    "id": ID,
                    "type": "delivery_receipt",
                    "attributes": {
                        "body": "x",
                        "level": level,
                        "status": status,
                        "status_code": code,
                        "status_code_description": about,
                        "timestamp": "2026-01-01T12:00:00Z",
                    },
                }
            }
        )
        assert isinstance(found, StatusUpdate)
        self.assertEqual(found.remote_id, ID)
        return found

    def test_only_the_second_level_can_mean_delivered(self) -> None:
        """The first says that the carrier has it; both can say that it failed."""
        for level, status, meaning in (
            (1, "delivered", Status.SENT),
            ("1", "delivered", Status.SENT),
            (1, "message buffered", Status.SENT),
            (1, "failed", Status.FAILED),
            (2, "delivered", Status.DELIVERED),
            ("2", "Message Delivered", Status.DELIVERED),
            (2, "DELIVRD", Status.DELIVERED),
            (2, "not delivered", Status.FAILED),
            (2, "undelivered", Status.FAILED),
            (2, "UNDELIV", Status.FAILED),
            (2, "rejected", Status.FAILED),
            (2, "expired", Status.EXPIRED),
            (2, "enroute", Status.SENT),
            (2, "unknown", Status.SENT),
            (2, "", Status.SENT),
        ):
            self.assertEqual(self.receipt(level, status).status, meaning, (level, status))

    def test_description_speaks_where_the_status_is_silent(self) -> None:
        """Reasons are taken from both, and the code is kept."""
        for about, reason in (
            ("Message not delivered: handset unreachable", "unreachable"),
            ("Rejected: filtered as spam", "filtered"),
            ("Failed: recipient has opted out", "opted-out"),
            ("Failed: unknown subscriber", "unknown-subscriber"),
            ("Failed", "network"),
        ):
            found = self.receipt(2, "", about, 1042)
            self.assertEqual((found.status, found.reason), (Status.FAILED, reason), about)
            self.assertEqual(found.opted_out, reason == "opted-out")
            self.assertIn("1042", found.text)


class ListTests(SynchronousTestCase):
    """The list of the account's texts, and of its numbers."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = FlowrouteDialect(config())

    def test_only_the_lines_texts_are_taken(self) -> None:
        """The list has those of the whole account."""
        came = row(direction="inbound", **{"from": "12025550123", "to": "12025550100"})
        rows = [
            came,
            row(direction="inbound", to="12025550101"),
            row(),
            row(**{"from": "12025550101"}),
            {**row(), "id": None},
        ]

        events = self.dialect.listed(line(), answered(200, {"data": rows})).events

        self.assertEqual([type(each) for each in events], [Received, StatusUpdate])

    def test_receipts_of_a_sent_text_tell_its_status(self) -> None:
        """The highest level counts."""
        receipts = [
            {"level": 2, "status": "delivered", "status_code": 0},
            {"level": 1, "status": "message buffered", "status_code": 1},
        ]

        (event,) = self.dialect.listed(
            line(), answered(200, {"data": [row(delivery_receipts=receipts)]})
        ).events

        assert isinstance(event, StatusUpdate)
        self.assertEqual(event.status, Status.DELIVERED)
        self.assertEqual((event.ours, event.recipient), ("+12025550100", "+12025550123"))

    def test_full_page_has_another_behind_it(self) -> None:
        """The next one begins after as many texts as came."""
        request = self.dialect.listing(line(), NOW_MS, NOW_MS + 1000)
        assert request is not None
        full = evolve(answered(200, {"data": [row()] * 250}), asked=request)

        more = self.dialect.listed(line(), full).more

        assert more is not None
        query = parse_qs(urlsplit(more.url).query)
        self.assertEqual((query["offset"], query["limit"]), (["250"], ["250"]))
        self.assertEqual(query["start_date"], ["2026-01-01T12:00:00.000Z"])
        self.assertEqual(query["end_date"], ["2026-01-01T12:00:01.000Z"])
        last = evolve(answered(200, {"data": [row()]}), asked=more)
        self.assertIs(self.dialect.listed(line(), last).more, None)

    def test_numbers_have_their_place(self) -> None:
        """The alias and the rate center describe them."""
        data = [
            {
                "id": "12025550100",
                "type": "number",
                "attributes": {
                    "value": "12025550100",
                    "alias": "front desk",
                    "rate_center": "washington",
                    "state": "dc",
                },
            },
            {"id": "12025550101"},
            {},
        ]

        found = self.dialect.discovered([answered(200, {"data": data})])

        self.assertEqual(
            [(each.number, each.description) for each in found],
            [("+12025550100", "front desk; washington dc"), ("+12025550101", "")],
        )


class DoubleTests(SynchronousTestCase):
    """The double is as strict as Flowroute."""

    def test_refuses_what_flowroute_refuses(self) -> None:
        """Types, numbers, and the quotation marks that make requests fail."""
        (right,) = FlowrouteDialect(config()).requests(outgoing())
        shape = json.loads(right.body)
        attributes = shape["data"]["attributes"]

        def refused(request: Request) -> int:
            headers = {name.lower(): value for name, value in request.headers.items()}
            call = Call(method="POST", path="/v2.2/messages", headers=headers, body=request.body)
            with self.assertRaises(Wrong) as caught:
                MIRROR(config()).asked(call, NOW_MS)
            return int(caught.exception.response.status)

        for changes in (
            {"to": ["12025550123"]},
            {"from": "home"},
            {"body": None},
            {"body": "\u201chi\u201d"},
            {"media_urls": ["https://a.example/1"]},
        ):
            body = json.dumps({"data": {"attributes": {**attributes, **changes}}}).encode()
            self.assertEqual(refused(evolve(right, body=body)), 422, changes)
        self.assertEqual(refused(evolve(right, body=b"to=1")), 400)
        plain = {**right.headers, "Content-Type": "application/json"}
        self.assertEqual(refused(evolve(right, headers=plain)), 415)
        self.assertEqual(refused(evolve(right, headers={})), 401)

    def test_receipts_go_where_the_text_said(self) -> None:
        """And else to the address of the account, one level each."""
        text = DoubleText(
            remote_id=ID,
            outbound=True,
            sender="+12025550100",
            recipients=("+12025550123",),
            body="hello",
        )
        mirror, hook = MIRROR(config()), "https://u:p@sms.example.org/hook/work?k=1"

        (request,) = mirror.report(text, Status.SENT, hook)
        self.assertEqual(request.url, "https://sms.example.org/hook/work/status?k=1")
        text.callback = "https://u:p@sms.example.org/hook/work/status?delivery=1"
        (request,) = mirror.report(text, Status.DELIVERED, hook)
        self.assertEqual(request.url, "https://sms.example.org/hook/work/status?delivery=1")
        self.assertIn("Authorization", request.headers)
