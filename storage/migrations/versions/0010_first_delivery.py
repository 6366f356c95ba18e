"""When an object that was sent again was first sent; and no status of refusals that nobody was answered."""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None

OF_CONNECTIONS = (0x0110, 0x0124, 0xA700)  # that their refusals were written down with


def upgrade() -> None:
    op.add_column("deliveries", sa.Column("first_sent_at", sa.DateTime(timezone=True), nullable=True))
    of_a_connection = f"uid = '' AND sop_class = '' AND path = '' AND status IN {OF_CONNECTIONS}"
    set_aside = "reason LIKE 'received, then set aside:%'"  # after it had been acknowledged
    op.execute(f"UPDATE refusals SET status = 0 WHERE {set_aside} OR ({of_a_connection})")


def downgrade() -> None:
    op.drop_column("deliveries", "first_sent_at")
