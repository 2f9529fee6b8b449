"""
What is Twilio's own: addresses, credentials, the signature of its webhooks, and its codes.

Sources: Twilio, "Messages resource", "Webhooks security", "Error and warning dictionary", "Advanced
opt-out", API version 2010-04-01.  Signature of a webhook::

    X-Twilio-Signature: base64(HMAC-SHA1(auth token, address + values of the form by name))
    X-Twilio-Webhooks-Signature-Settings: key=ID,algorithm=HMAC_SHA256     (with a shared key)

The address is the one that is set in the console, with its query; a body that is no form is covered
by ``bodySHA256`` in that query.  There is no time in it: repeats are known by the MessageSid.
"""

from __future__ import annotations

import hashlib
import hmac
import re
from base64 import b64encode
from collections.abc import Mapping, Sequence
from typing import ClassVar, Final, Literal
from urllib.parse import quote

from smsbridge.gateways.twilio.config import TwilioGateway
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

__all__ = ["BASE", "FAULTS", "TwilioDialect", "account_path", "signature"]

BASE: Final = "https://api.twilio.com"
#: Regions and edges put words of their own in between.
_HOSTS: Final = re.compile(r"https://api(\.[a-z0-9-]+){0,2}\.twilio\.com")

_HASHES: Final = {"HMAC_SHA1": "sha1", "HMAC_SHA256": "sha256"}

#: The words that Twilio itself answers, unless a messaging service has words of its own.
_STOP: Final = frozenset(
    ["STOP", "UNSUBSCRIBE", "END", "QUIT", "STOPALL", "REVOKE", "OPTOUT", "CANCEL"]
)
_START: Final = frozenset(["START", "UNSTOP", "YES"])
_HELP: Final = frozenset(["HELP", "INFO"])
#: Numbers whose texts are stopped by the carriers' network, which knows one word each.
_TOLL_FREE: Final = re.compile(r"\+18(00|33|44|55|66|77|88)[0-9]{7}")

_CREDENTIALS: Final = mend(
    "credentials",
    "Twilio refuses the credentials; mend account_sid, and key_sid with key_secret or auth_token.",
)
_NO_ACCOUNT: Final = mend(
    "credentials", "Twilio does not know this account; mend account_sid, or base_url."
)
_NOT_ACTIVE: Final = mend(
    "no-credit",
    "The account at Twilio is suspended or not active; see in its console what it waits for.",
)
_NOT_OURS: Final = mend(
    "not-permitted",
    "Twilio does not let this account text from the line's number; mend 'number', or buy it.",
    "line",
)
_UNREGISTERED: Final = mend(
    "not-permitted",
    "Carriers refuse the line's number until it is registered; finish that in Twilio's console "
    "(A2P 10DLC campaign, or toll-free verification).",
    "line",
)
_FAILED_FETCH: Final = refuse(
    "bad-file",
    "Twilio could not fetch the attachment; public_url must be reachable from the internet.",
)

#: What Twilio's codes mean, in answers and in status calls.
FAULTS: Final[Mapping[int, Fault]] = {
    # The account.
    10001: _NOT_ACTIVE,
    10002: mend("not-permitted", "A trial account at Twilio cannot do this.", ""),
    20003: _CREDENTIALS,
    20005: _NOT_ACTIVE,
    20006: mend("not-permitted", "Twilio denies this account or key access to messaging."),
    20008: mend("credentials", "These are Twilio's test credentials; texts need the real ones."),
    20403: mend("not-permitted", "Twilio denies this account or key access to messaging."),
    20404: _NO_ACCOUNT,
    20500: unclear(),
    20503: unclear(),
    20504: unclear(),
    30002: _NOT_ACTIVE,
    30037: mend("not-permitted", "Twilio has switched off sending for this account."),
    21408: mend(
        "not-permitted",
        "Texts to that country are not enabled; the operator allows them in Twilio's console, "
        "Messaging, Geo permissions.",
        "",
    ),
    21608: mend(
        "not-permitted",
        "A trial account at Twilio texts only numbers that were verified in its console.",
        "",
    ),
    21219: mend(
        "not-permitted",
        "A trial account at Twilio texts only numbers that were verified in its console.",
        "",
    ),
    21267: mend("not-permitted", "A trial account at Twilio cannot text from a name.", "line"),
    21609: mend(
        "rejected", "Twilio cannot call the address in public_url; its host may have no underscore."
    ),
    30018: mend("not-permitted", "That country wants senders to be registered first.", ""),
    30024: mend("not-permitted", "The recipient's carrier does not know the line's number.", ""),
    30040: mend("not-permitted", "That country wants senders to be registered first.", ""),
    30044: refuse("too-long", "A trial account at Twilio cannot send a text as long as this."),
    # Our number.
    14108: _NOT_OURS,
    21212: _NOT_OURS,
    21601: _NOT_OURS,
    21603: _NOT_OURS,
    21606: _NOT_OURS,
    21607: _NOT_OURS,
    21621: mend("not-permitted", "The line's number has no MMS; set 'mms = link' for it.", ""),
    21622: mend("not-permitted", "The account at Twilio has no MMS; set 'mms = link'.", ""),
    21659: _NOT_OURS,
    21660: _NOT_OURS,
    21661: _NOT_OURS,
    21701: _NOT_OURS,
    21703: _NOT_OURS,
    21704: _NOT_OURS,
    30032: _UNREGISTERED,
    30033: _UNREGISTERED,
    30034: _UNREGISTERED,
    30035: _UNREGISTERED,
    # The recipient.
    14111: refuse("invalid-number"),
    21211: refuse("invalid-number"),
    21214: refuse("invalid-number"),
    21217: refuse("invalid-number"),
    21265: refuse("unroutable", "Texts to short codes are not possible from this line."),
    21266: refuse("invalid-number", "This is the line's own number."),
    21268: refuse("unroutable", "Premium and information numbers cannot be texted."),
    21604: refuse("invalid-number"),
    21610: refuse("opted-out"),
    21612: refuse("unroutable", "There is no way from this line to that number."),
    21614: refuse("invalid-number", "That number is not a mobile phone's."),
    21635: refuse("unroutable", "That number is a landline, which cannot be texted."),
    21910: refuse("unroutable", "There is no way from this line to that number."),
    # The text.
    21602: refuse("empty"),
    21605: refuse("too-long"),
    21617: refuse("too-long"),
    21618: refuse("filtered"),
    21619: refuse("empty"),
    21620: refuse("bad-file", "Twilio cannot use the address of the attachment; see public_url."),
    21623: refuse("media-unsupported", "One message has 10 files at most; send several messages."),
    21624: refuse("rejected"),
    21627: refuse("rejected"),
    11200: _FAILED_FETCH,
    11205: _FAILED_FETCH,
    11210: _FAILED_FETCH,
    11220: _FAILED_FETCH,
    11237: _FAILED_FETCH,
    11751: refuse("too-large"),
    12300: refuse("media-unsupported", "Twilio does not carry attachments of this type."),
    30011: refuse("media-unsupported", "The recipient's network does not take this MMS."),
    30019: refuse("too-large", "The attachment is too large for the recipient's network."),
    # Too many.
    14107: slower("line"),
    20429: slower("gateway"),
    21611: slower("line", 60.0),
    30001: slower("line", 60.0),
    30022: slower("line", 60.0),
    30023: slower("line", 3600.0, "daily-cap"),
    30027: slower("line", 3600.0, "daily-cap"),
    63018: slower("gateway"),
    63038: quota("The account at Twilio has sent as many texts as it may in a day."),
    # What became of it on its way.
    30003: refuse("unreachable"),
    30004: refuse("blocked"),
    30005: refuse("unknown-subscriber"),
    30006: refuse("unroutable", "That number is a landline, or its network cannot be reached."),
    30007: refuse("filtered"),
    30008: refuse("network"),
    30009: refuse("network"),
    30010: refuse("rejected", "The text would cost more than the account allows."),
    30012: refuse("expired"),
    30017: refuse("network", "The recipient's network is congested; try again later."),
    30020: refuse("network"),
    30036: refuse("expired"),
    30038: refuse("filtered"),
    30039: refuse("loop"),
    30410: refuse("network"),
    30450: refuse("filtered"),
    30453: refuse("filtered"),
    30500: refuse("network"),
    30883: refuse("filtered"),
}


def account_path(config: TwilioGateway) -> str:
    """Return the path of the account."""
    return f"/2010-04-01/Accounts/{quote(config.account_sid, safe='')}"


def signature(secret: str, text: str, algorithm: str = "HMAC_SHA1") -> str:
    """
    Sign an address with the values behind it.

    :raises KeyError: Twilio has no such algorithm.
    """
    digest = hmac.digest(secret.encode(), text.encode("utf-8", "surrogatepass"), _HASHES[algorithm])
    return b64encode(digest).decode()


class TwilioDialect(LamlDialect):
    """One account at Twilio."""

    kind: ClassVar[str] = "twilio"
    hook_timeout_s: ClassVar[float] = 15.0

    def __init__(self, config: TwilioGateway) -> None:
        super().__init__(
            Profile(
                title="Twilio",
                base=config.base_url or BASE,
                account=account_path(config),
                suffix=".json",
                login=basic(*config.login),
                is_own=lambda origin: _HOSTS.fullmatch(origin) is not None,
                faults=FAULTS,
                wrong_credentials=_CREDENTIALS,
                no_account=_NO_ACCOUNT,
                most_media=10,
                # The description wants a time; days are what is looked at.
                date="%Y-%m-%dT00:00:00Z",
            )
        )
        self._config = config

    @property
    def signs(self) -> bool:
        """See `Dialect.signs`."""
        return bool(self._config.auth_token or self._config.shared_key)

    def authentic(self, hook: Hook) -> bool:
        """See `Dialect.authentic`."""
        given = hook.headers.get("x-twilio-signature", "").strip()
        signed = _signed(hook)
        if not given or signed is None:
            return False
        settings = _settings(hook.headers.get("x-twilio-webhooks-signature-settings", ""))
        algorithm = settings.get("algorithm", "").upper() or "HMAC_SHA1"
        if algorithm not in _HASHES:
            return False
        secrets = self._config.auth_token
        if "key" in settings or "algorithm" in settings:
            secrets = self._config.shared_key
        wanted = given.encode("utf-8", "surrogatepass")
        is_authentic = False
        for secret in secrets:
            for address in addresses(hook, any_port=True):
                made = signature(secret, address + signed, algorithm).encode()
                is_authentic |= hmac.compare_digest(made, wanted)
        return is_authentic

    def opt_out(
        self, ours: str, body: str, fields: Mapping[str, str]
    ) -> Literal["", "stop", "start", "help"]:
        """See `LamlDialect.opt_out`."""
        match fields.get("OptOutType", "").strip().upper():
            case "STOP":
                return "stop"
            case "START":
                return "start"
            case "HELP":
                return "help"
        word = body.strip().upper()
        if _TOLL_FREE.fullmatch(ours):
            return "stop" if word == "STOP" else "start" if word == "UNSTOP" else ""
        if not ours.startswith("+"):
            return ""  # short codes have nothing by themselves
        if word in _START:
            return "start"
        if fields.get("MessagingServiceSid"):
            # It may have words of its own, which OptOutType would have told; what Twilio did
            # about this one shows when it refuses the next text.
            return ""
        return "stop" if word in _STOP else "help" if word in _HELP else ""

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """See `Dialect.media_headers`."""
        if self.is_own(url):
            return [self.profile.login]
        return [{}]


def _signed(hook: Hook) -> str | None:
    """Return what of a call is signed behind its address; None if its body cannot be covered."""
    kind = hook.headers.get("content-type", FORM).partition(";")[0].strip().lower()
    try:
        if hook.method != "POST" or not hook.body:
            return ""
        if kind in (FORM, ""):
            return joined(hook.form, distinct=True)
        told = dict(hook.arguments).get("bodySHA256", "")
    except Malformed:
        return None
    body = hashlib.sha256(hook.body).hexdigest().encode()
    return "" if hmac.compare_digest(body, told.encode("utf-8", "surrogatepass")) else None


def _settings(header: str) -> dict[str, str]:
    """Read ``key=ID,algorithm=NAME``."""
    pairs = (part.partition("=") for part in header.split(","))
    return {name.strip(): value.strip() for name, _, value in pairs if value.strip()}
