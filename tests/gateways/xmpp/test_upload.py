"""Files in the server's own upload service: the slot, the way there, and what happens without."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

from attrs import define, evolve, field
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectionRefusedError
from twisted.internet.testing import EventLoggingObserver, StringTransport
from twisted.logger import formatEvent, globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.words.xish import domish
from zope.interface import implementer
from zope.interface.verify import verifyObject

from smsbridge.core.message import Media, Sent
from smsbridge.gateways.xmpp import upload
from smsbridge.gateways.xmpp.upload import BadSlot, Slot, read_slot
from tests.gateways.xmpp.rig import (
    CONFIG,
    DOMAIN,
    GatewayTestCase,
    body_of,
    child_of,
    parse_all,
    text_to,
)

SERVICE = "upload.example.org"
PUT = "https://upload.example.org:5281/x/a.jpg"
GET = "https://upload.example.org/x/a.jpg"
BYTES = b"\xff\xd8" + bytes(range(256)) * 20
KEPT = Media(digest="a" * 64, content_type="image/jpeg", size=len(BYTES), name="a.jpg")
SLOT = (
    f"<slot xmlns='{upload.NS_UPLOAD}'><put url='{PUT}'><header name='Authorization'>Basic\n eA=="
    f"</header><header name='Host'>elsewhere</header></put><get url='{GET}'/></slot>"
)


def answer(payload: str) -> domish.Element:
    """Return the answer to a question for a slot."""
    (element,) = parse_all(f"<iq type='result'>{payload}</iq>")
    return element


class SlotTests(SynchronousTestCase):
    """What is read of an answer."""

    def test_addresses_and_the_known_headers_are_read(self) -> None:
        """Line ends are stripped from headers, and names that nobody may set are left out."""
        self.assertEqual(
            read_slot(answer(SLOT)),
            Slot(put=PUT, get=GET, headers=(("Authorization", "Basic eA=="),)),
        )

    def test_what_is_no_slot_is_refused(self) -> None:
        """An answer that cannot be used is told from one that can."""
        for wrong in (
            "",
            "<slot/>",
            SLOT.replace(GET, "ftp://upload.example.org/a"),
            SLOT.replace(GET, "https:///a"),
            SLOT.replace(PUT, "https://h:port/"),
            SLOT.replace(PUT, "https://h/" + "a" * 3000),
            SLOT.replace(PUT, "https://h/a&#10;b"),
            SLOT.replace("eA==", "e" * 9000),
        ):
            self.assertRaises(BadSlot, read_slot, answer(wrong))

    @given(st.text(alphabet="hts:/[]@%.x1 \t", max_size=20))
    def test_no_address_breaks_the_reader(self, url: str) -> None:
        """Whatever stands there, it is an address or a refusal."""
        element = answer(SLOT)
        slot = next(iter(element.elements()))
        next(iter(slot.elements()))["url"] = url
        try:
            self.assertEqual(read_slot(element).put, url)
        except BadSlot:
            pass

    def test_the_question_is_escaped(self) -> None:
        """A file's name is whatever its sender called it."""
        (element,) = parse_all(upload.request("<a'b>&.jpg", 3, "image/jpeg"))

        self.assertEqual(element["filename"], "<a'b>&.jpg")
        self.assertEqual((element["size"], element["content-type"]), ("3", "image/jpeg"))


class Answered:
    """An answer to a PUT."""

    def __init__(self, code: int) -> None:
        self.code = code

    def deliverBody(self, protocol: Any) -> None:
        """Let the receiver close the connection."""
        protocol.makeConnection(StringTransport())


@implementer(IAgent)
@define
class HeldAgent:
    """An agent whose requests are answered when the test says so."""

    asked: list[tuple[bytes, bytes, Headers, StringTransport, Deferred[Any]]] = field(factory=list)

    def request(
        self,
        method: bytes,
        uri: bytes,
        headers: Headers | None = None,
        bodyProducer: Any = None,
    ) -> Deferred[Any]:
        """See `IAgent`."""
        sink = StringTransport()
        bodyProducer.startProducing(sink)
        asking: Deferred[Any] = Deferred()
        self.asked.append((method, uri, headers or Headers(), sink, asking))
        return asking


@define
class StoredFiles:
    """Files that are kept in a folder."""

    folder: Path
    public_url: str = "https://sms.example.org"

    def path(self, media: Media) -> Path | None:
        """See `Files.path`."""
        path = self.folder / media.digest
        return path if path.exists() else None

    def link(self, media: Media, lifetime_s: float = 0.0) -> str:
        """See `Files.link`."""
        return f"{self.public_url}/media/{media.digest[:4]}"


OWN = "https://sms.example.org/media/aaaa"


class UploadsTests(GatewayTestCase):
    """A gateway whose server has an upload service."""

    def setUp(self) -> None:
        """Keep one file."""
        self.agent = HeldAgent()
        super().setUp()
        folder = Path(self.mktemp())
        folder.mkdir()
        (folder / KEPT.digest).write_bytes(BYTES)
        self.files: Any = StoredFiles(folder)
        self.world.media = self.files
        self.server.heard()
        self.log = EventLoggingObserver.createWithCleanup(self, globalLogPublisher)

    def make(self, *_: Any, **more: Any) -> Any:
        """Build a gateway with an upload service."""
        return super().make(evolve(CONFIG, upload=SERVICE), agent=self.agent)

    def begin(self, name: str = "t", *media: Media, body: str = "") -> Deferred[Any]:
        """Begin to deliver a text with files."""
        return self.gateway.deliver("chat", [text_to(name, body, media=media or (KEPT,))])

    def question(self) -> domish.Element:
        """Return the question for a slot that the gateway sent."""
        (element,) = self.heard()
        self.assertEqual((element["to"], element["from"]), (SERVICE, DOMAIN))
        return element

    def give_slot(self, payload: str = SLOT, kind: str = "result") -> domish.Element:
        """Let the service answer the question."""
        question = self.question()
        self.say(
            f"<iq type='{kind}' from='{SERVICE}' to='{DOMAIN}' id='{question['id']}'>{payload}</iq>"
        )
        return next(iter(question.elements()))

    def refuse(self, condition: str, text: str = "") -> None:
        """Let the service refuse."""
        self.give_slot(
            f"<error type='cancel'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            f"<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>{text}</text></error>",
            "error",
        )

    def sent(self, delivering: Deferred[Any]) -> list[str]:
        """Let the server take the stanzas; return their bodies."""
        messages = self.confirm()
        self.assertEqual(list(self.successResultOf(delivering)), [Sent()])
        for message in messages:
            x = child_of(message, "x")
            shown = re.sub(r"<[^>]*>", "", x.toXml()) if x is not None else None
            self.assertIn(shown, (None, body_of(message)))
        return [body_of(message) for message in messages]

    def warnings(self) -> list[str]:
        """Return what the log warns of."""
        return [formatEvent(event) for event in self.log if event["log_level"].name == "warn"]

    def test_agent_is_one(self) -> None:
        """The stand-in is called as the real one."""
        verifyObject(IAgent, self.agent)

    def test_a_file_is_put_there_and_its_address_is_sent(self) -> None:
        """The service is asked for a place, gets the bytes as it wants them, then the text goes."""
        delivering = self.begin(body="look")
        asked = self.give_slot()
        self.clock.pump([0] * 5)

        self.assertEqual(
            (asked["filename"], asked["size"], asked["content-type"]),
            ("a.jpg", str(len(BYTES)), "image/jpeg"),
        )
        ((method, uri, headers, sink, asking),) = self.agent.asked
        self.assertEqual((method, uri, sink.value()), (b"PUT", PUT.encode(), BYTES))
        self.assertEqual(headers.getRawHeaders("authorization"), ["Basic eA=="])
        self.assertEqual(headers.getRawHeaders("content-type"), ["image/jpeg"])
        self.assertIsNone(headers.getRawHeaders("host"))
        self.assertEqual(self.server.heard(), "")
        asking.callback(Answered(201))

        self.assertEqual(self.sent(delivering), [GET, "look"])

    def test_the_same_file_is_put_there_once(self) -> None:
        """The other persons of the line, and repeats, get the same address for an hour."""
        first = self.begin()
        self.give_slot()
        self.agent.asked[0][4].callback(Answered(201))
        self.sent(first)

        self.assertEqual(self.sent(self.begin("u")), [GET])
        self.clock.advance(3601)
        self.server.heard()
        self.begin("v")
        self.assertIn("<request", self.server.heard())

    def test_texts_without_files_ask_nothing(self) -> None:
        """The hot path stays what it was."""
        delivering = self.gateway.deliver("chat", [text_to("t", "hello")])

        self.assertEqual(self.sent(delivering), ["hello"])

    def test_a_service_that_refuses_is_left_alone_for_a_minute(self) -> None:
        """Users get our own links meanwhile, and the operator reads what to change."""
        delivering = self.begin()
        self.refuse("not-allowed", "no")

        self.assertEqual(self.sent(delivering), [OWN])
        (said,) = self.warnings()
        self.assertIn(f"files cannot be put into {SERVICE}: not-allowed: no; it must admit", said)
        self.assertEqual(self.sent(self.begin("u")), [OWN])
        self.clock.advance(61)
        self.server.heard()
        again = self.begin("v")
        self.refuse("item-not-found")
        self.assertEqual(self.sent(again), [OWN])
        self.assertIn("the key 'upload'", self.warnings()[-1])

    def test_a_file_that_is_too_large_is_a_matter_of_that_file(self) -> None:
        """The next one is put there again."""
        delivering = self.begin()
        self.refuse("not-acceptable", "at most 1 MB")

        self.assertEqual(self.sent(delivering), [OWN])
        self.assertEqual(self.warnings(), [])
        again = self.begin("u")
        self.give_slot()
        self.agent.asked[0][4].callback(Answered(200))
        self.assertEqual(self.sent(again), [GET])

    def test_a_place_that_does_not_take_it_is_no_failure_of_the_text(self) -> None:
        """Refused connections, error statuses and strange answers lead to our own link."""
        for number, end in enumerate(
            (ConnectionRefusedError("nobody listens"), Answered(507), None)
        ):
            delivering = self.begin(f"t{number}")
            self.give_slot(SLOT if end is not None else "<what/>")
            if end is not None:
                asking = self.agent.asked[-1][4]
                asking.errback(end) if isinstance(end, Exception) else asking.callback(end)
            self.assertEqual(self.sent(delivering), [OWN])
            self.clock.advance(61)
            self.server.heard()
        said = self.warnings()
        for words, warning in zip(("nobody listens", "HTTP 507", "slot"), said, strict=True):
            self.assertIn(words, warning)

    def test_a_slow_place_holds_texts_up_for_some_seconds_only(self) -> None:
        """After that our own link goes; the upload goes on, for whoever gets the file next."""
        delivering = self.begin()
        self.give_slot()
        self.clock.advance(15)

        self.assertEqual(self.sent(delivering), [OWN])
        self.agent.asked[0][4].callback(Answered(201))
        self.assertEqual(self.sent(self.begin("u")), [GET])

    def test_without_a_public_address_it_is_waited_for_longer(self) -> None:
        """There the service is the only way; after its time a sentence tells of the file."""
        self.files.public_url = ""
        delivering = self.begin()
        self.give_slot()
        self.clock.advance(39)
        self.assertNoResult(delivering)
        self.clock.advance(1)
        self.server.heard()
        self.assertNoResult(delivering)  # it waits for the fence now

    def test_a_put_that_never_ends_is_given_up(self) -> None:
        """The service rests for a while."""
        delivering = self.begin()
        self.give_slot()
        self.clock.advance(15)
        self.sent(delivering)
        self.clock.advance(46)

        self.assertIn("too slow", self.warnings()[0])

    def test_a_file_that_is_gone_asks_nothing(self) -> None:
        """A purge came in between."""
        gone = evolve(KEPT, digest="b" * 64)

        self.assertEqual(self.sent(self.begin("t", gone)), ["https://sms.example.org/media/bbbb"])

    def test_file_names_keep_their_end(self) -> None:
        """Clients tell by it whether they can show the file."""
        for name, content_type, expected in (
            ("a/b\\c.jpg", "image/jpeg", "a_b_c.jpg"),
            ("x" * 200 + ".png", "image/png", "x" * 100 + ".png"),
            ("photo", "image/png", "photo.png"),
            ("", "image/png", "a" * 12 + ".png"),
            ("", "application/x-nobody-knows", "a" * 12),
        ):
            medium = evolve(KEPT, name=name, content_type=content_type)
            self.assertEqual(upload._name_of(medium), expected)
