"""Files between a chat client and a line with MMS, by Prosody and its upload service."""

from __future__ import annotations

import shutil
import tempfile
from pathlib import Path
from typing import Any

import treq
from twisted.internet import reactor
from twisted.internet.task import deferLater
from twisted.trial.unittest import TestCase
from twisted.words.xish import domish

from smsbridge.gateways.xmpp import upload
from tests.end_to_end.daemon import DaemonProcess
from tests.end_to_end.ports import free_port
from tests.end_to_end.xmpp_client import XmppClient, body_of
from tests.end_to_end.xmpp_servers import COMPONENT, ProsodyServer, password_of
from tests.media.files import picture

CONFIGURATION = """
[http]
listen = tcp:{port}:interface=127.0.0.1
public_url = http://127.0.0.1:{port}
allow_private_media = yes

[gateway:demo]
kind = demo
delay = 50ms

[line:mms]
gateway = demo
number = +12025550101

[gateway:xmpp]
kind = xmpp
server = 127.0.0.1:{component_port}
domain = sms.example.org
secret = not-a-secret
upload = {upload}

[person:alice]
xmpp = alice@example.org
lines = mms
"""
SERVICE = "upload.example.org"
CONTACT = f"+12025550123@{COMPONENT}"

_FILE = "<media-type>image/jpeg</media-type><name>a.jpg</name>"
FORMS = {
    "OOB": "<x xmlns='jabber:x:oob'><url>{url}</url></x>",
    "SFS": "<file-sharing xmlns='urn:xmpp:sfs:0' disposition='inline'>"
    f"<file xmlns='urn:xmpp:file:metadata:0'>{_FILE}</file><sources>"
    "<url-data xmlns='http://jabber.org/protocol/url-data' target='{url}'/></sources>"
    "</file-sharing>",
    "SIMS": "<reference xmlns='urn:xmpp:reference:0' type='data'>"
    "<media-sharing xmlns='urn:xmpp:sims:1'>"
    f"<file xmlns='urn:xmpp:jingle:apps:file-transfer:5'>{_FILE}</file><sources>"
    "<reference xmlns='urn:xmpp:reference:0' type='data' uri='{url}'/></sources>"
    "</media-sharing></reference>",
}


class FilesTests(TestCase):
    """Alice and a friend whose telephone shows pictures."""

    timeout = 60

    async def setUp(self) -> None:  # type: ignore[override]
        """Start Prosody, the daemon and Alice's client."""
        folder = Path(tempfile.mkdtemp(prefix="smsb-"))
        self.addCleanup(shutil.rmtree, folder, ignore_errors=True)
        self.server = ProsodyServer(reactor, folder)
        self.addCleanup(self.server.kill)
        await self.server.start()
        self.port = free_port()
        self.daemon = DaemonProcess(reactor, self.configuration(SERVICE))
        self.addCleanup(self.daemon.remove)
        await self.daemon.start()
        while not all(link["up"] for link in await self.daemon.listing("/links")):
            await deferLater(reactor, 0.05)  # type: ignore[arg-type]
        self.alice = XmppClient(
            reactor, "alice@example.org/phone", password_of("alice"), self.server.client_port
        )
        await self.alice.connect()
        self.addCleanup(self.alice.close)

    def configuration(self, service: str) -> str:
        """Return the ini file with an upload service."""
        return CONFIGURATION.format(
            port=self.port, component_port=self.server.component_port, upload=service
        )

    async def put(self, data: bytes) -> str:
        """Put a file into the service as Alice's client does; returns its address."""
        slot = upload.read_slot(
            await self.alice.ask("get", SERVICE, upload.request("a.jpg", len(data), "image/jpeg"))
        )
        response = await treq.put(
            slot.put,
            data,
            headers={"Content-Type": "image/jpeg", **dict(slot.headers)},
            persistent=False,
        )
        self.assertEqual(response.code, 201)
        return slot.get

    async def get(self, url: str) -> bytes:
        """Fetch what a client fetches."""
        response = await treq.get(url, persistent=False, timeout=20)
        self.assertEqual(response.code, 200)
        data: bytes = await response.content()
        return data

    def shown(self) -> list[str]:
        """Return the addresses of the files that Alice's client shows."""
        found = []
        for message in self.alice.messages:
            oob = next(message.elements("jabber:x:oob", "x"), None)
            url = str(next(oob.elements("jabber:x:oob", "url"))) if oob is not None else ""
            if url and url == body_of(message):
                found.append(url)
        return found

    async def show(self, count: int) -> list[str]:
        """Wait until Alice's client shows so many files."""
        if len(self.shown()) < count:

            def enough(_: domish.Element) -> bool:
                return len(self.shown()) >= count

            await self.alice.wait_for(enough, 20)
        return self.shown()

    async def test_files_of_a_client_go_out_as_mms_and_answers_come_from_the_service(self) -> None:
        """
        Every way in which clients send files is an MMS with the same bytes; a picture from the
        network is put into the server's service, or comes as a link of ours where that fails.
        """
        sent: dict[str, bytes] = {}
        for number, (form, xml) in enumerate(FORMS.items()):
            sent[form] = picture(300 + number, 200, "JPEG")
            url = await self.put(sent[form])
            stanza_id = self.alice.say(CONTACT, url, extra=xml.format(url=url))
            await self.alice.wait_for_receipt(stanza_id, 20)
        urls = await self.show(len(FORMS))

        messages = await self.daemon.listing("/messages")
        ours = [each for each in messages if each["from"] == "+12025550101"]
        for message, data in zip(ours, sent.values(), strict=True):
            self.assertEqual(message["body"], "")
            (media,) = message["media"]
            self.assertEqual(await self.get(media["url"]), data)
        answers: list[Any] = [each for each in messages if each not in ours]
        for answer, url in zip(answers, urls, strict=True):
            self.assertTrue(url.startswith(f"http://127.0.0.1:{self.server.http_port}/"), url)
            kept = await self.get(answer["media"][0]["url"])
            self.assertEqual(await self.get(url), kept)

        self.daemon.write(self.configuration("nobody.example.org"))
        await self.daemon.ask("POST", "/reload")
        await self.daemon.ask(
            "POST", "/commands", {"line": "mms", "command": "picture", "arguments": []}
        )
        url = (await self.show(len(FORMS) + 1))[-1]
        self.assertTrue(url.startswith(f"http://127.0.0.1:{self.port}/media/"), url)
        self.assertIn(b"\xff\xd8", (await self.get(url))[:2])
        self.assertIn("nobody.example.org", self.daemon.output)
