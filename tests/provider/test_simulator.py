"""A played provider: what it keeps, tells, repeats and spoils."""

from __future__ import annotations

import json
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.client import ResponseNeverReceived

from smsbridge.core.message import Status
from smsbridge.provider.client import NotSent
from smsbridge.provider.dialect import Outgoing, OutgoingMedia, Request, Response
from smsbridge.provider.simulator.behaviors import BEHAVIORS
from smsbridge.provider.simulator.mirror import Call
from smsbridge.provider.simulator.pictures import picture
from smsbridge.provider.simulator.server import ORDERS, ProviderDouble, Timing
from smsbridge.provider.simulator.texts import configured
from tests.provider.contract import call_of
from tests.provider.fake_mirror import FakeMirror
from tests.provider.fakes import FACTORY, OURS, THEIRS

HOOK = "https://smsbridge:not%20it@sms.example.org/hook/work"
CALLBACK = "https://sms.example.org/hook/work/status?delivery=d1"
BASE_URL = "http://127.0.0.1:8090"


class Bridge:
    """Stands where smsbridge is: takes calls, and serves attachments."""

    def __init__(self) -> None:
        self.came: list[Request] = []
        self.answers: list[Response | Exception] = []
        self.files: dict[str, Response] = {}

    def ask(self, request: Request, timeout_s: float) -> Deferred[Response]:
        """See `client.Ask`."""
        if request.url in self.files:
            found = self.files[request.url]
            return succeed(found)
        self.came.append(request)
        answer: Response | Exception = Response(status=200, body=b"ok")
        if self.answers:
            answer = self.answers.pop(0)
        return succeed(answer) if isinstance(answer, Response) else fail(answer)

    @property
    def events(self) -> list[tuple[str, str]]:
        """Return type and status (or text) of what came."""
        found = [json.loads(request.body) for request in self.came]
        return [(each["type"], each.get("status", each.get("text"))) for each in found]


class DoubleTests(SynchronousTestCase):
    """The double without sockets, spoken with in the made-up provider's dialect."""

    def setUp(self) -> None:
        """Build both sides."""
        self.clock = Clock()
        self.clock.advance(1_767_268_800)
        self.bridge = Bridge()
        config = configured(FACTORY.config_class, {**FakeMirror.sample, "base_url": BASE_URL})
        self.dialect: Any = FACTORY.dialect(config)
        self.sentences: list[str] = []
        self.double = self.build(FakeMirror(config))

    def build(self, mirror: FakeMirror, **more: Any) -> ProviderDouble:
        """Build a double."""
        return ProviderDouble(
            self.clock,
            mirror,
            [OURS],
            HOOK,
            ask=self.bridge.ask,
            timing=Timing(repeat_s=(1.0, 2.0)),
            told=self.sentences.append,
            **more,
        )

    def call(self, recipient: str = THEIRS, body: str = "hello", **changes: Any) -> Call:
        """Return the request for a text."""
        values: dict[str, Any] = {
            "delivery_id": "d1",
            "line": FACTORY.line_class(label="main", gateway="work", number=OURS),
            "sender": OURS,
            "recipients": (recipient,),
            "body": body,
            "callback": CALLBACK,
            **changes,
        }
        (request,) = self.dialect.requests(Outgoing(**values))
        return call_of(request)

    def send(self, *args: Any, **changes: Any) -> Any:
        """Send a text; returns the answer's status, ``cut`` or ``none``."""
        answer = self.successResultOf(self.double.answer(self.call(*args, **changes)))
        return answer.status if isinstance(answer, Response) else answer

    def pass_time(self, seconds: float) -> None:
        """Let time go by in small steps."""
        for _ in range(int(seconds * 4)):
            self.clock.advance(0.25)

    def test_text_is_kept_and_its_way_reported(self) -> None:
        """A text gets an id, and each status is told after a while, signed."""
        self.assertEqual(self.send(), 201)
        self.assertEqual(self.bridge.came, [])

        self.pass_time(3)

        (text,) = self.double.texts
        self.assertEqual((text.sender, text.recipients, text.body), (OURS, (THEIRS,), "hello"))
        self.assertEqual(text.status, Status.DELIVERED)
        self.assertEqual(self.bridge.events, [("status", "sent"), ("status", "delivered")])
        self.assertEqual({request.url for request in self.bridge.came}, {CALLBACK})
        self.assertEqual(self.double.counts["sent"], 1)

    def test_wrong_credentials_are_refused_and_nothing_is_kept(self) -> None:
        """Whoever has another key gets the provider's answer."""
        wrong = configured(FACTORY.config_class, {"api_key": "another", "base_url": BASE_URL})
        self.dialect = FACTORY.dialect(wrong)

        self.assertEqual(self.send(), 401)

        self.assertEqual(len(self.double.texts), 0)
        self.assertIn("refused with status 401", self.sentences[-1])

    def test_number_that_is_not_the_accounts_is_refused(self) -> None:
        """The sender must be one of its numbers."""
        self.assertEqual(self.send(sender="+12025550177"), 403)

    def test_last_digits_of_the_recipient_decide(self) -> None:
        """Each ending of the table does what its sentence says."""
        expected: dict[str, tuple[list[Any], int, list[str]]] = {
            "40": ([404, 404], 0, []),
            "41": ([201], 1, ["sent", "failed"]),
            "42": ([400, 400], 0, []),
            "43": ([429, 201], 1, ["sent", "delivered"]),
            "44": (["cut"], 1, []),
            "45": (["cut", 201], 1, ["sent", "delivered"]),
            "46": ([201], 1, ["sent", "delivered"]),
            "47": ([500, 201], 1, ["sent", "delivered"]),
            "48": ([201], 1, ["sent", "sent", "delivered", "delivered"]),
            "49": ([201], 1, ["delivered", "sent"]),
            "50": ([201], 1, []),
            "51": (["none"], 1, []),
            "52": ([201], 1, ["sent", "failed"]),
        }
        self.assertEqual(set(expected), set(BEHAVIORS))
        for ending, (answers, kept, statuses) in expected.items():
            self.setUp()

            found = [self.send(f"+120255501{ending}") for _ in answers]
            self.pass_time(4)

            self.assertEqual(found, answers, ending)
            self.assertEqual(len(self.double.texts), kept, ending)
            self.assertEqual([word for _, word in self.bridge.events], statuses, ending)

    def test_early_status_is_heard_before_the_answer(self) -> None:
        """The answer waits for the status calls."""
        waiting: list[Deferred[Response]] = []

        def ask(request: Request, timeout_s: float) -> Deferred[Response]:
            waiting.append(Deferred())
            return waiting[-1]

        double = ProviderDouble(self.clock, self.double.mirror, [OURS], HOOK, ask=ask)
        answering = Deferred.fromCoroutine(double.answer(self.call("+12025550146")))

        for number in range(2):
            self.assertNoResult(answering)
            waiting[number].callback(Response(status=200, body=b"ok"))

        answer = self.successResultOf(answering)
        assert isinstance(answer, Response)
        self.assertEqual((answer.status, len(waiting)), (201, 2))

    def test_failures_are_ordered(self) -> None:
        """A fault can be ordered for so many texts, whoever gets them."""
        self.double.fail("throttled", 2)
        self.double.fail("cut-lost")

        self.assertEqual([self.send() for _ in range(4)], [429, 429, "cut", 201])
        self.assertEqual(len(self.double.texts), 1)
        self.assertEqual(set(ORDERS), {"cut", "cut-lost", "silent"})

    def test_text_arrives_with_credentials_in_a_header(self) -> None:
        """The address of the hook has user and password; the call has them where they belong."""
        text = self.double.receive(THEIRS, OURS, "hi")
        self.pass_time(1)

        (request,) = self.bridge.came
        self.assertEqual(request.url, "https://sms.example.org/hook/work")
        self.assertEqual(request.headers["Authorization"], "Basic c21zYnJpZGdlOm5vdCBpdA==")
        self.assertEqual(self.bridge.events, [("text", "hi")])
        self.assertIs(self.double.texts.find(text.remote_id), text)

    def test_account_that_is_played_anew_has_other_ids(self) -> None:
        """A text of the next run is none that smsbridge knows already."""
        text = self.double.receive(THEIRS, OURS, "hi")
        self.pass_time(1)

        again = self.build(FakeMirror(FACTORY.config_class()))

        self.assertNotEqual(again.receive(THEIRS, OURS, "hi").remote_id, text.remote_id)

    def test_call_that_is_not_heard_is_repeated_and_given_up(self) -> None:
        """An error and a bridge that is away are followed by the same call, so many times."""
        self.bridge.answers = [Response(status=503), NotSent("Nobody listens.")]

        self.double.receive(THEIRS, OURS, "hi")
        self.pass_time(5)

        self.assertEqual(len(self.bridge.came), 3)
        self.assertEqual(len({request.body for request in self.bridge.came}), 1)
        self.assertEqual([call.heard for call in self.double.calls], [False, False, True])
        self.bridge.answers = [Response(status=503)] * 9
        self.double.receive(THEIRS, OURS, "nobody hears")
        self.pass_time(60)
        self.assertEqual(len(self.bridge.came), 6)
        self.assertIn("given up", self.sentences[-1])

    def test_sender_of_the_table_is_told_twice(self) -> None:
        """A text from a number that ends with 48 is posted twice."""
        self.double.receive("+12025550148", OURS, "hi")
        self.pass_time(1)

        self.assertEqual(self.bridge.events, [("text", "hi")] * 2)

    def test_attachments_are_served(self) -> None:
        """A picture that arrived is fetched from where the webhook says it is."""
        medium = picture(1)
        self.double.receive(THEIRS, OURS, "", [medium])
        self.pass_time(1)

        (address,) = json.loads(self.bridge.came[0].body)["media"]
        headers = self.dialect.media_headers(address["url"])[-1]
        call = call_of(Request(url=address["url"], headers=headers))
        answer = self.successResultOf(self.double.answer(call))

        assert isinstance(answer, Response)
        self.assertEqual((answer.status, answer.body), (200, medium.data))
        self.assertEqual(answer.headers["content-type"], medium.content_type)
        self.assertNotEqual(picture(2).data, medium.data)

    def test_attachments_can_be_late(self) -> None:
        """As many requests for them fail as was said."""
        self.double.media_failures = 1
        text = self.double.receive(THEIRS, OURS, "", [picture(1)])
        url = f"{BASE_URL}/media/{text.remote_id}/0"
        call = call_of(Request(url=url, headers=self.dialect.media_headers(url)[-1]))

        answers = [self.successResultOf(self.double.answer(call)) for _ in range(2)]

        self.assertEqual([getattr(each, "status", each) for each in answers], [503, 200])

    def mms(self, response: Response) -> list[tuple[str, str]]:
        """Send an attachment that is served so; returns what is reported."""
        url = "https://sms.example.org/media/1/a.png"
        self.bridge.files[url] = response
        self.send(media=(OutgoingMedia(url=url, content_type="image/png"),))
        self.pass_time(3)
        return self.bridge.events

    def test_attachment_is_fetched(self) -> None:
        """What smsbridge serves is kept with the text."""
        headers = {"content-type": "image/png"}
        events = self.mms(Response(status=200, headers=headers, body=b"bytes"))

        self.assertEqual(events, [("status", "sent"), ("status", "delivered")])
        (text,) = self.double.texts
        self.assertEqual((text.media[0].data, text.media[0].content_type), (b"bytes", "image/png"))

    def test_attachment_that_cannot_be_fetched_is_a_failure(self) -> None:
        """A text whose attachment is not there, empty or without a type is reported as failed."""
        for response in (
            Response(status=404),
            Response(status=200, headers={"content-type": "image/png"}),
            Response(status=200, body=b"bytes"),
        ):
            self.setUp()
            self.assertEqual(self.mms(response), [("status", "sent"), ("status", "failed")])

    def test_recipients_answer(self) -> None:
        """With `answers` every text is followed by one from its recipient."""
        self.double.answers = True
        self.send()
        self.pass_time(6)

        self.assertEqual(self.bridge.events[-1], ("text", "You said: hello"))

    def test_stop_is_understood_where_it_is_wanted(self) -> None:
        """A number that wrote STOP is out until it writes START."""
        self.double = self.build(self.double.mirror, knows_stop=True)  # type: ignore[arg-type]
        self.double.receive(THEIRS, OURS, "Stop")
        self.assertEqual(self.send(), 400)
        self.double.receive(THEIRS, OURS, "start")
        self.assertEqual(self.send(), 201)

    def test_texts_are_listed(self) -> None:
        """Both ways, newest first, and page by page."""
        for number in range(60):
            self.double.receive(THEIRS, OURS, f"text {number}")
            self.pass_time(0.25)
        line = FACTORY.line_class(label="main", gateway="work", number=OURS)

        bodies: list[str] = []
        request = self.dialect.listing(line, 0, 0)
        while request is not None:
            answer = self.successResultOf(self.double.answer(call_of(request)))
            assert isinstance(answer, Response)
            page = self.dialect.listed(line, answer)
            bodies.extend(event.body for event in page.events)
            request = page.more

        self.assertEqual(bodies, [f"text {number}" for number in reversed(range(60))])

    def test_fault_of_a_mirror_is_seen(self) -> None:
        """An error of ours is an error to whoever asked, and in the log."""
        call = call_of(
            Request(
                url=f"{BASE_URL}/texts",
                method="POST",
                headers={"Authorization": f"Bearer {FakeMirror.sample['api_key']}"},
                body=b"{",
            )
        )

        answer = self.successResultOf(self.double._answer(call))

        assert isinstance(answer, Response)
        self.assertEqual(answer.status, 500)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class ServerTests(TestCase):
    """The double on a socket."""

    async def test_answers_cuts_and_stops(self) -> None:
        """A text is answered over HTTP; one to 44 is kept and the connection closed."""
        config = configured(FACTORY.config_class, FakeMirror.sample)
        double = ProviderDouble(reactor, FakeMirror(config), [OURS])
        double.startService()
        try:
            url = f"http://127.0.0.1:{double.port}/texts"
            headers = {"Authorization": f"Bearer {config.api_key}"}
            text = {
                "from": OURS,
                "to": [THEIRS],
                "text": "hi",
                "media": [],
                "reference": "d1",
                "callback": "",
            }
            answer = await treq.post(url, json=text, headers=headers, persistent=False)
            self.assertEqual(answer.code, 201)
            self.assertIn("id", await answer.json())
            with self.assertRaises(ResponseNeverReceived):
                await treq.post(
                    url, json={**text, "to": ["+12025550144"]}, headers=headers, persistent=False
                )
            self.assertEqual(len(double.texts), 2)
        finally:
            await double.stopService()
