"""The closer look of the reader for lung nodules, with its shipped weights, at a real nodule."""

from pathlib import Path

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.growth.look import look_of
from inference.volume import load_volume


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
