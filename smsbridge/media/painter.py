"""
Has pictures made by worker processes, which are started when they are needed and end when not.

See `worker` for why, and for what is said to them.
"""

from __future__ import annotations

import json
import os
import sys
from collections.abc import Mapping
from pathlib import Path
from typing import Any, Final

from twisted.internet.defer import Deferred, DeferredSemaphore
from twisted.internet.error import ProcessExitedAlready
from twisted.internet.interfaces import IDelayedCall
from twisted.internet.protocol import ProcessProtocol
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.errors import TemporaryFailure
from smsbridge.media.pictures import BadPicture, TooManyPixels

__all__ = ["Painter"]

_AT_ONCE: Final = 2
_MOST_WAITING: Final = 100
_TIMEOUT_S: Final = 60.0
_IDLE_S: Final = 30.0
_LONGEST_ANSWER: Final = 64 * 1024


class _Worker(ProcessProtocol):
    """One process; it does one thing at a time."""

    def __init__(self) -> None:
        self.ended: Deferred[None] = Deferred()
        self.idle: IDelayedCall | None = None
        self.is_gone = False
        self.words = b""  # what it said on its standard error
        self._answer: Deferred[Mapping[str, Any]] | None = None
        self._received = b""

    def ask(self, request: Mapping[str, Any]) -> Deferred[Mapping[str, Any]]:
        """Let it do something; canceling ends it."""
        self._received = b""
        self._answer = Deferred(lambda _: self.kill())
        transport: Any = self.transport
        transport.write(json.dumps(request).encode("ascii") + b"\n")
        return self._answer

    def outReceived(self, data: bytes) -> None:
        """Take an answer."""
        self._received += data
        if not self._received.endswith(b"\n"):
            if len(self._received) > _LONGEST_ANSWER:
                self.kill()
            return
        done, self._answer = self._answer, None
        if done is not None:
            done.callback(json.loads(self._received))

    def errReceived(self, data: bytes) -> None:
        """Keep the end of what it complains of."""
        self.words = (self.words + data)[-2000:]

    def close(self) -> None:
        """Let it end: there is no more to do."""
        if self.idle is not None and self.idle.active():
            self.idle.cancel()
        self.is_gone = True
        transport: Any = self.transport
        if transport is not None:
            transport.closeStdin()

    def kill(self) -> None:
        """End it now."""
        self.is_gone = True
        transport: Any = self.transport
        try:
            transport.signalProcess("KILL")
        except ProcessExitedAlready:
            pass

    def processEnded(self, reason: Failure) -> None:
        """Tell who waits that there is no answer."""
        self.is_gone = True
        if self.idle is not None and self.idle.active():
            self.idle.cancel()
        done, self._answer = self._answer, None
        if done is not None and not done.called:
            done.errback(BadPicture("the process ended"))
        self.ended.callback(None)


class Painter:
    """
    Makes pictures, few at once.

    :param reactor: starts processes and tells the time.
    """

    log = Logger()

    def __init__(self, reactor: Any) -> None:
        self._reactor = reactor
        self._turns = DeferredSemaphore(_AT_ONCE)
        self._idle: list[_Worker] = []
        self._all: set[_Worker] = set()
        self._stopped = False

    def start(self) -> None:
        """Take work."""
        self._stopped = False

    async def stop(self) -> None:
        """End all processes; fires when they are gone."""
        self._stopped = True
        ended = [worker.ended for worker in self._all]
        for worker in list(self._all):
            worker.close()
            if worker not in self._idle:
                worker.kill()
        self._idle.clear()
        for each in ended:
            await each

    async def thumbnail(self, path: Path, to: Path) -> None:
        """
        Write a small picture of a file into a new one.

        :raises BadPicture: there is none.
        :raises TemporaryFailure: there is too much to do.
        """
        await self._paint({"do": "thumbnail", "path": str(path), "to": str(to)})

    async def fit(self, path: Path, to: Path, limit_bytes: int) -> bool:
        """
        Write a picture that fits a limit into a new file; returns False where it cannot be so
        small.

        :raises BadPicture: it is none.
        :raises TemporaryFailure: there is too much to do.
        """
        asked = {"do": "fit", "path": str(path), "to": str(to), "limit": limit_bytes}
        answer = await self._paint(asked)
        return bool(answer["made"])

    async def _paint(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if len(self._turns.waiting) >= _MOST_WAITING:
            raise TemporaryFailure(
                "throttled", "There are many pictures to make; try again in a moment."
            )
        answer: Mapping[str, Any] = await self._turns.run(
            lambda: Deferred.fromCoroutine(self._ask(request))
        )
        if answer.get("error") == "pixels":
            raise TooManyPixels(answer["text"])
        if "error" in answer:
            raise BadPicture(answer["text"])
        return answer

    async def _ask(self, request: Mapping[str, Any]) -> Mapping[str, Any]:
        if self._stopped:
            raise TemporaryFailure("internal", "The media store is closed.")
        worker = self._take()
        asking = worker.ask(request)
        asking.addTimeout(_TIMEOUT_S, self._reactor, _too_slow)
        try:
            answer = await asking
        except BadPicture:
            if not self._stopped:
                self.log.warn(
                    "a picture could not be made: {words}",
                    words=worker.words.decode("utf-8", "replace"),
                )
            raise
        self._rest(worker)
        return answer

    def _take(self) -> _Worker:
        while self._idle:
            worker = self._idle.pop()
            if worker.idle is not None and worker.idle.active():
                worker.idle.cancel()
            if not worker.is_gone:
                return worker
        worker = _Worker()
        self._all.add(worker)
        worker.ended.addBoth(lambda _: self._all.discard(worker))
        # It finds the package where we found it, whatever way we were started.
        self._reactor.spawnProcess(
            worker,
            sys.executable,
            [sys.executable, "-m", "smsbridge.media.worker"],
            env={"PYTHONPATH": os.pathsep.join(each for each in sys.path if each), "LC_ALL": "C"},
        )
        return worker

    def _rest(self, worker: _Worker) -> None:
        if worker.is_gone or self._stopped:
            worker.close()
            return
        worker.idle = self._reactor.callLater(_IDLE_S, worker.close)
        self._idle.append(worker)


def _too_slow(result: Any, timeout_s: float) -> Any:
    raise BadPicture(f"it took more than {timeout_s:.0f} s")
