"""
The control API: JSON over HTTP on a unix socket in the state folder, for the `smsbridge` command.

It turns requests into calls on `IBridge` and records into JSON, and decides nothing itself.  Who
may connect is settled by the socket's permissions: there are no accounts here.

::

    GET  /status                               what runs, links, lines, queue
    POST /messages       {line to text media}  send; answers {id}
    GET  /messages       ?line person number since_ms limit follow detail   JSON lines
    GET  /messages/ID                          one message with its whole history
    GET  /lines                                JSON lines
    POST /ussd           {line code}           answers {text}
    GET  /commands       ?line                 what the line can be asked
    POST /commands       {line command arguments}   answers {text}
    GET  /links                                JSON lines
    GET  /calls          ?line limit           JSON lines
    GET  /queue          ?gateway line status message limit   JSON lines
    POST /queue/retry, /queue/drop  {ids} or {gateway line statuses}  answers {count}
    POST /webhooks/test  {person}              answers {answers}: a sentence for each webhook
    POST /reload                               answers {changes warnings}
    POST /purge          {older_than_s}        JSON lines: progress, the last one {done: true}
    POST /reconcile      {gateway since_s}     JSON lines: {told}, and a result for each gateway
    GET  /numbers        ?gateway              JSON lines: the numbers of the accounts
    GET  /opt-outs       ?line                 JSON lines
    POST /opt-outs       {line number}         answers {changed}
    POST /opt-outs/remove  {line number}       answers {changed}
    POST /password       {person password}     empty takes it away; answers {person}
    GET  /tokens         ?person               JSON lines
    POST /tokens         {name person scopes lines expires_s}   answers {name token}
    POST /tokens/remove  {name}                answers {name}

An error is ``{"error": reason, "message": sentence}``; inside of JSON lines it is the last line.
"""

from __future__ import annotations

import base64
import binascii
import json
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from typing import Any, ClassVar, TypeVar, cast

from attrs import evolve, frozen
from klein import Klein
from twisted.internet.defer import CancelledError, Deferred, fail
from twisted.internet.interfaces import IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.iweb import IRequest
from twisted.web.resource import IResource, Resource
from twisted.web.server import NOT_DONE_YET, Request
from werkzeug.exceptions import HTTPException

from smsbridge.core.message import Status
from smsbridge.core.records import DeliveryRecord, MessageRecord
from smsbridge.errors import PermanentFailure, Refused, TemporaryFailure, UnknownOutcome
from smsbridge.web import shapes
from smsbridge.web.access.errors import AccountError
from smsbridge.web.access.passwords import Busy
from smsbridge.web.access.start import Door
from smsbridge.web.bridge import Attachment, IBridge, MessageFilter, QueueFilter
from smsbridge.web.phrases import answer_with
from smsbridge.web.stream import LineStream

__all__ = ["MAX_BODY_BYTES", "About", "BadRequest", "Control"]

#: The largest request: a text with attachments, which are a third larger as Base64.
MAX_BODY_BYTES = 64 * 1024 * 1024
#: The largest request without attachments.
_MAX_JSON_BYTES = 1024 * 1024
#: How many records are read, shaped and written at once; more would hold up the reactor.
_PAGE = 250
#: How many changed messages may wait for a follower that reads slowly.
_MAX_BEHIND = 50_000
#: How far back a provider is asked for what it carried.
_LONGEST_LOOK_BACK_S = 30 * 86400
#: How many deletions a purge is divided into at most.
_PURGE_STEPS = 50

_STATUS_OF_REASON = {
    "not-permitted": 403,
    "destination-not-allowed": 403,
    "unknown-line": 404,
    "unknown-person": 404,
    "throttled": 429,
    "daily-cap": 429,
    "not-found": 404,
    "taken": 409,
}

_All = tuple(str(status) for status in Status)

T = TypeVar("T")
_log = Logger()


class BadRequest(Exception):
    """The request cannot be understood; says why in one sentence."""


class NotFound(Exception):
    """There is no such thing; says so in one sentence."""


class TooLarge(Exception):
    """The request is larger than anything that is meant to be sent."""


class _Behind(Exception):
    """A follower reads too slowly to be kept up to date."""


@frozen(kw_only=True)
class About:
    """What does not change while the daemon runs and is worth knowing to its operator."""

    version: str
    config: str
    state: str = ""
    node: str = ""


class Control:
    """
    The control API over one bridge.

    :param about: shown by ``/status``.
    :param clock: tells what "older than" is measured from.
    :param door: passwords and tokens; without it there are none.
    """

    app: ClassVar[Klein] = Klein()

    def __init__(
        self, bridge: IBridge, clock: IReactorTime, about: About, door: Door | None = None
    ) -> None:
        self._bridge = bridge
        self._door = door
        self._clock = clock
        self._about = about
        self._followers: set[_Changes] = set()

    def resource(self) -> IResource:
        """Return what the control socket serves."""
        return _Front(self.send, self.app.resource())

    def close(self) -> None:
        """End all answers that would otherwise go on for ever."""
        for changes in list(self._followers):
            changes.end()

    # --- messages --------------------------------------------------------------------------------

    def _shape(self, record: MessageRecord, detail: bool) -> shapes.Shape:
        return shapes.message(record, detail=detail, link=self._bridge.link)

    def send(self, request: Request) -> Deferred[None]:
        """Accept a text; fires when it is answered."""

        def answer(data: bytes) -> None:
            if not request._disconnected:
                request.setHeader(b"Content-Length", str(len(data)).encode())
                request.write(data)
                request.finish()

        return (
            self._sent(request)
            .addCallbacks(
                lambda message_id: _json(request, {"id": message_id}, 202),
                lambda failure: self._not_sent(request, failure),
            )
            .addCallback(answer)
        )

    def _sent(self, request: Request) -> Deferred[str]:
        try:
            body = _Body(request, MAX_BODY_BYTES, "line", "to", "text", "media")
            recipients = body.texts("to")
            if not recipients:
                raise BadRequest("'to' must name at least one number.")
            return self._bridge.send(
                body.text("line"),
                recipients,
                body.text("text"),
                _attachments(body.value("media", [])),
            )
        except Exception:
            # Whatever a request stumbles over is answered, also when it is a bug of ours.
            return fail()

    def _not_sent(self, request: Request, failure: Failure) -> bytes:
        if request._disconnected:
            _say_unheard(failure)
        answers = (
            ((BadRequest,), self.bad_request),
            ((TooLarge,), self.too_large),
            ((Refused, PermanentFailure), self.refused),
            ((TemporaryFailure,), self.unavailable),
            ((UnknownOutcome,), self.unknown),
        )
        answer = next((answer for errors, answer in answers if failure.check(*errors)), self.bug)
        said: bytes = answer(request, failure)
        return said

    @app.route("/messages", methods=["GET"])
    async def messages(self, request: Request) -> None:
        """List messages, oldest first, and on demand go on with those that are new or change."""
        query = _Query(request, "line", "person", "number", "since_ms", "limit", "follow", "detail")
        which = MessageFilter(
            line=query.text("line"),
            person=query.text("person"),
            number=query.text("number"),
            since_ms=query.whole("since_ms"),
        )
        detail = query.flag("detail")
        limit = query.whole("limit")

        async def listing(stream: LineStream) -> None:
            changes = self._follow() if query.flag("follow") else None
            try:
                if limit != 0:
                    async for page in self._messages(which, limit):
                        await stream.write(self._shape(each, detail) for each in page)
                if changes is not None:
                    await self._write_changes(stream, which, changes, detail)
            finally:
                if changes is not None:
                    changes.end()
                    self._followers.discard(changes)

        await self._stream(request, listing)

    @app.route("/messages/<path:message_id>", methods=["GET"])
    async def trace(self, request: Request, message_id: str) -> bytes:
        """Show one message with everything that happened to it."""
        record = await self._bridge.trace(message_id)
        if record is None:
            raise NotFound(
                f"There is no message {message_id}; `smsbridge messages --ids` lists them."
            )
        return _json(request, shapes.traced(record, self._bridge.link))

    # --- lines -----------------------------------------------------------------------------------

    @app.route("/lines", methods=["GET"])
    async def lines(self, request: Request) -> None:
        """List the lines."""
        await self._listing(request, map(shapes.line, self._bridge.lines()))

    @app.route("/ussd", methods=["POST"])
    async def ussd(self, request: Request) -> bytes:
        """Send a USSD code and answer with the network's text."""
        body = _Body(request, _MAX_JSON_BYTES, "line", "code")
        code = body.text("code")
        if not code:
            raise BadRequest("'code' must hold a USSD code such as *100#.")
        answer = await _unbroken(self._bridge.ussd(body.text("line"), code))
        return _json(request, {"text": answer})

    @app.route("/webhooks/test", methods=["POST"])
    async def try_out(self, request: Request) -> bytes:
        """Post a sample to the webhooks of a person and answer with what came back."""
        person = _Body(request, _MAX_JSON_BYTES, "person").text("person")
        return _json(request, {"answers": await _unbroken(self._bridge.try_out(person))})

    @app.route("/commands", methods=["GET"])
    async def line_commands(self, request: Request) -> None:
        """List what a line can be asked."""
        commands = self._bridge.line_commands(_Query(request, "line").text("line"))
        await self._listing(
            request,
            (
                {"command": name, "arguments": arguments, "help": sentence}
                for name, (arguments, sentence) in sorted(commands.items())
            ),
        )

    @app.route("/commands", methods=["POST"])
    async def line_command(self, request: Request) -> bytes:
        """Run a command on a line."""
        body = _Body(request, _MAX_JSON_BYTES, "line", "command", "arguments")
        answer = await _unbroken(
            self._bridge.line_command(
                body.text("line"), body.text("command"), body.texts("arguments")
            )
        )
        return _json(request, {"text": answer})

    @app.route("/links", methods=["GET"])
    async def links(self, request: Request) -> None:
        """List the gateways' links."""
        await self._listing(request, map(shapes.link, self._bridge.links()))

    @app.route("/calls", methods=["GET"])
    async def calls(self, request: Request) -> None:
        """List the call log, newest first."""
        query = _Query(request, "line", "limit")
        limit = query.whole("limit")
        records = await self._bridge.calls(query.text("line"), 100 if limit is None else limit)
        await self._listing(request, map(shapes.call, records))

    # --- the queue -------------------------------------------------------------------------------

    @app.route("/queue", methods=["GET"])
    async def queue(self, request: Request) -> None:
        """List deliveries, oldest first."""
        query = _Query(request, "gateway", "line", "status", "message", "limit")
        which = _queue_filter(
            gateway=query.text("gateway"),
            line=query.text("line"),
            statuses=tuple(query.text("status").split()),
            message_id=query.text("message"),
        )
        limit = query.whole("limit")

        async def listing(stream: LineStream) -> None:
            async for page in self._deliveries(which, limit):
                await stream.write(map(shapes.queued, page))

        await self._stream(request, listing)

    @app.route("/queue/retry", methods=["POST"])
    async def retry(self, request: Request) -> bytes:
        """Queue deliveries again."""
        return _json(request, {"count": await self._change_queue(request, self._bridge.retry)})

    @app.route("/queue/drop", methods=["POST"])
    async def drop(self, request: Request) -> bytes:
        """Give up deliveries."""
        return _json(request, {"count": await self._change_queue(request, self._bridge.drop)})

    # --- operations ------------------------------------------------------------------------------

    @app.route("/status", methods=["GET"])
    async def status(self, request: Request) -> bytes:
        """Tell on one page how the daemon is."""
        depths = await self._bridge.depths()
        return _json(
            request,
            {
                "version": self._about.version,
                "pid": os.getpid(),  # read now: twistd forks after the start was prepared
                "node": self._about.node,
                "config": self._about.config,
                "state": self._about.state,
                "started_at": shapes.instant(self._bridge.started_at_ms),
                "unready": self._bridge.unready(),
                "links": [shapes.link(each) for each in self._bridge.links()],
                "lines": [shapes.line(each) for each in self._bridge.lines()],
                "queue": [shapes.depth(each) for each in depths],
            },
        )

    @app.route("/reload", methods=["POST"])
    async def reload(self, request: Request) -> bytes:
        """Apply the changed configuration."""
        result = await _unbroken(self._bridge.reload())
        if result.errors:
            many = len(result.errors) > 1
            return _json(
                request,
                shapes.problem(
                    "configuration",
                    f"The configuration has {len(result.errors)} error{'s' if many else ''}; "
                    "nothing was changed.",
                    errors=list(result.errors),
                ),
                422,
            )
        return _json(request, {"changes": list(result.changes), "warnings": list(result.warnings)})

    @app.route("/purge", methods=["POST"])
    async def purge(self, request: Request) -> None:
        """Delete old history from its old end, telling how far it is."""
        body = _Body(request, _MAX_JSON_BYTES, "older_than_s")
        older_than_s = body.value("older_than_s", None)
        if type(older_than_s) not in (int, float) or not 0 <= older_than_s < 1e11:
            raise BadRequest("'older_than_s' must be a number of seconds.")
        until_ms = int((self._clock.seconds() - older_than_s) * 1000)

        async def purging(stream: LineStream) -> None:
            count = 0
            async for before_ms in self._purge_steps(until_ms):
                count += await _unbroken(self._bridge.purge(before_ms))
                await stream.write(
                    [
                        {
                            "count": count,
                            "before": shapes.instant(before_ms),
                            "done": before_ms == until_ms,
                        }
                    ]
                )

        await self._stream(request, purging)

    @app.route("/reconcile", methods=["POST"])
    async def reconcile(self, request: Request) -> None:
        """Fetch what webhooks missed, of one gateway or of all that can be asked."""
        body = _Body(request, _MAX_JSON_BYTES, "gateway", "since_s")
        since_s = body.value("since_s", None)
        if type(since_s) not in (int, float) or not 0 < since_s <= _LONGEST_LOOK_BACK_S:
            raise BadRequest(
                "'since_s' must be a number of seconds, at most those of "
                f"{_LONGEST_LOOK_BACK_S // 86400} days."
            )
        since_ms = int((self._clock.seconds() - since_s) * 1000)
        labels = _named_or_able(
            body.text("gateway"),
            self._bridge.reconciling(),
            "No gateway here has a provider that can be asked what it carried.",
        )

        async def reconciling(stream: LineStream) -> None:
            for label in labels:
                telling = _Telling(stream, label)
                try:
                    result = await _unbroken(self._bridge.reconcile(label, since_ms, telling.told))
                except (Refused, PermanentFailure, TemporaryFailure):
                    if body.text("gateway"):
                        raise
                    # The others may still be asked.
                    await stream.write([{"gateway": label, **_problem(Failure())}])
                    continue
                finally:
                    telling.end()
                await stream.write([shapes.reconciled(label, result)])

        await self._stream(request, reconciling)

    @app.route("/numbers", methods=["GET"])
    async def numbers(self, request: Request) -> None:
        """List the numbers of one gateway's account, or of all that list them."""
        gateway = _Query(request, "gateway").text("gateway")
        labels = _named_or_able(
            gateway,
            self._bridge.discovering(),
            "No gateway here has an account that lists its numbers.",
        )

        async def listing(stream: LineStream) -> None:
            for label in labels:
                try:
                    found = await self._bridge.discover(label)
                except (Refused, PermanentFailure, TemporaryFailure):
                    if gateway:
                        raise
                    await stream.write([{"gateway": label, **_problem(Failure())}])
                    continue
                await stream.write(shapes.found(label, each) for each in found)

        await self._stream(request, listing)

    # --- who wants no texts ----------------------------------------------------------------------

    @app.route("/opt-outs", methods=["GET"])
    async def opt_outs(self, request: Request) -> None:
        """List the numbers that want no texts."""
        found = self._bridge.opt_outs(_Query(request, "line").text("line"))
        await self._listing(request, map(shapes.opt_out, found))

    @app.route("/opt-outs", methods=["POST"])
    async def add_opt_out(self, request: Request) -> bytes:
        """Put a number out."""
        body = _Body(request, _MAX_JSON_BYTES, "line", "number")
        changed = await _unbroken(self._bridge.opt_out(body.text("line"), body.text("number")))
        return _json(request, {"changed": changed})

    @app.route("/opt-outs/remove", methods=["POST"])
    async def remove_opt_out(self, request: Request) -> bytes:
        """Take a number back in."""
        body = _Body(request, _MAX_JSON_BYTES, "line", "number")
        changed = await _unbroken(self._bridge.opt_in(body.text("line"), body.text("number")))
        return _json(request, {"changed": changed})

    # --- who may ---------------------------------------------------------------------------------

    @app.route("/password", methods=["POST"])
    async def password(self, request: Request) -> bytes:
        """Give a person a password, or take it away."""
        body = _Body(request, _MAX_JSON_BYTES, "person", "password")
        person = body.text("person")
        await _unbroken(
            Deferred.fromCoroutine(
                self._asked_door().logins.set_password(person, body.text("password"))
            )
        )
        return _json(request, {"person": person})

    @app.route("/tokens", methods=["GET"])
    async def tokens(self, request: Request) -> None:
        """List tokens, without the tokens themselves."""
        person = _Query(request, "person").text("person")
        found = await self._asked_door().tokens.all(person)
        await self._listing(request, map(shapes.token, found))

    @app.route("/tokens", methods=["POST"])
    async def add_token(self, request: Request) -> bytes:
        """Make a token; the answer is the only place where it can be seen."""
        body = _Body(request, _MAX_JSON_BYTES, "name", "person", "scopes", "lines", "expires_s")
        expires_s = body.value("expires_s", None)
        expires_at_ms = None
        if expires_s is not None:
            if type(expires_s) not in (int, float) or not 0 < expires_s < 1e11:
                raise BadRequest("'expires_s' must be a number of seconds.")
            expires_at_ms = int((self._clock.seconds() + expires_s) * 1000)
        secret, token = await _unbroken(
            Deferred.fromCoroutine(
                self._asked_door().tokens.add(
                    body.text("name"),
                    body.text("person"),
                    scopes=body.texts("scopes"),
                    lines=body.texts("lines"),
                    expires_at_ms=expires_at_ms,
                )
            )
        )
        return _json(request, {"name": token.name, "token": secret})

    @app.route("/tokens/remove", methods=["POST"])
    async def remove_token(self, request: Request) -> bytes:
        """Remove a token."""
        name = _Body(request, _MAX_JSON_BYTES, "name").text("name")
        await _unbroken(Deferred.fromCoroutine(self._asked_door().tokens.remove(name)))
        return _json(request, {"name": name})

    def _asked_door(self) -> Door:
        if self._door is None:
            raise NotFound("This daemon keeps no passwords and no tokens.")
        return self._door

    # --- errors ----------------------------------------------------------------------------------

    @app.handle_errors(BadRequest)
    def bad_request(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a request that cannot be understood."""
        return _json(request, shapes.problem("bad-request", str(failure.value)), 400)

    @app.handle_errors(NotFound)
    def not_found(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a question about something that is not there."""
        return _json(request, shapes.problem("not-found", str(failure.value)), 404)

    @app.handle_errors(TooLarge)
    def too_large(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a request that is too large."""
        return _json(request, shapes.problem("too-large", str(failure.value)), 413)

    @app.handle_errors(Refused, PermanentFailure)
    def refused(self, request: IRequest, failure: Failure) -> bytes:
        """Answer what the core or a peer said no to."""
        reason = str(_problem(failure)["error"])
        return _json(request, _problem(failure), _STATUS_OF_REASON.get(reason, 422))

    @app.handle_errors(AccountError)
    def impossible(self, request: IRequest, failure: Failure) -> bytes:
        """Answer what is wrong with a password or a token."""
        e = cast(AccountError, failure.value)
        return _json(request, shapes.problem(e.code, e.text), _STATUS_OF_REASON.get(e.code, 422))

    @app.handle_errors(Busy)
    def busy(self, request: IRequest, failure: Failure) -> bytes:
        """Answer when too many passwords are being checked."""
        return _json(request, shapes.problem("busy", str(failure.value)), 503)

    @app.handle_errors(TemporaryFailure)
    def unavailable(self, request: IRequest, failure: Failure) -> bytes:
        """Answer what may work later."""
        return _json(request, _problem(failure), 503)

    @app.handle_errors(UnknownOutcome)
    def unknown(self, request: IRequest, failure: Failure) -> bytes:
        """Answer when nobody can tell what became of it."""
        return _json(request, _problem(failure), 504)

    @app.handle_errors(HTTPException)
    def no_route(self, request: IRequest, failure: Failure) -> bytes:
        """Answer a path or method that is not served."""
        code = getattr(failure.value, "code", None) or 404
        sentence = "This path takes another method." if code == 405 else "There is no such path."
        return _json(request, shapes.problem("not-found", sentence), code)

    @app.handle_errors(CancelledError)
    def gone(self, request: IRequest, failure: Failure) -> None:
        """Forget a reader that went away."""

    @app.handle_errors(Exception)
    def bug(self, request: IRequest, failure: Failure) -> bytes:
        """Answer when we did wrong; the log has the traceback."""
        _log.failure("{method} {path} failed", failure, method=request.method, path=request.path)
        return _json(request, _problem(failure), 500)

    # --- how -------------------------------------------------------------------------------------

    async def _stream(
        self, request: Request, write: Callable[[LineStream], Awaitable[None]]
    ) -> None:
        stream = LineStream(request)
        try:
            await write(stream)
        except CancelledError:
            raise
        except Exception as e:  # the status line is out: the reader can only be told in the stream
            failure = Failure()
            if not isinstance(e, _Behind | Refused | PermanentFailure | TemporaryFailure):
                _log.failure("{path} broke off", failure, path=request.path)
            await stream.write([_problem(failure)])
        finally:
            stream.close()

    async def _listing(self, request: Request, values: Iterable[object]) -> None:
        async def listing(stream: LineStream) -> None:
            page: list[object] = []
            for value in values:
                page.append(value)
                if len(page) == _PAGE:
                    await stream.write(page)
                    page.clear()
            await stream.write(page)

        await self._stream(request, listing)

    async def _messages(
        self, which: MessageFilter, limit: int | None
    ) -> AsyncIterator[list[MessageRecord]]:
        """Yield the newest `limit` messages, oldest first, page by page."""
        if limit is not None and limit <= _PAGE:
            yield await self._bridge.messages(which, limit)
            return
        after_id, skip = "", 0
        if limit is not None:
            after_id, skip = await self._start_of_newest(which, limit)
        while page := await self._bridge.messages_after(which, after_id, _PAGE):
            after_id = page[-1].message_id
            yield page[skip:]
            skip = 0

    async def _start_of_newest(self, which: MessageFilter, limit: int) -> tuple[str, int]:
        """
        Find where the newest `limit` messages begin: the id before their page, how many to skip.

        The bridge reads in one direction only, so this walks through all and remembers the pages'
        ends: an id for every 250 messages, where holding the messages would take all memory.
        """
        ends, count, after_id = [""], 0, ""
        while page := await self._bridge.messages_after(which, after_id, _PAGE):
            after_id = page[-1].message_id
            ends.append(after_id)
            count += len(page)
        pages, skip = divmod(max(0, count - limit), _PAGE)
        return ends[pages], skip

    async def _write_changes(
        self, stream: LineStream, which: MessageFilter, changes: _Changes, detail: bool
    ) -> None:
        while ids := await changes.take(_PAGE):
            page = await self._bridge.messages(evolve(which, message_ids=ids), None)
            await stream.write(self._shape(each, detail) for each in page)

    def _follow(self) -> _Changes:
        changes = _Changes()
        changes.unsubscribe = self._bridge.follow(changes.add)
        self._followers.add(changes)
        return changes

    async def _deliveries(
        self, which: QueueFilter, limit: int | None
    ) -> AsyncIterator[list[DeliveryRecord]]:
        after_id, left = "", limit
        while left is None or left > 0:
            page = await self._bridge.queue(
                which, after_id, _PAGE if left is None else min(left, _PAGE)
            )
            if not page:
                return
            after_id = page[-1].delivery_id
            if left is not None:
                left -= len(page)
            yield page

    async def _change_queue(
        self, request: Request, change: Callable[[tuple[str, ...]], Deferred[int]]
    ) -> int:
        """Apply `change` to the deliveries that a request names by ids or by a filter."""
        body = _Body(request, _MAX_JSON_BYTES, "ids", "gateway", "line", "statuses")
        ids = body.texts("ids")
        if ids:
            return await self._change_by_ids(ids, change)
        which = _queue_filter(
            gateway=body.text("gateway"),
            line=body.text("line"),
            statuses=body.texts("statuses"),
            message_id="",
        )
        count = 0
        async for page in self._deliveries(which, None):
            count += await _unbroken(change(tuple(each.delivery_id for each in page)))
        return count

    async def _change_by_ids(
        self, ids: tuple[str, ...], change: Callable[[tuple[str, ...]], Deferred[int]]
    ) -> int:
        """Take each id for a delivery's or, where there is none, for a whole message's."""
        count = 0
        for start in range(0, len(ids), _PAGE):
            wanted = ids[start : start + _PAGE]
            found = await self._bridge.queue(
                QueueFilter(delivery_ids=wanted, statuses=_All), "", _PAGE
            )
            known = [each.delivery_id for each in found]
            for message_id in sorted(set(wanted).difference(known)):
                of_message = QueueFilter(message_id=message_id, statuses=_All)
                deliveries = [
                    each.delivery_id
                    async for page in self._deliveries(of_message, None)
                    for each in page
                ]
                if not deliveries:
                    raise NotFound(
                        f"There is no delivery or message {message_id}; "
                        "`smsbridge queue list` shows both ids."
                    )
                known += deliveries
            count += await _unbroken(change(tuple(known)))
        return count

    async def _purge_steps(self, until_ms: int) -> AsyncIterator[int]:
        """Yield growing times up to `until_ms`, so that there is progress to tell."""
        oldest = await self._bridge.messages_after(MessageFilter(), "", 1)
        if oldest and (span_ms := until_ms - oldest[0].created_at_ms) > 0:
            steps = min(_PURGE_STEPS, max(1, span_ms // 3_600_000))
            for step in range(1, steps):
                yield oldest[0].created_at_ms + span_ms * step // steps
        yield until_ms


class _Front(Resource):
    """
    Takes texts the short way.

    All else goes through Klein, whose routing and rendering cost as much as accepting a text.
    """

    isLeaf = True

    def __init__(self, send: Callable[[Request], Deferred[None]], routes: IResource) -> None:
        super().__init__()
        self._send = send
        self._routes = routes

    def render(self, request: Request) -> Any:
        """Serve a request."""
        if request.method != b"POST" or request.postpath != [b"messages"]:
            return self._routes.render(request)
        self._send(request).addErrback(
            lambda failure: _log.failure("a text could not be answered", failure)
        )
        return NOT_DONE_YET


class _Changes:
    """The ids of messages that changed and that one follower has not read yet, each once."""

    def __init__(self) -> None:
        self.unsubscribe: Callable[[], None] = _nothing
        self._ids: dict[str, None] = {}
        self._waiting: Deferred[None] | None = None
        self._ended = False
        self._behind = False

    def add(self, message_ids: Iterable[str]) -> None:
        """Take note of changed messages; cheap, called by the core after a commit."""
        if self._behind:
            return
        self._ids.update(dict.fromkeys(message_ids))
        if len(self._ids) > _MAX_BEHIND:
            self._ids.clear()
            self._behind = True
        self._wake()

    def end(self) -> None:
        """Stop listening and let `take` return nothing."""
        unsubscribe, self.unsubscribe = self.unsubscribe, _nothing
        unsubscribe()
        self._ended = True
        self._wake()

    async def take(self, limit: int) -> tuple[str, ...]:
        """Return changed messages as soon as there are any, and nothing at the end."""
        while not (self._ids or self._ended or self._behind):
            self._waiting = Deferred()
            await self._waiting
        if self._behind:
            raise _Behind("Too many messages changed while the reader was slow; ask again.")
        if self._ended:
            return ()
        taken = tuple(each for each, _ in zip(self._ids, range(limit), strict=False))
        for each in taken:
            del self._ids[each]
        return taken

    def _wake(self) -> None:
        waiting, self._waiting = self._waiting, None
        if waiting is not None and not waiting.called:
            waiting.callback(None)


class _Telling:
    """Passes sentences on while something is being done, until its reader or it is at the end."""

    def __init__(self, stream: LineStream, gateway: str) -> None:
        self._stream = stream
        self._gateway = gateway
        self._ended = False

    def told(self, sentence: str) -> None:
        """Write a sentence; there are too few of them to wait until each is read."""
        if not self._ended:
            self._stream.put([{"gateway": self._gateway, "told": sentence}])

    def end(self) -> None:
        """Pass nothing on any more."""
        self._ended = True


def _named_or_able(gateway: str, able: list[str], otherwise: str) -> list[str]:
    """Return the gateway that is meant, or all that are able to do it."""
    if gateway:
        return [gateway]
    if not able:
        raise Refused("unsupported", otherwise)
    return able


def _unbroken(working: Deferred[T]) -> Deferred[T]:
    """
    Let a change go on to its end when the reader goes away.

    Klein cancels what a request waits for, which must not reach into a commit or a dialogue.
    """
    waiting: Deferred[T] = Deferred(lambda _: None)

    def relay(result: T | Failure) -> None:
        if not waiting.called:
            waiting.callback(cast(T, result))
        elif isinstance(result, Failure):
            _say_unheard(result)

    working.addBoth(relay)
    return waiting


def _say_unheard(failure: Failure) -> None:
    _log.warn(
        "nobody waited to hear that a command failed: {reason}", reason=failure.getErrorMessage()
    )


def _nothing() -> None:
    """Stand for an unsubscription that was done."""


class _Body:
    """The JSON object of a request, with its fields checked."""

    def __init__(self, request: Request, limit_bytes: int, *known: str) -> None:
        raw = b"" if request.content is None else request.content.read(limit_bytes + 1)
        if len(raw) > limit_bytes:
            raise TooLarge(f"A request here may have {limit_bytes} bytes.")
        try:
            fields = json.loads(raw or b"{}")
        except (ValueError, RecursionError):
            raise BadRequest("The body is not JSON in UTF-8.") from None
        if not isinstance(fields, dict):
            raise BadRequest("The body must be a JSON object.")
        _refuse_unknown(fields, known)
        self._fields: Mapping[str, Any] = fields

    def value(self, name: str, default: object) -> Any:
        """Return a field as it is."""
        return self._fields.get(name, default)

    def text(self, name: str) -> str:
        """Return a field that is a text; an absent one is empty."""
        value = self._fields.get(name, "")
        if not isinstance(value, str):
            raise BadRequest(f"'{name}' must be a text.")
        return value

    def texts(self, name: str) -> tuple[str, ...]:
        """Return a field that is a list of texts; an absent one is empty."""
        value = self._fields.get(name, [])
        if not isinstance(value, list) or not all(isinstance(each, str) for each in value):
            raise BadRequest(f"'{name}' must be a list of texts.")
        return tuple(value)


class _Query:
    """The query of a request, with its fields checked."""

    def __init__(self, request: Request, *known: str) -> None:
        try:
            self._fields: dict[str, str] = {
                name.decode("utf-8"): values[-1].decode("utf-8")
                for name, values in request.args.items()
            }
        except UnicodeDecodeError:
            raise BadRequest("The query is not UTF-8.") from None
        _refuse_unknown(self._fields, known)

    def text(self, name: str) -> str:
        """Return a field; an absent one is empty."""
        return self._fields.get(name, "")

    def flag(self, name: str) -> bool:
        """Return whether a field is there and says yes."""
        return self.text(name) not in ("", "0")

    def whole(self, name: str) -> int | None:
        """Return a field that is a whole number, or None."""
        text = self.text(name)
        if not text:
            return None
        if not (text.isascii() and text.isdigit() and len(text) < 16):
            raise BadRequest(f"'{name}' must be a whole number.")
        return int(text)


def _refuse_unknown(fields: Mapping[str, object], known: tuple[str, ...]) -> None:
    unknown = sorted(set(fields).difference(known))
    if unknown:
        raise BadRequest(f"Unknown field '{unknown[0]}'; known: {', '.join(known)}.")


def _queue_filter(
    *, gateway: str, line: str, statuses: tuple[str, ...], message_id: str
) -> QueueFilter:
    for status in statuses:
        if status not in _All:
            raise BadRequest(f"'{status}' is no status; known: {', '.join(_All)}.")
    which = QueueFilter(gateway=gateway, line=line, message_id=message_id)
    return evolve(which, statuses=statuses) if statuses else which


def _attachments(values: object) -> tuple[Attachment, ...]:
    if not isinstance(values, list):
        raise BadRequest("'media' must be a list.")
    found = []
    for value in values:
        try:
            found.append(
                Attachment(
                    name=str(value["name"]),
                    content_type=str(value["content_type"]),
                    data=base64.b64decode(value["data"], validate=True),
                )
            )
        except (TypeError, KeyError, binascii.Error, ValueError):
            raise BadRequest(
                "Each of 'media' must have 'name', 'content_type' and 'data' in Base64."
            ) from None
    return tuple(found)


def _problem(failure: Failure) -> Mapping[str, object]:
    e = failure.value
    if isinstance(e, Refused | PermanentFailure | TemporaryFailure | UnknownOutcome):
        return shapes.problem(e.reason, e.text, **({"detail": e.detail} if e.detail else {}))
    if isinstance(e, _Behind):
        return shapes.problem("behind", str(e))
    return shapes.problem(
        "internal", "Something went wrong inside the bridge; the log has the details."
    )


def _json(request: IRequest, value: object, code: int = 200) -> bytes:
    answer_with(request, code)
    request.setHeader(b"Content-Type", b"application/json")
    return shapes.encode(value) + b"\n"
