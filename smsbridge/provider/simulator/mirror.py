"""
What a provider's folder supplies so that the provider can be played: the far side of a `Dialect`.

A `Mirror` is pure as well: it reads the requests that smsbridge makes, writes the provider's
answers, and writes the webhooks that the provider makes, signed as the real one signs them.
`server.ProviderDouble` keeps the texts, the clock and the faults.

A mirror is strict where the provider is: it refuses what the provider would refuse, with the
provider's own status and code.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import ClassVar, Literal, Protocol

from attrs import define, field, frozen

from smsbridge.core.message import Status
from smsbridge.provider.dialect import Request, Response

__all__ = [
    "AskedDids",
    "AskedList",
    "AskedMedia",
    "AskedMediaList",
    "AskedOne",
    "AskedSend",
    "Call",
    "DoubleMedia",
    "DoubleText",
    "Fault",
    "Mirror",
    "Wrong",
]

#: What can be wrong with a send, whatever the provider calls it.
Fault = Literal[
    "bad-number",  # the recipient does not exist
    "opted-out",  # the recipient asked not to be texted
    "not-ours",  # the sender is not a number of the account
    "credentials",
    "no-credit",
    "throttled",  # with Retry-After (1 s) where the provider has it
    "quota",  # the day's quota is used up, where the provider has one
    "too-long",
    "bad-media",
    "broken",  # its own trouble: a 500 that is no answer
]


@frozen(kw_only=True)
class Call:
    """A request that came to the double; names of headers are in lower case."""

    method: str
    path: str  # with the query
    headers: Mapping[str, str] = field(factory=dict)
    body: bytes = b""


@frozen(kw_only=True)
class DoubleMedia:
    """An attachment: what smsbridge named by `url`, or what the double itself keeps as `data`."""

    url: str = ""
    content_type: str = ""
    name: str = ""
    data: bytes = field(default=b"", repr=False)


@define(kw_only=True)
class DoubleText:
    """
    One text that the double keeps.

    :ivar remote_id: as the provider makes them; see `Mirror.new_id`.
    :ivar callback: where the sender asked to be told, if the provider has that.
    :ivar reference: what the sender calls it, if the provider has that.
    """

    remote_id: str
    outbound: bool
    sender: str  # E.164, or as the network shows it
    recipients: tuple[str, ...]
    body: str
    media: tuple[DoubleMedia, ...] = ()
    mms: bool = False
    callback: str = ""
    reference: str = ""
    created_at_ms: int = 0
    status: Status = Status.SENT
    reason: str = ""  # of a failure: one of `errors.REASONS`
    part: tuple[str, int, int] | None = None  # reference, number, total


@frozen(kw_only=True)
class AskedSend:
    """Texts to send (one for each part, where the provider splits or fans out)."""

    texts: tuple[DoubleText, ...]


@frozen(kw_only=True)
class AskedList:
    """Texts to list; empty and 0 mean whatever."""

    ours: str = ""
    other: str = ""
    outbound: bool | None = None
    since_ms: int = 0
    until_ms: int = 0
    most: int = 50
    offset: int = 0


@frozen(kw_only=True)
class AskedOne:
    """One text, by its id."""

    remote_id: str


@frozen(kw_only=True)
class AskedMediaList:
    """The attachments of one text."""

    remote_id: str


@frozen(kw_only=True)
class AskedMedia:
    """The bytes of one attachment: `number` from 0."""

    remote_id: str
    number: int


@frozen(kw_only=True)
class AskedDids:
    """The numbers of the account (`which` tells several such requests apart)."""

    which: str = ""


Asked = AskedSend | AskedList | AskedOne | AskedMediaList | AskedMedia | AskedDids


class Wrong(Exception):
    """The provider refuses a request; the answer is the provider's own."""

    def __init__(self, response: Response) -> None:
        super().__init__(f"refused with status {response.status}")
        self.response = response


class Mirror(Protocol):
    """
    One provider's far side; built with the account's credentials (see the folder's ``MIRROR``).

    :cvar statuses: what the provider reports of a text that goes well, in order; none where it
        reports nothing.
    """

    kind: ClassVar[str]
    statuses: ClassVar[Sequence[Status]]

    def new_id(self, number: int, mms: bool) -> str:
        """Make the id of the text of that number."""

    def asked(self, call: Call, now_ms: int) -> Asked:
        """
        Read a request; credentials are checked first.

        :raises Wrong: it is refused.
        """

    def refusal(self, fault: Fault, call: Call) -> Response:
        """Write what the provider answers to a send that fails so."""

    def taken(self, texts: Sequence[DoubleText]) -> Response:
        """Write the answer to a send."""

    def listed(self, asked: AskedList, texts: Sequence[DoubleText], more: bool) -> Response:
        """Write a page; `texts` are those asked for, in the provider's order (newest first)."""

    def one(self, text: DoubleText | None) -> Response:
        """Write one text, or that there is none."""

    def media_list(self, text: DoubleText | None) -> Response:
        """Write the attachments of one text."""

    def dids(self, asked: AskedDids, numbers: Sequence[str]) -> Response:
        """Write the numbers of the account."""

    def arrival(self, text: DoubleText, hook: str) -> Sequence[Request]:
        """
        Write the webhook about a text that reached a number of the account, signed.

        :param text: `created_at_ms` is also the time of the call, where the signature has one.
        :param hook: the address of the gateway's hook, as an operator pastes it into the console.
        """

    def report(self, text: DoubleText, status: Status, hook: str) -> Sequence[Request]:
        """
        Write the status call about a text, signed; nothing where the provider has none.

        :param text: `created_at_ms` is the time of the call here, not that of the text.
        :param hook: as for `arrival`; used where the text names no callback of its own.
        """

    def is_heard(self, response: Response) -> bool:
        """Tell whether the provider takes an answer to its webhook for good; else it repeats."""
