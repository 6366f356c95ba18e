"""Choices of series as lines of the timeline."""

from __future__ import annotations

import pytest

from storage.choices import SeriesChoice


@pytest.mark.parametrize(
    "choice",
    [
        SeriesChoice("1.2.3", "lung-nodules", True, "the only series: CT, 1 mm"),
        SeriesChoice("1.2.3", "lung-nodules", False, "thick: 5 mm; not read by: anyone\nelse"),
        SeriesChoice("1.2.3", "", False, "a localizer"),
    ],
)
def test_a_choice_is_found_again_in_its_line(choice: SeriesChoice) -> None:
    assert SeriesChoice.parse(choice.text) == choice


@pytest.mark.parametrize("text", ["", "a localizer", "series 1.2.3 was long: 300 images", "series  read: x"])
def test_other_lines_tell_of_no_choice(text: str) -> None:
    assert SeriesChoice.parse(text) is None
