"""The network that learns its own filters for findings, and how it answers in service."""

from __future__ import annotations

from itertools import pairwise

import torch
from torch import Tensor, nn

from training.datasets.chest_labels import CLASSES
from training.detection.networks import ACTIVATIONS

WIDTHS = (16, 32, 64, 96)


def _layer(taken: int, given: int, activation: str, side: int = 3, stride: int = 1) -> nn.Sequential:
    return nn.Sequential(
        nn.Conv2d(taken, given, side, stride, side // 2, bias=False),
        nn.BatchNorm2d(given),
        ACTIVATIONS[activation](),
    )


class FindingsNetwork(nn.Module):
    """(batch, 1, 128, 128) to what each of 8 x 8 places adds to the logit of each class, (batch, classes, 8,
    8): the logit is their sum."""

    def __init__(self, activation: str = "relu") -> None:
        super().__init__()
        self.stem = _layer(1, WIDTHS[0], activation, 5, 2)
        self.levels = nn.Sequential(
            *(
                nn.Sequential(
                    _layer(taken, given, activation, stride=2),
                    _layer(given, given, activation),
                )
                for taken, given in pairwise(WIDTHS)
            ),
            _layer(WIDTHS[-1], WIDTHS[-1], activation),
        )
        self.out = nn.Conv2d(WIDTHS[-1], len(CLASSES), 1)

    def features(self, pictures: Tensor) -> Tensor:
        """(batch, 96, 8, 8)."""
        seen: Tensor = self.levels(self.stem(pictures))
        return seen

    def forward(self, pictures: Tensor) -> Tensor:
        seen = self.features(pictures)
        evidence: Tensor = self.out(seen) / (seen.shape[2] * seen.shape[3])
        return evidence


class EvidenceForService(nn.Module):
    """Probabilities of the classes, and the evidence that they are the sum of."""

    def __init__(self, network: nn.Module) -> None:
        super().__init__()
        self.network = network

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        evidence = self.network(picture)
        return torch.sigmoid(evidence.sum((2, 3))), evidence
