"""Tests of `smsbridge.web.pages`: the files of the inbox and how they are served."""

from __future__ import annotations

import gzip
import os
from pathlib import Path
from typing import Any

from twisted.internet.address import IPv4Address
from twisted.internet.task import Clock
from twisted.internet.testing import StringTransport
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.static import Data

from smsbridge.web.pages import POLICY, STATIC, Pages, content_type
from smsbridge.web.site import http_site

LONG = b"export const text = 'words and words and words';\n" * 50
WORKER = b"const SHELL = {};\nself.x = SHELL;\n"


class Answer:
    """An answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, self.body = raw.partition(b"\r\n\r\n")
        status, *lines = head.split(b"\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.decode().lower(): value.strip().decode()
            for name, _, value in (line.partition(b":") for line in lines)
        }


class PagesTests(SynchronousTestCase):
    """A folder of files behind the real site."""

    def setUp(self) -> None:
        """Write a few files, one of them outside of the folder."""
        outside = Path(self.mktemp())
        self.folder = outside / "static"
        for name, data in (
            ("index.html", b"<!doctype html><title>inbox</title>"),
            ("sw.js", WORKER),
            ("manifest.webmanifest", b"{}"),
            ("js/app.js", LONG),
            ("js/lib/LICENSE.preact", b"MIT"),
            ("icons/icon-192.png", b"\x89PNG"),
            ("notes.org", b"private"),
            (".hidden.js", b"private"),
            ("js/.secret/x.js", b"private"),
        ):
            path = self.folder / name
            path.parent.mkdir(parents=True, exist_ok=True)
            path.write_bytes(data)
        (outside / "secret.txt").write_bytes(b"private")
        self.site = http_site(
            {"healthz": Data(b"ok", "text/plain")}, pages=Pages(self.folder), reactor=Clock()
        )

    def get(self, path: str, method: str = "GET", **headers: str) -> Answer:
        """Ask for an address exactly as given."""
        channel: Any = self.site.buildProtocol(IPv4Address("TCP", "192.0.2.1", 4711))
        transport = StringTransport()
        channel.makeConnection(transport)
        lines = [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        channel.dataReceived(
            "\r\n".join([f"{method} {path} HTTP/1.0", "Host: a", *lines, "", ""]).encode("latin-1")
        )
        return Answer(transport.value())

    def test_page_and_files(self) -> None:
        """Each address has its file, with its type."""
        for path, kind, data in (
            ("/", "text/html; charset=utf-8", b"<!doctype html><title>inbox</title>"),
            ("/?source=pwa", "text/html; charset=utf-8", b"<!doctype html><title>inbox</title>"),
            ("/static/js/app.js", "text/javascript; charset=utf-8", LONG),
            ("/static/js/lib/LICENSE.preact", "text/plain; charset=utf-8", b"MIT"),
            ("/manifest.webmanifest", "application/manifest+json", b"{}"),
            ("/static/icons/icon-192.png", "image/png", b"\x89PNG"),
            ("/favicon.ico", "image/png", b"\x89PNG"),
            ("/robots.txt", "text/plain; charset=utf-8", b"User-agent: *\nDisallow: /\n"),
        ):
            answer = self.get(path)
            self.assertEqual((answer.status, answer.headers["content-type"]), (200, kind), path)
            self.assertEqual(answer.body, data, path)

    def test_mounts_go_first(self) -> None:
        """What is mounted beside the pages is reached."""
        self.assertEqual(self.get("/healthz").body, b"ok")

    def test_every_answer_has_the_policy(self) -> None:
        """Good or bad, a page of ours runs nothing foreign."""
        for path in ("/", "/static/js/app.js", "/sw.js", "/nope", "/static/nope.js"):
            headers = self.get(path).headers
            self.assertEqual(headers["content-security-policy"], POLICY.decode(), path)
            self.assertEqual(headers["x-content-type-options"], "nosniff")
            self.assertEqual(headers["referrer-policy"], "no-referrer")
        for word in ("unsafe", "*", "http"):
            self.assertNotIn(word, POLICY.decode())

    def test_nothing_else_is_reached(self) -> None:
        """No spelling of a path leads out of the folder, or to a file that is not meant."""
        for path in (
            "/static",
            "/static/",
            "/static/js",
            "/static/js/",
            "/static//index.html",
            "/static/./index.html",
            "/static/../secret.txt",
            "/static/%2e%2e/secret.txt",
            "/static/..%2fsecret.txt",
            "/static/%2e%2e%2fsecret.txt",
            "/static/..%5csecret.txt",
            "/static/js/../../secret.txt",
            "/static//etc/passwd",
            "/static/%2fetc%2fpasswd",
            "/static/index.html%00.js",
            "/static/js/app.js/",
            "/static/js/app.js/x",
            "/static/notes.org",
            "/static/.hidden.js",
            "/static/js/.secret/x.js",
            "/static/%ff.js",
            "/index.html",
            "/sw.js/",
            "/sw.js/x",
            "//",
            "/nope",
            "/..",
            "/../secret.txt",
        ):
            answer = self.get(path)
            self.assertEqual(answer.status, 404, path)
            self.assertNotIn(b"private", answer.body)

    def test_missing_page_is_said_in_plain_words(self) -> None:
        """The page for nothing leads back to the inbox."""
        answer = self.get("/nope")

        self.assertIn(b"There is no such page", answer.body)
        self.assertIn(b'href="/"', answer.body)
        self.assertNotIn(b"nope", answer.body)

    def test_text_is_compressed(self) -> None:
        """Who takes gzip gets less; pictures and small files stay as they are."""
        packed = self.get("/static/js/app.js", Accept_Encoding="br, gzip;q=0.5")
        plain = self.get("/static/js/app.js", Accept_Encoding="gzip;q=0")

        self.assertEqual(packed.headers["content-encoding"], "gzip")
        self.assertEqual(gzip.decompress(packed.body), LONG)
        self.assertLess(len(packed.body), len(LONG) / 4)
        self.assertEqual(int(packed.headers["content-length"]), len(packed.body))
        self.assertEqual(plain.body, LONG)
        self.assertNotEqual(plain.headers["etag"], packed.headers["etag"])
        for answer in (packed, plain):
            self.assertEqual(answer.headers["vary"], "Accept-Encoding")
        for path in ("/manifest.webmanifest", "/favicon.ico"):
            self.assertNotIn("content-encoding", self.get(path, Accept_Encoding="gzip").headers)

    def test_known_version_is_not_sent_again(self) -> None:
        """A browser that has the file is told so, in either coding."""
        for coding in ("gzip", "identity"):
            tag = self.get("/static/js/app.js", Accept_Encoding=coding).headers["etag"]
            for given in (tag, f"W/{tag}", f'"x", {tag}', "*"):
                answer = self.get("/static/js/app.js", Accept_Encoding=coding, If_None_Match=given)
                self.assertEqual((answer.status, answer.body), (304, b""), given)
                self.assertEqual(answer.headers["etag"], tag)
            self.assertEqual(self.get("/static/js/app.js", If_None_Match='"x"').status, 200)

    def test_changed_file_is_sent(self) -> None:
        """A new version on disk is there at once, and so is a file that was removed."""
        path = self.folder / "js" / "app.js"
        tag = self.get("/static/js/app.js").headers["etag"]
        path.write_bytes(b"new")

        answer = self.get("/static/js/app.js", If_None_Match=tag)

        self.assertEqual((answer.status, answer.body), (200, b"new"))
        self.assertEqual(answer.headers["cache-control"], "no-cache")
        path.unlink()
        self.assertEqual(self.get("/static/js/app.js").status, 404)

    def test_head_is_get_without_the_body(self) -> None:
        """The headers are the same."""
        got, head = self.get("/static/js/app.js"), self.get("/static/js/app.js", "HEAD")

        self.assertEqual(head.body, b"")
        self.assertEqual(head.headers["content-length"], got.headers["content-length"])
        self.assertEqual(self.get("/nope", "HEAD").body, b"")

    def test_other_methods_are_refused(self) -> None:
        """Files are only read."""
        for method in ("POST", "PUT", "DELETE", "OPTIONS", "PATCH", "BREW"):
            answer = self.get("/", method)
            self.assertEqual((answer.status, answer.headers["allow"]), (405, "GET, HEAD"), method)
            self.assertEqual(self.get("/nope", method).status, 404)

    def test_service_worker_knows_the_files(self) -> None:
        """It may control the whole site, and changes when any file does."""
        answer = self.get("/sw.js")

        self.assertEqual(answer.headers["service-worker-allowed"], "/")
        self.assertIn(b"/static/js/app.js", answer.body)
        self.assertNotIn(b"hidden", answer.body)
        tag = answer.headers["etag"]
        self.assertEqual(self.get("/sw.js", If_None_Match=tag).status, 304)
        (self.folder / "js" / "app.js").write_bytes(b"new")
        self.assertNotEqual(self.get("/sw.js").headers["etag"], tag)


class StaticTests(SynchronousTestCase):
    """The real folder."""

    def test_every_file_is_served(self) -> None:
        """No file has a name or type that the site does not know."""
        pages = Pages()
        for folder, _, names in os.walk(STATIC):
            for name in names:
                path = (Path(folder) / name).relative_to(STATIC).as_posix()
                self.assertTrue(content_type(path), path)
                self.assertIsNotNone(pages._folder.find(path), path)
