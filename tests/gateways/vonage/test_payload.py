"""Tests of Vonage's dialect against what its documentation and its own packages say."""

from __future__ import annotations

import hashlib
import json
from base64 import b64encode
from collections.abc import Mapping
from pathlib import Path
from typing import Any
from urllib.parse import parse_qsl, urlencode

import jwt
from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.vonage.config import VonageGateway
from smsbridge.gateways.vonage.payload import VonageDialect
from smsbridge.keys import ConfigError
from smsbridge.provider.dialect import (
    Event,
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    OutgoingMedia,
    Part,
    ProviderLine,
    Received,
    RemoteMedia,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from tests.openapi_facts import Described

HERE = Path(__file__).parent
FACTS = json.loads((HERE / "sdk_facts.json").read_text(encoding="utf-8"))
NEXMO, VONAGE = FACTS["nexmo"], FACTS["vonage"]
SECRET = NEXMO["secret"]
OURS = "+12025550100"
ALICE = "+12025550123"
REFERENCE = "0198c0de-0000-7000-8000-00000000abcd.1"
CALLBACK = f"https://sms.example.org/hook/work/status?delivery={REFERENCE}"
NOW_MS = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
HOOK = "https://sms.example.org/hook/work"


def gateway(**changes: Any) -> VonageGateway:
    """Return a section."""
    return VonageGateway(**{"api_key": "abcd1234", "api_secret": "not-a-secret", **changes})


def dialect(**changes: Any) -> VonageDialect:
    """Build the dialect of an account."""
    return VonageDialect(gateway(**changes))


def outgoing(**changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": REFERENCE,
        "line": ProviderLine(label="main", gateway="work", number=OURS),
        "sender": OURS,
        "recipients": (ALICE,),
        "body": "tomé 😀",
        "callback": CALLBACK,
        "now_ms": NOW_MS,
    }
    return Outgoing(**{**values, **changes})


def attachment(content_type: str) -> OutgoingMedia:
    """Return an attachment."""
    return OutgoingMedia(url="https://sms.example.org/media/a/p0", content_type=content_type)


def form_of(request: Request) -> dict[str, str]:
    """Return the values of a request that is a form."""
    return dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True))


def called(values: Mapping[str, Any], transport: str = "form", query: str = "") -> Hook:
    """Return a call of a webhook in one of the three ways."""
    hook = Hook(method="POST", url=HOOK, query=query, now_ms=NOW_MS)
    if transport == "get":
        pairs = "&".join(each for each in (query, urlencode(values)) if each)
        return evolve(hook, method="GET", query=pairs)
    if transport == "json":
        return evolve(hook, body=json.dumps(values).encode())
    return evolve(hook, body=urlencode(values).encode())


class SmsTests(SynchronousTestCase):
    """Requests to the SMS API."""

    def test_asks_what_the_providers_own_package_asks(self) -> None:
        """All that the package vonage-sms sends for the same text, and the account's key."""
        (request,) = dialect().requests(outgoing())

        form = form_of(request)
        credentials = {"api_key": "abcd1234", "api_secret": "not-a-secret"}
        self.assertEqual(form, {**VONAGE["sms"], **credentials, "status-report-req": "1"})
        self.assertEqual((request.method, request.url), ("POST", "https://rest.nexmo.com/sms/json"))
        self.assertNotIn("not-a-secret", repr(request))

    def test_unicode_is_said_where_the_gsm_alphabet_ends(self) -> None:
        """Accents and the euro sign are within it; what is outside would arrive as ``?``."""
        for body, kind in (
            ("plain", "text"),
            ("é £ € [x] ~", "text"),
            ("\u2019", "unicode"),
            ("ê", "unicode"),
            ("😀", "unicode"),
        ):
            (request,) = dialect().requests(outgoing(body=body))
            form = form_of(request)
            self.assertEqual((form["text"], form["type"]), (body, kind))

    def test_callback_that_is_too_long_is_left_out(self) -> None:
        """Vonage would refuse the text; its reference tells what the receipt is about."""
        (request,) = dialect().requests(outgoing(callback="https://" + "a" * 93))

        form = form_of(request)
        self.assertNotIn("callback", form)
        self.assertEqual(form["client-ref"], REFERENCE)

    def test_is_what_the_openapi_description_has(self) -> None:
        """Names and values of both requests are those that Vonage publishes."""
        described = Described(HERE / "openapi.json")
        account = dialect()
        (sms,) = account.requests(outgoing())
        (numbers,) = account.discover()
        # The description calls it a boolean, the documentation writes 1.
        sms = evolve(sms, body=sms.body.replace(b"status-report-req=1", b"status-report-req=true"))

        self.assertEqual(described.wrong_request(sms), [])
        self.assertEqual(described.wrong_request(numbers), [])

    def test_group_and_nothing_are_refused(self) -> None:
        """The sender hears it before anything is asked."""
        for text, reason in (
            (outgoing(recipients=(ALICE, OURS)), "unsupported"),
            (outgoing(body=""), "empty"),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                dialect().requests(text)
            self.assertEqual(caught.exception.reason, reason)


class MmsTests(SynchronousTestCase):
    """Requests to the Messages API."""

    def test_asks_what_the_providers_own_package_asks(self) -> None:
        """One attachment of each kind is what the package vonage-messages makes of it."""
        for name, content_type in (
            ("image", "image/jpeg"),
            ("video", "video/mp4"),
            ("audio", "audio/mpeg"),
            ("vcard", "text/x-vcard"),
            ("file", "application/pdf"),
        ):
            text = outgoing(body="look", media=(attachment(content_type),))

            (request,) = dialect().requests(text)

            self.assertEqual(json.loads(request.body), VONAGE["mms"][name])
            self.assertEqual(request.url, "https://api.nexmo.com/v1/messages")

    def test_several_attachments_are_several_messages(self) -> None:
        """A message has one; the words go with the first."""
        text = outgoing(body="look", media=(attachment("image/png"), attachment("video/mp4")))

        first, second = dialect().requests(text)

        self.assertEqual(json.loads(first.body), VONAGE["mms"]["image"])
        video = json.loads(second.body)
        self.assertEqual(video["message_type"], "video")
        self.assertEqual(video["video"], {"url": VONAGE["mms"]["video"]["video"]["url"]})

    def test_each_message_has_a_token_of_its_own(self) -> None:
        """No two requests share an id that is meant to be used once."""
        fact = VONAGE["application"]
        account = dialect(application_id=fact["id"], private_key=fact["private_key"])
        media = (attachment("image/png"), attachment("image/png"))

        tokens = [
            request.headers["Authorization"].removeprefix("Bearer ")
            for request in account.requests(outgoing(media=media))
        ]

        options: Any = {"verify_signature": False}
        ids = {jwt.decode(token, options=options)["jti"] for token in tokens}
        self.assertEqual(len(ids), 2)

    def test_without_an_application_key_and_secret_are_enough(self) -> None:
        """The request carries both in HTTP basic."""
        (request,) = dialect().requests(outgoing(media=(attachment("image/png"),)))

        pair = b64encode(b"abcd1234:not-a-secret").decode()
        self.assertEqual(request.headers["Authorization"], f"Basic {pair}")

    def test_application_signs_as_the_providers_own_package_does(self) -> None:
        """The token has the same header and claims, and Vonage can check it."""
        fact = VONAGE["application"]
        account = dialect(application_id=fact["id"], private_key=fact["private_key"])

        (request,) = account.requests(outgoing(media=(attachment("image/png"),)))

        token = request.headers["Authorization"].removeprefix("Bearer ")
        options: Any = {"verify_signature": False}
        self.assertEqual(jwt.get_unverified_header(token), jwt.get_unverified_header(fact["token"]))
        self.assertEqual(
            jwt.decode(token, options=options), jwt.decode(fact["token"], options=options)
        )
        key = jwt.algorithms.RSAAlgorithm(jwt.algorithms.RSAAlgorithm.SHA256)
        public_key = key.prepare_key(fact["private_key"]).public_key()
        for each in (token, fact["token"]):
            jwt.decode(each, public_key, algorithms=["RS256"], options={"verify_exp": False})

    def test_words_that_are_too_long_are_refused(self) -> None:
        """Nothing is cut off."""
        with self.assertRaises(PermanentFailure) as caught:
            dialect().requests(outgoing(body="x" * 2001, media=(attachment("image/png"),)))

        self.assertEqual(caught.exception.reason, "too-long")


class AnswerTests(SynchronousTestCase):
    """Verdicts."""

    def parts(self, *messages: Mapping[str, str]) -> Verdict:
        """Judge an answer of the SMS API."""
        body = json.dumps({"message-count": str(len(messages)), "messages": messages})
        return dialect().answered(outgoing(), 0, Response(status=200, body=body.encode()))

    def problem(self, status: int, code: str = "", **headers: str) -> Verdict:
        """Judge an error of the Messages API."""
        body = {
            "type": f"https://developer.vonage.com/api-errors/messages#{code}",
            "title": "A title",
            "detail": "A detail.",
            "instance": "1",
        }
        response = Response(
            status=status,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=json.dumps(body).encode(),
        )
        return dialect().answered(outgoing(media=(attachment("image/png"),)), 0, response)

    def test_all_parts_taken_is_sent(self) -> None:
        """The text has the id of its first part."""
        verdict = self.parts(
            {"to": "12025550123", "message-id": "0A01", "status": "0"},
            {"to": "12025550123", "message-id": "0A02", "status": "0"},
        )

        self.assertEqual(verdict.outcome, Sent("0A01"))

    def test_some_parts_taken_is_not_sent_again(self) -> None:
        """Part of the text has gone out; whoever sent it is told how much."""
        for messages in (
            ({"message-id": "0A01", "status": "0"}, {"status": "1", "error-text": "Throttled"}),
            ({"status": "1", "error-text": "Throttled"}, {"message-id": "0A01", "status": "0"}),
        ):
            verdict = self.parts(*messages)

            assert isinstance(verdict.outcome, UnknownOutcome), verdict
            self.assertIn("1 of 2 parts", str(verdict.outcome))
            self.assertEqual(verdict.outcome.detail, "status 1 Throttled")

    def test_statuses_mean_what_the_documentation_says(self) -> None:
        """Success of HTTP says nothing; the code is in what is kept."""
        for status, said, kind, reason, rests in (
            ("1", "", TemporaryFailure, "throttled", "gateway"),
            ("2", "Missing text", PermanentFailure, "rejected", ""),
            ("3", "Invalid value for parameter: to", PermanentFailure, "invalid-number", ""),
            ("3", "Invalid value for parameter: ttl", PermanentFailure, "rejected", ""),
            ("4", "", PermanentFailure, "credentials", "gateway"),
            ("5", "", UnknownOutcome, "outcome-unknown", ""),
            ("6", "", PermanentFailure, "unroutable", ""),
            ("7", "", PermanentFailure, "blocked", ""),
            ("8", "", PermanentFailure, "not-permitted", "gateway"),
            ("9", "", PermanentFailure, "no-credit", "gateway"),
            ("10", "", TemporaryFailure, "throttled", "gateway"),
            ("11", "", PermanentFailure, "not-permitted", "gateway"),
            ("12", "", PermanentFailure, "too-long", ""),
            ("14", "", PermanentFailure, "credentials", "gateway"),
            ("15", "", PermanentFailure, "not-permitted", "line"),
            ("22", "", PermanentFailure, "rejected", ""),
            ("23", "", PermanentFailure, "rejected", ""),
            ("29", "", PermanentFailure, "destination-not-allowed", ""),
            ("32", "", PermanentFailure, "credentials", "gateway"),
            ("33", "", PermanentFailure, "unknown-subscriber", ""),
            ("77", "", PermanentFailure, "rejected", ""),
        ):
            verdict = self.parts({"status": status, "error-text": said})

            outcome: Any = verdict.outcome
            self.assertIsInstance(outcome, kind, status)
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), status)
            self.assertIn(f"status {status}", outcome.detail)
        self.assertIsInstance(self.parts({"error-text": "?"}).outcome, UnknownOutcome)
        self.assertIsInstance(self.parts({"status": "0"}).outcome, UnknownOutcome)

    def test_pause_stands_in_the_words(self) -> None:
        """Milliseconds in brackets."""
        verdict = self.parts(
            {
                "status": "1",
                "error-text": "Throughput Rate Exceeded - please wait [ 250 ] and retry",
            }
        )

        self.assertEqual(verdict.rest_s, 0.25)

    def test_mms_has_one_id(self) -> None:
        """The Messages API answers 202."""
        body = b'{"message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"}'

        verdict = dialect().answered(
            outgoing(media=(attachment("image/png"),)), 0, Response(status=202, body=body)
        )

        self.assertEqual(verdict.outcome, Sent("aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab"))

    def test_problems_mean_what_the_documentation_says(self) -> None:
        """The code is behind the address of the kind of problem."""
        for status, code, kind, reason, rests in (
            (401, "", PermanentFailure, "credentials", "gateway"),
            (402, "1070", PermanentFailure, "no-credit", "gateway"),
            (403, "", PermanentFailure, "not-permitted", "gateway"),
            (403, "1120", PermanentFailure, "not-permitted", "line"),
            (422, "1020", PermanentFailure, "rejected", ""),
            (422, "1050", PermanentFailure, "blocked", ""),
            (422, "1060", PermanentFailure, "not-permitted", "gateway"),
            (422, "1160", PermanentFailure, "destination-not-allowed", ""),
            (422, "1170", PermanentFailure, "invalid-number", ""),
            (422, "1100", TemporaryFailure, "peer-down", "gateway"),
            (422, "9999", PermanentFailure, "rejected", ""),
            (429, "1000", TemporaryFailure, "throttled", "gateway"),
            (500, "1030", UnknownOutcome, "outcome-unknown", ""),
            (503, "", UnknownOutcome, "outcome-unknown", ""),
            (303, "", UnknownOutcome, "outcome-unknown", ""),
        ):
            verdict = self.problem(status, code)

            outcome: Any = verdict.outcome
            self.assertIsInstance(outcome, kind, (status, code))
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), (status, code))
            self.assertIn(f"status {status} {code}".strip(), outcome.detail)
        self.assertEqual(self.problem(429, retry_after="3").rest_s, 3)


class SignatureTests(SynchronousTestCase):
    """Webhooks of the SMS API."""

    def test_what_the_providers_own_packages_sign_is_taken(self) -> None:
        """All five methods, each way of calling, either case of the digits."""
        methods = dict(NEXMO["signatures"])
        for method, signatures in VONAGE["signatures"].items():
            self.assertEqual(methods[method], signatures)
        for method, signatures in methods.items():
            account = dialect(signature_secret=SECRET, signature_method=method)
            for values, signed in zip(NEXMO["calls"], signatures, strict=True):
                for transport in ("get", "form", "json"):
                    for sig in (signed, signed.upper()):
                        hook = called({**values, "sig": sig}, transport)
                        self.assertTrue(account.authentic(hook), (method, transport))
                        (event,) = account.events(hook)
                        self.assertEqual(getattr(event, "remote_id", ""), values["messageId"])

    def signed(self, method: str = "md5hash") -> dict[str, str]:
        """Return the values of a call that Vonage's package signed."""
        return {**NEXMO["calls"][0], "sig": NEXMO["signatures"][method][0]}

    def test_anything_else_is_not(self) -> None:
        """Another method, secret or value, no signature, and values besides the signed ones."""
        account = dialect(signature_secret=SECRET)
        good = self.signed()
        self.assertTrue(account.authentic(called(good)))

        unsigned = {name: value for name, value in good.items() if name != "sig"}
        for transport in ("get", "form", "json"):
            for values in (
                self.signed("md5"),
                unsigned,
                {**good, "sig": ""},
                {**good, "text": "another"},
                {**good, "concat": "true"},
                {name: value for name, value in good.items() if name != "timestamp"},
            ):
                self.assertFalse(account.authentic(called(values, transport)), transport)
        self.assertFalse(dialect(signature_secret="another").authentic(called(good)))

    def test_signature_is_good_for_five_minutes(self) -> None:
        """A call that was recorded is worth nothing later."""
        account = dialect(signature_secret=SECRET)
        hook = called(self.signed())
        for late_s, good in ((300, True), (301, False), (-300, True), (-301, False)):
            moved = evolve(hook, now_ms=NOW_MS + late_s * 1000)
            self.assertEqual(account.authentic(moved), good, late_s)

    def test_values_of_the_address_are_not_read_unless_signed(self) -> None:
        """What somebody puts in front of a recorded call changes nothing of it."""
        account = dialect(signature_secret=SECRET)
        for transport in ("get", "form", "json"):
            hook = called(self.signed(), transport, query="account=1&status=delivered&concat=true")

            self.assertTrue(account.authentic(hook), transport)
            (event,) = account.events(hook)
            assert isinstance(event, Received), event
            self.assertEqual(event.part, None)

    def test_call_that_tries_the_address_is_harmless(self) -> None:
        """Without values there is nothing to sign and nothing to take."""
        account = dialect(signature_secret=SECRET)
        for hook in (
            Hook(method="GET", url=HOOK),
            Hook(method="GET", url=HOOK, query="account=1"),
            Hook(method="POST", url=HOOK),
        ):
            self.assertTrue(account.authentic(hook))
            self.assertEqual(list(account.events(hook)), [])
            self.assertEqual((account.answer(hook).status, account.answer(hook).body), (200, b""))


class TokenTests(SynchronousTestCase):
    """Webhooks of the Messages API."""

    def setUp(self) -> None:
        """Take the call whose token Vonage's package takes for genuine."""
        self.dialect = dialect(signature_secret=SECRET)
        self.hook = Hook(
            method="POST",
            url=HOOK,
            headers={"authorization": f"Bearer {VONAGE['webhook']['token']}"},
            body=VONAGE["webhook"]["body"].encode(),
            now_ms=NOW_MS,
        )

    def token(self, secret: str = SECRET, algorithm: str = "HS256", **changes: Any) -> Hook:
        """Return the call with another token; None leaves a claim out."""
        claims = {
            "iat": NOW_MS // 1000,
            "payload_hash": hashlib.sha256(self.hook.body).hexdigest(),
            **changes,
        }
        kept = {name: value for name, value in claims.items() if value is not None}
        token = jwt.encode(kept, secret or None, algorithm=algorithm)
        return evolve(self.hook, headers={"authorization": f"Bearer {token}"})

    def test_what_the_providers_own_package_takes_is_taken(self) -> None:
        """The call is genuine, and its attachment is read."""
        self.assertTrue(self.dialect.authentic(self.hook))
        (event,) = self.dialect.events(self.hook)

        self.assertEqual(
            event,
            Received(
                remote_id="aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
                ours=OURS,
                sender=ALICE,
                body="look é",
                media=(RemoteMedia(url="https://api-us.nexmo.com/v3/media/0001", name="a.jpg"),),
                sent_at_ms=NOW_MS,
            ),
        )

    def test_anything_else_is_not(self) -> None:
        """A token for another body, of another secret or time, or that needs no secret."""
        self.assertTrue(self.dialect.authentic(self.token()))
        for forged in (
            evolve(self.hook, body=self.hook.body + b" "),
            evolve(self.hook, headers={}),
            evolve(self.hook, headers={"authorization": "Bearer a.b.c"}),
            evolve(self.hook, headers={"authorization": "Bearer ü"}),
            self.token(secret="another secret that is just as long as it"),
            self.token(secret="", algorithm="none"),
            self.token(payload_hash=None),
            self.token(payload_hash=""),
            self.token(iat=None),
            self.token(iat=True),
            self.token(iat=NOW_MS // 1000 - 301),
            self.token(iat=NOW_MS // 1000 + 301),
        ):
            self.assertFalse(self.dialect.authentic(forged), forged)

    def test_values_of_the_address_are_not_covered(self) -> None:
        """A token says nothing about the address, so nothing there is read."""
        body = b""
        token = self.token(payload_hash=hashlib.sha256(body).hexdigest())
        hook = evolve(token, body=body, query=urlencode(NEXMO["calls"][0]))

        self.assertTrue(self.dialect.authentic(hook))
        self.assertEqual(list(self.dialect.events(hook)), [])


#: A received text, in the documentation's shape.
RECEIVED = {
    "api-key": "abcd1234",
    "msisdn": "12025550123",
    "to": "12025550100",
    "messageId": "0A0000000123ABCD1",
    "text": " Hello ",
    "type": "text",
    "keyword": "HELLO",
    "message-timestamp": "2026-01-01 12:00:00",
}

RECEIPT = {
    "api-key": "abcd1234",
    "msisdn": "12025550123",
    "to": "12025550100",
    "messageId": "0A0000001234567B",
    "status": "delivered",
    "err-code": "0",
    "client-ref": REFERENCE,
}


class ReceivedTests(SynchronousTestCase):
    """Texts that reached us through the SMS API."""

    def event(self, values: Mapping[str, Any], transport: str = "form") -> Event:
        """Read a call of an account that signs nothing."""
        (event,) = dialect().events(called(values, transport))
        return event

    def test_text_is_read_whole_each_way(self) -> None:
        """By GET, as a form and as JSON."""
        for transport in ("get", "form", "json"):
            self.assertEqual(
                self.event(RECEIVED, transport),
                Received(
                    remote_id="0A0000000123ABCD1",
                    ours=OURS,
                    sender=ALICE,
                    body=" Hello ",
                    sent_at_ms=NOW_MS,
                ),
            )

    def test_parts_of_a_longer_text_say_so(self) -> None:
        """Each comes by itself; what cannot be joined comes as a text of its own."""
        concat = {
            "concat": "true",
            "concat-ref": "17",
            "concat-part": "2",
            "concat-total": "3",
        }
        event = self.event({**RECEIVED, **concat})
        assert isinstance(event, Received)
        self.assertEqual(event.part, Part(reference="17", number=2, total=3))

        for broken in (
            {"concat": "false"},
            {"concat-ref": ""},
            {"concat-part": "0"},
            {"concat-part": "4"},
            {"concat-part": "two"},
            {"concat-total": "256"},
        ):
            event = self.event({**RECEIVED, **concat, **broken})
            assert isinstance(event, Received)
            self.assertEqual(event.part, None, broken)

    def test_values_of_json_may_have_their_types(self) -> None:
        """Numbers and booleans are as good as texts."""
        event = self.event(
            {
                **RECEIVED,
                "msisdn": 12025550123,
                "concat": True,
                "concat-ref": 17,
                "concat-part": 1,
                "concat-total": 2,
            },
            "json",
        )

        assert isinstance(event, Received)
        self.assertEqual(event.sender, ALICE)
        self.assertEqual(event.part, Part(reference="17", number=1, total=2))

    def test_binary_message_is_ignored(self) -> None:
        """It is for a machine."""
        values = {**RECEIVED, "type": "binary", "data": "0011", "udh": "0605"}
        del values["text"]

        self.assertEqual(self.event(values), Ignored(why="the binary message 0A0000000123ABCD1"))

    def test_text_without_its_id_is_malformed(self) -> None:
        """What cannot be told from others is not taken."""
        for values in ({**RECEIVED, "messageId": ""}, {**RECEIVED, "to": ""}):
            with self.assertRaises(Malformed):
                self.event(values)
        with self.assertRaises(Malformed):
            dialect().events(Hook(method="POST", url=HOOK, body=b"[1]"))

    def test_senders_in_every_form(self) -> None:
        """Numbers get their plus; short codes, names and nothing stay."""
        for given, sender in (
            ("447700900001", "+447700900001"),
            ("376312345", "+376312345"),
            ("72975", "72975"),
            ("Vonage 1", "Vonage 1"),
            ("", ""),
        ):
            event = self.event({**RECEIVED, "msisdn": given})
            assert isinstance(event, Received)
            self.assertEqual(event.sender, sender)


class ReceiptTests(SynchronousTestCase):
    """What became of texts."""

    def event(self, values: Mapping[str, Any]) -> Event:
        """Read a call of an account that signs nothing."""
        (event,) = dialect().events(evolve(called(values), path="status"))
        return event

    def test_parties_are_the_other_way_round(self) -> None:
        """In a receipt ``msisdn`` is the recipient and ``to`` is ours."""
        self.assertEqual(
            self.event(RECEIPT),
            StatusUpdate(
                remote_id="0A0000001234567B",
                status=Status.DELIVERED,
                delivery_id=REFERENCE,
                ours=OURS,
                recipient=ALICE,
            ),
        )

    def test_reference_of_another_program_is_not_ours(self) -> None:
        """The account may be used by others."""
        event = self.event({**RECEIPT, "client-ref": "Order 17"})

        assert isinstance(event, StatusUpdate)
        self.assertEqual(event.delivery_id, "")

    def test_words_become_our_statuses(self) -> None:
        """With the code of a failure, in words."""
        for word, code, status, reason in (
            ("accepted", "0", Status.SENT, ""),
            ("buffered", "0", Status.SENT, ""),
            ("unknown", "1", Status.SENT, ""),
            ("delivered", "0", Status.DELIVERED, ""),
            ("expired", "1", Status.EXPIRED, "expired"),
            ("failed", "2", Status.FAILED, "unreachable"),
            ("failed", "3", Status.FAILED, "unknown-subscriber"),
            ("rejected", "6", Status.FAILED, "filtered"),
            ("rejected", "9", Status.FAILED, "opted-out"),
            ("rejected", "14", Status.FAILED, "blocked"),
            ("failed", "99", Status.FAILED, "network"),
            ("failed", "1234", Status.FAILED, "network"),
        ):
            event = self.event({**RECEIPT, "status": word, "err-code": code})

            assert isinstance(event, StatusUpdate)
            self.assertEqual((event.status, event.reason), (status, reason), (word, code))
            if reason:
                self.assertIn(f"err-code {code}", event.text)
        self.assertEqual(
            self.event({**RECEIPT, "status": "lost"}),
            Ignored(why="a receipt 'lost' of 0A0000001234567B"),
        )


class MessageTests(SynchronousTestCase):
    """Events of the Messages API, of an account that signs nothing."""

    def event(self, **values: Any) -> Event:
        """Read a call."""
        message = {
            "message_uuid": "aaaaaaaa-bbbb-4ccc-8ddd-0123456789ab",
            "to": "12025550100",
            "from": "12025550123",
            "timestamp": "2026-01-01T12:00:00Z",
            **values,
        }
        (event,) = dialect().events(called(message, "json"))
        return event

    def test_text_of_an_account_that_is_switched_over(self) -> None:
        """SMS come through it as well, in one piece; version 0.1 has objects for numbers."""
        for changes in (
            {},
            {
                "from": {"type": "sms", "number": "12025550123"},
                "to": {"type": "sms", "number": "12025550100"},
            },
        ):
            event = self.event(channel="sms", message_type="text", text=" hi ", **changes)

            assert isinstance(event, Received)
            self.assertEqual((event.ours, event.sender, event.body), (OURS, ALICE, " hi "))

    def test_words_below_a_file_that_is_nowhere_are_kept(self) -> None:
        """What somebody wrote arrives, whatever became of the file."""
        event = self.event(
            channel="mms", message_type="image", image={"url": "", "caption": "look"}
        )

        assert isinstance(event, Received)
        self.assertEqual((event.body, event.media), ("look", ()))

    def test_all_attachments_and_all_words_are_read_once(self) -> None:
        """Whether the first stands in the list of the others or not."""
        first = {"url": "https://api-us.nexmo.com/v3/media/1", "caption": "one"}
        second = {"url": "https://api-us.nexmo.com/v3/media/2", "caption": "two"}
        for content in (
            [{"type": "video", **second}],
            [{"type": "image", **first}, {"type": "video", **second}],
            [{"type": "video", "video": second}],
        ):
            event = self.event(channel="mms", message_type="image", image=first, content=content)

            assert isinstance(event, Received)
            self.assertEqual([each.url for each in event.media], [first["url"], second["url"]])
            self.assertEqual(event.body, "one\ntwo")

    def test_other_channels_are_ignored(self) -> None:
        """A WhatsApp text to the same address is no text of a line."""
        self.assertEqual(
            self.event(channel="whatsapp", text="hi"),
            Ignored(why="a text through 'whatsapp'"),
        )

    def test_words_become_our_statuses(self) -> None:
        """With the code of a failure, wherever it stands."""
        for word, status in (
            ("submitted", Status.SENT),
            ("delivered", Status.DELIVERED),
            ("read", Status.DELIVERED),
        ):
            event = self.event(status=word, client_ref=REFERENCE)
            assert isinstance(event, StatusUpdate)
            self.assertEqual((event.status, event.delivery_id), (status, REFERENCE))
            self.assertEqual((event.ours, event.recipient), (ALICE, OURS))
        for error in (
            {"type": "https://developer.vonage.com/api-errors/messages#1190", "title": "Absent"},
            {"type": "https://developer.vonage.com/api-errors/messages", "title": "1190"},
        ):
            event = self.event(status="rejected", error=error)
            assert isinstance(event, StatusUpdate)
            self.assertEqual((event.status, event.reason), (Status.FAILED, "unknown-subscriber"))
            self.assertIn("1190", event.text)
        self.assertIsInstance(self.event(status="dreaming"), Ignored)


class NumbersTests(SynchronousTestCase):
    """The numbers of the account."""

    def test_features_and_webhook_are_told(self) -> None:
        """An operator sees what a number can do and where it calls."""
        numbers = [
            {
                "country": "US",
                "msisdn": "12025550100",
                "moHttpUrl": HOOK,
                "type": "mobile-lvn",
                "features": ["VOICE", "SMS"],
            },
            {"country": "US", "msisdn": "72975", "features": ["MMS", "SMS"]},
        ]
        body = json.dumps({"count": 2, "numbers": numbers}).encode()

        first, second = dialect().discovered([Response(status=200, body=body)])

        self.assertEqual((first.number, first.sms, first.mms), (OURS, True, False))
        self.assertEqual((first.description, first.hook), ("US mobile-lvn", HOOK))
        self.assertEqual((second.number, second.mms), ("72975", True))

    def test_account_without_numbers_has_none(self) -> None:
        """Vonage answers with an empty object."""
        self.assertEqual(list(dialect().discovered([Response(status=200, body=b"{}")])), [])


class ConfigurationTests(SynchronousTestCase):
    """What an operator writes."""

    def test_application_has_its_key(self) -> None:
        """One without the other, and a key that is none, stop the start with a sentence."""
        for keys, missing in (
            ({"application_id": "aaaa"}, "private_key"),
            ({"private_key": "x"}, "application_id"),
            ({"application_id": "aaaa", "private_key": "x"}, "private_key"),
        ):
            with self.assertRaises(ConfigError) as caught:
                gateway(**keys)
            self.assertEqual(caught.exception.key, missing)

    def test_key_on_one_line_is_read(self) -> None:
        """Some write the ends of lines as they stand in JSON."""
        fact = VONAGE["application"]

        gateway(application_id=fact["id"], private_key=fact["private_key"].replace("\n", "\\n"))

    def test_secrets_are_not_shown(self) -> None:
        """A section can be printed."""
        fact = VONAGE["application"]
        section = gateway(
            signature_secret="not-shown-either",
            application_id=fact["id"],
            private_key=fact["private_key"],
        )

        for secret in ("not-a-secret", "not-shown-either", "PRIVATE KEY"):
            self.assertNotIn(secret, repr(section))

    def test_signs_where_there_is_a_secret(self) -> None:
        """Without the signature secret nothing can be checked."""
        self.assertTrue(dialect(signature_secret=SECRET).signs)
        self.assertFalse(dialect().signs)
