"""
What every implementation of a seam must do, as mixins of tests.

A test case inherits the mixin and says how to make the thing and how to play its peer; the tests
are the same for all.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import attrs
from twisted.internet.defer import Deferred
from zope.interface.verify import verifyObject

from smsbridge.core.message import Delivery, Outcome, Sent
from smsbridge.core.records import LineStatus, LinkStatus
from smsbridge.errors import REASONS, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.interfaces import IGateway, IGatewayFactory
from smsbridge.keys import declared

if TYPE_CHECKING:
    from twisted.trial.unittest import SynchronousTestCase as Mixin
else:
    # Not a test case by itself: trial would run it where it is imported.
    Mixin = object

#: What the dispatcher sees when the peer does not answer, by what the hop can know.
NOTHING_LEFT = TemporaryFailure
NOBODY_KNOWS = UnknownOutcome


class GatewayContract(Mixin):
    """
    The contract of `IGateway`, with one lane and a peer that the test case plays.

    Inherit it before `SynchronousTestCase`.

    :cvar factory: the ``FACTORY`` of the gateway's package.
    :cvar silence_is: `NOTHING_LEFT` or `NOBODY_KNOWS`: the outcome when a peer that was there takes
        the delivery and never answers.
    """

    factory: Any = None
    silence_is: type[Exception] = NOTHING_LEFT

    # What a test case says.

    def start_gateway(self) -> Any:
        """Return a started gateway whose peer is there."""
        raise NotImplementedError

    def lane(self) -> str:
        """Return the lane of its one peer."""
        raise NotImplementedError

    def delivery(self, name: str, body: str = "hello") -> Delivery:
        """Return a delivery of that lane; `name` makes its id."""
        raise NotImplementedError

    def peer_takes(self) -> None:
        """From now on let the peer take what it gets."""
        raise NotImplementedError

    def peer_refuses(self) -> None:
        """From now on let the peer refuse for good what it gets."""
        raise NotImplementedError

    def peer_takes_and_is_silent(self) -> None:
        """From now on let the peer go as far as to take a delivery, and say no more."""
        raise NotImplementedError

    def peer_is_gone(self) -> None:
        """From now on let the peer say nothing at all."""
        raise NotImplementedError

    def bodies_at_peer(self) -> list[str]:
        """Return the texts that the peer got, in its order."""
        raise NotImplementedError

    def pass_time(self, seconds: float) -> None:
        """Let time pass, and everything happen that is due."""
        raise NotImplementedError

    def configuration(self) -> tuple[Any, Any]:
        """Return the config and the lines with which `start_gateway` builds."""
        raise NotImplementedError

    # What holds for all.

    def outcomes(self, gateway: Any, *deliveries: Delivery) -> list[Outcome]:
        """Deliver a batch and return what became of it, however long that takes."""
        delivering = gateway.deliver(self.lane(), list(deliveries))
        self.pass_time(0)
        if not delivering.called:
            self.pass_time(gateway.settle_within_s)
        settled = self.successResultOf(delivering)
        if any(isinstance(each, Deferred) for each in settled):
            self.pass_time(gateway.settle_within_s)
        return [
            self.successResultOf(each) if isinstance(each, Deferred) else each for each in settled
        ]

    def test_factory_keeps_its_interface(self) -> None:
        """The folder's FACTORY is what the loader expects."""
        self.assertTrue(verifyObject(IGatewayFactory, self.factory))

    def test_every_key_is_documented(self) -> None:
        """The operator can read what each key of the sections is for."""
        classes = [self.factory.config_class]
        if self.factory.line_class is not None:
            classes.append(self.factory.line_class)

        for section_class in classes:
            self.assertTrue(attrs.has(section_class))
            for each in declared(section_class):
                self.assertRegex(each.doc, r"^[A-Z].*\.$", f"{section_class.__name__}.{each.name}")

    def test_gateway_keeps_its_interface(self) -> None:
        """What the factory builds is a whole gateway, of the factory's kind."""
        gateway = self.start_gateway()

        self.assertTrue(verifyObject(IGateway, gateway))
        self.assertEqual(gateway.kind, self.factory.kind)
        self.assertGreaterEqual(gateway.batch_size, 1)
        self.assertGreater(gateway.settle_within_s, 0)

    def test_lanes_begin_with_the_label(self) -> None:
        """Two gateways never share a lane."""
        gateway = self.start_gateway()

        delivery = self.delivery("a")

        lane = gateway.lane(delivery.line, delivery.destination)
        self.assertEqual(lane.partition("/")[0], gateway.label)
        self.assertEqual(lane, self.lane())

    def test_what_the_peer_takes_is_sent(self) -> None:
        """An answer of the peer is the evidence for `Sent`."""
        gateway = self.start_gateway()
        self.peer_takes()

        (outcome,) = self.outcomes(gateway, self.delivery("a"))

        self.assertIsInstance(outcome, Sent)

    def test_refusal_is_a_permanent_failure(self) -> None:
        """What the peer refuses for good is not tried again, and the sender learns a reason."""
        gateway = self.start_gateway()
        self.peer_refuses()

        (outcome,) = self.outcomes(gateway, self.delivery("a"))

        self.assertIsInstance(outcome, PermanentFailure)
        self.assertIn(outcome.reason, REASONS)

    def test_peer_that_never_answers_is_a_temporary_failure(self) -> None:
        """What provably did not leave is tried again."""
        gateway = self.start_gateway()
        self.peer_is_gone()

        (outcome,) = self.outcomes(gateway, self.delivery("a"))

        self.assertIsInstance(outcome, TemporaryFailure)

    def test_silence_after_the_peer_took_it_is_told_honestly(self) -> None:
        """Where nobody can tell whether it went out, nobody claims to know."""
        gateway = self.start_gateway()
        self.peer_takes_and_is_silent()

        (outcome,) = self.outcomes(gateway, self.delivery("a"))

        self.assertIsInstance(outcome, self.silence_is)

    def test_outcomes_come_in_order_and_complete(self) -> None:
        """There is one outcome for each delivery, and the peer got them in their order."""
        gateway = self.start_gateway()
        self.peer_takes()
        batch = [self.delivery(name, f"text {name}") for name in "abcdef"]

        outcomes = self.outcomes(gateway, *batch)

        self.assertEqual(len(outcomes), len(batch))
        for outcome in outcomes:
            self.assertIsInstance(outcome, Sent)
        self.assertEqual(self.bodies_at_peer(), [delivery.body for delivery in batch])

    def test_empty_batch_has_no_outcomes(self) -> None:
        """Nothing in, nothing out."""
        self.assertEqual(self.outcomes(self.start_gateway()), [])

    def test_delivering_after_stop_is_a_temporary_failure(self) -> None:
        """What comes too late stays queued."""
        gateway = self.start_gateway()
        stopping = gateway.stopService()
        self.pass_time(60)
        if stopping is not None:
            self.successResultOf(stopping)

        outcomes = self.outcomes(gateway, self.delivery("a"), self.delivery("b"))

        self.assertEqual([type(outcome) for outcome in outcomes], [TemporaryFailure] * 2)

    def test_stopping_twice_does_no_harm(self) -> None:
        """A second stop is as good as the first."""
        gateway = self.start_gateway()

        for _ in range(2):
            stopping = gateway.stopService()
            self.pass_time(60)
            if stopping is not None:
                self.successResultOf(stopping)

        self.assertFalse(gateway.running)

    def test_stopping_settles_what_is_under_way(self) -> None:
        """No delivery is left without an outcome."""
        gateway = self.start_gateway()
        self.peer_is_gone()
        delivering = gateway.deliver(self.lane(), [self.delivery("a"), self.delivery("b")])
        self.pass_time(0)

        stopping = gateway.stopService()
        self.pass_time(60)

        if stopping is not None:
            self.successResultOf(stopping)
        self.assertEqual(len(self.successResultOf(delivering)), 2)

    def test_update_without_change_disturbs_nothing(self) -> None:
        """A reload that changes nothing for this gateway leaves it as it is."""
        gateway = self.start_gateway()
        self.peer_takes()
        config, lines = self.configuration()

        self.assertTrue(gateway.update(config, lines))

        (outcome,) = self.outcomes(gateway, self.delivery("a"))
        self.assertIsInstance(outcome, Sent)

    def test_tells_its_state(self) -> None:
        """The operator sees one entry for each line, and one for the link."""
        gateway = self.start_gateway()
        _, lines = self.configuration()

        link = gateway.link_status()
        statuses = gateway.line_status()

        self.assertIsInstance(link, LinkStatus)
        self.assertEqual((link.gateway, link.kind, link.up), (gateway.label, gateway.kind, True))
        self.assertEqual([status.line for status in statuses], list(lines))
        for status in statuses:
            self.assertIsInstance(status, LineStatus)
            self.assertEqual(status.gateway, gateway.label)
