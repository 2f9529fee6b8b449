"""
Joins the parts of a long text, for firmware that hands on each part as a text of its own.

The protocol carries no part numbers, so this is a guess and off by default: a text that fills a
part to the last character is likely to go on in the next text from the same sender.  Pure; the time
is an argument.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator

from attrs import define, field

from smsbridge.core.segments import Encoding, count

__all__ = ["Joined", "Joiner", "Part", "is_full"]

#: The senders of a line that are waited for at once; more are handed on unjoined.
_MOST_SENDERS = 16
_MOST_PARTS = 20


def is_full(text: str) -> bool:
    """Tell whether a text fills one part of several (3GPP TS 23.040 9.2.3.24.1) to its end."""
    size = count(text)
    if size.encoding is Encoding.GSM7 and size.units in (152, 153):
        return True  # 152: the next character takes two septets
    utf16_units = len(text.encode("utf-16-le", "surrogatepass")) // 2
    return utf16_units == 67 or (utf16_units == 66 and size.encoding is Encoding.UCS2)


@define
class Part:
    """One part, and how its push is acknowledged."""

    recvid: int
    text: str
    ack: Callable[[], None]


@define
class Joined:
    """Parts that make one text, as far as they have come."""

    sender: str
    until_s: float
    parts: list[Part] = field(factory=list)

    @property
    def text(self) -> str:
        """The text; devices count their pushes down, so the highest number is the first part."""
        return "".join(part.text for part in self._ordered())

    @property
    def first_recvid(self) -> int:
        """The number of the first part."""
        return self._ordered()[0].recvid

    def _ordered(self) -> list[Part]:
        return sorted(self.parts, key=lambda part: -part.recvid)


class Joiner:
    """Holds the unfinished texts of one line."""

    def __init__(self) -> None:
        self._held: dict[str, Joined] = {}

    def __bool__(self) -> bool:
        return bool(self._held)

    def take(self, sender: str, part: Part, now_s: float, within_s: float) -> Joined | None:
        """
        Take a text; returns what is complete by it, or None when it must wait for more.

        A repeat of a part that is held changes nothing.
        """
        held = self._held.get(sender)
        if held is None:
            joined = Joined(sender, now_s + within_s, [part])
            if not is_full(part.text) or len(self._held) >= _MOST_SENDERS:
                return joined
            self._held[sender] = joined
            return None
        if any(each.recvid == part.recvid and each.text == part.text for each in held.parts):
            return None
        held.parts.append(part)
        if is_full(part.text) and len(held.parts) < _MOST_PARTS:
            return None
        del self._held[sender]
        return held

    def put_back(self, joined: Joined, until_s: float) -> None:
        """Hold a text again that could not be stored; what came meanwhile goes behind it."""
        newer = self._held.pop(joined.sender, None)
        if newer is not None:
            joined.parts.extend(newer.parts)
        joined.until_s = until_s
        self._held[joined.sender] = joined

    def due(self, now_s: float) -> Iterator[Joined]:
        """Yield and forget what has waited long enough."""
        for sender in [each for each, held in self._held.items() if held.until_s <= now_s]:
            yield self._held.pop(sender)
