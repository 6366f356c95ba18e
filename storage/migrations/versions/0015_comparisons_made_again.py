"""Which studies are closed once more only to be compared again: they are read after all others."""

import sqlalchemy as sa
from alembic import op

revision = "0015"
down_revision = "0014"
branch_labels = None
depends_on = None

COLUMNS = ("studies", "compare_again"), ("revisions", "compares_again")


def upgrade() -> None:
    for table, name in COLUMNS:
        op.add_column(table, sa.Column(name, sa.Boolean(), nullable=False, server_default=sa.false()))


def downgrade() -> None:
    for table, name in COLUMNS:
        op.drop_column(table, name)
