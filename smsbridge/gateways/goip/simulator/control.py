"""
Let another program drive a simulated box: one JSON object a line, each answered by one.

``{"do": "in", "line": "demo1", "number": "+12025550123", "text": "hello"}`` is answered by
``{"ok": true, ...}`` or ``{"ok": false, "error": "..."}``.  The commands are those of the prompt,
with their parameters by name.  ``{"do": "follow"}`` adds a line for everything that happens from
then on, told from answers by its key ``event``.  ``{"do": "quit"}`` switches the box off.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

from twisted.internet.interfaces import IAddress
from twisted.internet.protocol import Factory, connectionDone
from twisted.protocols.basic import LineOnlyReceiver
from twisted.python.failure import Failure

from smsbridge.gateways.goip.simulator.box import Box
from smsbridge.gateways.goip.simulator.commands import as_data, run
from smsbridge.gateways.goip.simulator.journal import Happening
from smsbridge.simulation import CommandError


class ControlProtocol(LineOnlyReceiver):
    """One program's connection."""

    delimiter = b"\n"
    MAX_LENGTH = 1 << 20

    def __init__(self, box: Box, on_quit: Callable[[], None]) -> None:
        self._box = box
        self._on_quit = on_quit

    def lineReceived(self, line: bytes) -> None:
        if not line.strip():
            return
        try:
            request = json.loads(line)
        except ValueError:
            self._write({"ok": False, "error": "expected one JSON object a line"})
            return
        if not isinstance(request, dict) or not isinstance(request.get("do"), str):
            self._write({"ok": False, "error": 'expected an object such as {"do": "status"}'})
            return
        self._perform(request.pop("do"), request)

    def connectionLost(self, reason: Failure = connectionDone) -> None:
        if self._happened in self._box.journal.observers:
            self._box.journal.observers.remove(self._happened)

    def _perform(self, name: str, arguments: dict[str, Any]) -> None:
        if name == "follow":
            if self._happened not in self._box.journal.observers:
                self._box.journal.observers.append(self._happened)
            self._write({"ok": True})
        elif name == "quit":
            self._write({"ok": True})
            self._on_quit()
        else:
            try:
                result = run(self._box, name, arguments)
            except CommandError as error:
                self._write({"ok": False, "error": str(error)})
            else:
                self._write({"ok": True, **result})

    def _happened(self, happening: Happening) -> None:
        self._write(as_data(happening))

    def _write(self, data: dict[str, Any]) -> None:
        self.sendLine(json.dumps(data).encode())


class ControlFactory(Factory):
    """Serves any number of programs."""

    noisy = False

    def __init__(self, box: Box, on_quit: Callable[[], None]) -> None:
        self._box = box
        self._on_quit = on_quit

    def buildProtocol(self, addr: IAddress | None) -> ControlProtocol:
        return ControlProtocol(self._box, self._on_quit)
