"""When a study's images were deleted: what was found in them stays, and they may be fetched or sent again."""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("images_deleted_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_events_at", "events", ["at"])


def downgrade() -> None:
    op.drop_index("ix_events_at", "events")
    op.drop_column("studies", "images_deleted_at")
