"""
What all parts of the gateway share: who a JID of a user is, and whom a JID of ours means to them.

Which lines and numbers exist is asked of the directory at the time of use.  Nothing of one person
is used to answer another.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from attrs import define, field, frozen
from twisted.internet.interfaces import IReactorTime

from smsbridge.core.directory import Directory, Person, World
from smsbridge.errors import Refused
from smsbridge.gateways.xmpp import addresses, stanzas
from smsbridge.gateways.xmpp.addresses import Peer
from smsbridge.gateways.xmpp.conditions import Condition
from smsbridge.gateways.xmpp.config import XmppGateway

__all__ = ["REGISTRATION_REQUIRED", "Component", "Target"]

#: What strangers hear; `Component.stranger` adds how to become a user.
REGISTRATION_REQUIRED = Condition(
    "auth",
    "registration-required",
    "You are not a user of this gateway; ask its operator.",
    "unknown-person",
)


@frozen(kw_only=True)
class Target:
    """Whom a person means by a JID of our domain."""

    peer: Peer
    jid: str  # the canonical one, where answers come from
    line: str = ""  # the label; empty for the person's default
    recipients: tuple[str, ...] = ()  # as the core wants them; empty if it cannot be written to
    own_line: str = ""  # the line whose number it is, if that is one of the person's own


@define(eq=False)
class Component:
    """
    The gateway as its parts see it.

    :ivar send: writes one stanza while the link is up, see `ComponentStream.send`.
    """

    label: str
    config: XmppGateway
    world: World
    clock: IReactorTime
    send: Callable[[str], Any]
    random_id: Callable[[], str]
    _persons: dict[str, str] = field(factory=dict)
    _persons_of: Directory | None = None

    @property
    def domain(self) -> str:
        """Our domain."""
        return self.config.domain

    def now_ms(self) -> int:
        """Return the time of day in milliseconds since 1970 UTC."""
        return int(self.clock.seconds() * 1000)

    def person_at(self, jid: str) -> Person | None:
        """Return the person with this JID, full or bare."""
        return self.world.directory.person_at("xmpp", addresses.bare(jid))

    def may_ask(self, jid: str, person: Person | None) -> bool:
        """Tell whether a user may know what we are."""
        return person is not None or addresses.domain_of(jid) in self.config.allowed

    def stranger(self, jid: str) -> Condition:
        """Return what a stranger is told."""
        if self.config.registration == "code" and addresses.domain_of(jid) in self.config.allowed:
            return Condition(
                "auth",
                "registration-required",
                f"You are not a user of this gateway yet; register with {self.domain} in your "
                "client's list of services.",
                "unknown-person",
            )
        return REGISTRATION_REQUIRED

    def country(self, person: Person | None) -> str:
        """Return the country whose national numbers a person types."""
        return (person.country if person is not None else "") or self.world.directory.country

    def shown_line(self, person: str, line: str) -> str:
        """Return what stands after ``%`` for a person: nothing for the default line."""
        if not line:
            return ""
        known = self.world.directory.persons.get(person)
        return line if known is not None and known.lines[:1] != (line,) else ""

    def jid_of(self, peer: Peer, line: str = "") -> str:
        """Return the canonical JID of a peer."""
        return addresses.jid_of(peer, self.domain, line, self.config.phone_context)

    def name_of(self, person: str, number: str) -> str:
        """Return the name that a person's own contacts have for a number, empty if none."""
        return self.world.book.name(person, number)

    def read(self, jid: str, person: Person | None) -> addresses.Contact:
        """
        Return what a JID of ours says, whether or not it exists.

        :raises AddressError: it says nothing.
        """
        local = addresses.local_of(jid)
        if not local:
            return addresses.Contact(peer=addresses.Bridge())
        return addresses.parse(local, self.domain, self.country(person), self.config.phone_context)

    def resolve(self, jid: str, person: Person) -> Target:
        """
        Return whom a person means by a JID of ours.

        :raises Refused: it is no address, a line that the person does not have, or nobody.
        """
        try:
            contact = self.read(jid, person)
        except addresses.AddressError as e:
            raise Refused("invalid-number", str(e)) from None
        line = self._line(person, contact.line)
        peer = contact.peer
        if isinstance(peer, addresses.Person):
            label = self._person_named(peer.label)
            return Target(peer=peer, jid=self.jid_of(peer), recipients=(label,))
        return Target(
            peer=peer,
            jid=self.jid_of(peer, self.shown_line(person.label, line)),
            line=line,
            recipients=contact.recipients,
            own_line=self._own_line(person, peer) if not contact.line else "",
        )

    def _line(self, person: Person, given: str) -> str:
        if not given:
            return ""
        for label in person.lines:
            if addresses.same_line(label, given):
                return label
        # The same answer for lines of others and for none, so that nobody learns which there are.
        raise Refused("unknown-line", f"There is no line {given} for you.")

    def _own_line(self, person: Person, peer: Peer) -> str:
        if not self.config.own_number_commands or not isinstance(peer, addresses.Number):
            return ""
        lines = self.world.directory.lines
        for label in person.lines:
            line = lines.get(label)
            if line is not None and line.number == peer.e164:
                return label
        return ""

    def _person_named(self, given: str) -> str:
        directory = self.world.directory
        if directory is not self._persons_of:
            self._persons = {
                addresses.local_of(self.jid_of(addresses.Person(label))): label
                for label in directory.persons
            }
            self._persons_of = directory
        label = self._persons.get(addresses.local_of(self.jid_of(addresses.Person(given))))
        if label is None:
            raise Refused("unroutable", f"Nobody here is called {given}; write to a number.")
        return label

    def note(self, to: str, sender: str, text: str) -> None:
        """Say something to a user that need not survive a broken link."""
        self.send(stanzas.note(to, sender, self.random_id(), text))
