"""One simulated channel, driven datagram by datagram with a clock of the test's."""

from __future__ import annotations

import random
from typing import Any

import attrs
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.simulator import parts
from smsbridge.gateways.goip.simulator.channel import Channel, Gsm, PendingPush
from smsbridge.gateways.goip.simulator.journal import Lost, SendFailed
from smsbridge.gateways.goip.simulator.settings import (
    INSTANT,
    PROFILES,
    LineSettings,
    Profile,
    Span,
    Timing,
)
from tests.gateways.goip.test_codec import many

SERVER = ("127.0.0.1", 44444)
OTHER = ("127.0.0.1", 50000)
NUMBER = "+12025550123"
EAGER = Profile(wait_share=1.0)
SILENT = attrs.evolve(INSTANT, keepalive_s=0)


class Rig:
    """A channel with everything that it sends in a list."""

    def __init__(self, *, power: bool = True, start_s: float = 1_700_000_000, **options: Any):
        self.clock = Clock()
        self.clock.rightNow = start_s
        self.sent: list[tuple[bytes, tuple[str, int]]] = []
        options.setdefault("timing", SILENT)
        options.setdefault("profile", EAGER)
        options.setdefault("delivery_reports", False)
        self.channel = Channel(
            self.clock,
            lambda datagram, addr: self.sent.append((datagram, addr)),
            LineSettings(id="goip01", password="secret1", num="+12025550100"),
            SERVER,
            rng=random.Random(1),
            **options,
        )
        if power:
            self.channel.power_on()
            self.take()

    @property
    def journal(self) -> Any:
        """The channel's journal."""
        return self.channel.journal

    def take(self) -> list[bytes]:
        """Return what was sent since the last call."""
        sent, self.sent = [datagram for datagram, _ in self.sent], []
        return sent

    def events(self) -> list[codec.Event]:
        """Return what was sent since the last call, as our side reads it."""
        return [codec.decode(datagram) for datagram in self.take()]

    def say(self, datagram: bytes, addr: tuple[str, int] = OTHER) -> list[bytes]:
        """Let a server say something; returns what the channel sends at once."""
        self.channel.datagram_received(datagram, addr)
        return self.take()

    def ready(self, sendid: int = 4711, text: str = "hello") -> None:
        """Bring a bulk session to where numbers are wanted."""
        self.say(codec.encode_msg(sendid, text))
        assert self.say(codec.encode_password(sendid, "secret1")) == [b"SEND %d\n" % sendid]


class PowerTests(SynchronousTestCase):
    """A channel starts, registers, loses its network, and restarts."""

    def test_first_keepalive_tells_no_network(self) -> None:
        """A channel reports at once, before it has found a network."""
        rig = Rig(power=False, timing=Timing(gsm_init=Span(10)))

        rig.channel.power_on()

        (event,) = rig.events()
        assert isinstance(event, codec.Keepalive)
        self.assertEqual((event.number, event.id, event.password), (1, "goip01", "secret1"))
        self.assertFalse(event.gsm_login)
        self.assertIsNone(event.signal)
        self.assertIs(event.sms_login, False)

    def test_keepalives_every_thirty_seconds(self) -> None:
        """The counter rises by one each time, and the network shows once it is found."""
        rig = Rig(power=False, timing=Timing(gsm_init=Span(10)))
        rig.channel.power_on()
        rig.take()

        rig.clock.advance(29.9)
        self.assertEqual(rig.take(), [])
        rig.clock.advance(0.1)

        (event,) = rig.events()
        assert isinstance(event, codec.Keepalive)
        self.assertEqual(event.number, 2)
        self.assertTrue(event.gsm_login)
        self.assertEqual((event.signal, event.carrier), (21, "Testnet"))
        self.assertEqual(event.iccid, "8901000000000000001")

    def test_keepalive_generations(self) -> None:
        """Old firmware tells less."""
        for name, last, absent in (("v1", "voip_status", "pro"), ("v2", "pro", "SMS_LOGIN")):
            rig = Rig(power=False, profile=PROFILES[name])
            rig.channel.power_on()
            (event,) = rig.events()
            assert isinstance(event, codec.Keepalive)
            self.assertIn(last, event.fields)
            self.assertNotIn(absent, event.fields)

    def test_registered_by_a_valid_answer_only(self) -> None:
        """200 and 0 for a number that was sent register; refusals, req: and others do not."""
        for datagram in (b"reg:1;status:404;", b"req:1;status:200;", b"reg:9;status:200;", b"reg:"):
            rig = Rig()
            rig.say(datagram)
            self.assertFalse(rig.channel.registered, datagram)
        for datagram in (b"reg:1;status:200;", b"reg:1;status:0;", b"reg:1;status:200\n"):
            rig = Rig()
            rig.say(datagram)
            self.assertTrue(rig.channel.registered, datagram)

    def test_unanswered_keepalives_end_the_registration(self) -> None:
        """After three keepalives without an answer the device says N again."""
        rig = Rig(timing=attrs.evolve(INSTANT, keepalive_s=30))
        rig.say(b"reg:1;status:200;")

        rig.clock.pump([30] * 3)
        self.assertTrue(rig.channel.registered)
        rig.clock.advance(30)

        self.assertFalse(rig.channel.registered)
        last = rig.events()[-1]
        assert isinstance(last, codec.Keepalive)
        self.assertIs(last.sms_login, False)

    def test_reboot_forgets_everything(self) -> None:
        """After a reboot counters start again, sessions are unknown, pushes are gone."""
        rig = Rig()
        rig.ready()
        rig.channel.receive_sms(NUMBER, "x")
        rig.take()

        rig.channel.reboot(60)
        rig.clock.advance(59)
        self.assertEqual(rig.say(b"SEND 4711 1 " + NUMBER.encode()), [])
        self.assertEqual(rig.take(), [])
        rig.clock.advance(1)

        (event,) = rig.events()
        assert isinstance(event, codec.Keepalive)
        self.assertEqual(event.number, 1)
        self.assertEqual(rig.say(b"SEND 4711 1 5\n"), [b"ERROR 4711 SENDID\n"])
        self.assertEqual(rig.channel.outstanding, {})

    def test_reboot_during_a_send_radiates_nothing(self) -> None:
        """Power lost before the module was done: no text in the air, no answer."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3)))
        rig.ready()
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"WAIT 4711 1\n"])

        rig.channel.reboot(1)
        rig.clock.advance(10)

        self.assertEqual(rig.journal.radiated_count, 0)
        self.assertNotIn(b"OK", b"".join(rig.take()))

    def test_module_reboot_keeps_the_server_side(self) -> None:
        """The network goes for some seconds, and what the module did fails."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3), reboot_module=Span(20)))
        rig.ready()
        rig.say(codec.encode_send(4711, 1, NUMBER))

        answers = rig.say(codec.encode_control("svr_reboot_module", 9, "secret1"))

        self.assertEqual(answers, [b"svr_reboot_module 9 ok", b"ERROR 4711 1 errorstatus:500\n"])
        self.assertIs(rig.channel.gsm, Gsm.LOGOUT)
        rig.clock.advance(20)
        self.assertIs(rig.channel.gsm, Gsm.LOGIN)

    def test_power_off_leaves_no_timer(self) -> None:
        """A channel that is off has nothing pending on the clock."""
        rig = Rig(timing=Timing())
        rig.channel.receive_sms(NUMBER, "x")
        rig.channel.call_in(NUMBER)

        rig.channel.power_off()

        self.assertEqual(rig.clock.getDelayedCalls(), [])

    def test_other_sim_shows_in_the_keepalive(self) -> None:
        """A changed SIM has another imsi and iccid."""
        rig = Rig()
        rig.channel.swap_sim("310150000000009", "8901000000000000009", "+12025550109")
        rig.channel.announce()

        event = rig.events()[-1]
        assert isinstance(event, codec.Keepalive)
        self.assertEqual((event.imsi, event.num), ("310150000000009", "+12025550109"))


class PushTests(SynchronousTestCase):
    """Pushes are numbered downwards, repeated until acknowledged, and lost in the end."""

    def test_numbers_count_down_from_the_clock(self) -> None:
        """All kinds share one counter, which starts at the time of day."""
        rig = Rig()
        rig.channel.receive_sms(NUMBER, "a")
        rig.channel.push_ussd("b")
        rig.channel.receive_sms("ACME", "c")

        events = rig.events()

        self.assertEqual(
            events,
            [
                codec.Received(1700000000, "goip01", "secret1", NUMBER, "", "a"),
                codec.UssdPush(1699999999, "goip01", "secret1", "b"),
                codec.Received(1699999998, "goip01", "secret1", "ACME", "", "c"),
            ],
        )

    def test_epoch_clock_repeats_numbers_after_a_reboot(self) -> None:
        """A device without a set clock numbers again from the same small value."""
        rig = Rig(recvid_clock="epoch")
        (first,) = rig.channel.receive_sms(NUMBER, "a")
        rig.channel.reboot(1)
        rig.clock.advance(1)
        (second,) = rig.channel.receive_sms(NUMBER, "b")

        self.assertEqual((first.recvid, second.recvid), (446, 446))

    def test_negative_numbers(self) -> None:
        """The counter passes zero."""
        rig = Rig(first_recvid=0)
        numbers = [rig.channel.receive_sms(NUMBER, "a")[0].recvid for _ in range(3)]
        self.assertEqual(numbers, [0, -1, -2])
        rig.take()
        self.assertEqual(rig.say(b"RECEIVE -1 OK\n"), [])
        self.assertEqual(sorted(rig.channel.outstanding), [-2, 0])

    def test_repeated_three_times_then_lost(self) -> None:
        """Four identical datagrams three seconds apart, then the device gives up."""
        rig = Rig()
        outcomes: list[str] = []

        def settled(push: PendingPush, outcome: str) -> None:
            outcomes.append(outcome)

        rig.channel.receive_sms(NUMBER, "a", on_settled=settled)
        for _ in range(3):
            rig.clock.advance(2.9)
            rig.clock.advance(0.1)
        sent = rig.take()
        self.assertEqual(len(sent), 4)
        self.assertEqual(len(set(sent)), 1)
        self.assertEqual(outcomes, [])

        rig.clock.advance(3)
        rig.clock.advance(30)

        self.assertEqual(rig.take(), [])
        self.assertEqual(outcomes, ["lost"])
        (lost,) = rig.journal.lost
        self.assertEqual(lost, Lost("goip01", "RECEIVE", 1700000000, sent[0]))
        self.assertEqual((rig.journal.pushed, rig.journal.repeated), (1, 3))

    def test_each_push_has_its_own_three_seconds(self) -> None:
        """Pushes sent at different times are repeated each in its time."""
        rig = Rig()
        rig.channel.receive_sms(NUMBER, "a")
        rig.clock.advance(1)
        rig.channel.receive_sms(NUMBER, "b")
        rig.take()

        texts = []
        for _ in range(8):
            rig.clock.advance(1)
            texts.append([event.text for event in rig.events()])  # type: ignore[union-attr]

        self.assertEqual(texts, [[], ["a"], ["b"], [], ["a"], ["b"], [], ["a"]])

    def test_ack_ends_the_repetition(self) -> None:
        """OK from any address, with or without a line end, is an ack."""
        for ack in (
            b"RECEIVE 1700000000 OK",
            b"RECEIVE 1700000000 OK\r\n",
            b"RECEIVE 1700000000 OK ",
        ):
            rig = Rig()
            rig.channel.receive_sms(NUMBER, "a")
            rig.take()
            rig.say(ack, OTHER)
            rig.clock.advance(30)
            self.assertEqual(rig.take(), [])
            self.assertEqual((rig.journal.accepted, rig.journal.lost_count), (1, 0))

    def test_what_is_no_ack(self) -> None:
        """Another verb, another number and goippy's dialect do not end the repetition."""
        for datagram in (
            b"STATE 1700000000 OK",
            b"RECEIVE 1700000001 OK",
            b"RECEIVEOK:1700000000;id:goip01;status:0;",
            b"RECEIVE OK",
            b"RECEIVE",
        ):
            rig = Rig()
            rig.channel.receive_sms(NUMBER, "a")
            rig.take()
            rig.say(datagram)
            rig.clock.advance(3)
            self.assertEqual(len(rig.take()), 1, datagram)

    def test_lenient_profile_takes_goippys_ack(self) -> None:
        """A client made for goippy understands RECEIVEOK."""
        rig = Rig(profile=attrs.evolve(EAGER, lenient_ack=True))
        rig.channel.receive_sms(NUMBER, "a")
        rig.say(b"RECEIVEOK:1700000000;id:goip01;status:0;")
        self.assertEqual(rig.journal.accepted, 1)

    def test_refusal_ends_the_repetition(self) -> None:
        """ERROR is an answer too, and not counted as accepted."""
        rig = Rig()
        rig.channel.receive_sms(NUMBER, "a")
        rig.take()
        rig.say(codec.encode_refusal("RECEIVE", 1700000000, "goip01"))
        rig.clock.advance(30)
        self.assertEqual(rig.take(), [])
        self.assertEqual((rig.journal.accepted, rig.journal.refused), (0, 1))

    def test_disable_stops_that_kind(self) -> None:
        """After DISABLE no more reports of the kind come; texts cannot be disabled."""
        rig = Rig()
        rig.channel.push_cell_info()
        rig.channel.receive_sms(NUMBER, "a")
        rig.say(codec.encode_disable("CELLINFO", 1700000000))
        rig.say(codec.encode_disable("RECEIVE", 1699999999))

        self.assertIsNone(rig.channel.push_cell_info())
        self.assertEqual(len(rig.channel.receive_sms(NUMBER, "b")), 1)

    def test_serial_mode_holds_the_next_back(self) -> None:
        """A serial device pushes one report at a time."""
        rig = Rig(profile=attrs.evolve(EAGER, serial_pushes=True))
        rig.channel.receive_sms(NUMBER, "a")
        rig.channel.receive_sms(NUMBER, "b")
        self.assertEqual(len(rig.take()), 1)

        (datagram,) = rig.say(b"RECEIVE 1700000000 OK")

        self.assertTrue(datagram.endswith(b"msg:b"))

    def test_deaf_device_repeats_despite_acks(self) -> None:
        """With the switch no_acks every ack is as good as lost."""
        rig = Rig()
        rig.channel.switches.no_acks = True
        rig.channel.receive_sms(NUMBER, "a")
        rig.say(b"RECEIVE 1700000000 OK")
        rig.clock.pump([3] * 5)
        self.assertEqual((rig.journal.repeated, rig.journal.lost_count), (3, 1))

    def test_text_without_network_waits(self) -> None:
        """The network keeps a text until the SIM is there."""
        rig = Rig()
        rig.channel.log_out()
        self.assertEqual(rig.channel.receive_sms(NUMBER, "a"), [])
        self.assertEqual(rig.take(), [])

        rig.channel.log_in()

        self.assertEqual([event.text for event in rig.events()], ["a"])  # type: ignore[union-attr]

    def test_long_text_whole_or_in_parts(self) -> None:
        """New firmware joins parts, old firmware pushes each with a number of its own."""
        text = "x" * 161 + "y" * 160
        whole, pieces = Rig(), Rig(profile=PROFILES["v1"])
        whole.channel.receive_sms(NUMBER, text)
        pieces.channel.receive_sms(NUMBER, text)

        self.assertEqual([e.text for e in whole.events()], [text])  # type: ignore[union-attr]
        events = pieces.events()
        self.assertEqual("".join(e.text for e in events), text)  # type: ignore[union-attr]
        self.assertEqual(len({e.recvid for e in events}), 3)  # type: ignore[union-attr]

    def test_missing_part(self) -> None:
        """A part that never came shows as the firmware's mark."""
        rig = Rig()
        rig.channel.switches.missing_part = 1
        rig.channel.receive_sms(NUMBER, "x" * 153 + "y" * 20)
        rig.channel.receive_sms(NUMBER, "z" * 170)

        first, second = rig.events()
        self.assertEqual(first.text, " [SMS1 missed] " + "y" * 20)  # type: ignore[union-attr]
        self.assertEqual(second.text, "z" * 170)  # type: ignore[union-attr]

    def test_parts_may_take_their_time(self) -> None:
        """Separate parts arrive with gaps between them."""
        rig = Rig(profile=PROFILES["v1"], timing=attrs.evolve(SILENT, part_gap=Span(20)))
        rig.channel.receive_sms(NUMBER, "x" * 200)
        rig.say(b"RECEIVE 1700000000 OK")
        self.assertEqual(rig.take(), [])
        rig.clock.advance(20)
        self.assertEqual([e.text for e in rig.events()], ["x" * 47])  # type: ignore[union-attr]

    def test_invalid_utf8(self) -> None:
        """With the switch on, texts carry bytes that are not UTF-8."""
        rig = Rig()
        rig.channel.switches.invalid_utf8 = True
        rig.channel.receive_sms(NUMBER, "ab")
        self.assertTrue(rig.take()[0].endswith(b"msg:a\xff\xfeb"))

    def test_raw_bytes_and_long_texts_pass(self) -> None:
        """Three thousand bytes go out as they are."""
        rig = Rig()
        rig.channel.receive_sms(NUMBER, b"\xff" * 3000)
        self.assertTrue(rig.take()[0].endswith(b"msg:" + b"\xff" * 3000))

    def test_smsc_option(self) -> None:
        """With the option on, the number of the SMS center is told."""
        rig = Rig(profile=attrs.evolve(EAGER, sends_smsc=True))
        rig.channel.receive_sms(NUMBER, "a")
        (event,) = rig.events()
        assert isinstance(event, codec.Received)
        self.assertEqual(event.smsc, "+12025550199")

    def test_ring_keeps_five(self) -> None:
        """The device's own page shows the last five texts."""
        rig = Rig()
        for number in range(7):
            rig.channel.receive_sms(NUMBER, str(number))
        self.assertEqual([text for _, text in rig.channel.ring], ["2", "3", "4", "5", "6"])


class BulkTests(SynchronousTestCase):
    """Bulk sessions follow the vendor's table."""

    def test_whole_session(self) -> None:
        """MSG, PASSWORD, SEND, WAIT, OK, DONE, and the text is in the air once."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3)))

        self.assertEqual(rig.say(codec.encode_msg(4711, "Hi; a:b\n")), [b"PASSWORD 4711\n"])
        self.assertEqual(rig.say(codec.encode_password(4711, "secret1")), [b"SEND 4711\n"])
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"WAIT 4711 1\n"])
        rig.clock.advance(3)
        self.assertEqual(rig.take(), [b"OK 4711 1 1\n"])
        self.assertEqual(rig.say(codec.encode_done(4711)), [b"DONE 4711\n"])

        (radiated,) = rig.journal.radiated
        self.assertEqual(
            (radiated.line, radiated.num, radiated.text, radiated.parts, radiated.sms_no),
            ("goip01", NUMBER, "Hi; a:b\n", 1, 1),
        )
        self.assertEqual(radiated.at_s - radiated.asked_at_s, 3)

    def test_answers_go_to_the_sender(self) -> None:
        """The device answers whoever asked, and pushes to its server."""
        rig = Rig()
        rig.channel.datagram_received(codec.encode_msg(1, "x"), OTHER)
        rig.channel.receive_sms(NUMBER, "x")
        self.assertEqual([addr for _, addr in rig.sent], [OTHER, SERVER])

    def test_old_profile_has_no_sms_no(self) -> None:
        """Old firmware ends its OK with a blank."""
        rig = Rig(profile=attrs.evolve(PROFILES["v1"], wait_share=0.0))
        rig.ready()
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"OK 4711 1 \n"])

    def test_repeated_steps_repeat_the_question(self) -> None:
        """A server that missed an answer gets it again."""
        rig = Rig()
        self.assertEqual(rig.say(codec.encode_msg(1, "x")), [b"PASSWORD 1\n"])
        self.assertEqual(rig.say(codec.encode_msg(1, "x")), [b"PASSWORD 1\n"])
        self.assertEqual(rig.say(codec.encode_password(1, "secret1")), [b"SEND 1\n"])
        self.assertEqual(rig.say(codec.encode_password(1, "secret1")), [b"SEND 1\n"])
        self.assertEqual(rig.say(codec.encode_msg(1, "x")), [b"SEND 1\n"])

    def test_wrong_password(self) -> None:
        """The session stays and waits for the right one."""
        rig = Rig()
        rig.say(codec.encode_msg(1, "x"))
        self.assertEqual(rig.say(codec.encode_password(1, "wrong")), [b"ERROR 1 PASSWORD\n"])
        self.assertEqual(rig.say(codec.encode_send(1, 1, NUMBER)), [b"PASSWORD 1\n"])
        self.assertEqual(rig.say(codec.encode_password(1, "secret1")), [b"SEND 1\n"])

    def test_unknown_session(self) -> None:
        """PASSWORD and SEND want a session; DONE does not."""
        rig = Rig()
        self.assertEqual(rig.say(codec.encode_password(1, "secret1")), [b"ERROR 1 SENDID\n"])
        self.assertEqual(rig.say(codec.encode_send(1, 1, NUMBER)), [b"ERROR 1 SENDID\n"])
        self.assertEqual(rig.say(codec.encode_done(1)), [b"DONE 1\n"])

    def test_at_most_five_sessions(self) -> None:
        """A sixth is refused until one is done or has expired."""
        rig = Rig()
        for sendid in range(5):
            rig.say(codec.encode_msg(sendid, "x"))
        self.assertEqual(rig.say(codec.encode_msg(5, "x")), [b"ERROR 5 too many sessions\n"])
        rig.say(codec.encode_done(0))
        self.assertEqual(rig.say(codec.encode_msg(5, "x")), [b"PASSWORD 5\n"])
        rig.clock.advance(90)
        self.assertEqual(rig.say(codec.encode_msg(6, "x")), [b"PASSWORD 6\n"])

    def test_session_expires_after_ninety_seconds(self) -> None:
        """The session is freed silently, counted from MSG."""
        rig = Rig()
        rig.ready()
        rig.clock.advance(90)
        self.assertEqual(rig.take(), [])
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"ERROR 4711 SENDID\n"])

    def test_no_network(self) -> None:
        """A channel without a network takes no number."""
        rig = Rig()
        rig.ready()
        rig.channel.log_out()
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"ERROR 4711 GSM_LOGOUT\n"])
        self.assertEqual(rig.journal.radiated_count, 0)

    def test_repeated_send_tells_the_status(self) -> None:
        """A careful device sends once, and repeats WAIT or OK."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3)))
        rig.ready()
        rig.say(codec.encode_send(4711, 1, NUMBER))
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"WAIT 4711 1\n"])
        rig.clock.advance(3)
        rig.take()
        self.assertEqual(rig.say(codec.encode_send(4711, 1, NUMBER)), [b"OK 4711 1 1\n"])
        self.assertEqual((rig.journal.radiated_count, rig.journal.repeated_commands), (1, 2))
        self.assertEqual(rig.journal.duplicates(), [])

    def test_careless_device_sends_twice(self) -> None:
        """A device of the other kind sends again, and the journal shows it."""
        rig = Rig(profile=attrs.evolve(EAGER, resend_dup=True))
        rig.ready()
        rig.say(codec.encode_send(4711, 1, NUMBER))
        rig.say(codec.encode_send(4711, 1, NUMBER))
        self.assertEqual(rig.journal.duplicates(), [(NUMBER, "hello", 2)])

    def test_ten_telids_are_remembered(self) -> None:
        """An older one counts as new."""
        rig = Rig()
        rig.ready()
        for telid in range(11):
            rig.say(codec.encode_send(4711, telid, NUMBER))
        rig.say(codec.encode_send(4711, 1, NUMBER))
        self.assertEqual(rig.journal.radiated_count, 11)
        rig.say(codec.encode_send(4711, 0, NUMBER))
        self.assertEqual(rig.journal.radiated_count, 12)

    def test_one_text_at_a_time(self) -> None:
        """Sessions share the module: the second waits for the first."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3), part_s=2))
        rig.ready(1, "x" * 161)
        rig.ready(2, "b")
        rig.say(codec.encode_send(1, 1, NUMBER))
        rig.say(codec.encode_send(2, 1, NUMBER))
        rig.clock.advance(4.9)
        self.assertEqual(rig.take(), [])
        rig.clock.advance(0.1)
        self.assertEqual(rig.take(), [b"OK 1 1 1\n"])
        rig.clock.advance(3)
        self.assertEqual(rig.take(), [b"OK 2 1 2\n"])
        self.assertEqual([text.parts for text in rig.journal.radiated], [2, 1])

    def test_network_refusal(self) -> None:
        """A refused text has its errorstatus, and the next one passes again."""
        rig = Rig()
        seen: list[object] = []
        rig.journal.observers.append(seen.append)
        rig.ready()
        rig.channel.refuse_sends(NUMBER, 38, times=1)
        self.assertIn(b"ERROR 4711 1 errorstatus:38\n", rig.say(codec.encode_send(4711, 1, NUMBER)))
        self.assertIn(b"OK 4711 2 1\n", rig.say(codec.encode_send(4711, 2, NUMBER)))
        self.assertIn(SendFailed("goip01", NUMBER, 38), seen)

    def test_sms_no_wraps(self) -> None:
        """The counter runs from 0 to 255."""
        rig = Rig()
        rig.ready()
        for telid in range(256):
            rig.say(codec.encode_send(4711, telid, NUMBER))
        numbers = [radiated.sms_no for radiated in rig.journal.radiated]
        self.assertEqual(numbers[-2:], [255, 0])

    def test_delivery_report(self) -> None:
        """A report follows the OK and carries its number."""
        rig = Rig(timing=attrs.evolve(SILENT, delivery_report=Span(2)), delivery_reports=True)
        rig.ready()
        rig.say(codec.encode_send(4711, 1, NUMBER))
        rig.clock.advance(2)
        self.assertEqual(
            rig.events(), [codec.DeliveryReport(1700000000, "goip01", "secret1", 1, 0, NUMBER)]
        )

    def test_delivery_report_states_one_after_another(self) -> None:
        """An interim report may come before the final one; old firmware names no number."""
        rig = Rig(
            timing=attrs.evolve(SILENT, delivery_report=Span(2)),
            delivery_reports=True,
            profile=attrs.evolve(EAGER, report_has_num=False),
        )
        rig.channel.report_states = (33, 70)
        rig.ready()
        rig.say(codec.encode_send(4711, 1, NUMBER))
        rig.clock.pump([2, 2])
        states = [(e.state, e.num) for e in rig.events() if isinstance(e, codec.DeliveryReport)]
        self.assertEqual(states[:2], [(33, ""), (70, "")])

    def test_length_decides_or_not(self) -> None:
        """Profiles differ in whether MSG's length cuts the text."""
        for by_length, text in ((True, "ab"), (False, "abcd")):
            rig = Rig(profile=attrs.evolve(EAGER, cuts_by_length=by_length))
            rig.say(b"MSG 1 2 abcd\n")
            rig.say(codec.encode_password(1, "secret1"))
            rig.say(codec.encode_send(1, 1, NUMBER))
            self.assertEqual(rig.journal.radiated[0].text, text)

    def test_silent_device(self) -> None:
        """With the switch no_answers commands work, but nobody hears of it."""
        rig = Rig()
        rig.channel.switches.no_answers = True
        rig.say(codec.encode_msg(1, "x"))
        rig.say(codec.encode_password(1, "secret1"))
        self.assertEqual(rig.say(codec.encode_send(1, 1, NUMBER)), [])
        self.assertEqual(rig.journal.radiated_count, 1)

    def test_wait_may_be_left_out(self) -> None:
        """A fast module answers OK at once, sometimes."""
        rig = Rig(profile=attrs.evolve(EAGER, wait_share=0.5))
        rig.ready()
        lengths = {len(rig.say(codec.encode_send(4711, n, NUMBER))) for n in range(40)}
        self.assertEqual(lengths, {1, 2})


class OneShotTests(SynchronousTestCase):
    """A text in one datagram."""

    SMS = codec.encode_sms(4712, 1, "secret1", NUMBER, "Hello; it is 10:30")

    def test_sent(self) -> None:
        """WAIT, OK, and the text in the air."""
        rig = Rig()
        self.assertEqual(rig.say(self.SMS), [b"WAIT 4712 1\n", b"OK 4712 1 1\n"])
        self.assertEqual(rig.journal.radiated[0].text, "Hello; it is 10:30")

    def test_repeat_is_not_sent_again(self) -> None:
        """The same sendid and telid only repeat the status."""
        rig = Rig()
        rig.say(self.SMS)
        self.assertEqual(rig.say(self.SMS), [b"OK 4712 1 1\n"])
        self.assertEqual(rig.journal.radiated_count, 1)

    def test_refusals(self) -> None:
        """Wrong password and no network are told apart; old firmware says nothing."""
        rig = Rig()
        wrong = codec.encode_sms(4712, 1, "wrong", NUMBER, "x")
        self.assertEqual(rig.say(wrong), [b"ERROR 4712 PASSWORD\n"])
        rig.channel.log_out()
        self.assertEqual(rig.say(self.SMS), [b"ERROR 4712 GSM_LOGOUT\n"])
        self.assertEqual(Rig(profile=PROFILES["v1"]).say(self.SMS), [])

    def test_line_feed_is_text(self) -> None:
        """A device takes a trailing line feed as part of the text."""
        rig = Rig()
        rig.say(self.SMS + b"\n")
        self.assertEqual(rig.journal.radiated[0].text, "Hello; it is 10:30\n")


class UssdTests(SynchronousTestCase):
    """USSD codes, menus and failures."""

    def ask(self, rig: Rig, code: str, sendid: int = 4713) -> list[bytes]:
        """Send a code with the right password."""
        return rig.say(codec.encode_ussd(sendid, "secret1", code))

    def test_answer(self) -> None:
        """A known code has its answer, after a while."""
        rig = Rig(timing=attrs.evolve(SILENT, ussd=Span(4)))
        self.assertEqual(self.ask(rig, "*100#"), [])
        rig.clock.advance(4)
        self.assertEqual(rig.take(), [b"USSD 4713 Your balance is 10.00"])
        self.assertEqual([asked.code for asked in rig.journal.ussd], ["*100#"])

    def test_menu(self) -> None:
        """Choices belong to the open dialogue, with any sendid."""
        rig = Rig()
        self.assertIn(b"1) Balance", self.ask(rig, "*111#", 1)[0])
        self.assertIn(b"Choose an amount", self.ask(rig, "2", 2)[0])
        self.assertEqual(self.ask(rig, "1", 3), [b"USSD 3 Topped up by 5.00"])
        self.assertEqual(self.ask(rig, "1", 4), [b"USSDERROR 4 not recognized"])

    def test_leaving_a_menu(self) -> None:
        """USSDEXIT ends the dialogue; a code then starts a new one."""
        rig = Rig()
        self.ask(rig, "*111#", 1)
        self.assertEqual(rig.say(codec.encode_ussd_exit(2, "secret1")), [b"USSDEXIT 2"])
        self.assertEqual(self.ask(rig, "*100#", 3), [b"USSD 3 Your balance is 10.00"])
        self.assertEqual(rig.say(codec.encode_ussd_exit(2, "x")), [b"ERROR 2 PASSWORD\n"])

    def test_network_closes_an_idle_menu(self) -> None:
        """After a minute without a choice the device says so, unasked."""
        rig = Rig()
        self.ask(rig, "*111#", 1)
        rig.clock.advance(60)
        self.assertEqual(rig.take(), [b"USSDEXIT 1"])

    def test_failures(self) -> None:
        """Wrong password, no network and unknown codes are errors, in two syntaxes."""
        rig = Rig()
        self.assertEqual(rig.say(b"USSD 1 wrong *100#"), [b"USSDERROR 1 PASSWORD"])
        self.assertEqual(self.ask(rig, "*999#"), [b"USSDERROR 4713 not recognized"])
        rig.channel.log_out()
        self.assertEqual(self.ask(rig, "*100#"), [b"USSDERROR 4713 GSM_LOGOUT"])
        old = Rig(profile=PROFILES["v1"])
        self.assertEqual(self.ask(old, "*999#"), [b"USSD 4713 USSD send failed!"])
        self.assertEqual(self.ask(old, "*100#"), [b"USSD 4713 Your balance is 10.00@"])

    def test_line_feed_spoils_a_code(self) -> None:
        """A trailing line feed is part of the code, which nobody knows then."""
        rig = Rig()
        datagram = codec.encode_ussd(4713, "secret1", "*100#") + b"\n"
        self.assertEqual(rig.say(datagram), [b"USSDERROR 4713 not recognized"])

    def test_early_repeat_cancels(self) -> None:
        """A repeat while the answer is awaited breaks the dialogue."""
        rig = Rig(timing=attrs.evolve(SILENT, ussd=Span(4)))
        self.ask(rig, "*100#")
        self.assertEqual(self.ask(rig, "*100#"), [b"USSDERROR 4713 canceled"])
        rig.clock.advance(10)
        self.assertEqual(rig.take(), [])

    def test_patient_profile_ignores_a_repeat(self) -> None:
        """Other devices answer once."""
        rig = Rig(
            timing=attrs.evolve(SILENT, ussd=Span(4)),
            profile=attrs.evolve(EAGER, ussd_repeat_cancels=False),
        )
        self.ask(rig, "*100#")
        self.assertEqual(self.ask(rig, "*100#"), [])
        self.assertEqual(self.ask(rig, "*100#", 9), [b"USSDERROR 9 busy"])
        rig.clock.advance(4)
        self.assertEqual(rig.take(), [b"USSD 4713 Your balance is 10.00"])

    def test_shares_the_queue_with_texts(self) -> None:
        """USSD waits until the module is done with a text."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(3)))
        rig.say(OneShotTests.SMS)
        self.assertEqual(self.ask(rig, "*100#"), [])
        rig.clock.advance(3)
        self.assertEqual(rig.take(), [b"OK 4712 1 1\n", b"USSD 4713 Your balance is 10.00"])


class CallTests(SynchronousTestCase):
    """Calls show as a run of pushes."""

    def pushed(self, rig: Rig) -> list[tuple[str, str]]:
        """Return verb and value of what was pushed."""
        rows = []
        for datagram in rig.take():
            verb, _, rest = datagram.decode().partition(":")
            rows.append((verb, rest.split(";", 3)[3]))
            recvid = rest.partition(";")[0]
            rig.channel.datagram_received(f"{verb} {recvid} OK".encode(), SERVER)
        return rows

    def test_incoming_call(self) -> None:
        """The order is that of captured devices."""
        rig = Rig()
        rig.channel.call_in(NUMBER, ring_s=3, talk_s=42)
        rows = self.pushed(rig)
        rig.clock.advance(3)
        rows += self.pushed(rig)
        rig.clock.advance(42)
        rows += self.pushed(rig)
        self.assertEqual(
            rows,
            [
                ("STATE", f"gsm_remain_state:INCOMING:{NUMBER}"),
                ("RECORD", f"dir:1;num:{NUMBER}"),
                ("STATE", f"gsm_remain_state:CONNECTED:{NUMBER}"),
                ("EXPIRY", "exp:42"),
                ("STATE", "gsm_remain_state:IDLE"),
                ("HANGUP", "num:,cause:Normal call clearing"),
                ("REMAIN", "gsm_remain_time:-1"),
            ],
        )

    def test_missed_call(self) -> None:
        """Nobody answers: no duration is reported."""
        rig = Rig()
        rig.channel.call_in(NUMBER, ring_s=3, talk_s=0)
        self.pushed(rig)
        rig.clock.advance(3)
        self.assertEqual([verb for verb, _ in self.pushed(rig)], ["STATE", "HANGUP"])

    def test_outgoing_call_and_drop(self) -> None:
        """A call of the line rings first; svr_drop_call ends it."""
        rig = Rig()
        rig.channel.call_out(NUMBER, ring_s=4, talk_s=100)
        rig.channel.call_in(NUMBER)
        rows = self.pushed(rig)
        rig.clock.advance(2)
        rig.clock.advance(2)
        rows += self.pushed(rig)
        self.assertEqual(
            [value for verb, value in rows if verb == "STATE"],
            [
                f"gsm_remain_state:DIALING:{NUMBER}",
                f"gsm_remain_state:ALERTING:{NUMBER}",
                f"gsm_remain_state:CONNECTED:{NUMBER}",
            ],
        )
        rig.channel.datagram_received(codec.encode_control("svr_drop_call", 1, "secret1"), OTHER)
        self.assertEqual(rig.take()[0], b"svr_drop_call 1 ok")
        self.assertEqual(rig.channel.call_state, "IDLE")


class ControlTests(SynchronousTestCase):
    """Control commands are answered as the vendor's document says."""

    def test_values(self) -> None:
        """What is set is told."""
        rig = Rig()
        for command, value, answer in (
            ("get_gsm_num", None, "+12025550100"),
            ("set_gsm_num", "+12025550177", "+12025550177 ok"),
            ("get_gsm_num", None, "+12025550177"),
            ("set_exp_time", "30", "ok"),
            ("get_exp_time", None, "30"),
            ("get_remain_time", None, "30"),
            ("reset_remain_time", None, "ok"),
            ("get_gsm_state", None, "IDLE"),
            ("get_imei", None, "860000000000011"),
            ("set_out_call_interval", "5", "ok"),
            ("get_out_call_interval", None, "5"),
            ("set_base_cell", "689", "689 ok"),
            ("CURCELL", None, "689"),
            ("status_flag", "1", "ok"),
            ("module_ctl", "2", "ok"),
        ):
            sent = rig.say(codec.encode_control(command, 7, "secret1", value))
            self.assertEqual(sent, [f"{command} 7 {answer}".encode()])

    def test_wrong_password(self) -> None:
        """Nothing is told or done."""
        rig = Rig()
        for datagram in (
            codec.encode_control("get_imei", 7, "wrong"),
            codec.encode_call_forward(7, "wrong", 0, 3, NUMBER),
            codec.encode_call_waiting(7, "wrong", 1),
        ):
            self.assertEqual(rig.say(datagram), [b"ERROR 7 PASSWORD\n"])
        self.assertEqual((rig.channel.forwards, rig.channel.call_waiting), ({}, False))

    def test_whole_state(self) -> None:
        """GSM tells everything in one datagram, in push syntax."""
        rig = Rig()
        (datagram,) = rig.say(codec.encode_control("GSM", 7, "secret1"))
        event = codec.decode(datagram)
        assert isinstance(event, codec.GsmReply)
        self.assertEqual((event.sendid, event.fields["get_gsm_state"]), (7, "IDLE"))

    def test_cells_come_later(self) -> None:
        """get_cells_list is answered at once, and the list is pushed."""
        rig = Rig(timing=attrs.evolve(SILENT, cells_s=5))
        sent = rig.say(codec.encode_control("get_cells_list", 7, "secret1"))
        self.assertEqual(sent, [b"get_cells_list 7 ok"])
        rig.clock.advance(5)
        (event,) = rig.events()
        assert isinstance(event, codec.Cells)
        self.assertEqual(event.cells, ("689", "638", "783"))

    def test_module_off_and_on(self) -> None:
        """1 is on; 2 and 0 are off, as the vendor's sources differ."""
        rig = Rig()
        for value, state in (("2", Gsm.LOGOUT), ("1", Gsm.LOGIN), ("0", Gsm.LOGOUT)):
            rig.say(codec.encode_control("module_ctl_i", 7, "secret1", value))
            self.assertIs(rig.channel.gsm, state)

    def test_status_flag_stops_reports(self) -> None:
        """Switched off, state reports stay away while texts come."""
        rig = Rig()
        rig.say(codec.encode_control("status_flag", 7, "secret1", "1"))
        self.assertIsNone(rig.channel.push_cell_info())
        self.assertEqual(len(rig.channel.receive_sms(NUMBER, "x")), 1)

    def test_call_forwarding(self) -> None:
        """Register, query, erase."""
        rig = Rig()
        for mode, num, answer in (
            (2, "", b"CFSTATE 7 0"),
            (3, NUMBER, b"CFOK 7"),
            (2, "", b"CFSTATE 7 1 " + NUMBER.encode()),
            (4, "", b"CFOK 7"),
            (2, "", b"CFSTATE 7 0"),
        ):
            self.assertEqual(
                rig.say(codec.encode_call_forward(7, "secret1", 0, mode, num)), [answer]
            )
        rig.channel.log_out()
        self.assertEqual(rig.say(codec.encode_call_forward(7, "secret1", 0, 2)), [b"CFERROR 7"])

    def test_call_waiting(self) -> None:
        """On, query, off."""
        rig = Rig()
        for mode, answer in ((1, b"CWOK 7"), (2, b"CWSTATE 7 1"), (0, b"CWOK 7")):
            self.assertEqual(rig.say(codec.encode_call_waiting(7, "secret1", mode)), [answer])
        rig.channel.log_out()
        self.assertEqual(rig.say(codec.encode_call_waiting(7, "secret1", 2)), [b"CWERROR 7"])

    def test_reboot_of_the_box(self) -> None:
        """svr_reboot_dev is answered before the box goes silent."""
        rig = Rig(timing=attrs.evolve(SILENT, reboot_box=Span(60)))
        sent = rig.say(codec.encode_control("svr_reboot_dev", 7, "secret1"))
        self.assertEqual(sent, [b"svr_reboot_dev 7 ok"])
        self.assertIs(rig.channel.gsm, Gsm.OFF)

    def test_nonsense_values_are_errors(self) -> None:
        """A value that is no number is refused."""
        rig = Rig()
        self.assertEqual(rig.say(b"set_exp_time 7 x secret1"), [b"ERROR 7 not supported\n"])
        self.assertEqual(
            rig.say(b"set_out_call_interval 7 x secret1"), [b"ERROR 7 not supported\n"]
        )


class RobustnessTests(SynchronousTestCase):
    """A channel survives whatever arrives."""

    @many
    @given(
        st.lists(
            st.one_of(
                st.binary(max_size=60),
                st.sampled_from(
                    [
                        codec.encode_msg(1, "x"),
                        codec.encode_password(1, "secret1"),
                        codec.encode_send(1, 1, NUMBER),
                        codec.encode_send(1, 2, NUMBER),
                        codec.encode_done(1),
                        codec.encode_ussd(2, "secret1", "*111#"),
                        codec.encode_ussd(3, "secret1", "2"),
                        codec.encode_control("svr_reboot_module", 4, "secret1"),
                        codec.encode_control("svr_reboot_dev", 4, "secret1"),
                        b"CF 1 secret1 9 9 x 0",
                        b"RECEIVE 1700000000 OK",
                        OneShotTests.SMS,
                    ]
                ),
            ),
            max_size=12,
        )
    )
    def test_never_raises(self, datagrams: list[bytes]) -> None:
        """Any order of commands and junk leaves a channel that still reports."""
        rig = Rig(timing=attrs.evolve(SILENT, sms=Span(1)))
        rig.channel.receive_sms(NUMBER, "x")
        for datagram in datagrams:
            rig.say(datagram)
            rig.clock.advance(0.5)
        rig.clock.advance(100)
        rig.take()
        rig.channel.announce()
        self.assertEqual(len(rig.take()), 1)
        rig.channel.power_off()
        self.assertEqual(rig.clock.getDelayedCalls(), [])


class PartsTests(SynchronousTestCase):
    """The device's own count of parts."""

    def test_limits(self) -> None:
        """160 and 153 septets, 70 and 67 units, and two for the extension table."""
        for text, count in (
            ("", 1),
            ("x" * 160, 1),
            ("x" * 161, 2),
            ("x" * 306, 2),
            ("x" * 307, 3),
            ("[" * 80, 1),
            ("[" * 81, 2),
            ("\u00e9" * 70, 1),
            ("\u00e9" * 71, 2),
            ("\U0001f600" * 35, 1),
            ("\U0001f600" * 36, 2),
        ):
            self.assertEqual(parts.count(text), count, text[:1] + str(len(text)))

    @many
    @given(st.text(max_size=700))
    def test_nothing_is_lost(self, text: str) -> None:
        """The parts together are the text."""
        self.assertEqual("".join(parts.split(text)), text)
        self.assertEqual(parts.count(text), len(parts.split(text)))
