"""Logging in at a real daemon: over restarts, reloads and sockets that behave badly."""

from __future__ import annotations

import json
import os
import re
import socket
import time
from typing import Any

import treq
from attrs import define, field
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.task import deferLater
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase
from twisted.web.client import Agent, HTTPConnectionPool

from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port

CONFIGURATION = """
[http]
listen = tcp:{port}:interface=127.0.0.1
first_login = {first_login}

[gateway:demo]
kind = demo

[line:pictures]
gateway = demo
number = +12025550101

[person:john]
lines = pictures
{persons}
"""
MARY = "[person:mary]\nadmin = yes\n"
GOOD = "correct horse battery"


@define
class Browser:
    """A browser on the daemon's port."""

    port: int
    agent: Any
    cookie: str = ""
    headers: dict[str, str] = field(factory=lambda: {"X-Requested-With": "smsbridge"})

    async def ask(
        self, method: str, path: str, attributes: Any = None, data: bytes | None = None
    ) -> tuple[int, Any]:
        """Send a request; returns the status and the document."""
        headers = dict(self.headers)
        if attributes is not None:
            data = json.dumps({"data": {"attributes": attributes}}).encode()
            headers["Content-Type"] = "application/vnd.api+json"
        if self.cookie:
            headers["Cookie"] = f"smsbridge={self.cookie}"
        response = await self.agent.request(
            method, f"http://127.0.0.1:{self.port}/api/v2.2{path}", data=data, headers=headers
        )
        content = await treq.content(response)
        for value in response.headers.getRawHeaders("set-cookie", ()):
            self.cookie = value.partition(";")[0].partition("=")[2]
        return response.code, json.loads(content) if content else None

    async def log_in(self, person: str = "john", password: str = GOOD) -> int:
        """Log in; returns the status."""
        status, _ = await self.ask(
            "POST", "/session", {"person": person, "password": password, "keep": True}
        )
        return status

    async def is_in(self) -> bool:
        """Tell whether the daemon knows the browser."""
        status, _ = await self.ask("GET", "/me")
        return status == 200


class AccessTests(TestCase):
    """The door of a real daemon."""

    timeout = 120

    async def start(self, first_login: str = "no") -> None:
        """Start a daemon."""
        self.port = free_port()
        self.first_login = first_login
        self.daemon = DaemonProcess(reactor, self.configuration(MARY))
        self.addCleanup(self.daemon.remove)
        self.pool: Any = HTTPConnectionPool(reactor, persistent=False)
        await self.daemon.start()

    def configuration(self, persons: str) -> str:
        """Return a configuration with these persons beside John."""
        return CONFIGURATION.format(port=self.port, persons=persons, first_login=self.first_login)

    def browser(self) -> Browser:
        """Open a browser."""
        return Browser(self.port, treq.client.HTTPClient(_agent(self.pool)))

    async def passwd(self, person: str, password: str = GOOD) -> None:
        """Set a password by the control socket."""
        await self.daemon.ask("POST", "/password", {"person": person, "password": password})

    async def token(self, **wanted: Any) -> Browser:
        """Make a token by the control socket; returns a program that has it."""
        made = await self.daemon.ask("POST", "/tokens", {"person": "john", **wanted})
        program = self.browser()
        program.headers = {"Authorization": f"Bearer {made['token']}"}
        return program

    async def test_first_login_is_printed_once_and_works(self) -> None:
        """Who starts the daemon by hand reads what to type; a restart does not say it again."""
        await self.start(first_login="yes")
        while (found := re.search(r"name (\S+)  password (\S+)", self.daemon.output)) is None:
            await deferLater(reactor, 0.05)
        person, password = found.groups()

        self.assertEqual(person, "mary")
        self.assertEqual(await self.browser().log_in(person, password), 201)
        log = [line for line in self.daemon.output.splitlines() if password in line]
        self.assertEqual(len(log), 1)
        self.assertNotIn("info", log[0])
        await self.daemon.stop()
        await self.daemon.start()
        while "smsbridge passwd mary" not in self.daemon.output:
            await deferLater(reactor, 0.05)
        self.assertNotIn("First login", self.daemon.output)
        self.assertEqual(await self.browser().log_in(person, password), 201)

    async def test_sessions_and_tokens_outlive_the_daemon(self) -> None:
        """After a power cut everybody is still logged in, and nobody who was logged out."""
        await self.start()
        await self.passwd("john")
        stays, leaves = self.browser(), self.browser()
        for each in (stays, leaves):
            self.assertEqual(await each.log_in(), 201)
        program = await self.token(name="work")
        ended = leaves.cookie
        self.assertEqual((await leaves.ask("DELETE", "/session"))[0], 204)
        leaves.cookie = ended

        await self.daemon.kill()
        await self.daemon.start()

        self.assertTrue(await stays.is_in())
        self.assertTrue(await program.is_in())
        self.assertFalse(await leaves.is_in())

    async def test_commands_take_effect_at_once(self) -> None:
        """A new password logs out, a removed token is worth nothing."""
        await self.start()
        await self.passwd("john")
        browser, program = self.browser(), await self.token(name="work")
        await browser.log_in()

        await self.passwd("john", "another good password")
        await self.daemon.ask("POST", "/tokens/remove", {"name": "work"})

        self.assertFalse(await browser.is_in())
        self.assertFalse(await program.is_in())
        self.assertEqual(await browser.log_in(), 401)
        self.assertEqual(await browser.log_in(password="another good password"), 201)

    async def test_reload_shuts_out_who_is_gone(self) -> None:
        """Without the section the person is out, and comes back to no session."""
        await self.start()
        await self.passwd("mary")
        browser, program = self.browser(), await self.token(name="ops", person="mary")
        await browser.log_in("mary")
        self.daemon.write(self.configuration(""))
        await self.daemon.ask("POST", "/reload", {})

        self.assertFalse(await browser.is_in())
        self.assertFalse(await program.is_in())
        self.assertEqual(await browser.log_in("mary"), 401)
        self.daemon.write(self.configuration(MARY))
        await self.daemon.ask("POST", "/reload", {})
        self.assertFalse(await browser.is_in())
        self.assertEqual(await browser.log_in("mary"), 201)

    async def test_guessing_is_braked_and_others_go_on(self) -> None:
        """A hundred guesses at once lead to a handful of checks."""
        await self.start()
        await self.passwd("john")
        at_home = self.browser()
        await at_home.log_in()
        guesses = [_begun(self.browser().log_in("john", f"guess {n}")) for n in range(100)]

        statuses = [await each for each in guesses]

        self.assertLessEqual(statuses.count(401), 7)
        self.assertEqual(statuses.count(401) + statuses.count(429), 100)
        self.assertTrue(await at_home.is_in())

    async def test_upload_is_let_in_by_its_headers(self) -> None:
        """Somebody unknown is refused before the body; what is let in arrives as it was."""
        await self.start()
        data = os.urandom(3_000_000)
        program = await self.token(name="work")
        reader = await self.token(name="reader", scopes=["read"])

        status, document = await program.ask("POST", "/media?name=a.bin", data=data)
        self.assertEqual(status, 201)
        self.assertEqual(document["data"]["attributes"]["size"], len(data))
        self.assertEqual((await self.browser().ask("POST", "/media", data=data))[0], 401)
        self.assertEqual((await reader.ask("POST", "/media", data=data))[0], 403)
        self.assertEqual((await program.ask("POST", "/messages", data=data))[0], 413)
        self.assertEqual(os.listdir(self.daemon.state / "media" / "uploads"), [])

    async def test_bad_sockets_disturb_nobody(self) -> None:
        """Half a request on two hundred connections, nonsense, and paths that climb."""
        await self.start()
        program = await self.token(name="work")

        def misbehave() -> list[bytes]:
            open_ones = [socket.create_connection(("127.0.0.1", self.port)) for _ in range(200)]
            for number, each in enumerate(open_ones):
                each.sendall(b"POST /api/v2.2/media HTTP/1.1\r\nHost: a\r\nX: "[: 10 + number])
            answers = []
            for sent in (
                b"\0\1\2\3\r\n\r\n",
                b"GET /static/../../../../etc/passwd HTTP/1.0\r\n\r\n",
                b"GET /static/%2e%2e/%2e%2e/config.py HTTP/1.0\r\n\r\n",
                b"GET /media/../smsbridge.sqlite3 HTTP/1.0\r\n\r\n",
                b"GET /%ff%fe HTTP/1.0\r\nHost: \xff\r\n\r\n",
            ):
                with socket.create_connection(("127.0.0.1", self.port), 20) as one:
                    one.sendall(sent)
                    answers.append(_all_of(one))
            for each in open_ones:
                each.close()
            return answers

        answers = await deferToThread(misbehave)

        for answer in answers:
            self.assertRegex(answer, rb"^HTTP/1\.[01] 4\d\d ")
            self.assertNotIn(b"root:", answer)
            self.assertNotIn(b"SQLite", answer)
        began = time.monotonic()
        self.assertTrue(await program.is_in())
        self.assertLess(time.monotonic() - began, 2)
        self.assertNotIn("Traceback", self.daemon.output)


def _agent(pool: Any) -> Any:
    return Agent(reactor, pool=pool)


def _begun(working: Any) -> Any:
    return Deferred.fromCoroutine(working)


def _all_of(connection: socket.socket) -> bytes:
    found = b""
    try:
        while data := connection.recv(65536):
            found += data
    except (TimeoutError, ConnectionResetError):
        pass
    return found
