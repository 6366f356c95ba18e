"""Whose the database is."""

import sqlalchemy as sa
from alembic import op

revision = "0011"
down_revision = "0010"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table("owner", sa.Column("node_id", sa.String(64), primary_key=True))


def downgrade() -> None:
    op.drop_table("owner")
