"""
The ini files of the operator, turned into frozen values; nobody else reads them.

The syntax is that of `configparser`: ``[section]``, ``key = value``, ``#`` or ``;`` at the start of
a line for comments, `` ;`` after a value too, indented lines to go on with a value. Nothing is
interpolated. Keys are read in any case, names of sections exactly. Every section is declared by an
attrs class made with `smsbridge.keys.key`; this module reads such classes and checks what no single
section can know. It finds all faults before it gives up, and opens nothing but files.
"""

from __future__ import annotations

import configparser
import difflib
import fnmatch
import glob
import ipaddress
import itertools
import os
import re
import socket
import stat
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from types import MappingProxyType
from typing import Any, Final, NamedTuple

import attrs
from attrs import frozen

from smsbridge import gateways
from smsbridge.core.address import InvalidNumber, parse_number, read_country
from smsbridge.core.directory import ADDRESS_KINDS, Directory, Line, Person
from smsbridge.interfaces import IGatewayFactory
from smsbridge.keys import (
    ConfigError,
    Key,
    base_url,
    boolean,
    byte_size,
    declared,
    duration,
    endpoints,
    file_path,
    key,
    one_of,
    split_endpoint,
    whole,
    words,
)

__all__ = [
    "PLACEHOLDER",
    "Changes",
    "Config",
    "ConfigError",
    "ConfigErrors",
    "Configured",
    "Difference",
    "HttpSettings",
    "Place",
    "Settings",
    "load",
    "positions",
]

#: What the sample configuration shows in place of a secret; a configuration that has it is refused.
PLACEHOLDER: Final = "change-me"
_PLACEHOLDERS: Final = frozenset({PLACEHOLDER, "changeme", "change me", "replace-me"})

#: The largest file of ours, in bytes; what is larger is not a configuration.
_LARGEST_FILE = 16 * 1024 * 1024
_LARGEST_SECRET = 64 * 1024

_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._-]{0,63}")
_LINE_LABEL = re.compile(r"[a-z0-9][a-z0-9._-]{0,63}")

#: The sections that carry a name, with an example of one.
_NAMED: Final = {"gateway": "box", "line": "2001", "person": "john"}
_UNNAMED: Final = ("smsbridge", "http")

#: The kinds of address that several persons may have in common.
_SHARED: Final = frozenset({"webhook"})


def _database(text: str) -> str:
    """Read which database to use; the store knows what it means."""
    url = text.strip()
    if url != "sqlite" and not re.match(r"(mysql|mariadb|postgresql|postgres)://[^/]*/[^/]+$", url):
        # The text may hold a password, so it is not repeated.
        raise ValueError(
            "this is not a database; write sqlite, mysql://USER:PASSWORD@HOST/NAME or "
            "postgresql://USER:PASSWORD@HOST/NAME"
        )
    return url


def _proxies(text: str) -> tuple[str, ...]:
    """Read addresses and networks of proxies."""
    found = []
    for word in text.split():
        if word.lower() == "local":
            found.append("local")
            continue
        try:
            found.append(str(ipaddress.ip_address(word)))
        except ValueError:
            try:
                found.append(str(ipaddress.ip_network(word, strict=False)))
            except ValueError:
                raise ValueError(
                    f"{word!r} is neither an address nor a network; write for example 127.0.0.1 "
                    "or 10.0.0.0/8"
                ) from None
    return tuple(found)


@frozen(kw_only=True)
class Settings:
    """``[smsbridge]``: what concerns the daemon as a whole."""

    state: Path = key(
        "The folder for the database, media, the control socket and the lock. Every daemon needs "
        "one of its own.",
        default=Path("/var/lib/smsbridge"),
        convert=file_path,
    )
    database: str = key(
        "Where messages are kept: sqlite (a file in the state folder), or the address of a "
        "MariaDB or PostgreSQL database, mysql://USER:PASSWORD@HOST/NAME or "
        "postgresql://USER:PASSWORD@HOST/NAME.",
        default="sqlite",
        convert=_database,
        secret=True,
    )
    country: str = key(
        "The country whose national numbers are read without a country code (two letters).",
        default="US",
        convert=read_country,
    )
    retention_days: int = key(
        "How many days messages, the call log and media are kept; 0 keeps them for ever.",
        default=0,
        convert=whole(0, 36500),
    )
    include: tuple[str, ...] = key(
        "More files to read, as patterns relative to this file. The command 'smsbridge line add' "
        "writes its files where the first pattern finds them.",
        default=(),
        convert=words,
        example="conf.d/*.ini",
    )
    node: str = key(
        "The name of this daemon where several share one database; by default the host's name.",
        default="",
    )
    log: str = key(
        "How the log is written: text for people, or json, one object a line.",
        default="text",
        convert=one_of("text", "json"),
    )
    log_level: str = key(
        "The least important events that are logged. At debug the log holds the texts themselves.",
        default="info",
        convert=one_of("debug", "info", "warn", "error"),
    )
    notify_after: float = key(
        "After what time the sender of a text that still waits is told so; 0 never tells.",
        default=120.0,
        convert=duration,
    )
    media_cap: int = key(
        "How much room the files of all attachments may take. When it is used up, nobody can send "
        "files; what arrives is still kept until the disk is nearly full.",
        default=10 * 1024**3,
        convert=byte_size,
    )
    media_max: int = key(
        "The largest file that may be sent or fetched.", default=64 * 1024**2, convert=byte_size
    )
    threads: int = key(
        "How many threads read the database at once.", default=4, convert=whole(1, 64)
    )


@frozen(kw_only=True)
class HttpSettings:
    """``[http]``: where the daemon is reached by HTTP; without the section, nowhere."""

    listen: tuple[str, ...] = key(
        "Where to listen: Twisted endpoint strings, several separated by blanks.",
        default=("tcp:8080:interface=127.0.0.1",),
        convert=endpoints(),
    )
    public_url: str = key(
        "What the outside calls us. Providers' signatures and the links to media depend on it.",
        default="",
        convert=base_url,
        example="https://sms.example.org",
    )
    allow_private_media: bool = key(
        "Whether media may be fetched from private addresses, such as those of the local network.",
        default=False,
        convert=boolean,
    )
    metrics: bool = key("Whether /metrics is served.", default=True, convert=boolean)
    trusted_proxies: tuple[str, ...] = key(
        "Addresses or networks of reverse proxies in front of us, whose X-Forwarded-For and "
        "X-Forwarded-Host are believed; 'local' stands for unix sockets. Without it all visitors "
        "behind a proxy share one limit on failed logins.",
        default=(),
        convert=_proxies,
        example="127.0.0.1",
    )
    first_login: bool = key(
        "Whether a daemon that starts while nobody can log in yet makes up a password for the "
        "first person (the first operator, if there is one) and prints it.",
        default=False,
        convert=boolean,
    )
    connections_per_address: int = key(
        "How many open connections one address, or network of IPv6, may have; trusted proxies may "
        "have any number.",
        default=1000,
        convert=whole(1, 1_000_000),
    )
    push_preview: bool = key(
        "Whether notifications to closed browsers say who wrote what, and not only that there is a "
        "text. Push services cannot read them; whoever sees the screen can.",
        default=True,
        convert=boolean,
    )


class Configured(NamedTuple):
    """A gateway as configured: its kind and the value of its section."""

    kind: str
    config: Any


class Place(NamedTuple):
    """Where a section stands: its file, the line of its header, the lines of its keys (from 1)."""

    file: Path
    line: int
    keys: dict[str, int]


class ConfigErrors(Exception):
    """Everything that is wrong with a configuration; the text has one sentence a line."""

    def __init__(self, errors: Sequence[ConfigError]) -> None:
        super().__init__("\n".join(str(error) for error in errors))
        self.errors = tuple(errors)


@frozen(kw_only=True)
class Changes:
    """What became of the sections of one sort, as labels."""

    added: frozenset[str] = frozenset()
    removed: frozenset[str] = frozenset()
    changed: frozenset[str] = frozenset()
    unchanged: frozenset[str] = frozenset()

    def __bool__(self) -> bool:
        return bool(self.added or self.removed or self.changed)

    @classmethod
    def between(cls, old: Mapping[str, Any], new: Mapping[str, Any]) -> Changes:
        """Compare two mappings of label to value."""
        both = old.keys() & new.keys()
        changed = frozenset(label for label in both if old[label] != new[label])
        return cls(
            added=frozenset(new.keys() - old.keys()),
            removed=frozenset(old.keys() - new.keys()),
            changed=changed,
            unchanged=frozenset(both - changed),
        )


@frozen(kw_only=True)
class Difference:
    """
    What a reload has to do.

    A gateway whose kind changed stands among both the removed and the added. `rebuilt_lines` names
    gateways of which only lines were added, removed or changed.
    """

    gateways: Changes
    lines: Changes
    persons: Changes
    rebuilt_lines: frozenset[str]
    settings: frozenset[str]  # the keys of [smsbridge] that changed
    http: bool

    def __bool__(self) -> bool:
        return bool(self.gateways or self.lines or self.persons or self.settings or self.http)

    def sentences(self) -> list[str]:
        """Say for the operator what changed, one item for each section."""
        found = [f"[smsbridge] {name} changed" for name in sorted(self.settings)]
        if self.http:
            found.append("[http] changed")
        for sort in ("gateway", "line", "person"):
            changes: Changes = getattr(self, sort + "s")
            for verb in ("added", "changed", "removed"):
                found.extend(f"[{sort}:{label}] {verb}" for label in sorted(getattr(changes, verb)))
        return found


@frozen(kw_only=True)
class Config:
    """A whole configuration that was found to be right."""

    path: Path
    settings: Settings
    http: HttpSettings | None
    gateways: Mapping[str, Configured]
    lines: Mapping[str, Line]
    persons: Mapping[str, Person]
    directory: Directory
    warnings: tuple[str, ...] = ()
    files: tuple[Path, ...] = ()  # all that were read, the main one first; secrets apart
    places: Mapping[str, Place] = attrs.field(factory=dict, repr=False)  # by name of section

    def lines_of(self, gateway: str) -> Mapping[str, Line]:
        """Return the lines of one gateway, by label, in the order of the files."""
        return {label: line for label, line in self.lines.items() if line.gateway == gateway}

    @staticmethod
    def diff(old: Config, new: Config) -> Difference:
        """Name what has to be added, removed and changed to get from one to the other."""
        moved = frozenset(
            label
            for label in old.gateways.keys() & new.gateways.keys()
            if old.gateways[label].kind != new.gateways[label].kind
        )
        changes = Changes.between(old.gateways, new.gateways)
        changes = attrs.evolve(
            changes,
            added=changes.added | moved,
            removed=changes.removed | moved,
            changed=changes.changed - moved,
        )
        return Difference(
            gateways=changes,
            lines=Changes.between(old.lines, new.lines),
            persons=Changes.between(old.persons, new.persons),
            rebuilt_lines=frozenset(
                label for label in changes.unchanged if old.lines_of(label) != new.lines_of(label)
            ),
            settings=frozenset(
                field.name
                for field in attrs.fields(Settings)
                if getattr(old.settings, field.name) != getattr(new.settings, field.name)
            ),
            http=old.http != new.http,
        )


def load(
    path: str | Path,
    *,
    kinds: Callable[[str], IGatewayFactory] = gateways.load,
    replaced: Mapping[Path, str | None] | None = None,
) -> Config:
    """
    Read a configuration and everything that it includes.

    :param kinds: gives the factory of a kind, or raises `gateways.KindError`.
    :param replaced: texts to take instead of the files of these (resolved) paths; None stands for a
        file that is not there. So a change is tried before it is made.
    :raises ConfigErrors: with everything that is wrong.
    """
    return _Loader(Path(path), kinds, replaced or {}).load()


def positions(text: str) -> Mapping[str, Place]:
    """Return where each section stands in the text of one file without faults."""
    reader = _Reader()
    reader.read_text(text.removeprefix("\ufeff"), "")
    found = {
        _section_name(header): Place(Path(), number, {}) for header, number in reader.headers_seen
    }
    for header, _, name, number in reader.keys_seen:
        found[_section_name(header)].keys[name] = number
    return found


# --- reading -------------------------------------------------------------------------------------


@attrs.define
class _Section:
    """One section as it stands in a file."""

    name: str
    file: Path
    shown: str  # the file as sentences call it
    line: int
    values: dict[str, str] = attrs.field(factory=dict)
    lines: dict[str, int] = attrs.field(factory=dict)

    @property
    def label(self) -> str:
        return self.name.partition(":")[2]


class _Headers:
    """Stands where `configparser` keeps its pattern of section headers, and notes each match."""

    pattern = re.compile(r"\[(?P<header>[^\]]*)\]$")

    def __init__(self, note: Callable[[str], None]) -> None:
        self._note = note

    def match(self, text: str) -> re.Match[str] | None:
        found = self.pattern.match(text)
        if found is not None:
            self._note(found["header"])
        return found


class _Reader(configparser.RawConfigParser):
    """A `configparser` that remembers on which line each section and key stands."""

    def __init__(self) -> None:
        super().__init__(
            delimiters=("=",),
            comment_prefixes=("#", ";"),
            inline_comment_prefixes=(";",),
            strict=False,  # we look for duplicates ourselves, to name every one with its lines
            empty_lines_in_values=False,
            default_section="\0",
            interpolation=None,
        )
        self.SECTCRE = _Headers(self._section_found)  # type: ignore[assignment]
        self.headers_seen: list[tuple[str, int]] = []  # with their lines
        self.keys_seen: list[tuple[str, int, str, int]] = []  # header, its line, key, its line
        self._line = 0
        self._reading = False

    def read_text(self, text: str, source: str) -> None:
        """Read a whole file; raises what `configparser` raises."""
        self._reading = True
        try:
            self.read_file(self._counted(text), source)
        finally:
            self._reading = False

    def _counted(self, text: str) -> Iterator[str]:
        for number, line in enumerate(re.split(r"\r\n|\r|\n", text), start=1):
            self._line = number
            yield line

    def _section_found(self, header: str) -> None:
        self.headers_seen.append((header, self._line))

    def optionxform(self, optionstr: str) -> str:
        name = optionstr.lower()
        if self._reading and self.headers_seen:
            self.keys_seen.append((*self.headers_seen[-1], name, self._line))
        return name


class _Loader:
    """Reads one configuration; collects what is wrong on the way."""

    def __init__(
        self,
        path: Path,
        kinds: Callable[[str], IGatewayFactory],
        replaced: Mapping[Path, str | None],
    ) -> None:
        self._path = path
        self._kinds = kinds
        self._replaced = replaced
        self._errors: list[ConfigError] = []
        self._warnings: list[str] = []
        self._files: list[Path] = []
        self._sections: dict[str, _Section] = {}
        self._open_files: dict[Path, str] = {}  # with secrets that everybody can read
        self._country = "US"

    def load(self) -> Config:
        self._read(self._path, str(self._path))
        main = self._sections.get("smsbridge")
        settings = self._settings(main)
        for path in self._included(main):
            self._read(path, str(path))
        self._check_names()
        http = self._http()
        factories = self._factories()
        configured = self._gateways(factories)
        lines = self._lines(factories)
        persons = self._persons()
        self._add_implicit(factories, configured, persons)
        self._check_listeners()
        self._check_lines(lines)
        self._check_gateways(factories, configured, lines)
        self._check_persons(persons)
        self._warn(factories, lines, persons)
        if self._errors:
            raise ConfigErrors(self._errors)
        assert settings is not None
        return Config(
            path=self._path,
            settings=settings,
            http=http,
            gateways=MappingProxyType(configured),
            lines=MappingProxyType(lines),
            persons=MappingProxyType(persons),
            directory=Directory(
                lines=MappingProxyType(lines),
                persons=MappingProxyType(persons),
                serving=MappingProxyType(_serving(factories)),
                country=settings.country,
            ),
            warnings=tuple(self._warnings),
            files=tuple(self._files),
            places=MappingProxyType(
                {
                    section.name: Place(section.file, section.line, section.lines)
                    for section in self._sections.values()
                }
            ),
        )

    # --- faults -------------------------------------------------------------------------------

    def _fail(self, section: _Section, message: str, key: str = "") -> None:
        line = section.lines.get(key, section.line) if key else section.line
        self._errors.append(
            ConfigError(message, key=key, section=section.name, file=section.shown, line=line)
        )

    def _fail_file(self, shown: str, message: str, line: int | None = None) -> None:
        self._errors.append(ConfigError(message, file=shown, line=line))

    # --- reading ------------------------------------------------------------------------------

    def _text(self, path: Path, shown: str) -> str | None:
        resolved = path.resolve()
        if resolved in self._replaced:
            text = self._replaced[resolved]
            if text is None:
                self._fail_file(shown, "there is no such file")
                return None
            return text.removeprefix("\ufeff")
        try:
            status = path.stat()
            if stat.S_ISFIFO(status.st_mode):
                # Opening one would wait for a writer, perhaps for ever.
                self._fail_file(shown, "this is a pipe and not a file")
                return None
            if status.st_size > _LARGEST_FILE:
                self._fail_file(shown, "the file is too large for a configuration")
                return None
            text = path.read_bytes().decode("utf-8-sig")
            if "\0" in text:
                line = text[: text.index("\0")].count("\n") + 1
                self._fail_file(shown, "this is not a text file", line)
                return None
            return text
        except FileNotFoundError:
            hint = "; 'smsbridge sample-config' prints one to start from"
            self._fail_file(shown, "there is no such file" + (hint if path == self._path else ""))
        except UnicodeDecodeError as e:
            line = e.object[: e.start].count(b"\n") + 1
            self._fail_file(shown, "the file is not in UTF-8; save it in that encoding", line)
        except OSError as e:
            self._fail_file(shown, f"the file cannot be read: {e.strerror or e}")
        return None

    def _read(self, path: Path, shown: str) -> None:
        text = self._text(path, shown)
        if text is None:
            return
        self._files.append(path)
        reader = _Reader()
        try:
            reader.read_text(text, shown)
        except configparser.MissingSectionHeaderError as e:
            self._fail_file(shown, "a [section] must come before the first key", e.lineno)
            return
        except configparser.ParsingError as e:
            for number, _ in e.errors:
                # The line is not quoted: it may be half of a password.
                self._fail_file(shown, "this line is neither a [section] nor 'key = value'", number)
        for header, number in reader.headers_seen:
            name = _section_name(header)
            first = self._sections.get(name)
            section = _Section(name, path, shown, number)
            if first is None:
                section.values = dict(reader[header].items())
                self._sections[name] = section
                continue
            self._fail(section, f"the section is there twice; the first one is {self._at(first)}")
        for header, start, name, number in reader.keys_seen:
            owner = self._sections[_section_name(header)]
            if owner.file != path or owner.line != start:
                continue  # in a section that is there twice
            if name in owner.lines:
                self._errors.append(
                    ConfigError(
                        f"key {name!r} is there twice; line {owner.lines[name]} has the first",
                        key=name,
                        section=owner.name,
                        file=shown,
                        line=number,
                    )
                )
                continue
            owner.lines[name] = number

    def _at(self, section: _Section) -> str:
        return f"in {section.shown}, line {section.line}"

    def _included(self, main: _Section | None) -> list[Path]:
        """Return the files to include; reads the text of the key, as another key may be wrong."""
        if main is None:
            return []
        found: dict[Path, Path] = {}
        folder = self._path.parent
        for pattern in words(main.values.get("include", "")):
            self._check_folder(main, folder / _fixed_part(pattern))
            paths = {
                folder / each
                for each in glob.glob(pattern, root_dir=folder or None, recursive=True)
                if self._replaced.get((folder / each).resolve(), "") is not None
            }
            paths |= {
                (folder / pattern).parent / path.name
                for path, text in self._replaced.items()
                if text is not None and _matches(path, folder / pattern)
            }
            if not paths and not glob.has_magic(pattern):
                self._fail(main, f"there is no file {pattern!r} to include", "include")
            for path in sorted(paths):
                found.setdefault(path.resolve(), path)
        found.pop(self._path.resolve(), None)
        return list(found.values())

    def _check_folder(self, main: _Section, folder: Path) -> None:
        """Refuse a folder that cannot be read: its files would count as removed."""
        try:
            os.scandir(folder).close()
        except FileNotFoundError:
            pass  # as good as empty
        except OSError as e:
            self._fail(main, f"the folder {folder} cannot be read: {e.strerror or e}", "include")

    # --- sections -----------------------------------------------------------------------------

    def _check_names(self) -> None:
        known = [*_UNNAMED, *_NAMED]
        for section in self._sections.values():
            sort, colon, label = section.name.partition(":")
            if sort in _NAMED and colon:
                allowed = _LINE_LABEL if sort == "line" else _LABEL
                if allowed.fullmatch(label):
                    continue
                if sort == "line" and allowed.fullmatch(label.lower()):
                    self._fail(
                        section,
                        "names of lines are written in lower case, because they become part of "
                        f"addresses; write [line:{label.lower()}]",
                    )
                    continue
                self._fail(
                    section,
                    f"{label!r} cannot be a name; use up to 64 letters, digits, '.', '_' and '-', "
                    "beginning with a letter or digit",
                )
            elif section.name not in _UNNAMED:
                self._fail(section, f"unknown section{_section_hint(section.name, known)}")

    def _settings(self, section: _Section | None) -> Settings | None:
        if section is None:
            if self._errors:
                return None
            settings: Settings | None = Settings()
        else:
            try:
                self._country = read_country(section.values.get("country", self._country))
            except ValueError:
                pass  # it is reported with the rest of the section
            settings = self._build(Settings, section)
        if settings is None:
            return None
        return settings if settings.node else attrs.evolve(settings, node=socket.gethostname())

    def _http(self) -> HttpSettings | None:
        section = self._sections.get("http")
        return None if section is None else self._build(HttpSettings, section)

    def _named(self, sort: str) -> dict[str, _Section]:
        return {
            section.label: section
            for section in self._sections.values()
            if section.name.startswith(sort + ":")
        }

    def _factories(self) -> dict[str, IGatewayFactory]:
        """Return the factory of each gateway whose kind is right, in the order of the files."""
        found: dict[str, IGatewayFactory] = {}
        for label, section in self._named("gateway").items():
            kind = section.values.get("kind", "").strip().lower()
            if not kind:
                self._fail(section, "key 'kind' is missing; it says what is at the other end")
                continue
            try:
                found[label] = self._kinds(kind)
            except gateways.KindError as e:
                self._fail(section, str(e), "kind")
        return found

    def _gateways(self, factories: Mapping[str, IGatewayFactory]) -> dict[str, Configured]:
        found = {}
        for label, section in self._named("gateway").items():
            if label not in factories:
                continue
            factory = factories[label]
            config = self._build(factory.config_class, section, also=("kind",), label=label)
            if config is not None:
                found[label] = Configured(factory.kind, config)
        return found

    def _lines(self, factories: Mapping[str, IGatewayFactory]) -> dict[str, Line]:
        found: dict[str, Line] = {}
        labels = self._named("gateway")
        for label, section in self._named("line").items():
            gateway = section.values.get("gateway", "").strip()
            if not gateway:
                self._fail(
                    section, "key 'gateway' is missing; it names the [gateway:...] of the line"
                )
                continue
            if gateway not in labels:
                self._fail(
                    section,
                    f"there is no [gateway:{gateway}]{_hint(gateway, list(labels), 'gateways')}",
                    "gateway",
                )
                continue
            factory = factories.get(gateway)
            if factory is None:
                continue  # its kind is wrong, which was said
            if factory.line_class is None:
                self._fail(
                    section,
                    f"the gateway {gateway!r} is of kind {factory.kind!r}, which has no lines",
                    "gateway",
                )
                continue
            line = self._build(factory.line_class, section, label=label)
            if line is None:
                continue
            if line.number:
                try:
                    line = attrs.evolve(line, number=parse_number(line.number, self._country))
                except InvalidNumber as e:
                    self._fail(section, f"key 'number': {e}", "number")
                    continue
            found[label] = line
        return found

    def _persons(self) -> dict[str, Person]:
        found = {}
        for label, section in self._named("person").items():
            person = self._build(Person, section, label=label)
            if person is not None:
                found[label] = person
        return found

    def _add_implicit(
        self,
        factories: dict[str, IGatewayFactory],
        configured: dict[str, Configured],
        persons: Mapping[str, Person],
    ) -> None:
        """Add the gateways that need no section, for addresses that no other one serves."""
        for kind in ADDRESS_KINDS:
            if kind in _serving(factories) or not any(
                person.addresses(kind) for person in persons.values()
            ):
                continue
            try:
                factory = self._kinds(kind)
            except gateways.KindError:
                continue  # it needs a section, for which there will be a warning
            if getattr(factory, "implicit", False) and factory.address_kind == kind:
                taken = self._named("gateway")
                label = next(each for each in _labels(kind) if each not in taken)
                factories[label] = factory
                configured[label] = Configured(factory.kind, factory.config_class())

    def _build(
        self, section_class: type, section: _Section, *, also: Sequence[str] = (), label: str = ""
    ) -> Any:
        """Make the value of a section, or note what is wrong and return None."""
        before = len(self._errors)
        keys = declared(section_class)
        self._check_keys(section, keys, also)
        arguments: dict[str, Any] = {}
        for each in keys:
            text = self._value(section, each)
            if text is None:
                continue
            try:
                value = each.convert(text)
            except ValueError as e:
                self._fail(section, f"key {each.name!r}: {e}", each.name)
                continue
            if isinstance(value, Path) and not value.is_absolute():
                value = (section.file.parent / value).resolve()
            arguments[each.argument] = value
        if len(self._errors) > before:
            return None
        if any(field.name == "label" and field.init for field in attrs.fields(section_class)):
            arguments["label"] = label
        try:
            return section_class(**arguments)
        except ConfigError as e:
            self._fail(section, e.message, e.key)
        except ValueError as e:
            self._fail(section, str(e))
        return None

    def _check_keys(self, section: _Section, keys: Sequence[Key], also: Sequence[str]) -> None:
        names = [*also, *(each.name for each in keys)]
        files = [f"{each.name}_file" for each in keys if each.secret]
        for name in section.values:
            if name in names or name in files:
                continue
            close = difflib.get_close_matches(name, [*names, *files], n=1)
            hint = f"; did you mean {close[0]!r}?" if close else "."
            self._fail(section, f"unknown key {name!r}{hint} Known keys: {', '.join(names)}.", name)

    def _value(self, section: _Section, each: Key) -> str | None:
        """Return the text of a key, from its file if need be; None if it is absent or wrong."""
        text = section.values.get(each.name)
        name = each.name
        if each.secret and f"{name}_file" in section.values:
            if text is not None:
                self._fail(
                    section, f"both {name!r} and '{name}_file' are given; keep one of them", name
                )
                return None
            name = f"{name}_file"
            text = self._secret_from_file(section, name)
            if text is None:
                return None
        elif text is None:
            if each.required:
                other = f" (or '{name}_file')" if each.secret else ""
                self._fail(section, f"key {name!r}{other} is missing: {each.doc}", name)
            return None
        elif each.secret and _is_confidential(each, text):
            self._note_secret(section.file, section.shown)
        if each.required and not text.strip():
            self._fail(section, f"key {name!r} is empty: {each.doc}", name)
            return None
        if not text and not each.required:
            return None  # an empty key is an absent one
        if each.secret and text.strip().lower() in _PLACEHOLDERS:
            self._fail(
                section, f"key {name!r} still has the placeholder of the sample; fill it in", name
            )
            return None
        return text

    def _secret_from_file(self, section: _Section, name: str) -> str | None:
        given = section.values[name].strip()
        try:
            path = section.file.parent / file_path(given)
        except ValueError as e:
            self._fail(section, f"key {name!r}: {e}", name)
            return None
        try:
            if path.is_fifo():
                self._fail(section, f"key {name!r}: {path} is a pipe and not a file", name)
                return None
            with path.open("rb") as file:
                data = file.read(_LARGEST_SECRET + 1)
            if len(data) > _LARGEST_SECRET:
                self._fail(section, f"key {name!r}: {path} is too large for a secret", name)
                return None
            self._note_secret(path, str(path))
            return data.decode().rstrip("\r\n")
        except UnicodeDecodeError:
            self._fail(section, f"key {name!r}: {path} is not in UTF-8", name)
        except OSError as e:
            self._fail(section, f"key {name!r}: cannot read {path}: {e.strerror or e}", name)
        return None

    def _note_secret(self, path: Path, shown: str) -> None:
        if path in self._open_files:
            return
        try:
            if path.stat().st_mode & stat.S_IROTH:
                self._open_files[path] = shown
        except OSError:
            pass  # a file that is still to be written has no mode yet

    # --- across sections ----------------------------------------------------------------------

    def _check_listeners(self) -> None:
        taken: list[tuple[tuple[str, str], str, _Section, str]] = []
        for section in self._sections.values():
            if section.name != "http" and not section.name.startswith("gateway:"):
                continue
            for word in section.values.get("listen", "").split():
                port, host = _port(word)
                if port is None:
                    continue
                for other_port, other_host, other, other_word in taken:
                    if port == other_port and (host == other_host or "" in (host, other_host)):
                        self._fail(
                            section,
                            f"listens on {word!r}, which is taken by {other_word!r} of "
                            f"[{other.name}] {self._at(other)}",
                            "listen",
                        )
                        break
                else:
                    taken.append((port, host, section, word))

    def _check_lines(self, lines: Mapping[str, Line]) -> None:
        numbers: dict[str, str] = {}
        for label, line in lines.items():
            if not line.number:
                continue
            first = numbers.setdefault(line.number, label)
            if first != label:
                self._fail(
                    self._sections[f"line:{label}"],
                    f"the number {line.number} is that of [line:{first}] already",
                    "number",
                )

    def _check_gateways(
        self,
        factories: Mapping[str, IGatewayFactory],
        configured: Mapping[str, Configured],
        lines: Mapping[str, Line],
    ) -> None:
        """Let each kind look at its gateway and lines together, if it wants to."""
        for label, (_, config) in configured.items():
            check = getattr(factories[label], "check", None)
            if check is None:
                continue
            section = self._sections.get(f"gateway:{label}")
            if section is None:
                continue  # one without a section is as its kind wants it
            try:
                check(config, {each: line for each, line in lines.items() if line.gateway == label})
            except ConfigError as e:
                self._fail(self._sections.get(e.section, section), e.message, e.key)

    def _check_persons(self, persons: Mapping[str, Person]) -> None:
        lines = list(self._named("line"))
        owners: dict[tuple[str, str], str] = {}
        for label, person in persons.items():
            section = self._sections[f"person:{label}"]
            for line in person.lines:
                if line not in lines:
                    self._fail(
                        section, f"there is no [line:{line}]{_hint(line, lines, 'lines')}", "lines"
                    )
            for kind in person.receive:
                if kind not in ADDRESS_KINDS:
                    self._fail(
                        section,
                        f"key 'receive': {kind!r} is none of: {', '.join(ADDRESS_KINDS)}",
                        "receive",
                    )
                elif not person.addresses(kind):
                    self._fail(
                        section,
                        f"key 'receive' names {kind!r}, but the key {kind!r} is not set",
                        "receive",
                    )
            for kind in ADDRESS_KINDS:
                for address in person.addresses(kind):
                    if kind in _SHARED:
                        continue
                    first = owners.setdefault((kind, address), label)
                    if first != label:
                        self._fail(
                            section,
                            f"{kind} address {address!r} is that of [person:{first}] already",
                            kind,
                        )
            for kind in ("lines", *ADDRESS_KINDS):
                words_ = getattr(person, kind)
                for word in sorted({each for each in words_ if words_.count(each) > 1}):
                    self._fail(section, f"key {kind!r} has {word!r} twice", kind)

    def _warn(
        self,
        factories: Mapping[str, IGatewayFactory],
        lines: Mapping[str, Line],
        persons: Mapping[str, Person],
    ) -> None:
        """Note what is allowed but hardly meant."""
        serving = _serving(factories)
        for label, factory in factories.items():
            kind = factory.address_kind
            if kind and serving[kind] != label:
                self._warnings.append(
                    f"[gateway:{label}] texts to {kind} addresses go through "
                    f"[gateway:{serving[kind]}], which comes first."
                )
            if factory.line_class is not None and not any(
                line.gateway == label for line in lines.values()
            ):
                self._warnings.append(f"[gateway:{label}] has no [line:...] yet.")
        for kind in ADDRESS_KINDS:
            unserved = [label for label, each in persons.items() if kind in each.receives]
            if unserved and kind not in serving:
                self._warnings.append(
                    f"No gateway delivers to {kind} addresses yet; such are those of "
                    f"{_some(unserved)}."
                )
        reached = {line for person in persons.values() for line in person.lines}
        unread = [label for label in lines if label not in reached]
        if unread and not any(person.fallback for person in persons.values()):
            self._warnings.append(
                f"Nobody gets the texts that arrive on {_some(unread)}; they are only kept in the "
                "history."
            )
        for shown in self._open_files.values():
            self._warnings.append(
                f"{shown} holds secrets and every user of this machine can read it; "
                f"run: chmod o-r {shown}"
            )


def _serving(factories: Mapping[str, IGatewayFactory]) -> dict[str, str]:
    """Map each kind of address to the first gateway that delivers to it."""
    found: dict[str, str] = {}
    for label, factory in factories.items():
        if factory.address_kind:
            found.setdefault(factory.address_kind, label)
    return found


def _labels(kind: str) -> Iterator[str]:
    """Yield labels for a gateway that nobody gave one."""
    yield kind
    for number in itertools.count(2):
        yield f"{kind}-{number}"


def _some(labels: Sequence[str]) -> str:
    """Name a few of perhaps a thousand."""
    more = len(labels) - 5
    return ", ".join(labels[:5]) + (f" and {more} more" if more > 0 else "")


def _section_name(header: str) -> str:
    """Write a header the one way: the sort in lower case, no blanks around the colon."""
    sort, colon, label = header.partition(":")
    return sort.strip().lower() + colon + label.strip()


def _hint(word: str, known: Sequence[str], sort: str) -> str:
    close = difflib.get_close_matches(word, known, n=1)
    if close:
        return f"; did you mean {close[0]!r}?"
    if not known:
        return f"; there are no {sort} at all"
    listed = ", ".join(known[:10]) + (", ..." if len(known) > 10 else "")
    return f"; known {sort}: {listed}"


def _section_hint(name: str, known: Sequence[str]) -> str:
    sort, colon, label = name.partition(":")
    if sort in _UNNAMED:
        return f"; write [{sort}] without a name"
    if sort in _NAMED:
        return f"; write [{sort}:NAME], for example [{sort}:{_NAMED[sort]}]"
    first, _, rest = name.partition(" ")
    if first in _NAMED and rest:
        return f"; did you mean [{first}:{rest.strip()}]?"
    close = difflib.get_close_matches(sort, known, n=1)
    if close:
        return f"; did you mean [{close[0]}{colon}{label}]?"
    return "; known sections: [smsbridge], [http], [gateway:NAME], [line:NAME], [person:NAME]"


def _is_confidential(each: Key, text: str) -> bool:
    """Tell whether the text of a secret key is one: a database without a password is not."""
    return each.name != "database" or "@" in text


def _port(word: str) -> tuple[tuple[str, str] | None, str]:
    """Return what a listener takes as ((protocol, port), address); no address means all of them."""
    protocol, arguments, named = split_endpoint(word)
    if protocol not in ("tcp", "tcp6", "udp", "ssl", "tls"):
        return None, ""
    port = named.get("port", arguments[0] if arguments else "")
    if port in ("", "0"):
        return None, ""
    host = named.get("interface", "")
    family = "udp" if protocol == "udp" else "tcp"
    return (family, port), "" if host in ("0.0.0.0", "::") else host


def _fixed_part(pattern: str) -> Path:
    """Return the folder of an include pattern up to its first wildcard."""
    parts = Path(pattern).parts[:-1]
    for index, part in enumerate(parts):
        if glob.has_magic(part):
            return Path(*parts[:index])
    return Path(*parts)


def _matches(path: Path, pattern: Path) -> bool:
    """Tell whether an include pattern without wildcards in its folder would find a new file."""
    return (
        not path.name.startswith(".")
        and path.parent == pattern.parent.resolve()
        and fnmatch.fnmatchcase(path.name, pattern.name)
    )
