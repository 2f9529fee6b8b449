"""
Says what the bridge and the numbers behind it are: discovery, capabilities, version, time, cards.

What an entity announces is a frozen value; the verification string that stands in its presence and
the answer to the query for it come from the same value (XEP-0030, XEP-0115).  What cannot be done
on a phone is not announced, so that clients hide the buttons for it.  Who may ask is decided
elsewhere.
"""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterable
from functools import cached_property
from typing import Final

from attrs import field, frozen
from twisted.words.xish import domish

from smsbridge.gateways.xmpp.conditions import Condition
from smsbridge.gateways.xmpp.stanzas import escape, iq_error, iq_result, stamp

__all__ = [
    "CAPS_NODE",
    "NUMBER",
    "PERSON",
    "UNANSWERABLE",
    "Entity",
    "Identity",
    "answer",
    "gateway",
    "payload_of",
    "vcard",
]

NS_COMMANDS: Final = "http://jabber.org/protocol/commands"
NS_DISCO_INFO: Final = "http://jabber.org/protocol/disco#info"
NS_DISCO_ITEMS: Final = "http://jabber.org/protocol/disco#items"
NS_PING: Final = "urn:xmpp:ping"
NS_TIME: Final = "urn:xmpp:time"
NS_VCARD: Final = "vcard-temp"
NS_VERSION: Final = "jabber:iq:version"

#: Names our software in the capabilities of a presence.
CAPS_NODE: Final = "urn:smsbridge:caps"

_NOT_FOUND = Condition("cancel", "item-not-found")


def _attribute(text: str) -> str:
    return escape(text).replace("'", "&apos;")


@frozen(order=True)
class Identity:
    """What kind of thing an entity is; see the XMPP Registrar's list of categories and types."""

    category: str
    type: str
    name: str = ""


def _sorted_identities(identities: Iterable[Identity]) -> tuple[Identity, ...]:
    return tuple(sorted(identities))


def _sorted_features(features: Iterable[str]) -> tuple[str, ...]:
    return tuple(sorted(set(features)))


@frozen(slots=False)
class Entity:
    """What an entity announces."""

    identities: tuple[Identity, ...] = field(converter=_sorted_identities)
    features: tuple[str, ...] = field(converter=_sorted_features)

    @cached_property
    def version(self) -> str:
        """The verification string (XEP-0115, 5.1)."""
        parts = [f"{i.category}/{i.type}//{i.name}<" for i in self.identities]
        parts += [f"{feature}<" for feature in self.features]
        digest = hashlib.sha1("".join(parts).encode("utf-8"), usedforsecurity=False).digest()
        return base64.b64encode(digest).decode("ascii")

    @cached_property
    def caps(self) -> tuple[str, str]:
        """Node and verification string, as `stanzas.presence` wants them."""
        return CAPS_NODE, self.version

    def info(self, node: str = "") -> str:
        """Return the result of a disco#info query."""
        node_attribute = f" node='{_attribute(node)}'" if node else ""
        identities = "".join(
            f"<identity category='{i.category}' type='{i.type}'"
            + (f" name='{_attribute(i.name)}'/>" if i.name else "/>")
            for i in self.identities
        )
        features = "".join(f"<feature var='{_attribute(f)}'/>" for f in self.features)
        return f"<query xmlns='{NS_DISCO_INFO}'{node_attribute}>{identities}{features}</query>"


_EVERYBODY = (NS_DISCO_INFO, NS_DISCO_ITEMS, NS_PING, NS_VCARD, NS_VERSION, NS_TIME)

#: A number or a group.
NUMBER: Final = Entity(
    (Identity("client", "sms"),),
    (*_EVERYBODY, "urn:xmpp:receipts", "jabber:x:oob", "urn:xmpp:message-correct:0"),
)
#: A sender that cannot be written to: a name, or a withheld number.
UNANSWERABLE: Final = Entity((Identity("client", "sms"),), _EVERYBODY)
#: Somebody who uses the bridge by another road.
PERSON: Final = Entity(
    (Identity("client", "pc"),), (*_EVERYBODY, "urn:xmpp:receipts", "jabber:x:oob")
)


def gateway(name: str, features: Iterable[str] = ()) -> Entity:
    """
    Return what the bridge itself announces.

    :param features: what it can beyond commands, the prompt for a number and the usual queries,
        such as ``jabber:iq:register`` or ``http://jabber.org/protocol/address``.
    """
    return Entity(
        (Identity("gateway", "sms", name),),
        (*_EVERYBODY, NS_COMMANDS, "jabber:iq:gateway", *features),
    )


def payload_of(request: domish.Element) -> tuple[str, str, str]:
    """Return namespace, name and node of what an iq holds; empty texts if it holds nothing."""
    for child in request.children:
        if isinstance(child, domish.Element):
            node = child.attributes.get("node")
            return child.uri or "", child.name, node if isinstance(node, str) else ""
    return "", "", ""


def answer(
    request: domish.Element,
    entity: Entity,
    *,
    software: str,
    version: str,
    at_ms: int,
    items: Iterable[tuple[str, str, str]] = (),
    items_node: str = "",
    card: str = "",
) -> str | None:
    """
    Answer an iq get about what an entity is; None if it asks for something else.

    :param at_ms: the time now, in milliseconds since 1970 UTC.
    :param items: JID, node and name of what stands under `items_node`.
    :param items_node: the node that has items: none, or that of the ad-hoc commands.
    :param card: the entity's card, as `vcard` builds it.
    """
    if request.getAttribute("type") != "get":
        return None
    namespace, name, node = payload_of(request)
    match namespace, name:
        case "http://jabber.org/protocol/disco#info", "query":
            if node and node != f"{CAPS_NODE}#{entity.version}":
                return iq_error(request, _NOT_FOUND)
            return iq_result(request, entity.info(node))
        case "http://jabber.org/protocol/disco#items", "query":
            return _items(request, node, items, items_node)
        case "urn:xmpp:ping", "ping":
            return iq_result(request)
        case "jabber:iq:version", "query":
            return iq_result(
                request,
                f"<query xmlns='{NS_VERSION}'><name>{escape(software)}</name>"
                f"<version>{escape(version)}</version></query>",
            )
        case "urn:xmpp:time", "time":
            return iq_result(
                request,
                f"<time xmlns='{NS_TIME}'><tzo>+00:00</tzo><utc>{stamp(at_ms)}</utc></time>",
            )
        case "vcard-temp", "vCard":
            return iq_result(request, card or f"<vCard xmlns='{NS_VCARD}'/>")
    return None


def _items(
    request: domish.Element, node: str, items: Iterable[tuple[str, str, str]], items_node: str
) -> str:
    if node not in ("", items_node):
        return iq_error(request, _NOT_FOUND)
    listed = "".join(
        f"<item jid='{_attribute(jid)}'"
        + (f" node='{_attribute(item_node)}'" if item_node else "")
        + (f" name='{_attribute(name)}'/>" if name else "/>")
        for jid, item_node, name in (items if node == items_node else ())
    )
    node_attribute = f" node='{_attribute(node)}'" if node else ""
    return iq_result(request, f"<query xmlns='{NS_DISCO_ITEMS}'{node_attribute}>{listed}</query>")


def vcard(full_name: str, *, number: str = "", description: str = "", url: str = "") -> str:
    """Return a card (XEP-0054) of a number, or of the bridge."""
    parts = [f"<FN>{escape(full_name)}</FN>"]
    if number:
        parts.append(f"<TEL><CELL/><NUMBER>{escape(number)}</NUMBER></TEL>")
    if url:
        parts.append(f"<URL>{escape(url)}</URL>")
    if description:
        parts.append(f"<DESC>{escape(description)}</DESC>")
    return f"<vCard xmlns='{NS_VCARD}'>{''.join(parts)}</vCard>"
