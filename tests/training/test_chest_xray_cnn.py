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
from training.chest_xray import cnn, recipe
from training.chest_xray.finding_batches import BATCH, FindingSource, Labelled, packed, unpacked
from training.chest_xray.findings import scattered
from training.chest_xray.joined import SHARE, JoinedForService, shares_of
from training.chest_xray.network import FindingsNetwork
from training.chest_xray.recipe import Plan, train
from training.chest_xray.scattering import FindingsForService, Linear, Scattering, flat
from training.datasets.case import Case, CaseImage
from training.datasets.chest_labels import CLASSES, read_nih_folder
from training.errors import BrokenDataError
from training.loop import Schedule


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


def test_evidence_of_both_networks_adds_up_to_the_logit() -> None:
    count = Scattering.fine_channels * 64 + Scattering.coarse_channels * 16
    rng = np.random.default_rng(0)
    weights = rng.normal(0, 1e-3, (6, count)).astype(np.float32)
    fixed = FindingsForService(Linear(np.zeros(count, np.float32), weights, np.ones(6, np.float32)))
    learned = FindingsNetwork().eval()
    picture = torch.from_numpy(rng.normal(size=(1, 1, 128, 128)).astype(np.float32))
    with torch.no_grad():
        own, _ = fixed(picture)
        joined, evidence = JoinedForService(fixed, learned, np.full(6, 2, np.float32))(picture)
        added = torch.logit(own) + 2 * learned(picture).sum((2, 3))
    assert torch.allclose(torch.logit(joined), added, atol=1e-3)
    assert torch.allclose(evidence.sum((2, 3)) + 1, added, atol=1e-3)


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
