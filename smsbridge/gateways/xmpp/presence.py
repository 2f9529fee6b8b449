"""
Answers presence and subscriptions, shows users the state of their lines, and knows who is online.

Subscriptions live on the users' servers; nothing of them is kept here, so every answer is made from
the stanza and the directory alone (RFC 6121, 3 and 4).  Both directions are asked for, since many
clients load pictures only from mutual contacts, and only then do we see who is there.  A number is
always plainly available: only the bridge's own JID shows trouble, because a burst of presences
wakes up every phone.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Mapping
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger
from twisted.words.xish import domish

from smsbridge.core.directory import Person
from smsbridge.core.records import LineStatus
from smsbridge.errors import Refused
from smsbridge.gateways.xmpp import addresses, disco, stanzas
from smsbridge.gateways.xmpp.component import Component, Target

__all__ = ["Presences"]

#: Who has said something this short a time ago is taken to be there.
_HEARD_S: Final = 10.0
_MOST_HEARD: Final = 10_000
_MOST_DEVICES: Final = 32  # of one person that are kept track of
#: The device of a number, since presence with capabilities comes from a full JID (XEP-0115).
_RESOURCE: Final = "sms"
_UNANSWERABLE: Final = "Cannot receive replies."


@define(eq=False)
class Presences:
    """
    Everything about presence.

    :param gateway_entity: returns what the bridge announces, for the capabilities.
    :param left: told the bare JID of a user who removed the bridge from the contacts.
    """

    component: Component
    gateway_entity: Callable[[], disco.Entity]
    left: Callable[[str], Any] = lambda bare_jid: None
    _there: dict[str, set[str]] = field(factory=dict)  # bare JID -> full JIDs
    _gone: OrderedDict[str, None] = field(factory=OrderedDict)
    _heard: OrderedDict[str, float] = field(factory=OrderedDict)
    _shown: dict[str, tuple[str, str]] = field(factory=dict)  # bare JID -> show and status
    _log: Logger = field(factory=Logger)

    # -- who is there

    def heard(self, full_jid: str) -> None:
        """Note that a device has said something just now."""
        self._heard[full_jid] = self.component.clock.seconds()
        self._heard.move_to_end(full_jid)
        if len(self._heard) > _MOST_HEARD:
            self._heard.popitem(last=False)

    def is_online(self, full_jid: str) -> bool | None:
        """Tell whether a device is there; None if that is not known."""
        if full_jid in self._there.get(addresses.bare(full_jid), ()):
            return True
        if full_jid in self._gone:
            return False
        at_s = self._heard.get(full_jid)
        if at_s is not None and self.component.clock.seconds() - at_s < _HEARD_S:
            return True
        return None

    def forget(self) -> None:
        """The link is gone: nobody tells us any more who comes and goes."""
        self._there.clear()
        self._gone.clear()
        self._heard.clear()
        self._shown.clear()

    def _arrived(self, full_jid: str) -> None:
        devices = self._there.setdefault(addresses.bare(full_jid), set())
        if len(devices) < _MOST_DEVICES:
            devices.add(full_jid)
        self._gone.pop(full_jid, None)

    def _went(self, full_jid: str) -> None:
        bare_jid = addresses.bare(full_jid)
        devices = self._there.get(bare_jid)
        if devices is not None:
            devices.discard(full_jid)
            if not devices:
                del self._there[bare_jid]
        self._heard.pop(full_jid, None)
        self._gone[full_jid] = None
        if len(self._gone) > _MOST_HEARD:
            self._gone.popitem(last=False)

    # -- what users send

    def received(self, element: domish.Element) -> None:
        """Take a presence stanza."""
        sender = element.getAttribute("from", "")
        to = element.getAttribute("to", "")
        kind = element.getAttribute("type", "")
        if kind == "error" or addresses.domain_of(sender) == self.component.domain:
            return
        if any(
            child.uri == "http://jabber.org/protocol/muc#user"
            for child in element.elements()
            if child.name == "x"
        ):
            return
        person = self.component.person_at(sender)
        if person is None:
            self._stranger(element, sender, to, kind)
            return
        match kind:
            case "":
                if addresses.resource_of(sender):
                    self._arrived(sender)
            case "unavailable":
                if addresses.resource_of(sender):
                    self._went(sender)
            case "subscribe":
                self._subscribe(addresses.bare(sender), to, person)
            case "probe":
                self._probe(sender, to, person)
            case "unsubscribe":
                self._unsubscribe(addresses.bare(sender), to)
            case _:  # subscribed and unsubscribed: an answer to them would go round for ever
                pass

    def _stranger(self, element: domish.Element, sender: str, to: str, kind: str) -> None:
        our_bare_jid = to.partition("/")[0]
        if kind == "subscribe":
            self.component.send(
                stanzas.presence_error(
                    addresses.bare(sender),
                    our_bare_jid,
                    self.component.stranger(sender),
                    element.getAttribute("id", ""),
                )
            )
        elif kind == "probe":
            self.component.send(
                stanzas.presence(addresses.bare(sender), our_bare_jid, "unsubscribed")
            )

    def _subscribe(self, bare_jid: str, to: str, person: Person) -> None:
        our_bare_jid = to.partition("/")[0]
        send = self.component.send
        try:
            target = self.component.resolve(to, person)
        except Refused as e:
            send(stanzas.presence(bare_jid, our_bare_jid, "unsubscribed", status=e.text))
            return
        send(stanzas.presence(bare_jid, our_bare_jid, "subscribed"))
        send(self._presence_of(bare_jid, our_bare_jid, target, person))
        send(
            stanzas.presence(
                bare_jid, our_bare_jid, "subscribe", nick=self._nick_of(target, person)
            )
        )

    def _probe(self, sender: str, to: str, person: Person) -> None:
        our_bare_jid = to.partition("/")[0]
        try:
            target = self.component.resolve(to, person)
        except Refused:
            self.component.send(
                stanzas.presence(addresses.bare(sender), our_bare_jid, "unsubscribed")
            )
            return
        self.component.send(self._presence_of(sender, our_bare_jid, target, person))

    def _unsubscribe(self, bare_jid: str, to: str) -> None:
        our_bare_jid = to.partition("/")[0]
        self.component.send(stanzas.presence(bare_jid, our_bare_jid, "unsubscribed"))
        self.component.send(stanzas.presence(bare_jid, our_bare_jid, "unavailable"))
        if not addresses.local_of(our_bare_jid):
            self.left(bare_jid)

    # -- what users see

    def _presence_of(self, to: str, our_bare_jid: str, target: Target, person: Person) -> str:
        peer = target.peer
        if isinstance(peer, addresses.Bridge):
            show, status = self._state(person, self._lines())
            return stanzas.presence(
                to, our_bare_jid, show=show, status=status, caps=self.gateway_entity().caps
            )
        if not target.recipients:
            return stanzas.presence(
                to,
                f"{our_bare_jid}/{_RESOURCE}",
                show="xa",
                status=_UNANSWERABLE,
                caps=disco.UNANSWERABLE.caps,
            )
        entity = disco.PERSON if isinstance(peer, addresses.Person) else disco.NUMBER
        return stanzas.presence(to, f"{our_bare_jid}/{_RESOURCE}", caps=entity.caps)

    def _nick_of(self, target: Target, person: Person) -> str:
        match target.peer:
            case addresses.Bridge():
                return self.component.config.name
            case addresses.Number(e164):
                return self.component.name_of(person.label, e164)
            case addresses.Name(text):
                return text
            case _:
                return ""

    def _lines(self) -> Mapping[str, LineStatus]:
        desk = self.component.world.desk
        return {} if desk is None else {status.line: status for status in desk.lines()}

    def _state(self, person: Person, lines: Mapping[str, LineStatus]) -> tuple[str, str]:
        """Return show and status of the bridge for a person: nothing of anybody else's lines."""
        down = [
            f"{label}: {status.state}"
            for label in person.lines
            if (status := lines.get(label)) is not None and not status.up
        ]
        if not down:
            return "", ""
        show = "dnd" if len(down) == len(person.lines) else "away"
        return show, "; ".join(down[:5])[:300]

    def announce(self) -> None:
        """Show the bridge to all users and ask who is there; after each handshake."""
        lines = self._lines()
        for person in self.component.world.directory.persons.values():
            for bare_jid in person.xmpp:
                self._show(bare_jid, self._state(person, lines))
                self.component.send(stanzas.presence(bare_jid, self.component.domain, "probe"))

    def refresh(self) -> None:
        """Show what has changed about the users' lines, and the bridge to who became a user."""
        lines = self._lines()
        persons = self.component.world.directory.persons.values()
        now = {
            bare_jid: self._state(person, lines) for person in persons for bare_jid in person.xmpp
        }
        for bare_jid, state in now.items():
            if self._shown.get(bare_jid) != state:
                self._show(bare_jid, state)
        for bare_jid in [bare_jid for bare_jid in self._shown if bare_jid not in now]:
            del self._shown[bare_jid]
            self.component.send(stanzas.presence(bare_jid, self.component.domain, "unavailable"))

    def _show(self, bare_jid: str, state: tuple[str, str]) -> None:
        show, status = state
        self._shown[bare_jid] = state
        self.component.send(
            stanzas.presence(
                bare_jid,
                self.component.domain,
                show=show,
                status=status,
                caps=self.gateway_entity().caps,
            )
        )

    def leave(self) -> None:
        """Say good-bye to all users, from the bridge's own JID alone."""
        for bare_jid in self._shown:
            self.component.send(stanzas.presence(bare_jid, self.component.domain, "unavailable"))
        self._shown.clear()

    def welcome(self, bare_jid: str, text: str) -> None:
        """Ask a new user for the subscription of the bridge, and say something."""
        domain = self.component.domain
        self.component.send(
            stanzas.presence(bare_jid, domain, "subscribe", nick=self.component.config.name)
        )
        self._show(bare_jid, ("", ""))
        if text:
            self.component.note(bare_jid, domain, text)

    def dismiss(self, bare_jid: str) -> None:
        """End the subscriptions of somebody who is no user any more."""
        self._shown.pop(bare_jid, None)
        for kind in ("unavailable", "unsubscribe", "unsubscribed"):
            self.component.send(stanzas.presence(bare_jid, self.component.domain, kind))
