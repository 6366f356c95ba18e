"""What is said to be true of a pair is true of its images."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy import ndimage
from torch.nn import functional

from inference.registration.estimate import COARSER, SHAPE, SPACING_MM
from training.phantoms.fields import smooth_noise
from training.registration.bank import GRID, STATES, Chest
from training.registration.pairs import COARSE, PairSource


@pytest.fixture(scope="module")
def marbled() -> Chest:
    """No anatomy: smooth marbling that CT and PET share, in a body that breathes below."""
    pattern = 128 + 40 * smooth_noise(np.random.default_rng(5), GRID, 60)
    levels = np.clip(pattern, 0, 255).astype(np.uint8)
    z, _, _ = GRID.axes
    low = np.clip((60 - z) / 160, 0, 1) * np.ones(GRID.shape)
    moving = (255 * ndimage.gaussian_filter(low, 2)).astype(np.uint8)
    body = np.zeros(GRID.shape, np.uint8)
    body[12:-12, 10:-10, 14:-14] = 1
    images = np.stack([levels] * STATES)
    return Chest(images, images // 2, moving, body, np.zeros(3, np.float32))


def test_a_place_of_the_ct_looks_in_the_pet_as_it_does_in_the_ct(marbled: Chest) -> None:
    for step in range(4):
        for ct, pet, there, weight in zip(*PairSource([marbled], 7)(step), strict=True):
            here, carried = _at(ct, COARSE), _at(pet, there)
            deep = (weight > 0.9) & (there.abs() < torch.tensor(SHAPE[::-1]) * SPACING_MM / 2 - 24).all(1)
            deep &= (here > -1.4) & (here < 1.4) & (carried > -0.8) & (carried < 4)
            assert deep.sum() > 150
            agreeing = np.corrcoef(here[deep], carried[deep])[0, 1]
            still = np.corrcoef(here[deep], _at(pet, COARSE)[deep])[0, 1]
            assert agreeing > 0.9
            assert agreeing >= still - 0.02


def test_a_step_gives_the_same_pairs_again(marbled: Chest) -> None:
    one, other = (PairSource([marbled], 7)(3) for _ in range(2))
    assert all(torch.equal(a, b) for a, b in zip(one, other, strict=True))
    assert not torch.equal(one[0], PairSource([marbled], 8)(3)[0])


def test_the_places_are_the_middles_of_blocks_of_the_grid() -> None:
    z, y, x = ((np.arange(n) - (n - 1) / 2) * SPACING_MM for n in SHAPE)
    assert COARSE[0].tolist() == pytest.approx([axis[:COARSER].mean() for axis in (x, y, z)])


def _at(image: torch.Tensor, points: torch.Tensor) -> torch.Tensor:
    half = (torch.tensor(SHAPE[::-1]) - 1) * SPACING_MM / 2
    where = (points / half).reshape(1, 1, 1, -1, 3).float()
    return functional.grid_sample(image[None], where, align_corners=True).reshape(-1)
