"""Fixed filters whose linear layer is fitted on real radiographs, beside a network that learned from phantoms
what findings look like: how far either is believed depends on the picture's own grain."""

from __future__ import annotations

import copy
from collections.abc import Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import numpy.typing as npt
import onnx
import torch
from scipy.optimize import minimize
from sklearn.linear_model import LogisticRegression
from torch import Tensor, nn
from torch.nn import functional

from inference.catalogue import Catalogue
from inference.readers.chest_xray import FINDINGS
from inference.readers.radiograph import Floats
from training.chest_xray.findings import fit_findings, fitted_apart, logits_apart
from training.chest_xray.network import FindingsNetwork
from training.chest_xray.scattering import COARSE, FINE, FindingsForService, Linear, Scattering

SHARE = 0.3
"""How far the learned network's logits spread, where those of the fixed filters spread by 1."""
_HELD_BACK = 5e-3


@dataclass(frozen=True, eq=False)
class Heard:
    """Radiographs as the two networks know them: ``features`` of the fixed filters (radiographs, features),
    what the learned network ``told``, and their ``labels``, 1, 0 or NaN, both (radiographs, classes)."""

    features: Floats
    told: Floats
    labels: Floats

    def only(self, wanted: npt.NDArray[np.bool_]) -> Heard:
        return Heard(self.features[wanted], self.told[wanted], self.labels[wanted])


@dataclass(frozen=True, eq=False)
class Trust:
    """How far the fixed filters are believed, 0 to 1, by the mean over all places of what each of them says:
    a picture's grain and contrast, not where anything lies."""

    weights: Floats
    bias: float

    def of(self, features: Floats) -> Floats:
        """(radiographs, 1)."""
        return np.asarray(
            1 / (1 + np.exp(-(grain(features) @ self.weights + self.bias)))[:, None], np.float32
        )


@dataclass(frozen=True, eq=False)
class Joined:
    """Logits are those of ``fixed`` and of a ``share`` of the learned network's as far as they are trusted,
    else the learned network's alone, ``slopes`` and ``offsets`` applied; all but trust by class."""

    fixed: Linear
    share: Floats
    slopes: Floats
    offsets: Floats
    trust: Trust

    def logits(self, features: Floats, told: Floats) -> Floats:
        both = self.fixed.logits(features) + self.share * told
        trust = self.trust.of(features)
        return np.asarray(trust * both + (1 - trust) * (self.slopes * told + self.offsets), np.float32)

    def rescaled(self, slopes: Floats, offsets: Floats) -> Joined:
        """With the logits of each class ``slope * logit + offset``."""
        return replace(
            self,
            fixed=self.fixed.rescaled(slopes, offsets),
            share=self.share * slopes,
            slopes=self.slopes * slopes,
            offsets=self.offsets * slopes + offsets,
        )


def fit_joined(
    films: Heard, patients: npt.NDArray[np.str_], folds: npt.NDArray[np.int64], phantoms: Heard
) -> tuple[Joined, Floats]:
    """The linear layer, how much of the learned network counts beside it, and how far they are trusted; and
    the logits of ``films`` by a linear layer and trust that saw no image of the patient, (films, classes).
    Only what is no more than a number a class, share and scale, is of all ``films``.

    films: what the linear layer is fitted on, and the learned network has not seen. phantoms: those that the
    learned network did not learn from.
    """
    layers = fitted_apart(films.features, films.labels, patients, folds)
    apart = logits_apart(layers, films.features, folds)
    share = shares_of(apart, films.told)
    slopes, offsets = platt(apart + share * films.told, films.labels)
    own_slopes, own_offsets = platt(phantoms.told, phantoms.labels)

    def joined(fixed: Linear, wanted: npt.NDArray[np.bool_]) -> Joined:
        fixed = fixed.rescaled(slopes, offsets)
        chosen = films.only(wanted)
        parts = [
            (apart[wanted] * slopes + offsets, chosen),
            (fixed.logits(phantoms.features), phantoms),
        ]
        trust = _fit_trust(
            [
                (both + slopes * share * heard.told, own_slopes * heard.told + own_offsets, heard)
                for both, heard in parts
            ]
        )
        return Joined(fixed, slopes * share, own_slopes, own_offsets, trust)

    crossed = np.full(films.labels.shape, np.nan, np.float32)
    for fold, fixed in layers.items():
        held = folds == fold
        crossed[held] = joined(fixed, ~held).logits(films.features[held], films.told[held])
    whole = fit_findings(films.features, films.labels, patients)
    return joined(whole, np.ones(len(folds), bool)), crossed


def shares_of(fixed: Floats, learned: Floats) -> Floats:
    """(classes,): what the learned network's logits count beside the fixed one's, both (radiographs, classes)
    of the same real radiographs."""
    spread = np.nanstd(fixed, 0) / np.maximum(learned.std(0), 1e-6)
    return np.asarray(SHARE * np.nan_to_num(spread), np.float32)


def grain(features: Floats) -> Floats:
    """(radiographs, channels): the mean over all places of what each filter says."""
    count = Scattering.fine_channels * FINE**2
    fine = features[:, :count].reshape(-1, Scattering.fine_channels, FINE**2)
    coarse = features[:, count:].reshape(-1, Scattering.coarse_channels, COARSE**2)
    return np.asarray(np.concatenate([fine.mean(2), coarse.mean(2)], 1), np.float32)


def platt(logits: Floats, truth: Floats) -> tuple[Floats, Floats]:
    """Slopes and offsets that make ``logits`` probable, (classes,) each; a class that is nowhere, or
    everywhere, stays as it is."""
    slopes, offsets = np.ones(logits.shape[1], np.float32), np.zeros(logits.shape[1], np.float32)
    for k in range(logits.shape[1]):
        known = ~np.isnan(truth[:, k] + logits[:, k])
        is_positive = truth[known, k] > 0.5
        if is_positive.any() and not is_positive.all():
            scaled = LogisticRegression(C=1e3).fit(logits[known, k][:, None], is_positive)
            slopes[k], offsets[k] = max(float(scaled.coef_[0, 0]), 1e-3), float(scaled.intercept_[0])
    return slopes, offsets


def _fit_trust(parts: Sequence[tuple[Floats, Floats, Heard]]) -> Trust:
    """By the likelihood of the labels of all ``parts``, which count alike: (logits if trusted, logits if
    not, what they are of)."""
    grains = [grain(heard.features) for _, _, heard in parts]
    mean, spread = np.concatenate(grains).mean(0), np.concatenate(grains).std(0) + 1e-3
    given = []
    for (both, alone, heard), seen in zip(parts, grains, strict=True):
        known = ~np.isnan(heard.labels + both)
        arrays = ((seen - mean) / spread, both, alone, heard.labels, known)
        given.append([torch.from_numpy(np.nan_to_num(np.asarray(one, np.float64))) for one in arrays])

    def loss(values: npt.NDArray[np.float64]) -> tuple[float, npt.NDArray[np.float64]]:
        fitted = torch.tensor(values, requires_grad=True)
        total = _HELD_BACK * fitted[:-1].square().sum()
        for seen, both, alone, labels, known in given:
            trust = torch.sigmoid(seen @ fitted[:-1] + fitted[-1])[:, None]
            logits = trust * both + (1 - trust) * alone
            wrong = functional.binary_cross_entropy_with_logits(logits, labels, known, reduction="sum")
            total = total + wrong / known.sum().clamp(min=1)
        (slope,) = torch.autograd.grad(total, fitted)
        return float(total.detach()), slope.numpy()

    found = minimize(loss, np.zeros(len(mean) + 1), jac=True, method="L-BFGS-B", options={"maxiter": 100}).x
    weights = np.asarray(found[:-1] / spread, np.float32)
    return Trust(weights, float(found[-1] - mean @ weights))


class JoinedForService(nn.Module):
    """Probabilities and the evidence that they are the sum of, but for the radiographs' mean answer."""

    def __init__(self, fitted: Joined, learned: FindingsNetwork) -> None:
        super().__init__()
        self.fixed, self.learned = FindingsForService(fitted.fixed), copy.deepcopy(learned)
        self.share, self.slopes, self.offsets = (
            nn.Parameter(torch.from_numpy(values), requires_grad=False)
            for values in (fitted.share, fitted.slopes, fitted.offsets)
        )
        self.weights = nn.Parameter(torch.from_numpy(fitted.trust.weights), requires_grad=False)
        self.trust_bias = nn.Parameter(torch.tensor([fitted.trust.bias]), requires_grad=False)

    def forward(self, picture: Tensor) -> tuple[Tensor, Tensor]:
        fine, coarse = self.fixed.scattering(picture)
        grain = torch.cat([fine.mean((2, 3)), coarse.mean((2, 3))], 1)
        trust = torch.sigmoid((grain * self.weights).sum(1, keepdim=True) + self.trust_bias)
        count = trust * self.share + (1 - trust) * self.slopes
        evidence = trust[:, :, None, None] * self.fixed.evidence_of(fine, coarse)
        evidence = evidence + count[:, :, None, None] * self.learned(picture)
        added = trust * self.fixed.bias + (1 - trust) * self.offsets
        return torch.sigmoid(evidence.sum((2, 3)) + added), evidence


def has_fixed_filters(repository: Path) -> bool:
    """Whether the classifier of a model repository is made of such filters, alone or with a network."""
    if not (repository / FINDINGS / "model.yaml").is_file():
        return False
    graph = onnx.load_from_string(Catalogue(repository).find(FINDINGS).weights_bytes()).graph
    return any(one.name.endswith("fine_mean") for one in graph.initializer)
