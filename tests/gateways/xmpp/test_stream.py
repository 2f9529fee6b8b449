"""The component's link to its server, against a scripted server in memory."""

from __future__ import annotations

import hashlib
import itertools
import re
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.error import ConnectionDone, ConnectionRefusedError
from twisted.internet.interfaces import IProtocol, IProtocolFactory, IStreamClientEndpoint
from twisted.internet.task import Clock
from twisted.internet.testing import EventLoggingObserver, MemoryReactorClock, StringTransport
from twisted.logger import LogLevel, formatEvent, globalLogPublisher
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.protocols.jabber.jid import JID
from twisted.words.xish import domish
from wokkel.generic import Request, VersionHandler
from wokkel.subprotocols import XMPPHandler
from zope.interface import implementer

from smsbridge.gateways.xmpp.stream import (
    BackOff,
    BatchTooLarge,
    ComponentStream,
    Down,
    InsecureServer,
    IqFailed,
    LinkDown,
    classify,
    endpoint_for,
    is_loopback,
)
from tests.gateways.xmpp.test_stanzas import parse

DOMAIN = "sms.example.org"
SECRET = "not-a-secret"
HEADER = (
    "<stream:stream xmlns='jabber:component:accept' "
    "xmlns:stream='http://etherx.jabber.org/streams' from='sms.example.org' id='a&amp;b'>"
)
STREAM_ERROR = (
    "<stream:error><{0} xmlns='urn:ietf:params:xml:ns:xmpp-streams'/>"
    "<text xmlns='urn:ietf:params:xml:ns:xmpp-streams'>own words</text></stream:error>"
    "</stream:stream>"
)
TEXT = (
    "<message from='+12025550123@sms.example.org' to='alice@example.org'><body>{}</body></message>"
)


class Transport(StringTransport):
    """A transport that tells its protocol when the connection is gone."""

    def __init__(self, clock: Clock) -> None:
        super().__init__()
        self.clock = clock
        self.protocol: Any = None
        self.is_lost = False
        self.is_aborted = False
        self.is_stuck = False

    def loseConnection(self) -> None:
        if not self.is_stuck:
            self.clock.callLater(0, self.lose)

    def abortConnection(self) -> None:
        self.is_aborted = True
        self.lose()

    def lose(self) -> None:
        if not self.is_lost:
            self.is_lost = True
            self.protocol.connectionLost(Failure(ConnectionDone()))


@implementer(IStreamClientEndpoint)
class Server:
    """An endpoint with a server behind it that says what the test says."""

    def __init__(self, clock: Clock) -> None:
        self.clock = clock
        self.transports: list[Transport] = []
        self.refuses = False

    def connect(self, protocolFactory: IProtocolFactory) -> Deferred[IProtocol]:
        if self.refuses:
            return fail(ConnectionRefusedError())
        transport = Transport(self.clock)
        protocol = protocolFactory.buildProtocol(IPv4Address("TCP", "127.0.0.1", 5347))
        assert protocol is not None
        transport.protocol = protocol
        self.transports.append(transport)
        protocol.makeConnection(transport)
        return succeed(protocol)

    @property
    def transport(self) -> Transport:
        """The newest connection."""
        return self.transports[-1]

    def says(self, xml: str | bytes) -> None:
        """Send something on the newest connection."""
        self.transport.protocol.dataReceived(xml.encode() if isinstance(xml, str) else xml)

    def heard(self) -> str:
        """Return and forget what the component wrote on the newest connection."""
        data = self.transport.value().decode("utf-8")
        self.transport.clear()
        return data

    def accepts(self) -> None:
        """Go through the handshake."""
        self.says(HEADER)
        self.says("<handshake/>")
        self.heard()

    def answers_ping(self, sender: str = "example.org", kind: str = "result") -> str:
        """Answer the last ping; returns what came before it."""
        heard = self.heard()
        found = re.search(r"<iq type='get'[^>]*id='([^']+)'><ping", heard)
        assert found, heard
        self.says(f"<iq type='{kind}' from='{sender}' to='{DOMAIN}' id='{found.group(1)}'/>")
        return heard[: found.start()]


class StreamTestCase(SynchronousTestCase):
    """A component and its scripted server."""

    def setUp(self) -> None:
        self.clock = Clock()
        self.server = Server(self.clock)
        self.events: list[tuple[object, ...]] = []
        self.stanzas: list[domish.Element] = []
        self.ids = (f"id{n}" for n in itertools.count())
        self.logged = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)
        self.stream = self.make()

    def make(self, **more: Any) -> ComponentStream:
        """Build a component without chance in it."""
        options: dict[str, Any] = {
            "on_up": lambda: self.events.append(("up",)),
            "on_down": lambda kind, text: self.events.append(("down", kind, text)),
            "on_stanza": self.stanzas.append,
            "on_rejected": lambda text, recent: self.events.append(("rejected", recent)),
            "jitter": lambda: 1.0,
            "random_id": lambda: next(self.ids),
        }
        return ComponentStream(self.clock, self.server, DOMAIN, SECRET, **{**options, **more})

    def up(self, stream: ComponentStream | None = None) -> None:
        """Start and get through the handshake."""
        (stream or self.stream).startService()
        self.server.accepts()

    def kinds(self) -> list[object]:
        """Return the kinds of all ends so far."""
        return [event[1] for event in self.events if event[0] == "down"]

    def connections(self) -> int:
        """Return how often the component connected."""
        return len(self.server.transports)


class HandshakeTests(StreamTestCase):
    """From TCP to the first stanza."""

    def test_hash_is_made_of_unescaped_id_and_secret(self) -> None:
        """The server gets the SHA-1 of stream id and secret, and the link is up when it agrees."""
        self.stream.startService()
        self.assertIn(f"to='{DOMAIN}'", self.server.heard())

        self.server.says(HEADER)
        digest = hashlib.sha1(("a&b" + SECRET).encode()).hexdigest()
        self.assertEqual(self.server.heard(), f"<handshake>{digest}</handshake>")
        self.assertEqual((self.events, self.stream.is_up), ([], False))

        self.server.says("<handshake/>")
        self.assertEqual((self.events, self.stream.is_up), ([("up",)], True))

    def test_wrong_secret_is_told_plainly_and_retried_slowly(self) -> None:
        """An operator reads what to compare; the server is not asked every second."""
        self.stream.startService()
        self.server.says(HEADER)
        self.server.says(STREAM_ERROR.format("not-authorized"))
        self.clock.advance(0)

        ((_, kind, text),) = self.events
        self.assertEqual(kind, Down.CONFIGURATION)
        self.assertIn("secret", str(text))
        self.assertIn("own words", str(text))
        self.assertNotIn(SECRET, str(text))
        self.clock.pump([1] * 14)
        self.assertEqual(self.connections(), 1)
        self.clock.advance(1)
        self.assertEqual(self.connections(), 2)

    def test_unknown_domain_with_empty_stream_id_is_a_matter_of_configuration(self) -> None:
        """Prosody ends such a stream at once, with an id that is empty."""
        self.stream.startService()
        self.server.says(HEADER.replace("a&amp;b", ""))
        self.server.says(STREAM_ERROR.format("host-unknown"))
        self.clock.advance(0)

        self.assertEqual(self.kinds(), [Down.CONFIGURATION])

    def test_silent_server_is_left(self) -> None:
        """A server that accepts TCP and says nothing does not hold us up."""
        self.stream.startService()
        self.clock.advance(20)

        self.assertTrue(self.server.transport.is_aborted)
        self.assertEqual(self.kinds(), [Down.SILENT])

    def test_end_before_the_handshake_is_reported(self) -> None:
        """A server that hangs up at once is told as such, and tried again."""
        self.stream.startService()
        self.server.transport.lose()
        self.clock.advance(1)

        self.assertEqual(self.kinds(), [Down.LOST])
        self.assertEqual(self.connections(), 2)

    def test_bug_in_the_handshake_is_logged_and_tried_again(self) -> None:
        """A secret that cannot be encoded is our bug; the gateway does not die of it."""
        stream = ComponentStream(self.clock, self.server, DOMAIN, "\ud800")
        stream.startService()
        self.server.says(HEADER)
        self.clock.advance(1)

        self.assertEqual(len(self.flushLoggedErrors(UnicodeEncodeError)), 1)
        self.assertEqual(self.connections(), 2)

    def test_rubbish_instead_of_xml_is_no_fault_of_ours(self) -> None:
        """Something that is no XMPP server is left, and tried again."""
        self.stream.startService()
        self.server.says("HTTP/1.1 400 Bad Request\r\n\r\n")
        self.clock.advance(0)

        self.assertEqual(self.kinds(), [Down.RESTART])

    def test_handshake_is_hidden_in_the_traffic_log(self) -> None:
        """What could be used to attack the secret stays out of logs."""
        self.up(self.make(log_traffic=True))

        traffic = " ".join(formatEvent(e) for e in self.logged if e["log_level"] is LogLevel.debug)
        digest = hashlib.sha1(("a&b" + SECRET).encode()).hexdigest()
        self.assertIn("<handshake>(hidden)", traffic)
        self.assertNotIn(digest, traffic)


class ReconnectTests(StreamTestCase):
    """When and how often the server is tried."""

    def test_refused_connections_are_tried_ever_more_slowly(self) -> None:
        """1, 2, 4 ... 60 seconds, for ever."""
        self.server.refuses = True
        self.stream.startService()
        attempts_at = [0.0]
        while self.clock.seconds() < 300:
            before = len(self.events)
            self.clock.advance(1)
            if len(self.events) > before:
                attempts_at.append(self.clock.seconds())

        gaps = [b - a for a, b in itertools.pairwise(attempts_at)]
        self.assertEqual(gaps[:8], [1, 2, 4, 8, 16, 32, 60, 60])
        self.assertEqual(set(self.kinds()), {Down.UNREACHABLE})

    def test_only_a_handshake_starts_the_delays_afresh(self) -> None:
        """TCP alone proves nothing; after a handshake the next try comes soon."""
        self.stream.startService()
        for delay_s in (1, 2, 4):
            self.server.transport.lose()
            self.clock.advance(delay_s - 0.5)
            before = self.connections()
            self.clock.advance(0.5)
            self.assertEqual(self.connections(), before + 1)

        self.server.accepts()
        self.server.transport.lose()
        self.clock.advance(1)

        self.assertEqual(self.connections(), 5)

    def test_server_restart_is_followed_soon(self) -> None:
        """A server that says goodbye is back in a moment."""
        self.up()
        self.server.says(STREAM_ERROR.format("system-shutdown"))
        self.clock.advance(0)
        self.clock.advance(1)
        self.server.accepts()

        self.assertEqual(self.kinds(), [Down.RESTART])
        self.assertEqual(self.events[-1], ("up",))

    def test_conflict_is_never_a_tight_loop(self) -> None:
        """Two instances must not kick each other out every second."""
        self.up()
        for delay_s in (30, 60, 120, 240, 300, 300):
            self.server.says(STREAM_ERROR.format("conflict"))
            self.clock.advance(0)
            before = self.connections()
            self.clock.advance(delay_s - 1)
            self.assertEqual(self.connections(), before)
            self.clock.advance(1)
            self.assertEqual(self.connections(), before + 1)
            self.server.accepts()

        self.assertEqual(set(self.kinds()), {Down.CONFLICT})

    def test_link_that_held_forgets_old_conflicts(self) -> None:
        """After a sound minute the next conflict starts from the first delay."""
        back_off = BackOff(lambda: 0.0)
        back_off.failed(Down.CONFLICT, 1.0)
        back_off.failed(Down.CONFLICT, 1.0)
        self.assertEqual(back_off.delay_s(), 45.0)

        back_off.failed(Down.CONFLICT, 61.0)

        self.assertEqual(back_off.delay_s(), 22.5)

    def test_delays_are_spread(self) -> None:
        """Many gateways of one server do not come back in the same instant."""
        jitter = iter((0.0, 1.0))
        back_off = BackOff(lambda: next(jitter))
        back_off.failed(Down.LOST, None)

        self.assertEqual((back_off.delay_s(), back_off.delay_s()), (0.75, 1.0))

    def test_kinds_of_stream_errors(self) -> None:
        """Each condition leads to the right behavior."""
        for condition, kind in (
            ("not-authorized", Down.CONFIGURATION),
            ("invalid-namespace", Down.CONFIGURATION),
            ("conflict", Down.CONFLICT),
            ("not-well-formed", Down.REJECTED),
            ("invalid-from", Down.REJECTED),
            ("improper-addressing", Down.REJECTED),
            ("system-shutdown", Down.RESTART),
            ("reset", Down.RESTART),
            ("something-new", Down.RESTART),
        ):
            self.assertEqual(classify(condition), kind)

    def test_same_trouble_is_logged_once(self) -> None:
        """A server that is away for a night does not fill the log."""
        self.server.refuses = True
        self.stream.startService()
        self.clock.pump([60.0] * 10)

        warnings = [e for e in self.logged if e["log_level"] is LogLevel.warn]
        self.assertEqual(len(warnings), 1)
        self.assertEqual(len(self.kinds()), 11)


class FenceTests(StreamTestCase):
    """Batches and the proof that the server took them."""

    def test_batch_and_ping_leave_in_one_write_and_fire_on_the_answer(self) -> None:
        """The server's answer to the ping proves the batch."""
        self.up()
        done = self.stream.send_batch((TEXT.format("a") + TEXT.format("b")).encode())

        self.assertNoResult(done)
        before = self.server.answers_ping()

        self.assertEqual(before, TEXT.format("a") + TEXT.format("b"))
        self.assertIsNone(self.successResultOf(done))
        self.assertEqual(self.stream.in_flight_bytes, 0)

    def test_an_error_from_the_server_is_a_proof_too(self) -> None:
        """A server that does not know ping has read it all the same."""
        self.up()
        done = self.stream.send_batch(b"<message/>")
        self.server.answers_ping(kind="error")

        self.assertIsNone(self.successResultOf(done))

    def test_forged_answer_proves_nothing(self) -> None:
        """A user who guesses the id cannot vouch for the server."""
        self.up()
        done = self.stream.send_batch(b"<message/>")
        self.server.answers_ping(sender="mallory@example.net")

        self.assertNoResult(done)
        self.assertEqual(self.stanzas, [])

    def test_pings_go_to_the_parent_domain_unless_told_otherwise(self) -> None:
        """The host that the server surely answers for."""
        for more, target in (({}, "example.org"), ({"ping_target": DOMAIN}, DOMAIN)):
            stream = self.make(**more)
            self.up(stream)
            done = stream.send_batch(b"<message/>")
            self.assertIn(f"to='{target}'", self.server.transport.value().decode())
            self.server.answers_ping(sender=target)
            self.successResultOf(done)

    def test_lost_link_fails_the_batch(self) -> None:
        """What is not fenced must be sent again."""
        self.up()
        done = self.stream.send_batch(b"<message/>")
        self.server.transport.lose()

        self.assertEqual(self.failureResultOf(done, LinkDown).value.kind, Down.LOST)
        self.assertEqual(self.stream.in_flight_bytes, 0)

    def test_bad_stanza_fails_the_batch_as_rejected(self) -> None:
        """The caller learns that one of these stanzas was bad."""
        self.up()
        done = self.stream.send_batch(b"<message/>")
        self.server.says(STREAM_ERROR.format("not-well-formed"))
        self.clock.advance(0)

        self.assertEqual(self.failureResultOf(done, LinkDown).value.kind, Down.REJECTED)

    def test_frozen_server_is_left_after_the_time_out(self) -> None:
        """A dead peer is noticed by the fence, not after TCP's quarter of an hour."""
        self.up()
        done = self.stream.send_batch(b"<message/>")
        self.clock.advance(30)

        self.assertTrue(self.server.transport.is_aborted)
        self.assertEqual(self.failureResultOf(done, LinkDown).value.kind, Down.SILENT)

    def test_batch_while_down_fails_at_once(self) -> None:
        """Nothing is queued in memory."""
        self.failureResultOf(self.stream.send_batch(b"<message/>"), LinkDown)

    def test_window_bounds_what_is_in_flight(self) -> None:
        """A caller that does not wait is refused before the transport fills up."""
        stream = self.make(window_bytes=20)
        self.up(stream)
        first = stream.send_batch(b"<message id='1'/>")
        refused = stream.send_batch(b"<message/>")
        self.failureResultOf(refused, BatchTooLarge)
        self.server.answers_ping()
        self.successResultOf(first)

        again = stream.send_batch(b"<message/>")
        self.assertIn("<message/>", self.server.answers_ping())
        self.successResultOf(again)

    def test_several_batches_may_be_under_way(self) -> None:
        """Within the window, batches are answered one by one."""
        self.up()
        first = self.stream.send_batch(b"<message/>")
        heard_first = self.server.heard()
        second = self.stream.send_batch(b"<message/>")
        self.server.answers_ping()
        self.successResultOf(second)
        self.assertNoResult(first)
        found = re.search(r"id='([^']+)'", heard_first)
        assert found
        self.server.says(f"<iq type='result' from='example.org' id='{found.group(1)}'/>")

        self.successResultOf(first)


class SendingTests(StreamTestCase):
    """Stanzas without a fence."""

    def test_element_and_text_are_written_with_our_address(self) -> None:
        """A stanza without sender gets the domain; every stanza must have one."""
        self.up()
        element = domish.Element((None, "presence"))
        element["to"] = "alice@example.org"

        self.assertTrue(self.stream.send(element))
        self.assertTrue(self.stream.send("<presence/>"))

        heard = self.server.heard()
        self.assertIn(f"from='{DOMAIN}'", heard)
        self.assertTrue(heard.endswith("<presence/>"))

    def test_control_characters_never_leave(self) -> None:
        """Whoever built the stanza, it cannot end the stream for everybody."""
        self.up()
        element = domish.Element((None, "message"))
        element["to"] = "alice@example.org"
        element.addElement("body", content="bell \x07 \ud800")

        self.stream.send(element)

        self.assertIn("bell \ufffd \ufffd", self.server.heard())

    def test_nothing_is_kept_while_down(self) -> None:
        """Presence of an hour ago is worth nothing."""
        self.assertFalse(self.stream.send("<presence/>"))
        self.up()

        self.assertEqual(self.server.heard(), "")

    def test_rejected_stanzas_are_handed_over(self) -> None:
        """The last unfenced stanzas before a rejection are shown to the operator."""
        self.up()
        self.stream.send("<presence id='1'/>")
        self.stream.send("<presence id='2'/>")
        self.server.says(STREAM_ERROR.format("improper-addressing"))
        self.clock.advance(0)

        self.assertIn(("rejected", ["<presence id='1'/>", "<presence id='2'/>"]), self.events)
        self.clock.advance(1)
        self.assertEqual(self.connections(), 2)


class QuestionTests(StreamTestCase):
    """Our iqs and their answers."""

    def test_answer_must_come_from_whom_we_asked(self) -> None:
        """A stranger's result with the right id is not taken for the answer."""
        self.up()
        answer = self.stream.ask("get", "upload.example.org", "<request xmlns='urn:x'/>")
        self.assertIn("to='upload.example.org' id='id0'><request", self.server.heard())

        self.server.says("<iq type='result' from='mallory@example.net' id='id0'/>")
        self.assertNoResult(answer)
        self.server.says("<iq type='result' from='Upload.example.org' id='id0'><slot/></iq>")

        self.assertEqual(self.successResultOf(answer).firstChildElement().name, "slot")
        self.assertEqual(self.stanzas, [])

    def test_error_answer_has_type_condition_and_text(self) -> None:
        """The reason for a refusal is there for the caller."""
        self.up()
        answer = self.stream.ask("get", "example.org", "<x/>")
        self.server.says(
            "<iq type='error' from='example.org' id='id0'><error type='auth'>"
            "<forbidden xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>no</text></error></iq>"
        )

        failed = self.failureResultOf(answer, IqFailed).value
        self.assertEqual((failed.type, failed.condition, failed.text), ("auth", "forbidden", "no"))

    def test_no_answer_in_time_fails_without_ending_the_link(self) -> None:
        """A client that is slow is not the server's fault."""
        self.up()
        answer = self.stream.ask("get", "alice@example.org/p", "<x/>", timeout_s=5)
        self.clock.advance(5)

        self.assertEqual(self.failureResultOf(answer, IqFailed).value.condition, "")
        self.assertTrue(self.stream.is_up)

    def test_questions_end_with_the_link(self) -> None:
        """Nobody waits for an answer that cannot come."""
        self.up()
        answer = self.stream.ask("get", "example.org", "<x/>")
        self.server.transport.lose()

        self.failureResultOf(answer, LinkDown)
        self.failureResultOf(self.stream.ask("get", "example.org", "<x/>"), LinkDown)


class ReceivingTests(StreamTestCase):
    """What comes from the server."""

    def test_stanzas_reach_the_callback(self) -> None:
        """Messages, presences and iqs alike."""
        self.up()
        self.server.says("<message from='a@b'/><presence from='a@b'/><iq type='get' id='1'/>")

        self.assertEqual([e.name for e in self.stanzas], ["message", "presence", "iq"])

    def test_stanza_that_cannot_be_handled_does_not_end_the_stream(self) -> None:
        """A bug with one stanza is logged with its traceback; the next stanza is handled."""

        def broken(element: domish.Element) -> None:
            self.stanzas.append(element)
            raise ZeroDivisionError

        stream = self.make(on_stanza=broken)
        self.up(stream)
        self.server.says("<message from='a@b'/><iq type='get' id='7' from='a@b' to='c'/>")

        self.assertEqual(len(self.stanzas), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
        self.assertTrue(stream.is_up)
        self.assertIn("<internal-server-error", self.server.heard())

    def test_every_question_is_answered(self) -> None:
        """A question that nobody takes is refused, so that the client does not wait."""
        self.up()
        self.server.says("<iq type='get' id='7' from='a@b/c' to='sms.example.org'><x/></iq>")

        heard = self.server.heard()
        self.assertIn("type='error' from='sms.example.org' to='a@b/c' id='7'", heard)
        self.assertIn("<service-unavailable", heard)

    def test_question_that_is_taken_is_left_to_the_taker(self) -> None:
        """The callback may answer later."""

        def take(element: domish.Element) -> None:
            element.handled = True  # type: ignore[attr-defined]

        self.up(self.make(on_stanza=take))
        self.server.says("<iq type='get' id='7' from='a@b/c' to='sms.example.org'><x/></iq>")

        self.assertEqual(self.server.heard(), "")

    def test_handlers_of_wokkel_can_be_attached(self) -> None:
        """A handler from the library answers before the callback is asked."""
        VersionHandler("smsbridge", "1").setHandlerParent(self.stream)
        self.up()
        self.server.says(
            "<iq type='get' id='7' from='a@b/c' to='sms.example.org'>"
            "<query xmlns='jabber:iq:version'/></iq>"
        )

        self.assertIn("<name>smsbridge</name>", self.server.heard())
        self.assertEqual(self.stanzas, [])

    def test_questions_of_wokkel_are_tracked_like_ours(self) -> None:
        """A handler of the library gets random ids, a checked sender and a time-out."""
        handler = XMPPHandler()
        handler.setHandlerParent(self.stream)
        self.up()
        question = Request("get", JID("example.org"))
        question.timeout = 5
        question.toElement = lambda: parse(  # type: ignore[method-assign]
            "<iq type='get' to='example.org'><ping xmlns='urn:xmpp:ping'/></iq>"
        )
        answer = handler.request(question)
        self.assertIn("id='id0'><ping xmlns='urn:xmpp:ping'/>", self.server.heard())
        self.server.says("<iq type='result' from='example.net' id='id0'/>")
        self.assertNoResult(answer)
        self.server.says("<iq type='result' from='example.org' id='id0'/>")

        self.successResultOf(answer)

    def test_question_that_no_attached_handler_takes_reaches_the_callback(self) -> None:
        """Attached handlers come first, the callback second."""
        VersionHandler("smsbridge", "1").setHandlerParent(self.stream)
        self.up()
        self.server.says("<iq type='get' id='7' from='a@b/c' to='sms.example.org'><x/></iq>")

        self.assertEqual([e["id"] for e in self.stanzas], ["7"])

    def test_stray_answers_are_dropped(self) -> None:
        """Results and errors that nobody waits for are never answered."""
        self.up()
        self.server.says("<iq type='result' id='x' from='a@b'/><iq type='error' from='a@b'/>")

        self.assertEqual((self.stanzas, self.server.heard()), ([], ""))

    def test_reading_can_be_paused(self) -> None:
        """A gateway that cannot keep up lets the server wait."""
        self.up()
        self.stream.pause_reading()
        self.assertEqual(self.server.transport.producerState, "paused")
        self.stream.resume_reading()
        self.assertEqual(self.server.transport.producerState, "producing")

    def test_failing_callbacks_do_not_stop_the_link(self) -> None:
        """A bug in the glue is logged; the link goes on."""

        def broken(*arguments: object) -> None:
            raise ZeroDivisionError

        stream = self.make(on_up=broken, on_down=broken)
        self.up(stream)
        self.assertTrue(stream.is_up)
        self.server.transport.lose()
        self.clock.advance(1)

        self.assertEqual(self.connections(), 2)
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)


class KeepAliveTests(StreamTestCase):
    """A quiet link."""

    def test_a_space_is_sent_every_minute(self) -> None:
        """Firewalls and servers forget links that are silent."""
        self.up()
        self.clock.pump([60.0, 60.0])

        self.assertEqual(self.server.heard(), "  ")

    def test_quiet_server_is_pinged_and_left_if_it_does_not_answer(self) -> None:
        """A frozen server is found within minutes."""
        self.up()
        self.clock.pump([60.0] * 3)
        self.server.answers_ping()
        self.clock.pump([60.0] * 3)
        self.assertIn("<ping", self.server.heard())
        self.assertTrue(self.stream.is_up)

        self.clock.advance(30)

        self.assertFalse(self.stream.is_up)
        self.assertEqual(self.kinds(), [Down.SILENT])

    def test_fence_under_way_is_ping_enough(self) -> None:
        """While a batch waits for its answer, nothing is added."""
        self.up()
        self.clock.pump([60.0, 60.0, 45.0])
        self.server.heard()
        batch = self.stream.send_batch(b"<message/>")
        self.server.heard()
        self.clock.advance(15)

        self.assertNotIn("<ping", self.server.heard())
        self.assertNoResult(batch)

    def test_recent_answer_makes_a_ping_needless(self) -> None:
        """A busy link is not pinged on top."""
        self.up()
        self.clock.pump([60.0, 60.0])
        done = self.stream.send_batch(b"<message/>")
        self.server.answers_ping()
        self.successResultOf(done)
        self.clock.advance(60)

        self.assertNotIn("<ping", self.server.heard())


class StopTests(StreamTestCase):
    """The end."""

    def test_stop_closes_the_stream_and_fires_when_it_is_closed(self) -> None:
        """The server hears a goodbye, and nothing is tried afterwards."""
        self.up()
        batch = self.stream.send_batch(b"<message/>")
        stopped = self.stream.stopService()
        self.assertTrue(self.server.heard().endswith("</stream:stream>"))
        self.assertNoResult(stopped)
        self.clock.advance(0)

        self.successResultOf(stopped)
        self.assertEqual(self.failureResultOf(batch, LinkDown).value.kind, Down.STOPPED)
        self.assertEqual(self.kinds(), [Down.STOPPED])
        self.clock.advance(600)
        self.assertEqual(self.connections(), 1)
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_frozen_server_cannot_hold_up_the_stop(self) -> None:
        """After five seconds the connection is cut."""
        self.up()
        self.server.transport.is_stuck = True
        stopped = self.stream.stopService()
        self.clock.advance(5)

        self.successResultOf(stopped)
        self.assertTrue(self.server.transport.is_aborted)

    def test_stop_between_attempts_and_twice(self) -> None:
        """Stopping is possible in every state."""
        self.server.refuses = True
        self.stream.startService()
        self.successResultOf(self.stream.stopService())
        self.successResultOf(self.stream.stopService())

        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_it_can_be_started_again(self) -> None:
        """A gateway that was reconfigured uses the same object or a new one."""
        self.up()
        stopped = self.stream.stopService()
        self.clock.advance(0)
        self.successResultOf(stopped)

        self.up()

        self.assertTrue(self.stream.is_up)


class EndpointTests(SynchronousTestCase):
    """Where to connect."""

    def test_loopback_needs_no_tls(self) -> None:
        """The usual case: the server is on the same machine."""
        for host in ("127.0.0.1", "127.0.0.2", "::1", "[::1]", "localhost", "xmpp.localhost"):
            self.assertTrue(is_loopback(host), host)
            endpoint_for(MemoryReactorClock(), host.strip("[]"), 5347)

    def test_other_machines_need_tls_or_a_word(self) -> None:
        """Secret and texts do not cross a network in the clear by accident."""
        reactor = MemoryReactorClock()
        for host in ("192.0.2.1", "xmpp.example.org", "localhost.example.org"):
            with self.assertRaises(InsecureServer) as caught:
                endpoint_for(reactor, host, 5347)
            self.assertIn("tls = yes", str(caught.exception))
            endpoint_for(reactor, host, 5347, tls=True)
            endpoint_for(reactor, host, 5347, insecure=True)
