"""
Serves the declared operations of the API: HTTP in, one call of a method, JSON:API out.

For every request it checks who asks, what that caller may do and how often, reads query and body
with pydantic, and puts what goes wrong into JSON:API errors in plain words.  It knows no operation
by name, and nothing of messages.
"""

from __future__ import annotations

import json
import math
import re
import uuid
from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from typing import Any, Final, Protocol

from attrs import frozen
from klein import Klein
from pydantic import BaseModel, ValidationError
from twisted.internet.defer import CancelledError, Deferred
from twisted.internet.error import ConnectionDone, ConnectionLost
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from twisted.web.util import redirectTo
from werkzeug.exceptions import HTTPException

from smsbridge.core.limits import TokenBuckets
from smsbridge.core.message import storable
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure, UnknownOutcome
from smsbridge.web import shapes
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import (
    Answer,
    ApiError,
    Call,
    Operation,
    Raw,
    operations_of,
    status_of,
)
from smsbridge.web.phrases import answer_with, phrase

__all__ = ["Access", "Api"]

_JSON: Final = "application/json"
_JSON_API: Final = "application/vnd.api+json"
#: How often a caller whose person has a rate may ask: requests a second, and how many at once.
_RATE: Final = 100.0
_BURST: Final = 500
_RETRY_AFTER_S: Final = 5
_LONGEST_PART: Final = 1000  # of a path
_MOST_ERRORS: Final = 20  # told in one answer; a request could have thousands
_DAY_MS: Final = 86_400_000

#: Which field of a body a reason is about: the first of them that was given, or that there is.
_FIELDS_OF_REASON: Final[dict[str, tuple[str, ...]]] = {
    "invalid-number": ("to", "numbers", "number"),
    "unroutable": ("to",),
    "unknown-person": ("to", "person"),
    "destination-not-allowed": ("to",),
    "opted-out": ("to",),
    "unknown-line": ("line", "from"),
    "line-disabled": ("line", "from"),
    "not-permitted": ("line", "from"),
    "too-long": ("body",),
    "empty": ("body",),
    "loop": ("body",),
    "media-unsupported": ("media", "media_urls"),
    "too-large": ("media", "media_urls"),
}
_SCOPE_WORDS: Final = {
    Scope.READ: "read",
    Scope.SEND: "send texts",
    Scope.MANAGE: "change anything",
    Scope.ADMIN: "do what is for operators",
}
_HEADERS: Final = (
    (b"Cache-Control", b"no-store"),
    (b"X-Content-Type-Options", b"nosniff"),
    (b"Referrer-Policy", b"no-referrer"),
    (b"Content-Security-Policy", b"default-src 'none'; frame-ancestors 'none'"),
)

#: pydantic's types of errors as sentences about a field; what is in braces comes with the error.
_SENTENCES: Final = {
    "missing": "is missing.",
    "string_type": "must be a text.",
    "string_unicode": "must be a text in Unicode.",
    "string_too_long": "may have {max_length} characters at most.",
    "string_too_short": "must have at least {min_length} characters.",
    "string_pattern_mismatch": "has a form that is not understood here.",
    "int_type": "must be a whole number.",
    "int_parsing": "must be a whole number.",
    "int_from_float": "must be a whole number.",
    "int_parsing_size": "is too large.",
    "float_type": "must be a number.",
    "float_parsing": "must be a number.",
    "finite_number": "must be a number.",
    "bool_type": "must be true or false.",
    "bool_parsing": "must be true or false.",
    "greater_than_equal": "must be at least {ge}.",
    "greater_than": "must be more than {gt}.",
    "less_than_equal": "must be at most {le}.",
    "less_than": "must be less than {lt}.",
    "list_type": "must be a list.",
    "tuple_type": "must be a list.",
    "too_long": "may have {max_length} entries at most.",
    "too_short": "must have at least {min_length} entries.",
    "dict_type": "must be an object.",
    "model_type": "must be an object.",
    "model_attributes_type": "must be an object.",
    "literal_error": "must be one of {expected}.",
    "enum": "must be one of {expected}.",
    "none_required": "must be null.",
}
_TIME_SENTENCE: Final = "must be a time such as 2026-11-21T14:00:00Z."

_VARIABLE: Final = re.compile(r"<(?:[a-z]+:)?([a-z_]+)>")
_log = Logger()

Method = Callable[..., Awaitable[Any]]


class Access(Protocol):
    """Finds out who asks."""

    async def caller(self, request: Request) -> Caller:
        """
        Return who asks.

        :raises ApiError: (401) nobody whom we know, (403) a page of somebody else's asks, (429) too
            many guesses.
        """


@frozen
class _Served:
    operation: Operation
    method: Method
    variables: tuple[str, ...]  # the parts of the path, by the names that the method has for them


class _Errors(Exception):
    """Several things are wrong with one request."""

    def __init__(self, status: int, errors: Sequence[ApiError]) -> None:
        super().__init__(str(status))
        self.status = status
        self.errors = errors


class Api:
    """
    The API over one backend.

    :param subjects: objects with methods declared by `operation`.
    :param describe: makes of the operations what is served openly: path below ``/api`` to page.
    :param new_id: names requests and errors.
    """

    def __init__(
        self,
        backend: Backend,
        access: Access,
        subjects: Iterable[object],
        describe: Callable[[Sequence[Operation]], Mapping[str, Callable[[], Raw]]] | None = None,
        new_id: Callable[[], str] = lambda: str(uuid.uuid4()),
    ) -> None:
        self._backend = backend
        self._access = access
        self._new_id = new_id
        self._rates = TokenBuckets(backend.reactor.seconds)
        self.operations: list[Operation] = []
        self._app = Klein()
        routes: dict[str, dict[str, _Served]] = {}
        for subject in subjects:
            for declared, method in operations_of(subject):
                self.operations.append(declared)
                path = _VARIABLE.sub("<>", declared.path)
                served = _Served(declared, method, tuple(_VARIABLE.findall(declared.path)))
                assert declared.method not in routes.setdefault(path, {}), declared
                routes[path][declared.method] = served
        # By far the most requests go to few paths; these are found without Klein.
        self._plain: dict[tuple[bytes, ...], dict[str, _Served]] = {}
        for path, methods in routes.items():
            self._route(f"/v2.2{_numbered(path)}", self._operation, methods)
            if "<" not in path:
                self._plain[tuple(f"v2.2{path}".encode("ascii").split(b"/"))] = methods
        for path, page in (describe(self.operations) if describe else {}).items():
            self._route(path, self._page, page)
        for error, answer in ((HTTPException, self._no_route), (Exception, self._bug)):
            self._app.handle_errors(error)(answer)

    def _route(self, path: str, serve: Callable[..., Any], first: Any) -> None:
        def serving(request: Request, **parts: str) -> Any:
            return serve(first, request, **parts)

        self._app.route(path, endpoint=path)(serving)

    def resource(self) -> IResource:
        """Return what is served at ``/api``."""
        return _Front(self._app.resource(), self._refuse, self._at_once)

    # -- a request -------------------------------------------------------------------------------

    def _operation(
        self, methods: Mapping[str, _Served], request: Request, **parts: str
    ) -> Deferred[bytes | None]:
        answer = Deferred.fromCoroutine(self._answer(methods, request, tuple(parts.values())))
        served = methods.get(request.method.decode("ascii"))
        return answer if served is not None and served.operation.streams else _unbroken(answer)

    def _at_once(self, request: Request) -> bool:
        """Serve a request to a path without variables; False if there is no such operation."""
        methods = self._plain.get(tuple(request.postpath or ()))
        if methods is None or any(served.operation.streams for served in methods.values()):
            return False

        def write(data: bytes | None) -> None:
            if not request._disconnected:
                request.write(data or b"")
                request.finish()

        # Nothing cancels it: what goes on must not break off in a commit when the reader goes away.
        Deferred.fromCoroutine(self._answer(methods, request, ())).addErrback(
            lambda failure: self._bug(request, failure)
        ).addCallback(write).addErrback(
            lambda failure: _log.failure("{path} could not be answered", failure, path=request.path)
        )
        return True

    async def _answer(
        self, methods: Mapping[str, _Served], request: Request, parts: tuple[str, ...]
    ) -> bytes | None:
        request_id = self._new_id()
        for name, value in _HEADERS:
            request.setHeader(name, value)
        request.setHeader(b"X-Request-Id", request_id.encode())
        declared: Operation | None = None
        body: Any = None
        base = ""
        try:
            served = self._method(methods, request)
            if served is None:
                return b""
            declared = served.operation
            caller = None
            if declared.scope is not None:
                caller = await self._access.caller(request)
                self._check(caller, declared)
            answer_type = _accepted(request, declared)
            query = _query(request, declared)
            body, base = _body(request, declared)
            if declared.streams:
                request.setHeader(b"Content-Type", answer_type)
            call: Call[Any] = Call(request=request, caller=caller, query=query, body=body)  # type: ignore[arg-type]
            answer = await served.method(
                call, **dict(zip(served.variables, map(_part, parts), strict=True))
            )
            if declared.streams:
                await _ended(request)
                return None
            return _rendered(request, declared, answer, answer_type)
        except CancelledError:
            raise  # the reader is gone
        except Exception as e:
            # Whatever an operation stumbles over is an answer to one request alone.
            if isinstance(e, Refused | PermanentFailure) and declared is not None:
                e = self._refused(e, _pointer(e.reason, declared, body, base))
            return self._problem(request, request_id, e)

    def _method(self, methods: Mapping[str, _Served], request: Request) -> _Served | None:
        """Return what a method is served by; None when the answer is made already."""
        method = request.method.decode("ascii")
        served = methods.get("GET" if method == "HEAD" else method)
        if served is not None:
            if method == "HEAD" and served.operation.streams:
                request.setHeader(b"Content-Type", served.operation.answer_type.encode())
                return None
            return served
        allowed = {*methods, "OPTIONS"} | ({"HEAD"} if "GET" in methods else set())
        request.setHeader(b"Allow", ", ".join(sorted(allowed)).encode())
        if method == "OPTIONS":
            request.setResponseCode(204)
            return None
        raise ApiError(405, "method", f"This path takes {', '.join(sorted(allowed))}.")

    def _check(self, caller: Caller, declared: Operation) -> None:
        scope = declared.scope
        if scope is Scope.ADMIN and not caller.person.admin:
            raise ApiError(
                403,
                "not-permitted",
                "This is for operators only; they have 'admin = yes' in the configuration.",
            )
        if scope is not None and scope not in caller.scopes:
            raise ApiError(
                403,
                "not-permitted",
                f"This token may not {_SCOPE_WORDS[scope]}; use one with the scope {scope.value}.",
            )
        if caller.person.rate:
            key = caller.label if caller.by_session else f"{caller.label} {caller.name}"
            wait_s = self._rates.wait_s(key, _RATE, _BURST)
            if wait_s > 0:
                raise ApiError(
                    429,
                    "throttled",
                    f"More than {_RATE:.0f} requests a second; go on in a moment.",
                    headers={"Retry-After": str(math.ceil(wait_s))},
                )

    def _page(self, page: Callable[[], Raw], request: Request) -> bytes:
        """Answer with something that everybody may read."""
        for name, value in _HEADERS:
            request.setHeader(name, value)
        if request.method not in (b"GET", b"HEAD"):
            request.setHeader(b"Allow", b"GET, HEAD")
            return self._refuse(request, 405, "method", "This path takes GET.")
        return _raw(request, page())

    # -- what goes wrong -------------------------------------------------------------------------

    def _problem(self, request: Request, request_id: str, e: Exception) -> bytes:
        if request.startedWriting:
            # The status is out; the reader sees that the answer breaks off.
            _log.failure("{path} broke off", path=request.path, request_id=request_id)
            return b""
        if isinstance(e, _Errors):
            return _failed(request, e.status, [self._error(each) for each in e.errors])
        error = self._as_api_error(request, request_id, e)
        for name, value in error.headers.items():
            request.setHeader(name.encode("ascii"), value.encode("ascii", "replace"))
        return _failed(request, error.status, [self._error(error, request_id)])

    def _as_api_error(self, request: Request, request_id: str, e: Exception) -> ApiError:
        if isinstance(e, ApiError):
            return e
        if isinstance(e, TemporaryFailure):
            wait_s = max(1, math.ceil(e.retry_after_s or _RETRY_AFTER_S))
            return ApiError(503, e.reason, e.text, headers={"Retry-After": str(wait_s)})
        if isinstance(e, UnknownOutcome):
            return ApiError(504, e.reason, e.text)
        _log.failure(
            "{method} {path} failed",
            method=request.method,
            path=request.path,
            request_id=request_id,
        )
        return ApiError(
            500,
            "internal",
            f"Something went wrong inside the bridge; the log has it under {request_id}.",
        )

    def _refused(self, e: Refused | PermanentFailure, pointer: str) -> ApiError:
        headers = {}
        if e.reason == "throttled":
            headers["Retry-After"] = str(_RETRY_AFTER_S)
        elif e.reason == "daily-cap":
            left_ms = _DAY_MS - self._backend.now_ms() % _DAY_MS
            headers["Retry-After"] = str(left_ms // 1000 + 1)
        return ApiError(
            status_of(e.reason),
            e.reason,
            e.text,
            pointer=pointer,
            headers=headers,
        )

    def _error(self, error: ApiError, error_id: str = "") -> shapes.Shape:
        shape: shapes.Shape = {
            "id": error_id or self._new_id(),
            "status": error.status,
            "code": error.code,
            "title": phrase(error.status),
            "detail": error.detail,
        }
        if error.pointer:
            shape["source"] = {"pointer": error.pointer}
        elif error.parameter:
            shape["source"] = {"parameter": error.parameter}
        return shape

    def _refuse(self, request: Request, status: int, code: str, detail: str) -> bytes:
        for name, value in _HEADERS:
            request.setHeader(name, value)
        return _failed(request, status, [self._error(ApiError(status, code, detail))])

    def _no_route(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a path that is not served."""
        return self._refuse(
            request,  # type: ignore[arg-type]
            404,
            "not-found",
            "There is no such path; /api/ describes those that there are.",
        )

    def _bug(self, request: IRequest, failure: Failure) -> bytes:
        """Answer when we did wrong outside of any operation."""
        _log.failure("{path} failed", failure, path=request.path)
        return self._refuse(
            request,  # type: ignore[arg-type]
            500,
            "internal",
            "Something went wrong inside the bridge; the log has the details.",
        )


class _Front(Resource):
    """Answers what Klein itself stumbles over: paths, methods and hosts that are no text."""

    isLeaf = True

    def __init__(
        self,
        routes: IResource,
        refuse: Callable[[Request, int, str, str], bytes],
        at_once: Callable[[Request], bool],
    ) -> None:
        super().__init__()
        self._routes = routes
        self._refuse = refuse
        self._at_once = at_once

    def render(self, request: Request) -> Any:
        """Serve a request."""
        try:
            request.method.decode("ascii")
            b"/".join(request.postpath or []).decode("utf-8")
        except UnicodeDecodeError:
            return self._refuse(request, 400, "bad-request", "The address is not UTF-8.")
        if not request.postpath:  # relative links of the page need the slash
            return redirectTo(request.path + b"/", request)
        if self._at_once(request):
            return NOT_DONE_YET
        try:
            return self._routes.render(request)
        except (HTTPException, UnicodeError):
            return self._refuse(request, 400, "bad-request", "The Host header names no host.")


def _numbered(path: str) -> str:
    """Give the parts of a path names, which Klein needs; each method has its own for them."""
    pieces = path.split("<>")
    named = [f"{piece}<part{number}>" for number, piece in enumerate(pieces[:-1])]
    return "".join(named) + pieces[-1]


def _unbroken(working: Deferred[bytes | None]) -> Deferred[bytes | None]:
    """
    Let a request go on to its end when the reader goes away.

    Klein cancels what a request waits for, which must not reach into a commit or a dialogue.
    """
    waiting: Deferred[bytes | None] = Deferred(lambda _: None)

    def relay(result: Any) -> None:
        if not waiting.called:
            waiting.callback(result)

    working.addBoth(relay)
    return waiting


async def _ended(request: Request) -> None:
    """Wait until an answer that is written piece by piece has come to its end."""
    if request.finished or request._disconnected:
        return
    try:
        await request.notifyFinish()
    except (ConnectionDone, ConnectionLost):
        pass  # the reader went away, which is how most streams end


def _part(text: str) -> str:
    """Return a part of a path as the store can look it up."""
    return storable(text)[:_LONGEST_PART]


def _accepted(request: Request, declared: Operation) -> bytes:
    """Return the content type of the answer; raises for a reader that takes none that we have."""
    ours = declared.answer_type
    header = request.getHeader(b"accept")
    if not header or header == b"*/*":
        return ours.encode()
    wanted = [
        each.partition(";")[0].strip().lower()
        for each in header.decode("latin-1").split(",")
        if not re.search(r";\s*q=0(\.0*)?\s*(;|$)", each)
    ]
    kind = ours.partition("/")[0]
    if ours in wanted or "*/*" in wanted:
        return ours.encode()
    if ours == _JSON_API and _JSON in wanted:
        return _JSON.encode()
    if f"{kind}/*" in wanted:
        return ours.encode()
    raise ApiError(406, "not-acceptable", f"The answer can be had as {ours} only.")


def _query(request: Request, declared: Operation) -> Any:
    try:
        given = {
            name.decode("utf-8"): storable(values[-1].decode("utf-8"))
            for name, values in request.args.items()
        }
    except UnicodeDecodeError:
        raise ApiError(400, "bad-request", "The query of the address is not UTF-8.") from None
    if declared.query is None:
        if given:
            name = next(iter(given))
            raise ApiError(
                400, "bad-request", f"There is no query argument {name!r} here.", parameter=name
            )
        return None
    try:
        return declared.query.model_validate(given)
    except ValidationError as e:
        raise _Errors(
            400,
            [
                ApiError(
                    400, "bad-request", _sentence(each, declared.query), parameter=_path(each)[-1]
                )
                for each in e.errors(include_url=False)[:_MOST_ERRORS]
            ],
        ) from None


def _body(request: Request, declared: Operation) -> tuple[Any, str]:
    """Return the body and the JSON pointer to where its fields stand."""
    if declared.body is None and not declared.body_type:
        return None, ""
    upload = getattr(request, "upload", None)
    if declared.body_type and upload is not None:
        # It went to a file while it arrived (see `web.site`); the operation moves that away.
        return upload, ""
    content = request.content
    raw = b"" if content is None else content.read(declared.most_bytes + 1)
    if len(raw) > declared.most_bytes:
        raise ApiError(413, "too-large", f"A request here may have {declared.most_bytes} bytes.")
    if declared.body is None:
        return raw, ""
    given_type = (request.getHeader(b"content-type") or b"").decode("latin-1")
    given_type = given_type.partition(";")[0].strip().lower()
    if raw and given_type not in ("", _JSON, _JSON_API):
        raise ApiError(
            415, "unsupported-type", f"Send JSON, with the header 'Content-Type: {_JSON_API}'."
        )
    fields, base = _attributes(raw, declared.body)
    try:
        return declared.body.model_validate(fields), base
    except ValidationError as e:
        raise _Errors(
            422,
            [
                ApiError(
                    422,
                    "invalid",
                    _sentence(each, declared.body),
                    pointer="/".join([base, *map(_escaped, _path(each))]),
                )
                for each in e.errors(include_url=False)[:_MOST_ERRORS]
            ],
        ) from None


def _attributes(raw: bytes, model: type[BaseModel]) -> tuple[Any, str]:
    """Return the fields of a body and the JSON pointer to where they stand."""
    try:
        document = _decoder.decode((raw or b"{}").decode("utf-8-sig"))
        if b"\\u" in raw:
            document = _storable(document)
    except (ValueError, RecursionError):
        raise ApiError(400, "bad-json", "The body is not JSON in UTF-8.") from None
    if not isinstance(document, dict):
        raise ApiError(400, "bad-json", "The body must be a JSON object.")
    if "data" not in document or "data" in model.model_fields:
        return document, ""
    data = document["data"]
    if not isinstance(data, dict):
        raise ApiError(422, "invalid", "'data' must be an object.", pointer="/data")
    attributes = data.get("attributes", {})
    if not isinstance(attributes, dict):
        raise ApiError(
            422, "invalid", "'attributes' must be an object.", pointer="/data/attributes"
        )
    return attributes, "/data/attributes"


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


_decoder: Final = json.JSONDecoder(parse_constant=_no_constant)


def _storable(value: Any) -> Any:
    """Replace what no database can hold in all texts of a document."""
    if isinstance(value, str):
        return storable(value)
    if isinstance(value, list):
        return [_storable(each) for each in value]
    if isinstance(value, dict):
        return {storable(name): _storable(each) for name, each in value.items()}
    return value


def _pointer(reason: str, declared: Operation, body: Any, base: str) -> str:
    """Return the JSON pointer to the field of a body that a reason is about."""
    model = declared.body
    if model is None or not isinstance(body, BaseModel):
        return ""
    known = {field.alias or name: name for name, field in model.model_fields.items()}
    fields = [each for each in _FIELDS_OF_REASON.get(reason, ()) if each in known]
    given = [each for each in fields if known[each] in body.model_fields_set]
    return "".join(f"{base}/{each}" for each in (given or fields)[:1])


def _path(error: Any) -> list[str]:
    """Return where in the body an error is."""
    return [str(each) for each in error["loc"]] or [""]


def _escaped(part: str) -> str:
    """Write a part of a JSON pointer (RFC 6901 section 3)."""
    return part.replace("~", "~0").replace("/", "~1")


def _sentence(error: Any, model: type[BaseModel]) -> str:
    """Say in plain words what is wrong with a field."""
    name = ".".join(_path(error))
    kind: str = error["type"]
    context = error.get("ctx", {})
    if kind == "extra_forbidden":
        known = ", ".join(field.alias or each for each, field in model.model_fields.items())
        return f"There is no query argument {name!r} here; known: {known}."
    if kind in ("value_error", "assertion_error"):
        return str(context.get("error", "")) or f"'{name}' cannot be understood."
    if kind.startswith(("datetime", "timezone", "date_", "time_")):
        return f"'{name}' {_TIME_SENTENCE}"
    sentence = _SENTENCES.get(kind, "cannot be understood.")
    return f"'{name}' {sentence.format(**context)}"


def _rendered(request: Request, declared: Operation, answer: Any, answer_type: bytes) -> bytes:
    if isinstance(answer, Raw):
        request.setResponseCode(declared.status)
        return _raw(request, answer)
    status = declared.status
    if isinstance(answer, Answer):
        status, answer = answer.status, answer.document
    answer_with(request, status)
    if answer is None:
        return b""
    data = shapes.encode(answer)
    request.setHeader(b"Content-Type", answer_type)
    request.setHeader(b"Content-Length", str(len(data)).encode())
    return data


def _raw(request: Request, answer: Raw) -> bytes:
    request.setHeader(b"Content-Type", answer.content_type.encode("ascii"))
    request.setHeader(b"Content-Length", str(len(answer.data)).encode())
    for name, value in answer.headers.items():
        request.setHeader(name.encode("ascii"), value.encode("utf-8"))
    return answer.data


def _failed(request: Request, status: int, errors: list[shapes.Shape]) -> bytes:
    data = shapes.encode({"errors": errors})
    answer_with(request, status)
    request.setHeader(b"Content-Type", _JSON_API.encode())
    request.setHeader(b"Content-Length", str(len(data)).encode())
    return data
