"""
Tells systemd how the daemon is: ready, reloading, stopping, alive.

The protocol (sd_notify(3)) is one datagram of ``NAME=VALUE`` lines to the socket that the variable
NOTIFY_SOCKET names; a name that begins with ``@`` is in the abstract namespace.  WATCHDOG_USEC is
how often systemd wants to hear of us, in microseconds, and WATCHDOG_PID whom it means.  Without
these variables nothing is sent.
"""

from __future__ import annotations

import os
import socket
from collections.abc import Callable, Mapping

from attrs import frozen
from twisted.application.service import Service
from twisted.internet.interfaces import IReactorTime
from twisted.internet.task import LoopingCall
from twisted.logger import Logger

__all__ = ["Notices", "Notifier", "Watchdog"]


@frozen
class Watchdog:
    """What systemd asked for: how often, or never."""

    every_s: float | None = None

    @classmethod
    def of(cls, environ: Mapping[str, str], pid: int) -> Watchdog:
        """Read the variables; ones that are meant for another process say nothing."""
        meant = environ.get("WATCHDOG_PID", "")
        text = environ.get("WATCHDOG_USEC", "")
        if not text.isdecimal() or int(text) == 0 or (meant and meant != str(pid)):
            return cls()
        # Half of the time, as sd_watchdog_enabled(3) recommends.
        return cls(int(text) / 2_000_000)


class Notifier:
    """
    Sends notices to systemd.

    :param address: the value of NOTIFY_SOCKET; empty sends nothing.
    """

    log = Logger()

    def __init__(self, address: str) -> None:
        self._address = "\0" + address[1:] if address.startswith("@") else address

    def send(self, *lines: str) -> None:
        """Send ``NAME=VALUE`` lines; a notice that cannot be sent is logged and given up."""
        if not self._address:
            return
        try:
            with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM | socket.SOCK_NONBLOCK) as notice:
                notice.connect(self._address)
                notice.send("\n".join(lines).encode("utf-8"))
        except OSError as e:
            self.log.warn("systemd could not be told: {reason}", reason=str(e))


class Notices(Service):
    """
    Tells systemd when everything before it has started, that it lives, and when it stops.

    It is added last, so that it starts after and stops before everything else.

    :param unready: what is not open yet, in a sentence; while there is something, the daemon is
        not ready.
    """

    name = "notices"

    def __init__(
        self,
        clock: IReactorTime,
        notifier: Notifier,
        environ: Mapping[str, str],
        unready: Callable[[], str],
        pid: Callable[[], int] = os.getpid,
    ) -> None:
        self._notifier = notifier
        self._environ = environ
        self._unready = unready
        self._pid = pid
        self._watch = LoopingCall(self._look)
        self._watch.clock = clock
        self._alive = LoopingCall(self._bark)
        self._alive.clock = clock

    def startService(self) -> None:
        """Begin to look whether all is open."""
        super().startService()
        # The process is asked for now: twistd forks between building and starting.
        every_s = Watchdog.of(self._environ, self._pid()).every_s
        if every_s is not None:
            self._alive.start(every_s)
        self._watch.start(0.5)

    def stopService(self) -> None:
        """Tell that the end has begun."""
        super().stopService()
        for loop in (self._watch, self._alive):
            if loop.running:
                loop.stop()
        self._notifier.send("STOPPING=1", "STATUS=Stopping.")

    def reloading(self, seconds: float) -> None:
        """
        Tell that the configuration is being read.

        :param seconds: of the monotonic clock, which systemd compares.
        """
        self._notifier.send(
            "RELOADING=1", f"MONOTONIC_USEC={int(seconds * 1e6)}", "STATUS=Reloading."
        )

    def reloaded(self) -> None:
        """Tell that the reload is over."""
        self._notifier.send("READY=1", "STATUS=Running.")

    def _look(self) -> None:
        unready = self._unready()
        if not unready:
            self._watch.stop()
            self._notifier.send("READY=1", "STATUS=Running.")
        else:
            self._notifier.send(f"STATUS={unready}")

    def _bark(self) -> None:
        # That this is called is the proof: the reactor turns.
        self._notifier.send("WATCHDOG=1")
