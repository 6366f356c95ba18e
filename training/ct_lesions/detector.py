"""Trains the network on patches kept on disk."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import numpy.typing as npt
import torch
from torch import Tensor, nn
from torch.nn import functional

from training.ct_lesions.known import KNOWN, part
from training.ct_lesions.mixed import Batches, mixed
from training.ct_lesions.networks import CLIP_HU, DIVIDE_HU, LesionNet
from training.ct_lesions.patches import SITE_NUMBER, SIZE, SPACING_MM, Patches, Spot
from training.detection.losses import centre_loss, size_loss, sparse_mask_loss
from training.detection.targets import NEAR, bumps, centre_maps
from training.loop import Batch, History, Schedule, fit
from training.phantoms.fields import Array, Grid
from training.shipped import Weights, recount

STRIDE = 2
_GRID = Grid((SIZE,) * 3, (SPACING_MM,) * 3, (0.0, 0.0, 0.0))
_UNKNOWN = -1
_AT_LESIONS = 0.8
_Parts = tuple[Array | npt.NDArray[np.uint8], ...]


def losses(maps: Tensor, inside: Tensor, batch: Batch) -> dict[str, Tensor]:
    """Centres, sizes, masks; malignancy and site near the centres of lesions whose answer is known."""
    _, heat, log_diameter, sized, malignant, site, known_centre, share, known_voxel = batch
    near, known = malignant >= 0, site >= 0
    malignancy = functional.binary_cross_entropy_with_logits(
        maps[:, 2][near], malignant[near].float(), reduction="sum"
    )
    sites = functional.cross_entropy(maps[:, 3:].movedim(1, -1)[known], site[known].long(), reduction="sum")
    return {
        "centre": centre_loss(maps[:, 0], heat, part(known_centre, torch.sigmoid(maps[:, 0]))),
        "size": size_loss(maps[:, 1], log_diameter, sized),
        "inside": 2 * sparse_mask_loss(inside[:, 0], share, part(known_voxel, torch.sigmoid(inside[:, 0]))),
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
        self, shards: Sequence[Patches], seed: int, batch_size: int, size: int, perturbed: bool = True
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

    def _patch(self, shard: int, number: int, rng: np.random.Generator) -> _Parts:
        patch = self._shards[shard][number]
        start = self._start(rng, patch.spots)
        box = tuple(slice(int(a), int(a) + self._size) for a in start)
        hu = patch.hu[box].astype(np.float32)
        share = patch.share[box].astype(np.float32) / 255
        known = patch.known[box]
        if self._perturbed:
            hu += np.float32(rng.normal(0, 8))
            if rng.random() < 0.5:
                hu += rng.standard_normal(hu.shape, np.float32) * np.float32(rng.uniform(0, 14))
        grid = _GRID.part((box[0], box[1], box[2]))
        parts = (scaled(hu), *targets(grid, patch.spots, known), share, known)
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


def targets(grid: Grid, spots: Sequence[Spot], known: npt.NDArray[np.uint8]) -> _Parts:
    """Heat, log of diameter, where that is known, malignancy and site (-1 where unknown) of a patch, and what
    is known of each place of these maps. known: the same of each voxel of ``grid``."""
    coarse = known[::STRIDE, ::STRIDE, ::STRIDE]
    told = coarse == KNOWN
    heat, log_diameter, sized = centre_maps(grid, spots, STRIDE)
    malignant = np.full(heat.shape, _UNKNOWN, np.float32)
    site = np.full(heat.shape, _UNKNOWN, np.float32)
    for spot, bump in bumps(grid, spots, STRIDE):
        near = (bump > NEAR) & told
        malignant[near] = _UNKNOWN if spot.malignant is None else float(spot.malignant)
        site[near] = SITE_NUMBER[spot.site]
    return heat, log_diameter, sized * told, malignant, site, coarse


def stacked(patches: Sequence[_Parts]) -> Batch:
    parts = [torch.from_numpy(np.stack([p[k] for p in patches])) for k in range(len(patches[0]))]
    return (parts[0][:, None].contiguous(memory_format=torch.channels_last_3d), *parts[1:])


def train_detector(
    shards: Sequence[Patches],
    held_out: Sequence[Patches],
    out: Path,
    schedule: Schedule,
    *,
    marked: Sequence[Patches] = (),
    marked_held_out: Sequence[Patches] = (),
    seed: int = 1,
    activation: str = "relu",
    architecture: str = "unet",
    batch_size: int = 5,
    size: int = 48,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> tuple[LesionNet, History]:
    """Train on ``shards``, choose the weights by ``held_out``. marked, marked_held_out: patches of scans with
    marked lesions, which then make half of each batch, and half of the score. start: weights to go on from.
    size: of what is cut from a patch; with 32 voxels, hardly more than the lesions, it marks too much of what
    surrounds them.
    """
    torch.manual_seed(seed)
    network = LesionNet(activation, architecture)
    batches: Batches = PatchBatches(shards, seed, batch_size, size)
    if marked:
        half = -(-batch_size // 2)
        batches = mixed(*(PatchBatches(group, seed, half, size) for group in (shards, marked)))
    if start is not None:
        network.load_state_dict(start)
        recount(network, batches)
    groups = [
        (PatchBatches(group, seed, 4, SIZE, perturbed=False), most)
        for group, most in ((held_out, 6), (marked_held_out, 30))
        if group
    ]

    def validate(network: nn.Module) -> Mapping[str, float]:
        means = []
        for checks, most in groups:
            rows = []
            for batch in map(checks, range(min(checks.round, most))):
                maps, inside = (o.float().cpu() for o in network(batch[0].to(device)))
                figures = {k: float(v) for k, v in losses(maps, inside, batch).items()}
                rows.append(figures | {"dice": dice(inside[:, 0], batch[-2], batch[-1])})
            means.append({k: float(np.mean([row[k] for row in rows])) for k in rows[0]})
        mean = {k: float(np.mean([row[k] for row in means])) for k in means[0]}
        return {**mean, "score": 2 * mean["dice"] - 0.5 * mean["centre"]}

    history = fit(
        network, batches, loss, validate, out, schedule, resume=resume, device=device, title="lesions"
    )
    return network, history


def dice(logits: Tensor, share: Tensor, known: Tensor) -> float:
    drawn, true = (logits > 0) & (known == KNOWN), share >= 0.5
    return float(2 * (drawn & true).sum() / (drawn.sum() + true.sum()).clamp(min=1))
