"""Trains the characteriser."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from training.loop import Batch, History, Schedule, fit
from training.lung_nodules.crops import SHAPE, Candidate
from training.lung_nodules.networks import Characteriser
from training.metrics import overlap
from training.phantoms.fields import Array
from training.shipped import Weights, recount

UNKNOWN = 0.0
_KIND_WEIGHTS = (0.6, 1.3, 1.5, 1.5)


def scaled(hu: npt.NDArray[np.floating]) -> Array:
    """HU as the characteriser takes them: clipped to [-1024, 400], to about [-1, 1]; what is not known 0."""
    return np.nan_to_num((np.clip(hu, -1024, 400) + 312) / 712, nan=UNKNOWN).astype(np.float32)


def characteriser_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    crop, spacing, mask, known, labels = batch
    logits, judged = network(crop, spacing)
    return characteriser_losses(logits.float(), judged.float(), mask, known, labels)


def characteriser_losses(
    logits: Tensor, judged: Tensor, mask: Tensor, known: Tensor, labels: Tensor
) -> dict[str, Tensor]:
    """labels (batch, 3): nodule, malignancy or -1, type or -1. known: 1 where the crop was filled. A nodule
    with an empty mask is one whose border is not known: it teaches nothing of masks."""
    nodule, malignancy, kind = labels.unbind(1)
    p = torch.sigmoid(logits) * known
    outlined = (mask.flatten(1).sum(1) > 0).float()
    drawn = nodule * outlined
    overlap = (2 * (p * mask).flatten(1).sum(1) + 5) / ((p + mask).flatten(1).sum(1) + 5)
    entropy = functional.binary_cross_entropy_with_logits(logits, mask, reduction="none")
    entropy = (entropy * known).flatten(1).mean(1) * torch.maximum(1 - nodule, outlined)
    rated, typed = (malignancy >= 0).float(), kind >= 0
    judged_malignancy = functional.binary_cross_entropy_with_logits(
        judged[:, 1], malignancy.clamp(min=0), reduction="none"
    )
    weight = rated * torch.where((malignancy - 0.5).abs() < 0.1, 0.35, 1.0)
    kinds = judged.sum() * 0
    if typed.any():
        rare = judged.new_tensor(_KIND_WEIGHTS)
        kinds = functional.cross_entropy(judged[typed, 2:], kind[typed].long(), rare, label_smoothing=0.05)
    return {
        "mask": (drawn * (1 - overlap)).sum() / drawn.sum().clamp(min=1) + 2 * entropy.mean(),
        "nodule": functional.binary_cross_entropy_with_logits(judged[:, 0], 0.02 + 0.96 * nodule),
        "malignancy": (weight * judged_malignancy).sum() / weight.sum().clamp(min=1),
        "kind": 0.4 * kinds,
    }


class CandidateSource:
    """Batches by number: candidates shuffled anew each round, flipped, their intensities perturbed."""

    def __init__(self, candidates: Sequence[Candidate], seed: int, batch_size: int) -> None:
        self._candidates = candidates
        self._seed = seed
        self._batch_size = batch_size

    def __call__(self, number: int) -> Batch:
        size = self._batch_size
        rounds = max(len(self._candidates) // size, 1)
        order = np.random.default_rng([self._seed, number // rounds]).permutation(len(self._candidates))
        chosen = order[(number % rounds) * size : (number % rounds + 1) * size]
        rng = np.random.default_rng([self._seed, 91, number])
        return batched([self._candidates[i] for i in chosen], rng)


def batched(candidates: Sequence[Candidate], rng: np.random.Generator | None = None) -> Batch:
    """Crops, spacings, masks, what is known, and labels; perturbed where a generator is given."""
    crops: list[Array] = []
    masks: list[Array] = []
    for c in candidates:
        hu: Array = c.hu.astype(np.float32)
        mask: Array = c.mask.astype(np.float32) / 100
        if rng is not None:
            hu, mask = _perturbed(rng, hu, mask)
        crops.append(hu)
        masks.append(mask)
    stacked = np.stack(crops)[:, None]
    jitter = np.ones(len(candidates)) if rng is None else rng.normal(1, 0.03, len(candidates))
    spacing = np.array([c.spacing_mm for c in candidates], np.float32)[:, None] * jitter[:, None]
    labels = np.array([(c.nodule, c.malignancy, c.kind) for c in candidates], np.float32)
    return (
        torch.from_numpy(scaled(stacked)).contiguous(memory_format=torch.channels_last_3d),
        torch.from_numpy(spacing.astype(np.float32)),
        torch.from_numpy(np.stack(masks)[:, None]),
        torch.from_numpy(np.isfinite(stacked).astype(np.float32)),
        torch.from_numpy(labels),
    )


def _perturbed(rng: np.random.Generator, hu: Array, mask: Array) -> tuple[Array, Array]:
    axes = tuple(int(a) for a in np.flatnonzero(rng.random(3) < 0.5))
    hu, mask = np.flip(hu, axes), np.flip(mask, axes)
    if rng.random() < 0.5:
        hu, mask = hu.swapaxes(1, 2), mask.swapaxes(1, 2)
    hu = (hu + 850) * np.float32(rng.normal(1, 0.05)) - 850 + np.float32(rng.normal(0, 25))
    if rng.random() < 0.3:
        hu = hu + rng.normal(0, rng.uniform(0, 30), SHAPE).astype(np.float32)
    if rng.random() < 0.25:
        first, last = int(rng.integers(0, 4)), SHAPE[0] - int(rng.integers(0, 4))
        hu = hu.copy()
        hu[:first], hu[last:] = np.nan, np.nan
    return hu, mask


def judged_all(
    network: nn.Module, candidates: Sequence[Candidate], device: str = "cpu"
) -> tuple[Array, Array]:
    """Mask probabilities (n, *SHAPE) and logits (n, 6) of candidates as they are."""
    masks, judged = [], []
    network.eval()
    with torch.no_grad():
        for at in range(0, len(candidates), 64):
            crop, spacing, *_ = batched(candidates[at : at + 64])
            logits, judgement = network(crop.to(device), spacing.to(device))
            masks.append(torch.sigmoid(logits.float())[:, 0].cpu().numpy())
            judged.append(judgement.float().cpu().numpy())
    return np.concatenate(masks), np.concatenate(judged)


def figures(network: nn.Module, candidates: Sequence[Candidate], device: str = "cpu") -> dict[str, float]:
    """Dice of masks, AUROC of nodule and malignancy, accuracy of type."""
    masks, judged = judged_all(network, candidates, device)
    nodule = np.array([c.nodule for c in candidates])
    malignancy = np.array([c.malignancy for c in candidates])
    kind = np.array([c.kind for c in candidates])
    dice = [
        overlap.dice((m >= 0.5) & np.isfinite(c.hu), c.mask >= 50)
        for m, c in zip(masks, candidates, strict=True)
        if c.nodule and (c.mask >= 50).any()
    ]
    clear = (malignancy == 0) | (malignancy == 1)
    return {
        "dice": float(np.mean(dice)),
        "nodule": float(roc_auc_score(nodule, judged[:, 0])),
        "malignancy": float(roc_auc_score(malignancy[clear], judged[clear, 1])),
        "kind": float((judged[kind >= 0, 2:].argmax(1) == kind[kind >= 0]).mean()),
    }


def train_characteriser(
    candidates: Sequence[Candidate],
    held_out: Sequence[Candidate],
    out: Path,
    schedule: Schedule,
    *,
    seed: int = 1,
    activation: str = "relu",
    batch_size: int = 24,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> tuple[Characteriser, History]:
    """Train on ``candidates``, choose the weights by ``held_out``.

    start: weights to go on from.
    """
    torch.manual_seed(seed)
    network = Characteriser(activation)
    source = CandidateSource(candidates, seed, batch_size)
    if start is not None:
        network.go_on_from(start)
        recount(network, source, takes=2)

    def validate(network: nn.Module) -> Mapping[str, float]:
        found = figures(network, held_out, device)
        return {**found, "score": sum(found.values())}

    history = fit(
        network,
        source,
        characteriser_loss,
        validate,
        out,
        schedule,
        seed=seed,
        resume=resume,
        device=device,
        title="characteriser",
    )
    return network, history
