"""
Builds the answers to iqs as trees, for those that carry forms; the plain ones are text, see
`stanzas`.
"""

from __future__ import annotations

from twisted.words.xish import domish

from smsbridge.gateways.xmpp.conditions import Condition
from smsbridge.gateways.xmpp.stanzas import NS_STANZAS, scrub

__all__ = ["Denied", "error", "result"]


class Denied(Exception):
    """
    An iq is answered with an error.

    :ivar detail: namespace and name of an element of the protocol's own beside the condition.
    """

    def __init__(
        self, kind: str, condition: str, text: str = "", detail: tuple[str, str] | None = None
    ) -> None:
        super().__init__(text or condition)
        self.condition = Condition(kind, condition, text)
        self.detail = detail


def _reply(request: domish.Element, kind: str) -> domish.Element:
    element = domish.Element((None, "iq"))
    element["type"] = kind
    for ours, theirs in (("from", "to"), ("to", "from"), ("id", "id")):
        value = request.attributes.get(theirs)
        if isinstance(value, str):
            element[ours] = value
    return element


def result(request: domish.Element, payload: domish.Element | None = None) -> domish.Element:
    """Build the result of an iq."""
    element = _reply(request, "result")
    if payload is not None:
        element.addChild(payload)
    return element


def error(request: domish.Element, denied: Denied) -> domish.Element:
    """Build the refusal of an iq."""
    element = _reply(request, "error")
    condition = denied.condition
    child = element.addElement("error")
    child["type"] = condition.type
    child.addElement((NS_STANZAS, condition.condition))
    if condition.text:
        text = child.addElement((NS_STANZAS, "text"), content=scrub(condition.text))
        text[("http://www.w3.org/XML/1998/namespace", "lang")] = "en"
    if denied.detail is not None:
        child.addElement(denied.detail)
    return element
