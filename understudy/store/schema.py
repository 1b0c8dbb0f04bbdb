"""The tables, as the newest migration leaves them."""

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    Double,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    Text,
)

REVISION = "0003"
"""The migration these tables belong to. Known here so that a current store opens without Alembic."""

VERSION_TABLE = "understudy_schema"
"""Where Alembic notes the revision: a name of our own, as databases are shared with applications."""

metadata = MetaData()

rules = Table(
    "rules",
    metadata,
    Column("version", Integer, primary_key=True, autoincrement=False),
    Column("document", Text, nullable=False),
    Column("author", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("at", Double, nullable=False),
    Column("sha256", String(64), nullable=False),
)

evidence = Table(
    "evidence",
    metadata,
    Column("digest", LargeBinary, primary_key=True),
    Column("key", Text, nullable=False),
    Column("n", BigInteger, CheckConstraint("n >= 0", name="evidence_n_not_negative"), nullable=False),
)

sources = Table(
    "evidence_sources",
    metadata,
    Column("source", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Index("evidence_sources_seen", "seen"),
)

samples = Table(
    "samples",
    metadata,
    Column("id", Integer, primary_key=True),
    Column("key", Text, nullable=False),
    Column("priority", Double, nullable=False),
    Column("at", Double, nullable=False),
    Column("size_bytes", Integer, nullable=False),
    Column("body", Text, nullable=False),
    Column("name", String(16), nullable=False, server_default=""),
    Column("unit", String(16), nullable=False, server_default=""),
    Column("whole", Text, nullable=False, server_default=""),
    Index("samples_name", "name"),
    Index("samples_unit", "unit"),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)
