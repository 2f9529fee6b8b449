"""Tests of the memory of texts that went out lately."""

from __future__ import annotations

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.provider.dialect import StatusUpdate
from smsbridge.provider.early import Early, group_reference

ALICE, BOB = "+12025550123", "+12025550124"


def update(remote_id: str = "T1", delivery_id: str = "", recipient: str = "") -> StatusUpdate:
    """Return a status."""
    return StatusUpdate(
        remote_id=remote_id,
        status=Status.DELIVERED,
        delivery_id=delivery_id,
        recipient=recipient,
    )


class EarlyTests(SynchronousTestCase):
    """What is remembered, and for how long."""

    def setUp(self) -> None:
        """Begin with nothing."""
        self.clock = Clock()
        self.early = Early(self.clock)

    def test_answer_brings_out_what_came_before(self) -> None:
        """A status that overtook the answer gets its delivery, in the order of arrival."""
        self.early.send_began()
        self.assertTrue(self.early.keep(update()))
        self.assertTrue(self.early.keep(update("T2")))

        found = self.early.answered("T1", {ALICE: "a.0"})

        self.assertEqual([each.delivery_id for each in found], ["a.0"])
        self.assertEqual(self.early.answered("T1", {ALICE: "a.0"}), [])

    def test_nothing_is_kept_while_nothing_is_sent(self) -> None:
        """A status of a text that somebody else sent is of no use."""
        self.early.send_began()
        self.early.send_ended()

        self.assertFalse(self.early.keep(update()))

    def test_what_was_kept_is_forgotten_after_a_while(self) -> None:
        """An answer after more than five minutes finds nothing."""
        self.early.send_began()
        self.early.keep(update())
        self.clock.advance(301)

        self.assertEqual(self.early.answered("T1", {ALICE: "a.0"}), [])

    def test_memory_is_bounded(self) -> None:
        """However many strange statuses come, the oldest make room."""
        self.early.send_began()
        for number in range(2001):
            self.early.keep(update(f"T{number}"))

        self.assertEqual(self.early.answered("T0", {ALICE: "a.0"}), [])
        self.assertEqual(len(self.early.answered("T1", {ALICE: "a.0"})), 1)

    def test_ids_are_bounded_too(self) -> None:
        """Of very many texts the latest are known."""
        for number in range(5001):
            self.early.answered(f"T{number}", {ALICE: f"{number}.0"})

        self.assertEqual(self.early.delivery_of(update("T0")), "")
        self.assertEqual(self.early.delivery_of(update("T5000")), "5000.0")

    def test_status_of_an_answered_text_has_its_delivery(self) -> None:
        """Between the answer and its record the store knows less than we do."""
        self.early.answered("T1", {ALICE: "a.0"})

        self.assertEqual(self.early.delivery_of(update()), "a.0")
        self.assertEqual(self.early.delivery_of(update("T2")), "")
        self.assertEqual(self.early.delivery_of(update("T1", "b.0")), "b.0")

    def test_status_of_a_group_text_is_about_one_of_them(self) -> None:
        """The recipient tells which; what the group as a whole is called tells nothing."""
        self.early.answered("T1", {ALICE: "a.0", BOB: "a.1"})
        reference = group_reference("a")

        self.assertEqual(self.early.delivery_of(update("T1", reference, BOB)), "a.1")
        self.assertEqual(self.early.delivery_of(update("T1", reference)), "")
        self.assertRegex(reference, r"^[0-9a-f.-]{1,64}$")

    def test_ids_of_others_are_known(self) -> None:
        """A look-up leaves out what belongs to another text, and not its own."""
        self.early.answered("T1", {ALICE: "a.0"})
        self.early.answered("T2", {ALICE: "b.0"})

        self.assertEqual(self.early.known(["b.0"]), {"T1"})
