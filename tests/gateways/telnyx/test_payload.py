"""Tests of Telnyx's dialect against what its documentation and its own package say."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.telnyx import FACTORY
from smsbridge.gateways.telnyx.config import TelnyxGateway, TelnyxLine
from smsbridge.gateways.telnyx.payload import TelnyxDialect
from smsbridge.keys import declared
from smsbridge.provider.dialect import (
    Hook,
    Ignored,
    Malformed,
    Outgoing,
    OutgoingMedia,
    Received,
    RemoteMedia,
    Response,
    StatusUpdate,
    Verdict,
)

FACTS = json.loads(Path(__file__).with_name("sdk_facts.json").read_text(encoding="utf-8"))
OURS = "+12025550100"
ALICE = "+12025550123"
BOB = "+12025550124"
CALLBACK = "https://sms.example.org/hook/work?delivery=0198c0de-0000-7000-8000-00000000abcd.1"
ID = "40385f64-5717-4562-b3fc-2c963f66afa6"


def dialect(**changes: Any) -> TelnyxDialect:
    """Build the dialect of an account."""
    return TelnyxDialect(TelnyxGateway(**{"api_key": "KEY-not-a-key", **changes}))


def outgoing(**changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": "0198c0de-0000-7000-8000-00000000abcd.1",
        "line": TelnyxLine(label="main", gateway="work", number=OURS),
        "sender": OURS,
        "recipients": (ALICE,),
        "body": "tomé 😀",
        "callback": CALLBACK,
    }
    return Outgoing(**{**values, **changes})


def pictures(*names: str) -> tuple[OutgoingMedia, ...]:
    """Return attachments."""
    return tuple(
        OutgoingMedia(url=f"https://sms.example.org/media/{name}.jpg", content_type="image/jpeg")
        for name in names
    )


def hook(event_type: str, payload: Any, **headers: str) -> Hook:
    """Return a webhook about an event."""
    event = {"data": {"event_type": event_type, "payload": payload}}
    return Hook(
        method="POST",
        url="https://sms.example.org/hook/work",
        headers=headers,
        body=json.dumps(event).encode(),
    )


class SendingTests(SynchronousTestCase):
    """Requests."""

    def test_asks_what_the_providers_own_package_asks(self) -> None:
        """SMS, MMS and group MMS are the requests that the package telnyx makes."""
        for name, text in (
            ("sms", outgoing()),
            ("mms", outgoing(body="look", media=pictures("a/p0"))),
            (
                "group",
                outgoing(body="all", recipients=(ALICE, BOB), media=pictures("a/p0", "b/p1")),
            ),
        ):
            (request,) = dialect().requests(text)

            fact = FACTS["requests"][name]
            self.assertEqual((request.method, request.url), (fact["method"], fact["url"]))
            self.assertEqual(request.headers["Authorization"], fact["authorization"])
            self.assertEqual(request.headers["Content-Type"], fact["content_type"])
            self.assertEqual(json.loads(request.body), fact["values"])

    def test_profile_is_named_where_one_is_set(self) -> None:
        """A sender with a name needs it; a group text knows no such thing."""
        profiled = dialect(messaging_profile_id="400174af")

        (single,) = profiled.requests(outgoing(sender="SMSBRIDGE"))
        (group,) = profiled.requests(outgoing(recipients=(ALICE, BOB)))

        self.assertEqual(json.loads(single.body)["messaging_profile_id"], "400174af")
        self.assertNotIn("messaging_profile_id", json.loads(group.body))

    def test_without_an_address_of_ours_the_profiles_webhook_is_used(self) -> None:
        """Nothing is said about webhooks where there is no public address."""
        (request,) = dialect().requests(outgoing(callback=""))

        self.assertEqual(
            set(json.loads(request.body)) & {"webhook_url", "use_profile_webhooks"}, set()
        )

    def test_too_many_in_a_group_and_nothing_at_all_are_refused(self) -> None:
        """The sender hears it before anything is asked."""
        many = tuple(f"+1202555{number:04d}" for number in range(100, 109))
        for text, reason in (
            (outgoing(recipients=many), "unsupported"),
            (outgoing(body=""), "empty"),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                dialect().requests(text)
            self.assertEqual(caught.exception.reason, reason)


class AnswerTests(SynchronousTestCase):
    """Verdicts."""

    def judged(self, status: int, body: Any, **headers: str) -> Verdict:
        """Judge an answer."""
        response = Response(
            status=status,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
            body=json.dumps(body).encode(),
        )
        return dialect().answered(outgoing(), 0, response)

    def error(self, status: int, code: str, pointer: str = "", **headers: str) -> Verdict:
        """Judge an error."""
        error: dict[str, Any] = {"code": code, "title": "A title", "detail": "A detail."}
        if pointer:
            error["source"] = {"pointer": pointer}
        return self.judged(status, {"errors": [error]}, **headers)

    def test_id_is_the_texts_own(self) -> None:
        """A text that is queued is sent, by the id that its webhooks will have."""
        verdict = self.judged(
            200, {"data": {"record_type": "message", "id": ID, "to": [{"status": "queued"}]}}
        )

        self.assertEqual(verdict.outcome, Sent(ID))

    def test_codes_mean_what_the_documentation_says(self) -> None:
        """Refused, misconfigured, throttled and unknown, with the code in what is kept."""
        for status, code, pointer, kind, reason, rests in (
            (400, "40300", "/to", PermanentFailure, "opted-out", ""),
            (400, "40310", "/to", PermanentFailure, "invalid-number", ""),
            (422, "10002", "/to", PermanentFailure, "invalid-number", ""),
            (422, "10016", "/from", PermanentFailure, "not-permitted", "line"),
            (422, "10004", "/text", PermanentFailure, "rejected", ""),
            (400, "10015", "", PermanentFailure, "rejected", ""),
            (400, "99999", "", PermanentFailure, "rejected", ""),
            (400, "40305", "/from", PermanentFailure, "not-permitted", "line"),
            (403, "10010", "", PermanentFailure, "not-permitted", "gateway"),
            (401, "10009", "", PermanentFailure, "credentials", "gateway"),
            (403, "10039", "", PermanentFailure, "destination-not-allowed", ""),
            (402, "20100", "", PermanentFailure, "no-credit", "gateway"),
            (429, "10011", "", TemporaryFailure, "throttled", "gateway"),
            (429, "40318", "", TemporaryFailure, "throttled", "line"),
            (500, "10007", "", UnknownOutcome, "outcome-unknown", ""),
            (400, "10008", "", UnknownOutcome, "outcome-unknown", ""),
            (408, "", "", UnknownOutcome, "outcome-unknown", ""),
            (503, "", "", UnknownOutcome, "outcome-unknown", ""),
            (303, "", "", UnknownOutcome, "outcome-unknown", ""),
        ):
            verdict = self.error(status, code, pointer)

            outcome: Any = verdict.outcome
            self.assertIsInstance(outcome, kind, (status, code))
            self.assertEqual((outcome.reason, verdict.rests), (reason, rests), (status, code))
            self.assertIn(code or "title", outcome.detail)

    def test_misconfigured_is_an_alarm_with_what_to_do(self) -> None:
        """The operator reads where to mend it."""
        verdict = self.error(401, "10009")

        self.assertTrue(verdict.alarm)
        self.assertIn("api_key", str(verdict.outcome))

    def test_pause_is_the_one_that_telnyx_names(self) -> None:
        """Retry-After first, then the header that tells when the limit is over."""
        for headers, seconds in (
            ({"x_ratelimit_reset": "7"}, 7),
            ({"retry_after": "2", "x_ratelimit_reset": "7"}, 2),
            ({}, None),
        ):
            verdict = self.error(429, "10011", **headers)
            self.assertEqual(verdict.rest_s, seconds)

    def test_refusal_without_a_reason_of_ours_quotes_telnyx(self) -> None:
        """What is not in our table is told in Telnyx's words."""
        verdict = self.error(422, "40399")

        self.assertEqual(str(verdict.outcome), "Telnyx refused the text: A detail.")


class SignatureTests(SynchronousTestCase):
    """Webhooks signed with Ed25519."""

    def setUp(self) -> None:
        """Take the webhooks that Telnyx's package takes for genuine."""
        facts = FACTS["webhooks"]
        self.dialect = dialect(public_key=facts["public_key"])
        self.hooks = [
            Hook(
                method="POST",
                url="",
                headers=call["headers"],
                body=call["body"].encode(),
                now_ms=int(call["headers"]["telnyx-timestamp"]) * 1000,
            )
            for call in facts["calls"]
        ]

    def test_what_the_providers_own_package_takes_is_taken(self) -> None:
        """Signatures over the bytes as they came, whatever is in them."""
        self.assertEqual([self.dialect.authentic(each) for each in self.hooks], [True, True])

    def test_anything_else_is_not(self) -> None:
        """Another body, time, key or none, and headers that are no such thing."""
        (call, other) = self.hooks
        for forged in (
            evolve(call, body=call.body + b" "),
            evolve(call, body=other.body),
            evolve(call, headers={**call.headers, "telnyx-timestamp": "1795286641"}),
            evolve(call, headers={**call.headers, "telnyx-timestamp": ""}),
            evolve(call, headers={**call.headers, "telnyx-timestamp": "١"}),
            evolve(call, headers={**call.headers, "telnyx-signature-ed25519": "%"}),
            evolve(call, headers={**call.headers, "telnyx-signature-ed25519": "ü"}),
            evolve(call, headers={}),
        ):
            self.assertFalse(self.dialect.authentic(forged), forged)
        stranger = "A" * 43 + "="
        self.assertFalse(dialect(public_key=stranger).authentic(call))
        self.assertFalse(dialect().authentic(call))

    def test_signature_is_good_for_five_minutes(self) -> None:
        """A call that was recorded is worth nothing later."""
        (call, _) = self.hooks
        for late_s, good in ((300, True), (301, False), (-300, True), (-301, False)):
            moved = evolve(call, now_ms=call.now_ms + late_s * 1000)
            self.assertEqual(self.dialect.authentic(moved), good, late_s)

    def test_signs_where_there_is_a_key(self) -> None:
        """Without the public key nothing can be checked."""
        self.assertTrue(self.dialect.signs)
        self.assertFalse(dialect().signs)


#: A received text, in the documentation's shape.
RECEIVED: dict[str, Any] = {
    "record_type": "message",
    "direction": "inbound",
    "id": "7ee4241c-0000-4000-8000-000000000001",
    "type": "SMS",
    "from": {"phone_number": ALICE, "carrier": "", "line_type": "Wireless"},
    "to": [{"phone_number": OURS, "status": "webhook_delivered"}],
    "cc": [],
    "text": " hello ",
    "media": [],
    "received_at": "2026-01-01T12:00:00.574+00:00",
    "errors": [],
}


class ReceivedTests(SynchronousTestCase):
    """Texts that reached us."""

    def received(self, **changes: Any) -> Received:
        """Read a text."""
        (event,) = dialect().events(hook("message.received", {**RECEIVED, **changes}))
        assert isinstance(event, Received), event
        return event

    def test_text_is_read_whole(self) -> None:
        """Numbers, words with their blanks, and the time."""
        self.assertEqual(
            self.received(),
            Received(
                remote_id=RECEIVED["id"],
                ours=OURS,
                sender=ALICE,
                body=" hello ",
                sent_at_ms=1_767_268_800_574,
            ),
        )

    def test_own_text_does_not_come_back(self) -> None:
        """What goes out is not taken for what came in, whatever the event is called."""
        (event,) = dialect().events(hook("message.received", {**RECEIVED, "direction": "outbound"}))

        self.assertIsInstance(event, Ignored)

    def test_pictures_have_their_hash(self) -> None:
        """What is fetched can be compared with what was announced."""
        event = self.received(
            type="MMS",
            media=[
                {
                    "url": "https://media.example.org/1",
                    "content_type": "image/jpeg",
                    "hash_sha256": "AB" * 32,
                    "size": 245760,
                },
                {"url": "https://media.example.org/2", "hash_sha256": "none", "size": "big"},
                {"content_type": "image/png"},
            ],
        )

        self.assertEqual(
            event.media,
            (
                RemoteMedia(
                    url="https://media.example.org/1",
                    content_type="image/jpeg",
                    sha256="ab" * 32,
                    size=245760,
                ),
                RemoteMedia(url="https://media.example.org/2"),
            ),
        )

    def test_group_has_everybody_but_the_sender(self) -> None:
        """Members are in both lists; ours is the one for which the webhook is, and first."""
        event = self.received(
            type="MMS",
            to=[
                {"phone_number": BOB, "status": "queued"},
                {"phone_number": OURS, "status": "webhook_delivered"},
            ],
            cc=[{"phone_number": ALICE}, {"phone_number": "+12025550125"}],
        )

        self.assertEqual(event.ours, OURS)
        self.assertEqual(event.recipients, (OURS, BOB, "+12025550125"))

    def test_words_that_telnyx_obeys_are_told(self) -> None:
        """What Telnyx says that it did counts; else the words that it obeys, alone."""
        for text, told, opt_out in (
            ("Stop", None, "stop"),
            (" stop all ", None, "stop"),
            ("UNSTOP", None, "start"),
            ("please stop", None, ""),
            ("help", None, ""),
            ("help", "HELP", "help"),
            ("arrêt", "STOP", "stop"),
        ):
            event = self.received(text=text, autoresponse_type=told)
            self.assertEqual(event.opt_out, opt_out, text)

    def test_other_channels_are_ignored(self) -> None:
        """A WhatsApp text to the same profile is no text of a line."""
        (event,) = dialect().events(
            hook("message.received", {**RECEIVED, "type": "WHATSAPP", "to": OURS})
        )

        self.assertEqual(event, Ignored(why="a text through 'WHATSAPP'"))

    def test_what_is_not_about_texts_is_ignored(self) -> None:
        """The same address may be told of anything."""
        (event,) = dialect().events(hook("10dlc.campaign.update", {}))

        self.assertEqual(event, Ignored(why="an event of type '10dlc.campaign.update'"))

    def test_text_without_its_id_is_malformed(self) -> None:
        """What cannot be told from others is not taken."""
        for payload in ({}, {**RECEIVED, "id": ""}, {**RECEIVED, "to": []}):
            with self.assertRaises(Malformed):
                dialect().events(hook("message.received", payload))
        for body in (b"", b"[]", b"{}", b'{"data": {"event_type": 7.5}}'[:-1]):
            with self.assertRaises(Malformed):
                dialect().events(Hook(method="POST", url="", body=body))


class StatusTests(SynchronousTestCase):
    """What became of texts."""

    def updates(self, event_type: str, to: Any, errors: Any = ()) -> list[Any]:
        """Read a status call."""
        payload = {
            "id": ID,
            "direction": "outbound",
            "from": {"phone_number": OURS},
            "to": to,
            "errors": list(errors),
        }
        return list(dialect().events(hook(event_type, payload)))

    def test_each_recipient_has_a_status(self) -> None:
        """A group text may reach one and not the other."""
        found = self.updates(
            "message.finalized",
            [
                {"phone_number": ALICE, "status": "delivered"},
                {"phone_number": BOB, "status": "delivery_failed"},
            ],
            [
                {
                    "code": "40001",
                    "title": "Not routable",
                    "detail": "A landline.",
                    "source": {"pointer": "/to/1/phone_number"},
                }
            ],
        )

        self.assertEqual(
            found,
            [
                StatusUpdate(
                    remote_id=ID,
                    status=Status.DELIVERED,
                    ours=OURS,
                    recipient=ALICE,
                ),
                StatusUpdate(
                    remote_id=ID,
                    status=Status.FAILED,
                    ours=OURS,
                    recipient=BOB,
                    reason="unroutable",
                    text="delivery_failed 40001 Not routable: A landline.",
                ),
            ],
        )

    def test_words_become_our_statuses(self) -> None:
        """An interim word, and one that is final without proof, leave a text sent."""
        for word, status in (
            ("queued", Status.SENT),
            ("sending", Status.SENT),
            ("sent", Status.SENT),
            ("delivery_unconfirmed", Status.SENT),
            ("delivered", Status.DELIVERED),
            ("sending_failed", Status.FAILED),
            ("delivery_failed", Status.FAILED),
            ("expired", Status.EXPIRED),
        ):
            (update,) = self.updates("message.sent", [{"phone_number": ALICE, "status": word}])
            self.assertEqual(update.status, status, word)
        (ignored,) = self.updates("message.sent", [{"phone_number": ALICE, "status": "new"}])
        self.assertIsInstance(ignored, Ignored)

    def test_recipient_who_opted_out_is_told(self) -> None:
        """The bridge remembers what Telnyx blocks."""
        (update,) = self.updates(
            "message.finalized",
            [{"phone_number": ALICE, "status": "sending_failed"}],
            [{"code": "40300", "title": "Blocked due to STOP message"}],
        )

        self.assertEqual((update.reason, update.opted_out), ("opted-out", True))


class NumbersTests(SynchronousTestCase):
    """The numbers of the account."""

    def test_features_and_profile_are_told(self) -> None:
        """An operator sees what a number can do and whether it has a profile."""
        body = {
            "data": [
                {
                    "phone_number": OURS,
                    "type": "longcode",
                    "messaging_profile_id": "4001",
                    "features": {"sms": {"domestic_two_way": True}, "mms": None},
                },
                {"phone_number": ""},
            ]
        }

        (found,) = dialect().discovered([Response(status=200, body=json.dumps(body).encode())])

        self.assertEqual((found.number, found.sms, found.mms), (OURS, True, False))
        self.assertEqual(found.description, "longcode, messaging profile 4001")

    def test_refusal_is_quoted(self) -> None:
        """The operator reads what Telnyx said."""
        body = json.dumps({"errors": [{"code": "10009", "title": "Authentication failed"}]})

        with self.assertRaises(Malformed) as caught:
            dialect().discovered([Response(status=401, body=body.encode())])

        self.assertEqual(
            str(caught.exception),
            "Telnyx answered with status 401: 10009 Authentication failed",
        )


class ConfigurationTests(SynchronousTestCase):
    """What an operator writes."""

    def test_public_key_is_checked_when_it_is_read(self) -> None:
        """A key that was cut while it was copied stops the start, with a sentence."""
        convert = {key.name: key.convert for key in declared(TelnyxGateway)}["public_key"]

        self.assertEqual(convert(""), "")
        self.assertEqual(convert(f" {'A' * 43}= "), "A" * 43 + "=")
        for text in ("A" * 43, "A" * 39 + "=", "nonsense", "ü"):
            with self.assertRaises(ValueError) as caught:
                convert(text)
            self.assertIn("Public Key", str(caught.exception))

    def test_secrets_are_not_shown(self) -> None:
        """A section can be printed."""
        section = TelnyxGateway(api_key="KEY-not-a-key")

        self.assertNotIn("KEY-not-a-key", repr(section))

    def test_factory_is_telnyx(self) -> None:
        """The folder is found by its name."""
        self.assertEqual((FACTORY.kind, FACTORY.title), ("telnyx", "Telnyx"))
