"""
XMPP users in one cheap process: they log in, then count or send stanzas without parsing XML.

``count`` notes when each text (it begins with its number) reached a user; ``talk`` writes messages
that were made beforehand to contacts of the bridge, and counts receipts and errors.
"""

from __future__ import annotations

import argparse
import base64
import json
import os
import re
import select
import socket
import sys
import time
from array import array
from pathlib import Path
from typing import Any

from benchmarks.phones import FIRST_S, TEXT

DOMAIN = "example.org"
COMPONENT = "sms.example.org"

_BODY = re.compile(rb"<body>(\d{7}) ")
_RECEIPT = re.compile(rb"<received [^>]*id=['\"]t\w+-(\d+)['\"]")
_ERROR = re.compile(rb"<message[^>]* type=['\"]error['\"]")
_FAILURE = re.compile(rb"<text[^>]*>([^<]*)<")
_REQUEST = re.compile(rb"<message[^>]*? id=['\"]([^'\"]+)['\"]")
_STREAM = (
    f"<?xml version='1.0'?><stream:stream to='{DOMAIN}' version='1.0' "
    "xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>"
)


def password_of(user: str) -> str:
    """Return the obviously fake password of a user."""
    return f"{user}-pw"


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


def log_in(user: str, port: int, patience_s: float = 30.0) -> socket.socket:
    """Return the connection of a user who is online; waits for a server that is just starting."""
    deadline_s = time.monotonic() + patience_s
    while True:
        try:
            link = socket.create_connection(("127.0.0.1", port))
            break
        except ConnectionRefusedError:
            if time.monotonic() > deadline_s:
                raise
            time.sleep(0.02)
    link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    link.settimeout(patience_s)
    secret = base64.b64encode(f"\0{user}\0{password_of(user)}".encode()).decode()
    auth = f"<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>{secret}</auth>"
    bind = "<bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>bench</resource></bind>"
    for say, expected in (
        (_STREAM, b"</stream:features>"),
        (auth, b"<success"),
        (_STREAM, b"</stream:features>"),
        (f"<iq type='set' id='b'>{bind}</iq>", b"</iq>"),
        ("<presence/>", b"<presence"),
    ):
        link.sendall(say.encode())
        heard = b""
        while expected not in heard:
            data = link.recv(65536)
            if not data:
                raise SystemExit(f"{user} could not log in: {heard!r}")
            heard += data
    link.setblocking(False)
    return link


class Count:
    """Count the texts that reach users; one that comes again counts as double."""

    def __init__(self, links: list[socket.socket], count: int, receipts: bool) -> None:
        self._links = {link.fileno(): link for link in links}
        self._tails = dict.fromkeys(self._links, b"")
        self._receipts = receipts
        self._poll = select.epoll()
        for descriptor in self._links:
            self._poll.register(descriptor, select.EPOLLIN)
        self.came_ns = array("q", bytes(8 * count))
        self.came = 0
        self.doubles = 0
        self.disorder = 0
        self._newest = dict.fromkeys(self._links, -1)
        self.first_ns = self.last_ns = 0

    def run(self, seconds: float, idle_s: float) -> None:
        """Count until all came, or nothing for ``idle_s`` after the first, or for so long."""
        began_s = time.monotonic()
        while self.came < len(self.came_ns):
            now_s = time.monotonic()
            if now_s - began_s > seconds:
                return
            if now_s - (self.last_ns / 1e9 or began_s + FIRST_S) > idle_s:
                return
            for descriptor, _ in self._poll.poll(0.5):
                data = self._links[descriptor].recv(1 << 18)
                if not data:
                    raise SystemExit("the server closed a user's connection")
                self._take(descriptor, data)

    def _take(self, descriptor: int, data: bytes) -> None:
        now_ns = time.monotonic_ns()
        data = self._tails[descriptor] + data
        end = data.rfind(b"</message>")
        self._tails[descriptor] = data if end < 0 else data[end:]
        if end < 0:
            return
        came_ns = self.came_ns
        for found in _BODY.findall(data, 0, end):
            number = int(found)
            if number >= len(came_ns):
                continue
            if came_ns[number]:
                self.doubles += 1
                continue
            if number < self._newest[descriptor]:
                self.disorder += 1
            self._newest[descriptor] = number
            came_ns[number] = now_ns
            self.came += 1
            self.first_ns = self.first_ns or now_ns
            self.last_ns = now_ns
        if self._receipts:
            self._answer(descriptor, data, end)

    def _answer(self, descriptor: int, data: bytes, end: int) -> None:
        answers = []
        for stanza in data[:end].split(b"</message>"):
            head = _REQUEST.search(stanza)
            sender = re.search(rb" from=['\"]([^'\"]+)['\"]", stanza)
            if head and sender and b"urn:xmpp:receipts" in stanza:
                answers.append(
                    b"<message to='%b' type='chat'><received xmlns='urn:xmpp:receipts' id='%b'/>"
                    b"</message>" % (sender[1], head[1])
                )
        link = self._links[descriptor]
        link.setblocking(True)
        link.sendall(b"".join(answers))
        link.setblocking(False)

    def summary(self) -> dict[str, Any]:
        """Say what came."""
        return {
            "came": self.came,
            "doubles": self.doubles,
            "disorder": self.disorder,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
        }


class Talk:
    """
    Write texts to contacts, as fast as the server takes them or at a rate, and hear the answers.

    Text n goes to one of a few numbers; user k of them uses each k-th line.
    """

    def __init__(
        self, links: list[socket.socket], lines: int, count: int, rate: float, receipts: bool
    ) -> None:
        self._links = links
        self._rate = rate
        request = "<request xmlns='urn:xmpp:receipts'/>" if receipts else ""
        tag = f"t{time.time_ns():x}"  # a stanza's id that was used before would be a repeat
        self._stanzas = [
            (
                f"<message type='chat' id='{tag}-{number}' to='"
                f"+1303555{100 + number // lines % 97:04d}"
                f"{'%' + f'line{number % lines + 1}'}@{COMPONENT}'><body>"
                + TEXT % number
                + f"</body>{request}</message>"
            ).encode()
            for number in range(count)
        ]
        self.sent_ns = array("q", bytes(8 * count))
        self._expect = count if receipts else 0
        self.receipts = 0
        self.errors = 0
        self.first_error = ""
        self._tails = {link.fileno(): b"" for link in links}

    def run(self, seconds: float) -> None:
        """Write everything, then wait for the receipts."""
        poll = select.epoll()
        by_descriptor = {link.fileno(): link for link in self._links}
        unsent: dict[int, bytearray] = {descriptor: bytearray() for descriptor in by_descriptor}
        for descriptor in by_descriptor:
            poll.register(descriptor, select.EPOLLIN | select.EPOLLOUT)
        count, number = len(self._stanzas), 0
        began_s = time.monotonic()
        descriptors = list(by_descriptor)
        while number < count or any(unsent.values()) or self._waits():
            now_s = time.monotonic()
            if now_s - began_s > seconds:
                break
            due = count if not self._rate else min(count, int((now_s - began_s) * self._rate) + 1)
            while number < due:
                descriptor = descriptors[number % len(descriptors)]
                if len(unsent[descriptor]) > 65536:
                    break
                self.sent_ns[number] = time.monotonic_ns()
                unsent[descriptor] += self._stanzas[number]
                number += 1
            for descriptor, events in poll.poll(0.01):
                link = by_descriptor[descriptor]
                if events & select.EPOLLIN:
                    self._take(descriptor, link.recv(1 << 18))
                if unsent[descriptor] and events & select.EPOLLOUT:
                    del unsent[descriptor][: link.send(unsent[descriptor])]
            if not any(unsent.values()) and (self._rate or number == count):
                time.sleep(0.001)  # EPOLLOUT would spin

    def _waits(self) -> bool:
        return self.receipts + self.errors < self._expect

    def _take(self, descriptor: int, data: bytes) -> None:
        if not data:
            raise SystemExit("the server closed a user's connection")
        data = self._tails[descriptor] + data
        end = data.rfind(b"</message>") + 10
        if end < 10:
            self._tails[descriptor] = data
            return
        self._tails[descriptor] = data[end:]
        self.receipts += len(_RECEIPT.findall(data, 0, end))
        errors = len(_ERROR.findall(data, 0, end))
        self.errors += errors
        if errors and not self.first_error:
            text = _FAILURE.search(data)
            self.first_error = text[1].decode("utf-8", "replace") if text else "(no text)"

    def summary(self) -> dict[str, Any]:
        """Say what was heard."""
        return {
            "first_ns": self.sent_ns[0],
            "last_ns": max(self.sent_ns),
            "receipts": self.receipts,
            "errors": self.errors,
            "first_error": self.first_error,
        }


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.users", description=__doc__)
    options.add_argument("mode", choices=["count", "talk"])
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--user", action="append", required=True)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--rate", type=float, default=0.0)
    options.add_argument("--lines", type=int, default=4, help="to talk to")
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--idle", type=float, default=10.0)
    options.add_argument("--receipts", action="store_true", help="give or ask for receipts")
    options.add_argument("--times", type=Path, help="where to write the nanoseconds")
    given = options.parse_args()
    links = [log_in(user, given.port) for user in given.user]
    if given.mode == "count":
        count = Count(links, given.count, given.receipts)
        _tell(ready=True)
        count.run(given.seconds, given.idle)
        times, summary = count.came_ns, count.summary()
    else:
        talk = Talk(links, given.lines, given.count, given.rate, given.receipts)
        _tell(ready=True)
        sys.stdin.readline()
        talk.run(given.seconds)
        times, summary = talk.sent_ns, talk.summary()
    if given.times:
        with given.times.open("wb") as file:
            times.tofile(file)
    usage = os.times()
    _tell(**summary, cpu_s=usage.user + usage.system)
    # To close a socket that holds unread data resets it, and the server loses what it has not read.
    sys.stdin.read()


if __name__ == "__main__":
    _main()
