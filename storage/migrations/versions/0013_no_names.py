"""Names and sex of patients are forgotten: nothing here asks for them."""

import sqlalchemy as sa
from alembic import op

revision = "0013"
down_revision = "0012"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.drop_column("patients", "name")
    op.drop_column("patients", "sex")


def downgrade() -> None:
    op.add_column("patients", sa.Column("name", sa.String(1024), server_default="", nullable=False))
    op.add_column("patients", sa.Column("sex", sa.String(16), server_default="", nullable=False))
