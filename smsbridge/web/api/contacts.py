"""Operations on a person's address book, its groups, vCard files, and blocked numbers."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated, Any, Final, Literal

from attrs import define, evolve
from pydantic import Field
from typing_extensions import TypedDict

from smsbridge.core.book import Contact
from smsbridge.core.threads import Viewer
from smsbridge.web.access.caller import Scope
from smsbridge.web.api import shapes
from smsbridge.web.api.backend import Backend
from smsbridge.web.api.cursor import links, place_of
from smsbridge.web.api.messages import as_number
from smsbridge.web.api.operation import ApiError, Arguments, Body, Call, Raw, operation
from smsbridge.web.api.shapes import ContactResource, Many, One, Page, Shapes
from smsbridge.web.shapes import instant

__all__ = ["Contacts"]

_TAG: Final = "contacts"
_VCARD: Final = "text/vcard"
_MOST_BYTES: Final = 8 * 1024 * 1024
_Name = Annotated[str, Field(max_length=100)]


class Member(TypedDict):
    """A contact of a group, by its first number."""

    contact: str
    name: str
    number: str


class GroupAttributes(TypedDict):
    """Who is in a group."""

    members: list[Member]


class GroupResource(TypedDict):
    """A group of contacts; its id is the handle, written as ``@id`` among recipients."""

    type: Literal["group"]
    id: str
    attributes: GroupAttributes


class BlockAttributes(TypedDict):
    """Since when a number is blocked."""

    name: str
    blocked_at: str | None


class BlockResource(TypedDict):
    """A blocked number; its id is the number."""

    type: Literal["block"]
    id: str
    attributes: BlockAttributes


class ImportCounts(TypedDict):
    """What became of the cards of a file."""

    added: int
    updated: int
    skipped: list[str]


class Imported(TypedDict):
    """What became of the cards of a file."""

    meta: ImportCounts


class ContactArguments(Arguments):
    """Which contacts to list."""

    q: Annotated[str, Field(max_length=200, description="Of the name or a number.")] = ""
    limit: Annotated[int, Field(ge=1, le=200)] = 50
    cursor: Annotated[str, Field(max_length=200)] = ""


class Number(Body):
    """A number of a contact."""

    number: Annotated[str, Field(min_length=1, max_length=64)]
    label: Annotated[str, Field(max_length=32)] = ""


_Numbers = Annotated[list[Number], Field(max_length=50)]
_Groups = Annotated[list[Annotated[str, Field(min_length=1, max_length=64)]], Field(max_length=50)]
_Note = Annotated[str, Field(max_length=2000)]


class NewContact(Body):
    """A contact to be added."""

    name: Annotated[_Name, Field(min_length=1)]
    numbers: _Numbers = []
    groups: _Groups = []
    note: _Note = ""


class ContactChange(Body):
    """What to change of a contact; what is left out stays."""

    name: Annotated[str | None, Field(min_length=1, max_length=100)] = None
    numbers: _Numbers | None = None
    groups: _Groups | None = None
    note: _Note | None = None


@define
class Contacts:
    """The operations."""

    _backend: Backend
    _shapes: Shapes

    @operation(
        "GET",
        "/contacts",
        scope=Scope.READ,
        tag=_TAG,
        query=ContactArguments,
        answer=Page[ContactResource],
    )
    async def listed(self, call: Call[None]) -> Any:
        """List contacts by name; those of the vCard file of the configuration are among them."""
        query = call.query
        place = place_of(query.cursor)
        typed = query.q.casefold().split()
        found = [
            each
            for each in await self._backend.contacts.all(call.caller.label)
            if all(_has(each, word) for word in typed)
        ]
        # What ended the page before may be gone or renamed by now; then the list begins anew.
        ids = [each.contact_id for each in found]
        start = ids.index(place) + 1 if place in ids else 0
        page = found[start : start + query.limit]
        more = start + query.limit < len(found)
        return {
            "data": [shapes.contact(each) for each in page],
            "links": links(call.request, query, page[-1].contact_id if more else ""),
        }

    @operation(
        "POST",
        "/contacts",
        scope=Scope.MANAGE,
        tag=_TAG,
        body=NewContact,
        answer=One[ContactResource],
        status=201,
        statuses=(422,),
    )
    async def add(self, call: Call[NewContact]) -> Any:
        """Add a contact."""
        asked = call.body
        kept = await self._backend.contacts.put(
            call.caller.label,
            Contact(
                name=asked.name,
                numbers=_pairs(asked.numbers),
                groups=tuple(asked.groups),
                note=asked.note,
            ),
        )
        self._backend.live.contacts_changed(call.caller.label)
        return {"data": shapes.contact(kept)}

    @operation(
        "GET",
        "/contacts/<contact_id>",
        scope=Scope.READ,
        tag=_TAG,
        answer=One[ContactResource],
        statuses=(404,),
    )
    async def one(self, call: Call[None], contact_id: str) -> Any:
        """Show a contact."""
        return {"data": shapes.contact(await self._known(call, contact_id))}

    @operation(
        "PATCH",
        "/contacts/<contact_id>",
        scope=Scope.MANAGE,
        tag=_TAG,
        body=ContactChange,
        answer=One[ContactResource],
        statuses=(404, 409, 422),
    )
    async def change(self, call: Call[ContactChange], contact_id: str) -> Any:
        """Change a contact."""
        known, asked = await self._own(call, contact_id), call.body
        kept = await self._backend.contacts.put(
            call.caller.label,
            evolve(
                known,
                name=known.name if asked.name is None else asked.name,
                numbers=known.numbers if asked.numbers is None else _pairs(asked.numbers),
                groups=known.groups if asked.groups is None else tuple(asked.groups),
                note=known.note if asked.note is None else asked.note,
            ),
        )
        self._backend.live.contacts_changed(call.caller.label)
        return {"data": shapes.contact(kept)}

    @operation(
        "DELETE", "/contacts/<contact_id>", scope=Scope.MANAGE, tag=_TAG, statuses=(404, 409)
    )
    async def remove(self, call: Call[None], contact_id: str) -> None:
        """Remove a contact."""
        await self._own(call, contact_id)
        if not await self._backend.contacts.remove(call.caller.label, contact_id):
            raise _no_contact()
        self._backend.live.contacts_changed(call.caller.label)

    @operation("GET", "/groups", scope=Scope.READ, tag=_TAG, answer=Many[GroupResource])
    async def groups(self, call: Call[None]) -> Any:
        """List the groups of contacts; a text to ``@handle`` goes to all members."""
        members: dict[str, list[Member]] = {}
        for contact in await self._backend.contacts.all(call.caller.label):
            for handle in contact.groups if contact.numbers else ():
                members.setdefault(handle, []).append(
                    {
                        "contact": contact.contact_id,
                        "name": contact.name,
                        "number": contact.numbers[0][0],
                    }
                )
        return {
            "data": [
                {"type": "group", "id": handle, "attributes": {"members": those}}
                for handle, those in sorted(members.items())
            ]
        }

    @operation(
        "POST",
        "/contacts/import",
        scope=Scope.MANAGE,
        tag=_TAG,
        body_type=_VCARD,
        most_bytes=_MOST_BYTES,
        answer=Imported,
        status=200,
        statuses=(413, 422, 503),
    )
    async def bring(self, call: Call[bytes | Path]) -> Any:
        """Take over the cards of a vCard file, which is the body of the request."""
        data = call.body.read_bytes() if isinstance(call.body, Path) else call.body
        added, updated, skipped = await self._backend.contacts.import_vcards(
            call.caller.label, _decoded(data)
        )
        self._backend.live.contacts_changed(call.caller.label)
        return {"meta": {"added": added, "updated": updated, "skipped": skipped}}

    @operation("GET", "/contacts/export", scope=Scope.READ, tag=_TAG, answer_type=_VCARD)
    async def take(self, call: Call[None]) -> Raw:
        """Get all contacts as a vCard file."""
        text = await self._backend.contacts.export_vcards(call.caller.label)
        return Raw(
            f"{_VCARD}; charset=utf-8",
            text.encode("utf-8", "replace"),
            {"Content-Disposition": 'attachment; filename="contacts.vcf"'},
        )

    @operation("GET", "/blocks", scope=Scope.READ, tag=_TAG, answer=Many[BlockResource])
    async def blocks(self, call: Call[None]) -> Any:
        """List the numbers that the person blocked."""
        viewer = call.caller.viewer(self._backend.world)
        return {
            "data": [
                self._block(number, at_ms, viewer)
                for number, at_ms in await self._backend.contacts.blocked(viewer.person)
            ]
        }

    @operation(
        "PUT",
        "/blocks/<number>",
        scope=Scope.MANAGE,
        tag=_TAG,
        answer=One[BlockResource],
        statuses=(422,),
    )
    async def block(self, call: Call[None], number: str) -> Any:
        """
        Block a number: its texts are kept, but reach none of the person's devices.

        Others who share the line get them as before.
        """
        viewer = call.caller.viewer(self._backend.world)
        known = as_number(number, self._shapes.country(viewer))
        await self._backend.contacts.block(viewer.person, known, True)
        self._backend.live.contacts_changed(viewer.person)
        times = dict(await self._backend.contacts.blocked(viewer.person))
        return {"data": self._block(known, times.get(known), viewer)}

    @operation("DELETE", "/blocks/<number>", scope=Scope.MANAGE, tag=_TAG, statuses=(404, 422))
    async def unblock(self, call: Call[None], number: str) -> None:
        """Block a number no longer."""
        viewer = call.caller.viewer(self._backend.world)
        known = as_number(number, self._shapes.country(viewer))
        if not await self._backend.contacts.block(viewer.person, known, False):
            raise ApiError(404, "not-found", "This number is not blocked.")
        self._backend.live.contacts_changed(viewer.person)

    # -- how -------------------------------------------------------------------------------------

    async def _known(self, call: Call[Any], contact_id: str) -> Contact:
        for each in await self._backend.contacts.all(call.caller.label):
            if each.contact_id == contact_id:
                return each
        raise _no_contact()

    async def _own(self, call: Call[Any], contact_id: str) -> Contact:
        known = await self._known(call, contact_id)
        if known.contact_id.startswith("file:"):
            raise ApiError(
                409,
                "not-permitted",
                "This contact is in a file of the operator's and can be changed only there.",
            )
        return known

    def _block(self, number: str, at_ms: int | None, viewer: Viewer) -> BlockResource:
        return {
            "type": "block",
            "id": number,
            "attributes": {
                "name": self._shapes.book(viewer).names.get(number, ""),
                "blocked_at": instant(at_ms),
            },
        }


def _has(contact: Contact, word: str) -> bool:
    digits = "".join(each for each in word if each.isdigit())
    return (
        word in contact.name.casefold()
        or any(word.removeprefix("@") == handle.casefold() for handle in contact.groups)
        or (len(digits) > 2 and any(digits in number for number, _ in contact.numbers))
    )


def _pairs(numbers: list[Number]) -> tuple[tuple[str, str], ...]:
    return tuple((each.number, each.label) for each in numbers)


def _decoded(data: bytes) -> str:
    """Return the text of a file whose charset nobody tells; old telephones wrote Latin-1."""
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError:
        return data.decode("latin-1")


def _no_contact() -> ApiError:
    return ApiError(404, "not-found", "There is no such contact of yours.")
