"""
Operations on files: upload, and making a picture small enough for a line.

What is uploaded comes as a file already, or as bytes where it is small.  Fetching is not here:
links go out with every resource, and `web.media` serves them.
"""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from attrs import define
from pydantic import Field
from typing_extensions import TypedDict

from smsbridge.core.attachments import MOST_ATTACHMENTS, room
from smsbridge.core.directory import Line
from smsbridge.core.message import Media
from smsbridge.errors import Refused
from smsbridge.web.access.caller import Caller, Scope
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.operation import Arguments, Call, operation
from smsbridge.web.api.shapes import MediaShape, Shapes

__all__ = ["Attachments"]

_TAG: Final = "media"
#: What is taken where nothing streams bodies to the disk.
_MOST_IN_MEMORY: Final = 16 * 1024 * 1024


class UploadArguments(Arguments):
    """How a file is called."""

    name: Annotated[str, Field(max_length=255, description="The file's name.")] = ""


class FitArguments(Arguments):
    """For what line a picture is to be small enough."""

    line: Annotated[
        str, Field(max_length=64, description="The line's label; default: the first one.")
    ] = ""
    of: Annotated[
        int, Field(ge=1, le=MOST_ATTACHMENTS, description="How many files share the limit.")
    ] = 1


class MediaResource(TypedDict):
    """A file that is kept; its id is what ``POST /messages`` takes in ``media``."""

    type: Literal["media"]
    id: str
    attributes: MediaShape


class Uploaded(TypedDict):
    """A file that was uploaded."""

    data: MediaResource


class FitMeta(TypedDict):
    """What the picture was before."""

    original_size: int | None
    original_width: int | None
    original_height: int | None


class Fitted(TypedDict):
    """A picture that a line carries."""

    data: MediaResource
    meta: FitMeta


@define
class Attachments:
    """The operations."""

    _backend: Backend
    _shapes: Shapes

    @operation(
        "POST",
        "/media",
        scope=Scope.SEND,
        tag=_TAG,
        query=UploadArguments,
        body_type="*/*",
        most_bytes=_MOST_IN_MEMORY,
        answer=Uploaded,
        status=201,
        statuses=(413, 422, 503, 507),
    )
    async def upload(self, call: Call[bytes | Path]) -> Any:
        """
        Upload a file to send it.

        The body is the file itself. What kind it is, its content tells; the header Content-Type
        counts only where the content tells nothing. A file that no message names is removed after
        a day; one person may have a tenth of the room for all files (256 MB at least) in such
        files.
        """
        claimed = (call.request.getHeader(b"content-type") or b"").decode("latin-1")
        person, unsent, now_ms = call.caller.label, self._backend.unsent, self._backend.now_ms
        size = len(call.body) if isinstance(call.body, bytes) else call.body.stat().st_size
        give_back = unsent.reserve(person, size, now_ms())
        try:
            media = await self._backend.files.keep(call.body, call.query.name, claimed)
        finally:
            give_back()
        unsent.uploaded(person, media.digest, media.size or 0, now_ms())
        return {"data": self._resource(media)}

    @operation(
        "POST",
        "/media/<digest>/fit",
        scope=Scope.SEND,
        tag=_TAG,
        query=FitArguments,
        answer=Fitted,
        statuses=(404, 410, 413, 422, 503, 507),
    )
    async def fit(self, call: Call[None], digest: str) -> Any:
        """
        Make a picture small enough for a line.

        A picture that the line carries as it is, or that would go out as a link, is given back
        unchanged.
        """
        line = self._line(call.caller, call.query.line)
        media = await self._backend.files.find(digest)
        if media is None:
            raise Refused("file-gone", "This file is not here any more; upload it again.")
        fitted = media
        if line is not None and line.carries_media and line.mms != "link":
            fitted = await self._backend.files.fit(media, room(line) // call.query.of)
        if fitted.digest != media.digest:
            self._backend.unsent.uploaded(
                call.caller.label,
                fitted.digest,
                fitted.size or 0,
                self._backend.now_ms(),
                source=media.digest,
            )
        before = self._shapes.media(media)
        return {
            "data": self._resource(fitted),
            "meta": {
                "original_size": before["size"],
                "original_width": before["width"],
                "original_height": before["height"],
            },
        }

    def _line(self, caller: Caller, label: str) -> Line | None:
        own = caller.sends_on()
        if label and label not in own:
            raise Refused("unknown-line", f"There is no line {label} for you.")
        label = label or (own[0] if own else "")
        return self._backend.world.directory.lines.get(label)

    def _resource(self, media: Media) -> Any:
        return {"type": "media", "id": media.digest, "attributes": self._shapes.media(media)}
