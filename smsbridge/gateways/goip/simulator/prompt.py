"""Let a person at a terminal drive a simulated box; lines in, lines out."""

from __future__ import annotations

from collections.abc import Callable

from twisted.internet.protocol import connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from smsbridge.gateways.goip.simulator.box import Box
from smsbridge.gateways.goip.simulator.commands import (
    CommandError,
    describe,
    help_text,
    run_line,
)
from smsbridge.gateways.goip.simulator.journal import Happening

GREETING = "Type help for what you can do, quit to stop."


class Prompt(LineOnlyReceiver):
    """
    Read commands and show what happens, until ``quit`` or the end of the input.

    ``on_quit`` is called once.
    """

    delimiter = b"\n"
    MAX_LENGTH = 65536

    def __init__(self, box: Box, on_quit: Callable[[], None], *, quiet: bool = False) -> None:
        self._box = box
        self._on_quit = on_quit
        self._quiet = quiet
        self._over = False

    def connectionMade(self) -> None:
        if not self._quiet:
            self._box.journal.observers.append(self._happened)
        self._show([GREETING])

    def lineReceived(self, line: bytes) -> None:
        text = line.decode("utf-8", "replace").strip()
        word, *words = text.split() or [""]
        if word in ("quit", "exit"):
            self._quit()
            return
        if word in ("help", "?"):
            self._show(help_text(words))
            return
        try:
            self._show(run_line(self._box, text) if text else [])
        except CommandError as error:
            self._show([str(error)])

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._happened in self._box.journal.observers:
            self._box.journal.observers.remove(self._happened)
        self._quit()

    def _happened(self, happening: Happening) -> None:
        text = describe(happening)
        if text is not None and self.transport is not None:
            self.transport.write(f"\r{text}\n> ".encode("utf-8", "replace"))

    def _show(self, lines: list[str]) -> None:
        if self.transport is not None:
            text = "".join(f"{line}\n" for line in lines)
            self.transport.write(f"{text}> ".encode("utf-8", "replace"))

    def _quit(self) -> None:
        if not self._over:
            self._over = True
            self._on_quit()
