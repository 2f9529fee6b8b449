"""The keys of a ``[gateway:NAME]`` of kind ``vonage``."""

from __future__ import annotations

from attrs import frozen
from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric.rsa import RSAPrivateKey
from cryptography.hazmat.primitives.serialization import load_pem_private_key

from smsbridge.keys import ConfigError, key, one_of
from smsbridge.provider.config import ProviderGateway

__all__ = ["SIGNATURE_METHODS", "VonageGateway", "read_private_key"]

#: ``md5hash`` hashes the text and the secret, the others are HMACs.
SIGNATURE_METHODS = ("md5hash", "md5", "sha1", "sha256", "sha512")


def read_private_key(text: str) -> RSAPrivateKey:
    """
    Read the RSA key of an application.

    :raises ValueError: it is none.
    """
    try:
        found = load_pem_private_key(text.replace("\\n", "\n").strip().encode(), password=None)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        found = None
    if not isinstance(found, RSAPrivateKey):
        raise ValueError("that is not the private key of an application at Vonage (PEM, RSA)")
    return found


@frozen(kw_only=True)
class VonageGateway(ProviderGateway):
    """One account at Vonage."""

    api_key: str = key("The account's API key, eight characters.", example="abcd1234")
    api_secret: str = key("The account's API secret.", secret=True)
    signature_secret: str = key(
        "The account's signature secret, with which webhooks are checked.", default="", secret=True
    )
    signature_method: str = key(
        "How webhooks of the SMS API are signed, as in the account's settings: md5hash is 'MD5 "
        "hash', the others are the HMACs.",
        default="md5hash",
        convert=one_of(*SIGNATURE_METHODS),
    )
    application_id: str = key(
        "The application that sends MMS; together with its private key. Without both, MMS are sent "
        "with the API key and secret, and Vonage may not tell what became of them.",
        default="",
        convert=str.strip,
    )
    private_key: str = key(
        "The application's private key in PEM; best as private_key_file.", default="", secret=True
    )

    def __attrs_post_init__(self) -> None:
        if bool(self.application_id) != bool(self.private_key):
            missing = "private_key" if self.application_id else "application_id"
            raise ConfigError(
                "keys 'application_id' and 'private_key' belong together; set both or none",
                key=missing,
            )
        if self.private_key:
            try:
                read_private_key(self.private_key)
            except ValueError as e:
                raise ConfigError(f"key 'private_key': {e}", key="private_key") from None
