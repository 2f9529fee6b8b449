"""Tests of the values that travel through the bridge."""

from __future__ import annotations

from typing import Any

from attrs import evolve
from attrs.exceptions import FrozenInstanceError
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Delivery, Direction, Kind, Status, storable

ANY_TEXT = st.text(st.characters(exclude_categories=()))


def delivery(**changes: Any) -> Delivery:
    """Make a text from the network to John."""
    values: dict[str, Any] = {
        "delivery_id": "m.0",
        "message_id": "m",
        "kind": Kind.MESSAGE,
        "gateway": "chat",
        "lane": "chat",
        "line": "one",
        "person": "john",
        "destination": "john@example.org",
        "order_key": "k",
        "status": Status.QUEUED,
        "attempts": 0,
        "created_at_ms": 0,
        "expires_at_ms": 1,
        "body": "hi",
        "sender": "+12025550123",
        "recipients": ("+12025550100",),
    }
    values.update(changes)
    return Delivery(**values)


class DeliveryTests(SynchronousTestCase):
    """Who takes part, and that nobody changes it."""

    def test_a_text_from_one_has_one_party(self) -> None:
        """The other party is who wrote."""
        self.assertEqual(delivery().parties, ("+12025550123",))

    def test_a_group_has_everybody_but_us(self) -> None:
        """The first recipient is our own number; each other is named once."""
        group = delivery(recipients=("+12025550100", "+12025550124", "+12025550123"))

        self.assertEqual(group.parties, ("+12025550123", "+12025550124"))

    def test_what_goes_out_has_its_recipients(self) -> None:
        """Sorted, so that a group is the same whoever writes."""
        out = delivery(direction=Direction.OUT, recipients=("+12025550124", "+12025550123"))

        self.assertEqual(out.parties, ("+12025550123", "+12025550124"))

    def test_is_frozen(self) -> None:
        """A value that travels is not changed on the way."""
        made = delivery()

        self.assertRaises(FrozenInstanceError, setattr, made, "status", Status.SENT)
        self.assertEqual(evolve(made, attempts=1).attempts, 1)

    def test_statuses_are_what_programs_read(self) -> None:
        """The values are pinned; they stand in the database and in JSON."""
        self.assertEqual(
            [str(status) for status in Status],
            [
                "queued",
                "sending",
                "sent",
                "delivered",
                "failed",
                "expired",
                "uncertain",
                "dropped",
            ],
        )


class StorableTests(SynchronousTestCase):
    """Texts that databases and wires take."""

    def test_replaces_nul_and_lone_surrogates(self) -> None:
        """Everything else stays as it came."""
        self.assertEqual(storable("a\x00\ud83d\x07\U0001f600"), "a\ufffd\ufffd\x07\U0001f600")
        self.assertEqual(storable("plain"), "plain")

    @given(ANY_TEXT)
    def test_result_can_be_encoded(self, text: str) -> None:
        """The length stays, UTF-8 takes it, and doing it again changes nothing."""
        found = storable(text)

        self.assertEqual(found.encode().decode(), found)
        self.assertNotIn("\x00", found)
        self.assertEqual(len(found), len(text))
        self.assertEqual(storable(found), found)
