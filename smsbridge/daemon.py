"""
The running daemon: builds gateways from a configuration, applies changes of it, and answers the
web.

`tap` puts it together with the store and the listeners; this module opens nothing by itself.
"""

from __future__ import annotations

import signal
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import Any, Final

from attrs import evolve
from twisted.application.service import Service
from twisted.internet.defer import Deferred, fail, maybeDeferred
from twisted.internet.error import CannotListenError
from twisted.internet.task import LoopingCall, deferLater
from twisted.logger import Logger
from twisted.web.resource import IResource
from zope.interface import implementer

from smsbridge import gateways as kinds
from smsbridge.config import Config, ConfigErrors, load
from smsbridge.core.address import InvalidNumber, parse_destination
from smsbridge.core.attachments import prepare
from smsbridge.core.changes import Changes
from smsbridge.core.directory import Line, World
from smsbridge.core.dispatcher import Dispatcher
from smsbridge.core.entries import MessageQuery, QueueQuery
from smsbridge.core.inbox import Inbox
from smsbridge.core.message import FromPerson, Media, Status
from smsbridge.core.optouts import OptOut, OptOuts
from smsbridge.core.optwords import refusal
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
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.interfaces import (
    IDesk,
    IDiscover,
    IGateway,
    ILineControl,
    IReconcile,
    ITryOut,
    IUssd,
    IWebhook,
)
from smsbridge.keys import ConfigError
from smsbridge.store.service import MessageStore
from smsbridge.web.bridge import Attachment, IBridge, MessageFilter, QueueFilter, Reloaded

__all__ = ["Daemon", "Gateways"]

_DAY_MS: Final = 86_400_000
_PURGE_EVERY_S: Final = 3600.0
_PURGE_PAUSE_S: Final = 0.02  # between two steps, so that messages pass in between
_MOST_RETRIED: Final = 10_000
_RESENT_LIFE_MS: Final = 2 * _DAY_MS

#: Keys of [smsbridge] that a running daemon can take over.
_RELOADABLE: Final = frozenset(
    {"country", "retention_days", "include", "notify_after", "media_cap", "media_max"}
)


class Gateways(Service):
    """
    The gateways by label: built, started, changed and stopped one apart from the other.

    :ivar broken: those that could not start, by label, and why.
    """

    log = Logger()
    name = "gateways"

    def __init__(self, reactor: Any, inbox: Inbox, dispatcher: Dispatcher, world: World) -> None:
        self._reactor = reactor
        self._inbox = inbox
        self._dispatcher = dispatcher
        self._world = world
        self._by_label: dict[str, IGateway] = {}
        self._privileged = False
        self.broken: dict[str, str] = {}  # label -> why it could not start

    def build(self, label: str, kind: str, config: Any, lines: Mapping[str, Line]) -> None:
        """Build a gateway and make it known."""
        gateway = kinds.load(kind).build(
            self._reactor, label, config, lines, self._inbox, self._dispatcher, self._world
        )
        self._by_label[label] = gateway
        self._dispatcher.add_gateway(gateway)

    def __iter__(self) -> Any:
        return iter(list(self._by_label.values()))

    def get(self, label: str) -> IGateway | None:
        """Return the gateway of that label."""
        return self._by_label.get(label)

    def privilegedStartService(self) -> None:
        """Let gateways open ports that only root may open."""
        for gateway in self:
            gateway.privilegedStartService()

    def startService(self) -> None:
        """Start all gateways; a port that is taken ends the start."""
        Service.startService(self)
        for gateway in self:
            gateway.startService()

    def stopService(self) -> Deferred[None]:
        """Stop all gateways at once: they are independent of each other."""
        Service.stopService(self)
        return Deferred.fromCoroutine(self._stop_all())

    async def _stop_all(self) -> None:
        stopping = [(gateway, maybeDeferred(gateway.stopService)) for gateway in self]
        for gateway, stopped in stopping:
            try:
                await stopped
            except Exception:
                # One gateway that cannot stop must not keep the others running.
                self.log.failure("{gateway} could not stop", gateway=gateway.label)

    def make(self, label: str, config: Config) -> list[str]:
        """Build a gateway while the daemon runs; returns why not, if so, as a sentence."""
        kind, settings = config.gateways[label]
        return self._try(label, lambda: self.build(label, kind, settings, config.lines_of(label)))

    def begin(self, label: str) -> list[str]:
        """Start a gateway while the daemon runs; returns why not, if so, as a sentence."""
        gateway = self._by_label.get(label)
        if gateway is None:
            return []  # it could not be built, which was said

        def start() -> None:
            gateway.privilegedStartService()
            gateway.startService()

        return self._try(label, start)

    def _try(self, label: str, do: Callable[[], None]) -> list[str]:
        try:
            do()
        except Exception as e:
            # A gateway that cannot start (mostly a port that is taken) leaves the others alone.
            if not isinstance(e, CannotListenError | ConfigError):
                self.log.failure("{gateway} could not start", gateway=label)
            self.broken[label] = str(e)
            return [f"[gateway:{label}] could not start: {e}"]
        self.broken.pop(label, None)
        return []

    async def remove(self, label: str) -> None:
        """Stop and forget a gateway; what waits for it stays in the store."""
        gateway = self._by_label.pop(label, None)
        self.broken.pop(label, None)
        if gateway is None:
            return
        try:
            await maybeDeferred(gateway.stopService)
        except Exception:
            # It is forgotten all the same.
            self.log.failure("{gateway} could not stop", gateway=label)
        self._dispatcher.remove_gateway(label)


@implementer(IBridge, IDesk)
class Daemon(Service):
    """
    What runs: answers the control API, reloads on SIGHUP, and keeps the history in bounds.

    :param rebuild_http: replaces the HTTP listeners after a change of [http].
    """

    log = Logger()
    name = "daemon"

    def __init__(
        self,
        reactor: Any,
        config: Config,
        now_ms: Callable[[], int],
        store: MessageStore,
        dispatcher: Dispatcher,
        inbox: Inbox,
        world: World,
        changes: Changes,
        gateways: Gateways,
        rebuild_http: Callable[[Config], Deferred[str]],
    ) -> None:
        self._reactor = reactor
        self.config = config
        self._now_ms = now_ms
        self._store = store
        self._dispatcher = dispatcher
        self._inbox = inbox
        self._world = world
        self._changes = changes
        self._gateways = gateways
        self._rebuild_http = rebuild_http
        self.started_at_ms = now_ms()
        self._added_addresses: list[tuple[str, str, str]] = []
        self._learned_numbers: dict[str, str] = {}
        inbox.learned = self._learned
        world.desk = self
        self.listening = False
        self._purger = LoopingCall(self._purge_old)
        self._reloading: Deferred[Reloaded] | None = None
        # systemd is told of a reload's beginning and end.
        self.reloading: Callable[[], None] = _nothing
        self.reloaded: Callable[[], None] = _nothing
        #: Told of every configuration that was taken over.
        self.reconfigured: Callable[[Config], None] = lambda config: None

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Begin; everything else has started."""
        Service.startService(self)
        self.listening = True
        now_ms = self._now_ms()
        self._load_addresses().addErrback(
            lambda failure: self.log.failure("could not read added addresses", failure=failure)
        )
        self._store.facts().addCallbacks(
            self._numbers_read,
            lambda failure: self.log.failure("could not read the lines' facts", failure=failure),
        )
        self._store.sent_since(now_ms - now_ms % _DAY_MS).addCallbacks(
            lambda counts: self._inbox.daily.load(now_ms, counts),
            lambda failure: self.log.failure("could not count today's texts", failure=failure),
        )
        self._purger.clock = self._reactor
        self._purger.start(_PURGE_EVERY_S, now=True).addErrback(
            lambda failure: self.log.failure("the purger failed", failure=failure)
        )
        signal.signal(
            signal.SIGHUP, lambda *_: self._reactor.callFromThread(self._reload_by_signal)
        )

    def stopService(self) -> None:
        """Hand nothing more to gateways; the first to stop."""
        Service.stopService(self)
        self.listening = False
        if self._purger.running:
            self._purger.stop()
        signal.signal(signal.SIGHUP, signal.SIG_DFL)
        self._dispatcher.begin_nothing_more()

    def unready(self) -> str:
        """See `IBridge.unready`."""
        if not self._store.is_open:
            return "The database is not open."
        if not self.listening:
            return "The listeners are not open yet."
        if self._gateways.broken:
            return "; ".join(
                f"[gateway:{label}] could not start: {why}"
                for label, why in self._gateways.broken.items()
            )
        return ""

    # -- messages --------------------------------------------------------------------------------

    def send(
        self, line: str, recipients: tuple[str, ...], text: str, media: tuple[Attachment, ...]
    ) -> Deferred[str]:
        """See `IBridge.send`."""
        if not line:
            usable = [label for label, known in self.config.lines.items() if known.enabled]
            if len(usable) != 1:
                return fail(
                    Refused("unknown-line", f"Say which line with --line: {', '.join(usable)}.")
                )
            line = usable[0]
        text_alone = FromPerson(person="", recipients=recipients, body=text, line=line)
        if media:
            return Deferred.fromCoroutine(self._send_with(text_alone, media))
        return self._inbox.accept(text_alone).addCallback(lambda accepted: accepted.message_id)

    async def _send_with(self, text: FromPerson, attachments: Sequence[Attachment]) -> str:
        files = self._world.media
        if files is None:
            raise TemporaryFailure("internal", "The media store is not open.")
        kept = [await files.keep(each.data, each.name, each.content_type) for each in attachments]
        line = self._world.directory.lines.get(text.line)
        media = await prepare(files, line, tuple(kept))
        accepted = await self._inbox.accept(evolve(text, media=media))
        return accepted.message_id

    def messages(self, which: MessageFilter, limit: int | None) -> Deferred[list[MessageRecord]]:
        """See `IBridge.messages`."""
        return self._store.messages(_message_query(which, limit))

    def messages_after(
        self, which: MessageFilter, after_id: str, limit: int
    ) -> Deferred[list[MessageRecord]]:
        """See `IBridge.messages_after`."""
        return self._store.messages(evolve(_message_query(which, limit), after_id=after_id or "0"))

    def follow(self, changed: Callable[[Collection[str]], None]) -> Callable[[], None]:
        """See `IBridge.follow`."""
        return self._changes.watch(changed)

    def trace(self, message_id: str) -> Deferred[MessageRecord | None]:
        """See `IBridge.trace`."""
        return self._store.trace(message_id)

    def queue(
        self, which: QueueFilter, after_id: str, limit: int
    ) -> Deferred[list[DeliveryRecord]]:
        """See `IBridge.queue`."""
        return self._store.queue(
            QueueQuery(
                gateway=which.gateway,
                line=which.line,
                statuses=which.statuses,
                delivery_ids=which.delivery_ids,
                message_id=which.message_id,
                after_id=after_id,
                limit=limit,
            )
        )

    def depths(self) -> Deferred[list[QueueDepth]]:
        """See `IBridge.depths`."""
        return self._store.depths()

    def retry(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge.retry`."""
        return Deferred.fromCoroutine(self._retry(delivery_ids))

    async def _retry(self, delivery_ids: tuple[str, ...]) -> int:
        delivery_ids = await self._wanted(delivery_ids)
        now_ms = self._now_ms()
        resent = await self._store.resend(delivery_ids, now_ms, now_ms + _RESENT_LIFE_MS)
        return self._intervened(resent, delivery_ids)

    async def _wanted(self, delivery_ids: tuple[str, ...]) -> tuple[str, ...]:
        """
        Leave out what goes to numbers that want no texts any more.

        :raises Refused: nothing else is left.
        """
        opt_outs = self._world.opt_outs
        if opt_outs is None or not delivery_ids or not opt_outs.listed():
            return delivery_ids
        found = await self._store.queue(
            QueueQuery(
                delivery_ids=delivery_ids, statuses=tuple(map(str, Status)), limit=_MOST_RETRIED
            )
        )
        left_out: dict[str, Refused] = {}
        for each in found:
            line = self._world.directory.lines.get(each.line)
            if line is None or each.person or line.opt_out == "no":
                continue
            if opt_outs.is_out(line.label, each.to):
                left_out[each.delivery_id] = refusal(line, each.to)
        wanted = tuple(each for each in delivery_ids if each not in left_out)
        if left_out and not wanted:
            raise next(iter(left_out.values()))
        return wanted

    def drop(self, delivery_ids: tuple[str, ...]) -> Deferred[int]:
        """See `IBridge.drop`."""
        return self._store.drop(delivery_ids, self._now_ms()).addCallback(
            self._intervened, delivery_ids
        )

    def _intervened(self, result: tuple[int, list[str]], delivery_ids: tuple[str, ...]) -> int:
        count, lanes = result
        self._dispatcher.poke(lanes)
        self._changes.tell(delivery_id.partition(".")[0] for delivery_id in delivery_ids)
        return count

    def link(self, media: Media) -> str:
        """See `IBridge.link`."""
        files = self._world.media
        return files.link(media) if files is not None else media.url

    def calls(self, line: str, limit: int) -> Deferred[list[CallRecord]]:
        """See `IBridge.calls`."""
        return self._store.calls(line, limit)

    def purge(self, before_ms: int) -> Deferred[int]:
        """See `IBridge.purge`."""
        return Deferred.fromCoroutine(self._purge(before_ms))

    async def _purge(self, before_ms: int) -> int:
        total, after, more = 0, "", True
        while more and self.running:
            count, after, more = await self._store.purge_some(before_ms, self._now_ms(), after)
            total += count
            await deferLater(self._reactor, _PURGE_PAUSE_S)
        return total

    def _purge_old(self) -> Any:
        days = self.config.settings.retention_days
        # Without a limit only what has no meaning any more goes: keys of repeats.
        before_ms = self._now_ms() - days * _DAY_MS if days else 0

        def purged(count: int) -> None:
            if count:
                self.log.info(
                    "{count} messages older than {days} days purged", count=count, days=days
                )

        return self.purge(before_ms).addCallbacks(
            purged, lambda failure: self.log.failure("could not purge", failure=failure)
        )

    # -- lines -----------------------------------------------------------------------------------

    def lines(self) -> list[LineStatus]:
        """See `IBridge.lines`."""
        now_ms = self._now_ms()
        found = []
        for gateway in self._gateways:
            for status in gateway.line_status():
                line = self.config.lines.get(status.line)
                found.append(
                    evolve(
                        status,
                        sent_today=self._inbox.daily.of(status.line, now_ms),
                        daily_cap=line.daily_cap if line is not None else 0,
                    )
                )
        order = {label: number for number, label in enumerate(self.config.lines)}
        return sorted(found, key=lambda status: order.get(status.line, len(order)))

    def links(self) -> list[LinkStatus]:
        """See `IBridge.links`."""
        return [gateway.link_status() for gateway in self._gateways]

    def lanes(self) -> Mapping[tuple[str, str], int]:
        """See `IBridge.lanes`."""
        return self._dispatcher.lane_states()

    def _line(self, label: str) -> Line:
        known = self.config.lines.get(label)
        if known is None:
            raise _no_line(label, self.config)
        return known

    def _gateway_of_line(self, line: str) -> IGateway:
        known = self.config.lines.get(line)
        gateway = self._gateways.get(known.gateway) if known is not None else None
        if gateway is None:
            raise _no_line(line, self.config)
        return gateway

    def ussd(self, line: str, code: str) -> Deferred[str]:
        """See `IBridge.ussd`."""
        return maybeDeferred(self._ussd, line, code)

    def _ussd(self, line: str, code: str) -> Deferred[str]:
        speaker = IUssd(self._gateway_of_line(line), None)
        if speaker is None:
            raise Refused("unsupported", f"Line {line} has no USSD.")
        return speaker.ussd(line, code)

    def has_ussd(self, line: str) -> bool:
        """See `IBridge.has_ussd`."""
        known = self._world.directory.lines.get(line)
        gateway = self._gateways.get(known.gateway) if known is not None else None
        return gateway is not None and IUssd(gateway, None) is not None

    def try_out(self, person: str) -> Deferred[list[str]]:
        """See `IBridge.try_out`."""
        persons = self._world.directory.persons
        if person not in persons:
            known = ", ".join(list(persons)[:10]) or "none"
            return fail(
                Refused("unknown-person", f"There is no [person:{person}]; there are: {known}.")
            )
        serving = self._gateways.get(self._world.directory.serving.get("webhook", ""))
        gateway = ITryOut(serving, None) if serving is not None else None
        if gateway is None:
            return fail(
                Refused("unsupported", f"{person} has no key 'webhook' in the configuration.")
            )
        return gateway.try_out(person)

    def line_commands(self, line: str) -> Mapping[str, tuple[str, str]]:
        """See `IBridge.line_commands`."""
        control = ILineControl(self._gateway_of_line(line), None)
        return control.commands if control is not None else {}

    def line_command(self, line: str, command: str, arguments: tuple[str, ...]) -> Deferred[str]:
        """See `IBridge.line_command`."""
        return maybeDeferred(self._line_command, line, command, arguments)

    def _line_command(self, line: str, command: str, arguments: tuple[str, ...]) -> Deferred[str]:
        control = ILineControl(self._gateway_of_line(line), None)
        if control is None or command not in control.commands:
            known = ", ".join(control.commands) if control is not None else "none"
            raise Refused("unsupported", f"Line {line} has no command {command}; it has: {known}.")
        return control.control(line, command, arguments)

    # -- what a provider is asked ------------------------------------------------------------------

    def reconciling(self) -> list[str]:
        """See `IBridge.reconciling`."""
        return self._providing(IReconcile)

    def reconcile(
        self, gateway: str, since_ms: int, told: Callable[[str], None]
    ) -> Deferred[Reconciled]:
        """See `IBridge.reconcile`."""
        return maybeDeferred(
            lambda: IReconcile(
                self._asked(gateway, IReconcile, "cannot be asked what it carried")
            ).reconcile(since_ms, told)
        )

    def discovering(self) -> list[str]:
        """See `IBridge.discovering`."""
        return self._providing(IDiscover)

    def discover(self, gateway: str) -> Deferred[list[FoundLine]]:
        """See `IBridge.discover`."""

        def found(lines: list[FoundLine]) -> list[FoundLine]:
            ours = self._world.directory.line_by_number
            return [
                evolve(each, line=ours[each.number].label)
                if not each.line and each.number in ours
                else each
                for each in lines
            ]

        return maybeDeferred(
            lambda: IDiscover(
                self._asked(gateway, IDiscover, "cannot be asked for its numbers")
            ).discover()
        ).addCallback(found)

    def _providing(self, interface: Any) -> list[str]:
        return [each.label for each in self._gateways if interface(each, None) is not None]

    def _asked(self, label: str, interface: Any, otherwise: str) -> IGateway:
        """Return a gateway that provides an interface; else say which ones do."""
        gateway = self._gateways.get(label)
        if gateway is not None and interface(gateway, None) is not None:
            return gateway
        able = self._providing(interface)
        others = f"; these can: {', '.join(able)}." if able else ", and no other gateway can."
        if gateway is None:
            known = ", ".join(each.label for each in self._gateways) or "none"
            raise Refused(
                "unsupported", f"There is no gateway {label} that runs; there are: {known}."
            )
        raise Refused("unsupported", f"The gateway {label} ({gateway.kind}) {otherwise}{others}")

    # -- who wants no texts ------------------------------------------------------------------------

    def opt_outs(self, line: str) -> list[OptOut]:
        """See `IBridge.opt_outs`."""
        found = self._opt_outs().listed()
        if not line:
            return found
        of_line = [each for each in found if each.line == line]
        if not of_line:  # those of a line that was removed are shown, too
            self._line(line)
        return of_line

    def opt_out(self, line: str, number: str) -> Deferred[bool]:
        """See `IBridge.opt_out`."""

        def put_out() -> Deferred[bool]:
            known, found = self._line(line).label, self._destination(number)

            def withdrawn(is_new: bool) -> Deferred[bool]:
                return self._inbox.withdraw(known, found).addCallback(lambda _: is_new)

            return self._opt_outs().opt_out(known, found, "operator").addCallback(withdrawn)

        return maybeDeferred(put_out)

    def opt_in(self, line: str, number: str) -> Deferred[bool]:
        """See `IBridge.opt_in`."""

        def take_in() -> Deferred[bool]:
            self.opt_outs(line)  # refuses a line that never was
            return self._opt_outs().opt_in(line, self._destination(number))

        return maybeDeferred(take_in)

    def _opt_outs(self) -> OptOuts:
        opt_outs = self._world.opt_outs
        if opt_outs is None:
            raise TemporaryFailure("internal", "The database is not open.")
        return opt_outs

    def _destination(self, number: str) -> str:
        try:
            return parse_destination(number, self._world.directory.country)
        except InvalidNumber as e:
            raise Refused("invalid-number", str(e)) from None

    def hook(self, label: str) -> IResource | None:
        """Return what is mounted at ``/hook/LABEL``."""
        gateway = self._gateways.get(label)
        hook = IWebhook(gateway, None) if gateway is not None else None
        return hook.resource() if hook is not None else None

    # -- what a person may ask (IDesk) -------------------------------------------------------------

    def history(self, query: MessageQuery) -> Deferred[list[MessageRecord]]:
        """See `IDesk.history`."""
        return self._store.messages(query)

    def waiting(self, query: QueueQuery) -> Deferred[list[DeliveryRecord]]:
        """See `IDesk.waiting`."""
        return self._store.queue(query)

    def reload_configuration(self) -> Deferred[list[str]]:
        """See `IDesk.reload_configuration`."""
        return self.reload().addCallback(
            lambda done: [*done.errors, *done.changes, *done.warnings] or ["Nothing has changed."]
        )

    def bind(self, person: str, kind: str, address: str) -> Deferred[None]:
        """See `IDesk.bind`."""
        return self._store.bind(kind, address, person, self._now_ms()).addCallback(
            lambda _: self._load_addresses()
        )

    def unbind(self, kind: str, address: str) -> Deferred[bool]:
        """See `IDesk.unbind`."""

        def unbound(changed: bool) -> Deferred[bool]:
            return self._load_addresses().addCallback(lambda _: changed)

        return self._store.bind(kind, address, "", self._now_ms()).addCallback(unbound)

    def _load_addresses(self) -> Deferred[None]:
        def loaded(added: list[tuple[str, str, str]]) -> None:
            self._added_addresses = added
            self._take_directory()

        return self._store.bindings().addCallback(loaded)

    def _numbers_read(self, facts: dict[str, dict[str, str]]) -> None:
        for line, known in facts.items():
            if "number" in known:
                self._learned_numbers.setdefault(line, known["number"])
        self._take_directory()

    def _learned(self, line: str, facts: dict[str, str]) -> None:
        number = facts.get("number", "")
        if number and self._learned_numbers.get(line) != number:
            self._learned_numbers[line] = number
            self._take_directory()

    def _take_directory(self) -> None:
        """Let everybody see what is configured, with what persons added and devices told."""
        self._world.directory = self.config.directory.with_numbers(
            self._learned_numbers
        ).with_addresses(self._added_addresses)

    # -- reload ----------------------------------------------------------------------------------

    def _update(self, gateway: IGateway, new: Config) -> bool:
        """Let a gateway take its changed configuration; False if it must be built anew."""
        label = gateway.label
        try:
            return gateway.update(new.gateways[label].config, new.lines_of(label))
        except Exception:
            # A gateway that cannot change while it runs may still be able to start anew.
            self.log.failure("{gateway} could not take its configuration", gateway=label)
            return False

    def _reload_by_signal(self) -> None:
        def done(result: Reloaded) -> None:
            for error in result.errors:
                self.log.error("not reloaded: {reason}", reason=error)

        self.reload().addCallbacks(
            done, lambda failure: self.log.failure("could not reload", failure=failure)
        )

    def reload(self) -> Deferred[Reloaded]:
        """See `IBridge.reload`."""
        if self._reloading is not None:
            # One at a time; the second waits, because the file may have changed since the first
            # read.
            waiting: Deferred[Reloaded] = Deferred()

            def after(result: Any) -> Any:
                self.reload().chainDeferred(waiting)
                return result

            self._reloading.addBoth(after)
            return waiting
        reloading = self._reloading = Deferred.fromCoroutine(self._reload())
        answer: Deferred[Reloaded] = Deferred()

        def finished(result: Any) -> Any:
            self._reloading = None
            return result

        reloading.addBoth(finished)
        reloading.chainDeferred(answer)
        return answer

    async def _reload(self) -> Reloaded:
        try:
            new = load(self.config.path)
        except ConfigErrors as e:
            return Reloaded(errors=tuple(str(error) for error in e.errors))
        except ConfigError as e:
            return Reloaded(errors=(str(e),))
        old = self.config
        difference = Config.diff(old, new)
        if not difference:
            return Reloaded(warnings=new.warnings)
        self.reloading()
        warnings = list(new.warnings)
        fixed = difference.settings - _RELOADABLE
        warnings.extend(
            f"[smsbridge] {name} takes effect when the daemon is started again"
            for name in sorted(fixed)
        )
        self.config = new
        self._take_directory()
        self.reconfigured(new)
        self._dispatcher.notify_after_s = new.settings.notify_after
        # What is accepted from now on may be for a new gateway: it must be known before we wait.
        added = [label for label in new.gateways if label in difference.gateways.added]
        anew = set(difference.gateways.added & difference.gateways.removed)
        for label in added:
            if label not in anew:
                warnings.extend(self._gateways.make(label, new))
        for label in sorted(difference.gateways.removed):
            await self._gateways.remove(label)
        for label in sorted(difference.gateways.changed | difference.rebuilt_lines):
            gateway = self._gateways.get(label)
            if gateway is None or label in self._gateways.broken or not self._update(gateway, new):
                await self._gateways.remove(label)
                anew.add(label)
        for label in new.gateways:
            if label in anew:
                warnings.extend(self._gateways.make(label, new))
            if label in anew or label in added:
                warnings.extend(self._gateways.begin(label))
        if difference.http:
            problem = await self._rebuild_http(new)
            if problem:
                warnings.append(problem)
        self.reloaded()
        changes = tuple(difference.sentences())
        self.log.info("configuration reloaded: {changes}", changes="; ".join(changes))
        return Reloaded(changes=changes, warnings=tuple(warnings))


def _nothing() -> None:
    """Do nothing."""


def _no_line(label: str, config: Config) -> Refused:
    return Refused(
        "unknown-line",
        f"There is no line {label}; there are: {', '.join(config.lines) or 'none'}.",
    )


def _message_query(which: MessageFilter, limit: int | None) -> MessageQuery:
    return MessageQuery(
        line=which.line,
        person=which.person,
        number=which.number,
        message_ids=which.message_ids,
        since_ms=which.since_ms,
        limit=limit,
    )
