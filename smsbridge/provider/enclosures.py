"""
Fetches the attachments of received texts, without letting the texts wait for long.

The provider's word is kept in the store first, so that the provider may be answered at once.  Then
the attachments are fetched.  What is not there after a few seconds comes later, as a message of its
own, while the text goes ahead; and for what cannot be had at all the persons of the line get a
sentence.  Each step is recognized when it is repeated, so that a crash in between neither loses nor
doubles anything.

Presentation parts (SMIL) are dropped, and parts of plain text become text.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final
from urllib.parse import urlsplit

from attrs import define, field
from twisted.internet.defer import Deferred, DeferredLock, DeferredSemaphore, gatherResults
from twisted.internet.interfaces import IDelayedCall, IReactorTime
from twisted.internet.task import deferLater
from twisted.logger import Logger

from smsbridge.core.address import mask
from smsbridge.core.directory import World
from smsbridge.core.files import Files
from smsbridge.core.message import FromNetwork, Media
from smsbridge.core.pending import Kept, Pending
from smsbridge.core.routing import persons_of
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.interfaces import IInbox
from smsbridge.provider import kept
from smsbridge.provider.account import Account
from smsbridge.provider.client import Ask, NoAnswer, NotSent
from smsbridge.provider.dialect import Malformed, ProviderLine, Received, RemoteMedia

__all__ = ["AHEAD", "MEDIA", "REMEMBERED_S", "Enclosures"]

#: For how long a text is recognized when a provider calls again or lists it.
REMEMBERED_S: Final = 35 * 86400.0
#: What the keys of texts with attachments, and of the notes what of them went ahead, begin with.
MEDIA: Final = "media"
AHEAD: Final = "ahead"

_AT_ONCE: Final = 4
_HURRY_S: Final = 20.0
_PAUSES_S: Final = (2.0, 10.0, 30.0, 120.0, 600.0, 3600.0)
_GIVE_UP_MS: Final = 86_400_000
_MOST_JOBS: Final = 2000
_MOST_PLACES: Final = 50
_LONGEST_PART: Final = 64 * 1024  # bytes of a plain text that becomes part of the body
_STORE_AGAIN_S: Final = 5.0
_LONGEST_STORE_AGAIN_S: Final = 60.0
#: Refusals that another try will not change.
_FOR_GOOD: Final = frozenset({"file-gone", "too-large", "bad-file", "empty", "media-unsupported"})

#: What an attachment became: a file, text for the body, or nothing.
_Got = Media | str | None


@define(eq=False)
class _Job:
    """One text whose attachments are being fetched; a place is an attachment's number, from 0."""

    key: str
    received: Received
    line: str
    kept_at_ms: int
    remote: Sequence[RemoteMedia] | None  # None: the provider has not listed them yet
    ahead: kept.Ahead | None = None
    got: dict[int, _Got] = field(factory=dict)
    refused: dict[int, str] = field(factory=dict)
    why: str = ""  # the last failure, as a sentence
    followed: set[int] = field(factory=set)  # places that went as messages of their own
    lock: DeferredLock = field(factory=DeferredLock)
    hurry: IDelayedCall | None = None
    work: Deferred[None] | None = None

    @property
    def missing(self) -> list[int]:
        """The places that are still to be fetched."""
        gone = self.ahead.places if self.ahead is not None else ()
        return [
            place
            for place in range(len(self.remote or ()))
            if place not in self.got and place not in self.refused and place not in gone
        ]

    @property
    def is_complete(self) -> bool:
        """Whether there is nothing more to fetch."""
        return self.remote is not None and not self.missing


class Enclosures:
    """The attachments of one gateway's received texts."""

    log = Logger()

    def __init__(
        self,
        clock: IReactorTime,
        account: Account,
        inbox: IInbox,
        world: World,
        ask: Ask,
        pending: Callable[[], Pending],
    ) -> None:
        self._clock = clock
        self._account = account
        self._inbox = inbox
        self._world = world
        self._ask = ask
        self._pending = pending
        self._fetches = DeferredSemaphore(_AT_ONCE)
        self._jobs: dict[str, _Job] = {}
        self._left_over = False  # the store has more than is worked on
        self._running = False

    # -- life ------------------------------------------------------------------------------------

    def start(self) -> None:
        """Begin to fetch."""
        self._running = True

    def stop(self) -> Deferred[None]:
        """Leave off; fires when nothing is under way any more."""
        self._running = False
        working = []
        for job in list(self._jobs.values()):
            _cancel(job.hurry)
            if job.work is not None:
                working.append(job.work)
                job.work.cancel()
        ended: Deferred[Any] = gatherResults(working, consumeErrors=True)
        return ended.addCallback(lambda _: None)

    # -- what comes ------------------------------------------------------------------------------

    def take(self, received: Received, line: ProviderLine) -> Deferred[bool]:
        """
        Keep a text with attachments; fires after the commit with False for a repeat.

        :raises TemporaryFailure: (as the Deferred's failure) the store is out of reach.
        """
        return Deferred.fromCoroutine(self._take(received, line))

    async def _take(self, received: Received, line: ProviderLine) -> bool:
        known = received.remote_id
        if known and await self._inbox.is_known(line.label, known):
            return False
        key = kept.name(MEDIA, known or repr(received))
        new = await self._pending().keep(self._account.label, key, kept.encode(received))
        if new:
            self._begin(_job(key, received, line.label, self._now_ms()))
        return new

    def resume(self, found: Sequence[Kept]) -> None:
        """Go on with what is in the store, oldest first."""
        notes = {each.key: each for each in found if each.key.startswith(AHEAD + " ")}
        for each in found:
            if not each.key.startswith(MEDIA + " ") or each.key in self._jobs:
                continue
            try:
                received = kept.decode(each.value)
                note = notes.get(_note_key(each.key))
                ahead = kept.decode_ahead(note.value) if note is not None else None
            except kept.Unreadable as e:
                self.log.warn(
                    "{gateway}: a kept text is left where it is: {reason}",
                    gateway=self._account.label,
                    reason=str(e),
                )
                continue
            line = self._account.line_of(received.ours)
            if line is None:
                self.log.warn(
                    "{gateway}: a kept text with attachments waits for the line with number "
                    "{peer}, which is not in the configuration any more",
                    gateway=self._account.label,
                    peer=mask(received.ours),
                )
                continue
            job = _job(each.key, received, line.label, each.kept_at_ms)
            job.ahead = ahead
            self._begin(job, again=True)

    def _begin(self, job: _Job, again: bool = False) -> None:
        if not self._running or job.key in self._jobs:
            return
        if len(self._jobs) >= _MOST_JOBS:
            self._left_over = True
            return
        self._jobs[job.key] = job
        job.work = Deferred.fromCoroutine(self._work(job, again))

        def over(result: Any) -> None:
            _cancel(job.hurry)
            self._jobs.pop(job.key, None)
            if self._running and self._left_over and len(self._jobs) < _MOST_JOBS // 2:
                self._left_over = False
                self._read_more()

        job.work.addBoth(over)

    def _read_more(self) -> None:
        def failed(failure: Any) -> None:
            self._left_over = True  # the next job that ends tries again
            failure.trap(TemporaryFailure)

        reading: Deferred[Any] = self._pending().of(self._account.label)
        reading.addCallback(self.resume).addErrback(failed).addErrback(
            lambda failure: self.log.failure("kept texts could not be read", failure=failure)
        )

    # -- one text --------------------------------------------------------------------------------

    async def _work(self, job: _Job, again: bool) -> None:
        try:
            if again and not await self._is_open(job):
                return
            self._set_hurry(job)
            await self._fetch_all(job)
            await self._in_the_end(job)
        except Refused as e:
            self._say_refused(e)
        except Exception:
            # One text must not keep the others from being worked on; it stays in the store.
            if self._running:
                self.log.failure(
                    "{gateway}: a text with attachments is left until the next start",
                    gateway=self._account.label,
                )

    async def _is_open(self, job: _Job) -> bool:
        """Tell whether anything is left to do for what an earlier process kept."""
        if job.ahead is not None:
            # It may have ended between the note and the text itself.
            await self._surely(lambda: self._accept_ahead(job))
            return True
        known = job.received.remote_id
        if not known:
            return True
        done = await self._surely(lambda: self._inbox.is_known(job.line, known))
        if done:
            await self._surely(lambda: self._drop(job))
        return not done

    async def _fetch_all(self, job: _Job) -> None:
        """Try again and again, until all is there or the time is over."""
        tries = 0
        while True:
            await self._try(job)
            if job.ahead is not None:
                await self._surely(lambda: self._follow(job))
            if job.is_complete:
                return
            pause_s = _PAUSES_S[min(tries, len(_PAUSES_S) - 1)]
            tries += 1
            if self._now_ms() + pause_s * 1000 - job.kept_at_ms > _GIVE_UP_MS:
                return
            await deferLater(self._clock, pause_s)

    async def _try(self, job: _Job) -> None:
        """Try once to get what is missing."""
        if job.remote is None:
            await self._fetches.run(self._list, job)
        await gatherResults(
            [self._fetches.run(self._fetch, job, place) for place in job.missing],
            consumeErrors=True,
        )

    async def _list(self, job: _Job) -> None:
        dialect = self._account.dialect
        request = dialect.media_list(job.received)
        if request is None:
            job.remote = ()
            return
        try:
            response = await self._ask(request, self._account.config.timeout)
            job.remote = tuple(dialect.media_listed(response))[:_MOST_PLACES]
        except (NotSent, NoAnswer, Malformed) as e:
            self._say_why(job, str(e))

    async def _fetch(self, job: _Job, place: int) -> None:
        assert job.remote is not None
        remote = job.remote[place]
        if _is_smil(remote.content_type, remote.name, remote.url):
            job.got[place] = None
            return
        files = self._world.media
        if files is None:
            self._say_why(job, "The media store is not open.")
            return
        try:
            media = await self._fetch_with_any(files, remote)
        except TemporaryFailure as e:
            self._say_why(job, e.text)
        except Refused as e:
            if e.reason in _FOR_GOOD:
                job.refused[place] = e.text
            else:
                self._say_why(job, e.text)
        else:
            wanted = remote.sha256.strip().lower()
            if wanted and wanted != media.digest:
                self._say_why(job, "An attachment is not what the provider announced.")
            elif _is_smil(media.content_type, media.name, ""):
                job.got[place] = None
            else:
                job.got[place] = _text_of(files, remote, media) or media

    async def _fetch_with_any(self, files: Files, remote: RemoteMedia) -> Media:
        """Fetch with each set of credentials in turn, until one is taken."""
        base_url = self._account.config.base_url
        choices: list[Mapping[str, str]] = [*self._account.dialect.media_headers(remote.url)]
        for number, headers in enumerate(choices or [{}], 1):
            try:
                return await files.fetch(
                    remote.url, headers=headers, name=remote.name, received=True, trusted=base_url
                )
            except Refused as e:
                if number >= len(choices) or e.detail not in ("HTTP 401", "HTTP 403"):
                    raise
        raise AssertionError("there is always a last choice")

    def _say_why(self, job: _Job, why: str) -> None:
        if why != job.why:
            self.log.warn(
                "{gateway}: an attachment of {remote_id} cannot be fetched now: {reason}",
                gateway=self._account.label,
                remote_id=job.received.remote_id,
                reason=why,
            )
        job.why = why

    def _say_refused(self, error: Refused) -> None:
        """The line of a text went out of the configuration; it may come back."""
        self.log.warn(
            "{gateway}: a text stays among what is kept until the next start: {reason}",
            gateway=self._account.label,
            reason=str(error),
        )

    # -- what goes on ----------------------------------------------------------------------------

    def _set_hurry(self, job: _Job) -> None:
        if job.ahead is None:
            age_s = (self._now_ms() - job.kept_at_ms) / 1000
            wait_s = min(max(_HURRY_S - age_s, 0.0), _HURRY_S)
            job.hurry = self._clock.callLater(wait_s, self._hurry, job)

    def _hurry(self, job: _Job) -> None:
        """Let the text go ahead."""

        def failed(failure: Any) -> None:
            if failure.check(TemporaryFailure) and self._running:
                job.hurry = self._clock.callLater(_STORE_AGAIN_S, self._hurry, job)
            elif failure.check(Refused):
                self._say_refused(failure.value)
            elif self._running:
                self.log.failure("a text could not go ahead", failure=failure)

        going: Deferred[None] = job.lock.run(self._go_ahead, job)
        going.addErrback(failed)

    async def _go_ahead(self, job: _Job) -> None:
        if job.ahead is not None or job.is_complete or not self._running:
            return
        there = sorted(job.got)
        ahead = kept.Ahead(
            body=_body(job.received.body, [job.got[place] for place in there]),
            media=tuple(got for got in map(job.got.get, there) if isinstance(got, Media)),
            places=tuple(there),
        )
        if not ahead.media and not ahead.body.strip():
            return  # there is nothing to say without the attachments
        await self._pending().keep(
            self._account.label, _note_key(job.key), kept.encode_ahead(ahead)
        )
        job.ahead = ahead
        await self._accept_ahead(job)

    async def _accept_ahead(self, job: _Job) -> None:
        assert job.ahead is not None
        await self._accept(job, job.received.remote_id, job.ahead.body, job.ahead.media)

    async def _follow(self, job: _Job) -> None:
        """Send each attachment that came after its text; in the order in which they came."""
        assert job.ahead is not None
        for place in sorted(set(job.got) - set(job.ahead.places) - job.followed):
            got = job.got[place]
            key = f"{job.received.remote_id}/media/{place}"
            if isinstance(got, Media):
                await self._accept(job, key, "", (got,))
            elif got is not None and got.strip() != job.ahead.body.strip():
                await self._accept(job, key, got, ())
            job.followed.add(place)

    async def _in_the_end(self, job: _Job) -> None:
        await self._surely(lambda: self._settle(job))
        lost = len(job.refused) + (len(job.missing) if job.remote is not None else 1)
        if lost:
            why = next(iter(job.refused.values()), job.why)
            await self._surely(lambda: self._tell(job, lost, why))
        await self._surely(lambda: self._drop(job))

    async def _settle(self, job: _Job) -> None:
        """Accept what has not been accepted."""
        await job.lock.acquire()
        try:
            if job.ahead is not None:
                await self._follow(job)
                return
            there = [job.got[place] for place in sorted(job.got)]
            media = tuple(got for got in there if isinstance(got, Media))
            body = _body(job.received.body, there)
            await self._accept(job, job.received.remote_id, body, media)
        finally:
            job.lock.release()

    async def _accept(self, job: _Job, key: str, body: str, media: tuple[Media, ...]) -> None:
        received = job.received
        await self._inbox.accept(
            FromNetwork(
                line=job.line,
                sender=received.sender,
                body=body,
                recipients=received.recipients,
                dedup_key=key if received.remote_id else "",
                dedup_for_s=REMEMBERED_S,
                sent_at_ms=received.sent_at_ms,
                media=media,
                word_handled=bool(received.opt_out),
            )
        )

    async def _tell(self, job: _Job, lost: int, why: str) -> None:
        files = "A file" if lost == 1 else f"{lost} files"
        sentence = (
            f"{files} that came with a text of {job.received.sender or 'a withheld number'} could "
            f"not be fetched. {why}"
        ).strip()
        for person in persons_of(self._world.directory, job.line):
            await self._inbox.notify(person.label, sentence, job.line)

    async def _drop(self, job: _Job) -> None:
        await self._pending().drop(self._account.label, [job.key, _note_key(job.key)])

    async def _surely(self, do: Callable[[], Any]) -> Any:
        """Do something that is harmless when repeated, until the store is there for it."""
        wait_s = _STORE_AGAIN_S
        while True:
            try:
                return await do()
            except TemporaryFailure:
                await deferLater(self._clock, wait_s)
                wait_s = min(wait_s * 2, _LONGEST_STORE_AGAIN_S)

    def _now_ms(self) -> int:
        return int(self._clock.seconds() * 1000)


def _job(key: str, received: Received, line: str, kept_at_ms: int) -> _Job:
    remote = None if received.unlisted_media else received.media[:_MOST_PLACES]
    return _Job(key, received, line, kept_at_ms, remote)


def _note_key(key: str) -> str:
    return f"{AHEAD} {key.partition(' ')[2]}"


def _is_smil(content_type: str, name: str, url: str) -> bool:
    if content_type.partition(";")[0].strip().lower() in ("application/smil", "text/smil"):
        return True
    try:
        path = urlsplit(url).path
    except ValueError:
        path = ""
    return name.lower().endswith(".smil") or path.lower().endswith(".smil")


def _text_of(files: Files, remote: RemoteMedia, media: Media) -> str:
    """Return the text of a part that is plain text; empty for every other kind."""
    if media.content_type != "text/plain" or (media.size or 0) > _LONGEST_PART:
        return ""
    declared, _, parameters = remote.content_type.partition(";")
    if declared.strip() and declared.strip().lower() != "text/plain":
        return ""
    path = files.path(media)
    if path is None:
        return ""
    charset = parameters.partition("charset=")[2].strip(" \"'") or "utf-8"
    data = path.read_bytes()
    try:
        return data.decode(charset)
    except (LookupError, ValueError):
        return data.decode("latin-1")


def _body(body: str, there: Sequence[_Got]) -> str:
    """Return a text with the parts of plain text behind it; some providers say it twice."""
    said = [body] if body else []
    for got in there:
        if isinstance(got, str) and got.strip() and got.strip() not in [s.strip() for s in said]:
            said.append(got)
    return "\n".join(said)


def _cancel(timer: IDelayedCall | None) -> None:
    if timer is not None and timer.active():
        timer.cancel()
