"""What can be searched at all: a volume that a body may have."""

from __future__ import annotations

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.errors import UnreadableSeriesError
from inference.pet_ct import PetCt
from inference.readers import READERS
from inference.readers.whole_volume import check_extent


def cube(length: int, spacing_mm: float) -> PetCt:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([spacing_mm] * 3))
    voxels = np.zeros((length,) * 3, np.int16)
    ct = PetCt(voxels, affine, "1.2.3", "1.2", (None,) * length)
    return PetCt(voxels, affine, "1.2.3", "1.2", (None,) * length, ct=ct)


@pytest.mark.parametrize("reader", ["ct-lesions", "lung-nodules", "pet-ct"])
def test_a_few_images_with_a_spacing_that_cannot_be_right_are_refused_before_they_fill_memory(
    reader: str,
) -> None:
    catalogue = Catalogue()
    with pytest.raises(UnreadableSeriesError, match=r"2\.5 × 2\.5 × 2\.5 m: its spacing cannot be right"):
        READERS[reader].read(cube(124, 20.0), EmbeddedEngine(catalogue), catalogue)


def test_the_tallest_patient_in_the_widest_field_of_view_may_be_searched() -> None:
    affine = np.eye(4)
    affine[:3, :3] = np.fliplr(np.diag([13.0, 13.0, 5.0]))
    check_extent(PetCt(np.zeros((420, 64, 64), np.int16), affine, "1.2.3", "1.2", (None,) * 420), "lesions")
