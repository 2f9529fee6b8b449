"""Tests of `smsbridge.notify`, with a socket that stands for systemd's."""

from __future__ import annotations

import os
import socket
import tempfile

from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.notify import Notices, Notifier, Watchdog


class NotifyTestCase(SynchronousTestCase):
    """What the tests below share."""

    def setUp(self) -> None:
        """Listen as systemd does."""
        folder = tempfile.TemporaryDirectory(prefix="smsbridge-")
        self.addCleanup(folder.cleanup)
        self.address = os.path.join(folder.name, "notify")
        self.systemd = socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM)
        self.addCleanup(self.systemd.close)
        self.systemd.setblocking(False)
        self.systemd.bind(self.address)

    def heard(self) -> list[str]:
        """Return the notices that came since the last time."""
        found = []
        while True:
            try:
                found.append(self.systemd.recv(4096).decode())
            except BlockingIOError:
                return found


class NotifierTests(NotifyTestCase):
    """The datagrams."""

    def test_lines_are_one_datagram(self) -> None:
        """All lines of a notice arrive together."""
        Notifier(self.address).send("READY=1", "STATUS=Running.")

        self.assertEqual(self.heard(), ["READY=1\nSTATUS=Running."])

    def test_abstract_address(self) -> None:
        """An address that begins with @ is in the abstract namespace."""
        name = f"smsbridge-test-{os.getpid()}"
        with socket.socket(socket.AF_UNIX, socket.SOCK_DGRAM) as abstract:
            abstract.bind("\0" + name)
            Notifier("@" + name).send("READY=1")

            self.assertEqual(abstract.recv(100), b"READY=1")

    def test_without_systemd_nothing_happens(self) -> None:
        """An empty address sends nothing, one that is gone is survived."""
        Notifier("").send("READY=1")
        Notifier("/nope/notify").send("READY=1")

        self.assertEqual(self.heard(), [])


class WatchdogTests(SynchronousTestCase):
    """How often systemd wants to hear of us."""

    def test_half_of_what_is_asked(self) -> None:
        """We speak twice as often as we must."""
        self.assertEqual(Watchdog.of({"WATCHDOG_USEC": "30000000"}, 5).every_s, 15.0)

    def test_other_process_or_nonsense_is_nothing(self) -> None:
        """What is meant for another process, or is no number, asks for nothing."""
        for environ in (
            {},
            {"WATCHDOG_USEC": "0"},
            {"WATCHDOG_USEC": "often"},
            {"WATCHDOG_USEC": "1000000", "WATCHDOG_PID": "6"},
        ):
            self.assertIsNone(Watchdog.of(environ, 5).every_s, environ)


class NoticesTests(NotifyTestCase):
    """The service."""

    def setUp(self) -> None:
        """Start a daemon that is not ready."""
        super().setUp()
        self.clock = Clock()
        self.unready = "The database is not open."
        self.notices = Notices(
            self.clock,
            Notifier(self.address),
            {"WATCHDOG_USEC": "20000000"},
            lambda: self.unready,
            lambda: 5,
        )
        self.notices.startService()

    def test_ready_is_told_when_it_is_so(self) -> None:
        """READY waits for the store and the listeners, and is told once."""
        self.assertEqual(self.heard(), ["WATCHDOG=1", "STATUS=The database is not open."])

        self.unready = ""
        self.clock.pump([0.5] * 4)

        self.assertEqual(self.heard(), ["READY=1\nSTATUS=Running."])

    def test_watchdog_hears_of_us_while_the_reactor_turns(self) -> None:
        """A sign of life comes every ten seconds of twenty."""
        self.unready = ""
        self.clock.advance(1)
        self.heard()

        self.clock.pump([5] * 4)

        self.assertEqual(self.heard(), ["WATCHDOG=1", "WATCHDOG=1"])

    def test_reload_is_told(self) -> None:
        """Between RELOADING and READY systemd knows that we are busy."""
        self.heard()

        self.notices.reloading(12.5)
        self.notices.reloaded()

        self.assertEqual(
            self.heard(),
            [
                "RELOADING=1\nMONOTONIC_USEC=12500000\nSTATUS=Reloading.",
                "READY=1\nSTATUS=Running.",
            ],
        )

    def test_stop_is_told_and_nothing_after(self) -> None:
        """After STOPPING nothing more is said, whatever time passes."""
        self.heard()

        self.notices.stopService()
        self.clock.advance(60)

        self.assertEqual(self.heard(), ["STOPPING=1\nSTATUS=Stopping."])
        self.assertEqual(self.clock.getDelayedCalls(), [])
