"""The network that says what a hot spot is, and how it learns."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import cycle, islice
from pathlib import Path
from typing import Any

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
from training.pet_ct.spots import BENIGN, HISTOLOGIES, KINDS, MALIGNANT, PHYSIOLOGICAL, Spots
from training.phantoms.hot_lesions import SITES
from training.shipped import Weights as EarlierWeights
from training.shipped import recount

BATCH = 24
SCHEDULE = Schedule(steps=700, learning_rate=3e-3, warm_up=60, validate_every=100, patience=5, average=0.98)
CT_INTENSITY = Intensity(clip=(-1000.0, 500.0), subtract=-250.0, divide=750.0)
PET_INTENSITY = Intensity(clip=(0.0, 50.0))

_SHARES = (0.4, 0.3, 0.3)
_SITES = slice(len(KINDS), len(KINDS) + len(SITES))
_TYPES = slice(len(KINDS) + len(SITES), None)


class HotSpotNetwork(nn.Module):
    """In: ``pet`` (SUV), ``ct`` (about -1 to 1) and ``region`` (0 to 1), each (batch, 1, 32, 32, 32). Out:
    logits of the three kinds and of the four sites, (batch, 7); of one that is ``typed`` those of the
    histologies too, (batch, 11).

    Besides what the convolutions see, the heads are told the uptake and the size of the region, and how much
    colder the crop is around it.
    """

    def __init__(self, activation: str = "relu", width: int = 16, *, typed: bool = False) -> None:
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
        self.types = (
            nn.Sequential(
                nn.Linear(2 * w[2] + 5, 32),
                ACTIVATIONS[activation](),
                nn.Dropout(0.3),
                nn.Linear(32, len(HISTOLOGIES)),
            )
            if typed
            else None
        )

    def forward(self, pet: Tensor, ct: Tensor, region: Tensor) -> Tensor:
        seen = self.body(torch.cat([torch.log(1 + pet) - 1, ct, region], 1))
        told = _measures(pet, ct, region)
        seen = torch.cat([seen.mean((2, 3, 4)), seen.amax((2, 3, 4)), told], 1)
        judged: Tensor = self.head(seen)
        return judged if self.types is None else torch.cat([judged, self.types(seen)], 1)


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
    """Probabilities instead of logits: of kinds, of sites and, of a typed network, of histologies. How
    a lesion's probability is shared between benign and malignant is a logistic regression on the network's
    own word and on highest uptake, mean uptake and size; ``weights`` are its constant and those four factors,
    from ``malignancy_weights``."""

    def __init__(self, network: HotSpotNetwork, weights: Weights = UNWEIGHTED) -> None:
        super().__init__()
        self.network = network
        self.constant, *factors = weights
        self.register_buffer("factors", torch.tensor(factors, dtype=torch.float32)[:, None])

    def forward(self, pet: Tensor, ct: Tensor, region: Tensor) -> tuple[Tensor, ...]:
        logits = self.network(pet, ct, region)
        kinds = torch.softmax(logits[:, : len(KINDS)], 1)
        word = logits[:, MALIGNANT : MALIGNANT + 1] - logits[:, BENIGN : BENIGN + 1]
        seen = torch.cat([word, _measures(pet, ct, region)[:, :3]], 1)
        malignant = torch.sigmoid(torch.matmul(seen, self.factors) + self.constant)
        physiological = kinds[:, :1]
        lesion = 1 - physiological
        shares = torch.cat([physiological, lesion * (1 - malignant), lesion * malignant], 1)
        said = shares, torch.softmax(logits[:, _SITES], 1)
        return said if self.network.types is None else (*said, torch.softmax(logits[:, _TYPES], 1))


def malignancy_weights(network: nn.Module, spots: Spots) -> Weights:
    """Fitted on lesions the network did not learn from: it has seen a thousand lesions and their uptake alone
    tells more than it has made of them. ``spots`` are phantoms': benign ones are known nowhere else."""
    chosen = np.flatnonzero(spots.kind != PHYSIOLOGICAL)
    pet, ct, region, kind, *_ = fed(spots, chosen)
    network.eval()
    with torch.no_grad():
        logits = network(pet, ct, region).float()
        word = logits[:, MALIGNANT : MALIGNANT + 1] - logits[:, BENIGN : BENIGN + 1]
        seen = torch.cat([word, _measures(pet, ct, region)[:, :3]], 1).numpy()
    fitted = LogisticRegression(C=1.0, max_iter=1000).fit(seen, kind.numpy() == MALIGNANT)
    return float(fitted.intercept_[0]), *(float(factor) for factor in fitted.coef_[0])


def load_judging(network: HotSpotNetwork, weights: EarlierWeights) -> None:
    """Load weights of a network that is typed or not; a head that only one of the two has is left as it is.

    Raises:
        ValueError: a layer is missing, unknown or of another width.
    """
    own, given = network.state_dict(), dict(weights)
    heads = {name for name in own.keys() ^ given.keys() if name.startswith("types.")}
    missing = {name: own[name] for name in heads & own.keys()}
    try:
        network.load_state_dict(
            missing | {name: v for name, v in given.items() if name not in heads - own.keys()}
        )
    except RuntimeError as error:
        raise ValueError(str(error)) from error


class SpotSource:
    """Batches by number: each spot shifted, mirrored, its SUV and HU perturbed. Of phantoms the kinds come in
    fixed shares. Half of a batch is real where there are real spots: as many that are cancer as are not,
    where both are known, and of every patient alike."""

    def __init__(self, spots: Spots, seed: int, real: Spots | None = None) -> None:
        self._spots, self._real, self._seed = spots, real, seed
        self._of_kind = [np.flatnonzero(spots.kind == kind) for kind in range(len(KINDS))]
        self._by_patient = [] if real is None else _by_patient(real)

    def __call__(self, step: int) -> Batch:
        rng = np.random.default_rng([self._seed, 96, step])
        count = BATCH if self._real is None else BATCH // 2
        kinds = rng.choice(len(KINDS), count, p=_SHARES)
        drawn = fed(self._spots, np.array([rng.choice(self._of_kind[kind]) for kind in kinds]))
        if self._real is not None:
            groups = islice(cycle(self._by_patient), BATCH - count)
            own = np.array([rng.choice(group[int(rng.integers(len(group)))]) for group in groups])
            drawn = tuple(torch.cat(both) for both in zip(drawn, fed(self._real, own), strict=True))
        pet, ct, region, *labels = drawn
        suv = torch.from_numpy(np.exp(rng.normal(0, 0.06, BATCH)).astype(np.float32))
        hu = torch.from_numpy(rng.normal(0, 0.03, BATCH).astype(np.float32))
        pet, ct = pet * suv[:, None, None, None, None], ct + hu[:, None, None, None, None]
        images = torch.cat([pet, ct, region], 1)
        shifts = tuple(int(v) for v in rng.integers(-2, 3, 3))
        images = torch.roll(images, shifts, (2, 3, 4))
        mirrored = torch.from_numpy(rng.random(BATCH) < 0.5)
        images[mirrored] = images[mirrored].flip(-1)
        return *(part.contiguous() for part in images.split(1, 1)), *labels


def _by_patient(real: Spots) -> list[list[npt.NDArray[np.int64]]]:
    """The numbers of the physiological spots, and of the malignant ones, each by patient; what is not there
    is left out."""
    groups = []
    for kind in (PHYSIOLOGICAL, MALIGNANT):
        of_kind = np.flatnonzero(real.kind == kind)
        whose = real.patient[of_kind]
        groups.append([of_kind[whose == one] for one in np.unique(whose)])
    return [group for group in groups if group]


def fed(spots: Spots, chosen: npt.NDArray[np.int64]) -> Batch:
    """pet, ct and region as the network takes them, and the numbers of kind, site and histology."""
    pet = PET_INTENSITY.applied_to(spots.pet[chosen])
    ct = CT_INTENSITY.applied_to(spots.ct[chosen])
    region = spots.region[chosen].astype(np.float32) / 255
    images = (torch.from_numpy(part[:, None]) for part in (pet, ct, region))
    return *images, *(torch.from_numpy(n[chosen]) for n in (spots.kind, spots.site, spots.histology))


def spot_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    pet, ct, region, kind, site, histology = batch
    logits = network(pet, ct, region).float()
    known, typed = site >= 0, histology >= 0
    losses = {"kind": functional.cross_entropy(logits[:, : len(KINDS)], kind, label_smoothing=0.03)}
    if known.any():
        losses["site"] = 0.3 * functional.cross_entropy(logits[known, _SITES], site[known])
    if typed.any():
        losses["histology"] = 0.5 * functional.cross_entropy(logits[typed, _TYPES], histology[typed])
    return losses


def probabilities(
    network: HotSpotNetwork, spots: Spots, weights: Weights = UNWEIGHTED
) -> npt.NDArray[np.float64]:
    """Of the three kinds, then of the four sites, (n, 7); then of the histologies where the network is
    typed."""
    device = next(network.parameters()).device
    service = HotSpotsForService(network, weights).eval().to(device)
    out = []
    with torch.no_grad():
        for at in range(0, len(spots), 64):
            pet, ct, region, *_ = fed(spots, np.arange(at, min(at + 64, len(spots))))
            answers = service(pet.to(device), ct.to(device), region.to(device))
            out.append(torch.cat(answers, 1).double().cpu().numpy())
    return np.concatenate(out)


def figures(network: HotSpotNetwork, spots: Spots, weights: Weights = UNWEIGHTED) -> dict[str, float]:
    """Of phantoms: AUROC of cancer among all hot spots and among lesions, of lesion among all, accuracy of
    site."""
    p = probabilities(network, spots, weights)
    lesion = spots.kind != PHYSIOLOGICAL
    share = p[:, MALIGNANT] / (p[:, MALIGNANT] + p[:, BENIGN] + 1e-9)
    malignant = spots.kind == MALIGNANT
    return {
        "cancer": float(roc_auc_score(malignant, p[:, MALIGNANT])),
        "malignancy": float(roc_auc_score(malignant[lesion], share[lesion])),
        "lesion": float(roc_auc_score(lesion, 1 - p[:, PHYSIOLOGICAL])),
        "site": float((p[lesion, _SITES].argmax(1) == spots.site[lesion]).mean()),
    }


def real_figures(network: HotSpotNetwork, spots: Spots) -> dict[str, float]:
    """Of real spots: AUROC of cancer, where some are and some are not, and accuracy of histology, where it is
    known of any."""
    p = probabilities(network, spots)
    malignant, typed = spots.kind == MALIGNANT, spots.histology >= 0
    found = {}
    if len(np.unique(malignant)) > 1:
        found["real cancer"] = float(roc_auc_score(malignant, p[:, MALIGNANT]))
    if typed.any():
        found["histology"] = float((p[typed, _TYPES].argmax(1) == spots.histology[typed]).mean())
    return found


def train_hot_spots(
    spots: Spots,
    held_out: Spots,
    out: Path,
    schedule: Schedule = SCHEDULE,
    *,
    real: Spots | None = None,
    held_out_real: Spots | None = None,
    seed: int = 1,
    activation: str = "relu",
    resume: bool = True,
    device: str = "cpu",
    start: EarlierWeights | None = None,
) -> tuple[HotSpotNetwork, History]:
    """Train on ``spots``, choose the weights by ``held_out``, which show other patients.

    real: what half of each batch is drawn from; the network then learns histologies too, and
    ``held_out_real`` has a say in the choice. start: weights to begin with, of a network typed or not.
    """
    torch.manual_seed(seed)
    network = HotSpotNetwork(activation, typed=real is not None)
    source = SpotSource(spots, seed, real)
    if start is not None:
        load_judging(network, start)
        recount(network, source, takes=3)

    def validate(network: Any) -> Mapping[str, float]:
        found = figures(network, held_out)
        score = found["cancer"] + found["malignancy"] + found["lesion"]
        seen = {} if held_out_real is None else real_figures(network, held_out_real)
        return {**found, **seen, "score": score + sum(seen.values())}

    history = fit(
        network,
        source,
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
