"""Which images of a series were deleted: a study is read again once those that were read are back."""

import sqlalchemy as sa
from alembic import op

revision = "0008"
down_revision = "0007"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("series", sa.Column("deleted_uids", sa.JSON(), server_default="[]", nullable=False))


def downgrade() -> None:
    op.drop_column("series", "deleted_uids")
