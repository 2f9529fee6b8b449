"""The event stream of a running daemon: kills, restarts, and five hundred listeners."""

from __future__ import annotations

import json
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

from twisted.internet import reactor
from twisted.internet.protocol import ClientFactory, Protocol

from tests.end_to_end.ports import free_port
from tests.end_to_end.test_durability import BoxAndDaemon, pause

SENDER = "+12025550123"
PERSONS = 25
STREAMS = 500


class Stream(Protocol):
    """A client of the event stream, on a bare socket."""

    def __init__(self, token: str, query: str = "", last_id: str = "") -> None:
        self._asked = (
            f"GET /api/v2.2/events{query} HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer {token}\r\n"
            + (f"Last-Event-ID: {last_id}\r\n" if last_id else "")
            + "\r\n"
        ).encode()
        self.data = b""
        self.lost = False

    def connectionMade(self) -> None:
        """Ask."""
        self.transport.write(self._asked)  # type: ignore[union-attr]

    def dataReceived(self, data: bytes) -> None:
        """Keep what comes."""
        self.data += data

    def connectionLost(self, reason: Any = None) -> None:
        """Take note of the end."""
        self.lost = True

    def events(self) -> Iterator[tuple[str, str, Any]]:
        """Yield (kind, id, data) of the whole events that came."""
        # Chunks end within an event only where the answer is cut off.
        lines = self.data.decode("utf-8", "replace").split("\r\n")
        text = "".join(line for line in lines if ": " in line or "\n" in line)
        for block in text.split("\n\n")[:-1]:
            fields = dict(line.split(": ", 1) for line in block.split("\n") if ": " in line)
            if "data" in fields:
                yield fields["event"], fields["id"], json.loads(fields["data"])

    @property
    def last_id(self) -> str:
        """Return the id of the last event."""
        return [event_id for _, event_id, _ in self.events()][-1]

    def bodies(self) -> list[str]:
        """Return the texts of the messages that were told."""
        return [data["attributes"]["body"] for kind, _, data in self.events() if kind == "message"]


class EventsTests(BoxAndDaemon):
    """A daemon with the API, a box with two lines."""

    lines = ("one", "two")
    timeout = 180

    def setUp(self) -> None:
        """Choose where the API listens."""
        super().setUp()
        self.http_port = free_port()
        self.streams: list[Stream] = []

    async def tearDown(self) -> None:
        """Close what is open."""
        while not all(stream.lost for stream in self.streams):
            for stream in self.streams:
                # One that a test did not wait for connects only now.
                if not stream.lost and stream.transport is not None:
                    stream.transport.abortConnection()  # type: ignore[attr-defined]
            await pause(0.01)
        await super().tearDown()

    async def start(self) -> Any:
        """Start daemon and box; returns the box's first channel."""
        persons = "".join(f"[person:p{number}]\nlines = one two\n" for number in range(1, PERSONS))
        await self.start_daemon(
            f"{persons}[http]\nlisten = tcp:{self.http_port}:interface=127.0.0.1\n"
        )
        return (await self.start_box(resend_s=0.5)).box.line("one")

    async def token(self, person: str) -> str:
        """Make a token."""
        assert self.daemon is not None
        asked = {"name": f"t-{person}", "person": person, "scopes": ["read"], "lines": []}
        return str((await self.daemon.ask("POST", "/tokens", asked))["token"])

    def open(self, token: str, query: str = "", last_id: str = "") -> Stream:
        """Open a stream."""
        stream = Stream(token, query, last_id)
        factory = ClientFactory()
        factory.noisy = False
        factory.buildProtocol = lambda _: stream  # type: ignore[method-assign, assignment, return-value]
        factory.clientConnectionFailed = lambda *_: stream.connectionLost()  # type: ignore[method-assign]
        tcp: Any = reactor
        tcp.connectTCP("127.0.0.1", self.http_port, factory)
        self.streams.append(stream)
        return stream

    async def until(self, true: Any) -> None:
        """Wait."""
        while not true():
            await pause(0.02)

    async def test_kills_lose_nothing(self) -> None:
        """A listener that comes back with its last id hears of every text, however often."""
        channel = await self.start()
        token = await self.token("alice")
        stream = self.open(token, "?types=message")
        await self.until(lambda: b"event: hello" in stream.data)
        wanted = [f"text {number}" for number in range(150)]
        heard: list[str] = []

        for start in range(0, 150, 50):
            await self.until(lambda: b"event: hello" in self.streams[-1].data)
            for text in wanted[start : start + 50]:
                channel.receive_sms(SENDER, text)
            await pause(0.15)
            assert self.daemon is not None
            await self.daemon.kill()
            await self.until(lambda: self.streams[-1].lost)
            heard += stream.bodies()
            await self.daemon.start()
            await self.lines_are_up()
            stream = self.open(token, "?types=message", stream.last_id)
        await self.until(lambda: set(heard + stream.bodies()) >= set(wanted))

        self.assertEqual(set(heard + stream.bodies()), set(wanted))
        self.assertNotIn("reset", [kind for kind, _, _ in stream.events()])

    async def test_five_hundred_listeners(self) -> None:
        """They cost little memory, stay alive, are all told, and do not hold up the stop."""
        channel = await self.start()
        assert self.daemon is not None
        names = ["alice", *(f"p{number}" for number in range(1, PERSONS))]
        tokens = [await self.token(name) for name in names]
        before_kib = self.memory_kib()

        streams = [self.open(tokens[number % PERSONS]) for number in range(STREAMS)]
        await self.until(lambda: all(b"event: hello" in stream.data for stream in streams))
        each_kib = (self.memory_kib() - before_kib) / STREAMS
        await self.until(lambda: all(b"\r\n:\n\n\r\n" in stream.data for stream in streams))
        self.assertFalse(any(stream.lost for stream in streams))
        refused = self.open(tokens[0])
        await self.until(lambda: refused.data)
        self.assertIn(b"429", refused.data.partition(b"\r\n")[0])

        began = time.monotonic()
        channel.receive_sms(SENDER, "to all")
        await self.until(lambda: all("to all" in stream.bodies() for stream in streams))
        told_after_s = time.monotonic() - began
        began = time.monotonic()
        await self.daemon.stop()
        stopped_after_s = time.monotonic() - began

        await self.until(lambda: all(stream.lost for stream in streams))
        self.assertLess(told_after_s, 3.0)
        self.assertLess(stopped_after_s, 4.0)
        self.assertLess(each_kib, 60)
        print(
            f"{STREAMS} streams: {each_kib:.1f} KiB each, all told after {told_after_s:.2f} s, "
            f"daemon stopped after {stopped_after_s:.2f} s"
        )

    def memory_kib(self) -> int:
        """Return what the daemon holds."""
        assert self.daemon is not None
        status = Path(f"/proc/{self.daemon.pid}/status").read_text()
        return int(status.partition("VmRSS:")[2].split()[0])
