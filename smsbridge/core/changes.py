"""Tells those who watch (a terminal, a browser) which messages are new or have changed."""

from __future__ import annotations

from collections.abc import Callable, Iterable

from twisted.logger import Logger

__all__ = ["Changes"]

Watcher = Callable[[list[str]], None]


class Changes:
    """A list of watchers; costs nothing while nobody watches."""

    log = Logger()

    def __init__(self) -> None:
        self._watchers: dict[object, Watcher] = {}

    def watch(self, watcher: Watcher) -> Callable[[], None]:
        """Call `watcher` with the ids of changed messages from now on; returns what ends it."""
        ticket = object()
        self._watchers[ticket] = watcher

        def stop() -> None:
            self._watchers.pop(ticket, None)

        return stop

    def __bool__(self) -> bool:
        return bool(self._watchers)

    def tell(self, message_ids: Iterable[str]) -> None:
        """Tell every watcher."""
        if not self._watchers:
            return
        ids = [message_id for message_id in dict.fromkeys(message_ids) if message_id]
        if not ids:
            return
        for ticket, watcher in list(self._watchers.items()):
            if ticket not in self._watchers:
                continue  # one before it ended its watching
            try:
                watcher(ids)
            except Exception:
                # One watcher's mistake must neither stop the others nor the message on its way.
                self.log.failure("a watcher failed")
