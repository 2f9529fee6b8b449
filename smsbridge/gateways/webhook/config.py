"""The keys of a ``[gateway:NAME]`` of kind ``webhook``; none of them must be set."""

from __future__ import annotations

from attrs import frozen

from smsbridge.keys import ConfigError, duration, key, whole

__all__ = ["WebhookGateway"]


@frozen(kw_only=True)
class WebhookGateway:
    """How webhooks are called; where they are, the persons say."""

    timeout: float = key(
        "How long a program may take for its answer.", default=20.0, convert=duration
    )
    give_up_after: float = key(
        "How long a text is posted again to a program that answers with an error. A program that "
        "does not listen at all is waited for much longer.",
        default=86400.0,
        convert=duration,
    )
    at_once: int = key(
        "How many conversations are posted to one program at the same time.",
        default=8,
        convert=whole(1, 64),
    )

    def __attrs_post_init__(self) -> None:
        if not 1 <= self.timeout <= 60:
            raise ConfigError("key 'timeout': write a time from 1s to 60s", key="timeout")
