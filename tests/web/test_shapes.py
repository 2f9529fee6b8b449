"""Tests for `smsbridge.web.shapes`: what programs read."""

from __future__ import annotations

from typing import Any

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Kind, Status
from smsbridge.core.records import DeliveryRecord, MessageRecord
from smsbridge.web import shapes


def failed(reason: str, text: str) -> MessageRecord:
    """Return a message whose one delivery failed."""
    return MessageRecord(
        message_id="01900000-0000-7000-8000-000000000001",
        direction="out",
        line="work-main",
        sender="+12025550100",
        recipients=("+12025550123",),
        author="john",
        body="Hello",
        media=(),
        conversation="work-main +12025550123",
        created_at_ms=1_760_000_000_000,
        sent_at_ms=None,
        deliveries=(
            DeliveryRecord(
                delivery_id="01900000-0000-7000-8000-000000000001.0",
                message_id="01900000-0000-7000-8000-000000000001",
                kind=Kind.MESSAGE.value,
                to="+12025550123",
                gateway="work",
                line="work-main",
                person="",
                status=Status.FAILED,
                attempts=1,
                reason=reason,
                text=text,
                remote_id="",
                created_at_ms=1_760_000_000_000,
                due_at_ms=None,
            ),
        ),
    )


def delivery_of(shape: Any) -> Any:
    """Return the one delivery of a message's shape."""
    (delivery,) = shape["deliveries"]
    return delivery


class MessageTests(SynchronousTestCase):
    """`shapes.message` and `shapes.traced`."""

    def test_reason_has_the_code_of_who_refused(self) -> None:
        """Programs that see nothing but the list can tell why a text failed."""
        record = failed("opted-out", "The recipient asked not to be texted. (21610)")

        self.assertEqual(
            delivery_of(shapes.message(record))["reason"],
            "opted-out: The recipient asked not to be texted. (21610)",
        )
        self.assertEqual(delivery_of(shapes.message(failed("dropped", "")))["reason"], "dropped")

    def test_trace_has_reason_and_words_apart(self) -> None:
        """Where there is a member for the words, the reason is the word alone."""
        delivery = delivery_of(shapes.traced(failed("opted-out", "No more. (21610)")))

        self.assertEqual(delivery["reason"], "opted-out")
        self.assertEqual(delivery["text"], "No more. (21610)")
