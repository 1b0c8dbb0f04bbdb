"""Several environments in one store: what there was belongs to the first, called default."""

from collections.abc import Sequence
from typing import Any

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"

_FIRST = "default"


def upgrade() -> None:
    """Name the environment in every row, and in the keys of those tables where it tells rows apart."""
    _move("rules", [_environment(), *_rules()])
    _move("evidence", [_environment(), *_evidence()], sa.CheckConstraint("n >= 0", name=_CHECK))
    _move("evidence_sources", [_environment(), *_sources()])
    op.create_index("evidence_sources_seen", "evidence_sources", ["environment", "seen"])
    op.add_column("samples", sa.Column("environment", sa.String(32), nullable=False, server_default=_FIRST))
    op.create_index("samples_environment", "samples", ["environment"])
    op.add_column("tokens", sa.Column("roles", sa.Text, nullable=False, server_default=""))
    op.add_column("audit", sa.Column("environment", sa.String(32), nullable=False, server_default=""))
    op.create_table(
        "environments",
        sa.Column("environment", sa.String(32), primary_key=True),
        sa.Column("services", sa.Text, nullable=False),
    )


def downgrade() -> None:
    """Keep the first environment and drop the others, with every token that was not for all of them.

    Such a token would get more rights than it was given. Entries of the audit stay; those that named an
    environment verify no longer, so export them first.
    """
    op.drop_table("environments")
    op.execute(sa.text("DELETE FROM tokens WHERE roles <> ''"))
    for table in ("rules", "evidence", "evidence_sources", "samples"):
        named = sa.table(table, sa.column("environment"))
        op.execute(named.delete().where(named.c.environment != _FIRST))
    op.drop_column("audit", "environment")
    op.drop_column("tokens", "roles")
    op.drop_index("samples_environment", "samples")
    op.drop_column("samples", "environment")
    _move("evidence_sources", _sources())
    op.create_index("evidence_sources_seen", "evidence_sources", ["seen"])
    _move("evidence", _evidence(), sa.CheckConstraint("n >= 0", name=_CHECK))
    _move("rules", _rules())


_CHECK = "evidence_n_not_negative"


def _environment() -> sa.Column[Any]:
    return sa.Column("environment", sa.String(32), primary_key=True, server_default=_FIRST)


def _rules() -> list[sa.Column[Any]]:
    return [
        sa.Column("version", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("document", sa.Text, nullable=False),
        sa.Column("author", sa.Text, nullable=False),
        sa.Column("reason", sa.Text, nullable=False),
        sa.Column("at", sa.Double, nullable=False),
        sa.Column("sha256", sa.String(64), nullable=False),
    ]


def _evidence() -> list[sa.Column[Any]]:
    return [
        sa.Column("digest", sa.LargeBinary, primary_key=True),
        sa.Column("key", sa.Text, nullable=False),
        sa.Column("n", sa.BigInteger, nullable=False),
    ]


def _sources() -> list[sa.Column[Any]]:
    return [
        sa.Column("source", sa.Text, primary_key=True),
        sa.Column("sequence", sa.BigInteger, nullable=False),
        sa.Column("seen", sa.BigInteger, nullable=False),
    ]


def _move(name: str, columns: Sequence[sa.Column[Any]], *constraints: sa.Constraint) -> None:
    """Make the table anew with *columns*: SQLite cannot change the key of one. The rows stay."""
    before = f"{name}_before"
    if name == "evidence_sources":
        op.drop_index("evidence_sources_seen", name)
    op.rename_table(name, before)
    # PostgreSQL gives the names of constraints to a schema, not to a table, and keeps them when renaming.
    if op.get_bind().dialect.name == "postgresql":
        for constraint in (f"{name}_pkey", *(str(given.name) for given in constraints)):
            op.execute(f"ALTER TABLE {before} DROP CONSTRAINT {constraint}")
    op.create_table(name, *columns, *constraints)
    kept = ", ".join(column.name for column in columns if column.name != "environment")
    op.execute(f"INSERT INTO {name} ({kept}) SELECT {kept} FROM {before}")  # noqa: S608 - names from above
    op.drop_table(before)
