"""What is said of an error is true of it."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
from sqlalchemy.exc import NoResultFound, OperationalError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from node.commands.group import sentence

ROOT = Path(__file__).parents[3]


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


def test_a_command_whose_reader_has_ended_ends_without_a_word(tmp_path: Path) -> None:
    """As with `| head`, which reads as much as it shows."""
    command = [sys.executable, "-c", "from node.cli import app; app()", "check", "--print-config"]
    with subprocess.Popen(
        command,
        cwd=tmp_path,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    ) as ended:
        assert ended.stdout is not None
        ended.stdout.close()
        assert ended.stderr is not None
        assert ended.stderr.read() == b""
    assert ended.returncode == 1
