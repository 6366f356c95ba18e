"""The side of the chest a point lies on is told by both lungs, or not at all."""

from __future__ import annotations

import numpy as np
import pytest

from inference.findings import Axis, Code, Finding
from inference.readers.lungs import find_lungs
from inference.readers.sides import sides_of, with_sides
from inference.volume import Volume

SPACING_MM = 4.0


def chest(*lungs: float) -> Volume:
    """Air-filled ellipsoids in soft tissue around x (LPS, mm); 400 mm wide."""
    x = (np.arange(100) - 49.5) * SPACING_MM
    z, y, x = np.meshgrid((np.arange(60) - 29.5) * SPACING_MM, x, x, indexing="ij")
    voxels = np.full(x.shape, 40, np.int16)
    for middle in lungs:
        voxels[((x - middle) / 55) ** 2 + (y / 80) ** 2 + (z / 110) ** 2 <= 1] = -850
    affine = np.array(
        [[0, 0, SPACING_MM, -198.0], [0, SPACING_MM, 0, -198.0], [SPACING_MM, 0, 0, -118.0], [0, 0, 0, 1]]
    )
    images = tuple((f"1.2.{k}", None) for k in range(60))
    return Volume(voxels=voxels, affine=affine, series_uid="1.2", frame_of_reference_uid="1.3", images=images)


@pytest.mark.parametrize("shift", [0.0, 30.0])
def test_the_patient_s_left_is_where_x_grows(shift: float) -> None:
    lungs = find_lungs(chest(-75 + shift, 75 + shift))
    assert lungs is not None
    points = [(-80 + shift, 0, 0), (80 + shift, 10, 20), (shift, 0, 0)]
    assert sides_of(points, lungs) == ["right", "left", None]


def test_a_lone_lung_tells_no_side() -> None:
    lungs = find_lungs(chest(75))
    assert lungs is not None
    assert sides_of([(60, 0, 0), (95, 0, 0)], lungs) == [None, None]


def test_where_there_is_no_lung_nothing_is_told() -> None:
    lungs = find_lungs(chest(-75, 75))
    assert lungs is not None
    assert sides_of([(80, 0, 400)], lungs) == [None]


def lesion(x: float, site: Code) -> Finding:
    axis, at = Axis((x, 0, 0), (x, 5, 0)), (x, 0.0, 0.0)
    return Finding("Lesion", site, at, (at, at), "1.2.3", 0.9, axis, axis, 100.0, site=site)


def test_only_what_lies_in_a_lung_has_the_side_of_a_lung() -> None:
    lung, bone = Code("SCT", "39607008", "Lung"), Code("SCT", "272673000", "Bone")
    findings = with_sides([lesion(-80, lung), lesion(80, bone), lesion(80, lung)], chest(-75, 75))
    assert [finding.side for finding in findings] == ["right", None, "left"]


def test_without_lungs_findings_stay_as_they_are() -> None:
    found = lesion(80, Code("SCT", "39607008", "Lung"))
    assert with_sides([found], chest()) == (found,)
