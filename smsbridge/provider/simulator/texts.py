"""The texts that a played provider keeps, and which of them a request is about; pure."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from smsbridge.keys import declared
from smsbridge.provider.simulator.mirror import AskedList, DoubleText, Mirror

__all__ = ["Texts", "configured"]


class Texts:
    """
    All texts of one account, by the provider's id.

    :param first: the number from which ids are made; smsbridge remembers those of received texts.
    :param most: how many are kept; the oldest are forgotten.
    """

    def __init__(self, mirror: Mirror, first: int = 1, most: int = 100_000) -> None:
        self._mirror = mirror
        self._most = most
        self._by_id: dict[str, DoubleText] = {}
        self._number = first

    def __iter__(self) -> Iterator[DoubleText]:
        return iter(list(self._by_id.values()))

    def __len__(self) -> int:
        return len(self._by_id)

    def name(self, text: DoubleText, now_ms: int) -> None:
        """Give a text the id and the time that it has at the provider, without keeping it."""
        text.remote_id = self._mirror.new_id(self._number, text.mms)
        self._number += 1
        text.created_at_ms = now_ms

    def keep(self, text: DoubleText) -> None:
        """Keep a text that has an id."""
        self._by_id[text.remote_id] = text
        while len(self._by_id) > self._most:
            del self._by_id[next(iter(self._by_id))]

    def find(self, remote_id: str) -> DoubleText | None:
        """Return the text of that id."""
        return self._by_id.get(remote_id)

    def page(self, asked: AskedList) -> tuple[Sequence[DoubleText], bool]:
        """Return the texts asked for, newest first, and whether there are more behind them."""
        found = [text for text in reversed(self._by_id.values()) if _is_asked(text, asked)]
        found.sort(key=lambda text: text.created_at_ms, reverse=True)
        end = asked.offset + asked.most
        return found[asked.offset : end], len(found) > end


def _is_asked(text: DoubleText, asked: AskedList) -> bool:
    ours = (text.sender,) if text.outbound else text.recipients
    others = text.recipients if text.outbound else (text.sender,)
    return (
        (not asked.ours or asked.ours in ours)
        and (not asked.other or asked.other in others)
        and (asked.outbound is None or asked.outbound == text.outbound)
        and text.created_at_ms >= asked.since_ms
        and (not asked.until_ms or text.created_at_ms <= asked.until_ms)
    )


def configured(section_class: Any, values: Mapping[str, str], **more: Any) -> Any:
    """
    Make the value of a section from the texts of its keys, as the configuration reader does.

    :param more: attributes that no key sets.
    :raises ValueError: a value cannot be read.
    :raises KeyError: the section has no such key.
    """
    keys = {key.name: key for key in declared(section_class)}
    arguments = {keys[name].argument: keys[name].convert(text) for name, text in values.items()}
    return section_class(**arguments, **more)
