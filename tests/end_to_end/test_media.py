"""Attachments in a real daemon on demo lines: out and in, through a power cut, and by links."""

from __future__ import annotations

import base64
import os
from typing import Any
from urllib.parse import urlsplit

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase

from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port
from tests.media.files import opened, picture

CONFIGURATION = """
[http]
listen = tcp:{port}:interface=127.0.0.1
public_url = http://127.0.0.1:{port}

[gateway:demo]
kind = demo
delay = 100ms

[line:mms]
gateway = demo
number = +12025550101

[line:links]
gateway = demo
number = +12025550102
mms = link
"""
PATIENCE_S = 20.0


class MediaTests(TestCase):
    """Pictures on their way."""

    timeout = 120

    async def start(self) -> None:
        """Start a daemon."""
        self.port = free_port()
        self.daemon = DaemonProcess(reactor, CONFIGURATION.format(port=self.port))
        self.addCleanup(self.daemon.remove)
        await self.daemon.start()

    async def send(self, line: str, data: bytes, name: str = "a.jpg", code: int = 202) -> str:
        """Send a file as the command does."""
        media = {
            "name": name,
            "content_type": "application/octet-stream",
            "data": base64.b64encode(data).decode(),
        }
        status, text = await self.daemon.request(
            "POST",
            "/messages",
            {"line": line, "to": ["+12025550123"], "text": "look", "media": [media]},
        )
        self.assertEqual(status, code, text)
        return text

    async def messages(self, count: int) -> list[Any]:
        """Wait until there are so many messages, all of them done with."""
        deadline = reactor.seconds() + PATIENCE_S  # type: ignore[attr-defined]
        while True:
            found = await self.daemon.listing("/messages")
            statuses = [each["status"] for message in found for each in message["deliveries"]]
            if len(found) >= count and all(status == "delivered" for status in statuses):
                return found
            self.assertLess(reactor.seconds(), deadline, f"{found}\n{self.daemon.output[-2000:]}")  # type: ignore[attr-defined]
            await deferLater(reactor, 0.1)  # type: ignore[arg-type]

    async def get(self, url: str) -> tuple[Any, bytes]:
        """Fetch something without a login."""
        response = await treq.get(url, persistent=False, timeout=20)
        return response, await response.content()

    async def test_pictures_go_out_and_come_in_and_outlive_a_power_cut(self) -> None:
        """A picture is made to fit, is answered with another, and both are there afterwards."""
        await self.start()
        await self.send("mms", picture(2400, 1600, "JPEG", noise=True, quality=95))

        sent, answer = await self.messages(2)
        await self.daemon.kill()
        await self.daemon.start()

        for message, size in ((sent, None), (answer, (320, 240))):
            (media,) = message["media"]
            response, data = await self.get(media["url"])
            self.assertEqual((response.code, len(data)), (200, media["size"]))
            self.assertLessEqual(len(data), 600 * 1024)
            self.assertEqual(media["content_type"], "image/jpeg")
            if size is not None:
                self.assertEqual(opened(data).size, size)
        (again, _) = await self.daemon.listing("/messages")
        self.assertEqual(
            urlsplit(again["media"][0]["url"]).path.split("/")[2],
            urlsplit(sent["media"][0]["url"]).path.split("/")[2],
        )
        self.assertEqual(os.listdir(self.daemon.state / "media" / "uploads"), [])

    async def test_a_line_that_sends_links_sends_one_that_works(self) -> None:
        """The file itself is unchanged, whatever its size; the link stands in the text."""
        await self.start()
        data = os.urandom(700_000)
        await self.send("links", data, "backup.bin")

        sent, _ = await self.messages(2)

        text, link = sent["body"].split("\n")
        self.assertEqual(text, "look")
        response, fetched = await self.get(link)
        self.assertEqual((response.code, fetched), (200, data))
        self.assertIn("attachment", response.headers.getRawHeaders("content-disposition")[0])

    async def test_without_a_public_address_the_operator_is_told(self) -> None:
        """A link that leads nowhere is not sent."""
        await self.start()
        text = CONFIGURATION.format(port=self.port).replace("public_url", "; public_url")
        self.daemon.write(text)
        await self.daemon.ask("POST", "/reload")

        refusal = await self.send("links", b"hello", "a.txt", 422)

        self.assertIn("public_url", refusal)
        self.assertEqual(await self.daemon.listing("/messages"), [])
