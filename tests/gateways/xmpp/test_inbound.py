"""From users to the core: who writes what to whom, and what is said to those who cannot."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, succeed

from smsbridge.core.directory import Person
from smsbridge.core.entries import QueueQuery
from smsbridge.core.message import FromPerson, Media, Status
from smsbridge.core.records import DeliveryRecord
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.gateways.xmpp import inbound
from smsbridge.gateways.xmpp.outbound import unpack_ref
from tests.gateways.xmpp.rig import (
    ALICE,
    CONFIG,
    DIRECTORY,
    DOMAIN,
    NUMBER,
    OTHER,
    PHONE,
    GatewayTestCase,
    body_of,
    child_of,
    record,
    report_to,
)


class TextTests(GatewayTestCase):
    """Texts of persons."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def written(self) -> FromPerson:
        """Return the one text that the inbox has."""
        (message,) = self.inbox.messages
        assert isinstance(message, FromPerson)
        return message

    def test_text_goes_to_the_inbox_with_where_to_report(self) -> None:
        """Person, number, body, and what the report needs: device, id and the JID written to."""
        self.write("hello")

        text = self.written()
        self.assertEqual((text.person, text.recipients, text.body), ("alice", (NUMBER,), "hello"))
        self.assertEqual((text.line, text.group), ("", False))
        assert text.origin is not None
        self.assertEqual((text.origin.gateway, text.origin.address), ("chat", PHONE))
        self.assertEqual(unpack_ref(text.origin.ref), (NUMBER, "m1"))
        self.assertTrue(text.origin.wants_report)
        self.assertEqual(self.heard(), [])

    def test_receipt_is_wanted_only_when_asked_for(self) -> None:
        """A client that wants no tick gets none."""
        self.write(extra="")

        origin = self.written().origin
        assert origin is not None
        self.assertFalse(origin.wants_report)

    def test_repeat_is_one_text_and_hears_the_known_result(self) -> None:
        """A client that resends after a lost connection sends no second SMS."""
        self.write("hello")
        self.write("hello", sender="alice@example.org/tablet")

        self.assertEqual(len(self.inbox.messages), 1)
        self.assertEqual(self.inbox.repeated_reports, ["message-1"])

    def test_same_id_to_another_number_is_another_text(self) -> None:
        """Some clients count their ids anew for every contact."""
        self.write("hello")
        self.write("hello", to=f"{OTHER}@{DOMAIN}")
        self.write("hello", stanza_id="")
        self.write("hello", stanza_id="")

        self.assertEqual(len(self.inbox.messages), 4)

    def test_line_behind_the_number_is_used(self) -> None:
        """The JID chooses the line, for lines that are the person's own."""
        self.write(to=f"{NUMBER}%second@{DOMAIN}")

        self.assertEqual(self.written().line, "second")

    def test_line_of_somebody_else_is_as_good_as_none(self) -> None:
        """Nobody learns which lines others have."""
        answers = []
        for line in ("foreign", "missing"):
            self.write(to=f"{NUMBER}%{line}@{DOMAIN}")
            stanza_id, kind, condition, text = self.error()
            self.assertEqual((stanza_id, kind, condition), ("m1", "cancel", "item-not-found"))
            answers.append(text.replace(line, "..."))

        self.assertEqual(answers[0], answers[1])
        self.assertEqual(self.inbox.messages, [])

    def test_person_is_found_by_name(self) -> None:
        """Persons write to each other; servers fold the name to lower case."""
        self.write(to=f"bob@{DOMAIN}")

        self.assertEqual(self.written().recipients, ("Bob",))
        self.write(to=f"nobody@{DOMAIN}")
        self.assertEqual(self.error()[1:3], ("cancel", "item-not-found"))

    def test_group_is_one_text_to_all(self) -> None:
        """Numbers joined by commas are one conversation."""
        self.write(to=f"{NUMBER},{OTHER}@{DOMAIN}")

        text = self.written()
        self.assertEqual((text.recipients, text.group), ((NUMBER, OTHER), True))

    def test_group_of_separate_texts_is_explained_once(self) -> None:
        """The user knows why the answers come from each number alone."""
        line = evolve(DIRECTORY.lines["first"], groups="separate")
        self.world.directory = evolve(DIRECTORY, lines={**DIRECTORY.lines, "first": line})

        self.write(to=f"{NUMBER},{OTHER}@{DOMAIN}")
        self.write(to=f"{NUMBER},{OTHER}@{DOMAIN}", stanza_id="m2")

        (told,) = self.heard()
        self.assertEqual(told["from"], f"{NUMBER},{OTHER}@{DOMAIN}")
        self.assertIn("one by one", body_of(told))

    def test_addressees_in_the_text_are_a_group(self) -> None:
        """XEP-0033: those who see each other get one text, hidden ones their own."""
        addresses = (
            f"<address type='to' uri='sms:{OTHER}'/><address type='cc' jid='{NUMBER}@{DOMAIN}'/>"
            "<address type='bcc' uri='tel:+12025550125'/>"
            "<address type='to' uri='sms:+12025550126' delivered='true'/>"
        )
        self.write(
            to=DOMAIN,
            extra=f"<addresses xmlns='http://jabber.org/protocol/address'>{addresses}</addresses>",
        )

        together, apart = self.inbox.messages
        assert isinstance(together, FromPerson) and isinstance(apart, FromPerson)
        self.assertEqual((together.recipients, together.group), ((OTHER, NUMBER), True))
        self.assertEqual((apart.recipients, apart.group), (("+12025550125",), False))

    def test_addressee_that_cannot_be_read_refuses_the_whole(self) -> None:
        """Nobody gets a text that was meant for more."""
        for address in ("uri='sms:12+34'", "jid='bob@example.net'", "uri='sms:'"):
            self.write(
                to=DOMAIN,
                extra="<addresses xmlns='http://jabber.org/protocol/address'>"
                f"<address type='to' uri='sms:{NUMBER}'/><address type='to' {address}/>"
                "</addresses>",
            )
            self.assertEqual(self.error()[1:3], ("modify", "jid-malformed"), address)

        self.assertEqual(self.inbox.messages, [])

    def test_number_as_typed_is_sent_and_the_user_told_once(self) -> None:
        """Answers will come from another JID than the one written to."""
        self.write(to=f"2025550123@{DOMAIN}")
        self.write(to=f"2025550123@{DOMAIN}", stanza_id="m2")

        self.assertEqual([m.recipients for m in self.inbox.messages], [(NUMBER,)] * 2)
        (told,) = self.heard()
        self.assertEqual((told["from"], told["to"]), (f"2025550123@{DOMAIN}", ALICE))
        self.assertIn(f"{NUMBER}@{DOMAIN}", body_of(told))

    def test_no_number_is_refused_with_an_example(self) -> None:
        """The error says how a number is written."""
        self.write(to=f"12+34@{DOMAIN}")

        stanza_id, kind, condition, text = self.error()
        self.assertEqual((stanza_id, kind, condition), ("m1", "modify", "jid-malformed"))
        self.assertIn("+12", text)

    def test_sender_that_is_a_name_cannot_be_answered(self) -> None:
        """The user learns it at once, instead of never."""
        for local in (
            f"my\\20bank;phone-context=alpha.{DOMAIN}",
            f"anonymous;phone-context=anon.{DOMAIN}",
        ):
            self.write(to=f"{local}@{DOMAIN}")

            self.assertEqual(self.error()[1:3], ("cancel", "not-allowed"))

    def test_stranger_is_told_to_register(self) -> None:
        """Closed by default: nobody sends through a line without the configuration."""
        self.write(sender="mallory@example.org/x")

        stanza_id, kind, condition, text = self.error()
        self.assertEqual((stanza_id, kind, condition), ("m1", "auth", "registration-required"))
        self.assertIn("operator", text)
        self.gateway.update(evolve(CONFIG, registration="code"), {})
        self.write(sender="mallory@example.org/x")
        self.assertIn("register with", self.error()[3])
        self.write(sender="mallory@elsewhere.example/x")
        self.assertNotIn("register with", self.error()[3])
        self.assertEqual(self.inbox.messages, [])

    def test_nothing_of_our_own_is_answered(self) -> None:
        """Two automatic senders must not keep each other busy."""
        self.write(sender=f"{NUMBER}@{DOMAIN}")
        self.write(sender=DOMAIN)
        self.write(sender="mallory@example.org/x", extra="", to="")
        self.say(f"<message from='mallory@example.org' to='{NUMBER}@{DOMAIN}' type='error'/>")
        self.say(
            f"<message from='{PHONE}' to='{NUMBER}@{DOMAIN}' type='headline'><body>x</body>"
            "</message>"
        )

        self.assertEqual(len(self.heard()), 1)
        self.assertEqual(self.inbox.messages, [])

    def test_refusal_of_the_core_is_an_error_with_its_reason(self) -> None:
        """The text turns red at once, with the sentence."""
        self.inbox.failure = Refused("destination-not-allowed", "This line may not text that.")

        self.write("hello")

        (message,) = self.heard()
        self.assertEqual((message["type"], message["id"], message["to"]), ("error", "m1", PHONE))
        self.assertEqual(message["from"], f"{NUMBER}@{DOMAIN}")
        self.assertEqual(body_of(message), "hello")
        self.assertIn("forbidden", message.toXml())
        self.assertIn("This line may not text that.", message.toXml())

    def test_store_that_is_away_asks_to_try_later(self) -> None:
        """What was not committed is not accepted."""
        self.inbox.failure = TemporaryFailure("internal")

        self.write()

        self.assertEqual(self.error()[:3], ("m1", "wait", "resource-constraint"))

    def test_bug_behind_the_inbox_is_told_and_logged(self) -> None:
        """The user is not left without an answer."""
        self.inbox.failure = ValueError("bug")

        self.write()

        self.assertEqual(self.error()[1:3], ("cancel", "internal-server-error"))
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)

    def test_attachments_go_along_as_links(self) -> None:
        """The core decides whether the line can carry them."""
        url = "https://upload.example.org/a.jpg"
        self.write(url, extra=f"<x xmlns='jabber:x:oob'><url>{url}</url></x>")

        self.assertEqual((self.written().media, self.written().body), ((Media(url=url),), ""))

    def test_subject_stands_above_the_text(self) -> None:
        """Nothing that the user wrote is left out."""
        self.write("body", extra="<subject>About</subject>")

        self.assertEqual(self.written().body, "About\nbody")

    def test_what_cannot_be_a_text_is_refused(self) -> None:
        """Encrypted, empty, and to a chat room: the user learns what to do."""
        for xml, condition in (
            (
                "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>"
                "<body>I sent you an OMEMO message</body>",
                "not-acceptable",
            ),
            ("<body>  </body>", "policy-violation"),
            ("<body>?OTR:AAQ</body>", "not-acceptable"),
        ):
            self.say(f"<message from='{PHONE}' to='{NUMBER}@{DOMAIN}' id='m'>{xml}</message>")
            self.assertEqual(self.error()[:3], ("m", "modify", condition))
        self.say(
            f"<message from='{PHONE}' to='{NUMBER}@{DOMAIN}' id='m' type='groupchat'>"
            "<body>x</body></message>"
        )
        self.assertEqual(self.error()[2], "not-acceptable")
        self.assertEqual(self.inbox.messages, [])

    def test_what_asks_for_nothing_is_dropped_in_silence(self) -> None:
        """Typing notices, markers and reactions become neither a text nor an error."""
        for xml in (
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
            "<reactions xmlns='urn:xmpp:reactions:0' id='x'><reaction>+</reaction></reactions>",
            "<privilege xmlns='urn:xmpp:privilege:2'><perm access='roster' type='both'/>"
            "</privilege>",
        ):
            self.say(f"<message from='{PHONE}' to='{NUMBER}@{DOMAIN}' id='m'>{xml}</message>")

        self.assertEqual(self.heard(), [])
        self.assertEqual(self.inbox.messages, [])

    def test_device_name_that_is_too_long_for_the_store_is_left_out(self) -> None:
        """Reports go to the bare JID then."""
        self.write(sender=f"{ALICE}/{'x' * 800}")

        origin = self.written().origin
        assert origin is not None
        self.assertEqual(origin.address, ALICE)


class CorrectionTests(GatewayTestCase):
    """Texts that are changed or taken back after they were written."""

    def setUp(self) -> None:
        super().setUp()
        self.write("helo", stanza_id="m1")
        self.server.heard()

    def correct(self, body: str, stanza_id: str = "m2", replaced: str = "m1") -> None:
        """Correct a text."""
        extra = f"<replace xmlns='urn:xmpp:message-correct:0' id='{replaced}'/>"
        self.write(body, stanza_id=stanza_id, extra=extra)

    def retract(self, target: str = "m1") -> None:
        """Take a text back."""
        self.say(
            f"<message from='{PHONE}' to='{NUMBER}@{DOMAIN}' id='r1' type='chat'>"
            f"<retract xmlns='urn:xmpp:message-retract:1' id='{target}'/></message>"
        )

    def bodies(self) -> list[str]:
        """Return the bodies of all texts that the inbox has."""
        return [message.body for message in self.inbox.messages]

    def test_correction_of_a_waiting_text_replaces_it(self) -> None:
        """Only the right one goes out, and its predecessor is not told as a failure."""
        self.desk.deliveries.append(record("message-1", Status.QUEUED))

        self.correct("hello")

        self.assertEqual(self.desk.dropped, [("message-1.0",)])
        self.assertEqual(self.bodies(), ["helo", "hello"])
        report = report_to("r", Status.DROPPED, message_id="message-1", reason="dropped")
        delivering = self.gateway.deliver("chat/reports", [report])
        self.successResultOf(delivering)
        self.assertEqual(self.heard(), [])

    def test_correction_of_a_text_that_left_is_a_text_of_its_own(self) -> None:
        """The reader on the phone learns that it is one."""
        self.desk.deliveries.append(record("message-1", Status.SENT))

        self.correct("hello")
        self.correct("hello", "m3", "unknown")

        self.assertEqual(self.bodies(), ["helo", "Correction: hello", "Correction: hello"])
        self.assertEqual(self.desk.dropped, [])

    def test_text_of_which_a_part_has_left_is_not_replaced(self) -> None:
        """A text to several is taken back whole or not at all."""
        self.desk.deliveries += [
            record("message-1", Status.QUEUED),
            evolve(record("message-1", Status.SENT), delivery_id="message-1.1"),
        ]

        self.correct("hello")

        self.assertEqual(self.desk.dropped, [])
        self.assertEqual(self.bodies()[-1], "Correction: hello")

    def test_correction_that_changes_nothing_is_nothing(self) -> None:
        """A second SMS with the same words helps nobody."""
        self.correct("helo")

        self.assertEqual(self.bodies(), ["helo"])

    def test_second_correction_names_the_first_text(self) -> None:
        """Clients always refer to the text that was corrected first."""
        self.desk.deliveries.append(record("message-1", Status.QUEUED))
        self.correct("hello")
        self.desk.deliveries[:] = [record("message-2", Status.QUEUED)]

        self.correct("hello there", "m3")

        self.assertEqual(self.desk.dropped, [("message-1.0",), ("message-2.0",)])

    def test_refused_correction_tells_that_both_are_gone(self) -> None:
        """The text that was replaced does not go out, and the user must know."""
        self.desk.deliveries.append(record("message-1", Status.QUEUED))
        self.inbox.failure = Refused("too-long")

        self.correct("hello")

        self.assertEqual([message["id"] for message in self.heard()], ["m2", "m1"])

    def test_waiting_text_is_taken_back(self) -> None:
        """What has not left does not go."""
        self.desk.deliveries.append(record("message-1", Status.QUEUED))

        self.retract()

        self.assertEqual(self.desk.dropped, [("message-1.0",)])
        self.assertEqual(self.heard(), [])

    def test_text_that_left_cannot_be_taken_back(self) -> None:
        """The user learns it, also without a desk and for a text that nobody knows."""
        self.desk.deliveries.append(record("message-1", Status.SENDING))
        self.retract()
        self.assertEqual(self.error()[:3], ("r1", "modify", "not-acceptable"))
        self.retract("unknown")
        self.assertEqual(self.error()[:3], ("r1", "modify", "not-acceptable"))
        self.world.desk = None
        self.retract()
        self.assertEqual(self.error()[:3], ("r1", "modify", "not-acceptable"))

    def test_text_that_left_in_between_is_not_taken_back(self) -> None:
        """The queue's answer counts, not the look at it before."""

        def late(delivery_ids: tuple[str, ...]) -> Deferred[int]:
            return succeed(0)

        self.desk.deliveries.append(record("message-1", Status.QUEUED))
        self.desk.drop = late  # type: ignore[method-assign]

        self.retract()

        self.assertEqual(self.error()[:3], ("r1", "modify", "not-acceptable"))
        self.assertNotIn("message-1", self.gateway.outbound.withdrawn)

    def test_correction_while_the_store_is_away_is_told(self) -> None:
        """The correction is not lost in silence."""
        self.desk.failure = TemporaryFailure("internal")

        self.correct("hello")

        self.assertEqual(self.error()[:3], ("m2", "wait", "resource-constraint"))
        self.assertEqual(self.bodies(), ["helo"])

    def test_fault_of_the_desk_is_logged_and_told(self) -> None:
        """The stream goes on, and nobody waits for an answer."""

        def broken(query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
            raise ValueError("bug")

        self.desk.waiting = broken  # type: ignore[method-assign]

        self.retract()

        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
        self.assertEqual(self.error()[:3], ("r1", "cancel", "internal-server-error"))


class EchoBot:
    """Answers with what it was asked."""

    def __init__(self) -> None:
        self.asked: list[tuple[str, str, str, str, str]] = []

    def answer(
        self, person: Person, bare_jid: str, full_jid: str, text: str, line: str
    ) -> Deferred[str]:
        """See `hooks.BotHook.answer`."""
        self.asked.append((person.label, bare_jid, full_jid, text, line))
        return succeed(f"you said {text}" if text != "hush" else "")


class CommandTests(GatewayTestCase):
    """Texts to the bridge itself."""

    def setUp(self) -> None:
        super().setUp()
        self.bot = EchoBot()
        self.gateway.attend(self.bot, None)
        self.server.heard()

    def test_text_to_the_gateway_is_answered_there(self) -> None:
        """The bridge's own JID takes commands."""
        self.write("help", to=DOMAIN)

        tick, answer = self.heard()
        self.assertEqual(self.bot.asked, [("alice", ALICE, PHONE, "help", "")])
        self.assertIsNotNone(child_of(tick, "received"))
        self.assertEqual((answer["from"], answer["to"]), (DOMAIN, ALICE))
        self.assertEqual(body_of(answer), "you said help")

    def test_text_to_an_own_number_is_a_command_on_that_line(self) -> None:
        """A USSD code is typed into the chat with the own number."""
        self.write("*100#", to=f"+12025550101@{DOMAIN}", extra="")

        (answer,) = self.heard()
        self.assertEqual(self.bot.asked[0][3:], ("*100#", "second"))
        self.assertEqual(answer["from"], f"+12025550101@{DOMAIN}")

    def test_own_number_is_a_number_where_the_operator_wants_that(self) -> None:
        """The habit can be switched off."""
        self.gateway.update(evolve(CONFIG, own_number_commands=False), {})

        self.write(to=f"+12025550100@{DOMAIN}")

        self.assertEqual(self.bot.asked, [])
        self.assertEqual(len(self.inbox.messages), 1)

    def test_number_of_somebody_elses_line_is_a_number(self) -> None:
        """Commands are for own lines; others are texted."""
        self.write(to=f"+12025550102@{DOMAIN}")

        self.assertEqual(self.bot.asked, [])
        self.assertEqual(len(self.inbox.messages), 1)

    def test_repeated_text_runs_a_command_once(self) -> None:
        """A client that resends must not send a USSD code twice."""
        self.write("*100#", to=DOMAIN)
        self.write("*100#", to=DOMAIN)

        self.assertEqual(len(self.bot.asked), 1)

    def test_bot_may_have_nothing_to_say(self) -> None:
        """An empty answer is none."""
        self.write("hush", to=DOMAIN, extra="")

        self.assertEqual(self.heard(), [])

    def test_without_a_bot_the_user_learns_where_to_write(self) -> None:
        """A text to nobody is an error."""
        self.gateway.attend(None, None)

        self.write(to=DOMAIN)

        self.assertEqual(self.error()[1:3], ("cancel", "item-not-found"))


class BoundsTests(GatewayTestCase):
    """How much may be under way."""

    def setUp(self) -> None:
        super().setUp()
        self.inbox.held = True
        self.server.heard()

    def flood(self, count: int, start: int = 0) -> None:
        """Write many texts."""
        for number in range(start, start + count):
            self.write(stanza_id=f"m{number}", extra="")

    def test_stream_is_not_read_while_much_is_under_way(self) -> None:
        """The server keeps what we cannot take, and gives it when we can."""
        self.flood(inbound._MANY_PENDING)
        self.assertEqual(self.server.transport.producerState, "paused")

        self.inbox.commit()

        self.assertEqual(self.server.transport.producerState, "producing")
        self.assertEqual(self.gateway.inbound.pending, 0)
        self.clock.advance(10)

    def test_stream_is_read_again_after_a_while_in_any_case(self) -> None:
        """The answers to our fences come on the same stream."""
        self.flood(inbound._MANY_PENDING)

        self.clock.advance(5)

        self.assertEqual(self.server.transport.producerState, "producing")
        self.flood(1, inbound._MANY_PENDING)
        self.assertEqual(self.server.transport.producerState, "paused")

    def test_far_too_much_is_sent_back(self) -> None:
        """Memory is bounded even when the store takes nothing for long."""
        self.flood(2 * inbound._MANY_PENDING)
        self.server.heard()

        self.flood(1, 2 * inbound._MANY_PENDING)

        self.assertEqual(self.error()[1:3], ("wait", "resource-constraint"))

    def test_new_link_is_read(self) -> None:
        """A pause ends with the connection that it was for."""
        self.flood(inbound._MANY_PENDING)
        self.server.transport.lose()
        self.clock.advance(1)
        self.server.accepts()

        self.inbox.commit()

        self.assertEqual(self.gateway.inbound.pending, 0)
        self.assertEqual(self.server.transport.producerState, "producing")
