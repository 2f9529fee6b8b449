"""Files by HTTP: uploads, links, parts of files, and what a browser is told about them."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any, Final

import treq
from attrs import evolve
from twisted.internet import reactor
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.core.directory import Directory, Line, Person, World
from smsbridge.core.files import Files
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.media import Attachments
from smsbridge.web.api.operation import ApiError
from smsbridge.web.api.served import Api
from smsbridge.web.api.shapes import Shapes
from smsbridge.web.media import MediaResource, disposition
from smsbridge.web.site import Upload, http_site
from tests.media.files import DAY_MS, Rig, opened, picture
from tests.web.bridge import FakeBridge

API: Final = "/api/v2.2"
UPLOAD: Final = b"/api/v2.2/media"


class _Access:
    """Lets in whoever names himself."""

    def __init__(self, world: World) -> None:
        self._world = world

    async def caller(self, request: Any) -> Caller:
        """See `Access`."""
        name = (request.getHeader(b"x-person") or b"").decode()
        person = self._world.directory.persons.get(name)
        if person is None:
            raise ApiError(401, "credentials", "Log in.")
        return Caller(person=person, name=name, scopes=frozenset(Scope))


class MediaTests(TestCase):
    """The API's files and ``/media`` on a real store and a real listener."""

    timeout = 30

    def setUp(self) -> None:
        """Listen."""
        self.rig = Rig(reactor, Path(self.mktemp()))
        self.store = self.rig.store
        self.addCleanup(lambda: self.store.stopService())
        lines = {
            "plain": Line(label="plain", gateway="box"),
            "mms": Line(label="mms", gateway="demo", carries_media=True, media_limit=40_000),
        }
        persons = {"john": Person(label="john", lines=("mms", "plain"), rate=0.0)}
        world = World(Directory(lines=lines, persons=persons))
        world.media = self.store
        none: Any = None
        backend = Backend(
            reactor=reactor,
            now_ms=lambda: self.rig.now_ms,
            bridge=FakeBridge(),
            inbox=none,
            world=world,
            threads=none,
            contacts=none,
            live=none,
            public_url=lambda: "",
        )
        shapes = self.shapes = Shapes(world, backend.bridge, backend.now_ms, backend.public_url)
        access = _Access(world)
        self.opened: Files | None = self.store
        upload = Upload(
            method=b"POST",
            path=UPLOAD,
            most_bytes=lambda: 4_000_000,
            new_file=self.store.upload_path,
            admit=access.caller,
        )
        site = http_site(
            {
                "api": Api(backend, access, [Attachments(backend, shapes)]).resource(),
                "media": MediaResource(lambda: self.opened),
            },
            uploads=[upload],
        )
        site.noisy = False
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.base = f"http://127.0.0.1:{port.getHost().port}"

    async def ask(
        self, method: str, path: str, data: bytes | None = None, **headers: str
    ) -> tuple[Any, bytes]:
        """Make a request; returns the response and its body."""
        sent = {name.replace("_", "-"): value for name, value in headers.items()}
        response = await treq.request(
            method, self.base + path, data=data, headers=sent, persistent=False, timeout=20
        )
        return response, await response.content()

    async def upload(self, data: bytes, name: str, code: int = 201, person: str = "john") -> Any:
        """Upload a file and return the answer."""
        response, body = await self.ask(
            "POST", f"{API}/media?name={name}", data, x_person=person, content_type="image/png"
        )
        self.assertEqual(response.code, code, body)
        import json

        return json.loads(body)

    def header(self, response: Any, name: str) -> str:
        """Return a header of an answer."""
        return (response.headers.getRawHeaders(name) or [""])[0]

    async def test_what_is_uploaded_can_be_fetched(self) -> None:
        """The picture comes back as it was, without a login, with its small one."""
        data = picture(900, 600, "JPEG", noise=True)

        answer = (await self.upload(data, "photo.jpg"))["data"]

        attributes = answer["attributes"]
        self.assertEqual(
            (attributes["content_type"], attributes["name"]), ("image/jpeg", "photo.jpg")
        )
        self.assertEqual((attributes["width"], attributes["height"]), (900, 600))
        response, body = await self.ask("GET", attributes["url"])
        self.assertEqual((response.code, body), (200, data))
        _, small = await self.ask("GET", attributes["thumbnail"])
        self.assertEqual(opened(small).size, (320, 213))
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

    async def test_a_page_can_tell_links_in_the_text_from_words(self) -> None:
        """What went out as a link is shown as the file, with a link of its own."""
        kept = await self.store.keep(b"hello", "a.txt")
        linked = evolve(kept, url="https://sms.example.org/media/x/y")

        self.assertEqual(self.shapes.media(kept)["in_text"], "")
        self.assertEqual(self.shapes.media(linked)["in_text"], linked.url)
        response, _ = await self.ask("GET", str(self.shapes.media(linked)["url"]))
        self.assertEqual(response.code, 200)

    async def test_uploads_need_a_login_and_a_size(self) -> None:
        """Strangers, empty files and too large ones are told why."""
        await self.upload(b"hello", "a.txt", 401, "nobody")
        self.assertEqual((await self.upload(b"", "a.txt", 422))["errors"][0]["code"], "empty")
        self.rig.change(max_bytes=100)
        error = (await self.upload(b"x" * 200, "a.txt", 413))["errors"][0]
        self.assertIn("200 bytes", error["detail"])

    async def test_a_picture_is_made_to_fit_the_line(self) -> None:
        """The answer says what it was and what it is now; a plain line leaves it alone."""
        kept = (await self.upload(picture(800, 800, "PNG", noise=True), "a.png"))["data"]
        path = f"{API}/media/{kept['id']}/fit"

        import json

        _, body = await self.ask("POST", path, b"", x_person="john")
        fitted = json.loads(body)
        self.assertLessEqual(fitted["data"]["attributes"]["size"], 40_000)
        self.assertEqual(fitted["meta"]["original_size"], kept["attributes"]["size"])
        self.assertEqual(fitted["meta"]["original_width"], 800)
        _, body = await self.ask("POST", path + "?line=plain", b"", x_person="john")
        self.assertEqual(json.loads(body)["data"]["id"], kept["id"])
        response, _ = await self.ask("POST", path + "?line=foreign", b"", x_person="john")
        self.assertEqual(response.code, 404)
        response, _ = await self.ask("POST", f"{API}/media/{'f' * 64}/fit", b"", x_person="john")
        self.assertEqual(response.code, 410)

    async def test_parts_and_heads(self) -> None:
        """Players jump within a film, and programs ask for its size first."""
        link = self.store.link(await self.store.keep(b"0123456789", "a.txt"))

        response, body = await self.ask("GET", link, range="bytes=2-4")
        self.assertEqual((response.code, body), (206, b"234"))
        self.assertEqual(self.header(response, "content-range"), "bytes 2-4/10")
        response, body = await self.ask("HEAD", link)
        self.assertEqual((response.code, body), (200, b""))
        self.assertEqual(self.header(response, "content-length"), "10")
        self.assertEqual(self.header(response, "accept-ranges"), "bytes")
        response, _ = await self.ask("GET", link, range="bytes=90-")
        self.assertEqual(response.code, 416)
        many = "bytes=" + ",".join(["0-"] * 500)
        response, body = await self.ask("GET", link, range=many)
        self.assertEqual((response.code, body), (200, b"0123456789"))

    async def test_browsers_keep_what_they_have(self) -> None:
        """The same bytes are not sent again; nobody between keeps them."""
        link = self.store.link(await self.store.keep(b"hello", "a.txt"))
        response, _ = await self.ask("GET", link)
        etag = self.header(response, "etag")
        self.assertIn("private", self.header(response, "cache-control"))

        response, body = await self.ask("GET", link, if_none_match=etag)

        self.assertEqual((response.code, body), (304, b""))

    async def test_nothing_runs_in_a_browser(self) -> None:
        """Pages and drawings are saved, pictures shown; scripts are forbidden everywhere."""
        for data, name, content_type, kind in (
            (
                b"<html><script>alert(1)</script>",
                "a.html",
                "text/plain; charset=utf-8",
                "attachment",
            ),
            (b"<svg onload='alert(1)'/>", "a.svg", "application/octet-stream", "attachment"),
            (b"%PDF-1.7\n\xe2\xe3", "a.pdf", "application/pdf", "attachment"),
            (picture(), "a.png", "image/png", "inline"),
        ):
            link = self.store.link(await self.store.keep(data, name))
            response, body = await self.ask("GET", link)
            self.assertEqual(body, data)
            self.assertEqual(self.header(response, "content-type"), content_type)
            self.assertTrue(self.header(response, "content-disposition").startswith(kind), name)
            self.assertEqual(self.header(response, "x-content-type-options"), "nosniff")
            policy = self.header(response, "content-security-policy")
            self.assertIn("sandbox", policy)
            self.assertIn("default-src 'none'", policy)

    async def test_other_links_are_answered_in_words(self) -> None:
        """Expired, forged, odd: a sentence and the right number."""
        media = await self.store.keep(b"hello", "a.txt")
        link = self.store.link(media)
        for path in (
            "/media",
            "/media/",
            "/media/x/y/z",
            link + "x",
            "/media/%ff/%00",
            "/media/../key",
        ):
            response, body = await self.ask("GET", path)
            self.assertEqual(response.code, 404, path)
            self.assertNotIn(b"Traceback", body)
        self.rig.now_ms += 9 * DAY_MS
        response, body = await self.ask("GET", link)
        self.assertEqual(
            (response.code, body), (410, b"This link has expired; ask for a new one.\n")
        )
        response, _ = await self.ask("POST", link, b"")
        self.assertEqual(response.code, 405)
        self.opened = None
        response, _ = await self.ask("GET", link)
        self.assertEqual(response.code, 503)

    async def test_a_file_that_is_gone_is_gone(self) -> None:
        """A link to a purged file says so."""
        media = await self.store.keep(b"hello", "a.txt")
        path = self.store.path(media)
        assert path is not None
        path.unlink()

        response, body = await self.ask("GET", self.store.link(media))

        self.assertEqual(response.code, 410)
        self.assertIn(b"not kept any more", body)


class DispositionTests(SynchronousTestCase):
    """Names of files in a header."""

    def test_names_in_any_script(self) -> None:
        """Old readers get something like it, new ones the name itself."""
        self.assertEqual(disposition("a b.txt", True), b'inline; filename="a b.txt"')
        self.assertEqual(
            disposition('ü"\r\n.txt', False),
            b"attachment; filename=\"____.txt\"; filename*=UTF-8''%C3%BC%22%0D%0A.txt",
        )
