"""
Tests of the dispatcher on a real store: claims, outcomes, order, pace, recovery and the end.

What must hold in every order of events is in `test_schedules`.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from attrs import evolve
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import ConnectionLost
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core import dispatcher as module
from smsbridge.core.message import (
    Delivery,
    DeliveryReport,
    NotTried,
    Origin,
    Outcome,
    Sent,
    Status,
)
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.interfaces import IGateway, ILanes, ILookUp
from tests.core.gateways import AskedGateway, ScriptedGateway, all_sent
from tests.core.rig import JOHN, NOW, OTHER, Rig

CHAT, ONE, TWO = "chat:stream", "box/one", "box/two"
PHONE = Origin(gateway="chat", address=f"{JOHN}/phone", ref="m1", wants_report=True)


class DispatcherCase(SynchronousTestCase):
    """A dispatcher that runs, with the lanes of `open_lanes` open."""

    open_lanes: Sequence[str] = (CHAT, ONE)

    def setUp(self) -> None:
        """Start the core."""
        self.rig = self.make_rig()
        self.rig.start(*self.open_lanes)
        self.dispatcher = self.rig.dispatcher
        self.chat, self.box = self.rig.chat, self.rig.box

    def make_rig(self, **gateways: ScriptedGateway) -> Rig:
        """Make a core that is cleaned up."""
        rig = Rig(self.mktemp(), **gateways)
        self.addCleanup(rig.close)
        return rig

    def lane(self, name: str) -> Any:
        """Return what the dispatcher knows of a lane."""
        return self.dispatcher._lanes[name]


class SendingTests(DispatcherCase):
    """From the store to the gateway and back."""

    def test_fakes_are_what_they_stand_for(self) -> None:
        """The scripted gateway provides `IGateway`, the dispatcher `ILanes`."""
        verifyObject(IGateway, self.chat)
        verifyObject(ILanes, self.dispatcher)

    def test_claims_before_the_first_byte(self) -> None:
        """What a gateway gets is marked as being sent in the store already."""
        self.rig.send_claimed("hi")
        self.rig.commit()
        self.assertEqual((self.box.attempts, self.rig.statuses()), ([], ["queued"]))

        self.rig.commit()

        (attempt,) = self.box.attempts
        self.assertEqual((attempt.lane, attempt.bodies), (ONE, ["hi"]))
        self.assertEqual((attempt.batch[0].status, attempt.batch[0].attempts), ("sending", 1))
        (row,) = self.rig.store.rows()
        self.assertEqual((row.status, row.attempts), ("sending", 1))
        self.assertEqual(row.due_at_ms, NOW + 60_000 + 60_000)

    def test_records_every_kind_of_outcome(self) -> None:
        """Sent, delivered, refused for good, refused for now, lost, and not tried at all."""
        self.rig.shut(ONE)
        self.box.batch_size = 8
        for number in range(6):
            self.rig.send(f"t{number}", f"+1202555013{number}")
        self.rig.settle()
        self.rig.open(ONE)
        self.lane(ONE).size = 8
        self.rig.settle()

        self.box.attempts[0].settle(
            Sent("r1"),
            Sent(delivered=True),
            PermanentFailure("rejected"),
            TemporaryFailure("unreachable"),
            UnknownOutcome(),
            NotTried(),
        )
        self.rig.settle()

        rows = [(row.status, row.attempts) for row in self.rig.store.rows()]
        self.assertEqual(
            rows,
            [
                ("sent", 1),
                ("delivered", 1),
                ("failed", 1),
                ("queued", 1),
                ("uncertain", 1),
                ("sending", 1),
            ],
        )
        self.assertEqual(self.box.bodies[1:], [["t5"]])
        self.assertEqual(
            dict(self.rig.counts.settled),
            {("box", s): 1 for s in ("sent", "delivered", "failed", "uncertain")},
        )
        self.assertEqual(dict(self.rig.counts.retried), {("box", "unreachable"): 1})

    def test_retries_after_a_growing_delay(self) -> None:
        """A text that is refused for now comes again, later each time."""
        self.rig.send("hi")
        self.rig.settle()
        self.box.answer = lambda batch: [TemporaryFailure("unreachable")] * len(batch)
        self.box.attempts[0].settle(TemporaryFailure("unreachable"))
        self.rig.settle()
        self.rig.pass_time(9.0)
        self.assertEqual(len(self.box.attempts), 1)

        self.rig.pass_time(2.0)
        self.assertEqual(len(self.box.attempts), 2)
        self.rig.pass_time(18.0)
        self.assertEqual(len(self.box.attempts), 2)
        self.rig.pass_time(4.0)

        self.assertEqual([a.batch[0].attempts for a in self.box.attempts], [1, 2, 3])

    def test_a_later_text_waits_for_an_earlier_one_of_its_conversation(self) -> None:
        """While one is retried, the next of the same conversation waits; another goes on."""
        self.rig.send("first")
        self.rig.send("second")
        self.rig.send("other", OTHER)
        self.rig.settle()
        self.box.attempts[0].settle(TemporaryFailure("unreachable"))
        self.rig.settle()
        self.assertEqual(self.box.bodies[1:], [["other"]])
        self.box.attempts[1].settle()
        self.box.answer = all_sent

        self.rig.pass_time(15.0)

        self.assertEqual([b for batch in self.box.bodies[2:] for b in batch], ["first", "second"])

    def test_waits_as_long_as_the_peer_asks(self) -> None:
        """A peer that names a time is not asked before."""
        self.rig.send("hi")
        self.rig.settle()
        self.box.attempts[0].settle(TemporaryFailure("throttled", retry_after_s=60.0))
        self.rig.settle()
        self.rig.pass_time(58.0)
        self.assertEqual(len(self.box.attempts), 1)

        self.rig.pass_time(5.0)

        self.assertEqual(len(self.box.attempts), 2)

    def test_gives_up_what_would_come_too_late(self) -> None:
        """A retry after the end of its life is none."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], expire=5.0)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        self.rig.send("hi", origin=PHONE)
        self.rig.settle()

        self.box.attempts[0].settle(TemporaryFailure("unreachable", "Nobody is there."))
        self.rig.settle()

        self.assertEqual(self.rig.statuses()[0], "expired")
        self.assertEqual(self.chat.attempts[-1].batch[0].reported, "expired")
        self.assertEqual(self.rig.counts.settled["box", Status.EXPIRED], 1)

    def test_does_not_send_what_is_too_old(self) -> None:
        """A text whose life ended while it waited in memory is not sent any more."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], expire=30.0)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        for number in range(3):
            self.rig.send(f"t{number}")
        self.rig.settle()
        self.rig.clock.advance(31.0)

        self.box.attempts[0].settle()
        self.rig.settle()

        self.assertEqual(self.box.bodies, [["t0"]])
        self.assertEqual(self.rig.statuses(), ["sent", "expired", "expired"])

    def test_an_attempt_that_is_not_settled_is_lost(self) -> None:
        """A gateway that never answers leaves an uncertain text, and the lane goes on."""
        self.rig.send("lost", origin=PHONE)
        self.rig.send("next", OTHER)
        self.rig.settle()

        self.rig.pass_time(61.0)

        self.assertEqual(self.rig.statuses()[0], "uncertain")
        self.assertEqual(self.box.bodies, [["lost"], ["next"]])
        self.assertEqual(self.chat.attempts[-1].batch[0].reported, "uncertain")

    def test_a_lost_attempt_is_repeated_where_repeats_are_recognized(self) -> None:
        """The next hop knows a repeat, so it may be tried again."""
        self.rig.text("hi")
        self.rig.settle()

        self.rig.pass_time(45.0)

        self.assertEqual(self.chat.bodies, [["hi"], ["hi"]])
        ids = {attempt.batch[0].delivery_id for attempt in self.chat.attempts}
        self.assertEqual(len(ids), 1)

    def test_a_gateway_that_breaks_does_not_end_the_lane(self) -> None:
        """An error, too few outcomes, and outcomes that are none: all are lost attempts."""
        answers: list[Any] = [fail(ConnectionLost()), [], [None], "x"]

        def deliver(lane: str, batch: Sequence[Delivery]) -> Deferred[Any]:
            answer = answers.pop(0)
            if answer == "x":
                raise ZeroDivisionError("a bug")
            if isinstance(answer, Deferred):
                return answer
            done: Deferred[Sequence[Outcome]] = Deferred()
            done.callback(answer)
            return done

        self.box.batch_size = 1
        self.box.deliver = deliver  # type: ignore[method-assign]
        for number in range(4):
            self.rig.send(f"t{number}")
        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["uncertain"] * 4)
        self.assertEqual(len(self.flushLoggedErrors(ConnectionLost, ZeroDivisionError)), 2)

    def test_peers_words_do_not_spoil_the_record(self) -> None:
        """Whatever a peer says, the outcome of the whole batch is stored."""
        self.rig.send("t0")
        self.rig.settle()
        self.box.attempts[0].settle(Sent("id\x00" + "9" * 300))
        self.rig.send("t1")
        self.rig.settle()
        self.box.attempts[1].settle(PermanentFailure("rejected", detail="\ud800" + "x" * 9000))
        self.rig.settle()

        first, second = (record.deliveries[0] for record in self.rig.store.records())
        self.assertEqual((first.status, first.remote_id[:4]), ("sent", "id\ufffd9"))
        self.assertEqual(len(first.remote_id), 255)
        self.assertEqual(second.status, "failed")
        self.assertIn("\ufffdxxx", second.text)

    def test_an_idle_line_begins_with_the_commit(self) -> None:
        """A text that nothing is in front of needs no claim: it is born as being sent."""
        self.rig.send("first")
        self.rig.send("second")

        self.rig.commit()

        (attempt,) = self.box.attempts
        self.assertEqual(attempt.bodies, ["first"])
        self.assertEqual((attempt.batch[0].status, attempt.batch[0].attempts), ("sending", 1))
        rows = [(row.status, row.attempts) for row in self.rig.store.rows()]
        self.assertEqual(rows, [("sending", 1), ("queued", 0)])

    def test_what_cannot_begin_at_once_is_not_born_sending(self) -> None:
        """A busy line, a pause, a time of its own: what waits is queued, and surely not out."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], pace=60.0)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        self.rig.send("later", not_before_ms=NOW + 60_000)
        self.rig.settle()
        self.rig.send("busy")
        self.rig.settle()
        self.rig.send("behind")
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["queued", "sending", "queued"])

        self.box.attempts[0].settle()
        self.rig.settle()
        self.rig.send("paused")
        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["queued", "sent", "queued", "queued"])

    def test_a_line_is_not_idle_while_a_text_for_it_is_committed(self) -> None:
        """What would arrive behind another one is queued from the beginning."""
        self.rig.send_claimed("first")
        self.rig.send("second")

        self.rig.commit()

        self.assertEqual(self.rig.statuses(), ["queued", "queued"])
        self.box.answer = all_sent
        self.rig.settle()
        self.rig.send("third")
        self.rig.commit()
        self.assertEqual(self.rig.statuses(), ["sent", "sent", "sending"])

    def test_a_text_that_is_not_stored_does_not_keep_a_line_from_being_idle(self) -> None:
        """Refused by the store or a repeat: nothing comes of it that could be in front."""
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal")
        refused = self.rig.send_claimed("refused")
        self.rig.store.writer.fails.clear()
        self.failureResultOf(refused, TemporaryFailure)

        self.rig.send("first")
        self.rig.commit()

        self.assertEqual(self.rig.statuses(), ["sending"])

    def test_one_that_is_overtaken_on_the_way_to_the_store_is_queued(self) -> None:
        """What a line that knows no repeats cannot begin at once does not stay born sending."""
        self.rig.send_claimed("first")
        self.lane(ONE).coming = 0  # as if nobody had asked for a place, which notices do not
        self.rig.send("second")
        self.rig.commit()
        self.assertEqual(self.rig.store.rows()[1].status, "sending")
        self.rig.settle()
        self.assertEqual(
            (self.box.bodies, self.rig.statuses()), ([["first"]], ["sending", "queued"])
        )

        self.box.answer = all_sent
        self.box.attempts[0].settle()
        self.rig.settle()

        self.assertEqual(self.box.bodies, [["first"], ["second"]])

    def test_watchers_see_every_step(self) -> None:
        """Who follows sees queued, sending and sent."""
        steps: list[str] = []
        self.rig.changes.watch(lambda ids: steps.append(self.rig.statuses()[0]))
        self.box.answer = all_sent

        self.rig.send_claimed("hi")
        self.rig.settle()

        self.assertEqual(steps, ["queued", "sending", "sent"])

    def test_the_sender_hears_of_the_next_hop_where_the_line_says_so(self) -> None:
        """With `receipts = submitted` the receipt comes when the next hop took the text."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], receipts="submitted")
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        self.box.answer = self.chat.answer = all_sent

        self.rig.send("hi", origin=PHONE)
        self.rig.settle()

        (attempt,) = self.chat.attempts
        self.assertEqual(attempt.batch[0].reported, "sent")

    def test_a_line_that_was_removed_has_no_pace_and_no_receipts(self) -> None:
        """What still waits for a line that is not configured any more is sent as it is."""
        self.rig.shut(ONE)
        self.rig.send("hi", origin=PHONE)
        self.rig.settle()
        self.rig.world.directory = evolve(self.rig.world.directory, lines={})
        self.box.answer = all_sent

        self.rig.open(ONE)
        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["sent"])


class GroupTests(DispatcherCase):
    """One text to several numbers is handed over as one."""

    def setUp(self) -> None:
        """Let line one have group texts."""
        super().setUp()
        self.with_line(carries_groups=True)

    def with_line(self, **changes: Any) -> None:
        """Change line one."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], **changes)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)

    def to_all(self, body: str, count: int = 3) -> None:
        """Send a group text."""
        self.rig.send(body, *(f"+1202555013{n}" for n in range(count)), group=True)

    def test_one_that_is_found_is_found_for_all(self) -> None:
        """The parts share what the gateway finds out."""
        self.to_all("hi")
        self.rig.settle()
        finding: Deferred[Any] = Deferred()
        self.box.attempts[0].settle(finding, finding, finding)

        finding.callback(Sent("r1"))
        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["sent"] * 3)

    def test_an_idle_line_gets_it_whole(self) -> None:
        """None of it begins before the rest, so that no crash parts it."""
        self.to_all("hi")
        self.rig.commit()
        self.assertEqual(self.rig.statuses(), ["queued"] * 3)
        self.rig.settle()

        self.assertEqual(self.box.bodies, [["hi"] * 3])
        self.assertEqual(self.rig.statuses(), ["sending"] * 3)

    def test_it_is_whole_however_few_are_taken_at_once(self) -> None:
        """A lane that takes one at a time, or has a pace, takes one group text at a time."""
        self.with_line(carries_groups=True, pace=3.0)
        self.box.answer = all_sent
        self.box.batch_size = 2
        self.rig.send("before")
        self.to_all("first", 5)
        self.to_all("second", 5)
        self.rig.send("after")
        self.rig.settle()
        self.rig.pass_time(20.0, 0.5)

        self.assertEqual(self.box.bodies, [["before"], ["first"] * 5, ["second"] * 5, ["after"]])

    def test_a_batch_ends_with_the_group_text(self) -> None:
        """A lane that takes several at once does not cut one in two."""
        self.rig.shut(ONE)
        self.to_all("hi")
        self.to_all("again")
        self.rig.settle()
        self.rig.open(ONE)
        self.lane(ONE).size = 4
        self.rig.settle()

        self.assertEqual(self.box.bodies, [["hi"] * 3 + ["again"] * 3])

    def test_it_is_tried_again_as_one(self) -> None:
        """Whatever the delays of its deliveries would be, they have one."""
        self.to_all("hi")
        self.rig.settle()
        chances = iter((0.9, 0.1, 0.5))
        self.dispatcher._chance = lambda: next(chances)
        self.box.attempts[0].settle(*[TemporaryFailure("unreachable")] * 3)
        self.rig.settle()
        self.assertEqual(len({row.due_at_ms for row in self.rig.store.rows()}), 1)

        self.rig.pass_time(30.0)

        self.assertEqual(self.box.bodies[1:], [["hi"] * 3])

    def test_what_was_not_tried_waits_for_what_was(self) -> None:
        """A gateway may hold back the rest after a failure; later texts to the group wait, too."""
        self.to_all("hi")
        self.rig.settle()
        self.to_all("later")
        self.rig.send("to one", "+12025550130")
        self.box.attempts[0].settle(TemporaryFailure("unreachable"), NotTried(), NotTried())
        self.box.answer = all_sent
        self.rig.settle()
        self.assertEqual(self.box.bodies[1:], [["to one"]])

        self.rig.pass_time(30.0)

        self.assertEqual(self.box.bodies[2:], [["hi"] * 3, ["later"] * 3])

    def test_what_could_go_at_once_waits_for_the_rest(self) -> None:
        """A part of a group text that is due does not go without the part that is not."""
        self.to_all("hi")
        self.rig.settle()
        self.box.attempts[0].settle(NotTried(), TemporaryFailure("unreachable"), NotTried())
        self.rig.settle()
        self.assertEqual(len(self.box.attempts), 1)

        self.rig.pass_time(30.0)

        self.assertEqual(self.box.bodies[1:], [["hi"] * 3])

    def test_a_group_text_of_which_a_part_was_dropped_goes_to_the_rest(self) -> None:
        """What was dropped behind the lane's back is found at the claim, before anything left."""
        self.rig.send("before")
        self.rig.settle()
        self.to_all("hi")
        self.rig.settle()
        dropped = self.rig.store.rows()[2].delivery_id
        self.rig.store.drop([dropped], self.rig.now_ms())
        self.rig.settle()
        self.box.answer = all_sent
        self.box.attempts[0].settle()
        self.rig.settle()

        (rest,) = self.box.attempts[1:]
        self.assertEqual([each.body for each in rest.batch], ["hi", "hi"])
        self.assertNotIn(dropped, [each.delivery_id for each in rest.batch])
        self.assertEqual([each.attempts for each in rest.batch], [1, 1])

    def test_it_is_whole_where_memory_ends(self) -> None:
        """What is kept in memory is more than its limit rather than a part."""
        self.patch(module, "_IN_MEMORY", 2)
        self.rig.send("before")
        self.rig.settle()
        self.to_all("hi")
        self.to_all("overflow")
        self.rig.settle()
        self.box.answer = all_sent
        self.box.attempts[0].settle()
        self.rig.settle()

        self.assertEqual(self.box.bodies[1:], [["hi"] * 3, ["overflow"] * 3])

    def test_it_is_whole_where_a_look_into_the_store_ends(self) -> None:
        """A backlog is read in parts, and no group text is in two of them."""
        self.patch(module, "_REFILL", 4)
        self.rig.shut(ONE)
        for number in range(5):
            self.to_all(f"t{number}")
        self.rig.settle()
        self.box.answer = all_sent

        self.rig.open(ONE)
        self.rig.settle()

        whole = [body for bodies in self.box.bodies for body in bodies]
        self.assertEqual(whole, [f"t{number}" for number in range(5) for _ in range(3)])
        for bodies in self.box.bodies:
            self.assertEqual({bodies.count(body) for body in bodies}, {3})


class LaneTests(DispatcherCase):
    """Lanes that open and close, fill and overflow."""

    def test_unknown_gateways_have_no_lanes(self) -> None:
        """Nothing comes of a lane whose gateway is not there."""
        self.dispatcher.open("ghost", "ghost/1")
        self.dispatcher.close("ghost", "ghost/1", "peer-down")

        self.assertEqual(self.dispatcher.lane_states(), {("chat", "open"): 1, ("box", "open"): 1})
        self.assertEqual(self.dispatcher.lane_of("ghost", "one", ""), "ghost")
        self.assertFalse(self.dispatcher.recognizes_repeats("ghost"))
        self.assertTrue(self.dispatcher.recognizes_repeats("chat"))
        self.assertIsNone(self.dispatcher.reserve("ghost/1"))
        self.assertEqual(self.dispatcher.lease_ms("ghost"), 60_000)

    def test_says_why_a_lane_is_closed(self) -> None:
        """A sender may ask why it takes so long."""
        self.rig.shut(ONE, "line-down", "No network.")

        self.assertEqual(self.dispatcher.why_closed(ONE), ("line-down", "No network."))
        self.assertEqual(self.dispatcher.why_closed("never/seen"), ("peer-down", ""))
        self.assertIsNone(self.dispatcher.why_closed(CHAT))
        self.assertEqual(self.dispatcher.lane_states()["box", "closed"], 1)

    def test_a_closed_lane_keeps_what_waits(self) -> None:
        """Nothing is tried and no attempt counts; opening sends everything in order."""
        self.rig.shut(ONE)
        for number in range(3):
            self.rig.send(f"t{number}")
        self.rig.pass_time(5.0)
        self.assertEqual(self.box.attempts, [])
        self.box.answer = all_sent

        self.rig.open(ONE)
        self.rig.open(ONE)
        self.rig.settle()

        self.assertEqual([b for batch in self.box.bodies for b in batch], ["t0", "t1", "t2"])

    def test_a_claim_may_take_its_time(self) -> None:
        """A text whose claim is committed later than it was wanted is sent all the same."""
        self.rig.send_claimed("hi")
        self.rig.commit()
        self.rig.clock.advance(5.0)

        self.rig.settle()

        self.assertEqual(self.box.bodies, [["hi"]])

    def test_what_was_committed_together_is_sent_together(self) -> None:
        """One batch, and so one proof by the next hop, for all texts of one commit."""
        for number in range(3):
            self.rig.text(f"t{number}")
        self.rig.settle()

        self.assertEqual(self.chat.bodies, [["t0", "t1", "t2"]])

    def test_closing_gives_back_what_was_born_sending(self) -> None:
        """What waits in memory, half on its way, is queued again and counts no attempt."""
        self.rig.text("t0")
        self.rig.settle()
        self.rig.text("t1")
        self.rig.text("t2")
        self.rig.settle()
        self.assertEqual(self.chat.bodies, [["t0"]])

        self.rig.shut(CHAT)
        self.rig.settle()

        rows = [(row.status, row.attempts) for row in self.rig.store.rows()]
        self.assertEqual(rows, [("sending", 1), ("queued", 0), ("queued", 0)])
        self.chat.attempts[0].settle()
        self.rig.open(CHAT)
        self.rig.settle()
        self.assertEqual(self.chat.bodies, [["t0"], ["t1", "t2"]])

    def test_closing_while_a_claim_is_under_way(self) -> None:
        """What is claimed for a lane that closed meanwhile is released."""
        self.rig.send_claimed("hi")
        self.rig.commit()
        self.rig.shut(ONE)
        self.rig.settle()

        self.assertEqual(self.box.attempts, [])
        (row,) = self.rig.store.rows()
        self.assertEqual((row.status, row.attempts), ("queued", 0))

    def test_closing_while_a_text_is_committed(self) -> None:
        """A text born sending for a lane that closed before its commit is queued again."""
        self.rig.text("hi")
        self.rig.shut(CHAT)
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["queued"])

        self.rig.open(CHAT)
        self.rig.settle()

        self.assertEqual(self.chat.bodies, [["hi"]])

    def test_a_refusal_of_a_lane_that_closed_comes_back_at_once(self) -> None:
        """The lane holds it back; when it opens there is nothing to wait for."""
        self.rig.send("hi")
        self.rig.settle()
        self.rig.shut(ONE)
        self.box.attempts[0].settle(TemporaryFailure("peer-down"))
        self.rig.settle()
        self.assertEqual(len(self.box.attempts), 1)

        self.rig.open(ONE)
        self.rig.settle()

        self.assertEqual(len(self.box.attempts), 2)

    def test_reopening_throws_away_an_older_look_into_the_store(self) -> None:
        """What was read before a lane closed says nothing about it afterwards."""
        self.rig.shut(ONE)
        self.rig.send("hi")
        self.rig.settle()
        self.rig.open(ONE)
        self.rig.shut(ONE)
        self.rig.open(ONE)
        self.box.answer = all_sent

        self.rig.settle()

        self.assertEqual(self.box.bodies, [["hi"]])
        self.assertTrue(self.lane(ONE).complete)

    def test_what_overflows_is_not_overtaken(self) -> None:
        """A text that has a place is not sent before an earlier one that found none."""
        self.patch(module, "_IN_MEMORY", 3)
        self.rig.text("t0")
        self.rig.commit()
        for number in (1, 2, 3):
            self.rig.text(f"t{number}")  # the last finds no place
        self.rig.commit(2)
        for number in (4, 5, 6, 7):
            self.rig.text(f"t{number}")
        self.chat.answer = all_sent
        self.chat.attempts[0].settle()
        self.rig.text("t8")

        self.rig.settle()

        sent = [body for batch in self.chat.bodies for body in batch]
        self.assertEqual(sent, [f"t{number}" for number in range(9)])

    def test_a_place_reserved_behind_an_unreserved_text_is_void(self) -> None:
        """When the lane must ask the store for one, what comes after it is asked for, too."""
        self.chat.batch_size = 1
        self.rig.shut(CHAT)
        self.rig.open(CHAT)
        unreserved = self.rig.text("first")
        self.rig.commit(0)
        self.lane(CHAT).complete = True  # as if the lane's look had come back just now
        self.rig.text("second")
        self.dispatcher.poke([CHAT])

        self.rig.settle()

        self.successResultOf(unreserved)
        self.assertEqual(self.chat.bodies, [["first"]])
        self.chat.answer = all_sent
        self.chat.attempts[0].settle()
        self.rig.settle()
        self.assertEqual(self.chat.bodies, [["first"], ["second"]])

    def test_a_full_lane_takes_no_reservations(self) -> None:
        """Memory is bounded; the store is the queue."""
        self.patch(module, "_IN_MEMORY", 2)
        self.assertIsNotNone(self.dispatcher.reserve(CHAT))
        self.assertIsNotNone(self.dispatcher.reserve(CHAT))
        self.assertIsNone(self.dispatcher.reserve(CHAT))

    def test_large_backlogs_are_read_in_parts(self) -> None:
        """More than one look is needed, and everything arrives in order."""
        self.patch(module, "_REFILL", 4)
        self.rig.shut(CHAT)
        for number in range(21):
            self.rig.text(f"t{number}")
        self.rig.settle()
        self.chat.answer = all_sent

        self.rig.open(CHAT)
        self.rig.settle()

        self.assertEqual(
            [b for batch in self.chat.bodies for b in batch], [f"t{n}" for n in range(21)]
        )
        self.assertTrue(self.lane(CHAT).complete)

    def test_a_fast_lane_gets_larger_batches_and_a_slow_one_smaller(self) -> None:
        """A peer that takes one at a time is found out by its pace."""
        self.rig.shut(ONE)
        for number in range(12):
            self.rig.send(f"t{number}", f"+1202555014{number % 10}")
        self.rig.settle()
        self.rig.open(ONE)
        self.rig.settle()
        sizes = []
        for took in (0.0, 0.0, 0.0, 0.3, 0.1):
            attempt = self.box.attempts[-1]
            sizes.append(len(attempt.batch))
            self.rig.clock.advance(took)
            attempt.settle()
            self.rig.settle()

        self.assertEqual(sizes, [1, 2, 4, 4, 1])

    def test_a_lane_keeps_its_pace(self) -> None:
        """Between two texts of a line lies the time that its configuration asks for."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], pace=3.0)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        times: list[float] = []

        def answer(batch: Sequence[Delivery]) -> Sequence[Outcome]:
            times.append(self.rig.clock.seconds())
            return all_sent(batch)

        self.box.answer = answer
        for number in range(3):
            self.rig.send(f"t{number}")
        self.rig.settle()
        self.rig.pass_time(10.0, 0.5)

        self.assertEqual(times, [0.0, 3.0, 6.0])
        self.assertEqual(self.box.bodies, [["t0"], ["t1"], ["t2"]])

    def test_what_waits_too_long_in_memory_is_asked_for_again(self) -> None:
        """The store may take back what was born sending; it is not sent behind its back."""
        self.chat.batch_size = 1
        self.chat.settle_within_s = 500.0
        for number in range(3):
            self.rig.text(f"t{number}")
        self.rig.settle()
        self.rig.clock.advance(61.0)
        self.rig.settle()
        self.chat.answer = all_sent

        self.chat.attempts[0].settle()
        self.rig.pass_time(5.0)

        self.assertEqual(self.chat.bodies, [["t0"], ["t1"], ["t2"]])
        self.assertEqual(self.rig.statuses(), ["sent"] * 3)
        self.assertEqual([a.batch[0].attempts for a in self.chat.attempts], [1, 1, 1])

    def test_a_claim_that_took_too_long_is_released(self) -> None:
        """After an outage the lease of a claim may be over before the first byte."""
        self.rig.send_claimed("hi")
        self.rig.commit()
        self.rig.clock.pump([0])
        self.rig.clock.rightNow += 300.0  # the database was away, and no timer ran
        self.rig.commit()
        self.assertEqual(self.box.attempts, [])

        self.rig.settle()

        (attempt,) = self.box.attempts
        self.assertEqual(attempt.batch[0].attempts, 1)


class StoreTroubleTests(DispatcherCase):
    """A store that refuses for a while."""

    def fails(self, operation: str, error: Exception | None = None) -> None:
        """Let an operation of the store fail."""
        self.rig.store.writer.fails[operation] = error or TemporaryFailure("internal")

    def works(self) -> None:
        """Let the store work again."""
        self.rig.store.writer.fails.clear()

    def test_a_claim_that_fails_is_made_again(self) -> None:
        """The lane rests a second and goes on."""
        self.box.answer = all_sent
        self.fails("Claim")
        self.rig.send_claimed("hi")
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["queued"])

        self.works()
        self.rig.pass_time(2.0)

        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_nothing_overtakes_what_could_not_be_claimed(self) -> None:
        """What was born sending behind a text that cannot be claimed goes back with it."""
        self.patch(module, "_IN_MEMORY", 1)
        self.rig.text("t0")
        self.rig.settle()
        self.rig.text("t1")
        self.patch(module, "_IN_MEMORY", 10)
        self.lane(CHAT).reserved = 10
        self.rig.text("t2")  # finds no place, so that it must be claimed
        self.lane(CHAT).reserved = 1
        self.rig.text("t3")
        self.rig.settle()
        self.fails("Claim")
        self.chat.attempts[0].settle()
        self.rig.settle()
        self.works()
        self.chat.answer = all_sent

        self.rig.pass_time(3.0)

        sent = [body for batch in self.chat.bodies for body in batch]
        self.assertEqual(sent, ["t0", "t1", "t2", "t3"])

    def test_a_claim_that_breaks_does_not_end_the_lane(self) -> None:
        """A bug is logged, and the lane tries again, however long it takes."""
        self.box.answer = all_sent
        self.fails("Claim", ZeroDivisionError("a bug"))
        self.rig.send_claimed("hi")
        self.rig.settle()
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.rig.pass_time(30.0)
        self.assertGreater(len(self.flushLoggedErrors(ZeroDivisionError)), 20)

        self.works()
        self.rig.pass_time(2.0)

        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_a_look_into_the_store_that_fails_is_made_again(self) -> None:
        """An open lane never sleeps for good."""
        self.box.answer = all_sent
        self.rig.shut(ONE)
        self.rig.send("hi")
        self.rig.settle()
        self.rig.pass_time(20.0)
        self.fails("Refill")
        self.rig.open(ONE)
        self.rig.settle()
        self.works()

        self.rig.pass_time(1.0)

        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_a_sweep_that_fails_is_made_up_for(self) -> None:
        """A retry that became due while the store refused is found afterwards."""
        self.rig.send("hi")
        self.rig.settle()
        self.box.attempts[0].settle(TemporaryFailure("unreachable"))
        self.rig.settle()
        self.box.answer = all_sent
        self.fails("LanesDue")
        self.rig.pass_time(60.0)
        self.assertEqual(self.rig.statuses(), ["queued"])
        self.works()

        self.rig.pass_time(2.0)

        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_a_record_that_is_refused_is_logged_and_decided_later(self) -> None:
        """Without its outcome an attempt counts as interrupted when its lease is over."""
        self.fails("Settle")
        self.rig.send("hi")
        self.rig.settle()
        self.box.attempts[0].settle()
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["sending"])
        self.works()

        self.rig.pass_time(140.0)

        self.assertEqual(self.rig.statuses(), ["uncertain"])

    def test_looking_after_survives_a_refusing_store(self) -> None:
        """The caretaker comes again."""
        for name in ("TellWaiting", "Recover", "LanesDue"):
            self.fails(name, ZeroDivisionError("a bug") if name == "Recover" else None)
        self.rig.pass_time(31.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.works()
        self.rig.shut(ONE, "line-down", "No network.")
        self.rig.send("hi", origin=PHONE)
        self.rig.pass_time(140.0)

        (attempt,) = self.chat.attempts
        self.assertEqual(
            (attempt.batch[0].reported, attempt.batch[0].reason, attempt.batch[0].body),
            ("queued", "line-down", "No network."),
        )


class LookingAfterTests(DispatcherCase):
    """What time brings."""

    def test_a_bug_does_not_end_the_rounds(self) -> None:
        """What breaks one sweep does not stop the next."""
        poke = self.dispatcher.poke
        broken = [ZeroDivisionError("a bug")]

        def poke_or_break(lanes: Any) -> None:
            if broken:
                raise broken.pop()
            poke(lanes)

        self.patch(self.dispatcher, "poke", poke_or_break)
        self.rig.pass_time(1.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.rig.send("hi")
        self.rig.settle()
        self.box.attempts[0].settle(TemporaryFailure("unreachable"))

        self.rig.pass_time(15.0)

        self.assertEqual(len(self.box.attempts), 2)

    def test_senders_hear_that_a_text_waits_once(self) -> None:
        """After two minutes the reason is told, and not again."""
        self.chat.answer = all_sent
        self.rig.shut(ONE, "line-down", "No network.")
        self.rig.send("hi", origin=PHONE)

        self.rig.pass_time(110.0)
        self.assertEqual(self.chat.attempts, [])
        self.rig.pass_time(300.0)

        self.assertEqual([a.batch[0].reported for a in self.chat.attempts], ["queued"])

    def test_nobody_hears_without_a_time(self) -> None:
        """With `notify_after = 0` nobody is told, and what is too old is given up all the same."""
        self.chat.answer = all_sent
        self.dispatcher.notify_after_s = 0.0
        self.rig.shut(ONE)
        self.rig.send("hi", origin=PHONE)
        self.rig.pass_time(300.0, 15.0)
        self.assertEqual(self.chat.attempts, [])

        self.rig.pass_time(48 * 3600.0, 3600.0)

        self.assertEqual([a.batch[0].reported for a in self.chat.attempts], ["expired"])

    def test_finds_what_the_hop_gave_back_on_a_busy_lane(self) -> None:
        """A text that bounced is sent again, although its lane never rests."""
        self.chat.batch_size = 1
        accepted = self.rig.text("bounced")
        self.rig.settle()
        self.chat.attempts[0].settle()
        self.rig.settle()
        name = f"{self.successResultOf(accepted).message_id}.0"
        self.rig.inbox.report(
            DeliveryReport(gateway="chat", status=Status.QUEUED, delivery_id=name)
        )
        self.rig.text("first", OTHER)
        for number in range(60):
            self.rig.text(f"t{number}", OTHER)
            self.rig.pass_time(1.0)
            self.assertTrue(self.lane(CHAT).busy)
            self.chat.attempts[-1].settle()
            self.rig.settle()

        sent = [body for batch in self.chat.bodies for body in batch]
        self.assertEqual(sent.count("bounced"), 2)

    def test_takes_over_what_a_dead_node_left(self) -> None:
        """The work of another node whose lease is over is taken up."""
        self.chat.answer = all_sent
        self.rig.shut(CHAT)
        self.rig.text("hi")
        self.rig.settle()
        self.rig.store.writer.run(
            lambda connection: connection.exec_driver_sql(
                "UPDATE deliveries SET status = 'sending', owner = 'other', due_at_ms = ?",
                (NOW + 20_000,),
            )
        )
        self.rig.open(CHAT)
        self.rig.pass_time(14.0)
        self.assertEqual(self.chat.attempts, [])

        self.rig.pass_time(20.0)

        self.assertEqual(self.chat.bodies, [["hi"]])


class RecoveryTests(SynchronousTestCase):
    """What an earlier process left behind, and gateways that come and go."""

    def setUp(self) -> None:
        """Make a core that does not run yet, with two texts under way."""
        self.rig = Rig(self.mktemp())
        self.addCleanup(self.rig.close)
        for text in ("in", "out"):
            (self.rig.text if text == "in" else self.rig.send)(text)
        self.rig.settle()
        self.rig.store.writer.run(
            lambda connection: connection.exec_driver_sql(
                "UPDATE deliveries SET status = 'sending', owner = 'here', due_at_ms = ?",
                (NOW + 100_000,),
            )
        )
        self.dispatcher = self.rig.dispatcher

    def test_decides_before_anything_is_sent(self) -> None:
        """Where repeats are recognized it is sent again, elsewhere it is uncertain."""
        self.rig.open("chat:stream")
        self.rig.open("box/one")
        self.dispatcher.startService()
        self.rig.send("next", OTHER)
        self.assertEqual((self.rig.chat.attempts, self.rig.box.attempts), ([], []))

        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["sending", "uncertain", "sending"])
        self.assertEqual((self.rig.chat.bodies, self.rig.box.bodies), ([["in"]], [["next"]]))

    def test_no_place_is_reserved_while_it_is_decided(self) -> None:
        """A text that comes during the recovery must not be taken for an interrupted one."""
        self.rig.open("chat:stream")
        self.dispatcher.startService()
        self.dispatcher._lanes["chat:stream"].complete = True

        self.assertIsNone(self.dispatcher.reserve("chat:stream"))

    def test_a_recovery_that_fails_is_made_again(self) -> None:
        """A gateway does not wait for ever because the store refused once."""
        self.rig.store.writer.fails["Recover"] = TemporaryFailure("internal")
        self.rig.open("chat:stream")
        self.dispatcher.startService()
        self.rig.settle()
        self.assertEqual(self.rig.chat.attempts, [])
        self.rig.store.writer.fails.clear()

        self.rig.pass_time(1.0)

        self.assertEqual(self.rig.chat.bodies, [["in"]])

    def test_a_recovery_is_not_made_again_for_a_gateway_that_is_gone(self) -> None:
        """What was asked for a gateway that was replaced does not count for the next."""
        self.rig.store.writer.fails["Recover"] = TemporaryFailure("internal")
        self.dispatcher.startService()
        self.dispatcher.remove_gateway("chat")
        self.rig.store.writer.fails.clear()

        self.rig.pass_time(1.0)

        self.assertEqual(self.rig.statuses()[0], "sending")

    def test_a_gateway_replaced_during_its_recovery_waits_for_its_own(self) -> None:
        """The answer for the old one does not open the way for the new one."""
        self.dispatcher.startService()
        new = ScriptedGateway("chat")
        self.dispatcher.remove_gateway("chat")
        self.dispatcher.add_gateway(new)
        self.dispatcher.open("chat", "chat:stream")
        self.rig.commit(1)
        self.assertEqual(self.dispatcher._recovering, {"chat", "box"})

        self.rig.settle()

        self.assertEqual(new.bodies, [["in"]])
        self.assertEqual(self.rig.chat.attempts, [])

    def test_a_replaced_gateway_leaves_what_is_in_hand(self) -> None:
        """What this process is about to commit or to claim is not taken for interrupted."""
        self.rig.start("chat:stream", "box/one")
        self.rig.chat.attempts[0].settle()
        self.rig.settle()
        self.rig.send_claimed("claimed", OTHER)
        self.rig.commit()
        self.rig.text("reserved")
        new_chat, new_box = ScriptedGateway("chat"), ScriptedGateway("box", False, per_line=True)
        for new, lane in ((new_chat, "chat:stream"), (new_box, "box/one")):
            self.dispatcher.remove_gateway(new.label)
            self.dispatcher.add_gateway(new)
            self.dispatcher.open(new.label, lane)

        self.rig.settle()

        self.assertEqual((self.rig.box.attempts, new_box.bodies), ([], [["claimed"]]))
        self.assertEqual(new_chat.bodies, [["reserved"]])
        self.assertEqual(self.rig.statuses(), ["sent", "uncertain", "sending", "sending"])

    def test_a_text_committed_after_its_gateway_went_is_queued(self) -> None:
        """Without a lane, what was born sending is given back to the store."""
        self.rig.start("chat:stream")
        self.rig.chat.attempts[0].settle()
        self.rig.settle()
        self.rig.text("late")
        self.rig.send("unreserved")
        self.dispatcher.remove_gateway("chat")
        self.dispatcher.remove_gateway("box")

        self.rig.settle()

        self.assertEqual(self.rig.statuses()[2:], ["queued", "queued"])

    def test_a_reservation_does_not_pass_for_one_of_the_next_lane(self) -> None:
        """A lane of the same name is another lane, and this one is closed."""
        self.rig.start("chat:stream")
        self.rig.chat.attempts[0].settle()
        self.rig.settle()
        self.rig.text("reserved")
        self.dispatcher.remove_gateway("chat")
        self.dispatcher.add_gateway(ScriptedGateway("chat"))
        self.rig.shut("chat:stream")

        self.rig.settle()

        self.assertEqual(self.rig.statuses()[2], "queued")

    def test_removing_a_gateway_ends_its_timers(self) -> None:
        """Nothing is left to wake up for a lane that is gone."""
        self.rig.store.writer.fails["Refill"] = TemporaryFailure("internal")
        self.rig.start("chat:stream", "box/one")
        before = len(self.rig.clock.getDelayedCalls())

        self.dispatcher.remove_gateway("chat")

        self.assertEqual(len(self.rig.clock.getDelayedCalls()), before - 1)


class AskedBatchTests(SynchronousTestCase):
    """What a gateway whose peer can be asked is handed."""

    def test_a_slow_peer_gets_several_at_once(self) -> None:
        """Its texts need not go one after another: what a crash interrupts is asked about."""
        box = AskedGateway()
        rig = Rig(self.mktemp(), box=box)
        self.addCleanup(rig.close)
        rig.start("box/one")
        for number in range(9):
            rig.send(f"t{number}", f"+1202555010{number}")
        rig.settle()

        for _ in range(3):
            rig.clock.advance(1.0)
            box.attempts[-1].settle()
            rig.settle()

        self.assertEqual([len(attempt.batch) for attempt in box.attempts][:3], [1, 4, 4])


class FindingTests(SynchronousTestCase):
    """Texts of which the gateway must first find out what became of them."""

    def setUp(self) -> None:
        """Make a running core, and let a text to Ann be one."""
        self.box = AskedGateway()
        self.rig = Rig(self.mktemp(), box=self.box)
        self.addCleanup(self.rig.close)
        self.rig.start("box/one")
        self.finding: Deferred[Any] = Deferred()
        self.rig.send("lost", "+12025550101")
        self.rig.send("after it", "+12025550101")
        self.rig.send("to another", "+12025550102")
        self.rig.settle()
        self.box.attempts[0].settle(self.finding)
        self.rig.settle()

    def statuses(self) -> list[str]:
        """Return the status of each text, oldest first."""
        return [row.status for row in self.rig.store.rows() if row.kind == "message"]

    def test_other_conversations_do_not_wait(self) -> None:
        """Only what comes after it in its own conversation does."""
        self.assertEqual(self.box.bodies, [["lost"], ["to another"]])
        self.assertEqual(self.statuses(), ["sending", "queued", "sending"])

    def test_found_it_is_sent_and_the_next_one_goes(self) -> None:
        """It has the id that was found."""
        self.box.attempts[1].settle()
        self.finding.callback(Sent("r1"))
        self.rig.settle()

        self.assertEqual(self.box.bodies[2:], [["after it"]])
        self.assertEqual(self.statuses(), ["sent", "sending", "sent"])
        self.assertEqual(self.rig.store.records()[0].deliveries[0].remote_id, "r1")

    def test_not_found_it_goes_again_before_the_next(self) -> None:
        """The order of the conversation is kept."""
        self.box.attempts[1].settle()
        self.finding.callback(TemporaryFailure("peer-down"))
        self.rig.settle()
        self.box.answer = all_sent
        self.rig.pass_time(20.0, 0.5)

        self.assertEqual(
            [body for batch in self.box.bodies[2:] for body in batch], ["lost", "after it"]
        )

    def test_what_is_never_found_out_is_uncertain(self) -> None:
        """After the gateway's own time, or when it stumbles, and the conversation goes on."""
        self.box.attempts[1].settle()
        self.rig.pass_time(self.box.settle_within_s + 1.0, 1.0)

        self.assertEqual(self.statuses(), ["uncertain", "sending", "sent"])

    def test_a_stumbling_gateway_leaves_it_uncertain(self) -> None:
        """The log has the bug."""
        self.finding.errback(RuntimeError("a bug"))
        self.rig.settle()

        self.assertEqual(self.statuses()[0], "uncertain")
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)


class AskingTests(SynchronousTestCase):
    """Interrupted attempts of a line whose peer can be asked about them."""

    def setUp(self) -> None:
        """Make a core that does not run yet, with a text under way and the next to that number."""
        self.box = AskedGateway()
        self.rig = Rig(self.mktemp(), box=self.box)
        self.addCleanup(self.rig.close)
        self.dispatcher = self.rig.dispatcher
        self.first = self.interrupted("first")
        self.rig.send("second")

    def interrupted(self, body: str, *recipients: str, **more: Any) -> str:
        """Let the process die while it sends a text; returns the id of the message."""
        accepting = self.rig.send(body, *recipients, origin=PHONE, **more)
        self.rig.settle()
        message_id = str(self.successResultOf(accepting).message_id)
        self.rig.store.writer.run(
            lambda connection: connection.exec_driver_sql(
                "UPDATE deliveries SET status = 'sending', attempts = 1, owner = 'here',"
                " due_at_ms = ?, sending_at_ms = ? WHERE message_id = ?",
                (NOW + 100_000, NOW, message_id),
            )
        )
        return message_id

    def start(self) -> None:
        """Start a process that finds all that."""
        self.rig.chat.answer = all_sent
        self.rig.start("box/one", "chat:stream")

    def told(self) -> list[str]:
        """Return what was reported to the sender."""
        return [
            delivery.reported for attempt in self.rig.chat.attempts for delivery in attempt.batch
        ]

    def record(self) -> Any:
        """Return the delivery of the first text."""
        (record,) = (each for each in self.rig.store.records() if each.message_id == self.first)
        return record.deliveries[0]

    def outward(self) -> list[str]:
        """Return the status of every delivery to a line, oldest first."""
        return [row.status for row in self.rig.store.rows() if row.kind == "message"]

    def test_fakes_are_what_they_stand_for(self) -> None:
        """The asked gateway provides both interfaces."""
        verifyObject(IGateway, self.box)
        verifyObject(ILookUp, self.box)

    def test_what_the_peer_has_is_sent(self) -> None:
        """It gets the peer's id, nobody is told that it may be lost, and the next one goes."""
        self.start()
        self.assertEqual((self.box.asked, self.box.bodies), (["first"], []))
        self.assertEqual(self.outward(), ["uncertain", "queued"])
        self.assertEqual(self.box.questions[0].delivery.attempts, 1)
        seen: list[Any] = []
        self.rig.changes.watch(seen.append)

        self.box.questions[0].answer.callback(Sent("r1"))
        self.rig.settle()

        self.assertIn([self.first], seen)

        self.assertEqual(self.outward(), ["sent", "sending"])
        record = self.record()
        self.assertEqual((record.remote_id, record.reason, record.text), ("r1", "", ""))
        self.assertEqual((self.box.bodies, self.told()), ([["second"]], []))

    def test_what_the_peer_never_heard_of_is_sent_again(self) -> None:
        """Before the next text to that number, and once."""
        self.box.answer = all_sent
        self.start()

        self.box.questions[0].answer.callback(NotTried())
        self.rig.settle()

        self.assertEqual([b for bodies in self.box.bodies for b in bodies], ["first", "second"])
        self.assertEqual((self.outward(), self.told()), (["sent", "sent"], []))
        self.assertEqual(self.box.attempts[0].batch[0].attempts, 2)

    def test_what_nobody_knows_is_told_in_the_end(self) -> None:
        """A peer may be away for a moment; the sender hears once, and nothing is sent by itself."""
        self.box.says = lambda delivery: UnknownOutcome()
        self.start()
        self.rig.pass_time(100.0)
        self.assertEqual((self.box.asked, self.told()), (["first"] * 2, []))
        self.assertEqual(self.box.bodies, [])

        self.rig.pass_time(100.0)

        self.assertEqual((self.box.asked, self.told()), (["first"] * 3, ["uncertain"]))
        self.assertEqual(self.outward()[0], "uncertain")
        self.assertEqual(self.record().text, "The bridge stopped before the answer came.")
        self.assertEqual(self.box.bodies, [["second"]])
        self.rig.pass_time(1000.0)
        self.assertEqual((len(self.box.asked), self.dispatcher._asking), (3, {}))

    def test_another_time_may_help(self) -> None:
        """What was not known at first may be known later."""
        self.box.says = lambda delivery: UnknownOutcome()
        self.start()
        self.box.says = lambda delivery: Sent("r1")

        self.rig.pass_time(30.0)

        self.assertEqual((self.outward()[0], self.told()), ("sent", []))

    def test_a_report_that_came_meanwhile_stands(self) -> None:
        """The network said delivered; what the peer's list says is older."""
        self.start()
        self.rig.inbox.report(
            DeliveryReport(gateway="box", status=Status.DELIVERED, delivery_id=f"{self.first}.0")
        )
        self.rig.settle()

        self.box.questions[0].answer.callback(NotTried())
        self.rig.settle()

        self.assertEqual(self.outward()[0], "delivered")
        self.assertEqual(self.box.bodies, [["second"]])

    def test_the_operator_may_be_faster(self) -> None:
        """What was dropped stays so."""
        self.start()
        self.rig.store.drop([f"{self.first}.0"], NOW)
        self.rig.settle()

        self.box.questions[0].answer.callback(Sent("r1"))
        self.rig.settle()

        self.assertEqual(self.outward()[0], "dropped")

    def test_a_group_text_is_asked_about_once(self) -> None:
        """It was one request; what is known of it holds for all."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], carries_groups=True)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        self.interrupted("to all", OTHER, "+12025550125", group=True)
        self.box.says = lambda delivery: Sent("g1") if delivery.group else NotTried()

        self.start()

        self.assertEqual(sorted(self.box.asked), ["first", "to all"])
        rows = [(row.status, row.delivery_id[-2:]) for row in self.rig.store.rows()]
        self.assertEqual(rows[2:], [("sent", ".0"), ("sent", ".1")])

    def test_lines_do_not_wait_for_each_other(self) -> None:
        """One by one on a line, several lines at once."""
        self.interrupted("to another", OTHER)
        self.interrupted("of another", line="two")
        self.start()
        self.assertEqual(sorted(self.box.asked), ["of another", "to another"])

        self.box.questions[self.box.asked.index("to another")].answer.callback(Sent())
        self.rig.settle()

        self.assertEqual(self.box.asked[2:], ["first"])

    def test_a_gateway_that_is_about_to_start_is_waited_for(self) -> None:
        """At a reload it is known before it runs."""
        self.box.stopService()
        self.start()
        self.rig.pass_time(3.0)
        self.assertEqual(self.box.asked, [])

        self.box.startService()
        self.rig.pass_time(1.0)

        self.assertEqual(self.box.asked, ["first"])

    def test_a_gateway_that_was_replaced_is_not_asked_any_more(self) -> None:
        """The one in its place is, about what is not known."""
        self.start()
        new = AskedGateway()
        new.startService()
        self.dispatcher.remove_gateway("box")
        self.dispatcher.add_gateway(new)
        self.rig.settle()
        self.assertEqual(new.asked, [])

        self.box.questions[0].answer.callback(UnknownOutcome())
        self.rig.pass_time(40.0)

        self.assertEqual((self.box.asked, new.asked), (["first"], ["first"]))

    def test_a_look_up_that_breaks_is_made_again(self) -> None:
        """By a bug, or because nobody answers."""
        self.start()
        self.box.questions[0].answer.errback(ZeroDivisionError())
        self.rig.pass_time(30.0)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)
        self.rig.pass_time(60.0)
        self.rig.pass_time(120.0)
        self.assertEqual(self.box.asked, ["first"] * 3)
        self.box.questions[2].answer.errback(TemporaryFailure("peer-down"))
        self.rig.settle()

        self.assertEqual(self.told(), ["uncertain"])

    def test_a_store_that_refuses_is_asked_again(self) -> None:
        """What was found out is found out again."""
        self.box.says = lambda delivery: Sent("r1")
        self.rig.store.writer.fails["Conclude"] = TemporaryFailure("internal")
        self.start()
        self.rig.pass_time(200.0)
        self.assertEqual(self.outward()[0], "uncertain")
        self.rig.store.writer.fails.clear()

        self.rig.pass_time(1.0)

        self.assertEqual(self.outward()[0], "sent")

    def test_what_a_dead_node_left_is_asked_about(self) -> None:
        """Another node of the same gateway takes over."""
        self.box.says = lambda delivery: Sent("r1")
        self.rig.store.writer.run(
            lambda connection: connection.exec_driver_sql(
                "UPDATE deliveries SET owner = 'other' WHERE status = 'sending'"
            )
        )
        self.start()
        self.assertEqual(self.outward()[0], "sending")

        self.rig.pass_time(120.0)

        self.assertEqual(self.outward()[0], "sent")

    def test_what_comes_while_it_asks_is_asked_about(self) -> None:
        """A take-over during a round, or at its end, is not forgotten."""
        self.start()
        self.interrupted("late", OTHER)
        self.dispatcher._recover(self.box, own_too=True)
        self.rig.settle()
        self.assertEqual(self.box.asked, ["first"])
        self.box.says = lambda delivery: Sent()

        self.box.questions[0].answer.callback(Sent())
        self.rig.pass_time(31.0)

        self.assertEqual(self.box.asked, ["first", "late"])

    def test_the_end_leaves_it_to_the_next_process(self) -> None:
        """No timer is left, and what was cut off by our own end is not given up."""
        self.box.says = lambda delivery: UnknownOutcome()
        self.start()
        self.rig.send("under way", OTHER)
        self.rig.settle()
        self.assertEqual(self.box.bodies, [["under way"]])
        done = self.dispatcher.stopService()
        self.box.attempts[0].settle(UnknownOutcome())
        self.rig.settle()

        self.successResultOf(done)
        self.assertEqual(self.outward(), ["uncertain", "queued", "sending"])
        self.assertEqual(self.told(), [])
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_an_end_in_the_middle_asks_no_more(self) -> None:
        """What the peer said last is kept; the rest is for the next process."""
        self.interrupted("third", OTHER)
        self.start()
        self.dispatcher.begin_nothing_more()
        self.box.questions[0].answer.callback(Sent("r3"))
        self.rig.settle()
        self.rig.pass_time(300.0)

        self.assertEqual(self.box.asked, ["third"])
        self.assertEqual(self.outward(), ["uncertain", "queued", "sent"])


class StoppingTests(DispatcherCase):
    """The end."""

    def test_stops_at_once_when_nothing_is_under_way(self) -> None:
        """There is nothing to wait for, and no timer stays."""
        stopping = self.dispatcher.stopService()

        self.assertIsNone(self.successResultOf(stopping))
        self.assertEqual(self.rig.clock.getDelayedCalls(), [])

    def test_stops_before_it_was_started(self) -> None:
        """A program that fails to start ends in good order."""
        self.successResultOf(self.make_rig().dispatcher.stopService())

    def test_waits_for_what_is_under_way(self) -> None:
        """The outcome of the last attempt is recorded; what waits behind it stays queued."""
        self.rig.send("under way")
        self.rig.send("waits")
        self.rig.text("one")
        self.rig.settle()
        self.rig.text("two")
        self.rig.settle()

        stopping = self.dispatcher.stopService()
        self.assertNoResult(stopping)
        self.box.attempts[0].settle()
        self.assertNoResult(stopping)
        self.chat.attempts[0].settle()
        self.successResultOf(stopping)
        self.rig.settle()

        self.assertEqual(self.rig.statuses(), ["sent", "queued", "sent", "queued"])
        self.assertEqual((len(self.box.attempts), len(self.chat.attempts)), (1, 1))

    def test_does_not_wait_for_ever(self) -> None:
        """After ten seconds the program ends all the same."""
        self.rig.send("hi")
        self.rig.settle()
        stopping = self.dispatcher.stopService()

        self.rig.clock.advance(10.0)

        self.assertIsNone(self.successResultOf(stopping))
        self.box.attempts[0].settle()
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_begins_nothing_more(self) -> None:
        """From the word on nothing new is claimed, reserved or sent."""
        self.rig.send_claimed("claimed")
        self.rig.commit()
        self.dispatcher.begin_nothing_more()
        self.rig.send("queued")
        self.rig.text("not reserved")
        self.rig.pass_time(3.0)

        self.assertEqual((self.box.attempts, self.chat.attempts), ([], []))
        self.assertEqual(self.rig.statuses(), ["queued"] * 3)

    def test_a_pause_ends_with_the_service(self) -> None:
        """A line that waits for its pace does not keep the program alive."""
        lines = dict(self.rig.world.directory.lines)
        lines["one"] = evolve(lines["one"], pace=60.0)
        self.rig.world.directory = evolve(self.rig.world.directory, lines=lines)
        self.box.answer = all_sent
        self.rig.send("t0")
        self.rig.send("t1")
        self.rig.settle()

        self.successResultOf(self.dispatcher.stopService())
        self.rig.settle()

        self.assertEqual(self.rig.clock.getDelayedCalls(), [])
        self.assertEqual(self.rig.statuses(), ["sent", "queued"])
