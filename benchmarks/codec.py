"""What one datagram or stanza costs, in microseconds of CPU, without sockets."""

from __future__ import annotations

import time
from collections.abc import Callable

from twisted.words.xish import domish

from benchmarks.figures import Section
from benchmarks.phones import TEXT
from benchmarks.rig import Setup
from smsbridge.core.address import parse_sender
from smsbridge.core.segments import Charset, count
from smsbridge.gateways.goip import codec
from smsbridge.gateways.xmpp import stanzas

DESCRIPTION = "cost of decoding and encoding, in microseconds"

_ASCII = TEXT % 42
_WIDE = "Поезд опаздывает, жди нас возле северного выхода; код: 42\n" * 2
_KEEPALIVE = (
    b"req:17;id:line1;pass:secret;num:;signal:21;gsm_status:LOGIN;voip_status:LOGIN;"
    b"voip_state:IDLE;remain_time:-1;imei:860000000000011;imsi:310150000000001;"
    b"iccid:8901000000000000001F;pro:Testnet;idle:0;disable_status:0;SMS_LOGIN:Y;SMB_LOGIN:N;"
    b'CELLINFO:"";CGATT:Y;'
)


def _received(text: str) -> bytes:
    return f"RECEIVE:17;id:line1;password:secret;srcnum:+12025550123;msg:{text}".encode()


def _element(xml: str) -> domish.Element:
    parsed: list[domish.Element] = []
    stream = domish.elementStream()
    stream.DocumentStartEvent = lambda root: None
    stream.ElementEvent = parsed.append
    stream.DocumentEndEvent = lambda: None
    stream.parse(f"<stream xmlns='jabber:component:accept'>{xml}".encode())
    return parsed[0]


_CHAT = (
    "<message from='user1@example.org/phone' to='+12025550123@sms.example.org' type='chat' "
    "id='a1'>"
    f"<body>{_ASCII}</body><request xmlns='urn:xmpp:receipts'/>"
    "<origin-id xmlns='urn:xmpp:sid:0' id='a1'/><markable xmlns='urn:xmpp:chat-markers:0'/>"
    "</message>"
)


def _parse() -> None:
    _PARSER.parse(_CHAT_BYTES)


_CHAT_BYTES = _CHAT.encode()
_PARSER = domish.elementStream()
_PARSER.DocumentStartEvent = lambda root: None
_PARSER.ElementEvent = lambda element: None
_PARSER.DocumentEndEvent = lambda: None
_PARSER.parse(b"<stream xmlns='jabber:component:accept'>")


def run(setup: Setup) -> list[Section]:
    """Measure each."""
    section = Section("Codecs", ("what", "us"))
    ascii_push, wide_push = _received(_ASCII), _received(_WIDE)
    chat = _element(_CHAT)
    cases: list[tuple[str, Callable[[], object]]] = [
        ("GoIP: decode a text (62 ASCII characters)", lambda: codec.decode(ascii_push)),
        ("GoIP: decode a text (110 Cyrillic characters)", lambda: codec.decode(wide_push)),
        ("GoIP: decode a keepalive", lambda: codec.decode(_KEEPALIVE)),
        ("GoIP: decode OK", lambda: codec.decode(b"OK 4711 1 160\n")),
        ("GoIP: encode an acknowledgement", lambda: codec.encode_ack("RECEIVE", 17)),
        ("GoIP: encode MSG", lambda: codec.encode_msg(4711, _ASCII)),
        ("core: read a sender", lambda: parse_sender("+12025550123", "US")),
        ("core: count segments (GSM)", lambda: count(_ASCII, Charset.GSM)),
        ("core: count segments (UCS-2)", lambda: count(_WIDE, Charset.GSM)),
        (
            "XMPP: write a text",
            lambda: stanzas.chat_message(
                "user1@example.org", "+12025550123@sms.example.org", "id", _ASCII
            ),
        ),
        ("XMPP: parse a message into a tree (Twisted)", _parse),
        ("XMPP: decode the tree", lambda: stanzas.decode_message(chat)),
    ]
    for name, call in cases:
        section.add(name, _cost_us(call, setup.count(20_000)))
    return [section]


def _cost_us(call: Callable[[], object], count: int) -> float:
    best_s = float("inf")
    for _ in range(3):
        began_s = time.process_time()
        for _ in range(count):
            call()
        best_s = min(best_s, time.process_time() - began_s)
    return best_s / count * 1e6
