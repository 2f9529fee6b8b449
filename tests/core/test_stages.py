"""Tests of stopping one after another."""

from __future__ import annotations

from twisted.application.service import Service
from twisted.internet.defer import Deferred
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.stages import StagedService


class _Child(Service):
    """Stops when the test says so."""

    def __init__(self, name: str, calls: list[str]) -> None:
        self.setName(name)
        self.calls = calls
        self.stopped: Deferred[None] = Deferred()

    def startService(self) -> None:
        Service.startService(self)
        self.calls.append(f"start {self.name}")

    def stopService(self) -> Deferred[None]:
        Service.stopService(self)
        self.calls.append(f"stop {self.name}")
        return self.stopped


class _Broken(Service):
    """Cannot stop."""

    def stopService(self) -> None:
        raise ZeroDivisionError("a bug")


class StagedServiceTests(SynchronousTestCase):
    """The store outlives those who write to it."""

    def setUp(self) -> None:
        """Start three services."""
        self.calls: list[str] = []
        self.root = StagedService()
        self.children = [_Child(name, self.calls) for name in ("store", "core", "web")]
        for child in self.children:
            child.setServiceParent(self.root)
        self.root.startService()
        del self.calls[:]

    def test_stops_in_reverse_order_and_waits_for_each(self) -> None:
        """A service is stopped when the one that was started after it has stopped."""
        stopping = self.root.stopService()
        store, core, web = self.children

        self.assertEqual(self.calls, ["stop web"])
        web.stopped.callback(None)
        self.assertEqual(self.calls, ["stop web", "stop core"])
        core.stopped.callback(None)
        store.stopped.callback(None)

        self.successResultOf(stopping)
        self.assertEqual(self.calls, ["stop web", "stop core", "stop store"])
        self.assertFalse(self.root.running)

    def test_one_that_cannot_stop_does_not_keep_the_others_running(self) -> None:
        """A mistake is logged, the rest is stopped."""
        _Broken().setServiceParent(self.root)
        stopping = self.root.stopService()
        self.children[2].stopped.errback(ZeroDivisionError("another"))
        for child in self.children[1::-1]:
            child.stopped.callback(None)

        self.successResultOf(stopping)
        self.assertEqual(self.calls, ["stop web", "stop core", "stop store"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)
