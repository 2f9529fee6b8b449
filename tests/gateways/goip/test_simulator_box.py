"""A whole simulated box: in memory with a clock, and over real sockets on loopback."""

from __future__ import annotations

import json
import random
from collections.abc import Callable
from typing import Any

import attrs
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.error import CannotListenError, DNSLookupError
from twisted.internet.protocol import DatagramProtocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.logger import LogEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.simulator import (
    Box,
    BoxSettings,
    SimulatedBox,
    Span,
    demo_settings,
    numbered_lines,
)
from smsbridge.gateways.goip.simulator.box import Receive, UnknownLine
from smsbridge.gateways.goip.simulator.burst import Burst
from smsbridge.gateways.goip.simulator.commands import (
    COMMANDS,
    as_data,
    describe,
    help_text,
    run,
    run_line,
)
from smsbridge.gateways.goip.simulator.control import ControlFactory
from smsbridge.gateways.goip.simulator.script import BoxStage, prompt_of
from smsbridge.gateways.goip.simulator.settings import INSTANT, Menu, Timing, menu_tree
from smsbridge.gateways.goip.simulator.weather import Path, Weather
from smsbridge.simulation import CommandError, ScriptError, parse, perform

SERVER = ("127.0.0.1", 44444)
NUMBER = "+12025550123"
QUIET = attrs.evolve(INSTANT, keepalive_s=0)


class MemoryLink:
    """A link whose datagrams go to a function."""

    def __init__(self, port: int, deliver: Callable[[MemoryLink, bytes], None], receive: Receive):
        self.port = port
        self.receive = receive
        self.closed = False
        self._deliver = deliver

    def send(self, datagram: bytes, addr: tuple[str, int]) -> None:
        """Hand a datagram to the server's side."""
        self._deliver(self, datagram)

    def close(self) -> None:
        """Remember that the link was closed."""
        self.closed = True


class MemoryServer:
    """A server that acknowledges everything when ``acks`` is set, and keeps what it heard."""

    def __init__(self, acks: bool = True) -> None:
        self.acks = acks
        self.heard: list[tuple[int, codec.Event]] = []
        self.links: list[MemoryLink] = []
        self.taken: set[int] = set()
        self._next_port = 20000

    def open_link(self, index: int, port: int, receive: Receive) -> MemoryLink:
        """Open a link for a channel."""
        if port in self.taken:
            raise CannotListenError("", port, OSError("Address already in use"))
        self._next_port += 1
        link = MemoryLink(port or self._next_port, self.hear, receive)
        self.links.append(link)
        return link

    def hear(self, link: MemoryLink, datagram: bytes) -> None:
        """Take a datagram of the box, and answer it."""
        event = codec.decode(datagram)
        self.heard.append((link.port, event))
        if not self.acks:
            return
        if isinstance(event, codec.Keepalive):
            link.receive(codec.encode_reg(event.number), SERVER)
        elif isinstance(event, codec.Push):
            link.receive(codec.encode_ack(event.verb, event.recvid), SERVER)

    def texts(self) -> list[str]:
        """Return the texts that came, in order."""
        return [event.text for _, event in self.heard if isinstance(event, codec.Received)]


class Rig:
    """A box with a memory server."""

    def __init__(self, *, acks: bool = True, power: bool = True, **options: Any) -> None:
        self.clock = Clock()
        self.clock.rightNow = 1_700_000_000
        self.server = MemoryServer(acks)
        options.setdefault("lines", numbered_lines(["demo1", "demo2"], "secret1"))
        options.setdefault("timing", QUIET)
        options.setdefault("seed", 1)
        self.box = Box(self.clock, BoxSettings(server=SERVER, **options), self.server.open_link)
        if power:
            self.box.power_on()

    def link(self, index: int = 0) -> MemoryLink:
        """Return a link."""
        return self.server.links[index]

    def send_text(self, num: str = NUMBER, text: str = "hello", sendid: int = 1) -> None:
        """Let the server send a text in one datagram through the first line."""
        self.link().receive(codec.encode_sms(sendid, 1, "secret1", num, text), SERVER)


class BoxTests(SynchronousTestCase):
    """Lines of a box register, are found by name, and share its fate."""

    def test_all_lines_register(self) -> None:
        """Each line has a port of its own and registers there."""
        rig = Rig()
        self.assertEqual([channel.registered for channel in rig.box.channels], [True, True])
        self.assertEqual(len({rig.box.port(1), rig.box.port(2)}), 2)

    def test_ports_follow_the_base(self) -> None:
        """Line n sends from base + n, as devices do."""
        rig = Rig(base_port=10990)
        self.assertEqual((rig.box.port("demo1"), rig.box.port("demo2")), (10991, 10992))

    def test_lines_by_number_and_id(self) -> None:
        """A line answers to its id and to its number from 1."""
        rig = Rig()
        self.assertIs(rig.box.line("2"), rig.box.line("demo2"))
        for name in ("3", "0", "x", "", "\u0662"):
            error = self.assertRaises(UnknownLine, rig.box.line, name)
            self.assertIn("demo1, demo2", str(error))

    def test_taken_port_leaves_nothing_open(self) -> None:
        """When one port is taken the others are closed again."""
        rig = Rig(power=False, base_port=10990)
        rig.server.taken.add(10992)
        self.assertRaises(CannotListenError, rig.box.power_on)
        self.assertTrue(rig.link().closed)

    def test_rebinding_keeps_the_conversation(self) -> None:
        """Behind another port the line goes on, and old acks still count."""
        rig = Rig(acks=False)
        rig.box.line(1).receive_sms(NUMBER, "a")
        before = rig.box.port(1)

        rig.box.rebind(1)
        rig.clock.advance(3)

        port, event = rig.server.heard[-1]
        self.assertNotEqual(port, before)
        self.assertEqual(port, rig.box.port(1))
        self.assertIsInstance(event, codec.Received)
        self.assertTrue(rig.link(0).closed)

    def test_reboot_takes_all_lines(self) -> None:
        """svr_reboot_dev on one line restarts the whole box."""
        rig = Rig(timing=attrs.evolve(QUIET, reboot_box=Span(60)))
        rig.server.heard.clear()
        rig.link(0).receive(codec.encode_control("svr_reboot_dev", 1, "secret1"), SERVER)
        rig.clock.advance(60)
        numbers = [e.number for _, e in rig.server.heard if isinstance(e, codec.Keepalive)]
        self.assertEqual(numbers, [1, 1])

    def test_module_ctl_switches_each_line(self) -> None:
        """One digit a line: off, on, keep."""
        rig = Rig()
        rig.link(0).receive(codec.encode_control("module_ctl", 1, "secret1", "20"), SERVER)
        self.assertEqual([c.gsm.value for c in rig.box.channels], ["login", "logout"])
        rig.link(0).receive(codec.encode_control("module_ctl", 1, "secret1", "01"), SERVER)
        self.assertEqual([c.gsm.value for c in rig.box.channels], ["logout", "login"])

    def test_answer_mode(self) -> None:
        """Whoever is texted texts back."""
        rig = Rig(answer=True, answer_delay=Span(2))
        rig.send_text(text="hello; you")
        self.assertEqual(rig.server.texts(), [])
        rig.clock.advance(2)
        self.assertEqual(rig.server.texts(), ["You said: hello; you"])

    def test_power_off_leaves_no_timer(self) -> None:
        """A box that is off has nothing pending, and says nothing."""
        rig = Rig(timing=Timing(), answer=True, acks=False)
        rig.box.start_burst([], 100)
        rig.box.set_weather(Weather(delay=Span(5)))
        rig.box.line(1).receive_sms(NUMBER, "x")
        rig.box.power_off()
        heard = len(rig.server.heard)
        rig.clock.advance(100)
        self.assertEqual(rig.clock.getDelayedCalls(), [])
        self.assertEqual(len(rig.server.heard), heard)

    def test_starts_may_be_spread(self) -> None:
        """Many lines do not report all at once."""
        rig = Rig(start_spread_s=10)
        self.assertEqual(len(rig.server.heard), 1)
        rig.clock.advance(5)
        self.assertEqual(len(rig.server.heard), 2)

    def test_bug_on_a_datagram_is_contained(self) -> None:
        """One datagram that the simulator cannot handle is logged and passed over."""
        rig = Rig()

        def fail(datagram: bytes, addr: tuple[str, int]) -> None:
            raise RuntimeError("a bug")

        rig.box.line(1).datagram_received = fail  # type: ignore[method-assign]
        rig.link(0).receive(b"x", SERVER)
        self.assertEqual(len(self.flushLoggedErrors(RuntimeError)), 1)

    def test_bad_settings(self) -> None:
        """What cannot be is refused with a sentence."""
        lines = numbered_lines(["a"], "p")
        for change in (
            {"lines": ()},
            {"lines": lines + lines},
            {"recvid_clock": "x"},
            {"base_port": 65535},
        ):
            self.assertRaises(
                ValueError, BoxSettings, **{"server": SERVER, "lines": lines, **change}
            )
        self.assertRaises(ValueError, numbered_lines, ["a b"], "p")
        self.assertRaises(ValueError, numbered_lines, ["a"], "p p")
        self.assertRaises(ValueError, Span, 3, 2)
        self.assertRaises(ValueError, Span.parse, "soon")
        self.assertRaises(ValueError, Timing, resend_s=0)
        self.assertRaises(ValueError, Timing, resends=-1)
        self.assertRaises(ValueError, menu_tree, [("*1#/1", "x")])
        self.assertRaises(ValueError, Weather, loss=1.5)

    def test_menu_tree(self) -> None:
        """Paths become menus with choices."""
        tree = menu_tree([("*1#", "a"), ("*1#/1", "b")])
        self.assertEqual(tree, {"*1#": Menu("a", {"1": Menu("b", {})})})

    def test_spans_print_as_they_are_written(self) -> None:
        """A span shows as the text that makes it."""
        for text in ("2", "2-5", "0.5-1"):
            self.assertEqual(str(Span.parse(text)), text)


class WeatherTests(SynchronousTestCase):
    """Datagrams are lost, doubled, late or overtaken, as told."""

    def carried(self, count: int = 1000, **weather: Any) -> tuple[Path, list[bytes]]:
        """Send numbered datagrams through a path, a millisecond apart."""
        clock = Clock()
        path = Path(clock, random.Random(3))
        path.change(Weather(**weather))
        arrived: list[bytes] = []
        for number in range(count):
            path.carry(lambda datagram, addr: arrived.append(datagram), b"%d" % number, SERVER)
            clock.advance(0.001)
        clock.advance(100)
        return path, arrived

    def test_fair_weather_changes_nothing(self) -> None:
        """All arrive once and in order."""
        _, arrived = self.carried()
        self.assertEqual(arrived, [b"%d" % number for number in range(1000)])

    def test_loss_and_duplicates(self) -> None:
        """About the share that was asked for, and counted."""
        path, arrived = self.carried(loss=0.2)
        self.assertEqual(len(arrived), 1000 - path.lost)
        self.assertTrue(150 < path.lost < 250, path.lost)
        path, arrived = self.carried(duplicate=0.2)
        self.assertEqual(len(arrived), 1000 + path.duplicated)
        self.assertTrue(150 < path.duplicated < 250, path.duplicated)

    def test_delay_and_order(self) -> None:
        """A fixed delay keeps the order; reordering does not, and loses nothing."""
        _, arrived = self.carried(delay=Span(0.5))
        self.assertEqual(arrived, [b"%d" % number for number in range(1000)])
        path, arrived = self.carried(reorder=0.2)
        self.assertNotEqual(arrived, sorted(arrived, key=int))
        self.assertEqual(len(set(arrived)), 1000)
        self.assertGreater(path.reordered, 100)

    def test_lossy_network_still_delivers_by_repeats(self) -> None:
        """With a fifth lost both ways most texts get through by repetition, and none twice."""
        rig = Rig()
        rig.box.set_weather(Weather(loss=0.2))
        for number in range(100):
            rig.box.line(1).receive_sms(NUMBER, str(number))
        rig.clock.pump([1] * 20)
        counters = rig.box.journal.counters()
        self.assertGreater(counters["accepted"], 90)
        self.assertGreater(counters["repeated"], 10)
        self.assertEqual(counters["accepted"] + counters["lost"], 100)

    def test_directions(self) -> None:
        """A direction can fail alone."""
        rig = Rig()
        rig.box.set_weather(Weather(loss=1), "in")
        rig.box.line(1).receive_sms(NUMBER, "x")
        self.assertEqual(rig.server.texts(), ["x"])
        self.assertEqual(rig.box.journal.accepted, 0)
        self.assertRaises(ValueError, rig.box.set_weather, Weather(), "up")

    def test_same_seed_same_chance(self) -> None:
        """A seed makes a run repeatable."""
        runs = []
        for _ in range(2):
            rig = Rig(seed=7, acks=False)
            rig.box.set_weather(Weather(loss=0.5))
            for number in range(50):
                rig.box.line(1).receive_sms(NUMBER, str(number))
            runs.append(rig.server.texts())
        self.assertEqual(runs[0], runs[1])


class BurstTests(SynchronousTestCase):
    """Many texts arrive, as fast as they are taken or at a pace."""

    def test_window_is_kept(self) -> None:
        """No more than the window is unacknowledged."""
        rig = Rig(acks=False)
        rig.box.start_burst([], 100, window=8)
        self.assertEqual(len(rig.server.texts()), 8)

    def test_all_are_accepted(self) -> None:
        """An acknowledgement inside the call that sends does no harm."""
        rig = Rig()
        burst = rig.box.start_burst([], 5000, window=8)
        self.assertEqual(burst.summary()["accepted"], 5000)
        self.assertTrue(burst.summary()["finished"])
        self.assertEqual(len(set(rig.server.texts())), 5000)

    def test_rate(self) -> None:
        """With a rate so many a second are sent, acknowledged or not."""
        rig = Rig(acks=False)
        burst = rig.box.start_burst(["demo2"], 100, rate=50)
        rig.clock.pump([0.01] * 100)
        self.assertTrue(50 <= burst.sent <= 52, burst.sent)
        rig.clock.pump([0.01] * 100)
        self.assertEqual(burst.sent, 100)

    def test_lost_and_refused_are_counted(self) -> None:
        """A burst ends also when nobody takes it."""
        rig = Rig(acks=False)
        burst = rig.box.start_burst([], 4, window=2)
        rig.box.channels[0].datagram_received(b"RECEIVE 1700000000 ERROR no", SERVER)
        rig.clock.pump([3] * 20)
        summary = burst.summary()
        self.assertEqual((summary["refused"], summary["lost"], summary["finished"]), (1, 3, True))

    def test_bad_numbers(self) -> None:
        """Zero texts or a window of zero are refused."""
        rig = Rig()
        self.assertRaises(ValueError, Burst, rig.clock, rig.box.channels, 0)
        self.assertRaises(ValueError, Burst, rig.clock, rig.box.channels, 1, window=0)


class CommandTests(SynchronousTestCase):
    """The commands of the prompt, scripts and the control port."""

    def test_every_example_works(self) -> None:
        """What help shows can be typed."""
        rig = Rig()
        for command in COMMANDS.values():
            if command.name == "progress":
                run_line(rig.box, "burst 1")
            run_line(rig.box, command.example)
        text = "\n".join(help_text([]))
        for command in COMMANDS.values():
            self.assertIn(command.example, text)
            self.assertIn(command.usage, help_text([command.name]))
        self.assertIn("type help", help_text(["nonsense"])[0])

    def test_text_arrives(self) -> None:
        """The rest of the line is the text, with written line breaks."""
        rig = Rig()
        run_line(rig.box, "in 1 +12025550123 hello;  you\\nthere")
        self.assertEqual(rig.server.texts(), ["hello;  you\nthere"])

    def test_waiting_text_is_told(self) -> None:
        """A text for a line without a network is said to wait."""
        rig = Rig()
        run_line(rig.box, "logout 1")
        (line,) = run_line(rig.box, "in 1 +12025550123 hello")
        self.assertIn("waits", line)
        run_line(rig.box, "login")
        self.assertEqual(rig.server.texts(), ["hello"])

    def test_errors_say_what_to_do(self) -> None:
        """A wrong word, line, number or parameter is one clear sentence."""
        rig = Rig()
        for line, words in (
            ("nonsense", "type help"),
            ("in 9 +12025550123 x", "lines: demo1, demo2"),
            ("in 1", "usage: in LINE NUMBER TEXT"),
            ("signal 1 high", "not a whole number"),
            ("call 1 +12025550123 long", "not a number"),
            ("fault rain 1", "loss, duplicate, reorder, delay"),
            ("fault loss", "fault loss 0.2"),
            ("fault loss 2", "between 0 and 1"),
            ("fault delay soon", "not a duration"),
            ("fault loss 0.1 up", "out, in or both"),
            ("misbehave 1 sing", "no-acks"),
            ("misbehave 1 no-acks maybe", "neither on nor off"),
            ("reports sometimes", "on, off"),
            ("push 1 CGATT x", "key:value"),
            ("progress", "burst 1000"),
            ("burst 0", "at least 1"),
            ("burst 5 all 5 0 {x} y", ""),
            ("status now", "too much"),
        ):
            error = self.assertRaises(CommandError, run_line, rig.box, line)
            self.assertIn(words, str(error), line)
        for arguments in ({"line": "1"}, {"line": "1", "number": "5", "text": 5}, {"x": 1}):
            self.assertRaises(CommandError, run, rig.box, "in", arguments)
        self.assertRaises(CommandError, run, rig.box, "nonsense", {})
        self.assertRaises(CommandError, run, rig.box, "signal", {"line": 1, "value": True})

    def test_radiated_lists_what_was_sent(self) -> None:
        """Each text has a number, so that a program asks only for what is new."""
        rig = Rig()
        rig.send_text(text="a", sendid=1)
        rig.send_text(text="b", sendid=2)
        result = run(rig.box, "radiated", {"line": "demo1", "since": 1})
        self.assertEqual(result["count"], 2)
        self.assertEqual([(text["n"], text["text"]) for text in result["texts"]], [(2, "b")])
        self.assertEqual(run(rig.box, "radiated", {"line": "demo2"})["texts"], [])
        self.assertIn("demo1 to +12025550123: a", run_line(rig.box, "radiated")[0])

    def test_duplicates_are_listed(self) -> None:
        """Two of the same to the same number are shown."""
        rig = Rig()
        rig.send_text(sendid=1)
        rig.send_text(sendid=2)
        self.assertEqual(run_line(rig.box, "duplicates"), ["2 times to +12025550123: hello"])
        run_line(rig.box, "forget")
        self.assertEqual(run_line(rig.box, "duplicates"), ["no text was sent twice"])

    def test_lost_pushes_are_listed(self) -> None:
        """A push that nobody took is shown."""
        rig = Rig(acks=False)
        run_line(rig.box, "in 1 +12025550123 x")
        rig.clock.pump([3] * 5)
        self.assertEqual(run_line(rig.box, "lost"), ["demo1 RECEIVE 1700000000"])

    def test_faults_by_direction(self) -> None:
        """A fault of one direction leaves the other alone, and none ends all."""
        rig = Rig()
        run_line(rig.box, "fault loss 0.5 out")
        run_line(rig.box, "fault delay 1-2")
        self.assertEqual(rig.box.outgoing.weather, Weather(loss=0.5, delay=Span(1, 2)))
        self.assertEqual(rig.box.incoming.weather, Weather(delay=Span(1, 2)))
        run_line(rig.box, "misbehave 1 no-acks")
        run_line(rig.box, "fault none")
        self.assertTrue(rig.box.outgoing.fair and rig.box.incoming.fair)
        self.assertFalse(rig.box.line(1).switches.no_acks)

    def test_settings_of_a_line(self) -> None:
        """Password, number, signal and recvid change on the device."""
        rig = Rig()
        for line in ("password 1 wrong", "recvid 1 -7", "signal 1 3", "in 1 ACME x", "announce 1"):
            run_line(rig.box, line)
        push, keepalive = (event for _, event in rig.server.heard[-2:])
        assert isinstance(push, codec.Received) and isinstance(keepalive, codec.Keepalive)
        self.assertEqual((push.recvid, push.password), (-7, "wrong"))
        self.assertEqual(keepalive.signal, 3)

    def test_refusals_and_reports(self) -> None:
        """The network refuses, permits, and reports as told."""
        rig = Rig()
        run_line(rig.box, "refuse 1 any 42")
        rig.send_text(sendid=1)
        self.assertEqual(rig.box.journal.send_failures, 1)
        run_line(rig.box, "permit")
        run_line(rig.box, "reports 70")
        rig.send_text(sendid=2)
        report = rig.server.heard[-1][1]
        assert isinstance(report, codec.DeliveryReport)
        self.assertEqual(report.state, 70)
        run_line(rig.box, "reports off")
        rig.send_text(sendid=3)
        self.assertNotIsInstance(rig.server.heard[-1][1], codec.DeliveryReport)

    def test_happenings_have_words_and_data(self) -> None:
        """Everything that happens can be shown to people and to programs."""
        rig = Rig(acks=False, power=False)
        seen: list[Any] = []
        rig.box.journal.observers.append(seen.append)
        rig.box.power_on()
        channel = rig.box.line(1)
        channel.datagram_received(b"reg:1;status:200;", SERVER)
        for line in ("in 1 +12025550123 a", "in 1 +12025550123 b", "in 1 +12025550123 c"):
            run_line(rig.box, line)
        channel.datagram_received(b"RECEIVE 1700000000 OK", SERVER)
        channel.datagram_received(b"RECEIVE 1699999999 ERROR no", SERVER)
        rig.send_text(sendid=1)
        run_line(rig.box, "refuse 1 any")
        rig.send_text(sendid=2)
        channel.datagram_received(codec.encode_ussd(1, "secret1", "*100#"), SERVER)
        channel.datagram_received(codec.encode_ussd(2, "secret1", "*9#"), SERVER)
        rig.clock.pump([3] * 5)

        kinds = {json.loads(json.dumps(as_data(happening)))["event"] for happening in seen}
        self.assertEqual(
            kinds,
            {
                *("radiated", "accepted", "refused", "lost"),
                *("registered", "gsmchanged", "sendfailed", "ussdasked"),
            },
        )
        words = [describe(happening) for happening in seen]
        for text in (
            "demo1: registered at the server",
            "demo1: text to +12025550123: hello",
            "demo1: the server took text 1700000000 after 0 ms",
            "demo1: the server refused RECEIVE 1699999999: no",
            "demo1: RECEIVE 1699999998 is lost, no server acknowledged it",
            "demo1: text to +12025550123 refused by the network, errorstatus 38",
            "demo1: USSD *100#: Your balance is 10.00",
            "demo1: USSD *9#: failed",
            "demo1: gsm login",
        ):
            self.assertIn(text, words)


class PromptTests(SynchronousTestCase):
    """A person types and reads."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.quits: list[None] = []
        self.transport = StringTransport()
        self.prompt = prompt_of(self.rig.box, lambda: self.quits.append(None))
        self.prompt.makeConnection(self.transport)

    def typed(self, text: str) -> str:
        """Type a line; returns what is shown."""
        self.transport.clear()
        self.prompt.dataReceived(text.encode() + b"\n")
        return str(self.transport.value(), "utf-8")

    def test_greets_and_helps(self) -> None:
        """The first line says how to get help, and help teaches by example."""
        self.assertIn("Type help", self.transport.value().decode())
        self.assertIn("in 1 +12025550123 hello", self.typed("help"))
        self.assertIn("fault KIND [VALUE] [DIRECTION]", self.typed("help fault"))

    def test_shows_what_happens(self) -> None:
        """Events appear between the prompts."""
        self.assertIn("the server took text", self.typed("in 1 +12025550123 hello"))
        self.rig.send_text()
        self.assertIn("text to +12025550123: hello", self.transport.value().decode())

    def test_errors_are_shown(self) -> None:
        """A mistake is answered with a sentence."""
        self.assertIn("there is no line '7'", self.typed("logout 7"))
        self.assertEqual(self.typed(""), "> ")

    def test_quit_once(self) -> None:
        """quit stops the box, and the end of input after it changes nothing."""
        self.typed("quit")
        self.prompt.connectionLost()
        self.transport.clear()
        self.rig.send_text()
        self.assertEqual(len(self.quits), 1)
        self.assertEqual(self.transport.value(), b"")

    def test_quiet_prompt(self) -> None:
        """A quiet prompt answers, and tells nothing by itself."""
        prompt = prompt_of(self.rig.box, lambda: None, quiet=True)
        transport = StringTransport()
        prompt.makeConnection(transport)
        transport.clear()
        self.rig.send_text()
        self.assertEqual(transport.value(), b"")


class ControlTests(SynchronousTestCase):
    """A program sends JSON and reads JSON."""

    def setUp(self) -> None:
        self.rig = Rig()
        self.quits: list[None] = []
        self.protocol = ControlFactory(self.rig.box, lambda: self.quits.append(None)).buildProtocol(
            None
        )
        self.transport = StringTransport()
        self.protocol.makeConnection(self.transport)

    def asked(self, request: object) -> list[dict[str, Any]]:
        """Send a request; returns all lines that came."""
        self.transport.clear()
        raw = request if isinstance(request, bytes) else json.dumps(request).encode()
        self.protocol.dataReceived(raw + b"\n")
        return [json.loads(line) for line in self.transport.value().splitlines()]

    def test_commands(self) -> None:
        """A text is injected with its line breaks, and the status is data."""
        text = "hello; you\n\U0001f600"
        (answer,) = self.asked({"do": "in", "line": "demo1", "number": NUMBER, "text": text})
        self.assertEqual(answer["ok"], True)
        self.assertEqual(self.rig.server.texts(), [text])
        (answer,) = self.asked({"do": "status"})
        self.assertEqual([line["id"] for line in answer["lines"]], ["demo1", "demo2"])
        self.assertEqual(answer["counters"]["accepted"], 1)

    def test_errors(self) -> None:
        """Wrong input is answered and the connection lives."""
        requests: list[Any] = [b"x", b"\xff", [], {"do": 1}, {"do": "nonsense"}, {"do": "in"}]
        for request in requests:
            (answer,) = self.asked(request)
            self.assertFalse(answer["ok"])
            self.assertTrue(answer["error"])
        self.assertEqual(self.asked(b""), [])

    def test_follow(self) -> None:
        """Events come as they happen, once each."""
        self.asked({"do": "follow"})
        self.asked({"do": "follow"})
        self.transport.clear()
        self.rig.send_text()
        events = [json.loads(line) for line in self.transport.value().splitlines()]
        self.assertIn("radiated", [event["event"] for event in events])
        self.assertEqual(len([e for e in events if e["event"] == "radiated"]), 1)
        observers = len(self.rig.box.journal.observers)
        self.protocol.connectionLost()
        self.assertEqual(len(self.rig.box.journal.observers), observers - 1)

    def test_quit(self) -> None:
        """A program can end the box."""
        self.assertEqual(self.asked({"do": "quit"}), [{"ok": True}])
        self.assertEqual(len(self.quits), 1)


class ScriptTests(SynchronousTestCase):
    """A file drives a box."""

    def perform(self, rig: Rig, source: str) -> tuple[Deferred[bool], list[str]]:
        """Start a script; returns its outcome and what it shows."""
        shown: list[str] = []
        coroutine = perform(rig.clock, BoxStage(rig.box), parse(source, COMMANDS), shown.append)
        return Deferred.fromCoroutine(coroutine), shown

    def test_runs_to_quit(self) -> None:
        """Commands, waits and expectations in order."""
        rig = Rig()
        outcome, shown = self.perform(
            rig,
            "# demo\n\nuntil registered\nin 1 +12025550123 hello\nwait 2\nexpect accepted 1\n"
            "burst 10\nuntil burst\nradiated\nuntil radiated 1 5\nquit\n",
        )
        self.assertEqual(rig.server.texts(), ["hello"])
        rig.clock.advance(2)
        self.assertNoResult(outcome)
        rig.send_text()
        rig.clock.advance(1)
        self.assertTrue(self.successResultOf(outcome))
        self.assertEqual(shown, ["nothing was sent yet"])

    def test_end_without_quit(self) -> None:
        """A script may end and leave the box running."""
        outcome, _ = self.perform(Rig(), "status")
        self.assertFalse(self.successResultOf(outcome))

    def test_failures_name_the_line(self) -> None:
        """What is not met or wrong stops the script and says where."""
        for source, words in (
            ("status\nexpect lost 1", "line 2: expected lost 1, found 0"),
            ("expect love 1", "line 1: there is no counter 'love'; counters: "),
            ("expect lost", "line 1: give what is counted"),
            ("wait", "line 1: give the seconds"),
            ("wait nan", "line 1: give the seconds"),
            ("until radiated 1 0", "in vain"),
            ("in 9 5 x", "line 1: there is no line '9'"),
        ):
            outcome, _ = self.perform(Rig(), source)
            failure = self.failureResultOf(outcome, ScriptError)
            self.assertIn(words, str(failure.value))

    def test_unknown_word_is_found_before_anything_runs(self) -> None:
        """A script with a wrong word does not start."""
        error = self.assertRaises(ScriptError, parse, "status\nfly", COMMANDS)
        self.assertEqual(str(error), "line 2: there is no command 'fly'")


class Nameless(Clock):
    """A reactor that can resolve no name."""

    def resolve(self, name: str) -> Deferred[str]:
        """Fail."""
        return fail(DNSLookupError(name))


class UnknownServerTests(SynchronousTestCase):
    """A server whose name has no address."""

    def test_is_logged_and_leaves_the_box_off(self) -> None:
        """The log says what to change, and nothing is opened."""
        seen: list[LogEvent] = []
        globalLogPublisher.addObserver(seen.append)  # type: ignore[arg-type]
        self.addCleanup(globalLogPublisher.removeObserver, seen.append)  # type: ignore[arg-type]
        service = SimulatedBox(Nameless(), demo_settings(("sms.example.invalid", 1), "secret1"))

        service.startService()

        self.assertEqual([event.get("host") for event in seen], ["sms.example.invalid"])
        self.assertEqual(service.box.channels[0].gsm.value, "off")


class AckingServer(DatagramProtocol):
    """A UDP server that accepts everything and keeps the texts."""

    def __init__(self) -> None:
        self.texts: list[str] = []
        self.lines: dict[str, tuple[str, int]] = {}

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        event = codec.decode(datagram)
        assert self.transport is not None
        if isinstance(event, codec.Keepalive):
            self.lines[event.id] = addr
            self.transport.write(codec.encode_reg(event.number), addr)
        elif isinstance(event, codec.Push):
            if isinstance(event, codec.Received):
                self.texts.append(event.text)
            self.transport.write(codec.encode_ack(event.verb, event.recvid), addr)


class SimulatedBoxTests(TestCase):
    """The service runs a box on the real reactor."""

    def setUp(self) -> None:
        self.server = AckingServer()
        self.port = reactor.listenUDP(0, self.server, "127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)

    async def until(self, reached: Callable[[], bool]) -> None:
        """Wait for something on the real reactor, at most ten seconds."""
        for _ in range(1000):
            if reached():
                return
            await deferLater(reactor, 0.01)
        self.fail("waited in vain")

    def service(self, host: str = "127.0.0.1", **changes: Any) -> SimulatedBox:
        """Start a demonstration box, stopped after the test."""
        settings = demo_settings((host, self.port.getHost().port), "secret1", seed=1)
        service = SimulatedBox(reactor, attrs.evolve(settings, **changes))
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def test_registers_and_texts(self) -> None:
        """Lines register from ports of their own, and texts are acknowledged."""
        service = self.service()
        box = service.box
        await self.until(lambda: all(channel.registered for channel in box.channels))

        box.line("demo1").receive_sms(NUMBER, "hello; there")
        await self.until(lambda: box.journal.accepted == 1)

        self.assertEqual(self.server.texts, ["hello; there"])
        self.assertEqual(len(set(self.server.lines.values())), 2)

    async def test_demonstration_answers(self) -> None:
        """A text sent through the demonstration box is answered."""
        service = self.service(timing=INSTANT, answer_delay=Span(0.01))
        await self.until(lambda: "demo1" in self.server.lines)

        sms = codec.encode_sms(1, 1, "secret1", NUMBER, "hi")
        self.server.transport.write(sms, self.server.lines["demo1"])  # type: ignore[union-attr]
        await self.until(lambda: self.server.texts == ["You said: hi"])

        self.assertEqual(service.box.journal.radiated_count, 1)

    async def test_server_by_name(self) -> None:
        """A host name is looked up at the start."""
        service = self.service("localhost", interface="127.0.0.1")
        await self.until(lambda: all(channel.registered for channel in service.box.channels))

    async def test_taken_port_raises(self) -> None:
        """The service does not start on a port that another program has."""
        taken = self.port.getHost().port
        settings = demo_settings(("127.0.0.1", 44444), "secret1")
        service = SimulatedBox(reactor, attrs.evolve(settings, base_port=taken - 1))
        self.assertRaises(CannotListenError, service.startService)
        await service.stopService()

    async def test_rebinding_changes_the_port(self) -> None:
        """A rebound line is seen at another address and keeps working."""
        service = self.service()
        await self.until(lambda: "demo1" in self.server.lines)
        before = self.server.lines["demo1"]
        service.box.rebind("demo1")
        service.box.line("demo1").announce()
        await self.until(lambda: self.server.lines["demo1"] != before)
