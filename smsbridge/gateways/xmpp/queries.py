"""
Answers the iqs of users: what we are, what a number's card says, and which JID a typed number has.

Every get or set is answered (RFC 6120, 8.2.3); what nobody here knows is left to the stream, which
refuses it.  The prompt for numbers is ``jabber:iq:gateway`` (XEP-0100, 4.6).  A card shows the
asking person's own contacts and nothing of anybody else's.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Final

from attrs import define, field
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish import domish

from smsbridge import __version__
from smsbridge.core.address import example_number
from smsbridge.core.directory import Person
from smsbridge.errors import Refused
from smsbridge.gateways.xmpp import addresses, disco, stanzas
from smsbridge.gateways.xmpp.component import Component, Target
from smsbridge.gateways.xmpp.conditions import BY_REASON, Condition
from smsbridge.gateways.xmpp.hooks import CommandsHook

__all__ = ["Queries"]

_NS_ADDRESS: Final = "http://jabber.org/protocol/address"
_NS_GATEWAY: Final = "jabber:iq:gateway"
_NS_LAST: Final = "jabber:iq:last"
_NS_REGISTER: Final = "jabber:iq:register"
_SOFTWARE: Final = "smsbridge"

_NOT_FOUND: Final = Condition("cancel", "item-not-found")
_UNAVAILABLE: Final = Condition("cancel", "service-unavailable")


@define(eq=False)
class Queries:
    """
    Everything that comes as an iq get or set.

    :ivar commands: ad-hoc commands and registration, if there are any.
    """

    component: Component
    answer: Callable[[str | domish.Element], Any]
    commands: CommandsHook | None = None
    started_at_s: float = 0.0
    _gateway: tuple[tuple[str, tuple[str, ...]], disco.Entity] | None = None
    _log: Logger = field(factory=Logger)

    def received(self, element: domish.Element) -> None:
        """Take an iq get or set; sets ``element.handled`` if it is or will be answered."""
        sender = element.getAttribute("from", "")
        person = self.component.person_at(sender)
        namespace, name, node = disco.payload_of(element)
        local = addresses.local_of(element.getAttribute("to", ""))
        is_command = (
            namespace in (disco.NS_COMMANDS, _NS_REGISTER)
            or (namespace in (disco.NS_DISCO_INFO, disco.NS_DISCO_ITEMS) and node)
        ) and not node.startswith(f"{disco.CAPS_NODE}#")
        if (
            not local
            and is_command
            and self.commands is not None
            and self.component.may_ask(sender, person)
        ):
            element.handled = True  # type: ignore[attr-defined]  # Twisted's convention
            self.commands.handle(element, person).addCallbacks(
                self._commanded, self._failed, (element, person), {}, (element,)
            )
            return
        answer = self._answer(element, person, local, namespace, name)
        if answer is not None:
            element.handled = True  # type: ignore[attr-defined]
            self.answer(answer)

    def _commanded(
        self, answer: domish.Element | None, element: domish.Element, person: Person | None
    ) -> None:
        if answer is not None:
            self.answer(answer)
            return
        namespace, name, _ = disco.payload_of(element)
        self.answer(
            self._answer(element, person, "", namespace, name)
            or stanzas.iq_error(element, _UNAVAILABLE)
        )

    def _failed(self, failure: Failure, element: domish.Element) -> None:
        self._log.failure(
            "{gateway}: a command failed", failure=failure, gateway=self.component.label
        )
        self.answer(stanzas.iq_error(element, BY_REASON["internal"]))

    def _answer(
        self, element: domish.Element, person: Person | None, local: str, namespace: str, name: str
    ) -> str | None:
        """Return the answer; None if the query is not known here."""
        sender = element.getAttribute("from", "")
        if namespace == disco.NS_PING:
            return stanzas.iq_result(element)
        if not self.component.may_ask(sender, person):
            return stanzas.iq_error(element, _UNAVAILABLE)
        if not local:
            return self._of_gateway(element, person, namespace)
        try:
            entity, card = self._of_contact(element["to"], person, namespace)
        except Refused:
            return stanzas.iq_error(element, _NOT_FOUND)
        if namespace == disco.NS_VCARD and person is None:
            return stanzas.iq_error(element, self.component.stranger(sender))
        return self._about(element, entity, card)

    def _about(self, element: domish.Element, entity: disco.Entity, card: str) -> str | None:
        return disco.answer(
            element,
            entity,
            software=_SOFTWARE,
            version=__version__,
            at_ms=self.component.now_ms(),
            card=card,
        )

    # -- the bridge itself

    def gateway_entity(self) -> disco.Entity:
        """Return what the bridge announces."""
        features = self.commands.features() if self.commands is not None else ()
        key = (self.component.config.name, features)
        if self._gateway is None or self._gateway[0] != key:
            entity = disco.gateway(key[0], (_NS_ADDRESS, _NS_LAST, *features))
            self._gateway = (key, entity)
        return self._gateway[1]

    def _of_gateway(
        self, element: domish.Element, person: Person | None, namespace: str
    ) -> str | None:
        if namespace == _NS_GATEWAY:
            return self._prompt(element, person)
        if namespace == _NS_LAST and element.getAttribute("type") == "get":
            seconds = int(self.component.clock.seconds() - self.started_at_s)
            return stanzas.iq_result(element, f"<query xmlns='{_NS_LAST}' seconds='{seconds}'/>")
        example = example_number(self.component.country(person))
        card = disco.vcard(
            self.component.config.name,
            description=f"Write to {example}@{self.component.domain} to text {example}.",
        )
        return self._about(element, self.gateway_entity(), card)

    def _prompt(self, element: domish.Element, person: Person | None) -> str:
        example = example_number(self.component.country(person))
        if element.getAttribute("type") == "get":
            return stanzas.iq_result(
                element,
                f"<query xmlns='{_NS_GATEWAY}'><desc>Telephone number, such as {example}</desc>"
                "<prompt>Telephone number</prompt></query>",
            )
        typed = ""
        for query in element.elements():
            for child in query.elements():
                if child.name == "prompt":
                    typed = str(child)
        try:
            contact = addresses.parse(
                typed.strip(),
                self.component.domain,
                self.component.country(person),
                self.component.config.phone_context,
            )
            if not contact.recipients or isinstance(contact.peer, addresses.Person):
                raise addresses.AddressError(
                    f"{typed.strip()[:40]!r} is not a telephone number; write it like {example}."
                )
        except addresses.AddressError as e:
            refusal = Condition("modify", "not-acceptable", str(e), "invalid-number")
            return stanzas.iq_error(element, refusal)
        jid = stanzas.escape(self.component.jid_of(contact.peer))
        return stanzas.iq_result(element, f"<query xmlns='{_NS_GATEWAY}'><jid>{jid}</jid></query>")

    # -- numbers, names and persons

    def _of_contact(
        self, jid: str, person: Person | None, namespace: str
    ) -> tuple[disco.Entity, str]:
        """
        Return what a contact announces, and its card.

        :raises Refused: there is no such contact for this person.
        """
        if person is None:
            try:
                contact = self.component.read(jid, None)
            except addresses.AddressError as e:
                raise Refused("invalid-number", str(e)) from None
            if isinstance(contact.peer, addresses.Person) or contact.line:
                raise Refused("unroutable")
            return (disco.NUMBER if contact.recipients else disco.UNANSWERABLE), ""
        target = self.component.resolve(jid, person)
        card = self._card(target, person) if namespace == disco.NS_VCARD else ""
        if not target.recipients:
            return disco.UNANSWERABLE, card
        is_person = isinstance(target.peer, addresses.Person)
        return (disco.PERSON if is_person else disco.NUMBER), card

    def _card(self, target: Target, person: Person) -> str:
        match target.peer:
            case addresses.Number(e164):
                return disco.vcard(self.component.name_of(person.label, e164) or e164, number=e164)
            case addresses.ShortCode(digits):
                return disco.vcard(self.component.name_of(person.label, digits) or digits)
            case addresses.Name(text):
                return disco.vcard(text)
            case addresses.Withheld():
                return disco.vcard("Withheld number")
            case addresses.Person():
                return disco.vcard(target.recipients[0])
            case addresses.Group(numbers):
                names = (self.component.name_of(person.label, n) or n for n in numbers)
                return disco.vcard(", ".join(names))
            case _:
                return disco.vcard(self.component.config.name)
