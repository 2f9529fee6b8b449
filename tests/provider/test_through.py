"""Tests of a provider's gateway in its place: inbox, dispatcher and store are the real ones."""

from __future__ import annotations

import json
from random import Random
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.directory import Directory, Person
from smsbridge.core.message import Media, Status
from smsbridge.provider.client import NoAnswer, NotSent
from smsbridge.provider.dialect import Request, Response, StatusUpdate
from smsbridge.provider.gateway import ProviderService
from tests.core.rig import Rig as CoreRig
from tests.provider.fakes import FACTORY, OURS, THEIRS, FakeGateway
from tests.provider.rig import OTHER, Api, MemoryFiles, MemoryPending, answer, line

GONE = NotSent("api.provider.test cannot be reached: refused.")
LOST = NoAnswer("api.provider.test did not answer.")
NOTHING = Response(status=200, body=b'{"texts": []}')


class Place(CoreRig):
    """The core with the gateway of a provider."""

    def __init__(self, folder: str) -> None:
        lines = {"main": line(carries_groups=True)}
        super().__init__(
            folder,
            world=Directory(
                lines=lines,
                persons={
                    "john": Person(label="john", lines=("main",), rate=0.0),
                    "boss": Person(label="boss", admin=True),
                },
            ),
        )
        self.api = Api(self.clock)
        files: Any = MemoryFiles("https://sms.example.org")
        self.world.media = files
        self.world.pending = MemoryPending()
        self.world.public_url = "https://sms.example.org"
        self.config = FakeGateway(signing_key="not-a-real-key", reconcile_every=0.0)
        self.lines = lines
        self.work = ProviderService(
            self.clock,
            FACTORY,
            "work",
            self.config,
            lines,
            self.inbox,
            self.dispatcher,
            self.world,
            ask=self.api.ask,
        )
        self.dispatcher.add_gateway(self.work)
        self.work.startService()
        self.start()

    def deliveries(self) -> list[Any]:
        """Return the deliveries of all messages, oldest first."""
        return [each for message in self.store.records() for each in message.deliveries]

    def tell(self, update: StatusUpdate) -> bool:
        """Let the provider report; returns whether it changed anything."""
        news: list[bool] = []
        taking: Deferred[bool] = self.work._arrivals.take(update)
        taking.addCallback(news.append)
        self.settle()
        return news[0]


class Weather:
    """A provider that is in trouble now and then, by chance."""

    def __init__(self, api: Api, seed: int) -> None:
        self._api = api
        self._random = Random(seed)
        self.bad = True
        api.always_asks = self.ask

    def ask(self, request: Request) -> Any:
        """Decide on one request; a text may be kept whatever the answer is."""
        if not self.bad or self._random.random() < 0.4:
            return True
        if request.method == "GET":
            return self._random.choice([answer(500), LOST, GONE, None, True])
        kept = self._random.random() < 0.5
        behavior = self._random.choice(
            [answer(429), answer(503), answer(401), GONE, LOST, answer(500), None]
        )
        maybe_taken = behavior is None or behavior is LOST or getattr(behavior, "status", 0) == 500
        if kept and maybe_taken:
            self._api.keep(request)
        return behavior


class ThroughTests(SynchronousTestCase):
    """Texts of a person on their way through."""

    def setUp(self) -> None:
        """Put everything together."""
        self.place = Place(self.mktemp())
        self.addCleanup(self.place.close)
        self.api = self.place.api

    def send(self, *bodies: str, **more: Any) -> None:
        """Let John send texts."""
        for body in bodies:
            self.place.send(body, line="main", **more)
            self.place.settle()

    def test_text_is_sent_and_delivered(self) -> None:
        """The provider's id is kept, and its report ends the matter."""
        self.send("hello")

        (delivery,) = self.place.deliveries()
        self.assertEqual((delivery.status, delivery.remote_id), (Status.SENT, "T1"))
        self.assertEqual(self.api.texts[0]["from"], OURS)

        self.assertTrue(self.place.tell(StatusUpdate(remote_id="T1", status=Status.DELIVERED)))
        self.assertFalse(self.place.tell(StatusUpdate(remote_id="T1", status=Status.DELIVERED)))
        self.assertEqual(self.place.deliveries()[0].status, Status.DELIVERED)

    def test_report_before_the_answer_is_not_lost(self) -> None:
        """The text is delivered, although the call came while it was being sent."""
        self.api.holds = True
        self.send("hello")
        self.place.tell(StatusUpdate(remote_id="T1", status=Status.DELIVERED))
        self.assertEqual(self.place.deliveries()[0].status, Status.SENDING)

        self.api.answer_held()
        self.place.settle()

        (delivery,) = self.place.deliveries()
        self.assertEqual(delivery.status, Status.DELIVERED)

    def test_failure_has_the_code(self) -> None:
        """What the provider said is in the reason."""
        self.api.sends = [answer(400, "bad-number-21211")]

        self.send("hello")

        (delivery,) = self.place.deliveries()
        self.assertEqual(delivery.status, Status.FAILED)
        self.assertIn("bad-number-21211", f"{delivery.reason} {delivery.text}")

    def test_wrong_credentials_burn_one_text(self) -> None:
        """The others wait, and go out in their order once the operator has mended it."""
        self.api.sends = [answer(401)]
        self.send("one", "two", "three")
        self.place.pass_time(60)
        self.assertEqual(
            [each.status for each in self.place.deliveries() if each.line],
            [Status.FAILED, Status.QUEUED, Status.QUEUED],
        )

        self.place.work.update(evolve(self.place.config, api_key="right"), self.place.lines)
        self.place.settle()

        self.assertEqual(self.api.bodies, ["two", "three"])

    def test_texts_take_turns_in_trying_whether_it_is_mended(self) -> None:
        """One that a fault is wrongly blamed for does not keep the others from trying."""
        self.api.sends = [answer(401)] * 3
        for number, body in enumerate(("one", "two", "three")):
            self.place.send(body, f"+1202555012{number}")
        self.place.settle()

        self.place.pass_time(620)

        asked = [json.loads(request.body)["text"] for request in self.api.asked]
        self.assertEqual(asked[:3], ["one", "two", "three"])

    def test_throttled_texts_go_out_later_in_order(self) -> None:
        """Nothing is lost, doubled or overtaken."""
        self.api.sends = [answer(201), answer(429, retry_after="7")]
        self.send("one", "two", "three")
        self.assertEqual(self.api.bodies, ["one"])

        self.place.pass_time(30)

        self.assertEqual(self.api.bodies, ["one", "two", "three"])
        self.assertEqual({each.status for each in self.place.deliveries()}, {Status.SENT})

    def test_throttled_text_waits_no_longer_than_asked(self) -> None:
        """Two seconds are two seconds, and not the core's own first delay."""
        self.api.sends = [answer(429, retry_after="2")]
        self.send("one")

        self.place.pass_time(1)
        self.assertEqual(self.api.bodies, [])
        self.place.pass_time(2)

        self.assertEqual(self.api.bodies, ["one"])

    def test_lost_answer_is_looked_up(self) -> None:
        """The text is there once, and known to be."""
        self.api.sends = [LOST]
        self.api.keeps = True

        self.send("hello")
        self.place.pass_time(3600)

        (delivery,) = self.place.deliveries()
        self.assertEqual((delivery.status, delivery.remote_id), (Status.SENT, "T1"))
        self.assertEqual(self.api.bodies, ["hello"])

    def test_text_that_is_surely_not_there_goes_out_once(self) -> None:
        """It is sent again by itself, before the one that was written after it."""
        self.api.sends = [LOST]

        self.send("one", "two")
        self.place.pass_time(3600)

        self.assertEqual(self.api.bodies, ["one", "two"])
        self.assertEqual({each.status for each in self.place.deliveries()}, {Status.SENT})

    def test_uncertain_text_is_never_sent_again_by_itself(self) -> None:
        """Nobody knows, so nobody repeats it; later texts go out."""
        self.api.sends = [LOST]
        self.api.looks = [NOTHING, LOST, NOTHING]

        self.send("one", "two")
        self.place.pass_time(3600)

        self.assertEqual(
            [each.status for each in self.place.deliveries()], [Status.UNCERTAIN, Status.SENT]
        )
        self.assertEqual(self.api.bodies, ["two"])

    def test_group_text_is_one_at_the_provider(self) -> None:
        """Both deliveries have its id, and each gets its own report."""
        self.send("hello all", recipients=(THEIRS, OTHER), group=True)

        self.assertEqual([text["to"] for text in self.api.texts], [[THEIRS, OTHER]])
        found = self.place.deliveries()
        self.assertEqual([each.remote_id for each in found], ["T1", "T1"])
        for recipient, status in ((OTHER, Status.DELIVERED), (THEIRS, Status.FAILED)):
            self.place.tell(StatusUpdate(remote_id="T1", status=status, recipient=recipient))
        self.assertEqual(
            {each.to: each.status for each in self.place.deliveries()},
            {OTHER: Status.DELIVERED, THEIRS: Status.FAILED},
        )

    def test_group_text_is_repeated_as_one(self) -> None:
        """After a pause it goes to all of them again, in one request."""
        self.api.sends = [answer(429)]
        self.send("hello all", recipients=(THEIRS, OTHER), group=True)

        self.place.pass_time(60)

        self.assertEqual([text["to"] for text in self.api.texts], [[THEIRS, OTHER]])
        self.assertEqual({each.status for each in self.place.deliveries()}, {Status.SENT})

    def test_attachment_goes_out_as_a_link_to_us(self) -> None:
        """The provider fetches the file that we keep."""
        media = Media(content_type="image/png", size=100, name="p.png", digest="d" * 64)

        self.send("look", media=(media,))

        self.assertEqual(self.api.texts[0]["media"], ["https://sms.example.org/media/dddddddd"])


class WeatherTests(SynchronousTestCase):
    """The promise about money, in all weathers."""

    def test_no_text_goes_out_twice_or_is_lost(self) -> None:
        """
        Whatever the provider does, each text is there once and known to be sent, or not there and
        known to have failed, or marked as one that nobody can tell.
        """
        for seed in range(8):
            place = Place(self.mktemp())
            weather = Weather(place.api, seed)
            for number in range(12):
                to = THEIRS if number % 2 else OTHER
                place.send(f"text {number}", line="main", recipients=(to,))
                place.pass_time(seed % 7, 0.5)
            place.pass_time(1200, 5.0)
            weather.bad = False
            place.pass_time(8000, 20.0)

            bodies = place.api.bodies
            self.assertEqual(len(bodies), len(set(bodies)), f"seed {seed}")
            for message in place.store.records():
                if message.direction != "out":
                    continue
                (delivery,) = message.deliveries
                where = f"seed {seed}: {message.body} is {delivery.status}"
                if delivery.status == Status.SENT:
                    self.assertIn(message.body, bodies, where)
                elif delivery.status == Status.FAILED:
                    self.assertNotIn(message.body, bodies, where)
                else:
                    self.assertEqual(delivery.status, Status.UNCERTAIN, where)
            place.close()
