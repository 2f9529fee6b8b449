"""
What the parts of the inbound path reach alone: Prosody, Twisted's UDP, SQLite's commits.

The machine has few cores, so the peers that make the load take a share of them here too.
"""

from __future__ import annotations

import hashlib
import re
import socket
import sqlite3
import time

from benchmarks import rig
from benchmarks.child import Child, Load, python
from benchmarks.figures import Section
from benchmarks.phones import TEXT
from benchmarks.rig import Prosody, Setup, free_port
from benchmarks.users import COMPONENT, DOMAIN
from smsbridge.gateways.goip import codec
from smsbridge.gateways.xmpp import stanzas

DESCRIPTION = "ceilings: Prosody alone, UDP parse and acknowledge alone, SQLite commits alone"

_COLUMNS = ("ceiling", "a second", "CPU us each", "of a core")


def run(setup: Setup) -> list[Section]:
    """Measure the ceilings."""
    section = Section("Ceilings", _COLUMNS)
    udp(setup, section)
    prosody(setup, section)
    sqlite(setup, section)
    return [section]


def udp(setup: Setup, section: Section) -> None:
    """Twisted's UDP with our codec: decode and acknowledge, nothing else."""
    count = setup.count(60_000)
    port = free_port(socket.SOCK_DGRAM)
    log = setup.folder / "udp.log"
    with Child("udp", python("benchmarks.null_bridge", "--udp", port), log, talks=True) as server:
        server.hear()
        with rig.phones(setup, "push", port, "push", count=count, window=64) as push:
            push.hear()
            load = Load(server=server)
            push.tell()
            told = push.hear(120)
            seconds, cpu_s = load.so_far()
    elapsed_s = (told["last_ns"] - told["first_ns"]) / 1e9
    section.add(
        "UDP: decode and acknowledge (Twisted, over sockets)",
        told["acked"] / elapsed_s,
        cpu_s["server"] / count * 1e6,
        cpu_s["server"] / seconds,
    )
    datagrams = [
        f"RECEIVE:{n};id:line1;password:secret;srcnum:+12025550123;msg:{TEXT % n}".encode()
        for n in range(20_000)
    ]
    began_s = time.process_time()
    for datagram in datagrams:
        event = codec.decode(datagram)
        codec.encode_ack("RECEIVE", event.recvid)  # type: ignore[union-attr]
    each_s = (time.process_time() - began_s) / len(datagrams)
    section.add("codec alone: decode and acknowledge", 1 / each_s, each_s * 1e6, 1.0)


def prosody(setup: Setup, section: Section) -> None:
    """Prosody between a component that writes all it can and users that count."""
    count = setup.count(60_000)
    server = Prosody(setup.folder / "prosody-alone")
    with (
        server.start() as process,
        rig.users(setup, "count", server.client_port, 4, "alone", count=count) as users,
    ):
        users.hear()
        link = connect_component(server.component_port, rig.SECRET)
        data = b"".join(
            stanzas.chat_message(
                f"user{n % 4 + 1}@{DOMAIN}", f"+12025550123@{COMPONENT}", str(n), TEXT % n
            ).encode()
            for n in range(count)
        )
        load = Load(prosody=process)
        began_ns = time.monotonic_ns()
        link.sendall(data)
        told = users.hear(120)
        seconds, cpu_s = load.so_far()
        link.close()
    section.add(
        "Prosody: component to clients, no archive",
        told["came"] / ((told["last_ns"] - began_ns) / 1e9),
        cpu_s["prosody"] / count * 1e6,
        cpu_s["prosody"] / seconds,
    )


def connect_component(port: int, secret: str) -> socket.socket:
    """Connect as our component."""
    link = socket.create_connection(("127.0.0.1", port))
    link.settimeout(60)
    link.sendall(
        f"<stream:stream to='{COMPONENT}' xmlns='jabber:component:accept' "
        "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
    )
    heard = b""
    while (found := re.search(rb"<stream:stream[^>]* id=['\"]([^'\"]+)['\"][^>]*>", heard)) is None:
        heard += link.recv(4096)
    digest = hashlib.sha1(found[1] + secret.encode()).hexdigest()
    link.sendall(f"<handshake>{digest}</handshake>".encode())
    heard = b""
    while b"<handshake" not in heard:
        heard += link.recv(4096)
    return link


def sqlite(setup: Setup, section: Section) -> None:
    """SQLite with fsync: one narrow row a text, committed one by one and a hundred at once."""
    for size in (1, 100):
        count = setup.count(100_000 if size > 1 else 2000)
        connection = sqlite3.connect(setup.folder / f"commit-{size}.sqlite3", isolation_level=None)
        connection.execute("PRAGMA journal_mode = WAL")
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute("CREATE TABLE texts (id INTEGER PRIMARY KEY, sender TEXT, body TEXT)")
        rows = [("+12025550123", TEXT % n) for n in range(count)]
        cpu_before_s, began_s = time.process_time(), time.monotonic()
        for start in range(0, count, size):
            connection.execute("BEGIN IMMEDIATE")
            connection.executemany(
                "INSERT INTO texts (sender, body) VALUES (?, ?)", rows[start : start + size]
            )
            connection.execute("COMMIT")
        elapsed_s = time.monotonic() - began_s
        cpu_s = time.process_time() - cpu_before_s
        connection.close()
        section.add(
            f"SQLite: commits of {size}, narrow rows, fsync",
            count / elapsed_s,
            cpu_s / count * 1e6,
            cpu_s / elapsed_s,
        )
