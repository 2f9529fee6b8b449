"""
Asks the daemon over its control socket: HTTP with JSON on a unix socket, by the standard library.

What the daemon refuses becomes a `click.ClickException` with its sentence; exit code 1.  When no
daemon answers the exit code is 3.
"""

from __future__ import annotations

import configparser
import http.client
import json
import os
import socket
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any
from urllib.parse import urlencode

import click

__all__ = ["Client", "NoDaemon", "Refusal", "state_folder"]

_DEFAULT_STATE = "/var/lib/smsbridge"
_MAX_PATH_BYTES = 107  # of a unix socket's address
_TIMEOUT_S = 60.0


class Refusal(click.ClickException):
    """The daemon said no; the answer's fields are kept."""

    def __init__(self, answer: Mapping[str, Any]) -> None:
        sentence = str(answer.get("message") or "The daemon refused without a reason.")
        detail = answer.get("detail")
        super().__init__(f"{sentence} ({detail})" if detail else sentence)
        self.answer = answer


class NoDaemon(click.ClickException):
    """No daemon answers."""

    exit_code = 3


def state_folder(config: Path) -> Path:
    """
    Return the state folder that a configuration names.

    Reads one key alone: whether the rest is right does not matter to a daemon that runs, and
    reading all of it would import every gateway.
    """
    reader = configparser.RawConfigParser(
        delimiters=("=",),
        comment_prefixes=("#", ";"),
        inline_comment_prefixes=(";",),
        strict=False,
        default_section="\0",
    )
    try:
        with config.open(encoding="utf-8-sig") as file:
            reader.read_file(file)
    except (OSError, UnicodeDecodeError, configparser.Error) as e:
        reason = getattr(e, "strerror", None) or "it is no ini file; see 'smsbridge check'"
        raise click.ClickException(f"{config} cannot be read: {reason}.") from e
    state = reader.get("smsbridge", "state", fallback=_DEFAULT_STATE).strip() or _DEFAULT_STATE
    return Path(os.path.normpath(config.absolute().parent / Path(state).expanduser()))


class _Connection(http.client.HTTPConnection):
    """An HTTP connection over a unix socket."""

    def __init__(self, path: Path, timeout_s: float | None) -> None:
        super().__init__("localhost", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        """Connect; a path too long for the kernel is reached from its folder."""
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM)
        self.sock.settimeout(self.timeout)
        if len(os.fsencode(self._path)) <= _MAX_PATH_BYTES:
            self.sock.connect(str(self._path))
            return
        folder = os.open(self._path.parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            self.sock.connect(f"/proc/self/fd/{folder}/{self._path.name}")
        finally:
            os.close(folder)


class Client:
    """
    The daemon, as far as its control socket goes.

    :param config: named in what is said when no daemon answers.
    """

    def __init__(self, state: Path, config: Path) -> None:
        self._socket = state / "control.sock"
        self._config = config

    def get(self, path: str, **query: Any) -> Any:
        """Ask for one JSON value."""
        return self._one("GET", path + _query(query), None, _TIMEOUT_S)

    def post(self, path: str, body: Mapping[str, Any], timeout_s: float = _TIMEOUT_S) -> Any:
        """Have something done; returns the JSON value that it answers with."""
        return self._one("POST", path, body, timeout_s)

    def rows(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = _TIMEOUT_S,
        **query: Any,
    ) -> Iterator[Any]:
        """Yield the values of an answer in JSON lines as they arrive."""
        for line in self.raw_rows(path, body, timeout_s=timeout_s, **query):
            yield json.loads(line)

    def raw_rows(
        self,
        path: str,
        body: Mapping[str, Any] | None = None,
        *,
        timeout_s: float | None = _TIMEOUT_S,
        **query: Any,
    ) -> Iterator[bytes]:
        """Yield the lines of an answer as they arrive, each with its end."""
        method = "GET" if body is None else "POST"
        response = self._ask(method, path + _query(query), body, timeout_s)
        try:
            for line in _lines(response):
                if line.startswith(b'{"error"'):
                    raise Refusal(json.loads(line))
                yield line
        except (OSError, http.client.HTTPException) as e:
            raise self._broken(e) from e
        finally:
            response.close()

    def _one(self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float) -> Any:
        response = self._ask(method, path, body, timeout_s)
        try:
            return json.loads(response.read())
        except (OSError, http.client.HTTPException, ValueError) as e:
            raise self._broken(e) from e

    def _ask(
        self, method: str, path: str, body: Mapping[str, Any] | None, timeout_s: float | None
    ) -> http.client.HTTPResponse:
        connection = _Connection(self._socket, timeout_s)
        data = None if body is None else json.dumps(body).encode("ascii")
        headers = {"Connection": "close", "Content-Type": "application/json"}
        try:
            connection.connect()
        except (FileNotFoundError, NotADirectoryError, ConnectionRefusedError) as e:
            raise NoDaemon(
                f"No daemon answers at {self._socket}; start it with: {self._how_to_start()}"
            ) from e
        except PermissionError as e:
            raise click.ClickException(
                f"You may not open {self._socket}; run this command as the user that runs the "
                "daemon, or as root."
            ) from e
        except OSError as e:
            raise self._broken(e) from e
        try:
            connection.request(method, path, data, headers)
            response = connection.getresponse()
            if response.status >= 400:
                raise Refusal(_answer(response))
        except (OSError, http.client.HTTPException) as e:
            raise self._broken(e) from e
        return response

    def _broken(self, error: Exception) -> click.ClickException:
        if isinstance(error, TimeoutError):
            return NoDaemon(f"The daemon at {self._socket} does not answer in time.")
        return NoDaemon(f"The daemon at {self._socket} closed the connection.")

    def _how_to_start(self) -> str:
        if self._config.name == "quickstart.ini":
            return "make run"
        if self._config.absolute().parent == Path("/etc/smsbridge"):
            name = self._config.stem
            return f"systemctl start {'smsbridge' if name == 'smsbridge' else 'smsbridge@' + name}"
        return f"twistd -n smsbridge --config {self._config}"


def _lines(response: http.client.HTTPResponse) -> Iterator[bytes]:
    """
    Yield whole lines; raises `http.client.IncompleteRead` where the answer breaks off.

    `readline` of the standard library ends quietly there, so that half a listing would pass for a
    whole one.
    """
    rest = b""
    while data := response.read1(65536):
        *lines, rest = (rest + data).split(b"\n")
        for line in lines:
            yield line + b"\n"
    if rest:
        raise http.client.IncompleteRead(rest)


def _query(fields: Mapping[str, Any]) -> str:
    given = {
        name: value
        for name, value in fields.items()
        if value is not None and value is not False and value != ""
    }
    return "?" + urlencode({k: 1 if v is True else v for k, v in given.items()}) if given else ""


def _answer(response: http.client.HTTPResponse) -> Mapping[str, Any]:
    try:
        answer = json.loads(response.read())
    except ValueError:
        answer = None
    if isinstance(answer, dict):
        return answer
    return {"message": f"The daemon answered {response.status} {response.reason}."}
