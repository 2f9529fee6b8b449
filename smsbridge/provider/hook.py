"""
What a provider calls: ``/hook/LABEL`` and ``/hook/LABEL/status``.

A call is authenticated before anything of it is understood, its events are committed by `arrivals`,
and only then it is answered, in the words that the provider wants.  What is authentic and cannot be
read is answered with success as well, because an error would bring it back for ever; when the store
is out of reach the answer is 503, and the provider repeats the call.

This is a plain resource: no routing, and no form is parsed before the signature is checked.
"""

from __future__ import annotations

import binascii
import hmac
import re
from base64 import b64decode
from collections.abc import Sequence
from typing import Any, Final

from attrs import define, evolve
from twisted.internet.defer import Deferred, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Request

from smsbridge.core.directory import World
from smsbridge.errors import TemporaryFailure
from smsbridge.provider.account import Account, hook_url
from smsbridge.provider.arrivals import Arrivals
from smsbridge.provider.dialect import Answer, Event, Hook, Malformed, StatusUpdate

__all__ = ["MAX_HOOK_BYTES", "HookResource"]

#: No provider says more in one call: attachments are named by their addresses.
MAX_HOOK_BYTES: Final = 64 * 1024

_METHODS: Final = frozenset({b"GET", b"HEAD", b"POST"})
_PATHS: Final = {(): "", ("",): "", ("status",): "status", ("status", ""): "status"}
_DELIVERY: Final = re.compile(r"(?:^|&)delivery=([0-9A-Za-z.-]{1,64})(?:&|$)")
#: How long before the provider's limit a call is answered whatever happens.
_SPARE_S: Final = 0.5
#: Deadlines so close to each other are dealt with together.
_TICK_S: Final = 0.05
_WARN_EVERY_S: Final = 60.0


class HookResource(Resource):
    """The webhooks of one gateway."""

    isLeaf = True
    log = Logger()

    def __init__(
        self, clock: IReactorTime, account: Account, arrivals: Arrivals, world: World
    ) -> None:
        super().__init__()
        self._clock = clock
        self._account = account
        self._arrivals = arrivals
        self._world = world
        self._said: dict[str, _Said] = {}
        # Calls that wait for their commit, by the order in which they came, and since when.
        self._waiting: dict[int, tuple[float, Request]] = {}
        self._number = 0
        self._timer: IDelayedCall | None = None

    # -- one call --------------------------------------------------------------------------------

    def render(self, request: Request) -> Any:
        """Take a call."""
        path = _PATHS.get(tuple(part.decode("ascii", "replace") for part in request.postpath or ()))
        if path is None:
            _answer(request, 404)
            return NOT_DONE_YET
        if request.method not in _METHODS:
            request.setHeader(b"Allow", b"GET, HEAD, POST")
            _answer(request, 405)
            return NOT_DONE_YET
        content: Any = request.content
        body: bytes = content.read(MAX_HOOK_BYTES + 1)
        if len(body) > MAX_HOOK_BYTES:
            _answer(request, 413)
            return NOT_DONE_YET
        hook = self._hook(request, path, body)
        refusal = self._refusal(hook)
        if refusal:
            if refusal == 401:
                request.setHeader(b"WWW-Authenticate", b'Basic realm="smsbridge", charset="UTF-8"')
            _answer(request, refusal)
        else:
            self._deal_with(request, hook)
        return NOT_DONE_YET

    def _deal_with(self, request: Request, hook: Hook) -> None:
        try:
            events = self._events(hook)
        except Exception:
            # A bug of ours: what the provider says again once it is mended is not lost.
            self.log.failure(
                "{gateway}: a call of the provider could not be read", gateway=self._account.label
            )
            self._unavailable(request)
            return
        if not events:
            self._succeed(request, hook)
            return
        taking = self._take(events)
        if taking.called and not isinstance(taking.result, Failure | Deferred):
            self._succeed(request, hook)
        else:
            self._answer_later(request, hook, taking)

    def _hook(self, request: Request, path: str, body: bytes) -> Hook:
        uri = request.uri.decode("latin-1")
        query = uri.partition("?")[2]
        public_url = self._world.public_url
        return Hook(
            method=request.method.decode("ascii"),
            # Host is what the caller says, and behind a proxy it is not what the provider signed.
            url=public_url + uri if public_url else "",
            path=path,
            query=query,
            headers={
                name.decode("latin-1").lower(): b", ".join(values).decode("latin-1")
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            body=body,
            now_ms=int(self._clock.seconds() * 1000),
        )

    # -- who calls -------------------------------------------------------------------------------

    def _refusal(self, hook: Hook) -> int:
        """Return the status with which a stranger is sent away; 0 for the provider."""
        password, dialect = self._account.config.http_password, self._account.dialect
        authorization = hook.headers.get("authorization", "")
        if dialect.signs and authorization[:7].lower() == "bearer ":
            # The header that would carry the password carries the signature (Vonage's JWT).
            password = ""
        if password and not _has_password(authorization, password):
            self._warn(
                "its webhook was called without the right password; the address in the provider's "
                "console must begin with https://smsbridge:PASSWORD@, with the value of "
                "'http_password'"
            )
            return 401
        if dialect.signs:
            if self._is_signed(hook):
                return 0
            self._warn(
                "its webhook was called with a wrong signature or without one; compare the secret "
                "with the provider's, and the address in the provider's console with "
                + hook_url(self._world.public_url, self._account.label, hook.path)
                if hook.url
                else "signatures of its webhook cannot be checked; set 'public_url' in [http] to "
                "the address under which the provider reaches this machine"
            )
            return 403
        if not password:
            self._warn(
                "its webhook was called and takes nothing, because anybody could call it; set the "
                "secret of the provider's signatures or 'http_password'"
            )
            return 403
        return 0

    def _is_signed(self, hook: Hook) -> bool:
        try:
            return self._account.dialect.authentic(hook)
        except Malformed:
            return False
        except Exception:
            # A stranger must not learn what makes us stumble; he is refused like any other.
            self.log.failure(
                "{gateway}: a signature could not be checked", gateway=self._account.label
            )
            return False

    # -- what is said ----------------------------------------------------------------------------

    def _events(self, hook: Hook) -> Sequence[Event]:
        try:
            events = self._account.dialect.events(hook)
        except Malformed as e:
            self.log.warn(
                "{gateway}: a call of the provider cannot be read and is ignored: {reason}",
                gateway=self._account.label,
                reason=str(e),
            )
            return ()
        if "delivery=" not in hook.query:
            return events
        named = _DELIVERY.search(hook.query)
        if named is None:
            return events
        return [
            evolve(event, delivery_id=named[1])
            if isinstance(event, StatusUpdate) and not event.delivery_id
            else event
            for event in events
        ]

    def _take(self, events: Sequence[Event]) -> Deferred[Any]:
        if len(events) == 1:
            return self._arrivals.take(events[0])
        taking = [self._arrivals.take(event) for event in events]
        return gatherResults(taking, consumeErrors=True).addErrback(_first_error)

    def _answer_later(self, request: Request, hook: Hook, taking: Deferred[Any]) -> None:
        """Answer once everything is committed, or shortly before the provider gives us up."""
        self._number += 1
        number = self._number
        self._waiting[number] = (self._clock.seconds(), request)
        if self._timer is None:
            self._set_timer()

        def committed(_: object) -> None:
            if self._waits_no_more(number):
                self._succeed(request, hook)

        def failed(failure: Failure) -> None:
            if not failure.check(TemporaryFailure):
                # What was not committed is asked for again, whatever the reason.
                self.log.failure(
                    "{gateway}: a call of the provider could not be kept",
                    failure=failure,
                    gateway=self._account.label,
                )
            if self._waits_no_more(number):
                self._unavailable(request)

        taking.addCallbacks(committed, failed)
        taking.addErrback(
            lambda failure: self.log.failure(
                "{gateway}: a call of the provider could not be answered",
                failure=failure,
                gateway=self._account.label,
            )
        )

    def _waits_no_more(self, number: int) -> bool:
        """Take a call off the list; False where its time was up before."""
        if self._waiting.pop(number, None) is None:
            return False
        if not self._waiting and self._timer is not None:
            self._timer.cancel()
            self._timer = None
        return True

    def _set_timer(self) -> None:
        """Wake up when the first of those that wait must be answered; one timer for all of them."""
        limit_s = self._account.dialect.hook_timeout_s
        patience_s = max(limit_s - _SPARE_S, limit_s / 2)
        began_s, _ = next(iter(self._waiting.values()))
        wait_s = max(began_s + patience_s - self._clock.seconds(), 0.0)
        self._timer = self._clock.callLater(wait_s, self._time_is_up, patience_s)

    def _time_is_up(self, patience_s: float) -> None:
        self._timer = None
        before_s = self._clock.seconds() - patience_s + _TICK_S
        while self._waiting:
            number, (began_s, request) = next(iter(self._waiting.items()))
            if began_s > before_s:
                self._set_timer()
                return
            del self._waiting[number]
            self._unavailable(request)

    def _succeed(self, request: Request, hook: Hook) -> None:
        try:
            answer = self._account.dialect.answer(hook)
        except Exception:
            # It is committed, and any success will do.
            self.log.failure(
                "{gateway}: there is no answer for the provider", gateway=self._account.label
            )
            answer = Answer()
        _answer(request, answer.status, answer.content_type, answer.body)

    def _unavailable(self, request: Request) -> None:
        self._warn("texts cannot be kept just now; the provider is asked to call again")
        request.setHeader(b"Retry-After", b"5")
        _answer(request, 503)

    # -- the log ---------------------------------------------------------------------------------

    def _warn(self, sentence: str) -> None:
        """Log a sentence, once a minute at most; the rest is counted."""
        now_s = self._clock.seconds()
        said = self._said.get(sentence)
        if said is not None and now_s - said.at_s < _WARN_EVERY_S:
            said.unsaid += 1
            return
        more = f" (and {said.unsaid} times more before)" if said is not None and said.unsaid else ""
        # Sentences name the configuration, which a reload changes; there are few at a time.
        self._said = {
            key: each for key, each in self._said.items() if now_s - each.at_s < _WARN_EVERY_S
        }
        self._said[sentence] = _Said(now_s)
        self.log.warn(
            "{gateway}: {reason}{more}", gateway=self._account.label, reason=sentence, more=more
        )


@define
class _Said:
    """A sentence in the log, and how often it would have been there again."""

    at_s: float
    unsaid: int = 0


def _has_password(header: str, password: str) -> bool:
    """Tell whether an Authorization header carries the password (RFC 7617), with any user name."""
    scheme, _, encoded = header.partition(" ")
    if scheme.lower() != "basic":
        return False
    try:
        _, _, given = b64decode(encoded.strip(), validate=True).partition(b":")
    except (binascii.Error, ValueError):
        return False
    return hmac.compare_digest(given, password.encode("utf-8"))


def _answer(
    request: Request,
    status: int,
    content_type: str = "text/plain; charset=utf-8",
    body: bytes = b"",
) -> None:
    channel: Any = request.channel
    if channel is None:
        return  # the provider has gone away
    request.setResponseCode(status)
    request.setHeader(b"Content-Type", content_type.encode("ascii", "replace"))
    if status != 204:  # which must not have one (RFC 9110, 8.6)
        request.setHeader(b"Content-Length", b"%d" % len(body))
    request.write(body)
    request.finish()


def _first_error(failure: Failure) -> Failure:
    inner: Any = getattr(failure.value, "subFailure", failure)
    return inner if isinstance(inner, Failure) else failure
