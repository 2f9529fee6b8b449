"""
Starts the processes of a measurement, reads what the kernel says about them, and ends them.

A child tells its parent something by printing one JSON object a line.  Only processes that were
started here are signalled, each by its id.
"""

from __future__ import annotations

import json
import os
import select
import signal
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any, Self

__all__ = ["ROOT", "Child", "ChildFailed", "Load", "python"]

ROOT = Path(__file__).resolve().parents[1]

_TICKS_PER_S = os.sysconf("SC_CLK_TCK")


class ChildFailed(Exception):
    """A process ended, or did not say in time what it should; the text has the end of its log."""


def python(module: str, *arguments: object) -> list[str]:
    """Return the command that runs a module of ours."""
    return [sys.executable, "-m", module, *(str(argument) for argument in arguments)]


def _surroundings() -> dict[str, str]:
    """Return the environment; what is measured is a program that is compiled, as at users'."""
    kept = dict(os.environ)
    kept.pop("PYTHONDONTWRITEBYTECODE", None)
    return kept


class Child:
    """
    A process from its start to its end; use it in a ``with``.

    :param log: what it writes to stderr goes there, and stdout too unless `talks`.
    :param talks: whether `hear` is going to be called.
    """

    def __init__(
        self,
        name: str,
        command: Sequence[str],
        log: Path,
        *,
        talks: bool = False,
        environment: Mapping[str, str] | None = None,
        folder: Path | None = None,
    ) -> None:
        self.name = name
        self._log = log
        self._heard = b""
        with log.open("ab") as output:
            self._process = subprocess.Popen(
                list(command),
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE if talks else output,
                stderr=output,
                env={**_surroundings(), "PYTHONPATH": str(ROOT), **(environment or {})},
                cwd=folder or ROOT,
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.stop()

    @property
    def pid(self) -> int:
        """The process id."""
        return self._process.pid

    @property
    def is_running(self) -> bool:
        """Whether the process is there."""
        return self._process.poll() is None

    def hear(self, timeout_s: float = 60.0) -> dict[str, Any]:
        """
        Wait for the next thing that it tells.

        :raises ChildFailed: it ended, or was silent for too long.
        """
        output = self._process.stdout
        assert output is not None
        deadline_s = time.monotonic() + timeout_s
        while b"\n" not in self._heard:
            left_s = deadline_s - time.monotonic()
            if left_s <= 0 or not select.select([output], [], [], left_s)[0]:
                raise ChildFailed(f"{self.name} was silent for {timeout_s:g} s\n{self.log_end()}")
            data = os.read(output.fileno(), 1 << 20)
            if not data:
                raise ChildFailed(f"{self.name} ended\n{self.log_end()}")
            self._heard += data
        line, _, self._heard = self._heard.partition(b"\n")
        told: dict[str, Any] = json.loads(line)
        return told

    def tell(self, word: str = "go") -> None:
        """Write a line to its stdin."""
        assert self._process.stdin is not None
        self._process.stdin.write(word.encode() + b"\n")
        self._process.stdin.flush()

    def stop(self, patience_s: float = 20.0) -> None:
        """Ask it to end, and make it end when it takes too long."""
        process = self._process
        if process.poll() is None:
            process.send_signal(signal.SIGTERM)
            try:
                process.wait(patience_s)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()
        for pipe in (process.stdin, process.stdout):
            if pipe is not None:
                try:
                    pipe.close()
                except BrokenPipeError:
                    pass  # it is gone, which is what we wanted

    def kill(self) -> None:
        """End it at once."""
        self._process.kill()
        self._process.wait()

    def log_end(self) -> str:
        """Return the end of what it logged."""
        return self._log.read_text("utf-8", "replace")[-3000:] if self._log.exists() else ""

    # -- what it costs

    def cpu_s(self) -> float:
        """Return the CPU seconds of all its threads so far, user and system."""
        fields = Path(f"/proc/{self.pid}/stat").read_text().rpartition(")")[2].split()
        return (int(fields[11]) + int(fields[12])) / _TICKS_PER_S

    def memory_mb(self) -> float:
        """Return its resident memory in MB (of 1,000,000 bytes)."""
        for line in Path(f"/proc/{self.pid}/status").read_text().splitlines():
            if line.startswith("VmRSS:"):
                return int(line.split()[1]) * 1024 / 1e6
        return 0.0


class Load:
    """What some children cost while something goes on."""

    def __init__(self, **children: Child) -> None:
        self._children = children
        self._cpu_before_s = {name: child.cpu_s() for name, child in children.items()}
        self._began_s = time.monotonic()

    def so_far(self) -> tuple[float, dict[str, float]]:
        """Return the seconds since the beginning, and the CPU seconds of each child."""
        seconds = time.monotonic() - self._began_s
        return seconds, {
            name: child.cpu_s() - self._cpu_before_s[name] for name, child in self._children.items()
        }
