"""
What is served where: the mounts of the HTTP listeners, and the control socket.

Requests are cut off while they arrive when they are larger than the site takes.  Nothing here logs
a request: providers' hooks carry credentials in their addresses.
"""

from __future__ import annotations

import os
import socket
import stat
from collections.abc import Callable, Iterable, Mapping
from pathlib import Path
from typing import Any

from twisted.application.internet import StreamServerEndpointService
from twisted.application.service import MultiService, Service
from twisted.application.strports import service as listener
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.interfaces import (
    IListeningPort,
    IReactorCore,
    IReactorTime,
    IReactorUNIX,
    ITransport,
)
from twisted.logger import Logger
from twisted.protocols.policies import WrappingFactory
from twisted.web.http import HTTPChannel
from twisted.web.resource import IResource, NoResource, Resource
from twisted.web.server import Request, Site

from smsbridge.web.control import MAX_BODY_BYTES, Control

__all__ = ["SOCKET_NAME", "ControlSocket", "Hooks", "control_site", "http_listeners", "http_site"]

#: The control socket's name in the state folder.
SOCKET_NAME = "control.sock"
#: The largest request from outside: a provider's webhook with everything that it may carry.
MAX_HTTP_BODY_BYTES = 2 * 1024 * 1024
# The kernel's limit for the path of a unix socket is 108 bytes with the closing NUL.
_MAX_PATH_BYTES = 107
# How long readers may take for the end of their answers when the daemon stops.
_LINGER_S = 1.0


class BoundedRequest(Request):
    """A request that is refused as soon as its body is known to be too large."""

    max_body_bytes = MAX_HTTP_BODY_BYTES
    _received_bytes = 0
    _refused = False

    def gotLength(self, length: int | None) -> None:
        """Refuse a declared length that is too large, before anything of it is stored."""
        super().gotLength(length)
        if length is not None and length > self.max_body_bytes:
            self._refuse()

    def handleContentChunk(self, data: bytes) -> None:
        """Count what arrives: a chunked body declares no length."""
        if self._refused:
            return
        self._received_bytes += len(data)
        if self._received_bytes > self.max_body_bytes:
            self._refuse()
        else:
            super().handleContentChunk(data)

    def requestReceived(self, command: bytes, path: bytes, version: bytes) -> None:
        """Serve the request, unless it was refused."""
        if not self._refused:
            super().requestReceived(command, path, version)

    def getRequestHostname(self) -> bytes:
        """Return the Host header; a unix socket has no name to fall back on, as Twisted would."""
        host: bytes = self.getHeader(b"host") or b"localhost"
        return host.split(b":", 1)[0]

    def _refuse(self) -> None:
        self._refused = True
        transport = ITransport(self.channel.transport)
        transport.write(
            b"HTTP/1.1 413 Content Too Large\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"
        )
        transport.loseConnection()


class _Site(Site):
    """A site that keeps quiet and bounds what it takes."""

    noisy = False
    displayTracebacks = False

    def __init__(self, resource: IResource, max_body_bytes: int) -> None:
        def request(channel: HTTPChannel, *arguments: Any, **more: Any) -> Request:
            made = BoundedRequest(channel, *arguments, **more)
            made.max_body_bytes = max_body_bytes
            return made

        super().__init__(resource, requestFactory=request)

    def log(self, request: Any) -> None:
        """Write no access log: addresses of hooks may hold credentials."""


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


def http_site(mounts: Mapping[str, IResource]) -> Site:
    """
    Build the site of the HTTP listeners.

    :param mounts: path below ``/`` (one segment) to what is served there.
    """
    root = Resource()
    for name, resource in mounts.items():
        root.putChild(name.encode("utf-8"), resource)
    return _Site(root, MAX_HTTP_BODY_BYTES)


def control_site(control: Control) -> Site:
    """Build the site of the control socket."""
    # Room for the frame around the attachments; the control API itself gives the friendlier answer.
    return _Site(control.resource(), MAX_BODY_BYTES + 4096)


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
