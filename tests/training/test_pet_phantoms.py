"""PET/CT phantoms: the chest's anatomy as a PET camera and the CT beside it see it."""

from __future__ import annotations

import numpy as np
import pytest

from inference.hot_spots import hot_spots
from tests.training.leak import found_by_classifier
from training.pet_ct.spots import lesion_of, patient_spots, volumes
from training.phantoms.anatomy import FIELD_GRID, chest_anatomy
from training.phantoms.hot_lesions import HotLesion, random_lesions
from training.phantoms.pet import PetCtPhantom, pet_ct_phantom
from training.phantoms.render import render
from training.phantoms.uptake import Physiology, activity

ANATOMY = 901
IN_THE_LUNG = HotLesion((-75.0, 10.0, 35.0), 30.0, 9.0, True, "lung", unevenness=0.0)


@pytest.fixture(scope="module")
def phantom() -> PetCtPhantom:
    return pet_ct_phantom(ANATOMY, 5, [IN_THE_LUNG])


def test_a_phantom_follows_from_its_seeds(phantom: PetCtPhantom) -> None:
    again = pet_ct_phantom(ANATOMY, 5, [IN_THE_LUNG])
    assert np.array_equal(again.pet, phantom.pet) and np.array_equal(again.ct, phantom.ct)


def test_pet_and_ct_show_the_lesion_where_its_truth_says(phantom: PetCtPhantom) -> None:
    (lesion,) = phantom.lesions
    for voxels, affine, least in (
        (phantom.pet, phantom.pet_affine, 5.0),
        (phantom.ct, phantom.ct_affine, -150.0),
    ):
        z, y, x = np.rint(np.linalg.inv(affine) @ (*lesion.center_mm, 1.0)).astype(int)[:3]
        assert voxels[z - 1 : z + 2, y, x].mean() > least


def test_what_is_not_drawn_leaves_its_truth_behind(phantom: PetCtPhantom) -> None:
    without = pet_ct_phantom(ANATOMY, 5, [IN_THE_LUNG], drawn=False)
    assert without.lesions == () or without.lesions[0].center_mm == phantom.lesions[0].center_mm
    assert without.pet.max() <= phantom.pet.max()
    assert abs(float(without.pet.mean()) - float(phantom.pet.mean())) < 0.1
    at = np.rint(np.linalg.inv(phantom.pet_affine) @ (*phantom.lesions[0].center_mm, 1.0)).astype(int)[:3]
    assert without.pet[tuple(at)] < 3 < phantom.pet[tuple(at)]


def test_healthy_tissue_takes_up_what_it_does_in_patients() -> None:
    anatomy = chest_anatomy(ANATOMY)
    physiology = Physiology.drawn(np.random.default_rng(3), anatomy)
    suv = activity(anatomy, FIELD_GRID, physiology)
    inside = {name: anatomy.fields[name].values for name in ("liver", "lungs", "body")}
    assert 1.2 < np.median(suv[inside["liver"] > 8]) < 3.6
    assert 0.2 < np.median(suv[inside["lungs"] > 15]) < 1.0
    assert suv[inside["body"] < -12].max() < 0.3


def test_a_hot_spot_is_matched_to_the_lesion_it_shows(phantom: PetCtPhantom) -> None:
    pet, _ = volumes(phantom)
    found = hot_spots(pet, least_suv=2.2, least_ml=0.3, most=100)
    shown = [lesion_of(spot, phantom.lesions, pet) for spot in found]
    (spot,) = (spot for spot, lesion in zip(found, shown, strict=True) if lesion is not None)
    volume = float(spot.mask.voxels.sum()) * pet.voxel_mm3
    assert volume == pytest.approx(phantom.lesions[0].volume_mm3, rel=0.3)


def test_the_spots_of_a_patient_come_with_what_they_are() -> None:
    spots = patient_spots(7, first_anatomy=ANATOMY)
    assert spots is not None
    assert spots.pet.shape == spots.ct.shape == spots.region.shape == (len(spots), 32, 32, 32)
    assert ((spots.site == -1) == (spots.kind == 0)).all()
    middle = spots.region[:, 14:18, 14:18, 14:18].max((1, 2, 3))
    assert (middle > 0).mean() > 0.8


def test_the_place_of_a_hot_lesion_does_not_tell_whether_it_is_malignant() -> None:
    """Of lesions of one size: larger ones lie deeper in the lung and are malignant more often."""
    anatomy = chest_anatomy(ANATOMY)
    hu = render(anatomy, FIELD_GRID) / 1000
    suv = activity(anatomy, FIELD_GRID, Physiology.drawn(np.random.default_rng(4), anatomy)) / 5
    to_index = np.linalg.inv(FIELD_GRID.affine)
    patches, malignant = [], []
    for seed in range(1700):
        lesion = next(iter(random_lesions(anatomy, 1, seed)), None)
        if lesion is None or not 9 <= lesion.diameter_mm <= 20:
            continue
        at = np.rint((to_index @ (*lesion.center_mm, 1.0))[:3]).astype(int)
        z, y, x = np.clip(at - 3, 0, np.array(hu.shape) - 7)
        box = (slice(z, z + 7), slice(y, y + 7), slice(x, x + 7))
        patches.append(np.stack([hu[box], suv[box]]))
        malignant.append(lesion.malignant)
    found = found_by_classifier(np.array(patches, np.float32), np.array(malignant))
    assert len(patches) > 900 and abs(found - 0.5) < 0.05
