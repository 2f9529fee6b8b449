"""
Many GoIP channels in one cheap process: the load of a measurement, not a simulation of a box.

Every channel has a UDP socket of its own and keeps to the protocol of
`smsbridge.gateways.goip.codec` as far as a measurement needs it, without delays and without its
state machine: ``smsbridge simulate goip`` is the faithful one, and costs several times as much.

``push`` lets channels receive texts, ``take`` lets them send what the bridge hands them.  A text
begins with its number, by which the time of its passing is kept in a file of nanoseconds.
"""

from __future__ import annotations

import argparse
import json
import os
import resource
import select
import socket
import sys
import time
from array import array
from collections.abc import Callable
from pathlib import Path
from typing import Any

KEEPALIVE_S = 30.0
RESEND_S = 3.0
RESENDS = 3
FIRST_S = 60.0  # what may pass before the first text, besides the usual idleness
TEXT = "%07d The train is late, please wait for me at the north exit"

_BUFFER_BYTES = 4 * 1024 * 1024


def number_of_line(index: int) -> str:
    """Return a fictional number for a line, counted from 0."""
    return f"+1{202 + index // 100}55501{index % 100:02d}"


def _tell(**said: Any) -> None:
    print(json.dumps(said), flush=True)


class Phones:
    """The sockets, the keepalives and the waiting, for both directions."""

    def __init__(self, server: tuple[str, int], prefix: str, lines: int) -> None:
        soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
        if soft < lines + 64:
            resource.setrlimit(resource.RLIMIT_NOFILE, (min(hard, lines + 64), hard))
        self.ids = [f"{prefix}{number}" for number in range(1, lines + 1)]
        self.sockets: list[socket.socket] = []
        self.by_descriptor: dict[int, int] = {}
        self.registered = 0
        self._known = [False] * lines
        self._keepalives = 0
        self._poll = select.epoll()
        for index in range(lines):
            one = socket.socket(socket.AF_INET, socket.SOCK_DGRAM)
            one.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, _BUFFER_BYTES)
            one.bind(("127.0.0.1", 0))
            one.connect(server)
            one.setblocking(False)
            self.sockets.append(one)
            self.by_descriptor[one.fileno()] = index
            self._poll.register(one.fileno(), select.EPOLLIN)

    def keepalive(self, index: int) -> None:
        """Send the keepalive of one channel."""
        id_ = self.ids[index]
        self.send(
            index,
            f"req:{self._keepalives};id:{id_};pass:secret;num:;signal:21;gsm_status:LOGIN;"
            f"voip_status:LOGIN;voip_state:IDLE;remain_time:-1;imei:86{index:013d};"
            f"imsi:310150{index:09d};iccid:8901{index:015d}F;pro:Testnet;idle:0;"
            'disable_status:0;SMS_LOGIN:Y;SMB_LOGIN:N;CELLINFO:"";CGATT:Y;'.encode(),
        )

    def register(self, timeout_s: float = 30.0) -> None:
        """Send keepalives, a few at a time, until every channel was answered."""
        self._keepalives += 1
        deadline_s = time.monotonic() + timeout_s
        todo = list(range(len(self.sockets)))
        while self.registered < len(self.sockets):
            if time.monotonic() > deadline_s:
                raise SystemExit(f"{self.registered} of {len(self.sockets)} channels were answered")
            if not todo:
                todo = [i for i, known in enumerate(self._known) if not known]
            for index in todo[:50]:
                self.keepalive(index)
            del todo[:50]
            self.wait(0.02, self._registering)

    def _registering(self, index: int, datagram: bytes) -> None:
        if datagram.startswith(b"reg:") and b"status:200" in datagram and not self._known[index]:
            self._known[index] = True
            self.registered += 1

    def send(self, index: int, datagram: bytes) -> None:
        """Send a datagram; one that the kernel refuses is lost, as on any network."""
        try:
            self.sockets[index].send(datagram)
        except OSError:
            pass  # no buffer, or nobody listens just now: the protocol repeats what matters

    def wait(self, timeout_s: float, take: Callable[[int, bytes], None]) -> None:
        """Wait for datagrams and hand on all that are there."""
        sockets, by_descriptor = self.sockets, self.by_descriptor
        for descriptor, _ in self._poll.poll(timeout_s):
            index = by_descriptor[descriptor]
            receive = sockets[index].recv
            while True:
                try:
                    datagram = receive(65535)
                except BlockingIOError:
                    break
                except ConnectionRefusedError:
                    continue  # nobody listened when we sent
                take(index, datagram)


class Push:
    """
    Let channels receive ``count`` texts in turn, with at most ``window`` unacknowledged.

    With a rate, so many texts a second come, whatever the bridge does.
    """

    def __init__(self, phones: Phones, count: int, window: int, rate: float) -> None:
        self._phones = phones
        self._window = window
        self._rate = rate
        lines = len(phones.sockets)
        first = int(time.time() * 1000) % 2_000_000_000  # another one for every run
        self._first = first
        self._datagrams = [
            (
                f"RECEIVE:{first + number};id:{phones.ids[number % lines]};password:secret;"
                f"srcnum:+1202555{100 + number % 97:04d};msg:" + TEXT % number
            ).encode()
            for number in range(count)
        ]
        self.sent_ns = array("q", bytes(8 * count))
        self.acked_ns = array("q", bytes(8 * count))
        self._acked = 0
        self._flying: dict[int, list[Any]] = {}  # number -> [when to repeat, repeats]
        self.repeats = 0
        self.lost = 0

    def run(self) -> None:
        """Push everything and wait for the acknowledgements."""
        phones, flying = self._phones, self._flying
        count, lines, rate = len(self._datagrams), len(phones.sockets), self._rate
        window = self._window if not rate else count
        began_s = time.monotonic()
        looked_s = began_s
        number = 0
        while number < count or flying:
            now_s = time.monotonic()
            due = count if not rate else min(count, int((now_s - began_s) * rate) + 1)
            while number < due and len(flying) < window:
                flying[number] = [now_s + RESEND_S, 0]
                self.sent_ns[number] = time.monotonic_ns()
                phones.send(number % lines, self._datagrams[number])
                number += 1
            phones.wait(0.001 if rate else 0.5, self._take)
            if now_s - looked_s > 0.5:
                looked_s = now_s
                self._repeat(now_s)

    def _take(self, index: int, datagram: bytes) -> None:
        words = datagram.split()
        if len(words) == 3 and words[0] == b"RECEIVE" and words[2] == b"OK":
            number = int(words[1]) - self._first
            if self._flying.pop(number, None) is not None:
                self.acked_ns[number] = time.monotonic_ns()
                self._acked += 1

    def _repeat(self, now_s: float) -> None:
        lines = len(self._phones.sockets)
        for number, state in list(self._flying.items()):
            if state[0] > now_s:
                break  # the rest was sent later
            if state[1] == RESENDS:
                del self._flying[number]
                self.lost += 1
                continue
            del self._flying[number]  # to the end: the order is that of the next repeat
            self._flying[number] = [now_s + RESEND_S, state[1] + 1]
            self.repeats += 1
            self._phones.send(number % lines, self._datagrams[number])

    def summary(self) -> dict[str, Any]:
        """Say what became of it."""
        return {
            "count": len(self._datagrams),
            "acked": self._acked,
            "repeats": self.repeats,
            "lost": self.lost,
            "first_ns": self.sent_ns[0],
            "last_ns": max(self.acked_ns),
        }


class Take:
    """
    Send every text that the bridge hands over, at once, until ``count`` were sent or time is up.

    Bulk sessions and one-shot; a delivery report follows unless told otherwise.
    """

    def __init__(self, phones: Phones, count: int, reports: bool) -> None:
        self._phones = phones
        self._reports = reports
        self._passwords: dict[tuple[int, int], bytes] = {}  # (line, sendid) -> text
        self._sms_no = 0
        self._recvid = int(time.time())
        self.sent_ns = array("q", bytes(8 * count))
        self.sent = 0
        self.twice = 0
        self.foreign = 0
        self.first_ns = self.last_ns = 0
        self.deliver_acks = 0

    def run(self, seconds: float, idle_s: float) -> None:
        """Serve until all came, or nothing for ``idle_s``, or for so many seconds."""
        phones = self._phones
        began_s = time.monotonic()
        lines = len(phones.sockets)
        next_keepalive_s = began_s
        keepalive = 0
        while self.sent < len(self.sent_ns):
            now_s = time.monotonic()
            if now_s - began_s > seconds:
                break
            if now_s - (self.last_ns / 1e9 or began_s + FIRST_S) > idle_s:
                break
            while now_s >= next_keepalive_s:  # spread over the interval
                phones._keepalives += keepalive % lines == 0
                phones.keepalive(keepalive % lines)
                keepalive += 1
                next_keepalive_s += KEEPALIVE_S / lines
            phones.wait(min(0.1, KEEPALIVE_S / lines), self._take)
        # What is on its way: DONE of the last sessions, acknowledgements of the last reports.
        until_s = time.monotonic() + 0.5
        while time.monotonic() < until_s:
            phones.wait(0.1, self._take)

    def _take(self, index: int, datagram: bytes) -> None:
        verb, _, rest = datagram.partition(b" ")
        send = self._phones.send
        if verb == b"MSG":
            sendid, _, tail = rest.partition(b" ")
            _, _, text = tail.partition(b" ")
            self._passwords[index, int(sendid)] = text
            send(index, b"PASSWORD %b\n" % sendid)
        elif verb == b"PASSWORD":
            send(index, b"SEND %b\n" % rest.split()[0])
        elif verb == b"SEND":
            sendid, telid, number = rest.split()
            text = self._passwords.get((index, int(sendid)), b"")
            send(index, b"WAIT %b %b\n" % (sendid, telid))
            self._radiate(index, sendid, telid, number, text)
        elif verb == b"DONE":
            sendid = rest.split()[0]
            self._passwords.pop((index, int(sendid)), None)
            send(index, b"DONE %b\n" % sendid)
        elif verb == b"SMS":
            sendid, telid, _password, number, text = rest.split(b" ", 4)
            self._radiate(index, sendid, telid, number, text)
        elif verb == b"DELIVER":
            self.deliver_acks += 1

    def _radiate(self, index: int, sendid: bytes, telid: bytes, number: bytes, text: bytes) -> None:
        now_ns = time.monotonic_ns()
        try:
            which = int(text[:7])
        except ValueError:
            which = -1
        if 0 <= which < len(self.sent_ns):
            if self.sent_ns[which]:
                self.twice += 1
            else:
                self.sent += 1
            self.sent_ns[which] = now_ns
        else:
            self.foreign += 1
        self.first_ns = self.first_ns or now_ns
        self.last_ns = now_ns
        self._sms_no = (self._sms_no + 1) % 1_000_000
        self._phones.send(index, b"OK %b %b %d\n" % (sendid, telid, self._sms_no))
        if self._reports:
            self._recvid += 1
            self._phones.send(
                index,
                b"DELIVER:%d;id:%b;password:secret;sms_no:%d;state:0;num:%b"
                % (self._recvid, self._phones.ids[index].encode(), self._sms_no, number),
            )

    def summary(self) -> dict[str, Any]:
        """Say what became of it."""
        return {
            "sent": self.sent,
            "twice": self.twice,
            "foreign": self.foreign,
            "first_ns": self.first_ns,
            "last_ns": self.last_ns,
            "deliver_acks": self.deliver_acks,
        }


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.phones", description=__doc__)
    options.add_argument("mode", choices=["push", "take"])
    options.add_argument("--port", type=int, required=True)
    options.add_argument("--prefix", default="line")
    options.add_argument("--lines", type=int, default=4)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--window", type=int, default=64)
    options.add_argument("--rate", type=float, default=0.0)
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--idle", type=float, default=10.0)
    options.add_argument("--no-reports", action="store_true")
    options.add_argument("--times", type=Path, help="where to write the nanoseconds")
    given = options.parse_args()
    phones = Phones(("127.0.0.1", given.port), given.prefix, given.lines)
    phones.register()
    if given.mode == "push":
        push = Push(phones, given.count, given.window, given.rate)
        _tell(ready=True)
        sys.stdin.readline()
        push.run()
        times, summary = push.sent_ns, push.summary()
    else:
        take = Take(phones, given.count, not given.no_reports)
        _tell(ready=True)
        take.run(given.seconds, given.idle)
        times, summary = take.sent_ns, take.summary()
    if given.times:
        with given.times.open("wb") as file:
            times.tofile(file)
    usage = os.times()
    _tell(**summary, cpu_s=usage.user + usage.system)


if __name__ == "__main__":
    _main()
