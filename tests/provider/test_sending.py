"""Tests of sending through a provider: outcomes, order, lost answers, rests and alarms."""

from __future__ import annotations

import json
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, gatherResults, maybeDeferred, succeed
from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Delivery, Media, NotTried, Outcome, Sent, Status
from smsbridge.core.records import DeliveryRecord, MessageRecord
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.provider.client import NoAnswer, NotSent
from smsbridge.provider.dialect import Response, StatusUpdate
from tests.provider.fakes import OURS, THEIRS, FakeGateway
from tests.provider.rig import OTHER, SECOND_LINE, START_MS, THIRD, Rig, answer, line

GONE = NotSent("api.provider.test cannot be reached: refused.")
LOST = NoAnswer("api.provider.test did not answer: it closed the connection.")


class SendingCase(SynchronousTestCase):
    """A gateway on a clock."""

    config: FakeGateway | None = None
    public_url = "https://sms.example.org"

    def setUp(self) -> None:
        """Start it."""
        self.rig = Rig(
            self.config,
            {"main": line(), "side": line("side", SECOND_LINE)},
            public_url=self.public_url,
        )
        self.api = self.rig.api

    def begin(self, *batch: Delivery, lane: str = "work/main") -> Deferred[Any]:
        """Begin to deliver; fires when what became of lost answers is found out, too."""
        settling = self.rig.gateway.deliver(lane, list(batch))
        return settling.addCallback(
            lambda settled: gatherResults(
                [maybeDeferred(lambda each=each: each) for each in settled]
            )
        )

    def deliver(self, *batch: Delivery, lane: str = "work/main") -> list[Outcome]:
        """Deliver what is answered at once."""
        return list(self.successResultOf(self.begin(*batch, lane=lane)))

    def side(self, name: str = "s", to: str = OTHER, **changes: Any) -> Delivery:
        """Return a text of the second line."""
        return self.rig.delivery(
            name, to=to, line="side", lane="work/side", order_key=f"side|{to}", **changes
        )


class RequestTests(SendingCase):
    """What a text looks like on its way out."""

    def test_text_goes_out_with_what_the_provider_needs(self) -> None:
        """Numbers, words, our reference, and where its status shall be reported."""
        outcomes = self.deliver(self.rig.delivery())

        self.assertEqual(outcomes, [Sent("T1")])
        (text,) = self.api.texts
        self.assertEqual((text["from"], text["to"], text["text"]), (OURS, [THEIRS], "hello"))
        self.assertEqual(text["reference"], "a.0")
        self.assertEqual(text["callback"], "https://sms.example.org/hook/work/status?delivery=a.0")

    def test_callback_has_the_password(self) -> None:
        """Where webhooks need a password the provider is told it, in the form of an address."""
        self.rig.gateway.update(evolve(self.rig.config, http_password="a b@/c"), self.rig.lines)

        self.deliver(self.rig.delivery())

        self.assertEqual(
            self.api.texts[0]["callback"],
            "https://smsbridge:a%20b%40%2Fc@sms.example.org/hook/work/status?delivery=a.0",
        )

    def test_attachments_are_links_for_two_days(self) -> None:
        """The provider fetches a file by an address that expires; linked ones stay in the text."""
        kept = Media(content_type="image/png", size=5, name="p.png", digest="d" * 64)
        linked = Media(url="https://sms.example.org/media/x", digest="e" * 64)
        elsewhere = Media(url="https://files.example.net/a.png", content_type="image/png")

        outcomes = self.deliver(self.rig.delivery(media=(kept, linked, elsewhere)))

        self.assertEqual(outcomes, [Sent("T1")])
        self.assertEqual(
            self.api.texts[0]["media"],
            ["https://sms.example.org/media/dddddddd", "https://files.example.net/a.png"],
        )
        self.assertEqual(self.rig.files.lifetimes_s, [2 * 86_400.0])

    def test_text_that_the_dialect_refuses_goes_nowhere(self) -> None:
        """Its own sentence reaches the sender, and nothing is asked."""
        (outcome,) = self.deliver(self.rig.delivery(body="unsendable"))

        assert isinstance(outcome, PermanentFailure)
        self.assertEqual(outcome.reason, "unsupported")
        self.assertEqual(self.api.asked, [])

    def test_text_that_a_dialect_stumbles_over_fails(self) -> None:
        """A bug of ours holds up nobody, and the log has the traceback."""
        line_of_nobody: Any = None

        (outcome, other) = self.deliver(
            self.rig.delivery(body=line_of_nobody), self.rig.delivery("b", "hello")
        )

        assert isinstance(outcome, PermanentFailure)
        self.assertEqual((outcome.reason, other), ("internal", Sent("T1")))
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)

    def test_line_that_is_gone_is_not_tried(self) -> None:
        """What waits for a line that a reload took away stays queued."""
        self.assertEqual(self.deliver(self.rig.delivery(), lane="work/none"), [NotTried()])


class WithoutAddressTests(SendingCase):
    """A bridge that nobody outside can call."""

    public_url = ""

    def test_no_callback_is_asked_for(self) -> None:
        """The text goes out, without a place to report to."""
        self.assertEqual(self.deliver(self.rig.delivery()), [Sent("T1")])
        self.assertEqual(self.api.texts[0]["callback"], "")

    def test_attachment_cannot_be_fetched(self) -> None:
        """The sender reads what the operator must do."""
        kept = Media(content_type="image/png", digest="d" * 64)

        (outcome,) = self.deliver(self.rig.delivery(media=(kept,)))

        assert isinstance(outcome, PermanentFailure)
        self.assertEqual(outcome.reason, "media-unsupported")
        self.assertIn("'public_url' in [http]", outcome.text)
        self.assertEqual(self.api.asked, [])


class OrderTests(SendingCase):
    """What goes out together, and what one after another."""

    def test_one_conversation_goes_one_after_another(self) -> None:
        """The second text of a conversation waits for the answer to the first."""
        self.api.holds = True
        delivering = self.begin(self.rig.delivery("a", "one"), self.rig.delivery("b", "two"))
        self.assertEqual(self.api.bodies, ["one"])

        self.api.answer_held()
        self.assertEqual(self.api.bodies, ["one", "two"])
        self.api.answer_held()

        self.assertEqual(self.successResultOf(delivering), [Sent("T1"), Sent("T2")])

    def test_conversations_go_together_four_at_a_time(self) -> None:
        """One slow answer does not hold up the others; outcomes stay in their places."""
        self.api.holds = True
        batch = [
            self.rig.delivery(name, name, to=f"+1202555013{number}")
            for number, name in enumerate("abcdef")
        ]

        delivering = self.begin(*batch)
        self.assertEqual(self.api.bodies, ["a", "b", "c", "d"])
        for _ in batch:
            self.api.answer_held()

        self.assertEqual(self.api.most_at_once, 4)
        self.assertEqual(
            self.successResultOf(delivering), [Sent(f"T{number}") for number in range(1, 7)]
        )

    def test_later_ones_do_not_overtake_one_that_comes_again(self) -> None:
        """After a temporary failure the rest of the conversation is not tried; others are."""
        self.api.sends = [Response(status=409), answer(429)]
        self.api.sends[0] = answer(429, retry_after="1")

        outcomes = self.deliver(
            self.rig.delivery("a"),
            self.rig.delivery("b"),
        )

        self.assertIsInstance(outcomes[0], TemporaryFailure)
        self.assertEqual(outcomes[1], NotTried())
        self.assertEqual(len(self.api.asked), 1)

    def test_later_ones_wait_for_one_that_the_provider_does_not_have(self) -> None:
        """A lost text that goes back to the queue is not overtaken when nothing rests any more."""
        self.api.sends = [LOST]
        delivering = self.begin(self.rig.delivery("a"), self.rig.delivery("b"))

        self.rig.pass_time(20)

        first, second = self.successResultOf(delivering)
        self.assertIsInstance(first, TemporaryFailure)
        self.assertEqual(second, NotTried())

    def test_refused_text_holds_up_nobody(self) -> None:
        """What the provider refuses for good is over, and the next one goes out."""
        self.api.sends = [answer(400, "bad-number")]

        outcomes = self.deliver(self.rig.delivery("a"), self.rig.delivery("b"))

        assert isinstance(outcomes[0], PermanentFailure)
        self.assertIn("bad-number", outcomes[0].detail)
        self.assertEqual(outcomes[1], Sent("T1"))

    def test_what_would_end_too_late_is_not_begun(self) -> None:
        """A batch is settled within the time that the gateway promises."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)
        self.api.always = None
        delivering = self.begin(*[self.rig.delivery(name) for name in "abcd"])

        self.rig.pass_time(self.rig.gateway.settle_within_s)

        outcomes = self.successResultOf(delivering)
        self.assertIsInstance(outcomes[0], UnknownOutcome)
        self.assertEqual(outcomes[-1], NotTried())


class FaultyDialectTests(SendingCase):
    """Dialects with bugs."""

    def test_look_up_that_stumbles_leaves_it_uncertain(self) -> None:
        """Whatever goes wrong while it is looked up, nobody sends it again."""
        self.api.sends = [LOST]
        self.api.looks = [Response(status=200, body=b'{"texts": [7]}')] * 3
        delivering = self.begin(self.rig.delivery())

        self.rig.pass_time(16)

        self.assertIsInstance(self.successResultOf(delivering)[0], UnknownOutcome)
        self.assertEqual(len(self.flushLoggedErrors(TypeError)), 3)

    def test_interrupted_text_that_cannot_be_written_stays_uncertain(self) -> None:
        """After a crash, too."""
        nothing: Any = None
        looking = self.rig.gateway.look_up(self.rig.delivery(body=nothing))

        self.assertIsInstance(self.successResultOf(looking), UnknownOutcome)
        self.assertEqual(len(self.flushLoggedErrors(AttributeError)), 1)


class GroupTests(SendingCase):
    """Group texts."""

    def setUp(self) -> None:
        """Start a gateway whose line carries them."""
        self.rig = Rig(lines={"main": line(carries_groups=True)})
        self.api = self.rig.api

    def group(self, name: str = "g", numbers: tuple[str, ...] = (THEIRS, OTHER)) -> list[Delivery]:
        """Return the deliveries of one group text."""
        return [
            self.rig.delivery(
                name,
                "hello all",
                to=number,
                delivery_id=f"{name}.{place}",
                order_key=f"main|{','.join(numbers)}",
                recipients=numbers,
                group=True,
            )
            for place, number in enumerate(numbers)
        ]

    def test_group_is_one_request(self) -> None:
        """All of them are in it, and all settle with the one id."""
        outcomes = self.deliver(*self.group(), self.rig.delivery("a", to=THIRD))

        self.assertEqual(outcomes, [Sent("T1"), Sent("T1"), Sent("T2")])
        self.assertEqual(self.api.texts[0]["to"], [THEIRS, OTHER])
        self.assertEqual(self.api.texts[0]["callback"], "https://sms.example.org/hook/work/status")

    def test_part_of_a_group_goes_out_singly(self) -> None:
        """An operator who repeats one of them does not write to the others again."""
        outcomes = self.deliver(self.group()[1])

        self.assertEqual(outcomes, [Sent("T1")])
        self.assertEqual(self.api.texts[0]["to"], [OTHER])

    def test_copies_are_no_group(self) -> None:
        """A text to several as copies is one request for each."""
        outcomes = self.deliver(*[evolve(each, group=False) for each in self.group()])

        self.assertEqual(outcomes, [Sent("T1"), Sent("T2")])

    def test_two_groups_are_two_requests(self) -> None:
        """What stands side by side is not mixed up."""
        outcomes = self.deliver(*self.group("g"), *self.group("h"))

        self.assertEqual(outcomes, [Sent("T1")] * 2 + [Sent("T2")] * 2)

    def test_failure_is_everybodys(self) -> None:
        """A group that is not taken is tried again as a whole."""
        self.api.sends = [answer(429)]

        outcomes = self.deliver(*self.group())

        self.assertEqual([type(each) for each in outcomes], [TemporaryFailure] * 2)

    def test_status_of_one_of_them_reaches_the_right_delivery(self) -> None:
        """A status that came before the answer is about the recipient that it names."""
        self.api.holds = True
        delivering = self.begin(*self.group())
        take = self.rig.gateway._arrivals.take
        self.rig.inbox.failure = None
        update = StatusUpdate(remote_id="T1", status=Status.DELIVERED, recipient=OTHER)
        self.rig.inbox.report = lambda report: _unknown(self.rig, report)  # type: ignore[method-assign]
        take(update)

        self.api.answer_held()

        self.successResultOf(delivering)
        self.assertEqual([each.delivery_id for each in self.rig.inbox.reports], ["g.1"])


def _unknown(rig: Rig, report: Any) -> Deferred[bool]:
    """Play an inbox that finds a delivery by its own id alone."""
    if report.delivery_id:
        rig.inbox.reports.append(report)
    return succeed(bool(report.delivery_id))


class PartsTests(SendingCase):
    """Texts that go out in several requests."""

    def test_all_parts_go_out(self) -> None:
        """The text is sent when the last part is, under the id of the first."""
        self.assertEqual(self.deliver(self.rig.delivery(body="one//two//three")), [Sent("T1")])
        self.assertEqual(self.api.bodies, ["one", "two", "three"])

    def test_first_part_that_is_refused_ends_it(self) -> None:
        """Nothing is out, so it fails like any other."""
        self.api.sends = [answer(400, "no")]

        (outcome,) = self.deliver(self.rig.delivery(body="one//two"))

        self.assertIsInstance(outcome, PermanentFailure)
        self.assertEqual(len(self.api.asked), 1)

    def test_later_part_that_is_refused_makes_it_uncertain(self) -> None:
        """A part is out, so the whole is never sent again by itself, and the sender reads that."""
        self.api.sends = [answer(201), answer(400, "no")]

        (outcome,) = self.deliver(self.rig.delivery(body="one//two//three"))

        assert isinstance(outcome, UnknownOutcome)
        self.assertIn("only the first part of 3 surely went out", outcome.text)
        self.assertIn("no", outcome.detail)
        self.assertEqual(self.api.bodies, ["one"])

    def test_later_part_that_was_surely_not_taken_is_repeated(self) -> None:
        """What may be repeated is, a few times."""
        self.api.sends = [answer(201), answer(429, retry_after="3"), GONE]
        delivering = self.begin(self.rig.delivery(body="one//two"))

        self.rig.pass_time(10)

        self.assertEqual(self.successResultOf(delivering), [Sent("T1")])
        self.assertEqual(self.api.bodies, ["one", "two"])

    def test_lost_answer_to_a_part_is_not_looked_up(self) -> None:
        """Half a text is not found as a whole one."""
        self.api.sends = [LOST]

        (outcome,) = self.deliver(self.rig.delivery(body="one//two"))

        self.assertIsInstance(outcome, UnknownOutcome)
        self.assertEqual(len(self.api.asked), 1)


class LostAnswerTests(SendingCase):
    """Requests whose answer never came."""

    def test_text_that_is_there_is_sent(self) -> None:
        """The provider has it, so it went out, under the id that the provider tells."""
        self.api.sends = [LOST]
        self.api.keeps = True
        delivering = self.begin(self.rig.delivery())
        self.assertNoResult(delivering)

        self.rig.pass_time(1)

        self.assertEqual(self.successResultOf(delivering), [Sent("T1")])
        self.assertEqual(len(self.api.texts), 1)
        self.assertIn(f"since={START_MS}", self.api.asked[1].url)

    def test_others_do_not_wait_until_it_is_found(self) -> None:
        """Only what follows it in its conversation goes back to the queue."""
        self.api.sends = [LOST]
        self.api.keeps = True
        batch = [self.rig.delivery("a"), self.rig.delivery("b"), self.rig.delivery("c", to=OTHER)]

        lost, after, other = self.successResultOf(self.rig.gateway.deliver("work/main", batch))

        self.assertIsInstance(lost, Deferred)
        self.assertEqual(after, NotTried())
        self.assertNotIsInstance(other, Deferred)
        self.rig.pass_time(1)
        self.assertIsInstance(self.successResultOf(lost), Sent)

    def test_text_that_shows_up_late_is_found(self) -> None:
        """The provider may need a moment until it lists what it took."""
        self.api.sends = [LOST]
        self.api.keeps = True
        self.api.looks = [Response(status=200, body=b'{"texts": []}')]
        delivering = self.begin(self.rig.delivery())

        self.rig.pass_time(5)

        self.assertEqual(self.successResultOf(delivering), [Sent("T1")])

    def test_text_that_is_not_there_is_sent_again_by_the_core(self) -> None:
        """Three times nothing: it goes back to the queue."""
        self.api.sends = [LOST]
        delivering = self.begin(self.rig.delivery())

        self.rig.pass_time(14)
        self.assertNoResult(delivering)
        self.rig.pass_time(2)

        (outcome,) = self.successResultOf(delivering)
        assert isinstance(outcome, TemporaryFailure)
        self.assertEqual(outcome.reason, "peer-down")
        self.assertEqual(len(self.api.asked), 4)

    def test_one_unsure_look_up_is_enough_to_stay_uncertain(self) -> None:
        """Unless the provider said each time that it has no such text, nobody sends it again."""
        for unsure in (answer(500), LOST, GONE):
            self.api.sends = [LOST]
            self.api.looks = [
                Response(status=200, body=b'{"texts": []}'),
                unsure,
                Response(status=200, body=b'{"texts": []}'),
            ]
            delivering = self.begin(self.rig.delivery())
            self.rig.pass_time(16)

            (outcome,) = self.successResultOf(delivering)
            self.assertIsInstance(outcome, UnknownOutcome)
            self.rig.pass_time(120)

    def test_provider_that_cannot_be_asked_leaves_it_uncertain(self) -> None:
        """Without a look-up there is no waiting, and no second text."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)
        self.api.sends = [LOST]

        (outcome,) = self.deliver(self.rig.delivery())

        self.assertIsInstance(outcome, UnknownOutcome)
        self.assertEqual(len(self.api.asked), 1)

    def test_error_that_tells_nothing_is_looked_up_too(self) -> None:
        """A 500 may have been a text all the same."""
        self.api.sends = [answer(500)]
        self.api.keeps = True
        delivering = self.begin(self.rig.delivery())

        self.rig.pass_time(1)

        self.assertEqual(self.successResultOf(delivering), [Sent("T1")])

    def test_text_of_another_delivery_is_not_taken_for_it(self) -> None:
        """Two equal texts of which one was lost stay two."""
        self.deliver(self.rig.delivery("a"))
        self.api.texts[0]["reference"] = "b.0"
        self.api.sends = [LOST]
        delivering = self.begin(self.rig.delivery("b"))

        self.rig.pass_time(16)

        (outcome,) = self.successResultOf(delivering)
        self.assertIsInstance(outcome, TemporaryFailure)

    def test_nothing_left_is_plainly_tried_again(self) -> None:
        """Where there was no connection there is nothing to look up."""
        self.api.sends = [GONE]

        (outcome,) = self.deliver(self.rig.delivery())

        assert isinstance(outcome, TemporaryFailure)
        self.assertEqual((outcome.reason, str(outcome)), ("peer-down", str(GONE)))
        self.assertEqual(len(self.api.asked), 1)

    def test_redirect_is_a_fault_of_the_configuration(self) -> None:
        """Nothing is posted to where a redirect leads; the operator reads which key is wrong."""
        self.api.sends = [Response(status=301, headers={"location": "https://evil.example/"})]

        (outcome,) = self.deliver(self.rig.delivery())

        assert isinstance(outcome, PermanentFailure)
        self.assertIn("'base_url'", outcome.text)
        self.assertFalse(self.rig.gateway.link_status().up)
        self.assertEqual(len(self.api.asked), 1)

    def test_bug_in_a_dialect_is_an_unknown_outcome(self) -> None:
        """What was sent and not understood is not sent again, and the log has the traceback."""
        self.api.sends = [Response(status=429, headers={"retry-after": "soon"})]

        (outcome,) = self.deliver(self.rig.delivery())

        self.assertIsInstance(outcome, UnknownOutcome)
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)


class CrashTests(SendingCase):
    """Attempts of an earlier process."""

    def look_up(self, delivery: Delivery, seconds: float = 0) -> Outcome:
        """Ask for what became of an attempt."""
        looking = self.rig.gateway.look_up(delivery)
        self.rig.pass_time(seconds)
        return self.successResultOf(looking)

    def test_text_that_is_there_was_sent(self) -> None:
        """The look goes back to when the delivery was made."""
        self.api.texts = [{"id": "T9", "reference": "a.0"}]
        delivery = self.rig.delivery(created_at_ms=START_MS - 60_000)

        self.assertEqual(self.look_up(delivery), Sent("T9"))
        self.assertIn(f"since={START_MS - 60_000}", self.api.asked[0].url)

    def test_text_that_is_not_there_was_not(self) -> None:
        """The provider said so three times."""
        self.assertEqual(self.look_up(self.rig.delivery(), 16), NotTried())
        self.assertEqual(len(self.api.asked), 3)

    def test_group_is_looked_for_as_a_group(self) -> None:
        """One of its deliveries asks for the text to all."""
        self.rig.gateway.update(self.rig.config, {"main": line(carries_groups=True)})
        self.api.texts = [{"id": "T9", "reference": "a.-"}]
        delivery = self.rig.delivery(group=True, recipients=(THEIRS, OTHER))

        self.assertEqual(self.look_up(delivery), Sent("T9"))
        update = StatusUpdate(remote_id="T9", status=Status.DELIVERED, recipient=OTHER)
        self.rig.gateway._arrivals.take(update)
        (report,) = self.rig.inbox.reports
        self.assertEqual((report.delivery_id, report.destination), ("", OTHER))

    def test_id_that_the_store_knows_is_another_text(self) -> None:
        """After a restart the store tells which ids belong to other deliveries."""
        self.rig.world.desk = History("b.0", "T9")
        self.api.texts = [{"id": "T9", "reference": "a.0"}]

        self.assertEqual(self.look_up(self.rig.delivery(), 16), NotTried())

    def test_id_that_the_store_knows_as_its_own_is_it(self) -> None:
        """A repeated attempt of the same delivery is the same text."""
        self.rig.world.desk = History("a.0", "T9")
        self.api.texts = [{"id": "T9", "reference": "a.0"}]

        self.assertEqual(self.look_up(self.rig.delivery()), Sent("T9"))

    def test_what_cannot_be_asked_stays_uncertain(self) -> None:
        """No line, parts, or no way to ask: nobody knows."""
        gone = self.rig.delivery(line="gone")
        parts = self.rig.delivery(body="one//two")
        for delivery in (gone, parts):
            self.assertIsInstance(self.look_up(delivery), UnknownOutcome)
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)
        self.assertIsInstance(self.look_up(self.rig.delivery()), UnknownOutcome)

        self.assertEqual(self.api.asked, [])


class History:
    """The part of the desk that lists messages: one, with one delivery."""

    def __init__(self, delivery_id: str, remote_id: str) -> None:
        self._delivery_id = delivery_id
        self._remote_id = remote_id

    def history(self, query: Any) -> Deferred[list[MessageRecord]]:
        """See `interfaces.IDesk`."""
        delivery = DeliveryRecord(
            delivery_id=self._delivery_id,
            message_id="m",
            kind="message",
            to=THEIRS,
            gateway="work",
            line="main",
            person="",
            status=Status.SENT,
            attempts=1,
            reason="",
            text="",
            remote_id=self._remote_id,
            created_at_ms=START_MS,
            due_at_ms=None,
        )
        return succeed(
            [
                MessageRecord(
                    message_id="m",
                    direction="out",
                    line=query.line,
                    sender=OURS,
                    recipients=(query.number,),
                    author="",
                    body="hello",
                    media=(),
                    conversation="",
                    created_at_ms=START_MS,
                    sent_at_ms=None,
                    deliveries=(delivery,),
                )
            ]
        )


class RestTests(SendingCase):
    """What a verdict means for the texts to come."""

    def is_open(self, lane: str = "main") -> bool:
        """Tell whether texts are given to a line."""
        return self.rig.lanes.is_open(f"work/{lane}")

    def test_throttled_account_rests_longer_and_longer(self) -> None:
        """All lines rest: 5 s, 10 s, up to a minute; a text that goes through begins anew."""
        for seconds in (5, 10, 20, 40, 60, 60):
            self.api.sends = [answer(429)]
            (outcome,) = self.deliver(self.rig.delivery())
            self.assertIsInstance(outcome, TemporaryFailure)
            self.rig.pass_time(seconds - 0.5)
            self.assertFalse(self.is_open() or self.is_open("side"), seconds)
            self.rig.pass_time(0.5)
            self.assertTrue(self.is_open() and self.is_open("side"), seconds)
        self.assertTrue(self.rig.gateway.link_status().up)

        self.deliver(self.rig.delivery())
        self.api.sends = [answer(429)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(5)

        self.assertTrue(self.is_open())

    def test_provider_says_how_long(self) -> None:
        """The closed lane alone keeps the text back, as long as the provider asked for."""
        self.api.sends = [answer(429, retry_after="33")]

        (outcome,) = self.deliver(self.rig.delivery())

        assert isinstance(outcome, TemporaryFailure)
        self.assertIsNone(outcome.retry_after_s)
        self.rig.pass_time(32)
        self.assertFalse(self.is_open())
        self.rig.pass_time(1)
        self.assertTrue(self.is_open())

    def test_provider_that_asks_for_no_time_is_not_called_in_a_loop(self) -> None:
        """However often it says that we may come back at once, we come more and more rarely."""
        for seconds in (0.25, 0.5, 1, 2):
            self.api.sends = [answer(429, retry_after="0")]
            self.deliver(self.rig.delivery())
            self.rig.clock.advance(seconds - 0.125)
            self.assertFalse(self.is_open(), seconds)
            self.rig.clock.advance(0.125)
            self.assertTrue(self.is_open(), seconds)

    def test_resting_line_is_not_tried(self) -> None:
        """What was handed over just before goes back to the queue."""
        self.api.sends = [answer(429)]
        self.deliver(self.rig.delivery())

        self.assertEqual(self.deliver(self.side(), lane="work/side"), [NotTried()])
        self.assertEqual(len(self.api.asked), 1)

    def test_after_a_rest_one_text_goes_first(self) -> None:
        """Others wait for what becomes of it: not each line runs into the same wall again."""
        self.api.sends = [answer(401)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(300)
        self.api.sends = [answer(401)]
        self.api.holds = True

        first = self.begin(self.rig.delivery("b"))
        second = self.begin(self.side(), lane="work/side")
        self.assertEqual(len(self.api.asked), 2)
        self.api.answer_held()

        self.assertIsInstance(self.successResultOf(first)[0], TemporaryFailure)
        self.assertEqual(self.successResultOf(second), [NotTried()])

    def test_the_others_follow_when_it_works(self) -> None:
        """The one that tried got through, and those that waited go at once."""
        self.api.sends = [answer(429)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(5)
        self.api.holds = True

        first = self.begin(self.rig.delivery("b"))
        second = self.begin(self.side(), lane="work/side")
        self.api.answer_held(1)
        self.api.answer_held(1)

        self.assertEqual(self.successResultOf(first), [Sent("T1")])
        self.assertEqual(self.successResultOf(second), [Sent("T2")])

    def test_waiting_for_the_first_has_an_end(self) -> None:
        """What waited so long that its own time would not do goes back to the queue."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True, timeout=60.0), self.rig.lines)
        self.api.sends = [answer(429)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(5)
        self.api.sends = [None]
        first = self.begin(self.rig.delivery("b"))
        second = self.begin(self.side(), lane="work/side")

        self.rig.pass_time(59)
        self.assertNoResult(second)
        self.rig.pass_time(1)

        self.assertIsInstance(self.successResultOf(first)[0], UnknownOutcome)
        self.assertEqual(self.successResultOf(second), [NotTried()])

    def test_text_that_gave_up_lets_the_next_one_try(self) -> None:
        """A stumbling dialect does not keep the others waiting."""
        self.api.sends = [answer(429)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(5)
        self.api.sends = [Response(status=429, headers={"retry-after": "soon"})]

        first = self.begin(self.rig.delivery("b"))
        second = self.begin(self.side(), lane="work/side")

        self.assertIsInstance(self.successResultOf(first)[0], UnknownOutcome)
        self.assertEqual(self.successResultOf(second), [Sent("T1")])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_longer_rest_outlasts_a_shorter_one(self) -> None:
        """Of two verdicts that come together the one that asks for more holds."""
        self.api.holds = True
        self.api.sends = [answer(429, retry_after="60"), answer(429, retry_after="5")]
        self.begin(self.rig.delivery("a"))
        self.begin(self.side(), lane="work/side")
        self.api.answer_held(2)

        self.rig.pass_time(59)
        self.assertFalse(self.is_open())
        self.rig.pass_time(1)

        self.assertTrue(self.is_open())

    def test_rest_of_a_line_leaves_the_others(self) -> None:
        """A number that is not the account's closes its own line."""
        self.api.sends = [answer(403, "not-ours")]

        self.deliver(self.rig.delivery())

        self.assertEqual((self.is_open(), self.is_open("side")), (False, True))
        states = {each.line: each for each in self.rig.gateway.line_status()}
        self.assertEqual(states["main"].state, "The number is not the account's.")
        self.assertTrue(states["side"].up and self.rig.gateway.link_status().up)
        self.assertEqual(self.deliver(self.side(), lane="work/side"), [Sent("T1")])

    def test_provider_that_is_away_is_waited_for(self) -> None:
        """Nothing is tried in vain, and the state says why."""
        self.api.sends = [GONE]

        self.deliver(self.rig.delivery())

        self.assertEqual(self.rig.lanes.closed["work/side"], ("peer-down", str(GONE)))
        link = self.rig.gateway.link_status()
        self.assertEqual((link.up, link.state), (False, str(GONE)))
        self.rig.pass_time(5)
        self.deliver(self.rig.delivery())
        self.assertTrue(self.rig.gateway.link_status().up)

    def test_lost_answer_keeps_others_until_it_is_found(self) -> None:
        """While nobody knows whether the provider hears us, no more texts become uncertain."""
        self.api.sends = [LOST]
        self.api.keeps = True
        self.begin(self.rig.delivery())
        self.assertFalse(self.is_open("side"))

        self.rig.pass_time(1)

        self.assertTrue(self.is_open() and self.is_open("side"))
        self.assertTrue(self.rig.gateway.link_status().up)

    def test_used_up_quota_waits_for_its_end(self) -> None:
        """The text stays queued until the provider's time is over."""
        self.api.sends = [answer(400, "quota")]

        (outcome,) = self.deliver(self.rig.delivery())

        self.assertIsInstance(outcome, TemporaryFailure)
        self.rig.pass_time(3599)
        self.assertFalse(self.is_open())
        self.rig.pass_time(1)
        self.assertTrue(self.is_open())

    def test_state_names_an_answer_that_is_none(self) -> None:
        """An error page is told with what little it says."""
        self.rig.gateway.update(evolve(self.rig.config, mute=True), self.rig.lines)
        self.api.sends = [answer(500)]

        self.deliver(self.rig.delivery())

        self.assertEqual(
            self.rig.gateway.link_status().state,
            "The provider's last answer cannot be understood: 500.",
        )

    def test_verdict_after_the_end_closes_nothing_more(self) -> None:
        """An answer in the last moment leaves no timer."""
        self.api.holds = True
        self.api.sends = [answer(429)]
        delivering = self.begin(self.rig.delivery())
        self.rig.gateway.stopService()

        self.api.answer_held()

        self.assertIsInstance(self.successResultOf(delivering)[0], TemporaryFailure)
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_unavailable_provider_rests(self) -> None:
        """A 503 before anything was taken is like no connection."""
        self.api.sends = [answer(503)]

        (outcome,) = self.deliver(self.rig.delivery())

        self.assertIsInstance(outcome, TemporaryFailure)
        self.assertFalse(self.is_open())


class AlarmTests(SendingCase):
    """Faults that the operator must mend."""

    def errors(self) -> list[str]:
        """Return what the log has at level error."""
        return [
            event["log_format"]
            for event in self.logged
            if event.get("log_level") is not None and event["log_level"].name == "error"
        ]

    def setUp(self) -> None:
        """Watch the log."""
        super().setUp()
        self.logged: list[Any] = []
        observer: Any = self.logged.append
        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

    def test_operator_is_told_once(self) -> None:
        """The log and every operator hear of it once, the state shows it until it works."""
        for kind in (PermanentFailure, TemporaryFailure, TemporaryFailure):
            self.api.sends = [answer(401)]
            (outcome,) = self.deliver(self.rig.delivery())
            assert isinstance(outcome, kind)  # what is known already fails no more texts
            self.assertEqual(outcome.reason, "credentials")
            self.rig.pass_time(300)

        sentence = "The provider refuses 'api_key'; set the right one."
        self.assertEqual(self.rig.inbox.told, [("boss", f"work: {sentence}", "")])
        self.assertEqual(len(self.errors()), 1)
        link = self.rig.gateway.link_status()
        self.assertEqual((link.up, link.state, link.since_ms), (False, sentence, START_MS))

    def test_text_that_goes_out_ends_it(self) -> None:
        """The state is good again, and the next such fault is told anew."""
        self.api.sends = [answer(401)]
        self.deliver(self.rig.delivery())
        self.rig.pass_time(300)

        self.deliver(self.rig.delivery())

        self.assertTrue(self.rig.gateway.link_status().up)
        self.api.sends = [answer(401)]
        self.deliver(self.rig.delivery())
        self.assertEqual(len(self.rig.inbox.told), 2)

    def test_fault_of_a_line_names_it(self) -> None:
        """The operator reads which line it is."""
        self.api.sends = [answer(403, "not-ours")]

        self.deliver(self.rig.delivery())

        ((person, text, _),) = self.rig.inbox.told
        self.assertEqual((person, text.partition(":")[0]), ("boss", "work, line main"))

    def test_fault_of_single_texts_closes_nothing(self) -> None:
        """A country that is not enabled is told once a day; the gateway works otherwise."""
        for _ in range(2):
            self.api.sends = [answer(403, "country")]
            (outcome,) = self.deliver(self.rig.delivery())
            self.assertIsInstance(outcome, PermanentFailure)

        self.assertTrue(self.rig.lanes.is_open("work/main"))
        self.assertTrue(self.rig.gateway.link_status().up)
        self.assertEqual(self.deliver(self.rig.delivery()), [Sent("T1")])
        self.assertEqual(len(self.rig.inbox.told), 1)
        self.rig.clock.advance(86_401)
        self.api.sends = [answer(403, "country")]
        self.deliver(self.rig.delivery())
        self.assertEqual(len(self.rig.inbox.told), 2)

    def test_operator_who_cannot_be_told_reads_the_log(self) -> None:
        """A store that is away does not change what becomes of the text."""
        self.rig.inbox.failure = TemporaryFailure("internal", "The store is away.")
        self.api.sends = [answer(401)]

        (outcome,) = self.deliver(self.rig.delivery())

        self.assertIsInstance(outcome, PermanentFailure)
        self.assertEqual(len(self.errors()), 1)

    def test_alarm_outranks_a_short_rest(self) -> None:
        """A fault that is found while the account rests anyway keeps it closed for longer."""
        self.api.holds = True
        self.api.sends = [answer(429), answer(401)]
        self.begin(self.rig.delivery("a"))
        self.begin(self.side(), lane="work/side")
        self.api.answer_held(2)

        self.rig.pass_time(60)

        self.assertFalse(self.rig.lanes.is_open("work/main"))
        self.assertFalse(self.rig.gateway.link_status().up)

    def test_secrets_stay_out_of_the_log(self) -> None:
        """Neither key nor body nor the whole number is logged."""
        self.api.sends = [answer(401), LOST]
        self.deliver(self.rig.delivery(body="a secret word"))

        words = json.dumps([str(event) for event in self.logged])
        for secret in ("not-a-key", "a secret word", THEIRS):
            self.assertNotIn(secret, words)


class OptOutTests(SendingCase):
    """Recipients who do not want texts."""

    def test_provider_that_refuses_is_believed(self) -> None:
        """The number is out from then on."""
        self.api.sends = [answer(400, "opted-out")]

        (outcome,) = self.deliver(self.rig.delivery())

        assert isinstance(outcome, PermanentFailure)
        self.assertEqual(outcome.reason, "opted-out")
        self.assertEqual(self.rig.opt_outs.out, {("main", THEIRS): "provider"})

    def test_line_that_keeps_no_list_keeps_none(self) -> None:
        """With 'opt_out = no' the bridge remembers nothing."""
        self.rig.gateway.update(self.rig.config, {"main": line(opt_out="no")})
        self.api.sends = [answer(400, "opted-out")]

        self.deliver(self.rig.delivery())

        self.assertEqual(self.rig.opt_outs.out, {})


class EarlyStatusTests(SendingCase):
    """Statuses that overtake the answer."""

    def test_status_before_the_answer_is_recorded_with_it(self) -> None:
        """The call found no delivery; the answer does."""
        self.rig.inbox.report = lambda report: _unknown(self.rig, report)  # type: ignore[method-assign]
        self.api.holds = True
        delivering = self.begin(self.rig.delivery())
        self.rig.gateway._arrivals.take(StatusUpdate(remote_id="T1", status=Status.DELIVERED))
        self.assertEqual(self.rig.inbox.reports, [])

        self.api.answer_held()

        self.assertEqual(self.successResultOf(delivering), [Sent("T1")])
        (report,) = self.rig.inbox.reports
        self.assertEqual((report.delivery_id, report.status), ("a.0", Status.DELIVERED))

    def test_status_before_the_record_has_its_delivery(self) -> None:
        """Between the answer and the store's record the memory helps."""
        self.deliver(self.rig.delivery())

        self.rig.gateway._arrivals.take(StatusUpdate(remote_id="T1", status=Status.DELIVERED))

        self.assertEqual(self.rig.inbox.reports[0].delivery_id, "a.0")


class StopTests(SendingCase):
    """The end of the gateway."""

    def test_answer_that_comes_in_a_moment_is_waited_for(self) -> None:
        """What is nearly done is done."""
        self.api.holds = True
        delivering = self.begin(self.rig.delivery("a"), self.rig.delivery("b"))
        stopping = self.rig.gateway.stopService()
        self.assertNoResult(stopping)

        self.rig.pass_time(1)
        self.api.answer_held()

        self.successResultOf(stopping)
        self.assertEqual(self.successResultOf(delivering), [Sent("T1"), NotTried()])

    def test_silence_is_given_up(self) -> None:
        """Nobody knows what became of it; the next process looks it up."""
        self.api.always = None
        delivering = self.begin(self.rig.delivery())
        stopping = self.rig.gateway.stopService()

        self.rig.pass_time(3)

        self.successResultOf(stopping)
        self.assertIsInstance(self.successResultOf(delivering)[0], UnknownOutcome)
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_look_up_is_given_up(self) -> None:
        """A text that waits for its look-up is uncertain for now."""
        self.api.sends = [LOST]
        delivering = self.begin(self.rig.delivery())
        stopping = self.rig.gateway.stopService()

        self.rig.pass_time(3)

        self.successResultOf(stopping)
        self.assertIsInstance(self.successResultOf(delivering)[0], UnknownOutcome)
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_look_up_after_a_crash_is_given_up(self) -> None:
        """What cannot be asked now is asked after the next start."""
        looking = self.rig.gateway.look_up(self.rig.delivery())
        stopping = self.rig.gateway.stopService()

        self.rig.pass_time(3)

        self.successResultOf(stopping)
        self.assertIsInstance(self.successResultOf(looking), UnknownOutcome)
        self.assertIsInstance(
            self.successResultOf(self.rig.gateway.look_up(self.rig.delivery())), UnknownOutcome
        )
