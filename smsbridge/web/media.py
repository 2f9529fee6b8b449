"""
``/media/...``: hands out kept files to whoever has a link.

The links are unguessable and expire, so nobody logs in here: phones, XMPP clients and providers
fetch with the same address.  Nothing that a browser would run is shown by it: everything has a type
that does no harm, a policy that forbids scripts, and mostly only the permission to save it.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final
from urllib.parse import quote

from twisted.internet.defer import CancelledError
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.http import CACHED
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.static import File

from smsbridge.core.files import Files, OpenedFile
from smsbridge.errors import Refused, TemporaryFailure

__all__ = ["MediaResource"]

_POLICY: Final = (
    b"default-src 'none'; img-src 'self'; media-src 'self'; style-src 'unsafe-inline'; "
    b"frame-ancestors 'none'; base-uri 'none'; form-action 'none'; sandbox"
)
_HEADERS: Final = (
    (b"Content-Security-Policy", _POLICY),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"X-Robots-Tag", b"noindex, nofollow"),
    # Web clients of XMPP show pictures in pages of their own.
    (b"Cross-Origin-Resource-Policy", b"cross-origin"),
)
_STATUS_OF_REASON: Final = {"file-gone": 410}
_MOST_RANGES: Final = 4
_LONGEST_CACHE_S: Final = 7 * 86400


class MediaResource(Resource):
    """
    What is mounted at ``/media``.

    :param files: returns the media store, None while it is not open.
    """

    isLeaf = True
    log = Logger()

    def __init__(self, files: Callable[[], Files | None]) -> None:
        super().__init__()
        self._files = files

    def render_GET(self, request: Request) -> Any:
        """Send a file, or a part of it."""
        for name, value in _HEADERS:
            request.setHeader(name, value)
        files = self._files()
        try:
            segments = [segment.decode("utf-8") for segment in request.postpath or []]
        except UnicodeDecodeError:
            return _answer(request, 404, "There is no file at this address.")
        if files is None:
            return _answer(request, 503, "Files are not available just now.")
        finding = files.opened(segments)
        # A reader that goes away must not be answered any more.
        gone = request.notifyFinish()
        gone.addErrback(lambda _: finding.cancel())
        finding.addCallbacks(
            self._send, self._refuse, callbackArgs=(request,), errbackArgs=(request,)
        )
        finding.addErrback(self._failed, request)
        return NOT_DONE_YET

    render_HEAD = render_GET

    def _send(self, found: OpenedFile, request: Request) -> None:
        max_age_s = min(found.max_age_s, _LONGEST_CACHE_S)
        request.setHeader(b"Cache-Control", f"private, max-age={max_age_s}, immutable".encode())
        request.setHeader(b"Content-Disposition", disposition(found.name, found.inline))
        if request.setETag(f'"{found.etag}"'.encode()) is CACHED:
            request.finish()
            return
        file = File(str(found.path))
        file.type, file.encoding = found.content_type, None
        if not file.exists():
            _finish(request, 410, "This file is not kept any more.")
            return
        if (request.getHeader(b"range") or b"").count(b",") >= _MOST_RANGES:
            # Each range is sent, so that a short request could ask for the file a thousand times.
            request.requestHeaders.removeHeader(b"range")
        body = file.render_GET(request)
        if body is not NOT_DONE_YET:
            request.write(body)
            request.finish()

    def _refuse(self, failure: Failure, request: Request) -> None:
        failure.trap(Refused, TemporaryFailure)
        error: Any = failure.value
        if isinstance(error, TemporaryFailure):
            request.setHeader(b"Retry-After", b"5")
            _finish(request, 503, error.text)
        else:
            _finish(request, _STATUS_OF_REASON.get(error.reason, 404), error.text)

    def _failed(self, failure: Failure, request: Request) -> None:
        if failure.check(CancelledError):
            return
        self.log.failure("a file could not be sent", failure=failure)
        if not request.startedWriting:
            _finish(request, 500, "Something went wrong inside the bridge; the log has it.")


def disposition(name: str, inline: bool) -> bytes:
    """Write a Content-Disposition with a file name in any script (RFC 6266, RFC 8187)."""
    kind = "inline" if inline else "attachment"
    plain = "".join(
        character if " " <= character <= "~" and character not in '"\\%' else "_"
        for character in name
    )
    header = f'{kind}; filename="{plain}"'
    if plain != name:
        header += f"; filename*=UTF-8''{quote(name, safe='')}"
    return header.encode("ascii")


def _answer(request: Request, status: int, sentence: str) -> bytes:
    body = sentence.encode("utf-8") + b"\n"
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
    request.setHeader(b"Cache-Control", b"no-store")
    request.setHeader(b"Content-Length", str(len(body)).encode())
    return body


def _finish(request: Request, status: int, sentence: str) -> None:
    body = _answer(request, status, sentence)
    request.write(body)
    request.finish()
