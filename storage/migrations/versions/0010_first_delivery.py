"""When an object that was sent again was first sent; and no status of refusals that nobody was answered."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("first_sent_at", sa.DateTime(timezone=True), nullable=True))
    op.execute("UPDATE refusals SET status = 0 WHERE uid = '' AND sop_class = ''")


def downgrade() -> None:
    op.drop_column("deliveries", "first_sent_at")
