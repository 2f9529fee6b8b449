"""
The seams: what a gateway must do, and what the core does for it.

A gateway is one folder below `smsbridge.gateways`.  Its package has a ``FACTORY`` that provides
`IGatewayFactory`; the gateway it builds provides `IGateway` and, where the peer can do more, one of
the smaller interfaces.  A gateway talks to the core through `IInbox` (what comes in) and `ILanes`
(whether its peers can take something now); it never sees the store, another gateway, or the ini file.

Commit, then acknowledge: a gateway answers its peer only when the Deferred of an `IInbox` method has
fired.  Claim, send, record: what `IGateway.deliver` gets is marked *sending* in the store already.
"""

from __future__ import annotations

from zope.interface import Attribute, Interface

from twisted.application.service import IService

__all__ = [
    "IGateway",
    "IGatewayFactory",
    "IInbox",
    "ILanes",
    "ILineControl",
    "IMessageStore",
    "IUssd",
    "IWebhook",
]


class IInbox(Interface):
    """Where everything that comes from a peer goes; given to every gateway."""

    def accept(incoming):
        """
        Store a `FromNetwork` or `FromPerson` and queue its deliveries, in one transaction.

        Fires with `Accepted` after the commit.  The same `dedup_key` from the same gateway within its
        lifetime gives the first message again with ``duplicate=True`` and queues nothing.

        :raises Refused: (as the Deferred's failure) the door says no; nothing was stored.
        :raises TemporaryFailure: (likewise) the store is out of reach; do not acknowledge.
        """

    def report(report):
        """
        Record a `DeliveryReport`; fires after the commit with True if it changed a delivery.

        Late, repeated and unknown reports fire with False and change nothing.
        """

    def repeat_reports(message_id):
        """Queue the final reports of a message again, because its sender repeated it; fires after the commit."""

    def ussd_notice(notice):
        """Store a `UssdNotice` and queue it to the persons of the line; fires after the commit."""

    def call(call):
        """Store a `Call` in the call log; fires after the commit."""

    def notify(person, text, line):
        """Queue a sentence of the bridge itself to a person (a `Kind.NOTICE`); fires after the commit."""

    def learn(line, facts):
        """
        Store what a device told about its line: a mapping with any of ``number imei imsi iccid
        operator model``.  Only changes are written.  Fires after the commit.
        """


class ILanes(Interface):
    """Tells the dispatcher which lanes can take deliveries now; given to every gateway."""

    def open(gateway, lane):
        """The peer behind `lane` is there: deliveries may be given to ``deliver(lane, ...)``.  Repeats are harmless."""

    def close(gateway, lane, reason, text=""):
        """
        The peer is gone: nothing new is given until `open`; what waits stays queued and uses up no attempt.

        :param reason: one of `errors.REASONS`, for the sender who asks why it takes so long.
        """


class IGateway(IService):
    """A configured instance of one kind of peer."""

    label = Attribute(
        "The NAME of its [gateway:NAME]; it names the gateway in logs, routes and the store."
    )
    kind = Attribute("The folder that implements it.")
    recognizes_repeats = Attribute(
        "True if the next hop takes a repeated delivery (same delivery_id) for the same message, so that "
        "what was `sending` when a process died may be sent again by itself."
    )
    batch_size = Attribute(
        "The most deliveries of one lane that `deliver` takes at once.  They are delivered in their order. "
        "A gateway whose peer takes one at a time may still say more than 1: the dispatcher hands over "
        "several only to lanes that proved fast."
    )
    settle_within_s = Attribute(
        "Seconds after which an attempt that has not been settled counts as lost."
    )

    def lane(line, destination):
        """
        Name the lane for a delivery: what is sent one after another.  Pure; starts with the gateway's label.

        :param line: the label of a line, empty for person-side gateways.
        :param destination: the address in the gateway's own terms.
        """

    def deliver(lane, batch):
        """
        Hand a list of `Delivery` of one lane to the next hop, in order.

        Fires with a list of `Outcome`, one for each delivery, in the same order.  After a
        `TemporaryFailure` the later ones of the same `order_key` must not be tried (`NotTried`), because
        they would overtake it; a gateway may leave all later ones untried.  An unforeseen error is taken as `UnknownOutcome` for all (or as a temporary failure where repeats are recognized).
        It is not called again for the lane before it fired.  After `stopService` every delivery is
        a `TemporaryFailure`.
        """

    def update(config, lines):
        """
        Take a changed configuration without dropping what is undisturbed.

        :param config: the new value of the section (the factory's `config_class`).
        :param lines: the new lines of this gateway, by label.
        :return: False if it must be stopped and built anew (its listener or identity changed).
        """

    def line_status():
        """Return a list of `LineStatus`, one for each of its lines; cheap."""

    def link_status():
        """Return its `LinkStatus`; cheap."""


class IGatewayFactory(Interface):
    """What ``FACTORY`` of a gateway's package provides."""

    kind = Attribute("The name of the folder, which is what `kind =` says.")
    config_class = Attribute("The frozen attrs class of [gateway:NAME], made with `keys.key`.")
    line_class = Attribute(
        "The frozen attrs class of this kind's [line:NAME] (`core.directory.Line` or a subclass), or None "
        "where the kind has no lines."
    )
    address_kind = Attribute(
        "The kind of person's address that it delivers to (`xmpp`, `sip`, `dect`), or ''."
    )

    def build(reactor, label, config, lines, inbox, lanes, world):
        """
        Build an `IGateway`; opens nothing.

        :param world: a `core.directory.World`; ask it for persons at the time of use.
        :raises ConfigError: the values contradict each other.
        """


class IUssd(Interface):
    """A gateway whose lines have USSD."""

    def ussd(line, code):
        """
        Send a USSD code, or the answer within an open dialogue; fires with the network's text.

        :raises PermanentFailure: the network or the line refused.
        :raises TemporaryFailure: the line is busy or away.
        """


class ILineControl(Interface):
    """A gateway whose lines take commands from the operator."""

    commands = Attribute("Mapping of command name to (arguments as shown in help, sentence).")

    def control(line, command, arguments):
        """
        Run one command on a line; fires with the answer as text.

        :raises PermanentFailure: the device refused, or the command or its arguments are not known.
        :raises TemporaryFailure: the device does not answer.
        """


class IWebhook(Interface):
    """A gateway that a provider calls by HTTP."""

    def resource():
        """Return the `twisted.web.resource.IResource` that is mounted at ``/hook/LABEL``."""


class IMessageStore(Interface):
    """
    The durable store.  Every method returns a Deferred that fires after the commit (or the read).

    Writes keep their order: of two calls the first is committed no later than the second, and their
    Deferreds fire in that order.
    """

    def accept(entry):
        """Commit a `core.entries.Entry`; fires with `Accepted`."""

    def claim(delivery_ids, lease_until_ms):
        """Mark queued deliveries as *sending*; fires with the set of ids that are ours now."""

    def refill(lane, now_ms, limit):
        """
        Read the deliveries of a lane that are due, in order.

        Fires with ``(deliveries, complete)``; `complete` is True when nothing else of the lane is open.
        """

    def settle(results):
        """Record a list of `core.entries.Settlement`; fires with the list of statuses reached."""

    def report(report, now_ms):
        """Record a `DeliveryReport`; fires with True if it changed a delivery."""

    def recover(repeatable, now_ms):
        """
        Decide on what was *sending* when this node died: queued again for gateways in `repeatable`, else uncertain.

        Fires with the pair of counts.
        """

    def lanes_due(after_ms, until_ms):
        """Fires with the lanes that have a delivery due within that time."""

    def messages(query):
        """Fires with a list of `MessageRecord` for a `core.entries.MessageQuery`."""

    def trace(message_id):
        """Fires with the `MessageRecord` with deliveries of every kind and their history, or None."""

    def queue(query):
        """Fires with a list of `DeliveryRecord` for a `core.entries.QueueQuery`."""

    def depths():
        """Fires with a list of `QueueDepth`."""

    def resend(delivery_ids, now_ms):
        """Queue failed, expired, uncertain or dropped deliveries again (or waiting ones at once); fires with the count."""

    def drop(delivery_ids, now_ms):
        """Give up queued or uncertain deliveries; fires with the count."""

    def calls(line, limit):
        """Fires with a list of `CallRecord`, newest first; an empty line means all."""

    def purge(before_ms):
        """Delete finished history older than that in small steps; fires with the count of messages."""
