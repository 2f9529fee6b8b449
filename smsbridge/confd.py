"""
Changes to the ini files that commands make: a line added, removed, switched on or off.

A change is a set of new texts for files. It is tried first, by loading the whole configuration
with it, and only then written, each file at once: a reader sees the old text or the new one.
Comments, order and spelling of what is not concerned stay as they are. What the daemon makes of it
is not decided here.
"""

from __future__ import annotations

import contextlib
import fcntl
import fnmatch
import glob
import os
import re
import tempfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path

from attrs import frozen

from smsbridge import config, gateways
from smsbridge.config import Config
from smsbridge.interfaces import IGatewayFactory

__all__ = ["Change", "EditError", "Editor"]

_Kinds = Callable[[str], IGatewayFactory]

#: A line of a file with its end.
_LINE = re.compile(r"[^\r\n]*(?:\r\n|\r|\n)|[^\r\n]+")

#: Where a comment behind a value begins, as `configparser` sees it.
_COMMENT = re.compile(r"(?:(?<=\s)|^);")


class EditError(Exception):
    """A change that cannot be made; the text is a sentence for the operator."""


@frozen(kw_only=True)
class Change:
    """
    New texts of files, in the order in which they are written.

    The order leaves a right configuration after each file, should the machine stop in between.
    """

    texts: Mapping[Path, str | None]  # by resolved path; None removes the file
    before: Mapping[Path, str | None]  # what was there when the change was made up
    result: Config  # what the configuration will be


class Editor:
    """
    Makes up changes to one configuration, and writes them.

    :param path: the main ini file.
    :param kinds: gives the factory of a kind, as for `config.load`.
    :raises ConfigErrors: the configuration is wrong as it is; nothing can be changed safely.
    """

    def __init__(self, path: str | Path, *, kinds: _Kinds = gateways.load) -> None:
        self._path = Path(path)
        self._kinds = kinds
        self.config = config.load(self._path, kinds=kinds)
        self._texts: dict[Path, str | None] = {}

    # --- what can be changed ------------------------------------------------------------------

    def add_line(
        self,
        label: str,
        gateway: str,
        values: Mapping[str, str],
        persons: Sequence[str] = (),
    ) -> Change:
        """
        Make up the change that adds a line in a file of its own, and gives it to persons.

        :raises EditError: it cannot be written down.
        :raises ConfigErrors: the configuration would be wrong with it.
        """
        if not re.fullmatch(r"[A-Za-z0-9._-]+", label):
            # Said here too, because the name becomes that of a file.
            raise EditError(f"{label!r} cannot be a name; use letters, digits, '.', '_' and '-'.")
        if label in self.config.lines:
            place = self.config.places[f"line:{label}"]
            raise EditError(f"There is a line {label!r} already, in {place.file}.")
        self._check_gateway(gateway)
        for name, value in values.items():
            _check_value(name, value)
        for person in persons:
            if person not in self.config.persons:
                known = ", ".join(self.config.persons) or "none yet"
                raise EditError(f"There is no person {person!r}; known persons: {known}.")
        path = self._folder() / f"line-{label}.ini"
        if path.exists():
            raise EditError(f"{path} exists already; move it away or choose another name.")
        written = {"gateway": gateway, **values}
        text = f"[line:{label}]\n" + "".join(f"{k} = {v}\n" for k, v in written.items())
        self._texts[path.resolve()] = text
        for person in persons:
            self._give(person, label)
        return self._change(list(self._texts))

    def remove_line(self, label: str) -> Change:
        """
        Make up the change that removes a line and takes it from every person who has it.

        :raises EditError: there is no such line.
        :raises ConfigErrors: the configuration would be wrong without it.
        """
        place = self._place(label)
        owners = [each.label for each in self.config.persons.values() if label in each.lines]
        for person in owners:
            self._take(person, label)
        lines = self._lines(place.file)
        first, last = self._extent(place.file, f"line:{label}")
        del lines[first:last]
        # An empty file that we wrote is of no use; one that a person wrote may hold comments.
        ours = place.file.name == f"line-{label}.ini"
        empty = not "".join(lines).strip()
        self._set(place.file, lines, remove=ours and empty)
        order = [path for path in self._texts if path != place.file.resolve()]
        return self._change([*order, place.file.resolve()])

    def switch_line(self, label: str, enabled: bool) -> Change:
        """
        Make up the change that switches a line on or off.

        :raises EditError: there is no such line.
        """
        place = self._place(label)
        self._assign(place.file, f"line:{label}", "enabled", "yes" if enabled else "no")
        return self._change(list(self._texts))

    # --- writing ------------------------------------------------------------------------------

    def write(self, change: Change) -> None:
        """
        Write a change; each file is replaced at once and keeps its mode and owner.

        :raises EditError: a file cannot be written, or was changed by somebody else meanwhile.
        """
        with _locked(self._path):
            for path, before in change.before.items():
                if _read(path) != before:
                    raise EditError(
                        f"{path} was changed meanwhile; nothing was written. Try again."
                    )
            for path, text in change.texts.items():
                try:
                    if text is None:
                        path.unlink()
                        _sync(path.parent)
                    else:
                        _replace(path, text, like=path if path.exists() else self._path.resolve())
                except OSError as e:
                    raise EditError(f"{path} cannot be written: {e.strerror or e}.") from e

    def _change(self, order: Sequence[Path]) -> Change:
        texts = {path: self._texts[path] for path in order}
        before = {path: _read(path) for path in order}
        self._texts = {}
        result = config.load(self._path, kinds=self._kinds, replaced=texts)
        return Change(texts=texts, before=before, result=result)

    # --- finding ------------------------------------------------------------------------------

    def _place(self, label: str) -> config.Place:
        if label not in self.config.lines:
            known = ", ".join(self.config.lines) or "none yet"
            raise EditError(f"There is no line {label!r}; known lines: {known}.")
        return self.config.places[f"line:{label}"]

    def _check_gateway(self, gateway: str) -> None:
        with_lines = [
            label
            for label, (kind, _) in self.config.gateways.items()
            if self._kinds(kind).line_class is not None
        ]
        if gateway not in with_lines:
            known = ", ".join(with_lines) or "none yet"
            raise EditError(f"There is no gateway {gateway!r} with lines; there are: {known}.")

    def _folder(self) -> Path:
        """Return the folder for new files: that of the first include pattern that finds them."""
        for pattern in self.config.settings.include:
            folder, name = os.path.split(pattern)
            if not glob.has_magic(folder) and fnmatch.fnmatch("line-x.ini", name):
                path = self._path.parent / folder
                if not path.is_dir():
                    raise EditError(f"The folder {path} does not exist; create it first.")
                return path
        raise EditError(
            f"{self._path} reads no folder for new files; write 'include = conf.d/*.ini' into its "
            "section [smsbridge]."
        )

    def _line_of(self, file: Path, section: str, key: str = "") -> int:
        """Return the line (from 1) of a section's header or key in the text as edited so far."""
        found = config.positions("".join(self._lines(file)))[section]
        return found.keys[key] if key else found.line

    def _extent(self, file: Path, section: str) -> tuple[int, int]:
        """
        Return the first line (from 0) of a section and the one behind its last.

        Comments right above a header belong to it, unless they open the file.
        """
        lines = self._lines(file)
        headers = sorted(place.line for place in config.positions("".join(lines)).values())
        header = self._line_of(file, section)
        following = [line for line in headers if line > header]
        first = _above(lines, header - 1)
        return first or header - 1, _above(lines, following[0] - 1) if following else len(lines)

    def _has(self, file: Path, section: str, key: str) -> bool:
        return key in config.positions("".join(self._lines(file)))[section].keys

    # --- editing ------------------------------------------------------------------------------

    def _lines(self, file: Path) -> list[str]:
        path = file.resolve()
        text = self._texts[path] if path in self._texts else _read(path)
        return _LINE.findall(text or "")

    def _set(self, file: Path, lines: Sequence[str], *, remove: bool = False) -> None:
        self._texts[file.resolve()] = None if remove else "".join(lines)

    def _assign(self, file: Path, section: str, key: str, value: str) -> None:
        """Give a key of one line a value, where it stands or below the header."""
        lines = self._lines(file)
        if self._has(file, section, key):
            index = self._line_of(file, section, key) - 1
            head, old, comment = _parts(lines[index])
            width = len(old)
            gap = comment[: len(comment) - len(comment.lstrip())]
            # The comment stays in its column where there is room for that.
            if comment.strip() and len(gap) > 1:
                comment = " " * max(1, len(gap) + width - len(value)) + comment.lstrip(" \t")
            lines[index] = head + value + comment
        else:
            index = self._line_of(file, section)
            end = "\r\n" if lines[0].endswith("\r\n") else "\n"
            lines[index - 1] = lines[index - 1].rstrip("\r\n") + end
            lines.insert(index, f"{key} = {value}{end}")
        self._set(file, lines)

    def _give(self, person: str, label: str) -> None:
        """Put a line behind those that a person has."""
        section = f"person:{person}"
        file = self.config.places[section].file
        if not self._has(file, section, "lines"):
            self._assign(file, section, "lines", label)
            return
        lines = self._lines(file)
        first = self._line_of(file, section, "lines") - 1
        last = _last_of_value(lines, first)
        head, old, comment = _parts(lines[last], continued=last > first)
        lines[last] = head + (f"{old} {label}" if old else label) + comment
        self._set(file, lines)

    def _take(self, person: str, label: str) -> None:
        """Take a line from a person; the others keep their order."""
        section = f"person:{person}"
        file = self.config.places[section].file
        lines = self._lines(file)
        first = self._line_of(file, section, "lines") - 1
        for index in range(first, _last_of_value(lines, first) + 1):
            head, old, comment = _parts(lines[index], continued=index > first)
            kept = [word for word in old.split() if word != label]
            if kept == old.split():
                continue
            if not kept and index > first and not comment.strip():
                lines[index] = ""
            else:
                lines[index] = head + " ".join(kept) + comment
        self._set(file, lines)


def _parts(line: str, *, continued: bool = False) -> tuple[str, str, str]:
    """Cut a line into what precedes the value, the value, and what follows, line end included."""
    start = 0 if continued else line.index("=") + 1
    while start < len(line) and line[start] in " \t":
        start += 1
    found = _COMMENT.search(line, start)
    end = found.start() if found else len(line)
    value = line[start:end].rstrip()
    return line[:start], value, line[start + len(value) :]


def _last_of_value(lines: Sequence[str], first: int) -> int:
    """Return the last line (from 0) of a value that begins on line `first`."""
    indent = len(lines[first]) - len(lines[first].lstrip())
    last = first
    for index in range(first + 1, len(lines)):
        line = lines[index]
        bare = line.strip()
        if not bare or bare[0] in "#;" or len(line) - len(line.lstrip()) <= indent:
            break
        last = index
    return last


def _above(lines: Sequence[str], index: int) -> int:
    """Return the first of the comment lines right above a line, or the line itself."""
    while index > 0 and lines[index - 1].lstrip().startswith(("#", ";")):
        index -= 1
    return index


def _check_value(name: str, value: str) -> None:
    """Refuse what would not be read back as it was given."""
    if not re.fullmatch(r"[A-Za-z][A-Za-z0-9_]*", name):
        raise EditError(f"{name!r} is not the name of a key.")
    if name.lower() == "gateway":
        raise EditError("The gateway is not one of the keys to set; it is named by itself.")
    if not value.isprintable() or value != value.strip():
        raise EditError(
            f"The value of {name!r} has line ends, control characters or blanks at its ends, which "
            "the file cannot hold; a secret can stand in a file of its own, see "
            f"'{name}_file'."
        )
    if _COMMENT.search(value):
        raise EditError(
            f"The value of {name!r} has a ';' that would begin a comment; a secret can stand in a "
            f"file of its own, see '{name}_file'."
        )


def _read(path: Path) -> str | None:
    """Return the text of a file with its line ends as they are, or None if there is none."""
    try:
        return path.read_bytes().decode("utf-8")
    except FileNotFoundError:
        return None


@contextlib.contextmanager
def _locked(main: Path) -> Iterator[None]:
    """Keep other commands from writing to the same configuration."""
    folder = os.open(main.resolve().parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        fcntl.flock(folder, fcntl.LOCK_EX)
        yield
    finally:
        os.close(folder)


def _replace(path: Path, text: str, *, like: Path) -> None:
    """Put a text in the place of a file at once, with mode and owner of another one."""
    status = like.stat()
    # The name begins with a dot, so that no include pattern finds it.
    handle, name = tempfile.mkstemp(prefix=f".{path.name}.", dir=path.parent)
    try:
        with os.fdopen(handle, "wb") as file:
            file.write(text.encode("utf-8"))
            # An operator who may write the file need not be allowed to give it away.
            with contextlib.suppress(PermissionError):
                os.fchown(file.fileno(), status.st_uid, status.st_gid)
            os.fchmod(file.fileno(), status.st_mode & 0o777)
            file.flush()
            os.fsync(file.fileno())
        os.replace(name, path)
    except BaseException:
        with contextlib.suppress(OSError):
            os.unlink(name)
        raise
    _sync(path.parent)


def _sync(folder: Path) -> None:
    """Make the names in a folder durable."""
    handle = os.open(folder, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
