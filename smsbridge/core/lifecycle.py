"""
What a delivery's status may become: one table, applied by the store inside its transactions.

Known in each state: *queued*, nothing has left; *sending*, the first byte may have left; *sent*,
the next hop has it; *delivered*, the person's device has it; *uncertain*, the outcome of an attempt
is unknown and no peer can be asked.  *failed*, *expired* and *dropped* are ends that an operator or
the sender may reopen with RESEND.
"""

from __future__ import annotations

from enum import Enum, auto
from typing import Final

from smsbridge.core.message import Status

__all__ = ["FINAL", "TRANSITIONS", "Event", "IllegalTransition", "advance", "sources"]


class Event(Enum):
    """What happens to a delivery."""

    CLAIM = auto()  # the dispatcher takes it; nothing has left yet
    RELEASE = auto()  # claimed, but provably nothing left
    RETRY = auto()  # refused for now, or bounced with a wish for later
    TAKEN = auto()  # the next hop took it
    DELIVERED = auto()  # the device took it
    FAIL = auto()  # refused for good
    EXPIRE = auto()  # its time is over
    LOSE = auto()  # nobody can tell what became of the attempt
    DROP = auto()  # the operator removed it
    RESEND = auto()  # the operator or sender wants it sent again, or the peer never had it


class IllegalTransition(ValueError):
    """This event cannot happen to a delivery in this status."""


_Q, _S, _T, _D = Status.QUEUED, Status.SENDING, Status.SENT, Status.DELIVERED
_F, _E, _U, _X = Status.FAILED, Status.EXPIRED, Status.UNCERTAIN, Status.DROPPED

TRANSITIONS: Final[dict[tuple[Status, Event], Status]] = {
    (_Q, Event.CLAIM): _S,
    (_Q, Event.FAIL): _F,
    (_Q, Event.EXPIRE): _E,
    (_Q, Event.DROP): _X,
    (_S, Event.RELEASE): _Q,
    (_S, Event.RETRY): _Q,
    (_S, Event.TAKEN): _T,
    (_S, Event.DELIVERED): _D,
    (_S, Event.FAIL): _F,
    (_S, Event.EXPIRE): _E,
    (_S, Event.LOSE): _U,
    (_T, Event.DELIVERED): _D,
    (_T, Event.FAIL): _F,
    (_T, Event.EXPIRE): _E,
    (_T, Event.RETRY): _Q,
    (_U, Event.TAKEN): _T,
    (_U, Event.DELIVERED): _D,
    (_U, Event.FAIL): _F,
    (_U, Event.EXPIRE): _E,
    (_U, Event.DROP): _X,
    (_U, Event.RESEND): _Q,
    (_F, Event.DELIVERED): _D,  # the network knows better than our last word
    (_F, Event.RESEND): _Q,
    (_E, Event.DELIVERED): _D,
    (_E, Event.RESEND): _Q,
    (_X, Event.RESEND): _Q,
}

#: Nothing more is to be done for a delivery in one of these.
FINAL: Final = frozenset({_D, _F, _E, _X})


def advance(status: Status, event: Event) -> Status:
    """
    Return what `status` becomes through `event`.

    :raises IllegalTransition: the table has no such row; a late or repeated report is a usual
        cause.
    """
    try:
        return TRANSITIONS[status, event]
    except KeyError:
        raise IllegalTransition(f"a delivery that is {status} cannot {event.name}") from None


def sources(event: Event) -> tuple[Status, ...]:
    """Return the statuses in which `event` can happen."""
    return tuple(status for status, happening in TRANSITIONS if happening is event)
