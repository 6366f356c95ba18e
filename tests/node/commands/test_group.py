"""What is said of an error is true of it."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from node.commands.group import sentence


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (
            OperationalError("SELECT 1", None, Exception("disk I/O error")),
            "the database failed: disk I/O error;",
        ),
        (PoolTimeoutError("QueuePool limit reached"), "the database failed: QueuePool limit reached;"),
        (NoResultFound("No row was found"), "unexpected NoResultFound: No row was found."),
    ],
)
def test_a_fault_of_ours_is_not_said_to_be_the_databases(error: Exception, said: str) -> None:
    assert sentence(error).startswith(said)
