"""
Random schedules of everything that can happen to the core at once, held to what it promises.

Texts come in, commits happen or are put off, gateways take, refuse, forget and break, lanes open
and close, gateways are replaced, the store refuses: in every order, each order from a seed.
"""

from __future__ import annotations

import itertools
import os
import random
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from attrs import evolve
from sqlalchemy import text
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.core.changes import Changes
from smsbridge.core.counts import Counts
from smsbridge.core.directory import Directory, World
from smsbridge.core.dispatcher import Dispatcher
from smsbridge.core.entries import MessageQuery
from smsbridge.core.inbox import Inbox
from smsbridge.core.message import (
    Accepted,
    Delivery,
    DeliveryReport,
    FromNetwork,
    Kind,
    NotTried,
    Origin,
    Outcome,
    Sent,
    Status,
)
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.store.service import MessageStore, StateFolder
from tests.core.gateways import Attempt, ScriptedGateway
from tests.core.rig import JOHN, NOW, Rig, directory

RUNS = 1000 if os.environ.get("CI") == "true" else 150
STEPS = 120
LANES = ("chat:stream", "box/one", "box/two")


class Witness(ScriptedGateway):
    """A gateway that checks every call against what it and the store know."""

    schedule: Schedule

    def deliver(self, lane: str, batch: Sequence[Delivery]) -> Deferred[Sequence[Outcome]]:
        """Take the batch, and compare."""
        self.schedule.check(self, lane, batch)
        return super().deliver(lane, batch)


def with_groups() -> Directory:
    """Make a directory whose line one has group texts."""
    made = directory()
    lines = {**made.lines, "one": evolve(made.lines["one"], carries_groups=True)}
    return evolve(made, lines=lines)


class Schedule:
    """One run; `problems` says what went wrong."""

    def __init__(self, folder: str, seed: int) -> None:
        self.random = random.Random(seed)
        self.problems: list[str] = []
        self.accepted: set[str] = set()
        self.taken: set[str] = set()  # what a gateway said it sent
        self.over: set[str] = set()  # what has another end, as far as a gateway knows
        self.reported: set[str] = set()  # what the network said it delivered
        self.free: set[str] = set()  # order keys whose order an intervention changed
        self.open: list[Attempt] = []
        self.number = 0
        self.trouble = True  # gateways may refuse, the store may fail
        self.rig = Rig(folder, self.make_chat(), self.make_box(), with_groups())
        self.gateways = {"chat": self.rig.chat, "box": self.rig.box}
        self.rig.dispatcher.startService()

    # -- the parts -------------------------------------------------------------------------------

    def make_chat(self) -> Witness:
        """Make the stream, whose server recognizes repeats."""
        made = Witness("chat", True, self.random.choice((1, 3, 8)), 30.0)
        made.schedule = self
        return made

    def make_box(self) -> Witness:
        """Make the box, whose lines do not."""
        made = Witness("box", False, self.random.choice((1, 3, 8)), 60.0, per_line=True)
        made.schedule = self
        return made

    def check(self, gateway: Witness, lane: str, batch: Sequence[Delivery]) -> None:
        """Look for what must not be."""
        if any(a.lane == lane and not a.done.called for a in gateway.attempts):
            self.problems.append(f"{lane} was called before it answered")
        ids = [delivery.delivery_id for delivery in batch]
        if len(set(ids)) != len(ids):
            self.problems.append(f"{ids} has one delivery twice")
        for position, delivery in enumerate(batch):
            if delivery.group:
                self.check_whole(delivery, ids)
            if delivery.delivery_id in self.taken:
                self.problems.append(f"{delivery.body!r} was given again after it was sent")
            if delivery.status is not Status.SENDING or delivery.attempts < 1:
                self.problems.append(f"{delivery.body!r} was given as {delivery.status}")
            rows = self.rig.store.writer.run(
                lambda connection, of: connection.execute(
                    text(
                        "SELECT delivery_id, status FROM deliveries"
                        " WHERE order_key = :key AND delivery_id <= :id"
                    ),
                    of,
                ).all(),
                {"key": delivery.order_key, "id": delivery.delivery_id},
            )
            for earlier, status in rows:
                if earlier == delivery.delivery_id:
                    if status != Status.SENDING:
                        self.problems.append(f"{delivery.body!r} was given while {status}")
                elif (
                    status in (Status.QUEUED, Status.SENDING)
                    and earlier not in self.taken
                    and earlier not in self.over
                    and earlier not in ids[:position]
                    and delivery.order_key not in self.free
                    and delivery.kind is Kind.MESSAGE
                ):
                    self.problems.append(
                        f"{delivery.body!r} overtook {earlier}, which is {status}: {ids}"
                    )

    def check_whole(self, delivery: Delivery, ids: Sequence[str]) -> None:
        """Look for a part of a group text that was left behind."""
        rows = self.rig.store.writer.run(
            lambda connection, of: connection.execute(
                text(
                    "SELECT delivery_id, status, order_key FROM deliveries WHERE message_id = :id"
                ),
                of,
            ).all(),
            {"id": delivery.message_id},
        )
        self.problems.extend(
            f"{delivery.body!r} was given without {other}, which is {status}: {ids}"
            for other, status, key in rows
            if status in (Status.QUEUED, Status.SENDING)
            and other not in {*ids, *self.taken, *self.over}
            and key not in self.free
        )

    # -- what happens ----------------------------------------------------------------------------

    def step(self) -> None:
        """Do one random thing."""
        (action,) = self.random.choices(
            (
                self.arrive,
                self.write,
                self.write_to_all,
                self.commit,
                self.answer,
                self.toggle,
                self.wait,
                self.reload,
                self.report,
                self.bounce,
                self.poke,
                self.break_store,
                self.intervene,
            ),
            (30, 10, 5, 30, 20, 5, 6, 1, 4, 1, 3, 2, 1),
        )
        action()

    def arrive(self) -> None:
        """Texts arrive on a line."""
        for _ in range(self.random.choice((1, 1, 1, 2, 5))):
            self.number += 1
            self.keep(
                self.rig.text(
                    f"in{self.number}",
                    f"+1202555012{self.random.randrange(3)}",
                    line=self.random.choice(("one", "two")),
                )
            )

    def write(self) -> None:
        """John writes to one of two numbers on one of two lines."""
        self.number += 1
        self.keep(
            self.rig.send(
                f"out{self.number}",
                f"+1202555013{self.random.randrange(2)}",
                line=self.random.choice(("one", "two")),
                origin=Origin(gateway="chat", address=JOHN, ref="r", wants_report=True),
            )
        )

    def write_to_all(self) -> None:
        """John writes one text to two or three numbers who see each other."""
        self.number += 1
        numbers = [f"+1202555013{last}" for last in range(self.random.choice((2, 3)))]
        self.keep(self.rig.send(f"group{self.number}", *numbers, line="one", group=True))

    def keep(self, accepting: Deferred[Accepted]) -> None:
        """Remember what was accepted."""
        accepting.addCallbacks(
            lambda accepted: self.accepted.add(accepted.message_id), lambda failure: None
        )

    def commit(self) -> None:
        """Run a transaction."""
        self.rig.commit(self.random.choice((1, 2, 5, 1000, 1000)))

    def outstanding(self) -> list[tuple[ScriptedGateway, Attempt]]:
        """Return the attempts that are not settled."""
        return [
            (gateway, attempt)
            for gateway in self.gateways.values()
            for attempt in gateway.attempts
            if not attempt.done.called
        ]

    def answer(self) -> None:
        """A gateway settles an attempt, well or badly."""
        waiting = self.outstanding()
        if not waiting:
            return
        gateway, attempt = self.random.choice(waiting)
        kind = self.random.random() if self.trouble else 1.0
        if kind < 0.04:
            self.lose(gateway, attempt)
            attempt.done.errback(ZeroDivisionError("a bug in a gateway"))
            return
        if kind < 0.08:
            self.lose(gateway, attempt)
            attempt.done.callback([])
            return
        self.settle(gateway, attempt, kind < 0.4)

    def settle(self, gateway: ScriptedGateway, attempt: Attempt, badly: bool) -> None:
        """Give an outcome for each delivery."""
        outcomes: list[Any] = []
        held: set[str] = set()
        all_held = False
        for delivery in attempt.batch:
            name = delivery.delivery_id
            if all_held or delivery.order_key in held:
                outcomes.append(NotTried())
                continue
            kind = self.random.random() if badly else 1.0
            if kind < 0.3:
                asked = self.random.choice((None, None, 0.0, 20.0))
                outcomes.append(TemporaryFailure("unreachable", retry_after_s=asked))
                held.add(delivery.order_key)
                all_held = self.random.random() < 0.3
            elif kind < 0.4:
                outcomes.append(PermanentFailure("rejected"))
                self.over.add(name)
            elif kind < 0.5 and not gateway.recognizes_repeats:
                outcomes.append(UnknownOutcome())
                self.over.add(name)
            else:
                outcomes.append(Sent(name if kind < 0.7 else "", delivered=kind < 0.6))
                self.taken.add(name)
        attempt.done.callback(outcomes)

    def lose(self, gateway: ScriptedGateway, attempt: Attempt) -> None:
        """Note that nobody knows what became of an attempt."""
        if not gateway.recognizes_repeats:
            self.over.update(delivery.delivery_id for delivery in attempt.batch)

    def toggle(self) -> None:
        """A lane opens or closes."""
        lane = self.random.choice(LANES)
        if self.random.random() < 0.6:
            self.rig.open(lane)
        else:
            self.rig.shut(lane)

    def wait(self) -> None:
        """Time passes; an attempt that is not settled in time is lost."""
        seconds = self.random.choice((0.1, 1.0, 8.0, 20.0, 100.0))
        before = self.outstanding()
        self.rig.clock.advance(seconds)
        for gateway, attempt in before:
            if attempt.done.called:
                self.lose(gateway, attempt)

    def reload(self) -> None:
        """A gateway is replaced; its stop settles what it had begun."""
        label = self.random.choice(("chat", "box"))
        old = self.gateways[label]
        for _, attempt in [pair for pair in self.outstanding() if pair[0] is old]:
            self.settle(old, attempt, True)
        self.rig.dispatcher.remove_gateway(label)
        for _ in range(self.random.randrange(4)):
            self.random.choice((self.arrive, self.commit, self.write))()
        new = self.make_chat() if label == "chat" else self.make_box()
        self.gateways[label] = new
        self.rig.dispatcher.add_gateway(new)

    def report(self) -> None:
        """The network says what became of something that was sent."""
        if self.taken:
            name = self.random.choice(sorted(self.taken))
            status = self.random.choice((Status.DELIVERED, Status.FAILED))
            if status is Status.DELIVERED:
                self.reported.add(name)
            self.rig.inbox.report(
                DeliveryReport(gateway="box", status=status, delivery_id=name, reason="network")
            ).addErrback(lambda failure: None)

    def bounce(self) -> None:
        """The next hop gives something back that it had taken."""
        if self.taken:
            name = self.random.choice(sorted(self.taken))

            def bounced(changed: bool) -> None:
                if changed:
                    self.taken.discard(name)

            self.free.update(self.keys())
            self.rig.inbox.report(
                DeliveryReport(gateway="chat", status=Status.QUEUED, delivery_id=name)
            ).addCallbacks(bounced, lambda failure: None)

    def intervene(self) -> None:
        """The operator drops what waits, or sends again what failed."""
        if not self.over:
            return
        name = self.random.choice(sorted(self.over))

        def again(result: tuple[int, list[str]]) -> None:
            if result[0]:
                self.over.discard(name)
            self.rig.dispatcher.poke(result[1])

        self.free.update(self.keys())
        self.rig.clock.advance(0.001)  # nobody sees a failure and acts on it within a millisecond
        now_ms = self.rig.now_ms()
        self.rig.store.resend([name], now_ms, now_ms + 10**9).addCallback(again)

    def keys(self) -> list[str]:
        """Return all order keys."""
        return list(
            self.rig.store.writer.run(
                lambda connection: connection.execute(
                    text("SELECT DISTINCT order_key FROM deliveries")
                ).scalars()
            )
        )

    def poke(self) -> None:
        """Somebody says that a lane has something new."""
        self.rig.dispatcher.poke([self.random.choice(LANES)])

    def break_store(self) -> None:
        """The store begins or ceases to refuse."""
        fails = self.rig.store.writer.fails
        if fails:
            fails.clear()
        else:
            name = self.random.choice(("Claim", "Refill", "LanesDue", "Accept", "Recover"))
            fails[name] = TemporaryFailure("internal")

    # -- the end ---------------------------------------------------------------------------------

    def play(self) -> list[str]:
        """Run all steps, let everything come to rest, and return what went wrong."""
        for _ in range(STEPS):
            self.step()
            if self.problems:
                return self.problems
        self.trouble = False
        self.rig.store.writer.fails.clear()
        for lane in LANES:
            self.rig.open(lane)
        for _ in range(400):
            while self.rig.commit() or self.outstanding():
                self.answer()
            if not any(s in (Status.QUEUED, Status.SENDING) for s in self.rig.statuses()):
                break
            self.rig.clock.advance(10.0)
        return self.problems + self.left()

    def left(self) -> list[str]:
        """Return what is still open or missing."""
        rows = self.rig.store.rows()
        found = [
            f"{row.delivery_id} is still {row.status} (due {row.due_at_ms} of {self.rig.now_ms()})"
            for row in rows
            if row.status in (Status.QUEUED, Status.SENDING)
        ]
        kept = {row.delivery_id.partition(".")[0] for row in rows}
        found += [f"{name} is lost" for name in self.accepted - kept]
        for row in rows:
            known = self.taken | self.reported
            if row.status in (Status.SENT, Status.DELIVERED) and row.delivery_id not in known:
                found.append(f"{row.delivery_id} counts as {row.status} and no gateway sent it")
        return found


class RealThreadTests(TestCase):
    """The core with the store as it runs in the daemon, a thread of its own included."""

    async def test_a_rush_arrives_whole_and_in_order(self) -> None:
        """Texts of several senders, committed in groups by the writer's thread."""
        clock: Any = reactor
        store = MessageStore(clock, StateFolder(Path(self.mktemp())), "sqlite", "here")
        store.startService()
        world, changes = World(directory()), Changes()
        serial = itertools.count()
        dispatcher = Dispatcher(clock, lambda: NOW, random.random, store, world, changes, Counts())
        inbox = Inbox(
            store,
            dispatcher,
            world,
            changes,
            lambda: NOW,
            clock.seconds,
            lambda: f"{next(serial):036d}",
        )
        chat = ScriptedGateway("chat", batch_size=50)
        chat.answer = lambda batch: [Sent()] * len(batch)
        dispatcher.add_gateway(chat)
        dispatcher.startService()
        dispatcher.open("chat", "chat:stream")

        accepted = await gatherResults(
            [
                inbox.accept(FromNetwork(line="two", sender=f"+1202555012{n % 3}", body=str(n)))
                for n in range(3000)
            ]
        )
        given = 0
        while given < 3000:
            await deferLater(clock, 0.01)
            given = sum(len(attempt.batch) for attempt in chat.attempts)
        await dispatcher.stopService()
        records = await store.messages(MessageQuery())
        await store.stopService()

        self.assertEqual(len({one.message_id for one in accepted}), 3000)
        self.assertEqual([r.deliveries[0].status for r in records], [Status.SENT] * 3000)
        for sender in range(3):
            texts = [
                int(delivery.body)
                for attempt in chat.attempts
                for delivery in attempt.batch
                if delivery.sender.endswith(str(sender))
            ]
            self.assertEqual(texts, list(range(sender, 3000, 3)))


class RandomScheduleTests(SynchronousTestCase):
    """What holds under every schedule."""

    def test_nothing_is_lost_doubled_or_overtaken(self) -> None:
        """
        Texts of a conversation keep their order, none is given again after it was sent, none stays.
        """
        for seed in range(RUNS):
            schedule = Schedule(self.mktemp(), seed)
            try:
                problems = schedule.play()
            finally:
                schedule.rig.close()
            self.assertEqual(problems, [], f"seed {seed}")
        self.assertNotEqual(self.flushLoggedErrors(ZeroDivisionError), [])
