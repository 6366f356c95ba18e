"""Phantom chests: reproducible, true to their own truth, and honest about what decides a label."""

from __future__ import annotations

import shutil
import subprocess
from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest

from inference.resample import resample
from inference.volume import Volume, load_volume
from training.phantoms.acquisition import Scan
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.chest import Phantom, chest_phantom, random_nodules
from training.phantoms.dicom import Patient, Study, write_ct_series
from training.phantoms.fields import Grid, merged
from training.phantoms.nodules import NODULE_TYPES, Nodule, random_nodule
from training.phantoms.render import render

SMALL = ((60, 72, 96), (4.5, 4.0, 4.0))


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return chest_phantom(11, *SMALL, lesions=3)


def test_a_seed_gives_the_same_chest_twice(phantom: Phantom) -> None:
    again = chest_phantom(11, *SMALL, lesions=3)
    assert np.array_equal(phantom.voxels, again.voxels)
    assert [a.nodule for a in phantom.lesions] == [b.nodule for b in again.lesions]


def test_another_seed_gives_another_patient(phantom: Phantom) -> None:
    assert not np.array_equal(phantom.voxels, chest_phantom(12, *SMALL, lesions=3).voxels)


def test_labels_do_not_follow_the_anatomy() -> None:
    """Two patients asked for the same labels have the same kinds, sizes and malignancy."""
    one, other = (random_nodules(chest_anatomy(seed), 5, seed=3) for seed in (11, 12))
    assert [(n.kind, n.malignant, n.diameter_mm) for n in one] == [
        (n.kind, n.malignant, n.diameter_mm) for n in other
    ]
    assert [n.center_mm for n in one] != [n.center_mm for n in other]


def test_benign_and_malignant_overlap_in_size_type_and_margin() -> None:
    rng = np.random.default_rng(0)
    drawn = [random_nodule(rng, (0, 0, 0)) for _ in range(2000)]
    for figure in ("diameter_mm", "spiculation", "lobulation"):
        benign, malignant = (
            np.array([getattr(n, figure) for n in drawn if n.malignant is m]) for m in (False, True)
        )
        greater = np.mean(malignant[:, None] > benign[None])
        assert 0.6 < greater < 0.92, figure
    assert {n.kind for n in drawn if n.malignant} == {n.kind for n in drawn if not n.malignant}


@pytest.mark.parametrize("kind", NODULE_TYPES)
def test_a_nodule_has_the_volume_its_recipe_says(kind: str) -> None:
    nodule = Nodule((70.0, 0.0, 20.0), 14.0, kind, lobulation=0.6, seed=5)  # type: ignore[arg-type]
    phantom = chest_phantom(11, (40, 60, 60), 1.0, [nodule])
    assert phantom.lesions == ()
    centred = Nodule((75.0, 0.0, 20.0), 14.0, kind, lobulation=0.6, seed=5)  # type: ignore[arg-type]
    whole = chest_phantom(11, (60, 60, 180), 1.0, [centred]).lesions[0]
    assert whole.volume_mm3 == pytest.approx(np.pi / 6 * 14**3, rel=0.12)
    assert np.linalg.norm(np.subtract(whole.center_mm, centred.center_mm)) < 2.5


def test_a_nodule_grows_by_the_factor_asked_for(phantom: Phantom) -> None:
    nodule = Nodule((75.0, 0.0, 20.0), 8.0, seed=4)
    grid = ((60, 60, 180), 1.0)
    before, after = (chest_phantom(11, *grid, [n]).lesions[0] for n in (nodule, nodule.grown(2.0)))
    assert after.volume_mm3 / before.volume_mm3 == pytest.approx(2.0, rel=0.1)


def test_the_lung_is_dark_bone_is_bright_and_a_solid_nodule_is_soft_tissue() -> None:
    grid = Grid.centred((60, 72, 96), (4.5, 4.0, 4.0))
    anatomy = chest_anatomy(11)
    hu = render(anatomy, grid)
    assert np.median(hu[anatomy.fields["lungs"].on(grid) > 8]) == pytest.approx(-860, abs=70)
    assert hu.max() > 400
    assert np.median(hu[anatomy.fields["liver"].on(grid) > 8]) == pytest.approx(58, abs=10)


def test_noise_has_the_strength_asked_for() -> None:
    grid = Grid.centred((24, 64, 64), (1.0, 0.7, 0.7))
    scan = Scan(noise_hu=30.0)
    grain = scan.grained(np.zeros(grid.shape, np.float32), grid, np.random.default_rng(0))
    assert grain.std() == pytest.approx(30.0, rel=0.02)


def test_a_volume_along_the_patient_s_axes_has_the_grid_it_was_put_on() -> None:
    affine = np.diag([0.7, 0.8, 2.5, 1.0])[[2, 1, 0, 3]]
    affine[:3, 3] = -173.3, 12.7, 40.1
    scan = Volume(np.zeros((20, 40, 50), np.int16), affine, "1.2", "1.3", (None,) * 20)
    even = resample(scan, 2.0)
    grid = Grid.of(even)
    assert (grid.shape, grid.spacing_mm) == (even.shape, (2.0, 2.0, 2.0))
    np.testing.assert_array_equal(grid.affine, even.affine)
    tilted = affine.copy()
    tilted[1, 0] = 0.2
    with pytest.raises(ValueError, match="axes of the patient"):
        Grid.of(replace(scan, affine=tilted))


def test_thin_slices_are_merged_into_those_they_were_cut_from() -> None:
    grid = Grid.centred((4, 3, 5), (5.0, 1.0, 1.0))
    thin = grid.sliced(3)
    heights = np.broadcast_to(thin.axes[0], thin.shape)
    np.testing.assert_allclose(merged(heights, 3), np.broadcast_to(grid.axes[0], grid.shape))


def test_a_written_series_reads_back_voxel_for_voxel(tmp_path: Path, phantom: Phantom) -> None:
    paths = write_ct_series(tmp_path, phantom.voxels, phantom.affine, shuffle_seed=1)
    volume = load_volume(paths)
    assert np.array_equal(volume.voxels, phantom.voxels)
    assert np.allclose(volume.affine, phantom.affine, atol=1e-4)


@pytest.mark.parametrize("axes", [(0, 1, 2), (1, 0, 2), (2, 0, 1)])
def test_any_orientation_can_be_written(tmp_path: Path, phantom: Phantom, axes: tuple[int, int, int]) -> None:
    voxels = np.ascontiguousarray(phantom.voxels.transpose(axes)[:, ::-1])
    affine = phantom.affine[:, [*axes, 3]].copy()
    affine[:3, 3] += affine[:3, 1] * (voxels.shape[1] - 1)
    affine[:3, 1] *= -1
    volume = load_volume(write_ct_series(tmp_path, voxels, affine))
    index = np.argwhere(volume.voxels == volume.voxels.max())[0]
    back = np.rint(np.linalg.inv(phantom.affine) @ [*volume.to_patient(index), 1])[:3].astype(int)
    assert phantom.voxels[tuple(back)] == volume.voxels.max()


def test_the_same_study_has_the_same_uids_and_another_one_others(tmp_path: Path, phantom: Phantom) -> None:
    slices = phantom.voxels[:2]
    first = write_ct_series(tmp_path / "a", slices, phantom.affine)
    again = write_ct_series(tmp_path / "b", slices, phantom.affine)
    later = write_ct_series(tmp_path / "c", slices, phantom.affine, study=Study(date="20250101"))
    other = write_ct_series(tmp_path / "d", slices, phantom.affine, patient=Patient("PHANTOM-0002"))
    assert first[0].read_bytes() == again[0].read_bytes()
    assert len({paths[0].read_bytes() for paths in (first, later, other)}) == 3


def test_a_written_image_is_a_valid_ct_image(tmp_path: Path, phantom: Phantom) -> None:
    if shutil.which("dciodvfy") is None:
        pytest.skip("dciodvfy (dicom3tools) is not installed")
    path = write_ct_series(tmp_path, phantom.voxels[:1], phantom.affine)[0]
    told = subprocess.run(["dciodvfy", path], capture_output=True, text=True, check=False)
    assert "Error" not in told.stderr + told.stdout


def test_a_plane_that_is_not_rectangular_is_refused(tmp_path: Path, phantom: Phantom) -> None:
    sheared = phantom.affine.copy()
    sheared[:3, 1] += 0.2 * sheared[:3, 2]
    with pytest.raises(ValueError, match="perpendicular"):
        write_ct_series(tmp_path, phantom.voxels, sheared)
