"""
What is SignalWire's own: addresses, credentials, the signatures of its webhooks, and its codes,
which do not all mean what Twilio means by them.

Sources: SignalWire, "Compatibility API", "Error codes", "MIME types", and the scheme of its server
SDK 3.7.  A webhook proves itself by any of::

    X-SignalWire-Sha256-Signature: hex(HMAC-SHA256(signing key, address + body))
    X-SignalWire-Signature: hex(HMAC-SHA1(signing key, address + body))
    X-SignalWire-Signature: base64(HMAC-SHA1(signing key, address + values of the form by name))

The last one may come as ``X-Twilio-Signature``.  Values of one name keep their order, unlike
Twilio's.
"""

from __future__ import annotations

import hashlib
import hmac
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final
from urllib.parse import quote

from smsbridge.gateways.signalwire.config import SignalwireGateway
from smsbridge.provider.dialect import Hook, Malformed
from smsbridge.provider.laml import (
    FORM,
    Fault,
    LamlDialect,
    Profile,
    addresses,
    joined,
    mend,
    quota,
    refuse,
    slower,
    unclear,
)
from smsbridge.provider.spelling import basic

__all__ = ["FAULTS", "FILES", "SignalwireDialect", "account_path", "form_signature", "signature"]

#: Where media are kept that are not at the space itself.
FILES: Final = "https://files.signalwire.com"

_CREDENTIALS: Final = mend(
    "credentials",
    "SignalWire refuses the credentials; mend project_id and auth_token, or give the token the "
    "scope Messaging.",
)
_NO_ACCOUNT: Final = mend(
    "credentials", "SignalWire does not know this project; mend domain, project_id or base_url."
)
_NOT_OURS: Final = mend(
    "not-permitted",
    "SignalWire does not let this project text from the line's number; mend 'number', or buy it.",
    "line",
)
_NO_CREDIT: Final = mend("no-credit", "The balance at SignalWire is too low; top it up.")
_BAD_CALLBACK: Final = mend(
    "rejected", "SignalWire cannot use the address in public_url for its status calls."
)
_DAILY: Final = quota("The campaign at SignalWire has sent as many texts as it may in a day.")
_FAILED_MMS: Final = refuse("media-unsupported", "The recipient's network does not take this MMS.")
_FAILED_FETCH: Final = refuse(
    "bad-file",
    "SignalWire could not fetch the attachment; public_url must be reachable from the internet.",
)

#: What SignalWire's codes mean, in answers and in status calls.
FAULTS: Final[Mapping[int, Fault]] = {
    # The account.
    4001: _NO_CREDIT,
    10001: mend("not-permitted", "Messaging is not enabled for the space at SignalWire."),
    10003: _CREDENTIALS,
    10004: _NO_ACCOUNT,
    20001: unclear(),
    20003: _CREDENTIALS,
    20010: mend("not-permitted", "Messaging is disabled for the account at SignalWire."),
    20404: _NO_ACCOUNT,
    20504: unclear(),
    31003: unclear(),
    30002: _NO_CREDIT,
    21219: mend(
        "not-permitted",
        "A trial project at SignalWire texts only numbers that were verified in its dashboard.",
        "",
    ),
    21402: _BAD_CALLBACK,
    21408: _BAD_CALLBACK,
    21456: _BAD_CALLBACK,
    # Our number.
    21210: _NOT_OURS,
    21212: _NOT_OURS,
    21213: _NOT_OURS,
    21601: mend("not-permitted", "The line's number at SignalWire has no SMS or no MMS.", "line"),
    21603: _NOT_OURS,
    21701: _NOT_OURS,
    21703: _NOT_OURS,
    21705: _NOT_OURS,
    21717: mend(
        "not-permitted",
        "The line's number is in no active campaign; assign it to one in SignalWire's dashboard.",
        "line",
    ),
    # The recipient.
    21211: refuse("invalid-number"),
    21217: refuse("invalid-number"),
    21604: refuse("invalid-number"),
    21606: refuse("invalid-number", "That number is not a mobile phone's."),
    21610: refuse("opted-out"),
    21614: refuse("invalid-number", "That number is not a mobile phone's."),
    # The text.
    10000: refuse("rejected"),
    21602: refuse("empty"),
    21612: refuse("media-unsupported", "SignalWire does not carry attachments of this type."),
    21617: refuse("too-long"),
    21620: refuse("bad-file", "SignalWire cannot use the address of the attachment."),
    21623: refuse("media-unsupported", "One message has 8 files at most; send several messages."),
    21624: refuse("rejected"),
    90000: refuse("rejected"),
    11200: _FAILED_FETCH,
    11210: _FAILED_FETCH,
    11215: _FAILED_FETCH,
    11217: _FAILED_FETCH,
    11220: _FAILED_FETCH,
    11751: refuse("too-large"),
    12300: refuse("media-unsupported", "SignalWire does not carry attachments of this type."),
    53603: _FAILED_FETCH,
    63019: _FAILED_FETCH,
    # Too many.
    20429: slower("gateway"),
    21611: slower("line", 60.0),
    30022: slower("line", 60.0),
    30027: slower("line", 3600.0, "daily-cap"),
    35125: _DAILY,
    # What became of it on its way.
    30001: refuse("expired"),
    30003: refuse("unreachable"),
    30004: refuse("blocked"),
    30005: refuse("unknown-subscriber"),
    30006: refuse("unroutable", "The recipient's network cannot be reached."),
    30007: refuse("filtered"),
    30008: refuse("network"),
    30009: refuse("expired"),
    30010: refuse("rejected", "The text would cost more than it may."),
    30011: _FAILED_MMS,
    30012: _FAILED_MMS,
    63011: refuse("network"),
}


def account_path(config: SignalwireGateway) -> str:
    """Return the path of the project."""
    return f"/api/laml/2010-04-01/Accounts/{quote(config.project_id, safe='')}"


def form_signature(secret: str, text: str) -> str:
    """Sign an address with the values of a form behind it."""
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogatepass"), "sha1")
    return b64encode(digest).decode()


def signature(secret: str, address: str, body: bytes, algorithm: str) -> str:
    """Sign an address with the body as it is behind it; `algorithm` is ``sha1`` or ``sha256``."""
    text = address.encode("utf-8", "surrogatepass") + body
    return hmac.digest(secret.encode(), text, algorithm).hex()


class SignalwireDialect(LamlDialect):
    """One project at SignalWire."""

    kind: ClassVar[str] = "signalwire"
    hook_timeout_s: ClassVar[float] = 5.0

    def __init__(self, config: SignalwireGateway) -> None:
        super().__init__(
            Profile(
                title="SignalWire",
                base=config.base_url or f"https://{config.domain}",
                account=account_path(config),
                suffix="",
                login=basic(config.project_id, config.auth_token),
                is_own=frozenset([f"https://{config.domain}", FILES]).__contains__,
                faults=FAULTS,
                wrong_credentials=_CREDENTIALS,
                no_account=_NO_ACCOUNT,
                most_media=8,
                date="%Y-%m-%d",
            )
        )
        self._config = config

    @property
    def signs(self) -> bool:
        """See `Dialect.signs`."""
        return bool(self._config.signing_key)

    def authentic(self, hook: Hook) -> bool:
        """See `Dialect.authentic`."""
        given = [
            hook.headers.get(name, "").strip().encode("utf-8", "surrogatepass")
            for name in (
                "x-signalwire-sha256-signature",
                "x-signalwire-signature",
                "x-twilio-signature",
            )
        ]
        if not any(given):
            return False
        signed = _signed(hook)
        is_authentic = False
        for secret in self._config.signing_key:
            for address in addresses(hook, any_port=False):
                raw = signature(secret, address, hook.body, "sha256").encode()
                is_authentic |= hmac.compare_digest(raw, given[0])
                made = [signature(secret, address, hook.body, "sha1").encode()]
                if signed is not None:
                    made.append(form_signature(secret, address + signed).encode())
                for each in made:
                    is_authentic |= hmac.compare_digest(each, given[1])
                    is_authentic |= hmac.compare_digest(each, given[2])
        return is_authentic

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """See `Dialect.media_headers`."""
        if not self.is_own(url):
            return [{}]
        # Only projects with protected media want credentials; where the files themselves are
        # kept, the token alone is said to count.
        tries: list[Mapping[str, str]] = [{}, self.profile.login]
        if url.lower().startswith(f"{FILES}/") or self.profile.base == self._config.base_url:
            tries.append({"Authorization": f"Bearer {self._config.auth_token}"})
        return tries


def _signed(hook: Hook) -> str | None:
    """Return the values of a form as they are signed; None if the body is not covered by them."""
    kind = hook.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    try:
        told = dict(hook.arguments).get("bodySHA256")
        if told is not None:
            body = hashlib.sha256(hook.body).hexdigest().encode()
            if not hmac.compare_digest(body, told.encode("utf-8", "surrogatepass")):
                return None
        if hook.method != "POST" or not hook.body:
            return ""
        if kind in (FORM, ""):
            return joined(hook.form, distinct=False)
        return None if told is None else ""
    except Malformed:
        return None
