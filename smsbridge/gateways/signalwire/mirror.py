"""
SignalWire's side of a project, for the simulator and for tests.

Sources: as for `payload`; the words of refusals are this project's own.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, ClassVar
from urllib.parse import urlencode

from smsbridge.core.message import Status
from smsbridge.gateways.signalwire.config import SignalwireGateway
from smsbridge.gateways.signalwire.payload import account_path, form_signature, signature
from smsbridge.provider.dialect import Request
from smsbridge.provider.laml import joined
from smsbridge.provider.simulator.laml import LamlMirror, Nature
from smsbridge.provider.simulator.mirror import DoubleText

__all__ = ["MIRROR", "SignalwireMirror"]

_FIELDS = frozenset(
    [
        *("To", "From", "Body", "MediaUrl", "StatusCallback", "SendAsMms", "ValidityPeriod"),
        *("MessagingServiceSid", "ApplicationSid", "MaxPrice"),
    ]
)


class SignalwireMirror(LamlMirror):
    """One project at SignalWire; see `Mirror`."""

    kind: ClassVar[str] = "signalwire"
    sample: ClassVar[Mapping[str, str]] = {
        "domain": "example.signalwire.com",
        "project_id": "00000000-0000-4000-8000-000000000000",
        "auth_token": "PT-not-a-real-token",
        "signing_key": "PSK-not-a-real-key",
    }

    def __init__(self, config: SignalwireGateway) -> None:
        def sign(address: str, form: Sequence[tuple[str, str]]) -> dict[str, str]:
            if not config.signing_key:
                return {}
            secret = config.signing_key[0]
            body = urlencode(form).encode()
            return {
                "X-SignalWire-Signature": form_signature(
                    secret, address + joined(form, distinct=False)
                ),
                "X-SignalWire-Sha256-Signature": signature(secret, address, body, "sha256"),
            }

        super().__init__(
            Nature(
                account_sid=config.project_id,
                base=config.base_url or f"https://{config.domain}",
                account=account_path(config),
                suffix="",
                more_info="https://developer.signalwire.com/errors#{code}",
                logins=frozenset([(config.project_id, config.auth_token)]),
                refusals={
                    "bad-number": (422, 21211, "The 'To' number is invalid."),
                    "opted-out": (422, 21610, "The recipient blocks this number."),
                    "not-ours": (422, 21210, "The 'From' number is not the project's."),
                    "credentials": (401, 20003, "Authentication failed."),
                    "no-credit": (422, 30002, "The balance is too low."),
                    "throttled": (429, 20429, "Too many requests."),
                    "quota": (422, 35125, "The daily limit of the campaign is reached."),
                    "too-long": (422, 21617, "The body is longer than 1600 characters."),
                    "bad-media": (422, 21620, "The media URL is invalid."),
                },
                not_found=(404, 20404, "The resource was not found."),
                wrong_to=(422, 21211, "The 'To' number is invalid."),
                wrong_from=(422, 21212, "The 'From' number is invalid."),
                empty=(422, 21602, "A body or media is needed."),
                too_many_media=(422, 21623, "There are more than 8 media."),
                bad_url=(422, 21620, "The media URL is invalid."),
                codes={
                    "unreachable": 30003,
                    "blocked": 30004,
                    "unknown-subscriber": 30005,
                    "unroutable": 30006,
                    "filtered": 30007,
                    "opted-out": 21610,
                    "expired": 30001,
                    "bad-file": 11200,
                    "media-unsupported": 12300,
                },
                other_code=30008,
                most_media=8,
                known_fields=_FIELDS,
                shown=_shown,
                number_shown=_number_shown,
                sign=sign,
                new_id=lambda number, mms: f"7c1a5a52-11aa-4c0e-9a55-{number:012x}",
                number_sid=lambda number: f"9a1b0000-22bb-4c0e-9a55-{number:012x}",
                media_sid=lambda sid, number: f"{number:08x}{sid[8:]}",
            ),
        )

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """See `Mirror.report`; an MMS gets no further than *sent*."""
        if status is Status.DELIVERED and text.mms:
            return []
        return super().report(text, status, hook)


def _shown(text: dict[str, Any]) -> dict[str, Any]:
    """Write codes as texts; an MMS gets no further than *sent*."""
    code, status = text["error_code"], text["status"]
    return {
        **text,
        "error_code": None if code is None else str(code),
        "status": "sent" if text["num_media"] and status == "delivered" else status,
    }


def _number_shown(number: dict[str, Any]) -> dict[str, Any]:
    """Add what SignalWire always has."""
    methods = ("sms_fallback_method", "status_callback_method", "voice_fallback_method")
    absent = (
        *("address_sid", "emergency_address_sid", "identity_sid", "sms_application_sid"),
        *("sms_fallback_url", "status_callback", "trunk_sid", "voice_application_sid"),
        *("voice_caller_id_lookup", "voice_fallback_url", "voice_url"),
    )
    return {
        **number,
        **dict.fromkeys(absent),
        **dict.fromkeys((*methods, "voice_method"), "POST"),
        "account_id": number["account_sid"],
        "address_requirements": "none",
        "beta": False,
        "country_code": "US",
        "emergency_status": "Inactive",
        "origin": "signalwire",
    }


MIRROR = SignalwireMirror
