"""Who met which variant: counts by hour, units by digest, and which batches were added."""

import sqlalchemy as sa
from alembic import op

revision = "0006"
down_revision = "0005"


def upgrade() -> None:
    """Three empty tables, and the flag set that a token may be held to."""
    op.create_table(
        "exposures",
        *_variant(),
        sa.Column("hour", sa.Integer, primary_key=True, autoincrement=False),
        sa.Column("n", sa.BigInteger, nullable=False),
        sa.Column("last_at", sa.Double, nullable=False),
    )
    op.create_table(
        "exposed_units",
        *_variant(),
        sa.Column("unit", sa.String(16), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.create_index("exposed_units_unit", "exposed_units", ["environment", "unit"])
    op.create_index("exposed_units_at", "exposed_units", ["environment", "at"])
    op.create_table(
        "exposure_batches",
        _environment(),
        sa.Column("batch", sa.String(128), primary_key=True),
        sa.Column("at", sa.Double, nullable=False),
    )
    op.add_column("tokens", sa.Column("flag_set", sa.Text, nullable=False, server_default=""))


def downgrade() -> None:
    """Drop them, with every token that was held to a flag set: it would get all flags."""
    op.execute(sa.text("DELETE FROM tokens WHERE flag_set <> ''"))
    op.drop_column("tokens", "flag_set")
    op.drop_table("exposure_batches")
    op.drop_table("exposed_units")
    op.drop_table("exposures")


def _environment() -> sa.Column[str]:
    return sa.Column("environment", sa.String(32), primary_key=True, server_default="default")


def _variant() -> list[sa.Column[str]]:
    return [
        _environment(),
        sa.Column("flag", sa.Text, primary_key=True),
        sa.Column("variant", sa.Text, primary_key=True),
    ]
