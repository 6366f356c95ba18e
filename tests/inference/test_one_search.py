"""A search of the lungs that is handed to readers leaves what each of them says as it is alone."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.findings import Reading
from inference.readers import READERS, search_alike, search_lungs
from inference.volume import Volume, load_volume
from training.phantoms.chest import chest_phantom
from training.phantoms.nodules import Nodule

READERS_OF_A_CHEST = ("lung-nodules", "ct-lesions")


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(catalogue)
    yield engine
    engine.close()


def said(reading: Reading) -> tuple[Reading, list[tuple[tuple[int, ...], bytes]]]:
    """All but how long it took; the masks bit by bit."""
    masks = [finding.mask for finding in reading.findings if finding.mask is not None]
    return replace(reading, seconds={}), [(mask.origin, mask.voxels.tobytes()) for mask in masks]


def alone_and_together(volume: Volume, engine: EmbeddedEngine, catalogue: Catalogue) -> list[Reading]:
    """What each reader says, which is the same with a search as without one."""
    search = search_lungs(volume, engine, catalogue)
    readings = []
    for name in READERS_OF_A_CHEST:
        reader = READERS[name]
        assert reader.read_searched is not None
        alone = reader.read(volume, engine, catalogue)
        assert said(reader.read_searched(volume, engine, catalogue, search)) == said(alone)
        readings.append(alone)
    return readings


def test_a_phantom_is_read_the_same_alone_and_together(engine: EmbeddedEngine, catalogue: Catalogue) -> None:
    nodule = Nodule((75.0, 10.0, 20.0), 13.0, "solid", seed=3)
    phantom = chest_phantom(70_001, (56, 128, 176), (2.5, 2.0, 2.0), [nodule])
    images = tuple((f"1.2.{n}", None) for n in range(len(phantom.voxels)))
    volume = Volume(phantom.voxels, phantom.affine, "1.2", "1.3", images)
    nodules, lesions = alone_and_together(volume, engine, catalogue)
    assert nodules.findings
    assert any(finding.kind == "lung" for finding in lesions.findings)
    assert set(nodules.models) < set(lesions.models)


@pytest.mark.slow
@pytest.mark.parametrize("series", ["ct_lung_nlst_sybil/CT_3_952642", "ct_lung_petctdx/Lung_Dx-A0001"])
def test_a_real_chest_is_read_the_same_alone_and_together(
    shared_data: Path, series: str, engine: EmbeddedEngine, catalogue: Catalogue
) -> None:
    paths = [path for path in sorted((shared_data / series).iterdir()) if path.suffix != ".md"]
    nodules, _ = alone_and_together(load_volume(paths), engine, catalogue)
    assert nodules.findings


def test_nothing_of_a_search_all_over_a_scan_without_lungs_is_a_lesion_of_the_lung(
    engine: EmbeddedEngine, catalogue: Catalogue
) -> None:
    voxels = np.full((40, 96, 96), 40, np.int16)
    away = np.linalg.norm(np.indices(voxels.shape).T - np.array([20, 48, 48]), axis=-1).T
    voxels[away < 6] = 140
    images = tuple((f"1.2.{n}", None) for n in range(len(voxels)))
    volume = Volume(voxels, np.diag([2.0, 2.0, 2.0, 1.0]), "1.2", "1.3", images)
    nodules, lesions = alone_and_together(volume, engine, catalogue)
    assert set(nodules.models).isdisjoint(lesions.models)


def test_a_reader_of_something_else_shares_no_search() -> None:
    assert search_alike(*READERS_OF_A_CHEST)
    assert not search_alike("lung-nodules", "pet-ct")
