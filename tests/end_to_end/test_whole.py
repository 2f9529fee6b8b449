"""The whole way: a person in a chat client, Prosody, the daemon, a simulated box, and back."""

from __future__ import annotations

from smsbridge.gateways.goip.simulator import Span
from tests.end_to_end.test_durability import SENDER, PersonSetting, pause
from tests.end_to_end.xmpp_client import body_of, error_of

CONTACT = f"{SENDER}@sms.example.org"


class ConversationTests(PersonSetting):
    """Alice texts with her phone friends."""

    lines = ("one", "two")

    async def test_there_and_back(self) -> None:
        """A chat message goes out, its receipt comes with the network's report; an answer too."""
        daemon = await self.start_daemon("xmpp = alice@example.org\n")
        box = await self.start_box(delivery_report=Span(1.0))

        stanza_id = self.client.say(CONTACT, "hello; a:b\nline 2 \U0001f600")
        while not box.box.journal.radiated:
            await pause(0.05)
        early = list(self.client.receipts)
        receipt = await self.client.wait_for_receipt(stanza_id)
        box.box.line("one").receive_sms(SENDER, "hi; back")
        answer = await self.client.wait_for_body("hi; back")

        (radiated,) = box.box.journal.radiated
        self.assertEqual((radiated.num, radiated.text), (SENDER, "hello; a:b\nline 2 \U0001f600"))
        self.assertEqual(early, [], "a receipt before the network's report is a lie")
        self.assertEqual(receipt["from"].partition("/")[0], CONTACT)
        self.assertEqual(answer["from"].partition("/")[0], CONTACT)
        messages = await daemon.listing("/messages")
        self.assertEqual(messages[0]["deliveries"][0]["status"], "delivered")

    async def test_another_line_is_another_contact(self) -> None:
        """What arrives on the second line comes from %LINE, and an answer to it leaves there."""
        await self.start_daemon("xmpp = alice@example.org\n")
        box = await self.start_box()

        box.box.line("two").receive_sms(SENDER, "to the second")
        came = await self.client.wait_for_body("to the second")
        self.client.say(came["from"], "from the second")
        while not box.box.journal.radiated:
            await pause(0.05)

        self.assertEqual(came["from"].partition("/")[0], f"{SENDER}%two@sms.example.org")
        self.assertEqual(box.box.journal.radiated[0].line, "two")

    async def test_failures_are_tied_to_the_message(self) -> None:
        """A refusal at the door and one of the network come as errors with the message's id."""
        await self.start_daemon("xmpp = alice@example.org\n")
        box = await self.start_box()
        assert self.daemon is not None
        text = self.daemon.config.read_text()
        self.daemon.config.write_text(text.replace("[line:one]", "[line:one]\nallow = ^\\+1202"))
        await self.daemon.ask("POST", "/reload")
        box.box.line("one").refuse_sends(SENDER, 30, 1)

        at_the_door = self.client.say("+13035550123@sms.example.org", "not allowed")
        of_the_network = self.client.say(CONTACT, "nobody there")
        errors = [await self.client.wait_for_error(each) for each in (at_the_door, of_the_network)]

        self.assertEqual(
            [error_of(error)[:2] for error in errors],
            [("auth", "forbidden"), ("cancel", "item-not-found")],
        )
        self.assertEqual([body_of(e) for e in errors], ["not allowed", "nobody there"])

    async def test_a_stranger_is_refused(self) -> None:
        """Who is not in the configuration sends nothing."""
        await self.start_daemon("xmpp = bob@example.org\n")
        box = await self.start_box()

        error = await self.client.wait_for_error(self.client.say(CONTACT, "let me in"))

        self.assertEqual(error_of(error)[:2], ("auth", "registration-required"))
        self.assertEqual(list(box.box.journal.radiated), [])

    async def test_a_waiting_text_is_told_and_leaves_later(self) -> None:
        """With the box away the sender hears that the text waits, and it goes out in the end."""
        await self.start_daemon("xmpp = alice@example.org\n", "notify_after = 1s\n")

        stanza_id = self.client.say(CONTACT, "patience")
        note = await self.client.wait_for(
            lambda e: e.name == "message" and "wait" in body_of(e).lower(), 40
        )
        await self.start_box()
        await self.client.wait_for_receipt(stanza_id)

        self.assertEqual(note["from"].partition("/")[0], CONTACT)
        self.assertIn("patience", body_of(note))

    async def test_status_by_chat_and_by_the_own_number(self) -> None:
        """The gateway and the person's own number take commands."""
        await self.start_daemon("xmpp = alice@example.org\n")
        await self.start_box()

        self.client.say("sms.example.org", "status")
        await self.client.wait_for(lambda e: e.name == "message" and "one" in body_of(e))
        self.client.say("+12025550100@sms.example.org", "*100#")
        answer = await self.client.wait_for(
            lambda e: e.name == "message" and "[USSD]" in body_of(e)
        )

        self.assertIn("balance", body_of(answer))
