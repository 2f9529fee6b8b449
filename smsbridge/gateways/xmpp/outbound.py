"""
Turns deliveries into stanzas, hands them to the server in batches with a fence, and says what
became of them.

A stanza's id is the delivery's id and a tag made with the component's secret and the user's JID.
It is the same at every repeat, so that clients and archives can drop the double, and a receipt or
an error for it proves by the tag that it comes from the user it was sent to: nobody can settle the
delivery of somebody else.

What was handed over and not fenced when the link broke is repeated as a whole.  If the server
ended the stream because of a bad stanza, each of the batch is sent alone next time; the one that
ends the stream again is given up, and the others pass.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from hashlib import blake2b
from hmac import compare_digest
from typing import Final, Protocol

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredList
from twisted.logger import Logger

from smsbridge.core.address import is_e164, mask
from smsbridge.core.attachments import LINK_LIFETIME_S, attached, shown_bytes
from smsbridge.core.message import (
    Delivery,
    DeliveryReport,
    Direction,
    Kind,
    Media,
    NotTried,
    Outcome,
    Sent,
    Status,
)
from smsbridge.errors import REASONS, PermanentFailure, TemporaryFailure
from smsbridge.gateways.xmpp import addresses, stanzas
from smsbridge.gateways.xmpp.component import Component
from smsbridge.gateways.xmpp.conditions import condition_of
from smsbridge.gateways.xmpp.presence import Presences
from smsbridge.gateways.xmpp.stream import BatchTooLarge, Down, IqFailed, LinkDown
from smsbridge.gateways.xmpp.upload import Uploads
from smsbridge.interfaces import IInbox

__all__ = ["Outbound", "pack_ref", "unpack_ref"]

#: How much is handed to the transport before the server has confirmed it.
_CHUNK_BYTES: Final = 224 * 1024
#: After this time a batch begins nothing more; the rest goes back untried.
_BATCH_S: Final = 45.0
#: A text older than this carries the time at which the phone network had it (XEP-0203).
_DELAYED_MS: Final = 60_000
_PING_TIMEOUT_S: Final = 4.0
#: How long texts wait for files to be put into the server's upload service.
_UPLOAD_S: Final = 15.0
#: The same where users cannot reach links of ours.
_ONLY_UPLOAD_S: Final = 40.0
_STRIKES: Final = 2
_MOST_REMEMBERED: Final = 10_000
#: What the store holds of a sender's name for a message.
_LONGEST_REF: Final = 400
#: How much of a text stands in a note about it.
_LONGEST_QUOTE: Final = 60


class Link(Protocol):
    """What is used of `stream.ComponentStream`."""

    @property
    def is_up(self) -> bool:
        """Tell whether stanzas can be sent now."""

    def send_batch(self, xml: bytes) -> Deferred[None]:
        """Write stanzas and fire when the server has taken them."""

    def ask(
        self, kind: str, to: str, payload: str, *, sender: str = "", timeout_s: float | None = None
    ) -> Deferred[object]:
        """Send an iq and wait for its answer."""


def pack_ref(written_to: str, stanza_id: str) -> str:
    """
    Return what a report must bring back: the JID that a user wrote to and the stanza's id.

    A client ties a receipt or an error to a message by both.  What is too long for the store is
    left out: the JID first, since it can mostly be told from the message.
    """
    local = addresses.local_of(written_to)
    if len(local) + 1 + len(stanza_id) <= _LONGEST_REF:
        return f"{local}/{stanza_id}"
    return f"/{stanza_id}" if len(stanza_id) < _LONGEST_REF else "/"


def unpack_ref(ref: str) -> tuple[str, str]:
    """Return what stood before the ``@``, empty if that is not known, and the stanza's id."""
    # No slash can stand before the @, so the first one is ours.
    local, slash, stanza_id = ref.partition("/")
    return (local, stanza_id) if slash else ("", ref)


#: One stanza of a delivery: where the delivery stands in its batch, and the stanza.
_Piece = tuple[int, bytes]


@define(eq=False)
class Outbound:
    """Everything from the core to users."""

    component: Component
    link: Link
    presences: Presences
    inbox: IInbox
    uploads: Uploads
    #: Messages whose end by the sender's own wish is not told to the sender.
    withdrawn: OrderedDict[str, None] = field(factory=OrderedDict)
    #: The last thread that a user named for a conversation: (bare JID, our JID) -> thread.
    threads: OrderedDict[tuple[str, str], str] = field(factory=OrderedDict)
    _in_flight: dict[str, Outcome | None] = field(factory=dict)
    _groups_in_flight: int = 0
    _suspects: dict[str, int] = field(factory=dict)  # delivery id -> streams that it ended alone
    # The secret of a gateway does not change while it lives; see `XmppService.update`.
    _keyed: blake2b = field(init=False)
    _log: Logger = field(factory=Logger)

    def __attrs_post_init__(self) -> None:
        self._keyed = blake2b(digest_size=6, key=self.component.config.secret.encode()[:64])

    # -- ids

    def stanza_id(self, delivery_id: str, bare_jid: str) -> str:
        """Return the id of a delivery's stanza."""
        return f"{delivery_id}.{self._tag(delivery_id, bare_jid)}"

    def _tag(self, delivery_id: str, bare_jid: str) -> str:
        digest = self._keyed.copy()
        digest.update(f"{delivery_id} {bare_jid}".encode())
        return digest.hexdigest()

    def _delivery_of(self, stanza_id: str, jid: str) -> tuple[str, bool]:
        """Return whose stanza this is (empty: nobody's), and whether it is a later part."""
        named, part, _ = stanza_id.partition("~")
        delivery_id, dot, tag = named.rpartition(".")
        if not dot or not delivery_id or not tag.isascii():
            return "", False
        if not compare_digest(tag, self._tag(delivery_id, addresses.bare(jid))):
            return "", False
        return delivery_id, bool(part)

    # -- what users' clients and servers say about it

    def received(self, receipt: stanzas.Receipt) -> Deferred[bool] | None:
        """Take the proof that a delivery reached the user's device."""
        delivery_id, later_part = self._delivery_of(receipt.received_id, receipt.sender)
        if not delivery_id or later_part:
            return None
        if delivery_id in self._in_flight:
            if self._in_flight[delivery_id] is None:
                self._in_flight[delivery_id] = Sent(delivered=True)
            return None
        return self.inbox.report(
            DeliveryReport(
                gateway=self.component.label, status=Status.DELIVERED, delivery_id=delivery_id
            )
        )

    def bounced(self, bounce: stanzas.ErrorBounce) -> Deferred[bool] | None:
        """Take the proof that a delivery did not reach the user."""
        delivery_id, _ = self._delivery_of(bounce.id, bounce.sender)
        if not delivery_id:
            return None
        temporary = bounce.is_temporary
        reason = "unreachable" if temporary else "rejected"
        words = f"{bounce.condition}: {bounce.text}" if bounce.text else bounce.condition
        words = stanzas.scrub(words)[:300]
        self._log.warn(
            "{gateway}: {message_id} came back from {peer}: {reason}",
            gateway=self.component.label,
            message_id=delivery_id.partition(".")[0],
            peer=addresses.bare(bounce.sender),
            reason=words,
        )
        if delivery_id in self._in_flight:
            self._in_flight[delivery_id] = (
                TemporaryFailure(reason, detail=words)
                if temporary
                else PermanentFailure(reason, detail=words)
            )
            return None
        return self.inbox.report(
            DeliveryReport(
                gateway=self.component.label,
                status=Status.QUEUED if temporary else Status.FAILED,
                delivery_id=delivery_id,
                reason=reason,
                text=words,
            )
        )

    def withdraw(self, message_id: str) -> None:
        """Do not tell the sender that this message was dropped: that was the sender's wish."""
        self.withdrawn[message_id] = None
        if len(self.withdrawn) > _MOST_REMEMBERED:
            self.withdrawn.popitem(last=False)

    # -- delivering

    async def deliver(self, batch: Sequence[Delivery]) -> list[Outcome]:
        """Hand a batch to the server; see `IGateway.deliver`."""
        if not self.link.is_up:
            return [TemporaryFailure("peer-down", "The XMPP server is out of reach.")] * len(batch)
        outcomes: list[Outcome | None] = [None] * len(batch)
        online = await self._find_online(batch)
        uploaded = await self._upload(batch)
        now_ms = self.component.now_ms()
        pieces: list[_Piece] = []
        for index, delivery in enumerate(batch):
            try:
                built = self._build(delivery, now_ms, online, uploaded)
            except Exception:
                # One delivery that we cannot write down must hold up none of the others.
                self._log.failure(
                    "{gateway}: {message_id} cannot be written as a stanza",
                    gateway=self.component.label,
                    message_id=delivery.message_id,
                )
                outcomes[index] = PermanentFailure("internal")
                continue
            if not built:
                outcomes[index] = Sent()
            for xml in built:
                pieces.append((index, xml.encode("utf-8")))
        in_flight = self._in_flight
        in_flight.update((delivery.delivery_id, None) for delivery in batch)
        try:
            await self._send(batch, pieces, outcomes)
        finally:
            early = [in_flight.pop(delivery.delivery_id, None) for delivery in batch]
        # A receipt that came before the end of the link is better evidence than the fence.
        return [
            answer
            if answer is not None and (outcome is None or isinstance(answer, Sent))
            else outcome or Sent()
            for outcome, answer in zip(outcomes, early, strict=True)
        ]

    async def _send(
        self, batch: Sequence[Delivery], pieces: list[_Piece], outcomes: list[Outcome | None]
    ) -> None:
        """Send all pieces; leaves None for the deliveries that the server has taken whole."""
        began_s = self.component.clock.seconds()
        for group in self._groups(batch, pieces):
            first = group[0][0]
            if self.component.clock.seconds() - began_s > _BATCH_S:
                self._settle_rest(outcomes, pieces, first, NotTried())
                return
            concurrent = self._groups_in_flight > 0
            self._groups_in_flight += 1
            try:
                await self.link.send_batch(b"".join([xml for _, xml in group]))
            except LinkDown as e:
                failure = TemporaryFailure(
                    "peer-down", "The XMPP server is out of reach.", detail=e.text
                )
                self._settle_rest(outcomes, pieces, first, failure)
                if e.kind is Down.REJECTED:
                    self._find_the_bad_one(batch, group, outcomes, e, concurrent)
                return
            except BatchTooLarge as e:
                self._settle_rest(
                    outcomes, pieces, first, TemporaryFailure("internal", detail=str(e))
                )
                return
            finally:
                self._groups_in_flight -= 1
            if self._suspects:
                for index, _ in group:
                    self._suspects.pop(batch[index].delivery_id, None)

    def _groups(
        self, batch: Sequence[Delivery], pieces: Sequence[_Piece]
    ) -> Iterator[list[_Piece]]:
        """Cut the pieces into what is sent at once; what may be bad goes alone."""
        group: list[_Piece] = []
        size = 0
        for index, xml in pieces:
            suspect = bool(self._suspects) and batch[index].delivery_id in self._suspects
            if group and (suspect or size + len(xml) > _CHUNK_BYTES):
                yield group
                group, size = [], 0
            group.append((index, xml))
            size += len(xml)
            if suspect:
                yield group
                group, size = [], 0
        if group:
            yield group

    @staticmethod
    def _settle_rest(
        outcomes: list[Outcome | None], pieces: Sequence[_Piece], first: int, outcome: Outcome
    ) -> None:
        for index, _ in pieces:
            if index >= first:
                outcomes[index] = outcome

    def _find_the_bad_one(
        self,
        batch: Sequence[Delivery],
        group: Sequence[_Piece],
        outcomes: list[Outcome | None],
        end: LinkDown,
        concurrent: bool,
    ) -> None:
        """The server ended the stream because of something in it; find out what, and give it up."""
        bad = {index for index, xml in group if not stanzas.is_well_formed(xml)}
        indexes = {index for index, _ in group}
        if not bad and len(indexes) == 1 and not concurrent:
            (index,) = indexes
            delivery_id = batch[index].delivery_id
            strikes = self._suspects.get(delivery_id, 0) + 1
            self._suspects[delivery_id] = strikes
            # The first time something else on the stream may have been the cause.
            if strikes >= _STRIKES:
                bad = indexes
        for index in bad:
            delivery = batch[index]
            self._suspects.pop(delivery.delivery_id, None)
            outcomes[index] = PermanentFailure("internal", detail=end.text)
            self._log.error(
                "{gateway}: {message_id} to {peer} is given up, because the server ends the "
                "stream when it gets it: {reason}",
                gateway=self.component.label,
                message_id=delivery.message_id,
                peer=delivery.destination,
                reason=end.text,
            )
        if not bad:
            for index in indexes:
                self._suspects.setdefault(batch[index].delivery_id, 0)

    # -- writing stanzas

    def _build(
        self,
        delivery: Delivery,
        now_ms: int,
        online: dict[str, bool],
        uploaded: Mapping[str, str],
    ) -> list[str]:
        if delivery.kind is Kind.MESSAGE:
            return self._message(delivery, now_ms, uploaded)
        if delivery.kind is Kind.NOTICE:
            return [self._notice(delivery)]
        return self._report(delivery, online)

    def _message(self, delivery: Delivery, now_ms: int, uploaded: Mapping[str, str]) -> list[str]:
        component = self.component
        domain = component.domain
        to = delivery.destination
        body = delivery.body
        nick = ""
        if delivery.author:
            sender = component.jid_of(addresses.Person(delivery.author))
        elif delivery.direction != Direction.IN:
            sender = domain  # the operator
        else:
            line = component.shown_line(delivery.person, delivery.line)
            name = component.name_of(delivery.person, delivery.sender)
            parties = delivery.parties if len(delivery.recipients) > 1 else ()
            if len(parties) > 1 and all(is_e164(party) for party in parties):
                sender = component.jid_of(addresses.Group(parties), line)
                body = self._with_author(body, delivery.sender, name)
            else:
                sender = addresses.jid_of_sender(
                    delivery.sender, domain, line, component.config.phone_context
                )
                # A name as sender keeps its spelling here: the JID is in lower case.
                nick = name or ("" if _is_number(delivery.sender) else delivery.sender)
        stanza_id = self.stanza_id(delivery.delivery_id, to)
        delayed_at = ""
        if now_ms - delivery.created_at_ms > _DELAYED_MS:
            delayed_at = stanzas.stamp(delivery.created_at_ms)
        thread = self.threads.get((to, sender), "") if self.threads else ""
        texts = [(body, "")]
        media = attached(delivery.media) if delivery.media else ()
        if not media and len(body) * 6 <= stanzas.MAX_BODY_BYTES:
            return [
                stanzas.chat_message(
                    to,
                    sender,
                    stanza_id,
                    body,
                    delayed_at=delayed_at,
                    delayed_by=domain,
                    nick=nick,
                    thread=thread,
                )
            ]
        if len(body) * 6 > stanzas.MAX_BODY_BYTES:
            texts = [(piece, "") for piece in stanzas.split_body(body)]
        if media:
            # Clients show a file only where the body is its link and nothing else.
            links = [self._linked(medium, uploaded) for medium in media]
            texts = [*links, *texts] if body else links
        return [
            stanzas.chat_message(
                to,
                sender,
                stanza_id if number == 0 else f"{stanza_id}~{number + 1}",
                text,
                delayed_at=delayed_at,
                delayed_by=domain,
                request_receipt=number == 0,
                nick=nick,
                oob_url=oob_url,
                thread=thread,
            )
            for number, (text, oob_url) in enumerate(texts)
        ]

    async def _upload(self, batch: Sequence[Delivery]) -> Mapping[str, str]:
        """Put files into the server's upload service; returns where they are, by digest."""
        config = self.component.config
        media = [
            medium for delivery in batch if delivery.media for medium in attached(delivery.media)
        ]
        if not media or not config.upload:
            return {}
        reachable = "://" in self._linked(media[0], {})[1]
        return await self.uploads.links(media, _UPLOAD_S if reachable else _ONLY_UPLOAD_S)

    def _linked(self, medium: Media, uploaded: Mapping[str, str]) -> tuple[str, str]:
        """Return what stands in a text about a file, and the link that a client shows (or none)."""
        if medium.digest in uploaded:
            link = uploaded[medium.digest]
            return link, link
        files = self.component.world.media
        link = files.link(medium, LINK_LIFETIME_S) if files is not None else medium.url
        if "://" in link:
            return link, link
        # Without a public address of ours nobody outside could fetch it.
        name = medium.name or "a file"
        size = f", {shown_bytes(medium.size)}" if medium.size is not None else ""
        return f"[{name}{size}: it can be seen in the web inbox]", ""

    def _with_author(self, body: str, sender: str, name: str) -> str:
        match self.component.config.group_author:
            case "name":
                return f"{name or sender}: {body}"
            case "uri":
                return f"<xmpp:{sender}@{self.component.domain}> {body}"
            case _:
                return body

    def _notice(self, delivery: Delivery) -> str:
        sender = self.component.domain
        line = self.component.world.directory.lines.get(delivery.line)
        if line is not None and line.number and self.component.config.own_number_commands:
            sender = self.component.jid_of(addresses.Number(line.number))
        stanza_id = self.stanza_id(delivery.delivery_id, delivery.destination)
        return stanzas.note(delivery.destination, sender, stanza_id, delivery.body)

    def _report(self, delivery: Delivery, online: dict[str, bool]) -> list[str]:
        component = self.component
        full_jid = delivery.destination
        bare_jid = addresses.bare(full_jid)
        local, written_id = unpack_ref(delivery.ref)
        sender = f"{local}@{component.domain}" if local else self._written_to(delivery)
        stanza_id = self.stanza_id(delivery.delivery_id, bare_jid)
        reason = delivery.reason
        sentence = delivery.body or REASONS.get(reason, "")
        match delivery.reported:
            case Status.DELIVERED | Status.SENT:
                line = component.world.directory.lines.get(delivery.line)
                if not written_id or (line is not None and line.receipts == "never"):
                    return []
                return [stanzas.receipt(bare_jid, sender, stanza_id, written_id)]
            case Status.FAILED | Status.EXPIRED | Status.DROPPED:
                if delivery.reported == Status.DROPPED and delivery.message_id in self.withdrawn:
                    return []
                condition = condition_of(
                    reason or ("network" if delivery.reported == Status.FAILED else "expired"),
                    delivery.body,
                )
                if condition is not None and written_id and online.get(full_jid, False):
                    return [
                        stanzas.error_reply(
                            full_jid,
                            sender,
                            written_id,
                            condition,
                            body=delivery.about,
                            by=component.domain,
                        )
                    ]
                # Servers keep no errors for who is away, so a sentence goes there instead.
                told = condition.text if condition is not None else sentence
                told = f"[Not delivered] {told}{_quoted(delivery.about)}"
                return [stanzas.note(bare_jid, sender, stanza_id, told)]
            case Status.UNCERTAIN:
                told = sentence or REASONS["outcome-unknown"]
                told = f"[Uncertain] {told}{_quoted(delivery.about)}"
                return [stanzas.note(bare_jid, sender, stanza_id, told)]
            case Status.QUEUED:
                told = f"Your text waits to be sent. {sentence}".rstrip()
                told = f"[Waiting] {told}{_quoted(delivery.about)}"
                return [stanzas.note(bare_jid, sender, stanza_id, told)]
            case _:
                return []

    def _written_to(self, delivery: Delivery) -> str:
        """Return the JID that a message was most likely written to."""
        component = self.component
        line = component.shown_line(delivery.person, delivery.line)
        recipients = delivery.recipients
        if not recipients:
            return component.domain
        if len(recipients) > 1:
            return component.jid_of(addresses.Group(recipients), line)
        if recipients[0] in component.world.directory.persons:
            return component.jid_of(addresses.Person(recipients[0]))
        return component.jid_of(addresses.peer_of_sender(recipients[0]), line)

    # -- who is there

    async def _find_online(self, batch: Sequence[Delivery]) -> dict[str, bool]:
        """Find out which of the devices that must get an error are there to get it."""
        found: dict[str, bool] = {}
        asked: list[str] = []
        for delivery in batch:
            if delivery.kind is not Kind.REPORT or delivery.reported not in (
                Status.FAILED,
                Status.EXPIRED,
                Status.DROPPED,
            ):
                continue
            full_jid = delivery.destination
            if full_jid in found:
                continue
            known = self.presences.is_online(full_jid)
            found[full_jid] = bool(known)
            if known is None and addresses.resource_of(full_jid):
                asked.append(full_jid)
        if asked:
            answers = await DeferredList([self._ping(full_jid) for full_jid in asked])
            found.update(zip(asked, (bool(there) for _, there in answers), strict=True))
        return found

    def _ping(self, full_jid: str) -> Deferred[bool]:
        return Deferred.fromCoroutine(self._is_there(full_jid))

    async def _is_there(self, full_jid: str) -> bool:
        try:
            await self.link.ask(
                "get", full_jid, "<ping xmlns='urn:xmpp:ping'/>", timeout_s=_PING_TIMEOUT_S
            )
        except IqFailed as e:
            # A server answers so for a device that is not there; a client that knows no ping
            # mostly says that it is not implemented.
            return e.condition == "feature-not-implemented"
        except LinkDown:
            return False
        self.presences.heard(full_jid)
        self._log.debug("{peer} is there", peer=mask(full_jid))
        return True


def _is_number(sender: str) -> bool:
    return not sender or (sender.isascii() and sender.removeprefix("+").isdigit())


def _quoted(text: str) -> str:
    """Say in a note which text it is about, in as few words as tell it from others."""
    words = " ".join(text.split())
    if not words:
        return ""
    short = words if len(words) <= _LONGEST_QUOTE else words[: _LONGEST_QUOTE - 1] + "…"
    return f" (“{short}”)"
