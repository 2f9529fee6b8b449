"""
What Vonage's codes mean: of answers to a send, of receipts, and of the Messages API.

Sources: Vonage, "SMS API errors", "Delivery receipts" (``err-code``) and "Messages API errors".
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from typing import Any, Final

from smsbridge.core.message import Status
from smsbridge.provider import verdicts
from smsbridge.provider.dialect import Response, Verdict
from smsbridge.provider.reading import pause_s, words

__all__ = ["MESSAGE_STATUSES", "RECEIPTS", "message_failure", "parts", "problem", "receipt"]

RECEIPTS: Final[Mapping[str, Status]] = {
    "accepted": Status.SENT,
    "buffered": Status.SENT,
    "unknown": Status.SENT,  # nobody will ever say more
    "delivered": Status.DELIVERED,
    "expired": Status.EXPIRED,
    "failed": Status.FAILED,
    "rejected": Status.FAILED,
}

MESSAGE_STATUSES: Final[Mapping[str, Status]] = {
    "submitted": Status.SENT,
    "delivered": Status.DELIVERED,
    "read": Status.DELIVERED,
    "rejected": Status.FAILED,
    "undeliverable": Status.FAILED,
}

#: ``err-code`` of a receipt -> reason, words
_RECEIPT_CODES: Final[Mapping[str, tuple[str, str]]] = {
    "1": ("network", "unknown"),
    "2": ("unreachable", "absent for now"),
    "3": ("unknown-subscriber", "absent for good"),
    "4": ("blocked", "barred by the recipient"),
    "5": ("network", "the number was moved to another carrier"),
    "6": ("filtered", "taken for spam"),
    "7": ("unreachable", "the telephone was busy"),
    "8": ("network", "trouble in the network"),
    # Also of numbers that opted out where Vonage looks after that; whether that is so is not told,
    # so that nothing is remembered.
    "9": ("opted-out", "the number is not allowed, or asked not to be texted"),
    "10": ("invalid-number", "not a valid text or number"),
    "11": ("unroutable", "no way to that number"),
    "12": ("unreachable", "the destination cannot be reached"),
    "13": ("blocked", "the recipient is too young"),
    "14": ("blocked", "blocked by the carrier"),
    "15": ("network", "the recipient has no credit"),
    "39": ("rejected", "the sender may not text that country"),
    "50": ("filtered", "blocked by a rule of the country"),
    "51": ("filtered", "blocked by a rule of the country"),
    "52": ("filtered", "blocked for its words"),
    "53": ("filtered", "the recipient did not agree to be texted"),
    "54": ("filtered", "blocked by a rule of the country"),
    "99": ("network", "general error"),
}

#: Codes of the Messages API -> reason
_MESSAGE_CODES: Final[Mapping[str, str]] = {
    "1000": "throttled",
    "1010": "rejected",
    "1020": "rejected",
    "1030": "network",
    "1040": "unroutable",
    "1050": "blocked",
    "1060": "not-permitted",
    "1070": "no-credit",
    "1080": "not-permitted",
    "1090": "too-long",
    "1100": "network",
    "1120": "not-permitted",
    "1160": "destination-not-allowed",
    "1170": "invalid-number",
    "1180": "unreachable",
    "1190": "unknown-subscriber",
    "1200": "blocked",
    "1210": "network",
    "1220": "filtered",
    "1230": "unreachable",
    "1240": "opted-out",
    "1241": "throttled",
    "1250": "unroutable",
    "1260": "unreachable",
    "1270": "blocked",
    "1280": "blocked",
    "1290": "network",
}

_CREDENTIALS: Final = (
    "Vonage refuses the credentials; put the account's key and secret into 'api_key' and "
    "'api_secret'."
)
_NO_CREDIT: Final = "The account at Vonage has no credit left; top it up."
_BARRED: Final = "Vonage has barred the account from sending; ask its support."
_SENDER: Final = (
    "Vonage does not send from this number; it must be one that the account rents, and registered "
    "for texts where the country wants that."
)
_TRIAL: Final = (
    "The account at Vonage is on trial and may only text numbers that were verified; top it up."
)
_QUOTED: Final = 200


def parts(messages: Sequence[Mapping[str, Any]]) -> Verdict:
    """Judge the parts of a text, as the SMS API answers a send."""
    refused = [each for each in messages if words(each.get("status")) != "0"]
    if not refused:
        remote_id = words(messages[0].get("message-id"))
        if remote_id:
            return verdicts.accepted(remote_id)
        return verdicts.unknown(
            "Vonage took it with an answer that has no id.", detail="status 0 without an id"
        )
    code = words(refused[0].get("status"))
    said = words(refused[0].get("error-text"))
    detail = f"status {code[:20] or 'missing'} {said[:_QUOTED]}".strip()
    if len(refused) < len(messages):
        return verdicts.unknown(
            f"{len(messages) - len(refused)} of {len(messages)} parts of the text were sent, the "
            "rest was refused; send only what is missing.",
            detail=detail,
        )
    return _refusal(code, said, detail)


def _refusal(code: str, said: str, detail: str) -> Verdict:
    match code:
        case "1":
            return verdicts.throttled(_wait_s(said), detail=detail)
        case "10":
            return verdicts.throttled(detail=detail)
        case "3" if re.search(r"\bto\b", said):
            return verdicts.refused("invalid-number", detail=detail)
        case "2" | "3" | "22":
            return verdicts.refused("rejected", detail=detail)
        case "4" | "14" | "32":
            return verdicts.misconfigured("credentials", _CREDENTIALS, detail=detail)
        case "6":
            return verdicts.refused("unroutable", detail=detail)
        case "7":
            return verdicts.refused("blocked", detail=detail)
        case "8" | "11":
            return verdicts.misconfigured("not-permitted", _BARRED, detail=detail)
        case "9":
            return verdicts.misconfigured("no-credit", _NO_CREDIT, detail=detail)
        case "12":
            return verdicts.refused("too-long", detail=detail)
        case "15":
            return verdicts.misconfigured("not-permitted", _SENDER, detail=detail, rests="line")
        case "23":
            return verdicts.misconfigured(
                "rejected",
                "Vonage does not take the address for receipts; look at 'public_url' in [http].",
                detail=detail,
                rests="",
            )
        case "29":
            return verdicts.misconfigured(
                "destination-not-allowed", _TRIAL, detail=detail, rests=""
            )
        case "33":
            return verdicts.refused("unknown-subscriber", detail=detail)
        case "5" | "":
            return verdicts.unknown(detail=detail)
        case _:
            return verdicts.refused("rejected", detail=detail)


def _wait_s(said: str) -> float | None:
    """Return the milliseconds that the words of a throttled answer name, in seconds."""
    found = re.search(r"wait \[\s*([0-9]{1,8})\s*\]", said)
    return int(found[1]) / 1000 if found is not None else None


def problem(response: Response, found: Mapping[str, Any]) -> Verdict:
    """Judge an answer whose status of HTTP is no success; its body is problem+json, if anything."""
    code = _code(found)
    said = ": ".join(
        dict.fromkeys(
            each for each in (words(found.get("title")), words(found.get("detail"))) if each
        )
    )
    detail = f"status {response.status} {code} {said[:_QUOTED]}".replace("  ", " ").strip()
    if code == "1030" or not 400 <= response.status < 500 or response.status == 408:
        return verdicts.unknown(detail=detail)
    if response.status == 401:
        return verdicts.misconfigured("credentials", _CREDENTIALS, detail=detail)
    if response.status == 429 or code in ("1000", "1241"):
        return verdicts.throttled(pause_s(response.headers), detail=detail)
    if response.status == 402 or code == "1070":
        return verdicts.misconfigured("no-credit", _NO_CREDIT, detail=detail)
    if code in ("1060", "1080"):
        return verdicts.misconfigured("not-permitted", _BARRED, detail=detail)
    if code == "1120":
        return verdicts.misconfigured("not-permitted", _SENDER, detail=detail, rests="line")
    if code == "1160":
        return verdicts.misconfigured("destination-not-allowed", _TRIAL, detail=detail, rests="")
    if code == "1100":
        return verdicts.unavailable(detail=detail)
    if code not in _MESSAGE_CODES and response.status == 403:
        return verdicts.misconfigured(
            "not-permitted",
            "Vonage does not let this account send MMS; look at the application and its numbers in "
            "the dashboard.",
            detail=detail,
        )
    reason = _MESSAGE_CODES.get(code, "rejected")
    text = f"Vonage refused the text: {said[:_QUOTED]}" if said and reason == "rejected" else ""
    return verdicts.refused(reason, text, detail=detail)


def _code(error: Mapping[str, Any]) -> str:
    """Return the number behind the address of an error, or in its title."""
    for name, pattern in (("type", r"#([0-9]{3,5})$"), ("title", r"^([0-9]{3,5})$")):
        found = re.search(pattern, words(error.get(name)))
        if found is not None:
            return found[1]
    return ""


def receipt(status: Status, word: str, code: str) -> tuple[str, str]:
    """Return the reason and the words for a receipt."""
    if status not in (Status.FAILED, Status.EXPIRED):
        return "", f"{word}, err-code {code}" if word == "unknown" else ""
    reason, said = _RECEIPT_CODES.get(code, ("network", ""))
    if status is Status.EXPIRED:
        reason = "expired"
    return reason, f"{word}, err-code {code or 'missing'}" + (f": {said}" if said else "")


def message_failure(status: Status, word: str, error: Mapping[str, Any]) -> tuple[str, str]:
    """Return the reason and the words for a status of the Messages API."""
    if status is not Status.FAILED:
        return "", ""
    code = _code(error)
    said = words(error.get("detail")) or words(error.get("title"))
    reason = _MESSAGE_CODES.get(code, "network")
    return reason, f"{word} {code} {said[:_QUOTED]}".replace("  ", " ").strip()
