"""
The door for what a provider tells, by a call of its or in a list of its: texts and statuses.

A text is committed when `Arrivals.take` fires: in the inbox, or, where parts or attachments of it
are still to come, among what the gateway keeps (`parts`, `enclosures`).  So whoever called may be
answered.  Repeats are recognized by the provider's id for as long as any provider lists its texts.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from attrs import evolve
from twisted.internet.defer import Deferred, fail, succeed
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure

from smsbridge.core.address import mask
from smsbridge.core.directory import World
from smsbridge.core.message import Accepted, DeliveryReport, FromNetwork
from smsbridge.core.pending import Kept, Pending
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.interfaces import IInbox
from smsbridge.provider.account import Account
from smsbridge.provider.client import Ask
from smsbridge.provider.dialect import Event, ProviderLine, Received, StatusUpdate
from smsbridge.provider.early import Early
from smsbridge.provider.enclosures import REMEMBERED_S, Enclosures
from smsbridge.provider.parts import Parts

__all__ = ["Arrivals"]

_REPORTS_WITHIN_S: Final = 30 * 86400.0
_READ_AGAIN_S: Final = 5.0
_MOST_STRANGE: Final = 1000


class Arrivals:
    """
    Takes the events of one gateway.

    :param ask: asks the provider; see `client.Client.ask`.
    """

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        account: Account,
        inbox: IInbox,
        world: World,
        early: Early,
        ask: Ask,
    ) -> None:
        self._clock = clock
        self._account = account
        self._inbox = inbox
        self._world = world
        self._early = early
        self._parts = Parts(clock, account, self._pending, self._joined)
        self._enclosures = Enclosures(clock, account, inbox, world, ask, self._pending)
        self._strange: set[str] = set()  # numbers without a line that the log has named
        self._reading: Deferred[None] | None = None
        self._timer: IDelayedCall | None = None

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Go on with what an earlier process promised."""
        self._parts.start()
        self._enclosures.start()
        self._read()

    def stop(self) -> Deferred[None]:
        """Leave off; what is kept in the store waits for the next start."""
        if self._timer is not None and self._timer.active():
            self._timer.cancel()
        if self._reading is not None:
            self._reading.cancel()
        self._parts.stop()
        return self._enclosures.stop()

    def _read(self) -> None:
        def found(kept: Sequence[Kept]) -> None:
            self._parts.resume(kept)
            self._enclosures.resume(kept)

        def failed(failure: Failure) -> None:
            if failure.check(TemporaryFailure):
                self._timer = self._clock.callLater(_READ_AGAIN_S, self._read)
            elif self._reading is not None:
                self.log.failure(
                    "{gateway}: what it kept could not be read",
                    failure=failure,
                    gateway=self._account.label,
                )

        try:
            reading: Deferred[Any] = self._pending().of(self._account.label)
        except TemporaryFailure:
            reading = fail(Failure())
        self._reading = reading
        reading.addCallback(found).addErrback(failed)

    def _pending(self) -> Pending:
        pending = self._world.pending
        if pending is None:
            raise TemporaryFailure("internal", "The store is not open.")
        return pending

    # -- what comes ------------------------------------------------------------------------------

    def take(self, event: Event) -> Deferred[bool]:
        """
        Take what a provider says; fires after the commit with whether it was news.

        :raises TemporaryFailure: (as the Deferred's failure) the store is out of reach; the
            provider must say it again.
        """
        if isinstance(event, Received):
            return self._received(event)
        if isinstance(event, StatusUpdate):
            return self._status(event)
        self.log.debug(
            "{gateway}: ignored what the provider said: {reason}",
            gateway=self._account.label,
            reason=event.why,
        )
        return succeed(False)

    def _received(self, received: Received) -> Deferred[bool]:
        line = self._account.line_of(received.ours)
        if line is None:
            # Some providers name the recipients of a group text without saying which is ours.
            lines = map(self._account.line_of, received.recipients)
            line = next((each for each in lines if each is not None), None)
            if line is None:
                self._say_strange(received.ours)
                return succeed(False)
            received = evolve(received, ours=line.number)
        try:
            if received.part is not None and self._parts.is_part(received):
                return self._parts.take(received)
            return self._whole(received, line)
        except TemporaryFailure:
            return fail(Failure())

    def _joined(self, received: Received) -> Deferred[bool]:
        """Take a text whose parts were kept; its line may be gone by now."""
        line = self._account.line_of(received.ours)
        if line is None:
            return fail(Refused("unknown-line", "Its line is not in the configuration any more."))
        return self._whole(received, line)

    def _whole(self, received: Received, line: ProviderLine) -> Deferred[bool]:
        if received.media or received.unlisted_media:
            taking = self._enclosures.take(received, line)
            return taking.addCallback(self._noted, received, line)
        accepting = self._inbox.accept(
            FromNetwork(
                line=line.label,
                sender=received.sender,
                body=received.body,
                recipients=received.recipients,
                dedup_key=received.remote_id,
                dedup_for_s=REMEMBERED_S,
                sent_at_ms=received.sent_at_ms,
                word_handled=bool(received.opt_out),
            )
        )
        accepting.addErrback(self._refused)
        return accepting.addCallback(self._accepted, received, line)

    def _accepted(
        self, accepted: Accepted | None, received: Received, line: ProviderLine
    ) -> bool | Deferred[bool]:
        new = accepted is not None and not accepted.duplicate
        return self._noted(new, received, line) if received.opt_out else new

    def _refused(self, failure: Failure) -> None:
        """A text that the inbox will never take is answered like one that it took."""
        failure.trap(Refused)
        self.log.warn(
            "{gateway}: a text is not kept: {reason}",
            gateway=self._account.label,
            reason=str(failure.value),
        )

    def _noted(self, new: bool, received: Received, line: ProviderLine) -> bool | Deferred[bool]:
        """Take note of who wants no more texts; a repeat might be older than a change of mind."""
        opt_outs, wish = self._world.opt_outs, received.opt_out
        if not new or opt_outs is None or wish not in ("stop", "start") or line.opt_out == "no":
            return new
        if wish == "stop":
            noting = opt_outs.opt_out(line.label, received.sender, "provider")
        else:
            noting = opt_outs.opt_in(line.label, received.sender)
        return noting.addCallback(lambda _: True)

    def _say_strange(self, number: str) -> None:
        if number in self._strange:
            return
        if len(self._strange) >= _MOST_STRANGE:
            self._strange.clear()
        self._strange.add(number)
        self.log.warn(
            "{gateway}: a text came for {peer}, which is the number of no line here, and is not "
            "kept; add a [line:NAME] with 'gateway = {gateway}' and this number",
            gateway=self._account.label,
            peer=mask(number) or "an unknown number",
        )

    # -- statuses --------------------------------------------------------------------------------

    def _status(self, update: StatusUpdate) -> Deferred[bool]:
        line = self._line_about(update)
        delivery_id = self._early.delivery_of(update)
        reporting = self._inbox.report(
            DeliveryReport(
                gateway=self._account.label,
                status=update.status,
                delivery_id=delivery_id,
                remote_id=update.remote_id,
                line=line.label if line is not None else "",
                destination=update.recipient,
                within_s=_REPORTS_WITHIN_S,
                reason=update.reason,
                text=update.text,
            )
        )

        def reported(changed: bool) -> bool | Deferred[bool]:
            if not changed and not delivery_id and update.remote_id:
                self._early.keep(update)
            return self._opted_out(update, line, changed) if update.opted_out else changed

        return reporting.addCallback(reported)

    def _opted_out(
        self, update: StatusUpdate, line: ProviderLine | None, changed: bool
    ) -> bool | Deferred[bool]:
        """Take note of who is out, where the provider or we know whom the text went to."""
        sent_on, sent_to = self._early.parties(update)
        if line is None:
            line = self._account.lines.get(sent_on)
        recipient = update.recipient or sent_to
        opt_outs = self._world.opt_outs
        if opt_outs is None or line is None or not recipient or line.opt_out == "no":
            return changed
        noting = opt_outs.opt_out(line.label, recipient, "provider")
        return noting.addCallback(lambda _: changed)

    def _line_about(self, update: StatusUpdate) -> ProviderLine | None:
        """Return the line of a status; the only one where the provider names none."""
        if update.ours:
            return self._account.line_of(update.ours)
        lines = self._account.lines
        return next(iter(lines.values())) if len(lines) == 1 else None
