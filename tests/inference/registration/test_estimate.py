"""The network is taken at its word only where CT and PET agree better afterwards."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import pytest
from scipy import ndimage

from inference.catalogue import Catalogue
from inference.registration.estimate import COARSER, SHAPE, register_pet_to_ct
from inference.registration.refine import motion_about
from inference.resample import crop_affine
from inference.volume import Floats, Volume

COARSE = tuple(n // COARSER for n in SHAPE)
SPACING_MM, SIZE = 6.0, (48, 44, 60)
SHIFT = np.array([14.0, -8.0, 11.0])


def test_a_motion_turns_about_the_point_it_is_told() -> None:
    center = np.array([10.0, -20.0, 30.0])
    motion = motion_about(np.array([1.0, 2.0, 3.0, 0.0, 0.0, 90.0]), center)
    assert motion[:3, :3] @ center + motion[:3, 3] == pytest.approx(center + (1, 2, 3))
    beside = motion @ (20.0, -20.0, 30.0, 1.0)
    assert beside[:3] == pytest.approx((11.0, -8.0, 33.0))


@dataclass
class Answering:
    """An engine whose network answers these shifts and displacements, look by look."""

    shifts: Sequence[npt.ArrayLike]
    displacement: npt.NDArray[np.float32]
    looks: int = 0
    at_once: int = 1

    def infer(self, model: str, inputs: Mapping[str, object]) -> dict[str, npt.NDArray[np.float32]]:
        shift = self.shifts[self.looks] if self.looks < len(self.shifts) else (0, 0, 0)
        self.looks += 1
        motion = np.array([*np.asarray(shift), 0, 0, 0], np.float32)
        return {"motion": motion[None], "displacement": self.displacement[None]}

    def close(self) -> None: ...


NOWHERE = np.zeros((3, *COARSE), np.float32)


@pytest.fixture(scope="module")
def torso() -> tuple[Volume, Volume]:
    """A CT of a trunk with two lungs and a liver, and its PET, 14, -8 and 11 mm away."""
    affine = crop_affine((0.0, 0.0, 0.0), SIZE, SPACING_MM)

    def hu(points: Floats) -> npt.NDArray[np.float32]:
        return np.select([_lungs(points), _liver(points), _trunk(points)], [-850.0, 60.0, 20.0], -1000.0)

    def suv(points: Floats) -> npt.NDArray[np.float32]:
        return np.select([_lungs(points), _liver(points), _trunk(points)], [0.4, 2.4, 0.9], 0.0)

    return _volume(hu, affine, np.zeros(3)), _volume(suv, affine, SHIFT)


@pytest.mark.parametrize("answer", [SHIFT, 0.5 * SHIFT, -0.5 * SHIFT], ids=["true", "half", "wrong way"])
def test_from_whatever_the_network_answers_the_pet_is_brought_onto_the_ct(
    torso: tuple[Volume, Volume], answer: Floats
) -> None:
    ct, pet = torso
    found = register_pet_to_ct(ct, pet, Answering([answer], NOWHERE), Catalogue())  # type: ignore[arg-type]
    assert found.kind in ("rigid", "deformable")
    assert np.linalg.norm(found.to_pet([(10.0, 5.0, -20.0)])[0] - (24.0, -3.0, -9.0)) < 3
    assert found.quality is not None
    assert found.quality.after.mutual_information > found.quality.before.mutual_information + 0.05
    assert found.quality.after.body_dice > found.quality.before.body_dice
    assert found.reason.startswith("The PET was moved")


def test_a_pet_that_tells_nothing_of_the_ct_stays_where_it_is(torso: tuple[Volume, Volume]) -> None:
    ct, pet = torso
    even = replace(pet, voxels=np.ones_like(pet.voxels))
    found = register_pet_to_ct(ct, even, Answering([SHIFT], NOWHERE), Catalogue())  # type: ignore[arg-type]
    assert found.kind == "identity"
    assert "agree no better after registration" in found.reason
    assert found.to_pet([(1.0, 2.0, 3.0)])[0] == pytest.approx((1.0, 2.0, 3.0))


def test_displacements_that_fold_are_refused_and_the_rigid_motion_kept(torso: tuple[Volume, Volume]) -> None:
    ct, pet = torso
    torn = NOWHERE.copy()
    torn[2, ::2] = 60.0
    found = register_pet_to_ct(ct, pet, Answering([SHIFT], torn), Catalogue())  # type: ignore[arg-type]
    assert found.kind == "rigid"
    assert "would fold it" in found.reason


@pytest.mark.parametrize(
    ("spoilt", "said"),
    [
        (lambda ct, pet: (ct, replace(pet, voxels=pet.voxels * np.float32(9000))), "which is no SUV"),
        (lambda ct, pet: (ct, replace(pet, voxels=pet.voxels * 0)), "which is no SUV"),
        (lambda ct, pet: (replace(ct, voxels=ct.voxels[:4]), pet), "The CT holds 4 slices"),
        (lambda ct, pet: (replace(ct, voxels=np.full_like(ct.voxels, -1000)), pet), "No body was found"),
        (lambda ct, pet: (ct, replace(pet, affine=pet.affine + _far())), "show no part of the body together"),
    ],
    ids=["counts", "empty", "few slices", "air", "elsewhere"],
)
def test_what_cannot_be_registered_stays_where_it_is_and_says_why(
    torso: tuple[Volume, Volume], spoilt: Callable[[Volume, Volume], tuple[Volume, Volume]], said: str
) -> None:
    ct, pet = spoilt(*torso)
    found = register_pet_to_ct(ct, pet, Answering([], NOWHERE), Catalogue())  # type: ignore[arg-type]
    assert found.kind == "identity"
    assert said in found.reason


def _far() -> Floats:
    out = np.zeros((4, 4))
    out[0, 3] = 5000.0
    return out


def _volume(of: Callable[[Floats], npt.NDArray[np.floating]], affine: Floats, shift: Floats) -> Volume:
    index = np.moveaxis(np.indices(SIZE), 0, -1)
    values = of(index @ affine[:3, :3].T + affine[:3, 3] - shift)
    smooth = ndimage.gaussian_filter(values.astype(np.float32), 0.6)
    return Volume(smooth, affine, "1.2", "1.3", (None,) * SIZE[0])


def _trunk(points: Floats) -> npt.NDArray[np.bool_]:
    return (points[..., 0] / 150) ** 2 + (points[..., 1] / 100) ** 2 < 1


def _lungs(points: Floats) -> npt.NDArray[np.bool_]:
    x, y, z = np.moveaxis(points, -1, 0)
    return ((np.abs(x) - 70) / 50) ** 2 + (y / 75) ** 2 + ((z - 25) / 85) ** 2 < 1


def _liver(points: Floats) -> npt.NDArray[np.bool_]:
    x, y, z = np.moveaxis(points, -1, 0)
    return ((x + 60) / 80) ** 2 + (y / 75) ** 2 + ((z + 95) / 50) ** 2 < 1
