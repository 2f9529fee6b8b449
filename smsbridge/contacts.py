"""Keeps the names in persons' vCard files up to date while the daemon runs."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail
from twisted.internet.task import LoopingCall
from twisted.internet.threads import deferToThreadPool
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.core.book import Contact
from smsbridge.core.contacts import CardFiles, Shelf, Wanted
from smsbridge.core.directory import World

__all__ = ["CardReader"]

_EVERY_S: Final = 30.0


class CardReader(Service):
    """
    Reads the files that the configuration names, at the start and when they have changed.

    :param in_thread: calls a function in a thread; by default in the reactor's.
    """

    log = Logger()
    name = "contacts"

    def __init__(
        self,
        reactor: Any,
        world: World,
        shelf: Shelf,
        in_thread: Callable[..., Deferred[Any]] | None = None,
    ) -> None:
        self._reactor = reactor
        self._world = world
        self._shelf = shelf
        self._in_thread = in_thread
        self._files = CardFiles()
        self._has_cards = False
        self._reading: Deferred[None] | None = None
        self._loop = LoopingCall(self._refresh)
        self._loop.clock = reactor

    def startService(self) -> None:
        """Begin to read."""
        Service.startService(self)
        self._loop.start(_EVERY_S, now=True)

    def stopService(self) -> Deferred[None] | None:
        """Read no more; fires when the thread is done."""
        Service.stopService(self)
        if self._loop.running:
            self._loop.stop()
        if self._reading is None:
            return None
        done: Deferred[None] = Deferred()
        self._reading.addBoth(lambda _: done.callback(None))
        return done

    def _refresh(self) -> None:
        directory = self._world.directory
        wanted = [
            Wanted(person.label, person.contacts, person.country or directory.country)
            for person in directory.persons.values()
            if person.contacts is not None
        ]
        if self._reading is not None or not (wanted or self._has_cards):
            return

        def read(cards: dict[str, tuple[Contact, ...]]) -> None:
            self._reading = None
            self._has_cards = bool(cards)
            self._shelf.put_cards(cards)

        def failed(failure: Failure) -> None:
            self._reading = None
            self.log.failure("contacts were not read", failure=failure)

        reading = self._reading = self._run(self._files.refresh, wanted)
        # It may have fired already, so what clears the attribute is added after it is set.
        reading.addCallbacks(read, failed)

    def _run(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        if self._in_thread is not None:
            return self._in_thread(function, *arguments)
        try:
            pool = self._reactor.getThreadPool()
        except Exception:  # a reactor without threads: the names stay unread, all else works
            return fail(Failure())
        return deferToThreadPool(self._reactor, pool, function, *arguments)
