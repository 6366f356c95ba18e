"""Every transaction in which storage commitment of an object was asked for, not the last alone."""

import sqlalchemy as sa
from alembic import op

revision = "0012"
down_revision = "0011"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "commitments",
        sa.Column("id", sa.Integer(), primary_key=True),
        sa.Column("delivery_pk", sa.Integer(), sa.ForeignKey("deliveries.id"), nullable=False),
        sa.Column("transaction_uid", sa.String(length=64), nullable=False),
    )
    op.create_index("ix_commitments_delivery_pk", "commitments", ["delivery_pk"])
    op.create_index("ix_commitments_transaction_uid", "commitments", ["transaction_uid"])
    op.execute(
        "INSERT INTO commitments (delivery_pk, transaction_uid) SELECT id, transaction_uid FROM deliveries "
        "WHERE transaction_uid != '' AND state IN ('sent', 'unconfirmed')"
    )
    op.drop_index("ix_deliveries_transaction", "deliveries")
    op.drop_column("deliveries", "transaction_uid")


def downgrade() -> None:
    uid = sa.Column("transaction_uid", sa.String(length=64), nullable=False, server_default="")
    op.add_column("deliveries", uid)
    op.create_index("ix_deliveries_transaction", "deliveries", ["transaction_uid"])
    op.execute(
        "UPDATE deliveries SET transaction_uid = COALESCE((SELECT transaction_uid FROM commitments "
        "WHERE delivery_pk = deliveries.id ORDER BY id DESC LIMIT 1), '')"
    )
    op.drop_table("commitments")
