"""Numbers that are out, in memory: what `core.optouts.OptOuts` promises, without a store."""

from __future__ import annotations

from twisted.internet.defer import Deferred, succeed

from smsbridge.core.optouts import OptOut

__all__ = ["FakeOptOuts"]


class FakeOptOuts:
    """
    Keeps numbers in a dict; everything is committed at once.

    :ivar waiting: where set, what the next change waits for.
    """

    def __init__(self) -> None:
        self.out: dict[tuple[str, str], OptOut] = {}
        self.waiting: Deferred[None] | None = None

    def is_out(self, line: str, number: str) -> bool:
        """See `OptOuts.is_out`."""
        return (line, number) in self.out

    def opt_out(self, line: str, number: str, source: str) -> Deferred[bool]:
        """See `OptOuts.opt_out`."""

        def change() -> bool:
            is_new = (line, number) not in self.out
            out = OptOut(line=line, number=number, source=source, since_ms=len(self.out))
            self.out.setdefault((line, number), out)
            return is_new

        if self.waiting is None:
            return succeed(change())
        waiting, self.waiting = self.waiting, None
        return waiting.addCallback(lambda _: change())

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """See `OptOuts.opt_in`."""
        return succeed(self.out.pop((line, number), None) is not None)

    def listed(self) -> list[OptOut]:
        """See `OptOuts.listed`."""
        return list(self.out.values())
