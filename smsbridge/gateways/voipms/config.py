"""The keys of a ``[gateway:NAME]`` of kind ``voipms`` and of its lines."""

from __future__ import annotations

from zoneinfo import ZoneInfo

import attrs
from attrs import frozen

from smsbridge.keys import ConfigError, byte_size, key, one_of
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["MOST_MMS_BYTES", "MOST_SMS_BYTES", "VoipmsGateway", "VoipmsLine"]

#: How long a text may be in UTF-8: bytes, although VoIP.ms's own words say characters.
MOST_SMS_BYTES = 160
MOST_MMS_BYTES = 2048


def _zone(text: str) -> str:
    """Read the name of a time zone such as ``America/New_York``."""
    name = text.strip()
    try:
        ZoneInfo(name)
    except (ValueError, OSError, KeyError):  # a zone that is not there is a KeyError
        raise ValueError(
            f"{name!r} is no time zone that this machine knows; write for example UTC or "
            "America/New_York"
        ) from None
    return name


@frozen(kw_only=True)
class VoipmsGateway(ProviderGateway):
    """One VoIP.ms account."""

    api_username: str = key(
        "The account's e-mail address.", convert=str.strip, example="ops@example.com"
    )
    api_password: str = key(
        "The API password (Main Menu, SOAP & REST/JSON API), which is not the one of the login.",
        secret=True,
    )
    quota_timezone: str = key(
        "In which time zone the day of VoIP.ms's quota (100 messages by default) ends.",
        default="America/New_York",
        convert=_zone,
    )


@frozen(kw_only=True)
class VoipmsLine(ProviderLine):
    """``[line:NAME]`` of a VoIP.ms account: one DID with SMS switched on."""

    long_texts: str = key(
        "How a text of more than 160 bytes goes out: as one MMS, or split into several SMS. A "
        "letter with an accent has 2 bytes, an emoji 4 and more.",
        default="mms",
        convert=one_of("mms", "split"),
    )
    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller. "
        "VoIP.ms takes 1.2 MB each; many carriers carry no more than 600K.",
        default=600 * 1024,
        convert=byte_size,
        example="600K",
    )
    media_types: tuple[str, ...] = attrs.field(
        default=("image/jpeg", "image/png", "image/gif", "audio/3gpp"), kw_only=True
    )
    most_media: int = attrs.field(default=3, kw_only=True)
    longest_bytes: int = attrs.field(default=MOST_MMS_BYTES, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.media_limit > 3600 * 1024:
            raise ConfigError(
                "key 'media_limit': VoIP.ms takes three files of 1.2 MB; write at most 3600K",
                key="media_limit",
            )
