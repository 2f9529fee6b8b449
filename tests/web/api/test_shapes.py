"""Tests of `smsbridge.web.api.shapes` and `cursor`: what the operations' tests do not reach."""

from __future__ import annotations

import base64

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.directory import World
from smsbridge.core.message import Kind, Status
from smsbridge.core.records import DeliveryRecord, MessageRecord
from smsbridge.core.threads import Viewer
from smsbridge.web.api.cursor import place_of
from smsbridge.web.api.operation import ApiError
from smsbridge.web.api.shapes import Shapes, conversation_id, conversation_of, pretty
from tests.web.backend import NUMBER, directory
from tests.web.bridge import START_MS, FakeBridge

JOHN = Viewer("john", ("one",))


def delivery(status: Status, **more: object) -> DeliveryRecord:
    """Make a delivery to a number."""
    made = DeliveryRecord(
        delivery_id="d",
        message_id="m",
        kind=Kind.MESSAGE,
        to=NUMBER,
        gateway="box",
        line="one",
        person="",
        status=status,
        attempts=1,
        reason="",
        text="",
        remote_id="",
        created_at_ms=START_MS,
        due_at_ms=None,
    )
    return evolve(made, **more)


def message(*deliveries: DeliveryRecord, direction: str = "out") -> MessageRecord:
    """Make a message of John's."""
    return MessageRecord(
        message_id="m",
        direction=direction,
        line="one",
        sender="+12025550100",
        recipients=(NUMBER,),
        author="john",
        body="x",
        media=(),
        conversation=f"one|{NUMBER}",
        created_at_ms=START_MS,
        sent_at_ms=None,
        deliveries=deliveries,
    )


class StatusTests(SynchronousTestCase):
    """The status of a message out of those of its deliveries."""

    def status(self, *deliveries: DeliveryRecord, direction: str = "out") -> tuple[str, str]:
        """Return status and detail."""
        shapes = Shapes(World(directory()), FakeBridge(), lambda: START_MS, str)
        shape = shapes.message_attributes(message(*deliveries, direction=direction), JOHN)
        return shape["status"], shape["detail"]

    def test_the_worst_is_told(self) -> None:
        """Failed before waiting, waiting before sent."""
        order = (
            Status.FAILED,
            Status.EXPIRED,
            Status.UNCERTAIN,
            Status.DROPPED,
            Status.QUEUED,
            Status.SENDING,
            Status.SENT,
            Status.DELIVERED,
        )
        for number, status in enumerate(order):
            found, _ = self.status(*(delivery(each) for each in reversed(order[number:])))
            self.assertEqual(found, status.value)

    def test_reason_has_a_sentence_where_the_peer_gave_none(self) -> None:
        """A reason alone is explained."""
        self.assertEqual(
            self.status(delivery(Status.EXPIRED, reason="expired")),
            ("expired", "It could not be delivered in time."),
        )
        self.assertEqual(
            self.status(delivery(Status.FAILED, reason="network", text="code 7")),
            ("failed", "code 7"),
        )

    def test_only_what_was_never_tried_is_scheduled(self) -> None:
        """What waits for another attempt is queued, whenever that is."""
        later = START_MS + 60_000
        for attempts, status in ((0, "scheduled"), (1, "queued")):
            found, _ = self.status(delivery(Status.QUEUED, attempts=attempts, due_at_ms=later))
            self.assertEqual(found, status)
        self.assertEqual(
            self.status(delivery(Status.QUEUED, attempts=0, due_at_ms=START_MS))[0], "queued"
        )

    def test_without_deliveries_it_is_there(self) -> None:
        """A text for a person who reads in the browser has arrived when it is stored."""
        self.assertEqual(self.status(direction="internal")[0], "delivered")


class NumberTests(SynchronousTestCase):
    """Numbers as people write them."""

    def test_pretty(self) -> None:
        """National at home, international abroad, and as it is where it is no number."""
        for number, country, written in (
            ("+12025550123", "US", "(202) 555-0123"),
            ("+12025550123", "EE", "+1 202-555-0123"),
            ("72345", "US", "72345"),
            ("Acme", "US", "Acme"),
            ("+1", "US", "+1"),
            ("", "US", ""),
        ):
            self.assertEqual(pretty(number, country), written)


class ForeignTests(SynchronousTestCase):
    """Ids and cursors that we never gave out."""

    @given(st.text())
    def test_conversations(self, given_id: str) -> None:
        """Any text is the id of one conversation or of none, and raises nothing."""
        name = conversation_of(given_id)
        if name:
            self.assertEqual(conversation_id(name), given_id)

    @given(st.text())
    def test_names_come_back(self, name: str) -> None:
        """Every name that the store can hold comes back from its id."""
        if "\0" not in name:
            self.assertEqual(conversation_of(conversation_id(name)), name)

    @given(st.text() | st.binary().map(lambda raw: base64.urlsafe_b64encode(raw).decode()))
    def test_cursors(self, cursor: str) -> None:
        """Any text is a harmless place in a list or an error of the caller's."""
        try:
            place = place_of(cursor)
        except ApiError as e:
            self.assertEqual((e.status, e.parameter), (400, "cursor"))
        else:
            self.assertLessEqual(len(place), 64)
