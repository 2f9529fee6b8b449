"""VoIP.ms's wire, as its documentation and its clients know it."""

from __future__ import annotations

import json
from typing import Any
from urllib.parse import parse_qs, parse_qsl

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Sent
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.voipms.config import VoipmsGateway, VoipmsLine
from smsbridge.gateways.voipms.mirror import MIRROR
from smsbridge.gateways.voipms.payload import VoipmsDialect
from smsbridge.keys import ConfigError, declared
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
from smsbridge.provider.simulator.mirror import (
    AskedDids,
    AskedList,
    Call,
    DoubleMedia,
    DoubleText,
    Wrong,
)

NOW_MS = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC, 07:00 in New York
DAY_MS = 86_400_000


def config(**changes: str) -> VoipmsGateway:
    """Return a section."""
    values: dict[str, Any] = {
        "api_username": "ops@example.com",
        "api_password": "not-a-secret",
        **changes,
    }
    return VoipmsGateway(**values)


def line(**changes: Any) -> VoipmsLine:
    """Return a line."""
    return VoipmsLine(label="main", gateway="work", number="+12025550100", **changes)


def outgoing(body: str = "See you at 8", **changes: Any) -> Outgoing:
    """Return a text to send."""
    values: dict[str, Any] = {
        "delivery_id": "0198.1",
        "line": line(),
        "sender": "+12025550100",
        "recipients": ("+12025550123",),
        "body": body,
        **changes,
    }
    return Outgoing(**values)


def picture(number: int = 0, size: int | None = 1000) -> OutgoingMedia:
    """Return an attachment."""
    return OutgoingMedia(
        url=f"https://sms.example.org/media/{number}.jpg", content_type="image/jpeg", size=size
    )


def form(request: Request) -> dict[str, str]:
    """Return the fields of a request, without the credentials."""
    fields = dict(parse_qsl(request.body.decode("ascii"), keep_blank_values=True))
    for name in ("api_username", "api_password", "content_type"):
        del fields[name]
    return fields


def answered(found: Any, status: int = 200, **headers: str) -> Response:
    """Return an answer of VoIP.ms's."""
    body = found if isinstance(found, bytes) else json.dumps(found).encode()
    return Response(
        status=status,
        headers={name.replace("_", "-"): value for name, value in headers.items()},
        body=body,
    )


def row(number: object, **changes: Any) -> dict[str, Any]:
    """Return a row of a list."""
    return {
        "id": str(number),
        "date": "2026-01-01 12:00:00",
        "type": "0",
        "did": "2025550100",
        "contact": "2025550123",
        "message": "See you at 8",
        **changes,
    }


class SendingTests(SynchronousTestCase):
    """Texts as VoIP.ms wants them."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = VoipmsDialect(config())

    def forms(self, text: Outgoing) -> list[dict[str, str]]:
        """Return the fields of all requests of a text."""
        return [form(request) for request in self.dialect.requests(text)]

    def test_everything_is_a_post_to_the_bare_host(self) -> None:
        """The password stands neither in the address nor in what is shown of a request."""
        (request,) = self.dialect.requests(outgoing())

        self.assertEqual((request.method, request.url), ("POST", "https://voip.ms/api/v1/rest.php"))
        self.assertEqual(request.headers["Content-Type"], "application/x-www-form-urlencoded")
        fields = parse_qs(request.body.decode("ascii"))
        self.assertEqual(fields["api_username"], ["ops@example.com"])
        self.assertEqual(fields["api_password"], ["not-a-secret"])
        self.assertEqual(fields["content_type"], ["json"])
        self.assertNotIn("not-a-secret", repr(request))

    def test_numbers_have_ten_digits(self) -> None:
        """Neither the plus sign nor the country goes out."""
        self.assertEqual(
            self.forms(outgoing()),
            [
                {
                    "method": "sendSMS",
                    "did": "2025550100",
                    "dst": "2025550123",
                    "message": "See you at 8",
                }
            ],
        )
        self.assertEqual(self.forms(outgoing(recipients=("72975",)))[0]["dst"], "72975")

    def test_limit_counts_bytes(self) -> None:
        """160 characters with one accent are too long for an SMS and go as an MMS."""
        for body, method in (
            ("x" * 160, "sendSMS"),
            ("x" * 159 + "\u00e8", "sendMMS"),
            ("\U0001f600" * 40, "sendSMS"),
            ("\U0001f600" * 41, "sendMMS"),
            ("x" * 2048, "sendMMS"),
        ):
            (fields,) = self.forms(outgoing(body))
            self.assertEqual((fields["method"], fields["message"]), (method, body))
            self.assertNotIn("media1", fields)

    def test_long_text_is_split_where_the_line_says_so(self) -> None:
        """Several SMS of at most 160 bytes; joined they are the text."""
        body = "words and \u00e9mojis \U0001f44b\U0001f3fd " * 20
        forms = self.forms(outgoing(body, line=line(long_texts="split")))

        self.assertTrue(len(forms) > 3)
        self.assertEqual({each["method"] for each in forms}, {"sendSMS"})
        self.assertEqual("".join(each["message"] for each in forms), body)
        self.assertTrue(all(len(each["message"].encode()) <= 160 for each in forms))

    def test_attachments_are_addresses(self) -> None:
        """Up to three, with or without words; such a text is never split."""
        media = (picture(0), picture(1), picture(2))
        (fields,) = self.forms(outgoing("", media=media, line=line(long_texts="split")))

        self.assertEqual(fields["method"], "sendMMS")
        self.assertEqual(fields["message"], "")
        self.assertEqual(
            [fields[f"media{number}"] for number in (1, 2, 3)], [each.url for each in media]
        )

    def test_what_voipms_does_not_take_is_not_asked(self) -> None:
        """Too long, too large, too many, abroad and nothing at all are refused at once."""
        for text, reason in (
            (outgoing("x" * 2049), "too-long"),
            (outgoing("x", media=(picture(size=1_300_000),)), "too-large"),
            (outgoing("x", media=tuple(map(picture, range(4)))), "unsupported"),
            (outgoing(recipients=("+447700900123",)), "unroutable"),
            (outgoing(sender="+447700900123"), "unroutable"),
            (outgoing(recipients=("+12025550123", "+12025550124")), "unsupported"),
            (outgoing(" "), "empty"),
        ):
            with self.assertRaises(PermanentFailure) as caught:
                self.dialect.requests(text)
            self.assertEqual(caught.exception.reason, reason)

    def test_line_has_voipms_limits(self) -> None:
        """The core refuses or links what the provider does not carry."""
        self.assertEqual((line().most_media, line().longest_bytes), (3, 2048))
        self.assertIn("image/jpeg", line().media_types)
        with self.assertRaises(ConfigError):
            line(media_limit=3601 * 1024)


class AnswerTests(SynchronousTestCase):
    """What answers mean."""

    def judged(self, response: Response, now_ms: int = NOW_MS, **keys: str) -> Verdict:
        """Return the verdict on an answer."""
        return VoipmsDialect(config(**keys)).answered(outgoing(now_ms=now_ms), 0, response)

    def test_success_has_an_id_of_either_name_and_type(self) -> None:
        """Content types are not looked at, and ids come as numbers or texts."""
        for found, remote_id in (
            ({"status": "success", "sms": 23434}, "23434"),
            ({"status": "success", "mms": "23435"}, "23435"),
        ):
            response = answered(found, content_type="text/html")
            self.assertEqual(self.judged(response).outcome, Sent(remote_id))
        self.assertIsInstance(self.judged(answered({"status": "success"})).outcome, UnknownOutcome)

    def test_every_known_status_has_its_class(self) -> None:
        """What ends a text, what stops the line or the account, and what is tried again."""
        for status, reason, rests, alarm in (
            ("invalid_dst", "invalid-number", "", False),
            ("message_empty", "empty", "", False),
            ("sms_toolong", "too-long", "", False),
            ("exceeds_file_size", "too-large", "", False),
            ("sms_failed", "network", "", False),
            ("something_new", "rejected", "", False),
            ("invalid_credentials", "credentials", "gateway", True),
            ("api_not_enabled", "not-permitted", "gateway", True),
            ("ip_not_enabled", "not-permitted", "gateway", True),
            ("ip_not_authorized", "not-permitted", "gateway", True),
            ("non_sufficient_funds", "no-credit", "gateway", True),
            ("missing_method", "not-permitted", "gateway", True),
            ("invalid_did", "not-permitted", "line", True),
            ("sms_apply_regulations", "not-permitted", "line", True),
        ):
            verdict = self.judged(answered({"status": status}))
            outcome = verdict.outcome
            assert isinstance(outcome, PermanentFailure), status
            self.assertEqual((outcome.reason, outcome.detail), (reason, status))
            self.assertEqual((verdict.rests, verdict.alarm), (rests, alarm), status)
            if alarm or reason == "rejected":
                self.assertIn(status, outcome.text)

    def test_too_many_requests_and_maintenance_are_waited_for(self) -> None:
        """Nothing was taken, so that the same text goes again."""
        for status, reason in (
            ("api_limit_exceeded", "throttled"),
            ("method_maintenance", "peer-down"),
        ):
            verdict = self.judged(answered({"status": status}))
            assert isinstance(verdict.outcome, TemporaryFailure)
            self.assertEqual((verdict.outcome.reason, verdict.rests), (reason, "gateway"))

    def test_used_up_quota_waits_for_midnight_in_its_zone(self) -> None:
        """At seven in New York it is seventeen hours, in UTC at noon twelve."""
        limit = answered({"status": "limit_reached"})

        self.assertEqual(self.judged(limit).rest_s, 17 * 3600 + 60)
        self.assertEqual(self.judged(limit, quota_timezone="UTC").rest_s, 12 * 3600 + 60)

    def test_day_of_the_change_to_summer_time_is_shorter(self) -> None:
        """On 8 March 2026 New York's clocks go forward at two in the morning."""
        midnight_ms = 1_772_946_000_000  # 2026-03-08 00:00 there

        verdict = self.judged(answered({"status": "limit_reached"}), now_ms=midnight_ms)

        self.assertEqual(verdict.rest_s, 23 * 3600 + 60)

    def test_without_a_clock_the_answer_has_one(self) -> None:
        """Its own date is used; without it an hour passes."""
        dated = answered({"status": "limit_reached"}, date="Thu, 01 Jan 2026 12:00:00 GMT")

        self.assertEqual(self.judged(dated, now_ms=0).rest_s, 17 * 3600 + 60)
        undated = answered({"status": "limit_reached"}, date="yesterday")
        self.assertEqual(self.judged(undated, now_ms=0).rest_s, 3600)

    def test_what_stands_before_the_api_is_not_the_api(self) -> None:
        """A locked door is the operator's; a challenge took nothing."""
        page = b"<html>one moment</html>"
        for response, kind, alarm in (
            (answered(page, 303), UnknownOutcome, False),
            (answered(page, 403), PermanentFailure, True),
            (answered(page, 403, cf_mitigated="challenge"), TemporaryFailure, False),
            (answered(page, 429, retry_after="9"), TemporaryFailure, False),
            (answered(page, 413), PermanentFailure, False),
            (answered(page, 200), UnknownOutcome, False),
            (answered(page, 502), UnknownOutcome, False),
        ):
            verdict = self.judged(response)
            self.assertIsInstance(verdict.outcome, kind, response.status)
            self.assertEqual(verdict.alarm, alarm, response.status)

    def test_zone_that_nobody_knows_is_an_error_of_the_configuration(self) -> None:
        """The key's reader says what is wanted."""
        (zone,) = (each for each in declared(VoipmsGateway) if each.name == "quota_timezone")

        self.assertEqual(zone.convert(" America/Toronto "), "America/Toronto")
        for name in ("Mars/Olympus", "../../etc/passwd", ""):
            with self.assertRaises(ValueError):
                zone.convert(name)


class LookUpTests(SynchronousTestCase):
    """A text whose answer was lost."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = VoipmsDialect(config())

    def found(self, *rows: dict[str, Any], body: str = "See you at 8", known: Any = ()) -> Any:
        """Return what the look-up for a text of now tells of these rows."""
        response = answered({"status": "success", "sms": list(rows)})
        return self.dialect.looked_up(outgoing(body), NOW_MS, response, known)

    def test_asks_for_sent_texts_of_both_kinds(self) -> None:
        """One call lists SMS and MMS to one number; days are asked for generously."""
        request = self.dialect.look_up(outgoing(), NOW_MS)

        assert request is not None
        self.assertEqual(
            form(request),
            {
                "method": "getMMS",
                "type": "0",
                "all_messages": "1",
                "did": "2025550100",
                "contact": "2025550123",
                "limit": "200",
                "timezone": "0",
                "from": "2025-12-31",
                "to": "2026-01-08",
            },
        )

    def test_text_in_parts_is_not_looked_for(self) -> None:
        """Nobody can tell which of its parts went out."""
        text = outgoing("x" * 161, line=line(long_texts="split"))

        self.assertIs(self.dialect.look_up(text, NOW_MS), None)

    def test_our_text_since_then_is_it(self) -> None:
        """Other texts, older ones, received ones and known ones are not."""
        self.assertEqual(self.found(row(1)), "1")
        self.assertEqual(self.found(row(1, message=" See you at 8")), "1")
        self.assertIs(self.found(row(1), known={"1"}), NOTHING_THERE)
        self.assertIs(self.found(row(1, message="another text")), NOTHING_THERE)
        self.assertIs(self.found(row(1, type=1)), NOTHING_THERE)
        self.assertIs(self.found(row(1, contact="2025550199")), NOTHING_THERE)
        self.assertIs(self.found(row(1, date="2025-12-31 23:50:00")), NOTHING_THERE)
        self.assertIs(self.found(), NOTHING_THERE)

    def test_empty_list_is_a_status(self) -> None:
        """VoIP.ms says that there are none; any other error says nothing."""
        for status, meaning in (("no_sms", NOTHING_THERE), ("no_mms", NOTHING_THERE)):
            response = answered({"status": status})
            self.assertIs(self.dialect.looked_up(outgoing(), NOW_MS, response, ()), meaning)
        for status in ("invalid_credentials", "api_limit_exceeded", "success"):
            response = answered({"status": status})
            self.assertIs(self.dialect.looked_up(outgoing(), NOW_MS, response, ()), UNSURE)

    def test_doubt_is_no_proof(self) -> None:
        """The other clock, a spoiled text and a full list leave it open, and nothing is resent."""
        for hour in ("04", "07"):  # in Los Angeles, in New York
            self.assertIs(self.found(row(1, date=f"2026-01-01 {hour}:00:00")), UNSURE)
        self.assertIs(self.found(row(1, date="soon")), UNSURE)
        self.assertIs(self.found(row(1, message="See+you+at+8")), UNSURE)
        self.assertIs(self.found(row(1, message="???"), body="\U0001f600"), UNSURE)
        many = [row(number, message=f"text {number}") for number in range(200)]
        self.assertIs(self.found(*many), UNSURE)


class WebhookTests(SynchronousTestCase):
    """Both webhooks."""

    def setUp(self) -> None:
        """Build both sides."""
        self.dialect = VoipmsDialect(config())

    def read(self, payload: Any, **event: Any) -> Any:
        """Return what is read of webhook A."""
        body = json.dumps({"data": {"payload": payload, **event}}).encode()
        (found,) = self.dialect.events(Hook(method="POST", url="", body=body, now_ms=NOW_MS))
        return found

    def payload(self, **changes: Any) -> dict[str, Any]:
        """Return what webhook A says of a text."""
        return {
            "id": "272377221",
            "type": "SMS",
            "from": {"phone_number": "2025550123"},
            "to": [{"phone_number": "2025550100"}],
            "text": "look",
            "media": [],
            **changes,
        }

    def called(self, query: str) -> Any:
        """Return what is read of webhook B."""
        (found,) = self.dialect.events(Hook(method="GET", url="", query=query, now_ms=NOW_MS))
        return found

    def test_numbers_come_in_both_dial_modes(self) -> None:
        """Ten digits, E.164 with and without the plus sign; short codes stay."""
        for shown, meant in (
            ("2025550123", "+12025550123"),
            ("12025550123", "+12025550123"),
            ("+12025550123", "+12025550123"),
            (2025550123, "+12025550123"),
            ("72975", "72975"),
        ):
            found = self.read(self.payload(**{"from": {"phone_number": shown}}))
            self.assertEqual(found.sender, meant)

    def test_attachments_are_objects_or_texts(self) -> None:
        """Presentation parts are dropped, VoIP.ms's own addresses lead where the base URL says."""
        media = [
            {"url": "https://files.example.net/a.jpg"},
            "https://voip.ms/media.php?map=TVRV",
            "https://files.example.net/x.smil",
            {"nothing": 1},
        ]
        found = self.read(self.payload(type="MMS", media=media))
        self.assertEqual(
            [(each.url, each.name) for each in found.media],
            [
                ("https://files.example.net/a.jpg", "a.jpg"),
                ("https://voip.ms/media.php?map=TVRV", ""),
            ],
        )
        self.dialect = VoipmsDialect(config(base_url="http://127.0.0.1:8090"))
        found = self.read(self.payload(type="MMS", media=media))
        self.assertEqual(found.media[1].url, "http://127.0.0.1:8090/media.php?map=TVRV")

    def test_mms_without_attachments_has_them_asked_for(self) -> None:
        """It may be a long text; the list of its attachments tells."""
        self.assertTrue(self.read(self.payload(type="MMS")).unlisted_media)
        self.assertTrue(self.read(self.payload(type="MMS", media="")).unlisted_media)
        self.assertFalse(self.read(self.payload()).unlisted_media)

    def test_group_text_is_one_for_all(self) -> None:
        """Several recipients make a group; it is answered like any other."""
        to = [{"phone_number": "2025550100"}, {"phone_number": "2025550124"}]

        found = self.read(self.payload(type="MMS", to=to, text="hi"))

        self.assertEqual(found.recipients, ("+12025550100", "+12025550124"))
        self.assertEqual(found.ours, "+12025550100")

    def test_other_events_are_none(self) -> None:
        """An event without a type is a text, one of another type is not."""
        self.assertIsInstance(self.read(self.payload()), Received)
        self.assertIsInstance(self.read(self.payload(), event_type="message.received"), Received)
        for event in ("message.sent", "message.finalized"):
            self.assertIsInstance(self.read(self.payload(), event_type=event), Ignored)
        self.assertIsInstance(self.read(self.payload(direction="outbound")), Ignored)

    def test_text_without_numbers_is_malformed(self) -> None:
        """It is answered all the same, so that it does not come for ever."""
        wrong: tuple[dict[str, Any], ...] = ({"from": {}}, {"to": []})
        for changes in wrong:
            with self.assertRaises(Malformed):
                self.read(self.payload(**changes))
        self.assertEqual(self.dialect.answer(Hook(method="POST", url="")).body, b"ok")

    def test_filled_in_address_is_read_with_either_separator(self) -> None:
        """Ampersands and semicolons; a semicolon in the text stays one."""
        for query in (
            "to=2025550100&from=2025550123&message=a%3Bb+c;d%26&id=7&media=",
            "to=2025550100;from=2025550123;message=a%3Bb+c;d%26;id=7;files={MEDIA}",
            "account=x&to=2025550100&from=2025550123&message=a%3Bb+c;d%26&id=7",
        ):
            found = self.called(query)
            self.assertEqual(
                (found.remote_id, found.ours, found.sender, found.body, found.media),
                ("7", "+12025550100", "+12025550123", "a;b c;d&", ()),
                query,
            )

    def test_plus_sign_that_nobody_encoded_is_put_back(self) -> None:
        """In a query it reads as a blank."""
        found = self.called("to=+12025550100&from=+12025550123&message=hi&id=7")

        self.assertEqual((found.ours, found.sender), ("+12025550100", "+12025550123"))

    def test_attachments_of_the_address_are_separated_by_commas(self) -> None:
        """A comma within an address does not end it."""
        found = self.called(
            "to=2025550100&from=2025550123&message=&id=7"
            "&media=https://a.example/1,2.jpg,https://a.example/3.jpg"
        )

        self.assertEqual(
            [each.url for each in found.media],
            ["https://a.example/1,2.jpg", "https://a.example/3.jpg"],
        )

    def test_without_an_id_the_time_tells_a_repeat(self) -> None:
        """And without a time nothing does, so that no text is lost."""
        query = "to=2025550100&from=2025550123&message=ok"

        ids = [self.called(f"{query}&timestamp={at}").remote_id for at in ("1", "1", "2")]
        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])
        later = Hook(method="GET", url="", query=query, now_ms=NOW_MS + 1)
        (second,) = self.dialect.events(later)
        assert isinstance(second, Received)
        self.assertNotEqual(self.called(query).remote_id, second.remote_id)

    def test_address_that_is_only_looked_at_is_no_text(self) -> None:
        """A GET without values, or with those of the operator, tells nothing."""
        for query in ("", "account=1", "x"):
            hook = Hook(method="GET", url="", query=query)
            self.assertEqual(list(self.dialect.events(hook)), [])

    def test_form_has_the_same_values(self) -> None:
        """Some set-ups post them."""
        body = b"to=2025550100&from=2025550123&message=hi+there&id=7"
        (found,) = self.dialect.events(Hook(method="POST", url="", body=body))

        assert isinstance(found, Received)
        self.assertEqual(found.body, "hi there")

    def test_double_fills_in_the_address_in_both_ways(self) -> None:
        """What the double calls is read as it was meant, and only ``ok`` is heard."""
        mirror = MIRROR(config())
        text = DoubleText(
            remote_id="7",
            outbound=False,
            sender="+12025550123",
            recipients=("+12025550100",),
            body="a;b & c \u00e9\n",
            media=(DoubleMedia(data=b"x"),),
        )
        for separator in "&;":
            request = mirror.called(text, "https://u:p@sms.example.org/hook/work?k=1", separator)
            self.assertIn("Authorization", request.headers)
            found = self.called(request.url.partition("?")[2])
            self.assertEqual((found.body, len(found.media)), (text.body, 1))
        for body, heard in ((b"ok", True), (b"OK", False), (b"ok\n", False), (b"", False)):
            self.assertEqual(mirror.is_heard(Response(status=200, body=body)), heard)


class AttachmentTests(SynchronousTestCase):
    """Attachments that have to be asked for."""

    def listed(self, found: Any, body: str = "look") -> list[str]:
        """Return the addresses that an answer has, asked for a text with this body."""
        dialect = VoipmsDialect(config())
        received = Received(
            remote_id="272377221", ours="+12025550100", sender="+12025550123", body=body
        )
        request = dialect.media_list(received)
        assert request is not None
        self.assertEqual(form(request)["id"], "272377221")
        response = evolve(answered(found), asked=request)
        return [each.url for each in dialect.media_listed(response)]

    def test_every_form_of_the_list_is_read(self) -> None:
        """A list, an object with numbered keys, columns, quotation marks and empty places."""
        urls = ["https://voip.ms/media.php?map=A=", "https://voip.ms/media.php?map=B="]
        for found in (
            {"media": urls},
            {"media": {"0": urls[0], "1": f"'{urls[1]}'", "2": ""}},
            {"media": "", "col_media1": urls[0], "col_media2": urls[1], "col_media3": None},
            {"media": [{"url": url} for url in urls], "col_media1": urls[0]},
        ):
            self.assertEqual(self.listed({"status": "success", **found}), urls)

    def test_none_may_be_right_for_a_text_with_words(self) -> None:
        """One without any must have something, which may be listed a minute later."""
        for found in ({"status": "success", "media": []}, {"status": "no_media"}):
            self.assertEqual(self.listed(found), [])
            with self.assertRaises(Malformed):
                self.listed(found, body="")
        with self.assertRaises(Malformed):
            self.listed({"status": "ip_not_enabled"})

    def test_made_id_cannot_be_asked_for(self) -> None:
        """VoIP.ms knows a text without an id by nothing."""
        received = Received(remote_id="made-1", ours="", sender="", body="")

        self.assertIs(VoipmsDialect(config()).media_list(received), None)


class ListTests(SynchronousTestCase):
    """The list of all texts, and of the numbers."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = VoipmsDialect(config())

    def page(self, request: Request, *rows: dict[str, Any]) -> Any:
        """Return what is read of a page."""
        found = {"status": "success", "sms": list(rows)} if rows else {"status": "no_sms"}
        return self.dialect.listed(line(), evolve(answered(found), asked=request))

    def test_days_before_the_limit_are_asked_for_in_pieces(self) -> None:
        """200 days are three questions of at most 92 days, each a day longer than needed."""
        request = self.dialect.listing(line(), NOW_MS - 200 * DAY_MS, NOW_MS)
        assert request is not None
        self.assertEqual((form(request)["type"], form(request)["all_messages"]), ("1", "1"))
        asked = []
        while request is not None:
            fields = form(request)
            asked.append((fields["from"], fields["to"]))
            MIRROR(config()).asked(_call(request), NOW_MS)
            request = self.page(request).more

        self.assertEqual(
            asked,
            [
                ("2025-10-04", "2026-01-02"),
                ("2025-07-06", "2025-10-04"),
                ("2025-06-14", "2025-07-06"),
            ],
        )

    def test_full_page_is_continued_from_its_oldest_day(self) -> None:
        """And a day with more texts than a page has is asked for with a larger one."""
        request = self.dialect.listing(line(), NOW_MS - 2 * DAY_MS, NOW_MS)
        assert request is not None
        rows = [row(number, date="2026-01-01 11:00:00") for number in range(200)]

        more = self.page(request, *rows).more
        self.assertEqual((form(more)["to"], form(more)["limit"]), ("2026-01-01", "200"))
        again = self.page(more, *rows).more
        self.assertEqual((form(again)["to"], form(again)["limit"]), ("2026-01-01", "800"))
        self.assertIs(self.page(again, *rows).more, None)

    def test_page_that_begins_with_the_oldest_loses_nothing(self) -> None:
        """Should VoIP.ms turn its order round, a larger page is asked for instead."""
        request = self.dialect.listing(line(), NOW_MS - 2 * DAY_MS, NOW_MS)
        assert request is not None
        rows = [row(number, date=f"2026-01-01 11:{number // 60:02d}:00") for number in range(200)]
        rows[0]["date"] = "2025-12-30 11:00:00"

        more = self.page(request, *rows).more

        self.assertEqual((form(more)["to"], form(more)["limit"]), ("2026-01-02", "800"))

    def test_rows_of_both_kinds_are_read(self) -> None:
        """Received ones become texts, sent ones statuses, damaged ones nothing."""
        request = self.dialect.listing(line(), NOW_MS, NOW_MS)
        assert request is not None
        page = self.page(
            request,
            row(1, type=1, message="hello+john"),
            row(2),
            row(3, type="1", message="", col_media1="https://voip.ms/media.php?map=A="),
            row(4, type="1", message=""),
            row("", type="1"),
        )

        text, status, mms, hidden, damaged = page.events
        self.assertEqual((text.remote_id, text.body), ("1", "hello+john"))
        self.assertEqual((text.ours, text.sender), ("+12025550100", "+12025550123"))
        self.assertEqual(text.sent_at_ms, NOW_MS)
        assert isinstance(status, StatusUpdate)
        self.assertEqual(len(mms.media), 1)
        self.assertTrue(hidden.unlisted_media)
        self.assertIsInstance(damaged, Ignored)

    def test_error_of_a_list_says_what_to_do(self) -> None:
        """The operator reads what is wrong with the account."""
        with self.assertRaises(Malformed) as caught:
            self.dialect.listed(line(), answered({"status": "ip_not_enabled"}))

        self.assertIn("address of this machine", str(caught.exception))

    def test_numbers_come_with_their_sub_accounts(self) -> None:
        """No password is told: neither a sub account's nor the one in a webhook's address."""
        dids = {
            "status": "success",
            "dids": [
                {
                    "did": 2025550100,
                    "description": "WASHINGTON, DC",
                    "sms_enabled": "1",
                    "mms_available": 1,
                    "webhook": "https://smsbridge:hunter2@sms.example.org/hook/work",
                },
                {"did": "2025550101", "sms_enabled": "0", "mms_available": "1"},
            ],
        }
        accounts = {
            "status": "success",
            "accounts": [
                {"account": "100000_bob", "callerid_number": "2025550100", "password": "hunter3"},
                {"account": "100000_eve", "callerid_number": ""},
            ],
        }

        found = self.dialect.discovered([answered(dids), answered(accounts)])

        self.assertEqual(
            [(each.number, each.sms, each.mms) for each in found],
            [("+12025550100", True, True), ("+12025550101", False, False)],
        )
        self.assertEqual(found[0].description, "WASHINGTON, DC; sub account 100000_bob")
        self.assertEqual(found[0].hook, "https://sms.example.org/hook/work")
        self.assertNotIn("hunter", repr(found))
        self.assertNotIn("hunter", repr(answered(accounts)))
        self.assertEqual(list(self.dialect.discovered([answered({"status": "no_did"})])), [])


class DoubleTests(SynchronousTestCase):
    """The double is as strict as VoIP.ms."""

    def refused(self, **fields: str) -> str:
        """Return the status with which the double refuses these fields."""
        request = VoipmsDialect(config())._ask(**fields)
        with self.assertRaises(Wrong) as caught:
            MIRROR(config()).asked(_call(request), NOW_MS)
        found = json.loads(caught.exception.response.body)
        return str(found["status"])

    def test_refuses_what_voipms_refuses(self) -> None:
        """Bytes, numbers and days are counted as the real one counts them."""
        ends = {"did": "2025550100", "dst": "2025550123"}
        for fields, status in (
            ({"method": "sendSMS", **ends, "message": "x" * 159 + "\u00e8"}, "sms_toolong"),
            ({"method": "sendMMS", **ends, "message": "x" * 2049}, "sms_toolong"),
            ({"method": "sendSMS", **ends, "message": ""}, "message_empty"),
            ({"method": "sendSMS", **ends, "dst": "+12025550123", "message": "x"}, "invalid_dst"),
            ({"method": "sendSMS", "dst": "2025550123", "message": "x"}, "missing_did"),
            ({"method": "getMMS", "from": "2025-01-01", "to": "2025-04-04"}, "invalid_daterange"),
            ({"method": "getMMS", "from": "yesterday"}, "invalid_date"),
            ({"method": "getMMS", "from": "2026-01-02", "to": "2026-01-01"}, "invalid_date_from"),
            ({"method": "getMMS", "type": "2"}, "invalid_type"),
            ({"method": "getMMS", "limit": "many"}, "invalid_limit"),
            ({"method": "sendSMS", **ends, "message": "x", "media1": "u"}, "invalid_sms"),
            ({"method": "makeCoffee"}, "invalid_method"),
            ({"method": ""}, "missing_method"),
        ):
            self.assertEqual(self.refused(**fields), status)

    def test_credentials_come_first(self) -> None:
        """Nothing is looked at before they are right."""
        for body, status in (
            (b"method=sendSMS", "missing_credentials"),
            (b"method=sendSMS&api_username=a&api_password=b", "invalid_credentials"),
            (b"\xff", "missing_method"),
        ):
            with self.assertRaises(Wrong) as caught:
                MIRROR(config()).asked(
                    Call(method="POST", path="/api/v1/rest.php", body=body), NOW_MS
                )
            self.assertEqual(json.loads(caught.exception.response.body), {"status": status})

    def test_empty_lists_are_statuses(self) -> None:
        """An account without texts or numbers has an error and no empty list."""
        mirror = MIRROR(config())
        for response, status in (
            (mirror.listed(AskedList(), [], False), "no_sms"),
            (mirror.dids(AskedDids(which="getDIDsInfo"), []), "no_did"),
            (mirror.media_list(None), "invalid_id"),
            (mirror.one(None), "invalid_method"),
        ):
            self.assertEqual(json.loads(response.body), {"status": status})


def _call(request: Request) -> Call:
    return Call(method=request.method, path="/api/v1/rest.php", body=request.body)
