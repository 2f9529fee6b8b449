"""``simulate``: the simulators of peers, each beside the code that speaks with it."""

from __future__ import annotations

import importlib

import click

__all__ = ["simulate"]

#: Peer -> (the module with its command, what it plays).
_PEERS = {
    "goip": (
        "smsbridge.gateways.goip.simulator.cli:goip",
        "Play a GoIP box with one or more channels.",
    ),
    "provider": (
        "smsbridge.provider.simulator.cli:provider",
        "Play a telephony provider's account.",
    ),
    "webhook": (
        "smsbridge.gateways.webhook.simulator.cli:webhook",
        "Play a program that is called by HTTP.",
    ),
}


class _Peers(click.Group):
    """A group whose commands are imported when they are called: they bring Twisted along."""

    def list_commands(self, ctx: click.Context) -> list[str]:
        """Return the names of the peers."""
        return sorted(_PEERS)

    def get_command(self, ctx: click.Context, cmd_name: str) -> click.Command | None:
        """Import the command of a peer."""
        if cmd_name not in _PEERS:
            return None
        module, _, attribute = _PEERS[cmd_name][0].partition(":")
        command: click.Command = getattr(importlib.import_module(module), attribute)
        return command

    def format_commands(self, ctx: click.Context, formatter: click.HelpFormatter) -> None:
        """Write the peers without importing them."""
        with formatter.section("Commands"):
            formatter.write_dl([(name, text) for name, (_, text) in sorted(_PEERS.items())])


@click.command(cls=_Peers)
def simulate() -> None:
    """
    Play a peer, for trying things out.

    No daemon is needed: the simulator is the other side of its network connection.
    """
