"""Tests of live events: who is told what, in which order, and what a break costs."""

from __future__ import annotations

import attrs
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Status
from smsbridge.errors import TemporaryFailure
from smsbridge.web.api.live import EventId
from smsbridge.web.api.operation import ApiError
from tests.web.api.live_rig import ALICE, BOB, Rig


class EventIdTests(SynchronousTestCase):
    """The ids of events."""

    def test_id_is_read_as_it_was_written(self) -> None:
        """What a listener sends back means what it was given."""
        event_id = EventId(1795255200000, "k3x9", 42)

        self.assertEqual(EventId.parse(str(event_id)), event_id)

    def test_foreign_id_is_none_of_ours(self) -> None:
        """Whatever a listener sends, it is no error."""
        for text in ("", "1", "1-2", "a-b-c", "1-b-2-3", "1-B!-2", "-1-b-1", "9" * 40 + "-b-1"):
            self.assertIsNone(EventId.parse(text))


class TellingTests(SynchronousTestCase):
    """Who is told of what."""

    def setUp(self) -> None:
        """Start a hub."""
        self.rig = Rig()

    def test_listener_is_greeted(self) -> None:
        """A page learns at once that it is connected, with which version, and when to come back."""
        request = self.rig.listen()

        self.assertEqual(request.headers[b"Content-Type"], b"text/event-stream; charset=utf-8")
        self.assertEqual(request.headers[b"X-Accel-Buffering"], b"no")
        self.assertEqual(request.written[0], b"retry: 2000\n\n")
        self.assertEqual(request.told("hello"), [{"version": "1.0"}])

    def test_new_message_reaches_those_who_have_its_line(self) -> None:
        """Two persons who share a line are both told, and nobody else."""
        john, mary, eve = (self.rig.listen(name) for name in ("john", "mary", "eve"))

        message_id = self.rig.memory.add(line="2001")
        self.rig.run()

        for request, person in ((john, "john"), (mary, "mary")):
            (data,) = request.told("message")
            self.assertEqual((data["id"], data["viewer"]), (message_id, person))
            (data,) = request.told("conversation")
            self.assertEqual(data["unread"], 1)
        self.assertEqual([kind for kind, _, _ in eve.events()], ["hello"])

    def test_text_between_persons_reaches_them_alone(self) -> None:
        """What persons write to each other is told to them on no line."""
        john, mary, eve = (self.rig.listen(name) for name in ("john", "mary", "eve"))

        self.rig.memory.add(sender="john", line="", author="john", recipients=("mary",))
        self.rig.run()

        self.assertEqual(len(john.told("message")), 1)
        self.assertEqual(len(mary.told("message")), 1)
        self.assertEqual(eve.told("message"), [])

    def test_token_of_one_line_is_told_of_that_line(self) -> None:
        """A program whose token is bound to a line does not hear of the person's others."""
        program = self.rig.listen("john", lines=("2002",))

        self.rig.memory.add(line="2001")
        wanted = self.rig.memory.add(line="2002")
        self.rig.run()

        self.assertEqual([data["id"] for data in program.told("message")], [wanted])

    def test_token_of_one_line_is_not_told_what_persons_write(self) -> None:
        """Neither the texts between persons nor that their conversations change."""
        program = self.rig.listen("john", lines=("2002",))
        john = self.rig.listen("john")

        self.rig.memory.add(sender="mary", line="", author="mary", recipients=("john",))
        self.rig.hub.conversation_changed("john", "|john,mary")
        self.rig.hub.conversation_changed("john", "|sha256:0")
        self.rig.run()

        self.assertEqual([kind for kind, _, _ in program.events()], ["hello"])
        self.assertEqual(len(john.told("message")), 1)
        self.assertEqual(len(john.told("conversation")), 2)

    def test_only_wanted_kinds_are_told(self) -> None:
        """A program that wants messages gets nothing else, and costs no other reads."""
        request = self.rig.listen("john", "message")

        self.rig.memory.add()
        self.rig.hub.contacts_changed("john")
        self.rig.run()

        self.assertEqual([kind for kind, _, _ in request.events()], ["hello", "message"])
        self.assertEqual(self.rig.memory.reads, 1)

    def test_many_listeners_cost_one_reading(self) -> None:
        """Fifty windows of three persons cost as many reads as three."""
        requests = [
            self.rig.listen(person, name=f"s{number}")
            for person in ("john", "mary")
            for number in range(20)
        ]

        self.rig.memory.add()
        self.rig.run()

        self.assertTrue(all(len(request.told("message")) == 1 for request in requests))
        self.assertEqual(self.rig.memory.reads, 3)  # the message, and each one's conversation

    def test_changes_of_a_moment_are_told_once(self) -> None:
        """What changes several times within the gathering time is told as it is then."""
        request = self.rig.listen("john", "message")

        message_id = self.rig.memory.add(status=Status.QUEUED, author="john")
        self.rig.memory.settle(message_id, Status.SENDING)
        self.rig.memory.settle(message_id, Status.SENT)
        self.rig.run()

        self.assertEqual([data["status"] for data in request.told("message")], ["sent"])

    def test_status_never_goes_backwards(self) -> None:
        """Each event of a message says at least what the one before said."""
        request = self.rig.listen("john", "message")
        message_id = self.rig.memory.add(status=Status.QUEUED, author="john")

        for status in (Status.SENDING, Status.SENT, Status.DELIVERED):
            self.rig.run(0.05)
            self.rig.memory.settle(message_id, status)
        self.rig.run()

        told = [Status(data["status"]) for data in request.told("message")]
        order = list(Status)
        self.assertEqual(told, sorted(told, key=order.index))
        self.assertEqual(told[-1], Status.DELIVERED)

    def test_tick_of_the_last_text_is_told_with_its_conversation(self) -> None:
        """A list of conversations shows what became of the last text, and of no older one."""
        request = self.rig.listen("john")
        older = self.rig.memory.add(status=Status.QUEUED, author="john")
        self.rig.run()
        last = self.rig.memory.add(status=Status.QUEUED, author="john")
        self.rig.run()
        self.assertEqual(len(request.told("conversation")), 2)

        self.rig.memory.settle(last, Status.SENT)
        self.rig.run()
        self.assertEqual(len(request.told("conversation")), 3)
        self.rig.memory.settle(older, Status.SENT)
        self.rig.run()

        self.assertEqual(len(request.told("conversation")), 3)
        self.assertEqual(len(request.told("message")), 4)

    def test_hidden_message_does_not_come_back_with_a_tick(self) -> None:
        """Who deleted a text hears nothing of what becomes of it; others do."""
        john, mary = self.rig.listen("john"), self.rig.listen("mary")
        message_id = self.rig.memory.add(status=Status.SENT)
        self.rig.run()
        self.rig.memory.hidden_ids.add(("john", message_id))

        self.rig.memory.settle(message_id, Status.DELIVERED)
        self.rig.run()

        self.assertEqual(len(john.told("message")), 1)
        self.assertEqual(len(mary.told("message")), 2)

    def test_what_a_person_does_is_told_to_the_other_windows(self) -> None:
        """A conversation that was read in one window is read in all of this person, only."""
        john, mary = self.rig.listen("john"), self.rig.listen("mary")
        self.rig.memory.add()
        self.rig.run()

        self.rig.hub.conversation_changed("john", f"2001|{ALICE}")
        self.rig.run()

        self.assertEqual(len(john.told("conversation")), 2)
        self.assertEqual(len(mary.told("conversation")), 1)

    def test_deleted_conversation_is_told_as_empty(self) -> None:
        """The other windows learn that nothing is left of it."""
        request = self.rig.listen("john")
        message_id = self.rig.memory.add()
        self.rig.run()
        name = f"2001|{ALICE}"
        self.rig.memory.hidden_up_to["john", name] = message_id

        self.rig.hub.conversation_changed("john", name)
        self.rig.run()

        self.assertEqual(request.told("conversation")[-1], {"id": name, "last": None, "unread": 0})

    def test_foreign_conversation_is_not_told(self) -> None:
        """A name of a conversation gives nobody a look into it."""
        self.rig.memory.add(line="2003")
        request = self.rig.listen("john")

        self.rig.hub.conversation_changed("john", f"2003|{ALICE}")
        self.rig.run()

        self.assertEqual(request.told("conversation"), [])

    def test_lines_are_told_when_one_changes(self) -> None:
        """A line that goes down is told within seconds, to those who have it; signs of life are
        not."""
        john, eve = self.rig.listen("john"), self.rig.listen("eve")
        (state,) = self.rig.memory.states
        self.rig.memory.states = [attrs.evolve(state, last_seen_ms=5)]
        self.rig.run(10)

        self.rig.memory.states = [attrs.evolve(state, up=False)]
        self.rig.run(10)

        self.assertEqual(john.told("lines"), [[{"id": "2001", "up": False}]])
        self.assertEqual(eve.told("lines"), [])

    def test_connection_is_kept_alive(self) -> None:
        """Proxies see something every 20 seconds."""
        request = self.rig.listen()
        before = len(request.written)

        self.rig.run(40)

        self.assertEqual(request.written[before:], [b":\n\n", b":\n\n"])

    def test_store_out_of_reach_delays_and_loses_nothing(self) -> None:
        """What happened while the database was away is told when it is back."""
        request = self.rig.listen("john", "message")
        self.rig.memory.failure = TemporaryFailure("internal")
        first = self.rig.memory.add()
        self.rig.run(3)
        self.rig.memory.failure = None
        second = self.rig.memory.add(sender=BOB)

        self.rig.run(3)

        self.assertEqual([data["id"] for data in request.told("message")], [first, second])

    def test_mistake_makes_everybody_read_anew(self) -> None:
        """An unforeseen error costs a reload, not a text."""
        request = self.rig.listen("john", "message")
        self.rig.memory.failure = ValueError("a bug")
        self.rig.memory.add()

        self.rig.run(3)

        self.assertEqual(request.told("reset"), [{}])
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_nobody_listening_costs_nothing(self) -> None:
        """Without listeners the bridge is not followed; a minute after the last left neither."""
        self.assertEqual(self.rig.memory.followers, [])
        request = self.rig.listen()
        self.assertEqual(len(self.rig.memory.followers), 1)

        request.gone.callback(None)
        self.rig.run(120)

        self.assertEqual(self.rig.memory.followers, [])


class ResumingTests(SynchronousTestCase):
    """What a listener gets that was away."""

    def setUp(self) -> None:
        """Start a hub."""
        self.rig = Rig()

    def leave(self, request: object) -> str:
        """End a stream and return the id of its last event."""
        request.gone.callback(None)  # type: ignore[attr-defined]
        return str(request.events()[-1][1])  # type: ignore[attr-defined]

    def test_break_loses_nothing(self) -> None:
        """What happened during a break comes first, as it is now, and then what happens next."""
        request = self.rig.listen()
        known = self.rig.memory.add(status=Status.SENT, author="john")
        self.rig.run()
        last_id = self.leave(request)
        missed = self.rig.memory.add(sender=BOB)
        self.rig.memory.settle(known, Status.DELIVERED)
        self.rig.run()

        again = self.rig.listen(last_id=last_id)
        self.rig.run()
        later = self.rig.memory.add()
        self.rig.run()

        told = [data["id"] for data in again.told("message")]
        self.assertEqual(sorted(told), sorted([missed, known, later]))
        self.assertEqual(told[-1], later)
        self.assertEqual(again.told("reset"), [])
        self.assertIn(f"2001|{BOB}", [data["id"] for data in again.told("conversation")])

    def test_without_news_a_break_brings_nothing(self) -> None:
        """Who was away and missed nothing is told nothing."""
        request = self.rig.listen()
        self.rig.memory.add()
        self.rig.run()

        again = self.rig.listen(last_id=self.leave(request))
        self.rig.run()

        self.assertEqual([kind for kind, _, _ in again.events()], ["hello"])

    def test_restart_of_the_daemon_loses_nothing(self) -> None:
        """What was committed before and during the restart is read from the store."""
        request = self.rig.listen()
        self.rig.memory.add()
        self.rig.run()
        last_id = request.events()[-1][1]
        untold = self.rig.memory.add(sender=BOB)  # committed, and then the process ends
        self.rig.restart()
        self.rig.clock.advance(30)

        again = self.rig.listen(last_id=last_id)
        self.rig.run()

        self.assertTrue(request.finished)
        self.assertIn(untold, [data["id"] for data in again.told("message")])
        self.assertEqual(again.events()[-1][1].split("-")[1], "boot2")

    def test_longer_break_than_the_list_is_read_from_the_store(self) -> None:
        """Thousands of changes of others do not cost a listener its own."""
        request = self.rig.listen("john", "message")
        self.rig.memory.add()
        self.rig.run()
        last_id = self.leave(request)
        missed = self.rig.memory.add(sender=BOB)
        noisy = self.rig.memory.add(line="2003", status=Status.QUEUED)
        for _ in range(20):
            for number in range(150):
                self.rig.hub.conversation_changed("eve", f"2003|{number}")
            self.rig.memory.settle(noisy, Status.SENT)
            self.rig.run()

        again = self.rig.listen("john", "message", last_id=last_id)
        self.rig.run()

        self.assertIn(missed, [data["id"] for data in again.told("message")])
        self.assertNotIn(noisy, [data["id"] for data in again.told("message")])

    def test_too_long_a_break_means_reading_anew(self) -> None:
        """After days, or with an id that is none, the page is told to load what it shows."""
        now_ms = self.rig.memory.now_ms()
        for last_id in (f"{now_ms - 3 * 86_400_000}-old-7", "nonsense", f"{now_ms * 5}-x-1"):
            request = self.rig.listen(last_id=last_id)
            self.rig.run()

            self.assertEqual(request.told("reset"), [{}], last_id)

    def test_break_within_a_round_is_made_up_for(self) -> None:
        """Only the last event of a round has an id that says that all of it was told."""
        request = self.rig.listen()
        greeting = request.events()[0][1]
        self.rig.memory.add()
        self.rig.memory.add(sender=BOB)
        self.rig.run()

        *partly, last = [event_id for _, event_id, _ in request.events()[1:]]

        self.assertEqual(set(partly), {greeting})
        self.assertNotEqual(last, greeting)

    def test_what_was_deleted_meanwhile_is_not_replayed(self) -> None:
        """A text that its viewer deleted during the break stays deleted."""
        request = self.rig.listen()
        last_id = self.leave(request)
        message_id = self.rig.memory.add()
        self.rig.run()
        self.rig.memory.hidden_ids.add(("john", message_id))

        again = self.rig.listen(last_id=last_id)
        self.rig.run()

        self.assertEqual(again.told("message"), [])

    def test_quiet_listener_stays_up_to_date(self) -> None:
        """Who is concerned by nothing on a busy bridge gets a young id all the same."""
        eve = self.rig.listen("eve", "message")
        first_id = eve.events()[0][1]
        for _ in range(30):
            for _ in range(20):
                self.rig.memory.add()
            self.rig.run()

        self.assertNotEqual(eve.events()[-1][1], first_id)
        self.assertEqual({kind for kind, _, _ in eve.events()}, {"hello"})

    def test_flood_is_told_in_parts(self) -> None:
        """More changes than one reading takes are told one part after another, all of them."""
        request = self.rig.listen("john", "message")
        ids = [self.rig.memory.add() for _ in range(1200)]

        for _ in range(3):
            self.rig.run()

        self.assertEqual([data["id"] for data in request.told("message")], ids)
        numbers = [int(event_id.rsplit("-", 1)[1]) for _, event_id, _ in request.events()]
        self.assertEqual(numbers, sorted(numbers))


class EndingTests(SynchronousTestCase):
    """How streams end, and how many there may be."""

    def test_slow_reader_is_cut_off_and_resumes(self) -> None:
        """A reader that takes nothing holds a bounded amount of memory."""
        rig = Rig()
        request = rig.listen("john", "message")
        request.producer.pauseProducing()
        last_id = request.events()[-1][1]
        for _ in range(40):
            for _ in range(100):
                rig.memory.add()
            rig.run()

        self.assertTrue(request.aborted)
        self.assertEqual(len(rig.hub), 0)
        again = rig.listen("john", "message", last_id=last_id)
        rig.run()
        self.assertEqual(len(again.told("reset")), 1)  # 4,000 texts are more than it replays

    def test_reader_that_catches_up_gets_everything_in_order(self) -> None:
        """What waited for a slow reader is written when there is room."""
        rig = Rig()
        request = rig.listen("john", "message")
        request.producer.pauseProducing()
        ids = [rig.memory.add(), rig.memory.add()]
        rig.run()
        self.assertEqual(request.told("message"), [])

        request.producer.resumeProducing()
        rig.run()

        self.assertEqual([data["id"] for data in request.told("message")], ids)

    def test_stop_ends_all_streams_at_once(self) -> None:
        """The daemon does not wait for listeners."""
        rig = Rig()
        requests = [rig.listen(), rig.listen("mary")]

        rig.hub.stopService()

        self.assertTrue(all(request.finished for request in requests))
        self.assertRaises(ApiError, rig.listen)

    def test_logout_ends_the_streams_of_that_session(self) -> None:
        """Who logs out hears nothing more; other sessions go on."""
        rig = Rig()
        ended, other = rig.listen(name="session-1"), rig.listen(name="session-2")

        rig.hub.caller_ended("session-1")

        self.assertEqual((ended.finished, other.finished), (True, False))

    def test_a_token_that_expires_hears_nothing_more(self) -> None:
        """From that moment on; others of the same person go on."""
        rig = Rig()
        ended = rig.listen(name="token", until_ms=rig.memory.now_ms() + 2000)
        other = rig.listen(name="session-1")
        rig.memory.add()
        rig.run()
        rig.clock.advance(2)

        rig.memory.add()
        rig.run()

        self.assertEqual((ended.finished, other.finished), (True, False))
        self.assertEqual((len(ended.told("message")), len(other.told("message"))), (1, 2))
        quiet = rig.listen(name="token", until_ms=rig.memory.now_ms() + 1)
        rig.run(10)
        self.assertTrue(quiet.finished)

    def test_a_stream_ends_after_an_hour(self) -> None:
        """Who listens proves anew who it is, since another node may have ended the session."""
        rig = Rig()
        request = rig.listen()
        rig.run(3500)
        self.assertFalse(request.finished)

        for _ in range(20):
            rig.run(10)
        self.assertTrue(request.finished)

    def test_removed_person_hears_nothing_more(self) -> None:
        """A reload without a person ends that person's streams."""
        rig = Rig()
        request = rig.listen("mary")
        persons = dict(rig.world.directory.persons)
        del persons["mary"]
        rig.world.directory = attrs.evolve(rig.world.directory, persons=persons)

        rig.memory.add()
        rig.run()
        self.assertEqual(request.told("message"), [])
        rig.run(10)

        self.assertTrue(request.finished)

    def test_person_without_the_line_any_more_is_not_told(self) -> None:
        """A reload that takes a line away takes effect for open streams."""
        rig = Rig()
        request = rig.listen("mary")
        mary = attrs.evolve(rig.world.directory.persons["mary"], lines=())
        persons = {**rig.world.directory.persons, "mary": mary}
        rig.world.directory = attrs.evolve(rig.world.directory, persons=persons)

        rig.memory.add()
        rig.run()

        self.assertEqual(request.told("message"), [])

    def test_too_many_streams_are_refused_in_a_sentence(self) -> None:
        """A person has 20 windows, and the bridge a bounded number of listeners."""
        rig = Rig(most_listeners=25)
        for number in range(20):
            rig.listen("john", name=f"s{number}")

        error = self.assertRaises(ApiError, rig.listen, "john")
        self.assertEqual((error.status, error.headers), (429, {"Retry-After": "60"}))
        self.assertIn("close some", error.detail)
        for _ in range(5):
            rig.listen("mary")
        self.assertEqual(self.assertRaises(ApiError, rig.listen, "eve").status, 429)

    def test_observer_sees_each_new_message_once(self) -> None:
        """Web Push hears of new texts without any listener, and not of their ticks."""
        rig = Rig()
        seen: list[str] = []
        rig.hub.observe(lambda record: seen.append(record.message_id))

        message_id = rig.memory.add(status=Status.QUEUED)
        rig.run()
        rig.memory.settle(message_id, Status.SENT)
        rig.run()

        self.assertEqual(seen, [message_id])
        self.assertEqual(rig.memory.reads, 1)
