"""Values that are typed at several commands: spans of time, points in time, limits."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Any

import click

__all__ = ["SPAN", "TIME", "TO_LIMIT", "limit_or_all"]


class _Span(click.ParamType[float]):
    """A span of time such as 90d; gives seconds."""

    name = "span"

    def convert(self, value: Any, param: Any, ctx: Any) -> float:
        """Read a span as the configuration spells them."""
        from smsbridge.keys import duration

        if not isinstance(value, str):
            return float(value)
        try:
            return duration(value)
        except ValueError as e:
            self.fail(f"{e}.", param, ctx)


class _Time(click.ParamType[int]):
    """A point in time; gives milliseconds since 1970 UTC."""

    name = "time"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Read an ISO date or time (local unless it names a zone), or a span back from now."""
        from smsbridge.keys import duration

        if isinstance(value, int):
            return value
        now = datetime.now(tz=UTC)
        try:
            return int((now.timestamp() - duration(value)) * 1000)
        except ValueError:
            pass
        try:
            at = datetime.fromisoformat(value.strip())
        except ValueError:
            self.fail(
                f"{value!r} is no time; write for example 2026-11-21, '2026-11-21 14:30' or 2h "
                "for two hours ago.",
                param,
                ctx,
            )
        return int(at.astimezone(UTC).timestamp() * 1000)


class _Limit(click.ParamType[int]):
    """How many; 0 means all."""

    name = "count"

    def convert(self, value: Any, param: Any, ctx: Any) -> int:
        """Read a whole number."""
        text = str(value).strip()
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            self.fail(f"{value!r} is not a whole number; 0 means all.", param, ctx)
        return int(text)


SPAN = _Span()
TIME = _Time()
TO_LIMIT = _Limit()


def limit_or_all(limit: int | None) -> int | None:
    """Take 0 for no limit."""
    return limit or None
