"""Tests of `smsbridge.web.api.session`: logging in over HTTP, the account, its tokens."""

from __future__ import annotations

import json
from base64 import b64encode
from typing import Any

from pydantic import TypeAdapter
from twisted.internet.address import IPv4Address
from twisted.internet.defer import Deferred
from twisted.internet.testing import StringTransport

from smsbridge.errors import TemporaryFailure
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import operations_of
from smsbridge.web.api.served import Api
from smsbridge.web.api.session import Account
from smsbridge.web.site import http_site
from tests.web.access.rig import AWAY, GOOD, HOME, DoorTestCase

OTHER = "another good password"


class Answer:
    """An answer, taken apart."""

    def __init__(self, raw: bytes) -> None:
        head, _, body = raw.partition(b"\r\n\r\n")
        status, *lines = head.decode().split("\r\n")
        self.status = int(status.split()[1])
        self.headers = {
            name.lower(): value.strip()
            for name, _, value in (line.partition(":") for line in lines)
        }
        self.document: Any = json.loads(body) if body else None

    @property
    def error(self) -> dict[str, Any]:
        """The only error."""
        (error,) = self.document["errors"]
        return dict(error)

    @property
    def attributes(self) -> dict[str, Any]:
        """The attributes of the only resource."""
        return dict(self.document["data"]["attributes"])


class Browser:
    """Sends what our page sends, and keeps the cookie."""

    def __init__(self, site: Any, address: str = HOME) -> None:
        self._site = site
        self._address = address
        self.headers: dict[str, str] = {"X-Requested-With": "smsbridge"}
        self.cookie = ""

    def ask(self, method: str, path: str, attributes: Any = None, **headers: str) -> Answer:
        """Send one request; the answer has to come at once."""
        transport = self.begin(method, path, attributes, **headers)
        answer = Answer(transport.value())
        cookie = answer.headers.get("set-cookie", "")
        if cookie:
            self.cookie = cookie.partition(";")[0].partition("=")[2]
        return answer

    def begin(
        self, method: str, path: str, attributes: Any = None, **headers: str
    ) -> StringTransport:
        """Send one request; returns where the answer will be."""
        body = b""
        if attributes is not None:
            body = json.dumps({"data": {"type": "x", "attributes": attributes}}).encode()
        lines = {
            "Host": "sms.example.org",
            "Content-Length": str(len(body)),
            "Content-Type": "application/vnd.api+json",
            **self.headers,
            **{name.replace("_", "-"): value for name, value in headers.items()},
        }
        if self.cookie:
            lines["Cookie"] = f"smsbridge={self.cookie}"
        channel: Any = self._site.buildProtocol(IPv4Address("TCP", self._address, 4711))
        transport = StringTransport(peerAddress=IPv4Address("TCP", self._address, 4711))
        channel.makeConnection(transport)
        head = [f"{method} /api/v2.2{path} HTTP/1.0", *map(": ".join, lines.items()), "", ""]
        channel.dataReceived("\r\n".join(head).encode("utf-8", "surrogateescape") + body)
        return transport

    def log_in(self, person: str = "john", password: str = GOOD, **more: Any) -> Answer:
        """Log in."""
        return self.ask(
            "POST", "/session", {"person": person, "password": password, **more}, User_Agent="Test"
        )


class AccountTestCase(DoorTestCase):
    """John and Mary have passwords; the API is served by the real site."""

    def setUp(self) -> None:
        """Build everything and open a browser."""
        super().setUp()
        for person in ("john", "mary"):
            self.result(self.logins.set_password(person, GOOD))
        nothing: Any = None
        backend = Backend(
            reactor=self.clock,
            now_ms=self.now_ms,
            bridge=nothing,
            inbox=nothing,
            world=self.world,
            threads=nothing,
            contacts=nothing,
            live=nothing,
            public_url=lambda: self.public_url,
        )
        self.account = Account(
            backend, self.access, self.logins, self.tokens, "1.2.3", lambda: "key"
        )
        api = Api(backend, self.access, [self.account])
        self.site = http_site({"api": api.resource()}, reactor=self.clock)
        self.browser = Browser(self.site)

    def program(self, token: str) -> Browser:
        """Return a program with a token."""
        program = Browser(self.site)
        program.headers = {"Authorization": f"Bearer {token}"}
        return program


class SessionTests(AccountTestCase):
    """Logging in and out."""

    def test_login_sets_a_cookie_and_tells_who_one_is(self) -> None:
        """The page needs no second request."""
        answer = self.browser.log_in()

        self.assertEqual(answer.status, 201)
        self.assertIn("HttpOnly", answer.headers["set-cookie"])
        self.assertNotIn("Max-Age", answer.headers["set-cookie"])
        self.assertEqual(answer.document, self.browser.ask("GET", "/me").document)
        self.assertEqual(answer.headers["cache-control"], "no-store")

    def test_kept_login_is_a_kept_cookie(self) -> None:
        """With ``keep`` the cookie outlives the browser."""
        self.assertIn(
            "max-age=2592000", self.browser.log_in(keep=True).headers["set-cookie"].lower()
        )

    def test_wrong_password_is_said_without_a_challenge(self) -> None:
        """The page shows a sentence, and the browser no window of its own."""
        for person, password in (("john", "wrong"), ("nobody", GOOD), ("", "")):
            answer = self.browser.log_in(person, password)
            self.assertEqual(answer.status, 401)
            self.assertEqual(answer.error["code"], "credentials")
            self.assertEqual(answer.error["detail"], "The name or the password is wrong.")
            self.assertNotIn("www-authenticate", answer.headers)
            self.assertNotIn("set-cookie", answer.headers)

    def test_guessing_is_told_to_wait(self) -> None:
        """The page can count down, and others go on."""
        for _ in range(8):
            answer = self.browser.log_in(password="wrong")

        self.assertEqual(answer.status, 429)
        self.assertEqual(answer.headers["retry-after"], "1")
        self.assertIn("try again in a second", answer.error["detail"])
        self.assertEqual(Browser(self.site, AWAY).log_in().status, 201)
        self.clock.advance(2)
        self.assertEqual(self.browser.log_in().status, 201)

    def test_too_many_at_once_are_told_to_come_back(self) -> None:
        """When passwords cannot be checked fast enough the answer is 503."""
        self.held = True
        for number in range(22):
            Browser(self.site, f"192.0.2.{number}").begin(
                "POST", "/session", {"person": "john", "password": GOOD}
            )

        answer = self.browser.log_in()

        self.assertEqual((answer.status, answer.error["code"]), (503, "busy"))
        self.assertIn("retry-after", answer.headers)
        self.work()

    def test_foreign_page_cannot_log_somebody_in(self) -> None:
        """Nobody is put into somebody else's account unknowingly."""
        self.browser.headers["Origin"] = "https://evil.example"
        self.assertEqual(self.browser.log_in().status, 403)
        self.browser.headers = {"Sec-Fetch-Site": "cross-site"}
        self.assertEqual(self.browser.log_in().status, 403)

    def test_strange_bodies_are_only_wrong(self) -> None:
        """Whatever is sent, there is an answer in plain words."""
        for attributes, status in (
            ({}, 422),
            ({"person": 1, "password": None}, 422),
            ({"person": "x" * 300, "password": "x"}, 422),
            ({"person": "\0", "password": "\0\ud800"}, 401),
            ([], 422),
        ):
            self.assertEqual(self.browser.ask("POST", "/session", attributes).status, status)

    def test_browser_may_call_itself_anything(self) -> None:
        """Bytes that are no text are no error."""
        answer = self.browser.ask(
            "POST", "/session", {"person": "john", "password": GOOD}, User_Agent="Gr\u00fc\udcff"
        )

        self.assertEqual(answer.status, 201)

    def test_second_login_replaces_the_first(self) -> None:
        """A browser has one session; the one that it forgets ends."""
        self.browser.log_in()
        old = self.browser.cookie
        self.browser.log_in("mary")

        self.assertNotEqual(self.browser.cookie, old)
        self.assertEqual(len(self.result(self.logins.sessions("john"))), 0)
        self.assertEqual(self.browser.ask("GET", "/me").document["data"]["id"], "mary")

    def test_logout_ends_the_session(self) -> None:
        """The cookie is worth nothing and is removed; a second time does no harm."""
        self.browser.log_in()
        cookie = self.browser.cookie
        answer = self.browser.ask("DELETE", "/session")

        self.assertEqual(answer.status, 204)
        self.assertIn("Max-Age=0", answer.headers["set-cookie"])
        self.browser.cookie = cookie
        self.assertEqual(self.browser.ask("GET", "/me").status, 401)
        self.assertEqual(self.browser.ask("DELETE", "/session").status, 204)

    def test_foreign_page_cannot_log_somebody_out(self) -> None:
        """Logging out needs the header of our pages as well."""
        self.browser.log_in()
        self.browser.headers = {}

        self.assertEqual(self.browser.ask("DELETE", "/session").status, 403)
        self.assertEqual(self.browser.ask("GET", "/me").status, 200)


class MeTests(AccountTestCase):
    """Who one is."""

    def test_lines_persons_and_rights(self) -> None:
        """The page learns what it may show."""
        self.public_url = "https://sms.example.org"
        attributes = self.browser.log_in().attributes

        self.assertEqual([each["label"] for each in attributes["lines"]], ["one", "two"])
        self.assertEqual([each["default"] for each in attributes["lines"]], [True, False])
        self.assertEqual(attributes["lines"][0]["max_segments"], 15)
        self.assertEqual(attributes["persons"], ["mary"])
        self.assertEqual(attributes["scopes"], ["read", "send", "manage"])
        self.assertFalse(attributes["admin"])
        self.assertEqual(
            (attributes["version"], attributes["push_key"], attributes["country"]),
            ("1.2.3", "key", "US"),
        )
        self.assertEqual(attributes["public_url"], "https://sms.example.org")
        self.assertTrue(Browser(self.site).log_in("mary").attributes["admin"])

    def test_token_sees_its_lines(self) -> None:
        """A program bound to a line is told about that line alone."""
        secret, _ = self.result(self.tokens.add("work", "john", lines=["two"]))

        attributes = self.program(secret).ask("GET", "/me").attributes

        self.assertEqual([each["label"] for each in attributes["lines"]], ["two"])
        self.assertTrue(attributes["lines"][0]["default"])
        self.assertEqual(attributes["scopes"], ["read", "send"])

    def test_basic_auth_works(self) -> None:
        """NAME:TOKEN, as Flowroute's clients send it."""
        secret, _ = self.result(self.tokens.add("work", "john"))
        program = Browser(self.site)
        program.headers = {
            "Authorization": "Basic " + b64encode(f"work:{secret}".encode()).decode()
        }

        self.assertEqual(program.ask("GET", "/me").document["data"]["id"], "john")

    def test_nobody_is_challenged(self) -> None:
        """A program without credentials hears how to bring them."""
        program = Browser(self.site)
        program.headers = {}
        answer = program.ask("GET", "/me")

        self.assertEqual(answer.status, 401)
        self.assertIn('realm="smsbridge"', answer.headers["www-authenticate"])


class PasswordTests(AccountTestCase):
    """Changing one's password."""

    def change(self, current: str = GOOD, new: str = OTHER) -> Answer:
        """Change it."""
        return self.browser.ask("POST", "/me/password", {"current": current, "new": new})

    def test_change_ends_the_other_sessions(self) -> None:
        """This browser stays, all others are out."""
        self.browser.log_in()
        other = Browser(self.site)
        other.log_in()

        self.assertEqual(self.change().status, 204)

        self.assertEqual(self.browser.ask("GET", "/me").status, 200)
        self.assertEqual(other.ask("GET", "/me").status, 401)
        self.assertEqual(other.log_in().status, 401)
        self.assertEqual(other.log_in(password=OTHER).status, 201)

    def test_faults_are_beside_their_fields(self) -> None:
        """The page shows each sentence where it belongs; a wrong password logs nobody out."""
        self.browser.log_in()
        for current, new, field in (("wrong", OTHER, "current"), (GOOD, "short", "new")):
            answer = self.change(current, new)
            self.assertEqual(answer.status, 422)
            self.assertEqual(answer.error["source"]["pointer"], f"/data/attributes/{field}")
        self.assertEqual(self.browser.ask("GET", "/me").status, 200)

    def test_guessing_the_present_one_is_braked(self) -> None:
        """Who finds an open browser cannot try passwords at leisure."""
        self.browser.log_in()
        statuses = [self.change("wrong").status for _ in range(10)]

        self.assertEqual(statuses, [422] * 6 + [429] * 4)

    def test_token_cannot_change_it(self) -> None:
        """Only somebody who is logged in can."""
        secret, _ = self.result(self.tokens.add("work", "john", scopes=["manage"]))
        program = self.program(secret)

        for method, path, attributes in (
            ("POST", "/me/password", {"current": GOOD, "new": OTHER}),
            ("GET", "/me/sessions", None),
            ("DELETE", "/me/sessions/x", None),
        ):
            self.assertEqual(program.ask(method, path, attributes).status, 403, path)


class SessionsTests(AccountTestCase):
    """The list of one's browsers."""

    def test_others_are_listed_and_ended(self) -> None:
        """One sees where one is logged in, and ends what should not be."""
        self.browser.log_in()
        other = Browser(self.site, AWAY)
        self.clock.advance(5)
        other.log_in()
        Browser(self.site).log_in("mary")

        listed = self.browser.ask("GET", "/me/sessions").document["data"]

        self.assertEqual([each["attributes"]["current"] for each in listed], [False, True])
        self.assertEqual([each["attributes"]["address"] for each in listed], [AWAY, HOME])
        self.assertEqual(listed[0]["attributes"]["agent"], "Test")
        path = "/me/sessions/" + listed[0]["id"]
        self.assertEqual(self.browser.ask("DELETE", path).status, 204)
        self.assertEqual(other.ask("GET", "/me").status, 401)
        self.assertEqual(self.browser.ask("DELETE", path).status, 404)

    def test_sessions_of_others_are_out_of_reach(self) -> None:
        """To another person there is no such session."""
        self.browser.log_in()
        (session,) = self.result(self.logins.sessions("john"))
        mary = Browser(self.site)
        mary.log_in("mary")

        self.assertEqual(mary.ask("DELETE", f"/me/sessions/{session.session_id}").status, 404)
        self.assertEqual(self.browser.ask("GET", "/me").status, 200)


class TokensTests(AccountTestCase):
    """One's tokens."""

    def test_token_is_shown_once(self) -> None:
        """The list has everything but the token itself."""
        self.browser.log_in()
        made = self.browser.ask(
            "POST",
            "/me/tokens",
            {"name": "work", "scopes": ["read"], "expires_at": "2030-01-01T00:00:00Z"},
        )

        self.assertEqual(made.status, 201)
        secret = made.attributes["token"]
        self.assertEqual(self.program(secret).ask("GET", "/me").status, 200)
        (listed,) = self.browser.ask("GET", "/me/tokens").document["data"]
        self.assertNotIn(secret, json.dumps(listed))
        self.assertEqual(listed["attributes"]["expires_at"], "2030-01-01T00:00:00.000Z")
        self.assertEqual(self.browser.ask("DELETE", "/me/tokens/work").status, 204)
        self.assertEqual(self.program(secret).ask("GET", "/me").status, 401)
        self.assertEqual(self.browser.ask("DELETE", "/me/tokens/work").status, 404)

    def test_faults_are_beside_their_fields(self) -> None:
        """Each refusal names its field, and the status says what kind it is."""
        self.browser.log_in()
        self.browser.ask("POST", "/me/tokens", {"name": "work"})
        for attributes, status, field in (
            ({"name": "work"}, 409, "name"),
            ({"name": "a b"}, 422, "name"),
            ({}, 422, "name"),
            ({"name": "x", "scopes": ["write"]}, 422, "scopes"),
            ({"name": "x", "scopes": ["admin"]}, 403, "scopes"),
            ({"name": "x", "lines": ["three"]}, 422, "lines"),
            ({"name": "x", "expires_at": "2020-01-01T00:00:00Z"}, 422, "expires_at"),
            ({"name": "x", "expires_at": "9999-99-99"}, 422, "expires_at"),
        ):
            answer = self.browser.ask("POST", "/me/tokens", attributes)
            self.assertEqual(answer.status, status, attributes)
            self.assertEqual(answer.error["source"]["pointer"], f"/data/attributes/{field}")

    def test_token_makes_no_mightier_one(self) -> None:
        """Scopes and lines only get fewer on the way."""
        secret, _ = self.result(
            self.tokens.add("root", "john", scopes=["manage", "read"], lines=["two"])
        )
        program = self.program(secret)

        for attributes in (
            {"name": "x", "scopes": ["send"]},
            {"name": "x", "scopes": ["read"], "lines": ["one"]},
        ):
            self.assertEqual(program.ask("POST", "/me/tokens", attributes).status, 403)
        made = program.ask("POST", "/me/tokens", {"name": "x"})
        self.assertEqual(made.attributes["scopes"], ["read"])
        self.assertEqual(made.attributes["lines"], ["two"])

    def test_token_makes_none_that_outlives_it(self) -> None:
        """What was lent for a while is not kept for ever."""
        until_ms = 1_893_456_000_000  # 2030-01-01
        secret, _ = self.result(
            self.tokens.add("lent", "john", scopes=["manage", "read"], expires_at_ms=until_ms)
        )
        program = self.program(secret)

        later = {"name": "x", "scopes": ["read"], "expires_at": "2030-01-01T00:00:01Z"}
        answer = program.ask("POST", "/me/tokens", later)
        made = program.ask("POST", "/me/tokens", {"name": "y"})
        earlier = {"name": "z", "expires_at": "2029-01-01T00:00:00Z"}

        self.assertEqual(answer.status, 403)
        self.assertEqual(answer.error["source"]["pointer"], "/data/attributes/expires_at")
        self.assertEqual(made.attributes["expires_at"], "2030-01-01T00:00:00.000Z")
        self.assertEqual(program.ask("POST", "/me/tokens", earlier).status, 201)

    def test_tokens_of_others_are_out_of_reach(self) -> None:
        """Neither seen nor removed."""
        secret, _ = self.result(self.tokens.add("work", "john"))
        mary = Browser(self.site)
        mary.log_in("mary")

        self.assertEqual(mary.ask("GET", "/me/tokens").document["data"], [])
        self.assertEqual(mary.ask("DELETE", "/me/tokens/work").status, 404)
        self.assertEqual(self.program(secret).ask("GET", "/me").status, 200)


class DeclarationsTests(AccountTestCase):
    """The operations as they are declared."""

    def test_answers_are_as_declared(self) -> None:
        """What each operation answers fits its type."""
        declared = {each.path + each.method: each for each, _ in operations_of(self.account)}
        self.browser.log_in()
        for method, path, attributes in (
            ("POST", "/session", {"person": "john", "password": GOOD}),
            ("GET", "/me", None),
            ("GET", "/me/sessions", None),
            ("POST", "/me/tokens", {"name": "work"}),
            ("GET", "/me/tokens", None),
        ):
            answer = self.browser.ask(method, path, attributes)
            TypeAdapter(declared[path + method].answer).validate_python(
                answer.document, strict=True
            )

    def test_database_that_is_away_is_503(self) -> None:
        """Nobody is logged out because the database is away for a moment."""
        self.browser.log_in()
        self.reopen_with_broken_reads()

        self.assertEqual(self.browser.ask("GET", "/me/sessions").status, 503)

    def reopen_with_broken_reads(self) -> None:
        """Let every read fail from now on."""

        async def away() -> None:
            raise TemporaryFailure("internal", "The database is away.")

        self.tables.read = lambda *_: Deferred.fromCoroutine(away())  # type: ignore[method-assign]
