"""Days are said as people write them."""

from __future__ import annotations

import pytest

from inference.dates import as_day


@pytest.mark.parametrize(
    ("date", "said"),
    [
        ("20260131", "2026-01-31"),
        ("", "unknown date"),
        ("2026.01.31", "2026.01.31"),
        ("2026-1-3", "2026-1-3"),
    ],
)
def test_a_day_is_said_year_first_and_what_is_none_as_it_is(date: str, said: str) -> None:
    assert as_day(date) == said
