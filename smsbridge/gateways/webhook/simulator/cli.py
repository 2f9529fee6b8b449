"""The command ``smsbridge simulate webhook``: a program that prints what is posted to it."""

from __future__ import annotations

from typing import Any

import click
from twisted.internet.error import CannotListenError

from smsbridge.gateways.webhook.simulator.receiver import Post, Receiver

__all__ = ["described", "webhook"]


def described(post: Post) -> str:
    """Say in one line what came and how it was answered."""
    answer = f"answered {post.status}" if post.status else "not answered"
    if post.repeated:
        answer += ", a repeat"
    if post.signed is not None:
        answer += ", signature right" if post.signed else ", signature WRONG"
    data = post.document.get("data") if isinstance(post.document, dict) else None
    if not isinstance(data, dict):
        return f"something else ({answer})"
    attributes = data.get("attributes", {})
    match data.get("type"):
        case "message":
            text = f"{attributes.get('from')} to {attributes.get('to')}: {attributes.get('body')!r}"
            files = post.document.get("included", [])
            text += "".join(f" [{each['attributes']['url']}]" for each in files)
        case "delivery_receipt":
            text = f"{data.get('id')} is {attributes.get('status')}"
        case _:
            text = f"notice: {attributes.get('body')!r}"
    return f"{text} ({answer})"


@click.command()
@click.option("--port", type=click.IntRange(0, 65535), default=8000, help="8000 by default.")
@click.option("--secret", default="", help="Check signatures: the person's webhook_secret.")
@click.option("--fail", type=int, default=0, help="Answer the first N posts with an error.")
@click.option("--error", type=click.IntRange(300, 599), default=503, help="Which; 503 by default.")
@click.option("--silent", is_flag=True, help="Take posts and never answer.")
def webhook(port: int, secret: str, fail: int, error: int, silent: bool) -> None:
    """
    Play a program that is called by HTTP.

    It prints a line for each post. Let a person have it as 'webhook = http://127.0.0.1:8000/'.
    """
    from twisted.internet import reactor as installed

    reactor: Any = installed
    receiver = Receiver(reactor.seconds, secret, lambda post: click.echo(described(post)))
    receiver.fail, receiver.error, receiver.silent = fail, error, silent
    try:
        listening = reactor.listenTCP(port, receiver.site(), interface="127.0.0.1")
    except CannotListenError as e:
        raise click.ClickException(f"cannot listen on port {port}: {e.socketError}") from None
    click.echo(f"waiting for posts at http://127.0.0.1:{listening.getHost().port}/")
    reactor.run()
