"""
The other side of `smsbridge.gateways.goip.codec`: what a server sends, read as a GoIP reads it, and
what a GoIP sends, written.  It serves the simulator and the tests; no I/O, no state.

Texts stay bytes here, because a device hands on what it was given, valid UTF-8 or not.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

import attrs

from smsbridge.gateways.goip.codec import CONTROL_COMMANDS, MalformedDatagram

_TRAILING = b"\r\n\0 "
_BIGGEST = 2**63 - 1


@attrs.frozen
class Reg:
    """The server's answer to a keepalive; 200 and, in older editions, 0 mean accepted."""

    number: int
    status: int

    @property
    def accepted(self) -> bool:
        """Whether the device may call itself registered."""
        return self.status in (0, 200)


@attrs.frozen
class Ack:
    """The server's answer to a push; ``verdict`` is OK, ERROR or DISABLE."""

    verb: str
    recvid: int
    verdict: str
    text: str


@attrs.frozen
class GoippyAck:
    """``RECEIVEOK:recvid;...``, which real devices are not known to understand."""

    recvid: int


@attrs.frozen
class Command:
    """A command that carries the server's ``sendid``."""

    sendid: int


@attrs.frozen
class Msg(Command):
    """Open a bulk session; ``rest`` is the text with whatever follows it."""

    length: int
    rest: bytes

    def text(self, *, by_length: bool = True) -> bytes:
        """Cut the text out by its declared length, or take the rest without its line end."""
        if by_length and len(self.rest) >= self.length:
            return self.rest[: self.length]
        return self.rest[:-1] if self.rest.endswith(b"\n") else self.rest


@attrs.frozen
class Password(Command):
    """The channel's password for a bulk session."""

    password: str = attrs.field(repr=False)


@attrs.frozen
class Send(Command):
    """Send the session's text to one number."""

    telid: int
    num: str


@attrs.frozen
class DoneAsked(Command):
    """Close a bulk session."""


@attrs.frozen
class Sms(Command):
    """Send a text, all in one datagram."""

    telid: int
    password: str = attrs.field(repr=False)
    num: str
    text: bytes


@attrs.frozen
class Ussd(Command):
    """Ask the network a USSD code, or choose from its menu."""

    password: str = attrs.field(repr=False)
    code: str


@attrs.frozen
class UssdLeave(Command):
    """Leave the USSD dialogue."""

    password: str = attrs.field(repr=False)


@attrs.frozen
class Control(Command):
    """Any command of the form ``command sendid [value] password``."""

    command: str
    value: str
    password: str = attrs.field(repr=False)


@attrs.frozen
class CallForward(Command):
    """Set or query call forwarding."""

    password: str = attrs.field(repr=False)
    reason: int
    mode: int
    num: str
    time_s: int


@attrs.frozen
class CallWaiting(Command):
    """Set or query call waiting."""

    password: str = attrs.field(repr=False)
    mode: int


Event = Reg | Ack | GoippyAck | Command


def decode(datagram: bytes) -> Event:
    """
    Read one datagram that a server sent.

    :raises MalformedDatagram: for anything else, and nothing but that.
    """
    verb, _, rest = datagram.partition(b" ")
    decoder = _DECODERS.get(verb)
    if decoder is not None:
        return decoder(rest)
    if datagram.startswith(b"reg:"):
        return _reg(datagram[4:])
    if datagram.startswith(b"RECEIVEOK:"):
        return GoippyAck(_integer(datagram[10:].partition(b";")[0]))
    name = verb.decode("ascii", "replace")
    if name in CONTROL_COMMANDS or name == "set_imei":
        return _control(name, rest)
    if not verb.replace(b"_", b"").isalpha():
        raise MalformedDatagram("a verb that a server sends", 0)
    return _ack(name, rest)


def _integer(text: bytes) -> int:
    digits = text[1:] if text[:1] == b"-" else text
    if not digits.isdigit() or len(digits) > 19:
        raise MalformedDatagram("a decimal number", 0)
    value = int(text)
    if not -_BIGGEST <= value <= _BIGGEST:
        raise MalformedDatagram("a number of 64 bits", 0)
    return value


def _word(text: bytes) -> str:
    return text.decode("utf-8", "replace")


def _reg(rest: bytes) -> Reg:
    number, _, status = rest.rstrip(_TRAILING).rstrip(b";").partition(b";status:")
    return Reg(_integer(number), _integer(status))


def _ack(verb: str, rest: bytes) -> Ack:
    recvid, _, text = rest.rstrip(_TRAILING).partition(b" ")
    verdict, _, more = text.partition(b" ")
    if verdict in (b"OK", b"DISABLE"):
        return Ack(verb, _integer(recvid), verdict.decode(), "")
    # The vendor's document refuses some kinds of push with a bare text.
    return Ack(verb, _integer(recvid), "ERROR", _word(more if verdict == b"ERROR" else text))


def _msg(rest: bytes) -> Msg:
    sendid, _, rest = rest.partition(b" ")
    length, _, rest = rest.partition(b" ")
    return Msg(_integer(sendid), _integer(length), rest)


def _password(rest: bytes) -> Password:
    sendid, _, password = rest.rstrip(_TRAILING).partition(b" ")
    return Password(_integer(sendid), _word(password))


def _send(rest: bytes) -> Send:
    words = rest.rstrip(_TRAILING).split(b" ")
    if len(words) != 3:
        raise MalformedDatagram("SEND sendid telid number", 0)
    return Send(_integer(words[0]), _integer(words[1]), _word(words[2]))


def _done(rest: bytes) -> DoneAsked:
    return DoneAsked(_integer(rest.rstrip(_TRAILING)))


def _sms(rest: bytes) -> Sms:
    words = rest.split(b" ", 4)
    if len(words) != 5:
        raise MalformedDatagram("SMS sendid telid password number text", 0)
    sendid, telid, password, num, text = words
    return Sms(_integer(sendid), _integer(telid), _word(password), _word(num), text)


def _ussd(rest: bytes) -> Ussd:
    # A line feed at the end is part of the code here, and real devices fail on it.
    words = rest.split(b" ", 2)
    if len(words) != 3:
        raise MalformedDatagram("USSD sendid password code", 0)
    return Ussd(_integer(words[0]), _word(words[1]), _word(words[2]))


def _ussd_leave(rest: bytes) -> UssdLeave:
    sendid, _, password = rest.rstrip(_TRAILING).partition(b" ")
    return UssdLeave(_integer(sendid), _word(password))


def _control(command: str, rest: bytes) -> Control:
    words = rest.rstrip(_TRAILING).split(b" ")
    if len(words) == 2:
        return Control(_integer(words[0]), command, "", _word(words[1]))
    if len(words) == 3:
        return Control(_integer(words[0]), command, _word(words[1]), _word(words[2]))
    raise MalformedDatagram("command sendid [value] password", 0)


def _call_forward(rest: bytes) -> CallForward:
    words = rest.rstrip(_TRAILING).split(b" ")
    if len(words) != 6:
        raise MalformedDatagram("CF sendid password reason mode number time", 0)
    sendid, password, reason, mode, num, time_s = words
    return CallForward(
        _integer(sendid),
        _word(password),
        _integer(reason),
        _integer(mode),
        _word(num),
        _integer(time_s),
    )


def _call_waiting(rest: bytes) -> CallWaiting:
    words = rest.rstrip(_TRAILING).split(b" ")
    if len(words) != 3:
        raise MalformedDatagram("CW sendid password mode", 0)
    return CallWaiting(_integer(words[0]), _word(words[1]), _integer(words[2]))


_DECODERS: dict[bytes, Callable[[bytes], Event]] = {
    b"MSG": _msg,
    b"PASSWORD": _password,
    b"SEND": _send,
    b"DONE": _done,
    b"SMS": _sms,
    b"USSD": _ussd,
    b"USSDEXIT": _ussd_leave,
    b"CF": _call_forward,
    b"CW": _call_waiting,
}

# Encoding.


def encode_fields(fields: Iterable[tuple[str, str | bytes]]) -> bytes:
    """Write ``key:value`` segments joined by ``;``."""
    return b";".join(
        b"%b:%b" % (key.encode(), value if isinstance(value, bytes) else value.encode())
        for key, value in fields
    )


def encode_keepalive(number: int, id: str, password: str, fields: bytes) -> bytes:
    """Write a keepalive; ``fields`` comes from `encode_fields` and may be kept between calls."""
    return b"req:%d;id:%b;pass:%b;%b;" % (number, id.encode(), password.encode(), fields)


def encode_push(verb: str, recvid: int, id: str, password: str, fields: bytes) -> bytes:
    """Write any push; ``fields`` comes from `encode_fields`."""
    head = f"{verb}:{recvid};id:{id};password:{password};"
    return head.encode() + fields


def encode_received(
    recvid: int, id: str, password: str, sender: str, text: bytes, smsc: str = ""
) -> bytes:
    """Write the push of a received text."""
    center = f"smscnum:{smsc};" if smsc else ""
    head = f"RECEIVE:{recvid};id:{id};password:{password};srcnum:{sender};{center}msg:"
    return head.encode() + text


def encode_delivery_report(
    recvid: int, id: str, password: str, sms_no: int, state: int, num: str | None
) -> bytes:
    """Write a delivery report; older firmware leaves the number out (None)."""
    tail = "" if num is None else f";num:{num}"
    head = f"DELIVER:{recvid};id:{id};password:{password};sms_no:{sms_no};state:{state}{tail}"
    return head.encode()


def encode_password_asked(sendid: int) -> bytes:
    """Ask for the password of a bulk session."""
    return b"PASSWORD %d\n" % sendid


def encode_send_asked(sendid: int) -> bytes:
    """Ask for a number."""
    return b"SEND %d\n" % sendid


def encode_wait(sendid: int, telid: int) -> bytes:
    """Say that the text is in the queue."""
    return b"WAIT %d %d\n" % (sendid, telid)


def encode_ok(sendid: int, telid: int, sms_no: int | None) -> bytes:
    """Say that the network took the text; older firmware has no ``sms_no``."""
    if sms_no is None:
        return b"OK %d %d \n" % (sendid, telid)
    return b"OK %d %d %d\n" % (sendid, telid, sms_no)


def encode_send_error(sendid: int, telid: int, errorstatus: int) -> bytes:
    """Say that the network refused the text."""
    return b"ERROR %d %d errorstatus:%d\n" % (sendid, telid, errorstatus)


def encode_error(sendid: int, text: str) -> bytes:
    """Refuse a session or a command: PASSWORD, SENDID, GSM_LOGOUT or free text."""
    return f"ERROR {sendid} {text}\n".encode()


def encode_done(sendid: int) -> bytes:
    """Confirm that a session is closed."""
    return b"DONE %d\n" % sendid


def encode_ussd_answer(sendid: int, text: bytes) -> bytes:
    """Hand on the network's answer."""
    return b"USSD %d %b" % (sendid, text)


def encode_ussd_error(sendid: int, text: str) -> bytes:
    """Say that the USSD request failed."""
    return f"USSDERROR {sendid} {text}".encode()


def encode_ussd_exit(sendid: int) -> bytes:
    """Say that the USSD dialogue is over."""
    return b"USSDEXIT %d" % sendid


def encode_control_answer(command: str, sendid: int, value: str) -> bytes:
    """Answer a control command."""
    return f"{command} {sendid} {value}".encode()


def encode_service_answer(service: str, outcome: str, sendid: int, text: str = "") -> bytes:
    """Answer CF or CW with OK, ERROR or STATE."""
    return f"{service}{outcome} {sendid} {text}".rstrip().encode()


def encode_gsm_reply(sendid: int, fields: bytes) -> bytes:
    """Answer the command GSM with the state of the channel."""
    return b"GSM:%d;%b" % (sendid, fields)
