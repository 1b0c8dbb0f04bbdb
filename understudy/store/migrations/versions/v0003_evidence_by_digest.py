"""Evidence is found by the digest of its key, as PostgreSQL indexes no text of more than 2,700 bytes."""

import hashlib
from collections.abc import Callable
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"

_PAGE = 5000


def upgrade() -> None:
    """Move the counts to a table with digests."""
    columns = [
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
    ]
    _move(columns, lambda row: {"digest": hashlib.sha256(row["key"].encode()).digest(), **row})


def downgrade() -> None:
    """Move the counts to a table without."""
    _move([sa.Column("key", sa.Text, primary_key=True)], lambda row: row)


def _move(columns: list[Any], row_of: Callable[[dict[str, Any]], dict[str, Any]]) -> None:
    """Make the table anew with *columns* and the count, and put every row there as *row_of* has it."""
    op.rename_table("evidence", "evidence_before")
    # PostgreSQL gives the names of constraints to a schema, not to a table, and keeps them when renaming.
    if op.get_bind().dialect.name == "postgresql":
        for name in ("evidence_pkey", "evidence_n_not_negative"):
            op.execute(f"ALTER TABLE evidence_before DROP CONSTRAINT {name}")
    table = op.create_table(
        "evidence",
        *columns,
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.CheckConstraint("n >= 0", name="evidence_n_not_negative"),
    )
    before = sa.table("evidence_before", sa.column("key"), sa.column("n"))
    rows = op.get_bind().execute(sa.select(before.c.key, before.c.n)).mappings()
    for page in rows.partitions(_PAGE):
        op.bulk_insert(table, [row_of(dict(row)) for row in page])
    op.drop_table("evidence_before")
