"""What awaits storage commitment is found without a look at all that was ever sent."""

import sqlalchemy as sa
from alembic import op

revision = "0014"
down_revision = "0013"
branch_labels = None
depends_on = None


def upgrade() -> None:
    awaited = sa.text("commit_due IS NOT NULL")
    op.create_index(
        "ix_deliveries_commit_due",
        "deliveries",
        ["destination", "commit_due"],
        sqlite_where=awaited,
        postgresql_where=awaited,
    )


def downgrade() -> None:
    op.drop_index("ix_deliveries_commit_due", "deliveries")
