"""Operations on lines: their state, USSD codes, and the call log."""

from __future__ import annotations

from typing import Annotated, Any, Final, Literal

from attrs import define
from pydantic import Field
from typing_extensions import TypedDict

from smsbridge.core.records import LineStatus
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import ApiError, Arguments, Body, Call, operation
from smsbridge.web.api.shapes import CallResource, LineResource, Many, One, Shapes

__all__ = ["Lines"]

_TAG: Final = "lines"


class UssdAttributes(TypedDict):
    """What the network said."""

    text: str


class UssdResource(TypedDict):
    """An answer of the network; its id is the line."""

    type: Literal["ussd"]
    id: str
    attributes: UssdAttributes


class LineArguments(Arguments):
    """Which lines to list."""

    all: bool = Field(False, description="All lines of the installation; for operators.")


class CallArguments(Arguments):
    """Which calls to list."""

    line: Annotated[str, Field(max_length=64)] = ""
    limit: int = Field(50, ge=1, le=500)


class UssdCode(Body):
    """A USSD code, or an answer in an open dialogue."""

    code: Annotated[str, Field(min_length=1, max_length=182)]


@define
class Lines:
    """The operations."""

    _backend: Backend
    _shapes: Shapes

    @operation(
        "GET",
        "/lines",
        scope=Scope.READ,
        tag=_TAG,
        query=LineArguments,
        answer=Many[LineResource],
        statuses=(403,),
    )
    async def listed(self, call: Call[None]) -> Any:
        """List the caller's lines and their state."""
        caller, directory = call.caller, self._backend.world.directory
        if call.query.all and not caller.admin:
            raise ApiError(403, "not-permitted", "Only operators see all lines.", parameter="all")
        wanted = list(directory.lines) if call.query.all else self._visible(caller)
        known = {each.line: each for each in self._backend.bridge.lines()}
        return {
            "data": [
                self._shapes.line(known.get(label) or self._unknown(label)) for label in wanted
            ]
        }

    def _unknown(self, label: str) -> LineStatus:
        """Return the state of a line whose gateway does not run."""
        line = self._backend.world.directory.lines[label]
        return LineStatus(
            line=label,
            gateway=line.gateway,
            up=False,
            state="its gateway does not run" if line.enabled else "switched off",
        )

    def _visible(self, caller: Caller) -> list[str]:
        lines = self._backend.world.directory.lines
        return [each for each in caller.viewer(self._backend.world).lines if each in lines]

    @operation(
        "POST",
        "/lines/<label>/ussd",
        scope=Scope.SEND,
        tag=_TAG,
        body=UssdCode,
        answer=One[UssdResource],
        status=200,
        statuses=(404, 422, 503),
    )
    async def ussd(self, call: Call[UssdCode], label: str) -> Any:
        """Send a USSD code, such as ``*100#``, and wait for the network's answer."""
        caller = call.caller
        known = label in self._backend.world.directory.lines
        mine = label in caller.sends_on() or (caller.admin and not caller.only_lines)
        if not known or not mine:
            raise ApiError(404, "unknown-line", f"There is no line {label} for you.")
        text = await self._backend.bridge.ussd(label, call.body.code)
        return {"data": {"type": "ussd", "id": label, "attributes": {"text": text}}}

    @operation(
        "GET",
        "/calls",
        scope=Scope.READ,
        tag=_TAG,
        query=CallArguments,
        answer=Many[CallResource],
    )
    async def calls(self, call: Call[None]) -> Any:
        """List the calls that the caller's lines saw, newest first."""
        query: CallArguments = call.query
        viewer = call.caller.viewer(self._backend.world)
        lines = [each for each in viewer.lines if query.line in ("", each)]
        found = []
        for line in lines:
            found += await self._backend.bridge.calls(line, query.limit)
        found.sort(key=lambda each: each.started_at_ms, reverse=True)
        names = self._shapes.book(viewer).names
        return {"data": [self._shapes.call(each, names) for each in found[: query.limit]]}
