"""
What an operator sets for demo lines: the keys of ``[gateway:NAME] kind = demo`` and of its lines.
"""

from __future__ import annotations

import attrs
from attrs import frozen

from smsbridge.core.directory import Line
from smsbridge.core.message import Status
from smsbridge.keys import boolean, duration, key

__all__ = ["BEHAVIORS", "DEMO_HELP", "Behavior", "DemoGateway", "DemoLine", "behavior_of"]


@frozen(kw_only=True)
class DemoGateway:
    """``[gateway:NAME]`` of kind ``demo``: a phone network that is made up."""

    delay: float = key(
        "How long the made-up network takes to deliver a text, and its subscriber to answer.",
        default=1.0,
        convert=duration,
    )
    answers: bool = key(
        "Whether the made-up subscribers answer what they get.", default=True, convert=boolean
    )


@frozen(kw_only=True)
class DemoLine(Line):
    """``[line:NAME]`` on a demo gateway: SMS, pictures and group texts; the number is made up."""

    carries_media: bool = attrs.field(default=True, kw_only=True)
    carries_groups: bool = attrs.field(default=True, kw_only=True)


@frozen(kw_only=True)
class Behavior:
    """
    What becomes of a text to a number with a certain ending.

    :ivar refused: the reason with which it is refused at once.
    :ivar late: the first attempt ends without an answer, the second one works.
    :ivar lost: nobody learns whether it was sent.
    :ivar report: what the network says later; None: nothing.
    :ivar answers: how many answers come.
    :ivar picture: whether the answers have one, whatever was sent.
    """

    sentence: str  # for the manual and for who asks
    refused: str = ""
    late: bool = False
    lost: bool = False
    report: Status | None = Status.DELIVERED
    reason: str = ""  # of a report that it failed
    answers: int = 1
    picture: bool = False


_ORDINARY = Behavior(sentence="delivered and answered")

#: By the last two digits of a number.
BEHAVIORS = {
    "55": Behavior(
        sentence="refused at once: no such subscriber", refused="unknown-subscriber", answers=0
    ),
    "56": Behavior(
        sentence="sent, and reported as failed: the phone is switched off",
        report=Status.FAILED,
        reason="unreachable",
        answers=0,
    ),
    "66": Behavior(sentence="sent, and never confirmed or answered", report=None, answers=0),
    "67": Behavior(sentence="may not have been sent: the network says nothing", lost=True),
    "77": Behavior(sentence="the first attempt times out, the next one is delivered", late=True),
    "88": Behavior(sentence="delivered, and not answered", answers=0),
    "98": Behavior(sentence="answered with a picture, whatever was sent", picture=True),
    "99": Behavior(sentence="answered three times", answers=3),
}

DEMO_HELP = "The last two digits of a number decide: " + "; ".join(
    f"{ending} {behavior.sentence}" for ending, behavior in BEHAVIORS.items()
)


def behavior_of(number: str) -> Behavior:
    """Return what becomes of a text to a number."""
    return BEHAVIORS.get(number[-2:], _ORDINARY)
