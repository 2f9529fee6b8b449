"""Tests of asking a provider what it has: past texts, and the numbers of the account."""

from __future__ import annotations

from typing import Any
from urllib.parse import parse_qs, urlsplit

from attrs import evolve
from twisted.internet.defer import Deferred, succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.core.records import FoundLine, MessageRecord, Reconciled
from smsbridge.errors import PermanentFailure, TemporaryFailure
from smsbridge.provider.client import NoAnswer, NotSent
from smsbridge.provider.dialect import Response
from tests.provider.fakes import OURS, THEIRS, FakeGateway, text_event
from tests.provider.rig import SECOND_LINE, START_MS, Rig, answer, line

DAY_MS = 86_400_000
LOST = NoAnswer("api.provider.test did not answer.")


def status_event(remote_id: str = "T1", status: Status = Status.DELIVERED) -> dict[str, Any]:
    """Return a status as the provider lists it."""
    return {"type": "status", "id": remote_id, "status": status.value, "reference": "a.0"}


class ListingCase(SynchronousTestCase):
    """A gateway with two lines on a clock, which looks at the list by itself only if it must."""

    reconcile_every = 0.0

    def setUp(self) -> None:
        """Start it."""
        self.rig = Rig(
            FakeGateway(signing_key="k", reconcile_every=self.reconcile_every),
            {"main": line(), "side": line("side", SECOND_LINE)},
        )
        self.api = self.rig.api
        self.said: list[str] = []

    def reconcile(self, since_ms: int = START_MS - DAY_MS) -> Deferred[Reconciled]:
        """Look at the list."""
        return self.rig.gateway.reconcile(since_ms, self.said.append)

    def sinces(self) -> list[int]:
        """Return how far back each first page of the first line asked."""
        queries = [parse_qs(urlsplit(request.url).query) for request in self.api.asked]
        return [
            int(query["since"][0])
            for query in queries
            if "since" in query and query["line"] == [OURS]
        ]


class ReconcileTests(ListingCase):
    """One look."""

    def test_what_webhooks_missed_is_accepted(self) -> None:
        """Texts and statuses of all lines and pages go through the door of the webhooks."""
        self.api.listed = {
            OURS: [[text_event("t1"), status_event()], [text_event("t2", text="two")]],
            SECOND_LINE: [[text_event("t3", to=SECOND_LINE)]],
        }

        found = self.successResultOf(self.reconcile())

        self.assertEqual(found, Reconciled(seen=4, missed=3, statuses=1))
        self.assertEqual(
            [(each.line, each.dedup_key) for each in self.rig.inbox.messages],
            [("main", "t1"), ("main", "t2"), ("side", "t3")],
        )
        self.assertEqual(self.rig.inbox.reports[0].status, Status.DELIVERED)
        self.assertEqual(
            self.said,
            [
                "Line main: listed 3, of which 2 had been missed.",
                "Line side: listed 1, of which 1 had been missed.",
            ],
        )

    def test_known_texts_are_not_new(self) -> None:
        """A second look finds nothing that was missed."""
        self.api.listed = {OURS: [[text_event("t1")]]}
        self.successResultOf(self.reconcile())

        found = self.successResultOf(self.reconcile())

        self.assertEqual((found.seen, found.missed), (1, 0))
        self.assertEqual(len(self.rig.inbox.messages), 1)

    def test_asks_for_the_time_that_is_wanted(self) -> None:
        """From then until now."""
        self.successResultOf(self.reconcile(START_MS - 3 * DAY_MS))

        self.assertIn(f"since={START_MS - 3 * DAY_MS}", self.api.asked[0].url)
        self.assertIn(f"until={START_MS}", self.api.asked[0].url)

    def test_two_looks_at_a_time_are_one(self) -> None:
        """Who asks while a look is under way gets its result."""
        self.api.holds = True
        first, second = self.reconcile(), self.reconcile(START_MS - 1000)

        self.api.answer_held()
        self.api.answer_held()

        self.assertEqual(self.successResultOf(first), self.successResultOf(second))
        self.assertEqual(len(self.api.asked), 2)
        self.assertEqual(len(self.said), 4)

    def test_longer_look_follows_a_shorter_one(self) -> None:
        """Who wants to look further back waits, and gets that."""
        self.api.holds = True
        first, second = self.reconcile(START_MS - 1000), self.reconcile(START_MS - DAY_MS)
        for _ in range(2):
            self.api.answer_held()
        self.successResultOf(first)
        self.assertNoResult(second)
        self.assertIn("under way", self.said[0])

        for _ in range(2):
            self.api.answer_held()

        self.successResultOf(second)
        self.assertEqual(self.sinces(), [START_MS - 1000, START_MS - DAY_MS])

    def test_provider_that_cannot_be_asked_says_so(self) -> None:
        """The operator reads that there is no such list."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)

        failure = self.failureResultOf(self.reconcile(), PermanentFailure)

        self.assertEqual(failure.value.text, "Fake cannot be asked for past texts.")

    def test_line_that_cannot_be_listed_leaves_the_others(self) -> None:
        """What is wrong with one is told as a problem."""
        self.api.looks = [answer(404)]
        self.api.listed = {SECOND_LINE: [[text_event("t3", to=SECOND_LINE)]]}

        found = self.successResultOf(self.reconcile())

        self.assertEqual(found.missed, 1)
        self.assertEqual(found.problems, ("Line main: the provider answered with status 404",))

    def test_account_that_is_refused_fails(self) -> None:
        """Where no line can be listed the whole look failed."""
        self.api.looks = [answer(401), answer(401)]

        failure = self.failureResultOf(self.reconcile(), PermanentFailure)

        self.assertIn("status 401", failure.value.text)

    def test_passing_trouble_is_waited_out(self) -> None:
        """Too many requests, an error of the server, a lost answer: reading again does no harm."""
        for trouble in (answer(429, retry_after="20"), answer(500), LOST):
            self.api.looks = [trouble]
            looking = self.reconcile()
            self.assertNoResult(looking)
            self.assertEqual(len(self.said), 1)
            self.assertIn("Line main: ", self.said[0])
            self.assertIn("Asked again in ", self.said[0])
            self.rig.pass_time(20)
            self.successResultOf(looking)
            self.said.clear()

    def test_provider_that_stays_away_is_a_temporary_failure(self) -> None:
        """Three times is enough; what came before stays accepted."""
        self.api.looks = [
            Response(status=200, body=b'{"texts": [], "next": 2}'),
            LOST,
            NotSent("api.provider.test cannot be reached: refused."),
            LOST,
        ]
        looking = self.reconcile()

        self.rig.pass_time(10)

        failure = self.failureResultOf(looking, TemporaryFailure)
        self.assertEqual(failure.value.reason, "peer-down")

    def test_store_out_of_reach_ends_the_look(self) -> None:
        """What could not be committed is listed again next time."""
        self.api.listed = {OURS: [[text_event("t1")]]}
        self.rig.inbox.failure = TemporaryFailure("internal", "The store is away.")

        failure = self.failureResultOf(self.reconcile(), TemporaryFailure)

        self.assertEqual(failure.value.text, "The store is away.")

    def test_list_without_an_end_is_left(self) -> None:
        """A page that leads to itself is a problem, and no endless loop."""
        again = Response(status=200, body=b'{"texts": [], "next": 7}')
        self.api.looks = [again] * 2

        found = self.successResultOf(self.reconcile())

        self.assertEqual(len(found.problems), 1)
        self.assertIn("has no end", found.problems[0])
        self.assertEqual(len(self.api.asked), 3)

    def test_whoever_waits_hears_of_the_end(self) -> None:
        """A look that is under way when the gateway stops fails, and leaves no timer."""
        self.api.looks = [answer(500)]
        looking = self.reconcile()

        self.successResultOf(self.rig.gateway.stopService())

        self.failureResultOf(looking, TemporaryFailure)
        self.failureResultOf(self.reconcile(), TemporaryFailure)
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])


class RegularTests(ListingCase):
    """Looks that nobody asked for."""

    reconcile_every = 3600.0

    def test_looks_soon_after_the_start_and_regularly(self) -> None:
        """Two days back at least, so that what a night's outage missed is found."""
        self.api.listed = {OURS: [[text_event("t1")]]}
        self.rig.clock.advance(9)
        self.assertEqual(self.api.asked, [])

        self.rig.clock.advance(1)
        self.rig.clock.advance(3600)

        self.assertEqual(
            self.sinces(), [START_MS + 10_000 - 2 * DAY_MS, START_MS + 3_610_000 - 2 * DAY_MS]
        )
        self.assertEqual(len(self.rig.inbox.messages), 1)

    def test_long_outage_is_looked_over_whole(self) -> None:
        """The last text in the store shows how long nobody may have listened."""
        self.rig.world.desk = LastText(START_MS - 9 * DAY_MS)

        self.rig.clock.advance(10)

        self.assertEqual(self.sinces(), [START_MS - 9 * DAY_MS - 3_600_000])

    def test_very_old_text_does_not_make_it_endless(self) -> None:
        """A month is the limit."""
        self.rig.world.desk = LastText(START_MS - 400 * DAY_MS)

        self.rig.clock.advance(10)

        self.assertEqual(self.sinces(), [START_MS + 10_000 - 30 * DAY_MS])

    def test_recent_text_does_not_shorten_it(self) -> None:
        """Less than two days is never looked back."""
        self.rig.world.desk = LastText(START_MS - 1000)

        self.rig.clock.advance(10)

        self.assertEqual(self.sinces(), [START_MS + 10_000 - 2 * DAY_MS])

    def test_short_look_of_an_operator_does_not_count(self) -> None:
        """What it did not look at is looked at by the next regular one."""
        self.rig.world.desk = LastText(START_MS - 9 * DAY_MS)
        self.successResultOf(self.reconcile(START_MS - 1000))

        self.rig.clock.advance(10)

        self.assertEqual(self.sinces()[-1], START_MS - 9 * DAY_MS - 3_600_000)

    def test_failed_look_is_made_again_soon(self) -> None:
        """After five minutes, with a warning in the log and no traceback."""
        logged: list[Any] = []
        observer: Any = logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)
        self.api.looks = [answer(401), answer(401)]
        self.rig.clock.advance(10)
        self.assertEqual(
            [event["log_level"].name for event in logged if "log_level" in event][-1], "warn"
        )

        self.rig.clock.advance(300)

        self.assertEqual(len(self.sinces()), 2)

    def test_longer_outage_than_two_days_is_looked_over(self) -> None:
        """It looks back to the last look that succeeded."""
        self.rig.clock.advance(10)
        self.api.looks = [answer(401)] * 2000
        for _ in range(3 * 288):
            self.rig.clock.advance(300)
        self.api.looks = []
        self.api.asked.clear()

        for _ in range(12):
            self.rig.clock.advance(300)

        self.assertEqual(self.sinces()[0], START_MS + 10_000 - 3_600_000)

    def test_nothing_is_asked_where_it_is_switched_off(self) -> None:
        """With 'reconcile_every = 0' only the operator looks; a reload may change that."""
        off = evolve(self.rig.config, reconcile_every=0.0)
        self.rig.gateway.update(off, self.rig.lines)
        self.rig.clock.advance(10_000)
        self.assertEqual(self.api.asked, [])

        self.rig.gateway.update(self.rig.config, self.rig.lines)
        self.rig.clock.advance(10)

        self.assertEqual(len(self.api.asked), 2)

    def test_provider_without_a_list_is_left_alone(self) -> None:
        """It is not asked, and nobody is told that it cannot be."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)

        self.rig.clock.advance(10_000)

        self.assertEqual(self.api.asked, [])

    def test_stopped_gateway_does_not_look(self) -> None:
        """Its timer is gone."""
        self.rig.gateway.stopService()

        self.assertEqual(self.rig.clock.getDelayedCalls(), [])


class LastText:
    """The part of the desk that lists messages: one, of that time."""

    def __init__(self, at_ms: int) -> None:
        self._at_ms = at_ms

    def history(self, query: Any) -> Deferred[list[MessageRecord]]:
        """See `interfaces.IDesk`."""
        return succeed(
            [
                MessageRecord(
                    message_id="m",
                    direction="in",
                    line=query.line,
                    sender=THEIRS,
                    recipients=(OURS,),
                    author="",
                    body="hello",
                    media=(),
                    conversation="",
                    created_at_ms=self._at_ms,
                    sent_at_ms=None,
                )
            ]
        )


class DiscoverTests(ListingCase):
    """The numbers of the account."""

    def test_numbers_know_their_lines(self) -> None:
        """What is configured already is told apart from what is not."""
        self.api.numbers = [OURS, "+12025550109"]

        found = self.successResultOf(self.rig.gateway.discover())

        self.assertEqual(
            found, [FoundLine(number=OURS, line="main"), FoundLine(number="+12025550109")]
        )

    def test_provider_that_cannot_be_asked_says_so(self) -> None:
        """The operator reads that there is no such list."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)

        failure = self.failureResultOf(self.rig.gateway.discover(), PermanentFailure)

        self.assertEqual(failure.value.text, "Fake cannot be asked for its numbers.")

    def test_refusal_is_told(self) -> None:
        """With the provider's own words."""
        self.api.looks = [answer(401)]

        failure = self.failureResultOf(self.rig.gateway.discover(), PermanentFailure)

        self.assertIn("status 401", failure.value.text)

    def test_silence_is_a_temporary_failure(self) -> None:
        """After three tries."""
        self.api.looks = [LOST] * 3
        finding = self.rig.gateway.discover()

        self.rig.pass_time(10)

        self.failureResultOf(finding, TemporaryFailure)
