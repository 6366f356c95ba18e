"""Findings as a person reads them on a terminal."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from rich.table import Table

from node.commands.fitted_table import Heading, Row, fitted_table

Json = Mapping[str, Any]

LONG_AXIS = Heading("long axis", number=True)
VOLUME = Heading("volume", number=True, spare=2)
SCORE = Heading("score", number=True, spare=1)
SUSPICION = Heading("suspicion", number=True)
CHANGE = Heading("change", least=len("increased +100 %"))
HEADINGS = (
    Heading("reader"),
    Heading("finding"),
    Heading("where (LPS mm)", number=True, spare=3),
    LONG_AXIS,
    VOLUME,
    SCORE,
    SUSPICION,
    CHANGE,
)
GUIDELINE_HEADINGS = (
    Heading("finding"),
    Heading("guideline"),
    Heading("result"),
    Heading("because", least=24, spare=1),
    Heading("recommends", least=24),
)


def findings_table(readings: Iterable[Json], width: int) -> Table:
    """``readings`` as in ``reading.json``, a line for each lesion, each image-level class and each further
    measurement, in ``width`` characters."""
    return fitted_table(HEADINGS, [row for reading in readings for row in _rows(reading)], width)


def guidelines_table(readings: Iterable[Json], width: int) -> Table | None:
    """What guidelines make of each finding, and of the examination; None where they make nothing of any."""
    rows = [row for reading in readings for row in _assessed(reading)]
    return fitted_table(GUIDELINE_HEADINGS, rows, width) if rows else None


def caveats(readings: Iterable[Json]) -> Iterator[str]:
    """What of the series was not read as it was sent, and what makes a measurement doubtful, a line each,
    every line once."""
    yield from dict.fromkeys(told for reading in readings for told in _doubts(reading))


def _doubts(reading: Json) -> Iterator[str]:
    for one in reading.get("caveats", ()):
        yield f"{'incomplete: ' if one['kind'] == 'unread' else ''}{one['statement']}"
    for one in (*reading.get("classes", ()), *reading.get("measurements", ())):
        if one.get("caveat"):
            yield one["caveat"]


def _assessed(reading: Json) -> Iterator[Row]:
    numbered = [(f"{n} {one['label']}", one) for n, one in enumerate(reading.get("findings", ()), 1)]
    for name, assessed in (*numbered, ("the examination", reading)):
        for one in assessed.get("assessments", ()):
            told = one["guideline"], one["result"], one["statement"], one["recommendation"]
            yield name, *(words.replace("mm3", "mm³") for words in told)


def _rows(reading: Json) -> Iterator[Row]:
    reader = reading["reader"]
    findings, classes = reading.get("findings", ()), reading.get("classes", ())
    for finding in findings:
        yield reader, _named(finding), _place(finding), *_size(finding), *judgement(finding)
    for found in classes:
        yield reader, found["label"], "", "", "", percent(found["probability"]), "", ""
    for one in reading.get("measurements", ()):
        yield reader, f"{one['label']} {measured(one)}", "", "", "", "", "", ""
    if not (findings or classes):
        nothing = "nothing found in what was read" if _is_incomplete(reading) else "nothing found"
        yield reader, nothing, "", "", "", "", "", ""


def _is_incomplete(reading: Json) -> bool:
    return any(one["kind"] == "unread" for one in reading.get("caveats", ()))


def _named(finding: Json) -> str:
    """With how much of it was made up from the slices around those that are missing, whether the scan may
    have cut it, and whether only a look at its place in the prior found it."""
    words = [str(finding["label"])]
    if share := finding.get("interpolated", 0.0):
        words.append(f"{percent(share)} interpolated")
    if finding.get("cut", False):
        words.append("at the end of the scan")
    if finding.get("by_look", False):
        words.append("found at its place in the prior")
    return ", ".join(words)


def judgement(finding: Json) -> tuple[str, str, str]:
    """Score, where it is the reader's own, suspicion of malignancy, and how it changed."""
    malignancy = finding.get("malignancy")
    return (
        "" if finding.get("by_look", False) else percent(finding["score"]),
        "" if malignancy is None else percent(malignancy),
        change_in_words(finding.get("change")),
    )


def measured(one: Json) -> str:
    """ "0.47" of a ratio, else "131 mm"."""
    return f"{one['value']:.2f}" if one["unit"] == "{ratio}" else f"{one['value']:.0f} {one['unit']}"


def percent(share: float) -> str:
    """As on the status page: "46 %"."""
    return f"{100 * share:.0f} %"


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


def _size(finding: Json) -> tuple[str, str]:
    """Long axis and volume, or area on a picture; neither of a box around evidence."""
    if finding.get("kind") == "saliency":
        return "", ""
    if (pixels := finding.get("long_axis_px")) is not None:
        return f"{pixels:.0f} px", f"{finding['area_px']:.0f} px²"
    return f"{finding['long_axis_mm']:.1f} mm", f"{finding['volume_mm3']:.0f} mm³"


def _place(finding: Json) -> str:
    place = finding.get("center_mm") or finding.get("center_px") or ()
    unit = " px" if finding.get("center_px") else ""
    return ", ".join(f"{value:.0f}" for value in place) + unit
