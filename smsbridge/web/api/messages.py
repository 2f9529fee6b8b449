"""
Operations on messages: send, list, look at, send again, cancel, delete for oneself.

The shapes are those of Flowroute's Messaging API v2.2, with what other clients written for it send
as well: several recipients, a text as a file, fields without the frame of JSON:API.  Everything is
checked against what the caller may see and send on; what is not the caller's does not exist.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Sequence
from datetime import UTC, datetime, time
from typing import Annotated, Any, Final, Literal

from attrs import define, evolve, field
from pydantic import AwareDatetime, BeforeValidator, Field, WithJsonSchema
from twisted.internet.defer import Deferred

from smsbridge.core.address import InvalidNumber, parse_destination, parse_sender
from smsbridge.core.attachments import MOST_ATTACHMENTS, prepare
from smsbridge.core.directory import Line
from smsbridge.core.limits import TokenBuckets
from smsbridge.core.listing import Listing, ListQuery
from smsbridge.core.message import Direction, FromPerson, Kind, Media, Origin, Status, storable
from smsbridge.core.records import MessageRecord
from smsbridge.core.routing import route_outbound
from smsbridge.core.threads import Viewer
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.cursor import links, place_of
from smsbridge.web.api.operation import (
    Answer,
    ApiError,
    Arguments,
    Body,
    Call,
    operation,
    status_of,
)
from smsbridge.web.api.shapes import (
    MessageReference,
    MessageResource,
    MessageStatus,
    One,
    Page,
    PreviewResource,
    Shapes,
)

__all__ = [
    "Messages",
    "NewText",
    "OriginOf",
    "Recipients",
    "as_number",
    "check_writes_to_persons",
]

_TAG: Final = "messages"
_REPEAT_FOR_S: Final = 86_400.0  # how long an Idempotency-Key is remembered
_LONGEST_KEY: Final = 255
_LONGEST_TEXT_FILE: Final = 800_000
_YEAR_MS: Final = 366 * 86_400_000
_PATIENCE_MS: Final = 60_000  # so much may a clock of a caller be slow
_SCANNED: Final = 2000  # messages that are looked at for one page of a status
_MOST_BEFORE_TO: Final = 10_000
_DAY_MS: Final = 86_400_000

_AGAIN: Final = (Status.FAILED, Status.EXPIRED, Status.UNCERTAIN, Status.DROPPED)
_DIRECTIONS: Final = {
    "inbound": Direction.IN,
    "outbound": Direction.OUT,
    "internal": Direction.INTERNAL,
}

#: Where reports about a caller's message go: (caller, the address in the request) to an origin.
OriginOf = Callable[[Caller, str], Origin | None]


def _several(value: object) -> object:
    """Take one recipient for a list of one, and a text with commas for several."""
    if isinstance(value, str):
        return [each.strip() for each in value.replace(";", ",").split(",") if each.strip()]
    return value


def _none_as_empty(value: object) -> object:
    return [] if value is None else value


#: Recipients as typed; one text or a list of texts.
Recipients = Annotated[
    list[Annotated[str, Field(max_length=255)]],
    BeforeValidator(_several),
    Field(min_length=1, max_length=1000),
    WithJsonSchema(
        {
            "anyOf": [
                {"type": "string"},
                {"type": "array", "items": {"type": "string"}, "minItems": 1},
            ],
            "examples": ["+12025550123", ["+12025550123", "@family"]],
        }
    ),
]
_Texts = Annotated[list[Annotated[str, Field(max_length=2048)]], BeforeValidator(_none_as_empty)]


class NewText(Body):
    """
    A text to be sent.

    ``to``: a number, a short code, ``@handle`` of a group of contacts, a person's name, or a list
    of these.  ``from`` (our number or the line's name) or ``line`` says on which line; default: the
    first of the caller.  ``group`` makes one conversation of several; with ``false`` each recipient
    gets a message of its own, and the first of them is answered with.
    """

    to: Recipients
    from_: Annotated[str | None, Field(alias="from", max_length=255)] = None
    line: Annotated[str | None, Field(max_length=64)] = None
    body: str | None = None
    is_mms: bool | None = None
    media_urls: Annotated[_Texts, Field(max_length=MOST_ATTACHMENTS)] = []
    media: Annotated[_Texts, Field(max_length=MOST_ATTACHMENTS)] = []
    group: bool | None = None
    scheduled_at: AwareDatetime | None = None
    dlr_callback: Annotated[str | None, Field(max_length=500)] = None


class SendArguments(Arguments):
    """How to send."""

    test: bool = Field(False, description="Send nothing; answer what would be sent.")


class ListArguments(Arguments):
    """Which messages to list."""

    line: Annotated[str, Field(max_length=64, description="On this line.")] = ""
    number: Annotated[str, Field(max_length=64, description="With this number.")] = ""
    person: Annotated[
        str, Field(max_length=64, description="Written by this person, or sent to it.")
    ] = ""
    direction: Literal["", "inbound", "outbound", "internal"] = ""
    status: Literal["", MessageStatus] = ""
    start_date: Annotated[
        datetime | None, Field(description="Made then or later; without a zone: UTC.")
    ] = None
    end_date: Annotated[
        datetime | None, Field(description="Made before; a date alone: until its end.")
    ] = None
    limit: int = Field(50, ge=1, le=200)
    cursor: Annotated[str, Field(max_length=200)] = ""
    offset: int = Field(0, ge=0, le=_MOST_BEFORE_TO)


@define
class Messages:
    """
    The operations.

    :param origin_of: says where reports about a message go; None tells nobody.
    """

    _backend: Backend
    _shapes: Shapes
    _listing: Listing
    _origin_of: OriginOf | None = None
    _reads: _Reads = field(init=False)
    _resent: TokenBuckets = field(init=False)

    def __attrs_post_init__(self) -> None:
        """Gather reads."""
        self._reads = _Reads(self._backend)
        self._resent = TokenBuckets(self._backend.reactor.seconds)

    # -- send ------------------------------------------------------------------------------------

    @operation(
        "POST",
        "/messages",
        scope=Scope.SEND,
        tag=_TAG,
        query=SendArguments,
        body=NewText,
        answer=One[MessageResource] | One[MessageReference] | One[PreviewResource],
        status=202,
        statuses=(403, 404, 409, 410, 413, 422, 503, 507),
        headers={
            "Idempotency-Key": "The caller's own name for this text; a repeat sends nothing.",
            "Prefer": "return=minimal leaves the attributes out of the answer.",
        },
    )
    async def send(self, call: Call[NewText]) -> Any:
        """
        Send a text.

        With an ``Idempotency-Key`` in the headers a repeat within a day is answered with the first
        message; the same key with another text is an error 409.  ``?test=true`` sends nothing and
        answers 200 with what would be sent.  ``Prefer: return=minimal`` leaves the attributes out
        of the answer, which is faster.
        """
        viewer = call.caller.viewer(self._backend.world)
        incoming = await self._incoming(call)
        if call.query.test:
            preview = self._backend.inbox.preview(incoming)
            return Answer(200, {"data": self._shapes.preview(preview)})
        if call.body.group is False:
            accepted, *_ = await self._backend.inbox.accept_each(incoming)
        else:
            accepted = await self._backend.inbox.accept(incoming)
        if incoming.media:
            named = (*call.body.media, *(each.digest for each in incoming.media))
            self._backend.unsent.sent(call.caller.label, named)
        if not accepted.duplicate and _wants_little(call):
            call.request.setHeader(b"Preference-Applied", b"return=minimal")
            return {"data": self._shapes.reference(accepted.message_id)}
        record = accepted.entry.record() if accepted.entry is not None else None
        if record is None:
            record = await self._reads.read(viewer, accepted.message_id)
        if record is None:
            # The caller deleted it for himself meanwhile.
            return {"data": self._shapes.reference(accepted.message_id)}
        if accepted.duplicate and not self._is_repeat(record, incoming, call.body.group is False):
            raise ApiError(
                409,
                "other-text",
                "This Idempotency-Key was used for another text; take a new key for each text.",
            )
        return {"data": self._shapes.message(record, viewer)}

    def _is_repeat(self, record: MessageRecord, incoming: FromPerson, apart: bool) -> bool:
        """Tell whether a stored message can have come of the same request."""
        world = self._backend.world
        body = storable(incoming.body)
        try:
            outbound = route_outbound(world.directory, incoming, world.book.of(incoming.person))
        except Refused:  # the configuration has changed since
            return record.body == body
        recipients = {*outbound.numbers, *(person.label for person in outbound.persons)}
        return (
            (
                set(record.recipients) <= recipients
                if apart
                else set(record.recipients) == recipients
            )
            and record.line == (outbound.line.label if outbound.line is not None else "")
            and (
                bool(record.media) == bool(incoming.media)
                if record.body == body
                # What goes out as links stands behind the text.
                else bool(incoming.media) and record.body.startswith(body)
            )
        )

    async def _incoming(self, call: Call[NewText]) -> FromPerson:
        """Make what the core understands of a request."""
        caller, asked = call.caller, call.body
        persons = self._backend.world.directory.persons
        between_persons = all(each in persons for each in asked.to)
        if any(each in persons for each in asked.to):
            check_writes_to_persons(caller)
        line = self._line(caller, asked, between_persons)
        body, given = await self._content(asked)
        media = tuple(given)
        if media:
            media = await prepare(self._backend.files, None if between_persons else line, media)
        return FromPerson(
            person=caller.label,
            recipients=tuple(_completed(each, self._country(caller)) for each in asked.to),
            body=body,
            line=line.label if line is not None else "",
            origin=self._origin(caller, asked.dlr_callback or ""),
            dedup_key=_dedup_key(call),
            dedup_for_s=_REPEAT_FOR_S,
            media=media,
            group=bool(asked.group),
            not_before_ms=self._time(asked.scheduled_at),
        )

    def _origin(self, caller: Caller, callback: str) -> Origin | None:
        """Return where reports go; who writes in a browser sees for himself what became of it."""
        if self._origin_of is None or (caller.by_session and not callback):
            return None
        try:
            return self._origin_of(caller, callback)
        except Refused as e:
            raise ApiError(422, e.reason, e.text, pointer="/data/attributes/dlr_callback") from None

    def _line(self, caller: Caller, asked: NewText, between_persons: bool) -> Line | None:
        """
        Return the line that a text goes out on.

        :raises Refused: it is not the caller's; whether it exists is not said.
        """
        directory = self._backend.world.directory
        own = caller.sends_on()
        given = asked.line or asked.from_
        if not given:
            if not own and caller.person.lines and not between_persons:
                raise Refused("not-permitted", "This token may not send on any line.")
            return directory.lines.get(own[0]) if own else None
        label = given
        if given not in own:
            number = as_number(given, self._country(caller))
            known = directory.line_by_number.get(number)
            label = known.label if known is not None and known.label in own else ""
        line = directory.lines.get(label)
        if line is None:
            raise Refused("unknown-line", f"There is no line {given} for you.")
        return line

    async def _content(self, asked: NewText) -> tuple[str, list[Media]]:
        """Return the text and the attachments; a text that came as a file is a text."""
        body = asked.body or ""
        media: list[Media] = []
        if not asked.media and not asked.media_urls:
            return body, media
        files = self._backend.files
        for number, digest in enumerate(asked.media):
            known = await files.find(digest)
            if known is None:
                raise ApiError(
                    422,
                    "file-gone",
                    "This file is not here any more; upload it again.",
                    pointer=f"/data/attributes/media/{number}",
                )
            media.append(known)
        for number, url in enumerate(asked.media_urls):
            try:
                fetched = await files.fetch(url)
            except Refused as e:
                raise ApiError(
                    # What a body names must be there; "gone" is for what an address names.
                    422 if e.reason == "file-gone" else status_of(e.reason),
                    e.reason,
                    e.text,
                    pointer=f"/data/attributes/media_urls/{number}",
                ) from None
            except TemporaryFailure as e:
                raise ApiError(
                    422,
                    e.reason,
                    f"The file could not be fetched: {e.text}",
                    pointer=f"/data/attributes/media_urls/{number}",
                ) from None
            if fetched.content_type.partition(";")[0] == "text/plain" and not asked.body:
                body += self._text_of(fetched, number)
            else:
                media.append(fetched)
        return body, media

    def _text_of(self, media: Media, number: int) -> str:
        path = self._backend.files.path(media)
        if path is None or (media.size or 0) > _LONGEST_TEXT_FILE:
            raise ApiError(
                422,
                "too-long",
                "The text in this file is too long.",
                pointer=f"/data/attributes/media_urls/{number}",
            )
        return path.read_bytes().decode("utf-8", "replace").removeprefix("\ufeff").rstrip("\r\n")

    def _time(self, at: datetime | None) -> int | None:
        if at is None:
            return None
        at_ms, now_ms = int(at.timestamp() * 1000), self._backend.now_ms()
        if now_ms - _PATIENCE_MS <= at_ms <= now_ms + _YEAR_MS:
            return at_ms
        raise ApiError(
            422,
            "bad-time",
            "This time is in the past." if at_ms < now_ms else "This is more than a year away.",
            pointer="/data/attributes/scheduled_at",
        )

    # -- look ------------------------------------------------------------------------------------

    @operation(
        "GET",
        "/messages",
        scope=Scope.READ,
        tag=_TAG,
        query=ListArguments,
        answer=Page[MessageResource],
        statuses=(400,),
    )
    async def listed(self, call: Call[None]) -> Any:
        """
        List messages, the newest first.

        A page may be shorter than the limit, or empty, while there is more: go on as long as
        ``links.next`` is not null.
        """
        query: ListArguments = call.query
        viewer = call.caller.viewer(self._backend.world)
        place = place_of(query.cursor)
        limit = query.limit if not query.status else max(query.limit, 200)
        asked = ListQuery(
            viewer=viewer,
            line=query.line,
            number=as_number(query.number, self._country(call.caller)) if query.number else "",
            person=query.person,
            direction=_DIRECTIONS.get(query.direction, ""),
            since_ms=_start_ms(query.start_date),
            until_ms=_end_ms(query.end_date),
            before_id=place,
            offset=0 if place else query.offset,
            limit=limit + 1,
        )
        found, place = await self._page(asked, query, viewer, limit)
        return {"data": found, "links": links(call.request, query, place)}

    async def _page(
        self, asked: ListQuery, query: ListArguments, viewer: Viewer, limit: int
    ) -> tuple[list[Any], str]:
        """Return the messages of a page, and the id at which the next one begins."""
        found: list[Any] = []
        scanned = 0
        while True:
            records = await self._listing.listed(asked)
            for record in records[:limit]:
                shape = self._shapes.message(record, viewer)
                if not query.status or shape["attributes"]["status"] == query.status:
                    found.append(shape)
                    if len(found) == query.limit:
                        last = record is records[-1]
                        return found, "" if last else record.message_id
            if len(records) <= limit:
                return found, ""
            scanned += limit
            before_id = records[limit - 1].message_id
            if scanned >= _SCANNED:
                return found, before_id
            asked = evolve(asked, before_id=before_id, offset=0)

    def _country(self, caller: Caller) -> str:
        return caller.person.country or self._backend.world.directory.country

    @operation(
        "GET",
        "/messages/<message_id>",
        scope=Scope.READ,
        tag=_TAG,
        answer=One[MessageResource],
        statuses=(404,),
    )
    async def one(self, call: Call[None], message_id: str) -> Any:
        """Show a message with everything that became of it."""
        viewer, record = await self._seen(call, message_id)
        traced = await self._backend.bridge.trace(message_id)
        return {"data": self._shapes.message(traced or record, viewer, history=True)}

    # -- change ----------------------------------------------------------------------------------

    @operation(
        "POST",
        "/messages/<message_id>/retry",
        scope=Scope.SEND,
        tag=_TAG,
        answer=One[MessageResource],
        statuses=(403, 404, 409, 429),
    )
    async def retry(self, call: Call[None], message_id: str) -> Any:
        """
        Send again what failed, expired, was dropped, or may not have been sent.

        Only what did not go out goes again: of a text to several those who have it get it no
        second time.  It may be done as often in a time as new texts may be sent.
        """
        ids = await self._deliveries(call, message_id, _AGAIN)
        self._slow_down(call.caller, len(ids))
        if not ids or not await self._backend.bridge.retry(ids):
            raise ApiError(409, "nothing-to-do", "Nothing of this message has to be sent again.")
        return await self._now(call, message_id)

    def _slow_down(self, caller: Caller, amount: int) -> None:
        """
        Count what is sent again: what the network loses may cost as much as what it delivers.

        :raises Refused: it is too much in a short time.
        """
        person = caller.person
        wait_s = self._resent.wait_s(person.label, person.rate, person.burst, amount)
        if wait_s > 0:
            raise Refused(
                "throttled",
                f"Too many texts in a short time; try again in {max(1, round(wait_s))} seconds.",
            )

    @operation(
        "POST",
        "/messages/<message_id>/cancel",
        scope=Scope.SEND,
        tag=_TAG,
        answer=One[MessageResource],
        statuses=(403, 404, 409),
    )
    async def cancel(self, call: Call[None], message_id: str) -> Any:
        """Give up what waits to be sent, or for its time."""
        ids = await self._deliveries(call, message_id, (Status.QUEUED,))
        if not ids or not await self._backend.bridge.drop(ids):
            raise ApiError(409, "nothing-to-do", "It is too late: nothing of this message waits.")
        return await self._now(call, message_id)

    @operation("DELETE", "/messages/<message_id>", scope=Scope.MANAGE, tag=_TAG, statuses=(404,))
    async def remove(self, call: Call[None], message_id: str) -> None:
        """
        Delete a message for oneself.

        Others who see it keep it, and it can be restored.
        """
        viewer, record = await self._seen(call, message_id)
        threads = self._backend.threads
        if not await threads.hide_messages(viewer, [message_id], self._backend.now_ms()):
            raise _no_message()
        self._backend.live.conversation_changed(viewer.person, record.conversation)

    @operation(
        "POST",
        "/messages/<message_id>/restore",
        scope=Scope.MANAGE,
        tag=_TAG,
        answer=One[MessageResource],
        statuses=(404,),
    )
    async def restore(self, call: Call[None], message_id: str) -> Any:
        """Undo the deletion of a message."""
        viewer = call.caller.viewer(self._backend.world)
        await self._backend.threads.show_messages(viewer, [message_id])
        _, record = await self._seen(call, message_id)
        self._backend.live.conversation_changed(viewer.person, record.conversation)
        return {"data": self._shapes.message(record, viewer)}

    async def _seen(self, call: Call[Any], message_id: str) -> tuple[Viewer, MessageRecord]:
        """Return a message that the caller may see."""
        viewer = call.caller.viewer(self._backend.world)
        record = await self._reads.read(viewer, message_id)
        if record is None:
            raise _no_message()
        return viewer, record

    async def _deliveries(
        self, call: Call[None], message_id: str, statuses: Sequence[Status]
    ) -> tuple[str, ...]:
        """Return what of a message that the caller may send is in one of these states."""
        _, record = await self._seen(call, message_id)
        caller = call.caller
        if record.direction == Direction.IN:
            return ()
        mine = record.line in caller.sends_on() if record.line else record.author == caller.label
        if not mine:
            raise ApiError(403, "not-permitted", "You may not send on the line of this message.")
        return tuple(
            each.delivery_id
            for each in record.deliveries
            if each.kind == Kind.MESSAGE.value and each.status in statuses
        )

    async def _now(self, call: Call[None], message_id: str) -> Any:
        viewer, record = await self._seen(call, message_id)
        return {"data": self._shapes.message(record, viewer)}


class _Reads:
    """Reads messages by id, those that are asked for at the same time at once."""

    def __init__(self, backend: Backend) -> None:
        self._backend = backend
        self._waiting: dict[Viewer, dict[str, list[Deferred[MessageRecord | None]]]] = {}

    def read(self, viewer: Viewer, message_id: str) -> Deferred[MessageRecord | None]:
        """Read one message; None if the viewer may not see it."""
        if not self._waiting:
            self._backend.reactor.callLater(0, self._go)
        answer: Deferred[MessageRecord | None] = Deferred()
        self._waiting.setdefault(viewer, {}).setdefault(message_id, []).append(answer)
        return answer

    def _go(self) -> None:
        waiting, self._waiting = self._waiting, {}
        for viewer, ids in waiting.items():

            def answer(
                records: list[MessageRecord],
                ids: dict[str, list[Deferred[MessageRecord | None]]] = ids,
            ) -> None:
                known = {each.message_id: each for each in records}
                for message_id, answers in ids.items():
                    for each in answers:
                        each.callback(known.get(message_id))

            def failed(
                failure: Any, ids: dict[str, list[Deferred[MessageRecord | None]]] = ids
            ) -> None:
                for answers in ids.values():
                    for each in answers:
                        each.errback(failure)

            self._backend.threads.seen_by(viewer, list(ids)).addCallbacks(answer, failed)


def _no_message() -> ApiError:
    return ApiError(404, "not-found", "There is no such message for you.")


def _wants_little(call: Call[Any]) -> bool:
    prefer = call.request.getHeader(b"prefer")
    return prefer is not None and b"return=minimal" in prefer.replace(b" ", b"")


def _dedup_key(call: Call[NewText]) -> str:
    """Return what a repeat of this request is recognized by; empty: never."""
    header = call.request.getHeader(b"idempotency-key")
    if not header:
        return ""
    if len(header) > _LONGEST_KEY:
        raise ApiError(
            400, "bad-request", f"An Idempotency-Key has {_LONGEST_KEY} characters at most."
        )
    caller = call.caller
    # A browser that had to log in again repeats with another session.
    name = caller.label if caller.by_session else f"{caller.label}\n{caller.name}"
    return f"api {hashlib.sha256(name.encode() + b' ' + header).hexdigest()}"


def _completed(recipient: str, country: str) -> str:
    """Put the + before a number that lacks it, as Flowroute's clients write them."""
    return parse_sender(recipient, country) if recipient.isdigit() else recipient


def check_writes_to_persons(caller: Caller) -> None:
    """
    Let nobody write to persons whose texts between persons are not to be seen.

    :raises ApiError: the caller is such a one.
    """
    if not caller.writes_to_persons:
        raise ApiError(
            403,
            "not-permitted",
            "This token is for certain lines and writes to telephone numbers only; use one that "
            "is for all lines.",
            pointer="/data/attributes/to",
        )


def as_number(text: str, country: str) -> str:
    """Return a number as it is stored; what is none stays as it is, as senders may be names."""
    try:
        return parse_destination(text, country)
    except InvalidNumber:
        return parse_sender(text, country)


def _start_ms(at: datetime | None) -> int | None:
    return None if at is None else int(_aware(at).timestamp() * 1000)


def _end_ms(at: datetime | None) -> int | None:
    if at is None:
        return None
    at_ms = int(_aware(at).timestamp() * 1000)
    whole_day = at.tzinfo is None and at.time() == time.min
    return at_ms + _DAY_MS if whole_day else at_ms


def _aware(at: datetime) -> datetime:
    return at if at.tzinfo is not None else at.replace(tzinfo=UTC)
