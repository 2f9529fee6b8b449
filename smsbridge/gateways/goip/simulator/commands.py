"""
What a person or program can ask of a simulated box: one table for the prompt, scripts and control.

A command takes named parameters and returns plain data; `show` turns the data into lines to read.
A typed line is cut into words, the last parameter taking the rest.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

import attrs

from smsbridge.gateways.goip.simulator.box import Box, UnknownLine
from smsbridge.gateways.goip.simulator.channel import Channel
from smsbridge.gateways.goip.simulator.journal import (
    Accepted,
    GsmChanged,
    Happening,
    Lost,
    Radiated,
    Refused,
    Registered,
    SendFailed,
    UssdAsked,
)
from smsbridge.gateways.goip.simulator.settings import Span
from smsbridge.simulation import CommandError

Result = dict[str, Any]


REQUIRED = object()
"""Stands for a default where there is none."""


@attrs.frozen(kw_only=True)
class Parameter:
    """A word of a command; one with a default may be left out."""

    name: str
    convert: Callable[[Any], Any] = str
    default: Any = REQUIRED
    rest: bool = False


@attrs.frozen(kw_only=True)
class Command:
    """A command, and what ``help`` says of it."""

    name: str
    run: Callable[..., Result]
    parameters: tuple[Parameter, ...]
    summary: str
    example: str
    show: Callable[[Result], list[str]] | None = None

    @property
    def usage(self) -> str:
        """The command with its parameters, those in brackets optional."""
        words = [self.name]
        for parameter in self.parameters:
            word = parameter.name.upper()
            words.append(word if parameter.default is REQUIRED else f"[{word}]")
        return " ".join(words)


# Conversions.


def _integer(value: Any) -> int:
    if isinstance(value, bool) or not isinstance(value, int | str):
        raise ValueError(f"{value!r} is not a whole number")
    try:
        return int(value)
    except ValueError:
        raise ValueError(f"{value!r} is not a whole number") from None


def _number(value: Any) -> float:
    try:
        return float(value)
    except (TypeError, ValueError):
        raise ValueError(f"{value!r} is not a number") from None


def _switch(value: Any) -> bool:
    if isinstance(value, bool):
        return value
    word = str(value).lower()
    if word in ("on", "yes", "true", "1"):
        return True
    if word in ("off", "no", "false", "0"):
        return False
    raise ValueError(f"{value!r} is neither on nor off")


def _text(value: Any) -> str:
    if not isinstance(value, str):
        raise ValueError("a text is a string")
    return value


def _lines(box: Box, name: Any) -> list[Channel]:
    return box.channels if name in (None, "all") else [box.line(name)]


# Commands.  Each gets the box and its converted parameters.


def _receive(box: Box, line: str, number: str, text: str) -> Result:
    pushes = box.line(line).receive_sms(number, text)
    return {"recvids": [push.recvid for push in pushes], "waiting": not pushes}


def _show_receive(result: Result) -> list[str]:
    if result["waiting"]:
        return ["the line has no network; the text waits there until it logs in"]
    return []


def _ussd(box: Box, line: str, text: str) -> Result:
    push = box.line(line).push_ussd(text)
    return {"recvids": [] if push is None else [push.recvid]}


def _call(box: Box, line: str, number: str, seconds: float) -> Result:
    box.line(line).call_in(number, talk_s=seconds)
    return {}


def _dial(box: Box, line: str, number: str, seconds: float) -> Result:
    box.line(line).call_out(number, talk_s=seconds)
    return {}


def _hangup(box: Box, line: str) -> Result:
    box.line(line).drop_call()
    return {}


def _push(box: Box, line: str, verb: str, fields: str) -> Result:
    pairs: list[tuple[str, str | bytes]] = []
    for segment in filter(None, fields.split(";")):
        key, colon, value = segment.partition(":")
        if not colon:
            raise CommandError(f"{segment!r} is not of the form key:value")
        pairs.append((key, value))
    push = box.line(line).push(verb, pairs)
    return {"recvids": [] if push is None else [push.recvid]}


def _report(box: Box, line: str, sms_no: int, state: int, number: str) -> Result:
    push = box.line(line).report_delivery(sms_no, number, state)
    return {"recvids": [] if push is None else [push.recvid]}


def _login(box: Box, line: str) -> Result:
    for channel in _lines(box, line):
        channel.log_in()
    return {}


def _logout(box: Box, line: str) -> Result:
    for channel in _lines(box, line):
        channel.log_out()
    return {}


def _signal(box: Box, line: str, value: int) -> Result:
    box.line(line).signal = value
    return {}


def _announce(box: Box, line: str) -> Result:
    for channel in _lines(box, line):
        channel.announce()
    return {}


def _sim(box: Box, line: str, number: str) -> Result:
    channel = box.line(line)
    serial = box.rng.randrange(10**9)
    channel.swap_sim(f"310150{serial:09d}", f"8901{serial:015d}F", number)
    return {"imsi": channel.imsi, "iccid": channel.iccid}


def _show_sim(result: Result) -> list[str]:
    return [f"new SIM: imsi {result['imsi']}, iccid {result['iccid']}"]


def _reboot(box: Box, line: str, seconds: float | None) -> Result:
    if line == "all":
        box.reboot(seconds)
    else:
        box.line(line).reboot(seconds)
    return {}


def _module(box: Box, line: str) -> Result:
    box.line(line).reboot_module()
    return {}


def _rebind(box: Box, line: str) -> Result:
    for channel in _lines(box, line):
        box.rebind(channel.id)
    return {"ports": {channel.id: box.port(channel.id) for channel in _lines(box, line)}}


def _show_ports(result: Result) -> list[str]:
    return [f"{line} is now at port {port}" for line, port in result["ports"].items()]


def _password(box: Box, line: str, password: str) -> Result:
    box.line(line).password = password
    return {}


def _recvid(box: Box, line: str, value: int) -> Result:
    box.line(line).next_recvid = value
    return {}


_WEATHER_KINDS = ("loss", "duplicate", "reorder", "delay")


def _fault(box: Box, kind: str, value: Any, direction: str) -> Result:
    if kind == "none":
        for name in ("out", "in"):
            path = box.outgoing if name == "out" else box.incoming
            box.set_weather(type(path.weather)(), name)
        for channel in box.channels:
            channel.switches = type(channel.switches)()
        return _faults(box)
    if kind in _WEATHER_KINDS:
        if value is None:
            raise CommandError(f"how much? For example: fault {kind} 0.2")
        change: dict[str, Any] = {
            kind: Span.parse(str(value)) if kind == "delay" else _number(value)
        }
        for name in ("out", "in") if direction == "both" else (direction,):
            path = box.incoming if name == "in" else box.outgoing
            box.set_weather(attrs.evolve(path.weather, **change), name)
        return _faults(box)
    raise CommandError(
        f"{kind!r} is no fault of the network; use {', '.join(_WEATHER_KINDS)} or none"
    )


def _faults(box: Box) -> Result:
    paths = {"out": box.outgoing, "in": box.incoming}
    return {
        name: {
            "loss": path.weather.loss,
            "duplicate": path.weather.duplicate,
            "reorder": path.weather.reorder,
            "delay": str(path.weather.delay),
            "lost": path.lost,
            "duplicated": path.duplicated,
            "reordered": path.reordered,
        }
        for name, path in paths.items()
    }


def _show_faults(result: Result) -> list[str]:
    return [
        f"{name + ':':<5}loss {path['loss']:g}, duplicate {path['duplicate']:g}, "
        f"reorder {path['reorder']:g}, delay {path['delay']} s"
        f" (so far {path['lost']} lost, {path['duplicated']} doubled, {path['reordered']} held)"
        for name, path in result.items()
    ]


_SWITCHES = {
    "no-acks": "no_acks",
    "no-answers": "no_answers",
    "invalid-utf8": "invalid_utf8",
}


def _misbehave(box: Box, line: str, kind: str, on: bool) -> Result:
    if kind not in _SWITCHES:
        raise CommandError(f"{kind!r} is no misbehavior; use {', '.join(_SWITCHES)}")
    for channel in _lines(box, line):
        setattr(channel.switches, _SWITCHES[kind], on)
    return {}


def _miss(box: Box, line: str, part: int) -> Result:
    box.line(line).switches.missing_part = part
    return {}


def _refuse(box: Box, line: str, number: str, errorstatus: int, times: int | None) -> Result:
    for channel in _lines(box, line):
        channel.refuse_sends(number, errorstatus, times)
    return {}


def _permit(box: Box, line: str) -> Result:
    for channel in _lines(box, line):
        channel.refusals.clear()
    return {}


def _answer(box: Box, on: bool) -> Result:
    box.answers = on
    return {"answer": on}


def _reports(box: Box, states: str) -> Result:
    word = states.strip().lower()
    if word in ("on", "off"):
        for channel in box.channels:
            channel.delivery_reports = word == "on"
        return {}
    try:
        numbers = tuple(int(state) for state in states.replace(",", " ").split())
    except ValueError:
        numbers = ()
    if not numbers:
        raise CommandError("give on, off, or states of 3GPP TS 23.040, such as 0 or 33 70")
    for channel in box.channels:
        channel.delivery_reports = True
        channel.report_states = numbers
    return {}


def _status(box: Box) -> Result:
    return {
        "server": "{}:{}".format(*box.channels[0].server),
        "profile": box.settings.profile.name,
        "answer": box.answers,
        "lines": [
            {
                "id": channel.id,
                "port": box.port(channel.id),
                "gsm": channel.gsm.value,
                "registered": channel.registered,
                "num": channel.num,
                "signal": channel.signal,
                "call": channel.call_state,
                "sessions": len(channel.sessions),
                "outstanding": len(channel.outstanding),
            }
            for channel in box.channels
        ],
        "counters": box.journal.counters(),
    }


def _show_status(result: Result) -> list[str]:
    rows = [f"server {result['server']}, profile {result['profile']}"]
    for line in result["lines"][:40]:
        registered = "registered" if line["registered"] else "not registered"
        rows.append(
            f"  {line['id']:<12} {line['num']:<14} port {line['port']:<6} gsm {line['gsm']:<9}"
            f"{registered}, {line['call']}, {line['outstanding']} unacknowledged"
        )
    if len(result["lines"]) > 40:
        rows.append(f"  ... and {len(result['lines']) - 40} lines more")
    counters = result["counters"]
    rows.append(", ".join(f"{name} {value}" for name, value in counters.items() if value) or "idle")
    return rows


def _radiated(box: Box, line: str, since: int) -> Result:
    journal = box.journal
    first = journal.radiated_count - len(journal.radiated)
    id_ = None if line == "all" else box.line(line).id
    texts = [
        {**attrs.asdict(entry), "n": number}
        for number, entry in enumerate(journal.radiated, first + 1)
        if number > since and id_ in (None, entry.line)
    ]
    return {"count": journal.radiated_count, "texts": texts}


def _show_radiated(result: Result) -> list[str]:
    return [
        f"{text['n']:>5} {text['line']} to {text['num']}: {text['text']}"
        for text in result["texts"][-50:]
    ] or ["nothing was sent yet"]


def _lost(box: Box) -> Result:
    return {
        "count": box.journal.lost_count,
        "pushes": [
            {"line": lost.line, "verb": lost.verb, "recvid": lost.recvid}
            for lost in box.journal.lost
        ],
    }


def _show_lost(result: Result) -> list[str]:
    return [
        f"{push['line']} {push['verb']} {push['recvid']}" for push in result["pushes"][-50:]
    ] or ["no push was lost"]


def _duplicates(box: Box) -> Result:
    return {
        "texts": [
            {"num": num, "text": text, "times": times}
            for num, text, times in box.journal.duplicates()
        ]
    }


def _show_duplicates(result: Result) -> list[str]:
    return [
        f"{text['times']} times to {text['num']}: {text['text']}" for text in result["texts"][:50]
    ] or ["no text was sent twice"]


def _texts(box: Box, line: str) -> Result:
    return {"texts": [{"from": sender, "text": text} for sender, text in box.line(line).ring]}


def _show_texts(result: Result) -> list[str]:
    return [f"from {text['from']}: {text['text']}" for text in result["texts"]] or ["no text yet"]


def _asked(box: Box) -> Result:
    return {"ussd": [attrs.asdict(asked) for asked in box.journal.ussd]}


def _show_asked(result: Result) -> list[str]:
    return [
        f"{asked['line']} {asked['code']}: {asked['answer'] or 'failed'}"
        for asked in result["ussd"][-50:]
    ] or ["no USSD code was sent yet"]


def _burst(
    box: Box, count: int, line: str, window: int, rate: float, sender: str, text: str
) -> Result:
    names = [] if line == "all" else [line]
    box.start_burst(names, count, window=window, rate=rate, sender=sender, text=text)
    return {"count": count}


def _burst_status(box: Box) -> Result:
    if box.burst is None:
        raise CommandError("there was no burst yet; for example: burst 1000")
    return dict(box.burst.summary())


def _show_burst(result: Result) -> list[str]:
    state = "finished" if result["finished"] else "running"
    return [
        f"{state}: {result['accepted']} of {result['count']} accepted, {result['refused']} refused,"
        f" {result['lost']} lost; {result['per_second']:g} a second,"
        f" p50 {result['p50_ms']:g} ms, p99 {result['p99_ms']:g} ms"
    ]


def _forget(box: Box) -> Result:
    box.journal.forget()
    return {}


_LINE = Parameter(name="line")
_LINE_OR_ALL = Parameter(name="line", default="all")
_NUMBER = Parameter(name="number")
_TEXT = Parameter(name="text", convert=_text, rest=True)

_TABLE = (
    Command(
        name="in",
        run=_receive,
        parameters=(_LINE, _NUMBER, _TEXT),
        summary="a text arrives from the phone network; \\n is a line break",
        example="in 1 +12025550123 hello",
        show=_show_receive,
    ),
    Command(
        name="ussd",
        run=_ussd,
        parameters=(_LINE, _TEXT),
        summary="the network sends a USSD notice by itself",
        example="ussd 1 Your balance is low",
    ),
    Command(
        name="call",
        run=_call,
        parameters=(_LINE, _NUMBER, Parameter(name="seconds", convert=_number, default=10.0)),
        summary="somebody calls the line; 0 seconds is a call that nobody answers",
        example="call 1 +12025550123 20",
    ),
    Command(
        name="dial",
        run=_dial,
        parameters=(_LINE, _NUMBER, Parameter(name="seconds", convert=_number, default=10.0)),
        summary="the line makes a call",
        example="dial 1 +12025550123",
    ),
    Command(
        name="hangup",
        run=_hangup,
        parameters=(_LINE,),
        summary="end the call in progress",
        example="hangup 1",
    ),
    Command(
        name="push",
        run=_push,
        parameters=(_LINE, Parameter(name="verb"), Parameter(name="fields", default="", rest=True)),
        summary="send any other report",
        example="push 1 CGATT cgatt:1",
    ),
    Command(
        name="report",
        run=_report,
        parameters=(
            _LINE,
            Parameter(name="sms_no", convert=_integer),
            Parameter(name="state", convert=_integer),
            Parameter(name="number", default=""),
        ),
        summary="send a delivery report by hand; state 0 is delivered",
        example="report 1 17 0 +12025550123",
    ),
    Command(
        name="login",
        run=_login,
        parameters=(_LINE_OR_ALL,),
        summary="find the mobile network",
        example="login 1",
    ),
    Command(
        name="logout",
        run=_logout,
        parameters=(_LINE_OR_ALL,),
        summary="lose the mobile network",
        example="logout 1",
    ),
    Command(
        name="signal",
        run=_signal,
        parameters=(_LINE, Parameter(name="value", convert=_integer)),
        summary="set the signal, 0 to 31, told with the next keepalive",
        example="signal 1 7",
    ),
    Command(
        name="announce",
        run=_announce,
        parameters=(_LINE_OR_ALL,),
        summary="send a keepalive now",
        example="announce 1",
    ),
    Command(
        name="sim",
        run=_sim,
        parameters=(_LINE, Parameter(name="number", default="")),
        summary="put another SIM in",
        example="sim 1 +12025550155",
        show=_show_sim,
    ),
    Command(
        name="reboot",
        run=_reboot,
        parameters=(_LINE_OR_ALL, Parameter(name="seconds", convert=_number, default=None)),
        summary="restart the box or one line; what was under way is forgotten",
        example="reboot all 5",
    ),
    Command(
        name="module",
        run=_module,
        parameters=(_LINE,),
        summary="restart the radio module of a line",
        example="module 1",
    ),
    Command(
        name="rebind",
        run=_rebind,
        parameters=(_LINE_OR_ALL,),
        summary="get another local port, as behind a NAT that forgot",
        example="rebind 1",
        show=_show_ports,
    ),
    Command(
        name="password",
        run=_password,
        parameters=(_LINE, Parameter(name="password")),
        summary="change the password on the device alone",
        example="password 1 wrong",
    ),
    Command(
        name="recvid",
        run=_recvid,
        parameters=(_LINE, Parameter(name="value", convert=_integer)),
        summary="number the next push; it may be negative",
        example="recvid 1 -7",
    ),
    Command(
        name="fault",
        run=_fault,
        parameters=(
            Parameter(name="kind"),
            Parameter(name="value", convert=lambda value: value, default=None),
            Parameter(name="direction", default="both"),
        ),
        summary="let the network lose, duplicate, reorder or delay; none ends all faults",
        example="fault loss 0.2 out",
        show=_show_faults,
    ),
    Command(
        name="faults",
        run=_faults,
        parameters=(),
        summary="show the faults of the network",
        example="faults",
        show=_show_faults,
    ),
    Command(
        name="misbehave",
        run=_misbehave,
        parameters=(
            _LINE,
            Parameter(name="kind"),
            Parameter(name="on", convert=_switch, default=True),
        ),
        summary="ignore acknowledgements (no-acks), stay silent (no-answers), or invalid-utf8",
        example="misbehave 1 no-acks on",
    ),
    Command(
        name="miss",
        run=_miss,
        parameters=(_LINE, Parameter(name="part", convert=_integer)),
        summary="lose this part of the next long text that arrives",
        example="miss 1 2",
    ),
    Command(
        name="refuse",
        run=_refuse,
        parameters=(
            _LINE,
            _NUMBER,
            Parameter(name="errorstatus", convert=_integer, default=38),
            Parameter(
                name="times",
                convert=lambda value: None if value is None else _integer(value),
                default=None,
            ),
        ),
        summary="let the network refuse texts to a number, or to any",
        example="refuse 1 any 38 2",
    ),
    Command(
        name="permit",
        run=_permit,
        parameters=(_LINE_OR_ALL,),
        summary="refuse nothing any more",
        example="permit 1",
    ),
    Command(
        name="answer",
        run=_answer,
        parameters=(Parameter(name="on", convert=_switch),),
        summary="text back to whoever is texted",
        example="answer on",
    ),
    Command(
        name="reports",
        run=_reports,
        parameters=(Parameter(name="states", rest=True),),
        summary="delivery reports on, off, or with these states one after another",
        example="reports 33 0",
    ),
    Command(
        name="status",
        run=_status,
        parameters=(),
        summary="show the lines and counters",
        example="status",
        show=_show_status,
    ),
    Command(
        name="radiated",
        run=_radiated,
        parameters=(_LINE_OR_ALL, Parameter(name="since", convert=_integer, default=0)),
        summary="show what was sent into the air",
        example="radiated 1",
        show=_show_radiated,
    ),
    Command(
        name="lost",
        run=_lost,
        parameters=(),
        summary="show the pushes that no server took",
        example="lost",
        show=_show_lost,
    ),
    Command(
        name="duplicates",
        run=_duplicates,
        parameters=(),
        summary="show texts that went out more than once",
        example="duplicates",
        show=_show_duplicates,
    ),
    Command(
        name="texts",
        run=_texts,
        parameters=(_LINE,),
        summary="show the last five texts that a line received",
        example="texts 1",
        show=_show_texts,
    ),
    Command(
        name="asked",
        run=_asked,
        parameters=(),
        summary="show the USSD codes that were sent",
        example="asked",
        show=_show_asked,
    ),
    Command(
        name="burst",
        run=_burst,
        parameters=(
            Parameter(name="count", convert=_integer),
            _LINE_OR_ALL,
            Parameter(name="window", convert=_integer, default=32),
            Parameter(name="rate", convert=_number, default=0.0),
            Parameter(name="sender", convert=_text, default="+1202555{:04d}"),
            Parameter(name="text", convert=_text, default="burst {}", rest=True),
        ),
        summary="many texts arrive, WINDOW at a time, or RATE a second",
        example="burst 1000",
    ),
    Command(
        name="progress",
        run=_burst_status,
        parameters=(),
        summary="show how the burst goes",
        example="progress",
        show=_show_burst,
    ),
    Command(
        name="forget",
        run=_forget,
        parameters=(),
        summary="empty the lists and counters",
        example="forget",
    ),
)

COMMANDS: Mapping[str, Command] = {command.name: command for command in _TABLE}


def run(box: Box, name: str, arguments: Mapping[str, Any]) -> Result:
    """
    Carry out a command with named arguments.

    :raises CommandError: when it cannot be; the text tells a person what to do.
    """
    command = COMMANDS.get(name)
    if command is None:
        raise CommandError(f"there is no command {name!r}; commands: {', '.join(COMMANDS)}")
    known = {parameter.name for parameter in command.parameters}
    for key in arguments:
        if key not in known:
            takes = ", ".join(sorted(known)) or "no parameters"
            raise CommandError(f"{name} has no parameter {key!r}; it takes {takes}")
    values: dict[str, Any] = {}
    for parameter in command.parameters:
        if parameter.name not in arguments:
            if parameter.default is REQUIRED:
                raise CommandError(f"{parameter.name} is missing; usage: {command.usage}")
            values[parameter.name] = parameter.default
            continue
        try:
            values[parameter.name] = parameter.convert(arguments[parameter.name])
        except ValueError as error:
            raise CommandError(f"{parameter.name}: {error}") from None
    try:
        return command.run(box, **values)
    except (ValueError, IndexError, KeyError, UnknownLine) as error:
        raise CommandError(str(error.args[0] if error.args else error)) from None


def run_line(box: Box, line: str) -> list[str]:
    """
    Carry out a typed line; returns the lines to show.

    :raises CommandError: when it cannot be.
    """
    name, _, rest = line.strip().partition(" ")
    command = COMMANDS.get(name)
    if command is None:
        raise CommandError(f"there is no command {name!r}; type help for a list")
    result = run(box, name, _words(command, rest))
    return command.show(result) if command.show is not None else []


def _words(command: Command, rest: str) -> dict[str, str]:
    arguments: dict[str, str] = {}
    rest = rest.strip()
    for parameter in command.parameters:
        if not rest:
            break
        if parameter.rest:
            arguments[parameter.name] = rest.replace("\\n", "\n")
            return arguments
        word, _, rest = rest.partition(" ")
        arguments[parameter.name] = word
        rest = rest.lstrip()
    if rest:
        raise CommandError(f"{rest!r} is too much; usage: {command.usage}")
    return arguments


def help_text(words: Sequence[str]) -> list[str]:
    """Return help on everything, or on one command."""
    if words:
        command = COMMANDS.get(words[0])
        if command is None:
            return [f"there is no command {words[0]!r}; type help for a list"]
        return [command.usage, f"  {command.summary}", f"  example: {command.example}"]
    width = max(len(command.example) for command in _TABLE) + 2
    return [
        "A line is its number (1, 2, ...) or its id. Try these:",
        *(f"  {command.example:<{width}}{command.summary}" for command in _TABLE),
        f"  {'help fault':<{width}}how a command is used",
        f"  {'quit':<{width}}switch the box off",
    ]


def describe(happening: Happening) -> str | None:
    """Return a line for people about something that happened, None where it is not worth one."""
    match happening:
        case Radiated(line=line, num=num, text=text, parts=parts):
            more = f" ({parts} parts)" if parts > 1 else ""
            return f"{line}: text to {num}{more}: {text}"
        case Accepted(line=line, verb="RECEIVE", recvid=recvid, took_s=took_s):
            return f"{line}: the server took text {recvid} after {took_s * 1000:.0f} ms"
        case Refused(line=line, verb=verb, recvid=recvid, text=text):
            return f"{line}: the server refused {verb} {recvid}: {text}"
        case Lost(line=line, verb=verb, recvid=recvid):
            return f"{line}: {verb} {recvid} is lost, no server acknowledged it"
        case Registered(line=line, registered=registered):
            return f"{line}: {'registered' if registered else 'no longer registered'} at the server"
        case GsmChanged(line=line, state=state):
            return f"{line}: gsm {state}"
        case SendFailed(line=line, num=num, errorstatus=errorstatus):
            return f"{line}: text to {num} refused by the network, errorstatus {errorstatus}"
        case UssdAsked(line=line, code=code, answer=answer):
            return f"{line}: USSD {code}: {answer if answer is not None else 'failed'}"
        case _:
            return None


def as_data(happening: Happening) -> Result:
    """Return a happening as plain data with its kind under ``event``."""
    data = attrs.asdict(happening)
    if "datagram" in data:
        data["datagram"] = data["datagram"].decode("utf-8", "replace")
    return {"event": type(happening).__name__.lower(), **data}
