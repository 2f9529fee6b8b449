"""Pictures made by processes."""

from __future__ import annotations

import os
import signal
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.task import Clock, deferLater
from twisted.trial.unittest import SynchronousTestCase, TestCase

from smsbridge.errors import TemporaryFailure
from smsbridge.media.painter import Painter
from smsbridge.media.pictures import BadPicture, TooManyPixels
from smsbridge.media.worker import answer
from tests.media.files import opened, picture
from tests.media.test_pictures import bomb


class _Processes:
    """The real reactor with timers of a clock, which keeps the processes that it started."""

    def __init__(self) -> None:
        self.clock = Clock()
        self.pids: list[int] = []

    def spawnProcess(self, *arguments: Any, **more: Any) -> Any:
        """Start a process."""
        transport: Any = reactor.spawnProcess(*arguments, **more)  # type: ignore[attr-defined]
        self.pids.append(transport.pid)
        return transport

    def callLater(self, *arguments: Any) -> Any:
        """Call when the clock says so."""
        return self.clock.callLater(*arguments)


class PainterTests(TestCase):
    """`Painter`."""

    timeout = 60

    def setUp(self) -> None:
        """Make one, and a picture."""
        self.processes = _Processes()
        self.painter = Painter(self.processes)
        self.addCleanup(lambda: Deferred.fromCoroutine(self.painter.stop()))
        self.folder = Path(self.mktemp()).absolute()
        self.folder.mkdir()
        self.picture = self.file(picture(900, 600, "JPEG", noise=True))
        self.count = 0

    def file(self, data: bytes) -> Path:
        """Write a file."""
        path = self.folder / f"file{len(list(self.folder.iterdir()))}"
        path.write_bytes(data)
        return path

    def make(self, path: Path) -> Deferred[Path]:
        """Make a small picture; fires with where it is."""
        self.count += 1
        to = self.folder / f"made{self.count}"
        return Deferred.fromCoroutine(self.painter.thumbnail(path, to)).addCallback(lambda _: to)

    async def test_processes_are_few_and_used_again(self) -> None:
        """Many pictures do not start many processes."""
        made = await gatherResults([self.make(self.picture) for _ in range(6)])

        for path in made:
            self.assertEqual(opened(path.read_bytes()).size, (320, 213))
        self.assertEqual(len(self.processes.pids), 2)

    async def test_a_process_without_work_ends(self) -> None:
        """What it took of memory is given back; the next picture starts another."""
        await self.make(self.picture)
        self.processes.clock.advance(31)
        while self.is_alive(self.processes.pids[0]):
            await deferLater(reactor, 0.01)  # type: ignore[arg-type]

        await self.make(self.picture)

        self.assertEqual(len(self.processes.pids), 2)

    async def test_a_process_that_dies_is_replaced(self) -> None:
        """A picture that crashes a decoder is a bad picture, and the next one is made."""
        making = self.make(self.picture)
        os.kill(self.processes.pids[0], signal.SIGKILL)

        await self.assertFailure(making, BadPicture)

        self.assertTrue((await self.make(self.picture)).exists())

    async def test_what_takes_too_long_is_given_up(self) -> None:
        """A picture made to be slow holds up no others."""
        making = self.make(self.picture)
        os.kill(self.processes.pids[0], signal.SIGSTOP)

        self.processes.clock.advance(61)

        await self.assertFailure(making, BadPicture)
        self.assertTrue((await self.make(self.picture)).exists())

    async def test_faults_of_pictures_are_told_apart(self) -> None:
        """Broken, too large in memory, impossible to make so small."""
        await self.assertFailure(self.make(self.file(b"nonsense")), BadPicture)
        await self.assertFailure(self.make(self.file(bomb(50_000, 50_000))), TooManyPixels)
        self.assertFalse(await self.painter.fit(self.picture, self.folder / "x", 100))
        self.assertTrue(await self.painter.fit(self.picture, self.folder / "x", 50_000))
        self.assertLessEqual((self.folder / "x").stat().st_size, 50_000)

    async def test_nothing_is_left_after_the_stop(self) -> None:
        """What is under way ends without a picture, and no process stays."""
        await self.make(self.picture)
        making = self.make(self.picture)
        self.assertFailure(making, BadPicture)

        await self.painter.stop()

        await making
        self.assertFalse(any(self.is_alive(pid) for pid in self.processes.pids))
        self.assertEqual(self.processes.clock.getDelayedCalls(), [])
        await self.assertFailure(self.make(self.picture), TemporaryFailure)

    @staticmethod
    def is_alive(pid: int) -> bool:
        """Tell whether a process of ours is there."""
        try:
            os.kill(pid, 0)
        except ProcessLookupError:
            return False
        return True


class AnswerTests(SynchronousTestCase):
    """What a worker answers."""

    def test_requests_are_answered(self) -> None:
        """A picture is made, or the fault is named."""
        folder = Path(self.mktemp())
        folder.mkdir()
        path, to = folder / "a", folder / "b"
        path.write_bytes(picture(600, 400, noise=True))

        asked = {"path": str(path), "to": str(to)}
        self.assertEqual(answer({"do": "fit", "limit": 100, **asked}), {"made": False})
        self.assertEqual(answer({"do": "thumbnail", **asked}), {"made": True})
        self.assertEqual(opened(to.read_bytes()).format, "JPEG")
        path.write_bytes(bomb(50_000, 50_000))
        self.assertEqual(answer({"do": "thumbnail", **asked})["error"], "pixels")
        path.write_bytes(b"x")
        self.assertEqual(answer({"do": "fit", "limit": 9, **asked})["error"], "bad")
