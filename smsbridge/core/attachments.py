"""
How attachments go out on a line: with the text (MMS), or as links in it.

`arrange` decides and is pure; `prepare` is what an entrance does before it hands a text to the
inbox: it fetches what is elsewhere and makes pictures small enough, so that the decision finds
files that fit.  Nothing here reads a file.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
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
_MOST_NAMED: Final = 8  # types that a refusal lists

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
    hindrance = _not_taken(line, media) or _too_large(line, media)
    if line.mms == "always" and hindrance is not None:
        raise hindrance
    if line.mms != "link" and hindrance is None:
        return Arranged("mms", body, media)
    return _as_links(line, body, media, link, hindrance)


def room(line: Line) -> int:
    """Return how many bytes the attachments of one MMS of this line may have in all."""
    return max(line.media_limit - _FRAME_BYTES, line.media_limit // 2)


def _not_taken(line: Line, media: Sequence[Media]) -> Refused | None:
    """Tell why a line cannot carry attachments, whatever their size."""
    if not line.carries_media:
        return Refused("media-unsupported", f"Line {line.label} cannot carry attachments.")
    if len(media) > line.most_media:
        return Refused(
            "media-unsupported",
            f"The message has {len(media)} files; line {line.label} carries {line.most_media} in "
            "one.",
        )
    for medium in media:
        if not _is_among(medium.content_type, line.media_types):
            shown = ", ".join(line.media_types[:_MOST_NAMED])
            more = " and others" if len(line.media_types) > _MOST_NAMED else ""
            return Refused(
                "media-unsupported",
                f"{medium.name or 'The file'} is {medium.content_type}; line {line.label} carries "
                f"{shown}{more}.",
            )
    return None


def _is_among(content_type: str, patterns: Sequence[str]) -> bool:
    """Compare a type with types and patterns such as ``image/*``; an unknown type may be any."""
    name = content_type.partition(";")[0].strip().lower()
    if not patterns or not name:
        return True
    return name in patterns or f"{name.partition('/')[0]}/*" in patterns


def _too_large(line: Line, media: Sequence[Media]) -> Refused | None:
    size = sum(medium.size or 0 for medium in media)
    if size <= room(line):
        return None
    return Refused(
        "too-large",
        f"The attachments have {shown_bytes(size)}; line {line.label} carries "
        f"{shown_bytes(line.media_limit)} in one message.",
    )


def _as_links(
    line: Line,
    body: str,
    media: tuple[Media, ...],
    link: Link | None,
    hindrance: Refused | None,
) -> Arranged:
    links = []
    kept = []
    for medium in media:
        if not medium.digest or medium.linked:
            address = medium.url
        else:
            # The name would only make the text longer, and perhaps dearer.
            address = link(evolve(medium, name="")) if link is not None else ""
            if "://" not in address:
                only = f"Line {line.label} sends attachments as links."
                why = only if line.mms == "link" or hindrance is None else hindrance.text
                raise Refused(
                    "media-unsupported",
                    f"{why} There is no address for a link to the file either: the operator must "
                    "set public_url in [http].",
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
    if line is None or line.mms == "link" or _not_taken(line, media) is not None:
        return media
    fetched = [medium if medium.digest else await files.fetch(medium.url) for medium in media]
    kept = tuple(fetched)
    if _not_taken(line, kept) is not None or _too_large(line, kept) is None:
        return kept
    return await _fitted(files, line, kept, room(line))


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
