"""
How the API's operations are declared, so that serving and describing them come from one place.

A class of operations has methods decorated with `operation`.  `Api` (in `served`) checks who asks,
reads query and body with pydantic, calls the method and renders its answer; `document` makes the
OpenAPI document from the same declarations.
"""

from __future__ import annotations

from collections.abc import Callable, Coroutine, Iterator, Mapping
from typing import Any, Final, Generic, TypeVar

from attrs import field, frozen
from pydantic import BaseModel, ConfigDict
from twisted.web.server import Request

from smsbridge.web.access.caller import Caller, Scope

__all__ = [
    "BASE",
    "Answer",
    "ApiError",
    "Arguments",
    "Body",
    "Call",
    "Operation",
    "Raw",
    "operation",
    "operations_of",
    "status_of",
]

#: Where the operations' paths begin.
BASE: Final = "/api/v2.2"

_STATUS_OF_REASON: Final = {
    "not-permitted": 403,
    "destination-not-allowed": 403,
    "unknown-line": 404,
    "unknown-person": 404,
    "file-gone": 410,
    "too-large": 413,
    "throttled": 429,
    "daily-cap": 429,
    "storage-full": 507,
}
_T = TypeVar("_T")
_Method = TypeVar("_Method", bound=Callable[..., Coroutine[Any, Any, Any]])


class Body(BaseModel):
    """
    The base of request bodies: the fields of ``data.attributes`` (JSON:API), without the frame.

    `Api` takes the frame off, and takes the fields without it as well, as older programs send
    them.  What is not known is passed over: programs written for Flowroute's API send more than we
    use.  A field with a name that Python has no room for gets an alias.
    """

    model_config = ConfigDict(extra="ignore", frozen=True)


class Arguments(BaseModel):
    """The base of query arguments; unknown ones are errors, because they are mostly misspelled."""

    model_config = ConfigDict(extra="forbid", frozen=True)


class ApiError(Exception):
    """
    The answer is an error.

    :param status: of HTTP.
    :param code: short and for programs: one of `errors.REASONS`, or a word of HTTP's.
    :param detail: a sentence for people that says what to do.
    :param pointer: JSON pointer (RFC 6901) to what is wrong in the body.
    :param parameter: the query argument that is wrong.
    :param headers: more headers of the answer, such as Retry-After.
    """

    def __init__(
        self,
        status: int,
        code: str,
        detail: str,
        *,
        pointer: str = "",
        parameter: str = "",
        headers: dict[str, str] | None = None,
    ) -> None:
        super().__init__(detail)
        self.status = status
        self.code = code
        self.detail = detail
        self.pointer = pointer
        self.parameter = parameter
        self.headers = headers or {}


def status_of(reason: str) -> int:
    """Return the status that answers one of `errors.REASONS`, wherever it comes up."""
    return _STATUS_OF_REASON.get(reason, 422)


@frozen
class Answer:
    """A document with a status of its own."""

    status: int
    document: Any


@frozen
class Raw:
    """An answer that is not JSON: a vCard file, a page."""

    content_type: str
    data: bytes = field(repr=False)
    headers: dict[str, str] = field(factory=dict)


@frozen(kw_only=True)
class Call(Generic[_T]):
    """
    One request, understood.

    :ivar caller: never None unless the operation is open.
    :ivar query: an instance of the operation's `query`.
    :ivar body: an instance of the operation's `body`, or bytes where it takes them; what was
        uploaded to a file while it arrived (see `web.site.Upload`) is the file's path.
    """

    request: Request
    caller: Caller
    query: Any
    body: _T


@frozen(kw_only=True)
class Operation:
    """One method on one path, as declared."""

    name: str  # operationId: the class's name and the method's
    method: str
    path: str  # with <name> for a part, in werkzeug's spelling
    summary: str
    description: str
    tag: str
    scope: Scope | None  # None: open to everybody
    query: type[Arguments] | None
    body: type[Body] | None
    body_type: str  # the content type of a body that is taken as bytes; empty: JSON or none
    most_bytes: int
    answer: Any  # the type of the answer's document (a TypedDict), None: no content
    answer_type: str
    status: int
    statuses: tuple[int, ...]  # of errors that it answers beside the general ones
    streams: bool  # it writes to the request itself and ends it
    headers: tuple[tuple[str, str], ...]  # of the request that it reads, each with a sentence


def operation(
    method: str,
    path: str,
    *,
    scope: Scope | None,
    tag: str,
    query: type[Arguments] | None = None,
    body: type[Body] | None = None,
    body_type: str = "",
    most_bytes: int = 256 * 1024,
    answer: Any = None,
    answer_type: str = "application/vnd.api+json",
    status: int = 0,
    statuses: tuple[int, ...] = (),
    streams: bool = False,
    headers: Mapping[str, str] | None = None,
) -> Callable[[_Method], _Method]:
    """
    Declare a coroutine method as an operation; its docstring is what the documentation says.

    It is called with a `Call` and the parts of the path by name, and returns the answer's document,
    an `Answer`, a `Raw`, or None.  It may raise `ApiError`, `Refused` and the other failures of
    `errors`.

    :param path: below ``/api/v2.2``, as in ``/messages/<message_id>``.
    :param answer: a TypedDict of `typing_extensions` (pydantic refuses the one of `typing` before
        Python 3.12), for documentation and tests; what is returned is not checked against it.
    :param headers: of the request that the method reads, each with a sentence about it.
    :param streams: the method writes to ``call.request``; it may return before it has ended it.
    :param status: of a good answer; by default 200, or 204 without an answer.
    """

    def declare(call: _Method) -> _Method:
        text = (call.__doc__ or "").strip()
        summary, _, description = text.partition("\n")
        call.operation = Operation(  # type: ignore[attr-defined]
            name=call.__qualname__.replace(".", "_").lower(),
            method=method,
            path=path,
            summary=summary.strip().rstrip("."),
            description=" ".join(description.split()),
            tag=tag,
            scope=scope,
            query=query,
            body=body,
            body_type=body_type,
            most_bytes=most_bytes,
            answer=answer,
            answer_type=answer_type,
            status=status or (200 if answer is not None or answer_type[:4] == "text" else 204),
            statuses=statuses,
            streams=streams,
            headers=tuple((headers or {}).items()),
        )
        return call

    return declare


def operations_of(subject: object) -> Iterator[tuple[Operation, Callable[..., Any]]]:
    """Yield the operations of an object with the bound methods behind them."""
    for name in dir(type(subject)):
        declared = getattr(getattr(type(subject), name), "operation", None)
        if isinstance(declared, Operation):
            yield declared, getattr(subject, name)
