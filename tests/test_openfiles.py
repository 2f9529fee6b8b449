"""Tests of `smsbridge.openfiles`."""

from __future__ import annotations

import subprocess
import sys
from resource import RLIM_INFINITY, RLIMIT_NOFILE

from twisted.logger import globalLogPublisher
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.openfiles import MOST_OPEN_FILES, raise_open_files


class OpenFilesTests(SynchronousTestCase):
    """How many files the process may have open."""

    def limits(self, soft: int, hard: int, failure: Exception | None = None) -> list[int]:
        """Raise the limit of a process; returns what was set."""
        done: list[int] = []

        def set_limits(which: int, limits: tuple[int, int]) -> None:
            self.assertEqual((which, limits[1]), (RLIMIT_NOFILE, hard))
            if failure is not None:
                raise failure
            done.append(limits[0])

        raise_open_files(lambda which: (soft, hard), set_limits)
        return done

    def test_is_raised_to_the_hard_limit(self) -> None:
        """What a shell gives is not enough for a day with many browsers."""
        self.assertEqual(self.limits(1024, 4096), [4096])

    def test_is_raised_to_a_bound(self) -> None:
        """A system that gives a million, or any number, is not asked for it."""
        self.assertEqual(self.limits(1024, 1_048_576), [MOST_OPEN_FILES])
        self.assertEqual(self.limits(1024, RLIM_INFINITY), [MOST_OPEN_FILES])

    def test_is_never_lowered(self) -> None:
        """What is there already stays."""
        self.assertEqual(self.limits(4096, 4096), [])
        self.assertEqual(self.limits(100_000, 1_048_576), [])
        self.assertEqual(self.limits(RLIM_INFINITY, RLIM_INFINITY), [])

    def test_a_refusal_is_told_and_survived(self) -> None:
        """The start goes on with what there is; the log says so."""
        told: list[str] = []

        def observer(event: dict[str, object]) -> None:
            told.append(f"{event.get('soft')} {event.get('wanted')} {event.get('reason')}")

        globalLogPublisher.addObserver(observer)
        self.addCleanup(globalLogPublisher.removeObserver, observer)

        self.limits(1024, 4096, ValueError("not allowed"))

        self.assertEqual(told, ["1024 4096 not allowed"])

    def test_a_process_gets_more(self) -> None:
        """The system does as it is asked."""
        code = (
            "from resource import *\n"
            "from smsbridge.openfiles import raise_open_files\n"
            "hard = min(getrlimit(RLIMIT_NOFILE)[1] % 2**63, 2048)\n"
            "setrlimit(RLIMIT_NOFILE, (256, hard))\n"
            "raise_open_files()\n"
            "soft, now = getrlimit(RLIMIT_NOFILE)\n"
            "print(soft == now == hard)\n"
        )

        told = subprocess.run(
            [sys.executable, "-c", code], capture_output=True, text=True, timeout=60, check=True
        )

        self.assertEqual(told.stdout, "True\n")
