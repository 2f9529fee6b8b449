"""A MultiService whose children stop one after another."""

from __future__ import annotations

from twisted.application.service import MultiService, Service
from twisted.internet.defer import Deferred, maybeDeferred
from twisted.logger import Logger

__all__ = ["StagedService"]


class StagedService(MultiService):
    """
    Stops its children in reverse order, waiting for each, so that the store outlives its writers.
    """

    log = Logger()

    def stopService(self) -> Deferred[None]:
        """Stop the children; fires when the last one has stopped."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_children())

    async def _stop_children(self) -> None:
        for child in reversed(list(self)):
            try:
                await maybeDeferred(child.stopService)
            except Exception:
                # One child that cannot stop must not keep the others running.
                self.log.failure("could not stop {child}", child=child)
