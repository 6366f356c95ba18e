"""Trains the detector."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import torch
from torch import Tensor, nn

from training.detection.losses import centre_loss, mask_loss, size_loss
from training.loop import Batch, History, Schedule, fit
from training.lung_nodules.backgrounds import Background
from training.lung_nodules.networks import Detector
from training.lung_nodules.patches import Patch, PatchSource, scaled
from training.shipped import Weights, recount


def detector_loss(network: nn.Module, batch: Batch) -> dict[str, Tensor]:
    """Centres, size near centres, and the inside."""
    hu, heat, log_diameter, sized, inside = batch
    out = network(hu).float()
    return detector_losses(out, heat, log_diameter, sized, inside)


def detector_losses(
    out: Tensor, heat: Tensor, log_diameter: Tensor, sized: Tensor, inside: Tensor
) -> dict[str, Tensor]:
    logit, size, within = out.unbind(1)
    return {
        "centre": centre_loss(logit, heat),
        "size": size_loss(size, log_diameter, sized),
        "inside": mask_loss(within, inside),
    }


def train_detector(
    backgrounds: Sequence[Background],
    held_out: Sequence[Background],
    out: Path,
    schedule: Schedule,
    *,
    seed: int = 1,
    activation: str = "relu",
    batch_size: int = 4,
    size: int = 48,
    resume: bool = True,
    device: str = "cpu",
    start: Weights | None = None,
) -> tuple[Detector, History]:
    """Train on patches of ``backgrounds``, choose the weights by patches of ``held_out``.

    start: weights to go on from.
    """
    torch.manual_seed(seed)
    network = Detector(activation)
    source = PatchSource(backgrounds, seed, size)
    checks = PatchSource(held_out, seed + 7919, size)
    fixed = [stacked([checks(8 * i + j) for j in range(8)]) for i in range(6)]

    def batch(step: int) -> Batch:
        return stacked([source(step * batch_size + i) for i in range(batch_size)])

    if start is not None:
        network.load_state_dict(start)
        recount(network, batch)

    def validate(network: nn.Module) -> Mapping[str, float]:
        found = [(network(b[0].to(device)).float().cpu(), b) for b in fixed]
        total = [detector_losses(o, *b[1:]) for o, b in found]
        figures = {k: float(np.mean([float(t[k]) for t in total])) for k in total[0]}
        return {**figures, "score": -sum(figures.values())}

    history = fit(
        network, batch, detector_loss, validate, out, schedule, resume=resume, device=device, title="detector"
    )
    return network, history


def stacked(patches: Sequence[Patch]) -> Batch:
    hu = torch.from_numpy(np.stack([scaled(p.hu) for p in patches])[:, None])
    names = ("heat", "log_diameter", "sized", "inside")
    targets = (torch.from_numpy(np.stack([getattr(p, n) for p in patches])) for n in names)
    return (hu.contiguous(memory_format=torch.channels_last_3d), *targets)
