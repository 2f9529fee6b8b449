"""The API of a real daemon as programs use it, through a power cut in between."""

from __future__ import annotations

import time
from typing import Any, Final

import requests
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
delay = 0.1s

[line:one]
gateway = made-up
number = +12025550100

[person:john]
lines = one
rate = 0
"""
NUMBER: Final = "+12025550123"


class ProgramTests(TestCase):
    """A program written for Flowroute's API."""

    timeout = 120

    def setUp(self) -> Deferred[None]:
        """Start the daemon and make a token."""
        return Deferred.fromCoroutine(self._start())

    async def _start(self) -> None:
        port = free_port()
        self.daemon = DaemonProcess(reactor, CONFIGURATION.format(port=port))
        self.addCleanup(lambda: Deferred.fromCoroutine(self.daemon.remove()))
        await self.daemon.start()
        self.base = f"http://127.0.0.1:{port}/api"
        made = await self.daemon.ask("POST", "/tokens", {"name": "shop", "person": "john"})
        self.credentials = ("shop", made["token"])

    def _ask(self, method: str, path: str, **more: Any) -> requests.Response:
        return requests.request(
            method, f"{self.base}{path}", auth=self.credentials, timeout=30, **more
        )

    def _send(self, body: str, key: str = "") -> requests.Response:
        document = {
            "data": {
                "type": "message",
                "attributes": {"to": "12025550123", "from": "12025550100", "body": body},
            }
        }
        return self._ask(
            "POST",
            "/v2.2/messages",
            json=document,
            headers={
                "Content-Type": "application/vnd.api+json",
                **({"Idempotency-Key": key} if key else {}),
            },
        )

    def _until(self, message_id: str, status: str) -> Any:
        for _ in range(300):
            answer = self._ask("GET", f"/v2.2/messages/{message_id}").json()
            if answer["data"]["attributes"]["status"] == status:
                return answer["data"]["attributes"]
            time.sleep(0.1)
        raise AssertionError(answer)

    async def test_a_text_goes_out_and_its_answer_is_listed(self) -> None:
        """Sent with a token's name and the token, delivered, and answered."""

        def talk() -> list[str]:
            sent = self._send("hello")
            self.assertEqual(sent.status_code, 202, sent.text)
            self._until(sent.json()["data"]["id"], "delivered")
            for _ in range(300):
                listed = self._ask("GET", "/v2.2/messages?number=%2B12025550123").json()["data"]
                if len(listed) > 1:
                    return [each["attributes"]["direction"] for each in listed]
                time.sleep(0.1)
            raise AssertionError(listed)

        self.assertEqual(await deferToThread(talk), ["inbound", "outbound"])

    async def test_a_repeat_after_a_power_cut_sends_nothing(self) -> None:
        """The same key with the same text is the same message, also in the next life."""
        first = await deferToThread(self._send, "once", "key-1")
        await self.daemon.kill()
        await self.daemon.start()
        second = await deferToThread(self._send, "once", "key-1")
        other = await deferToThread(self._send, "twice", "key-1")

        self.assertEqual((first.status_code, second.status_code), (202, 202), second.text)
        self.assertEqual(first.json()["data"]["id"], second.json()["data"]["id"])
        self.assertEqual(other.status_code, 409)

    async def test_describes_itself(self) -> None:
        """The document and the page are open, and the page's look is served."""

        def look() -> tuple[int, ...]:
            return tuple(
                requests.get(url, timeout=30).status_code
                for url in (
                    f"{self.base}/openapi.json",
                    f"{self.base}",
                    self.base.removesuffix("/api") + "/static/css/api.css",
                    f"{self.base}/v2.2/messages",
                )
            )

        self.assertEqual(await deferToThread(look), (200, 200, 200, 401))
