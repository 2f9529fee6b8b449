"""What users may ask: discovery, cards, prompts, and who may ask at all."""

from __future__ import annotations

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.words.xish import domish

from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Person
from smsbridge.gateways.xmpp import disco
from tests.gateways.xmpp.rig import CONFIG, DOMAIN, NUMBER, PHONE, GatewayTestCase, child_of

STRANGER = "mallory@example.org/x"
FAR = "mallory@elsewhere.example/x"
INFO = "<query xmlns='http://jabber.org/protocol/disco#info'/>"
ITEMS = "<query xmlns='http://jabber.org/protocol/disco#items'/>"
VCARD = "<vCard xmlns='vcard-temp'/>"
REGISTER = "<query xmlns='jabber:iq:register'/>"


class QueryTestCase(GatewayTestCase):
    """Asks and reads the one answer."""

    def setUp(self) -> None:
        super().setUp()
        self.server.heard()

    def ask(
        self, payload: str, to: str = DOMAIN, sender: str = PHONE, kind: str = "get"
    ) -> domish.Element:
        """Send an iq and return the answer."""
        self.say(f"<iq type='{kind}' from='{sender}' to='{to}' id='q1'>{payload}</iq>")
        (answer,) = self.heard()
        self.assertEqual((answer["id"], answer["from"], answer["to"]), ("q1", to, sender))
        return answer

    def assert_refused(self, answer: domish.Element, condition: str) -> None:
        """Fail unless the answer is an error of this condition."""
        self.assertEqual(answer["type"], "error", answer.toXml())
        self.assertIn(condition, answer.toXml())


class DiscoveryTests(QueryTestCase):
    """What we say we are."""

    def test_gateway_says_what_it_is(self) -> None:
        """Clients offer a field for the number, and group texts."""
        answer = self.ask(INFO).toXml()

        self.assertIn("category='gateway'", answer)
        self.assertIn("type='sms'", answer)
        for feature in ("jabber:iq:gateway", "http://jabber.org/protocol/address"):
            self.assertIn(feature, answer)

    def test_number_person_and_name_say_what_they_are(self) -> None:
        """Clients hide the buttons for what a phone cannot do."""
        for local, entity in (
            (NUMBER, disco.NUMBER),
            (f"{NUMBER}%second", disco.NUMBER),
            ("bob", disco.PERSON),
            (f"info;phone-context=alpha.{DOMAIN}", disco.UNANSWERABLE),
        ):
            answer = self.ask(INFO, f"{local}@{DOMAIN}/sms")

            features = [
                f["var"] for f in answer.firstChildElement().elements() if f.name == "feature"
            ]
            self.assertEqual(features, list(entity.features))

    def test_capabilities_are_explained_under_their_node(self) -> None:
        """What a presence announces can be asked for by its hash."""
        node = f"{disco.CAPS_NODE}#{disco.NUMBER.version}"
        query = f"<query xmlns='http://jabber.org/protocol/disco#info' node='{node}'/>"

        self.assertEqual(self.ask(query, f"{NUMBER}@{DOMAIN}/sms")["type"], "result")
        own = f"{disco.CAPS_NODE}#{self.gateway.queries.gateway_entity().version}"
        query = f"<query xmlns='http://jabber.org/protocol/disco#info' node='{own}'/>"
        self.assertEqual(self.ask(query)["type"], "result")

    def test_address_book_is_not_listed(self) -> None:
        """Other users could ask."""
        self.assertEqual(list(self.ask(ITEMS).firstChildElement().elements()), [])

    def test_what_is_no_contact_is_not_found(self) -> None:
        """Lines of others and names that nobody has are as good as none."""
        for local in ("12+34", "nobody", f"{NUMBER}%foreign"):
            self.assert_refused(self.ask(INFO, f"{local}@{DOMAIN}"), "item-not-found")

    def test_strangers_learn_no_names(self) -> None:
        """A stranger may look at the gateway and at a number, not at persons, lines and cards."""
        self.assertEqual(self.ask(INFO, sender=STRANGER)["type"], "result")
        self.assertEqual(self.ask(INFO, f"{NUMBER}@{DOMAIN}", STRANGER)["type"], "result")
        for local in ("bob", "nobody", f"{NUMBER}%first", "12+34"):
            self.assert_refused(self.ask(INFO, f"{local}@{DOMAIN}", STRANGER), "item-not-found")
        self.assert_refused(
            self.ask(VCARD, f"{NUMBER}@{DOMAIN}", STRANGER), "registration-required"
        )

    def test_strangers_of_other_domains_learn_nothing(self) -> None:
        """Only who might become a user may ask what the gateway is."""
        self.assert_refused(self.ask(INFO, sender=FAR), "service-unavailable")
        self.assertEqual(self.ask("<ping xmlns='urn:xmpp:ping'/>", sender=FAR)["type"], "result")
        self.gateway.update(evolve(CONFIG, allowed_domains=("elsewhere.example",)), {})

        self.assertEqual(self.ask(INFO, sender=FAR)["type"], "result")

    def test_usual_queries_are_answered(self) -> None:
        """Version, time, and how long the gateway has been up."""
        self.clock.advance(70)
        self.server.heard()
        self.assertIn("smsbridge", self.ask("<query xmlns='jabber:iq:version'/>").toXml())
        self.assertIn("1970", self.ask("<time xmlns='urn:xmpp:time'/>").toXml())
        self.assertIn("seconds='70'", self.ask("<query xmlns='jabber:iq:last'/>").toXml())

    def test_unknown_queries_are_refused(self) -> None:
        """Every query is answered, else clients wait."""
        for to in (DOMAIN, f"{NUMBER}@{DOMAIN}"):
            for payload in ("<query xmlns='urn:unknown'/>", REGISTER):
                for kind in ("get", "set"):
                    self.assert_refused(self.ask(payload, to, kind=kind), "service-unavailable")


class CardTests(QueryTestCase):
    """Names behind numbers."""

    def name(self, local: str, sender: str = PHONE) -> str:
        """Return the name on a contact's card."""
        card = self.ask(VCARD, f"{local}@{DOMAIN}", sender).firstChildElement()
        return str(child_of(card, "FN"))

    def test_card_shows_the_askers_own_contacts(self) -> None:
        """Ann's card is private to Alice."""
        self.world.book.put("alice", PersonalBook(names={NUMBER: "Ann", "12345": "Taxi"}))

        self.assertEqual(self.name(NUMBER), "Ann")
        self.assertEqual(self.name("12345"), "Taxi")
        self.assertEqual(self.name(f"{NUMBER},+12025550124"), "Ann, +12025550124")
        self.assertEqual(self.name(NUMBER, "bob@example.org/x"), NUMBER)

    def test_everything_has_a_card(self) -> None:
        """A client that adds a contact asks for it."""
        self.assertEqual(self.name("bob"), "Bob")
        self.assertEqual(self.name(f"info;phone-context=alpha.{DOMAIN}"), "info")
        self.assertEqual(self.name(f"anonymous;phone-context=anon.{DOMAIN}"), "Withheld number")
        self.assertIn("SMS gateway", self.ask(VCARD).toXml())
        self.assertIn(f"@{DOMAIN} to text", self.ask(VCARD).toXml())


class PromptTests(QueryTestCase):
    """The field for a telephone number when adding a contact."""

    def prompt(self, typed: str) -> domish.Element:
        """Type something into the field."""
        return self.ask(
            f"<query xmlns='jabber:iq:gateway'><prompt>{typed}</prompt></query>", kind="set"
        )

    def test_field_is_described(self) -> None:
        """The user reads what to type."""
        answer = self.ask("<query xmlns='jabber:iq:gateway'/>").toXml()

        self.assertIn("<prompt>Telephone number</prompt>", answer)

    def test_number_as_typed_becomes_a_jid(self) -> None:
        """In the country of the user."""
        for typed in ("(202) 555-0123", " +1 202 555 0123", "0012025550123"):
            self.assertIn(f"<jid>{NUMBER}@{DOMAIN}</jid>", self.prompt(typed).toXml())

    def test_what_is_no_number_is_refused_with_an_example(self) -> None:
        """The user learns how to write it."""
        for typed in ("", "bob", "12+34", DOMAIN):
            answer = self.prompt(typed)
            self.assert_refused(answer, "not-acceptable")
            self.assertIn("+1", answer.toXml())


class Commander:
    """Takes what a test says."""

    def __init__(self) -> None:
        self.seen: list[tuple[str, Person | None]] = []
        self.answer: domish.Element | None = None
        self.failure: Exception | None = None
        self.held: Deferred[domish.Element | None] | None = None

    def handle(self, iq: domish.Element, person: Person | None) -> Deferred[domish.Element | None]:
        """See `hooks.CommandsHook.handle`."""
        self.seen.append((disco.payload_of(iq)[0], person))
        if self.held is not None:
            return self.held
        return fail(self.failure) if self.failure else succeed(self.answer)

    def features(self) -> tuple[str, ...]:
        """See `hooks.CommandsHook.features`."""
        return ("jabber:iq:register",)


class CommandsTests(QueryTestCase):
    """What is handed to the commands."""

    def setUp(self) -> None:
        super().setUp()
        self.commands = Commander()
        self.gateway.attend(None, self.commands)

    def result(self) -> domish.Element:
        """Return an answer of the commands."""
        element = domish.Element((None, "iq"))
        element["type"], element["id"] = "result", "q1"
        element["from"], element["to"] = DOMAIN, PHONE
        return element

    def test_commands_answer_what_is_theirs(self) -> None:
        """Commands, their lists, and registration; strangers may ask, too."""
        self.commands.answer = self.result()

        for payload in (
            "<command xmlns='http://jabber.org/protocol/commands' node='status'/>",
            "<query xmlns='http://jabber.org/protocol/disco#items' "
            "node='http://jabber.org/protocol/commands'/>",
            "<query xmlns='http://jabber.org/protocol/disco#info' node='status'/>",
            REGISTER,
        ):
            self.assertEqual(self.ask(payload)["type"], "result")

        self.assertEqual(len(self.commands.seen), 4)
        self.assertIn("jabber:iq:register", self.ask(INFO).toXml())
        self.say(f"<iq type='get' from='{STRANGER}' to='{DOMAIN}' id='q1'>{REGISTER}</iq>")
        self.assertEqual(self.commands.seen[-1], ("jabber:iq:register", None))
        self.say(f"<iq type='get' from='{FAR}' to='{DOMAIN}' id='q1'>{REGISTER}</iq>")
        self.assertEqual(len(self.commands.seen), 5)

    def test_what_is_not_theirs_is_answered_as_usual(self) -> None:
        """An unknown node is not found, anything else unavailable."""
        query = "<query xmlns='http://jabber.org/protocol/disco#info' node='what'/>"

        self.assert_refused(self.ask(query), "item-not-found")
        self.assert_refused(self.ask(REGISTER), "service-unavailable")

    def test_late_answer_is_sent_once(self) -> None:
        """A command may take its time; the client gets one answer."""
        self.commands.held = Deferred()
        self.say(f"<iq type='get' from='{PHONE}' to='{DOMAIN}' id='q1'>{REGISTER}</iq>")
        self.assertEqual(self.heard(), [])

        self.commands.held.callback(self.result())

        self.assertEqual([e["type"] for e in self.heard()], ["result"])

    def test_fault_in_a_command_is_told_and_logged(self) -> None:
        """The client is not left waiting."""
        self.commands.failure = ValueError("bug")

        self.assert_refused(self.ask(REGISTER), "internal-server-error")
        self.assertEqual(len(self.flushLoggedErrors(ValueError)), 1)
