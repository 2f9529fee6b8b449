"""Tests of the directory of lines and persons."""

from __future__ import annotations

from attrs import evolve
from twisted.trial.unittest import SynchronousTestCase

from smsbridge.core.directory import Directory, Line, Person, World
from tests.core.rig import JANE, JOHN, directory


class DirectoryTests(SynchronousTestCase):
    """Who there is, found by line, address and number."""

    def setUp(self) -> None:
        """Make a directory."""
        self.directory = directory()
        self.john = self.directory.persons["john"]
        self.jane = self.directory.persons["jane"]

    def test_persons_of_each_line(self) -> None:
        """In the order of the configuration."""
        self.assertEqual(
            self.directory.persons_of_line, {"one": (self.john, self.jane), "two": (self.john,)}
        )

    def test_persons_by_address(self) -> None:
        """A bare JID leads to its person, anything else to nobody."""
        self.assertIs(self.directory.person_at("xmpp", JANE), self.jane)
        self.assertIsNone(self.directory.person_at("sip", JANE))
        self.assertIsNone(self.directory.person_at("xmpp", "x"))

    def test_lines_by_number(self) -> None:
        """Our own numbers; a line without one is not found by it."""
        lines = {**self.directory.lines, "new": Line(label="new", gateway="box")}
        found = evolve(self.directory, lines=lines).line_by_number

        self.assertEqual(
            {number: line.label for number, line in found.items()},
            {"+12025550100": "one", "+12025550101": "two"},
        )

    def test_fallbacks(self) -> None:
        """Those who get what nobody else gets."""
        self.assertEqual(self.directory.fallbacks, ())
        some = directory(persons={"boss": Person(label="boss", fallback=True), "john": self.john})
        self.assertEqual([person.label for person in some.fallbacks], ["boss"])

    def test_addresses_that_persons_added(self) -> None:
        """A new address belongs to its person; known ones and unknown persons are passed over."""
        more = self.directory.with_addresses(
            [
                ("xmpp", "new@example.org", "jane"),
                ("xmpp", "new@example.org", "jane"),
                ("xmpp", "new@example.org", "john"),
                ("xmpp", JOHN, "jane"),
                ("xmpp", "x@example.org", "nobody"),
            ]
        )

        self.assertEqual(more.persons["jane"].xmpp, (JANE, "new@example.org"))
        self.assertEqual(more.persons["john"].xmpp, (JOHN,))
        found = more.person_at("xmpp", "new@example.org")
        assert found is not None
        self.assertEqual(found.label, "jane")
        self.assertIsNone(self.directory.person_at("xmpp", "new@example.org"))
        self.assertEqual([person.label for person in more.persons_of_line["one"]], ["john", "jane"])

    def test_numbers_that_devices_told(self) -> None:
        """A configured number stands, a learned one fills a gap, and none is given twice."""
        lines = {**self.directory.lines}
        for label in ("three", "four"):
            lines[label] = Line(label=label, gateway="box")
        more = evolve(self.directory, lines=lines).with_numbers(
            {
                "one": "+12025550109",
                "three": "+12025550102",
                "four": "+12025550101",
                "nowhere": "+12025550103",
            }
        )

        self.assertEqual(
            {label: line.number for label, line in more.lines.items()},
            {"one": "+12025550100", "two": "+12025550101", "three": "+12025550102", "four": ""},
        )

    def test_receives_at_every_address_unless_told_otherwise(self) -> None:
        """`receive` names fewer."""
        person = Person(label="p", xmpp=("p@example.org",), dect=("101",))

        self.assertEqual(person.receives, ("xmpp", "dect"))
        self.assertEqual(evolve(person, receive=("dect",)).receives, ("dect",))

    def test_a_world_begins_empty(self) -> None:
        """There is a directory from the start."""
        self.assertEqual(World().directory, Directory())
        self.assertIsNone(World().desk)
