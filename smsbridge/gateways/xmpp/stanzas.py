"""
Turns what the bridge wants to say into XMPP stanzas, and received messages into frozen events.

Stanzas towards the server are text, built by formatting and not through a tree: a burst of texts
must not cost more than a few microseconds each.  They carry no namespace of their own, so they
belong to the stream's ``jabber:component:accept`` (XEP-0114).  All text is escaped, and characters
that XML 1.0 cannot carry are replaced by U+FFFD: one control character in one text would end the
stream for everybody.

Received ``<message/>`` elements become exactly one of: `Text`, `Reaction`, `Retraction`, `Receipt`,
`ErrorBounce`, `Privileges`, `Refused` (answer it with an error) or `Ignored` (answer nothing).
What an element may hold: RFC 6121 (body, subject, thread, type), XEP-0033 (several addressees),
0066 / 0385 / 0447 (attachments), 0184 (receipts), 0308 (corrections), 0333 (markers), 0356
(privileges), 0359 (origin id), 0424 (retractions), 0428 and 0461 (replies with a quote as
fallback), 0444 (reactions).  Encrypted messages (0027, 0364, 0373, 0384) are refused, never passed
on with their "I sent you an encrypted message" stand-in.

This module knows no stream, no store and no addresses beyond their text.  Decoding never raises.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from datetime import UTC, datetime
from typing import Final
from xml.parsers import expat

from attrs import field, frozen
from twisted.words.xish import domish

from smsbridge.gateways.xmpp.conditions import Condition

__all__ = [
    "Addressee",
    "Attachment",
    "ErrorBounce",
    "Event",
    "Ignored",
    "Privileges",
    "Reaction",
    "Receipt",
    "Refused",
    "Retraction",
    "Text",
    "chat_message",
    "decode_bounce",
    "decode_message",
    "error_reply",
    "escape",
    "iq",
    "iq_error",
    "iq_result",
    "is_well_formed",
    "note",
    "presence",
    "presence_error",
    "quoted",
    "receipt",
    "scrub",
    "split_body",
    "stamp",
]

NS_ADDRESS: Final = "http://jabber.org/protocol/address"
NS_CAPS: Final = "http://jabber.org/protocol/caps"
NS_CORRECT: Final = "urn:xmpp:message-correct:0"
NS_ERRORS: Final = "urn:smsbridge:errors:0"
NS_HINTS: Final = "urn:xmpp:hints"
NS_NICK: Final = "http://jabber.org/protocol/nick"
NS_OOB: Final = "jabber:x:oob"
NS_REACTIONS: Final = "urn:xmpp:reactions:0"
NS_RECEIPTS: Final = "urn:xmpp:receipts"
NS_REPLY: Final = "urn:xmpp:reply:0"
NS_SFS: Final = "urn:xmpp:sfs:0"
NS_SID: Final = "urn:xmpp:sid:0"
NS_STANZAS: Final = "urn:ietf:params:xml:ns:xmpp-stanzas"
NS_XML: Final = "http://www.w3.org/XML/1998/namespace"

#: Bodies above this size in bytes are split by `split_body`: servers cut the stream at 256 or 512
#: KiB.
MAX_BODY_BYTES: Final = 60_000

# ------------------------------------------------------------------ writing

# What XML 1.0 cannot carry (its production "Char", inverted), lone surrogates included.
_FORBIDDEN = re.compile("[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSAFE = re.compile("[^\t\n\x20-\x25\x27-\x3b\x3d\x3f-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
_UNSAFE_IN_ATTRIBUTE = re.compile(
    "[^\x20\x21\x23-\x25\x28-\x3b\x3d\x3f-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]"
)


def scrub(text: str) -> str:
    """Replace what XML 1.0 cannot carry by U+FFFD; safe on text and on whole stanzas."""
    return _FORBIDDEN.sub("\ufffd", text)


def escape(text: str) -> str:
    """
    Make text fit for the content of an element.

    Line ends become LF, as every XML parser would read them (XML 1.0, 2.11).
    """
    if _UNSAFE.search(text) is None:
        return text
    if "\r" in text:
        text = text.replace("\r\n", "\n").replace("\r", "\n")
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    return _FORBIDDEN.sub("\ufffd", text)


def quoted(text: str) -> str:
    """Make text fit for an attribute in single quotes."""
    if _UNSAFE_IN_ATTRIBUTE.search(text) is None:
        return text
    text = text.replace("&", "&amp;").replace("<", "&lt;").replace(">", "&gt;")
    text = text.replace("'", "&apos;").replace('"', "&quot;")
    text = text.replace("\t", "&#9;").replace("\n", "&#10;").replace("\r", "&#13;")
    return _FORBIDDEN.sub("\ufffd", text)


def stamp(at_ms: int) -> str:
    """Print a time (milliseconds since 1970 UTC) as XEP-0082 wants it, to the second."""
    return datetime.fromtimestamp(at_ms / 1000, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")


def chat_message(
    to: str,
    sender: str,
    message_id: str,
    body: str,
    *,
    delayed_at: str = "",
    delayed_by: str = "",
    request_receipt: bool = True,
    nick: str = "",
    oob_url: str = "",
    thread: str = "",
) -> str:
    """
    Build a text for a user; the hot path.

    :param to: the user's bare JID, so that every device and the archive get it.
    :param message_id: the stanza's id and origin id (XEP-0359); the same at every resend.
    :param delayed_at: when the phone network had it, as `stamp` prints it (XEP-0203); empty if
        just now.
    :param delayed_by: the JID that vouches for the delay, usually our domain.
    :param nick: the sender's name (XEP-0172), only if it comes from the user's own address book.
    :param oob_url: an attachment's link (XEP-0066); clients show it only if the body equals it.
    """
    quoted_id = quoted(message_id)
    extra = ""
    if delayed_at:
        stamped = f"from='{quoted(delayed_by)}' stamp='{quoted(delayed_at)}'"
        extra = f"<delay xmlns='urn:xmpp:delay' {stamped}/>"
    if request_receipt:
        extra += "<request xmlns='urn:xmpp:receipts'/>"
    if nick:
        extra += f"<nick xmlns='{NS_NICK}'>{escape(nick)}</nick>"
    if oob_url:
        extra += f"<x xmlns='jabber:x:oob'><url>{escape(oob_url)}</url></x>"
    if thread:
        extra += f"<thread>{escape(thread)}</thread>"
    return (
        f"<message from='{quoted(sender)}' to='{quoted(to)}' type='chat' id='{quoted_id}'>"
        f"<body>{escape(body)}</body><origin-id xmlns='urn:xmpp:sid:0' id='{quoted_id}'/>"
        f"{extra}<store xmlns='urn:xmpp:hints'/></message>"
    )


def note(to: str, sender: str, message_id: str, text: str) -> str:
    """Build a sentence of the bridge itself to a user: kept for an absent user, never receipted."""
    return chat_message(to, sender, message_id, text, request_receipt=False)


def receipt(to: str, sender: str, message_id: str, received_id: str) -> str:
    """
    Build the second tick (XEP-0184): `received_id` has reached the phone.

    :param to: the user's bare JID, so that every device shows it.  The store hint keeps it for
        archives.
    """
    return (
        f"<message from='{quoted(sender)}' to='{quoted(to)}' type='chat'"
        f" id='{quoted(message_id)}'>"
        f"<received xmlns='urn:xmpp:receipts' id='{quoted(received_id)}'/>"
        f"<store xmlns='urn:xmpp:hints'/></message>"
    )


def _error(condition: Condition, *, by: str = "", detail: str = "") -> str:
    name = condition.condition
    by_attribute = f" by='{quoted(by)}'" if by else ""
    text = (
        f"<text xmlns='{NS_STANZAS}' xml:lang='en'>{escape(condition.text)}</text>"
        if condition.text
        else ""
    )
    application = ""
    if condition.reason:
        code = f" code='{quoted(detail)}'" if detail else ""
        application = f"<{condition.reason} xmlns='{NS_ERRORS}'{code}/>"
    return (
        f"<error type='{condition.type}'{by_attribute}><{name} xmlns='{NS_STANZAS}'/>"
        f"{text}{application}</error>"
    )


def error_reply(
    to: str,
    sender: str,
    message_id: str,
    condition: Condition,
    *,
    body: str | None = None,
    by: str = "",
    detail: str = "",
) -> str:
    """
    Build the error that turns the user's message red (RFC 6120, 8.3).

    :param to: the full JID that sent the message.
    :param sender: whom the message was for.
    :param message_id: the id of the message that failed.
    :param body: the text that failed, given back where we still have it.
    :param by: our domain.
    :param detail: the peer's own code, for programs.
    """
    payload = f"<body>{escape(body)}</body>" if body is not None else ""
    id_attribute = f" id='{quoted(message_id)}'" if message_id else ""
    return (
        f"<message from='{quoted(sender)}' to='{quoted(to)}'{id_attribute} type='error'>"
        f"{payload}{_error(condition, by=by, detail=detail)}</message>"
    )


def iq(kind: str, to: str, sender: str, iq_id: str, payload: str = "") -> str:
    """Build an iq; `kind` is get, set or result, `payload` is XML that is well-formed already."""
    head = f"<iq type='{kind}' from='{quoted(sender)}' to='{quoted(to)}' id='{quoted(iq_id)}'"
    return f"{head}>{payload}</iq>" if payload else f"{head}/>"


def _answer_head(request: domish.Element) -> str:
    sender, to = request.getAttribute("to", ""), request.getAttribute("from", "")
    iq_id = request.getAttribute("id", "")
    return f"from='{quoted(sender)}' to='{quoted(to)}' id='{quoted(iq_id)}'"


def iq_result(request: domish.Element, payload: str = "") -> str:
    """Build the result of a received iq get or set."""
    return f"<iq type='result' {_answer_head(request)}>{payload}</iq>"


def iq_error(request: domish.Element, condition: Condition) -> str:
    """Build the refusal of a received iq get or set."""
    return f"<iq type='error' {_answer_head(request)}>{_error(condition)}</iq>"


def presence(
    to: str,
    sender: str,
    kind: str = "",
    *,
    show: str = "",
    status: str = "",
    caps: tuple[str, str] | None = None,
    nick: str = "",
    avatar_hash: str | None = None,
) -> str:
    """
    Build a presence.

    :param kind: empty (available), unavailable, subscribe, subscribed, unsubscribe, unsubscribed,
        probe.
    :param show: away, chat, dnd or xa.
    :param caps: node and verification string (XEP-0115), of available presence only.
    :param nick: the name to be offered for the roster (XEP-0172).
    :param avatar_hash: SHA-1 of the picture in the vCard (XEP-0153), empty for none.
    """
    type_attribute = f" type='{quoted(kind)}'" if kind else ""
    inner = ""
    if show:
        inner += f"<show>{escape(show)}</show>"
    if status:
        inner += f"<status>{escape(status)}</status>"
    if caps is not None:
        node, version = caps
        inner += (
            f"<c xmlns='{NS_CAPS}' hash='sha-1' node='{quoted(node)}' ver='{quoted(version)}'/>"
        )
    if nick:
        inner += f"<nick xmlns='{NS_NICK}'>{escape(nick)}</nick>"
    if avatar_hash is not None:
        inner += f"<x xmlns='vcard-temp:x:update'><photo>{escape(avatar_hash)}</photo></x>"
    head = f"<presence from='{quoted(sender)}' to='{quoted(to)}'{type_attribute}"
    return f"{head}>{inner}</presence>" if inner else f"{head}/>"


def presence_error(to: str, sender: str, condition: Condition, stanza_id: str = "") -> str:
    """Build the refusal of a presence."""
    id_attribute = f" id='{quoted(stanza_id)}'" if stanza_id else ""
    return (
        f"<presence from='{quoted(sender)}' to='{quoted(to)}'{id_attribute} type='error'>"
        f"{_error(condition)}</presence>"
    )


def split_body(text: str, max_bytes: int = MAX_BODY_BYTES) -> list[str]:
    """
    Cut a very long text into pieces that a server takes, at characters and not inside them.

    The size is that of the text as it stands in the stanza, escapes included.
    """
    if len(text) * 6 <= max_bytes:
        return [text]
    pieces: list[str] = []
    piece: list[str] = []
    size = 0
    for character in text:
        cost = len(escape(character).encode("utf-8"))
        if size + cost > max_bytes and piece:
            pieces.append("".join(piece))
            piece, size = [], 0
        piece.append(character)
        size += cost
    if piece:
        pieces.append("".join(piece))
    return pieces


def is_well_formed(xml: bytes) -> bool:
    """Tell whether a server's parser would read these stanzas; for finding a bad one."""
    parser = expat.ParserCreate("UTF-8", " ")
    try:
        parser.Parse(b"<stream xmlns:stream='http://etherx.jabber.org/streams'>", False)
        parser.Parse(xml, False)
        parser.Parse(b"</stream>", True)
    except expat.ExpatError:
        return False
    return True


# ------------------------------------------------------------------ reading


@frozen(kw_only=True)
class Attachment:
    """A file that the user's client has put on a web server."""

    url: str
    media_type: str = ""
    size: int | None = None
    name: str = ""


@frozen
class Addressee:
    """One of several recipients (XEP-0033): `kind` is to, cc or bcc."""

    kind: str
    address: str  # a JID, or a URI such as sms:+12025550123
    delivered: bool = False


@frozen(kw_only=True)
class Text:
    """
    A text to be sent on.

    `body` is what the user typed: the quoted part of a reply and the link of an attachment are
    taken out.  With `replaces_id` it corrects an earlier text, with `reply_to_id` it answers one.
    """

    sender: str  # full JID
    recipient: str
    id: str
    body: str
    origin_id: str = ""
    wants_receipt: bool = False
    markable: bool = False
    replaces_id: str = ""
    reply_to_id: str = ""
    thread: str = ""
    subject: str = ""
    attachments: tuple[Attachment, ...] = ()
    addressees: tuple[Addressee, ...] = ()

    @property
    def dedup_id(self) -> str:
        """What a repeat of this text by the client has in common with it."""
        return self.origin_id or self.id


@frozen(kw_only=True)
class Reaction:
    """The user put these emoji on a message; none means that they were taken back."""

    sender: str
    recipient: str
    id: str
    target_id: str
    emoji: tuple[str, ...]


@frozen(kw_only=True)
class Retraction:
    """The user wants an earlier text taken back."""

    sender: str
    recipient: str
    id: str
    target_id: str


@frozen(kw_only=True)
class Receipt:
    """The user's client has our message `received_id`: the proof of delivery."""

    sender: str
    recipient: str
    received_id: str


@frozen(kw_only=True)
class ErrorBounce:
    """The server, or the user's client, did not take our stanza `id`."""

    sender: str
    recipient: str
    id: str
    type: str  # auth, cancel, continue, modify, wait
    condition: str
    text: str = ""

    @property
    def is_temporary(self) -> bool:
        """Tell whether the same stanza may pass later."""
        return self.type == "wait" or self.condition in (
            "remote-server-not-found",
            "remote-server-timeout",
            "recipient-unavailable",
            "resource-constraint",
        )


@frozen(kw_only=True)
class Privileges:
    """The server says what we may do on behalf of its users (XEP-0356)."""

    server: str
    namespace: str
    permissions: tuple[tuple[str, str], ...]  # (access, type), such as ("roster", "both")


@frozen(kw_only=True)
class Refused:
    """A message that cannot be a text; answer it with `error_reply`."""

    sender: str
    recipient: str
    id: str
    condition: Condition
    body: str | None = None


@frozen
class Ignored:
    """A message that asks for nothing; `why` is for the debug log."""

    why: str
    sender: str = field(default="")


Event = Text | Reaction | Retraction | Receipt | ErrorBounce | Privileges | Refused | Ignored

_REFUSED_TYPES = {
    "groupchat": Condition(
        "modify",
        "not-acceptable",
        "This is not a chat room; write to the number as to a single contact.",
        "unsupported",
    )
}
_ENCRYPTED = Condition(
    "modify",
    "not-acceptable",
    "Phone texts cannot be encrypted; switch encryption off for this contact.",
    "encrypted",
)
_EMPTY = Condition("modify", "policy-violation", "There is nothing to send.", "empty")
_UNREACHABLE_FILE = Condition(
    "modify",
    "not-acceptable",
    "This attachment has no web address; send it as an upload.",
    "media-unsupported",
)

_ENCRYPTED_CHILDREN = {
    ("eu.siacs.conversations.axolotl", "encrypted"),
    ("urn:xmpp:omemo:0", "encrypted"),
    ("urn:xmpp:omemo:1", "encrypted"),
    ("urn:xmpp:omemo:2", "encrypted"),
}
_ENCRYPTED_ALWAYS = {
    ("jabber:x:encrypted", "x"),
    ("urn:xmpp:openpgp:0", "openpgp"),
    ("urn:xmpp:eme:0", "encryption"),
    ("urn:xmpp:sce:1", "envelope"),
}
_FORWARDS = {
    "urn:xmpp:carbons:2",
    "urn:xmpp:forward:0",
    "urn:xmpp:mam:1",
    "urn:xmpp:mam:2",
}
_SILENT = {
    "http://jabber.org/protocol/chatstates": "typing notice",
    "urn:xmpp:chat-markers:0": "read marker",
    "urn:xmpp:jingle-message:0": "call proposal",
    "urn:xmpp:jingle-message:1": "call proposal",
    "jabber:x:conference": "room invitation",
    "http://jabber.org/protocol/muc#user": "room invitation",
    "http://jabber.org/protocol/pubsub#event": "event notification",
    "jabber:x:data": "form",
    "urn:xmpp:attention:0": "attention call",
}
_STANZA_NAMESPACES = {"jabber:component:accept", "jabber:client", "jabber:server", "", None}
# XEP-0364 marks plain texts with this tag of blanks to say that it could speak OTR.
_OTR_TAG = re.compile(
    "\x20\x09\x20\x20\x09\x09\x09\x09\x20\x09\x20\x09\x20\x09\x20\x20(?:[\x20\x09]{8})*"
)


def _children(element: domish.Element) -> Iterator[domish.Element]:
    for child in element.children:
        if isinstance(child, domish.Element):
            yield child


def _text_of(element: domish.Element) -> str:
    return "".join(child for child in element.children if isinstance(child, str))


def _attribute(element: domish.Element, name: str) -> str:
    value = element.attributes.get(name)
    return value if isinstance(value, str) else ""


def _find(element: domish.Element, uri: str, name: str) -> domish.Element | None:
    for child in _children(element):
        if child.name == name and child.uri == uri:
            return child
    return None


def decode_message(element: domish.Element) -> Event:
    """Say what a received ``<message/>`` means; never raises, whatever the tree."""
    sender, recipient = _attribute(element, "from"), _attribute(element, "to")
    stanza_id, kind = _attribute(element, "id"), _attribute(element, "type")
    if kind == "error":
        return decode_bounce(element)
    if kind == "headline":
        return Ignored("headline", sender)

    bodies: list[domish.Element] = []
    extensions: dict[tuple[str | None, str], domish.Element] = {}
    subject = thread = ""
    for child in _children(element):
        if child.uri == element.uri or child.uri in _STANZA_NAMESPACES:
            if child.name == "body":
                bodies.append(child)
            elif child.name == "subject" and not subject:
                subject = _text_of(child)
            elif child.name == "thread" and not thread:
                thread = _text_of(child)
        else:
            extensions.setdefault((child.uri, child.name), child)
    body = _choose_body(bodies)

    def refused(condition: Condition) -> Refused:
        return Refused(
            sender=sender, recipient=recipient, id=stanza_id, condition=condition, body=body
        )

    if kind == "groupchat":
        if body is None:
            return Ignored("groupchat without a body", sender)
        return refused(_REFUSED_TYPES[kind])
    for uri, name in extensions:
        if uri in _FORWARDS:
            return Ignored("forwarded copy", sender)
        if name == "privilege" and uri is not None and uri.startswith("urn:xmpp:privilege:"):
            return _privileges(sender, uri, extensions[uri, name])
    encrypted = _encryption(extensions, body)
    if encrypted is not None:
        return refused(_ENCRYPTED) if encrypted else Ignored("key exchange", sender)
    target = _retracted_id(extensions)
    if target is not None:
        return Retraction(sender=sender, recipient=recipient, id=stanza_id, target_id=target)
    reactions = extensions.get((NS_REACTIONS, "reactions"))
    if reactions is not None:
        emoji = (_text_of(c).strip() for c in _children(reactions) if c.name == "reaction")
        return Reaction(
            sender=sender,
            recipient=recipient,
            id=stanza_id,
            target_id=_attribute(reactions, "id"),
            emoji=tuple(e for e in emoji if e),
        )
    attachments, unusable = _attachments(element)
    if any(a.url.startswith("aesgcm:") for a in attachments):
        return refused(_ENCRYPTED)
    attachments = [a for a in attachments if a.url.startswith(("https:", "http:"))]
    if body is None and not attachments:
        received = extensions.get((NS_RECEIPTS, "received"))
        if received is not None:
            return Receipt(
                sender=sender,
                recipient=recipient,
                received_id=_attribute(received, "id") or stanza_id,
            )
        if unusable:
            return refused(_UNREACHABLE_FILE)
        return Ignored(_silent_kind(extensions), sender)

    text = body or ""
    reply = extensions.get((NS_REPLY, "reply"))
    if reply is not None:
        text = _without_quote(element, text)
    text = _without_links(_OTR_TAG.sub("", text), attachments)
    if not text.strip() and not attachments:
        return refused(_UNREACHABLE_FILE if unusable else _EMPTY)
    origin = extensions.get((NS_SID, "origin-id"))
    replaced = extensions.get((NS_CORRECT, "replace"))
    return Text(
        sender=sender,
        recipient=recipient,
        id=stanza_id,
        body=text,
        origin_id=_attribute(origin, "id") if origin is not None else "",
        wants_receipt=bool(stanza_id) and (NS_RECEIPTS, "request") in extensions,
        markable=("urn:xmpp:chat-markers:0", "markable") in extensions,
        replaces_id=_attribute(replaced, "id") if replaced is not None else "",
        reply_to_id=_attribute(reply, "id") if reply is not None else "",
        thread=thread,
        subject=subject,
        attachments=tuple(attachments),
        addressees=_addressees(extensions.get((NS_ADDRESS, "addresses"))),
    )


def decode_bounce(element: domish.Element) -> ErrorBounce:
    """Read a stanza of type error, of any kind; never raises."""
    kind = condition = text = ""
    # Some servers leave the error in jabber:client on a component's stream, so only the name
    # counts.
    for child in _children(element):
        if child.name != "error":
            continue
        kind = _attribute(child, "type")
        for part in _children(child):
            if part.uri == NS_STANZAS:
                if part.name == "text":
                    text = _text_of(part)
                elif not condition:
                    condition = part.name
    return ErrorBounce(
        sender=_attribute(element, "from"),
        recipient=_attribute(element, "to"),
        id=_attribute(element, "id"),
        type=kind or "cancel",
        condition=condition or "undefined-condition",
        text=text,
    )


def _choose_body(bodies: list[domish.Element]) -> str | None:
    """Take the body without a language, else the first (RFC 6121, 5.2.3)."""
    if not bodies:
        return None
    for body in bodies:
        if not body.attributes.get((NS_XML, "lang")):
            return _text_of(body)
    return _text_of(bodies[0])


def _privileges(sender: str, uri: str, element: domish.Element) -> Event:
    permissions = tuple(
        (_attribute(c, "access"), _attribute(c, "type"))
        for c in _children(element)
        if c.name == "perm"
    )
    if not permissions:
        return Ignored("privileged message without permissions", sender)
    return Privileges(server=sender, namespace=uri, permissions=permissions)


def _encryption(
    extensions: dict[tuple[str | None, str], domish.Element], body: str | None
) -> bool | None:
    """Tell whether this is an encrypted text (True), only keys for one (False) or plain (None)."""
    for key, child in extensions.items():
        if key in _ENCRYPTED_ALWAYS:
            return True
        if key in _ENCRYPTED_CHILDREN:
            has_payload = any(c.name == "payload" for c in _children(child))
            return has_payload or bool(body and body.strip())
    if body is not None:
        start = body.lstrip()
        if start.startswith(("?OTR", "aesgcm://")):
            return True
    return None


def _retracted_id(extensions: dict[tuple[str | None, str], domish.Element]) -> str | None:
    for (uri, name), child in extensions.items():
        if name in ("retract", "moderate") and (uri or "").startswith("urn:xmpp:message-"):
            return _attribute(child, "id")
        if (uri, name) == ("urn:xmpp:fasten:0", "apply-to") and any(
            c.name in ("retract", "moderate") or c.name == "moderated" for c in _children(child)
        ):
            return _attribute(child, "id")
    return None


def _silent_kind(extensions: dict[tuple[str | None, str], domish.Element]) -> str:
    for uri, _ in extensions:
        if uri in _SILENT:
            return _SILENT[uri]
    return "no body"


def _attachments(element: domish.Element) -> tuple[list[Attachment], bool]:
    """Return the attachments, best described first, and whether there were some without a URL."""
    found: dict[str, Attachment] = {}
    unusable = False
    for name, read in (("file-sharing", _sfs), ("reference", _sims), ("x", _oob)):
        for child in _children(element):
            if child.name != name:
                continue
            attachment = read(child)
            if attachment is None:
                unusable = unusable or read is not _oob
            elif attachment.url:
                found.setdefault(attachment.url, attachment)
    return list(found.values()), unusable


def _file(element: domish.Element | None, url: str) -> Attachment:
    described = {} if element is None else {c.name: _text_of(c).strip() for c in _children(element)}
    size = described.get("size", "")
    return Attachment(
        url=url,
        media_type=described.get("media-type", "")[:127],
        size=int(size) if size.isascii() and size.isdigit() and len(size) < 16 else None,
        name=described.get("name", "")[:255],
    )


def _sfs(element: domish.Element) -> Attachment | None:
    if element.uri != NS_SFS:
        return _NO_ATTACHMENT
    sources = _find(element, NS_SFS, "sources")
    file = next((c for c in _children(element) if c.name == "file"), None)
    for source in _children(sources) if sources is not None else ():
        if source.name == "url-data" and _attribute(source, "target"):
            return _file(file, _attribute(source, "target").strip())
        if source.name == "encrypted":  # XEP-0448
            return Attachment(url="aesgcm:")
    return None


def _sims(element: domish.Element) -> Attachment | None:
    if element.uri != "urn:xmpp:reference:0":
        return _NO_ATTACHMENT
    sharing = _find(element, "urn:xmpp:sims:1", "media-sharing")
    if sharing is None:
        return _NO_ATTACHMENT  # a mention, not a file
    file = next((c for c in _children(sharing) if c.name == "file"), None)
    for sources in _children(sharing):
        if sources.name == "sources":
            for source in _children(sources):
                if source.name == "reference" and _attribute(source, "uri"):
                    return _file(file, _attribute(source, "uri").strip())
    return None


def _oob(element: domish.Element) -> Attachment | None:
    if element.uri != NS_OOB:
        return _NO_ATTACHMENT
    url = next((c for c in _children(element) if c.name == "url"), None)
    return Attachment(url=_text_of(url).strip()) if url is not None else None


#: Stands for an element that is no attachment at all.
_NO_ATTACHMENT = Attachment(url="")


def _without_quote(element: domish.Element, text: str) -> str:
    """Cut what clients put before a reply for the sake of others (XEP-0461), in code points."""
    ranges: list[tuple[int, int]] = []
    for child in _children(element):
        if child.name != "fallback" or _attribute(child, "for") != NS_REPLY:
            continue
        for part in _children(child):
            if part.name != "body":
                continue
            start, end = _attribute(part, "start"), _attribute(part, "end")
            if not start and not end:
                ranges.append((0, len(text)))
            elif _is_offset(start) and _is_offset(end):
                ranges.append((int(start), int(end)))
    for start_at, end_at in sorted(ranges, reverse=True):
        if start_at < end_at:
            text = text[:start_at] + text[end_at:]
    return text


def _is_offset(text: str) -> bool:
    return text.isascii() and text.isdigit() and len(text) < 10


def _without_links(text: str, attachments: Iterable[Attachment]) -> str:
    """Take an attachment's link out of the body when it is all of it, or stands at its end."""
    for attachment in attachments:
        stripped = text.rstrip()
        if stripped.endswith(attachment.url):
            rest = stripped[: -len(attachment.url)]
            if not rest or rest[-1].isspace():
                text = rest.rstrip()
    return text


def _addressees(element: domish.Element | None) -> tuple[Addressee, ...]:
    if element is None:
        return ()
    return tuple(
        Addressee(
            _attribute(c, "type"),
            _attribute(c, "jid") or _attribute(c, "uri"),
            _attribute(c, "delivered") in ("true", "1"),
        )
        for c in _children(element)
        if c.name == "address" and _attribute(c, "type") in ("to", "cc", "bcc")
    )
