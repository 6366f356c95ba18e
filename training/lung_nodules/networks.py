"""The networks of ``lung-nodules``."""

from __future__ import annotations

from collections.abc import Mapping

import torch
from torch import Tensor, nn

from training.detection.networks import ACTIVATIONS, Convolution, Kernel, Residual, UNet, seen_through


class Detector(UNet):
    """In: (batch, 1, slice, row, column), a multiple of 16 each. Out: (batch, 3, half of each): logit of a
    nodule's centre, log of its diameter in mm, logit of lying inside one (a help in training).
    """

    def __init__(self, activation: str = "relu", width: int = 16) -> None:
        super().__init__(activation, (width, 2 * width, 4 * width, 6 * width))
        self.head = nn.Sequential(Convolution(width, width, activation), nn.Conv3d(width, 3, 1))
        with torch.no_grad():
            self.head[1].bias.copy_(torch.tensor([-4.6, 2.0, -3.0]))

    def forward(self, x: Tensor) -> Tensor:
        return self.head(self.features(x))


class Characteriser(nn.Module):
    """Looks closely at one candidate: its mask, and what it is.

    In: ``crop`` (batch, 1, 12, 40, 40), the candidate in the middle; ``spacing_mm`` (batch, 1), that of its
    rows and columns (slices lie twice as far apart). Slices that are not known are zero.
    Out: mask logits of the crop's shape, and (batch, 6): logits of being a nodule, of malignancy, and of
    the four types. They are judged by the whole crop, by what lies in the mask, and by what lies in the rim
    about it, where spicules are.
    """

    def __init__(self, activation: str = "relu", width: int = 8) -> None:
        super().__init__()
        w = (width, 3 * width, 5 * width, 8 * width)
        flat: Kernel = (1, 3, 3)
        self.stem = Convolution(1, w[0], activation, flat)
        self.down1 = nn.Sequential(
            Convolution(w[0], w[1], activation, flat, (1, 2, 2)), Residual(w[1], activation, flat)
        )
        self.down2 = nn.Sequential(Convolution(w[1], w[2], activation, 3, 2), Residual(w[2], activation))
        self.down3 = nn.Sequential(Convolution(w[2], w[3], activation, 3, 2), Residual(w[3], activation))
        self.up3 = nn.ConvTranspose3d(w[3], w[2], 2, 2)
        self.merge3 = Convolution(2 * w[2], w[2], activation)
        self.up2 = nn.ConvTranspose3d(w[2], w[1], 2, 2)
        self.merge2 = Convolution(2 * w[1], w[1], activation, flat)
        self.up1 = nn.ConvTranspose3d(w[1], w[0], (1, 2, 2), (1, 2, 2))
        self.merge1 = Convolution(2 * w[0], w[0], activation, flat)
        self.mask = nn.Conv3d(w[0], 1, 1)
        self.judge = nn.Sequential(
            nn.Linear(w[3] + 2 * w[2] + 3 * w[1] + 2, 64),
            ACTIVATIONS[activation](),
            nn.Dropout(0.25),
            nn.Linear(64, 6),
        )

    def go_on_from(self, weights: Mapping[str, Tensor]) -> None:
        """Take earlier weights. Those that knew nothing of the rim answer as before until they have learned
        of it."""
        first = weights["judge.0.weight"]
        new = self.judge[0].in_features - first.shape[1]
        self.load_state_dict({**weights, "judge.0.weight": nn.functional.pad(first, (0, max(new, 0)))})

    def forward(self, crop: Tensor, spacing_mm: Tensor) -> tuple[Tensor, Tensor]:
        a = self.stem(crop)
        b = self.down1(a)
        c = self.down2(b)
        d = self.down3(c)
        c = self.merge3(torch.cat([self.up3(d), c], 1))
        b = self.merge2(torch.cat([self.up2(c), b], 1))
        a = self.merge1(torch.cat([self.up1(b), a], 1))
        mask = self.mask(a)
        inside = torch.sigmoid(mask)
        share = inside.mean((2, 3, 4)) + 1e-4
        size = torch.log(share) / 3 + torch.log(spacing_mm)
        half = nn.functional.avg_pool3d(inside, (1, 2, 2))
        within, around, most_around = seen_through(half, b)
        whole = [d.mean((2, 3, 4)), c.amax((2, 3, 4)), c.mean((2, 3, 4))]
        seen = [*whole, within, size, torch.log(spacing_mm), around, most_around]
        return mask, self.judge(torch.cat(seen, 1))
