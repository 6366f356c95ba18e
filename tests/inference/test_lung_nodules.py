"""The lung-nodules reader with its shipped weights, on a phantom chest."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import replace

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.errors import UnreadableSeriesError
from inference.findings import Mask, Reading
from inference.masks import shared_voxels
from inference.readers import READERS
from inference.readers.candidates import Candidate, peaks, slabs
from inference.readers.lung_nodules import CHARACTERISER, NAME, Judged, characterise, near_lungs, read
from inference.readers.lungs import Lungs, find_lungs
from inference.volume import Volume
from training.phantoms.chest import Phantom, chest_phantom
from training.phantoms.nodules import Nodule

LARGE = Nodule((75.0, 10.0, 20.0), 13.0, "solid", seed=3)


@pytest.fixture(scope="module")
def catalogue() -> Catalogue:
    return Catalogue()


@pytest.fixture(scope="module")
def engine(catalogue: Catalogue) -> Iterator[EmbeddedEngine]:
    engine = EmbeddedEngine(catalogue)
    yield engine
    engine.close()


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest_phantom(70_001, (56, 128, 176), (2.5, 2.0, 2.0), [LARGE])


def as_volume(phantom: Phantom) -> Volume:
    images = tuple((f"1.2.{n}", None) for n in range(len(phantom.voxels)))
    return Volume(phantom.voxels, phantom.affine, "1.2", "1.3", images)


@pytest.fixture(scope="module")
def reading(phantom: Phantom, engine: EmbeddedEngine, catalogue: Catalogue) -> Reading:
    return read(as_volume(phantom), engine, catalogue)


def surest(reading: Reading) -> tuple[float, float, float]:
    return reading.findings[0].center_mm


def test_the_reader_names_models_that_are_in_the_catalogue(catalogue: Catalogue) -> None:
    assert set(READERS[NAME].models) <= set(catalogue.names)


def test_a_nodule_is_found_where_it_is_and_as_large_as_it_is(phantom: Phantom, reading: Reading) -> None:
    truth, found = phantom.lesions[0], reading.findings[0]
    assert np.linalg.norm(np.subtract(found.center_mm, truth.center_mm)) < 2.0
    assert found.volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.35)
    assert found.mask is not None
    shared = shared_voxels(found.mask, truth.mask)
    assert 2 * shared / (found.mask.voxels.sum() + truth.mask.voxels.sum()) > 0.75


def test_a_mass_that_both_passes_see_is_found_once(engine: EmbeddedEngine, catalogue: Catalogue) -> None:
    mass = Nodule((-60.0, 10.0, 10.0), 55.0, "solid", malignant=True, lobulation=0.5, seed=5)
    phantom = chest_phantom(70_003, (64, 128, 176), (2.5, 2.0, 2.0), [mass])
    truth = phantom.lesions[0]
    found = read(as_volume(phantom), engine, catalogue).findings
    on_mass = [
        f for f in found if np.linalg.norm(np.subtract(f.center_mm, truth.center_mm)) < truth.diameter_mm / 2
    ]
    assert len(on_mass) == 1
    assert on_mass[0].volume_mm3 == pytest.approx(truth.volume_mm3, rel=0.5)


def test_a_heart_is_no_mass(engine: EmbeddedEngine, catalogue: Catalogue) -> None:
    """Of this one, the third weights made a nodule of 67 mm, which would have lain 9 mm off the lungs."""
    heart = Candidate((12.0, -24.0, -21.0), 56.0, 0.43)
    volume = as_volume(chest_phantom(11, (56, 128, 176), (2.5, 2.0, 2.0), 0))
    card = catalogue.find(CHARACTERISER).card
    (judged,) = characterise(volume, [heart], engine, card)
    assert judged.score < card.threshold("report")
    assert near_lungs([judged], find_lungs(volume)) == []


def test_findings_come_surest_first_with_both_networks_named(reading: Reading) -> None:
    scores = [f.score for f in reading.findings]
    assert scores == sorted(scores, reverse=True)
    assert [m.name for m in reading.models] == list(READERS[NAME].models)
    assert all(0 <= f.malignancy <= 1 for f in reading.findings if f.malignancy is not None)


def test_the_same_series_is_read_the_same_twice(
    phantom: Phantom, reading: Reading, engine: EmbeddedEngine, catalogue: Catalogue
) -> None:
    assert read(as_volume(phantom), engine, catalogue).findings == reading.findings


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 2, 0), (2, 0, 1)])
def test_orientation_of_the_source_does_not_move_a_finding(
    phantom: Phantom,
    reading: Reading,
    engine: EmbeddedEngine,
    catalogue: Catalogue,
    axes: tuple[int, int, int],
) -> None:
    voxels = np.ascontiguousarray(phantom.voxels.transpose(axes)[::-1])
    affine = phantom.affine[:, [*axes, 3]].copy()
    affine[:3, 3] += affine[:3, 0] * (len(voxels) - 1)
    affine[:3, 0] *= -1
    turned = read(as_volume(replace(phantom, voxels=voxels, affine=affine)), engine, catalogue)
    assert np.linalg.norm(np.subtract(surest(turned), surest(reading))) < 1.0
    assert turned.findings[0].volume_mm3 == pytest.approx(reading.findings[0].volume_mm3, rel=0.05)


def test_a_series_of_two_images_is_refused_in_a_sentence(
    phantom: Phantom, engine: EmbeddedEngine, catalogue: Catalogue
) -> None:
    thin = as_volume(replace(phantom, voxels=phantom.voxels[:2]))
    with pytest.raises(UnreadableSeriesError, match="2 images"):
        read(thin, engine, catalogue)


def test_an_absurd_spacing_is_refused_in_a_sentence(
    phantom: Phantom, engine: EmbeddedEngine, catalogue: Catalogue
) -> None:
    affine = phantom.affine.copy()
    affine[:3, :3] *= 100
    with pytest.raises(UnreadableSeriesError, match="spacing"):
        read(as_volume(replace(phantom, affine=affine)), engine, catalogue)


def test_nothing_but_air_has_no_findings(engine: EmbeddedEngine, catalogue: Catalogue) -> None:
    air = np.full((40, 64, 64), -1000, np.int16)
    volume = Volume(air, np.diag([2.0, 2.0, 2.0, 1.0]), "1", "2", tuple((str(n), None) for n in range(40)))
    assert read(volume, engine, catalogue).findings == ()


def test_a_peak_inside_a_stronger_one_is_the_same_candidate() -> None:
    heat = np.zeros((20, 20, 20), np.float32)
    heat[10, 10, 10], heat[10, 10, 12], heat[3, 3, 3] = 0.9, 0.5, 0.4
    size = np.full_like(heat, 20.0)
    found = peaks(heat, size, np.diag([3.0, 3.0, 3.0, 1.0]), threshold=0.3, most=9)
    assert [c.score for c in found] == pytest.approx([0.9, 0.4])


def test_what_is_judged_touches_a_lung_by_the_size_that_it_is_judged_to_be_of() -> None:
    below = np.arange(60, dtype=np.float32)[:, None, None]
    to_mm = np.array([[0.0, 0, 1, 0], [0, 1, 0, 0], [1, 0, 0, 0], [0, 0, 0, 1]])
    lungs = Lungs(below, to_mm, (slice(0, 60), slice(0, 1), slice(0, 1)))

    def judged(away_mm: float, diameter_mm: float) -> Judged:
        side = round(diameter_mm * (np.pi / 6) ** (1 / 3))
        mask = np.zeros((64, 64, 64), np.float32)
        mask[:side, :side, :side] = 1
        return Judged(Candidate((0.0, 0.0, away_mm), 56.0, 0.6), (1.0, 1.0, 1.0), mask, 0.9, 0.5, "solid")

    mass, heart = judged(22.0, 45.0), judged(38.0, 56.0)
    beside, speck = judged(8.0, 4.0), judged(22.0, 4.0)
    every = [mass, heart, beside, speck]
    assert near_lungs(every, lungs) == [mass, beside]
    assert near_lungs(every, None) == every


def test_what_is_judged_is_as_large_as_what_would_be_drawn_of_it() -> None:
    mask = np.zeros((32, 32, 32), np.float32)
    mask[12:20, 12:20, 12:20] = 0.9
    beside = mask.copy()
    beside[:6, :, :] = 0.9
    candidate = Candidate((0.0, 0.0, 0.0), 10.0, 0.6)
    judged = Judged(candidate, (2.0, 1.0, 1.0), beside, 0.9, 0.5, "solid")
    assert judged.diameter_mm == pytest.approx((6 * 8**3 * 2 / np.pi) ** (1 / 3))
    assert replace(judged, mask=np.zeros_like(mask)).diameter_mm == 0


def test_slabs_cover_a_long_volume_once() -> None:
    pieces = slabs((2000, 400, 400), 16)
    kept = np.concatenate([np.arange(t.start, t.stop)[k] for t, k in pieces])
    assert len(pieces) > 1
    assert kept.tolist() == list(range(2000))


def test_masks_that_lie_apart_share_nothing() -> None:
    block = np.ones((3, 3, 3), bool)
    assert shared_voxels(Mask((0, 0, 0), block), Mask((9, 9, 9), block)) == 0
    assert shared_voxels(Mask((0, 0, 0), block), Mask((1, 0, 0), block)) == 18
