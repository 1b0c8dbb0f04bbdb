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

from understudy.config import DEFAULT_ENVIRONMENT

REVISION = "0006"
"""The migration these tables belong to. Known here so that a current store opens without Alembic."""

VERSION_TABLE = "understudy_schema"
"""Where Alembic notes the revision: a name of our own, as databases are shared with applications."""

metadata = MetaData()


def _environment(*, is_key: bool = True) -> Column[str]:
    """Whose row it is; those of the first environment were there before the column was."""
    return Column(
        "environment", String(32), primary_key=is_key, nullable=False, server_default=DEFAULT_ENVIRONMENT
    )


rules = Table(
    "rules",
    metadata,
    _environment(),
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
    _environment(),
    Column("digest", LargeBinary, primary_key=True),
    Column("key", Text, nullable=False),
    Column("n", BigInteger, CheckConstraint("n >= 0", name="evidence_n_not_negative"), nullable=False),
)

sources = Table(
    "evidence_sources",
    metadata,
    _environment(),
    Column("source", Text, primary_key=True),
    Column("sequence", BigInteger, nullable=False),
    Column("seen", BigInteger, nullable=False),
    Index("evidence_sources_seen", "environment", "seen"),
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
    _environment(is_key=False),
    Index("samples_environment", "environment"),
    Index("samples_name", "name"),
    Index("samples_unit", "unit"),
)

exposures = Table(
    "exposures",
    metadata,
    _environment(),
    Column("flag", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("hour", Integer, primary_key=True, autoincrement=False),
    Column("n", BigInteger, nullable=False),
    Column("last_at", Double, nullable=False),
)

exposed_units = Table(
    "exposed_units",
    metadata,
    _environment(),
    Column("flag", Text, primary_key=True),
    Column("variant", Text, primary_key=True),
    Column("unit", String(16), primary_key=True),
    Column("at", Double, nullable=False),
    Index("exposed_units_unit", "environment", "unit"),
    Index("exposed_units_at", "environment", "at"),
)

exposure_batches = Table(
    "exposure_batches",
    metadata,
    _environment(),
    Column("batch", String(128), primary_key=True),
    Column("at", Double, nullable=False),
)

secrets = Table(
    "secrets",
    metadata,
    Column("name", Text, primary_key=True),
    Column("value", LargeBinary, nullable=False),
)

tokens = Table(
    "tokens",
    metadata,
    Column("selector", String(12), primary_key=True),
    Column("name", Text, nullable=False),
    Column("role", String(16), nullable=False),
    Column("digest", String(64), nullable=False),
    Column("created_at", Double, nullable=False),
    Column("created_by", Text, nullable=False),
    Column("expires_at", Double, nullable=False),
    Column("used_at", Double, nullable=False),
    Column("revoked_at", Double, nullable=False),
    Column("flag_set", Text, nullable=False, server_default=""),
    Column("roles", Text, nullable=False, server_default=""),
)

audit = Table(
    "audit",
    metadata,
    Column("number", Integer, primary_key=True, autoincrement=False),
    Column("at", Double, nullable=False),
    Column("who", Text, nullable=False),
    Column("origin", Text, nullable=False),
    Column("action", Text, nullable=False),
    Column("target", Text, nullable=False),
    Column("reason", Text, nullable=False),
    Column("before", Integer, nullable=False),
    Column("after", Integer, nullable=False),
    Column("environment", String(32), nullable=False, server_default=""),
    Column("previous", String(64), nullable=False),
    Column("hash", String(64), nullable=False),
)

audit_head = Table(
    "audit_head",
    metadata,
    Column("id", Integer, primary_key=True, autoincrement=False),
    Column("number", Integer, nullable=False),
    Column("hash", String(64), nullable=False),
)

environments = Table(
    "environments",
    metadata,
    Column("environment", String(32), primary_key=True),
    Column("services", Text, nullable=False),
)
