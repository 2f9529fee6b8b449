"""
Wakes browsers when a text comes: Web Push (RFC 8030) with encrypted notifications (RFC 8291,
content coding ``aes128gcm`` of RFC 8188), signed with a key of ours (VAPID, RFC 8292).

A notification is a hint, not the text's way to the person: it is tried a few times and then
forgotten.  Newer ones of the same conversation take the place of older ones, here and (by the Topic
header) at the push service.  Who gets one is decided when the text comes: those who see it and did
not write it, unless they muted or blocked the conversation or have read it already.
"""

from __future__ import annotations

import os
from base64 import urlsafe_b64decode, urlsafe_b64encode
from collections import OrderedDict
from collections.abc import Awaitable, Callable
from hashlib import sha256
from pathlib import Path
from typing import Any, Final
from urllib.parse import urlsplit

import http_ece  # type: ignore[import-untyped]
from attrs import define, evolve, field
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec
from py_vapid import Vapid02  # type: ignore[import-untyped]
from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.core.directory import World
from smsbridge.core.limits import TokenBuckets
from smsbridge.core.message import Direction
from smsbridge.core.records import MessageRecord
from smsbridge.core.subscriptions import Subscription, Subscriptions
from smsbridge.core.threads import ConversationQuery, ConversationRecord, Threads, Viewer
from smsbridge.errors import TemporaryFailure
from smsbridge.post import Answer, Forbidden, NoAnswer, Post
from smsbridge.web import shapes
from smsbridge.web.access.caller import Caller
from smsbridge.web.api.live import LiveHub, sees

__all__ = ["MOST_OF_PERSON", "PushSender", "VapidKeys", "decode_key", "encrypt"]

#: Browsers that one person may have; the oldest one is forgotten for the next.
MOST_OF_PERSON: Final = 20

_FILE: Final = "vapid.pem"
_NOBODY: Final = "mailto:operator@smsbridge.invalid"
_TTL_S: Final = 4 * 3600
_CLAIM_S: Final = 12 * 3600  # RFC 8292 allows 24 hours
_LONGEST_BODY: Final = 200
_AT_ONCE: Final = 8
_MOST_WAITING: Final = 2000
_RATE: Final = 1.0  # notifications a second of one person in the long run
_BURST: Final = 30
_RETRY_AFTER_S: Final = (5.0, 30.0, 120.0)
_LONGEST_WAIT_S: Final = 600.0
_MOST_FAILURES: Final = 10
_RELOAD_AFTER_S: Final = 5.0


def decode_key(text: str, length: int) -> bytes:
    """
    Read a key of a subscription: base64url, with or without padding.

    :raises ValueError: it is something else, or of another length.
    """
    data = urlsafe_b64decode(text + "=" * (-len(text) % 4))
    if len(data) != length:
        raise ValueError(f"{len(data)} bytes where {length} are wanted")
    return data


def encrypt(subscription: Subscription, payload: bytes) -> bytes:
    """
    Encrypt a notification for one browser (RFC 8291, section 3).

    :raises ValueError: the browser's keys are none.
    """
    encrypted: bytes = http_ece.encrypt(
        payload,
        private_key=ec.generate_private_key(ec.SECP256R1()),
        dh=decode_key(subscription.p256dh, 65),
        auth_secret=decode_key(subscription.auth, 16),
        version="aes128gcm",
    )
    return encrypted


class VapidKeys:
    """
    The key by which push services know us, kept in the state folder.

    :param contact: an address for the push service's operators, https or mailto; may be empty.
    """

    def __init__(self, folder: Path, contact: Callable[[], str]) -> None:
        self._path = folder / _FILE
        self._contact = contact
        self._vapid: Vapid02 | None = None
        self._signed: OrderedDict[tuple[str, str], tuple[str, float]] = OrderedDict()

    def open(self) -> None:
        """
        Read the key, or make one that only the daemon's user can read.

        :raises OSError: the folder cannot be written.
        :raises ValueError: the file holds no key.
        """
        if not self._path.exists():
            made = ec.generate_private_key(ec.SECP256R1()).private_bytes(
                serialization.Encoding.PEM,
                serialization.PrivateFormat.PKCS8,
                serialization.NoEncryption(),
            )
            new = self._path.with_suffix(".new")
            new.unlink(missing_ok=True)
            with open(os.open(new, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                file.write(made)
                file.flush()
                os.fsync(file.fileno())
            new.rename(self._path)
        key = serialization.load_pem_private_key(self._path.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError(f"{self._path} holds no key for Web Push; remove it to get a new one")
        self._vapid = Vapid02(key)

    @property
    def public_key(self) -> str:
        """Return what a browser subscribes with: base64url, empty before `open`."""
        if self._vapid is None:
            return ""
        return _base64url(
            self._vapid.public_key.public_bytes(
                serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint
            )
        )

    def authorization(self, endpoint: str, now_s: float) -> str:
        """Return the Authorization header for a push service; signed anew every few hours."""
        assert self._vapid is not None, "the key is not open"
        parts = urlsplit(endpoint)
        contact = self._contact()
        if not contact.startswith(("https://", "mailto:")):
            contact = _NOBODY  # RFC 8292 wants one of both, and some services insist
        key = (f"{parts.scheme}://{parts.netloc}", contact)
        header, until_s = self._signed.get(key, ("", 0.0))
        if until_s < now_s + 3600:
            until_s = now_s + _CLAIM_S
            claims = {"aud": key[0], "exp": int(until_s), "sub": key[1]}
            header = self._vapid.sign(claims)["Authorization"]
            self._signed[key] = (header, until_s)
            while len(self._signed) > 100:
                self._signed.popitem(last=False)
        return header


@define(eq=False)
class _Notice:
    """One notification on its way to one browser."""

    endpoint: str
    conversation: str
    payload: bytes = field(repr=False)
    attempts: int = 0
    timer: IDelayedCall | None = None


class PushSender(Service):
    """
    Watches for new texts and notifies the browsers of those who see them.

    :param post: see `post.Poster.post`.
    :param conversation_id: how the API calls a conversation.
    :param preview: whether notifications say who wrote what.
    :param private_too: whether push services may be in private networks; for tests.
    :param lives: tells whether the session with an id has neither ended nor expired.
    """

    log = Logger()
    name = "push"

    def __init__(
        self,
        reactor: Any,
        now_ms: Callable[[], int],
        hub: LiveHub,
        threads: Threads,
        world: World,
        subscriptions: Subscriptions,
        keys: VapidKeys,
        post: Post,
        conversation_id: Callable[[str], str],
        preview: Callable[[], bool] = lambda: True,
        *,
        private_too: bool = False,
        lives: Callable[[str], Awaitable[bool]] | None = None,
    ) -> None:
        self._lives = lives
        self._reactor = reactor
        self._now_ms = now_ms
        self._hub = hub
        self._threads = threads
        self._world = world
        self._subscriptions = subscriptions
        self.keys = keys
        self._post = post
        self._conversation_id = conversation_id
        self._preview = preview
        self._private_too = private_too
        self._by_endpoint: dict[str, Subscription] = {}
        self._unobserve: Callable[[], None] | None = None
        self._rates = TokenBuckets(reactor.seconds)
        self._waiting: OrderedDict[tuple[str, str], _Notice] = OrderedDict()
        self._resting: dict[tuple[str, str], _Notice] = {}
        self._busy = 0

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Open the key and read who wants to be woken."""
        Service.startService(self)
        try:
            self.keys.open()
        except (OSError, ValueError) as e:
            # Everything else works without notifications.
            self.log.error("no notifications to closed browsers: {reason}", reason=str(e))
            return
        self._load()

    def stopService(self) -> None:
        """Forget what waits: a notification is a hint only."""
        Service.stopService(self)
        if self._unobserve is not None:
            self._unobserve()
            self._unobserve = None
        self._waiting.clear()
        for notice in self._resting.values():
            if notice.timer is not None and notice.timer.active():
                notice.timer.cancel()
        self._resting.clear()

    def _load(self) -> None:
        def loaded(found: list[Subscription]) -> None:
            for subscription in found:
                self._by_endpoint.setdefault(subscription.endpoint, subscription)
            self._attend()

        def failed(failure: Failure) -> None:
            if failure.check(TemporaryFailure):
                self._reactor.callLater(_RELOAD_AFTER_S, self._load_again)
            else:
                self.log.failure("subscriptions could not be read", failure=failure)

        self._subscriptions.all().addCallbacks(loaded, failed)

    def _attend(self) -> None:
        """Listen to new texts while there is anybody to wake."""
        if self._by_endpoint and self.running:
            if self._unobserve is None:
                self._unobserve = self._hub.observe(self._came)
        elif self._unobserve is not None:
            self._unobserve()
            self._unobserve = None

    def _load_again(self) -> None:
        if self.running:
            self._load()

    # -- who wants it ----------------------------------------------------------------------------

    @property
    def public_key(self) -> str:
        """Return what a browser subscribes with; empty where there are no notifications."""
        return self.keys.public_key

    async def subscribe(self, subscription: Subscription) -> None:
        """Keep a browser that wants to be woken; its person's oldest one makes room."""
        await self._subscriptions.put(subscription)
        self._by_endpoint.pop(subscription.endpoint, None)
        self._by_endpoint[subscription.endpoint] = subscription
        own = self.of(subscription.person)
        for oldest in own[: max(0, len(own) - MOST_OF_PERSON)]:
            await self._remove(oldest.endpoint)
        self._attend()

    async def unsubscribe(self, person: str, endpoint: str) -> bool:
        """Forget a browser; False if it is none of this person."""
        known = self._by_endpoint.get(endpoint)
        if known is None or known.person != person:
            return False
        await self._remove(endpoint)
        return True

    def of(self, person: str) -> list[Subscription]:
        """Return the browsers of a person, oldest first."""
        return [each for each in self._by_endpoint.values() if each.person == person]

    def session_ended(self, person: str, session_id: str) -> None:
        """Forget the browser that logged out; the store has forgotten it with the session."""
        for each in self.of(person):
            if each.session_id == session_id:
                del self._by_endpoint[each.endpoint]
        self._attend()

    async def _remove(self, endpoint: str) -> None:
        self._by_endpoint.pop(endpoint, None)
        self._attend()
        await self._subscriptions.remove(endpoint)

    # -- a text came -----------------------------------------------------------------------------

    def _came(self, record: MessageRecord) -> None:
        if record.direction not in (Direction.IN, Direction.INTERNAL):
            return
        for label in {each.person for each in self._by_endpoint.values()}:
            person = self._world.directory.persons.get(label)
            if person is None or label == record.author:
                continue
            viewer = Caller(person=person, name="", scopes=frozenset()).viewer(self._world)
            if sees(viewer, record):
                Deferred.fromCoroutine(self._notify(viewer, record)).addErrback(self._bug)

    async def _notify(self, viewer: Viewer, record: MessageRecord) -> None:
        if self._rates.wait_s(viewer.person, _RATE, _BURST) > 0:
            return  # the last ones said enough
        try:
            found = await self._threads.conversations(
                ConversationQuery(
                    viewer=viewer, folder="all", conversations=(record.conversation,), limit=1
                )
            )
            if not found or not _concerns(viewer, found[0], record):
                return
            unread = await self._threads.unread(viewer)
            subscriptions = await self._living(viewer.person)
        except TemporaryFailure:
            return  # the database is away; the text itself is safe
        payload = shapes.encode(self._payload(viewer, found[0], record, unread))
        for subscription in subscriptions:
            self._enqueue(_Notice(subscription.endpoint, record.conversation, payload))

    async def _living(self, person: str) -> list[Subscription]:
        """Return a person's browsers and forget those whose log in has expired."""
        living = []
        for each in self.of(person):
            if self._lives is None or await self._lives(each.session_id):
                living.append(each)
            else:
                # Somebody else may sit there by now.
                await self._remove(each.endpoint)
        return living

    def _payload(
        self,
        viewer: Viewer,
        conversation: ConversationRecord,
        record: MessageRecord,
        unread: int,
    ) -> dict[str, object]:
        if not self._preview():
            return {"title": "smsbridge", "body": "A new text is waiting.", "unread": unread}
        sender = self._called(viewer.person, record.sender)
        others = [
            self._called(viewer.person, party)
            for party in conversation.parties
            if party not in (record.sender, viewer.person)
        ]
        title = f"{sender} to {', '.join(others)}" if others else sender
        body = " ".join(record.body.split())
        if len(body) > _LONGEST_BODY:
            body = body[: _LONGEST_BODY - 3].rstrip() + "..."
        return {
            "title": title[:100],
            "body": body or _attached(record),
            "conversation": self._conversation_id(record.conversation),
            "message": record.message_id,
            "unread": unread,
        }

    def _called(self, person: str, party: str) -> str:
        return self._world.book.name(person, party) or party or "Unknown number"

    # -- sending ---------------------------------------------------------------------------------

    def _enqueue(self, notice: _Notice) -> None:
        key = (notice.endpoint, notice.conversation)
        resting = self._resting.pop(key, None)
        if resting is not None and resting.timer is not None and resting.timer.active():
            resting.timer.cancel()
        self._waiting[key] = notice
        self._waiting.move_to_end(key)
        while len(self._waiting) > _MOST_WAITING:
            self._waiting.popitem(last=False)
        self._pump()

    def _pump(self) -> None:
        while self._waiting and self._busy < _AT_ONCE and self.running:
            _, notice = self._waiting.popitem(last=False)
            subscription = self._by_endpoint.get(notice.endpoint)
            if subscription is None:
                continue
            self._busy += 1
            Deferred.fromCoroutine(self._send(subscription, notice)).addErrback(
                self._bug
            ).addCallback(self._sent)

    def _sent(self, _: None) -> None:
        self._busy -= 1
        self._pump()

    async def _send(self, subscription: Subscription, notice: _Notice) -> None:
        notice.attempts += 1
        topic = _base64url(sha256(notice.conversation.encode()).digest())[:32]
        headers = {
            "TTL": str(_TTL_S),
            "Urgency": "high",
            "Topic": topic,
            "Content-Encoding": "aes128gcm",
            "Content-Type": "application/octet-stream",
            "Authorization": self.keys.authorization(notice.endpoint, self._now_ms() / 1000),
        }
        try:
            body = encrypt(subscription, notice.payload)
            answer = await self._post(notice.endpoint, body, headers, private_too=self._private_too)
        except ValueError:
            await self._remove(notice.endpoint)  # keys that no browser has
            return
        except Forbidden as e:
            self.log.warn("a browser's push service is refused: {reason}", reason=str(e))
            await self._remove(notice.endpoint)
            return
        except NoAnswer as e:
            await self._failed(subscription, notice, str(e), None)
            return
        if 200 <= answer.status < 300:
            if subscription.failures:
                await self._count(subscription, 0)
        elif answer.status in (404, 410):
            await self._remove(notice.endpoint)  # the browser does not want it any more
        elif answer.status == 429 or answer.status >= 500:
            await self._failed(subscription, notice, f"status {answer.status}", _asked_s(answer))
        else:
            notice.attempts = len(_RETRY_AFTER_S) + 1  # it would be refused again
            await self._failed(subscription, notice, f"status {answer.status}", None)

    async def _failed(
        self, subscription: Subscription, notice: _Notice, reason: str, asked_s: float | None
    ) -> None:
        if notice.attempts <= len(_RETRY_AFTER_S):
            wait_s = max(_RETRY_AFTER_S[notice.attempts - 1], asked_s or 0.0)
            key = (notice.endpoint, notice.conversation)
            if wait_s <= _LONGEST_WAIT_S and key not in self._waiting and self.running:
                self._resting[key] = notice
                notice.timer = self._reactor.callLater(wait_s, self._enqueue_again, key)
            return
        failures = subscription.failures + 1
        self.log.info(
            "{person} could not be notified ({failures} in a row): {reason}",
            person=subscription.person,
            failures=failures,
            reason=reason,
            peer=urlsplit(notice.endpoint).hostname,
        )
        if failures >= _MOST_FAILURES:
            await self._remove(notice.endpoint)
        else:
            await self._count(subscription, failures)

    def _enqueue_again(self, key: tuple[str, str]) -> None:
        notice = self._resting.pop(key, None)
        if notice is not None:
            self._waiting[key] = notice
            self._pump()

    async def _count(self, subscription: Subscription, failures: int) -> None:
        known = self._by_endpoint.get(subscription.endpoint)
        if known is not None:
            self._by_endpoint[subscription.endpoint] = evolve(known, failures=failures)
            await self._subscriptions.count_failures(subscription.endpoint, failures)

    def _bug(self, failure: Failure) -> None:
        if failure.check(TemporaryFailure):
            return  # the database is away; what was to be counted is counted the next time
        self.log.failure("a browser could not be notified", failure=failure)


def _concerns(viewer: Viewer, found: ConversationRecord, record: MessageRecord) -> bool:
    """Tell whether a text is worth waking its reader."""
    if found.muted or found.last is None or found.read_id >= record.message_id:
        return False
    return not (len(found.parties) == 1 and found.parties[0] in viewer.blocked)


def _attached(record: MessageRecord) -> str:
    if not record.media:
        return "A new text"
    pictures = all(each.content_type.startswith("image/") for each in record.media)
    word = "picture" if pictures else "file"
    count = len(record.media)
    return f"A {word}" if count == 1 else f"{count} {word}s"


def _asked_s(answer: Answer) -> float | None:
    try:
        return float(answer.headers.get("retry-after", ""))
    except ValueError:
        return None


def _base64url(data: bytes) -> str:
    return urlsafe_b64encode(data).rstrip(b"=").decode("ascii")
