"""
Finds out who sends a request: a session's cookie, a bearer token, or a token by basic auth.

What a browser sends by itself (the cookie, basic auth that it remembers) is taken for something
that changes things only from our own pages: the header ``X-Requested-With: smsbridge``, which no
foreign page can add, and what the browser tells about where the request comes from (Fetch Metadata,
Origin) have to agree.
"""

from __future__ import annotations

import binascii
import ipaddress
import math
from base64 import b64decode
from collections.abc import Callable
from typing import Final
from urllib.parse import urlsplit

from twisted.web.server import Request

from smsbridge.core.accounts import Session, Token
from smsbridge.core.directory import World
from smsbridge.web.access.brakes import Brake, Braked, network_of
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.access.logins import KEPT_MS, LoggedIn, Logins
from smsbridge.web.access.passwords import Busy
from smsbridge.web.access.tokens import Tokens
from smsbridge.web.api.operation import ApiError

__all__ = ["COOKIE", "Access", "as_api_error", "header"]

#: The name of the session's cookie.
COOKIE: Final = "smsbridge"
#: What our own pages say in X-Requested-With.
OUR_PAGES: Final = "smsbridge"

_SAFE_METHODS: Final = (b"GET", b"HEAD", b"OPTIONS")
_SCOPES: Final = frozenset(Scope)
_SCOPE_OF: Final = {scope.value: scope for scope in Scope}
_WITHOUT_ADMIN: Final = _SCOPES - {Scope.ADMIN}
_LOCAL: Final = "local"  # what stands for a peer without an address: a unix socket


class Access:
    """
    The door of the API.

    :param public_url: ``[http] public_url``, without a slash at the end; may be empty.
    :param trusted_proxies: addresses and networks whose X-Forwarded-For is believed; ``local`` is a
        unix socket.
    """

    def __init__(
        self,
        world: World,
        logins: Logins,
        tokens: Tokens,
        seconds: Callable[[], float],
        public_url: Callable[[], str],
        trusted_proxies: Callable[[], tuple[str, ...]] = lambda: (),
    ) -> None:
        self._world = world
        self._logins = logins
        self._tokens = tokens
        self._public_url = public_url
        self._trusted_proxies = trusted_proxies
        self.by_stray = Brake(seconds, free=30, longest_s=60.0, forget_s=600.0)

    async def caller(self, request: Request) -> Caller:
        """
        Return who asks.

        :raises ApiError: (401) nobody whom we know, (403) a page of somebody else's asks, (429) too
            many wrong guesses from that address.
        """
        given = header(request, "authorization")
        if given is not None:
            scheme, _, value = given.strip().partition(" ")
            if scheme.lower() == "bearer":
                return await self._by_token(request, value.strip(), None)
            if scheme.lower() == "basic":
                if request.method not in _SAFE_METHODS:
                    self.check_origin(request)
                name, secret = _basic(value)
                return await self._by_token(request, secret, name)
            raise self._unknown(request, "Authorization takes a bearer token or basic auth.")
        cookie = self.cookie(request)
        if not cookie:
            raise self._unknown(request, "Log in first, or send a token.")
        if request.method not in _SAFE_METHODS:
            self.check_own_page(request)
        return await self._by_session(request, cookie)

    async def admit(self, request: Request, scope: Scope) -> None:
        """
        Let a request pass by its headers alone, before its body is taken.

        :raises ApiError: as `caller` does, or (403) the caller has not that scope.
        """
        if scope not in (await self.caller(request)).scopes:
            raise ApiError(
                403, "not-permitted", f"This needs a token with the scope {scope.value}."
            )

    async def _by_session(self, request: Request, cookie: str) -> Caller:
        if not self._logins.knows(cookie):
            self._slow_down(request)
        found = await self._logins.session(cookie)
        if found is None:
            self.by_stray.begin(network_of(self.address(request)))
            raise self._unknown(request, "You are not logged in any more; log in again.")
        session, prolonged = found
        if prolonged:
            self.set_cookie(request, LoggedIn(cookie, session))
        person = self._world.directory.persons[session.person]
        return Caller(
            person=person,
            name=session.session_id,
            scopes=_SCOPES if person.admin else _WITHOUT_ADMIN,
            by_session=True,
        )

    async def _by_token(self, request: Request, secret: str, name: str | None) -> Caller:
        if not self._tokens.knows(secret):
            self._slow_down(request)
        token = await self._tokens.find(secret, name)
        if token is None:
            self.by_stray.begin(network_of(self.address(request)))
            raise self._unknown(
                request,
                "This token is not valid; make one with 'smsbridge token add' or in the settings.",
            )
        return self._caller_of(token)

    def _caller_of(self, token: Token) -> Caller:
        person = self._world.directory.persons[token.person]
        scopes = frozenset(_SCOPE_OF[each] for each in token.scopes if each in _SCOPE_OF)
        return Caller(
            person=person,
            name=token.name,
            scopes=scopes if person.admin else scopes - {Scope.ADMIN},
            only_lines=token.lines,
            until_ms=token.expires_at_ms,
        )

    def _slow_down(self, request: Request) -> None:
        wait_s = self.by_stray.wait_s(network_of(self.address(request)))
        if wait_s > 0:
            raise as_api_error(Braked(wait_s))

    def _unknown(self, request: Request, detail: str) -> ApiError:
        headers = {}
        if not self._is_browser(request):
            headers["WWW-Authenticate"] = 'Basic realm="smsbridge", charset="UTF-8"'
        return ApiError(401, "credentials", detail, headers=headers)

    def _is_browser(self, request: Request) -> bool:
        """Tell whether a challenge would open a window that asks for a name and a password."""
        return (
            header(request, "x-requested-with") == OUR_PAGES
            or header(request, "sec-fetch-site") == "same-origin"
            or COOKIE.encode() in request.received_cookies
        )

    # -- where a request comes from ----------------------------------------------------------------

    def check_own_page(self, request: Request) -> None:
        """
        Let a request pass that one of our own pages sends.

        :raises ApiError: (403) it may be a foreign page that sends it, with the person's cookie.
        """
        self.check_origin(request)
        if header(request, "x-requested-with") != OUR_PAGES:
            raise ApiError(
                403,
                "csrf",
                "With the cookie of a session, what changes something needs the header "
                "'X-Requested-With: smsbridge'; programs use a token.",
            )

    def check_origin(self, request: Request) -> None:
        """
        Let a request pass that no foreign page sends.

        :raises ApiError: (403) the browser says that a foreign page sends it.
        """
        site = header(request, "sec-fetch-site")
        if site is not None:
            # Browsers say this to secure addresses and to localhost.
            foreign = site not in ("same-origin", "none")
        else:
            origin = header(request, "origin")
            foreign = origin is not None and not self._is_ours(request, origin)
        if foreign:
            raise ApiError(
                403,
                "csrf",
                "Another site sent this request, so nothing was done. If it was this one, set "
                "'public_url' in [http] to the address in the browser.",
            )

    def _is_ours(self, request: Request, origin: str) -> bool:
        try:
            given = urlsplit(origin)
        except ValueError:
            return False
        if not given.scheme or not given.netloc:
            return False  # "null": a file, a sandboxed frame
        public = urlsplit(self._public_url())
        if (given.scheme, given.netloc.lower()) == (public.scheme, public.netloc.lower()):
            return True
        hosts = [header(request, "host")]
        if self.trusts(_peer(request)):
            hosts.append(header(request, "x-forwarded-host"))
        return given.netloc.lower() in [host.lower() for host in hosts if host]

    def address(self, request: Request) -> str:
        """Return from where a request comes: the browser's address as far as it can be known."""
        address = _peer(request)
        if not self.trusts(address):
            return address
        forwarded = ",".join(
            value.decode("latin-1")
            for value in request.requestHeaders.getRawHeaders(b"x-forwarded-for", ())
        )
        # The last one was written by the proxy itself; those before it by anybody.
        for word in reversed(forwarded.split(",")):
            given = _plain_address(word)
            if not given:
                return address
            address = given
            if not self.trusts(address):
                break
        return address

    def trusts(self, address: str) -> bool:
        """Tell whether what a peer with this address says about others is believed."""
        for trusted in self._trusted_proxies():
            if trusted == address:
                return True
            try:
                if ipaddress.ip_address(address) in ipaddress.ip_network(trusted, strict=False):
                    return True
            except ValueError:
                pass  # one of the two is no address: a unix socket
        return False

    # -- the cookie --------------------------------------------------------------------------------

    def cookie(self, request: Request) -> str:
        """Return the session's cookie; empty if there is none."""
        return request.received_cookies.get(COOKIE.encode(), b"").decode("latin-1")

    def set_cookie(self, request: Request, logged_in: LoggedIn) -> None:
        """Let the browser keep a session's cookie; a short one until it is closed."""
        session = logged_in.session
        life_ms = session.expires_at_ms - session.seen_at_ms
        request.addCookie(
            COOKIE,
            logged_in.cookie,
            path="/",
            max_age=str(life_ms // 1000) if life_ms >= KEPT_MS else None,
            httpOnly=True,
            secure=self._is_secure(request),
            sameSite="lax",
        )

    def remove_cookie(self, request: Request) -> None:
        """Let the browser forget the cookie."""
        request.addCookie(
            COOKIE,
            "",
            path="/",
            max_age="0",
            expires="Thu, 01 Jan 1970 00:00:00 GMT",
            httpOnly=True,
            secure=self._is_secure(request),
            sameSite="lax",
        )

    def _is_secure(self, request: Request) -> bool:
        """Tell whether the cookie is to be sent over encrypted connections alone."""
        public = urlsplit(self._public_url())
        return bool(request.isSecure()) or public.scheme == "https"

    async def session(self, request: Request) -> Session | None:
        """Return the session of a request's cookie, whatever else it brings."""
        found = await self._logins.session(self.cookie(request))
        return None if found is None else found[0]


def as_api_error(e: Braked | Busy) -> ApiError:
    """Say what keeps somebody from logging in right now."""
    if isinstance(e, Busy):
        return ApiError(503, "busy", str(e), headers={"Retry-After": "3"})
    wait_s = max(1, math.ceil(e.retry_after_s))
    return ApiError(
        429,
        "throttled",
        f"Too many failed attempts; try again in {_span(wait_s)}.",
        headers={"Retry-After": str(wait_s)},
    )


def _span(seconds: int) -> str:
    if seconds == 1:
        return "a second"
    if seconds < 120:
        return f"{seconds} seconds"
    return f"{math.ceil(seconds / 60)} minutes"


def header(request: Request, name: str) -> str | None:
    """Return a header as text, whatever bytes it has; None without it."""
    value: bytes | None = request.getHeader(name.encode("ascii"))
    return None if value is None else value.decode("utf-8", "replace")


def _peer(request: Request) -> str:
    return getattr(request.getClientAddress(), "host", None) or _LOCAL


def _plain_address(word: str) -> str:
    """Return the address in a word of X-Forwarded-For, which may have a port; empty if none is."""
    text = word.strip()
    if text.startswith("["):
        text = text[1:].partition("]")[0]
    elif text.count(":") == 1:
        text = text.partition(":")[0]
    try:
        return str(ipaddress.ip_address(text))
    except ValueError:
        return ""


def _basic(value: str) -> tuple[str, str]:
    """Return name and secret of basic auth (RFC 7617); both empty if they cannot be read."""
    try:
        name, _, secret = b64decode(value.strip(), validate=True).decode("utf-8").partition(":")
    except (binascii.Error, ValueError):
        return "", ""
    return name, secret
