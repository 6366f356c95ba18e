"""What the result objects of a reading were made under: other kinds of objects asked for make new ones."""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("readings", sa.Column("edition", sa.String(64), server_default="", nullable=False))


def downgrade() -> None:
    op.drop_column("readings", "edition")
