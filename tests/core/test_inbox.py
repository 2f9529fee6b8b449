"""Tests of the inbox on a real store: what is let in, where it goes, and what a repeat gets."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from sqlalchemy import text
from twisted.internet.defer import Deferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from zope.interface.verify import verifyObject

from smsbridge.core import inbox as inbox_module
from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Line, Person
from smsbridge.core.message import (
    Accepted,
    Call,
    DeliveryReport,
    FromPerson,
    Media,
    Origin,
    Status,
    UssdNotice,
)
from smsbridge.core.records import Preview, PreviewRecipient
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.interfaces import IInbox
from smsbridge.store import history
from tests.core.gateways import ScriptedGateway, all_sent
from tests.core.rig import JANE, JOHN, NOW, NUMBER, OTHER, Rig, directory

DAY = 86_400_000
PHONE = Origin(gateway="chat", address=f"{JOHN}/phone", ref="m1", wants_report=True)


class InboxCase(SynchronousTestCase):
    """An inbox with John, Jane, and two lines; nobody takes deliveries yet."""

    def setUp(self) -> None:
        """Start the core."""
        self.rig = Rig(self.mktemp())
        self.addCleanup(self.rig.close)
        self.rig.start()
        self.inbox = self.rig.inbox
        self.world = self.rig.world

    def committed(self, accepting: Deferred[Any]) -> Any:
        """Commit, and return the result."""
        self.rig.settle()
        return self.successResultOf(accepting)

    def refusal(self, accepting: Deferred[Any]) -> Refused:
        """Return why something was refused at once."""
        error = self.failureResultOf(accepting, Refused).value
        assert isinstance(error, Refused)
        return error

    def with_line(self, **changes: Any) -> None:
        """Change line one."""
        lines = dict(self.world.directory.lines)
        lines["one"] = evolve(lines["one"], **changes)
        self.world.directory = evolve(self.world.directory, lines=lines)

    def with_person(self, **changes: Any) -> None:
        """Change John."""
        persons = dict(self.world.directory.persons)
        persons["john"] = evolve(persons["john"], **changes)
        self.world.directory = evolve(self.world.directory, persons=persons)


class FromNetworkTests(InboxCase):
    """Texts that arrive on our lines."""

    def test_provides_the_interface(self) -> None:
        """The inbox is what gateways were promised."""
        verifyObject(IInbox, self.inbox)

    def test_accept_fires_only_after_commit(self) -> None:
        """A peer is acknowledged when the text is safe, not before."""
        accepting = self.rig.text("hi")

        self.assertNoResult(accepting)
        accepted = self.committed(accepting)

        self.assertFalse(accepted.duplicate)
        (record,) = self.rig.store.records()
        self.assertEqual(
            (record.message_id, record.body, record.sender, record.recipients, record.conversation),
            (accepted.message_id, "hi", NUMBER, ("+12025550101",), f"two|{NUMBER}"),
        )

    def test_reaches_every_person_of_the_line(self) -> None:
        """Who has the line gets the text, each with a delivery of their own."""
        self.committed(self.rig.text("hi", line="one"))

        (record,) = self.rig.store.records()
        self.assertEqual([d.to for d in record.deliveries], [JOHN, JANE])
        self.assertEqual([d.person for d in record.deliveries], ["john", "jane"])

    def test_keeps_what_nobody_gets(self) -> None:
        """A line without persons keeps its texts in the history."""
        self.world.directory = directory(persons={})

        self.committed(self.rig.text("hi"))

        (record,) = self.rig.store.records()
        self.assertEqual(record.deliveries, ())

    def test_an_unknown_line_is_refused(self) -> None:
        """A gateway that names no line of ours is told so, and it is counted."""
        refusal = self.refusal(self.rig.text("hi", line="three"))

        self.assertEqual(refusal.reason, "unknown-line")
        self.assertEqual(dict(self.rig.counts.refused), {("", "unknown-line"): 1})

    def test_a_repeat_gets_the_first_answer(self) -> None:
        """The same key gives the first message and queues nothing, also after another line's."""
        first = self.committed(self.rig.text("hi", dedup_key="7"))
        other = self.committed(self.rig.text("hi", line="one", dedup_key="7"))
        again = self.committed(self.rig.text("hi", dedup_key="7"))

        self.assertEqual(again, Accepted(message_id=first.message_id, duplicate=True))
        self.assertFalse(other.duplicate)
        self.assertEqual(len(self.rig.store.records()), 2)
        self.assertEqual(self.rig.counts.repeated["box"], 1)
        self.assertEqual(self.rig.counts.accepted["box"], 2)

    def test_tells_what_would_be_a_repeat(self) -> None:
        """The same key on the same line is known, on another or on none it is not."""
        self.committed(self.rig.text("hi", line="two", dedup_key="\x007"))
        store: Any = self.rig.store
        store.read = lambda read, *arguments: succeed(store._writer.run(read, *arguments))

        asked = [
            self.rig.inbox.is_known(line, key)
            for line, key in (("two", "\x007"), ("one", "\x007"), ("three", "\x007"), ("two", ""))
        ]

        self.assertEqual([self.successResultOf(each) for each in asked], [True] + [False] * 3)

    def test_a_repeat_while_the_first_is_committed(self) -> None:
        """Two at once are one message."""
        results = [self.rig.text("hi", dedup_key="7") for _ in range(2)]

        first, second = (self.committed(result) for result in results)

        self.assertEqual(first.message_id, second.message_id)
        self.assertEqual((first.duplicate, second.duplicate), (False, True))

    def test_stores_what_no_database_takes(self) -> None:
        """NUL and lone surrogates become a replacement character, all else stays."""
        self.committed(self.rig.text("a\x00b\ud83dc\U0001f600", "evil\x00", dedup_key="\x00k"))

        (record,) = self.rig.store.records()
        self.assertEqual(record.body, "a\ufffdb\ufffdc\U0001f600")
        self.assertEqual(record.sender, "evil\ufffd")

    def test_a_long_sender_fits_its_column(self) -> None:
        """A peer's nonsense must not come back for ever because a database refuses it."""
        self.committed(self.rig.text("hi", "x" * 5000))

        (record,) = self.rig.store.records()
        self.assertEqual(len(record.sender), 255)

    def test_a_group_is_one_conversation_without_us(self) -> None:
        """All other numbers name the conversation, wherever ours stands among the recipients."""
        self.committed(
            self.rig.text("hi", recipients=(OTHER, "+12025550101", "bad\nnumber"), line="two")
        )
        self.rig.open("chat:stream")
        self.rig.settle()

        (record,) = self.rig.store.records()
        self.assertEqual(record.recipients, ("+12025550101", OTHER, "bad number"))
        self.assertEqual(record.conversation, f"two|{NUMBER},{OTHER},bad number")
        (attempt,) = self.rig.chat.attempts
        self.assertEqual(attempt.batch[0].parties, (NUMBER, OTHER, "bad number"))

    def test_a_text_to_us_alone_is_no_group(self) -> None:
        """A peer that names our number as the only recipient says nothing new."""
        self.committed(self.rig.text("hi", recipients=("+12025550101",)))

        self.assertEqual(self.rig.store.records()[0].conversation, f"two|{NUMBER}")

    def test_a_line_without_a_number_is_shown_by_name(self) -> None:
        """Who gets a text sees which line it came from."""
        self.with_line(number="")

        self.committed(self.rig.text("hi", line="one"))

        self.assertEqual(self.rig.store.records()[0].recipients, ("one",))

    def test_a_new_directory_makes_new_routes(self) -> None:
        """What a reload changes counts from the next text on."""
        self.committed(self.rig.text("first"))
        self.with_person(lines=("one",))
        self.committed(self.rig.text("second"))

        first, second = self.rig.store.records()
        self.assertEqual((len(first.deliveries), len(second.deliveries)), (1, 0))

    def test_routes_follow_the_gateways(self) -> None:
        """While a gateway is away its lanes keep their names; a new one names them anew."""
        dispatcher = self.rig.dispatcher
        dispatcher.remove_gateway("chat")
        self.committed(self.rig.text("while away"))
        dispatcher.add_gateway(ScriptedGateway("chat", per_line=True))
        self.committed(self.rig.text("another kind"))

        self.assertEqual([row.lane for row in self.rig.store.rows()], ["chat:stream", "chat/two"])

    def test_keeps_attachments(self) -> None:
        """Links travel with the text."""
        media = (Media(url="https://example.org/a.jpg"),)

        self.committed(self.rig.text("", media=media))

        self.assertEqual(self.rig.store.records()[0].media, media)

    def test_a_store_that_fails_is_not_acknowledged(self) -> None:
        """Whatever goes wrong, the peer hears that it may try again."""
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal", "away")
        self.assertEqual(
            self.failureResultOf(self.rig.text("hi"), TemporaryFailure).value.text, "away"
        )
        self.rig.store.writer.fails["Accept"] = ZeroDivisionError("a bug")
        self.failureResultOf(self.rig.text("hi"), TemporaryFailure)

        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 1)

    def test_watchers_hear_of_new_messages(self) -> None:
        """A terminal that follows sees a text when it is stored."""
        seen: list[list[str]] = []
        self.rig.changes.watch(seen.append)

        accepted = self.committed(self.rig.text("hi"))

        self.assertEqual(seen, [[accepted.message_id]])

    def test_goes_the_short_way_where_repeats_are_recognized(self) -> None:
        """On a lane that has nothing else, a text is stored as being sent, and sent at once."""
        self.rig.chat.answer = all_sent
        self.rig.open("chat:stream")
        self.rig.settle()

        self.rig.text("hi")
        self.assertEqual(self.rig.commit(), 1)

        self.assertEqual(self.rig.chat.bodies, [["hi"]])
        self.assertEqual(self.rig.statuses(), ["sending"])
        self.rig.settle()
        self.assertEqual(self.rig.statuses(), ["sent"])

    def test_a_repeat_gives_its_place_back(self) -> None:
        """What was held ready for a text that is a repeat is free again."""
        self.rig.chat.answer = all_sent
        self.rig.open("chat:stream")
        self.rig.settle()
        for _ in range(3):
            self.committed(self.rig.text("hi", dedup_key="7"))
        self.committed(self.rig.text("next"))

        self.assertEqual(self.rig.chat.bodies, [["hi"], ["next"]])
        self.assertEqual(self.rig.dispatcher._lanes["chat:stream"].reserved, 0)


class FromPersonTests(InboxCase):
    """Texts that persons want sent."""

    def test_sends_on_the_first_line(self) -> None:
        """Without a word about the line it is the person's first."""
        self.committed(self.rig.send("hi", origin=PHONE))

        (record,) = self.rig.store.records()
        (delivery,) = record.deliveries
        self.assertEqual(
            (record.line, record.sender, record.author, record.direction, delivery.gateway),
            ("one", "+12025550100", "john", "out", "box"),
        )
        self.assertEqual((delivery.to, delivery.status), (NUMBER, Status.QUEUED))

    def test_the_operator_needs_no_person(self) -> None:
        """With an empty person only the line's own rules hold."""
        self.committed(self.rig.send("hi", person="", line="two"))

        self.assertEqual(self.rig.store.records()[0].author, "")

    def test_nothing_to_send_is_refused(self) -> None:
        """Blanks are no text; an attachment is enough."""
        self.assertEqual(self.refusal(self.rig.send(" \n")).reason, "empty")
        self.with_line(carries_media=True)
        self.committed(self.rig.send("", media=(Media(url="https://example.org/a.jpg"),)))

    def test_too_long_is_refused(self) -> None:
        """A text beyond the line's segments is refused with their number, a book even earlier."""
        self.with_line(max_segments=2)

        refusal = self.refusal(self.rig.send("x" * 400))

        self.assertEqual(refusal.reason, "too-long")
        self.assertIn("3 texts", str(refusal))
        self.assertEqual(self.refusal(self.rig.send("x" * 200_001)).reason, "too-long")

    def test_too_many_bytes_for_the_line(self) -> None:
        """A provider that counts bytes has its limit, whatever the network would take."""
        self.with_line(longest_bytes=160)
        self.committed(self.rig.send("x" * 160))

        refusal = self.refusal(self.rig.send("\xe4" * 81))

        self.assertEqual(refusal.reason, "too-long")
        self.assertEqual(refusal.text, "This text has 162 bytes; line one sends at most 160.")
        text = FromPerson(person="john", recipients=(NUMBER,), body="\xe4" * 81)
        self.assertRaises(Refused, self.inbox.preview, text)

    def test_attachments_are_links_where_the_line_carries_none(self) -> None:
        """A line without MMS sends where the file is; `mms = always` forbids that."""
        media = (Media(url="https://example.org/a.jpg"),)
        self.committed(self.rig.send("hi", media=media))
        self.assertEqual(self.rig.store.records()[-1].body, "hi\nhttps://example.org/a.jpg")

        self.with_line(mms="always")
        refusal = self.refusal(self.rig.send("hi", media=media))

        self.assertEqual(refusal.reason, "media-unsupported")
        self.assertIn("cannot carry", str(refusal))

    def test_an_mms_counts_as_one_text(self) -> None:
        """Whatever its text, the network bills one message for each number."""
        self.with_line(carries_media=True, max_segments=2)

        self.committed(self.rig.send("x" * 900, media=(Media(url="https://example.org/a.jpg"),)))

        self.assertEqual(self.rig.inbox.daily.of("one", self.rig.now_ms()), 1)

    def test_a_repeat_is_answered_before_any_limit(self) -> None:
        """Who repeats a message that was accepted hears so, however often."""
        self.with_person(rate=0.1, burst=1)
        first = self.committed(self.rig.send("hi", dedup_key="m1", origin=PHONE))
        again = self.successResultOf(self.rig.send("hi", dedup_key="m1", origin=PHONE))

        self.assertEqual(again, Accepted(message_id=first.message_id, duplicate=True))
        self.assertEqual(self.refusal(self.rig.send("hi", origin=PHONE)).reason, "throttled")
        self.assertEqual(self.rig.counts.repeated["chat"], 1)

    def test_repeats_at_the_same_instant_are_answered_as_the_first(self) -> None:
        """Limits are asked once, also while the first is not committed yet."""
        self.with_person(rate=0.01, burst=1)
        self.with_line(daily_cap=1)
        results = [self.rig.send("hi", dedup_key="m1") for _ in range(20)]
        self.rig.commit()

        first, *repeats = [self.successResultOf(each) for each in results]
        self.assertEqual(
            repeats, [Accepted(message_id=first.message_id, duplicate=True)] * len(repeats)
        )
        self.assertEqual(len(self.rig.store.records()), 1)
        self.assertEqual(self.inbox.daily.of("one", NOW), 1)

    def test_repeats_of_what_could_not_be_stored_hear_so(self) -> None:
        """And the next one is a new try."""
        results = [self.rig.send("hi", dedup_key="m1") for _ in range(2)]
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal")
        results += [self.rig.send("hi", dedup_key="m2") for _ in range(2)]
        self.rig.store.writer.fails.clear()
        self.rig.commit()

        for each in results[2:]:
            self.failureResultOf(each, TemporaryFailure)
        self.assertFalse(self.committed(self.rig.send("hi", dedup_key="m2")).duplicate)

    def test_a_key_is_forgotten_after_its_lifetime(self) -> None:
        """A sender that counts anew must not have its new texts swallowed."""
        first = self.committed(self.rig.send("old", dedup_key="1", dedup_for_s=60.0))
        self.rig.pass_time(61.0)
        second = self.committed(self.rig.send("new", dedup_key="1", dedup_for_s=60.0))

        self.assertFalse(second.duplicate)
        self.assertNotEqual(first.message_id, second.message_id)
        self.assertEqual([r.body for r in self.rig.store.records()], ["old", "new"])

    def test_a_repeat_that_only_the_store_knows(self) -> None:
        """After a restart the store answers repeats, and the day's count does not grow by them."""
        first = self.committed(self.rig.send("hi", dedup_key="1"))
        self.inbox._recent.clear()
        for _ in range(2):
            again = self.committed(self.rig.send("hi", dedup_key="1"))

        self.assertEqual(again, Accepted(message_id=first.message_id, duplicate=True))
        self.assertEqual(self.inbox.daily.of("one", self.rig.now_ms()), 1)

    def test_a_repeat_does_not_make_a_key_live_longer(self) -> None:
        """Only the first text of a key says until when it counts."""
        self.committed(self.rig.send("old", dedup_key="1", dedup_for_s=60.0))
        self.inbox._recent.clear()
        self.rig.pass_time(50.0)
        self.committed(self.rig.send("old", dedup_key="1", dedup_for_s=60.0))
        self.rig.pass_time(20.0)

        again = self.committed(self.rig.send("new", dedup_key="1", dedup_for_s=60.0))

        self.assertFalse(again.duplicate)

    def test_remembers_a_bounded_number(self) -> None:
        """Memory holds the latest keys, the store the rest."""
        self.patch(inbox_module, "_MOST_REMEMBERED", 2)
        for number in range(5):
            self.committed(self.rig.send("hi", dedup_key=str(number)))

        self.assertEqual([key for _, key in self.inbox._recent], ["3", "4"])

    def test_a_daily_cap_holds(self) -> None:
        """Segments count, to each recipient, and what was not stored does not."""
        self.with_line(daily_cap=3, groups="separate")
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal")
        self.failureResultOf(self.rig.send("hi"), TemporaryFailure)
        self.rig.store.writer.fails.clear()
        self.committed(self.rig.send("hi", NUMBER, OTHER))

        refusal = self.refusal(self.rig.send("x" * 200))

        self.assertEqual(refusal.reason, "daily-cap")
        self.assertIn("has sent 2", str(refusal))
        self.committed(self.rig.send("last"))

    def test_a_person_has_a_rate(self) -> None:
        """Too many at once are refused with the time to wait."""
        self.with_person(rate=0.5, burst=2)
        for _ in range(2):
            self.committed(self.rig.send("hi"))

        refusal = self.refusal(self.rig.send("hi"))

        self.assertEqual(refusal.reason, "throttled")
        self.assertIn("2 seconds", str(refusal))
        self.rig.clock.advance(2.0)
        self.committed(self.rig.send("hi"))

    def test_an_endless_echo_is_stopped(self) -> None:
        """Two machines that answer each other with the same text come to an end."""
        for _ in range(10):
            self.committed(self.rig.send("I am away."))

        self.assertEqual(self.refusal(self.rig.send("I am away.")).reason, "loop")
        self.committed(self.rig.send("really"))

    def test_what_a_refusal_costs(self) -> None:
        """A text that cannot arrive uses up nothing of what its sender may send."""
        self.with_person(rate=0.01, burst=1)
        persons = {**self.world.directory.persons, "mute": Person(label="mute")}
        self.world.directory = evolve(self.world.directory, persons=persons)

        refusal = self.refusal(self.rig.send("hi", NUMBER, "mute"))
        self.assertEqual(refusal.reason, "unroutable")
        self.assertIn("mute has no address", str(refusal))
        self.committed(self.rig.send("hi"))

    def test_persons_write_to_each_other(self) -> None:
        """Between persons there is no line; the sender's name stands for a number."""
        self.committed(self.rig.send("hi", "jane"))
        self.committed(self.rig.send("hi", "jane", sender="101"))

        record, other = self.rig.store.records()
        self.assertEqual(
            (record.direction, record.line, record.sender, record.conversation),
            ("internal", "", "john", "|jane,john"),
        )
        self.assertEqual([d.to for d in record.deliveries], [JANE])
        self.assertEqual(other.sender, "101")

    def test_one_text_to_numbers_and_persons(self) -> None:
        """Each recipient gets a delivery through their own gateway."""
        self.committed(self.rig.send("hi", NUMBER, "jane"))

        (record,) = self.rig.store.records()
        self.assertEqual(
            [(d.gateway, d.to) for d in record.deliveries], [("box", NUMBER), ("chat", JANE)]
        )

    def test_a_scheduled_text_waits_alone(self) -> None:
        """What is sent tomorrow holds up nothing, and its life begins then."""
        self.rig.box.answer = all_sent
        self.rig.open("box/one")
        self.with_line(expire=3600.0)
        tomorrow = NOW + DAY
        self.committed(self.rig.send("tomorrow", not_before_ms=tomorrow))
        self.committed(self.rig.send("now"))
        self.assertEqual(self.rig.box.bodies, [["now"]])

        self.rig.clock.advance(DAY / 1000)
        self.rig.settle()
        self.rig.pass_time(2.0)

        self.assertEqual(self.rig.box.bodies, [["now"], ["tomorrow"]])

    def test_a_scheduled_text_can_be_canceled(self) -> None:
        """Dropped before its time it never goes, and its sender's other texts do."""
        self.rig.box.answer = all_sent
        self.rig.open("box/one")
        self.committed(self.rig.send("tomorrow", not_before_ms=NOW + DAY))
        self.committed(self.rig.send("the day too", not_before_ms=NOW + DAY))
        (first, _) = self.rig.store.records()

        dropping = self.rig.store.drop([first.deliveries[0].delivery_id], self.rig.now_ms())
        self.assertEqual(self.committed(dropping)[0], 1)
        self.rig.clock.advance(DAY / 1000)
        self.rig.settle()
        self.rig.pass_time(2.0)

        self.assertEqual(self.rig.box.bodies, [["the day too"]])
        self.assertEqual(self.rig.statuses(), ["dropped", "sent"])

    def test_an_id_that_cannot_be_kept_is_refused(self) -> None:
        """A sender whose reports could not be addressed hears so, on every database."""
        for origin in (evolve(PHONE, ref="x" * 401), evolve(PHONE, address="x" * 601)):
            self.assertEqual(self.refusal(self.rig.send("hi", origin=origin)).reason, "unsupported")

    def test_refusals_are_counted_for_the_gateway(self) -> None:
        """The metrics say where refused texts came from."""
        self.refusal(self.rig.send("", origin=PHONE))
        self.refusal(self.rig.send(""))
        self.refusal(self.rig.send("hi", "no number", line="one"))
        self.with_line(allow=re.compile("x"))
        self.refusal(self.rig.text("hi", line="nowhere"))

        self.assertEqual(
            dict(self.rig.counts.refused),
            {
                ("chat", "empty"): 1,
                ("", "empty"): 1,
                ("", "invalid-number"): 1,
                ("", "unknown-line"): 1,
            },
        )

    def test_tells_what_was_committed(self) -> None:
        """What the sender is shown at once is what the store would say."""
        self.rig.open("chat:stream")
        self.rig.open("box/two")
        self.rig.settle()
        sent = [
            self.rig.send("at once", NUMBER, line="two"),
            self.rig.send("line is closed", NUMBER, OTHER, line="one"),
            self.rig.send("later", NUMBER, not_before_ms=NOW + 3_600_000),
            self.rig.send("to a person", "jane"),
        ]
        self.rig.commit()
        records = self.rig.store.records()

        accepted = [self.successResultOf(each) for each in sent]

        entries = [each.entry for each in accepted]
        self.assertEqual([entry and entry.record() for entry in entries], records)
        self.assertEqual(len({each.deliveries[0].status for each in records}), 2)

    def test_a_repeat_tells_nothing(self) -> None:
        """What was committed long ago may have changed since."""
        self.rig.send("hi", dedup_key="k")
        self.rig.settle()
        self.rig.inbox._recent.clear()

        repeat = self.rig.send("hi", dedup_key="k")
        self.rig.settle()

        self.assertIsNone(self.successResultOf(repeat).entry)


class EachTests(InboxCase):
    """One text to several, each alone."""

    def each(self, body: str, *recipients: str, **more: Any) -> Deferred[list[Accepted]]:
        """Let John send a text to each."""
        return self.inbox.accept_each(
            FromPerson(person="john", recipients=recipients, body=body, **more)
        )

    def test_everybody_gets_a_message_of_their_own(self) -> None:
        """In the conversation where their answers will be."""
        accepted = self.committed(self.each("hi", NUMBER, OTHER, "jane"))

        records = self.rig.store.records()
        self.assertEqual([each.message_id for each in accepted], [r.message_id for r in records])
        self.assertEqual(
            [(r.conversation, r.sender, r.recipients) for r in records],
            [
                (f"one|{NUMBER}", "+12025550100", (NUMBER,)),
                (f"one|{OTHER}", "+12025550100", (OTHER,)),
                ("|jane,john", "john", ("jane",)),
            ],
        )
        self.assertEqual(
            [[d.to for d in r.deliveries] for r in records], [[NUMBER], [OTHER], [JANE]]
        )
        self.assertEqual(self.inbox.daily.of("one", NOW), 2)

    def test_all_or_nothing(self) -> None:
        """A number that is none keeps the others from getting it; so does a cap."""
        self.assertEqual(self.refusal(self.each("hi", NUMBER, "12")).reason, "invalid-number")
        self.with_line(daily_cap=1)
        self.assertEqual(self.refusal(self.each("hi", NUMBER, OTHER)).reason, "daily-cap")

        self.assertEqual(self.rig.commit(), 0)
        self.assertEqual(sum(self.rig.counts.refused.values()), 2)

    def test_a_burst_may_be_larger_than_what_is_saved(self) -> None:
        """As one message to many; the next text waits the longer."""
        self.with_person(rate=0.01, burst=1)
        self.committed(self.each("hi", NUMBER, OTHER))

        self.assertEqual(self.refusal(self.each("more", NUMBER)).reason, "throttled")

    def test_a_repeat_is_the_same_messages(self) -> None:
        """Each recipient has a key of its own; a repeat is answered before any limit."""
        self.with_person(rate=0.01, burst=1)
        first = self.committed(self.each("hi", NUMBER, OTHER, dedup_key="k"))
        again = self.committed(self.each("hi", NUMBER, OTHER, dedup_key="k"))

        self.assertEqual([each.message_id for each in again], [each.message_id for each in first])
        self.assertEqual({each.duplicate for each in again}, {True})
        self.assertEqual(len(self.rig.store.records()), 2)
        self.assertEqual(self.inbox.daily.of("one", NOW), 2)

    def test_repeats_at_the_same_instant_are_the_same_messages(self) -> None:
        """Also while the first are not committed yet."""
        self.with_person(rate=0.01, burst=1)
        results = [self.each("hi", NUMBER, OTHER, dedup_key="k") for _ in range(3)]
        self.rig.commit()

        first, *repeats = [self.successResultOf(each) for each in results]
        for repeat in repeats:
            self.assertEqual(
                [each.message_id for each in repeat], [each.message_id for each in first]
            )
            self.assertEqual({each.duplicate for each in repeat}, {True})
        self.assertEqual(len(self.rig.store.records()), 2)

    def test_a_store_that_fails_is_told_as_it_is(self) -> None:
        """The caller may repeat it."""
        self.rig.store.writer.fails["Accept"] = TemporaryFailure("internal")

        self.failureResultOf(self.each("hi", NUMBER, OTHER), TemporaryFailure)


class BlockTests(InboxCase):
    """Numbers from which persons want nothing."""

    def test_who_blocked_a_number_gets_none_of_its_texts(self) -> None:
        """The text is kept, and the others of the line get it."""
        self.world.book.put("john", PersonalBook(blocked=frozenset({NUMBER})))
        self.committed(self.rig.text("spam", line="one"))
        self.committed(self.rig.text("hi", OTHER, line="one"))

        spam, hi = self.rig.store.records()
        self.assertEqual([d.to for d in spam.deliveries], [JANE])
        self.assertEqual([d.to for d in hi.deliveries], [JOHN, JANE])

    def test_a_text_that_everybody_blocked_is_kept(self) -> None:
        """Who unblocks the number later finds what was written."""
        self.world.book.put("john", PersonalBook(blocked=frozenset({NUMBER})))
        self.committed(self.rig.text("spam"))

        (record,) = self.rig.store.records()
        self.assertEqual((record.body, record.deliveries), ("spam", ()))

    def test_unblocked_number_is_heard_again(self) -> None:
        """The book as it is at the time counts."""
        self.world.book.put("john", PersonalBook(blocked=frozenset({NUMBER})))
        self.world.book.put("john", PersonalBook())
        self.committed(self.rig.text("hi"))

        self.assertEqual([d.to for d in self.rig.store.records()[0].deliveries], [JOHN])


class BrowserTests(InboxCase):
    """Persons who have no address but a browser."""

    def setUp(self) -> None:
        """Add somebody without an address."""
        super().setUp()
        persons = {**self.world.directory.persons, "web": Person(label="web", lines=("two",))}
        self.world.directory = evolve(self.world.directory, persons=persons)

    def test_internal_text_needs_no_address(self) -> None:
        """It is kept, and read in the browser."""
        self.world.inbox = True
        self.committed(self.rig.send("hi", "web"))

        (record,) = self.rig.store.records()
        self.assertEqual(
            (record.direction, record.conversation, record.deliveries),
            ("internal", "|john,web", ()),
        )

    def test_without_an_inbox_it_would_reach_nobody(self) -> None:
        """Nothing is kept where nobody could read it."""
        self.assertEqual(self.refusal(self.rig.send("hi", "web")).reason, "unroutable")


class GroupTests(InboxCase):
    """One text to several numbers who see each other."""

    def group_flags(self, *recipients: str, **more: Any) -> list[tuple[str, bool]]:
        """Send a text and return the destination of each delivery, and whether it is a group's."""
        self.rig.box.answer = self.rig.chat.answer = all_sent
        self.rig.open("box/one")
        self.rig.open("chat:stream")
        self.rig.settle()
        self.committed(self.rig.send("hi", *recipients, **more))
        return [
            (delivery.destination, delivery.group)
            for gateway in (self.rig.box, self.rig.chat)
            for attempt in gateway.attempts
            for delivery in attempt.batch
        ]

    def test_a_line_with_groups_is_told_of_them(self) -> None:
        """Its gateway sees what is one text; persons get theirs apart from it."""
        self.with_line(carries_groups=True)

        found = self.group_flags(NUMBER, OTHER, "jane", group=True)

        self.assertEqual(found, [(NUMBER, True), (OTHER, True), (JANE, False)])

    def test_what_is_no_group_is_not_taken_for_one(self) -> None:
        """Copies, a single number, and a line that sends separate texts."""
        self.with_line(carries_groups=True)
        self.assertEqual(self.group_flags(NUMBER, OTHER), [(NUMBER, False), (OTHER, False)])
        self.assertEqual(self.group_flags(NUMBER, group=True)[2:], [(NUMBER, False)])
        self.with_line(groups="separate")
        self.assertEqual(
            self.group_flags(NUMBER, OTHER, group=True)[3:], [(NUMBER, False), (OTHER, False)]
        )

    def test_texts_to_each_are_no_group(self) -> None:
        """A program that asks for one message for each number gets that."""
        self.with_line(carries_groups=True)
        text = FromPerson(person="john", recipients=(NUMBER, OTHER), body="hi", group=True)
        self.rig.box.answer = all_sent
        self.rig.open("box/one")

        self.committed(self.inbox.accept_each(text))

        given = [each for attempt in self.rig.box.attempts for each in attempt.batch]
        self.assertEqual(
            [(each.recipients, each.group) for each in given],
            [((NUMBER,), False), ((OTHER,), False)],
        )

    def test_copies_are_announced(self) -> None:
        """Who previews a text knows whether the numbers will see each other."""
        text = FromPerson(person="john", recipients=(NUMBER, OTHER), body="hi", group=True)
        self.with_line(carries_groups=True)
        self.assertNotIn("of its own", " ".join(self.inbox.preview(text).warnings))
        self.with_line(groups="separate")
        self.assertIn("of its own", " ".join(self.inbox.preview(text).warnings))


class HandleTests(InboxCase):
    """Groups of contacts as recipients."""

    def test_a_handle_means_the_numbers_of_its_contacts(self) -> None:
        """Each member gets the text, whoever is named twice once."""
        self.with_line(groups="separate")
        self.world.book.put("john", PersonalBook(groups={"family": (NUMBER, OTHER)}))
        self.committed(self.rig.send("dinner", "@Family", NUMBER))

        (record,) = self.rig.store.records()
        self.assertEqual(record.recipients, (NUMBER, OTHER))

    def test_handles_of_others_mean_nothing(self) -> None:
        """Everybody has groups of their own."""
        self.world.book.put("jane", PersonalBook(groups={"family": (NUMBER,)}))

        refusal = self.refusal(self.rig.send("hi", "@family"))

        self.assertEqual(refusal.reason, "invalid-number")
        self.assertIn("you have no groups yet", str(refusal))


class PreviewTests(InboxCase):
    """What would become of a text."""

    def preview(self, body: str, *recipients: str, **more: Any) -> Preview:
        """Preview a text of John."""
        return self.inbox.preview(
            FromPerson(person="john", recipients=recipients or (NUMBER,), body=body, **more)
        )

    def test_says_what_would_be_sent(self) -> None:
        """Line, sender, names, and how many texts it takes."""
        self.rig.open("box/one")
        self.rig.settle()
        self.with_line(groups="separate")
        self.world.book.put("john", PersonalBook(names={NUMBER: "Ann"}))

        found = self.preview("x" * 161, "202 555 0123", OTHER, "jane")

        self.assertEqual(
            (found.line, found.sender, found.carried_as, found.body),
            ("one", "+12025550100", "sms", "x" * 161),
        )
        self.assertEqual(
            found.recipients,
            (
                PreviewRecipient(NUMBER, "Ann"),
                PreviewRecipient(OTHER),
                PreviewRecipient("", "jane", "jane"),
            ),
        )
        self.assertEqual(
            (found.segments, found.texts, found.encoding, found.characters), (2, 4, "gsm", 161)
        )
        self.assertEqual(
            found.warnings, ("Each of the 2 numbers gets a text of its own and sees no others.",)
        )

    def test_keeps_and_counts_nothing(self) -> None:
        """However often it is asked, the text itself goes out."""
        self.with_person(rate=0.01, burst=1)
        self.with_line(daily_cap=1)
        for _ in range(20):
            self.preview("hi")
        self.assertEqual(self.rig.commit(), 0)

        self.committed(self.rig.send("hi"))

        self.assertEqual(len(self.rig.store.records()), 1)

    def test_refuses_what_accept_refuses(self) -> None:
        """With the same reason and sentence."""
        self.with_person(rate=0.01, burst=1)
        self.with_line(max_segments=1)
        for body, to in (("", NUMBER), ("x" * 200, NUMBER), ("hi", "12"), ("hi", "@nobody")):
            refused = self.refusal(self.rig.send(body, to))
            error = self.assertRaises(Refused, self.preview, body, to)
            self.assertEqual((error.reason, str(error)), (refused.reason, str(refused)))
        self.committed(self.rig.send("hi"))
        self.assertEqual(self.assertRaises(Refused, self.preview, "hi").reason, "throttled")
        self.with_line(daily_cap=1)
        self.assertEqual(self.assertRaises(Refused, self.preview, "hi").reason, "daily-cap")

    def test_an_echo_is_refused_here_too(self) -> None:
        """The eleventh time within a minute."""
        for _ in range(10):
            self.committed(self.rig.send("I am away."))

        self.assertEqual(self.assertRaises(Refused, self.preview, "I am away.").reason, "loop")
        self.rig.clock.advance(61.0)
        self.preview("I am away.")

    def test_warns_of_a_line_that_is_down(self) -> None:
        """The text would wait, and why."""
        self.rig.shut("box/one", "line-down", "no network")

        (warning,) = self.preview("hi").warnings

        self.assertEqual(warning, "Line one cannot send at the moment, so it waits: no network.")

    def test_warns_of_what_costs_or_surprises(self) -> None:
        """An unusual character, the cap, a blocked number, the same text again, a later time."""
        self.rig.open("box/one")
        self.rig.settle()
        self.with_line(daily_cap=20)
        self.world.book.put("john", PersonalBook(blocked=frozenset({NUMBER})))
        self.committed(self.rig.send("x" * 70 + "ł"))
        self.assertEqual(self.preview("ł").encoding, "unicode")

        warnings = " ".join(self.preview("x" * 70 + "ł", not_before_ms=NOW + DAY).warnings)

        for expected in (
            "It waits until 2027-01-16 08:00 UTC.",
            "Characters such as ł make it 2 texts",
            f"You have blocked {NUMBER}",
            "less than a minute ago",
        ):
            self.assertIn(expected, warnings)
        self.assertNotIn("more today", warnings)
        self.with_line(daily_cap=5)
        self.assertIn("may send 0 more today", " ".join(self.preview("x" * 400).warnings))

    def test_between_persons_there_is_no_line(self) -> None:
        """Nothing is counted in segments."""
        found = self.preview("hi", "jane")

        self.assertEqual(
            (found.line, found.sender, found.carried_as, found.segments, found.texts),
            ("", "john", "internal", 0, 0),
        )


class ReportTests(InboxCase):
    """What peers say later, and what the bridge itself has to say."""

    def sent(self) -> str:
        """Send a text of John's; returns the id of its delivery."""
        self.rig.box.answer = all_sent
        self.rig.chat.answer = all_sent
        self.rig.open("box/one")
        self.rig.open("chat:stream")
        accepted = self.committed(self.rig.send("hi", origin=PHONE))
        return f"{accepted.message_id}.0"

    def report(self, **more: Any) -> Deferred[bool]:
        """Report."""
        values: dict[str, Any] = {"gateway": "box", "status": Status.DELIVERED, **more}
        return self.inbox.report(DeliveryReport(**values))

    def test_a_delivery_report_reaches_the_sender(self) -> None:
        """What the network reports is told to who asked, once."""
        delivery_id = self.sent()
        seen: list[list[str]] = []
        self.rig.changes.watch(seen.append)

        changed = self.committed(self.report(delivery_id=delivery_id))
        again = self.committed(self.report(delivery_id=delivery_id))

        self.assertEqual((changed, again), (True, False))
        (attempt,) = self.rig.chat.attempts
        self.assertEqual(
            [(d.kind, d.reported, d.ref, d.destination) for d in attempt.batch],
            [("report", "delivered", "m1", f"{JOHN}/phone")],
        )
        self.assertIn([delivery_id.partition(".")[0]], seen)
        self.assertEqual(self.rig.counts.settled["box", Status.DELIVERED], 1)

    def test_a_report_by_the_peers_id_tells_which_text_it_was(self) -> None:
        """Who watches the texts sees that one change, and the log names it."""
        delivery_id = self.sent()
        self.rig.store.writer.run(
            lambda connection: connection.execute(text("UPDATE deliveries SET remote_id = 'r1'"))
        )
        seen: list[list[str]] = []
        self.rig.changes.watch(seen.append)

        self.assertTrue(self.committed(self.report(remote_id="r1")))

        self.assertIn([delivery_id.partition(".")[0]], seen)

    def test_ids_of_peers_are_made_storable(self) -> None:
        """No id that a peer makes up stops the report of another one."""
        delivery_id = self.sent()
        for bad in ("\x00", "\ud800", "x" * 10_000):
            for name in ("delivery_id", "remote_id"):
                more = {name: bad, "destination": bad}
                self.assertIs(self.committed(self.report(**more)), False)
        self.assertTrue(self.committed(self.report(delivery_id=delivery_id, destination="\x00")))

    def test_peers_words_are_made_storable(self) -> None:
        """A report with words that no database takes is recorded all the same."""
        delivery_id = self.sent()
        words = "code \x00 7" + "x" * 5000

        changed = self.committed(
            self.report(delivery_id=delivery_id, status=Status.FAILED, reason="network", text=words)
        )

        self.assertTrue(changed)
        delivery = self.rig.store.records()[0].deliveries[0]
        self.assertTrue(delivery.text.startswith("code \ufffd 7xxx"), delivery.text)

    def test_an_unknown_report_changes_nothing(self) -> None:
        """A peer may report on what we never sent."""
        self.assertIs(self.committed(self.report(delivery_id="nothing.0")), False)
        self.assertIs(self.committed(self.report(remote_id="", line="one")), False)

    def test_the_last_report_is_told_again(self) -> None:
        """A sender that repeats its message hears the end of it again."""
        delivery_id = self.sent()
        self.committed(self.report(delivery_id=delivery_id))
        self.rig.clock.advance(5.0)

        self.committed(self.inbox.repeat_reports(delivery_id.partition(".")[0]))

        self.assertEqual(len(self.rig.chat.attempts), 2)

    def test_a_ussd_text_goes_to_the_persons_of_the_line(self) -> None:
        """What the network pushes reaches everybody who has the line, a repeat nobody."""
        self.rig.chat.answer = all_sent
        self.rig.open("chat:stream")
        self.rig.settle()
        for _ in range(2):
            notice = UssdNotice(line="one", body="5\u20ac left\x00", dedup_key="7\x00")
            self.assertIsNone(self.committed(self.inbox.ussd_notice(notice)))

        told = [(d.person, d.body) for attempt in self.rig.chat.attempts for d in attempt.batch]
        self.assertEqual(
            told, [("john", "[USSD] 5\u20ac left\ufffd"), ("jane", "[USSD] 5\u20ac left\ufffd")]
        )

    def test_a_ussd_text_is_no_repeat_of_a_text(self) -> None:
        """Keys of texts and of USSD are apart, and without a key nothing is a repeat."""
        self.committed(self.rig.text("hi", line="one", dedup_key="7"))
        for key in ("7", "", ""):
            self.committed(self.inbox.ussd_notice(UssdNotice(line="one", body="x", dedup_key=key)))

        self.assertEqual([row.kind for row in self.rig.store.rows()].count("notice"), 6)

    def test_ussd_of_an_unknown_line_is_refused(self) -> None:
        """There must be a line."""
        refusal = self.refusal(self.inbox.ussd_notice(UssdNotice(line="x", body="x")))

        self.assertEqual(refusal.reason, "unknown-line")

    def test_the_bridge_tells_persons_something(self) -> None:
        """A sentence of the bridge arrives at all addresses; unknown persons hear nothing."""
        self.committed(self.inbox.notify("john", "Line one is up.", "one"))
        self.assertIsNone(self.successResultOf(self.inbox.notify("nobody", "x")))

        (row,) = self.rig.store.rows()
        self.assertEqual((row.kind, row.person, row.status), ("notice", "john", "queued"))

    def test_calls_are_kept(self) -> None:
        """The call log gets each call, whatever the device writes."""
        call = Call(line="one", incoming=True, number="+1\x00" + "2" * 300, started_at_ms=NOW)

        self.assertIsNone(self.committed(self.inbox.call(evolve(call, cause="busy\x00"))))

        (kept,) = self.rig.store.writer.run(history.calls_txn, "one", 10)
        self.assertEqual(
            (len(kept.number), kept.number[:4], kept.cause), (255, "+1\ufffd2", "busy\ufffd")
        )

    def test_facts_are_kept_and_told(self) -> None:
        """What a device tells about its line is stored, then told to who asked for it."""
        told: list[tuple[str, dict[str, str]]] = []
        self.inbox.learned = lambda line, facts: told.append((line, facts))

        self.assertIsNone(self.committed(self.inbox.learn("one", {"imei": "1\x002"})))

        self.assertEqual(told, [("one", {"imei": "1\ufffd2"})])
        facts = self.rig.store.writer.run(history.facts_txn)
        self.assertEqual(facts, {"one": {"imei": "1\ufffd2"}})


class LineKindTests(InboxCase):
    """What depends on the line."""

    def test_a_line_without_a_number_sends_under_its_name(self) -> None:
        """Until the device tells its number, the label stands for it."""
        self.world.directory = directory(lines={"one": Line(label="one", gateway="box")})

        self.committed(self.rig.send("hi"))

        self.assertEqual(self.rig.store.records()[0].sender, "one")
