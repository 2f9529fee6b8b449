"""
Serves the inbox: its page at ``/`` and the files that the page is made of, from one folder.

Files are kept in memory, compressed where that helps, and read again when they change on disk.
Every answer carries the same strict policy: the browser runs nothing but these files and talks to
nobody but us.  What somebody may see is no matter of these files; they are the same for everybody.
"""

from __future__ import annotations

import gzip
import hashlib
import os
import re
from collections.abc import Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Final

from attrs import field, frozen
from twisted.web.resource import IResource, Resource
from twisted.web.server import Request

from smsbridge.web.shell import WORKER_NAME, stamped

__all__ = ["POLICY", "STATIC", "Pages", "content_type", "protect"]

#: The folder with the files of the inbox.
STATIC: Final = Path(__file__).parent / "static"

#: What a browser may do with any page of ours (Content Security Policy Level 3).
POLICY: Final = (
    b"default-src 'none'; script-src 'self'; style-src 'self'; img-src 'self' blob: data:; "
    b"connect-src 'self'; media-src 'self' blob:; font-src 'self'; worker-src 'self'; "
    b"manifest-src 'self'; form-action 'self'; base-uri 'none'; frame-ancestors 'none'"
)
_HEADERS: Final = (
    (b"Content-Security-Policy", POLICY),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Cross-Origin-Opener-Policy", b"same-origin"),
    (b"Cross-Origin-Resource-Policy", b"same-origin"),
)

_TYPES: Final = {
    ".css": "text/css; charset=utf-8",
    ".html": "text/html; charset=utf-8",
    ".ico": "image/x-icon",
    ".js": "text/javascript; charset=utf-8",
    ".json": "application/json",
    ".md": "text/plain; charset=utf-8",
    ".mp3": "audio/mpeg",
    ".ogg": "audio/ogg",
    ".png": "image/png",
    ".svg": "image/svg+xml",
    ".txt": "text/plain; charset=utf-8",
    ".wav": "audio/wav",
    ".webmanifest": "application/manifest+json",
    ".webp": "image/webp",
    ".woff2": "font/woff2",
}
_COMPRESSED: Final = ("text/", "application/", "image/svg")
_SEGMENT: Final = re.compile(rb"[A-Za-z0-9_][A-Za-z0-9._-]*")
_ROBOTS: Final = b"User-agent: *\nDisallow: /\n"
_NOT_FOUND: Final = b"""\
<!doctype html>
<html lang="en">
<title>Not found - smsbridge</title>
<meta name="viewport" content="width=device-width">
<h1>There is no such page</h1>
<p>The address may be mistyped, or what was here is gone.
<p><a href="/">Go to the inbox</a>
</html>
"""


def protect(request: Request) -> None:
    """Set the headers that every page of ours has."""
    for name, value in _HEADERS:
        request.setHeader(name, value)


def content_type(name: str) -> str:
    """Return the type of a file of the inbox by its name; empty for one that is not served."""
    if name.rpartition("/")[2].startswith("LICENSE"):
        return "text/plain; charset=utf-8"
    return _TYPES.get(Path(name).suffix, "")


@frozen
class _Content:
    """What is sent for one address."""

    type: bytes
    data: bytes = field(repr=False)
    packed: bytes = field(repr=False)  # by gzip; empty where that does not help
    tag: bytes

    @classmethod
    def of(cls, content_type: str, data: bytes) -> _Content:
        packed = b""
        if content_type.startswith(_COMPRESSED):
            packed = gzip.compress(data, 9, mtime=0)
            if len(packed) > 0.9 * len(data):
                packed = b""
        tag = hashlib.sha256(data).hexdigest()[:32].encode("ascii")
        return cls(content_type.encode("ascii"), data, packed, tag)


class _Folder:
    """The files of a folder, in memory."""

    def __init__(self, path: Path) -> None:
        self._path = path
        self._kept: dict[str, tuple[tuple[int, int], _Content]] = {}
        self._worker: tuple[tuple[str, ...], _Content] | None = None

    def find(self, name: str) -> _Content | None:
        """Return a file by its name below the folder, with slashes."""
        kind = content_type(name)
        if not kind:
            return None
        path = self._path / name
        try:
            status = path.stat()
            version = (status.st_mtime_ns, status.st_size)
            kept = self._kept.get(name)
            if kept is None or kept[0] != version:
                kept = self._kept[name] = (version, _Content.of(kind, path.read_bytes()))
            return kept[1]
        except OSError:
            self._kept.pop(name, None)
            return None

    def worker(self) -> _Content | None:
        """Return the service worker, which knows all other files."""
        source = self.find(WORKER_NAME)
        if source is None:
            return None
        files = {name: found for name in self._names() if (found := self.find(name)) is not None}
        version = tuple(f"{name} {found.tag!r}" for name, found in files.items())
        if self._worker is None or self._worker[0] != version:
            data = stamped(source.data, {name: found.data for name, found in files.items()})
            self._worker = (version, _Content.of(_TYPES[".js"], data))
        return self._worker[1]

    def _names(self) -> Iterator[str]:
        for folder, folders, names in os.walk(self._path):
            folders.sort()
            for name in sorted(names):
                if _SEGMENT.fullmatch(os.fsencode(name)):
                    yield (Path(folder) / name).relative_to(self._path).as_posix()


class Pages(Resource):
    """
    The root of the site: the inbox, and a page in plain words where nothing is.

    :param folder: with the files; ``index.html`` and ``sw.js`` are among them.
    """

    def __init__(self, folder: Path = STATIC) -> None:
        super().__init__()
        self._folder = _Folder(folder)
        self._open: dict[bytes, Callable[[], _Content | None]] = {
            b"": lambda: self._folder.find("index.html"),
            b"sw.js": self._folder.worker,
            b"manifest.webmanifest": lambda: self._folder.find("manifest.webmanifest"),
            b"favicon.ico": self._icon,
            b"robots.txt": lambda: _Content.of(_TYPES[".txt"], _ROBOTS),
        }

    def getChild(self, path: bytes, request: Request) -> IResource:
        """Return what is served at an address that nothing else is mounted at."""
        segments = request.postpath or []
        find: Callable[[], _Content | None] = _nothing
        if path == b"static" and segments and all(map(_SEGMENT.fullmatch, segments)):
            find = partial(self._folder.find, b"/".join(segments).decode("ascii"))
        elif not segments:
            find = self._open.get(path, _nothing)
        page: IResource = _Page(find, whole_site=path == b"sw.js")
        return page

    def render(self, request: Request) -> bytes:
        """Answer an address without anything, which no client sends."""
        return _Page(_nothing).render(request)

    def _icon(self) -> _Content | None:
        return self._folder.find("favicon.ico") or self._folder.find("icons/icon-192.png")


def _nothing() -> None:
    return None


class _Page(Resource):
    """One address; `find` is asked when it is wanted."""

    isLeaf = True

    def __init__(self, find: Callable[[], _Content | None], *, whole_site: bool = False) -> None:
        super().__init__()
        self._find = find
        self._whole_site = whole_site

    def render(self, request: Request) -> bytes:
        """Send a file, or say that there is none."""
        protect(request)
        found = self._find()
        if found is None:
            request.setResponseCode(404)
            request.setHeader(b"Cache-Control", b"no-store")
            request.setHeader(b"Content-Type", b"text/html; charset=utf-8")
            return _sized(request, _NOT_FOUND)
        if request.method not in (b"GET", b"HEAD"):
            request.setResponseCode(405)
            request.setHeader(b"Allow", b"GET, HEAD")
            request.setHeader(b"Content-Type", b"text/plain; charset=utf-8")
            return _sized(request, b"This address takes GET.\n")
        request.setHeader(b"Content-Type", found.type)
        # Asked about each time, which costs a few bytes; so an update is there at once.
        request.setHeader(b"Cache-Control", b"no-cache")
        if self._whole_site:
            request.setHeader(b"Service-Worker-Allowed", b"/")
        data, tag = found.data, found.tag
        if found.packed:
            request.setHeader(b"Vary", b"Accept-Encoding")
            if _takes_gzip(request):
                request.setHeader(b"Content-Encoding", b"gzip")
                data, tag = found.packed, found.tag + b"-gz"
        request.setHeader(b"ETag", b'"' + tag + b'"')
        if _has(request, tag):
            request.setResponseCode(304)
            for name in (b"Content-Type", b"Content-Encoding"):
                request.responseHeaders.removeHeader(name)
            return b""
        return _sized(request, data)


def _sized(request: Request, data: bytes) -> bytes:
    request.setHeader(b"Content-Length", str(len(data)).encode("ascii"))
    return b"" if request.method == b"HEAD" else data


def _takes_gzip(request: Request) -> bool:
    for word in (request.getHeader(b"accept-encoding") or b"").lower().split(b","):
        coding, _, parameters = word.strip().partition(b";")
        if coding.strip() in (b"gzip", b"x-gzip"):
            return not re.fullmatch(rb"\s*q=0(\.0*)?\s*", parameters)
    return False


def _has(request: Request, tag: bytes) -> bool:
    """Tell whether the client has this version (RFC 9110 section 13.1.2)."""
    given = request.getHeader(b"if-none-match")
    if given is None:
        return False
    tags = [each.strip().removeprefix(b"W/") for each in given.split(b",")]
    return b"*" in tags or b'"' + tag + b'"' in tags
