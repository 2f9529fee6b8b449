"""
The commands that an operator may give a GoIP line, turned into what goes over the wire.

Left out on purpose: changing the IMEI, which is illegal in many countries, and the AT console,
which gives the whole modem away.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any

from attrs import frozen

from smsbridge.errors import Failure
from smsbridge.gateways.goip import codec
from smsbridge.gateways.goip.exchange import read_control, read_promise, read_ussd

__all__ = ["COMMANDS", "Wire"]


@frozen(kw_only=True)
class Wire:
    """How one command is written, and how its answer is read."""

    encode: Callable[[int, str], bytes]  # from sendid and password
    read: Callable[[Any], str | Failure | None] = read_control
    closes_session: bool = False
    once: bool = False  # a repeat would do it again


@frozen
class Command:
    """One command as the operator sees it; `make` raises `codec.InvalidCommand`."""

    arguments: str
    sentence: str
    make: Callable[[Sequence[str]], Wire]


def _plain(name: str, sentence: str, *, once: bool = False, promise: bool = False) -> Command:
    """Make a command without arguments."""

    def make(arguments: Sequence[str]) -> Wire:
        if arguments:
            raise codec.InvalidCommand("this command takes no arguments")
        return Wire(
            encode=lambda sendid, password: codec.encode_control(name, sendid, password),
            read=read_promise if promise else read_control,
            once=once,
        )

    return Command("", sentence, make)


def _valued(name: str, argument: str, sentence: str) -> Command:
    """Make a command with one argument, which goes out as it is."""

    def make(arguments: Sequence[str]) -> Wire:
        if len(arguments) != 1:
            raise codec.InvalidCommand(f"this command takes one argument: {argument}")
        value = arguments[0]
        # Now, so that a bad value is refused before anything is written.
        codec.encode_control(name, 1, "x", value)
        return Wire(
            encode=lambda sendid, password: codec.encode_control(name, sendid, password, value)
        )

    return Command(argument, sentence, make)


def _switch(name: str, words: Mapping[str, str], sentence: str) -> Command:
    """Make a command whose argument is one of a few words."""

    def make(arguments: Sequence[str]) -> Wire:
        if len(arguments) != 1 or arguments[0] not in words:
            raise codec.InvalidCommand(f"this command takes one argument: {'|'.join(words)}")
        value = words[arguments[0]]
        return Wire(
            encode=lambda sendid, password: codec.encode_control(name, sendid, password, value)
        )

    return Command("|".join(words), sentence, make)


def _call_forward(arguments: Sequence[str]) -> Wire:
    if not 2 <= len(arguments) <= 4:
        raise codec.InvalidCommand("this command takes: REASON MODE [NUMBER [SECONDS]]")
    reason, mode, *rest = arguments
    if reason not in codec.CF_REASONS:
        raise codec.InvalidCommand(f"REASON is one of: {', '.join(codec.CF_REASONS)}")
    if mode not in codec.CF_MODES:
        raise codec.InvalidCommand(f"MODE is one of: {', '.join(codec.CF_MODES)}")
    number = rest[0] if rest else ""
    if len(rest) == 2 and not (rest[1].isascii() and rest[1].isdigit()):
        raise codec.InvalidCommand("SECONDS is a whole number")
    time_s = int(rest[1]) if len(rest) == 2 else 0

    def encode(sendid: int, password: str) -> bytes:
        return codec.encode_call_forward(
            sendid, password, codec.CF_REASONS[reason], codec.CF_MODES[mode], number, time_s
        )

    encode(1, "x")
    return Wire(encode=encode, closes_session=True)


def _call_waiting(arguments: Sequence[str]) -> Wire:
    modes = {"off": 0, "on": 1, "query": 2}
    if len(arguments) != 1 or arguments[0] not in modes:
        raise codec.InvalidCommand(f"this command takes one argument: {'|'.join(modes)}")
    mode = modes[arguments[0]]
    return Wire(encode=lambda sendid, password: codec.encode_call_waiting(sendid, password, mode))


def _ussd_exit(arguments: Sequence[str]) -> Wire:
    if arguments:
        raise codec.InvalidCommand("this command takes no arguments")

    def read(event: Any) -> str | Failure | None:
        return "ok" if isinstance(event, codec.UssdExit) else read_ussd(event)

    return Wire(encode=codec.encode_ussd_exit, read=read)


COMMANDS: Mapping[str, Command] = {
    "state": _plain("get_gsm_state", "Ask for the call state of the line."),
    "summary": _plain("GSM", "Ask for everything that the channel tells of itself."),
    "number": _plain("get_gsm_num", "Ask for the SIM's own number, as it is set on the box."),
    "set-number": _valued("set_gsm_num", "NUMBER", "Set the SIM's own number on the box."),
    "imei": _plain("get_imei", "Ask for the IMEI of the module."),
    "remain-time": _plain("get_remain_time", "Ask for the minutes of call time that are left."),
    "reset-remain-time": _plain("reset_remain_time", "Give the line its full call time again."),
    "talk-limit": _plain("get_exp_time", "Ask for the limit of outgoing call time in minutes."),
    "set-talk-limit": _valued(
        "set_exp_time", "MINUTES", "Set the limit of outgoing call time; -1 is no limit."
    ),
    "call-interval": _plain("get_out_call_interval", "Ask for the seconds between two calls."),
    "set-call-interval": _valued(
        "set_out_call_interval", "SECONDS", "Set the seconds between two outgoing calls."
    ),
    "hang-up": _plain("svr_drop_call", "End the call in progress."),
    "call-forward": Command(
        "REASON MODE [NUMBER [SECONDS]]",
        "Set or query call forwarding in the network; for example: busy register +12025550123.",
        _call_forward,
    ),
    "call-waiting": Command("on|off|query", "Set or query call waiting.", _call_waiting),
    "ussd-exit": Command("", "Leave an open USSD dialogue.", _ussd_exit),
    "cells": _plain("get_cells_list", "Ask for the cells that the module sees.", promise=True),
    "cell": _plain("CURCELL", "Ask for the cell that the module uses."),
    "set-cell": _valued("set_base_cell", "CELL", "Bind the module to a cell; 0 lets it choose."),
    "module": _switch(
        "module_ctl_i",
        {"on": "1", "off": "2", "off-by-0": "0"},
        "Switch the module on or off. Firmware differs on how to say off: try 'off' first.",
    ),
    "modules": _valued(
        "module_ctl", "DIGITS", "Switch all modules of the box: 1 on, 0 off, 2 as it is; one each."
    ),
    "reports": _switch(
        "status_flag", {"on": "0", "off": "1"}, "Let the channel report calls and states, or not."
    ),
    "restart-module": _plain("svr_reboot_module", "Restart the module of this line.", once=True),
    "restart-box": _plain(
        "svr_reboot_dev", "Restart the whole box, with all its lines.", once=True
    ),
}
