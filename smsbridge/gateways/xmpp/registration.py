"""
Lets the owner of a mobile number add a chat address to their person, by a code texted to it.

In-band registration (XEP-0077) in two steps, as other phone gateways do it:

1. ``set`` with the number alone.  The answer is always the same ``not-acceptable``, "... a code was
   sent ...": the specification's way of saying that something is still missing.  Only if the number
   is some person's ``mobile``, a code of six digits is texted to it, over that person's first line.
2. ``set`` with number and code.  Within five minutes and three tries this binds the address.

``get`` shows the form, or that the address is registered; ``<remove/>`` takes an address away that
was added so.  Nobody learns which numbers are known: unknown ones cost the same tries, and their
codes are right for nobody.  Codes are limited to three an hour for each address and each number;
when the memory for that is full, nobody gets a code until some of it has expired.

This is off unless the operator wants it; then strangers are told to ask the operator.
"""

from __future__ import annotations

import hmac
import math
import secrets
from collections.abc import Callable
from typing import Final

from attrs import define, field
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure as Reason
from twisted.words.xish import domish

from smsbridge.core.address import InvalidNumber, mask, parse_number
from smsbridge.core.directory import Person, World
from smsbridge.core.message import FromPerson
from smsbridge.errors import Failure
from smsbridge.gateways.xmpp import forms, replies
from smsbridge.gateways.xmpp.addresses import bare
from smsbridge.gateways.xmpp.forms import Field, FormError
from smsbridge.gateways.xmpp.hooks import Hall
from smsbridge.gateways.xmpp.replies import Denied
from smsbridge.interfaces import IDesk, IInbox

__all__ = ["NS_REGISTER", "SENT", "Registration"]

NS_REGISTER: Final = "jabber:iq:register"

_CODE_LIFE_S: Final = 300.0
_TRIES: Final = 3
_CODES: Final = 3
_CODES_WITHIN_S: Final = 3600.0
_MOST_KEYS: Final = 10_000

_CLOSED = "The operator of this bridge adds its users; ask them."
#: What everybody hears who gave a number.
SENT: Final = "If this is the mobile number of a user, a code was just sent to it."
_ONCE_MORE = f"{SENT} Register once more with the number and the code within five minutes."
_WRONG = "The code is wrong or too old."
_TOO_MANY = "That was tried too often; try again in {minutes} minutes."


@define
class _Pending:
    """A code on its way; `person` is empty where there is nobody to send it to."""

    number: str
    person: str
    code: str
    until_s: float
    tries: int = 0


class _Limit:
    """Counts what happened for each key within the last hour."""

    def __init__(self) -> None:
        self._times: dict[str, list[float]] = {}

    def wait_s(self, key: str, now_s: float) -> float:
        """Return how long the key has to wait; 0 if it may."""
        times = [at for at in self._times.get(key, ()) if at > now_s - _CODES_WITHIN_S]
        if len(times) >= _CODES:
            return times[-_CODES] + _CODES_WITHIN_S - now_s
        if key not in self._times and len(self._times) >= _MOST_KEYS:
            self._times = {
                known: old
                for known, old in self._times.items()
                if old[-1] > now_s - _CODES_WITHIN_S
            }
            if len(self._times) >= _MOST_KEYS:
                return _CODES_WITHIN_S
        return 0.0

    def count(self, key: str, now_s: float) -> None:
        """Count one."""
        times = self._times.setdefault(key, [])
        times.append(now_s)
        del times[:-_CODES]


def _six_digits() -> str:
    return f"{secrets.randbelow(1_000_000):06d}"


@define(eq=False)
class Registration:
    """
    Answers ``jabber:iq:register``.

    :ivar is_open: whether strangers may register by code.
    :param hall: is told of new users and of those that left.
    :param new_code: makes codes that nobody can guess.
    """

    log = Logger()

    world: World
    inbox: IInbox
    clock: IReactorTime
    hall: Hall
    is_open: bool = False
    new_code: Callable[[], str] = _six_digits
    _pending: dict[str, _Pending] = field(factory=dict, init=False)
    _by_jid: _Limit = field(factory=_Limit, init=False)
    _by_number: _Limit = field(factory=_Limit, init=False)

    async def answer(self, iq: domish.Element, person: Person | None) -> domish.Element:
        """
        Answer an iq get or set of registration.

        :raises Denied: the answer is an error.
        """
        jid = bare(str(iq.attributes.get("from", "")))
        query = next(e for e in iq.children if isinstance(e, domish.Element))
        if iq.attributes.get("type") == "get":
            if person is None and not self.is_open:
                raise Denied("cancel", "service-unavailable", _CLOSED)
            return replies.result(iq, self._form(jid, person))
        if any(isinstance(e, domish.Element) and e.name == "remove" for e in query.children):
            await self._remove(jid, person)
            return replies.result(iq)
        try:
            phone, code = _read(query)
        except FormError as e:
            raise Denied("modify", "bad-request", str(e)) from None
        if person is not None:
            if phone and person.mobile and self.read_number(phone) == self._mobile_of(person):
                return replies.result(iq)  # a repeat of what was done
            raise Denied(
                "cancel",
                "conflict",
                f"This address is registered already, as {person.label}.",
            )
        if not self.is_open:
            raise Denied("cancel", "service-unavailable", _CLOSED)
        if not phone and not code:
            raise Denied("modify", "bad-request", "Fill in your mobile number.")
        number = self.read_number(phone) if phone else ""
        if not code:
            self.request(jid, number)
            raise Denied("modify", "not-acceptable", _ONCE_MORE)
        await self.confirm(jid, number, code)
        return replies.result(iq)

    # -- the form ----------------------------------------------------------------------------------

    def _form(self, jid: str, person: Person | None) -> domish.Element:
        query = domish.Element((NS_REGISTER, "query"))
        if person is not None:
            query.addElement("registered")
            query.addElement("instructions", content=f"You are registered as {person.label}.")
            if person.mobile:
                query.addElement("phone", content=person.mobile)
            return query
        pending = self._pending_of(jid)
        if pending is None:
            said = "Enter your mobile number; a code will be sent to it. Then register once more."
        else:
            said = "Enter your mobile number and the code that was sent to it."
        query.addElement("instructions", content=said)
        # For clients without forms; they know of no code, but of a password.
        query.addElement("phone", content=pending.number if pending is not None else "")
        query.addElement("password")
        fields = (
            Field(
                name="phone",
                label="Mobile number",
                required=True,
                values=(pending.number,) if pending is not None else (),
            ),
            Field(name="code", label="Code, once you have it", required=pending is not None),
        )
        query.addChild(forms.form("Registration", said, fields, form_type=NS_REGISTER))
        return query

    # -- the two steps -----------------------------------------------------------------------------

    def request(self, jid: str, number: str) -> None:
        """
        Send a code to a number, if it is a person's.

        :param jid: the bare JID that asks.
        :raises Denied: too many codes were asked for.
        """
        now_s = self.clock.seconds()
        wait_s = max(self._by_jid.wait_s(jid, now_s), self._by_number.wait_s(number, now_s))
        if wait_s > 0:
            raise _too_many(wait_s)
        self._by_jid.count(jid, now_s)
        self._by_number.count(number, now_s)
        if len(self._pending) >= _MOST_KEYS:
            self._pending = {j: p for j, p in self._pending.items() if p.until_s > now_s}
        person = self._person_with(number)
        code = self.new_code()
        self._pending[jid] = _Pending(
            number, person.label if person is not None else "", code, now_s + _CODE_LIFE_S
        )
        if person is None:
            self.log.info(
                "{peer} asked for a code to {number}, which is nobody's mobile number",
                peer=jid,
                number=mask(number),
            )
            return
        if not person.lines:
            self.log.warn(
                "{peer} asked for a code to {number}, but {person} has no line to send it over",
                peer=jid,
                number=mask(number),
                person=person.label,
            )
            return
        self.log.info(
            "{peer} gets a code for {person} by text to {number}",
            peer=jid,
            person=person.label,
            number=mask(number),
        )
        # Sent behind the answer, whose time must not tell whether the number is known.
        self.clock.callLater(0, self._send_code, person.lines[0], number, code)

    def _send_code(self, line: str, number: str, code: str) -> None:
        text = FromPerson(
            person="",
            recipients=(number,),
            body=f"{code} is your code for the text bridge, good for five minutes. Give it to "
            "nobody; if you did not ask for it, do nothing.",
            line=line,
        )
        self.inbox.accept(text).addErrback(self._not_sent)

    def _not_sent(self, reason: Reason) -> None:
        if isinstance(reason.value, Failure):
            self.log.warn("a code could not be sent: {reason}", reason=reason.value.text)
        else:
            self.log.failure("a code could not be sent", failure=reason)

    async def confirm(self, jid: str, number: str, code: str) -> None:
        """
        Bind an address to the person whose number got the code.

        :param number: as it was given with the code, empty if it was not.
        :raises Denied: the code is wrong or too old, or was tried too often.
        """
        pending = self._pending_of(jid)
        if pending is None:
            raise Denied("auth", "not-authorized", _WRONG)
        pending.tries += 1
        is_right = hmac.compare_digest(code.encode("utf-8", "replace"), pending.code.encode())
        if not is_right or number not in ("", pending.number) or not pending.person:
            if pending.tries < _TRIES:
                raise Denied("auth", "not-authorized", _WRONG)
            del self._pending[jid]
            self.log.warn(
                "{peer} gave wrong codes for {number}", peer=jid, number=mask(pending.number)
            )
            raise Denied(
                "wait", "resource-constraint", "That was the last try; ask for a new code."
            )
        del self._pending[jid]
        person = self.world.directory.persons.get(pending.person)
        if person is None:
            raise Denied("auth", "not-authorized", _WRONG)
        try:
            await self._desk.bind(person.label, "xmpp", jid)
        except Failure:
            self._pending[jid] = pending  # the code was right; it may be given again
            raise
        self.log.info("{peer} is now an address of {person}", peer=jid, person=person.label)
        self._tell_others(person, jid)
        self.hall.welcome(jid, self._welcome(person))

    def _tell_others(self, person: Person, jid: str) -> None:
        """Let the person's other addresses know, so that a stolen code does not stay unnoticed."""
        if not person.receives:
            return
        self.inbox.notify(
            person.label,
            f"{jid} was added to your addresses and now gets your texts. If that was not you, tell "
            "the operator of the bridge.",
        ).addErrback(
            lambda reason: self.log.failure("{person} was not told", reason, person=person.label)
        )

    def _welcome(self, person: Person) -> str:
        lines = [self.world.directory.lines.get(label) for label in person.lines[:1]]
        number = next((line.number for line in lines if line is not None and line.number), "")
        yours = f" Your number here is {number}." if number else ""
        return (
            f"Welcome, {person.label}. Your texts now come here.{yours} To text a number, write to "
            "its address, which is the number with its country code before the @. Send help for "
            "what else there is."
        )

    async def _remove(self, jid: str, person: Person | None) -> None:
        self._pending.pop(jid, None)
        if person is None:
            raise Denied("auth", "registration-required", "This address is not registered.")
        was_bound = await self._desk.unbind("xmpp", jid)
        if not was_bound or self.world.directory.person_at("xmpp", jid) is not None:
            raise Denied(
                "cancel",
                "not-allowed",
                "This address stands in the bridge's configuration; ask the operator to remove it.",
            )
        self.log.info("{peer} is no address of {person} any more", peer=jid, person=person.label)
        self.hall.dismiss(jid)

    # -- small things ------------------------------------------------------------------------------

    @property
    def _desk(self) -> IDesk:
        desk: IDesk | None = self.world.desk
        if desk is None:
            raise Denied("wait", "resource-constraint", "The bridge is starting; try again soon.")
        return desk

    def _pending_of(self, jid: str) -> _Pending | None:
        pending = self._pending.get(jid)
        if pending is None or pending.until_s <= self.clock.seconds():
            return None
        return pending

    def read_number(self, text: str) -> str:
        """
        Return a typed number in E.164.

        :raises Denied: it is none.
        """
        try:
            return parse_number(text, self.world.directory.country)
        except InvalidNumber as e:
            raise Denied("modify", "not-acceptable", str(e)) from None

    def _mobile_of(self, person: Person) -> str:
        """Return the person's mobile number in E.164; an empty text if it is none."""
        try:
            return parse_number(person.mobile, person.country or self.world.directory.country)
        except InvalidNumber:
            return ""

    def _person_with(self, number: str) -> Person | None:
        found = [
            person
            for person in self.world.directory.persons.values()
            if person.mobile and self._mobile_of(person) == number
        ]
        if len(found) > 1:
            self.log.warn(
                "{number} is the mobile number of several persons; nobody gets a code for it",
                number=mask(number),
            )
            return None
        return found[0] if found else None


def _too_many(wait_s: float) -> Denied:
    minutes = max(1, math.ceil(wait_s / 60))
    return Denied("wait", "resource-constraint", _TOO_MANY.format(minutes=minutes))


def _read(query: domish.Element) -> tuple[str, str]:
    """Return number and code of a filled form, or of the elements of old clients."""
    filled = forms.find(query)
    if filled is not None:
        values = forms.read(filled)
        phone, code = ("".join(values.get(name, ())) for name in ("phone", "code"))
    else:
        old = {
            child.name: str(child)
            for child in query.children
            if isinstance(child, domish.Element) and child.uri == NS_REGISTER
        }
        phone, code = old.get("phone", ""), old.get("password", "")
    return phone.strip()[:100], "".join(code.split())[:100]
