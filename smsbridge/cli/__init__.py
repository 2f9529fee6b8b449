"""The ``smsbridge`` command, which talks to the daemon over its control socket."""

from smsbridge.cli.program import main

__all__ = ["main"]
