"""Tests of `smsbridge.web.site`: bounded requests, hooks, and the control socket."""

from __future__ import annotations

import json
import os
import socket
import stat
from pathlib import Path
from typing import Any, ClassVar

from klein import Klein
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.endpoints import (
    TCP4ClientEndpoint,
    UNIXClientEndpoint,
    connectProtocol,
)
from twisted.internet.error import CannotListenError, ConnectionLost
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, LoopingCall, deferLater
from twisted.internet.testing import StringTransport
from twisted.python.failure import Failure
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import Data

from smsbridge.errors import TemporaryFailure
from smsbridge.web import site
from smsbridge.web.api.operation import ApiError
from smsbridge.web.control import Control
from tests.web.bridge import FakeBridge
from tests.web.test_control import ABOUT


class Served(Resource):
    """Answers with what arrived; with ``/slow`` only when told to."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.bodies: list[bytes] = []
        self.arguments: list[dict[bytes, list[bytes]]] = []
        self.waiting: list[Request] = []

    def render(self, request: Request) -> Any:
        """Keep the body."""
        self.bodies.append(request.content.read())
        self.arguments.append(request.args)
        if request.path == b"/slow":
            self.waiting.append(request)
            return NOT_DONE_YET
        return b"got %d" % len(self.bodies[-1])


class Connection:
    """A connection to a site without a socket, on a clock."""

    def __init__(self, served: site._Site, host: str = "192.0.2.1") -> None:
        self.channel: Any = served.buildProtocol(IPv4Address("TCP", host, 4711))
        self.transport = StringTransport()
        self.transport.abortConnection = self.abort
        self.aborted = False
        if self.channel is not None:
            self.channel.makeConnection(self.transport)

    def abort(self) -> None:
        """Take note."""
        self.aborted = True

    def send(self, *pieces: bytes) -> bytes:
        """Let bytes arrive; returns all that was answered so far."""
        for piece in pieces:
            self.channel.dataReceived(piece)
        return self.answer

    @property
    def answer(self) -> bytes:
        """All that was answered."""
        return self.transport.value()

    def lose(self) -> None:
        """Let the connection be lost."""
        self.channel.connectionLost(Failure(ConnectionLost()))

    @property
    def reading(self) -> bool:
        """Whether the site takes what arrives."""
        return self.transport.producerState == "producing"

    @property
    def closing(self) -> bool:
        """Whether the site has closed the connection."""
        return self.transport.disconnecting or self.aborted


def head(method: str = "POST", path: str = "/", *lines: str) -> bytes:
    """Write the head of a request."""
    return "\r\n".join([f"{method} {path} HTTP/1.1", "Host: a", *lines, "", ""]).encode()


class BoundedTestCase(SynchronousTestCase):
    """Has a site that takes ten bytes, more at ``/more``, and uploads at ``/api/upload``."""

    def setUp(self) -> None:
        """Build the site."""
        self.clock = Clock()
        self.served = Served()
        self.folder = Path(self.mktemp())
        self.folder.mkdir(parents=True)
        self.admission: Deferred[None] = succeed(None)
        self.admitted: list[Request] = []
        self.limit = 100_000
        bounds = site.Bounds(
            most_bytes=10,
            limits={(b"POST", b"/more"): 20},
            uploads=[
                site.Upload(
                    method=b"POST",
                    path=b"/api/upload",
                    most_bytes=lambda: self.limit,
                    new_file=lambda: self.folder / "new",
                    admit=self.admit,
                )
            ],
            below={b"/hook/": 5},
        )
        self.site = site._Site(self.served, bounds, self.clock, lambda _: 3)

    async def admit(self, request: Request) -> None:
        """Let a request pass when the test says so."""
        self.admitted.append(request)
        await self.admission

    def connection(self, host: str = "192.0.2.1") -> Connection:
        """Connect."""
        return Connection(self.site, host)


class BoundedRequestTests(BoundedTestCase):
    """Requests that are larger than the site takes."""

    def test_small_body_is_served(self) -> None:
        """What fits is handed on."""
        answer = self.connection().send(head("POST", "/", "Content-Length: 10"), b"0123456789")

        self.assertIn(b"200 OK", answer)

    def test_declared_length_is_refused_before_the_body(self) -> None:
        """Who announces too much is refused at once, and nothing of it is kept."""
        connection = self.connection()

        answer = connection.send(head("POST", "/", "Content-Length: 11"))

        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertIn(b"Connection: close", answer)
        self.assertIn(b"10 bytes are the most here.", answer)

    def test_what_still_comes_is_thrown_away(self) -> None:
        """The client may go on until it sees the answer; then the connection is closed."""
        connection = self.connection()
        connection.send(head("POST", "/", "Content-Length: 1000"), b"x" * 500)
        self.assertFalse(connection.closing)

        connection.send(b"x" * 500)

        self.assertTrue(connection.closing)
        self.assertEqual(connection.answer.count(b"HTTP/1.1"), 1)
        self.assertEqual(self.served.bodies, [])

    def test_discarding_has_an_end(self) -> None:
        """A client that never stops is cut off."""
        connection = self.connection()
        connection.send(head("POST", "/", "Content-Length: 1000000"))
        for _ in range(9):
            self.clock.advance(1)
            connection.send(b"x" * 20_000)
            self.assertFalse(connection.aborted)

        self.clock.advance(1)

        self.assertTrue(connection.aborted)
        connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_chunks_are_counted(self) -> None:
        """A body that declares no length is cut off when it grows too large, and answered once."""
        connection = self.connection()

        answer = connection.send(
            head("POST", "/", "Transfer-Encoding: chunked"), *[b"6\r\nabcdef\r\n"] * 5, b"0\r\n\r\n"
        )

        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertIn(b"413", answer)
        self.assertTrue(connection.closing)

    def test_nobody_is_asked_to_continue_in_vain(self) -> None:
        """A client that asks first hears the refusal and not that it may send."""
        answer = self.connection().send(
            head("POST", "/", "Content-Length: 11", "Expect: 100-continue")
        )

        self.assertTrue(answer.startswith(b"HTTP/1.1 413 "), answer)
        self.assertNotIn(b"100 Continue", answer)

    def test_limit_depends_on_the_path(self) -> None:
        """A path may take more, with that method alone; the query does not matter."""
        for method, path, status in (
            ("POST", "/more?x=/", b"200"),
            ("POST", "/more/", b"413"),
            ("PUT", "/more", b"413"),
        ):
            connection = self.connection(f"192.0.2.{status[0]}{len(path)}")
            answer = connection.send(head(method, path, "Content-Length: 20"), b"x" * 20)
            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)

    def test_api_is_answered_with_its_errors(self) -> None:
        """Below ``/api/`` the refusal is a JSON:API error."""
        answer = self.connection().send(head("POST", "/api/x", "Content-Length: 11"))

        (error,) = json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]
        self.assertEqual((error["status"], error["code"]), (413, "too-large"))
        self.assertIn(b"Content-Type: application/vnd.api+json", answer)

    def test_refusal_has_the_words_of_its_status(self) -> None:
        """A client that asks too often is told so in the status line and in the error's title."""
        self.admission = fail(ApiError(429, "throttled", "Too much at once."))

        answer = self.connection().send(head("POST", "/api/upload", "Content-Length: 11"))

        self.assertTrue(answer.startswith(b"HTTP/1.1 429 Too Many Requests\r\n"), answer)
        (error,) = json.loads(answer.partition(b"\r\n\r\n")[2])["errors"]
        self.assertEqual(error["title"], "Too Many Requests")

    def test_a_path_may_have_a_limit_of_its_own_below_it(self) -> None:
        """What is small everywhere need not be let grow."""
        for path, status in (("/hook/a", 413), ("/hook/a/status?x=1", 413), ("/hook", 200)):
            answer = self.connection().send(head("POST", path, "Content-Length: 6"), b"123456")
            self.assertTrue(answer.startswith(b"HTTP/1.1 %d " % status), answer)

    def test_forms_are_not_taken_apart(self) -> None:
        """A body is left as it is before anybody has asked who sends it."""
        for path, arguments in (("/hook/a", {}), ("/", {})):
            self.connection().send(
                head(
                    "POST",
                    path,
                    "Content-Length: 3",
                    "Content-Type: application/x-www-form-urlencoded",
                ),
                b"a=1",
            )
            self.assertEqual(self.served.arguments[-1], arguments)
            self.assertEqual(self.served.bodies[-1], b"a=1")

    def test_requests_may_come_together(self) -> None:
        """Several requests in one piece are answered in their order."""
        one = head("POST", "/", "Content-Length: 1") + b"a"
        two = head("POST", "/", "Content-Length: 2") + b"bb"

        answer = self.connection().send(one + two + one)

        self.assertEqual(self.served.bodies, [b"a", b"bb", b"a"])
        self.assertEqual(answer.count(b"200 OK"), 3)

    def test_strange_requests_are_survived(self) -> None:
        """Whatever is sent leads to an answer or to the end of the connection."""
        for number, sent in enumerate(
            (
                b"\0\xff\r\n\r\n",
                b"GET\r\n\r\n",
                b"GET / HTTP/9\r\n\r\n",
                b"GET /" + b"a" * 20_000 + b" HTTP/1.1\r\n\r\n",
                head("GET", "http://other/%00/../../etc/passwd"),
                head("OPTIONS", "*"),
                head("POST", "/", "Content-Length: -1"),
                head("POST", "/", "Content-Length: 99999999999999999999999"),
                head("POST", "/", "Content-Length: 1", "Content-Length: 2"),
                head("POST", "/", "Content-Length: 1", "Transfer-Encoding: chunked"),
                head("POST", "/", "Transfer-Encoding: chunked") + b"zzz\r\n",
                head("GET", "/", *[f"X-{each}: 1" for each in range(600)]),
            )
        ):
            connection = self.connection(f"198.51.100.{number}")
            answer = connection.send(sent)
            self.assertTrue(answer.startswith(b"HTTP/1.") or connection.closing, sent)
            self.assertNotIn(b" 500 ", answer)


class SlowTests(BoundedTestCase):
    """Clients that do not keep up a pace."""

    def test_headers_have_a_time_as_a_whole(self) -> None:
        """A byte a second is not enough."""
        connection = self.connection()
        for byte in head("GET", "/")[:19]:
            connection.send(bytes([byte]))
            self.clock.advance(1)
        self.assertFalse(connection.closing)

        self.clock.advance(1)

        self.assertTrue(connection.closing)
        self.clock.advance(5)
        self.assertTrue(connection.aborted)

    def test_body_has_a_pace(self) -> None:
        """A large body may take long when it goes on; a trickle is cut off."""
        self.limit = 10_000_000
        connection = self.connection()
        connection.send(head("POST", "/api/upload", "Content-Length: 1000000"))
        for _ in range(20):
            self.clock.advance(25)
            connection.send(b"x" * 20_000)
        self.assertFalse(connection.closing)

        for _ in range(30):
            connection.send(b"x")
            self.clock.advance(1)

        self.assertTrue(connection.closing)
        connection.lose()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_idle_connection_is_closed_after_a_minute(self) -> None:
        """Between requests a client may rest for a while."""
        connection = self.connection()
        self.clock.advance(50)
        connection.send(head("GET", "/"))
        self.clock.advance(50)
        connection.send(head("GET", "/"))
        self.clock.advance(59)
        self.assertFalse(connection.closing)

        self.clock.advance(1)

        self.assertTrue(connection.closing)

    def test_answer_may_take_its_time(self) -> None:
        """As long as we have not answered the client has nothing to do."""
        connection = self.connection()
        connection.send(head("GET", "/slow"), b"GE")
        self.clock.advance(3600)
        self.assertFalse(connection.closing)

        self.served.waiting[0].finish()
        self.assertIn(b"200 OK", connection.answer)

        self.clock.advance(19)
        self.assertFalse(connection.closing)
        self.clock.advance(1)
        self.assertTrue(connection.closing)

    def test_answer_has_to_be_taken(self) -> None:
        """A client that takes nothing of a long answer is cut off; one that goes on is not."""
        connection = self.connection()
        connection.send(head("GET", "/slow"))
        for _ in range(3):
            connection.channel.pauseProducing()
            self.clock.advance(119)
            connection.channel.resumeProducing()
        self.assertFalse(connection.aborted)
        connection.channel.pauseProducing()

        self.clock.advance(120)

        self.assertTrue(connection.aborted)
        connection.lose()
        self.assertEqual(self.clock.getDelayedCalls(), [])

    def test_operators_may_take_their_time(self) -> None:
        """Somebody who reads a listing page by page holds nobody up."""
        quiet = site.control_site(Control(FakeBridge(), Clock(), ABOUT))
        channel: Any = quiet.buildProtocol(None)

        self.assertIsNone(channel.stall_s)

    def test_connections_of_an_address_are_counted(self) -> None:
        """More than its share is closed without a word, others are not concerned, and one that
        goes makes room."""
        connections = [self.connection() for _ in range(3)]

        self.assertIsNone(self.connection().channel)
        self.assertIsNotNone(self.connection("192.0.2.2").channel)
        self.assertEqual(self.site.turned_away, 1)
        connections[0].lose()
        self.assertIsNotNone(self.connection().channel)
        self.assertIsNone(self.connection().channel)

    def test_something_is_left_for_the_rest_of_the_daemon(self) -> None:
        """Connections never take the last descriptors."""
        self.patch(site, "_descriptors", lambda: site._KEPT_DESCRIPTORS + 5)
        connected = [self.connection(f"192.0.2.{number}") for number in range(10)]

        self.assertEqual(sum(each.channel is not None for each in connected), 5)


class UploadTests(BoundedTestCase):
    """Bodies that go to a file."""

    def start(self, *lines: str, length: int = 30_000) -> Connection:
        """Send the head of an upload."""
        connection = self.connection()
        connection.send(head("POST", "/api/upload?name=a", f"Content-Length: {length}", *lines))
        return connection

    def test_body_goes_to_a_file_while_it_arrives(self) -> None:
        """The file has it, the one who serves it reads it there, and it is gone afterwards."""
        seen: list[bytes] = []

        def render(request: Any) -> bytes:
            seen.append(request.upload.read_bytes())
            return b"done"

        self.served.render = render  # type: ignore[method-assign]
        connection = self.start()
        connection.send(b"a" * 20_000)
        self.assertEqual([each.name for each in self.folder.iterdir()], ["new"])

        answer = connection.send(b"b" * 10_000)

        self.assertIn(b"200 OK", answer)
        self.assertEqual(seen, [b"a" * 20_000 + b"b" * 10_000])
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_file_may_be_moved_away(self) -> None:
        """Who wants to keep the file takes it."""

        def render(request: Any) -> bytes:
            request.upload.rename(self.folder / "kept")
            return b"done"

        self.served.render = render  # type: ignore[method-assign]
        self.start(length=5).send(b"12345")

        self.assertEqual((self.folder / "kept").read_bytes(), b"12345")

    def test_request_is_whole_when_it_is_asked_about(self) -> None:
        """Who decides sees method, path, query and headers, and the cookies."""
        self.start("Cookie: smsbridge=x")
        (request,) = self.admitted

        self.assertEqual(
            (request.method, request.path, request.uri),
            (b"POST", b"/api/upload", b"/api/upload?name=a"),
        )
        self.assertEqual(request.received_cookies, {b"smsbridge": b"x"})

    def test_nothing_is_read_before_it_is_decided(self) -> None:
        """Meanwhile the connection is not read from; what came with the headers is not lost."""
        self.admission = Deferred()
        connection = self.connection()
        connection.send(head("POST", "/api/upload", "Content-Length: 10") + b"01234")
        self.assertFalse(connection.reading)
        self.assertEqual(list(self.folder.iterdir()), [])

        self.admission.callback(None)
        self.assertTrue(connection.reading)
        connection.send(b"56789")

        self.assertEqual(self.served.bodies, [b"0123456789"])

    def test_small_body_waits_for_the_decision(self) -> None:
        """A body that came with the headers is served when that is decided, in its order."""
        self.admission = Deferred()
        connection = self.connection()
        connection.send(
            head("POST", "/api/upload", "Content-Length: 2") + b"01" + head("GET", "/x")
        )
        self.assertEqual(self.served.bodies, [])

        self.admission.callback(None)

        self.assertEqual(self.served.bodies, [b"01", b""])
        self.assertEqual(connection.answer.count(b"200 OK"), 2)

    def test_refusal_comes_before_the_body(self) -> None:
        """Who may not upload hears so at once, and nothing is kept."""
        for error, status in (
            (ApiError(401, "credentials", "Log in.", headers={"X-A": "b"}), b"401"),
            (TemporaryFailure("internal", "The database is away."), b"503"),
        ):
            self.admission = fail(error)
            connection = self.connection(f"192.0.2.{status.decode()[:2]}")
            answer = connection.send(
                head("POST", "/api/upload", "Content-Length: 90000", "Expect: 100-continue")
            )

            self.assertTrue(answer.startswith(b"HTTP/1.1 " + status), answer)
            self.assertIn(str(error).encode(), answer)
            self.assertTrue(connection.reading)
            self.assertFalse(connection.closing)
            self.assertEqual(list(self.folder.iterdir()), [])
            connection.send(b"x" * 90_000)
            self.assertTrue(connection.closing)

    def test_late_refusal(self) -> None:
        """Also when the refusal comes after the whole body."""
        self.admission = Deferred()
        connection = self.connection()
        connection.send(head("POST", "/api/upload", "Content-Length: 2") + b"01")

        self.admission.errback(ApiError(401, "credentials", "Log in."))

        self.assertTrue(connection.answer.startswith(b"HTTP/1.1 401 "))
        self.assertTrue(connection.closing)
        self.assertEqual(self.served.bodies, [])

    def test_who_asks_first_is_answered_first(self) -> None:
        """With Expect the client hears that it may send as soon as that is decided."""
        self.admission = Deferred()
        connection = self.start("Expect: 100-continue")
        self.assertEqual(connection.answer, b"")

        self.admission.callback(None)

        self.assertEqual(connection.answer, b"HTTP/1.1 100 Continue\r\n\r\n")

    def test_too_large_is_cut_off(self) -> None:
        """A length declared or not, the file never grows beyond the limit."""
        self.assertIn(b"413", self.start(length=100_001).answer)
        self.assertEqual(self.admitted, [])
        connection = self.connection("192.0.2.3")
        connection.send(head("POST", "/api/upload", "Transfer-Encoding: chunked"))
        for _ in range(11):
            connection.send(b"2710\r\n" + b"x" * 10_000 + b"\r\n")

        self.assertIn(b"413", connection.answer)
        self.assertLessEqual((self.folder / "new").stat().st_size, 100_000)
        connection.lose()
        self.assertEqual(list(self.folder.iterdir()), [])

    def test_connection_lost_on_the_way_leaves_nothing(self) -> None:
        """A browser that is closed in mid-upload leaves no file, decided or not."""
        connection = self.start()
        connection.send(b"x" * 100)
        connection.lose()
        self.assertEqual(list(self.folder.iterdir()), [])

        self.admission = Deferred()
        connection = self.start()
        connection.lose()

        self.assertEqual(list(self.folder.iterdir()), [])
        self.assertEqual(self.served.bodies, [])

    def test_client_that_goes_does_not_take_the_file_from_who_serves_it(self) -> None:
        """What has arrived whole may be moved away in a thread at this moment."""
        self.served.render = lambda request: NOT_DONE_YET  # type: ignore[method-assign]
        connection = self.start(length=5)
        connection.send(b"12345")

        connection.lose()

        self.assertEqual((self.folder / "new").read_bytes(), b"12345")

    def test_full_disk_is_said(self) -> None:
        """When there is no room the client is told to try later."""
        self.folder.rmdir()

        connection = self.start()

        self.assertTrue(connection.answer.startswith(b"HTTP/1.1 503 "), connection.answer)
        self.assertIn(b"no room", connection.answer)

    def test_form_is_not_taken_apart(self) -> None:
        """A file that claims to be a form is a file."""
        self.start("Content-Type: multipart/form-data; boundary=x", length=5).send(b"--x--")

        self.assertEqual(self.served.bodies, [b"--x--"])


class HooksTests(SynchronousTestCase):
    """``/hook/LABEL``."""

    def status(self, path: str) -> int:
        """Return the status of a GET."""

        def find(label: str) -> IResource | None:
            return Data(b"hook", "text/plain") if label == "work" else None

        mounts = {"hook": site.Hooks(find), "healthz": Data(b"ok", "text/plain")}
        treq = StubTreq(site.http_site(mounts).resource)
        return int(self.successResultOf(treq.get("http://bridge.test" + path)).code)

    def test_label_finds_its_gateway(self) -> None:
        """A gateway is found by its label, asked anew for each request."""
        self.assertEqual(self.status("/hook/work"), 200)
        self.assertEqual(self.status("/healthz"), 200)

    def test_klein_is_not_left_to_redirect(self) -> None:
        """A hook written with Klein is reached without a slash at the end, and below."""

        class Hook:
            app: ClassVar[Klein] = Klein()

            @app.route("/")
            def message(self, request: IRequest) -> bytes:
                return b"message"

            @app.route("/status")
            def status(self, request: IRequest) -> bytes:
                return b"status"

        treq = StubTreq(
            site.http_site({"hook": site.Hooks(lambda label: Hook().app.resource())}).resource
        )
        for path, text in (("/hook/a", b"message"), ("/hook/a/status", b"status")):
            response = self.successResultOf(
                treq.get("http://bridge.test" + path, allow_redirects=False)
            )
            self.assertEqual(response.code, 200)
            self.assertEqual(self.successResultOf(treq.content(response)), text)

    def test_unknown_label_is_404(self) -> None:
        """A label of no gateway, or one that is no text, is not there."""
        for path in ("/hook/other", "/hook/%ff", "/hook", "/nope", "/"):
            self.assertEqual(self.status(path), 404, path)


class ListenersTests(SynchronousTestCase):
    """The HTTP listeners."""

    def test_endpoint_that_cannot_be_understood_is_refused(self) -> None:
        """A wrong endpoint string is an error when the service is built."""
        with self.assertRaises(ValueError):
            site.http_listeners(reactor, ["nonsense:8080"], site.http_site({}))

    def test_taken_port_stops_the_start(self) -> None:
        """A port in use is an error of the start, not a line in the log."""
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            taken.listen()
            endpoint = f"tcp:{taken.getsockname()[1]}:interface=127.0.0.1"
            listeners = site.http_listeners(reactor, [endpoint], site.http_site({}))
            with self.assertRaises(CannotListenError):
                listeners.privilegedStartService()


class Received(Protocol):
    """Collects what arrives and tells when it contains something or the end comes."""

    def __init__(self) -> None:
        self.data = b""
        self._wanted: tuple[bytes, Deferred[bytes]] | None = None
        self.lost: Deferred[None] = Deferred()

    def dataReceived(self, data: bytes) -> None:
        """Collect."""
        self.data += data
        if self._wanted is not None and self._wanted[0] in self.data:
            (_, arrived), self._wanted = self._wanted, None
            arrived.callback(self.data)

    def until(self, wanted: bytes) -> Deferred[bytes]:
        """Fire with everything once `wanted` is in it."""
        self._wanted = (wanted, Deferred())
        arrived = self._wanted[1]
        self.dataReceived(b"")
        return arrived

    def connectionLost(self, reason: object = None) -> None:
        """Tell that the end came."""
        self.lost.callback(None)


class SocketTests(TestCase):
    """The site on real sockets."""

    timeout = 20

    def serve(self, **bounds: Any) -> None:
        """Listen on a free port."""
        self.served = Served()
        served = site._Site(self.served, site.Bounds(**bounds), None, lambda _: 50)
        self.port: Any = reactor.listenTCP(0, served, interface="127.0.0.1")
        self.addCleanup(self.port.stopListening)

    async def connect(self) -> Received:
        """Connect to it."""
        endpoint = TCP4ClientEndpoint(reactor, "127.0.0.1", self.port.getHost().port)
        received: Received = await connectProtocol(endpoint, Received())
        return received

    async def test_refusal_is_seen_by_a_client_that_sends_on(self) -> None:
        """A client that sends 20 MB without looking finds the answer afterwards."""
        self.serve()
        client = await self.connect()

        client.transport.write(head("POST", "/", "Content-Length: 20000000") + b"x" * 20_000_000)
        await client.lost

        self.assertTrue(client.data.startswith(b"HTTP/1.1 413 "), client.data[:100])
        self.assertEqual(client.data.count(b"HTTP/1.1"), 1)

    async def test_upload_reaches_the_disk(self) -> None:
        """A large upload arrives unchanged and through a file."""
        path = Path(self.mktemp())

        async def admit(request: Request) -> None:
            await deferLater(reactor, 0.001)

        self.serve(
            uploads=[
                site.Upload(
                    method=b"POST",
                    path=b"/up",
                    most_bytes=lambda: 10_000_000,
                    new_file=lambda: path,
                    admit=admit,
                )
            ]
        )
        body = os.urandom(5_000_000)
        client = await self.connect()

        client.transport.write(head("POST", "/up", "Content-Length: 5000000") + body)
        await client.until(b"got 5000000")

        self.assertEqual(self.served.bodies, [body])
        self.assertFalse(path.exists())
        client.transport.abortConnection()
        await client.lost

    async def test_slow_clients_are_cut_off(self) -> None:
        """Headers and bodies that trickle in end with the connection, and nobody else waits."""
        self.patch(site._Channel, "head_s", 0.15)
        self.patch(site._Channel, "piece_s", 0.15)
        self.serve()
        slow_head, slow_body, quick = [await self.connect() for _ in range(3)]
        slow_head.transport.write(b"GET / HT")
        slow_body.transport.write(head("POST", "/", "Content-Length: 10") + b"x")

        quick.transport.write(head("GET", "/"))
        await quick.until(b"got 0")
        trickle = LoopingCall(
            lambda: [each.transport.write(b"x") for each in (slow_head, slow_body)]
        )
        trickle.start(0.05)
        await slow_head.lost
        await slow_body.lost
        trickle.stop()

        self.assertEqual(len(self.served.bodies), 1)
        quick.transport.abortConnection()
        await quick.lost

    async def test_flood_from_one_address_is_turned_away(self) -> None:
        """Of a hundred connections fifty are taken, and the site goes on."""
        self.serve()
        flood = [await self.connect() for _ in range(100)]
        flood[0].transport.write(head("GET", "/"))
        await flood[0].until(b"got 0")

        while sum(each.lost.called for each in flood) < 50:
            await deferLater(reactor, 0.001)

        self.assertFalse(flood[0].lost.called)
        for each in flood:
            each.transport.abortConnection()
            await each.lost
        again = await self.connect()
        again.transport.write(head("GET", "/"))
        await again.until(b"got 0")
        again.transport.abortConnection()
        await again.lost


class ControlSocketTests(TestCase):
    """The control socket on the real reactor, because its permissions are the kernel's."""

    timeout = 20

    def setUp(self) -> None:
        """Prepare a socket in a folder that does not exist yet."""
        self.bridge = FakeBridge()
        self.control = Control(self.bridge, Clock(), ABOUT)
        self.folder = Path(self.mktemp()).absolute() / "state"
        self.folder.parent.mkdir(parents=True)
        self.path = self.folder / site.SOCKET_NAME

    def start(self, folder: Path | None = None) -> site.ControlSocket:
        """Start a control socket that is stopped when the test ends."""
        service = site.ControlSocket(reactor, folder or self.folder, self.control)
        service.startService()
        self.addCleanup(service.stopService)
        return service

    async def connect(self, path: Path) -> Received:
        """Connect to a socket, however long its path."""
        folder_fd = os.open(path.parent, os.O_RDONLY)
        try:
            endpoint = UNIXClientEndpoint(reactor, f"/proc/self/fd/{folder_fd}/{path.name}")
            received: Received = await connectProtocol(endpoint, Received())
            return received
        finally:
            os.close(folder_fd)

    async def get(self, path: Path) -> bytes:
        """Ask for the links."""
        received = await self.connect(path)
        received.transport.write(b"GET /links HTTP/1.0\r\n\r\n")
        await received.lost
        return received.data

    async def test_only_the_owner_may_connect(self) -> None:
        """Folder and socket are closed to other users."""
        self.start()

        self.assertEqual(stat.S_IMODE(self.folder.stat().st_mode), 0o700)
        self.assertEqual(stat.S_IMODE(self.path.stat().st_mode), 0o600)
        self.assertIn(b"200 OK", await self.get(self.path))

    async def test_stop_removes_the_socket(self) -> None:
        """After the stop nothing is left, and the socket can be opened again."""
        service = site.ControlSocket(reactor, self.folder, self.control)
        for _ in range(2):
            service.startService()
            await service.stopService()

            self.assertFalse(self.path.exists())

    async def test_stale_socket_is_replaced(self) -> None:
        """The socket of a killed daemon does not keep the next from starting."""
        self.folder.mkdir()
        folder_fd = os.open(self.folder, os.O_RDONLY)
        self.addCleanup(os.close, folder_fd)
        with socket.socket(socket.AF_UNIX) as dead:
            dead.bind(f"/proc/self/fd/{folder_fd}/{site.SOCKET_NAME}")

        self.start()

        self.assertIn(b"200 OK", await self.get(self.path))

    async def test_living_socket_is_left_alone(self) -> None:
        """A second daemon in the same folder is refused, and the first goes on."""
        self.start()
        second = site.ControlSocket(reactor, self.folder, Control(FakeBridge(), Clock(), ABOUT))

        with self.assertRaisesRegex(CannotListenError, "another daemon"):
            second.startService()

        self.assertIn(b"200 OK", await self.get(self.path))

    def test_file_in_the_way_is_left_alone(self) -> None:
        """A file of that name is not removed."""
        self.folder.mkdir()
        self.path.write_text("precious")

        with self.assertRaisesRegex(CannotListenError, "not a socket"):
            self.start()

        self.assertEqual(self.path.read_text(), "precious")

    async def test_deep_folder_works(self) -> None:
        """A path longer than the kernel takes for a socket works all the same."""
        folder = self.folder / ("d" * 60) / ("e" * 60)
        self.start(folder)

        self.assertIn(b"200 OK", await self.get(folder / site.SOCKET_NAME))

    async def test_follower_that_goes_away_is_forgotten(self) -> None:
        """When a follower's connection breaks, the bridge is left and nothing is logged."""
        self.start()
        follower = await self.connect(self.path)
        follower.transport.write(b"GET /messages?follow=1 HTTP/1.1\r\nHost: a\r\n\r\n")
        self.bridge.add("hello")
        await follower.until(b"hello")
        self.assertEqual(len(self.bridge.followers), 1)

        follower.transport.abortConnection()
        await follower.lost
        while self.bridge.followers:
            await deferLater(reactor, 0.001)

    async def test_slow_reader_holds_one_page(self) -> None:
        """A reader that takes nothing stops the listing until it reads again."""
        self.start()
        for _ in range(3000):
            self.bridge.add("x" * 1000)
        reader = await self.connect(self.path)
        reader.transport.pauseProducing()
        reader.transport.write(b"GET /messages HTTP/1.0\r\n\r\n")
        while not self.bridge.pages_read:
            await deferLater(reactor, 0.001)
        await deferLater(reactor, 0.05)

        self.assertLess(self.bridge.pages_read, 12)

        reader.transport.resumeProducing()
        await reader.lost
        self.assertEqual(reader.data.count(b'"body"'), 3000)

    async def test_stop_ends_followers(self) -> None:
        """A follower sees the end of its answer when the daemon stops."""
        service = site.ControlSocket(reactor, self.folder, self.control)
        service.startService()
        follower = await self.connect(self.path)
        follower.transport.write(b"GET /messages?follow=1 HTTP/1.0\r\n\r\n")
        await follower.until(b"200 OK")

        await service.stopService()

        await follower.lost

    async def test_stop_does_not_wait_for_a_reader_that_takes_nothing(self) -> None:
        """A reader that has stopped reading does not keep the daemon from stopping."""
        clock = Clock()
        service = site.ControlSocket(reactor, self.folder, self.control, clock)
        service.startService()
        for _ in range(3000):
            self.bridge.add("x" * 1000)
        reader = await self.connect(self.path)
        reader.transport.pauseProducing()
        reader.transport.write(b"GET /messages HTTP/1.0\r\n\r\n")
        while not self.bridge.pages_read:
            await deferLater(reactor, 0.001)

        stopped = service.stopService()
        while not clock.getDelayedCalls():
            await deferLater(reactor, 0.001)
        clock.advance(site._LINGER_S)

        await stopped
        reader.transport.abortConnection()
        await reader.lost
