"""
Puts files into the XMPP server's own upload service (XEP-0363), so that users get them from there.

::

    iq get to the service   <request xmlns='urn:xmpp:http:upload:0'
                                     filename='a.jpg' size='3' content-type='image/jpeg'/>
    iq result               <slot><put url='...'><header name='Authorization'>...</header></put>
                                  <get url='...'/></slot>
    PUT by HTTP, with those headers (only Authorization, Cookie and Expires are taken: XEP-0363, 5)

What cannot be put there is no failure of the text: the caller then sends a link of our own.  A
service that does not work is left alone for a while, because texts wait for it.

The operator named the service, so the address that it tells is believed, in a private network too.
"""

from __future__ import annotations

import mimetypes
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any, Final, Protocol
from urllib.parse import urlsplit

from attrs import define, field, frozen
from twisted.internet.defer import Deferred, DeferredList, DeferredSemaphore
from twisted.internet.defer import TimeoutError as TooSlow
from twisted.internet.error import ConnectError, ConnectionClosed, DNSLookupError
from twisted.internet.protocol import Protocol as WireProtocol
from twisted.internet.task import Cooperator
from twisted.logger import Logger
from twisted.web.client import (
    FileBodyProducer,
    RequestGenerationFailed,
    RequestTransmissionFailed,
    ResponseFailed,
    ResponseNeverReceived,
)
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgent
from twisted.words.xish import domish

from smsbridge.core.message import Media
from smsbridge.gateways.xmpp import stanzas
from smsbridge.gateways.xmpp.component import Component
from smsbridge.gateways.xmpp.stream import IqFailed, LinkDown

__all__ = ["NS_UPLOAD", "BadSlot", "Slot", "Uploads", "read_slot", "request"]

NS_UPLOAD: Final = "urn:xmpp:http:upload:0"

_HEADERS: Final = frozenset({"authorization", "cookie", "expires"})
_LONGEST_URL: Final = 2048
_LONGEST_HEADER: Final = 8192
_LONGEST_NAME: Final = 100

_SLOT_TIMEOUT_S: Final = 10.0
_PUT_TIMEOUT_S: Final = 60.0
_AT_ONCE: Final = 3
#: How long a service that does not work is left alone.
_REST_S: Final = 60.0
#: How long an address is used again: for the other persons of a line, and for repeats.
_KNOWN_S: Final = 3600.0
_MOST_KNOWN: Final = 1000

#: What a refusal of the service means for the operator.
_ADVICE: Final = {
    "not-allowed": "admit",
    "not-authorized": "admit",
    "forbidden": "admit",
    "item-not-found": "name",
    "remote-server-not-found": "name",
    "service-unavailable": "name",
    "feature-not-implemented": "name",
}


class BadSlot(ValueError):
    """The answer is no slot; says what is wrong with it."""


@frozen(kw_only=True)
class Slot:
    """Where a file goes, and where it is then."""

    put: str
    get: str
    headers: tuple[tuple[str, str], ...] = ()


def request(name: str, size: int, content_type: str) -> str:
    """Return the question for a slot."""
    return (
        f"<request xmlns='{NS_UPLOAD}' filename='{stanzas.quoted(name)}' size='{size}' "
        f"content-type='{stanzas.quoted(content_type)}'/>"
    )


def read_slot(answer: domish.Element) -> Slot:
    """
    Read the answer to `request`.

    :raises BadSlot: it is none.
    """
    slot = _child(answer, "slot")
    put, get = _child(slot, "put"), _child(slot, "get")
    headers = []
    for header in put.elements(NS_UPLOAD, "header"):
        # XEP-0363, 5: line ends must be stripped, and other names ignored.
        name = header.getAttribute("name", "").replace("\r", "").replace("\n", "").strip()
        value = str(header).replace("\r", "").replace("\n", "").strip()
        if name.lower() not in _HEADERS:
            continue
        if len(value) > _LONGEST_HEADER:
            raise BadSlot(f"the header {name} is too long")
        headers.append((name, value))
    return Slot(put=_url(put), get=_url(get), headers=tuple(headers))


def _child(element: domish.Element, name: str) -> domish.Element:
    found: domish.Element | None = next(element.elements(NS_UPLOAD, name), None)
    if found is not None:
        return found
    raise BadSlot(f"<{name}/> is missing")


def _url(element: domish.Element) -> str:
    url: str = element.getAttribute("url", "")
    try:
        parts = urlsplit(url)
        usable = parts.scheme in ("http", "https") and parts.hostname and (parts.port or 1)
    except ValueError:
        usable = False
    if not usable or len(url) > _LONGEST_URL or not url.isascii() or not url.isprintable():
        raise BadSlot(f"<{element.name}/> has no address that can be used")
    return url


class Asker(Protocol):
    """What is used of `stream.ComponentStream`."""

    def ask(
        self, kind: str, to: str, payload: str, *, sender: str = "", timeout_s: float | None = None
    ) -> Deferred[Any]:
        """Send an iq and wait for its answer."""


class _NotUploaded(Exception):
    """A file could not be put there; says why, and whether the next one would fare better."""

    def __init__(self, reason: str, *, is_the_file: bool = False) -> None:
        super().__init__(reason)
        self.is_the_file = is_the_file


@define(eq=False)
class Uploads:
    """
    The files in the upload service, as far as they matter now.

    :ivar agent: puts them there.
    """

    component: Component
    link: Asker
    agent: IAgent
    _known: OrderedDict[tuple[str, str], tuple[str, float]] = field(factory=OrderedDict)
    _running: dict[tuple[str, str], Deferred[None]] = field(factory=dict)
    _rest_until_s: float = float("-inf")
    _slots: DeferredSemaphore = field(factory=lambda: DeferredSemaphore(_AT_ONCE))
    _cooperator: Cooperator = field(init=False)
    _log: Logger = field(factory=Logger)

    def __attrs_post_init__(self) -> None:
        clock = self.component.clock
        self._cooperator = Cooperator(scheduler=lambda step: clock.callLater(0, step))

    async def links(self, media: Iterable[Media], within_s: float) -> dict[str, str]:
        """
        Put files into the service; returns the addresses of those that are there, by digest.

        What takes longer goes on, so that the address is there for whoever gets the file next.
        """
        service = self.component.config.upload
        if not service:
            return {}
        wanted = {medium.digest: medium for medium in media if medium.digest}
        self._forget_old()
        waiting = []
        for digest, medium in wanted.items():
            key = (service, digest)
            if key in self._known:
                continue
            if key not in self._running:
                if self.component.clock.seconds() < self._rest_until_s:
                    continue
                self._begin(key, medium)
            if key in self._running:
                waiting.append(_after(self._running[key]))
        if waiting:
            # A cancelled list cancels the waiting alone, see `_after`.
            listed = DeferredList(waiting, consumeErrors=True)
            await listed.addTimeout(within_s, self.component.clock)
        return {
            digest: self._known[service, digest][0]
            for digest in wanted
            if (service, digest) in self._known
        }

    def _forget_old(self) -> None:
        before_s = self.component.clock.seconds() - _KNOWN_S
        while self._known:
            _, (_, since_s) = next(iter(self._known.items()))
            if since_s >= before_s and len(self._known) <= _MOST_KNOWN:
                return
            self._known.popitem(last=False)

    def _begin(self, key: tuple[str, str], medium: Media) -> None:
        def finished(_: object) -> None:
            self._running.pop(key, None)

        running: Deferred[None] = self._slots.run(
            lambda: Deferred.fromCoroutine(self._upload(key, medium))
        )
        self._running[key] = running
        running.addBoth(finished)

    async def _upload(self, key: tuple[str, str], medium: Media) -> None:
        service, _ = key
        try:
            url = await self._put(service, medium)
        except _NotUploaded as e:
            if e.is_the_file:
                self._log.info(
                    "{gateway}: {service} does not take a file: {reason}; users get a link of ours",
                    gateway=self.component.label,
                    service=service,
                    reason=str(e),
                )
                return
            self._rest_until_s = self.component.clock.seconds() + _REST_S
            self._log.warn(
                "{gateway}: files cannot be put into {service}: {reason}; users get links of ours "
                "for the next {seconds} seconds",
                gateway=self.component.label,
                service=service,
                reason=str(e),
                seconds=round(_REST_S),
            )
        except Exception:
            # A file that we stumble over must hold up none of the texts.
            self._log.failure(
                "{gateway}: a file could not be put into {service}",
                gateway=self.component.label,
                service=service,
            )
        else:
            self._known[key] = (url, self.component.clock.seconds())

    async def _put(self, service: str, medium: Media) -> str:
        files = self.component.world.media
        path = files.path(medium) if files is not None else None
        if path is None:
            raise _NotUploaded("the file is not kept any more", is_the_file=True)
        content_type = medium.content_type or "application/octet-stream"
        try:
            size = path.stat().st_size
            slot = await self._ask(service, request(_name_of(medium), size, content_type))
            file = path.open("rb")
        except OSError as e:
            raise _NotUploaded(f"it cannot be read: {e.strerror}", is_the_file=True) from None
        headers = Headers({"User-Agent": ["smsbridge"], "Content-Type": [content_type]})
        for name, value in slot.headers:
            headers.addRawHeader(name, value)
        producer = FileBodyProducer(file, cooperator=self._cooperator)
        putting = self.agent.request(b"PUT", slot.put.encode("ascii"), headers, producer)
        putting.addTimeout(_PUT_TIMEOUT_S, self.component.clock)
        host = urlsplit(slot.put).hostname
        try:
            response = await putting
        except (
            ConnectError,
            ConnectionClosed,
            DNSLookupError,
            TooSlow,
            RequestGenerationFailed,
            RequestTransmissionFailed,
            ResponseFailed,
            ResponseNeverReceived,
        ) as e:
            raise _NotUploaded(f"{host} does not take it ({_words(e)})") from None
        finally:
            _close(producer)
        response.deliverBody(_Dropper())
        if not 200 <= response.code < 300:
            raise _NotUploaded(f"{host} answers HTTP {response.code} to the file")
        return slot.get

    async def _ask(self, service: str, payload: str) -> Slot:
        try:
            answer = await self.link.ask("get", service, payload, timeout_s=_SLOT_TIMEOUT_S)
            return read_slot(answer)
        except BadSlot as e:
            raise _NotUploaded(f"it answers with something else than a slot: {e}") from None
        except LinkDown as e:
            raise _NotUploaded(str(e), is_the_file=True) from None
        except IqFailed as e:
            words = f"{e.condition}: {e.text}" if e.text else e.condition or "no answer in time"
            words = stanzas.scrub(words)[:300]
            if e.condition == "not-acceptable":
                # XEP-0363, 4.3: it is larger than what the service takes.
                raise _NotUploaded(words, is_the_file=True) from None
            match _ADVICE.get(e.condition):
                case "admit":
                    words += (
                        f"; it must admit {self.component.domain} (in Prosody "
                        "http_file_share_access, in ejabberd 'access' of mod_http_upload)"
                    )
                case "name":
                    words += "; the key 'upload' must be the JID of the server's upload service"
                case _:
                    pass
            raise _NotUploaded(words) from None


class _Dropper(WireProtocol):
    """Closes the connection of an answer whose body nobody wants."""

    def connectionMade(self) -> None:
        """Close it."""
        transport: Any = self.transport
        transport.loseConnection()


def _close(producer: FileBodyProducer) -> None:
    """End the reading of a file, whether it was read to its end, in part, or not at all."""
    try:
        producer.stopProducing()
    except AttributeError:
        pass  # it had not begun; the file is closed all the same


def _after(running: Deferred[None]) -> Deferred[None]:
    """Return what fires after something; cancelling it leaves that something alone."""
    waiting: Deferred[None] = Deferred()

    def fire(result: Any) -> Any:
        if not waiting.called:
            waiting.callback(None)
        return result

    running.addBoth(fire)
    return waiting


def _name_of(medium: Media) -> str:
    """Return a file name; clients tell by its end what a file is."""
    ending = mimetypes.guess_extension(medium.content_type.partition(";")[0].strip()) or ""
    name = stanzas.scrub(medium.name).replace("/", "_").replace("\\", "_").strip()
    if not name:
        return f"{medium.digest[:12]}{ending}"
    stem, dot, end = name.rpartition(".")
    if dot and len(end) <= 8:
        return f"{stem[:_LONGEST_NAME]}.{end}"
    return f"{name[:_LONGEST_NAME]}{ending}"


def _words(error: Exception) -> str:
    if isinstance(error, TooSlow):
        return "too slow"
    causes = getattr(error, "reasons", None)
    return (causes[0].getErrorMessage() if causes else str(error))[:200]
