"""Images have no digest: none was ever taken."""

import sqlalchemy as sa
from alembic import op

revision = "0016"
down_revision = "0015"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("instances", "sha256")


def downgrade() -> None:
    op.add_column("instances", sa.Column("sha256", sa.String(64), server_default="", nullable=False))
