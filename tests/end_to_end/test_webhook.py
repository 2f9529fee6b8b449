"""Webhooks over real sockets: a daemon, a simulated box, and a program that is called by HTTP."""

from __future__ import annotations

from typing import Any

import treq
from twisted.internet import reactor

from smsbridge.gateways.webhook.simulator.receiver import Receiver
from tests.end_to_end.ports import free_port
from tests.end_to_end.test_durability import BoxAndDaemon, pause

SECRET = "not-a-real-secret"
SENDERS = ("+12025550123", "+12025550124", "+12025550125")


class WebhookTests(BoxAndDaemon):
    """One program, which is a person with two lines."""

    lines = ("one", "two")

    def setUp(self) -> None:
        """Choose where the program listens."""
        super().setUp()
        clock: Any = reactor
        self.receiver = Receiver(clock.seconds, SECRET)
        self.http_port = free_port()
        self.port: Any = None

    async def tearDown(self) -> None:
        """End the program as well."""
        await super().tearDown()
        await self.hang_up()

    def listen(self) -> None:
        """Let the program listen."""
        tcp: Any = reactor
        self.port = tcp.listenTCP(self.http_port, self.receiver.site(), interface="127.0.0.1")

    async def hang_up(self) -> None:
        """Let the program be gone."""
        port, self.port = self.port, None
        if port is not None:
            await port.stopListening()

    async def start(self) -> Any:
        """Start daemon and box; returns the box's first channel."""
        await self.start_daemon(
            f"webhook = http://127.0.0.1:{self.http_port}/texts\nwebhook_secret = {SECRET}\n"
        )
        return (await self.start_box(resend_s=0.5)).box.line("one")

    async def delivered(self, count: int) -> None:
        """Wait until the store knows that so many were taken."""
        while (await self.delivery_states())["delivered"] < count:
            await pause(0.1)

    def taken(self) -> list[tuple[str, str]]:
        """Return sender and text of what the program took, in order."""
        return [
            (data["attributes"]["from"], data["attributes"]["body"]) for data in self.receiver.taken
        ]

    def assert_in_order(self, per_sender: int) -> None:
        """Fail unless each sender's texts are there once and in their order."""
        taken = self.taken()
        for sender in SENDERS:
            texts = [text for who, text in taken if who == sender]
            self.assertEqual(texts, [f"text {number:02d}" for number in range(per_sender)])

    async def test_texts_arrive_signed_once_and_in_order(self) -> None:
        """Each text is one post with a signature that is right."""
        self.listen()
        channel = await self.start()

        for number in range(10):
            for sender in SENDERS:
                channel.receive_sms(sender, f"text {number:02d}")
        await self.delivered(30)

        self.assert_in_order(10)
        self.assertEqual({post.signed for post in self.receiver.came}, {True})
        self.assertEqual(len(self.receiver.came), 30)

    async def test_program_that_is_away_parks_and_gets_everything_later(self) -> None:
        """While nobody listens texts wait and the link says so; then they come in order."""
        channel = await self.start()
        for number in range(10):
            for sender in SENDERS:
                channel.receive_sms(sender, f"text {number:02d}")
        assert self.daemon is not None
        (link,) = [each for each in await self.daemon.listing("/links") if each["kind"] != "goip"]
        while link["up"]:
            await pause(0.1)
            links = await self.daemon.listing("/links")
            (link,) = [each for each in links if each["kind"] == "webhook"]
        self.assertIn("127.0.0.1 cannot be reached", link["state"])
        while (await self.delivery_states())["queued"] < 30:
            await pause(0.1)

        self.listen()
        await self.delivered(30)

        self.assert_in_order(10)
        links = await self.daemon.listing("/links")
        self.assertTrue(all(each["up"] for each in links))

    async def test_error_is_tried_again_and_nothing_overtakes(self) -> None:
        """After a 503 the next text of that conversation waits; another conversation does not."""
        self.listen()
        channel = await self.start()
        self.receiver.fail = 1

        channel.receive_sms(SENDERS[0], "text 00")
        while not self.receiver.came:
            await pause(0.02)
        channel.receive_sms(SENDERS[0], "text 01")
        channel.receive_sms(SENDERS[1], "other")
        await self.delivered(3)

        self.assertEqual(
            self.taken(),
            [(SENDERS[1], "other"), (SENDERS[0], "text 00"), (SENDERS[0], "text 01")],
        )

    async def test_program_hears_what_became_of_its_texts(self) -> None:
        """A text sent by the API is reported to the webhook; a callback into our network is not."""
        self.listen()
        api_port = free_port()
        await self.start_daemon(
            f"webhook = http://127.0.0.1:{self.http_port}/texts\nwebhook_secret = {SECRET}\n"
            f"[http]\nlisten = tcp:{api_port}:interface=127.0.0.1\n"
        )
        await self.start_box()
        assert self.daemon is not None
        asked = {"name": "shop", "person": "alice", "scopes": ["read", "send"], "lines": []}
        token = (await self.daemon.ask("POST", "/tokens", asked))["token"]
        elsewhere = Receiver(lambda: 0.0)
        tcp: Any = reactor
        port = tcp.listenTCP(0, elsewhere.site(), interface="127.0.0.1")
        self.addCleanup(port.stopListening)
        callback = f"http://127.0.0.1:{port.getHost().port}/"

        ids = []
        for more in ({}, {"dlr_callback": callback}):
            answer = await treq.post(
                f"http://127.0.0.1:{api_port}/api/v2.2/messages",
                json={"data": {"attributes": {"to": SENDERS[0], "body": "hello", **more}}},
                headers={"Authorization": f"Bearer {token}"},
                persistent=False,
            )
            self.assertEqual(answer.code, 202, await answer.text())
            ids.append((await answer.json())["data"]["id"])
        while not self.receiver.taken or self.receiver.taken[-1]["attributes"]["level"] < 2:
            await pause(0.05)
        await self.delivered(2)
        await pause(0.5)

        self.assertEqual({data["type"] for data in self.receiver.taken}, {"delivery_receipt"})
        self.assertEqual({data["id"] for data in self.receiver.taken}, {ids[0]})
        last = self.receiver.taken[-1]["attributes"]
        self.assertEqual((last["status"], last["to"]), ("delivered", [SENDERS[0]]))
        self.assertEqual(elsewhere.came, [])

    async def test_killed_while_posting(self) -> None:
        """A daemon that is killed posts again what it does not know of; its id tells repeats."""
        self.listen()
        channel = await self.start()
        assert self.daemon is not None
        for number in range(40):
            for sender in SENDERS:
                channel.receive_sms(sender, f"text {number:02d}")

        for _ in range(2):
            await pause(0.4)
            await self.daemon.kill()
            await self.daemon.start()
            await self.lines_are_up()
        await self.delivered(120)

        self.assert_in_order(40)

    async def test_sample_tells_what_came_back(self) -> None:
        """The operator's command posts a sample and says how it went, whether it listens or not."""
        await self.start()
        assert self.daemon is not None

        gone = await self.daemon.ask("POST", "/webhooks/test", {"person": "alice"})
        self.listen()
        there = await self.daemon.ask("POST", "/webhooks/test", {"person": "alice"})

        self.assertIn("cannot be reached", gone["answers"][0])
        self.assertIn("taken, status 200", there["answers"][0])
        self.assertEqual(self.receiver.taken[0]["attributes"]["body"][:14], "This is a test")
