"""The keys of a ``[gateway:NAME]`` of kind ``bandwidth`` and of its lines."""

from __future__ import annotations

import attrs
from attrs import frozen

from smsbridge.keys import ConfigError, byte_size, key
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["MOST_IN_GROUP", "MOST_MMS_BYTES", "MOST_TEXT", "BandwidthGateway", "BandwidthLine"]

#: How many characters a text may have.
MOST_TEXT = 2048
#: What the attachments of one MMS may have in all: 3.75 MB.
MOST_MMS_BYTES = 3_840 * 1024
#: How many recipients a group text may have.
MOST_IN_GROUP = 10


@frozen(kw_only=True)
class BandwidthGateway(ProviderGateway):
    """One messaging application of a Bandwidth account."""

    account_id: str = key("The account's number.", convert=str.strip, example="9900000")
    api_token: str = key(
        "The name of the API credentials (in the console: Account, API Credentials).",
        convert=str.strip,
        example="smsbridge",
    )
    api_secret: str = key("The secret that belongs to it.", secret=True)
    application_id: str = key(
        "The id of the messaging application that the numbers are assigned to.",
        convert=str.strip,
        example="93de2206-9669-4e07-948d-329f4b722ee2",
    )


@frozen(kw_only=True)
class BandwidthLine(ProviderLine):
    """``[line:NAME]`` of a Bandwidth account."""

    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller. "
        "Bandwidth takes 3840K, many carriers no more than 600K.",
        default=600 * 1024,
        convert=byte_size,
        example="600K",
    )
    carries_groups: bool = attrs.field(default=True, kw_only=True)
    most_in_group: int = attrs.field(default=MOST_IN_GROUP, kw_only=True)

    def __attrs_post_init__(self) -> None:
        if self.media_limit > MOST_MMS_BYTES:
            raise ConfigError(
                "key 'media_limit': Bandwidth takes 3.75 MB in one message; write at most 3840K",
                key="media_limit",
            )
