"""Trains the second stage on crops."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from training.ct_lesions.crops import SHAPE, Crop
from training.ct_lesions.detector import scaled
from training.ct_lesions.known import KNOWN, UNMARKED, part
from training.ct_lesions.looks import LOOKS
from training.ct_lesions.mixed import Batches, mixed
from training.ct_lesions.networks import Characteriser
from training.loop import Batch, History, Schedule, fit
from training.metrics import overlap
from training.phantoms.fields import Array
from training.phantoms.masses import SITES
from training.shipped import Weights, recount

_LESIONS_OF_A_BATCH = 0.46
_FLIPPED = (0.3, 0.15, 0.5)
_TURNED = 0.35
_LOOK = 2 + len(SITES)
_KIND = _LOOK + len(LOOKS)


def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    close, spacing, around, known, mask, labels = batch
    logits, judged = network(close, spacing, around)
    return losses(logits.float(), judged.float(), known, mask, labels)


def losses(logits: Tensor, judged: Tensor, known: Tensor, mask: Tensor, labels: Tensor) -> dict[str, Tensor]:
    """known (batch, 1, slices, 1, 1): what is known of each slice of ``mask``. labels (batch, 3 + looks + 1):
    lesion, malignancy or -1, number of the site or -1, how it looks or not a number, number of its kind or
    -1."""
    lesion, malignant, site, kind = labels[:, 0], labels[:, 1], labels[:, 2], labels[:, -1]
    p = torch.sigmoid(logits)
    of_mask = part(known, p)
    shared, both = of_mask * (p * mask), of_mask * (p + mask)
    overlap = (2 * shared.flatten(1).sum(1) + 5) / (both.flatten(1).sum(1) + 5)
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, of_mask)
    unmarked = (known == UNMARKED).flatten(1).any(1)
    of_lesion = part(torch.where(unmarked, UNMARKED, KNOWN), torch.sigmoid(judged[:, 0]))
    rated = malignant >= 0
    malignancy = functional.binary_cross_entropy_with_logits(
        judged[rated, 1], malignant[rated], reduction="sum"
    )
    look = labels[:, 3:-1]
    seen = ~torch.isnan(look)
    missed = seen * (judged[:, _LOOK:_KIND] - torch.nan_to_num(look)) ** 2
    return {
        "mask": (lesion * (1 - overlap)).sum() / lesion.sum().clamp(min=1) + 2 * entropy,
        "lesion": functional.binary_cross_entropy_with_logits(judged[:, 0], 0.02 + 0.96 * lesion, of_lesion),
        "malignancy": malignancy / rated.sum().clamp(min=1),
        "site": 0.4 * _entropy_of_known(judged[:, 2:_LOOK], site),
        "look": 0.2 * (missed.sum(0) / seen.sum(0).clamp(min=1)).sum(),
        "kind": 0.2 * _entropy_of_known(judged[:, _KIND:], kind),
    }


def _entropy_of_known(logits: Tensor, number: Tensor) -> Tensor:
    known = number >= 0
    entropy = functional.cross_entropy(logits[known], number[known].long(), reduction="sum")
    return entropy / known.sum().clamp(min=1)


class CropBatches:
    """Batches by number: nearly half of each are lesions; both shuffled anew each round, flipped, turned,
    their HU shifted and grained."""

    def __init__(self, crops: Sequence[Crop], seed: int, batch_size: int) -> None:
        lesions = [crop for crop in crops if crop.lesion]
        self._kinds = lesions, [crop for crop in crops if not crop.lesion]
        first = round(_LESIONS_OF_A_BATCH * batch_size)
        self._counts = first, batch_size - first
        self._seed = seed

    def __call__(self, number: int) -> Batch:
        rng = np.random.default_rng([self._seed, 84, number])
        chosen: list[Crop] = []
        for kind, (crops, count) in enumerate(zip(self._kinds, self._counts, strict=True)):
            rounds = max(len(crops) // count, 1)
            order = np.random.default_rng([self._seed, 85 + kind, number // rounds]).permutation(len(crops))
            first = number % rounds * count
            chosen += [crops[int(i)] for i in order[first : first + count]]
        return batched(chosen, rng)


def batched(crops: Sequence[Crop], rng: np.random.Generator | None = None) -> Batch:
    """Crops, spacings, what lies around, what is known, masks and labels; perturbed where a generator is
    given."""
    parts = [_perturbed(crop, rng) for crop in crops]
    close, around, known, mask = (torch.from_numpy(np.stack(p))[:, None] for p in zip(*parts, strict=True))
    labels = np.array([(c.lesion, c.malignant, c.site, *c.look, c.kind) for c in crops], np.float32)
    return (
        close.contiguous(memory_format=torch.channels_last_3d),
        torch.tensor([[c.spacing_mm] for c in crops], dtype=torch.float32),
        around.contiguous(memory_format=torch.channels_last_3d),
        known,
        mask,
        torch.from_numpy(labels),
    )


def _perturbed(
    crop: Crop, rng: np.random.Generator | None
) -> tuple[Array, Array, npt.NDArray[np.uint8], Array]:
    close, around = crop.close.astype(np.float32), crop.around.astype(np.float32)
    mask: Array = crop.mask.astype(np.float32) / 100
    known = crop.known[:, None, None]
    if rng is None:
        return scaled(close), scaled(around), known, mask
    shift = np.float32(rng.normal(0, 8))
    close += shift
    around += shift
    if rng.random() < 0.4:
        close += rng.standard_normal(SHAPE, np.float32) * np.float32(rng.uniform(0, 18))
    axes = tuple(int(a) for a in np.flatnonzero(rng.random(3) < _FLIPPED))
    close, around = np.flip(scaled(close), axes), np.flip(scaled(around), axes)
    known, mask = np.flip(known, axes), np.flip(mask, axes)
    if rng.random() < _TURNED:
        close, mask = close.transpose(0, 2, 1), mask.transpose(0, 2, 1)
    return close, around, known, mask


def judged_all(network: nn.Module, crops: Sequence[Crop], device: str = "cpu") -> tuple[Array, Array]:
    """Mask probabilities (n, *SHAPE) and logits (n, …) of crops as they are, as the network gives them."""
    masks, judged = [], []
    network.eval()
    with torch.no_grad():
        for at in range(0, len(crops), 64):
            close, spacing, around, *_ = (t.to(device) for t in batched(crops[at : at + 64]))
            logits, judgement = network(close, spacing, around)
            masks.append(torch.sigmoid(logits.float())[:, 0].cpu().numpy())
            judged.append(judgement.float().cpu().numpy())
    return np.concatenate(masks), np.concatenate(judged)


def figures(network: nn.Module, crops: Sequence[Crop], device: str = "cpu") -> dict[str, float]:
    """Dice of masks, AUROC of lesion and malignancy, accuracy of the site. What nobody marked where not
    every lesion is marked counts as neither lesion nor none."""
    masks, judged = judged_all(network, crops, device)
    both = zip(masks, crops, strict=True)
    lesion, malignant, site = (
        np.array([getattr(c, name) for c in crops]) for name in ("lesion", "malignant", "site")
    )
    drawn_on = [(drawn[crop.known == KNOWN], crop.mask[crop.known == KNOWN]) for drawn, crop in both]
    dice = [overlap.dice(drawn >= 0.5, mask >= 50) for drawn, mask in drawn_on if (mask >= 50).any()]
    rated, placed = malignant >= 0, site >= 0
    told = np.array([not (crop.known == UNMARKED).any() for crop in crops])
    return {
        "dice": float(np.mean(dice)),
        "lesion": float(roc_auc_score(lesion[told], judged[told, 0])),
        "malignancy": float(roc_auc_score(malignant[rated], judged[rated, 1])),
        "site": float((judged[placed, 2:_LOOK].argmax(1) == site[placed]).mean()),
    }


def train_characteriser(
    crops: Sequence[Crop],
    held_out: Sequence[Crop],
    out: Path,
    schedule: Schedule,
    *,
    marked: Sequence[Crop] = (),
    marked_held_out: Sequence[Crop] = (),
    seed: int = 1,
    activation: str = "relu",
    batch_size: int = 24,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> tuple[Characteriser, History]:
    """Train on ``crops``, choose the weights by ``held_out``. marked, marked_held_out: crops of scans with
    marked lesions, which then make half of each batch, and take part in the score. start: weights to go on
    from."""
    torch.manual_seed(seed)
    network = Characteriser(activation)
    batches: Batches = CropBatches(crops, seed, batch_size)
    if marked:
        batches = mixed(*(CropBatches(group, seed, batch_size // 2) for group in (crops, marked)))
    if start is not None:
        network.load_state_dict(start)
        recount(network, batches, takes=3)

    def validate(network: nn.Module) -> Mapping[str, float]:
        found = figures(network, [*held_out, *marked_held_out], device)
        return {**found, "score": sum(found.values())}

    history = fit(
        network,
        batches,
        loss,
        validate,
        out,
        schedule,
        seed=seed,
        resume=resume,
        device=device,
        title="characteriser",
    )
    return network, history
