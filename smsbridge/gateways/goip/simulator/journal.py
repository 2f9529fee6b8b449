"""What a simulated box did and saw, so that a test can count and a person can watch; no I/O."""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable

import attrs


@attrs.frozen
class Radiated:
    """A text that left through the air: the proof that it was sent, once."""

    line: str
    num: str
    text: str
    parts: int
    sms_no: int
    sendid: int
    telid: int
    asked_at_s: float
    at_s: float


@attrs.frozen
class Accepted:
    """A server acknowledged a push."""

    line: str
    verb: str
    recvid: int
    sends: int
    took_s: float


@attrs.frozen
class Refused:
    """A server refused a push, which ends its repetition."""

    line: str
    verb: str
    recvid: int
    text: str


@attrs.frozen
class Lost:
    """No server acknowledged a push, and the device gave up."""

    line: str
    verb: str
    recvid: int
    datagram: bytes


@attrs.frozen
class Registered:
    """The SMS server's acceptance of a channel began or ended."""

    line: str
    registered: bool


@attrs.frozen
class GsmChanged:
    """The channel's registration in the mobile network changed."""

    line: str
    state: str


@attrs.frozen
class SendFailed:
    """A text did not leave; ``errorstatus`` is what the server was told."""

    line: str
    num: str
    errorstatus: int


@attrs.frozen
class UssdAsked:
    """A USSD code or choice went to the network, which answered with ``answer`` or failed."""

    line: str
    code: str
    answer: str | None


Happening = Radiated | Accepted | Refused | Lost | Registered | GsmChanged | SendFailed | UssdAsked


class Journal:
    """Counts everything and remembers the newest of what matters, up to ``kept`` of a kind."""

    def __init__(self, kept: int = 100_000) -> None:
        self.kept = kept
        self.observers: list[Callable[[Happening], None]] = []
        self.forget()

    def forget(self) -> None:
        """Empty the memory and set all counters to zero; watchers stay."""
        self.radiated: deque[Radiated] = deque(maxlen=self.kept)
        self.lost: deque[Lost] = deque(maxlen=self.kept)
        self.ussd: deque[UssdAsked] = deque(maxlen=self.kept)
        self.radiated_count = 0
        self.radiated_parts = 0
        self.pushed = 0
        self.repeated = 0
        self.accepted = 0
        self.refused = 0
        self.lost_count = 0
        self.send_failures = 0
        self.repeated_commands = 0
        self.stray_acks = 0
        self.malformed = 0

    def tell(self, happening: Happening) -> None:
        """Hand something to whoever watches."""
        for observer in self.observers:
            observer(happening)

    def note_radiated(self, radiated: Radiated) -> None:
        """Remember a text that was sent."""
        self.radiated.append(radiated)
        self.radiated_count += 1
        self.radiated_parts += radiated.parts
        if self.observers:
            self.tell(radiated)

    def note_lost(self, lost: Lost) -> None:
        """Remember a push that nobody took."""
        self.lost.append(lost)
        self.lost_count += 1
        self.tell(lost)

    def duplicates(self) -> list[tuple[str, str, int]]:
        """Return number, text and count of what was sent to the same number more than once."""
        seen = Counter((entry.num, entry.text) for entry in self.radiated)
        return [(num, text, times) for (num, text), times in seen.items() if times > 1]

    def counters(self) -> dict[str, int]:
        """Return all counters by name."""
        return {
            "radiated": self.radiated_count,
            "radiated_parts": self.radiated_parts,
            "pushed": self.pushed,
            "repeated": self.repeated,
            "accepted": self.accepted,
            "refused": self.refused,
            "lost": self.lost_count,
            "send_failures": self.send_failures,
            "repeated_commands": self.repeated_commands,
            "stray_acks": self.stray_acks,
            "malformed": self.malformed,
        }
