"""
What the bridge itself serves and posts in Flowroute's shape, and its own dialect of Flowroute.

The two were written apart from each other, so that each shows where the other is wrong.
"""

from __future__ import annotations

import json

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Kind, Media, Status
from smsbridge.gateways.flowroute.config import FlowrouteGateway, FlowrouteLine
from smsbridge.gateways.flowroute.payload import FlowrouteDialect
from smsbridge.gateways.webhook import payload
from smsbridge.provider.dialect import Event, Hook, Outgoing, OutgoingMedia, Received, StatusUpdate
from smsbridge.web.api.messages import NewText
from tests.gateways.webhook.rig import ALICE, OURS, Rig


class KinshipTests(SynchronousTestCase):
    """The bridge as Flowroute's client, and as its likeness."""

    def setUp(self) -> None:
        """Build the dialect."""
        self.dialect = FlowrouteDialect(
            FlowrouteGateway(access_key="12345678", secret_key="not-a-secret")
        )

    def events(self, shape: payload.Shape) -> list[Event]:
        """Return what the dialect reads of what a bridge posts."""
        hook = Hook(method="POST", url="", body=payload.encode(shape))
        return list(self.dialect.events(hook))

    def test_our_api_takes_what_the_dialect_sends(self) -> None:
        """Every attribute is known to the operation that sends a text, and is read as meant."""
        (request,) = self.dialect.requests(
            Outgoing(
                delivery_id="0198.1",
                line=FlowrouteLine(label="main", gateway="work", number=OURS),
                sender=OURS,
                recipients=(ALICE,),
                body="look",
                media=(OutgoingMedia(url="https://a.example/1.jpg", content_type="image/jpeg"),),
                callback="https://sms.example.org/hook/work/status",
            )
        )
        attributes = json.loads(request.body)["data"]["attributes"]

        read = NewText.model_validate(attributes)

        self.assertEqual(read.body, "look")
        self.assertEqual(read.media_urls, ["https://a.example/1.jpg"])
        self.assertEqual(read.dlr_callback, "https://sms.example.org/hook/work/status")
        self.assertTrue(read.is_mms)
        self.assertLessEqual(
            set(attributes), {field.alias or name for name, field in NewText.model_fields.items()}
        )

    def test_dialect_reads_what_our_webhooks_post(self) -> None:
        """A text with a picture, as a program gets it."""
        medium = Media(content_type="image/png", size=7, name="a.png", digest="d" * 64)
        delivery = evolve(Rig().delivery(body=" again \U0001f600"), media=(medium,))

        (found,) = self.events(payload.post_of(delivery, lambda _: "https://a.example/1.png"))

        assert isinstance(found, Received)
        self.assertEqual((found.ours, found.sender, found.body), (OURS, ALICE, " again \U0001f600"))
        self.assertEqual(
            [(each.url, each.content_type, each.size) for each in found.media],
            [("https://a.example/1.png", "image/png", 7)],
        )
        self.assertIsNotNone(found.sent_at_ms)

    def test_dialect_reads_what_our_receipts_say(self) -> None:
        """The words of a receipt mean the same on both sides."""
        for status in (Status.SENT, Status.DELIVERED, Status.FAILED, Status.EXPIRED):
            delivery = evolve(Rig().delivery(), kind=Kind.REPORT, reported=status.value)

            (found,) = self.events(payload.post_of(delivery, lambda _: ""))

            assert isinstance(found, StatusUpdate)
            self.assertEqual(found.status, status)
            self.assertEqual(found.remote_id, delivery.message_id)
