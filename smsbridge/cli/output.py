"""What commands print for people: tables that fit the terminal, times, and texts made harmless."""

from __future__ import annotations

import os
import re
import shutil
import sys
import textwrap
import unicodedata
from collections.abc import Iterable, Iterator, Sequence
from datetime import UTC, datetime
from typing import BinaryIO

import click

__all__ = [
    "age",
    "binary",
    "harmless",
    "local_time",
    "paragraph",
    "print_table",
    "rows_of",
    "status_color",
    "style",
    "width_of",
]

_CONTROL = re.compile(
    # C0 and C1 controls, and what turns the direction of writing: a text that somebody sent must
    # not be able to command the operator's terminal or hide what it says.
    "[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028\u2029\u202a-\u202e\u2066-\u2069\ud800-\udfff]"
)
_COLORS = {
    "delivered": "green",
    "sent": "green",
    "sending": "yellow",
    "queued": "yellow",
    "uncertain": "magenta",
    "failed": "red",
    "expired": "red",
    "up": "green",
    "down": "red",
}


def colored() -> bool:
    """Tell whether colors are wanted: on a terminal, unless NO_COLOR says otherwise."""
    return sys.stdout.isatty() and not os.environ.get("NO_COLOR")


def binary() -> BinaryIO:
    """Return the standard output for bytes."""
    return sys.stdout.buffer


def style(text: str, **how: object) -> str:
    """Style a text where colors are wanted."""
    return click.style(text, **how) if colored() else text  # type: ignore[arg-type]


def status_color(status: str) -> str | None:
    """Return the color of a status, or None."""
    return _COLORS.get(status)


def harmless(text: str) -> str:
    """Write a text on one line, with everything visible that a terminal would obey."""

    def visible(found: re.Match[str]) -> str:
        code = ord(found[0])
        if found[0] == "\n":
            return "\N{RETURN SYMBOL}"
        return chr(0x2400 + code) if code < 0x20 else "\N{REPLACEMENT CHARACTER}"

    return _CONTROL.sub(visible, text.replace("\r\n", "\n"))


def width_of(text: str) -> int:
    """Return how many columns a terminal needs for a text."""
    if text.isascii():
        return len(text)
    return sum(
        0
        if unicodedata.combining(each) or each in "\u200d\ufe0f"
        else 2
        if unicodedata.east_asian_width(each) in "WF"
        else 1
        for each in text
    )


def _cut(text: str, width: int) -> str:
    """Cut a text to a width, marking that it goes on."""
    if width_of(text) <= width:
        return text
    kept, used = [], 1
    for each in text:
        used += width_of(each)
        if used > width:
            break
        kept.append(each)
    return "".join(kept) + "\N{HORIZONTAL ELLIPSIS}"


def terminal_width() -> int | None:
    """Return the terminal's width, or None where there is no terminal to fit."""
    return shutil.get_terminal_size().columns if sys.stdout.isatty() else None


def rows_of(
    rows: Iterable[Sequence[str]],
    header: Sequence[str],
    *,
    minimum: Sequence[int] = (),
    look_ahead: int = 200,
) -> Iterator[str]:
    """
    Yield the lines of a table; the last column takes what is left and is cut.

    The widths follow from the first rows, so that a table of any length can be printed as it comes.

    :param minimum: widths that the first columns have at least.
    :param look_ahead: how many rows are read before the first line is yielded.
    """
    stream = iter(rows)
    first = [row for row, _ in zip(stream, range(look_ahead), strict=False)]
    widths = [
        max(
            [
                width_of(name),
                *(width_of(row[column]) for row in first),
                *minimum[column : column + 1],
            ]
        )
        for column, name in enumerate(header)
    ]
    limit = terminal_width()

    def line(cells: Sequence[str], *, title: bool = False) -> str:
        padded = [
            cell + " " * (width - width_of(cell))
            for cell, width in zip(cells[:-1], widths, strict=False)
        ]
        last = cells[-1]
        if limit is not None:
            used = sum(width_of(cell) + 2 for cell in padded)
            last = _cut(last, max(8, limit - used))
        if title:
            return style("  ".join([*padded, last]).rstrip(), bold=True)
        painted = [
            style(cell, fg=color) if (color := status_color(cell.split(" ", 1)[0])) else cell
            for cell in padded
        ]
        return "  ".join([*painted, last]).rstrip()

    if any(header):
        yield line(header, title=True)
    for row in first:
        yield line(row)
    for row in stream:
        yield line(row)


def paragraph(text: str) -> str:
    """Indent a sentence and fit it to the terminal; an address stays whole, to be copied."""
    width = terminal_width()
    if width is None:
        return f"  {text}"
    return textwrap.fill(
        text,
        max(40, width),
        initial_indent="  ",
        subsequent_indent="    ",
        break_long_words=False,
        break_on_hyphens=False,
    )


def print_table(rows: Sequence[Sequence[str]], header: Sequence[str], *, empty: str) -> None:
    """Print a table, or a sentence when there is nothing in it."""
    if not rows:
        click.echo(empty, err=True)
        return
    for line in rows_of(rows, header, look_ahead=len(rows)):
        click.echo(line)


def _moment(text: str) -> datetime:
    return datetime.fromisoformat(text.replace("Z", "+00:00"))


def local_time(text: str | None, *, milliseconds: bool = False) -> str:
    """Write an ISO time in the local zone: with the year only if it is another one."""
    if not text:
        return ""
    at = _moment(text).astimezone()
    day = "%m-%d" if at.year == datetime.now(tz=at.tzinfo).year else "%Y-%m-%d"
    fraction = f".{at.microsecond // 1000:03d}" if milliseconds else ""
    return at.strftime(f"{day} %H:%M:%S") + fraction


def age(text: str | None) -> str:
    """Write how long ago a time was, roughly."""
    if not text:
        return "never"
    gone_s = max(0, int((datetime.now(tz=UTC) - _moment(text)).total_seconds()))
    for unit_s, unit in ((86400, "d"), (3600, "h"), (60, "min")):
        if gone_s >= unit_s:
            return f"{gone_s // unit_s} {unit}"
    return f"{gone_s} s"
