"""Tests of asking a provider over real sockets: what comes back, and what may have gone out."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from cryptography import x509
from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat
from cryptography.x509.oid import NameOID
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.protocol import Factory, Protocol, connectionDone
from twisted.internet.ssl import PrivateCertificate, trustRootFromCertificates
from twisted.python.failure import Failure
from twisted.trial.unittest import TestCase
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as ServerRequest

from smsbridge import __version__
from smsbridge.provider.client import Client, NoAnswer, NotSent
from smsbridge.provider.dialect import Request, Response


class Api(Resource):
    """Answers with what it is told to; keeps what came."""

    isLeaf = True

    def __init__(self) -> None:
        super().__init__()
        self.status = 200
        self.answer = b"{}"
        self.silent = False
        self.came: list[tuple[bytes, bytes, bytes]] = []
        self.headers: list[dict[bytes, bytes]] = []
        self.peers: set[int] = set()

    def render(self, request: ServerRequest) -> Any:
        """Keep and answer."""
        assert request.content is not None
        self.came.append((request.method, request.uri, request.content.read()))
        self.headers.append({k.lower(): v[0] for k, v in request.requestHeaders.getAllRawHeaders()})
        self.peers.add(request.getClientAddress().port)
        if self.silent:
            return NOT_DONE_YET
        request.setResponseCode(self.status)
        request.setHeader(b"Retry-After", b"7")
        if 300 <= self.status < 400:
            request.setHeader(b"Location", b"/elsewhere")
        return self.answer


class Raw(Protocol):
    """A server that is none: says what it is told to once something came, and closes."""

    words = b""
    came: list[bytes]

    def connectionMade(self) -> None:
        """Begin."""
        self.came = []

    def dataReceived(self, data: bytes) -> None:
        """Answer and close."""
        self.came.append(data)
        assert self.transport is not None
        self.transport.write(self.words)
        self.transport.loseConnection()


class ClientTests(TestCase):
    """A client and a server on loopback."""

    def setUp(self) -> None:
        """Start both."""
        self.api = Api()
        self.port = self.listen(Site(self.api))
        self.client = Client(reactor)
        self.addCleanup(lambda: self.client.close())
        self.url = f"http://127.0.0.1:{self.port}/texts?x=1"

    def listen(self, factory: Any) -> int:
        """Start a server for the time of the test."""
        port: Any = reactor.listenTCP(0, factory, interface="127.0.0.1")
        self.listening = port
        self.addCleanup(port.stopListening)
        number: int = port.getHost().port
        return number

    async def ask(self, timeout_s: float = 5.0, **changes: Any) -> Response:
        """Ask something."""
        values: dict[str, Any] = {
            "url": self.url,
            "method": "POST",
            "headers": {"Authorization": "Bearer not-a-key"},
            "body": b'{"a":1}',
        }
        return await self.client.ask(Request(**{**values, **changes}), timeout_s)

    async def test_answer_is_whole(self) -> None:
        """Status, headers in lower case and the body come back, whatever the status is."""
        self.api.status = 503
        self.api.answer = b"x" * 100_000

        answer = await self.ask()

        self.assertEqual((answer.status, answer.headers["retry-after"]), (503, "7"))
        self.assertEqual(answer.body, b"x" * 100_000)
        self.assertEqual(answer.asked and answer.asked.url, self.url)

    async def test_request_goes_out_as_it_is(self) -> None:
        """Method, path with query, headers and body are the dialect's; we say who we are."""
        await self.ask()
        await self.ask(method="GET", body=b"")

        self.assertEqual(
            self.api.came,
            [(b"POST", b"/texts?x=1", b'{"a":1}'), (b"GET", b"/texts?x=1", b"")],
        )
        self.assertEqual(self.api.headers[0][b"authorization"], b"Bearer not-a-key")
        self.assertEqual(self.api.headers[0][b"user-agent"], f"smsbridge/{__version__}".encode())

    async def test_connection_is_kept(self) -> None:
        """The second request needs no second connection."""
        await self.ask()
        await self.ask()

        self.assertEqual(len(self.api.peers), 1)

    async def test_redirect_is_an_answer(self) -> None:
        """Credentials are not carried to where a redirect leads; not even to the same host."""
        self.api.status = 307

        answer = await self.ask()

        self.assertEqual((answer.status, len(self.api.came)), (307, 1))

    async def test_nobody_listens(self) -> None:
        """Where there is no connection nothing went out."""
        await self.listening.stopListening()

        with self.assertRaises(NotSent) as caught:
            await self.ask()

        self.assertIn("127.0.0.1 cannot be reached", str(caught.exception))

    async def test_name_leads_nowhere(self) -> None:
        """Without an address nothing went out."""
        with self.assertRaises(NotSent):
            await self.ask(url="http://nothing.invalid/texts")

    async def test_address_that_is_none(self) -> None:
        """What is no http address fails with a sentence, and nothing goes out."""
        for url in (
            "ftp://127.0.0.1/",
            "http://127.0.0.1:x/",
            "http://ü.example/",
            "x",
            "http://[",
        ):
            with self.assertRaises(NotSent, msg=url):
                await self.ask(url=url)

    async def test_silence_may_have_been_heard(self) -> None:
        """A server that takes the body and says nothing has perhaps sent the text."""
        self.api.silent = True

        with self.assertRaises(NoAnswer) as caught:
            await self.ask(timeout_s=0.2)

        self.assertIn("did not answer within", str(caught.exception))
        self.assertEqual(len(self.api.came), 1)

    async def test_cancelled_request_may_have_been_heard(self) -> None:
        """A request that is given up counts like one without an answer."""
        self.api.silent = True
        asking = self.client.ask(Request(url=self.url, method="POST", body=b"x"), 5.0)
        while not self.api.came:
            await _turn()

        asking.cancel()

        with self.assertRaises(NoAnswer):
            await asking

    async def test_closed_without_an_answer(self) -> None:
        """A server that reads and closes has perhaps sent the text."""
        self.url = f"http://127.0.0.1:{self.listen(Factory.forProtocol(Raw))}/"

        with self.assertRaises(NoAnswer) as caught:
            await self.ask()

        self.assertIn("closed the connection", str(caught.exception))

    async def test_kept_connection_that_dies_is_not_repeated(self) -> None:
        """A request on a connection that the server closes just then is not made again."""
        served: list[bytes] = []

        class Once(Protocol):
            """Answers the first request of a connection and dies at the second."""

            def dataReceived(self, data: bytes) -> None:
                served.append(data)
                assert self.transport is not None
                if len(served) == 1:
                    self.transport.write(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
                else:
                    self.transport.loseConnection()

        self.url = f"http://127.0.0.1:{self.listen(Factory.forProtocol(Once))}/"
        await self.ask(method="GET", body=b"")

        with self.assertRaises(NoAnswer):
            await self.ask(method="GET", body=b"")

        self.assertEqual(len(served), 2)

    async def test_garbage_is_no_answer(self) -> None:
        """What is no HTTP, or ends too soon, tells nothing."""
        for words in (
            b"SSH-2.0-x\r\n",
            b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\nshort",
            b"HTTP/1.1 banana\r\n\r\n",
        ):
            raw = type("Raw", (Raw,), {"words": words})
            self.url = f"http://127.0.0.1:{self.listen(Factory.forProtocol(raw))}/"

            with self.assertRaises(NoAnswer, msg=repr(words)):
                await self.ask()

    async def test_endless_answer_is_cut(self) -> None:
        """An answer that no provider gives does not fill the memory."""
        self.api.answer = b"x" * (16 * 1024 * 1024)

        with self.assertRaises(NoAnswer) as caught:
            await self.ask()

        self.assertIn("more than 4194304 bytes", str(caught.exception))

    async def test_server_without_tls_hears_nothing(self) -> None:
        """Where the handshake fails the request stays here, credentials and all."""
        raw = Raw()
        raw.words = b"what?\r\n"
        factory = Factory.forProtocol(lambda: raw)
        self.url = f"https://127.0.0.1:{self.listen(factory)}/"

        with self.assertRaises(NotSent):
            await self.ask()

        self.assertNotIn(b"not-a-key", b"".join(raw.came))

    async def test_server_that_does_not_shake_hands(self) -> None:
        """A server that accepts and is silent is given up, and nothing went out."""
        gone: Deferred[None] = Deferred()

        class Silent(Protocol):
            """Says nothing."""

            def connectionLost(self, reason: Failure = connectionDone) -> None:
                gone.callback(None)

        self.url = f"https://127.0.0.1:{self.listen(Factory.forProtocol(Silent))}/"

        with self.assertRaises(NotSent):
            await self.ask(timeout_s=0.2)
        await gone


class SecureClientTests(TestCase):
    """A client and a server with TLS on loopback."""

    def setUp(self) -> None:
        """Start a server with a certificate of its own."""
        self.api = Api()
        certificate = _certificate()
        anything: Any = reactor
        port = anything.listenSSL(0, Site(self.api), certificate.options(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        self.request = Request(
            url=f"https://localhost:{port.getHost().port}/", method="POST", body=b"{}"
        )
        self.trusted = trustRootFromCertificates([certificate])

    def client(self, trust_root: Any = None) -> Client:
        """Make a client."""
        client = Client(reactor, trust_root)
        self.addCleanup(client.close)
        return client

    async def test_trusted_server_is_asked(self) -> None:
        """The request goes out after the handshake, twice on one connection."""
        client = self.client(self.trusted)

        answers = [await client.ask(self.request, 5.0) for _ in range(2)]

        self.assertEqual([answer.status for answer in answers], [200, 200])
        self.assertEqual((len(self.api.came), len(self.api.peers)), (2, 1))

    async def test_unknown_certificate_is_refused(self) -> None:
        """Nobody but the provider hears the request, and it surely did not go out."""
        with self.assertRaises(NotSent) as caught:
            await self.client().ask(self.request, 5.0)

        self.assertIn("certificate", str(caught.exception))
        self.assertEqual(self.api.came, [])

    async def test_certificate_of_another_name_is_refused(self) -> None:
        """A certificate is of use for its own name only."""
        elsewhere = Request(url=self.request.url.replace("localhost", "127.0.0.1"))

        with self.assertRaises(NotSent):
            await self.client(self.trusted).ask(elsewhere, 5.0)

        self.assertEqual(self.api.came, [])


def _certificate() -> PrivateCertificate:
    key = ec.generate_private_key(ec.SECP256R1())
    name = x509.Name([x509.NameAttribute(NameOID.COMMON_NAME, "localhost")])
    now = datetime.now(UTC)
    certificate = (
        x509.CertificateBuilder()
        .subject_name(name)
        .issuer_name(name)
        .public_key(key.public_key())
        .serial_number(x509.random_serial_number())
        .not_valid_before(now - timedelta(days=1))
        .not_valid_after(now + timedelta(days=1))
        .add_extension(x509.SubjectAlternativeName([x509.DNSName("localhost")]), critical=False)
        .add_extension(x509.BasicConstraints(ca=True, path_length=None), critical=True)
        .sign(key, hashes.SHA256())
    )
    pem = certificate.public_bytes(Encoding.PEM) + key.private_bytes(
        Encoding.PEM, PrivateFormat.PKCS8, NoEncryption()
    )
    loaded: PrivateCertificate = PrivateCertificate.loadPEM(pem)
    return loaded


def _turn() -> Deferred[None]:
    """Return what fires in a later turn of the reactor."""
    done: Deferred[None] = Deferred()
    reactor.callLater(0, done.callback, None)
    return done
