"""Fetching files from a web server on the loopback."""

from __future__ import annotations

import gzip
import os
import tracemalloc
from pathlib import Path
from typing import Any

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.media.fetch import Fetcher, encoded, redirected
from smsbridge.outside import is_allowed
from tests.media.files import DAY_MS, Rig, picture


class Host(Resource):
    """A web server that says what a test wants; a path without an answer gets none, or 404."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.answers: dict[str, tuple[int, dict[str, str], bytes]] = {}
        self.silent: set[str] = set()
        self.waiting: list[Request] = []
        self.seen: list[tuple[str, dict[str, str]]] = []

    def render_GET(self, request: Request) -> Any:
        """Answer."""
        path = request.uri.decode()
        headers = {
            name.decode().lower(): values[0].decode()
            for name, values in request.requestHeaders.getAllRawHeaders()
        }
        self.seen.append((path, headers))
        if path in self.silent:
            request.notifyFinish().addErrback(lambda _: None)
            self.waiting.append(request)
            return NOT_DONE_YET
        code, more, body = self.answers.get(path, (404, {}, b""))
        request.setResponseCode(code)
        for name, value in more.items():
            request.setHeader(name, value)
        return body


class FetchTests(TestCase):
    """`MediaStore.fetch`."""

    timeout = 30

    def setUp(self) -> None:
        """Start a store and a web server."""
        self.rig = Rig(reactor, Path(self.mktemp()), allow_private=True)
        self.store = self.rig.store
        self.addCleanup(lambda: self.store.stopService())
        self.host = Host()
        site = Site(self.host)
        site.noisy = False
        port: Any = reactor.listenTCP(0, site, interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(port.stopListening)
        self.port = port.getHost().port
        for name in ("files.example", "other.example"):
            self.rig.addresses[name] = ["127.0.0.1"]
        self.base = f"http://files.example:{self.port}"

    async def refusal(self, url: str, **more: Any) -> Any:
        """Return why something is not fetched."""
        return await self.assertFailure(self.store.fetch(url, **more), Refused)

    async def test_fetches_and_keeps(self) -> None:
        """The file is there with type and name, and the host was told nothing about us."""
        data = picture()
        self.host.answers["/a/photo%201.png?x=1"] = (200, {"content-type": "image/png"}, data)

        media = await self.store.fetch(f"{self.base}/a/photo%201.png?x=1#top")

        self.assertEqual((media.content_type, media.name), ("image/png", "photo 1.png"))
        self.assertEqual(media.size, len(data))
        (_, headers), *_ = self.host.seen
        self.assertEqual(headers["host"], f"files.example:{self.port}")
        self.assertEqual(set(headers) - {"connection"}, {"host", "user-agent", "accept-encoding"})

    async def test_the_name_may_stand_in_a_header(self) -> None:
        """Hosts that hide files behind numbers say what they are called."""
        self.host.answers["/17"] = (
            200,
            {"content-disposition": "attachment; filename*=UTF-8''Gr%C3%BC%C3%9Fe.txt"},
            b"hello",
        )

        self.assertEqual((await self.store.fetch(f"{self.base}/17")).name, "Grüße.txt")

    async def test_private_addresses_are_out_of_reach(self) -> None:
        """Nobody reads the router's pages through us, by name, by number or by one of several."""
        self.rig.change(allow_private=False)
        self.rig.addresses["inner.example"] = ["127.0.0.1"]
        self.rig.addresses["both.example"] = ["192.88.99.1", "127.0.0.1"]
        for host in (
            "inner.example",
            "both.example",
            "127.0.0.1",
            "[::1]",
            "[::ffff:127.0.0.1]",
        ):
            refusal = await self.refusal(f"http://{host}:{self.port}/a")
            self.assertEqual(refusal.reason, "not-permitted", host)
            self.assertIn("allow_private_media", refusal.text)
        self.assertEqual(self.host.seen, [])

    async def test_numbers_in_disguise_are_looked_up(self) -> None:
        """What the system's resolver would take for an address is judged as that address."""
        self.rig.change(allow_private=False)
        fetcher = Fetcher(reactor, lambda: False)

        for host in ("2130706433", "0x7f.1", "localhost"):
            doing = fetcher.fetch(f"http://{host}:{self.port}/a", 100, Path(self.mktemp()))
            with self.assertRaises((Refused, TemporaryFailure)):
                await doing
        self.assertEqual(self.host.seen, [])

    async def test_a_redirect_is_judged_like_an_address(self) -> None:
        """The way round by another host leads nowhere either."""
        self.rig.addresses["inner.example"] = ["169.254.169.254"]
        self.host.answers["/a"] = (302, {"location": "http://inner.example/secret"}, b"")
        self.host.answers["/b"] = (302, {"location": "file:///etc/passwd"}, b"")

        self.assertEqual((await self.refusal(f"{self.base}/a")).reason, "not-permitted")
        self.assertEqual((await self.refusal(f"{self.base}/b")).reason, "bad-file")

    async def test_redirects_are_followed_a_few_times(self) -> None:
        """Storage hosts hand on once or twice; who never ends is given up."""
        self.host.answers["/a"] = (302, {"location": "/b"}, b"")
        self.host.answers["/b"] = (307, {"location": f"{self.base}/c"}, b"")
        self.host.answers["/c"] = (200, {}, b"hello")
        self.host.answers["/loop"] = (302, {"location": "/loop"}, b"")

        self.assertEqual((await self.store.fetch(f"{self.base}/a")).size, 5)
        self.assertEqual((await self.refusal(f"{self.base}/loop")).reason, "bad-file")
        self.assertEqual(len(self.host.seen), 3 + 4)

    async def test_credentials_are_for_the_first_host_alone(self) -> None:
        """A provider that hands on to a storage host does not give our password away."""
        self.host.answers["/a"] = (302, {"location": f"{self.base}/b"}, b"")
        self.host.answers["/b"] = (302, {"location": f"http://other.example:{self.port}/c"}, b"")
        self.host.answers["/c"] = (200, {}, b"hello")

        await self.store.fetch(f"{self.base}/a", headers={"Authorization": "Basic x"})

        self.assertEqual(
            [headers.get("authorization") for _, headers in self.host.seen],
            ["Basic x", "Basic x", None],
        )

    async def test_credentials_do_not_come_back_from_elsewhere(self) -> None:
        """Who was led away once is not led back to spend the password where a stranger says."""
        self.host.answers["/a"] = (302, {"location": f"http://other.example:{self.port}/b"}, b"")
        self.host.answers["/b"] = (302, {"location": f"{self.base}/c"}, b"")
        self.host.answers["/c"] = (200, {}, b"hello")

        await self.store.fetch(f"{self.base}/a", headers={"Authorization": "Basic x"})

        self.assertEqual(
            [headers.get("authorization") for _, headers in self.host.seen],
            ["Basic x", None, None],
        )

    async def test_a_host_that_the_operator_named_may_be_private(self) -> None:
        """It alone: neither another port of it, nor where it leads."""
        self.rig.change(allow_private=False)
        trusted = f"http://127.0.0.1:{self.port}"
        self.host.answers["/a"] = (302, {"location": "/b"}, b"")
        self.host.answers["/b"] = (200, {}, b"hello")
        self.host.answers["/c"] = (302, {"location": f"{self.base}/b"}, b"")
        self.host.answers["/d"] = (302, {"location": "http://127.0.0.1:1/"}, b"")

        self.assertEqual((await self.store.fetch(f"{trusted}/a", trusted=trusted)).size, 5)
        for url, named in (
            (f"{trusted}/b", ""),
            (f"{trusted}/b", f"https://127.0.0.1:{self.port}"),
            (f"{trusted}/b", "http://127.0.0.1:1"),
            (f"{trusted}/c", trusted),
            (f"{trusted}/d", trusted),
        ):
            refusal = await self.refusal(url, trusted=named)
            self.assertEqual(refusal.reason, "not-permitted", (url, named))

    async def test_too_much_is_not_taken(self) -> None:
        """Neither announced, nor by surprise, nor well packed; nothing is left of it."""
        self.host.answers["/a"] = (200, {}, b"x" * 2000)
        packed = gzip.compress(bytes(5_000_000))
        self.host.answers["/zip"] = (200, {"content-encoding": "gzip"}, packed)

        for path, limit in (("/a", 1000), ("/zip", 10_000)):
            refusal = await self.refusal(f"{self.base}{path}", most_bytes=limit)
            self.assertEqual(refusal.reason, "too-large", path)
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

    async def test_compressed_files_are_unpacked(self) -> None:
        """Some hosts compress whatever they are told."""
        self.host.answers["/a"] = (200, {"content-encoding": "gzip"}, gzip.compress(b"hello"))
        self.host.answers["/b"] = (200, {"content-encoding": "gzip"}, b"hello")
        self.host.answers["/c"] = (200, {"content-encoding": "br"}, b"hello")

        self.assertEqual((await self.store.fetch(f"{self.base}/a")).size, 5)
        self.assertEqual((await self.refusal(f"{self.base}/b")).reason, "bad-file")
        self.assertEqual((await self.refusal(f"{self.base}/c")).reason, "bad-file")

    async def test_well_packed_files_need_little_memory(self) -> None:
        """What a few kilobytes unpack to goes to the disk piece by piece."""
        size = 3_500_000
        packed = gzip.compress(bytes(size), 6)
        self.host.answers["/a"] = (200, {"content-encoding": "gzip"}, packed)

        tracemalloc.start()
        self.addCleanup(tracemalloc.stop)
        kept = await self.store.fetch(f"{self.base}/a", most_bytes=size)
        _, peak = tracemalloc.get_traced_memory()

        self.assertEqual(kept.size, size)
        self.assertLess(peak, size)

    async def test_what_is_not_there_is_told_apart(self) -> None:
        """Gone is gone; a fault of the host may pass."""
        self.host.answers["/late"] = (503, {}, b"")
        self.host.answers["/mine"] = (401, {}, b"")
        self.rig.addresses["dead.example"] = ["127.0.0.1"]

        self.assertEqual((await self.refusal(f"{self.base}/none")).reason, "file-gone")
        self.assertEqual((await self.refusal(f"{self.base}/mine")).reason, "not-permitted")
        await self.assertFailure(self.store.fetch(f"{self.base}/late"), TemporaryFailure)
        await self.assertFailure(self.store.fetch("http://dead.example:1/"), TemporaryFailure)

    async def test_few_files_are_fetched_at_once(self) -> None:
        """A flood of addresses waits its turn, and the end of it is sent away."""
        self.host.silent.add("/held")
        fetching = [self.store.fetch(f"{self.base}/held") for _ in range(116)]
        while len(self.host.waiting) < 16:
            await self.pause()
        for _ in range(20):
            await self.pause()
        self.assertEqual(len(self.host.waiting), 16)
        await self.assertFailure(self.store.fetch(f"{self.base}/held"), TemporaryFailure)

        for each in fetching:
            each.addErrback(lambda _: None)
            each.cancel()
        for _ in range(20):
            await self.pause()
        self.host.answers["/a"] = (200, {}, b"hello")

        self.assertEqual((await self.store.fetch(f"{self.base}/a")).size, 5)

    async def test_a_connection_that_breaks_leaves_nothing(self) -> None:
        """Half a file is no file."""
        self.host.silent.add("/half")
        fetching = self.store.fetch(f"{self.base}/half")
        while not self.host.waiting:
            await self.pause()
        (request,) = self.host.waiting
        request.setHeader("content-length", "100")
        request.write(b"half a file")
        await self.pause()

        request.transport.loseConnection()

        await self.assertFailure(fetching, TemporaryFailure)
        self.assertEqual(os.listdir(self.rig.folder / "uploads"), [])

    async def test_other_addresses_are_refused(self) -> None:
        """Files, other protocols and passwords in addresses are no business of ours."""
        for url in (
            "file:///etc/passwd",
            "ftp://files.example/a",
            "http://user:pw@files.example/",
            "http:///a",
            "nonsense",
            "http://[::1",
            "http://files.example:99999/",
            "http://" + "a" * 70 + ".example/",
            "https://x.example/" + "a" * 3000,
        ):
            self.assertEqual((await self.refusal(url)).reason, "bad-file", url)

    async def test_own_links_are_recognized(self) -> None:
        """What we keep is not fetched from ourselves; forged and old links are refused."""
        kept = await self.store.keep(b"hello", "a.txt")
        self.rig.change(public_url=self.base)
        link = self.store.link(kept)

        self.assertEqual(await self.store.fetch(link), kept)
        self.assertEqual(await self.store.fetch(link.removeprefix(self.base)), kept)
        self.assertEqual(self.host.seen, [])
        self.assertEqual((await self.refusal(link + "x")).reason, "bad-file")
        self.rig.now_ms += 9 * DAY_MS
        self.assertEqual((await self.refusal(link)).reason, "file-gone")

    async def test_a_host_that_says_nothing_is_given_up(self) -> None:
        """Nothing waits for ever."""
        clock = _TimersApart(reactor)
        self.host.silent.add("/never")
        self.rig.addresses["files.example"] = ["127.0.0.1"]
        fetcher = Fetcher(clock, lambda: True, self.rig._resolve)
        fetching: Deferred[Any] = Deferred.fromCoroutine(
            fetcher.fetch(f"{self.base}/never", 100, Path(self.mktemp()))
        )
        while not self.host.waiting:
            await self.pause()

        clock.clock.advance(46)

        failure: Any = await self.assertFailure(fetching, TemporaryFailure)
        self.assertIn("too slow", failure.text)

    @staticmethod
    async def pause() -> None:
        """Let the reactor turn."""
        await deferLater(reactor, 0)  # type: ignore[arg-type]


class _TimersApart:
    """The real reactor with the timers of a clock."""

    def __init__(self, real: Any) -> None:
        self._real = real
        self.clock = Clock()

    def callLater(self, *arguments: Any) -> Any:
        """Call when the clock says so."""
        return self.clock.callLater(*arguments)

    def seconds(self) -> float:
        """Return the clock's time."""
        return self.clock.seconds()

    def __getattr__(self, name: str) -> Any:
        return getattr(self._real, name)


class UrlTests(SynchronousTestCase):
    """Any text as an address."""

    @given(st.one_of(st.text(max_size=60), st.text(max_size=40).map("http://x.example/".__add__)))
    def test_any_text_is_an_address_or_refused(self, url: str) -> None:
        """What a peer calls an address is written in ASCII or raises `Refused`."""
        clock = Clock()
        fetcher = Fetcher(clock, lambda: False, lambda host: fail(OSError(host)))

        failure = self.failureResultOf(
            Deferred.fromCoroutine(fetcher.fetch(url, 100, Path("never")))
        )

        failure.trap(Refused, TemporaryFailure)

    @given(st.binary(max_size=40), st.text(max_size=40))
    def test_any_redirect_is_an_address_or_refused(self, location: bytes, path: str) -> None:
        """So is what a host answers."""
        try:
            target = redirected("https://x.example/a", location + path.encode("utf-8", "replace"))
        except Refused:
            return
        self.assertTrue(encoded(target).isascii())


class AddressTests(SynchronousTestCase):
    """`is_allowed`."""

    def test_the_inside_is_no_place_to_fetch_from(self) -> None:
        """Every way to write an address of the inside is known."""
        for address in (
            "0.0.0.0",
            "10.0.0.1",
            "100.64.0.1",
            "127.0.0.1",
            "169.254.169.254",
            "172.16.0.1",
            "192.0.2.1",
            "192.168.1.1",
            "198.18.0.1",
            "224.0.0.1",
            "240.0.0.1",
            "255.255.255.255",
            "::",
            "::1",
            "::7f00:1",
            "::ffff:10.0.0.1",
            "64:ff9b::a00:1",
            "64:ff9b:1::a00:1",
            "2001:db8::1",
            "2002:a00:1::",
            "2001:0:0:0:0:0:f5ff:fffe",  # Teredo to 10.0.0.1
            "fc00::1",
            "fd00:ec2::254",
            "fe80::1",
            "fe80::1%eth0",
            "ff02::1",
            "nonsense",
            "",
        ):
            self.assertFalse(is_allowed(address, False), address)

    def test_the_outside_is(self) -> None:
        """Ordinary addresses of both kinds."""
        for address in ("8.8.8.8", "2a00:1450::1", "::ffff:8.8.8.8"):
            self.assertTrue(is_allowed(address, False), address)

    def test_private_networks_may_be_allowed(self) -> None:
        """The local network then, and still not what lies between machines and their hosts."""
        for address in ("127.0.0.1", "192.168.1.1", "fd00::1", "::1"):
            self.assertTrue(is_allowed(address, True), address)
        for address in ("169.254.169.254", "::ffff:169.254.169.254", "fe80::1", "224.0.0.1", "::"):
            self.assertFalse(is_allowed(address, True), address)
