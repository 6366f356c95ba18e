"""Findings on a terminal are called as the reports call them, and are legible on a narrow one."""

from __future__ import annotations

import io

import numpy as np
import pytest
from pydicom import Dataset
from pydicom.uid import Comprehensive3DSRStorage
from rich.console import Console
from rich.table import Table

from inference.findings import Mask
from node.commands.findings_table import caveats, findings_table, guidelines_table
from node.demo.board import arrival_table, truth_table
from node.demo.course import Sight
from node.demo.patients import RECIPES
from node.results import codes
from node.web.presentation import percent
from training.phantoms.nodules import Lesion, Nodule

PLACE = (-103.4, -57.6, -1203.2)
CHANGE = {
    "category": "increased",
    "volume_change_percent": 142.2,
    "days": 182,
    "doubling_time_days": 143.0,
}
NODULE = {
    "label": "Nodule",
    "center_mm": list(PLACE),
    "long_axis_mm": 16.4,
    "volume_mm3": 1341.0,
    "score": 0.75,
    "malignancy": 0.46,
    "change": CHANGE,
}
LESIONS = {"reader": "lung-nodules", "findings": [NODULE], "classes": []}
CLASSES = {
    "reader": "chest-xray",
    "findings": [],
    "classes": [{"label": "Consolidation", "probability": 0.5}],
}
HEADINGS = ("reader", "finding", "where (LPS mm)", "long axis", "volume", "score", "suspicion", "change")


def headings(table: Table) -> list[str]:
    return [str(column.header) for column in table.columns]


def drawn(table: Table, width: int) -> str:
    out = io.StringIO()
    Console(file=out, width=width).print(table)
    return out.getvalue()


def words(table: Table, width: int) -> set[str]:
    return set(drawn(table, width).replace("│", " ").split())


def cells(table: Table) -> set[str]:
    return {str(cell) for column in table.columns for cell in column.cells}


def sight() -> Sight:
    mask = Mask((0, 0, 0), np.ones((1, 1, 1), bool))
    lesion = Lesion(Nodule(PLACE, 12.1), PLACE, 12.1, 900.0, "part-solid", False, mask)
    return Sight(RECIPES[0], "delivered", lesions=(lesion,), readings=(LESIONS,))


def arrived() -> Dataset:
    header = Dataset()
    header.PatientID, header.Modality = "DEMO-1", "SR"
    header.SOPClassUID, header.SOPInstanceUID = Comprehensive3DSRStorage, "2.25." + 39 * "1"
    header.SeriesDescription = "AI measurements, lung-nodules (Overread)"
    return header


@pytest.mark.parametrize("table", [findings_table([], 200), truth_table([], 200)])
def test_what_the_networks_suspect_is_not_called_malignancy_or_its_probability(table: Table) -> None:
    assert codes.SUSPICION.meaning.startswith("Suspicion")
    assert "suspicion" in headings(table)
    assert not {"malignancy", "probability"} & set(headings(table))


def test_what_only_a_look_found_says_so_in_place_of_a_score() -> None:
    looked = {**LESIONS, "findings": [{**NODULE, "by_look": True}]}
    assert {"75 %", "Nodule"} <= cells(findings_table([LESIONS], 120))
    told = cells(findings_table([looked], 120))
    assert "Nodule, found at its place in the prior" in told and "75 %" not in told


def test_a_box_around_evidence_has_a_place_and_no_size() -> None:
    box = {
        "label": "Edema",
        "center_px": [120.0, 80.0],
        "score": 0.42,
        "long_axis_px": 96.0,
        "area_px": 6144.0,
    }
    evidence = {"reader": "chest-xray", "findings": [{**box, "kind": "saliency"}]}
    told = cells(findings_table([evidence], 140))
    assert {"Edema", "120, 80 px", "42 %"} <= told and not {"96 px", "6144 px²"} & told
    outlined = {"reader": "polyps", "findings": [{**box, "kind": None}]}
    assert {"96 px", "6144 px²"} <= cells(findings_table([outlined], 140))


def test_what_was_measured_of_no_finding_and_what_is_never_claimed_is_told_with_its_doubt() -> None:
    ratio = {"label": "Cardiothoracic ratio", "value": 0.4738, "unit": "{ratio}", "caveat": "An AP view."}
    width = {"label": "Transverse diameter of the heart", "value": 131.4, "unit": "mm", "caveat": ""}
    normal = {"label": "Normal", "probability": 0.9, "caveat": "Never claimed."}
    measured = {**CLASSES, "classes": [*CLASSES["classes"], normal], "measurements": [ratio, width]}
    told = cells(findings_table([measured], 140))
    assert {"Cardiothoracic ratio 0.47", "Transverse diameter of the heart 131 mm"} <= told
    assert list(caveats([measured, measured])) == ["Never claimed.", "An AP view."]


def test_a_wide_terminal_shows_everything() -> None:
    assert headings(findings_table([LESIONS, CLASSES], 120)) == list(HEADINGS)
    assert "-103, -58, -1203" in drawn(findings_table([LESIONS], 120), 120)
    assert len(truth_table([sight()], 120).columns) == 8


@pytest.mark.parametrize("width", [80, 120])
def test_no_word_and_no_number_is_broken(width: int) -> None:
    table = findings_table([LESIONS, CLASSES], width)
    assert all(len(line) <= width for line in drawn(table, width).splitlines())
    assert {"lung-nodules", "Consolidation", "suspicion", "increased", "doubling"} <= words(table, width)
    assert "16.4 mm" in drawn(table, width)
    truth = truth_table([sight()], width)
    assert all(len(line) <= width for line in drawn(truth, width).splitlines())
    assert {"DEMO-1", "nodule,", "Nodule", "suspicion", "increased"} <= words(truth, width)


@pytest.mark.parametrize("width", [80, 120])
def test_what_guidelines_make_of_findings_and_of_the_examination_is_told_in_a_table_of_its_own(
    width: int,
) -> None:
    told = {"guideline": "BTS 2015", "result": "80-300 mm3", "statement": "240 mm3.", "recommendation": "CT."}
    table = guidelines_table(
        [{**LESIONS, "findings": [{**NODULE, "assessments": [told]}], "assessments": [told]}], width
    )
    assert table is not None
    assert {"1 Nodule", "the examination", "BTS 2015", "80-300 mm³", "240 mm³.", "CT."} <= cells(table)
    assert all(len(line) <= width for line in drawn(table, width).splitlines())
    assert guidelines_table([LESIONS, CLASSES], width) is None


def test_a_reading_of_a_part_says_that_it_is_incomplete() -> None:
    unread = {"kind": "unread", "statement": "2 images were not read.", "images": 2}
    gap = {"kind": "interpolated", "statement": "1 missing slice interpolated.", "images": 1}
    none = {"reader": "lung-nodules", "findings": [], "classes": [], "caveats": [gap, unread]}
    assert "nothing found in what was read" in cells(findings_table([none], 120))
    assert list(caveats([none, {**none, "reader": "ct-lesions"}])) == [
        "1 missing slice interpolated.",
        "incomplete: 2 images were not read.",
    ]
    whole = {**none, "caveats": [gap]}
    assert "nothing found" in cells(findings_table([whole], 120))


def test_a_lesion_says_how_much_of_it_was_interpolated() -> None:
    made_up = {**LESIONS, "findings": [{**NODULE, "interpolated": 0.67}]}
    assert "Nodule, 67 % interpolated" in cells(findings_table([made_up], 140))


def test_a_lesion_says_that_the_scan_may_have_cut_it() -> None:
    at_the_end = {**LESIONS, "findings": [{**NODULE, "cut": True}]}
    assert "Nodule, at the end of the scan" in cells(findings_table([at_the_end], 140))


def test_a_narrow_terminal_gives_up_the_place_and_keeps_what_a_person_acts_on() -> None:
    shown = headings(findings_table([LESIONS], 80))
    assert "where (LPS mm)" not in shown
    assert {"finding", "long axis", "suspicion", "change"} <= set(shown)


def test_a_narrow_terminal_keeps_the_score_of_classes_and_gives_up_empty_columns() -> None:
    assert "score" in headings(findings_table([CLASSES], 50))
    assert "volume" not in headings(findings_table([CLASSES], 50))


def test_the_probability_of_a_class_is_told_as_on_the_status_page() -> None:
    assert percent(0.46) == "46 %"
    assert {"46 %", "75 %"} <= cells(findings_table([LESIONS], 80))
    assert {"46 %", "75 %"} <= cells(truth_table([sight()], 120))


def test_what_arrived_is_legible_without_its_uids_on_a_narrow_terminal() -> None:
    assert str(arrived().SOPInstanceUID) in words(arrival_table([arrived()], 120), 120)
    assert "SOP Instance UID" not in headings(arrival_table([arrived()], 80))
    assert {"DEMO-1", "(Comprehensive", "measurements,"} <= words(arrival_table([arrived()], 80), 80)
