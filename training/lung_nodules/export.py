"""The networks of ``lung-nodules`` as they answer in service."""

from __future__ import annotations

import math

import torch
from torch import Tensor, nn

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
