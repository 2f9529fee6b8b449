"""
Twilio's side of an account, for the simulator and for tests.

Sources: as for `payload`; the words of refusals are this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar

from smsbridge.gateways.twilio.config import TwilioGateway
from smsbridge.gateways.twilio.payload import BASE, account_path, signature
from smsbridge.provider.laml import joined
from smsbridge.provider.simulator.laml import LamlMirror, Nature

__all__ = ["MIRROR", "TwilioMirror"]

_FIELDS = frozenset(
    [
        *("To", "From", "Body", "MediaUrl", "StatusCallback", "SendAsMms", "ValidityPeriod"),
        *("MessagingServiceSid", "ApplicationSid", "MaxPrice", "SmartEncoded", "Attempt"),
    ]
)


class TwilioMirror(LamlMirror):
    """One account at Twilio; see `Mirror`."""

    kind: ClassVar[str] = "twilio"
    sample: ClassVar[Mapping[str, str]] = {
        "account_sid": "AC00000000000000000000000000000000",
        "auth_token": "not-a-real-auth-token",
    }

    def __init__(self, config: TwilioGateway) -> None:
        logins = {config.login, *((config.account_sid, token) for token in config.auth_token)}

        def sign(address: str, form: Sequence[tuple[str, str]]) -> dict[str, str]:
            text = address + joined(form, distinct=True)
            if config.auth_token:
                return {"X-Twilio-Signature": signature(config.auth_token[0], text)}
            if not config.shared_key:
                return {}
            settings = "key=webhooks_sharedkey_1,algorithm=HMAC_SHA256"
            return {
                "X-Twilio-Signature": signature(config.shared_key[0], text, "HMAC_SHA256"),
                "X-Twilio-Webhooks-Signature-Settings": settings,
            }

        super().__init__(
            Nature(
                account_sid=config.account_sid,
                base=config.base_url or BASE,
                account=account_path(config),
                suffix=".json",
                more_info="https://www.twilio.com/docs/errors/{code}",
                logins=frozenset(logins),
                refusals={
                    "bad-number": (400, 21211, "The 'To' number is invalid."),
                    "opted-out": (400, 21610, "The recipient has opted out."),
                    "not-ours": (400, 21606, "The 'From' number cannot send texts."),
                    "credentials": (401, 20003, "Authentication failed."),
                    "no-credit": (403, 20005, "The account is not active."),
                    "throttled": (429, 20429, "Too many requests."),
                    "quota": (429, 63038, "The daily limit of the account is reached."),
                    "too-long": (400, 21617, "The body is longer than 1600 characters."),
                    "bad-media": (400, 21620, "The media URL is invalid."),
                },
                not_found=(404, 20404, "The resource was not found."),
                wrong_to=(400, 21211, "The 'To' number is invalid."),
                wrong_from=(400, 21212, "The 'From' number is invalid."),
                empty=(400, 21619, "A body or media is needed."),
                too_many_media=(400, 21623, "There are more than 10 media."),
                bad_url=(400, 21620, "The media URL is invalid."),
                codes={
                    "unreachable": 30003,
                    "blocked": 30004,
                    "unknown-subscriber": 30005,
                    "unroutable": 30006,
                    "filtered": 30007,
                    "opted-out": 21610,
                    "expired": 30036,
                    "bad-file": 11200,
                    "media-unsupported": 12300,
                },
                other_code=30008,
                most_media=10,
                known_fields=_FIELDS,
                shown=_shown,
                number_shown=dict,
                sign=sign,
                new_id=lambda number, mms: f"{'MM' if mms else 'SM'}{number:032x}",
                number_sid=lambda number: f"PN{number:032x}",
                media_sid=lambda sid, number: f"ME{sid[-24:]}{number:08x}",
            ),
        )


def _shown(text: dict[str, Any]) -> dict[str, Any]:
    """Write counts as texts."""
    return {
        **text,
        "num_segments": str(text["num_segments"]),
        "num_media": str(text["num_media"]),
    }


MIRROR = TwilioMirror
