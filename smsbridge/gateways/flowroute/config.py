"""The keys of a ``[gateway:NAME]`` of kind ``flowroute`` and of its lines."""

from __future__ import annotations

from attrs import frozen

from smsbridge.keys import ConfigError, byte_size, key
from smsbridge.provider.config import ProviderGateway
from smsbridge.provider.dialect import ProviderLine

__all__ = ["MOST_MMS_BYTES", "FlowrouteGateway", "FlowrouteLine"]

#: What one MMS may have with its text, as the provider's own error says it.
MOST_MMS_BYTES = 767_840


@frozen(kw_only=True)
class FlowrouteGateway(ProviderGateway):
    """One Flowroute account."""

    access_key: str = key(
        "The access key of the API (Preferences, API Control).",
        convert=str.strip,
        example="12345678",
    )
    secret_key: str = key("The secret key that belongs to it.", secret=True)


@frozen(kw_only=True)
class FlowrouteLine(ProviderLine):
    """``[line:NAME]`` of a Flowroute account."""

    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller. "
        "Flowroute takes 749K with the text.",
        default=600 * 1024,
        convert=byte_size,
        example="600K",
    )

    def __attrs_post_init__(self) -> None:
        if self.media_limit > MOST_MMS_BYTES:
            raise ConfigError(
                "key 'media_limit': Flowroute takes 767,840 bytes in one message; write at most "
                "749K",
                key="media_limit",
            )
