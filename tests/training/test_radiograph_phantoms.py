"""Phantom radiographs: what a beam shows of a chest, and what their labels promise."""

from __future__ import annotations

from dataclasses import replace
from functools import lru_cache
from pathlib import Path

import numpy as np
import pytest

from inference.catalogue import Catalogue
from inference.readers.chest_xray import FINDINGS as FINDINGS_MODEL
from training.chest_xray import phantoms
from training.chest_xray.lungs import lung_masks
from training.datasets.chest_labels import CLASSES
from training.datasets.radiograph_phantoms import radiograph_cases
from training.evaluate.chest_xray import evaluate_phantoms
from training.metrics.classification import auroc
from training.phantoms.anatomy import chest_anatomy
from training.phantoms.radiograph import DRAWING, FINDINGS, Radiograph, radiograph, random_findings, taken
from training.phantoms.radiograph_beam import Beam
from training.phantoms.radiograph_body import thorax
from training.phantoms.radiograph_findings import Disease, disease, opacities
from training.phantoms.radiograph_patient import Change, Patient
from training.phantoms.tubes import Tubes

SMALL = 96
needs_weights = pytest.mark.skipif(FINDINGS_MODEL not in Catalogue().names, reason="no weights of chest-xray")
BEAM = Beam("PA", 1800.0, -140.0, 0.0, 0.0, (0.0, 0.0), (200, 200), 1.5)


@lru_cache(maxsize=32)
def drawn(seed: int, findings: frozenset[str] | None = None) -> Radiograph:
    return radiograph(seed, findings=findings, size=SMALL)


def test_what_a_seed_draws_is_what_the_number_of_the_drawing_says() -> None:
    """The mean grey of each quarter, how far neighbours differ, and how many in a thousand pixels are of the
    right lung, the left one and the heart; then the view, and what the labels say. Where these change, raise
    DRAWING and put those of the new drawing here."""
    drawings = [
        ([405, 429, 2646, 2705, 155, 151, 138, 116], "AP", "atelectasis edema"),
        ([2075, 1669, 2921, 2486, 137, 129, 127, 132], "PA", "cardiomegaly consolidation edema"),
        ([1832, 1620, 2941, 2469, 137, 151, 148, 106], "AP", "edema effusion"),
        ([1656, 2003, 2452, 2924, 136, 146, 142, 115], "PA", "atelectasis cardiomegaly edema effusion"),
        ([1649, 1496, 2415, 2111, 158, 157, 159, 119], "PA", "cardiomegaly edema effusion"),
        ([2021, 2172, 3653, 3875, 169, 88, 76, 101], "AP", "atelectasis cardiomegaly edema"),
        ([1398, 1620, 2780, 3018, 194, 127, 133, 131], "AP", "atelectasis cardiomegaly consolidation edema"),
        ([1757, 1848, 3301, 3492, 143, 109, 90, 104], "PA", "atelectasis cardiomegaly"),
    ]
    found = [_told(radiograph(seed, size=64)) for seed in range(len(drawings))]
    assert (DRAWING, *found) == (2, *((pytest.approx(row, abs=2), *words) for row, *words in drawings))


def _told(drawn: Radiograph) -> tuple[list[float], str, str]:
    grey, masks = drawn.picture.astype(float), (*drawn.lungs, drawn.heart)
    quarters = grey.reshape(2, 32, 2, 32).mean((1, 3)).ravel()
    row = [*quarters, np.abs(np.diff(grey)).mean(), *(1000 * mask.mean() for mask in masks)]
    return row, drawn.view, " ".join(sorted(name for name, is_so in drawn.labels.items() if is_so))


def test_radiographs_of_another_drawing_are_not_taken_for_todays(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(phantoms, "SIZE", 48)
    for number in (1, 2, 1):
        monkeypatch.setattr(phantoms, "DRAWING", number)
        phantoms.phantom_cases(1, 3, tmp_path)
    assert len(list(tmp_path.glob("phantoms-*.npz"))) == 2


def test_a_ray_through_the_middle_of_a_tube_is_as_long_as_the_tube_is_wide() -> None:
    tube = Tubes.along([(0, 0, -200), (0, 0, 200)], 12.0)
    shadow = BEAM.through((tube, 1.0))
    across = shadow[100]
    larger = float(BEAM.magnification(0.0))
    assert across.max() == pytest.approx(24.0, rel=0.11)  # radii are rounded by up to a tenth
    assert across.sum() * 1.5 / larger == pytest.approx(np.pi * 144, rel=0.02)  # areas are not


def test_what_lies_far_from_the_detector_is_larger() -> None:
    """The heart lies in front: AP, with the detector behind and a near source, shows it larger."""
    patient, (_, pose) = Patient.drawn(3), taken(3)
    ahead, behind = (
        thorax(patient, pose, beam, Change())
        for beam in (BEAM, replace(BEAM, view="AP", source_mm=1000.0, detector_y=140.0))
    )
    wide = [np.ptp(np.flatnonzero(chest.heart.any(0))) for chest in (ahead, behind)]
    chests = [np.ptp(np.flatnonzero(chest.lungs.any((0, 1)))) for chest in (ahead, behind)]
    assert wide[1] > 1.07 * wide[0]
    assert wide[1] / chests[1] > wide[0] / chests[0]


def test_the_chest_is_as_wide_as_on_the_same_patients_ct() -> None:
    lungs = chest_anatomy(12).fields["lungs"]
    columns = np.flatnonzero((lungs.values > 0).any((0, 1)))
    on_ct = np.ptp(columns) * lungs.grid.spacing_mm[2]
    chest = thorax(Patient.drawn(12), taken(12)[1], BEAM, Change())
    shadow = np.ptp(np.flatnonzero(chest.lungs.any((0, 1)))) * BEAM.spacing_mm
    assert shadow / float(BEAM.magnification(0.0)) == pytest.approx(on_ct, rel=0.06)


def test_the_same_seed_draws_the_same_radiograph() -> None:
    again = radiograph(5, size=SMALL)
    assert np.array_equal(drawn(5).picture, again.picture)
    assert drawn(5).labels == again.labels


def test_pictures_have_twelve_bits_and_masks_of_their_shape() -> None:
    one = drawn(6)
    assert one.picture.dtype == np.uint16 and one.picture.max() <= 4095
    assert one.lungs.shape == (2, SMALL, SMALL) and one.heart.shape == (SMALL, SMALL)
    columns = np.arange(SMALL)
    right, left = ((mask.sum(0) * columns).sum() / mask.sum() for mask in one.lungs)
    assert right < left  # the patient's right is on the left of the picture


def test_outlines_of_the_lungs_lie_as_far_apart_as_on_films() -> None:
    apart = []
    for seed in range(6):
        right, left = drawn(seed, frozenset()).lungs
        rows, columns = (np.flatnonzero((right | left).any(axis)) for axis in (1, 0))
        row = rows[0] + round(0.4 * np.ptp(rows))
        apart.append((np.flatnonzero(left[row])[0] - np.flatnonzero(right[row])[-1]) / np.ptp(columns))
    assert 0.13 < np.mean(apart) < 0.175


def test_a_lung_is_darker_than_heart_and_abdomen() -> None:
    for seed in range(4):
        one = drawn(seed, frozenset())
        lungs = one.lungs.any(0) & ~one.heart
        assert np.median(one.picture[lungs]) < 0.85 * np.median(one.picture[one.heart])


def test_labels_are_those_drawn_and_no_finding_is_none_of_them() -> None:
    assert (*FINDINGS, "no_finding") == CLASSES
    assert drawn(7, frozenset({"edema"})).labels == dict.fromkeys(CLASSES, False) | {"edema": True}
    assert drawn(7, frozenset()).labels["no_finding"]
    with pytest.raises(ValueError, match="no finding pneumonia"):
        radiograph(7, findings=frozenset({"pneumonia"}), size=SMALL)


def test_findings_come_together_and_often_enough_to_be_measured() -> None:
    """In 200 images each class has dozens, as an evaluation needs."""
    found = [random_findings(seed) for seed in range(70_000, 70_240)]
    for name in FINDINGS:
        assert sum(name in one for one in found) >= 30
    assert sum(not one for one in found) >= 60
    assert sum(len(one) > 1 for one in found) >= 50


@pytest.mark.parametrize("finding", FINDINGS)
def test_a_finding_shows_within_the_chest_it_is_drawn_into(finding: str) -> None:
    """The mean over patients of what it adds differs from nothing, and the frame's border keeps still."""
    differences = []
    for seed in range(4):
        with_it, without = drawn(seed, frozenset({finding})), drawn(seed, frozenset())
        change = np.abs(with_it.picture.astype(float) - without.picture)
        chest = without.lungs.any(0) | without.heart
        differences.append(change[chest].mean() - change[:6].mean())
    assert np.mean(differences) > 20


def test_fluid_fills_the_angle_of_the_ribs_first() -> None:
    patient, (beam, pose) = Patient.drawn(8), taken(8, size=128)
    chest = thorax(patient, replace(pose, supine=False), beam, Change())
    little, much = (opacities(chest, Disease(Change(), fluid=(height, 0.0)), 8) for height in (18.0, 70.0))
    where = chest.lungs[0] & (little > 0.2 * little.max())
    assert chest.across[where].mean() > 0.7
    assert much.sum() > 3 * little.sum()
    assert not (little > 0)[chest.lungs[1]].any()


def test_cases_have_labels_a_view_and_the_masks_of_both_lungs() -> None:
    (case,) = radiograph_cases([11], shifted=True)
    whole = radiograph(11, shifted=True)
    assert case.labels == {name: float(value) for name, value in whole.labels.items()}
    assert (case.patient, case.notes["view"]) == ("11", whole.view)
    assert np.array_equal(case.load().pixels, whole.picture)
    assert np.array_equal(lung_masks(case), whole.lungs)


@needs_weights
def test_the_reader_is_measured_on_phantoms_that_no_training_drew() -> None:
    found = evaluate_phantoms(None, "held-out", None, Catalogue(), count=8)
    assert found["images"] == 8 and found["refused"] < 4
    assert 0.5 < found["dice_lungs_ci"][0] <= found["dice_lungs"] <= found["dice_lungs_ci"][1] <= 1
    assert {f"auroc_{name}" for name in CLASSES} <= set(found)


def test_who_knows_all_that_was_drawn_tells_no_finding_beyond_doubt() -> None:
    """The best number of each finding's recipe: what a picture shows of it tells no more."""
    seeds = range(2000)
    findings = [random_findings(seed) for seed in seeds]
    recipes = [disease(seed, found) for seed, found in zip(seeds, findings, strict=True)]
    best = {
        "cardiomegaly": [
            Patient.drawn(seed).heart + what.change.heart for seed, what in zip(seeds, recipes, strict=True)
        ],
        "effusion": [max(what.fluid) for what in recipes],
        "atelectasis": [_collapsed(what) for what in recipes],
        "consolidation": [max((patch.filled for patch in what.patches), default=0.0) for what in recipes],
        "edema": [sum(what.haze) for what in recipes],
    }
    for name, scores in best.items():
        told = auroc(np.array([name in found for found in findings]), np.array(scores))
        assert 0.9 < told < 0.98, (name, told)


def _collapsed(what: Disease) -> float:
    return max(
        [*(lobe.filled for lobe in what.lobes), *(plate.thick_mm / 5 for plate in what.plates)], default=0.0
    )
