"""The page of the manual about the commands, made from what click knows of them."""

from __future__ import annotations

import inspect
import re
from collections.abc import Iterator

import click

from smsbridge.cli.program import COMMANDS, main
from smsbridge.cli.simulate import simulate

__all__ = ["rst"]


def rst() -> str:
    """Return the reference of all commands in reStructuredText."""
    context = click.Context(main, info_name="smsbridge")
    parts = []
    for heading, commands in COMMANDS.items():
        parts.append(_heading(heading, "-"))
        for name in commands:
            command = main.get_command(context, name)
            assert command is not None, name
            parts.extend(_command(command, click.Context(command, context, name)))
    return "\n".join(parts)


def _heading(text: str, line: str) -> str:
    return f"{text}\n{line * len(text)}\n"


def _command(command: click.Command, context: click.Context) -> Iterator[str]:
    path = context.command_path
    if isinstance(command, click.Group):
        yield _heading(path, "~")
        if command.invoke_without_command:
            yield _usage(command, context)
        yield _text(command)
        if command.invoke_without_command:
            yield from _options(command, context)
        if command is simulate:
            return  # the peers have pages of their own
        for name in command.list_commands(context):
            child = command.get_command(context, name)
            assert child is not None, name
            yield from _command(child, click.Context(child, context, name))
        return
    yield _heading(path, "~")
    yield _usage(command, context)
    yield _text(command)
    yield from _options(command, context)


def _usage(command: click.Command, context: click.Context) -> str:
    usage = " ".join([context.command_path, *command.collect_usage_pieces(context)])
    return f".. code-block:: console\n\n    {usage}\n"


def _options(command: click.Command, context: click.Context) -> Iterator[str]:
    options = [
        _option(each, context)
        for each in command.params
        if isinstance(each, click.Option) and not each.hidden
    ]
    if options:
        yield "\n".join(options) + "\n"


def _text(command: click.Command) -> str:
    """Return a help text; what click does not wrap becomes a literal block below its first line."""
    found = []
    for paragraph in re.split(r"\n\s*\n", inspect.cleandoc(command.help or "")):
        if not paragraph.startswith("\b"):
            found.append(_escaped(" ".join(paragraph.split())) + "\n")
            continue
        first, *rest = paragraph.removeprefix("\b").strip("\n").splitlines()
        indent = min(len(each) - len(each.lstrip()) for each in rest)
        block = "\n".join(f"    {each[indent:]}" for each in rest)
        found.append(f"{_escaped(first.removesuffix(':'))}::\n\n{block}\n")
    return "\n".join(found)


def _option(option: click.Option, context: click.Context) -> str:
    names, help_text = option.get_help_record(context) or ("", option.help or "")
    names = re.sub(r"\s+", " ", names)
    return f"``{names}``\n    {_escaped(' '.join(help_text.split()))}"


def _escaped(text: str) -> str:
    r"""Keep reST from reading ``*``, ``|``, ``_``, ``\``; set quoted words as they are typed."""
    text = re.sub(r"([\\*|`])", r"\\\1", text)
    text = re.sub(r"(?<=\w)_(?=\W|$)", r"\\_", text)
    return re.sub(r"(?<![\w\\])'([^'\s][^']*)'(?!\w)", r"``\1``", text)
