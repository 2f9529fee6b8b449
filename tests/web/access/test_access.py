"""Tests of `smsbridge.web.access.access`: who asks, and from which page."""

from __future__ import annotations

from base64 import b64encode
from typing import Any

from hypothesis import given, settings
from hypothesis import strategies as st
from twisted.internet.address import UNIXAddress

from smsbridge.core.directory import Directory
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.operation import ApiError
from tests.web.access.rig import AWAY, GOOD, HOME, DoorTestCase, request

OURS = {"X-Requested-With": "smsbridge"}
ALL = frozenset(Scope)


def basic(name: str, secret: str) -> dict[str, str]:
    """Return the header of basic auth."""
    return {"Authorization": "Basic " + b64encode(f"{name}:{secret}".encode()).decode()}


class AccessTestCase(DoorTestCase):
    """John and Mary are logged in, and John has a token."""

    def setUp(self) -> None:
        """Log in."""
        super().setUp()
        self.cookies = {}
        for person in ("john", "mary"):
            self.result(self.logins.set_password(person, GOOD))
            self.cookies[person] = self.result(
                self.logins.log_in(person, GOOD, keep=False, address=HOME)
            ).cookie
        self.secret, _ = self.result(self.tokens.add("work", "john", lines=["two"]))

    def caller(self, method: str = "GET", **more: Any) -> Caller:
        """Ask who sends a request."""
        return self.result(self.access.caller(request(method, **more)))

    def refusal(self, method: str = "GET", **more: Any) -> ApiError:
        """Fail to find out who sends a request."""
        error: ApiError = self.error(self.access.caller(request(method, **more)), ApiError)
        return error


class CallerTests(AccessTestCase):
    """Who asks."""

    def test_session_is_its_person_with_all_that_may_be_done(self) -> None:
        """A browser has every scope, and that of operators when the person is one."""
        john = self.caller(cookie=self.cookies["john"])
        mary = self.caller(cookie=self.cookies["mary"])

        self.assertEqual(john.label, "john")
        self.assertEqual(john.scopes, ALL - {Scope.ADMIN})
        self.assertTrue(john.by_session)
        self.assertFalse(john.admin)
        self.assertEqual(john.sends_on(), ("one", "two"))
        self.assertEqual(mary.scopes, ALL)
        self.assertTrue(mary.admin)

    def test_token_has_its_own_scopes_and_lines(self) -> None:
        """A token is no more than what it was made for."""
        for headers in (
            {"Authorization": f"Bearer {self.secret}"},
            {"Authorization": f"  bearer   {self.secret} "},
            basic("work", self.secret),
        ):
            caller = self.caller(headers=headers)

            self.assertEqual((caller.label, caller.name), ("john", "work"))
            self.assertEqual(caller.scopes, {Scope.READ, Scope.SEND})
            self.assertFalse(caller.by_session)
            self.assertEqual(caller.sends_on(), ("two",))
            self.assertEqual(caller.viewer(self.world).lines, ("two",))

    def test_token_says_until_when_it_is_worth_something(self) -> None:
        """What is open by then, such as a stream of events, is to be closed."""
        until_ms = 4_000_000_000_000
        secret, _ = self.result(self.tokens.add("short", "john", expires_at_ms=until_ms))

        caller = self.caller(headers={"Authorization": f"Bearer {secret}"})

        self.assertEqual(caller.until_ms, until_ms)

    def test_line_that_the_person_loses_is_lost_to_the_token(self) -> None:
        """A token bound to a line that is taken from its person reaches none, and not all."""
        john = self.world.directory.persons["john"]
        self.world.directory = Directory(persons={"john": type(john)(label="john", lines=("one",))})

        caller = self.caller(headers={"Authorization": f"Bearer {self.secret}"})

        self.assertEqual(caller.sends_on(), ())
        self.assertEqual(caller.viewer(self.world).lines, ())

    def test_operator_who_is_none_any_more_has_no_token_of_one(self) -> None:
        """``admin = yes`` taken away takes the scope from tokens and sessions."""
        secret, _ = self.result(self.tokens.add("ops", "mary", scopes=["admin", "read"]))
        headers = {"Authorization": f"Bearer {secret}"}
        self.assertTrue(self.caller(headers=headers).admin)
        mary = self.world.directory.persons["mary"]
        self.world.directory = Directory(persons={"mary": type(mary)(label="mary")})

        self.assertEqual(self.caller(headers=headers).scopes, {Scope.READ})
        self.assertFalse(self.caller(cookie=self.cookies["mary"]).admin)

    def test_scope_is_asked_before_the_body(self) -> None:
        """An upload is let in or refused by its headers."""
        headers = {"Authorization": f"Bearer {self.secret}"}
        asked = request("POST", headers=headers)

        self.result(self.access.admit(asked, Scope.SEND))
        self.assertEqual(self.error(self.access.admit(asked, Scope.MANAGE), ApiError).status, 403)
        self.assertEqual(self.error(self.access.admit(request(), Scope.SEND), ApiError).status, 401)

    def test_nobody_is_401(self) -> None:
        """Without anything, or with what is worth nothing, the answer says what to do."""
        for more in (
            {},
            {"cookie": "x"},
            {"cookie": "A" * 43},
            {"headers": {"Authorization": ""}},
            {"headers": {"Authorization": "Bearer"}},
            {"headers": {"Authorization": "Bearer smsb_" + "A" * 43}},
            {"headers": {"Authorization": "Basic !!!"}},
            {"headers": {"Authorization": "Basic " + b64encode(b"\xff:\xff").decode()}},
            {"headers": {"Authorization": "Digest x"}},
            {"headers": basic("work", "")},
            {"headers": basic("other", self.secret)},
            {"headers": basic("john", GOOD)},
            {"headers": {"Authorization": f"Bearer {GOOD}"}},
        ):
            error = self.refusal(**more)
            self.assertEqual((error.status, error.code), (401, "credentials"), more)
            self.assertTrue(error.detail.endswith("."), error.detail)

    def test_header_goes_before_the_cookie(self) -> None:
        """A wrong token is not made good by a cookie."""
        self.assertEqual(
            self.refusal(
                cookie=self.cookies["john"], headers={"Authorization": "Bearer smsb_" + "A" * 43}
            ).status,
            401,
        )

    def test_programs_are_challenged_and_pages_are_not(self) -> None:
        """No browser shall open its own window for name and password over our page."""
        challenge = self.refusal().headers["WWW-Authenticate"]

        self.assertTrue(challenge.startswith('Basic realm="smsbridge"'))
        for more in (
            {"headers": OURS},
            {"headers": {"Sec-Fetch-Site": "same-origin"}},  # EventSource can add no header
            {"cookie": "A" * 43},
        ):
            self.assertNotIn("WWW-Authenticate", self.refusal(**more).headers)

    def test_wrong_tokens_are_slowed_down(self) -> None:
        """After many wrong ones from an address it waits; right ones go on."""
        right = {"Authorization": f"Bearer {self.secret}"}
        statuses = []
        for number in range(40):
            wrong = {"Authorization": f"Bearer smsb_{number:043}"}
            statuses.append(self.refusal(headers=wrong).status)

        self.assertEqual(statuses[:31], [401] * 31)
        self.assertEqual(set(statuses[31:]), {429})
        braked = self.refusal(headers={"Authorization": "Bearer smsb_" + "A" * 43})
        self.assertEqual(braked.headers["Retry-After"], "1")
        self.assertIn("try again", braked.detail)
        self.assertEqual(self.caller(headers=right).label, "john")
        self.assertEqual(self.caller(cookie=self.cookies["john"]).label, "john")
        self.assertEqual(self.refusal(cookie="A" * 43).status, 429)
        self.assertEqual(self.refusal(cookie="A" * 43, address=AWAY).status, 401)
        self.result(self.logins.log_in("john", GOOD, keep=False, address=HOME))

    def test_braked_address_costs_no_read(self) -> None:
        """Who is slowed down does not reach the database."""
        for number in range(40):
            self.refusal(headers={"Authorization": f"Bearer smsb_{number:043}"})
        reads = self.tables.reads

        self.refusal(headers={"Authorization": "Bearer smsb_" + "A" * 43})

        self.assertEqual(self.tables.reads, reads)


class AnyBytesTests(AccessTestCase):
    """Headers that nobody has looked at yet."""

    NAMES = (
        "authorization",
        "cookie",
        "host",
        "origin",
        "sec-fetch-site",
        "x-forwarded-for",
        "x-forwarded-host",
        "x-requested-with",
    )
    WORDS = (
        b"Bearer ",
        b"basic ",
        b"smsbridge=",
        b"https://[",
        b"smsb_" + b"A" * 43,
        b64encode(b"a:\xff"),
        b"[::1]:1, %eth0",
        b"\xff\x80",
    )

    @settings(max_examples=min(1000, settings().max_examples))  # each asks a database
    @given(
        st.sampled_from(("GET", "POST")),
        st.dictionaries(
            st.sampled_from(NAMES),
            st.lists(st.sampled_from(WORDS) | st.binary(max_size=20), max_size=4).map(b"".join),
        ),
        st.booleans(),
    )
    def test_is_a_refusal_and_never_a_bug(
        self, method: str, headers: dict[str, bytes], trusted: bool
    ) -> None:
        """Whatever bytes a stranger sends, the answer is 401, 403 or 429."""
        self.trusted = (HOME,) if trusted else ()
        asked = request(method)
        for name, value in headers.items():
            plain = value.translate(None, b"\r\n\0")
            asked.requestHeaders.setRawHeaders(name.encode(), [plain])
        asked.received_cookies.clear()
        asked.parseCookies()

        error = self.error(self.access.caller(asked), ApiError)

        self.assertIn(error.status, (401, 403, 429))
        self.access.address(asked)


class ForeignPagesTests(AccessTestCase):
    """Requests that a foreign page lets the browser send."""

    def status(self, method: str, headers: dict[str, str], **more: Any) -> int:
        """Return 200, or the status of the refusal, for John's cookie."""
        try:
            self.caller(method, headers=headers, cookie=self.cookies["john"], **more)
        except self.failureException:
            return self.refusal(method, headers=headers, cookie=self.cookies["john"], **more).status
        return 200

    def test_reading_needs_no_header(self) -> None:
        """A picture, a download and an event stream come without; nothing changes by them."""
        for method in ("GET", "HEAD", "OPTIONS"):
            self.assertEqual(self.status(method, {}), 200)

    def test_changing_needs_the_header(self) -> None:
        """A form of a foreign page cannot send it."""
        for method in ("POST", "PUT", "PATCH", "DELETE"):
            self.assertEqual(self.status(method, {}), 403)
            self.assertEqual(self.status(method, {"X-Requested-With": "XMLHttpRequest"}), 403)
            self.assertEqual(self.status(method, OURS), 200)

    def test_refusal_says_what_to_do(self) -> None:
        """A program that sends a cookie learns about tokens."""
        error = self.refusal("POST", cookie=self.cookies["john"])

        self.assertEqual(error.code, "csrf")
        self.assertIn("token", error.detail)
        self.assertNotIn("WWW-Authenticate", error.headers)

    def test_what_the_browser_tells_has_to_agree(self) -> None:
        """Fetch Metadata goes first; without it the Origin has to be ours."""
        self.public_url = "https://sms.example.net"
        for headers, status in (
            ({"Sec-Fetch-Site": "same-origin"}, 200),
            ({"Sec-Fetch-Site": "none"}, 200),
            ({"Sec-Fetch-Site": "same-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site"}, 403),
            ({"Sec-Fetch-Site": "cross-site", "Origin": "https://sms.example.org"}, 403),
            ({"Sec-Fetch-Site": "same-origin", "Origin": "https://proxied.example"}, 200),
            ({"Origin": "https://sms.example.org"}, 200),
            ({"Origin": "http://SMS.example.org"}, 200),
            ({"Origin": "https://sms.example.net"}, 200),
            ({"Origin": "http://sms.example.net"}, 403),
            ({"Origin": "https://sms.example.org:8443"}, 403),
            ({"Origin": "https://evil.example"}, 403),
            ({"Origin": "https://sms.example.org.evil.example"}, 403),
            ({"Origin": "null"}, 403),
            ({"Origin": ""}, 403),
            ({"Origin": "sms.example.org"}, 403),
            ({"Origin": "https://[sms.example.org"}, 403),
        ):
            self.assertEqual(self.status("POST", {**OURS, **headers}), status, headers)

    def test_basic_auth_that_a_browser_remembers_is_no_way_around(self) -> None:
        """The browser adds it by itself; where it comes from still counts."""
        headers = basic("work", self.secret)

        self.assertEqual(self.caller("POST", headers=headers).label, "john")
        for foreign in ({"Sec-Fetch-Site": "cross-site"}, {"Origin": "https://evil.example"}):
            self.assertEqual(self.refusal("POST", headers={**headers, **foreign}).status, 403)

    def test_bearer_token_comes_from_anywhere(self) -> None:
        """No browser sends it by itself."""
        headers = {"Authorization": f"Bearer {self.secret}", "Origin": "https://evil.example"}

        self.assertEqual(self.caller("POST", headers=headers).label, "john")

    def test_host_that_a_trusted_proxy_names_is_ours(self) -> None:
        """Behind a proxy the address in the browser is in X-Forwarded-Host."""
        headers = {**OURS, "Origin": "https://front.example", "X-Forwarded-Host": "front.example"}

        self.assertEqual(self.status("POST", headers), 403)
        self.trusted = (HOME,)
        self.assertEqual(self.status("POST", headers), 200)


class AddressTests(AccessTestCase):
    """Where a request comes from."""

    def address(self, forwarded: str | None, peer: str = HOME) -> str:
        """Return the address that is taken for a request's."""
        headers = {} if forwarded is None else {"X-Forwarded-For": forwarded}
        return self.access.address(request(headers=headers, address=peer))

    def test_nobody_is_believed_by_default(self) -> None:
        """Anybody can write the header."""
        self.assertEqual(self.address("203.0.113.9"), HOME)
        self.assertEqual(self.address("203.0.113.9", "127.0.0.1"), "127.0.0.1")

    def test_trusted_proxy_tells(self) -> None:
        """The last address that no trusted proxy has is the browser's."""
        self.trusted = ("127.0.0.1", "192.0.2.0/24")
        for forwarded, address in (
            ("203.0.113.9", "203.0.113.9"),
            ("10.9.9.9, 203.0.113.9", "203.0.113.9"),
            ("203.0.113.9, 192.0.2.77", "203.0.113.9"),
            ("203.0.113.9:4711", "203.0.113.9"),
            ("[2001:db8::1]:4711", "2001:db8::1"),
            ("2001:db8::1", "2001:db8::1"),
            ("192.0.2.5", "192.0.2.5"),
            ("unknown", HOME),
            ("203.0.113.9, _hidden", HOME),
            ("", HOME),
            (None, HOME),
        ):
            self.assertEqual(self.address(forwarded), address, forwarded)
        self.assertEqual(self.address("203.0.113.9", AWAY), AWAY)

    def test_unix_socket_is_local(self) -> None:
        """A proxy at a unix socket has no address and can be trusted by name."""
        asked = request(headers={"X-Forwarded-For": "203.0.113.9"})
        asked.client = UNIXAddress("/run/x.sock")
        self.assertEqual(self.access.address(asked), "local")

        self.trusted = ("local",)

        self.assertEqual(self.access.address(asked), "203.0.113.9")


class CookieTests(AccessTestCase):
    """What the browser is given."""

    def cookie(self, keep: bool) -> str:
        """Log in and return the Set-Cookie header."""
        asked = request()
        logged_in = self.result(self.logins.log_in("john", GOOD, keep=keep))
        self.access.set_cookie(asked, logged_in)
        return asked.cookies[0].decode()

    def test_cookie_is_out_of_reach_of_scripts_and_foreign_pages(self) -> None:
        """It is HttpOnly and SameSite, and ends with the browser."""
        cookie = self.cookie(keep=False)

        self.assertRegex(cookie, r"^smsbridge=[A-Za-z0-9_-]{43};")
        for part in ("Path=/", "HttpOnly", "SameSite=lax"):
            self.assertIn(part.lower(), cookie.lower())
        for part in ("Secure", "Max-Age", "Expires", "Domain"):
            self.assertNotIn(part.lower(), cookie.lower())

    def test_kept_one_has_an_age(self) -> None:
        """A kept session is a cookie of thirty days."""
        self.assertIn("max-age=2592000", self.cookie(keep=True).lower())

    def test_is_secure_where_we_are(self) -> None:
        """Behind https it is not sent without encryption."""
        self.public_url = "https://sms.example.org"

        self.assertIn("secure", self.cookie(keep=False).lower())

    def test_kept_one_is_renewed_by_use(self) -> None:
        """The browser forgets a session no sooner than we do."""
        logged_in = self.result(self.logins.log_in("john", GOOD, keep=True))
        asked = request(cookie=logged_in.cookie)
        self.result(self.access.caller(asked))
        self.assertEqual(asked.cookies, [])
        self.clock.advance(86_400)

        self.result(self.access.caller(asked))

        self.assertIn(b"max-age=2592000", asked.cookies[0].lower())
        self.assertIn(logged_in.cookie.encode(), asked.cookies[0])

    def test_is_removed(self) -> None:
        """After the logout the browser has none."""
        asked = request()
        self.access.remove_cookie(asked)

        self.assertIn(b"max-age=0", asked.cookies[0].lower())
        self.assertTrue(asked.cookies[0].startswith(b"smsbridge=;"))
