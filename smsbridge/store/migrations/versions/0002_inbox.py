"""What the inbox and the API keep: conversations, accounts, contacts, files."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op
from sqlalchemy.dialects import mysql
from twisted.logger import Logger

from smsbridge.store.talks import parties_of
from smsbridge.store.words import index_words, spaced

log = Logger()

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Add the tables."""

    op.create_table(
        "blocked",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("number", sa.String(length=255), nullable=False),
        sa.Column("blocked_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", "number"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "contacts",
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("name", sa.String(length=255), nullable=False),
        sa.Column("note", sa.Text(), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("contact_id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_contacts_person", "contacts", ["person"], unique=False)
    op.create_table(
        "conversation_parties",
        sa.Column("party", sa.String(length=255), nullable=False),
        sa.Column("conversation", sa.String(length=400), nullable=False),
        sa.PrimaryKeyConstraint("party", "conversation"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "conversation_states",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("conversation", sa.String(length=400), nullable=False),
        sa.Column("read_id", sa.String(length=36), nullable=False),
        sa.Column("hidden_id", sa.String(length=36), nullable=False),
        sa.Column("archived_id", sa.String(length=36), nullable=False),
        sa.Column("tail_id", sa.String(length=36), nullable=False),
        sa.Column("shown_id", sa.String(length=36), nullable=False),
        sa.Column("muted", sa.Boolean(), nullable=False),
        sa.Column(
            "draft",
            sa.Text()
            .with_variant(mysql.MEDIUMTEXT(), "mariadb")
            .with_variant(mysql.MEDIUMTEXT(), "mysql"),
            nullable=False,
        ),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person", "conversation"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_conversation_states_archived_id",
        "conversation_states",
        ["person", "archived_id"],
        unique=False,
    )
    op.create_index(
        "ix_conversation_states_tail_id",
        "conversation_states",
        ["person", "tail_id"],
        unique=False,
    )
    op.create_index(
        "ix_conversation_states_conversation",
        "conversation_states",
        ["conversation"],
        unique=False,
    )
    op.create_table(
        "conversations",
        sa.Column("conversation", sa.String(length=400), nullable=False),
        sa.Column("line", sa.String(length=64), nullable=False),
        sa.Column("parties", sa.Text(), nullable=False),
        sa.Column("last_message_id", sa.String(length=36), nullable=False),
        sa.Column("last_in_id", sa.String(length=36), nullable=False),
        sa.PrimaryKeyConstraint("conversation"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_conversations_line", "conversations", ["line", "last_message_id"], unique=False
    )
    op.create_table(
        "files",
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("content_type", sa.String(length=255), nullable=False),
        sa.Column("size", sa.BigInteger(), nullable=False),
        sa.Column("width", sa.Integer(), nullable=True),
        sa.Column("height", sa.Integer(), nullable=True),
        sa.Column("stored_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("digest"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        sqlite_with_rowid=False,
    )
    op.create_table(
        "passwords",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("password_hash", sa.String(length=255), nullable=False),
        sa.Column("changed_at_ms", sa.BigInteger(), nullable=False),
        sa.PrimaryKeyConstraint("person"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "push_subscriptions",
        sa.Column("endpoint_digest", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("endpoint", sa.Text(), nullable=False),
        sa.Column("p256dh", sa.String(length=255), nullable=False),
        sa.Column("auth", sa.String(length=64), nullable=False),
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("failures", sa.Integer(), nullable=False),
        sa.PrimaryKeyConstraint("endpoint_digest"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_push_subscriptions_person", "push_subscriptions", ["person"], unique=False)
    op.create_table(
        "sessions",
        sa.Column("session_id", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("seen_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("agent", sa.String(length=255), nullable=False),
        sa.Column("address", sa.String(length=64), nullable=False),
        sa.PrimaryKeyConstraint("session_id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_sessions_person", "sessions", ["person"], unique=False)
    op.create_table(
        "tokens",
        sa.Column("name", sa.String(length=64), nullable=False),
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("digest", sa.String(length=64), nullable=False),
        sa.Column("scopes", sa.String(length=255), nullable=False),
        sa.Column("lines", sa.Text(), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger(), nullable=False),
        sa.Column("used_at_ms", sa.BigInteger(), nullable=True),
        sa.Column("expires_at_ms", sa.BigInteger(), nullable=True),
        sa.PrimaryKeyConstraint("name"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_index("ix_tokens_digest", "tokens", ["digest"], unique=True)
    op.create_table(
        "contact_groups",
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("handle", sa.String(length=64), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contacts.contact_id"],
            name=op.f("fk_contact_groups_contact_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("contact_id", "handle"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "contact_numbers",
        sa.Column(
            "contact_id", sa.BigInteger().with_variant(sa.Integer(), "sqlite"), nullable=False
        ),
        sa.Column("position", sa.SmallInteger(), autoincrement=False, nullable=False),
        sa.Column("number", sa.String(length=255), nullable=False),
        sa.Column("label", sa.String(length=32), nullable=False),
        sa.ForeignKeyConstraint(
            ["contact_id"],
            ["contacts.contact_id"],
            name=op.f("fk_contact_numbers_contact_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("contact_id", "position"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
    )
    op.create_table(
        "hidden_messages",
        sa.Column("person", sa.String(length=64), nullable=False),
        sa.Column("message_id", sa.String(length=36), nullable=False),
        sa.Column("hidden_at_ms", sa.BigInteger(), nullable=False),
        sa.ForeignKeyConstraint(
            ["message_id"],
            ["messages.message_id"],
            name=op.f("fk_hidden_messages_message_id"),
            ondelete="CASCADE",
        ),
        sa.PrimaryKeyConstraint("person", "message_id"),
        mysql_charset="utf8mb4",
        mysql_collate="utf8mb4_bin",
        mysql_engine="InnoDB",
        sqlite_with_rowid=False,
    )
    op.create_index(
        "ix_hidden_messages_message_id", "hidden_messages", ["message_id"], unique=False
    )
    op.add_column("media", sa.Column("digest", sa.String(length=64), nullable=True))
    op.create_index("ix_media_digest", "media", ["digest"], unique=False)
    op.create_index("ix_messages_line", "messages", ["line", "message_id"], unique=False)
    connection = op.get_bind()
    _fill_conversations(connection)
    if connection.dialect.name == "postgresql":
        op.execute(
            "CREATE TABLE message_words (message_id VARCHAR(36) PRIMARY KEY"
            " REFERENCES messages ON DELETE CASCADE, words TSVECTOR NOT NULL)"
        )
        _fill_words(connection)
        op.execute("CREATE INDEX ix_message_words_words ON message_words USING gin (words)")
    elif connection.dialect.name != "sqlite":
        op.execute(
            "CREATE TABLE message_words (message_id VARCHAR(36) PRIMARY KEY"
            " REFERENCES messages (message_id) ON DELETE CASCADE, words MEDIUMTEXT NOT NULL)"
            " ENGINE InnoDB CHARACTER SET utf8mb4 COLLATE utf8mb4_bin"
        )
        _fill_words(connection)
        # Every word of three letters is worth finding.
        op.execute("SET SESSION innodb_ft_enable_stopword = OFF")
        op.execute("CREATE FULLTEXT INDEX ix_message_words_words ON message_words (words)")
    # On SQLite the table of words is made and filled while the daemon runs.


_AT_ONCE = 500

_messages = sa.table(
    "messages",
    sa.column("message_id"),
    sa.column("direction"),
    sa.column("line"),
    sa.column("sender"),
    sa.column("recipients"),
    sa.column("author"),
    sa.column("conversation"),
    sa.column("body"),
)
_conversations = sa.table(
    "conversations",
    sa.column("conversation"),
    sa.column("line"),
    sa.column("parties"),
    sa.column("last_message_id"),
    sa.column("last_in_id"),
)
_parties = sa.table("conversation_parties", sa.column("party"), sa.column("conversation"))


def _fill_conversations(connection: sa.Connection) -> None:
    """List the conversations of the messages that are there."""
    of = _messages.c
    newest = connection.execute(
        sa.select(
            of.conversation,
            sa.func.max(of.message_id).label("last"),
            sa.func.max(sa.case((of.direction != "out", of.message_id), else_="")).label("last_in"),
        ).group_by(of.conversation)
    ).all()
    if len(newest) > 10 * _AT_ONCE:
        log.info("listing {count} conversations", count=len(newest))
    for start in range(0, len(newest), _AT_ONCE):
        _add(connection, newest[start : start + _AT_ONCE])


def _add(connection: sa.Connection, newest: Sequence[Any]) -> None:
    last_in = {row.last: row.last_in for row in newest}
    of = _messages.c
    rows = []
    parties: list[dict[str, str]] = []
    for row in connection.execute(
        sa.select(
            of.message_id,
            of.direction,
            of.line,
            of.sender,
            of.recipients,
            of.author,
            of.conversation,
        ).where(of.message_id.in_([row.last for row in newest]))
    ):
        recipients = row.recipients.split("\n") if row.recipients else ()
        others = parties_of(
            row.conversation, row.direction, row.line, row.sender, recipients, row.author
        )
        rows.append(
            {
                "conversation": row.conversation,
                "line": row.line,
                "parties": "\n".join(others),
                "last_message_id": row.message_id,
                "last_in_id": last_in[row.message_id],
            }
        )
        parties.extend({"party": party[:255], "conversation": row.conversation} for party in others)
    connection.execute(sa.insert(_conversations), rows)
    if parties:
        connection.execute(sa.insert(_parties), parties)


def _fill_words(connection: sa.Connection) -> None:
    """Write down the words of the messages that are there, oldest first."""
    of = _messages.c
    postgresql = connection.dialect.name == "postgresql"
    words = "array_to_tsvector(%s)" if postgresql else "%s"
    insert = f"INSERT INTO message_words (message_id, words) VALUES (%s, {words})"
    after, written = "", 0
    while rows := connection.execute(
        sa.select(of.message_id, of.line, of.conversation, of.body)
        .where(of.message_id > after)
        .order_by(of.message_id)
        .limit(10 * _AT_ONCE)
    ).all():
        values: list[tuple[str, Any]] = []
        for row in rows:
            found = index_words(row.line, row.conversation, row.body)
            values.append((row.message_id, found if postgresql else spaced(found)))
        connection.exec_driver_sql(insert, values)
        after = rows[-1].message_id
        written += len(rows)
        if written % (20 * 10 * _AT_ONCE) == 0:
            log.info("indexed {count} texts for the search", count=written)
