"""What is told of an error is a line, and no value that was to be written."""

from __future__ import annotations

import pytest
from sqlalchemy.exc import OperationalError

from storage.errors import said


@pytest.mark.parametrize(
    ("error", "words"),
    [
        (
            OperationalError("INSERT INTO patients", {"name": "Doe"}, Exception("disk I/O error\nmore")),
            "disk I/O error",
        ),
        (ValueError("one line\nand another"), "one line"),
        (ValueError(), "ValueError"),
        (KeyError("mm"), "'mm'"),
    ],
)
def test_the_first_line_is_told_without_a_statement(error: Exception, words: str) -> None:
    assert said(error) == words
