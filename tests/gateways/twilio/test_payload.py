"""Tests of what is Twilio's own: forms byte by byte, codes, opt-outs, addresses, look-ups."""

from __future__ import annotations

import base64
import json
from collections.abc import Sequence
from typing import Any
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.twilio.config import TwilioGateway, TwilioLine
from smsbridge.gateways.twilio.payload import FAULTS, TwilioDialect
from smsbridge.provider.dialect import (
    NOTHING_THERE,
    UNSURE,
    Event,
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    OutgoingMedia,
    Received,
    Request,
    Response,
    StatusUpdate,
)

SID = "AC5e1f5e1f5e1f5e1f5e1f5e1f5e1f5e1f"
SMS = "SMa1b2c3d4a1b2c3d4a1b2c3d4a1b2c3d4"
OURS, THEIRS = "+12025550100", "+12025550123"
LINE = TwilioLine(label="main", gateway="work", number=OURS)
NOW_MS = 1_767_268_800_000  # Thu, 01 Jan 2026 12:00:00 +0000
API = "https://api.twilio.com"
MEDIA = f"{API}/2010-04-01/Accounts/{SID}/Messages/MM1/Media/ME1"
FORM = "application/x-www-form-urlencoded"


def dialect(**values: Any) -> TwilioDialect:
    """Return the dialect of an account."""
    return TwilioDialect(
        TwilioGateway(**{"account_sid": SID, "auth_token": ("first", "second"), **values})
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


def hook(path: str = "", method: str = "POST", **fields: str) -> Hook:
    """Return a webhook with those values."""
    text = urlencode(fields)
    is_post = method == "POST"
    return Hook(
        method=method,
        url=f"https://sms.example.org/hook/work{path and '/'}{path}",
        path=path,
        query="" if is_post else text,
        headers={"content-type": f"{FORM}; charset=UTF-8"} if is_post else {},
        body=text.encode() if is_post else b"",
    )


class SendingTests(SynchronousTestCase):
    """Requests, and what their answers mean."""

    def test_form_is_what_twilio_publishes(self) -> None:
        """Names, order and spelling of the example of the Messages resource."""
        (request,) = dialect().requests(
            outgoing(callback="https://sms.example.net/hook/twilio/status")
        )

        self.assertEqual(request.method, "POST")
        self.assertEqual(request.url, f"{API}/2010-04-01/Accounts/{SID}/Messages.json")
        self.assertEqual(request.headers["Content-Type"], FORM)
        self.assertEqual(
            request.body,
            b"To=%2B12025550123&From=%2B12025550100&Body=See+you+at+8&StatusCallback="
            b"https%3A%2F%2Fsms.example.net%2Fhook%2Ftwilio%2Fstatus",
        )

    def test_credentials_are_the_key_or_the_first_token(self) -> None:
        """An API key comes before the auth token; the address names the account all the same."""
        for values, login in (
            ({}, f"Basic {_base64(f'{SID}:first')}"),
            ({"key_sid": "SK1", "key_secret": "s"}, f"Basic {_base64('SK1:s')}"),
        ):
            (request,) = dialect(**values).requests(outgoing())

            self.assertEqual(request.headers["Authorization"], login)
            self.assertIn(SID, request.url)

    def test_media_repeat_their_name(self) -> None:
        """Each attachment is a MediaUrl of its own, and words are not needed."""
        media = tuple(
            OutgoingMedia(url=f"https://sms.example.org/media/{n}", content_type="image/png")
            for n in (1, 2)
        )

        (request,) = dialect().requests(outgoing("", media=media))

        pairs = parse_qsl(request.body.decode())
        self.assertEqual([v for n, v in pairs if n == "MediaUrl"], [each.url for each in media])
        self.assertNotIn("Body", dict(pairs))

    def test_what_twilio_would_refuse_is_not_asked(self) -> None:
        """Too long, too many attachments, nothing at all, a group."""
        medium = OutgoingMedia(url="https://sms.example.org/media/1", content_type="image/png")
        for text, reason in (
            (outgoing("x" * 1601), "too-long"),
            (outgoing(media=(medium,) * 11), "media-unsupported"),
            (outgoing(""), "empty"),
            (outgoing(recipients=(THEIRS, "+12025550124")), "unsupported"),
        ):
            caught = self.assertRaises(PermanentFailure, dialect().requests, text)
            self.assertEqual(caught.reason, reason)
        self.assertTrue(dialect().requests(outgoing("\U0001f600" * 1600, media=(medium,) * 10)))

    def test_every_first_status_is_success(self) -> None:
        """A text that waits for a service or a time is taken as well."""
        for status in ("queued", "accepted", "scheduled", "sending", "sent", "delivered", "new"):
            verdict = dialect().answered(outgoing(), 0, answer(201, sid=SMS, status=status))

            self.assertEqual(verdict.outcome, Sent(SMS))

    def test_text_that_failed_at_once_is_refused(self) -> None:
        """No status call follows for the first status, so the answer is the only news."""
        failed = answer(201, sid=SMS, status="failed", error_code=21610, error_message="no")

        outcome = dialect().answered(outgoing(), 0, failed).outcome

        assert isinstance(outcome, PermanentFailure)
        self.assertEqual((outcome.reason, outcome.detail), ("opted-out", "Twilio 21610: no"))

    def test_codes_have_their_classes(self) -> None:
        """The table of the dialect, by code."""
        for status, code, kind, reason, rests in (
            (401, 20003, PermanentFailure, "credentials", "gateway"),
            (403, 20005, PermanentFailure, "no-credit", "gateway"),
            (400, 30002, PermanentFailure, "no-credit", "gateway"),
            (404, 20404, PermanentFailure, "credentials", "gateway"),
            (429, 20429, TemporaryFailure, "throttled", "gateway"),
            (400, 21211, PermanentFailure, "invalid-number", ""),
            (400, 21614, PermanentFailure, "invalid-number", ""),
            (400, 21612, PermanentFailure, "unroutable", ""),
            (400, 21217, PermanentFailure, "invalid-number", ""),
            (400, 21212, PermanentFailure, "not-permitted", "line"),
            (400, 21606, PermanentFailure, "not-permitted", "line"),
            (400, 21603, PermanentFailure, "not-permitted", "line"),
            (400, 21408, PermanentFailure, "not-permitted", ""),
            (400, 21610, PermanentFailure, "opted-out", ""),
            (400, 21611, TemporaryFailure, "throttled", "line"),
            (400, 21602, PermanentFailure, "empty", ""),
            (400, 21617, PermanentFailure, "too-long", ""),
            (400, 21620, PermanentFailure, "bad-file", ""),
            (400, 21623, PermanentFailure, "media-unsupported", ""),
            (400, 21608, PermanentFailure, "not-permitted", ""),
            (429, 63038, TemporaryFailure, "no-credit", "gateway"),
            (400, 99999, PermanentFailure, "rejected", ""),
            (400, None, PermanentFailure, "rejected", ""),
            (401, None, PermanentFailure, "credentials", "gateway"),
            (403, None, PermanentFailure, "not-permitted", "gateway"),
            (402, None, PermanentFailure, "no-credit", "gateway"),
            (303, None, UnknownOutcome, "outcome-unknown", ""),
            (429, None, TemporaryFailure, "throttled", "gateway"),
            (500, 20500, UnknownOutcome, "outcome-unknown", ""),
            (503, 20503, UnknownOutcome, "outcome-unknown", ""),
            (504, None, UnknownOutcome, "outcome-unknown", ""),
            (500, 21610, UnknownOutcome, "outcome-unknown", ""),
        ):
            response = answer(status, code=code, message="words", status=status)

            verdict = dialect().answered(outgoing(), 0, response)

            outcome: Any = verdict.outcome
            self.assertIsInstance(outcome, kind, f"{status} {code}")
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), f"{status} {code}")
            self.assertIn(str(code or status), outcome.detail)
            is_config = kind is PermanentFailure and FAULTS.get(code or 0, None) is not None
            if is_config:
                self.assertEqual(verdict.alarm, FAULTS[code or 0].outcome == "misconfigured")

    def test_pause_of_the_answer_counts(self) -> None:
        """Retry-After, where it is there, comes before our own guess."""
        response = evolve(answer(429, code=20429), headers={"retry-after": "7"})

        verdict = dialect().answered(outgoing(), 0, response)

        self.assertEqual(verdict.rest_s, 7.0)


class LookUpTests(SynchronousTestCase):
    """A text whose answer was lost."""

    def looked_up(
        self, messages: Sequence[dict[str, Any]], text: Outgoing | None = None, **page: Any
    ) -> Any:
        """Return what is made of a page."""
        return dialect().looked_up(
            text or outgoing(), NOW_MS, answer(200, messages=list(messages), **page), {"SMknown"}
        )

    def message(self, **changes: Any) -> dict[str, Any]:
        """Return a text as Twilio lists it."""
        return {
            "sid": SMS,
            "to": THEIRS,
            "from": OURS,
            "body": "See you at 8",
            "num_media": "0",
            "direction": "outbound-api",
            "status": "queued",
            "date_created": "Thu, 01 Jan 2026 12:00:01 +0000",
            "date_sent": None,
            **changes,
        }

    def test_asks_by_both_numbers_and_by_no_day(self) -> None:
        """A text that waits at Twilio has no DateSent yet, and must be found as well."""
        request = dialect().look_up(outgoing(), NOW_MS)

        assert request is not None
        query = dict(parse_qsl(urlsplit(request.url).query))
        self.assertEqual((query["To"], query["From"]), (THEIRS, OURS))
        self.assertEqual({name for name in query if name.startswith("Date")}, set())

    def test_the_text_itself_is_found(self) -> None:
        """By its words, whatever became of its blanks."""
        for body in ("See you at 8", "See you at 8 ", "See  you\r\nat 8"):
            self.assertEqual(self.looked_up([self.message(body=body)]), SMS)
        for date in ("2026-01-01T12:00:01Z", "2026-01-01T12:00:01"):
            self.assertEqual(self.looked_up([self.message(date_created=date)]), SMS)
        trial = "Sent from your Twilio trial account - See you at 8"
        self.assertEqual(self.looked_up([self.message(body=trial)]), SMS)

    def test_other_texts_are_not_taken_for_it(self) -> None:
        """Other words, another direction, another number, an older one, one that has its own."""
        for changes in (
            {"body": "See you at 9"},
            {"body": "I See you at 8"},
            {"direction": "inbound"},
            {"to": "+12025550124"},
            {"num_media": "1"},
            {"sid": "SMknown"},
            {"date_created": "Thu, 01 Jan 2026 11:00:00 +0000"},
        ):
            self.assertIs(self.looked_up([self.message(**changes)]), NOTHING_THERE, changes)

    def test_what_cannot_be_compared_is_not_said_to_be_missing(self) -> None:
        """An account that does not keep words, a text without a time, a list that goes on."""
        for messages, page in (
            ([self.message(body="")], {}),
            ([self.message(body=None)], {}),
            ([self.message(body="See you at 8\u2026")], {}),
            ([self.message(date_created=None)], {}),
            ([self.message(date_created="yesterday")], {}),
            ([self.message(body="other")], {"next_page_uri": "/2010-04-01/x?Page=1"}),
        ):
            self.assertIs(self.looked_up(messages, **page), UNSURE, messages)

    def test_mms_that_became_a_link_is_not_said_to_be_missing(self) -> None:
        """Twilio may replace an attachment by a link, where the network takes no MMS."""
        medium = OutgoingMedia(url="https://sms.example.org/media/1", content_type="image/png")
        sent = self.message(body="See you at 8 https://mms.example.net/1")

        self.assertIs(self.looked_up([sent], outgoing(media=(medium,))), UNSURE)
        self.assertIs(self.looked_up([sent], outgoing("Look", media=(medium,))), NOTHING_THERE)

    def test_sure_one_comes_before_a_doubtful_one(self) -> None:
        """What is like it does not hide the text itself."""
        self.assertEqual(self.looked_up([self.message(sid="SMx", body=""), self.message()]), SMS)

    def test_earliest_of_several_is_it(self) -> None:
        """What was sent later has an answer of its own, or is looked up by itself."""
        later = self.message(sid="SMlater", date_created="Thu, 01 Jan 2026 12:10:00 +0000")

        self.assertEqual(self.looked_up([later, self.message()]), SMS)

    def test_list_that_goes_on_behind_older_texts_is_complete(self) -> None:
        """The newest stand first."""
        old = self.message(body="old", date_created="Thu, 01 Jan 2026 01:00:00 +0000")

        found = self.looked_up([old], next_page_uri="/2010-04-01/x?Page=1")

        self.assertIs(found, NOTHING_THERE)


class HookTests(SynchronousTestCase):
    """Webhooks, as Twilio documents them."""

    def read(self, call: Hook, **values: Any) -> Event:
        """Return the one event of a call."""
        (event,) = dialect(**values).events(call)
        return event

    def mms(self, **more: str) -> Hook:
        """Return the documented form of an MMS."""
        return hook(
            ToCountry="US",
            SmsMessageSid="MM1",
            NumMedia="1",
            SmsSid="MM1",
            SmsStatus="received",
            Body="look",
            To=OURS,
            NumSegments="1",
            MessageSid="MM1",
            AccountSid=SID,
            From=THEIRS,
            MediaContentType0="image/jpeg",
            MediaUrl0=MEDIA,
            ApiVersion="2010-04-01",
            **more,
        )

    def test_mms_is_read(self) -> None:
        """Numbers, words and attachments; what is not known does not matter."""
        event = self.read(self.mms(SomethingNew="1"))

        assert isinstance(event, Received)
        self.assertEqual((event.remote_id, event.ours, event.sender), ("MM1", OURS, THEIRS))
        self.assertEqual(event.body, "look")
        self.assertEqual([(m.url, m.content_type) for m in event.media], [(MEDIA, "image/jpeg")])
        self.assertFalse(event.unlisted_media)

    def test_attachments_come_from_where_the_operator_says(self) -> None:
        """With a base_url of another host, links to Twilio's API lead there; others do not."""
        base = "http://127.0.0.1:8090"
        event = self.read(self.mms(), base_url=base)
        assert isinstance(event, Received)
        self.assertEqual(event.media[0].url, MEDIA.replace(API, base))

        region = self.read(self.mms(), base_url="https://api.dublin.ie1.twilio.com")
        assert isinstance(region, Received)
        self.assertEqual(region.media[0].url, MEDIA)

    def test_attachments_without_addresses_are_asked_for(self) -> None:
        """More are counted than told: the list is asked for, and read."""
        event = self.read(
            hook(MessageSid="MM1", From=THEIRS, To=OURS, Body="", NumMedia="2", MediaUrl0=MEDIA)
        )
        assert isinstance(event, Received)
        self.assertEqual((event.media, event.unlisted_media), ((), True))

        request = dialect().media_list(event)

        assert request is not None
        folder = f"/2010-04-01/Accounts/{SID}/Messages/MM1/Media"
        self.assertEqual(request.url, f"{API}{folder}.json")
        found = dialect().media_listed(
            answer(200, media_list=[{"uri": f"{folder}/ME1.json", "content_type": "image/png"}])
        )
        self.assertEqual([(m.url, m.content_type) for m in found], [(MEDIA, "image/png")])
        for uri in ("https://evil.example.net/x", "//evil.example.net/x", ""):
            with self.assertRaises(Malformed):
                dialect().media_listed(answer(200, media_list=[{"uri": uri}]))

    def test_call_by_get_is_read(self) -> None:
        """The same values in the address; a plus sign that was lost there comes back."""
        event = self.read(
            hook(method="GET", MessageSid=SMS, From=" 12025550123", To=OURS, Body=" ")
        )

        assert isinstance(event, Received)
        self.assertEqual((event.sender, event.body), (THEIRS, " "))
        self.assertEqual(dialect().events(hook(method="GET")), [])

    def test_credentials_go_to_twilio_alone(self) -> None:
        """To its API hosts and to base_url, and to nothing that only looks like them."""
        for url, is_own in (
            (MEDIA, True),
            (MEDIA.replace("https", "HTTPS"), True),
            ("https://api.dublin.ie1.twilio.com/2010-04-01/x", True),
            ("https://api.twilio.com:443/x", True),
            (MEDIA.replace("https", "http"), False),
            ("https://api.twilio.com.evil.example/x", False),
            ("https://api.twilio.com@evil.example/x", False),
            ("https://api.twilio.com:8443/x", False),
            ("https://api.twilio.com\\@evil.example/x", False),
            ("https://user@api.twilio.com/x", False),
            ("https://evilapi.twilio.com/x", False),
            ("https://media.twiliocdn.com/x", False),
            ("//api.twilio.com/x", False),
            ("", False),
        ):
            (headers,) = dialect().media_headers(url)
            self.assertEqual(bool(headers), is_own, url)
        (headers,) = dialect(base_url="http://127.0.0.1:80/t").media_headers("http://127.0.0.1/t/x")
        self.assertTrue(headers)

    def test_opt_outs_are_told(self) -> None:
        """By OptOutType; by the words that Twilio answers itself; not by words of a service."""
        toll_free, service = "+18005550100", {"MessagingServiceSid": "MG1"}
        for ours, body, more, told in (
            (OURS, "arret", {"OptOutType": "STOP"}, "stop"),
            (OURS, "x", {"OptOutType": "START"}, "start"),
            (OURS, "x", {"OptOutType": "HELP"}, "help"),
            (OURS, " stop ", {}, "stop"),
            (OURS, "Cancel", {}, "stop"),
            (OURS, "Unstop", {}, "start"),
            (OURS, "info", {}, "help"),
            (OURS, "please stop", {}, ""),
            (OURS, "STOP", service, ""),
            (OURS, "START", service, "start"),
            (toll_free, "STOP", {}, "stop"),
            (toll_free, "UNSTOP", {}, "start"),
            (toll_free, "CANCEL", {}, ""),
            ("72975", "STOP", {}, ""),
        ):
            event = self.read(hook(MessageSid=SMS, From=THEIRS, To=ours, Body=body, **more))
            assert isinstance(event, Received)
            self.assertEqual(event.opt_out, told, (ours, body, more))

    def test_statuses_are_read(self) -> None:
        """Every word of the description, and a new one."""
        for word, status in (
            ("accepted", Status.SENT),
            ("scheduled", Status.SENT),
            ("queued", Status.SENT),
            ("sending", Status.SENT),
            ("sent", Status.SENT),
            ("partially_delivered", Status.SENT),
            ("delivered", Status.DELIVERED),
            ("read", Status.DELIVERED),
            ("undelivered", Status.FAILED),
            ("failed", Status.FAILED),
            ("canceled", Status.FAILED),
            ("received", None),
            ("receiving", None),
            ("somersault", None),
        ):
            for path in ("", "status"):
                if path == "" and word.startswith("receiv"):
                    continue
                event = self.read(
                    hook(path, MessageSid=SMS, MessageStatus=word, From=OURS, To=THEIRS)
                )
                if status is None:
                    self.assertIsInstance(event, Ignored)
                else:
                    assert isinstance(event, StatusUpdate)
                    self.assertEqual((event.status, event.remote_id), (status, SMS))
                    self.assertEqual((event.ours, event.recipient), (OURS, THEIRS))

    def test_failures_say_why(self) -> None:
        """The code and its meaning in words; a recipient who is out is told."""
        for code, word, reason, out, status in (
            ("30003", "undelivered", "unreachable", False, Status.FAILED),
            ("30004", "undelivered", "blocked", False, Status.FAILED),
            ("30005", "undelivered", "unknown-subscriber", False, Status.FAILED),
            ("30006", "undelivered", "unroutable", False, Status.FAILED),
            ("30007", "undelivered", "filtered", False, Status.FAILED),
            ("30008", "undelivered", "network", False, Status.FAILED),
            ("30034", "undelivered", "not-permitted", False, Status.FAILED),
            ("30001", "failed", "throttled", False, Status.FAILED),
            ("30002", "failed", "no-credit", False, Status.FAILED),
            ("63038", "failed", "daily-cap", False, Status.FAILED),
            ("12300", "failed", "media-unsupported", False, Status.FAILED),
            ("11200", "failed", "bad-file", False, Status.FAILED),
            ("21610", "failed", "opted-out", True, Status.FAILED),
            ("30036", "failed", "expired", False, Status.EXPIRED),
            ("98765", "undelivered", "network", False, Status.FAILED),
            ("98765", "failed", "rejected", False, Status.FAILED),
            ("", "failed", "rejected", False, Status.FAILED),
        ):
            event = self.read(
                hook("status", MessageSid=SMS, MessageStatus=word, ErrorCode=code, To=THEIRS)
            )

            assert isinstance(event, StatusUpdate)
            self.assertEqual((event.reason, event.opted_out), (reason, out), code)
            self.assertEqual(event.status, status)
            self.assertIn(f"Twilio {code}".strip(), event.text)

    def test_answer_gives_no_orders(self) -> None:
        """A document without orders, of a type that is not texted back."""
        for path in ("", "status"):
            answered = dialect().answer(hook(path))

            self.assertEqual((answered.status, answered.content_type), (200, "text/xml"))
            self.assertEqual(
                answered.body, b'<?xml version="1.0" encoding="UTF-8"?>\n<Response></Response>'
            )

    def test_what_is_no_call_of_twilio_is_malformed_or_ignored(self) -> None:
        """No id, no number of ours, no form."""
        for fields in ({"From": THEIRS, "To": OURS}, {"MessageSid": SMS}, {"MessageSid": "a b"}):
            with self.assertRaises(Malformed):
                dialect().events(hook(**fields))
        document = evolve(hook(), headers={"content-type": "application/json"}, body=b"{}")
        self.assertIsInstance(self.read(document), Ignored)


class ListingTests(SynchronousTestCase):
    """What Twilio keeps."""

    def listed(self, request: Request, page: dict[str, Any]) -> Any:
        """Return what is made of the answer to a request."""
        return dialect().listed(LINE, evolve(answer(200, **page), asked=request))

    def test_first_to_us_then_from_us(self) -> None:
        """Each over all of its pages, with the same day."""
        first = dialect().listing(LINE, NOW_MS, NOW_MS + 1)
        assert first is not None
        query = dict(parse_qsl(urlsplit(first.url).query))
        self.assertEqual(query["To"], OURS)
        self.assertEqual(query["DateSent>"], "2026-01-01T00:00:00Z")
        following = f"/2010-04-01/Accounts/{SID}/Messages.json?PageToken=PA1&Page=1"

        second = self.listed(first, {"messages": [], "next_page_uri": following}).more
        third = self.listed(second, {"messages": [], "next_page_uri": None}).more
        last = self.listed(third, {"messages": [], "next_page_uri": None})

        self.assertEqual(second.url, f"{API}{following}")
        query = dict(parse_qsl(urlsplit(third.url).query))
        self.assertEqual((query["From"], query["DateSent>"]), (OURS, "2026-01-01T00:00:00Z"))
        self.assertNotIn("To", query)
        self.assertIsNone(last.more)
        for request in (second, third):
            self.assertIn("Authorization", request.headers)

    def test_next_page_elsewhere_is_not_asked_for(self) -> None:
        """Credentials do not follow an address that is not Twilio's."""
        first = dialect().listing(LINE, NOW_MS, NOW_MS)
        assert first is not None

        page = self.listed(first, {"messages": [], "next_page_uri": "https://evil.example.net/x"})

        self.assertNotIn("evil", page.more.url)

    def test_received_texts_and_statuses_are_read(self) -> None:
        """With the provider's time; attachments are asked for."""
        base = {"sid": SMS, "body": "hi", "date_sent": "Thu, 01 Jan 2026 12:00:00 +0000"}
        page = dialect().listed(
            LINE,
            answer(
                200,
                messages=[
                    {**base, "direction": "inbound", "from": THEIRS, "to": OURS, "num_media": "1"},
                    {
                        **base,
                        "direction": "outbound-api",
                        "from": OURS,
                        "to": THEIRS,
                        "status": "undelivered",
                        "error_code": 30003,
                    },
                    {**base, "direction": "inbound", "from": THEIRS, "to": "+12025550199"},
                    {"nonsense": 1},
                    7,
                ],
            ),
        )

        received, update = page.events
        assert isinstance(received, Received)
        self.assertEqual((received.sent_at_ms, received.unlisted_media), (NOW_MS, True))
        assert isinstance(update, StatusUpdate)
        self.assertEqual((update.status, update.reason), (Status.FAILED, "unreachable"))

    def test_errors_are_told_with_what_to_do(self) -> None:
        """The operator reads the code, and what it means."""
        with self.assertRaises(Malformed) as caught:
            dialect().listed(LINE, answer(401, code=20003, message="no"))

        self.assertIn("auth_token", str(caught.exception))
        self.assertIn("20003", str(caught.exception))

    def test_numbers_are_found_with_their_hooks(self) -> None:
        """What each can, and which address Twilio calls now."""
        (request,) = dialect().discover()
        self.assertTrue(request.url.startswith(f"{API}/2010-04-01/Accounts/{SID}/Incoming"))

        (found,) = dialect().discovered(
            [
                answer(
                    200,
                    incoming_phone_numbers=[
                        {
                            "phone_number": OURS,
                            "friendly_name": "Shop",
                            "capabilities": {"SMS": True, "MMS": True},
                            "sms_url": "https://sms.example.org/hook/work",
                        }
                    ],
                )
            ]
        )

        self.assertEqual((found.number, found.sms, found.mms), (OURS, True, True))
        self.assertEqual(
            (found.description, found.hook), ("Shop", "https://sms.example.org/hook/work")
        )


def _base64(text: str) -> str:
    return base64.b64encode(text.encode()).decode()
