"""A registration maps points of the CT to the PET and back, and carries the PET along."""

from __future__ import annotations

import numpy as np
import pytest

from inference.registration.transform import Registration, pet_on
from inference.resample import crop_affine
from inference.volume import Volume
from tests.inference.registration.motions import moved

RNG = np.random.default_rng(3)
AFFINE = crop_affine((5.0, -3.0, 10.0), (8, 8, 8), 12.0)
MOTION = moved((6.0, -4.0, 9.0), (3.0, -2.0, 5.0))


def bent() -> Registration:
    z, y, x = np.meshgrid(*[np.linspace(-1, 1, 8)] * 3, indexing="ij")
    vectors = np.stack([3 * np.sin(2 * z), 2 * np.cos(2 * x), 4 * np.sin(y)], -1).astype(np.float32)
    return Registration(MOTION, vectors, AFFINE, "deformable", "")


def test_there_and_back_is_where_it_began() -> None:
    points = RNG.uniform(-30, 30, (50, 3)) + (5, -3, 10)
    registration = bent()
    assert registration.to_ct(registration.to_pet(points)) == pytest.approx(points, abs=0.05)


def test_the_identity_moves_nothing() -> None:
    points = RNG.uniform(-300, 300, (20, 3))
    still = Registration.identity("nothing to do")
    assert still.to_pet(points) == pytest.approx(points)
    assert still.to_ct(points) == pytest.approx(points)


def test_the_pet_lies_on_the_ct_after_it_was_carried() -> None:
    affine = crop_affine((5.0, -3.0, 10.0), (40, 40, 40), 3.0)
    registration = bent()
    hot = registration.to_pet([[8.0, 2.0, 4.0]])[0]
    z, y, x = np.meshgrid(*[np.arange(40)] * 3, indexing="ij")
    index = np.stack([z, y, x], -1) @ affine[:3, :3].T + affine[:3, 3]
    suv = np.exp(-(((index - hot) / 8) ** 2).sum(-1)).astype(np.float32)
    pet = Volume(suv, affine, "1.2", "1.3", (None,) * 40)
    carried = pet_on(pet, registration, affine, (40, 40, 40))
    hottest = np.array(np.unravel_index(carried.argmax(), carried.shape))
    assert affine[:3, :3] @ hottest + affine[:3, 3] == pytest.approx((8.0, 2.0, 4.0), abs=3.0)
