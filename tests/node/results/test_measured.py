"""What was measured on a radiograph as a whole is in every result: the heart, its ratio, and its lines."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import highdicom as hd
import numpy as np
import pydicom
import pytest
from highdicom import sr

from node.results import ResultFile, codes
from node.results.keyimages import AXIS, whole_image
from tests.node.results.phantoms import Case
from tests.validators import dciodvfy, dcmpschk, dsrdump
from tests.validators.cases import radiograph, without_findings


@pytest.fixture(scope="module")
def case(tmp_path_factory: pytest.TempPathFactory) -> Case:
    """A radiograph without findings: what is drawn of it is what was measured."""
    return without_findings(radiograph(tmp_path_factory.mktemp("measured") / "dx"))


@pytest.fixture(scope="module")
def written(case: Case, tmp_path_factory: pytest.TempPathFactory) -> dict[str, ResultFile]:
    return case.write(tmp_path_factory.mktemp("out"), "seg", "sr", "pr", "sc")


@pytest.mark.needs("dciodvfy", "dcmpschk", "dsrdump")
def test_every_result_is_valid(written: dict[str, ResultFile]) -> None:
    assert set(written) == {"seg-structures", "sr-classes", "pr", "sc-1"}
    for file in written.values():
        assert dciodvfy(file.path) == [], file.path.name
    assert dcmpschk(written["pr"].path) == []
    assert dsrdump(written["sr-classes"].path) == []


def test_the_heart_is_the_third_segment(written: dict[str, ResultFile], case: Case) -> None:
    segmented = hd.seg.segread(written["seg-structures"].path)
    heart = segmented.get_segment_description(3)
    assert heart.segment_label == "Heart"
    assert heart.segmented_property_type == codes.HEART.concept
    assert heart.segmented_property_category == codes.ANATOMICAL_STRUCTURE.concept
    drawn = case.reading.segments[2].mask
    assert drawn is not None
    assert np.array_equal(segmented.pixel_array[2] > 0, drawn.voxels[0])


def comments_of(group: sr.MeasurementsAndQualitativeEvaluations) -> list[str]:
    items = group[0].ContentSequence
    return [text.TextValue for text in items if text.name == codes.COMMENT.concept]


def test_normal_is_a_probability_and_is_said_to_be_never_claimed(written: dict[str, ResultFile]) -> None:
    found = sr.srread(written["sr-classes"].path).content.get_image_measurement_groups()
    of_classes = [group for group in found if group.get_measurements(codes.PROBABILITY.concept)]
    *others, normal = of_classes
    assert [each.value for each in normal.get_qualitative_evaluations(codes.NORMAL.concept)] == [
        codes.UNDETERMINED.concept
    ]
    assert normal.get_measurements()[0].value == 2.0
    assert comments_of(normal) == [
        "Normal is a probability alone: without an operating point it is called neither present nor absent."
    ]
    assert others and not any(map(comments_of, others))


def test_the_report_has_each_number_with_its_lines_its_site_and_its_doubt(
    written: dict[str, ResultFile], case: Case
) -> None:
    found = sr.srread(written["sr-classes"].path).content.get_image_measurement_groups()
    measured = {m.name: (m, group) for group in found for m in group.get_measurements()}
    for one in case.reading.measurements:
        item, group = measured[codes.concept_of(one.code)]
        assert item.value == pytest.approx(one.value, abs=0.001)
        assert item.unit == codes.UNITS[one.unit].concept
        assert group.finding_sites[0].value == codes.concept_of(one.site)
        assert comments_of(group) == ([one.caveat] if one.caveat else [])
        for line, drawn in zip(one.lines, item.referenced_coordinates, strict=True):
            expected = [(x + 0.5, y + 0.5) for x, y, _ in (line.start, line.end)]
            assert np.allclose(drawn.value, expected)


def test_the_overlay_draws_each_line_once_and_says_each_value(written: dict[str, ResultFile]) -> None:
    state = pydicom.dcmread(written["pr"].path)
    items = state.GraphicAnnotationSequence
    lines = [tuple(g.GraphicData) for item in items for g in item.get("GraphicObjectSequence", [])]
    assert len(lines) == len(set(lines)) == 3
    said = [text.UnformattedTextValue for item in items for text in item.TextObjectSequence]
    assert said[:3] == [
        "Cardiothoracic ratio: 0.41",
        "Transverse diameter of the heart: 108 mm",
        "Inner transverse diameter of the chest: 264 mm",
    ]


def test_the_summary_shows_the_lines_on_the_picture(case: Case) -> None:
    shown = whole_image(case.reading, case.volume, 320).astype(int)
    bare = whole_image(replace(case.reading, measurements=()), case.volume, 320).astype(int)
    assert (np.abs(shown[240, 60:260] - AXIS) < 40).all()
    rows = np.flatnonzero((shown != bare).any((1, 2)))
    assert {200, 220, 240} <= set(rows.tolist()) and rows.min() > 195 and rows.max() < 245


def test_the_same_reading_is_the_same_bytes_again(
    written: dict[str, ResultFile], case: Case, tmp_path: Path
) -> None:
    for name, file in case.write(tmp_path, "seg", "sr", "pr", "sc").items():
        assert file.path.read_bytes() == written[name].path.read_bytes(), name
