"""Samples have a name, a unit and both whole answers; secrets of the store's own."""

import secrets

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"


def upgrade() -> None:
    """Add the columns, name the samples that are there, create the table of secrets."""
    for name, kind in (("name", sa.String(16)), ("unit", sa.String(16)), ("whole", sa.Text)):
        op.add_column("samples", sa.Column(name, kind, nullable=False, server_default=""))
    samples = sa.table("samples", sa.column("id"), sa.column("name"))
    connection = op.get_bind()
    for number in connection.execute(sa.select(samples.c.id)).scalars().all():
        named = samples.update().where(samples.c.id == number).values(name=secrets.token_hex(8))
        connection.execute(named)
    op.create_index("samples_name", "samples", ["name"])
    op.create_index("samples_unit", "samples", ["unit"])
    op.create_table(
        "secrets",
        sa.Column("name", sa.Text, primary_key=True),
        sa.Column("value", sa.LargeBinary, nullable=False),
    )


def downgrade() -> None:
    """Back to samples of one difference. Units cannot be found again afterwards: their key is gone."""
    op.drop_table("secrets")
    op.drop_index("samples_unit", "samples")
    op.drop_index("samples_name", "samples")
    for name in ("whole", "unit", "name"):
        op.drop_column("samples", name)
