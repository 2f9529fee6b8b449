"""
Turns questions into data forms and filled forms into values (XEP-0004), as far as we ask any.

A form that we send has ``type='form'`` and fields; the client sends it back with ``type='submit'``
and the values alone, which are taken by the names of the fields.  What we found is shown as a form
of ``type='result'``.  Tables (``reported``, ``item``) and media are not used.  What a client may
send is bounded: 64 fields, 200 values, 20,000 characters in all.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Final

from attrs import frozen
from twisted.words.xish import domish

from smsbridge.gateways.xmpp.stanzas import scrub

__all__ = ["NS_DATA", "Field", "FormError", "find", "form", "read", "result"]

NS_DATA: Final = "jabber:x:data"

_MOST_FIELDS: Final = 64
_MOST_VALUES: Final = 200
_MOST_CHARACTERS: Final = 20_000


class FormError(ValueError):
    """Not a form that was filled in; the text says why."""


@frozen(kw_only=True)
class Field:
    """
    One question.

    :ivar kind: a field type of XEP-0004, such as text-single, text-multi, text-private,
        list-single, list-multi, hidden.
    :ivar values: what is filled in already.
    :ivar options: (value, label) to choose from.
    :ivar hint: a sentence that clients show beside the field.
    """

    name: str
    kind: str = "text-single"
    label: str = ""
    values: tuple[str, ...] = ()
    options: tuple[tuple[str, str], ...] = ()
    required: bool = False
    hint: str = ""


def form(
    title: str, instructions: str, fields: Iterable[Field], *, form_type: str = ""
) -> domish.Element:
    """
    Build a form to be filled in.

    :param form_type: the namespace that defines the names of the fields (XEP-0068), if one does.
    """
    element = _started("form", title, instructions)
    if form_type:
        _add_field(element, Field(name="FORM_TYPE", kind="hidden", values=(form_type,)))
    for field in fields:
        _add_field(element, field)
    return element


def result(title: str, name: str, lines: Iterable[str]) -> domish.Element:
    """Build a form that shows lines of text and asks nothing."""
    element = _started("result", title, "")
    _add_field(element, Field(name=name, kind="text-multi", values=tuple(lines)))
    return element


def _started(kind: str, title: str, instructions: str) -> domish.Element:
    element = domish.Element((NS_DATA, "x"))
    element["type"] = kind
    if title:
        element.addElement("title", content=scrub(title))
    if instructions:
        element.addElement("instructions", content=scrub(instructions))
    return element


def _add_field(element: domish.Element, field: Field) -> None:
    child = element.addElement("field")
    child["type"], child["var"] = field.kind, field.name
    if field.label:
        child["label"] = scrub(field.label)
    if field.hint:
        child.addElement("desc", content=scrub(field.hint))
    if field.required:
        child.addElement("required")
    for value in field.values:
        child.addElement("value", content=scrub(value))
    for value, label in field.options:
        option = child.addElement("option")
        option["label"] = scrub(label)
        option.addElement("value", content=scrub(value))


def find(parent: domish.Element) -> domish.Element | None:
    """Return the form among an element's children, None if there is none."""
    for child in _children(parent):
        if child.uri == NS_DATA and child.name == "x":
            return child
    return None


def read(element: domish.Element) -> Mapping[str, tuple[str, ...]]:
    """
    Return the values of a filled form by the names of its fields; a canceled form has none.

    :raises FormError: it is not filled in, or too large.
    """
    kind = element.attributes.get("type")
    if kind == "cancel":
        return {}
    if kind != "submit":
        raise FormError("The form is not filled in; its type must be submit.")
    found: dict[str, tuple[str, ...]] = {}
    values = characters = 0
    for field in _children(element):
        if field.name != "field" or field.uri != NS_DATA:
            continue
        name = field.attributes.get("var")
        if not isinstance(name, str) or not name:
            continue
        taken = tuple(
            "".join(part for part in value.children if isinstance(part, str))
            for value in _children(field)
            if value.name == "value" and value.uri == NS_DATA
        )
        values += len(taken)
        characters += len(name) + sum(map(len, taken))
        found[name] = taken
        if len(found) > _MOST_FIELDS or values > _MOST_VALUES or characters > _MOST_CHARACTERS:
            raise FormError("The form is too large.")
    return found


def _children(element: domish.Element) -> Iterator[domish.Element]:
    for child in element.children:
        if isinstance(child, domish.Element):
            yield child
