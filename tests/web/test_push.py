"""Tests of Web Push: who is woken, with what, and how failures of push services end."""

from __future__ import annotations

import base64
import json
import stat
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import attrs
import http_ece
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec, utils
from hypothesis import given
from hypothesis import strategies as st
from twisted.internet import reactor
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.task import deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase
from twisted.web.resource import Resource
from twisted.web.server import Request, Site

from smsbridge.core.book import PersonalBook
from smsbridge.core.message import Media, Status
from smsbridge.core.subscriptions import Subscription
from smsbridge.post import Answer, Forbidden, NoAnswer, Poster
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.operation import ApiError, Call
from smsbridge.web.api.push import NewSubscription, OldSubscription, PushOperations
from smsbridge.web.push import MOST_OF_PERSON, PushSender, VapidKeys, decode_key
from tests.web.api.live_rig import ALICE, BOB, PERSONS, Rig


def base64url(data: bytes) -> str:
    """Write bytes as browsers do."""
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()


class Browser:
    """A browser with keys of its own, which reads what a push service hands it."""

    def __init__(self, name: str = "b1", session: str = "session-1") -> None:
        self.key = ec.generate_private_key(ec.SECP256R1())
        self.auth = bytes(range(16))
        self.endpoint = f"https://push.example.com/send/{name}"
        self.session = session

    @property
    def p256dh(self) -> str:
        """Return the public key."""
        return base64url(
            self.key.public_key().public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
        )

    def subscription(self, person: str = "john") -> Subscription:
        """Return what the browser gives us."""
        return Subscription(
            person=person,
            endpoint=self.endpoint,
            p256dh=self.p256dh,
            auth=base64url(self.auth),
            session_id=self.session,
        )

    def read(self, body: bytes) -> Any:
        """Decrypt a notification."""
        text = http_ece.decrypt(
            body, private_key=self.key, auth_secret=self.auth, version="aes128gcm"
        )
        return json.loads(text)


class PushService:
    """A push service in memory: plays the answers that a test wants."""

    def __init__(self) -> None:
        self.came: list[tuple[str, bytes, Mapping[str, str]]] = []
        self.answers: list[Answer | Exception | Deferred[Answer]] = []
        self.always: Answer | Exception = Answer(201, {}, b"")

    def post(
        self,
        url: str,
        body: bytes,
        headers: Mapping[str, str],
        *,
        private_too: bool = False,
        timeout_s: float = 30.0,
    ) -> Deferred[Answer]:
        """See `post.Post`."""
        self.came.append((url, body, headers))
        answer = self.answers.pop(0) if self.answers else self.always
        if isinstance(answer, Exception):
            return fail(answer)
        return answer if isinstance(answer, Deferred) else succeed(answer)


class MemorySubscriptions:
    """Provides `core.subscriptions.Subscriptions`."""

    def __init__(self) -> None:
        self.kept: dict[str, Subscription] = {}

    def all(self) -> Deferred[list[Subscription]]:
        """See `Subscriptions.all`."""
        return succeed(list(self.kept.values()))

    def put(self, subscription: Subscription) -> Deferred[None]:
        """See `Subscriptions.put`."""
        self.kept.pop(subscription.endpoint, None)
        self.kept[subscription.endpoint] = subscription
        return succeed(None)

    def remove(self, endpoint: str) -> Deferred[bool]:
        """See `Subscriptions.remove`."""
        return succeed(self.kept.pop(endpoint, None) is not None)

    def count_failures(self, endpoint: str, failures: int) -> Deferred[None]:
        """See `Subscriptions.count_failures`."""
        self.kept[endpoint] = attrs.evolve(self.kept[endpoint], failures=failures)
        return succeed(None)


class PushCase(SynchronousTestCase):
    """A sender with everything around it in memory."""

    def setUp(self) -> None:
        """Start it."""
        self.rig = Rig()
        self.folder = Path(self.mktemp())
        self.folder.mkdir()
        self.keys = VapidKeys(self.folder, lambda: "https://sms.example.org")
        self.service = PushService()
        self.table = MemorySubscriptions()
        self.preview = True
        self.sender = self.start()
        self.browser = Browser()
        self.expired: set[str] = set()

    def start(self) -> PushSender:
        """Make a sender and start it."""
        memory: Any = self.rig.memory
        sender = PushSender(
            self.rig.clock,
            self.rig.memory.now_ms,
            self.rig.hub,
            memory,
            self.rig.world,
            self.table,
            self.keys,
            self.service.post,
            lambda name: base64url(name.encode()),
            lambda: self.preview,
            lives=self.lives,
        )
        sender.startService()
        return sender

    async def lives(self, session_id: str) -> bool:
        """Tell whether a log in has not expired."""
        return session_id not in self.expired

    def subscribe(self, browser: Browser, person: str = "john") -> None:
        """Subscribe a browser."""
        self.successResultOf(
            Deferred.fromCoroutine(self.sender.subscribe(browser.subscription(person)))
        )

    def notices(self) -> list[Any]:
        """Return what the browser of the test can read."""
        return [self.browser.read(body) for _, body, _ in self.service.came]


class NotifyingTests(PushCase):
    """Who is woken, with what."""

    def test_new_text_wakes_the_browser_of_who_sees_it(self) -> None:
        """The notification says who wrote what, and only the browser can read it."""
        self.subscribe(self.browser)
        self.rig.world.book.persons["john"] = PersonalBook({ALICE: "Alice"})

        message_id = self.rig.memory.add(body="dinner at\n eight?")
        self.rig.run()

        ((url, body, headers),) = self.service.came
        self.assertEqual(url, self.browser.endpoint)
        self.assertNotIn(b"dinner", body)
        self.assertEqual(
            self.browser.read(body),
            {
                "title": "Alice",
                "body": "dinner at eight?",
                "conversation": base64url(f"2001|{ALICE}".encode()),
                "message": message_id,
                "unread": 1,
            },
        )
        self.assertEqual(headers["Content-Encoding"], "aes128gcm")
        self.assertEqual((headers["TTL"], headers["Urgency"]), ("14400", "high"))
        self.assertRegex(headers["Topic"], r"^[A-Za-z0-9_-]{32}$")

    def test_ticks_and_own_texts_wake_nobody(self) -> None:
        """What a person wrote, what colleagues wrote to the network, and reports are no news."""
        self.subscribe(self.browser)

        mine = self.rig.memory.add(author="john", status=Status.QUEUED)
        self.rig.memory.add(author="mary", status=Status.QUEUED)
        self.rig.memory.add(sender="john", line="", author="john", recipients=("mary",))
        self.rig.run()
        self.rig.memory.settle(mine, Status.DELIVERED)
        self.rig.run()

        self.assertEqual(self.service.came, [])

    def test_foreign_lines_wake_nobody(self) -> None:
        """A text on a line that a person does not have is none of that person's business."""
        self.subscribe(self.browser)

        self.rig.memory.add(line="2003")
        self.rig.run()

        self.assertEqual(self.service.came, [])

    def test_blocked_and_hidden_conversations_are_silent(self) -> None:
        """A blocked number and a deleted text wake nobody."""
        self.subscribe(self.browser)
        self.rig.world.book.persons["john"] = PersonalBook(blocked=frozenset({ALICE}))
        self.rig.memory.hidden_up_to["john", f"2001|{BOB}"] = "~"
        conversations = self.rig.memory.conversations

        def with_parties(query: Any) -> Any:
            return conversations(query).addCallback(
                lambda found: [
                    attrs.evolve(each, parties=(each.conversation.split("|")[1],)) for each in found
                ]
            )

        self.rig.memory.conversations = with_parties  # type: ignore[method-assign]

        self.rig.memory.add()
        self.rig.memory.add(sender=BOB)
        self.rig.run()

        self.assertEqual(self.service.came, [])

    def test_muted_or_read_conversation_is_silent(self) -> None:
        """Neither a muted conversation nor a text that was read in a window wakes anybody."""
        self.subscribe(self.browser)
        conversations = self.rig.memory.conversations
        for change in ({"muted": True}, {"read_id": "~"}):

            def changed(query: Any, change: Any = change) -> Any:
                return conversations(query).addCallback(
                    lambda found: [attrs.evolve(each, **change) for each in found]
                )

            self.rig.memory.conversations = changed  # type: ignore[method-assign]
            self.rig.memory.add()
            self.rig.run()

        self.assertEqual(self.service.came, [])

    def test_without_preview_nothing_is_told(self) -> None:
        """Where the operator wants it so, a notification says only that there is something."""
        self.preview = False
        self.subscribe(self.browser)

        self.rig.memory.add(body="secret")
        self.rig.run()

        (notice,) = self.notices()
        self.assertEqual(set(notice), {"title", "body", "unread"})
        self.assertNotIn("secret", str(notice))

    def test_long_text_and_picture_are_put_in_words(self) -> None:
        """A long text is cut, and a picture without words is called one."""
        self.subscribe(self.browser)

        self.rig.memory.add(body="word " * 200)
        self.rig.run()
        message_id = self.rig.memory.add(sender=BOB, body="")
        record = self.rig.memory.records[message_id]
        media = (Media(content_type="image/png"), Media(content_type="image/jpeg"))
        self.rig.memory.records[message_id] = attrs.evolve(record, media=media)
        self.rig.run()

        long, picture = (notice["body"] for notice in self.notices())
        self.assertTrue(long.startswith("word word") and long.endswith("..."))
        self.assertLessEqual(len(long), 200)
        self.assertEqual(picture, "2 pictures")

    def test_flood_is_held_back(self) -> None:
        """A thousand texts at once are no thousand notifications."""
        self.subscribe(self.browser)

        for _ in range(200):
            self.rig.memory.add()
        self.rig.run()

        self.assertLessEqual(len(self.service.came), 30)

    def test_newer_notice_replaces_one_that_waits(self) -> None:
        """While the push service is slow only the newest of a conversation waits for it."""
        self.subscribe(self.browser)
        slow: list[Deferred[Answer]] = [Deferred() for _ in range(8)]
        self.service.answers = list(slow)
        for number in range(8):
            self.rig.memory.add(sender=f"+1202555013{number}")
            self.rig.run()
        for text in ("one", "two", "three"):
            self.rig.memory.add(body=text)
            self.rig.run()

        for answer in slow:
            answer.callback(Answer(201, {}, b""))

        self.assertEqual(len(self.service.came), 9)
        self.assertEqual(self.notices()[-1]["body"], "three")


class FailingTests(PushCase):
    """How failures of push services end."""

    def test_browser_that_is_gone_is_forgotten(self) -> None:
        """404 and 410 say that nobody will ever read there again."""
        for status in (404, 410):
            self.subscribe(self.browser)
            self.service.always = Answer(status, {}, b"")

            self.rig.memory.add()
            self.rig.run()

            self.assertEqual(self.table.kept, {})

    def test_busy_service_is_asked_again(self) -> None:
        """429, 5xx and silence are tried a few times, no sooner than the service asks."""
        self.subscribe(self.browser)
        self.service.answers = [
            NoAnswer("nobody there", refused=True),
            Answer(503, {}, b""),
            Answer(429, {"retry-after": "200"}, b""),
        ]

        self.rig.memory.add()
        self.rig.run()
        counts = []
        for seconds in (6, 31, 150, 60):
            self.rig.run(seconds)
            counts.append(len(self.service.came))

        self.assertEqual(counts, [2, 3, 3, 4])
        self.assertEqual(self.table.kept[self.browser.endpoint].failures, 0)

    def test_failures_in_a_row_end_it(self) -> None:
        """A browser that cannot be reached ten times is forgotten; one success counts anew."""
        self.subscribe(self.browser)
        self.service.always = Answer(400, {}, b"")
        for _ in range(9):
            self.rig.memory.add()
            self.rig.run(2)
        self.assertEqual(self.table.kept[self.browser.endpoint].failures, 9)
        self.service.answers = [Answer(201, {}, b"")]
        self.rig.memory.add()
        self.rig.run(2)
        self.assertEqual(self.table.kept[self.browser.endpoint].failures, 0)

        for _ in range(10):
            self.rig.memory.add()
            self.rig.run(2)

        self.assertEqual(self.table.kept, {})

    def test_address_in_a_private_network_is_forgotten(self) -> None:
        """An endpoint that leads into our own network is none."""
        self.subscribe(self.browser)
        self.service.always = Forbidden("private")

        self.rig.memory.add()
        self.rig.run()

        self.assertEqual(self.table.kept, {})

    def test_browser_whose_log_in_expired_is_not_woken(self) -> None:
        """It may stand where others see what it shows."""
        self.subscribe(self.browser)
        self.expired.add("session-1")

        self.rig.memory.add()
        self.rig.run()

        self.assertEqual(self.notices(), [])
        self.assertEqual(self.table.kept, {})
        self.assertEqual(self.sender.of("john"), [])

    def test_log_out_ends_it(self) -> None:
        """A browser that logged out is not woken any more; others are."""
        other = Browser("b2", "session-2")
        self.subscribe(self.browser)
        self.subscribe(other)

        self.sender.session_ended("john", "session-1")
        self.rig.memory.add()
        self.rig.run()

        self.assertEqual([url for url, _, _ in self.service.came], [other.endpoint])

    def test_subscriptions_outlive_a_restart(self) -> None:
        """What the store has is read at the start."""
        self.subscribe(self.browser)
        self.sender.stopService()
        self.sender = self.start()

        self.rig.memory.add()
        self.rig.run()

        self.assertEqual(len(self.service.came), 1)

    def test_person_has_a_bounded_number_of_browsers(self) -> None:
        """The oldest one makes room."""
        for number in range(MOST_OF_PERSON + 2):
            self.subscribe(Browser(f"n{number}"))

        self.assertEqual(len(self.table.kept), MOST_OF_PERSON)
        self.assertNotIn("https://push.example.com/send/n0", self.table.kept)

    def test_nobody_to_wake_costs_nothing(self) -> None:
        """Without subscriptions the bridge is not followed."""
        self.assertEqual(self.rig.memory.followers, [])


class LoopbackService(Resource):
    """A push service on loopback: hands what comes to the browser, as a real one does."""

    isLeaf = True

    def __init__(self, browser: Browser) -> None:
        super().__init__()
        self.browser = browser
        self.read: list[Any] = []
        self.headers: list[dict[bytes, bytes | None]] = []
        self.status = 201

    def render_POST(self, request: Request) -> bytes:
        """Let the browser read it."""
        names = (b"ttl", b"topic", b"urgency", b"content-encoding", b"authorization")
        self.headers.append({name: request.getHeader(name) for name in names})
        self.read.append(self.browser.read(request.content.read()))
        request.setResponseCode(self.status)
        return b""


class LoopbackTests(TestCase):
    """A sender, a push service and a browser, over real sockets."""

    async def test_browser_reads_what_was_sent(self) -> None:
        """What leaves by HTTP is what RFC 8030 wants, and only the browser's key opens it."""
        tcp: Any = reactor
        rig, browser = Rig(), Browser()
        service = LoopbackService(browser)
        port = tcp.listenTCP(0, Site(service), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        poster = Poster(reactor)
        self.addCleanup(poster.close)
        browser.endpoint = f"http://127.0.0.1:{port.getHost().port}/send/1"
        folder = Path(self.mktemp())
        folder.mkdir()
        memory: Any = rig.memory
        table = MemorySubscriptions()
        sender = PushSender(
            rig.clock,
            rig.memory.now_ms,
            rig.hub,
            memory,
            rig.world,
            table,
            VapidKeys(folder, lambda: "https://sms.example.org"),
            poster.post,
            lambda name: base64url(name.encode()),
            private_too=True,
        )
        sender.startService()
        await sender.subscribe(browser.subscription())

        rig.memory.add(body="over the wire \u2713")
        rig.run()
        while not service.read:
            await deferLater(tcp, 0.01)
        service.status = 410
        rig.memory.add(sender=BOB)
        rig.run()
        while table.kept:
            await deferLater(tcp, 0.01)

        self.assertEqual(service.read[0]["body"], "over the wire \u2713")
        headers = service.headers[0]
        self.assertEqual(headers[b"content-encoding"], b"aes128gcm")
        self.assertEqual(headers[b"ttl"], b"14400")
        self.assertRegex(headers[b"authorization"] or b"", rb"^vapid t=[\w.-]+,k=[\w-]+$")

    async def test_own_network_is_out_of_reach(self) -> None:
        """An endpoint on loopback is forgotten unless a test allows it."""
        rig, browser = Rig(), Browser()
        browser.endpoint = "https://127.0.0.1:1/send"
        poster = Poster(reactor)
        self.addCleanup(poster.close)
        folder = Path(self.mktemp())
        folder.mkdir()
        memory: Any = rig.memory
        table = MemorySubscriptions()
        sender = PushSender(
            rig.clock,
            rig.memory.now_ms,
            rig.hub,
            memory,
            rig.world,
            table,
            VapidKeys(folder, lambda: ""),
            poster.post,
            lambda name: name,
        )
        sender.startService()
        await sender.subscribe(browser.subscription())

        rig.memory.add()
        rig.run()
        while table.kept:
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]


class VapidTests(PushCase):
    """The key by which push services know us."""

    def test_key_is_kept_and_private(self) -> None:
        """A restart keeps the key, and nobody else can read it."""
        again = VapidKeys(self.folder, lambda: "mailto:a@example.org")
        again.open()

        self.assertEqual(again.public_key, self.keys.public_key)
        self.assertEqual(len(decode_key(self.keys.public_key, 65)), 65)
        mode = stat.S_IMODE((self.folder / "vapid.pem").stat().st_mode)
        self.assertEqual(mode, 0o600)

    def test_token_is_signed_for_the_service(self) -> None:
        """The header proves with the public key of /me who sends, for whom and until when."""
        header = self.keys.authorization("https://push.example.com/send/b1", 1_000_000.0)

        scheme, _, rest = header.partition(" ")
        parts = dict(part.split("=", 1) for part in rest.split(","))
        head, claims, signature = parts["t"].split(".")
        self.assertEqual((scheme, parts["k"]), ("vapid", self.keys.public_key))
        self.assertEqual(
            json.loads(base64.urlsafe_b64decode(claims + "==")),
            {
                "aud": "https://push.example.com",
                "exp": 1_043_200,
                "sub": "https://sms.example.org",
            },
        )
        raw = decode_key(signature, 64)
        public = ec.EllipticCurvePublicKey.from_encoded_point(
            ec.SECP256R1(), decode_key(parts["k"], 65)
        )
        der = utils.encode_dss_signature(
            int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big")
        )
        public.verify(der, f"{head}.{claims}".encode(), ec.ECDSA(hashes.SHA256()))
        with self.assertRaises(InvalidSignature):
            public.verify(der, b"something else", ec.ECDSA(hashes.SHA256()))

    def test_token_has_a_contact_without_public_address(self) -> None:
        """An installation without https for itself can be tried out all the same."""
        for contact in ("", "http://127.0.0.1:8080"):
            keys = VapidKeys(self.folder, lambda contact=contact: contact)  # type: ignore[misc]
            keys.open()

            header = keys.authorization("https://push.example.com/send/b1", 1_000_000.0)

            claims = json.loads(base64.urlsafe_b64decode(header.split(".")[1] + "=="))
            self.assertEqual(claims["sub"], "mailto:operator@smsbridge.invalid")

    def test_token_is_made_anew_before_it_ends(self) -> None:
        """One signature serves for hours."""
        first = self.keys.authorization("https://push.example.com/1", 1_000_000.0)

        self.assertEqual(first, self.keys.authorization("https://push.example.com/2", 1_030_000.0))
        self.assertNotEqual(
            first, self.keys.authorization("https://push.example.com/1", 1_042_000.0)
        )

    def test_broken_key_file_is_told_and_stops_nothing(self) -> None:
        """Without a key there are no notifications, and everything else works."""
        folder = Path(tempfile.mkdtemp(dir=self.folder))
        (folder / "vapid.pem").write_text("nonsense")
        self.keys = VapidKeys(folder, lambda: "")

        sender = self.start()

        self.assertEqual(sender.public_key, "")


class OperationTests(PushCase):
    """The operations of the API."""

    def setUp(self) -> None:
        """Make the operations."""
        super().setUp()
        self.operations = PushOperations(self.sender, self.rig.memory.now_ms)

    def call(self, body: Any, by_session: bool = True) -> Call[Any]:
        """Return a request of John's."""
        caller = Caller(
            person=PERSONS["john"],
            name="session-1",
            scopes=frozenset(Scope),
            by_session=by_session,
        )
        return Call(request=None, caller=caller, query=None, body=body)  # type: ignore[arg-type]

    def post(self, **changes: Any) -> Any:
        """Subscribe; returns the answer or raises."""
        fields = {
            "endpoint": self.browser.endpoint,
            "keys": {"p256dh": self.browser.p256dh, "auth": base64url(self.browser.auth)},
            **changes,
        }
        body = NewSubscription.model_validate(fields)
        return self.successResultOf(
            Deferred.fromCoroutine(self.operations.subscribe(self.call(body)))
        )

    def refused(self, **changes: Any) -> ApiError:
        """Subscribe in vain."""
        body = NewSubscription.model_validate(
            {
                "endpoint": self.browser.endpoint,
                "keys": {"p256dh": self.browser.p256dh, "auth": base64url(self.browser.auth)},
                **changes,
            }
        )
        failing = Deferred.fromCoroutine(self.operations.subscribe(self.call(body)))
        return self.failureResultOf(failing, ApiError).value  # type: ignore[no-any-return]

    def test_browser_subscribes_and_unsubscribes(self) -> None:
        """A browser is kept with its login, and forgotten when it says so."""
        answer = self.post()

        self.assertEqual(answer["data"]["attributes"], {"service": "push.example.com"})
        self.assertEqual(self.table.kept[self.browser.endpoint].session_id, "session-1")
        body = OldSubscription(endpoint=self.browser.endpoint)
        self.successResultOf(Deferred.fromCoroutine(self.operations.unsubscribe(self.call(body))))
        self.assertEqual(self.table.kept, {})

    def test_foreign_subscription_cannot_be_ended(self) -> None:
        """Who knows an endpoint of another person cannot silence it."""
        self.subscribe(self.browser, "mary")

        body = OldSubscription(endpoint=self.browser.endpoint)
        self.successResultOf(Deferred.fromCoroutine(self.operations.unsubscribe(self.call(body))))

        self.assertIn(self.browser.endpoint, self.table.kept)

    def test_only_public_https_is_a_push_service(self) -> None:
        """Nobody makes us knock at doors in our own network."""
        for endpoint in (
            "http://push.example.com/x",
            "https://127.0.0.1/x",
            "https://[::1]/x",
            "https://169.254.169.254/latest",
            "https://10.0.0.1:8443/x",
            "https://user@push.example.com/x",
            "https:///x",
            "https://push.example.com:99999/x",
            "https://push.example.com/a b",
            "https://[broken/x",
            "javascript:alert(1)",
            "",
        ):
            error = self.refused(endpoint=endpoint)
            self.assertEqual((error.status, error.pointer), (422, "/data/attributes/endpoint"))

    def test_keys_that_no_browser_has_are_refused(self) -> None:
        """A wrong key is told at once and not at the first text."""
        error = self.refused(keys={"p256dh": "AAAA", "auth": base64url(self.browser.auth)})
        self.assertEqual(error.pointer, "/data/attributes/keys/p256dh")
        error = self.refused(keys={"p256dh": self.browser.p256dh, "auth": "***"})
        self.assertEqual(error.pointer, "/data/attributes/keys/auth")

    def test_programs_are_not_woken(self) -> None:
        """A token is no browser."""
        body = OldSubscription(endpoint=self.browser.endpoint)

        failing = Deferred.fromCoroutine(
            self.operations.unsubscribe(self.call(body, by_session=False))
        )

        self.assertEqual(self.failureResultOf(failing, ApiError).value.status, 403)

    @given(st.text(max_size=100))
    def test_any_endpoint_is_answered(self, endpoint: str) -> None:
        """Whatever a browser sends as an address, it is taken or refused."""
        try:
            self.operations._service(endpoint)
        except ApiError as e:
            self.assertEqual(e.status, 422)
