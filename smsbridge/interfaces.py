"""
The seams: what a gateway must do, and what the core does for it.

A gateway is one folder below `smsbridge.gateways`.  Its package has a ``FACTORY`` that provides
`IGatewayFactory`; the gateway it builds provides `IGateway` and, where the peer can do more, one of
the smaller interfaces.  A gateway talks to the core through `IInbox` (what comes in) and `ILanes`
(whether its peers can take something now); it never sees the store, another gateway, or the ini
file.

Commit, then acknowledge: a gateway answers its peer only when the Deferred of an `IInbox` method
has fired.  Claim, send, record: what `IGateway.deliver` gets is marked *sending* in the store
already.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any

from twisted.application.service import IService
from twisted.internet.defer import Deferred
from twisted.web.resource import IResource
from zope.interface import Attribute, Interface

from smsbridge.core.directory import World
from smsbridge.core.entries import Entry, MessageQuery, QueueQuery, Settlement
from smsbridge.core.message import (
    Accepted,
    Call,
    Delivery,
    DeliveryReport,
    FromNetwork,
    FromPerson,
    Outcome,
    Settled,
    UssdNotice,
)
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    FoundLine,
    LineStatus,
    LinkStatus,
    MessageRecord,
    Preview,
    QueueDepth,
    Reconciled,
)

__all__ = [
    "IDesk",
    "IDiscover",
    "IGateway",
    "IGatewayFactory",
    "IInbox",
    "ILanes",
    "ILineControl",
    "ILookUp",
    "IMessageStore",
    "IReconcile",
    "ITryOut",
    "IUssd",
    "IWebhook",
]


class IInbox(Interface):
    """Where everything that comes from a peer goes; given to every gateway."""

    def accept(incoming: FromNetwork | FromPerson) -> Deferred[Accepted]:
        """
        Store a `FromNetwork` or `FromPerson` and queue its deliveries, in one transaction.

        Fires with `Accepted` after the commit.  The same `dedup_key` from the same gateway within
        its lifetime gives the first message again with ``duplicate=True`` and queues nothing.

        :raises Refused: (as the Deferred's failure) the door says no; nothing was stored.
        :raises TemporaryFailure: (likewise) the store is out of reach; do not acknowledge.
        """

    def is_known(line: str, dedup_key: str) -> Deferred[bool]:
        """
        Tell whether a text from the network would be a repeat.

        For gateways that have work to do before they accept one, such as fetching attachments.

        :raises TemporaryFailure: (as the Deferred's failure) the store is out of reach.
        """

    def accept_each(incoming: FromPerson) -> Deferred[list[Accepted]]:
        """
        Store a text as one message for each recipient, each in the conversation with that one.

        All of it is checked before anything is stored.  Fires after the commit, with the messages
        in the order of the recipients; a repeat gives the first ones again.

        :raises Refused: (as the Deferred's failure) the door says no; nothing was stored.
        :raises TemporaryFailure: (likewise) the store is out of reach; repeat it with the same
            `dedup_key`.
        """

    def preview(incoming: FromPerson) -> Preview:
        """
        Return what `accept` would make of a text, without keeping or counting anything.

        :raises Refused: `accept` would refuse it.
        """

    def report(report: DeliveryReport) -> Deferred[bool]:
        """
        Record a `DeliveryReport`; fires after the commit with True if it changed a delivery.

        Late, repeated and unknown reports fire with False and change nothing.
        """

    def repeat_reports(message_id: str) -> Deferred[None]:
        """
        Queue the final reports of a message again, because its sender repeated it; fires after the
        commit.
        """

    def ussd_notice(notice: UssdNotice) -> Deferred[None]:
        """Store a `UssdNotice` and queue it to the persons of the line; fires after the commit."""

    def call(call: Call) -> Deferred[None]:
        """Store a `Call` in the call log; fires after the commit."""

    def notify(person: str, text: str, line: str = "") -> Deferred[None]:
        """
        Queue a sentence of the bridge itself to a person (a `Kind.NOTICE`); fires after the commit.
        """

    def learn(line: str, facts: dict[str, str]) -> Deferred[None]:
        """
        Store what a device told about its line: a mapping with any of ``number imei imsi iccid
        operator model``.  Only changes are written.  Fires after the commit.
        """


class IDesk(Interface):
    """
    What a person may ask of the bridge by chat, and an operator more; `World.desk` is one.

    It does not know who asks: the gateway checks that a line is the person's, and that who reloads
    is an operator (`Person.admin`).
    """

    def lines() -> list[LineStatus]:
        """Return the state of all lines."""

    def links() -> list[LinkStatus]:
        """Return the state of all gateways."""

    def calls(line: str, limit: int) -> Deferred[list[CallRecord]]:
        """Fires with the calls of a line, newest first."""

    def ussd(line: str, code: str) -> Deferred[str]:
        """
        Send a USSD code; fires with the network's text.

        :raises Refused: there is no such line, or it has no USSD.
        :raises PermanentFailure: the network refused.
        :raises TemporaryFailure: the line is busy or away.
        """

    def history(query: MessageQuery) -> Deferred[list[MessageRecord]]:
        """Fires with messages, oldest first."""

    def waiting(query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
        """Fires with deliveries that are not finished, oldest first."""

    def retry(delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """Queue deliveries again; fires with the count."""

    def drop(delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """Give deliveries up; fires with the count."""

    def reload_configuration() -> Deferred[list[str]]:
        """Read the configuration again; fires with sentences: what changed, or why nothing did."""

    def bind(person: str, kind: str, address: str) -> Deferred[None]:
        """
        Give a person one more address, proved by a code; fires after the commit.

        `Directory.person_at` knows it from then on, also after a restart.
        """

    def unbind(kind: str, address: str) -> Deferred[bool]:
        """Take an address given by `bind` away; fires with False if it was not there."""


class ILanes(Interface):
    """Tells the dispatcher which lanes can take deliveries now; given to every gateway."""

    def open(gateway: str, lane: str) -> None:
        """
        The peer behind `lane` is there: deliveries may be given to ``deliver(lane, ...)``.  Repeats
        are harmless.
        """

    def close(gateway: str, lane: str, reason: str, text: str = "") -> None:
        """
        The peer is gone: nothing new is given until `open`; what waits stays queued and uses up no
        attempt.

        :param reason: one of `errors.REASONS`, for the sender who asks why it takes so long.
        """


class IGateway(IService):
    """A configured instance of one kind of peer."""

    label: str = Attribute(
        "The NAME of its [gateway:NAME]; it names the gateway in logs, routes and the store."
    )
    kind: str = Attribute("The folder that implements it.")
    recognizes_repeats: bool = Attribute(
        "True if the next hop takes a repeated delivery (same delivery_id) for the same message, "
        "so that what was `sending` when a process died may be sent again by itself."
    )
    batch_size: int = Attribute(
        "The most deliveries of one lane that `deliver` takes at once.  They are delivered in "
        "their order. A gateway whose peer takes one at a time may still say more than 1: the "
        "dispatcher hands over several only to lanes that proved fast. The deliveries of one "
        "group text (`Delivery.group`) are handed over together, even if they are more than that."
    )
    settle_within_s: float = Attribute(
        "Seconds after which an attempt that has not been settled counts as lost."
    )

    def lane(line: str, destination: str) -> str:
        """
        Name the lane for a delivery: what is sent one after another.  Pure; starts with the
        gateway's label.

        :param line: the label of a line, empty for person-side gateways.
        :param destination: the address in the gateway's own terms.
        """

    def deliver(
        lane: str, batch: Sequence[Delivery]
    ) -> Deferred[Sequence[Outcome]] | Deferred[Sequence[Settled]]:
        """
        Hand a list of `Delivery` of one lane to the next hop, in order.

        Fires with a list of `Outcome`, one for each delivery, in the same order.  Where the peer
        must be asked first what became of one, a Deferred may stand for it (the same one for all of
        a group text): meanwhile the lane goes on, and the later ones of that `order_key` wait; it
        fires within `settle_within_s` or is given up.  After a
        `TemporaryFailure` the later ones of the same `order_key` must not be tried (`NotTried`),
        because they would overtake it; a gateway may leave all later ones untried.  An unforeseen
        error is taken as `UnknownOutcome` for all (or as a temporary failure where repeats are
        recognized). It is not called again for the lane before it fired.  After `stopService` every
        delivery is a `TemporaryFailure`.
        """

    def update(config: Any, lines: Mapping[str, Any]) -> bool:
        """
        Take a changed configuration without dropping what is undisturbed.

        :param config: the new value of the section (the factory's `config_class`).
        :param lines: the new lines of this gateway, by label.
        :return: False if it must be stopped and built anew (its listener or identity changed).
        """

    def line_status() -> list[LineStatus]:
        """Return a list of `LineStatus`, one for each of its lines; cheap."""

    def link_status() -> LinkStatus:
        """Return its `LinkStatus`; cheap."""


class IGatewayFactory(Interface):
    """What ``FACTORY`` of a gateway's package provides."""

    kind: str = Attribute("The name of the folder, which is what `kind =` says.")
    config_class: Any = Attribute("The frozen attrs class of [gateway:NAME], made with `keys.key`.")
    line_class: Any = Attribute(
        "The frozen attrs class of this kind's [line:NAME] (`core.directory.Line` or a subclass), "
        "or None where the kind has no lines."
    )
    address_kind: str = Attribute(
        "The kind of person's address that it delivers to (`xmpp`, `sip`, `dect`), or ''."
    )

    def build(
        reactor: Any,
        label: str,
        config: Any,
        lines: Mapping[str, Any],
        inbox: IInbox,
        lanes: ILanes,
        world: World,
    ) -> IGateway:
        """
        Build an `IGateway`; opens nothing.

        :param world: a `core.directory.World`; ask it for persons at the time of use.
        :raises ConfigError: the values contradict each other.
        """


class IUssd(Interface):
    """A gateway whose lines have USSD."""

    def ussd(line: str, code: str) -> Deferred[str]:
        """
        Send a USSD code, or the answer within an open dialogue; fires with the network's text.

        :raises PermanentFailure: the network or the line refused.
        :raises TemporaryFailure: the line is busy or away.
        """


class ILineControl(Interface):
    """A gateway whose lines take commands from the operator."""

    commands: Mapping[str, tuple[str, str]] = Attribute(
        "Mapping of command name to (arguments as shown in help, sentence)."
    )

    def control(line: str, command: str, arguments: Sequence[str]) -> Deferred[str]:
        """
        Run one command on a line; fires with the answer as text.

        :raises PermanentFailure: the device refused, or the command or its arguments are not known.
        :raises TemporaryFailure: the device does not answer.
        """


class ITryOut(Interface):
    """A gateway that can send a sample to a person's address, to see whether it is right."""

    def try_out(person: str) -> Deferred[list[str]]:
        """
        Send a sample, which is stored nowhere; fires with a sentence for each address.

        :raises Refused: the person has no address of this kind.
        """


class IWebhook(Interface):
    """A gateway that a provider calls by HTTP."""

    def resource() -> IResource:
        """Return the `twisted.web.resource.IResource` that is mounted at ``/hook/LABEL``."""


class ILookUp(Interface):
    """A gateway whose peer can be asked whether it has a text whose answer was lost."""

    def look_up(delivery: Delivery) -> Deferred[Outcome]:
        """
        Find out what became of an attempt that nobody answered for, made by this process or an
        earlier one.  Of a group text one delivery is asked about, for all.

        Fires with `Sent` (the peer has it), `NotTried` (the peer surely does not), or
        `UnknownOutcome` (it could not be told). The store changes nothing meanwhile.
        """


class IReconcile(Interface):
    """A gateway whose peer lists what it carried, so that what webhooks missed can be fetched."""

    def reconcile(since_ms: int, told: Callable[[str], None]) -> Deferred[Reconciled]:
        """
        Fetch what the peer has since then, accept texts that are not known and record statuses.

        :param told: called with a sentence now and then, so that whoever waits sees progress.
        :raises PermanentFailure: the peer cannot be asked, or refuses.
        :raises TemporaryFailure: it does not answer; what came before stays accepted.
        """


class IDiscover(Interface):
    """A gateway that can list the numbers of its account."""

    def discover() -> Deferred[list[FoundLine]]:
        """
        Fires with the numbers.

        :raises PermanentFailure: the peer cannot be asked, or refuses.
        :raises TemporaryFailure: it does not answer.
        """


class IMessageStore(Interface):
    """
    The durable store.  Every method returns a Deferred that fires after the commit (or the read).

    Writes of one kind keep their order: of two calls the first is committed no later than the
    second, and their Deferreds fire in that order. In one commit the kinds follow each other:
    accept, claim, settle, report, all else, and at the end refill; their Deferreds do too.
    """

    def accept(entry: Entry) -> Deferred[Accepted]:
        """Commit a `core.entries.Entry`; fires with `Accepted`."""

    def is_known(gateway: str, dedup_key: str, now_ms: int) -> Deferred[bool]:
        """Fires with whether an entry with that key would be a repeat."""

    def claim(delivery_ids: Sequence[str], now_ms: int, lease_until_ms: int) -> Deferred[set[str]]:
        """Mark queued deliveries as *sending*; fires with the set of ids that are ours now."""

    def after_answers(call: Callable[[], None]) -> None:
        """
        Call back when the Deferreds of the commit at hand have all fired; at once if none is.

        What was committed together can so be dealt with together.
        """

    def refill(
        lane: str,
        now_ms: int,
        limit: int,
        lease_until_ms: int = 0,
        in_hand: Iterable[str] = (),
    ) -> Deferred[tuple[list[Delivery], bool]]:
        """
        Read the deliveries of a lane that are due, in order.

        :param lease_until_ms: claim them in the same transaction; they come back as *sending*.
        :param in_hand: ids of deliveries of the lane that are being sent; what is read goes after
            them. Everything else that is *sending* holds back what must not overtake it.

        Fires with ``(deliveries, complete)``; `complete` is True when nothing else of the lane is
        open but what this node has claimed.
        """

    def settle(results: Sequence[Settlement]) -> Deferred[list[str]]:
        """Record a list of `core.entries.Settlement`; fires with the lanes that got reports."""

    def report(
        report: DeliveryReport, now_ms: int, retry_at_ms: int
    ) -> Deferred[tuple[str, list[str]]]:
        """
        Record a `DeliveryReport`; fires with the id of the delivery that it changed (empty: none),
        and the lanes that got reports.

        :param retry_at_ms: when a delivery that the hop gave back is sent again.
        """

    def repeat_reports(message_id: str, now_ms: int) -> Deferred[list[str]]:
        """Queue the last reports of a message again; fires with the lanes that got them."""

    def recover(
        repeatable: Sequence[str],
        others: Sequence[str],
        now_ms: int,
        own_too: bool,
        asked: Sequence[str] = (),
    ) -> Deferred[tuple[int, int, list[str]]]:
        """
        Decide on attempts whose node died.

        They are queued again for gateways in `repeatable`, uncertain for those in `others`.  Fires
        with both counts and the lanes that got reports.

        :param own_too: at the start also what this node claimed; else only what outlived its lease.
        :param asked: those of `others` whose peers can be asked (`ILookUp`): texts of theirs are
            uncertain without a report, and hold back what must not overtake them, until `conclude`.
        """

    def interrupted(gateway: str, limit: int) -> Deferred[list[Delivery]]:
        """Fires with the newest attempts about which the peer of a gateway is to be asked."""

    def conclude(results: Sequence[Settlement]) -> Deferred[list[str]]:
        """
        Record what the peer said about interrupted attempts, unless something else came meanwhile.

        `Sent` is sent, `NotTried` is queued again, anything else stays uncertain and is reported.
        Fires with the lanes in which there is something new to do.
        """

    def tell_waiting(
        before_ms: int, now_ms: int, closed: dict[str, tuple[str, str]]
    ) -> Deferred[list[str]]:
        """
        Queue a report for each text that has waited since before, once, and expire what is too old.

        Fires with the lanes that got reports.

        :param closed: lane to (reason, sentence) for lanes that are closed.
        """

    def lanes_due(after_ms: int, until_ms: int) -> Deferred[list[str]]:
        """Fires with the lanes that have a delivery due within that time."""

    def messages(query: MessageQuery) -> Deferred[list[MessageRecord]]:
        """Fires with a list of `MessageRecord` for a `core.entries.MessageQuery`."""

    def trace(message_id: str) -> Deferred[MessageRecord | None]:
        """
        Fires with the `MessageRecord` with deliveries of every kind and their history, or None.
        """

    def queue(query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
        """Fires with a list of `DeliveryRecord` for a `core.entries.QueueQuery`."""

    def depths() -> Deferred[list[QueueDepth]]:
        """Fires with a list of `QueueDepth`."""

    def resend(
        delivery_ids: Sequence[str], now_ms: int, expires_at_ms: int
    ) -> Deferred[tuple[int, list[str]]]:
        """
        Queue failed, expired, uncertain or dropped deliveries again, and waiting ones at once.

        Fires with the count and the lanes.
        """

    def drop(delivery_ids: Sequence[str], now_ms: int) -> Deferred[tuple[int, list[str]]]:
        """
        Give up queued or uncertain deliveries; fires with the count and the lanes with something
        new to do.
        """

    def log_call(call: Call) -> Deferred[None]:
        """Put a `Call` into the log, or complete the one that began at the same time."""

    def calls(line: str, limit: int) -> Deferred[list[CallRecord]]:
        """Fires with a list of `CallRecord`, newest first; an empty line means all."""

    def learn(line: str, facts: dict[str, str], now_ms: int) -> Deferred[None]:
        """Replace facts about a line."""

    def facts() -> Deferred[dict[str, dict[str, str]]]:
        """Fires with a mapping of line to its facts."""

    def bind(kind: str, address: str, person: str, now_ms: int) -> Deferred[bool]:
        """
        Keep an address that a person added; an empty person takes it away.

        Fires with whether anything changed.
        """

    def bindings() -> Deferred[list[tuple[str, str, str]]]:
        """Fires with the addresses that persons added, as (kind, address, person)."""

    def sent_since(since_ms: int) -> Deferred[dict[str, int]]:
        """Fires with the segments accepted for each line since a time."""

    def purge_some(before_ms: int, now_ms: int, after_id: str) -> Deferred[tuple[int, str, bool]]:
        """
        Delete a bounded amount of finished history older than that.

        Fires with the count of messages, the last id looked at, and whether there is more.
        """
