"""
Turn the datagrams of a GoIP channel into events, and our side's commands into datagrams; no I/O.

The protocol is the vendor's "GOIP SMS Interface" over UDP (DBL / Hybertone GoIP-1 to GoIP-32), as
its document, the vendor's own ``goipcron`` daemon and its web front end speak it.  Plain UTF-8,
one message a datagram, no escaping anywhere.  Every channel (SIM slot) is a client of its own::

    keepalive   req:17;id:goip01;pass:secret1;num:;signal:21;gsm_status:LOGIN;...
                reg:17;status:200;
    push        VERB:recvid;id:goip01;password:secret1;key:value;...;msg:text to the very end
                VERB recvid OK            (or VERB recvid ERROR text, or VERB recvid DISABLE)
    bulk        MSG 4711 5 hello\\n        ->  PASSWORD 4711\\n
                PASSWORD 4711 secret1\\n   ->  SEND 4711\\n
                SEND 4711 1 +1202...\\n    ->  WAIT 4711 1\\n ... OK 4711 1 160\\n
                DONE 4711\\n               ->  DONE 4711\\n
    one-shot    SMS 4712 1 secret1 +1202... text to the very end
    USSD        USSD 4713 secret1 *100#   ->  USSD 4713 text | USSDERROR 4713 text
    control     command sendid [value] password   ->  command sendid value | ERROR sendid text

Odd cases that shape this module:

* A text may hold ``;``, ``:`` and line feeds, so the first segment that starts with ``msg:`` ends
  the list of keys and everything behind it is the text.  A single trailing NUL or LF is not text.
* An alphanumeric sender may hold ``;``: it reaches to ``;smscnum:`` or ``;msg:``.
* ``recvid`` is signed, because devices count down from a clock that may never have been set.
* The password's key is ``pass`` in keepalives and ``password`` elsewhere; both are read everywhere.
* Empty, ``(null)`` and ``<NULL>`` all mean that the device has no value.
* USSD texts may end in ``@``, the padding of the 7-bit alphabet; ``USSD n USSD send failed!`` is a
  failure although it has the syntax of an answer.
* Keys, verbs and fields that this module does not know are kept, never refused: firmware adds them.

``decode`` raises `MalformedDatagram` and nothing else, whatever the bytes.  The encoders raise
`InvalidCommand` for arguments that the line syntax cannot carry.  The device's side of the
conversation is in `smsbridge.gateways.goip.device_codec`.
"""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping

import attrs

MAX_DATAGRAM_BYTES = 65535
MAX_TEXT_BYTES = 3000
"""Longest text that a device takes (vendor document); the device splits it into parts itself."""
MAX_CREDENTIAL_BYTES = 64
MAX_VERB_CHARS = 16
MAX_INTEGER_CHARS = 20
MAX_HEAD_CHARS = 8192
MAX_FIELDS = 64

STATUS_ACCEPTED = 200
STATUS_UNKNOWN = 404
STATUS_UNAVAILABLE = 304

NO_ACK_VERBS = frozenset({"req", "AT", "GSM"})
"""Push verbs that a server answers otherwise or not at all; every other push wants an ack."""


class MalformedDatagram(Exception):
    """
    A datagram that is not of this protocol.

    The text names what was expected and where, and repeats nothing of the datagram, so that it may
    be logged.
    """

    def __init__(self, expected: str, offset: int) -> None:
        super().__init__(expected, offset)
        self.expected = expected
        self.offset = offset

    def __str__(self) -> str:
        return f"expected {self.expected} at character {self.offset}"


class InvalidCommand(ValueError):
    """An argument that cannot be put into a command; the text says which and why."""


# Values.  They are made for every datagram, so they are positional and have no validators.


@attrs.frozen
class Push:
    """A report that a device repeats until it is acknowledged with ``verb`` and ``recvid``."""

    recvid: int
    id: str
    password: str = attrs.field(repr=False)
    verb: str = attrs.field(default="", kw_only=True)


@attrs.frozen
class Keepalive:
    """A channel's registration, every 30 s; which fields there are depends on the firmware."""

    number: int
    id: str
    password: str = attrs.field(repr=False)
    fields: Mapping[str, str]

    @property
    def num(self) -> str:
        """The SIM's own number as set on the device, or ''."""
        return self.fields.get("num", "")

    @property
    def signal(self) -> int | None:
        """RSSI as in AT+CSQ, 0 to 31; None when unknown or logged out."""
        value = _optional_integer(self.fields.get("signal", ""))
        return value if value is not None and 0 <= value <= 31 else None

    @property
    def signal_dbm(self) -> int | None:
        """Signal strength in dBm."""
        value = self.signal
        return None if value is None else 2 * value - 113

    @property
    def gsm_login(self) -> bool:
        """
        Whether the SIM is registered in its network.

        The first edition of the keepalive has no such field; it counts as registered.
        """
        return self.fields.get("gsm_status", "LOGIN") == "LOGIN"

    @property
    def voip_login(self) -> bool | None:
        """Whether the line is registered at its VoIP server; None when not told."""
        value = self.fields.get("voip_status")
        return None if value is None else value in ("LOGIN", "UP")

    @property
    def voip_state(self) -> str:
        """Call state such as IDLE, DIALING, CONNECTED, without a number; '' when not told."""
        return self.fields.get("voip_state", "").partition(":")[0]

    @property
    def voip_peer(self) -> str:
        """The other party's number of a call in progress, or ''."""
        return self.fields.get("voip_state", "").partition(":")[2]

    @property
    def remain_time(self) -> int | None:
        """Minutes of outgoing call time left, -1 for no limit; None when not told."""
        return _optional_integer(self.fields.get("remain_time", ""))

    @property
    def imei(self) -> str:
        """Identity of the radio module, or ''."""
        return self.fields.get("imei", "")

    @property
    def imsi(self) -> str:
        """Identity of the subscriber, or ''; a change means another SIM."""
        return self.fields.get("imsi", "")

    @property
    def iccid(self) -> str:
        """Number of the SIM card without its filler digit, or ''."""
        return self.fields.get("iccid", "").rstrip("Ff")

    @property
    def carrier(self) -> str:
        """Name of the network, or ''."""
        return self.fields.get("pro", "")

    @property
    def idle_min(self) -> int | None:
        """Minutes since the last call; None when not told."""
        return _optional_integer(self.fields.get("idle", ""))

    @property
    def reports_disabled(self) -> bool:
        """Whether status reports were switched off by a server."""
        return self.fields.get("disable_status", "") == "1"

    @property
    def sms_login(self) -> bool | None:
        """Whether the device believes that it is registered here; None when not told."""
        return _yes(self.fields.get("SMS_LOGIN"))

    @property
    def sim_bank_login(self) -> bool | None:
        """Whether the device is registered at a SIM bank; None when not told."""
        return _yes(self.fields.get("SMB_LOGIN"))

    @property
    def cell_info(self) -> str:
        """Serving cell, such as ``LAC:7E5,CELL ID:5E5B``, or ''."""
        return self.fields.get("CELLINFO", "").strip('"')

    @property
    def packet_attached(self) -> bool | None:
        """Whether the packet service is attached; None when not told."""
        return _yes(self.fields.get("CGATT"))

    @property
    def sim_bank_line_id(self) -> int | None:
        """Line id at the SIM bank, in special vendor builds."""
        return _optional_integer(self.fields.get("s_l_id", ""))


@attrs.frozen
class Received(Push):
    """A text for the SIM; ``sender`` may be a number, a name, or ''."""

    sender: str
    smsc: str
    text: str
    verb: str = attrs.field(default="RECEIVE", kw_only=True)


@attrs.frozen
class DeliveryReport(Push):
    """What became of a sent text: ``state`` is the TP-Status of 3GPP TS 23.040, 0 = delivered."""

    sms_no: int
    state: int
    num: str
    verb: str = attrs.field(default="DELIVER", kw_only=True)


@attrs.frozen
class UssdPush(Push):
    """A notice that the network sent by itself."""

    text: str
    verb: str = attrs.field(default="USSN", kw_only=True)


@attrs.frozen
class LineState(Push):
    """The call state of the line changed, to IDLE, INCOMING, CONNECTED and the like."""

    state: str
    num: str
    verb: str = attrs.field(default="STATE", kw_only=True)


@attrs.frozen
class CallRecord(Push):
    """A call began; ``incoming`` tells the direction."""

    incoming: bool
    num: str
    verb: str = attrs.field(default="RECORD", kw_only=True)


@attrs.frozen
class Hangup(Push):
    """A call ended; number and cause are as the device reports them, often empty."""

    num: str
    cause: str
    verb: str = attrs.field(default="HANGUP", kw_only=True)


@attrs.frozen
class CallExpiry(Push):
    """How long the call lasted."""

    duration_s: int
    verb: str = attrs.field(default="EXPIRY", kw_only=True)


@attrs.frozen
class Remain(Push):
    """Minutes of outgoing call time left; None is unlimited."""

    remain_min: int | None
    verb: str = attrs.field(default="REMAIN", kw_only=True)


@attrs.frozen
class Cells(Push):
    """The cells that the module sees."""

    cells: tuple[str, ...]
    verb: str = attrs.field(default="CELLS", kw_only=True)


@attrs.frozen
class CellInfo(Push):
    """The serving cell changed."""

    info: str
    verb: str = attrs.field(default="CELLINFO", kw_only=True)


@attrs.frozen
class AtOutput(Push):
    """A line of an AT console, which we never open; it wants no ack."""

    count: int | None
    line: str
    verb: str = attrs.field(default="AT", kw_only=True)


@attrs.frozen
class OtherPush(Push):
    """A push that needs an ack and nothing else: CGATT, BCCH, NUMRECORD, or of newer firmware."""

    fields: Mapping[str, str]


@attrs.frozen
class Answer:
    """What a device says to a command of ours that carried ``sendid``."""

    sendid: int


@attrs.frozen
class PasswordAsked(Answer):
    """The device took the text of a bulk session and wants the channel's password."""


@attrs.frozen
class SendAsked(Answer):
    """The password was right; the device wants a number."""


@attrs.frozen
class Wait(Answer):
    """The device has the text in its queue."""

    telid: int


@attrs.frozen
class Ok(Answer):
    """The network took the text; ``sms_no`` links the delivery report, if the firmware has it."""

    telid: int
    sms_no: int | None


@attrs.frozen
class SendError(Answer):
    """
    The device refuses: ``text`` is PASSWORD, SENDID, GSM_LOGOUT or free.

    ``errorstatus`` is the +CMS ERROR of one text (``telid``); 1 means that the cause is unknown.
    Control commands fail with the same message, without ``telid``.
    """

    telid: int | None
    text: str
    errorstatus: int | None


@attrs.frozen
class Done(Answer):
    """The session is closed."""


@attrs.frozen
class UssdAnswer(Answer):
    """What the network answered to a USSD code or menu choice."""

    text: str


@attrs.frozen
class UssdError(Answer):
    """The USSD request failed, in the device's words."""

    text: str


@attrs.frozen
class UssdExit(Answer):
    """The USSD dialogue is over; also sent unasked when the network closes it."""


@attrs.frozen
class ControlAnswer:
    """What a device answers to a control command."""

    command: str
    sendid: int
    value: str

    @property
    def accepted(self) -> bool:
        """Whether the value says ok, alone or behind the repeated argument."""
        return self.value[-2:].lower() == "ok" and self.value[-3:-2] in ("", " ")


@attrs.frozen
class ServiceAnswer(Answer):
    """
    What a device answers to CF (call forwarding) or CW (call waiting).

    ``outcome`` is OK, ERROR or STATE; with STATE, ``enabled`` and ``num`` tell the setting.
    """

    service: str
    outcome: str
    enabled: bool | None
    num: str


@attrs.frozen
class GsmReply(Answer):
    """The whole state of a channel, in answer to the command GSM; not a push, wants no ack."""

    fields: Mapping[str, str]


Event = Keepalive | Push | Answer | ControlAnswer

# Decoding.

_NULLS = frozenset({"(null)", "<NULL>"})
_TRAILING = "\r\n\0 "
_BIGGEST = 2**63 - 1
_USSD_FAILED = "USSD send failed!"
_TELEPHONE = re.compile(r"\+?[0-9]*", re.ASCII)


def decode(datagram: bytes) -> Event:
    """
    Read one datagram that a device sent.

    Invalid UTF-8 becomes U+FFFD.

    :raises MalformedDatagram: for anything that is not of this protocol, and for nothing else.
    """
    if len(datagram) > MAX_DATAGRAM_BYTES:
        raise MalformedDatagram(f"at most {MAX_DATAGRAM_BYTES} bytes", MAX_DATAGRAM_BYTES)
    text = datagram.decode("utf-8", "replace")
    colon = text.find(":", 0, MAX_VERB_CHARS + 1)
    space = text.find(" ", 0, 32)
    if colon > 0 and not 0 <= space < colon:
        return _decode_push(text, colon)
    if space > 0:
        return _decode_answer(text, space)
    raise MalformedDatagram("a verb followed by ':' or a space", 0)


def _decode_push(text: str, colon: int) -> Event:
    verb = text[:colon]
    end = text.find(";", colon)
    if end < 0:
        end = len(text)
    number = _integer(text[colon + 1 : end].rstrip(_TRAILING), "a decimal recvid", colon + 1)
    if verb == "RECEIVE":
        return _decode_received(number, text, end)
    if verb == "req" or (colon == 3 and verb.lower() == "req"):
        fields = _fields(text.rstrip(_TRAILING), end)
        id_, password = _credentials(fields, end)
        return Keepalive(number, id_, password, fields)
    if verb == "GSM":
        return GsmReply(number, _fields(text.rstrip(_TRAILING), end))
    decoder = _PUSH_DECODERS.get(verb)
    if decoder is None and not (verb.isascii() and verb.replace("_", "").isalpha()):
        raise MalformedDatagram("a verb of letters", 0)
    fields = _fields_and_text(text, end, "receive" if verb == "AT" else "msg")
    id_, password = _credentials(fields, end)
    if decoder is None:
        return OtherPush(number, id_, password, fields, verb=verb)
    return decoder(number, id_, password, fields, verb)


def _decode_received(recvid: int, text: str, end: int) -> Received:
    marker = text.find(";msg:", end)
    if marker < 0:
        raise MalformedDatagram("';msg:'", len(text))
    body = text[marker + 5 :]
    if body.endswith(("\n", "\0")):
        body = body[:-1]
    source = text.find(";srcnum:", end, marker)
    if source < 0:
        fields = _fields(text[:marker], end)
        sender = ""
    else:
        fields = _fields(text[:source], end)
        center = text.find(";smscnum:", source, marker)
        stop = marker if center < 0 else center
        sender = text[source + 8 : stop]
        if ";" in sender:
            # Either a name with a semicolon in it, or a number followed by keys that we do not
            # know.  Only a number is certain to end at the semicolon.
            head, _, extra = sender.partition(";")
            if _TELEPHONE.fullmatch(head):
                sender = head
                fields = {**_fields(";" + extra, 0), **fields}
        if center >= 0:
            fields = {**_fields(text[:marker], center), **fields}
        if sender in _NULLS:
            sender = ""
    id_, password = _credentials(fields, end)
    return Received(recvid, id_, password, sender, fields.get("smscnum", ""), body)


def _fields(text: str, end: int) -> dict[str, str]:
    """Read ``;key:value`` segments from ``end`` on; the first of two equal keys counts."""
    if len(text) - end > MAX_HEAD_CHARS:
        raise MalformedDatagram(f"at most {MAX_HEAD_CHARS} characters of fields", end)
    segments = text[end + 1 :].split(";", MAX_FIELDS)
    if len(segments) > MAX_FIELDS:
        raise MalformedDatagram(f"at most {MAX_FIELDS} fields", end)
    fields: dict[str, str] = {}
    for segment in segments:
        key, colon, value = segment.partition(":")
        if colon and key not in fields:
            fields[key] = "" if value in _NULLS else value
    return fields


def _fields_and_text(text: str, end: int, last: str) -> dict[str, str]:
    """Read segments up to the key ``last``, whose value reaches to the end of the datagram."""
    marker = text.find(f";{last}:", end)
    if marker < 0:
        return _fields(text.rstrip(_TRAILING), end)
    fields = _fields(text[:marker], end)
    body = text[marker + len(last) + 2 :]
    fields[last] = body[:-1] if body.endswith(("\n", "\0")) else body
    return fields


def _credentials(fields: dict[str, str], offset: int) -> tuple[str, str]:
    """Take id and password out of the fields."""
    id_ = fields.pop("id", "")
    password = fields.pop("password", None)
    if password is None:
        password = fields.pop("pass", "")
    if not id_:
        raise MalformedDatagram("an id", offset)
    if _too_long(id_) or _too_long(password):
        raise MalformedDatagram(f"id and password of at most {MAX_CREDENTIAL_BYTES} bytes", offset)
    return id_, password


def _too_long(credential: str) -> bool:
    if len(credential) > MAX_CREDENTIAL_BYTES:
        return True
    return not credential.isascii() and len(credential.encode()) > MAX_CREDENTIAL_BYTES


def _integer(text: str, expected: str, offset: int) -> int:
    value = _optional_integer(text)
    if value is None:
        raise MalformedDatagram(expected, offset)
    return value


def _optional_integer(text: str) -> int | None:
    """Read a signed decimal of 64 bits; None for anything else that int() would let through."""
    digits = text[1:] if text[:1] == "-" else text
    if not digits.isdigit() or not text.isascii() or len(text) > MAX_INTEGER_CHARS:
        return None
    value = int(text)
    return value if -_BIGGEST <= value <= _BIGGEST else None


def _yes(value: str | None) -> bool | None:
    return None if not value else value.upper() == "Y"


def _required(fields: Mapping[str, str], key: str) -> int:
    return _integer(fields.get(key, "").strip(), f"a decimal value of '{key}'", 0)


def _deliver(
    recvid: int, id_: str, password: str, fields: dict[str, str], verb: str
) -> DeliveryReport:
    sms_no, state = _required(fields, "sms_no"), _required(fields, "state")
    return DeliveryReport(recvid, id_, password, sms_no, state, fields.get("num", ""))


def _ussd_push(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> UssdPush:
    text = fields.get("msg", "").rstrip("\0@")
    return UssdPush(recvid, id_, password, text, verb=verb)


def _line_state(
    recvid: int, id_: str, password: str, fields: dict[str, str], verb: str
) -> LineState:
    state, _, num = fields.get("gsm_remain_state", "").partition(":")
    return LineState(recvid, id_, password, state, num)


def _call_record(
    recvid: int, id_: str, password: str, fields: dict[str, str], verb: str
) -> CallRecord:
    direction = _required(fields, "dir")
    if direction not in (1, 2):
        raise MalformedDatagram("'dir' to be 1 or 2", 0)
    return CallRecord(recvid, id_, password, direction == 1, fields.get("num", ""))


def _hangup(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> Hangup:
    num, _, cause = fields.get("num", "").partition(",cause:")
    return Hangup(recvid, id_, password, num, (cause or fields.get("cause", "")).strip('"'))


def _call_expiry(
    recvid: int, id_: str, password: str, fields: dict[str, str], verb: str
) -> CallExpiry:
    return CallExpiry(recvid, id_, password, _required(fields, "exp"))


def _remain(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> Remain:
    minutes = _required(fields, "gsm_remain_time")
    return Remain(recvid, id_, password, None if minutes < 0 else minutes)


def _cells(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> Cells:
    cells = fields.get("lists", "").strip('"').split(",")
    return Cells(recvid, id_, password, tuple(cell for cell in cells if cell))


def _cell_info(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> CellInfo:
    return CellInfo(recvid, id_, password, fields.get("info", "").strip('"'))


def _at_output(recvid: int, id_: str, password: str, fields: dict[str, str], verb: str) -> AtOutput:
    count = _optional_integer(fields.get("count", ""))
    return AtOutput(recvid, id_, password, count, fields.get("receive", ""))


_PUSH_DECODERS: dict[str, Callable[[int, str, str, dict[str, str], str], Push]] = {
    "DELIVER": _deliver,
    "USSN": _ussd_push,
    "USSD": _ussd_push,
    "STATE": _line_state,
    "RECORD": _call_record,
    "HANGUP": _hangup,
    "EXPIRY": _call_expiry,
    "REMAIN": _remain,
    "CELLS": _cells,
    "CELLINFO": _cell_info,
    "AT": _at_output,
}


def _decode_answer(text: str, space: int) -> Event:
    verb = text[:space]
    decoder = _ANSWER_DECODERS.get(verb)
    if decoder is None:
        if verb not in CONTROL_COMMANDS:
            raise MalformedDatagram("a verb that a device sends", 0)
        decoder = _control_answer
    sendid, _, rest = text[space + 1 :].rstrip(_TRAILING).partition(" ")
    return decoder(verb, _integer(sendid, "a decimal sendid", space + 1), rest)


def _password_asked(verb: str, sendid: int, rest: str) -> Event:
    return PasswordAsked(sendid)


def _send_asked(verb: str, sendid: int, rest: str) -> Event:
    return SendAsked(sendid)


def _wait(verb: str, sendid: int, rest: str) -> Event:
    return Wait(sendid, _integer(rest.partition(" ")[0], "a decimal telid", 0))


def _ok(verb: str, sendid: int, rest: str) -> Event:
    telid, _, sms_no = rest.partition(" ")
    return Ok(
        sendid,
        _integer(telid, "a decimal telid", 0),
        _optional_integer(sms_no.strip().partition(" ")[0]),
    )


def _send_error(verb: str, sendid: int, rest: str) -> Event:
    first, _, more = rest.partition(" ")
    telid = _optional_integer(first)
    words = rest if telid is None else more.strip()
    _, found, number = words.partition("errorstatus:")
    return SendError(sendid, telid, words, _optional_integer(number.strip()) if found else None)


def _done(verb: str, sendid: int, rest: str) -> Event:
    return Done(sendid)


def _ussd_answer(verb: str, sendid: int, rest: str) -> Event:
    text = rest.rstrip("\r\n\0 @")
    return UssdError(sendid, text) if text == _USSD_FAILED else UssdAnswer(sendid, text)


def _ussd_error(verb: str, sendid: int, rest: str) -> Event:
    return UssdError(sendid, rest)


def _ussd_exit(verb: str, sendid: int, rest: str) -> Event:
    return UssdExit(sendid)


def _service_answer(verb: str, sendid: int, rest: str) -> Event:
    enabled, _, num = rest.partition(" ")
    outcome = verb[2:]
    known = outcome == "STATE" and enabled in ("0", "1")
    return ServiceAnswer(
        sendid, verb[:2], outcome, enabled == "1" if known else None, num if known else rest
    )


def _control_answer(verb: str, sendid: int, rest: str) -> Event:
    return ControlAnswer(verb, sendid, "" if rest in _NULLS else rest)


_ANSWER_DECODERS: dict[str, Callable[[str, int, str], Event]] = {
    "PASSWORD": _password_asked,
    "SEND": _send_asked,
    "WAIT": _wait,
    "OK": _ok,
    "ERROR": _send_error,
    "GSMERROR": _send_error,
    "DONE": _done,
    "USSD": _ussd_answer,
    "USSDERROR": _ussd_error,
    "USSDEXIT": _ussd_exit,
    "CFOK": _service_answer,
    "CFERROR": _service_answer,
    "CFSTATE": _service_answer,
    "CWOK": _service_answer,
    "CWERROR": _service_answer,
    "CWSTATE": _service_answer,
}

# Encoding.


def encode_reg(number: int, status: int = STATUS_ACCEPTED) -> bytes:
    """Answer keepalive ``number``: 200 accepts, 404 refuses, 304 says that we cannot tell now."""
    return b"reg:%d;status:%d;" % (number, status)


def encode_ack(verb: str, recvid: int) -> bytes:
    """Acknowledge a push, which ends its repetition."""
    return f"{verb} {recvid} OK".encode()


def encode_goippy_ack(recvid: int, id: str) -> bytes:
    """Acknowledge a text as goippy does; only clients made for goippy understand it."""
    return f"RECEIVEOK:{recvid};id:{id};status:0;".encode()


def encode_refusal(verb: str, recvid: int, id: str) -> bytes:
    """Refuse a push for bad credentials, in the vendor's words."""
    return f"{verb} {recvid} ERROR not find this id:{id}, or password error".encode()


def encode_failure(verb: str, recvid: int, text: str) -> bytes:
    """Refuse a push for another reason, given as one line."""
    _refuse_breaks(text, "the reason")
    return f"{verb} {recvid} ERROR {text}".encode("utf-8", "replace")


def encode_disable(verb: str, recvid: int) -> bytes:
    """Acknowledge a push and ask the device to stop reports of that kind."""
    return f"{verb} {recvid} DISABLE".encode()


def encode_msg(sendid: int, text: str) -> bytes:
    """
    Open a bulk session with a text; its length counts UTF-8 bytes.

    :raises InvalidCommand: when the text is empty, has a NUL, or exceeds 3000 bytes.
    """
    body = _text_bytes(text)
    return b"MSG %d %d %b\n" % (_sendid(sendid), len(body), body)


def encode_password(sendid: int, password: str) -> bytes:
    """Answer `PasswordAsked`."""
    return f"PASSWORD {_sendid(sendid)} {check_password(password)}\n".encode()


def encode_send(sendid: int, telid: int, num: str) -> bytes:
    """Send the session's text to one number."""
    return f"SEND {_sendid(sendid)} {_sendid(telid)} {check_number(num)}\n".encode()


def encode_done(sendid: int) -> bytes:
    """Close a session."""
    return f"DONE {_sendid(sendid)}\n".encode()


def encode_sms(sendid: int, telid: int, password: str, num: str, text: str) -> bytes:
    """
    Send a text in one datagram; firmware before the third edition ignores it.

    No line feed ends it: the device would take that for text.

    :raises InvalidCommand: as `encode_msg`, and for a bad password or number.
    """
    head = f"SMS {_sendid(sendid)} {_sendid(telid)} {check_password(password)} {check_number(num)} "
    return head.encode() + _text_bytes(text)


def encode_ussd(sendid: int, password: str, code: str) -> bytes:
    """Ask the network a USSD code, or choose from its menu with a new ``sendid``."""
    return f"USSD {_sendid(sendid)} {check_password(password)} {check_ussd_code(code)}".encode()


def encode_ussd_exit(sendid: int, password: str) -> bytes:
    """Leave a USSD dialogue."""
    return f"USSDEXIT {_sendid(sendid)} {check_password(password)}".encode()


_NUMBER = re.compile(r"\+?[0-9]{1,20}", re.ASCII)
_USSD_CODE = re.compile(r"[0-9*#+]{1,182}", re.ASCII)
_DECIMAL = re.compile(r"[0-9]{1,9}", re.ASCII)

CONTROL_COMMANDS: Mapping[str, re.Pattern[str] | None] = {
    "get_gsm_num": None,
    "set_gsm_num": _NUMBER,
    "get_exp_time": None,
    "set_exp_time": re.compile(r"-?[0-9]{1,9}", re.ASCII),
    "get_remain_time": None,
    "reset_remain_time": None,
    "get_gsm_state": None,
    "get_imei": None,
    "get_out_call_interval": None,
    "set_out_call_interval": _DECIMAL,
    "svr_drop_call": None,
    "svr_reboot_module": None,
    "svr_reboot_dev": None,
    "module_ctl_i": re.compile(r"[012]"),
    "module_ctl": re.compile(r"[012]{1,32}"),
    "set_base_cell": _DECIMAL,
    "get_cells_list": None,
    "CURCELL": None,
    "status_flag": re.compile(r"[01]"),
    "GSM": None,
}
"""
Control commands and the form of their value, None for those without one.

``set_imei`` and the AT console are left out on purpose: the first is illegal in many countries,
the second gives the whole modem away.
"""

CF_REASONS: Mapping[str, int] = {
    "unconditional": 0,
    "busy": 1,
    "no-reply": 2,
    "not-reachable": 3,
    "all": 4,
    "all-conditional": 5,
}
CF_MODES: Mapping[str, int] = {"disable": 0, "enable": 1, "query": 2, "register": 3, "erase": 4}


def encode_control(command: str, sendid: int, password: str, value: str | None = None) -> bytes:
    """
    Encode a control command; the value stands before the password.

    :raises InvalidCommand: for a command that is not in `CONTROL_COMMANDS`, or a value that does
        not suit it.
    """
    try:
        form = CONTROL_COMMANDS[command]
    except KeyError:
        known = ", ".join(CONTROL_COMMANDS)
        raise InvalidCommand(f"unknown command {command!r}; known: {known}") from None
    if form is None:
        if value is not None:
            raise InvalidCommand(f"{command} takes no value")
        return f"{command} {_sendid(sendid)} {check_password(password)}".encode()
    if value is None or not form.fullmatch(value):
        raise InvalidCommand(f"the value of {command} must match {form.pattern}")
    return f"{command} {_sendid(sendid)} {value} {check_password(password)}".encode()


def encode_call_forward(
    sendid: int, password: str, reason: int, mode: int, num: str = "", time_s: int = 0
) -> bytes:
    """
    Set or query call forwarding; the password stands before the values.

    ``reason`` and ``mode`` are of `CF_REASONS` and `CF_MODES`; ``time_s`` is for no-reply.
    A session opened by this ends with `encode_done`.
    """
    if reason not in CF_REASONS.values():
        raise InvalidCommand("the reason of call forwarding is 0 to 5")
    if mode not in CF_MODES.values():
        raise InvalidCommand("the mode of call forwarding is 0 to 4")
    if not 0 <= time_s <= 60:
        raise InvalidCommand("the time before forwarding is 0 to 60 seconds")
    if num:
        check_number(num)
    head = f"CF {_sendid(sendid)} {check_password(password)}"
    return f"{head} {reason} {mode} {num} {time_s}".encode()


def encode_call_waiting(sendid: int, password: str, mode: int) -> bytes:
    """Switch call waiting off (0), on (1), or query it (2)."""
    if mode not in (0, 1, 2):
        raise InvalidCommand("the mode of call waiting is 0, 1 or 2")
    return f"CW {_sendid(sendid)} {check_password(password)} {mode}".encode()


def check_id(id: str) -> str:
    """
    Return a client id if the protocol can carry it.

    :raises InvalidCommand: when it cannot; the text says why.
    """
    return _check_word(id, "the id", forbidden=" \r\n\0;")


def check_password(password: str) -> str:
    """
    Return a password if the protocol can carry it.

    :raises InvalidCommand: when it cannot; the text says why and does not repeat it.
    """
    return _check_word(password, "the password", forbidden=" \r\n\0;")


def check_number(num: str) -> str:
    """
    Return a number or short code if a device can dial it.

    :raises InvalidCommand: when it cannot.
    """
    if not _NUMBER.fullmatch(num):
        raise InvalidCommand("a number is up to 20 digits with an optional + in front")
    return num


def check_ussd_code(code: str) -> str:
    """
    Return a USSD code or menu choice if it can be sent.

    :raises InvalidCommand: when it cannot.
    """
    if not _USSD_CODE.fullmatch(code):
        raise InvalidCommand("a USSD code consists of 0-9, *, # and +, such as *100#")
    return code


def _check_word(word: str, what: str, forbidden: str) -> str:
    if not word:
        raise InvalidCommand(f"{what} must not be empty")
    if any(character in forbidden for character in word):
        raise InvalidCommand(f"{what} must have no space, ';', line break or NUL")
    try:
        size = len(word.encode())
    except UnicodeEncodeError:
        raise InvalidCommand(f"{what} must be Unicode text") from None
    if size > MAX_CREDENTIAL_BYTES:
        raise InvalidCommand(f"{what} must have at most {MAX_CREDENTIAL_BYTES} bytes")
    return word


def _refuse_breaks(text: str, what: str) -> None:
    if any(character in "\r\n\0" for character in text):
        raise InvalidCommand(f"{what} must be one line")


def _sendid(number: int) -> int:
    # The vendor's server uses up to 31 bits, and nobody has seen a device take more.
    if not 0 <= number < 2**31:
        raise InvalidCommand("ids of sessions and texts are 0 to 2147483647")
    return number


def _text_bytes(text: str) -> bytes:
    try:
        body = text.encode()
    except UnicodeEncodeError:
        raise InvalidCommand("the text has half of a surrogate pair") from None
    if not body:
        raise InvalidCommand("the text is empty")
    if b"\0" in body:
        raise InvalidCommand("the text has a NUL character")
    if len(body) > MAX_TEXT_BYTES:
        raise InvalidCommand(
            f"the text has {len(body)} bytes in UTF-8; a GoIP takes at most {MAX_TEXT_BYTES}"
        )
    return body
