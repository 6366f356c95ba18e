"""The second stage of ct-lesions: crops about what the first one marks, what its network learns of them."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch

from inference.card import ModelCard
from inference.catalogue import Catalogue
from inference.volume import Volume
from tests.training.marking import Marking
from training.ct_lesions import cards, recipe, searched
from training.ct_lesions.characteriser import (
    CropBatches,
    batched,
    figures,
    losses,
    train_characteriser,
)
from training.ct_lesions.crops import AROUND, SHAPE, UNKNOWN, Crop, crop_spacing, cut, kept_crops
from training.ct_lesions.known import KNOWN, UNMARKED
from training.ct_lesions.looks import KINDS, LOOKS, kind_of, look_of
from training.ct_lesions.networks import Characteriser, CharacteriserForService, LesionNet
from training.ct_lesions.recipe import FIRST_CROPS, Plan
from training.ct_lesions.searched import Slab, phantom_crops, real_crops
from training.loop import Schedule
from training.phantoms.bodies import Placed, random_lesions
from training.phantoms.fields import Array, Grid
from training.phantoms.masses import SITES, Mass
from training.shipped import served_weights

SEED = 4002
WIDTH = 2 + len(SITES) + len(LOOKS) + len(KINDS)
EVERY_24_MM = Marking((slice(3, None, 6),) * 3)


@pytest.fixture(scope="module")
def card() -> ModelCard:
    body = cards.detector_card(1, {"candidate": {"threshold": 0.08}}, [], []) | {"sha256": "0" * 64}
    body["postprocess"] = {"most_candidates": 4000.0}
    return ModelCard.model_validate(body)


@pytest.fixture(scope="module")
def crops(card: ModelCard) -> list[Crop]:
    return phantom_crops(SEED, 1, 14, EVERY_24_MM, card)


def test_lesions_are_cut_where_they_lie_and_marks_on_nothing_hold_none(crops: list[Crop]) -> None:
    lesions = [crop for crop in crops if crop.lesion]
    nothing = [crop for crop in crops if not crop.lesion]
    assert len(lesions) > 10
    assert len(nothing) == 30
    assert all(crop.close.shape == crop.mask.shape == SHAPE and crop.around.shape == AROUND for crop in crops)
    assert not any(crop.mask.any() for crop in nothing)
    middles = [crop.mask[6:10, 16:24, 16:24].max() for crop in lesions]
    assert np.mean(np.array(middles) >= 50) > 0.9
    assert {crop.malignant for crop in lesions} == {0.0, 1.0}
    assert all(0 <= crop.site < len(SITES) for crop in lesions)
    assert {(crop.malignant, crop.site, crop.kind) for crop in nothing} == {(UNKNOWN,) * 3}
    assert np.isnan([crop.look for crop in nothing]).all()
    assert all(np.isfinite(crop.look[LOOKS.index("lobulation")]) for crop in lesions)


def test_a_seed_gives_the_same_scan_twice() -> None:
    slab = Slab.drawn(SEED)
    (one, placed), (again, _) = (slab.scanned((SEED, 0), 6) for _ in range(2))
    np.testing.assert_array_equal(one.voxels, again.voxels)
    other, _ = slab.scanned((SEED, 1), 6)
    assert (one.voxels != other.voxels).any()
    assert placed


def test_of_a_real_scan_nothing_is_learned_where_it_is_known_to_be_diseased(card: ModelCard) -> None:
    rng = np.random.default_rng(2)
    hu = np.full((60, 120, 120), -1000, np.int16)
    hu[:, 15:105, 10:110] = (50 + rng.normal(0, 12, (60, 90, 100))).astype(np.int16)
    affine = np.zeros((4, 4))
    affine[2, 0] = affine[1, 1] = affine[0, 2] = 2
    affine[3, 3] = 1
    volume = Volume(hu, affine, "1.2", "1.3", (None,) * 60)
    found = real_crops(volume, (), 1, 8, EVERY_24_MM, card)
    assert any(crop.lesion for crop in found)
    assert all(crop.real for crop in found)
    everywhere = (((120.0, 120.0, 60.0), 400.0),)
    assert real_crops(volume, everywhere, 1, 8, EVERY_24_MM, card) == []


def test_a_lesion_drawn_at_a_known_one_is_no_lesion_and_not_nothing_either(
    card: ModelCard, monkeypatch: pytest.MonkeyPatch
) -> None:
    hu = np.full((60, 60, 60), -1000, np.int16)
    hu[:, 4:56, 4:56] = 50
    affine = np.diag([2.0, 2, 2, 1])[[2, 1, 0, 3]]
    volume = Volume(hu, affine, "1.2", "1.3", (None,) * 60)

    def one_of_90_mm(drawn: Array, grid: Grid, *_: object, **__: object) -> list[Placed]:
        z, y, x = grid.axes
        ball = ((x - 60) ** 2 + (y - 60) ** 2 + (z - 60) ** 2 < 45**2).astype(np.float32)
        drawn += 450 * ball
        _, recipe = random_lesions(np.random.default_rng(1), 1)[0]
        whole = tuple(slice(0, n) for n in drawn.shape)
        return [Placed(recipe, None, (60.0, 60.0, 60.0), 90.0, (whole[0], whole[1], whole[2]), ball)]

    monkeypatch.setattr(searched, "place", one_of_90_mm)
    beside, at_its_rim = ((((x, 60.0, 60.0), 1.0),) for x in (130.0, 104.0))
    assert any(crop.lesion for crop in real_crops(volume, beside, 1, 1, EVERY_24_MM, card))
    nothing = real_crops(volume, at_its_rim, 1, 1, EVERY_24_MM, card)
    assert nothing
    assert not any(crop.lesion for crop in nothing)
    assert max(float(crop.close[8, 20, 20]) for crop in nothing) < 300


def test_what_lies_beyond_the_scan_is_air() -> None:
    volume = Volume(np.full((8, 40, 40), 60, np.int16), np.diag([1.0, 1, 1, 1])[[2, 1, 0, 3]], "", "", ())
    crop = cut(volume, volume, (20.0, 20.0, 4.0), 16.0)
    assert crop.spacing_mm == crop_spacing(16.0) == 1.0
    assert (crop.close[0] == -1024).all()
    assert np.median(crop.close[8]) == 60
    assert not crop.mask.any()


def test_crops_are_kept_and_not_cut_again(tmp_path: Path, crops: list[Crop]) -> None:
    path = tmp_path / "trunk"
    kept_crops(path, (), lambda: crops[:5])

    def again() -> list[Crop]:
        raise AssertionError("they are there")

    for one, other in zip(kept_crops(path, (), again), crops, strict=False):
        np.testing.assert_array_equal(one.close, other.close)
        np.testing.assert_array_equal(one.mask, other.mask)
        assert (one.site, one.malignant, one.spacing_mm) == (other.site, other.malignant, other.spacing_mm)
        assert one.kind == other.kind
        np.testing.assert_array_equal(one.look, other.look)


def test_another_first_network_has_its_marks_cut_anew(
    tmp_path: Path, crops: list[Crop], monkeypatch: pytest.MonkeyPatch
) -> None:
    cut_of: list[int] = []

    def phantom_crops_of(seed: int, *_: object) -> list[Crop]:
        cut_of.append(seed)
        return crops[:2]

    monkeypatch.setattr(recipe, "phantom_crops", phantom_crops_of)
    first = LesionNet(widths=(16, 16, 16, 16))

    def cut_for(network: LesionNet, run: str, plan: Plan) -> list[int]:
        cut_of.clear()
        recipe.export_detector(network, tmp_path / run, version=1, data=[], metrics=[])
        learned, checked = recipe.prepare((), tmp_path / run, tmp_path / "crops", plan)
        assert (len(learned), len(checked)) == (2, 2)
        return list(cut_of)

    plan = Plan(crop_trunks=2)
    seeds = [FIRST_CROPS, FIRST_CROPS + 1]
    assert cut_for(first, "one", plan) == seeds
    assert cut_for(first, "two", plan) == []
    assert cut_for(first, "two", replace(plan, lesions_each=3)) == seeds
    with torch.no_grad():
        first.inside.bias += 1e-3
    assert cut_for(first, "three", plan) == seeds


def test_how_a_lesion_looks_is_told_where_such_lesions_have_it_and_differs_by_malignancy() -> None:
    recipes = [recipe for _, recipe in random_lesions(np.random.default_rng(3), 2000)]
    masses = np.array([isinstance(recipe, Mass) for recipe in recipes])
    looks = np.array([look_of(recipe) for recipe in recipes])
    malignant = np.array([recipe.malignant for recipe in recipes])
    for number, name in enumerate(LOOKS):
        has = {"lobulation": np.full(len(recipes), True), "spiculation": ~masses}.get(name, masses)
        np.testing.assert_array_equal(np.isfinite(looks[:, number]), has)
        assert looks[has & malignant, number].mean() > looks[has & ~malignant, number].mean() + 0.3
        assert abs(looks[has, number].mean()) < 1
    assert {KINDS[kind_of(recipe)] for recipe in recipes} == set(KINDS)


def test_nearly_half_of_each_batch_are_lesions_and_a_number_gives_the_same_batch(crops: list[Crop]) -> None:
    batches = CropBatches(crops, 1, 12)
    close, spacing, around, known, mask, labels = batches(3)
    assert labels[:, 0].sum() == 6
    assert close.shape == mask.shape == (12, 1, *SHAPE)
    assert around.shape == (12, 1, *AROUND)
    assert spacing.shape == (12, 1)
    assert (known == KNOWN).all()
    assert torch.equal(close, batches(3)[0])
    assert not torch.equal(close, batches(4)[0])


def test_the_loss_falls_when_the_answer_is_right(crops: list[Crop]) -> None:
    *_, known, mask, labels = batched(crops)
    judged = torch.zeros(len(crops), WIDTH)
    wrong = losses(torch.zeros_like(mask), judged, known, mask, labels)
    judged = answers(labels)
    right = losses(mask * 12 - 6, judged, known, mask, labels)
    assert all(right[name] < wrong[name] for name in wrong)


def answers(labels: torch.Tensor) -> torch.Tensor:
    """What a network would say that knew."""
    judged = torch.zeros(len(labels), WIDTH)
    judged[:, :2] = labels[:, :2] * 8 - 4
    judged[:, 2 + len(SITES) : -len(KINDS)] = labels[:, 3:-1].nan_to_num()
    for row, site, kind in zip(
        judged, labels[:, 2].int().tolist(), labels[:, -1].int().tolist(), strict=True
    ):
        row[2 + max(site, 0)] = row[max(kind, 0) - len(KINDS)] = 9
    return judged


class Answering(torch.nn.Module):
    """Says of each crop, in their order, what is so of the same number of ``truth``."""

    def __init__(self, truth: list[Crop]) -> None:
        super().__init__()
        self.truth, self.at = truth, 0

    def forward(
        self, close: torch.Tensor, spacing_mm: torch.Tensor, around: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        here = self.truth[self.at : self.at + len(close)]
        self.at += len(close)
        *_, mask, labels = batched(here)
        return mask * 12 - 6, answers(labels)


def test_its_figures_are_those_of_a_network_that_knows(crops: list[Crop]) -> None:
    assert set(figures(Answering(crops), crops).values()) == {1.0}


def test_what_nobody_marked_has_no_say_in_how_well_lesions_are_told(crops: list[Crop]) -> None:
    lesion = next(crop for crop in crops if crop.lesion)
    unmarked = replace(
        lesion,
        lesion=0,
        malignant=-1,
        site=-1,
        known=np.full_like(lesion.known, UNMARKED),
        mask=lesion.mask * 0,
    )

    assert figures(Answering([*crops, lesion]), [*crops, unmarked])["lesion"] == 1.0


def test_the_network_takes_any_number_of_crops() -> None:
    network = Characteriser().eval()
    with torch.no_grad():
        mask, judged = network(torch.zeros(3, 1, *SHAPE), torch.ones(3, 1), torch.zeros(3, 1, *AROUND))
    assert mask.shape == (3, 1, *SHAPE)
    assert judged.shape == (3, WIDTH)


def test_a_training_starts_from_what_the_installed_network_knows(crops: list[Crop], tmp_path: Path) -> None:
    model, network = Catalogue().find(cards.CHARACTERISER), Characteriser()
    start = served_weights(model, network, CharacteriserForService)
    step = Schedule(steps=1, learning_rate=1e-6)
    _, history = train_characteriser(crops, crops, tmp_path, step, start=start)
    (found,) = history.scores
    assert found["lesion"] > 0.8 and found["dice"] > 0.4
