"""
Says in XMPP's words why a text did not go: a failure's reason becomes an error type and condition.

The defined conditions and types are those of RFC 6120, 8.3; the reason itself travels beside them
as an application condition for programs.  An unknown outcome has no condition on purpose: an error
or a receipt would both be a lie, the user gets a sentence instead.
"""

from __future__ import annotations

from typing import Final

from attrs import evolve, frozen

from smsbridge.errors import REASONS

__all__ = ["BY_REASON", "Condition", "condition_of"]


@frozen
class Condition:
    """What goes into an ``<error/>``; `reason`, if any, becomes the application condition."""

    type: str  # auth, cancel, modify or wait
    condition: str
    text: str = ""
    reason: str = ""


def _row(kind: str, condition: str, reason: str) -> Condition:
    return Condition(kind, condition, REASONS[reason], reason)


#: The reasons that a user is told as an error; the others of `REASONS` are told otherwise or never.
BY_REASON: Final[dict[str, Condition]] = {
    row.reason: row
    for row in (
        _row("modify", "jid-malformed", "invalid-number"),
        _row("cancel", "item-not-found", "unroutable"),
        _row("cancel", "item-not-found", "unknown-subscriber"),
        _row("wait", "recipient-unavailable", "unreachable"),
        _row("wait", "recipient-unavailable", "expired"),
        _row("cancel", "not-allowed", "blocked"),
        _row("cancel", "policy-violation", "filtered"),
        _row("cancel", "forbidden", "opted-out"),
        _row("auth", "registration-required", "unknown-person"),
        _row("cancel", "item-not-found", "unknown-line"),
        _row("auth", "forbidden", "not-permitted"),
        _row("auth", "forbidden", "destination-not-allowed"),
        _row("wait", "resource-constraint", "no-credit"),
        _row("wait", "policy-violation", "throttled"),
        _row("wait", "resource-constraint", "daily-cap"),
        _row("wait", "remote-server-timeout", "line-down"),
        _row("cancel", "service-unavailable", "line-disabled"),
        _row("wait", "remote-server-timeout", "peer-down"),
        _row("modify", "not-acceptable", "too-long"),
        _row("modify", "not-acceptable", "media-unsupported"),
        _row("modify", "policy-violation", "too-large"),
        _row("modify", "not-acceptable", "bad-file"),
        _row("cancel", "item-not-found", "file-gone"),
        _row("wait", "resource-constraint", "storage-full"),
        _row("modify", "not-acceptable", "encrypted"),
        _row("cancel", "feature-not-implemented", "unsupported"),
        _row("modify", "policy-violation", "empty"),
        _row("wait", "policy-violation", "loop"),
        _row("cancel", "not-allowed", "rejected"),
        _row("wait", "recipient-unavailable", "network"),
        _row("cancel", "not-allowed", "dropped"),
        _row("cancel", "internal-server-error", "internal"),
    )
}
# Which secret is wrong is the operator's business, so the user hears only of an internal fault.
BY_REASON["credentials"] = BY_REASON["internal"]


def condition_of(reason: str, text: str = "") -> Condition | None:
    """
    Return the error for a failure's reason, with `text` instead of the reason's own sentence.

    None means that neither an error nor a receipt may be sent (the outcome is unknown).  A reason
    that this table does not know is told as an internal error, never left out.
    """
    if reason == "outcome-unknown":
        return None
    found = BY_REASON.get(reason, BY_REASON["internal"])
    if text and reason != "credentials":
        return evolve(found, text=text)
    return found
