"""
Puts together what people and programs reach by HTTP: inbox, API, attachments, hooks and health.

`tap` builds one `Front` and starts its services between the store and the listeners; nothing here
knows a kind of gateway, and nothing opens anything before it is started.
"""

from __future__ import annotations

import secrets
from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import IService, MultiService
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.logger import Logger

from smsbridge.config import Config
from smsbridge.contacts import CardReader
from smsbridge.core.callbacks import report_origin
from smsbridge.core.contacts import Shelf
from smsbridge.core.directory import World
from smsbridge.core.message import Origin
from smsbridge.daemon import Daemon
from smsbridge.interfaces import IInbox
from smsbridge.logs import LastErrors
from smsbridge.media.store import MediaSettings, MediaStore
from smsbridge.metrics import Exposition
from smsbridge.post import Poster
from smsbridge.store.accounts import AccountTables
from smsbridge.store.contacts import StoredContacts
from smsbridge.store.files import FileLedger
from smsbridge.store.hiding import StoredHiding
from smsbridge.store.listing import MessageListing
from smsbridge.store.service import MessageStore
from smsbridge.store.subscriptions import SubscriptionTable
from smsbridge.store.threads import StoredThreads
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.access.start import Door, first_login, login_url
from smsbridge.web.api.admin import Admin, Installation
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.contacts import Contacts
from smsbridge.web.api.conversations import Conversations
from smsbridge.web.api.document import describe
from smsbridge.web.api.events import Events
from smsbridge.web.api.lines import Lines
from smsbridge.web.api.live import LiveHub
from smsbridge.web.api.media import Attachments
from smsbridge.web.api.messages import Messages
from smsbridge.web.api.operation import BASE
from smsbridge.web.api.push import PushOperations
from smsbridge.web.api.served import Api
from smsbridge.web.api.session import Account
from smsbridge.web.api.shapes import Shapes, conversation_id
from smsbridge.web.api.unsent import Unsent
from smsbridge.web.health import health_mounts
from smsbridge.web.media import MediaResource
from smsbridge.web.pages import Pages
from smsbridge.web.push import PushSender, VapidKeys
from smsbridge.web.site import Hooks, Upload, http_listeners, http_site

__all__ = ["Front"]

#: Bodies of other operations fit into what the site takes anyway.
_LARGE_BODY: Final = 2 * 1024 * 1024


class Front(MultiService):
    """
    The HTTP listeners, replaced as a whole when [http] changes, and what they serve.

    :ivar before: services that start after the store and before the gateways, in this order.
    :ivar door: passwords, sessions and tokens.
    :param print_line: shows a line to whoever started the program by hand.
    """

    log = Logger()
    name = "web"

    def __init__(
        self,
        reactor: Any,
        config: Config,
        now_ms: Callable[[], int],
        store: MessageStore,
        world: World,
        inbox: IInbox,
        exposition: Exposition,
        errors: LastErrors,
        installation: Installation,
        print_line: Callable[[str], None],
    ) -> None:
        super().__init__()
        self._reactor = reactor
        self._config = config
        self._now_ms = now_ms
        self._world = world
        self._inbox = inbox
        self._exposition = exposition
        self._errors = errors
        self._installation = installation
        self._print_line = print_line
        self._accounts = AccountTables(store)
        self._listing = MessageListing(store)
        self._hiding = StoredHiding(store)
        self._subscriptions = SubscriptionTable(store)
        self._threads = StoredThreads(store)
        self.door = Door.build(
            reactor, self._accounts, world, now_ms, self._public_url, self._trusted_proxies
        )
        self._shelf = Shelf(world.book)
        self._contacts = StoredContacts(reactor, store, world, self._shelf, now_ms)
        self._cards = CardReader(reactor, world, self._shelf)
        self._media = MediaStore(
            reactor,
            config.settings.state / "media",
            FileLedger(store),
            self._media_settings,
            now_ms,
        )
        exposition.files = lambda: self._media.statistics
        self.before: tuple[IService, ...] = (self._media, self.door.threads, self._cards)

    def attend(self, daemon: Daemon) -> None:
        """
        Build what needs the daemon: the API and the live events.

        :param daemon: answers what operators and persons ask.
        """
        self._daemon = daemon
        shapes = Shapes(self._world, daemon, self._now_ms, self._public_url)
        live = LiveHub(
            self._reactor,
            self._now_ms,
            daemon,
            self._threads,
            self._hiding,
            self._world,
            shapes,
            boot=secrets.token_hex(4),
            version=self._installation.version,
        )
        push = PushSender(
            self._reactor,
            self._now_ms,
            live,
            self._threads,
            self._world,
            self._subscriptions,
            VapidKeys(self._config.settings.state, self._public_url),
            Poster(self._reactor).post,
            conversation_id,
            lambda: self._config.http is None or self._config.http.push_preview,
            lives=self.door.logins.lives,
        )
        self._shelf.changed = live.contacts_changed  # names from a vCard file that has changed too
        self.before = (*self.before, live, push)
        self.door.logins.watch(lambda person, session_id: live.caller_ended(session_id))
        self.door.logins.watch(push.session_ended)
        self.door.tokens.watch(lambda person, name: live.caller_ended(name))
        backend = Backend(
            reactor=self._reactor,
            now_ms=self._now_ms,
            bridge=daemon,
            inbox=self._inbox,
            world=self._world,
            threads=self._threads,
            contacts=self._contacts,
            live=live,
            public_url=self._public_url,
            unsent=Unsent(lambda: self._config.settings.media_cap),
        )
        self._api = Api(
            backend,
            self.door.access,
            (
                Account(
                    backend,
                    self.door.access,
                    self.door.logins,
                    self.door.tokens,
                    self._installation.version,
                    lambda: push.keys.public_key,
                ),
                Messages(backend, shapes, self._listing, self._origin_of),
                Conversations(backend, shapes),
                Contacts(backend, shapes),
                Lines(backend, shapes),
                Attachments(backend, shapes),
                Events(live),
                PushOperations(push, self._now_ms),
                Admin(
                    backend=backend,
                    installation=self._installation,
                    states=self._accounts.states,
                    set_password=self.door.logins.set_password,
                    logged=self._errors.last,
                    media=lambda: self._media.statistics,
                ),
            ),
            describe(self._installation.version),
        )
        self.use(self._config)

    # -- what the configuration says ---------------------------------------------------------------

    def _public_url(self) -> str:
        http = self._config.http
        return http.public_url.rstrip("/") if http is not None else ""

    def _trusted_proxies(self) -> tuple[str, ...]:
        http = self._config.http
        return http.trusted_proxies if http is not None else ()

    def _most_connections(self, address: str) -> int:
        http = self._config.http
        if http is None or self.door.access.trusts(address):
            return 0
        return http.connections_per_address

    def _media_settings(self) -> MediaSettings:
        settings, http = self._config.settings, self._config.http
        return MediaSettings(
            cap_bytes=settings.media_cap,
            max_bytes=settings.media_max,
            public_url=self._public_url(),
            allow_private=http is not None and http.allow_private_media,
        )

    def _origin_of(self, caller: Caller, callback: str) -> Origin | None:
        return report_origin(self._world.directory, caller.person, callback)

    # -- life ------------------------------------------------------------------------------------

    def _take(self, config: Config) -> None:
        self._config = config
        self._world.public_url = self._public_url()

    def use(self, config: Config) -> None:
        """
        Build the listeners of a configuration.

        :raises ValueError: an endpoint cannot be understood.
        """
        self._take(config)
        self._world.media = self._media
        self._world.inbox = config.http is not None
        if config.http is None:
            return
        mounts = {
            "hook": Hooks(self._daemon.hook),
            "api": self._api.resource(),
            "media": MediaResource(lambda: self._world.media),
            **health_mounts(
                self._daemon, self._reactor, self._exposition if config.http.metrics else None
            ),
        }
        upload = Upload(
            method=b"POST",
            path=f"{BASE}/media".encode(),
            most_bytes=lambda: self._config.settings.media_max,
            new_file=self._media.upload_path,
            admit=lambda request: self.door.access.admit(request, Scope.SEND),
        )
        site = http_site(
            mounts,
            pages=Pages(),
            limits={
                (each.method.encode(), f"{BASE}{each.path}".encode()): each.most_bytes
                for each in self._api.operations
                if each.most_bytes > _LARGE_BODY
            },
            uploads=(upload,),
            per_address=self._most_connections,
            reactor=self._reactor,
        )
        http_listeners(self._reactor, config.http.listen, site).setServiceParent(self)

    def startService(self) -> None:
        """Listen, and say how to log in."""
        super().startService()
        self._contacts.load().addErrback(
            lambda failure: self.log.failure("could not read the contacts", failure=failure)
        )
        if self._config.http is not None:
            Deferred.fromCoroutine(self._say_where()).addErrback(
                lambda failure: self.log.failure("could not look up the logins", failure=failure)
            )

    async def _say_where(self) -> None:
        http = self._config.http
        assert http is not None, "asked only with [http]"
        sentence = await first_login(
            self.door.logins,
            self._accounts,
            self._world,
            wanted=http.first_login,
            url=login_url(http.public_url, http.listen),
        )
        if http.first_login:
            # Not by the log, which may be kept: it can hold the password.
            self._print_line(sentence)
        else:
            self.log.info("{sentence}", sentence=sentence)

    def rebuild(self, config: Config) -> Deferred[str]:
        """
        Close the listeners and open those of another configuration; fires with what went wrong.
        """
        return Deferred.fromCoroutine(self._rebuild(config))

    async def _rebuild(self, config: Config) -> str:
        for listeners in list(self):
            await maybeDeferred(listeners.disownServiceParent)
        try:
            self.use(config)
        except (CannotListenError, ValueError) as e:
            return f"[http] cannot listen: {e}"
        return ""

    def reconfigured(self, config: Config) -> None:
        """Take note of persons and settings that are others now."""
        self._take(config)
        Deferred.fromCoroutine(self.door.logins.persons_changed()).addErrback(
            lambda failure: self.log.failure("could not end old sessions", failure=failure)
        )
