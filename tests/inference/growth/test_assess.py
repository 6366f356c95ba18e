"""What is solid of a part-solid lesion, measured."""

from dataclasses import replace

import numpy as np
import pytest

from inference.findings import Mask
from inference.growth.assess import solid_part
from inference.growth.repeatability import sphere_diameter_mm
from inference.volume import Volume
from tests.inference.growth.chest import finding

AFFINE = np.diag([0.5, 0.5, 2.0, 1.0])[:, [2, 1, 0, 3]]


def nodule(kind, solid_hu):
    """A cube of 4 x 8 x 8 voxels of ground glass, its first slice at ``solid_hu``."""
    voxels = np.full((8, 16, 16), -850, np.int16)
    voxels[2:6, 4:12, 4:12] = -600
    voxels[2, 4:12, 4:12] = solid_hu
    volume = Volume(voxels, AFFINE, "1.2", "1.3", tuple((f"1.4.{n}", None) for n in range(8)))
    mask = Mask((2, 4, 4), np.ones((4, 8, 8), bool))
    return replace(finding((0, 0, 0), 8, "a"), kind=kind, mask=mask), volume


def test_the_solid_part_is_what_is_denser_than_ground_glass():
    part = solid_part(*nodule("part-solid", 35))
    assert part.diameter_mm == pytest.approx(sphere_diameter_mm(64 * 0.5))
    assert part.mean_hu == 35


def test_a_part_solid_lesion_that_shows_nothing_solid_has_a_part_of_0_mm():
    part = solid_part(*nodule("part-solid", -500))
    assert (part.diameter_mm, part.mean_hu) == (0, None)


def test_other_lesions_have_no_solid_part():
    assert solid_part(*nodule("solid", 35)) is None


def test_ground_glass_is_measured_for_what_is_solid_in_it_and_has_nothing_solid_without_a_mask():
    glass, volume = nodule("ground-glass", 35)
    assert solid_part(glass, volume).diameter_mm == pytest.approx(sphere_diameter_mm(64 * 0.5))
    assert solid_part(replace(glass, mask=None), volume).diameter_mm == 0
    assert solid_part(replace(glass, mask=None, kind="part-solid"), volume) is None
