"""Priors: studies that were fetched, lookup by patient and date, archives that still have to be asked."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.add_column("studies", sa.Column("fetched_until", sa.DateTime(timezone=True), nullable=True))
    op.create_index("ix_studies_patient_date", "studies", ["patient_pk", "study_date"])
    op.drop_index("ix_studies_patient_pk", table_name="studies")
    op.create_table(
        "unanswered",
        sa.Column("id", sa.Integer(), nullable=False),
        sa.Column("study_pk", sa.Integer(), nullable=False),
        sa.Column("archive", sa.String(length=64), nullable=False),
        sa.Column("first_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("next_at", sa.DateTime(timezone=True), nullable=False),
        sa.Column("attempts", sa.Integer(), nullable=False),
        sa.Column("last_error", sa.String(length=2000), nullable=False),
        sa.ForeignKeyConstraint(["study_pk"], ["studies.id"]),
        sa.PrimaryKeyConstraint("id"),
        sa.UniqueConstraint("study_pk", "archive"),
    )
    op.create_index("ix_unanswered_next_at", "unanswered", ["next_at"])


def downgrade() -> None:
    op.drop_table("unanswered")
    op.create_index("ix_studies_patient_pk", "studies", ["patient_pk"])
    op.drop_index("ix_studies_patient_date", table_name="studies")
    op.drop_column("studies", "fetched_until")
