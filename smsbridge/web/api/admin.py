"""Operations for operators: the queue, links, people, the last errors, the state, and reload."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Sequence
from typing import Annotated, Any, Final, Literal, Protocol

from attrs import define, frozen
from pydantic import Field
from twisted.internet.defer import Deferred
from typing_extensions import TypedDict

from smsbridge.core.accounts import AccountState
from smsbridge.core.directory import ADDRESS_KINDS, Person
from smsbridge.core.message import Status
from smsbridge.core.records import DeliveryRecord
from smsbridge.logs import LoggedError
from smsbridge.web.access.access import as_api_error
from smsbridge.web.access.caller import Scope
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.passwords import Busy
from smsbridge.web.api import shapes
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.cursor import links, place_of
from smsbridge.web.api.operation import ApiError, Arguments, Body, Call, operation
from smsbridge.web.api.session import account_problem
from smsbridge.web.api.shapes import DeliveryStatus, Depth, LinkResource, Many, One, Page
from smsbridge.web.bridge import WAITING, QueueFilter
from smsbridge.web.shapes import depth, instant

__all__ = ["Admin", "Installation", "MediaFacts"]

_TAG: Final = "admin"
_ALL: Final = tuple(each.value for each in Status)
_AT_ONCE: Final = 250


class MediaFacts(Protocol):
    """How much the media store keeps."""

    files: int
    bytes: int
    cap: int
    alarm: str


@frozen(kw_only=True)
class Installation:
    """What does not change while the daemon runs."""

    version: str
    node: str = ""
    database: str = ""  # its kind, without any credentials


class QueuedAttributes(TypedDict):
    """A delivery and what became of it so far."""

    message: str
    to: str
    gateway: str
    line: str
    person: str
    kind: str
    status: DeliveryStatus
    attempts: int
    reason: str
    detail: str
    created_at: str
    due_at: str | None


class QueuedResource(TypedDict):
    """One message, report or notice on its way."""

    type: Literal["delivery"]
    id: str
    attributes: QueuedAttributes


class Count(TypedDict):
    """How many."""

    count: int


class Counted(TypedDict):
    """How many were changed."""

    meta: Count


class AddressShape(TypedDict):
    """Where a person gets texts."""

    kind: str
    address: str


class PersonAttributes(TypedDict):
    """A person of the configuration."""

    lines: list[str]
    addresses: list[AddressShape]
    admin: bool
    has_password: bool
    last_login_at: str | None


class PersonResource(TypedDict):
    """A person of the configuration."""

    type: Literal["person"]
    id: str
    attributes: PersonAttributes


class LogAttributes(TypedDict):
    """A warning or an error."""

    at: str
    level: str
    area: str
    text: str
    times: int


class LogResource(TypedDict):
    """A warning or an error."""

    type: Literal["log"]
    id: str
    attributes: LogAttributes


class MediaCounts(TypedDict):
    """How much the media store keeps, in files and bytes."""

    files: int
    bytes: int
    cap: int
    alarm: str


class StatusAttributes(TypedDict):
    """How the daemon is."""

    version: str
    started_at: str
    ready: bool
    unready: str
    node: str
    database: str
    depths: list[Depth]
    media: MediaCounts


class StatusResource(TypedDict):
    """How the daemon is."""

    type: Literal["status"]
    id: str
    attributes: StatusAttributes


class Changes(TypedDict):
    """What a reload led to, as sentences."""

    changes: list[str]
    warnings: list[str]


class Reloaded(TypedDict):
    """What a reload led to."""

    meta: Changes


class QueueArguments(Arguments):
    """Which deliveries to list."""

    status: Literal["", DeliveryStatus] = Field(
        "", description="By default what waits: queued, sending, uncertain."
    )
    gateway: Annotated[str, Field(max_length=64)] = ""
    line: Annotated[str, Field(max_length=64)] = ""
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=200)] = ""


class Ids(Body):
    """Which deliveries."""

    ids: Annotated[
        list[Annotated[str, Field(min_length=1, max_length=64)]],
        Field(min_length=1, max_length=1000),
    ]


class Password(Body):
    """A new password."""

    password: Annotated[str, Field(max_length=1000)]


@define(kw_only=True)
class Admin:
    """
    The operations.

    :param states: reads who has a password.
    :param set_password: gives a person a password and ends the person's sessions.
    :param logged: returns the last warnings and errors, the last one first.
    """

    _backend: Backend
    _installation: Installation
    _states: Callable[[], Deferred[list[AccountState]]]
    _set_password: Callable[[str, str], Awaitable[None]]
    _logged: Callable[[], Iterable[LoggedError]]
    _media: Callable[[], MediaFacts]

    # -- the queue -------------------------------------------------------------------------------

    @operation(
        "GET",
        "/queue",
        scope=Scope.ADMIN,
        tag=_TAG,
        query=QueueArguments,
        answer=Page[QueuedResource],
        statuses=(400,),
    )
    async def queue(self, call: Call[None]) -> Any:
        """List what waits or failed, oldest first."""
        query: QueueArguments = call.query
        found = await self._backend.bridge.queue(
            QueueFilter(
                gateway=query.gateway,
                line=query.line,
                statuses=(query.status,) if query.status else WAITING,
            ),
            place_of(query.cursor),
            query.limit + 1,
        )
        page = found[: query.limit]
        more = len(found) > query.limit
        return {
            "data": [_queued(each) for each in page],
            "links": links(call.request, query, page[-1].delivery_id if more else ""),
        }

    @operation(
        "POST",
        "/queue/retry",
        scope=Scope.ADMIN,
        tag=_TAG,
        body=Ids,
        answer=Counted,
        status=200,
        statuses=(422,),
    )
    async def retry(self, call: Call[Ids]) -> Any:
        """Queue deliveries again, given by their ids or those of their messages."""
        return {"meta": {"count": await self._change(call.body.ids, self._backend.bridge.retry)}}

    @operation(
        "POST",
        "/queue/drop",
        scope=Scope.ADMIN,
        tag=_TAG,
        body=Ids,
        answer=Counted,
        status=200,
        statuses=(422,),
    )
    async def drop(self, call: Call[Ids]) -> Any:
        """Give up deliveries, given by their ids or those of their messages."""
        return {"meta": {"count": await self._change(call.body.ids, self._backend.bridge.drop)}}

    async def _change(
        self, ids: Sequence[str], change: Callable[[tuple[str, ...]], Deferred[int]]
    ) -> int:
        count = 0
        for start in range(0, len(ids), _AT_ONCE):
            which = QueueFilter(delivery_ids=tuple(ids[start : start + _AT_ONCE]), statuses=_ALL)
            after_id = ""
            while found := await self._backend.bridge.queue(which, after_id, _AT_ONCE):
                count += await change(tuple(each.delivery_id for each in found))
                after_id = found[-1].delivery_id
        return count

    # -- who and what there is -------------------------------------------------------------------

    @operation("GET", "/links", scope=Scope.ADMIN, tag=_TAG, answer=Many[LinkResource])
    async def links(self, call: Call[None]) -> Any:
        """List the gateways' links and whether they work."""
        return {"data": [shapes.link(each) for each in self._backend.bridge.links()]}

    @operation("GET", "/people", scope=Scope.ADMIN, tag=_TAG, answer=Many[PersonResource])
    async def people(self, call: Call[None]) -> Any:
        """List the persons of the configuration, and who of them can log in."""
        states = {each.person: each for each in await self._states()}
        return {
            "data": [
                _person(each, states.get(each.label))
                for each in self._backend.world.directory.persons.values()
            ]
        }

    @operation(
        "PUT",
        "/people/<label>/password",
        scope=Scope.ADMIN,
        tag=_TAG,
        body=Password,
        statuses=(404, 422, 503),
    )
    async def password(self, call: Call[Password], label: str) -> None:
        """Give a person a password; the person's sessions end."""
        if label not in self._backend.world.directory.persons:
            raise ApiError(404, "unknown-person", f"There is no person {label}.")
        try:
            await self._set_password(label, call.body.password)
        except AccountError as e:
            raise account_problem(e) from None
        except Busy as e:
            raise as_api_error(e) from None

    @operation("GET", "/log", scope=Scope.ADMIN, tag=_TAG, answer=Many[LogResource])
    async def log(self, call: Call[None]) -> Any:
        """List the last warnings and errors, the last one first."""
        return {
            "data": [
                {
                    "type": "log",
                    "id": str(number),
                    "attributes": {
                        "at": instant(each.at_ms),
                        "level": each.level,
                        "area": each.area,
                        "text": each.text,
                        "times": each.times,
                    },
                }
                for number, each in enumerate(self._logged(), start=1)
            ]
        }

    @operation("GET", "/status", scope=Scope.ADMIN, tag=_TAG, answer=One[StatusResource])
    async def status(self, call: Call[None]) -> Any:
        """Tell how the daemon is."""
        bridge, media = self._backend.bridge, self._media()
        unready = bridge.unready()
        return {
            "data": {
                "type": "status",
                "id": "status",
                "attributes": {
                    "version": self._installation.version,
                    "started_at": instant(bridge.started_at_ms),
                    "ready": not unready,
                    "unready": unready,
                    "node": self._installation.node,
                    "database": self._installation.database,
                    "depths": [depth(each) for each in await bridge.depths()],
                    "media": {
                        "files": media.files,
                        "bytes": media.bytes,
                        "cap": media.cap,
                        "alarm": media.alarm,
                    },
                },
            }
        }

    @operation(
        "POST",
        "/reload",
        scope=Scope.ADMIN,
        tag=_TAG,
        answer=Reloaded,
        status=200,
        statuses=(422,),
    )
    async def reload(self, call: Call[None]) -> Any:
        """Read the configuration again and apply what changed; with an error nothing changes."""
        result = await self._backend.bridge.reload()
        if result.errors:
            raise ApiError(422, "configuration", " ".join(result.errors))
        return {"meta": {"changes": list(result.changes), "warnings": list(result.warnings)}}


def _queued(record: DeliveryRecord) -> QueuedResource:
    return {
        "type": "delivery",
        "id": record.delivery_id,
        "attributes": {
            "message": record.message_id,
            "to": record.to,
            "gateway": record.gateway,
            "line": record.line,
            "person": record.person,
            "kind": record.kind,
            "status": record.status.value,
            "attempts": record.attempts,
            "reason": record.reason,
            "detail": shapes.detail(record),
            "created_at": instant(record.created_at_ms) or "",
            "due_at": instant(record.due_at_ms),
        },
    }


def _person(person: Person, state: AccountState | None) -> PersonResource:
    return {
        "type": "person",
        "id": person.label,
        "attributes": {
            "lines": list(person.lines),
            "addresses": [
                {"kind": kind, "address": address}
                for kind in ADDRESS_KINDS
                for address in person.addresses(kind)
            ],
            "admin": person.admin,
            "has_password": state is not None and state.has_password,
            "last_login_at": instant(state.last_login_at_ms) if state is not None else None,
        },
    }
