"""Tests of posting over real sockets: what comes back, and where nothing is posted to."""

from __future__ import annotations

from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, succeed
from twisted.internet.protocol import Protocol, ServerFactory
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request, Site

from smsbridge.post import Answer, Forbidden, NoAnswer, Poster


class Receiver(Resource):
    """Answers posts with a status; keeps what came."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.answer = b"thanks"
        self.silent = False
        self.came: list[tuple[bytes, bytes | None]] = []
        self.peers: set[int] = set()

    def render_POST(self, request: Request) -> Any:
        """Keep and answer."""
        self.came.append((request.content.read(), request.getHeader(b"x-test")))
        self.peers.add(request.getClientAddress().port)
        if self.silent:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        request.setHeader(b"Retry-After", b"7")
        return self.answer


class PosterTests(TestCase):
    """A poster and a server on loopback."""

    def setUp(self) -> None:
        """Start both."""
        self.receiver = Receiver()
        self.port: Any = reactor.listenTCP(0, Site(self.receiver), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(self.port.stopListening)
        self.poster = Poster(reactor, resolve=self.resolve)
        self.addCleanup(self.poster.close)
        self.addresses = ["127.0.0.1"]
        self.url = f"http://hook.example.org:{self.port.getHost().port}/in?x=1"

    def resolve(self, host: str) -> Deferred[list[str]]:
        """Play the DNS."""
        return succeed(self.addresses)

    async def post(self, private_too: bool = True, timeout_s: float = 5.0) -> Answer:
        """Post something."""
        return await self.poster.post(
            self.url, b'{"a":1}', {"X-Test": "yes"}, private_too=private_too, timeout_s=timeout_s
        )

    async def test_answer_comes_with_its_status(self) -> None:
        """Whatever the status is, it is an answer, with headers and the beginning of the body."""
        self.receiver.status = 503
        self.receiver.answer = b"x" * 100_000

        answer = await self.post()

        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "7"))
        self.assertEqual(answer.body, b"x" * 4096)
        self.assertEqual(self.receiver.came, [(b'{"a":1}', b"yes")])

    async def test_connection_is_kept(self) -> None:
        """The second post to a host needs no second connection."""
        await self.post()
        await self.post()

        self.assertEqual(len(self.receiver.peers), 1)

    async def test_private_address_is_judged_after_the_look_up(self) -> None:
        """A public name that leads into the own network is refused, and nothing is sent."""
        with self.assertRaises(Forbidden) as caught:
            await self.post(private_too=False)

        self.assertIn("private network", str(caught.exception))
        self.assertEqual(self.receiver.came, [])

    async def test_one_private_address_among_others_is_enough(self) -> None:
        """A name that leads to both is refused as well."""
        self.addresses = ["203.0.113.9", "10.0.0.1"]

        with self.assertRaises(Forbidden):
            await self.post(private_too=False)

    async def test_other_schemes_are_refused(self) -> None:
        """Only http and https are posted to."""
        for url in ("ftp://example.org/", "file:///etc/passwd", "https://a b/", "gopher:x"):
            with self.assertRaises(Forbidden):
                await self.poster.post(url, b"", {})

    async def test_silence_ends(self) -> None:
        """A server that takes the body and says nothing is given up."""
        self.receiver.silent = True

        with self.assertRaises(NoAnswer) as caught:
            await self.post(timeout_s=0.2)

        self.assertFalse(caught.exception.refused)
        self.assertIn("did not answer", str(caught.exception))

    async def test_nobody_there_is_told_apart(self) -> None:
        """Where nobody listens nothing has left."""
        await self.port.stopListening()

        with self.assertRaises(NoAnswer) as caught:
            await self.post()

        self.assertTrue(caught.exception.refused)

    async def test_broken_connection_is_no_answer(self) -> None:
        """A server that hangs up has perhaps taken it."""

        class Rude(Protocol):
            def dataReceived(self, data: bytes) -> None:
                self.transport.loseConnection()  # type: ignore[union-attr]

        rude: Any = reactor.listenTCP(0, ServerFactory.forProtocol(Rude), interface="127.0.0.1")  # type: ignore[attr-defined]
        self.addCleanup(rude.stopListening)
        self.url = f"http://hook.example.org:{rude.getHost().port}/"

        with self.assertRaises(NoAnswer) as caught:
            await self.post()

        self.assertFalse(caught.exception.refused)
