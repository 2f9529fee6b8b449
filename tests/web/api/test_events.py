"""Tests of ``GET /events`` on the real core and store: what is told, resumed, and at what cost."""

from __future__ import annotations

import itertools
import resource
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import Factory, Protocol
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site

from smsbridge.core.message import DeliveryReport, Sent, Status
from smsbridge.core.threads import Viewer
from smsbridge.store.hiding import StoredHiding
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.events import Events
from smsbridge.web.api.live import LiveHub
from smsbridge.web.api.shapes import Shapes, conversation_id
from tests.web.api.live_rig import PERSONS, Memory, Request, Rig, Shaping
from tests.web.api.setting import BASE, ApiTestCase
from tests.web.backend import NUMBER, Setting


class HubOnStore:
    """A hub on the real core and store, committed by the test's hand."""

    def __init__(self, case: SynchronousTestCase) -> None:
        self.setting = Setting(case.mktemp())
        case.addCleanup(self.setting.close)
        self.shapes = Shapes(
            self.setting.backend.world,
            self.setting.bridge,
            self.setting.rig.now_ms,
            lambda: "https://sms.example.org",
        )
        self.boots = itertools.count(1)
        self.hub = self.start()

    def start(self) -> LiveHub:
        """Make a hub, as a start of the daemon does."""
        rig = self.setting.rig
        hub = LiveHub(
            rig.clock,
            rig.now_ms,
            self.setting.bridge,
            self.setting.threads,
            StoredHiding(rig.store),
            rig.world,
            self.shapes,
            f"boot{next(self.boots)}",
        )
        hub.startService()
        return hub

    def listen(self, person: str, last_id: str = "") -> Request:
        """Listen as a person."""
        request = Request()
        self.hub.listen(request, self.setting.caller(person), (), last_id)  # type: ignore[arg-type]
        return request

    def run(self) -> None:
        """Let everything happen that is to happen now."""
        for _ in range(5):
            self.setting.turn()
            self.setting.rig.clock.advance(0.05)


class StoreTests(SynchronousTestCase):
    """What real texts make of events."""

    def setUp(self) -> None:
        """Start a hub."""
        self.on_store = HubOnStore(self)
        self.rig = self.on_store.setting.rig

    def texts(self, request: Request) -> list[str]:
        """Return the bodies that a listener was told."""
        return [data["attributes"]["body"] for data in request.told("message")]

    def test_text_on_a_shared_line_is_told_as_the_api_shows_it(self) -> None:
        """Both persons of the line get the resource of the API and their own unread count."""
        john, jane = self.on_store.listen("john"), self.on_store.listen("jane")

        self.rig.text("hello", line="one")
        self.on_store.run()

        for request in (john, jane):
            attributes = request.told("message")[0]["attributes"]
            self.assertEqual((attributes["body"], attributes["status"]), ("hello", "received"))
            told = request.told("conversation")[-1]
            self.assertEqual(told["id"], conversation_id(f"one|{NUMBER}"))
            self.assertEqual(told["attributes"]["unread"], 1)

    def test_ticks_come_in_their_order(self) -> None:
        """What a sent text becomes is told step by step and never backwards."""
        self.rig.box.answer = None
        john = self.on_store.listen("john")
        accepted = self.rig.send("out")
        self.on_store.run()
        message_id = self.successResultOf(accepted).message_id
        self.rig.box.attempts[-1].settle(Sent("r1"))
        self.on_store.run()
        report = DeliveryReport(
            gateway="box", status=Status.DELIVERED, delivery_id=f"{message_id}.0"
        )
        self.rig.inbox.report(report)
        self.on_store.run()

        statuses = [data["attributes"]["status"] for data in john.told("message")]

        self.assertEqual(list(dict.fromkeys(statuses)), ["sending", "sent", "delivered"])
        self.assertEqual(statuses, sorted(statuses, key=[str(s) for s in Status].index))

    def test_deleted_text_stays_deleted(self) -> None:
        """A text that John deleted is told to Jane alone when something becomes of it."""
        john, jane = self.on_store.listen("john"), self.on_store.listen("jane")
        self.rig.text("old", line="one")
        self.on_store.run()
        (message_id,) = {data["id"] for data in john.told("message")}
        viewer = Viewer("john", ("one", "two"))
        setting = self.on_store.setting
        setting.threads.hide_messages(viewer, [message_id], self.rig.now_ms())
        self.on_store.run()
        told = len(john.told("message")), len(jane.told("message"))

        self.rig.changes.tell([message_id])
        self.on_store.run()

        self.assertEqual(len(john.told("message")), told[0])
        self.assertEqual(len(jane.told("message")), told[1] + 1)

    def test_deleted_conversation_is_told_without_a_last_text(self) -> None:
        """The other windows of the person learn that nothing is left."""
        john = self.on_store.listen("john")
        self.rig.text("old", line="one")
        self.on_store.run()
        name = f"one|{NUMBER}"
        viewer = Viewer("john", ("one", "two"))
        self.on_store.setting.threads.hide_conversation(viewer, name, self.rig.now_ms())
        self.on_store.run()

        self.on_store.hub.conversation_changed("john", name)
        self.on_store.run()

        told = john.told("conversation")[-1]
        self.assertEqual(told["id"], conversation_id(name))
        self.assertIsNone(told["attributes"]["last_message"])

    def test_restart_loses_nothing(self) -> None:
        """Texts before, between and after two runs of the daemon are told, whatever was heard."""
        john = self.on_store.listen("john")
        self.rig.text("one", line="one")
        self.on_store.run()
        self.rig.text("two", line="one")  # committed; the daemon ends before it is told
        self.rig.settle()
        self.on_store.hub.stopService()
        last_id = john.events()[-1][1]
        self.rig.clock.advance(20)
        self.on_store.hub = self.on_store.start()
        self.rig.text("three", line="one")
        self.rig.settle()

        again = self.on_store.listen("john", last_id)
        self.on_store.run()
        self.rig.text("four", line="one")
        self.on_store.run()

        self.assertEqual(self.texts(john), ["one"])
        told = self.texts(again)
        self.assertLessEqual({"two", "three", "four"}, set(told))
        self.assertEqual(told[-1], "four")
        self.assertEqual(again.told("reset"), [])
        unread = again.told("conversation")[-1]["attributes"]["unread"]
        self.assertEqual(unread, 4)

    def test_tick_during_the_restart_is_told(self) -> None:
        """A status that changed while nobody listened is told when the listener is back."""
        self.rig.box.answer = None
        john = self.on_store.listen("john")
        accepted = self.rig.send("out")
        self.on_store.run()
        message_id = self.successResultOf(accepted).message_id
        last_id = john.events()[-1][1]
        self.on_store.hub.stopService()
        self.rig.clock.advance(10)
        self.rig.box.attempts[-1].settle(Sent("r1"))
        self.rig.settle()
        self.on_store.hub = self.on_store.start()

        again = self.on_store.listen("john", last_id)
        self.on_store.run()

        (told,) = [data for data in again.told("message") if data["id"] == message_id]
        self.assertEqual(john.told("message")[-1]["attributes"]["status"], "sending")
        self.assertEqual(told["attributes"]["status"], "sent")


class OperationTests(ApiTestCase):
    """The operation as it is served."""

    def make_subjects(self) -> list[Any]:
        """Serve the events too."""
        memory: Any = Memory(self.rig.clock)
        self.hub = LiveHub(
            self.rig.clock,
            self.rig.now_ms,
            memory,
            memory,
            memory,
            self.rig.world,
            Shaping(),
            "boot",
            most_per_person=1,
        )
        self.hub.startService()
        return [Events(self.hub)]

    def test_unknown_kind_is_refused_in_a_sentence(self) -> None:
        """A misspelled kind is told with those that there are."""
        error = self.refused("GET", "/events?types=mesage", 400)

        self.assertEqual(error["source"], {"parameter": "types"})
        self.assertIn("message, conversation, contacts, lines", error["detail"])

    def test_stream_begins_at_once(self) -> None:
        """The headers and the greeting come without waiting for anything to happen."""
        asked = self.treq.get(
            f"http://bridge.test{BASE.removeprefix('/api')}/events?types=message",
            headers={"X-Person": "john"},
        )
        self.setting.turn()
        self.treq.flush()

        response = self.successResultOf(asked)
        self.assertEqual(response.code, 200)
        self.assertEqual(
            response.headers.getRawHeaders("content-type"), ["text/event-stream; charset=utf-8"]
        )
        self.assertEqual(len(self.hub), 1)
        body: list[bytes] = []
        self.treq.collect(response, body.append)
        self.treq.flush()
        self.assertIn(b"retry: 2000\n\nevent: hello\nid: ", b"".join(body))

        error = self.refused("GET", "/events", 429)
        self.assertIn("listen already", error["detail"])
        self.assertEqual(self.headers.getRawHeaders("retry-after"), ["60"])
        self.hub.stopService()
        self.treq.flush()
        self.assertEqual(self.refused("GET", "/events", 503)["status"], 503)

    def test_nobody_listens_without_a_login(self) -> None:
        """Events are for those whom we know."""
        self.assertEqual(self.refused("GET", "/events", 401, person="")["status"], 401)


class _Listener(Protocol):
    """A client that asks and keeps what comes."""

    def __init__(self) -> None:
        self.data = b""
        self.lost = False

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.write(b"GET /events HTTP/1.1\r\nHost: x\r\n\r\n")  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Keep it."""
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """Take note."""
        self.lost = True


class _Streams(Resource):
    """Serves a hub without a login; persons take turns."""

    isLeaf = True

    def __init__(self, rig: Rig) -> None:
        super().__init__()
        self._rig = rig
        self._turns = itertools.cycle(["john", "mary", "eve"])
        self._names = itertools.count()

    def render_GET(self, request: Any) -> Any:
        """Listen."""
        name = f"s{next(self._names)}"
        caller = Caller(person=PERSONS[next(self._turns)], name=name, scopes=frozenset(Scope))
        self._rig.hub.listen(request, caller)
        return NOT_DONE_YET


class SocketTests(TestCase):
    """Streams over real sockets."""

    COUNT = 500
    timeout = 60

    async def test_five_hundred_streams(self) -> None:
        """They cost little memory, all are told, and the end of the daemon ends them at once."""
        clock: Any = reactor
        rig = Rig(most_listeners=self.COUNT, most_per_person=self.COUNT)
        port = clock.listenTCP(0, Site(_Streams(rig)), interface="127.0.0.1", backlog=self.COUNT)
        self.addCleanup(port.stopListening)
        before_kib = _memory_kib()
        listeners: list[_Listener] = []

        def build(_: Any) -> _Listener:
            listeners.append(_Listener())
            return listeners[-1]

        factory = Factory()
        factory.buildProtocol = build  # type: ignore[method-assign, assignment]
        factory.doStart = factory.doStop = lambda: None  # type: ignore[method-assign]
        for _ in range(self.COUNT):
            clock.connectTCP("127.0.0.1", port.getHost().port, _client(factory))
        await self._until(lambda: len(rig.hub) == self.COUNT)
        await self._until(lambda: all(b"hello" in each.data for each in listeners))
        each_kib = (_memory_kib() - before_kib) / self.COUNT

        rig.memory.add(line="2001")
        rig.run()
        await self._until(lambda: sum(b"event: message" in each.data for each in listeners) > 330)
        self.assertEqual(rig.memory.reads, 3)

        rig.hub.stopService()
        await self._until(lambda: all(each.data.endswith(b"0\r\n\r\n") for each in listeners))
        self.assertEqual(len(rig.hub), 0)
        for each in listeners:
            each.transport.loseConnection()  # type: ignore[union-attr]
        await self._until(lambda: all(each.lost for each in listeners))
        # Both ends are in this process, so that a stream alone takes half of it.
        self.assertLess(each_kib, 100, "KiB for a stream and its client")

    async def test_reader_that_takes_nothing_is_cut_off(self) -> None:
        """A client that does not read costs a bounded amount of memory."""
        clock: Any = reactor
        rig = Rig()
        port = clock.listenTCP(0, Site(_Streams(rig)), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        listener = _Listener()
        factory = Factory()
        factory.buildProtocol = lambda _: listener  # type: ignore[method-assign, assignment, return-value]
        clock.connectTCP("127.0.0.1", port.getHost().port, _client(factory))
        await self._until(lambda: b"hello" in listener.data)
        listener.transport.pauseProducing()  # type: ignore[union-attr]
        shaping = rig.hub._shaping

        class Large:
            """Makes every message large."""

            def message(self, record: Any, viewer: Viewer) -> dict[str, object]:
                return {**shaping.message(record, viewer), "padding": "x" * 50_000}

            conversation, line = shaping.conversation, shaping.line

        rig.hub._shaping = Large()  # type: ignore[assignment]
        for _ in range(400):
            if not len(rig.hub):
                break
            rig.memory.add()
            rig.run()
            await deferLater(clock, 0)

        self.assertEqual(len(rig.hub), 0)
        listener.transport.resumeProducing()  # type: ignore[union-attr]
        await self._until(lambda: listener.lost)

    async def _until(self, true: Any) -> None:
        while not true():
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]


def _client(factory: Factory) -> Any:
    from twisted.internet.protocol import ClientFactory

    client = ClientFactory()
    client.noisy = False
    client.buildProtocol = factory.buildProtocol  # type: ignore[method-assign, assignment]
    return client


def _memory_kib() -> int:
    """Return what this process holds now."""
    with open("/proc/self/statm", encoding="ascii") as file:
        return int(file.read().split()[1]) * resource.getpagesize() // 1024
