"""
What an operator sets for Twilio: the keys of ``[gateway:NAME] kind = twilio`` and of its lines.

Source of the limits: Twilio, "Accepted content types for media" and "Messages resource".
"""

from __future__ import annotations

import re

import attrs
from attrs import frozen

from smsbridge.keys import ConfigError, byte_size, key, words
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["TwilioGateway", "TwilioLine"]

_MEDIA_TYPES = (
    *("image/jpeg", "image/jpg", "image/png", "image/gif", "image/bmp", "image/tiff"),
    *("audio/basic", "audio/L24", "audio/mp4", "audio/mpeg", "audio/ogg", "audio/vnd.wave"),
    *("audio/3gpp", "audio/3gpp2", "audio/ac3", "audio/webm", "audio/amr", "audio/amr-nb"),
    *("video/mpeg", "video/mp4", "video/quicktime", "video/webm", "video/3gpp", "video/3gpp2"),
    *("video/H261", "video/H263", "video/H264"),
    *("text/vcard", "text/x-vcard", "text/csv", "text/rtf", "text/richtext", "text/calendar"),
    *("text/directory", "application/pdf"),
)


def _account_sid(text: str) -> str:
    """Read the SID of an account."""
    sid = text.strip()
    if not re.fullmatch(r"AC[A-Za-z0-9_-]+", sid):
        raise ValueError(f"{sid!r} is not an Account SID; it begins with AC")
    return sid


def _key_sid(text: str) -> str:
    """Read the SID of an API key."""
    sid = text.strip()
    if not re.fullmatch(r"SK[A-Za-z0-9_-]+", sid):
        raise ValueError(f"{sid!r} is not the SID of an API key; it begins with SK")
    return sid


@frozen(kw_only=True)
class TwilioGateway(ProviderGateway):
    """``[gateway:NAME]`` of an account at Twilio."""

    account_sid: str = key(
        "The Account SID, as the console's first page shows it.",
        convert=_account_sid,
        example="AC00000000000000000000000000000000",
    )
    key_sid: str = key(
        "The SID of an API key to send with, instead of the auth token; it can be withdrawn by "
        "itself.",
        default="",
        convert=_key_sid,
        example="SK00000000000000000000000000000000",
    )
    key_secret: str = key("The secret of that API key.", default="", convert=str.strip, secret=True)
    auth_token: tuple[str, ...] = key(
        "The account's auth token. It proves that webhooks are Twilio's and, without an API key, "
        "is what is sent with. While it is being changed, both are written with a blank between "
        "them; the first is sent with.",
        default=(),
        convert=words,
        secret=True,
        in_sample=True,
    )
    shared_key: tuple[str, ...] = key(
        "The secrets of shared keys for webhooks, where Twilio signs with those instead of the "
        "auth token; several are separated by blanks.",
        default=(),
        convert=words,
        secret=True,
    )

    def __attrs_post_init__(self) -> None:
        """Refuse credentials of which a half is missing."""
        if self.key_sid and not self.key_secret:
            raise ConfigError(
                "the key 'key_secret' is missing: an API key is a SID and a secret",
                key="key_secret",
            )
        if self.key_secret and not self.key_sid:
            raise ConfigError(
                "the key 'key_sid' is missing: an API key is a SID and a secret", key="key_sid"
            )
        if not self.key_sid and not self.auth_token:
            raise ConfigError(
                "there is nothing to send with: set 'key_sid' and 'key_secret', or 'auth_token'",
                key="auth_token",
            )

    @property
    def login(self) -> tuple[str, str]:
        """The user name and the password of requests."""
        if self.key_sid:
            return self.key_sid, self.key_secret
        return self.account_sid, self.auth_token[0]


@frozen(kw_only=True)
class TwilioLine(ProviderLine):
    """``[line:NAME]`` of a number at Twilio."""

    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller. "
        "Twilio takes 5M of pictures (JPEG, PNG, GIF), which it makes smaller itself, and 500K of "
        "anything else.",
        default=500 * 1024,
        convert=byte_size,
        example="500K",
    )
    media_types: tuple[str, ...] = attrs.field(default=_MEDIA_TYPES, kw_only=True)
