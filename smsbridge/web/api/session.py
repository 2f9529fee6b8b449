"""The operations about oneself: log in and out, the account, its sessions and tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from pydantic import AwareDatetime, Field
from typing_extensions import TypedDict

from smsbridge.core.accounts import Session, Token
from smsbridge.core.attachments import usual_way
from smsbridge.core.directory import Line
from smsbridge.web import shapes
from smsbridge.web.access.access import Access, as_api_error, header
from smsbridge.web.access.brakes import Braked
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.logins import Logins
from smsbridge.web.access.passwords import Busy
from smsbridge.web.access.tokens import DEFAULT_SCOPES, Tokens
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import ApiError, Body, Call, operation

__all__ = ["Account", "account_problem"]

_STATUS_OF_CODE: Final = {
    "credentials": 401,
    "not-permitted": 403,
    "not-found": 404,
    "taken": 409,
}


class LogIn(Body):
    """Who logs in."""

    person: str = Field(max_length=255, description="The person's name.")
    password: str = Field(max_length=1000)
    keep: bool = Field(
        default=False, description="Whether the login outlives the browser: for 30 days."
    )


class ChangePassword(Body):
    """A new password and the proof that one may set it."""

    current: str = Field(max_length=1000, description="The present password.")
    new: str = Field(max_length=1000, description="The new one: at least ten characters.")


class NewToken(Body):
    """A token that is wanted."""

    name: str = Field(max_length=255, description="Unique; the user name of basic auth.")
    scopes: list[str] = Field(
        default=[],
        max_length=10,
        description="Of read, send, manage, admin; by default read and send.",
    )
    lines: list[str] = Field(
        default=[],
        max_length=1000,
        description="The lines that it is bound to; none means all that the person has.",
    )
    expires_at: AwareDatetime | None = Field(
        default=None, description="When it ends; by default never, or with the token that makes it."
    )


class LineOfMine(TypedDict):
    """A line that the caller may send on."""

    label: str
    number: str
    gateway: str
    default: bool
    enabled: bool
    mms: bool
    attachments: str
    groups: bool
    charset: str
    max_segments: int
    media_limit: int


class MyAttributes(TypedDict):
    """What a page or program has to know about its person."""

    admin: bool
    scopes: list[str]
    country: str
    version: str
    push_key: str
    public_url: str
    lines: list[LineOfMine]
    persons: list[str]


class Me(TypedDict):
    """The person."""

    type: str
    id: str
    attributes: MyAttributes


class MeDocument(TypedDict):
    """An answer about the person."""

    data: Me


class SessionAttributes(TypedDict):
    """A browser that is logged in."""

    agent: str
    address: str
    created_at: str
    seen_at: str
    current: bool


class SessionResource(TypedDict):
    """A session."""

    type: str
    id: str
    attributes: SessionAttributes


class SessionsDocument(TypedDict):
    """An answer with sessions."""

    data: list[SessionResource]


class TokenAttributes(TypedDict):
    """What is known of a token."""

    name: str
    scopes: list[str]
    lines: list[str]
    created_at: str
    used_at: str | None
    expires_at: str | None


class TokenResource(TypedDict):
    """A token."""

    type: str
    id: str
    attributes: TokenAttributes


class TokensDocument(TypedDict):
    """An answer with tokens."""

    data: list[TokenResource]


class NewTokenAttributes(TokenAttributes):
    """A token that was just made."""

    token: str


class NewTokenResource(TypedDict):
    """A token that was just made."""

    type: str
    id: str
    attributes: NewTokenAttributes


class NewTokenDocument(TypedDict):
    """An answer with the token itself."""

    data: NewTokenResource


class Account:
    """
    Logs in and out, and looks after one's own account.

    :param push_key: the public key for web push; empty where there is none.
    """

    def __init__(
        self,
        backend: Backend,
        access: Access,
        logins: Logins,
        tokens: Tokens,
        version: str,
        push_key: Callable[[], str] = str,
    ) -> None:
        self._backend = backend
        self._access = access
        self._logins = logins
        self._tokens = tokens
        self._version = version
        self._push_key = push_key

    # -- the session -------------------------------------------------------------------------------

    @operation(
        "POST",
        "/session",
        scope=None,
        tag="session",
        body=LogIn,
        most_bytes=16 * 1024,
        answer=MeDocument,
        status=201,
        statuses=(401, 403, 429, 503),
    )
    async def log_in(self, call: Call[LogIn]) -> MeDocument:
        """
        Log in with a password.

        The answer sets a cookie, which other requests of the same browser carry.  Programs use a
        token instead.  Failed attempts slow down the next ones.
        """
        request = call.request
        self._access.check_origin(request)
        try:
            logged_in = await self._logins.log_in(
                call.body.person,
                call.body.password,
                keep=call.body.keep,
                agent=header(request, "user-agent") or "",
                address=self._access.address(request),
            )
        except (Braked, Busy) as e:
            raise as_api_error(e) from None
        except AccountError as e:
            raise account_problem(e) from None
        before = await self._access.session(request)
        if before is not None:
            # The browser has room for one; nobody could end the other any more.
            await self._logins.end(before.person, before.session_id)
        self._access.set_cookie(request, logged_in)
        person = self._backend.world.directory.persons[logged_in.session.person]
        scopes = frozenset(Scope) if person.admin else frozenset(Scope) - {Scope.ADMIN}
        return self._me(
            Caller(
                person=person,
                name=logged_in.session.session_id,
                scopes=scopes,
                by_session=True,
            )
        )

    @operation("DELETE", "/session", scope=None, tag="session", statuses=(403,))
    async def log_out(self, call: Call[None]) -> None:
        """
        Log out.

        The session ends, also when it had ended already.
        """
        self._access.check_own_page(call.request)
        session = await self._access.session(call.request)
        if session is not None:
            await self._logins.end(session.person, session.session_id)
        self._access.remove_cookie(call.request)

    # -- the account -------------------------------------------------------------------------------

    @operation("GET", "/me", scope=Scope.READ, tag="session", answer=MeDocument)
    async def me(self, call: Call[None]) -> MeDocument:
        """
        Read who one is and what one may do.

        Among it are the lines that texts may be sent on, the default first, with what each carries.
        """
        return self._me(call.caller)

    def _me(self, caller: Caller) -> MeDocument:
        directory = self._backend.world.directory
        person = caller.person
        own = caller.sends_on()
        lines = [
            _line(
                directory.lines[label],
                default=label == own[0],
                has_links=bool(self._backend.public_url()),
            )
            for label in own
            if label in directory.lines
        ]
        return {
            "data": {
                "type": "person",
                "id": person.label,
                "attributes": {
                    "admin": caller.admin,
                    "scopes": [str(scope) for scope in Scope if scope in caller.scopes],
                    "country": person.country or directory.country,
                    "version": self._version,
                    "push_key": self._push_key(),
                    "public_url": self._backend.public_url(),
                    "lines": lines,
                    "persons": [each for each in directory.persons if each != person.label],
                },
            }
        }

    @operation(
        "POST",
        "/me/password",
        scope=Scope.MANAGE,
        tag="session",
        body=ChangePassword,
        most_bytes=16 * 1024,
        statuses=(429, 503),
    )
    async def change_password(self, call: Call[ChangePassword]) -> None:
        """
        Change one's password.

        All other sessions of the person end.  Only for somebody who is logged in with the present
        password, and not for tokens.
        """
        caller = _by_session(call.caller)
        address = self._access.address(call.request)
        try:
            await self._logins.check(caller.label, call.body.current, address)
        except (Braked, Busy) as e:
            raise as_api_error(e) from None
        except AccountError:
            raise ApiError(
                422,
                "credentials",
                "This is not your present password.",
                pointer="/data/attributes/current",
            ) from None
        try:
            await self._logins.set_password(caller.label, call.body.new, kept_session=caller.name)
        except Busy as e:
            raise as_api_error(e) from None
        except AccountError as e:
            raise account_problem(e, password="new") from None

    @operation("GET", "/me/sessions", scope=Scope.MANAGE, tag="session", answer=SessionsDocument)
    async def sessions(self, call: Call[None]) -> SessionsDocument:
        """
        List the browsers in which one is logged in.

        Only for somebody who is logged in, and not for tokens.
        """
        caller = _by_session(call.caller)
        return {
            "data": [
                _session(session, current=session.session_id == caller.name)
                for session in await self._logins.sessions(caller.label)
            ]
        }

    @operation(
        "DELETE", "/me/sessions/<session_id>", scope=Scope.MANAGE, tag="session", statuses=(404,)
    )
    async def end_session(self, call: Call[None], session_id: str) -> None:
        """
        Log another browser out.

        Only for somebody who is logged in, and not for tokens.
        """
        caller = _by_session(call.caller)
        if not await self._logins.end(caller.label, session_id):
            raise ApiError(404, "not-found", "There is no such session; it may have ended already.")

    # -- tokens ------------------------------------------------------------------------------------

    @operation("GET", "/me/tokens", scope=Scope.MANAGE, tag="session", answer=TokensDocument)
    async def tokens(self, call: Call[None]) -> TokensDocument:
        """
        List one's tokens.

        The tokens themselves are not known any more.
        """
        return {"data": [_token(each) for each in await self._tokens.all(call.caller.label)]}

    @operation(
        "POST",
        "/me/tokens",
        scope=Scope.MANAGE,
        tag="session",
        body=NewToken,
        answer=NewTokenDocument,
        status=201,
        statuses=(409,),
    )
    async def add_token(self, call: Call[NewToken]) -> NewTokenDocument:
        """
        Make a token for a program.

        It is shown in this answer and never again.  A token cannot make one that may do more than
        itself, or for longer.
        """
        wanted, caller = call.body, call.caller
        scopes = wanted.scopes or [str(scope) for scope in DEFAULT_SCOPES if scope in caller.scopes]
        for scope in scopes:
            if scope in list(Scope) and scope not in caller.scopes:
                raise ApiError(
                    403,
                    "not-permitted",
                    f"You do not have the scope {scope} yourself.",
                    pointer="/data/attributes/scopes",
                )
        lines = wanted.lines or list(caller.only_lines)
        for line in lines:
            if caller.only_lines and line not in caller.only_lines:
                raise ApiError(
                    403,
                    "not-permitted",
                    f"This token is bound to other lines than {line}.",
                    pointer="/data/attributes/lines",
                )
        expires_at_ms = (
            caller.until_ms
            if wanted.expires_at is None
            else int(wanted.expires_at.timestamp() * 1000)
        )
        if caller.until_ms is not None and (expires_at_ms or 0) > caller.until_ms:
            raise ApiError(
                403,
                "not-permitted",
                f"This token ends at {shapes.instant(caller.until_ms)} itself.",
                pointer="/data/attributes/expires_at",
            )
        try:
            secret, token = await self._tokens.add(
                wanted.name, caller.label, scopes=scopes, lines=lines, expires_at_ms=expires_at_ms
            )
        except AccountError as e:
            raise account_problem(e) from None
        made = _token(token)
        attributes: NewTokenAttributes = {**made["attributes"], "token": secret}
        return {"data": {"type": "token", "id": token.name, "attributes": attributes}}

    @operation("DELETE", "/me/tokens/<name>", scope=Scope.MANAGE, tag="session", statuses=(404,))
    async def remove_token(self, call: Call[None], name: str) -> None:
        """
        Remove a token.

        It is worth nothing from now on.
        """
        try:
            await self._tokens.remove(name, call.caller.label)
        except AccountError as e:
            raise account_problem(e) from None


def account_problem(e: AccountError, **renamed: str) -> ApiError:
    """
    Turn what is wrong with an account into an answer.

    :param renamed: what the request calls an input of `AccountError.field`.
    """
    field = renamed.get(e.field, e.field)
    return ApiError(
        _STATUS_OF_CODE.get(e.code, 422),
        e.code,
        e.text,
        pointer=f"/data/attributes/{field}" if field else "",
    )


def _by_session(caller: Caller) -> Caller:
    if not caller.by_session:
        raise ApiError(
            403, "not-permitted", "This is for somebody who is logged in, and not for a token."
        )
    return caller


def _line(line: Line, *, default: bool, has_links: bool) -> LineOfMine:
    attachments = usual_way(line, has_links)
    return {
        "label": line.label,
        "number": line.number,
        "gateway": line.gateway,
        "default": default,
        "enabled": line.enabled,
        "mms": attachments == "mms",
        "attachments": attachments,
        "groups": line.carries_groups and line.groups != "separate",
        "charset": line.charset.value,
        "max_segments": line.max_segments,
        "media_limit": line.media_limit,
    }


def _session(session: Session, *, current: bool) -> SessionResource:
    return {
        "type": "session",
        "id": session.session_id,
        "attributes": {
            "agent": session.agent,
            "address": session.address,
            "created_at": str(shapes.instant(session.created_at_ms)),
            "seen_at": str(shapes.instant(session.seen_at_ms)),
            "current": current,
        },
    }


def _token(token: Token) -> TokenResource:
    return {
        "type": "token",
        "id": token.name,
        "attributes": {
            "name": token.name,
            "scopes": list(token.scopes),
            "lines": list(token.lines),
            "created_at": str(shapes.instant(token.created_at_ms)),
            "used_at": shapes.instant(token.used_at_ms),
            "expires_at": shapes.instant(token.expires_at_ms),
        },
    }
