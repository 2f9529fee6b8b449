"""Bandwidth's wire, byte by byte, and held against its published description."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.bandwidth.config import BandwidthGateway, BandwidthLine
from smsbridge.gateways.bandwidth.mirror import MIRROR
from smsbridge.gateways.bandwidth.payload import BandwidthDialect
from smsbridge.keys import ConfigError
from smsbridge.provider.dialect import (
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
from smsbridge.provider.simulator.mirror import (
    AskedDids,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)
from tests.openapi_facts import Described

NOW_MS = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
ID = "14762070468292kw2fuqty55yp2b2"
DESCRIBED = Described(Path(__file__).with_name("openapi.json"))


def config(**changes: str) -> BandwidthGateway:
    """Return a section."""
    values: dict[str, Any] = {
        "account_id": "9900000",
        "api_token": "smsbridge",
        "api_secret": "not-a-secret",
        "application_id": "93de2206-9669-4e07-948d-329f4b722ee2",
        **changes,
    }
    return BandwidthGateway(**values)


def outgoing(body: str = "See you at 8", **changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": "0198c0de-0000-7000-8000-00000000abcd.1",
        "line": BandwidthLine(label="main", gateway="work", number="+12025550100"),
        "sender": "+12025550100",
        "recipients": ("+12025550123",),
        "body": body,
        **changes,
    }
    return Outgoing(**values)


def picture(size: int | None = 1000) -> OutgoingMedia:
    """Return an attachment."""
    return OutgoingMedia(
        url="https://sms.example.org/media/9f2c.jpg", content_type="image/jpeg", size=size
    )


def message(**changes: Any) -> dict[str, Any]:
    """Return what an event says of a text."""
    return {
        "id": ID,
        "time": "2026-01-01T12:00:00.000Z",
        "owner": "+12025550100",
        "applicationId": "93de2206-9669-4e07-948d-329f4b722ee2",
        "direction": "in",
        "to": ["+12025550100"],
        "from": "+12025550123",
        "text": "look",
        "segmentCount": 1,
        **changes,
    }


def event(kind: str, about: dict[str, Any], **changes: Any) -> dict[str, Any]:
    """Return an event."""
    return {
        "type": kind,
        "time": "2026-01-01T12:00:16Z",
        "description": "Incoming message received",
        "to": "+12025550100",
        "message": about,
        **changes,
    }


def hook(*events: Any) -> Hook:
    """Return a callback with these events."""
    return Hook(method="POST", url="", body=json.dumps(events).encode(), now_ms=NOW_MS)


class SendingTests(SynchronousTestCase):
    """Texts as Bandwidth wants them."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = BandwidthDialect(config())

    def shape(self, text: Outgoing) -> dict[str, Any]:
        """Return the JSON of a text, after it was held against the description."""
        (request,) = self.dialect.requests(text)
        self.assertEqual(DESCRIBED.wrong_request(request), [])
        found: dict[str, Any] = json.loads(request.body)
        return found

    def test_sms_is_one_post_with_our_tag(self) -> None:
        """The address names the account, the body the application, and the tag our delivery."""
        (request,) = self.dialect.requests(outgoing("tom\u00e9 \U0001f600"))

        self.assertEqual(request.method, "POST")
        self.assertEqual(
            request.url, "https://messaging.bandwidth.com/api/v2/users/9900000/messages"
        )
        self.assertEqual(request.headers["Content-Type"], "application/json")
        self.assertEqual(request.headers["Authorization"], "Basic c21zYnJpZGdlOm5vdC1hLXNlY3JldA==")
        self.assertNotIn("not-a-secret", repr(request))
        self.assertEqual(
            self.shape(outgoing("tom\u00e9 \U0001f600")),
            {
                "applicationId": "93de2206-9669-4e07-948d-329f4b722ee2",
                "to": ["+12025550123"],
                "from": "+12025550100",
                "text": "tom\u00e9 \U0001f600",
                "tag": "0198c0de-0000-7000-8000-00000000abcd.1",
            },
        )

    def test_attachments_are_addresses(self) -> None:
        """A picture without words has no text at all."""
        shape = self.shape(outgoing("", media=(picture(),)))

        self.assertEqual(shape["media"], ["https://sms.example.org/media/9f2c.jpg"])
        self.assertNotIn("text", shape)

    def test_group_has_each_recipient_once(self) -> None:
        """The recipients of a group text must be unique."""
        shape = self.shape(outgoing(recipients=("+12025550123", "+12025550124", "+12025550123")))

        self.assertEqual(shape["to"], ["+12025550123", "+12025550124"])

    def test_what_bandwidth_does_not_take_is_not_asked(self) -> None:
        """Too long, too large, too many and nothing at all are refused before anything is sent."""
        many = tuple(f"+120255501{number:02d}" for number in range(11))
        for text, reason in (
            (outgoing("x" * 2049), "too-long"),
            (outgoing("look", media=(picture(4_000_000),)), "too-large"),
            (outgoing(recipients=many), "unsupported"),
            (outgoing(" \n"), "empty"),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                self.dialect.requests(text)
            self.assertEqual(caught.exception.reason, reason)
        self.assertTrue(self.dialect.requests(outgoing("x" * 2048)))

    def test_limit_above_bandwidths_is_an_error_of_the_configuration(self) -> None:
        """The line may not promise more than its provider carries."""
        with self.assertRaises(ConfigError):
            BandwidthLine(label="main", gateway="work", media_limit=4096 * 1024)


class AnswerTests(SynchronousTestCase):
    """What answers mean."""

    def judged(self, status: int, found: Any, **headers: str) -> Verdict:
        """Return the verdict on an answer."""
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        response = Response(status=status, headers=named, body=json.dumps(found).encode())
        return BandwidthDialect(config()).answered(outgoing(), 0, response)

    def test_only_an_answer_with_an_id_is_a_success(self) -> None:
        """A 202 without one may have been sent."""
        self.assertEqual(self.judged(202, {"id": ID, "time": "..."}).outcome, Sent(ID))
        self.assertIsInstance(self.judged(202, {"time": "..."}).outcome, UnknownOutcome)

    def test_fields_of_an_error_tell_who_is_wrong(self) -> None:
        """The recipient is the sender's affair, our number and application the operator's."""
        for field, reason, rests in (
            ("to[0]", "invalid-number", ""),
            ("media", "bad-file", ""),
            ("text", "too-long", ""),
            ("from", "not-permitted", "line"),
            ("applicationId", "not-permitted", "gateway"),
            ("somethingNew", "rejected", ""),
        ):
            verdict = self.judged(
                400,
                {
                    "type": "request-validation",
                    "description": "no",
                    "fieldErrors": [{"fieldName": field, "description": "bad"}],
                },
            )
            outcome = verdict.outcome
            assert isinstance(outcome, PermanentFailure)
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), field)
            self.assertEqual(verdict.alarm, bool(rests))
            self.assertIn("request-validation", outcome.detail)

    def test_statuses_have_their_class(self) -> None:
        """What is the account's stops the account; what is Bandwidth's trouble is unknown."""
        for status, kind, rests, alarm in (
            (401, PermanentFailure, "gateway", True),
            (403, PermanentFailure, "gateway", True),
            (404, PermanentFailure, "", False),
            (415, PermanentFailure, "", False),
            (429, TemporaryFailure, "gateway", False),
            (408, UnknownOutcome, "", False),
            (500, UnknownOutcome, "", False),
            (503, UnknownOutcome, "", False),
        ):
            verdict = self.judged(status, {"type": "x", "description": "y"})
            self.assertIsInstance(verdict.outcome, kind, status)
            self.assertEqual((verdict.rests, verdict.alarm), (rests, alarm), status)

    def test_full_queue_is_waited_for(self) -> None:
        """The pause is the one that Bandwidth asks for."""
        verdict = self.judged(429, {"type": "max-message-queue-size-exceeded"}, retry_after="7")

        self.assertEqual(verdict.rest_s, 7)


class ListTests(SynchronousTestCase):
    """Questions about sent texts."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = BandwidthDialect(config())

    def test_questions_are_as_described(self) -> None:
        """Look-ups, lists and further pages have described names only, and UTC times."""
        text = outgoing()
        look_up = self.dialect.look_up(text, NOW_MS)
        listing = self.dialect.listing(text.line, NOW_MS - 90 * 86_400_000, NOW_MS)
        assert look_up is not None and listing is not None
        page = {"messages": [], "pageInfo": {"nextPageToken": "a/b="}}
        more = self.dialect.listed(
            text.line, Response(status=200, body=json.dumps(page).encode(), asked=listing)
        ).more
        assert more is not None

        for request in (look_up, listing, more):
            self.assertEqual(DESCRIBED.wrong_request(request), [])
        self.assertEqual(
            parse_qs(urlsplit(look_up.url).query)["fromDateTime"], ["2026-01-01T11:59:00.000Z"]
        )
        # Only fourteen days can be asked for.
        query = parse_qs(urlsplit(more.url).query)
        self.assertEqual(query["fromDateTime"], ["2025-12-18T12:00:00.000Z"])
        self.assertEqual(query["pageToken"], ["a/b="])

    def test_page_that_leads_to_itself_is_the_last(self) -> None:
        """A token that does not change ends the list."""
        line = outgoing().line
        listing = self.dialect.listing(line, NOW_MS, NOW_MS)
        assert listing is not None
        asked = evolve(listing, url=listing.url + "&pageToken=x")
        page = json.dumps({"messages": [], "pageInfo": {"nextPageToken": "x"}}).encode()

        listed = self.dialect.listed(line, Response(status=200, body=page, asked=asked))

        self.assertIs(listed.more, None)

    def test_listed_failure_without_a_receipt_is_none(self) -> None:
        """Error 9902 says that no receipt came in time, not that the text did not."""
        row = {
            "messageId": ID,
            "sourceTn": "+12025550100",
            "destinationTn": "+12025550123",
            "messageStatus": "FAILED",
            "messageDirection": "OUTBOUND",
            "errorCode": 9902,
        }
        found: list[Any] = []
        for code in (9902, 4770):
            body = json.dumps({"messages": [{**row, "errorCode": code}]}).encode()
            found += self.dialect.listed(outgoing().line, Response(status=200, body=body)).events

        states = [(each.status, each.reason) for each in found if isinstance(each, StatusUpdate)]
        self.assertEqual(states, [(Status.SENT, ""), (Status.FAILED, "filtered")])

    def test_full_page_cannot_be_told_apart(self) -> None:
        """With more texts than one page has, none is said to be ours."""
        rows = [
            {
                "messageId": f"m{number}",
                "sourceTn": "+12025550100",
                "destinationTn": "+12025550199",
                "messageDirection": "OUTBOUND",
                "receiveTime": "2026-01-01T12:00:00Z",
            }
            for number in range(200)
        ]
        rows[0]["destinationTn"] = "+12025550123"
        response = Response(status=200, body=json.dumps({"messages": rows}).encode())

        self.assertIs(self.dialect.looked_up(outgoing(), NOW_MS, response, ()), UNSURE)


class CallbackTests(SynchronousTestCase):
    """Callbacks as Bandwidth makes them."""

    def events(self, *events: Any, **keys: str) -> list[Any]:
        """Return what is read of a callback."""
        return list(BandwidthDialect(config(**keys)).events(hook(*events)))

    def test_text_with_a_picture_arrives(self) -> None:
        """Its id, numbers, words, time and attachments are told; presentation parts are not."""
        url = f"https://messaging.bandwidth.com/api/v2/users/9900000/media/{ID}/0/bw.png"
        smil = f"https://messaging.bandwidth.com/api/v2/users/9900000/media/{ID}/1/a.smil"

        (found,) = self.events(event("message-received", message(media=[url, smil])))

        assert isinstance(found, Received)
        self.assertEqual(
            (found.remote_id, found.ours, found.sender, found.body, found.recipients),
            (ID, "+12025550100", "+12025550123", "look", ()),
        )
        self.assertEqual([(each.url, each.name) for each in found.media], [(url, "bw.png")])
        self.assertEqual(found.sent_at_ms, NOW_MS)

    def test_picture_is_fetched_where_the_base_url_says(self) -> None:
        """With a host of one's own Bandwidth's addresses lead there, and get credentials there."""
        path = f"/api/v2/users/9900000/media/{ID}/0/bw.png"
        about = message(media=[f"https://messaging.bandwidth.com{path}"])

        (found,) = self.events(event("message-received", about), base_url="http://127.0.0.1:8090")

        assert isinstance(found, Received)
        self.assertEqual(found.media[0].url, f"http://127.0.0.1:8090{path}")
        dialect = BandwidthDialect(config(base_url="http://127.0.0.1:8090"))
        self.assertIn("Authorization", dialect.media_headers(found.media[0].url)[0])
        self.assertEqual(
            list(dialect.media_headers(f"https://messaging.bandwidth.com{path}")), [{}]
        )

    def test_group_with_two_of_ours_comes_once_for_each(self) -> None:
        """The number beside the message tells which of ours an event is about."""
        to = ["+12025550100", "+12025550101", "+12025550124"]
        first = event("message-received", message(to=to))
        second = event(
            "message-received",
            message(to=to, id="other", owner="+12025550101"),
            to="+12025550101",
        )

        found = self.events(first, second)

        self.assertEqual([each.ours for each in found], ["+12025550100", "+12025550101"])
        self.assertEqual([each.recipients for each in found], [tuple(to)] * 2)

    def test_echo_of_a_sent_text_is_no_text(self) -> None:
        """A text that went out never comes back as one that came in."""
        (found,) = self.events(event("message-received", message(direction="out")))

        self.assertIsInstance(found, Ignored)

    def test_statuses_find_the_delivery_by_its_tag(self) -> None:
        """The recipient is the number beside the message, the delivery is the tag."""
        about = message(direction="out", to=["+12025550123"], tag="0198.1", text="")
        about["from"] = "+12025550100"
        found = self.events(
            event("message-sending", about, to="+12025550123"),
            event("message-delivered", about, to="+12025550123"),
            event("message-failed", about, to="+12025550123", errorCode=4720, description="bad"),
            event("message-failed", about, to="+12025550123", errorCode=9902),
            event("message-read", about, to="+12025550123"),
        )

        self.assertEqual(
            [each.status for each in found],
            [Status.SENT, Status.DELIVERED, Status.FAILED, Status.SENT, Status.DELIVERED],
        )
        for each in found:
            self.assertEqual((each.remote_id, each.delivery_id), (ID, "0198.1"))
            self.assertEqual((each.ours, each.recipient), ("+12025550100", "+12025550123"))
        self.assertEqual((found[2].reason, found[2].text), ("unknown-subscriber", "4720 bad"))

    def test_example_that_names_our_own_number_is_understood(self) -> None:
        """Some of the documentation's examples have our number where the recipient should be."""
        about = message(direction="out", to=["+12025550123"])
        about["from"] = "+12025550100"

        (found,) = self.events(event("message-delivered", about, to="+12025550100"))

        self.assertEqual(found.recipient, "+12025550123")

    def test_failures_have_reasons(self) -> None:
        """Codes that matter have a reason of their own, the others that of their range."""
        about = message(direction="out", to=["+12025550123"])
        about["from"] = "+12025550100"
        for code, reason in (
            (4001, "rejected"),
            (4303, "rejected"),
            (4405, "not-permitted"),
            (4406, "unroutable"),
            (4411, "too-large"),
            (4432, "unroutable"),
            (4470, "filtered"),
            (4481, "blocked"),
            (4775, "opted-out"),
            (4781, "throttled"),
            (4799, "rejected"),
            (5220, "network"),
            (5620, "network"),
            (9999, "network"),
            (0, "network"),
        ):
            (found,) = self.events(
                event("message-failed", about, to="+12025550123", errorCode=code)
            )
            self.assertEqual((found.status, found.reason), (Status.FAILED, reason), code)
            self.assertEqual(found.opted_out, code == 4775)

    def test_one_bad_event_does_not_keep_back_the_others(self) -> None:
        """Events of unknown types, without numbers, or no events at all are passed over."""
        good = event("message-received", message())
        found = self.events("what", {"type": "new-thing"}, event("message-received", {}), good)

        self.assertEqual([type(each) for each in found], [Ignored, Ignored, Ignored, Received])

    def test_text_without_an_id_is_not_lost(self) -> None:
        """A repeat of it is known by all that there is, another text is another one."""
        one = event("message-received", message(id=None))
        other = event("message-received", message(id=None, text="another"))

        ids = [each.remote_id for each in self.events(one, one, other)]

        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_no_list_is_malformed_and_a_look_is_nothing(self) -> None:
        """A bare text is no callback; a GET only asks whether somebody is there."""
        dialect = BandwidthDialect(config())
        with self.assertRaises(Malformed):
            dialect.events(evolve(hook(), body=b'"hello"'))
        self.assertEqual(list(dialect.events(Hook(method="GET", url=""))), [])


class DoubleTests(SynchronousTestCase):
    """The double held against the published description, so that it cannot be wrong with us."""

    def setUp(self) -> None:
        """Build the double and a text of each direction."""
        self.mirror = MIRROR(config())
        self.sent = DoubleText(
            remote_id=ID,
            outbound=True,
            sender="+12025550100",
            recipients=("+12025550123",),
            body="hello",
            reference="0198.1",
            created_at_ms=NOW_MS,
        )
        self.came = DoubleText(
            remote_id=ID,
            outbound=False,
            sender="+12025550123",
            recipients=("+12025550100",),
            body="hello",
            media=(DoubleMedia(content_type="image/png", name="a b.png", data=b"png"),),
            mms=True,
            created_at_ms=NOW_MS,
        )

    def test_answers_are_as_described(self) -> None:
        """Successes and refusals alike."""
        url = "https://messaging.bandwidth.com/api/v2/users/9900000/messages"
        call = Call(method="POST", path="/api/v2/users/9900000/messages")
        faults: tuple[Fault, ...] = (
            "bad-number",
            "not-ours",
            "credentials",
            "throttled",
            "too-long",
            "bad-media",
            "broken",
        )
        answers = [self.mirror.taken([self.sent])]
        answers += [self.mirror.refusal(fault, call) for fault in faults]
        for response in answers:
            self.assertEqual(DESCRIBED.wrong_answer("POST", url, response), [])

    def test_refuses_what_bandwidth_refuses(self) -> None:
        """Application, numbers, words, files and types; each refusal is as described."""
        (right,) = BandwidthDialect(config()).requests(outgoing())
        shape = json.loads(right.body)
        many = [f"+120255501{number:02d}" for number in range(11)]
        for changes, field in (
            ({"applicationId": "another"}, "applicationId"),
            ({"to": many}, "to"),
            ({"to": []}, "to"),
            ({"to": ["12025550123"]}, "to"),
            ({"from": "home"}, "from"),
            ({"text": "x" * 2049}, "text"),
            ({"text": ""}, "text"),
            ({"media": [1]}, "media"),
        ):
            body = json.dumps({**shape, **changes}).encode()
            response = self.refused(evolve(right, body=body))
            self.assertEqual(response.status, 400)
            (error,) = json.loads(response.body)["fieldErrors"]
            self.assertEqual(error["fieldName"], field)
            self.assertEqual(DESCRIBED.wrong_answer("POST", right.url, response), [])
        form = {**right.headers, "Content-Type": "application/x-www-form-urlencoded"}
        self.assertEqual(self.refused(evolve(right, headers=form)).status, 415)
        self.assertEqual(self.refused(evolve(right, body=b"to=1")).status, 400)
        self.assertEqual(self.refused(evolve(right, headers={})).status, 401)
        self.assertEqual(self.refused(evolve(right, method="DELETE")).status, 404)
        asked = evolve(right, method="GET", url=f"{right.url}?limit=many", body=b"")
        self.assertEqual(self.refused(asked).status, 400)

    def refused(self, request: Request) -> Response:
        """Return the answer with which the double refuses a request."""
        parts = urlsplit(request.url)
        headers = {name.lower(): value for name, value in request.headers.items()}
        call = Call(
            method=request.method,
            path=f"{parts.path}?{parts.query}",
            headers=headers,
            body=request.body,
        )
        with self.assertRaises(Wrong) as caught:
            self.mirror.asked(call, NOW_MS)
        found: Response = caught.exception.response
        return found

    def test_what_bandwidth_does_not_have_is_not_found(self) -> None:
        """Single texts, lists of attachments and numbers are in no function of this API."""
        asked = AskedDids()
        for response in (
            self.mirror.one(self.came),
            self.mirror.media_list(self.came),
            self.mirror.dids(asked, ("+12025550100",)),
        ):
            self.assertEqual(response.status, 404)
        self.assertEqual(self.mirror.report(self.sent, Status.QUEUED, "https://a.test/"), [])

    def wrong(self, name: str, request: Request) -> list[str]:
        """Return what is wrong with the events of a callback."""
        found = []
        for each in json.loads(request.body):
            one = Request(
                method="POST",
                url=f"https://messaging.bandwidth.com/api/v2/callbacks/{name}",
                headers=request.headers,
                body=json.dumps(each).encode(),
            )
            found += DESCRIBED.wrong_request(one)
        return found

    def test_callbacks_are_as_described(self) -> None:
        """Texts that came, and all that is told of sent ones."""
        address = "https://smsbridge:x@sms.example.org/hook/work"
        for request in self.mirror.arrival(self.came, address):
            self.assertEqual(self.wrong("inboundCallback", request), [])
            self.assertEqual(request.headers["Authorization"], "Basic c21zYnJpZGdlOng=")
        for status in (Status.SENT, Status.DELIVERED, Status.FAILED):
            for request in self.mirror.report(self.sent, status, address):
                self.assertEqual(self.wrong("statusCallback", request), [])
