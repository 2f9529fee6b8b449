"""
The main command: finds the configuration, and loads a subcommand when it is called.

Nothing of Twisted, of the database or of the gateways is imported for a command that only talks to
the daemon, so that a command typed in a loop does not wait for imports.
"""

from __future__ import annotations

import difflib
import importlib
import os
import sys
from pathlib import Path
from typing import Any

import click

from smsbridge import __version__

__all__ = ["COMMANDS", "Call", "find_config", "main"]

_ETC = Path("/etc/smsbridge/smsbridge.ini")

#: Heading -> command -> (where it is, what it does). The sentences are repeated here, because
#: `--help` would have to import every command to ask for them; a test holds them equal.
COMMANDS: dict[str, dict[str, tuple[str, str]]] = {
    "Texts": {
        "send": ("smsbridge.cli.texts:send", "Send a text."),
        "messages": ("smsbridge.cli.texts:messages", "List messages, both ways."),
        "trace": ("smsbridge.cli.texts:trace", "Show everything that happened to a message."),
        "queue": ("smsbridge.cli.queue:queue", "See and change what waits to be delivered."),
    },
    "Lines": {
        "lines": ("smsbridge.cli.lines:lines", "Show how the lines are."),
        "line": ("smsbridge.cli.lines:line", "Set up lines, and give them commands."),
        "ussd": ("smsbridge.cli.lines:ussd", "Send a USSD code and print the answer."),
        "calls": ("smsbridge.cli.lines:calls", "Show the call log."),
        "reconcile": (
            "smsbridge.cli.reconcile:reconcile",
            "Fetch from providers what their webhooks missed.",
        ),
        "opt-out": (
            "smsbridge.cli.optouts:opt_out",
            "See and change who wants no texts from a line.",
        ),
    },
    "People": {
        "passwd": (
            "smsbridge.cli.accounts:passwd",
            "Set the password with which a person logs in.",
        ),
        "token": (
            "smsbridge.cli.accounts:token",
            "Make, list and remove what programs log in with.",
        ),
    },
    "Daemon": {
        "status": ("smsbridge.cli.operations:status", "Show on one page how the daemon is."),
        "reload": ("smsbridge.cli.operations:reload", "Apply the changed configuration."),
        "export": ("smsbridge.cli.operations:export", "Write all messages to a file."),
        "purge": ("smsbridge.cli.operations:purge", "Delete old messages."),
    },
    "Setting up": {
        "check": (
            "smsbridge.cli.configuration:check",
            "Validate the configuration without starting anything.",
        ),
        "sample-config": (
            "smsbridge.cli.configuration:sample_config",
            "Print a configuration with every key explained.",
        ),
        "webhook": (
            "smsbridge.cli.webhook:webhook",
            "Try out the programs that are called by HTTP.",
        ),
        "install-service": (
            "smsbridge.cli.service:install_service",
            "Install the daemon as a systemd service.",
        ),
        "simulate": ("smsbridge.cli.simulate:simulate", "Play a peer, for trying things out."),
    },
}

_HELP = """\
Operate smsbridge: send and read texts, look after lines and queues.

Most commands talk to the running daemon, over a socket in its state folder that only its user and
root may open.

\b
The configuration is the first of these that there is:
  the file named by --config
  the file named by the environment variable SMSBRIDGE_CONFIG
  conf/quickstart.ini, when the program belongs to the checkout it is run in
  /etc/smsbridge/smsbridge.ini

\b
Examples:
  smsbridge send --line demo1 +12025550123 "Hello there"
  smsbridge messages --follow
  smsbridge --config office.ini status

\b
Exit codes:
  0  done
  1  refused or failed; one sentence on the standard error output says why
  2  wrong usage
  3  no daemon answers
"""


def find_config(named: str | None, environ: dict[str, str], folder: Path) -> Path:
    """
    Return the configuration that is meant.

    :param folder: where the command is run.
    :raises click.UsageError: there is none.
    """
    for source, value in (
        ("--config", named),
        ("SMSBRIDGE_CONFIG", environ.get("SMSBRIDGE_CONFIG")),
    ):
        if value:
            path = Path(value)
            if not path.exists():
                raise click.UsageError(f"{source} names {path}, which does not exist.")
            return path
    checkout = Path(__file__).resolve().parent.parent.parent
    quickstart = checkout / "conf" / "quickstart.ini"
    if folder.resolve().is_relative_to(checkout) and quickstart.exists():
        return quickstart
    if _ETC.exists():
        return _ETC
    raise click.UsageError(
        f"No configuration found: there is no {_ETC}. Name one with --config FILE; "
        "'smsbridge sample-config' prints one with every key explained."
    )


class Call:
    """One call of the command; subcommands get it as click's ``obj``."""

    def __init__(self, config: str | None, *, verbose: bool = False) -> None:
        self._config = config
        self._verbose = verbose
        self._found: Path | None = None

    @property
    def config_path(self) -> Path:
        """The configuration, searched at the first use: some commands need none."""
        if self._found is None:
            self._found = find_config(self._config, dict(os.environ), Path.cwd())
            if self._verbose:
                click.echo(f"configuration: {self._found}", err=True)
        return self._found

    def daemon(self) -> Any:
        """Return a `client.Client` of the daemon that runs with this configuration."""
        from smsbridge.cli.client import Client, state_folder

        state = state_folder(self.config_path)
        if self._verbose:
            click.echo(f"state folder: {state}", err=True)
        return Client(state, self.config_path)

    def reload(self) -> str | None:
        """Have the daemon reload; return what it said, or None if none runs."""
        from smsbridge.cli.client import NoDaemon
        from smsbridge.cli.operations import reloaded

        try:
            return reloaded(self.daemon())
        except NoDaemon:
            return None


class _Program(click.Group):
    """A group whose commands are imported when they are called."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return all names in the order of the help."""
        return [name for commands in COMMANDS.values() for name in commands]

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import a command."""
        for commands in COMMANDS.values():
            if cmd_name in commands:
                module, _, attribute = commands[cmd_name][0].partition(":")
                command: click.Command = getattr(importlib.import_module(module), attribute)
                return command
        return None

    def resolve_command(
        self, ctx: click.Context, args: list[str]
    ) -> tuple[str | None, click.Command | None, list[str]]:
        """Find a command; say which one may be meant by a wrong name."""
        if args and self.get_command(ctx, args[0]) is None and not args[0].startswith("-"):
            near = difflib.get_close_matches(args[0], self.list_commands(ctx), 1)
            hint = f" Did you mean '{near[0]}'?" if near else ""
            ctx.fail(f"There is no command '{args[0]}'.{hint}")
        return super().resolve_command(ctx, args)

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the commands under their headings, without importing them."""
        longest = max(len(name) for name in self.list_commands(ctx))
        for heading, commands in COMMANDS.items():
            with formatter.section(heading):
                formatter.write_dl(
                    [(name.ljust(longest), sentence) for name, (_, sentence) in commands.items()]
                )


@click.command(cls=_Program, help=_HELP, context_settings={"help_option_names": ["-h", "--help"]})
@click.option("--config", metavar="FILE", help="The daemon's configuration.")
@click.option("-v", "--verbose", is_flag=True, help="Say which files are used.")
@click.version_option(__version__, prog_name="smsbridge")
@click.pass_context
def main(ctx: click.Context, config: str | None, verbose: bool) -> None:
    """Run a command (the help is above)."""
    for stream in (sys.stdout, sys.stderr):
        # A text holds any script; a terminal that cannot show it must not end the command.
        reconfigure = getattr(stream, "reconfigure", None)
        if reconfigure is not None:
            reconfigure(errors="replace")
    if ctx.obj is None:
        ctx.obj = Call(config, verbose=verbose)
