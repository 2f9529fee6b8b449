"""
What must survive: daemons killed, XMPP servers and databases gone, floods; between a simulated GoIP
box and, where persons are meant, a real Prosody with a real client.
"""

from __future__ import annotations

import re
import shutil
import socket
import subprocess
import sys
import tempfile
from collections import Counter
from pathlib import Path
from typing import Any

from attrs import evolve
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from smsbridge.gateways.goip.simulator import BoxSettings, SimulatedBox, Span, numbered_lines
from smsbridge.gateways.goip.simulator.settings import INSTANT
from tests.end_to_end import databases
from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.databases import DatabaseServer
from tests.end_to_end.xmpp_client import XmppClient, body_of
from tests.end_to_end.xmpp_servers import ProsodyServer

PASSWORD = "simulated"
SENDER = "+12025550123"


def free_udp_port() -> int:
    """Return a UDP port of the loopback that nobody uses just now."""
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM) as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def pause(seconds: float) -> Any:
    """Wait."""
    clock: Any = reactor
    return deferLater(clock, seconds)


class BoxAndDaemon(TestCase):
    """A daemon in a process of its own and a simulated box in the test's."""

    timeout = 300
    lines = ("one", "two", "three", "four")
    xmpp = ""

    def setUp(self) -> None:
        """Choose the port at which they meet."""
        self.udp_port = free_udp_port()
        self.box: SimulatedBox | None = None
        self.daemon: DaemonProcess | None = None

    async def tearDown(self) -> None:
        """End both."""
        if self.box is not None:
            await self.box.stopService()
        if self.daemon is not None:
            await self.daemon.remove()

    def configuration(self, person: str = "") -> str:
        """Write the ini text."""
        lines = "".join(
            f"[line:{label}]\ngateway = box\nid = {label}\npassword = {PASSWORD}\n"
            f"number = +1202555010{number}\n"
            for number, label in enumerate(self.lines)
        )
        return (
            f"[gateway:box]\nkind = goip\nlisten = udp:{self.udp_port}:interface=127.0.0.1\n"
            f"{lines}{self.xmpp}"
            f"[person:alice]\nlines = {' '.join(self.lines)}\nrate = 0\n{person}"
        )

    async def start_daemon(self, person: str = "", smsbridge: str = "") -> DaemonProcess:
        """Start the daemon."""
        self.daemon = DaemonProcess(reactor, self.configuration(person), smsbridge)
        await self.daemon.start()
        return self.daemon

    async def start_box(self, **timing: Any) -> SimulatedBox:
        """Start the box and wait until its lines are registered."""
        settings = BoxSettings(
            server=("127.0.0.1", self.udp_port),
            lines=numbered_lines(self.lines, PASSWORD),
            timing=evolve(INSTANT, keepalive_s=1.0, **timing),
        )
        self.box = SimulatedBox(reactor, settings)
        self.box.startService()
        await self.lines_are_up()
        return self.box

    async def lines_are_up(self) -> None:
        """Wait until the daemon sees all lines."""
        assert self.daemon is not None
        while not all(line["up"] for line in await self.daemon.listing("/lines")):
            await pause(0.1)

    async def delivery_states(self) -> Counter[str]:
        """Count what the store says of all deliveries."""
        assert self.daemon is not None
        messages = await self.daemon.listing("/messages")
        return Counter(d["status"] for m in messages for d in m["deliveries"])


class OutboundTests(BoxAndDaemon):
    """Texts from the operator to the phone network."""

    async def test_killed_while_sending(self) -> None:
        """Each text is sent once or stands as uncertain; none is missing, none is sent twice."""
        daemon = await self.start_daemon()
        box = await self.start_box(sms=Span(0.02, 0.05))
        ids = []
        for number in range(200):
            answer = await daemon.ask(
                "POST",
                "/messages",
                {"line": self.lines[number % 4], "to": [SENDER], "text": f"out {number}"},
            )
            ids.append(answer["id"])

        for _ in range(3):
            await pause(0.4)
            await daemon.kill()
            await daemon.start()
            await self.lines_are_up()
        while (await self.delivery_states()).keys() & {"queued", "sending"}:
            await pause(0.2)
        await pause(1.0)

        messages = {m["id"]: m for m in await daemon.listing("/messages")}
        self.assertEqual(set(messages), set(ids))
        radiated = Counter(r.text for r in box.box.journal.radiated)
        self.assertEqual({text for text, times in radiated.items() if times > 1}, set())
        states = Counter(m["deliveries"][0]["status"] for m in messages.values())
        for message in messages.values():
            (delivery,) = message["deliveries"]
            if delivery["status"] != "uncertain":
                self.assertIn(delivery["status"], ("sent", "delivered"))
                self.assertEqual(radiated[message["body"]], 1, message)
        # At most one text of each line was on its way at each of the three kills ... and the rest
        # proves that the kills came while sending.
        self.assertLess(states["uncertain"], 100)
        self.assertEqual(sum(states.values()), 200)

    async def test_order_is_kept_through_kills(self) -> None:
        """The texts of one conversation leave in the order in which they were accepted."""
        daemon = await self.start_daemon()
        box = await self.start_box(sms=Span(0.01))
        for number in range(60):
            await daemon.ask(
                "POST", "/messages", {"line": "one", "to": [SENDER], "text": f"{number:03d}"}
            )
        await daemon.kill()
        await daemon.start()
        await self.lines_are_up()
        while (await self.delivery_states()).keys() & {"queued", "sending"}:
            await pause(0.2)

        sent = [r.text for r in box.box.journal.radiated]
        self.assertEqual(sent, sorted(set(sent)))


class FloodTests(BoxAndDaemon):
    """Strangers who send rubbish as fast as they can."""

    async def test_a_flood_does_not_stop_registered_lines(self) -> None:
        """At 50,000 malformed datagrams a second every text of a registered line is taken."""
        await self.start_daemon()
        box = await self.start_box()
        flood = subprocess.Popen(
            [sys.executable, "-c", _FLOOD, str(self.udp_port), "50000", "60"],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
        )
        try:
            await pause(1.0)
            burst = box.box.start_burst([], 400, rate=80.0)
            while burst.finished_at_s is None:
                await pause(0.1)
            self.assertIsNone(flood.poll(), "the flood ended before the texts")
        finally:
            sent, _ = await deferToThread(flood.communicate)  # which ends it

        self.assertGreater(int(sent), 100_000)
        self.assertEqual((burst.accepted, burst.lost), (400, 0))
        self.assertTrue(all(line["up"] for line in await self.daemon.listing("/lines")))


#: Sends RATE malformed datagrams a second to PORT until its input is closed, for SECONDS at the
#: most, and prints how many there were.
_FLOOD = r"""
import select, socket, sys, time
port, rate, seconds = int(sys.argv[1]), int(sys.argv[2]), float(sys.argv[3])
junk = [b"RECEIVE:x;id", b"\xff\xfe" * 20, b"", b"req:;;;", b"OK",
        b"DELIVER:1;id:nobody;password:x;",
        b"RECEIVE:1;id:nobody;password:wrong;srcnum:+1;msg:" + b"a" * 200, b"LONG " * 100]
s = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
s.connect(("127.0.0.1", port))
began, sent = time.monotonic(), 0
while (now := time.monotonic() - began) < seconds and not select.select([sys.stdin], [], [], 0)[0]:
    while sent < now * rate:
        try:
            s.send(junk[sent % len(junk)])
        except OSError:
            pass
        sent += 1
    time.sleep(0.001)
print(sent)
"""


class DatabaseOutageTests(BoxAndDaemon):
    """The database is gone for half a minute under load."""

    async def outage(self, server: DatabaseServer) -> None:
        """Kill the server for 30 s while texts arrive and leave; check that nothing was lost."""
        url = await deferToThread(server.create_database)
        daemon = await self.start_daemon(smsbridge=f"database = {url}")
        box = await self.start_box()
        burst = box.box.start_burst([], 900, rate=20.0, text="in {}")
        sent = []
        for number in range(20):
            answer = await daemon.ask(
                "POST", "/messages", {"line": "one", "to": [SENDER], "text": f"out {number}"}
            )
            sent.append(answer["id"])
        await pause(5)
        try:
            await deferToThread(server.kill)
            await pause(30)
        finally:
            await deferToThread(server.start)
        while burst.finished_at_s is None:
            await pause(0.2)
        while (await self.delivery_states()).keys() & {"queued", "sending"}:
            await pause(0.2)

        stored = Counter(m["body"] for m in await daemon.listing("/messages"))
        lost = {match["text"] for match in map(_text_of, box.box.journal.lost) if match}
        for number in range(1, 901):
            text = f"in {number}"
            # What the box gave up was never acknowledged; it may be stored all the same.
            self.assertTrue(stored[text] == 1 or (text in lost and stored[text] == 0), text)
        self.assertEqual(burst.accepted + burst.lost, 900)
        radiated = Counter(r.text for r in box.box.journal.radiated)
        self.assertEqual(radiated, Counter({f"out {n}": 1 for n in range(20)}))
        after = box.box.start_burst([], 20, text="after {}")
        while after.finished_at_s is None:
            await pause(0.1)
        self.assertEqual(after.accepted, 20)

    async def test_mariadb(self) -> None:
        """MariaDB comes back and everything goes on."""
        await self.outage(databases.mariadb())

    async def test_postgresql(self) -> None:
        """PostgreSQL comes back and everything goes on."""
        await self.outage(databases.postgresql())


def _text_of(lost: Any) -> re.Match[str] | None:
    data = lost.datagram if hasattr(lost, "datagram") else lost.text
    if isinstance(data, bytes):
        data = data.decode()
    return re.search(r"(?:msg:)?(?P<text>in \d+)\Z", data)


class PersonSetting(BoxAndDaemon):
    """A real Prosody with a client of alice beside box and daemon."""

    async def setUp(self) -> None:  # type: ignore[override]
        """Start Prosody and alice's client."""
        super().setUp()
        self.folder = Path(tempfile.mkdtemp(prefix="smsb-"))
        self.server = ProsodyServer(reactor, self.folder)
        await self.server.start()
        self.xmpp = (
            f"[gateway:xmpp]\nkind = xmpp\nserver = 127.0.0.1:{self.server.component_port}\n"
            "domain = sms.example.org\nsecret = not-a-secret\n"
        )
        self.client = await self.connect()

    async def tearDown(self) -> None:
        """End everything."""
        await super().tearDown()
        await self.client.close()
        await self.server.stop()
        shutil.rmtree(self.folder, ignore_errors=True)

    async def start_daemon(self, person: str = "", smsbridge: str = "") -> DaemonProcess:
        """Start the daemon and wait until it has its link to Prosody."""
        daemon = await super().start_daemon(person, smsbridge)
        while not all(link["up"] for link in await daemon.listing("/links")):
            await pause(0.05)
        return daemon

    async def connect(self) -> XmppClient:
        """Log alice in."""
        client = XmppClient(reactor, "alice@example.org/phone", "alice-pw", self.server.client_port)
        await client.connect()
        return client


class PersonTests(PersonSetting):
    """Texts from the phone network to a person behind a real Prosody."""

    def seen(self, *clients: XmppClient) -> Counter[tuple[str, str]]:
        """Count the texts that arrived, by text and stanza id."""
        return Counter(
            (body_of(m), m.getAttribute("id"))
            for client in clients
            for m in client.messages
            if body_of(m).startswith("burst ")
        )

    def check(self, count: int, *clients: XmppClient) -> None:
        """Check that all texts arrived, and that doubles carry the same stanza id."""
        seen = self.seen(*clients)
        ids_of: dict[str, set[str]] = {}
        for text, stanza_id in seen:
            ids_of.setdefault(text, set()).add(stanza_id)
        missing = {f"burst {n}" for n in range(1, count + 1)} - ids_of.keys()
        self.assertEqual(missing, set())
        self.assertEqual({t: i for t, i in ids_of.items() if len(i) > 1}, {})

    async def all_arrived(self, count: int, *clients: XmppClient) -> None:
        """Wait until every text has arrived at one of the clients."""
        while len({text for text, _ in self.seen(*clients)}) < count:
            await pause(0.2)

    async def test_killed_three_times_at_full_speed(self) -> None:
        """Of 2,000 texts each reaches the user although the daemon is killed three times."""
        daemon = await self.start_daemon("xmpp = alice@example.org\n")
        box = await self.start_box()
        burst = box.box.start_burst([], 2000, window=32)
        kills = 0
        for share in (300, 900, 1500):
            while burst.accepted < share and burst.finished_at_s is None:
                await pause(0.005)
            kills += burst.finished_at_s is None
            await daemon.kill()
            await daemon.start()
        while burst.finished_at_s is None:
            await pause(0.1)
        await self.all_arrived(2000, self.client)
        await pause(2.0)

        self.assertEqual((burst.accepted, burst.lost, kills), (2000, 0, 3))
        self.check(2000, self.client)

    async def test_prosody_stopped_for_20_seconds(self) -> None:
        """What arrives while the XMPP server is away is delivered when it is back."""
        await self.start_daemon("xmpp = alice@example.org\n")
        box = await self.start_box()
        burst = box.box.start_burst([], 2000, rate=200.0)
        await pause(1.5)
        await self.server.kill()
        await pause(20)
        await self.server.start()
        second = await self.connect()
        try:
            while burst.finished_at_s is None:
                await pause(0.1)
            await self.all_arrived(2000, self.client, second)

            self.assertEqual((burst.accepted, burst.lost), (2000, 0))
            self.check(2000, self.client, second)
        finally:
            await second.close()
