"""The commands about texts: ``send``, ``messages`` and ``trace``."""

from __future__ import annotations

import base64
import mimetypes
import sys
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any
from urllib.parse import quote

import click

from smsbridge.cli import output
from smsbridge.cli.client import NoDaemon
from smsbridge.cli.given import TIME, TO_LIMIT, limit_or_all
from smsbridge.cli.program import Call

__all__ = ["messages", "send", "trace"]

_MAX_MEDIA_BYTES = 48 * 1024 * 1024
_SHOWN = 50  # how many messages the table has by default
_SHOWN_FOLLOWING = 10
_WIDTHS = (14, 5, 2, 12, 9)

#: Of several deliveries the one is shown that an operator must look at first.
_WORST = ("failed", "expired", "uncertain", "dropped", "queued", "sending", "sent", "delivered")


@click.command()
@click.option("--line", default="", metavar="LINE", help="The line to send from.")
@click.option(
    "--media",
    multiple=True,
    type=click.Path(exists=True, dir_okay=False, path_type=Path),
    metavar="FILE",
    help="Send a file along; may be repeated.",
)
@click.argument("number")
@click.argument("text", required=False)
@click.pass_obj
def send(call: Call, line: str, media: tuple[Path, ...], number: str, text: str | None) -> None:
    """
    Send a text.

    Prints the id of the message as soon as it is safely stored; 'trace' with this id shows what
    becomes of it. NUMBER is a telephone number, a short code, or the name of a person. TEXT is one
    argument; '-' reads it from the standard input.

    \b
    Examples:
      smsbridge send +12025550123 "Hello there"
      smsbridge send --line demo1 +12025550123 -- "- a text that begins with a dash"
      date | smsbridge send +12025550123 -
      smsbridge send --media photo.jpg +12025550123
    """
    if text == "-":
        text = sys.stdin.read().removesuffix("\n")
    if text is None and not media:
        raise click.UsageError("There is nothing to send: give a TEXT or --media FILE.")
    if sum(path.stat().st_size for path in media) > _MAX_MEDIA_BYTES:
        raise click.ClickException(
            f"The files are too large: together they may have {_MAX_MEDIA_BYTES >> 20} MiB."
        )
    answer = call.daemon().post(
        "/messages",
        {
            "line": line,
            "to": [number],
            "text": text or "",
            "media": [
                {
                    "name": path.name,
                    "content_type": mimetypes.guess_type(path.name)[0]
                    or "application/octet-stream",
                    "data": base64.b64encode(path.read_bytes()).decode("ascii"),
                }
                for path in media
            ],
        },
    )
    click.echo(answer["id"])


@click.command()
@click.option("--follow", "-f", is_flag=True, help="Go on with what is new or changes.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.option("--ids", is_flag=True, help="Show the messages' ids in the table.")
@click.option(
    "--limit",
    type=TO_LIMIT,
    metavar="N",
    help="Only the newest N; 0 means all. Tables have 50 by default, JSON has all.",
)
@click.option("--line", default="", metavar="LINE", help="Only those of a line.")
@click.option("--number", default="", metavar="NUMBER", help="Only those from or to a number.")
@click.option("--person", default="", metavar="PERSON", help="Only those a person wrote.")
@click.option(
    "--since", type=TIME, metavar="TIME", help="Only younger ones: a date, a time, or 2h, 7d."
)
@click.pass_obj
def messages(
    call: Call,
    follow: bool,
    as_json: bool,
    ids: bool,
    limit: int | None,
    line: str,
    number: str,
    person: str,
    since: int | None,
) -> None:
    """
    List messages, both ways.

    The oldest comes first. In the table an arrow to the right is a text that we sent, one to the
    left a text that we got.

    \b
    Examples:
      smsbridge messages --follow
      smsbridge messages --line demo1 --since 2h
      smsbridge messages --json | jq -r .body
    """
    if limit is None and not as_json:
        limit = _SHOWN_FOLLOWING if follow else _SHOWN
    query = {
        "line": line,
        "number": number,
        "person": person,
        "since_ms": since,
        "limit": limit_or_all(limit),
        "follow": follow,
        "detail": not as_json,
    }
    daemon = call.daemon()
    timeout = {"timeout_s": None} if follow else {}
    try:
        if as_json:
            _print_raw(daemon.raw_rows("/messages", **timeout, **query), follow)
            if follow:
                raise NoDaemon("The daemon has stopped.")
            return
        rows = daemon.rows("/messages", **timeout, **query)
        header = ("TIME", "LINE", "", "NUMBER", "STATUS", *(("ID",) if ids else ()), "TEXT")
        shown = 0
        for text in output.rows_of(
            (_row(each, ids) for each in rows),
            header,
            minimum=_WIDTHS,
            look_ahead=0 if follow else 200,
        ):
            click.echo(text)
            shown += 1
    except KeyboardInterrupt:
        if not follow:
            raise
        return  # this is how one stops following
    if follow:
        raise NoDaemon("The daemon has stopped.")
    if shown <= 1:
        click.echo("There are no messages.", err=True)
    elif limit and shown > limit:
        click.echo(f"These are the newest {limit}; see --limit.", err=True)


def _print_raw(lines: Iterator[bytes], follow: bool) -> None:
    """Hand lines on as they are; at once when somebody waits for each."""
    out = output.binary()
    for line in lines:
        out.write(line)
        if follow:
            out.flush()
    out.flush()


def _row(message: Mapping[str, Any], ids: bool) -> Sequence[str]:
    incoming = message["direction"] == "in"
    others = [message["from"]] if incoming else message["to"]
    body = output.harmless(message["body"])
    if message["media"]:
        files = len(message["media"])
        body = f"[{files} file{'s' if files > 1 else ''}] {body}"
    return (
        output.local_time(message["created_at"]),
        message["line"],
        "<-" if incoming else "->",
        output.harmless(", ".join(others)) or "withheld",
        _summary(message["deliveries"]),
        *((message["id"],) if ids else ()),
        body,
    )


def _summary(deliveries: Sequence[Mapping[str, Any]]) -> str:
    """Say in a word or two how the deliveries are."""
    if not deliveries:
        return "stored"
    counts = Counter(each["status"] for each in deliveries)
    worst = min(counts, key=lambda status: _WORST.index(status) if status in _WORST else 99)
    text = worst if len(counts) == 1 else f"{worst} {counts[worst]}/{len(deliveries)}"
    reasons = {
        each["reason"].partition(":")[0]
        for each in deliveries
        if each["status"] == worst and each["reason"]
    }
    return f"{text} ({', '.join(sorted(reasons))})" if reasons else text


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object.")
@click.argument("message_id")
@click.pass_obj
def trace(call: Call, as_json: bool, message_id: str) -> None:
    """
    Show everything that happened to a message.

    MESSAGE_ID is what 'send' printed; 'messages --ids' shows it too.
    """
    message = call.daemon().get(f"/messages/{quote(message_id, safe='')}")
    if as_json:
        import json

        click.echo(json.dumps(message, ensure_ascii=False))
        return
    incoming = message["direction"] == "in"
    facts = [
        ("message", message["id"]),
        ("line", message["line"]),
        ("from", message["from"] or ("withheld" if incoming else "")),
        ("to", ", ".join(message["to"])),
        ("written by", message["author"]),
        ("accepted", output.local_time(message["created_at"])),
        ("sent", output.local_time(message["sent_at"])),
        ("text", message["body"]),
        *(("file", f"{each['url']} ({each['content_type']})") for each in message["media"]),
    ]
    for name, value in facts:
        if value:
            click.echo(f"{name:<11} {output.harmless(value)}")
    for delivery in message["deliveries"]:
        click.echo()
        _print_delivery(delivery)
    if not message["deliveries"]:
        click.echo("\nNobody is to get it: no person with an address has this line.")


def _print_delivery(delivery: Mapping[str, Any]) -> None:
    status = output.style(delivery["status"], fg=output.status_color(delivery["status"]))
    attempts = delivery["attempts"]
    kind = "" if delivery["kind"] == "message" else f"{delivery['kind']} "
    click.echo(
        f"{kind}to {output.harmless(delivery['to'])} through {delivery['gateway']}: {status} after "
        f"{attempts} attempt{'' if attempts == 1 else 's'}"
    )
    click.echo(f"  delivery   {delivery['id']}")
    for name, field in (("remote id", "remote_id"), ("person", "person"), ("peer says", "text")):
        if delivery[field]:
            click.echo(f"  {name:<10} {output.harmless(delivery[field])}")
    if delivery["status"] == "queued":
        click.echo(f"  due        {output.local_time(delivery['due_at'])}")
    for step in delivery["history"]:
        attempt = f"attempt {step['attempt']}" if step["attempt"] else ""
        because = ": ".join(each for each in (step["reason"], step["text"]) if each)
        cells = (
            output.local_time(step["at"], milliseconds=True),
            f"{step['status']:<9}",
            attempt,
            because,
        )
        click.echo("  " + "  ".join(output.harmless(each) for each in cells if each).rstrip())
