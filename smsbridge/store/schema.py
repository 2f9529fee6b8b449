"""
The tables, as SQLAlchemy Core sees them on SQLite, MariaDB and PostgreSQL.

Times are milliseconds since 1970 UTC (``..._at_ms``).  Ids of messages are UUID version 7 as text
and so in the order of their making; a delivery's id is its message's id, a dot and a number, which
makes it unguessable and lets a peer's answer be matched without a look-up.  What a fresh database
gets is made by `migrations`; a test holds both equal.
"""

from __future__ import annotations

from typing import Any

from sqlalchemy import (
    BigInteger,
    Boolean,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    String,
    Table,
    Text,
    false,
)
from sqlalchemy.dialects import mysql

__all__ = [
    "bindings",
    "blocked",
    "calls",
    "contact_groups",
    "contact_numbers",
    "contacts",
    "conversation_parties",
    "conversation_states",
    "conversations",
    "dedup",
    "deliveries",
    "delivery_events",
    "files",
    "hidden_messages",
    "line_facts",
    "media",
    "messages",
    "metadata",
    "opt_outs",
    "passwords",
    "pending",
    "push_subscriptions",
    "sessions",
    "tokens",
    "ussd_log",
]

metadata = MetaData(
    naming_convention={
        "ix": "ix_%(table_name)s_%(column_0_N_name)s",
        "fk": "fk_%(table_name)s_%(column_0_name)s",
    }
)

# MariaDB compares text by alphabet unless told otherwise; ids, names and bodies are compared by
# byte.
_BYTEWISE: Any = {
    "mysql_charset": "utf8mb4",
    "mysql_collate": "utf8mb4_bin",
    "mysql_engine": "InnoDB",
}

_Label = String(64)  # an ini section's NAME
_Address = String(255)  # a number, a JID, an alphanumeric sender
_LongText = Text().with_variant(mysql.MEDIUMTEXT(), "mysql", "mariadb")  # its TEXT ends at 64 KiB
_Bytes = LargeBinary().with_variant(mysql.MEDIUMBLOB(), "mysql", "mariadb")  # likewise
_Counter = BigInteger().with_variant(Integer, "sqlite")  # SQLite counts by itself only in INTEGER

#: What was said; never changed after the commit.
messages = Table(
    "messages",
    metadata,
    Column("message_id", String(36), primary_key=True),
    Column("direction", String(8), nullable=False),  # core.message.Direction
    Column("line", _Label, nullable=False),  # empty between persons
    Column("sender", _Address, nullable=False),  # as shown outside; empty when withheld
    Column("recipients", Text, nullable=False),  # separated by line feeds
    Column("author", _Label, nullable=False),  # the person who wrote it, if one did
    Column("body", _LongText, nullable=False),
    Column("conversation", String(400), nullable=False),  # core.routing.conversation
    Column(
        "segments", SmallInteger, nullable=False
    ),  # texts that the network bills; 0 where none does
    Column("created_at_ms", BigInteger, nullable=False),  # when it was accepted
    Column("sent_at_ms", BigInteger),  # the network's time, where it told one
    Column("origin_gateway", _Label),  # whom to tell what became of it; NULL: nobody
    Column("origin_lane", String(160)),
    Column("origin_address", String(600)),
    Column("origin_ref", String(400)),
    Column("wants_report", Boolean, nullable=False),  # the sender asked for the receipt
    # One text to several who see each other, not copies to each.
    Column("grouped", Boolean, nullable=False, server_default=false()),
    **_BYTEWISE,
)
Index("ix_messages_conversation", messages.c.conversation, messages.c.message_id)
Index("ix_messages_line", messages.c.line, messages.c.message_id)

#: Attachments: files that we keep, or links.
media = Table(
    "media",
    metadata,
    Column("message_id", ForeignKey(messages.c.message_id, ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("url", Text, nullable=False),
    Column("content_type", String(255), nullable=False),
    Column("size", BigInteger),  # bytes; NULL when not known
    Column("name", String(255), nullable=False),
    Column("digest", String(64)),  # of a file that we keep: files.digest; NULL: it is elsewhere
    **_BYTEWISE,
)
Index("ix_media_digest", media.c.digest)

#: One message, report or notice on its way to one destination; its row changes as core.lifecycle
#: allows.
deliveries = Table(
    "deliveries",
    metadata,
    Column("delivery_id", String(64), primary_key=True),
    Column(
        "message_id", ForeignKey(messages.c.message_id, ondelete="CASCADE")
    ),  # NULL: concerns no message
    Column("kind", String(8), nullable=False),  # core.message.Kind
    Column("gateway", _Label, nullable=False),
    Column("lane", String(160), nullable=False),  # what is sent one after another
    Column("line", _Label, nullable=False),
    Column("person", _Label, nullable=False),  # to whom; empty towards the phone network
    Column("destination", String(600), nullable=False),  # in the gateway's own terms
    Column("order_key", String(600), nullable=False),  # those of one key keep their order
    Column("status", String(10), nullable=False),  # core.message.Status
    Column("attempts", Integer, nullable=False),
    Column(
        "due_at_ms", BigInteger
    ),  # queued: try then; sending: ours until then; uncertain: the next hop is asked about it
    # since then; NULL: nothing to do
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("sending_at_ms", BigInteger),  # when the last attempt began
    Column("sent_at_ms", BigInteger),  # when the next hop took it
    Column("finished_at_ms", BigInteger),  # when it reached its last status
    Column("owner", _Label),  # the node that claimed it last
    Column("remote_id", String(255)),  # what the next hop calls it; NULL: the delivery_id
    Column("reason", String(32), nullable=False),  # errors.REASONS, of the last failure
    Column("detail", Text, nullable=False),  # the peer's own words of the last failure
    Column("note", _LongText),  # the sentence of a report or notice
    Column("ref", String(400)),  # of a report: what the sender calls the message
    Column("reported", String(10)),  # of a report: the status reported
    Column("told", Boolean, nullable=False),  # the sender was told that it still waits
    sqlite_with_rowid=False,
    **_BYTEWISE,
)
# Only open deliveries are looked for by lane or time, so that history costs these nothing.
_open = deliveries.c.due_at_ms.is_not(None)
Index("ix_deliveries_message_id", deliveries.c.message_id)
Index(
    "ix_deliveries_lane",
    deliveries.c.lane,
    deliveries.c.delivery_id,
    sqlite_where=_open,
    postgresql_where=_open,
)
Index("ix_deliveries_due_at_ms", deliveries.c.due_at_ms, sqlite_where=_open, postgresql_where=_open)
_named = deliveries.c.remote_id.is_not(None)
Index(
    "ix_deliveries_remote_id",
    deliveries.c.gateway,
    deliveries.c.remote_id,
    sqlite_where=_named,
    postgresql_where=_named,
)

#: What the columns of a delivery cannot tell: every failed attempt, interim report and
#: intervention.
delivery_events = Table(
    "delivery_events",
    metadata,
    Column("event_id", _Counter, primary_key=True),
    Column("delivery_id", ForeignKey(deliveries.c.delivery_id, ondelete="CASCADE"), nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("status", String(10), nullable=False),  # reached by it
    Column("attempt", Integer, nullable=False),
    Column("reason", String(32), nullable=False),
    Column("detail", Text, nullable=False),
    **_BYTEWISE,
)
Index("ix_delivery_events_delivery_id", delivery_events.c.delivery_id)

#: What a gateway recognizes a repeat by, for as long as the peer may repeat itself.
dedup = Table(
    "dedup",
    metadata,
    Column("dedup_key", String(190), primary_key=True),
    Column("gateway", _Label, primary_key=True),
    Column("message_id", String(36), nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)
Index("ix_dedup_expires_at_ms", dedup.c.expires_at_ms)

#: What a gateway has promised a peer to remember and cannot accept yet: core.pending.
pending = Table(
    "pending",
    metadata,
    Column("gateway", _Label, primary_key=True),
    Column("pending_key", _Address, primary_key=True),
    Column("value", _Bytes, nullable=False),
    Column("kept_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)

#: Numbers that do not want texts from a line any more: core.optouts.
opt_outs = Table(
    "opt_outs",
    metadata,
    Column("line", _Label, primary_key=True),
    Column("number", _Address, primary_key=True),
    Column("source", String(16), nullable=False),  # words, provider or operator
    Column("since_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)

calls = Table(
    "calls",
    metadata,
    Column("call_id", _Counter, primary_key=True),
    Column("line", _Label, nullable=False),
    Column("incoming", Boolean, nullable=False),
    Column("number", _Address, nullable=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("duration_s", Integer),
    Column("cause", String(255), nullable=False),
    **_BYTEWISE,
)
Index("ix_calls_line", calls.c.line, calls.c.started_at_ms)
Index("ix_calls_started_at_ms", calls.c.started_at_ms)

#: What the network said on the USSD channel by itself.
ussd_log = Table(
    "ussd_log",
    metadata,
    Column("ussd_id", _Counter, primary_key=True),
    Column("line", _Label, nullable=False),
    Column("at_ms", BigInteger, nullable=False),
    Column("body", _LongText, nullable=False),
    **_BYTEWISE,
)
Index("ix_ussd_log_at_ms", ussd_log.c.at_ms)

#: What the devices told about their lines.
line_facts = Table(
    "line_facts",
    metadata,
    Column("line", _Label, primary_key=True),
    Column("fact", String(32), primary_key=True),  # number, imei, imsi, iccid, operator, model
    Column("value", _Address, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)

#: Addresses that persons added themselves, each proved by a code.
bindings = Table(
    "bindings",
    metadata,
    Column("kind", String(16), primary_key=True),  # core.directory.ADDRESS_KINDS
    Column("address", String(600), primary_key=True),
    Column("person", _Label, nullable=False),
    Column("bound_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)

# --- what persons see and do ---------------------------------------------------------------------

#: Every conversation with its newest text, written with each accept.
conversations = Table(
    "conversations",
    metadata,
    Column("conversation", String(400), primary_key=True),  # core.routing.conversation
    Column("line", _Label, nullable=False),  # empty between persons
    Column("parties", Text, nullable=False),  # sorted, separated by line feeds
    Column("last_message_id", String(36), nullable=False),
    # The newest one that somebody may still have to read: that came in, or was said between
    # persons.  Empty: none.
    Column("last_in_id", String(36), nullable=False),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)
Index("ix_conversations_line", conversations.c.line, conversations.c.last_message_id)

#: In which conversations a number or person takes part; our own line is left out.
conversation_parties = Table(
    "conversation_parties",
    metadata,
    Column("party", _Address, primary_key=True),
    Column("conversation", String(400), primary_key=True),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)

#: What a person did with a conversation.  Ids are of messages; empty: nothing yet.  Where a person
#: hid the newest text of a conversation by itself, `tail_id` is that one and `shown_id` the newest
#: that is left, so that lists need not look for it.
conversation_states = Table(
    "conversation_states",
    metadata,
    Column("person", _Label, primary_key=True),
    Column("conversation", String(400), primary_key=True),
    Column("read_id", String(36), nullable=False),  # seen up to this one
    Column("hidden_id", String(36), nullable=False),  # deleted for this person up to this one
    Column("archived_id", String(36), nullable=False),  # put away until one younger than this comes
    Column("tail_id", String(36), nullable=False),
    Column("shown_id", String(36), nullable=False),
    Column("muted", Boolean, nullable=False),
    Column("draft", _LongText, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)
_s = conversation_states.c
Index("ix_conversation_states_archived_id", _s.person, _s.archived_id)
Index("ix_conversation_states_tail_id", _s.person, _s.tail_id)
Index("ix_conversation_states_conversation", _s.conversation)

#: Single texts that a person deleted for himself.
hidden_messages = Table(
    "hidden_messages",
    metadata,
    Column("person", _Label, primary_key=True),
    Column("message_id", ForeignKey(messages.c.message_id, ondelete="CASCADE"), primary_key=True),
    Column("hidden_at_ms", BigInteger, nullable=False),
    sqlite_with_rowid=False,
    **_BYTEWISE,
)
Index("ix_hidden_messages_message_id", hidden_messages.c.message_id)

#: The files of the media store; the bytes are in the state folder, below the digest's name.
files = Table(
    "files",
    metadata,
    Column("digest", String(64), primary_key=True),  # SHA-256 of the bytes, hexadecimal
    Column("content_type", String(255), nullable=False),
    Column("size", BigInteger, nullable=False),  # bytes
    Column("width", Integer),  # pixels; NULL where it is no picture
    Column("height", Integer),
    Column("stored_at_ms", BigInteger, nullable=False),  # or uploaded again
    sqlite_with_rowid=False,
    **_BYTEWISE,
)

passwords = Table(
    "passwords",
    metadata,
    Column("person", _Label, primary_key=True),
    Column("password_hash", String(255), nullable=False),  # argon2id, PHC string
    Column("changed_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)

#: Browsers that are logged in.
sessions = Table(
    "sessions",
    metadata,
    Column("session_id", String(64), primary_key=True),  # SHA-256 of the cookie, hexadecimal
    Column("person", _Label, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("seen_at_ms", BigInteger, nullable=False),
    Column("expires_at_ms", BigInteger, nullable=False),
    Column("agent", String(255), nullable=False),  # what the browser calls itself
    Column("address", String(64), nullable=False),  # from where it logged in
    **_BYTEWISE,
)
Index("ix_sessions_person", sessions.c.person)

#: What programs log in with.
tokens = Table(
    "tokens",
    metadata,
    Column("name", _Label, primary_key=True),
    Column("person", _Label, nullable=False),
    Column("digest", String(64), nullable=False),  # SHA-256 of the token, hexadecimal
    Column("scopes", String(255), nullable=False),  # separated by blanks
    Column("lines", Text, nullable=False),  # separated by blanks; empty: all of the person
    Column("created_at_ms", BigInteger, nullable=False),
    Column("used_at_ms", BigInteger),  # to the hour
    Column("expires_at_ms", BigInteger),
    **_BYTEWISE,
)
Index("ix_tokens_digest", tokens.c.digest, unique=True)

contacts = Table(
    "contacts",
    metadata,
    Column("contact_id", _Counter, primary_key=True),
    Column("person", _Label, nullable=False),  # whose address book it is in
    Column("name", _Address, nullable=False),
    Column("note", Text, nullable=False),
    Column("changed_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)
Index("ix_contacts_person", contacts.c.person)

contact_numbers = Table(
    "contact_numbers",
    metadata,
    Column("contact_id", ForeignKey(contacts.c.contact_id, ondelete="CASCADE"), primary_key=True),
    Column("position", SmallInteger, primary_key=True, autoincrement=False),
    Column("number", _Address, nullable=False),  # E.164 or a short code
    Column("label", String(32), nullable=False),
    **_BYTEWISE,
)

contact_groups = Table(
    "contact_groups",
    metadata,
    Column("contact_id", ForeignKey(contacts.c.contact_id, ondelete="CASCADE"), primary_key=True),
    Column("handle", _Label, primary_key=True),  # without the @
    **_BYTEWISE,
)

#: Numbers from which a person wants nothing.
blocked = Table(
    "blocked",
    metadata,
    Column("person", _Label, primary_key=True),
    Column("number", _Address, primary_key=True),
    Column("blocked_at_ms", BigInteger, nullable=False),
    **_BYTEWISE,
)

#: Browsers that want to be woken (RFC 8030, RFC 8291).
push_subscriptions = Table(
    "push_subscriptions",
    metadata,
    Column("endpoint_digest", String(64), primary_key=True),  # SHA-256 of the endpoint
    Column("person", _Label, nullable=False),
    Column("endpoint", Text, nullable=False),
    Column("p256dh", String(255), nullable=False),  # the browser's public key, base64url
    Column("auth", String(64), nullable=False),  # the browser's secret, base64url
    Column("session_id", String(64), nullable=False),  # ends with that login
    Column("created_at_ms", BigInteger, nullable=False),
    Column("failures", Integer, nullable=False),  # in a row
    **_BYTEWISE,
)
Index("ix_push_subscriptions_person", push_subscriptions.c.person)
