"""
What a provider's folder supplies, and the values in which it speaks to the shared side.

A `Dialect` turns a text into requests and their answers into verdicts, a webhook into events, and a
list of the provider's into the same events.  It is pure: no socket, no clock, no chance; everything
it raises on strange bytes is `Malformed`.  `gateway.ProviderService` connects, waits, retries,
authenticates, stores and answers.

Numbers are E.164 with ``+`` on this side (or a short code or a name, as the network showed it); how
the provider spells them is the dialect's business.
"""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import cached_property
from typing import ClassVar, Final, Literal, Protocol
from urllib.parse import unquote

import attrs
from attrs import field, frozen

from smsbridge.core.directory import Line
from smsbridge.core.message import Outcome, Status
from smsbridge.core.records import FoundLine
from smsbridge.keys import key

__all__ = [
    "NOTHING_THERE",
    "UNSURE",
    "Answer",
    "Dialect",
    "Event",
    "Hook",
    "Ignored",
    "LookedUp",
    "Malformed",
    "Outgoing",
    "OutgoingMedia",
    "Page",
    "Part",
    "ProviderLine",
    "Received",
    "RemoteMedia",
    "Request",
    "Response",
    "StatusUpdate",
    "Verdict",
]


_MOST_PAIRS: Final = 1000  # fields of a form


class Malformed(ValueError):
    """What came is not what the provider is known to say; the text says what was expected."""


@frozen(kw_only=True)
class ProviderLine(Line):
    """``[line:NAME]`` of a provider: a number that is rented there."""

    number: str = key(
        "The line's own number in E.164, as the provider lists it.",
        default="",
        example="+12025550100",
        in_sample=True,
    )
    carries_media: bool = attrs.field(default=True, kw_only=True)


# -- HTTP, as values -------------------------------------------------------------------------------


@frozen(kw_only=True)
class Request:
    """
    What is asked of the provider.

    :ivar note: what the dialect wants to know of it when it reads the answer; it is not sent.
    """

    url: str
    method: str = "GET"
    headers: Mapping[str, str] = field(factory=dict, repr=False)  # credentials included
    body: bytes = field(default=b"", repr=False)
    note: str = ""


@frozen(kw_only=True)
class Response:
    """
    What came back, whole; names of headers are in lower case.

    :ivar asked: what was asked, so that the next page of a list can be; None in an answer that
        nobody asked for.
    """

    status: int
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = field(default=b"", repr=False)  # some answers have passwords
    asked: Request | None = field(default=None, repr=False, eq=False)


@frozen(kw_only=True)
class Hook:
    """
    A call of the provider's, as it came.

    :ivar url: the whole address as the provider should have it configured: ``public_url``, path and
        the query exactly as it came; empty where ``public_url`` is not set.
    :ivar path: what is behind ``/hook/NAME``: empty, or ``status``.
    :ivar query: undecoded, without the question mark.
    :ivar headers: names in lower case.
    :ivar now_ms: when it came.
    """

    method: str
    url: str
    path: str = ""
    query: str = ""
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""
    now_ms: int = 0

    @cached_property
    def arguments(self) -> list[tuple[str, str]]:
        """
        The decoded pairs of the query, blank values included, untrimmed.

        :raises Malformed: it is no such thing.
        """
        return _pairs(self.query)

    @cached_property
    def form(self) -> list[tuple[str, str]]:
        """
        The decoded pairs of a body of type ``application/x-www-form-urlencoded``.

        :raises Malformed: it is no such thing.
        """
        try:
            return _pairs(self.body.decode("utf-8"))
        except UnicodeDecodeError:
            raise Malformed("the form is not in UTF-8") from None


def _pairs(text: str) -> list[tuple[str, str]]:
    """
    Decode a form, as `urllib.parse.parse_qsl` does with blank values, in half the time.

    It is what most of a webhook's time went into.
    """
    if text.count("&") >= _MOST_PAIRS:
        raise Malformed("the form has too many fields")
    try:
        return [
            (_decoded(name), _decoded(value))
            for name, _, value in [pair.partition("=") for pair in text.split("&") if pair]
        ]
    except UnicodeDecodeError:
        raise Malformed("the form is not in UTF-8") from None


def _decoded(text: str) -> str:
    if "+" in text:
        text = text.replace("+", " ")
    return unquote(text, errors="strict") if "%" in text else text


@frozen(kw_only=True)
class Answer:
    """What a provider wants to hear when its call has been dealt with."""

    status: int = 200
    content_type: str = "text/plain; charset=utf-8"
    body: bytes = b""


# -- outbound --------------------------------------------------------------------------------------


@frozen(kw_only=True)
class OutgoingMedia:
    """One attachment, as the provider can fetch it."""

    url: str
    content_type: str
    size: int | None = None
    name: str = ""


@frozen(kw_only=True)
class Outgoing:
    """
    One text on its way to the provider.

    :ivar delivery_id: what we call it; unique for each attempt's delivery, at most 64 characters of
        ``[0-9a-f.-]``. Where the provider takes a reference of ours, this is it.
    :ivar sender: our number.
    :ivar recipients: one; several only for one group text.
    :ivar callback: where the provider shall report the status of exactly this text; empty where
        there is no ``public_url``. It carries the delivery's id in its query.
    :ivar now_ms: when it is sent, for quotas that end at a time of the day; 0 where nobody said.
    """

    delivery_id: str
    line: Line
    sender: str
    recipients: tuple[str, ...]
    body: str
    media: tuple[OutgoingMedia, ...] = ()
    callback: str = ""
    now_ms: int = 0


@frozen(kw_only=True)
class Verdict:
    """
    What an answer means for a text, and for what comes after it; made by `verdicts`.

    :ivar outcome: what becomes of the delivery.
    :ivar rests: what must not be used for a while: nothing, the line, or the whole gateway.
    :ivar rest_s: for how long; None leaves it to the shared side.
    :ivar alarm: a fault that the operator must mend; the sentence for the log is in the outcome.
    """

    outcome: Outcome
    rests: Literal["", "line", "gateway"] = ""
    rest_s: float | None = None
    alarm: bool = False


class _Nothing:
    def __init__(self, name: str) -> None:
        self._name = name

    def __repr__(self) -> str:
        return self._name


#: A look-up that says for sure: the provider does not have the text.
NOTHING_THERE = _Nothing("NOTHING_THERE")
#: A look-up that tells nothing.
UNSURE = _Nothing("UNSURE")

#: The provider's id of a text, or one of the two above.
LookedUp = str | _Nothing


# -- inbound ---------------------------------------------------------------------------------------


@frozen(kw_only=True)
class RemoteMedia:
    """One attachment of a received text, where the provider keeps it."""

    url: str
    content_type: str = ""
    name: str = ""
    size: int | None = None
    sha256: str = ""  # hexadecimal, where the provider tells it


@frozen(kw_only=True)
class Part:
    """Which part of a longer text something is: `number` of `total`, from 1."""

    reference: str  # equal in all parts
    number: int
    total: int


@frozen(kw_only=True)
class Received:
    """
    A text that reached one of our numbers.

    :ivar ours: our number, E.164.
    :ivar recipients: all of a group text, ours included; empty for an ordinary one.
    :ivar unlisted_media: the provider says that there are attachments and not where; ask
        `Dialect.media_list`.
    :ivar opt_out: what the provider itself took the text for and dealt with: ``stop``, ``start``,
        ``help`` or nothing.
    """

    remote_id: str
    ours: str
    sender: str
    body: str
    recipients: tuple[str, ...] = ()
    media: tuple[RemoteMedia, ...] = ()
    unlisted_media: bool = False
    sent_at_ms: int | None = None
    part: Part | None = None
    opt_out: Literal["", "stop", "start", "help"] = ""


@frozen(kw_only=True)
class StatusUpdate:
    """
    What became of a text of ours.

    :ivar delivery_id: ours, where the provider gives it back; else it is found by `remote_id`.
    :ivar ours: our number, E.164, where it is told.
    :ivar recipient: whom it is about, E.164; needed for group texts.
    :ivar status: SENT (any interim state), DELIVERED, FAILED or EXPIRED.
    :ivar reason: one of `errors.REASONS` for a failure.
    :ivar text: the provider's code and words, for people.
    :ivar opted_out: the recipient does not want texts of ours.
    """

    remote_id: str
    status: Status
    delivery_id: str = ""
    ours: str = ""
    recipient: str = ""
    reason: str = ""
    text: str = ""
    opted_out: bool = False


@frozen(kw_only=True)
class Ignored:
    """Something authentic that is of no use; `why` goes to the log."""

    why: str


Event = Received | StatusUpdate | Ignored


@frozen(kw_only=True)
class Page:
    """A page of what the provider lists; `more` asks for the next one."""

    events: tuple[Event, ...] = ()
    more: Request | None = None


class Dialect(Protocol):
    """
    How one account of one provider is spoken with; built from its section.

    :cvar hook_timeout_s: within what time the provider wants its answer.
    :cvar status_path: whether status calls come to ``/hook/NAME/status`` (else to ``/hook/NAME``).
    :cvar reports: whether the provider tells what became of a text at all.
    """

    kind: ClassVar[str]
    hook_timeout_s: ClassVar[float]
    status_path: ClassVar[bool]
    reports: ClassVar[bool]

    # -- sending

    def requests(self, outgoing: Outgoing) -> Sequence[Request]:
        """
        Return what to ask, one after another; usually one request.

        :raises PermanentFailure: this text cannot be sent by this provider.
        """

    def answered(self, outgoing: Outgoing, step: int, response: Response) -> Verdict:
        """
        Judge the answer to one request (`step` from 0).

        Redirects (301, 302, 307, 308) do not come here: they are not followed, and the operator is
        told.
        """

    def look_up(self, outgoing: Outgoing, sent_at_ms: int) -> Request | None:
        """Return what to ask to find a text whose answer was lost; None: nothing can be asked."""

    def looked_up(
        self, outgoing: Outgoing, sent_at_ms: int, response: Response, known: Collection[str]
    ) -> LookedUp:
        """
        Return the id of the lost text.

        :param known: ids that belong to other texts of ours.
        """

    # -- webhooks

    @property
    def signs(self) -> bool:
        """Whether calls are signed and the secret for that is configured."""

    def authentic(self, hook: Hook) -> bool:
        """Tell whether a call is signed as it must be; asked where `signs`."""

    def events(self, hook: Hook) -> Sequence[Event]:
        """
        Read a call that is authentic.

        :raises Malformed: it cannot be read; it is answered with success all the same.
        """

    def answer(self, hook: Hook) -> Answer:
        """Return what the provider wants to hear after an authentic call."""

    # -- what the provider keeps

    def media_headers(self, url: str) -> Sequence[Mapping[str, str]]:
        """
        Return the headers to try, one after another, when an attachment is fetched.

        An empty mapping is a try without credentials. Credentials only for the provider's own
        hosts.
        """

    def media_list(self, received: Received) -> Request | None:
        """Return what to ask for the attachments of a text with `unlisted_media`."""

    def media_listed(self, response: Response) -> Sequence[RemoteMedia]:
        """
        Read the answer to that.

        :raises Malformed: it cannot be read; it is asked again later.
        """

    def listing(self, line: Line, since_ms: int, until_ms: int) -> Request | None:
        """Return what to ask for the texts of a line, both ways; None: one cannot look."""

    def listed(self, line: Line, response: Response) -> Page:
        """
        Read a page of that.

        :raises Malformed: it cannot be read, or is an error; the text is for the operator.
        """

    def discover(self) -> Sequence[Request]:
        """Return what to ask for the numbers of the account; nothing where one cannot."""

    def discovered(self, responses: Sequence[Response]) -> Sequence[FoundLine]:
        """
        Read the answers to that.

        :raises Malformed: they cannot be read, or are an error; the text is for the operator.
        """
