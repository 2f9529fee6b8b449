"""The commands about who may log in: ``passwd``, and ``token add``, ``list`` and ``remove``."""

from __future__ import annotations

import sys

import click

from smsbridge.cli import output
from smsbridge.cli.given import SPAN
from smsbridge.cli.program import Call

__all__ = ["passwd", "token"]

_SCOPES = ("read", "send", "manage", "admin")


@click.command()
@click.option("--stdin", "from_stdin", is_flag=True, help="Read it as one line, and do not ask.")
@click.option("--remove", is_flag=True, help="Take the password away; nobody can log in with it.")
@click.argument("person")
@click.pass_obj
def passwd(call: Call, person: str, from_stdin: bool, remove: bool) -> None:
    """
    Set the password with which a person logs in.

    PERSON is the name of a [person:NAME] and what is typed at the login. The password is asked for
    twice and not shown. It counts at once; browsers in which the person is logged in are logged
    out.

    \b
    Examples:
      smsbridge passwd john
      pass show sms/john | smsbridge passwd john --stdin
    """
    if remove and from_stdin:
        raise click.UsageError("Give either --stdin or --remove.")
    daemon = call.daemon()
    if remove:
        daemon.post("/password", {"person": person, "password": ""})
        click.echo(f"{person} has no password any more.")
        return
    password = _line() if from_stdin else _typed(person)
    if not password:
        raise click.ClickException("The password is empty; to take it away use --remove.")
    daemon.post("/password", {"person": person, "password": password})
    click.echo(f"{person} can log in with the new password.")


def _line() -> str:
    line = sys.stdin.buffer.readline(64 * 1024)
    try:
        return line.decode("utf-8").rstrip("\r\n")
    except UnicodeDecodeError:
        raise click.ClickException("The password is not UTF-8.") from None


def _typed(person: str) -> str:
    if not sys.stdin.isatty():
        raise click.UsageError(
            "Nobody is here to be asked for the password; write it to the standard input and add "
            "--stdin."
        )
    password: str = click.prompt(
        f"New password for {person}",
        hide_input=True,
        confirmation_prompt="The same again",
        err=True,
    )
    return password


@click.group()
def token() -> None:
    """
    Make, list and remove what programs log in with.

    A program sends its token as 'Authorization: Bearer TOKEN', or by basic auth with the token's
    name as user and the token as password.
    """


@token.command()
@click.option("--person", required=True, metavar="PERSON", help="On whose behalf it acts.")
@click.option(
    "--scope",
    "scopes",
    multiple=True,
    type=click.Choice(_SCOPES),
    help="What it may do; may be repeated. By default read and send.",
)
@click.option(
    "--line",
    "lines",
    multiple=True,
    metavar="LINE",
    help="The line that it is bound to; may be repeated. By default all of the person.",
)
@click.option("--expires", type=SPAN, metavar="SPAN", help="When it ends, for example 90d.")
@click.argument("name")
@click.pass_obj
def add(
    call: Call,
    name: str,
    person: str,
    scopes: tuple[str, ...],
    lines: tuple[str, ...],
    expires: float | None,
) -> None:
    """
    Make a token and print it.

    It is printed this once and not kept; a lost one is removed and made anew. NAME is for you to
    recognize it by, and unique. The scopes: 'read' sees messages, 'send' sends texts, 'manage'
    changes contacts and the like, 'admin' is for operators.

    \b
    Examples:
      smsbridge token add monitoring --person john --scope send --line 2001
      TOKEN=$(smsbridge token add backup --person john --scope read --expires 90d)
    """
    body: dict[str, object] = {
        "name": name,
        "person": person,
        "scopes": list(scopes),
        "lines": list(lines),
    }
    if expires is not None:
        body["expires_s"] = expires
    click.echo(call.daemon().post("/tokens", body)["token"])


@token.command("list")
@click.option("--person", default="", metavar="PERSON", help="Only those of a person.")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def list_(call: Call, person: str, as_json: bool) -> None:
    """List the tokens, without the tokens themselves."""
    daemon = call.daemon()
    if as_json:
        out = output.binary()
        for raw in daemon.raw_rows("/tokens", person=person):
            out.write(raw)
        out.flush()
        return
    rows = [
        (
            each["name"],
            each["person"],
            " ".join(each["scopes"]),
            " ".join(each["lines"]) or "all",
            output.local_time(each["used_at"]) or "never",
            output.local_time(each["expires_at"]) or "never",
        )
        for each in daemon.rows("/tokens", person=person)
    ]
    header = ("NAME", "PERSON", "SCOPES", "LINES", "LAST USED", "EXPIRES")
    output.print_table(rows, header, empty="There are no tokens.")


@token.command()
@click.argument("name")
@click.pass_obj
def remove(call: Call, name: str) -> None:
    """Remove a token; what logs in with it is refused from now on."""
    call.daemon().post("/tokens/remove", {"name": name})
    click.echo(f"Token {name} removed.")
