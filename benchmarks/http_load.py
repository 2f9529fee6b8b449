"""
HTTP clients in one cheap process: keep-alive connections that post prepared requests.

Each connection has one request under way.  With a rate, requests begin at that pace on whichever
connection is free.
"""

from __future__ import annotations

import argparse
import hashlib
import hmac
import json
import os
import select
import socket
import sys
import time
from array import array
from base64 import b64encode
from collections import deque
from pathlib import Path
from typing import Any
from urllib.parse import urlencode, urlsplit

from benchmarks.phones import TEXT, number_of_line

#: The account of the webhooks.
ACCOUNT = "AC" + "0" * 32


def request(number: int, lines: int, path: str, token: str) -> bytes:
    """
    Make the request that sends text `number` on the next line.

    :param token: of the API; without one it is a request to the control socket.
    """
    line, text = f"line{number % lines + 1}", TEXT % number
    to = f"+1303555{100 + number // lines % 97:04d}"
    allowed = ""
    if token:
        attributes = {"from": line, "to": to, "body": text}
        body = json.dumps({"data": {"type": "message", "attributes": attributes}})
        allowed = f"Authorization: Bearer {token}\r\n"
    else:
        body = json.dumps({"line": line, "to": [to], "text": text})
    return (
        f"POST {path} HTTP/1.1\r\nHost: daemon\r\nContent-Type: application/json\r\n"
        f"{allowed}Content-Length: {len(body)}\r\n\r\n{body}"
    ).encode()


def hook(number: int, lines: int, url: str, secret: str, run: int = 0) -> bytes:
    """
    Make the webhook by which Twilio hands over text `number`, on the next line.

    :param run: makes its id differ from that of the same number in another run.
    """
    sid = f"SM{run:08x}{number:024x}"
    fields = {
        "ToCountry": "US",
        "ToState": "DC",
        "SmsMessageSid": sid,
        "NumMedia": "0",
        "ToCity": "WASHINGTON",
        "FromZip": "20001",
        "SmsSid": sid,
        "FromState": "DC",
        "SmsStatus": "received",
        "FromCity": "WASHINGTON",
        "Body": TEXT % number,
        "FromCountry": "US",
        "To": number_of_line(number % lines),
        "ToZip": "20001",
        "NumSegments": "1",
        "MessageSid": sid,
        "AccountSid": ACCOUNT,
        "From": f"+1303555{100 + number // lines % 97:04d}",
        "ApiVersion": "2010-04-01",
    }
    signed = url + "".join(name + fields[name] for name in sorted(fields))
    digest = hmac.new(secret.encode(), signed.encode(), hashlib.sha1).digest()
    body = urlencode(fields)
    return (
        f"POST {urlsplit(url).path} HTTP/1.1\r\nHost: daemon\r\n"
        "Content-Type: application/x-www-form-urlencoded; charset=UTF-8\r\n"
        f"Content-Length: {len(body)}\r\nX-Twilio-Signature: {b64encode(digest).decode()}\r\n"
        f"I-Twilio-Idempotency-Token: {sid}\r\nUser-Agent: TwilioProxy/1.1\r\n"
        f"Accept: */*\r\n\r\n{body}"
    ).encode()


def connect(where: str) -> socket.socket:
    """Connect to a port of the loopback, or to a unix socket."""
    if where.isdecimal():
        link = socket.create_connection(("127.0.0.1", int(where)))
        link.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
    else:
        link = socket.socket(socket.AF_UNIX)
        link.connect(where)
    link.setblocking(False)
    return link


class Clients:
    """The connections."""

    def __init__(self, where: str, connections: int, requests: list[bytes], rate: float) -> None:
        self._requests = requests
        self._rate = rate
        self._links = {link.fileno(): link for link in (connect(where) for _ in range(connections))}
        self._number: dict[int, int] = {}
        self._heard = dict.fromkeys(self._links, b"")
        self._free = deque(self._links)
        self.begun_ns = array("q", bytes(8 * len(requests)))
        self.waits_s: list[float] = []
        self.refused = 0
        self.first_refusal = ""
        self.last_ns = 0

    def run(self, seconds: float) -> None:
        """Post everything, and wait for the answers."""
        poll = select.epoll()
        for descriptor in self._links:
            poll.register(descriptor, select.EPOLLIN)
        count, number = len(self._requests), 0
        began_s = time.monotonic()
        while len(self.waits_s) < count:
            now_s = time.monotonic()
            if now_s - began_s > seconds:
                return
            due = count if not self._rate else min(count, int((now_s - began_s) * self._rate) + 1)
            while number < due and self._free:
                descriptor = self._free.popleft()
                self._number[descriptor] = number
                self.begun_ns[number] = time.monotonic_ns()
                self._links[descriptor].send(self._requests[number])
                number += 1
            for descriptor, _ in poll.poll(0.001 if self._rate else 0.5):
                self._take(descriptor)

    def _take(self, descriptor: int) -> None:
        data = self._links[descriptor].recv(65536)
        if not data:
            raise SystemExit("the daemon closed a connection")
        heard = self._heard[descriptor] + data
        head, blank, body = heard.partition(b"\r\n\r\n")
        length = 0
        for line in head.split(b"\r\n"):
            if line.lower().startswith(b"content-length:"):
                length = int(line.partition(b":")[2])
        if not blank or len(body) < length:
            self._heard[descriptor] = heard
            return
        self._heard[descriptor] = b""
        self.last_ns = time.monotonic_ns()
        self.waits_s.append((self.last_ns - self.begun_ns[self._number[descriptor]]) / 1e9)
        if not head.split(b" ", 2)[1].startswith(b"2"):
            self.refused += 1
            self.first_refusal = self.first_refusal or heard.decode("utf-8", "replace")[:500]
        self._free.append(descriptor)

    def summary(self) -> dict[str, Any]:
        """Say how it went."""
        from benchmarks.figures import latencies

        return {
            "answered": len(self.waits_s),
            "refused": self.refused,
            "first_refusal": self.first_refusal,
            "first_ns": self.begun_ns[0],
            "last_ns": self.last_ns,
            **latencies(self.waits_s),
        }


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.http_load", description=__doc__)
    options.add_argument("where", help="port, or path of a unix socket")
    options.add_argument("--path", default="/messages")
    options.add_argument("--token", default="", help="of the API")
    options.add_argument("--hook", default="", help="post webhooks of Twilio; their public address")
    options.add_argument("--secret", default="", help="what webhooks are signed with")
    options.add_argument("--connections", type=int, default=1)
    options.add_argument("--count", type=int, required=True)
    options.add_argument("--run", type=int, default=0, help="tells the ids of runs apart")
    options.add_argument("--rate", type=float, default=0.0)
    options.add_argument("--lines", type=int, default=4)
    options.add_argument("--seconds", type=float, default=600.0)
    options.add_argument("--times", type=Path)
    given = options.parse_args()
    requests = [
        hook(number, given.lines, given.hook, given.secret, given.run)
        if given.hook
        else request(number, given.lines, given.path, given.token)
        for number in range(given.count)
    ]
    clients = Clients(given.where, given.connections, requests, given.rate)
    print(json.dumps({"ready": True}), flush=True)
    sys.stdin.readline()
    clients.run(given.seconds)
    if given.times:
        with given.times.open("wb") as file:
            clients.begun_ns.tofile(file)
    usage = os.times()
    print(json.dumps({**clients.summary(), "cpu_s": usage.user + usage.system}), flush=True)


if __name__ == "__main__":
    _main()
