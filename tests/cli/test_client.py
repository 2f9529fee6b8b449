"""Tests of `smsbridge.cli.client` against daemons that misbehave."""

from __future__ import annotations

import os
import socket
import tempfile
import threading
from pathlib import Path

import click
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.cli.client import Client, NoDaemon, Refusal, state_folder

HEAD = b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"


class Canned(threading.Thread):
    """A daemon that answers the first request with bytes, or with silence."""

    def __init__(self, path: Path, answer: bytes | None) -> None:
        super().__init__(daemon=True)
        self._answer = answer
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(path))
        self._listener.listen()
        self.over = threading.Event()

    def run(self) -> None:
        """Serve once."""
        with self._listener, self._listener.accept()[0] as connection:
            connection.recv(65536)
            if self._answer is None:
                self.over.wait(10)
            else:
                connection.sendall(self._answer)


class ClientTests(SynchronousTestCase):
    """What the client makes of answers."""

    def client(self, answer: bytes | None) -> Client:
        """Return a client of a daemon that gives this answer."""
        folder = tempfile.TemporaryDirectory(prefix="smsbridge-")
        self.addCleanup(folder.cleanup)
        path = Path(folder.name)
        daemon = Canned(path / "control.sock", answer)
        daemon.start()
        self.addCleanup(daemon.join)
        self.addCleanup(daemon.over.set)
        return Client(path, Path("/etc/smsbridge/office.ini"))

    def test_rows_come_one_by_one(self) -> None:
        """JSON lines are decoded whatever chunks they come in."""
        client = self.client(HEAD + b'4\r\n{"a"\r\n8\r\n: 1}\n{"a\r\n6\r\n": 2}\n\r\n0\r\n\r\n')

        self.assertEqual(list(client.rows("/messages")), [{"a": 1}, {"a": 2}])

    def test_daemon_that_dies_within_an_answer(self) -> None:
        """A listing that breaks off is no complete listing."""
        for rest in (b"", b"9\r\n", b'9\r\n{"a"', b'5\r\n{"a":\r\n0\r\n\r\n'):
            rows = self.client(HEAD + b'9\r\n{"a": 1}\n\r\n' + rest).rows("/messages")

            self.assertEqual(next(rows), {"a": 1})
            with self.assertRaisesRegex(NoDaemon, "closed the connection"):
                next(rows)

    def test_daemon_that_dies_before_the_first_row(self) -> None:
        """A listing that breaks off at once is no empty listing."""
        with self.assertRaises(NoDaemon):
            list(self.client(HEAD).rows("/messages"))

    def test_error_at_the_end_of_the_rows(self) -> None:
        """An error that came up within a listing ends it as one."""
        line = b'{"error": "peer-down", "message": "The database does not answer."}\n'
        client = self.client(HEAD + b"%x\r\n%s\r\n0\r\n\r\n" % (len(line), line))

        with self.assertRaisesRegex(Refusal, "The database does not answer"):
            list(client.rows("/messages"))

    def test_answers_that_are_none(self) -> None:
        """Nothing, another protocol and half an answer are told as a lost connection."""
        for answer in (b"", b"SSH-2.0-x\r\n", b"HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{"):
            with self.assertRaises(NoDaemon, msg=repr(answer)):
                self.client(answer).get("/status")

    def test_error_without_a_reason(self) -> None:
        """An error that is not ours is told with its status."""
        answer = b"HTTP/1.1 500 Oops\r\nContent-Length: 4\r\n\r\nhtml"

        with self.assertRaisesRegex(Refusal, "500 Oops"):
            self.client(answer).get("/status")

    def test_detail_is_told(self) -> None:
        """The peer's own words follow the sentence."""
        body = b'{"error": "network", "message": "Refused.", "detail": "CMS 500"}'
        answer = b"HTTP/1.1 422 x\r\nContent-Length: %d\r\n\r\n%s" % (len(body), body)

        with self.assertRaisesRegex(Refusal, r"^Refused\. \(CMS 500\)$"):
            self.client(answer).get("/status")

    def test_daemon_that_hangs(self) -> None:
        """A daemon that accepts and says nothing is told so after a while."""
        with self.assertRaisesRegex(NoDaemon, "in time"):
            self.client(None).post("/ussd", {}, timeout_s=0.05)

    def test_start_of_an_installed_service_is_told(self) -> None:
        """Where systemd runs the daemon the sentence says so."""
        for name, service in (("office", "smsbridge@office"), ("smsbridge", "smsbridge")):
            client = Client(Path("/nope"), Path(f"/etc/smsbridge/{name}.ini"))
            with self.assertRaisesRegex(NoDaemon, f"systemctl start {service}$"):
                client.get("/status")

    def test_forbidden_socket_is_told_with_the_remedy(self) -> None:
        """Whoever may not open the socket hears as whom to try."""
        if os.getuid() == 0:
            # Root may open everything, so the kernel's answer is made up.
            self.patch(socket.socket, "connect", _forbidden)

        with self.assertRaisesRegex(click.ClickException, "or as root"):
            self._locked().get("/status")

    def _locked(self) -> Client:
        folder = Path(self.mktemp())
        folder.mkdir(mode=0o000)
        self.addCleanup(folder.chmod, 0o700)
        return Client(folder, Path("own.ini"))


def _forbidden(self: socket.socket, address: object) -> None:
    raise PermissionError(13, "Permission denied")


class StateFolderTests(SynchronousTestCase):
    """Where the socket is."""

    def folder(self, text: str) -> Path:
        """Return the state folder of a configuration, relative to its own."""
        config = Path(self.mktemp())
        config.write_text(text, encoding="utf-8")
        found = state_folder(config)
        base = config.absolute().parent
        return found.relative_to(base) if found.is_relative_to(base) else found

    def test_read_as_the_daemon_reads_it(self) -> None:
        """Relative paths, comments, blanks, case and a missing key are as in the daemon."""
        for text, path in (
            ("[smsbridge]\nstate = state\n", "state"),
            ("[smsbridge]\nState = a b ; comment\n[gateway:x]\nstate = no\n", "a b"),
            ("[smsbridge]\nstate = /srv/50%/x\n", "/srv/50%/x"),
            ("[http]\n", "/var/lib/smsbridge"),
            ("", "/var/lib/smsbridge"),
            ("\ufeff[smsbridge]\nstate = y\n[smsbridge]\n", "y"),
        ):
            self.assertEqual(str(self.folder(text)), path, text)

    def test_unreadable_file_is_named(self) -> None:
        """What is no ini file, no text, or a folder, is refused in a sentence."""
        for content in (b"no section", b"\xff\xfe\x00"):
            config = Path(self.mktemp())
            config.write_bytes(content)
            with self.assertRaisesRegex(click.ClickException, "cannot be read"):
                state_folder(config)
        with self.assertRaisesRegex(click.ClickException, "cannot be read: Is a directory"):
            state_folder(Path("/"))
