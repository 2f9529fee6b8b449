"""What a played provider does with a text, by the last two digits of a number."""

from __future__ import annotations

from typing import Final

from attrs import frozen

from smsbridge.provider.simulator.mirror import Fault

__all__ = ["BEHAVIORS", "ORDINARY", "Behavior", "behavior_of"]


@frozen(kw_only=True)
class Behavior:
    """
    What becomes of a text.

    :ivar fault: it is refused so.
    :ivar once: all this happens to the first of two attempts only.
    :ivar kept: the provider has it, whatever it answers.
    :ivar answer: whether the answer comes, the connection is cut instead, or nothing happens.
    :ivar fails: the reason with which it is reported as failed.
    :ivar reported: whether status calls are made at all.
    :ivar early: the status calls are made before the answer.
    :ivar doubled: everything is told twice.
    :ivar reversed: the last status is told first.
    """

    sentence: str
    fault: Fault | None = None
    once: bool = False
    kept: bool = True
    answer: str = "given"  # cut, none
    fails: str = ""
    reported: bool = True
    early: bool = False
    doubled: bool = False
    reversed: bool = False


ORDINARY: Final = Behavior(sentence="taken, and delivered")

#: By the last two digits of the recipient's number (of the sender's, for what arrives).
BEHAVIORS: Final = {
    "40": Behavior(sentence="refused: no such number", fault="bad-number", kept=False),
    "41": Behavior(sentence="taken, and reported as failed", fails="unreachable"),
    "42": Behavior(
        sentence="refused: the recipient does not want texts", fault="opted-out", kept=False
    ),
    "43": Behavior(
        sentence="throttled at the first attempt", fault="throttled", once=True, kept=False
    ),
    "44": Behavior(
        sentence="taken, and the connection cut instead of an answer; never reported",
        answer="cut",
        reported=False,
    ),
    "45": Behavior(
        sentence="the connection cut at the first attempt, and nothing taken",
        answer="cut",
        once=True,
        kept=False,
    ),
    "46": Behavior(sentence="delivered before the answer comes", early=True),
    "47": Behavior(
        sentence="answered with an error 500 at the first attempt, and nothing taken",
        fault="broken",
        once=True,
        kept=False,
    ),
    "48": Behavior(sentence="everything is told twice", doubled=True),
    "49": Behavior(sentence="the last status is told first", reversed=True),
    "50": Behavior(sentence="taken, and never reported", reported=False),
    "51": Behavior(sentence="taken, and never answered", answer="none", reported=False),
    "52": Behavior(
        sentence="taken, and reported as failed: the recipient does not want texts",
        fails="opted-out",
    ),
}


def behavior_of(number: str) -> Behavior:
    """Return what becomes of a text to (or from) a number."""
    return BEHAVIORS.get(number[-2:], ORDINARY)
