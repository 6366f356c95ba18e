"""Findings on a terminal are called as the reports call them."""

from __future__ import annotations

from node.commands.findings_table import findings_table
from node.demo.board import truth_table
from node.results import codes


def test_what_the_networks_suspect_is_not_called_malignancy_or_its_probability() -> None:
    assert codes.SUSPICION.meaning.startswith("Suspicion")
    for table in (findings_table([]), truth_table([])):
        headings = [str(column.header) for column in table.columns]
        assert "suspicion" in headings
        assert not {"malignancy", "probability"} & set(headings)
