"""
The outcomes that an answer of a provider can mean, one function each.

A provider's folder maps its codes to these and nothing else, so that what happens after a code (is
it sent again, does the line rest, does the operator hear of it) is decided in one place.
"""

from __future__ import annotations

from typing import Literal

from smsbridge.core.message import Sent
from smsbridge.errors import PermanentFailure, TemporaryFailure, UnknownOutcome
from smsbridge.provider.dialect import Verdict

__all__ = [
    "accepted",
    "misconfigured",
    "quota_used",
    "refused",
    "throttled",
    "unavailable",
    "unknown",
]


def accepted(remote_id: str) -> Verdict:
    """The provider has the text and calls it so."""
    return Verdict(outcome=Sent(remote_id))


def refused(reason: str, text: str = "", *, detail: str = "") -> Verdict:
    """
    The provider understood and said no; the sender is told why.

    :param reason: one of `errors.REASONS`; ``opted-out`` is remembered for the line.
    :param text: the sentence for the sender; by default the one of `reason`.
    :param detail: the provider's code and words.
    """
    return Verdict(outcome=PermanentFailure(reason, text, detail=detail))


def misconfigured(
    reason: str,
    text: str,
    *,
    detail: str = "",
    rests: Literal["", "line", "gateway"] = "gateway",
) -> Verdict:
    """
    Something is wrong with the account or its settings: this text fails, the operator is told, and
    what else waits is kept until that is mended.

    :param text: the sentence for the operator: what is wrong and where to mend it.
    :param rests: how far it reaches: only this text (a country that is not enabled), the line, or
        all lines of the account.
    """
    return Verdict(outcome=PermanentFailure(reason, text, detail=detail), rests=rests, alarm=True)


def throttled(
    retry_after_s: float | None = None,
    *,
    detail: str = "",
    rests: Literal["line", "gateway"] = "gateway",
) -> Verdict:
    """Too fast, and surely not taken: the same text is tried again after a pause."""
    return Verdict(
        outcome=TemporaryFailure("throttled", detail=detail, retry_after_s=retry_after_s),
        rests=rests,
        rest_s=retry_after_s,
    )


def quota_used(text: str, *, until_s: float, detail: str = "") -> Verdict:
    """The account has sent what it may for now; everything waits that many seconds."""
    return Verdict(
        outcome=TemporaryFailure("no-credit", text, detail=detail, retry_after_s=until_s),
        rests="gateway",
        rest_s=until_s,
        alarm=True,
    )


def unavailable(retry_after_s: float | None = None, *, detail: str = "") -> Verdict:
    """The provider is not there and surely took nothing."""
    return Verdict(
        outcome=TemporaryFailure("peer-down", detail=detail, retry_after_s=retry_after_s),
        rests="gateway",
        rest_s=retry_after_s,
    )


def unknown(text: str = "", *, detail: str = "") -> Verdict:
    """It may have been taken: it is looked up, and never simply sent again."""
    return Verdict(outcome=UnknownOutcome(text, detail=detail))
