"""What the demo shows on the terminal: studies on their way, findings beside the truth, what arrived."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from pydicom import Dataset
from rich.console import Console
from rich.live import Live
from rich.table import Table

from node.commands.findings_table import CHANGE, LONG_AXIS, SCORE, SUSPICION, VOLUME, judgement
from node.commands.fitted_table import Heading, Row, fitted_table
from node.commands.terminal import say_on_the_way
from node.demo.course import Sight
from node.demo.truth import Match, compare

STYLES = {"delivered": "green", "skipped": "yellow", "failed": "bold red"}
PATIENT = Heading("patient")
TRUTH = (PATIENT, Heading("true"), Heading("found"), LONG_AXIS, VOLUME, SCORE, SUSPICION, CHANGE)
ARRIVALS = (PATIENT, Heading("object"), Heading("series"), Heading("SOP Instance UID", spare=1))


@contextmanager
def way_shown(terminal: Console) -> Iterator[Callable[[Sequence[Sight]], None]]:
    """Gives what shows how far the studies are: a table that is drawn anew, or lines where there is no
    terminal."""
    if terminal.is_terminal:
        with Live(console=terminal) as live:
            yield lambda sights: live.update(way_table(sights))
    else:
        yield WayLines()


class WayLines:
    """Says in a line on standard error whenever a study is a stage further."""

    def __init__(self) -> None:
        self._told: dict[str, str] = {}

    def __call__(self, sights: Sequence[Sight]) -> None:
        for sight in sights:
            who = sight.recipe.patient.patient_id
            if self._told.get(who) != sight.in_words:
                self._told[who] = sight.in_words
                say_on_the_way(f"{who} {sight.in_words}")


def way_table(sights: Iterable[Sight]) -> Table:
    """A line for each study: how far it is."""
    table = Table("patient", "study", "images", "state", "findings", "arrived at the PACS")
    for sight in sights:
        table.add_row(
            sight.recipe.patient.patient_id,
            sight.recipe.about,
            str(sight.images or ""),
            sight.in_words,
            "" if sight.findings is None else str(sight.findings),
            ", ".join(str(header.get("Modality", "?")) for header in sight.arrived),
            style=STYLES.get(sight.state),
        )
    return table


def truth_table(sights: Iterable[Sight], width: int) -> Table:
    """A line for each true lesion and each finding, and for each study without either."""
    rows: list[Row] = []
    for sight in sights:
        who = sight.recipe.patient.patient_id
        matches = compare(sight.lesions, sight.readings)
        rows += [(who, *_cells(match)) for match in matches]
        if not matches:
            found = "nothing" if sight.state == "delivered" else sight.in_words
            rows.append((who, "nothing", found, "", "", "", "", ""))
    return fitted_table(TRUTH, rows, width, "Findings")


def arrival_table(headers: Sequence[Dataset], width: int) -> Table:
    """A line for each result object that the PACS holds."""
    rows = [
        (
            str(header.get("PatientID", "")),
            f"{header.get('Modality', '')} ({header.SOPClassUID.name.removesuffix(' Storage')})",
            str(header.get("SeriesDescription", "")),
            str(header.SOPInstanceUID),
        )
        for header in headers
    ]
    return fitted_table(ARRIVALS, rows, width, "Arrived")


def _cells(match: Match) -> tuple[str, ...]:
    lesion, finding = match.lesion, match.finding
    true = f"{lesion.kind} nodule, {lesion.diameter_mm:.1f} mm" if lesion else "nothing"
    if finding is None:
        return true, "missed", "", "", "", "", ""
    return (
        true,
        str(finding["label"]),
        f"{finding['long_axis_mm']:.1f} mm",
        f"{finding['volume_mm3']:.0f} mm³",
        *judgement(finding),
    )
