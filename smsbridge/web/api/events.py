"""``GET /events``: what happens from now on, as server-sent events."""

from __future__ import annotations

from pydantic import Field

from smsbridge.web.access.access import header
from smsbridge.web.access.caller import Scope
from smsbridge.web.api.live import KINDS, LiveHub
from smsbridge.web.api.operation import ApiError, Arguments, Call, operation

__all__ = ["EventArguments", "Events"]


class EventArguments(Arguments):
    """What to listen for, and since when."""

    types: str = Field(
        "",
        description="Kinds of event, separated by commas: message, conversation, contacts, lines. "
        "Without it all of them.",
        max_length=100,
    )
    last_event_id: str = Field(
        "",
        description="The id of the last event that was received, where the header Last-Event-ID "
        "cannot be sent. Everything that has changed since is sent first.",
        max_length=100,
    )


class Events:
    """The operations of the tag ``events``."""

    def __init__(self, hub: LiveHub) -> None:
        self._hub = hub

    @operation(
        "GET",
        "/events",
        scope=Scope.READ,
        tag="events",
        query=EventArguments,
        answer_type="text/event-stream",
        statuses=(429,),
        streams=True,
    )
    async def listen(self, call: Call[None]) -> None:
        """Listen to what happens.

        The answer ends after an hour, and when the session or the token does. Every event has an
        id; a listener that was cut off sends the last one in the header Last-Event-ID and misses
        nothing. ``hello`` comes first and now and then again; ``message`` has a message that is new
        or changed; ``conversation`` a conversation with its unread count; ``contacts`` tells that
        names, groups or blocked numbers changed; ``lines`` has the lines whenever one of them
        changes; ``reset`` says that too much was missed and what is shown must be read anew.
        """
        arguments: EventArguments = call.query
        kinds = [kind for kind in arguments.types.replace(" ", "").split(",") if kind]
        for kind in kinds:
            if kind not in KINDS:
                raise ApiError(
                    400,
                    "bad-request",
                    f"There is no kind of event {kind[:40]!r}; there are: {', '.join(KINDS)}.",
                    parameter="types",
                )
        last_id = header(call.request, "last-event-id") or arguments.last_event_id
        self._hub.listen(call.request, call.caller, kinds, last_id)
