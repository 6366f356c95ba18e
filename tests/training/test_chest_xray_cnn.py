"""The network for findings that learns its own filters: from phantoms alone, or from real ones too."""

from __future__ import annotations

import os
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pytest
import torch
from PIL import Image
from torch import Tensor, nn

from inference.catalogue import Catalogue
from inference.engine.embedded import EmbeddedEngine
from inference.readers.chest_xray import FINDINGS, HEART, LUNGS
from training.chest_xray import cnn, findings, recipe
from training.chest_xray.finding_batches import BATCH, FindingSource, Labelled, packed, unpacked
from training.chest_xray.findings import fitted_apart, logits_apart, scattered
from training.chest_xray.joined import SHARE, Heard, Joined, JoinedForService, Trust, fit_joined, shares_of
from training.chest_xray.network import FindingsNetwork
from training.chest_xray.recipe import Plan, train
from training.chest_xray.scattering import Linear, Scattering, flat
from training.datasets.case import Case, CaseImage
from training.datasets.chest_labels import CLASSES, read_nih_folder
from training.errors import BrokenDataError
from training.loop import Schedule
from training.metrics.classification import auroc


def labelled(count: int, seed: int, brightness: float = 0.0) -> Labelled:
    """Noise; who has the first class is bright at the lower right."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, len(CLASSES))) < 0.5).astype(np.float32)
    pictures = rng.normal(brightness, 0.3, (count, 128, 128)).astype(np.float32)
    pictures[:, 64:, 64:] += 1.5 * labels[:, 0, None, None]
    return Labelled(packed(pictures.clip(-2.5, 2.5)), labels)


def test_what_is_kept_of_a_picture_is_what_was_seen() -> None:
    pictures = np.random.default_rng(0).uniform(-2.5, 2.5, (3, 8, 8)).astype(np.float32)
    assert np.abs(unpacked(packed(pictures)) - pictures).max() < 0.011


def test_a_batch_is_of_all_parts_alike_and_of_its_step_alone() -> None:
    few, many = labelled(3, 0), labelled(40, 1)
    few.labels[:] = np.nan
    source = FindingSource([few, Labelled(many.pictures[:0], many.labels[:0]), many], 1)
    pictures, labels = source(5)
    assert pictures.shape == (BATCH, 1, 128, 128)
    assert int(torch.isnan(labels).all(1).sum()) == BATCH // 2
    assert torch.equal(pictures, FindingSource([few, many], 1)(5)[0])
    assert not torch.equal(pictures, source(6)[0])


def test_open_labels_teach_nothing_of_their_class() -> None:
    torch.manual_seed(0)
    network = FindingsNetwork()
    pictures, labels = FindingSource([labelled(8, 0)], 1)(0)
    labels[:, 1:] = torch.nan
    cnn.finding_loss(network, (pictures, labels))["cross"].backward()
    grown = network.out.weight.grad
    assert grown is not None and bool(grown[0].any()) and not bool(grown[1:].any())


def test_a_rescaled_network_says_what_the_calibration_does() -> None:
    network = FindingsNetwork().eval()
    seen = labelled(4, 3)
    before = cnn.logits_of(network, seen)
    slopes, offsets = np.linspace(0.5, 2, 6, dtype=np.float32), np.linspace(-1, 1, 6, dtype=np.float32)
    cnn.rescaled(network, slopes, offsets)
    assert np.allclose(cnn.logits_of(network, seen), before * slopes + offsets, atol=1e-4)


def test_features_of_a_mirrored_picture_are_the_same_and_so_is_what_is_fitted_on_them() -> None:
    rng = np.random.default_rng(0)
    pictures = rng.normal(size=(2, 128, 128)).astype(np.float32)
    features = scattered(pictures)
    assert np.allclose(features, scattered(np.ascontiguousarray(pictures[:, :, ::-1])), atol=1e-5)
    fitted = Linear(features.mean(0), (features[:1] - features[1:]).repeat(6, 0), np.zeros(6, np.float32))
    with torch.no_grad():
        plain = flat(*Scattering()(torch.from_numpy(pictures)[:, None]))
    assert np.allclose(fitted.logits(plain), fitted.logits(features), rtol=1e-3, atol=1e-2)


COUNT = Scattering.fine_channels * 64 + Scattering.coarse_channels * 16


def test_what_is_served_says_what_was_fitted() -> None:
    rng = np.random.default_rng(0)

    def some(*shape: int) -> npt.NDArray[np.float32]:
        return rng.normal(0, 1, shape).astype(np.float32)

    fixed = Linear(some(COUNT), some(6, COUNT) * 1e-3, some(6))
    channels = Scattering.fine_channels + Scattering.coarse_channels
    fitted = Joined(fixed, some(6), some(6), some(6), Trust(some(channels) * 0.03, 0.2))
    slopes, offsets = some(6), some(6)
    learned = FindingsNetwork().eval()
    pictures = torch.from_numpy(some(2, 1, 128, 128))
    pictures[1] *= 3
    with torch.no_grad():
        features = flat(*Scattering()(pictures))
        told = learned(pictures).sum((2, 3)).numpy()
        served, evidence = JoinedForService(fitted.rescaled(slopes, offsets), learned)(pictures)
    trust = fitted.trust.of(features)
    assert 0.01 < trust.min() < trust.max() < 0.99
    wanted = fitted.logits(features, told)
    assert np.allclose(torch.logit(served.double()), wanted * slopes + offsets, atol=1e-3)
    only = trust * (fixed.bias * slopes + offsets) + (1 - trust) * (fitted.offsets * slopes + offsets)
    assert np.allclose(evidence.sum((2, 3)) + only, wanted * slopes + offsets, atol=1e-3)


def heard(count: int, grainy: float, *, by_filters: bool, seed: int) -> Heard:
    """Radiographs whose findings either the fixed filters show or the learned network tells."""
    rng = np.random.default_rng(seed)
    labels = (rng.random((count, len(CLASSES))) < 0.4).astype(np.float32)
    features = rng.normal(grainy, 0.5, (count, COUNT)).astype(np.float32)
    told = rng.normal(0, 1, labels.shape).astype(np.float32)
    if by_filters:
        features[:, : 256 * len(CLASSES)] += 2 * labels.repeat(256, 1) - 1
    else:
        told += 3 * labels - 1.5
    return Heard(features, told, labels)


@pytest.fixture
def one_strength(monkeypatch: pytest.MonkeyPatch) -> None:
    """Linear layers that are fitted at once."""
    monkeypatch.setattr(findings, "STRENGTHS", (5.0,))


@pytest.mark.usefixtures("one_strength")
def test_each_is_believed_of_what_it_tells_with_no_word_of_which_is_which() -> None:
    films = heard(60, 0.0, by_filters=True, seed=0)
    phantoms, others = (heard(60, 0.3, by_filters=False, seed=seed) for seed in (1, 2))
    films.labels[3, 0] = np.nan
    fitted, crossed = fit_joined(films, np.arange(60).astype(str), np.arange(60) % 2, phantoms)
    assert fitted.trust.of(films.features).mean() > 0.8 > 0.2 > fitted.trust.of(others.features).mean()
    assert np.mean([auroc(films.labels[4:, k] > 0.5, crossed[4:, k]) for k in range(6)]) > 0.9
    answers = fitted.logits(others.features, others.told)
    assert np.mean([auroc(others.labels[:, k] > 0.5, answers[:, k]) for k in range(6)]) > 0.9


@pytest.mark.usefixtures("one_strength")
def test_a_fold_has_no_part_in_the_layer_that_answers_for_it() -> None:
    films, folds = heard(40, 0.0, by_filters=True, seed=0), np.arange(40) % 2
    patients = np.arange(40).astype(str)
    before = fitted_apart(films.features, films.labels, patients, folds)
    films.labels[folds == 1] = 1 - films.labels[folds == 1]
    after = fitted_apart(films.features, films.labels, patients, folds)
    assert np.array_equal(before[1].weights, after[1].weights)
    assert not np.array_equal(before[0].weights, after[0].weights)
    answers = logits_apart(after, films.features, folds)
    assert np.array_equal(answers[folds == 0], after[0].logits(films.features[folds == 0]))


def test_the_learned_network_counts_a_share_of_the_spread() -> None:
    rng = np.random.default_rng(0)
    told = rng.normal(size=(50, 6)).astype(np.float32)
    fixed = 4 * rng.normal(size=(50, 6)).astype(np.float32)
    fixed[3, 0] = np.nan
    spread = (told * shares_of(fixed, told)).std(0)
    assert spread == pytest.approx(SHARE * np.nanstd(fixed, 0), rel=1e-4)


def drawn(pixels: npt.NDArray[np.uint8]) -> Case:
    return Case("1", "p", partial(CaseImage, pixels, "grey"), labels=dict.fromkeys(CLASSES, 1.0))


class NoLungs(nn.Module):
    def forward(self, picture: Tensor) -> Tensor:
        return torch.full((len(picture), 2, *picture.shape[2:]), -9.0)


def test_another_picture_under_the_same_name_has_a_close_up_of_its_own(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    pictures = [rng.integers(0, 255, (40, 40), dtype=np.uint8) for _ in range(2)]
    first, other = (cnn.kept_close_ups([drawn(one)], NoLungs(), tmp_path) for one in pictures)
    assert not np.array_equal(first.pictures, other.pictures)
    again = cnn.kept_close_ups([drawn(pictures[0])], NoLungs(), tmp_path)
    assert np.array_equal(first.pictures, again.pictures) and len(list(tmp_path.iterdir())) == 2


def test_a_run_does_not_go_on_with_other_pictures_under_the_same_names(tmp_path: Path) -> None:
    (tmp_path / "images").mkdir()
    file = tmp_path / "images/1.png"
    (tmp_path / "labels.csv").write_text(
        f"file,patient_id,view,{','.join(CLASSES)}\n1.png,p,PA,1,0,0,0,0,0\n"
    )
    made_from = []
    for grey in (10, 20):
        Image.fromarray(np.full((8, 8), grey, np.uint8)).save(file)
        os.utime(file, ns=(grey, grey))
        (case,) = read_nih_folder(tmp_path)
        made_from.append(recipe._made_from([case], [], Plan())["data"])
    assert made_from[0] != made_from[1] == recipe._made_from([case], [], Plan())["data"]
    assert made_from[1] != recipe._made_from([], [case], Plan())["data"]


def short(**options: Any) -> Plan:
    brief = Schedule(steps=2, warm_up=1)
    return Plan(schedule=brief, heart=brief, findings=brief, phantoms=12, **options)


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> None:
    """Phantoms that are drawn at once."""
    from training.chest_xray import phantoms

    monkeypatch.setattr(phantoms, "SIZE", 128)


@pytest.mark.slow
def test_a_run_on_phantoms_needs_no_data_answers_and_can_be_gone_on_from(tmp_path: Path, small: None) -> None:
    repository = train("phantom", (), None, tmp_path / "run", short())
    catalogue = Catalogue(repository)
    picture = np.random.default_rng(0).normal(size=(1, 1, 128, 128)).astype(np.float32)
    answers = EmbeddedEngine(catalogue).infer(FINDINGS, {"picture": picture})
    logits = np.asarray(answers["evidence"], np.float32).sum((2, 3))
    assert np.allclose(answers["probability"], 1 / (1 + np.exp(-logits)), atol=1e-3)
    for name in (FINDINGS, LUNGS, HEART):
        (data,) = catalogue.find(name).card.training_data
        assert (data.kind, data.cases) == ("phantom", 12)
    on = train("phantom", (), None, tmp_path / "on", short(start=repository))
    told = [data.description for data in Catalogue(on).find(FINDINGS).card.training_data]
    assert len(told) == 2 and "go on from" in told[1]
    with pytest.raises(BrokenDataError, match="another"):
        train("phantom", (), None, tmp_path / "run", short(activation="silu"))
