"""
schemathesis against the API of a real daemon: what it makes of our own OpenAPI document is sent.

No answer may be 5xx or other than described.  Generated requests are valid and broken ones, by a
program with a token and by a browser with a session.
"""

from __future__ import annotations

import os
import time
from collections import Counter
from collections.abc import Iterator
from typing import Any, Final

import requests
import schemathesis
from hypothesis import HealthCheck, Phase, given, settings
from hypothesis.errors import Unsatisfiable
from schemathesis import GenerationMode
from schemathesis.checks import (
    content_type_conformance,
    not_a_server_error,
    response_schema_conformance,
    status_code_conformance,
)
from twisted.internet import reactor
from twisted.internet.defer import Deferred
from twisted.internet.threads import deferToThread
from twisted.trial.unittest import TestCase

from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port

CONFIGURATION: Final = """
[http]
listen = tcp:{port}:interface=127.0.0.1

[gateway:made-up]
kind = demo
delay = 0.01s

[line:one]
gateway = made-up
number = +12025550100

[line:two]
gateway = made-up
number = +12025550101

[person:john]
lines = one
admin = yes
rate = 0

[person:jane]
lines = one two
rate = 0
"""
PASSWORD: Final = "correct horse battery"
#: How long requests are made: short where people wait, longer where nobody does.
BUDGET_S: Final = 45.0 if os.environ.get("CI") == "true" else 20.0
CHECKS: Final = [
    not_a_server_error,
    status_code_conformance,
    content_type_conformance,
    response_schema_conformance,
]


class _Enough(BaseException):
    """The time of an operation is over; no `Exception`, which hypothesis would take for a find."""


class FuzzTests(TestCase):
    """One daemon with made-up lines."""

    timeout = 180

    def setUp(self) -> Deferred[None]:
        """Start the daemon and get a token and a session."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        port = free_port()
        self.daemon = DaemonProcess(reactor, CONFIGURATION.format(port=port))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.daemon.remove()))
        await self.daemon.start()
        self.counts: Counter[int] = Counter()
        self.url = f"http://127.0.0.1:{port}"
        token = await self.daemon.ask(
            "POST",
            "/tokens",
            {"name": "fuzz", "person": "john", "scopes": ["read", "send", "manage", "admin"]},
        )
        self.token = token["token"]
        await self.daemon.ask("POST", "/password", {"person": "jane", "password": PASSWORD})

    def test_every_answer_is_as_described(self) -> Deferred[None]:
        """Whatever is asked, the answer is one of those in the document."""
        return deferToThread(self._fuzz)

    def _fuzz(self) -> None:
        program = requests.Session()
        program.headers["Authorization"] = f"Bearer {self.token}"
        browser = requests.Session()
        browser.headers["X-Requested-With"] = "smsbridge"
        logged_in = browser.post(
            f"{self.url}/api/v2.2/session",
            json={"person": "jane", "password": PASSWORD},
            timeout=30,
        )
        self.assertEqual(logged_in.status_code, 201, logged_in.text)
        program.post(
            f"{self.url}/api/v2.2/messages", json={"to": "+12025550123", "body": "x"}, timeout=30
        )
        schema = schemathesis.openapi.from_url(f"{self.url}/api/openapi.json")
        schema.config.generation.update(with_security_parameters=False)
        operations = [each for each in self._operations(schema) if each.path[-7:] != "/events"]
        self.assertGreater(len(operations), 40)
        # Who logs out asks nothing any more.
        operations.sort(key=lambda each: (each.path[-8:], each.method) == ("/session", "delete"))
        began = time.monotonic()
        for number, operation in enumerate(operations, start=1):
            # What one operation leaves of its time is for those behind it.
            until = began + BUDGET_S * number / len(operations)
            self._try(operation, GenerationMode.POSITIVE, (program, browser), until)
            if len(operation.body) or len(operation.query):
                # A path takes every text: nothing can be wrong with it.
                self._try(operation, GenerationMode.NEGATIVE, (program, browser), until)
        # The last word: it still works.
        answer = program.get(f"{self.url}/api/v2.2/messages", timeout=30)
        self.assertEqual(answer.status_code, 200)
        self.assertNotIn("Traceback", self.daemon.output)
        for status in (200, 400, 404, 422):
            self.assertGreater(self.counts[status], 10, str(self.counts))

    def _operations(self, schema: Any) -> Iterator[Any]:
        for result in schema.get_all_operations():
            yield result.ok()

    def _try(
        self,
        operation: Any,
        mode: GenerationMode,
        sessions: tuple[requests.Session, ...],
        until: float,
    ) -> None:
        turn = 0

        @settings(
            max_examples=100 if os.environ.get("CI") == "true" else 30,
            deadline=None,
            database=None,
            derandomize=True,
            phases=[Phase.explicit, Phase.generate],
            suppress_health_check=list(HealthCheck),
        )
        @given(case=operation.as_strategy(generation_mode=mode))
        def ask(case: Any) -> None:
            nonlocal turn
            if time.monotonic() > until and turn > 2:
                raise _Enough
            turn += 1
            session = sessions[turn % len(sessions)]
            for name in ("Authorization", "Cookie", "X-Requested-With"):
                case.headers.pop(name, None)
            case.cookies.clear()
            response = case.call(base_url=self.url, session=session, timeout=30)
            self.counts[response.status_code] += 1
            case.validate_response(response, checks=CHECKS)

        try:
            ask()
        except _Enough:
            pass
        except Unsatisfiable:
            pass  # nothing can be wrong where nothing is taken
