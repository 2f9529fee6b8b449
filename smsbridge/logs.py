"""
The log: one line an event, for people or as JSON, with the fields that tell where it belongs.

The log is for people who look for a reason, and best effort; what became of a message is data in
the store.  Numbers are masked and bodies left out where an event is made, not here.
"""

from __future__ import annotations

import json
import re
import string
import sys
from collections import OrderedDict
from collections.abc import Mapping
from datetime import UTC, datetime
from functools import lru_cache
from typing import Any, ClassVar, Final, TextIO

from attrs import evolve, field, frozen
from twisted.logger import (
    FilteringLogObserver,
    ILogObserver,
    LogEvent,
    LogLevel,
    LogLevelFilterPredicate,
    formatEvent,
)
from twisted.python.failure import Failure
from zope.interface import implementer

__all__ = [
    "FIELDS",
    "JsonLines",
    "LastErrors",
    "Levels",
    "LoggedError",
    "TextLines",
    "observer",
    "twistd_observer",
    "use",
]

#: The fields that say where an event belongs, in the order in which they are shown.
FIELDS: Final = (
    "gateway",
    "line",
    "lane",
    "person",
    "message_id",
    "delivery_id",
    "remote_id",
    "peer",
    "attempt",
    "reason",
)

_LEVELS = {level.name: level for level in LogLevel.iterconstants()}
# The namespaces of Twisted, and of what still uses its old way to log.
_LIBRARIES: Final = ("twisted", "log_legacy")
_LEVEL_WIDTH = max(map(len, _LEVELS))
_NAMESPACE_WIDTH = 20
_LONGEST_KEPT: Final = 1000  # characters of an event that `LastErrors` keeps

# A peer's text may end up in an event: it must neither begin a line of its own nor command the
# terminal that shows the log.
_CONTROL = re.compile("[\x00-\x1f\x7f-\x9f\u2028\u2029\ud800-\udfff]")
_NEEDS_QUOTES = re.compile(r"[\s\"=]|^$")


@frozen
class Levels:
    """
    From which level on events are written, as a whole and for parts of the program.

    :param default: of everything that is not in `parts`.
    :param parts: namespace such as ``smsbridge.gateways.goip`` to level.
    """

    default: str = "info"
    parts: Mapping[str, str] = field(factory=dict)

    @classmethod
    def parse(cls, text: str) -> Levels:
        """
        Read ``info`` or ``info gateways.goip=debug``.

        :raises ValueError: a level is unknown; says which there are.
        """
        default, parts = "info", {}
        for word in text.split():
            name, equals, level = word.rpartition("=")
            if level == "warning":
                level = "warn"
            if level not in _LEVELS:
                raise ValueError(f"{level!r} is no level of the log; known: {', '.join(_LEVELS)}")
            if not equals:
                default = level
            else:
                parts[name] = level
        return cls(default, parts)

    def predicate(self) -> LogLevelFilterPredicate:
        """Return what Twisted filters by."""
        found = LogLevelFilterPredicate(_LEVELS[self.default])
        if self.default == "info":
            # Ports that open and factories that start are no news to who runs the bridge.
            for name in _LIBRARIES:
                found.setLogLevelForNamespace(name, LogLevel.warn)
        for name, level in self.parts.items():
            found.setLogLevelForNamespace(name, _LEVELS[level])
            if not name.startswith("smsbridge"):
                found.setLogLevelForNamespace(f"smsbridge.{name}", _LEVELS[level])
        return found


@lru_cache(maxsize=1024)
def _names_in(template: str) -> frozenset[str]:
    """Return the fields that a format shows by itself."""
    try:
        parts = list(string.Formatter().parse(template))
    except ValueError:
        return frozenset()
    return frozenset(re.split(r"[.\[(]", name)[0] for _, name, _, _ in parts if name)


def _sentence(event: LogEvent) -> str:
    """Return what an event says, on one line."""
    return _visible(formatEvent(event) or "")


def _visible(text: str) -> str:
    return _CONTROL.sub(lambda found: _escape(found[0]), text)


def _escape(character: str) -> str:
    if character == "\n":
        return "\\n"
    code = ord(character)
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"


def _place(event: LogEvent) -> str:
    """Return the module that an event comes from, without the class."""
    name = str(event.get("log_namespace") or "").removeprefix("smsbridge.")
    return re.split(r"\.(?=_*[A-Z])", name, maxsplit=1)[0]


def _level(event: LogEvent) -> str:
    return str(getattr(event.get("log_level"), "name", "info"))


def _fields(event: LogEvent) -> dict[str, Any]:
    return {name: event[name] for name in FIELDS if event.get(name) not in (None, "")}


def _traceback(event: LogEvent) -> str:
    failure = event.get("log_failure")
    if not isinstance(failure, Failure):
        return ""
    try:
        return failure.getTraceback()
    except Exception as e:
        # An error within the error's own words must not keep it out of the log.
        return f"(no traceback: {type(e).__name__})"


@implementer(ILogObserver)
class TextLines:
    """
    Writes events for people: time, level, where, what, and the fields that were not said yet.

    A failure's traceback follows, each line indented.
    """

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        """Write an event; a log that cannot be written must not stop the program."""
        at = datetime.fromtimestamp(event.get("log_time", 0)).astimezone()
        template = event.get("log_format")
        said = _names_in(template) if isinstance(template, str) else frozenset()
        line = (
            f"{at:%Y-%m-%d %H:%M:%S}.{at.microsecond // 1000:03d} {_level(event):<{_LEVEL_WIDTH}} "
            f"{_place(event):<{_NAMESPACE_WIDTH}} {_sentence(event)}"
        )
        rest = [
            f"{name}={_quoted(value)}" for name, value in _fields(event).items() if name not in said
        ]
        if rest:
            line = f"{line}  {' '.join(rest)}"
        for each in _traceback(event).splitlines():
            line = f"{line}\n    {_visible(each)}"
        _write(self._out, line)


@implementer(ILogObserver)
class JsonLines:
    """Writes events for programs: one flat JSON object a line."""

    def __init__(self, out: TextIO) -> None:
        self._out = out

    def __call__(self, event: LogEvent) -> None:
        """Write an event; a log that cannot be written must not stop the program."""
        at = datetime.fromtimestamp(event.get("log_time", 0), tz=UTC)
        shape: dict[str, Any] = {
            "time": at.isoformat(timespec="milliseconds").replace("+00:00", "Z"),
            "level": _level(event),
            "namespace": str(event.get("log_namespace") or ""),
            "message": formatEvent(event) or "",
        }
        for name, value in _fields(event).items():
            shape[name] = value if isinstance(value, int | float | str) else _text(value)
        traceback = _traceback(event)
        if traceback:
            shape["traceback"] = traceback
        _write(self._out, json.dumps(shape, ensure_ascii=True))


@frozen(kw_only=True)
class LoggedError:
    """A warning or an error as operators see it on a page."""

    at_ms: int  # the last time
    level: str  # warn, error or critical
    area: str  # the module, without "smsbridge."
    text: str
    times: int = 1


@implementer(ILogObserver)
class LastErrors:
    """
    Keeps the last warnings and errors for the operators' page; what comes again is counted.

    :param most: how many different ones are kept.
    """

    def __init__(self, most: int = 200) -> None:
        self._most = most
        self._found: OrderedDict[tuple[str, str, str], LoggedError] = OrderedDict()

    def __call__(self, event: LogEvent) -> None:
        """Keep an event if it is bad enough."""
        level = event.get("log_level")
        if level is None or level < LogLevel.warn:
            return
        text = _sentence(event)
        failure = event.get("log_failure")
        if isinstance(failure, Failure):
            text = f"{text}: {_visible(_short(failure))}" if text else _visible(_short(failure))
        if len(text) > _LONGEST_KEPT:
            text = text[: _LONGEST_KEPT - 1] + "…"
        at_ms = int(event.get("log_time", 0) * 1000)
        key = (_level(event), _place(event), text)
        known = self._found.pop(key, None)
        if known is not None:
            self._found[key] = evolve(known, at_ms=at_ms, times=known.times + 1)
            return
        self._found[key] = LoggedError(at_ms=at_ms, level=key[0], area=key[1], text=text)
        if len(self._found) > self._most:
            self._found.popitem(last=False)

    def last(self) -> list[LoggedError]:
        """Return what is kept, the last one first."""
        return list(reversed(self._found.values()))


def _short(failure: Failure) -> str:
    """Return what failed without the way to it, which stands in the log."""
    try:
        return f"{failure.type.__name__ if failure.type else 'Failure'}: {failure.value}"
    except Exception as e:
        # An error within the error's own words must not keep it from the operators.
        return f"(no words: {type(e).__name__})"


def _text(value: object) -> str:
    if isinstance(value, tuple | list):  # mostly (host, port)
        return ":".join(map(str, value))
    return str(value)


def _quoted(value: object) -> str:
    text = _visible(_text(value))
    return json.dumps(text, ensure_ascii=False) if _NEEDS_QUOTES.search(text) else text


def _write(out: TextIO, line: str) -> None:
    try:
        out.write(line + "\n")
        out.flush()
    except (OSError, ValueError):
        pass  # a full disk or a closed pipe: there is nowhere left to say it


def observer(layout: str, levels: Levels, out: TextIO) -> ILogObserver:
    """
    Return an observer that writes to `out`.

    :param layout: ``text`` or ``json``.
    """
    lines = JsonLines(out) if layout == "json" else TextLines(out)
    filtered: ILogObserver = FilteringLogObserver(lines, [levels.predicate()])
    return filtered


def use(twistd: dict[str, Any], layout: str, levels: Levels) -> None:
    """
    Have twistd log in our way, to where it would have logged; call it from the plugin's options.

    An operator who gave twistd ``--logger`` or ``--syslog`` gets what was asked for.

    :param twistd: the options of twistd (``parent`` of the plugin's).
    """
    if twistd.get("logger") or twistd.get("syslog"):
        return
    _Twistd.options, _Twistd.layout, _Twistd.levels = twistd, layout, levels
    twistd["logger"] = f"{__name__}.twistd_observer"


class _Twistd:
    """What `use` was told; twistd finds an observer by its name only, so it must be kept here."""

    options: ClassVar[dict[str, Any]] = {}
    layout: ClassVar[str] = "text"
    levels: ClassVar[Levels] = Levels()


def twistd_observer() -> ILogObserver:
    """Return the observer for twistd, which calls this when it begins to log."""
    twistd = _Twistd.options
    name = twistd.get("logfile") or ("-" if twistd.get("nodaemon") else "twistd.log")
    if name == "-":
        return observer(_Twistd.layout, _Twistd.levels, sys.stdout)
    # Rotation is logrotate's (with copytruncate): one that turns at a megabyte loses the night.
    out = open(name, "a", encoding="utf-8", errors="replace")  # noqa: SIM115 (open to the end)
    return observer(_Twistd.layout, _Twistd.levels, out)
