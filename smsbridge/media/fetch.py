"""
Fetches files from outside by HTTP, without being made a tool against our own network.

Whoever may send a text or a webhook names the address, so it is judged first (see `outside`).  A
redirect is a new address and judged like one; credentials are never told to another host.  What
comes is bounded while it streams to the disk, compressed or not.

No cookies, no proxies, no reuse of connections.
"""

from __future__ import annotations

import zlib
from collections.abc import Callable, Mapping
from email.message import Message
from pathlib import Path
from typing import IO, Any, Final
from urllib.parse import quote, unquote, urljoin, urlsplit

from attrs import frozen
from twisted.internet.defer import Deferred
from twisted.internet.error import ConnectError, ConnectionDone, ConnectionLost, DNSLookupError
from twisted.internet.error import TimeoutError as ConnectTimeout
from twisted.internet.protocol import Protocol, connectionDone
from twisted.python.failure import Failure
from twisted.web.client import (
    URI,
    Agent,
    ResponseDone,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http import PotentialDataLoss
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory, IResponse
from zope.interface import implementer

from smsbridge.core.attachments import shown_bytes
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.outside import NotAllowed, Outside, Resolve, is_allowed

__all__ = ["Fetched", "Fetcher", "encoded", "redirected"]

_MOST_REDIRECTS: Final = 3
_CONNECT_TIMEOUT_S: Final = 15.0
_TIMEOUT_S: Final = 120.0
_SILENCE_S: Final = 30.0
_PIECE_BYTES: Final = 64 * 1024
_LONGEST_URL: Final = 2048
_REDIRECTS: Final = frozenset({301, 302, 303, 307, 308})
_AGENT: Final = b"smsbridge"

_URL_SAFE: Final = "/%:@!$&'()*+,;=~?[]"


@frozen
class Fetched:
    """What came."""

    path: Path
    size: int
    content_type: str
    name: str


@implementer(IAgentEndpointFactory)
class _Pinned:
    """Connects to one address, whatever the name in the URL."""

    def __init__(self, outside: Outside, address: str) -> None:
        self._outside = outside
        self._address = address

    def endpointForURI(self, uri: URI) -> Any:
        """Return an endpoint."""
        return self._outside.endpoint(uri, self._address, _CONNECT_TIMEOUT_S)


class Fetcher:
    """
    Fetches by HTTP to a file.

    :param private_too: asked for each address; see `outside.is_allowed`.
    :param resolve: by default the system's resolver.
    """

    def __init__(
        self, reactor: Any, private_too: Callable[[], bool], resolve: Resolve | None = None
    ) -> None:
        self._reactor = reactor
        self._private_too = private_too
        self._outside = Outside(reactor, resolve)

    async def fetch(
        self,
        url: str,
        most_bytes: int,
        to: Path,
        headers: Mapping[str, str] | None = None,
        trusted: str = "",
    ) -> Fetched:
        """
        Fetch what is at an address into a new file; nothing is left of it after a failure.

        :param headers: told to the host of this address alone, and no more once a redirect has led
            away from it.
        :param trusted: see `Files.fetch`.
        :raises Refused: it may not be fetched, is not there, or is too large.
        :raises TemporaryFailure: there is no answer now.
        """
        fetching: Deferred[Fetched] = Deferred.fromCoroutine(
            self._fetch(url, most_bytes, to, headers or {}, trusted)
        )
        fetching.addTimeout(_TIMEOUT_S, self._reactor, _too_slow(url))
        return await fetching

    async def _fetch(
        self, url: str, most_bytes: int, to: Path, headers: Mapping[str, str], trusted: str
    ) -> Fetched:
        _checked(url)
        first = url
        for _ in range(_MOST_REDIRECTS + 1):
            if not _same_host(first, url):
                headers = {}
            response = await self._ask(url, headers, bool(trusted) and _same_host(trusted, url))
            if response.code in _REDIRECTS:
                location = response.headers.getRawHeaders(b"location", [b""])[0]
                _drop(response)
                url = redirected(url, location)
                continue
            _check_status(url, response)
            return await self._take(url, response, most_bytes, to)
        raise Refused("bad-file", f"The address {_shown(first)} leads from one to the next.")

    async def _ask(self, url: str, headers: Mapping[str, str], is_trusted: bool) -> IResponse:
        host, _ = _checked(url)
        address = await self._address(host, is_trusted)
        agent = Agent.usingEndpointFactory(self._reactor, _Pinned(self._outside, address))
        wanted = Headers({b"user-agent": [_AGENT], b"accept-encoding": [b"identity"]})
        for name, value in headers.items():
            wanted.setRawHeaders(name, [value])
        asking = agent.request(b"GET", encoded(url), wanted)
        asking.addTimeout(_CONNECT_TIMEOUT_S + _SILENCE_S, self._reactor, _too_slow(url))
        try:
            response: IResponse = await asking
            return response
        except (
            ConnectError,
            ConnectTimeout,
            ConnectionDone,
            ConnectionLost,
            ResponseFailed,
            ResponseNeverReceived,
        ) as e:
            raise TemporaryFailure(
                "peer-down", f"{host} does not answer; the file cannot be fetched.", detail=str(e)
            ) from None

    async def _address(self, host: str, is_trusted: bool) -> str:
        private_too = is_trusted or self._private_too()
        try:
            return await self._outside.address(host, lambda found: is_allowed(found, private_too))
        except DNSLookupError as e:
            raise TemporaryFailure(
                "peer-down", f"There is no host {host}; check the address.", detail=str(e)
            ) from None
        except NotAllowed:
            raise Refused(
                "not-permitted",
                f"Files are not fetched from {host}, because it is in a private network; the "
                "operator may allow that with allow_private_media in [http].",
            ) from None

    async def _take(self, url: str, response: IResponse, most_bytes: int, to: Path) -> Fetched:
        length = response.length
        if isinstance(length, int) and length > most_bytes:
            _drop(response)
            raise _too_large(most_bytes)
        encoding = b",".join(response.headers.getRawHeaders(b"content-encoding", []))
        encoding = encoding.strip().lower()
        if encoding not in (b"", b"identity", b"gzip", b"x-gzip"):
            _drop(response)
            raise Refused("bad-file", f"{_host(url)} sends the file in an unknown compression.")
        try:
            with open(to, "xb") as file:
                sink = _Sink(self._reactor, file, most_bytes, encoding.endswith(b"gzip"))
                response.deliverBody(sink)
                size = await sink.done
        except BaseException:
            to.unlink(missing_ok=True)
            raise
        content_type = response.headers.getRawHeaders(b"content-type", [b""])[0]
        disposition = response.headers.getRawHeaders(b"content-disposition", [b""])[0]
        name = _disposition_name(disposition) or unquote(urlsplit(url).path.rsplit("/", 1)[-1])
        return Fetched(to, size, content_type.decode("ascii", "replace"), name)


class _Sink(Protocol):
    """Writes a body to a file while it comes, and stops it where it is too much."""

    def __init__(self, clock: Any, file: IO[bytes], most_bytes: int, zipped: bool) -> None:
        self.done: Deferred[int] = Deferred(self._cancelled)
        self._clock = clock
        self._file = file
        self._most_bytes = most_bytes
        self._size = 0
        self._unzip = zlib.decompressobj(zlib.MAX_WBITS | 16) if zipped else None
        self._silence = clock.callLater(_SILENCE_S, self._silent)

    def dataReceived(self, data: bytes) -> None:
        """Write what came."""
        if self.done.called:
            return
        self._silence.reset(_SILENCE_S)
        try:
            if self._unzip is None:
                self._write(data)
            else:
                self._write_unpacked(data, self._unzip)
        except zlib.error:
            self._end(Failure(Refused("bad-file", "The file came broken.")))
        except OSError as e:
            self._end(Failure(TemporaryFailure("storage-full", detail=str(e))))
        except Refused:
            self._end(Failure())

    def _write_unpacked(self, data: bytes, unzip: Any) -> None:
        """Unpack in small pieces: well packed, one segment of the stream is as large as a file."""
        piece = b"begin"
        while piece and not unzip.eof:
            piece = unzip.decompress(data, _PIECE_BYTES)
            data = unzip.unconsumed_tail
            self._write(piece)

    def _write(self, data: bytes) -> None:
        self._size += len(data)
        if self._size > self._most_bytes:
            raise _too_large(self._most_bytes)
        self._file.write(data)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        """Tell whether all has come."""
        if self._silence.active():
            self._silence.cancel()
        if self.done.called:
            return
        broken = self._unzip is not None and not self._unzip.eof
        if reason.check(ResponseDone, PotentialDataLoss) and not broken:
            self.done.callback(self._size)
        else:
            self.done.errback(
                TemporaryFailure("peer-down", "The connection broke while the file was fetched.")
            )

    def _silent(self) -> None:
        self._end(
            Failure(TemporaryFailure("peer-down", "The file stopped coming while it was fetched."))
        )

    def _end(self, failure: Failure) -> None:
        if self._silence.active():
            self._silence.cancel()
        transport: Any = self.transport
        if not self.done.called:
            self.done.errback(failure)
        if transport is not None:
            transport.loseConnection()

    def _cancelled(self, _: Deferred[int]) -> None:
        if self._silence.active():
            self._silence.cancel()
        transport: Any = self.transport
        if transport is not None:
            transport.loseConnection()


class _Dropper(Protocol):
    """Closes the connection of an answer whose body nobody wants."""

    def connectionMade(self) -> None:
        """Close it."""
        transport: Any = self.transport
        transport.loseConnection()


def _drop(response: IResponse) -> None:
    response.deliverBody(_Dropper())


def _too_slow(url: str) -> Callable[[Any, float], Any]:
    def give_up(result: Any, timeout_s: float) -> Any:
        raise TemporaryFailure("peer-down", f"{_host(url)} is too slow; the file was not fetched.")

    return give_up


def _too_large(most_bytes: int) -> Refused:
    return Refused("too-large", f"The file is larger than {shown_bytes(most_bytes)}.")


def _checked(url: str) -> tuple[str, int]:
    """
    Return host and port of an address.

    :raises Refused: it is none from which files are fetched.
    """
    try:
        parts = urlsplit(url)
        host, port = parts.hostname or "", parts.port
        host = host.rstrip(".") if ":" in host else host.encode("idna").decode("ascii").rstrip(".")
    except (ValueError, UnicodeError):
        raise Refused("bad-file", "This is not an address from which files are fetched.") from None
    if parts.scheme not in ("http", "https") or not host or len(url) > _LONGEST_URL:
        raise Refused("bad-file", "Files are fetched from addresses with https:// only.")
    if parts.username is not None or parts.password is not None:
        raise Refused("bad-file", "An address with a password in it is not fetched.")
    return host, port or (443 if parts.scheme == "https" else 80)


def encoded(url: str) -> bytes:
    """Write an address as HTTP wants it: without the fragment, in ASCII."""
    parts = urlsplit(url)
    host, _ = _checked(url)
    if ":" in host:
        host = f"[{host}]"
    port = f":{parts.port}" if parts.port else ""
    path = quote(parts.path or "/", safe=_URL_SAFE)
    query = "?" + quote(parts.query, safe=_URL_SAFE) if parts.query else ""
    return f"{parts.scheme}://{host}{port}{path}{query}".encode("ascii")


def redirected(url: str, location: bytes) -> str:
    """
    Return where an answer leads.

    :raises Refused: it leads to what is not fetched.
    """
    try:
        target = urljoin(url, location.decode("utf-8", "replace"))
    except ValueError:
        raise Refused("bad-file", f"{_host(url)} leads to no address.") from None
    _checked(target)
    if urlsplit(url).scheme == "https" and urlsplit(target).scheme != "https":
        raise Refused("bad-file", f"{_host(url)} leads to an address without encryption.")
    return target


def _same_host(first: str, url: str) -> bool:
    return urlsplit(first).scheme == urlsplit(url).scheme and _checked(first) == _checked(url)


def _check_status(url: str, response: IResponse) -> None:
    code = response.code
    if code == 200:
        return
    _drop(response)
    detail = f"HTTP {code}"
    if code in (408, 425, 429) or code >= 500:
        raise TemporaryFailure(
            "peer-down", f"{_host(url)} cannot hand out the file now ({detail}).", detail=detail
        )
    if code in (401, 403):
        raise Refused(
            "not-permitted", f"{_host(url)} does not hand out the file ({detail}).", detail=detail
        )
    raise Refused(
        "file-gone", f"There is no file at {_shown(url)} any more ({detail}).", detail=detail
    )


def _disposition_name(header: bytes) -> str:
    """Return the file name of a Content-Disposition (RFC 6266)."""
    message = Message()
    message["content-disposition"] = header.decode("utf-8", "replace").replace("\n", " ")
    try:
        return message.get_filename() or ""
    except (ValueError, LookupError):
        return ""


def _host(url: str) -> str:
    try:
        return urlsplit(url).hostname or "the host"
    except ValueError:
        return "the host"


def _shown(url: str) -> str:
    """Return an address without what may be secret in it."""
    parts = urlsplit(url)
    path = parts.path if len(parts.path) <= 40 else parts.path[:40] + "..."
    return f"{parts.scheme}://{parts.hostname}{path}"
