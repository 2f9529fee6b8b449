"""Tests of webhooks as a gateway: outcomes, order, programs that are away, and the contract."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.directory import Directory
from smsbridge.core.message import Delivery, Kind, NotTried, Outcome, Sent
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure
from smsbridge.gateways.webhook import FACTORY, payload
from smsbridge.gateways.webhook.config import WebhookGateway
from smsbridge.keys import ConfigError
from smsbridge.post import Answer, Forbidden, NoAnswer
from tests.contracts import GatewayContract
from tests.gateways.webhook.rig import ALICE, BOB, OTHER_URL, PERSONS, SECRET, URL, Rig

GONE = NoAnswer("app.example.org cannot be reached: refused.", refused=True)


class WebhookContractTests(GatewayContract, SynchronousTestCase):
    """The contract of every gateway."""

    factory = FACTORY

    def setUp(self) -> None:
        """Start a gateway."""
        self.rig = Rig()

    def start_gateway(self) -> Any:
        """See `GatewayContract`."""
        return self.rig.gateway

    def lane(self) -> str:
        """See `GatewayContract`."""
        return self.rig.lane

    def configuration(self) -> tuple[Any, Any]:
        """See `GatewayContract`."""
        return self.rig.config, {}

    def delivery(self, name: str, body: str = "hello") -> Delivery:
        """See `GatewayContract`."""
        return self.rig.delivery(name, body)

    def peer_takes(self) -> None:
        """See `GatewayContract`."""
        self.rig.program.always = Answer(204, {}, b"")

    def peer_refuses(self) -> None:
        """See `GatewayContract`."""
        self.rig.program.always = Answer(410, {}, b"")

    def peer_takes_and_is_silent(self) -> None:
        """See `GatewayContract`; what is repeated has the same id, so it is posted again."""
        self.rig.program.always = None

    peer_is_gone = peer_takes_and_is_silent

    def bodies_at_peer(self) -> list[str]:
        """See `GatewayContract`."""
        return [came.data["attributes"]["body"] for came in self.rig.program.came]

    def pass_time(self, seconds: float) -> None:
        """See `GatewayContract`."""
        self.rig.clock.advance(0)
        for _ in range(int(seconds)):
            self.rig.clock.advance(1)


class GatewayCase(SynchronousTestCase):
    """A gateway with programs in memory."""

    def setUp(self) -> None:
        """Start it."""
        self.rig = Rig()
        self.program = self.rig.program

    def deliver(self, *batch: Delivery, lane: str = "") -> list[Outcome]:
        """Deliver and return what became of it."""
        delivering = self.rig.gateway.deliver(lane or self.rig.lane, batch)
        return list(self.successResultOf(delivering))


class DeliveringTests(GatewayCase):
    """What a post says and what its answer means."""

    def test_post_is_signed_and_named(self) -> None:
        """A program can tell that it is us, and that it has had this before."""
        outcomes = self.deliver(self.rig.delivery())

        self.assertEqual(outcomes, [Sent(delivered=True)])
        (came,) = self.program.came
        self.assertEqual((came.url, came.private_too), (URL, True))
        self.assertEqual(came.headers["X-Smsbridge-Delivery"], "message-a.0")
        self.assertEqual(came.headers["Content-Type"], "application/vnd.api+json")
        signature = came.headers[payload.SIGNATURE]
        self.assertTrue(payload.verifies(SECRET, signature, came.body, self.rig.clock.seconds()))

    def test_without_a_secret_nothing_is_signed(self) -> None:
        """A signature with an empty secret would prove nothing."""
        lane = self.rig.gateway.lane("", OTHER_URL)

        self.deliver(self.rig.delivery(person="bot", destination=OTHER_URL), lane=lane)

        self.assertNotIn(payload.SIGNATURE, self.program.came[0].headers)

    def test_any_error_of_the_program_is_tried_again(self) -> None:
        """A hook that is set up wrong loses nothing: 401, 404 and 500 alike are for now."""
        for status in (301, 400, 401, 403, 404, 422, 500, 503):
            self.program.always = Answer(status, {}, b"no\r\nway")

            (outcome,) = self.deliver(self.rig.delivery())

            assert isinstance(outcome, TemporaryFailure)
            self.assertIn(str(status), outcome.text)
            self.assertIn("no way", outcome.detail)
            self.assertTrue(self.rig.lanes.is_open(self.rig.lane))

    def test_program_says_when_to_come_back(self) -> None:
        """Retry-After is kept, within reason; nonsense is passed over."""
        asked = []
        for text in ("120", "99999999", "soon", "-1"):
            self.program.always = Answer(503, {"retry-after": text}, b"")
            (outcome,) = self.deliver(self.rig.delivery())
            asked.append(outcome.retry_after_s)  # type: ignore[union-attr]

        self.assertEqual(asked, [120.0, 21600.0, None, None])

    def test_errors_end_after_a_day(self) -> None:
        """A program that answers with errors for a day does not get the text any more."""
        self.program.always = Answer(500, {}, b"")
        delivery = self.rig.delivery()
        self.rig.clock.advance(86_401)

        (outcome,) = self.deliver(delivery)

        assert isinstance(outcome, TemporaryFailure)
        self.assertEqual(outcome.reason, "expired")

    def test_program_that_does_not_listen_is_waited_for_longer(self) -> None:
        """A machine that is switched off for a week gets its texts."""
        self.program.always = GONE
        delivery = self.rig.delivery()
        self.rig.clock.advance(7 * 86_400)

        (outcome,) = self.deliver(delivery)

        assert isinstance(outcome, TemporaryFailure)
        self.assertEqual(outcome.reason, "peer-down")

    def test_order_is_kept_within_a_conversation(self) -> None:
        """After a failure nothing overtakes in that conversation; others go on."""
        self.program.answers = [Answer(500, {}, b"")]
        batch = [
            self.rig.delivery("a"),
            self.rig.delivery("b"),
            self.rig.delivery("c", order_key=f"2001|{BOB} {URL}", sender=BOB),
        ]

        outcomes = self.deliver(*batch)

        self.assertIsInstance(outcomes[0], TemporaryFailure)
        self.assertEqual(outcomes[1:], [NotTried(), Sent(delivered=True)])

    def test_conversations_do_not_wait_for_each_other(self) -> None:
        """A slow answer in one conversation does not hold up another."""
        self.program.answers = [None]
        batch = [
            self.rig.delivery("a"),
            self.rig.delivery("b", order_key=f"2001|{BOB} {URL}", sender=BOB),
        ]

        delivering: Deferred[Any] = self.rig.gateway.deliver(self.rig.lane, batch)

        self.assertNoResult(delivering)
        self.assertEqual(
            [came.data["id"] for came in self.program.came], ["message-a", "message-b"]
        )
        self.rig.clock.advance(20)
        outcomes = self.successResultOf(delivering)
        self.assertIsInstance(outcomes[0], TemporaryFailure)
        self.assertEqual(outcomes[1], Sent(delivered=True))

    def test_silent_program_does_not_outlast_the_batch(self) -> None:
        """What was not begun in time goes back to the queue untried."""
        self.program.always = None
        batch = [self.rig.delivery(str(number), order_key=f"key {number}") for number in range(50)]

        delivering: Deferred[Any] = self.rig.gateway.deliver(self.rig.lane, batch)
        for _ in range(int(self.rig.gateway.settle_within_s) - 1):
            self.rig.clock.advance(1)

        outcomes = self.successResultOf(delivering)
        self.assertIn(NotTried(), outcomes)
        self.assertIsInstance(outcomes[0], TemporaryFailure)

    def test_webhook_that_was_taken_away_is_not_posted_to(self) -> None:
        """What waited for an address that the operator removed goes nowhere."""
        persons = {**PERSONS, "app": evolve(PERSONS["app"], webhook=())}
        delivery = self.rig.delivery()
        lane = self.rig.lane
        self.rig.world.directory = Directory(persons=persons)

        (outcome,) = self.deliver(delivery, lane=lane)

        self.assertIsInstance(outcome, PermanentFailure)
        self.assertEqual(self.program.came, [])

    def test_report_goes_to_a_callback_outside_only(self) -> None:
        """What a client of the API gave is posted to, but never into our own network."""
        callback = "https://client.example.net/dlr"
        report = self.rig.delivery(
            kind=Kind.REPORT, destination=callback, person="john", reported="delivered"
        )
        lane = self.rig.gateway.lane("", callback)
        self.assertTrue(self.rig.lanes.is_open(lane))

        self.assertEqual(self.deliver(report, lane=lane), [Sent(delivered=True)])
        self.assertFalse(self.program.came[0].private_too)
        self.program.always = Forbidden("client.example.net is in a private network.")
        (outcome,) = self.deliver(report, lane=lane)
        assert isinstance(outcome, PermanentFailure)
        self.assertEqual(outcome.reason, "not-permitted")


class ParkingTests(GatewayCase):
    """Programs that are away."""

    def test_program_that_is_away_parks_and_is_shown(self) -> None:
        """The lane closes, what was not tried stays untried, and the operator sees why."""
        self.program.always = GONE
        batch = [self.rig.delivery(name, order_key=name) for name in "abcdefghijklm"]

        outcomes = self.deliver(*batch)

        self.assertFalse(self.rig.lanes.is_open(self.rig.lane))
        self.assertIsInstance(outcomes[0], TemporaryFailure)
        self.assertEqual(len(self.program.came), 1)
        self.assertEqual(outcomes[1:], [NotTried()] * 12)
        link = self.rig.gateway.link_status()
        self.assertFalse(link.up)
        self.assertIn("app.example.org cannot be reached", link.state)
        self.assertNotIn("/texts", link.state)

    def test_one_post_tries_whether_it_is_back(self) -> None:
        """The pauses grow while it stays away, and end when it answers."""
        self.program.always = GONE
        self.deliver(self.rig.delivery())
        pauses = []
        for _ in range(8):
            waited = 0
            while not self.rig.lanes.is_open(self.rig.lane):
                self.rig.clock.advance(1)
                waited += 1
            pauses.append(waited)
            self.deliver(self.rig.delivery("a"), self.rig.delivery("b", order_key="other"))
        self.assertEqual(pauses, [5, 10, 20, 40, 80, 160, 300, 300])
        self.assertEqual(len(self.program.came), 9)

        self.rig.clock.advance(300)
        self.program.always = Answer(200, {}, b"")
        outcomes = self.deliver(self.rig.delivery("a"), self.rig.delivery("b", order_key="other"))

        self.assertEqual(outcomes, [Sent(delivered=True)] * 2)
        self.assertTrue(self.rig.gateway.link_status().up)

    def test_other_programs_go_on(self) -> None:
        """One program that is away holds up no other."""
        self.program.answers = [GONE]
        self.deliver(self.rig.delivery())

        lane = self.rig.gateway.lane("", OTHER_URL)
        outcomes = self.deliver(self.rig.delivery(person="bot", destination=OTHER_URL), lane=lane)

        self.assertTrue(self.rig.lanes.is_open(lane))
        self.assertEqual(outcomes, [Sent(delivered=True)])

    def test_new_webhook_is_served_after_a_reload(self) -> None:
        """The lane of a webhook that is new in the configuration opens by itself."""
        url = "http://127.0.0.1:9000/new"
        persons = {**PERSONS, "john": evolve(PERSONS["john"], webhook=(url,))}
        self.rig.world.directory = Directory(persons=persons)

        self.rig.clock.advance(2)

        self.assertTrue(self.rig.lanes.is_open(self.rig.gateway.lane("", url)))

    def test_stop_closes_all_lanes(self) -> None:
        """Nothing is handed to a gateway that has stopped, and nothing wakes it."""
        self.program.always = GONE
        self.deliver(self.rig.delivery())

        self.successResultOf(self.rig.gateway.stopService())

        self.assertFalse(any(self.rig.lanes.is_open(lane) for lane in self.rig.lanes.closed))
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])


class TryingOutTests(GatewayCase):
    """The sample that an operator sends."""

    def test_sample_tells_what_came_back(self) -> None:
        """The operator reads whether the program took it, or what it said."""
        self.assertEqual(
            self.successResultOf(self.rig.gateway.try_out("app")),
            [f"{URL}: taken, status 200, 'ok'"],
        )
        self.assertEqual(self.program.came[0].data["attributes"]["from"], ALICE)
        self.program.always = Answer(404, {}, b"")
        self.assertEqual(
            self.successResultOf(self.rig.gateway.try_out("app")), [f"{URL}: not taken, status 404"]
        )
        self.program.always = GONE
        (sentence,) = self.successResultOf(self.rig.gateway.try_out("app"))
        self.assertIn("cannot be reached", sentence)

    def test_person_without_webhook_is_refused(self) -> None:
        """The sentence names the key that is missing."""
        failure = self.failureResultOf(self.rig.gateway.try_out("john"), Refused)

        self.assertIn("no key 'webhook'", failure.value.text)


class ConfigTests(SynchronousTestCase):
    """The keys of the section."""

    def test_timeout_is_bounded(self) -> None:
        """A time to answer that is longer than a batch may take is refused."""
        self.assertRaises(ConfigError, WebhookGateway, timeout=61.0)
