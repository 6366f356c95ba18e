"""The closer look of the reader for lung nodules, with its shipped weights: at a real nodule, at a vessel."""

from pathlib import Path

import numpy as np
import pytest
from scipy import ndimage

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.look import look_of
from inference.growth.partners import _AS_SURE
from inference.volume import Volume, load_volume


def test_a_nodule_is_found_where_it_is_and_nowhere_else(shared_data: Path) -> None:
    catalogue = Catalogue()
    look = look_of("lung-nodules", EmbeddedEngine(catalogue, threads=1), catalogue)
    if look is None:
        pytest.skip("the weights of lung-nodules-characteriser are not shipped yet")
    volume = load_volume(
        [p for p in (shared_data / "ct_lung_nlst_sybil" / "CT_3_952642").iterdir() if p.is_file()]
    )
    nodule = (4.2, 2.7, 1181.6)

    found = look(volume, nodule, 15.0)

    assert found is not None
    assert np.linalg.norm(np.subtract(found.center_mm, nodule)) < 3
    assert 8 < found.long_axis_mm < 25
    assert look(volume, (70.0, 0.0, 1100.0), 15.0) is None


@pytest.mark.parametrize("slant", [0.0, 0.3])
@pytest.mark.parametrize("width_mm", [8.0, 10.0])
def test_a_vessel_does_not_pass_for_a_nodule_of_its_width(width_mm: float, slant: float) -> None:
    z, y, x = np.mgrid[-45:45:1.5, -45:45, -45:45]
    hu = np.full(z.shape, -860.0)
    hu[np.hypot(x + 20 - slant * z, y) < width_mm / 2] = 40
    hu[np.sqrt((x - 20) ** 2 + y**2 + z**2) < width_mm / 2] = 40
    hu = ndimage.gaussian_filter(hu, (0.4, 0.6, 0.6)) + np.random.default_rng(0).normal(0, 25, hu.shape)
    affine = np.array([[0, 0, 1.0, -45], [0, 1, 0, -45], [1.5, 0, 0, -45], [0, 0, 0, 1]])
    images = tuple((str(n), None) for n in range(len(hu)))
    volume = Volume(np.rint(hu).astype(np.int16), affine, "1", "2", images)
    catalogue = Catalogue()
    look = look_of("lung-nodules", EmbeddedEngine(catalogue, threads=1), catalogue)
    assert look is not None

    nodule, vessel = look(volume, (20.0, 0.0, 0.0), width_mm), look(volume, (-20.0, 0.0, 0.0), width_mm)

    assert nodule is not None
    assert vessel is None or vessel.score < _AS_SURE * nodule.score
