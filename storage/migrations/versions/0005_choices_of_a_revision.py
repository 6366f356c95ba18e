"""Why each series was or was not read, beside the revision it was decided for."""

import re

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

_WRITTEN = re.compile(r"series (\S+) (read|not read)(?: by (\S+))?: (.+)", re.DOTALL)  # a line until then


def upgrade() -> None:
    op.add_column("revisions", sa.Column("choices", sa.JSON(), nullable=False, server_default="[]"))
    told = sa.text(
        "SELECT revisions.id, events.text FROM events JOIN studies ON studies.uid = events.study_uid "
        "JOIN revisions ON revisions.study_pk = studies.id AND revisions.number = events.revision "
        "WHERE events.stage = 'select' ORDER BY events.id"
    )
    choices: dict[int, list[dict[str, object]]] = {}
    for revision_pk, text in op.get_bind().execute(told):
        if written := _WRITTEN.fullmatch(text):
            series_uid, outcome, reader, reason = written.groups()
            choice = {
                "series_uid": series_uid,
                "reader": reader or "",
                "read": outcome == "read",
                "reason": reason,
            }
            choices.setdefault(revision_pk, []).append(choice)
    revisions = sa.table("revisions", sa.column("id", sa.Integer), sa.column("choices", sa.JSON))
    for revision_pk, chosen in choices.items():
        op.execute(revisions.update().where(revisions.c.id == revision_pk).values(choices=chosen))


def downgrade() -> None:
    op.drop_column("revisions", "choices")
