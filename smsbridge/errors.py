"""
What can go wrong with a message, as exceptions and as the short reasons that programs read.

A gateway raises or returns `TemporaryFailure` and `PermanentFailure`; the core alone decides
whether to try again.  `Refused` is for the door: what it stops was never stored.
"""

from __future__ import annotations

from typing import Final

__all__ = [
    "REASONS",
    "Failure",
    "PermanentFailure",
    "Refused",
    "TemporaryFailure",
    "UnknownOutcome",
]

#: Every machine-readable reason, with the sentence that explains it when the peer gave none.
REASONS: Final[dict[str, str]] = {
    "invalid-number": "This is not a telephone number that can be texted.",
    "unroutable": "No line can reach this number.",
    "unknown-subscriber": "The network says that this number does not exist.",
    "unreachable": "The telephone is switched off or out of coverage.",
    "blocked": "The network or the recipient blocks texts from this line.",
    "filtered": "The network took this text for spam.",
    "opted-out": "The recipient asked not to be texted.",
    "unknown-person": "Nobody of that name uses this bridge.",
    "unknown-line": "There is no line of that name.",
    "not-permitted": "The configuration does not allow this.",
    "destination-not-allowed": "This line may not text that number.",
    "credentials": "The peer refused our credentials.",
    "no-credit": "The line has no credit or quota left.",
    "throttled": "Too many texts in a short time; try again later.",
    "daily-cap": "The line has sent as much as it may today.",
    "line-down": "The line is not registered in the network.",
    "line-disabled": "The line is switched off in the configuration.",
    "peer-down": "The next hop does not answer.",
    "too-long": "The text is too long for this line.",
    "media-unsupported": "This line cannot carry attachments.",
    "too-large": "The file is too large.",
    "bad-file": "The file cannot be used.",
    "file-gone": "The file is not kept any more.",
    "storage-full": "There is no room left for files.",
    "encrypted": "Phone texts cannot be encrypted; switch encryption off for this contact.",
    "unsupported": "This cannot be sent as a text.",
    "empty": "There is nothing to send.",
    "loop": "The same text keeps going round between two automatic senders; it was stopped.",
    "outcome-unknown": "It may not have been sent: the connection broke before the answer.",
    "expired": "It could not be delivered in time.",
    "rejected": "The next hop refused the text.",
    "network": "The network reported a failure.",
    "dropped": "It was taken back before it was sent.",
    "internal": "Something went wrong inside the bridge; the log has the details.",
}


class Failure(Exception):
    """
    A failure with a machine-readable reason and a sentence for people.

    :param reason: one of `REASONS`.
    :param text: the sentence; by default the one of `REASONS`.
    :param detail: the peer's own words or code, kept for the trace.
    """

    def __init__(self, reason: str, text: str = "", *, detail: str = "") -> None:
        if reason not in REASONS:
            raise ValueError(f"undeclared reason {reason!r}")
        super().__init__(text or REASONS[reason])
        self.reason = reason
        self.text = text or REASONS[reason]
        self.detail = detail

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.reason!r}, {self.text!r}, detail={self.detail!r})"


class Refused(Failure):
    """The door says no: nothing was stored, and the sender is told at once."""


class PermanentFailure(Failure):
    """The next hop refused, and trying again will not help."""


class TemporaryFailure(Failure):
    """
    The next hop did not take it now; trying again later may help.

    :param retry_after_s: the earliest next attempt in seconds, when the peer named one.
    """

    def __init__(
        self, reason: str, text: str = "", *, detail: str = "", retry_after_s: float | None = None
    ) -> None:
        super().__init__(reason, text, detail=detail)
        self.retry_after_s = retry_after_s


class UnknownOutcome(Failure):
    """It may or may not have been sent; nobody can tell, so nobody may send it again by itself."""

    def __init__(self, text: str = "", *, detail: str = "") -> None:
        super().__init__("outcome-unknown", text, detail=detail)
