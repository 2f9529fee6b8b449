"""
What the numbers of the network mean for a text: +CMS ERROR codes and TP-Status octets.

Sources: 3GPP TS 27.005 3.2.5 and TS 24.011 annex E (errors), TS 23.040 9.2.3.15 (status).  Many
boxes say 1 for every error, so that 1 is read as "cause unknown" and not as the standard's
"unassigned number".
"""

from __future__ import annotations

from typing import Final

from smsbridge.core.message import Status
from smsbridge.errors import PermanentFailure, TemporaryFailure

__all__ = ["errorstatus_failure", "tp_status"]

#: Codes after which the same text may pass later, with the reason that the sender is told.
_TRANSIENT: Final[dict[int, str]] = {
    1: "network",
    17: "network",
    22: "throttled",
    38: "network",
    41: "network",
    42: "throttled",
    47: "throttled",
    192: "throttled",
    194: "network",
    208: "line-down",
    210: "network",
    211: "network",
    255: "network",
    300: "line-down",
    301: "line-down",
    310: "line-down",
    311: "line-down",
    312: "line-down",
    313: "line-down",
    314: "throttled",
    315: "line-down",
    316: "line-down",
    317: "line-down",
    318: "line-down",
    320: "line-down",
    321: "line-down",
    322: "line-down",
    330: "line-down",
    331: "line-down",
    332: "network",
    340: "network",
    500: "network",
}

#: Codes after which it will not.
_FINAL: Final[dict[int, str]] = {
    8: "blocked",
    10: "blocked",
    21: "rejected",
    27: "unreachable",
    28: "unknown-subscriber",
    29: "blocked",
    30: "unknown-subscriber",
    50: "blocked",
    69: "unsupported",
    81: "rejected",
    95: "rejected",
    96: "rejected",
    97: "rejected",
    98: "rejected",
    99: "rejected",
    111: "rejected",
    127: "rejected",
    144: "unsupported",
    145: "unsupported",
    193: "blocked",
    195: "invalid-number",
    196: "blocked",
    197: "rejected",
    302: "not-permitted",
    303: "unsupported",
    304: "rejected",
    305: "rejected",
}


def errorstatus_failure(code: int | None, words: str) -> TemporaryFailure | PermanentFailure:
    """
    Return what ``errorstatus:N`` of one text means.

    :param code: None if the device gave no number.
    :param words: the device's own words, kept as the detail.
    """
    if code is None:
        return TemporaryFailure("network", detail=words)
    final = _FINAL.get(code)
    if final is None and 128 <= code <= 175:
        final = "rejected"  # the text layer of the network or of the recipient refuses
    if final is not None:
        return PermanentFailure(final, detail=words)
    return TemporaryFailure(_TRANSIENT.get(code, "network"), detail=words)


#: TP-Status that say more than their range does: status and reason.
_TP_FINAL: Final[dict[int, tuple[Status, str]]] = {
    0: (Status.DELIVERED, ""),
    65: (Status.FAILED, "rejected"),
    66: (Status.FAILED, "rejected"),
    67: (Status.FAILED, "unreachable"),
    70: (Status.EXPIRED, "expired"),
    71: (Status.FAILED, "rejected"),
    72: (Status.FAILED, "rejected"),
    97: (Status.FAILED, "unreachable"),
    98: (Status.FAILED, "unreachable"),
    99: (Status.FAILED, "rejected"),
    101: (Status.FAILED, "unreachable"),
}


def tp_status(state: int) -> tuple[Status, str]:
    """
    Return the status and the reason that a delivery report's ``state`` stands for.

    ``SENT`` is an interim word: the network has it and is still trying, or handed it on and cannot
    tell more (1 and 2).
    """
    known = _TP_FINAL.get(state)
    if known is not None:
        return known
    if 0 < state < 64:
        return Status.SENT, ""
    return Status.FAILED, "network"
