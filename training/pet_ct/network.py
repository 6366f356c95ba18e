"""The network that says what a hot spot is, and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.linear_model import LogisticRegression
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from inference.card import Intensity
from training.detection.networks import ACTIVATIONS, Convolution, Residual
from training.loop import Batch, History, Schedule, fit
from training.pet_ct.spots import BENIGN, KINDS, MALIGNANT, PHYSIOLOGICAL, Spots
from training.phantoms.hot_lesions import SITES

BATCH = 24
SCHEDULE = Schedule(steps=700, learning_rate=3e-3, warm_up=60, validate_every=100, patience=5, average=0.98)
CT_INTENSITY = Intensity(clip=(-1000.0, 500.0), subtract=-250.0, divide=750.0)
PET_INTENSITY = Intensity(clip=(0.0, 50.0))

_SHARES = (0.4, 0.3, 0.3)


class HotSpotNetwork(nn.Module):
    """In: ``pet`` (SUV), ``ct`` (about -1 to 1) and ``region`` (0 to 1), each (batch, 1, 32, 32, 32). Out:
    logits of the three kinds and of the four sites, (batch, 7).

    Besides what the convolutions see, the head is told the uptake and the size of the region, and how much
    colder the crop is around it.
    """

    def __init__(self, activation: str = "relu", width: int = 16) -> None:
        super().__init__()
        w = (width, 2 * width, 4 * width)
        self.body = nn.Sequential(
            Convolution(3, w[0], activation, 3, 2),
            Convolution(w[0], w[1], activation, 3, 2),
            Residual(w[1], activation),
            Convolution(w[1], w[2], activation, 3, 2),
            Residual(w[2], activation),
        )
        self.head = nn.Sequential(
            nn.Linear(2 * w[2] + 5, 64),
            ACTIVATIONS[activation](),
            nn.Dropout(0.3),
            nn.Linear(64, len(KINDS) + len(SITES)),
        )

    def forward(self, pet: Tensor, ct: Tensor, region: Tensor) -> Tensor:
        seen = self.body(torch.cat([torch.log(1 + pet) - 1, ct, region], 1))
        told = _measures(pet, ct, region)
        return self.head(torch.cat([seen.mean((2, 3, 4)), seen.amax((2, 3, 4)), told], 1))


def _measures(pet: Tensor, ct: Tensor, region: Tensor) -> Tensor:
    """Of a region, (batch, 5): its highest and mean uptake, its size, uptake around it, and density; each
    about -1 to 1."""
    hot = torch.log(1 + pet)
    size = region.mean((2, 3, 4)) + 1e-4
    return torch.cat(
        [
            (hot * region).amax((2, 3, 4)) - 1.5,
            (hot * region).mean((2, 3, 4)) / size - 1.2,
            torch.log(size) / 2 + 3,
            (hot * (1 - region)).mean((2, 3, 4)) - 0.5,
            (ct * region).mean((2, 3, 4)) / size,
        ],
        1,
    )


Weights = tuple[float, ...]
UNWEIGHTED: Weights = (0.0, 1.0, 0.0, 0.0, 0.0)


class HotSpotsForService(nn.Module):
    """Probabilities instead of logits. How a lesion's probability is shared between benign and malignant is a
    logistic regression on the network's own word and on highest uptake, mean uptake and size; ``weights``
    are its constant and those four factors, from ``malignancy_weights``."""

    def __init__(self, network: nn.Module, weights: Weights = UNWEIGHTED) -> None:
        super().__init__()
        self.network = network
        self.constant, *factors = weights
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32)[:, None])

    def forward(self, pet: Tensor, ct: Tensor, region: Tensor) -> tuple[Tensor, Tensor]:
        logits = self.network(pet, ct, region)
        kinds = torch.softmax(logits[:, : len(KINDS)], 1)
        word = logits[:, MALIGNANT : MALIGNANT + 1] - logits[:, BENIGN : BENIGN + 1]
        seen = torch.cat([word, _measures(pet, ct, region)[:, :3]], 1)
        malignant = torch.sigmoid(torch.matmul(seen, self.factors) + self.constant)
        physiological = kinds[:, :1]
        lesion = 1 - physiological
        shares = torch.cat([physiological, lesion * (1 - malignant), lesion * malignant], 1)
        return shares, torch.softmax(logits[:, len(KINDS) :], 1)


def malignancy_weights(network: nn.Module, spots: Spots) -> Weights:
    """Fitted on lesions the network did not learn from: it has seen a thousand lesions and their uptake alone
    tells more than it has made of them."""
    chosen = np.flatnonzero(spots.kind != PHYSIOLOGICAL)
    pet, ct, region, kind, _ = fed(spots, chosen)
    network.eval()
    with torch.no_grad():
        logits = network(pet, ct, region).float()
        word = logits[:, MALIGNANT : MALIGNANT + 1] - logits[:, BENIGN : BENIGN + 1]
        seen = torch.cat([word, _measures(pet, ct, region)[:, :3]], 1).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(seen, kind.numpy() == MALIGNANT)
    return float(fitted.intercept_[0]), *(float(factor) for factor in fitted.coef_[0])


class SpotSource:
    """Batches by number: kinds in fixed shares, each spot shifted, mirrored, its SUV and HU perturbed."""

    def __init__(self, spots: Spots, seed: int) -> None:
        self._spots = spots
        self._seed = seed
        self._of_kind = [np.flatnonzero(spots.kind == kind) for kind in range(len(KINDS))]

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, 96, step])
        kinds = rng.choice(len(KINDS), BATCH, p=_SHARES)
        chosen = np.array([rng.choice(self._of_kind[kind]) for kind in kinds])
        pet, ct, region, *labels = fed(self._spots, chosen)
        suv = torch.from_numpy(np.exp(rng.normal(0, 0.06, BATCH)).astype(np.float32))
        hu = torch.from_numpy(rng.normal(0, 0.03, BATCH).astype(np.float32))
        pet, ct = pet * suv[:, None, None, None, None], ct + hu[:, None, None, None, None]
        images = torch.cat([pet, ct, region], 1)
        shifts = tuple(int(v) for v in rng.integers(-2, 3, 3))
        images = torch.roll(images, shifts, (2, 3, 4))
        mirrored = torch.from_numpy(rng.random(BATCH) < 0.5)
        images[mirrored] = images[mirrored].flip(-1)
        return *(part.contiguous() for part in images.split(1, 1)), *labels


def fed(spots: Spots, chosen: npt.NDArray[np.int64]) -> Batch:
    """pet, ct and region as the network takes them, and the numbers of kind and site."""
    pet = PET_INTENSITY.applied_to(spots.pet[chosen])
    ct = CT_INTENSITY.applied_to(spots.ct[chosen])
    region = spots.region[chosen].astype(np.float32) / 255
    images = (torch.from_numpy(part[:, None]) for part in (pet, ct, region))
    return *images, torch.from_numpy(spots.kind[chosen]), torch.from_numpy(spots.site[chosen])


def spot_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    pet, ct, region, kind, site = batch
    logits = network(pet, ct, region).float()
    known = site >= 0
    losses = {"kind": functional.cross_entropy(logits[:, : len(KINDS)], kind, label_smoothing=0.03)}
    if known.any():
        losses["site"] = 0.3 * functional.cross_entropy(logits[known, len(KINDS) :], site[known])
    return losses


def probabilities(network: nn.Module, spots: Spots, weights: Weights = UNWEIGHTED) -> npt.NDArray[np.float64]:
    """Of the three kinds, then of the four sites: (n, 7)."""
    device = next(network.parameters()).device
    service = HotSpotsForService(network, weights).eval().to(device)
    out = []
    with torch.no_grad():
        for at in range(0, len(spots), 64):
            pet, ct, region, *_ = fed(spots, np.arange(at, min(at + 64, len(spots))))
            answers = service(pet.to(device), ct.to(device), region.to(device))
            out.append(torch.cat(answers, 1).double().cpu().numpy())
    return np.concatenate(out)


def figures(network: nn.Module, spots: Spots, weights: Weights = UNWEIGHTED) -> dict[str, float]:
    """AUROC of cancer among all hot spots and among lesions, of lesion among all, accuracy of site."""
    p = probabilities(network, spots, weights)
    lesion = spots.kind != PHYSIOLOGICAL
    share = p[:, MALIGNANT] / (p[:, MALIGNANT] + p[:, BENIGN] + 1e-9)
    malignant = spots.kind == MALIGNANT
    return {
        "cancer": float(roc_auc_score(malignant, p[:, MALIGNANT])),
        "malignancy": float(roc_auc_score(malignant[lesion], share[lesion])),
        "lesion": float(roc_auc_score(lesion, 1 - p[:, PHYSIOLOGICAL])),
        "site": float((p[lesion, len(KINDS) :].argmax(1) == spots.site[lesion]).mean()),
    }


def train_hot_spots(
    spots: Spots,
    held_out: Spots,
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    seed: int = 1,
    activation: str = "relu",
    resume: bool = True,
    device: str = "cpu",
) -> tuple[HotSpotNetwork, History]:
    """Train on ``spots``, choose the weights by ``held_out``, which show other patients."""
    torch.manual_seed(seed)
    network = HotSpotNetwork(activation)

    def validate(network: nn.Module) -> Mapping[str, float]:
        found = figures(network, held_out)
        return {**found, "score": found["cancer"] + found["malignancy"] + found["lesion"]}

    history = fit(
        network,
        SpotSource(spots, seed),
        spot_loss,
        validate,
        out,
        schedule,
        seed=seed,
        resume=resume,
        device=device,
        title="hot spots",
    )
    return network, history
