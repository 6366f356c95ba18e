"""Storage commitment: when it is asked for, in which transaction, and how often it was."""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("commit_due", sa.DateTime(timezone=True), nullable=True))
    op.add_column(
        "deliveries", sa.Column("commit_requests", sa.Integer(), nullable=False, server_default="0")
    )
    op.add_column(
        "deliveries", sa.Column("transaction_uid", sa.String(length=64), nullable=False, server_default="")
    )
    op.create_index("ix_deliveries_transaction", "deliveries", ["transaction_uid"])


def downgrade() -> None:
    op.drop_index("ix_deliveries_transaction", table_name="deliveries")
    op.drop_column("deliveries", "transaction_uid")
    op.drop_column("deliveries", "commit_requests")
    op.drop_column("deliveries", "commit_due")
