"""
The narrow view of the running daemon that everything below ``web/`` is given.

It says what a page or command may ask for and nothing about how it is done, so that the control
API runs in tests on a bridge in memory.
"""

# ruff: noqa: N805 - a zope method has no self

from __future__ import annotations

from collections.abc import Callable, Collection, Mapping

from attrs import field, frozen
from twisted.internet.defer import Deferred
from zope.interface import Attribute, Interface

from smsbridge.core.message import Media
from smsbridge.core.optouts import OptOut
from smsbridge.core.records import (
    CallRecord,
    DeliveryRecord,
    FoundLine,
    LineStatus,
    LinkStatus,
    MessageRecord,
    QueueDepth,
    Reconciled,
)

__all__ = ["Attachment", "IBridge", "MessageFilter", "QueueFilter", "Reloaded"]

#: What waits or may wait for an operator; the default of `QueueFilter.statuses`.
WAITING = ("queued", "sending", "uncertain")


@frozen(kw_only=True)
class Attachment:
    """One file that goes out with a message."""

    name: str
    content_type: str
    data: bytes = field(repr=False)


@frozen(kw_only=True)
class MessageFilter:
    """Which messages are wanted; an empty field says nothing."""

    line: str = ""
    person: str = ""
    number: str = ""
    message_ids: tuple[str, ...] = ()
    since_ms: int | None = None


@frozen(kw_only=True)
class QueueFilter:
    """Which deliveries are wanted; an empty field says nothing."""

    gateway: str = ""
    line: str = ""
    statuses: tuple[str, ...] = WAITING
    delivery_ids: tuple[str, ...] = ()
    message_id: str = ""


@frozen(kw_only=True)
class Reloaded:
    """
    What reading the configuration again led to.

    With `errors` nothing was changed; each is a sentence that names file, section and key.
    """

    changes: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    errors: tuple[str, ...] = ()


class IBridge(Interface):
    """The daemon as the control API, the health pages and the metrics see it."""

    started_at_ms: int = Attribute("When the daemon started, in milliseconds since 1970 UTC.")

    def unready() -> str:
        """Say in a sentence what is not open yet (the store, a listener); empty when all is."""

    def send(
        line: str, recipients: tuple[str, ...], text: str, media: tuple[Attachment, ...]
    ) -> Deferred[str]:
        """
        Accept a text of the operator, for whom no person is needed; fires with the message id.

        :param line: the label of a line; empty where the configuration leaves one choice.
        :param recipients: as typed: numbers, short codes or names of persons.
        :raises Refused: nothing was stored.
        :raises TemporaryFailure: the store is out of reach.
        """

    def messages(which: MessageFilter, limit: int | None) -> Deferred[list[MessageRecord]]:
        """Fires with the newest `limit` messages (None: all of them), oldest first."""

    def messages_after(
        which: MessageFilter, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """
        Fires with the *oldest* `limit` messages that are younger than `after_id`, oldest first.

        An empty `after_id` begins with the oldest.  Long listings are read so, page by page.
        """

    def follow(changed: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """
        Call ``changed(message_ids)`` after every commit that made or changed messages.

        Returns a function without arguments that ends it.  The call costs the core next to
        nothing: the follower reads the messages itself.
        """

    def trace(message_id: str) -> Deferred[MessageRecord | None]:
        """Fires with the message with deliveries of every kind and their history, or None."""

    def lines() -> list[LineStatus]:
        """Return the lines of all gateways."""

    def links() -> list[LinkStatus]:
        """Return the links, one for each gateway."""

    def lanes() -> Mapping[tuple[str, str], int]:
        """Map (gateway, ``open`` or ``closed``) to how many lanes are in that state."""

    def queue(which: QueueFilter, after_id: str, limit: int) -> Deferred[list[DeliveryRecord]]:
        """
        Fires with the oldest `limit` deliveries that are younger than `after_id`, oldest first.

        An empty `after_id` begins with the oldest.
        """

    def depths() -> Deferred[list[QueueDepth]]:
        """Fires with how much waits, by gateway and status."""

    def retry(delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """
        Queue failed, expired, uncertain or dropped deliveries again, and let waiting ones go now.

        Fires with the count.
        """

    def drop(delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """Give up queued and uncertain deliveries; fires with the count."""

    def link(media: Media) -> str:
        """Return the address of an attachment; that of a file that we keep works for a while."""

    def calls(line: str, limit: int) -> Deferred[list[CallRecord]]:
        """Fires with the call log, newest first; an empty line means all."""

    def ussd(line: str, code: str) -> Deferred[str]:
        """
        Send a USSD code, or an answer in an open dialogue; fires with the network's text.

        :raises Refused: there is no such line, or it has no USSD.
        :raises PermanentFailure: the network refused.
        :raises TemporaryFailure: the line is busy or away.
        """

    def has_ussd(line: str) -> bool:
        """Tell whether a line has USSD."""

    def try_out(person: str) -> Deferred[list[str]]:
        """
        Post a sample to a person's webhooks; fires with a sentence for each.

        :raises Refused: there is no such person, or none that has a webhook.
        """

    def line_commands(line: str) -> Mapping[str, tuple[str, str]]:
        """
        Map what can be asked of a line to (arguments as shown in help, sentence).

        :raises Refused: there is no such line.
        """

    def line_command(line: str, command: str, arguments: tuple[str, ...]) -> Deferred[str]:
        """
        Run one command on a line; fires with the answer as text.

        :raises Refused: there is no such line or command.
        :raises PermanentFailure: the device refused.
        :raises TemporaryFailure: the device does not answer.
        """

    def reconciling() -> list[str]:
        """Return the gateways whose peer can be asked what it carried."""

    def reconcile(gateway: str, since_ms: int, told: Callable[[str], None]) -> Deferred[Reconciled]:
        """
        Fetch what a gateway's peer has since then; fires with what that brought.

        :param told: called with a sentence now and then.
        :raises Refused: there is no such gateway, or its peer cannot be asked.
        :raises PermanentFailure: the peer refuses.
        :raises TemporaryFailure: it does not answer; what came before stays accepted.
        """

    def discovering() -> list[str]:
        """Return the gateways whose account can be asked for its numbers."""

    def discover(gateway: str) -> Deferred[list[FoundLine]]:
        """
        Fires with the numbers of a gateway's account, with the lines that have them.

        :raises Refused: there is no such gateway, or its account cannot be asked.
        :raises PermanentFailure: the peer refuses.
        :raises TemporaryFailure: it does not answer.
        """

    def opt_outs(line: str) -> list[OptOut]:
        """
        Return the numbers that want no texts from a line (empty: any line), oldest first.

        :raises Refused: there is no such line.
        """

    def opt_out(line: str, number: str) -> Deferred[bool]:
        """
        Put a number out, as typed; fires with False if it was out already.

        :raises Refused: there is no such line, or that is no number.
        """

    def opt_in(line: str, number: str) -> Deferred[bool]:
        """
        Take a number back in, as typed; fires with False if it was not out.

        :raises Refused: there is no such line, or that is no number.
        """

    def reload() -> Deferred[Reloaded]:
        """Read the configuration again and apply what changed."""

    def purge(before_ms: int) -> Deferred[int]:
        """
        Delete finished history older than that, without a long lock.

        Fires with the count of messages.
        """
