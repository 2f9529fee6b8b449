"""From the core to users: what the stanzas say, and what became of them."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred

from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Line, Person
from smsbridge.core.message import Direction, Kind, Media, NotTried, Sent, Status
from smsbridge.errors import PermanentFailure, TemporaryFailure
from smsbridge.gateways.xmpp import stanzas
from smsbridge.gateways.xmpp.outbound import pack_ref, unpack_ref
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
    report_to,
    text_to,
)
from tests.gateways.xmpp.test_stream import STREAM_ERROR


class MessageTests(GatewayTestCase):
    """Texts of the phone network and of persons, as stanzas."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def test_text_comes_from_the_number_to_the_bare_jid(self) -> None:
        """Every device of the user and the archive get it, and it asks for a receipt."""
        outcomes, (message,) = self.deliver(text_to("t", "hello <you>"))

        self.assertEqual(outcomes, [Sent()])
        self.assertEqual((message["from"], message["to"]), (f"{NUMBER}@{DOMAIN}", ALICE))
        self.assertEqual(message["type"], "chat")
        self.assertEqual(body_of(message), "hello <you>")
        self.assertIsNotNone(child_of(message, "request"))
        self.assertIsNone(child_of(message, "delay"))

    def test_repeat_has_the_same_id(self) -> None:
        """What is sent again after a broken link can be recognized as the same text."""
        _, (first,) = self.deliver(text_to("t"))
        _, (second,) = self.deliver(text_to("t", attempts=2))
        _, (other,) = self.deliver(text_to("u"))

        self.assertEqual(first["id"], second["id"])
        self.assertNotEqual(first["id"], other["id"])
        self.assertTrue(first["id"].startswith("t.0."))

    def test_line_that_is_not_the_default_stands_in_the_jid(self) -> None:
        """An answer to it goes out on the line on which the text came in."""
        _, (message,) = self.deliver(text_to("t", line="second"))

        self.assertEqual(message["from"], f"{NUMBER}%second@{DOMAIN}")

    def test_text_of_a_person_comes_from_the_person(self) -> None:
        """Persons write to each other under their names."""
        delivery = text_to(
            "t", author="Bob", sender="Bob", direction=Direction.INTERNAL, line="", recipients=()
        )

        _, (message,) = self.deliver(delivery)

        self.assertEqual(message["from"], f"bob@{DOMAIN}")

    def test_text_of_the_operator_comes_from_the_bridge(self) -> None:
        """What no person wrote and no network sent is the bridge's own."""
        delivery = text_to("t", direction=Direction.INTERNAL, sender="", line="", recipients=())

        _, (message,) = self.deliver(delivery)

        self.assertEqual(message["from"], DOMAIN)

    def test_old_text_tells_when_it_came(self) -> None:
        """What waited more than a minute carries the time at which it was accepted."""
        self.clock.advance(100)

        _, (message,) = self.deliver(text_to("t", created_at_ms=10_000))

        delay = child_of(message, "delay")
        assert delay is not None
        self.assertEqual(delay["stamp"], "1970-01-01T00:00:10Z")

    def test_name_as_sender_keeps_its_spelling_as_nick(self) -> None:
        """The JID is in lower case, the user still reads the name as it was sent."""
        _, (message,) = self.deliver(text_to("t", sender="My Bank"))

        self.assertEqual(message["from"], f"my\\20bank;phone-context=alpha.{DOMAIN}@{DOMAIN}")
        self.assertEqual(str(child_of(message, "nick")), "My Bank")

    def test_name_from_the_contacts_is_the_nick(self) -> None:
        """Alice reads how she calls the number; Bob does not."""
        self.world.book.put("alice", PersonalBook(names={NUMBER: "Ann"}))

        _, (to_alice,) = self.deliver(text_to("t"))
        _, (to_bob,) = self.deliver(text_to("u", person="Bob", destination="bob@example.org"))

        self.assertEqual(str(child_of(to_alice, "nick")), "Ann")
        self.assertIsNone(child_of(to_bob, "nick"))

    def test_group_text_comes_from_all_parties_and_names_its_author(self) -> None:
        """An answer goes to everybody, and the reader sees who spoke."""
        delivery = text_to("t", recipients=("+12025550100", OTHER))
        for style, body in (
            ("name", f"{NUMBER}: hello"),
            ("uri", f"<xmpp:{NUMBER}@{DOMAIN}> hello"),
            ("none", "hello"),
        ):
            self.assertTrue(self.gateway.update(evolve(CONFIG, group_author=style), {}))

            _, (message,) = self.deliver(delivery)

            self.assertEqual(message["from"], f"{NUMBER},{OTHER}@{DOMAIN}")
            self.assertEqual(body_of(message), body)

    def test_very_long_text_comes_in_pieces_that_a_server_takes(self) -> None:
        """No stanza is larger than what servers take, and nothing of the text is missing."""
        body = "&" * 30_000

        outcomes, messages = self.deliver(text_to("t", body))

        self.assertEqual(outcomes, [Sent()])
        self.assertGreater(len(messages), 1)
        self.assertEqual("".join(body_of(m) for m in messages), body)
        self.assertEqual(len({m["id"] for m in messages}), len(messages))

    def test_file_comes_as_its_link_and_nothing_else(self) -> None:
        """Clients show a picture only where the body is the link; the words come after it."""
        url = "https://media.example/a.jpg"

        _, messages = self.deliver(text_to("t", "look", media=(Media(url=url),)))

        self.assertEqual([body_of(m) for m in messages], [url, "look"])
        self.assertIsNotNone(child_of(messages[0], "x"))

    def test_control_characters_do_not_reach_the_stream(self) -> None:
        """One bell in a text must not end the stream for everybody."""
        _, (message,) = self.deliver(text_to("t", "ding\x07"))

        self.assertEqual(body_of(message), "ding\ufffd")

    def test_text_that_cannot_be_written_holds_up_no_other(self) -> None:
        """A fault in one delivery is that delivery's own."""
        broken = text_to("t", created_at_ms=-(10**18))

        outcomes, messages = self.deliver(broken, text_to("u"))

        self.assertIsInstance(outcomes[0], PermanentFailure)
        self.assertEqual(outcomes[1], Sent())
        self.assertEqual(len(messages), 1)
        self.assertEqual(len(self.flushLoggedErrors()), 1)

    def test_answers_carry_the_thread_that_the_user_began(self) -> None:
        """Clients that show threads keep the answer in the right one."""
        self.write(extra="<thread>t-1</thread>")

        _, (message,) = self.deliver(text_to("t"))

        self.assertEqual(str(child_of(message, "thread")), "t-1")


class NoticeTests(GatewayTestCase):
    """Sentences of the bridge."""

    def test_notice_of_a_line_comes_from_its_number(self) -> None:
        """What the network says on USSD stands where the codes were typed."""
        self.server.heard()
        notice = text_to("n", "[USSD] 5.00", kind=Kind.NOTICE, message_id="")

        _, (message,) = self.deliver(notice)
        _, (without_line,) = self.deliver(evolve(notice, line=""))

        self.assertEqual(message["from"], f"+12025550100@{DOMAIN}")
        self.assertIsNone(child_of(message, "request"))
        self.assertEqual(without_line["from"], DOMAIN)


class ReportTests(GatewayTestCase):
    """What became of a user's text."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def come_online(self) -> None:
        """Let Alice's phone be there."""
        self.say(f"<presence from='{PHONE}' to='{DOMAIN}'/>")

    def test_delivered_is_the_second_tick(self) -> None:
        """The receipt names the text and comes from whom it was written to, to every device."""
        for status in (Status.DELIVERED, Status.SENT):
            _, (message,) = self.deliver(report_to("r", status))

            received = child_of(message, "received")
            assert received is not None
            self.assertEqual(received["id"], "m1")
            self.assertEqual((message["from"], message["to"]), (f"{NUMBER}@{DOMAIN}", ALICE))

    def test_line_may_give_no_receipts(self) -> None:
        """Where the operator set 'receipts = never', there is no tick at all."""
        line = Line(label="first", gateway="box", number="+12025550100", receipts="never")
        self.world.directory = evolve(DIRECTORY, lines={"first": line})

        delivering = self.gateway.deliver("chat/reports", [report_to("r", Status.DELIVERED)])

        self.assertEqual(self.successResultOf(delivering), [Sent()])
        self.assertEqual(self.heard(), [])

    def test_failure_is_an_error_to_the_device_that_wrote(self) -> None:
        """The text turns red there, with the reason."""
        self.come_online()
        report = report_to("r", Status.FAILED, reason="unknown-subscriber", body="No such number.")

        _, (message,) = self.deliver(report)

        self.assertEqual((message["type"], message["id"], message["to"]), ("error", "m1", PHONE))
        self.assertEqual(message["from"], f"{NUMBER}@{DOMAIN}")
        bounce = stanzas.decode_bounce(message)
        self.assertEqual(
            (bounce.type, bounce.condition, bounce.text),
            ("cancel", "item-not-found", "No such number."),
        )

    def test_failure_for_an_absent_user_is_a_sentence(self) -> None:
        """Servers keep no errors for later, but they keep texts."""
        self.come_online()
        self.say(f"<presence from='{PHONE}' to='{DOMAIN}' type='unavailable'/>")

        for status in (Status.FAILED, Status.EXPIRED, Status.DROPPED):
            _, (message,) = self.deliver(report_to("r", status, reason="blocked", body="Blocked."))

            self.assertEqual((message["type"], message["to"]), ("chat", ALICE))
            self.assertEqual(body_of(message), "[Not delivered] Blocked.")

    def test_device_of_which_nothing_is_known_is_asked(self) -> None:
        """A user without the gateway in the contacts is told in the right way as well."""
        for answer, kind in (("result", "error"), ("error", "chat")):
            delivering = self.gateway.deliver("chat/reports", [report_to("r", Status.FAILED)])
            (ping,) = self.heard()
            self.assertEqual(ping["to"], PHONE)
            self.say(
                f"<iq type='{answer}' from='{PHONE}' to='{DOMAIN}' id='{ping['id']}'>"
                + (
                    "<error type='cancel'><service-unavailable "
                    "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>"
                    if answer == "error"
                    else ""
                )
                + "</iq>"
            )

            (message,) = self.confirm()

            self.assertEqual(self.successResultOf(delivering), [Sent()])
            self.assertEqual(message["type"], kind)
            self.clock.advance(61)
            self.server.heard()

    def test_device_that_knows_no_ping_is_there_all_the_same(self) -> None:
        """It answered, after all; one behind a broken link did not."""
        report = report_to("r", Status.FAILED, reason="blocked")
        delivering = self.gateway.deliver("chat/reports", [report])
        (ping,) = self.heard()
        self.say(
            f"<iq type='error' from='{PHONE}' to='{DOMAIN}' id='{ping['id']}'><error "
            "type='cancel'><feature-not-implemented "
            "xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error></iq>"
        )
        (message,) = self.confirm()
        self.assertEqual(message["type"], "error")
        self.successResultOf(delivering)

        delivering = self.gateway.deliver("chat/reports", [report])
        self.server.transport.lose()
        (outcome,) = self.successResultOf(delivering)
        self.assertIsInstance(outcome, TemporaryFailure)

    def test_who_wrote_just_now_is_not_asked(self) -> None:
        """The usual refusal comes at once."""
        self.write()

        _, (message,) = self.deliver(report_to("r", Status.FAILED, reason="blocked"))

        self.assertEqual(message["type"], "error")

    def test_unknown_outcome_is_a_sentence_and_never_an_error(self) -> None:
        """Neither tick nor red mark: both would be a lie."""
        self.come_online()
        report = report_to("r", Status.UNCERTAIN, reason="outcome-unknown")

        _, (message,) = self.deliver(report)

        self.assertEqual(message["type"], "chat")
        self.assertIn("[Uncertain] It may not have been sent", body_of(message))

    def test_text_that_waits_is_told_with_the_reason(self) -> None:
        """The user knows why there is no tick yet."""
        report = report_to("r", Status.QUEUED, reason="line-down", body="No network.")

        _, (message,) = self.deliver(report)

        self.assertEqual(body_of(message), "[Waiting] Your text waits to be sent. No network.")
        self.assertEqual(message["from"], f"{NUMBER}@{DOMAIN}")

    def test_jid_as_written_gets_the_report(self) -> None:
        """A client finds its text by the JID it wrote to, however that was spelled."""
        report = report_to("r", Status.DELIVERED, ref="2025550123/m/1")

        _, (message,) = self.deliver(report)

        self.assertEqual(message["from"], f"2025550123@{DOMAIN}")
        received = child_of(message, "received")
        assert received is not None
        self.assertEqual(received["id"], "m/1")

    def test_jid_is_made_from_the_message_where_it_was_not_kept(self) -> None:
        """A reference that was too long for the store still leads to the right chat."""
        bob = Person(label="Bob", xmpp=("bob@example.org",))
        directory = evolve(DIRECTORY, persons={**DIRECTORY.persons, "Bob": bob})
        self.world.directory = directory
        for more, sender in (
            ({}, f"{NUMBER}@{DOMAIN}"),
            ({"line": "second", "person": "alice"}, f"{NUMBER}%second@{DOMAIN}"),
            ({"recipients": (NUMBER, OTHER)}, f"{NUMBER},{OTHER}@{DOMAIN}"),
            ({"recipients": ("Bob",)}, f"bob@{DOMAIN}"),
            ({"recipients": ()}, DOMAIN),
        ):
            _, (message,) = self.deliver(report_to("r", Status.QUEUED, ref="/m1", **more))

            self.assertEqual(message["from"], sender)


class RefTests(GatewayTestCase):
    """What a report brings back."""

    def test_ref_keeps_jid_and_id(self) -> None:
        """Both come out as they went in."""
        for local, stanza_id in ((NUMBER, "m1"), ("bob", "a/b c"), ("", "m1"), (NUMBER, "")):
            jid = f"{local}@{DOMAIN}" if local else DOMAIN

            self.assertEqual(unpack_ref(pack_ref(jid, stanza_id)), (local, stanza_id))

    def test_ref_fits_the_store(self) -> None:
        """What is too long is left out, and the rest still means the same."""
        group = ",".join(f"+1202555{n:04}" for n in range(40))

        self.assertEqual(unpack_ref(pack_ref(f"{group}@{DOMAIN}", "m1")), ("", "m1"))
        self.assertEqual(unpack_ref(pack_ref(f"{NUMBER}@{DOMAIN}", "x" * 390)), ("", "x" * 390))
        self.assertEqual(unpack_ref(pack_ref(f"{NUMBER}@{DOMAIN}", "x" * 400)), ("", ""))
        self.assertEqual(unpack_ref("bare"), ("", "bare"))


class EvidenceTests(GatewayTestCase):
    """What users' clients and servers say about our stanzas."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def sent_id(self, **more: object) -> str:
        """Deliver a text and return its stanza's id."""
        _, (message, *_) = self.deliver(text_to("t", **more))
        return str(message["id"])

    def receive(self, stanza_id: str, sender: str = PHONE) -> None:
        """Let a client send a receipt."""
        self.say(
            f"<message from='{sender}' to='{NUMBER}@{DOMAIN}' id='x'>"
            f"<received xmlns='urn:xmpp:receipts' id='{stanza_id}'/></message>"
        )

    def bounce(self, stanza_id: str, kind: str, condition: str, sender: str = ALICE) -> None:
        """Let a server send a text back."""
        self.say(
            f"<message from='{sender}' to='{NUMBER}@{DOMAIN}' id='{stanza_id}' type='error'>"
            f"<error type='{kind}'><{condition} xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
            f"</error></message>"
        )

    def test_receipt_is_the_proof_of_delivery(self) -> None:
        """The core learns that the text is on the user's device."""
        self.receive(self.sent_id())

        (report,) = self.inbox.reports
        self.assertEqual(
            (report.gateway, report.delivery_id, report.status), ("chat", "t.0", Status.DELIVERED)
        )

    def test_nobody_settles_what_was_sent_to_somebody_else(self) -> None:
        """A receipt or error counts only from the user to whom the text went."""
        stanza_id = self.sent_id()

        self.receive(stanza_id, "bob@example.org/phone")
        self.receive("t.0.000000000000")
        self.receive("t.0.é")
        self.receive("t.0")
        self.receive(stanza_id.replace("t.0", "t.1"))
        self.bounce(stanza_id, "cancel", "service-unavailable", "mallory@example.net")

        self.assertEqual(self.inbox.reports, [])

    def test_receipt_before_the_fence_needs_no_report(self) -> None:
        """A fast client saves a transaction: the attempt ends as delivered at once."""
        delivering = self.gateway.deliver("chat", [text_to("t"), text_to("u")])
        (message, _, _) = messages = parse_fenced(self)
        self.receive(message["id"])
        self.server.says(messages[-1])

        self.assertEqual(self.successResultOf(delivering), [Sent(delivered=True), Sent()])
        self.assertEqual(self.inbox.reports, [])

    def test_bounce_before_the_fence_is_the_outcome(self) -> None:
        """What the server refuses at once is not called sent."""
        for kind, condition, outcome in (
            ("cancel", "service-unavailable", PermanentFailure),
            ("wait", "resource-constraint", TemporaryFailure),
        ):
            delivering = self.gateway.deliver("chat", [text_to("t")])
            message, fence = parse_fenced(self)
            self.bounce(message["id"], kind, condition)
            self.server.says(fence)

            (found,) = self.successResultOf(delivering)
            self.assertIsInstance(found, outcome)

    def test_later_bounce_is_reported_by_its_kind(self) -> None:
        """What may pass later is queued again, the rest has failed."""
        stanza_id = self.sent_id()

        self.bounce(stanza_id, "wait", "resource-constraint")
        self.bounce(stanza_id, "cancel", "remote-server-not-found")
        self.bounce(stanza_id, "cancel", "service-unavailable")

        self.assertEqual(
            [report.status for report in self.inbox.reports],
            [Status.QUEUED, Status.QUEUED, Status.FAILED],
        )
        self.assertEqual({report.delivery_id for report in self.inbox.reports}, {"t.0"})

    def test_part_of_a_long_text_proves_nothing_but_its_bounce_does(self) -> None:
        """A text is delivered when its first part is, and has failed when any part has."""
        self.deliver(text_to("t", "&" * 30_000))
        stanza_id = self.gateway.outbound.stanza_id("t.0", ALICE)

        self.receive(f"{stanza_id}~2")
        self.assertEqual(self.inbox.reports, [])
        self.bounce(f"{stanza_id}~2", "cancel", "service-unavailable")

        (report,) = self.inbox.reports
        self.assertEqual(report.status, Status.FAILED)

    def test_report_that_cannot_be_stored_is_no_bug(self) -> None:
        """While the store is away a receipt is lost, the stream goes on."""
        stanza_id = self.sent_id()
        self.inbox.failure = TemporaryFailure("internal")

        self.receive(stanza_id)

        self.assertEqual(self.flushLoggedErrors(), [])


class LinkTests(GatewayTestCase):
    """What happens to a batch when the link breaks."""

    def begin(self, *names: str) -> Deferred[object]:
        """Hand a batch to the server, which has not answered yet."""
        return self.gateway.deliver("chat", [text_to(name) for name in names])

    def reject(self) -> None:
        """Let the server end the stream because of a stanza, and come back."""
        self.server.says(STREAM_ERROR.format("invalid-from"))
        self.server.transport.lose()
        connections = len(self.server.transports)
        while len(self.server.transports) == connections:
            self.clock.advance(1)
        self.server.accepts()

    def test_broken_link_leaves_all_to_be_sent_again(self) -> None:
        """Nobody knows what the server took, so all of it is repeated with the same ids."""
        delivering = self.begin("t", "u")

        self.server.transport.lose()

        for outcome in self.successResultOf(delivering):
            self.assertIsInstance(outcome, TemporaryFailure)
            self.assertEqual(outcome.reason, "peer-down")

    def test_nothing_is_sent_without_a_link(self) -> None:
        """A batch for a server that is away stays queued."""
        self.server.transport.lose()

        (outcome,) = self.successResultOf(self.begin("t"))

        self.assertIsInstance(outcome, TemporaryFailure)

    def test_large_batch_is_handed_over_in_steps(self) -> None:
        """What a broken link may lose is bounded: the next part waits for the fence."""
        self.server.heard()
        batch = [text_to(f"t{n}", "x" * 1000) for n in range(500)]

        delivering = self.gateway.deliver("chat", batch)
        first = self.confirm()
        self.assertNoResult(delivering)
        second = self.confirm()
        third = self.confirm()

        self.assertEqual(len(first) + len(second) + len(third), 500)
        self.assertEqual(self.successResultOf(delivering), [Sent()] * 500)

    def test_part_that_was_fenced_is_sent_when_a_later_part_is_lost(self) -> None:
        """Only what is in doubt is repeated."""
        self.server.heard()
        batch = [text_to(f"t{n}", "x" * 1000) for n in range(500)]
        delivering = self.gateway.deliver("chat", batch)
        first = self.confirm()

        self.server.transport.lose()

        outcomes = self.successResultOf(delivering)
        self.assertEqual(outcomes[: len(first)], [Sent()] * len(first))
        self.assertTrue(all(isinstance(o, TemporaryFailure) for o in outcomes[len(first) :]))

    def test_stanza_that_ends_the_stream_is_found_and_given_up(self) -> None:
        """One bad text does not keep the others from passing, nor the stream from living."""
        self.server.heard()
        delivering = self.begin("a", "bad", "c")
        self.reject()
        self.assertTrue(
            all(isinstance(o, TemporaryFailure) for o in self.successResultOf(delivering))
        )
        for _ in range(2):
            delivering = self.begin("a", "bad", "c")
            (message,) = [m for m in self.confirm() if m.name == "message"]
            self.assertTrue(message["id"].startswith("a.0"))
            self.reject()
            outcomes = self.successResultOf(delivering)
            self.assertEqual(outcomes[0], Sent())

        self.assertIsInstance(outcomes[1], PermanentFailure)
        self.assertEqual(outcomes[1].reason, "internal")
        self.assertIsInstance(outcomes[2], TemporaryFailure)
        delivering = self.begin("c", "d")
        self.server.answers_ping()
        self.server.answers_ping()
        self.assertEqual(self.successResultOf(delivering), [Sent(), Sent()])

    def test_batch_that_takes_too_long_leaves_the_rest_untried(self) -> None:
        """What has not left goes back to the queue, before the attempt counts as lost."""
        self.server.heard()
        batch = [text_to(f"t{n}", "x" * 1000) for n in range(500)]
        delivering = self.gateway.deliver("chat", batch)
        for _ in range(2):
            self.clock.advance(25)
            self.confirm()

        outcomes = self.successResultOf(delivering)

        self.assertEqual(outcomes[0], Sent())
        self.assertEqual(outcomes[-1], NotTried())

    def test_full_window_leaves_it_queued(self) -> None:
        """No more is under way at once than the window holds."""
        waiting = [
            self.gateway.deliver("chat", [text_to(f"{lane}{n}", "x" * 900) for n in range(180)])
            for lane in range(6)
        ]

        (outcome, *_) = self.successResultOf(waiting[-1])
        self.assertIsInstance(outcome, TemporaryFailure)
        self.assertNoResult(waiting[0])

    def test_first_end_of_the_stream_convicts_nobody(self) -> None:
        """A text that was alone on its way when something else was bad gets another chance."""
        delivering = self.begin("t")
        self.reject()

        (outcome,) = self.successResultOf(delivering)
        self.assertIsInstance(outcome, TemporaryFailure)
        delivering = self.begin("t")
        self.server.answers_ping()
        self.assertEqual(self.successResultOf(delivering), [Sent()])


def parse_fenced(case: GatewayTestCase) -> list[object]:
    """Return the stanzas of a batch, and last the answer to its fence, not yet given."""
    *messages, ping = case.heard()
    answer = f"<iq type='result' from='example.org' to='{DOMAIN}' id='{ping['id']}'/>"
    return [*messages, answer]
