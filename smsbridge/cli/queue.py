"""The commands about what waits to be delivered: ``queue list``, ``retry`` and ``drop``."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from typing import Any

import click

from smsbridge.cli import output
from smsbridge.cli.given import TO_LIMIT, limit_or_all
from smsbridge.cli.program import Call

__all__ = ["queue"]

_STATUSES = (
    "queued",
    "sending",
    "sent",
    "delivered",
    "failed",
    "expired",
    "uncertain",
    "dropped",
)
_RETRIED = ("failed", "expired", "uncertain")
_DROPPED = ("queued", "uncertain")


@click.group()
def queue() -> None:
    """
    See and change what waits to be delivered.

    A delivery is one message on its way to one destination. When a connection broke at the wrong
    moment it is 'uncertain': it may have been sent, so it is not sent again by itself.
    """


def _filters(command: Callable[..., None]) -> Callable[..., None]:
    for option in (
        click.option(
            "--status",
            "statuses",
            multiple=True,
            type=click.Choice(_STATUSES),
            help="Only those in this status; may be repeated.",
        ),
        click.option("--line", default="", metavar="LINE", help="Only those of a line."),
        click.option("--gateway", default="", metavar="NAME", help="Only those of a gateway."),
    ):
        command = option(command)
    return command


@queue.command("list")
@_filters
@click.option("--message", default="", metavar="ID", help="Only those of a message.")
@click.option(
    "--limit", type=TO_LIMIT, metavar="N", help="The oldest N, 100 by default; 0 means all."
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def list_(
    call: Call,
    gateway: str,
    line: str,
    statuses: tuple[str, ...],
    message: str,
    limit: int | None,
    as_json: bool,
) -> None:
    """
    List deliveries, by default those that wait or are uncertain.

    \b
    Examples:
      smsbridge queue list --line demo1
      smsbridge queue list --status failed --limit 0 --json
    """
    if limit is None and not as_json:
        limit = 100
    query = {
        "gateway": gateway,
        "line": line,
        "status": " ".join(statuses),
        "message": message,
        "limit": limit_or_all(limit),
    }
    daemon = call.daemon()
    if as_json:
        out = output.binary()
        for raw in daemon.raw_rows("/queue", **query):
            out.write(raw)
        out.flush()
        return
    rows = [
        (
            output.local_time(each["created_at"]),
            each["status"],
            each["gateway"],
            output.harmless(each["to"]),
            str(each["attempts"]),
            output.local_time(each["due_at"]),
            each["id"],
            output.harmless(each["text"] or each["reason"]),
        )
        for each in daemon.rows("/queue", **query)
    ]
    header = ("SINCE", "STATUS", "GATEWAY", "TO", "TRIES", "NEXT", "ID", "WHY")
    output.print_table(rows, header, empty="Nothing waits.")


@queue.command()
@_filters
@click.option("--all", "everything", is_flag=True, help="All of them; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.pass_obj
def retry(call: Call, /, **given: Any) -> None:
    """
    Send deliveries again.

    IDs are those of deliveries or messages. Without a status this means what failed, expired or is
    uncertain; with '--status queued' what waits is tried now.

    \b
    Examples:
      smsbridge queue retry 01900000-0000-7000-8000-000000000001
      smsbridge queue retry --line demo1 --status failed
    """
    count = _change(call, "retry", _RETRIED, "Send {count} again ({kinds})?", **given)
    click.echo(f"{count} queued again.")


@queue.command()
@_filters
@click.option("--all", "everything", is_flag=True, help="All of them; asks first.")
@click.option("--yes", is_flag=True, help="Do not ask.")
@click.argument("ids", nargs=-1, metavar="[ID]...")
@click.pass_obj
def drop(call: Call, /, **given: Any) -> None:
    """
    Give up deliveries that wait or are uncertain.

    The messages stay in the history, with the deliveries marked as dropped; 'queue retry' takes it
    back.

    \b
    Examples:
      smsbridge queue drop 01900000-0000-7000-8000-000000000001
      smsbridge queue drop --all
    """
    count = _change(call, "drop", _DROPPED, "Give up {count} ({kinds})?", **given)
    click.echo(f"{count} dropped.")


def _change(
    call: Call,
    action: str,
    default: tuple[str, ...],
    question: str,
    *,
    ids: tuple[str, ...],
    gateway: str,
    line: str,
    statuses: tuple[str, ...],
    everything: bool,
    yes: bool,
) -> int:
    filtered = bool(gateway or line or statuses)
    if ids and (filtered or everything):
        raise click.UsageError("Give either ids or a filter.")
    if not (ids or filtered or everything):
        raise click.UsageError(
            "Say which: ids from 'smsbridge queue list', a filter such as --line, or --all."
        )
    daemon = call.daemon()
    if ids:
        return int(daemon.post(f"/queue/{action}", {"ids": list(ids)})["count"])
    body = {"gateway": gateway, "line": line, "statuses": list(statuses or default)}
    if everything and not yes:
        found = Counter(
            each["status"]
            for each in daemon.rows(
                "/queue", gateway=gateway, line=line, status=" ".join(body["statuses"])
            )
        )
        if not found:
            return 0
        kinds = ", ".join(f"{count} {status}" for status, count in found.items())
        click.confirm(question.format(count=found.total(), kinds=kinds), abort=True, err=True)
    return int(daemon.post(f"/queue/{action}", body, timeout_s=600)["count"])
