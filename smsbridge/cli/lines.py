"""The commands about lines: ``lines`` with ``discover``, ``ussd``, ``calls``, ``line command``."""

from __future__ import annotations

import json
from collections.abc import Iterable, Mapping
from typing import Any

import click

from smsbridge.cli import configuration, output
from smsbridge.cli.given import TO_LIMIT
from smsbridge.cli.program import Call

__all__ = ["calls", "command", "line", "lines", "ussd"]

# A USSD dialogue may take two minutes, and so may a device that changes its network.
_PATIENCE_S = 180.0
_ALL_CALLS = 1_000_000
_LONGEST_DESCRIPTION = 30


@click.group(invoke_without_command=True)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_context
def lines(ctx: click.Context, as_json: bool) -> None:
    """
    Show how the lines are.

    TODAY counts the text segments sent since midnight in UTC, with the line's cap where it has one.
    """
    if ctx.invoked_subcommand is None:
        _show(ctx.obj, as_json)


def _show(call: Call, as_json: bool) -> None:
    daemon = call.daemon()
    if as_json:
        out = output.binary()
        for raw in daemon.raw_rows("/lines"):
            out.write(raw)
        out.flush()
        return
    rows = [
        (
            each["line"],
            "up" if each["up"] else "down",
            each["gateway"],
            each["number"],
            "" if each["signal_dbm"] is None else f"{each['signal_dbm']} dBm",
            output.harmless(each["operator"]),
            f"{each['sent_today']}/{each['daily_cap']}"
            if each["daily_cap"]
            else str(each["sent_today"]),
            output.age(each["last_seen_at"]),
            output.harmless(each["state"]),
        )
        for each in daemon.rows("/lines")
    ]
    header = ("LINE", "", "GATEWAY", "NUMBER", "SIGNAL", "OPERATOR", "TODAY", "SEEN", "STATE")
    output.print_table(
        rows, header, empty="There are no lines; 'smsbridge line add' makes the first."
    )


@lines.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a number.")
@click.argument("gateway", default="", required=False)
@click.pass_obj
def discover(call: Call, as_json: bool, gateway: str) -> None:
    """
    List the numbers of a provider's account, and what to write into the configuration.

    Asks the account of GATEWAY, or of every gateway whose account lists its numbers. WEBHOOK is
    where the provider calls for a number now; 'smsbridge check' says where it should.

    \b
    Example:
      smsbridge lines discover work
    """
    daemon = call.daemon()
    found: list[Mapping[str, Any]] = []
    failed = False
    for each in daemon.rows("/numbers", gateway=gateway, timeout_s=_PATIENCE_S):
        if "error" in each:
            failed = failed or each["error"] != "unsupported"
            detail = f" ({each['detail']})" if each.get("detail") else ""
            click.echo(f"{each['gateway']}: {output.harmless(each['message'] + detail)}", err=True)
        elif as_json:
            click.echo(json.dumps(each, ensure_ascii=False))
        else:
            found.append(each)
    if not as_json and (found or not failed):
        _print_found(found, (each["line"] for each in daemon.rows("/lines")))
    if failed:
        raise click.exceptions.Exit(1)


def _print_found(found: list[Mapping[str, Any]], taken: Iterable[str]) -> None:
    rows = [
        (
            each["gateway"],
            output.harmless(each["number"]),
            each["line"] or "none",
            "yes" if each["sms"] else "no",
            "yes" if each["mms"] else "no",
            output.harmless(each["description"])[:_LONGEST_DESCRIPTION],
            output.harmless(each["hook"]) or "not set",
        )
        for each in found
    ]
    header = ("GATEWAY", "NUMBER", "LINE", "SMS", "MMS", "DESCRIPTION", "WEBHOOK")
    output.print_table(rows, header, empty="The account has no numbers.")
    without = [each for each in found if not each["line"] and each["sms"]]
    if not without:
        return
    click.echo("\nTo use the numbers without a line, write into the configuration:\n")
    names = set(taken)
    for each in without:
        name = _free_name(each["gateway"], each["number"], names)
        names.add(name)
        click.echo(f"[line:{name}]\ngateway = {each['gateway']}\nnumber = {each['number']}")
        if not each["mms"]:
            click.echo("mms = link")
        click.echo()
    click.echo("and give each to a person by 'lines =' in [person:NAME].")


def _free_name(gateway: str, number: str, taken: set[str]) -> str:
    """Return a name that no line has: the gateway's and as many last digits as it takes."""
    digits = number.lstrip("+")
    for count in range(4, len(digits) + 1):
        if (name := f"{gateway}-{digits[-count:]}") not in taken:
            return name
    return f"{gateway}-{digits}-2"


@click.command()
@click.argument("line")
@click.argument("code")
@click.pass_obj
def ussd(call: Call, line: str, code: str) -> None:
    """
    Send a USSD code and print the answer.

    Where the network asks back, send the answer in the same way.

    \b
    Examples:
      smsbridge ussd demo1 '*100#'
      smsbridge ussd demo1 2
    """
    answer = call.daemon().post("/ussd", {"line": line, "code": code}, timeout_s=_PATIENCE_S)
    _print_text(answer["text"])


@click.command()
@click.option(
    "--limit",
    type=TO_LIMIT,
    default=50,
    metavar="N",
    help="The newest N, 50 by default; 0 means all.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.argument("line", default="", required=False)
@click.pass_obj
def calls(call: Call, limit: int, as_json: bool, line: str) -> None:
    """
    Show the call log, of one line or of all; the newest call comes first.

    Calls are not carried by smsbridge: this is what the devices told about them.
    """
    daemon = call.daemon()
    limit = limit or _ALL_CALLS
    if as_json:
        out = output.binary()
        for raw in daemon.raw_rows("/calls", line=line, limit=limit):
            out.write(raw)
        out.flush()
        return
    rows = [
        (
            output.local_time(each["started_at"]),
            each["line"],
            "<-" if each["direction"] == "in" else "->",
            output.harmless(each["number"]) or "withheld",
            "" if each["duration_s"] is None else _minutes(each["duration_s"]),
            output.harmless(each["cause"]),
        )
        for each in daemon.rows("/calls", line=line, limit=limit)
    ]
    header = ("TIME", "LINE", "", "NUMBER", "LENGTH", "CAUSE")
    output.print_table(rows, header, empty="There were no calls.")


def _minutes(duration_s: int) -> str:
    return f"{duration_s // 60}:{duration_s % 60:02d}"


@click.command("command")
@click.argument("line")
@click.argument("command", required=False)
@click.argument("arguments", nargs=-1, metavar="[ARGUMENT]...")
@click.pass_obj
def command(call: Call, line: str, command: str | None, arguments: tuple[str, ...]) -> None:
    """
    Have a line's device do something; without COMMAND list what it can do.

    \b
    Examples:
      smsbridge line command demo1
      smsbridge line command demo1 signal
    """
    daemon = call.daemon()
    if command is not None:
        answer = daemon.post(
            "/commands",
            {"line": line, "command": command, "arguments": list(arguments)},
            timeout_s=_PATIENCE_S,
        )
        _print_text(answer["text"])
        return
    rows = [
        (f"{each['command']} {each['arguments']}".rstrip(), each["help"])
        for each in daemon.rows("/commands", line=line)
    ]
    output.print_table(rows, ("COMMAND", ""), empty=f"{line} takes no commands.")


def _print_text(text: str) -> None:
    """Print what a network or a device said, line by line."""
    for part in text.splitlines() or [""]:
        click.echo(output.harmless(part))


#: The group of the configuration's commands, with what needs the daemon.
line = click.Group(
    "line",
    help=configuration.line.help,
    commands={**configuration.line.commands, "command": command},
)
