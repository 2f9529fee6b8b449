"""Tests of where messages go."""

from __future__ import annotations

import re
from typing import Any

from attrs import evolve
from hypothesis import given
from hypothesis import strategies as st
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.book import PersonalBook
from smsbridge.core.directory import Directory, Person
from smsbridge.core.message import FromPerson
from smsbridge.core.routing import (
    Outbound,
    Target,
    conversation,
    persons_of,
    route_outbound,
    targets_of,
)
from smsbridge.errors import Refused
from tests.core.rig import JANE, JOHN, NUMBER, OTHER, directory


class ConversationTests(SynchronousTestCase):
    """A line and the set of the other parties."""

    def test_order_and_repeats_do_not_matter(self) -> None:
        """A set is a set."""
        self.assertEqual(conversation("one", ("b", "a", "b")), "one|a,b")
        self.assertNotEqual(conversation("one", ("a",)), conversation("two", ("a",)))

    @given(st.sets(st.from_regex(r"\+1202555[0-9]{4}", fullmatch=True), max_size=60))
    def test_fits_its_column_and_stays_distinct(self, parties: set[str]) -> None:
        """A large group ends in a digest of everybody in it."""
        name = conversation("x" * 64, parties)

        self.assertLessEqual(len(name), 400)
        self.assertEqual(name, conversation("x" * 64, sorted(parties, reverse=True)))
        self.assertNotEqual(name, conversation("x" * 64, {*parties, "12345"}))


class TargetTests(SynchronousTestCase):
    """Where persons get their texts."""

    def test_every_address_that_a_gateway_serves(self) -> None:
        """Each kind in its order; what no gateway serves is left out."""
        both = Person(label="p", xmpp=(JOHN, JANE), sip=("p",), dect=("101",))
        served = directory(serving={"xmpp": "chat", "dect": "base"})

        self.assertEqual(
            targets_of(served, both),
            (Target("p", "chat", JOHN), Target("p", "chat", JANE), Target("p", "base", "101")),
        )

    def test_an_address_written_twice_gets_a_text_once(self) -> None:
        """A slip in the configuration doubles nothing."""
        person = Person(label="p", xmpp=(JOHN, JOHN), receive=("xmpp", "xmpp"))

        self.assertEqual(targets_of(directory(), person), (Target("p", "chat", JOHN),))

    def test_fallbacks_get_what_nobody_has(self) -> None:
        """Only where no person has the line."""
        boss = Person(label="boss", fallback=True)
        john = Person(label="john", lines=("one",))
        found = directory(persons={"boss": boss, "john": john})

        self.assertEqual(persons_of(found, "one"), (john,))
        self.assertEqual(persons_of(found, "two"), (boss,))


class OutboundTests(SynchronousTestCase):
    """What persons want sent."""

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = directory()

    def line(self, label: str, **changes: Any) -> Directory:
        """Return the directory with a line changed."""
        lines = dict(self.directory.lines)
        lines[label] = evolve(lines[label], **changes)
        return evolve(self.directory, lines=lines)

    def route(
        self, *recipients: str, person: str = "john", of: Directory | None = None, **more: Any
    ) -> Outbound:
        """Route a text."""
        incoming = FromPerson(person=person, recipients=recipients, body="x", **more)
        return route_outbound(of or self.directory, incoming)

    def refused(self, *recipients: str, **more: Any) -> Refused:
        """Return why a text was refused."""
        error = self.assertRaises(Refused, self.route, *recipients, **more)
        assert isinstance(error, Refused)
        return error

    def test_a_handle_means_a_group_of_contacts(self) -> None:
        """Written with @, in any case; numbers of one line are asked as if they were typed."""
        book = PersonalBook(groups={"family": (NUMBER, OTHER), "work": (OTHER,)})
        incoming = FromPerson(person="john", recipients=(" @Family", "@work", "jane"), body="x")

        found = route_outbound(self.directory, incoming, book)

        self.assertEqual(found.numbers, (NUMBER, OTHER))
        self.assertEqual([person.label for person in found.persons], ["jane"])

    def test_an_unknown_handle_names_those_there_are(self) -> None:
        """A slip of the finger is easy to mend; the operator has no contacts."""
        groups = dict.fromkeys(("work", "family"), (NUMBER,))
        many = {f"g{number:02}": (NUMBER,) for number in range(11)}
        for person, book, expected in (
            ("john", PersonalBook(groups=groups), "your groups are @family, @work."),
            ("john", PersonalBook(groups=many), "@g09 and others."),
            ("john", PersonalBook(), "you have no groups yet"),
            ("john", None, "you have no groups yet"),
            ("", None, "go to numbers and persons"),
        ):
            incoming = FromPerson(person=person, recipients=("@famliy",), body="x", line="one")
            error = self.assertRaises(Refused, route_outbound, self.directory, incoming, book)
            self.assertEqual(error.reason, "invalid-number")
            self.assertIn("@famliy", str(error))
            self.assertIn(expected, str(error))

    def test_one_message_has_bounded_recipients(self) -> None:
        """Nobody writes to ten thousand by a slip."""
        numbers = tuple(f"+1202555{number:04}" for number in range(1001))

        self.assertEqual(self.refused(*numbers).reason, "unsupported")
        self.assertEqual(len(self.route(*numbers[:1000]).numbers), 1000)

    def test_numbers_as_typed(self) -> None:
        """Every spelling of a number is that number, once; short codes stay."""
        found = self.route("(202) 555-0123", NUMBER, "+1 202 555 0124", "123-45")

        self.assertEqual(found.numbers, (NUMBER, OTHER, "12345"))
        assert found.line is not None
        self.assertEqual(found.line.label, "one")

    def test_numbers_of_the_persons_country(self) -> None:
        """A person abroad types the numbers of another country."""
        persons = dict(self.directory.persons)
        persons["john"] = evolve(persons["john"], country="GB")
        abroad = evolve(self.directory, persons=persons)

        self.assertEqual(self.route("020 7946 0123", of=abroad).numbers, ("+442079460123",))

    def test_persons_by_name(self) -> None:
        """A person is reached without a line, each once."""
        found = self.route("jane", "jane")

        self.assertEqual(found, Outbound(None, (), (self.directory.persons["jane"],)))

    def test_numbers_and_persons_together(self) -> None:
        """The line is for the numbers alone."""
        found = self.route(NUMBER, "jane", line="two")

        assert found.line is not None
        self.assertEqual((found.line.label, found.numbers), ("two", (NUMBER,)))
        self.assertEqual([person.label for person in found.persons], ["jane"])

    def test_strangers_send_nothing(self) -> None:
        """An unknown person is refused."""
        self.assertEqual(self.refused(NUMBER, person="eve").reason, "unknown-person")

    def test_somebody_must_get_it(self) -> None:
        """A text to nobody is refused."""
        self.assertEqual(self.refused().reason, "empty")

    def test_no_number(self) -> None:
        """What is no number is refused with an example."""
        refusal = self.refused("call me")

        self.assertEqual(refusal.reason, "invalid-number")
        self.assertIn("+1", str(refusal))

    def test_only_lines_of_ones_own(self) -> None:
        """A line of others and one that there is not get the same answer."""
        others = self.refused(NUMBER, person="jane", line="two")
        missing = self.refused(NUMBER, person="jane", line="three")

        self.assertEqual((others.reason, missing.reason), ("unknown-line", "unknown-line"))
        self.assertEqual(str(others), str(missing).replace("three", "two"))

    def test_the_operator_may_use_any_line_by_name(self) -> None:
        """Without a person the line must be said."""
        found = self.route(NUMBER, person="", line="two")

        assert found.line is not None
        self.assertEqual(found.line.label, "two")
        refusal = self.refused(NUMBER, person="")
        self.assertEqual(
            (refusal.reason, str(refusal)), ("not-permitted", "Say which line to use.")
        )
        self.assertEqual(self.refused(NUMBER, person="", line="x").reason, "unknown-line")

    def test_a_person_without_lines_texts_no_numbers(self) -> None:
        """Closed unless the configuration opens it."""
        persons = {"mute": Person(label="mute", xmpp=("mute@example.org",))}

        refusal = self.refused(NUMBER, person="mute", of=directory(persons=persons))

        self.assertEqual(refusal.reason, "not-permitted")

    def test_a_line_that_is_switched_off(self) -> None:
        """It says so."""
        refusal = self.refused(NUMBER, of=self.line("one", enabled=False))

        self.assertEqual(refusal.reason, "line-disabled")

    def test_destinations_that_a_line_may_not_text(self) -> None:
        """Every number must match, in E.164 and as a short code."""
        guarded = self.line("one", allow=re.compile(r"^\+1202"))

        self.assertEqual(self.route(NUMBER, of=guarded).numbers, (NUMBER,))
        for recipients in (("+442079460123",), (NUMBER, "+442079460123"), ("12345",)):
            refusal = self.refused(*recipients, of=guarded)
            self.assertEqual(refusal.reason, "destination-not-allowed")
            self.assertIn(recipients[-1], str(refusal))

    def test_groups(self) -> None:
        """One conversation of several is refused unless the line makes separate texts of it."""
        self.assertEqual(self.refused(NUMBER, OTHER, group=True).reason, "unsupported")
        self.assertEqual(self.route(NUMBER, group=True).numbers, (NUMBER,))
        self.assertEqual(self.route(NUMBER, OTHER).numbers, (NUMBER, OTHER))
        separate = self.line("one", groups="separate")
        self.assertEqual(
            self.route(NUMBER, OTHER, group=True, of=separate).numbers, (NUMBER, OTHER)
        )

    def test_groups_larger_than_a_line_carries(self) -> None:
        """They are refused, with what can be done; copies to each are no group."""
        groups = self.line("one", carries_groups=True, most_in_group=1)

        refusal = self.refused(NUMBER, OTHER, group=True, of=groups)

        self.assertEqual(refusal.reason, "unsupported")
        self.assertIn("goes to 1 numbers at most, this one to 2", str(refusal))
        enough = self.line("one", carries_groups=True, most_in_group=2)
        separate = self.line("one", carries_groups=True, most_in_group=1, groups="separate")
        for recipients, more in (
            ((NUMBER, OTHER), {"group": True, "of": enough}),
            ((NUMBER, OTHER), {"group": True, "of": separate}),
            ((NUMBER, OTHER), {"of": groups}),
            ((NUMBER,), {"group": True, "of": groups}),
        ):
            self.assertEqual(self.route(*recipients, **more).numbers, recipients)
