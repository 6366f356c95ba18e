"""Body phantoms with lesions of every type, and the network that learns from them."""

from __future__ import annotations

from collections import Counter
from pathlib import Path

import numpy as np
import onnx
import pytest
import torch

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.parity import verify
from tests.training.leak import found_by_classifier
from training.ct_lesions.detector import losses, scaled, stacked, targets
from training.ct_lesions.known import KNOWN
from training.ct_lesions.networks import ARCHITECTURES, Characteriser, LesionNet
from training.ct_lesions.patches import SPACING_MM, RealBackground, Shard, Spot, real_shard
from training.ct_lesions.recipe import export_characteriser, export_detector, learned_from
from training.detection.networks import ACTIVATIONS
from training.phantoms.abdomen import Abdomen, abdomen_anatomy
from training.phantoms.acquisition import Scan
from training.phantoms.bodies import BodyPhantom, body_phantom, place_in, random_lesions
from training.phantoms.fields import Array, Grid
from training.phantoms.masses import SITES, Mass, draw_mass, random_mass
from training.phantoms.trunk import Phase, render_trunk

NATIVE = {
    *("Conv", "ConvTranspose", "Relu", "Add", "Sub", "Mul", "Div", "Clip", "Concat", "Slice", "Sigmoid"),
    *("Exp", "Softmax", "Log", "ReduceMean", "ReduceMax", "AveragePool", "MaxPool", "Gemm"),
    *("Abs", "Gather", "Neg", "Pow", "Reshape", "Sqrt"),
}
SEED = 71
GRID = Grid.centred((60, 100, 130), (4.0, 2.7, 2.7), (-170.0, -4.0, 0.0))


@pytest.fixture(scope="module")
def patient() -> Abdomen:
    return abdomen_anatomy(SEED)


@pytest.fixture(scope="module")
def phantom() -> BodyPhantom:
    return body_phantom(SEED, GRID, 14, scan=Scan(thickness_mm=4.0))


@pytest.fixture(scope="module")
def clean(patient: Abdomen) -> Array:
    return render_trunk(patient, GRID, Phase())


def test_a_seed_gives_the_same_body_twice(phantom: BodyPhantom) -> None:
    again = body_phantom(SEED, GRID, 14, scan=Scan(thickness_mm=4.0))
    np.testing.assert_array_equal(phantom.voxels, again.voxels)
    assert [one.recipe for one in phantom.lesions] == [one.recipe for one in again.lesions]


def test_each_organ_has_its_density(patient: Abdomen, clean: Array) -> None:
    def median(name: str, depth_mm: float) -> float:
        return float(np.median(clean[patient.fields[name].on(GRID) > depth_mm]))

    assert 30 < median("liver", 8) < 85
    assert 35 < median("spleen", 8) < 60
    assert 15 < median("kidneys", 4) < 50
    assert median("canal", 2) < 40
    assert median("spine", 5) > 100
    assert -120 < np.percentile(clean[patient.fields["cavity"].on(GRID) > 20], 10) < -80


def test_contrast_reaches_arteries_first_and_then_the_liver(patient: Abdomen, clean: Array) -> None:
    liver = patient.fields["liver"].on(GRID) > 10
    arterial = render_trunk(patient, GRID, Phase("arterial", arteries=250, liver=8, cortex=140)) - clean
    portal = render_trunk(patient, GRID, Phase("portal", arteries=120, veins=125, liver=55)) - clean
    assert arterial.max() > 200
    assert np.median(arterial[liver]) == pytest.approx(8, abs=1)
    assert np.median(portal[liver]) == pytest.approx(55, abs=1)


def test_lesions_have_the_volume_that_is_drawn_and_differ_from_what_surrounds_them(
    phantom: BodyPhantom,
) -> None:
    assert len(phantom.lesions) >= 6
    for lesion in phantom.lesions:
        voxels = lesion.mask.voxels.sum() * GRID.voxel_mm3
        assert voxels == pytest.approx(lesion.volume_mm3, rel=0.6)
        assert lesion.site in SITES


def test_labels_do_not_follow_the_anatomy() -> None:
    drawn = random_lesions(np.random.default_rng([SEED, 53]), 14)
    held = body_phantom(SEED, GRID, 14, scan=Scan()).lesions
    recipes = {one.seed: one for _, one in drawn}
    assert all(one.malignant == recipes[one.recipe.seed].malignant for one in held)


def test_benign_and_malignant_lesions_overlap_in_all_that_is_seen() -> None:
    rng = np.random.default_rng(5)
    drawn = [random_mass(rng, "liver", "organ") for _ in range(3000)]
    malignant = np.array([m.malignant for m in drawn])
    for name in ("diameter_mm", "margin_mm", "lobulation", "mottle_hu"):
        seen = np.array([getattr(m, name) for m in drawn])
        above = (seen[malignant][:, None] > seen[~malignant][None]).mean()
        assert 0.6 < above < 0.9
    makes = [Counter(m.make for m in drawn if m.malignant is bad) for bad in (True, False)]
    assert all(count > 30 for made in makes for count in made.values())


def test_a_lesion_free_body_tells_nothing_of_the_lesions_to_come(patient: Abdomen, clean: Array) -> None:
    pieces, malignant = [], []
    for number in range(40):
        wanted = random_lesions(np.random.default_rng([number, 1]), 16)
        placed = place_in(patient, clean.copy(), GRID, wanted, np.random.default_rng([number, 2]), Phase())
        for one in placed:
            index = np.rint((np.array(one.center_mm[::-1]) - GRID.origin_mm) / GRID.spacing_mm).astype(int)
            start = np.clip(index - 6, 0, np.array(GRID.shape) - 12)
            pieces.append(clean[tuple(slice(a, a + 12) for a in start)])
            malignant.append(one.malignant)
    assert len(pieces) > 300
    assert found_by_classifier(np.stack(pieces), np.array(malignant)) == pytest.approx(0.5, abs=0.05)


def test_a_mass_keeps_to_what_it_grows_in() -> None:
    grid = Grid.centred((24, 24, 24), (2.0, 2.0, 2.0))
    hu = np.full(grid.shape, -100, np.float32)
    hu[:, :, :8] = -900
    drawn = draw_mass(hu, grid, Mass((0.0, 0.0, 0.0), 24.0, "abdomen", "fat"))
    assert hu[:, :, :8].max() == -900
    assert drawn.filled.max() > 0.9


def test_a_real_scan_gives_patches_away_from_its_known_lesions(tmp_path: Path) -> None:
    rng = np.random.default_rng(2)
    hu = np.full((72, 120, 120), -1000, np.int16)
    hu[:, 15:105, 10:110] = -95
    hu[:, 30:80, 25:95] = (50 + rng.normal(0, 12, (72, 50, 70))).astype(np.int16)
    grid = Grid(hu.shape, (SPACING_MM,) * 3, (0.0, 0.0, 0.0))
    name = real_shard(RealBackground("block", hu, grid, (((20.0, 20.0, 20.0), 10.0),)), tmp_path, rounds=3)
    shard = Shard.opened(tmp_path, name)
    assert len(shard) > 5
    assert any(spot.site is None for spots in shard.spots for spot in spots)
    assert real_shard(RealBackground("block", hu, grid), tmp_path, rounds=3) != name
    everywhere = RealBackground("sick", hu, grid, (((120.0, 120.0, 70.0), 400.0),))
    with pytest.raises(ValueError, match="no patch"):
        real_shard(everywhere, tmp_path, rounds=1)


def test_the_loss_falls_when_the_answer_is_right() -> None:
    grid = Grid((32, 32, 32), (SPACING_MM,) * 3, (0.0, 0.0, 0.0))
    spot = Spot((30.0, 30.0, 30.0), 16.0, "liver", True)
    share = np.zeros(grid.shape, np.float32)
    share[11:19, 11:19, 11:19] = 1
    known = np.full(grid.shape, KNOWN, np.uint8)
    parts = targets(grid, [spot], known)
    batch = stacked([(scaled(np.zeros(grid.shape)), *parts, share, known)])
    heat, log_diameter, *_ = parts
    maps = torch.zeros(1, 3 + len(SITES), 16, 16, 16)
    inside = torch.zeros(1, 1, 32, 32, 32)
    wrong = losses(maps, inside, batch)
    maps[0, 0] = torch.from_numpy(heat) * 12 - 6
    maps[0, 1] = torch.from_numpy(log_diameter)
    maps[0, 2] = 6
    maps[0, 3 + SITES.index("liver")] = 9
    inside[0, 0] = torch.from_numpy(share) * 12 - 6
    right = losses(maps, inside, batch)
    assert all(right[name] < wrong[name] for name in wrong)


@pytest.mark.parametrize("architecture", ARCHITECTURES)
@pytest.mark.parametrize("activation", ["relu", "silu"])
def test_every_architecture_answers_on_any_size(architecture: str, activation: str) -> None:
    assert activation in ACTIVATIONS
    network = LesionNet(activation, architecture).eval()
    with torch.no_grad():
        maps, inside = network(torch.zeros(1, 1, 32, 48, 16))
    assert maps.shape == (1, 3 + len(SITES), 16, 24, 8)
    assert inside.shape == (1, 1, 32, 48, 16)


def test_the_exported_networks_answer_as_they_did_in_training_and_are_native_to_tensorrt(
    tmp_path: Path,
) -> None:
    data = learned_from(0, ())
    export_detector(LesionNet(), tmp_path, version=1, data=data, metrics=[])
    export_characteriser(Characteriser(), tmp_path, version=1, data=data, metrics=[])
    catalogue = Catalogue(tmp_path)
    rows = list(verify(catalogue, EmbeddedEngine(catalogue)))
    assert len(rows) == 7
    assert all(row.passed for row in rows), rows
    for model in catalogue:
        assert {node.op_type for node in onnx.load(model.weights).graph.node} <= NATIVE
