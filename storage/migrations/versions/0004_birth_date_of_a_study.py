"""The birth date that a study's own images tell: where an ID was given to two people, it tells them apart."""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("birth_date", sa.String(length=16), nullable=False, server_default=""))
    op.execute(
        "UPDATE studies SET birth_date = "
        "(SELECT patients.birth_date FROM patients WHERE patients.id = studies.patient_pk)"
    )


def downgrade() -> None:
    op.drop_column("studies", "birth_date")
