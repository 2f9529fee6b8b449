"""
Operations on conversations: list, read, mark, put away, delete for oneself, and search.

A conversation is called by an id that holds its name, so that it can be opened before its first
text; whether the caller may see it is asked every time.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from typing import Annotated, Any, Final, Literal

from attrs import define
from pydantic import Field
from typing_extensions import TypedDict

from smsbridge.core.address import is_e164, is_short_code
from smsbridge.core.message import FromPerson
from smsbridge.core.routing import conversation, route_outbound
from smsbridge.core.threads import (
    ConversationChange,
    ConversationQuery,
    ConversationRecord,
    SearchQuery,
    ThreadQuery,
    Viewer,
)
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.cursor import links, place_of
from smsbridge.web.api.messages import Recipients, as_number, check_writes_to_persons
from smsbridge.web.api.operation import ApiError, Arguments, Body, Call, operation
from smsbridge.web.api.shapes import (
    ConversationResource,
    Links,
    MessageResource,
    One,
    Shapes,
    conversation_of,
)

__all__ = ["Conversations"]

_TAG: Final = "conversations"
_MOST_MATCHES: Final = 200
_MESSAGE_ID: Final = r"^[0-9A-Za-z-]{1,36}$"
_Id = Annotated[str, Field(pattern=r"^([0-9A-Za-z-]{1,36})?$")]


class Unread(TypedDict):
    """How many conversations have something unread."""

    unread: int


class ConversationPage(TypedDict):
    """A page of conversations."""

    data: list[ConversationResource]
    meta: Unread
    links: Links


class Neighbors(TypedDict):
    """Whether there is more on either side."""

    has_older: bool
    has_newer: bool


class Thread(TypedDict):
    """Messages of one conversation, oldest first."""

    data: list[MessageResource]
    meta: Neighbors


class Found(TypedDict):
    """Messages that were found, with their conversations."""

    data: list[MessageResource]
    included: list[ConversationResource]
    links: Links


class Undo(TypedDict):
    """What brings it back."""

    undo: str


class Removed(TypedDict):
    """What was removed can be restored."""

    meta: Undo


class ConversationArguments(Arguments):
    """Which conversations to list."""

    line: Annotated[str, Field(max_length=64)] = ""
    folder: Literal["inbox", "unread", "archived", "blocked", "all"] = "inbox"
    q: Annotated[str, Field(max_length=200, description="Of a name or number.")] = ""
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=200)] = ""


class ThreadArguments(Arguments):
    """Which messages to read; at most one of the three ids."""

    before: _Id = ""
    after: _Id = ""
    around: _Id = ""
    limit: int = Field(50, ge=1, le=200)


class SearchArguments(Arguments):
    """What to look for."""

    q: Annotated[str, Field(max_length=200, description="Words, each as its beginning.")]
    line: Annotated[str, Field(max_length=64)] = ""
    conversation: Annotated[str, Field(max_length=800)] = ""
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=200)] = ""


class Opening(Body):
    """With whom."""

    to: Recipients
    line: Annotated[str | None, Field(max_length=64)] = None


class Change(Body):
    """What to change; what is left out stays."""

    read_to: Annotated[str | None, Field(pattern=_MESSAGE_ID)] = None
    archived: bool | None = None
    muted: bool | None = None
    draft: Annotated[str | None, Field(max_length=20_000)] = None


class Restoring(Body):
    """What the removal answered."""

    undo: Annotated[str, Field(max_length=200)]


@define
class Conversations:
    """The operations."""

    _backend: Backend
    _shapes: Shapes

    @operation(
        "GET",
        "/conversations",
        scope=Scope.READ,
        tag=_TAG,
        query=ConversationArguments,
        answer=ConversationPage,
        statuses=(400,),
    )
    async def listed(self, call: Call[None]) -> Any:
        """List conversations, those with the newest text first."""
        query: ConversationArguments = call.query
        viewer = self._viewer(call)
        parties = self._matches(viewer, query.q) if query.q.strip() else ()
        records: list[ConversationRecord] = []
        if parties or not query.q.strip():
            records = await self._backend.threads.conversations(
                ConversationQuery(
                    viewer=viewer,
                    line=query.line,
                    folder=query.folder,
                    before_id=place_of(query.cursor),
                    parties=parties,
                    limit=query.limit + 1,
                )
            )
        page = records[: query.limit]
        last = page[-1].last if len(records) > query.limit else None
        return {
            "data": [self._shapes.conversation(each, viewer) for each in page],
            "meta": {"unread": await self._backend.threads.unread(viewer)},
            "links": links(call.request, query, last.message_id if last is not None else ""),
        }

    @operation(
        "POST",
        "/conversations",
        scope=Scope.READ,
        tag=_TAG,
        body=Opening,
        answer=One[ConversationResource],
        statuses=(403, 404, 422),
    )
    async def opened(self, call: Call[Opening]) -> Any:
        """Find the conversation that a text to these would be in; it may have no message yet."""
        caller, world = call.caller, self._backend.world
        own = caller.sends_on()
        outbound = route_outbound(
            world.directory,
            FromPerson(
                person=caller.label,
                recipients=tuple(call.body.to),
                body="",
                line=call.body.line or (own[0] if own else ""),
            ),
            world.book.of(caller.label),
        )
        labels = tuple(person.label for person in outbound.persons)
        if labels:
            check_writes_to_persons(caller)
        line = outbound.line.label if outbound.line is not None else ""
        if line and line not in own:
            raise ApiError(
                404,
                "unknown-line",
                f"There is no line {line} for you.",
                pointer="/data/attributes/line",
            )
        parties = (*outbound.numbers, *labels) if line else (caller.label, *labels)
        viewer = self._viewer(call)
        name = conversation(line, parties)
        record = await self._record(viewer, name)
        return {
            "data": self._shapes.conversation(
                record or _empty(name, line, tuple(sorted(set(parties)))), viewer
            )
        }

    @operation(
        "GET",
        "/conversations/<cid>",
        scope=Scope.READ,
        tag=_TAG,
        answer=One[ConversationResource],
        statuses=(404,),
    )
    async def one(self, call: Call[None], cid: str) -> Any:
        """Show a conversation."""
        viewer, record = await self._known(call, cid)
        return {"data": self._shapes.conversation(record, viewer)}

    @operation(
        "GET",
        "/conversations/<cid>/messages",
        scope=Scope.READ,
        tag=_TAG,
        query=ThreadArguments,
        answer=Thread,
        statuses=(400, 404),
    )
    async def thread(self, call: Call[None], cid: str) -> Any:
        """
        Read messages of a conversation, oldest first.

        Without ``before``, ``after`` or ``around`` (ids of messages) the newest.
        """
        query: ThreadArguments = call.query
        if sum(bool(each) for each in (query.before, query.after, query.around)) > 1:
            raise ApiError(
                400,
                "bad-request",
                "Say only one of 'before', 'after' and 'around'.",
                parameter="after" if query.after else "around",
            )
        viewer = self._viewer(call)
        page = await self._backend.threads.thread(
            ThreadQuery(
                viewer=viewer,
                conversation=conversation_of(cid),
                before_id=query.before,
                after_id=query.after,
                around_id=query.around,
                limit=query.limit,
            )
        )
        if not page.messages:
            await self._known(call, cid)
        return {
            "data": [self._shapes.message(each, viewer) for each in page.messages],
            "meta": {"has_older": page.has_older, "has_newer": page.has_newer},
        }

    @operation(
        "PATCH",
        "/conversations/<cid>",
        scope=Scope.MANAGE,
        tag=_TAG,
        body=Change,
        answer=One[ConversationResource],
        statuses=(404, 422),
    )
    async def change(self, call: Call[Change], cid: str) -> Any:
        """
        Mark a conversation as read up to a message, put it away, mute it, or keep a draft.

        What one person does with a conversation is of no effect for others.
        """
        viewer, name, asked = self._viewer(call), conversation_of(cid), call.body
        changed = await self._backend.threads.change(
            viewer,
            name,
            ConversationChange(
                read_id=asked.read_to,
                archived=asked.archived,
                muted=asked.muted,
                draft=asked.draft,
            ),
            self._backend.now_ms(),
        )
        if not changed:
            raise _no_conversation()
        self._backend.live.conversation_changed(viewer.person, name)
        _, record = await self._known(call, cid)
        return {"data": self._shapes.conversation(record, viewer)}

    @operation(
        "DELETE",
        "/conversations/<cid>",
        scope=Scope.MANAGE,
        tag=_TAG,
        answer=Removed,
        statuses=(404,),
    )
    async def remove(self, call: Call[None], cid: str) -> Any:
        """
        Delete for oneself all texts that a conversation has now.

        Others who see them keep them.  ``meta.undo`` of the answer restores them.
        """
        viewer, name = self._viewer(call), conversation_of(cid)
        undo = await self._backend.threads.hide_conversation(viewer, name, self._backend.now_ms())
        if not undo:
            raise _no_conversation()
        self._backend.live.conversation_changed(viewer.person, name)
        return {"meta": {"undo": undo}}

    @operation(
        "POST",
        "/conversations/<cid>/restore",
        scope=Scope.MANAGE,
        tag=_TAG,
        body=Restoring,
        answer=One[ConversationResource],
        statuses=(404, 422),
    )
    async def restore(self, call: Call[Restoring], cid: str) -> Any:
        """Undo the deletion of a conversation."""
        viewer, name = self._viewer(call), conversation_of(cid)
        if not await self._backend.threads.show_conversation(viewer, name, call.body.undo):
            raise _no_conversation()
        self._backend.live.conversation_changed(viewer.person, name)
        _, record = await self._known(call, cid)
        return {"data": self._shapes.conversation(record, viewer)}

    @operation(
        "GET",
        "/search",
        scope=Scope.READ,
        tag=_TAG,
        query=SearchArguments,
        answer=Found,
        statuses=(400, 404),
    )
    async def search(self, call: Call[None]) -> Any:
        """
        Find messages by words of their text, or by names and numbers of the others, newest first.
        """
        query: SearchArguments = call.query
        viewer, threads = self._viewer(call), self._backend.threads
        name = ""
        if query.conversation:
            name = conversation_of(query.conversation)
            await self._known(call, query.conversation)
        place = place_of(query.cursor)
        records = []
        if query.q.strip():
            records = await threads.search(
                SearchQuery(
                    viewer=viewer,
                    words=query.q,
                    line=query.line,
                    conversation=name,
                    parties=self._matches(viewer, query.q) if not name else (),
                    before_id=place,
                    limit=query.limit + 1,
                )
            )
        page = records[: query.limit]
        names = tuple(dict.fromkeys(each.conversation for each in page))
        conversations = []
        if names:
            conversations = await threads.conversations(
                ConversationQuery(
                    viewer=viewer, folder="all", conversations=names, limit=len(names)
                )
            )
        more = len(records) > query.limit
        return {
            "data": [self._shapes.message(each, viewer) for each in page],
            "included": [self._shapes.conversation(each, viewer) for each in conversations],
            "links": links(call.request, query, page[-1].message_id if more else ""),
        }

    # -- how -------------------------------------------------------------------------------------

    def _viewer(self, call: Call[Any]) -> Viewer:
        return call.caller.viewer(self._backend.world)

    async def _known(self, call: Call[Any], cid: str) -> tuple[Viewer, ConversationRecord]:
        """Return a conversation that the caller sees, or may begin."""
        viewer, name = self._viewer(call), conversation_of(cid)
        if not name:
            raise _no_conversation()
        record = await self._record(viewer, name) or self._begun(call.caller, viewer, name)
        if record is None:
            raise _no_conversation()
        return viewer, record

    async def _record(self, viewer: Viewer, name: str) -> ConversationRecord | None:
        found = await self._backend.threads.conversations(
            ConversationQuery(viewer=viewer, folder="all", conversations=(name,), limit=1)
        )
        return found[0] if found else None

    def _begun(self, caller: Caller, viewer: Viewer, name: str) -> ConversationRecord | None:
        """Return a conversation without a text, if the caller could write the first one."""
        line, _, joined = name.partition("|")
        parties = tuple(joined.split(","))
        persons = self._backend.world.directory.persons
        if line:
            mine = line in caller.sends_on() and all(
                is_e164(each) or is_short_code(each) or (viewer.internal and each in persons)
                for each in parties
            )
        else:
            mine = viewer.takes_part(parties) and all(each in persons for each in parties)
        if not mine or conversation(line, parties) != name:
            return None
        return _empty(name, line, parties)

    def _matches(self, viewer: Viewer, typed: str) -> tuple[str, ...]:
        """Return the numbers and persons whose name or number has what was typed."""
        directory = self._backend.world.directory
        names = self._shapes.book(viewer).names
        found = list(_matching(typed, names, directory.persons))
        number = as_number(typed, self._shapes.country(viewer))
        if is_e164(number) or is_short_code(number):
            found.append(number)
        return tuple(dict.fromkeys(found))[:_MOST_MATCHES]


def _matching(typed: str, names: Mapping[str, str], persons: Iterable[str]) -> Iterable[str]:
    words = typed.casefold().split()
    digits = re.sub(r"\D", "", typed)
    only_digits = bool(digits) and not re.search(r"[^\W\d_]", typed)
    for number, name in names.items():
        folded = name.casefold()
        if all(word in folded for word in words) or (
            only_digits and len(digits) >= 3 and digits in number
        ):
            yield number
    for label in persons:
        if all(word in label.casefold() for word in words):
            yield label


def _empty(name: str, line: str, parties: tuple[str, ...]) -> ConversationRecord:
    return ConversationRecord(
        conversation=name,
        line=line,
        parties=parties,
        last=None,
        unread=0,
        read_id="",
        archived=False,
        muted=False,
        draft="",
    )


def _no_conversation() -> ApiError:
    return ApiError(404, "not-found", "There is no such conversation for you.")
