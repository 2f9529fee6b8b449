"""The commands about the daemon as a whole: ``status``, ``reload``, ``export`` and ``purge``."""

from __future__ import annotations

import csv
import io
import json
import sys
from collections.abc import Callable, Iterator, Mapping
from pathlib import Path
from typing import Any

import click

from smsbridge.cli import output
from smsbridge.cli.client import Client, Refusal
from smsbridge.cli.given import SPAN, TIME
from smsbridge.cli.program import Call

__all__ = ["export", "purge", "reload", "reloaded", "status"]

_COLUMNS = (
    "id",
    "created_at",
    "direction",
    "line",
    "from",
    "to",
    "author",
    "body",
    "media",
    "delivered_to",
    "status",
    "attempts",
    "reason",
    "remote_id",
)


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.pass_obj
def status(call: Call, as_json: bool) -> None:
    """Show on one page how the daemon is."""
    answer = call.daemon().get("/status")
    if as_json:
        click.echo(json.dumps(answer, ensure_ascii=False))
        return
    ready = "ready" if not answer["unready"] else f"not ready: {answer['unready']}"
    up = sum(each["up"] for each in answer["lines"])
    click.echo(
        f"smsbridge {answer['version']} has run for {output.age(answer['started_at'])} as process "
        f"{answer['pid']}; {ready}"
    )
    click.echo(f"configuration  {answer['config']}")
    if answer["state"]:
        click.echo(f"state          {answer['state']}")
    click.echo(f"lines          {up} of {len(answer['lines'])} up")
    if answer["links"]:
        click.echo()
    for line in output.rows_of(
        [
            (
                each["gateway"],
                "up" if each["up"] else "down",
                each["kind"],
                output.age(each["since"]) if each["since"] else "",
                output.harmless(each["state"]),
            )
            for each in answer["links"]
        ],
        ("GATEWAY", "", "KIND", "SINCE", "STATE") if answer["links"] else ("",) * 5,
    ):
        click.echo(line)
    down = [each for each in answer["lines"] if not each["up"]]
    if down:
        click.echo()
        rows = [(each["line"], each["gateway"], output.harmless(each["state"])) for each in down]
        for line in output.rows_of(rows[:20], ("LINE DOWN", "GATEWAY", "STATE")):
            click.echo(line)
        if len(rows) > 20:
            click.echo(f"and {len(rows) - 20} more; see 'smsbridge lines'")
    waiting = [each for each in answer["queue"] if each["count"]]
    click.echo()
    if not waiting:
        click.echo("Nothing waits.")
        return
    for line in output.rows_of(
        [
            (each["gateway"], each["status"], str(each["count"]), output.age(each["oldest_at"]))
            for each in waiting
        ],
        ("WAITING FOR", "STATUS", "COUNT", "OLDEST"),
    ):
        click.echo(line)


@click.command()
@click.pass_obj
def reload(call: Call) -> None:
    """
    Apply the changed configuration.

    What did not change is not disturbed. When anything in the configuration is wrong, everything
    stays as it was and each error is printed.
    """
    click.echo(reloaded(call.daemon()))


def reloaded(daemon: Client) -> str:
    """
    Have the daemon reload; return what it said.

    :raises Refusal: the configuration is wrong; its errors have been printed.
    """
    try:
        answer = daemon.post("/reload", {}, timeout_s=120)
    except Refusal as e:
        for error in e.answer.get("errors", ()):
            click.echo(error, err=True)
        raise
    for warning in answer["warnings"]:
        click.echo(f"warning: {warning}", err=True)
    changes = answer["changes"]
    return "Reloaded: " + "; ".join(changes) + "." if changes else "Nothing has changed."


@click.command()
@click.option(
    "--older-than",
    "older_than_s",
    required=True,
    type=SPAN,
    metavar="AGE",
    help="How old what is deleted must be at least: 90d, 12w, 36h.",
)
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.pass_obj
def purge(call: Call, older_than_s: float, yes: bool) -> None:
    """
    Delete old messages.

    Goes on while the daemon works, in small steps. What still waits to be delivered stays. To have
    it done by itself, set retention_days in the configuration.

    \b
    Example:
      smsbridge purge --older-than 90d
    """
    daemon = call.daemon()
    if not yes and sys.stdin.isatty():
        click.confirm("Delete all messages of that age for good?", abort=True, err=True)
    shown = sys.stderr.isatty()
    count = 0
    for step in daemon.rows("/purge", {"older_than_s": older_than_s}, timeout_s=None):
        count = step["count"]
        if shown:
            click.echo(f"\r{count} deleted, up to {step['before'][:10]}", nl=False, err=True)
    if shown:
        click.echo("\r\x1b[K", nl=False, err=True)
    click.echo(f"{count} message{'' if count == 1 else 's'} deleted.")


@click.command()
@click.option(
    "--format",
    "layout",
    type=click.Choice(["jsonl", "csv"]),
    default="jsonl",
    show_default=True,
    help="One JSON object a line, or comma-separated values with one line for each delivery.",
)
@click.option(
    "--output",
    "-o",
    "target",
    type=click.Path(dir_okay=False, writable=True, path_type=Path),
    metavar="FILE",
    help="Where to write; the standard output by default.",
)
@click.option("--line", default="", metavar="LINE", help="Only those of a line.")
@click.option(
    "--since", type=TIME, metavar="TIME", help="Only younger ones: a date, a time, or 2h, 7d."
)
@click.pass_obj
def export(call: Call, layout: str, target: Path | None, line: str, since: int | None) -> None:
    """
    Write all messages to a file.

    \b
    Examples:
      smsbridge export --format csv --output messages.csv
      smsbridge export --since 2026-01-01 | gzip > messages.jsonl.gz
    """
    rows = call.daemon().raw_rows("/messages", line=line, since_ms=since, detail=True)
    pieces = rows if layout == "jsonl" else _csv(rows)
    if target is None:
        _write(pieces, output.binary().write)
        return
    # Under another name first: a file of that name is a complete one.
    unfinished = target.with_name(target.name + ".part")
    try:
        # Nobody else shall read the messages.
        with open(unfinished, "wb", opener=_private) as file:
            count = _write(pieces, file.write)
        unfinished.replace(target)
    except OSError as e:
        raise click.ClickException(f"{target} cannot be written: {e.strerror}.") from e
    finally:
        unfinished.unlink(missing_ok=True)
    click.echo(f"{count} lines written to {target}.", err=True)


def _private(path: str, flags: int) -> int:
    import os

    return os.open(path, flags, mode=0o600)


def _write(pieces: Iterator[bytes], write: Callable[[bytes], object]) -> int:
    count = 0
    for piece in pieces:
        write(piece)
        count += 1
    return count


def _csv(rows: Iterator[bytes]) -> Iterator[bytes]:
    """Turn messages into lines of CSV (RFC 4180), one for each delivery."""
    buffer = io.StringIO()
    writer = csv.writer(buffer)

    def line(cells: tuple[object, ...]) -> bytes:
        writer.writerow(cells)
        text = buffer.getvalue()
        buffer.seek(0)
        buffer.truncate()
        return text.encode("utf-8", "replace")

    yield line(_COLUMNS)
    nobody: Mapping[str, Any] = {}
    for row in rows:
        message = json.loads(row)
        for delivery in message["deliveries"] or [nobody]:
            yield line(
                (
                    message["id"],
                    message["created_at"],
                    message["direction"],
                    message["line"],
                    message["from"],
                    " ".join(message["to"]),
                    message["author"],
                    message["body"],
                    " ".join(each["url"] for each in message["media"]),
                    delivery.get("to", ""),
                    delivery.get("status", ""),
                    delivery.get("attempts", ""),
                    delivery.get("reason", ""),
                    delivery.get("remote_id", ""),
                )
            )
