"""Tests of `smsbridge.web.site`: bounded requests, hooks, and the control socket."""

from __future__ import annotations

import os
import socket
import stat
from pathlib import Path
from typing import ClassVar

from klein import Klein
from treq.testing import StubTreq
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint, connectProtocol
from twisted.internet.error import CannotListenError
from twisted.internet.protocol import Protocol
from twisted.internet.task import Clock, deferLater
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource
from twisted.web.static import Data

from smsbridge.web import site
from smsbridge.web.control import Control
from tests.web.bridge import FakeBridge
from tests.web.test_control import ABOUT


class BoundedRequestTests(SynchronousTestCase):
    """Requests that are larger than the site takes."""

    def answer(self, *chunks: bytes) -> tuple[bytes, bool]:
        """Send bytes to a site that takes ten; returns its answer and whether it hung up."""
        page = Data(b"hello", "text/plain")
        page.isLeaf = True
        bounded = site._Site(page, 10)
        bounded.timeOut = None
        protocol = bounded.buildProtocol(None)
        transport = StringTransport()
        transport.abortConnection = transport.loseConnection
        protocol.makeConnection(transport)
        for chunk in chunks:
            protocol.dataReceived(chunk)
        return transport.value(), transport.disconnecting

    def test_small_body_is_served(self) -> None:
        """What fits is handed on."""
        head = b"GET / HTTP/1.1\r\nHost: a\r\nContent-Length: 10\r\n\r\n"

        answer, _ = self.answer(head, b"0123456789")

        self.assertIn(b"200 OK", answer)

    def test_declared_length_is_refused_before_the_body(self) -> None:
        """Who announces too much is refused at once, and nothing of it is kept."""
        answer, gone = self.answer(b"POST / HTTP/1.1\r\nHost: a\r\nContent-Length: 11\r\n\r\n")

        self.assertIn(b"413", answer)
        self.assertTrue(gone)

    def test_chunks_are_counted(self) -> None:
        """A body that declares no length is cut off when it grows too large, and answered once."""
        head = b"POST / HTTP/1.1\r\nHost: a\r\nTransfer-Encoding: chunked\r\n\r\n"

        answer, gone = self.answer(head, *[b"6\r\nabcdef\r\n"] * 5, b"0\r\n\r\n")

        self.assertEqual(answer.count(b"HTTP/1.1"), 1)
        self.assertIn(b"413", answer)
        self.assertTrue(gone)


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
