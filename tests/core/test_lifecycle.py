"""Tests of the table of a delivery's status."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.lifecycle import (
    FINAL,
    TRANSITIONS,
    Event,
    IllegalTransition,
    advance,
    sources,
)
from smsbridge.core.message import Status


class LifecycleTests(SynchronousTestCase):
    """What may become of a delivery."""

    def test_the_usual_way(self) -> None:
        """Queued, being sent, sent, delivered."""
        status = Status.QUEUED
        for event in (Event.CLAIM, Event.TAKEN, Event.DELIVERED):
            status = advance(status, event)

        self.assertIs(status, Status.DELIVERED)

    def test_what_is_not_in_the_table_cannot_happen(self) -> None:
        """Every pair is either in the table or refused with a sentence."""
        for status in Status:
            for event in Event:
                if (status, event) in TRANSITIONS:
                    self.assertIs(advance(status, event), TRANSITIONS[status, event])
                else:
                    error = self.assertRaises(IllegalTransition, advance, status, event)
                    self.assertIn(f"that is {status} cannot {event.name}", str(error))

    def test_delivered_is_the_last_word(self) -> None:
        """Nothing takes back that the device has it."""
        self.assertEqual([e for s, e in TRANSITIONS if s is Status.DELIVERED], [])

    def test_the_network_knows_better_than_our_last_word(self) -> None:
        """A late report of delivery counts after any attempt that may have reached the network."""
        for status in (
            Status.SENDING,
            Status.SENT,
            Status.UNCERTAIN,
            Status.FAILED,
            Status.EXPIRED,
        ):
            self.assertIs(advance(status, Event.DELIVERED), Status.DELIVERED)

    def test_an_end_is_reopened_by_nobody_but_a_person(self) -> None:
        """What is finished is sent again only when somebody asks for it."""
        for (status, event), reached in TRANSITIONS.items():
            if status in FINAL or status is Status.UNCERTAIN:
                self.assertNotEqual(reached, Status.SENDING)
                if reached is Status.QUEUED:
                    self.assertIs(event, Event.RESEND)

    def test_an_unknown_outcome_is_not_repeated_by_itself(self) -> None:
        """Uncertain is left only by evidence or by a person."""
        self.assertEqual(
            {event for status, event in TRANSITIONS if status is Status.UNCERTAIN},
            {
                Event.TAKEN,
                Event.DELIVERED,
                Event.FAIL,
                Event.EXPIRE,
                Event.DROP,
                Event.RESEND,
            },
        )

    def test_only_what_waits_is_claimed(self) -> None:
        """Two claims of one delivery cannot both succeed."""
        self.assertEqual(sources(Event.CLAIM), (Status.QUEUED,))
        self.assertEqual(sources(Event.RELEASE), (Status.SENDING,))

    def test_every_status_can_be_reached(self) -> None:
        """There is no status without a way to it."""
        self.assertEqual(set(TRANSITIONS.values()), set(Status))
