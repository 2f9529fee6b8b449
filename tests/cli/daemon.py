"""
A daemon with a bridge in memory, in a process of its own, because commands block while they wait.

Run as ``python -m tests.cli.daemon FOLDER`` it serves FOLDER/control.sock, says ``ready``, and
begins anew at SIGUSR1, saying ``again``.
"""

from __future__ import annotations

import atexit
import os
import signal
import subprocess
import sys
import tempfile
import time
from functools import cache
from pathlib import Path

from twisted.internet.protocol import Protocol
from twisted.internet.stdio import StandardIO

from smsbridge.core.directory import Directory, Line, World
from smsbridge.core.message import Status
from smsbridge.web.bridge import Reloaded
from smsbridge.web.control import About, Control
from smsbridge.web.site import ControlSocket
from tests.web.access.rig import Tables, door, persons
from tests.web.bridge import FakeBridge

ROOT = Path(__file__).parent.parent.parent


def fill(bridge: FakeBridge) -> None:
    """Put the messages into a bridge that the tests of commands know."""
    bridge.settle(bridge.add("Hello there"), Status.DELIVERED)
    bridge.settle(
        bridge.add("Grüße \N{PARTY POPPER}\nsecond line \x1b[31mred", incoming=True),
        Status.DELIVERED,
    )
    bridge.settle(bridge.add("lost", number="+12025550124"), Status.FAILED, "unreachable")
    bridge.settle(bridge.add("perhaps", line="demo2"), Status.UNCERTAIN, "outcome-unknown")
    bridge.add("waits", number="+12025550125")


class Served:
    """The process, from the tests' side."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self.config = folder / "smsbridge.ini"
        self.config.write_text(f"[smsbridge]\nstate = {folder} ; and a comment\n", "utf-8")
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.cli.daemon", str(folder)],
            cwd=ROOT,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self._expect("ready")

    def _expect(self, word: str) -> None:
        assert self._process.stdout is not None
        said = self._process.stdout.readline().strip()
        if said != word:
            self.stop()
            raise RuntimeError(f"the daemon of the tests said {said!r} instead of {word!r}")

    def begin_anew(self) -> None:
        """Let the daemon forget what earlier tests did."""
        self._process.send_signal(signal.SIGUSR1)
        self._expect("again")

    def stop(self) -> None:
        """End the process."""
        self._process.communicate()


@cache
def served() -> Served:
    """Start the daemon that all tests of this process share; it ends with the process."""
    folder = tempfile.TemporaryDirectory(prefix="smsbridge-cli-")
    daemon = Served(Path(folder.name))
    atexit.register(folder.cleanup)
    atexit.register(daemon.stop)
    return daemon


class UntilEnd(Protocol):
    """Ends the daemon when the tests close its input, or die."""

    def connectionLost(self, reason: object = None) -> None:
        """Stop."""
        from twisted.internet import reactor

        reactor.stop()


def serve(folder: Path) -> None:
    """Serve until a signal comes."""
    from twisted.internet import reactor

    bridge = FakeBridge()
    about = About(version="1.2.3", config=str(folder / "smsbridge.ini"), state=str(folder))
    tables = Tables(folder)
    directory = Directory(
        lines={each: Line(label=each, gateway="box") for each in ("one", "two")}, persons=persons()
    )
    entry = door(
        tables, World(directory), lambda: int(time.time() * 1000), reactor.seconds, os.urandom
    )
    service = ControlSocket(reactor, folder, Control(bridge, reactor, about, entry))

    def begin(*_: object) -> None:
        tables.empty()
        bridge.__init__()  # type: ignore[misc]
        fill(bridge)
        if os.path.exists(folder / "reload-errors"):
            bridge.reloaded = Reloaded(errors=("a.ini: [x] one", "a.ini: [y] two"))
        print("again", flush=True)

    fill(bridge)
    signal.signal(signal.SIGUSR1, lambda *_: reactor.callFromThread(begin))
    service.startService()
    reactor.addSystemEventTrigger("before", "shutdown", service.stopService)
    StandardIO(UntilEnd())
    reactor.callWhenRunning(lambda: print("ready", flush=True))
    reactor.run()


if __name__ == "__main__":
    serve(Path(sys.argv[1]))
