"""
Turns what users write into messages of the core: who writes, to whom, and is it a text at all.

The order is: read, authorize, find the recipient, hand to the inbox, which commits it.  XMPP has no
acknowledgement to give after that; what fails before the commit is answered by an error at once,
what fails later by a report.  A text that a client sends twice (same user, recipient and id) is
stored once, and its sender hears the known result again.

How many texts may be under way is bounded: above a number the stream is not read for a while, and
above twice of it texts are sent back with the advice to try later.
"""

from __future__ import annotations

import re
from collections import OrderedDict
from collections.abc import Callable, Coroutine
from typing import Any, Final

from attrs import define, evolve, field, frozen
from twisted.internet.defer import Deferred
from twisted.internet.interfaces import IDelayedCall
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.words.xish import domish

from smsbridge.core.attachments import prepare
from smsbridge.core.directory import Person
from smsbridge.core.entries import QueueQuery
from smsbridge.core.message import Accepted, FromPerson, Media, Origin, Status
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.gateways.xmpp import addresses, stanzas
from smsbridge.gateways.xmpp.component import Component, Target
from smsbridge.gateways.xmpp.conditions import BY_REASON, Condition, condition_of
from smsbridge.gateways.xmpp.hooks import BotHook
from smsbridge.gateways.xmpp.outbound import Outbound, pack_ref
from smsbridge.gateways.xmpp.presence import Presences
from smsbridge.interfaces import IInbox

__all__ = ["Inbound"]

#: Texts under way to the store above which the stream is not read for a while.
_MANY_PENDING: Final = 1000
_FEW_PENDING: Final = 500
#: The fences of the other direction are answered on the same stream, so it is never left unread
#: for long.
_LONGEST_PAUSE_S: Final = 5.0
_MOST_REMEMBERED: Final = 10_000
_LONGEST_ADDRESS: Final = 600  # what the store holds

_NO_REPLY: Final = Condition(
    "cancel", "not-allowed", "This sender cannot receive replies.", "unroutable"
)
_LATER: Final = Condition(
    "wait",
    "resource-constraint",
    "The gateway cannot take messages just now; send it again in a minute.",
)
_TOO_LATE: Final = Condition(
    "modify", "not-acceptable", "It was sent already and cannot be taken back.", "unsupported"
)
_NOBODY: Final = Condition(
    "cancel", "item-not-found", "Nothing here takes messages; write to +NUMBER in front of the @."
)
_URI = re.compile(r"(?:sms|tel|smsto|mms):(?://)?([^?]+)", re.IGNORECASE)


@frozen
class _Known:
    """A text of a user that the store has."""

    message_id: str
    body: str


@define(eq=False)
class Inbound:
    """
    Everything from users to the core.

    :ivar pause: stops reading from the server; `resume` goes on.
    """

    component: Component
    inbox: IInbox
    outbound: Outbound
    presences: Presences
    pause: Callable[[], Any]
    resume: Callable[[], Any]
    bot: BotHook | None = None
    pending: int = 0
    _paused: IDelayedCall | None = None
    #: (bare JID, stanza id) -> the message that it became, for corrections.
    _sent: OrderedDict[tuple[str, str], _Known] = field(factory=OrderedDict)
    #: (bare JID, our JID) -> fires when the last text with files there is dealt with.
    _fetching: dict[tuple[str, str], Deferred[None]] = field(factory=dict)
    _told: OrderedDict[tuple[str, str], None] = field(factory=OrderedDict)
    _commands_seen: OrderedDict[tuple[str, str, str], None] = field(factory=OrderedDict)
    _log: Logger = field(factory=Logger)

    # -- what comes

    def received(self, element: domish.Element) -> None:
        """Take a message stanza."""
        event = stanzas.decode_message(element)
        match event:
            case stanzas.Text():
                self._text(event)
            case stanzas.Receipt():
                self._ended(self.outbound.received(event))
            case stanzas.ErrorBounce():
                self._ended(self.outbound.bounced(event))
            case stanzas.Refused():
                self._refused(event)
            case stanzas.Retraction():
                self._retraction(event)
            case stanzas.Reaction() | stanzas.Privileges() | stanzas.Ignored():
                # Reactions would be a text each on the phone: dropped, as are typing notices.
                self._log.debug(
                    "{gateway}: ignored a {kind} from {peer}",
                    gateway=self.component.label,
                    kind=event.why if isinstance(event, stanzas.Ignored) else type(event).__name__,
                    peer=event.sender
                    if not isinstance(event, stanzas.Privileges)
                    else event.server,
                )

    def _ended(self, recording: Deferred[bool] | None) -> None:
        if recording is not None:
            recording.addErrback(self._not_recorded)

    def _not_recorded(self, failure: Failure) -> None:
        if failure.check(TemporaryFailure):
            # What a receipt says is lost then, the text is not.
            self._log.warn(
                "{gateway}: a report could not be stored: {reason}",
                gateway=self.component.label,
                reason=str(failure.value),
            )
        else:
            self._log.failure(
                "{gateway}: a report could not be stored",
                failure=failure,
                gateway=self.component.label,
            )

    def _is_own(self, sender: str) -> bool:
        """Tell whether this comes from ourselves, so that an answer would go round for ever."""
        return not sender or addresses.domain_of(sender) == self.component.domain

    def _person(self, event: stanzas.Text | stanzas.Refused | stanzas.Retraction) -> Person | None:
        """Return who writes; a stranger is told and gives None."""
        if self._is_own(event.sender):
            return None
        person = self.component.person_at(event.sender)
        if person is None:
            body = event.body if not isinstance(event, stanzas.Retraction) else None
            self._error(event, self.component.stranger(event.sender), body)
            return None
        if addresses.resource_of(event.sender):
            self.presences.heard(event.sender)
        return person

    def _refused(self, event: stanzas.Refused) -> None:
        if self._person(event) is not None:
            self._error(event, event.condition, event.body)

    def _error(
        self,
        event: stanzas.Text | stanzas.Refused | stanzas.Retraction,
        condition: Condition,
        body: str | None = None,
        stanza_id: str = "",
    ) -> None:
        self.component.send(
            stanzas.error_reply(
                event.sender,
                event.recipient or self.component.domain,
                stanza_id or event.id,
                condition,
                body=body,
                by=self.component.domain,
            )
        )

    # -- texts

    def _text(self, text: stanzas.Text) -> None:
        person = self._person(text)
        if person is None:
            return
        if self.pending >= 2 * _MANY_PENDING:
            self._error(text, _LATER, text.body)
            return
        try:
            if text.addressees and not addresses.local_of(text.recipient):
                self._to_addressees(text, person)
                return
            target = self.component.resolve(text.recipient, person)
        except Refused as e:
            self._deny(text, e)
            return
        if isinstance(target.peer, addresses.Bridge) or target.own_line:
            self._command(text, person, target)
        elif not target.recipients:
            self._error(text, _NO_REPLY, text.body)
        elif text.replaces_id:
            self._begin(self._correct(text, person, target), text)
        else:
            self._accept(text, person, target, text.body)

    def _deny(self, text: stanzas.Text, refused: Refused) -> None:
        condition = condition_of(refused.reason, refused.text) or BY_REASON["internal"]
        self._log.info(
            "{gateway}: a text of {peer} was refused: {reason}",
            gateway=self.component.label,
            peer=addresses.bare(text.sender),
            reason=refused.reason,
        )
        self._error(text, condition, text.body)

    def _accept(
        self, text: stanzas.Text, person: Person, target: Target, body: str
    ) -> Deferred[bool]:
        """Hand a text to the inbox; fires with whether it was taken."""
        component = self.component
        bare_jid = addresses.bare(text.sender)
        subject = text.subject.strip()
        if subject and subject != body:
            body = f"{subject}\n{body}"
        if text.thread:
            self._remember(self.outbound.threads, (bare_jid, target.jid), text.thread[:200])
        address = text.sender if len(text.sender) <= _LONGEST_ADDRESS else bare_jid
        wants_report = text.wants_receipt
        incoming = FromPerson(
            person=person.label,
            recipients=target.recipients,
            body=body,
            line=target.line,
            origin=Origin(
                gateway=component.label,
                address=address,
                ref=pack_ref(text.recipient, text.id),
                wants_report=wants_report,
            ),
            dedup_key=(
                f"{bare_jid} {addresses.local_of(target.jid)} {text.dedup_id}"
                if text.dedup_id
                else ""
            ),
            media=tuple(
                Media(url=a.url, content_type=a.media_type, size=a.size, name=a.name)
                for a in text.attachments
            ),
            group=len(target.recipients) > 1,
        )

        def taken(accepted: Accepted) -> bool:
            self._done()
            if text.id:
                known = _Known(accepted.message_id, text.body)
                self._remember(self._sent, (bare_jid, text.id), known)
            if accepted.duplicate:
                self._ended_repeat(self.inbox.repeat_reports(accepted.message_id))
                return True
            if len(target.recipients) > 1:
                self._tell_separate(bare_jid, person, target)
            if target.jid != addresses.bare(text.recipient):
                self._tell_canonical(bare_jid, text.recipient, target)
            return True

        def not_taken(failure: Failure) -> bool:
            self._done()
            if failure.check(Refused):
                refused: Any = failure.value
                self._deny(text, refused)
            elif failure.check(TemporaryFailure):
                away: Any = failure.value
                # Of a file that could not be fetched its sender learns more than of our database.
                fetching = incoming.media and away.reason == "peer-down"
                condition = evolve(_LATER, text=away.text) if fetching else _LATER
                self._error(text, condition, text.body)
            else:
                self._log.failure(
                    "{gateway}: a text could not be accepted",
                    failure=failure,
                    gateway=component.label,
                )
                self._error(text, BY_REASON["internal"], text.body)
            return False

        self._under_way()
        return self._in_turn(incoming, (bare_jid, target.jid)).addCallbacks(taken, not_taken)

    def _in_turn(self, incoming: FromPerson, conversation: tuple[str, str]) -> Deferred[Accepted]:
        """Hand a text to the inbox; what comes while a file of it is fetched waits behind it."""
        before = self._fetching.get(conversation)
        if before is None and not incoming.media:
            return self.inbox.accept(incoming)
        done: Deferred[None] = Deferred()
        self._fetching[conversation] = done

        def finished(result: Any) -> Any:
            if self._fetching.get(conversation) is done:
                del self._fetching[conversation]
            done.callback(None)
            return result

        return Deferred.fromCoroutine(self._with_files(incoming, before)).addBoth(finished)

    async def _with_files(self, incoming: FromPerson, before: Deferred[None] | None) -> Accepted:
        if before is not None:
            turn: Deferred[None] = Deferred()
            before.chainDeferred(turn)
            await turn
        world = self.component.world
        directory = world.directory
        if incoming.media and world.media is not None:
            person = directory.persons.get(incoming.person)
            label = incoming.line or (
                person.lines[0] if person is not None and person.lines else ""
            )
            between_persons = all(each in directory.persons for each in incoming.recipients)
            line = None if between_persons else directory.lines.get(label)
            media = await prepare(world.media, line, incoming.media)
            incoming = evolve(incoming, media=media)
        accepted: Accepted = await self.inbox.accept(incoming)
        return accepted

    def _ended_repeat(self, repeating: Deferred[None]) -> None:
        repeating.addErrback(self._not_recorded)

    def _tell_canonical(self, bare_jid: str, written_to: str, target: Target) -> None:
        """Tell a user once that answers will come from another JID than the one written to."""
        key = (bare_jid, addresses.bare(written_to))
        if key in self._told:
            return
        self._remember(self._told, key, None)
        self.component.note(
            bare_jid,
            written_to.partition("/")[0],
            f"Your text is on its way. Answers will come from {target.jid}; write there from now "
            "on.",
        )

    def _tell_separate(self, bare_jid: str, person: Person, target: Target) -> None:
        """Tell a user once that a group gets separate texts, so that nobody sees the others."""
        label = target.line or next(iter(person.lines), "")
        line = self.component.world.directory.lines.get(label)
        key = (bare_jid, f"separate {target.jid}")
        if line is None or line.groups != "separate" or key in self._told:
            return
        self._remember(self._told, key, None)
        self.component.note(
            bare_jid,
            target.jid,
            "Everybody gets a text of their own; answers come one by one, from each number.",
        )

    def _to_addressees(self, text: stanzas.Text, person: Person) -> None:
        """Send a text to the addressees in it (XEP-0033): together, and to hidden ones apart."""
        together: list[str] = []
        apart: list[Target] = []
        line = ""
        for addressee in text.addressees:
            if addressee.delivered:
                continue
            found = _URI.fullmatch(addressee.address)
            jid = f"{found.group(1)}@{self.component.domain}" if found else addressee.address
            if addresses.domain_of(jid) != self.component.domain:
                raise Refused(
                    "invalid-number", f"{addressee.address!r} is not a number of this gateway."
                )
            target = self.component.resolve(jid, person)
            if not target.recipients:
                raise Refused("invalid-number", f"{addressee.address!r} cannot be written to.")
            line = line or target.line
            if addressee.kind == "bcc":
                apart.append(target)
            else:
                together.extend(target.recipients)
        numbers = tuple(dict.fromkeys(together))
        if numbers:
            peer: addresses.Peer = (
                addresses.Group(numbers)
                if len(numbers) > 1
                else addresses.peer_of_sender(numbers[0])
            )
            jid = self.component.jid_of(peer, self.component.shown_line(person.label, line))
            apart.insert(0, Target(peer=peer, jid=jid, line=line, recipients=numbers))
        if not apart:
            raise Refused("empty", "There is no addressee left.")
        for target in apart:
            self._accept(evolve(text, recipient=target.jid), person, target, text.body)

    # -- corrections

    async def _correct(self, text: stanzas.Text, person: Person, target: Target) -> None:
        """Replace a text that still waits; after that, the correction is a text of its own."""
        bare_jid = addresses.bare(text.sender)
        known = self._sent.get((bare_jid, text.replaces_id))
        if known is not None and known.body == text.body:
            return
        if known is not None and await self._take_back(known.message_id):
            if await self._accept(text, person, target, text.body):
                self._remember_correction(bare_jid, text)
            else:
                # The old text is gone as well now, and nobody else would say so.
                self._error(text, BY_REASON["dropped"], known.body, text.replaces_id)
            return
        if await self._accept(text, person, target, f"Correction: {text.body}"):
            self._remember_correction(bare_jid, text)

    def _remember_correction(self, bare_jid: str, text: stanzas.Text) -> None:
        # A second correction names the first text again (XEP-0308, 4).
        newest = self._sent.get((bare_jid, text.id))
        if newest is not None:
            self._remember(self._sent, (bare_jid, text.replaces_id), newest)

    async def _take_back(self, message_id: str) -> bool:
        """Drop a message of which nothing has left yet; tells whether that was so."""
        desk = self.component.world.desk
        if desk is None:
            return False
        records = await desk.waiting(
            QueueQuery(message_id=message_id, statuses=tuple(status.value for status in Status))
        )
        mine = [record for record in records if record.kind == "message"]
        if not mine or any(record.status is not Status.QUEUED for record in mine):
            return False
        self.outbound.withdraw(message_id)
        dropped: int = await desk.drop(tuple(record.delivery_id for record in mine))
        if dropped == 0:
            self.outbound.withdrawn.pop(message_id, None)
            return False
        return True

    def _retraction(self, event: stanzas.Retraction) -> None:
        if self._person(event) is not None:
            self._begin(self._retract(event), event)

    async def _retract(self, event: stanzas.Retraction) -> None:
        known = self._sent.get((addresses.bare(event.sender), event.target_id))
        if known is None or not await self._take_back(known.message_id):
            self._error(event, _TOO_LATE)

    def _begin(
        self, work: Coroutine[Any, Any, None], event: stanzas.Text | stanzas.Retraction
    ) -> None:
        """Let a coroutine run; its sender hears of it when it fails."""

        def failed(failure: Failure) -> None:
            if failure.check(TemporaryFailure):
                self._error(event, _LATER)
                return
            self._log.failure(
                "{gateway}: a message was not handled",
                failure=failure,
                gateway=self.component.label,
            )
            self._error(event, BY_REASON["internal"])

        Deferred.fromCoroutine(work).addErrback(failed)

    # -- commands

    def _command(self, text: stanzas.Text, person: Person, target: Target) -> None:
        bare_jid = addresses.bare(text.sender)
        if text.dedup_id:
            # A client that repeats a text must not run a command twice.
            key = (bare_jid, target.jid, text.dedup_id)
            if key in self._commands_seen:
                return
            self._remember(self._commands_seen, key, None)
        if self.bot is None:
            self._error(text, _NOBODY, text.body)
            return
        if text.wants_receipt:
            self.component.send(
                stanzas.receipt(
                    bare_jid,
                    text.recipient.partition("/")[0],
                    self.component.random_id(),
                    text.id,
                )
            )
        self._begin(self._answer(self.bot, text, person, target), text)

    async def _answer(
        self, bot: BotHook, text: stanzas.Text, person: Person, target: Target
    ) -> None:
        bare_jid = addresses.bare(text.sender)
        answer = await bot.answer(person, bare_jid, text.sender, text.body, target.own_line)
        if answer:
            self.component.note(bare_jid, text.recipient.partition("/")[0], answer)

    # -- bounds

    def _under_way(self) -> None:
        self.pending += 1
        if self.pending >= _MANY_PENDING and self._paused is None:
            self.pause()
            self._paused = self.component.clock.callLater(_LONGEST_PAUSE_S, self._go_on)

    def _done(self) -> None:
        self.pending -= 1
        if self._paused is not None and self.pending <= _FEW_PENDING:
            self._go_on()

    def _go_on(self) -> None:
        paused, self._paused = self._paused, None
        if paused is not None and paused.active():
            paused.cancel()
        self.resume()

    def link_lost(self) -> None:
        """A new connection begins unpaused."""
        if self._paused is not None and self._paused.active():
            self._paused.cancel()
        self._paused = None

    @staticmethod
    def _remember(memory: OrderedDict[Any, Any], key: Any, value: Any) -> None:
        memory[key] = value
        memory.move_to_end(key)
        if len(memory) > _MOST_REMEMBERED:
            memory.popitem(last=False)
