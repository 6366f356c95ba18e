"""A convolutional network with fixed wavelet filters and one learned linear layer for each place.

With under a thousand radiographs, learned filters fit noise; those of a scattering transform (Bruna & Mallat,
arXiv:1203.1513) need no learning, and the answer stays a sum over places that can be shown.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from inference.readers.radiograph import Floats

ORIENTATIONS = 6
LEVELS = 4
FINE, COARSE = 8, 4
_SIDE = 9
_EPSILON = 1e-6


def wavelets() -> Tensor:
    """(2 * ORIENTATIONS, 1, 9, 9): real, then imaginary parts of Morlet wavelets without mean."""
    axis = np.arange(_SIDE) - _SIDE // 2
    y, x = np.meshgrid(axis, axis, indexing="ij")
    real, imaginary = [], []
    for k in range(ORIENTATIONS):
        angle = np.pi * k / ORIENTATIONS
        along = x * np.cos(angle) + y * np.sin(angle)
        across = -x * np.sin(angle) + y * np.cos(angle)
        hull = np.exp(-(along**2 + (0.6 * across) ** 2) / (2 * 1.6**2))
        wave = np.exp(1j * 0.75 * np.pi * along / 1.6) * hull
        wave = wave - hull * (wave.sum() / hull.sum())
        wave = wave / np.abs(wave).sum()
        real.append(wave.real)
        imaginary.append(wave.imag)
    return torch.from_numpy(np.stack(real + imaginary)[:, None].astype(np.float32))


class Scattering(nn.Module):
    """(batch, 1, 128, 128) to logarithms of wavelet energies: on 8 x 8 places, and on 4 x 4 of the second
    order."""

    fine_channels = 4 + LEVELS * ORIENTATIONS
    coarse_channels = (LEVELS * (LEVELS - 1) // 2) * ORIENTATIONS**2

    def __init__(self) -> None:
        super().__init__()
        self.register_buffer("filters", wavelets())
        self.register_buffer("all_filters", wavelets().repeat(ORIENTATIONS, 1, 1, 1))

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        fine = [
            functional.pixel_unshuffle(functional.avg_pool2d(picture, picture.shape[-1] // (2 * FINE)), 2)
        ]
        coarse = []
        level = picture
        for first in range(LEVELS):
            if first:
                level = functional.avg_pool2d(level, 2)
            energy = self._energy(functional.conv2d(_padded(level), self.filters), 1)
            fine.append(_pooled(energy, FINE))
            for _ in range(first + 1, LEVELS):
                energy = functional.avg_pool2d(energy, 2)
                answers = functional.conv2d(_padded(energy), self.all_filters, groups=ORIENTATIONS)
                coarse.append(_pooled(self._energy(answers, ORIENTATIONS), COARSE))
        return (
            torch.cat([fine[0], torch.log(torch.cat(fine[1:], 1) + 1e-3)], 1),
            torch.log(torch.cat(coarse, 1) + 1e-4),
        )

    @staticmethod
    def _energy(answers: Tensor, groups: int) -> Tensor:
        rows, columns = answers.shape[2:]
        parts = answers.reshape(-1, groups, 2, ORIENTATIONS, rows, columns)
        return torch.sqrt(parts.square().sum(2) + _EPSILON).reshape(-1, groups * ORIENTATIONS, rows, columns)


def _padded(values: Tensor) -> Tensor:
    half = _SIDE // 2
    return functional.pad(values, (half, half, half, half), mode="replicate")


def _pooled(energy: Tensor, places: int) -> Tensor:
    return functional.avg_pool2d(energy, energy.shape[-1] // places)


@dataclass(frozen=True, eq=False)
class Linear:
    """Logits are ``(features - mean) @ weights.T + bias``; weights (classes, features)."""

    mean: Floats
    weights: Floats
    bias: Floats

    def logits(self, features: Floats) -> Floats:
        return np.asarray((features - self.mean) @ self.weights.T + self.bias, np.float32)

    def rescaled(self, slopes: Floats, offsets: Floats) -> Linear:
        """With the logits of each class ``slope * logit + offset``."""
        return replace(self, weights=self.weights * slopes[:, None], bias=self.bias * slopes + offsets)


class FindingsForService(nn.Module):
    """(batch, 1, 128, 128) to probabilities (batch, classes) and the evidence for each class on 8 x 8 places,
    in logits: what each place adds to, or takes from, the answer for a mean radiograph."""

    def __init__(self, fitted: Linear) -> None:
        """fitted: on features in the order of ``flat``."""
        super().__init__()
        mean, weights, bias = fitted.mean, fitted.weights, fitted.bias
        self.scattering = Scattering()
        count = Scattering.fine_channels * FINE**2
        fine, coarse = weights[:, :count], weights[:, count:]
        shape = (Scattering.fine_channels, FINE, FINE), (Scattering.coarse_channels, COARSE, COARSE)
        self.fine = nn.Parameter(torch.from_numpy(fine.reshape(-1, *shape[0])), requires_grad=False)
        self.coarse = nn.Parameter(torch.from_numpy(coarse.reshape(-1, *shape[1])), requires_grad=False)
        self.fine_mean = nn.Parameter(torch.from_numpy(mean[:count].reshape(shape[0])), requires_grad=False)
        self.coarse_mean = nn.Parameter(torch.from_numpy(mean[count:].reshape(shape[1])), requires_grad=False)
        self.bias = nn.Parameter(torch.from_numpy(bias), requires_grad=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        evidence = self.evidence(picture)
        return torch.sigmoid(evidence.sum((2, 3)) + self.bias), evidence

    def evidence(self, picture: Tensor) -> Tensor:
        """(batch, classes, 8, 8)."""
        return self.evidence_of(*self.scattering(picture))

    def evidence_of(self, fine: Tensor, coarse: Tensor) -> Tensor:
        """Of what ``Scattering`` says of a picture: (batch, classes, 8, 8)."""
        fine = ((fine - self.fine_mean)[:, None] * self.fine).sum(2)
        coarse = ((coarse - self.coarse_mean)[:, None] * self.coarse).sum(2)
        spread = functional.interpolate(coarse, scale_factor=2.0, mode="nearest")
        evidence: Tensor = fine + spread / (FINE // COARSE) ** 2
        return evidence


def flat(fine: Tensor, coarse: Tensor) -> npt.NDArray[np.float32]:
    """(batch, features) of what ``Scattering`` returns."""
    values: npt.NDArray[np.float32] = torch.cat([fine.flatten(1), coarse.flatten(1)], 1).numpy()
    return values
