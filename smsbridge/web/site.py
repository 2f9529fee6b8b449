"""
What is served where: the mounts of the HTTP listeners, and the control socket.

Requests are cut off while they arrive when they are larger than the site takes, or too slow.  Large
uploads go to a file while they arrive, once their headers have shown who sends them.  Nothing here
logs a request: providers' hooks carry credentials in their addresses.
"""

from __future__ import annotations

import json
import os
import socket
import stat
import uuid
from collections import Counter
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from io import BytesIO
from pathlib import Path
from resource import RLIM_INFINITY, RLIMIT_NOFILE, getrlimit
from typing import Any

from attrs import field, frozen
from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.application.strports import service as listener
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IAddress,
    IDelayedCall,
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IReactorUNIX,
)
from twisted.internet.protocol import connectionDone
from twisted.logger import Logger
from twisted.protocols.basic import LineReceiver
from twisted.protocols.policies import WrappingFactory
from twisted.python.failure import Failure
from twisted.web.http import HTTPChannel
from twisted.web.http_headers import Headers
from twisted.web.resource import IResource, NoResource, Resource
from twisted.web.server import Request, Site

from smsbridge.errors import REASONS, TemporaryFailure
from smsbridge.web.access.brakes import network_of
from smsbridge.web.api.operation import ApiError
from smsbridge.web.control import MAX_BODY_BYTES, Control
from smsbridge.web.phrases import phrase

__all__ = [
    "MAX_HOOK_BYTES",
    "MAX_HTTP_BODY_BYTES",
    "SOCKET_NAME",
    "ControlSocket",
    "Hooks",
    "Upload",
    "control_site",
    "http_listeners",
    "http_site",
]

#: The control socket's name in the state folder.
SOCKET_NAME = "control.sock"
#: The largest request from outside.
MAX_HTTP_BODY_BYTES = 2 * 1024 * 1024
#: The largest webhook of a provider: attachments are named in it by their addresses.
MAX_HOOK_BYTES = 64 * 1024
# The kernel's limit for the path of a unix socket is 108 bytes with the closing NUL.
_MAX_PATH_BYTES = 107
# How long readers may take for the end of their answers when the daemon stops.
_LINGER_S = 1.0
# How long a client that was refused is listened to, so that it sees the answer.
_DISCARD_S = 10.0
# How long a client from outside may take nothing of an answer; an operator's pager may.
_STALL_S = 120.0
# Files and connections that the rest of the daemon may need, whatever comes from outside.
_KEPT_DESCRIPTORS = 200


@frozen(kw_only=True)
class Upload:
    """
    A path whose bodies are too large for memory: they go to a file while they arrive.

    :ivar admit: lets a request pass by its headers alone, before anything of the body is taken;
        raises `ApiError`, or one of the failures of `errors`.
    :ivar new_file: names a file that does not exist yet.  It is gone when the request is done,
        unless it was moved away: ``request.upload`` names it.  When the client goes away while the
        request is served the file stays, and belongs to whoever serves it.
    """

    method: bytes
    path: bytes
    most_bytes: Callable[[], int]
    new_file: Callable[[], Path]
    admit: Callable[[Request], Awaitable[object]]


@frozen(kw_only=True)
class Bounds:
    """
    What requests may be like.

    :ivar limits: the largest body where it is not `most_bytes`, by method and path.
    :ivar below: the largest body below a path, which ends with a slash.
    """

    most_bytes: int = MAX_HTTP_BODY_BYTES
    limits: Mapping[tuple[bytes, bytes], int] = field(factory=dict)
    uploads: Sequence[Upload] = ()
    below: Mapping[bytes, int] = field(factory=dict)

    def most(self, method: bytes, path: bytes) -> int:
        """Return how large a body may be."""
        found = self.limits.get((method, path))
        if found is not None:
            return found
        for beginning, most_bytes in self.below.items():
            if path.startswith(beginning):
                return most_bytes
        return self.most_bytes

    def upload(self, method: bytes, path: bytes) -> Upload | None:
        """Return how a path takes uploads, if it does."""
        for upload in self.uploads:
            if (upload.method, upload.path) == (method, path):
                return upload
        return None


class BoundedRequest(Request):
    """
    A request that is refused as soon as its body is known to be too large.

    :ivar upload: the file with the body, where the path is one of `Bounds.uploads`.
    """

    log = Logger()
    channel: _Channel
    bounds = Bounds()
    upload: Path | None = None
    _most_bytes = 0
    _received_bytes = 0
    _refused = False
    _being_served = False
    _admission: Deferred[None] | None = None
    _complete: tuple[bytes, bytes, bytes] | None = None
    _lingering: IDelayedCall | None = None

    def gotLength(self, length: int | None) -> None:
        """Refuse a declared length that is too large, before anything of it is stored."""
        channel = self.channel
        self.method, self.uri, self.clientproto = channel._command, channel._path, channel._version
        self.path = self.uri.partition(b"?")[0]
        # Nobody can have us parse millions of fields, or a body before it is clear who sends it.
        self._parsePOSTFormSubmission = False
        upload = self.bounds.upload(self.method, self.path)
        if upload is None:
            super().gotLength(length)
            self._most_bytes = self.bounds.most(self.method, self.path)
        else:
            self._early = self.content = BytesIO()  # what comes in the same piece as the headers
            self._most_bytes = upload.most_bytes()
        if length is not None and length > self._most_bytes:
            self._refuse(413, "too-large", self._too_large())
        elif upload is not None:
            self._admit(upload)

    def _admit(self, upload: Upload) -> None:
        """Ask whether the body is wanted; the connection is not read from meanwhile."""
        expects = self.requestHeaders.getRawHeaders(b"expect") is not None
        self.requestHeaders.removeHeader(b"expect")  # or the channel would say "continue" now

        def admitted(_: object) -> None:
            self._admission = None
            if self._is_gone():
                return
            self._begin(upload)
            if expects and self._complete is None:
                self.channel._send100Continue()

        def refused(failure: Failure) -> None:
            self._admission = None
            if not self._is_gone():
                self._refuse_with(failure)

        def go_on(_: object) -> None:
            if self._disconnected:
                return
            self.channel.go_on_reading()
            if self._complete is not None:
                self.requestReceived(*self._complete)

        self.channel.stop_reading()
        admission = Deferred.fromCoroutine(_waited(upload.admit(self)))
        self._admission = admission
        admission.addCallbacks(admitted, refused)
        admission.addErrback(self._refuse_with)
        admission.addCallback(go_on)

    def _begin(self, upload: Upload) -> None:
        """Let the body go to a file."""
        path = upload.new_file()
        file = open(path, "x+b")  # noqa: SIM115 (closed when the request is done)
        self.upload = path
        self.content = file
        file.write(self._early.getvalue())

    def _is_gone(self) -> bool:
        return bool(self._disconnected) or self._refused

    def _refuse_with(self, failure: Failure) -> None:
        error = failure.value
        if isinstance(error, ApiError):
            self._refuse(error.status, error.code, error.detail, error.headers)
        elif isinstance(error, TemporaryFailure):
            self._refuse(503, error.reason, error.text, {"Retry-After": "5"})
        elif isinstance(error, OSError):
            self._no_room(error)
        else:
            self.log.failure("{path} could not begin", failure, path=self.path)
            self._refuse(500, "internal", REASONS["internal"])

    def handleContentChunk(self, data: bytes) -> None:
        """Count what arrives: a chunked body declares no length."""
        if self._refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self._most_bytes:
            self._refuse(413, "too-large", self._too_large())
            return
        try:
            super().handleContentChunk(data)
        except OSError as e:
            self._no_room(e)

    def _no_room(self, error: OSError) -> None:
        self.log.error("cannot keep a request's body: {reason}", reason=str(error))
        self._refuse(503, "internal", "There is no room for this just now; try again later.")

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Serve the request, unless it was refused."""
        if self._refused:
            self.channel.loseConnection()
        elif self._admission is not None:
            self._complete = (command, path, version)
        else:
            self._being_served = True
            super().requestReceived(command, path, version)

    def connectionLost(self, reason: Failure) -> None:
        """Let go of what belongs to the request, unless somebody works with it."""
        if self._lingering is not None and self._lingering.active():
            self._lingering.cancel()
        admission, self._admission = self._admission, None
        super().connectionLost(reason)
        if admission is not None:
            admission.addErrback(lambda _: None)
            admission.cancel()
        if not self._being_served:
            self._forget_upload()

    def _cleanup(self) -> None:
        super()._cleanup()
        self._forget_upload()

    def _forget_upload(self) -> None:
        path, self.upload = self.upload, None
        if path is not None:
            path.unlink(missing_ok=True)

    def getRequestHostname(self) -> bytes:
        """Return the Host header; a unix socket has no name to fall back on, as Twisted would."""
        host: bytes = self.getHeader(b"host") or b"localhost"
        return host.split(b":", 1)[0]

    def _too_large(self) -> str:
        if self._most_bytes >= 1024 * 1024:
            return f"This is too large; {self._most_bytes / 1024 / 1024:.4g} MiB are the most here."
        return f"This is too large; {self._most_bytes} bytes are the most here."

    def _refuse(
        self, status: int, code: str, sentence: str, headers: Mapping[str, str] | None = None
    ) -> None:
        """
        Answer before the body has arrived.

        The rest of it is read and thrown away for a while: a client that still sends when the
        connection is closed mostly never sees the answer.
        """
        self._refused = True
        self.requestHeaders.removeHeader(b"expect")
        if self.path.startswith(b"/api/"):
            kind, body = "application/vnd.api+json", _problem(status, code, sentence)
        else:
            kind, body = "text/plain; charset=utf-8", sentence.encode() + b"\n"
        if self.method == b"HEAD":
            body = b""
        answer = Headers({"Connection": ["close"], "Content-Type": [kind]})
        answer.setRawHeaders("Content-Length", [str(len(body))])
        for name, value in (headers or {}).items():
            answer.setRawHeaders(name, [value])
        channel = self.channel
        reason = phrase(status).encode("ascii")
        channel.writeHeaders(b"HTTP/1.1", str(status).encode(), reason, answer)
        channel.write(body)
        transport: Any = channel.transport
        self._lingering = channel.callLater(_DISCARD_S, transport.abortConnection)


async def _waited(waiting: Awaitable[object]) -> None:
    await waiting


def _problem(status: int, code: str, sentence: str) -> bytes:
    error = {
        "id": str(uuid.uuid4()),
        "status": status,
        "code": code,
        "title": phrase(status),
        "detail": sentence,
    }
    return json.dumps({"errors": [error]}).encode("utf-8")


class _Channel(HTTPChannel):
    """
    A connection of a client that has to keep up a pace.

    Twisted's own limit is on silence, so that a byte a minute keeps a connection for ever.  Here
    the headers as a whole have a time, and so has each piece of a body.
    """

    head_s = 20.0
    piece_s = 30.0
    piece_bytes = 16 * 1024
    abortTimeout = 5
    stall_s: float | None = None  # how long a client may take nothing of an answer
    log = Logger()
    gone: Callable[[], None] | None = None
    _begun = False
    _uncounted_bytes = 0
    _idle_s: float | None = None  # `timeOut` is what counts at the moment
    _stalled: IDelayedCall | None = None
    _host: IAddress | None = None

    def connectionMade(self) -> None:
        """Wait for the first request."""
        self._idle_s = self.timeOut
        super().connectionMade()

    def getHost(self) -> IAddress:
        """Return our end of the connection; every request asks, and the kernel need not."""
        if self._host is None:
            self._host = super().getHost()
        return self._host

    def dataReceived(self, data: bytes) -> None:
        """Begin to count the time when a request begins."""
        if not self._begun and not self._handlingRequest:
            self._begun = True
            if self._idle_s:
                self.setTimeout(self.head_s)
        LineReceiver.dataReceived(self, data)

    def allHeadersReceived(self) -> None:
        """Give the body its time."""
        if self.length != 0 and self._idle_s:
            self._uncounted_bytes = 0
            self.setTimeout(self.piece_s)
        super().allHeadersReceived()

    def rawDataReceived(self, data: bytes) -> None:
        """Give the next piece of a body its time."""
        if not self._handlingRequest and self._idle_s:
            self._uncounted_bytes += len(data)
            if self._uncounted_bytes >= self.piece_bytes:
                self._uncounted_bytes = 0
                self.setTimeout(self.piece_s)
        super().rawDataReceived(data)

    def allContentReceived(self) -> None:
        """Let an idle connection have its own time again when the answer is out."""
        if self._idle_s:
            self.setTimeout(self._idle_s)
        super().allContentReceived()

    def requestDone(self, request: Request) -> None:
        """Wait for the next request."""
        self._begun = False
        super().requestDone(request)

    def timeoutConnection(self) -> None:
        """Close the connection, the hard way if it does not close soon."""
        self.log.debug("a client was too slow: {peer}", peer=str(self.getPeer()))
        self._abortingCall = self.callLater(self.abortTimeout, self.forceAbortClient)
        self.loseConnection()

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Make room for another connection."""
        self._take_again()
        super().connectionLost(reason)
        gone, self.gone = self.gone, None
        if gone is not None:
            gone()

    def pauseProducing(self) -> None:
        """Begin to count the time in which the client takes nothing."""
        if self.stall_s is not None and self._stalled is None:
            transport: Any = self.transport
            self._stalled = self.callLater(self.stall_s, transport.abortConnection)
        super().pauseProducing()

    def resumeProducing(self) -> None:
        """Go on; the client takes what we send."""
        self._take_again()
        super().resumeProducing()

    def _take_again(self) -> None:
        stalled, self._stalled = self._stalled, None
        if stalled is not None and stalled.active():
            stalled.cancel()

    def stop_reading(self) -> None:
        """Take nothing from the connection until `go_on_reading`."""
        self._networkProducer.pauseProducing()

    def go_on_reading(self) -> None:
        """Take from the connection again."""
        if not self._waitingForTransport:
            self._networkProducer.resumeProducing()


class _Site(Site):
    """
    A site that keeps quiet and bounds what it takes.

    :param per_address: how many connections one address (or IPv6 network) may have, 0 for no bound;
        without it there is no bound of any kind.
    """

    noisy = False
    displayTracebacks = False
    protocol = _Channel  # type: ignore[assignment]  # without HTTP/2, which needs a library

    def __init__(
        self,
        resource: IResource,
        bounds: Bounds,
        reactor: IReactorTime | None = None,
        per_address: Callable[[str], int] | None = None,
    ) -> None:
        def request(channel: HTTPChannel, *arguments: Any, **more: Any) -> Request:
            made = BoundedRequest(channel, *arguments, **more)
            made.bounds = bounds
            return made

        super().__init__(resource, requestFactory=request, reactor=reactor)
        self._per_address = per_address
        self._open: Counter[str] = Counter()
        self._most: int | None = None
        self.turned_away = 0

    def buildProtocol(self, addr: IAddress | None) -> Any:
        """Take a connection, unless there are too many; then it is closed without a word."""
        host: str = getattr(addr, "host", None) or ""
        network = network_of(host)
        if self._per_address is not None and self._is_full(network, self._per_address(host)):
            self.turned_away += 1
            return None
        channel: Any = super().buildProtocol(addr)
        self._open[network] += 1

        def gone() -> None:
            self._open[network] -= 1
            if self._open[network] <= 0:
                del self._open[network]

        channel.gone = gone
        if self._per_address is not None:
            channel.stall_s = _STALL_S
        return channel

    def _is_full(self, network: str, share: int) -> bool:
        if self._most is None:
            self._most = _descriptors() - _KEPT_DESCRIPTORS
        has_share = bool(network and share and self._open[network] >= share)
        return has_share or self._open.total() >= self._most

    def log(self, request: Any) -> None:
        """Write no access log: addresses of hooks may hold credentials."""


def _descriptors() -> int:
    """Return how many files and connections this process may have open."""
    soft, _ = getrlimit(RLIMIT_NOFILE)
    return 1_000_000 if soft == RLIM_INFINITY else max(soft, 2 * _KEPT_DESCRIPTORS)


class Hooks(Resource):
    """
    ``/hook/LABEL``: hands requests to the gateway of that label.

    :param find: returns the resource of a gateway, or None; asked for every request, because a
        reload adds and removes gateways.
    """

    def __init__(self, find: Callable[[str], IResource | None]) -> None:
        super().__init__()
        self._find = find

    def render(self, request: Request) -> Any:
        """Answer the path without a label, which belongs to nobody."""
        return _missing().render(request)

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Return the gateway's resource."""
        try:
            found = self._find(path.decode("utf-8"))
        except UnicodeDecodeError:
            found = None
        if found is None:
            return _missing()
        if found.isLeaf and not request.postpath:
            # Klein would redirect to the address with a slash, which no provider follows.
            request.postpath = [b""]
        return found


def _missing() -> IResource:
    page: IResource = NoResource("There is nothing here.")
    return page


def http_site(
    mounts: Mapping[str, IResource],
    *,
    pages: Resource | None = None,
    limits: Mapping[tuple[bytes, bytes], int] | None = None,
    uploads: Sequence[Upload] = (),
    per_address: Callable[[str], int] = lambda _: 0,
    reactor: IReactorTime | None = None,
) -> Site:
    """
    Build the site of the HTTP listeners.

    :param mounts: path below ``/`` (one segment) to what is served there.
    :param pages: what is served at ``/`` and where nothing is mounted.
    :param limits: the largest body where it is not `MAX_HTTP_BODY_BYTES`, by method and path.
    :param uploads: paths whose bodies go to files.
    :param per_address: how many connections an address may have; 0 is no bound.
    """
    root = Resource() if pages is None else pages
    for name, mounted in mounts.items():
        root.putChild(name.encode("utf-8"), mounted)
    bounds = Bounds(limits=limits or {}, uploads=uploads, below={b"/hook/": MAX_HOOK_BYTES})
    return _Site(root, bounds, reactor, per_address)


def control_site(control: Control) -> Site:
    """Build the site of the control socket."""
    # Room for the frame around the attachments; the control API itself gives the friendlier answer.
    return _Site(control.resource(), Bounds(most_bytes=MAX_BODY_BYTES + 4096))


def http_listeners(reactor: IReactorCore, endpoints: Iterable[str], site: Site) -> MultiService:
    """
    Build the services that listen on `endpoints`, Twisted's strings; a taken port stops the start.

    :raises ValueError: an endpoint cannot be understood.
    """
    listeners = MultiService()
    for endpoint in endpoints:
        one: StreamServerEndpointService = listener(endpoint, site, reactor)
        one.setServiceParent(listeners)
    return listeners


class _Connections(WrappingFactory):
    """Knows the open connections of a site, so that they can be closed."""

    noisy = False

    def __init__(self, site: Site) -> None:
        super().__init__(site)
        self._drained: Deferred[None] | None = None

    def unregisterProtocol(self, p: Any) -> None:
        """Take note that a connection is gone."""
        super().unregisterProtocol(p)
        if not self.protocols and self._drained is not None:
            drained, self._drained = self._drained, None
            drained.callback(None)

    async def close(self, clock: IReactorTime, within_s: float) -> None:
        """Close all connections; what a reader does not take in time is thrown away."""
        if not self.protocols:
            return
        drained = self._drained = Deferred()
        abort = clock.callLater(within_s, self._each, "abortConnection")
        self._each("loseConnection")
        await drained
        if abort.active():
            abort.cancel()

    def _each(self, method: str) -> None:
        for protocol in list(self.protocols):
            getattr(protocol.transport, method)()


class ControlSocket(Service):
    """
    Serves the control API on a unix socket that only the daemon's user (and root) can open.

    It opens in `startService`, so that after a change of user the socket belongs to the right one.

    :param folder: the state folder; made when it is missing, and closed to others.
    :param clock: tells how long readers get at the stop; the reactor if it is left out.
    """

    log = Logger()

    def __init__(
        self,
        reactor: IReactorUNIX,
        folder: Path,
        control: Control,
        clock: IReactorTime | None = None,
    ) -> None:
        self._reactor = reactor
        self._clock = clock if clock is not None else IReactorTime(reactor)
        self._folder = folder
        self._control = control
        self._connections = _Connections(control_site(control))
        self._port: IListeningPort | None = None
        self._folder_fd: int | None = None

    def startService(self) -> None:
        """
        Open the socket.

        :raises CannotListenError: another daemon serves it, or the folder forbids it.
        """
        super().startService()
        path = self._folder / SOCKET_NAME
        try:
            self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._remove_stale(path)
            self._port = self._listen(self._address(path))
        except CannotListenError:
            self._close_folder()
            raise
        except OSError as e:
            self._close_folder()
            raise CannotListenError("unix", str(path), e) from None
        self.log.info("control socket at {path}", path=str(path))

    def _listen(self, address: str) -> IListeningPort:
        # Twisted sets the mode after the socket is there; until then the mask keeps others out.
        mask = os.umask(0o177)
        try:
            factory: Any = self._connections
            return self._reactor.listenUNIX(address, factory, mode=0o600)
        finally:
            os.umask(mask)

    def stopService(self) -> Deferred[None]:
        """Close the socket and end the answers that would go on for ever."""
        super().stopService()
        self._control.close()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        port, self._port = self._port, None
        if port is not None:
            await maybeDeferred(port.stopListening)
        await self._connections.close(self._clock, _LINGER_S)
        self._close_folder()

    def _address(self, path: Path) -> str:
        """Return a name for the socket that the kernel takes, however deep the folder lies."""
        if len(os.fsencode(path)) <= _MAX_PATH_BYTES:
            return str(path)
        self._folder_fd = os.open(self._folder, os.O_RDONLY | os.O_DIRECTORY)
        return f"/proc/self/fd/{self._folder_fd}/{path.name}"

    def _close_folder(self) -> None:
        folder_fd, self._folder_fd = self._folder_fd, None
        if folder_fd is not None:
            os.close(folder_fd)

    def _remove_stale(self, path: Path) -> None:
        """
        Remove the socket that a killed daemon left.

        A lock file with a process id, as Twisted offers it, takes itself for the other daemon in a
        container, where every daemon is process 1.  So it is asked whether anybody answers.
        """
        try:
            if not stat.S_ISSOCK(path.lstat().st_mode):
                raise FileExistsError(f"{path} is not a socket")
        except FileNotFoundError:
            return
        with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM) as probe:
            try:
                probe.connect(self._address(path))
            except ConnectionRefusedError:
                path.unlink()
                return
            finally:
                self._close_folder()
        raise FileExistsError("another daemon answers there")
