"""Trains the network on patches kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from sklearn.metrics import roc_auc_score
from torch import Tensor, nn
from torch.nn import functional

from training.ct_lesions.networks import CLIP_HU, DIVIDE_HU, LesionNet
from training.ct_lesions.patches import SITE_NUMBER, SIZE, SPACING_MM, Shard, Spot
from training.detection.losses import centre_loss, size_loss, sparse_mask_loss
from training.detection.targets import NEAR, bumps, centre_maps
from training.loop import Batch, History, Schedule, fit
from training.phantoms.fields import Array, Grid
from training.shipped import Weights, recount

STRIDE = 2
_GRID = Grid((SIZE,) * 3, (SPACING_MM,) * 3, (0.0, 0.0, 0.0))
_UNKNOWN = -1
_AT_LESIONS = 0.8


def losses(maps: Tensor, inside: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Centres, sizes, masks; malignancy and site near the centres of lesions whose answer is known."""
    _, heat, log_diameter, sized, malignant, site, share = batch
    near, known = malignant >= 0, site >= 0
    malignancy = functional.binary_cross_entropy_with_logits(
        maps[:, 2][near], malignant[near].float(), reduction="sum"
    )
    sites = functional.cross_entropy(maps[:, 3:].movedim(1, -1)[known], site[known].long(), reduction="sum")
    return {
        "centre": centre_loss(maps[:, 0], heat),
        "size": size_loss(maps[:, 1], log_diameter, sized),
        "inside": 2 * sparse_mask_loss(inside[:, 0], share),
        "malignancy": malignancy / near.sum().clamp(min=1),
        "site": 0.4 * sites / known.sum().clamp(min=1),
    }


def loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    maps, inside = network(batch[0])
    return losses(maps.float(), inside.float(), batch)


def scaled(hu: np.ndarray) -> Array:
    """HU as the network takes them."""
    return np.clip(hu, *CLIP_HU).astype(np.float32) / np.float32(DIVIDE_HU)


class PatchBatches:
    """Batches by number: patches shuffled anew each round, cut to ``size`` voxels, flipped, their HU shifted
    and grained; unless ``perturbed``, whole and as they are."""

    def __init__(
        self, shards: Sequence[Shard], seed: int, batch_size: int, size: int, perturbed: bool = True
    ) -> None:
        self._shards = shards
        self._places = [(s, i) for s, shard in enumerate(shards) for i in range(len(shard))]
        self._seed, self._batch_size, self._perturbed = seed, batch_size, perturbed
        self._size = size if perturbed else SIZE

    @property
    def round(self) -> int:
        return max(len(self._places) // self._batch_size, 1)

    def __call__(self, number: int) -> Batch:
        order = np.random.default_rng([self._seed, 81, number // self.round]).permutation(len(self._places))
        first = number % self.round * self._batch_size
        rng = np.random.default_rng([self._seed, 82, number])
        chosen = (self._places[int(i)] for i in order[first : first + self._batch_size])
        return stacked([self._patch(shard, patch, rng) for shard, patch in chosen])

    def _patch(self, shard: int, number: int, rng: np.random.Generator) -> tuple[Array, ...]:
        source = self._shards[shard]
        start = self._start(rng, source.spots[number])
        box = tuple(slice(int(a), int(a) + self._size) for a in start)
        hu = source.hu[number][box].astype(np.float32)
        share = source.share[number][box].astype(np.float32) / 255
        if self._perturbed:
            hu += np.float32(rng.normal(0, 8))
            if rng.random() < 0.5:
                hu += rng.standard_normal(hu.shape, np.float32) * np.float32(rng.uniform(0, 14))
        grid = _GRID.part((box[0], box[1], box[2]))
        parts = (scaled(hu), *targets(grid, source.spots[number]), share)
        axes = tuple(int(a) for a in np.flatnonzero(rng.random(3) < (0.1, 0.1, 0.35)))
        return tuple(np.flip(p, axes) for p in parts) if self._perturbed else parts

    def _start(self, rng: np.random.Generator, spots: Sequence[Spot]) -> npt.NDArray[np.int_]:
        """Where the cut begins: most often so that it holds a lesion's centre."""
        last = SIZE - self._size
        start = rng.integers(0, last + 1, 3)
        if spots and rng.random() < _AT_LESIONS:
            spot = spots[int(rng.integers(len(spots)))]
            at = np.array(spot.center_mm[::-1]) / SPACING_MM
            start = np.rint(at - self._size * rng.uniform(0.2, 0.8, 3)).astype(int)
        cut: npt.NDArray[np.int_] = np.clip(start, 0, last) // STRIDE * STRIDE
        return cut


def targets(grid: Grid, spots: Sequence[Spot]) -> tuple[Array, ...]:
    """Heat, log of diameter, where that is known, malignancy and site (-1 where unknown) of a patch."""
    heat, log_diameter, sized = centre_maps(grid, spots, STRIDE)
    malignant = np.full(heat.shape, _UNKNOWN, np.float32)
    site = np.full(heat.shape, _UNKNOWN, np.float32)
    for spot, bump in bumps(grid, spots, STRIDE):
        near = bump > NEAR
        malignant[near], site[near] = float(spot.malignant), SITE_NUMBER[spot.site]
    return heat, log_diameter, sized, malignant, site


def stacked(patches: Sequence[tuple[Array, ...]]) -> Batch:
    parts = [torch.from_numpy(np.stack([p[k] for p in patches])) for k in range(len(patches[0]))]
    return (parts[0][:, None].contiguous(memory_format=torch.channels_last_3d), *parts[1:])


def train_detector(
    shards: Sequence[Shard],
    held_out: Sequence[Shard],
    out: Path,
    schedule: Schedule,
    *,
    seed: int = 1,
    activation: str = "relu",
    architecture: str = "unet",
    batch_size: int = 5,
    size: int = 48,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> tuple[LesionNet, History]:
    """Train on ``shards``, choose the weights by ``held_out``. start: weights to go on from. size: of what is
    cut from a patch; with 32 voxels, hardly more than the lesions, it marks too much of what surrounds them.
    """
    torch.manual_seed(seed)
    network = LesionNet(activation, architecture)
    batches = PatchBatches(shards, seed, batch_size, size)
    if start is not None:
        network.load_state_dict(start)
        recount(network, batches)
    checks = PatchBatches(held_out, seed, 4, SIZE, perturbed=False)
    fixed = [checks(number) for number in range(min(checks.round, 6))]

    def validate(network: nn.Module) -> Mapping[str, float]:
        rows, truth, said = [], [], []
        for batch in fixed:
            maps, inside = (o.float().cpu() for o in network(batch[0].to(device)))
            figures = {k: float(v) for k, v in losses(maps, inside, batch).items()}
            rows.append(figures | {"dice": _dice(inside[:, 0], batch[-1])})
            at_center = batch[1] > 0.99
            truth += batch[4][at_center].tolist()
            said += maps[:, 2][at_center].tolist()
        mean = {k: float(np.mean([row[k] for row in rows])) for k in rows[0]}
        auroc = float(roc_auc_score(truth, said)) if len(set(truth)) == 2 else 0.5
        score = 2 * mean["dice"] + auroc - 0.5 * mean["centre"]
        return {**mean, "auroc": auroc, "score": score}

    history = fit(
        network, batches, loss, validate, out, schedule, resume=resume, device=device, title="lesions"
    )
    return network, history


def _dice(logits: Tensor, share: Tensor) -> float:
    drawn, true = logits > 0, share >= 0.5
    return float(2 * (drawn & true).sum() / (drawn.sum() + true.sum()).clamp(min=1))
