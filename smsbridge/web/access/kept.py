"""Sessions and tokens in memory, so that most requests cost no read."""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Awaitable, Callable
from typing import Final, Generic, TypeVar

from attrs import define

__all__ = ["FRESH_S", "Kept", "Known"]

#: How long a value is taken from memory; another node may have ended it meanwhile.
FRESH_S: Final = 300.0
_MOST: Final = 10_000

T = TypeVar("T")


@define
class Known(Generic[T]):
    """A value in memory; who changes it changes it for all."""

    value: T
    read_at_s: float


class Kept(Generic[T]):
    """
    What was read lately, by digest, the last read ones.

    :param seconds: a clock that never goes back.
    :param read: reads the value of a digest; None if there is none.
    """

    def __init__(
        self, seconds: Callable[[], float], read: Callable[[str], Awaitable[T | None]]
    ) -> None:
        self._seconds = seconds
        self._read = read
        self._known: OrderedDict[str, Known[T]] = OrderedDict()
        self._gone: OrderedDict[str, None] = OrderedDict()  # so that no late read revives them

    def __contains__(self, digest: str) -> bool:
        return digest in self._known

    def peek(self, digest: str) -> T | None:
        """Return what is in memory, fresh or not."""
        known = self._known.get(digest)
        return None if known is None else known.value

    async def find(self, digest: str) -> Known[T] | None:
        """Return a value, read anew where it is not fresh; None if there is none."""
        known = self._known.get(digest)
        if known is not None and self._seconds() - known.read_at_s <= FRESH_S:
            return known
        value = await self._read(digest)
        if value is None or digest in self._gone:
            self.drop(digest)
            return None
        return self.keep(digest, value)

    def keep(self, digest: str, value: T) -> Known[T]:
        """Take a value that was read or made just now."""
        known = self._known[digest] = Known(value, self._seconds())
        self._known.move_to_end(digest)
        while len(self._known) > _MOST:
            self._known.popitem(last=False)
        return known

    def drop(self, digest: str) -> None:
        """Read it anew when it is wanted again."""
        self._known.pop(digest, None)

    def end(self, digest: str) -> None:
        """It was ended: it is gone for good, whatever a read under way brings."""
        self.drop(digest)
        self._gone[digest] = None
        while len(self._gone) > _MOST:
            self._gone.popitem(last=False)
