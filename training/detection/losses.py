"""The losses of a detector that answers with maps."""

from __future__ import annotations

import torch
from torch import Tensor
from torch.nn import functional


def centre_loss(logit: Tensor, heat: Tensor, part: Tensor | float = 1.0) -> Tensor:
    """Penalty-reduced focal loss on centres (CenterNet, arXiv:1904.07850). ``heat`` is 1 at a centre,
    ``part`` how much a place takes part."""
    p = torch.sigmoid(logit).clamp(1e-4, 1 - 1e-4)
    at_center = (heat > 0.99).float()
    focal = -(part * (at_center * (1 - p) ** 2 * p.log())).sum()
    focal = focal - (part * ((1 - at_center) * (1 - heat) ** 4 * p**2 * (1 - p).log())).sum()
    return focal / at_center.sum().clamp(min=1)


def size_loss(log_size: Tensor, log_diameter: Tensor, sized: Tensor) -> Tensor:
    """How far the logarithm of the diameter lies off where ``sized`` is 1."""
    return 0.5 * (sized * (log_size - log_diameter).abs()).sum() / sized.sum().clamp(min=1)


def mask_loss(logit: Tensor, inside: Tensor) -> Tensor:
    """Soft Dice of the whole batch, and cross-entropy. ``inside``: the part of each voxel that is filled."""
    p = torch.sigmoid(logit)
    overlap = (2 * (p * inside).sum() + 10) / ((p + inside).sum() + 10)
    return 1 - overlap + functional.binary_cross_entropy_with_logits(logit, inside)


def sparse_mask_loss(
    logit: Tensor, inside: Tensor, part: Tensor | float = 1.0, least: float = 4000.0
) -> Tensor:
    """Soft Dice of the whole batch, and a focal cross-entropy (arXiv:1708.02002) that is summed over all
    voxels and divided by those that are filled, of which at least ``least`` are reckoned: for masks of less
    than a hundredth of the volume, which the mean of a plain one hardly sees. ``part``: how much a
    voxel takes part."""
    p = torch.sigmoid(logit)
    filled = (part * inside).sum()
    overlap = (2 * (part * (p * inside)).sum() + 10) / ((part * p).sum() + filled + 10)
    entropy = functional.binary_cross_entropy_with_logits(logit, inside, reduction="none")
    return 1 - overlap + (part * ((p - inside) ** 2 * entropy)).sum() / filled.clamp(min=least)
