"""Ad-hoc commands."""

from __future__ import annotations

from collections.abc import Iterator
from itertools import count

from hypothesis import given
from hypothesis import strategies as st
from twisted.internet.defer import Deferred
from twisted.internet.task import Clock
from twisted.trial.unittest import SynchronousTestCase
from twisted.words.xish import domish
from zope.interface.verify import verifyObject

from smsbridge.core.directory import Person
from smsbridge.core.message import FromPerson, Status
from smsbridge.errors import Refused
from smsbridge.gateways.xmpp.commands import Commands
from smsbridge.gateways.xmpp.disco import NS_COMMANDS, NS_DISCO_INFO, NS_DISCO_ITEMS
from smsbridge.gateways.xmpp.hooks import CommandsHook
from smsbridge.gateways.xmpp.menu import COMMANDS, Menu
from smsbridge.gateways.xmpp.registration import Registration
from smsbridge.interfaces import IInbox
from tests.fakes import StubInbox
from tests.gateways.xmpp.desk import DOMAIN, NOW_MS, PHONE, a_delivery, a_message, a_world
from tests.gateways.xmpp.test_stanzas import parse

ANNOUNCE = "http://jabber.org/protocol/admin#announce"


class SilentHall:
    """A hall that remembers who came and went."""

    def __init__(self) -> None:
        self.welcomed: list[tuple[str, str]] = []
        self.dismissed: list[str] = []

    def welcome(self, bare_jid: str, text: str) -> None:
        """See `Hall.welcome`."""
        self.welcomed.append((bare_jid, text))

    def dismiss(self, bare_jid: str) -> None:
        """See `Hall.dismiss`."""
        self.dismissed.append(bare_jid)


def child(element: domish.Element, name: str) -> domish.Element:
    """Return the first child with this name."""
    return next(e for e in element.elements() if e.name == name)


def error_of(element: domish.Element) -> list[str]:
    """Return type and conditions of an error."""
    error = child(element, "error")
    return [error["type"], *(e.name for e in error.elements() if e.name != "text")]


class CommandsTests(SynchronousTestCase):
    """Commands with forms."""

    def setUp(self) -> None:
        self.world, self.desk = a_world()
        self.inbox = StubInbox()
        self.clock = Clock()
        numbers = count(1)
        registration = Registration(self.world, self.inbox, self.clock, SilentHall())
        self.registration = registration
        self.commands = Commands(
            Menu(self.world, self.inbox, "xmpp", DOMAIN, lambda: NOW_MS),
            self.clock,
            DOMAIN,
            registration,
            random_id=lambda: f"s{next(numbers)}",
        )
        self.ids: Iterator[int] = count(1)

    def person(self, label: str | None) -> Person | None:
        """Return a person, None for a stranger."""
        return self.world.directory.persons[label] if label else None

    def start(
        self,
        payload: str,
        kind: str = "set",
        *,
        person: str | None = "alice",
        sender: str = PHONE,
        to: str = DOMAIN,
    ) -> Deferred[domish.Element | None]:
        """Send an iq."""
        iq = parse(
            f"<iq type='{kind}' id='{next(self.ids)}' from='{sender}' to='{to}'>{payload}</iq>"
        )
        return self.commands.handle(iq, self.person(person))

    def ask(
        self, payload: str, kind: str = "set", *, person: str | None = "alice", sender: str = PHONE
    ) -> domish.Element:
        """Send an iq and return the answer as the client reads it."""
        answer = self.successResultOf(self.start(payload, kind, person=person, sender=sender))
        assert answer is not None
        read = parse(answer.toXml())
        self.assertEqual((read["from"], read["to"]), (DOMAIN, sender))
        return read

    def command(
        self,
        node: str,
        action: str = "execute",
        session: str = "",
        /,
        *,
        person: str = "alice",
        sender: str = PHONE,
        **values: str | list[str],
    ) -> domish.Element:
        """Run one stage of a command; returns its `command` element."""
        answer = self.ask(
            self.request(node, action, session, **values), person=person, sender=sender
        )
        self.assertEqual(answer["type"], "result", answer.toXml())
        return child(answer, "command")

    def request(
        self, node: str, action: str = "execute", session: str = "", /, **values: str | list[str]
    ) -> str:
        """Return the payload of one stage."""
        fields = ""
        for name, value in values.items():
            each = [value] if isinstance(value, str) else value
            fields += f"<field var='{name}'>{''.join(f'<value>{v}</value>' for v in each)}</field>"
        form = f"<x xmlns='jabber:x:data' type='submit'>{fields}</x>" if values else ""
        session = f" sessionid='{session}'" if session else ""
        return (
            f"<command xmlns='{NS_COMMANDS}' node='{node}' action='{action}'{session}>{form}"
            "</command>"
        )

    def note(self, command: domish.Element) -> tuple[str, str]:
        """Return type and text of a command's note."""
        note = child(command, "note")
        return note["type"], str(note)

    def field_names(self, command: domish.Element) -> list[str]:
        """Return the names of the fields of a command's form."""
        return [e["var"] for e in child(command, "x").elements() if e.name == "field"]

    # -- discovery

    def test_list_holds_what_the_person_may_run(self) -> None:
        """Operators see more, strangers nothing."""
        query = f"<query xmlns='{NS_DISCO_ITEMS}' node='{NS_COMMANDS}'/>"

        def nodes(person: str | None) -> list[str]:
            items = child(self.ask(query, "get", person=person), "query").elements()
            return [item["node"] for item in items]

        own, operators = nodes("alice"), nodes("root")
        self.assertIn("status", own)
        self.assertNotIn("reload", own)
        self.assertNotIn("help", own)
        self.assertLessEqual({"status", "reload", ANNOUNCE}, set(operators))
        self.assertEqual(nodes(None), [])

    def test_info_of_each_command(self) -> None:
        """Every listed node says what it is; who may not run it does not find it."""
        for command in COMMANDS:
            if command.chat_only:
                continue
            query = f"<query xmlns='{NS_DISCO_INFO}' node='{command.address}'/>"
            found = child(self.ask(query, "get", person="root"), "query")
            identity = child(found, "identity")
            features = [e["var"] for e in found.elements() if e.name == "feature"]
            self.assertEqual(
                (identity["category"], identity["type"]), ("automation", "command-node")
            )
            self.assertIn("jabber:x:data", features)
            stranger = self.ask(query, "get", person=None)
            self.assertEqual(error_of(stranger), ["cancel", "item-not-found"])
            if command.admin:
                self.assertEqual(self.ask(query, "get")["type"], "error")

    def test_list_itself_has_an_info(self) -> None:
        """The node of the list is a list of commands."""
        found = self.ask(f"<query xmlns='{NS_DISCO_INFO}' node='{NS_COMMANDS}'/>", "get")

        self.assertEqual(child(child(found, "query"), "identity")["type"], "command-list")

    def test_other_iqs_are_left_to_others(self) -> None:
        """What is not about commands or registration, or not for the bridge, is not answered."""
        info = f"<query xmlns='{NS_DISCO_INFO}'"
        for payload, kind, to in (
            (f"{info}/>", "get", DOMAIN),
            (f"{info} node='nowhere'/>", "get", DOMAIN),
            ("<ping xmlns='urn:xmpp:ping'/>", "get", DOMAIN),
            (self.request("status"), "get", DOMAIN),
            (self.request("status"), "set", f"+12025550123@{DOMAIN}"),
            (self.request("status"), "result", DOMAIN),
            ("", "get", DOMAIN),
        ):
            answer = self.successResultOf(self.start(payload, kind, to=to))
            self.assertIsNone(answer, payload)

    def test_features(self) -> None:
        """Registration is announced where it is open."""
        hook: CommandsHook = self.commands
        self.assertEqual(hook.features(), ())
        self.registration.is_open = True
        self.assertEqual(hook.features(), ("jabber:iq:register",))

    # -- one stage

    def test_command_without_choices_is_done_at_once(self) -> None:
        """A short answer is a note, a long one a form with lines."""
        whoami = self.command("whoami")
        self.assertEqual((whoami["status"], whoami["node"]), ("completed", "whoami"))

        lines = [str(e) for e in child(child(whoami, "x"), "field").elements()]
        self.assertEqual(lines[0], "You are alice, writing from alice@example.org.")

        reload = self.command("reload", person="root")
        self.assertEqual(self.note(reload), ("info", "line 2001 was added"))

    def test_line_is_asked_for_only_where_there_is_a_choice(self) -> None:
        """Who has one line or none runs status at once; alice chooses among hers alone."""
        direct = self.command("status", person="root")
        page = self.command("status")

        self.assertEqual(direct["status"], "completed")
        options = [e for e in child(child(page, "x"), "field").elements() if e.name == "option"]
        self.assertEqual([str(o.value) for o in options], ["2001", "work"])

    def test_first_request_may_carry_the_form(self) -> None:
        """A program runs a command in one round trip."""
        done = self.command("status", line="work")

        self.assertEqual(done["status"], "completed")
        self.assertIn("work (+12025550101)", self.note(done)[1])

    def test_line_of_somebody_else_is_refused(self) -> None:
        """A value that was not offered is refused in a note, and the page is shown again."""
        again = self.command("status", line="secret")

        self.assertEqual((again["status"], self.note(again)[0]), ("executing", "error"))
        self.assertIn("no line secret", self.note(again)[1])

    def test_send(self) -> None:
        """Number and text are asked for and sent."""
        page = self.command("send")
        self.assertEqual(page["status"], "executing")
        self.assertEqual(self.field_names(page), ["number", "text", "line"])
        actions = child(page, "actions")
        self.assertEqual(actions["execute"], "complete")
        self.assertEqual([e.name for e in actions.elements()], ["complete"])

        done = self.command(
            "send",
            "complete",
            page["sessionid"],
            number="+12025550123",
            text=["hello", "there"],
            line="work",
        )

        (message,) = self.inbox.messages
        assert isinstance(message, FromPerson)
        self.assertEqual((message.body, message.line), ("hello\nthere", "work"))
        self.assertEqual(done["status"], "completed")

    def test_missing_values_are_told_in_a_note(self) -> None:
        """What is required and empty is named; what was filled in stays."""
        page = self.command("send")
        again = self.command("send", "complete", page["sessionid"], number="+12025550123", text=" ")

        self.assertEqual((again["status"], again["sessionid"]), ("executing", page["sessionid"]))
        self.assertEqual(self.note(again), ("error", "Text is missing."))
        number = child(child(again, "x"), "field")
        self.assertEqual(str(number.value), "+12025550123")

    def test_refusal_ends_the_command_with_an_error_note(self) -> None:
        """What the bridge refuses is said in a sentence."""
        self.inbox.failure = Refused("throttled")
        done = self.command("send", number="+12025550123", text="x")

        self.assertEqual(done["status"], "completed")
        self.assertEqual(
            self.note(done), ("error", "Too many texts in a short time; try again later.")
        )

    def test_used_session_is_not_used_again(self) -> None:
        """A client that repeats its last page does not send a second text."""
        page = self.command("send")
        request = self.request(
            "send", "complete", page["sessionid"], number="+12025550123", text="x"
        )
        self.ask(request)
        again = self.ask(request)

        self.assertEqual(error_of(again), ["modify", "bad-request", "bad-sessionid"])
        self.assertEqual(len(self.inbox.messages), 1)

    def test_two_requests_at_once_are_one(self) -> None:
        """While a command runs its session is in nobody's reach."""
        self.desk.held = Deferred()
        page = self.command("ussd")
        request = self.request("ussd", "complete", page["sessionid"], code="*100#")
        first, second = self.start(request), self.start(request)

        refused = self.successResultOf(second)
        self.desk.held.callback(None)
        done = self.successResultOf(first)

        assert refused is not None and done is not None
        self.assertEqual((refused["type"], done["type"]), ("error", "result"))
        self.assertEqual(len(self.desk.codes), 1)

    def test_cancel_action_ends_the_session(self) -> None:
        """A canceled command is gone."""
        page = self.command("send")
        done = self.command("send", "cancel", page["sessionid"])
        again = self.ask(self.request("send", "complete", page["sessionid"], number="1", text="x"))

        self.assertEqual(done["status"], "canceled")
        self.assertEqual(error_of(again)[2], "bad-sessionid")

    def test_cancel_command_offers_the_waiting_texts(self) -> None:
        """One waiting text is chosen from a list of one's own; with none there is a note."""
        none = self.command("cancel")
        self.assertEqual(none["status"], "completed")

        self.desk.deliveries = [a_delivery("0001aaaaaa"), a_delivery("0002bbbbbb")]
        self.desk.messages = [
            a_message("0001aaaaaa", "mine", author="alice"),
            a_message("0002bbbbbb", "of bob", author="bob"),
        ]
        page = self.command("cancel")
        foreign = self.command("cancel", "complete", page["sessionid"], id="0002bbbbbb")
        done = self.command("cancel", "complete", foreign["sessionid"], id="0001aaaaaa")

        self.assertEqual(self.note(foreign)[0], "error")
        self.assertEqual(done["status"], "completed")
        self.assertEqual(self.desk.dropped, [("0001aaaaaa.0",)])

    # -- several stages

    def test_queue_asks_which_on_a_second_page(self) -> None:
        """The second page depends on the first; prev goes back to it."""
        self.desk.deliveries = [a_delivery("0001aaaaaa", status=Status.UNCERTAIN)]
        first = self.command("queue", person="root")
        self.assertEqual([e.name for e in child(first, "actions").elements()], ["next"])
        session = first["sessionid"]

        second = self.command("queue", "next", session, person="root", action="retry")
        self.assertEqual(self.field_names(second), ["ids"])
        self.assertEqual(
            [e.name for e in child(second, "actions").elements()], ["prev", "complete"]
        )
        back = self.command("queue", "prev", session, person="root")
        self.assertEqual(self.field_names(back), ["action"])
        self.assertEqual(str(child(child(back, "x"), "field").value), "retry")
        self.command("queue", "execute", session, person="root", action="drop")
        done = self.command("queue", "complete", session, person="root", ids=["0001aaaaaa.0"])

        self.assertEqual(done["status"], "completed")
        self.assertEqual((self.desk.retried, self.desk.dropped), ([], [("0001aaaaaa.0",)]))

    def test_queue_list_needs_no_second_page(self) -> None:
        """A page that does not apply is left out."""
        self.desk.deliveries = [a_delivery("0001aaaaaa")]
        first = self.command("queue", person="root")
        done = self.command("queue", "next", first["sessionid"], person="root", action="list")

        self.assertEqual(done["status"], "completed")
        self.assertIn("#aaaaaa.0", self.note(done)[1])

    def test_actions_that_do_not_fit_the_page(self) -> None:
        """Completing too early, or going back from the first page, is refused; the page stays."""
        self.desk.deliveries = [a_delivery("0001aaaaaa")]
        session = self.command("queue", person="root")["sessionid"]
        for action in ("complete", "prev"):
            request = self.request("queue", action, session, action="drop")
            answer = self.ask(request, person="root")
            self.assertEqual(error_of(answer), ["modify", "bad-request", "bad-action"])
        last = self.command("queue", "next", session, person="root", action="drop")

        self.assertEqual(last["status"], "executing")

    # -- who may

    def test_operators_only_at_every_stage(self) -> None:
        """Who is no operator cannot begin, nor go on after losing the right."""
        self.desk.deliveries = [a_delivery("0001aaaaaa")]
        began = self.ask(self.request("queue"))
        self.assertEqual(error_of(began), ["auth", "forbidden"])

        session = self.command("queue", person="root")["sessionid"]
        request = self.request("queue", "next", session, action="drop")
        answer = self.ask(request, person="alice")

        self.assertEqual(error_of(answer), ["auth", "forbidden"])
        self.assertEqual(self.desk.dropped, [])

    def test_session_is_no_credential(self) -> None:
        """Another device, even of the same person, cannot take over a session."""
        session = self.command("send")["sessionid"]
        request = self.request("send", "complete", session, number="+12025550123", text="x")
        answer = self.ask(request, sender="alice@example.org/other")

        self.assertEqual(error_of(answer)[2], "bad-sessionid")
        self.assertEqual(self.inbox.messages, [])

    def test_strangers_are_asked_to_register(self) -> None:
        """Who is not known runs nothing."""
        answer = self.ask(self.request("status"), person=None)

        self.assertEqual(error_of(answer), ["auth", "registration-required"])

    # -- sessions

    def test_session_expires(self) -> None:
        """After ten minutes without a word the command must be begun anew."""
        session = self.command("send")["sessionid"]
        self.clock.advance(601)
        request = self.request("send", "complete", session, number="+12025550123", text="x")
        answer = self.ask(request)

        self.assertEqual(error_of(answer), ["cancel", "not-allowed", "session-expired"])

    def test_sessions_of_one_person_are_bounded(self) -> None:
        """The eleventh open command ends the first, and nobody else's."""
        other = self.command("queue", person="root", sender="root@example.org/x")["sessionid"]
        sessions = [
            self.command("send", sender=f"alice@example.org/{n}")["sessionid"] for n in range(11)
        ]

        first = self.ask(self.request("send", "cancel", sessions[0]), sender="alice@example.org/0")
        self.assertEqual(first["type"], "error")
        for n in (1, 10):
            self.command("send", "cancel", sessions[n], sender=f"alice@example.org/{n}")
        self.command("queue", "cancel", other, person="root", sender="root@example.org/x")

    # -- bad requests

    def test_bad_requests(self) -> None:
        """Unknown commands, actions, sessions and forms are told apart."""
        page = "<x xmlns='jabber:x:data' type='form'/>"
        for payload, expected in (
            (self.request("dance"), ["cancel", "item-not-found"]),
            (self.request("status", "dance"), ["modify", "bad-request", "malformed-action"]),
            (self.request("send", "next"), ["modify", "bad-request", "bad-sessionid"]),
            (self.request("send", "next", "x"), ["modify", "bad-request", "bad-sessionid"]),
            (
                f"<command xmlns='{NS_COMMANDS}' node='send'>{page}</command>",
                ["modify", "bad-request", "bad-payload"],
            ),
        ):
            self.assertEqual(error_of(self.ask(payload)), expected, payload)

    def test_announce_has_the_form_of_the_specification(self) -> None:
        """Clients that know XEP-0133 find the form type and the field that they expect."""
        page = self.command(ANNOUNCE, person="root")
        self.assertEqual(self.field_names(page), ["FORM_TYPE", "announcement"])
        self.command(
            ANNOUNCE, "complete", page["sessionid"], person="root", announcement=["Down", "at noon"]
        )

        self.assertEqual(self.inbox.told[0], ("alice", "Announcement: Down\nat noon", ""))

    def test_bug_is_an_error_and_a_logged_failure(self) -> None:
        """Whatever goes wrong inside, the iq is answered."""
        self.desk.failure = ZeroDivisionError("bug")
        done = self.command("log", line="work", count="5")
        page = self.ask(self.request("cancel"))

        self.assertEqual(self.note(done)[0], "error")
        self.assertEqual(error_of(page), ["cancel", "internal-server-error"])
        self.assertEqual(len(self.flushLoggedErrors(ZeroDivisionError)), 2)

    def test_inbox_is_an_inbox(self) -> None:
        """The stand-in has the methods of the real one."""
        verifyObject(IInbox, self.inbox)

    @given(
        st.sampled_from([*(c.address for c in COMMANDS), "x"]),
        st.sampled_from(["execute", "next", "prev", "complete", "cancel", "x"]),
        st.dictionaries(
            st.sampled_from(["line", "count", "number", "text", "code", "id", "action", "ids"]),
            st.lists(st.sampled_from(["", "2001", "retry", "5", "*100#", "all", "é"]), max_size=3),
        ),
    )
    def test_any_request_gets_an_answer(
        self, node: str, action: str, values: dict[str, list[str]]
    ) -> None:
        """No request raises or stays without an answer."""
        for person in ("alice", "root"):
            answer = self.ask(self.request(node, action, **values), person=person)  # type: ignore[arg-type]
            self.assertIn(answer["type"], ("result", "error"))
        self.assertEqual(self.flushLoggedErrors(), [])
