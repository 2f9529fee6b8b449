"""
A smsbridge daemon as a process of its own, started by twistd as a user would, for tests that kill.

Only the process started here is signalled.  What it wrote to its terminal is kept for the message
of a test that fails.
"""

from __future__ import annotations

import json
import os
import shutil
import signal
import sys
import tempfile
from io import BytesIO
from pathlib import Path
from typing import Any

from twisted.internet.defer import Deferred
from twisted.internet.endpoints import UNIXClientEndpoint
from twisted.internet.error import ConnectError, ConnectionLost, ProcessDone, ProcessTerminated
from twisted.internet.protocol import ProcessProtocol
from twisted.internet.task import deferLater
from twisted.python.failure import Failure
from twisted.web.client import Agent, FileBodyProducer, ResponseFailed, readBody
from twisted.web.http_headers import Headers
from twisted.web.iweb import IAgentEndpointFactory
from zope.interface import implementer

__all__ = ["ROOT", "DaemonFailed", "DaemonProcess"]

ROOT = Path(__file__).resolve().parents[2]
START_TIMEOUT_S = 60.0


class DaemonFailed(Exception):
    """The daemon did not do what it was told; the text has the end of its output."""


class _Process(ProcessProtocol):
    def __init__(self) -> None:
        self.ended: Deferred[int | None] = Deferred()
        self.output: list[bytes] = []

    def outReceived(self, data: bytes) -> None:
        self.output.append(data)

    errReceived = outReceived

    def processEnded(self, reason: Failure) -> None:
        value = reason.value
        code = None
        if isinstance(value, ProcessDone | ProcessTerminated):
            code = value.exitCode if value.exitCode is not None else -value.signal
        self.ended.callback(code)


@implementer(IAgentEndpointFactory)
class _Socket:
    def __init__(self, reactor: Any, path: Path) -> None:
        self._reactor = reactor
        self._path = path

    def endpointForURI(self, uri: Any) -> UNIXClientEndpoint:
        return UNIXClientEndpoint(self._reactor, str(self._path))


class DaemonProcess:
    """
    One daemon with a folder of its own.

    :param configuration: the ini file's text without ``[smsbridge]``; which is made for it.
    """

    def __init__(self, reactor: Any, configuration: str, smsbridge: str = "") -> None:
        self._reactor = reactor
        # Short, because a unix socket's path may have 107 bytes.
        self.folder = Path(tempfile.mkdtemp(prefix="smsb-"))
        self.state = self.folder / "state"
        self.config = self.folder / "smsbridge.ini"
        self.write(configuration, smsbridge)
        self._process: _Process | None = None
        self._transport: Any = None
        self._agent = Agent.usingEndpointFactory(
            reactor, _Socket(reactor, self.state / "control.sock")
        )

    def write(self, configuration: str, smsbridge: str = "") -> None:
        """Write the ini file anew."""
        self.config.write_text(
            f"[smsbridge]\nstate = {self.state}\n{smsbridge}\n{configuration}", encoding="utf-8"
        )
        self.config.chmod(0o600)

    @property
    def pid(self) -> int:
        """The process id of the daemon that runs."""
        pid: int = self._transport.pid
        return pid

    @property
    def output(self) -> str:
        """What the daemon wrote since its last start."""
        data = b"".join(self._process.output) if self._process is not None else b""
        return data.decode("utf-8", "replace")

    def launch(self) -> None:
        """Start it."""
        self._process = _Process()
        environment = {**os.environ, "PYTHONPATH": str(ROOT), "PYTHONUNBUFFERED": "1"}
        self._transport = self._reactor.spawnProcess(
            self._process,
            sys.executable,
            [
                sys.executable,
                "-c",
                "from twisted.scripts.twistd import run; run()",
                "--nodaemon",
                "--pidfile=",
                "smsbridge",
                "--config",
                str(self.config),
            ],
            env=environment,
            path=str(self.folder),
        )

    async def refused(self) -> str:
        """Start it, wait until it ends by itself, and return what it said."""
        self.launch()
        process = self._process
        assert process is not None
        code = await process.ended.addTimeout(START_TIMEOUT_S, self._reactor)
        process.ended = Deferred()
        process.ended.callback(code)
        if code == 0:
            raise DaemonFailed(f"it ended as if all were well:\n{self.output}")
        return self.output

    async def start(self) -> None:
        """Start it and wait until it is ready."""
        self.launch()
        assert self._process is not None
        deadline = self._reactor.seconds() + START_TIMEOUT_S
        while True:
            try:
                if not (await self.ask("GET", "/status")).get("unready"):
                    return
            except (ConnectError, ConnectionLost, ResponseFailed):
                pass
            if self._process.ended.called or self._reactor.seconds() > deadline:
                raise DaemonFailed(f"the daemon is not ready:\n{self.output[-4000:]}")
            await deferLater(self._reactor, 0.05)

    async def _signal(self, number: int) -> int | None:
        process = self._process
        assert process is not None
        if not process.ended.called:
            os.kill(self.pid, number)
        code: int | None = await process.ended
        process.ended = Deferred()
        process.ended.callback(code)
        return code

    async def kill(self) -> None:
        """End it at once, as a power cut would."""
        await self._signal(signal.SIGKILL)

    async def stop(self) -> int | None:
        """Ask it to end; returns its exit code, or the signal below zero."""
        return await self._signal(signal.SIGTERM)

    def hang_up(self) -> None:
        """Tell it to read its configuration again."""
        os.kill(self.pid, signal.SIGHUP)

    async def remove(self) -> None:
        """End it and remove its folder."""
        if self._process is not None:
            await self._signal(signal.SIGKILL)
        shutil.rmtree(self.folder, ignore_errors=True)

    # -- the control socket ----------------------------------------------------------------------

    async def request(self, method: str, path: str, body: Any = None) -> tuple[int, str]:
        """Call the control API; returns the status and the text."""
        producer = None
        if body is not None:
            producer = FileBodyProducer(BytesIO(json.dumps(body).encode()))
        response = await self._agent.request(
            method.encode(),
            b"http://daemon" + path.encode(),
            Headers({b"Content-Type": [b"application/json"]}),
            producer,
        )
        return response.code, (await readBody(response)).decode()

    async def ask(self, method: str, path: str, body: Any = None) -> Any:
        """Call the control API; returns the JSON object of a good answer."""
        code, text = await self.request(method, path, body)
        if code >= 300:
            raise DaemonFailed(f"{method} {path}: {code} {text}")
        return json.loads(text)

    async def listing(self, path: str) -> list[Any]:
        """Read a listing of JSON lines."""
        code, text = await self.request("GET", path)
        if code >= 300:
            raise DaemonFailed(f"GET {path}: {code} {text}")
        return [json.loads(line) for line in text.splitlines()]
