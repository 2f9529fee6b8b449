"""What an operator sets for every provider, whatever its name."""

from __future__ import annotations

from attrs import frozen

from smsbridge.keys import base_url, duration, key

__all__ = ["ProviderGateway"]


@frozen(kw_only=True)
class ProviderGateway:
    """The keys that ``[gateway:NAME]`` of every provider has; each adds its credentials."""

    base_url: str = key(
        "Where the provider's API is, instead of the provider's own host: for regions, proxies and "
        "simulators. The provider's own paths are appended.",
        default="",
        convert=base_url,
        example="http://127.0.0.1:8090",
    )
    http_password: str = key(
        "The password that webhooks must carry (HTTP basic; the user name is free), where the "
        "provider does not sign them or as a second lock: "
        "https://smsbridge:PASSWORD@sms.example.org/hook/NAME.",
        default="",
        secret=True,
    )
    timeout: float = key(
        "How long the provider may take to answer a request.", default=30.0, convert=duration
    )
    reconcile_every: float = key(
        "How often the provider's own list is looked through for texts that webhooks missed; also "
        "done at the start. 0 means only by 'smsbridge reconcile'.",
        default=3600.0,
        convert=duration,
    )
