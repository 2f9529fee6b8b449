"""The command ``webhook``: tries out the programs that are called by HTTP."""

from __future__ import annotations

import click

from smsbridge.cli import output
from smsbridge.cli.program import Call

__all__ = ["webhook"]

_PATIENCE_S = 180.0


@click.group()
def webhook() -> None:
    """Try out the programs that are called by HTTP."""


@webhook.command()
@click.argument("person")
@click.pass_obj
def test(call: Call, person: str) -> None:
    """
    Post a sample text to the webhook of a person and print what came back.

    The sample is signed as every post is, and kept nowhere. It is not from anybody: its number
    belongs to no telephone.

    \b
    Example:
      smsbridge webhook test john
    """
    answer = call.daemon().post("/webhooks/test", {"person": person}, timeout_s=_PATIENCE_S)
    for sentence in answer["answers"]:
        click.echo(output.harmless(sentence))
