"""The commands ``opt-out list``, ``add`` and ``remove``: who wants no texts from a line."""

from __future__ import annotations

import click

from smsbridge.cli import output
from smsbridge.cli.program import Call

__all__ = ["opt_out"]

_SOURCES = {
    "words": "wrote STOP",
    "provider": "the provider said so",
    "operator": "the operator said so",
}


@click.group("opt-out")
def opt_out() -> None:
    """
    See and change who wants no texts from a line.

    A text to a number that is out is refused, whoever sends it. Numbers come here by themselves,
    when somebody writes STOP or the provider refuses texts to them; see 'opt_out' of a line.
    """


@opt_out.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.argument("line", default="", required=False)
@click.pass_obj
def list_(call: Call, as_json: bool, line: str) -> None:
    """List the numbers that want no texts, of one line or of all; the oldest comes first."""
    daemon = call.daemon()
    if as_json:
        out = output.binary()
        for raw in daemon.raw_rows("/opt-outs", line=line):
            out.write(raw)
        out.flush()
        return
    rows = [
        (
            each["line"],
            output.harmless(each["number"]),
            output.local_time(each["since"]),
            _SOURCES.get(each["source"], each["source"]),
        )
        for each in daemon.rows("/opt-outs", line=line)
    ]
    output.print_table(rows, ("LINE", "NUMBER", "SINCE", "WHY"), empty="Nobody is out.")


@opt_out.command()
@click.argument("line")
@click.argument("number")
@click.pass_obj
def add(call: Call, line: str, number: str) -> None:
    """
    Put NUMBER out: it gets no texts from LINE any more.

    \b
    Example:
      smsbridge opt-out add work-main +12025550123
    """
    changed = call.daemon().post("/opt-outs", {"line": line, "number": number})["changed"]
    click.echo(
        f"{number} gets no more texts from {line}." if changed else f"{number} was out already."
    )


@opt_out.command()
@click.argument("line")
@click.argument("number")
@click.pass_obj
def remove(call: Call, line: str, number: str) -> None:
    """
    Take NUMBER back in: it may get texts from LINE again.

    Only for somebody who asked for that. A provider that keeps a list of its own still refuses the
    texts; there, the other side must write START.

    \b
    Example:
      smsbridge opt-out remove work-main +12025550123
    """
    changed = call.daemon().post("/opt-outs/remove", {"line": line, "number": number})["changed"]
    click.echo(f"{number} gets texts from {line} again." if changed else f"{number} was not out.")
