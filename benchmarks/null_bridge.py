"""
The least that a bridge can do, to compare the daemon with: decode, acknowledge, write the stanza.

It uses the daemon's own codec and stanzas on Twisted, and has no store, no checks, no fence and no
memory: whatever the XMPP server does not take is lost.
"""

from __future__ import annotations

import argparse
import hashlib
import re
from typing import Any

from twisted.internet.protocol import ClientFactory, DatagramProtocol, Protocol

from benchmarks.users import COMPONENT, DOMAIN
from smsbridge.gateways.goip import codec
from smsbridge.gateways.xmpp import stanzas

_ID = re.compile(rb" id=['\"]([^'\"]+)['\"]")


class _Component(Protocol):
    """The XMPP side: a handshake, then whatever is written."""

    def __init__(self, secret: str, on_ready: Any) -> None:
        self._secret = secret
        self._on_ready = on_ready
        self._heard = b""
        self._is_authenticated = False

    def connectionMade(self) -> None:
        transport: Any = self.transport
        transport.setTcpNoDelay(True)
        transport.write(
            f"<stream:stream to='{COMPONENT}' xmlns='jabber:component:accept' "
            "xmlns:stream='http://etherx.jabber.org/streams'>".encode()
        )

    def dataReceived(self, data: bytes) -> None:
        if self._is_authenticated:
            return
        self._heard += data
        if b"<handshake" in self._heard:
            self._is_authenticated = True
            self._on_ready(self)
        elif (found := _ID.search(self._heard)) is not None and b">" in self._heard:
            digest = hashlib.sha1(found[1] + self._secret.encode()).hexdigest()
            transport: Any = self.transport
            transport.write(f"<handshake>{digest}</handshake>".encode())
            self._heard = b""


class _Goip(DatagramProtocol):
    """The phones' side."""

    def __init__(self, component: _Component | None, users: dict[str, str]) -> None:
        self._component: Any = component
        self._users = users
        self._number = 0

    def datagramReceived(self, datagram: bytes, addr: tuple[str, int]) -> None:
        transport: Any = self.transport
        try:
            event = codec.decode(datagram)
        except codec.MalformedDatagram:
            return
        if isinstance(event, codec.Received):
            transport.write(codec.encode_ack("RECEIVE", event.recvid), addr)
            if self._component is None:
                return
            self._number += 1
            stanza = stanzas.chat_message(
                self._users[event.id], f"{event.sender}@{COMPONENT}", str(self._number), event.text
            )
            self._component.transport.write(stanza.encode())
        elif isinstance(event, codec.Keepalive):
            transport.write(codec.encode_reg(event.number), addr)


def _main() -> None:
    options = argparse.ArgumentParser(prog="python -m benchmarks.null_bridge", description=__doc__)
    options.add_argument("--udp", type=int, required=True)
    options.add_argument("--component", type=int, help="without it nothing goes to XMPP")
    options.add_argument("--secret", default="not-a-secret")
    options.add_argument("--lines", type=int, default=4)
    given = options.parse_args()
    from twisted.internet import reactor

    loop: Any = reactor
    users = {f"line{n}": f"user{n}@{DOMAIN}" for n in range(1, given.lines + 1)}

    def serve(component: _Component | None) -> None:
        loop.listenUDP(given.udp, _Goip(component, users), "127.0.0.1", maxPacketSize=65535)
        print('{"ready": true}', flush=True)

    if given.component is None:
        loop.callWhenRunning(serve, None)
    else:
        factory = ClientFactory()
        factory.buildProtocol = lambda addr: _Component(given.secret, serve)  # type: ignore[method-assign]
        loop.connectTCP("127.0.0.1", given.component, factory)
    loop.run()


if __name__ == "__main__":
    _main()
