"""What the demo shows on the terminal: studies on their way, findings beside the truth, what arrived."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from pydicom import Dataset
from rich.table import Column, Table

from node.commands.findings_table import change_in_words
from node.demo.course import Sight
from node.demo.truth import Match, compare

STYLES = {"delivered": "green", "skipped": "yellow", "failed": "bold red"}


def way_table(sights: Iterable[Sight]) -> Table:
    """A line for each study: how far it is."""
    table = Table("patient", "study", "images", "state", "findings", "arrived at the PACS")
    for sight in sights:
        table.add_row(
            sight.recipe.patient.patient_id,
            sight.recipe.about,
            str(sight.images or ""),
            f"{sight.state}: {sight.reason}" if sight.reason else sight.state,
            "" if sight.findings is None else str(sight.findings),
            ", ".join(str(header.get("Modality", "?")) for header in sight.arrived),
            style=STYLES.get(sight.state),
        )
    return table


def truth_table(sights: Iterable[Sight]) -> Table:
    """A line for each true lesion and each finding, and for each study without either."""
    columns = ("patient", "true", "found", "long axis", "volume", "score", "suspicion", "change")
    table = Table(*columns, title="Findings", title_justify="left")
    for column in table.columns[3:7]:
        column.justify = "right"
    for sight in sights:
        matches = compare(sight.lesions, sight.readings)
        for match in matches:
            table.add_row(sight.recipe.patient.patient_id, *_cells(match))
        if not matches:
            found = f"not read: {sight.reason}" if sight.state != "delivered" else "nothing"
            table.add_row(sight.recipe.patient.patient_id, "nothing", found)
    return table


def arrival_table(headers: Sequence[Dataset]) -> Table:
    """A line for each result object that the PACS holds."""
    uid = Column("SOP Instance UID", no_wrap=True)
    table = Table("patient", "object", "series", uid, title="Arrived", title_justify="left")
    for header in headers:
        table.add_row(
            str(header.get("PatientID", "")),
            f"{header.get('Modality', '')} ({header.SOPClassUID.name.removesuffix(' Storage')})",
            str(header.get("SeriesDescription", "")),
            str(header.SOPInstanceUID),
        )
    return table


def _cells(match: Match) -> tuple[str, ...]:
    lesion, finding = match.lesion, match.finding
    true = f"{lesion.kind} nodule, {lesion.diameter_mm:.1f} mm" if lesion else "nothing"
    if finding is None:
        return true, "missed", "", "", "", "", ""
    malignancy = finding.get("malignancy")
    return (
        true,
        str(finding["label"]),
        f"{finding['long_axis_mm']:.1f} mm",
        f"{finding['volume_mm3']:.0f} mm³",
        f"{finding['score']:.2f}",
        "" if malignancy is None else f"{malignancy:.2f}",
        change_in_words(finding.get("change")),
    )
