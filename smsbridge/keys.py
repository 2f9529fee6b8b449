"""
How a section of the ini file is declared: a frozen attrs class whose fields are made by `key`.

The configuration reader, `smsbridge sample-config` and the reference in the documentation are all
made from these declarations, so that a key is described in one place.
"""

from __future__ import annotations

import re
from collections.abc import Callable
from functools import cache
from pathlib import Path
from typing import Any

import attrs

__all__ = [
    "REQUIRED",
    "ConfigError",
    "Key",
    "base_url",
    "boolean",
    "byte_size",
    "decimal",
    "declared",
    "duration",
    "endpoints",
    "file_path",
    "key",
    "one_of",
    "pattern",
    "shown",
    "shown_size",
    "split_endpoint",
    "whole",
    "words",
]

#: Marks a key without a default.
REQUIRED: Any = attrs.NOTHING


def key(
    doc: str,
    *,
    default: Any = REQUIRED,
    convert: Callable[[str], Any] = str,
    secret: bool = False,
    example: str = "",
    name: str = "",
    in_sample: bool = False,
) -> Any:
    """
    Declare one key of a section.

    :param doc: what it is for, in sentences for an operator.
    :param default: the value when the key is absent (converted); `REQUIRED` if there is none.
    :param convert: text of the file to value; raises ValueError with a sentence that says what is
        wanted.
    :param secret: kept out of ``repr``; the file may say ``NAME_file = PATH`` instead.
    :param example: what the sample configuration shows.
    :param name: the key's name in the file when it is not the attribute's.
    :param in_sample: the sample configuration sets it although it has a default, because hardly
        any section can do without it.
    """
    return attrs.field(
        default=default,
        repr=not secret,
        kw_only=True,
        metadata={
            "doc": doc,
            "convert": convert,
            "secret": secret,
            "example": example,
            "name": name,
            "in_sample": in_sample,
        },
    )


class ConfigError(Exception):
    """
    One thing that is wrong with the configuration, as a sentence for the operator.

    A section's class may raise it in ``__attrs_post_init__``, and a factory in ``build``, with the
    message and the key alone; the configuration reader adds the place.
    """

    def __init__(
        self,
        message: str,
        *,
        key: str = "",
        section: str = "",
        file: str = "",
        line: int | None = None,
    ) -> None:
        super().__init__(message)
        self.message = message
        self.key = key
        self.section = section
        self.file = file
        self.line = line

    def __str__(self) -> str:
        file = f"{self.file}: " if self.file else ""
        section = f"[{self.section}] " if self.section else ""
        line = f" (line {self.line})" if self.line else ""
        return f"{file}{section}{self.message}{line}"


@attrs.frozen(kw_only=True)
class Key:
    """One key of a section as its class declares it; made by `declared`."""

    name: str  # in the file
    argument: str  # of the class
    doc: str
    default: Any  # `REQUIRED` if there is none; a factory's product otherwise
    convert: Callable[[str], Any]
    secret: bool
    example: str
    in_sample: bool = False

    @property
    def required(self) -> bool:
        """Whether a section without it is wrong."""
        return self.default is REQUIRED


@cache
def declared(section_class: type) -> tuple[Key, ...]:
    """Return the keys that a class made with `key` declares, in its order."""
    found = []
    for field in attrs.fields(section_class):
        if "doc" not in field.metadata:
            continue
        default = field.default
        if isinstance(default, attrs.Factory):  # type: ignore[arg-type]
            default = default.factory()
        found.append(
            Key(
                name=field.metadata["name"] or field.name,
                argument=field.alias,
                doc=field.metadata["doc"],
                default=default,
                convert=field.metadata["convert"],
                secret=field.metadata["secret"],
                example=field.metadata["example"],
                in_sample=field.metadata["in_sample"],
            )
        )
    return tuple(found)


def shown(value: Any, convert: Callable[[str], Any] = str) -> str:
    """Write a converted value the way that the file spells it; `convert` is what reads the text."""
    if value is None:
        return ""
    if isinstance(value, bool):
        return "yes" if value else "no"
    if isinstance(value, float):
        return _shown_float(value, convert)
    if convert is byte_size:
        return shown_size(value)
    if isinstance(value, re.Pattern):
        return str(value.pattern)
    if isinstance(value, tuple | list):
        return " ".join(shown(each) for each in value)
    return str(value)


def boolean(text: str) -> bool:
    """Read yes or no."""
    word = text.strip().lower()
    if word in ("yes", "true", "on", "1"):
        return True
    if word in ("no", "false", "off", "0"):
        return False
    raise ValueError(f"{text!r} is neither 'yes' nor 'no'")


def words(text: str) -> tuple[str, ...]:
    """Read words separated by blanks or line ends."""
    return tuple(text.split())


def whole(minimum: int, maximum: int) -> Callable[[str], int]:
    """Make a reader of whole numbers within bounds."""

    def read(text: str) -> int:
        try:
            value = int(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is not a whole number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"{value} is not between {minimum} and {maximum}")
        return value

    return read


def decimal(minimum: float, maximum: float) -> Callable[[str], float]:
    """Make a reader of numbers with or without a fraction, within bounds."""

    def read(text: str) -> float:
        try:
            value = float(text.strip())
        except ValueError:
            raise ValueError(f"{text!r} is not a number") from None
        if not minimum <= value <= maximum:
            raise ValueError(f"{text.strip()} is not between {minimum:g} and {maximum:g}")
        return value

    return read


def one_of(*choices: str) -> Callable[[str], str]:
    """Make a reader that takes one of a few words."""

    def read(text: str) -> str:
        word = text.strip().lower()
        if word not in choices:
            raise ValueError(f"{text!r} is none of: {', '.join(choices)}")
        return word

    return read


_UNITS = {"": 1.0, "ms": 0.001, "s": 1.0, "m": 60.0, "h": 3600.0, "d": 86400.0, "w": 604800.0}


def duration(text: str) -> float:
    """Read a time span such as ``90``, ``90s``, ``15m``, ``48h`` or ``7d``; gives seconds."""
    match = re.fullmatch(r"\s*(\d+(?:\.\d+)?)\s*(ms|s|m|h|d|w|)\s*", text)
    if match is None:
        raise ValueError(f"{text!r} is not a time span; write for example 90s, 15m, 48h or 7d")
    return float(match.group(1)) * _UNITS[match.group(2)]


_SIZES = {"": 1, "k": 1024, "m": 1024**2, "g": 1024**3, "t": 1024**4}


def byte_size(text: str) -> int:
    """Read a size such as ``600K``, ``64M`` or ``10G``; gives bytes."""
    match = re.fullmatch(r"\s*(\d{1,12}(?:\.\d{1,3})?)\s*([kmgt]?)(?:i?b)?\s*", text.lower())
    if match is None:
        raise ValueError(f"{text!r} is not a size; write for example 600K, 64M or 10G")
    return int(float(match.group(1)) * _SIZES[match.group(2)])


def shown_size(size: int) -> str:
    """Write a number of bytes as `byte_size` reads it, with the largest unit that is exact."""
    for unit in ("t", "g", "m", "k"):
        if size and size % _SIZES[unit] == 0:
            return f"{size // _SIZES[unit]}{unit.upper()}"
    return str(size)


def pattern(text: str) -> re.Pattern[str]:
    """Read a regular expression."""
    try:
        return re.compile(text.strip())
    except re.error as e:
        raise ValueError(f"{text!r} is not a regular expression: {e}") from None


def _shown_float(value: float, convert: Callable[[str], Any]) -> str:
    """Write a time span with the largest unit that leaves a whole number, another value plainly."""
    if value:
        for unit in ("w", "d", "h", "m", "s", "ms"):
            count = round(value / _UNITS[unit], 6)
            if count != int(count) or (unit in ("w", "d") and count < 3):
                continue
            try:
                if convert(f"{int(count)}{unit}") == value:
                    return f"{int(count)}{unit}"
            except ValueError:
                break  # what reads the key takes no units: it is no time span
    return f"{value:g}"


def file_path(text: str) -> Path:
    """Read a path; the configuration reader takes a relative one from the ini file's folder."""
    if not text.strip() or "\0" in text:
        raise ValueError("a path is wanted")
    try:
        return Path(text.strip()).expanduser()
    except RuntimeError:
        raise ValueError(f"there is no home folder for {text.strip()!r}") from None


def base_url(text: str) -> str:
    """Read an http or https address without a query; a trailing slash is dropped."""
    url = text.strip().rstrip("/")
    if not re.fullmatch(r"https?://[^\s/?#@]+(/[^\s?#]*)?", url):
        raise ValueError(f"{text!r} is not an address such as https://sms.example.org")
    return url


def split_endpoint(text: str) -> tuple[str, list[str], dict[str, str]]:
    """
    Cut an endpoint string into its protocol, its arguments and its named arguments.

    The spelling is that of Twisted's endpoint strings: parts between colons, ``name=value`` parts,
    and a backslash before a colon that belongs to a part.
    """
    parts = [re.sub(r"\\(.)", r"\1", part) for part in re.split(r"(?<!\\):", text)]
    named = dict(part.split("=", 1) for part in parts[1:] if "=" in part)
    return parts[0].lower(), [part for part in parts[1:] if "=" not in part], named


def endpoints(*protocols: str) -> Callable[[str], tuple[str, ...]]:
    """
    Make a reader of listening addresses such as ``udp:44444`` or ``tcp:8080:interface=127.0.0.1``.

    :param protocols: the first words that are allowed; none allows every one that Twisted knows.
    """

    def read(text: str) -> tuple[str, ...]:
        found = tuple(text.split())
        for word in found:
            protocol, arguments, named = split_endpoint(word)
            wanted = f"{protocols[0] if protocols else 'tcp'}:PORT:interface=ADDRESS"
            if ":" not in word or (protocols and protocol not in protocols):
                allowed = f" ({', '.join(protocols)})" if len(protocols) > 1 else ""
                raise ValueError(f"{word!r} is not a listening address; write {wanted}{allowed}")
            if protocol in ("tcp", "tcp6", "udp", "ssl", "tls"):
                port = named.get("port", arguments[0] if arguments else "")
                if not (port.isascii() and port.isdigit() and int(port) < 65536):
                    raise ValueError(f"{word!r} has no port between 0 and 65535; write {wanted}")
        if not found:
            raise ValueError("a listening address is wanted, for example tcp:8080")
        return found

    return read
