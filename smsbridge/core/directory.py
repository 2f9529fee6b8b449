"""
Who there is: the lines, the persons and what each may do, as frozen values made from the ini files.

A `Directory` is replaced as a whole when the configuration is reloaded; whoever needs it asks its
`Directory` holder at the time of use and keeps nothing.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from functools import cached_property
from pathlib import Path
from typing import Any

import attrs
from attrs import define, frozen

from smsbridge.core.address import read_country, read_extensions, read_jids, read_sip_users
from smsbridge.core.book import Book
from smsbridge.core.files import Files
from smsbridge.core.optouts import OptOuts
from smsbridge.core.pending import Pending
from smsbridge.core.segments import Charset
from smsbridge.core.webhooks import read_webhooks
from smsbridge.keys import (
    boolean,
    byte_size,
    decimal,
    duration,
    file_path,
    key,
    one_of,
    pattern,
    whole,
    words,
)

__all__ = ["ADDRESS_KINDS", "Directory", "Line", "Person", "World"]

#: The keys of a person that hold an address, and how `receive` names them.
ADDRESS_KINDS = ("xmpp", "sip", "dect", "webhook")


@frozen(kw_only=True)
class Line:
    """
    ``[line:NAME]``: one number of ours on the phone network.

    Gateways add their own keys by subclassing.
    """

    label: str
    gateway: str = key(
        "The gateway that this line belongs to: the NAME of a [gateway:NAME].", example="box"
    )
    number: str = key(
        "The line's own number in E.164. Optional where the device tells it.",
        default="",
        example="+12025550100",
    )
    enabled: bool = key("Whether the line is in use.", default=True, convert=boolean)
    allow: re.Pattern[str] | None = key(
        "Destinations this line may text: a regular expression searched in the E.164 number. "
        "Without it every number is allowed.",
        default=None,
        convert=pattern,
        example=r"^\+1",
    )
    receipts: str = key(
        "When the sender gets the receipt: when the network reports delivery, when the next hop "
        "took the text, or never.",
        default="network",
        convert=one_of("network", "submitted", "never"),
    )
    pace: float = key(
        "The shortest time between two texts sent on this line.",
        default=0.0,
        convert=duration,
        example="3s",
    )
    daily_cap: int = key(
        "How many text segments the line may send a day (in UTC); 0 means no cap.",
        default=0,
        convert=whole(0, 10_000_000),
    )
    max_segments: int = key(
        "How many segments a text sent on this line may have.", default=15, convert=whole(1, 255)
    )
    expire: float = key(
        "How long a text may wait to be sent before it is given up.",
        default=48 * 3600.0,
        convert=duration,
    )
    groups: str = key(
        "What happens to a text for several numbers at once: refuse it, or send separate texts.",
        default="refuse",
        convert=one_of("refuse", "separate"),
    )
    mms: str = key(
        "How attachments go out: auto, as an MMS where the line carries them and they are small "
        "enough, else as a link in the text; always, as an MMS or not at all; link, always as a "
        "link. Links need public_url in [http].",
        default="auto",
        convert=one_of("auto", "always", "link"),
    )
    media_limit: int = key(
        "How large the attachments of one MMS may be in all. Larger pictures are made smaller.",
        default=600 * 1024,
        convert=byte_size,
        example="600K",
    )
    opt_out: str = key(
        "Who looks after people who do not want texts from this line: provider, the provider does "
        "and the bridge remembers what it says; bridge, the bridge itself understands STOP, START "
        "and HELP and answers them; no, nobody. A text to a number that is out is refused.",
        default="provider",
        convert=one_of("provider", "bridge", "no"),
    )
    opt_out_prefix: str = key(
        "What stands before the words STOP, START and HELP with 'opt_out = bridge'; with #! a "
        "friend who writes just 'stop' is not put out.",
        default="",
        convert=str.strip,
        example="#!",
    )
    opt_out_help: str = key(
        "What HELP is answered with, where the bridge answers it: who you are and how to reach "
        "you.",
        default="",
        convert=str.strip,
        example="Texts from Jane's garden shop. Call +12025550100 for help.",
    )
    carries_media: bool = attrs.field(default=False, kw_only=True)  # its gateway has MMS
    media_types: tuple[str, ...] = attrs.field(default=(), kw_only=True)  # of an MMS; empty: all
    most_media: int = attrs.field(default=10, kw_only=True)  # files of one MMS
    longest_bytes: int = attrs.field(default=0, kw_only=True)  # of a text in UTF-8; 0: no limit
    most_in_group: int = attrs.field(default=10, kw_only=True)  # others in a group text
    carries_groups: bool = attrs.field(default=False, kw_only=True)  # and real group texts
    charset: Charset = attrs.field(default=Charset.GSM, kw_only=True)  # how the device counts


@frozen(kw_only=True)
class Person:
    """``[person:NAME]``: somebody who uses the bridge."""

    label: str
    xmpp: tuple[str, ...] = key(
        "The person's JID; several are separated by blanks.",
        default=(),
        convert=read_jids,
        example="john@example.com",
    )
    sip: tuple[str, ...] = key(
        "The person's SIP user name.", default=(), convert=read_sip_users, example="john"
    )
    dect: tuple[str, ...] = key(
        "The person's DECT extension.", default=(), convert=read_extensions, example="101"
    )
    webhook: tuple[str, ...] = key(
        "Where a program of the person is told of texts and reports: an http or https address to "
        "which each is posted.",
        default=(),
        convert=read_webhooks,
        example="https://app.example.org/texts",
    )
    webhook_secret: str = key(
        "What the posts to the webhook are signed with; without it they are not signed.",
        default="",
        secret=True,
    )
    webhook_compat: bool = key(
        "Whether the numbers of a group text are written one after another into 'to', as "
        "MobileMessaging does.",
        default=False,
        convert=boolean,
    )
    lines: tuple[str, ...] = key(
        "The lines that the person may use; the first is the default. Texts to a line reach every "
        "person who has it.",
        default=(),
        convert=words,
        example="2001 work-main",
    )
    receive: tuple[str, ...] = key(
        "The kinds of address at which texts arrive (xmpp, sip, dect, webhook); by default every "
        "one that is set.",
        default=(),
        convert=words,
    )
    fallback: bool = key(
        "Whether this person gets the texts that nobody else gets.", default=False, convert=boolean
    )
    mobile: str = key(
        "The person's own mobile number. Who receives a code there may add an XMPP address to the "
        "person, where the gateway allows that.",
        default="",
        convert=str.strip,
        example="+12025550188",
    )
    contacts: Path | None = key(
        "A vCard file (.vcf) with the names of the person's contacts, shown instead of numbers.",
        default=None,
        convert=file_path,
        example="john.vcf",
    )
    admin: bool = key(
        "Whether this person may use the commands of operators.", default=False, convert=boolean
    )
    rate: float = key(
        "How many texts a second the person may send in the long run; 0 means no limit.",
        default=1.0,
        convert=decimal(0, 100_000),
    )
    burst: int = key(
        "How many texts the person may send at once.", default=5, convert=whole(1, 100_000)
    )
    country: str = key(
        "The country whose national numbers this person types (two letters); default: the one of "
        "[smsbridge].",
        default="",
        convert=read_country,
        example="EE",
    )

    def addresses(self, kind: str) -> tuple[str, ...]:
        """Return the addresses of one kind (see `ADDRESS_KINDS`)."""
        value: tuple[str, ...] = getattr(self, kind)
        return value

    @property
    def receives(self) -> tuple[str, ...]:
        """Return the kinds of address at which texts are delivered."""
        return self.receive or tuple(kind for kind in ADDRESS_KINDS if self.addresses(kind))


@frozen(kw_only=True)
class Directory:
    """All lines and persons, and which gateway serves which kind of address."""

    lines: Mapping[str, Line] = attrs.field(factory=dict)
    persons: Mapping[str, Person] = attrs.field(factory=dict)
    serving: Mapping[str, str] = attrs.field(factory=dict)  # address kind -> label of the gateway
    country: str = "US"

    @cached_property
    def persons_of_line(self) -> Mapping[str, tuple[Person, ...]]:
        """Map each line to the persons who have it."""
        found: dict[str, list[Person]] = {}
        for person in self.persons.values():
            for line in person.lines:
                found.setdefault(line, []).append(person)
        return {line: tuple(persons) for line, persons in found.items()}

    @cached_property
    def fallbacks(self) -> tuple[Person, ...]:
        """The persons who get what nobody else gets."""
        return tuple(p for p in self.persons.values() if p.fallback)

    @cached_property
    def _by_address(self) -> Mapping[tuple[str, str], Person]:
        return {
            (kind, address): person
            for person in self.persons.values()
            for kind in ADDRESS_KINDS
            for address in person.addresses(kind)
        }

    def person_at(self, kind: str, address: str) -> Person | None:
        """Return the person with this address: a bare JID, a SIP user name, an extension."""
        return self._by_address.get((kind, address))

    def with_numbers(self, learned: Mapping[str, str]) -> Directory:
        """
        Return a directory in which lines without a configured number have the learned one.

        :param learned: line to number; unknown lines and numbers of other lines are passed over.
        """
        taken = {line.number for line in self.lines.values() if line.number}
        lines = dict(self.lines)
        for label, number in learned.items():
            line = lines.get(label)
            if line is not None and not line.number and number not in taken:
                lines[label] = attrs.evolve(line, number=number)
                taken.add(number)
        return attrs.evolve(self, lines=lines)

    def with_addresses(self, added: Iterable[tuple[str, str, str]]) -> Directory:
        """
        Return a directory in which persons have more addresses.

        :param added: (kind, address, person); unknown persons and known addresses are passed over.
        """
        persons = dict(self.persons)
        taken = set(self._by_address)
        for kind, address, label in added:
            person = persons.get(label)
            if person is not None and (kind, address) not in taken:
                more: Any = {kind: (*person.addresses(kind), address)}
                persons[label] = attrs.evolve(person, **more)
                taken.add((kind, address))
        return attrs.evolve(self, persons=persons)

    @cached_property
    def line_by_number(self) -> Mapping[str, Line]:
        """Map our own numbers to their lines."""
        return {line.number: line for line in self.lines.values() if line.number}


@define
class World:
    """Holds the current `Directory`; reload replaces it."""

    directory: Directory = attrs.field(factory=Directory)
    desk: Any = None  # provides `interfaces.IDesk` while the daemon runs
    book: Book = attrs.field(factory=Book)  # names, groups and blocked numbers of all persons
    media: Files | None = None  # while the daemon runs
    pending: Pending | None = None  # while the daemon runs
    opt_outs: OptOuts | None = None  # while the daemon runs
    public_url: str = ""  # [http] public_url without a slash at the end, where it is set
    inbox: bool = False  # persons can read their texts in a browser, whatever addresses they have
