"""Who asks, as every operation of the API sees it."""

from __future__ import annotations

from enum import StrEnum

from attrs import frozen

from smsbridge.core.directory import Person, World
from smsbridge.core.threads import Viewer

__all__ = ["Caller", "Scope"]


class Scope(StrEnum):
    """What a token allows; a browser that is logged in has all that its person may."""

    READ = "read"  # messages, conversations, lines, calls, contacts
    SEND = "send"  # texts and USSD codes, which cost money
    MANAGE = "manage"  # contacts, blocked numbers, archive, delete, tokens
    ADMIN = "admin"  # the queue, people, the log; only for a person with `admin = yes`


@frozen(kw_only=True)
class Caller:
    """
    One who proved who it is.

    :ivar name: of the token, or the session's id; it keys rates and idempotency.
    :ivar only_lines: the lines that a token is bound to; empty means all of the person.
    :ivar until_ms: when a token ends; None for one that has no end.
    """

    person: Person
    name: str
    scopes: frozenset[Scope]
    only_lines: tuple[str, ...] = ()
    by_session: bool = False
    until_ms: int | None = None

    @property
    def label(self) -> str:
        """Return the person's name."""
        return self.person.label

    @property
    def admin(self) -> bool:
        """Whether operators' things are allowed."""
        return self.person.admin and Scope.ADMIN in self.scopes

    @property
    def writes_to_persons(self) -> bool:
        """Whether what goes from person to person is this caller's: a line's token has none."""
        return not self.only_lines

    def sends_on(self) -> tuple[str, ...]:
        """Name the lines that this caller may send on; the first is the default."""
        return tuple(
            line for line in self.person.lines if not self.only_lines or line in self.only_lines
        )

    def viewer(self, world: World) -> Viewer:
        """Return what this caller may see now."""
        directory = world.directory
        lines = list(self.person.lines)
        if self.person.fallback:
            lines += [line for line in directory.lines if line not in directory.persons_of_line]
        return Viewer(
            self.person.label,
            tuple(line for line in lines if not self.only_lines or line in self.only_lines),
            world.book.of(self.person.label).blocked,
            internal=self.writes_to_persons,
        )
