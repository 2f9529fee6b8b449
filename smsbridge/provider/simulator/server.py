"""
A provider that is played: an HTTP server with the texts of one account in memory.

It answers what smsbridge asks, as the provider's `Mirror` writes it, reports what became of each
text, posts what arrives, and repeats a call that was not heard, as providers do.  What goes wrong
is decided by the last two digits of a number (see `behaviors`) or ordered by `ProviderDouble.fail`.
Nothing is kept on disk, and no text is ever really sent.
"""

from __future__ import annotations

from collections import Counter, deque
from collections.abc import Callable, Coroutine, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import evolve, frozen
from twisted.application.service import Service
from twisted.internet.defer import CancelledError, Deferred, succeed
from twisted.internet.task import deferLater
from twisted.logger import Logger
from twisted.python.failure import Failure
from twisted.web.resource import Resource
from twisted.web.server import NOT_DONE_YET, Site
from twisted.web.server import Request as TwistedRequest

from smsbridge.core.message import Status
from smsbridge.provider.client import Ask, Client, NoAnswer, NotSent
from smsbridge.provider.dialect import Request, Response
from smsbridge.provider.simulator.behaviors import ORDINARY, Behavior, behavior_of
from smsbridge.provider.simulator.mirror import (
    AskedDids,
    AskedList,
    AskedMedia,
    AskedMediaList,
    AskedOne,
    AskedSend,
    Call,
    DoubleMedia,
    DoubleText,
    Fault,
    Mirror,
    Wrong,
)
from smsbridge.provider.simulator.texts import Texts
from smsbridge.provider.spelling import without_credentials

__all__ = ["ORDERS", "Called", "ProviderDouble", "Timing"]

_MOST_BYTES: Final = 8 * 1024 * 1024
_MOST_CALLS: Final = 10_000
_IDS_A_SECOND: Final = 10
_HOOK_WITHIN_S: Final = 15.0
_FETCH_WITHIN_S: Final = 10.0
_STOP_WORDS: Final = {"STOP", "STOPALL", "UNSUBSCRIBE", "CANCEL", "END", "QUIT"}
_START_WORDS: Final = {"START", "UNSTOP"}

#: What can be ordered for the next texts: the faults of a mirror, and these.
ORDERS: Final = {
    "cut": Behavior(sentence="taken, and the connection cut", answer="cut", reported=False),
    "cut-lost": Behavior(sentence="not taken, and the connection cut", answer="cut", kept=False),
    "silent": Behavior(sentence="taken, and never answered", answer="none", reported=False),
}


@frozen(kw_only=True)
class Timing:
    """
    How long everything takes, in seconds.

    :ivar think_s: until a text that was taken is answered.
    :ivar status_s: until each status is reported.
    :ivar repeat_s: until a call that was not heard is repeated, again and again.
    :ivar answer_s: until a recipient answers, where they do.
    """

    think_s: float = 0.0
    status_s: float = 1.0
    repeat_s: Sequence[float] = (1.0, 2.0, 5.0, 10.0, 20.0, 30.0, 60.0)
    answer_s: float = 2.0


@frozen(kw_only=True)
class Called:
    """A call of ours to smsbridge, and what it answered; None: nothing."""

    what: str
    request: Request
    response: Response | None
    heard: bool


class _Api(Resource):
    """Everything that the provider serves."""

    isLeaf = True

    def __init__(self, answer: Callable[[Call], Deferred[Response | str]]) -> None:
        super().__init__()
        self._answer = answer

    def render(self, request: TwistedRequest) -> int:
        """Answer any method and path."""
        content = request.content
        call = Call(
            method=request.method.decode("latin-1"),
            path=request.uri.decode("latin-1"),
            headers={
                name.decode("latin-1").lower(): values[0].decode("latin-1")
                for name, values in request.requestHeaders.getAllRawHeaders()
            },
            body=content.read(_MOST_BYTES) if content is not None else b"",
        )
        gone: list[Failure] = []
        request.notifyFinish().addErrback(gone.append)

        def reply(answer: Response | str) -> None:
            if gone:
                return
            if not isinstance(answer, Response):
                if answer == "cut":
                    request.loseConnection()
                return
            request.setResponseCode(answer.status)
            for name, value in answer.headers.items():
                request.setHeader(name.encode("latin-1"), value.encode("latin-1"))
            request.write(answer.body)
            request.finish()

        self._answer(call).addCallback(reply)
        return NOT_DONE_YET


class ProviderDouble(Service):
    """
    One account at one provider.

    :param mirror: how the provider speaks.
    :param numbers: the numbers of the account, E.164.
    :param hook: where texts that arrive are posted; may have ``user:password@`` in it.
    :param ask: see `client.Client.ask`; by default a client of its own.
    :param told: called with a sentence about everything that happens.
    :param answers: whether every text is answered by its recipient.
    :param knows_stop: whether STOP and START are understood here, as some providers do.
    :param port: where to listen; 0 takes any free port.
    :ivar texts: everything that was taken or arrived.
    :ivar calls: the calls that were made to smsbridge, the last ones.
    :ivar counts: how often what happened.
    :ivar media_failures: how many more requests for attachments fail with status 503.
    """

    log = Logger()

    def __init__(
        self,
        reactor: Any,
        mirror: Mirror,
        numbers: Sequence[str],
        hook: str = "",
        *,
        ask: Ask | None = None,
        timing: Timing | None = None,
        told: Callable[[str], None] = lambda sentence: None,
        answers: bool = False,
        knows_stop: bool = False,
        port: int = 0,
        interface: str = "127.0.0.1",
    ) -> None:
        self._reactor = reactor
        self.mirror = mirror
        self.numbers = tuple(numbers)
        self.hook = hook
        self._client = Client(reactor) if ask is None else None
        self._ask: Ask = ask if ask is not None else self._client.ask  # type: ignore[union-attr]
        self.timing = timing if timing is not None else Timing()
        self.told = told
        self.answers = answers
        self._knows_stop = knows_stop
        self._wanted = (port, interface)
        self._listening: Any = None
        # An account that is played anew must not use the ids of its last life again.
        self.texts = Texts(mirror, first=int(reactor.seconds() * _IDS_A_SECOND))
        self.calls: deque[Called] = deque(maxlen=_MOST_CALLS)
        self.counts: Counter[str] = Counter()
        self.media_failures = 0
        self._ordered: deque[Fault | str] = deque()
        self._tried: set[tuple[str, ...]] = set()
        self._out: set[tuple[str, str]] = set()  # our number, theirs
        self._tasks: set[Deferred[Any]] = set()
        self._stopped = False

    # -- life ------------------------------------------------------------------------------------

    def startService(self) -> None:
        """Listen."""
        Service.startService(self)
        port, interface = self._wanted
        site = Site(_Api(self._answer))
        site.noisy = False
        self._listening = self._reactor.listenTCP(port, site, interface=interface)

    @property
    def port(self) -> int:
        """Where it listens."""
        port: int = self._listening.getHost().port
        return port

    def stopService(self) -> Deferred[None]:
        """Forget what was still to be told, and listen no more."""
        if not self.running:
            return succeed(None)
        Service.stopService(self)
        self._stopped = True
        for task in list(self._tasks):
            task.cancel()
        return Deferred.fromCoroutine(self._stop())

    async def _stop(self) -> None:
        if self._listening is not None:
            await self._listening.stopListening()
        if self._client is not None:
            await self._client.close()

    def begin(self, work: Coroutine[Any, Any, Any]) -> None:
        """Let something happen by itself."""
        task = Deferred.fromCoroutine(work)

        def over(result: Any) -> None:
            self._tasks.discard(task)
            if isinstance(result, Failure) and not result.check(CancelledError):
                self.log.failure("a simulated provider failed", failure=result)

        if not task.called:
            self._tasks.add(task)
        task.addBoth(over)

    async def _sleep(self, seconds: float) -> None:
        if self._stopped:
            # What was cancelled inside of a call only sees that the call failed.
            raise CancelledError
        await deferLater(self._reactor, seconds)

    def _now_ms(self) -> int:
        return int(self._reactor.seconds() * 1000)

    # -- what smsbridge asks ---------------------------------------------------------------------

    def fail(self, fault: Fault | str, count: int = 1) -> None:
        """Let the next texts fail so: a fault of the mirror, or one of `ORDERS`."""
        self._ordered.extend([fault] * count)

    @property
    def ordered(self) -> tuple[str, ...]:
        """What was ordered for the texts to come."""
        return tuple(self._ordered)

    def _answer(self, call: Call) -> Deferred[Response | str]:
        if self._stopped:
            return succeed("cut")
        answering = Deferred.fromCoroutine(self.answer(call))
        self._tasks.add(answering)

        def over(result: Any) -> Any:
            self._tasks.discard(answering)
            return result

        def broken(failure: Failure) -> Response | str:
            if failure.check(CancelledError):
                return "cut"
            # A fault of a mirror must be seen by whoever waits for the answer.
            self.log.failure("a simulated provider cannot answer", failure=failure)
            return Response(status=500, body=b"the simulator failed")

        return answering.addBoth(over).addErrback(broken)

    async def answer(self, call: Call) -> Response | str:
        """Return the answer to a request: a response, ``cut`` or ``none``."""
        try:
            asked = self.mirror.asked(call, self._now_ms())
        except Wrong as e:
            self.counts["refused"] += 1
            path = urlsplit(call.path).path
            self.told(f"{call.method} {path} refused with status {e.response.status}")
            return e.response
        match asked:
            case AskedSend():
                return await self._send(call, asked.texts)
            case AskedList():
                self.counts["listed"] += 1
                page, more = self.texts.page(asked)
                return self.mirror.listed(asked, page, more)
            case AskedOne():
                self.counts["listed"] += 1
                return self.mirror.one(self.texts.find(asked.remote_id))
            case AskedMediaList():
                return self.mirror.media_list(self.texts.find(asked.remote_id))
            case AskedMedia():
                return self._media(asked)
            case AskedDids():
                return self.mirror.dids(asked, self.numbers)

    def _media(self, asked: AskedMedia) -> Response:
        if self.media_failures > 0:
            self.media_failures -= 1
            self.counts["withheld"] += 1
            return Response(status=503)
        text = self.texts.find(asked.remote_id)
        if text is None or not 0 <= asked.number < len(text.media):
            return Response(status=404)
        self.counts["fetched"] += 1
        medium = text.media[asked.number]
        return Response(status=200, headers={"content-type": medium.content_type}, body=medium.data)

    # -- texts from smsbridge --------------------------------------------------------------------

    async def _send(self, call: Call, texts: Sequence[DoubleText]) -> Response | str:
        first = texts[0]
        behavior = self._behavior(texts)
        if behavior.fault is not None:
            self.counts["refused"] += 1
            self.told(f"text to {', '.join(first.recipients)} refused: {behavior.fault}")
            return self.mirror.refusal(behavior.fault, call)
        if not behavior.kept:
            self.counts["cut"] += 1
            self.told(f"text to {', '.join(first.recipients)} not taken, connection cut")
            return behavior.answer
        for text in texts:
            self.texts.name(text, self._now_ms())
            self.texts.keep(text)
            self.counts["sent"] += 1
            self.told(_sent(text))
        if behavior.early:
            for text in texts:
                await self._carry(text, behavior, 0.0)
        else:
            for text in texts:
                self.begin(self._carry(text, behavior, self.timing.status_s))
        if behavior.answer != "given":
            self.counts["cut"] += 1
            self.told(f"text {first.remote_id} taken, and {behavior.answer} for an answer")
            return behavior.answer
        if self.timing.think_s:
            await self._sleep(self.timing.think_s)
        return self.mirror.taken(texts)

    def _behavior(self, texts: Sequence[DoubleText]) -> Behavior:
        """Decide what becomes of a send."""
        first = texts[0]
        if self._ordered:
            order = self._ordered.popleft()
            known = ORDERS.get(order)
            if known is not None:
                return known
            fault: Any = order
            return Behavior(sentence="ordered", fault=fault, kept=False)
        if first.sender not in self.numbers:
            return Behavior(sentence="not our number", fault="not-ours", kept=False)
        if any((first.sender, each) in self._out for each in first.recipients):
            return Behavior(sentence="it wrote STOP", fault="opted-out", kept=False)
        found = [behavior_of(each) for each in first.recipients]
        behavior = next((each for each in found if each is not ORDINARY), ORDINARY)
        if behavior.once:
            if first.recipients in self._tried:
                self._tried.discard(first.recipients)
                return ORDINARY
            self._tried.add(first.recipients)
        return behavior

    async def _carry(self, text: DoubleText, behavior: Behavior, pause_s: float) -> None:
        """Deliver a text, and report it."""
        fails = behavior.fails
        if text.media and not await self._fetch(text):
            fails = "bad-file"
        statuses = list(self.mirror.statuses)
        if fails and statuses:
            statuses = [each for each in statuses if each is Status.SENT] + [Status.FAILED]
            text.reason = fails
        elif fails:
            text.status, text.reason = Status.FAILED, fails
        if behavior.reversed:
            statuses.reverse()
        for status in statuses:
            if pause_s:
                await self._sleep(pause_s)
            if not behavior.reported:
                continue
            for _ in range(2 if behavior.doubled else 1):
                await self.report(text, status)
        if statuses:
            text.status = Status.FAILED if fails else Status.DELIVERED
        if self.answers and not fails:
            await self._sleep(self.timing.answer_s)
            words = f"You said: {text.body}" if text.body else "You said nothing."
            for recipient in text.recipients:
                self.receive(recipient, text.sender, words)

    async def _fetch(self, text: DoubleText) -> bool:
        """Fetch the attachments of a text, as the provider does; returns whether they are good."""
        fetched = []
        for medium in text.media:
            found = await self._fetched(medium)
            if isinstance(found, str):
                self.counts["unfetched"] += 1
                self.told(f"attachment {medium.url} of {text.remote_id} is bad: {found}")
                return False
            self.counts["fetched-out"] += 1
            fetched.append(found)
        text.media = tuple(fetched)
        return True

    async def _fetched(self, medium: DoubleMedia) -> DoubleMedia | str:
        if not medium.url.startswith(("http://", "https://")):
            return medium  # inline
        types = []
        response = None
        for method in ("HEAD", "GET"):
            request = Request(url=medium.url, method=method)
            try:
                response = await self._ask(request, _FETCH_WITHIN_S)
            except (NotSent, NoAnswer) as e:
                return str(e)
            if response.status != 200:
                return f"{method} has status {response.status}"
            types.append(response.headers.get("content-type", ""))
        assert response is not None
        if not types[0] or types[0] != types[1]:
            return f"its type is {types[0]!r} and then {types[1]!r}"
        if not response.body:
            return "it is empty"
        return evolve(medium, content_type=types[1].partition(";")[0].strip(), data=response.body)

    async def report(self, text: DoubleText, status: Status) -> bool:
        """Tell smsbridge what became of a text; returns whether it heard."""
        if not text.callback and not self.hook:
            return False
        requests = self.mirror.report(evolve(text, created_at_ms=self._now_ms()), status, self.hook)
        heard = [await self._call(f"{text.remote_id} is {status}", each) for each in requests]
        return all(heard)

    # -- texts to smsbridge ----------------------------------------------------------------------

    def receive(
        self,
        sender: str,
        ours: str,
        body: str,
        media: Sequence[DoubleMedia] = (),
        *,
        others: Sequence[str] = (),
        part: tuple[str, int, int] | None = None,
        mms: bool = False,
    ) -> DoubleText:
        """
        Let a text arrive.

        :param others: who else got it, where the provider tells that.
        :param part: reference, number and total of a part of a longer text.
        """
        text = DoubleText(
            remote_id="",
            outbound=False,
            sender=sender,
            recipients=(ours, *others),
            body=body,
            media=tuple(media),
            mms=mms or bool(media or others),
            part=part,
            status=Status.DELIVERED,
        )
        self.texts.name(text, self._now_ms())
        self.texts.keep(text)
        self.counts["arrived"] += 1
        if self._knows_stop:
            word = body.strip().upper()
            if word in _STOP_WORDS:
                self._out.add((ours, sender))
            elif word in _START_WORDS:
                self._out.discard((ours, sender))
        self.tell(text)
        if behavior_of(sender).doubled:
            self.tell(text)
        return text

    def tell(self, text: DoubleText) -> None:
        """Post the webhook about a text that arrived (again)."""
        if not self.hook:
            return
        for request in self.mirror.arrival(evolve(text, created_at_ms=self._now_ms()), self.hook):
            self.begin(self._told(f"text {text.remote_id} from {text.sender}", request))

    async def _told(self, what: str, request: Request) -> None:
        await self._call(what, request)

    async def _call(self, what: str, request: Request) -> bool:
        """Make a call, and repeat it until it was heard or there were enough."""
        request = _with_header(request)
        for pause_s in (*self.timing.repeat_s, None):
            response = None
            try:
                response = await self._ask(request, _HOOK_WITHIN_S)
                answered = f"answered {response.status}"
            except (NotSent, NoAnswer) as e:
                answered = str(e)
            heard = response is not None and self.mirror.is_heard(response)
            self.calls.append(Called(what=what, request=request, response=response, heard=heard))
            if heard:
                self.counts["heard"] += 1
                self.told(f"{what}: heard")
                return True
            self.counts["unheard"] += 1
            more = f"again in {pause_s:g} s" if pause_s is not None else "given up"
            self.told(f"{what}: not heard ({answered}), {more}")
            if pause_s is not None:
                await self._sleep(pause_s)
        return False


def _with_header(request: Request) -> Request:
    """Turn credentials in an address into a header, as whoever calls it must."""
    url, login = without_credentials(request.url)
    return evolve(request, url=url, headers={**login, **request.headers}) if login else request


def _sent(text: DoubleText) -> str:
    count = len(text.media)
    more = f" with {count} attachment{'s' if count > 1 else ''}" if count else ""
    return (
        f"text {text.remote_id} from {text.sender} to {', '.join(text.recipients)}{more}: "
        f"{text.body}"
    )
