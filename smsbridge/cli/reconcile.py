"""The command ``reconcile``: fetches from providers what their webhooks missed."""

from __future__ import annotations

import json
import time
from collections.abc import Mapping
from typing import Any

import click

from smsbridge.cli import output
from smsbridge.cli.given import SPAN
from smsbridge.cli.program import Call

__all__ = ["reconcile"]

_DAY_S = 86400.0
_LONGEST_S = 30 * _DAY_S
#: Who waits longer wants to see that something happens.
_PATIENCE_S = 2.0


@click.command()
@click.option(
    "--since",
    "since_s",
    type=SPAN,
    default="7d",
    metavar="AGE",
    help="How far to look back: 7d by default, 30d at most.",
)
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object for each gateway.")
@click.argument("gateway", default="", required=False)
@click.pass_obj
def reconcile(call: Call, since_s: float, as_json: bool, gateway: str) -> None:
    """
    Fetch from providers what their webhooks missed.

    Asks the provider of GATEWAY, or of every gateway that can be asked, for the texts of its lines.
    Received texts that are not known yet are delivered like any other, and what became of sent ones
    is recorded. Nothing is ever sent by this, and it may be repeated at will.

    \b
    SEEN      texts that the provider listed
    MISSED    received texts that were not known and are now
    STATUSES  deliveries whose status changed

    \b
    Examples:
      smsbridge reconcile
      smsbridge reconcile work --since 2d
    """
    if not 0 < since_s <= _LONGEST_S:
        raise click.BadParameter("at most 30d; what is older could not be told from what is there.")
    results: list[Mapping[str, Any]] = []
    began_s = time.monotonic()
    for row in call.daemon().rows(
        "/reconcile", {"gateway": gateway, "since_s": since_s}, timeout_s=None
    ):
        if "told" in row:
            if time.monotonic() - began_s > _PATIENCE_S:
                click.echo(f"{row['gateway']}: {output.harmless(row['told'])}", err=True)
            continue
        results.append(row)
        if as_json:
            click.echo(json.dumps(row, ensure_ascii=False))
    if not as_json:
        output.print_table(
            [_row(each) for each in results],
            ("GATEWAY", "SEEN", "MISSED", "STATUSES", "PROBLEMS"),
            empty="Nothing was asked.",
        )
    for each in results:
        for problem in _problems(each):
            click.echo(f"{each['gateway']}: {output.harmless(problem)}", err=True)
    asked = [each for each in results if each.get("error") != "unsupported"]
    if not asked or any(_problems(each) for each in asked):
        raise click.exceptions.Exit(1)


def _row(result: Mapping[str, Any]) -> tuple[str, ...]:
    if "error" in result:
        why = "cannot be asked" if result["error"] == "unsupported" else "failed"
        return (result["gateway"], "-", "-", "-", why)
    problems = len(result["problems"])
    return (
        result["gateway"],
        str(result["seen"]),
        str(result["missed"]),
        str(result["statuses"]),
        str(problems) if problems else "none",
    )


def _problems(result: Mapping[str, Any]) -> list[str]:
    if "error" not in result:
        return [str(problem) for problem in result["problems"]]
    detail = f" ({result['detail']})" if result.get("detail") else ""
    return [f"{result['message']}{detail}"]
