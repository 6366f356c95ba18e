"""The networks of ``lung-nodules`` as they answer in service, and how they come into a model repository."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn

from inference.catalogue import Catalogue
from inference.model_repository import sync
from training.export import export_one, smooth_input
from training.lung_nodules import cards
from training.lung_nodules.crops import SHAPE
from training.lung_nodules.networks import Characteriser, Detector


class DetectorForService(nn.Module):
    """Probabilities and millimetres instead of logits."""

    def __init__(self, network: Detector) -> None:
        super().__init__()
        self.network = network

    def forward(self, volume: Tensor) -> tuple[Tensor, Tensor]:
        out = self.network(volume)
        diameter = torch.exp(torch.clamp(out[:, 1:2], math.log(2.0), math.log(120.0)))
        return torch.sigmoid(out[:, 0:1]), diameter


class CharacteriserForService(nn.Module):
    """Probabilities, their logits divided by temperatures fitted on held-out candidates."""

    def __init__(self, network: Characteriser, temperatures: tuple[float, float] = (1.0, 1.0)) -> None:
        super().__init__()
        self.network = network
        self.nodule_temperature, self.malignancy_temperature = temperatures

    def forward(self, crop: Tensor, spacing_mm: Tensor) -> tuple[Tensor, Tensor, Tensor, Tensor]:
        mask, judged = self.network(crop, spacing_mm)
        return (
            torch.sigmoid(mask),
            torch.sigmoid(judged[:, 0:1] / self.nodule_temperature),
            torch.sigmoid(judged[:, 1:2] / self.malignancy_temperature),
            torch.softmax(judged[:, 2:], 1),
        )


def export(
    detector: Detector,
    characteriser: Characteriser,
    repository: Path,
    *,
    version: int,
    data: Mapping[str, Sequence[dict[str, Any]]],
    metrics: Sequence[dict[str, Any]],
    command: str,
    candidate_threshold: float = 0.12,
    report_threshold: float = 0.33,
) -> None:
    """Both networks as ONNX with card, README, parity sample and Triton configuration. command: what made
    them."""
    wanted = "at most 4 marks beside known lesions on the real scans that were backgrounds"
    candidate = {
        "candidate": {"threshold": candidate_threshold, "chosen_for": "what the second stage looks at"}
    }
    report = {"report": {"threshold": report_threshold, "chosen_for": wanted}}
    export_one(
        DetectorForService(detector),
        {"volume": smooth_input((1, 1, 8, 8, 8), (32, 32, 32))},
        {"volume": {2: "slice", 3: "row", 4: "column"}},
        cards.detector_card(version, candidate, data[cards.DETECTOR], metrics, command),
        repository,
        cards.TEXTS[cards.DETECTOR],
    )
    export_one(
        CharacteriserForService(characteriser),
        {"crop": smooth_input((2, 1, 6, 10, 10), SHAPE), "spacing_mm": torch.tensor([[0.5], [1.2]])},
        {"crop": {0: "batch"}, "spacing_mm": {0: "batch"}},
        cards.characteriser_card(version, report, data[cards.CHARACTERISER], metrics, command),
        repository,
        cards.TEXTS[cards.CHARACTERISER],
    )
    sync(Catalogue(repository))
