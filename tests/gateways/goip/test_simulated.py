"""The gateway against the simulated box in memory: each text arrives once, in any weather."""

from __future__ import annotations

from collections import Counter
from typing import Any

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import NotTried, Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.goip.simulator.settings import INSTANT, PROFILES, Span, Timing
from smsbridge.gateways.goip.simulator.weather import Weather
from tests.gateways.goip.rig import NUMBER, Rig, delivery, line

STORM = Weather(
    loss=0.25, duplicate=0.3, reorder=0.3, delay=Span(0.0, 0.5), reorder_delay=Span(0.1, 1.0)
)
REAL = Timing(gsm_init=Span(0), sms=Span(2, 5), delivery_report=Span(1, 20))


def deliver_all(rig: Rig, names: list[str], most_s: float = 6000.0) -> dict[str, list[Any]]:
    """
    Send texts as the dispatcher does: again after a temporary failure, never after an unknown one.

    Returns all outcomes of each.
    """
    outcomes: dict[str, list[Any]] = {name: [] for name in names}
    left = list(names)
    while left and rig.reactor.seconds() < most_s:
        if not rig.lanes.is_open("box/l1"):
            rig.run(1)
            continue
        batch = left[:5]
        delivering = rig.gateway.deliver("box/l1", [delivery(name, name) for name in batch])
        while not delivering.called:
            rig.run(1)
        for name, outcome in zip(batch, delivering.result, strict=True):
            outcomes[name].append(outcome)
            if not isinstance(outcome, TemporaryFailure | NotTried):
                left.remove(name)
    return outcomes


class OutboundTests(SynchronousTestCase):
    """Texts to the network."""

    def test_clear_weather(self) -> None:
        """Every text is radiated once, and its report finds it."""
        for keys in ({}, {"mode": "one-shot"}):
            rig = Rig(line(**keys))
            box = rig.box(timing=REAL)
            names = [f"text {number}" for number in range(20)]

            outcomes = deliver_all(rig, names)
            rig.run(30)

            self.assertEqual([type(each[-1]) for each in outcomes.values()], [Sent] * 20)
            self.assertEqual([entry.text for entry in box.journal.radiated], names)
            delivered = [r.delivery_id for r in rig.inbox.reports if r.status is Status.DELIVERED]
            self.assertEqual(sorted(delivered), sorted(names))

    def test_storm(self) -> None:
        """
        With a quarter of all datagrams lost, others copied, late and out of order.

        Nothing is radiated twice; what is said to be sent was, what is said not to be was not.
        """
        for seed in range(3):
            for keys in ({}, {"mode": "one-shot"}):
                rig = Rig(line(**keys))
                box = rig.box(timing=REAL, seed=seed)
                box.set_weather(STORM)
                names = [f"text {number}" for number in range(15)]

                outcomes = deliver_all(rig, names)
                box.set_weather(Weather())
                rig.run(100)

                radiated = Counter(entry.text for entry in box.journal.radiated)
                self.assertEqual(box.journal.duplicates(), [], (seed, keys))
                for name, each in outcomes.items():
                    self.assertTrue(each, name)
                    self.assertIsInstance(each[-1], Sent | UnknownOutcome, name)
                    if isinstance(each[-1], Sent):
                        self.assertEqual(radiated[name], 1, name)
                amended = {r.delivery_id for r in rig.inbox.reports if r.status is Status.SENT}
                for name in amended:
                    self.assertEqual(radiated[name], 1, name)

    def test_box_that_sends_again_for_a_repeat(self) -> None:
        """With firmware that sends once per SEND, lost answers double nothing."""
        rig = Rig()
        box = rig.box(
            timing=REAL, profile=attrs.evolve(PROFILES["v3"], resend_dup=True, wait_share=0.5)
        )
        box.set_weather(Weather(loss=0.3), "out")

        deliver_all(rig, [f"text {number}" for number in range(15)])

        self.assertEqual(box.journal.duplicates(), [])

    def test_first_edition_of_the_firmware(self) -> None:
        """It has no sms_no, and no field in its keepalive says that it is registered."""
        rig = Rig()
        box = rig.box(timing=REAL, profile=PROFILES["v1"])

        outcomes = deliver_all(rig, ["a", "b"])
        rig.run(30)

        self.assertEqual([each[-1] for each in outcomes.values()], [Sent(""), Sent("")])
        self.assertEqual(box.journal.lost_count, 0)

    def test_reboot_in_the_middle(self) -> None:
        """What was under way is unknown or tried again; nothing is radiated twice."""
        rig = Rig()
        box = rig.box(timing=REAL)
        delivering = rig.gateway.deliver("box/l1", [delivery("a", "a"), delivery("b", "b")])
        rig.run(1)

        box.reboot(5.0)
        rig.run(70)
        first = list(delivering.result)
        later = deliver_all(
            rig,
            [
                name
                for name, o in zip("ab", first, strict=True)
                if not isinstance(o, Sent | UnknownOutcome)
            ],
        )

        self.assertTrue(first)
        self.assertTrue(all(isinstance(each[-1], Sent) for each in later.values()))
        self.assertEqual(box.journal.duplicates(), [])

    def test_network_refuses_a_number(self) -> None:
        """The others go on."""
        rig = Rig()
        box = rig.box()
        box.line(1).refuse_sends("+12025550199", 28)

        delivering = rig.gateway.deliver(
            "box/l1", [delivery("a", number="+12025550199"), delivery("b")]
        )
        rig.run(1)

        refused, sent = self.successResultOf(delivering)
        self.assertIsInstance(refused, PermanentFailure)
        self.assertIsInstance(sent, Sent)

    def test_sim_leaves_the_network(self) -> None:
        """The lane closes at the first refusal and opens at the next keepalive with a network."""
        rig = Rig()
        box = rig.box(timing=attrs.evolve(INSTANT, keepalive_s=30.0))
        box.line(1).log_out()

        outcomes = deliver_all(rig, ["a"], most_s=rig.reactor.seconds() + 20)
        self.assertFalse(rig.lanes.is_open("box/l1"))
        box.line(1).log_in()
        rig.run(31)
        outcomes = deliver_all(rig, ["a"])

        self.assertIsInstance(outcomes["a"][-1], Sent)
        self.assertEqual(box.journal.radiated_count, 1)

    def test_many_lines_at_once(self) -> None:
        """Lines do not wait for each other."""
        labels = [f"l{number}" for number in range(32)]
        rig = Rig(*(line(label, f"goip{label}") for label in labels))
        box = rig.box(*(f"goip{label}" for label in labels), timing=REAL)
        sending = [
            rig.gateway.deliver(
                f"box/{label}",
                [delivery(f"{label}-{n}", f"{label} {n}", label=label) for n in range(4)],
            )
            for label in labels
        ]

        rig.run(25)

        for each in sending:
            self.assertEqual([type(o) for o in self.successResultOf(each)], [Sent] * 4)
        self.assertEqual(box.journal.radiated_count, 128)
        self.assertEqual(box.journal.duplicates(), [])


class InboundTests(SynchronousTestCase):
    """Texts from the network."""

    def test_storm(self) -> None:
        """Each text that the box did not lose is one message; what it thinks taken is there."""
        for seed in range(3):
            rig = Rig()
            box = rig.box(seed=seed)
            box.set_weather(STORM)

            for number in range(100):
                box.line(1).receive_sms(NUMBER, f"text {number}")
                rig.run(0.3)
            rig.run(40)

            counted = Counter(message.body for message in rig.inbox.messages)
            self.assertEqual(set(counted.values()), {1})
            self.assertGreaterEqual(len(counted), 100 - box.journal.lost_count)
            self.assertGreaterEqual(len(counted), box.journal.accepted)

    def test_store_away_for_a_while(self) -> None:
        """Eight seconds without a store lose nothing: the box repeats what was not acknowledged."""
        rig = Rig()
        box = rig.box()
        rig.inbox.failure = TemporaryFailure("internal")
        for number in range(20):
            box.line(1).receive_sms(NUMBER, f"text {number}")
        rig.run(8)
        self.assertEqual(box.journal.accepted, 0)
        rig.inbox.failure = None
        rig.run(3)

        self.assertEqual(len(rig.inbox.messages), 20)
        self.assertEqual((box.journal.accepted, box.journal.lost_count), (20, 0))

    def test_firmware_that_hands_on_parts(self) -> None:
        """Joined where the operator asked for it, as they come otherwise."""
        text = "привет, мир " * 30
        for join, expected in ((True, 1), (False, 6)):
            rig = Rig(line(join_parts=join))
            box = rig.box(profile=PROFILES["v2"])

            box.line(1).receive_sms(NUMBER, text)
            rig.run(12)

            bodies = [message.body for message in rig.inbox.messages]
            self.assertEqual((len(bodies), "".join(bodies)), (expected, text))
            self.assertEqual(box.journal.lost_count, 0)

    def test_restart_of_a_box_without_a_clock(self) -> None:
        """Its numbers come again; its texts are not taken for repeats."""
        rig = Rig()
        box = rig.box(recvid_clock="epoch")
        box.line(1).receive_sms(NUMBER, "before")
        rig.run(1)
        box.reboot(1.0)
        rig.run(3)
        box.line(1).receive_sms(NUMBER, "after")
        rig.run(1)

        self.assertEqual([m.body for m in rig.inbox.messages], ["before", "after"])

    def test_goippy_ack_satisfies_a_lenient_device_only(self) -> None:
        """A real box would repeat and give up, which is why it is not the default."""
        for lenient, lost in ((True, 0), (False, 1)):
            rig = Rig(line(dialect="goippy"))
            box = rig.box(profile=attrs.evolve(PROFILES["v3"], lenient_ack=lenient))

            box.line(1).receive_sms(NUMBER, "hello")
            rig.run(20)

            self.assertEqual(len(rig.inbox.messages), 1)
            self.assertEqual(box.journal.lost_count, lost)

    def test_nat_that_forgets(self) -> None:
        """After a change of port both directions work again with the next keepalive."""
        rig = Rig()
        box = rig.box()
        box.rebind(1)
        box.line(1).receive_sms(NUMBER, "hello")
        rig.run(31)

        delivering = rig.gateway.deliver("box/l1", [delivery()])
        rig.run(1)

        self.assertEqual(len(rig.inbox.messages), 1)
        self.assertIsInstance(self.successResultOf(delivering)[0], Sent)


class CallTests(SynchronousTestCase):
    """The call log, as the box tells it."""

    def test_answered_missed_and_outgoing_calls(self) -> None:
        """Each is one row."""
        rig = Rig()
        box = rig.box()
        box.line(1).call_in("+12025550111", 3, 10)
        rig.run(20)
        box.line(1).call_in("+12025550112", 5, 0)
        rig.run(20)
        box.line(1).call_out("+12025550113", 3, 7)
        rig.run(20)

        rows = [(call.incoming, call.number) for call in rig.inbox.calls]
        self.assertEqual(
            rows, [(True, "+12025550111"), (True, "+12025550112"), (False, "+12025550113")]
        )
        answered, missed, outgoing = (call.duration_s for call in rig.inbox.calls)
        # The box counts whole seconds of its own.
        self.assertIn(answered, (9, 10))
        self.assertIsNone(missed)
        self.assertIn(outgoing, (6, 7))
        self.assertEqual(box.journal.lost_count, 0)

    def test_storm(self) -> None:
        """Lost, copied and late pushes make no second row of one call."""
        rig = Rig()
        box = rig.box(seed=5)
        box.set_weather(attrs.evolve(STORM, loss=0.1, reorder=0.0, delay=Span(0.0)))
        for number in range(20):
            box.line(1).call_in(f"+120255501{number:02d}", 3, 10)
            rig.run(40)

        numbers = [call.number for call in rig.inbox.calls]
        self.assertEqual(len(numbers), len(set(numbers)))
        self.assertGreaterEqual(len(numbers), 19)


class UssdTests(SynchronousTestCase):
    """Dialogues with the network's menus."""

    def test_menu(self) -> None:
        """A choice is another code, in the same dialogue."""
        rig = Rig()
        rig.box(profile=attrs.evolve(PROFILES["v3"], ussd_padding=True))
        said = []
        for code in ("*111#", "2", "1"):
            asking = rig.gateway.ussd("l1", code)
            rig.run(1)
            said.append(self.successResultOf(asking))

        self.assertEqual(
            said,
            [
                "1) Balance\n2) Top up\n0) Leave",
                "Choose an amount\n1) 5.00\n2) 10.00",
                "Topped up by 5.00",
            ],
        )

    def test_slow_network_is_not_disturbed(self) -> None:
        """An answer after half a minute still comes, because nothing was repeated before."""
        rig = Rig()
        rig.box(timing=attrs.evolve(INSTANT, keepalive_s=30.0, ussd=Span(40)))

        asking = rig.gateway.ussd("l1", "*100#")
        rig.run(45)

        self.assertEqual(self.successResultOf(asking), "Your balance is 10.00")
