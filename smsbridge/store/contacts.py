"""
Keeps what persons enter into their address books, and the numbers that they block.

Writes go through the store's writer, so that they are committed before a page says so.  Every
change reads the person's entries back and hands them to the `Shelf`, which makes the book in
memory.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from typing import Any, Final

from attrs import define, evolve, frozen
from sqlalchemy import Connection, bindparam, delete, func, insert, select, update
from twisted.internet.defer import Deferred, DeferredLock, fail
from twisted.internet.threads import deferToThreadPool

from smsbridge.core.address import parse_sender
from smsbridge.core.book import Contact
from smsbridge.core.contacts import (
    LONGEST_NOTE,
    MOST_GROUPS,
    MOST_NUMBERS,
    Cards,
    Shelf,
    checked,
    read_cards,
    write_cards,
)
from smsbridge.core.directory import World
from smsbridge.core.message import storable
from smsbridge.errors import Refused, TemporaryFailure
from smsbridge.store.schema import blocked, contact_groups, contact_numbers, contacts
from smsbridge.store.service import MessageStore

__all__ = ["MOST_CONTACTS", "StoredContacts"]

MOST_CONTACTS: Final = 20_000  # of one person
_MOST_BLOCKED: Final = 10_000
_LONGEST_IMPORT: Final = 8 * 1024 * 1024
_AT_ONCE: Final = 200  # contacts of an import in one transaction, so that texts pass in between
_LONGEST_NUMBER: Final = 255

_CHANGED: Final = "This contact is not there any more; it was removed in another window."
_OF_A_FILE: Final = (
    "This contact is from the vCard file in the configuration and can be changed only there."
)


@frozen
class _Change:
    """Contacts of one person to add (without an id), to replace, and to remove."""

    person: str
    put: tuple[Contact, ...]
    removed: tuple[int, ...]
    now_ms: int


@frozen
class _Full:
    """There is no room for what was to be added; nothing was."""


class _ChangeContacts:
    """
    Items are `_Change`.

    Results are the ids of what was put, None for each that is not there any more, or `_Full`; of
    what was removed, how many there were is the last.
    """

    rank = 5

    _count = select(func.count()).select_from(contacts).where(contacts.c.person == bindparam("of"))
    # What an earlier commit, broken off before its answer, has stored.
    _same = select(contacts.c.contact_id).where(
        contacts.c.person == bindparam("of"),
        contacts.c.name == bindparam("named"),
        contacts.c.changed_at_ms == bindparam("at"),
    )

    def __call__(
        self, connection: Connection, items: Sequence[_Change], again: bool
    ) -> Sequence[list[int | None] | _Full]:
        """Write the contacts."""
        return [self._one(connection, item, again) for item in items]

    def _one(
        self, connection: Connection, change: _Change, again: bool
    ) -> list[int | None] | _Full:
        added = sum(1 for contact in change.put if not contact.contact_id)
        if added:
            there = connection.execute(self._count, {"of": change.person}).scalar() or 0
            if there + added > MOST_CONTACTS:
                return _Full()
        ids: list[int | None] = []
        for contact in change.put:
            ids.append(self._put(connection, change, contact, ids if again else None))
        gone = 0
        if change.removed:
            gone = connection.execute(
                delete(contacts).where(
                    contacts.c.contact_id.in_(change.removed), contacts.c.person == change.person
                )
            ).rowcount
        return [*ids, gone]

    def _put(
        self,
        connection: Connection,
        change: _Change,
        contact: Contact,
        taken: Sequence[int | None] | None,
    ) -> int | None:
        values = {
            "name": contact.name,
            "note": contact.note,
            "changed_at_ms": change.now_ms,
        }
        if contact.contact_id:
            contact_id = int(contact.contact_id)
            # Some databases count only rows that changed, so the row is looked for.
            mine = (contacts.c.contact_id == contact_id) & (contacts.c.person == change.person)
            if connection.execute(select(contacts.c.contact_id).where(mine)).scalar() is None:
                return None
            connection.execute(update(contacts).where(mine).values(**values))
            for table in (contact_numbers, contact_groups):
                connection.execute(delete(table).where(table.c.contact_id == contact_id))
        else:
            if taken is not None:
                same = {"of": change.person, "named": contact.name, "at": change.now_ms}
                for known in connection.execute(self._same, same).scalars().all():
                    if known not in taken:
                        return int(known)
            done = connection.execute(insert(contacts).values(person=change.person, **values))
            key = done.inserted_primary_key
            assert key is not None
            contact_id = int(key[0])
        if contact.numbers:
            connection.execute(
                insert(contact_numbers),
                [
                    {"contact_id": contact_id, "position": place, "number": number, "label": label}
                    for place, (number, label) in enumerate(contact.numbers)
                ],
            )
        if contact.groups:
            connection.execute(
                insert(contact_groups),
                [{"contact_id": contact_id, "handle": handle} for handle in contact.groups],
            )
        return contact_id


@frozen
class _Block:
    """A number that a person blocks, or no longer."""

    person: str
    number: str
    blocked: bool
    now_ms: int


class _ChangeBlocks:
    """Items are `_Block`; results tell whether that changed anything, or are `_Full`."""

    rank = 5

    def __call__(
        self, connection: Connection, items: Sequence[_Block], again: bool
    ) -> Sequence[bool | _Full]:
        """Write or remove the numbers."""
        return [self._one(connection, item) for item in items]

    def _one(self, connection: Connection, item: _Block) -> bool | _Full:
        of_person = blocked.c.person == item.person
        this = of_person & (blocked.c.number == item.number)
        if not item.blocked:
            return connection.execute(delete(blocked).where(this)).rowcount > 0
        if connection.execute(select(blocked.c.number).where(this)).scalar() is not None:
            return False
        count = select(func.count()).select_from(blocked).where(of_person)
        if (connection.execute(count).scalar() or 0) >= _MOST_BLOCKED:
            return _Full()
        connection.execute(
            insert(blocked).values(
                person=item.person, number=item.number, blocked_at_ms=item.now_ms
            )
        )
        return True


def contacts_txn(connection: Connection, person: str) -> list[Contact]:
    """Return what a person entered, by name."""
    return _read(connection, person).get(person, [])


def all_txn(
    connection: Connection,
) -> tuple[dict[str, list[Contact]], dict[str, frozenset[str]]]:
    """Return what all persons entered, and the numbers that they block, by person."""
    found: dict[str, set[str]] = {}
    for row in connection.execute(select(blocked.c.person, blocked.c.number)):
        found.setdefault(row.person, set()).add(row.number)
    return _read(connection, None), {of: frozenset(numbers) for of, numbers in found.items()}


def blocked_txn(connection: Connection, person: str) -> list[tuple[str, int]]:
    """Return the numbers that a person blocks with the times of it, the last one first."""
    return [
        (row.number, row.blocked_at_ms)
        for row in connection.execute(
            select(blocked.c.number, blocked.c.blocked_at_ms)
            .where(blocked.c.person == person)
            .order_by(blocked.c.blocked_at_ms.desc(), blocked.c.number)
        )
    ]


def _read(connection: Connection, person: str | None) -> dict[str, list[Contact]]:
    of_person = contacts.c.person == person if person is not None else contacts.c.person != ""
    numbers: dict[int, list[tuple[str, str]]] = {}
    for row in connection.execute(
        select(contact_numbers.c.contact_id, contact_numbers.c.number, contact_numbers.c.label)
        .join(contacts, contacts.c.contact_id == contact_numbers.c.contact_id)
        .where(of_person)
        .order_by(contact_numbers.c.contact_id, contact_numbers.c.position)
    ):
        numbers.setdefault(row.contact_id, []).append((row.number, row.label))
    groups: dict[int, list[str]] = {}
    for member in connection.execute(
        select(contact_groups.c.contact_id, contact_groups.c.handle)
        .join(contacts, contacts.c.contact_id == contact_groups.c.contact_id)
        .where(of_person)
        .order_by(contact_groups.c.contact_id, contact_groups.c.handle)
    ):
        groups.setdefault(member.contact_id, []).append(member.handle)
    found: dict[str, list[Contact]] = {}
    for entry in connection.execute(
        select(contacts.c.contact_id, contacts.c.person, contacts.c.name, contacts.c.note).where(
            of_person
        )
    ):
        found.setdefault(entry.person, []).append(
            Contact(
                contact_id=str(entry.contact_id),
                name=entry.name,
                numbers=tuple(numbers.get(entry.contact_id, ())),
                groups=tuple(groups.get(entry.contact_id, ())),
                note=entry.note,
            )
        )
    for entries in found.values():
        entries.sort(key=_by_name)
    return found


def _by_name(contact: Contact) -> tuple[str, str]:
    return contact.name.casefold(), contact.contact_id


class StoredContacts:
    """
    Provides `core.book.Contacts`.

    :param now_ms: the time of day in milliseconds since 1970 UTC.
    :param in_thread: calls a function in a thread; by default in the reactor's.
    """

    def __init__(
        self,
        reactor: Any,
        store: MessageStore,
        world: World,
        shelf: Shelf,
        now_ms: Callable[[], int],
        in_thread: Callable[..., Deferred[Any]] | None = None,
    ) -> None:
        self._store = store
        self._world = world
        self._shelf = shelf
        self._now_ms = now_ms
        self._reactor = reactor
        self._in_thread = in_thread or self._in_pool
        self._contacts = _ChangeContacts()
        self._blocks = _ChangeBlocks()
        # One change of a person's book at a time: what is read back must be what was written last.
        self._locks: dict[str, DeferredLock] = {}
        self._importing: set[str] = set()

    def _in_pool(self, function: Callable[..., Any], *arguments: Any) -> Deferred[Any]:
        return deferToThreadPool(self._reactor, self._reactor.getThreadPool(), function, *arguments)

    def load(self) -> Deferred[None]:
        """Read all persons' entries into the `Shelf`; call it when the store has started."""

        def loaded(
            found: tuple[Mapping[str, Sequence[Contact]], Mapping[str, frozenset[str]]],
        ) -> None:
            for person, entries in found[0].items():
                self._shelf.put_own(person, entries)
            for person, numbers in found[1].items():
                self._shelf.put_blocked(person, numbers)

        return self._store.read(all_txn).addCallback(loaded)

    def _country(self, person: str) -> str:
        directory = self._world.directory
        known = directory.persons.get(person)
        return (known.country if known is not None else "") or directory.country

    def _alone(self, person: str, change: Callable[[], Any]) -> Deferred[Any]:
        lock = self._locks.setdefault(person, DeferredLock())
        return lock.run(lambda: Deferred.fromCoroutine(change()))

    # -- contacts --------------------------------------------------------------------------------

    def all(self, person: str) -> Deferred[list[Contact]]:
        """See `Contacts.all`."""

        def merged(own: list[Contact]) -> list[Contact]:
            numbers_of: dict[str, set[str]] = {}
            for contact in own:
                numbers_of.setdefault(contact.name, set()).update(dict(contact.numbers))
            # What was taken over from the file is not shown twice.
            cards = [
                card
                for card in self._shelf.cards(person)
                if not dict(card.numbers).keys() <= numbers_of.get(card.name, set())
            ]
            return sorted([*own, *cards], key=_by_name) if cards else own

        return self._store.read(contacts_txn, person).addCallback(merged)

    def put(self, person: str, contact: Contact) -> Deferred[Contact]:
        """See `Contacts.put`."""
        try:
            kept = checked(contact, self._country(person))
            if kept.contact_id and _id(kept.contact_id) is None:
                raise Refused("unsupported", _OF_A_FILE if _of_file(kept) else _CHANGED)
        except Refused as e:
            return fail(e)

        async def write() -> Contact:
            (found, _) = await self._write(person, (kept,))
            if found is None:
                raise Refused("unsupported", _CHANGED)
            await self._read_back(person)
            return evolve(kept, contact_id=str(found))

        return self._alone(person, write)

    def remove(self, person: str, contact_id: str) -> Deferred[bool]:
        """See `Contacts.remove`."""
        number = _id(contact_id)
        if number is None:
            if contact_id.startswith("file:"):
                return fail(Refused("unsupported", _OF_A_FILE))
            number = -1

        async def write() -> bool:
            (gone,) = await self._write(person, (), (number,))
            await self._read_back(person)
            return bool(gone)

        return self._alone(person, write)

    async def _write(
        self, person: str, put: tuple[Contact, ...], removed: tuple[int, ...] = ()
    ) -> list[int | None]:
        change = _Change(person, put, removed, self._now_ms())
        found = await self._store.write(self._contacts, change)
        if isinstance(found, _Full):
            raise Refused(
                "unsupported",
                f"An address book has {MOST_CONTACTS} contacts at most; remove some first.",
            )
        ids: list[int | None] = found
        return ids

    async def _read_back(self, person: str) -> None:
        self._shelf.put_own(person, await self._store.read(contacts_txn, person))

    # -- vCards ----------------------------------------------------------------------------------

    def import_vcards(self, person: str, text: str) -> Deferred[tuple[int, int, list[str]]]:
        """See `Contacts.import_vcards`."""
        if len(text) > _LONGEST_IMPORT:
            return fail(Refused("too-long", "The file has more than 8 MiB; import it in parts."))
        if person in self._importing:
            # What waits would be held in memory, and most of it is the same file once more.
            return fail(
                TemporaryFailure("throttled", "A file is being imported; wait for its end.")
            )

        async def write() -> tuple[int, int, list[str]]:
            cards: Cards = await self._in_thread(
                read_cards, text.removeprefix("\ufeff"), self._country(person), MOST_CONTACTS
            )
            if not cards.contacts and not cards.skipped:
                raise Refused("empty", "There is no contact in this file; is it a vCard file?")
            own = await self._store.read(contacts_txn, person)
            added, known, changed = await self._in_thread(_compared, own, cards.contacts)
            if len(own) + len(added) > MOST_CONTACTS:
                raise Refused(
                    "unsupported",
                    f"An address book has {MOST_CONTACTS} contacts at most; with this file it "
                    f"would have {len(own) + len(added)}.",
                )
            try:
                for part in _parts((*added, *changed)):
                    await self._write(person, part)
            finally:
                await self._read_back(person)
            return len(added), known, list(cards.skipped)

        def over(result: Any) -> Any:
            self._importing.discard(person)
            return result

        self._importing.add(person)
        return self._alone(person, write).addBoth(over)

    def export_vcards(self, person: str) -> Deferred[str]:
        """See `Contacts.export_vcards`."""
        return self.all(person).addCallback(lambda found: self._in_thread(write_cards, found))

    # -- blocked numbers -------------------------------------------------------------------------

    def blocked(self, person: str) -> Deferred[Sequence[tuple[str, int]]]:
        """See `Contacts.blocked`."""
        return self._store.read(blocked_txn, person)

    def block(self, person: str, number: str, blocked: bool) -> Deferred[bool]:
        """See `Contacts.block`."""
        # As texts from the network are read, so that names of senders can be blocked as well.
        sender = parse_sender(storable(number), self._country(person))
        if not sender or len(sender) > _LONGEST_NUMBER:
            return fail(
                Refused("invalid-number", "Name the number or sender that is to be blocked.")
            )

        async def write() -> bool:
            change = _Block(person, sender, blocked, self._now_ms())
            changed = await self._store.write(self._blocks, change)
            if isinstance(changed, _Full):
                raise Refused(
                    "unsupported", f"{_MOST_BLOCKED} numbers can be blocked at most; free some."
                )
            now = await self._store.read(blocked_txn, person)
            self._shelf.put_blocked(person, frozenset(each for each, _ in now))
            return bool(changed)

        return self._alone(person, write)


def _id(text: str) -> int | None:
    """Return the number of an entry's id; None if it is none of ours."""
    return int(text) if text.isascii() and text.isdigit() and len(text) < 19 else None


def _of_file(contact: Contact) -> bool:
    return contact.contact_id.startswith("file:")


def _parts(entries: Sequence[Contact]) -> Iterable[tuple[Contact, ...]]:
    for start in range(0, len(entries), _AT_ONCE):
        yield tuple(entries[start : start + _AT_ONCE])


def _compared(
    own: Sequence[Contact], cards: Sequence[Contact]
) -> tuple[list[Contact], int, list[Contact]]:
    """
    Compare the cards of a file with what is there.

    Returns the new ones, how many were known (the same name and a number in common), and those
    that are others now because a card adds something.
    """
    entries = [_Entry(place, contact, contact) for place, contact in enumerate(own)]
    # Thousands may have one name, so they are looked up by each of their numbers, too.
    known_by: dict[tuple[str, str], _Entry] = {}
    for entry in entries:
        entry.index(known_by)
    known = 0
    for card in cards:
        same = [known_by[each] for each in _keys(card) if each in known_by]
        if same:
            known += 1
            entry = min(same, key=lambda each: each.place)
            entry.contact = _merged(entry.contact, card)
        else:
            entry = _Entry(len(entries), card, None)
            entries.append(entry)
        entry.index(known_by)
    return (
        [entry.contact for entry in entries if entry.before is None],
        known,
        [e.contact for e in entries if e.before is not None and e.contact != e.before],
    )


@define
class _Entry:
    """A contact as it is to be, and as it was before; None for a new one."""

    place: int
    contact: Contact
    before: Contact | None

    def index(self, known_by: dict[tuple[str, str], _Entry]) -> None:
        """Let it be found by its name and each of its numbers; who came first is found first."""
        for key in _keys(self.contact):
            known = known_by.setdefault(key, self)
            if self.place < known.place:
                known_by[key] = self


def _keys(contact: Contact) -> Iterable[tuple[str, str]]:
    return ((contact.name, number) for number, _ in contact.numbers)


def _merged(contact: Contact, card: Contact) -> Contact:
    """Return a contact with what a card adds; nothing is taken away."""
    numbers = {**dict(card.numbers), **dict(contact.numbers)}
    order = dict.fromkeys((*dict(contact.numbers), *dict(card.numbers)))
    note = contact.note
    if card.note and card.note not in note:
        note = f"{note}\n{card.note}".strip()
        if len(note) > LONGEST_NOTE:
            note = contact.note
    return evolve(
        contact,
        numbers=tuple((number, numbers[number]) for number in order)[:MOST_NUMBERS],
        groups=tuple(sorted({*contact.groups, *card.groups}))[:MOST_GROUPS],
        note=note,
    )
