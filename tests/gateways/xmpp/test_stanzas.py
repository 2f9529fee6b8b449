"""The stanzas that the gateway writes and reads."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from smsbridge.gateways.xmpp import stanzas
from smsbridge.gateways.xmpp.conditions import BY_REASON, Condition
from smsbridge.gateways.xmpp.stanzas import (
    Addressee,
    Attachment,
    ErrorBounce,
    Event,
    Ignored,
    Privileges,
    Reaction,
    Receipt,
    Refused,
    Retraction,
    Text,
    decode_message,
)

NUMBER = "+12025550123@sms.example.org"
ALICE = "alice@example.org"
PHONE = "alice@example.org/phone"
#: With control characters and lone surrogates.
ANY_TEXT = st.text(st.characters())
URL = "https://upload.example.org/a.jpg"


def parse(xml: str) -> domish.Element:
    """Read one stanza as a component's stream would."""
    found: list[domish.Element] = []
    stream = domish.elementStream()
    stream.DocumentStartEvent = lambda root: None
    stream.ElementEvent = found.append
    stream.DocumentEndEvent = lambda: None
    stream.parse(b"<stream xmlns='jabber:component:accept'>" + xml.encode("utf-8"))
    return found[0]


def message(inner: str, attributes: str = "type='chat' id='m1'") -> domish.Element:
    """Read a message from alice to a number."""
    return parse(f"<message from='{PHONE}' to='{NUMBER}' {attributes}>{inner}</message>")


def text_of(element: domish.Element, name: str) -> str:
    """Return the text of the first child with this name."""
    return next(str(child) for child in element.elements() if child.name == name)


class WritingTests(SynchronousTestCase):
    """What goes to the server."""

    def test_text_carries_body_origin_id_request_and_store_hint(self) -> None:
        """A text from the network asks for a receipt, is kept, and is recognized when repeated."""
        element = parse(stanzas.chat_message(ALICE, NUMBER, "in-1", "see you at 8"))

        self.assertEqual(
            (element["from"], element["to"], element["type"], element["id"]),
            (NUMBER, ALICE, "chat", "in-1"),
        )
        self.assertEqual(
            [(c.name, c.uri) for c in element.elements()],
            [
                ("body", "jabber:component:accept"),
                ("origin-id", "urn:xmpp:sid:0"),
                ("request", "urn:xmpp:receipts"),
                ("store", "urn:xmpp:hints"),
            ],
        )
        self.assertEqual(text_of(element, "body"), "see you at 8")

    def test_text_carries_what_is_asked_for(self) -> None:
        """Delay, name, link and thread appear as their XEPs say."""
        element = parse(
            stanzas.chat_message(
                ALICE,
                NUMBER,
                "in-1",
                URL,
                delayed_at=stanzas.stamp(1_795_241_400_123),
                delayed_by="sms.example.org",
                request_receipt=False,
                nick="Ann & <Bob>",
                oob_url=URL,
                thread="t'1",
            )
        )

        children = {c.name: c for c in element.elements()}
        self.assertEqual(children["delay"]["stamp"], "2026-11-21T06:10:00Z")
        self.assertEqual(children["delay"]["from"], "sms.example.org")
        self.assertEqual(str(children["nick"]), "Ann & <Bob>")
        self.assertEqual(text_of(children["x"], "url"), URL)
        self.assertEqual(str(children["thread"]), "t'1")
        self.assertNotIn("request", children)

    def test_control_characters_are_replaced(self) -> None:
        """A bell in a text must not end the stream for everybody."""
        xml = stanzas.chat_message(ALICE, NUMBER, "i", "a\x07b\x00\ufffe\ud800c\U0001f600")

        self.assertIn("a\ufffdb\ufffd\ufffd\ufffdc\U0001f600", xml)

    def test_line_ends_become_line_feeds(self) -> None:
        """All kinds of line ends arrive as line ends."""
        element = parse(stanzas.chat_message(ALICE, NUMBER, "i", "a\r\nb\rc\nd\te"))

        self.assertEqual(text_of(element, "body"), "a\nb\nc\nd\te")

    def test_cdata_end_is_escaped(self) -> None:
        """The one sequence with a bare > that XML forbids in text is escaped too."""
        self.assertTrue(
            stanzas.is_well_formed(stanzas.chat_message(ALICE, NUMBER, "i", "]]>").encode())
        )

    def test_receipt_names_the_message_and_is_kept(self) -> None:
        """The second tick matches by id and reaches archives."""
        element = parse(stanzas.receipt(ALICE, NUMBER, "r1", "m'1"))

        received = next(element.elements())
        self.assertEqual((received.uri, received["id"]), ("urn:xmpp:receipts", "m'1"))
        self.assertEqual(list(element.elements())[1].name, "store")

    def test_error_has_payload_condition_text_and_reason(self) -> None:
        """Clients tie the error to the message, people read the text, programs the reason."""
        xml = stanzas.error_reply(
            PHONE,
            NUMBER,
            "m1",
            BY_REASON["unknown-subscriber"],
            body="hello",
            by="sms.example.org",
            detail="1",
        )

        element = parse(xml)
        body, error = element.elements()
        self.assertEqual(
            (element["type"], element["id"], element["to"], str(body)),
            ("error", "m1", PHONE, "hello"),
        )
        self.assertEqual((error["type"], error["by"]), ("cancel", "sms.example.org"))
        condition, text, application = error.elements()
        self.assertEqual(condition.name, "item-not-found")
        self.assertEqual(str(text), "The network says that this number does not exist.")
        self.assertEqual(
            (application.name, application.uri, application["code"]),
            ("unknown-subscriber", "urn:smsbridge:errors:0", "1"),
        )

    def test_own_error_is_read_back(self) -> None:
        """What we write as an error is what we read from others."""
        xml = stanzas.error_reply(
            PHONE, NUMBER, "m1", Condition("wait", "resource-constraint", "x")
        )

        self.assertEqual(
            decode_message(parse(xml)),
            ErrorBounce(
                sender=NUMBER,
                recipient=PHONE,
                id="m1",
                type="wait",
                condition="resource-constraint",
                text="x",
            ),
        )

    def test_presence_carries_show_status_caps_and_nick(self) -> None:
        """What a contact looks like in a roster."""
        element = parse(
            stanzas.presence(
                ALICE,
                NUMBER + "/sms",
                show="xa",
                status="cannot receive replies",
                caps=("urn:smsbridge:caps", "abc="),
                nick="Ann",
                avatar_hash="",
            )
        )

        children = {c.name: c for c in element.elements()}
        self.assertFalse(element.hasAttribute("type"))
        self.assertEqual(str(children["show"]), "xa")
        self.assertEqual(str(children["status"]), "cannot receive replies")
        self.assertEqual(children["c"]["ver"], "abc=")
        self.assertEqual(str(children["nick"]), "Ann")
        self.assertEqual(parse(stanzas.presence(ALICE, NUMBER, "subscribed"))["type"], "subscribed")

    def test_presence_error_names_the_condition(self) -> None:
        """A stranger's subscription is refused with the reason."""
        element = parse(stanzas.presence_error(ALICE, NUMBER, BY_REASON["unknown-person"], "p1"))

        self.assertEqual((element["type"], element["id"]), ("error", "p1"))
        self.assertEqual(next(element.error.elements()).name, "registration-required")

    def test_iq_answers_go_back_where_they_came_from(self) -> None:
        """Result and error swap the addresses and keep the id."""
        request = parse(f"<iq type='get' id='q&apos;1' from='{PHONE}' to='{NUMBER}'/>")

        result = parse(stanzas.iq_result(request, "<query xmlns='urn:x'/>"))
        error = parse(stanzas.iq_error(request, Condition("cancel", "service-unavailable")))

        for answer, kind in ((result, "result"), (error, "error")):
            self.assertEqual(
                (answer["type"], answer["id"], answer["from"], answer["to"]),
                (kind, "q'1", NUMBER, PHONE),
            )

    def test_long_body_is_cut_between_characters(self) -> None:
        """The pieces of a very long text add up to it, and each fits."""
        text = "\U0001f600&" * 50

        pieces = stanzas.split_body(text, 100)

        self.assertEqual("".join(pieces), text)
        self.assertTrue(all(len(stanzas.escape(p).encode()) <= 100 for p in pieces))
        self.assertEqual(stanzas.split_body("short"), ["short"])
        self.assertEqual(stanzas.split_body("", -1), [])

    def test_bad_xml_is_found(self) -> None:
        """A stanza that a server would choke on can be told from a good one."""
        self.assertFalse(stanzas.is_well_formed(b"<message><body>\x07</body></message>"))
        self.assertFalse(stanzas.is_well_formed(b"<message><body></message>"))
        self.assertTrue(stanzas.is_well_formed(b"<message/><message/>"))

    @given(ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT, ANY_TEXT)
    def test_any_text_makes_a_well_formed_stanza(
        self, body: str, nick: str, sender: str, stanza_id: str, url: str
    ) -> None:
        """Nothing that comes from a phone network can break the stream."""
        for xml in (
            stanzas.chat_message(
                ALICE, sender, stanza_id, body, nick=nick, oob_url=url, thread=nick, delayed_at=url
            ),
            stanzas.note(nick, sender, stanza_id, body),
            stanzas.receipt(ALICE, sender, stanza_id, nick),
            stanzas.error_reply(
                nick,
                sender,
                stanza_id,
                Condition("cancel", "gone", body, "x"),
                body=body,
                detail=url,
            ),
            stanzas.presence(ALICE, sender, show=body, status=nick, caps=(url, nick)),
            stanzas.iq("get", nick, sender, stanza_id),
        ):
            self.assertTrue(stanzas.is_well_formed(xml.encode("utf-8")), xml)

    @given(
        st.text(st.characters(exclude_categories=["Cs", "Cc"], exclude_characters="\ufffe\uffff"))
    )
    def test_harmless_text_arrives_unchanged(self, body: str) -> None:
        """What XML can carry is carried."""
        element = parse(stanzas.chat_message(ALICE, NUMBER, "i", body))

        self.assertEqual(text_of(element, "body"), body)


class ReadingTests(SynchronousTestCase):
    """What a user's message means."""

    def decoded(self, inner: str, attributes: str = "type='chat' id='m1'") -> Event:
        """Decode a message from alice to a number."""
        return decode_message(message(inner, attributes))

    def text(self, inner: str, attributes: str = "type='chat' id='m1'") -> Text:
        """Decode a message that must be a text."""
        event = self.decoded(inner, attributes)
        assert isinstance(event, Text), event
        return event

    def assertRefused(self, event: Event, condition: str, reason: str) -> None:
        """Check that the user gets an error, and which."""
        assert isinstance(event, Refused), event
        self.assertEqual((event.condition.condition, event.condition.reason), (condition, reason))
        self.assertEqual((event.sender, event.recipient, event.id), (PHONE, NUMBER, "m1"))

    def test_plain_text_with_all_it_may_carry(self) -> None:
        """Ids, request, marker, thread and subject are found."""
        event = self.decoded(
            "<body>hello</body><subject>s</subject><thread>t</thread>"
            "<origin-id xmlns='urn:xmpp:sid:0' id='o1'/><request xmlns='urn:xmpp:receipts'/>"
            "<markable xmlns='urn:xmpp:chat-markers:0'/>"
            "<active xmlns='http://jabber.org/protocol/chatstates'/>"
        )

        self.assertEqual(
            event,
            Text(
                sender=PHONE,
                recipient=NUMBER,
                id="m1",
                body="hello",
                origin_id="o1",
                wants_receipt=True,
                markable=True,
                thread="t",
                subject="s",
            ),
        )

    def test_message_without_type_or_of_type_normal_is_a_text(self) -> None:
        """Clients differ in what they write."""
        for attributes in ("id='m1'", "type='normal' id='m1'", "type='odd' id='m1'"):
            self.assertEqual(self.text("<body>x</body>", attributes).body, "x")

    def test_without_id_no_receipt_is_wanted(self) -> None:
        """A receipt must name the message."""
        text = self.text("<body>x</body><request xmlns='urn:xmpp:receipts'/>", "type='chat'")

        self.assertFalse(text.wants_receipt)
        self.assertEqual(text.dedup_id, "")

    def test_origin_id_is_what_a_repeat_has_in_common(self) -> None:
        """A client that sends again may change the stanza's id, not the origin id."""
        self.assertEqual(
            self.text("<body>x</body><origin-id xmlns='urn:xmpp:sid:0' id='o1'/>").dedup_id, "o1"
        )
        self.assertEqual(self.text("<body>x</body>").dedup_id, "m1")

    def test_body_without_language_wins(self) -> None:
        """Of several bodies the one without a language is meant."""
        text = self.text("<body xml:lang='de'>hallo</body><body>hello</body>")
        first = self.text("<body xml:lang='de'>hallo</body><body xml:lang='fr'>salut</body>")

        self.assertEqual((text.body, first.body), ("hello", "hallo"))

    def test_silent_stanzas_ask_for_nothing(self) -> None:
        """Typing notices, markers and the like become neither texts nor errors."""
        for inner in (
            "<composing xmlns='http://jabber.org/protocol/chatstates'/>",
            "<displayed xmlns='urn:xmpp:chat-markers:0' id='x'/>",
            "<propose xmlns='urn:xmpp:jingle-message:0' id='x'/>",
            "<x xmlns='jabber:x:data' type='submit'/>",
            "<store xmlns='urn:xmpp:hints'/>",
            "<subject>only</subject>",
            "",
        ):
            self.assertIsInstance(self.decoded(inner), Ignored, inner)

    def test_headline_and_forwarded_copies_are_ignored(self) -> None:
        """News and copies are not meant for a phone."""
        copy = "<body>x</body><sent xmlns='urn:xmpp:carbons:2'/>"
        result = "<result xmlns='urn:xmpp:mam:2'/>"
        for event in (
            self.decoded("<body>x</body>", "type='headline'"),
            self.decoded(copy),
            self.decoded(result),
        ):
            self.assertIsInstance(event, Ignored)

    def test_groupchat_is_refused_unless_empty(self) -> None:
        """A number is no room."""
        self.assertRefused(
            self.decoded("<body>x</body>", "type='groupchat' id='m1'"),
            "not-acceptable",
            "unsupported",
        )
        self.assertIsInstance(self.decoded("<subject/>", "type='groupchat'"), Ignored)

    def test_encrypted_messages_are_refused(self) -> None:
        """The stand-in body of an encrypted message never goes out as a text."""
        standin = "<body>I sent you an OMEMO encrypted message</body>"
        for inner in (
            standin + "<encrypted xmlns='eu.siacs.conversations.axolotl'><payload/></encrypted>",
            standin + "<encrypted xmlns='urn:xmpp:omemo:2'/>",
            "<encrypted xmlns='urn:xmpp:omemo:2'><payload/></encrypted>",
            standin + "<x xmlns='jabber:x:encrypted'/>",
            standin + "<openpgp xmlns='urn:xmpp:openpgp:0'/>",
            "<body>?OTR:AAMC</body>",
            "<body>aesgcm://upload.example.org/a#00</body>",
            standin + "<encryption xmlns='urn:xmpp:eme:0' namespace='x'/>",
        ):
            self.assertRefused(self.decoded(inner), "not-acceptable", "encrypted")

    def test_encrypted_attachment_is_refused(self) -> None:
        """An encrypted file cannot be read on a phone."""
        self.assertRefused(
            self.decoded("<x xmlns='jabber:x:oob'><url>aesgcm://h/a#00</url></x>"),
            "not-acceptable",
            "encrypted",
        )

    def test_key_exchange_is_ignored(self) -> None:
        """A client that only offers keys gets no error for it."""
        self.assertIsInstance(
            self.decoded("<encrypted xmlns='eu.siacs.conversations.axolotl'><header/></encrypted>"),
            Ignored,
        )

    def test_otr_tag_is_taken_out(self) -> None:
        """The invisible offer of OTR costs no characters of a text."""
        tag = " \t  \t\t\t\t \t \t \t  " + " \t \t  \t "
        self.assertEqual(self.text(f"<body>hi{tag}</body>").body, "hi")

    def test_blank_text_is_refused(self) -> None:
        """A text of blanks would cost money and say nothing."""
        self.assertRefused(self.decoded("<body> \n</body>"), "policy-violation", "empty")

    def test_correction_names_what_it_replaces(self) -> None:
        """A corrected text is a text that knows its predecessor."""
        text = self.text("<body>x</body><replace xmlns='urn:xmpp:message-correct:0' id='m0'/>")

        self.assertEqual(text.replaces_id, "m0")

    def test_reaction_is_no_text(self) -> None:
        """Reactions are told apart, their stand-in body is dropped."""
        event = self.decoded(
            "<reactions xmlns='urn:xmpp:reactions:0' id='m0'><reaction>\U0001f44d</reaction>"
            "<reaction/></reactions><body>&gt; hello</body>"
        )

        self.assertEqual(
            event,
            Reaction(
                sender=PHONE, recipient=NUMBER, id="m1", target_id="m0", emoji=("\U0001f44d",)
            ),
        )

    def test_retractions_of_all_versions(self) -> None:
        """Taking back is recognized whatever version the client speaks."""
        for inner in (
            "<retract xmlns='urn:xmpp:message-retract:1' id='m0'/><body>taken back</body>",
            "<apply-to xmlns='urn:xmpp:fasten:0' id='m0'>"
            "<retract xmlns='urn:xmpp:message-retract:0'/></apply-to>",
            "<moderate xmlns='urn:xmpp:message-moderate:1' id='m0'/>",
        ):
            self.assertEqual(
                self.decoded(inner),
                Retraction(sender=PHONE, recipient=NUMBER, id="m1", target_id="m0"),
            )

    def test_reply_loses_its_quote(self) -> None:
        """Only the new words go out; the range counts code points."""
        text = self.text(
            "<body>&gt; \U0001f600 hello\nyes</body>"
            "<reply xmlns='urn:xmpp:reply:0' id='m0' to='x'/>"
            "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'>"
            "<body start='0' end='10'/></fallback>"
        )

        self.assertEqual((text.body, text.reply_to_id), ("yes", "m0"))

    def test_reply_with_absurd_ranges_keeps_what_it_can(self) -> None:
        """Ranges that make no sense change nothing."""
        for span in ("start='-1' end='4'", "start='9' end='2'", "start='x'", "start='99999999999'"):
            text = self.text(
                "<body>hello</body><reply xmlns='urn:xmpp:reply:0' id='m0'/>"
                f"<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><body {span}/>"
                "</fallback>"
            )
            self.assertEqual(text.body, "hello", span)

    def test_reply_whose_body_is_all_quote_is_refused(self) -> None:
        """A fallback without a range is the whole body."""
        self.assertRefused(
            self.decoded(
                "<body>quote</body><reply xmlns='urn:xmpp:reply:0' id='m0'/>"
                "<fallback xmlns='urn:xmpp:fallback:0' for='urn:x'><body/></fallback>"
                "<fallback xmlns='urn:xmpp:fallback:0' for='urn:xmpp:reply:0'><subject/><body/>"
                "</fallback>"
            ),
            "policy-violation",
            "empty",
        )

    def test_link_inside_a_word_stays(self) -> None:
        """Only a link that stands alone at the end is the attachment."""
        text = self.text(
            f"<body>see:{URL}</body><x xmlns='jabber:x:oob'><url>{URL}</url></x>"
            "<x xmlns='jabber:x:oob'/><x xmlns='jabber:x:conference'/>"
        )

        self.assertEqual((text.body, len(text.attachments)), (f"see:{URL}", 1))

    def test_encrypted_file_sharing_is_refused(self) -> None:
        """A file whose key travels beside it cannot be read on a phone."""
        self.assertRefused(
            self.decoded(
                "<file-sharing xmlns='urn:xmpp:sfs:0'><sources>"
                "<encrypted xmlns='urn:xmpp:esfs:0'/></sources></file-sharing>"
            ),
            "not-acceptable",
            "encrypted",
        )

    def test_file_reference_without_address_is_refused(self) -> None:
        """A reference that leads nowhere is no file."""
        self.assertRefused(
            self.decoded(
                "<reference xmlns='urn:xmpp:reference:0'><media-sharing xmlns='urn:xmpp:sims:1'>"
                "<file/><sources><reference xmlns='urn:xmpp:reference:0'/><other/></sources>"
                "</media-sharing></reference>"
            ),
            "not-acceptable",
            "media-unsupported",
        )

    def test_link_equal_to_the_body_leaves_an_attachment_alone(self) -> None:
        """A picture sent by upload is a picture, not a link."""
        text = self.text(f"<body>{URL}</body><x xmlns='jabber:x:oob'><url>{URL}</url></x>")

        self.assertEqual((text.body, text.attachments), ("", (Attachment(url=URL),)))

    def test_link_at_the_end_leaves_the_caption(self) -> None:
        """What stands before the link is the caption."""
        text = self.text(f"<body>look: {URL} </body><x xmlns='jabber:x:oob'><url>{URL}</url></x>")

        self.assertEqual(text.body, "look:")

    def test_described_file_wins_over_the_bare_link(self) -> None:
        """The same file named twice is one attachment, with its description."""
        text = self.text(
            "<file-sharing xmlns='urn:xmpp:sfs:0'><file xmlns='urn:xmpp:file:metadata:0'>"
            "<media-type>image/jpeg</media-type><name>a.jpg</name><size>30</size></file>"
            f"<sources><url-data xmlns='http://jabber.org/protocol/url-data' target='{URL}'/>"
            f"</sources></file-sharing><x xmlns='jabber:x:oob'><url>{URL}</url></x>"
            f"<body>{URL}</body>"
        )

        self.assertEqual(
            text.attachments,
            (Attachment(url=URL, media_type="image/jpeg", size=30, name="a.jpg"),),
        )

    def test_older_file_references_are_read(self) -> None:
        """Stateless inline media name their file by a reference."""
        text = self.text(
            "<reference xmlns='urn:xmpp:reference:0' type='data'>"
            "<media-sharing xmlns='urn:xmpp:sims:1'><file xmlns='urn:xmpp:jingle:apps:5'>"
            "<size>many</size></file><sources>"
            f"<reference xmlns='urn:xmpp:reference:0' type='data' uri='{URL}'/></sources>"
            "</media-sharing></reference><body>x</body>"
            "<reference xmlns='urn:xmpp:reference:0' type='mention' uri='xmpp:bob@example.org'/>"
        )

        self.assertEqual(text.attachments, (Attachment(url=URL),))

    def test_several_attachments_stay_in_order(self) -> None:
        """Several links are several parts."""
        text = self.text(
            "<x xmlns='jabber:x:oob'><url>https://h/1</url></x>"
            "<x xmlns='jabber:x:oob'><url>https://h/2</url></x>"
        )

        self.assertEqual([a.url for a in text.attachments], ["https://h/1", "https://h/2"])

    def test_file_without_web_address_is_refused(self) -> None:
        """A file that is offered from device to device cannot be fetched."""
        self.assertRefused(
            self.decoded(
                "<file-sharing xmlns='urn:xmpp:sfs:0'><sources>"
                "<jinglepub xmlns='urn:xmpp:jinglepub:1'/></sources></file-sharing>"
            ),
            "not-acceptable",
            "media-unsupported",
        )

    def test_receipt_proves_delivery(self) -> None:
        """A receipt names our message; very old clients name it by their own id."""
        self.assertEqual(
            self.decoded("<received xmlns='urn:xmpp:receipts' id='in-1'/>"),
            Receipt(sender=PHONE, recipient=NUMBER, received_id="in-1"),
        )
        self.assertEqual(
            self.decoded("<received xmlns='urn:xmpp:receipts'/>"),
            Receipt(sender=PHONE, recipient=NUMBER, received_id="m1"),
        )

    def test_bounce_is_read_in_any_namespace(self) -> None:
        """Servers differ in the namespace of the error, and in giving the body back."""
        for xmlns in ("", " xmlns='jabber:client'"):
            event = self.decoded(
                f"<body>x</body><error{xmlns} type='wait'>"
                "<remote-server-timeout xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/>"
                "<text xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'>gone</text></error>",
                "type='error' id='in-1'",
            )
            self.assertEqual(
                event,
                ErrorBounce(
                    sender=PHONE,
                    recipient=NUMBER,
                    id="in-1",
                    type="wait",
                    condition="remote-server-timeout",
                    text="gone",
                ),
            )

    def test_bounce_without_details_is_final(self) -> None:
        """An error that says nothing is an error all the same."""
        event = self.decoded("", "type='error' id='in-1'")

        assert isinstance(event, ErrorBounce)
        self.assertEqual((event.type, event.condition), ("cancel", "undefined-condition"))
        self.assertFalse(event.is_temporary)

    def test_bounce_of_an_absent_server_is_temporary(self) -> None:
        """A user's server that is away today may be there tomorrow, whatever the type says."""
        event = self.decoded(
            "<error type='cancel'>"
            "<remote-server-not-found xmlns='urn:ietf:params:xml:ns:xmpp-stanzas'/></error>",
            "type='error' id='in-1'",
        )

        assert isinstance(event, ErrorBounce)
        self.assertTrue(event.is_temporary)

    def test_several_addressees_are_listed(self) -> None:
        """A text for several people names them; reply-to is none of them."""
        text = self.text(
            "<body>all</body><addresses xmlns='http://jabber.org/protocol/address'>"
            "<address type='to' uri='sms:+12025550123'/>"
            "<address type='bcc' jid='+12025550124@sms.example.org' delivered='true'/>"
            "<address type='replyto' jid='x@y'/></addresses>"
        )

        self.assertEqual(
            text.addressees,
            (
                Addressee("to", "sms:+12025550123"),
                Addressee("bcc", "+12025550124@sms.example.org", True),
            ),
        )

    def test_privileges_are_read_in_both_versions(self) -> None:
        """Prosody speaks version 2, older ejabberd version 1."""
        for version in "12":
            event = decode_message(
                parse(
                    "<message from='example.org' to='sms.example.org'>"
                    f"<privilege xmlns='urn:xmpp:privilege:{version}'>"
                    "<perm access='roster' type='both'/></privilege></message>"
                )
            )
            self.assertEqual(
                event,
                Privileges(
                    server="example.org",
                    namespace=f"urn:xmpp:privilege:{version}",
                    permissions=(("roster", "both"),),
                ),
            )


NAMES = st.sampled_from(
    [
        "body",
        "subject",
        "thread",
        "x",
        "url",
        "error",
        "text",
        "received",
        "request",
        "replace",
        "reactions",
        "reaction",
        "reply",
        "fallback",
        "file-sharing",
        "file",
        "sources",
        "url-data",
        "reference",
        "media-sharing",
        "encrypted",
        "payload",
        "retract",
        "apply-to",
        "addresses",
        "address",
        "privilege",
        "perm",
        "origin-id",
        "size",
        "name",
    ]
)
URIS = st.sampled_from(
    [
        None,
        "",
        "jabber:component:accept",
        "jabber:client",
        "jabber:x:oob",
        "urn:xmpp:sfs:0",
        "urn:xmpp:sims:1",
        "urn:xmpp:reference:0",
        "urn:xmpp:reply:0",
        "urn:xmpp:fallback:0",
        "urn:xmpp:receipts",
        "urn:xmpp:reactions:0",
        "urn:xmpp:message-correct:0",
        "urn:xmpp:message-retract:1",
        "urn:xmpp:fasten:0",
        "urn:xmpp:privilege:2",
        "urn:ietf:params:xml:ns:xmpp-stanzas",
        "eu.siacs.conversations.axolotl",
        "http://jabber.org/protocol/address",
    ]
)
ATTRIBUTES = st.dictionaries(
    st.sampled_from(
        ["id", "type", "for", "start", "end", "target", "uri", "jid", "access", "delivered"]
    ),
    st.one_of(
        st.text(max_size=10),
        st.integers().map(str),
        st.sampled_from(["error", "to", "chat", "urn:xmpp:reply:0", "aesgcm://x", URL]),
    ),
    max_size=3,
)


Spec = tuple[str, str | None, dict[str, str], list[object]]


def build(spec: Spec) -> domish.Element:
    """Make an element of a hypothesis specification."""
    name, uri, attributes, children = spec
    element = domish.Element((uri, name))
    element.attributes.update(attributes)
    for child in children:
        if isinstance(child, str):
            element.addContent(child)
        else:
            element.addChild(build(child))  # type: ignore[arg-type]
    return element


ELEMENTS = st.recursive(
    st.tuples(NAMES, URIS, ATTRIBUTES, st.just([])),
    lambda inner: st.tuples(
        NAMES, URIS, ATTRIBUTES, st.lists(st.one_of(inner, st.text(max_size=20)), max_size=4)
    ),
    max_leaves=12,
)


class RobustnessTests(SynchronousTestCase):
    """Whatever comes, decoding gives an event."""

    @given(ATTRIBUTES, st.lists(ELEMENTS, max_size=5))
    def test_decoding_never_raises(self, attributes: dict[str, str], children: list[Spec]) -> None:
        """No tree of elements that a user can send stops the gateway."""
        element = domish.Element(("jabber:component:accept", "message"))
        element.attributes.update(attributes)
        for spec in children:
            element.addChild(build(spec))

        event = decode_message(element)

        self.assertIsInstance(
            event,
            (Text, Reaction, Retraction, Receipt, ErrorBounce, Privileges, Refused, Ignored),
        )
        if isinstance(event, Text):
            self.assertTrue(event.body.strip() or event.attachments)
