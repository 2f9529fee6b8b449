"""What the bridge and its numbers say about themselves."""

from __future__ import annotations

from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish

from smsbridge.gateways.xmpp import disco
from smsbridge.gateways.xmpp.disco import Entity, Identity
from tests.gateways.xmpp.test_stanzas import parse

INFO = "http://jabber.org/protocol/disco#info"
ITEMS = "http://jabber.org/protocol/disco#items"


def ask(payload: str, entity: Entity = disco.NUMBER, **more: object) -> domish.Element | None:
    """Ask an entity; return the answer as the client reads it."""
    request = parse(f"<iq type='get' id='q1' from='alice@example.org/p' to='x'>{payload}</iq>")
    xml = disco.answer(
        request,
        entity,
        software="smsbridge",
        version="1 & 2",
        at_ms=1_795_241_400_000,
        **more,  # type: ignore[arg-type]
    )
    return None if xml is None else parse(xml)


class DiscoTests(SynchronousTestCase):
    """Discovery and its neighbors."""

    def test_verification_string_of_the_specification(self) -> None:
        """The example of XEP-0115, 5.2 gives the string printed there."""
        entity = Entity(
            (Identity("client", "pc", "Exodus 0.9.1"),),
            (
                "http://jabber.org/protocol/muc",
                "http://jabber.org/protocol/disco#info",
                "http://jabber.org/protocol/caps",
                "http://jabber.org/protocol/disco#items",
            ),
        )

        self.assertEqual(entity.version, "QgayPKawpkPSDYmwT/WM94uAlu0=")

    def test_number_is_a_phone_with_receipts_and_without_typing_notices(self) -> None:
        """Clients offer what a phone can do, and nothing else."""
        answer = ask(f"<query xmlns='{INFO}'/>")

        assert answer is not None
        identities = [
            (e["category"], e["type"]) for e in answer.query.elements() if e.name == "identity"
        ]
        features = {e["var"] for e in answer.query.elements() if e.name == "feature"}
        self.assertEqual(identities, [("client", "sms")])
        self.assertIn("urn:xmpp:receipts", features)
        self.assertNotIn("http://jabber.org/protocol/chatstates", features)
        self.assertNotIn("urn:xmpp:reactions:0", features)

    def test_gateway_announces_itself_with_name_and_extras(self) -> None:
        """Clients list the gateway under its name and show the field for a number."""
        answer = ask(
            f"<query xmlns='{INFO}'/>", disco.gateway("Ann's <SMS>", ["jabber:iq:register"])
        )

        assert answer is not None
        identity = next(answer.query.elements())
        features = {e["var"] for e in answer.query.elements() if e.name == "feature"}
        self.assertEqual(
            (identity["category"], identity["type"], identity["name"]),
            ("gateway", "sms", "Ann's <SMS>"),
        )
        self.assertLessEqual({"jabber:iq:register", "jabber:iq:gateway"}, features)

    def test_capability_node_gives_the_same_answer(self) -> None:
        """What a presence points to can be asked for."""
        node = f"{disco.CAPS_NODE}#{disco.NUMBER.version}"

        answer = ask(f"<query xmlns='{INFO}' node='{node}'/>")

        assert answer is not None
        self.assertEqual((answer["type"], answer.query["node"]), ("result", node))

    def test_unknown_node_is_not_found(self) -> None:
        """A node that is not there is said so, for info and items."""
        for namespace in (INFO, ITEMS):
            answer = ask(f"<query xmlns='{namespace}' node='nowhere'/>")
            assert answer is not None
            self.assertEqual(next(answer.error.elements()).name, "item-not-found")

    def test_items_stand_under_their_node_only(self) -> None:
        """Commands are listed where they belong; the address book never is."""
        commands = [("sms.example.org", "status", "Show <status>")]
        more = {"items": commands, "items_node": disco.NS_COMMANDS}

        listed = ask(f"<query xmlns='{ITEMS}' node='{disco.NS_COMMANDS}'/>", **more)
        top = ask(f"<query xmlns='{ITEMS}'/>", **more)

        assert listed is not None and top is not None
        item = next(listed.query.elements())
        self.assertEqual(
            (item["jid"], item["node"], item["name"]),
            ("sms.example.org", "status", "Show <status>"),
        )
        self.assertEqual(list(top.query.elements()), [])

    def test_ping_version_time_and_card(self) -> None:
        """The small queries get their answers."""
        ping = ask("<ping xmlns='urn:xmpp:ping'/>")
        version = ask("<query xmlns='jabber:iq:version'/>")
        time = ask("<time xmlns='urn:xmpp:time'/>")
        card = ask(
            "<vCard xmlns='vcard-temp'/>", card=disco.vcard("Ann & Co", number="+12025550123")
        )

        assert ping is not None and version is not None and time is not None and card is not None
        self.assertEqual((ping["type"], ping["id"]), ("result", "q1"))
        self.assertEqual(str(version.query.version), "1 & 2")
        self.assertEqual(str(time.time.utc), "2026-11-21T06:10:00Z")
        self.assertEqual(str(card.vCard.FN), "Ann & Co")
        self.assertEqual(str(card.vCard.TEL.NUMBER), "+12025550123")

    def test_card_of_the_bridge_and_no_card(self) -> None:
        """The bridge has an address of its own; who has no card has an empty one."""
        card = ask(
            "<vCard xmlns='vcard-temp'/>",
            card=disco.vcard("Texts", description="a & b", url="https://sms.example.org/"),
        )
        empty = ask("<vCard xmlns='vcard-temp'/>")

        assert card is not None and empty is not None
        self.assertEqual(str(card.vCard.DESC), "a & b")
        self.assertEqual(str(card.vCard.URL), "https://sms.example.org/")
        self.assertEqual(list(empty.vCard.elements()), [])

    def test_caps_name_the_software_and_the_string(self) -> None:
        """A presence points to what can be asked for."""
        self.assertEqual(disco.NUMBER.caps, (disco.CAPS_NODE, disco.NUMBER.version))

    def test_other_queries_are_left_to_others(self) -> None:
        """What this module does not know, it does not answer."""
        self.assertIsNone(ask("<query xmlns='jabber:iq:register'/>"))
        self.assertIsNone(ask(""))
        self.assertIsNone(ask(" "))
        request = parse("<iq type='set' id='q'><query xmlns='jabber:iq:version'/></iq>")
        self.assertIsNone(disco.answer(request, disco.NUMBER, software="s", version="1", at_ms=0))
