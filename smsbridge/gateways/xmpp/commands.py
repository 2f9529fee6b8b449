"""
Serves the commands of `menu` as ad-hoc commands (XEP-0050) with data forms, and registration.

What is ours among the iqs to the bridge itself: ``command`` (set), disco#items of the node
``http://jabber.org/protocol/commands``, disco#info of that node and of each command, and
``jabber:iq:register``.  A command without arguments is done at once; others ask for them on one or
more pages::

    C: <command node='send' action='execute'/>
    S: <command node='send' status='executing' sessionid='...'> <actions/> <x type='form'/>
    C: <command node='send' action='complete' sessionid='...'> <x type='submit'/>
    S: <command node='send' status='completed' sessionid='...'> <note type='info'>...</note>

``next`` and ``prev`` turn pages, ``cancel`` ends it; ``execute`` means the default of ``actions``.
A first request that carries a filled form is taken as the answer to the first page.  What does not
fit is said in a note of type error above the same page.

Where registration is open, strangers find one more command, ``jabber:iq:register``: number, code.

A session is bound to the full JID that began it, ends after ten minutes without a word, and is no
credential: who may is asked at every page.  A command whose session has been used up is not done
again.  Nothing raises out of `Commands.handle`.
"""

from __future__ import annotations

import secrets
from collections import OrderedDict
from collections.abc import Callable, Sequence
from typing import Final

from attrs import define, field
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.words.xish import domish

from smsbridge.core.directory import Person
from smsbridge.errors import REASONS, Failure
from smsbridge.gateways.xmpp import forms, replies
from smsbridge.gateways.xmpp.addresses import bare, domain_of, local_of
from smsbridge.gateways.xmpp.conditions import condition_of
from smsbridge.gateways.xmpp.disco import (
    NS_COMMANDS,
    NS_DISCO_INFO,
    NS_DISCO_ITEMS,
    payload_of,
)
from smsbridge.gateways.xmpp.forms import Field, FormError
from smsbridge.gateways.xmpp.menu import (
    COMMANDS,
    Argument,
    Asker,
    Command,
    Kinds,
    Menu,
    Unfit,
    Values,
    said_of,
)
from smsbridge.gateways.xmpp.registration import NS_REGISTER, SENT, Registration
from smsbridge.gateways.xmpp.replies import Denied
from smsbridge.gateways.xmpp.stanzas import scrub

__all__ = ["Commands"]

_SESSION_LIFE_S: Final = 600.0
_MOST_SESSIONS: Final = 1000
_MOST_SESSIONS_OF_ONE: Final = 10
_ACTIONS: Final = ("execute", "next", "prev", "complete", "cancel")

_FIELD_KINDS: Final = {
    Kinds.LINE: "list-single",
    Kinds.COUNT: "text-single",
    Kinds.WORD: "text-single",
    Kinds.TEXT: "text-multi",
    Kinds.CHOICE: "list-single",
    Kinds.CHOICES: "list-multi",
}


@define
class _Session:
    """One command under way."""

    session_id: str
    full_jid: str
    command: Command
    stage: int
    until_s: float
    values: dict[str, tuple[str, ...]] = field(factory=dict)


def _bad_request(name: str, text: str) -> Denied:
    return Denied("modify", "bad-request", text, (NS_COMMANDS, name))


class Commands:
    """
    Answers iqs about commands and registration.

    :param domain: the bridge's own JID.
    :param random_id: makes ids of sessions that strangers cannot guess.
    """

    log = Logger()

    def __init__(
        self,
        menu: Menu,
        clock: IReactorTime,
        domain: str,
        registration: Registration,
        *,
        random_id: Callable[[], str] = lambda: secrets.token_urlsafe(12),
    ) -> None:
        self._menu = menu
        self._clock = clock
        self._domain = domain
        self._registration = registration
        self._random_id = random_id
        self._sessions: OrderedDict[str, _Session] = OrderedDict()

    def features(self) -> tuple[str, ...]:
        """Return what the bridge announces for us beside the commands."""
        return (NS_REGISTER,) if self._registration.is_open else ()

    def handle(self, iq: domish.Element, person: Person | None) -> Deferred[domish.Element | None]:
        """
        Answer an iq to the bridge; fires with the answer, or with None if it is not ours.

        :param person: who asks; None for a stranger.
        """
        return Deferred.fromCoroutine(self._handle(iq, person))

    async def _handle(self, iq: domish.Element, person: Person | None) -> domish.Element | None:
        try:
            return await self._answer(iq, person)
        except Denied as e:
            return replies.error(iq, e)
        except Unfit as e:
            return replies.error(iq, Denied("wait", "resource-constraint", str(e)))
        except Failure as e:
            found = condition_of(e.reason, said_of(e))
            if found is None:
                return replies.error(iq, Denied("wait", "remote-server-timeout", said_of(e)))
            return replies.error(iq, Denied(found.type, found.condition, found.text))
        except Exception:
            # One iq that fails must still be answered, or its client waits for ever.
            self.log.failure("an iq of {peer} failed", peer=iq.attributes.get("from", ""))
            return replies.error(iq, Denied("cancel", "internal-server-error"))

    async def _answer(self, iq: domish.Element, person: Person | None) -> domish.Element | None:
        kind, to, sender = (iq.attributes.get(name) for name in ("type", "to", "from"))
        if kind not in ("get", "set") or not isinstance(to, str) or not isinstance(sender, str):
            return None
        if local_of(to) or domain_of(to) != self._domain:
            return None
        namespace, name, node = payload_of(iq)
        match kind, namespace, name:
            case "set", "http://jabber.org/protocol/commands", "command":
                return replies.result(iq, await self._command(iq, sender, person))
            case "get", "http://jabber.org/protocol/disco#items", "query" if self._is_ours(node):
                return replies.result(iq, self._items(node, person))
            case "get", "http://jabber.org/protocol/disco#info", "query" if self._is_ours(node):
                return replies.result(iq, self._info(node, person))
            case _, "jabber:iq:register", "query":
                return await self._registration.answer(iq, person)
        return None

    # -- discovery ---------------------------------------------------------------------------------

    def _is_ours(self, node: str) -> bool:
        return node in (NS_COMMANDS, NS_REGISTER) or _command_at(node) is not None

    def _offered(self, person: Person | None) -> list[tuple[str, str]]:
        """Return node and name of the commands that a person, or a stranger, may run."""
        if person is None:
            return [(NS_REGISTER, "Register")] if self._registration.is_open else []
        return [
            (command.address, command.sentence.rstrip("."))
            for command in COMMANDS
            if command.is_for(person) and not command.chat_only
        ]

    def _items(self, node: str, person: Person | None) -> domish.Element:
        query = domish.Element((NS_DISCO_ITEMS, "query"))
        query["node"] = node
        if node == NS_COMMANDS:
            for address, name in self._offered(person):
                item = query.addElement("item")
                item["jid"], item["node"], item["name"] = self._domain, address, name
        return query

    def _info(self, node: str, person: Person | None) -> domish.Element:
        query = domish.Element((NS_DISCO_INFO, "query"))
        query["node"] = node
        identity = query.addElement("identity")
        identity["category"] = "automation"
        if node == NS_COMMANDS:
            identity["type"], identity["name"] = "command-list", "Commands"
            features: tuple[str, ...] = (NS_DISCO_INFO, NS_DISCO_ITEMS)
        else:
            name = dict(self._offered(person)).get(node)
            if name is None:
                raise Denied("cancel", "item-not-found")
            identity["type"], identity["name"] = "command-node", name
            features = (NS_DISCO_INFO, NS_COMMANDS, forms.NS_DATA)
        for feature in features:
            query.addElement("feature")["var"] = feature
        return query

    # -- commands ----------------------------------------------------------------------------------

    async def _command(
        self, iq: domish.Element, sender: str, person: Person | None
    ) -> domish.Element:
        request = next(e for e in iq.children if isinstance(e, domish.Element))
        node, action, session_id = (
            str(request.attributes.get(name, "")) for name in ("node", "action", "sessionid")
        )
        action = action or "execute"
        if action not in _ACTIONS:
            raise _bad_request("malformed-action", "There is no such action.")
        try:
            filled = forms.find(request)
            submitted = forms.read(filled) if filled is not None else None
        except FormError as e:
            raise _bad_request("bad-payload", str(e)) from None

        if person is None:
            if node == NS_REGISTER and self._registration.is_open:
                return await self._registering(sender, action, submitted or {})
            raise Denied(
                "auth", "registration-required", "The operator of this bridge does not know you."
            )
        command = _command_at(node)
        if command is None:
            raise Denied("cancel", "item-not-found", "There is no such command.")
        if not command.is_for(person):
            raise Denied("auth", "forbidden", "This command is for operators.")
        if session_id:
            session = self._resumed(session_id, sender, command)
        elif action == "execute":
            session = self._begun(sender, command)
        else:
            raise _bad_request("bad-sessionid", "The command was not begun.")
        if action == "cancel":
            return _element(session, "canceled")
        asker = Asker(
            person=person,
            bare_jid=bare(sender),
            full_jid=sender,
            ref=session.session_id,
        )
        return await self._go_on(session, asker, action, submitted, is_first=not session_id)

    async def _go_on(
        self,
        session: _Session,
        asker: Asker,
        action: str,
        submitted: Values | None,
        *,
        is_first: bool,
    ) -> domish.Element:
        # From here to the end the session is in nobody's reach, so that of two requests at once
        # only one is done.
        stages = self._stages(session, asker)
        if action == "prev":
            earlier = [stage for stage in stages if stage < session.stage]
            if not earlier:
                self._keep(session)
                raise _bad_request("bad-action", "This is the first page.")
            session.stage = earlier[-1]
            return await self._page(session, asker)
        if is_first and submitted is None and stages:
            session.stage = stages[0]
            return await self._page(session, asker)
        try:
            await self._take(session, asker, submitted or {})
        except Unfit as e:
            return await self._page(session, asker, str(e))
        later = [stage for stage in self._stages(session, asker) if stage > session.stage]
        if action == "complete" and later:
            self._keep(session)
            raise _bad_request("bad-action", "There is one more page.")
        if later:
            session.stage = later[0]
            return await self._page(session, asker)
        try:
            said = await session.command.run(self._menu, asker, session.values)
        except Unfit as e:
            if not stages:
                return _element(session, "completed", note=("error", str(e)))
            return await self._page(session, asker, str(e))
        except Failure as e:
            return _element(session, "completed", note=("error", said_of(e)))
        except Exception:
            # What went wrong is the operator's business; the person still gets an answer.
            self.log.failure(
                "the command {command} of {person} failed",
                command=session.command.name,
                person=asker.person.label,
            )
            return _element(session, "completed", note=("error", REASONS["internal"]))
        lines = said.splitlines()
        if len(lines) < 2:
            return _element(session, "completed", note=("info", said))
        title = session.command.sentence.rstrip(".")
        return _element(session, "completed", form=forms.result(title, "answer", lines))

    def _shown(self, argument: Argument, asker: Asker) -> bool:
        """Tell whether there is anything to choose."""
        return argument.kind != Kinds.LINE or len(self._menu.own_lines(asker.person)) > 1

    def _stages(self, session: _Session, asker: Asker) -> list[int]:
        """Return the pages that have something to ask, given what was filled in."""
        return sorted(
            {
                argument.stage
                for argument in session.command.arguments
                if self._shown(argument, asker) and argument.applies(session.values)
            }
        )

    def _asked(self, session: _Session, asker: Asker) -> Sequence[Argument]:
        return [
            argument
            for argument in session.command.arguments
            if argument.stage == session.stage and self._shown(argument, asker)
        ]

    async def _take(self, session: _Session, asker: Asker, submitted: Values) -> None:
        """
        Put what was filled in on a page into the session.

        :raises Unfit: something is missing, or is none of the choices.
        """
        faults = []
        for argument in self._asked(session, asker):
            given = submitted.get(argument.name, ())
            if argument.kind == Kinds.TEXT:
                given = ("\n".join(given),)
            given = tuple(value for value in given if value.strip())
            session.values[argument.name] = given
            if not given and argument.required:
                faults.append(f"{argument.label} is missing.")
            elif given and argument.options is not None and argument.kind != Kinds.LINE:
                allowed = {v for v, _ in await argument.options(self._menu, asker, session.values)}
                if not allowed.issuperset(given):
                    faults.append(f"{argument.label} is none of the choices.")
        if faults:
            raise Unfit(" ".join(faults))

    async def _page(self, session: _Session, asker: Asker, fault: str = "") -> domish.Element:
        """Show the session's present page, and keep the session for the answer."""
        command = session.command
        fields = []
        for argument in self._asked(session, asker):
            options: tuple[tuple[str, str], ...] = ()
            if argument.options is not None:
                options = await argument.options(self._menu, asker, session.values)
                if not options:
                    return _element(session, "completed", note=("info", "There is none."))
            default = (argument.default,) if argument.default else ()
            if not default and argument.kind == Kinds.LINE:
                default = (options[0][0],)
            values = session.values.get(argument.name) or default
            if argument.kind == Kinds.TEXT:
                values = tuple(line for value in values for line in value.split("\n"))
            fields.append(
                Field(
                    name=argument.name,
                    kind=_FIELD_KINDS[argument.kind],
                    label=argument.label,
                    values=values,
                    options=options,
                    required=argument.required,
                    hint="" if argument.kind == Kinds.LINE else argument.hint,
                )
            )
        asked = forms.form(command.sentence.rstrip("."), "", fields, form_type=command.form_type)
        stages = {a.stage for a in command.arguments if self._shown(a, asker)}
        self._keep(session)
        return _element(
            session,
            "executing",
            form=asked,
            note=("error", fault) if fault else None,
            has_previous=min(stages) < session.stage,
            has_next=max(stages) > session.stage,
        )

    async def _registering(self, sender: str, action: str, submitted: Values) -> domish.Element:
        """
        Let a stranger register by two pages.

        Nothing is kept here for strangers: which page it is stands in the form, and the code that
        is on its way is the registration's affair.
        """
        if action == "cancel":
            return _element(_STRANGER, "canceled")
        registration, jid = self._registration, bare(sender)
        phone, code = ("".join(submitted.get(name, ())).strip()[:100] for name in ("phone", "code"))
        asks_code = "code" in submitted and action != "prev"
        note: tuple[str, str] | None = None
        try:
            if asks_code:
                await registration.confirm(jid, "", "".join(code.split()))
                return _element(_STRANGER, "completed", note=("info", "You are registered."))
            if phone and action != "prev":
                registration.request(jid, registration.read_number(phone))
                asks_code, note = True, ("info", SENT)
        except Denied as e:
            note = ("error", str(e))
            if e.condition.condition == "resource-constraint":
                return _element(_STRANGER, "completed", note=note)
        asked = Field(name="phone", label="Mobile number", required=True)
        if asks_code:
            asked = Field(name="code", label="Code", required=True)
        return _element(
            _STRANGER,
            "executing",
            form=forms.form("Register", "", [asked], form_type=NS_REGISTER),
            note=note,
            has_previous=asks_code,
            has_next=not asks_code,
        )

    # -- sessions ----------------------------------------------------------------------------------

    def _begun(self, full_jid: str, command: Command) -> _Session:
        until_s = self._clock.seconds() + _SESSION_LIFE_S
        return _Session(self._random_id(), full_jid, command, 0, until_s)

    def _resumed(self, session_id: str, full_jid: str, command: Command) -> _Session:
        """Take a session out of those that are kept."""
        session = self._sessions.get(session_id)
        if session is None or session.full_jid != full_jid or session.command is not command:
            raise _bad_request("bad-sessionid", "This command is not under way; begin it anew.")
        del self._sessions[session_id]
        if session.until_s < self._clock.seconds():
            raise Denied(
                "cancel",
                "not-allowed",
                "That took too long; begin the command anew.",
                (NS_COMMANDS, "session-expired"),
            )
        return session

    def _keep(self, session: _Session) -> None:
        session.until_s = self._clock.seconds() + _SESSION_LIFE_S
        owner = bare(session.full_jid)
        own = [s.session_id for s in self._sessions.values() if bare(s.full_jid) == owner]
        for session_id in own[: max(0, len(own) - _MOST_SESSIONS_OF_ONE + 1)]:
            del self._sessions[session_id]
        while len(self._sessions) >= _MOST_SESSIONS:
            self._sessions.popitem(last=False)
        self._sessions[session.session_id] = session


def _command_at(node: str) -> Command | None:
    for command in COMMANDS:
        if command.address == node and not command.chat_only:
            return command
    return None


#: Stands for the session of each stranger who registers.
_STRANGER: Final = ("register", NS_REGISTER)


def _element(
    session: _Session | tuple[str, str],
    status: str,
    *,
    form: domish.Element | None = None,
    note: tuple[str, str] | None = None,
    has_previous: bool = False,
    has_next: bool = False,
) -> domish.Element:
    element = domish.Element((NS_COMMANDS, "command"))
    if isinstance(session, _Session):
        element["sessionid"], element["node"] = session.session_id, session.command.address
    else:
        element["sessionid"], element["node"] = session
    element["status"] = status
    if status == "executing":
        actions = element.addElement("actions")
        actions["execute"] = "next" if has_next else "complete"
        if has_previous:
            actions.addElement("prev")
        actions.addElement("next" if has_next else "complete")
    if form is not None:
        element.addChild(form)
    if note is not None:
        kind, text = note
        element.addElement("note", content=scrub(text))["type"] = kind
    return element
