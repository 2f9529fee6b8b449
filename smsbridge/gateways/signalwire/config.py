"""
What an operator sets for SignalWire: the keys of ``[gateway:NAME] kind = signalwire`` and of its
lines.

Source of the limits: SignalWire, "MIME types" and "Compatibility API, create a message".
"""

from __future__ import annotations

import re

import attrs
from attrs import frozen

from smsbridge.keys import byte_size, key, words
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["SignalwireGateway", "SignalwireLine"]

_MEDIA_TYPES = (
    *("image/jpeg", "image/gif", "image/png", "image/bmp"),
    *("audio/mp4", "audio/mpeg", "audio/mpeg3", "audio/ogg", "audio/vorbis", "audio/vnd.wav"),
    *("audio/ac3", "audio/amr", "audio/midi"),
    *("video/mpeg", "video/mp4", "video/quicktime", "video/h264", "video/3gp"),
    *("text/plain", "text/calendar", "text/vcard", "text/x-vcard"),
)


def _domain(text: str) -> str:
    """Read the host name of a space."""
    host = text.strip().lower().removeprefix("https://").rstrip("/")
    if not re.fullmatch(r"[a-z0-9_-]+(\.[a-z0-9-]+)+(:[0-9]{1,5})?", host):
        raise ValueError(f"{text!r} is not the host of a space such as example.signalwire.com")
    return host


def _project(text: str) -> str:
    """Read the id of a project."""
    project = text.strip()
    if not re.fullmatch(r"[A-Za-z0-9_-]+", project):
        raise ValueError(
            f"{text!r} is not a Project ID such as 00000000-0000-4000-8000-000000000000"
        )
    return project


@frozen(kw_only=True)
class SignalwireGateway(ProviderGateway):
    """``[gateway:NAME]`` of a project at SignalWire."""

    domain: str = key(
        "The host of the space, such as example.signalwire.com.",
        convert=_domain,
        example="example.signalwire.com",
    )
    project_id: str = key(
        "The Project ID, as the page 'API Credentials' of the dashboard shows it.",
        convert=_project,
        example="00000000-0000-4000-8000-000000000000",
    )
    auth_token: str = key(
        "An API token of the project with the scope Messaging (and Numbers, for "
        "'smsbridge lines discover').",
        convert=str.strip,
        secret=True,
    )
    signing_key: tuple[str, ...] = key(
        "The signing key of the page 'API Credentials', which proves that webhooks are "
        "SignalWire's. While it is being changed, both are written with a blank between them.",
        default=(),
        convert=words,
        secret=True,
        in_sample=True,
    )


@frozen(kw_only=True)
class SignalwireLine(ProviderLine):
    """``[line:NAME]`` of a number at SignalWire."""

    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller. "
        "SignalWire takes 1200K from local and 750K from toll-free numbers, and recommends 500K.",
        default=500 * 1024,
        convert=byte_size,
        example="500K",
    )
    media_types: tuple[str, ...] = attrs.field(default=_MEDIA_TYPES, kw_only=True)
    most_media: int = attrs.field(default=8, kw_only=True)
