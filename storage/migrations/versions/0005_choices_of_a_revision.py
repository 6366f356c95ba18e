"""Why each series was or was not read, beside the revision it was decided for."""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("revisions", sa.Column("choices", sa.JSON(), nullable=False, server_default="[]"))


def downgrade() -> None:
    op.drop_column("revisions", "choices")
