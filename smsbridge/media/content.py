"""
Tells from a file's first bytes what it is, and what of that a browser may be told.

What a peer says about a file is used only where its content tells nothing, and never for what a
browser would run (HTML, SVG, scripts).  Names are made harmless here as well.  Pure: it sees bytes
and words.
"""

from __future__ import annotations

import re
import unicodedata
from typing import Final

import puremagic

__all__ = ["HEAD_BYTES", "content_type_of", "is_picture", "is_shown_inline", "safe_name", "served"]

#: How much of a file `content_type_of` wants to see.
HEAD_BYTES: Final = 4096

_LONGEST_NAME: Final = 120
_LONGEST_TYPE: Final = 100
_OPAQUE: Final = "application/octet-stream"

# Offset and bytes of what phones, handsets and browsers send; puremagic's list is much longer and
# guesses too freely to be asked first (it takes ID3 for a Java game of a phone company).
_SIGNATURES: Final[tuple[tuple[int, bytes, str], ...]] = (
    (0, b"\xff\xd8\xff", "image/jpeg"),
    (0, b"\x89PNG\r\n\x1a\n", "image/png"),
    (0, b"GIF87a", "image/gif"),
    (0, b"GIF89a", "image/gif"),
    (8, b"WEBP", "image/webp"),
    (0, b"II*\x00", "image/tiff"),
    (0, b"MM\x00*", "image/tiff"),
    (0, b"%PDF-", "application/pdf"),
    (0, b"#!AMR-WB\n", "audio/amr-wb"),
    (0, b"#!AMR\n", "audio/amr"),
    (8, b"WAVE", "audio/wav"),
    (0, b"ID3", "audio/mpeg"),
    (0, b"\xff\xfb", "audio/mpeg"),
    (0, b"\xff\xf3", "audio/mpeg"),
    (0, b"\xff\xf1", "audio/aac"),
    (0, b"\xff\xf9", "audio/aac"),
    (0, b"fLaC", "audio/flac"),
    (0, b"MThd", "audio/midi"),
    (0, b"\x1f\x8b", "application/gzip"),
    (0, b"7z\xbc\xaf\x27\x1c", "application/x-7z-compressed"),
)
# ISO base media files (ISO/IEC 14496-12) name their brand behind "ftyp".
_BRANDS: Final[dict[bytes, str]] = {
    b"heic": "image/heic",
    b"heix": "image/heic",
    b"hevc": "image/heic",
    b"mif1": "image/heif",
    b"msf1": "image/heif",
    b"avif": "image/avif",
    b"avis": "image/avif",
    b"3g2a": "video/3gpp2",
    b"M4A ": "audio/mp4",
    b"M4B ": "audio/mp4",
    b"qt  ": "video/quicktime",
}
_TEXT_BEGINNINGS: Final[tuple[tuple[str, str], ...]] = (
    ("begin:vcard", "text/vcard"),
    ("begin:vcalendar", "text/calendar"),
    ("<smil", "application/smil"),
    ("<svg", "image/svg+xml"),
    ("<!doctype svg", "image/svg+xml"),
    ("<!doctype html", "text/html"),
    ("<html", "text/html"),
)
#: Words of a text that only matter where a browser takes it for a page.
_ACTIVE: Final = re.compile(r"<(script|iframe|svg|html|body|object|embed|foreignobject)\b", re.I)

#: What a text may be because its sender says so.
_CLAIMED_TEXTS: Final = frozenset(
    {
        "application/json",
        "application/smil",
        "text/calendar",
        "text/csv",
        "text/markdown",
        "text/plain",
        "text/vcard",
    }
)
_SPELLINGS: Final = {
    "image/jpg": "image/jpeg",
    "image/pjpeg": "image/jpeg",
    "image/x-png": "image/png",
    "audio/mp3": "audio/mpeg",
    "audio/x-wav": "audio/wav",
    "audio/vnd.wave": "audio/wav",
    "audio/x-m4a": "audio/mp4",
    "text/x-vcard": "text/vcard",
    "text/directory": "text/vcard",
    "application/x-zip-compressed": "application/zip",
}
#: What a browser could run is never told to one, and never taken from a peer's words.
_DANGEROUS: Final = re.compile(r"html|[/+]xml|svg|script|ecma|flash|multipart|message/|css|wasm")

#: What a browser shows by itself without running anything.
_INLINE: Final = frozenset(
    {
        "audio/aac",
        "audio/amr",
        "audio/flac",
        "audio/mp4",
        "audio/mpeg",
        "audio/ogg",
        "audio/wav",
        "audio/webm",
        "image/avif",
        "image/bmp",
        "image/gif",
        "image/jpeg",
        "image/png",
        "image/webp",
        "video/3gpp",
        "video/mp4",
        "video/ogg",
        "video/quicktime",
        "video/webm",
    }
)
#: What can be opened and made smaller.
_PICTURES: Final = frozenset({"image/bmp", "image/gif", "image/jpeg", "image/png", "image/webp"})

_EXTENSIONS: Final = {
    "application/gzip": ".gz",
    "application/json": ".json",
    "application/pdf": ".pdf",
    "application/smil": ".smil",
    "application/zip": ".zip",
    "audio/aac": ".aac",
    "audio/amr": ".amr",
    "audio/amr-wb": ".awb",
    "audio/flac": ".flac",
    "audio/midi": ".mid",
    "audio/mp4": ".m4a",
    "audio/mpeg": ".mp3",
    "audio/ogg": ".ogg",
    "audio/wav": ".wav",
    "audio/webm": ".weba",
    "image/avif": ".avif",
    "image/bmp": ".bmp",
    "image/gif": ".gif",
    "image/heic": ".heic",
    "image/heif": ".heif",
    "image/jpeg": ".jpg",
    "image/png": ".png",
    "image/svg+xml": ".svg",
    "image/tiff": ".tif",
    "image/webp": ".webp",
    "text/calendar": ".ics",
    "text/csv": ".csv",
    "text/html": ".html",
    "text/markdown": ".md",
    "text/plain": ".txt",
    "text/vcard": ".vcf",
    "video/3gpp": ".3gp",
    "video/3gpp2": ".3g2",
    "video/mp4": ".mp4",
    "video/ogg": ".ogv",
    "video/quicktime": ".mov",
    "video/webm": ".webm",
}
_SAME_EXTENSIONS: Final = {".jpeg": ".jpg", ".jpe": ".jpg", ".tiff": ".tif", ".htm": ".html"}


def content_type_of(head: bytes, claimed: str = "") -> str:
    """
    Return the media type of a file.

    :param head: its first `HEAD_BYTES`, or all of it.
    :param claimed: what its sender calls it, with or without parameters.
    """
    claimed = _normal(claimed)
    found = _by_signature(head) or _by_text(head, claimed)
    if found:
        return found
    guessed = _by_puremagic(head, claimed)
    if guessed:
        return guessed
    return claimed if _is_credible(claimed) else _OPAQUE


def _normal(claimed: str) -> str:
    word = claimed.partition(";")[0].strip().lower()
    if len(word) > _LONGEST_TYPE or not re.fullmatch(r"[a-z0-9.+-]+/[a-z0-9.+_-]+", word):
        return ""
    return _SPELLINGS.get(word, word)


def _is_credible(claimed: str) -> bool:
    """Tell whether a peer may be believed about bytes that tell nothing."""
    # A text would have been seen as one, and a picture or a film that we know by its first bytes.
    return (
        bool(claimed)
        and not claimed.startswith(("text/", "image/"))
        and claimed not in _INLINE
        and not _DANGEROUS.search(claimed)
    )


def _by_signature(head: bytes) -> str:
    for offset, signature, media_type in _SIGNATURES:
        if head.startswith(signature, offset) and (
            offset == 0 or head.startswith(b"RIFF")  # WEBP and WAVE stand behind it
        ):
            return media_type
    if head[4:8] == b"ftyp":
        brand = head[8:12]
        if brand.startswith(b"3gp"):
            return "video/3gpp"
        return _BRANDS.get(brand, "video/mp4")
    if head.startswith(b"BM") and len(head) > 26 and head[6:10] == b"\0\0\0\0":
        return "image/bmp"
    if head.startswith(b"OggS"):
        return "video/ogg" if b"theora" in head[:128] else "audio/ogg"
    if head.startswith(b"\x1aE\xdf\xa3"):
        return "video/webm" if b"webm" in head[:64] else "video/x-matroska"
    if head.startswith(b"PK\x03\x04"):
        return "application/zip"
    return ""


def _by_text(head: bytes, claimed: str) -> str:
    """Return what kind of text it is; empty if it is none."""
    try:
        text = head.decode("utf-8-sig")
    except UnicodeDecodeError as e:
        if len(head) < HEAD_BYTES or e.start < len(head) - 3:
            return ""
        text = head[: e.start].decode("utf-8-sig", "replace")
    if any(ord(character) < 32 and character not in "\t\n\v\f\r\x1b" for character in text):
        return ""
    beginning = re.sub(r"^\s*(<\?xml[^>]*\?>|<!--.*?-->|\s)*", "", text, flags=re.S)[:64].lower()
    for start, media_type in _TEXT_BEGINNINGS:
        if beginning.startswith(start):
            return media_type
    if _ACTIVE.search(text):
        return "text/html"
    return claimed if claimed in _CLAIMED_TEXTS else "text/plain"


def _by_puremagic(head: bytes, claimed: str) -> str:
    try:
        matches = puremagic.magic_string(head)
    except Exception:
        # It finds nothing for most bytes, and some of its deeper looks trip over broken files.
        return ""
    types = [
        _normal(match.mime_type)
        for match in matches
        if match.confidence >= 0.4 and len(match.byte_match) >= 4
    ]
    types = [each for each in types if each and each != _OPAQUE and not _DANGEROUS.search(each)]
    if claimed in types:
        return claimed
    return types[0] if types else ""


def is_picture(content_type: str) -> bool:
    """Tell whether it can be shown small and be made smaller."""
    return content_type in _PICTURES


def is_shown_inline(content_type: str) -> bool:
    """Tell whether a browser may show it in a page of its own."""
    return content_type in _INLINE


def served(content_type: str) -> str:
    """Return the type that is said to a browser: never one that it would run."""
    if content_type.startswith("text/"):
        return "text/plain; charset=utf-8"
    if _DANGEROUS.search(content_type):
        return _OPAQUE
    return content_type or _OPAQUE


def safe_name(name: str, content_type: str) -> str:
    """
    Return a name under which a file can be saved anywhere, with an ending that fits its type.

    Folders, controls, and characters that turn the direction of writing are taken out of it.
    """
    name = unicodedata.normalize("NFC", name.replace("\\", "/").rsplit("/", 1)[-1])
    name = "".join(
        "_" if character in '<>:"|?*' else character
        for character in name
        if unicodedata.category(character) not in ("Cc", "Cf", "Cs", "Co", "Cn", "Zl", "Zp")
    )
    name = " ".join(name.split()).strip(". ")
    extension = _EXTENSIONS.get(content_type, "")
    stem, dot, ending = name.rpartition(".")
    own = f".{ending.lower()}" if dot and stem and len(ending) <= 8 else ""
    if not own:
        stem = name
    if extension and _SAME_EXTENSIONS.get(own, own) != extension:
        stem, own = name, extension
    elif own:
        own = f".{ending}"
    stem = stem.strip(". ") or "file"
    while len((stem + own).encode("utf-8")) > _LONGEST_NAME:
        stem = stem[:-1]
    return stem + own
