"""What a message store must do, whatever database it stands on; bound to each elsewhere."""

from __future__ import annotations

import itertools
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import deferLater
from zope.interface.verify import verifyObject

from smsbridge.core.entries import Entry, MessageQuery, NewMessage, QueueQuery, Settlement
from smsbridge.core.message import (
    Call,
    Delivery,
    DeliveryReport,
    Direction,
    Kind,
    Media,
    NotTried,
    Origin,
    Sent,
    Status,
)
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.interfaces import IMessageStore
from smsbridge.store.history import first_id_at
from smsbridge.store.service import MessageStore, StateFolder

NOW = 1_800_000_000_000
DAY = 86_400_000
TEXT = "Grüße; a:b\n\U0001f600 'quoted' \"text\" 100% \\ ?"

_serial = itertools.count()


def new_id(at_ms: int = NOW) -> str:
    """Make ids that sort by their making, as UUID version 7 does."""
    return first_id_at(at_ms)[:18] + f"-8000-{next(_serial):012x}"


def message(**changes: Any) -> NewMessage:
    """Make a message that a person sent by XMPP."""
    values: dict[str, Any] = {
        "message_id": new_id(),
        "direction": Direction.OUT,
        "line": "demo1",
        "sender": "+12025550100",
        "recipients": ("+12025550123",),
        "author": "john",
        "body": TEXT,
        "conversation": "demo1|+12025550123",
        "segments": 1,
        "created_at_ms": NOW,
        "sent_at_ms": None,
        "origin": Origin(
            gateway="xmpp", address="john@example.org/phone", ref="m1", wants_report=True
        ),
        "origin_lane": "xmpp",
        "media": (),
    }
    values.update(changes)
    return NewMessage(**values)


def delivery(of: NewMessage, number: int = 0, **changes: Any) -> Delivery:
    """Make a delivery of a message towards the line."""
    values: dict[str, Any] = {
        "delivery_id": f"{of.message_id}.{number}",
        "message_id": of.message_id,
        "kind": Kind.MESSAGE,
        "gateway": "box",
        "lane": "box/demo1",
        "line": of.line,
        "person": "",
        "destination": of.recipients[0],
        "order_key": f"{of.conversation} {of.recipients[0]}",
        "status": Status.QUEUED,
        "attempts": 0,
        "created_at_ms": NOW,
        "expires_at_ms": NOW + DAY,
        "body": of.body,
        "sender": of.sender,
        "author": of.author,
        "recipients": of.recipients,
        "direction": of.direction,
        "media": of.media,
    }
    values.update(changes)
    return Delivery(**values)


def entry(of: NewMessage | None = None, **changes: Any) -> Entry:
    """Make what is accepted: a message with one delivery."""
    of = message() if of is None else of
    values: dict[str, Any] = {
        "message": of,
        "deliveries": (delivery(of),),
        "now_ms": NOW,
        "due_at_ms": NOW,
    }
    values.update(changes)
    return Entry(**values)


class MessageStoreContract:
    """Bind with `database_url` and a trial TestCase that has a reactor."""

    store: MessageStore
    folder: Path

    def database_url(self) -> str:
        """Return the address of an empty database."""
        raise NotImplementedError

    def open_store(self, node: str = "here", folder: str = "state") -> MessageStore:
        """Open the store."""
        made = MessageStore(reactor, StateFolder(self.folder / folder), self.url, node)  # type: ignore[arg-type]
        made.startService()
        return made

    def setUp(self) -> None:
        """Open a store on an empty database."""
        self.folder = Path(self.mktemp())  # type: ignore[attr-defined]
        self.url = self.database_url()
        self.store = self.open_store()

    def tearDown(self) -> Deferred[None]:
        """Close it."""
        return self.store.stopService()

    async def accept(self, *entries: Entry) -> list[Any]:
        """Accept entries at once, so that they share a transaction."""
        return await gatherResults([self.store.accept(one) for one in entries])

    async def sent(self, of: NewMessage | None = None, **outcome: Any) -> Delivery:
        """Accept, claim and send one message."""
        of = message() if of is None else of
        await self.accept(entry(of))
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)
        await self.store.settle([Settlement(ready, Sent(**outcome), NOW + 1)])
        return ready

    async def only(self) -> Any:
        """Return the one delivery towards the line of the newest message."""
        (record,) = await self.store.messages(MessageQuery(limit=1))
        return record.deliveries[0]

    async def reports(self) -> list[Delivery]:
        """Return the reports that wait for the sender."""
        found, _ = await self.store.refill("xmpp", NOW + DAY, 100)
        return found

    def test_provides_the_interface(self) -> None:
        """The store is what the interface says."""
        verifyObject(IMessageStore, self.store)

    async def test_keeps_what_was_accepted(self) -> None:
        """A text of any script comes back as it was accepted, with its attachments."""
        media = (Media(url="https://example.org/a.jpg", content_type="image/jpeg", size=3),)
        of = message(media=media, recipients=("+12025550123", "12345"), sent_at_ms=NOW - 5)

        (accepted,) = await self.accept(entry(of))

        self.assertEqual((accepted.message_id, accepted.duplicate), (of.message_id, False))
        (record,) = await self.store.messages(MessageQuery(limit=10))
        self.assertEqual(
            (record.body, record.media, record.recipients, record.sender, record.sent_at_ms),
            (TEXT, media, of.recipients, of.sender, NOW - 5),
        )
        self.assertEqual([d.status for d in record.deliveries], [Status.QUEUED])

    async def test_a_repeat_is_one_message(self) -> None:
        """The same key from the same gateway gives the first message again, also in one batch."""
        first, second, third = (
            entry(gateway="box", dedup_key="k", dedup_until_ms=NOW + 1000) for _ in range(3)
        )

        results = await self.accept(first, second)
        results += await self.accept(third)

        self.assertEqual({r.message_id for r in results}, {first.message.message_id})
        self.assertEqual([r.duplicate for r in results], [False, True, True])
        self.assertEqual(len(await self.store.messages(MessageQuery(limit=10))), 1)

    async def test_a_repeat_is_known_beforehand(self) -> None:
        """Whoever has work to do before it accepts can ask whether that is in vain."""
        long = "x" * 300
        await self.accept(
            entry(gateway="box", dedup_key="k", dedup_until_ms=NOW + 1000),
            entry(gateway="box", dedup_key=long, dedup_until_ms=NOW + 1000),
        )

        asked = (("box", "k", NOW), ("box", long, NOW), ("box", "k", NOW + 1000), ("a", "k", NOW))

        self.assertEqual(
            [await self.store.is_known(*each) for each in asked], [True, True, False, False]
        )

    async def test_a_key_is_forgotten_after_its_lifetime(self) -> None:
        """Boxes count their texts anew after a restart; an old key must not swallow a new text."""
        await self.accept(entry(gateway="box", dedup_key="k", dedup_until_ms=NOW + 1000))

        (later,) = await self.accept(
            entry(gateway="box", dedup_key="k", dedup_until_ms=NOW + 9000, now_ms=NOW + 1001)
        )

        self.assertFalse(later.duplicate)

    async def test_keys_of_two_gateways_differ(self) -> None:
        """The same key from two gateways names two messages, and long keys are kept apart."""
        long = "x" * 300
        results = await self.accept(
            entry(gateway="a", dedup_key="k", dedup_until_ms=NOW + 1),
            entry(gateway="b", dedup_key="k", dedup_until_ms=NOW + 1),
            entry(gateway="a", dedup_key=long + "1", dedup_until_ms=NOW + 1),
            entry(gateway="a", dedup_key=long + "2", dedup_until_ms=NOW + 1),
        )

        self.assertEqual([r.duplicate for r in results], [False] * 4)

    async def test_a_bad_entry_fails_alone(self) -> None:
        """What the database refuses does not take the others of its transaction with it."""
        of = message()
        good, bad, also_good = entry(), entry(of, deliveries=(delivery(of), delivery(of))), entry()

        results = [self.store.accept(one) for one in (good, bad, also_good)]
        outcomes = []
        for result in results:
            try:
                outcomes.append(await result)
            except Exception as e:
                outcomes.append(e)

        self.assertIsInstance(outcomes[1], Exception)
        stored = {m.message_id for m in await self.store.messages(MessageQuery(limit=10))}
        self.assertEqual(stored, {good.message.message_id, also_good.message.message_id})

    async def test_refill_keeps_the_order_and_says_when_it_has_all(self) -> None:
        """A lane is read oldest first; complete means that the store holds nothing else for it."""
        entries = [entry() for _ in range(5)]
        await self.accept(*entries)

        some, complete = await self.store.refill("box/demo1", NOW, 3)
        every, all_of_it = await self.store.refill("box/demo1", NOW, 10)

        ids = [one.message.message_id for one in entries]
        self.assertEqual([d.message_id for d in some], ids[:3])
        self.assertFalse(complete)
        self.assertEqual([d.message_id for d in every], ids)
        self.assertTrue(all_of_it)
        self.assertEqual(every[0], evolve(entries[0].deliveries[0], body=TEXT))

    async def test_a_later_text_does_not_overtake_one_that_is_retried(self) -> None:
        """Within a conversation the order is kept; another conversation does not wait."""
        first, second = message(), message()
        other = message(recipients=("+12025550124",), conversation="demo1|+12025550124")
        await self.accept(entry(first), entry(second), entry(other))
        (held, *_), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([held.delivery_id], NOW, NOW + DAY)
        await self.store.settle(
            [Settlement(held, TemporaryFailure("unreachable"), NOW, NOW + 60_000)]
        )

        now, complete = await self.store.refill("box/demo1", NOW, 10)
        later, _ = await self.store.refill("box/demo1", NOW + 60_000, 10)

        self.assertEqual([d.message_id for d in now], [other.message_id])
        self.assertFalse(complete)
        self.assertEqual(
            [d.message_id for d in later], [first.message_id, second.message_id, other.message_id]
        )
        self.assertEqual(later[0].attempts, 1)

    async def test_a_group_text_is_one_after_a_restart(self) -> None:
        """What goes to several as one text is read back so; what persons get of it is not."""
        of = message(recipients=("+12025550123", "+12025550124", "mary"), grouped=True)
        to_mary = delivery(of, 2, destination="mary@example.org", person="mary")
        await self.accept(entry(of, deliveries=(delivery(of), delivery(of, 1), to_mary)), entry())

        found, _ = await self.store.refill("box/demo1", NOW, 10)

        self.assertEqual([each.group for each in found], [True, True, False, False])

    async def test_refill_can_claim_what_it_reads(self) -> None:
        """With a lease the deliveries come back as ours, and nobody else gets them."""
        one = entry()
        await self.accept(one)

        (ours,), complete = await self.store.refill("box/demo1", NOW, 10, NOW + DAY)
        again, _ = await self.store.refill("box/demo1", NOW, 10, NOW + DAY)

        self.assertEqual((ours.status, ours.attempts, complete), (Status.SENDING, 1, True))
        self.assertEqual(again, [])
        self.assertEqual((await self.only()).status, Status.SENDING)
        await self.store.settle([Settlement(ours, NotTried(), NOW)])
        (back,), _ = await self.store.refill("box/demo1", NOW, 10)
        self.assertEqual((back.status, back.attempts), (Status.QUEUED, 0))

    async def test_answers_of_one_commit_come_before_what_follows(self) -> None:
        """A call after the answers sees all that was committed together."""
        seen: list[int] = []
        waiting = [self.store.accept(entry()) for _ in range(3)]
        for number, one in enumerate(waiting):
            one.addCallback(
                lambda _, number=number: self.store.after_answers(
                    lambda: seen.append(sum(each.called for each in waiting))
                )
            )

        await gatherResults(waiting)
        await deferLater(reactor, 0)  # type: ignore[arg-type]
        self.store.after_answers(lambda: seen.append(-1))

        self.assertEqual(seen, [3, 3, 3, -1])

    async def test_claims_once(self) -> None:
        """Of two claims of one delivery one gets it."""
        one = entry()
        await self.accept(one)
        ids = [one.deliveries[0].delivery_id]

        first = await self.store.claim(ids, NOW, NOW + DAY)
        second = await self.store.claim([*ids, "no-such-delivery"], NOW, NOW + DAY)

        self.assertEqual((first, second), (set(ids), set()))
        self.assertEqual((await self.only()).status, Status.SENDING)

    async def test_born_sending_is_not_given_out_again(self) -> None:
        """What is claimed in the transaction that accepts it is ours and not in the queue."""
        of = message()
        await self.accept(
            entry(
                of,
                deliveries=(delivery(of, status=Status.SENDING, attempts=1),),
                lease_until_ms=NOW + DAY,
            )
        )

        found, complete = await self.store.refill("box/demo1", NOW, 10)
        also, all_of_it = await self.store.refill(
            "box/demo1", NOW, 10, in_hand=[f"{of.message_id}.0"]
        )

        self.assertEqual((found, complete), ([], False))
        self.assertEqual((also, all_of_it), ([], True))

    async def test_sent_then_delivered(self) -> None:
        """The next hop's id is kept, a later report finds it, and the sender gets one receipt."""
        await self.sent(remote_id="160")
        self.assertEqual((await self.only()).remote_id, "160")

        report = DeliveryReport(
            gateway="box", status=Status.DELIVERED, remote_id="160", line="demo1"
        )
        changed, lanes = await self.store.report(report, NOW + 5, NOW)
        again, _ = await self.store.report(report, NOW + 6, NOW)

        only = await self.only()
        self.assertEqual((changed, lanes, again), (only.delivery_id, ["xmpp"], ""))
        self.assertEqual(only.status, Status.DELIVERED)
        (receipt,) = await self.reports()
        self.assertEqual(
            (receipt.kind, receipt.reported, receipt.ref, receipt.destination),
            (Kind.REPORT, "delivered", "m1", "john@example.org/phone"),
        )

    async def test_a_report_finds_the_newest_of_a_repeating_number(self) -> None:
        """Devices count their texts up to 255 and begin again; another line's are others."""
        old = await self.sent(remote_id="7")
        new = await self.sent(remote_id="7")

        changed, _ = await self.store.report(
            DeliveryReport(gateway="box", status=Status.DELIVERED, remote_id="7", line="demo1"),
            NOW + 5,
            NOW,
        )
        other_line, _ = await self.store.report(
            DeliveryReport(gateway="box", status=Status.FAILED, remote_id="7", line="demo2"),
            NOW + 5,
            NOW,
        )

        self.assertEqual((changed, other_line), (new.delivery_id, ""))
        states = {
            m.message_id: m.deliveries[0].status
            for m in await self.store.messages(MessageQuery(limit=10))
        }
        self.assertEqual(states, {old.message_id: Status.SENT, new.message_id: Status.DELIVERED})

    async def test_a_report_is_about_one_of_a_group_text(self) -> None:
        """One id of the peer's, or of ours, stands for all of them; the destination tells which."""
        numbers = ("+12025550123", "+12025550124", "+12025550125")
        of = message(recipients=numbers, grouped=True)
        each = [delivery(of, n, destination=number) for n, number in enumerate(numbers)]
        await self.accept(entry(of, deliveries=tuple(each)))
        found, _ = await self.store.refill("box/demo1", NOW, 10, NOW + DAY)
        await self.store.settle([Settlement(d, Sent(remote_id="g1"), NOW) for d in found])

        async def report(status: Status, **more: Any) -> str:
            told = DeliveryReport(gateway="box", status=status, **more)
            changed, _ = await self.store.report(told, NOW + 5, NOW)
            return changed

        changed = await gatherResults(
            [
                Deferred.fromCoroutine(report(Status.DELIVERED, **more))
                for more in (
                    {"remote_id": "g1", "destination": numbers[1]},
                    {"delivery_id": each[0].delivery_id, "destination": numbers[2]},
                    {"remote_id": "g1", "destination": "+12025550199"},
                )
            ]
        )
        late = await report(Status.FAILED, remote_id="g1", line="demo1", destination=numbers[0])

        self.assertEqual(changed, [each[1].delivery_id, each[2].delivery_id, ""])
        self.assertEqual(late, each[0].delivery_id)
        (record,) = await self.store.messages(MessageQuery(limit=1))
        self.assertEqual(
            [d.status for d in record.deliveries], ["failed", "delivered", "delivered"]
        )

    async def test_a_report_is_found_however_the_number_is_written(self) -> None:
        """An id that one delivery has is enough; a report for another text is none for this."""
        ready = await self.sent(remote_id="x1")

        for wanted, more in (
            ("", {"remote_id": "x2", "destination": ready.destination}),
            ("", {"remote_id": "x1", "within_s": 0.0}),
            ("", {"remote_id": ""}),
            (ready.delivery_id, {"remote_id": "x1", "destination": "2025550123"}),
        ):
            report = DeliveryReport(gateway="box", status=Status.DELIVERED, **more)
            changed, _ = await self.store.report(report, NOW + 5, NOW)
            self.assertEqual(changed, wanted)

    async def test_a_report_that_overtakes_the_answer_stands(self) -> None:
        """Delivered stays delivered when the answer "sent" is recorded after the report."""
        await self.accept(entry())
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)

        await self.store.report(
            DeliveryReport(
                gateway="box",
                status=Status.DELIVERED,
                delivery_id=ready.delivery_id,
                remote_id="9",
            ),
            NOW,
            NOW,
        )
        await self.store.settle([Settlement(ready, Sent(remote_id="9"), NOW)])

        record = await self.only()
        self.assertEqual((record.status, record.remote_id), (Status.DELIVERED, "9"))

    async def test_interim_reports_are_history(self) -> None:
        """A network that is still trying changes nothing but the trace."""
        ready = await self.sent(remote_id="3")

        await self.store.report(
            DeliveryReport(
                gateway="box",
                status=Status.SENT,
                delivery_id=ready.delivery_id,
                reason="unreachable",
                text="TP-Status 33",
            ),
            NOW + 9,
            NOW,
        )

        record = await self.store.trace(ready.message_id)
        self.assertEqual(record.deliveries[0].status, Status.SENT)
        self.assertIn("TP-Status 33", [step.text for step in record.deliveries[0].history])

    async def test_a_failure_is_told_with_its_reason(self) -> None:
        """A refusal for good ends the delivery and tells the sender, asked or not."""
        of = message(origin=Origin(gateway="xmpp", address="john@example.org/phone", ref="m2"))
        await self.accept(entry(of))
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)

        lanes = await self.store.settle(
            [Settlement(ready, PermanentFailure("unknown-subscriber", detail="30"), NOW)]
        )

        self.assertEqual(lanes, ["xmpp"])
        record = await self.only()
        self.assertEqual((record.status, record.reason), (Status.FAILED, "unknown-subscriber"))
        self.assertIn("30", record.text)
        (told,) = await self.reports()
        self.assertEqual((told.reported, told.reason), ("failed", "unknown-subscriber"))
        self.assertIn("does not exist", told.body)

    async def test_success_is_told_only_to_who_asked(self) -> None:
        """Without a request for a receipt there is none."""
        ready = await self.sent(message(origin=Origin(gateway="xmpp", address="a@b/c")))

        await self.store.report(
            DeliveryReport(gateway="box", status=Status.DELIVERED, delivery_id=ready.delivery_id),
            NOW,
            NOW,
        )

        self.assertEqual(await self.reports(), [])

    async def test_no_report_is_made_about_a_report(self) -> None:
        """That a receipt arrived is nothing to tell anybody."""
        ready = await self.sent(remote_id="1")
        report = DeliveryReport(
            gateway="box", status=Status.DELIVERED, delivery_id=ready.delivery_id
        )
        await self.store.report(report, NOW, NOW)
        (receipt,), _ = await self.store.refill("xmpp", NOW, 10, NOW + DAY)

        lanes = await self.store.settle([Settlement(receipt, Sent(delivered=True), NOW)])

        self.assertEqual(lanes, [])
        self.assertEqual(await self.reports(), [])

    async def test_one_receipt_for_a_text_to_several(self) -> None:
        """The receipt comes when the last recipient has it."""
        of = message(recipients=("+12025550123", "+12025550124"))
        await self.accept(entry(of, deliveries=(delivery(of, 0), delivery(of, 1))))
        both, _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([d.delivery_id for d in both], NOW, NOW + DAY)
        await self.store.settle([Settlement(d, Sent(), NOW) for d in both])

        counts = []
        for one in both:
            await self.store.report(
                DeliveryReport(gateway="box", status=Status.DELIVERED, delivery_id=one.delivery_id),
                NOW,
                NOW,
            )
            counts.append(len(await self.reports()))

        self.assertEqual(counts, [0, 1])

    async def test_an_untried_delivery_goes_back_without_counting(self) -> None:
        """What provably did not leave is queued as if nothing had been."""
        one = entry()
        await self.accept(one)
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)

        await self.store.settle([Settlement(ready, NotTried(), NOW)])

        (again,), _ = await self.store.refill("box/demo1", NOW, 10)
        self.assertEqual((again.status, again.attempts), (Status.QUEUED, 0))

    async def test_a_failure_without_another_try_expires(self) -> None:
        """A temporary failure after the delivery's time is its end."""
        await self.accept(entry())
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)

        await self.store.settle([Settlement(ready, TemporaryFailure("unreachable"), NOW, None)])

        record = await self.only()
        self.assertEqual((record.status, record.reason), (Status.EXPIRED, "unreachable"))

    async def test_recovers_what_a_dead_process_left(self) -> None:
        """Attempts are made again where repeats are recognized; elsewhere they are uncertain."""
        towards_line, towards_person = message(), message()
        await self.accept(
            entry(towards_line),
            entry(
                towards_person,
                deliveries=(delivery(towards_person, gateway="xmpp", lane="xmpp"),),
            ),
        )
        ids = [f"{m.message_id}.0" for m in (towards_line, towards_person)]
        await self.store.claim(ids, NOW, NOW + DAY)

        again, lost, lanes = await self.store.recover(["xmpp"], ["box"], NOW + 1, True)

        self.assertEqual((again, lost, lanes), (1, 1, ["xmpp"]))
        states = {
            m.message_id: (m.deliveries[0].status, m.deliveries[0].reason)
            for m in await self.store.messages(MessageQuery(limit=10))
        }
        self.assertEqual(
            states,
            {
                towards_line.message_id: (Status.UNCERTAIN, "outcome-unknown"),
                towards_person.message_id: (Status.QUEUED, ""),
            },
        )

    async def interrupted(self, count: int = 1) -> list[Delivery]:
        """Let a process die in the middle of some attempts whose peer can be asked about them."""
        entries = [entry() for _ in range(count)]
        await self.accept(*entries)
        ids = [one.deliveries[0].delivery_id for one in entries]
        await self.store.claim(ids, NOW, NOW + DAY)
        again, lost, lanes = await self.store.recover([], ["box"], NOW + 1, True, ["box"])
        self.assertEqual((again, lost, lanes), (0, count, []))
        return await self.store.interrupted("box", 10)

    async def test_nobody_is_told_before_the_peer_was_asked(self) -> None:
        """What can be found out is uncertain until then, and its conversation waits."""
        newest, oldest = await self.interrupted(2)
        later = entry()
        await self.accept(later)

        self.assertGreater(newest.delivery_id, oldest.delivery_id)
        self.assertEqual((oldest.status, oldest.attempts), (Status.UNCERTAIN, 1))
        self.assertEqual(oldest.body, TEXT)
        self.assertEqual(await self.store.interrupted("box", 1), [newest])
        self.assertEqual(await self.store.interrupted("other", 10), [])
        self.assertEqual(await self.reports(), [])
        self.assertEqual(await self.store.refill("box/demo1", NOW + DAY, 10), ([], False))

        lanes = await self.store.conclude(
            [Settlement(each, UnknownOutcome(), NOW + 2) for each in (newest, oldest)]
        )

        self.assertEqual(sorted(lanes), ["box/demo1", "box/demo1", "xmpp", "xmpp"])
        self.assertEqual([each.reported for each in await self.reports()], ["uncertain"] * 2)
        self.assertEqual(await self.store.interrupted("box", 10), [])
        (free,), complete = await self.store.refill("box/demo1", NOW + DAY, 10)
        self.assertEqual((free.message_id, complete), (later.message.message_id, True))

    async def test_what_the_peer_knows_is_recorded(self) -> None:
        """Sent with its id, delivered, or queued again; the history says how that was found out."""
        found = await self.interrupted(3)
        outcomes = (NotTried(), Sent("other", delivered=True), Sent("remote"))

        await self.store.conclude(
            [Settlement(*pair, NOW + 2) for pair in zip(found, outcomes, strict=True)]
        )

        records = await self.store.messages(MessageQuery(limit=10))
        self.assertEqual(
            [(r.deliveries[0].status, r.deliveries[0].remote_id) for r in records],
            [(Status.SENT, "remote"), (Status.DELIVERED, "other"), (Status.QUEUED, "")],
        )
        self.assertEqual({r.deliveries[0].reason for r in records}, {""})
        (again,), _ = await self.store.refill("box/demo1", NOW + 2, 10)
        self.assertEqual((again.delivery_id, again.attempts), (found[0].delivery_id, 1))
        self.assertEqual([each.reported for each in await self.reports()], ["delivered"])
        for each, words in zip(found, ("sent again", "has it", "has it"), strict=True):
            trace = await self.store.trace(each.message_id)
            steps = trace.deliveries[0].history
            self.assertIn(words, " ".join(step.text for step in steps))
            self.assertIn("is asked", " ".join(step.text for step in steps))

    async def test_what_came_meanwhile_is_not_undone(self) -> None:
        """A report, the operator, and the next attempt know better than an old question."""
        dropped, reported, resent = await self.interrupted(3)
        report = DeliveryReport(
            gateway="box", status=Status.SENT, delivery_id=reported.delivery_id, remote_id="r"
        )
        _, freed = await self.store.report(report, NOW + 2, NOW)
        _, lanes = await self.store.drop([dropped.delivery_id], NOW + 2)
        await self.store.resend([resent.delivery_id], NOW + 2, NOW + DAY)
        self.assertEqual((freed, sorted(lanes)), (["box/demo1"], ["box/demo1", "xmpp"]))

        lanes = await self.store.conclude(
            [Settlement(each, NotTried(), NOW + 3) for each in (dropped, reported)]
            + [Settlement(resent, Sent("old"), NOW + 3)]
        )

        self.assertEqual(lanes, [])
        records = await self.store.messages(MessageQuery(limit=10))
        self.assertEqual(
            [(r.deliveries[0].status, r.deliveries[0].remote_id) for r in records],
            [(Status.QUEUED, ""), (Status.SENT, "r"), (Status.DROPPED, "")],
        )

    async def test_who_wants_to_hear_of_the_next_hop_does(self) -> None:
        """Also when it was found out later."""
        (found,) = await self.interrupted()

        await self.store.conclude([Settlement(found, Sent("r"), NOW + 2, None, True)])

        self.assertEqual([each.reported for each in await self.reports()], ["sent"])

    async def test_what_is_being_sent_holds_back_the_next_unless_it_is_in_hand(self) -> None:
        """An attempt of another, or one on its way back, is not overtaken by a later text."""
        first, second = entry(), entry()
        await self.accept(first, second)
        ids = [first.deliveries[0].delivery_id]
        await self.store.claim(ids, NOW, NOW + DAY)

        held, _ = await self.store.refill("box/demo1", NOW, 10)
        following, _ = await self.store.refill("box/demo1", NOW, 10, in_hand=ids)

        self.assertEqual(held, [])
        self.assertEqual([d.message_id for d in following], [second.message.message_id])

    async def test_leaves_the_living_alone(self) -> None:
        """What another node claimed stays with it until its lease is over."""
        one = entry()
        await self.accept(one)
        await self.store.claim([one.deliveries[0].delivery_id], NOW, NOW + 1000)

        before = await self.store.recover([], ["box"], NOW + 999, False)
        after = await self.store.recover(["box"], [], NOW + 1000, False)

        self.assertEqual((before[:2], after[:2]), ((0, 0), (1, 0)))

    async def test_a_lost_outcome_is_uncertain_until_somebody_decides(self) -> None:
        """An unknown outcome is neither repeated nor lost; the operator sends it again."""
        await self.accept(entry())
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)
        await self.store.settle([Settlement(ready, UnknownOutcome(), NOW)])
        self.assertEqual((await self.only()).status, Status.UNCERTAIN)
        self.assertEqual((await self.store.refill("box/demo1", NOW + DAY, 10))[0], [])

        count, lanes = await self.store.resend([ready.delivery_id], NOW, NOW + DAY)

        self.assertEqual((count, lanes), (1, ["box/demo1"]))
        (again,), _ = await self.store.refill("box/demo1", NOW, 10)
        self.assertEqual(again.delivery_id, ready.delivery_id)

    async def test_drops_only_what_was_not_sent(self) -> None:
        """The operator can drop what waits, not what left."""
        sent = await self.sent()
        waiting = entry()
        await self.accept(waiting)

        count, _ = await self.store.drop([sent.delivery_id, waiting.deliveries[0].delivery_id], NOW)

        self.assertEqual(count, 1)
        self.assertEqual((await self.only()).status, Status.DROPPED)

    async def test_tells_once_that_a_text_waits_and_expires_it_later(self) -> None:
        """The sender hears why it takes so long, once, and at the end that it was given up."""
        await self.accept(entry())
        closed = {"box/demo1": ("line-down", "no network")}

        first = await self.store.tell_waiting(NOW, NOW + 1, closed)
        second = await self.store.tell_waiting(NOW, NOW + 2, closed)
        (told,) = await self.reports()
        third = await self.store.tell_waiting(NOW, NOW + DAY, closed)

        self.assertEqual((first, second, third), (["xmpp"], [], ["xmpp"]))
        self.assertEqual(
            (told.reported, told.reason, told.body), ("queued", "line-down", "no network")
        )
        record = await self.only()
        self.assertEqual((record.status, record.reason), (Status.EXPIRED, "expired"))

    async def test_names_the_lanes_in_which_something_became_due(self) -> None:
        """A lane with a retry is named when its time has come, not before and not long after."""
        await self.accept(entry(due_at_ms=NOW + 5000))

        self.assertEqual(await self.store.lanes_due(NOW, NOW + 4999), [])
        self.assertEqual(await self.store.lanes_due(NOW, NOW + 5000), ["box/demo1"])
        self.assertEqual(await self.store.lanes_due(NOW + 5000, NOW + 9999), [])

    async def test_lists_pages_and_filters(self) -> None:
        """Messages are listed oldest first, by page, line, person and number."""
        ours = [message() for _ in range(3)]
        other = message(
            line="demo2",
            author="mary",
            recipients=("+12025550199",),
            conversation="demo2|+12025550199",
        )
        await self.accept(*(entry(one) for one in (*ours, other)))

        newest = await self.store.messages(MessageQuery(limit=2))
        after = await self.store.messages(MessageQuery(after_id=ours[0].message_id, limit=2))
        by_line = await self.store.messages(MessageQuery(line="demo2", limit=9))
        by_person = await self.store.messages(MessageQuery(person="mary", limit=9))
        by_number = await self.store.messages(MessageQuery(number="+12025550199", limit=9))
        none = await self.store.messages(MessageQuery(since_ms=NOW + DAY, limit=9))

        self.assertEqual([m.message_id for m in newest], [ours[2].message_id, other.message_id])
        self.assertEqual([m.message_id for m in after], [ours[1].message_id, ours[2].message_id])
        for found in (by_line, by_person, by_number):
            self.assertEqual([m.message_id for m in found], [other.message_id])
        self.assertEqual(none, [])

    async def test_shows_the_queue(self) -> None:
        """The queue lists what is open and counts it by gateway."""
        await self.accept(entry(), entry())
        await self.sent_first()

        open_now = await self.store.queue(QueueQuery())
        (depth,) = [d for d in await self.store.depths() if d.gateway == "box"]

        self.assertEqual([d.status for d in open_now], [Status.QUEUED])
        self.assertEqual((depth.count, depth.oldest_at_ms), (1, NOW))
        self.assertEqual(await self.store.queue(QueueQuery(gateway="other")), [])

    async def sent_first(self) -> None:
        """Send the first of what waits."""
        (ready, *_), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW, NOW + DAY)
        await self.store.settle([Settlement(ready, Sent(), NOW)])

    async def test_traces_every_step(self) -> None:
        """The trace has all attempts with their reasons, in the order of time."""
        await self.accept(entry())
        (ready,), _ = await self.store.refill("box/demo1", NOW, 10)
        await self.store.claim([ready.delivery_id], NOW + 1, NOW + DAY)
        await self.store.settle(
            [Settlement(ready, TemporaryFailure("network", detail="38"), NOW + 2, NOW + 3)]
        )
        await self.store.claim([ready.delivery_id], NOW + 4, NOW + DAY)
        await self.store.settle([Settlement(ready, Sent(remote_id="1"), NOW + 5)])

        record = await self.store.trace(ready.message_id)

        steps = [(step.at_ms - NOW, step.status) for step in record.deliveries[0].history]
        self.assertEqual(
            steps,
            [
                (0, Status.QUEUED),
                (2, Status.QUEUED),
                (4, Status.SENDING),
                (5, Status.SENT),
            ],
        )
        self.assertEqual(record.deliveries[0].attempts, 2)
        self.assertIsNone(await self.store.trace("no-such-message"))

    async def test_keeps_calls_and_facts(self) -> None:
        """A call is one row that its end completes; facts are replaced."""
        call = Call(line="demo1", incoming=True, number="+12025550123", started_at_ms=NOW)
        await self.store.log_call(call)
        await self.store.log_call(evolve(call, duration_s=42, cause="Normal call clearing"))
        await self.store.learn("demo1", {"imei": "1", "operator": "Testnet"}, NOW)
        await self.store.learn("demo1", {"imei": "2"}, NOW + 1)

        (record,) = await self.store.calls("demo1", 10)

        self.assertEqual((record.duration_s, record.incoming), (42, True))
        self.assertEqual(await self.store.calls("demo2", 10), [])
        self.assertEqual(await self.store.facts(), {"demo1": {"imei": "2", "operator": "Testnet"}})

    async def test_keeps_ussd_notices_once(self) -> None:
        """A notice of the network reaches its persons and is no message."""
        notice = delivery(
            message(),
            delivery_id=new_id() + ".0",
            message_id="",
            kind=Kind.NOTICE,
            gateway="xmpp",
            lane="xmpp",
            body="[USSD] low",
        )
        one = Entry(
            None,
            (notice,),
            NOW,
            NOW,
            gateway="box",
            dedup_key="USSN",
            dedup_until_ms=NOW + 9,
            ussd_line="demo1",
            ussd_body="low",
        )

        results = await self.accept(one, one)

        self.assertEqual([r.duplicate for r in results], [False, False])
        found, _ = await self.store.refill("xmpp", NOW, 10)
        self.assertEqual([(d.kind, d.body) for d in found], [(Kind.NOTICE, "[USSD] low")])
        self.assertEqual(await self.store.messages(MessageQuery(limit=9)), [])

    async def test_keeps_the_addresses_that_persons_added(self) -> None:
        """An address belongs to who proved it last, until it is taken away."""
        await self.store.bind("xmpp", "mary@example.org", "mary", NOW)
        await self.store.bind("xmpp", "john@example.org", "mary", NOW + 1)
        await self.store.bind("xmpp", "john@example.org", "john", NOW + 2)

        kept = await self.store.bindings()
        gone = await self.store.bind("xmpp", "mary@example.org", "", NOW + 3)
        again = await self.store.bind("xmpp", "mary@example.org", "", NOW + 4)

        self.assertEqual(
            kept, [("xmpp", "mary@example.org", "mary"), ("xmpp", "john@example.org", "john")]
        )
        self.assertEqual((gone, again), (True, False))
        self.assertEqual(await self.store.bindings(), [("xmpp", "john@example.org", "john")])

    async def test_counts_segments_of_the_day(self) -> None:
        """The daily cap counts what was accepted since midnight, by line."""
        await self.accept(entry(message(segments=2)), entry(message(segments=3)))

        self.assertEqual(await self.store.sent_since(NOW), {"demo1": 5})
        self.assertEqual(await self.store.sent_since(NOW + DAY), {})

    async def test_purges_what_is_old_and_finished(self) -> None:
        """Finished history goes, with all that belongs to it; what is open or young stays."""
        done = await self.sent(
            message(media=(Media(url="https://example.org/a.jpg"),)), remote_id="1"
        )
        still_open = message()
        young = message(message_id=new_id(NOW + 2 * DAY))
        await self.accept(entry(still_open), entry(young))

        count, _, more = await self.store.purge_some(NOW + DAY, NOW + DAY, "")

        self.assertEqual((count, more), (1, False))
        self.assertIsNone(await self.store.trace(done.message_id))
        left = {m.message_id for m in await self.store.messages(MessageQuery(limit=9))}
        self.assertEqual(left, {still_open.message_id, young.message_id})

    async def test_survives_a_restart(self) -> None:
        """What was committed is there when the store is opened again."""
        of = message()
        await self.accept(entry(of))
        await self.store.stopService()

        self.store = self.open_store()

        (record,) = await self.store.messages(MessageQuery(limit=9))
        self.assertEqual(record.body, TEXT)

    async def test_a_closed_store_refuses(self) -> None:
        """After the stop nothing is accepted, and who tries is told."""
        await self.store.stopService()
        try:
            await self.store.accept(entry())
        except TemporaryFailure as e:
            refused: Any = e
        else:
            refused = None
        self.store = self.open_store()

        self.assertIsInstance(refused, TemporaryFailure)

    async def test_many_at_once(self) -> None:
        """A thousand entries of one moment keep their order through sizes of every kind."""
        entries = [entry() for _ in range(1003)]

        results = await self.accept(*entries)

        self.assertEqual(
            [r.message_id for r in results], [one.message.message_id for one in entries]
        )
        found, complete = await self.store.refill("box/demo1", NOW, 2000)
        self.assertEqual([d.message_id for d in found], [r.message_id for r in results])
        self.assertTrue(complete)
        claimed = await self.store.claim([d.delivery_id for d in found], NOW, NOW + DAY)
        self.assertEqual(len(claimed), 1003)
        await self.store.settle(
            [Settlement(d, Sent(remote_id=str(n)), NOW) for n, d in enumerate(found)]
        )
        records = await self.store.messages(MessageQuery(limit=None))
        self.assertEqual(
            [r.deliveries[0].remote_id for r in records], [str(n) for n in range(1003)]
        )
