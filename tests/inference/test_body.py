"""Where the patient lies in a CT."""

from __future__ import annotations

import numpy as np

from inference.readers.body import find_body
from inference.volume import Volume


def trunk() -> Volume:
    """A trunk of 2 mm voxels with a lung that reaches the border of the image, and an electrode beside it."""
    voxels = np.full((60, 100, 120), -1000, np.int16)
    voxels[:, 20:80, :100] = 40
    voxels[10:50, 35:65, :30] = -850
    voxels[26:34, 8:14, 50:56] = 400
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 2.0
    affine[:3, 3], affine[3, 3] = (-100, -80, 10), 1
    return Volume(voxels, affine, "1.2", "1.3", tuple((f"1.2.{n}", None) for n in range(60)))


def test_the_body_holds_its_tissue_and_a_lung_that_the_image_cuts_and_no_electrode() -> None:
    volume = trunk()
    tissue, lung, electrode, air = (30, 70, 60), (30, 50, 4), (30, 11, 53), (30, 50, 115)
    points = [volume.to_patient(at) for at in (tissue, lung, electrode, air)]
    assert find_body(volume).holds(points).tolist() == [True, True, False, False]


def test_a_scan_of_air_holds_no_body() -> None:
    volume = trunk()
    volume.voxels[:] = -1000
    assert not find_body(volume).inside.any()
