"""The tables. City, scope, validity (`observed_at`) and knowledge (`modified_at`, `at`) are there from the start."""

from sqlalchemy import (
    BigInteger,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    SmallInteger,
    Table,
    Text,
    UniqueConstraint,
)
from sqlalchemy.dialects.postgresql import JSONB

SCHEMA_VERSION = 1

metadata = MetaData()
_Key = BigInteger().with_variant(Integer, "sqlite")  # SQLite numbers rows by itself only for INTEGER
_Json = Text().with_variant(JSONB, "postgresql")

setting = Table("setting", metadata, Column("name", Text, primary_key=True), Column("value", Text, nullable=False))

ledger_row = Table(
    "ledger_row",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("prev_hash", LargeBinary, nullable=False),
    Column("payload_hash", LargeBinary, nullable=False),
    Column("kind", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("scope", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("caused_by", Text, nullable=False),
    sqlite_with_rowid=False,
)

ledger_payload = Table(
    "ledger_payload",
    metadata,
    Column("lane", Text, primary_key=True),
    Column("n", BigInteger, primary_key=True),
    Column("bytes", LargeBinary, nullable=False),
    Column("key_id", Text, nullable=False),
)

command = Table(
    "command",
    metadata,
    Column("id", Text, primary_key=True),
    Column("outcome", LargeBinary, nullable=False),
    Column("at", BigInteger, nullable=False, index=True),
)

cursor = Table(
    "cursor",
    metadata,
    Column("name", Text, primary_key=True),
    Column("lane", Text, primary_key=True),
    Column("n", BigInteger, nullable=False),
)

entity = Table(
    "entity",
    metadata,
    Column("seq", _Key, primary_key=True, autoincrement=True),
    Column("tenant", Text, nullable=False),
    Column("id", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("lon", Double),
    Column("lat", Double),
    Column("west", Double),
    Column("south", Double),
    Column("east", Double),
    Column("north", Double),
    Column("doc", _Json, nullable=False),
    Column("version", Integer, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("observed_at", BigInteger),
    Column("source", Text, nullable=False),
    Column("rules", Text, nullable=False),
    UniqueConstraint("tenant", "id"),
    Index("entity_type", "tenant", "type", "seq"),
)

entity_type = Table(
    "entity_extra_type",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("type", Text, primary_key=True),
    Column("id", Text, primary_key=True),
)

entity_past = Table(
    "entity_past",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("type", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("scopes", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("deleted_at", BigInteger),
    Index("entity_past_type", "tenant", "type", "id"),
)

attribute_deletion = Table(
    "attribute_deletion",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("entity", Text, primary_key=True),
    Column("attribute", Text, primary_key=True),
    Column("at", BigInteger, primary_key=True),
    Column("kind", Text, nullable=False),
)

alert = Table(
    "alert",
    metadata,
    Column("id", Text, primary_key=True),
    Column("tenant", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("rule", Text, nullable=False),
    Column("entity", Text, nullable=False),
    Column("type", Text, nullable=False),
    Column("severity", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("pending_since", BigInteger, nullable=False),
    Column("firing_since", BigInteger),
    Column("resolved_at", BigInteger),
    Column("at", BigInteger, nullable=False),
    Column("live", SmallInteger, nullable=False),
    Column("reason", Text, nullable=False),
    Column("acknowledged_by", Text, nullable=False),
    Column("acknowledged_at", BigInteger),
    Column("silenced_until", BigInteger),
    Column("note", Text, nullable=False),
    Column("caused_by", Text, nullable=False),
    Index("alert_state", "state", "at"),
    Index("alert_entity", "tenant", "entity", "at"),
)

document = Table(
    "document",
    metadata,
    Column("tenant", Text, primary_key=True),
    Column("kind", Text, primary_key=True),
    Column("id", Text, primary_key=True),
    Column("body", LargeBinary, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("modified_at", BigInteger, nullable=False),
    Column("owner", LargeBinary, nullable=False),
    Index("document_created", "tenant", "kind", "created_at", "id"),
)

account = Table(
    "account",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("owner", Text, nullable=False),
    Column("city", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("least", BigInteger),
    Column("balance", BigInteger, nullable=False),
)

posting = Table(
    "posting",
    metadata,
    Column("key", Text, primary_key=True),
    Column("id", Text, nullable=False, unique=True),
    Column("at", BigInteger, nullable=False),
    Column("doc", LargeBinary, nullable=False),
)

posting_entry = Table(
    "posting_entry",
    metadata,
    Column("posting", Text, primary_key=True),
    Column("n", Integer, primary_key=True),
    Column("account", Text, nullable=False),
    Column("fen", BigInteger, nullable=False),
    Column("at", BigInteger, nullable=False),
    Index("posting_entry_account", "account", "at"),
)

access_token = Table(
    "access_token",
    metadata,
    Column("id", Text, primary_key=True),
    Column("name", Text, nullable=False),
    Column("secret_hash", LargeBinary, nullable=False),
    Column("actor", LargeBinary, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("expires_at", BigInteger),
    Column("last_used_at", BigInteger),
    Column("revoked_at", BigInteger),
)

access_grant = Table(
    "access_grant",
    metadata,
    Column("id", Text, primary_key=True),
    Column("holder", Text, nullable=False, index=True),
    Column("grade", SmallInteger, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("place", Text, nullable=False),
    Column("types", Text, nullable=False),
    Column("expires_at", BigInteger, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("created_at", BigInteger, nullable=False),
    Column("revoked_at", BigInteger),
)

access_entry = Table(
    "access_entry",
    metadata,
    Column("n", _Key, primary_key=True, autoincrement=True),
    Column("at", BigInteger, nullable=False),
    Column("actor", Text, nullable=False),
    Column("organisation", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("what", Text, nullable=False),
    Column("grade", SmallInteger, nullable=False),
    Column("place", Text, nullable=False),
    Column("purpose", Text, nullable=False),
    Column("allowed", SmallInteger, nullable=False),
    Column("rule", Text, nullable=False),
    Index("access_entry_what", "what", "at"),
    Index("access_entry_actor", "actor", "at"),
)

outbox_parcel = Table(
    "outbox_parcel",
    metadata,
    Column("n", _Key, primary_key=True, autoincrement=True),
    Column("channel", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("grade", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Index("outbox_parcel_channel", "channel", "n"),
    sqlite_autoincrement=True,  # a number is never used again
)

outbox_channel = Table(
    "outbox_channel",
    metadata,
    Column("id", Text, primary_key=True),
    Column("kind", Text, nullable=False),
    Column("state", Text, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("failures", Integer, nullable=False),
    Column("next_at", BigInteger, nullable=False),
    Column("times_sent", BigInteger, nullable=False),
    Column("times_failed", BigInteger, nullable=False),
    Column("times_refused", BigInteger, nullable=False),
    Column("last_sent_at", BigInteger),
    Column("last_failed_at", BigInteger),
    Column("last_error", Text, nullable=False),
    Column("dead", Integer, nullable=False),
    Column("holder", Text, nullable=False),
    Column("held_until", BigInteger, nullable=False),
    Index("outbox_channel_state", "state"),
)

outbox_dead = Table(
    "outbox_dead",
    metadata,
    Column("n", BigInteger, primary_key=True, autoincrement=False),
    Column("channel", Text, nullable=False),
    Column("at", BigInteger, nullable=False),
    Column("grade", SmallInteger, nullable=False),
    Column("body", LargeBinary, nullable=False),
    Column("died_at", BigInteger, nullable=False),
    Column("attempts", Integer, nullable=False),
    Column("reason", Text, nullable=False),
    Index("outbox_dead_channel", "channel", "n"),
)

standing = Table(
    "standing",
    metadata,
    Column("job", Text, primary_key=True),
    Column("doc", LargeBinary, nullable=False),
)

bookmark = Table(
    "bookmark",
    metadata,
    Column("name", Text, primary_key=True),
    Column("content", LargeBinary, nullable=False),
)
