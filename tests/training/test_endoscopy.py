"""Procedural colonoscopy frames: reproducible, their masks true, lenses and noise as asked."""

from __future__ import annotations

import numpy as np
import pytest

from training.phantoms.colon import drawn_colon
from training.phantoms.endoscope import OTHER
from training.phantoms.endoscopy import endoscopy_frame, polyp_count

SEED = 70_001


def test_a_seed_gives_the_same_frame_twice() -> None:
    one, other = endoscopy_frame(SEED, size=48), endoscopy_frame(SEED, size=48)
    assert (one.picture == other.picture).all() and (one.mask == other.mask).all()


def test_a_polyp_changes_the_frame_where_its_mask_is() -> None:
    without, with_one = (endoscopy_frame(SEED, size=96, polyps=count) for count in (0, 1))
    assert not without.mask.any() and with_one.mask.any()
    difference = np.abs(with_one.picture.astype(float) - without.picture).mean(-1)
    assert difference[with_one.mask].mean() > 3 * difference[~with_one.mask].mean()


def test_a_frame_has_as_many_polyps_as_is_said_of_its_seed() -> None:
    seeds = range(60)
    for seed in [next(s for s in seeds if polyp_count(s) == count) for count in (0, 1)]:
        assert endoscopy_frame(seed, size=48).mask.any() == (polyp_count(seed) > 0)


def test_another_endoscope_records_the_same_scenery_otherwise() -> None:
    usual, other = endoscopy_frame(SEED, size=48), endoscopy_frame(SEED, size=48, camera=OTHER)
    assert usual.picture.shape == other.picture.shape
    assert (usual.picture != other.picture).any()


def test_a_wall_that_bulges_more_leaves_the_polyps_their_draws() -> None:
    usual, swollen = (endoscopy_frame(SEED, size=48, swollen=swollen) for swollen in (False, True))
    assert (usual.picture != swollen.picture).any()
    assert usual.mask.any() == swollen.mask.any()


@pytest.mark.parametrize("swollen", [False, True])
@pytest.mark.parametrize("seed", range(3))
def test_no_ray_goes_through_the_wall(seed: int, swollen: bool) -> None:
    colon = drawn_colon(np.random.default_rng(seed))
    if swollen:
        colon = colon.swollen(np.random.default_rng(seed))
    rays = np.random.default_rng(seed).normal(size=(500, 3)).astype(np.float32)
    rays /= np.linalg.norm(rays, axis=1, keepdims=True)
    far = colon.marched(rays)
    for share in (0.3, 0.6, 0.9):
        assert (colon.distance(rays * (share * far)[:, None]) > -0.02).mean() > 0.98
