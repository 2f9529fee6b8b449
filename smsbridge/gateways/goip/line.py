"""
What is known of one line (a channel of a box) right now: where it is, whether it can take a text,
what it is doing.  It decides on nothing that concerns a message; that is `gateway`.
"""

from __future__ import annotations

from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from typing import Final, NamedTuple

from attrs import define, field

from smsbridge.core.message import Call
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.config import GoipLine, is_within
from smsbridge.gateways.goip.exchange import Request, Sending
from smsbridge.gateways.goip.protocol import Address, GoipProtocol

__all__ = [
    "AFTER",
    "CLOSED_FOR",
    "EarlyReport",
    "LiveLine",
    "OpenCall",
    "Presence",
    "Signal",
    "Submission",
    "Submitted",
]


class Presence(Enum):
    """Whether a line can take a text."""

    UNSEEN = "never seen"  # no valid keepalive yet
    UP = "ready"  # reports, registered in the network
    LOGGED_OUT = "not registered in the network"  # reports, but has no network
    SILENT = "silent"  # reported once, and does not any more
    DEAF = "does not answer commands"  # reports, but what we write has no answer
    LOCKED = "refuses its password"  # reports, but refuses our password


class Signal(Enum):
    """What changes a line's presence."""

    LOGIN = auto()  # keepalive, registered
    LOGOUT = auto()  # keepalive, not registered
    SILENCE = auto()  # no keepalive for too long
    NO_ANSWER = auto()  # a text could not be handed over
    NETWORK_GONE = auto()  # the device said GSM_LOGOUT
    WRONG_PASSWORD = auto()  # the device said PASSWORD
    UNLOCK = auto()  # the box restarted: what it refused before it may take now
    FORGET = auto()  # id or password changed in the configuration


_P = Presence

#: Signal -> presence before -> presence after; what is not named stays.
AFTER: Final[dict[Signal, dict[Presence, Presence]]] = {
    Signal.LOGIN: dict.fromkeys((_P.UNSEEN, _P.LOGGED_OUT, _P.SILENT, _P.DEAF), _P.UP),
    Signal.LOGOUT: dict.fromkeys((_P.UNSEEN, _P.UP, _P.SILENT, _P.DEAF), _P.LOGGED_OUT),
    Signal.SILENCE: dict.fromkeys((_P.UP, _P.LOGGED_OUT, _P.DEAF, _P.LOCKED), _P.SILENT),
    Signal.NO_ANSWER: {_P.UP: _P.DEAF},
    Signal.NETWORK_GONE: {_P.UP: _P.LOGGED_OUT},
    Signal.WRONG_PASSWORD: dict.fromkeys((_P.UP, _P.LOGGED_OUT, _P.DEAF), _P.LOCKED),
    Signal.UNLOCK: {_P.LOCKED: _P.UNSEEN},
    Signal.FORGET: dict.fromkeys(_P, _P.UNSEEN),
}

#: Why a lane is closed: reason and sentence.
CLOSED_FOR: Final[dict[Presence, tuple[str, str]]] = {
    _P.UNSEEN: ("peer-down", "The GoIP channel has not reported yet."),
    _P.LOGGED_OUT: ("line-down", "The SIM is not registered in the network."),
    _P.SILENT: ("peer-down", "The GoIP channel does not report any more."),
    _P.DEAF: ("peer-down", "The GoIP channel reports, but does not answer."),
    _P.LOCKED: ("credentials", "The GoIP channel refuses the password of the configuration."),
}

#: How many pushes of a line are remembered to recognize their repeats.
_REMEMBERED_PUSHES = 32


@define
class OpenCall:
    """A call in progress, or one that has ended and may still be told its duration or cause."""

    incoming: bool
    number: str
    started_s: float
    connected_s: float | None = None
    ended_s: float | None = None
    duration_s: int | None = None
    cause: str | None = None
    acks: dict[tuple[str, int], Callable[[], None]] = field(
        factory=dict
    )  # wanted once it is stored

    @property
    def complete(self) -> bool:
        """Whether nothing more will be told of it."""
        return self.ended_s is not None and self.duration_s is not None and self.cause is not None

    def logged(self, line: str) -> Call:
        """Return it as a row of the call log."""
        duration_s = self.duration_s
        if duration_s is None and self.connected_s is not None and self.ended_s is not None:
            duration_s = max(0, int(self.ended_s - self.connected_s))
        return Call(
            line=line,
            incoming=self.incoming,
            number=self.number,
            started_at_ms=int(self.started_s * 1000),
            duration_s=duration_s,
            cause=self.cause or "",
        )


class EarlyReport(NamedTuple):
    """A delivery report that came before the answer to the text it is about."""

    event: codec.DeliveryReport
    address: Address
    socket: GoipProtocol
    since_s: float


@define(eq=False)
class LiveLine:
    """
    One line.

    It is the `Channel` of its exchanges: they write through it, to the address of the last valid
    keepalive and to no other.
    """

    config: GoipLine
    lane: str
    secret: bytes = field(repr=False)
    presence: Presence = Presence.UNSEEN
    address: Address | None = None
    socket: GoipProtocol | None = field(default=None, repr=False)
    pinned_host: str = ""
    last_seen_s: float | None = None
    keepalive_number: int = 0
    # What the device told.
    raw_number: str = ""  # as in the keepalive
    number: str = ""
    signal_dbm: int | None = None
    operator: str = ""
    imei: str = ""
    imsi: str = ""
    iccid: str = ""
    call_state: str = ""
    asked_number: bool = False
    # What goes on.
    busy: bool = False
    queue: deque[Callable[[], None]] | None = None
    sending: Sending | None = None
    ussd_waits: bool = False
    cells: Request | None = None
    one_shot_works: bool | None = None  # None: not tried yet
    call: OpenCall | None = None
    early: dict[int, EarlyReport] | None = None
    _recent: deque[tuple[str, int]] | None = None
    _stored: deque[tuple[int, int]] | None = None

    @property
    def label(self) -> str:
        """The NAME of its section."""
        return self.config.label

    @property
    def password(self) -> str:
        """The channel's password."""
        return self.config.password

    @property
    def reachable(self) -> bool:
        """Whether the address is that of a device that reports."""
        return self.presence is not Presence.UNSEEN and self.presence is not Presence.SILENT

    @property
    def ready(self) -> bool:
        """Whether it can take a text."""
        return self.presence is Presence.UP and self.config.enabled

    def closed_for(self) -> tuple[str, str] | None:
        """Return why it cannot take a text, None if it can."""
        if not self.config.enabled:
            return "line-disabled", ""
        return CLOSED_FOR.get(self.presence)

    def allows(self, host: str) -> bool:
        """Tell whether the device may send from there."""
        if self.config.pin_address and self.pinned_host:
            return host == self.pinned_host
        return not self.config.sources or is_within(host, self.config.sources)

    def write(self, datagram: bytes) -> None:
        """Send to the device, if it has proved lately who and where it is."""
        if self.socket is not None and self.address is not None and self.reachable:
            self.socket.send(datagram, self.address)

    # One thing at a time: a modem sends one text or speaks USSD.

    def acquire(self, work: Callable[[], None]) -> None:
        """Run `work` when the line is free; it ends with `release`."""
        if self.busy:
            if self.queue is None:
                self.queue = deque()
            self.queue.append(work)
            return
        self.busy = True
        work()

    def release(self) -> None:
        """Let the next one begin."""
        self.busy = False
        if self.queue:
            self.acquire(self.queue.popleft())

    # Repeats of pushes that change what we know here.

    def is_repeat(self, verb: str, recvid: int) -> bool:
        """Tell whether this push was seen lately, and remember it."""
        if self._recent is None:
            self._recent = deque(maxlen=_REMEMBERED_PUSHES)
        if (verb, recvid) in self._recent:
            return True
        self._recent.append((verb, recvid))
        return False

    def has_stored(self, recvid: int, sender: str, text: str) -> bool:
        """Tell whether this part of a text was stored lately."""
        return self._stored is not None and (recvid, hash((sender, text))) in self._stored

    def note_stored(self, recvid: int, sender: str, text: str) -> None:
        """Remember a part that was stored as part of a longer text."""
        if self._stored is None:
            self._stored = deque(maxlen=_REMEMBERED_PUSHES)
        self._stored.append((recvid, hash((sender, text))))

    def restarted(self) -> None:
        """Forget what a restart of the device makes void: its numbering begins anew."""
        self._recent = None


class Submission(NamedTuple):
    """A text that the network took."""

    delivery_id: str
    destination: str
    at_s: float


class Submitted:
    """
    Which delivery a delivery report is about, for the newest texts of all lines of a gateway.

    Devices number texts by line, and begin anew after 256 or so; the newest counts.  What is not
    found here is looked for in the store, which needs no bound.
    """

    def __init__(self, most: int = 16384, for_s: float = 3600.0) -> None:
        self._most = most
        self._for_s = for_s
        self._texts: dict[tuple[str, int], Submission] = {}

    def __len__(self) -> int:
        return len(self._texts)

    def remember(self, line: str, sms_no: int, submission: Submission) -> None:
        """Note a text under its number."""
        key = (line, sms_no)
        texts = self._texts
        texts.pop(key, None)  # so that it stands at the young end
        texts[key] = submission
        if len(texts) > self._most:
            del texts[next(iter(texts))]

    def find(self, line: str, sms_no: int, number: str, now_s: float) -> str:
        """
        Return the delivery with that number, or ''.

        :param number: the recipient as the report has it, often in another form, or ''.
        """
        found = self._texts.get((line, sms_no))
        if found is None or now_s - found.at_s > self._for_s:
            return ""
        if number and number[-6:] != found.destination[-6:]:
            return ""
        return found.delivery_id
