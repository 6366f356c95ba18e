"""A CT of the body through the whole of an offline reading, by the networks that come with the project."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from node.offline import read_study
from node.settings import Settings
from tests.validators import dciodvfy
from training.phantoms.acquisition import Scan
from training.phantoms.bodies import BodyPhantom, body_phantom
from training.phantoms.dicom import Series, Study, write_ct_series
from training.phantoms.fields import Grid


@pytest.fixture(scope="module")
def phantom() -> BodyPhantom:
    """130 mm of an abdomen of no seed that was learned from."""
    grid = Grid.centred((65, 168, 230), (2.0, 1.65, 1.65), (-200.0, -4.0, 0.0))
    return body_phantom(75002, grid, 10, scan=Scan.drawn(np.random.default_rng(1)))


@pytest.mark.needs("dciodvfy")
def test_lesions_of_an_abdomen_arrive(phantom: BodyPhantom, tmp_path: Path) -> None:
    write_ct_series(
        tmp_path / "ct",
        phantom.voxels,
        phantom.affine,
        study=Study(description="CT abdomen"),
        series=Series(number=2, description="Abdomen 2.0", body_part="ABDOMEN"),
    )
    (reading,) = read_study(tmp_path / "ct", (), tmp_path / "out", Settings(), lambda stage, share: None)
    assert reading["reader"] == "ct-lesions"
    found = [
        lesion
        for lesion in phantom.lesions
        for finding in reading["findings"]
        if np.linalg.norm(np.subtract(finding["center_mm"], lesion.center_mm)) < lesion.diameter_mm / 2
    ]
    assert found
    assert len(reading["findings"]) <= 2 * len(phantom.lesions)
    for made in reading["objects"]:
        assert dciodvfy(tmp_path / "out" / made["path"]) == [], made["path"]
