"""
The commands about the configuration: ``check``, ``sample-config`` and ``line``.

They read and write ini files and need no daemon; a daemon that runs is asked to reload after a
change. What lines do at the moment is shown by other commands.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import click

from smsbridge.cli import output

if TYPE_CHECKING:
    from collections.abc import Iterator

    from smsbridge.confd import Change, Editor
    from smsbridge.config import Config, ConfigErrors

__all__ = ["Caller", "check", "line", "sample_config"]


class Caller(Protocol):
    """What the main command passes to these (as click's ``obj``)."""

    @property
    def config_path(self) -> Path:
        """The main ini file."""

    def reload(self) -> str | None:
        """Have the daemon reload; return what it said as a sentence, or None if none runs."""


# The modules that read configurations are imported when a command needs them: they bring the tables
# of all numbering plans along, and `smsbridge --help` should not wait for these.


def _kinds(caller: Caller) -> Any:
    """Return what loads kinds of gateways; tests bring their own."""
    from smsbridge import gateways

    return getattr(caller, "kinds", gateways.load)


@contextmanager
def _sentences(consequence: str = "") -> Iterator[None]:
    """Turn what is wrong with a configuration or a change into messages and exit code 1."""
    from smsbridge.confd import EditError
    from smsbridge.config import ConfigErrors

    try:
        yield
    except EditError as e:
        raise click.ClickException(str(e)) from e
    except ConfigErrors as e:
        for error in e.errors:
            click.echo(str(error), err=True)
        raise click.ClickException(f"{_faults(e)} in the configuration{consequence}.") from e


def _faults(errors: ConfigErrors) -> str:
    count = len(errors.errors)
    return f"{count} fault{'s' if count > 1 else ''}"


# --- check and sample-config ----------------------------------------------------------------------


@click.command()
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object instead.")
@click.pass_obj
def check(caller: Caller, as_json: bool) -> None:
    """
    Validate the configuration without starting anything.

    Prints what was understood and what is worth knowing. Every fault is named with file, section
    and key, and the exit code is then 1.
    """
    from smsbridge.config import ConfigErrors, load

    try:
        config = load(caller.config_path, kinds=_kinds(caller))
    except ConfigErrors as e:
        if as_json:
            fields = ("file", "section", "key", "line", "message")
            errors = [{name: getattr(error, name) for name in fields} for error in e.errors]
            click.echo(json.dumps({"ok": False, "errors": errors}))
        else:
            for error in e.errors:
                click.echo(str(error), err=True)
            click.echo(f"{_faults(e)} found.", err=True)
        raise click.exceptions.Exit(1) from e
    advice = _advice(config, _kinds(caller))
    if as_json:
        click.echo(json.dumps(_described(config, advice)))
    else:
        click.echo(_overview(config, advice))


def _advice(config: Config, kinds: Callable[[str], Any]) -> list[str]:
    """Ask each kind what an operator should know about its gateway."""
    public_url = config.http.public_url if config.http else ""
    found: list[str] = []
    for label, (kind, value) in config.gateways.items():
        advise = getattr(kinds(kind), "advice", None)
        if advise is not None:
            lines = config.lines_of(label)
            found.extend(
                f"[gateway:{label}] {sentence}"
                for sentence in advise(label, value, lines, public_url)
            )
    return found


def _described(config: Config, advice: Sequence[str]) -> dict[str, Any]:
    """Return a right configuration as an object for programs; it holds no secret."""
    return {
        "ok": True,
        "files": [str(path) for path in config.files],
        "state": str(config.settings.state),
        "gateways": [
            {"gateway": label, "kind": kind} for label, (kind, _) in config.gateways.items()
        ],
        "lines": _line_rows(config),
        "persons": [
            {
                "person": label,
                **{kind: list(person.addresses(kind)) for kind in ("xmpp", "sip", "dect")},
                "lines": list(person.lines),
                "receive": list(person.receives),
            }
            for label, person in config.persons.items()
        ],
        "warnings": list(config.warnings),
        "advice": list(advice),
    }


def _line_rows(config: Config) -> list[dict[str, Any]]:
    return [
        {
            "line": label,
            "gateway": each.gateway,
            "number": each.number,
            "enabled": each.enabled,
            "persons": [p.label for p in config.directory.persons_of_line.get(label, ())],
        }
        for label, each in config.lines.items()
    ]


def _overview(config: Config, advice: Sequence[str]) -> str:
    """Return a right configuration as text for people."""
    settings = config.settings
    database = re.sub(r"(://[^/@:]*:)[^/@]*@", r"\1***@", settings.database)
    parts = [
        f"The configuration is right: {_files(config)}.",
        "",
        f"State     {settings.state}",
        f"Database  {database}",
        f"Country   {settings.country}",
        f"HTTP      {' '.join(config.http.listen) if config.http else 'off'}",
    ]
    rows: list[tuple[str, ...]] = []
    for label, (kind, value) in config.gateways.items():
        count = len(config.lines_of(label))
        lines = f"{count} line{'' if count == 1 else 's'}" if count else ""
        rows.append((label, kind, " ".join(getattr(value, "listen", ())), lines))
    parts += _table("Gateways", rows)
    parts += _table("Lines", _line_table(config))
    rows = []
    for label, person in config.persons.items():
        addresses = " ".join(
            f"{kind}:{address}" for kind in person.receives for address in person.addresses(kind)
        )
        rows.append((label, addresses, " ".join(person.lines)))
    parts += _table("Persons", rows)
    notes = [*config.warnings, *advice]
    if notes:
        parts += ["", "Worth knowing", *map(output.paragraph, notes)]
    return "\n".join(parts)


def _files(config: Config) -> str:
    others = len(config.files) - 1
    more = f" and {others} more file{'s' if others > 1 else ''}" if others else ""
    return f"{config.path}{more}"


def _line_table(config: Config) -> list[tuple[str, ...]]:
    return [
        (
            row["line"],
            row["gateway"],
            row["number"] or "number not set",
            " ".join(row["persons"]) or "nobody",
            "" if row["enabled"] else "disabled",
        )
        for row in _line_rows(config)
    ]


def _table(title: str, rows: Sequence[tuple[str, ...]]) -> list[str]:
    """Return aligned rows below a title; nothing if there are none."""
    if not rows:
        return []
    widths = [max(len(cell) for cell in column) for column in zip(*rows, strict=True)]
    lines = [
        "  ".join(cell.ljust(width) for cell, width in zip(row, widths, strict=True)).rstrip()
        for row in rows
    ]
    return ["", title, *(f"  {each}" for each in lines)]


@click.command("sample-config")
@click.option("--rst", is_flag=True, help="Print the reference for the manual instead.")
def sample_config(rst: bool) -> None:
    """
    Print a configuration with every key explained.

    \b
    For example:
      smsbridge sample-config > smsbridge.ini
    """
    from smsbridge import reference

    click.echo(reference.rst() if rst else reference.sample(), nl=False)


# --- line -----------------------------------------------------------------------------------------


@click.group()
def line() -> None:
    """
    Add, remove and switch lines; give them commands.

    \b
    For example:
      smsbridge line add office --gateway box --set id=goip3 --ask password --person john
      smsbridge line disable office
      smsbridge line list
    """


def _edit(
    caller: Caller, make: Callable[[Editor], Change], sentence: str, *, dry_run: bool = False
) -> None:
    """Make up a change, write it, tell the daemon, and say what happened."""
    from smsbridge.confd import Editor
    from smsbridge.config import load

    with _sentences("; nothing was changed"):
        editor = Editor(caller.config_path, kinds=_kinds(caller))
        change = make(editor)
        if dry_run:
            for path, text in change.texts.items():
                click.echo(f"--- {path}" + ("" if text is not None else " is removed"))
                click.echo(text or "", nl=False)
            return
        editor.write(change)
        click.echo(sentence)
        # Read again, because only a file that is there can be too open.
        for warning in load(caller.config_path, kinds=_kinds(caller)).warnings:
            if warning not in editor.config.warnings:
                click.echo(warning)
    answer = caller.reload()
    click.echo(answer or "No daemon runs with this configuration; it will know at its next start.")


_DRY_RUN = click.option("--dry-run", is_flag=True, help="Show the files instead of writing them.")


@line.command()
@click.argument("name")
@click.option("--gateway", required=True, help="The gateway that the line belongs to.")
@click.option("--set", "pairs", multiple=True, metavar="KEY=VALUE", help="A key of the line.")
@click.option(
    "--ask", "asked", multiple=True, metavar="KEY", help="A key whose value is typed unseen."
)
@click.option("--person", "persons", multiple=True, help="Somebody who may use the line.")
@_DRY_RUN
@click.pass_obj
def add(
    caller: Caller,
    name: str,
    gateway: str,
    pairs: Sequence[str],
    asked: Sequence[str],
    persons: Sequence[str],
    dry_run: bool,
) -> None:
    """
    Add the line NAME, in a file of its own that 'include' finds.

    The whole configuration is checked with it before anything is written. A password on the
    command line can be seen by others on the machine; use --ask, or --set password_file=PATH
    (relative to the new file's folder).
    """
    values = _pairs(pairs)
    for key in asked:
        values[key] = click.prompt(key, hide_input=True, err=True)
    given = f"; {', '.join(persons)} may use it" if persons else ""
    _edit(
        caller,
        lambda editor: editor.add_line(name, gateway, values, persons),
        f"Added the line {name!r} to the gateway {gateway!r}{given}.",
        dry_run=dry_run,
    )


def _pairs(pairs: Sequence[str]) -> dict[str, str]:
    values: dict[str, str] = {}
    for pair in pairs:
        key, equals, value = pair.partition("=")
        if not equals or not key:
            raise click.UsageError(f"{pair!r} is not KEY=VALUE.")
        if key in values:
            raise click.UsageError(f"The key {key!r} is given twice.")
        values[key] = value
    return values


@line.command()
@click.argument("name")
@_DRY_RUN
@click.pass_obj
def remove(caller: Caller, name: str, dry_run: bool) -> None:
    """Remove the line NAME, also from the persons who have it; its messages stay in the history."""
    _edit(
        caller,
        lambda editor: editor.remove_line(name),
        f"Removed the line {name!r}.",
        dry_run=dry_run,
    )


@line.command()
@click.argument("name")
@_DRY_RUN
@click.pass_obj
def enable(caller: Caller, name: str, dry_run: bool) -> None:
    """Switch the line NAME on."""
    _switch(caller, name, True, dry_run)


@line.command()
@click.argument("name")
@_DRY_RUN
@click.pass_obj
def disable(caller: Caller, name: str, dry_run: bool) -> None:
    """Switch the line NAME off; its settings and messages stay."""
    _switch(caller, name, False, dry_run)


def _switch(caller: Caller, name: str, enabled: bool, dry_run: bool) -> None:
    word = "enabled" if enabled else "disabled"
    _edit(
        caller,
        lambda editor: editor.switch_line(name, enabled),
        f"The line {name!r} is {word}.",
        dry_run=dry_run,
    )


@line.command("list")
@click.option("--json", "as_json", is_flag=True, help="Print one JSON object a line.")
@click.pass_obj
def list_lines(caller: Caller, as_json: bool) -> None:
    """
    List the lines of the configuration and who has them.

    What they do at the moment is shown by 'smsbridge lines'.
    """
    from smsbridge.config import load

    with _sentences():
        config = load(caller.config_path, kinds=_kinds(caller))
    if as_json:
        for row in _line_rows(config):
            click.echo(json.dumps(row))
        return
    rows = _line_table(config)
    if not rows:
        click.echo("There are no lines yet; 'smsbridge line add' makes one.")
    for each in _table("", rows)[2:]:
        click.echo(each.removeprefix("  "))
