"""
How attachments go out on a line: with the text (MMS), or as links in it.

`arrange` decides and is pure; `prepare` is what an entrance does before it hands a text to the
inbox: it fetches what is elsewhere and makes pictures small enough, so that the decision finds
files that fit.  Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable
from typing import Final, Literal

from attrs import evolve, frozen

from smsbridge.core.directory import Line
from smsbridge.core.files import Files
from smsbridge.core.message import Media
from smsbridge.errors import Refused
from smsbridge.keys import shown_size

__all__ = [
    "LINK_LIFETIME_S",
    "MOST_ATTACHMENTS",
    "Arranged",
    "arrange",
    "attached",
    "prepare",
    "room",
    "shown_bytes",
    "usual_way",
]

#: How long a link in a text works.
LINK_LIFETIME_S: Final = 30 * 86400.0
#: How many files one message may have.
MOST_ATTACHMENTS: Final = 10
#: What the frame of an MMS and its text take of the line's limit.
_FRAME_BYTES: Final = 2048

Link = Callable[[Media], str]


@frozen
class Arranged:
    """A text as it goes out; `carried_as` is ``sms``, ``mms`` or ``link``."""

    carried_as: str
    body: str
    media: tuple[Media, ...]


def attached(media: Iterable[Media]) -> tuple[Media, ...]:
    """Return the attachments that go out with a text; those that are links in it left out."""
    return tuple(medium for medium in media if not medium.linked)


def usual_way(line: Line, has_links: bool) -> Literal["mms", "link", "none"]:
    """
    Return how a small attachment goes out on a line: ``mms``, ``link`` or ``none``.

    :param has_links: whether links of ours can be followed from outside.
    """
    if line.carries_media and line.mms != "link":
        return "mms"
    return "link" if has_links and line.mms != "always" else "none"


def arrange(line: Line, body: str, media: tuple[Media, ...], link: Link | None) -> Arranged:
    """
    Decide how attachments go out on a line.

    :param link: makes the address of a file that we keep; one without a host (it begins with
        ``/``) is of no use in a text.
    :raises Refused: they cannot go out.
    """
    if not media:
        return Arranged("sms", body, ())
    if len(media) > MOST_ATTACHMENTS:
        raise Refused(
            "too-large", f"One message has {MOST_ATTACHMENTS} files at most; send several messages."
        )
    if all(medium.linked for medium in media):
        return Arranged("link", body, media)
    size = sum(medium.size or 0 for medium in media)
    fits = size <= room(line)
    if line.mms == "always" and not line.carries_media:
        raise Refused("media-unsupported", f"Line {line.label} cannot carry attachments.")
    if line.mms == "always" and not fits:
        raise Refused(
            "too-large",
            f"The attachments have {shown_bytes(size)}; line {line.label} carries "
            f"{shown_bytes(line.media_limit)} in one message.",
        )
    if line.carries_media and line.mms != "link" and fits:
        return Arranged("mms", body, media)
    return _as_links(line, body, media, link)


def room(line: Line) -> int:
    """Return how many bytes the attachments of one MMS of this line may have in all."""
    return max(line.media_limit - _FRAME_BYTES, line.media_limit // 2)


def _as_links(line: Line, body: str, media: tuple[Media, ...], link: Link | None) -> Arranged:
    links = []
    kept = []
    for medium in media:
        if not medium.digest or medium.linked:
            address = medium.url
        else:
            # The name would only make the text longer, and perhaps dearer.
            address = link(evolve(medium, name="")) if link is not None else ""
            if "://" not in address:
                raise Refused(
                    "media-unsupported",
                    f"Line {line.label} cannot carry this attachment, and there is no address for "
                    "a link to it: the operator must set public_url in [http].",
                )
        if medium.digest:
            # The row keeps the file for as long as the message.
            kept.append(evolve(medium, url=address))
        if address not in body:
            links.append(address)
    text = "\n".join([body, *links] if body.strip() else links)
    return Arranged("link", text, tuple(kept))


async def prepare(files: Files, line: Line | None, media: tuple[Media, ...]) -> tuple[Media, ...]:
    """
    Make attachments ready for a line (None: for persons): fetched, and pictures small enough.

    What cannot be fetched or made smaller for an MMS is left for `arrange` to send as a link, where
    the line allows that.

    :raises Refused: an attachment cannot be used.
    :raises TemporaryFailure: what is elsewhere does not answer.
    """
    if len(media) > MOST_ATTACHMENTS:
        raise Refused(
            "too-large", f"One message has {MOST_ATTACHMENTS} files at most; send several messages."
        )
    as_mms = line is not None and line.carries_media and line.mms != "link"
    if not as_mms or line is None:
        return media
    kept = [medium if medium.digest else await files.fetch(medium.url) for medium in media]
    limit = room(line)
    if sum(medium.size or 0 for medium in kept) <= limit:
        return tuple(kept)
    return await _fitted(files, line, tuple(kept), limit)


async def _fitted(
    files: Files, line: Line, media: tuple[Media, ...], limit: int
) -> tuple[Media, ...]:
    """Make the largest pictures smaller, each to an equal share of what the small ones leave."""
    sizes = sorted(medium.size or 0 for medium in media)
    left, share = limit, 0
    for number, size in enumerate(sizes):
        share = left // (len(sizes) - number)
        if size > share:
            break
        left -= size
    fitted = []
    for medium in media:
        if (medium.size or 0) <= share:
            fitted.append(medium)
            continue
        try:
            fitted.append(await files.fit(medium, share))
        except Refused:
            if line.mms == "always":
                raise
            return media
    return tuple(fitted)


def shown_bytes(size: int) -> str:
    """Write a size for people, such as ``1.4 MB``."""
    if size < 1024:
        return f"{size} bytes"
    for unit, factor in (("kB", 1024), ("MB", 1024**2), ("GB", 1024**3)):
        if size < factor * 1000:
            value = size / factor
            return f"{value:.0f} {unit}" if value >= 10 else f"{value:.1f} {unit}"
    return f"{shown_size(size)}"
