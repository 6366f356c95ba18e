"""Findings as a person reads them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from rich.table import Table

Json = Mapping[str, Any]


def findings_table(readings: Iterable[Json]) -> Table:
    """``readings`` as in ``reading.json``: a line for each lesion and each image-level class."""
    table = Table(
        "reader", "finding", "where (LPS mm)", "long axis", "volume", "score", "suspicion", "change"
    )
    for column in table.columns[3:7]:
        column.justify = "right"
    for reading in readings:
        for finding in reading.get("findings", ()):
            table.add_row(reading["reader"], *_cells(finding))
        for found in reading.get("classes", ()):
            table.add_row(
                reading["reader"], found["label"], "", "", "", f"{found['probability']:.2f}", "", ""
            )
        if not (reading.get("findings") or reading.get("classes")):
            table.add_row(reading["reader"], "nothing found", "", "", "", "", "", "")
    return table


def _cells(finding: Json) -> tuple[str, ...]:
    malignancy = finding.get("malignancy")
    return (
        finding["label"],
        _place(finding),
        *_size(finding),
        f"{finding['score']:.2f}",
        "" if malignancy is None else f"{malignancy:.2f}",
        change_in_words(finding.get("change")),
    )


def _size(finding: Json) -> tuple[str, str]:
    if (pixels := finding.get("long_axis_px")) is not None:
        return f"{pixels:.0f} px", f"{finding['area_px']:.0f} px²"
    return f"{finding['long_axis_mm']:.1f} mm", f"{finding['volume_mm3']:.0f} mm³"


def change_in_words(change: Json | None) -> str:
    """ "increased +142 % in 182 days, doubling time 143 days"."""
    if not change:
        return ""
    words = str(change["category"])
    if (percent := change.get("volume_change_percent")) is not None:
        words += f" {percent:+.0f} % in {change['days']} days"
    if (doubling := change.get("doubling_time_days")) is not None and doubling > 0:
        words += f", doubling time {doubling:.0f} days"
    return words


def _place(finding: Json) -> str:
    place = finding.get("center_mm") or finding.get("center_px") or ()
    return ", ".join(f"{value:.0f}" for value in place)
