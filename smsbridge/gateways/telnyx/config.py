"""The keys of a ``[gateway:NAME]`` of kind ``telnyx`` and of its lines."""

from __future__ import annotations

import base64
import binascii

import attrs
from attrs import frozen

from smsbridge.keys import key
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["TelnyxGateway", "TelnyxLine", "read_public_key"]

_KEY_BYTES = 32

#: What Telnyx takes for an MMS (Telnyx, "Sending MMS", supported media types).
_MEDIA_TYPES = (
    "image/jpeg",
    "image/png",
    "image/gif",
    "image/bmp",
    "image/tiff",
    "image/webp",
    "video/mp4",
    "video/3gpp",
    "video/quicktime",
    "audio/mpeg",
    "audio/mp3",
    "audio/wav",
    "audio/x-wav",
    "audio/amr",
    "audio/ogg",
    "application/pdf",
    "text/vcard",
    "text/x-vcard",
    "text/calendar",
    "text/plain",
)


def read_public_key(text: str) -> str:
    """Read the account's public key for webhooks: 32 bytes in base64."""
    word = "".join(text.split())
    try:
        found = base64.b64decode(word, validate=True)
    except (binascii.Error, ValueError):
        found = b""
    if len(found) != _KEY_BYTES:
        raise ValueError(
            "that is not a public key of Telnyx: 44 characters that end with =, from 'Keys & "
            "Credentials', 'Public Key' in its portal"
        )
    return word


@frozen(kw_only=True)
class TelnyxGateway(ProviderGateway):
    """One account at Telnyx."""

    api_key: str = key(
        "The account's API key, version 2; it begins with KEY.", secret=True, example="KEY0123..."
    )
    public_key: str = key(
        "The account's public key, in base64, with which webhooks are checked.",
        default="",
        convert=lambda text: read_public_key(text) if text.strip() else "",
        example="",
    )
    messaging_profile_id: str = key(
        "The messaging profile that texts are sent with. Not needed for numbers, which have one; "
        "needed where a line's number is a name.",
        default="",
        convert=str.strip,
    )


@frozen(kw_only=True)
class TelnyxLine(ProviderLine):
    """``[line:NAME]`` of Telnyx."""

    media_types: tuple[str, ...] = attrs.field(default=_MEDIA_TYPES, kw_only=True)
    carries_groups: bool = attrs.field(default=True, kw_only=True)
    most_in_group: int = attrs.field(default=8, kw_only=True)
