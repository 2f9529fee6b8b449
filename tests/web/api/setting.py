"""What the tests of the operations share: the API on the real core and store, in a test's hand."""

from __future__ import annotations

import json
from typing import Any

from treq.testing import StubTreq
from twisted.internet.defer import maybeDeferred, succeed
from twisted.trial.unittest import SynchronousTestCase
from twisted.web.server import Request

from smsbridge.core.accounts import AccountState
from smsbridge.core.message import Sent
from smsbridge.errors import PermanentFailure
from smsbridge.logs import LoggedError
from smsbridge.media.store import MediaStatistics
from smsbridge.store.accounts import AccountTables
from smsbridge.store.hiding import StoredHiding
from smsbridge.store.subscriptions import SubscriptionTable
from smsbridge.web.access.access import Access
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.access.logins import Logins
from smsbridge.web.access.passwords import Passwords
from smsbridge.web.access.tokens import Tokens
from smsbridge.web.api.admin import Admin, Installation
from smsbridge.web.api.contacts import Contacts
from smsbridge.web.api.conversations import Conversations
from smsbridge.web.api.events import Events
from smsbridge.web.api.lines import Lines
from smsbridge.web.api.live import LiveHub
from smsbridge.web.api.media import Attachments
from smsbridge.web.api.messages import Messages
from smsbridge.web.api.operation import ApiError
from smsbridge.web.api.push import PushOperations
from smsbridge.web.api.served import Api
from smsbridge.web.api.session import Account
from smsbridge.web.api.shapes import Shapes, conversation_id
from smsbridge.web.push import PushSender, VapidKeys
from tests.web.access.rig import HASHER, Chance
from tests.web.api.conformity import conformity
from tests.web.backend import Setting
from tests.web.bridge import START_MS

BASE = "/api/v2.2"
JSON_API = "application/vnd.api+json"


class HeaderAccess:
    """Takes the caller from the header ``X-Person``, or one that the test names."""

    def __init__(self, setting: Setting) -> None:
        self._setting = setting
        self.known: dict[str, Caller] = {}

    async def caller(self, request: Request) -> Caller:
        """See `Access`."""
        name = (request.getHeader(b"x-person") or b"").decode()
        if not name:
            raise ApiError(401, "credentials", "Log in.")
        return self.known.get(name) or self._setting.caller(name)


class ApiTestCase(SynchronousTestCase):
    """Serves the API; requests are John's unless said otherwise."""

    def setUp(self) -> None:
        """Serve the operations on a store of their own."""
        self.setting = Setting(self.mktemp())
        self.addCleanup(self.setting.close)
        self.rig = self.setting.rig
        self.passwords: dict[str, str] = {}
        backend = self.setting.backend
        self.shapes = Shapes(backend.world, backend.bridge, backend.now_ms, backend.public_url)
        self.access = HeaderAccess(self.setting)
        self.make_door()
        self.subjects = self.make_subjects()
        self.api = Api(backend, self.access, self.subjects)
        self.treq = StubTreq(self.api.resource())
        self.conformity = conformity(*self.api.operations)
        self.well_answered: set[str] = set()

    def make_door(self) -> None:
        """Make what the operations on accounts, events and push need."""
        backend, store = self.setting.backend, self.rig.store
        world, now_ms, seconds = backend.world, backend.now_ms, self.rig.clock.seconds
        random = Chance()
        accounts = AccountTables(store)
        passwords = Passwords(lambda call: maybeDeferred(call), HASHER)
        self.logins = Logins(accounts, passwords, world, now_ms, seconds, random)
        self.tokens = Tokens(accounts, world, now_ms, seconds, random)
        self.door = Access(world, self.logins, self.tokens, seconds, backend.public_url)
        self.hub = LiveHub(
            self.rig.clock,
            now_ms,
            backend.bridge,
            backend.threads,
            StoredHiding(store),
            world,
            self.shapes,
            "boot",
        )
        keys = VapidKeys(store.folder, lambda: "mailto:operator@example.org")
        keys.open()
        self.pusher = PushSender(
            self.rig.clock,
            now_ms,
            self.hub,
            backend.threads,
            world,
            SubscriptionTable(store),
            keys,
            no_post,
            conversation_id,
        )

    def make_subjects(self) -> list[Any]:
        """Make the operations."""
        backend, shapes = self.setting.backend, self.shapes
        return [
            Messages(backend, shapes, self.setting.listing),
            Conversations(backend, shapes),
            Contacts(backend, shapes),
            Lines(backend, shapes),
            Attachments(backend, shapes),
            Account(backend, self.door, self.logins, self.tokens, "1.2.3", lambda: "key"),
            Events(self.hub),
            PushOperations(self.pusher, backend.now_ms),
            Admin(
                backend=backend,
                installation=Installation(version="1.2.3", node="here", database="sqlite"),
                states=lambda: succeed(
                    [AccountState(person="john", has_password=True, last_login_at_ms=START_MS)]
                ),
                set_password=self.set_password,
                logged=lambda: [LoggedError(at_ms=START_MS, level="warn", area="x", text="y")],
                media=MediaStatistics,
            ),
        ]

    async def set_password(self, person: str, password: str) -> None:
        """Note that somebody got a password."""
        self.passwords[person] = password

    def ask(
        self,
        method: str,
        path: str,
        body: Any = None,
        code: int = 200,
        person: str = "john",
        **headers: str,
    ) -> Any:
        """Make a request and return the decoded answer."""
        data = body if isinstance(body, bytes | None) else json.dumps(body).encode()
        if data is not None:
            headers.setdefault("content_type", JSON_API)
        headers["x_person"] = person
        asked = self.treq.request(
            method,
            "http://bridge.test" + path.removeprefix("/api"),
            data=data,
            headers={name.replace("_", "-"): value for name, value in headers.items()},
        )
        self.setting.turn()
        self.treq.flush()
        response = self.successResultOf(asked)
        content = self.successResultOf(self.treq.content(response))
        self.assertEqual(response.code, code, content)
        self.headers = response.headers
        kind = (response.headers.getRawHeaders(b"content-type") or [b""])[0].decode()
        fault = self.conformity.faults(method, path, code, kind, content)
        self.assertEqual(fault, "", f"{method} {path}: {content!r}")
        operation = self.conformity.operation(method, path)
        if operation is not None and code < 300:
            self.well_answered.add(operation["operationId"])
        return json.loads(content) if "json" in kind and content else content

    def get(self, path: str, code: int = 200, person: str = "john") -> Any:
        """Make a GET of the API."""
        return self.ask("GET", BASE + path, None, code, person)

    def post(
        self, path: str, attributes: Any = None, code: int = 200, person: str = "john", **more: str
    ) -> Any:
        """Make a POST with these attributes."""
        body = None if attributes is None else {"data": {"attributes": attributes}}
        return self.ask("POST", BASE + path, body, code, person, **more)

    def patch(self, path: str, attributes: Any, code: int = 200, person: str = "john") -> Any:
        """Make a PATCH with these attributes."""
        return self.ask("PATCH", BASE + path, {"data": {"attributes": attributes}}, code, person)

    def delete(self, path: str, code: int = 204, person: str = "john") -> Any:
        """Make a DELETE."""
        return self.ask("DELETE", BASE + path, None, code, person)

    def refused(
        self, method: str, path: str, code: int, attributes: Any = None, **more: str
    ) -> Any:
        """Make a request that is refused with one error, and return the error."""
        body = None if attributes is None else {"data": {"attributes": attributes}}
        (error,) = self.ask(method, BASE + path, body, code, **more)["errors"]
        return error

    def send(self, to: Any, body: str = "hello", code: int = 202, **attributes: Any) -> Any:
        """Let John send a text; returns the resource."""
        return self.post("/messages", {"to": to, "body": body, **attributes}, code)["data"]

    def receive(self, body: str, sender: str = "+12025550123", line: str = "one", **m: Any) -> None:
        """Let a text arrive."""
        done = self.rig.text(body, sender, line=line, **m)
        self.setting.turn()
        self.successResultOf(done)

    def between(self, body: str, sender: str, *to: str) -> str:
        """Let a person write to others; returns the message's id."""
        done = self.rig.send(body, *to, person=sender)
        self.setting.turn()
        message_id: str = self.successResultOf(done).message_id
        return message_id

    def settle_last(self, *outcomes: Any) -> None:
        """Let the last attempt on a line end."""
        self.rig.box.attempts[-1].settle(*outcomes)
        self.setting.turn()

    def scoped(self, person: str, *scopes: Scope, **more: Any) -> str:
        """Make a caller with these scopes; returns the name to ask with."""
        name = f"{person}-scoped"
        self.access.known[name] = self.setting.caller(person, *scopes, **more)
        return name


def no_post(*_: Any, **__: Any) -> Any:
    """Stand for posts that no test here makes."""
    raise AssertionError("nothing is to be posted")


SENT = Sent("remote-1")
FAILED = PermanentFailure("unknown-subscriber", detail="code 21")
