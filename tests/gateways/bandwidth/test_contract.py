"""Bandwidth's dialect does what every dialect must."""

from __future__ import annotations

from typing import Any, ClassVar

from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.gateways.bandwidth import FACTORY
from smsbridge.gateways.bandwidth.mirror import MIRROR
from smsbridge.provider.dialect import UNSURE, StatusUpdate
from smsbridge.provider.simulator.mirror import Fault
from tests.provider.contract import DAY_MS, NOW_MS, DialectContract


class BandwidthContractTests(DialectContract, SynchronousTestCase):
    """
    Nothing is signed, opting out is told later, and the list has no words.

    What the contract wants of lists with words is shown here for one without.
    """

    factory: ClassVar[Any] = FACTORY
    mirror_class: ClassVar[Any] = MIRROR
    credential = "api_secret"
    lacks: ClassVar[frozenset[Fault]] = frozenset(["opted-out", "no-credit", "quota"])
    signs = False
    can_discover = False
    group_in = True

    def test_lost_text_is_found(self) -> None:
        """The only text that fits is found; it is never said to be missing."""
        outgoing = self.outgoing("tom\u00e9 \U0001f600")
        old = self.exchange(outgoing)[0]
        old[0].created_at_ms -= 2 * DAY_MS
        self.exchange(self.outgoing(outgoing.body, recipients=("+12025550124",)))
        self.assertIs(self.looked_up(outgoing), UNSURE)

        kept, _ = self.exchange(outgoing)

        self.assertEqual(self.looked_up(outgoing), kept[0].remote_id)
        self.assertIs(self.looked_up(outgoing, [kept[0].remote_id]), UNSURE)

    def test_two_that_fit_are_not_told_apart(self) -> None:
        """With a second text to the same number nobody can tell, unless that one is known."""
        outgoing = self.outgoing("one")
        other, _ = self.exchange(self.outgoing("two"))
        kept, _ = self.exchange(outgoing)

        self.assertIs(self.looked_up(outgoing), UNSURE)
        self.assertEqual(self.looked_up(outgoing, [other[0].remote_id]), kept[0].remote_id)

    def test_text_of_another_length_is_not_ours(self) -> None:
        """The length is all that the list tells of the words."""
        self.exchange(self.outgoing("another text"))

        self.assertIs(self.looked_up(self.outgoing("one")), UNSURE)

    def test_listing_gives_both_ways_over_all_pages(self) -> None:
        """What became of all sent texts is listed, page by page; received ones have no words."""
        self.arrived("came")
        sent = [self.exchange(self.outgoing(f"text {number}"))[0][0] for number in range(205)]
        for text in sent:
            text.status = Status.DELIVERED
        more = self.dialect.listing(self.line, NOW_MS - DAY_MS, NOW_MS + 1000)
        events: list[Any] = []
        pages = 0

        while more is not None:
            page = self.dialect.listed(self.line, self.answer_of(more))
            events.extend(page.events)
            more = page.more
            pages += 1

        self.assertEqual(pages, 2)
        self.assertTrue(all(isinstance(each, StatusUpdate) for each in events))
        self.assertEqual({each.remote_id for each in events}, {each.remote_id for each in sent})
        self.assertEqual({each.status for each in events}, {Status.DELIVERED})
