"""The conversations with a channel, fed with every order of answers and alarms."""

from __future__ import annotations

from typing import Any

import attrs
from automat import NoTransition
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.message import Outcome, Sent
from smsbridge.errors import Failure, PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.gateways.goip import codec, device_codec, exchange
from smsbridge.gateways.goip.exchange import (
    Exchanges,
    Request,
    Sending,
    read_control,
    read_promise,
    read_ussd,
)

ADDRESS = ("192.0.2.10", 10991)
NUMBER = "+12025550123"


@attrs.define(eq=False)
class FakeChannel:
    """A channel that keeps what is written to it."""

    address: tuple[str, int] | None = ADDRESS
    password: str = "not-a-secret"
    written: list[bytes] = attrs.field(factory=list)

    def write(self, datagram: bytes) -> None:
        """Keep a datagram."""
        self.written.append(datagram)

    def verbs(self) -> list[str]:
        """Return the first words of what was written."""
        return [datagram.split(b" ")[0].decode() for datagram in self.written]


class Table:
    """Exchanges with one channel and a clock."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.ids = iter(range(100, 10**6))
        self.exchanges = Exchanges(self.clock, lambda bits: next(self.ids))
        self.channel = FakeChannel()
        self.outcomes: list[Outcome] = []
        self.amended: list[Outcome] = []
        self.answers: list[str | Failure] = []

    def begin(self, **changes: Any) -> Sending:
        """Begin to send a text."""
        options: dict[str, Any] = {
            "one_shot": False,
            "resend": False,
            "answer_timeout_s": 5.0,
            "send_timeout_s": 60.0,
            **changes,
        }
        sending = Sending(
            self.exchanges,
            self.channel,
            NUMBER,
            "hello",
            self.outcomes.append,
            self.amended.append,
            **options,
        )
        sending.begin()
        return sending

    def ask(self, read: Any = read_control, **changes: Any) -> Request:
        """Begin a request."""
        options: dict[str, Any] = {
            "tries": 3,
            "repeat_after_s": 5.0,
            "timeout_s": 15.0,
            "unanswered": TemporaryFailure("peer-down"),
            **changes,
        }
        request = Request(
            exchanges=self.exchanges,
            channel=self.channel,
            sendid=self.exchanges.new_sendid(),
            datagram=b"get_imei 1 x",
            read=read,
            settled=self.answers.append,
            **options,
        )
        request.begin()
        return request

    def say(self, event: Any) -> bool:
        """Let the device say something."""
        return self.exchanges.answer(event, ADDRESS)

    def run(self, seconds: float, step_s: float = 0.25) -> None:
        """Let time pass."""
        until = self.clock.seconds() + seconds
        while self.clock.seconds() < until - 1e-9:
            self.clock.advance(min(step_s, until - self.clock.seconds()))
            self.exchanges.sweep(self.clock.seconds())


#: Everything that a device may say in a session, from its sendid.
SAYINGS = {
    "password": codec.PasswordAsked,
    "send": codec.SendAsked,
    "wait": lambda sendid: codec.Wait(sendid, 1),
    "ok": lambda sendid: codec.Ok(sendid, 1, 9),
    "old ok": lambda sendid: codec.Ok(sendid, 1, None),
    "failed": lambda sendid: codec.SendError(sendid, 1, "errorstatus:28", 28),
    "logout": lambda sendid: codec.SendError(sendid, None, "GSM_LOGOUT", None),
    "wrong password": lambda sendid: codec.SendError(sendid, None, "PASSWORD", None),
    "lost": lambda sendid: codec.SendError(sendid, None, "SENDID", None),
    "busy": lambda sendid: codec.SendError(sendid, None, "too many", None),
    "done": codec.Done,
    "other text": lambda sendid: codec.Ok(sendid, 2, 9),
}

happenings = st.lists(st.sampled_from([*SAYINGS, "1 s", "6 s", "20 s", "abandon"]), max_size=25)


class SendingTests(SynchronousTestCase):
    """One text on its way, whatever the device says and when."""

    def check(self, story: list[str], *, one_shot: bool, resend: bool) -> None:
        """Tell a story and check what must hold in all of them."""
        table = Table()
        sending = table.begin(one_shot=one_shot, resend=resend)
        for happening in story:
            if happening in SAYINGS:
                table.say(SAYINGS[happening](sending.sendid))
            elif happening == "abandon":
                table.exchanges.abandon(table.channel)
            else:
                table.run(float(happening.split(" ")[0]))
        table.run(300, step_s=4.0)

        self.assertEqual(len(table.outcomes), 1, "settled once")
        self.assertTrue(sending.over)
        self.assertEqual(len(table.exchanges), 0)
        self.assertEqual(sending.wake_at_s < float("inf"), True)
        (outcome,) = table.outcomes
        handed_over = table.channel.verbs().count("SMS" if one_shot else "SEND")
        lost = 1 if not one_shot and "lost" in story else 0
        self.assertLessEqual(handed_over, (2 if resend else 1) + lost)
        if isinstance(outcome, Sent | UnknownOutcome):
            self.assertGreaterEqual(handed_over, 1)
        if not handed_over:
            self.assertIsInstance(outcome, TemporaryFailure)
        self.assertLessEqual(len(table.amended), 1)
        if table.amended:
            self.assertIsInstance(outcome, UnknownOutcome)
        for datagram in table.channel.written:
            device_codec.decode(datagram)

    @given(happenings)
    def test_every_story_of_a_bulk_session_ends_well(self, story: list[str]) -> None:
        """One outcome, at most one SEND, nothing left behind."""
        self.check(story, one_shot=False, resend=False)

    @given(happenings)
    def test_every_story_with_a_second_send_ends_well(self, story: list[str]) -> None:
        """With `resend` a second SEND at most, for each session."""
        table_lost = "lost" in story
        if table_lost:
            story = [each for each in story if each != "lost"]
        self.check(story, one_shot=False, resend=True)

    @given(happenings)
    def test_every_story_of_a_one_shot_text_ends_well(self, story: list[str]) -> None:
        """The same without a session."""
        self.check(story, one_shot=True, resend=False)
        self.check(story, one_shot=True, resend=True)

    def test_refusal_after_a_second_send_proves_nothing(self) -> None:
        """It may be the answer to the second copy while the first is on its way."""
        for word in ("GSM_LOGOUT", "SENDID", "PASSWORD", "too many"):
            table = Table()
            sending = table.begin(resend=True)
            table.say(codec.PasswordAsked(sending.sendid))
            table.say(codec.SendAsked(sending.sendid))
            table.run(11)
            self.assertEqual(table.channel.verbs().count("SEND"), 2)

            table.say(codec.SendError(sending.sendid, None, word, None))
            self.assertEqual(table.outcomes, [])
            table.say(codec.Ok(sending.sendid, 1, 5))

            self.assertEqual(table.outcomes, [Sent("5")])

    def test_refusal_after_wait_proves_nothing(self) -> None:
        """The device has the text in its queue; only a word about the text itself counts."""
        table = Table()
        sending = table.begin()
        for event in (codec.PasswordAsked, codec.SendAsked):
            table.say(event(sending.sendid))
        table.say(codec.Wait(sending.sendid, 1))

        table.say(codec.SendError(sending.sendid, None, "GSM_LOGOUT", None))
        self.assertEqual(table.outcomes, [])
        table.run(61)

        self.assertIsInstance(table.outcomes[0], UnknownOutcome)

    def test_lost_session_gets_another_sendid(self) -> None:
        """So that a late answer to the old one is not taken for the new one's."""
        table = Table()
        sending = table.begin()
        old = sending.sendid
        table.say(codec.PasswordAsked(old))

        table.say(codec.SendError(old, None, "SENDID", None))

        self.assertNotEqual(sending.sendid, old)
        self.assertFalse(table.say(codec.SendAsked(old)))
        self.assertTrue(table.say(codec.PasswordAsked(sending.sendid)))

    def test_the_whole_may_not_take_longer_than_allowed(self) -> None:
        """However often the steps are repeated."""
        table = Table()
        table.begin(send_timeout_s=12.0)

        table.run(12.5)

        self.assertIsInstance(table.outcomes[0], TemporaryFailure)

    def test_alarms_cost_little(self) -> None:
        """A text that goes well enters the heap once."""
        table = Table()
        for _ in range(100):
            sending = table.begin()
            for name in ("password", "send", "wait", "ok", "done"):
                table.say(SAYINGS[name](sending.sendid))

        self.assertEqual(len(table.outcomes), 100)
        self.assertEqual(len(table.exchanges), 0)
        self.assertLessEqual(len(table.exchanges._alarms), 100)
        table.run(10)
        self.assertEqual(len(table.exchanges._alarms), 0)


class TransitionTests(SynchronousTestCase):
    """How the machines find their transitions."""

    def test_the_table_says_what_a_search_says(self) -> None:
        """Every state answers every input as Automat itself would; what is unknown is refused."""
        for machine in (exchange._bulk, exchange._one_shot):
            automaton: Any = machine.__automat_automaton__  # type: ignore[attr-defined]
            searched = type(automaton).outputForInput
            for state, symbol, following, _ in automaton.allTransitions():
                found = automaton.outputForInput(state, symbol)
                self.assertEqual(found, searched(automaton, state, symbol))
                self.assertIs(found[0], following)
                self.assertIs(automaton.outputForInput(state, symbol), found)  # no search
            with self.assertRaises(NoTransition):
                automaton.outputForInput(state, "no such input")


class RequestTests(SynchronousTestCase):
    """Commands with one answer."""

    def test_repeats_and_gives_up(self) -> None:
        """Three copies, five seconds apart, then a temporary failure."""
        table = Table()
        request = table.ask()

        table.run(16)

        self.assertEqual(len(table.channel.written), 3)
        self.assertIsInstance(table.answers[0], TemporaryFailure)
        self.assertTrue(request.over)
        self.assertEqual(len(table.exchanges), 0)

    def test_waits_for_the_end_after_the_last_copy(self) -> None:
        """A slow answer within the whole time still counts."""
        table = Table()
        request = table.ask(tries=1, timeout_s=60.0)

        table.run(30)
        self.assertEqual(len(table.channel.written), 1)
        table.say(codec.ControlAnswer("get_imei", request.sendid, "1"))

        self.assertEqual(table.answers, ["1"])

    def test_promise_is_kept_by_a_push(self) -> None:
        """The first answer only says that the second will come."""
        table = Table()
        request = table.ask(read_promise)
        table.say(codec.ControlAnswer("get_cells_list", request.sendid, "ok"))
        self.assertEqual(table.answers, [])

        request.fulfil("689 638")

        self.assertEqual(table.answers, ["689 638"])

    def test_session_of_call_forwarding_is_closed(self) -> None:
        """The vendor's document asks for DONE after CF."""
        table = Table()
        request = table.ask(closes_session=True)

        table.say(codec.ServiceAnswer(request.sendid, "CF", "OK", None, ""))

        self.assertEqual(table.answers, ["ok"])
        self.assertEqual(table.channel.verbs(), ["get_imei", "DONE"])

    def test_abandoned_request_fails(self) -> None:
        """Nobody is left waiting."""
        table = Table()
        table.ask()

        table.exchanges.abandon()

        self.assertIsInstance(table.answers[0], TemporaryFailure)

    def test_answers_are_read(self) -> None:
        """Every kind of answer has one meaning."""
        cases: list[tuple[Any, Any, Any]] = [
            (read_control, codec.ControlAnswer("get_imei", 1, ""), "ok"),
            (read_control, codec.GsmReply(1, {"imei": "86", "x": "y"}), "imei: 86\nx: y"),
            (read_control, codec.ServiceAnswer(1, "CW", "STATE", True, ""), "on"),
            (read_control, codec.ServiceAnswer(1, "CF", "STATE", True, NUMBER), f"on {NUMBER}"),
            (read_control, codec.ServiceAnswer(1, "CF", "STATE", None, ""), "unknown"),
            (read_control, codec.ServiceAnswer(1, "CF", "ERROR", None, ""), PermanentFailure),
            (read_control, codec.SendError(1, None, "no", None), PermanentFailure),
            (read_control, codec.SendError(1, None, "PASSWORD", None), TemporaryFailure),
            (read_control, codec.SendError(1, None, "GSM_LOGOUT", None), TemporaryFailure),
            (read_promise, codec.ControlAnswer("get_cells_list", 1, "ok"), None),
            (read_promise, codec.SendError(1, None, "no", None), PermanentFailure),
            (read_ussd, codec.UssdAnswer(1, "10.00"), "10.00"),
            (read_ussd, codec.UssdError(1, "busy"), PermanentFailure),
            (read_ussd, codec.UssdError(1, "PASSWORD"), TemporaryFailure),
            (read_ussd, codec.UssdExit(1), PermanentFailure),
            (read_ussd, codec.SendError(1, None, "no", None), PermanentFailure),
        ]
        for read, event, expected in cases:
            meaning = read(event)
            if isinstance(expected, type):
                self.assertIs(type(meaning), expected, event)
            else:
                self.assertEqual(meaning, expected, event)


class ExchangesTests(SynchronousTestCase):
    """Finding the conversation that an answer belongs to."""

    def test_only_the_channels_address_may_answer(self) -> None:
        """Anything else is a stray."""
        table = Table()
        sending = table.begin()

        self.assertFalse(
            table.exchanges.answer(codec.PasswordAsked(sending.sendid), ("203.0.113.7", 1))
        )
        self.assertFalse(table.exchanges.answer(codec.PasswordAsked(5), ADDRESS))
        self.assertEqual(table.exchanges.strays, 2)
        self.assertEqual(table.channel.verbs(), ["MSG"])

    def test_sendids_in_use_and_zero_are_not_taken(self) -> None:
        """Every live conversation has its own."""
        clock = Clock()
        numbers = iter([7, 7, 0, 8])
        exchanges = Exchanges(clock, lambda bits: next(numbers))
        sending = Sending(
            exchanges,
            FakeChannel(),
            NUMBER,
            "x",
            lambda outcome: None,
            lambda outcome: None,
            one_shot=False,
            resend=False,
            answer_timeout_s=5,
            send_timeout_s=60,
        )
        sending.begin()

        self.assertEqual((sending.sendid, exchanges.new_sendid()), (7, 8))
