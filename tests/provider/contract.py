"""
What every provider's dialect must do, shown against its mirror: round trips without sockets.

A test case inherits the mixin before `SynchronousTestCase`, names the provider's ``FACTORY`` and
``MIRROR``, and says with a few class variables what the provider does not have. What the provider's
documentation says byte by byte belongs into tests of its own: two sides of one author can be wrong
together.
"""

from __future__ import annotations

import copy
import json
import os
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, ClassVar
from urllib.parse import parse_qsl, urlencode, urlsplit

from attrs import evolve
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from smsbridge.core.message import Sent, Status
from smsbridge.errors import REASONS, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.provider.dialect import (
    NOTHING_THERE,
    UNSURE,
    Answer,
    Event,
    Hook,
    Malformed,
    Outgoing,
    OutgoingMedia,
    Page,
    Received,
    Request,
    Response,
    StatusUpdate,
    Verdict,
)
from smsbridge.provider.simulator.mirror import (
    AskedDids,
    AskedList,
    AskedMedia,
    AskedMediaList,
    AskedOne,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Wrong,
)
from smsbridge.provider.simulator.texts import Texts, configured

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Mixin
else:
    # Not a test case by itself: trial would run it where it is imported.
    Mixin = object

BASE_URL = "http://127.0.0.1:8090"
OURS = "+12025550100"
OURS_TOO = "+12025550101"
THEIRS = "+12025550123"
THEIRS_TOO = "+12025550124"
NOW_MS = 1_767_268_800_000  # 2026-01-01 12:00:00 UTC
DAY_MS = 86_400_000
PNG = b"\x89PNG\r\n\x1a\n" + bytes(32)
EXAMPLES = 1_000 if os.environ.get("CI") == "true" else 300
many = settings(
    max_examples=EXAMPLES, deadline=None, suppress_health_check=list(HealthCheck), database=None
)

BODIES = ("See you at 8", " tom\u00e9 & co=5+5 \U0001f600\nsecond line ", "0")

_JSON = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: (
        st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3)
    ),
    max_leaves=6,
)
_RESPONSES = st.builds(
    Response,
    status=st.sampled_from([200, 201, 202, 204, 301, 400, 401, 403, 404, 422, 429, 500, 503])
    | st.integers(100, 999),
    headers=st.dictionaries(
        st.sampled_from(["retry-after", "content-type", "x-ratelimit-reset", "location"]),
        st.text(max_size=12) | st.sampled_from(["application/json", "1", "-1", "nan", "1e999"]),
        max_size=3,
    ),
    body=st.binary(max_size=64) | _JSON.map(lambda value: json.dumps(value).encode()),
)


def call_of(request: Request) -> Call:
    """Return a request as the double gets it."""
    parts = urlsplit(request.url)
    path = parts.path + (f"?{parts.query}" if parts.query else "")
    headers = {name.lower(): value for name, value in request.headers.items()}
    return Call(method=request.method, path=path, headers=headers, body=request.body)


def hook_of(request: Request, hook: str) -> Hook:
    """Return the call of a provider as the shared side gives it to a dialect."""
    parts = urlsplit(request.url)
    host = parts.netloc.rpartition("@")[2]
    query = f"?{parts.query}" if parts.query else ""
    behind = parts.path[len(urlsplit(hook).path) :].strip("/")
    return Hook(
        method=request.method,
        url=f"{parts.scheme}://{host}{parts.path}{query}",
        path=behind,
        query=parts.query,
        headers={name.lower(): value for name, value in request.headers.items()},
        body=request.body,
        now_ms=NOW_MS,
    )


class DialectContract(Mixin):
    """
    The contract of `Dialect` and `Mirror`.

    :cvar factory: ``FACTORY`` of the folder.
    :cvar mirror_class: ``MIRROR`` of the folder.
    :cvar hook: the address of the hook, with credentials where the provider has nothing better.
    :cvar credential: the key of the section that is wrong in the test with a wrong credential.
    :cvar section: keys besides the mirror's sample.
    :cvar lacks: faults that this provider does not tell in the answer to a send.
    :cvar too_large_is: the reasons that may be given for bad media.
    :cvar signs: whether its webhooks are signed.
    :cvar signs_url: whether the address is part of what is signed.
    :cvar can_look_up: whether a text whose answer was lost can be found.
    :cvar can_list: whether texts can be listed.
    :cvar can_discover: whether numbers can be listed.
    :cvar group_in: whether it tells all recipients of a received group text.
    """

    factory: ClassVar[Any]
    mirror_class: ClassVar[Any]
    hook: ClassVar[str] = "https://sms.example.org/hook/work"
    credential: ClassVar[str]
    section: ClassVar[dict[str, str]] = {}
    lacks: ClassVar[frozenset[Fault]] = frozenset()
    signs: ClassVar[bool] = True
    signs_url: ClassVar[bool] = True
    can_look_up: ClassVar[bool] = True
    can_list: ClassVar[bool] = True
    can_discover: ClassVar[bool] = True
    group_in: ClassVar[bool] = False

    # -- the two sides ---------------------------------------------------------------------------

    def setUp(self) -> None:
        """Build both sides of one account."""
        super().setUp()
        values = {**self.mirror_class.sample, **self.section, "base_url": BASE_URL}
        self.config = configured(self.factory.config_class, values)
        self.dialect = self.factory.dialect(self.config)
        self.mirror = self.mirror_class(self.config)
        self.line = self.factory.line_class(label="main", gateway="work", number=OURS)
        self.texts = Texts(self.mirror)

    def outgoing(self, body: str = "See you at 8", **changes: Any) -> Outgoing:
        """Return a text to send."""
        path = "/status" if self.dialect.status_path else ""
        values: dict[str, Any] = {
            "delivery_id": "0198c0de-0000-7000-8000-00000000abcd.1",
            "line": self.line,
            "sender": OURS,
            "recipients": (THEIRS,),
            "body": body,
            "callback": f"{self.hook}{path}?delivery=0198c0de-0000-7000-8000-00000000abcd.1",
            "now_ms": NOW_MS,
            **changes,
        }
        return Outgoing(**values)

    def picture(self, number: int = 0) -> OutgoingMedia:
        """Return an attachment that every provider carries."""
        return OutgoingMedia(
            url=f"https://sms.example.org/media/{number}a/p{number}.jpg",
            content_type="image/jpeg",
            size=1000,
            name=f"p{number}.jpg",
        )

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """Return the requests of a text."""
        requests: Sequence[Request] = self.dialect.requests(outgoing)
        self.assertTrue(requests)
        for request in requests:
            self.assertTrue(request.url.startswith(f"{BASE_URL}/"), request.url)
        return requests

    def calls(self, outgoing: Outgoing) -> list[Call]:
        """Return the requests of a text as the double gets them."""
        return [call_of(request) for request in self.requests(outgoing)]

    def exchange(self, outgoing: Outgoing) -> tuple[list[DoubleText], list[Verdict]]:
        """Send a text; returns what the double kept of it, and the verdicts."""
        kept: list[DoubleText] = []
        verdicts = []
        for step, request in enumerate(self.requests(outgoing)):
            asked = self.mirror.asked(call_of(request), NOW_MS)
            assert isinstance(asked, AskedSend), asked
            for text in asked.texts:
                self.texts.name(text, NOW_MS)
                self.texts.keep(text)
            kept.extend(asked.texts)
            response = evolve(self.mirror.taken(asked.texts), asked=request)
            verdicts.append(self.dialect.answered(outgoing, step, response))
        return kept, verdicts

    def arrived(self, body: str = "See you at 8", **changes: Any) -> DoubleText:
        """Return a text that reached our number, kept by the double."""
        values: dict[str, Any] = {
            "remote_id": "",
            "outbound": False,
            "sender": THEIRS,
            "recipients": (OURS,),
            "body": body,
            "mms": bool(changes.get("media")),
            **changes,
        }
        text = DoubleText(**values)
        self.texts.name(text, NOW_MS)
        self.texts.keep(text)
        return text

    def hooks(self, text: DoubleText) -> list[Hook]:
        """Return the webhooks about a text that arrived, as the dialect gets them."""
        return [hook_of(request, self.hook) for request in self.mirror.arrival(text, self.hook)]

    def received(self, text: DoubleText) -> Received:
        """Return what the dialect reads of the webhook about a text."""
        (hook,) = self.hooks(text)
        self.assert_authentic(hook)
        (event,) = self.dialect.events(hook)
        assert isinstance(event, Received), event
        return event

    def assert_authentic(self, hook: Hook) -> None:
        """Fail unless a call is taken for the provider's, and its answer is heard."""
        if self.dialect.signs:
            self.assertTrue(self.dialect.authentic(hook))
        answer: Answer = self.dialect.answer(hook)
        self.assertTrue(
            self.mirror.is_heard(
                Response(
                    status=answer.status,
                    headers={"content-type": answer.content_type},
                    body=answer.body,
                )
            ),
            answer,
        )

    # -- sending ---------------------------------------------------------------------------------

    def test_sms_is_taken_as_it_was_meant(self) -> None:
        """The provider gets sender, recipient and every character, and its id comes back."""
        for body in BODIES:
            outgoing = self.outgoing(body)

            kept, verdicts = self.exchange(outgoing)

            self.assertEqual("".join(text.body for text in kept), body)
            for text in kept:
                self.assertEqual((text.sender, text.recipients), (OURS, (THEIRS,)))
                self.assertEqual((text.outbound, text.media), (True, ()))
                self.assertIn(text.callback, ("", outgoing.callback))
                self.assertIn(text.reference, ("", outgoing.delivery_id))
            for verdict in verdicts:
                outcome = verdict.outcome
                assert isinstance(outcome, Sent), outcome
                self.assertIn(outcome.remote_id, [text.remote_id for text in kept])
                self.assertFalse(outcome.delivered)
                self.assertEqual((verdict.rests, verdict.alarm), ("", False))

    def test_mms_carries_its_media(self) -> None:
        """Attachments reach the provider as their addresses, with and without words."""
        for body, media in (
            ("look", (self.picture(),)),
            ("two", (self.picture(), self.picture(1))),
            ("", (self.picture(),)),
        ):
            kept, verdicts = self.exchange(self.outgoing(body, media=media))

            self.assertEqual(
                [medium.url for text in kept for medium in text.media],
                [medium.url for medium in media],
            )
            self.assertEqual("".join(text.body for text in kept), body)
            self.assertTrue(all(text.mms for text in kept))
            self.assertTrue(all(isinstance(each.outcome, Sent) for each in verdicts), verdicts)

    def test_group_text_is_one_request(self) -> None:
        """Where the provider has group texts, all recipients stand in one request."""
        if not self.line.carries_groups:
            return
        recipients = (THEIRS, THEIRS_TOO)

        kept, verdicts = self.exchange(self.outgoing(recipients=recipients))

        (text,) = kept
        self.assertEqual(text.recipients, recipients)
        self.assertTrue(all(isinstance(each.outcome, Sent) for each in verdicts), verdicts)

    # -- refusals --------------------------------------------------------------------------------

    def verdict(self, fault: Fault, outgoing: Outgoing | None = None) -> Verdict | None:
        """Return how a refusal is judged; None where the provider has no such thing."""
        if fault in self.lacks:
            return None
        asked = outgoing if outgoing is not None else self.outgoing()
        call = self.calls(asked)[0]
        verdict: Verdict = self.dialect.answered(asked, 0, self.mirror.refusal(fault, call))
        outcome = verdict.outcome
        self.assertNotIsInstance(outcome, Sent)
        detail = getattr(outcome, "detail", "")
        self.assertTrue(detail, f"{fault}: the provider's code is missing")
        return verdict

    def assert_refused(self, fault: Fault, *reasons: str, media: bool = False) -> None:
        """Fail unless a fault ends the text for one of these reasons and stops nothing else."""
        verdict = self.verdict(
            fault, self.outgoing("look", media=(self.picture(),)) if media else None
        )
        if verdict is not None:
            outcome = verdict.outcome
            assert isinstance(outcome, PermanentFailure), f"{fault}: {outcome!r}"
            self.assertIn(outcome.reason, reasons)
            self.assertEqual((verdict.rests, verdict.alarm), ("", False))

    def test_number_that_does_not_exist_is_refused(self) -> None:
        """The sender hears that the number is wrong."""
        self.assert_refused("bad-number", "invalid-number", "unknown-subscriber", "unroutable")

    def test_recipient_who_is_out_is_refused(self) -> None:
        """The refusal says so in a way that the bridge remembers."""
        self.assert_refused("opted-out", "opted-out")

    def test_text_that_is_too_long_is_refused(self) -> None:
        """It is not tried again."""
        self.assert_refused("too-long", "too-long")

    def test_bad_media_is_refused(self) -> None:
        """It is not tried again."""
        self.assert_refused(
            "bad-media",
            *("media-unsupported", "too-large", "bad-file", "file-gone", "rejected"),
            media=True,
        )

    def test_faults_of_the_account_are_told_and_what_waits_is_kept(self) -> None:
        """Sender not ours, wrong credentials, no money: an alarm, and the rest waits."""
        faults: tuple[Fault, ...] = ("not-ours", "credentials", "no-credit")
        for fault in faults:
            verdict = self.verdict(fault)
            if verdict is not None:
                assert isinstance(verdict.outcome, PermanentFailure), f"{fault}: {verdict}"
                self.assertTrue(verdict.alarm, fault)
                self.assertIn(verdict.rests, ("line", "gateway"))
                self.assertIn(
                    verdict.outcome.reason,
                    ("credentials", "no-credit", "not-permitted", "line-disabled", "rejected"),
                )

    def test_throttled_text_is_tried_again(self) -> None:
        """After the time that the provider tells, where it does."""
        verdict = self.verdict("throttled")
        if verdict is not None:
            outcome = verdict.outcome
            assert isinstance(outcome, TemporaryFailure), outcome
            self.assertEqual((outcome.reason, verdict.alarm), ("throttled", False))
            self.assertIn(verdict.rests, ("line", "gateway"))
            response = self.mirror.refusal("throttled", self.calls(self.outgoing())[0])
            if "retry-after" in response.headers:
                self.assertEqual(outcome.retry_after_s, 1)
                self.assertEqual(verdict.rest_s, 1)

    def test_used_up_quota_holds_everything(self) -> None:
        """Nothing is burned while the quota is used up."""
        verdict = self.verdict("quota")
        if verdict is not None:
            assert isinstance(verdict.outcome, TemporaryFailure), verdict
            self.assertEqual(verdict.rests, "gateway")
            self.assertTrue(verdict.rest_s)
            self.assertTrue(verdict.alarm)

    def test_trouble_of_the_provider_is_an_unknown_outcome(self) -> None:
        """A 500, a gateway's error page and a success that is no answer may all have been sent."""
        verdict = self.verdict("broken")
        assert verdict is not None
        self.assertIsInstance(verdict.outcome, UnknownOutcome)
        outgoing = self.outgoing()
        for status in (200, 202, 500, 502, 504):
            for body in (b"", b"<html>oops</html>", b"[]", b"{}", b"null", b'{"data":null}'):
                response = Response(status=status, body=body)
                found = self.dialect.answered(outgoing, 0, response)
                self.assertIsInstance(found.outcome, UnknownOutcome, f"{response} {found}")

    def test_wrong_credential_is_an_alarm(self) -> None:
        """The provider refuses what is asked with another secret, and the operator hears of it."""
        values = {
            **self.mirror_class.sample,
            **self.section,
            "base_url": BASE_URL,
            self.credential: "not-the-right-one",
        }
        wrong = self.factory.dialect(configured(self.factory.config_class, values))
        outgoing = self.outgoing()

        (request, *_) = wrong.requests(outgoing)
        with self.assertRaises(Wrong) as caught:
            self.mirror.asked(call_of(request), NOW_MS)

        verdict = wrong.answered(outgoing, 0, caught.exception.response)
        assert isinstance(verdict.outcome, PermanentFailure), verdict
        self.assertTrue(verdict.alarm)
        self.assertEqual(verdict.rests, "gateway")
        self.assertNotIn("not-the-right-one", repr(request))

    def test_unknown_request_is_answered(self) -> None:
        """The double refuses what the provider does not have, and does not fail."""
        for path in ("/", "/nothing/here", "/%ff?%zz"):
            for method in ("GET", "POST", "PUT"):
                with self.assertRaises(Wrong):
                    self.mirror.asked(Call(method=method, path=path, body=b"\xff{"), NOW_MS)

    # -- receiving -------------------------------------------------------------------------------

    def test_text_arrives_as_it_was_written(self) -> None:
        """Sender, our number and every character come through, blanks at the ends included."""
        for body in BODIES:
            text = self.arrived(body)

            event = self.received(text)

            self.assertEqual((event.ours, event.sender, event.body), (OURS, THEIRS, body))
            self.assertEqual(event.remote_id, text.remote_id)
            self.assertEqual((event.media, event.part), ((), None))
            self.assertIn(event.recipients, ((), (OURS,)))

    def test_senders_that_are_no_numbers_stay_as_they_are(self) -> None:
        """Short codes and names get no plus sign."""
        for sender in ("72975", "262966", "AMAZON", "Web.de 24"):
            self.assertEqual(self.received(self.arrived(sender=sender)).sender, sender)

    def test_repeat_has_the_same_id(self) -> None:
        """A webhook that comes again is known by its id, and another text has another one."""
        first, second = self.arrived(), self.arrived()

        ids = [self.received(text).remote_id for text in (first, first, second)]

        self.assertEqual(ids[0], ids[1])
        self.assertNotEqual(ids[0], ids[2])

    def test_pictures_arrive_and_can_be_fetched(self) -> None:
        """Each attachment has an address that the provider serves, with and without words."""
        for body in ("look", ""):
            media = (
                DoubleMedia(content_type="image/png", name="a.png", data=PNG),
                DoubleMedia(content_type="image/jpeg", name="b.jpg", data=b"\xff\xd8\xff"),
            )
            text = self.arrived(body, media=media)

            event = self.received(text)
            found = list(event.media)
            if event.unlisted_media:
                request = self.dialect.media_list(event)
                assert request is not None
                asked = self.mirror.asked(call_of(request), NOW_MS)
                self.assertEqual(asked, AskedMediaList(remote_id=text.remote_id))
                found = list(self.dialect.media_listed(self.mirror.media_list(text)))

            self.assertEqual(event.body, body)
            self.assertEqual(len(found), 2)
            for number, medium in enumerate(found):
                self.assertTrue(medium.url.startswith(f"{BASE_URL}/"), medium.url)
                self.assertEqual(
                    self.fetched(medium.url),
                    AskedMedia(remote_id=text.remote_id, number=number),
                )

    def fetched(self, url: str) -> Any:
        """Return what the double is asked for when a file is fetched as the dialect says."""
        tries = self.dialect.media_headers(url)
        self.assertTrue(tries)
        for number, headers in enumerate(tries):
            call = call_of(Request(url=url, headers=headers))
            try:
                return self.mirror.asked(call, NOW_MS)
            except Wrong as e:
                self.assertIn(e.response.status, (401, 403))
                if number == len(tries) - 1:
                    raise
        return None

    def test_credentials_go_to_the_provider_alone(self) -> None:
        """A file that is elsewhere is fetched without any."""
        for url in ("https://files.example.net/a.png", "http://127.0.0.1:9/a.png"):
            for headers in self.dialect.media_headers(url):
                self.assertEqual(dict(headers), {})

    def test_group_text_names_everybody(self) -> None:
        """All recipients of a group text are told, ours included."""
        if not self.group_in:
            return
        text = self.arrived(recipients=(OURS, THEIRS_TOO), mms=True)

        event = self.received(text)

        self.assertEqual((event.ours, event.sender), (OURS, THEIRS))
        self.assertEqual(set(event.recipients), {OURS, THEIRS_TOO})

    # -- what is not the provider's --------------------------------------------------------------

    def forged(self, hook: Hook) -> Iterator[tuple[str, Hook]]:
        """Yield calls that are nearly right; the body must have the word ``forgery`` in it."""
        if b"forgery" in hook.body:
            yield "a letter of the body", evolve(hook, body=hook.body.replace(b"forg", b"forj"))
        if "forgery" in hook.query:
            changed = hook.query.replace("forg", "forj")
            url = hook.url.replace(hook.query, changed)
            yield "a letter of the query", evolve(hook, query=changed, url=url)
        if self.signs_url:
            yield "the host", evolve(hook, url=hook.url.replace("sms.", "smt.", 1))
            yield "the path", evolve(hook, url=hook.url.replace("/hook/", "/hool/", 1))
        signed = [name for name in hook.headers if "signature" in name or name == "authorization"]
        if signed:
            without = {k: v for k, v in hook.headers.items() if k not in signed}
            yield "no signature", evolve(hook, headers=without)
            empty = {**hook.headers, **dict.fromkeys(signed, "")}
            yield "an empty signature", evolve(hook, headers=empty)
            bent = {**hook.headers, **{name: _bent(hook.headers[name]) for name in signed}}
            yield "a letter of the signature", evolve(hook, headers=bent)
        else:
            yield from self.forged_inside(hook)

    def forged_inside(self, hook: Hook) -> Iterator[tuple[str, Hook]]:
        """Yield calls with a changed and a missing ``sig`` among their values."""

        def without(values: dict[str, Any]) -> None:
            del values["sig"]

        def bent(values: dict[str, Any]) -> None:
            values["sig"] = _bent(str(values["sig"]))

        changes: tuple[Callable[[dict[str, Any]], None], ...] = (without, bent)
        for change in changes:
            if hook.body.startswith(b"{"):
                document = json.loads(hook.body)
                change(document)
                yield change.__name__, evolve(hook, body=json.dumps(document).encode())
            elif hook.body:
                values = dict(parse_qsl(hook.body.decode(), keep_blank_values=True))
                change(values)
                yield change.__name__, evolve(hook, body=urlencode(values).encode())
            else:
                values = dict(parse_qsl(hook.query, keep_blank_values=True))
                change(values)
                query = urlencode(values)
                url = hook.url.replace(hook.query, query)
                yield change.__name__, evolve(hook, query=query, url=url)

    def test_forged_calls_are_not_authentic(self) -> None:
        """One changed letter anywhere, or no signature, and it is not the provider's."""
        self.assertEqual(self.dialect.signs, self.signs)
        if not self.signs:
            return
        calls = self.hooks(self.arrived("a forgery"))
        if self.mirror.statuses:
            sent = self.exchange(self.outgoing("a forgery"))[0][0]
            calls += self.reports(sent, Status.DELIVERED)
        for hook in calls:
            self.assertTrue(self.dialect.authentic(hook))
            forged = list(self.forged(hook))
            self.assertGreaterEqual(len(forged), 2)
            for what, each in forged:
                self.assertFalse(self.dialect.authentic(each), what)

    def test_query_on_the_hook_is_signed_and_means_nothing(self) -> None:
        """An operator may append a query to the address; it changes nothing that is read."""
        text = self.arrived("with a query")
        address = f"{self.hook}?account=1&x=%2F"

        for request in self.mirror.arrival(text, address):
            hook = hook_of(request, self.hook)
            self.assertTrue(hook.query.startswith("account=1&x=%2F"), hook.query)
            self.assert_authentic(hook)
            (event,) = self.dialect.events(hook)
            assert isinstance(event, Received)
            self.assertEqual(event.body, "with a query")

    # -- what became of a text -------------------------------------------------------------------

    def reports(self, text: DoubleText, status: Status) -> list[Hook]:
        """Return the status calls about a text, as the dialect gets them."""
        requests = self.mirror.report(text, status, self.hook)
        for request in requests:
            wanted = text.callback or self.hook
            self.assertTrue(request.url.startswith(wanted), request.url)
        return [hook_of(request, self.hook) for request in requests]

    def updates(self, text: DoubleText, status: Status) -> list[StatusUpdate]:
        """Return what the dialect reads of the status calls about a text."""
        found = []
        for hook in self.reports(text, status):
            self.assert_authentic(hook)
            for event in self.dialect.events(hook):
                assert isinstance(event, StatusUpdate), event
                found.append(event)
        return found

    def test_status_calls_say_what_became_of_a_text(self) -> None:
        """Every status of a text that goes well is read, with the id that its send was given."""
        self.assertEqual(bool(self.mirror.statuses), self.dialect.reports)
        kept, verdicts = self.exchange(self.outgoing())
        outcome = verdicts[0].outcome
        assert isinstance(outcome, Sent)
        text = next(each for each in kept if each.remote_id == outcome.remote_id)

        for status in self.mirror.statuses:
            (update,) = self.updates(text, status)

            self.assertEqual((update.status, update.remote_id), (status, text.remote_id))
            self.assertIn(update.delivery_id, ("", self.outgoing().delivery_id))
            self.assertIn(update.ours, ("", OURS))
            self.assertIn(update.recipient, ("", THEIRS))
        if not self.mirror.statuses:
            self.assertEqual(self.updates(text, Status.DELIVERED), [])

    def test_failure_has_a_reason(self) -> None:
        """A text that failed says why, with the provider's code, and that a recipient is out."""
        if not self.mirror.statuses:
            return
        kept, _ = self.exchange(self.outgoing())
        for reason in ("unreachable", "filtered", "network", ""):
            kept[0].reason = reason

            (update,) = self.updates(kept[0], Status.FAILED)

            self.assertEqual(update.status, Status.FAILED)
            self.assertIn(update.reason, REASONS)
            self.assertTrue(update.text)
            self.assertFalse(update.opted_out)

    def test_group_is_reported_for_each(self) -> None:
        """The status calls of a group text tell whom each is about."""
        if not self.line.carries_groups:
            return
        kept, _ = self.exchange(self.outgoing(recipients=(THEIRS, THEIRS_TOO)))

        updates = self.updates(kept[0], Status.DELIVERED)

        self.assertEqual({each.recipient for each in updates}, {THEIRS, THEIRS_TOO})
        self.assertEqual({each.remote_id for each in updates}, {kept[0].remote_id})

    # -- what the provider keeps -----------------------------------------------------------------

    def answer_of(self, request: Request) -> Response:
        """Return what the double answers to a question."""
        asked = self.mirror.asked(call_of(request), NOW_MS)
        match asked:
            case AskedList():
                page, more = self.texts.page(asked)
                response = self.mirror.listed(asked, page, more)
            case AskedOne():
                response = self.mirror.one(self.texts.find(asked.remote_id))
            case AskedDids():
                response = self.mirror.dids(asked, (OURS, OURS_TOO))
            case _:
                raise AssertionError(f"not a question: {asked}")
        return evolve(response, asked=request)

    def looked_up(self, outgoing: Outgoing, known: Sequence[str] = ()) -> Any:
        """Return what the look-up for a text tells."""
        request = self.dialect.look_up(outgoing, NOW_MS - 1000)
        assert request is not None
        response = self.answer_of(request)
        return self.dialect.looked_up(outgoing, NOW_MS - 1000, response, known)

    def test_lost_text_is_found(self) -> None:
        """A text whose answer was lost is found, and no other is taken for it."""
        outgoing = self.outgoing(BODIES[1])
        if not self.can_look_up:
            self.assertIs(self.dialect.look_up(outgoing, NOW_MS), None)
            return
        self.exchange(self.outgoing("another body"))
        self.exchange(self.outgoing(BODIES[1], recipients=(THEIRS_TOO,)))
        self.arrived(BODIES[1])
        old = self.exchange(self.outgoing(BODIES[1], delivery_id="0198-old.1"))[0]
        for text in old:
            text.created_at_ms -= 2 * DAY_MS

        self.assertIs(self.looked_up(outgoing), NOTHING_THERE)
        kept, _ = self.exchange(outgoing)
        ids = [text.remote_id for text in kept]
        self.assertIn(self.looked_up(outgoing), ids)
        self.assertIs(self.looked_up(outgoing, ids), NOTHING_THERE)

    def test_lost_mms_is_found(self) -> None:
        """A lost MMS without words is found, or cannot be told; it is never said to be missing."""
        if not self.can_look_up:
            return
        outgoing = self.outgoing("", media=(self.picture(),))

        kept, _ = self.exchange(outgoing)

        self.assertIn(self.looked_up(outgoing), [*(text.remote_id for text in kept), UNSURE])

    def test_look_up_that_fails_tells_nothing(self) -> None:
        """An error, a wrong credential and nonsense do not say that a text is missing."""
        if not self.can_look_up:
            return
        for response in (
            Response(status=500),
            Response(status=200, body=b"<html>"),
            Response(status=200, body=b"{}"),
            Response(status=200, body=b"[1]"),
            Response(status=401, body=b"{}"),
            Response(status=404, body=b""),
            Response(status=429, body=b""),
        ):
            found = self.dialect.looked_up(self.outgoing(), NOW_MS, response, ())
            self.assertIs(found, UNSURE, response)

    def test_listing_gives_both_ways_over_all_pages(self) -> None:
        """What was received comes with its webhook's id; what was sent, with its status."""
        since_ms = NOW_MS - DAY_MS
        request = self.dialect.listing(self.line, since_ms, NOW_MS + 1000)
        if not self.can_list:
            self.assertIs(request, None)
            return
        assert request is not None
        sent = self.exchange(self.outgoing("sent"))[0]
        for text in sent:
            text.status = Status.DELIVERED
        came = [self.arrived(f"text {number:04d}") for number in range(5)]
        asked = self.mirror.asked(call_of(request), NOW_MS)
        assert isinstance(asked, AskedList)
        came += [self.arrived(f"more {number:04d}") for number in range(asked.most)]
        self.arrived("not ours", recipients=(OURS_TOO,))
        pages = 0
        events = []

        more: Request | None = request
        while more is not None:
            pages += 1
            self.assertLess(pages, 20, "the pages have no end")
            page: Page = self.dialect.listed(self.line, self.answer_of(more))
            events.extend(page.events)
            more = page.more

        texts = {each.remote_id: each for each in events if isinstance(each, Received)}
        self.assertEqual(
            {each.remote_id: each.body for each in texts.values()},
            {each.remote_id: each.body for each in came},
        )
        self.assertEqual({(each.ours, each.sender) for each in texts.values()}, {(OURS, THEIRS)})
        statuses = {each.remote_id for each in events if isinstance(each, StatusUpdate)}
        if self.dialect.reports:
            self.assertIn(sent[0].remote_id, statuses)
        self.assertLessEqual(statuses, {each.remote_id for each in sent})

    def test_listing_that_fails_says_why(self) -> None:
        """An error of the provider is told to the operator instead of an empty list."""
        if not self.can_list:
            return
        for response in (
            Response(status=500, body=b"<html>"),
            Response(status=401, body=b"{}"),
            Response(status=200, body=b"[]"),
            Response(status=200, body=b"nonsense"),
        ):
            with self.assertRaises(Malformed) as caught:
                self.dialect.listed(self.line, response)
            self.assertTrue(str(caught.exception))

    def test_numbers_of_the_account_are_found(self) -> None:
        """All numbers are listed in E.164."""
        requests = self.dialect.discover()
        self.assertEqual(bool(requests), self.can_discover)
        if not requests:
            return

        found = self.dialect.discovered([self.answer_of(request) for request in requests])

        self.assertEqual({each.number for each in found}, {OURS, OURS_TOO})
        for response in (Response(status=500), Response(status=200, body=b"oops")):
            with self.assertRaises(Malformed):
                self.dialect.discovered([response] * len(requests))

    # -- on any bytes ----------------------------------------------------------------------------

    def read(self, hook: Hook) -> None:
        """Deal with a call as the shared side does; it must not raise."""
        self.dialect.authentic(hook)
        try:
            events = self.dialect.events(hook)
        except Malformed:
            events = []
        self.assert_sound(events)
        self.dialect.answer(hook)

    def assert_sound(self, events: Sequence[Event]) -> None:
        """Fail unless what was read of damaged things can be stored all the same."""
        for event in events:
            for name in ("remote_id", "ours", "sender", "body", "recipient", "text", "why"):
                self.assertIsInstance(getattr(event, name, ""), str, f"{name} of {event}")
            if isinstance(event, Received):
                self.assertTrue(event.remote_id)
                self.assertTrue(all(isinstance(each, str) for each in event.recipients))
                for medium in event.media:
                    self.assertIsInstance(medium.url, str)
                    self.assertIsInstance(medium.content_type, str)
                    self.assertIsInstance(medium.size, int | None)
                self.assertIsInstance(event.sent_at_ms, int | None)

    def test_any_call_is_read_or_malformed(self) -> None:
        """Whatever is posted to the hook, nothing but `Malformed` comes out."""

        @many
        @given(
            method=st.sampled_from(["GET", "POST"]),
            path=st.sampled_from(["", "status"]),
            query=st.text(alphabet=st.characters(max_codepoint=255), max_size=40),
            headers=st.dictionaries(
                st.sampled_from(
                    ["content-type", "authorization", "telnyx-timestamp", "x-twilio-signature"]
                ),
                st.text(max_size=30),
            ),
            body=st.binary(max_size=80) | _JSON.map(lambda value: json.dumps(value).encode()),
        )
        def check(method: str, path: str, query: str, headers: Any, body: bytes) -> None:
            url = f"{self.hook}?{query}"
            self.read(
                Hook(
                    method=method,
                    url=url,
                    path=path,
                    query=query,
                    headers=headers,
                    body=body,
                    now_ms=NOW_MS,
                )
            )

        check()

    def test_damaged_call_is_read_or_malformed(self) -> None:
        """Real calls with any one value replaced by anything are no worse."""
        media = (DoubleMedia(content_type="image/png", name="a.png", data=PNG),)
        calls = self.hooks(self.arrived("hello", media=media))
        if self.mirror.statuses:
            sent = self.exchange(self.outgoing())[0][0]
            calls += self.reports(sent, Status.DELIVERED) + self.reports(sent, Status.FAILED)

        @many
        @given(st.data())
        def check(data: st.DataObject) -> None:
            hook = data.draw(st.sampled_from(calls))
            if hook.body[:1] in (b"{", b"["):
                document = _damaged(json.loads(hook.body), data)
                self.read(evolve(hook, body=json.dumps(document).encode()))
                return
            pairs = parse_qsl(hook.body.decode() or hook.query, keep_blank_values=True)
            number = data.draw(st.integers(0, len(pairs) - 1))
            pairs[number] = (pairs[number][0], data.draw(st.text(max_size=20)))
            text = urlencode(pairs, errors="surrogatepass")
            if hook.body:
                self.read(evolve(hook, body=text.encode()))
            else:
                self.read(evolve(hook, query=text))

        check()

    def test_any_answer_is_judged(self) -> None:
        """Whatever comes back, there is a verdict, a look-up's result or `Malformed`."""
        outgoing = self.outgoing()
        sent = self.exchange(outgoing)[0]
        media = (DoubleMedia(content_type="image/png", name="a.png", data=PNG),)
        came = self.arrived(media=media)
        genuine = [
            self.mirror.taken(sent),
            self.mirror.refusal("bad-number", self.calls(outgoing)[0]),
            self.mirror.media_list(came),
        ]
        requests = self.dialect.discover()
        for request in (
            self.dialect.look_up(outgoing, NOW_MS),
            self.dialect.listing(self.line, NOW_MS - DAY_MS, NOW_MS),
            *requests,
        ):
            if request is not None:
                genuine.append(self.answer_of(request))

        @many
        @given(st.data())
        def check(data: st.DataObject) -> None:
            response = data.draw(_RESPONSES | st.sampled_from(genuine))
            if response in genuine and response.body[:1] in (b"{", b"["):
                document = _damaged(json.loads(response.body), data)
                response = evolve(response, body=json.dumps(document).encode())
            verdict = self.dialect.answered(outgoing, 0, response)
            self.assertIsInstance(verdict, Verdict)
            if verdict.rest_s is not None:
                self.assertTrue(0 <= verdict.rest_s < 100 * DAY_MS, verdict)
            self.dialect.looked_up(outgoing, NOW_MS, response, ())
            for read in (
                lambda: self.assert_sound(self.dialect.listed(self.line, response).events),
                lambda: self.dialect.media_listed(response),
                lambda: self.dialect.discovered([response] * len(requests)),
            ):
                try:
                    read()
                except Malformed:
                    pass

        check()


def _bent(signature: str) -> str:
    """Change one letter in the middle of a signature."""
    place = max(len(signature) - 10, 0)
    letter = "B" if signature[place] != "B" and signature[place] != "b" else "C"
    return signature[:place] + letter + signature[place + 1 :]


def _damaged(document: Any, data: st.DataObject) -> Any:
    """Return a JSON document with one value anywhere in it replaced by anything, or gone."""
    damaged = copy.deepcopy(document)
    places = list(_places(damaged))
    if not places:
        return data.draw(_JSON)
    inside, key = data.draw(st.sampled_from(places))
    if data.draw(st.booleans()):
        inside[key] = data.draw(_JSON)
    else:
        del inside[key]
    return damaged


def _places(document: Any) -> Iterator[tuple[Any, Any]]:
    keys: Any = ()
    if isinstance(document, dict):
        keys = document.keys()
    elif isinstance(document, list):
        keys = range(len(document))
    for key in keys:
        yield document, key
        yield from _places(document[key])
