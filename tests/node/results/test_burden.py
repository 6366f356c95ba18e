"""What the lesions of a PET come to together."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
from highdicom import sr

from inference.findings import Uptake
from node.results import ResultFile
from tests.node.results.phantoms import Case
from tests.validators import dciodvfy, dsrdump


@pytest.fixture
def of_a_pet(case: Case, tmp_path: Path) -> dict[str, ResultFile]:
    hot = [
        replace(finding, uptake=Uptake(suv_max, suv_max / 2, suv_max, 10.0, 3.3), volume_mm3=1500.0)
        for finding, suv_max in zip(case.reading.findings, (8.1, 12.4), strict=True)
    ]
    return case.with_findings(*hot).write(tmp_path, "seg", "sr")


def test_all_lesions_are_summed_and_the_hottest_is_named(of_a_pet: dict[str, ResultFile]) -> None:
    (group,) = sr.srread(of_a_pet["sr-classes"].path).content.get_image_measurement_groups()
    told = {each.name.meaning: (each.value, each.unit.value) for each in group.get_measurements()}
    assert told == {
        "Number of lesions": (2, "1"),
        "SUVbw": (12.4, "{SUVbw}g/ml"),
        "Metabolic Volume": (3.0, "ml"),
        "Total Lesion Glycolysis": (20.0, "g"),
    }
    said = {each.name.meaning: each.value.meaning for each in group.get_qualitative_evaluations()}
    assert said["Lesion"] == "Present"


def test_a_study_read_again_has_the_same_burden_to_follow(case: Case, tmp_path: Path) -> None:
    hot = Uptake(8.1, 4.0, 8.1, 10.0, 3.3)
    taken_up = case.with_findings(*(replace(finding, uptake=hot) for finding in case.reading.findings))
    first, again = (
        taken_up.write(tmp_path / identity, "sr", identity=identity)["sr-classes"]
        for identity in ("of a reading", "of another")
    )
    assert first.sop_instance_uid != again.sop_instance_uid
    assert tracked(first) == tracked(again)


def tracked(result: ResultFile) -> list[str]:
    groups = sr.srread(result.path).content.get_image_measurement_groups()
    return [group.tracking_uid for group in groups]


@pytest.mark.needs("dciodvfy", "dsrdump")
def test_it_is_valid(of_a_pet: dict[str, ResultFile]) -> None:
    assert dciodvfy(of_a_pet["sr-classes"].path) == dsrdump(of_a_pet["sr-classes"].path) == []


def test_what_takes_nothing_up_has_none(case: Case, tmp_path: Path) -> None:
    assert "sr-classes" not in case.write(tmp_path, "sr")
